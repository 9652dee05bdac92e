//! The crash sweep: seeded workloads over the simulated disk, cut off at any operation, restarted,
//! and compared with what was promised. A failure prints its seed; `SWEEP_SEEDS` sets how many run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::disk::sim::{Dice, Fault, World};
use super::fixture::{SECOND, START, batch, metrics_batch, numbers, sim, wanted};
use super::*;
use crate::model::time::NANOS_PER_HOUR;
use crate::model::{Signal, Timestamp};

/// Seeds of an ordinary run; the long run sets `SWEEP_SEEDS`.
const SEEDS: u64 = 300;
/// Steps of one life of the process, unless it is cut off.
const STEPS: u64 = 60;
/// Lives per seed: each starts on what the one before left on the disk.
const LIVES: u64 = 4;
/// Short, so that partitions are dropped within a sweep.
const RETENTION: Duration = Duration::from_secs(2 * 3600);

fn config() -> Config {
    Config {
        retention: Retention {
            traces: Some(RETENTION),
            logs: Some(RETENTION),
            metrics: Some(RETENTION),
            max_bytes: None,
            services: Vec::new(),
        },
        ..fixture::config()
    }
}

/// One request that was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u64,
    signal: Signal,
    rows: u64,
    at: Timestamp,
    /// `None`: the answer was an error, or never came.
    acked: bool,
    synced: bool,
    deleted: Deleted,
}

/// Whether a request is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deleted {
    No,
    /// The answer was an error, or never came; the next start shows what holds.
    Perhaps,
    Yes,
}

/// What was sent, in order, and what was promised about it.
#[derive(Debug)]
struct Oracle {
    sent: Vec<Sent>,
    next: u64,
    now: Timestamp,
    /// Segments that were rewritten so far.
    recoded: usize,
}

/// From here on the partition of a day ends within a workload, so that it is rewritten.
const EVENING: Timestamp = Timestamp(START.0 + 23 * NANOS_PER_HOUR - 600 * SECOND);

impl Oracle {
    fn new(now: Timestamp) -> Oracle {
        Oracle {
            sent: Vec::new(),
            next: 0,
            now,
            recoded: 0,
        }
    }

    fn delete(&mut self, numbers: std::ops::RangeInclusive<u64>, acked: bool) {
        // No deletion is about samples.
        let is_about = |s: &&mut Sent| numbers.contains(&s.number) && s.signal != Signal::Metrics;
        for sent in self.sent.iter_mut().filter(is_about) {
            // All that came before is durable then, and what is not acknowledged may be gone too.
            match (sent.deleted, acked) {
                (Deleted::No | Deleted::Perhaps, true) => sent.deleted = Deleted::Yes,
                (Deleted::No, false) => sent.deleted = Deleted::Perhaps,
                (Deleted::Yes | Deleted::Perhaps, _) => {}
            }
        }
    }

    fn synced(&mut self) {
        self.sent.iter_mut().for_each(|s| s.synced |= s.acked);
    }

