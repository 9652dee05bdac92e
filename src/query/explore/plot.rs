//! Several expressions on one grid of time: the lines of a chart, the rows of a table, the exemplars
//! on both. Keeps at most the lines asked for, and says how many there were.

use crate::model::metric::{Exemplar, Labels, Metadata, Millis, NAME, Value};
use crate::query::control::Control;
use crate::query::promql::ast::{Expr, Kind, Selector, Type};
use crate::query::promql::eval::{Answer, Answered, Params, evaluate};
use crate::query::promql::source::SeriesSource;
use crate::query::promql::{ParseError, parse, return_type};

use super::unit::{self, Unit};
use super::{SERIES_READ_MAX, told};

/// Expressions in one chart: letters A to H.
pub(crate) const EXPRESSIONS_MAX: usize = 8;

/// Bytes of one expression.
pub(crate) const EXPRESSION_BYTES_MAX: usize = 16 << 10;

/// Steps that one series has at most, as in Prometheus' API.
pub(crate) const STEPS_MAX: i64 = 11_000;

/// Steps aimed at where no step is asked for: one for about three pixels of a wide chart.
const STEPS_AIMED: i64 = 360;

/// Lines shown before one asks for all of them.
pub(crate) const LINES_SHOWN: usize = 50;

/// Lines of one chart when all are asked for: a browser still draws them.
pub(crate) const LINES_ALL_MAX: usize = 2_000;

/// Rows of a table.
pub(crate) const ROWS_MAX: usize = 1_000;

/// Exemplars of a chart: one for each column of four pixels.
const EXEMPLARS_MAX: usize = 240;

/// Steps that are easy to read, in ms.
const STEPS_NICE: [i64; 18] = [
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000,
    900_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000,
];

/// What to plot.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) texts: Vec<String>,
    pub(crate) range: Millis,
    /// In ms, above zero; `None` for one that fits the range.
    pub(crate) step: Option<i64>,
    /// All lines, to [`LINES_ALL_MAX`].
    pub(crate) all: bool,
    /// The values at the end of the range.
    pub(crate) rows: bool,
    /// The lines.
    pub(crate) lines: bool,
}

/// The steps that all lines share; times in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) first: i64,
    pub(crate) step: i64,
    pub(crate) steps: usize,
}

impl Grid {
    /// On multiples of the step, so that the same time has the same value on every reload.
    pub(crate) fn over(range: Millis, step: Option<i64>) -> Result<Grid, String> {
        let length = (range.last - range.first).max(1);
        let nice = || {
            let fits = |step: &i64| length / step <= STEPS_AIMED;
            let day = 86_400_000;
            let days = (length / STEPS_AIMED / day + 1) * day;
            STEPS_NICE.into_iter().find(fits).unwrap_or(days)
        };
        let step = step.unwrap_or_else(nice);
        if length / step >= STEPS_MAX {
            return Err(format!(
                "a step of {} over this range makes {} points for each series, at most {STEPS_MAX}; raise the step or narrow the range",
                crate::query::promql::print::duration(step),
                length / step + 1
            ));
        }
        let first = range.first.div_euclid(step) * step;
        let first = if first < range.first {
            first + step
        } else {
            first
        };
        let steps = if first > range.last {
            0
        } else {
            (range.last - first) / step + 1
        };
        Ok(Grid {
            first,
            step,
            steps: steps as usize,
        })
    }

    pub(crate) fn last(&self) -> i64 {
        self.first + (self.steps.max(1) as i64 - 1) * self.step
    }
}

/// One line of the chart.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Which expression.
    pub(crate) of: usize,
    pub(crate) labels: Labels,
    /// A value for each step; NaN where there is none.
    pub(crate) values: Vec<f64>,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) of: usize,
    pub(crate) labels: Labels,
    pub(crate) value: Cell,
}

/// The value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Float(f64),
    /// A histogram or a string, as PromQL writes it.
    Text(String),
}

/// What became of one expression.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    pub(crate) mistake: Option<ParseError>,
    /// Why it has no lines, or no rows.
    pub(crate) problem: Option<String>,
    /// Series it gives; more than are shown, maybe.
    pub(crate) series: usize,
    pub(crate) notes: Vec<String>,
    pub(crate) unit: Unit,
}

/// An exemplar and the series it is of.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    pub(crate) labels: Labels,
    /// Of its value; lines made of its series may have another.
    pub(crate) unit: Unit,
    pub(crate) exemplar: Exemplar,
}

/// The answer to [`Ask`].
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) grid: Grid,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) lines: Vec<Line>,
    /// Lines that there are.
    pub(crate) lines_total: usize,
    pub(crate) rows: Vec<Row>,
    pub(crate) rows_total: usize,
    pub(crate) examples: Vec<Example>,
    /// All were not shown: the most telling ones were chosen.
    pub(crate) examples_total: usize,
}

