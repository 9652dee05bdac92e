//! The unit of an expression: from what its metrics say of themselves or are called, and from what is
//! done with them. A guess that would mislead is no unit.

use crate::model::metric::Metadata;
use crate::query::promql::ast::{Aggregation, BinaryOp, Call, Expr, Function, Kind, Selector};

/// What one of something is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Base {
    /// A number of things, or of nothing known.
    #[default]
    Plain,
    Seconds,
    Bytes,
    /// 0 to 1 is 0 to 100 %.
    Ratio,
    Percent,
    /// As its metric calls it: `celsius`, `volts`.
    Named(String),
}

/// What a value is measured in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) base: Base,
    pub(crate) per_second: bool,
}

/// Endings of names that tell a unit (Prometheus' naming rules; OpenTelemetry's are mapped to them).
const NAMED: [&str; 12] = [
    "celsius",
    "volts",
    "amperes",
    "joules",
    "watts",
    "grams",
    "meters",
    "hertz",
    "packets",
    "milliseconds",
    "microseconds",
    "nanoseconds",
];

/// Parts that histograms, summaries and counters add to the name of their family.
const PARTS: [&str; 5] = ["_total", "_sum", "_bucket", "_count", "_created"];

impl Unit {
    fn of_base(base: Base) -> Unit {
        Unit {
            base,
            per_second: false,
        }
    }

    /// A key that scripts choose a format by: `s`, `By`, `1`, `%`, a name, empty; `/s` after it.
    pub(crate) fn key(&self) -> String {
        let base = match &self.base {
            Base::Plain => "",
            Base::Seconds => "s",
            Base::Bytes => "By",
            Base::Ratio => "1",
            Base::Percent => "%",
            Base::Named(name) => name,
        };
        format!("{base}{}", if self.per_second { "/s" } else { "" })
    }
}

/// The unit of what an expression gives; `said` is what a metric says of itself.
pub(crate) fn of(expr: &Expr, said: &dyn Fn(&str) -> Option<Metadata>) -> Unit {
    match &expr.kind {
        Kind::Number(_) | Kind::String(_) => Unit::default(),
        Kind::Paren(inner) | Kind::Negate(inner) => of(inner, said),
        Kind::Binary(binary) => {
            if binary.op.is_comparison() && binary.returns_bool {
                return Unit::default();
            }
            let (left, right) = (of(&binary.left, said), of(&binary.right, said));
            let numbers = (number(&binary.left), number(&binary.right));
            of_operation(binary.op, (left, right), numbers)
        }
        Kind::Aggregate(aggregate) => match aggregate.op {
            Aggregation::Count
            | Aggregation::CountValues
            | Aggregation::Group
            | Aggregation::Stdvar => Unit::default(),
            _ => of(&aggregate.expr, said),
        },
        Kind::Call(call) => of_call(call, said),
        Kind::Vector(selector) | Kind::Matrix(selector, _) => of_selector(selector, said),
        Kind::Subquery(subquery) => of(&subquery.expr, said),
    }
}

fn number(expr: &Expr) -> Option<f64> {
    match &expr.kind {
        Kind::Number(value) => Some(*value),
        Kind::Paren(inner) => number(inner),
        _ => None,
    }
}

type Numbers = (Option<f64>, Option<f64>);

fn of_operation(op: BinaryOp, (left, right): (Unit, Unit), numbers: Numbers) -> Unit {
    let plain = Unit::default();
    match op {
        BinaryOp::Mul => match (numbers, left.base.clone(), right.base.clone()) {
            ((_, Some(100.0)), Base::Ratio, _) | ((Some(100.0), _), _, Base::Ratio) => {
                Unit::of_base(Base::Percent)
            }
            // A share of something is that thing.
            (_, Base::Ratio, _) => right,
            (_, _, Base::Ratio) => left,
            _ => plain,
        },
        BinaryOp::Div => match numbers {
            (None, None) if left == right => Unit::of_base(Base::Ratio),
            (None, None) if right.base == Base::Plain && left.per_second == right.per_second => {
                Unit::of_base(left.base)
            }
            _ => plain,
        },
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Or if left == plain => right,
        BinaryOp::Pow | BinaryOp::Atan2 => plain,
        _ => left,
    }
}

