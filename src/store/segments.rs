//! The published segments as readers and merges use them, and the one place that calls the formats.

use std::path::Path;
use std::sync::Arc;

use super::catalogue::{Damaged, SegmentRow};
use super::disk::File;
use super::error::StoreError;
use super::head::Head;
use super::partition::Partition;
use super::prune::{LogPrune, SpanPrune};
use super::segment::{self, LogSegment, Sealed, SegmentFacts, SpanSegment};
use super::unit::{LogUnit, SpanUnit, Unreadable};
use crate::model::chunk::Chunk;
use crate::model::{LogEntry, ProjectId, Signal, SpanEntry};
use crate::model::{TimeRange, Timestamp};

/// A published segment, open for reading.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) row: SegmentRow,
    path: Arc<Path>,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Logs(LogSegment),
    Traces(SpanSegment),
}

/// All published segments, in the order of their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Segments {
    pub(super) list: Vec<Arc<Segment>>,
    pub(super) damaged: Vec<Arc<Damaged>>,
}

impl Segment {
    /// Checks the directory of a segment's file against its row.
    pub(super) fn open(file: File, row: SegmentRow) -> Result<Segment, StoreError> {
        let len = file.len().map_err(StoreError::io("measure", file.path()))?;
        if len != row.bytes {
            return Err(StoreError::corrupt(file.path(), len, "length"));
        }
        let path = Arc::from(file.path());
        let data = match row.signal {
            Signal::Logs => Data::Logs(LogSegment::open(file)?),
            Signal::Traces => Data::Traces(SpanSegment::open(file)?),
        };
        let segment = Segment { row, path, data };
        segment.check_facts()?;
        Ok(segment)
    }

    /// The file must be the one that was published under this row.
    fn check_facts(&self) -> Result<(), StoreError> {
        let row = &self.row;
        let facts = match &self.data {
            Data::Logs(segment) => segment.facts(),
            Data::Traces(segment) => segment.facts(),
        };
        if (facts.crc, facts.rows) != (row.crc, row.rows) {
            let what = "it is not the segment that the catalogue names";
            return Err(StoreError::corrupt(&self.path, 0, what));
        }
        Ok(())
    }

    fn unreadable(&self) -> Unreadable {
        Unreadable {
            path: self.path.clone(),
            first: self.row.first,
            last: self.row.last,
            rows: self.row.rows,
        }
    }

    /// Memory of the directory it keeps, in bytes.
    pub(super) fn cached_bytes(&self) -> usize {
        match &self.data {
            Data::Logs(segment) => segment.cached_bytes(),
            Data::Traces(segment) => segment.cached_bytes(),
        }
    }

    /// Gives that memory back; the next reader loads the directory again.
    pub(super) fn release(&self) {
        match &self.data {
            Data::Logs(segment) => segment.release(),
            Data::Traces(segment) => segment.release(),
        }
    }

    /// What is told about it when it cannot be read.
    pub(super) fn damaged(&self, why: &StoreError) -> Damaged {
        Damaged {
            path: self.row.path(),
            signal: Some(self.row.signal),
            first: self.row.first,
            last: self.row.last,
            why: why.to_string(),
        }
    }

    /// Reads all of it and checks every checksum.
    pub(super) fn verify(&self) -> Result<(), StoreError> {
        match &self.data {
            Data::Logs(segment) => segment.verify(),
            Data::Traces(segment) => segment.verify(),
        }
    }
}

impl Segments {
    pub(super) fn insert(&mut self, segment: Arc<Segment>) {
        let at = self
            .list
            .partition_point(|other| other.row.id < segment.row.id);
        self.list.insert(at, segment);
    }

    /// Takes segments out and gives them back.
    pub(super) fn remove(&mut self, ids: &[u64]) -> Vec<Arc<Segment>> {
        let (removed, kept) = std::mem::take(&mut self.list)
            .into_iter()
            .partition(|segment| ids.contains(&segment.row.id));
        self.list = kept;
        removed
    }

