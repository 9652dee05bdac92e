//! Log and trace search, correlation, budgets; never writes.
//!
//! Synchronous: callers run it on a blocking thread behind a semaphore. Every call takes a
//! [`Control`] that bounds it, and answers with owned plain values. An answer that had to stop
//! early is still an answer: its [`Stats::partial`] says why.

pub(crate) mod answer;
mod best;
pub(crate) mod compare;
pub(crate) mod control;
mod delete;
pub(crate) mod explore;
mod facets;
mod histogram;
pub(crate) mod lang;
pub(crate) mod layout;
mod logs;
mod matcher;
mod patterns;
pub(crate) mod promql;
mod scan;
mod scatter;
mod span;
mod suggest;
mod sums;
mod tail;
#[cfg(test)]
mod tests;
pub(crate) mod trace_values;
mod traces;
mod weight;

pub(crate) use answer::{
    Bucket, Context, Direction, Facet, FacetValue, Facets, Histogram, LinkedFrom, LogCursor,
    LogPage, LogRequest, MatchedSpan, OtlpPage, Scatter, SpanDetail, SpanScope, Suggestion,
    TailBatch, TraceCursor, TraceDetail, TracePage, TraceRequest, TraceRow,
};
// What only tests name; everybody else gets these values inside of others.
#[cfg(test)]
pub(crate) use answer::ScatterCell;
#[cfg(test)]
pub(crate) use control::Partial;

pub(crate) use answer::{LOG_ROWS_MAX, TRACE_ROWS_MAX};
pub(crate) use delete::{Matching, check as check_deletion, condition, shape};

pub(crate) use control::{Control, Registry, RunningQuery, Stats};
pub(crate) use layout::{LaidOut, Layout};
pub(crate) use matcher::{KINDS, STATUSES};
pub(crate) use patterns::{
    PATTERN_BUCKETS_MAX, PATTERNS_SHOWN_MAX, Pattern, PatternRequest, Patterns,
};
pub(crate) use span::{SpanPlace, place_of};

pub(crate) use tail::TailPosition;

use std::sync::Arc;

use crate::model::owned::RecordId;
use crate::model::{LogRecord, Signal, TimeRange, TraceId};
use crate::store::{Snapshot, Store};

/// Why there is no answer at all.
#[derive(Debug)]
pub(crate) enum QueryError {
    /// The query is not one.
    Syntax(lang::Error),
    /// A trace or record that was never seen or is past its retention.
    NotFound(String),
    /// The look for a trace or record ended before it was found; the text says why.
    Unfinished(String),
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

impl QueryError {
    /// Nothing was found of `what`: because it is not there, or because the look was cut short.
    fn missing(what: String, partial: Option<control::Partial>) -> QueryError {
        match partial {
            None => QueryError::NotFound(format!("no {what}: never seen, or past its retention")),
            Some(control::Partial::Damaged) => QueryError::NotFound(format!(
                "no {what} in what can be read: {}",
                control::Partial::Damaged.reason()
            )),
            Some(partial) => {
                QueryError::Unfinished(format!("{what} not found yet: {}", partial.reason()))
            }
        }
    }
}

impl std::fmt::Display for QueryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            QueryError::Syntax(error) => error.fmt(f),
            QueryError::NotFound(what)
            | QueryError::Unfinished(what)
            | QueryError::Invalid(what)
            | QueryError::Store(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for QueryError {}

/// Answers queries over one store. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    store: Store,
    pub(crate) registry: Registry,
    layouts: Arc<layout::cache::Cache>,
    /// The store at the moment that all is asked of; `None`: as it is at each question.
    moment: Option<Snapshot>,
    /// The metrics of that moment.
    metrics: Option<Arc<promql::store_source::StoreSource>>,
    /// Series of a test, instead of the store's.
    #[cfg(test)]
    pub(crate) series_of_test: Option<Arc<promql::promqltest::memory::Memory>>,
}

impl Engine {
    /// `layout_bytes` is the memory for layouts of the pages that are open: 8 MB keep one of 100,000
    /// spans.
    pub(crate) fn new(store: Store, layout_bytes: u64) -> Engine {
        Engine {
            layouts: Arc::new(layout::cache::Cache::new(layout_bytes as usize)),
            store,
            registry: Registry::default(),
            moment: None,
            metrics: None,
            #[cfg(test)]
            series_of_test: None,
        }
    }

