//! Immutable segment files: the sealed form of telemetry (docs/formats/segment-logs.md and
//! segment-spans.md have every byte).
//!
//! A segment is blocks of column families, the dictionaries its blocks share, a block directory, a
//! token table and further tagged sections. Nothing here decides when to seal, where files live or
//! what is deleted; nothing is ever changed in place. Every byte that is read has been checked
//! against a checksum, and a damaged one is [`StoreError::Corrupt`], never a panic or a wrong answer.
//!
//! Sketch: 32,768 records of 420 B make a segment of about 0.7 MB with 45 blocks; opening reads
//! 500 B, the directory takes 200 B of memory per block, one record costs one block.

pub(super) mod column;
pub(super) mod cursor;
mod dictionary;
mod directory;
pub(super) mod file;
mod footprint;
#[cfg(feature = "internals")]
pub(crate) mod fuzz;
mod interner;
mod known;
mod logs;
#[cfg(feature = "internals")]
pub(crate) mod measure;
mod merge;
#[cfg(test)]
mod random;
mod spans;
#[cfg(test)]
mod tests;
mod times;
mod tokens;
mod values;
mod zstd;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::model::chunk::Chunk;
use crate::model::{TimeRange, TraceId};
use crate::store::disk::File;
use crate::store::{Partition, StoreError};

use column::{Decoder, Encoder, Family, Unpacked};
use cursor::{Cursor, Damage};
use dictionary::Dictionary;
use directory::{Block, Directory};
use file::{Frame, Tag};

pub(crate) use file::SegmentFacts;
pub(crate) use footprint::{Footprint, Variety};
pub(crate) use logs::{
    Allows, LogBlock, LogSegment, SeenPattern, Word, Words, recode as recode_logs, seal_gated,
    split_text, template_of,
};
#[cfg(any(test, feature = "internals"))]
pub(crate) use logs::{Logs, seal as seal_logs};
pub(crate) use merge::merge;
#[cfg(any(test, feature = "internals"))]
pub(crate) use spans::Spans;
pub(crate) use spans::{SpanBlock, SpanSegment, recode as recode_spans, seal as seal_spans};

/// How much work is put into few bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Grade {
    /// Sealed while records come in, and merged by copying.
    #[default]
    Fresh,
    /// Rewritten once, when nothing more is expected to come.
    Final,
}

/// Trace ids of a segment's parts that are kept with its open directory: of 32,768 traces, which are
/// read and checked for each block otherwise. The recorded logs rewritten for good have 16,000.
const TRACE_IDS_KEPT_BYTES_MAX: usize = 512 << 10;

/// Called now and then by what takes long; an error ends it.
pub(crate) type Pause<'p> = &'p mut dyn FnMut() -> Result<(), StoreError>;

/// A segment that sealing made, not yet in a file.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) partition: Partition,
    pub(crate) bytes: Vec<u8>,
    pub(crate) facts: SegmentFacts,
}

/// OTLP bytes of the rows taken from each chunk, a request's bytes shared evenly among its records.
fn raw_bytes<E>(chunks: &[Arc<Chunk<E>>], rows_of: &[u64]) -> u64 {
    let share = |(chunk, rows): (&Arc<Chunk<E>>, &u64)| {
        let n = chunk.entries.len().max(1) as u64;
        chunk.request.bytes.len() as u64 * rows / n
    };
    chunks.iter().zip(rows_of).map(share).sum()
}

