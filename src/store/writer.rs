//! The one writer: log first, then the head. What it has accepted survives a kill and is visible to
//! the next snapshot. Owned by one thread; readers and the sealer never wait for the disk with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::catalogue::{Edit, Watermarks};
use super::deletion::{self, DELETIONS_PENDING_MAX, Deletion, Stage, Wanted};
use super::error::StoreError;
use super::head::{self, Bounds};
use super::hide::Rule;
use super::metrics::{MetricsChunk, MetricsOutcome, Terms};
use super::shared::Shared;
use super::wal::frame::Encoding;
use super::wal::{Record, UNSYNCED_BYTES_MAX, WAL_BYTES_MAX, Wal};
use crate::model::{LogChunk, ProjectId, Signal, SpanChunk, Timestamp, metric};

/// How long an append waits for the sealer before it refuses. Encoding a head takes about 50 ms;
/// longer than this means the disk hangs.
const SEALER_WAIT_MAX: Duration = Duration::from_secs(5);

/// Log bytes at which heads are sealed although they are small, because they keep old files alive.
const WAL_BYTES_SEAL: u64 = WAL_BYTES_MAX / 2;

/// Appended bytes after which free room is looked at again, beside every tick.
const SPACE_CHECK_BYTES: u64 = 16 << 20;

/// How often active series are counted anew, so that those that have ended make room also where nothing
/// is sealed. A pass over 50,000 takes a millisecond.
const RECOUNT_INTERVAL_NS: u64 = 60 * SYNC_INTERVAL_NS;

/// The timer of fdatasync (design.md section 3).
const SYNC_INTERVAL_NS: u64 = 1_000_000_000;

/// One admitted request.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) chunk: BatchChunk,
    /// Hash of the decompressed request, by which a retry is known.
    pub(crate) key: u128,
    /// The bytes as they came, when they are compressed and were not rewritten: logged instead of
    /// the chunk's own, so that nothing is compressed for the log.
    pub(crate) wire: Option<(Encoding, Bytes)>,
}

/// The records of a batch, indexed.
#[derive(Debug)]
pub(crate) enum BatchChunk {
    Logs(LogChunk),
    Traces(SpanChunk),
    Metrics(MetricsChunk),
}

impl Batch {
    /// Records in it.
    pub(crate) fn rows(&self) -> u64 {
        match &self.chunk {
            BatchChunk::Logs(chunk) => chunk.entries.len() as u64,
            BatchChunk::Traces(chunk) => chunk.entries.len() as u64,
            BatchChunk::Metrics(chunk) => chunk.samples,
        }
    }

    /// The newest stamp that its sender gave to a record; 0: there is none. Records without one, or
    /// with one far in the future, stand where they arrived and tell nothing.
    fn newest_stamp(&self) -> Timestamp {
        fn newest(received: Timestamp, places: impl Iterator<Item = Timestamp>) -> Timestamp {
            let own = places.filter(|at| *at != received);
            own.max().unwrap_or_default()
        }
        match &self.chunk {
            BatchChunk::Logs(chunk) => {
                let places = chunk.entries.iter().map(|entry| entry.at);
                newest(chunk.request.received, places)
            }
            BatchChunk::Traces(chunk) => {
                let places = chunk.entries.iter().map(|entry| entry.at);
                newest(chunk.request.received, places)
            }
            // The head tells it.
            BatchChunk::Metrics(_) => Timestamp(0),
        }
    }

    pub(super) fn signal(&self) -> Signal {
        match &self.chunk {
            BatchChunk::Logs(_) => Signal::Logs,
            BatchChunk::Traces(_) => Signal::Traces,
            BatchChunk::Metrics(_) => Signal::Metrics,
        }
    }

    /// What it takes in a head.
    pub(super) fn bytes(&self) -> u64 {
        match &self.chunk {
            BatchChunk::Logs(chunk) => head::bytes_of(chunk),
            BatchChunk::Traces(chunk) => head::bytes_of(chunk),
            BatchChunk::Metrics(chunk) => chunk.bytes(),
        }
    }

