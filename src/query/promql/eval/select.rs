//! Selectors and subqueries: from samples to rows, and to windows over samples.

use std::sync::Arc;

use crate::model::metric::{
    CounterReset, Histogram, Labels, Millis, STALE_NAN_BITS, Samples, is_stale,
};

use super::super::ast::{At, Duration, Selector, Subquery};
use super::context::{Context, Sink};
use super::row::{Grid, Row};
use super::shape::millis;
use super::{EvalError, Series};

/// Where selectors look, relative to the steps of a grid or at one time for all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    grid: Grid,
    offset: i64,
    at: Option<i64>,
}

impl Reference {
    /// The newest time that counts at a step.
    pub(super) fn end(&self, step: usize) -> i64 {
        let base = self.at.unwrap_or_else(|| self.grid.at(step));
        base.saturating_sub(self.offset)
    }

    pub(super) fn last_end(&self) -> i64 {
        self.end(self.grid.count.saturating_sub(1))
    }
}

/// The windows of a range selector: at each step `(end - range, end]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    pub(super) reference: Reference,
    /// In ms.
    pub(super) range: i64,
}

/// The samples of one series in one window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'s> {
    pub(super) step: usize,
    /// Time of evaluation.
    pub(super) at: i64,
    /// Excluded.
    pub(super) start: i64,
    /// Included.
    pub(super) end: i64,
    /// Which of the series' floats the first one is.
    pub(super) first: usize,
    pub(super) times: &'s [i64],
    pub(super) floats: &'s [f64],
    pub(super) histogram_times: &'s [i64],
    pub(super) histograms: &'s [Arc<Histogram>],
}

impl Windows {
    /// All samples that any window has.
    fn span(&self) -> Millis {
        Millis {
            first: self
                .reference
                .end(0)
                .saturating_sub(self.range)
                .saturating_add(1),
            last: self.reference.last_end(),
        }
    }

    /// Visits the windows that have samples. Ends of windows only move forward, and so do the
    /// pointers.
    pub(super) fn each<'s>(&self, samples: &'s Samples, mut visit: impl FnMut(Window<'s>)) {
        let (mut floats, mut histograms) = (Pointer::default(), Pointer::default());
        for step in 0..self.reference.grid.count {
            let end = self.reference.end(step);
            let start = end.saturating_sub(self.range);
            floats.advance(&samples.times, start, end);
            histograms.advance(&samples.histogram_times, start, end);
            if floats.is_empty() && histograms.is_empty() {
                continue;
            }
            visit(Window {
                step,
                at: self.reference.grid.at(step),
                start,
                end,
                first: floats.first,
                times: &samples.times[floats.first..floats.next],
                floats: &samples.floats[floats.first..floats.next],
                histogram_times: &samples.histogram_times[histograms.first..histograms.next],
                histograms: &samples.histograms[histograms.first..histograms.next],
            });
        }
    }
}

/// A range of a column that moves forward.
#[derive(Clone, Copy, Debug, Default)]
struct Pointer {
    first: usize,
    next: usize,
}

impl Pointer {
    fn advance(&mut self, times: &[i64], start: i64, end: i64) {
        while times.get(self.next).is_some_and(|time| *time <= end) {
            self.next += 1;
        }
        while self.first < self.next && times[self.first] <= start {
            self.first += 1;
        }
    }

    fn is_empty(self) -> bool {
        self.first == self.next
    }
}