/// What differs between the segments of signals.
pub(crate) trait Format: fmt::Debug + Sized + 'static {
    const MAGIC: [u8; 8];
    /// The column families that blocks are written with.
    const FAMILIES: &'static [u8];
    /// What the directory says of a block beyond place, rows and time.
    type Facts: fmt::Debug + Clone + Send + Sync;
    /// What the dictionary says of a kind of record.
    type Shape: fmt::Debug + Send + Sync;

    fn put_facts(blocks: &[Block<Self::Facts>], encoder: &mut Encoder);

    fn read_facts(
        decoder: &mut Decoder<'_>,
        n: usize,
        n_services: usize,
    ) -> Result<Vec<Self::Facts>, Damage>;

    fn read_shape(
        cursor: &mut Cursor<'_>,
        n_scopes: usize,
        n_texts: usize,
    ) -> Result<Self::Shape, Damage>;

    /// Adds a shape that a rewrite needs again, with its texts; none of raw records.
    fn vary(shape: &Self::Shape, dictionary: &Dictionary<Self::Shape>, variety: &mut Variety);

    /// The sections that only this signal has, of the union of segments.
    fn merge_sections(inputs: &[Segment<Self>]) -> Result<Vec<(Tag, Vec<u8>)>, StoreError>;

    /// Heap bytes of a block's facts.
    fn facts_bytes(_facts: &Self::Facts) -> usize {
        0
    }
    /// What readers keep with an open directory.
    type Cached: fmt::Debug + Send + Sync;

    fn cached_bytes(cached: &Self::Cached) -> usize;

    /// Whether token tables of this signal have tokens of attribute values.
    const TOKENS_OF_VALUES: bool;

    /// Facts of a block whose segment's services have got new numbers.
    fn with_services(facts: &Self::Facts, numbers: &[u32]) -> Self::Facts;
}

/// An open segment. Cheap to clone; blocks are read when asked for.
#[derive(Debug)]
pub(crate) struct Segment<F: Format> {
    inner: Arc<Inner<F>>,
}

impl<F: Format> Clone for Segment<F> {
    fn clone(&self) -> Segment<F> {
        Segment {
            inner: Arc::clone(&self.inner),
        }
    }
}

#[derive(Debug)]
struct Inner<F: Format> {
    frame: Frame,
    /// The directory, from its first use until [`Segment::release`]. The lock guards the pointer
    /// only; nothing is read from the disk under it.
    loaded: Mutex<Option<Arc<Loaded<F>>>>,
}

/// A directory with the dictionaries read so far.
#[derive(Debug)]
pub(crate) struct Loaded<F: Format> {
    pub(crate) directory: Directory<F>,
    dictionaries: Vec<OnceLock<Dictionary<F::Shape>>>,
    /// The trace ids of each part, where they are not too many.
    trace_ids: Vec<OnceLock<Arc<[u8]>>>,
    /// What else readers have left here for the next.
    cached: OnceLock<F::Cached>,
}

impl<F: Format> Segment<F> {
    /// Opens a finished file: reads and checks its table of sections, not yet its directory.
    pub(crate) fn open(file: File) -> Result<Segment<F>, StoreError> {
        let frame = Frame::open(file, F::MAGIC)?;
        Ok(Segment {
            inner: Arc::new(Inner {
                frame,
                loaded: Mutex::new(None),
            }),
        })
    }

    pub(crate) fn facts(&self) -> SegmentFacts {
        self.inner.frame.facts()
    }

    /// Whether a record of this range may be in here.
    pub(crate) fn overlaps(&self, range: TimeRange) -> bool {
        let facts = self.facts();
        facts.rows != 0 && range.overlaps(facts.first, facts.last)
    }

    /// Memory held for the directory and the dictionaries used so far, in bytes.
    pub(crate) fn cached_bytes(&self) -> usize {
        self.slot().as_ref().map_or(0, |loaded| {
            let used = loaded.dictionaries.iter().filter_map(OnceLock::get);
            let cached = loaded.cached.get().map_or(0, F::cached_bytes);
            let dictionaries = used.map(Dictionary::heap_bytes).sum::<usize>();
            let trace_ids = loaded.trace_ids.iter().filter_map(OnceLock::get);
            let trace_ids = trace_ids.map(|ids| ids.len()).sum::<usize>();
            loaded.directory.heap_bytes() + dictionaries + trace_ids + cached
        })
    }

    /// Whether its directory is in memory.
    pub(crate) fn is_loaded(&self) -> bool {
        self.slot().is_some()
    }

