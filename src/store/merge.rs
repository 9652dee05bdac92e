//! Which segments become one: tiers of eight within a partition, copied block by block; then all of it
//! written anew in larger segments, when a tier is full or the partition's time is past. Pure; the keeper
//! does it.
//!
//! With 32k-row heads each record is copied once and rewritten once. What comes late is rewritten with
//! what came late before, again each time that has grown by a quarter.

use std::collections::BTreeMap;

use super::catalogue::SegmentRow;
use super::partition::Partition;
use crate::model::time::NANOS_PER_HOUR;
use crate::model::{ProjectId, Signal, Timestamp};

/// Segments of one tier that become one of the next (storage.md section 5).
const FAN_IN: usize = 8;

/// Rows of a segment that copying makes: one tier above a full head, and some more since heads are
/// filled by whole requests.
const COPIED_ROWS_MAX: u64 = 400_000;

/// Rows of a segment that was rewritten. 1 M take 20-40 MB while they are written, depending on what
/// they are; larger ones gain under 1 % of disk.
const FINAL_ROWS_MAX: u64 = 1_200_000;

/// A full tier is rewritten once it has this many rows, three times eight full heads: of the recorded
/// corpora 0.25 M rows at a time give 17.6 B per span and 13.5 B per log record, 1 M 17.5 and 13.1.
const FINAL_ROWS_MIN: u64 = FINAL_ROWS_MAX / 8 * 5;

/// Segments below this are copied first.
const COPIED_ROWS_MIN: u64 = COPIED_ROWS_MAX / FAN_IN as u64;

/// Rewritten segments below this may be rewritten with what comes late into a past partition.
const SMALL_ROWS: u64 = FINAL_ROWS_MAX / FAN_IN as u64;

/// Rows of such a segment for each row that it is joined with, at most: without it ten late records
/// would rewrite 150,000 with every head.
const JOINED_PER_ROW: u64 = 4;

/// The level of a segment that was rewritten.
pub(super) const LEVEL_FINAL: u8 = u8::MAX;

/// Segments read at once by one merge: bounds open directories in memory.
const INPUTS_MAX: usize = 64;

/// A partition is swept up this long after its end: late records have mostly come by then.
const SWEEP_AFTER_NS: u64 = NANOS_PER_HOUR;

/// Segments from heads in one partition from which on merging no longer rests: each keeps a file open.
const BACKLOG_MAX: usize = 64;

/// How segments become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Block by block, byte for byte: 0.08 s per 1M.
    Copy,
    /// Anew, in fewer bytes.
    Recode,
}

/// The next merge to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) way: Way,
    /// In ascending order.
    pub(super) ids: Vec<u64>,
}

type Homes<'r> = BTreeMap<(Signal, ProjectId, Partition), Vec<&'r SegmentRow>>;

fn homes<'r>(rows: impl Iterator<Item = &'r SegmentRow>) -> Homes<'r> {
    let mut homes = Homes::new();
    for row in rows {
        let home = (row.signal, row.project, row.partition);
        homes.entry(home).or_default().push(row);
    }
    homes
}

/// The next merge: what can be copied first, since that is quick and frees files.
pub(super) fn plan(
    rows: &[SegmentRow],
    now: Timestamp,
    is_mergeable: impl Fn(&SegmentRow) -> bool,
) -> Option<Plan> {
    let homes = homes(rows.iter().filter(|row| is_mergeable(row)));
    let plan = |way, ids: Option<Vec<u64>>| ids.map(|ids| Plan { way, ids });
    let copy = || homes.values().find_map(|rows| plan(Way::Copy, tier(rows)));
    let recode = || {
        homes.iter().find_map(|((_, _, partition), rows)| {
            let is_past = now >= partition.end().saturating_add(SWEEP_AFTER_NS);
            plan(Way::Recode, if is_past { sweep(rows) } else { full(rows) })
        })
    };
    copy().or_else(recode)
}

/// Whether some partition has more fresh segments than merging at leisure keeps up with, of those that
/// it may merge.
pub(super) fn is_behind(rows: &[SegmentRow], is_mergeable: impl Fn(&SegmentRow) -> bool) -> bool {
    let fresh = rows.iter().filter(|row| row.level == 0);
    let fresh = homes(fresh.filter(|row| is_mergeable(row)));
    fresh.values().any(|rows| rows.len() > BACKLOG_MAX)
}

