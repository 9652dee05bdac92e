//! What the process tells about itself: own metrics (every one in one list), who sends what, and
//! the tracing setup. Must never hold telemetry bodies: only counts, names and reasons.

mod clock;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod sources;

pub(crate) use clock::Clock;
pub(crate) use metrics::{Metric, Metrics};
pub(crate) use sources::Sources;
