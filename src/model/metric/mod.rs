//! Series, samples, native histograms, exemplars, metadata: what every part of the metrics path
//! shares. Plain values; times are milliseconds since the epoch, as Prometheus has them.

mod batch;
mod histogram;
mod labels;
mod matcher;
mod number;
pub(crate) mod re2;
mod samples;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use batch::SeriesError;
pub(crate) use batch::{Batch, Exemplar, Metadata, MetricKind, Sample, SeriesView, Value};
pub(crate) use histogram::{
    Bucket, CUSTOM_BUCKETS_SCHEMA, CounterReset, Histogram, Incompatible, Span,
};
pub(crate) use labels::{Labels, LabelsBuilder};
pub(crate) use matcher::{MatchOp, Matcher};
pub(crate) use number::{go_general, go_plain};
pub(crate) use samples::{Millis, Samples};

/// The label that holds a metric's name.
pub(crate) const NAME: &str = "__name__";

/// The bits that say "this series has ended here": a NaN that no calculation makes (Prometheus
/// `value.StaleNaN`).
pub(crate) const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The bits of an ordinary NaN, as Prometheus stores and prints it (`value.NormalNaN`).
pub(crate) const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// Whether a value marks the end of a series. Compares bits: a stale marker is never computed.
pub(crate) fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}