    /// Drops the cached directory and dictionaries; units in use keep theirs.
    pub(crate) fn release(&self) {
        *self.slot() = None;
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Loaded<F>>>> {
        // Only a pointer is set under the lock, so a panic elsewhere leaves it whole.
        let loaded = self.inner.loaded.lock();
        loaded.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn loaded(&self) -> Result<Arc<Loaded<F>>, StoreError> {
        if let Some(loaded) = self.slot().as_ref() {
            return Ok(Arc::clone(loaded));
        }
        let (at, section) = self.frame().section(Tag::Directory)?;
        let directory = Directory::read(&section).map_err(self.frame().corrupt(at))?;
        let n_parts = directory.parts.len();
        let loaded = Arc::new(Loaded {
            directory,
            dictionaries: (0..n_parts).map(|_| OnceLock::new()).collect(),
            trace_ids: (0..n_parts).map(|_| OnceLock::new()).collect(),
            cached: OnceLock::new(),
        });
        *self.slot() = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    fn frame(&self) -> &Frame {
        &self.inner.frame
    }

    /// The dictionary of a block's part.
    fn dictionary<'l>(
        &self,
        loaded: &'l Loaded<F>,
        part: u32,
    ) -> Result<&'l Dictionary<F::Shape>, StoreError> {
        let slot = &loaded.dictionaries[part as usize];
        if let Some(dictionary) = slot.get() {
            return Ok(dictionary);
        }
        let part = loaded.directory.parts[part as usize];
        let bytes = self.frame().read(part.dictionary, part.dictionary_len)?;
        let read = |bytes: &[u8]| {
            let unpacked = Family::unpack_framed(bytes)?;
            Dictionary::read(&mut unpacked.reader(), F::read_shape)
        };
        let dictionary = read(&bytes).map_err(self.frame().corrupt(part.dictionary))?;
        Ok(slot.get_or_init(|| dictionary))
    }

    /// What the dictionaries of all parts unpack to, in bytes.
    fn dictionary_bytes(&self, loaded: &Loaded<F>) -> Result<u64, StoreError> {
        let mut sum = 0;
        for part in &loaded.directory.parts {
            let bytes = self.frame().read(part.dictionary, Family::BYTES as u64)?;
            let family = Family::framed(&bytes).map_err(self.frame().corrupt(part.dictionary))?;
            sum += family.raw();
        }
        Ok(sum)
    }

    /// Adds the shapes and texts of all parts.
    ///
    /// # Errors
    /// A dictionary cannot be read.
    pub(crate) fn vary(&self, variety: &mut Variety) -> Result<(), StoreError> {
        let loaded = self.loaded()?;
        for part in 0..loaded.directory.parts.len() as u32 {
            let dictionary = self.dictionary(&loaded, part)?;
            for shape in &dictionary.shapes {
                F::vary(shape, dictionary, variety);
            }
        }
        Ok(())
    }

    /// The trace ids of a part, 16 bytes each: read once for all of its blocks, unless they are many.
    fn trace_ids(&self, loaded: &Loaded<F>, part: u32) -> Result<Arc<[u8]>, StoreError> {
        let slot = &loaded.trace_ids[part as usize];
        if let Some(ids) = slot.get() {
            return Ok(Arc::clone(ids));
        }
        let ids: Arc<[u8]> = self.read_trace_ids(loaded, part)?.into();
        let kept = loaded.trace_ids.iter().filter_map(OnceLock::get);
        let kept: usize = kept.map(|ids| ids.len()).sum();
        if kept + ids.len() <= TRACE_IDS_KEPT_BYTES_MAX {
            return Ok(Arc::clone(slot.get_or_init(|| ids)));
        }
        Ok(ids)
    }

    fn read_trace_ids(&self, loaded: &Loaded<F>, part: u32) -> Result<Vec<u8>, StoreError> {
        let part = loaded.directory.parts[part as usize];
        let corrupt = self.frame().corrupt(part.traces);
        let len = part
            .n_traces
            .checked_mul(16)
            .and_then(|n| n.checked_add(4))
            .ok_or(Damage("a part claims too many trace ids"))
            .map_err(&corrupt)?;
        let mut bytes = self.frame().read(part.traces, len)?;
        let crc = bytes.split_off(bytes.len() - 4);
        if crc32fast::hash(&bytes).to_le_bytes() == crc[..] {
            Ok(bytes)
        } else {
            Err(corrupt(Damage("checksum of a part's trace ids")))
        }
    }

    /// A column family of a block, checked and unpacked; empty when the block has none of the kind.
    fn family(&self, loaded: &Loaded<F>, block: u32, tag: u8) -> Result<Unpacked, StoreError> {
        let mut families = loaded.directory.families(block as usize);
        let Some((_, offset, family)) = families.find(|(t, _, _)| *t == tag) else {
            return Ok(Unpacked::default());
        };
        if family.stored() == 0 {
            return Ok(Unpacked::default());
        }
        let stored = self.frame().read(offset, family.stored())?;
        family.unpack(&stored).map_err(self.frame().corrupt(offset))
    }

    /// The blocks that may hold spans or records of a trace, rising; `None` when the file has no
    /// token table to say so.
    fn blocks_of(
        &self,
        directory: &Directory<F>,
        id: TraceId,
    ) -> Result<Option<Vec<u32>>, StoreError> {
        self.blocks_with(directory, tokens::hash(&id.0))
    }

    /// Whether the token table has more than trace ids. Of format 1 it never has: there the hash of the
    /// id that says so may be that of a trace, now that fewer bits are kept.
    fn tells_values(&self, directory: &Directory<F>) -> Result<bool, StoreError> {
        if self.frame().version() == 1 {
            return Ok(false);
        }
        let told = self.blocks_with(directory, tokens::of_values())?;
        Ok(told.is_some_and(|blocks| !blocks.is_empty()))
    }

    /// The blocks that have a token, rising; `None` when the file has no token table.
    fn blocks_with(
        &self,
        directory: &Directory<F>,
        hash: u64,
    ) -> Result<Option<Vec<u32>>, StoreError> {
        let Some(section) = self.frame().find(Tag::Tokens) else {
            return Ok(None);
        };
        let (offset, bucket) = self.bucket(directory, section.offset, hash)?;
        let blocks = tokens::find(&bucket, self.frame().version(), hash);
        let blocks = blocks.map_err(self.frame().corrupt(offset))?;
        let n = directory.blocks.len() as u32;
        if blocks.iter().any(|block| *block >= n) {
            let unknown = Damage("the token table names a block that is not there");
            return Err(self.frame().corrupt(offset)(unknown));
        }
        Ok(Some(blocks))
    }

    /// Offset and bytes of the token bucket for a hash.
    fn bucket(
        &self,
        directory: &Directory<F>,
        table: u64,
        hash: u64,
    ) -> Result<(u64, Vec<u8>), StoreError> {
        let starts = &directory.token_starts;
        let n = starts.len() - 1;
        if n == 0 {
            return Ok((table, Vec::new()));
        }
        if !n.is_power_of_two() {
            let odd = Damage("the number of token buckets is no power of two");
            return Err(self.frame().corrupt(table)(odd));
        }
        let bucket = tokens::bucket_of(hash, n);
        let offset = table.saturating_add(starts[bucket]);
        let bytes = self
            .frame()
            .read(offset, starts[bucket + 1] - starts[bucket])?;
        Ok((offset, bytes))
    }

    /// Checks every checksum of the file and that every part of it decodes as far as its structure.
    pub(crate) fn verify(&self) -> Result<(), StoreError> {
        let frame = self.frame();
        frame.verify_sections()?;
        let loaded = self.loaded()?;
        for part in 0..loaded.directory.parts.len() as u32 {
            self.dictionary(&loaded, part)?;
            self.read_trace_ids(&loaded, part)?;
        }
        for block in 0..loaded.directory.blocks.len() {
            for (_, offset, family) in loaded.directory.families(block) {
                let stored = frame.read(offset, family.stored())?;
                if family.stored() != 0 {
                    family.unpack(&stored).map_err(frame.corrupt(offset))?;
                }
            }
        }
        let starts = &loaded.directory.token_starts;
        if let Some(section) = frame.find(Tag::Tokens) {
            for bucket in starts.windows(2) {
                let offset = section.offset.saturating_add(bucket[0]);
                let bytes = frame.read(offset, bucket[1] - bucket[0])?;
                tokens::read_bucket(&bytes, frame.version(), |_| {})
                    .map_err(frame.corrupt(offset))?;
            }
        }
        Ok(())
    }
}
