//! One evaluation: what it reads from, what bounds it, and the walk over the tree.
//!
//! Rows are pushed from selectors to whoever consumes them, one at a time, so that
//! `sum(rate(x[5m]))` holds the rows of its groups and of one series.

use std::cell::{Cell, RefCell};

use crate::model::metric::{Labels, LabelsBuilder, NAME};
use crate::query::control::{Control, Partial};

use super::super::ast::{BinaryOp, Expr, Function, Kind, Type};
use super::super::source::{SeriesSource, SourceError};
use super::annotate::Notes;
use super::row::{Grid, Row, distinct, merged};
use super::{EvalError, Params, element, shape};

/// Takes one row after the other.
pub(super) type Sink<'s> = &'s mut dyn FnMut(Row) -> Result<(), EvalError>;

/// Labels that say what a metric is (Prometheus `schema.IsMetadataLabel`).
const METADATA_LABELS: [&str; 3] = [NAME, "__type__", "__unit__"];

pub(super) struct Context<'a> {
    pub(super) source: &'a dyn SeriesSource,
    pub(super) params: &'a Params,
    control: &'a Control,
    pub(super) notes: Notes,
    /// Samples held now.
    held: Cell<usize>,
    read: Cell<u64>,
    series: Cell<usize>,
    /// Columns to use again.
    spare: RefCell<Vec<Vec<f64>>>,
}

/// What the parser's checks rule out; never a panic, since a query must not end the process.
pub(super) fn internal(what: &str) -> EvalError {
    EvalError::Execution(format!("unexpected expression: {what}"))
}

impl From<SourceError> for EvalError {
    fn from(error: SourceError) -> EvalError {
        EvalError::Source(error.0)
    }
}

