//! Span segments: blocks of whole traces, sorted by trace id, with summaries of traces and RED rows.

mod decode;
mod encode;
mod recode;
mod rows;
mod seal;
mod select;
mod shape;
mod summaries;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::model::summary::SummaryTable;
use crate::model::{RedTable, SpanView, TimeRange, Timestamp, TraceId};
use crate::store::{Needle, SpanAsk, SpanColumns, SpanPrune, StoreError};

use super::column::{Decoder, Encoder, Unpacked, ints};
use super::cursor::{Cursor, Damage};
use super::dictionary::Dictionary;
use super::directory::{Block, Directory};
use super::file::Tag;
use super::{Format, Grade, Loaded, Segment, Variety, tokens, zstd};
use shape::SpanShape;

pub(crate) use recode::recode;
pub(crate) use seal::seal;
#[cfg(feature = "internals")]
pub(super) use summaries::read_page;

/// Spans of one block: what opening one trace reads at least. A longer trace has blocks of its own.
/// 1024 need 1.4 B per span more, 4096 1.0 B less and twice the time to read a trace.
pub(crate) const BLOCK_ROWS_MAX: usize = 2048;

/// As [`BLOCK_ROWS_MAX`], of segments that are rewritten for good.
pub(crate) const FINAL_BLOCK_ROWS_MAX: usize = 8192;

const fn block_rows_max(grade: Grade) -> usize {
    match grade {
        Grade::Fresh => BLOCK_ROWS_MAX,
        Grade::Final => FINAL_BLOCK_ROWS_MAX,
    }
}

/// Bytes of attributes, events and links in one block before compression, unless one span has more.
pub(crate) const BLOCK_BYTES_MAX: usize = 2 << 20;

/// Summaries of one segment that stay in memory for the next reader: 8,192 are about 0.8 MB. The
/// keeper gives all of them back with the directories of segments that are past their bound.
const KEPT_SUMMARIES_MAX: usize = 8192;

/// Column families of a span block. Numbers are on disk and never reused.
mod family {
    /// Shape, resource, trace ids.
    pub(super) const ROWS: u8 = 1;
    /// Place in lists, start, duration.
    pub(super) const TIMES: u8 = 2;
    /// Span ids and parents.
    pub(super) const IDS: u8 = 3;
    /// Trace state.
    pub(super) const STATE: u8 = 4;
    pub(super) const ATTRIBUTES: u8 = 5;
    /// Whole spans that have no shape.
    pub(super) const RAW: u8 = 6;
    /// Status messages.
    pub(super) const TEXT: u8 = 7;
    pub(super) const EVENTS: u8 = 8;
    pub(super) const LINKS: u8 = 9;
}

/// The format of span segments.
#[derive(Debug)]
pub(crate) struct Spans;

pub(crate) type SpanSegment = Segment<Spans>;

/// What the directory says of a span block.
#[derive(Clone, Debug)]
pub(crate) struct SpanBlockFacts {
    /// Numbers of the services that have spans here, rising.
    services: Box<[u32]>,
    errors: u32,
    duration_min_ns: u64,
    duration_max_ns: u64,
}

