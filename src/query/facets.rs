//! Which fields matching records have, and how often which values: counted over the newest matches
//! under a budget, labelled approximate when cut short.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::ControlFlow;

use super::QueryError;
use super::answer::{Facet, FacetValue, Facets};
use super::control::Control;
use super::lang::{Expr, Number};
use super::matcher::{FieldReader, LogMatcher, SpanMatcher, is_built_in, severity_of};
use super::scan::{Progress, filtered, log_units, span_units};
use crate::model::body::{self, Json};
use crate::model::record::find;
use crate::model::{Attr, LogView, ResourceView, Signal, SpanView, TimeRange, ValueRef};
use crate::store::{LogColumns, Snapshot, SpanColumns};

/// Matching records counted: about half a second of work; the newest say enough for a sidebar.
pub(crate) const RECORDS_MAX: u64 = 200_000;

/// Fields listed; real streams have tens.
const FIELDS_MAX: usize = 500;

/// Distinct values counted per field; beyond that a field is more of an id than of a facet.
const VALUES_MAX: usize = 2_000;

/// Longest value listed, in bytes. Longer ones count only as "more".
const VALUE_BYTES_MAX: usize = 256;

/// Values shown per field when all fields are asked for, and when one is.
const VALUES_SHOWN: usize = 10;
const VALUES_SHOWN_OF_ONE: usize = 100;

/// What is counted: over which records, of which field (`None`: all), at most how many records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) query: &'a Expr,
    pub(super) range: TimeRange,
    pub(super) field: Option<&'a str>,
    pub(super) records_max: u64,
}

/// Counts over log records.
pub(super) fn of_logs(
    snapshot: &Snapshot,
    ask: Ask<'_>,
    control: &Control,
) -> Result<Facets, QueryError> {
    let matcher = LogMatcher::new(ask.query)?.over(snapshot);
    let (units, visible, mut progress) = log_units(snapshot, ask.range, &matcher, control);
    let mut counter = Counter::new(ask, Signal::Logs);
    let wanted = match &counter.one {
        Some((_, reader)) => reader.log_columns(),
        None => LogColumns::ATTRIBUTES
            .with(LogColumns::BODY)
            .with(LogColumns::TEXT),
    };
    filtered(&matcher, visible, |filter| {
        for unit in &units {
            if !counter.may_go_on(&mut progress) {
                break;
            }
            let result = unit.matching(filter, wanted, &mut |_, log| {
                counter.log(log);
                counter.flow()
            });
            progress.looked(unit, result);
        }
    });
    Ok(counter.finish(&progress))
}

/// Counts over spans.
pub(super) fn of_spans(
    snapshot: &Snapshot,
    ask: Ask<'_>,
    control: &Control,
) -> Result<Facets, QueryError> {
    let matcher = SpanMatcher::new(ask.query)?;
    let (units, visible, mut progress) = span_units(snapshot, ask.range, &matcher, control);
    let mut counter = Counter::new(ask, Signal::Traces);
    let wanted = match &counter.one {
        Some((_, reader)) => reader.span_columns(),
        None => SpanColumns::ATTRIBUTES,
    };
    for unit in &units {
        if !counter.may_go_on(&mut progress) {
            break;
        }
        let result = unit.for_each(matcher.columns.with(wanted), &mut |span| {
            if visible.contains(span.at) && matcher.matches(span) {
                counter.span(span);
            }
            counter.flow()
        });
        progress.read(unit.rows(), unit.bytes(), result);
    }
    Ok(counter.finish(&progress))
}

/// Counts while records go by.
#[derive(Debug)]
struct Counter<'a> {
    table: Table,
    /// The one field asked for.
    one: Option<(&'a str, FieldReader)>,
    signal: Signal,
    records: u64,
    records_max: u64,
    cut: bool,
    /// A value that is not text is printed here, and a name that needs its prefix.
    value: String,
    name: String,
}

