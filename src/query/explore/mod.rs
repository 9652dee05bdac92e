//! What the metrics explorer asks of PromQL: several expressions on one grid of time, the catalogue
//! of metrics with a query for each, completions, units. Never evaluates on its own: that is `promql`.

pub(crate) mod catalogue;
pub(crate) mod plot;
pub(crate) mod sparks;
pub(crate) mod suggest;
#[cfg(test)]
mod tests;
pub(crate) mod thin;
pub(crate) mod unit;

use crate::query::promql::eval::EvalError;

/// Series that one query of the explorer reads: more are a mistake in its selectors.
pub(crate) const SERIES_READ_MAX: usize = 50_000;

/// What stopped an evaluation, and what to change.
pub(crate) fn told(error: &EvalError) -> String {
    match error {
        EvalError::Timeout => {
            "stopped at its time limit of 30 s; narrow the time range or the selectors, or raise the step".to_owned()
        }
        EvalError::Cancelled => "cancelled".to_owned(),
        EvalError::TooManySamples => {
            "needs more samples at once than the memory of one query holds (limits.memory); narrow the time range or the selectors, or raise the step".to_owned()
        }
        EvalError::TooManySeries(_) | EvalError::Execution(_) | EvalError::Source(_) => error.to_string(),
    }
}
