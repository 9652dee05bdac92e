//! Series and their samples: what of the store is about metrics only.
//!
//! A request is judged and written down by [`intake`] as a [`payload`] of the log, which fills the
//! [`head`], live and at replay alike; a full head becomes [`segment`]s, one for each day it touches.
//! The [`index`] finds series by their labels, a [`view`] reads them.

mod book;
mod chunk;
pub(super) mod head;
mod index;
mod intake;
mod ledger;
mod meta;
mod outcome;
mod payload;
pub(super) mod seal;
pub(crate) mod segment;
mod stream;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use book::{Book, MetricsChunk, SeriesStats};
pub(crate) use head::HeadView;
pub(crate) use intake::Terms;
pub(crate) use ledger::SeriesLimits;
pub(crate) use outcome::{MetricsOutcome, RejectReason};
pub(crate) use segment::MetricSegment;
pub(crate) use view::MetricsView;

use crate::model::metric::Metadata;

/// What a metric says of itself, as the catalogue keeps it.
pub(super) fn metadata_bytes(said: &Metadata) -> Vec<u8> {
    let mut out = Vec::new();
    payload::put_metadata(&mut out, said);
    out
}

pub(super) use payload::read_metadata;

/// How many events a payload of the log has; `None`: it is none. What a fuzz target looks at.
#[cfg(feature = "internals")]
pub(crate) fn metrics_events(bytes: &[u8]) -> Option<usize> {
    let mut events = 0;
    payload::read(bytes, &mut |_| events += 1).ok()?;
    Some(events)
}
