//! Byte sizes and durations as people write them in settings: parse and print, exactly.
//!
//! Printing never rounds: what is printed parses back to the same value (tests hold it). For
//! numbers on pages, where three digits are enough, `serve` has its own formats.

mod network;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub(crate) use network::Networks;

/// A number of bytes: `"256MB"` is 256,000,000, `"1GiB"` is 1,073,741,824, `"4096"` is bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(pub(crate) u64);

/// A length of time: `"7d"`, `"5m"`, `"1h30m"`, `"250ms"`; the units are w, d, h, m, s, ms, us, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Period(pub(crate) Duration);

/// A value that can be switched off: `"off"` is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OrOff<T>(pub(crate) Option<T>);

/// Largest first, so that printing takes the largest unit that divides exactly.
const BYTE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// Largest first, in nanoseconds.
const TIME_UNITS: [(&str, u128); 8] = [
    ("w", 604_800_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// The longest period: 100 years. Keeps every `now - period` inside 64-bit nanoseconds.
const PERIOD_MAX_NS: u128 = 36_525 * 86_400_000_000_000;

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!("{text:?} is not a size; write bytes or a unit, such as \"256MB\" or \"1GiB\"")
        };
        let text_trimmed = text.trim();
        let (number, unit) = split_number(text_trimmed).ok_or_else(bad)?;
        let unit = unit.trim();
        let bytes_each = match unit {
            "" => 1,
            _ => BYTE_UNITS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit))
                .map(|(_, bytes)| u128::from(*bytes))
                .ok_or_else(bad)?,
        };
        let bytes = scaled(number, bytes_each).ok_or_else(bad)?;
        u64::try_from(bytes).map(ByteSize).map_err(|_| bad())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |(_, bytes): &&(&str, u64)| self.0.is_multiple_of(*bytes);
        match BYTE_UNITS
            .iter()
            .filter(exact)
            .find(|(_, bytes)| self.0 >= *bytes)
        {
            Some((name, bytes)) => write!(f, "{}{name}", self.0 / bytes),
            None => write!(f, "0B"),
        }
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "{text:?} is not a duration; write a number and a unit, such as \"7d\", \"5m\" or \"250ms\""
            )
        };
        let mut rest = text.trim();
        if rest == "0" {
            return Ok(Period(Duration::ZERO));
        }
        if rest.is_empty() {
            return Err(bad());
        }
        let mut total_ns: u128 = 0;
        while !rest.is_empty() {
            let (number, tail) = split_number(rest).ok_or_else(bad)?;
            let unit_len = tail
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_len);
            let (_, unit_ns) = TIME_UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .ok_or_else(bad)?;
            let part = scaled(number, *unit_ns).ok_or_else(bad)?;
            total_ns = total_ns.saturating_add(part);
            rest = tail;
        }
        if total_ns > PERIOD_MAX_NS {
            return Err(format!("{text:?} is longer than 100 years"));
        }
        let ns = u64::try_from(total_ns).expect("100 years of nanoseconds fit 64 bits");
        Ok(Period(Duration::from_nanos(ns)))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest_ns = self.0.as_nanos();
        if rest_ns == 0 {
            return f.write_str("0s");
        }
        // Weeks are understood but not printed: "7d" reads better than "1w" in a retention setting.
        for (name, unit_ns) in &TIME_UNITS[1..] {
            let count = rest_ns / unit_ns;
            if count > 0 {
                write!(f, "{count}{name}")?;
                rest_ns -= count * unit_ns;
            }
        }
        Ok(())
    }
}

impl<T: FromStr<Err = String>> FromStr for OrOff<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case("off") {
            return Ok(OrOff(None));
        }
        text.parse()
            .map(|value| OrOff(Some(value)))
            .map_err(|e: String| format!("{e}, or \"off\""))
    }
}

impl<T: fmt::Display> fmt::Display for OrOff<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("off"),
        }
    }
}

/// Splits `"1.5h"` into the decimal number and what follows it.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let len = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(len);
    number
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some((number, rest))
}

/// `number * unit` without floating point; None for overflow, a second point or a fraction of one.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || fraction.len() > 18 {
        return None;
    }
    let whole = whole.parse::<u128>().ok()?.checked_mul(unit)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let denominator = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let numerator = fraction.parse::<u128>().ok()?.checked_mul(unit)?;
    numerator
        .is_multiple_of(denominator)
        .then(|| whole.checked_add(numerator / denominator))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check_size(text: &str, bytes: u64, printed: &str) {
        let size: ByteSize = text.parse().expect(text);
        assert_eq!(size, ByteSize(bytes));
        assert_eq!(size.to_string(), printed);
    }

    #[track_caller]
    fn check_period(text: &str, ns: u64, printed: &str) {
        let period: Period = text.parse().expect(text);
        assert_eq!(period.0, Duration::from_nanos(ns));
        assert_eq!(period.to_string(), printed);
    }

    #[test]
    fn sizes() {
        check_size("256MB", 256_000_000, "256MB");
        check_size("1GiB", 1 << 30, "1GiB");
        check_size("1.5 gib", 3 << 29, "1536MiB");
        check_size("1024", 1024, "1KiB");
        check_size("0", 0, "0B");
        check_size("1001", 1001, "1001B");
    }

    #[test]
    fn periods() {
        check_period("7d", 604_800_000_000_000, "7d");
        check_period("5m", 300_000_000_000, "5m");
        check_period("1.5h", 5_400_000_000_000, "1h30m");
        check_period("250ms", 250_000_000, "250ms");
        check_period("0", 0, "0s");
    }

    #[test]
    fn bad_values_are_errors_that_show_the_input() {
        for text in [
            "",
            "MB",
            "-1MB",
            "1 XB",
            "1.2.3MB",
            "99999999999TiB",
            "0.3B",
        ] {
            let error = text.parse::<ByteSize>().unwrap_err();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
        for text in ["", "7", "7x", "d", "-1d", "1d junk", "200000d", "1M"] {
            let error = text.parse::<Period>().unwrap_err();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn off_is_none_and_printed_back() {
        assert_eq!("off".parse(), Ok(OrOff::<Period>(None)));
        assert_eq!(OrOff::<Period>(None).to_string(), "off");
        assert!(
            "7x".parse::<OrOff<Period>>()
                .unwrap_err()
                .ends_with("or \"off\"")
        );
    }

    proptest! {
        #[test]
        fn size_prints_what_it_parses(bytes: u64) {
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }

        #[test]
        fn period_prints_what_it_parses(ns in 0u64..3_155_760_000_000_000_000) {
            let period = Period(Duration::from_nanos(ns));
            prop_assert_eq!(period.to_string().parse(), Ok(period));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,24}") {
            let _ = text.parse::<ByteSize>();
            let _ = text.parse::<Period>();
        }
    }
}
