//! Series of a test script, kept in memory behind the trait of the engine.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::metric::{Exemplar, Labels, Matcher, Metadata, Millis, Sample, Samples, Value};
use crate::query::promql::source::{Selected, SeriesSource, SourceError, Statistics};

/// Series by labels; a second sample at a time replaces the first.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    series: BTreeMap<Labels, BTreeMap<i64, Value>>,
    exemplars: BTreeMap<Labels, Vec<Exemplar>>,
    metadata: Vec<Metadata>,
}

impl Memory {
    pub(crate) fn clear(&mut self) {
        self.series.clear();
        self.exemplars.clear();
    }

    pub(crate) fn append(&mut self, labels: Labels, samples: impl IntoIterator<Item = Sample>) {
        let column = self.series.entry(labels).or_default();
        column.extend(samples.into_iter().map(|sample| (sample.at, sample.value)));
    }

    pub(crate) fn append_exemplar(&mut self, labels: Labels, exemplar: Exemplar) {
        self.exemplars.entry(labels).or_default().push(exemplar);
    }

    pub(crate) fn describe(&mut self, metadata: Metadata) {
        self.metadata.push(metadata);
    }

    fn matching(
        &self,
        matchers: &[Matcher],
        range: Millis,
    ) -> impl Iterator<Item = (u64, &Labels)> {
        let fits = move |labels: &Labels, samples: &BTreeMap<i64, Value>| {
            samples.range(range.first..=range.last).next().is_some() && selects(matchers, labels)
        };
        let numbered = self.series.iter().enumerate();
        numbered.filter_map(move |(number, (labels, samples))| {
            fits(labels, samples).then_some((number as u64, labels))
        })
    }
}

fn selects(matchers: &[Matcher], labels: &Labels) -> bool {
    let fits = |m: &Matcher| m.matches(labels.get(&m.name).unwrap_or(""));
    matchers.iter().all(fits)
}

impl SeriesSource for Memory {
    fn select(&self, matchers: &[Matcher], range: Millis) -> Result<Vec<Selected>, SourceError> {
        if range.first > range.last {
            return Ok(Vec::new());
        }
        let selected = |(number, labels): (u64, &Labels)| Selected {
            number,
            labels: labels.clone(),
        };
        Ok(self.matching(matchers, range).map(selected).collect())
    }

    fn read(
        &self,
        series: &Selected,
        range: Millis,
        into: &mut Samples,
    ) -> Result<(), SourceError> {
        if range.first > range.last {
            return Ok(());
        }
        let column = self.series.get(&series.labels);
        let column = column.ok_or_else(|| SourceError(format!("no series {}", series.labels)))?;
        for (at, value) in column.range(range.first..=range.last) {
            match value {
                Value::Float(value) => {
                    into.times.push(*at);
                    into.floats.push(*value);
                }
                Value::Histogram(value) => {
                    into.histogram_times.push(*at);
                    into.histograms.push(value.clone());
                }
            }
        }
        Ok(())
    }

    fn exemplars(
        &self,
        matchers: &[Matcher],
        range: Millis,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, SourceError> {
        let selected = self.exemplars.iter().filter(|(l, _)| selects(matchers, l));
        let in_range = selected.map(|(labels, all)| {
            let fits = |e: &&Exemplar| (range.first..=range.last).contains(&e.at);
            (labels.clone(), all.iter().filter(fits).cloned().collect())
        });
        let some = |(_, found): &(Labels, Vec<Exemplar>)| !found.is_empty();
        Ok(in_range.filter(some).collect())
    }

    fn label_names(&self, matchers: &[Matcher], range: Millis) -> Result<Vec<String>, SourceError> {
        let series = self.matching(matchers, range);
        let names = series.flat_map(|(_, labels)| labels.iter().map(|(name, _)| name.to_owned()));
        Ok(names.collect::<BTreeSet<String>>().into_iter().collect())
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: Millis,
    ) -> Result<Vec<String>, SourceError> {
        let series = self.matching(matchers, range);
        let values = series.filter_map(|(_, labels)| labels.get(name).map(str::to_owned));
        Ok(values.collect::<BTreeSet<String>>().into_iter().collect())
    }

    fn metadata(&self, metric: Option<&str>) -> Vec<Metadata> {
        let wanted = |m: &&Metadata| metric.is_none_or(|metric| m.metric == metric);
        self.metadata.iter().filter(wanted).cloned().collect()
    }

    fn statistics(&self, top: usize) -> Statistics {
        let mut by_metric: BTreeMap<String, u64> = BTreeMap::new();
        for labels in self.series.keys() {
            *by_metric.entry(labels.metric().to_owned()).or_default() += 1;
        }
        let mut series_by_metric: Vec<(String, u64)> = by_metric.into_iter().collect();
        series_by_metric.sort_by_key(|(_, series)| std::cmp::Reverse(*series));
        series_by_metric.truncate(top);
        Statistics {
            series: self.series.len() as u64,
            series_by_metric,
            values_by_label: Vec::new(),
        }
    }
}
