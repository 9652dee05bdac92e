//! Values of metrics as people read them, by their unit. `explore_chart.js` writes the same.

use crate::query::explore::unit::{Base, Unit};
use crate::serve::format;

/// `1.24 s`, `3.10 MiB/s`, `12.4 %`, `412/s`, `1.24 k`.
pub(crate) fn text(value: f64, unit: &Unit) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "−Inf" }.to_owned();
    }
    let sign = if value < 0.0 { "−" } else { "" };
    let size = value.abs();
    let body = match &unit.base {
        Base::Seconds if size == 0.0 => "0 s".to_owned(),
        Base::Seconds => format::duration((size * 1e9).round() as u64),
        Base::Bytes => bytes(size),
        Base::Ratio => format!("{} %", number(size * 100.0)),
        Base::Percent => format!("{} %", number(size)),
        Base::Named(name) => format!("{} {name}", number(size)),
        Base::Plain => number(size),
    };
    format!("{sign}{body}{}", if unit.per_second { "/s" } else { "" })
}

fn bytes(size: f64) -> String {
    if size < 1024.0 {
        return format!("{} B", number(size));
    }
    format::bytes(size as u64)
}

/// Three significant digits; whole numbers to 9 999 exactly.
fn number(size: f64) -> String {
    if size < 10_000.0 && size.fract() == 0.0 {
        return format::exact(size as u64);
    }
    if !(0.001..1e15).contains(&size) {
        return format!("{size:.2e}");
    }
    for (unit, scale) in [
        ("", 1.0),
        (" k", 1e3),
        (" M", 1e6),
        (" G", 1e9),
        (" T", 1e12),
    ] {
        let scaled = size / scale;
        if scaled < 999.5 || scale == 1e12 {
            return format!("{}{unit}", significant(scaled));
        }
    }
    unreachable!("the last scale always fits")
}

fn significant(value: f64) -> String {
    match value {
        v if v < 0.0995 => format!("{v:.4}"),
        v if v < 0.9995 => format!("{v:.3}"),
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// The same without zeros behind the point: an axis has no room for them.
pub(crate) fn tick(value: f64, unit: &Unit) -> String {
    let text = text(value, unit);
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '−');
    let (number, rest) = text.split_at(digits.unwrap_or(text.len()));
    match number.contains('.') {
        true => format!(
            "{}{rest}",
            number.trim_end_matches('0').trim_end_matches('.')
        ),
        false => text,
    }
}

/// About `count` round values from `low` to `high`.
pub(crate) fn ticks(low: f64, high: f64, count: f64, unit: &Unit) -> Vec<f64> {
    let raw = (high - low) / count;
    if !raw.is_finite() || raw <= 0.0 {
        return Vec::new();
    }
    let step = match unit.base {
        Base::Bytes if raw > 1.0 => 2_f64.powf(raw.log2().ceil()),
        _ => {
            let power = 10_f64.powf(raw.log10().floor());
            let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= raw);
            factor.unwrap_or(10.0) * power
        }
    };
    let first = (low / step).ceil();
    let steps = (high / step).floor() - first;
    (0..=steps as usize)
        .map(|n| (first + n as f64) * step)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{text, tick, ticks};
    use crate::query::explore::unit::{Base, Unit};

    #[track_caller]
    fn check(value: f64, base: Base, per_second: bool, expect: &str) {
        assert_eq!(text(value, &Unit { base, per_second }), expect);
    }

    #[test]
    fn values_have_their_unit() {
        check(0.0042, Base::Seconds, false, "4.20 ms");
        check(-90.0, Base::Seconds, false, "−1 m 30 s");
        check(3_250_586.0, Base::Bytes, true, "3.10 MiB/s");
        check(0.124, Base::Ratio, false, "12.4 %");
        check(412.0, Base::Plain, true, "412/s");
        check(1_240_000.0, Base::Plain, false, "1.24 M");
        check(0.0123, Base::Plain, false, "0.0123");
        check(0.000_012, Base::Plain, false, "1.20e-5");
        check(
            21.5,
            Base::Named("celsius".to_owned()),
            false,
            "21.5 celsius",
        );
        check(f64::NAN, Base::Bytes, false, "NaN");
        assert_eq!(tick(0.5, &Unit::default()), "0.5");
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 9.3, 4.0, &Unit::default()), [0.0, 5.0]);
        assert_eq!(ticks(-3.0, 3.0, 4.0, &Unit::default()), [-2.0, 0.0, 2.0]);
        let bytes = Unit {
            base: Base::Bytes,
            per_second: false,
        };
        assert_eq!(ticks(0.0, 3000.0, 4.0, &bytes), [0.0, 1024.0, 2048.0]);
        assert!(ticks(1.0, 1.0, 4.0, &bytes).is_empty());
    }
}