impl Plot {
    /// The unit that all expressions share; plain where they differ.
    pub(crate) fn unit(&self) -> Unit {
        let good = |o: &&Outcome| o.mistake.is_none() && !o.text.trim().is_empty();
        let mut units = self.outcomes.iter().filter(good).map(|o| &o.unit);
        let first = units.next().cloned().unwrap_or_default();
        if units.all(|unit| *unit == first) {
            first
        } else {
            Unit::default()
        }
    }
}

/// Evaluates. What is wrong with one expression is told in its [`Outcome`] and leaves the others.
///
/// # Errors
/// The step does not fit the range; the text says what does.
pub(crate) fn plot(
    source: &dyn SeriesSource,
    ask: &Ask,
    samples_max: usize,
    control: &Control,
) -> Result<Plot, String> {
    let grid = Grid::over(ask.range, ask.step)?;
    let mut plot = Plot {
        grid,
        outcomes: Vec::new(),
        lines: Vec::new(),
        lines_total: 0,
        rows: Vec::new(),
        rows_total: 0,
        examples: Vec::new(),
        examples_total: 0,
    };
    let said = |name: &str| source.metadata(Some(name)).into_iter().next();
    for (of, text) in ask.texts.iter().take(EXPRESSIONS_MAX).enumerate() {
        let mut outcome = Outcome {
            text: text.clone(),
            ..Outcome::default()
        };
        match parse(text) {
            _ if text.trim().is_empty() => {}
            Err(mistake) => outcome.mistake = Some(mistake),
            Ok(expr) => {
                outcome.unit = unit::of(&expr, &said);
                let mut one = One {
                    source,
                    ask,
                    control,
                    samples_max,
                    of,
                    expr: &expr,
                };
                one.run(&mut plot, &mut outcome);
            }
        }
        plot.outcomes.push(outcome);
    }
    plot.lines_total = plot.lines.len();
    let most = if ask.all { LINES_ALL_MAX } else { LINES_SHOWN };
    keep_largest(&mut plot.lines, most);
    plot.rows_total = plot.rows.len();
    plot.rows.truncate(ROWS_MAX);
    plot.examples_total = plot.examples.len();
    plot.examples = spread(std::mem::take(&mut plot.examples), ask.range);
    Ok(plot)
}

/// One expression under evaluation.
struct One<'a> {
    source: &'a dyn SeriesSource,
    ask: &'a Ask,
    control: &'a Control,
    samples_max: usize,
    of: usize,
    expr: &'a Expr,
}

impl One<'_> {
    fn params(&self, base: Params) -> Params {
        Params {
            samples_max: self.samples_max,
            series_max: SERIES_READ_MAX,
            ..base
        }
    }

    fn ask(&self, params: Params, outcome: &mut Outcome) -> Option<Answered> {
        let params = self.params(params);
        match evaluate(self.source, self.expr, &outcome.text, &params, self.control) {
            Ok(Answer {
                value,
                warnings,
                infos,
                ..
            }) => {
                for note in warnings.into_iter().chain(infos) {
                    if !outcome.notes.contains(&note) {
                        outcome.notes.push(note);
                    }
                }
                Some(value)
            }
            Err(error) => {
                outcome.problem = Some(told(&error));
                None
            }
        }
    }

    fn run(&mut self, plot: &mut Plot, outcome: &mut Outcome) {
        let drawable = matches!(return_type(self.expr), Type::Scalar | Type::Vector);
        if self.ask.lines && drawable && plot.grid.steps > 0 {
            self.lines(plot, outcome);
        } else if self.ask.lines && !drawable {
            let gives = return_type(self.expr).documented();
            outcome.problem = Some(format!(
                "gives a {gives}, which is no line; a chart needs an instant vector or a scalar, as rate(...) of a range vector is (the table shows it)"
            ));
        }
        if self.ask.rows {
            self.rows(plot, outcome);
        }
        self.examples(plot, outcome);
    }

    fn lines(&self, plot: &mut Plot, outcome: &mut Outcome) {
        let grid = plot.grid;
        let params = Params::range(grid.first, grid.last(), grid.step);
        let Some(Answered::Matrix(series)) = self.ask(params, outcome) else {
            return;
        };
        outcome.series = series.len();
        let mut histograms = 0;
        for one in series {
            let mut values = vec![f64::NAN; grid.steps];
            for (at, value) in one.samples.times.iter().zip(&one.samples.floats) {
                values[((at - grid.first) / grid.step) as usize] = *value;
            }
            if one.samples.times.is_empty() {
                histograms += 1;
                continue;
            }
            plot.lines.push(Line {
                of: self.of,
                labels: one.labels,
                values,
            });
        }
        if histograms > 0 {
            let what = if histograms == 1 {
                "series is a native histogram"
            } else {
                "series are native histograms"
            };
            outcome.problem = Some(format!(
                "{histograms} {what}, which is no line; take histogram_quantile(0.95, ...), histogram_avg or histogram_count of it"
            ));
        }
    }

    fn rows(&self, plot: &mut Plot, outcome: &mut Outcome) {
        let Some(value) = self.ask(Params::instant(self.ask.range.last), outcome) else {
            return;
        };
        let row = |labels, value| Row {
            of: self.of,
            labels,
            value,
        };
        match value {
            Answered::Scalar { value, .. } => {
                plot.rows.push(row(Labels::default(), Cell::Float(value)));
            }
            Answered::String { value, .. } => {
                plot.rows.push(row(Labels::default(), Cell::Text(value)));
            }
            Answered::Vector(points) => plot.rows.extend(points.into_iter().map(|point| {
                let value = match point.value {
                    Value::Float(value) => Cell::Float(value),
                    Value::Histogram(histogram) => Cell::Text(histogram.to_string()),
                };
                row(point.labels, value)
            })),
            Answered::Matrix(series) => plot.rows.extend(series.into_iter().map(|one| {
                let samples = one.samples.len();
                let last = one.samples.floats.last();
                let last = last.map_or(String::new(), |v| format!(", the last is {v}"));
                let text = format!("{samples} samples{last}");
                row(one.labels, Cell::Text(text))
            })),
        }
    }

    fn examples(&self, plot: &mut Plot, outcome: &mut Outcome) {
        let said = |name: &str| self.source.metadata(Some(name)).into_iter().next();
        let mut selectors = Vec::new();
        collect_selectors(self.expr, &mut selectors);
        for selector in selectors {
            match self.source.exemplars(&selector.matchers, self.ask.range) {
                Ok(found) => {
                    for (labels, all) in found {
                        let unit = unit::of_observations(labels.metric(), &said);
                        plot.examples
                            .extend(all.into_iter().map(|exemplar| Example {
                                labels: labels.clone(),
                                unit: unit.clone(),
                                exemplar,
                            }));
                    }
                }
                Err(error) => outcome.notes.push(format!("exemplars: {}", error.0)),
            }
        }
    }
}

