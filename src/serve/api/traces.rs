//! `/api/v1/traces`: lists and whole traces.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::json as print;
use super::{Params, logs};
use crate::model::{Signal, TraceId};
use crate::query::{MatchedSpan, Scatter, SpanScope, TraceCursor, TraceRequest, TraceRow};
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// Traces in an answer that names no limit.
const LIMIT_DEFAULT: usize = 50;

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
        whole: params.get("scatter") == Some("true"),
    };
    let page = app
        .ask(params.text("query"), move |engine, control| {
            engine.traces(&request, control)
        })
        .await?;
    let mut answer = json!({
        "traces": page.traces.iter().map(trace_row).collect::<Vec<_>>(),
        "next": page.next.map(|cursor| cursor.to_string()),
        "stats": print::stats(&page.stats),
    });
    if let Some(over_all) = &page.over_all {
        answer["total"] = over_all.total.into();
        answer["scatter"] = scatter(&over_all.scatter);
    }
    Ok(Json(answer))
}

fn scatter(scatter: &Scatter) -> Value {
    let cells = scatter.cells.iter().map(|cell| {
        json!([
            cell.column,
            cell.row,
            cell.count,
            cell.errors,
            cell.trace_id.to_string()
        ])
    });
    json!({
        "columns": scatter.columns,
        "rows": scatter.rows,
        "duration_min_ns": scatter.duration_min_ns,
        "duration_max_ns": scatter.duration_max_ns,
        "cells": cells.collect::<Vec<_>>(),
    })
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

pub(super) fn trace_id(text: &str) -> Result<TraceId, Failure> {
    TraceId::from_hex(text).ok_or_else(|| {
        Failure::not_found(format!("{text:?} is not a trace id"))
            .hint("a trace id is 32 hexadecimal digits, not all zero")
    })
}
