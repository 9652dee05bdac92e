//! The head: accepted requests that are not in a segment yet, readable the moment they are appended.
//!
//! Owns the request bytes and about 64 B of index per record; never copies a record. Appending
//! happens under one short lock; readers take the groups by reference count.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use super::catalogue::Key;
use super::config::Memory;
use super::digest::Digest;
use super::metrics::head as metrics;
use super::texts::Texts;
use crate::model::chunk::Chunk;
use crate::model::time::NANOS_PER_DAY;
use crate::model::{LogEntry, Signal, SpanEntry, Timestamp};

/// Records in a head before it is sealed: segments below 16k records cost 4 % more disk, above 32k
/// only memory (storage.md section 2).
pub(crate) const HEAD_ROWS_MAX: u64 = 32_768;

/// Heap of a head before it is sealed, per signal, however much memory there is: [`HEAD_ROWS_MAX`]
/// records of 500 B.
pub(crate) const HEAD_BYTES_MAX: u64 = 16 << 20;

/// What encoding a head takes beside the head, in percent of its bytes. Measured by heap profile:
/// 80 % for logs, 50 % for spans (sort keys, open blocks, dictionaries, the finished file). No test
/// measures it alone, which takes a counting allocator; `tests/it/overload.rs` bounds it with the rest.
pub(crate) const SEALING_PERCENT_MAX: u64 = 100;

/// What heads may take, from the budget (`limits.memory`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// All heads together, those that wait for the sealer included.
    pub(crate) total: u64,
    /// One head, before it is handed to the sealer; a larger request has a head to itself.
    pub(crate) head: u64,
}

impl Bounds {
    /// Each signal fills a head while one more is encoded. A second one waiting would cost as
    /// much memory again and no sender would see it: filling takes longer than encoding.
    pub(crate) fn of(memory: Memory) -> Bounds {
        let share = memory.heads / (Signal::ALL.len() as u64 + 1);
        let encodable = memory.sealing * 100 / SEALING_PERCENT_MAX;
        Bounds {
            total: memory.heads,
            head: share.min(encodable).min(HEAD_BYTES_MAX),
        }
    }
}

/// A head is sealed this long after its first record, however small: bounds what a restart replays.
/// Shorter would only make more small segments: the log keeps the data safe either way.
pub(crate) const HEAD_AGE_NS_MAX: u64 = 10 * 60 * 1_000_000_000;

/// A head of at least [`IDLE_BYTES_MIN`] is sealed when nothing came for this long, to give its
/// memory back after a burst.
pub(crate) const HEAD_IDLE_NS_MAX: u64 = 60 * 1_000_000_000;
pub(crate) const IDLE_BYTES_MIN: u64 = 1 << 20;

/// A group of chunks is closed at this many rows: small enough that newest-first reading skips most.
const GROUP_ROWS_MAX: u64 = 1024;
/// Or at this many requests: what a snapshot copies one by one stays short.
const GROUP_CHUNKS_MAX: usize = 128;

/// Memory of one chunk beside its bytes and index: the structs and their allocations.
const CHUNK_OVERHEAD_BYTES: u64 = 192;

/// What a chunk takes in a head.
pub(crate) fn bytes_of<E>(chunk: &Chunk<E>) -> u64 {
    chunk.heap_bytes() as u64 + CHUNK_OVERHEAD_BYTES
}

/// An index entry of either signal.
pub(crate) trait Entry: std::fmt::Debug {
    fn at(&self) -> Timestamp;
    /// Number of its resource and scope in the request.
    fn group(&self) -> u32;
}

impl Entry for LogEntry {
    fn at(&self) -> Timestamp {
        self.at
    }

    fn group(&self) -> u32 {
        self.group
    }
}

impl Entry for SpanEntry {
    fn at(&self) -> Timestamp {
        self.at
    }

    fn group(&self) -> u32 {
        self.group
    }
}

