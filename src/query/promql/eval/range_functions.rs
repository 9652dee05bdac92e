//! Functions of range vectors: one series at a time, all its windows in one go.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::metric::{Histogram, Incompatible, Labels, Samples, is_stale};

use super::super::ast::{Call, Expr, Function, Kind, Place, Subquery};
use super::annotate::Note;
use super::context::{Collision, Context, Sink, internal};
use super::label_functions::absent_labels;
use super::rate::{self, Told};
use super::row::{Grid, Row};
use super::select::{Window, Windows};
use super::{EvalError, shape, summing};

/// Values of the scalar arguments of a call at each step, in their order.
type Scalars = Vec<Vec<f64>>;

/// The range vector among the arguments of a call.
fn range_argument(call: &Call) -> Option<&Expr> {
    let mut args = call.args.iter().map(shape::unwrapped);
    args.find(|arg| matches!(arg.kind, Kind::Matrix(..) | Kind::Subquery(_)))
}

/// Whether a call works on a range vector.
pub(super) fn takes_range(call: &Call) -> bool {
    range_argument(call).is_some()
}

impl Context<'_> {
    /// Evaluates a call over a range vector.
    pub(super) fn range_call(
        &self,
        call: &Call,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        let range = range_argument(call).ok_or_else(|| internal("a range vector is needed"))?;
        let scalars = self.scalar_arguments(call, grid)?;
        if call.function == Function::AbsentOverTime {
            return self.absent_over_time(range, grid, sink);
        }
        // `first_over_time` and `last_over_time` give samples as they are: with their name.
        let keeps_name = matches!(
            call.function,
            Function::LastOverTime | Function::FirstOverTime
        );
        let streams = keeps_name || self.params.delayed_names || shape::has_one_name(range);
        let place = argument_place(call);
        let mut rows = Vec::new();
        self.each_range(range, grid, &mut |labels, samples, windows| {
            let mut row = Row::of_floats(labels.clone(), self.column(grid.count));
            let told = Told {
                notes: &self.notes,
                metric: labels.metric(),
                place: &place,
            };
            fill(call.function, samples, windows, &scalars, told, &mut row)?;
            if row.is_empty() {
                self.give_back(row);
                return Ok(());
            }
            note_counter_name(call.function, &row, told);
            if !keeps_name {
                self.drop_name(&mut row);
            }
            if streams {
                return sink(row);
            }
            self.hold(row.weight())?;
            rows.push(row);
            Ok(())
        })?;
        self.push_all(rows, Collision::Error, sink)
    }

    fn scalar_arguments(&self, call: &Call, grid: &Grid) -> Result<Scalars, EvalError> {
        let scalars = call.args.iter().filter(|arg| self.is_scalar(arg));
        scalars.map(|arg| self.scalar(arg, grid)).collect()
    }

    /// Visits the series of a range vector with their windows.
    fn each_range(
        &self,
        range: &Expr,
        grid: &Grid,
        visit: &mut dyn FnMut(&Labels, &Samples, &Windows) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        match &range.kind {
            Kind::Matrix(selector, length) => {
                let windows = self.windows(selector, length, grid)?;
                self.range_samples(selector, &windows, &mut |labels, samples| {
                    visit(labels, samples, &windows)
                })
            }
            Kind::Subquery(subquery) => self.each_of_subquery(subquery, grid, visit),
            _ => Err(internal("a range vector is needed")),
        }
    }

    fn each_of_subquery(
        &self,
        subquery: &Subquery,
        grid: &Grid,
        visit: &mut dyn FnMut(&Labels, &Samples, &Windows) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let (windows, series) = self.subquery(subquery, grid)?;
        let held = series.iter().map(|one| one.samples.len()).sum();
        for one in &series {
            self.check()?;
            visit(&one.labels, &one.samples, &windows)?;
        }
        self.release(held);
        Ok(())
    }

    /// 1 at steps without any sample of any series, with the labels that the selector asks for.
    fn absent_over_time(&self, range: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        let mut row = Row::of_floats(absent_labels(range), vec![1.0; grid.count]);
        self.each_range(range, grid, &mut |_, samples, windows| {
            windows.each(samples, |window| row.clear(window.step));
            Ok(())
        })?;
        row.drop_name = true;
        if row.is_empty() { Ok(()) } else { sink(row) }
    }
}

