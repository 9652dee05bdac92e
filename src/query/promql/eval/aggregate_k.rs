//! Aggregations that need a whole group at once: `quantile`, `topk`, `bottomk`, `limitk`,
//! `limit_ratio` (Prometheus `rangeEvalAgg`, `aggregationK`).

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::model::metric::{Labels, go_general};

use super::super::ast::{Aggregate, Aggregation, Place};
use super::EvalError;
use super::aggregate::group_labels;
use super::annotate::Note;
use super::context::{Collision, Context, Sink, internal};
use super::row::{Cell, Grid, Row};
use super::shape::unwrapped;
use super::summing;

/// Largest float below 2^63 (Prometheus `maxInt64`).
const INTEGER_MAX: f64 = 9_223_372_036_854_774_784.0;
const INTEGER_MIN: f64 = -9_223_372_036_854_775_808.0;

/// The rows of a group, as indices.
struct Group {
    labels: Labels,
    rows: Vec<usize>,
}

impl Context<'_> {
    pub(super) fn aggregate_k(
        &self,
        aggregate: &Aggregate,
        place: &Place,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        let parameter = aggregate.parameter.as_ref();
        let parameter = unwrapped(parameter.ok_or_else(|| internal("no parameter"))?);
        let parameters = self.scalar(parameter, grid)?;
        let rows = self.collect(&aggregate.expr, grid)?;
        self.release_rows(&rows);
        if !self.check_parameters(aggregate.op, &parameters, &rows, &parameter.place)? {
            return Ok(());
        }
        let groups = grouped(&rows, aggregate);
        match aggregate.op {
            Aggregation::Quantile => self.quantiles(aggregate, &parameters, &rows, groups, sink),
            Aggregation::Topk | Aggregation::Bottomk => {
                let ranked = self.ranked(aggregate.op, place, &parameters, &rows, &groups);
                self.push_all(ranked, Collision::Join, sink)
            }
            _ => {
                let limited = limited(aggregate.op, &parameters, &rows, &groups);
                self.push_all(limited, Collision::Join, sink)
            }
        }
    }

    /// Whether anything can come of these parameters; what is wrong with them is told. They count at
    /// steps at which there is something to aggregate.
    fn check_parameters(
        &self,
        op: Aggregation,
        parameters: &[f64],
        rows: &[Row],
        place: &Place,
    ) -> Result<bool, EvalError> {
        let failed = |text: String| Err(EvalError::Execution(text));
        let nan = parameters.iter().any(|p| p.is_nan());
        let max = parameters.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let min = parameters.iter().copied().fold(f64::INFINITY, f64::min);
        let used = parameters.iter().enumerate();
        let mut used = used.filter(|(step, _)| rows.iter().any(|row| row.has(*step)));
        match op {
            Aggregation::Quantile if nan => {
                self.notes.add(Note::InvalidQuantile(f64::NAN), place);
            }
            Aggregation::Quantile => {
                for q in [max, min].iter().filter(|q| !(0.0..=1.0).contains(*q)) {
                    self.notes.add(Note::InvalidQuantile(*q), place);
                }
            }
            Aggregation::LimitRatio => {
                if max == 0.0 && min == 0.0 && !nan {
                    return Ok(false);
                }
                for (_, ratio) in used {
                    if ratio.is_nan() {
                        return failed(String::from("Ratio value NaN is NaN"));
                    }
                    if ratio.abs() > 1.0 {
                        let cap = 1f64.copysign(*ratio);
                        self.notes.add(Note::InvalidRatio(*ratio, cap), place);
                    }
                }
            }
            _ => {
                if max < 1.0 && !nan {
                    return Ok(false);
                }
                let fits = |k: f64| k > INTEGER_MIN && k < INTEGER_MAX;
                if let Some((_, k)) = used.find(|(_, k)| !fits(**k)) {
                    return failed(format!("Scalar value {} overflows int64", go_general(*k)));
                }
            }
        }
        Ok(true)
    }

    fn quantiles(
        &self,
        aggregate: &Aggregate,
        parameters: &[f64],
        rows: &[Row],
        groups: Vec<Group>,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        let mut values = Vec::new();
        for group in groups {
            self.check()?;
            let mut row = Row::empty(group.labels, parameters.len());
            row.drop_name = rows[group.rows[0]].drop_name;
            for (step, q) in parameters.iter().enumerate() {
                values.clear();
                for member in &group.rows {
                    match rows[*member].cell(step) {
                        Cell::None => {}
                        Cell::Float(value) => values.push(value),
                        Cell::Histogram(_) => {
                            let note = Note::IgnoredInAggregation("quantile");
                            self.notes.add(note, &aggregate.expr.place);
                        }
                    }
                }
                if !values.is_empty() {
                    row.floats[step] = summing::quantile(*q, &mut values);
                }
            }
            if !row.is_empty() {
                sink(row)?;
            }
        }
        Ok(())
    }

    /// The k largest or smallest of each group at each step; the best first.
    fn ranked(
        &self,
        op: Aggregation,
        place: &Place,
        parameters: &[f64],
        rows: &[Row],
        groups: &[Group],
    ) -> Vec<Row> {
        let (name, largest) = match op {
            Aggregation::Topk => ("topk", true),
            _ => ("bottomk", false),
        };
        let mut picked = Picked::new(rows);
        let mut candidates: Vec<(f64, usize)> = Vec::new();
        for (step, k) in parameters.iter().enumerate().filter(|(_, k)| **k >= 1.0) {
            let k = (*k as usize).min(rows.len());
            for group in groups {
                candidates.clear();
                for member in &group.rows {
                    match rows[*member].cell(step) {
                        Cell::None => {}
                        Cell::Float(value) => candidates.push((value, *member)),
                        Cell::Histogram(_) => {
                            self.notes.add(Note::IgnoredInAggregation(name), place);
                        }
                    }
                }
                let best = best(&candidates, k, largest);
                for (_, member) in &best {
                    picked.take(*member, step);
                }
            }
        }
        picked.rows()
    }
}

