//! Series in memory to measure queries over. Only for benches.

use std::time::{Duration, Instant};

use crate::model::metric::{Exemplar, Labels, Matcher, Metadata, Millis, Samples};
use crate::query::control::Control;

use super::super::source::{Selected, SeriesSource, SourceError, Statistics};
use super::super::{ast::Expr, parse};
use super::{Params, evaluate};

/// Counters `cpu_seconds_total` of so many series, a sample every 15 s for six hours.
#[derive(Debug)]
pub(crate) struct Bed {
    series: Vec<(Labels, Samples)>,
}

const STEP_MS: i64 = 15_000;
const SAMPLES: i64 = 6 * 240;

impl Bed {
    pub(crate) fn new(series: usize) -> Bed {
        let one = |number: usize| {
            let (host, cpu) = (format!("host-{}", number / 16), format!("{}", number % 16));
            let labels = Labels::of([
                ("__name__", "cpu_seconds_total"),
                ("instance", &host),
                ("cpu", &cpu),
            ]);
            let grown = |i: i64| i as f64 * 3.5 + ((i * 7 + number as i64) % 50) as f64 * 0.07;
            let samples = Samples {
                times: (0..SAMPLES).map(|i| i * STEP_MS).collect(),
                floats: (0..SAMPLES).map(grown).collect(),
                ..Samples::default()
            };
            (labels, samples)
        };
        Bed {
            series: (0..series).map(one).collect(),
        }
    }

    /// Evaluates a query at every step of the six hours; how many samples it read.
    pub(crate) fn run(&self, query: &str) -> u64 {
        let expr: Expr = parse(query).expect("a query");
        let params = Params::range(0, SAMPLES * STEP_MS, STEP_MS);
        let control = Control::new(1, Instant::now(), Duration::from_secs(600), u64::MAX);
        let answer = evaluate(self, &expr, query, &params, &control);
        answer.expect("an answer").samples_read
    }
}

impl SeriesSource for Bed {
    fn select(&self, matchers: &[Matcher], _: Millis) -> Result<Vec<Selected>, SourceError> {
        let value = |labels: &Labels, m: &Matcher| m.matches(labels.get(&m.name).unwrap_or(""));
        let series = self.series.iter().enumerate();
        let fits = series.filter(|(_, (labels, _))| matchers.iter().all(|m| value(labels, m)));
        Ok(fits
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
        let first = from.times.partition_point(|time| *time < range.first);
        let end = from.times.partition_point(|time| *time <= range.last);
        into.times.extend_from_slice(&from.times[first..end]);
        into.floats.extend_from_slice(&from.floats[first..end]);
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
