//! Finding traces, and reading whole ones.
//!
//! A search has two steps. First the spans that match tell which traces match. Then the summaries
//! that heads and segments keep tell what the list shows of those traces, and where each is in the
//! scatter. An empty query needs only the second: every trace that runs in the range.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::QueryError;
use super::answer::{
    MATCHED_SPANS_MAX, MatchedSpan, SpanScope, TRACE_ROWS_MAX, TraceCursor, TraceDetail, TracePage,
    TraceRequest, TraceRow,
};
use super::control::{Control, Partial};
use super::lang::Expr;
use super::logs::Shared;
use super::matcher::SpanMatcher;
use super::scan::{Progress, span_units};
use super::scatter;
use crate::model::time::NANOS_PER_MINUTE;
use crate::model::write::RequestWriter;
use crate::model::{Signal, Span, SpanView, TimeRange, Timestamp, TraceId, TraceSummary, write};
use crate::store::{Snapshot, SpanColumns, SpanPrune, SpanUnit};

/// Traces one search can keep apart: about 200 B each.
const TRACES_MAX: usize = 200_000;

/// Spans of one trace that are read: a waterfall of more is no use to anybody, and each is about
/// 1 KB in memory.
const TRACE_SPANS_MAX: usize = 200_000;

/// A trace may begin before the range or end after it by this much and still be summed up whole.
const OVERHANG_NS: u64 = 10 * NANOS_PER_MINUTE;

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
    let named = !matcher.is_all() || request.scope != SpanScope::All;
    let (visible, matches, mut progress) = if named {
        matching(snapshot, request, &matcher, control)
    } else {
        let visible = snapshot.visible(Signal::Traces, request.range);
        let mut progress = Progress::new(control, 0);
        progress.note_damage(snapshot, Signal::Traces, visible);
        (visible, Matches::default(), progress)
    };
    let mut sums = Sums::new(named.then_some(&matches));
    sums.read(snapshot, visible, &mut progress);
    if matches.full || sums.full {
        progress.cut(Partial::Rows);
    }
    Ok(laid_out(
        snapshot, request, visible, matches, &sums, &progress, control,
    ))
}

/// Looks at all spans of the range that may match.
fn matching<'c>(
    snapshot: &Snapshot,
    request: &TraceRequest,
    matcher: &SpanMatcher,
    control: &'c Control,
) -> (TimeRange, Matches, Progress<'c>) {
    let (units, visible, mut progress) = span_units(snapshot, request.range, matcher, control);
    let mut matches = Matches::default();
    for unit in &units {
        if !progress.may_go_on() {
            break;
        }
        let result = unit.for_each(matcher.columns, &mut |span| {
            let wanted = visible.contains(span.at) && in_scope(span, request.scope);
            if wanted && matcher.matches(span) {
                matches.add(span);
            }
            ControlFlow::Continue(())
        });
        progress.read(unit.rows(), unit.bytes(), result);
    }
    (visible, matches, progress)
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

/// The matching spans by trace.
#[derive(Debug, Default)]
struct Matches {
    traces: HashMap<TraceId, Matched>,
    full: bool,
}

#[derive(Debug, Default)]
struct Matched {
    count: u64,
    /// The slowest, slowest first.
    slowest: Vec<MatchedSpan>,
}

impl Matches {
    fn add(&mut self, span: &SpanView<'_>) {
        if self.traces.len() >= TRACES_MAX && !self.traces.contains_key(&span.trace_id) {
            self.full = true;
            return;
        }
        let matched = self.traces.entry(span.trace_id).or_default();
        matched.count += 1;
        let duration_ns = span.duration_ns();
        let place = matched.slowest.partition_point(|other| {
            (other.duration_ns, span.span_id) >= (duration_ns, other.span_id)
        });
        if place >= MATCHED_SPANS_MAX {
            return;
        }
        let known =
            |other: &MatchedSpan| other.span_id == span.span_id && other.start == span.start;
        if matched.slowest.iter().any(known) {
            return;
        }
        matched.slowest.truncate(MATCHED_SPANS_MAX - 1);
        matched.slowest.insert(
            place,
            MatchedSpan {
                span_id: span.span_id,
                service: span.resource.service().to_owned(),
                name: span.name.to_owned(),
                start: span.start,
                duration_ns,
                error: span.is_error(),
                root: span.parent.is_none(),
            },
        );
    }
}

/// What is known of every matching trace, from the summaries that heads and segments keep.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) traces: HashMap<TraceId, Sum>,
    /// Every trace of the range matches; none is known beforehand.
    all: bool,
    /// More traces than are kept apart.
    full: bool,
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

/// One trace summed up.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) spans: u64,
    pub(super) errors: u64,
    /// Start, service and name of the root, once it is there.
    root: Option<(Timestamp, u32, u32)>,
    services: Vec<u32>,
}

impl Sum {
    const NOTHING: Sum = Sum {
        start: Timestamp::MAX,
        end: Timestamp(0),
        spans: 0,
        errors: 0,
        root: None,
        services: Vec::new(),
    };

    pub(super) fn duration_ns(&self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }
}

