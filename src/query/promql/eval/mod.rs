//! Evaluates a PromQL tree over a source of series, as Prometheus 3.5 does, down to the words of
//! errors and annotations.
//!
//! Works on columns: one row of steps per series. It reads no clock but through [`Control`], holds no
//! sample longer than its window needs it, and never answers with a part of a result: a bound that is
//! reached is an error.

mod aggregate;
mod aggregate_k;
mod annotate;
mod binary;
mod context;
mod element;
mod info;
mod instant_functions;
mod label_functions;
mod matching;
#[cfg(feature = "internals")]
pub(crate) mod measure;
mod quantile;
mod range_functions;
mod rate;
mod row;
mod select;
mod shape;
mod summing;
#[cfg(test)]
mod tests;
mod time;
mod vector_functions;

use crate::model::metric::{Labels, Samples, Value};
use crate::query::control::Control;

use super::ast::{Expr, Kind, Type};
use super::source::SeriesSource;

use context::Context;
use row::{Cell, Grid, Row};

/// How far a selector looks back for the newest sample, in ms (Prometheus `--query.lookback-delta`).
pub(crate) const LOOKBACK_DEFAULT: i64 = 5 * 60 * 1000;

/// Samples one query may hold at once (Prometheus `--query.max-samples`): 50 M floats are 400 MB, so
/// callers with little memory pass less.
pub(crate) const SAMPLES_DEFAULT: usize = 50_000_000;

/// When and how far to evaluate; times are ms since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Params {
    pub(crate) first: i64,
    /// Included, when a step meets it.
    pub(crate) last: i64,
    /// Zero: an instant query at `first`, which gives what its expression gives. Otherwise a range
    /// query, which gives a matrix.
    pub(crate) step: i64,
    pub(crate) lookback: i64,
    /// Step of subqueries that tell none (Prometheus: the global evaluation interval).
    pub(crate) subquery_step: i64,
    /// Samples held at once.
    pub(crate) samples_max: usize,
    /// Series read by one query.
    pub(crate) series_max: usize,
    /// Names are dropped at the end only (Prometheus feature `promql-delayed-name-removal`, off there
    /// and here; its test scripts assume that it is on).
    pub(crate) delayed_names: bool,
}

impl Params {
    pub(crate) const fn instant(at: i64) -> Params {
        Params {
            first: at,
            last: at,
            step: 0,
            lookback: LOOKBACK_DEFAULT,
            subquery_step: 60_000,
            samples_max: SAMPLES_DEFAULT,
            series_max: usize::MAX,
            delayed_names: false,
        }
    }

    /// `step` is above zero.
    pub(crate) const fn range(first: i64, last: i64, step: i64) -> Params {
        Params {
            first,
            last,
            step,
            ..Params::instant(first)
        }
    }

    pub(crate) const fn is_instant(&self) -> bool {
        self.step == 0
    }
}

/// What a query gives.
#[derive(Clone, Debug)]
pub(crate) enum Answered {
    Scalar {
        at: i64,
        value: f64,
    },
    String {
        at: i64,
        value: String,
    },
    /// In the order that the expression gives: by `sort` and its kin, otherwise of no meaning.
    Vector(Vec<Point>),
    /// By labels.
    Matrix(Vec<Series>),
}

/// One element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) labels: Labels,
    pub(crate) at: i64,
    pub(crate) value: Value,
}

/// One series of a matrix.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) labels: Labels,
    pub(crate) samples: Samples,
}

/// A value and what there is to tell about it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) value: Answered,
    /// In Prometheus' words with place (`PromQL warning: ... (1:15)`), each once, sorted.
    pub(crate) warnings: Vec<String>,
    /// As `warnings`: `PromQL info: ...`.
    pub(crate) infos: Vec<String>,
    /// Samples that were read.
    pub(crate) samples_read: u64,
}

