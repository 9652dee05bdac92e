//! The door itself: what receivers call.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::admit::{self, Admitted, Look, Terms};
use super::budget::{Budget, Permit};
use super::dedup::{self, Window};
use super::offload::Offload;
use super::report::Report;
use super::senders;
use super::writer::{Item, Loop, Stored, Waiting};
use super::{Config, Encoding, Receipt, Refusal, Submission};
use crate::model::chunk::Counts;
use crate::model::{ProjectId, Signal, Timestamp};
use crate::observe::sources::{Sources, Transport};
use crate::observe::{Clock, Metric, Metrics};
use crate::store::{Batch, Deletion, Key, StoreError, Wanted, Writer};

/// Requests in the queue. Their bytes are bounded by the budget; this bounds the many small ones.
const QUEUE_REQUESTS_MAX: usize = 1024;

/// Told to senders when the queue is full.
const QUEUE_RETRY_S: u32 = 1;

/// The way in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Door {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    config: Config,
    budget: Budget,
    offload: Offload,
    queue: SyncSender<Item>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    sources: Arc<Sources>,
}

/// The writer's thread; [`WriterThread::close`] before the process ends.
pub(crate) struct WriterThread {
    queue: SyncSender<Item>,
    thread: JoinHandle<()>,
}

/// Whose rules a request goes by.
#[derive(Clone, Copy)]
struct Whose {
    signal: Signal,
    project: ProjectId,
    received: Timestamp,
}

/// What is known of a request besides its records.
struct Coming {
    signal: Signal,
    received: Timestamp,
    transport: Transport,
    key: u128,
    wire: Option<(Encoding, Bytes)>,
    left_out: u64,
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
        let budget = Budget::of_share(config.budget_bytes);
        let work = Loop {
            writer,
            window: Window::new(config.dedup_window_ns, keys),
            durability: config.durability,
            ticked: clock.now(),
            spare: budget.spare().clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            sources: sources.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || work.run(&items))?;
        metrics.set(Metric::BudgetBytes, &[], budget.total() as f64);
        let shared = Shared {
            // A request is held compressed and decompressed at once: two of them must fit.
            config: Config {
                request_bytes: config.request_bytes.min(budget.total() / 2),
                ..config
            },
            budget,
            offload: Offload::new(),
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

    /// Bytes of the door's share in use: those of the budget, and buffers that wait for a request.
    pub(crate) fn memory_used(&self) -> usize {
        self.shared.budget.used() + self.shared.budget.spare().bytes()
    }

    /// Takes memory for a request before its bytes are read.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] after half a second.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<Permit, Refusal> {
        self.shared.budget.reserve(bytes).await
    }

