//! The door itself: what receivers call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::admit::{self, Admitted, Terms};
use super::budget::{Budget, Permit};
use super::dedup::{self, Window};
use super::rewrite::Rewritten;
use super::senders;
use super::writer::{Item, Loop, Stored, Waiting};
use super::{Config, Receipt, Refusal, Submission};
use crate::model::Signal;
use crate::observe::sources::{Seen, Sources};
use crate::observe::{Clock, Metric, Metrics};
use crate::store::{Batch, BatchChunk, Key, Writer};

/// Requests in the queue. Their bytes are bounded by the budget; this bounds the many small ones.
const QUEUE_REQUESTS_MAX: usize = 1024;

/// Told to senders when the queue is full.
const QUEUE_RETRY_S: u32 = 1;

/// The way in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Door {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    budget: Budget,
    queue: SyncSender<Item>,
    clock: Clock,
    metrics: Arc<Metrics>,
    sources: Arc<Sources>,
}

/// The writer's thread; [`WriterThread::close`] before the process ends.
pub(crate) struct WriterThread {
    queue: SyncSender<Item>,
    thread: JoinHandle<()>,
}

impl WriterThread {
    /// Lets the writer finish what is queued, syncs and closes the store. Blocks.
    pub(crate) fn close(self) {
        // An error means that the thread has ended already.
        _ = self.queue.send(Item::Close);
        if self.thread.join().is_err() {
            tracing::error!("the writer thread panicked");
        }
    }
}

impl Door {
    /// Starts the writer thread. `keys` are those of the requests found in the WAL at start.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn open(
        config: Config,
        writer: Writer,
        keys: Vec<Key>,
        clock: Clock,
        metrics: Arc<Metrics>,
        sources: Arc<Sources>,
    ) -> std::io::Result<(Door, WriterThread)> {
        let (queue, items) = sync_channel(QUEUE_REQUESTS_MAX);
        let work = Loop {
            writer,
            window: Window::new(config.dedup_window_ns, keys),
            durability: config.durability,
            ticked: clock.now(),
            clock: clock.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || work.run(&items))?;
        let budget = Budget::new(config.budget_bytes);
        metrics.set(Metric::BudgetBytes, &[], budget.total() as f64);
        let shared = Shared {
            // A request is held compressed and decompressed at once: two of them must fit.
            config: Config {
                request_bytes: config.request_bytes.min(budget.total() / 2),
                ..config
            },
            budget,
            queue: queue.clone(),
            clock,
            metrics,
            sources,
        };
        let door = Door {
            shared: Arc::new(shared),
        };
        Ok((door, WriterThread { queue, thread }))
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(crate) fn sources(&self) -> &Sources {
        &self.shared.sources
    }

    /// Bytes of the budget in use, for `/metrics` and tests.
    pub(crate) fn budget_used(&self) -> usize {
        self.shared.budget.used()
    }

    /// Takes memory for a request before its bytes are read.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] after a second.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<Permit, Refusal> {
        self.shared.budget.reserve(bytes).await
    }

    /// Admits a request and waits until it is kept. `permit` covers its bytes.
    ///
    /// # Errors
    /// Why the whole request was refused; single bad records are told in the [`Receipt`].
    pub(crate) async fn submit(
        &self,
        permit: Permit,
        submission: Submission,
    ) -> Result<Receipt, Refusal> {
        let signal = submission.signal;
        let outcome = self.admit_and_store(permit, submission).await;
        if let Err(refusal) = &outcome {
            let labels = [signal.name(), refusal.reason()];
            self.shared.metrics.add(Metric::Refused, &labels, 1);
        }
        outcome
    }

    async fn admit_and_store(
        &self,
        permit: Permit,
        submission: Submission,
    ) -> Result<Receipt, Refusal> {
        let Submission {
            signal,
            project,
            transport,
            bytes,
            wire,
        } = submission;
        let (shared, received) = (&self.shared, self.shared.clock.now());
        let decoded = bytes.len() as u64;
        shared
            .metrics
            .add(Metric::DecodedBytes, &[signal.name()], decoded);
        let key = dedup::key(&bytes, signal, project);
        let terms = Terms {
            signal,
            project,
            received,
            oldest: shared.config.retention.cutoff(signal, received),
            limits: &shared.config.limits,
            redact: shared.config.redact,
        };
        let admitted = admit::admit(bytes, terms).map_err(|error| {
            Refusal::Malformed(format!("not an OTLP {} request: {error}", signal.name()))
        })?;
        let mut seen = senders::of(&admitted.chunk, admitted.newest, transport);
        let report = Report::of(&admitted, signal);
        if let Some(rewritten) = &admitted.rewritten {
            senders::add_rejections(&mut seen, rewritten, signal, received, transport);
        }
        let unchanged = admitted.rewritten.is_none() && admitted.masked.is_empty();
        let records = rows(&admitted.chunk);
        let mut receipt = report.receipt(records);
        if records > 0 {
            let batch = Batch {
                chunk: admitted.chunk,
                key,
                wire: wire.filter(|_| unchanged),
            };
            receipt.deduplicated = self.store(batch, permit).await? == Stored::Before;
        }
        self.count(&receipt, &report, seen, signal);
        Ok(receipt)
    }

    /// Queues a batch and waits for the writer's word.
    async fn store(&self, batch: Batch, permit: Permit) -> Result<Stored, Refusal> {
        let (reply, outcome) = oneshot::channel();
        let item = Item::Batch(Box::new(Waiting {
            batch,
            reply,
            permit,
        }));
        match self.shared.queue.try_send(item) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(Refusal::Overloaded {
                    retry_after_s: QUEUE_RETRY_S,
                });
            }
            Err(TrySendError::Disconnected(_)) => return Err(Refusal::Closing),
        }
        outcome.await.unwrap_or(Err(Refusal::Closing))
    }

    fn count(&self, receipt: &Receipt, report: &Report, seen: Vec<Seen>, signal: Signal) {
        let (metrics, signal) = (&self.shared.metrics, signal.name());
        if receipt.deduplicated {
            metrics.add(Metric::Deduplicated, &[signal], 1);
            return;
        }
        for (rule, n) in &report.masked {
            metrics.add(Metric::Redacted, &[signal, rule], *n);
        }
        metrics.add(Metric::Mended, &[signal], report.rewritten.mended);
        for (service, tally) in &report.rewritten.services {
            for (reason, n) in &tally.rejected {
                metrics.add(Metric::Rejected, &[signal, service, reason.name()], *n);
            }
            for (cut, n) in &tally.truncated {
                metrics.add(Metric::Truncated, &[signal, service, cut.name()], *n);
            }
        }
        for seen in seen {
            metrics.add(Metric::Accepted, &[signal, &seen.key.service], seen.records);
            self.shared.sources.seen(seen);
        }
    }
}

