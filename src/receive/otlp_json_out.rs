//! OTLP protobuf to OTLP/JSON, loss-free: the inverse of [`super::otlp_json`], for
//! `GET /api/v1/traces/{id}` and `/api/v1/logs?format=otlp`.
//!
//! opentelemetry-proto's serde writes NaN and infinities as null; this writes what the mapping says.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::otlp_shape::{self, Kind, Shape};
use crate::ingest::DEPTH_MAX;
use crate::model::wire::{Fields, WireError};
use crate::model::{Signal, ValueRef};

/// Writes an `Export{Logs,Trace}ServiceRequest` (same fields as `LogsData` and `TracesData`) as
/// JSON. Fields at their defaults are left out, as proto3 does on the wire.
///
/// # Errors
/// The request is malformed: what the store gives back never is.
pub(crate) fn encode(signal: Signal, request: &[u8]) -> Result<String, WireError> {
    let mut out = String::with_capacity(2 * request.len());
    message(&mut out, otlp_shape::request(signal), request)?;
    Ok(out)
}

fn message(out: &mut String, shape: &Shape, raw: &[u8]) -> Result<(), WireError> {
    out.push('{');
    let start = out.len();
    for &(name, number, kind) in shape.0 {
        let before = out.len();
        if before > start {
            out.push(',');
        }
        _ = write!(out, "\"{name}\":");
        if field(out, number, kind, raw)? {
            continue;
        }
        if name == "key" {
            // Readers made with serde insist on it, even where it is empty.
            out.push_str("\"\"");
        } else {
            out.truncate(before);
        }
    }
    out.push('}');
    Ok(())
}

/// Writes one field's value; false: the message does not have it.
fn field(out: &mut String, number: u32, kind: Kind, raw: &[u8]) -> Result<bool, WireError> {
    match kind {
        Kind::Many(_) | Kind::ManyStr => return list(out, number, kind, raw),
        Kind::Str | Kind::Varint | Kind::Fixed64 | Kind::Fixed32 => {}
        Kind::Id | Kind::Any | Kind::One(_) => {}
        // Of metrics only, which are given back as series and never as OTLP.
        Kind::Signed64 | Kind::ZigZag | Kind::Bool | Kind::Double => {}
        Kind::ManyFixed64 | Kind::ManyVarint | Kind::ManyDouble => {}
    }
    let mut last = None;
    let mut fields = Fields::new(raw);
    while let Some((n, field)) = fields.next()? {
        if n == number {
            last = Some(field);
        }
    }
    let Some(field) = last else {
        return Ok(false);
    };
    match kind {
        Kind::Str => string(out, field.str()?),
        // Enums are int32 (negative ones ten bytes long), counts uint32: both read right as int64.
        Kind::Varint => _ = write!(out, "{}", field.varint()? as i64),
        Kind::Fixed64 => _ = write!(out, "\"{}\"", field.fixed64()?),
        Kind::Fixed32 => _ = write!(out, "{}", field.fixed32()?),
        Kind::Id => {
            out.push('"');
            for byte in field.bytes()? {
                _ = write!(out, "{byte:02x}");
            }
            out.push('"');
        }
        Kind::Any => value(out, ValueRef::parse(field.bytes()?)?, 1)?,
        Kind::One(shape) => message(out, shape, field.bytes()?)?,
        Kind::Many(_) | Kind::ManyStr => {}
        Kind::Signed64 | Kind::ZigZag | Kind::Bool | Kind::Double => {}
        Kind::ManyFixed64 | Kind::ManyVarint | Kind::ManyDouble => {}
    }
    Ok(true)
}

/// A repeated field; elements of one field may lie apart on the wire.
fn list(out: &mut String, number: u32, kind: Kind, raw: &[u8]) -> Result<bool, WireError> {
    let before = out.len();
    let mut fields = Fields::new(raw);
    while let Some((n, field)) = fields.next()? {
        if n != number {
            continue;
        }
        out.push(if out.len() == before { '[' } else { ',' });
        match kind {
            Kind::Many(shape) => message(out, shape, field.bytes()?)?,
            _ => string(out, field.str()?),
        }
    }
    let found = out.len() > before;
    if found {
        out.push(']');
    }
    Ok(found)
}

/// An AnyValue. What is stored has at most [`DEPTH_MAX`] levels.
fn value(out: &mut String, value: ValueRef<'_>, depth: usize) -> Result<(), WireError> {
    assert!(depth <= DEPTH_MAX, "admission cuts deeper values");
    match value {
        ValueRef::Empty => out.push_str("{}"),
        ValueRef::Str(text) => {
            out.push_str("{\"stringValue\":");
            string(out, text);
            out.push('}');
        }
        ValueRef::Bool(b) => _ = write!(out, "{{\"boolValue\":{b}}}"),
        ValueRef::Int(i) => _ = write!(out, "{{\"intValue\":\"{i}\"}}"),
        ValueRef::Double(d) if d.is_finite() => _ = write!(out, "{{\"doubleValue\":{d:?}}}"),
        ValueRef::Double(d) => {
            let name = match d {
                d if d.is_nan() => "NaN",
                d if d > 0.0 => "Infinity",
                _ => "-Infinity",
            };
            _ = write!(out, "{{\"doubleValue\":\"{name}\"}}");
        }
        ValueRef::Bytes(bytes) => {
            out.push_str("{\"bytesValue\":\"");
            STANDARD.encode_string(bytes, out);
            out.push_str("\"}");
        }
        ValueRef::Array(array) => {
            out.push_str("{\"arrayValue\":{\"values\":[");
            elements(out, array.0, |out, raw| {
                self::value(out, ValueRef::parse(raw)?, depth + 1)
            })?;
            out.push_str("]}}");
        }
        ValueRef::Map(map) => {
            out.push_str("{\"kvlistValue\":{\"values\":[");
            elements(out, map.0, |out, raw| {
                let (key, inner) = crate::model::value::parse_key_value(raw)?;
                out.push_str("{\"key\":");
                string(out, key);
                out.push_str(",\"value\":");
                self::value(out, inner, depth + 1)?;
                out.push('}');
                Ok(())
            })?;
            out.push_str("]}}");
        }
    }
    Ok(())
}

fn elements(
    out: &mut String,
    list: &[u8],
    mut each: impl FnMut(&mut String, &[u8]) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut first = true;
    let mut fields = Fields::new(list);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            if !first {
                out.push(',');
            }
            first = false;
            each(out, field.bytes()?)?;
        }
    }
    Ok(())
}

/// A JSON string.
fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => _ = write!(out, "\\u{:04x}", c as u32),
            c => out.push(c),
        }
    }
    out.push('"');
}
