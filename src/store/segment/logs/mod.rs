//! Log segments: blocks of one service in order of time.

mod decode;
mod encode;
mod facts;
mod miner;
mod needle;
mod recode;
mod seal;
mod shape;
mod template;
mod templates;
#[cfg(test)]
mod tests;
mod verdict;
mod words;

use std::ops::ControlFlow;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::model::{Level, LogView, TimeRange, Timestamp};
use crate::store::filter::{LogFilter, Tallied};
use crate::store::templates::{Documents, RuledOut, TemplateId};
use crate::store::{LogColumns, LogPrune, StoreError};

use super::column::{Decoder, Encoder};
use super::cursor::{Cursor, Damage};
use super::dictionary::Dictionary;
use super::directory::{Block, Directory};
use super::file::Tag;
use super::{Format, Loaded, Segment, Variety};
use facts::LogBlockFacts;
use shape::LogShape;

pub(crate) use recode::recode;
#[cfg(any(test, feature = "internals"))]
pub(crate) use seal::seal;
pub(crate) use seal::{Allows, seal_gated};
pub(crate) use template::{split_text, template_of};
pub(crate) use templates::SeenPattern;
pub(crate) use words::{Word, Words};

/// Rows of one block: a block is what a query reads at least, and its columns compress well from
/// about 500 rows on.
pub(crate) const BLOCK_ROWS_MAX: usize = 4096;

/// Bytes of bodies and attributes in one block before compression, unless one record alone has more.
pub(crate) const BLOCK_BYTES_MAX: usize = 2 << 20;

/// Column families of a log block. Numbers are on disk and never reused.
mod family {
    /// Shape, resource, place in time.
    pub(super) const ROWS: u8 = 1;
    /// Time as sent, observed time.
    pub(super) const TIMES: u8 = 2;
    /// Trace and span id.
    pub(super) const IDS: u8 = 3;
    pub(super) const BODY: u8 = 4;
    pub(super) const ATTRIBUTES: u8 = 5;
    /// Whole records that have no shape.
    pub(super) const RAW: u8 = 6;
}

/// The format of log segments.
#[derive(Debug)]
pub(crate) struct Logs;

/// For each part where the index over templates has those of its shapes.
#[derive(Debug)]
pub(crate) struct Indexed {
    parts: Box<[ArcSwapOption<Documents>]>,
}

pub(crate) type LogSegment = Segment<Logs>;

impl Format for Logs {
    const MAGIC: [u8; 8] = *b"WPsegLOG";
    const FAMILIES: &'static [u8] = &[
        family::ROWS,
        family::TIMES,
        family::IDS,
        family::BODY,
        family::ATTRIBUTES,
        family::RAW,
    ];
    const TOKENS_OF_VALUES: bool = false;
    type Cached = Indexed;
    type Facts = LogBlockFacts;
    type Shape = LogShape;

    fn cached_bytes(cached: &Indexed) -> usize {
        let documents = cached.parts.iter().map(|part| part.load());
        documents
            .flat_map(|part| part.as_ref().map(|d| d.heap_bytes()))
            .sum()
    }

    fn put_facts(blocks: &[Block<LogBlockFacts>], encoder: &mut Encoder) {
        facts::put(blocks, encoder);
    }

    fn read_facts(
        decoder: &mut Decoder<'_>,
        n: usize,
        n_services: usize,
    ) -> Result<Vec<LogBlockFacts>, Damage> {
        facts::read(decoder, n, n_services)
    }

    fn facts_bytes(facts: &LogBlockFacts) -> usize {
        facts.heap_bytes()
    }

    fn read_shape(
        cursor: &mut Cursor<'_>,
        n_scopes: usize,
        n_texts: usize,
    ) -> Result<LogShape, Damage> {
        LogShape::read(cursor, n_scopes, n_texts)
    }

    fn vary(shape: &LogShape, dictionary: &Dictionary<LogShape>, variety: &mut Variety) {
        shape.vary(dictionary, variety);
    }

    fn merge_sections(_inputs: &[Segment<Logs>]) -> Result<Vec<(Tag, Vec<u8>)>, StoreError> {
        Ok(Vec::new())
    }

    fn with_services(facts: &LogBlockFacts, numbers: &[u32]) -> LogBlockFacts {
        LogBlockFacts {
            service: numbers[facts.service as usize],
            ..facts.clone()
        }
    }
}

