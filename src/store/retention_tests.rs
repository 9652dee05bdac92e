//! Retention against a model, over random segments.

use std::time::Duration;

use proptest::prelude::*;

use super::super::fixture::START;
use super::super::partition::RetentionClass;
use super::*;
use crate::model::ProjectId;

const HOUR: u64 = NANOS_PER_HOUR;

fn row(id: u64, signal: Signal, span: Span, first: u64, hours: u64, bytes: u64) -> SegmentRow {
    let first = START.saturating_add(first * HOUR);
    let partition = Partition::of(first, span, RetentionClass::default());
    SegmentRow {
        id,
        signal,
        project: ProjectId::DEFAULT,
        partition,
        level: 0,
        rows: 1,
        first,
        last: first
            .saturating_add(hours * HOUR)
            .min(partition.end().saturating_sub(1)),
        bytes,
        raw_bytes: bytes,
        crc: 0,
        cleared: 0,
    }
}

fn rows() -> impl Strategy<Value = Vec<SegmentRow>> {
    let one = (any::<bool>(), any::<bool>(), 0u64..200, 0u64..24, 1u64..100);
    prop::collection::vec(one, 0..40).prop_map(|rows| {
        let make = |(id, (logs, day, first, hours, bytes)): (usize, _)| {
            let signal = if logs { Signal::Logs } else { Signal::Traces };
            let span = if day { Span::Day } else { Span::Hour };
            row(id as u64, signal, span, first, hours, bytes)
        };
        rows.into_iter().enumerate().map(make).collect()
    })
}

use super::super::config::Retention;

fn policy(traces_hours: u64, logs_hours: u64) -> Retention {
    let hours = |n| Some(Duration::from_secs(n * 3600));
    Retention {
        traces: hours(traces_hours),
        logs: hours(logs_hours),
        metrics: None,
        max_bytes: None,
        services: Vec::new(),
    }
}

proptest! {
    #[test]
    fn age_drops_whole_partitions_and_nothing_younger(
        rows in rows(), now in 0u64..400, traces in 1u64..100, logs in 1u64..100,
    ) {
        let now = START.saturating_add(now * HOUR);
        let policy = policy(traces, logs);
        let dropped = past_age(&rows, |row| policy.cutoff(row.signal, now));
        for row in &rows {
            let of_partition = rows
                .iter()
                .filter(|r| (r.signal, r.partition) == (row.signal, row.partition));
            let newest = of_partition.map(|r| r.last).max().expect("row is one of them");
            let is_past = newest < policy.cutoff(row.signal, now);
            prop_assert_eq!(dropped.contains(&row.id), is_past);
        }
    }

    #[test]
    fn bytes_drop_the_oldest_until_the_rest_fits(rows in rows(), bytes_max in 0u64..3000) {
        let dropped = over_bytes(&rows, bytes_max);
        let gone: Vec<_> = rows.iter().filter(|r| dropped.contains(&r.id)).collect();
        let kept: Vec<_> = rows.iter().filter(|r| !dropped.contains(&r.id)).collect();
        prop_assert!(kept.iter().map(|r| r.bytes).sum::<u64>() <= bytes_max);
        let start = |r: &&&SegmentRow| r.partition.start();
        if let (Some(newest_gone), Some(oldest_kept)) =
            (gone.iter().map(|r| start(&r)).max(), kept.iter().map(|r| start(&r)).min())
        {
            prop_assert!(newest_gone <= oldest_kept, "an older partition outlives a newer one");
        }
        // Not more than needed: without the last thing dropped (a partition, or one segment of the
        // newest day) the rest would be too much.
        if let Some(last) = dropped.last().and_then(|id| rows.iter().find(|r| r.id == *id)) {
            let newest = rows.iter().map(|r| r.partition.start()).max().expect("one was dropped");
            let step: u64 = if last.partition.start() < newest {
                let home = (last.signal, last.partition);
                gone.iter().filter(|r| (r.signal, r.partition) == home).map(|r| r.bytes).sum()
            } else {
                last.bytes
            };
            prop_assert!(kept.iter().map(|r| r.bytes).sum::<u64>() + step > bytes_max);
        }
    }
}

#[track_caller]
fn check_guard(looks: &[(u64, &str)], dropped_percent: u64) {
    let mut guard = ClockGuard::new(Timestamp(0));
    for (hours_times_ten, expect) in looks {
        guard.look(
            START.saturating_add(hours_times_ten * HOUR / 10),
            Timestamp(0),
        );
        let allowed = guard.allows(dropped_percent, 100);
        assert_eq!(
            if allowed { "drops" } else { "holds" },
            *expect,
            "at {hours_times_ten}"
        );
    }
}