impl Format for Spans {
    const MAGIC: [u8; 8] = *b"WPsegSPN";
    const FAMILIES: &'static [u8] = &[
        family::ROWS,
        family::TIMES,
        family::IDS,
        family::STATE,
        family::ATTRIBUTES,
        family::RAW,
        family::TEXT,
        family::EVENTS,
        family::LINKS,
    ];
    const TOKENS_OF_VALUES: bool = true;
    type Cached = Arc<SummaryTable>;
    type Facts = SpanBlockFacts;
    type Shape = SpanShape;

    fn cached_bytes(cached: &Arc<SummaryTable>) -> usize {
        cached.heap_bytes()
    }

    fn put_facts(blocks: &[Block<SpanBlockFacts>], encoder: &mut Encoder) {
        let column = |field: fn(&SpanBlockFacts) -> u64| -> Vec<u64> {
            blocks.iter().map(|block| field(&block.facts)).collect()
        };
        ints::put(encoder, &column(|facts| u64::from(facts.errors)));
        ints::put(encoder, &column(|facts| facts.duration_min_ns));
        ints::put(encoder, &column(|facts| facts.duration_max_ns));
        ints::put(encoder, &column(|facts| facts.services.len() as u64));
        let services = blocks.iter().flat_map(|block| &block.facts.services);
        let services: Vec<u64> = services.map(|service| u64::from(*service)).collect();
        ints::put(encoder, &services);
    }

    fn read_facts(
        decoder: &mut Decoder<'_>,
        n: usize,
        n_services: usize,
    ) -> Result<Vec<SpanBlockFacts>, Damage> {
        let errors = ints::decode(decoder, n)?;
        let shortest = ints::decode(decoder, n)?;
        let longest = ints::decode(decoder, n)?;
        let counts = ints::decode(decoder, n)?;
        let n_named = counts
            .iter()
            .try_fold(0u64, |sum, count| sum.checked_add(*count))
            .and_then(|sum| usize::try_from(sum).ok())
            .ok_or(Damage("blocks name too many services"))?;
        let services = ints::decode(decoder, n_named)?;
        if services.iter().any(|service| *service >= n_services as u64) {
            return Err(Damage("a block names a service that is not there"));
        }
        let mut services = services.into_iter().map(|service| service as u32);
        Ok((0..n)
            .map(|block| SpanBlockFacts {
                services: services.by_ref().take(counts[block] as usize).collect(),
                errors: errors[block] as u32,
                duration_min_ns: shortest[block],
                duration_max_ns: longest[block],
            })
            .collect())
    }

    fn read_shape(
        cursor: &mut Cursor<'_>,
        n_scopes: usize,
        n_texts: usize,
    ) -> Result<SpanShape, Damage> {
        SpanShape::read(cursor, n_scopes, n_texts)
    }

    fn vary(shape: &SpanShape, dictionary: &Dictionary<SpanShape>, variety: &mut Variety) {
        shape.vary(dictionary, variety);
    }

    fn merge_sections(inputs: &[Segment<Spans>]) -> Result<Vec<(Tag, Vec<u8>)>, StoreError> {
        let mut red = RedTable::default();
        for input in inputs {
            red.merge(&input.red()?);
        }
        Ok(vec![
            (Tag::Summaries, summaries::merge(inputs)?),
            (Tag::Red, red_section(&red)),
        ])
    }

    fn with_services(facts: &SpanBlockFacts, numbers: &[u32]) -> SpanBlockFacts {
        let services = facts.services.iter();
        let mut services: Box<[u32]> = services.map(|own| numbers[*own as usize]).collect();
        services.sort_unstable();
        SpanBlockFacts { services, ..*facts }
    }
}

/// The encoded rows, compressed, behind their length.
fn red_section(red: &RedTable) -> Vec<u8> {
    let mut encoded = Vec::new();
    red.encode(&mut encoded);
    let mut section = (encoded.len() as u32).to_le_bytes().to_vec();
    zstd::pack(&encoded, Grade::Fresh, &mut section);
    section
}

impl Segment<Spans> {
    /// The blocks that may hold spans of interest, in the order of the file.
    ///
    /// # Errors
    /// The directory or the token table cannot be read.
    pub(crate) fn blocks(
        &self,
        range: TimeRange,
        prune: &SpanPrune,
    ) -> Result<Vec<SpanBlock>, StoreError> {
        if !self.overlaps(range) {
            return Ok(Vec::new());
        }
        let loaded = self.loaded()?;
        let directory = &loaded.directory;
        let mut named = match prune.trace_id {
            Some(id) => self.blocks_of(directory, id)?,
            None => None,
        };
        for any_of in &prune.needles {
            let Some(blocks) = self.blocks_with_any(directory, any_of)? else {
                break;
            };
            named = Some(match named {
                Some(mut named) => {
                    named.retain(|block| blocks.binary_search(block).is_ok());
                    named
                }
                None => blocks,
            });
        }
        let wanted_service = |number: &u32| {
            let name = &*directory.services[*number as usize];
            prune.services.iter().any(|service| service == name)
        };
        let wanted = |number: &u32| {
            let block = &directory.blocks[*number as usize];
            let facts = &block.facts;
            range.overlaps(block.first, block.last)
                && facts.duration_max_ns >= prune.duration_min_ns
                && (!prune.errors_only || facts.errors > 0)
                && (prune.services.is_empty() || facts.services.iter().any(wanted_service))
        };
        let numbers = match named {
            Some(numbers) => numbers,
            None => (0..directory.blocks.len() as u32).collect(),
        };
        let numbers = numbers.into_iter().filter(wanted);
        Ok(numbers
            .map(|number| SpanBlock {
                segment: self.clone(),
                loaded: Arc::clone(&loaded),
                number,
                only: None,
            })
            .collect())
    }

