//! Log and trace search, correlation, budgets; never writes.
//!
//! Synchronous: callers run it on a blocking thread behind a semaphore. Every call takes a
//! [`Control`] that bounds it, and answers with owned plain values. An answer that had to stop
//! early is still an answer: its [`Stats::partial`] says why.
#![allow(dead_code, unused_imports)]

pub(crate) mod answer;
pub(crate) mod control;
pub(crate) mod lang;
pub(crate) mod layout;

pub(crate) use answer::{
    Bucket, Context, Direction, Facet, FacetValue, Facets, Histogram, LogCursor, LogPage,
    LogRequest, MatchedSpan, Scatter, ScatterCell, SpanScope, Suggestion, SuggestionKind,
    TailBatch, TraceCursor, TraceDetail, TracePage, TraceRequest, TraceRow,
};
pub(crate) use control::{Control, Partial, Registry, Running, RunningQuery, Stats};
pub(crate) use layout::Layout;

use crate::model::owned::RecordId;
use crate::model::{Signal, TimeRange, Timestamp, TraceId};

/// Why there is no answer at all.
#[derive(Debug)]
pub(crate) enum QueryError {
    /// The query is not one.
    Syntax(lang::Error),
    /// A trace or record that was never seen or is past its retention.
    NotFound(String),
    /// A request value out of its bounds: which, and what is allowed.
    Invalid(String),
    /// The store cannot be read.
    Store(String),
}

impl From<lang::Error> for QueryError {
    fn from(error: lang::Error) -> QueryError {
        QueryError::Syntax(error)
    }
}

impl std::fmt::Display for QueryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            QueryError::Syntax(error) => error.fmt(f),
            QueryError::NotFound(what) | QueryError::Invalid(what) | QueryError::Store(what) => {
                f.write_str(what)
            }
        }
    }
}

impl std::error::Error for QueryError {}

/// Where a live tail stands; starts at the present.
#[derive(Clone, Debug, Default)]
pub(crate) struct TailPosition {}

/// Answers queries over one store. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(crate) registry: Registry,
}

impl Engine {
    /// A page of log records.
    pub(crate) fn logs(
        &self,
        _request: &LogRequest,
        _control: &Control,
    ) -> Result<LogPage, QueryError> {
        todo!()
    }

    /// Counts over time in at most `buckets` buckets snapped to calendar units, split by `by`
    /// (`severity`, or any field name of the query language).
    pub(crate) fn log_histogram(
        &self,
        _query: &lang::Expr,
        _range: TimeRange,
        _buckets: usize,
        _by: &str,
        _control: &Control,
    ) -> Result<Histogram, QueryError> {
        todo!()
    }

    /// Value counts: of one field, or of all when `field` is `None`. `query::answer` says the order.
    pub(crate) fn log_facets(
        &self,
        _query: &lang::Expr,
        _range: TimeRange,
        _field: Option<&str>,
        _control: &Control,
    ) -> Result<Facets, QueryError> {
        todo!()
    }

    /// A record and up to `before` older and `after` newer ones of its stream.
    pub(crate) fn log_context(
        &self,
        _id: RecordId,
        _before: usize,
        _after: usize,
        _control: &Control,
    ) -> Result<Context, QueryError> {
        todo!()
    }

    /// One record by its id.
    pub(crate) fn log(
        &self,
        _id: RecordId,
        _control: &Control,
    ) -> Result<crate::model::LogRecord, QueryError> {
        todo!()
    }

    /// A page of traces with the scatter of all matches.
    pub(crate) fn traces(
        &self,
        _request: &TraceRequest,
        _control: &Control,
    ) -> Result<TracePage, QueryError> {
        todo!()
    }

    /// Value counts over matching spans, as [`Engine::log_facets`].
    pub(crate) fn span_facets(
        &self,
        _query: &lang::Expr,
        _range: TimeRange,
        _field: Option<&str>,
        _control: &Control,
    ) -> Result<Facets, QueryError> {
        todo!()
    }

    /// A whole trace; lay it out with [`layout::layout`].
    pub(crate) fn trace(
        &self,
        _id: TraceId,
        _control: &Control,
    ) -> Result<TraceDetail, QueryError> {
        todo!()
    }

    /// Completions at byte `at` of the query text, best first. `range` is where values are
    /// sampled from.
    pub(crate) fn suggest(
        &self,
        _signal: Signal,
        _text: &str,
        _at: usize,
        _range: TimeRange,
        _control: &Control,
    ) -> Result<Vec<Suggestion>, QueryError> {
        todo!()
    }
}
