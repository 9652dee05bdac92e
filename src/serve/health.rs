//! For orchestrators and other monitoring: alive, ready, own metrics.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::access::{Caller, Policy};
use super::state::Shared;
use crate::observe::metrics::Reach;

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

/// `GET /metrics`: the Prometheus text of every own metric. A scraper without a token gets it too,
/// but nothing that names what a team runs: families by service are for those who may read.
pub(crate) async fn metrics(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Response {
    app.gauge();
    let reach = if caller.may(Policy::Api) {
        Reach::All
    } else {
        Reach::Unnamed
    };
    let format = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (format, app.metrics.render(reach)).into_response()
}
