//! Finding traces, and reading whole ones.
//!
//! A search has two steps. First the spans that match tell which traces match. Then the summaries
//! that heads and segments keep tell what the list shows of those traces, and where each is in the
//! scatter. An empty query needs only the second: every trace that runs in the range. Both go from the
//! newest to the oldest, and stop where nothing older can change the page that was asked for.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::QueryError;
use super::answer::{
    MATCHED_SPANS_MAX, MatchedSpan, OtlpPage, OverAll, SpanScope, TRACE_ROWS_MAX, TraceCursor,
    TraceDetail, TracePage, TraceRequest, TraceRow,
};
use super::control::{Control, Partial};
use super::lang::Expr;
use super::logs::Shared;
use super::matcher::SpanMatcher;
use super::scan::{Progress, span_units, span_units_newest};
use super::scatter;
use super::sums::{Sum, Sums, TRACES_MAX, Tables, is_after_cursor};
use super::weight;
use crate::model::write::RequestWriter;
use crate::model::{Signal, Span, SpanId, SpanView, TimeRange, Timestamp, TraceId, write};
use crate::store::{Snapshot, SpanAsk, SpanColumns, SpanPrune, SpanUnit};

/// Spans of one trace that are read: a waterfall of more is no use to anybody, and each is about
/// 1 KB in memory.
const TRACE_SPANS_MAX: usize = 200_000;

/// `SpanKind` numbers of spans where a service is entered.
const KIND_SERVER: i32 = 2;
const KIND_CONSUMER: i32 = 5;

/// A page of traces.
pub(super) fn page(
    snapshot: &Snapshot,
    request: &TraceRequest,
    control: &Control,
) -> Result<TracePage, QueryError> {
    if request.limit == 0 || request.limit > TRACE_ROWS_MAX {
        return Err(QueryError::Invalid(format!(
            "limit is {}; it goes from 1 to {TRACE_ROWS_MAX}",
            request.limit
        )));
    }
    let matcher = SpanMatcher::new(&request.query)?;
    let visible = snapshot.visible(Signal::Traces, request.range);
    let mut tables = Tables::new(snapshot, visible);
    let (sums, matches, progress) = if matcher.is_all() && request.scope == SpanScope::All {
        let mut progress = Progress::new(control, 0);
        progress.note_damage(snapshot, Signal::Traces, visible);
        let sums = running(request, visible, &mut tables, &mut progress);
        (sums, Matches::default(), progress)
    } else {
        matching(snapshot, request, &matcher, &mut tables, control)
    };
    let mut progress = progress;
    if matches.full || sums.full {
        progress.cut(Partial::Rows);
    }
    Ok(laid_out(
        snapshot,
        (request, visible),
        (&matches, &sums, &tables),
        &progress,
        control,
    ))
}

/// Looks at the spans of the range that may match, newest first; at all of them where the whole range
/// is asked for, else until nothing older can change the page.
fn matching<'c>(
    snapshot: &Snapshot,
    request: &TraceRequest,
    matcher: &SpanMatcher,
    tables: &mut Tables,
    control: &'c Control,
) -> (Sums, Matches, Progress<'c>) {
    let (units, visible, mut progress) =
        span_units_newest(snapshot, request.range, matcher, control);
    let ask = SpanAsk {
        find: match request.scope {
            SpanScope::All => matcher.columns,
            SpanScope::Root | SpanScope::Entry => matcher.columns.with(SpanColumns::IDS),
        },
        show: SpanColumns::BASE,
        by_kind: matcher.by_kind && request.scope == SpanScope::All,
    };
    let mut matches = Matches::default();
    let mut ask_again = request.limit;
    let Some(mut units) = units else {
        return (Sums::default(), matches, progress);
    };
    while units.bound().is_some() {
        if !progress.may_go_on() {
            break;
        }
        if units.open_one() {
            continue;
        }
        let Some(unit) = units.next() else {
            break;
        };
        progress.expects(units.expected_bytes());
        let mut test = |span: &SpanView<'_>| in_scope(span, request.scope) && matcher.matches(span);
        let result = unit.select(visible, ask, &mut test, &mut |span| {
            matches.add(span);
            ControlFlow::Continue(())
        });
        progress.read(unit.rows(), unit.bytes(), result);
        progress.holds(matches.traces.len() * TRACE_BYTES);
        let Some(rest) = units.bound().filter(|_| !request.whole) else {
            continue;
        };
        if matches.traces.len() > ask_again && matches.n_after(rest) > request.limit {
            let sums = Sums::of(matches.traces.keys().copied(), tables, &mut progress);
            if sums.n_certain(request, rest) > request.limit {
                progress.skip_rest();
                return (sums, matches, progress);
            }
            ask_again = matches.traces.len() + matches.traces.len() / 2;
        }
    }
    let sums = Sums::of(matches.traces.keys().copied(), tables, &mut progress);
    (sums, matches, progress)
}

