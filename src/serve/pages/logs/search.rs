//! What the log page asks the engine, as one synchronous call: the page of records, the histogram,
//! and, where nothing is found, whether a longer time range has something.

use crate::model::owned::RecordId;
use crate::model::{LogRecord, Signal, TimeRange};
use crate::query::{
    self, Control, Direction, Engine, LogCursor, LogRequest, QueryError, Stats, lang,
};
use crate::serve::page_url::PageUrl;
use crate::serve::pages::querybar::{errors_of, joined, over_time, ribbon, understood};
use crate::serve::pages::sidebar;
use crate::serve::request::PageRequest;

/// Lines of one page; scrolling adds more of them up to 500 in the document.
pub(crate) const LINES: usize = 100;
/// Bars of the histogram at most, at 1 280 px 8 px each: an hour in half minutes, cut at both ends.
const BARS_MAX: usize = 122;
/// Neighbours on each side of a line, first and at most.
const AROUND_LINES: usize = 50;
pub(crate) const AROUND_LINES_MAX: usize = 400;
/// Longer ranges tried where the asked one is empty: hours, and how the address says it.
const WIDER: [(u64, &str); 2] = [(24, "24h"), (7 * 24, "7d")];

/// Everything that the page shows about one query.
pub(crate) struct Answer {
    /// As asked.
    pub(crate) query: String,
    /// The query that was run: the asked one, or the last good one while that has a mistake.
    pub(crate) good: String,
    pub(crate) mistake: Option<lang::Error>,
    /// Newest first.
    pub(crate) records: Vec<LogRecord>,
    pub(crate) newer: Option<LogCursor>,
    pub(crate) older: Option<LogCursor>,
    /// All matching records of the range.
    pub(crate) total: u64,
    pub(crate) histogram: Option<query::Histogram>,
    /// `None` where the page is shown before they are counted.
    pub(crate) facets: Option<query::Facets>,
    pub(crate) stats: Stats,
    /// Lines in a longer time range, where this one has none.
    pub(crate) wider: Option<(u64, String)>,
    /// The line whose neighbours are shown.
    pub(crate) pinned: Option<RecordId>,
    pub(crate) around_lines: usize,
    /// Errors over the range, for the frame.
    pub(crate) errors: Vec<u64>,
    /// Why there is no answer.
    pub(crate) failure: Option<String>,
}

impl Answer {
    pub(crate) fn empty(query: String) -> Answer {
        Answer {
            good: query.clone(),
            query,
            mistake: None,
            records: Vec::new(),
            newer: None,
            older: None,
            total: 0,
            histogram: None,
            facets: None,
            stats: Stats::default(),
            wider: None,
            pinned: None,
            around_lines: AROUND_LINES,
            errors: Vec::new(),
            failure: None,
        }
    }
}

/// The page. An engine's refusal becomes part of the answer: the page is shown with it.
pub(crate) fn search(engine: &Engine, control: &Control, request: &PageRequest) -> Answer {
    let mut answer = Answer::empty(joined(&request.url).0);
    let Some(expr) = understand(&mut answer, request) else {
        return answer;
    };
    let found = match request.url.get("around").and_then(RecordId::parse) {
        Some(id) => neighbours(engine, control, request, id, &mut answer),
        None => list(engine, control, request, &expr, &mut answer)
            .and_then(|()| overview(engine, control, request, &expr, &mut answer))
            .and_then(|()| {
                if sidebar::asked_inline(&request.url) {
                    answer.facets = Some(sidebar::count(
                        engine,
                        control,
                        request,
                        &expr,
                        &answer.good,
                        Signal::Logs,
                    )?);
                }
                Ok(())
            }),
    };
    if let Err(error) = found {
        answer.failure = Some(error.to_string());
    }
    if answer.errors.is_empty() {
        // The frame can do without; the answer cannot.
        answer.errors = ribbon(engine, control, request).unwrap_or_default();
    }
    answer.stats = control.stats(answer.stats.partial, answer.stats.searched);
    answer
}

/// The rows alone, for scrolling.
pub(crate) fn scroll(engine: &Engine, control: &Control, request: &PageRequest) -> Answer {
    let mut answer = Answer::empty(joined(&request.url).0);
    if let Some(expr) = understand(&mut answer, request)
        && let Err(error) = list(engine, control, request, &expr, &mut answer)
    {
        answer.failure = Some(error.to_string());
    }
    answer
}