impl Segment<Logs> {
    /// The blocks that may hold records of interest, in the order of the file.
    ///
    /// # Errors
    /// The directory or the token table cannot be read.
    pub(crate) fn blocks(
        &self,
        range: TimeRange,
        prune: &LogPrune,
    ) -> Result<Vec<LogBlock>, StoreError> {
        if !self.overlaps(range) {
            return Ok(Vec::new());
        }
        let loaded = self.loaded()?;
        let directory = &loaded.directory;
        let of_trace = match prune.trace_id {
            Some(id) => self.blocks_of(directory, id)?,
            None => None,
        };
        let wanted = |number: &u32| {
            let block = &directory.blocks[*number as usize];
            let service = &*directory.services[block.facts.service as usize];
            range.overlaps(block.first, block.last)
                && (prune.levels == 0 || prune.levels & block.facts.levels != 0)
                && (prune.services.is_empty() || prune.services.iter().any(|s| s == service))
        };
        let numbers = match of_trace {
            Some(numbers) => numbers,
            None => (0..directory.blocks.len() as u32).collect(),
        };
        let holders = self.holders(directory, &prune.words)?;
        let block = |number: u32| LogBlock {
            segment: self.clone(),
            loaded: Arc::clone(&loaded),
            number,
            ruled_out: prune.ruled_out.clone(),
            held: if directory.blocks[number as usize].facts.shapes.is_empty() {
                u64::MAX
            } else {
                holders.held_by(number)
            },
        };
        Ok(numbers.into_iter().filter(wanted).map(block).collect())
    }

    /// The blocks whose plain texts or variables may have each of `words`: one read per word.
    fn holders(&self, directory: &Directory<Logs>, words: &[Word]) -> Result<Holders, StoreError> {
        let mut holders = Holders::default();
        if words.is_empty() {
            return Ok(holders);
        }
        let Some(any) = self.blocks_with(directory, Word::any())? else {
            return Ok(holders);
        };
        for word in words {
            let mut blocks = any.clone();
            blocks.extend(
                self.blocks_with(directory, word.hash)?
                    .into_iter()
                    .flatten(),
            );
            if let Some(id) = word.trace {
                blocks.extend(self.blocks_of(directory, id)?.into_iter().flatten());
            }
            blocks.sort_unstable();
            holders.0.push(blocks);
        }
        Ok(holders)
    }
}

/// One block of a log segment. Cheap to clone; nothing is read before [`LogBlock::for_each`].
#[derive(Clone, Debug)]
pub(crate) struct LogBlock {
    segment: LogSegment,
    loaded: Arc<Loaded<Logs>>,
    number: u32,
    /// Templates that no match has.
    ruled_out: Option<RuledOut>,
    /// Bit i: the i-th word of the reader's hints may be in a plain text or variable of this block.
    held: u64,
}

/// For each word the blocks that may hold it, rising; empty: nothing is known.
#[derive(Debug, Default)]
struct Holders(Vec<Vec<u32>>);

impl Holders {
    fn held_by(&self, block: u32) -> u64 {
        let bits = self.0.iter().enumerate();
        let absent = bits.filter(|(_, blocks)| blocks.binary_search(&block).is_err());
        absent.fold(u64::MAX, |held, (bit, _)| held & !(1 << bit))
    }
}

impl LogBlock {
    fn entry(&self) -> &Block<LogBlockFacts> {
        &self.loaded.directory.blocks[self.number as usize]
    }

