//! Retention over simulated days (reliability.md D9): late data of services with and without a
//! retention of their own, against a naive list, with readers that hold what is dropped meanwhile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::disk::sim::{Dice, World};
use super::fixture::{SECOND, START, batch_of, config, numbers, sim, wanted};
use super::*;
use crate::model::{Signal, TimeRange, Timestamp};

const HOUR: u64 = 3600 * SECOND;
const SERVICES: [(&str, u64); 3] = [("other", 3), ("long", 6), ("short", 1)];

fn days(n: u64) -> Option<Duration> {
    Some(Duration::from_secs(n * 86_400))
}

fn policy() -> Config {
    Config {
        retention: Retention {
            traces: days(3),
            logs: days(3),
            metrics: None,
            max_bytes: None,
            services: vec![("long".to_owned(), days(6)), ("short".to_owned(), days(1))],
        },
        ..config()
    }
}

/// One request of the model.
#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u64,
    signal: Signal,
    service: usize,
    at: Timestamp,
}

impl Sent {
    fn is_kept(&self, now: Timestamp) -> bool {
        let kept_ns = SERVICES[self.service].1 * 24 * HOUR;
        self.at >= now.saturating_sub(kept_ns)
    }
}

fn files(world: &World) -> BTreeMap<PathBuf, u64> {
    world.files().into_iter().collect()
}

/// What the directory holds and the catalogue does not name, or the other way round.
fn leaked(world: &Arc<World>) -> Vec<String> {
    let found = verify(&sim(world), Path::new("/data")).expect("whole");
    let segments = files(world);
    let is_segment = |path: &&PathBuf| path.extension().is_some_and(|e| e == "seg");
    let n_files = segments.keys().filter(is_segment).count() as u64;
    let mut leaked = found.problems;
    if found.strays != 0 || n_files != found.segments {
        leaked.push(format!("{n_files} files, {} segments", found.segments));
    }
    leaked.extend(
        segments
            .keys()
            .filter(|path| path.extension().is_some_and(|e| e == "tmp" || e == "del"))
            .map(|path| path.display().to_string()),
    );
    leaked
}

struct Run {
    world: Arc<World>,
    store: Opened,
    sent: Vec<Sent>,
    now: Timestamp,
    dice: Dice,
}

impl Run {
    /// An hour of traffic, sealing, and upkeep.
    fn hour(&mut self) {
        self.now = self.now.saturating_add(HOUR);
        for _ in 0..self.dice.below(6) {
            let sent = Sent {
                number: self.sent.len() as u64,
                signal: Signal::RECORDS[self.dice.below(2) as usize],
                service: self.dice.below(3) as usize,
                at: self.now.saturating_sub(self.dice.below(20 * HOUR)),
            };
            let service = SERVICES[sent.service].0;
            let batch = batch_of(service, sent.signal, sent.number, 1, sent.at, self.now);
            self.store.writer.append(batch).expect("accepted");
            self.sent.push(sent);
        }
        self.store.writer.tick(self.now).expect("a good disk");
        while self.store.sealer.step().expect("a good disk") {}
        self.store.writer.tick(self.now).expect("a good disk");
        self.store.keeper.maintain(self.now).expect("a good disk");
    }

    fn check(&self, hour: u64) {
        for signal in Signal::RECORDS {
            let kept = self
                .sent
                .iter()
                .filter(|s| s.signal == signal && s.is_kept(self.now));
            let kept: BTreeMap<u64, u64> = kept.map(|s| (s.number, 1)).collect();
            let found = numbers(&self.store.store, signal).expect("readable");
            assert_eq!(found, kept, "{} at hour {hour}", signal.name());
        }
        let mut spans = 0;
        let snapshot = self.store.store.snapshot();
        let mut row = |row: &crate::model::red::RedRow<'_>| spans += row.cell.count;
        snapshot.red(TimeRange::ALL, &mut row).expect("readable");
        let is_kept = |s: &&Sent| s.signal == Signal::Traces && s.is_kept(self.now);
        let kept = self.sent.iter().filter(is_kept).count() as u64;
        // Rows are by the minute, the oldest of which is shown whole.
        assert!(
            spans >= kept && spans <= kept + 3,
            "{spans} of {kept} spans"
        );
    }
}

fn run(seed: u64) -> Run {
    let world = World::new();
    let store = open(policy(), sim(&world), START).expect("an empty disk");
    Run {
        world,
        store,
        sent: Vec::new(),
        now: START,
        dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
    }
}

