//! Deletions: hidden at once, erased from every file, through restarts; against a naive oracle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::deletion::DELETIONS_PENDING_MAX;
use super::disk::sim::{Dice, World};
use super::fixture::{SECOND, START, batch, config, numbers, sim, wanted};
use super::*;
use crate::model::chunk::Request;
use crate::model::{LogChunk, ProjectId, Signal, TimeRange, Timestamp, ValueRef, write};

fn opened(world: &Arc<World>) -> Opened {
    open(config(), sim(world), START).expect("the disk is good")
}

/// Works until no deletion is pending.
fn settle(store: &mut Opened) {
    for _ in 0..200 {
        while store.sealer.step().expect("a good disk") {}
        store.writer.tick(START).expect("a good disk");
        store.keeper.maintain(START).expect("a good disk");
        let deletions = store.store.deletions().expect("readable");
        if deletions.iter().all(|deletion| deletion.stage.is_over()) {
            return;
        }
    }
    panic!("not carried out: {:?}", store.store.deletions());
}

/// What a store must show: the requests of each signal and their rows.
type Expected = [BTreeMap<u64, u64>; 2];

#[track_caller]
fn check(store: &Store, expected: &Expected, context: &str) {
    for signal in Signal::RECORDS {
        let found = numbers(store, signal).expect("readable");
        assert_eq!(found, expected[signal as usize], "{context}");
    }
    let mut summed = BTreeMap::new();
    let snapshot = store.snapshot();
    for summaries in snapshot.summaries(TimeRange::ALL) {
        for row in &summaries.read().expect("readable").rows {
            let number = u128::from_be_bytes(row.trace_id.0) as u64 - 1;
            *summed.entry(number).or_insert(0) += row.spans;
        }
    }
    assert_eq!(summed, expected[Signal::Traces as usize], "{context}");
    let mut counted = 0;
    let mut row = |row: &crate::model::red::RedRow<'_>| counted += row.cell.count;
    snapshot.red(TimeRange::ALL, &mut row).expect("readable");
    let spans: u64 = expected[Signal::Traces as usize].values().sum();
    assert_eq!(counted, spans, "{context}");
}

/// Random records, deletions, seals, merges and kills against a map.
fn model(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = World::new();
    let mut store = opened(&world);
    let mut expected = Expected::default();
    let (mut next, mut erased) = (0, [0u64; 2]);
    for step in 0..120 {
        match dice.below(24) {
            0..10 => {
                let signal = Signal::RECORDS[dice.below(2) as usize];
                let rows = 1 + dice.below(40);
                let sent = batch(signal, next, rows, START);
                store.writer.append(sent).expect("accepted");
                expected[signal as usize].insert(next, rows);
                next += 1;
            }
            10..13 => {
                let from = dice.below(next + 1);
                let to = from + dice.below(5);
                let wanted = wanted(&format!("n:{from}..{to}"));
                store.writer.delete(&wanted, START).expect("a good disk");
                for (signal, records) in expected.iter_mut().enumerate() {
                    let gone = |n: &u64| (from..=to).contains(n);
                    erased[signal] += records
                        .iter()
                        .filter(|(n, _)| gone(n))
                        .map(|(_, rows)| rows)
                        .sum::<u64>();
                    records.retain(|n, _| !gone(n));
                }
            }
            13..16 => {
                let signal = Signal::RECORDS[dice.below(2) as usize];
                store.writer.seal(signal).expect("a good disk");
            }
            16..20 => _ = store.sealer.step().expect("a good disk"),
            20..22 => _ = store.keeper.maintain(START).expect("a good disk"),
            22 => store.writer.tick(START).expect("a good disk"),
            _ => {
                drop(store);
                world = world.restart_after_kill();
                store = opened(&world);
            }
        }
        check(
            &store.store,
            &expected,
            &format!("seed {seed}, step {step}"),
        );
    }
    settle(&mut store);
    check(&store.store, &expected, &format!("seed {seed}, settled"));
    let deletions = store.store.deletions().expect("readable");
    for signal in [0, 1] {
        let told: u64 = deletions.iter().map(|d| d.erased[signal]).sum();
        assert_eq!(told, erased[signal], "seed {seed}");
    }
    drop(store);
    let again = opened(&world.restart_after_kill());
    assert_eq!(again.recovery.deleted_files, 0, "seed {seed}");
    check(
        &again.store,
        &expected,
        &format!("seed {seed}, opened again"),
    );
}