fn of_call(call: &Call, said: &dyn Fn(&str) -> Option<Metadata>) -> Unit {
    use Function as F;
    let argument = |n: usize| {
        call.args
            .get(n)
            .map_or(Unit::default(), |arg| of(arg, said))
    };
    match call.function {
        F::Rate | F::Irate | F::Deriv => match argument(0) {
            // Seconds of work in a second: so many at once.
            Unit {
                base: Base::Seconds,
                ..
            } => Unit::default(),
            unit => Unit {
                per_second: true,
                ..unit
            },
        },
        F::HistogramQuantile | F::HistogramAvg | F::HistogramStddev | F::HistogramSum => {
            let of_metric = call.args.last().and_then(first_selector);
            Unit::of_base(
                of_metric.map_or(Base::Plain, |selector| of_name(name_of(selector), said)),
            )
        }
        F::HistogramFraction => Unit::of_base(Base::Ratio),
        F::Increase
        | F::Delta
        | F::Idelta
        | F::AvgOverTime
        | F::MinOverTime
        | F::MaxOverTime
        | F::SumOverTime
        | F::LastOverTime
        | F::FirstOverTime
        | F::StddevOverTime
        | F::MadOverTime
        | F::PredictLinear
        | F::DoubleExponentialSmoothing
        | F::Abs
        | F::Ceil
        | F::Floor
        | F::Round
        | F::Clamp
        | F::ClampMin
        | F::ClampMax
        | F::Sort
        | F::SortDesc
        | F::SortByLabel
        | F::SortByLabelDesc
        | F::LabelReplace
        | F::LabelJoin
        | F::Scalar
        | F::Vector
        | F::Info => argument(0),
        F::QuantileOverTime => argument(1),
        _ => Unit::default(),
    }
}

/// The first selector within an expression.
fn first_selector(expr: &Expr) -> Option<&Selector> {
    match &expr.kind {
        Kind::Vector(selector) | Kind::Matrix(selector, _) => Some(selector),
        Kind::Paren(inner) | Kind::Negate(inner) => first_selector(inner),
        Kind::Binary(binary) => {
            first_selector(&binary.left).or_else(|| first_selector(&binary.right))
        }
        Kind::Aggregate(aggregate) => first_selector(&aggregate.expr),
        Kind::Call(call) => call.args.iter().find_map(first_selector),
        Kind::Subquery(subquery) => first_selector(&subquery.expr),
        Kind::Number(_) | Kind::String(_) => None,
    }
}

fn of_selector(selector: &Selector, said: &dyn Fn(&str) -> Option<Metadata>) -> Unit {
    let name = name_of(selector);
    if name.ends_with("_bucket") || name.ends_with("_count") || name.ends_with("_created") {
        return Unit::default();
    }
    Unit::of_base(of_name(name, said))
}

fn name_of(selector: &Selector) -> &str {
    selector.metric.as_deref().unwrap_or_default()
}

/// What one observation of a metric is measured in, as its exemplars are.
pub(crate) fn of_observations(metric: &str, said: &dyn Fn(&str) -> Option<Metadata>) -> Unit {
    Unit::of_base(of_name(metric, said))
}

/// What the observations of a metric are measured in.
fn of_name(name: &str, said: &dyn Fn(&str) -> Option<Metadata>) -> Base {
    let family = family(name);
    let unit = [name, family].into_iter().filter_map(said).map(|m| m.unit);
    if let Some(unit) = unit.into_iter().find(|unit| !unit.is_empty()) {
        return of_word(&unit);
    }
    // A point in time is no length of it.
    if family.ends_with("_timestamp_seconds")
        || family.ends_with("_time_seconds") && !family.contains("cpu") && family.contains("start")
    {
        return Base::Plain;
    }
    of_word(family.rsplit('_').next().unwrap_or_default())
}

/// The name of the family that a series is a part of.
pub(crate) fn family(name: &str) -> &str {
    let part = PARTS.iter().find_map(|part| name.strip_suffix(part));
    part.unwrap_or(name)
}

fn of_word(word: &str) -> Base {
    match word {
        "seconds" | "s" => Base::Seconds,
        "bytes" | "By" => Base::Bytes,
        "ratio" | "1" => Base::Ratio,
        "percent" | "%" => Base::Percent,
        word if NAMED.contains(&word) => Base::Named(word.to_owned()),
        _ => Base::Plain,
    }
}
