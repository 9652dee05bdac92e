//! The one thread that owns the store's writer: takes admitted requests off the queue, appends them,
//! acknowledges, syncs by timer.
//!
//! In `fast` mode a request is acknowledged after write(2); the store runs fdatasync by its own
//! timer. In `sync` mode all requests that wait share one fdatasync.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::budget::Permit;
use super::dedup::Window;
use super::metrics::{AckedMetrics, WaitingMetrics};
use super::report::Report;
use super::spare::Spare;
use super::{Durability, MetricsReceipt, Refusal};
use crate::model::Timestamp;
use crate::observe::sources::Sources;
use crate::observe::{Clock, Metrics};
use crate::store::{Batch, Deletion, StoreError, Wanted, Writer};

/// Requests that share one fdatasync in `sync` mode: more would only wait longer.
const GROUP_MAX: usize = 256;
/// How often the store gets a chance to sync, to seal by age and to look at the room left.
const TICK: Duration = Duration::from_millis(250);
/// What senders are told to wait when sealing is behind.
const BEHIND_RETRY_S: u32 = 1;

/// What waits for the writer.
pub(super) enum Item {
    Batch(Box<Waiting>),
    Metrics(Box<WaitingMetrics>),
    Delete(Box<Wanted>, oneshot::Sender<Result<Deletion, StoreError>>),
    /// No more will come: sync, seal nothing, end.
    Close,
}

pub(super) struct Waiting {
    pub(super) batch: Batch,
    pub(super) reply: oneshot::Sender<Outcome>,
    /// What to count once the batch is kept: by then its sender may have hung up.
    pub(super) report: Report,
    /// The request's share of the memory budget; free again once the store accounts for it.
    pub(super) permit: Permit,
}

pub(super) type Outcome = Result<Stored, Refusal>;

/// How a request was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Now,
    /// It came before within the window.
    Before,
}

pub(super) struct Loop {
    pub(super) writer: Writer,
    pub(super) window: Window,
    pub(super) durability: Durability,
    pub(super) clock: Clock,
    pub(super) ticked: Timestamp,
    pub(super) spare: Arc<Spare>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) sources: Arc<Sources>,
}

impl Loop {
    /// Runs until [`Item::Close`], or until every door is gone.
    pub(super) fn run(mut self, queue: &Receiver<Item>) {
        let mut waiting = Vec::with_capacity(GROUP_MAX);
        loop {
            let mut next = match queue.recv_timeout(TICK) {
                Ok(item) => Some(item),
                Err(RecvTimeoutError::Disconnected) => Some(Item::Close),
                Err(RecvTimeoutError::Timeout) => None,
            };
            let now = self.clock.now();
            let mut closing = false;
            while let Some(item) = next {
                match item {
                    Item::Batch(item) => self.append(*item, now, &mut waiting),
                    Item::Metrics(item) => self.append_metrics(*item, now, &mut waiting),
                    // Whoever asked may have hung up; it holds all the same.
                    Item::Delete(wanted, reply) => {
                        _ = reply.send(self.writer.delete(&wanted, now));
                    }
                    Item::Close => closing = true,
                }
                let full = closing || waiting.len() >= GROUP_MAX;
                let group = self.durability == Durability::Sync && !full;
                next = if group { queue.try_recv().ok() } else { None };
            }
            if !waiting.is_empty() {
                self.sync(&mut waiting);
            }
            if now.0.abs_diff(self.ticked.0) >= TICK.as_nanos() as u64 {
                self.ticked = now;
                self.spare.trim();
                if let Err(error) = self.writer.tick(now) {
                    _ = refusal(&error);
                }
            }
            if closing {
                break;
            }
        }
        if let Err(error) = self.writer.close() {
            tracing::error!(%error, "the store was not closed cleanly");
        }
    }

