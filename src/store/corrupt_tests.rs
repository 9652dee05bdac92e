//! Bad disks: bits flipped, pages zeroed, files cut, in every kind of file. Never a panic, never a
//! wrong answer, never a loss that nobody tells.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::disk::sim::{Dice, World};
use super::fixture::{START, batch, config, metrics_batch, numbers, sim};
use super::*;
use crate::model::time::NANOS_PER_DAY;
use crate::model::{Signal, TimeRange};

/// Cases of an ordinary run; the long run sets `CORRUPT_CASES`.
const CASES: u64 = 300;
const REQUESTS: u64 = 24;
const ROWS: u64 = 200;

fn append(writer: &mut Writer, signal: Signal, n: u64) {
    match signal {
        Signal::Logs | Signal::Traces => {
            let batch = batch(signal, n, ROWS, START);
            writer.append(batch).expect("accepted");
        }
        Signal::Metrics => {
            let batch = metrics_batch(n, ROWS, START);
            let outcome = writer.append_metrics(&batch).expect("accepted");
            assert_eq!(outcome.samples, ROWS);
        }
    }
}

/// Segments of all signals, one of them merged, or (`recoded`) all of them rewritten as one, and a log
/// with the rest.
fn whole(recoded: bool) -> Arc<World> {
    let world = World::new();
    let mut store = open(config(), sim(&world), START).expect("an empty disk");
    for n in 0..REQUESTS {
        for signal in Signal::ALL {
            append(&mut store.writer, signal, n);
            if n < REQUESTS / 2 {
                store.writer.seal(signal).expect("a good disk");
            }
        }
        while store.sealer.step().expect("a good disk") {}
    }
    let round = store.keeper.maintain(START).expect("a good disk");
    assert_eq!(round.merged, Signal::ALL.len());
    if recoded {
        let later = START.saturating_add(2 * NANOS_PER_DAY);
        for _ in Signal::ALL {
            let round = store.keeper.maintain(later).expect("a good disk");
            assert_eq!(round.recoded, 1);
        }
    }
    store.writer.tick(START).expect("a good disk");
    store.writer.close().expect("a good disk");
    drop((store.store, store.sealer, store.keeper));
    world.restart_after_kill()
}

fn damage(world: &World, path: &Path, bytes: u64, dice: &mut Dice) -> String {
    let at = dice.below(bytes);
    match dice.below(3) {
        0 => {
            let bit = dice.below(8);
            world.corrupt(path, at, 1 << bit);
            format!("bit {bit} of byte {at} flipped")
        }
        1 => {
            let end = (at + 4096).min(bytes);
            world.zero(path, at..end);
            format!("bytes {at}..{end} zeroed")
        }
        _ => {
            world.truncate(path, at);
            format!("cut to {at} bytes")
        }
    }
}

/// What is left after the damage, and whether anybody was told.
fn check(world: &Arc<World>, path: &Path) -> Result<(), String> {
    let is_catalogue = path.ends_with("catalog.redb");
    let opened = match open(config(), sim(world), START) {
        Ok(opened) => opened,
        Err(_) if is_catalogue => return Ok(()),
        Err(e) => return Err(format!("the store does not open: {e}")),
    };
    let all: BTreeMap<u64, u64> = (0..REQUESTS).map(|n| (n, ROWS)).collect();
    for signal in Signal::ALL {
        let Ok(found) = numbers(&opened.store, signal) else {
            continue;
        };
        let told = opened.store.snapshot().damaged(signal, TimeRange::ALL);
        if found != all && told.is_empty() {
            return Err(format!("{} is missing and nobody is told", signal.name()));
        }
        let wrong = found
            .iter()
            .find(|(n, rows)| !all.contains_key(n) || **rows > ROWS);
        if let Some(wrong) = wrong {
            return Err(format!("{wrong:?} was never sent"));
        }
    }
    Ok(())
}

#[test]
fn no_damage_panics_or_goes_unseen() {
    let worlds = [false, true].map(whole);
    let files = worlds.each_ref().map(|world| {
        let files = world.files().into_iter();
        let kept = files.filter(|(path, bytes)| *bytes > 0 && !path.ends_with("lock"));
        kept.collect::<Vec<_>>()
    });
    let wanted = std::env::var("CORRUPT_CASES").ok();
    let cases = wanted.and_then(|n| n.parse().ok()).unwrap_or(CASES);
    for case in 0..cases {
        let mut dice = Dice(case.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let kind = case as usize % worlds.len();
        let (world, files) = (worlds[kind].restart(1), &files[kind]);
        let (path, bytes) = &files[dice.below(files.len() as u64) as usize];
        let how = damage(&world, path, *bytes, &mut dice);
        if let Err(broken) = check(&world, path) {
            panic!("case {case}, {}: {how}: {broken}", path.display());
        }
    }
}
