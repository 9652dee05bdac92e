//! Binary operators with a vector on one side, and the set operators.

use std::collections::HashMap;

use crate::model::metric::{Labels, Value, is_stale};

use super::super::ast::{Binary, BinaryOp, Matching, Place};
use super::EvalError;
use super::context::{Collision, Context, Sink, changes_metric};
use super::element::{arithmetic, elements};
use super::matching::signature;
use super::row::{Cell, Grid, Row};

impl Context<'_> {
    pub(super) fn binary(
        &self,
        binary: &Binary,
        place: &Place,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        match (self.is_scalar(&binary.left), self.is_scalar(&binary.right)) {
            (true, _) => self.with_scalar(binary, true, place, grid, sink),
            (_, true) => self.with_scalar(binary, false, place, grid, sink),
            (false, false) => {
                let left = self.collect(&binary.left, grid)?;
                let right = self.collect(&binary.right, grid)?;
                self.release_rows(&left);
                self.release_rows(&right);
                let matching = binary.matching.as_ref();
                let matching = matching.ok_or_else(|| super::context::internal("no matching"))?;
                let rows = match binary.op {
                    BinaryOp::And => filtered(left, &right, matching, grid, true),
                    BinaryOp::Unless => filtered(left, &right, matching, grid, false),
                    BinaryOp::Or => {
                        let others = filtered(right, &left, matching, grid, false);
                        left.into_iter().chain(others).collect()
                    }
                    _ => self.matched(binary, matching, place, (left, right), grid)?,
                };
                rows.iter().try_for_each(|row| self.hold(row.weight()))?;
                self.push_all(rows, Collision::Join, sink)
            }
        }
    }

    fn with_scalar(
        &self,
        binary: &Binary,
        scalar_left: bool,
        place: &Place,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        let (scalar, vector) = match scalar_left {
            true => (&binary.left, &binary.right),
            false => (&binary.right, &binary.left),
        };
        let scalars = self.scalar(scalar, grid)?;
        let map = &mut |mut row: Row| {
            if changes_metric(binary.op) && row.histograms.is_empty() {
                for (cell, scalar) in row.floats.iter_mut().zip(&scalars) {
                    if !is_stale(*cell) {
                        *cell = match scalar_left {
                            true => arithmetic(binary.op, *scalar, *cell),
                            false => arithmetic(binary.op, *cell, *scalar),
                        };
                    }
                }
            } else {
                self.each_element(binary, scalar_left, place, &scalars, &mut row);
            }
            Ok(row)
        };
        if changes_metric(binary.op) || binary.returns_bool {
            return self.unnamed_rows(vector, grid, Collision::Join, sink, map);
        }
        self.each(vector, grid, &mut |row| {
            let row = map(row)?;
            if row.is_empty() { Ok(()) } else { sink(row) }
        })
    }

    /// Comparisons keep the vector's element, on whichever side it stands.
    fn each_element(
        &self,
        binary: &Binary,
        scalar_left: bool,
        place: &Place,
        scalars: &[f64],
        row: &mut Row,
    ) {
        for (step, scalar) in scalars.iter().enumerate() {
            let cell = row.cell(step);
            if matches!(cell, Cell::None) {
                continue;
            }
            let scalar = Cell::Float(*scalar);
            let outcome = match scalar_left {
                true => elements(binary.op, scalar, cell),
                false => elements(binary.op, cell, scalar),
            };
            match outcome {
                Err(note) => {
                    self.notes.add(note, place);
                    row.clear(step);
                }
                Ok(outcome) if binary.returns_bool => {
                    row.clear(step);
                    row.floats[step] = f64::from(u8::from(outcome.keep));
                }
                Ok(outcome) if !outcome.keep => row.clear(step),
                Ok(_) if binary.op.is_comparison() => {}
                Ok(outcome) => set(row, step, outcome.value),
            }
        }
    }
}

/// Replaces a cell.
pub(super) fn set(row: &mut Row, step: usize, value: Value) {
    row.clear(step);
    match value {
        Value::Float(value) => row.floats[step] = value,
        Value::Histogram(histogram) => row.set_histogram(step, histogram),
    }
}

/// Of rows the cells whose match group has a value on the other side, or those whose has none.
fn filtered(
    rows: Vec<Row>,
    other: &[Row],
    matching: &Matching,
    grid: &Grid,
    present: bool,
) -> Vec<Row> {
    let mut groups: HashMap<Labels, Vec<bool>> = HashMap::new();
    for row in other {
        let group = groups.entry(signature(&row.labels, matching));
        let group = group.or_insert_with(|| vec![false; grid.count]);
        for (step, found) in group.iter_mut().enumerate() {
            *found |= row.has(step);
        }
    }
    let mut kept = Vec::with_capacity(rows.len());
    for mut row in rows {
        let group = groups.get(&signature(&row.labels, matching));
        for step in 0..grid.count {
            if group.is_some_and(|group| group[step]) != present {
                row.clear(step);
            }
        }
        if !row.is_empty() {
            kept.push(row);
        }
    }
    kept
}
