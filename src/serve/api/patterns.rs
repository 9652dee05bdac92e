//! `/api/v1/logs/patterns`: records counted by the pattern of their text.

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::json as print;
use super::{Params, read_time};
use crate::model::Level;
use crate::query::{PATTERN_BUCKETS_MAX, PATTERNS_SHOWN_MAX, Pattern, PatternRequest};
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// Patterns and buckets of an answer that names no number.
const LIMIT_DEFAULT: usize = 100;
const BUCKETS_DEFAULT: usize = 24;

/// `GET /api/v1/logs/patterns`.
pub(crate) async fn list(
    State(app): State<Shared>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let now = params.now;
    let request = PatternRequest {
        query: params.query()?,
        range: params.range()?,
        limit: params.count("limit", LIMIT_DEFAULT, PATTERNS_SHOWN_MAX)?,
        buckets: params.count("buckets", BUCKETS_DEFAULT, PATTERN_BUCKETS_MAX)?,
        new_since: params.parsed("new_since", |text| read_time(text, now))?,
    };
    let found = app
        .ask(params.text("query"), move |engine, control| {
            engine.log_patterns(&request, control)
        })
        .await?;
    let pattern = |pattern: &Pattern| {
        let levels = Level::ALL.iter().zip(pattern.levels);
        let levels: Map<String, Value> = levels
            .filter(|(_, count)| *count > 0)
            .map(|(level, count)| (level.name().to_owned(), count.into()))
            .collect();
        json!({
            "id": pattern.id.to_string(),
            "template": pattern.text,
            "count": pattern.count,
            "share": pattern.count as f64 / found.total.max(1) as f64,
            "buckets": pattern.buckets,
            "first_seen": print::time(pattern.first_seen),
            "last_seen": print::time(pattern.last_seen),
            "levels": levels,
            "services": pattern.services,
            "is_new": pattern.is_new,
        })
    };
    let starts = found.buckets.iter().map(|start| print::time(*start));
    Ok(Json(json!({
        "patterns": found.patterns.iter().map(pattern).collect::<Vec<_>>(),
        "more": found.more,
        "total": found.total,
        "other": found.other,
        "buckets": starts.collect::<Vec<_>>(),
        "bucket_ns": found.bucket_ns,
        "stats": print::stats(&found.stats),
    })))
}