/// All traces that run in the range, newest first; as many as the page needs unless the whole range
/// is asked for.
fn running(
    request: &TraceRequest,
    visible: TimeRange,
    tables: &mut Tables,
    progress: &mut Progress<'_>,
) -> Sums {
    let mut sums = Sums::default();
    let mut ask_again = request.limit;
    while progress.may_go_on() {
        let Some(number) = tables.read_next(progress) else {
            break;
        };
        sums.add_table(tables, number, true);
        progress.holds(sums.traces.len() * TRACE_BYTES);
        let Some(rest) = tables.rest().filter(|_| !request.whole) else {
            continue;
        };
        if sums.traces.len() > ask_again {
            sums.runs_in = Some(visible);
            if sums.n_certain(request, rest) > request.limit {
                break;
            }
            ask_again = sums.traces.len() * 2;
        }
    }
    sums.runs_in = Some(visible);
    sums
}

fn in_scope(span: &SpanView<'_>, scope: SpanScope) -> bool {
    match scope {
        SpanScope::All => true,
        SpanScope::Root => span.parent.is_none(),
        SpanScope::Entry => {
            span.parent.is_none() || matches!(span.kind, KIND_SERVER | KIND_CONSUMER)
        }
    }
}

/// Memory of one trace in a list of all: its sum or matches, in a hash table that may be half empty,
/// with the services it names.
const TRACE_BYTES: usize = 2 * size_of::<(TraceId, Sum)>() + 32;

/// The matching spans by trace.
#[derive(Debug, Default)]
struct Matches {
    traces: HashMap<TraceId, Matched>,
    full: bool,
    texts: Vec<String>,
    numbers: HashMap<String, u32>,
}

#[derive(Debug)]
struct Matched {
    count: u64,
    /// Place of the earliest.
    first: Timestamp,
    /// The slowest, slowest first.
    slowest: Vec<Slow>,
}

/// A [`MatchedSpan`] with service and name by their numbers.
#[derive(Clone, Copy, Debug)]
struct Slow {
    span_id: SpanId,
    service: u32,
    name: u32,
    start: Timestamp,
    duration_ns: u64,
    error: bool,
    root: bool,
}

impl Matches {
    fn add(&mut self, span: &SpanView<'_>) {
        if self.traces.len() >= TRACES_MAX && !self.traces.contains_key(&span.trace_id) {
            self.full = true;
            return;
        }
        let matched = self.traces.entry(span.trace_id).or_insert(Matched {
            count: 0,
            first: Timestamp::MAX,
            slowest: Vec::new(),
        });
        matched.count += 1;
        matched.first = matched.first.min(span.at);
        let duration_ns = span.duration_ns();
        let place = matched.slowest.partition_point(|other| {
            (other.duration_ns, span.span_id) >= (duration_ns, other.span_id)
        });
        if place >= MATCHED_SPANS_MAX {
            return;
        }
        let known = |other: &Slow| other.span_id == span.span_id && other.start == span.start;
        if matched.slowest.iter().any(known) {
            return;
        }
        let mut number = |text: &str| {
            if let Some(number) = self.numbers.get(text) {
                return *number;
            }
            let number = self.texts.len() as u32;
            self.texts.push(text.to_owned());
            self.numbers.insert(text.to_owned(), number);
            number
        };
        let slow = Slow {
            span_id: span.span_id,
            service: number(span.resource.service()),
            name: number(span.name),
            start: span.start,
            duration_ns,
            error: span.is_error(),
            root: span.parent.is_none(),
        };
        matched.slowest.truncate(MATCHED_SPANS_MAX - 1);
        matched.slowest.insert(place, slow);
    }

