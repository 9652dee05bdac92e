//! The query language read from its description, simply and slowly, over owned records.

use crate::model::owned::Attributes;
use crate::model::{Level, LogRecord, Severity, Span, Value};
use crate::query::lang::{Comparison, Expr, Field, Literal, Place, Term, Test};
use crate::store::{TemplateId, printed_template, template_of};

/// A record as fields and texts.
pub(super) trait Subject {
    fn value(&self, field: &Field) -> Option<Naive>;
    fn texts(&self) -> Vec<String>;
}

#[derive(Clone, Debug)]
pub(super) enum Naive {
    Text(String),
    Bool(bool),
    Number(f64, String),
    List(Vec<Naive>),
    /// There, but nothing to compare with.
    Object,
    Empty,
    Level(Severity, String),
    /// Compared without regard to case.
    Word(String),
    Nanos(u64),
    Base64(String),
}

pub(super) fn matches(expr: &Expr, subject: &dyn Subject) -> bool {
    match expr {
        Expr::All => true,
        Expr::And(parts) => parts.iter().all(|part| matches(part, subject)),
        Expr::Or(parts) => parts.iter().any(|part| matches(part, subject)),
        Expr::Not(inner) => !matches(inner, subject),
        Expr::Term(Term { field: None, test }) => {
            subject.texts().iter().any(|text| text_passes(test, text))
        }
        Expr::Term(Term {
            field: Some(field),
            test,
        }) => subject
            .value(field)
            .is_some_and(|value| passes(test, &value)),
    }
}

fn tokens(text: &str) -> Vec<String> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|token| !token.is_empty())
        .map(str::to_lowercase)
        .collect()
}

fn text_passes(test: &Test, text: &str) -> bool {
    match test {
        Test::Text(phrase) => {
            let (wanted, there) = (tokens(phrase), tokens(text));
            there.windows(wanted.len()).any(|window| window == wanted)
        }
        Test::Prefix(phrase) => {
            let (wanted, there) = (tokens(phrase), tokens(text));
            let (last, before) = wanted.split_last().expect("a prefix has a token");
            there.windows(wanted.len()).any(|window| {
                window[..before.len()] == *before && window[before.len()].starts_with(last)
            })
        }
        Test::Regex(source) => regex::Regex::new(source).expect("parsed").is_match(text),
        Test::AnyOf(tests) => tests.iter().any(|test| text_passes(test, text)),
        Test::Compare(..) | Test::Range(..) | Test::Exists => unreachable!("needs a field"),
    }
}

fn passes(test: &Test, value: &Naive) -> bool {
    if let Test::AnyOf(tests) = test {
        return tests.iter().any(|test| passes(test, value));
    }
    if matches!(test, Test::Exists) {
        return true;
    }
    match value {
        Naive::List(values) => values.iter().any(|value| passes(test, value)),
        Naive::Object => false,
        Naive::Empty => *test == Test::Text(String::new()),
        Naive::Base64(text) => *test == Test::Text(text.clone()),
        Naive::Level(severity, text) => level_passes(test, *severity, text),
        Naive::Word(word) => match test {
            Test::Text(text) => text.to_lowercase() == *word,
            Test::Prefix(text) => word.starts_with(&text.to_lowercase()),
            _ => plain_passes(test, word),
        },
        Naive::Nanos(ns) => match test {
            Test::Text(text) => nanos(text) == Some(*ns),
            Test::Compare(comparison, literal) => {
                nanos(&literal.0).is_some_and(|b| compare(*comparison, *ns as f64, b as f64))
            }
            Test::Range(from, to) => (nanos(&from.0).unwrap()..=nanos(&to.0).unwrap()).contains(ns),
            _ => false,
        },
        Naive::Number(number, printed) => match test {
            Test::Text(text) => text.parse::<f64>().ok() == Some(*number),
            _ => plain_passes(test, printed),
        },
        Naive::Text(text) => plain_passes(test, text),
        Naive::Bool(b) => plain_passes(test, &b.to_string()),
    }
}

fn plain_passes(test: &Test, text: &str) -> bool {
    match test {
        Test::Text(wanted) => wanted == text,
        Test::Prefix(wanted) => text.starts_with(wanted.as_str()),
        Test::Regex(source) => regex::Regex::new(source).expect("parsed").is_match(text),
        Test::Compare(comparison, literal) => ordered(literal, text)
            .is_some_and(|(value, literal)| compare(*comparison, value, literal)),
        Test::Range(from, to) => {
            let above = ordered(from, text).is_some_and(|(value, from)| value >= from);
            above && ordered(to, text).is_some_and(|(value, to)| value <= to)
        }
        Test::AnyOf(_) | Test::Exists => unreachable!("handled before"),
    }
}

fn compare(comparison: Comparison, value: f64, literal: f64) -> bool {
    match comparison {
        Comparison::Greater => value > literal,
        Comparison::GreaterOrEqual => value >= literal,
        Comparison::Less => value < literal,
        Comparison::LessOrEqual => value <= literal,
    }
}

