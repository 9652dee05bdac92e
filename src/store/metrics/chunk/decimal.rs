//! Floats that are short decimals, as whole numbers: 0.25, 0.5 and 1.75 are 25, 50 and 175 at exponent
//! 2 (after ALP, Afroozeh et al. 2023, without its second factor: division gives every short decimal
//! back to the bit).

/// Largest exponent tried. Beyond it hardly any float is a decimal that its own bits do not tell shorter.
pub(super) const EXPONENT_MAX: u8 = 14;

/// Whole numbers below this are exact in a float with a bit to spare for rounding.
const NUMBER_MAX: f64 = (1u64 << 51) as f64;

/// Added and taken away again, this leaves a whole number.
const ROUNDER: f64 = ((1u64 << 52) + (1 << 51)) as f64;

/// Of this many values the exponent is guessed before all are looked at.
const GUESSED_FROM: usize = 8;

/// One value in so many may be no decimal: a marker of staleness, a NaN, an infinity. More of them are
/// smaller in another codec.
const SPECIALS_SHARE: usize = 8;

const POWERS: [f64; EXPONENT_MAX as usize + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14,
];

/// What divides the whole numbers.
pub(super) fn power(exponent: u8) -> Option<f64> {
    POWERS.get(usize::from(exponent)).copied()
}

/// The whole number of a value at this power of ten, if the value comes back from it.
#[inline]
fn number_at(value: f64, power: f64) -> Option<i64> {
    let scaled = value * power;
    // NaN and infinities are not below either.
    let fits = scaled.abs() < NUMBER_MAX;
    let rounded = scaled + ROUNDER;
    let number = (rounded.to_bits() as i64).wrapping_sub(ROUNDER.to_bits() as i64);
    let back = number as f64 / power;
    (fits && back.to_bits() == value.to_bits()).then_some(number)
}

/// The least exponent from `from` at which a value is a whole number.
fn exponent_of(value: f64, from: u8) -> Option<u8> {
    (from..=EXPONENT_MAX).find(|e| number_at(value, POWERS[usize::from(*e)]).is_some())
}

/// Puts values into whole numbers at one exponent, which is returned. What is no decimal takes the number
/// before it, and its place goes to `specials`. `None` when too few are decimals.
pub(super) fn numbers(values: &[f64], out: &mut Vec<i64>, specials: &mut Vec<u32>) -> Option<u8> {
    let step = values.len().div_ceil(GUESSED_FROM).max(1);
    let mut exponent = 0;
    let (mut tried, mut failed) = (0, 0);
    for value in values.iter().step_by(step) {
        tried += 1;
        match exponent_of(*value, exponent) {
            Some(least) => exponent = least,
            None => failed += 1,
        }
    }
    if failed * 2 > tried {
        return None;
    }
    loop {
        out.clear();
        specials.clear();
        match numbers_at(values, exponent, out, specials) {
            Outcome::All => return Some(exponent),
            Outcome::Finer(finer) => exponent = finer,
            Outcome::TooMany => return None,
        }
    }
}

enum Outcome {
    All,
    /// A value is a decimal only at this larger exponent.
    Finer(u8),
    TooMany,
}

fn numbers_at(
    values: &[f64],
    exponent: u8,
    out: &mut Vec<i64>,
    specials: &mut Vec<u32>,
) -> Outcome {
    let specials_max = values.len() / SPECIALS_SHARE + 1;
    let power = POWERS[usize::from(exponent)];
    let mut last = None;
    for (place, value) in values.iter().enumerate() {
        let number = number_at(*value, power);
        if number.is_none() {
            if let Some(finer) = exponent_of(*value, exponent) {
                return Outcome::Finer(finer);
            }
            specials.push(place as u32);
            if specials.len() > specials_max {
                return Outcome::TooMany;
            }
        }
        last = number.or(last);
        out.push(last.unwrap_or_default());
    }
    // Before the first decimal there was none to take.
    if let Some(first) = (0..out.len()).find(|i| !specials.contains(&(*i as u32))) {
        let number = out[first];
        out[..first].fill(number);
    }
    Outcome::All
}

/// Appends the values of whole numbers, told by their distances from `first` in steps of `scale`.
pub(super) fn values(distances: &[i64], first: i64, scale: i64, power: f64, out: &mut Vec<f64>) {
    let number = |distance: &i64| first.wrapping_add(distance.wrapping_mul(scale)) as f64;
    if power == 1.0 {
        out.extend(distances.iter().map(number));
    } else {
        out.extend(distances.iter().map(|distance| number(distance) / power));
    }
}
