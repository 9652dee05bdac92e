//! `/api/v1/traces/{id}/layout` and `/spans`: the waterfall's columns and the details of its rows.
//! The columns are written as text directly: 100,000 rows as JSON values would cost more than
//! reading and laying them out.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Params;
use super::json as print;
use super::traces::trace_id;
use crate::query::LaidOut;
use crate::query::layout::{self, Layout, Row, Skeleton};
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// Rows of a waterfall whose details one call gives.
const ROWS_MAX: usize = 500;

/// Significant digits with `precision=screen`. Three are shown; the fourth keeps a span that fills
/// the screen within a pixel of its place.
const SCREEN_DIGITS: u32 = 4;

/// `GET /api/v1/traces/{id}/layout`: the waterfall, one array per column. `at` asks for the version
/// that a page was drawn from.
pub(crate) async fn layout(
    State(app): State<Shared>,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let id = trace_id(&id)?;
    let at = params.parsed("at", |text| u64::from_str_radix(text, 16).ok())?;
    let digits = match params.get("precision") {
        None => u32::MAX,
        Some("screen") => SCREEN_DIGITS,
        Some(other) => {
            let message = format!("precision: {other:?} is not \"screen\"");
            return Err(Failure::bad_request("bad_parameter", message));
        }
    };
    let known = headers.get(header::IF_NONE_MATCH).cloned();
    let work = move |engine: &crate::query::Engine, control: &_| {
        let laid_out = match at {
            None => Some(engine.laid_out(id, control)?),
            Some(version) => engine.laid_out_at(id, version, control)?,
        };
        let Some(laid_out) = laid_out else {
            return Ok(None);
        };
        let tag = format!("\"{:016x}-{digits:x}\"", laid_out.version);
        let same = known.is_some_and(|known| known.as_bytes() == tag.as_bytes());
        Ok(Some((tag, (!same).then(|| columns(&laid_out, digits)))))
    };
    let answer = app.ask(&format!("layout of trace {id}"), work).await?;
    let Some((tag, body)) = answer else {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            "changed",
            "spans have arrived since that version".to_owned(),
        )
        .hint("ask without `at`"));
    };
    let json = (header::CONTENT_TYPE, "application/json".to_owned());
    Ok(match body {
        None => (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response(),
        Some(body) => ([(header::ETAG, tag), json], body).into_response(),
    })
}

fn columns(laid_out: &LaidOut, digits: u32) -> String {
    let layout = &laid_out.layout;
    let services = layout.services.iter().map(|share| {
        json!({
            "name": share.name,
            "spans": share.spans,
            "errors": share.errors,
            "self_ns": share.self_ns,
        })
    });
    let groups = layout.groups.iter().map(|group| {
        json!({
            "rows": [group.rows.start, group.rows.end],
            "service": group.service,
            "operation": group.operation,
            "count": group.count,
            "total_ns": group.total_ns,
            "p95_ns": group.p95_ns,
            "errors": group.errors,
        })
    });
    let mut head = json!({
        "trace_id": layout.trace_id.to_string(),
        "version": format!("{:016x}", laid_out.version),
        "start": print::time(layout.start),
        "duration_ns": layout.duration_ns,
        "services": services.collect::<Vec<_>>(),
        "operations": layout.operations,
        "groups": groups.collect::<Vec<_>>(),
        "skewed": layout.skewed,
        "stats": print::stats(&laid_out.stats),
    })
    .to_string();
    head.pop();
    // About 24 digits and commas a row.
    head.reserve(layout.rows.len() * 24);
    rows(&mut head, layout, digits);
    critical(&mut head, layout, digits);
    head.push('}');
    head
}

fn rows(out: &mut String, layout: &Layout, digits: u32) {
    let rows = || layout.rows.iter();
    let mut kinds = Kinds::default();
    let of_row: Vec<u32> = rows().map(|row| kinds.number(row)).collect();
    let starts = rows().map(|row| nearest(row.start_ns, row.duration_ns, digits));
    out.push_str(",\"rows\":{\"depth\":");
    list(out, rows().map(|row| row.depth));
    out.push_str(",\"start_step_ns\":");
    list(out, steps(starts));
    out.push_str(",\"duration_ns\":");
    list(out, rows().map(|row| down(row.duration_ns, digits)));
    if digits == u32::MAX {
        // The screen has it from the children themselves.
        out.push_str(",\"self_ns\":");
        list(out, rows().map(|row| row.self_ns));
    }
    out.push_str(",\"kind\":");
    list(out, of_row.into_iter());
    out.push_str("},\"kinds\":[");
    for (at, (service, operation)) in kinds.list.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        _ = write!(out, "{comma}[{service},{operation}]");
    }
    out.push_str("],\"errors\":");
    list(out, flagged(layout, |row| row.error));
    out.push_str(",\"missing_parents\":");
    list(out, flagged(layout, |row| row.missing_parent));
}

/// The path has no gaps: where each part begins says where the one before it ends.
fn critical(out: &mut String, layout: &Layout, digits: u32) {
    let parts = layout.critical.iter();
    let length = |part: &layout::CriticalSegment| part.end_ns - part.start_ns;
    out.push_str(",\"critical\":{\"row\":");
    list(out, parts.clone().map(|part| part.row));
    out.push_str(",\"start_step_ns\":");
    list(
        out,
        steps(parts.map(|part| nearest(part.start_ns, length(part), digits))),
    );
    let end = layout.critical.last().map_or(0, |part| part.end_ns);
    _ = write!(out, ",\"end_ns\":{end}}}");
}

