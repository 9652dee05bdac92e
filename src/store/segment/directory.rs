//! The block directory: what each block holds and where its columns are, so that a query skips blocks
//! and columns without reading them. Written as columns itself.

use crate::model::Timestamp;

use super::Format;
use super::column::{Decoder, Encoder, Family, ints};
use super::cursor::Damage;
use super::dictionary::{put_list, read_list};
use super::file::HEADER_BYTES;

/// Rows of one block; writers stay far below (logs 4096, spans 1024 and more for one long trace).
const ROWS_MAX: u64 = 1 << 20;

/// Column families of one block that a directory may list.
const FAMILIES_MAX: usize = 16;

/// Blocks of one segment: 150 M records at the usual 600 rows. Bounds the memory of a directory.
const BLOCKS_MAX: usize = 1 << 18;

/// Where the shared tables of one part lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// The dictionary, framed.
    pub(crate) dictionary: u64,
    pub(crate) dictionary_len: u64,
    /// Trace ids, 16 bytes each, then their checksum.
    pub(crate) traces: u64,
    pub(crate) n_traces: u64,
}

/// One block; `facts` are those of its signal.
#[derive(Clone, Debug)]
pub(crate) struct Block<T> {
    pub(crate) part: u32,
    pub(crate) offset: u64,
    pub(crate) rows: u32,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) facts: T,
}

/// All blocks of a segment in the order of the file.
#[derive(Debug)]
pub(crate) struct Directory<F: Format> {
    /// The column families of each block, in the order they follow each other.
    pub(crate) tags: Vec<u8>,
    /// `tags.len()` entries for each block.
    pub(crate) families: Vec<Family>,
    pub(crate) services: Vec<Box<str>>,
    pub(crate) parts: Vec<Part>,
    pub(crate) blocks: Vec<Block<F::Facts>>,
    /// Where each bucket of the token table starts, and where the last one ends.
    pub(crate) token_starts: Vec<u64>,
}

impl<F: Format> Default for Directory<F> {
    fn default() -> Directory<F> {
        Directory {
            tags: F::FAMILIES.to_vec(),
            families: Vec::new(),
            services: Vec::new(),
            parts: Vec::new(),
            blocks: Vec::new(),
            token_starts: vec![0],
        }
    }
}

impl<F: Format> Directory<F> {
    /// The families of a block with their offsets in the file.
    pub(crate) fn families(&self, block: usize) -> impl Iterator<Item = (u8, u64, Family)> {
        let n = self.tags.len();
        let mut offset = self.blocks[block].offset;
        let families = &self.families[block * n..(block + 1) * n];
        self.tags.iter().zip(families).map(move |(tag, family)| {
            let at = offset;
            offset += family.stored();
            (*tag, at, *family)
        })
    }

    /// Heap bytes, roughly.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.families.len() * size_of::<Family>()
            + self.blocks.len() * size_of::<Block<F::Facts>>()
            + self
                .blocks
                .iter()
                .map(|b| F::facts_bytes(&b.facts))
                .sum::<usize>()
            + self.parts.len() * size_of::<Part>()
            + self.token_starts.len() * 8
            + self.services.iter().map(|s| s.len() + 16).sum::<usize>()
    }

    /// Bytes of a block's records while they are rewritten, roughly: as many of average size, or what its
    /// columns unpack to when that is more.
    pub(crate) fn open_bytes(&self, block: usize, row_bytes: u64) -> u64 {
        let unpacked: u64 = self
            .families(block)
            .map(|(_, _, family)| family.raw())
            .sum();
        unpacked.max(u64::from(self.blocks[block].rows) * row_bytes)
    }

    pub(crate) fn put(&self, encoder: &mut Encoder, out: &mut Vec<u8>) {
        let counts = [
            self.blocks.len(),
            self.tags.len(),
            self.parts.len(),
            self.token_starts.len(),
        ];
        counts.iter().for_each(|n| ints::put(encoder, &[*n as u64]));
        put_list(encoder, self.services.iter().map(|name| name.as_bytes()));
        let mut column = Vec::new();
        let mut put = |encoder: &mut Encoder, values: &mut dyn Iterator<Item = u64>| {
            column.clear();
            column.extend(values);
            ints::put(encoder, &column);
        };
        put(encoder, &mut self.tags.iter().map(|tag| u64::from(*tag)));
        for field in PART_FIELDS {
            put(encoder, &mut self.parts.iter().map(|p| field(*p)));
        }
        put(encoder, &mut self.token_starts.iter().copied());
        let blocks = &self.blocks;
        put(encoder, &mut blocks.iter().map(|b| u64::from(b.part)));
        put(encoder, &mut blocks.iter().map(|b| b.offset));
        put(encoder, &mut blocks.iter().map(|b| u64::from(b.rows)));
        put(encoder, &mut blocks.iter().map(|b| b.first.0));
        let spans = blocks.iter().map(|b| b.last.0 - b.first.0);
        put(encoder, &mut { spans });
        for tag in 0..self.tags.len() {
            for field in FAMILY_FIELDS {
                let families = self.families.iter().skip(tag).step_by(self.tags.len());
                put(encoder, &mut families.map(|f| u64::from(field(*f))));
            }
        }
        F::put_facts(blocks, encoder);
        encoder.finish_framed(out);
    }

    pub(crate) fn read(section: &[u8]) -> Result<Directory<F>, Damage> {
        let unpacked = Family::unpack_framed(section)?;
        let decoder = &mut unpacked.reader();
        let n_blocks = count(decoder)?;
        let n_tags = count(decoder)?;
        let n_parts = count(decoder)?;
        let n_starts = count(decoder)?;
        if n_blocks > BLOCKS_MAX || n_tags > FAMILIES_MAX || n_starts == 0 {
            return Err(Damage("a directory has impossible counts"));
        }
        let services = services(decoder)?;
        let tags = ints::decode(decoder, n_tags)?;
        let parts = parts(decoder, n_parts)?;
        let token_starts = ints::decode(decoder, n_starts)?;
        if !token_starts.is_sorted() {
            return Err(Damage("the token table's buckets are not in order"));
        }
        let mut blocks = blocks(decoder, n_blocks, parts.len())?;
        let families = families(decoder, n_blocks, n_tags)?;
        let facts = F::read_facts(decoder, n_blocks, services.len())?;
        let blocks = blocks.drain(..).zip(facts).map(|(block, facts)| Block {
            part: block.part,
            offset: block.offset,
            rows: block.rows,
            first: block.first,
            last: block.last,
            facts,
        });
        Ok(Directory {
            // A tag that does not fit a byte is unknown like 255, which no version uses.
            tags: tags
                .iter()
                .map(|tag| u8::try_from(*tag).unwrap_or(u8::MAX))
                .collect(),
            families,
            services,
            parts,
            blocks: blocks.collect(),
            token_starts,
        })
    }
}

