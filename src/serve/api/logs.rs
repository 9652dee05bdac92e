//! `/api/v1/logs`: pages of records, counts over time, neighbours.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::Params;
use super::json as print;
use crate::model::Signal;
use crate::model::owned::RecordId;
use crate::query::{Bucket, Direction, LogCursor, LogRequest, OtlpPage, QueryError};
use crate::receive::otlp_json_out;
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// Records in an answer that names no limit.
const LIMIT_DEFAULT: usize = 100;

/// Buckets of a histogram that names no number.
const BUCKETS_DEFAULT: usize = 60;

/// Most buckets of a histogram.
const BUCKETS_MAX: usize = 2_000;

/// Neighbours on each side, asked and at most.
const CONTEXT_DEFAULT: usize = 50;
const CONTEXT_MAX: usize = 1_000;

/// `GET /api/v1/logs`.
pub(crate) async fn list(State(app): State<Shared>, params: Params) -> Result<Response, Failure> {
    let request = LogRequest {
        query: params.query()?,
        range: params.range()?,
        limit: params.count("limit", LIMIT_DEFAULT, crate::query::LOG_ROWS_MAX)?,
        direction: direction(&params)?,
        cursor: params.parsed("cursor", LogCursor::parse)?,
    };
    let text = params.text("query");
    if is_otlp(&params)? {
        let found = app
            .ask(text, move |engine, control| {
                engine.logs_otlp(&request, control)
            })
            .await?;
        return otlp(Signal::Logs, &found);
    }
    let page = app
        .ask(text, move |engine, control| engine.logs(&request, control))
        .await?;
    let answer = json!({
        "records": page.records.iter().map(print::log).collect::<Vec<_>>(),
        "next": page.next.map(|cursor| cursor.to_string()),
        "stats": print::stats(&page.stats),
    });
    Ok(Json(answer).into_response())
}

/// An export request of the store as OTLP JSON, with `next` and `stats` beside its records as every
/// other answer has them: readers of OTLP/JSON ignore members they do not know.
pub(super) fn otlp(signal: Signal, page: &OtlpPage) -> Result<Response, Failure> {
    let mut text = otlp_json_out::encode(signal, &page.request)
        .map_err(|e| Failure::internal("a stored record cannot be printed", &e))?;
    let closing = text.pop();
    debug_assert_eq!(closing, Some('}'), "a request is an object");
    let comma = if text.len() > 1 { "," } else { "" };
    let next = json!(page.next.map(|cursor| cursor.to_string()));
    let stats = print::stats(&page.stats);
    _ = write!(text, r#"{comma}"next":{next},"stats":{stats}}}"#);
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((json, text).into_response())
}

fn is_otlp(params: &Params) -> Result<bool, Failure> {
    match params.get("format") {
        None | Some("json") => Ok(false),
        Some("otlp") => Ok(true),
        Some(other) => Err(Failure::bad_request(
            "bad_parameter",
            format!("format: {other:?} is neither \"json\" nor \"otlp\""),
        )),
    }
}

fn direction(params: &Params) -> Result<Direction, Failure> {
    match params.get("direction") {
        None | Some("backward" | "newest") => Ok(Direction::NewestFirst),
        Some("forward" | "oldest") => Ok(Direction::OldestFirst),
        Some(other) => Err(Failure::bad_request(
            "bad_parameter",
            format!("direction: {other:?} is neither \"backward\" (newest first) nor \"forward\""),
        )),
    }
}

/// `GET /api/v1/logs/histogram`.
pub(crate) async fn histogram(
    State(app): State<Shared>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let (query, range) = (params.query()?, params.range()?);
    let buckets = params.count("buckets", BUCKETS_DEFAULT, BUCKETS_MAX)?;
    let by = params.get("by").unwrap_or("severity").to_owned();
    let found = app
        .ask(params.text("query"), move |engine, control| {
            engine.log_histogram(&query, range, buckets, &by, control)
        })
        .await?;
    let bucket = |bucket: &Bucket| {
        let named = found.series.iter().zip(&bucket.by);
        let counts = named.filter(|(_, count)| **count > 0);
        let by: Map<String, Value> = counts
            .map(|(name, count)| (name.clone(), (*count).into()))
            .collect();
        json!({
            "start": print::time(bucket.start),
            "end": print::time(bucket.end),
            "count": bucket.count,
            "by": by,
        })
    };
    Ok(Json(json!({
        "buckets": found.buckets.iter().map(bucket).collect::<Vec<_>>(),
        "bucket_ns": found.bucket_ns,
        "total": found.total,
        "stats": print::stats(&found.stats),
    })))
}

/// `GET /api/v1/logs/{id}/context`.
pub(crate) async fn context(
    State(app): State<Shared>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let id = record_id(&id)?;
    let before = params.count("before", CONTEXT_DEFAULT, CONTEXT_MAX)?;
    let after = params.count("after", CONTEXT_DEFAULT, CONTEXT_MAX)?;
    let found = app
        .ask(&format!("context of {id}"), move |engine, control| {
            engine.log_context(id, before, after, control)
        })
        .await?;
    Ok(Json(json!({
        "before": found.before.iter().map(print::log).collect::<Vec<_>>(),
        "record": print::log(&found.record),
        "after": found.after.iter().map(print::log).collect::<Vec<_>>(),
        "stats": print::stats(&found.stats),
    })))
}

pub(super) fn record_id(text: &str) -> Result<RecordId, Failure> {
    RecordId::parse(text).ok_or_else(|| {
        let missing = format!("{text:?} is not the id of a log record");
        QueryError::NotFound(missing).into()
    })
}
