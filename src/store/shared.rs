//! What the writer, the sealer, the keeper and readers share: the heads and the list of segments
//! under one short lock, and a few flags. No disk access while the lock is held.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::catalogue::{Catalogue, Watermarks};
use super::classes::Classes;
use super::config::Config;
use super::disk::{Disk, Lock};
use super::error::StoreError;
use super::head::{AllHeads, Bounds, SEALING_PERCENT_MAX};
use super::hide::{self, Rule};
use super::metrics::head::Noted;
use super::metrics::seal::place;
use super::metrics::{Book, HeadView, MetricsChunk, MetricsView};
use super::segments::Segments;
use super::snapshot::Snapshot;
use super::writer::{Batch, BatchChunk};
use crate::model::{Signal, Timestamp};

/// What readers see.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) heads: AllHeads,
    pub(super) segments: Arc<Segments>,
    /// As published in the catalogue.
    pub(super) watermarks: Watermarks,
    /// Pending deletions, oldest first.
    pub(super) rules: Arc<[Rule]>,
    /// A deletion came in, or the volume filled up, since the keeper last looked.
    pub(super) hurry: bool,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Disk,
    pub(super) config: Config,
    pub(super) bounds: Bounds,
    pub(super) catalogue: Catalogue,
    pub(super) classes: Classes,
    pub(super) book: Arc<Book>,
    /// Guards `Live`; held for pushes and for copying references, never across I/O.
    live: Mutex<Live>,
    /// A head waits for the sealer, the sealer has made room, or the store is closing.
    changed: Condvar,
    pub(super) next_segment: AtomicU64,
    /// Published: all of the log below this sequence can go.
    pub(super) low: AtomicU64,
    pub(super) wal_bytes: AtomicU64,
    /// Memory of the seal under way, beside its head.
    pub(super) scratch_bytes: AtomicU64,
    /// Memory of the rewrite under way.
    pub(super) rewriting_bytes: AtomicU64,
    /// The last request in the log, the last one that a sync has covered, and how many syncs that
    /// took.
    pub(super) wal_last: AtomicU64,
    pub(super) wal_synced: AtomicU64,
    pub(super) wal_syncs: AtomicU64,
    /// Done: closed files of the log have only frames from this sequence on.
    pub(super) removed_below: AtomicU64,
    pub(super) next_deletion: AtomicU64,
    /// The newest stamp of a record accepted since the start, as its sender's clock says.
    pub(super) newest_stamp: AtomicU64,
    now: AtomicU64,
    poisoned: AtomicBool,
    /// Free bytes when there were too few; `u64::MAX` when there are enough.
    full_at: AtomicU64,
    closed: AtomicBool,
    _lock: Lock,
}

/// How long one rest of the keeper is drawn out for the sealer at most: merging goes on under endless
/// load.
const YIELD_MAX: Duration = Duration::from_millis(250);

/// `Shared::full_at` when the disk has room.
const NOT_FULL: u64 = u64::MAX;