    fn record(&self) -> Record<'_> {
        let (signal, request) = match &self.chunk {
            BatchChunk::Logs(chunk) => (Signal::Logs, &chunk.request),
            BatchChunk::Traces(chunk) => (Signal::Traces, &chunk.request),
            BatchChunk::Metrics(chunk) => return metrics_record(chunk, self.key),
        };
        let (encoding, payload) = match &self.wire {
            Some((encoding, bytes)) => (*encoding, bytes),
            None => (Encoding::Identity, &request.bytes),
        };
        Record {
            signal,
            project: request.project,
            received: request.received,
            key: self.key,
            encoding,
            payload,
            raw_bytes: request.bytes.len() as u64,
        }
    }
}

fn metrics_record(chunk: &MetricsChunk, key: u128) -> Record<'_> {
    Record {
        signal: Signal::Metrics,
        project: chunk.project,
        received: chunk.received,
        key,
        encoding: Encoding::Identity,
        payload: &chunk.payload,
        raw_bytes: chunk.payload.len() as u64,
    }
}

/// A request of metrics, decoded and not judged yet.
#[derive(Debug)]
pub(crate) struct MetricsBatch {
    pub(crate) project: ProjectId,
    pub(crate) received: Timestamp,
    pub(crate) batch: metric::Batch,
    /// 0: nobody sends the same twice.
    pub(crate) key: u128,
    /// Bytes that it was decoded from.
    pub(crate) raw_bytes: u64,
}

