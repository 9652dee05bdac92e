//! What is asked and what is answered: plain owned values, ready for JSON and for pages. No logic
//! beyond the text of a cursor.

use std::ops::Range;
use std::sync::Arc;

use super::control::{Partial, Stats};
use super::lang::Expr;
use crate::model::owned::RecordId;
use crate::model::{LogRecord, Span, SpanId, TimeRange, Timestamp, TraceId};

/// Which end of the range comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Direction {
    #[default]
    NewestFirst,
    OldestFirst,
}

/// Most records one page of logs may hold.
pub(crate) const LOG_ROWS_MAX: usize = 10_000;

/// Most traces one page may hold.
pub(crate) const TRACE_ROWS_MAX: usize = 1_000;

/// A search for log records.
#[derive(Clone, Debug)]
pub(crate) struct LogRequest {
    pub(crate) query: Expr,
    pub(crate) range: TimeRange,
    /// 1 to [`LOG_ROWS_MAX`].
    pub(crate) limit: usize,
    pub(crate) direction: Direction,
    /// `next` of the page before.
    pub(crate) cursor: Option<LogCursor>,
}

/// A place in a list of log records: after the `shown`th record with this id, in the order
/// (at, hash). Printed as `{at}-{hash:016x}-{shown}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogCursor {
    pub(crate) id: RecordId,
    /// Records with this very id already given; more than 1 only for byte-identical records.
    pub(crate) shown: u32,
}

impl LogCursor {
    pub(crate) fn parse(text: &str) -> Option<LogCursor> {
        let (id, shown) = text.rsplit_once('-')?;
        Some(LogCursor {
            id: RecordId::parse(id)?,
            shown: shown.parse().ok()?,
        })
    }
}

impl std::fmt::Display for LogCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.id, self.shown)
    }
}

/// One page of log records in the order asked for.
#[derive(Clone, Debug)]
pub(crate) struct LogPage {
    pub(crate) records: Vec<LogRecord>,
    /// `None` at the end of the range.
    pub(crate) next: Option<LogCursor>,
    pub(crate) stats: Stats,
}

/// Counts over time, split by level or by a field's values.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    /// Width of a whole bucket; the first and last may be cut by the range.
    pub(crate) bucket_ns: u64,
    /// What the counts are split by: level names in order (`UNSET`..`FATAL`, only those seen), or
    /// the most frequent values, then `other` and, last, the empty text for records without it.
    pub(crate) series: Vec<String>,
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) total: u64,
    pub(crate) stats: Stats,
}

/// `start <= t < end`; empty buckets are listed too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) count: u64,
    /// One count per entry of [`Histogram::series`].
    pub(crate) by: Vec<u64>,
}

/// Value counts per field of the matching records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facets {
    /// `severity` and `service` first, then by coverage; every field's values by count.
    pub(crate) fields: Vec<Facet>,
    /// Matching records counted.
    pub(crate) records: u64,
    /// Counts are a part of the truth: the query or a table of values was cut short.
    pub(crate) approximate: bool,
    pub(crate) stats: Stats,
}

/// One field. A name taken as is works in the query language (`name:value`).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facet {
    pub(crate) name: String,
    /// Share of the matching records that have the field, 0 to 1.
    pub(crate) coverage: f64,
    pub(crate) values: Vec<FacetValue>,
    /// Distinct values beyond those listed.
    pub(crate) more: u64,
    /// Smallest and largest where every value is a number.
    pub(crate) numbers: Option<(f64, f64)>,
}

/// One value of a field and how many records have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FacetValue {
    pub(crate) value: String,
    pub(crate) count: u64,
}

/// A record with its neighbours in the same stream (resource and scope).
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Older ones, oldest first.
    pub(crate) before: Vec<LogRecord>,
    pub(crate) record: LogRecord,
    /// Newer ones, oldest first.
    pub(crate) after: Vec<LogRecord>,
    pub(crate) stats: Stats,
}

/// Records or spans as an encoded OTLP export request.
#[derive(Clone, Debug)]
pub(crate) struct OtlpPage {
    pub(crate) request: Vec<u8>,
    /// Where the next page of records starts.
    pub(crate) next: Option<LogCursor>,
    pub(crate) stats: Stats,
}

/// New records of a live tail, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct TailBatch {
    pub(crate) records: Vec<LogRecord>,
    /// Records that came in, are not in `records` and will not come: more matched than the batch
    /// may hold. Where `partial` is set, also the records of what was not looked at any more, of
    /// which nobody knows whether they match: then it is the most that can be missing.
    pub(crate) skipped: u64,
    /// Why the look was cut short.
    pub(crate) partial: Option<Partial>,
}

/// Which spans a trace search looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SpanScope {
    #[default]
    All,
    /// Spans without a parent.
    Root,
    /// Spans where a service was entered: kind server or consumer, or no parent.
    Entry,
}