/// The k best candidates, best first. Which of equal ones stay is decided as in Prometheus: by a
/// binary heap with the worst on top, which gives way to what is better only.
fn best(candidates: &[(f64, usize)], k: usize, largest: bool) -> Vec<(f64, usize)> {
    let worse = |a: f64, b: f64| a.is_nan() || if largest { a < b } else { a > b };
    let better = |new: f64, old: f64| {
        (old.is_nan() && !new.is_nan()) || if largest { old < new } else { old > new }
    };
    let mut heap: Vec<(f64, usize)> = Vec::with_capacity(k.min(candidates.len()));
    for candidate in candidates {
        if heap.len() < k {
            heap.push(*candidate);
            let mut child = heap.len() - 1;
            while child > 0 {
                let parent = (child - 1) / 2;
                if !worse(heap[child].0, heap[parent].0) {
                    break;
                }
                heap.swap(child, parent);
                child = parent;
            }
        } else if better(candidate.0, heap[0].0) {
            heap[0] = *candidate;
            sink_top(&mut heap, worse);
        }
    }
    heap.sort_by(|a, b| rank(a.0, b.0, largest));
    heap
}

/// Moves the top down to where what is below is not worse.
fn sink_top(heap: &mut [(f64, usize)], worse: impl Fn(f64, f64) -> bool) {
    let mut parent = 0;
    loop {
        let mut child = 2 * parent + 1;
        if child >= heap.len() {
            return;
        }
        if child + 1 < heap.len() && worse(heap[child + 1].0, heap[child].0) {
            child += 1;
        }
        if !worse(heap[child].0, heap[parent].0) {
            return;
        }
        heap.swap(child, parent);
        parent = child;
    }
}

/// Best first, NaN last.
fn rank(a: f64, b: f64, largest: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
            if largest { order.reverse() } else { order }
        }
    }
}

/// The first k of each group at each step, or those whose labels' hash is in the share asked for:
/// from below of a positive ratio, its complement from above of a negative one.
fn limited(op: Aggregation, parameters: &[f64], rows: &[Row], groups: &[Group]) -> Vec<Row> {
    let mut picked = Picked::new(rows);
    let places: Vec<f64> = rows.iter().map(|row| hash_place(&row.labels)).collect();
    for (step, parameter) in parameters.iter().enumerate() {
        for group in groups {
            let present = group.rows.iter().filter(|row| rows[**row].has(step));
            if op == Aggregation::Limitk {
                let k = if *parameter >= 1.0 {
                    *parameter as usize
                } else {
                    0
                };
                present.take(k).for_each(|row| picked.take(*row, step));
                continue;
            }
            let ratio = parameter.clamp(-1.0, 1.0);
            for row in present {
                let place = places[*row];
                if ratio > 0.0 && place < ratio || ratio < 0.0 && place >= 1.0 + ratio {
                    picked.take(*row, step);
                }
            }
        }
    }
    picked.rows()
}

/// Where labels stand between 0 and 1: by the hash that Prometheus takes of its packed labels, which
/// have the bytes of ours where no name or value is longer than 127 bytes.
fn hash_place(labels: &Labels) -> f64 {
    xxhash_rust::xxh64::xxh64(labels.packed(), 0) as f64 / u64::MAX as f64
}

fn grouped(rows: &[Row], aggregate: &Aggregate) -> Vec<Group> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let labels = group_labels(&row.labels, aggregate);
        let place = *places.entry(labels.clone()).or_insert(groups.len());
        if place == groups.len() {
            let rows = Vec::new();
            groups.push(Group { labels, rows });
        }
        groups[place].rows.push(index);
    }
    groups
}

/// Cells that were picked, as rows in the order in which they were first picked.
struct Picked<'r> {
    from: &'r [Row],
    places: Vec<Option<usize>>,
    rows: Vec<Row>,
}

impl<'r> Picked<'r> {
    fn new(from: &'r [Row]) -> Picked<'r> {
        Picked {
            from,
            places: vec![None; from.len()],
            rows: Vec::new(),
        }
    }

    fn take(&mut self, row: usize, step: usize) {
        let from = &self.from[row];
        let place = *self.places[row].get_or_insert(self.rows.len());
        if place == self.rows.len() {
            let mut empty = Row::empty(from.labels.clone(), from.floats.len());
            empty.drop_name = from.drop_name;
            self.rows.push(empty);
        }
        self.rows[place].copy(from, step);
    }

    fn rows(self) -> Vec<Row> {
        self.rows
    }
}
