//! Durations and sizes as Prometheus' files write them: parse and print.

use std::time::Duration;

/// Largest first, in milliseconds; `exact` units are printed only when nothing is left over.
const UNITS: [(&str, u64, bool); 7] = [
    ("y", 365 * 86_400_000, true),
    ("w", 7 * 86_400_000, true),
    ("d", 86_400_000, true),
    ("h", 3_600_000, false),
    ("m", 60_000, false),
    ("s", 1_000, false),
    ("ms", 1, false),
];

/// `1h30m`, `15s`, `0`: each unit once, largest first.
///
/// # Errors
/// In Prometheus' words.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("not a valid duration string: {text:?}");
    match text {
        "0" => return Ok(Duration::ZERO),
        "" => return Err("empty duration string".to_owned()),
        _ => {}
    }
    let mut rest = text;
    let mut total: u64 = 0;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let place = UNITS
            .iter()
            .position(|(name, ..)| *name == unit)
            .ok_or_else(bad)?;
        if place < next_unit || number.is_empty() {
            return Err(bad());
        }
        let out_of_range = || "duration out of range".to_owned();
        let number: u64 = number.parse().map_err(|_| out_of_range())?;
        let part = number
            .checked_mul(UNITS[place].1)
            .ok_or_else(out_of_range)?;
        total = total.checked_add(part).ok_or_else(out_of_range)?;
        // Nanoseconds in 63 bits, as Go has them.
        if total > i64::MAX as u64 / 1_000_000 {
            return Err(out_of_range());
        }
        next_unit = place + 1;
        rest = tail;
    }
    Ok(Duration::from_millis(total))
}

/// As Prometheus prints one: the value of `__scrape_interval__`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let mut ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, unit, exact) in UNITS {
        if exact && !ms.is_multiple_of(unit) {
            continue;
        }
        if ms >= unit {
            text.push_str(&format!("{}{name}", ms / unit));
            ms %= unit;
        }
    }
    text
}

/// `10MB`, `512KiB`, `1.5GB`: units are powers of 1,024, with or without the `i`.
///
/// # Errors
/// In the words of the reader that Prometheus uses.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let bad = || format!("units: invalid {text}");
    let number: f64 = number.parse().map_err(|_| bad())?;
    let power = match unit {
        "B" => 0,
        "KB" | "KiB" => 1,
        "MB" | "MiB" => 2,
        "GB" | "GiB" => 3,
        "TB" | "TiB" => 4,
        "PB" | "PiB" => 5,
        "" => return Err(format!("units: missing unit in {text}")),
        unit => return Err(format!("units: unknown unit {unit} in {text}")),
    };
    let bytes = number * 1024f64.powi(power);
    if bytes < 0.0 || bytes >= i64::MAX as f64 {
        return Err(bad());
    }
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{bytes, duration, show_duration};

    #[track_caller]
    fn check(text: &str, ms: u64, shown: &str) {
        assert_eq!(duration(text), Ok(Duration::from_millis(ms)));
        assert_eq!(show_duration(Duration::from_millis(ms)), shown);
    }

    #[test]
    fn durations_are_prometheus_own() {
        check("0", 0, "0s");
        check("15s", 15_000, "15s");
        check("90s", 90_000, "1m30s");
        check("1h30m", 5_400_000, "1h30m");
        check("1d", 86_400_000, "1d");
        check("25h", 90_000_000, "25h");
        check("8d", 691_200_000, "8d");
        check("1w1d1ms", 691_200_001, "192h1ms");
        check("2y", 63_072_000_000, "2y");
        for bad in ["", "1", "s", "1.5h", "-1s", "1m1h", "1s1s", "1 s", "1M"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(duration("300y"), Err("duration out of range".to_owned()));
        assert_eq!(
            duration("1x"),
            Err("not a valid duration string: \"1x\"".to_owned())
        );
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(bytes("10MB"), Ok(10 << 20));
        assert_eq!(bytes("512KiB"), Ok(512 << 10));
        assert_eq!(bytes("1.5GB"), Ok(3 << 29));
        assert_eq!(bytes("0"), Ok(0));
        assert_eq!(bytes("12"), Err("units: missing unit in 12".to_owned()));
        assert_eq!(
            bytes("1XB"),
            Err("units: unknown unit XB in 1XB".to_owned())
        );
    }
}
