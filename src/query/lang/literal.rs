//! Literals of comparisons: numbers, durations, sizes and times, each with its order.

use std::cmp::Ordering;

use super::Literal;
use crate::model::{Severity, Timestamp};
use crate::units::{ByteSize, Period};

/// What a literal stands for; its kind is what it compares with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Quantity {
    Number(Number),
    /// Nanoseconds.
    Duration(u64),
    Bytes(u64),
    Time(Timestamp),
    /// Only of the field `severity`.
    Severity(Severity),
}

/// A number without loss: integers stay exact beyond 2^53.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    /// Reads decimal notation with an optional exponent; no hexadecimal, no `inf`, no `NaN`.
    pub(crate) fn parse(text: &str) -> Option<Number> {
        if let Ok(int) = text.parse() {
            // `+5` is an integer to Rust but not to people's logs.
            return (!text.starts_with('+')).then_some(Number::Int(int));
        }
        let digit = |c: char| c.is_ascii_digit();
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let plain = unsigned.starts_with(digit) && unsigned.ends_with(digit);
        let float: f64 = plain.then(|| text.parse().ok())??;
        float.is_finite().then_some(Number::Float(float))
    }

    /// `None` when one is NaN.
    pub(crate) fn order(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b),
            (Number::Int(a), Number::Float(b)) => (a as f64).partial_cmp(&b),
            (Number::Float(a), Number::Int(b)) => a.partial_cmp(&(b as f64)),
        }
    }
}

impl Quantity {
    /// Reads a literal by its unit; `None` for plain text.
    pub(crate) fn parse(text: &str) -> Option<Quantity> {
        if let Some(number) = Number::parse(text) {
            return Some(Quantity::Number(number));
        }
        duration(text)
            .map(Quantity::Duration)
            .or_else(|| size(text).map(Quantity::Bytes))
            .or_else(|| time(text).map(Quantity::Time))
    }

    /// Reads a literal of the field `severity`: a level's word or a severity number.
    pub(crate) fn parse_severity(text: &str) -> Option<Quantity> {
        Severity::from_text(text)
            .or_else(|| text.parse().ok().map(Severity))
            .map(Quantity::Severity)
    }

    /// The order of two quantities of one kind; `None` between kinds.
    pub(crate) fn order(self, other: Quantity) -> Option<Ordering> {
        match (self, other) {
            (Quantity::Number(a), Quantity::Number(b)) => a.order(b),
            (Quantity::Duration(a), Quantity::Duration(b))
            | (Quantity::Bytes(a), Quantity::Bytes(b)) => Some(a.cmp(&b)),
            (Quantity::Time(a), Quantity::Time(b)) => Some(a.cmp(&b)),
            (Quantity::Severity(a), Quantity::Severity(b)) => Some(a.cmp(&b)),
            _ => None,
        }
    }

    /// Reads `text` as a quantity of this one's kind: what a string value compares as.
    pub(crate) fn read_alike(self, text: &str) -> Option<Quantity> {
        match self {
            Quantity::Number(_) => Number::parse(text).map(Quantity::Number),
            Quantity::Duration(_) => duration(text).map(Quantity::Duration),
            Quantity::Bytes(_) => size(text).map(Quantity::Bytes),
            Quantity::Time(_) => time(text).map(Quantity::Time),
            // Only what is known to be a level is one.
            Quantity::Severity(_) => None,
        }
    }
}

impl Literal {
    /// The quantity under a field of the given kind; the parser has checked that there is one.
    pub(crate) fn quantity(&self, severity: bool) -> Option<Quantity> {
        if severity {
            Quantity::parse_severity(&self.0)
        } else {
            Quantity::parse(&self.0)
        }
    }
}

/// `500ms`, `1h30m`; a unit is required.
fn duration(text: &str) -> Option<u64> {
    let Period(length): Period = ends_in_unit(text).then(|| text.parse().ok())??;
    u64::try_from(length.as_nanos()).ok()
}

/// `10MB`, `1.5GiB`; a unit is required.
fn size(text: &str) -> Option<u64> {
    let ByteSize(bytes) = ends_in_unit(text).then(|| text.parse().ok())??;
    Some(bytes)
}

fn ends_in_unit(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_alphabetic())
        && text.starts_with(|c: char| c.is_ascii_digit())
}

/// RFC 3339 (`2026-11-20T10:00:00Z`, with an offset, with a space for the `T`) or a date (UTC).
pub(crate) fn time(text: &str) -> Option<Timestamp> {
    // Cheap reject: this runs over every string value a time is compared with.
    let bytes = text.as_bytes();
    if bytes.len() < 10 || !bytes[0].is_ascii_digit() || bytes[4] != b'-' {
        return None;
    }
    let stamp = if bytes.len() == 10 {
        let date: jiff::civil::Date = text.parse().ok()?;
        date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()
    } else {
        text.parse::<jiff::Timestamp>().ok()?
    };
    u64::try_from(stamp.as_nanosecond()).ok().map(Timestamp)
}
