//! Numbers as Go's `strconv` reads and writes them: what Prometheus accepts in a page, and the one form
//! of `le` and `quantile`.

/// A sample's value. Go before 1.13: no hexadecimal, no underscores; too large is an error.
pub(super) fn float(text: &str) -> Option<f64> {
    if let Some(value) = small_integer(text.as_bytes()) {
        return Some(value);
    }
    let value: f64 = text.parse().ok()?;
    if value.is_finite() {
        return Some(value);
    }
    let unsigned = text.trim_start_matches(['+', '-']);
    // Rust reads "+nan" and rounds 1e999 to infinity; Go does neither.
    let named = match value.is_nan() {
        true => text.len() == 3,
        false => unsigned
            .as_bytes()
            .first()
            .is_some_and(|b| b.is_ascii_alphabetic()),
    };
    named.then_some(value)
}

/// Nearly half of all values are counts below 10^15.
fn small_integer(digits: &[u8]) -> Option<f64> {
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    let mut value = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    Some(value as f64)
}

/// Appends a bound as Prometheus keeps it (OpenMetrics, "Canonical Numbers"): shortest digits, an
/// exponent below 1e-4 and from a million on as Go's `%g` has it, and always a point or an exponent.
pub(super) fn write_canonical(value: f64, out: &mut String) {
    use std::fmt::Write as _;
    if value.is_nan() {
        return out.push_str("NaN");
    }
    if value.is_infinite() {
        return out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e6).contains(&magnitude) {
        let start = out.len();
        write!(out, "{value:e}").expect("a string takes everything");
        let exponent = out[start..].find('e').expect("written with an exponent") + start + 1;
        let digits = out.split_off(exponent);
        let (sign, digits) = match digits.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', digits.as_str()),
        };
        write!(out, "{sign}{digits:0>2}").expect("a string takes everything");
        return;
    }
    let start = out.len();
    write!(out, "{value}").expect("a string takes everything");
    if !out[start..].contains('.') {
        out.push_str(".0");
    }
}

/// Whether a bound is plainly in its one form already, so that nobody need read it as a number.
pub(super) fn is_canonical(text: &str) -> bool {
    let Some((whole, part)) = text.split_once('.') else {
        return text == "+Inf";
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (text.len() <= 15 && whole.len() <= 6)
        && digits(whole)
        && digits(part)
        && (whole == "0" || !whole.starts_with('0'))
        && (part == "0" || !part.ends_with('0'))
        && !(whole == "0" && part.len() > 1 && part.starts_with("0000"))
}