/// The value and the literal in the literal's unit, when both are of it.
fn ordered(literal: &Literal, value: &str) -> Option<(f64, f64)> {
    let unitless = |text: &str| text.parse::<f64>().ok();
    if let Some(number) = unitless(&literal.0) {
        return Some((unitless(value)?, number));
    }
    for unit in [nanos, size, instant] {
        if let Some(number) = unit(&literal.0) {
            return Some((unit(value)? as f64, number as f64));
        }
    }
    None
}

/// The units of the fixture only.
fn nanos(text: &str) -> Option<u64> {
    let ms = |text: &str| text.strip_suffix("ms")?.parse::<u64>().ok();
    let s = |text: &str| text.strip_suffix('s')?.parse::<u64>().ok();
    ms(text)
        .map(|n| n * 1_000_000)
        .or_else(|| s(text).map(|n| n * 1_000_000_000))
}

fn size(text: &str) -> Option<u64> {
    let mb = |text: &str| text.strip_suffix("MB")?.parse::<f64>().ok();
    let gib = |text: &str| text.strip_suffix("GiB")?.parse::<f64>().ok();
    let scaled = |n: f64, unit: f64| (n * unit) as u64;
    mb(text)
        .map(|n| scaled(n, 1e6))
        .or_else(|| gib(text).map(|n| scaled(n, 1_073_741_824.0)))
}

fn instant(text: &str) -> Option<u64> {
    let stamp: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(stamp.as_nanosecond()).ok()
}

fn level_passes(test: &Test, severity: Severity, text: &str) -> bool {
    let level = severity.level();
    let literal = |literal: &Literal| {
        let number = literal.0.parse().map(Severity).ok();
        Level::from_text(&literal.0)
            .or(number.map(Severity::level))
            .expect("parsed")
    };
    match test {
        Test::Text(wanted) => match (Level::from_text(wanted), wanted.parse::<i32>()) {
            (Some(wanted), _) => level == wanted,
            (None, Ok(number)) => severity.0 == number,
            (None, Err(_)) => !text.is_empty() && text.to_lowercase() == wanted.to_lowercase(),
        },
        Test::Prefix(wanted) => [level.name(), text]
            .iter()
            .any(|name| name.to_lowercase().starts_with(&wanted.to_lowercase())),
        Test::Regex(source) => {
            let name = if text.is_empty() { level.name() } else { text };
            regex::Regex::new(source).expect("parsed").is_match(name)
        }
        Test::Compare(comparison, than) => {
            let rank = |level: Level| f64::from(level as u8);
            level != Level::Unset && compare(*comparison, rank(level), rank(literal(than)))
        }
        Test::Range(from, to) => {
            level != Level::Unset && literal(from) <= level && level <= literal(to)
        }
        Test::AnyOf(_) | Test::Exists => unreachable!("handled before"),
    }
}

fn of_value(value: &Value) -> Naive {
    match value {
        Value::Empty => Naive::Empty,
        Value::Str(text) => Naive::Text(text.clone()),
        Value::Bool(b) => Naive::Bool(*b),
        Value::Int(int) => Naive::Number(*int as f64, int.to_string()),
        Value::Double(double) => Naive::Number(*double, double.to_string()),
        Value::Bytes(bytes) => {
            use base64::Engine;
            Naive::Base64(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        Value::Array(values) => Naive::List(values.iter().map(of_value).collect()),
        Value::Map(_) => Naive::Object,
    }
}

fn of_json(value: &serde_json::Value) -> Naive {
    match value {
        serde_json::Value::Null => Naive::Empty,
        serde_json::Value::Bool(b) => Naive::Bool(*b),
        serde_json::Value::Number(n) => Naive::Number(n.as_f64().unwrap(), n.to_string()),
        serde_json::Value::String(text) => Naive::Text(text.clone()),
        serde_json::Value::Array(values) => Naive::List(values.iter().map(of_json).collect()),
        serde_json::Value::Object(_) => Naive::Object,
    }
}

fn first<'a>(attributes: &'a Attributes, key: &str) -> Option<&'a Value> {
    attributes
        .iter()
        .find(|(k, _)| k == key)
        .map(|(_, value)| value)
}

/// Record, scope, resource; or the one place that is forced.
fn attribute(
    field: &Field,
    own: &Attributes,
    scope: &crate::model::Scope,
    resource: &Attributes,
) -> Option<Naive> {
    let of_scope = || {
        let built_in = match field.name.as_str() {
            "name" if field.place == Place::Scope => scope.name.clone(),
            "version" if field.place == Place::Scope => scope.version.clone(),
            _ => String::new(),
        };
        if built_in.is_empty() {
            first(&scope.attributes, &field.name).map(of_value)
        } else {
            Some(Naive::Text(built_in))
        }
    };
    let own = || first(own, &field.name).map(of_value);
    let of_resource = || first(resource, &field.name).map(of_value);
    match field.place {
        Place::Any => own().or_else(of_scope).or_else(of_resource),
        Place::Attr => own(),
        Place::Scope => of_scope(),
        Place::Resource => of_resource(),
        Place::Body => None,
    }
}