impl<'a> Context<'a> {
    pub(super) fn new(
        source: &'a dyn SeriesSource,
        params: &'a Params,
        control: &'a Control,
    ) -> Context<'a> {
        Context {
            source,
            params,
            control,
            notes: Notes::default(),
            held: Cell::new(0),
            read: Cell::new(0),
            series: Cell::new(0),
            spare: RefCell::default(),
        }
    }

    /// Whether the evaluation must stop: asked once per series and node.
    pub(super) fn check(&self) -> Result<(), EvalError> {
        match self.control.check() {
            Ok(()) => Ok(()),
            Err(Partial::Cancelled) => Err(EvalError::Cancelled),
            Err(Partial::Deadline) => Err(EvalError::Timeout),
            Err(Partial::Bytes | Partial::Memory | Partial::Rows | Partial::Damaged) => {
                Err(EvalError::TooManySamples)
            }
        }
    }

    /// Counts selected series.
    pub(super) fn count_series(&self, series: usize) -> Result<(), EvalError> {
        self.series.set(self.series.get() + series);
        if self.series.get() > self.params.series_max {
            return Err(EvalError::TooManySeries(self.params.series_max));
        }
        Ok(())
    }

    /// Counts samples that were read into the buffer of one series.
    pub(super) fn count_read(&self, samples: usize) -> Result<(), EvalError> {
        self.read.set(self.read.get() + samples as u64);
        if self.held.get() + samples > self.params.samples_max {
            return Err(EvalError::TooManySamples);
        }
        Ok(())
    }

    pub(super) fn samples_read(&self) -> u64 {
        self.read.get()
    }

    /// Counts samples that stay until [`Context::release`].
    pub(super) fn hold(&self, samples: usize) -> Result<(), EvalError> {
        self.held.set(self.held.get() + samples);
        if self.held.get() > self.params.samples_max {
            return Err(EvalError::TooManySamples);
        }
        Ok(())
    }

    /// Whether one row of so many steps may be held.
    pub(super) fn check_steps(&self, steps: usize) -> Result<(), EvalError> {
        if steps > self.params.samples_max {
            return Err(EvalError::TooManySamples);
        }
        Ok(())
    }

    pub(super) fn release(&self, samples: usize) {
        self.held.set(self.held.get().saturating_sub(samples));
    }

    /// A column of absent cells, from a row that was given back if there is one.
    pub(super) fn column(&self, steps: usize) -> Vec<f64> {
        let mut column = self.spare.borrow_mut().pop().unwrap_or_default();
        column.clear();
        column.resize(steps, super::row::ABSENT);
        column
    }

    /// Gives a row's column back.
    pub(super) fn give_back(&self, row: Row) {
        self.spare.borrow_mut().push(row.floats);
    }

    /// Makes a row one of another metric.
    pub(super) fn drop_name(&self, row: &mut Row) {
        row.drop_name = true;
        if !self.params.delayed_names {
            row.labels = without_name(&row.labels);
        }
    }

    /// Drops the names that are left to drop at the end.
    pub(super) fn cleaned(&self, mut rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
        if !self.params.delayed_names {
            return Ok(rows);
        }
        for row in rows.iter_mut().filter(|row| row.drop_name) {
            row.labels = without_name(&row.labels);
        }
        rows.retain(|row| !row.is_empty());
        distinct(rows)
    }

    /// All rows of a vector; they count as held until they are [released](Context::release_rows).
    pub(super) fn collect(&self, expr: &Expr, grid: &Grid) -> Result<Vec<Row>, EvalError> {
        let mut rows = Vec::new();
        self.each(expr, grid, &mut |row| {
            self.hold(row.weight())?;
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    pub(super) fn release_rows(&self, rows: &[Row]) {
        self.release(rows.iter().map(Row::weight).sum());
    }

    /// Evaluates a vector and pushes its rows.
    pub(super) fn each(&self, expr: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        self.check()?;
        if grid.count == 0 {
            return Ok(());
        }
        if grid.count > 1 && shape::is_invariant(expr) {
            return self.each(expr, &grid.single(), &mut |mut row| {
                row.spread(grid.count);
                sink(row)
            });
        }
        match &expr.kind {
            Kind::Paren(inner) => self.each(inner, grid, sink),
            Kind::Negate(inner) => self.negate(inner, grid, sink),
            Kind::Binary(binary) => self.binary(binary, &expr.place, grid, sink),
            Kind::Aggregate(aggregate) => self.aggregate(aggregate, &expr.place, grid, sink),
            Kind::Call(call) => self.call(call, grid, sink),
            Kind::Vector(selector) => self.vector(selector, grid, sink),
            Kind::Number(_) | Kind::String(_) | Kind::Matrix(..) | Kind::Subquery(_) => {
                Err(internal("a vector is needed"))
            }
        }
    }

    fn negate(&self, inner: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        self.unnamed_rows(inner, grid, Collision::Error, sink, &mut |mut row| {
            for value in row
                .floats
                .iter_mut()
                .filter(|v| !crate::model::metric::is_stale(**v))
            {
                *value = -*value;
            }
            for cell in row.histograms.iter_mut().flatten() {
                std::sync::Arc::make_mut(cell).scale(-1.0);
            }
            Ok(row)
        })
    }

    /// Maps rows one by one and drops their names. Where that may make two rows equal, they are
    /// held, and joined or refused.
    pub(super) fn unnamed_rows(
        &self,
        of: &Expr,
        grid: &Grid,
        collision: Collision,
        sink: Sink<'_>,
        map: &mut dyn FnMut(Row) -> Result<Row, EvalError>,
    ) -> Result<(), EvalError> {
        if self.params.delayed_names || shape::has_one_name(of) {
            return self.each(of, grid, &mut |row| {
                let mut row = map(row)?;
                self.drop_name(&mut row);
                sink(row)
            });
        }
        let mut rows = Vec::new();
        self.each(of, grid, &mut |row| {
            let mut row = map(row)?;
            self.drop_name(&mut row);
            self.hold(row.weight())?;
            rows.push(row);
            Ok(())
        })?;
        self.push_all(rows, collision, sink)
    }

    /// Pushes held rows after a look for equal ones.
    pub(super) fn push_all(
        &self,
        rows: Vec<Row>,
        collision: Collision,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        self.release_rows(&rows);
        let rows = match collision {
            Collision::Join => merged(rows)?,
            Collision::Error => distinct(rows)?,
        };
        rows.into_iter().try_for_each(sink)
    }

    /// Evaluates a scalar at every step.
    pub(super) fn scalar(&self, expr: &Expr, grid: &Grid) -> Result<Vec<f64>, EvalError> {
        self.check()?;
        match &expr.kind {
            Kind::Number(value) => return Ok(vec![*value; grid.count]),
            Kind::Paren(inner) => return self.scalar(inner, grid),
            _ => {}
        }
        if grid.count > 1 && shape::is_invariant(expr) {
            return Ok(vec![self.scalar(expr, &grid.single())?[0]; grid.count]);
        }
        match &expr.kind {
            Kind::Negate(inner) => {
                let values = self.scalar(inner, grid)?;
                Ok(values.into_iter().map(|value| -value).collect())
            }
            Kind::Binary(binary) => {
                let left = self.scalar(&binary.left, grid)?;
                let right = self.scalar(&binary.right, grid)?;
                let both = left.into_iter().zip(right);
                Ok(both
                    .map(|(l, r)| element::scalars(binary.op, l, r))
                    .collect())
            }
            Kind::Call(call) => match call.function {
                Function::Pi => Ok(vec![std::f64::consts::PI; grid.count]),
                Function::Time => {
                    let seconds = |step| grid.at(step) as f64 / 1000.0;
                    Ok((0..grid.count).map(seconds).collect())
                }
                Function::Scalar => self.scalar_of_vector(&call.args[0], grid),
                _ => Err(internal("a scalar is needed")),
            },
            _ => Err(internal("a scalar is needed")),
        }
    }

    /// `scalar(v)`: the one float of a step, NaN where there is none or more.
    fn scalar_of_vector(&self, expr: &Expr, grid: &Grid) -> Result<Vec<f64>, EvalError> {
        let mut found = vec![0u32; grid.count];
        let mut values = vec![f64::NAN; grid.count];
        self.each(expr, grid, &mut |row| {
            for (step, value) in row.floats.iter().enumerate() {
                if !crate::model::metric::is_stale(*value) {
                    found[step] += 1;
                    values[step] = if found[step] == 1 { *value } else { f64::NAN };
                }
            }
            self.give_back(row);
            Ok(())
        })?;
        Ok(values)
    }

    pub(super) fn is_scalar(&self, expr: &Expr) -> bool {
        shape::type_of(expr) == Type::Scalar
    }
}

/// What happens to rows that become equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collision {
    /// They become one, unless they have a value at the same step.
    Join,
    /// They are an error at once.
    Error,
}

/// Whether an operator makes another quantity of its operands.
pub(super) const fn changes_metric(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Mod
            | BinaryOp::Pow
            | BinaryOp::Atan2
    )
}

/// Labels without name, type and unit.
pub(super) fn without_name(labels: &Labels) -> Labels {
    if labels
        .iter()
        .any(|(name, _)| METADATA_LABELS.contains(&name))
    {
        labels.without(&METADATA_LABELS)
    } else {
        labels.clone()
    }
}

/// As [`without_name`], of labels that are being changed.
pub(super) fn remove_name(labels: &mut LabelsBuilder) {
    for name in METADATA_LABELS {
        labels.remove(name);
    }
}
