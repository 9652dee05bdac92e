//! What became of the samples of a request, as its sender is told and our own metrics count it.

/// Why a sample, a histogram or an exemplar of a request was not kept. The others of the request are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RejectReason {
    /// Older than what its series has by more than the out-of-order window, past `retention.metrics`,
    /// or more than ten minutes ahead of the clock.
    OutOfBounds,
    /// An exemplar that is older than the newest of its series. Samples may come in any order.
    OutOfOrder,
    /// The series has another value at this time. The same value again is no error.
    Duplicate,
    /// `limits.active_series` is reached: series that are there go on, new ones are left out.
    SeriesLimit,
    /// One metric has as many series as one may have.
    MetricLimit,
    /// One target (`job` and `instance`) has as many series as one may have.
    TargetLimit,
    /// Too many labels, or one that is too long.
    LabelLimit,
    /// No series: without a name, or with labels that are none; a histogram that breaks its rules.
    Malformed,
}

impl RejectReason {
    pub(crate) const ALL: [RejectReason; 8] = [
        RejectReason::OutOfBounds,
        RejectReason::OutOfOrder,
        RejectReason::Duplicate,
        RejectReason::SeriesLimit,
        RejectReason::MetricLimit,
        RejectReason::TargetLimit,
        RejectReason::LabelLimit,
        RejectReason::Malformed,
    ];

    /// A label of our own metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            RejectReason::OutOfBounds => "out_of_bounds",
            RejectReason::OutOfOrder => "out_of_order",
            RejectReason::Duplicate => "duplicate_sample",
            RejectReason::SeriesLimit => "active_series",
            RejectReason::MetricLimit => "metric_series",
            RejectReason::TargetLimit => "target_series",
            RejectReason::LabelLimit => "label_limit",
            RejectReason::Malformed => "malformed",
        }
    }

    /// Whether a cap on series is the reason: counted as `series_limit_dropped_total`.
    pub(crate) const fn is_series_limit(self) -> bool {
        match self {
            RejectReason::SeriesLimit
            | RejectReason::MetricLimit
            | RejectReason::TargetLimit
            | RejectReason::LabelLimit => true,
            RejectReason::OutOfBounds
            | RejectReason::OutOfOrder
            | RejectReason::Duplicate
            | RejectReason::Malformed => false,
        }
    }
}

/// How many were left out, by reason, with one example for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rejected {
    counts: [u64; RejectReason::ALL.len()],
    examples: [Option<Box<str>>; RejectReason::ALL.len()],
}

impl Rejected {
    /// Counts `n` of them; `example` is asked for the first time only.
    pub(crate) fn add(&mut self, reason: RejectReason, n: u64, example: impl FnOnce() -> String) {
        let at = reason as usize;
        self.counts[at] += n;
        if n > 0 && self.examples[at].is_none() {
            self.examples[at] = Some(example().into());
        }
    }

    #[cfg(test)]
    pub(crate) fn count(&self, reason: RejectReason) -> u64 {
        self.counts[reason as usize]
    }

    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Reasons that occurred, how often, and an example: a text for the sender that names the series.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RejectReason, u64, &str)> {
        let counted = RejectReason::ALL.into_iter().zip(&self.counts);
        let with_example = counted.zip(&self.examples);
        with_example
            .filter(|((_, n), _)| **n > 0)
            .map(|((reason, n), example)| (reason, *n, example.as_deref().unwrap_or_default()))
    }
}

/// What became of a request of metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetricsOutcome {
    /// Kept, or there already with the same value.
    pub(crate) samples: u64,
    pub(crate) histograms: u64,
    pub(crate) exemplars: u64,
    /// Of these the ones that were there already.
    pub(crate) repeated: u64,
    /// Series that had no samples before.
    pub(crate) series_added: u64,
    pub(crate) rejected: Rejected,
}