/// Numbers of the pairs of service and operation: one column instead of two.
#[derive(Default)]
struct Kinds {
    numbers: std::collections::HashMap<(u32, u32), u32>,
    list: Vec<(u32, u32)>,
}

impl Kinds {
    fn number(&mut self, row: &Row) -> u32 {
        let pair = (row.service, row.operation);
        *self.numbers.entry(pair).or_insert_with(|| {
            self.list.push(pair);
            self.list.len() as u32 - 1
        })
    }
}

/// The power of ten that leaves `digits` digits of `ns`, at least 1. From 1,000 s on minutes are
/// shown, so nothing is left out.
fn unit(ns: u64, digits: u32) -> u64 {
    const SHOWN_IN_MINUTES: u32 = 13;
    let has = ns.checked_ilog10().map_or(1, |log| log + 1);
    if has >= SHOWN_IN_MINUTES {
        return 1;
    }
    10u64.pow(has.saturating_sub(digits))
}

/// Rounded down, so that the three digits that are shown stay the same. A fourth digit of 5 with
/// something after it would become a tie, and round another way: it stays over the tie.
fn down(ns: u64, digits: u32) -> u64 {
    let unit = unit(ns, digits);
    let rounded = ns - ns % unit;
    if rounded != ns && rounded / unit % 10 == 5 {
        rounded + unit / 10
    } else {
        rounded
    }
}

/// A place as exact as what stands there is long.
fn nearest(at_ns: u64, length_ns: u64, digits: u32) -> u64 {
    let unit = unit(length_ns, digits);
    (at_ns + unit / 2) / unit * unit
}

/// Each number less the one before: small numbers compress.
fn steps(numbers: impl Iterator<Item = u64>) -> impl Iterator<Item = i64> {
    numbers.scan(0, |before, number| {
        let step = number as i64 - *before;
        *before = number as i64;
        Some(step)
    })
}

fn list<N: std::fmt::Display>(out: &mut String, numbers: impl Iterator<Item = N>) {
    let mut mark = '[';
    for number in numbers {
        out.push(mark);
        _ = write!(out, "{number}");
        mark = ',';
    }
    if mark == '[' {
        out.push(mark);
    }
    out.push(']');
}

/// The numbers of the rows that a flag is set of: few, so shorter than a column.
fn flagged(layout: &Layout, flag: fn(&Row) -> bool) -> impl Iterator<Item = usize> {
    let rows = layout.rows.iter().enumerate();
    rows.filter(move |(_, row)| flag(row)).map(|(at, _)| at)
}

/// `GET /api/v1/traces/{id}/spans?rows=a-b`: the details of rows, both ends included.
pub(crate) async fn spans(
    State(app): State<Shared>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let rows = params
        .parsed("rows", read_rows)?
        .unwrap_or((0, ROWS_MAX - 1));
    let (from, to) = rows;
    if to - from >= ROWS_MAX {
        let message = format!("rows: at most {ROWS_MAX} at once");
        return Err(Failure::bad_request("bad_parameter", message));
    }
    let id = trace_id(&id)?;
    let (trace, layout) = app
        .ask(&format!("spans of trace {id}"), move |engine, control| {
            let trace = engine.trace(id, control)?;
            let layout = layout::layout(&Skeleton::of(&trace));
            Ok((trace, layout))
        })
        .await?;
    let wanted = layout
        .rows
        .iter()
        .enumerate()
        .skip(from)
        .take(to - from + 1);
    let spans = wanted.map(|(at, row)| {
        let mut span = print::span(&trace.spans[row.span as usize]);
        span["row"] = at.into();
        span
    });
    Ok(Json(json!({
        "spans": spans.collect::<Vec<_>>(),
        "rows": layout.rows.len(),
        "stats": print::stats(&trace.stats),
    })))
}

/// `a-b` with `a <= b`, or one number.
fn read_rows(text: &str) -> Option<(usize, usize)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (from.parse().ok()?, to.parse().ok()?);
    (from <= to).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::format;

    #[test]
    fn rounding_for_the_screen_changes_no_text_and_no_place_by_a_pixel() {
        let mut ns = 1u64;
        while ns < 5_000_000_000_000 {
            for ns in [ns, ns * 7 / 5, ns + ns / 9_999] {
                let rounded = down(ns, SCREEN_DIGITS);
                assert_eq!(format::duration(rounded), format::duration(ns), "{ns}");
                assert!((ns - rounded) * 999 <= ns, "{ns}: {rounded}");
                let place = nearest(987_654_321_987, ns, SCREEN_DIGITS);
                assert!(
                    place.abs_diff(987_654_321_987) * 1_999 <= ns,
                    "{ns}: {place}"
                );
                assert_eq!(down(ns, u32::MAX), ns);
                assert_eq!(nearest(123_456, ns, u32::MAX), 123_456);
            }
            ns = ns * 13 / 9 + 1;
        }
    }

    #[test]
    fn lists_are_json() {
        let mut out = String::new();
        list(&mut out, steps([5, 3, 3, 10].into_iter()));
        list(&mut out, std::iter::empty::<u64>());
        assert_eq!(out, "[5,-2,0,7][]");
    }
}
