//! What is forgotten, and when: pure decisions over the rows of the catalogue. Whole partitions by
//! age once their newest record is past it, oldest first by bytes, never the head.

use std::collections::BTreeMap;

use super::catalogue::SegmentRow;
use super::config::Retention;
use super::disk::Space;
use super::partition::{Partition, Span};
use crate::model::time::{NANOS_PER_DAY, NANOS_PER_HOUR};
use crate::model::{Signal, Timestamp};

/// Below this many days of data in the byte budget, partitions are hours: dropping the oldest of
/// three days would take a third of everything.
const DAYS_FOR_DAYS: u64 = 3;

/// A step of the wall clock from one look to the next that is taken for a jump, not for time.
const CLOCK_JUMP_NS: u64 = NANOS_PER_HOUR;

/// How long the clock must then run without another jump to be believed.
const CLOCK_STEADY_NS: u64 = NANOS_PER_DAY;

/// The share of all bytes that may go by age at once while the clock is not believed.
const SUSPECT_DROP_PERCENT_MAX: u64 = 20;

/// Whether new partitions are days or hours, by what the byte budget holds at the rate so far.
pub(super) fn partition_span<'a>(
    rows: impl Iterator<Item = &'a SegmentRow>,
    max_bytes: Option<u64>,
) -> Span {
    let Some(max_bytes) = max_bytes else {
        return Span::Day;
    };
    let (mut bytes, mut first, mut last) = (0u64, Timestamp::MAX, Timestamp(0));
    for row in rows {
        bytes += row.bytes;
        first = first.min(row.first);
        last = last.max(row.last);
    }
    // An hour at least: a minute of a burst tells nothing about a day.
    let covered_ns = last.0.saturating_sub(first.0).max(NANOS_PER_HOUR);
    let three_days = u128::from(DAYS_FOR_DAYS * NANOS_PER_DAY);
    let bytes_of_three_days = u128::from(bytes) * three_days / u128::from(covered_ns);
    if bytes_of_three_days > u128::from(max_bytes) {
        Span::Hour
    } else {
        Span::Day
    }
}

/// Bytes that segments may take: the setting, and what the volume has room for before ingest would
/// be refused. A tenth of the volume is ours whatever else fills it.
pub(super) fn budget(max_bytes: Option<u64>, used: u64, space: Space, free_min: u64) -> u64 {
    let room = (used + space.free).saturating_sub(2 * free_min);
    room.max(space.total / 10)
        .min(max_bytes.unwrap_or(u64::MAX))
}

/// Segments whose partition is wholly past retention.
pub(super) fn past_age(rows: &[SegmentRow], now: Timestamp, policy: &Retention) -> Vec<u64> {
    let mut newest: BTreeMap<(Signal, Partition), Timestamp> = BTreeMap::new();
    for row in rows {
        let last = newest.entry((row.signal, row.partition)).or_default();
        *last = row.last.max(*last);
    }
    rows.iter()
        .filter(|row| newest[&(row.signal, row.partition)] < policy.cutoff(row.signal, now))
        .map(|row| row.id)
        .collect()
}

/// Segments to drop so that the rest takes at most `bytes_max`: oldest partitions as a whole; of the
/// last day or hour, the oldest segments.
pub(super) fn over_bytes(rows: &[SegmentRow], bytes_max: u64) -> Vec<u64> {
    let mut left: u64 = rows.iter().map(|row| row.bytes).sum();
    let Some(newest) = rows.iter().map(|row| row.partition.start()).max() else {
        return Vec::new();
    };
    let mut oldest_first: Vec<&SegmentRow> = rows.iter().collect();
    oldest_first.sort_by_key(|row| {
        let start = row.partition.start();
        // Within the newest start, by time; before it, partition by partition.
        let whole = (start < newest).then_some((row.signal, row.partition));
        (start, whole, row.last, row.id)
    });
    let mut dropped = Vec::new();
    let mut dropping: Option<(Signal, Partition)> = None;
    for row in oldest_first {
        let home = (row.signal, row.partition);
        let is_whole = row.partition.start() < newest && dropping == Some(home);
        if left <= bytes_max && !is_whole {
            break;
        }
        left -= row.bytes;
        dropping = Some(home);
        dropped.push(row.id);
    }
    dropped
}

/// Does not let a jump of the wall clock delete what is fresh (reliability.md D6): after one, age
/// may take at most a fifth of all bytes until the clock has run steadily for a day.
#[derive(Debug)]
pub(super) struct ClockGuard {
    seen: Timestamp,
    suspect_since: Option<Timestamp>,
}

impl ClockGuard {
    /// `seen`: the clock when it was last looked at, before a restart; 0: never.
    pub(super) fn new(seen: Timestamp) -> ClockGuard {
        ClockGuard {
            seen,
            suspect_since: None,
        }
    }

    pub(super) fn look(&mut self, now: Timestamp) {
        let jumped = self.seen.0 != 0 && now.0.abs_diff(self.seen.0) > CLOCK_JUMP_NS;
        self.seen = now;
        if jumped {
            self.suspect_since = Some(now);
        }
        let steady = |since: Timestamp| now >= since.saturating_add(CLOCK_STEADY_NS);
        if self.suspect_since.is_some_and(steady) {
            self.suspect_since = None;
        }
    }

    /// Whether `dropped` of `total` bytes may go by age now.
    pub(super) fn allows(&self, dropped: u64, total: u64) -> bool {
        let few = u128::from(dropped) * 100 <= u128::from(total * SUSPECT_DROP_PERCENT_MAX);
        self.suspect_since.is_none() || few
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
