//! Rewrites log segments as one for good: one dictionary, one list of trace ids, templates counted over
//! all of it, blocks as full as they may be. Reads every record twice: once to count, once to copy.

use std::collections::HashSet;
use std::io::Write;
use std::ops::ControlFlow;

use crate::model::otlp::{self, GroupView, Scratch};
use crate::model::{
    LogView, ProjectId, ResourceView, ScopeView, TimeRange, Timestamp, TraceId, write,
};
use crate::store::{LogColumns, LogPrune, StoreError};

use super::super::{Footprint, Grade, Pause, SegmentFacts};
use super::encode::{GroupNumbers, LogWriter};
use super::miner::{Census, Split};
use super::seal::Allows;
use super::template;
use super::{BLOCK_ROWS_MAX, LogBlock, LogSegment};

/// Blocks' worth of records that wait for older ones of their service: heads follow each other in time, so
/// that mostly one block waits. Past it blocks of the output overlap in time, as those of heads do.
const WAITING_BLOCKS_MAX: u64 = 3;

/// Room that nearly every encoded record has enough with.
const RECORD_BYTES_USUAL: usize = 4 << 10;

impl LogSegment {
    /// What rewriting this segment takes: one block is open at a time, but all dictionaries.
    ///
    /// # Errors
    /// Its directory cannot be read.
    pub(crate) fn footprint(&self) -> Result<Footprint, StoreError> {
        let loaded = self.loaded()?;
        let directory = &loaded.directory;
        Ok(Footprint {
            traces: directory.parts.iter().map(|part| part.n_traces).sum(),
            token_bytes: directory.token_starts.last().copied().unwrap_or_default(),
            dictionary_bytes: self.dictionary_bytes(&loaded)?,
            open_bytes: 0,
            // What was read last comes on top.
            waiting_bytes: (WAITING_BLOCKS_MAX + 1) * self.largest_block()?,
        })
    }

    /// Bytes of the records of its largest block, roughly.
    fn largest_block(&self) -> Result<u64, StoreError> {
        let loaded = self.loaded()?;
        let facts = self.facts();
        let row_bytes = facts.raw_bytes / facts.rows.max(1);
        let blocks = 0..loaded.directory.blocks.len();
        let bytes = blocks.map(|block| loaded.directory.open_bytes(block, row_bytes));
        Ok(bytes.max().unwrap_or_default())
    }
}

/// Writes the records of `inputs` to `out` as one segment of one part. Records that `allows` refuses get
/// plain bodies.
///
/// # Errors
/// An input is damaged (nothing of `out` may be used then), `out` cannot be written, `pause` ends it.
pub(crate) fn recode(
    inputs: &[LogSegment],
    project: ProjectId,
    out: &mut impl Write,
    allows: Option<Allows<'_>>,
    pause: Pause<'_>,
) -> Result<SegmentFacts, StoreError> {
    let mut blocks = Vec::new();
    for input in inputs {
        blocks.extend(input.blocks(TimeRange::ALL, &LogPrune::default())?);
    }
    // Stable: blocks that begin together stay in the order of arrival.
    blocks.sort_by(|a, b| (a.service(), a.first()).cmp(&(b.service(), b.first())));
    let census = census(&blocks, pause)?;
    let waiting_max = waiting_max(inputs)?;
    let mut copier = Copier {
        writer: LogWriter::new(&trace_ids(inputs)?, Grade::Final),
        census,
        waiting: Waiting {
            rows: Vec::new(),
            bytes: Vec::with_capacity(waiting_max + waiting_max / WAITING_BLOCKS_MAX as usize),
        },
        waiting_max,
        project,
        allows,
    };
    for own in blocks.chunk_by(|a, b| a.service() == b.service()) {
        for (number, block) in own.iter().enumerate() {
            pause()?;
            copier.read(block)?;
            let next = own.get(number + 1).map(LogBlock::first);
            copier.write(block.service(), next);
            let written = copier.writer.drain(out);
            written.map_err(StoreError::io("rewrite", inputs[0].frame().path()))?;
        }
    }
    let raw_bytes = inputs.iter().map(|input| input.facts().raw_bytes).sum();
    let (rest, facts) = copier.writer.finish(raw_bytes);
    out.write_all(&rest)
        .map_err(StoreError::io("rewrite", inputs[0].frame().path()))?;
    Ok(facts)
}

/// Bytes of the records that may wait.
fn waiting_max(inputs: &[LogSegment]) -> Result<usize, StoreError> {
    let mut largest = 0;
    for input in inputs {
        largest = input.largest_block()?.max(largest);
    }
    Ok(usize::try_from(WAITING_BLOCKS_MAX * largest).unwrap_or(usize::MAX))
}

/// The distinct trace ids in order of first appearance, part after part.
fn trace_ids(inputs: &[LogSegment]) -> Result<Vec<TraceId>, StoreError> {
    let (mut ids, mut seen) = (Vec::new(), HashSet::new());
    let mut oldest_first: Vec<&LogSegment> = inputs.iter().collect();
    oldest_first.sort_by_key(|input| input.facts().first);
    for input in oldest_first {
        let loaded = input.loaded()?;
        for part in 0..loaded.directory.parts.len() as u32 {
            let bytes = input.read_trace_ids(&loaded, part)?;
            let own = bytes.as_chunks::<16>().0.iter().map(|id| TraceId(*id));
            ids.extend(own.filter(|id| seen.insert(*id)));
        }
    }
    Ok(ids)
}

