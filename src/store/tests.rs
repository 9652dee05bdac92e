//! The store as a whole, over the simulated disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::disk::Space;
use super::disk::sim::{Fault, World};
use super::fixture::{SECOND, START, batch, config, numbers, sim};
use super::*;
use crate::model::{Signal, Timestamp};

fn opened(world: &Arc<World>, now: Timestamp) -> Opened {
    open(config(), sim(world), now).expect("the disk is good")
}

fn all(numbers: std::ops::Range<u64>, rows: u64) -> BTreeMap<u64, u64> {
    numbers.map(|n| (n, rows)).collect()
}

#[test]
fn appended_records_are_visible_at_once_and_after_a_kill() {
    let world = World::new();
    let mut first = opened(&world, START);
    for n in 0..10 {
        for signal in Signal::RECORDS {
            let batch = batch(signal, n, 3, START);
            first.writer.append(batch).expect("accepted");
            assert_eq!(
                numbers(&first.store, signal).expect("readable"),
                all(0..n + 1, 3)
            );
        }
    }
    let world = world.restart_after_kill();
    let second = opened(&world, START);
    assert_eq!(second.recovery.replayed_frames, 20);
    assert_eq!(second.recovery.keys.len(), 20);
    assert!(second.recovery.log_damage.is_empty());
    for signal in Signal::RECORDS {
        assert_eq!(
            numbers(&second.store, signal).expect("readable"),
            all(0..10, 3)
        );
    }
}

#[test]
fn compressed_requests_are_logged_as_they_came() {
    let world = World::new();
    let mut first = opened(&world, START);
    let mut batch = batch(Signal::Logs, 1, 500, START);
    let BatchChunk::Logs(chunk) = &batch.chunk else {
        unreachable!("made as logs")
    };
    let wire = zstd::encode_all(&chunk.request.bytes[..], 1).expect("memory");
    let wire_bytes = wire.len() as u64;
    batch.wire = Some((Encoding::Zstd, wire.into()));
    first.writer.append(batch).expect("accepted");
    assert!(first.store.stats().wal_bytes < wire_bytes + 200);
    let second = opened(&world.restart_after_kill(), START);
    assert_eq!(
        numbers(&second.store, Signal::Logs).expect("readable"),
        all(1..2, 500)
    );
}

#[test]
fn sealed_heads_become_segments_and_the_log_goes() {
    let world = World::new();
    let mut store = opened(&world, START);
    for n in 0..4 {
        store
            .writer
            .append(batch(Signal::Logs, n, 20_000, START))
            .expect("accepted");
    }
    store
        .writer
        .append(batch(Signal::Traces, 9, 10, START))
        .expect("accepted");
    while store.sealer.step().expect("a good disk") {}
    let late = START.saturating_add(700 * SECOND);
    store.writer.tick(late).expect("a good disk");
    while store.sealer.step().expect("a good disk") {}
    store.writer.tick(late).expect("a good disk");
    let stats = store.store.stats();
    assert_eq!(stats.signals[Signal::Logs as usize].segments[0], 2);
    assert_eq!(stats.signals[Signal::Traces as usize].segments[0], 1);
    assert_eq!(stats.wal_bytes, wal::FILE_HEADER_BYTES);
    assert_eq!(
        numbers(&store.store, Signal::Logs).expect("readable"),
        all(0..4, 20_000)
    );

    let again = opened(&world.restart_after_kill(), late);
    assert_eq!(again.recovery.replayed_frames, 0);
    assert_eq!(
        again.recovery.keys,
        [],
        "all are older than the dedup window"
    );
    assert_eq!(
        numbers(&again.store, Signal::Logs).expect("readable"),
        all(0..4, 20_000)
    );
    assert_eq!(
        numbers(&again.store, Signal::Traces).expect("readable"),
        all(9..10, 10)
    );
}

