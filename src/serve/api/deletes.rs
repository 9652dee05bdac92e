//! `/api/v1/deletes`: erasing by query, for privacy requests.

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::json as print;
use super::params::read_time;
use crate::model::{Signal, Timestamp};
use crate::serve::access::Caller;
use crate::serve::deletes::{Asked, signal_name};
use crate::serve::error::Failure;
use crate::serve::state::Shared;
use crate::store::Deletion;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedDelete {
    query: String,
    /// logs, traces or both.
    #[serde(default)]
    signal: String,
    /// As everywhere in requests; all of the time when left out.
    start: Option<Time>,
    end: Option<Time>,
    /// Only counts what matches.
    #[serde(default)]
    dry_run: bool,
}

/// A time as text, or an epoch number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Text(String),
    Number(serde_json::Number),
}

/// `POST /api/v1/deletes`: 202, and nothing that matches is in any answer from then on.
pub(crate) async fn create(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Json<WantedDelete>, JsonRejection>,
) -> Result<Response, Failure> {
    let Json(wanted) = wanted?;
    let now = app.clock.now();
    let start = time("start", wanted.start, now)?;
    let end = time("end", wanted.end, now)?;
    let asked = Asked::new(&wanted.query, &wanted.signal, start, end)?;
    if wanted.dry_run {
        let found = app.count_deletion(&asked).await?;
        let matching = json!({ "logs": found.logs, "spans": found.spans });
        let answer = json!({ "matching": matching, "stats": print::stats(&found.stats) });
        return Ok(Json(answer).into_response());
    }
    let deletion = app.delete(asked, &caller).await?;
    let never = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::ACCEPTED, never, Json(view(&deletion))).into_response())
}

/// `GET /api/v1/deletes`: newest first.
pub(crate) async fn list(State(app): State<Shared>) -> Result<Json<Value>, Failure> {
    let deletions = app.deletions().await?;
    let deletes: Vec<Value> = deletions.iter().map(view).collect();
    Ok(Json(json!({ "deletes": deletes })))
}

fn view(deletion: &Deletion) -> Value {
    let bound = |at: Timestamp, open: Timestamp| (at != open).then(|| print::time(at));
    json!({
        "id": deletion.number.to_string(),
        "state": deletion.stage.name(),
        "query": deletion.shape,
        "signal": signal_name(deletion.signals),
        "start": bound(deletion.range.start(), Timestamp(0)),
        "end": bound(deletion.range.end(), Timestamp::MAX),
        "by": deletion.by,
        "requested": print::time(deletion.requested),
        "done": bound(deletion.done, Timestamp(0)),
        "erased": {
            "logs": deletion.erased[Signal::Logs as usize],
            "spans": deletion.erased[Signal::Traces as usize],
        },
        "unreadable_files": deletion.left_files,
    })
}

fn time(name: &str, time: Option<Time>, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    let text = match time {
        None => return Ok(None),
        Some(Time::Text(text)) => text,
        Some(Time::Number(number)) => number.to_string(),
    };
    let bad = || {
        let message = format!("{name}: cannot read {text:?} as a time");
        Failure::bad_request("bad_time", message)
            .hint("write epoch s, ms, us or ns, RFC 3339, or now-1h")
    };
    read_time(&text, now).map(Some).ok_or_else(bad)
}
