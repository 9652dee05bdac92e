//! The store's own settings, as `config` fills them in.

use std::path::PathBuf;
use std::time::Duration;

use super::disk::Space;
use super::hide::Compile;
use super::metrics::SeriesLimits;
use crate::model::{Signal, Timestamp};

/// Settings of the store.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// `data_dir`.
    pub(crate) dir: PathBuf,
    pub(crate) retention: Retention,
    /// `limits.disk_free_min`, in bytes; `None`: [`Config::free_min`]'s own rule.
    pub(crate) disk_free_min: Option<u64>,
    /// `ingest.dedup_window`: how long the keys of requests are remembered.
    pub(crate) dedup_window: Duration,
    /// Reads the condition of a deletion.
    pub(crate) compile: Compile,
    pub(crate) memory: Memory,
    /// `limits.active_series`.
    pub(crate) series: SeriesLimits,
}

/// The store's part of `limits.memory`, in bytes (`config::budget` has the whole split).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Heads of all signals together, those that wait for the sealer included.
    pub(crate) heads: u64,
    /// What the sealer takes beside the head it encodes.
    pub(crate) sealing: u64,
    /// Directories and dictionaries that segments keep between queries.
    pub(crate) directories: u64,
    /// What the keeper takes to rewrite segments as one.
    pub(crate) keeper: u64,
}

#[cfg(test)]
impl Default for Memory {
    fn default() -> Memory {
        Memory {
            heads: 48 << 20,
            sealing: 32 << 20,
            directories: 16 << 20,
            keeper: 64 << 20,
        }
    }
}

/// How long data is kept, and how much of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retention {
    /// `retention.traces`; `None`: off, kept for ever.
    pub(crate) traces: Option<Duration>,
    /// `retention.logs`.
    pub(crate) logs: Option<Duration>,
    /// `retention.metrics`; `None`: off, and samples of any time are taken.
    pub(crate) metrics: Option<Duration>,
    /// `retention.max_bytes`; `None`: what the volume has room for.
    pub(crate) max_bytes: Option<u64>,
    /// `retention.services`: services whose records are kept for another time; `None`: for ever.
    pub(crate) services: Vec<(String, Option<Duration>)>,
}

impl Retention {
    pub(crate) fn of(&self, signal: Signal) -> Option<Duration> {
        match signal {
            Signal::Traces => self.traces,
            Signal::Logs => self.logs,
            Signal::Metrics => self.metrics,
        }
    }

    /// Records before this are past retention, but for services with their own.
    pub(crate) fn cutoff(&self, signal: Signal, now: Timestamp) -> Timestamp {
        before(self.of(signal), now)
    }

    /// Records of a service before this are past retention.
    pub(crate) fn cutoff_of(&self, service: &str, signal: Signal, now: Timestamp) -> Timestamp {
        let own = self.services.iter().find(|(name, _)| name == service);
        own.map_or_else(|| self.cutoff(signal, now), |(_, kept)| before(*kept, now))
    }

    /// Records of any service before this are past retention.
    pub(crate) fn oldest(&self, signal: Signal, now: Timestamp) -> Timestamp {
        let own = self.services.iter().map(|(_, kept)| before(*kept, now));
        own.fold(self.cutoff(signal, now), Timestamp::min)
    }

    /// The services with their own retention, and what of them is past it.
    pub(crate) fn service_cutoffs(&self, now: Timestamp) -> Vec<(String, Timestamp)> {
        let own = self.services.iter();
        own.map(|(service, kept)| (service.clone(), before(*kept, now)))
            .collect()
    }
}

fn before(kept: Option<Duration>, now: Timestamp) -> Timestamp {
    kept.map_or(Timestamp(0), |kept| {
        now.saturating_sub(u64::try_from(kept.as_nanos()).unwrap_or(u64::MAX))
    })
}

impl Config {
    /// Bytes of the volume that ingest leaves free: the setting, or max(5 %, min(256 MB, 10 %)) of
    /// it (design.md section 3).
    pub(crate) fn free_min(&self, space: Space) -> u64 {
        const MB_256: u64 = 256_000_000;
        let share = (space.total / 20).max(MB_256.min(space.total / 10));
        self.disk_free_min.unwrap_or(share)
    }
}
