//! `/api/v1/traces`: lists, whole traces, the waterfall's columns.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::json as print;
use super::{Params, logs};
use crate::model::{Signal, TraceId};
use crate::query::layout::{self, Layout, Row};
use crate::query::{MatchedSpan, SpanScope, TraceCursor, TraceDetail, TraceRequest, TraceRow};
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// Traces in an answer that names no limit.
const LIMIT_DEFAULT: usize = 50;

/// Rows of a waterfall whose details one call gives.
const ROWS_MAX: usize = 500;

/// `GET /api/v1/traces`.
pub(crate) async fn list(
    State(app): State<Shared>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let request = TraceRequest {
        query: params.query()?,
        range: params.range()?,
        limit: params.count("limit", LIMIT_DEFAULT, crate::query::TRACE_ROWS_MAX)?,
        scope: scope(&params)?,
        cursor: params.parsed("cursor", TraceCursor::parse)?,
    };
    let page = app
        .ask(params.text("query"), move |engine, control| {
            engine.traces(&request, control)
        })
        .await?;
    let cells = page.scatter.cells.iter().map(|cell| {
        json!([
            cell.column,
            cell.row,
            cell.count,
            cell.errors,
            cell.trace_id.to_string()
        ])
    });
    Ok(Json(json!({
        "traces": page.traces.iter().map(trace_row).collect::<Vec<_>>(),
        "total": page.total,
        "scatter": {
            "columns": page.scatter.columns,
            "rows": page.scatter.rows,
            "duration_min_ns": page.scatter.duration_min_ns,
            "duration_max_ns": page.scatter.duration_max_ns,
            "cells": cells.collect::<Vec<_>>(),
        },
        "next": page.next.map(|cursor| cursor.to_string()),
        "stats": print::stats(&page.stats),
    })))
}

fn scope(params: &Params) -> Result<SpanScope, Failure> {
    match params.get("spans") {
        None | Some("all") => Ok(SpanScope::All),
        Some("root") => Ok(SpanScope::Root),
        Some("entry") => Ok(SpanScope::Entry),
        Some(other) => Err(Failure::bad_request(
            "bad_parameter",
            format!("spans: {other:?} is none of \"all\", \"root\", \"entry\""),
        )),
    }
}

fn trace_row(row: &TraceRow) -> Value {
    let span = |span: &MatchedSpan| {
        json!({
            "span_id": span.span_id.to_string(),
            "service": span.service,
            "name": span.name,
            "start": print::time(span.start),
            "duration_ns": span.duration_ns,
            "error": span.error,
        })
    };
    json!({
        "trace_id": row.trace_id.to_string(),
        "root_service": row.root_service,
        "root_name": row.root_name,
        "start": print::time(row.start),
        "duration_ns": row.duration_ns,
        "span_count": row.span_count,
        "error_count": row.error_count,
        "services": row.services,
        "matched_spans": row.matched.iter().map(span).collect::<Vec<_>>(),
        "matched_count": row.matched_count,
    })
}

/// `GET /api/v1/traces/facets`.
pub(crate) async fn facets(
    State(app): State<Shared>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let (query, range) = (params.query()?, params.range()?);
    let field = params.get("field").map(str::to_owned);
    let found = app
        .ask(params.text("query"), move |engine, control| {
            engine.span_facets(&query, range, field.as_deref(), control)
        })
        .await?;
    Ok(Json(logs::print_facets(&found)))
}

/// `GET /api/v1/traces/{id}`: the whole trace as OTLP JSON, without loss.
pub(crate) async fn whole(
    State(app): State<Shared>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let id = trace_id(&id)?;
    let found = app
        .ask(&format!("trace {id}"), move |engine, control| {
            engine.trace_otlp(id, control)
        })
        .await?;
    logs::otlp(Signal::Traces, &found)
}

/// `GET /api/v1/traces/{id}/layout`: the waterfall, one array per column.
pub(crate) async fn layout(
    State(app): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let (trace, layout) = laid_out(&app, &id).await?;
    let tag = format!("\"{:016x}\"", trace.version);
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let answer = Json(columns(&trace, &layout));
    Ok(([(header::ETAG, tag)], answer).into_response())
}

async fn laid_out(app: &Shared, id: &str) -> Result<(TraceDetail, Layout), Failure> {
    let id = trace_id(id)?;
    app.ask(&format!("layout of trace {id}"), move |engine, control| {
        let trace = engine.trace(id, control)?;
        let layout = layout::layout(&trace);
        Ok((trace, layout))
    })
    .await
}

fn columns(trace: &TraceDetail, layout: &Layout) -> Value {
    let column = |value: fn(&Row) -> Value| layout.rows.iter().map(value).collect::<Vec<_>>();
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
    let critical = layout.critical.iter();
    json!({
        "trace_id": layout.trace_id.to_string(),
        "start": print::time(layout.start),
        "duration_ns": layout.duration_ns,
        "services": services.collect::<Vec<_>>(),
        "operations": layout.operations,
        "rows": {
            "depth": column(|row| row.depth.into()),
            "start_ns": column(|row| row.start_ns.into()),
            "duration_ns": column(|row| row.duration_ns.into()),
            "self_ns": column(|row| row.self_ns.into()),
            "service": column(|row| row.service.into()),
            "operation": column(|row| row.operation.into()),
            "descendants": column(|row| row.descendants.into()),
        },
        "errors": flagged(layout, |row| row.error),
        "missing_parents": flagged(layout, |row| row.missing_parent),
        "groups": groups.collect::<Vec<_>>(),
        "critical": critical
            .map(|segment| json!([segment.row, segment.start_ns, segment.end_ns]))
            .collect::<Vec<_>>(),
        "skewed": layout.skewed,
        "stats": print::stats(&trace.stats),
    })
}

/// The numbers of the rows that a flag is set of: few, so shorter than a column.
fn flagged(layout: &Layout, flag: fn(&Row) -> bool) -> Vec<usize> {
    let rows = layout.rows.iter().enumerate();
    rows.filter(|(_, row)| flag(row))
        .map(|(at, _)| at)
        .collect()
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
    let (trace, layout) = laid_out(&app, &id).await?;
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

fn trace_id(text: &str) -> Result<TraceId, Failure> {
    TraceId::from_hex(text).ok_or_else(|| {
        Failure::not_found(format!("{text:?} is not a trace id"))
            .hint("a trace id is 32 hexadecimal digits, not all zero")
    })
}