fn body_value(body: &Value, path: &str) -> Option<Naive> {
    match body {
        Value::Str(text) => {
            let json: serde_json::Value = serde_json::from_str(text).ok()?;
            let object = json.as_object()?;
            if let Some(value) = object.get(path) {
                return Some(of_json(value));
            }
            let (head, tail) = path.split_once('.')?;
            object.get(head)?.as_object()?.get(tail).map(of_json)
        }
        Value::Map(map) => first(map, path).map(of_value),
        _ => None,
    }
}

fn all_texts(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Str(text) => out.push(text.clone()),
        Value::Bool(b) => out.push(b.to_string()),
        Value::Int(int) => out.push(int.to_string()),
        Value::Double(double) => out.push(double.to_string()),
        Value::Empty | Value::Bytes(_) => {}
        Value::Array(values) => values.iter().for_each(|value| all_texts(value, out)),
        Value::Map(map) => {
            for (key, value) in map {
                out.push(key.clone());
                all_texts(value, out);
            }
        }
    }
}

/// Id and printed form of a text's template.
fn pattern(body: &Value) -> Option<Naive> {
    let (Value::Str(text), mut template) = (body, Vec::new()) else {
        return None;
    };
    if !template_of(text, &mut template) {
        return None;
    }
    let id = TemplateId::of(&template).to_string();
    let printed = printed_template(std::str::from_utf8(&template).expect("whole characters"));
    Some(Naive::List(vec![Naive::Text(id), Naive::Text(printed)]))
}

impl Subject for LogRecord {
    fn value(&self, field: &Field) -> Option<Naive> {
        let any = field.place == Place::Any;
        let fallback = || {
            let attribute = attribute(
                field,
                &self.attributes,
                &self.scope,
                &self.resource.attributes,
            );
            let body = || {
                let searched = any || field.place == Place::Body;
                searched.then(|| body_value(&self.body, &field.name))?
            };
            attribute.or_else(body)
        };
        if !any {
            return fallback();
        }
        match field.name.as_str() {
            "level" | "severity" => {
                let text = &self.severity_text;
                let number = match self.severity.0 {
                    0 => Severity::from_text(text).unwrap_or_default(),
                    _ => self.severity,
                };
                if self.severity.0 != 0 || !text.is_empty() {
                    return Some(Naive::Level(number, text.clone()));
                }
                let own = attribute(
                    field,
                    &self.attributes,
                    &self.scope,
                    &self.resource.attributes,
                );
                match own {
                    Some(Naive::Text(text)) => Some(Naive::Level(
                        Severity::from_text(&text).unwrap_or_default(),
                        text,
                    )),
                    _ => fallback(),
                }
            }
            "service" => Some(Naive::Text(self.resource.service.clone())),
            "pattern" => pattern(&self.body),
            "body" if self.body != Value::Empty => Some(of_value(&self.body)),
            "trace" => self.trace_id.map(|id| Naive::Word(id.to_string())),
            "span" => self.span_id.map(|id| Naive::Word(id.to_string())),
            "name" if !self.event_name.is_empty() => Some(Naive::Text(self.event_name.clone())),
            _ => fallback(),
        }
    }

    fn texts(&self) -> Vec<String> {
        let mut out = Vec::new();
        all_texts(&self.body, &mut out);
        out
    }
}

impl Subject for Span {
    fn value(&self, field: &Field) -> Option<Naive> {
        let fallback = || {
            attribute(
                field,
                &self.attributes,
                &self.scope,
                &self.resource.attributes,
            )
        };
        if field.place != Place::Any {
            return fallback();
        }
        let kinds = [
            "unspecified",
            "internal",
            "server",
            "client",
            "producer",
            "consumer",
        ];
        let word = |words: &[&str], n: i32| {
            Naive::Word((*words.get(n as usize).unwrap_or(&"unknown")).to_owned())
        };
        Some(match field.name.as_str() {
            "service" => Naive::Text(self.resource.service.clone()),
            "trace" => Naive::Word(self.trace_id.to_string()),
            "span" => Naive::Word(self.span_id.to_string()),
            "name" => Naive::Text(self.name.clone()),
            "kind" => word(&kinds, self.kind),
            "status" => word(&["unset", "ok", "error"], self.status_code),
            "duration" => Naive::Nanos(self.duration_ns()),
            "root" => Naive::Text(self.parent.is_none().to_string()),
            _ => return fallback(),
        })
    }

    fn texts(&self) -> Vec<String> {
        let mut out = vec![self.name.clone(), self.status_message.clone()];
        let strings = |attributes: &Attributes, out: &mut Vec<String>| {
            for (_, value) in attributes {
                if let Value::Str(text) = value {
                    out.push(text.clone());
                }
            }
        };
        strings(&self.attributes, &mut out);
        for event in &self.events {
            out.push(event.name.clone());
            strings(&event.attributes, &mut out);
        }
        out
    }
}
