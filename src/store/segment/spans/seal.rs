//! From heads to segments: sorts the spans of requests by trace and writes one segment per partition.

use std::sync::Arc;

use crate::model::otlp::{GroupView, Scratch};
use crate::model::{SpanChunk, Timestamp, TraceId};
use crate::store::Partition;

use super::super::{Sealed, raw_bytes};
use super::encode::{GroupNumbers, SpanWriter};

/// Why decoding a head's span again cannot fail.
const PARSED: &str = "SpanChunk::parse has read every span of the chunk";

/// A span's place in the order of the segments to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    partition: Partition,
    trace_id: TraceId,
    at: Timestamp,
    chunk: u32,
    entry: u32,
}

/// Writes the spans of `chunks` as one segment for each partition that they fall into.
pub(crate) fn seal(
    chunks: &[Arc<SpanChunk>],
    partition: impl Fn(Timestamp) -> Partition,
) -> Vec<Sealed> {
    let groups: Vec<Vec<GroupView<'_>>> = chunks
        .iter()
        .map(|chunk| chunk.group_views().expect(PARSED))
        .collect();
    let mut rows = Vec::new();
    for (number, chunk) in chunks.iter().enumerate() {
        rows.extend(chunk.entries.iter().enumerate().map(|(entry, span)| Row {
            partition: partition(span.at),
            trace_id: span.trace_id,
            at: span.at,
            chunk: number as u32,
            entry: entry as u32,
        }));
    }
    rows.sort_unstable();
    rows.chunk_by(|a, b| a.partition == b.partition)
        .map(|rows| seal_partition(chunks, &groups, rows))
        .collect()
}

fn seal_partition(
    chunks: &[Arc<SpanChunk>],
    groups: &[Vec<GroupView<'_>>],
    rows: &[Row],
) -> Sealed {
    let mut writer = SpanWriter::new();
    let mut numbers: Vec<Vec<Option<GroupNumbers>>> = groups
        .iter()
        .map(|groups| vec![None; groups.len()])
        .collect();
    let mut scratch = Scratch::default();
    let mut rows_of = vec![0; chunks.len()];
    for trace in rows.chunk_by(|a, b| a.trace_id == b.trace_id) {
        writer.start_trace(trace[0].trace_id, trace.len());
        for row in trace {
            let at = row.chunk as usize;
            let (chunk, groups) = (&chunks[at], &groups[at]);
            let entry = &chunk.entries[row.entry as usize];
            let group = *numbers[at][entry.group as usize].get_or_insert_with(|| {
                writer.group(chunk.request.project, &groups[entry.group as usize])
            });
            let span = chunk.view(entry, groups, &mut scratch).expect(PARSED);
            writer.push(&span, group);
            rows_of[at] += 1;
        }
    }
    let (bytes, facts) = writer.finish(raw_bytes(chunks, &rows_of));
    Sealed {
        partition: rows[0].partition,
        bytes,
        facts,
    }
}