    /// Compares a store just opened with the promises: nothing twice, nothing by half, nothing
    /// acknowledged missing but a tail that no sync has covered (`power_cut`) or nothing at all.
    /// What is there from then on is durable; what is lost is forgotten.
    fn check(&mut self, store: &Store, power_cut: bool) -> Result<(), String> {
        let read = |signal| numbers(store, signal).map_err(|e| format!("unreadable: {e}"));
        let mut found: BTreeMap<Signal, BTreeMap<u64, u64>> = BTreeMap::new();
        for signal in Signal::ALL {
            found.insert(signal, read(signal)?);
        }
        let snapshot = store.snapshot();
        let segments = snapshot.segments.list.iter().map(|segment| &**segment);
        let problems = templates::problems(&snapshot.catalogue, segments);
        let problems = problems.map_err(|e| format!("unreadable: {e}"))?;
        if !problems.is_empty() {
            return Err(format!("templates: {problems:?}"));
        }
        let cutoff = snapshot.cutoff(Signal::Logs);
        let mut lost = None;
        let mut kept = Vec::new();
        for sent in &self.sent {
            let rows = found
                .get_mut(&sent.signal)
                .and_then(|f| f.remove(&sent.number));
            // Past retention: never shown, whether it is there or not. The others of its request
            // carry later times, but never more than retention's grain apart.
            if sent.at < cutoff {
                continue;
            }
            match (sent.deleted, rows) {
                (Deleted::Yes, None) | (Deleted::Perhaps, None) => continue,
                (Deleted::Yes, Some(_)) => return Err(format!("deleted, and back: {sent:?}")),
                (Deleted::No | Deleted::Perhaps, _) => {}
            }
            match rows {
                Some(rows) if rows == sent.rows => {
                    if let (Some(lost), true) = (lost, sent.acked) {
                        return Err(format!(
                            "a hole: {lost:?} is lost, the later {sent:?} is not"
                        ));
                    }
                    kept.push(Sent {
                        acked: true,
                        synced: true,
                        deleted: Deleted::No,
                        ..*sent
                    });
                }
                Some(rows) => return Err(format!("{rows} rows of {sent:?}")),
                None if !sent.acked => {}
                None if sent.synced || !power_cut => return Err(format!("lost: {sent:?}")),
                None => lost = Some(*sent),
            }
        }
        let strangers: Vec<_> = found.values().flat_map(|f| f.keys()).collect();
        if !strangers.is_empty() {
            return Err(format!("never sent, or past retention: {strangers:?}"));
        }
        self.sent = kept;
        Ok(())
    }
}

/// One life of the process: random steps until they are done or the disk fails.
fn live(opened: &mut Opened, oracle: &mut Oracle, dice: &mut Dice) {
    for _ in 0..STEPS {
        step(opened, oracle, dice);
    }
}

fn step(opened: &mut Opened, oracle: &mut Oracle, dice: &mut Dice) {
    match dice.below(22) {
        0..10 => {
            let signal = Signal::ALL[dice.below(3) as usize];
            let (number, rows) = (oracle.next, 1 + dice.below(5));
            oracle.next += 1;
            let acked = match signal {
                Signal::Logs | Signal::Traces => {
                    let sent = batch(signal, number, rows, oracle.now);
                    opened.writer.append(sent).is_ok()
                }
                Signal::Metrics => {
                    let sent = metrics_batch(number, rows, oracle.now);
                    opened.writer.append_metrics(&sent).is_ok()
                }
            };
            oracle.sent.push(Sent {
                number,
                signal,
                rows,
                at: oracle.now,
                acked,
                synced: false,
                deleted: Deleted::No,
            });
        }
        10..12 => {
            if opened.writer.sync().is_ok() {
                oracle.synced();
            }
        }
        12..14 => {
            let minutes = 1 + dice.below(40);
            oracle.now = oracle.now.saturating_add(minutes * 60 * SECOND);
            if opened.writer.tick(oracle.now).is_ok() {
                // More than a second has passed since the last one.
                oracle.synced();
            }
        }
        14..16 => _ = opened.writer.seal(Signal::ALL[dice.below(3) as usize]),
        16..19 => _ = opened.sealer.step(),
        19..21 => {
            let round = opened.keeper.maintain(oracle.now);
            oracle.recoded += round.map_or(0, |round| round.recoded);
        }
        _ => {
            let from = dice.below(oracle.next + 1);
            let to = from + dice.below(4);
            let done = opened
                .writer
                .delete(&wanted(&format!("n:{from}..{to}")), oracle.now);
            oracle.delete(from..=to, done.is_ok());
        }
    }
}

