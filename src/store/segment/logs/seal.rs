//! From heads to segments: sorts the records of requests and writes one segment per partition.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use crate::model::otlp::{GroupView, Scratch};
use crate::model::{LogChunk, Timestamp, TraceId};
use crate::store::Partition;
use crate::store::templates::TemplateId;

use super::super::interner::Interner;
use super::super::{Grade, Sealed, raw_bytes};
use super::encode::{GroupNumbers, LogWriter};
use super::miner::{AsIs, Miner, Split};

/// Why decoding a head's record again cannot fail.
const PARSED: &str = "LogChunk::parse has read every record of the chunk";

/// A record's place in the order of the segments to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    partition: Partition,
    service: u32,
    at: Timestamp,
    chunk: u32,
    entry: u32,
}

/// Whether a record of a service may be kept with a template.
pub(crate) type Allows<'f> = &'f dyn Fn(&str, TemplateId) -> bool;

/// Writes the records of `chunks` as one segment for each partition that they fall into.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn seal(
    chunks: &[Arc<LogChunk>],
    partition: impl Fn(Timestamp) -> Partition,
) -> Vec<Sealed> {
    seal_gated(chunks, partition, None)
}

/// As [`seal`]; records that `allows` refuses keep their plain bodies.
pub(crate) fn seal_gated(
    chunks: &[Arc<LogChunk>],
    partition: impl Fn(Timestamp) -> Partition,
    allows: Option<Allows<'_>>,
) -> Vec<Sealed> {
    let groups: Vec<Vec<GroupView<'_>>> = chunks
        .iter()
        .map(|chunk| chunk.group_views().expect(PARSED))
        .collect();
    let texts = Texts::split(chunks);
    let rows = rows(chunks, &groups, partition);
    rows.chunk_by(|a, b| a.partition == b.partition)
        .map(|rows| seal_partition(chunks, &groups, &texts, rows, allows))
        .collect()
}

fn rows(
    chunks: &[Arc<LogChunk>],
    groups: &[Vec<GroupView<'_>>],
    partition: impl Fn(Timestamp) -> Partition,
) -> Vec<Row> {
    let mut services = Interner::default();
    let mut rows = Vec::new();
    for (number, (chunk, groups)) in chunks.iter().zip(groups).enumerate() {
        let services: Vec<u32> = groups
            .iter()
            .map(|group| services.intern(group.resource.service().as_bytes()))
            .collect();
        rows.extend(chunk.entries.iter().enumerate().map(|(entry, log)| Row {
            partition: partition(log.at),
            service: services[log.group as usize],
            at: log.at,
            chunk: number as u32,
            entry: entry as u32,
        }));
    }
    rows.sort_unstable();
    rows
}

/// The texts of all records, split.
#[derive(Debug)]
struct Texts {
    miner: Miner,
    /// Number of the first record of each chunk.
    starts: Vec<usize>,
}

impl Texts {
    /// Reads the requests front to back: in the order of segments each record would miss the cache.
    fn split(chunks: &[Arc<LogChunk>]) -> Texts {
        let (mut miner, mut starts, mut n) = (Miner::default(), Vec::new(), 0);
        for chunk in chunks {
            starts.push(n);
            n += chunk.entries.len();
            for entry in &chunk.entries {
                miner.add(chunk.body_text(entry).expect(PARSED));
            }
        }
        miner.choose();
        Texts { miner, starts }
    }

    fn of(&self, chunk: usize, entry: u32) -> Option<Split<'_>> {
        self.miner.split(self.starts[chunk] + entry as usize)
    }
}

fn seal_partition(
    chunks: &[Arc<LogChunk>],
    groups: &[Vec<GroupView<'_>>],
    texts: &Texts,
    rows: &[Row],
    allows: Option<Allows<'_>>,
) -> Sealed {
    let mut writer = LogWriter::new(&trace_ids(chunks, rows), Grade::Fresh);
    let mut numbers: Vec<Vec<Option<GroupNumbers>>> = groups
        .iter()
        .map(|groups| vec![None; groups.len()])
        .collect();
    let mut scratch = Scratch::default();
    let mut rows_of = vec![0; chunks.len()];
    for row in rows {
        let at = row.chunk as usize;
        let (chunk, groups) = (&chunks[at], &groups[at]);
        let entry = &chunk.entries[row.entry as usize];
        let group = *numbers[at][entry.group as usize].get_or_insert_with(|| {
            let view = &groups[entry.group as usize];
            writer.group(chunk.request.project, &view.resource, &view.scope)
        });
        let log = chunk.view(entry, groups, &mut scratch).expect(PARSED);
        let allowed = |split: &Split<'_>| {
            allows.is_none_or(|allows| allows(log.resource.service(), split.id()))
        };
        writer.push(&log, group, texts.of(at, row.entry).filter(allowed));
        rows_of[at] += 1;
    }
    let (bytes, facts) = writer.finish(raw_bytes(chunks, &rows_of));
    Sealed {
        partition: rows[0].partition,
        bytes,
        facts,
    }
}

/// The distinct trace ids of the records, by when they first appear.
fn trace_ids(chunks: &[Arc<LogChunk>], rows: &[Row]) -> Vec<TraceId> {
    let mut first: HashMap<TraceId, Timestamp, BuildHasherDefault<AsIs>> = HashMap::default();
    for row in rows {
        let entry = &chunks[row.chunk as usize].entries[row.entry as usize];
        if let Some(id) = entry.trace_id {
            let at = first.entry(id).or_insert(row.at);
            *at = (*at).min(row.at);
        }
    }
    let mut ids: Vec<(Timestamp, TraceId)> = first.into_iter().map(|(id, at)| (at, id)).collect();
    ids.sort_unstable();
    ids.into_iter().map(|(_, id)| id).collect()
}
