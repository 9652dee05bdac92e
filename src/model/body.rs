//! Log bodies that are JSON objects or kvlists: fields lifted out of them, keys looked up in them.
//!
//! Borrows and never allocates unless a string has escapes; never recurses over the input. Only
//! the frame of the JSON is checked (strings, brackets, commas), which is enough to tell an object
//! from a text that starts with a brace.

use std::borrow::Cow;

use super::id::{SpanId, TraceId};
use super::severity::{Level, Severity};
use super::time::Timestamp;
use super::value::{MapRef, ValueRef};

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

/// A JSON value that is not decoded further than needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    /// The number as it is written.
    Number(&'a str),
    Str(JsonStr<'a>),
    /// The whole text, brackets included.
    Array(&'a str),
    /// The whole text, braces included.
    Object(&'a str),
}

/// The inside of a JSON string, escapes and all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JsonStr<'a> {
    raw: &'a str,
    escaped: bool,
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

/// The members of a JSON object; `None` when the text does not look like one.
pub(crate) fn members(text: &str) -> Option<Members<'_>> {
    // Nearly every plain body is turned away by its first byte.
    let text = text.trim_ascii_start();
    let inside = text.strip_prefix('{')?;
    text.trim_ascii_end().ends_with('}').then_some(Members {
        rest: inside,
        state: State::First,
    })
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

impl<'a> JsonStr<'a> {
    /// The text with its escapes resolved.
    pub(crate) fn get(self) -> Cow<'a, str> {
        if self.escaped {
            Cow::Owned(unescape(self.raw))
        } else {
            Cow::Borrowed(self.raw)
        }
    }
}

/// Escapes that are none become U+FFFD: the text is shown and searched, not parsed again.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let mut after = rest[at + 1..].chars();
        match after.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some(c @ ('"' | '\\' | '/')) => out.push(c),
            Some('u') => out.push(unicode_escape(&mut after)),
            _ => out.push(char::REPLACEMENT_CHARACTER),
        }
        rest = after.as_str();
    }
    out.push_str(rest);
    out
}

/// The character after `\u`, with the second half of a surrogate pair.
fn unicode_escape(after: &mut std::str::Chars<'_>) -> char {
    let unit = |text: &str| u32::from_str_radix(text.get(..4)?, 16).ok();
    let Some(first) = unit(after.as_str()) else {
        return char::REPLACEMENT_CHARACTER;
    };
    *after = after.as_str()[4..].chars();
    if let Some(c) = char::from_u32(first) {
        return c;
    }
    let second = after.as_str().strip_prefix("\\u").and_then(unit);
    match second {
        Some(low @ 0xdc00..=0xdfff) if first < 0xdc00 => {
            *after = after.as_str()[6..].chars();
            let code = 0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00);
            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        _ => char::REPLACEMENT_CHARACTER,
    }
}

/// Iterates the members of one JSON object; ends at the first malformed one.
#[derive(Clone, Debug)]
pub(crate) struct Members<'a> {
    rest: &'a str,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    First,
    Next,
    Complete,
    Malformed,
}

impl Members<'_> {
    /// Whether the object was read to its end and nothing follows it. Ask after iterating.
    pub(crate) fn complete(&self) -> bool {
        self.state == State::Complete
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (JsonStr<'a>, Json<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.state, State::Complete | State::Malformed) {
            return None;
        }
        let first = self.state == State::First;
        self.state = State::Malformed;
        let rest = self.rest.trim_ascii_start();
        if let Some(after) = rest.strip_prefix('}') {
            if after.trim_ascii_start().is_empty() {
                self.state = State::Complete;
            }
            return None;
        }
        let rest = if first {
            rest
        } else {
            rest.strip_prefix(',')?.trim_ascii_start()
        };
        let (key, rest) = string(rest.strip_prefix('"')?)?;
        let rest = rest.trim_ascii_start().strip_prefix(':')?;
        let (value, rest) = value(rest.trim_ascii_start())?;
        (self.rest, self.state) = (rest, State::Next);
        Some((key, value))
    }
}

