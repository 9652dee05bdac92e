//! Floats as Go prints them: what annotations, labels and the texts of histograms hold.

/// Go's `%g` with the fewest digits: an exponent below 1e-4 and from 1e6 on.
pub(crate) fn go_general(value: f64) -> String {
    if let Some(word) = go_special(value) {
        return word.to_owned();
    }
    let scientific = nearest(value);
    let (digits, exponent) = scientific
        .split_once('e')
        .expect("`{:e}` writes an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is an integer");
    if (-4..6).contains(&exponent) {
        return go_plain(value);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// Go's `'f'` with the fewest digits: never an exponent.
pub(crate) fn go_plain(value: f64) -> String {
    if let Some(word) = go_special(value) {
        return word.to_owned();
    }
    let plain = format!("{value}");
    match plain.split_once('.') {
        // As many digits, but the even one of two that are equally near.
        Some((_, fraction)) if plain.len() >= DIGITS_MAX => {
            let even = format!("{value:.*}", fraction.len());
            if even.parse() == Ok(value) {
                even
            } else {
                plain
            }
        }
        _ => plain,
    }
}

/// Digits that the shortest text of a float has at most; only texts of so many may lie in the middle
/// between two.
const DIGITS_MAX: usize = 17;

/// The shortest digits that are this float; of two equally near ones the even one, as Go has it.
fn nearest(value: f64) -> String {
    let shortest = format!("{value:e}");
    let digits = shortest.bytes().take_while(|b| *b != b'e');
    let digits = digits.filter(u8::is_ascii_digit).count();
    if digits < DIGITS_MAX {
        return shortest;
    }
    let even = format!("{value:.*e}", digits - 1);
    if even.parse() == Ok(value) {
        even
    } else {
        shortest
    }
}

fn go_special(value: f64) -> Option<&'static str> {
    match value {
        v if v.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{go_general, go_plain};

    #[test]
    fn floats_look_as_go_prints_them() {
        let check = |value: f64, general: &str, plain: &str| {
            assert_eq!(go_general(value), general);
            assert_eq!(go_plain(value), plain);
        };
        check(0.0, "0", "0");
        check(-0.001, "-0.001", "-0.001");
        check(100_000.0, "100000", "100000");
        check(1_234_567.0, "1.234567e+06", "1234567");
        check(0.00001, "1e-05", "0.00001");
        check(1e100, "1e+100", &format!("1{}", "0".repeat(100)));
        check(f64::INFINITY, "+Inf", "+Inf");
        check(f64::NAN, "NaN", "NaN");
        check(
            200_108_013_902.0 + 0.453_125,
            "2.0010801390245312e+11",
            "200108013902.45312",
        );
    }
}
