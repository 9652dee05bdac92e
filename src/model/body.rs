//! Log bodies that are JSON objects or kvlists: fields lifted out of them, keys looked up in them.
//!
//! Borrows and never allocates unless a string has escapes. What a well-known field means is here,
//! how JSON is read in [`json`].

mod json;

use super::id::{SpanId, TraceId};
use super::severity::{Level, Severity};
use super::time::Timestamp;
use super::value::{MapRef, ValueRef};

use json::JsonStr;
pub(crate) use json::{Json, elements, members};

/// Deepest path `a.b.c` that is followed into a body.
const PATH_DEPTH_MAX: usize = 16;

/// What a structured body says about its own record (design.md section 2): filled into the
/// record's fields where those are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BodyFields {
    pub(crate) time: Option<Timestamp>,
    pub(crate) severity: Option<Severity>,
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) span_id: Option<SpanId>,
}

/// A value found in a body under a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum BodyValue<'a> {
    Json(Json<'a>),
    Value(ValueRef<'a>),
}

/// Reads the well-known fields of a body that is a JSON object or a kvlist.
pub(crate) fn fields(body: ValueRef<'_>) -> BodyFields {
    let mut found = Found::default();
    match body {
        ValueRef::Str(text) => {
            let Some(mut members) = members(text) else {
                return BodyFields::default();
            };
            for (key, value) in &mut members {
                found.json_member(key, value);
            }
            if !members.complete() {
                return BodyFields::default();
            }
        }
        ValueRef::Map(map) => found.map_members(map),
        _ => {}
    }
    found.fields()
}

/// The value under `path` in a body that is a JSON object or a kvlist. A key with dots in it is
/// found under its own name before `a.b` is read as `b` inside `a`.
pub(crate) fn lookup<'a>(body: ValueRef<'a>, path: &str) -> Option<BodyValue<'a>> {
    match body {
        ValueRef::Str(text) => lookup_json(text, path, PATH_DEPTH_MAX).map(BodyValue::Json),
        ValueRef::Map(map) => lookup_map(map, path, PATH_DEPTH_MAX).map(BodyValue::Value),
        _ => None,
    }
}

fn lookup_json<'a>(text: &'a str, path: &str, depth: usize) -> Option<Json<'a>> {
    let mut inner = None;
    for (key, value) in members(text)? {
        let key = key.get();
        let Some(rest) = path.strip_prefix(&*key) else {
            continue;
        };
        if rest.is_empty() {
            return Some(value);
        }
        if let (Some(rest), Json::Object(object), None) = (rest.strip_prefix('.'), value, inner)
            && depth > 0
        {
            inner = lookup_json(object, rest, depth - 1);
        }
    }
    inner
}

fn lookup_map<'a>(map: MapRef<'a>, path: &str, depth: usize) -> Option<ValueRef<'a>> {
    let mut inner = None;
    for (key, value) in map.iter() {
        let Some(rest) = path.strip_prefix(key) else {
            continue;
        };
        if rest.is_empty() {
            return Some(value);
        }
        if let (Some(rest), ValueRef::Map(map), None) = (rest.strip_prefix('.'), value, inner)
            && depth > 0
        {
            inner = lookup_map(map, rest, depth - 1);
        }
    }
    inner
}

/// Well-known fields while the members go by; the first of each wins, Datadog's ids come last.
#[derive(Debug, Default)]
struct Found {
    plain: BodyFields,
    datadog_trace: Option<TraceId>,
    datadog_span: Option<SpanId>,
}

