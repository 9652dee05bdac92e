use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use super::super::disk::Space;
use super::super::disk::sim::World;
use super::super::fixture::{START, batch, batch_of, config, numbers, sim};

use super::super::{Batch, BatchChunk, Opened, open};
use super::*;
use crate::model::chunk::Request;
use crate::model::time::NANOS_PER_DAY;
use crate::model::{ProjectId, SpanChunk, SpanId, SpanView, TraceId};

/// Past the partition of [`START`]: all of it is to be rewritten.
const LATER: Timestamp = Timestamp(START.0 + 2 * NANOS_PER_DAY);
const REQUESTS: u64 = 20;
const ROWS: u64 = 50;
/// What the meter of these tests says of each piece of work.
const PIECE: Duration = Duration::from_millis(7);

/// A store with twenty sealed heads of each signal.
fn filled(world: &Arc<World>) -> Opened {
    let mut store = open(config(), sim(world), START).expect("an empty disk");
    for n in 0..REQUESTS {
        for signal in Signal::RECORDS {
            let batch = batch(signal, n, ROWS, START);
            store.writer.append(batch).expect("accepted");
            store.writer.seal(signal).expect("a good disk");
        }
        while store.sealer.step().expect("a good disk") {}
    }
    store
}

/// Counts [`PIECE`] each time it is read, and remembers what it was.
fn meter(used: &Arc<AtomicU64>) -> Meter {
    let used = used.clone();
    Box::new(move || {
        let piece = PIECE.as_nanos() as u64;
        Duration::from_nanos(used.fetch_add(piece, Ordering::Relaxed) + piece)
    })
}

#[track_caller]
fn check_whole(store: &crate::store::Store) {
    let all: BTreeMap<u64, u64> = (0..REQUESTS).map(|n| (n, ROWS)).collect();
    for signal in Signal::RECORDS {
        assert_eq!(numbers(store, signal).expect("readable"), all);
    }
}

#[test]
fn merging_takes_a_tenth_of_a_core() {
    let mut store = filled(&World::new());
    let (used, rested) = (Arc::default(), Arc::new(Mutex::new(Duration::ZERO)));
    let sum = rested.clone();
    store.keeper.pace = Pace::with(
        meter(&used),
        Box::new(move |_, rest| *sum.lock().expect("one thread") += rest),
    );
    let mut rounds = Round::default();
    for _ in 0..4 {
        let round = store.keeper.maintain(LATER).expect("a good disk");
        rounds.merged += round.merged;
        rounds.recoded += round.recoded;
    }
    assert_eq!((rounds.merged, rounds.recoded), (4, 2));
    let used = Duration::from_nanos(used.load(Ordering::Relaxed));
    assert!(used > 20 * PIECE, "too few pieces to tell: {used:?}");
    // A round begins with a reading that is nobody's work.
    let rested = *rested.lock().expect("one thread");
    assert!(
        rested + 4 * 9 * PIECE >= 9 * used,
        "{rested:?} for {used:?}"
    );
    check_whole(&store.store);
}

#[test]
fn a_deletion_or_a_backlog_does_not_wait_for_rests() {
    let mut store = filled(&World::new());
    let wait = |_: &Shared, rest| panic!("rested {rest:?}");
    store.keeper.pace = Pace::with(meter(&Arc::default()), Box::new(wait));
    store.keeper.shared.live().hurry = true;
    let round = store.keeper.maintain(LATER).expect("a good disk");
    assert_eq!((round.merged, round.recoded), (4, 1));
}

#[test]
fn a_merge_that_is_stopped_leaves_everything_as_it_was() {
    for stop_at in 0..12 {
        let world = World::new();
        let mut store = filled(&world);
        let mut rests = 0;
        let wait = move |shared: &Shared, _| {
            rests += 1;
            if rests > stop_at {
                shared.close();
            }
        };
        store.keeper.pace = Pace::with(meter(&Arc::default()), Box::new(wait));
        store.keeper.maintain(LATER).expect("no error");
        check_whole(&store.store);
        let files = world.files();
        let half = files
            .iter()
            .find(|(path, _)| path.extension().is_some_and(|end| end == "tmp"));
        assert_eq!(half, None, "stopped at {stop_at}");
        store.writer.close().expect("a good disk");
        drop((store.store, store.sealer, store.keeper));
        let again = open(config(), sim(&world.restart_after_kill()), LATER);
        check_whole(&again.expect("whole").store);
    }
}

