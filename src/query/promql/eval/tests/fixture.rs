//! Series in memory, for tests.

use std::time::{Duration, Instant};

use crate::model::metric::{Exemplar, Labels, Matcher, Metadata, Millis, Samples};
use crate::query::control::Control;
use crate::query::promql::source::{Selected, SeriesSource, SourceError, Statistics};

#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) series: Vec<(Labels, Samples)>,
}

impl Memory {
    /// Adds a series of floats: `x{a="1"}` by name and pairs, times in seconds.
    pub(super) fn floats(&mut self, pairs: &[(&str, &str)], points: &[(i64, f64)]) {
        let samples = Samples {
            times: points.iter().map(|point| point.0 * 1_000).collect(),
            floats: points.iter().map(|point| point.1).collect(),
            ..Samples::default()
        };
        self.series
            .push((Labels::of(pairs.iter().copied()), samples));
        self.series.sort_by(|a, b| a.0.cmp(&b.0));
    }
}

impl SeriesSource for Memory {
    fn select(&self, matchers: &[Matcher], _: Millis) -> Result<Vec<Selected>, SourceError> {
        let fits = |labels: &Labels| {
            matchers
                .iter()
                .all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or("")))
        };
        let series = self.series.iter().enumerate();
        let selected = series.filter(|(_, (labels, _))| fits(labels));
        Ok(selected
            .map(|(number, (labels, _))| Selected {
                number: number as u64,
                labels: labels.clone(),
            })
            .collect())
    }

    fn read(
        &self,
        series: &Selected,
        range: Millis,
        into: &mut Samples,
    ) -> Result<(), SourceError> {
        let from = &self.series[series.number as usize].1;
        let within = |time: i64| (range.first..=range.last).contains(&time);
        for (time, value) in from
            .times
            .iter()
            .zip(&from.floats)
            .filter(|(t, _)| within(**t))
        {
            into.times.push(*time);
            into.floats.push(*value);
        }
        let histograms = from.histogram_times.iter().zip(&from.histograms);
        for (time, histogram) in histograms.filter(|(t, _)| within(**t)) {
            into.histogram_times.push(*time);
            into.histograms.push(histogram.clone());
        }
        Ok(())
    }

    fn exemplars(
        &self,
        _: &[Matcher],
        _: Millis,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, SourceError> {
        Ok(Vec::new())
    }

    fn label_names(&self, _: &[Matcher], _: Millis) -> Result<Vec<String>, SourceError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &[Matcher], _: Millis) -> Result<Vec<String>, SourceError> {
        Ok(Vec::new())
    }

    fn metadata(&self, _: Option<&str>) -> Vec<Metadata> {
        Vec::new()
    }

    fn statistics(&self, _: usize) -> Statistics {
        Statistics::default()
    }
}

pub(super) fn control() -> Control {
    Control::new(1, Instant::now(), Duration::from_secs(600), u64::MAX)
}