fn rows(chunk: &BatchChunk) -> u64 {
    match chunk {
        BatchChunk::Logs(chunk) => chunk.entries.len() as u64,
        BatchChunk::Traces(chunk) => chunk.entries.len() as u64,
    }
}

/// What admission did, for the sender and the counters.
struct Report {
    noun: &'static str,
    masked: BTreeMap<&'static str, u64>,
    rewritten: Rewritten,
}

impl Report {
    fn of(admitted: &Admitted, signal: Signal) -> Report {
        let masked = admitted.masked.iter();
        Report {
            noun: match signal {
                Signal::Traces => "spans",
                Signal::Logs => "log records",
            },
            masked: masked.map(|(rule, n)| (rule.name(), *n)).collect(),
            rewritten: admitted.rewritten.clone().unwrap_or_default(),
        }
    }

    /// Rejections are told one by one up to a few; what was cut or mended is told too, because the
    /// sender can do something about it.
    fn receipt(&self, accepted: u64) -> Receipt {
        let Rewritten {
            rejected,
            truncated,
            mended,
            told,
            ..
        } = &self.rewritten;
        let mut parts = Vec::new();
        if *rejected > 0 {
            let more = match *rejected as usize - told.len() {
                0 => String::new(),
                n => format!("; {n} more"),
            };
            let all = accepted + rejected;
            let told = told.join("; ");
            parts.push(format!(
                "{rejected} of {all} {} rejected: {told}{more}",
                self.noun
            ));
        }
        if *truncated > 0 {
            parts.push(format!(
                "{truncated} {} over a limit were cut and marked with {} (limits.*)",
                self.noun,
                super::TRUNCATED
            ));
        }
        if *mended > 0 {
            parts.push(format!("{mended} strings were not UTF-8 and got U+FFFD"));
        }
        Receipt {
            accepted,
            rejected: *rejected,
            message: (!parts.is_empty()).then(|| parts.join(". ")),
            deduplicated: false,
        }
    }
}
