//! The frame of a JSON object, read by borrowing.
//!
//! Never recurses over the input. Only the frame is checked (strings, brackets, commas), which is
//! enough to tell an object from a text that starts with a brace.

use std::borrow::Cow;

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

impl<'a> JsonStr<'a> {
    /// The text as it is written.
    pub(super) fn raw(self) -> &'a str {
        self.raw
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_array_gives_its_elements() {
        assert_eq!(elements(r#"[1, "a",[2]]"#).count(), 3);
        assert_eq!(elements("[]").count(), 0);
        assert_eq!(elements("[1 2]").count(), 1);
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
    }
}
