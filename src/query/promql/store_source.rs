//! PromQL over the store: a [`MetricsView`] as a source of series.

use super::source::{Selected, SeriesSource, SourceError, Statistics};
use crate::model::metric::{Exemplar, Labels, Matcher, Metadata, Millis, Samples};
use crate::store::{MetricsView, Store, StoreError};

/// The store's metrics at one moment: make one per query.
#[derive(Debug)]
pub(crate) struct StoreSource {
    view: MetricsView,
    store: Store,
}

impl StoreSource {
    pub(crate) fn new(store: &Store) -> StoreSource {
        StoreSource {
            view: store.metrics(),
            store: store.clone(),
        }
    }
}

impl SeriesSource for StoreSource {
    fn select(&self, matchers: &[Matcher], range: Millis) -> Result<Vec<Selected>, SourceError> {
        let found = self.view.select(matchers, range).map_err(unreadable)?;
        let selected = found.into_iter().map(|(number, labels)| Selected {
            number: u64::from(number),
            labels,
        });
        Ok(selected.collect())
    }

    fn read(
        &self,
        series: &Selected,
        range: Millis,
        into: &mut Samples,
    ) -> Result<(), SourceError> {
        let number = u32::try_from(series.number).expect("`select` gave it");
        let metric = series.labels.metric();
        self.view
            .read(number, metric, range, into)
            .map_err(unreadable)
    }

    fn exemplars(
        &self,
        matchers: &[Matcher],
        range: Millis,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, SourceError> {
        self.view.exemplars(matchers, range).map_err(unreadable)
    }

    fn label_names(&self, matchers: &[Matcher], range: Millis) -> Result<Vec<String>, SourceError> {
        self.view.label_names(matchers, range).map_err(unreadable)
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: Millis,
    ) -> Result<Vec<String>, SourceError> {
        self.view
            .label_values(name, matchers, range)
            .map_err(unreadable)
    }

    fn metadata(&self, metric: Option<&str>) -> Vec<Metadata> {
        self.view.metadata(metric)
    }

    fn statistics(&self, top: usize) -> Statistics {
        let found = self.store.series(top);
        Statistics {
            series: found.active,
            series_by_metric: found.metrics,
            values_by_label: found.labels,
        }
    }
}

fn unreadable(error: StoreError) -> SourceError {
    SourceError(format!("samples cannot be read: {error}"))
}
