//! `/api/v1/services`: rate, errors and durations per service.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Params;
use super::json as print;
use crate::red::{self, ServiceRow};
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// `GET /api/v1/services`.
pub(crate) async fn list(
    State(app): State<Shared>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let range = params.range()?;
    let answer = app
        .ask("services", move |engine, control| {
            let go_on = |rows, bytes| {
                control.scanned(rows, bytes);
                control.check().is_ok()
            };
            Ok(red::services(&engine.snapshot(), range, 1, None, &go_on))
        })
        .await?;
    let row = |row: &ServiceRow| {
        json!({
            "name": row.name,
            "requests": row.requests,
            "requests_per_s": row.requests_per_s,
            "error_ratio": row.error_ratio,
            "p50_ns": row.p50_ns,
            "p95_ns": row.p95_ns,
            "p99_ns": row.p99_ns,
            "version": row.version,
            "last_seen": print::time(row.last_seen),
            "logs_per_min": row.logs_per_min,
            "log_errors_per_min": row.log_errors_per_min,
        })
    };
    Ok(Json(json!({
        "services": answer.rows.iter().map(row).collect::<Vec<_>>(),
        "truncated": answer.partial,
    })))
}