    /// The store as it is now, for callers that ask several questions of one moment.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let moment = self.moment.clone();
        moment.unwrap_or_else(|| self.store.snapshot())
    }

    /// The same, asked about this moment. What takes the snapshot holds a lock that the writer needs:
    /// a thread that others go before must not.
    pub(crate) fn at_this_moment(&self) -> Engine {
        Engine {
            moment: Some(self.store.snapshot()),
            metrics: Some(Arc::new(promql::store_source::StoreSource::new(
                &self.store,
            ))),
            ..self.clone()
        }
    }

    /// What PromQL reads.
    pub(crate) fn series(&self) -> Arc<dyn promql::source::SeriesSource> {
        #[cfg(test)]
        if let Some(series) = &self.series_of_test {
            return series.clone();
        }
        let own = || Arc::new(promql::store_source::StoreSource::new(&self.store));
        self.metrics.clone().unwrap_or_else(own)
    }

    /// A page of log records.
    pub(crate) fn logs(
        &self,
        request: &LogRequest,
        control: &Control,
    ) -> Result<LogPage, QueryError> {
        logs::page(&self.snapshot(), request, control)
    }

    /// The same page as an encoded OTLP export request, without loss and in its order.
    pub(crate) fn logs_otlp(
        &self,
        request: &LogRequest,
        control: &Control,
    ) -> Result<OtlpPage, QueryError> {
        logs::page_otlp(&self.snapshot(), request, control)
    }

    /// Counts over time in at most `buckets` buckets snapped to calendar units, split by `by`
    /// (`severity`, or any field name of the query language).
    pub(crate) fn log_histogram(
        &self,
        query: &lang::Expr,
        range: TimeRange,
        buckets: usize,
        by: &str,
        control: &Control,
    ) -> Result<Histogram, QueryError> {
        histogram::of_logs(&self.snapshot(), query, range, buckets, by, control)
    }

    /// Value counts: of one field, or of all when `field` is `None`; the order is told at
    /// [`Facets`].
    pub(crate) fn log_facets(
        &self,
        query: &lang::Expr,
        range: TimeRange,
        field: Option<&str>,
        control: &Control,
    ) -> Result<Facets, QueryError> {
        let ask = facets::Ask {
            query,
            range,
            field,
            records_max: facets::RECORDS_MAX,
        };
        facets::of_logs(&self.snapshot(), ask, control)
    }

    /// The patterns of matching log records, the most frequent first.
    pub(crate) fn log_patterns(
        &self,
        request: &PatternRequest,
        control: &Control,
    ) -> Result<Patterns, QueryError> {
        patterns::of_logs(&self.snapshot(), request, control)
    }

    /// A record and up to `before` older and `after` newer ones of its stream.
    pub(crate) fn log_context(
        &self,
        id: RecordId,
        before: usize,
        after: usize,
        control: &Control,
    ) -> Result<Context, QueryError> {
        logs::context(&self.snapshot(), id, before, after, control)
    }

    /// How many log records and spans a deletion would erase, by the number of the signal.
    pub(crate) fn matching(
        &self,
        query: &lang::Expr,
        signals: [bool; Signal::RECORDS.len()],
        range: TimeRange,
        control: &Control,
    ) -> Result<Matching, QueryError> {
        delete::count(&self.snapshot(), query, signals, range, control)
    }

    /// One record by its id.
    pub(crate) fn log(&self, id: RecordId, control: &Control) -> Result<LogRecord, QueryError> {
        logs::record(&self.snapshot(), id, control)
    }

    /// What came in since the last call that matches; see [`TailPosition`].
    pub(crate) fn log_tail(
        &self,
        query: &lang::Expr,
        position: &mut TailPosition,
        control: &Control,
    ) -> Result<TailBatch, QueryError> {
        position.advance(&self.snapshot(), query, control)
    }