impl Sums {
    /// Of these traces, or of all that there are.
    fn new(matches: Option<&Matches>) -> Sums {
        let ids = matches
            .into_iter()
            .flat_map(|matches| matches.traces.keys());
        Sums {
            traces: ids.map(|id| (*id, Sum::NOTHING)).collect(),
            all: matches.is_none(),
            full: false,
            names: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    /// Sums up what the range and its surroundings have; of all traces, those that run in `range`.
    fn read(&mut self, snapshot: &Snapshot, range: TimeRange, progress: &mut Progress<'_>) {
        if !self.all && self.traces.is_empty() {
            return;
        }
        let start = range.start().saturating_sub(OVERHANG_NS);
        let end = range.end().saturating_add(OVERHANG_NS);
        let around = TimeRange::new(start, end).unwrap_or(range);
        let result = snapshot.summaries(around, &mut |summary| self.add(summary));
        progress.read(0, 0, result);
        if self.all {
            self.traces
                .retain(|_, sum| range.overlaps(sum.start, sum.end));
        }
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }

    fn add(&mut self, summary: &TraceSummary) {
        if !self.traces.contains_key(&summary.trace_id) {
            let room = self.traces.len() < TRACES_MAX;
            self.full |= self.all && !room;
            if !self.all || !room {
                return;
            }
        }
        let services: Vec<u32> = summary
            .services
            .iter()
            .map(|name| self.number(name))
            .collect();
        let root = summary.root.as_ref().map(|root| {
            (
                root.start,
                self.number(&root.service),
                self.number(&root.name),
            )
        });
        let sum = self.traces.entry(summary.trace_id).or_insert(Sum::NOTHING);
        sum.start = sum.start.min(summary.start);
        sum.end = sum.end.max(summary.end);
        sum.spans += summary.spans;
        sum.errors += summary.errors;
        for service in services {
            if let Err(place) = sum.services.binary_search(&service) {
                sum.services.insert(place, service);
            }
        }
        sum.root = match (sum.root, root) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
    }
}

fn laid_out(
    snapshot: &Snapshot,
    request: &TraceRequest,
    range: TimeRange,
    mut matches: Matches,
    sums: &Sums,
    progress: &Progress<'_>,
    control: &Control,
) -> TracePage {
    let mut order: Vec<(Timestamp, TraceId)> = sums
        .traces
        .iter()
        // Cut short before its spans were read: nothing is known of it.
        .filter(|(_, sum)| sum.spans > 0)
        .map(|(id, sum)| (sum.start, *id))
        .collect();
    order.sort_unstable_by(|a, b| b.cmp(a));
    let total = order.len() as u64;
    let from = request.cursor.map_or(0, |cursor| {
        order.partition_point(|place| *place >= (cursor.start, cursor.trace_id))
    });
    let page = &order[from..order.len().min(from + request.limit)];
    let more = from + page.len() < order.len();
    let next = page.last().filter(|_| more).map(|(start, id)| TraceCursor {
        start: *start,
        trace_id: *id,
    });
    let traces = page.iter().map(|(_, id)| {
        let matched = matches.traces.remove(id).unwrap_or_default();
        let (sum, mut row) = (&sums.traces[id], row(*id, &sums.traces[id], sums, matched));
        if sum.root.is_none() {
            (row.root_service, row.root_name) = earliest(snapshot, *id, control);
        }
        row
    });
    TracePage {
        traces: traces.collect(),
        total,
        scatter: scatter::scatter(range, &sums.traces),
        next,
        stats: progress.stats(),
    }
}

/// Service and name of the earliest span: stands in for a root that has not come yet.
fn earliest(snapshot: &Snapshot, id: TraceId, control: &Control) -> (String, String) {
    let mut best: Option<(Timestamp, String, String)> = None;
    let read = each_span(snapshot, id, SpanColumns::NONE, control, &mut |span| {
        if best
            .as_ref()
            .is_none_or(|(start, _, _)| span.start < *start)
        {
            let service = span.resource.service().to_owned();
            best = Some((span.start, service, span.name.to_owned()));
        }
    });
    // Past a bound there is no name; the row says so by being without one.
    let (_, service, name) = best.filter(|_| read.is_ok()).unwrap_or_default();
    (service, name)
}

fn row(id: TraceId, sum: &Sum, sums: &Sums, matched: Matched) -> TraceRow {
    let root = sum
        .root
        .map(|(_, service, name)| (sums.name(service), sums.name(name)));
    let (root_service, root_name) = root.unwrap_or_default();
    let mut services: Vec<String> = sum
        .services
        .iter()
        .map(|number| sums.name(*number).to_owned())
        .collect();
    services.sort_unstable();
    TraceRow {
        trace_id: id,
        root_service: root_service.to_owned(),
        root_name: root_name.to_owned(),
        start: sum.start,
        duration_ns: sum.duration_ns(),
        span_count: sum.spans,
        error_count: sum.errors,
        services,
        matched: matched.slowest,
        matched_count: matched.count,
    }
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
    })?;
    if spans.is_empty() {
        return Err(unknown(id));
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
) -> Result<Vec<u8>, QueryError> {
    let mut writer = RequestWriter::default();
    let mut seen = HashSet::new();
    let mut content = Vec::new();
    each_span(snapshot, id, SpanColumns::ALL, control, &mut |span| {
        content.clear();
        write::span(&mut content, span);
        if seen.insert(xxhash_rust::xxh3::xxh3_128(&content)) {
            writer.span(span);
        }
    })?;
    if seen.is_empty() {
        return Err(unknown(id));
    }
    Ok(writer.finish())
}

pub(super) fn unknown(id: TraceId) -> QueryError {
    QueryError::NotFound(format!("no trace {id}: never seen, or past its retention"))
}

/// Calls `each` for every stored span of a trace, retries included, in no particular order.
pub(super) fn each_span<'c>(
    snapshot: &Snapshot,
    id: TraceId,
    columns: SpanColumns,
    control: &'c Control,
    each: &mut dyn FnMut(&SpanView<'_>),
) -> Result<Progress<'c>, QueryError> {
    let mut left = TRACE_SPANS_MAX;
    each_unit(snapshot, id, control, &mut |unit, visible, progress| {
        let result = unit.for_each(columns, &mut |span| {
            if span.trace_id == id && visible.contains(span.at) {
                each(span);
                left -= 1;
            }
            if left == 0 {
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
