//! Labels as Loki's clients write them, `{app="shop", level="info"}`, and what they become.

use crate::model::{Severity, ValueRef, write};

/// Labels of one stream; Loki itself allows 15.
const LABELS_MAX: usize = 128;

/// Which labels name the service, best first (the last ones are what container drivers set).
const SERVICE: &[&str] = &[
    "service_name",
    "service",
    "app",
    "job",
    "container",
    "container_name",
];

/// Which labels and metadata hold the level.
const LEVEL: &[&str] = &["level", "detected_level", "severity"];

const TRACE_ID: &[&str] = &["trace_id", "traceid", "traceID"];

const SPAN_ID: &[&str] = &["span_id", "spanid", "spanID"];

/// A name and its value.
pub(crate) type Pair = (String, String);

/// Whether a label or a piece of metadata fills a field of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Level(Severity),
    TraceId(crate::model::TraceId),
    SpanId(crate::model::SpanId),
    /// Kept as an attribute.
    Attribute,
}

/// What a pair is for: its name says so and its value is one.
pub(super) fn role(name: &str, value: &str) -> Role {
    let found = match name {
        name if LEVEL.contains(&name) => Severity::from_text(value).map(Role::Level),
        name if TRACE_ID.contains(&name) => {
            crate::model::TraceId::from_hex(value).map(Role::TraceId)
        }
        name if SPAN_ID.contains(&name) => crate::model::SpanId::from_hex(value).map(Role::SpanId),
        _ => None,
    };
    found.unwrap_or(Role::Attribute)
}

/// Writes the resource that a stream's labels are. The label of the service appears once, as
/// `service.name`; levels belong to the records.
pub(super) fn resource(out: &mut Vec<u8>, labels: &[Pair]) {
    let has = |name: &&&str| labels.iter().any(|(label, _)| label == *name);
    let service = SERVICE.iter().find(has);
    for (name, value) in labels {
        if Some(&name.as_str()) == service {
            write::key_value(out, 1, "service.name", ValueRef::Str(value));
        } else if !matches!(role(name, value), Role::Level(_)) {
            write::key_value(out, 1, name, ValueRef::Str(value));
        }
    }
}

/// Reads the text form.
///
/// # Errors
/// What is wrong, and with which text.
pub(super) fn parse(text: &str) -> Result<Vec<Pair>, String> {
    let shown: String = text.chars().take(100).collect();
    let bad = |what: &str| format!("labels {shown:?}: {what}");
    let inner = text
        .trim()
        .strip_prefix('{')
        .and_then(|t| t.strip_suffix('}'));
    let mut rest = inner.ok_or_else(|| bad("expected {name=\"value\", ...}"))?;
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(labels);
        }
        let (name, after) = rest
            .split_once('=')
            .ok_or_else(|| bad("expected name=\"value\""))?;
        let name = name.trim();
        if name.is_empty()
            || !name
                .chars()
                .all(|c| c.is_alphanumeric() || "_.:-/".contains(c))
        {
            return Err(bad("a label's name is not a name"));
        }
        let (value, after) =
            quoted(after.trim_start()).ok_or_else(|| bad("a value is not in quotes"))?;
        if labels.len() == LABELS_MAX {
            return Err(bad("more than 128 labels"));
        }
        labels.push((name.to_owned(), value));
        rest = after.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(next) => next,
            None if rest.is_empty() => rest,
            None => return Err(bad("expected a comma")),
        };
    }
}

/// A Go string literal at the start of `text`, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        let (value, after) = raw.split_once('`')?;
        return Some((value.to_owned(), after));
    }
    let mut out = Vec::new();
    let mut chars = text.strip_prefix('"')?.chars();
    loop {
        let c = match chars.next()? {
            '"' => break,
            '\\' => match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'v' => '\u{b}',
                'x' => {
                    // A byte, not a character.
                    out.push(hex(&mut chars, 2)? as u8);
                    continue;
                }
                'u' => char::from_u32(hex(&mut chars, 4)?)?,
                'U' => char::from_u32(hex(&mut chars, 8)?)?,
                c @ ('"' | '\\' | '\'') => c,
                _ => return None,
            },
            c => c,
        };
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some((String::from_utf8_lossy(&out).into_owned(), chars.as_str()))
}

fn hex(chars: &mut std::str::Chars<'_>, digits: usize) -> Option<u32> {
    let text = chars.as_str().get(..digits)?;
    *chars = chars.as_str()[digits..].chars();
    u32::from_str_radix(text, 16).ok()
}
