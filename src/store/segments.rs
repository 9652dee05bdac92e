//! The published segments as readers and merges use them, and the one place that calls the formats.

use std::sync::Arc;

use super::catalogue::{Damaged, SegmentRow};
use super::disk::File;
use super::error::StoreError;
use super::head::{Group, Head};
use super::partition::Partition;
use super::plain;
use super::prune::{LogPrune, SpanPrune};
use super::unit::{LogUnit, SpanUnit, Wanted};
use crate::model::chunk::Chunk;
use crate::model::{LogChunk, LogEntry, ProjectId, Signal, SpanChunk, SpanEntry};
use crate::model::{TimeRange, Timestamp};

/// What is known of a segment besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentFacts {
    pub(crate) rows: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// Length of the file.
    pub(crate) bytes: u64,
    /// OTLP bytes that went in.
    pub(crate) raw_bytes: u64,
    pub(crate) crc: u32,
}

/// An encoded segment that is not on the disk yet.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) partition: Partition,
    pub(crate) bytes: Vec<u8>,
    pub(crate) facts: SegmentFacts,
}

/// A published segment, open for reading.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) row: SegmentRow,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Logs(Arc<Group<LogEntry>>),
    Traces(Arc<Group<SpanEntry>>),
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
        let data = match row.signal {
            Signal::Logs => Data::Logs(plain::open(&file, row.crc, LogChunk::parse)?),
            Signal::Traces => Data::Traces(plain::open(&file, row.crc, SpanChunk::parse)?),
        };
        Ok(Segment { row, data })
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
        Ok(())
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
        let prune = prune.clone();
        let wanted = Arc::new(Wanted { range, prune });
        for segment in self.overlapping(range) {
            if let Data::Logs(group) = &segment.data {
                units.push(LogUnit::head(group.clone(), wanted.clone()));
            }
        }
    }

    pub(super) fn spans(&self, range: TimeRange, prune: &SpanPrune, units: &mut Vec<SpanUnit>) {
        let prune = prune.clone();
        let wanted = Arc::new(Wanted { range, prune });
        for segment in self.overlapping(range) {
            if let Data::Traces(group) = &segment.data {
                units.push(SpanUnit::head(group.clone(), wanted.clone()));
            }
        }
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
        SealedHead::Logs(head) => by_project(head, |chunks| plain::seal(chunks, partition)),
        SealedHead::Traces(head) => by_project(head, |chunks| plain::seal(chunks, partition)),
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
            Data::Logs(group) => logs.push(group.clone()),
            Data::Traces(group) => traces.push(group.clone()),
        }
    }
    let mut bytes = Vec::new();
    let facts = if traces.is_empty() {
        plain::merge(&logs, &mut bytes)
    } else {
        plain::merge(&traces, &mut bytes)
    };
    out.write_all(&bytes).map_err(StoreError::io(
        "write",
        std::path::Path::new("merged segment"),
    ))?;
    Ok(facts)
}
