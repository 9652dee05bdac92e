//! `/api/v1/queries`: what runs now, and stopping it.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::query::RunningQuery;
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// `GET /api/v1/queries`.
pub(crate) async fn list(State(app): State<Shared>) -> Json<Value> {
    let query = |query: RunningQuery| {
        json!({
            "id": query.id.to_string(),
            "query": query.text,
            "elapsed_ms": query.elapsed.as_secs_f64() * 1e3,
            "scanned_records": query.scanned_records,
            "scanned_bytes": query.scanned_bytes,
        })
    };
    let running = app.engine.registry.list();
    Json(json!({ "queries": running.into_iter().map(query).collect::<Vec<_>>() }))
}

/// `DELETE /api/v1/queries/{id}`: the query ends at its next block with a partial answer.
pub(crate) async fn cancel(
    State(app): State<Shared>,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let found = id.parse().is_ok_and(|id| app.engine.registry.cancel(id));
    if found {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Failure::not_found(format!("no query {id} is running")))
    }
}
