//! Functions of instant vectors that look at one element at a time, and the way to all functions.

use std::sync::Arc;

use crate::model::metric::{Histogram, Labels, is_stale};

use super::super::ast::{Call, Expr, Function, Kind};
use super::context::{Collision, Context, Sink};
use super::range_functions::takes_range;
use super::row::{Grid, Row};
use super::shape::unwrapped;
use super::{EvalError, quantile, time};

impl Context<'_> {
    pub(super) fn call(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        if takes_range(call) {
            return self.range_call(call, grid, sink);
        }
        match call.function {
            Function::Absent
            | Function::Vector
            | Function::Sort
            | Function::SortDesc
            | Function::SortByLabel
            | Function::SortByLabelDesc
            | Function::HistogramQuantile
            | Function::HistogramFraction => self.vector_function(call, grid, sink),
            Function::LabelReplace => self.label_replace(call, grid, sink),
            Function::LabelJoin => self.label_join(call, grid, sink),
            Function::Info => self.info(call, grid, sink),
            Function::Timestamp => self.timestamp(&call.args[0], grid, sink),
            Function::HistogramCount
            | Function::HistogramSum
            | Function::HistogramAvg
            | Function::HistogramStddev
            | Function::HistogramStdvar => self.of_histograms(call, grid, sink),
            Function::Clamp | Function::ClampMin | Function::ClampMax | Function::Round => {
                self.with_bounds(call, grid, sink)
            }
            Function::DaysInMonth
            | Function::DayOfMonth
            | Function::DayOfWeek
            | Function::DayOfYear
            | Function::Hour
            | Function::Minute
            | Function::Month
            | Function::Year => self.date(call, grid, sink),
            function => match of_float(function) {
                Some(value) => self.map_floats(&call.args[0], grid, sink, |_, v| Some(value(v))),
                None => Err(super::context::internal(function.name())),
            },
        }
    }

    /// Maps the floats of a vector; histograms are left out. The name goes.
    fn map_floats(
        &self,
        of: &Expr,
        grid: &Grid,
        sink: Sink<'_>,
        value: impl Fn(usize, f64) -> Option<f64>,
    ) -> Result<(), EvalError> {
        self.unnamed_rows(of, grid, Collision::Join, sink, &mut |mut row| {
            row.histograms.clear();
            for (step, cell) in row
                .floats
                .iter_mut()
                .enumerate()
                .filter(|(_, v)| !is_stale(**v))
            {
                *cell = value(step, *cell).unwrap_or(super::row::ABSENT);
            }
            Ok(row)
        })
    }

    fn of_histograms(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        let value: fn(&Histogram) -> f64 = match call.function {
            Function::HistogramCount => |h| h.count,
            Function::HistogramSum => |h| h.sum,
            Function::HistogramAvg => |h| h.sum / h.count,
            Function::HistogramStdvar => quantile::variance_of_native,
            _ => |h| quantile::variance_of_native(h).sqrt(),
        };
        self.unnamed_rows(
            &call.args[0],
            grid,
            Collision::Join,
            sink,
            &mut |mut row| {
                row.floats.fill(super::row::ABSENT);
                let cells: Vec<Option<Arc<Histogram>>> = std::mem::take(&mut row.histograms);
                for (step, histogram) in cells.iter().enumerate() {
                    if let Some(histogram) = histogram {
                        row.floats[step] = value(histogram);
                    }
                }
                Ok(row)
            },
        )
    }

    /// `clamp`, `clamp_min`, `clamp_max`, `round`: a vector, then scalars.
    fn with_bounds(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        let scalars: Vec<Vec<f64>> = call.args[1..]
            .iter()
            .map(|arg| self.scalar(arg, grid))
            .collect::<Result<_, _>>()?;
        let scalar = |index: usize, step: usize| scalars.get(index).map(|s| s[step]);
        let of = &call.args[0];
        match call.function {
            Function::Round => self.map_floats(of, grid, sink, |step, value| {
                // Inverted: fewer errors of rounding (Prometheus `funcRound`).
                let inverse = 1.0 / scalar(0, step).unwrap_or(1.0);
                Some((value * inverse + 0.5).floor() / inverse)
            }),
            Function::ClampMin => self.map_floats(of, grid, sink, |step, value| {
                scalar(0, step).map(|min| larger(min, value))
            }),
            Function::ClampMax => self.map_floats(of, grid, sink, |step, value| {
                scalar(0, step).map(|max| smaller(max, value))
            }),
            _ => self.map_floats(of, grid, sink, |step, value| {
                let (min, max) = (scalar(0, step)?, scalar(1, step)?);
                if max < min {
                    return None;
                }
                Some(larger(min, smaller(max, value)))
            }),
        }
    }

    /// Parts of dates; without an argument those of the time of evaluation.
    fn date(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        let Some(of) = call.args.first() else {
            let seconds = |step| grid.at(step).div_euclid(1_000) as f64;
            let values = (0..grid.count).map(|step| time::part(call.function, seconds(step)));
            return sink(Row::of_floats(Labels::default(), values.collect()));
        };
        self.map_floats(of, grid, sink, |_, value| {
            Some(time::part(call.function, value))
        })
    }

    /// Times of samples for a selector, of evaluation for anything else.
    fn timestamp(&self, of: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        let mut rows = Vec::new();
        let mut add = |mut row: Row| {
            self.drop_name(&mut row);
            self.hold(row.weight())?;
            rows.push(row);
            Ok(())
        };
        if let Kind::Vector(selector) = &unwrapped(of).kind {
            self.sample_times(selector, grid, &mut add)?;
        } else {
            self.each(of, grid, &mut |mut row| {
                for step in 0..grid.count {
                    if row.has(step) {
                        row.floats[step] = grid.at(step) as f64 / 1_000.0;
                    }
                }
                row.histograms.clear();
                add(row)
            })?;
        }
        self.push_all(rows, Collision::Join, sink)
    }
}

/// Go's `math.Max`: infinity wins, then NaN.
fn larger(a: f64, b: f64) -> f64 {
    if a != f64::INFINITY && b != f64::INFINITY && (a.is_nan() || b.is_nan()) {
        return f64::NAN;
    }
    a.max(b)
}

/// Go's `math.Min`: minus infinity wins, then NaN.
fn smaller(a: f64, b: f64) -> f64 {
    -larger(-a, -b)
}

fn of_float(function: Function) -> Option<fn(f64) -> f64> {
    Some(match function {
        Function::Abs => f64::abs,
        Function::Ceil => f64::ceil,
        Function::Floor => f64::floor,
        Function::Exp => f64::exp,
        Function::Sqrt => f64::sqrt,
        Function::Ln => f64::ln,
        Function::Log2 => f64::log2,
        Function::Log10 => f64::log10,
        Function::Sin => f64::sin,
        Function::Cos => f64::cos,
        Function::Tan => f64::tan,
        Function::Asin => f64::asin,
        Function::Acos => f64::acos,
        Function::Atan => f64::atan,
        Function::Sinh => f64::sinh,
        Function::Cosh => f64::cosh,
        Function::Tanh => f64::tanh,
        Function::Asinh => f64::asinh,
        Function::Acosh => f64::acosh,
        Function::Atanh => f64::atanh,
        Function::Rad => |v| v * std::f64::consts::PI / 180.0,
        Function::Deg => |v| v * 180.0 / std::f64::consts::PI,
        Function::Sgn => |v| match v {
            v if v < 0.0 => -1.0,
            v if v > 0.0 => 1.0,
            v => v,
        },
        _ => return None,
    })
}