/// Eight segments of one level, lowest level first.
fn tier(rows: &[&SegmentRow]) -> Option<Vec<u64>> {
    let mut levels: BTreeMap<u8, Vec<&SegmentRow>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.level < LEVEL_FINAL) {
        levels.entry(row.level).or_default().push(row);
    }
    levels
        .values()
        .filter(|rows| rows.len() >= FAN_IN)
        .map(|rows| &rows[..FAN_IN])
        .find(|rows| total_rows(rows) <= COPIED_ROWS_MAX)
        .map(ids)
}

/// The oldest segments that copying leaves alone, when there are enough for a whole one.
fn full(rows: &[&SegmentRow]) -> Option<Vec<u64>> {
    let left = |row: &&&SegmentRow| row.level < LEVEL_FINAL && rows_of(row) >= COPIED_ROWS_MIN;
    let taken = take(rows.iter().filter(left).copied());
    (total_rows(&taken) >= FINAL_ROWS_MIN).then(|| ids(&taken))
}

/// Everything that was not rewritten, one segment alone as well; with it what was and is small, smallest
/// first, as long as that is not much more than what it joins.
fn sweep(rows: &[&SegmentRow]) -> Option<Vec<u64>> {
    let is_new = |row: &&&SegmentRow| row.level < LEVEL_FINAL;
    let mut taken = take(rows.iter().filter(is_new).copied());
    if taken.is_empty() {
        return None;
    }
    let is_small = |row: &&&SegmentRow| row.level == LEVEL_FINAL && rows_of(row) < SMALL_ROWS;
    let mut small: Vec<&SegmentRow> = rows.iter().filter(is_small).copied().collect();
    small.sort_by_key(|row| rows_of(row));
    for row in small {
        let n = total_rows(&taken);
        let fits = n + rows_of(row) <= FINAL_ROWS_MAX && taken.len() < INPUTS_MAX;
        if !fits || rows_of(row) > JOINED_PER_ROW * n {
            break;
        }
        taken.push(row);
    }
    taken.sort_by_key(|row| row.id);
    Some(ids(&taken))
}

/// As many as make one segment, the first in any case.
fn take<'r>(rows: impl Iterator<Item = &'r SegmentRow>) -> Vec<&'r SegmentRow> {
    let (mut taken, mut n) = (Vec::new(), 0);
    for row in rows {
        let fits = n + rows_of(row) <= FINAL_ROWS_MAX && taken.len() < INPUTS_MAX;
        if taken.is_empty() || fits {
            n += rows_of(row);
            taken.push(row);
        }
    }
    taken
}

/// A sample takes less than a hundredth of what a record does: the bounds here count so many as one.
const SAMPLES_PER_ROW: u64 = 256;

fn rows_of(row: &SegmentRow) -> u64 {
    match row.signal {
        Signal::Logs | Signal::Traces => row.rows,
        Signal::Metrics => row.rows.div_ceil(SAMPLES_PER_ROW),
    }
}

fn total_rows(rows: &[&SegmentRow]) -> u64 {
    rows.iter().map(|row| rows_of(row)).sum()
}

