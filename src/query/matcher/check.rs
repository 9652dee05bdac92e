//! One condition on one value.

use std::cmp::Ordering;

use base64::Engine;

use super::super::QueryError;
use super::super::lang::{Comparison, Field, Literal, Number, Quantity, Test, compile_regex};
use super::literal;
use super::text::Tokens;
use super::{Found, VALUE_DEPTH_MAX};
use crate::model::body::{self, Json};
use crate::model::{Level, Severity, ValueRef};

/// What a value must be.
#[derive(Debug)]
pub(super) enum Check {
    /// These tokens somewhere in the text; only of text without a field.
    Tokens(Tokens),
    Equal(Equal),
    Prefix(String),
    Regex(Pattern),
    Compare(Comparison, Quantity),
    Range(Quantity, Quantity),
    AnyOf(Vec<Check>),
    Exists,
}

/// A regular expression.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: regex::Regex,
    /// What it looks for, where that is one text and not empty.
    pub(super) plain: Option<String>,
    /// A text that is in all it finds, not empty.
    pub(super) needle: Option<String>,
}

/// A whole value, prepared for every kind of value there is.
#[derive(Debug)]
pub(super) struct Equal {
    text: String,
    number: Option<Number>,
    level: Option<Level>,
}

impl Check {
    /// For text without a field.
    pub(super) fn text(test: &Test) -> Result<Check, QueryError> {
        let tokens = |text: &str, prefix| {
            Tokens::new(text, prefix).map(Check::Tokens).ok_or_else(|| {
                QueryError::Invalid(format!("{text:?} has no letter or digit to look for"))
            })
        };
        match test {
            Test::Text(text) => tokens(text, false),
            Test::Prefix(text) => tokens(text, true),
            Test::Regex(source) => regex(source),
            Test::AnyOf(tests) => {
                let checks: Result<_, _> = tests.iter().map(Check::text).collect();
                Ok(Check::AnyOf(checks?))
            }
            Test::Compare(..) | Test::Range(..) | Test::Exists => Err(QueryError::Invalid(
                "a comparison needs a field before it, such as duration:>500ms".to_owned(),
            )),
        }
    }

    /// For the value of a field.
    pub(super) fn value(field: &Field, test: &Test) -> Result<Check, QueryError> {
        let quantity = |literal: &Literal| {
            literal
                .quantity(field.is_severity())
                .ok_or_else(|| QueryError::Invalid(format!("{:?} is not a number", literal.0)))
        };
        Ok(match test {
            Test::Text(text) => Check::Equal(Equal {
                text: text.clone(),
                number: Number::parse(text),
                level: Level::from_text(text),
            }),
            Test::Prefix(text) => Check::Prefix(text.clone()),
            Test::Regex(source) => regex(source)?,
            Test::Compare(comparison, literal) => Check::Compare(*comparison, quantity(literal)?),
            Test::Range(from, to) => Check::Range(quantity(from)?, quantity(to)?),
            Test::AnyOf(tests) => {
                let checks: Result<_, _> =
                    tests.iter().map(|test| Check::value(field, test)).collect();
                Check::AnyOf(checks?)
            }
            Test::Exists => Check::Exists,
        })
    }

    /// A text that is the whole value.
    pub(super) fn passes_text(&self, text: &str) -> bool {
        match self {
            Check::Tokens(tokens) => tokens.found_in(text),
            Check::Equal(equal) => equal.text == text,
            Check::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Check::Regex(pattern) => pattern.regex.is_match(text),
            Check::Compare(comparison, quantity) => quantity
                .read_alike(text)
                .is_some_and(|value| compares(value, *comparison, *quantity)),
            Check::Range(from, to) => from
                .read_alike(text)
                .is_some_and(|value| within(value, *from, *to)),
            Check::AnyOf(checks) => checks.iter().any(|check| check.passes_text(text)),
            Check::Exists => true,
        }
    }

    pub(super) fn passes(&self, found: Found<'_>) -> bool {
        if let Check::AnyOf(checks) = self {
            return checks.iter().any(|check| check.passes(found));
        }
        match found {
            Found::Value(value) => self.passes_value(value, VALUE_DEPTH_MAX),
            Found::Json(json) => self.passes_json(json, VALUE_DEPTH_MAX),
            Found::Severity(severity, text) => self.passes_severity(severity, text),
            Found::Id(id) => self.passes_id(id),
            Found::Word(word) => match self {
                Check::Equal(equal) => equal.text.eq_ignore_ascii_case(word),
                Check::Prefix(prefix) => starts_ignoring_case(word, prefix),
                _ => self.passes_text(word),
            },
            Found::Duration(ns) => match self {
                Check::Exists => true,
                Check::Equal(equal) => Quantity::parse(&equal.text) == Some(Quantity::Duration(ns)),
                _ => self.passes_quantity(Quantity::Duration(ns)),
            },
        }
    }