/// What a well-known field may hold.
#[derive(Clone, Copy)]
enum Item<'a> {
    Text(&'a str),
    /// A decimal number as written.
    Number(&'a str),
    Int(i64),
    Double(f64),
}

impl Found {
    fn fields(self) -> BodyFields {
        BodyFields {
            trace_id: self.plain.trace_id.or(self.datadog_trace),
            span_id: self.plain.span_id.or(self.datadog_span),
            ..self.plain
        }
    }

    fn json_member(&mut self, key: JsonStr<'_>, value: Json<'_>) {
        // No well-known key has escapes.
        match (key.raw(), value) {
            (key, Json::Str(text)) => self.item("", key, Item::Text(&text.get())),
            (key, Json::Number(number)) => self.item("", key, Item::Number(number)),
            (key @ ("span" | "dd"), Json::Object(object)) => {
                for (inner, value) in members(object).into_iter().flatten() {
                    if let Json::Str(text) = value {
                        self.item(key, inner.raw(), Item::Text(&text.get()));
                    } else if let Json::Number(number) = value {
                        self.item(key, inner.raw(), Item::Number(number));
                    }
                }
            }
            _ => {}
        }
    }

    fn map_members(&mut self, map: MapRef<'_>) {
        for (key, value) in map.iter() {
            let (outer, inner) = match (key, value) {
                ("span" | "dd", ValueRef::Map(inner)) => (key, Some(inner)),
                _ => ("", None),
            };
            let members = inner.into_iter().flat_map(MapRef::iter);
            for (key, value) in std::iter::once((key, value)).chain(members) {
                if let Some(item) = item(value) {
                    self.item(outer, key, item);
                }
            }
        }
    }

    /// Takes one value under `key` of the body, or of the object `inside` it.
    fn item(&mut self, inside: &str, key: &str, item: Item<'_>) {
        let plain = &mut self.plain;
        match (inside, key) {
            ("" | "span", "trace_id" | "traceId" | "trace.id") => set(&mut plain.trace_id, || {
                item.text().and_then(TraceId::from_hex)
            }),
            ("" | "span", "span_id" | "spanId" | "span.id") => {
                set(&mut plain.span_id, || {
                    item.text().and_then(SpanId::from_hex)
                });
            }
            ("", "dd.trace_id") | ("dd", "trace_id") => {
                set(&mut self.datadog_trace, || datadog_trace(item));
            }
            ("", "dd.span_id") | ("dd", "span_id") => {
                set(&mut self.datadog_span, || {
                    SpanId::from_field(&item.unsigned()?.to_be_bytes()).ok()?
                });
            }
            ("", "level" | "severity" | "lvl" | "log.level" | "levelname" | "loglevel") => {
                set(&mut plain.severity, || severity(item));
            }
            ("", "timestamp" | "time" | "ts" | "@timestamp") => set(&mut plain.time, || time(item)),
            _ => {}
        }
    }
}

fn set<T>(slot: &mut Option<T>, read: impl FnOnce() -> Option<T>) {
    if slot.is_none() {
        *slot = read();
    }
}

fn item(value: ValueRef<'_>) -> Option<Item<'_>> {
    match value {
        ValueRef::Str(text) => Some(Item::Text(text)),
        ValueRef::Int(int) => Some(Item::Int(int)),
        ValueRef::Double(double) => Some(Item::Double(double)),
        _ => None,
    }
}

impl<'a> Item<'a> {
    fn text(self) -> Option<&'a str> {
        if let Item::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    fn unsigned(self) -> Option<u64> {
        match self {
            Item::Text(text) | Item::Number(text) => text.parse().ok(),
            Item::Int(int) => int.try_into().ok(),
            Item::Double(_) => None,
        }
    }
}

/// 64 bits in decimal, or 128 bits in hexadecimal (Datadog tracers since 2023).
fn datadog_trace(item: Item<'_>) -> Option<TraceId> {
    if let Some(id) = item.text().and_then(TraceId::from_hex) {
        return Some(id);
    }
    let mut id = [0; 16];
    id[8..].copy_from_slice(&item.unsigned()?.to_be_bytes());
    TraceId::from_field(&id).ok()?
}

/// A level's word, or pino's and bunyan's numbers (10 trace ... 60 fatal).
fn severity(item: Item<'_>) -> Option<Severity> {
    if let Some(text) = item.text() {
        return Severity::from_text(text).filter(|severity| severity.0 != 0);
    }
    let level = match item.unsigned()? {
        10 => Level::Trace,
        20 => Level::Debug,
        30 => Level::Info,
        40 => Level::Warn,
        50 => Level::Error,
        60 => Level::Fatal,
        _ => return None,
    };
    Some(level.severity())
}

/// RFC 3339 with its offset, or a number of seconds (a fraction allowed), ms, us or ns since 1970.
fn time(item: Item<'_>) -> Option<Timestamp> {
    match item {
        Item::Text(text) => {
            if !text.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
            let stamp: jiff::Timestamp = text.parse().ok()?;
            u64::try_from(stamp.as_nanosecond()).ok().map(Timestamp)
        }
        Item::Number(number) => {
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            epoch(whole.parse().ok()?, fraction)
        }
        Item::Int(int) => epoch(int.try_into().ok()?, ""),
        Item::Double(double) if (0.0..1e10).contains(&double) => {
            Some(Timestamp((double * 1e9) as u64))
        }
        Item::Double(_) => None,
    }
}

/// The unit is told by the size: 1e11 seconds is the year 5138, 1e11 ms is 1973.
fn epoch(whole: u64, fraction: &str) -> Option<Timestamp> {
    let (unit_ns, digits) = match whole {
        0..100_000_000 => return None,
        100_000_000..100_000_000_000 => (1_000_000_000, 9),
        100_000_000_000..100_000_000_000_000 => (1_000_000, 6),
        100_000_000_000_000..100_000_000_000_000_000 => (1_000, 3),
        _ => (1, 0),
    };
    let mut below: u64 = 0;
    for place in 0..digits {
        let digit = fraction
            .as_bytes()
            .get(place)
            .map_or(Some(0), |c| c.is_ascii_digit().then(|| u64::from(c - b'0')))?;
        below = below * 10 + digit;
    }
    whole
        .checked_mul(unit_ns)?
        .checked_add(below)
        .map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::write;
    use proptest::prelude::*;

    const TRACE: &str = "5b8efff798038103d269b633813fc60c";

    #[track_caller]
    fn check(body: &str, expect: BodyFields) {
        assert_eq!(fields(ValueRef::Str(body)), expect, "{body}");
    }

    #[test]
    fn well_known_fields_are_lifted() {
        let trace_id = TraceId::from_hex(TRACE);
        let span_id = SpanId::from_hex("eee19b7ec3c1b174");
        let none = BodyFields::default();
        let traced = BodyFields {
            trace_id,
            span_id,
            ..none
        };
        check(
            &format!(r#"{{"trace_id":"{TRACE}","span_id":"EEE19B7EC3C1B174"}}"#),
            traced,
        );
        check(
            &format!(r#" {{"span": {{"traceId":"{TRACE}","span_id":"eee19b7ec3c1b174"}} }} "#),
            traced,
        );
        let datadog = BodyFields {
            trace_id: TraceId::from_hex("0000000000000000112210f47de98115"),
            span_id: SpanId::from_hex("000000000000007b"),
            ..none
        };
        check(
            r#"{"dd.trace_id":"1234567890123456789","dd.span_id":"123"}"#,
            datadog,
        );
        check(
            r#"{"dd":{"trace_id":1234567890123456789,"span_id":123}}"#,
            datadog,
        );
        let error = BodyFields {
            severity: Some(Severity(17)),
            ..none
        };
        check(r#"{"msg":"a {\"level\":\"info\"}","level":"ERROR"}"#, error);
        check(r#"{"level":50,"a":[{"level":"info"}]}"#, error);
        let at = |ns| BodyFields {
            time: Some(Timestamp(ns)),
            ..none
        };
        check(
            r#"{"ts":1700000000.123456789}"#,
            at(1_700_000_000_123_456_789),
        );
        check(r#"{"time":1700000000123}"#, at(1_700_000_000_123_000_000));
        check(
            r#"{"@timestamp":"2023-11-14T22:13:20.5+00:00"}"#,
            at(1_700_000_000_500_000_000),
        );
    }

    #[test]
    fn what_is_no_object_or_no_such_value_lifts_nothing() {
        for body in [
            "",
            "{",
            "}",
            "{}",
            "level=error",
            r#"["level"]"#,
            r#"{"level":"error""#,
            r#"{"level":"error"} and more"#,
            r#"{"level" "error"}"#,
            r#"{"level":"odd"}"#,
            r#"{"trace_id":"abc","time":"yesterday","ts":12}"#,
            r#"{"a":"\"}"#,
            "{level:error}",
            r#"{"level":"error",}}"#,
        ] {
            check(body, BodyFields::default());
        }
    }

    #[test]
    fn kvlists_are_read_alike() {
        let mut map = Vec::new();
        write::key_value(&mut map, 1, "level", ValueRef::Str("warn"));
        write::key_value(&mut map, 1, "time", ValueRef::Int(1_700_000_000));
        let mut span = Vec::new();
        write::key_value(&mut span, 1, "trace_id", ValueRef::Str(TRACE));
        write::key_value(&mut map, 1, "span", ValueRef::Map(MapRef(&span)));
        let body = ValueRef::Map(MapRef(&map));
        let found = fields(body);
        assert_eq!(found.severity, Some(Severity(13)));
        assert_eq!(found.time, Some(Timestamp(1_700_000_000_000_000_000)));
        assert_eq!(found.trace_id, TraceId::from_hex(TRACE));
        assert_eq!(
            lookup(body, "span.trace_id"),
            Some(BodyValue::Value(ValueRef::Str(TRACE)))
        );
    }

    #[test]
    fn keys_are_found_by_path_and_by_their_dotted_name() {
        let body =
            ValueRef::Str(r#"{"a":{"b":1,"c":{"d":"x\u00e9\ud83d\ude00\n"}},"a.b":2,"n":null}"#);
        let number = |n| Some(BodyValue::Json(Json::Number(n)));
        assert_eq!(lookup(body, "a.b"), number("2"));
        let Some(BodyValue::Json(Json::Str(text))) = lookup(body, "a.c.d") else {
            panic!("a.c.d is a string");
        };
        assert_eq!(text.get(), "xé😀\n");
        assert_eq!(lookup(body, "n"), Some(BodyValue::Json(Json::Null)));
        assert_eq!(lookup(body, "a.x"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in r#"\{?["\\{}\[\]:,a1 lev-]{0,30}"#) {
            fields(ValueRef::Str(&text));
            lookup(ValueRef::Str(&text), "a.b");
        }
    }
}