#[test]
fn random_deletions_agree_with_a_map() {
    (0..60).for_each(model);
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Files below `dir` that hold `needle`.
fn grep(dir: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(dir, &mut found);
    let holds = |path: &PathBuf| {
        let bytes = std::fs::read(path).expect("readable");
        bytes.windows(needle.len()).any(|w| w == needle)
    };
    found.retain(holds);
    found
}

/// A log record with a number, a text and bytes that no compression changes.
fn planted(number: i64, text: &str, bytes: &[u8]) -> Batch {
    let mut out = Vec::new();
    write::message(&mut out, 1, |out| {
        write::message(out, 2, |out| {
            write::message(out, 2, |out| {
                write::fixed64_field(out, 1, START.0);
                write::message(out, 5, |out| write::any_value(out, ValueRef::Str(text)));
                write::key_value(out, 6, "n", ValueRef::Int(number));
                write::key_value(out, 6, "raw", ValueRef::Bytes(bytes));
            });
        });
    });
    let request = Request {
        bytes: out.into(),
        project: ProjectId::DEFAULT,
        received: START,
    };
    Batch {
        chunk: BatchChunk::Logs(LogChunk::parse(request).expect("well-formed")),
        key: number as u128,
        wire: None,
    }
}

#[test]
fn no_file_holds_what_was_erased_nor_what_was_asked() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = Config {
        dir: dir.path().to_owned(),
        disk_free_min: Some(0),
        ..config()
    };
    let mut store = open(config.clone(), Disk::Real, START).expect("an empty directory");
    let mut dice = Dice(4711);
    let mut random = || -> Vec<u8> { (0..96).map(|_| dice.next() as u8).collect() };
    let (in_segment, in_log) = (random(), random());
    let (secret, stays) = (7_700_000_007, 42);
    let text = "planted-for-the-grep";
    let append = |store: &mut Opened, n, text: &str, bytes: &[u8]| {
        store
            .writer
            .append(planted(n, text, bytes))
            .expect("accepted");
    };
    append(&mut store, secret, "sealed", &in_segment);
    append(&mut store, stays, "sealed", b"other");
    store.writer.seal(Signal::Logs).expect("a good disk");
    while store.sealer.step().expect("a good disk") {}
    append(&mut store, secret, text, &in_log);
    let in_seg = |path: &PathBuf| path.extension().is_some_and(|e| e == "seg");
    let in_wal = |path: &PathBuf| path.extension().is_some_and(|e| e == "log");
    assert!(grep(dir.path(), &in_segment[20..60]).iter().any(in_seg));
    assert!(grep(dir.path(), text.as_bytes()).iter().any(in_wal));

    let asked = format!("n:{secret}");
    let deletion = store.writer.delete(&wanted(&asked), START);
    assert_eq!(deletion.expect("a good disk").stage, Stage::Hidden);
    assert_eq!(grep(dir.path(), asked.as_bytes()).len(), 1, "its own file");
    let found = numbers(&store.store, Signal::Logs).expect("readable");
    assert_eq!(found, BTreeMap::from([(stays as u64, 1)]));
    // Killed and started again in the middle.
    drop(store);
    let mut store = open(config, Disk::Real, START).expect("a good directory");
    settle(&mut store);
    for needle in [
        &in_segment[20..60],
        &in_log[20..60],
        text.as_bytes(),
        asked.as_bytes(),
    ] {
        assert_eq!(grep(dir.path(), needle), Vec::<PathBuf>::new());
    }
    let found = numbers(&store.store, Signal::Logs).expect("readable");
    assert_eq!(found, BTreeMap::from([(stays as u64, 1)]));
    let deletion = &store.store.deletions().expect("readable")[0];
    assert_eq!(deletion.erased[Signal::Logs as usize], 2);
    assert_eq!((deletion.stage, deletion.left_files), (Stage::Erased, 0));
}

