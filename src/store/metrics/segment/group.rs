//! A group: chunks of neighbouring series behind a table of contents, compressed and checked as one. It
//! is what one read from the disk brings.

use std::collections::HashMap;

use super::SeriesKey;
use crate::model::metric::Millis;
use crate::store::metrics::chunk::SAMPLES_MAX;
use crate::store::segment::column::{Decoder, Encoder, Family, Unpacked, ints};
use crate::store::segment::cursor::{Damage, unzigzag, zigzag};

/// Bytes of chunks from which a group is full: zstd gains nothing measurable beyond, and reading one
/// series costs unpacking all of it (about 40 us).
const FULL_BYTES: usize = 64 << 10;

/// Chunks of a full group: those of constants are 9 bytes, and a table of more would cost more to read
/// than the chunks.
const FULL_CHUNKS: usize = 1024;

/// What a column of times is to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamps {
    /// Of the column in the file.
    pub(super) id: u32,
    pub(super) n: u32,
    pub(super) range: Millis,
}

/// The two kinds of chunks, in the order in which those of a series lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Floats,
    Histograms,
}

/// Collects chunks until they are a group. Filled in order of keys, kinds and times.
#[derive(Debug, Default)]
pub(super) struct Builder {
    keys: Vec<SeriesKey>,
    n_chunks: Vec<u64>,
    stamps: Vec<Stamps>,
    local: HashMap<u32, u32>,
    chunk_stamps: Vec<u64>,
    chunk_kinds: Vec<u64>,
    chunk_lengths: Vec<u64>,
    bodies: Vec<u8>,
    column: Vec<u64>,
}

/// What the directory says of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) first: SeriesKey,
    pub(super) last: SeriesKey,
    pub(super) range: Millis,
}

impl Extent {
    /// Counts what else lies in the same group.
    pub(super) fn extend(&mut self, key: SeriesKey, range: Millis) {
        self.last = key;
        self.range.first = self.range.first.min(range.first);
        self.range.last = self.range.last.max(range.last);
    }
}

impl Builder {
    /// Adds a chunk, whose body `put` appends.
    pub(super) fn chunk(
        &mut self,
        key: SeriesKey,
        kind: Kind,
        stamps: Stamps,
        put: impl FnOnce(&mut Vec<u8>),
    ) {
        if self.keys.last() != Some(&key) {
            self.keys.push(key);
            self.n_chunks.push(0);
        }
        if let Some(n) = self.n_chunks.last_mut() {
            *n += 1;
        }
        let local = *self.local.entry(stamps.id).or_insert_with(|| {
            self.stamps.push(stamps);
            self.stamps.len() as u32 - 1
        });
        self.chunk_stamps.push(u64::from(local));
        self.chunk_kinds.push(kind as u64);
        let start = self.bodies.len();
        put(&mut self.bodies);
        self.chunk_lengths.push((self.bodies.len() - start) as u64);
    }

    pub(super) fn is_full(&self) -> bool {
        self.bodies.len() >= FULL_BYTES || self.chunk_stamps.len() >= FULL_CHUNKS
    }

    /// Appends the group to `out` and starts another; `None` when there is nothing in it.
    pub(super) fn finish(
        &mut self,
        encoder: &mut Encoder,
        out: &mut Vec<u8>,
    ) -> Option<(Extent, Family)> {
        let extent = self.extent()?;
        self.put_table(encoder);
        encoder.text(&self.bodies);
        self.keys.clear();
        self.n_chunks.clear();
        self.stamps.clear();
        self.local.clear();
        self.chunk_stamps.clear();
        self.chunk_kinds.clear();
        self.chunk_lengths.clear();
        self.bodies.clear();
        Some((extent, encoder.finish(out)))
    }

    fn extent(&self) -> Option<Extent> {
        let ranges = self.stamps.iter().map(|stamps| stamps.range);
        Some(Extent {
            first: *self.keys.first()?,
            last: *self.keys.last()?,
            range: ranges.reduce(|a, b| Millis {
                first: a.first.min(b.first),
                last: a.last.max(b.last),
            })?,
        })
    }

    fn put_table(&mut self, encoder: &mut Encoder) {
        let families = self.keys.chunk_by(|a, b| a.family == b.family);
        let (mut names, mut counts) = (Vec::new(), Vec::new());
        for family in families {
            names.push(u64::from(family[0].family));
            counts.push(family.len() as u64);
        }
        for n in [
            self.keys.len(),
            names.len(),
            self.chunk_stamps.len(),
            self.stamps.len(),
        ] {
            ints::put(encoder, &[n as u64]);
        }
        ints::put(encoder, &names);
        ints::put(encoder, &counts);
        let column = &mut self.column;
        column.clear();
        for family in self.keys.chunk_by(|a, b| a.family == b.family) {
            column.push(u64::from(family[0].number));
            let steps = family.windows(2);
            column.extend(steps.map(|pair| u64::from(pair[1].number - pair[0].number)));
        }
        ints::put(encoder, column);
        ints::put(encoder, &self.n_chunks);
        let numbers: [fn(&Stamps) -> u64; 4] = [
            |stamps| u64::from(stamps.id),
            |stamps| u64::from(stamps.n),
            |stamps| zigzag(stamps.range.first),
            |stamps| stamps.range.last.wrapping_sub(stamps.range.first) as u64,
        ];
        for number in numbers {
            column.clear();
            column.extend(self.stamps.iter().map(number));
            ints::put(encoder, column);
        }
        ints::put(encoder, &self.chunk_stamps);
        ints::put(encoder, &self.chunk_kinds);
        ints::put(encoder, &self.chunk_lengths);
    }
}

/// One chunk of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub(super) kind: Kind,
    pub(super) stamps: Stamps,
    start: u32,
    end: u32,
}