/// See the module. Dropping it without [`Writer::close`] is what a kill does.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    wal: Wal,
    /// The log has been cleaned up to here.
    removed_below: u64,
    bytes_since_check: u64,
    synced_at: Timestamp,
    recounted_at: Timestamp,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, wal: Wal) -> Writer {
        let writer = Writer {
            shared,
            wal,
            removed_below: 0,
            bytes_since_check: 0,
            synced_at: Timestamp(0),
            recounted_at: Timestamp(0),
        };
        writer.tell();
        writer
    }

    /// Logs a request with one write(2) and makes it visible.
    ///
    /// # Errors
    /// Nothing of the request is kept. [`StoreError::DiskFull`], [`StoreError::WalFull`] and
    /// [`StoreError::Behind`] pass by themselves; [`StoreError::Poisoned`] and whatever poisons last
    /// until a restart.
    pub(crate) fn append(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.shared.check_writable()?;
        self.make_room(batch.signal(), batch.bytes())?;
        let sequence = match self.wal.append(&batch.record()) {
            Ok(sequence) => sequence,
            Err(e) if e.is_out_of_space() => return Err(self.shared.out_of_space()),
            Err(e @ (StoreError::TooLarge { .. } | StoreError::WalFull { .. })) => return Err(e),
            Err(e) => return Err(self.shared.poison(e)),
        };
        let now = batch.record().received;
        self.bytes_since_check += batch.record().payload.len() as u64;
        let stamp = batch.newest_stamp().0;
        self.shared.newest_stamp.fetch_max(stamp, Ordering::Relaxed);
        let due = self.shared.push(batch, sequence, now);
        if let Some(signal) = due {
            self.seal(signal)?;
        }
        self.tell();
        self.after_append()
    }

    /// Judges a request of metrics sample by sample, and keeps what is new of it as [`Writer::append`]
    /// does.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub(crate) fn append_metrics(
        &mut self,
        request: &MetricsBatch,
    ) -> Result<MetricsOutcome, StoreError> {
        self.shared.check_writable()?;
        let shared = self.shared.clone();
        let heads = shared.live().heads.metrics.data();
        let cutoff = shared.config.retention.metrics;
        let cutoff = cutoff.map(|_| {
            shared
                .config
                .retention
                .cutoff(Signal::Metrics, request.received)
        });
        let terms = Terms {
            received: request.received,
            oldest: cutoff.map(|at| (at.0 / 1_000_000) as i64),
        };
        let mut plan = shared.book.plan(&request.batch, terms, &heads);
        if plan.payload.is_empty() {
            return Ok(plan.outcome);
        }
        let chunk = MetricsChunk {
            payload: std::mem::take(&mut plan.payload).into(),
            project: request.project,
            received: request.received,
            samples: plan.samples,
            raw_bytes: request.raw_bytes,
        };
        let last = self.wal.last();
        let kept = self.append(Batch {
            chunk: BatchChunk::Metrics(chunk),
            key: request.key,
            wire: None,
        });
        if kept.is_err() && self.wal.last() == last {
            shared.book.abort(&plan, request.received);
        }
        kept.map(|()| plan.outcome)
    }

    /// Brings the log's figures in [`super::Stats`] up to date.
    fn tell(&self) {
        let Shared {
            wal_bytes,
            wal_last,
            wal_synced,
            wal_syncs,
            ..
        } = &*self.shared;
        wal_bytes.store(self.wal.bytes(), Ordering::Relaxed);
        wal_last.store(self.wal.last(), Ordering::Release);
        wal_synced.store(self.wal.synced(), Ordering::Release);
        wal_syncs.store(self.wal.syncs(), Ordering::Relaxed);
    }

    /// The request is kept and visible already. A failure here poisons the store; the refused sender
    /// comes again after the restart and is known by its key.
    fn after_append(&mut self) -> Result<(), StoreError> {
        if self.wal.unsynced_bytes() >= UNSYNCED_BYTES_MAX {
            self.sync()?;
        }
        if self.wal.bytes() > WAL_BYTES_SEAL {
            self.unpin_log()?;
        }
        if self.bytes_since_check >= SPACE_CHECK_BYTES {
            self.bytes_since_check = 0;
            // A volume that cannot be measured is no reason to refuse what is kept already: its
            // sender would come again, and the request would be kept twice.
            if let Err(error) = self.shared.look_at_space() {
                tracing::warn!(%error, "room on the volume not measured");
            }
        }
        self.clean_log()
    }

    /// Hides what was accepted so far and matches, from the next snapshot on, and has it erased.
    /// Survives whatever comes once this has returned.
    ///
    /// # Errors
    /// Nothing is hidden. [`StoreError::BadCondition`] and [`StoreError::TooManyDeletions`] change
    /// nothing; a full volume passes; anything else has poisoned the store.
    pub(crate) fn delete(
        &mut self,
        wanted: &Wanted,
        now: Timestamp,
    ) -> Result<Deletion, StoreError> {
        self.shared.check_not_poisoned()?;
        let compile = self.shared.config.compile;
        let condition = compile(&wanted.condition).map_err(StoreError::BadCondition)?;
        let pending = self.shared.live().rules.len();
        if pending >= DELETIONS_PENDING_MAX {
            let max = DELETIONS_PENDING_MAX;
            return Err(StoreError::TooManyDeletions { pending, max });
        }
        self.sync()?;
        let deletion = self.record(wanted, now).map_err(|e| match e {
            e if e.is_out_of_space() => self.shared.out_of_space(),
            e @ StoreError::TooLarge { .. } => e,
            e => self.shared.poison(e),
        })?;
        self.shared.hide(Rule {
            number: deletion.number,
            before: deletion.before,
            range: deletion.range,
            condition: Arc::new(condition.only(deletion.signals)),
            signal: None,
            spared: Arc::default(),
        });
        Ok(deletion)
    }

    /// Writes a deletion down: the condition's file first, then the catalogue.
    fn record(&mut self, wanted: &Wanted, now: Timestamp) -> Result<Deletion, StoreError> {
        let shared = &self.shared;
        // What came before is in closed files then, which go as a whole.
        self.wal.rotate()?;
        let deletion = Deletion {
            number: shared.next_deletion.fetch_add(1, Ordering::Relaxed),
            stage: Stage::Hidden,
            signals: wanted.signals,
            range: wanted.range,
            before: self.wal.last() + 1,
            requested: now,
            done: Timestamp(0),
            erased: [0; Signal::RECORDS.len()],
            left_files: 0,
            by: wanted.by.clone(),
            shape: wanted.shape.clone(),
        };
        let dir = &shared.config.dir;
        deletion::write(&shared.disk, dir, deletion.number, &wanted.condition)?;
        let watermarks = self.idle_watermarks();
        shared.catalogue.apply(&Edit {
            watermarks,
            delete: Some(deletion.clone()),
            ..Edit::default()
        })?;
        if let Some(watermarks) = watermarks {
            shared.publish(|live| live.watermarks = watermarks);
        }
        Ok(deletion)
    }

    /// With nothing in the heads all of the log is in segments, also where nothing was published
    /// since: its files can go. Only the writer fills heads, so nobody publishes meanwhile.
    fn idle_watermarks(&self) -> Option<Watermarks> {
        let live = self.shared.live();
        let is_idle = live.heads.is_empty();
        is_idle.then(|| Watermarks {
            low: self.wal.last() + 1,
            ..live.watermarks
        })
    }

    /// Makes everything appended durable: the timer's work, or before a grouped answer when
    /// `durability = "sync"`.
    ///
    /// # Errors
    /// The sync failed; the store is poisoned and must not claim anything since the last success.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.shared.check_not_poisoned()?;
        self.wal.sync().map_err(|e| self.shared.poison(e))?;
        self.tell();
        Ok(())
    }

    /// To be called about once a second, also when nothing comes in: syncs, seals what is old,
    /// looks at the room left, removes log files.
    ///
    /// # Errors
    /// As [`Writer::sync`].
    pub(crate) fn tick(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.shared.set_now(now);
        self.shared.check_not_poisoned()?;
        let since = now.0.abs_diff(self.synced_at.0);
        if since >= SYNC_INTERVAL_NS {
            self.synced_at = now;
            self.sync()?;
        }
        self.shared.look_at_space()?;
        if now.0.abs_diff(self.recounted_at.0) >= RECOUNT_INTERVAL_NS {
            self.recounted_at = now;
            self.shared.book.recount(now);
        }
        for signal in Signal::ALL {
            if self.shared.is_due(signal, now) {
                self.seal(signal)?;
            }
        }
        self.clean_log()
    }

    /// A clean stop: everything durable, and a note that it is, so that later damage cannot pass
    /// for the torn end of a power cut.
    pub(crate) fn close(mut self) -> Result<(), StoreError> {
        self.shared.close();
        self.sync()?;
        let synced = self.wal.synced();
        let noted = self.shared.catalogue.close(synced);
        noted.map_err(|e| self.shared.poison(e))
    }

    /// Hands the active head to the sealer. The log moves on to a new file, and the old one is
    /// durable before anything of it can be in a segment.
    pub(super) fn seal(&mut self, signal: Signal) -> Result<(), StoreError> {
        self.sync()?;
        match self.wal.rotate() {
            Ok(()) => self.shared.seal(signal),
            // Not sealed, nothing lost: the head grows until there is room.
            Err(e) if e.is_out_of_space() => _ = self.shared.out_of_space(),
            Err(e) => return Err(self.shared.poison(e)),
        }
        Ok(())
    }

    /// Seals heads that keep the oldest file of a large log alive.
    fn unpin_log(&mut self) -> Result<(), StoreError> {
        let oldest = self.wal.oldest_last();
        for signal in Signal::ALL {
            if self.shared.holds_before(signal, oldest) {
                self.seal(signal)?;
            }
        }
        Ok(())
    }

    /// Removes log files whose every record is in a published segment.
    fn clean_log(&mut self) -> Result<(), StoreError> {
        let low = self.shared.low.load(Ordering::Acquire);
        if low <= self.removed_below {
            return Ok(());
        }
        self.removed_below = low;
        let quarantine = self.shared.quarantine_dir();
        self.wal
            .remove_below(low, &quarantine)
            .map_err(|e| self.shared.poison(e))?;
        self.tell();
        self.shared.removed_below.store(low, Ordering::Release);
        Ok(())
    }

    /// Backpressure: all heads together have a bound in bytes, which a request must fit before it is
    /// logged.
    fn make_room(&mut self, signal: Signal, bytes: u64) -> Result<(), StoreError> {
        let Bounds { total: max, head } = self.shared.bounds;
        if bytes > max {
            return Err(StoreError::TooLarge { bytes, max });
        }
        if bytes > head {
            // It needs the room of several heads.
            for signal in Signal::ALL {
                self.seal(signal)?;
            }
        } else if self.shared.overfills(signal, bytes) {
            self.seal(signal)?;
        }
        let waited = self.shared.wait_for_room(bytes, SEALER_WAIT_MAX);
        waited.map_err(|bytes| StoreError::Behind { bytes, max })
    }
}