/// Where annotations about a call point: its first argument. What a subquery gives has no place.
fn argument_place(call: &Call) -> Place {
    match call.args.first().map(shape::unwrapped) {
        Some(first) if !matches!(first.kind, Kind::Subquery(_)) => first.place.clone(),
        _ => 0..0,
    }
}

/// Rates of metrics that do not look like counters by their name.
fn note_counter_name(function: Function, row: &Row, told: Told<'_>) {
    const ENDS: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];
    let rated = matches!(function, Function::Rate | Function::Increase);
    if rated
        && !told.metric.is_empty()
        && !ENDS.iter().any(|end| told.metric.ends_with(end))
        && row.floats.iter().any(|value| !is_stale(*value))
    {
        told.add(Note::PossibleNonCounter);
    }
}

/// Fills the row of one series.
fn fill(
    function: Function,
    samples: &Samples,
    windows: &Windows,
    scalars: &Scalars,
    told: Told<'_>,
    row: &mut Row,
) -> Result<(), EvalError> {
    let change = |counter, rate| rate::Kind { counter, rate };
    match function {
        Function::Rate => rate::extrapolated(samples, windows, change(true, true), told, row),
        Function::Increase => rate::extrapolated(samples, windows, change(true, false), told, row),
        Function::Delta => rate::extrapolated(samples, windows, change(false, false), told, row),
        Function::Irate => rate::instant(samples, windows, change(true, true), told, row),
        Function::Idelta => rate::instant(samples, windows, change(false, false), told, row),
        Function::SumOverTime | Function::AvgOverTime => {
            over_either_kind(function, samples, windows, told, row);
        }
        Function::FirstOverTime | Function::LastOverTime => {
            one_sample(function, samples, windows, row);
        }
        Function::CountOverTime
        | Function::PresentOverTime
        | Function::TsOfFirstOverTime
        | Function::TsOfLastOverTime
        | Function::Changes
        | Function::Resets => windows.each(samples, |window| {
            row.floats[window.step] = of_any_samples(function, &window);
        }),
        Function::MaxOverTime | Function::MinOverTime => {
            let mut extremes = Extremes::new(function == Function::MaxOverTime);
            over_floats(samples, windows, told, row, 1, |window| extremes.of(window));
        }
        Function::QuantileOverTime
        | Function::DoubleExponentialSmoothing
        | Function::PredictLinear => {
            fill_with_scalars(function, samples, windows, scalars, told, row)?;
        }
        Function::Deriv => over_floats(samples, windows, told, row, 2, |window| {
            summing::regression(window.times, window.floats, window.times[0]).0
        }),
        _ => {
            let Some(of_floats) = of_floats(function) else {
                return Err(internal(function.name()));
            };
            over_floats(samples, windows, told, row, 1, of_floats);
        }
    }
    Ok(())
}

/// As [`fill`], of functions with scalar arguments.
fn fill_with_scalars(
    function: Function,
    samples: &Samples,
    windows: &Windows,
    scalars: &Scalars,
    told: Told<'_>,
    row: &mut Row,
) -> Result<(), EvalError> {
    let scalar = |index: usize, step: usize| scalars.get(index).map_or(f64::NAN, |s| s[step]);
    match function {
        Function::QuantileOverTime => {
            let mut sorted = Vec::new();
            over_floats(samples, windows, told, row, 1, |window| {
                let q = scalar(0, window.step);
                if q.is_nan() || !(0.0..=1.0).contains(&q) {
                    told.notes.add(Note::InvalidQuantile(q), told.place);
                }
                sorted.clear();
                sorted.extend_from_slice(window.floats);
                summing::quantile(q, &mut sorted)
            });
        }
        Function::DoubleExponentialSmoothing => {
            for step in 0..row.floats.len() {
                check_factor("smoothing", scalar(0, step))?;
                check_factor("trend", scalar(1, step))?;
            }
            over_floats(samples, windows, told, row, 2, |window| {
                smoothed(
                    window.floats,
                    scalar(0, window.step),
                    scalar(1, window.step),
                )
            });
        }
        _ => over_floats(samples, windows, told, row, 2, |window| {
            let (slope, value) = summing::regression(window.times, window.floats, window.at);
            slope * scalar(0, window.step) + value
        }),
    }
    Ok(())
}