/// Consecutive requests, read as one unit.
#[derive(Debug)]
pub(crate) struct Group<E> {
    pub(crate) chunks: Vec<Arc<Chunk<E>>>,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// As of its head.
    pub(crate) cleared: u64,
    /// Made by the first reader who needs it; only spans have one.
    pub(super) digest: OnceLock<Arc<Digest>>,
    /// Somebody has looked at its log texts.
    pub(super) asked: AtomicBool,
    /// What they have in common, made by the second who looks; only logs have it.
    pub(super) texts: OnceLock<Option<Texts>>,
}

impl<E> Group<E> {
    /// The group as it is now; the original goes on growing.
    fn freeze(&self) -> Group<E> {
        Group {
            chunks: self.chunks.clone(),
            digest: OnceLock::new(),
            asked: AtomicBool::new(false),
            texts: OnceLock::new(),
            ..*self
        }
    }
}

impl<E> Default for Group<E> {
    fn default() -> Self {
        Group {
            chunks: Vec::new(),
            first: Timestamp::MAX,
            last: Timestamp(0),
            rows: 0,
            bytes: 0,
            cleared: 0,
            digest: OnceLock::new(),
            asked: AtomicBool::new(false),
            texts: OnceLock::new(),
        }
    }
}

impl<E: Entry> Group<E> {
    fn push(&mut self, chunk: Arc<Chunk<E>>) {
        for entry in &chunk.entries {
            self.first = self.first.min(entry.at());
            self.last = self.last.max(entry.at());
        }
        self.rows += chunk.entries.len() as u64;
        self.bytes += bytes_of(&chunk);
        self.chunks.push(chunk);
    }

    fn is_full(&self) -> bool {
        self.rows >= GROUP_ROWS_MAX || self.chunks.len() >= GROUP_CHUNKS_MAX
    }
}

/// The requests of one signal since the last seal.
#[derive(Debug)]
pub(crate) struct Head<E> {
    closed: Vec<Arc<Group<E>>>,
    open: Group<E>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Raw OTLP bytes.
    pub(crate) raw_bytes: u64,
    /// Sequences of its first and last frame; 0 when it is empty.
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
    /// Arrival of its first and last frame.
    pub(crate) opened: Timestamp,
    pub(crate) touched: Timestamp,
    pub(crate) keys: Vec<Key>,
    /// Its requests came after the deletions up to this number.
    pub(crate) cleared: u64,
}

impl<E> Default for Head<E> {
    fn default() -> Self {
        Head {
            closed: Vec::new(),
            open: Group::default(),
            rows: 0,
            bytes: 0,
            raw_bytes: 0,
            first_sequence: 0,
            last_sequence: 0,
            opened: Timestamp(0),
            touched: Timestamp(0),
            keys: Vec::new(),
            cleared: 0,
        }
    }
}