    pub(super) fn logs(&self, range: TimeRange, prune: &LogPrune, units: &mut Vec<LogUnit>) {
        for segment in self.overlapping(range) {
            let Data::Logs(data) = &segment.data else {
                continue;
            };
            match data.blocks(range, prune) {
                Ok(blocks) => units.extend(blocks.into_iter().map(LogUnit::block)),
                Err(_) => units.push(LogUnit::unreadable(segment.unreadable())),
            }
        }
    }

    pub(super) fn spans(&self, range: TimeRange, prune: &SpanPrune, units: &mut Vec<SpanUnit>) {
        for segment in self.overlapping(range) {
            let Data::Traces(data) = &segment.data else {
                continue;
            };
            match data.blocks(range, prune) {
                Ok(blocks) => units.extend(blocks.into_iter().map(SpanUnit::block)),
                Err(_) => units.push(SpanUnit::unreadable(segment.unreadable())),
            }
        }
    }

    /// The span segments that overlap `range`.
    pub(super) fn traces(&self, range: TimeRange) -> impl Iterator<Item = &SpanSegment> {
        self.overlapping(range)
            .filter_map(|segment| match &segment.data {
                Data::Traces(data) => Some(data),
                Data::Logs(_) => None,
            })
    }

    fn overlapping(&self, range: TimeRange) -> impl Iterator<Item = &Segment> {
        let overlaps = move |row: &SegmentRow| range.overlaps(row.first, row.last);
        let segments = self.list.iter().map(|segment| &**segment);
        segments.filter(move |segment| overlaps(&segment.row))
    }

    pub(super) fn damaged(&self, signal: Signal, range: TimeRange) -> Vec<Arc<Damaged>> {
        self.damaged
            .iter()
            .filter(|d| d.signal.is_none_or(|s| s == signal) && range.overlaps(d.first, d.last))
            .cloned()
            .collect()
    }
}

/// A head that waits to be sealed.
#[derive(Clone, Debug)]
pub(super) enum SealedHead {
    Logs(Arc<Head<LogEntry>>),
    Traces(Arc<Head<SpanEntry>>),
}

/// Encodes a head: one segment per project and partition it touches.
pub(super) fn encode(
    head: &SealedHead,
    partition: &dyn Fn(Timestamp) -> Partition,
) -> Vec<(ProjectId, Sealed)> {
    match head {
        SealedHead::Logs(head) => by_project(head, |chunks| segment::seal_logs(chunks, partition)),
        SealedHead::Traces(head) => {
            by_project(head, |chunks| segment::seal_spans(chunks, partition))
        }
    }
}

/// Projects never share a segment, so that separating them needs no rewriting.
fn by_project<E: super::head::Entry>(
    head: &Head<E>,
    seal: impl Fn(&[Arc<Chunk<E>>]) -> Vec<Sealed>,
) -> Vec<(ProjectId, Sealed)> {
    let mut chunks: Vec<Arc<Chunk<E>>> = head
        .groups()
        .iter()
        .flat_map(|group| group.chunks.iter().cloned())
        .collect();
    // Stable: requests of one project stay in the order of arrival.
    chunks.sort_by_key(|chunk| chunk.request.project);
    chunks
        .chunk_by(|a, b| a.request.project == b.request.project)
        .flat_map(|chunks| {
            let project = chunks[0].request.project;
            seal(chunks)
                .into_iter()
                .map(move |sealed| (project, sealed))
        })
        .collect()
}

/// Writes the records of several segments of one signal as one segment.
pub(super) fn merge(
    inputs: &[Arc<Segment>],
    out: &mut impl std::io::Write,
) -> Result<SegmentFacts, StoreError> {
    let (mut logs, mut traces) = (Vec::new(), Vec::new());
    for input in inputs {
        match &input.data {
            Data::Logs(segment) => logs.push(segment.clone()),
            Data::Traces(segment) => traces.push(segment.clone()),
        }
    }
    if traces.is_empty() {
        segment::merge(&logs, out)
    } else {
        segment::merge(&traces, out)
    }
}
