//! Rewrites span segments as one for good: one dictionary, traces whole again where their spans were
//! sealed apart, larger blocks. The parts of the inputs are sorted by trace each, so that one block of
//! each is open at a time.

use std::collections::VecDeque;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::model::{ProjectId, TimeRange, Timestamp, TraceId, write};
use crate::store::{SpanColumns, SpanPrune, StoreError};

use super::super::cursor::Damage;
use super::super::{Footprint, Grade, Pause, SegmentFacts};
use super::encode::SpanWriter;
use super::rows::{GroupNumbers, Rows};
use super::seal::write_rows;
use super::{BLOCK_BYTES_MAX, FINAL_BLOCK_ROWS_MAX, SpanBlock, SpanSegment};

/// Encoded bytes that are gathered before they are written, once of whole traces and once of the trace
/// that is not whole yet: two blocks. A longer trace is written in pieces, as one that heads have cut.
pub(super) const GATHERED_BYTES_MAX: usize = 2 * BLOCK_BYTES_MAX;

impl SpanSegment {
    /// What rewriting this segment takes: of each part the largest block, and the dictionary.
    ///
    /// # Errors
    /// Its directory cannot be read.
    pub(crate) fn footprint(&self) -> Result<Footprint, StoreError> {
        let loaded = self.loaded()?;
        let directory = &loaded.directory;
        let facts = self.facts();
        let row_bytes = facts.raw_bytes / facts.rows.max(1);
        let mut open = vec![0; directory.parts.len()];
        for (number, block) in directory.blocks.iter().enumerate() {
            let largest = &mut open[block.part as usize];
            *largest = directory.open_bytes(number, row_bytes).max(*largest);
        }
        Ok(Footprint {
            token_bytes: directory.token_starts.last().copied().unwrap_or_default(),
            dictionary_bytes: self.dictionary_bytes(&loaded)?,
            // Their list, what the buffer has free and what is kept of the block come to as much again.
            open_bytes: 2 * open.iter().sum::<u64>(),
            ..Footprint::default()
        })
    }
}

/// Writes the spans of `inputs` to `out` as one segment of one part.
///
/// # Errors
/// An input is damaged (nothing of `out` may be used then), `out` cannot be written, `pause` ends it.
pub(crate) fn recode(
    inputs: &[SpanSegment],
    project: ProjectId,
    out: &mut impl Write,
    pause: Pause<'_>,
) -> Result<SegmentFacts, StoreError> {
    let mut kept = Rows::with_capacity(0);
    for input in inputs {
        kept.red.merge(&input.red()?);
    }
    let path = inputs
        .first()
        .map_or_else(Default::default, |input| input.frame().path().to_owned());
    let mut copier = Copier {
        kept: Some(kept),
        writer: SpanWriter::new(Grade::Final),
        project,
        batch: Batch::default(),
        trace: Batch::default(),
        out,
        path,
    };
    let mut streams = streams(inputs)?;
    for stream in &mut streams {
        copier.refill(stream, pause)?;
    }
    while let Some(trace) = streams.iter().filter_map(Stream::trace).min() {
        for stream in &mut streams {
            copier.gather(trace, stream, pause)?;
        }
        copier.close_trace()?;
    }
    let raw_bytes = inputs.iter().map(|input| input.facts().raw_bytes).sum();
    copier.finish(raw_bytes)
}

/// What the buffer of an open block grows by, in bytes: a tenth of what most blocks have.
const BATCH_STEP_BYTES: usize = 64 << 10;

/// The blocks of one part, in order of their traces, with the spans of the one that is open.
#[derive(Debug)]
struct Stream {
    blocks: VecDeque<SpanBlock>,
    open: Batch,
    /// Spans of `open` that were taken.
    taken: usize,
}

impl Stream {
    /// Of the next span.
    fn trace(&self) -> Option<TraceId> {
        self.open.rows.get(self.taken).map(|row| row.trace)
    }
}

fn streams(inputs: &[SpanSegment]) -> Result<Vec<Stream>, StoreError> {
    let mut streams = Vec::new();
    for input in inputs {
        let blocks = input.blocks(TimeRange::ALL, &SpanPrune::default())?;
        for blocks in blocks.chunk_by(|a, b| a.entry().part == b.entry().part) {
            streams.push(Stream {
                blocks: blocks.to_vec().into(),
                open: Batch::default(),
                taken: 0,
            });
        }
    }
    Ok(streams)
}

/// Encoded spans.
#[derive(Debug, Default)]
struct Batch {
    rows: Vec<Row>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    trace: TraceId,
    at: Timestamp,
    group: GroupNumbers,
    start: usize,
    len: usize,
}

impl Batch {
    fn push(&mut self, row: Row, encoded: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(encoded);
        self.rows.push(Row { start, ..row });
    }

    fn encoded(&self, row: &Row) -> &[u8] {
        &self.bytes[row.start..row.start + row.len]
    }