#[test]
fn keys_of_sealed_requests_survive_the_log() {
    let world = World::new();
    let mut store = opened(&world, START);
    store
        .writer
        .append(batch(Signal::Logs, 7, 40_000, START))
        .expect("accepted");
    while store.sealer.step().expect("a good disk") {}
    store.writer.tick(START).expect("a good disk");
    let soon = START.saturating_add(60 * SECOND);
    let again = opened(&world.restart_after_kill(), soon);
    assert_eq!(again.recovery.replayed_frames, 0);
    assert_eq!(again.recovery.keys, [(7, START)]);
}

#[test]
fn full_disk_refuses_by_name_and_resumes_by_itself() {
    let world = World::new();
    let mut store = opened(&world, START);
    store
        .writer
        .append(batch(Signal::Logs, 0, 1, START))
        .expect("accepted");
    let space = |free| Space {
        free,
        total: 10_000_000_000,
    };
    world.set_space(space(400_000_000));
    store.writer.tick(START).expect("looking is no write");
    let refused = store.writer.append(batch(Signal::Logs, 1, 1, START));
    assert!(matches!(
        refused,
        Err(StoreError::DiskFull {
            free: 400_000_000,
            min: 500_000_000
        })
    ));
    assert_eq!(
        numbers(&store.store, Signal::Logs).expect("readable"),
        all(0..1, 1)
    );
    world.set_space(space(600_000_000));
    store.writer.tick(START).expect("looking is no write");
    store
        .writer
        .append(batch(Signal::Logs, 1, 1, START))
        .expect("accepted again");
    assert_eq!(
        numbers(&store.store, Signal::Logs).expect("readable"),
        all(0..2, 1)
    );
}

#[test]
fn write_that_finds_no_room_leaves_nothing_behind() {
    let world = World::new();
    let mut store = opened(&world, START);
    store
        .writer
        .append(batch(Signal::Logs, 0, 1, START))
        .expect("accepted");
    world.inject(0, Fault::Enospc);
    let refused = store.writer.append(batch(Signal::Logs, 1, 1, START));
    assert!(
        matches!(refused, Err(StoreError::DiskFull { .. })),
        "{refused:?}"
    );
    assert!(!store.store.is_poisoned());
    store.writer.tick(START).expect("there is room again");
    store
        .writer
        .append(batch(Signal::Logs, 2, 1, START))
        .expect("accepted");
    let again = opened(&world.restart_after_kill(), START);
    assert!(again.recovery.log_damage.is_empty());
    assert_eq!(again.recovery.torn_bytes, 0);
    let found = numbers(&again.store, Signal::Logs).expect("readable");
    assert_eq!(found, BTreeMap::from([(0, 1), (2, 1)]));
}

#[test]
fn damaged_middle_of_the_log_is_told_and_the_rest_is_kept() {
    let world = World::new();
    let mut store = opened(&world, START);
    for n in 0..10 {
        store
            .writer
            .append(batch(Signal::Logs, n, 1, START))
            .expect("accepted");
        store.writer.sync().expect("a good disk");
    }
    drop(store);
    let world = world.restart_after_kill();
    let (path, bytes) = world
        .files()
        .into_iter()
        .find(|(path, _)| path.starts_with("/data/wal"))
        .expect("the log");
    world.corrupt(&path, bytes / 2, 0x10);
    let again = opened(&world, START);
    let found = numbers(&again.store, Signal::Logs).expect("readable");
    assert_eq!(found.len(), 9);
    assert_eq!(again.recovery.log_damage.len(), 1);
    assert_eq!(again.recovery.log_damage[0].frames, 1);
    assert_eq!(again.store.stats().quarantined, 1);
}

#[test]
fn damaged_or_missing_segments_are_quarantined_and_the_rest_is_served() {
    let world = World::new();
    let mut store = opened(&world, START);
    for n in 0..3 {
        store
            .writer
            .append(batch(Signal::Logs, n, 40_000, START))
            .expect("accepted");
        while store.sealer.step().expect("a good disk") {}
    }
    store.writer.tick(START).expect("a good disk");
    drop(store);
    let world = world.restart_after_kill();
    let segments: Vec<_> = world
        .files()
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|e| e == "seg"))
        .collect();
    world.truncate(&segments[0].0, segments[0].1 / 2);
    let again = opened(&world, START);
    assert_eq!(again.recovery.quarantined.len(), 1);
    assert_eq!(
        numbers(&again.store, Signal::Logs).expect("readable"),
        all(1..3, 40_000)
    );
    let range = crate::model::TimeRange::ALL;
    assert_eq!(again.store.snapshot().damaged(Signal::Logs, range).len(), 1);
    assert_eq!(
        again.store.snapshot().damaged(Signal::Traces, range).len(),
        0
    );
    let third = opened(&world.restart_after_kill(), START);
    assert_eq!(third.recovery.quarantined.len(), 0, "told once");
    assert_eq!(third.store.stats().quarantined, 1, "and remembered");
}