    /// The blocks that may hold a span with one of these, rising; `None` when the token table does not
    /// tell values.
    fn blocks_with_any(
        &self,
        directory: &Directory<Spans>,
        any_of: &[Needle],
    ) -> Result<Option<Vec<u32>>, StoreError> {
        if !self.tells_values(directory)? {
            return Ok(None);
        }
        let mut hashes = vec![tokens::of_any()];
        hashes.extend(any_of.iter().map(|needle| match needle {
            Needle::Name(name) => tokens::of_name(name.as_bytes()),
            Needle::Attribute { key, value } => {
                tokens::of_attribute(key.as_bytes(), value.as_bytes())
            }
            Needle::Untold { key } => tokens::of_untold(key.as_bytes()),
        }));
        let mut blocks = Vec::new();
        for hash in hashes {
            blocks.extend(self.blocks_with(directory, hash)?.unwrap_or_default());
        }
        blocks.sort_unstable();
        blocks.dedup();
        Ok(Some(blocks))
    }

    /// Summaries of all traces that have a span in here. A merged segment may have several of one
    /// trace; they join to the whole.
    pub(crate) fn summaries(&self) -> Result<Arc<SummaryTable>, StoreError> {
        let loaded = self.loaded()?;
        if let Some(table) = loaded.cached.get() {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(summaries::table(self)?);
        if table.rows.len() > KEPT_SUMMARIES_MAX {
            return Ok(table);
        }
        Ok(Arc::clone(loaded.cached.get_or_init(|| table)))
    }

    /// Rate, errors and durations of the spans in here.
    pub(crate) fn red(&self) -> Result<RedTable, StoreError> {
        let frame = self.frame();
        let (at, section) = frame.section(Tag::Red)?;
        let read = |section: &[u8]| {
            let mut cursor = Cursor::new(section);
            let raw_len = cursor.u32()?;
            let packed = cursor.take(cursor.remaining())?;
            RedTable::decode(&zstd::unpack(packed, raw_len as usize)?).map_err(|bad| Damage(bad.0))
        };
        read(&section).map_err(frame.corrupt(at))
    }
}

/// One block of a span segment. Cheap to clone; nothing is read before [`SpanBlock::for_each`].
#[derive(Clone, Debug)]
pub(crate) struct SpanBlock {
    segment: SpanSegment,
    loaded: Arc<Loaded<Spans>>,
    number: u32,
    /// The trace that is wanted alone.
    only: Option<TraceId>,
}

impl SpanBlock {
    fn entry(&self) -> &Block<SpanBlockFacts> {
        &self.loaded.directory.blocks[self.number as usize]
    }

    /// The same, showing nothing but the spans of a trace to who reads all of it; `None`: all.
    pub(crate) fn only(self, trace: Option<TraceId>) -> SpanBlock {
        SpanBlock {
            only: trace,
            ..self
        }
    }

    /// Its place in the segment.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// One of its column families, unpacked.
    fn family(&self, tag: u8) -> Result<Unpacked, StoreError> {
        self.segment.family(&self.loaded, self.number, tag)
    }

    /// Place in lists of its first span.
    pub(crate) fn first(&self) -> Timestamp {
        self.entry().first
    }

    pub(crate) fn last(&self) -> Timestamp {
        self.entry().last
    }

    pub(crate) fn rows(&self) -> usize {
        self.entry().rows as usize
    }

    /// Bytes of all columns once unpacked.
    pub(crate) fn bytes(&self) -> u64 {
        let families = self.loaded.directory.families(self.number as usize);
        families.map(|(_, _, family)| family.raw()).sum()
    }

    /// Calls `each` with the spans, those of a trace together, until it breaks: all of
    /// them, or those of [`SpanBlock::only`] one.
    ///
    /// # Errors
    /// The block cannot be read or is damaged; no span of a damaged column family is shown.
    pub(crate) fn for_each(
        &self,
        columns: SpanColumns,
        each: &mut dyn FnMut(&SpanView<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let columns = columns.with(SpanColumns::BASE);
        decode::for_each(self, columns, each)
    }

    /// Calls `each` with the spans in `range` that pass `test`, those of a trace together, until it
    /// breaks. The test sees the columns it asked for; the others are read where a span has passed.
    ///
    /// # Errors
    /// As [`SpanBlock::for_each`].
    pub(crate) fn select(
        &self,
        range: TimeRange,
        ask: SpanAsk,
        test: &mut dyn FnMut(&SpanView<'_>) -> bool,
        each: &mut dyn FnMut(&SpanView<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        select::select(self, range, ask, test, each)
    }
}
