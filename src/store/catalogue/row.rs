//! The row of a segment as bytes: docs/formats/catalogue.md. Only encodes; never touches a table.

use super::SegmentRow;
use crate::model::{ProjectId, Signal, Timestamp};
use crate::store::partition::{Partition, RetentionClass, Span};

const ROW_VERSION: u8 = 1;
const ROW_BYTES: usize = 69;

pub(super) fn encode_row(row: &SegmentRow) -> [u8; ROW_BYTES] {
    let mut out = [0; ROW_BYTES];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    let span = match row.partition.span() {
        Span::Day => 0,
        Span::Hour => 1,
    };
    let class = row.partition.class().0;
    put(&[ROW_VERSION, row.signal as u8, row.level, span, class]);
    put(&row.project.0.to_le_bytes());
    put(&row.partition.start().0.to_le_bytes());
    put(&row.rows.to_le_bytes());
    put(&row.first.0.to_le_bytes());
    put(&row.last.0.to_le_bytes());
    put(&row.bytes.to_le_bytes());
    put(&row.raw_bytes.to_le_bytes());
    put(&row.crc.to_le_bytes());
    put(&row.cleared.to_le_bytes());
    out
}

pub(super) fn decode_row(id: u64, bytes: &[u8]) -> Option<SegmentRow> {
    let bytes: &[u8; ROW_BYTES] = bytes.try_into().ok()?;
    let u64_at = |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| bytes[at + i]));
    let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
    if bytes[0] != ROW_VERSION {
        return None;
    }
    let span = match bytes[3] {
        0 => Span::Day,
        1 => Span::Hour,
        _ => return None,
    };
    Some(SegmentRow {
        id,
        signal: *Signal::ALL.get(usize::from(bytes[1]))?,
        level: bytes[2],
        project: ProjectId(u32_at(5)),
        partition: Partition::of(Timestamp(u64_at(9)), span, RetentionClass(bytes[4])),
        rows: u64_at(17),
        first: Timestamp(u64_at(25)),
        last: Timestamp(u64_at(33)),
        bytes: u64_at(41),
        raw_bytes: u64_at(49),
        crc: u32_at(57),
        cleared: u64_at(61),
    })
}