/// How often each template occurs, those that inputs have and those that plain texts would have.
fn census(blocks: &[LogBlock], pause: Pause<'_>) -> Result<Census, StoreError> {
    let mut census = Census::default();
    for block in blocks {
        if add_from_directory(block, &mut census)? {
            continue;
        }
        pause()?;
        let mut variables = Vec::new();
        block.for_each(LogColumns::BODY, &mut |log| {
            variables.clear();
            let text = log.body.as_str().map(str::as_bytes);
            if let Some(text) = text.filter(|text| template::split(text, &mut variables)) {
                let name = census.name(text, &variables);
                census.add(name, 1);
            }
            ControlFlow::Continue(())
        })?;
    }
    census.choose();
    Ok(census)
}

/// Counts the templates of a block that has no other texts; false when it has to be read.
fn add_from_directory(block: &LogBlock, census: &mut Census) -> Result<bool, StoreError> {
    let dictionary = block.dictionary()?;
    let shapes = &block.entry().facts.shapes;
    let template = |shape: u32| {
        let columns = dictionary.shapes.get(shape as usize)?.columns.as_ref()?;
        columns.template
    };
    if shapes.is_empty() || shapes.iter().any(|(shape, _)| template(*shape).is_none()) {
        return Ok(false);
    }
    for (shape, rows) in shapes {
        if let Some(text) = template(*shape) {
            census.add(Census::name_of(dictionary.text(text)), *rows);
        }
    }
    Ok(true)
}

struct Copier<'f> {
    writer: LogWriter,
    census: Census,
    waiting: Waiting,
    /// Bytes of it.
    waiting_max: usize,
    project: ProjectId,
    allows: Option<Allows<'f>>,
}

/// Records of one service on their way from blocks in order of their first record to order of time.
#[derive(Debug)]
struct Waiting {
    rows: Vec<Row>,
    /// Their encoded `LogRecord`s, in the order they came.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    at: Timestamp,
    group: GroupNumbers,
    start: usize,
    len: usize,
}

impl Copier<'_> {
    fn read(&mut self, block: &LogBlock) -> Result<(), StoreError> {
        let (writer, waiting, project) = (&mut self.writer, &mut self.waiting, self.project);
        // The bytes of a block's resources and scopes stay where they are: equal places, equal groups.
        let mut last: Option<(usize, usize, GroupNumbers)> = None;
        block.for_each(LogColumns::ALL, &mut |log| {
            let resource = log.resource.raw.as_ptr() as usize;
            let scope = log.scope.raw.as_ptr() as usize;
            let group = match last {
                Some((r, s, group)) if (r, s) == (resource, scope) => group,
                _ => writer.group(project, log.resource, log.scope),
            };
            last = Some((resource, scope, group));
            waiting.push(log, group);
            ControlFlow::Continue(())
        })
    }

    /// Writes what no record of a later block (the first begins at `next`) comes before, in whole
    /// blocks until the last.
    fn write(&mut self, service: &str, next: Option<Timestamp>) {
        let rows = &mut self.waiting.rows;
        rows.sort_by_key(|row| row.at);
        let too_much = self.waiting.bytes.len() > self.waiting_max;
        let n = match next {
            None => rows.len(),
            Some(_) if too_much => rows.len() / 2,
            Some(next) => {
                let ready = rows.partition_point(|row| row.at < next);
                ready - ready % BLOCK_ROWS_MAX
            }
        };
        if n == 0 {
            return;
        }
        let (resource, scope) = (ResourceView::default(), ScopeView::default());
        let group = GroupView { resource, scope };
        let (mut scratch, mut variables) = (Scratch::default(), Vec::new());
        for row in &rows[..n] {
            let record = &self.waiting.bytes[row.start..row.start + row.len];
            let log = LogView {
                at: row.at,
                ..otlp::log_view(record, &group, row.at, &mut scratch)
                    .expect("write::log_record() writes what log_view() reads")
            };
            variables.clear();
            let text = log.body.as_str().map(str::as_bytes);
            let split = text.filter(|text| template::split(text, &mut variables));
            let split = split.map(|text| Split {
                name: self.census.name(text, &variables),
                variables: &variables,
            });
            let allows = |split: &Split<'_>| {
                self.census.has(split.name)
                    && self.allows.is_none_or(|allows| allows(service, split.id()))
            };
            self.writer.push(&log, row.group, split.filter(allows));
        }
        if next.is_none() || too_much {
            // What comes may be earlier, or of another service.
            self.writer.cut();
        }
        self.waiting.forget(n);
    }
}

impl Waiting {
    fn push(&mut self, log: &LogView<'_>, group: GroupNumbers) {
        let (start, capacity) = (self.bytes.len(), self.bytes.capacity());
        if capacity - start < RECORD_BYTES_USUAL {
            // A block of larger records than usual: not for twice of everything.
            let step = capacity / 8 + RECORD_BYTES_USUAL;
            self.bytes.reserve_exact(step);
        }
        write::log_record(&mut self.bytes, log);
        self.rows.push(Row {
            at: log.at,
            group,
            start,
            len: self.bytes.len() - start,
        });
    }

    /// The first `n` are written. What stays moves up in place, in the order it came.
    fn forget(&mut self, n: usize) {
        self.rows.drain(..n);
        self.rows.sort_unstable_by_key(|row| row.start);
        let mut end = 0;
        for row in &mut self.rows {
            self.bytes.copy_within(row.start..row.start + row.len, end);
            row.start = end;
            end += row.len;
        }
        self.bytes.truncate(end);
    }
}
