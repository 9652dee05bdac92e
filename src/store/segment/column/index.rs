//! The distinct values of a column and which row has which: found by hashing, written as numbers in
//! order of appearance or as distances to the row that had the value before.

use std::sync::LazyLock;

use super::super::cursor::{Damage, put_varint};
use super::{Decoder, Encoder, ints};

/// Rows looked at before giving up on a column whose values hardly repeat.
const SAMPLE_ROWS: usize = 256;

/// Distinct values that a column may have and still be indexed: two bytes per number.
const DISTINCT_MAX: usize = 1 << 16;

/// In a column of distances: a value not seen before (the next of the dictionary).
const NEW: u8 = 0;
/// In a column of distances: further back than a byte tells; its number is in the list behind.
const FAR: u8 = 255;

/// Distinct values of one column; reused from column to column.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Open addressing, number of the value plus one.
    slots: Vec<u32>,
    /// Hash and first row of each distinct value, in order of appearance.
    distinct: Vec<(u64, u32)>,
    /// Number of each row's value.
    numbers: Vec<u32>,
    /// Distance of each row to the last one with its value, as a code.
    distances: Vec<u8>,
    last_row: Vec<u32>,
}

/// How rows name their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// The value's number.
    Number,
    /// Rows back to its last occurrence.
    Distance,
}

impl Index {
    /// Finds the distinct values of `n` rows; false (and no index) when they hardly repeat.
    pub(super) fn build(
        &mut self,
        n: usize,
        hash: impl Fn(usize) -> u64,
        same: impl Fn(usize, usize) -> bool,
    ) -> bool {
        let n_slots = (n * 2).next_power_of_two();
        self.slots.clear();
        self.slots.resize(n_slots, 0);
        self.distinct.clear();
        self.numbers.clear();
        self.distances.clear();
        self.last_row.clear();
        for row in 0..n {
            if row == SAMPLE_ROWS && self.distinct.len() * 10 > SAMPLE_ROWS * 9 {
                return false;
            }
            self.add(row, hash(row), &same);
        }
        self.distinct.len() * 10 <= n * 9 && self.distinct.len() <= DISTINCT_MAX
    }

    fn add(&mut self, row: usize, hash: u64, same: &impl Fn(usize, usize) -> bool) {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let Some(number) = self.slots[slot].checked_sub(1) else {
                self.slots[slot] = self.distinct.len() as u32 + 1;
                self.numbers.push(self.distinct.len() as u32);
                self.distances.push(NEW);
                self.distinct.push((hash, row as u32));
                self.last_row.push(row as u32);
                return;
            };
            let (other, first) = self.distinct[number as usize];
            if other == hash && same(first as usize, row) {
                let last = &mut self.last_row[number as usize];
                self.distances
                    .push((row - *last as usize).min(FAR as usize) as u8);
                *last = row as u32;
                self.numbers.push(number);
                return;
            }
            slot = (slot + 1) & mask;
        }
    }

    /// First row of each distinct value, in order of appearance.
    pub(super) fn firsts(&self) -> impl Iterator<Item = usize> {
        self.distinct.iter().map(|(_, row)| *row as usize)
    }

    pub(super) fn n_distinct(&self) -> usize {
        self.distinct.len()
    }

    /// The naming with fewer bits by its bytes' entropy, and those bits.
    pub(super) fn naming(&self) -> (Naming, u64) {
        let by_distance = entropy_bits(self.distances.iter().copied())
            + 16 * self.distances.iter().filter(|d| **d == FAR).count() as u64;
        let mut by_number = entropy_bits(self.numbers.iter().map(|n| *n as u8));
        if self.n_distinct() > 256 {
            by_number += entropy_bits(self.numbers.iter().map(|n| (n >> 8) as u8));
        }
        if by_number <= by_distance {
            (Naming::Number, by_number)
        } else {
            (Naming::Distance, by_distance)
        }
    }

    /// The numbers of the values that distances do not reach.
    fn far(&self) -> impl Iterator<Item = u64> {
        let rows = self.distances.iter().zip(&self.numbers);
        rows.filter(|(distance, _)| **distance == FAR)
            .map(|(_, number)| u64::from(*number))
    }
}