impl Shared {
    pub(super) fn new(
        disk: Disk,
        config: Config,
        catalogue: Catalogue,
        classes: Classes,
        book: Book,
        lock: Lock,
        live: Live,
    ) -> Shared {
        let low = live.watermarks.low;
        Shared {
            disk,
            bounds: Bounds::of(config.memory),
            config,
            catalogue,
            classes,
            book: Arc::new(book),
            live: Mutex::new(live),
            changed: Condvar::new(),
            next_segment: AtomicU64::new(1),
            low: AtomicU64::new(low),
            wal_bytes: AtomicU64::new(0),
            scratch_bytes: AtomicU64::new(0),
            rewriting_bytes: AtomicU64::new(0),
            wal_last: AtomicU64::new(0),
            wal_synced: AtomicU64::new(0),
            wal_syncs: AtomicU64::new(0),
            removed_below: AtomicU64::new(0),
            next_deletion: AtomicU64::new(1),
            newest_stamp: AtomicU64::new(0),
            now: AtomicU64::new(0),
            poisoned: AtomicBool::new(false),
            full_at: AtomicU64::new(NOT_FULL),
            closed: AtomicBool::new(false),
            _lock: lock,
        }
    }

    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        self.live
            .lock()
            .expect("nothing panics while it holds the lock")
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::Relaxed))
    }

    pub(super) fn set_now(&self, now: Timestamp) {
        self.now.store(now.0, Ordering::Relaxed);
    }

    /// Keys received before this are of no use any more.
    pub(super) fn keys_since(&self) -> Timestamp {
        let window = self.config.dedup_window.as_nanos();
        self.now()
            .saturating_sub(u64::try_from(window).unwrap_or(u64::MAX))
    }

    pub(super) fn quarantine_dir(&self) -> PathBuf {
        self.config.dir.join("quarantine")
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Stops ingest until a restart, and hands the cause back.
    pub(super) fn poison(&self, cause: StoreError) -> StoreError {
        if !self.poisoned.swap(true, Ordering::AcqRel) {
            tracing::error!(error = %cause, "storage poisoned, ingest stops until a restart");
        }
        self.changed.notify_all();
        cause
    }

    pub(super) fn check_not_poisoned(&self) -> Result<(), StoreError> {
        if self.is_poisoned() {
            return Err(StoreError::Poisoned);
        }
        Ok(())
    }

    /// # Errors
    /// [`StoreError::Poisoned`] or [`StoreError::DiskFull`].
    pub(super) fn check_writable(&self) -> Result<(), StoreError> {
        self.check_not_poisoned()?;
        match self.full_at.load(Ordering::Relaxed) {
            NOT_FULL => Ok(()),
            free => Err(self.disk_full(free)),
        }
    }

    fn disk_full(&self, free: u64) -> StoreError {
        let space = self.disk.space(&self.config.dir);
        StoreError::DiskFull {
            free,
            min: space.map_or(0, |space| self.config.free_min(space)),
        }
    }

    /// A write found no room: refuse until [`Shared::look_at_space`] sees enough again.
    pub(super) fn out_of_space(&self) -> StoreError {
        if self.full_at.swap(0, Ordering::Relaxed) == NOT_FULL {
            self.hurry();
        }
        self.disk_full(0)
    }

    /// Retention makes room, and what writes without need stops: the keeper is not to wait with it.
    fn hurry(&self) {
        self.live().hurry = true;
        self.changed.notify_all();
    }

    pub(super) fn is_full(&self) -> bool {
        self.full_at.load(Ordering::Relaxed) != NOT_FULL
    }

    /// Compares the free room with what is kept free; says so once per change.
    pub(super) fn look_at_space(&self) -> Result<(), StoreError> {
        let dir = &self.config.dir;
        let space = self
            .disk
            .space(dir)
            .map_err(StoreError::io("measure", dir))?;
        let min = self.config.free_min(space);
        let full_at = if space.free < min {
            space.free
        } else {
            NOT_FULL
        };
        let before = self.full_at.swap(full_at, Ordering::Relaxed);
        if before == NOT_FULL && full_at != NOT_FULL {
            self.hurry();
        }
        if (before == NOT_FULL) != (full_at == NOT_FULL) {
            let (free, full) = (space.free, full_at != NOT_FULL);
            tracing::warn!(full, free, min, "room on the volume");
        }
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // Under the lock, so that a thread about to wait cannot miss it.
        let _live = self.live();
        self.changed.notify_all();
    }

    /// Makes a logged request visible; the signal whose head is to be sealed now, if any.
    pub(super) fn push(&self, batch: Batch, sequence: u64, now: Timestamp) -> Option<Signal> {
        let key = batch.key;
        let chunk = match batch.chunk {
            BatchChunk::Metrics(chunk) => return self.push_metrics(&chunk, key, sequence, now),
            chunk => chunk,
        };
        let mut live = self.live();
        let cleared = hide::cleared_at(&live.rules, sequence);
        let heads = &mut live.heads;
        heads.next = sequence + 1;
        heads.clear_new(cleared);
        let signal = match chunk {
            BatchChunk::Metrics(_) => unreachable!("taken above"),
            BatchChunk::Logs(chunk) => {
                heads.logs.active.push(Arc::new(chunk), sequence, key, now);
                Signal::Logs
            }
            BatchChunk::Traces(chunk) => {
                let chunk = Arc::new(chunk);
                heads.traces.active.push(chunk, sequence, key, now);
                Signal::Traces
            }
        };
        heads.is_due(signal, now, self.bounds).then_some(signal)
    }

    /// As [`Shared::push`]. Only the writer fills a head, so that it may do so before it takes the lock.
    fn push_metrics(
        &self,
        chunk: &MetricsChunk,
        key: u128,
        sequence: u64,
        now: Timestamp,
    ) -> Option<Signal> {
        let head = self.live().heads.metrics.active.data.clone();
        let applied = self.book.apply(chunk, sequence, &head);
        if applied.orphans > 0 {
            let samples = applied.orphans;
            tracing::error!(
                samples,
                "samples of series that no part of the log names any more"
            );
        }
        let reach = applied.range.map(|r| (place(r.first), place(r.last)));
        if let Some((_, newest)) = reach {
            self.newest_stamp.fetch_max(newest.0, Ordering::Relaxed);
        }
        let noted = Noted {
            key: (key, chunk.received),
            samples: chunk.samples,
            raw_bytes: chunk.raw_bytes,
            bytes: applied.bytes as u64,
            new_series: applied.new,
            reach,
        };
        let mut live = self.live();
        let heads = &mut live.heads;
        heads.next = sequence + 1;
        heads.metrics.active.note(noted, sequence, now);
        heads
            .is_due(Signal::Metrics, now, self.bounds)
            .then_some(Signal::Metrics)
    }

    /// Metrics as they are now; everything acknowledged before is in it.
    pub(super) fn metrics(&self) -> MetricsView {
        let (heads, segments) = {
            let live = self.live();
            (live.heads.metrics.data(), live.segments.clone())
        };
        let oldest = match self.config.retention.metrics {
            Some(_) => {
                let cutoff = self.config.retention.cutoff(Signal::Metrics, self.now());
                (cutoff.0 / 1_000_000) as i64
            }
            None => i64::MIN,
        };
        MetricsView::new(
            self.book.clone(),
            segments.metrics().cloned().collect(),
            heads.into_iter().map(HeadView::of).collect(),
            oldest,
        )
    }

    pub(super) fn seal(&self, signal: Signal) {
        if signal == Signal::Metrics {
            self.book.recount(self.now());
        }
        self.live().heads.seal(signal);
        self.changed.notify_all();
    }

    pub(super) fn is_due(&self, signal: Signal, now: Timestamp) -> bool {
        self.live().heads.is_due(signal, now, self.bounds)
    }

    /// Whether a request with this sequence may not join the active head: a deletion is about one of
    /// them and not about the other.
    pub(super) fn is_apart(&self, signal: Signal, sequence: u64) -> bool {
        let live = self.live();
        let cleared = hide::cleared_at(&live.rules, sequence);
        let active = live.heads.active_cleared(signal);
        active.is_some_and(|active| active != cleared)
    }

    /// Hands heads to the sealer that hold something a pending deletion may be about: what comes in
    /// now came after it.
    pub(super) fn seal_before_rules(&self) {
        let mut live = self.live();
        let newest = live.rules.last().map_or(0, |rule| rule.number);
        for signal in Signal::ALL {
            if live
                .heads
                .active_cleared(signal)
                .is_some_and(|c| c < newest)
            {
                live.heads.seal(signal);
            }
        }
    }

    /// From here on nobody is shown what `rule` is about. Everything accepted so far is handed to
    /// the sealer.
    pub(super) fn hide(&self, rule: Rule) {
        let mut live = self.live();
        for signal in Signal::ALL {
            live.heads.seal(signal);
        }
        live.rules = live.rules.iter().cloned().chain([rule]).collect();
        live.hurry = true;
        drop(live);
        self.changed.notify_all();
    }

    /// Whether the active head of a signal holds frames up to `sequence`.
    pub(super) fn holds_before(&self, signal: Signal, sequence: u64) -> bool {
        let first = self.live().heads.active_first(signal);
        first.is_some_and(|first| first <= sequence)
    }

    /// Whether a request of `bytes` belongs into a new head of its signal.
    pub(super) fn overfills(&self, signal: Signal, bytes: u64) -> bool {
        self.live().heads.overfills(signal, bytes, self.bounds)
    }

    /// Waits until a request of `bytes` fits the heads and at most one full head waits for the
    /// sealer; what all heads take, if that did not come about.
    pub(super) fn wait_for_room(&self, bytes: u64, wait_max: Duration) -> Result<(), u64> {
        let Bounds { total, head } = self.bounds;
        let is_full =
            |heads: &AllHeads| heads.bytes() + bytes > total || heads.sealing_bytes() > head;
        // With nothing to seal, waiting makes no room.
        let busy = |live: &mut Live| {
            is_full(&live.heads) && live.heads.sealing_bytes() > 0 && !self.is_poisoned()
        };
        let (live, _) = self
            .changed
            .wait_timeout_while(self.live(), wait_max, busy)
            .expect("nothing panics while it holds the lock");
        if is_full(&live.heads) {
            return Err(live.heads.bytes());
        }
        Ok(())
    }

    /// Says what encoding a head of `bytes` takes; 0 when it is done.
    pub(super) fn set_scratch(&self, bytes: u64) {
        let scratch = bytes * SEALING_PERCENT_MAX / 100;
        self.scratch_bytes.store(scratch, Ordering::Relaxed);
    }

    /// Waits until a head is to be sealed or the store closes.
    pub(super) fn wait_for_work(&self, wait_max: Duration) {
        let idle = |live: &mut Live| live.heads.sealing_bytes() == 0 && !self.is_closed();
        let _waited = self
            .changed
            .wait_timeout_while(self.live(), wait_max, idle)
            .expect("nothing panics while it holds the lock");
    }

    /// Waits for the store to close.
    pub(super) fn wait_closed(&self, wait_max: Duration) {
        let _waited = self
            .changed
            .wait_timeout_while(self.live(), wait_max, |_| !self.is_closed())
            .expect("nothing panics while it holds the lock");
    }

    /// Waits for the store to close, or for something that the keeper should not wait with.
    pub(super) fn wait_for_upkeep(&self, wait_max: Duration) {
        let mut live = self
            .changed
            .wait_timeout_while(self.live(), wait_max, |live| {
                !live.hurry && !self.is_closed()
            })
            .expect("nothing panics while it holds the lock")
            .0;
        live.hurry = false;
    }

    /// Waits out a rest of the keeper, and then until no head is to be sealed, so that the core is left
    /// to ingest; not when the store closes, a deletion comes in or the volume fills up.
    pub(super) fn rest(&self, rest: Duration) {
        let is_free = |live: &Live| live.hurry || self.is_closed();
        let waited = self
            .changed
            .wait_timeout_while(self.live(), rest, |live| !is_free(live));
        let live = waited.expect("nothing panics while it holds the lock").0;
        let _waited = self
            .changed
            .wait_timeout_while(live, YIELD_MAX, |live| {
                live.heads.sealing_bytes() > 0 && !is_free(live)
            })
            .expect("nothing panics while it holds the lock");
    }

    /// Whether the keeper is awaited: it works without rests then.
    pub(super) fn is_hurried(&self) -> bool {
        self.live().hurry
    }

    /// Replaces part of what readers see, in one step.
    pub(super) fn publish(&self, change: impl FnOnce(&mut Live)) {
        let mut live = self.live();
        change(&mut live);
        self.low.store(live.watermarks.low, Ordering::Release);
        drop(live);
        self.changed.notify_all();
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let now = self.now();
        let (logs, traces, segments, rules) = {
            let live = self.live();
            let heads = &live.heads;
            let kept = (live.segments.clone(), live.rules.clone());
            (heads.logs.groups(), heads.traces.groups(), kept.0, kept.1)
        };
        let retention = &self.config.retention;
        let mut rules = rules;
        if !self.classes.is_empty() {
            let of_services = self.classes.rules(retention, now);
            rules = rules.iter().cloned().chain(of_services).collect();
        }
        Snapshot {
            cutoffs: Signal::ALL.map(|signal| retention.oldest(signal, now)),
            logs: logs.into(),
            traces: traces.into(),
            segments,
            catalogue: self.catalogue.clone(),
            rules,
        }
    }
}