const PART_FIELDS: [fn(Part) -> u64; 4] = [
    |p| p.dictionary,
    |p| p.dictionary_len,
    |p| p.traces,
    |p| p.n_traces,
];

const FAMILY_FIELDS: [fn(Family) -> u32; 6] = [
    |f| f.codes_raw,
    |f| f.codes_len,
    |f| f.text_raw,
    |f| f.text_len,
    |f| f.bits_len,
    |f| f.crc,
];

fn count(decoder: &mut Decoder<'_>) -> Result<usize, Damage> {
    let n = ints::decode(decoder, 1)?[0];
    usize::try_from(n)
        .ok()
        .filter(|n| *n <= super::column::VALUES_MAX)
        .ok_or(Damage("a directory has impossible counts"))
}

fn services(decoder: &mut Decoder<'_>) -> Result<Vec<Box<str>>, Damage> {
    let list = read_list(decoder)?;
    let n = list.len();
    let texts = list.into_texts()?;
    Ok((0..n).map(|number| texts.get(number).into()).collect())
}

fn parts(decoder: &mut Decoder<'_>, n: usize) -> Result<Vec<Part>, Damage> {
    let mut columns = PART_FIELDS.map(|_| Vec::new());
    for column in &mut columns {
        *column = ints::decode(decoder, n)?;
    }
    let [dictionary, dictionary_len, traces, n_traces] = columns;
    Ok((0..n)
        .map(|i| Part {
            dictionary: dictionary[i],
            dictionary_len: dictionary_len[i],
            traces: traces[i],
            n_traces: n_traces[i],
        })
        .collect())
}

fn blocks(decoder: &mut Decoder<'_>, n: usize, n_parts: usize) -> Result<Vec<Block<()>>, Damage> {
    let part = ints::decode(decoder, n)?;
    let offset = ints::decode(decoder, n)?;
    let rows = ints::decode(decoder, n)?;
    let first = ints::decode(decoder, n)?;
    let lasts = ints::decode(decoder, n)?;
    if part.iter().any(|part| *part >= n_parts as u64)
        || rows.iter().any(|rows| *rows == 0 || *rows > ROWS_MAX)
        || offset
            .iter()
            .any(|at| !(HEADER_BYTES..1 << 48).contains(at))
    {
        return Err(Damage("a block of the directory is impossible"));
    }
    Ok((0..n)
        .map(|i| Block {
            part: part[i] as u32,
            offset: offset[i],
            rows: rows[i] as u32,
            first: Timestamp(first[i]),
            last: Timestamp(first[i]).saturating_add(lasts[i]),
            facts: (),
        })
        .collect())
}

fn families(decoder: &mut Decoder<'_>, n: usize, n_tags: usize) -> Result<Vec<Family>, Damage> {
    let mut families = vec![Family::default(); n * n_tags];
    for tag in 0..n_tags {
        let mut columns = FAMILY_FIELDS.map(|_| Vec::new());
        for column in &mut columns {
            *column = ints::decode(decoder, n)?;
            if column.iter().any(|v| *v > u64::from(u32::MAX)) {
                return Err(Damage("a column family is larger than 4 GiB"));
            }
        }
        for (block, family) in families.iter_mut().skip(tag).step_by(n_tags).enumerate() {
            let field = |i: usize| columns[i][block] as u32;
            *family = Family {
                codes_raw: field(0),
                codes_len: field(1),
                text_raw: field(2),
                text_len: field(3),
                bits_len: field(4),
                crc: field(5),
            };
        }
    }
    Ok(families)
}