impl<E: Entry> Head<E> {
    /// Adds a request; `now` is when, by the writer's clock.
    pub(crate) fn push(&mut self, chunk: Arc<Chunk<E>>, sequence: u64, key: u128, now: Timestamp) {
        if self.is_empty() {
            self.first_sequence = sequence;
            self.opened = now;
        }
        self.last_sequence = sequence;
        self.touched = now;
        self.keys.push((key, chunk.request.received));
        self.raw_bytes += chunk.request.bytes.len() as u64;
        let before = self.open.bytes;
        self.open.cleared = self.cleared;
        self.rows += chunk.entries.len() as u64;
        self.open.push(chunk);
        self.bytes += self.open.bytes - before;
        if self.open.is_full() {
            self.closed.push(Arc::new(std::mem::take(&mut self.open)));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether it is time to seal: by rows, requests, bytes, age or idleness.
    pub(crate) fn is_due(&self, now: Timestamp, bounds: Bounds) -> bool {
        if self.is_empty() {
            return false;
        }
        let idle = now >= self.touched.saturating_add(HEAD_IDLE_NS_MAX);
        self.rows >= HEAD_ROWS_MAX
            || self.keys.len() as u64 >= HEAD_ROWS_MAX
            || self.bytes >= bounds.head
            || now >= self.opened.saturating_add(HEAD_AGE_NS_MAX)
            || (idle && self.bytes >= IDLE_BYTES_MIN)
    }

    /// The places in lists of its records: bounds of each group, or of every record where they are
    /// far apart.
    pub(crate) fn times(&self) -> Vec<Timestamp> {
        let groups = self.groups();
        let first = groups.iter().map(|group| group.first).min();
        let last = groups.iter().map(|group| group.last).max();
        let apart = last
            .unwrap_or_default()
            .0
            .saturating_sub(first.unwrap_or_default().0);
        if apart < NANOS_PER_DAY {
            return first.into_iter().chain(last).collect();
        }
        let chunks = groups.iter().flat_map(|group| &group.chunks);
        chunks
            .flat_map(|chunk| chunk.entries.iter().map(Entry::at))
            .collect()
    }

    /// Places in lists of its oldest and newest record; `None` when it is empty.
    fn bounds(&self) -> Option<(Timestamp, Timestamp)> {
        let groups = self.closed.iter().map(Arc::as_ref).chain([&self.open]);
        let filled = groups.filter(|group| group.rows > 0);
        filled
            .map(|group| (group.first, group.last))
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// Everything in it, by reference, oldest request first.
    pub(crate) fn groups(&self) -> Vec<Arc<Group<E>>> {
        let mut groups = self.closed.clone();
        if !self.open.chunks.is_empty() {
            groups.push(Arc::new(self.open.freeze()));
        }
        groups
    }
}

/// All heads of one signal: the one that grows and those the sealer has not published yet.
#[derive(Debug)]
pub(crate) struct Heads<E> {
    pub(crate) active: Head<E>,
    /// Oldest first.
    pub(crate) sealing: VecDeque<Arc<Head<E>>>,
}

impl<E> Default for Heads<E> {
    fn default() -> Self {
        Heads {
            active: Head::default(),
            sealing: VecDeque::new(),
        }
    }
}

impl<E: Entry> Heads<E> {
    /// Hands the active head to the sealer.
    pub(crate) fn seal(&mut self) {
        if !self.active.is_empty() {
            let head = std::mem::take(&mut self.active);
            self.sealing.push_back(Arc::new(head));
        }
    }

    /// The lowest sequence not in a segment; `None` when all are.
    pub(crate) fn first_sequence(&self) -> Option<u64> {
        let oldest = self.sealing.front().map(|head| head.first_sequence);
        oldest.or((!self.active.is_empty()).then_some(self.active.first_sequence))
    }

    /// As [`Heads::first_sequence`], once the oldest waiting head is published.
    fn first_sequence_after_next(&self) -> Option<u64> {
        let second = self.sealing.get(1).map(|head| head.first_sequence);
        second.or((!self.active.is_empty()).then_some(self.active.first_sequence))
    }

    /// Everything in all of them, by reference.
    pub(crate) fn groups(&self) -> Vec<Arc<Group<E>>> {
        let mut groups: Vec<_> = self.sealing.iter().flat_map(|head| head.groups()).collect();
        groups.extend(self.active.groups());
        groups
    }

    /// Places in lists of the oldest and newest record; `None` when all are empty.
    pub(crate) fn bounds(&self) -> Option<(Timestamp, Timestamp)> {
        let heads = self.sealing.iter().map(Arc::as_ref).chain([&self.active]);
        heads
            .filter_map(Head::bounds)
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    pub(crate) fn rows(&self) -> u64 {
        self.active.rows + self.sealing.iter().map(|head| head.rows).sum::<u64>()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.active.bytes + self.sealing_bytes()
    }

    /// The number up to which deletions are about nothing in here; `None`: it is empty.
    pub(crate) fn cleared(&self) -> Option<u64> {
        let active = (!self.active.is_empty()).then_some(self.active.cleared);
        let sealing = self.sealing.iter().map(|head| head.cleared);
        sealing.chain(active).min()
    }

    pub(crate) fn sealing_bytes(&self) -> u64 {
        self.sealing.iter().map(|head| head.bytes).sum()
    }
}

/// The heads of all signals.
#[derive(Debug, Default)]
pub(crate) struct AllHeads {
    pub(crate) logs: Heads<LogEntry>,
    pub(crate) traces: Heads<SpanEntry>,
    pub(crate) metrics: metrics::Heads,
    /// The sequence after the newest visible one.
    pub(crate) next: u64,
}

impl AllHeads {
    /// Hands the active head of a signal to the sealer.
    pub(crate) fn seal(&mut self, signal: Signal) {
        match signal {
            Signal::Logs => self.logs.seal(),
            Signal::Traces => self.traces.seal(),
            Signal::Metrics => self.metrics.seal(),
        }
    }

    pub(crate) fn is_due(&self, signal: Signal, now: Timestamp, bounds: Bounds) -> bool {
        match signal {
            Signal::Logs => self.logs.active.is_due(now, bounds),
            Signal::Traces => self.traces.active.is_due(now, bounds),
            Signal::Metrics => self.metrics.active.is_due(now, bounds.head),
        }
    }

    /// Empty heads take only what came after the deletions up to `cleared` from now on.
    pub(crate) fn clear_new(&mut self, cleared: u64) {
        if self.logs.active.is_empty() {
            self.logs.active.cleared = cleared;
        }
        if self.traces.active.is_empty() {
            self.traces.active.cleared = cleared;
        }
    }

    /// `Head::cleared` of the active head of a signal; `None`: it is empty.
    pub(crate) fn active_cleared(&self, signal: Signal) -> Option<u64> {
        let (empty, cleared) = match signal {
            Signal::Logs => (self.logs.active.is_empty(), self.logs.active.cleared),
            Signal::Traces => (self.traces.active.is_empty(), self.traces.active.cleared),
            // No deletion is about metrics.
            Signal::Metrics => return None,
        };
        (!empty).then_some(cleared)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cleared().is_none() && self.metrics.is_empty()
    }

    /// The number up to which deletions are about nothing in any head; `None`: all are empty, but for
    /// metrics.
    pub(crate) fn cleared(&self) -> Option<u64> {
        let both = [self.logs.cleared(), self.traces.cleared()];
        both.into_iter().flatten().min()
    }

    /// The first sequence in the active head of a signal.
    pub(crate) fn active_first(&self, signal: Signal) -> Option<u64> {
        let (empty, first) = match signal {
            Signal::Logs => (self.logs.active.is_empty(), self.logs.active.first_sequence),
            Signal::Traces => {
                let active = &self.traces.active;
                (active.is_empty(), active.first_sequence)
            }
            Signal::Metrics => return self.metrics.active_first(),
        };
        (!empty).then_some(first)
    }

    /// The lowest sequence that is not in a segment once the oldest waiting head of `signal` is:
    /// all of the log below it can go.
    pub(crate) fn low_without(&self, signal: Signal) -> u64 {
        let (logs, traces, metrics) = (&self.logs, &self.traces, &self.metrics);
        let mut first = [
            logs.first_sequence(),
            traces.first_sequence(),
            metrics.first_sequence(),
        ];
        match signal {
            Signal::Logs => first[0] = logs.first_sequence_after_next(),
            Signal::Traces => first[1] = traces.first_sequence_after_next(),
            Signal::Metrics => first[2] = metrics.first_sequence_after_next(),
        }
        first.into_iter().flatten().min().unwrap_or(self.next)
    }

    pub(crate) fn sealing_bytes(&self) -> u64 {
        self.logs.sealing_bytes() + self.traces.sealing_bytes() + self.metrics.sealing_bytes()
    }

    /// Heap of all heads.
    pub(crate) fn bytes(&self) -> u64 {
        self.logs.bytes() + self.traces.bytes() + self.metrics.bytes()
    }

    /// Whether a request of `bytes` would make the active head of a signal larger than a head is.
    pub(crate) fn overfills(&self, signal: Signal, bytes: u64, bounds: Bounds) -> bool {
        let active = match signal {
            Signal::Logs => self.logs.active.bytes,
            Signal::Traces => self.traces.active.bytes,
            Signal::Metrics => self.metrics.active.bytes,
        };
        active > 0 && active + bytes > bounds.head
    }
}
