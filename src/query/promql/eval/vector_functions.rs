//! Functions that look at all elements of a vector at once.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use crate::model::metric::{Histogram, Labels, is_stale};

use super::super::ast::{Call, Expr, Function};
use super::EvalError;
use super::annotate::Note;
use super::context::{Collision, Context, Sink, internal};
use super::label_functions::{absent_labels, natural_order};
use super::quantile::{Cumulative, fraction_of_classic, fraction_of_native, of_classic, of_native};
use super::rate::Told;
use super::row::{Grid, Row};
use super::shape::{text, unwrapped};

/// The label with the upper bound of a classic bucket.
const BOUND: &str = "le";

impl Context<'_> {
    pub(super) fn vector_function(
        &self,
        call: &Call,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        match call.function {
            Function::Vector => {
                let values = self.scalar(&call.args[0], grid)?;
                sink(Row::of_floats(Labels::default(), values))
            }
            Function::Absent => self.absent(&call.args[0], grid, sink),
            Function::HistogramQuantile => {
                let q = self.scalar(&call.args[0], grid)?;
                self.histograms(call, &[q], grid, sink)
            }
            Function::HistogramFraction => {
                let lower = self.scalar(&call.args[0], grid)?;
                let upper = self.scalar(&call.args[1], grid)?;
                self.histograms(call, &[lower, upper], grid, sink)
            }
            _ => self.sorted(call, grid, sink),
        }
    }

    fn absent(&self, of: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        let mut row = Row::of_floats(absent_labels(unwrapped(of)), vec![1.0; grid.count]);
        self.each(of, grid, &mut |found| {
            for step in 0..grid.count {
                if found.has(step) {
                    row.clear(step);
                }
            }
            self.give_back(found);
            Ok(())
        })?;
        if row.is_empty() { Ok(()) } else { sink(row) }
    }

    /// Sorts what an instant query gives; over ranges there is no order to keep. By value without
    /// histograms, NaN last.
    fn sorted(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        let mut rows = self.collect(&call.args[0], grid)?;
        self.release_rows(&rows);
        let descending = matches!(
            call.function,
            Function::SortDesc | Function::SortByLabelDesc
        );
        let by_value = matches!(call.function, Function::Sort | Function::SortDesc);
        if by_value {
            rows.iter_mut().for_each(|row| row.histograms.clear());
            rows.retain(|row| !row.is_empty());
        }
        let directed = |order: Ordering| if descending { order.reverse() } else { order };
        if by_value && grid.count == 1 {
            rows.sort_by(|a, b| {
                let (a, b) = (a.floats[0], b.floats[0]);
                let values = a.partial_cmp(&b).map_or(Ordering::Equal, directed);
                a.is_nan().cmp(&b.is_nan()).then(values)
            });
        } else if !by_value {
            let names: Vec<&str> = call.args[1..].iter().map(text).collect();
            let value = |row: &Row, name: &str| row.labels.get(name).unwrap_or("").to_owned();
            rows.sort_by(|a, b| {
                let by_name = |name: &&str| {
                    let order = natural_order(&value(a, name), &value(b, name));
                    (order != Ordering::Equal).then_some(order)
                };
                let order = names.iter().find_map(by_name);
                directed(order.unwrap_or_else(|| a.labels.cmp(&b.labels)))
            });
        }
        rows.into_iter().try_for_each(sink)
    }

    /// `histogram_quantile` and `histogram_fraction`: native histograms one by one, classic ones by
    /// groups of buckets. Where a step has both for the same labels there is no result.
    fn histograms(
        &self,
        call: &Call,
        scalars: &[Vec<f64>],
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        let vector = call.args.last().ok_or_else(|| internal("no vector"))?;
        if let [quantiles] = scalars {
            for q in quantiles
                .iter()
                .filter(|q| q.is_nan() || !(0.0..=1.0).contains(*q))
            {
                let place = &unwrapped(&call.args[0]).place;
                self.notes.add(Note::InvalidQuantile(*q), place);
            }
        }
        let mut groups = Groups::default();
        let place = &unwrapped(vector).place;
        self.each(vector, grid, &mut |row| {
            self.hold(row.weight())?;
            self.sort_in(row, &mut groups, place);
            Ok(())
        })?;
        let mut rows = Vec::new();
        for group in groups.groups {
            self.check()?;
            let mut row = Row::of_floats(group.labels.clone(), self.column(grid.count));
            let mut buckets = Vec::new();
            for step in 0..grid.count {
                let scalars: Vec<f64> = scalars.iter().map(|column| column[step]).collect();
                if let Some(value) = self.of_group(&group, call, &scalars, step, &mut buckets) {
                    row.floats[step] = value;
                }
            }
            self.release(group.weight);
            self.drop_name(&mut row);
            self.hold(row.weight())?;
            rows.push(row);
        }
        self.push_all(rows, Collision::Join, sink)
    }

    /// Puts a row into the groups of classic and native histograms that it has samples of.
    fn sort_in(&self, mut row: Row, groups: &mut Groups, place: &super::super::ast::Place) {
        let weight = row.weight();
        let floats = row.floats.iter().any(|value| !is_stale(*value));
        if !row.histograms.is_empty() {
            let natives = std::mem::take(&mut row.histograms);
            let group = groups.of(row.labels.clone());
            group.weight += if floats { 0 } else { weight };
            group.natives = natives;
        }
        if !floats {
            return;
        }
        let bound = row.labels.get(BOUND).unwrap_or("");
        let Ok(upper) = bound.parse::<f64>() else {
            self.notes.bad_bucket(bound, row.labels.metric(), place);
            self.release(weight);
            return;
        };
        let group = groups.of(row.labels.without(&[BOUND]));
        group.weight += weight;
        group.classic.push((upper, row.floats));
    }

    fn of_group(
        &self,
        group: &Group,
        call: &Call,
        scalars: &[f64],
        step: usize,
        buckets: &mut Vec<Cumulative>,
    ) -> Option<f64> {
        buckets.clear();
        let classic = group.classic.iter().map(|(upper, counts)| Cumulative {
            upper: *upper,
            count: counts[step],
        });
        buckets.extend(classic.filter(|bucket| !is_stale(bucket.count)));
        let vector = call.args.last()?;
        let native = group.natives.get(step).and_then(Option::as_ref);
        let told = Told {
            notes: &self.notes,
            metric: group.labels.metric(),
            place: &unwrapped(vector).place,
        };
        // Without the feature that keeps names, Prometheus has none left to tell of native histograms,
        // and of classic ones at the first step only.
        let unnamed = |told| match self.params.delayed_names {
            true => told,
            false => Told { metric: "", ..told },
        };
        let of_values = unnamed(Told {
            place: &unwrapped(&call.args[0]).place,
            ..told
        });
        match (native, scalars) {
            (Some(_), _) if !buckets.is_empty() => {
                told.add(Note::MixedClassicNative);
                None
            }
            (Some(h), [q]) => Some(of_native(*q, h, &|note| of_values.add(note))),
            (Some(h), [lower, upper]) => Some(fraction_of_native(*lower, *upper, h, &|note| {
                of_values.add(note)
            })),
            (None, _) if buckets.is_empty() => None,
            (None, [q]) => {
                let (value, forced) = of_classic(*q, buckets);
                let first = !group.evaluated.replace(true);
                if forced {
                    let told = if first { told } else { unnamed(told) };
                    told.add(Note::ForcedMonotonicity);
                }
                Some(value)
            }
            (None, [lower, upper]) => Some(fraction_of_classic(*lower, *upper, buckets)),
            _ => None,
        }
    }
}

/// The histograms of one set of labels.
struct Group {
    /// Without the label of bounds, if there are classic buckets.
    labels: Labels,
    classic: Vec<(f64, Vec<f64>)>,
    natives: Vec<Option<Arc<Histogram>>>,
    /// Whether a step of the classic one was evaluated.
    evaluated: Cell<bool>,
    weight: usize,
}

#[derive(Default)]
struct Groups {
    places: HashMap<Labels, usize>,
    groups: Vec<Group>,
}

impl Groups {
    fn of(&mut self, labels: Labels) -> &mut Group {
        let place = *self
            .places
            .entry(labels.clone())
            .or_insert(self.groups.len());
        if place == self.groups.len() {
            self.groups.push(Group {
                labels,
                classic: Vec::new(),
                natives: Vec::new(),
                evaluated: Cell::new(false),
                weight: 0,
            });
        }
        &mut self.groups[place]
    }
}