fn ids(rows: &[&SegmentRow]) -> Vec<u64> {
    rows.iter().map(|row| row.id).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::START;
    use super::super::partition::{RetentionClass, Span};
    use super::*;

    fn row(id: u64, level: u8, rows: u64, day: u64) -> SegmentRow {
        let first = START.saturating_add(day * 24 * NANOS_PER_HOUR);
        SegmentRow {
            id,
            signal: Signal::Logs,
            project: ProjectId::DEFAULT,
            partition: Partition::of(first, Span::Day, RetentionClass::default()),
            level,
            rows,
            first,
            last: first,
            bytes: rows,
            raw_bytes: rows,
            crc: 0,
            cleared: 0,
        }
    }

    #[track_caller]
    fn check(rows: &[SegmentRow], days_later: u64, expect: Option<(Way, &[u64])>) {
        let now = START.saturating_add(days_later * 24 * NANOS_PER_HOUR);
        let plan = plan(rows, now, |_| true);
        let plan = plan.as_ref().map(|plan| (plan.way, &plan.ids[..]));
        assert_eq!(plan, expect);
    }

    fn rows(ids: std::ops::Range<u64>, level: u8, n: u64, day: u64) -> Vec<SegmentRow> {
        ids.map(|id| row(id, level, n, day)).collect()
    }

    #[test]
    fn eight_of_a_level_and_partition_merge() {
        check(&rows(0..7, 0, 32_768, 0), 0, None);
        check(
            &rows(0..9, 0, 33_000, 0),
            0,
            Some((Way::Copy, &[0, 1, 2, 3, 4, 5, 6, 7])),
        );
        let mut mixed = rows(0..7, 0, 32_768, 0);
        mixed.push(row(7, 1, 32_768, 0));
        mixed.push(row(8, 0, 32_768, 1));
        check(&mixed, 0, None);
    }

    #[test]
    fn a_full_tier_is_rewritten_once() {
        check(&rows(0..2, 1, 264_000, 0), 0, None);
        let three = rows(0..3, 1, 264_000, 0);
        check(&three, 0, Some((Way::Recode, &[0, 1, 2])));
        // Of the smaller heads of a small machine.
        let six = rows(0..6, 1, 131_000, 0);
        check(&six, 0, Some((Way::Recode, &[0, 1, 2, 3, 4, 5])));
        let five = rows(0..5, 1, 264_000, 0);
        check(&five, 0, Some((Way::Recode, &[0, 1, 2, 3])));
        check(&rows(0..9, LEVEL_FINAL, 1 << 20, 0), 0, None);
        check(&rows(0..9, LEVEL_FINAL, 1 << 20, 0), 9, None);
    }

    #[test]
    fn leftovers_of_a_past_day_are_rewritten_once() {
        let mut past = rows(0..3, 0, 100, 0);
        past.push(row(3, 1, 9000, 0));
        check(&past, 0, None);
        check(&past, 2, Some((Way::Recode, &[0, 1, 2, 3])));
        check(&rows(0..1, 3, 9300, 0), 2, Some((Way::Recode, &[0])));
        check(&rows(0..2, LEVEL_FINAL, 9300, 0), 2, None);
        let late = [row(0, LEVEL_FINAL, 9300, 0), row(1, 0, 2400, 0)];
        check(&late, 2, Some((Way::Recode, &[0, 1])));
        let few = [row(0, LEVEL_FINAL, 9300, 0), row(1, 0, 100, 0)];
        check(&few, 2, Some((Way::Recode, &[1])));
        // An earlier version merged by copying up to this size.
        check(&rows(0..2, 2, 2 << 20, 0), 2, Some((Way::Recode, &[0])));
    }

    #[test]
    fn merging_hurries_when_files_pile_up() {
        assert!(!is_behind(&rows(0..64, 0, 10, 0), |_| true));
        assert!(is_behind(&rows(0..65, 0, 10, 0), |_| true));
        assert!(!is_behind(&rows(0..65, 0, 10, 0), |row| row.id != 7));
        assert!(!is_behind(&rows(0..200, 1, 10, 0), |_| true));
    }

    #[test]
    fn what_comes_late_does_not_rewrite_the_same_rows_each_time() {
        const TIMES: u64 = 400;
        let now = START.saturating_add(2 * 24 * NANOS_PER_HOUR);
        let mut segments = vec![row(0, LEVEL_FINAL, SMALL_ROWS - 1, 0)];
        let mut written = 0;
        for id in 1..=TIMES {
            segments.push(row(2 * id, 0, 10, 0));
            while let Some(plan) = plan(&segments, now, |_| true) {
                let is_input = |row: &SegmentRow| plan.ids.contains(&row.id);
                let (inputs, rest): (Vec<_>, _) = segments.into_iter().partition(is_input);
                let n = total_rows(&inputs.iter().collect::<Vec<_>>());
                segments = rest;
                segments.push(row(2 * id + 1, LEVEL_FINAL, n, 0));
                written += n;
            }
        }
        let late = TIMES * 10;
        let all: u64 = segments.iter().map(|row| row.rows).sum();
        assert_eq!(all, late + SMALL_ROWS - 1);
        assert!(written < 20 * late, "{written} rows for {late}");
        assert!(segments.len() < 8, "{} segments", segments.len());
    }

    #[test]
    fn every_plan_makes_progress_until_none_is_left() {
        let mut segments = rows(0..100, 0, 33_000, 0);
        let mut next = 100;
        let now = START.saturating_add(9 * 24 * NANOS_PER_HOUR);
        while let Some(plan) = plan(&segments, now, |_| true) {
            let (inputs, rest): (Vec<_>, _) =
                segments.into_iter().partition(|s| plan.ids.contains(&s.id));
            let highest = inputs.iter().map(|s| s.level).max().expect("some");
            let level = match plan.way {
                Way::Copy => highest + 1,
                Way::Recode => LEVEL_FINAL,
            };
            segments = rest;
            let n = total_rows(&inputs.iter().collect::<Vec<_>>());
            segments.push(row(next, level, n, 0));
            next += 1;
            assert!(next < 200, "it never ends");
        }
        assert_eq!(segments.iter().map(|s| s.rows).sum::<u64>(), 3_300_000);
        assert!(segments.len() <= 4, "{} left", segments.len());
        assert!(segments.iter().all(|s| s.level == LEVEL_FINAL));
    }
}