/// The address has a cursor that is not one of ours.
pub(crate) fn bad_cursor(url: &PageUrl) -> bool {
    url.get("cursor")
        .is_some_and(|text| LogCursor::parse(text).is_none())
}

/// Reads the query; the answer takes on what was understood.
fn understand(answer: &mut Answer, request: &PageRequest) -> Option<lang::Expr> {
    let understood = understood(&answer.query, request);
    answer.good = understood.good;
    answer.mistake = understood.mistake;
    understood.expr
}

fn list(
    engine: &Engine,
    control: &Control,
    request: &PageRequest,
    expr: &lang::Expr,
    answer: &mut Answer,
) -> Result<(), QueryError> {
    let cursor = request.url.get("cursor").and_then(LogCursor::parse);
    let newer = cursor.is_some() && request.url.get("direction") == Some("newer");
    let asked = LogRequest {
        query: expr.clone(),
        range: request.window(),
        limit: LINES,
        direction: if newer {
            Direction::OldestFirst
        } else {
            Direction::NewestFirst
        },
        cursor,
    };
    let page = engine.logs(&asked, control)?;
    answer.stats = page.stats;
    answer.records = page.records;
    if newer {
        answer.records.reverse();
        answer.newer = page.next;
        answer.older = end_of(answer.records.iter().rev());
    } else {
        answer.older = page.next;
        answer.newer = cursor.and_then(|_| end_of(answer.records.iter()));
    }
    Ok(())
}

/// The place after the outermost record of a page, when the list goes on in that direction.
fn end_of<'a>(mut outwards: impl Iterator<Item = &'a LogRecord>) -> Option<LogCursor> {
    let id = outwards.next()?.id;
    let same = outwards.take_while(|record| record.id == id).count();
    Some(LogCursor {
        id,
        shown: u32::try_from(same + 1).unwrap_or(u32::MAX),
    })
}

/// The histogram of everything that matches, and the frame's errors where they are part of it.
fn overview(
    engine: &Engine,
    control: &Control,
    request: &PageRequest,
    expr: &lang::Expr,
    answer: &mut Answer,
) -> Result<(), QueryError> {
    let range = request.window();
    // Mostly in bars as narrow as the ribbon's: joined they are the histogram's.
    let fine = over_time(engine, control, expr, range)?;
    answer.total = fine.total;
    answer.stats.partial = answer.stats.partial.or(fine.stats.partial);
    answer.stats.searched = fine.stats.searched;
    if answer.records.is_empty() && fine.total == 0 {
        answer.wider = wider(engine, control, request, expr)?;
    }
    if answer.good.is_empty() {
        answer.errors = errors_of(&fine);
    }
    answer.histogram = Some(fine.joined(BARS_MAX));
    Ok(())
}

fn wider(
    engine: &Engine,
    control: &Control,
    request: &PageRequest,
    expr: &lang::Expr,
) -> Result<Option<(u64, String)>, QueryError> {
    const HOUR_NS: u64 = 3_600_000_000_000;
    for (hours, start) in WIDER {
        let now = crate::model::Timestamp(request.now_ns);
        let from = now.saturating_sub(hours * HOUR_NS);
        let range = TimeRange::new(from, now).expect("it ends after it starts");
        let found = engine.log_histogram(expr, range, 1, "severity", control)?;
        if found.total > 0 {
            return Ok(Some((found.total, start.to_owned())));
        }
    }
    Ok(None)
}

fn neighbours(
    engine: &Engine,
    control: &Control,
    request: &PageRequest,
    id: RecordId,
    answer: &mut Answer,
) -> Result<(), QueryError> {
    let lines = request
        .url
        .get("lines")
        .and_then(|lines| lines.parse().ok());
    answer.around_lines = lines.unwrap_or(AROUND_LINES).clamp(1, AROUND_LINES_MAX);
    let context = engine.log_context(id, answer.around_lines, answer.around_lines, control)?;
    answer.pinned = Some(id);
    answer.stats = context.stats;
    answer.records = context.after;
    answer.records.reverse();
    answer.records.push(context.record);
    answer.records.extend(context.before.into_iter().rev());
    answer.total = answer.records.len() as u64;
    Ok(())
}