impl<'a> Counter<'a> {
    fn new(ask: Ask<'a>, signal: Signal) -> Counter<'a> {
        Counter {
            table: Table::default(),
            one: ask.field.map(|name| (name, FieldReader::new(name))),
            signal,
            records: 0,
            records_max: ask.records_max,
            cut: false,
            value: String::new(),
            name: String::new(),
        }
    }

    fn may_go_on(&mut self, progress: &mut Progress<'_>) -> bool {
        self.cut |= self.records >= self.records_max;
        progress.holds(self.table.bytes);
        !self.cut && progress.may_go_on()
    }

    fn flow(&self) -> ControlFlow<()> {
        if self.records < self.records_max {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    fn log(&mut self, log: &LogView<'_>) {
        self.records += 1;
        if let Some((name, reader)) = &self.one {
            let (table, record) = (&mut self.table, self.records);
            reader.log_text(log, &mut |value| table.add(name, value, record));
            return;
        }
        let level = severity_of(log).level();
        self.table.add("severity", level.name(), self.records);
        self.table
            .add("service", log.resource.service(), self.records);
        self.attributes(log.attributes, log.resource);
        if let ValueRef::Str(text) = log.body {
            for (key, value) in body::members(text).into_iter().flatten() {
                let key = key.get();
                // Lifted or message keys say nothing as facets; attributes come first in look-ups.
                let known = matches!(&*key, "message" | "msg" | "timestamp" | "time" | "ts")
                    || is_id(&key)
                    || find(log.attributes, &key).is_some()
                    || find(&log.resource.attributes, &key).is_some();
                if known || is_built_in(&key, self.signal) {
                    continue;
                }
                match value {
                    Json::Str(text) => self.table.add(&key, &text.get(), self.records),
                    Json::Number(number) => self.table.add(&key, number, self.records),
                    Json::Bool(b) => self.table.add(&key, bool_text(b), self.records),
                    Json::Null | Json::Array(_) | Json::Object(_) => {}
                }
            }
        }
    }

    fn span(&mut self, span: &SpanView<'_>) {
        self.records += 1;
        let built_in = ["service", "name", "status", "kind"];
        let asked = self.one.as_ref().map(|(name, reader)| (*name, reader));
        let (table, record) = (&mut self.table, self.records);
        if let Some((name, reader)) = asked {
            reader.span_text(span, &mut |value| table.add(name, value, record));
            return;
        }
        for name in built_in {
            FieldReader::new(name).span_text(span, &mut |value| table.add(name, value, record));
        }
        self.attributes(span.attributes, span.resource);
    }

    /// The record's own attributes, then those of its resource that they do not hide.
    fn attributes(&mut self, own: &[Attr<'_>], resource: &ResourceView<'_>) {
        for attr in own {
            self.attribute("attr.", attr);
        }
        for attr in &resource.attributes {
            if attr.key != "service.name" && find(own, attr.key).is_none() {
                self.attribute("resource.", attr);
            }
        }
    }

    fn attribute(&mut self, prefix: &str, attr: &Attr<'_>) {
        if is_id(attr.key) {
            return;
        }
        let name = if is_built_in(attr.key, self.signal) {
            self.name.clear();
            self.name.extend([prefix, attr.key]);
            self.name.as_str()
        } else {
            attr.key
        };
        self.value.clear();
        let printed = match attr.value {
            ValueRef::Str(text) => return self.table.add(name, text, self.records),
            ValueRef::Bool(b) => return self.table.add(name, bool_text(b), self.records),
            ValueRef::Int(int) => write!(self.value, "{int}"),
            ValueRef::Double(double) => write!(self.value, "{double}"),
            ValueRef::Empty | ValueRef::Bytes(_) | ValueRef::Array(_) | ValueRef::Map(_) => return,
        };
        printed.expect("a String takes all text");
        self.table.add(name, &self.value, self.records);
    }

    fn finish(self, progress: &Progress<'_>) -> Facets {
        let approximate = self.cut || self.table.full || progress.is_partial();
        let shown = if self.one.is_some() {
            VALUES_SHOWN_OF_ONE
        } else {
            VALUES_SHOWN
        };
        Facets {
            fields: self.table.facets(self.records, shown),
            records: self.records,
            approximate,
            stats: progress.stats(),
        }
    }
}

fn bool_text(b: bool) -> &'static str {
    if b { "true" } else { "false" }
}

/// Ids have their own links; as facets they are noise.
fn is_id(key: &str) -> bool {
    matches!(
        key,
        "trace_id" | "span_id" | "traceId" | "spanId" | "dd.trace_id" | "dd.span_id"
    )
}

/// Memory of one counted value beside its text: its entry in a hash table that may be half empty.
const VALUE_OVERHEAD_BYTES: usize = 80;

/// Counts per field and value.
#[derive(Debug, Default)]
struct Table {
    fields: HashMap<String, Counts>,
    /// Memory of names and values, about.
    bytes: usize,
    /// Fields or values were left out.
    full: bool,
}

#[derive(Debug, Default)]
struct Counts {
    /// Records that have the field, and the last of them.
    records: u64,
    last_record: u64,
    values: HashMap<String, u64>,
    /// A value too long to list, or one too many.
    unlisted: bool,
    /// Values that are no numbers.
    texts: u64,
    numbers: Option<(f64, f64)>,
}

impl Table {
    /// Counts one value of the `record`th record.
    fn add(&mut self, name: &str, value: &str, record: u64) {
        if !self.fields.contains_key(name) {
            if self.fields.len() >= FIELDS_MAX {
                self.full = true;
                return;
            }
            self.fields.insert(name.to_owned(), Counts::default());
            self.bytes += size_of::<(String, Counts)>() + name.len();
        }
        let counts = self.fields.get_mut(name).expect("inserted above");
        if counts.last_record != record {
            counts.last_record = record;
            counts.records += 1;
        }
        match Number::parse(value) {
            Some(number) => counts.number(number),
            None => counts.texts += 1,
        }
        if let Some(count) = counts.values.get_mut(value) {
            *count += 1;
        } else if value.len() > VALUE_BYTES_MAX || counts.values.len() >= VALUES_MAX {
            counts.unlisted = true;
        } else {
            counts.values.insert(value.to_owned(), 1);
            self.bytes += VALUE_OVERHEAD_BYTES + value.len();
        }
    }

    /// Severity and service first, the rest by coverage.
    fn facets(self, records: u64, shown: usize) -> Vec<Facet> {
        let facet = |(name, counts): (String, Counts)| counts.facet(name, records, shown);
        let mut fields: Vec<Facet> = self.fields.into_iter().map(facet).collect();
        let place = |facet: &Facet| match facet.name.as_str() {
            "severity" => 0,
            "service" => 1,
            _ => 2,
        };
        fields.sort_unstable_by(|a, b| {
            let by_place = place(a).cmp(&place(b));
            let by_coverage = || b.coverage.total_cmp(&a.coverage);
            by_place
                .then_with(by_coverage)
                .then_with(|| a.name.cmp(&b.name))
        });
        fields
    }
}

impl Counts {
    fn number(&mut self, number: Number) {
        let number = match number {
            Number::Int(int) => int as f64,
            Number::Float(float) => float,
        };
        let (least, most) = self.numbers.unwrap_or((number, number));
        self.numbers = Some((least.min(number), most.max(number)));
    }

    fn facet(self, name: String, records: u64, shown: usize) -> Facet {
        let distinct = self.values.len() as u64 + u64::from(self.unlisted);
        let mut values: Vec<FacetValue> = self
            .values
            .into_iter()
            .map(|(value, count)| FacetValue { value, count })
            .collect();
        values.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
        values.truncate(shown);
        Facet {
            name,
            coverage: self.records as f64 / records.max(1) as f64,
            more: distinct - values.len() as u64,
            numbers: self.numbers.filter(|_| self.texts == 0),
            values,
        }
    }
}