    /// Traces that match after `rest` only, as far as is known.
    fn n_after(&self, rest: Timestamp) -> usize {
        let matched = self.traces.values();
        matched.filter(|matched| matched.first > rest).count()
    }

    /// What the list says of a trace: its slowest matching spans, and how many match.
    fn of(&self, id: TraceId) -> (Vec<MatchedSpan>, u64) {
        let Some(matched) = self.traces.get(&id) else {
            return (Vec::new(), 0);
        };
        let shown = matched.slowest.iter().map(|slow| MatchedSpan {
            span_id: slow.span_id,
            service: self.texts[slow.service as usize].clone(),
            name: self.texts[slow.name as usize].clone(),
            start: slow.start,
            duration_ns: slow.duration_ns,
            error: slow.error,
            root: slow.root,
        });
        (shown.collect(), matched.count)
    }
}

fn laid_out(
    snapshot: &Snapshot,
    (request, range): (&TraceRequest, TimeRange),
    (matches, sums, tables): (&Matches, &Sums, &Tables),
    progress: &Progress<'_>,
    control: &Control,
) -> TracePage {
    let is_after = |sum: &&Sum| is_after_cursor(request, sum);
    let mut page: Vec<&Sum> = sums.known().filter(is_after).collect();
    let newest_first = |a: &&Sum, b: &&Sum| (b.start, b.trace_id).cmp(&(a.start, a.trace_id));
    let more = page.len() > request.limit;
    if more {
        page.select_nth_unstable_by(request.limit, newest_first);
        page.truncate(request.limit);
    }
    page.sort_unstable_by(newest_first);
    let next = page.last().filter(|_| more).map(|sum| TraceCursor {
        start: sum.start,
        trace_id: sum.trace_id,
    });
    let traces = page.iter().map(|sum| {
        let (root, services) = sums.texts(sum, tables);
        let root = root.unwrap_or_else(|| earliest(snapshot, sum.trace_id, control));
        let (matched, matched_count) = matches.of(sum.trace_id);
        TraceRow {
            trace_id: sum.trace_id,
            root_service: root.0,
            root_name: root.1,
            start: sum.start,
            duration_ns: sum.duration_ns(),
            span_count: sum.spans,
            error_count: sum.errors,
            services,
            matched,
            matched_count,
        }
    });
    TracePage {
        traces: traces.collect(),
        over_all: request.whole.then(|| OverAll {
            total: sums.known().count() as u64,
            scatter: scatter::scatter(range, sums),
        }),
        next,
        stats: progress.stats(),
    }
}

/// Service and name of the earliest span: stands in for a root that has not come yet.
fn earliest(snapshot: &Snapshot, id: TraceId, control: &Control) -> (String, String) {
    let mut best: Option<(Timestamp, String, String)> = None;
    let read = each_span(snapshot, id, SpanColumns::BASE, control, &mut |span| {
        if best
            .as_ref()
            .is_none_or(|(start, _, _)| span.start < *start)
        {
            let service = span.resource.service().to_owned();
            best = Some((span.start, service, span.name.to_owned()));
        }
        0
    });
    // Past a bound there is no name; the row says so by being without one.
    let (_, service, name) = best.filter(|_| read.is_ok()).unwrap_or_default();
    (service, name)
}