/// Functions that look at floats alone and need no argument.
fn of_floats(function: Function) -> Option<fn(&Window<'_>) -> f64> {
    Some(match function {
        Function::TsOfMaxOverTime => |w| seconds(w.times[extreme(w.floats, |new, old| new >= old)]),
        Function::TsOfMinOverTime => |w| seconds(w.times[extreme(w.floats, |new, old| new <= old)]),
        Function::StdvarOverTime => |w| summing::variance(w.floats),
        Function::StddevOverTime => |w| summing::variance(w.floats).sqrt(),
        Function::MadOverTime => |w| {
            let mut values = w.floats.to_vec();
            let median = summing::quantile(0.5, &mut values);
            values
                .iter_mut()
                .for_each(|value| *value = (*value - median).abs());
            summing::quantile(0.5, &mut values)
        },
        _ => return None,
    })
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// The largest or smallest of windows that move forward: of the values seen those that may still win,
/// best first. Each value comes and goes once, however long the windows are.
struct Extremes {
    largest: bool,
    /// Places in the series' column, with their values.
    candidates: VecDeque<(usize, f64)>,
    next: usize,
}

impl Extremes {
    fn new(largest: bool) -> Extremes {
        Extremes {
            largest,
            candidates: VecDeque::new(),
            next: 0,
        }
    }

    /// NaN only where there is nothing else.
    fn of(&mut self, window: &Window<'_>) -> f64 {
        let beats = |new: f64, old: f64| if self.largest { new > old } else { new < old };
        let unseen = self.next.max(window.first) - window.first;
        for (index, value) in window.floats.iter().enumerate().skip(unseen) {
            if value.is_nan() {
                continue;
            }
            while self
                .candidates
                .back()
                .is_some_and(|(_, old)| beats(*value, *old))
            {
                self.candidates.pop_back();
            }
            self.candidates.push_back((window.first + index, *value));
        }
        self.next = window.first + window.floats.len();
        while self
            .candidates
            .front()
            .is_some_and(|(place, _)| *place < window.first)
        {
            self.candidates.pop_front();
        }
        self.candidates
            .front()
            .map_or(f64::NAN, |(_, value)| *value)
    }
}

/// Which value is the largest or smallest; a NaN only where there is nothing else.
fn extreme(values: &[f64], better: impl Fn(f64, f64) -> bool) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if better(*value, values[best]) || values[best].is_nan() {
            best = index;
        }
    }
    best
}

