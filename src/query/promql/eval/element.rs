//! Binary operators on single values: scalars, floats and histograms (Prometheus `scalarBinop`,
//! `vectorElemBinop`).

use std::sync::Arc;

use crate::model::metric::{Histogram, Value};

use super::super::ast::BinaryOp;
use super::annotate::Note;
use super::row::Cell;

/// An operator on two scalars; comparisons give 1 or 0.
pub(super) fn scalars(op: BinaryOp, left: f64, right: f64) -> f64 {
    match compare(op, left, right) {
        Some(holds) => f64::from(u8::from(holds)),
        None => arithmetic(op, left, right),
    }
}

/// Whether a comparison holds; `None` for other operators.
fn compare(op: BinaryOp, left: f64, right: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Greater => left > right,
        BinaryOp::Less => left < right,
        BinaryOp::GreaterOrEqual => left >= right,
        BinaryOp::LessOrEqual => left <= right,
        _ => return None,
    })
}

pub(super) fn arithmetic(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        _ => f64::NAN,
    }
}

/// What an operator makes of two elements.
pub(super) struct Outcome {
    /// Of a comparison the left side.
    pub(super) value: Value,
    /// Whether a comparison holds; always of other operators.
    pub(super) keep: bool,
}

impl Outcome {
    fn kept(value: Value) -> Outcome {
        Outcome { value, keep: true }
    }
}

/// An operator on two elements.
///
/// # Errors
/// What to tell when the operator has no meaning for them; there is no result then.
pub(super) fn elements(op: BinaryOp, left: Cell<'_>, right: Cell<'_>) -> Result<Outcome, Note> {
    let types = |left, right| Err(Note::IncompatibleTypes(left, op.name(), right));
    match (left, right) {
        (Cell::Float(l), Cell::Float(r)) => Ok(match compare(op, l, r) {
            Some(keep) => Outcome {
                value: Value::Float(l),
                keep,
            },
            None => Outcome::kept(Value::Float(arithmetic(op, l, r))),
        }),
        (Cell::Float(l), Cell::Histogram(r)) => match op {
            BinaryOp::Mul => Ok(changed(r, |h| h.scale(l))),
            _ => types("float", "histogram"),
        },
        (Cell::Histogram(l), Cell::Float(r)) => match op {
            BinaryOp::Mul => Ok(changed(l, |h| h.scale(r))),
            BinaryOp::Div => Ok(changed(l, |h| h.divide(r))),
            _ => types("histogram", "float"),
        },
        (Cell::Histogram(l), Cell::Histogram(r)) => match op {
            BinaryOp::Add | BinaryOp::Sub => {
                let mut joined = Histogram::clone(l);
                let done = match op {
                    BinaryOp::Add => joined.add(r),
                    _ => joined.subtract(r),
                };
                done.map_err(|_| Note::IncompatibleLayout(op.name()))?;
                joined.compact();
                Ok(Outcome::kept(Value::Histogram(Arc::new(joined))))
            }
            BinaryOp::Equal | BinaryOp::NotEqual => Ok(Outcome {
                value: Value::Histogram(Arc::clone(l)),
                keep: l.equals(r) == (op == BinaryOp::Equal),
            }),
            _ => types("histogram", "histogram"),
        },
        (Cell::None, _) | (_, Cell::None) => types("nothing", "nothing"),
    }
}

fn changed(histogram: &Histogram, change: impl FnOnce(&mut Histogram)) -> Outcome {
    let mut histogram = histogram.clone();
    change(&mut histogram);
    histogram.compact();
    Outcome::kept(Value::Histogram(Arc::new(histogram)))
}
