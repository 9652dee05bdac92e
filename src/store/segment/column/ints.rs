//! Columns of whole numbers: constant, packed, split into magnitude and low bits, either of values or
//! of differences, or a dictionary. The cheapest by estimate is taken.

use super::super::cursor::{Damage, put_varint, unzigzag, zigzag};
use super::bits::{BitReader, BitWriter};
use super::index::{self, Naming, entropy_of};
use super::{Decoder, Encoder, check_count};

/// Encoding tags on disk.
const CONST: u8 = 0;
const PACKED: u8 = 1;
const CLASSED: u8 = 2;
const DELTA_PACKED: u8 = 3;
const DELTA_CLASSED: u8 = 4;
const NUMBERED: u8 = 5;
const REPEATED: u8 = 6;

/// Bits that a table of symbols and the header of a second encoding cost, roughly.
const CLASS_HEADER_BITS: u64 = 160;

/// Writes a column. The number of values is not written: readers know it.
pub(crate) fn put(encoder: &mut Encoder, values: &[u64]) {
    let Some(plan) = Plan::of(values) else {
        put_const(encoder, values);
        return;
    };
    if values.len() >= 8 {
        let built = encoder.index.build(
            values.len(),
            |row| mix(values[row]),
            |a, b| values[a] == values[b],
        );
        if built && put_indexed(encoder, values, plan.bits) {
            return;
        }
    }
    plan.put(encoder, values);
}

/// As [`put`] without looking for repeated values.
pub(super) fn put_plain(encoder: &mut Encoder, values: &[u64]) {
    match Plan::of(values) {
        Some(plan) => plan.put(encoder, values),
        None => put_const(encoder, values),
    }
}

fn put_const(encoder: &mut Encoder, values: &[u64]) {
    if let Some(value) = values.first() {
        encoder.codes.push(CONST);
        put_varint(&mut encoder.codes, *value);
    }
}

/// Writes the dictionary form when it needs less than `plain_bits`.
fn put_indexed(encoder: &mut Encoder, values: &[u64], plain_bits: u64) -> bool {
    let (naming, name_bits) = encoder.index.naming();
    let mut distinct = encoder.buffer();
    distinct.extend(encoder.index.firsts().map(|row| values[row]));
    let distinct_bits = Plan::of(&distinct).map_or(0, |plan| plan.bits);
    let better = name_bits + distinct_bits + 64 < plain_bits;
    if better {
        encoder.codes.push(match naming {
            Naming::Number => NUMBERED,
            Naming::Distance => REPEATED,
        });
        put_varint(&mut encoder.codes, distinct.len() as u64);
        put_plain(encoder, &distinct);
        index::put_names(encoder, naming);
    }
    encoder.give_back(distinct);
    better
}

/// Fibonacci hashing, folded so that the low bits depend on all.
pub(super) fn mix(value: u64) -> u64 {
    let h = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    h ^ h >> 32
}

/// How a column of at least two different values is written without a dictionary.
#[derive(Clone, Copy, Debug)]
struct Plan {
    scale: u64,
    shape: Shape,
    classed: bool,
    /// Bits of the widest number; what a packed column uses for each.
    width: u32,
    bits: u64,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// `base + n * scale`.
    Values { base: u64 },
    /// The value before plus `base + n * scale`.
    Rising { first: u64, base: u64 },
    /// The value before plus `unzigzag(n) * scale`.
    Signed { first: u64 },
}

impl Plan {
    /// `None` when all values are equal.
    fn of(values: &[u64]) -> Option<Plan> {
        let first = *values.first()?;
        let (mut min, mut max, mut scale) = (first, first, 0);
        for &value in values {
            min = min.min(value);
            max = max.max(value);
            if scale != 1 {
                scale = gcd(value.abs_diff(first), scale);
            }
        }
        if min == max {
            return None;
        }
        let plain = Plan::measure(values, scale, Shape::Values { base: min });
        if values.len() < 4 || max - min > i64::MAX as u64 {
            return Some(plain);
        }
        let steps = || {
            values
                .windows(2)
                .map(|pair| pair[1].wrapping_sub(pair[0]) as i64)
        };
        let least = steps().min().expect("there are at least four values");
        let shape = if least < 0 {
            Shape::Signed { first }
        } else {
            let base = least as u64;
            Shape::Rising { first, base }
        };
        let delta = Plan::measure(values, scale, shape);
        Some(if delta.bits < plain.bits {
            delta
        } else {
            plain
        })
    }

