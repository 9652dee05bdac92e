//! What can be told of an expression without evaluating it.

use crate::model::metric::{MatchOp, NAME};

use super::super::ast::{
    Aggregation, Arithmetic, BinaryOp, Duration, Expr, Function, Kind, Selector, Type,
};
use super::EvalError;

/// What an expression gives.
pub(super) fn type_of(expr: &Expr) -> Type {
    match &expr.kind {
        Kind::Number(_) => Type::Scalar,
        Kind::String(_) => Type::String,
        Kind::Paren(inner) | Kind::Negate(inner) => type_of(inner),
        Kind::Binary(binary) => match (type_of(&binary.left), type_of(&binary.right)) {
            (Type::Scalar, Type::Scalar) => Type::Scalar,
            _ => Type::Vector,
        },
        Kind::Call(call) => match call.function {
            Function::Pi | Function::Scalar | Function::Time => Type::Scalar,
            _ => Type::Vector,
        },
        Kind::Aggregate(_) | Kind::Vector(_) => Type::Vector,
        Kind::Matrix(..) | Kind::Subquery(_) => Type::Matrix,
    }
}

/// The expression inside of parentheses.
pub(super) fn unwrapped(expr: &Expr) -> &Expr {
    match &expr.kind {
        Kind::Paren(inner) => unwrapped(inner),
        _ => expr,
    }
}

/// The text of a string; empty for what is none, which the parser rules out.
pub(super) fn text(expr: &Expr) -> &str {
    match &unwrapped(expr).kind {
        Kind::String(text) => text,
        _ => "",
    }
}

/// Whether every step has the same value, so that one has to be computed (Prometheus
/// `preprocessExprHelper`).
pub(super) fn is_invariant(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Number(_) | Kind::String(_) => true,
        Kind::Paren(inner) | Kind::Negate(inner) => is_invariant(inner),
        Kind::Binary(binary) => is_invariant(&binary.left) && is_invariant(&binary.right),
        Kind::Aggregate(aggregate) => is_invariant(&aggregate.expr),
        Kind::Call(call) => !uses_time(call.function) && call.args.iter().all(is_invariant),
        Kind::Vector(selector) | Kind::Matrix(selector, _) => selector.at.is_some(),
        Kind::Subquery(subquery) => subquery.at.is_some(),
    }
}

/// Functions whose value depends on the time of evaluation itself.
fn uses_time(function: Function) -> bool {
    matches!(
        function,
        Function::DaysInMonth
            | Function::DayOfMonth
            | Function::DayOfWeek
            | Function::DayOfYear
            | Function::Hour
            | Function::Minute
            | Function::Month
            | Function::Year
            | Function::PredictLinear
            | Function::Time
            | Function::Timestamp
    )
}

/// Whether all series come from metrics of one name, so that they stay apart without it.
pub(super) fn has_one_name(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Number(_) | Kind::String(_) => true,
        Kind::Paren(inner) | Kind::Negate(inner) => has_one_name(inner),
        Kind::Vector(selector) | Kind::Matrix(selector, _) => selects_one_name(selector),
        Kind::Subquery(subquery) => has_one_name(&subquery.expr),
        Kind::Aggregate(aggregate) => {
            aggregate.op != Aggregation::CountValues && has_one_name(&aggregate.expr)
        }
        Kind::Binary(binary) => match binary.op {
            BinaryOp::Or => false,
            BinaryOp::And | BinaryOp::Unless => has_one_name(&binary.left),
            _ => has_one_name(&binary.left) && has_one_name(&binary.right),
        },
        Kind::Call(call) => match call.function {
            Function::LabelReplace | Function::LabelJoin | Function::Info => false,
            _ => call.args.iter().all(has_one_name),
        },
    }
}

pub(super) fn selects_one_name(selector: &Selector) -> bool {
    let named = |m: &crate::model::metric::Matcher| {
        m.name == NAME && m.op == MatchOp::Equal && !m.value.is_empty()
    };
    selector.matchers.iter().any(named)
}

/// What fits a Go `time.Duration`, which counts nanoseconds in 63 bits.
const SECONDS_MAX: f64 = 9_223_372_036.854_776;

/// A duration in ms, once the step is known (Prometheus `promql/durations.go`).
///
/// # Errors
/// Divisions by zero, what does not fit, and, unless `negative` is allowed, what is not above zero.
pub(super) fn millis(duration: &Duration, step: i64, negative: bool) -> Result<i64, EvalError> {
    let arithmetic = match duration {
        Duration::Millis(millis) => return Ok(*millis),
        Duration::Arithmetic(arithmetic) => arithmetic,
    };
    let failed = |what: &str| Err(EvalError::Execution(String::from(what)));
    let seconds = seconds(arithmetic, step as f64 / 1000.0)?;
    if seconds <= 0.0 && !negative {
        return failed("duration must be greater than 0");
    }
    if seconds.is_nan() || seconds.abs() >= SECONDS_MAX {
        return failed("duration is out of range");
    }
    Ok((seconds * 1000.0) as i64)
}

fn seconds(arithmetic: &Arithmetic, step: f64) -> Result<f64, EvalError> {
    Ok(match arithmetic {
        Arithmetic::Seconds(seconds) => *seconds,
        Arithmetic::Step => step,
        Arithmetic::Negate(inner) => -seconds(inner, step)?,
        Arithmetic::Paren(inner) => seconds(inner, step)?,
        Arithmetic::Binary(op, left, right) => {
            let (left, right) = (seconds(left, step)?, seconds(right, step)?);
            match op {
                BinaryOp::Div if right == 0.0 => {
                    return Err(EvalError::Execution(String::from("division by zero")));
                }
                BinaryOp::Mod if right == 0.0 => {
                    return Err(EvalError::Execution(String::from("modulo by zero")));
                }
                op => super::element::scalars(*op, left, right),
            }
        }
    })
}