/// Why there is no answer. The texts are Prometheus'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EvalError {
    /// The data do not fit the expression (HTTP: `execution`, 422).
    Execution(String),
    /// HTTP: `timeout`, 503.
    Timeout,
    /// HTTP: `canceled`, 503.
    Cancelled,
    /// HTTP: `execution`, 422.
    TooManySamples,
    /// More series than a query may read; with that number.
    TooManySeries(usize),
    /// The source failed (HTTP: `internal`, 500).
    Source(String),
}

impl std::fmt::Display for EvalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EvalError::Execution(text) | EvalError::Source(text) => f.write_str(text),
            EvalError::Timeout => f.write_str("query timed out in expression evaluation"),
            EvalError::Cancelled => f.write_str("query was canceled in expression evaluation"),
            EvalError::TooManySamples => f.write_str(
                "query processing would load too many samples into memory in query execution",
            ),
            EvalError::TooManySeries(max) => {
                write!(
                    f,
                    "query would read more than {max} series; narrow its selectors"
                )
            }
        }
    }
}

/// Evaluates a checked expression; `text` is what it was read from, for places in annotations.
///
/// # Errors
/// See [`EvalError`]; `control` stops it between series.
pub(crate) fn evaluate(
    source: &dyn SeriesSource,
    query: &Expr,
    text: &str,
    params: &Params,
    control: &Control,
) -> Result<Answer, EvalError> {
    let context = Context::new(source, params, control);
    let grid = Grid::new(params.first, params.last, params.step.max(1));
    context.check_steps(grid.count)?;
    let value = if params.is_instant() {
        instant(&context, query, &grid)?
    } else {
        Answered::Matrix(matrix(&context, query, &grid)?)
    };
    let (warnings, infos) = context.notes.texts(text);
    Ok(Answer {
        value,
        warnings,
        infos,
        samples_read: context.samples_read(),
    })
}

fn instant(context: &Context<'_>, query: &Expr, grid: &Grid) -> Result<Answered, EvalError> {
    let at = grid.first;
    match shape::type_of(query) {
        Type::Scalar => {
            let value = context.scalar(query, grid)?[0];
            Ok(Answered::Scalar { at, value })
        }
        Type::String => Ok(Answered::String {
            at,
            value: shape::text(query).to_owned(),
        }),
        Type::Vector => {
            let rows = context.cleaned(context.collect(query, grid)?)?;
            let point = |row: Row| {
                let value = match row.cell(0) {
                    Cell::None => return None,
                    Cell::Float(value) => Value::Float(value),
                    Cell::Histogram(histogram) => Value::Histogram(histogram.clone()),
                };
                let labels = row.labels;
                Some(Point { labels, at, value })
            };
            Ok(Answered::Vector(
                rows.into_iter().filter_map(point).collect(),
            ))
        }
        Type::Matrix => {
            let mut series = Vec::new();
            match &shape::unwrapped(query).kind {
                Kind::Subquery(subquery) => {
                    series = context.subquery(subquery, grid)?.1;
                }
                Kind::Matrix(selector, range) => {
                    let windows = context.windows(selector, range, grid)?;
                    context.range_samples(selector, &windows, &mut |labels, samples| {
                        let (labels, samples) = (labels.clone(), samples.clone());
                        series.push(Series { labels, samples });
                        Ok(())
                    })?;
                }
                _ => return Err(context::internal("a matrix that is no selector")),
            }
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
            Ok(Answered::Matrix(series))
        }
    }
}

fn matrix(context: &Context<'_>, query: &Expr, grid: &Grid) -> Result<Vec<Series>, EvalError> {
    if grid.count == 0 {
        return Ok(Vec::new());
    }
    let rows = match shape::type_of(query) {
        Type::Scalar => vec![Row::of_floats(
            Labels::default(),
            context.scalar(query, grid)?,
        )],
        Type::Vector => context.cleaned(context.collect(query, grid)?)?,
        Type::String | Type::Matrix => {
            return Err(EvalError::Execution(String::from(
                "invalid expression type for range query, must be Scalar or instant Vector",
            )));
        }
    };
    let mut series: Vec<Series> = rows.into_iter().map(|row| row.into_series(grid)).collect();
    series.retain(|series| series.samples.len() > 0);
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(series)
}
