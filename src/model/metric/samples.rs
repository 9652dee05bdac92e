//! Samples in columns, as stores give them and PromQL reads them.

use std::sync::Arc;

use super::histogram::Histogram;

/// Both ends included, in ms since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Millis {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// Samples of one series in columns, by time, no time twice over both kinds. Stale markers are in it:
/// a float with `STALE_NAN_BITS`, or a histogram whose `sum` has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    pub(crate) times: Vec<i64>,
    pub(crate) floats: Vec<f64>,
    pub(crate) histogram_times: Vec<i64>,
    pub(crate) histograms: Vec<Arc<Histogram>>,
}

impl Samples {
    /// Empties the columns and keeps their room.
    pub(crate) fn clear(&mut self) {
        self.times.clear();
        self.floats.clear();
        self.histogram_times.clear();
        self.histograms.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len() + self.histogram_times.len()
    }
}