fn collect_selectors<'e>(expr: &'e Expr, into: &mut Vec<&'e Selector>) {
    match &expr.kind {
        Kind::Vector(selector) | Kind::Matrix(selector, _) => {
            if !into.iter().any(|known| known.matchers == selector.matchers) {
                into.push(selector);
            }
        }
        Kind::Paren(inner) | Kind::Negate(inner) => collect_selectors(inner, into),
        Kind::Binary(binary) => {
            collect_selectors(&binary.left, into);
            collect_selectors(&binary.right, into);
        }
        Kind::Aggregate(aggregate) => {
            collect_selectors(&aggregate.expr, into);
            if let Some(parameter) = &aggregate.parameter {
                collect_selectors(parameter, into);
            }
        }
        Kind::Call(call) => call
            .args
            .iter()
            .for_each(|arg| collect_selectors(arg, into)),
        Kind::Subquery(subquery) => collect_selectors(&subquery.expr, into),
        Kind::Number(_) | Kind::String(_) => {}
    }
}

/// The lines with the largest mean of what they are, in their order.
fn keep_largest(lines: &mut Vec<Line>, most: usize) {
    if lines.len() <= most {
        return;
    }
    let size = |line: &Line| {
        let known = line.values.iter().filter(|value| value.is_finite());
        let (sum, n) = known.fold((0.0, 0_u32), |(sum, n), value| (sum + value.abs(), n + 1));
        if n == 0 { -1.0 } else { sum / f64::from(n) }
    };
    let mut order: Vec<(usize, f64)> = lines.iter().map(size).enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut kept = vec![false; lines.len()];
    for (at, _) in order.into_iter().take(most) {
        kept[at] = true;
    }
    let mut at = 0;
    lines.retain(|_| {
        at += 1;
        kept[at - 1]
    });
}

/// The largest exemplar of each column of time.
fn spread(mut examples: Vec<Example>, range: Millis) -> Vec<Example> {
    let width = ((range.last - range.first) / EXEMPLARS_MAX as i64 + 1).max(1);
    let column = |example: &Example| (example.exemplar.at - range.first) / width;
    examples.sort_by(|a, b| {
        let by_value = b.exemplar.value.total_cmp(&a.exemplar.value);
        column(a).cmp(&column(b)).then(by_value)
    });
    examples.dedup_by_key(|example| column(example));
    examples
}

/// What a line is called: its series, or its expression where it has no labels.
pub(crate) fn name_of(labels: &Labels, text: &str) -> String {
    if labels.is_empty() {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    } else {
        labels.to_string()
    }
}

/// Names of the labels of rows, sorted, without the metric's name.
pub(crate) fn label_names(rows: &[Row]) -> Vec<String> {
    let names = rows.iter().flat_map(|row| row.labels.iter());
    let mut names: Vec<String> = names
        .filter(|(name, _)| *name != NAME)
        .map(|(name, _)| name.to_owned())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Metadata of a metric or of the family it is a part of.
pub(crate) fn described(source: &dyn SeriesSource, metric: &str) -> Option<Metadata> {
    let of = |name: &str| source.metadata(Some(name)).into_iter().next();
    of(metric).or_else(|| of(unit::family(metric)))
}
