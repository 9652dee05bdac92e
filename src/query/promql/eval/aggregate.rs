//! Aggregations that fold rows into one row per group, row by row (Prometheus `aggregation`).

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::metric::{Histogram, Labels, NAME, go_plain, is_stale};

use super::super::ast::{Aggregate, Aggregation, Place};
use super::super::print::quote;
use super::EvalError;
use super::annotate::Note;
use super::context::{Context, Sink};
use super::label_functions::is_label_name;
use super::range_functions::towards;
use super::rate::Told;
use super::row::{Cell, Grid, Row, merged};
use super::shape::{text, unwrapped};
use super::summing::{Mean, Sum};

/// Labels of the group of a series.
pub(super) fn group_labels(labels: &Labels, aggregate: &Aggregate) -> Labels {
    let mut names: Vec<&str> = aggregate.labels.iter().map(String::as_str).collect();
    if aggregate.without {
        names.push(NAME);
        labels.without(&names)
    } else if names.is_empty() {
        Labels::default()
    } else {
        labels.only(&names)
    }
}

impl Context<'_> {
    pub(super) fn aggregate(
        &self,
        aggregate: &Aggregate,
        place: &Place,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        match aggregate.op {
            Aggregation::CountValues => self.count_values(aggregate, grid, sink),
            Aggregation::Quantile
            | Aggregation::Topk
            | Aggregation::Bottomk
            | Aggregation::Limitk
            | Aggregation::LimitRatio => self.aggregate_k(aggregate, place, grid, sink),
            Aggregation::Sum
            | Aggregation::Avg
            | Aggregation::Count
            | Aggregation::Min
            | Aggregation::Max
            | Aggregation::Group
            | Aggregation::Stddev
            | Aggregation::Stdvar => self.fold(aggregate, grid, sink),
        }
    }

    fn fold(&self, aggregate: &Aggregate, grid: &Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut groups: Vec<Group> = Vec::new();
        let place = &aggregate.expr.place;
        self.each(&aggregate.expr, grid, &mut |row| {
            let labels = group_labels(&row.labels, aggregate);
            let index = match places.get(&labels) {
                Some(index) => *index,
                None => {
                    self.hold(grid.count)?;
                    places.insert(labels.clone(), groups.len());
                    groups.push(Group::new(labels, row.drop_name, aggregate.op, grid.count));
                    groups.len() - 1
                }
            };
            groups[index].add(
                &row,
                Told {
                    notes: &self.notes,
                    metric: row.labels.metric(),
                    place,
                },
            );
            self.give_back(row);
            Ok(())
        })?;
        self.release(groups.len() * grid.count);
        for group in groups {
            let row = group.finish(&|note| self.notes.add(note, place));
            if !row.is_empty() {
                sink(row)?;
            }
        }
        Ok(())
    }

    /// One row per value that a group has (Prometheus `aggregationCountValues`).
    fn count_values(
        &self,
        aggregate: &Aggregate,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        let parameter = aggregate
            .parameter
            .as_ref()
            .map_or("", |p| text(unwrapped(p)));
        if !is_label_name(parameter) {
            let text = format!("invalid label name {}", quote(parameter));
            return Err(EvalError::Execution(text));
        }
        let mut grouping = aggregate.clone();
        if !aggregate.without {
            grouping.labels.push(parameter.to_owned());
        }
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut rows: Vec<Row> = Vec::new();
        self.each(&aggregate.expr, grid, &mut |row| {
            for step in 0..grid.count {
                let value = match row.cell(step) {
                    Cell::None => continue,
                    Cell::Float(value) => go_plain(value),
                    Cell::Histogram(histogram) => histogram.to_string(),
                };
                let mut labels = crate::model::metric::LabelsBuilder::from(&row.labels);
                let labels = labels.set(parameter, &value).build();
                let labels = group_labels(&labels, &grouping);
                let place = match places.get(&labels) {
                    Some(place) => *place,
                    None => {
                        self.hold(grid.count)?;
                        places.insert(labels.clone(), rows.len());
                        rows.push(Row::empty(labels, grid.count));
                        rows.len() - 1
                    }
                };
                let count = &mut rows[place].floats[step];
                *count = if is_stale(*count) { 1.0 } else { *count + 1.0 };
            }
            self.give_back(row);
            Ok(())
        })?;
        self.release_rows(&rows);
        merged(rows)?.into_iter().try_for_each(sink)
    }
}

/// What a group has seen at each step.
struct Group {
    labels: Labels,
    drop_name: bool,
    op: Aggregation,
    cells: Cells,
    /// Number of elements at each step.
    counts: Vec<u32>,
    /// Only of sums and means; as many as steps once there is a histogram.
    histograms: Vec<Joined>,
}

enum Cells {
    Sums(Vec<Sum>),
    Means(Vec<Mean>),
    /// Smallest or largest.
    Extremes(Vec<f64>),
    /// Mean and sum of squared differences.
    Spreads(Vec<(f64, f64)>),
    Nothing,
}

/// The histograms of a group at one step.
#[derive(Clone, Default)]
enum Joined {
    #[default]
    None,
    Histogram(Box<Histogram>, u32),
    /// They do not fit each other: there is no result.
    Incompatible,
}

