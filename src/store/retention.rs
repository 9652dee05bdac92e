//! What is forgotten, and when: pure decisions over the rows of the catalogue. Whole partitions by
//! age once their newest record is past it, oldest first by bytes, never the head.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::SegmentRow;
use super::disk::Space;
use super::partition::{Partition, Span};
use crate::model::time::{NANOS_PER_DAY, NANOS_PER_HOUR};
use crate::model::{Signal, Timestamp};

/// Below this many days of data in the byte budget, partitions are hours: dropping the oldest of
/// three days would take a third of everything.
const DAYS_FOR_DAYS: u64 = 3;

/// Partitions that one head is put into: more than two months of late data, and 64 files at worst.
const PARTITIONS_PER_SEAL_MAX: usize = 64;

/// A stop longer than this is taken for a wrong clock even if senders agree with it: they may run on
/// the same machine.
const STOP_NS_MAX: u64 = 30 * NANOS_PER_DAY;

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

/// A head is never put into older partitions than this: its newest ones. Senders with wild clocks would
/// make a file per day of their imagination, where retention does not refuse them. What is older goes
/// into the oldest of these and leaves with it, or earlier.
pub(super) fn partition_floor(times: &[Timestamp], span: Span) -> Timestamp {
    let start = |at: &Timestamp| Timestamp(at.0 - at.0 % span.duration_ns());
    let starts: BTreeSet<Timestamp> = times.iter().map(start).collect();
    let kept = starts.iter().rev().take(PARTITIONS_PER_SEAL_MAX);
    let floor = kept.min().copied().unwrap_or_default();
    let clamped = starts.len().saturating_sub(PARTITIONS_PER_SEAL_MAX);
    if clamped > 0 {
        tracing::warn!(
            partitions = clamped,
            "records far apart in time share a partition"
        );
    }
    floor
}

/// Segments whose partition is wholly past retention. `cutoff` is what a segment's records must not
/// be older than.
pub(super) fn past_age(rows: &[SegmentRow], cutoff: impl Fn(&SegmentRow) -> Timestamp) -> Vec<u64> {
    let mut newest: BTreeMap<(Signal, Partition), Timestamp> = BTreeMap::new();
    for row in rows {
        let last = newest.entry((row.signal, row.partition)).or_default();
        *last = row.last.max(*last);
    }
    rows.iter()
        .filter(|row| newest[&(row.signal, row.partition)] < cutoff(row))
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

/// Does not let a jump of the wall clock delete what is fresh (reliability.md D6): while the clock is
/// doubted, age may take at most a fifth of all bytes at once.
///
/// A jump between two looks is doubted for a day. A gap before the first look is a stop as a rule,
/// an ordinary weekend: it is doubted until senders' own stamps agree with the clock.
#[derive(Debug)]
pub(super) struct ClockGuard {
    seen: Timestamp,
    is_first: bool,
    doubt: Option<Doubt>,
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Timestamp,
    /// Senders can resolve it.
    is_stop: bool,
}

impl ClockGuard {
    /// `seen`: the clock when it was last looked at, before a restart; 0: never.
    pub(super) fn new(seen: Timestamp) -> ClockGuard {
        ClockGuard {
            seen,
            is_first: true,
            doubt: None,
        }
    }

    /// `newest_stamp`: the newest time that a sender gave to a record since the start; 0: none yet.
    pub(super) fn look(&mut self, now: Timestamp, newest_stamp: Timestamp) {
        let jumped = self.seen.0 != 0 && now.0.abs_diff(self.seen.0) > CLOCK_JUMP_NS;
        let forward = now.0.saturating_sub(self.seen.0);
        let is_stop = self.is_first && forward > 0 && forward <= STOP_NS_MAX;
        self.seen = now;
        self.is_first = false;
        if jumped {
            self.doubt = Some(Doubt {
                since: now,
                is_stop,
            });
        }
        let is_over = |doubt: Doubt| {
            let agrees = now.0.abs_diff(newest_stamp.0) <= CLOCK_JUMP_NS;
            (doubt.is_stop && agrees) || now >= doubt.since.saturating_add(CLOCK_STEADY_NS)
        };
        if self.doubt.is_some_and(is_over) {
            self.doubt = None;
        }
    }

    /// Whether `dropped` of `total` bytes may go by age now.
    pub(super) fn allows(&self, dropped: u64, total: u64) -> bool {
        let few = u128::from(dropped) * 100 <= u128::from(total * SUSPECT_DROP_PERCENT_MAX);
        self.doubt.is_none() || few
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