/// Several lives on one disk. `power`: whether the machine or only the process dies.
fn sweep(seed: u64, lying: bool) -> Result<usize, String> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = World::new();
    if lying {
        world.lie_about_syncs();
    }
    let mut oracle = Oracle::new(if seed.is_multiple_of(2) {
        START
    } else {
        EVENING
    });
    let mut power_cut = false;
    for life in 0..LIVES {
        let dies = life + 1 < LIVES;
        if dies && dice.chance(8) {
            // Early enough to hit the recovery itself.
            world.inject(dice.below(60), Fault::PowerCut);
        }
        match open(config(), sim(&world), oracle.now) {
            Ok(mut opened) => {
                oracle.check(&opened.store, power_cut)?;
                power_cut = false;
                if dies && dice.chance(2) {
                    world.inject(dice.below(400), Fault::PowerCut);
                }
                live(&mut opened, &mut oracle, &mut dice);
                if dice.chance(4) && opened.writer.close().is_ok() {
                    oracle.synced();
                }
            }
            Err(_) if world.is_dead() => {}
            Err(e) => return Err(format!("cannot open after a crash: {e}")),
        }
        let cut = world.is_dead() || dice.chance(3);
        power_cut |= cut;
        world = if cut {
            world.restart(dice.next())
        } else {
            world.restart_after_kill()
        };
    }
    let opened = open(config(), sim(&world), oracle.now).map_err(|e| e.to_string())?;
    oracle.check(&opened.store, power_cut)?;
    Ok(oracle.recoded)
}

fn seeds() -> u64 {
    let wanted = std::env::var("SWEEP_SEEDS").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(SEEDS)
}

#[test]
fn no_crash_loses_what_was_promised() {
    let mut recoded = 0;
    for seed in 0..seeds() {
        match sweep(seed, false) {
            Ok(n) => recoded += n,
            Err(broken) => panic!("seed {seed}: {broken}"),
        }
    }
    assert!(recoded > 10, "only {recoded} segments were rewritten");
}

#[test]
fn lying_syncs_are_caught() {
    // redb asserts on pages that were never written: caught as well.
    let holds = |seed| std::panic::catch_unwind(|| sweep(seed, true)).is_ok_and(|r| r.is_ok());
    let caught = (0..40).filter(|seed| !holds(*seed)).count();
    assert!(
        caught > 10,
        "a disk that syncs nothing passed all but {caught} of 40"
    );
}

/// The same steps on a good disk and on one that fails once, at operation `at`.
fn fail_once(seed: u64, at: Option<(u64, Fault)>) -> Result<(Arc<World>, Oracle, bool), String> {
    let world = World::new();
    let mut oracle = Oracle::new(EVENING);
    let mut dice = Dice(seed);
    if let Some((at, fault)) = at {
        world.inject(at, fault);
    }
    let poisoned = match open(config(), sim(&world), oracle.now) {
        Ok(mut opened) => {
            live(&mut opened, &mut oracle, &mut dice);
            opened.store.is_poisoned()
        }
        Err(_) if at.is_some() => true,
        Err(e) => return Err(e.to_string()),
    };
    Ok((world, oracle, poisoned))
}

/// Fails every single operation of a workload once, then cuts the power.
fn check_every_failure(fault: Fault, must_poison: bool) {
    // One that rewrites a segment.
    let good = |seed: &u64| fail_once(*seed, None).expect("a good disk");
    let seed = (78..178).find(|seed| good(seed).1.recoded > 0);
    let seed = seed.expect("some workload rewrites");
    let operations = good(&seed).0.operations();
    assert!(
        operations > 200,
        "the workload does too little: {operations}"
    );
    for at in 0..operations {
        let (world, mut oracle, poisoned) =
            fail_once(seed, Some((at, fault))).expect("failing is fine");
        // The last operations belong to the shutdown of the catalogue, which nobody hears about.
        assert!(
            poisoned || !must_poison || at + 20 > operations,
            "operation {at} failed unseen"
        );
        let world = world.restart(at + 1);
        let opened = match open(config(), sim(&world), oracle.now) {
            Ok(opened) => opened,
            Err(e) => panic!("operation {at}: cannot open: {e}"),
        };
        if let Err(broken) = oracle.check(&opened.store, true) {
            panic!("operation {at}: {broken}");
        }
    }
}

#[test]
fn no_failed_write_is_a_false_ack() {
    check_every_failure(Fault::Eio, true);
}

#[test]
fn no_full_volume_is_a_false_ack() {
    check_every_failure(Fault::Enospc, false);
}
