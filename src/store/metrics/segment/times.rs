//! Columns of times, each once for all series that were scraped together: numbered in the order of
//! their first chunk, in groups of their own.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::group::Stamps;
use crate::model::metric::Millis;
use crate::store::metrics::chunk::encode_times;
use crate::store::segment::column::{Encoder, Family, Unpacked, ints};
use crate::store::segment::cursor::Damage;

/// Bytes of columns from which a group of them is full: small, because a series read alone unpacks one,
/// and large enough for one page of the disk.
const FULL_BYTES: usize = 16 << 10;

/// Columns of a full group.
const FULL_COLUMNS: usize = 1024;

/// Columns that a writer knows again: of 5000 targets through 12 chunks. Past it, all are forgotten and
/// a column may be written twice, which costs bytes, not truth. 3 MB.
const KNOWN_MAX: usize = 60_000;

/// Numbers columns while a segment is written.
#[derive(Debug)]
pub(super) struct Writer {
    /// By a hash with a seed that nobody knows, so that nobody finds two columns of one hash.
    known: HashMap<u128, u32>,
    seed: u64,
    bytes: Vec<u8>,
    steps: Vec<i64>,
    lengths: Vec<u64>,
    columns: Vec<u8>,
    next_id: u32,
}

impl Writer {
    pub(super) fn new() -> Writer {
        Writer {
            known: HashMap::new(),
            seed: RandomState::new().hash_one(0),
            bytes: Vec::new(),
            steps: Vec::new(),
            lengths: Vec::new(),
            columns: Vec::new(),
            next_id: 0,
        }
    }

    /// The column of these times, which are at least one.
    pub(super) fn stamps(&mut self, times: &[i64]) -> Stamps {
        self.bytes.clear();
        for time in times {
            self.bytes.extend_from_slice(&time.to_le_bytes());
        }
        let hash = xxh3_128_with_seed(&self.bytes, self.seed);
        let id = match self.known.get(&hash) {
            Some(id) => *id,
            None => self.put(hash, times),
        };
        Stamps {
            id,
            n: times.len() as u32,
            range: Millis {
                first: times[0],
                last: times[times.len() - 1],
            },
        }
    }

    fn put(&mut self, hash: u128, times: &[i64]) -> u32 {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let (id, start) = (self.next_id, self.columns.len());
        encode_times(times, &mut self.steps, &mut self.columns);
        self.lengths.push((self.columns.len() - start) as u64);
        self.known.insert(hash, id);
        self.next_id += 1;
        id
    }

    pub(super) fn is_full(&self) -> bool {
        self.columns.len() >= FULL_BYTES || self.lengths.len() >= FULL_COLUMNS
    }

    /// Appends the group to `out`, and starts another; returns the number of its first column. `None`
    /// when there is nothing in it.
    pub(super) fn finish(
        &mut self,
        encoder: &mut Encoder,
        out: &mut Vec<u8>,
    ) -> Option<(u32, Family)> {
        if self.lengths.is_empty() {
            return None;
        }
        let first = self.next_id - self.lengths.len() as u32;
        ints::put(encoder, &[self.lengths.len() as u64]);
        ints::put(encoder, &self.lengths);
        encoder.text(&self.columns);
        self.lengths.clear();
        self.columns.clear();
        Some((first, encoder.finish(out)))
    }
}

/// A group of columns that has been read.
#[derive(Debug)]
pub(super) struct Columns {
    ends: Vec<u32>,
    unpacked: Unpacked,
}

impl Columns {
    pub(super) fn read(unpacked: Unpacked) -> Result<Columns, Damage> {
        let mut decoder = unpacked.reader();
        let n = ints::decode(&mut decoder, 1)?[0] as usize;
        if n > FULL_COLUMNS {
            return Err(Damage("a group has more columns of times than a full one"));
        }
        let mut end = 0u64;
        let lengths = ints::decode(&mut decoder, n)?;
        let ends = lengths.iter().map(|length| {
            end = end.saturating_add(*length).min(u64::from(u32::MAX));
            end as u32
        });
        let ends: Vec<u32> = ends.collect();
        if end != unpacked.as_text().len() as u64 || !decoder.is_empty() {
            return Err(Damage("the columns of times have another length"));
        }
        Ok(Columns { ends, unpacked })
    }

    /// How many columns there are.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of a column, by its place in the group.
    pub(super) fn column(&self, place: usize) -> Result<&[u8], Damage> {
        let end = self.ends.get(place);
        let end = *end.ok_or(Damage("a column of times is not there"))? as usize;
        let start = place.checked_sub(1).map_or(0, |i| self.ends[i] as usize);
        Ok(&self.unpacked.as_text()[start..end])
    }
}
