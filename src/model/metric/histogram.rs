//! Native histograms: sparse buckets whose bounds follow from a schema, or are given (NHCB).
//! Counts are floats: those of integer histograms are exact up to 2^53.

mod arithmetic;
mod bounds;
mod buckets;
mod reset;
#[cfg(test)]
mod tests;

pub(crate) use arithmetic::Incompatible;
pub(crate) use buckets::Bucket;

/// The schema of histograms with custom bounds (native histograms with custom buckets).
pub(crate) const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// What is known of a counter reset before a histogram (Prometheus `histogram.CounterResetHint`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CounterReset {
    #[default]
    Unknown,
    Reset,
    NotReset,
    Gauge,
}

/// A run of buckets that follow each other: `offset` from the end of the run before (from bucket 0
/// for the first), `length` buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) offset: i32,
    pub(crate) length: u32,
}

/// One histogram sample. Bucket counts are absolute, one per bucket of the spans in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Histogram {
    pub(crate) reset: CounterReset,
    /// -4 to 8: bounds are powers of 2^(2^-schema); -53: `custom_bounds`.
    pub(crate) schema: i32,
    pub(crate) zero_threshold: f64,
    pub(crate) zero_count: f64,
    pub(crate) count: f64,
    pub(crate) sum: f64,
    pub(crate) positive_spans: Vec<Span>,
    pub(crate) positive_counts: Vec<f64>,
    pub(crate) negative_spans: Vec<Span>,
    pub(crate) negative_counts: Vec<f64>,
    /// Upper bounds of the buckets of schema -53, without `+Inf`.
    pub(crate) custom_bounds: Vec<f64>,
}

impl Histogram {
    /// Bytes on the heap when it stands alone.
    pub(crate) fn heap_bytes(&self) -> usize {
        let spans = self.positive_spans.len() + self.negative_spans.len();
        let numbers =
            self.positive_counts.len() + self.negative_counts.len() + self.custom_bounds.len();
        size_of::<Histogram>() + spans * size_of::<Span>() + numbers * size_of::<f64>()
    }

    /// Whether bounds are given instead of computed.
    pub(crate) fn has_custom_bounds(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }
}