    /// Its place in the segment.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Place in lists of its first record.
    pub(crate) fn first(&self) -> Timestamp {
        self.entry().first
    }

    pub(crate) fn last(&self) -> Timestamp {
        self.entry().last
    }

    pub(crate) fn rows(&self) -> usize {
        self.entry().rows as usize
    }

    /// Of all its records.
    pub(crate) fn service(&self) -> &str {
        &self.loaded.directory.services[self.entry().facts.service as usize]
    }

    /// Bytes of all columns once unpacked.
    pub(crate) fn bytes(&self) -> u64 {
        let families = self.loaded.directory.families(self.number as usize);
        families.map(|(_, _, family)| family.raw()).sum()
    }

    /// Calls `each` with the records in order of time until it breaks.
    ///
    /// # Errors
    /// The block cannot be read or is damaged; no record of a damaged column family is shown.
    pub(crate) fn for_each(
        &self,
        columns: LogColumns,
        each: &mut dyn FnMut(&LogView<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        decode::for_each(self, columns, each)
    }

    /// Calls `each` with the number and the view of every record that passes, in order of time, until
    /// it breaks. False when the directory told that there is none.
    ///
    /// # Errors
    /// As [`LogBlock::for_each`].
    pub(crate) fn matching(
        &self,
        filter: &LogFilter<'_>,
        shown: LogColumns,
        each: &mut dyn FnMut(u32, &LogView<'_>) -> ControlFlow<()>,
    ) -> Result<bool, StoreError> {
        decode::matching(self, filter, shown, each)
    }

    /// Calls `each` with the records numbered in `rows`, which rise, until it breaks.
    ///
    /// # Errors
    /// As [`LogBlock::for_each`].
    pub(crate) fn rows_at(
        &self,
        rows: &[u32],
        each: &mut dyn FnMut(&LogView<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        decode::rows(self, rows, each)
    }

    /// Counts the records that pass by time and level, as far as that needs no reading.
    ///
    /// # Errors
    /// The dictionary cannot be read or is damaged.
    pub(crate) fn tally(
        &self,
        filter: &LogFilter<'_>,
        range: TimeRange,
        width_ns: u64,
        each: &mut dyn FnMut(Timestamp, Level, u64),
    ) -> Result<Tallied, StoreError> {
        verdict::tally(self, filter, range, width_ns, each)
    }

    /// Calls `each` with the records that pass, counted by template and bucket; whether it was read.
    ///
    /// # Errors
    /// As [`LogBlock::for_each`].
    pub(crate) fn patterns(
        &self,
        filter: &LogFilter<'_>,
        bucket: &dyn Fn(Timestamp) -> u64,
        each: &mut dyn FnMut(&SeenPattern<'_>),
    ) -> Result<bool, StoreError> {
        templates::count(self, filter, bucket, each)
    }

    /// Where the index over templates, in the state of `ruled_out`, has those of the block's part.
    fn documents(&self, dictionary: &Dictionary<LogShape>, ruled_out: &RuledOut) -> Arc<Documents> {
        let parts = self.loaded.directory.parts.len();
        let indexed = self.loaded.cached.get_or_init(|| Indexed {
            parts: (0..parts).map(|_| ArcSwapOption::empty()).collect(),
        });
        let slot = &indexed.parts[self.entry().part as usize];
        let known = slot.load_full();
        if let Some(known) = known.filter(|known| ruled_out.fits(known)) {
            return known;
        }
        let template = |shape: &LogShape| {
            let text = shape.columns.as_ref()?.template?;
            Some(TemplateId::of(dictionary.text(text).as_bytes()))
        };
        let documents = Arc::new(ruled_out.documents(dictionary.shapes.iter().map(template)));
        slot.store(Some(Arc::clone(&documents)));
        documents
    }

    fn dictionary(&self) -> Result<&Dictionary<LogShape>, StoreError> {
        self.segment.dictionary(&self.loaded, self.entry().part)
    }
}