/// Texts that are templates lie in the catalogue too, and in what its database does not use any more.
#[test]
fn catalogue_holds_no_template_of_what_was_erased() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = Config {
        dir: dir.path().to_owned(),
        disk_free_min: Some(0),
        ..config()
    };
    let mut store = open(config.clone(), Disk::Real, START).expect("an empty directory");
    let (secret, stays) = (7_700_000_007, 42);
    // Without digits a text is its own template; neighbours in one page go in one transaction.
    let letter = |n: usize| char::from(b'a' + n as u8);
    let texts: Vec<String> = (0..20)
        .map(|n| {
            format!(
                "planted {} {}",
                letter(n),
                "for the grep ".repeat(1 + n * 9)
            )
        })
        .collect();
    let kept = "kept and told word for word".to_owned();
    let in_catalogue = |path: &PathBuf| path.ends_with(open::CATALOGUE);
    let finds = |needle: &str| grep(dir.path(), needle.as_bytes());
    let planted_texts = |round: usize| {
        texts
            .iter()
            .map(move |t| format!("{t}in {}", letter(round)))
    };
    // Several segments, merged and not, so that pages are given up and taken on the way.
    for round in 0..10 {
        for text in planted_texts(round) {
            for _ in 0..4 {
                let sent = planted(secret, &text, b"");
                store.writer.append(sent).expect("accepted");
            }
        }
        for _ in 0..4 {
            let sent = planted(stays, &kept, b"");
            store.writer.append(sent).expect("accepted");
        }
        store.writer.seal(Signal::Logs).expect("a good disk");
        while store.sealer.step().expect("a good disk") {}
        store.keeper.maintain(START).expect("a good disk");
    }
    for text in planted_texts(9) {
        assert!(
            finds(&text).iter().any(in_catalogue),
            "{text:?} is no template"
        );
    }
    let deletion = store.writer.delete(&wanted(&format!("n:{secret}")), START);
    deletion.expect("a good disk");
    settle(&mut store);
    for text in (0..10).flat_map(planted_texts) {
        assert_eq!(finds(&text), Vec::<PathBuf>::new(), "{text:?}");
    }
    assert_eq!(finds("planted"), Vec::<PathBuf>::new());
    assert!(finds(&kept).iter().any(in_catalogue), "others stay");
    let found = numbers(&store.store, Signal::Logs).expect("readable");
    assert_eq!(found, BTreeMap::from([(stays as u64, 40)]));
    drop(store);
    let found = verify(&Disk::Real, dir.path()).expect("readable");
    assert_eq!(found.problems, Vec::<String>::new());
    open(config, Disk::Real, START).expect("a good directory");
}

#[test]
fn wiping_again_and_again_does_not_grow_the_catalogue() {
    let world = World::new();
    let mut store = opened(&world);
    let mut sizes = Vec::new();
    for n in 0..24 {
        let sent = batch(Signal::Logs, n, 50, START);
        store.writer.append(sent).expect("accepted");
        store.writer.seal(Signal::Logs).expect("a good disk");
        while store.sealer.step().expect("a good disk") {}
        store
            .writer
            .delete(&wanted(&format!("n:{n}")), START)
            .expect("a good disk");
        settle(&mut store);
        let is_it = |(path, _): &(PathBuf, u64)| path.ends_with(open::CATALOGUE);
        sizes.push(
            world
                .files()
                .into_iter()
                .find(is_it)
                .expect("it is there")
                .1,
        );
    }
    // Some room is needed beside what is kept.
    let early = sizes[..8].iter().max().expect("eight");
    assert!(
        sizes[8..].iter().all(|size| *size <= 2 * early),
        "{sizes:?}"
    );
}

#[test]
fn what_comes_after_a_deletion_stays() {
    let world = World::new();
    let mut store = opened(&world);
    let append = |store: &mut Opened, rows| {
        let batch = batch(Signal::Logs, 5, rows, START);
        store.writer.append(batch).expect("accepted");
    };
    append(&mut store, 3);
    store
        .writer
        .delete(&wanted("n:5"), START)
        .expect("a good disk");
    append(&mut store, 4);
    let shown = |store: &Store| numbers(store, Signal::Logs).expect("readable");
    assert_eq!(shown(&store.store), BTreeMap::from([(5, 4)]));
    drop(store);
    // Both are in the log; the replay must keep them apart.
    let mut store = opened(&world.restart_after_kill());
    assert_eq!(shown(&store.store), BTreeMap::from([(5, 4)]));
    settle(&mut store);
    assert_eq!(shown(&store.store), BTreeMap::from([(5, 4)]));
}

