//! Values as the JSON of design.md section 2: times as strings of epoch ns, attributes as plain
//! JSON, integers beyond 2^53 and bytes as strings.

use base64::Engine;
use serde_json::{Map, Value as Json, json};

use crate::model::owned::Attributes;
use crate::model::{LogRecord, Scope, Span, Timestamp, Value};
use crate::query::Stats;

/// Integers up to here are exact in JavaScript.
const EXACT_MAX: i64 = 1 << 53;

pub(crate) fn time(at: Timestamp) -> Json {
    Json::String(at.to_string())
}

pub(crate) fn value(value: &Value) -> Json {
    match value {
        Value::Empty => Json::Null,
        Value::Str(text) => Json::String(text.clone()),
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(int) if (-EXACT_MAX..=EXACT_MAX).contains(int) => (*int).into(),
        Value::Int(int) => Json::String(int.to_string()),
        // JSON has no NaN and no infinity.
        Value::Double(double) => serde_json::Number::from_f64(*double)
            .map_or_else(|| Json::String(double.to_string()), Json::Number),
        Value::Bytes(bytes) => {
            Json::String(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        Value::Array(values) => values.iter().map(self::value).collect(),
        Value::Map(map) => attributes(map),
    }
}

/// An object; of a key given twice the first counts, as in searches.
pub(crate) fn attributes(attributes: &Attributes) -> Json {
    let mut object = Map::new();
    for (key, value) in attributes {
        if !object.contains_key(key) {
            object.insert(key.clone(), self::value(value));
        }
    }
    Json::Object(object)
}

pub(crate) fn scope(scope: &Scope) -> Json {
    json!({
        "name": scope.name,
        "version": scope.version,
        "attributes": attributes(&scope.attributes),
    })
}

pub(crate) fn stats(stats: &Stats) -> Json {
    json!({
        "scanned_records": stats.scanned_records,
        "scanned_bytes": stats.scanned_bytes,
        "elapsed_ms": stats.elapsed.as_secs_f64() * 1e3,
        "truncated": stats.partial.is_some(),
        "reason": stats.partial.map(|partial| partial.reason()),
        "searched": stats.searched,
    })
}

pub(crate) fn log(log: &LogRecord) -> Json {
    // Records without a stamp of their own are placed by when they were seen.
    let own = if log.time.0 == 0 { log.id.at } else { log.time };
    let ahead = log.time > log.id.at;
    json!({
        "id": log.id.to_string(),
        "time": time(own),
        "observed_time": time(log.observed),
        "clock_skew": ahead,
        "severity": log.severity.level().name(),
        "severity_number": log.severity.0,
        "severity_text": log.severity_text,
        "service": log.resource.service,
        "body": value(&log.body),
        "event_name": log.event_name,
        "trace_id": log.trace_id.map(|id| id.to_string()),
        "span_id": log.span_id.map(|id| id.to_string()),
        "resource": attributes(&log.resource.attributes),
        "scope": scope(&log.scope),
        "attributes": attributes(&log.attributes),
    })
}

/// A span in full, as rows of a waterfall open it.
pub(crate) fn span(span: &Span) -> Json {
    use crate::query::{KINDS, STATUSES};
    let word = |words: &[&'static str], number: i32| {
        usize::try_from(number)
            .ok()
            .and_then(|n| words.get(n))
            .copied()
    };
    let event = |event: &crate::model::owned::Event| {
        json!({
            "time": time(event.time),
            "name": event.name,
            "attributes": attributes(&event.attributes),
        })
    };
    let link = |link: &crate::model::owned::Link| {
        json!({
            "trace_id": link.trace_id.map(|id| id.to_string()),
            "span_id": link.span_id.map(|id| id.to_string()),
            "attributes": attributes(&link.attributes),
        })
    };
    json!({
        "trace_id": span.trace_id.to_string(),
        "span_id": span.span_id.to_string(),
        "parent_span_id": span.parent.map(|id| id.to_string()),
        "name": span.name,
        "service": span.resource.service,
        "kind": word(&KINDS, span.kind).unwrap_or("unknown"),
        "status": word(&STATUSES, span.status_code).unwrap_or("unknown"),
        "status_message": span.status_message,
        "start": time(span.start),
        "duration_ns": span.duration_ns(),
        "attributes": attributes(&span.attributes),
        "events": span.events.iter().map(event).collect::<Vec<_>>(),
        "links": span.links.iter().map(link).collect::<Vec<_>>(),
        "scope": scope(&span.scope),
        "resource": attributes(&span.resource.attributes),
    })
}