    fn measure(values: &[u64], scale: u64, shape: Shape) -> Plan {
        let (mut classes, mut low_bits, mut all) = ([0u32; N_CLASSES], 0u64, 0u64);
        let mut n = 0u32;
        shape.each(values, scale, |number| {
            let class = class_of(number);
            classes[class as usize] += 1;
            low_bits += u64::from(class_width(class));
            all |= number;
            n += 1;
        });
        let width = 64 - all.leading_zeros();
        let packed = u64::from(width) * u64::from(n);
        let used = classes.iter().filter(|count| **count != 0).count() as u64;
        let classed = low_bits + entropy_of(&classes, n) + CLASS_HEADER_BITS + 4 * used;
        Plan {
            scale,
            shape,
            classed: classed < packed,
            width,
            bits: packed.min(classed) + 64,
        }
    }

    fn put(&self, encoder: &mut Encoder, values: &[u64]) {
        let codes = &mut encoder.codes;
        match self.shape {
            Shape::Values { base } => {
                codes.push(if self.classed { CLASSED } else { PACKED });
                put_varint(codes, base);
            }
            Shape::Rising { first, base } => {
                codes.push(if self.classed {
                    DELTA_CLASSED
                } else {
                    DELTA_PACKED
                });
                put_varint(codes, first);
                put_varint(codes, 0);
                put_varint(codes, base);
            }
            Shape::Signed { first } => {
                codes.push(if self.classed {
                    DELTA_CLASSED
                } else {
                    DELTA_PACKED
                });
                put_varint(codes, first);
                put_varint(codes, 1);
            }
        }
        put_varint(codes, self.scale);
        let mut bits = BitWriter::new(&mut encoder.bits);
        if self.classed {
            self.shape.each(values, self.scale, |number| {
                let class = class_of(number);
                codes.push(class);
                let width = class_width(class);
                bits.push(number & ((1 << width) - 1), width);
            });
        } else {
            codes.push(self.width as u8);
            let width = self.width;
            self.shape
                .each(values, self.scale, |number| bits.push(number, width));
        }
        bits.finish();
    }
}