    /// Runs work over `bytes` of a request where it holds up nobody: large ones on a blocking thread.
    /// The memory of the request is kept until the work ends, even if its sender hangs up.
    pub(crate) async fn offload<T: Send + 'static>(
        &self,
        permit: &Permit,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let kept = permit.kept();
        let work = move || {
            let _kept = kept;
            work()
        };
        self.shared.offload.run(bytes, work).await
    }

    /// Admits a request and waits until it is kept. `permit` covers its bytes.
    ///
    /// # Errors
    /// Why the whole request was refused; single bad records are told in the [`Receipt`].
    pub(crate) async fn submit(
        &self,
        mut permit: Permit,
        submission: Submission,
    ) -> Result<Receipt, Refusal> {
        let signal = submission.signal;
        let admitted = self.admit(&mut permit, submission).await;
        let (batch, report) = admitted.inspect_err(|refusal| self.refused(signal, refusal))?;
        let mut receipt = report.receipt();
        let stored = match batch {
            Some(batch) => self.store(batch, report, permit).await?,
            // Nothing is left to keep: counted here, where others are counted when they are kept.
            None => {
                let Shared {
                    metrics, sources, ..
                } = &*self.shared;
                report.count(&Ok(Stored::Now), metrics, sources);
                Stored::Now
            }
        };
        receipt.deduplicated = stored == Stored::Before;
        Ok(receipt)
    }

    /// Hides and erases what was accepted before and matches. `None`: the server stops, or is too
    /// busy to take it.
    ///
    /// # Errors
    /// As `Writer::delete`.
    pub(crate) async fn delete(&self, wanted: Wanted) -> Option<Result<Deletion, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let item = Item::Delete(Box::new(wanted), reply);
        self.shared.queue.try_send(item).ok()?;
        answer.await.ok()
    }

    pub(super) fn refused(&self, signal: Signal, refusal: &Refusal) {
        let labels = [signal.name(), refusal.reason()];
        self.shared.metrics.add(Metric::Refused, &labels, 1);
    }

    /// Refuses what could never have memory, instead of letting it wait for some.
    pub(super) fn fits(&self, bytes: usize) -> Result<(), Refusal> {
        let max = self.shared.budget.total();
        if bytes > max {
            let (bytes, max) = (bytes as u64, max as u64);
            return Err(Refusal::TooLarge { bytes, max });
        }
        Ok(())
    }

    /// Checks, masks and indexes a request; no batch when no record of it is left. Every step asks
    /// for its memory first and then runs where it holds up nobody.
    async fn admit(
        &self,
        permit: &mut Permit,
        submission: Submission,
    ) -> Result<(Option<Batch>, Report), Refusal> {
        let Submission {
            signal,
            project,
            transport,
            bytes,
            wire,
            left_out,
        } = submission;
        let (received, len) = (self.shared.clock.now(), bytes.len());
        let metrics = &self.shared.metrics;
        metrics.add(Metric::DecodedBytes, &[signal.name()], len as u64);
        let count = move || {
            let key = dedup::key(&bytes, signal, project);
            (Counts::of(&bytes).index_bytes(), key, bytes)
        };
        let (index_bytes, key, bytes) = self.offload(permit, len, count).await;
        // The index of many tiny records is larger than they are.
        self.fits(len + index_bytes)?;
        permit.grow(index_bytes).await?;
        let whose = Whose {
            signal,
            project,
            received,
        };
        let spare = self.shared.budget.spare().clone();
        let look = move |terms: Terms<'_>| admit::look(bytes, terms, &spare);
        let admitted = match self.offload_on(permit, whose, len, look).await {
            Look::Clean(admitted) => admitted,
            Look::Dirty(dirty) => {
                // Once more for what is written anew, which holds at most what came.
                let more = dirty.len() + index_bytes;
                self.fits(permit.bytes() + more)?;
                permit.grow(more).await?;
                let rewrite = move |terms: Terms<'_>| dirty.rewrite(terms);
                let rewritten = self.offload_on(permit, whose, len, rewrite).await;
                rewritten.map_err(|error| {
                    Refusal::Malformed(format!("not an OTLP {} request: {error}", signal.name()))
                })?
            }
        };
        let coming = Coming {
            signal,
            received,
            transport,
            key,
            wire,
            left_out,
        };
        Ok(self
            .offload(permit, len, move || batch(coming, admitted))
            .await)
    }

    /// As [`Door::offload`], for work that goes by the rules for a request.
    async fn offload_on<T: Send + 'static>(
        &self,
        permit: &Permit,
        whose: Whose,
        bytes: usize,
        work: impl FnOnce(Terms<'_>) -> T + Send + 'static,
    ) -> T {
        let shared = Arc::clone(&self.shared);
        let on_terms = move || {
            let Whose {
                signal,
                project,
                received,
            } = whose;
            let retention = &shared.config.retention;
            work(Terms {
                signal,
                project,
                received,
                oldest: retention.cutoff(signal, received),
                of_services: &retention.service_cutoffs(received),
                limits: &shared.config.limits,
                redact: shared.config.redact,
            })
        };
        self.offload(permit, bytes, on_terms).await
    }

    /// Hands something to the writer.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] when the queue is full, [`Refusal::Closing`].
    pub(super) fn queue(&self, item: Item) -> Result<(), Refusal> {
        self.shared.queue.try_send(item).map_err(|e| match e {
            TrySendError::Full(_) => Refusal::Overloaded {
                retry_after_s: QUEUE_RETRY_S,
            },
            TrySendError::Disconnected(_) => Refusal::Closing,
        })
    }

    /// Queues a batch and waits for the word of the writer, which counts it.
    async fn store(&self, batch: Batch, report: Report, permit: Permit) -> Result<Stored, Refusal> {
        let signal = report.signal;
        let refused = |refusal| {
            self.refused(signal, &refusal);
            Err(refusal)
        };
        let (reply, outcome) = oneshot::channel();
        let item = Item::Batch(Box::new(Waiting {
            batch,
            reply,
            report,
            permit,
        }));
        if let Err(refusal) = self.queue(item) {
            return refused(refusal);
        }
        match outcome.await {
            Ok(outcome) => outcome,
            // The writer has ended without a look at it.
            Err(_) => refused(Refusal::Closing),
        }
    }
}

/// What a batch is and what is reported of it; no batch when no record is left.
fn batch(coming: Coming, admitted: Admitted) -> (Option<Batch>, Report) {
    let Coming {
        signal,
        received,
        transport,
        key,
        wire,
        left_out,
    } = coming;
    let mut seen = senders::of(&admitted.chunk, admitted.newest, transport);
    if let Some(rewritten) = &admitted.rewritten {
        senders::add_rejections(&mut seen, rewritten, signal, received, transport);
    }
    let unchanged = admitted.rewritten.is_none() && admitted.masked.is_empty();
    let mut report = Report::new(
        signal,
        &admitted.chunk,
        &admitted.masked,
        admitted.rewritten.unwrap_or_default(),
        seen,
    );
    report.left_out = left_out;
    let batch = Batch {
        chunk: admitted.chunk,
        key,
        wire: wire.filter(|_| unchanged),
    };
    (Some(batch).filter(|batch| batch.rows() > 0), report)
}