    fn append(&mut self, other: &mut Batch) {
        let shift = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        let moved = |row: Row| Row {
            start: row.start + shift,
            ..row
        };
        self.rows.extend(other.rows.drain(..).map(moved));
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.bytes.clear();
    }
}

struct Copier<'o, W> {
    /// What the rows of all blocks share; taken while a block is written.
    kept: Option<Rows<'static>>,
    writer: SpanWriter,
    project: ProjectId,
    /// Whole traces for the next block.
    batch: Batch,
    /// The trace that is being gathered.
    trace: Batch,
    out: &'o mut W,
    /// What errors of `out` are about.
    path: PathBuf,
}

impl<W: Write> Copier<'_, W> {
    /// Opens the next block of a stream that has given all of the one before.
    fn refill(&mut self, stream: &mut Stream, pause: Pause<'_>) -> Result<(), StoreError> {
        let Some(block) = stream.blocks.pop_front() else {
            return Ok(());
        };
        pause()?;
        let last = stream.open.rows.last().map(|row| row.trace);
        (stream.taken, stream.open) = (0, std::mem::take(&mut stream.open));
        stream.open.clear();
        let (open, project) = (&mut stream.open, self.project);
        let kept = self.kept.as_mut().expect(KEPT);
        // The bytes of a block's resources and scopes stay where they are: equal places, equal groups.
        let mut known: Option<(usize, usize, GroupNumbers)> = None;
        block.for_each(SpanColumns::ALL, &mut |span| {
            let resource = span.resource.raw.as_ptr() as usize;
            let scope = span.scope.raw.as_ptr() as usize;
            let group = match known {
                Some((r, s, group)) if (r, s) == (resource, scope) => group,
                _ => kept.group(project, span.resource, span.scope),
            };
            known = Some((resource, scope, group));
            let start = open.bytes.len();
            if open.bytes.capacity() - start < BATCH_STEP_BYTES / 16 {
                // One block of each part is open: room for twice of what is there would be most of all.
                open.bytes.reserve_exact(BATCH_STEP_BYTES);
            }
            write::span(&mut open.bytes, span);
            open.rows.push(Row {
                trace: span.trace_id,
                at: span.at,
                group,
                start,
                len: open.bytes.len() - start,
            });
            ControlFlow::Continue(())
        })?;
        let first = open.rows.first().map(|row| row.trace);
        if last > first || !open.rows.is_sorted_by_key(|row| row.trace) {
            let unsorted = Damage("the spans of a part are not in the order of their traces");
            return Err(block.segment.frame().corrupt(block.entry().offset)(
                unsorted,
            ));
        }
        Ok(())
    }

    /// Takes all spans of a trace from a stream.
    fn gather(
        &mut self,
        trace: TraceId,
        stream: &mut Stream,
        pause: Pause<'_>,
    ) -> Result<(), StoreError> {
        while stream.trace() == Some(trace) {
            let row = stream.open.rows[stream.taken];
            self.trace.push(row, stream.open.encoded(&row));
            stream.taken += 1;
            if self.trace.bytes.len() > GATHERED_BYTES_MAX {
                self.close_trace()?;
                self.flush()?;
            }
            if stream.taken == stream.open.rows.len() {
                self.refill(stream, pause)?;
            }
        }
        Ok(())
    }

    fn close_trace(&mut self) -> Result<(), StoreError> {
        let is_long = self.batch.rows.len() + self.trace.rows.len() > FINAL_BLOCK_ROWS_MAX;
        if is_long || self.batch.bytes.len() + self.trace.bytes.len() > GATHERED_BYTES_MAX {
            self.flush()?;
        }
        let mut trace = std::mem::take(&mut self.trace);
        self.batch.append(&mut trace);
        self.trace = trace;
        Ok(())
    }

    /// Writes the gathered traces.
    fn flush(&mut self) -> Result<(), StoreError> {
        let kept = self.kept.take().expect(KEPT);
        let batch = &self.batch;
        let mut rows = kept.continued(batch.rows.len());
        for row in &batch.rows {
            rows.push(batch.encoded(row), row.at, &row.trace, row.group);
        }
        write_rows(&rows, &mut self.writer);
        self.kept = Some(rows.continued(0));
        self.batch.clear();
        let drained = self.writer.drain(self.out);
        drained.map_err(StoreError::io("rewrite", &self.path))
    }

    fn finish(mut self, raw_bytes: u64) -> Result<SegmentFacts, StoreError> {
        self.flush()?;
        let kept = self.kept.take().expect(KEPT);
        let (rest, facts) = self.writer.finish(&kept, raw_bytes);
        let written = self.out.write_all(&rest);
        written.map_err(StoreError::io("rewrite", &self.path))?;
        Ok(facts)
    }
}

const KEPT: &str = "flush() puts it back";
