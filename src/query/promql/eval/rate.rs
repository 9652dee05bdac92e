//! `rate`, `increase`, `delta`, `irate`, `idelta` (Prometheus `extrapolatedRate`, `histogramRate`,
//! `instantValue`).

use std::sync::Arc;

use crate::model::metric::{CounterReset, Histogram, Incompatible};

use super::super::ast::Place;
use super::annotate::{Note, Notes};
use super::row::Row;
use super::select::{Window, Windows};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// Drops are resets.
    pub(super) counter: bool,
    /// Per second.
    pub(super) rate: bool,
}

/// A series' name and the place of the argument, for annotations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    pub(super) notes: &'a Notes,
    pub(super) metric: &'a str,
    pub(super) place: &'a Place,
}

impl Told<'_> {
    pub(super) fn add(&self, note: Note) {
        self.notes.add_named(note, self.metric, self.place);
    }

    pub(super) fn incompatible(&self, why: Incompatible) {
        self.add(match why {
            Incompatible::Schema => Note::MixedSchemas,
            Incompatible::Bounds => Note::IncompatibleBounds,
        });
    }
}

/// Resets before each float of a series, so that a window knows at once whether it has any.
pub(super) fn count_resets(floats: &[f64]) -> Vec<u32> {
    let mut resets = 0;
    let mut counts = Vec::with_capacity(floats.len());
    counts.extend(floats.first().map(|_| 0));
    counts.extend(floats.windows(2).map(|pair| {
        resets += u32::from(pair[1] < pair[0]);
        resets
    }));
    counts
}

/// Extrapolated over the window at each step.
pub(super) fn extrapolated(
    samples: &crate::model::metric::Samples,
    windows: &Windows,
    kind: Kind,
    told: Told<'_>,
    row: &mut Row,
) {
    let resets = if kind.counter {
        count_resets(&samples.floats)
    } else {
        Vec::new()
    };
    windows.each(samples, |window| {
        if !window.floats.is_empty() && !window.histograms.is_empty() {
            told.add(Note::MixedFloatsHistograms);
        } else if window.floats.len() > 1 {
            row.floats[window.step] = float_change(&window, windows.range, kind, &resets);
        } else if window.histograms.len() > 1
            && let Some(change) = histogram_change(&window, windows.range, kind, told)
        {
            row.set_histogram(window.step, Arc::new(change));
        }
    });
}

fn float_change(window: &Window<'_>, range: i64, kind: Kind, resets: &[u32]) -> f64 {
    let last = window.floats.len() - 1;
    let mut change = window.floats[last] - window.floats[0];
    if kind.counter && resets[window.first + last] != resets[window.first] {
        for pair in window.floats.windows(2) {
            if pair[1] < pair[0] {
                change += pair[0];
            }
        }
    }
    let zero = kind.counter && change > 0.0 && window.floats[0] >= 0.0;
    let reaches = Reach {
        first: window.times[0],
        last: window.times[last],
        intervals: last,
        to_zero: zero.then(|| window.floats[0] / change),
    };
    change * factor(window, &reaches, range, kind)
}

fn histogram_change(
    window: &Window<'_>,
    range: i64,
    kind: Kind,
    told: Told<'_>,
) -> Option<Histogram> {
    let mut change = histogram_difference(window.histograms, kind.counter, told)?;
    let last = window.histograms.len() - 1;
    let reaches = Reach {
        first: window.histogram_times[0],
        last: window.histogram_times[last],
        intervals: last,
        to_zero: None,
    };
    change.scale(factor(window, &reaches, range, kind));
    Some(change)
}

/// How far the samples of a window reach.
struct Reach {
    first: i64,
    last: i64,
    intervals: usize,
    /// How many times the covered time it is back to where a counter of floats was zero.
    to_zero: Option<f64>,
}