/// A search for traces.
#[derive(Clone, Debug)]
pub(crate) struct TraceRequest {
    pub(crate) query: Expr,
    pub(crate) range: TimeRange,
    /// 1 to [`TRACE_ROWS_MAX`].
    pub(crate) limit: usize,
    pub(crate) scope: SpanScope,
    pub(crate) cursor: Option<TraceCursor>,
    /// Look at the whole range and tell of all matches ([`TracePage::over_all`]), not only at what the
    /// page needs.
    pub(crate) whole: bool,
}

/// A place in a list of traces, newest first by (start, trace id). Printed `{start}-{trace id}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceCursor {
    pub(crate) start: Timestamp,
    pub(crate) trace_id: TraceId,
}

impl TraceCursor {
    pub(crate) fn parse(text: &str) -> Option<TraceCursor> {
        let (start, id) = text.split_once('-')?;
        Some(TraceCursor {
            start: Timestamp(start.parse().ok()?),
            trace_id: TraceId::from_hex(id)?,
        })
    }
}

impl std::fmt::Display for TraceCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.start, self.trace_id)
    }
}

/// One page of traces, newest start first.
#[derive(Clone, Debug)]
pub(crate) struct TracePage {
    pub(crate) traces: Vec<TraceRow>,
    /// Of a request for the whole range.
    pub(crate) over_all: Option<OverAll>,
    pub(crate) next: Option<TraceCursor>,
    pub(crate) stats: Stats,
}

/// All matching traces of the range, whatever the page.
#[derive(Clone, Debug, Default)]
pub(crate) struct OverAll {
    pub(crate) total: u64,
    pub(crate) scatter: Scatter,
}

/// One trace in a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TraceRow {
    pub(crate) trace_id: TraceId,
    /// Service and name of the span without a parent; of the earliest span while that is missing.
    pub(crate) root_service: String,
    pub(crate) root_name: String,
    /// Earliest start of its spans.
    pub(crate) start: Timestamp,
    /// Latest end minus earliest start.
    pub(crate) duration_ns: u64,
    pub(crate) span_count: u64,
    pub(crate) error_count: u64,
    /// Names, sorted.
    pub(crate) services: Vec<String>,
    /// The slowest spans that match, at most [`MATCHED_SPANS_MAX`]; empty when the query is empty.
    pub(crate) matched: Vec<MatchedSpan>,
    /// All spans that match; 0 when the query is empty.
    pub(crate) matched_count: u64,
}

/// Matched spans listed per trace: the rest is in the trace itself.
pub(crate) const MATCHED_SPANS_MAX: usize = 5;

/// A span that matches a trace search.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MatchedSpan {
    pub(crate) span_id: SpanId,
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) start: Timestamp,
    pub(crate) duration_ns: u64,
    pub(crate) error: bool,
    pub(crate) root: bool,
}

/// Duration over time for all matches, as counts in a grid: x is the trace's start, y the
/// duration on a log scale.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scatter {
    /// Grid size; column `c` covers `range.start + c * range / columns`.
    pub(crate) columns: u32,
    pub(crate) rows: u32,
    /// Durations at the lower edge of row 0 and the upper edge of the last row; equal to each
    /// other only when there are no matches.
    pub(crate) duration_min_ns: u64,
    pub(crate) duration_max_ns: u64,
    /// Cells with matches, by column then row.
    pub(crate) cells: Vec<ScatterCell>,
}

/// The matches in one cell of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScatterCell {
    pub(crate) column: u32,
    /// 0 is the fastest.
    pub(crate) row: u32,
    pub(crate) count: u64,
    /// Traces with an error among them.
    pub(crate) errors: u64,
    /// The slowest trace of the cell.
    pub(crate) trace_id: TraceId,
}

/// A whole trace: every span once, by (start, span id). Resources and scopes are shared.
#[derive(Clone, Debug)]
pub(crate) struct TraceDetail {
    pub(crate) trace_id: TraceId,
    /// Not empty.
    pub(crate) spans: Vec<Arc<Span>>,
    pub(crate) stats: Stats,
}

/// One span with what points at it.
#[derive(Clone, Debug)]
pub(crate) struct SpanDetail {
    pub(crate) span: Arc<Span>,
    /// Spans of the same trace that link to it.
    pub(crate) linked_from: Vec<LinkedFrom>,
}

/// A span that links to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkedFrom {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) service: String,
    pub(crate) name: String,
}

/// One completion of the query bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suggestion {
    /// What goes in place of `replace`.
    pub(crate) insert: String,
    /// What the list shows.
    pub(crate) label: String,
    pub(crate) kind: SuggestionKind,
    /// Records that have it, in the sample looked at.
    pub(crate) count: Option<u64>,
    /// Bytes of the query text to replace.
    pub(crate) replace: Range<usize>,
}

/// What a completion completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SuggestionKind {
    Field,
    Value,
    Operator,
}

impl SuggestionKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            SuggestionKind::Field => "field",
            SuggestionKind::Value => "value",
            SuggestionKind::Operator => "operator",
        }
    }
}
