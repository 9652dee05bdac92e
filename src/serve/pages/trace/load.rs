//! What the trace page asks of the query engine: the trace, and the logs of it and of one span.
//! Runs on a blocking thread; every call is bounded by its `Control`.

use crate::model::{SpanId, TimeRange, TraceId};
use std::sync::Arc;

use crate::query::{
    self, Control, Direction, Engine, LaidOut, Layout, LogRequest, QueryError, SpanDetail, lang,
};
use crate::red;
use crate::serve::page_url::PageUrl;
use crate::serve::range::pinned;

use super::span::{LOGS_SHOWN_MAX, SpanLogs};
use super::usual::{self, Durations};

/// How long before and after its spans a trace's logs are looked for: retries and buffered
/// shippers are late, a trace id used again on another day is another story.
const LOGS_MARGIN_NS: u64 = 3_600_000_000_000;

/// A trace with what the page needs around it.
pub(super) struct Loaded {
    pub(super) laid_out: Arc<LaidOut>,
    /// The row the reader asked for, or where the first error comes from.
    pub(super) row: Option<u32>,
    /// That row's span.
    pub(super) span: Option<SpanDetail>,
    /// The durations of that span's operation.
    pub(super) usual: Option<Durations>,
    pub(super) span_logs: SpanLogs,
    pub(super) trace_logs: u64,
}

impl Loaded {
    pub(super) fn layout(&self) -> &Layout {
        &self.laid_out.layout
    }
}

/// Which span of the trace is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The first error at its origin, where there is one.
    Worst,
    Id(SpanId),
    Row(u32),
    /// None, or text that names none: the page opens without a span.
    Nothing,
}

impl Which {
    /// Reads `span` of the address.
    pub(super) fn parse(text: Option<&str>) -> Which {
        let Some(text) = text else {
            return Which::Worst;
        };
        if let Some(row) = text.strip_prefix("row-").and_then(|row| row.parse().ok()) {
            return Which::Row(row);
        }
        SpanId::from_hex(text).map_or(Which::Nothing, Which::Id)
    }

    pub(super) fn row(self, layout: &Layout) -> Option<u32> {
        let mut numbered = (0u32..).zip(&layout.rows);
        match self {
            // An error that no error below explains: its ancestors failed because of it.
            Which::Worst => numbered.find(|(_, r)| r.error && r.errors_below == 0),
            Which::Id(id) => numbered.find(|(_, r)| r.id == id),
            Which::Row(row) => numbered.nth(row as usize),
            Which::Nothing => None,
        }
        .map(|(row, _)| row)
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) id: TraceId,
    pub(super) which: Which,
    /// The version that the page around a span was drawn from.
    pub(super) at: Option<u64>,
    pub(super) now_ns: u64,
}

/// Reads a trace and its logs.
///
/// # Errors
/// As [`Engine::laid_out`]: not found, or the store cannot be read.
pub(super) fn load(engine: &Engine, control: &Control, ask: Ask) -> Result<Loaded, QueryError> {
    let Ask { id, which, .. } = ask;
    let known = match ask.at {
        Some(version) => engine.laid_out_at(id, version, control)?,
        None => None,
    };
    let laid_out = match known {
        Some(known) => known,
        None => engine.laid_out(id, control)?,
    };
    let layout = &laid_out.layout;
    let row = which.row(layout);
    let place =
        row.map(|row| query::place_of(&layout.rows, &layout.rows[row as usize], layout.start));
    let span = place
        .map(|place| engine.span(id, place, control))
        .transpose()?;
    let usual = row.map(|row| {
        let facts = &layout.rows[row as usize];
        let (range, now) = usual::day(ask.now_ns, layout.start.saturating_add(layout.duration_ns));
        let service = &layout.services[facts.service as usize].name;
        let operation = &layout.operations[facts.operation as usize];
        let (sketch, whole) = red::durations(&engine.snapshot(), range, service, operation);
        Durations { sketch, whole, now }
    });
    let range = logs_range(layout);
    let count = |query: &lang::Expr| {
        let histogram = engine.log_histogram(query, range, 1, "severity", control)?;
        Ok::<u64, QueryError>(histogram.total)
    };
    let trace_logs = count(&lang::parse(&logs_query(id, None))?)?;
    let mut span_logs = SpanLogs::default();
    if let Some(place) = place.filter(|_| trace_logs > 0) {
        let query = lang::parse(&logs_query(id, Some(place.id)))?;
        span_logs.count = count(&query)?;
        let request = LogRequest {
            query,
            range,
            limit: LOGS_SHOWN_MAX,
            direction: Direction::OldestFirst,
            cursor: None,
        };
        if span_logs.count > 0 {
            span_logs.records = engine.logs(&request, control)?.records;
        }
    }
    Ok(Loaded {
        laid_out,
        row,
        span,
        usual,
        span_logs,
        trace_logs,
    })
}

fn logs_query(trace: TraceId, span: Option<SpanId>) -> String {
    match span {
        None => format!("trace:{trace}"),
        Some(span) => format!("trace:{trace} span:{span}"),
    }
}

/// The time in which a trace's logs are looked for.
fn logs_range(layout: &Layout) -> TimeRange {
    let start = layout.start.saturating_sub(LOGS_MARGIN_NS);
    let end = layout
        .start
        .saturating_add(layout.duration_ns)
        .saturating_add(LOGS_MARGIN_NS);
    TimeRange::new(start, end).expect("the margin keeps start before end")
}

/// The log view of this trace, or of one span of it: the same query and range as the counts, so
/// that the numbers agree.
pub(super) fn logs_page(layout: &Layout, span: Option<SpanId>) -> PageUrl {
    let range = logs_range(layout);
    let page = PageUrl::new("/logs", "").with("query", &logs_query(layout.trace_id, span));
    pinned(&page, range.start().0, range.end().0)
}
