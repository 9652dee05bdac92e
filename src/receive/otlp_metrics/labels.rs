//! The labels of OTLP data points: job and instance of the resource, the point's attributes, and what
//! the kind of series adds.
//!
//! Scopes are no labels, and resource attributes stand in `target_info` only: the defaults of
//! Prometheus 3.5.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::names;
use crate::ingest::DEPTH_MAX;
use crate::model::ValueRef;
use crate::model::metric::{Batch, NAME};
use crate::model::value::parse_key_value;
use crate::model::wire::{Fields, WireError};

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE: &str = "service.instance.id";

pub(super) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A resource: who it is, and what else is known of it.
#[derive(Debug, Default)]
pub(super) struct ResourceLabels<'a> {
    job: Option<String>,
    instance: Option<String>,
    /// Attributes that are neither job nor instance.
    others: Vec<Pair<'a>>,
}

impl<'a> ResourceLabels<'a> {
    /// Reads an encoded `Resource`.
    pub(super) fn read(resource: &'a [u8]) -> Result<ResourceLabels<'a>, WireError> {
        let mut found = ResourceLabels::default();
        let (mut name, mut namespace) = (None, None);
        let mut fields = Fields::new(resource);
        while let Some((number, field)) = fields.next()? {
            if number != 1 {
                continue;
            }
            let (key, value) = parse_key_value(field.bytes()?)?;
            let value = text(value);
            match key {
                SERVICE_NAME => name = Some(value),
                SERVICE_NAMESPACE => namespace = Some(value),
                SERVICE_INSTANCE => found.instance = Some(value.into_owned()),
                key => found.others.push((Cow::Borrowed(key), value)),
            }
        }
        found.job = name.map(|name| match namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.into_owned(),
        });
        Ok(found)
    }

    /// The labels of `target_info`; `None` where it would say nothing of anybody.
    pub(super) fn target_info(&self) -> Option<PointLabels<'_>> {
        if self.others.is_empty() || (self.job.is_none() && self.instance.is_none()) {
            return None;
        }
        let lend = |(key, value): &'_ Pair<'a>| -> Pair<'_> {
            (Cow::Owned(key.to_string()), Cow::Owned(value.to_string()))
        };
        Some(PointLabels::of(
            self.others.iter().map(lend).collect(),
            self,
        ))
    }
}

/// The labels of a data point but for its metric's name and `le` or `quantile`, sorted by name.
#[derive(Debug)]
pub(super) struct PointLabels<'a> {
    pairs: Vec<Pair<'a>>,
}

impl<'a> PointLabels<'a> {
    /// Reads encoded `KeyValue`s.
    pub(super) fn read(
        attributes: &[&'a [u8]],
        resource: &'a ResourceLabels<'_>,
    ) -> Result<PointLabels<'a>, WireError> {
        let mut pairs = Vec::with_capacity(attributes.len() + 2);
        for attribute in attributes {
            let (key, value) = parse_key_value(attribute)?;
            pairs.push((Cow::Borrowed(key), text(value)));
        }
        Ok(PointLabels::of(pairs, resource))
    }

    /// Keys that become the same label are joined by a semicolon, in the order of the keys.
    fn of(mut pairs: Vec<Pair<'a>>, resource: &'a ResourceLabels<'_>) -> PointLabels<'a> {
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, _) in &mut pairs {
            if let Cow::Owned(escaped) = names::label(key) {
                *key = Cow::Owned(escaped);
            }
        }
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                let joined = kept.1.to_mut();
                joined.push(';');
                joined.push_str(&next.1);
            }
            same
        });
        let mut labels = PointLabels { pairs };
        for (name, value) in [("job", &resource.job), ("instance", &resource.instance)] {
            if let Some(value) = value {
                labels.set(name, value);
            }
        }
        labels
    }

    fn set(&mut self, name: &'static str, value: &'a str) {
        let pair = (Cow::Borrowed(name), Cow::Borrowed(value));
        match self.pairs.binary_search_by(|(n, _)| (**n).cmp(name)) {
            Ok(at) => self.pairs[at] = pair,
            Err(at) => self.pairs.insert(at, pair),
        }
    }

    /// Opens a series of these labels; an empty label name cannot come out of the translation but by
    /// an empty key, which is left out.
    pub(super) fn open(&self, batch: &mut Batch, metric: &str, extra: Option<(&str, &str)>) {
        let given = |name: &str| name == NAME || extra.is_some_and(|(n, _)| n == name);
        let own = self.pairs.iter().map(|(n, v)| (&**n, &**v));
        let own = own.filter(|(name, _)| !name.is_empty() && !given(name));
        let mut pairs: Vec<(&str, &str)> = own.collect();
        pairs.push((NAME, metric));
        pairs.extend(extra);
        batch.series(&mut pairs);
    }
}

/// A value as a label has it (OTLP: "AsString"): arrays and maps as JSON, bytes as base64.
pub(super) fn text(value: ValueRef<'_>) -> Cow<'_, str> {
    match value {
        ValueRef::Empty => Cow::Borrowed(""),
        ValueRef::Str(text) => Cow::Borrowed(text),
        ValueRef::Bool(true) => Cow::Borrowed("true"),
        ValueRef::Bool(false) => Cow::Borrowed("false"),
        ValueRef::Int(n) => Cow::Owned(n.to_string()),
        ValueRef::Double(n) => Cow::Owned(number(n)),
        ValueRef::Bytes(bytes) => Cow::Owned(STANDARD.encode(bytes)),
        ValueRef::Array(_) | ValueRef::Map(_) => {
            let mut out = String::new();
            json(value, 0, &mut out);
            Cow::Owned(out)
        }
    }
}

/// A double as JSON writes it: exponents below 1e-6 and from 1e21.
fn number(n: f64) -> String {
    let magnitude = n.abs();
    match n.is_finite() && magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        true => format!("{n:e}"),
        false => format!("{n}"),
    }
}

fn json(value: ValueRef<'_>, depth: usize, out: &mut String) {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match value {
        _ if depth > DEPTH_MAX => out.push_str("null"),
        ValueRef::Empty => out.push_str("null"),
        ValueRef::Str(text) => out.push_str(&quoted(text)),
        ValueRef::Bool(_) | ValueRef::Int(_) => out.push_str(&text(value)),
        ValueRef::Double(n) if n.is_finite() => out.push_str(&number(n)),
        ValueRef::Double(_) | ValueRef::Bytes(_) => out.push_str(&quoted(&text(value))),
        ValueRef::Array(array) => {
            out.push('[');
            for (at, value) in array.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                json(value, depth + 1, out);
            }
            out.push(']');
        }
        ValueRef::Map(map) => {
            out.push('{');
            for (at, (key, value)) in map.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                write!(out, "{comma}{}:", quoted(key)).expect("a string takes everything");
                json(value, depth + 1, out);
            }
            out.push('}');
        }
    }
}
