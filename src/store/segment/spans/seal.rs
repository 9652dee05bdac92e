//! From heads to segments: reads the spans of requests once, in the order they came, brings them into
//! the order of traces and writes one segment per partition.

use std::sync::Arc;

use crate::model::otlp::GroupView;
use crate::model::{SpanChunk, SpanEntry, Timestamp};
use crate::store::Partition;

use super::super::{Grade, Sealed, raw_bytes};
use super::encode::SpanWriter;
use super::rows::{GroupNumbers, PARSED, Rows};

/// Writes the spans of `chunks` as one segment for each partition that they fall into.
pub(crate) fn seal(
    chunks: &[Arc<SpanChunk>],
    partition: impl Fn(Timestamp) -> Partition,
) -> Vec<Sealed> {
    let groups: Vec<Vec<GroupView<'_>>> = chunks
        .iter()
        .map(|chunk| chunk.group_views().expect(PARSED))
        .collect();
    let entries = || chunks.iter().flat_map(|chunk| &chunk.entries);
    let mut partitions: Vec<Partition> = Vec::new();
    for entry in entries() {
        let home = partition(entry.at);
        if partitions.last() != Some(&home) && !partitions.contains(&home) {
            partitions.push(home);
        }
    }
    partitions.sort_unstable();
    let seal = |home: &Partition| {
        let is_inside = |entry: &SpanEntry| partition(entry.at) == *home;
        let (bytes, facts) = seal_entries(chunks, &groups, is_inside);
        Sealed {
            partition: *home,
            bytes,
            facts,
        }
    };
    partitions.iter().map(seal).collect()
}

fn seal_entries(
    chunks: &[Arc<SpanChunk>],
    groups: &[Vec<GroupView<'_>>],
    is_inside: impl Fn(&SpanEntry) -> bool,
) -> (Vec<u8>, super::super::SegmentFacts) {
    let n = chunks.iter().map(|chunk| chunk.entries.len()).sum();
    let mut rows = Rows::with_capacity(n);
    let mut rows_of = vec![0; chunks.len()];
    for ((chunk, groups), n_rows) in chunks.iter().zip(groups).zip(&mut rows_of) {
        let mut numbers: Vec<Option<GroupNumbers>> = vec![None; groups.len()];
        for entry in chunk.entries.iter().filter(|entry| is_inside(entry)) {
            let group = entry.group as usize;
            let project = chunk.request.project;
            let view = &groups[group];
            let group = *numbers[group]
                .get_or_insert_with(|| rows.group(project, &view.resource, &view.scope));
            rows.push(chunk.encoded(entry), entry.at, &entry.trace_id, group);
            rows.count_last();
            *n_rows += 1;
        }
    }
    let mut writer = SpanWriter::new(Grade::Fresh);
    write_rows(&rows, &mut writer);
    writer.finish(&rows, raw_bytes(chunks, &rows_of))
}

/// Writes all rows; the writer has nothing of them left.
pub(super) fn write_rows(rows: &Rows<'_>, writer: &mut SpanWriter) {
    let order = order(rows);
    for trace in order.chunk_by(|a, b| trace_of(rows, *a) == trace_of(rows, *b)) {
        writer.trace(rows, trace);
    }
    writer.cut(rows);
}

fn trace_of(rows: &Rows<'_>, row: u32) -> u32 {
    rows.rows[row as usize].trace
}

/// The rows by trace id, then place in time, then arrival: sorted by counting, since a trace has
/// about fifty spans and they come nearly in order.
fn order(rows: &Rows<'_>) -> Vec<u32> {
    let mut traces: Vec<u32> = (0..rows.traces.len() as u32).collect();
    traces.sort_unstable_by_key(|trace| rows.traces.get(*trace));
    let mut ends = vec![0u32; traces.len()];
    for row in &rows.rows {
        ends[row.trace as usize] += 1;
    }
    let mut end = 0;
    for trace in &traces {
        let n_rows = &mut ends[*trace as usize];
        (end, *n_rows) = (end + *n_rows, end);
    }
    let mut order = vec![0; rows.rows.len()];
    for (number, row) in rows.rows.iter().enumerate() {
        let next = &mut ends[row.trace as usize];
        order[*next as usize] = number as u32;
        *next += 1;
    }
    let mut rest = &mut order[..];
    let mut start = 0;
    for trace in &traces {
        let end = ends[*trace as usize];
        let (own, others) = rest.split_at_mut((end - start) as usize);
        own.sort_by_key(|row| rows.rows[*row as usize].at);
        (rest, start) = (others, end);
    }
    order
}