/// A group that has been read.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) keys: Vec<SeriesKey>,
    /// Where the chunks of each series begin, and where those of the last end.
    starts: Vec<u32>,
    pub(super) chunks: Vec<Chunk>,
    unpacked: Unpacked,
}

impl Group {
    pub(super) fn read(unpacked: Unpacked) -> Result<Group, Damage> {
        let mut decoder = unpacked.reader();
        let mut counts = [0; 4];
        for count in &mut counts {
            *count = ints::decode(&mut decoder, 1)?[0] as usize;
        }
        let [n_keys, n_families, n_chunks, n_stamps] = counts;
        if n_chunks > FULL_CHUNKS || n_families > n_keys || n_keys > n_chunks || n_stamps > n_chunks
        {
            return Err(Damage("the counts of a group contradict each other"));
        }
        let keys = read_keys(&mut decoder, n_families, n_keys)?;
        let starts = read_starts(&mut decoder, n_keys, n_chunks)?;
        let stamps = read_stamps(&mut decoder, n_stamps)?;
        let chunks = read_chunks(&mut decoder, n_chunks, &stamps)?;
        let end = chunks.last().map_or(0, |chunk| chunk.end);
        if !decoder.is_empty() || end as usize != unpacked.as_text().len() {
            return Err(Damage("the chunks of a group have another length"));
        }
        Ok(Group {
            keys,
            starts,
            chunks,
            unpacked,
        })
    }

    /// Numbers of the chunks of a series, by its place among the keys.
    pub(super) fn chunks_of(&self, series: usize) -> std::ops::Range<usize> {
        self.starts[series] as usize..self.starts[series + 1] as usize
    }

    pub(super) fn body(&self, chunk: &Chunk) -> &[u8] {
        &self.unpacked.as_text()[chunk.start as usize..chunk.end as usize]
    }
}

fn read_keys(
    decoder: &mut Decoder<'_>,
    n_families: usize,
    n_keys: usize,
) -> Result<Vec<SeriesKey>, Damage> {
    let wide = |_| Damage("a series has a number of more than 32 bits");
    let families = ints::decode(decoder, n_families)?;
    let counts = ints::decode(decoder, n_families)?;
    let mut steps = ints::decode(decoder, n_keys)?.into_iter();
    let mut keys = Vec::with_capacity(n_keys);
    for (family, count) in families.into_iter().zip(counts) {
        let family = u32::try_from(family).map_err(wide)?;
        let mut number = 0u32;
        for _ in 0..count {
            let step = steps.next().ok_or(Damage("a family has too many series"))?;
            let step = u32::try_from(step).map_err(wide)?;
            number = number
                .checked_add(step)
                .ok_or(Damage("a series has a number of more than 32 bits"))?;
            keys.push(SeriesKey { family, number });
        }
    }
    if keys.len() == n_keys && keys.is_sorted_by(|a, b| a < b) {
        Ok(keys)
    } else {
        Err(Damage("the series of a group do not rise"))
    }
}

fn read_starts(
    decoder: &mut Decoder<'_>,
    n_keys: usize,
    n_chunks: usize,
) -> Result<Vec<u32>, Damage> {
    let mut starts = Vec::with_capacity(n_keys + 1);
    let mut sum = 0u64;
    for n in ints::decode(decoder, n_keys)? {
        starts.push(sum as u32);
        sum = sum.saturating_add(n).min(u64::from(u32::MAX));
    }
    starts.push(sum as u32);
    if sum == n_chunks as u64 {
        Ok(starts)
    } else {
        Err(Damage("a group has another number of chunks"))
    }
}

fn read_stamps(decoder: &mut Decoder<'_>, n_stamps: usize) -> Result<Vec<Stamps>, Damage> {
    let ids = ints::decode(decoder, n_stamps)?;
    let numbers = ints::decode(decoder, n_stamps)?;
    let firsts = ints::decode(decoder, n_stamps)?;
    let lengths = ints::decode(decoder, n_stamps)?;
    let stamps = (0..n_stamps).map(|i| {
        let first = unzigzag(firsts[i]);
        let (id, n) = (u32::try_from(ids[i]), u32::try_from(numbers[i]));
        match (id, n) {
            (Ok(id), Ok(n @ 1..)) if n as usize <= SAMPLES_MAX => Ok(Stamps {
                id,
                n,
                range: Millis {
                    first,
                    last: first.wrapping_add(lengths[i] as i64),
                },
            }),
            _ => Err(Damage("a column of times has a number that is none")),
        }
    });
    stamps.collect()
}

fn read_chunks(
    decoder: &mut Decoder<'_>,
    n_chunks: usize,
    stamps: &[Stamps],
) -> Result<Vec<Chunk>, Damage> {
    let locals = ints::decode(decoder, n_chunks)?;
    let kinds = ints::decode(decoder, n_chunks)?;
    let lengths = ints::decode(decoder, n_chunks)?;
    let mut start = 0u32;
    let chunks = (0..n_chunks).map(|i| {
        let local = usize::try_from(locals[i]).ok();
        let stamps = local.and_then(|local| stamps.get(local));
        let stamps = *stamps.ok_or(Damage("a chunk has times that are not there"))?;
        let kind = match kinds[i] {
            0 => Kind::Floats,
            1 => Kind::Histograms,
            _ => return Err(Damage("a chunk is of an unknown kind")),
        };
        let end = u32::try_from(lengths[i])
            .ok()
            .and_then(|length| start.checked_add(length));
        let end = end.ok_or(Damage("a chunk is longer than its group"))?;
        let chunk = Chunk {
            kind,
            stamps,
            start,
            end,
        };
        start = end;
        Ok(chunk)
    });
    chunks.collect()
}
