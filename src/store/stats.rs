//! Figures about the store. Read from memory; only the free room is asked of the disk.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::shared::Shared;
use crate::model::{Signal, Timestamp};

/// Levels told apart; deeper ones are counted with the last.
const LEVELS: usize = 4;

/// Everything that is stored, in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    /// In the order of [`Signal::ALL`].
    pub(crate) signals: [SignalStats; Signal::ALL.len()],
    pub(crate) wal_bytes: u64,
    /// The last request in the log, counted over the life of the data directory.
    pub(crate) wal_last: u64,
    /// The last one of them that survives a power cut.
    pub(crate) wal_synced: u64,
    /// Syncs of the log since the start.
    pub(crate) wal_syncs: u64,
    /// Bytes of the volume; 0 when the disk does not tell.
    pub(crate) disk_free: u64,
    pub(crate) disk_total: u64,
    /// What ingest leaves free.
    pub(crate) disk_free_min: u64,
    /// Ingest is refused because less than that is free.
    pub(crate) disk_full: bool,
    /// Ingest is refused until a restart because a write or sync failed.
    pub(crate) poisoned: bool,
    /// Memory of the seal under way, and of directories kept for queries.
    pub(crate) sealing_bytes: u64,
    pub(crate) directory_bytes: u64,
    /// Segments and parts of the log that cannot be read.
    pub(crate) quarantined: u64,
    /// Templates of log texts in the catalogue.
    pub(crate) templates: u64,
    /// Log records kept plain since the start because there are too many templates.
    pub(crate) templates_refused: u64,
    /// Series with samples within about an hour, and all that are known.
    pub(crate) active_series: u64,
    pub(crate) known_series: u64,
}

/// The figures of one signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SignalStats {
    /// Records in segments and heads.
    pub(crate) records: u64,
    /// Bytes of segment files.
    pub(crate) bytes: u64,
    /// OTLP bytes that are in those files.
    pub(crate) raw_bytes: u64,
    pub(crate) partitions: u64,
    /// Segments per level; the last counts all deeper ones too.
    pub(crate) segments: [u64; LEVELS],
    /// Records and heap bytes of the heads.
    pub(crate) head_records: u64,
    pub(crate) head_bytes: u64,
    /// Places of the oldest and newest record.
    pub(crate) oldest: Option<Timestamp>,
    pub(crate) newest: Option<Timestamp>,
}

impl SignalStats {
    fn reach(&mut self, first: Timestamp, last: Timestamp) {
        self.oldest = Some(self.oldest.map_or(first, |oldest| oldest.min(first)));
        self.newest = Some(self.newest.map_or(last, |newest| newest.max(last)));
    }
}

pub(super) fn stats(shared: &Shared) -> Stats {
    let (segments, heads) = {
        let live = shared.live();
        let heads = &live.heads;
        let (logs, traces) = (&heads.logs, &heads.traces);
        let logs = (logs.rows(), logs.bytes(), logs.bounds());
        let traces = (traces.rows(), traces.bytes(), traces.bounds());
        let metrics = &heads.metrics;
        let metrics = (metrics.rows(), metrics.bytes(), metrics.bounds());
        (live.segments.clone(), [traces, logs, metrics])
    };
    let figures = shared.catalogue.template_figures();
    let space = shared.disk.space(&shared.config.dir).ok();
    let (active_series, known_series) = shared.book.counts();
    let mut stats = Stats {
        wal_bytes: shared.wal_bytes.load(Ordering::Relaxed),
        // In this order: what is read as synced has been read as appended.
        wal_synced: shared.wal_synced.load(Ordering::Acquire),
        wal_last: shared.wal_last.load(Ordering::Acquire),
        wal_syncs: shared.wal_syncs.load(Ordering::Relaxed),
        disk_free: space.map_or(0, |space| space.free),
        disk_total: space.map_or(0, |space| space.total),
        disk_free_min: space.map_or(0, |space| shared.config.free_min(space)),
        disk_full: shared.is_full(),
        poisoned: shared.is_poisoned(),
        quarantined: segments.damaged.len() as u64,
        sealing_bytes: shared.scratch_bytes.load(Ordering::Relaxed),
        directory_bytes: segments.list.iter().map(|s| s.cached_bytes() as u64).sum(),
        templates: figures.known,
        templates_refused: figures.refused,
        active_series,
        known_series,
        ..Stats::default()
    };
    let mut partitions = BTreeSet::new();
    for segment in &segments.list {
        let row = &segment.row;
        let signal = &mut stats.signals[row.signal as usize];
        signal.records += row.rows;
        signal.bytes += row.bytes;
        signal.raw_bytes += row.raw_bytes;
        signal.segments[usize::from(row.level).min(LEVELS - 1)] += 1;
        signal.reach(row.first, row.last);
        if partitions.insert((row.signal, row.partition)) {
            signal.partitions += 1;
        }
    }
    for (signal, (records, bytes, bounds)) in stats.signals.iter_mut().zip(heads) {
        if let Some((first, last)) = bounds {
            signal.reach(first, last);
        }
        signal.records += records;
        signal.head_records = records;
        signal.head_bytes = bytes;
    }
    stats
}