#[test]
fn small_segments_merge_and_keep_every_record() {
    let world = World::new();
    let mut store = opened(&world, START);
    for n in 0..8 {
        store
            .writer
            .append(batch(Signal::Logs, n, 33_000, START))
            .expect("accepted");
        while store.sealer.step().expect("a good disk") {}
    }
    let before = store.store.snapshot();
    let round = store.keeper.maintain(START).expect("a good disk");
    assert_eq!((round.merged, round.dropped), (1, 0));
    let stats = store.store.stats();
    assert_eq!(stats.signals[Signal::Logs as usize].segments, [0, 1, 0, 0]);
    assert_eq!(
        numbers(&store.store, Signal::Logs).expect("readable"),
        all(0..8, 33_000)
    );
    let units = before.logs(crate::model::TimeRange::ALL, &LogPrune::default());
    let rows: u64 = units.map(|unit| unit.rows()).sum();
    assert_eq!(
        rows,
        8 * 33_000,
        "an older snapshot still reads what was merged away"
    );
    drop(store);
    let again = opened(&world.restart_after_kill(), START);
    assert_eq!(again.recovery.deleted_files, 0);
    assert_eq!(
        numbers(&again.store, Signal::Logs).expect("readable"),
        all(0..8, 33_000)
    );
}

#[test]
fn verify_names_every_damaged_file() {
    let world = World::new();
    let mut store = opened(&world, START);
    for n in 0..2 {
        store
            .writer
            .append(batch(Signal::Logs, n, 40_000, START))
            .expect("accepted");
        while store.sealer.step().expect("a good disk") {}
    }
    for n in 2..20 {
        store
            .writer
            .append(batch(Signal::Logs, n, 10, START))
            .expect("accepted");
    }
    store.writer.close().expect("a good disk");
    drop((store.store, store.sealer, store.keeper));
    let world = world.restart_after_kill();
    let dir = std::path::Path::new("/data");
    let found = verify(&sim(&world), dir).expect("whole");
    assert_eq!(
        (found.segments, found.records, found.problems),
        (2, 80_000, vec![])
    );
    assert_eq!(found.log_frames, 18);
    for (path, bytes) in world.files() {
        let world_file = path.extension().is_some_and(|e| e == "seg" || e == "log");
        if world_file {
            world.corrupt(&path, bytes / 3, 1);
        }
    }
    let found = verify(&sim(&world), dir).expect("the catalogue is whole");
    assert_eq!(found.problems.len(), 3, "{:?}", found.problems);
}

#[test]
fn second_process_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = Config {
        dir: dir.path().to_owned(),
        ..config()
    };
    let first = open(config.clone(), Disk::Real, START).expect("an empty directory");
    let second = open(config.clone(), Disk::Real, START);
    assert!(matches!(second, Err(StoreError::Locked { .. })));
    drop(first);
    open(config, Disk::Real, START).expect("the lock is free again");
}

#[test]
fn real_disk_keeps_what_the_simulated_one_does() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = Config {
        dir: dir.path().to_owned(),
        ..config()
    };
    let mut first = open(config.clone(), Disk::Real, START).expect("an empty directory");
    for n in 0..20 {
        for signal in Signal::RECORDS {
            first
                .writer
                .append(batch(signal, n, 2000, START))
                .expect("accepted");
        }
        while first.sealer.step().expect("a good disk") {}
    }
    first.keeper.maintain(START).expect("a good disk");
    first.writer.tick(START).expect("a good disk");
    drop(first);
    let second = open(config, Disk::Real, START).expect("a good directory");
    for signal in Signal::RECORDS {
        assert_eq!(
            numbers(&second.store, signal).expect("readable"),
            all(0..20, 2000)
        );
    }
}

