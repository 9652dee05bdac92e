//! Records, spans, resources, ids and time: plain values that every module shares. No I/O, no clock.
//!
//! Telemetry has one wire form inside the process: OTLP protobuf request bytes. Every door
//! (gRPC, HTTP, JSON, Loki, later Sentry) hands over such bytes; [`chunk`] indexes them once, and
//! [`record`] reads single records out of them by borrowing. Segments give the same views back.

pub(crate) mod body;
pub(crate) mod chunk;
pub(crate) mod id;
pub(crate) mod metric;
pub(crate) mod otlp;
pub(crate) mod owned;
pub(crate) mod record;
pub(crate) mod red;
pub(crate) mod severity;
pub(crate) mod summary;
pub(crate) mod time;
pub(crate) mod token;
pub(crate) mod value;
pub(crate) mod wire;
pub(crate) mod write;

#[cfg(test)]
pub(crate) mod random;
#[cfg(test)]
mod tests;

pub(crate) use chunk::{LogChunk, LogEntry, SpanChunk, SpanEntry};
pub(crate) use id::{ProjectId, SpanId, TraceId};
pub(crate) use owned::{LogRecord, Resource, Scope, Span, Value};
pub(crate) use record::{Attr, EventView, LogView, ResourceView, ScopeView, SpanView};
pub(crate) use red::RedTable;
pub(crate) use severity::{Level, Severity};
pub(crate) use summary::TraceSummary;
pub(crate) use time::{TimeRange, Timestamp};
pub(crate) use value::ValueRef;

/// The kinds of telemetry that are stored. Closed set; a new signal makes every match fail to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    /// Every signal, in the order of their numbers on disk.
    pub(crate) const ALL: [Signal; 3] = [Signal::Traces, Signal::Logs, Signal::Metrics];

    /// Those of single records, which can be searched and deleted by their content.
    pub(crate) const RECORDS: [Signal; 2] = [Signal::Traces, Signal::Logs];

    /// The name in paths, metrics and settings.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
        }
    }
}