    /// A page of traces with the scatter of all matches.
    pub(crate) fn traces(
        &self,
        request: &TraceRequest,
        control: &Control,
    ) -> Result<TracePage, QueryError> {
        traces::page(&self.snapshot(), request, control)
    }

    /// Value counts over matching spans, as [`Engine::log_facets`].
    pub(crate) fn span_facets(
        &self,
        query: &lang::Expr,
        range: TimeRange,
        field: Option<&str>,
        control: &Control,
    ) -> Result<Facets, QueryError> {
        let ask = facets::Ask {
            query,
            range,
            field,
            records_max: facets::RECORDS_MAX,
        };
        facets::of_spans(&self.snapshot(), ask, control)
    }

    /// The layout of a trace as it is stored now.
    pub(crate) fn laid_out(
        &self,
        id: TraceId,
        control: &Control,
    ) -> Result<Arc<LaidOut>, QueryError> {
        let epoch = self.layouts.epoch();
        let skeleton = layout::Skeleton::read(&self.snapshot(), id, control)?;
        if let Some(known) = self.layouts.get(id, skeleton.version) {
            return Ok(known);
        }
        let laid_out = LaidOut {
            layout: layout::layout(&skeleton),
            version: skeleton.version,
            stats: skeleton.stats,
        };
        Ok(self.layouts.put(laid_out, epoch))
    }

    /// Drops the layouts of open pages; call after a deletion.
    pub(crate) fn forget_layouts(&self) {
        self.layouts.forget();
    }

    /// The layout that a page was drawn from, by the version that the page names; `None` when it
    /// is no longer kept and the trace has changed since.
    pub(crate) fn laid_out_at(
        &self,
        id: TraceId,
        version: u64,
        control: &Control,
    ) -> Result<Option<Arc<LaidOut>>, QueryError> {
        if let Some(known) = self.layouts.get(id, version) {
            return Ok(Some(known));
        }
        let now = self.laid_out(id, control)?;
        Ok((now.version == version).then_some(now))
    }

    /// Hits, misses and bytes of the kept layouts.
    pub(crate) fn layout_figures(&self) -> layout::CacheFigures {
        self.layouts.figures()
    }

    /// One span of a trace.
    pub(crate) fn span(
        &self,
        trace: TraceId,
        place: SpanPlace,
        control: &Control,
    ) -> Result<SpanDetail, QueryError> {
        span::detail(&self.snapshot(), trace, place, control)
    }

    /// Spans of other traces in `range` that link to this one, and why there may be more.
    pub(crate) fn linked_elsewhere(
        &self,
        trace: TraceId,
        span: crate::model::SpanId,
        range: TimeRange,
        control: &Control,
    ) -> Result<(Vec<LinkedFrom>, Option<control::Partial>), QueryError> {
        span::linked_elsewhere(&self.snapshot(), trace, span, range, control)
    }

    /// Values of fields in traces, for columns of a list; traces not reached in time are missing
    /// at the end.
    pub(crate) fn trace_values(
        &self,
        ids: &[TraceId],
        fields: &[String],
        control: &Control,
    ) -> Result<Vec<Vec<trace_values::Values>>, QueryError> {
        trace_values::of(&self.snapshot(), ids, fields, control)
    }

    /// A whole trace with everything in it.
    pub(crate) fn trace(&self, id: TraceId, control: &Control) -> Result<TraceDetail, QueryError> {
        traces::trace(&self.snapshot(), id, control)
    }

    /// A whole trace as an encoded OTLP export request, without loss.
    pub(crate) fn trace_otlp(
        &self,
        id: TraceId,
        control: &Control,
    ) -> Result<OtlpPage, QueryError> {
        traces::trace_otlp(&self.snapshot(), id, control)
    }

    /// Completions at byte `at` of the query text, best first. `range` is where values are
    /// sampled from.
    pub(crate) fn suggest(
        &self,
        signal: Signal,
        text: &str,
        at: usize,
        range: TimeRange,
        control: &Control,
    ) -> Result<Vec<Suggestion>, QueryError> {
        suggest::suggest(&self.snapshot(), signal, text, at, range, control)
    }
}