impl Group {
    fn new(labels: Labels, drop_name: bool, op: Aggregation, steps: usize) -> Group {
        let cells = match op {
            Aggregation::Sum => Cells::Sums(vec![Sum::default(); steps]),
            Aggregation::Avg => Cells::Means(vec![Mean::default(); steps]),
            Aggregation::Min | Aggregation::Max => Cells::Extremes(vec![f64::NAN; steps]),
            Aggregation::Stddev | Aggregation::Stdvar => Cells::Spreads(vec![(0.0, 0.0); steps]),
            _ => Cells::Nothing,
        };
        Group {
            labels,
            drop_name,
            op,
            cells,
            counts: vec![0; steps],
            histograms: Vec::new(),
        }
    }

    fn add(&mut self, row: &Row, told: Told<'_>) {
        let largest = self.op == Aggregation::Max;
        let present = row
            .floats
            .iter()
            .enumerate()
            .filter(|(_, value)| !is_stale(**value));
        let counts = &mut self.counts;
        match &mut self.cells {
            Cells::Sums(sums) => {
                for (step, value) in present {
                    counts[step] += 1;
                    match counts[step] {
                        1 => sums[step] = Sum::starting_at(*value),
                        _ => sums[step].add(*value),
                    }
                }
            }
            Cells::Means(means) => {
                for (step, value) in present {
                    counts[step] += 1;
                    means[step].add(*value);
                }
            }
            Cells::Extremes(extremes) => {
                for (step, value) in present {
                    counts[step] += 1;
                    let known = extremes[step];
                    let better = if largest {
                        known < *value
                    } else {
                        known > *value
                    };
                    if better || known.is_nan() {
                        extremes[step] = *value;
                    }
                }
            }
            Cells::Spreads(spreads) => {
                for (step, value) in present {
                    counts[step] += 1;
                    spread(&mut spreads[step], *value, counts[step]);
                }
            }
            Cells::Nothing => present.for_each(|(step, _)| counts[step] += 1),
        }
        if !row.histograms.is_empty() {
            self.add_histograms(row, told);
        }
    }

    fn add_histograms(&mut self, row: &Row, told: Told<'_>) {
        let ignored = match self.op {
            Aggregation::Sum | Aggregation::Avg => None,
            Aggregation::Min => Some("min"),
            Aggregation::Max => Some("max"),
            Aggregation::Stddev => Some("stddev"),
            Aggregation::Stdvar => Some("stdvar"),
            _ => {
                let present = row
                    .histograms
                    .iter()
                    .enumerate()
                    .filter(|(_, cell)| cell.is_some());
                present.for_each(|(step, _)| self.counts[step] += 1);
                return;
            }
        };
        if let Some(op) = ignored {
            if row.histograms.iter().any(Option::is_some) {
                told.notes.add(Note::IgnoredInAggregation(op), told.place);
            }
            return;
        }
        self.histograms.resize(self.counts.len(), Joined::None);
        for (step, cell) in row.histograms.iter().enumerate() {
            if let Some(histogram) = cell {
                self.join(step, histogram, told);
            }
        }
    }

    fn join(&mut self, step: usize, histogram: &Arc<Histogram>, told: Told<'_>) {
        let joined = &mut self.histograms[step];
        let result = match joined {
            Joined::None => {
                *joined = Joined::Histogram(Box::new(Histogram::clone(histogram)), 1);
                return;
            }
            Joined::Incompatible => return,
            Joined::Histogram(known, count) => {
                *count += 1;
                match self.op {
                    Aggregation::Sum => known.add(histogram),
                    _ => towards(known, histogram, f64::from(*count)),
                }
            }
        };
        if let Err(why) = result {
            told.incompatible(why);
            *joined = Joined::Incompatible;
        }
    }

    fn finish(mut self, tell: &dyn Fn(Note)) -> Row {
        let mut row = Row::empty(self.labels, self.counts.len());
        row.drop_name = self.drop_name;
        for (step, count) in self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            row.floats[step] = match &self.cells {
                Cells::Sums(sums) => sums[step].total(),
                Cells::Means(means) => means[step].value(),
                Cells::Extremes(extremes) => extremes[step],
                Cells::Spreads(spreads) => {
                    let variance = spreads[step].1 / f64::from(*count);
                    match self.op {
                        Aggregation::Stddev => variance.sqrt(),
                        _ => variance,
                    }
                }
                Cells::Nothing if self.op == Aggregation::Group => 1.0,
                Cells::Nothing => f64::from(*count),
            };
        }
        for (step, joined) in self.histograms.iter_mut().enumerate() {
            let floats = self.counts[step] > 0;
            match std::mem::take(joined) {
                Joined::None => {}
                // Floats and histograms have no sum.
                _ if floats => {
                    tell(Note::MixedFloatsHistogramsAggregation);
                    row.clear(step);
                }
                Joined::Incompatible => {}
                Joined::Histogram(mut histogram, _) => {
                    histogram.compact();
                    row.set_histogram(step, Arc::new(*histogram));
                }
            }
        }
        row
    }
}

/// Welford's step. The first value decides: from a NaN or an infinity nothing follows.
fn spread((mean, squares): &mut (f64, f64), value: f64, count: u32) {
    if count == 1 {
        *mean = value;
        *squares = if value.is_finite() { 0.0 } else { f64::NAN };
        return;
    }
    let delta = value - *mean;
    *mean += delta / f64::from(count);
    *squares += delta * (value - *mean);
}
