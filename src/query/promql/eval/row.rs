//! What is computed: rows of cells, one per step of a grid.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::metric::{Histogram, Labels, STALE_NAN_BITS, Samples, is_stale};

use super::{EvalError, Series};

/// A cell without a value. No selector gives a stale marker and no calculation makes one, so the bits
/// are free to say so, and rows need no bitmap.
pub(super) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

/// The times to evaluate at, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) first: i64,
    /// Above zero.
    pub(super) step: i64,
    pub(super) count: usize,
}

impl Grid {
    /// No step when `last` is before `first`.
    pub(super) fn new(first: i64, last: i64, step: i64) -> Grid {
        let count = last
            .checked_sub(first)
            .filter(|length| *length >= 0)
            .map_or(0, |length| (length / step) as usize + 1);
        Grid { first, step, count }
    }

    pub(super) fn at(&self, index: usize) -> i64 {
        self.first + self.step * index as i64
    }

    /// The first step alone.
    pub(super) fn single(&self) -> Grid {
        Grid {
            count: self.count.min(1),
            ..*self
        }
    }
}

/// One value of a row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    None,
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

/// Values of one series, a cell per step. A step has a float or a histogram or nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) labels: Labels,
    /// The name goes at the end (only where names are dropped late).
    pub(super) drop_name: bool,
    /// One per step, [`ABSENT`] where there is none.
    pub(super) floats: Vec<f64>,
    /// One per step, or none at all where the row has no histogram.
    pub(super) histograms: Vec<Option<Arc<Histogram>>>,
}

impl Row {
    pub(super) fn of_floats(labels: Labels, floats: Vec<f64>) -> Row {
        Row {
            labels,
            floats,
            ..Row::default()
        }
    }

    pub(super) fn empty(labels: Labels, steps: usize) -> Row {
        Row::of_floats(labels, vec![ABSENT; steps])
    }

    pub(super) fn cell(&self, step: usize) -> Cell<'_> {
        let float = self.floats[step];
        if !is_stale(float) {
            return Cell::Float(float);
        }
        match self.histograms.get(step) {
            Some(Some(histogram)) => Cell::Histogram(histogram),
            _ => Cell::None,
        }
    }

    pub(super) fn has(&self, step: usize) -> bool {
        !matches!(self.cell(step), Cell::None)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.floats.iter().all(|v| is_stale(*v)) && self.histograms.iter().all(Option::is_none)
    }

    pub(super) fn set_histogram(&mut self, step: usize, histogram: Arc<Histogram>) {
        if self.histograms.is_empty() {
            self.histograms.resize(self.floats.len(), None);
        }
        self.histograms[step] = Some(histogram);
    }

    /// Copies a cell of another row.
    pub(super) fn copy(&mut self, from: &Row, step: usize) {
        match from.cell(step) {
            Cell::None => {}
            Cell::Float(value) => self.floats[step] = value,
            Cell::Histogram(histogram) => self.set_histogram(step, Arc::clone(histogram)),
        }
    }

    /// Removes a cell.
    pub(super) fn clear(&mut self, step: usize) {
        self.floats[step] = ABSENT;
        if let Some(cell) = self.histograms.get_mut(step) {
            *cell = None;
        }
    }

    /// The same value at every step.
    pub(super) fn spread(&mut self, steps: usize) {
        self.floats.resize(steps, self.floats[0]);
        if let Some(first) = self.histograms.first().cloned() {
            self.histograms.resize(steps, first);
        }
    }

    /// What it takes of the bound on samples: histograms count as their size in floats of 16 bytes,
    /// as Prometheus counts them.
    pub(super) fn weight(&self) -> usize {
        let histograms = self.histograms.iter().flatten();
        self.floats.len() + histograms.map(|h| histogram_weight(h)).sum::<usize>()
    }

    pub(super) fn into_series(self, grid: &Grid) -> Series {
        let present = self
            .floats
            .iter()
            .filter(|value| !is_stale(**value))
            .count();
        let mut samples = Samples {
            times: Vec::with_capacity(present),
            floats: Vec::with_capacity(present),
            ..Samples::default()
        };
        for (step, value) in self.floats.iter().enumerate() {
            if !is_stale(*value) {
                samples.times.push(grid.at(step));
                samples.floats.push(*value);
            }
        }
        for (step, histogram) in self.histograms.into_iter().enumerate() {
            if let Some(histogram) = histogram {
                samples.histogram_times.push(grid.at(step));
                samples.histograms.push(histogram);
            }
        }
        Series {
            labels: self.labels,
            samples,
        }
    }
}

/// Samples that a histogram counts as: 168 bytes and its columns over the 16 bytes of a float sample
/// (Prometheus `HPoint.size`).
pub(super) fn histogram_weight(h: &Histogram) -> usize {
    let spans = h.positive_spans.len() + h.negative_spans.len();
    let floats = h.positive_counts.len() + h.negative_counts.len() + h.custom_bounds.len();
    (168 + 8 * (spans + floats) + 8) / 16
}

/// Two elements of one vector with the same labels.
pub(super) fn same_labels() -> EvalError {
    EvalError::Execution(String::from(
        "vector cannot contain metrics with the same labelset",
    ))
}

/// Joins rows of equal labels whose cells do not meet (Prometheus `rangeEval` builds its series by
/// labels). Rows without a value are left out; order stays.
pub(super) fn merged(rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    let mut joined: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        if row.is_empty() {
            continue;
        }
        let Some(&place) = places.get(&row.labels) else {
            places.insert(row.labels.clone(), joined.len());
            joined.push(row);
            continue;
        };
        let into = &mut joined[place];
        for step in 0..row.floats.len() {
            if row.has(step) {
                if into.has(step) {
                    return Err(same_labels());
                }
                into.copy(&row, step);
            }
        }
    }
    Ok(joined)
}

/// Rows with a value; two with the same labels are an error even where their cells do not meet
/// (Prometheus `Matrix.ContainsSameLabelset`).
pub(super) fn distinct(mut rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
    rows.retain(|row| !row.is_empty());
    let mut seen = std::collections::HashSet::with_capacity(rows.len());
    if rows.iter().all(|row| seen.insert(&row.labels)) {
        Ok(rows)
    } else {
        Err(same_labels())
    }
}
