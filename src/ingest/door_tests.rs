//! The door with a store behind it on the simulated disk: when the answer comes, and what counts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::sync_channel;
use std::task::Poll;

use tokio::sync::oneshot;

use super::budget::Budget;
use super::dedup::Window;
use super::report::Report;
use super::rewrite::Rewritten;
use super::spare::Spare;
use super::writer::{Item, Loop, Stored, Waiting};
use super::*;
use crate::model::Timestamp;
use crate::observe::{Clock, Metric, Metrics, Sources};
use crate::store;
use crate::store::disk::sim::{Dice, Fault, World};
use crate::store::fixture::{self, START};

/// Records of every request here.
const ROWS: u64 = 2;

fn clock() -> Clock {
    Clock::Set(Arc::new(AtomicU64::new(START.0)))
}

struct Fixture {
    world: Arc<World>,
    store: store::Store,
    door: Door,
    writer: WriterThread,
    metrics: Arc<Metrics>,
}

fn fixture(durability: Durability) -> Fixture {
    let world = World::new();
    let opened = store::open(fixture::config(), fixture::sim(&world), START);
    let opened = opened.expect("an empty directory");
    let metrics = Arc::new(Metrics::default());
    let config = Config {
        durability,
        ..Config::for_memory(64 << 20)
    };
    let sources = Arc::new(Sources::default());
    let door = Door::open(
        config,
        opened.writer,
        Vec::new(),
        clock(),
        metrics.clone(),
        sources,
    );
    let (door, writer) = door.expect("a thread");
    Fixture {
        world,
        store: opened.store,
        door,
        writer,
        metrics,
    }
}

fn submission(number: u64) -> Submission {
    Submission {
        signal: Signal::Logs,
        project: ProjectId::DEFAULT,
        transport: Transport::HttpProtobuf,
        bytes: fixture::request("sweep", Signal::Logs, number, ROWS, START),
        wire: None,
        left_out: 0,
    }
}

/// Eight senders at once until the power is cut somewhere; the acknowledged requests that are not
/// there, whole, after the restart.
async fn lost_by_a_power_cut(durability: Durability, seed: u64) -> usize {
    const SENDERS: u64 = 8;
    const REQUESTS: u64 = 20;
    let f = fixture(durability);
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    f.world.inject(dice.below(150), Fault::PowerCut);
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let door = f.door.clone();
            tokio::spawn(async move {
                let mut acked = Vec::new();
                for number in sender * REQUESTS..(sender + 1) * REQUESTS {
                    let permit = door.reserve(0).await.expect("room");
                    if door.submit(permit, submission(number)).await.is_err() {
                        break;
                    }
                    acked.push(number);
                }
                acked
            })
        })
        .collect();
    let mut acked = BTreeSet::new();
    for sender in senders {
        acked.extend(sender.await.expect("no sender panics"));
    }
    let after = f.world.restart(dice.next());
    f.writer.close();
    let opened = store::open(fixture::config(), fixture::sim(&after), START);
    let opened = opened.expect("what a power cut leaves can be opened");
    let found = fixture::numbers(&opened.store, Signal::Logs).expect("readable");
    acked
        .iter()
        .filter(|number| found.get(number) != Some(&ROWS))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_sync_mode_a_power_cut_costs_nothing_acknowledged() {
    let mut lost_fast = 0;
    for seed in 0..40 {
        let lost = lost_by_a_power_cut(Durability::Sync, seed).await;
        assert_eq!(lost, 0, "seed {seed}");
        lost_fast += lost_by_a_power_cut(Durability::Fast, seed).await;
    }
    // The control: without the wait the same cuts do cost something.
    assert!(lost_fast > 0, "the cuts cut nothing");
}

/// Everything queued before the writer looks shares one sync, and is answered after it.
#[test]
fn senders_that_wait_together_share_one_sync() {
    const GROUP: u64 = 100;
    let world = World::new();
    let opened = store::open(fixture::config(), fixture::sim(&world), START).expect("empty");
    let before = opened.store.stats();
    let (queue, items) = sync_channel(GROUP as usize + 1);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let budget = Budget::new(1 << 20);
    let permit = || runtime.as_ref().expect("built").block_on(budget.reserve(0));
    let mut answers = Vec::new();
    for number in 0..GROUP {
        let batch = fixture::batch(Signal::Logs, number, ROWS, START);
        let report = Report::new(
            Signal::Logs,
            &batch.chunk,
            &redact::Masked::new(),
            Rewritten::default(),
            Vec::new(),
        );
        let (reply, answer) = oneshot::channel();
        answers.push(answer);
        let permit = permit().expect("room");
        let waiting = Waiting {
            batch,
            reply,
            report,
            permit,
        };
        queue.send(Item::Batch(Box::new(waiting))).expect("room");
    }
    queue.send(Item::Close).expect("room");
    let work = Loop {
        writer: opened.writer,
        window: Window::new(0, Vec::new()),
        durability: Durability::Sync,
        clock: clock(),
        ticked: Timestamp(START.0),
        spare: Spare::new(0),
        metrics: Arc::default(),
        sources: Arc::default(),
    };
    work.run(&items);
    for mut answer in answers {
        assert_eq!(answer.try_recv(), Ok(Ok(Stored::Now)));
    }
    let after = opened.store.stats();
    assert_eq!(after.wal_syncs - before.wal_syncs, 1);
    assert_eq!(
        (after.wal_last - before.wal_last, after.wal_synced),
        (GROUP, after.wal_last)
    );
}

/// A sender that has queued its request and hangs up before the answer.
#[tokio::test]
async fn what_is_kept_is_counted_although_its_sender_has_hung_up() {
    const REQUESTS: u64 = 50;
    let f = fixture(Durability::Sync);
    for number in 0..REQUESTS {
        let permit = f.door.reserve(0).await.expect("room");
        let mut asked = Box::pin(f.door.submit(permit, submission(number)));
        std::future::poll_fn(|cx| {
            _ = asked.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
    }
    f.writer.close();
    let kept = fixture::numbers(&f.store, Signal::Logs).expect("readable");
    assert_eq!(kept.len() as u64, REQUESTS);
    let accepted = f.metrics.total(Metric::Accepted);
    assert_eq!(accepted, (REQUESTS * ROWS) as f64);
}
