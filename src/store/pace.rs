//! How much of a core the keeper takes: work, then rest nine times as long. Reads no clock itself: it is
//! given a meter and a way to wait, so that a test can prove the share.

use std::fmt;
use std::time::Duration;

use super::shared::Shared;

/// Rest for each second of work: background work takes at most a tenth of a core.
const REST_PER_WORK: u32 = 9;

/// Work between two rests at least. Shorter ones would only wake the core more often.
const WORK_MIN: Duration = Duration::from_millis(5);

/// CPU time that this thread has used so far.
pub(crate) type Meter = Box<dyn FnMut() -> Duration + Send>;

/// Waits that long, or less when something urgent comes.
type Wait = Box<dyn FnMut(&Shared, Duration) + Send>;

/// See the module.
pub(super) struct Pace {
    meter: Meter,
    wait: Wait,
    /// What the meter said when the last rest began.
    rested_at: Option<Duration>,
}

impl Pace {
    pub(super) fn new(meter: Meter) -> Pace {
        Pace::with(meter, Box::new(Shared::rest))
    }

    pub(super) fn with(meter: Meter, wait: Wait) -> Pace {
        Pace {
            meter,
            wait,
            rested_at: None,
        }
    }

    /// Without rests: for whoever has nothing else to do.
    pub(super) fn full() -> Pace {
        Pace::new(Box::new(|| Duration::ZERO))
    }

    /// Work up to now is not to be rested for: it was not background work, or it was urgent.
    pub(super) fn forgive(&mut self) {
        self.rested_at = Some((self.meter)());
    }

    /// Rests for the work since the last time, if that is due; called between pieces of work.
    pub(super) fn rest(&mut self, shared: &Shared) {
        let used = (self.meter)();
        let rested_at = *self.rested_at.get_or_insert(used);
        let worked = used.saturating_sub(rested_at);
        if worked >= WORK_MIN {
            self.rested_at = Some(used);
            (self.wait)(shared, worked * REST_PER_WORK);
        }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").finish_non_exhaustive()
    }
}