/// Evaluates windows of at least so many floats. Histograms beside them are ignored, and that is told.
fn over_floats(
    samples: &Samples,
    windows: &Windows,
    told: Told<'_>,
    row: &mut Row,
    least: usize,
    mut value: impl FnMut(&Window<'_>) -> f64,
) {
    windows.each(samples, |window| {
        if window.floats.is_empty() {
            return;
        }
        if !window.histograms.is_empty() {
            told.add(Note::IgnoredInMixedRange);
        }
        if window.floats.len() >= least {
            row.floats[window.step] = value(&window);
        }
    });
}

/// `sum_over_time` and `avg_over_time`: of floats or of histograms, not of both.
fn over_either_kind(
    function: Function,
    samples: &Samples,
    windows: &Windows,
    told: Told<'_>,
    row: &mut Row,
) {
    let sums = function == Function::SumOverTime;
    windows.each(samples, |window| {
        if window.histograms.is_empty() {
            row.floats[window.step] = match sums {
                true => summing::sum(window.floats),
                false => summing::mean(window.floats),
            };
            return;
        }
        if !window.floats.is_empty() {
            told.add(Note::MixedFloatsHistograms);
            return;
        }
        let joined = match sums {
            true => histogram_sum(window.histograms),
            false => histogram_mean(window.histograms),
        };
        match joined {
            Ok(joined) => row.set_histogram(window.step, Arc::new(joined)),
            Err(why) => told.incompatible(why),
        }
    });
}

fn histogram_sum(histograms: &[Arc<Histogram>]) -> Result<Histogram, Incompatible> {
    let mut sum = Histogram::clone(&histograms[0]);
    for histogram in &histograms[1..] {
        sum.add(histogram)?;
    }
    Ok(sum)
}

fn histogram_mean(histograms: &[Arc<Histogram>]) -> Result<Histogram, Incompatible> {
    let mut mean = Histogram::clone(&histograms[0]);
    for (index, histogram) in histograms[1..].iter().enumerate() {
        towards(&mut mean, histogram, (index + 2) as f64)?;
    }
    Ok(mean)
}

/// Moves a mean of `count - 1` histograms to that of `count`.
pub(super) fn towards(
    mean: &mut Histogram,
    histogram: &Histogram,
    count: f64,
) -> Result<(), Incompatible> {
    let (mut step, mut share) = (histogram.clone(), mean.clone());
    step.divide(count);
    share.divide(count);
    step.subtract(&share)?;
    mean.add(&step)
}

/// The oldest or newest sample of either kind.
fn one_sample(function: Function, samples: &Samples, windows: &Windows, row: &mut Row) {
    windows.each(samples, |window| {
        let first = function == Function::FirstOverTime;
        let (float, histogram) = match first {
            true => (window.times.first(), window.histogram_times.first()),
            false => (window.times.last(), window.histogram_times.last()),
        };
        let takes_float = match (float, histogram) {
            (Some(float), Some(histogram)) if first => float < histogram,
            (Some(float), Some(histogram)) => histogram < float,
            (float, _) => float.is_some(),
        };
        let at = |len: usize| if first { 0 } else { len - 1 };
        if takes_float {
            row.floats[window.step] = window.floats[at(window.floats.len())];
        } else {
            let histogram = &window.histograms[at(window.histograms.len())];
            row.set_histogram(window.step, Arc::clone(histogram));
        }
    });
}

fn of_any_samples(function: Function, window: &Window<'_>) -> f64 {
    match function {
        Function::CountOverTime => (window.floats.len() + window.histograms.len()) as f64,
        Function::PresentOverTime => 1.0,
        Function::TsOfFirstOverTime => {
            let (float, histogram) = (window.times.first(), window.histogram_times.first());
            seconds(
                float
                    .into_iter()
                    .chain(histogram)
                    .copied()
                    .min()
                    .unwrap_or(0),
            )
        }
        Function::TsOfLastOverTime => {
            let (float, histogram) = (window.times.last(), window.histogram_times.last());
            seconds(
                float
                    .into_iter()
                    .chain(histogram)
                    .copied()
                    .max()
                    .unwrap_or(0),
            )
        }
        Function::Changes => {
            let changed = |a: f64, b: f64| a != b && !(a.is_nan() && b.is_nan());
            count_pairs(window, changed, |before, now| !now.equals(before))
        }
        _ => count_pairs(
            window,
            |before, now| now < before,
            |before, now| now.is_reset_from(before),
        ),
    }
}

/// How many samples differ from the one before; one of the other kind always does.
fn count_pairs(
    window: &Window<'_>,
    floats: impl Fn(f64, f64) -> bool,
    histograms: impl Fn(&Histogram, &Histogram) -> bool,
) -> f64 {
    if window.histograms.is_empty() {
        let pairs = window.floats.windows(2);
        return pairs.filter(|pair| floats(pair[0], pair[1])).count() as f64;
    }
    let own = |index: usize| (window.times[index], Err(window.floats[index]));
    let mut all: Vec<(i64, Result<&Histogram, f64>)> = (0..window.floats.len()).map(own).collect();
    let theirs = window.histogram_times.iter().zip(window.histograms);
    all.extend(theirs.map(|(time, histogram)| (*time, Ok(histogram.as_ref()))));
    all.sort_by_key(|(time, _)| *time);
    let differs = |pair: &&[(i64, Result<&Histogram, f64>)]| match (pair[0].1, pair[1].1) {
        (Err(before), Err(now)) => floats(before, now),
        (Ok(before), Ok(now)) => histograms(before, now),
        _ => true,
    };
    all.windows(2).filter(differs).count() as f64
}

fn check_factor(name: &str, factor: f64) -> Result<(), EvalError> {
    // As Prometheus compares: a NaN passes.
    if factor <= 0.0 || factor >= 1.0 {
        let letter = if name == "smoothing" { "sf" } else { "tf" };
        return Err(EvalError::Execution(format!(
            "invalid {name} factor. Expected: 0 < {letter} < 1, got: {factor:.6}"
        )));
    }
    Ok(())
}

/// Holt's double exponential smoothing.
fn smoothed(values: &[f64], smoothing: f64, trending: f64) -> f64 {
    let (mut before, mut now) = (0.0, values[0]);
    let mut trend = values[1] - values[0];
    for (index, value) in values.iter().enumerate().skip(1) {
        if index > 1 {
            trend = trending * (now - before) + (1.0 - trending) * trend;
        }
        let next = smoothing * value + (1.0 - smoothing) * (now + trend);
        (before, now) = (now, next);
    }
    now
}