/// A string up to its closing quote; `text` starts after the opening one.
fn string(text: &str) -> Option<(JsonStr<'_>, &str)> {
    let bytes = text.as_bytes();
    let (mut at, mut escaped) = (0, false);
    loop {
        at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
        if bytes[at] == b'"' {
            let raw = &text[..at];
            return Some((JsonStr { raw, escaped }, &text[at + 1..]));
        }
        escaped = true;
        at += 2;
        if at > bytes.len() {
            return None;
        }
    }
}

/// One value and what follows it.
fn value(text: &str) -> Option<(Json<'_>, &str)> {
    match text.as_bytes().first()? {
        b'"' => string(&text[1..]).map(|(text, rest)| (Json::Str(text), rest)),
        b'{' => nested(text).map(|(whole, rest)| (Json::Object(whole), rest)),
        b'[' => nested(text).map(|(whole, rest)| (Json::Array(whole), rest)),
        _ => {
            let ends = |c: char| matches!(c, ',' | '}' | ']') || c.is_ascii_whitespace();
            let (word, rest) = text.split_at(text.find(ends)?);
            let value = match word {
                "null" => Json::Null,
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                number => {
                    let digit_at = usize::from(number.starts_with('-'));
                    let digit = number.as_bytes().get(digit_at)?;
                    digit.is_ascii_digit().then_some(Json::Number(number))?
                }
            };
            Some((value, rest))
        }
    }
}

/// An object or array with everything in it, by counting brackets outside strings.
fn nested(text: &str) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0usize);
    loop {
        match bytes.get(at)? {
            b'"' => {
                let (_, rest) = string(&text[at + 1..])?;
                at = text.len() - rest.len();
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(text.split_at(at + 1));
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// The elements of a JSON array as [`Json::Array`] holds it; ends at the first malformed one.
pub(crate) fn elements(array: &str) -> impl Iterator<Item = Json<'_>> {
    let mut rest = array.strip_prefix('[').unwrap_or_default();
    std::iter::from_fn(move || {
        let (element, after) = value(rest.trim_ascii_start())?;
        let after = after.trim_ascii_start();
        rest = after.strip_prefix(',').unwrap_or_default();
        Some(element)
    })
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
        match (key.raw, value) {
            (key, Json::Str(text)) => self.item("", key, Item::Text(&text.get())),
            (key, Json::Number(number)) => self.item("", key, Item::Number(number)),
            (key @ ("span" | "dd"), Json::Object(object)) => {
                for (inner, value) in members(object).into_iter().flatten() {
                    if let Json::Str(text) = value {
                        self.item(key, inner.raw, Item::Text(&text.get()));
                    } else if let Json::Number(number) = value {
                        self.item(key, inner.raw, Item::Number(number));
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
        assert_eq!(elements(r#"[1, "a",[2]]"#).count(), 3);
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".{0,6}".prop_map(Into::into),
            r#"[\\"{}\[\],:a]{0,6}"#.prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map("[a-c]{1,2}", inner, 0..4)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_member_reads_as_the_reference_reads_it(
            object in prop::collection::btree_map(".{1,3}", any_json(), 0..5), pretty: bool
        ) {
            let whole = serde_json::Value::Object(object.clone().into_iter().collect());
            let text = if pretty { format!("{whole:#}") } else { whole.to_string() };
            let mut read = members(&text).expect("an object");
            let mut count = 0;
            for (key, value) in &mut read {
                let expect = &object[&*key.get()];
                let same = match value {
                    Json::Null => expect.is_null(),
                    Json::Bool(b) => *expect == b,
                    Json::Number(n) => *expect == serde_json::from_str::<serde_json::Value>(n).expect("a number"),
                    Json::Str(text) => *expect == text.get().as_ref(),
                    Json::Array(raw) | Json::Object(raw) => {
                        serde_json::from_str::<serde_json::Value>(raw).as_ref().ok() == Some(expect)
                    }
                };
                prop_assert!(same, "{:?} is not {}", value, expect);
                count += 1;
            }
            prop_assert!(read.complete());
            prop_assert_eq!(count, object.len());
        }

        #[test]
        fn any_text_is_answered(text in r#"\{?["\\{}\[\]:,a1 lev-]{0,30}"#) {
            fields(ValueRef::Str(&text));
            lookup(ValueRef::Str(&text), "a.b");
        }
    }
}
