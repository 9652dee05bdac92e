//! Where PromQL gets its series from: the store of metrics, and the scripts of the tests.

use crate::model::metric::{Exemplar, Labels, Matcher, Metadata, Millis, Samples};

/// A selected series. `number` means something to its source alone.
#[derive(Clone, Debug)]
pub(crate) struct Selected {
    pub(crate) number: u64,
    pub(crate) labels: Labels,
}

/// Why series cannot be read; the text is for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceError(pub(crate) String);

/// A consistent view of series: every call of one query sees the same data. Matchers are those of a
/// selector; one of them at least does not match the empty value, except in the listing calls, where
/// none selects everything.
pub(crate) trait SeriesSource: Sync {
    /// Series that match and may have samples in the range, by labels.
    fn select(&self, matchers: &[Matcher], range: Millis) -> Result<Vec<Selected>, SourceError>;

    /// Appends the samples of a series in the range to cleared columns.
    fn read(&self, series: &Selected, range: Millis, into: &mut Samples)
    -> Result<(), SourceError>;

    /// Exemplars of series that match, by series.
    fn exemplars(
        &self,
        matchers: &[Matcher],
        range: Millis,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, SourceError>;

    /// Names of labels of series that match, sorted.
    fn label_names(&self, matchers: &[Matcher], range: Millis) -> Result<Vec<String>, SourceError>;

    /// Values of one label, sorted.
    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: Millis,
    ) -> Result<Vec<String>, SourceError>;

    /// What metrics say of themselves, by name: of one, or of all.
    fn metadata(&self, _metric: Option<&str>) -> Vec<Metadata> {
        Vec::new()
    }

    /// Counts, with the `top` largest of each kind.
    fn statistics(&self, _top: usize) -> Statistics {
        Statistics::default()
    }
}

/// How much there is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statistics {
    /// With samples of late.
    pub(crate) series: u64,
    /// Metrics with their series, most first.
    pub(crate) series_by_metric: Vec<(String, u64)>,
    /// Labels with how many values they have, most first.
    pub(crate) values_by_label: Vec<(String, u64)>,
}