/// A whole trace: every span once, by (start, span id).
pub(super) fn trace(
    snapshot: &Snapshot,
    id: TraceId,
    control: &Control,
) -> Result<TraceDetail, QueryError> {
    let mut spans: Vec<(u128, Span)> = Vec::new();
    let mut shared = Shared::default();
    let mut content = Vec::new();
    let progress = each_span(snapshot, id, SpanColumns::ALL, control, &mut |span| {
        content.clear();
        write::span(&mut content, span);
        let hash = xxhash_rust::xxh3::xxh3_128(&content);
        let resource = shared.resource(span.resource.into());
        let scope = shared.scope(span.scope.into());
        spans.push((hash, Span::from_view(span, resource, scope)));
        weight::span(span)
    })?;
    if spans.is_empty() {
        return Err(unknown(id, &progress));
    }
    // A span sent twice is one span (design.md section 3): same ids, same content.
    spans.sort_by_key(|(hash, span)| (span.start, span.span_id, *hash));
    spans.dedup_by(|(a, span_a), (b, span_b)| (*a, span_a.span_id) == (*b, span_b.span_id));
    Ok(TraceDetail {
        trace_id: id,
        spans: spans.into_iter().map(|(_, span)| Arc::new(span)).collect(),
        stats: progress.stats(),
    })
}

/// A whole trace as one encoded export request, every span once.
pub(super) fn trace_otlp(
    snapshot: &Snapshot,
    id: TraceId,
    control: &Control,
) -> Result<OtlpPage, QueryError> {
    let mut writer = RequestWriter::default();
    let mut seen = HashSet::new();
    let mut content = Vec::new();
    let progress = each_span(snapshot, id, SpanColumns::ALL, control, &mut |span| {
        content.clear();
        write::span(&mut content, span);
        if seen.insert(xxhash_rust::xxh3::xxh3_128(&content)) {
            writer.span(span);
        }
        // The request, and its JSON.
        4 * content.len()
    })?;
    if seen.is_empty() {
        return Err(unknown(id, &progress));
    }
    Ok(OtlpPage {
        request: writer.finish(),
        next: None,
        stats: progress.stats(),
    })
}

pub(super) fn unknown(id: TraceId, progress: &Progress<'_>) -> QueryError {
    QueryError::missing(format!("trace {id}"), progress.partial())
}

/// Calls `each` for every stored span of a trace, retries included, in no particular order; it sees
/// `columns` and gives the memory that it took.
pub(super) fn each_span<'c>(
    snapshot: &Snapshot,
    id: TraceId,
    columns: SpanColumns,
    control: &'c Control,
    each: &mut dyn FnMut(&SpanView<'_>) -> usize,
) -> Result<Progress<'c>, QueryError> {
    let mut left = TRACE_SPANS_MAX;
    each_unit(snapshot, id, control, &mut |unit, visible, progress| {
        let ask = SpanAsk {
            find: SpanColumns::NONE,
            show: columns.with(SpanColumns::BASE),
            by_kind: false,
        };
        let mut test = |span: &SpanView<'_>| span.trace_id == id;
        let result = unit.select(visible, ask, &mut test, &mut |span| {
            let room = progress.take(each(span));
            left -= 1;
            if left == 0 || !room {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        progress.read(unit.rows(), unit.bytes(), result);
        if left == 0 {
            progress.cut(Partial::Rows);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })
}

/// Calls `each` for every unit that may have spans of a trace.
pub(super) fn each_unit<'c>(
    snapshot: &Snapshot,
    id: TraceId,
    control: &'c Control,
    each: &mut dyn FnMut(&SpanUnit, TimeRange, &mut Progress<'_>) -> ControlFlow<()>,
) -> Result<Progress<'c>, QueryError> {
    let mut matcher = SpanMatcher::new(&Expr::All)?;
    matcher.prune = SpanPrune {
        trace_id: Some(id),
        ..SpanPrune::default()
    };
    let (units, visible, mut progress) = span_units(snapshot, TimeRange::ALL, &matcher, control);
    for unit in &units {
        if !progress.may_go_on() || each(unit, visible, &mut progress).is_break() {
            break;
        }
    }
    Ok(progress)
}
