//! Where loops and handlers read the time from; everything below them is told.

#[cfg(test)]
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::Timestamp;

/// The time of day.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    System,
    /// Epoch ns, moved by a test.
    #[cfg(test)]
    Set(Arc<AtomicU64>),
}

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Clock::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                let ns = since.unwrap_or_default().as_nanos();
                Timestamp(u64::try_from(ns).unwrap_or(u64::MAX))
            }
            #[cfg(test)]
            Clock::Set(ns) => Timestamp(ns.load(Ordering::Relaxed)),
        }
    }
}
