//! The HTTP API of Prometheus 3.5 under `/prometheus/api/v1`: what Grafana, promtool and scripts call.
//! Parameters, answers and error texts are Prometheus'; where it has a feature that is not here, the
//! answer says what is true (no rules), never something made up.

mod encode;
mod form;
pub(crate) mod query;
#[cfg(test)]
mod script_tests;
pub(crate) mod series;
pub(crate) mod status;
pub(crate) mod targets;
#[cfg(test)]
mod tests;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::query::promql::eval::EvalError;
use crate::query::promql::source::{SeriesSource, SourceError};
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// nginx' status for a client that went away; Prometheus' for a query that was cancelled.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Told where a `limit` cut something off.
const TRUNCATED: &str = "results truncated due to limit";

/// A finished answer: `data` is JSON.
struct Reply {
    data: String,
    warnings: Vec<String>,
    infos: Vec<String>,
}

impl Reply {
    fn of(data: String) -> Reply {
        Reply {
            data,
            warnings: Vec::new(),
            infos: Vec::new(),
        }
    }

    fn truncated(mut self, truncated: bool) -> Reply {
        if truncated {
            self.warnings.push(TRUNCATED.to_owned());
        }
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut text = String::with_capacity(self.data.len() + 64);
        text.push_str("{\"status\":\"success\",\"data\":");
        text.push_str(&self.data);
        for (name, texts) in [("warnings", &self.warnings), ("infos", &self.infos)] {
            if !texts.is_empty() {
                text.push_str(",\"");
                text.push_str(name);
                text.push_str("\":");
                encode::strings(&mut text, texts);
            }
        }
        text.push('}');
        ([(header::CONTENT_TYPE, "application/json")], text).into_response()
    }
}

/// Prometheus' `bad_data`.
fn bad_data(message: impl Into<String>) -> Failure {
    Failure::bad_request("bad_data", message)
}

/// `invalid parameter "time": ...`.
fn bad_parameter(name: &str, why: impl std::fmt::Display) -> Failure {
    bad_data(format!("invalid parameter \"{name}\": {why}"))
}

fn failed(error: &EvalError) -> Failure {
    let (status, code) = match error {
        EvalError::Execution(_) | EvalError::TooManySamples | EvalError::TooManySeries(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "execution")
        }
        EvalError::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
        EvalError::Cancelled => (cancelled(), "canceled"),
        EvalError::Source(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    };
    Failure::new(status, code, error.to_string())
}

fn cancelled() -> StatusCode {
    StatusCode::from_u16(CLIENT_CLOSED_REQUEST).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

/// Asks the series of the store on a thread of queries. `what` is listed as running.
async fn ask_series<T: Send + 'static>(
    app: &Shared,
    what: &str,
    work: impl FnOnce(&dyn SeriesSource) -> Result<T, SourceError> + Send + 'static,
) -> Result<T, Failure> {
    let found = app.ask(what, move |engine, _| {
        let series = engine.series();
        Ok(work(series.as_ref()))
    });
    found.await?.map_err(|SourceError(why)| {
        Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "execution", why)
    })
}
