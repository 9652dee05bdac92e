//! Chunks of floats: each in the smallest of the codecs.

use super::{decimal, packed, pcodec, xor};
use crate::store::segment::Grade;
use crate::store::segment::cursor::{Cursor, Damage, put_varint, unzigzag, zigzag};
use packed::Plan;

/// Codecs on disk.
const CONST: u8 = 0;
const NUMBERS: u8 = 1;
const STEPS: u8 = 2;
const XOR: u8 = 3;
const PCO: u8 = 4;

/// Set in the codec byte when values follow that are no decimals.
const HAS_SPECIALS: u8 = 0x80;

/// Bits per value of packed decimals from which XOR is tried beside them.
const XOR_FROM_BITS: u64 = 8;

/// Bits per value of the best other codec from which pco is tried, in chunks of so many values: its
/// tables take 20-50 bytes. (Trying it from 3 bits saves nothing, and takes half as long again.)
const PCO_FROM_BITS: u64 = 6;
const PCO_FROM_VALUES: usize = 120;

/// Pco counts as smaller when it saves one part in so many: the others are compressed once more with
/// their group, and read three times as fast. (A part in 8 makes the recorded metrics 10 % larger; one
/// in 32 costs nothing measurable in reading all.)
const PCO_GAIN: usize = 32;

/// Buffers of codecs, kept: fresh pages cost more than the work.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    numbers: Vec<i64>,
    steps: Vec<i64>,
    specials: Vec<u32>,
    other: Vec<u8>,
}

/// Appends the values as a chunk; their number is known to the reader.
pub(crate) fn encode(values: &[f64], grade: Grade, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let Some(first) = values.first().map(|value| value.to_bits()) else {
        return;
    };
    if values.iter().all(|value| value.to_bits() == first) {
        out.push(CONST);
        out.extend_from_slice(&first.to_le_bytes());
        return;
    }
    let (start, n) = (out.len(), values.len() as u64);
    let decimals = Decimals::of(values, scratch);
    if let Some(decimals) = &decimals {
        decimals.put_packed(values, scratch, out);
    }
    let n_bits = |out: &Vec<u8>| 8 * (out.len() - start) as u64;
    if decimals.is_none() || n_bits(out) > n * XOR_FROM_BITS {
        scratch.other.clear();
        scratch.other.push(XOR);
        let bytes_max = if decimals.is_some() {
            out.len() - start - 1
        } else {
            usize::MAX >> 1
        };
        if xor::encode(values, bytes_max, &mut scratch.other) {
            out.truncate(start);
            out.extend_from_slice(&scratch.other);
        }
    }
    let worth_pco = values.len() >= PCO_FROM_VALUES && n_bits(out) > n * PCO_FROM_BITS;
    if grade == Grade::Final && worth_pco {
        scratch.other.clear();
        scratch.other.push(PCO);
        pcodec::encode(values, &mut scratch.other);
        let bytes = out.len() - start;
        if scratch.other.len() < bytes - bytes / PCO_GAIN {
            out.truncate(start);
            out.extend_from_slice(&scratch.other);
        }
    }
}

/// Values as whole numbers: the first, and in [`Scratch`] the distances from it in steps of `scale`.
#[derive(Clone, Copy, Debug)]
struct Decimals {
    exponent: u8,
    first: i64,
    scale: i64,
}

impl Decimals {
    fn of(values: &[f64], scratch: &mut Scratch) -> Option<Decimals> {
        let numbers = &mut scratch.numbers;
        let exponent = decimal::numbers(values, numbers, &mut scratch.specials)?;
        let first = *numbers.first()?;
        let scale = scale_of(numbers);
        // Whole numbers have 52 bits with their sign, so that no difference overflows.
        match scale {
            1 => numbers.iter_mut().for_each(|number| *number -= first),
            _ => numbers
                .iter_mut()
                .for_each(|number| *number = (*number - first) / scale),
        }
        Some(Decimals {
            exponent,
            first,
            scale,
        })
    }