/// Writes the names of all rows, behind the dictionary.
pub(super) fn put_names(encoder: &mut Encoder, naming: Naming) {
    match naming {
        Naming::Number => {
            let numbers = &encoder.index.numbers;
            encoder.codes.extend(numbers.iter().map(|n| *n as u8));
            if encoder.index.n_distinct() > 256 {
                encoder.codes.extend(numbers.iter().map(|n| (n >> 8) as u8));
            }
        }
        Naming::Distance => {
            let mut far = encoder.buffer();
            encoder.codes.extend_from_slice(&encoder.index.distances);
            far.extend(encoder.index.far());
            put_varint(&mut encoder.codes, far.len() as u64);
            ints::put_plain(encoder, &far);
            encoder.give_back(far);
        }
    }
}

/// Reads what [`put_names`] wrote: the number of each row's value, all below `n_distinct`.
pub(super) fn names(
    decoder: &mut Decoder<'_>,
    naming: Naming,
    n: usize,
    n_distinct: usize,
) -> Result<Vec<u32>, Damage> {
    let numbers = match naming {
        Naming::Number => {
            let low = decoder.codes.take(n)?.iter().map(|b| u32::from(*b));
            if n_distinct > 256 {
                let high = decoder.codes.take(n)?;
                low.zip(high)
                    .map(|(low, high)| low | u32::from(*high) << 8)
                    .collect()
            } else {
                low.collect()
            }
        }
        Naming::Distance => by_distance(decoder, n)?,
    };
    check(&numbers, n_distinct)?;
    Ok(numbers)
}

fn by_distance(decoder: &mut Decoder<'_>, n: usize) -> Result<Vec<u32>, Damage> {
    let distances = decoder.codes.take(n)?;
    let n_far = decoder.codes.number()? as usize;
    if n_far > n {
        return Err(Damage("a column has more far references than rows"));
    }
    let far = ints::decode_plain(decoder, n_far)?;
    let (mut far, mut next_new) = (far.into_iter(), 0);
    let mut numbers: Vec<u32> = Vec::with_capacity(n);
    for (row, &distance) in distances.iter().enumerate() {
        let number = match distance {
            NEW => {
                next_new += 1;
                next_new - 1
            }
            FAR => {
                let number = far.next().ok_or(Damage("a column lacks a far reference"))?;
                u32::try_from(number).map_err(|_| Damage("a far reference is too large"))?
            }
            back => *row
                .checked_sub(back as usize)
                .and_then(|row| numbers.get(row))
                .ok_or(Damage("a reference points before the first row"))?,
        };
        numbers.push(number);
    }
    Ok(numbers)
}

fn check(numbers: &[u32], n_distinct: usize) -> Result<(), Damage> {
    if numbers.iter().any(|n| *n as usize >= n_distinct) {
        return Err(Damage("a row names a value that is not there"));
    }
    Ok(())
}

/// Bits that an ideal order-0 coder needs for these bytes: what zstd's Huffman stage comes close to.
pub(super) fn entropy_bits(bytes: impl Iterator<Item = u8>) -> u64 {
    let mut counts = [0u32; 256];
    let mut n = 0u32;
    for byte in bytes {
        counts[byte as usize] += 1;
        n += 1;
    }
    entropy_of(&counts, n)
}

/// As [`entropy_bits`], of counted symbols.
pub(super) fn entropy_of(counts: &[u32], n: u32) -> u64 {
    let apart: f32 = counts
        .iter()
        .filter(|count| **count > 1)
        .map(|count| n_log_n(*count))
        .sum();
    (n_log_n(n) - apart).max(0.0) as u64
}

/// Counts whose `n * log2(n)` is looked up: a block's rows. The logarithms of all counts of all
/// columns were 4 % of sealing.
const LOGARITHMS: usize = 4097;

fn n_log_n(n: u32) -> f32 {
    static TABLE: LazyLock<Vec<f32>> = LazyLock::new(|| (0..LOGARITHMS as u32).map(of).collect());
    fn of(n: u32) -> f32 {
        let n = f64::from(n.max(1));
        (n * n.log2()) as f32
    }
    TABLE.get(n as usize).copied().unwrap_or_else(|| of(n))
}