impl Shape {
    /// Calls `f` with each number to store; a column of differences has one less than values.
    #[inline]
    fn each(self, values: &[u64], scale: u64, mut f: impl FnMut(u64)) {
        let scaled = |v: u64| if scale == 1 { v } else { v / scale };
        match self {
            Shape::Values { base } => values.iter().for_each(|v| f(scaled(v - base))),
            Shape::Rising { base, .. } => values
                .windows(2)
                .for_each(|pair| f(scaled(pair[1] - pair[0] - base))),
            Shape::Signed { .. } => values.windows(2).for_each(|pair| {
                let step = pair[1].wrapping_sub(pair[0]) as i64;
                let magnitude = scaled(step.unsigned_abs()) as i64;
                f(zigzag(if step < 0 { -magnitude } else { magnitude }));
            }),
        }
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Magnitude classes: 0 and 1 are themselves, then two for each number of bits (by the bit below
/// the highest). Finer than one per number of bits, so that Huffman codes fit skewed columns.
const N_CLASSES: usize = 128;

#[inline]
fn class_of(number: u64) -> u8 {
    let len = 64 - number.leading_zeros();
    if len < 2 {
        return number as u8;
    }
    (2 * len - 2) as u8 + (number >> (len - 2) & 1) as u8
}

/// Bits below the two highest ones, which the class tells.
#[inline]
const fn class_width(class: u8) -> u32 {
    if class < 4 { 0 } else { class as u32 / 2 - 1 }
}

#[inline]
const fn class_base(class: u8) -> u64 {
    match class {
        0 | 1 => class as u64,
        _ => (2 | (class & 1) as u64) << class_width(class),
    }
}

/// Reads a column of `n` values.
pub(crate) fn decode(decoder: &mut Decoder<'_>, n: usize) -> Result<Vec<u64>, Damage> {
    if n == 0 {
        return Ok(Vec::new());
    }
    check_count(n)?;
    let tag = decoder.codes.u8()?;
    let naming = match tag {
        NUMBERED => Naming::Number,
        REPEATED => Naming::Distance,
        _ => return decode_tagged(decoder, tag, n),
    };
    let n_distinct = decoder.codes.number()? as usize;
    if n_distinct > n {
        return Err(Damage("a column has more distinct values than rows"));
    }
    let distinct = decode_plain(decoder, n_distinct)?;
    let names = index::names(decoder, naming, n, n_distinct)?;
    Ok(names.iter().map(|name| distinct[*name as usize]).collect())
}

/// Reads a column that is no dictionary: the inside of one, so that decoding never recurses.
pub(super) fn decode_plain(decoder: &mut Decoder<'_>, n: usize) -> Result<Vec<u64>, Damage> {
    if n == 0 {
        return Ok(Vec::new());
    }
    check_count(n)?;
    let tag = decoder.codes.u8()?;
    decode_tagged(decoder, tag, n)
}

fn decode_tagged(decoder: &mut Decoder<'_>, tag: u8, n: usize) -> Result<Vec<u64>, Damage> {
    match tag {
        CONST => Ok(vec![decoder.codes.varint()?; n]),
        PACKED | CLASSED => {
            let base = decoder.codes.varint()?;
            let scale = decoder.codes.varint()?;
            let mut numbers = numbers(decoder, tag == CLASSED, n)?;
            for number in &mut numbers {
                *number = base.wrapping_add(number.wrapping_mul(scale));
            }
            Ok(numbers)
        }
        DELTA_PACKED | DELTA_CLASSED => decode_delta(decoder, tag == DELTA_CLASSED, n),
        _ => Err(Damage("a column of numbers has an unknown encoding")),
    }
}

fn decode_delta(decoder: &mut Decoder<'_>, classed: bool, n: usize) -> Result<Vec<u64>, Damage> {
    let first = decoder.codes.varint()?;
    let signed = match decoder.codes.varint()? {
        0 => false,
        1 => true,
        _ => return Err(Damage("a column of differences has an unknown form")),
    };
    let base = if signed { 0 } else { decoder.codes.varint()? };
    let scale = decoder.codes.varint()?;
    let steps = numbers(decoder, classed, n - 1)?;
    let mut values = Vec::with_capacity(n);
    let mut value = first;
    values.push(value);
    for step in steps {
        let step = if signed {
            unzigzag(step).wrapping_mul(scale as i64) as u64
        } else {
            base.wrapping_add(step.wrapping_mul(scale))
        };
        value = value.wrapping_add(step);
        values.push(value);
    }
    Ok(values)
}

fn numbers(decoder: &mut Decoder<'_>, classed: bool, n: usize) -> Result<Vec<u64>, Damage> {
    if classed {
        let classes = decoder.codes.take(n)?;
        if classes.iter().any(|class| *class as usize >= N_CLASSES) {
            return Err(Damage("a number has an unknown magnitude"));
        }
        let n_bits = classes.iter().map(|c| u64::from(class_width(*c))).sum();
        let mut bits = BitReader::new(&mut decoder.bits, n_bits)?;
        let number = |class: &u8| class_base(*class) | bits.pull(class_width(*class));
        return Ok(classes.iter().map(number).collect());
    }
    let width = u32::from(decoder.codes.u8()?);
    if width > 64 {
        return Err(Damage("a packed number has more than 64 bits"));
    }
    let mut bits = BitReader::new(&mut decoder.bits, u64::from(width) * n as u64)?;
    Ok((0..n).map(|_| bits.pull(width)).collect())
}
