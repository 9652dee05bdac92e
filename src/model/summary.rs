//! What a list of traces shows of each: made span by span, joined across heads and segments.

use std::collections::HashMap;

use super::id::TraceId;
use super::record::SpanView;
use super::time::Timestamp;

/// Services named in one summary; traces of more show the first ones met.
pub(crate) const SERVICES_MAX: usize = 64;

/// The spans of one trace that are in one head or segment, or the join of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceSummary {
    pub(crate) trace_id: TraceId,
    /// The first span's place in lists.
    pub(crate) start: Timestamp,
    /// The latest end, by place and duration.
    pub(crate) end: Timestamp,
    pub(crate) spans: u64,
    pub(crate) errors: u64,
    /// The span without a parent; the earliest when there are several.
    pub(crate) root: Option<RootSpan>,
    /// In order of appearance.
    pub(crate) services: Vec<Box<str>>,
}

/// What a list shows of a trace's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RootSpan {
    pub(crate) service: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) kind: i32,
    pub(crate) status_code: i32,
    /// Its place in lists.
    pub(crate) start: Timestamp,
    pub(crate) duration_ns: u64,
}

impl TraceSummary {
    /// A summary of no span yet.
    pub(crate) fn new(trace_id: TraceId) -> TraceSummary {
        TraceSummary {
            trace_id,
            start: Timestamp::MAX,
            end: Timestamp(0),
            spans: 0,
            errors: 0,
            root: None,
            services: Vec::new(),
        }
    }

    /// Counts a span of this trace in.
    pub(crate) fn add(&mut self, span: &SpanView<'_>) {
        let service = span.resource.service();
        self.spans += 1;
        self.errors += u64::from(span.is_error());
        self.start = self.start.min(span.at);
        self.end = self.end.max(span.at.saturating_add(span.duration_ns()));
        self.add_service(service);
        let earlier = self.root.as_ref().is_none_or(|root| span.at < root.start);
        if span.parent.is_none() && earlier {
            self.root = Some(RootSpan {
                service: service.into(),
                name: span.name.into(),
                kind: span.kind,
                status_code: span.status_code,
                start: span.at,
                duration_ns: span.duration_ns(),
            });
        }
    }

    fn add_service(&mut self, service: &str) {
        let known = self.services.iter().any(|known| **known == *service);
        if !known && self.services.len() < SERVICES_MAX {
            self.services.push(service.into());
        }
    }
}

/// Many summaries with their texts by number: what a list of a segment's traces is made of, 72 B and
/// 4 B per service each.
#[derive(Debug, Default)]
pub(crate) struct SummaryTable {
    pub(crate) rows: Vec<SummaryRow>,
    services: Vec<u32>,
    texts: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

/// One summary of a [`SummaryTable`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct SummaryRow {
    pub(crate) trace_id: TraceId,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) spans: u64,
    pub(crate) errors: u64,
    /// Place in lists, service and name of the root.
    pub(crate) root: Option<(Timestamp, u32, u32)>,
    /// Where its services lie in the table's list; set by [`SummaryTable::push`].
    pub(crate) services: (u32, u32),
}

impl SummaryTable {
    pub(crate) fn of<'s>(summaries: impl IntoIterator<Item = &'s TraceSummary>) -> SummaryTable {
        let mut table = SummaryTable::default();
        for summary in summaries {
            let root = summary.root.as_ref().map(|root| {
                let service = table.number(&root.service);
                (root.start, service, table.number(&root.name))
            });
            let row = SummaryRow {
                trace_id: summary.trace_id,
                start: summary.start,
                end: summary.end,
                spans: summary.spans,
                errors: summary.errors,
                root,
                services: (0, 0),
            };
            let services = summary.services.iter();
            table.push(row, services, |table, service| table.number(service));
        }
        table
    }

    /// Adds those summaries of another table that are wanted.
    pub(crate) fn extend(&mut self, other: &SummaryTable, wanted: impl Fn(&SummaryRow) -> bool) {
        for row in other.rows.iter().filter(|row| wanted(row)) {
            let root = row.root.map(|(start, service, name)| {
                let service = self.number(other.text(service));
                (start, service, self.number(other.text(name)))
            });
            let services = other.services(row);
            let row = SummaryRow { root, ..*row };
            self.push(row, services, |table, service| table.number(service));
        }
    }

    /// Adds a summary whose root has texts of this table; `number` gives that of a service.
    pub(crate) fn push<S>(
        &mut self,
        row: SummaryRow,
        services: impl Iterator<Item = S>,
        mut number: impl FnMut(&mut SummaryTable, S) -> u32,
    ) {
        let start = self.services.len() as u32;
        for service in services {
            let number = number(self, service);
            self.services.push(number);
        }
        let services = (start, self.services.len() as u32);
        self.rows.push(SummaryRow { services, ..row });
    }

    /// The number of a text, a new one if need be.
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    pub(crate) fn text(&self, number: u32) -> &str {
        &self.texts[number as usize]
    }

    /// Services of a row of this table.
    pub(crate) fn services(&self, row: &SummaryRow) -> impl Iterator<Item = &str> {
        let (start, end) = row.services;
        let numbers = &self.services[start as usize..end as usize];
        numbers.iter().map(|number| self.text(*number))
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let texts: usize = self.texts.iter().map(|text| 2 * text.len() + 64).sum();
        self.rows.capacity() * size_of::<SummaryRow>() + self.services.capacity() * 4 + texts
    }
}
