//! `GET /prometheus/api/v1/targets`: what is scraped, as Prometheus tells it (web/api/v1, `targets`).

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::form::Form;
use super::status::reply;
use crate::model::metric::Labels;
use crate::query::promql::print::duration;
use crate::scrape::{JobView, Report, Target};
use crate::serve::state::Shared;

/// The time of what never was, as Go prints it.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Parameters: `state` (`active`, `dropped`, else both) and `scrapePool`, the name of one job.
pub(crate) async fn targets(State(app): State<Shared>, form: Form) -> Response {
    let board = app.scraper.board();
    let (state, pool) = (form.text("state"), form.text("scrapePool"));
    let wanted = |job: &&JobView| pool.is_empty() || pool == job.settings.job.name;
    let jobs: Vec<&JobView> = board.jobs.iter().filter(wanted).collect();
    let active = jobs.iter().flat_map(|job| {
        let name = &job.settings.job.name;
        job.active.iter().map(move |target| told(name, target))
    });
    let dropped = jobs.iter().flat_map(|job| {
        let row = |found| json!({ "discoveredLabels": labels(found), "scrapePool": job.settings.job.name });
        job.dropped.iter().map(row)
    });
    let counts = jobs
        .iter()
        .map(|job| (job.settings.job.name.clone(), json!(job.dropped_count)));
    let none = Value::Array(Vec::new());
    reply(&json!({
        "activeTargets": if state == "dropped" { none.clone() } else { active.collect() },
        "droppedTargets": if state == "active" { none } else { dropped.collect() },
        "droppedTargetCounts": counts.collect::<Map<_, _>>(),
    }))
}

fn told(job: &str, target: &Target) -> Value {
    let report: Report = target.report();
    let at = report.at.map(jiff::Timestamp::from_millisecond);
    let at = at.and_then(Result::ok).map(|time| time.to_string());
    let span = |length: std::time::Duration| duration(length.as_millis() as i64);
    json!({
        "discoveredLabels": labels(&target.discovered),
        "labels": labels(&target.labels),
        "scrapePool": job,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": report.error.unwrap_or_default(),
        "lastScrape": at.as_deref().unwrap_or(NEVER),
        "lastScrapeDuration": report.took.as_secs_f64(),
        "health": report.health.name(),
        "scrapeInterval": span(target.interval),
        "scrapeTimeout": span(target.timeout),
    })
}

fn labels(labels: &Labels) -> Value {
    let pairs = labels
        .iter()
        .map(|(name, value)| (name.to_owned(), json!(value)));
    Value::Object(pairs.collect())
}