    /// An attribute's value: an array passes when an element does.
    fn passes_value(&self, value: ValueRef<'_>, depth: usize) -> bool {
        match value {
            ValueRef::Str(text) => self.passes_text(text),
            ValueRef::Int(int) => self.passes_number(Number::Int(int)),
            ValueRef::Double(double) => self.passes_number(Number::Float(double)),
            ValueRef::Bool(b) => self.passes_text(if b { "true" } else { "false" }),
            ValueRef::Empty => self.passes_empty(),
            ValueRef::Array(array) => {
                let inside = |value| depth > 0 && self.passes_value(value, depth - 1);
                matches!(self, Check::Exists) || array.iter().any(inside)
            }
            ValueRef::Map(_) => matches!(self, Check::Exists),
            ValueRef::Bytes(bytes) => match self {
                Check::Exists => true,
                Check::Equal(equal) => {
                    base64::engine::general_purpose::STANDARD.encode(bytes) == equal.text
                }
                _ => false,
            },
        }
    }

    fn passes_json(&self, json: Json<'_>, depth: usize) -> bool {
        match json {
            Json::Str(text) => self.passes_text(&text.get()),
            Json::Number(number) => match Number::parse(number) {
                Some(number) => self.passes_number(number),
                None => self.passes_text(number),
            },
            Json::Bool(b) => self.passes_text(if b { "true" } else { "false" }),
            Json::Null => self.passes_empty(),
            Json::Array(array) => {
                let inside = |value| depth > 0 && self.passes_json(value, depth - 1);
                matches!(self, Check::Exists) || body::elements(array).any(inside)
            }
            Json::Object(_) => matches!(self, Check::Exists),
        }
    }

    /// A key without a value: it is there, and equals the empty text.
    fn passes_empty(&self) -> bool {
        match self {
            Check::Exists => true,
            Check::Equal(equal) => equal.text.is_empty(),
            Check::AnyOf(checks) => checks.iter().any(Check::passes_empty),
            _ => false,
        }
    }

    fn passes_number(&self, number: Number) -> bool {
        match self {
            Check::Equal(equal) => equal
                .number
                .is_some_and(|expected| expected.order(number) == Some(Ordering::Equal)),
            Check::Compare(..) | Check::Range(..) => self.passes_quantity(Quantity::Number(number)),
            Check::AnyOf(checks) => checks.iter().any(|check| check.passes_number(number)),
            Check::Exists => true,
            Check::Tokens(_) | Check::Prefix(_) | Check::Regex(_) => {
                self.passes_text(&print_number(number))
            }
        }
    }

    fn passes_quantity(&self, value: Quantity) -> bool {
        match self {
            Check::Compare(comparison, quantity) => compares(value, *comparison, *quantity),
            Check::Range(from, to) => within(value, *from, *to),
            _ => false,
        }
    }

    /// Levels compare by their order; a record without one compares with nothing.
    fn passes_severity(&self, severity: Severity, text: &str) -> bool {
        let level = severity.level();
        match self {
            Check::Equal(equal) => match (equal.level, equal.number) {
                (Some(expected), _) => level == expected,
                (None, Some(Number::Int(number))) => i64::from(severity.0) == number,
                _ => !text.is_empty() && text.eq_ignore_ascii_case(&equal.text),
            },
            Check::Prefix(prefix) => {
                starts_ignoring_case(level.name(), prefix) || starts_ignoring_case(text, prefix)
            }
            Check::Regex(_) if text.is_empty() => self.passes_text(level.name()),
            Check::Exists => true,
            Check::Compare(..) | Check::Range(..) => {
                level != Level::Unset && self.passes_quantity(Quantity::Severity(severity))
            }
            Check::Regex(_) | Check::Tokens(_) | Check::AnyOf(_) => self.passes_text(text),
        }
    }

