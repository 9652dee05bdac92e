//! Keeps telemetry: write-ahead log, heads, segments, catalogue, retention. Synchronous; never
//! opens a socket, never reads the clock (time is passed in).
//!
//! A request goes [`writer`] -> [`wal`] -> [`head`]; a full head goes [`sealer`] -> segment file ->
//! [`catalogue`]; the [`keeper`] merges and forgets; readers take a [`Snapshot`]. Each of the three
//! that change something is owned by one thread.

mod burst;
mod catalogue;
mod classes;
mod config;
#[cfg(test)]
mod corrupt_tests;
#[cfg(test)]
mod crash_tests;
pub(crate) mod deletion;
mod digest;
pub(crate) mod disk;
mod erase;
#[cfg(test)]
mod erase_tests;
mod error;
mod filter;
#[cfg(test)]
pub(crate) mod fixture;
mod head;
mod hide;
mod keeper;
mod merge;
pub(crate) mod meta;
pub(crate) mod metrics;
mod open;
mod pace;
pub(crate) mod partition;
mod prune;
mod retention;
#[cfg(test)]
mod retention_days_tests;
mod rewrite;
mod sealer;
pub(crate) mod segment;
mod segments;
mod shared;
mod snapshot;
mod stats;
mod templates;
#[cfg(test)]
mod tests;
mod texts;
mod unit;
mod units;
mod verify;
mod wal;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) use catalogue::Key;
pub(crate) use config::{Config, Memory, Retention};
pub(crate) use deletion::{Deletion, Stage, Wanted};
pub(crate) use disk::Disk;
pub(crate) use error::StoreError;
pub(crate) use filter::{BodyKind, Decider, LogFilter, LogKind, Sieve, Tallied, Template};
pub(crate) use hide::{Condition, LogCondition, SpanCondition};
#[cfg(feature = "internals")]
pub(crate) use metrics::metrics_events;
pub(crate) use metrics::{MetricsOutcome, MetricsView, RejectReason, SeriesLimits, SeriesStats};
pub(crate) use open::{Opened, Recovery, open, open_database};
pub(crate) use partition::Partition;
pub(crate) use prune::{LogColumns, LogPrune, Needle, SpanAsk, SpanColumns, SpanPrune, WORDS_MAX};
pub(crate) use segment::{SeenPattern, Word, template_of};
pub(crate) use snapshot::{Snapshot, Summaries};
pub(crate) use stats::Stats;
pub(crate) use templates::{Sightings, TemplateId, TextNeed, Told, printed_template};
pub(crate) use unit::{LogUnit, Looked, SpanUnit};
pub(crate) use units::{Order, Units};
pub(crate) use verify::{Verified, survey, verify};
pub(crate) use wal::frame::Encoding;
#[cfg(feature = "internals")]
pub(crate) use wal::{replay_alone, with_right_checksums};
pub(crate) use writer::{Batch, BatchChunk, MetricsBatch, Writer};

/// What everybody may hold: reading, figures, the small-state database. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    shared: Arc<shared::Shared>,
}

#[cfg(test)]
impl Store {
    /// Indexes the templates there are, as the keeper does when many have come.
    pub(crate) fn index_templates(&self) {
        self.shared.catalogue.index_now();
    }
}

impl Store {
    fn new(shared: Arc<shared::Shared>) -> Store {
        Store { shared }
    }

    /// The store as it is now; everything acknowledged before is in it.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    /// Gives the directories of all segments back, as the keeper does of those past their share.
    #[cfg(test)]
    pub(crate) fn release_directories(&self) {
        let snapshot = self.snapshot();
        snapshot.segments.list.iter().for_each(|s| s.release());
    }

    /// Metrics as they are now; everything acknowledged before is in it.
    pub(crate) fn metrics(&self) -> MetricsView {
        self.shared.metrics()
    }

    /// How many series there are, and the `n` largest of what makes them many.
    pub(crate) fn series(&self, n: usize) -> SeriesStats {
        self.shared.book.stats(n)
    }

    /// Sizes and states, for `/metrics` and the settings page.
    pub(crate) fn stats(&self) -> Stats {
        stats::stats(&self.shared)
    }

    /// Memory that the keeper takes now to rewrite segments as one, in bytes.
    pub(crate) fn rewriting_bytes(&self) -> u64 {
        self.shared.rewriting_bytes.load(Ordering::Relaxed)
    }

    /// The database of the catalogue, for the small state of [`meta`].
    pub(crate) fn database(&self) -> Arc<redb::Database> {
        self.shared.catalogue.database()
    }

    /// Deletions asked for, oldest first: the pending ones and the newest that are over.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub(crate) fn deletions(&self) -> Result<Vec<Deletion>, StoreError> {
        self.shared.catalogue.deletions()
    }

    /// Whether a write or sync has failed: ingest is refused until a restart.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.shared.is_poisoned()
    }
}
