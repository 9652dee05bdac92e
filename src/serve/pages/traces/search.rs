//! What the trace list asks the engine, as one synchronous call.

use crate::model::{Signal, TimeRange, Timestamp};
use crate::query::trace_values::Values;
use crate::query::{
    self, Control, Engine, QueryError, Scatter, Stats, TraceCursor, TraceRequest, TraceRow, lang,
};
use crate::serve::pages::querybar::{joined, ribbon, understood};
use crate::serve::pages::sidebar;
use crate::serve::pages::traces::scope_of;
use crate::serve::request::PageRequest;

/// Rows of one page: 32 px each, five screens.
pub(crate) const TRACES: usize = 100;
/// Columns that a reader may add: more do not fit beside each other.
const COLUMNS_MAX: usize = 6;
/// The longer range that is tried where the asked one is empty.
const WIDER_NS: u64 = 7 * 24 * 3_600_000_000_000;

/// Everything that the page shows about one query.
pub(crate) struct Answer {
    /// As asked.
    pub(crate) query: String,
    /// The query that was run: the asked one, or the last good one while that has a mistake.
    pub(crate) good: String,
    pub(crate) mistake: Option<lang::Error>,
    pub(crate) traces: Vec<TraceRow>,
    /// Fields shown as columns (`cols` of the address), and their values by trace.
    pub(crate) columns: Vec<String>,
    pub(crate) values: Vec<Vec<Values>>,
    pub(crate) total: u64,
    pub(crate) scatter: Scatter,
    /// `None` where the page is shown before they are counted.
    pub(crate) facets: Option<query::Facets>,
    pub(crate) next: Option<TraceCursor>,
    pub(crate) stats: Stats,
    /// Traces in the last 7 days, where the range has none.
    pub(crate) wider: Option<u64>,
    /// Errors logged over the range, for the frame.
    pub(crate) errors: Vec<u64>,
    pub(crate) failure: Option<String>,
}

impl Answer {
    pub(crate) fn empty(query: String) -> Answer {
        Answer {
            good: query.clone(),
            query,
            mistake: None,
            traces: Vec::new(),
            columns: Vec::new(),
            values: Vec::new(),
            total: 0,
            scatter: Scatter::default(),
            facets: None,
            next: None,
            stats: Stats::default(),
            wider: None,
            errors: Vec::new(),
            failure: None,
        }
    }
}

/// The page. An engine's refusal becomes part of the answer: the page is shown with it.
pub(crate) fn search(engine: &Engine, control: &Control, request: &PageRequest) -> Answer {
    let mut answer = Answer::empty(joined(&request.url).0);
    answer.columns = columns(request.url.get("cols").unwrap_or_default());
    let understood = understood(&answer.query, request);
    answer.good = understood.good;
    answer.mistake = understood.mistake;
    let Some(expr) = understood.expr else {
        return answer;
    };
    if let Err(error) = find(engine, control, request, expr, &mut answer) {
        answer.failure = Some(error.to_string());
    }
    // The frame can do without; the answer cannot.
    answer.errors = ribbon(engine, control, request).unwrap_or_default();
    answer.stats = control.stats(answer.stats.partial, answer.stats.searched);
    answer
}

/// Field names, each once.
fn columns(text: &str) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for name in text.split(',').map(str::trim) {
        if !name.is_empty() && columns.len() < COLUMNS_MAX && !columns.iter().any(|c| c == name) {
            columns.push(name.to_owned());
        }
    }
    columns
}

fn find(
    engine: &Engine,
    control: &Control,
    request: &PageRequest,
    query: lang::Expr,
    answer: &mut Answer,
) -> Result<(), QueryError> {
    let mut asked = TraceRequest {
        query,
        range: request.window(),
        limit: TRACES,
        scope: scope_of(&request.url),
        cursor: request.url.get("cursor").and_then(TraceCursor::parse),
        whole: true,
    };
    let page = engine.traces(&asked, control)?;
    let over_all = page.over_all.unwrap_or_default();
    answer.total = over_all.total;
    answer.traces = page.traces;
    answer.scatter = over_all.scatter;
    answer.next = page.next;
    answer.stats = page.stats;
    if answer.traces.is_empty() && answer.total == 0 {
        let now = Timestamp(request.now_ns);
        asked.range =
            TimeRange::new(now.saturating_sub(WIDER_NS), now).expect("it ends after it starts");
        asked.limit = 1;
        asked.cursor = None;
        let wider = engine.traces(&asked, control)?.over_all.unwrap_or_default();
        answer.wider = Some(wider.total).filter(|total| *total > 0);
        return Ok(());
    }
    if !answer.columns.is_empty() {
        let ids: Vec<_> = answer.traces.iter().map(|trace| trace.trace_id).collect();
        answer.values = engine.trace_values(&ids, &answer.columns, control)?;
    }
    if sidebar::asked_inline(&request.url) {
        answer.facets = Some(sidebar::count(
            engine,
            control,
            request,
            &asked.query,
            &answer.good,
            Signal::Traces,
        )?);
    }
    Ok(())
}