impl Context<'_> {
    fn reference(
        &self,
        offset: Option<&Duration>,
        at: Option<At>,
        grid: &Grid,
    ) -> Result<Reference, EvalError> {
        let offset = offset.map_or(Ok(0), |offset| millis(offset, self.params.step, true))?;
        let at = at.map(|at| match at {
            At::Time(time) => time,
            At::Start => self.params.first,
            At::End => self.params.last,
        });
        Ok(Reference {
            grid: *grid,
            offset,
            at,
        })
    }

    /// Reads the series of a selector one by one, into the same buffer.
    fn read_each(
        &self,
        selector: &Selector,
        span: Millis,
        visit: &mut dyn FnMut(&Labels, &mut Samples) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        if span.first > span.last {
            return Ok(());
        }
        let selected = self.source.select(&selector.matchers, span)?;
        self.count_series(selected.len())?;
        let mut samples = Samples::default();
        for series in &selected {
            self.check()?;
            samples.clear();
            self.source.read(series, span, &mut samples)?;
            self.count_read(samples.len())?;
            if samples.len() > 0 {
                visit(&series.labels, &mut samples)?;
            }
        }
        Ok(())
    }

    /// An instant selector: at every step the newest sample of the lookback time, which is open to
    /// the left, unless it is a stale marker.
    pub(super) fn vector(
        &self,
        selector: &Selector,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        self.newest(selector, grid, &mut |labels, samples, reference| {
            let mut row = Row::of_floats(labels.clone(), self.column(grid.count));
            if samples.histograms.is_empty() {
                newest_floats(samples, reference, self.params.lookback, &mut row.floats);
            } else {
                each_newest(
                    samples,
                    reference,
                    self.params.lookback,
                    |step, _, newest| match newest {
                        Newest::Float(value) => row.floats[step] = value,
                        Newest::Histogram(h) => row.set_histogram(step, Arc::clone(h)),
                    },
                );
            }
            if row.is_empty() {
                self.give_back(row);
                return Ok(());
            }
            sink(row)
        })
    }

    /// `timestamp()` of a selector: times of the samples instead of their values. With `@` an offset
    /// does not count, as in Prometheus (`rangeEvalTimestampFunctionOverVectorSelector`).
    pub(super) fn sample_times(
        &self,
        selector: &Selector,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        let mut without_offset = selector.clone();
        if selector.at.is_some() {
            without_offset.offset = None;
        }
        self.newest(&without_offset, grid, &mut |labels, samples, reference| {
            let mut row = Row::of_floats(labels.clone(), self.column(grid.count));
            each_newest(samples, reference, self.params.lookback, |step, time, _| {
                row.floats[step] = time as f64 / 1000.0;
            });
            sink(row)
        })
    }

    fn newest(
        &self,
        selector: &Selector,
        grid: &Grid,
        visit: &mut dyn FnMut(&Labels, &Samples, &Reference) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let reference = self.reference(selector.offset.as_ref(), selector.at, grid)?;
        let before = reference.end(0).saturating_sub(self.params.lookback);
        let span = Millis {
            first: before.saturating_add(1),
            last: reference.last_end(),
        };
        self.read_each(selector, span, &mut |labels, samples| {
            visit(labels, samples, &reference)
        })
    }

    /// The windows of a range selector.
    pub(super) fn windows(
        &self,
        selector: &Selector,
        range: &Duration,
        grid: &Grid,
    ) -> Result<Windows, EvalError> {
        Ok(Windows {
            reference: self.reference(selector.offset.as_ref(), selector.at, grid)?,
            range: millis(range, self.params.step, false)?,
        })
    }

    /// The samples of each series that the windows need, without stale markers.
    pub(super) fn range_samples(
        &self,
        selector: &Selector,
        windows: &Windows,
        visit: &mut dyn FnMut(&Labels, &mut Samples) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        self.read_each(selector, windows.span(), &mut |labels, samples| {
            drop_stale(samples);
            if samples.len() == 0 {
                return Ok(());
            }
            visit(labels, samples)
        })
    }

    /// Evaluates a subquery for the windows of all steps at once. Its steps are multiples of its
    /// resolution since the epoch. Resets that were told are not any more: samples may be left out
    /// between steps, or come twice.
    pub(super) fn subquery(
        &self,
        subquery: &Subquery,
        grid: &Grid,
    ) -> Result<(Windows, Vec<Series>), EvalError> {
        let step = match &subquery.step {
            Some(step) => millis(step, self.params.step, false)?,
            None => self.params.subquery_step,
        };
        let step = step.max(1);
        let windows = Windows {
            reference: self.reference(subquery.offset.as_ref(), subquery.at, grid)?,
            range: millis(&subquery.range, self.params.step, false)?,
        };
        let open = windows.reference.end(0).saturating_sub(windows.range);
        let first = open
            .div_euclid(step)
            .saturating_mul(step)
            .saturating_add(step);
        let inner = Grid::new(first, windows.reference.last_end(), step);
        self.check_steps(inner.count)?;
        let mut series = Vec::new();
        let mut add = |row: Row| {
            let mut one = row.into_series(&inner);
            for histogram in &mut one.samples.histograms {
                if matches!(
                    histogram.reset,
                    CounterReset::Reset | CounterReset::NotReset
                ) {
                    Arc::make_mut(histogram).reset = CounterReset::Unknown;
                }
            }
            self.hold(one.samples.len())?;
            series.push(one);
            Ok(())
        };
        if self.is_scalar(&subquery.expr) {
            let values = self.scalar(&subquery.expr, &inner)?;
            add(Row::of_floats(Labels::default(), values))?;
        } else {
            self.each(&subquery.expr, &inner, &mut add)?;
        }
        Ok((windows, series))
    }
}

