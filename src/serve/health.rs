//! For orchestrators and other monitoring: alive, ready, own metrics.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::state::Shared;

/// `GET /healthz`: the process answers.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: requests are taken and kept.
pub(crate) async fn ready(State(app): State<Shared>) -> Response {
    match app.unready() {
        None => "ready\n".into_response(),
        Some(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {why}\n"),
        )
            .into_response(),
    }
}

/// `GET /api/health`: for smoke tests and dashboards that probe a data source.
pub(crate) async fn summary(State(app): State<Shared>) -> Response {
    let why = app.unready();
    let status = if why.is_none() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = serde_json::json!({
        "status": why.unwrap_or("ok"),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": (app.clock.now().0.saturating_sub(app.started.0)) / 1_000_000_000,
    });
    (status, Json(body)).into_response()
}

/// `GET /metrics`: the Prometheus text of every own metric.
pub(crate) async fn metrics(State(app): State<Shared>) -> Response {
    app.gauge();
    let format = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (format, app.metrics.render()).into_response()
}