#[test]
fn jump_of_the_clock_holds_large_drops_until_it_has_run_steadily_for_a_day() {
    let ten_years = 10 * 365 * 240;
    let mut looks = vec![(0, "drops"), (5, "drops"), (ten_years, "holds")];
    looks.extend((1..48).map(|half_hours| (ten_years + half_hours * 5, "holds")));
    looks.push((ten_years + 240, "drops"));
    check_guard(&looks, 21);
}

#[test]
fn small_drops_go_on_after_a_jump_and_a_jump_back_starts_anew() {
    check_guard(&[(0, "drops"), (240, "drops"), (10, "drops")], 20);
    check_guard(
        &[(240, "drops"), (0, "holds"), (240, "holds"), (245, "holds")],
        90,
    );
}

/// Whether nearly everything may go after a gap before the first look; then at the next looks, each
/// with a stamp of a sender in hours from the clock.
#[track_caller]
fn check_stop(gap_hours: i64, stamps: &[(i64, &str)]) {
    let hours = |at: Timestamp, n: i64| Timestamp(at.0.wrapping_add_signed(n * HOUR as i64));
    let now = hours(START, gap_hours);
    let mut guard = ClockGuard::new(START);
    guard.look(now, Timestamp(0));
    assert!(gap_hours.abs() <= 1 || !guard.allows(90, 100));
    for (step, (stamp, expect)) in stamps.iter().enumerate() {
        let now = now.saturating_add(step as u64 * HOUR / 60);
        guard.look(now, hours(now, *stamp));
        let state = if guard.allows(90, 100) {
            "drops"
        } else {
            "holds"
        };
        assert_eq!(state, *expect, "look {step}");
    }
}

#[test]
fn weekend_of_rest_holds_nothing_back_once_senders_agree_with_the_clock() {
    check_stop(
        60,
        &[(-60, "holds"), (-60, "holds"), (0, "drops"), (0, "drops")],
    );
    check_stop(1, &[(-1, "drops")]);
}

#[test]
fn wrong_clock_at_a_start_is_not_proven_by_senders_of_the_same_machine() {
    check_stop(10 * 365 * 24, &[(0, "holds"), (0, "holds")]);
    check_stop(-48, &[(0, "holds")]);
    // While running, nobody's word is enough.
    let mut guard = ClockGuard::new(START);
    guard.look(START, START);
    let later = START.saturating_add(48 * HOUR);
    guard.look(later, later);
    assert!(!guard.allows(21, 100) && guard.allows(20, 100));
    guard.look(later.saturating_add(HOUR / 2), later);
    assert!(!guard.allows(21, 100));
}

#[test]
fn wild_clocks_make_a_bounded_number_of_partitions() {
    let days = |n: u64| Timestamp(n * NANOS_PER_DAY + 5);
    let times: Vec<Timestamp> = (0..500).map(days).collect();
    let floor = partition_floor(&times, Span::Day);
    assert_eq!(floor, Timestamp(436 * NANOS_PER_DAY));
    let kept = times.iter().map(|at| (*at).max(floor).0 / NANOS_PER_DAY);
    let partitions: BTreeSet<u64> = kept.collect();
    assert_eq!(partitions.len(), PARTITIONS_PER_SEAL_MAX);
    assert_eq!(partition_floor(&times[..9], Span::Day), Timestamp(0));
    assert_eq!(partition_floor(&[], Span::Hour), Timestamp(0));
}

#[test]
fn partitions_are_hours_where_the_budget_holds_under_three_days() {
    let day = |bytes| row(1, Signal::Logs, Span::Day, 0, 23, bytes);
    let check = |bytes, max, expect| {
        let rows = [day(bytes)];
        assert_eq!(partition_span(rows.iter(), max), expect);
    };
    check(1000, None, Span::Day);
    check(1000, Some(4000), Span::Day);
    check(1000, Some(2000), Span::Hour);
    assert_eq!(partition_span([].iter(), Some(0)), Span::Day);
}

#[test]
fn volume_bounds_the_budget_but_leaves_us_a_tenth_of_it() {
    let space = |free| Space { free, total: 1000 };
    assert_eq!(budget(None, 300, space(500), 50), 700);
    assert_eq!(budget(Some(400), 300, space(500), 50), 400);
    assert_eq!(budget(None, 300, space(20), 50), 220);
    assert_eq!(budget(None, 150, space(0), 100), 100);
}