    fn append(&mut self, item: Waiting, now: Timestamp, waiting: &mut Vec<Acked>) {
        let key = item.batch.key;
        let outcome = if self.window.contains(key, now) {
            Ok(Stored::Before)
        } else {
            let done = self.writer.append(item.batch);
            done.map(|()| Stored::Now).map_err(|error| refusal(&error))
        };
        if outcome == Ok(Stored::Now) {
            self.window.remember(key, now);
        }
        drop(item.permit);
        let is_kept = outcome.is_ok();
        let acked = Acked::Records(Box::new(AckedRecords {
            reply: item.reply,
            report: item.report,
            outcome,
        }));
        self.acknowledge(acked, is_kept, waiting);
    }

    fn append_metrics(&mut self, item: WaitingMetrics, now: Timestamp, waiting: &mut Vec<Acked>) {
        let WaitingMetrics {
            request,
            left_out,
            transport,
            reply,
            permit,
        } = item;
        // Scrapes have none.
        let has_key = request.key != 0;
        let outcome = if has_key && self.window.contains(request.key, now) {
            Ok(MetricsReceipt {
                deduplicated: true,
                ..MetricsReceipt::default()
            })
        } else {
            let kept = self.writer.append_metrics(&request);
            kept.map(|outcome| MetricsReceipt {
                outcome,
                deduplicated: false,
            })
            .map_err(|error| refusal(&error))
        };
        if has_key && outcome.as_ref().is_ok_and(|receipt| !receipt.deduplicated) {
            self.window.remember(request.key, now);
        }
        drop(permit);
        let is_kept = outcome.is_ok();
        let acked = Acked::Metrics(Box::new(AckedMetrics {
            left_out,
            transport,
            reply,
            outcome,
        }));
        self.acknowledge(acked, is_kept, waiting);
    }

    /// In `sync` mode what is kept waits for the disk.
    fn acknowledge(&self, acked: Acked, is_kept: bool, waiting: &mut Vec<Acked>) {
        match (self.durability, is_kept) {
            (Durability::Sync, true) => waiting.push(acked),
            (Durability::Fast, _) | (Durability::Sync, false) => self.answer(acked),
        }
    }

    /// Makes everything appended durable and acknowledges those who wait for it.
    fn sync(&mut self, waiting: &mut Vec<Acked>) {
        let outcome = self.writer.sync().map_err(|error| refusal(&error));
        for mut acked in waiting.drain(..) {
            if let Err(refusal) = &outcome {
                match &mut acked {
                    Acked::Records(acked) => acked.outcome = Err(refusal.clone()),
                    Acked::Metrics(acked) => acked.outcome = Err(refusal.clone()),
                }
            }
            self.answer(acked);
        }
    }

    /// Counts what became of a request, then tells its sender, who may have hung up: what was sent
    /// is kept and counted all the same.
    fn answer(&self, acked: Acked) {
        match acked {
            Acked::Records(acked) => {
                let AckedRecords {
                    reply,
                    report,
                    outcome,
                } = *acked;
                report.count(&outcome, &self.metrics, &self.sources);
                _ = reply.send(outcome);
            }
            Acked::Metrics(acked) => acked.answer(&self.metrics),
        }
    }
}

/// A request that is through but for its answer; in `sync` mode it waits for the disk.
enum Acked {
    Records(Box<AckedRecords>),
    Metrics(Box<AckedMetrics>),
}

struct AckedRecords {
    reply: oneshot::Sender<Outcome>,
    report: Report,
    outcome: Outcome,
}

/// What a sender is told about a failed append; logged here, once.
fn refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::DiskFull { .. } => Refusal::DiskFull,
        StoreError::WalFull { .. } | StoreError::Behind { .. } => Refusal::Overloaded {
            retry_after_s: BEHIND_RETRY_S,
        },
        StoreError::TooLarge { bytes, max } => Refusal::TooLarge {
            bytes: *bytes,
            max: *max,
        },
        // Told to every sender from now on; logged when it happened.
        StoreError::Poisoned => Refusal::Poisoned,
        StoreError::Io { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Newer { .. }
        | StoreError::Locked { .. }
        // Of deletions and background work only.
        | StoreError::BadCondition(_)
        | StoreError::TooManyDeletions { .. }
        | StoreError::Stopped
        | StoreError::Catalogue(_) => {
            tracing::error!(%error, "ingest stops, a write failed");
            Refusal::Poisoned
        }
    }
}
