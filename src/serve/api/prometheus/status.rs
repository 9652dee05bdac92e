//! What clients ask before they ask for data: version, state, rules. Where there is nothing
//! (no rules yet), the answer is empty, not made up.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::form::Form;
use super::{Reply, ask_series};
use crate::model::Timestamp;
use crate::query::promql::source::Statistics;
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// The Prometheus whose API and language this is; clients choose their calls by it.
const PROMETHEUS_VERSION: &str = "3.5.3";

/// Entries of each list of `status/tsdb` without a `limit`, and at most.
const TOP_DEFAULT: usize = 10;
const TOP_MAX: usize = 10_000;

pub(super) fn reply(data: &Value) -> Response {
    Reply::of(data.to_string()).into_response()
}

/// `GET /prometheus/api/v1/status/buildinfo`.
pub(crate) async fn build_info() -> Response {
    reply(&json!({
        "version": PROMETHEUS_VERSION,
        "revision": concat!("watchpost-", env!("CARGO_PKG_VERSION")),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

/// `GET /prometheus/api/v1/status/runtimeinfo`.
pub(crate) async fn runtime_info(State(app): State<Shared>) -> Response {
    let time = |at: Timestamp| jiff::Timestamp::from_nanosecond(i128::from(at.0)).ok();
    let time = |at| time(at).map(|time| time.to_string());
    reply(&json!({
        "startTime": time(app.started),
        "serverTime": time(app.clock.now()),
        "reloadConfigSuccess": true,
        "lastConfigTime": time(app.started),
        "corruptionCount": app.store.stats().quarantined,
        "goroutineCount": 0,
        "GOMAXPROCS": std::thread::available_parallelism().map_or(1, usize::from),
        "storageRetention": "",
    }))
}

/// `GET /prometheus/api/v1/status/config`.
pub(crate) async fn config() -> Response {
    reply(&json!({ "yaml": "" }))
}

/// `GET /prometheus/api/v1/status/flags`.
pub(crate) async fn flags() -> Response {
    reply(&json!({}))
}

/// `GET /prometheus/api/v1/status/tsdb`.
pub(crate) async fn tsdb(State(app): State<Shared>, form: Form) -> Result<Response, Failure> {
    let top = form.count("limit")?.unwrap_or(TOP_DEFAULT);
    let found = ask_series(&app, "status/tsdb", move |source| {
        Ok(source.statistics(top.clamp(1, TOP_MAX)))
    });
    let found: Statistics = found.await?;
    let list = |rows: &[(String, u64)]| -> Value {
        let row = |(name, value): &(String, u64)| json!({ "name": name, "value": value });
        rows.iter().map(row).collect()
    };
    Ok(reply(&json!({
        "headStats": {
            "numSeries": found.series,
        },
        "seriesCountByMetricName": list(&found.series_by_metric),
        "labelValueCountByLabelName": list(&found.values_by_label),
        "memoryInBytesByLabelName": [],
        "seriesCountByLabelValuePair": [],
    })))
}

/// `GET /prometheus/api/v1/rules`.
pub(crate) async fn rules() -> Response {
    reply(&json!({ "groups": [] }))
}

/// `GET /prometheus/api/v1/alerts`.
pub(crate) async fn alerts() -> Response {
    reply(&json!({ "alerts": [] }))
}

/// `GET /prometheus/api/v1/alertmanagers`.
pub(crate) async fn alertmanagers() -> Response {
    reply(&json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] }))
}