#[test]
fn what_was_rewritten_stays() {
    let mut store = filled(&World::new());
    while store.keeper.maintain(LATER).expect("a good disk").recoded > 0 {}
    let rows = store.keeper.rows();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.level == LEVEL_FINAL));
    assert_eq!(
        store.keeper.maintain(LATER).expect("a good disk"),
        Round::default()
    );
    check_whole(&store.store);
}

/// A request of spans of as many names, from `first` on.
fn named(key: u128, first: u64, n: u64) -> Batch {
    let mut writer = crate::model::write::RequestWriter::default();
    let (resource, scope) = Default::default();
    for i in first..first + n {
        writer.span(&SpanView {
            resource: &resource,
            scope: &scope,
            at: START,
            trace_id: TraceId(u128::from(i + 1).to_be_bytes()),
            span_id: SpanId((i + 1).to_be_bytes()),
            parent: None,
            trace_state: "",
            flags: 0,
            name: &format!("GET /user/{i}"),
            kind: 1,
            start: START,
            end: START,
            attributes: &[],
            dropped_attributes: 0,
            events: &[],
            dropped_events: 0,
            links: &[],
            dropped_links: 0,
            status_code: 0,
            status_message: "",
        });
    }
    let request = Request {
        bytes: writer.finish().into(),
        project: ProjectId::DEFAULT,
        received: START,
    };
    Batch {
        chunk: BatchChunk::Traces(SpanChunk::parse(request).expect("well-formed")),
        key,
        wire: None,
    }
}

/// Rewrites three heads that begin with these names; segments that are left.
fn left_of(memory: u64, heads: [u64; 3]) -> Vec<SegmentRow> {
    const NAMES: u64 = 2_000;
    let mut config = config();
    config.memory.keeper = memory;
    let mut store = open(config, sim(&World::new()), START).expect("an empty disk");
    for (key, first) in (1..).zip(heads) {
        let batch = named(key, first, NAMES);
        store.writer.append(batch).expect("accepted");
        store.writer.seal(Signal::Traces).expect("a good disk");
        while store.sealer.step().expect("a good disk") {}
    }
    while store.keeper.maintain(LATER).expect("a good disk").recoded > 0 {}
    let rows = store.keeper.rows();
    assert_eq!(rows.iter().map(|row| row.rows).sum::<u64>(), 3 * NAMES);
    assert_eq!(store.store.rewriting_bytes(), 0);
    rows
}

#[track_caller]
fn check_left(memory: u64, heads: [u64; 3], n_left: usize, n_final: usize) {
    let rows = left_of(memory, heads);
    let rewritten = rows.iter().filter(|row| row.level == LEVEL_FINAL);
    assert_eq!((rows.len(), rewritten.count()), (n_left, n_final));
}

#[test]
fn more_kinds_of_records_than_a_part_has_room_for_are_not_rewritten_as_one() {
    check_left(64 << 20, [0, 0, 0], 1, 1);
    check_left(64 << 20, [0, 2_000, 4_000], 2, 2);
}

#[test]
fn what_takes_more_than_the_keepers_memory_stays_as_it_is() {
    check_left(1 << 10, [0, 0, 0], 3, 0);
}