    fn passes_id(&self, id: &[u8]) -> bool {
        let mut hex = [0u8; 32];
        let hex = hex_of(id, &mut hex);
        match self {
            Check::Equal(equal) => equal.text.eq_ignore_ascii_case(hex),
            Check::Prefix(prefix) => starts_ignoring_case(hex, prefix),
            _ => self.passes_text(hex),
        }
    }
}

fn regex(source: &str) -> Result<Check, QueryError> {
    let regex = compile_regex(source).map_err(QueryError::Invalid)?;
    // Templates have these bytes where variables are.
    let has_mark = source.contains(['\u{1}', '\u{2}']);
    let plain = !source.is_empty() && !has_mark && regex::escape(source) == source;
    Ok(Check::Regex(Pattern {
        regex,
        plain: plain.then(|| source.to_owned()),
        needle: literal::required(source),
    }))
}

fn compares(value: Quantity, comparison: Comparison, literal: Quantity) -> bool {
    // `level:>warn` means the levels above, not WARN2.
    let order = match (value, literal) {
        (Quantity::Severity(value), Quantity::Severity(literal)) => {
            Some(value.level().cmp(&literal.level()))
        }
        _ => value.order(literal),
    };
    order.is_some_and(|order| match comparison {
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
    })
}

fn within(value: Quantity, from: Quantity, to: Quantity) -> bool {
    compares(value, Comparison::GreaterOrEqual, from)
        && compares(value, Comparison::LessOrEqual, to)
}

fn starts_ignoring_case(text: &str, prefix: &str) -> bool {
    text.as_bytes()
        .get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
}

fn hex_of<'b>(id: &[u8], out: &'b mut [u8; 32]) -> &'b str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(id) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    let len = (2 * id.len()).min(out.len());
    std::str::from_utf8(&out[..len]).expect("hexadecimal digits are ASCII")
}

fn print_number(number: Number) -> String {
    match number {
        Number::Int(int) => int.to_string(),
        Number::Float(float) => float.to_string(),
    }
}

/// Calls `each` with a scalar as text, with every scalar of an array.
pub(super) fn with_text(found: Found<'_>, each: &mut dyn FnMut(&str)) {
    match found {
        Found::Value(value) => value_text(value, each, VALUE_DEPTH_MAX),
        Found::Json(json) => json_text(json, each, VALUE_DEPTH_MAX),
        Found::Severity(severity, _) => each(severity.level().name()),
        Found::Id(id) => each(hex_of(id, &mut [0; 32])),
        Found::Word(word) => each(word),
        Found::Duration(ns) => each(&ns.to_string()),
    }
}

fn value_text(value: ValueRef<'_>, each: &mut dyn FnMut(&str), depth: usize) {
    match value {
        ValueRef::Str(text) => each(text),
        ValueRef::Bool(b) => each(if b { "true" } else { "false" }),
        ValueRef::Int(int) => each(&int.to_string()),
        ValueRef::Double(double) => each(&double.to_string()),
        ValueRef::Array(array) if depth > 0 => {
            array
                .iter()
                .for_each(|value| value_text(value, each, depth - 1));
        }
        ValueRef::Empty | ValueRef::Bytes(_) | ValueRef::Array(_) | ValueRef::Map(_) => {}
    }
}

fn json_text(json: Json<'_>, each: &mut dyn FnMut(&str), depth: usize) {
    match json {
        Json::Str(text) => each(&text.get()),
        Json::Bool(b) => each(if b { "true" } else { "false" }),
        Json::Number(number) => each(number),
        Json::Array(array) if depth > 0 => {
            body::elements(array).for_each(|value| json_text(value, each, depth - 1));
        }
        Json::Null | Json::Array(_) | Json::Object(_) => {}
    }
}

/// Whether any text inside a value passes: what a search without a field looks at.
pub(super) fn any_text_inside(value: ValueRef<'_>, check: &Check, depth: usize) -> bool {
    match value {
        ValueRef::Str(text) => check.passes_text(text),
        ValueRef::Array(array) => {
            depth > 0
                && array
                    .iter()
                    .any(|value| any_text_inside(value, check, depth - 1))
        }
        ValueRef::Map(map) => {
            depth > 0
                && map.iter().any(|(key, value)| {
                    check.passes_text(key) || any_text_inside(value, check, depth - 1)
                })
        }
        ValueRef::Bool(_) | ValueRef::Int(_) | ValueRef::Double(_) => {
            check.passes_value(value, depth)
        }
        ValueRef::Empty | ValueRef::Bytes(_) => false,
    }
}