enum Newest<'s> {
    Float(f64),
    Histogram(&'s Arc<Histogram>),
}

/// Fills a column with the newest float at each step. A stale marker is copied like any value: in a
/// row its bits say that there is none.
fn newest_floats(samples: &Samples, reference: &Reference, lookback: i64, column: &mut [f64]) {
    let mut next = 0;
    for (step, cell) in column.iter_mut().enumerate() {
        let end = reference.end(step);
        while samples.times.get(next).is_some_and(|time| *time <= end) {
            next += 1;
        }
        if next > 0 && samples.times[next - 1] > end.saturating_sub(lookback) {
            *cell = samples.floats[next - 1];
        }
    }
}

/// Visits the newest sample of either kind at each step that has one.
fn each_newest<'s>(
    samples: &'s Samples,
    reference: &Reference,
    lookback: i64,
    mut visit: impl FnMut(usize, i64, Newest<'s>),
) {
    let (mut floats, mut histograms) = (Pointer::default(), Pointer::default());
    for step in 0..reference.grid.count {
        let end = reference.end(step);
        let start = end.saturating_sub(lookback);
        floats.advance(&samples.times, start, end);
        histograms.advance(&samples.histogram_times, start, end);
        let newest = |pointer: Pointer, times: &[i64]| {
            (!pointer.is_empty()).then(|| times[pointer.next - 1])
        };
        let float = newest(floats, &samples.times);
        let histogram = newest(histograms, &samples.histogram_times);
        match (float, histogram) {
            (Some(time), other) if other.is_none_or(|other| time > other) => {
                let value = samples.floats[floats.next - 1];
                if !is_stale(value) {
                    visit(step, time, Newest::Float(value));
                }
            }
            (_, Some(time)) => {
                let histogram = &samples.histograms[histograms.next - 1];
                if !is_stale(histogram.sum) {
                    visit(step, time, Newest::Histogram(histogram));
                }
            }
            _ => {}
        }
    }
}

fn drop_stale(samples: &mut Samples) {
    if samples.floats.iter().any(|value| is_stale(*value)) {
        let mut kept = 0;
        for index in 0..samples.floats.len() {
            if samples.floats[index].to_bits() != STALE_NAN_BITS {
                samples.floats[kept] = samples.floats[index];
                samples.times[kept] = samples.times[index];
                kept += 1;
            }
        }
        samples.floats.truncate(kept);
        samples.times.truncate(kept);
    }
    if samples.histograms.iter().any(|h| is_stale(h.sum)) {
        let times = std::mem::take(&mut samples.histogram_times);
        let histograms = std::mem::take(&mut samples.histograms);
        let fresh = times
            .into_iter()
            .zip(histograms)
            .filter(|(_, h)| !is_stale(h.sum));
        (samples.histogram_times, samples.histograms) = fresh.unzip();
    }
}
