//! What a list of traces shows of each: made span by span, joined across heads and segments.

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

    /// Joins what another head or segment has of the same trace.
    #[cfg(test)]
    pub(crate) fn join(&mut self, other: &TraceSummary) {
        self.spans += other.spans;
        self.errors += other.errors;
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
        for service in &other.services {
            self.add_service(service);
        }
        if let Some(theirs) = &other.root
            && self
                .root
                .as_ref()
                .is_none_or(|root| theirs.start < root.start)
        {
            self.root = Some(theirs.clone());
        }
    }

    fn add_service(&mut self, service: &str) {
        let known = self.services.iter().any(|known| **known == *service);
        if !known && self.services.len() < SERVICES_MAX {
            self.services.push(service.into());
        }
    }
}
