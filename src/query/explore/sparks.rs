//! The small charts of the catalogue: each family's automatic query over the range, on few steps.

use std::time::{Duration, Instant};

use crate::model::metric::{Matcher, Millis};
use crate::query::control::Control;
use crate::query::promql::eval::{Answered, EvalError, Params, evaluate};
use crate::query::promql::parse;
use crate::query::promql::source::SeriesSource;

use super::catalogue::{Family, Shape, queries, window};
use super::plot::described;
use super::unit::{self, Unit};
use super::{SERIES_READ_MAX, told};

/// Charts in one answer.
pub(crate) const SPARKS_MAX: usize = 24;

/// Steps of a small chart, which is some 240 pixels wide.
const STEPS: i64 = 60;

/// Lines of a small chart: the quantiles of a summary.
const LINES_MAX: usize = 5;

/// After this no further chart is begun: a page of heavy metrics is slow, but not lost.
const DRAW_TIME_MAX: Duration = Duration::from_secs(4);

/// A family with its small chart.
#[derive(Clone, Debug)]
pub(crate) struct Spark {
    pub(crate) family: Family,
    /// The expressions, for the page that shows them in full.
    pub(crate) texts: Vec<String>,
    /// A word and the values for each line.
    pub(crate) lines: Vec<(String, Vec<f64>)>,
    pub(crate) unit: Unit,
    /// Why there is no chart.
    pub(crate) problem: Option<String>,
}

/// Draws families in their order; `began` is when the question came in.
pub(crate) fn draw(
    source: &dyn SeriesSource,
    families: &[Family],
    (range, matchers): (Millis, &[Matcher]),
    samples_max: usize,
    control: &Control,
    began: Instant,
) -> Vec<Spark> {
    let step = ((range.last - range.first) / STEPS).max(1);
    let params = Params {
        samples_max,
        series_max: SERIES_READ_MAX,
        ..Params::range(range.first + step, range.last, step)
    };
    let draw = |family: &Family| {
        if began.elapsed() > DRAW_TIME_MAX {
            let mut late = begin(family.clone(), matchers, step);
            let text =
                "not drawn: the charts before it took all the time; open it, or narrow the range";
            late.1.problem = Some(text.to_owned());
            return late.1;
        }
        spark(source, family, (matchers, step), &params, control)
    };
    families.iter().take(SPARKS_MAX).map(draw).collect()
}

fn begin(family: Family, matchers: &[Matcher], step: i64) -> (Vec<String>, Spark) {
    let (words, texts) = queries(&family, matchers, &window(step))
        .into_iter()
        .unzip();
    let spark = Spark {
        family,
        texts,
        lines: Vec::new(),
        unit: Unit::default(),
        problem: None,
    };
    (words, spark)
}

fn spark(
    source: &dyn SeriesSource,
    family: &Family,
    (matchers, step): (&[Matcher], i64),
    params: &Params,
    control: &Control,
) -> Spark {
    let (words, mut spark) = begin(family.clone(), matchers, step);
    let said = |name: &str| described(source, name);
    for (word, text) in words.iter().zip(&spark.texts) {
        let expr = match parse(text) {
            Ok(expr) => expr,
            Err(error) => {
                spark.problem = Some(error.to_string());
                break;
            }
        };
        spark.unit = unit::of(&expr, &said);
        let answer = evaluate(source, &expr, text, params, control).map(|answer| answer.value);
        let series = match answer {
            Ok(Answered::Matrix(series)) => series,
            Ok(_) => Vec::new(),
            Err(error) => {
                spark.problem = Some(told(&error));
                if matches!(error, EvalError::Timeout | EvalError::Cancelled) {
                    break;
                }
                continue;
            }
        };
        // Nobody said that it is one, but its samples are histograms.
        let is_native = series.iter().any(|one| !one.samples.histograms.is_empty());
        if is_native && family.shape != Shape::Native {
            let native = Family {
                shape: Shape::Native,
                ..family.clone()
            };
            return self::spark(source, &native, (matchers, step), params, control);
        }
        for one in series.into_iter().take(LINES_MAX) {
            let steps = ((params.last - params.first) / params.step + 1) as usize;
            let mut values = vec![f64::NAN; steps];
            for (at, value) in one.samples.times.iter().zip(&one.samples.floats) {
                values[((at - params.first) / params.step) as usize] = *value;
            }
            let word = one.labels.get("quantile").unwrap_or(word).to_owned();
            spark.lines.push((word, values));
        }
    }
    spark
}