#[test]
fn summaries_and_red_count_the_same_in_heads_and_segments() {
    use crate::model::TimeRange;
    let world = World::new();
    let mut store = opened(&world, START);
    let figures = |store: &Store| {
        let (mut traces, mut spans, mut counted) = (0, 0, 0);
        let snapshot = store.snapshot();
        for summaries in snapshot.summaries(TimeRange::ALL) {
            for row in &summaries.read().expect("readable").rows {
                (traces, spans) = (traces + 1, spans + row.spans);
            }
        }
        let mut row = |row: &crate::model::red::RedRow<'_>| counted += row.cell.count;
        snapshot.red(TimeRange::ALL, &mut row).expect("readable");
        (traces, spans, counted)
    };
    for n in 0..30 {
        store
            .writer
            .append(batch(Signal::Traces, n, 100, START))
            .expect("accepted");
    }
    let in_head = figures(&store.store);
    assert_eq!(in_head, (30, 3000, 3000));
    store.writer.seal(Signal::Traces).expect("a good disk");
    while store.sealer.step().expect("a good disk") {}
    assert_eq!(
        store.store.stats().signals[Signal::Traces as usize].head_records,
        0
    );
    assert_eq!(figures(&store.store), in_head);
}

/// Six segments of three heads that overlap and three that do not.
fn spread_out() -> Opened {
    let mut store = opened(&World::new(), START);
    for (n, minutes) in [4, 0, 1, 1, 9, 20].into_iter().enumerate() {
        let at = START.saturating_add(minutes * 60 * SECOND);
        for signal in Signal::RECORDS {
            let batch = batch(signal, n as u64, 33_000, at);
            store.writer.append(batch).expect("accepted");
        }
        while store.sealer.step().expect("a good disk") {}
    }
    store
}

#[test]
fn units_come_in_order_of_time_and_open_no_segment_before_its_turn() {
    let store = spread_out().store;
    let snapshot = store.snapshot();
    let range = crate::model::TimeRange::ALL;
    let opened = |signal: Signal| {
        let segments = snapshot.segments.list.iter();
        let of_signal = segments.filter(|segment| segment.row.signal == signal);
        of_signal.filter(|s| s.cached_bytes() > 0).count()
    };
    snapshot.segments.list.iter().for_each(|s| s.release());
    let in_order = |order: Order| {
        let units = snapshot.logs_in(order, range, &LogPrune::default());
        units.map(|u| (u.first(), u.last())).collect::<Vec<_>>()
    };

    let mut newest = snapshot.logs(range, &LogPrune::default());
    let bound = newest.bound().expect("some");
    let first = newest.next().expect("some");
    assert_eq!((first.last(), opened(Signal::Logs)), (bound, 1));
    let mut newest = snapshot.spans(range, &SpanPrune::default());
    let bound = newest.bound().expect("some");
    let first = newest.next().expect("some");
    assert_eq!((first.last(), opened(Signal::Traces)), (bound, 1));

    let newest = in_order(Order::NewestFirst);
    assert!(newest.is_sorted_by_key(|(_, last)| std::cmp::Reverse(*last)));
    let oldest = in_order(Order::OldestFirst);
    assert!(oldest.is_sorted_by_key(|(first, _)| *first));
    assert_eq!(newest.len(), oldest.len());
    assert_eq!(opened(Signal::Logs), 6);
}

#[test]
fn what_units_are_expected_to_be_is_known_once_all_are_open() {
    let store = spread_out().store;
    let snapshot = store.snapshot();
    let mut units = snapshot.logs(crate::model::TimeRange::ALL, &LogPrune::default());
    let guess = units.expected_bytes();
    let bytes: u64 = units.by_ref().map(|unit| unit.bytes()).sum();
    assert!(guess > 0 && bytes > 0);
    assert_eq!(units.expected_bytes(), bytes);
    assert_eq!(units.bound(), None);
}