/// 300 KB of resources that differ in a few bytes and compress to nearly nothing.
#[test]
fn dictionaries_are_counted_as_they_unpack() {
    const HEADS: u64 = 6;
    let mut store = open(config(), sim(&World::new()), START).expect("an empty disk");
    for n in 0..HEADS {
        for i in 0..5 {
            let number = n * 5 + i;
            let service = format!("{}{number}", "x".repeat(60_000));
            let batch = batch_of(&service, Signal::Logs, number, 1, START, START);
            store.writer.append(batch).expect("accepted");
        }
        store.writer.seal(Signal::Logs).expect("a good disk");
        while store.sealer.step().expect("a good disk") {}
    }
    let segments = store.keeper.shared.live().segments.clone();
    let n = |memory| {
        segments::rewritable(&segments.list, memory)
            .expect("whole")
            .0
    };
    assert_eq!(n(64 << 20), HEADS as usize);
    assert!((1..=3).contains(&n(3_000_000)), "{}", n(3_000_000));
}

#[test]
fn a_backlog_does_not_wait_for_rests_but_what_stays_as_it_is_is_none() {
    /// More than the keeper merges at leisure.
    const HEADS: u64 = 72;
    let check = |n_left: usize, is_rested: bool| {
        let mut store = open(config(), sim(&World::new()), START).expect("an empty disk");
        for n in 0..HEADS {
            let batch = batch(Signal::Logs, n, 1, START);
            store.writer.append(batch).expect("accepted");
            store.writer.seal(Signal::Logs).expect("a good disk");
            while store.sealer.step().expect("a good disk") {}
        }
        let rested_at = Arc::new(Mutex::new(Vec::new()));
        let seen = rested_at.clone();
        let wait = move |shared: &Shared, _| {
            let segments = shared.live().segments.clone();
            let fresh = segments.list.iter().filter(|s| s.row.level == 0).count();
            seen.lock().expect("one thread").push(fresh);
        };
        store.keeper.pace = Pace::with(meter(&Arc::default()), Box::new(wait));
        let rows = store.keeper.rows();
        let left = rows.iter().take(n_left).map(|row| row.id);
        store.keeper.unmergeable = left.collect();
        store.keeper.maintain(START).expect("a good disk");
        let rested_at = rested_at.lock().expect("one thread");
        let in_backlog = rested_at.iter().any(|fresh| *fresh > 64);
        assert_eq!(
            in_backlog, is_rested,
            "{n_left} left, rested at {rested_at:?}"
        );
    };
    check(0, false);
    check(60, true);
}

#[test]
fn a_head_that_always_waits_does_not_put_off_a_rewrite_for_ever() {
    let mut store = filled(&World::new());
    store
        .writer
        .append(batch(Signal::Logs, REQUESTS, ROWS, START))
        .expect("accepted");
    store.writer.seal(Signal::Logs).expect("a good disk");
    let round = store.keeper.maintain(LATER).expect("a good disk");
    assert_eq!((round.merged, round.recoded), (4, 0), "the sealer first");
    let mut rounds = 1;
    while store.keeper.maintain(LATER).expect("a good disk").recoded == 0 {
        rounds += 1;
        assert!(rounds <= PUT_OFF_MAX, "put off for ever");
    }
    assert_eq!(rounds, PUT_OFF_MAX);
}

#[test]
fn a_volume_that_fills_up_stops_a_rewrite_for_retention() {
    let world = World::new();
    let mut store = filled(&world);
    store.keeper.maintain(START).expect("copied");
    let full = Space {
        free: 0,
        total: 1000,
    };
    let filling = world.clone();
    let wait = move |shared: &Shared, _| {
        filling.set_space(full);
        shared.look_at_space().expect("a good disk");
    };
    store.keeper.pace = Pace::with(meter(&Arc::default()), Box::new(wait));
    let round = store.keeper.maintain(LATER).expect("no error");
    assert_eq!(
        (round.dropped, round.recoded),
        (0, 0),
        "stopped at its first rest"
    );
    check_whole(&store.store);
    assert!(
        store.keeper.shared.is_hurried(),
        "the next round comes at once"
    );
    let round = store.keeper.maintain(LATER).expect("no error");
    assert!(round.dropped > 0, "{round:?}");
    assert_eq!((round.merged, round.recoded), (0, 0), "{round:?}");
}
