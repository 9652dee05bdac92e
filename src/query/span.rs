//! One span of a trace, read without the others' attributes, and what links to it.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::QueryError;
use super::answer::{LinkedFrom, SpanDetail};
use super::control::{Control, Partial};
use super::lang::Expr;
use super::layout::Row;
use super::logs::Shared;
use super::matcher::SpanMatcher;
use super::scan::span_units;
use super::traces;
use crate::model::record::LinkView;
use crate::model::{Span, SpanView, TimeRange, Timestamp, TraceId, write};
use crate::store::{Snapshot, SpanColumns};

/// Spans that link to one span and are listed.
const LINKED_FROM_MAX: usize = 20;

/// Which span is meant: an id need not be one span's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanPlace {
    pub(crate) id: crate::model::SpanId,
    pub(crate) start: Timestamp,
    /// Among spans of that id and start, in the order of their content.
    pub(crate) nth: usize,
}

/// Reads the span. Each unit is read lightly first: only the one that holds it is read whole.
pub(super) fn detail(
    snapshot: &Snapshot,
    trace: TraceId,
    place: SpanPlace,
    control: &Control,
) -> Result<SpanDetail, QueryError> {
    let (mut found, mut linked_from) = (Vec::new(), Vec::new());
    let mut content = Vec::new();
    traces::each_unit(snapshot, trace, control, &mut |unit, visible, progress| {
        let (mut here, mut shared) = (false, Shared::default());
        let is_it = |span: &SpanView<'_>| {
            span.trace_id == trace && (span.span_id, span.start) == (place.id, place.start)
        };
        let light = unit.for_each(SpanColumns::LINKS, &mut |span| {
            here |= is_it(span) && visible.contains(span.at);
            let links = span.trace_id == trace && links_to(span, trace, place.id);
            if links && linked_from.len() < LINKED_FROM_MAX {
                linked_from.push(linked(span));
            }
            ControlFlow::Continue(())
        });
        progress.read(unit.rows(), unit.bytes(), light);
        if here {
            let whole = unit.for_each(SpanColumns::ALL, &mut |span| {
                if is_it(span) {
                    content.clear();
                    write::span(&mut content, span);
                    let resource = shared.resource(span.resource.into());
                    let scope = shared.scope(span.scope.into());
                    let hash = xxhash_rust::xxh3::xxh3_128(&content);
                    found.push((hash, Span::from_view(span, resource, scope)));
                }
                ControlFlow::Continue(())
            });
            progress.read(unit.rows(), unit.bytes(), whole);
        }
        ControlFlow::Continue(())
    })?;
    found.sort_by_key(|(hash, _)| *hash);
    found.dedup_by_key(|(hash, _)| *hash);
    linked_from.dedup();
    match found.into_iter().nth(place.nth) {
        Some((_, span)) => Ok(SpanDetail {
            span: Arc::new(span),
            linked_from,
        }),
        None => Err(QueryError::NotFound(format!(
            "no span {} in trace {trace}",
            place.id
        ))),
    }
}

/// Spans of other traces in `range` that link to a span; the second value says why there may be
/// more.
pub(super) fn linked_elsewhere(
    snapshot: &Snapshot,
    trace: TraceId,
    id: crate::model::SpanId,
    range: TimeRange,
    control: &Control,
) -> Result<(Vec<LinkedFrom>, Option<Partial>), QueryError> {
    let matcher = SpanMatcher::new(&Expr::All)?;
    let (units, visible, mut progress) = span_units(snapshot, range, &matcher, control);
    let mut found = Vec::new();
    for unit in &units {
        if found.len() >= LINKED_FROM_MAX {
            progress.cut(Partial::Rows);
            break;
        }
        if !progress.may_go_on() {
            break;
        }
        let result = unit.for_each(SpanColumns::LINKS, &mut |span| {
            let other = span.trace_id != trace && visible.contains(span.at);
            if other && links_to(span, trace, id) {
                found.push(linked(span));
            }
            if found.len() < LINKED_FROM_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        progress.read(unit.rows(), unit.bytes(), result);
    }
    found.dedup();
    Ok((found, progress.stats().partial))
}

/// Where a row of a layout is in the store.
pub(crate) fn place_of(rows: &[Row], row: &Row, trace_start: Timestamp) -> SpanPlace {
    let twin = |other: &&Row| {
        (other.id, other.start_ns) == (row.id, row.start_ns) && other.span < row.span
    };
    SpanPlace {
        id: row.id,
        start: trace_start.saturating_add(row.start_ns),
        nth: rows.iter().filter(twin).count(),
    }
}

pub(super) fn links_to(span: &SpanView<'_>, trace: TraceId, id: crate::model::SpanId) -> bool {
    let to = |raw: &&[u8]| {
        LinkView::parse(raw)
            .is_ok_and(|link| (link.trace_id, link.span_id) == (Some(trace), Some(id)))
    };
    span.links.iter().any(to)
}

pub(super) fn linked(span: &SpanView<'_>) -> LinkedFrom {
    LinkedFrom {
        trace_id: span.trace_id,
        span_id: span.span_id,
        service: span.resource.service().to_owned(),
        name: span.name.to_owned(),
    }
}