#[test]
fn every_service_is_shown_for_its_time_and_its_bytes_go_with_it() {
    let mut run = run(5);
    let mut readers: Vec<(Snapshot, usize)> = Vec::new();
    let rows = |snapshot: &Snapshot| -> usize {
        let units = snapshot.logs(TimeRange::ALL, &LogPrune::default());
        let mut n = 0;
        for unit in units {
            let read = unit.for_each(LogColumns::ALL, &mut |_| {
                n += 1;
                std::ops::ControlFlow::Continue(())
            });
            read.expect("a file stays readable while somebody reads it");
        }
        n
    };
    for hour in 0..9 * 24 {
        run.hour();
        if hour % 3 == 0 {
            run.check(hour);
        }
        if hour % 12 == 0 {
            let snapshot = run.store.store.snapshot();
            let n = rows(&snapshot);
            readers.push((snapshot, n));
        }
    }
    for (snapshot, n) in &readers {
        assert_eq!(rows(snapshot), *n, "an old reader sees what it saw");
    }
    drop(readers);
    // Everything that is wholly past its time has given its bytes back.
    let on_disk = files(&run.world);
    let paths: Vec<String> = on_disk.keys().map(|p| p.display().to_string()).collect();
    assert!(paths.iter().any(|p| p.contains(".c1/")) && paths.iter().any(|p| p.contains(".c2/")));
    let oldest = run.now.saturating_sub(8 * 24 * HOUR);
    let gone = partition::Partition::of(oldest, partition::Span::Day, Default::default());
    let day = gone.to_string();
    assert!(!paths.iter().any(|p| p.contains(&day)), "{paths:?}");

    // Another start with other settings shows what those say, and forgets no class.
    drop(run.store);
    let world = run.world.restart_after_kill();
    let mut changed = policy();
    changed.retention.services = vec![("long".to_owned(), days(2))];
    let again = open(changed, sim(&world), run.now).expect("a good disk");
    let kept_days = [3, 2, 3];
    let kept = run.sent.iter().filter(|s| {
        let kept_ns = kept_days[s.service] * 24 * HOUR;
        // What has been dropped under the settings before is gone.
        let was_kept = SERVICES[s.service].0 != "short" || s.is_kept(run.now);
        s.signal == Signal::Logs && was_kept && s.at >= run.now.saturating_sub(kept_ns)
    });
    let kept: Vec<u64> = kept.map(|s| s.number).collect();
    let found = numbers(&again.store, Signal::Logs).expect("readable");
    let lost: Vec<_> = kept.iter().filter(|n| !found.contains_key(n)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let of_long = found.keys().filter(|n| run.sent[**n as usize].service == 1);
    let too_old =
        of_long.filter(|n| run.sent[**n as usize].at < run.now.saturating_sub(2 * 24 * HOUR));
    assert_eq!(too_old.count(), 0);
}

#[test]
fn catalogue_does_not_grow_over_days() {
    let mut run = run(9);
    let catalogue = |run: &Run| files(&run.world)[Path::new("/data/catalog.redb")];
    (0..7 * 24).for_each(|_| run.hour());
    let after_a_week = catalogue(&run);
    (0..7 * 24).for_each(|_| run.hour());
    let after_two = catalogue(&run);
    assert!(
        after_two * 100 <= after_a_week * 120,
        "{after_a_week} bytes, a week later {after_two}"
    );
}

#[test]
fn nothing_leaks_in_a_mixed_workload() {
    let mut run = run(7);
    for hour in 0..4 * 24 {
        run.hour();
        if hour % 7 == 0 {
            let from = run.dice.below(run.sent.len() as u64 + 1);
            let asked = wanted(&format!("n:{from}..{}", from + 2));
            run.store
                .writer
                .delete(&asked, run.now)
                .expect("a good disk");
        }
    }
    for _ in 0..30 {
        while run.store.sealer.step().expect("a good disk") {}
        run.store.writer.tick(run.now).expect("a good disk");
        run.store.keeper.maintain(run.now).expect("a good disk");
    }
    run.store.writer.close().expect("a good disk");
    drop((run.store.store, run.store.sealer, run.store.keeper));
    assert_eq!(
        leaked(&run.world.restart_after_kill()),
        Vec::<String>::new()
    );
}