#[test]
fn signals_and_ranges_bound_a_deletion() {
    let mut store = opened(&World::new());
    let late = START.saturating_add(60 * SECOND);
    for signal in Signal::RECORDS {
        for (n, at) in [(1, START), (2, late)] {
            let batch = batch(signal, n, 1, at);
            store.writer.append(batch).expect("accepted");
        }
        store.writer.seal(signal).expect("a good disk");
    }
    while store.sealer.step().expect("a good disk") {}
    let wanted = Wanted {
        signals: [false, true],
        range: TimeRange::new(late, Timestamp::MAX).expect("a range"),
        ..wanted("n:1..2")
    };
    store.writer.delete(&wanted, START).expect("a good disk");
    let one = BTreeMap::from([(1, 1)]);
    let both = BTreeMap::from([(1, 1), (2, 1)]);
    check(&store.store, &[both.clone(), one.clone()], "hidden");
    settle(&mut store);
    check(&store.store, &[both, one], "erased");
}

#[test]
fn large_segments_are_rewritten_in_pieces() {
    let mut store = opened(&World::new());
    for n in 0..8 {
        let batch = batch(Signal::Traces, n, 9000, START);
        store.writer.append(batch).expect("accepted");
        store.writer.seal(Signal::Traces).expect("a good disk");
        while store.sealer.step().expect("a good disk") {}
    }
    store.keeper.maintain(START).expect("a good disk");
    let of_spans = |store: &Store| store.stats().signals[Signal::Traces as usize].segments;
    assert_eq!(of_spans(&store.store), [0, 1, 0, 0]);
    store
        .writer
        .delete(&wanted("n:3"), START)
        .expect("a good disk");
    store.keeper.maintain(START).expect("a good disk");
    assert_eq!(of_spans(&store.store), [2, 0, 0, 0]);
    settle(&mut store);
    let kept: BTreeMap<u64, u64> = (0..8).filter(|n| *n != 3).map(|n| (n, 9000)).collect();
    check(&store.store, &[kept, BTreeMap::new()], "erased");
}

#[test]
fn damaged_segments_are_rewritten_as_far_as_they_can_be_read() {
    let world = World::new();
    let mut store = opened(&world);
    for n in 0..4 {
        let batch = batch(Signal::Logs, n, 6000, START);
        store.writer.append(batch).expect("accepted");
    }
    store.writer.seal(Signal::Logs).expect("a good disk");
    while store.sealer.step().expect("a good disk") {}
    let is_segment = |(path, _): &(PathBuf, u64)| path.extension().is_some_and(|e| e == "seg");
    let segment = world.files().into_iter().find(is_segment);
    let (path, bytes) = segment.expect("one segment");
    world.corrupt(&path, bytes / 3, 4);
    store
        .writer
        .delete(&wanted("n:2"), START)
        .expect("a good disk");
    settle(&mut store);
    let found = numbers(&store.store, Signal::Logs).expect("readable");
    assert!(!found.contains_key(&2) && !found.is_empty(), "{found:?}");
    let deletion = &store.store.deletions().expect("readable")[0];
    assert_eq!((deletion.stage, deletion.left_files), (Stage::Erased, 1));
    let damaged = store.store.snapshot().damaged(Signal::Logs, TimeRange::ALL);
    assert_eq!(damaged.len(), 1, "answers still say that they are partial");
    assert!(
        world
            .files()
            .iter()
            .any(|(p, _)| p.ends_with(&damaged[0].path))
    );
}

#[test]
fn pending_deletions_are_bounded_and_conditions_checked() {
    let mut store = opened(&World::new());
    let refused = store.writer.delete(&wanted("nonsense"), START);
    assert!(matches!(refused, Err(StoreError::BadCondition(_))));
    for n in 0..DELETIONS_PENDING_MAX {
        let done = store.writer.delete(&wanted(&format!("n:{n}")), START);
        done.expect("within the bound");
    }
    let refused = store.writer.delete(&wanted("n:99"), START);
    assert!(matches!(refused, Err(StoreError::TooManyDeletions { .. })));
    assert!(!store.store.is_poisoned());
    settle(&mut store);
    store
        .writer
        .delete(&wanted("n:99"), START)
        .expect("there is room again");
}

#[test]
fn lost_condition_is_told() {
    let world = World::new();
    let mut store = opened(&world);
    let batch = batch(Signal::Logs, 1, 1, START);
    store.writer.append(batch).expect("accepted");
    store
        .writer
        .delete(&wanted("n:1"), START)
        .expect("a good disk");
    drop(store);
    let world = world.restart_after_kill();
    let file = Path::new("/data/deletions/0000000001.del");
    world.corrupt(file, 13, 1);
    let found = verify(&sim(&world), Path::new("/data")).expect("the catalogue is whole");
    assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
    let store = opened(&world);
    let stage = store.store.deletions().expect("readable")[0].stage;
    assert_eq!(stage, Stage::Failed);
}