/// From the change between the samples to that of the window: to its borders where a sample is as
/// near as the usual distance (and a tenth), else by half a distance; a counter not to below zero.
fn factor(window: &Window<'_>, reach: &Reach, range: i64, kind: Kind) -> f64 {
    let mut to_start = seconds(reach.first - window.start);
    let mut to_end = seconds(window.end - reach.last);
    let covered = seconds(reach.last - reach.first);
    let distance = covered / reach.intervals as f64;
    let near = distance * 1.1;
    if to_start >= near {
        to_start = distance / 2.0;
    }
    if let Some(times) = reach.to_zero {
        let to_zero = covered * times;
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= near {
        to_end = distance / 2.0;
    }
    let factor = (covered + to_start + to_end) / covered;
    if kind.rate {
        factor / seconds(range)
    } else {
        factor
    }
}

/// The last minus the first histogram, and all that was lost in resets between. The first does not
/// count when it is followed by a reset: its layout need not fit then.
fn histogram_difference(
    points: &[Arc<Histogram>],
    counter: bool,
    told: Told<'_>,
) -> Option<Histogram> {
    let (first, last) = (points.first()?, points.last()?);
    let gauge = |h: &Histogram| h.reset == CounterReset::Gauge;
    if counter && (gauge(first) || gauge(last)) {
        told.add(Note::NotCounter);
    }
    let mut previous = Arc::clone(first);
    if counter && points[1].is_reset_from(first) {
        previous = Arc::new(Histogram {
            schema: points[1].schema,
            custom_bounds: points[1].custom_bounds.clone(),
            ..Histogram::default()
        });
    }
    let custom = previous.has_custom_bounds();
    if last.has_custom_bounds() != custom {
        told.add(Note::MixedSchemas);
        return None;
    }
    let mut schema = last.schema.min(previous.schema);
    if counter {
        for point in &points[1..points.len() - 1] {
            if gauge(point) {
                told.add(Note::NotCounter);
            }
            schema = schema.min(point.schema);
            if point.has_custom_bounds() != custom {
                told.add(Note::MixedSchemas);
                return None;
            }
        }
    }
    let mut change = Histogram::clone(last);
    if !custom {
        change.reduce(schema);
    }
    let add = |change: &mut Histogram, other: &Histogram, sign: f64| {
        let done = match sign < 0.0 {
            true => change.subtract(other),
            false => change.add(other),
        };
        done.map_err(|why| told.incompatible(why)).ok()
    };
    add(&mut change, &previous, -1.0)?;
    if counter {
        for point in &points[1..] {
            if point.is_reset_from(&previous) {
                add(&mut change, &previous, 1.0)?;
            }
            previous = Arc::clone(point);
        }
    } else if !gauge(first) || !gauge(last) {
        told.add(Note::NotGauge);
    }
    change.reset = CounterReset::Gauge;
    change.compact();
    Some(change)
}

/// One of the two newest samples.
#[derive(Clone, Copy)]
struct Recent<'s> {
    time: i64,
    float: f64,
    histogram: Option<&'s Arc<Histogram>>,
}

/// Between the two newest samples of each window.
pub(super) fn instant(
    samples: &crate::model::metric::Samples,
    windows: &Windows,
    kind: Kind,
    told: Told<'_>,
    row: &mut Row,
) {
    windows.each(samples, |window| {
        if window.histograms.is_empty() {
            let (Some([.., before, now]), Some([.., earlier, later])) =
                (window.floats.get(..), window.times.get(..))
            else {
                return;
            };
            let change = float_step(*before, *now, kind, seconds(later - earlier));
            row.floats[window.step] = change;
            return;
        }
        let Some((before, now)) = newest_two(&window) else {
            return;
        };
        let seconds = seconds(now.time - before.time);
        match (before.histogram, now.histogram) {
            (None, None) => {
                let reset = kind.counter && now.float < before.float;
                let change = if reset {
                    now.float
                } else {
                    now.float - before.float
                };
                row.floats[window.step] = if kind.rate { change / seconds } else { change };
            }
            (Some(before), Some(now)) => {
                if let Some(mut change) = instant_histogram(before, now, kind, told) {
                    if kind.rate {
                        change.divide(seconds);
                    }
                    row.set_histogram(window.step, Arc::new(change));
                }
            }
            _ => told.add(Note::MixedFloatsHistograms),
        }
    });
}

/// From one float to the next; after a reset a counter began at zero.
fn float_step(before: f64, now: f64, kind: Kind, seconds: f64) -> f64 {
    let reset = kind.counter && now < before;
    let change = if reset { now } else { now - before };
    if kind.rate { change / seconds } else { change }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn newest_two<'s>(window: &Window<'s>) -> Option<(Recent<'s>, Recent<'s>)> {
    let floats = window.times.iter().zip(window.floats).rev().take(2);
    let histograms = window
        .histogram_times
        .iter()
        .zip(window.histograms)
        .rev()
        .take(2);
    let mut recent: Vec<Recent<'s>> = floats
        .map(|(time, float)| Recent {
            time: *time,
            float: *float,
            histogram: None,
        })
        .collect();
    recent.extend(histograms.map(|(time, histogram)| Recent {
        time: *time,
        float: 0.0,
        histogram: Some(histogram),
    }));
    recent.sort_by_key(|sample| std::cmp::Reverse(sample.time));
    match recent[..] {
        [now, before, ..] if now.time != before.time => Some((before, now)),
        _ => None,
    }
}

fn instant_histogram(
    before: &Histogram,
    now: &Histogram,
    kind: Kind,
    told: Told<'_>,
) -> Option<Histogram> {
    let gauges = [before, now].map(|h| h.reset == CounterReset::Gauge);
    if kind.counter && gauges.contains(&true) {
        told.add(Note::NotCounter);
    }
    if !kind.counter && gauges.contains(&false) {
        told.add(Note::NotGauge);
    }
    let mut change = now.clone();
    if !(kind.counter && now.is_reset_from(before))
        && let Err(why) = change.subtract(before)
    {
        told.incompatible(why);
        return None;
    }
    change.reset = CounterReset::Gauge;
    change.compact();
    Some(change)
}