    fn put_packed(&self, values: &[f64], scratch: &mut Scratch, out: &mut Vec<u8>) {
        let (numbers, steps) = (&scratch.numbers, &mut scratch.steps);
        steps.clear();
        steps.extend(numbers.windows(2).map(|pair| pair[1] - pair[0]));
        let (plain, stepped) = (Plan::of(numbers), Plan::of(steps));
        if stepped.bits <= plain.bits {
            self.put_head(STEPS, values, &scratch.specials, out);
            stepped.put(steps, out);
        } else {
            self.put_head(NUMBERS, values, &scratch.specials, out);
            plain.put(numbers, out);
        }
    }

    fn put_head(&self, codec: u8, values: &[f64], specials: &[u32], out: &mut Vec<u8>) {
        if specials.is_empty() {
            out.push(codec);
        } else {
            out.push(codec | HAS_SPECIALS);
            put_varint(out, specials.len() as u64);
            let mut next = 0;
            for place in specials {
                put_varint(out, u64::from(place - next));
                let bits = values[*place as usize].to_bits();
                out.extend_from_slice(&bits.to_le_bytes());
                next = place + 1;
            }
        }
        out.push(self.exponent);
        put_varint(out, zigzag(self.first));
        put_varint(out, self.scale as u64);
    }
}

/// What divides all distances from the first; 1 where nothing else does.
fn scale_of(numbers: &[i64]) -> i64 {
    let Some((first, rest)) = numbers.split_first() else {
        return 1;
    };
    let mut scale = 0;
    for number in rest {
        scale = gcd(number.abs_diff(*first), scale);
        if scale == 1 {
            break;
        }
    }
    scale.max(1) as i64
}

/// The second number is what divided all before: mostly it divides the first too.
fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Appends the `n` values that [`encode`] wrote.
pub(crate) fn decode(
    bytes: &[u8],
    n: usize,
    scratch: &mut Scratch,
    out: &mut Vec<f64>,
) -> Result<(), Damage> {
    if n == 0 {
        return Ok(());
    }
    if n > super::SAMPLES_MAX {
        return Err(Damage("a chunk claims more samples than a chunk may have"));
    }
    let mut cursor = Cursor::new(bytes);
    let tag = cursor.u8()?;
    match tag {
        CONST => {
            let value = f64::from_bits(cursor.u64()?);
            out.resize(out.len() + n, value);
        }
        XOR => xor::decode(&mut cursor, n, out)?,
        PCO => {
            let bytes = cursor.take(cursor.remaining())?;
            pcodec::decode(bytes, n, out)?;
        }
        _ => decode_decimals(&mut cursor, tag, n, scratch, out)?,
    }
    if cursor.is_empty() {
        Ok(())
    } else {
        Err(Damage("bytes behind a chunk of floats"))
    }
}

fn decode_decimals(
    cursor: &mut Cursor<'_>,
    tag: u8,
    n: usize,
    scratch: &mut Scratch,
    out: &mut Vec<f64>,
) -> Result<(), Damage> {
    let specials = if tag & HAS_SPECIALS == 0 {
        None
    } else {
        let n_specials = cursor.number()? as usize;
        let start = *cursor;
        for _ in 0..n_specials {
            cursor.varint()?;
            cursor.u64()?;
        }
        Some((n_specials, start))
    };
    let power = decimal::power(cursor.u8()?).ok_or(Damage("a power of ten is too large"))?;
    let first = unzigzag(cursor.varint()?);
    let scale = cursor.varint()? as i64;
    let numbers = &mut scratch.numbers;
    numbers.clear();
    match tag & !HAS_SPECIALS {
        NUMBERS => packed::decode(cursor, n, numbers)?,
        STEPS => {
            numbers.push(0);
            packed::decode(cursor, n - 1, numbers)?;
            let mut sum = 0i64;
            for number in numbers.iter_mut() {
                sum = sum.wrapping_add(*number);
                *number = sum;
            }
        }
        _ => return Err(Damage("a chunk of floats has an unknown codec")),
    }
    let start = out.len();
    decimal::values(numbers, first, scale, power, out);
    let Some((n_specials, mut specials)) = specials else {
        return Ok(());
    };
    let mut place = start;
    for _ in 0..n_specials {
        place = place.saturating_add(specials.number()? as usize);
        let value = f64::from_bits(specials.u64()?);
        let slot = out.get_mut(place);
        *slot.ok_or(Damage("a special value lies behind the last"))? = value;
        place += 1;
    }
    Ok(())
}
