//! A span as OTLP JSON, for "raw JSON" in its drawer: the mapping of the OTLP specification (hex
//! ids, 64-bit integers as text). The loss-free export of a trace is the API's.

use serde_json::{Map, Value as Json, json};

use crate::model::owned::Attributes;
use crate::model::{Span, Value};

/// The span, its resource and its scope, pretty-printed.
pub(crate) fn span_json(span: &Span) -> String {
    let events = span.events.iter().map(|event| {
        json!({
            "timeUnixNano": event.time.to_string(),
            "name": event.name,
            "attributes": attributes(&event.attributes),
        })
    });
    let links = span.links.iter().map(|link| {
        json!({
            "traceId": link.trace_id.map(|id| id.to_string()),
            "spanId": link.span_id.map(|id| id.to_string()),
            "attributes": attributes(&link.attributes),
        })
    });
    let json = json!({
        "traceId": span.trace_id.to_string(),
        "spanId": span.span_id.to_string(),
        "parentSpanId": span.parent.map(|id| id.to_string()),
        "traceState": span.trace_state,
        "flags": span.flags,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": span.start.to_string(),
        "endTimeUnixNano": span.end.to_string(),
        "attributes": attributes(&span.attributes),
        "events": events.collect::<Vec<_>>(),
        "links": links.collect::<Vec<_>>(),
        "status": { "code": span.status_code, "message": span.status_message },
        "scope": {
            "name": span.scope.name,
            "version": span.scope.version,
            "attributes": attributes(&span.scope.attributes),
        },
        "resource": { "attributes": attributes(&span.resource.attributes) },
    });
    serde_json::to_string_pretty(&json).expect("a JSON value prints")
}

fn attributes(attributes: &Attributes) -> Json {
    let pair = |(key, value): &(String, Value)| json!({ "key": key, "value": any_value(value) });
    attributes.iter().map(pair).collect()
}

/// `AnyValue` as OTLP/JSON has it.
fn any_value(value: &Value) -> Json {
    match value {
        Value::Empty => json!({}),
        Value::Str(text) => json!({ "stringValue": text }),
        Value::Bool(value) => json!({ "boolValue": value }),
        Value::Int(value) => json!({ "intValue": value.to_string() }),
        Value::Double(value) => json!({ "doubleValue": value }),
        Value::Bytes(bytes) => json!({ "bytesValue": base64(bytes) }),
        Value::Array(values) => {
            json!({ "arrayValue": { "values": values.iter().map(any_value).collect::<Vec<_>>() } })
        }
        Value::Map(entries) => json!({ "kvlistValue": { "values": attributes(entries) } }),
    }
}

/// A value in one line as people read it: text bare, structures as plain JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Str(text) => text.clone(),
        other => plain_json(other).to_string(),
    }
}

fn plain_json(value: &Value) -> Json {
    match value {
        Value::Empty => Json::Null,
        Value::Str(text) => Json::String(text.clone()),
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => json!(value),
        Value::Double(value) => json!(value),
        Value::Bytes(bytes) => Json::String(base64(bytes)),
        Value::Array(values) => values.iter().map(plain_json).collect(),
        Value::Map(entries) => {
            let pairs = entries
                .iter()
                .map(|(key, value)| (key.clone(), plain_json(value)));
            Json::Object(pairs.collect::<Map<_, _>>())
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
