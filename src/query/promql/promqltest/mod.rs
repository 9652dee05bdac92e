//! Runs scripts in the test language of Prometheus (promql/promqltest of its sources) against the
//! engine: those of `tests/promql`, and Prometheus' own where they lie beside the work tree.

mod classic;
mod compare;
pub(crate) mod memory;
mod script;
mod series;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::model::metric::{Labels, Sample, Samples, Value};
use crate::query::control::Control;

use super::ast::{At, Expr, Function, Kind};
use super::eval::{self, Answer, Answered, Params, Point};
use super::parse;
use memory::Memory;
use script::{Command, Eval, When};

/// What a script runs against: the engine alone, or a whole server.
pub(crate) trait Subject {
    fn clear(&mut self);
    fn load(&mut self, series: Vec<(Labels, Vec<Sample>)>);
    /// The error's text is compared with that of the script.
    fn evaluate(&self, text: &str, params: &Params) -> Result<Answer, String>;

    /// What its places on the list of known differences begin with.
    fn name(&self) -> &'static str {
        ""
    }

    /// Whether its answers tell histograms in full; otherwise what expects some is left out.
    fn tells_histograms(&self) -> bool {
        true
    }
}

/// The engine over series in memory.
#[derive(Default)]
struct Alone {
    memory: Memory,
}

impl Subject for Alone {
    fn clear(&mut self) {
        self.memory.clear();
    }

    fn load(&mut self, series: Vec<(Labels, Vec<Sample>)>) {
        for (labels, samples) in series {
            self.memory.append(labels, samples);
        }
    }

    fn evaluate(&self, text: &str, params: &Params) -> Result<Answer, String> {
        let expr = parse(text).map_err(|error| error.to_string())?;
        let control = Control::new(1, Instant::now(), Duration::from_secs(100), u64::MAX);
        // As upstream's runner has it.
        let params = Params {
            delayed_names: true,
            ..*params
        };
        eval::evaluate(&self.memory, &expr, text, &params, &control)
            .map_err(|error| error.to_string())
    }
}

/// How many of the evaluations of a script gave what they should, and what the others gave instead,
/// by line.
pub(crate) struct Report {
    pub(crate) passed: usize,
    pub(crate) failed: BTreeMap<usize, String>,
}

/// Runs a script to its end.
///
/// # Errors
/// The script is none.
pub(crate) fn run(text: &str, subject: &mut dyn Subject) -> Result<Report, String> {
    let mut report = Report {
        passed: 0,
        failed: BTreeMap::new(),
    };
    subject.clear();
    for (line, command) in script::parse(text)? {
        match command {
            Command::Clear => subject.clear(),
            Command::Load(series) => subject.load(series),
            Command::Eval(eval) if eval.has_histograms() && !subject.tells_histograms() => {}
            Command::Eval(eval) => match run_eval(&eval, subject) {
                Ok(()) => report.passed += 1,
                Err(why) => {
                    report.failed.insert(line, format!("{}: {why}", eval.text));
                }
            },
        }
    }
    Ok(report)
}

fn run_eval(eval: &Eval, subject: &dyn Subject) -> Result<(), String> {
    match eval.when {
        When::Range { first, last, step } => {
            let params = Params::range(first, last, step);
            answered(eval, subject.evaluate(&eval.text, &params)).map(|_| ())
        }
        When::Instant(at) => {
            instant(eval, subject, &eval.text, at)?;
            // Pinned to its time by `@`, an expression gives the same at any other.
            let Some(pinned) = pinned(&eval.text, at) else {
                return Ok(());
            };
            let other = match at {
                0 => vec![-1000, 0, 1000],
                at => vec![-10 * at, 0, at / 5, at, 10 * at],
            };
            other.into_iter().try_for_each(|time| {
                instant(eval, subject, &pinned, time)
                    .map_err(|why| format!("{pinned} at {time}: {why}"))
            })
        }
    }
}

/// The answer, when the evaluation did what it should; `None` when it should fail and did.
fn answered(eval: &Eval, outcome: Result<Answer, String>) -> Result<Option<Answer>, String> {
    match (outcome, &eval.fail) {
        (Err(error), Some(wanted)) if wanted.fits(&error) => Ok(None),
        (Err(error), Some(wanted)) => Err(format!("expected error {wanted:?}, found {error}")),
        (Err(error), None) => Err(error),
        (Ok(answer), Some(_)) => Err(format!("expected an error, found {:?}", answer.value)),
        (Ok(answer), None) => compare::check(eval, &answer).map(|()| Some(answer)),
    }
}

/// At one time, and again as the middle step of a range query.
fn instant(eval: &Eval, subject: &dyn Subject, text: &str, at: i64) -> Result<(), String> {
    let Some(answer) = answered(eval, subject.evaluate(text, &Params::instant(at)))? else {
        return Ok(());
    };
    let of_query = ["start()", "end()", "step()"]
        .iter()
        .any(|word| text.contains(word));
    let one_step = eval.range_vector.is_some() || eval.string.is_some() || eval.ordered;
    if of_query || one_step || matches!(answer.value, Answered::String { .. }) {
        return Ok(());
    }
    let params = Params::range(at - 60_000, at + 60_000, 60_000);
    let in_range = subject.evaluate(text, &params);
    let in_range = in_range.map_err(|error| format!("range mode: {error}"))?;
    let Answered::Matrix(series) = in_range.value else {
        return Err("range mode: no matrix".to_owned());
    };
    let points: Vec<Point> = series
        .iter()
        .filter_map(|series| {
            Some(Point {
                labels: series.labels.clone(),
                at,
                value: value_at(&series.samples, at)?,
            })
        })
        .collect();
    let value = match (&answer.value, points.first().map(|p| &p.value)) {
        (Answered::Scalar { .. }, Some(Value::Float(value))) => {
            Answered::Scalar { at, value: *value }
        }
        _ => Answered::Vector(points),
    };
    compare::value(eval, &value).map_err(|why| format!("range mode: {why}"))
}

fn value_at(samples: &Samples, at: i64) -> Option<Value> {
    let float = samples.times.binary_search(&at).ok();
    let histogram = samples.histogram_times.binary_search(&at).ok();
    match (float, histogram) {
        (Some(i), _) => Some(Value::Float(samples.floats[i])),
        (None, Some(i)) => Some(Value::Histogram(samples.histograms[i].clone())),
        (None, None) => None,
    }
}

/// The expression with `@` of this time at every selector; `None` where its value depends on the
/// time of evaluation otherwise.
fn pinned(text: &str, at: i64) -> Option<String> {
    let mut expr = parse(text).ok()?;
    pin(&mut expr, at).then(|| expr.to_string())
}

fn pin(expr: &mut Expr, at: i64) -> bool {
    let set = |place: &mut Option<At>| {
        if !matches!(place, Some(At::Time(_))) {
            *place = Some(At::Time(at));
        }
        true
    };
    match &mut expr.kind {
        Kind::Number(_) | Kind::String(_) => true,
        Kind::Paren(inner) | Kind::Negate(inner) => pin(inner, at),
        Kind::Binary(binary) => pin(&mut binary.left, at) & pin(&mut binary.right, at),
        Kind::Aggregate(aggregate) => {
            let parameter = aggregate.parameter.as_mut();
            pin(&mut aggregate.expr, at) & parameter.is_none_or(|p| pin(p, at))
        }
        Kind::Call(call) => {
            let steady = !varies(call.function);
            call.args
                .iter_mut()
                .fold(steady, |all, arg| pin(arg, at) & all)
        }
        Kind::Vector(selector) | Kind::Matrix(selector, _) => set(&mut selector.at),
        Kind::Subquery(subquery) => set(&mut subquery.at) && steady(&subquery.expr),
    }
}

/// Whether no function inside depends on the time of evaluation.
fn steady(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Paren(inner) | Kind::Negate(inner) => steady(inner),
        Kind::Binary(binary) => steady(&binary.left) && steady(&binary.right),
        Kind::Aggregate(aggregate) => steady(&aggregate.expr),
        Kind::Call(call) => !varies(call.function) && call.args.iter().all(steady),
        Kind::Subquery(subquery) => steady(&subquery.expr),
        _ => true,
    }
}

/// Functions whose value changes with the time of evaluation even if their arguments do not.
fn varies(function: Function) -> bool {
    use Function as F;
    matches!(
        function,
        F::DayOfMonth
            | F::DayOfWeek
            | F::DayOfYear
            | F::DaysInMonth
            | F::Hour
            | F::Minute
            | F::Month
            | F::Year
            | F::PredictLinear
            | F::Time
            | F::Timestamp
    )
}

/// Scripts of a directory, by name.
pub(crate) fn scripts(dir: &Path) -> Vec<(String, String)> {
    let mut scripts = Vec::new();
    for entry in std::fs::read_dir(dir).expect("the directory of scripts") {
        let path = entry.expect("the directory of scripts").path();
        if path.extension().is_some_and(|e| e == "test") {
            let name = path
                .file_name()
                .expect("a file")
                .to_string_lossy()
                .into_owned();
            scripts.push((name, std::fs::read_to_string(&path).expect("a script")));
        }
    }
    scripts.sort();
    scripts
}

/// Prometheus' own scripts, where somebody has put them beside the work tree.
pub(crate) fn upstream() -> Option<PathBuf> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [
        "../shared/corpora/promqltest",
        "../../shared/corpora/promqltest",
    ];
    places.iter().map(|p| tree.join(p)).find(|dir| dir.is_dir())
}

/// Lines `file:line reason` of evaluations that are known to differ.
fn skipped() -> BTreeMap<(String, usize), String> {
    let list = include_str!("../../../../tests/promql/skipped.txt");
    let lines = list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed = lines.map(|line| {
        let (place, reason) = line.split_once(' ').expect("`file:line reason`");
        let (file, number) = place.split_once(':').expect("`file:line reason`");
        let number = number.parse().expect("a line number");
        ((file.to_owned(), number), reason.to_owned())
    });
    parsed.collect()
}

/// Runs all scripts of a directory; only what is on the list of known differences may fail.
#[track_caller]
pub(crate) fn check(dir: &Path, subject: &mut dyn Subject) {
    let skipped = skipped();
    let (mut passed, mut wrong) = (0, Vec::new());
    for (file, text) in scripts(dir) {
        let report = run(&text, subject).unwrap_or_else(|why| panic!("{file}: {why}"));
        let name = format!("{}{file}", subject.name());
        passed += report.passed;
        let skips = skipped.keys().filter(|(file, _)| *file == name);
        for (_, line) in skips {
            assert!(
                report.failed.contains_key(line),
                "{name}:{line} passes: take it off the list"
            );
        }
        for (line, why) in report.failed {
            if !skipped.contains_key(&(name.clone(), line)) {
                wrong.push(format!("{name}:{line}: {why}"));
            }
        }
    }
    println!("{}: {passed} evaluations passed", dir.display());
    assert!(
        wrong.is_empty(),
        "{} fail:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(passed > 0, "scripts without evaluations test nothing");
}

#[test]
fn our_scripts_pass() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promql");
    check(&dir, &mut Alone::default());
}

#[test]
fn prometheus_scripts_pass() {
    match upstream() {
        Some(dir) => check(&dir, &mut Alone::default()),
        None => println!("Prometheus' own scripts are not here: nothing to run"),
    }
}

/// The runner finds what is wrong: each of these scripts must fail.
#[test]
fn wrong_expectations_are_found() {
    let wrong = [
        "eval instant at 0 1\n 2",
        "eval instant at 0 vector(1)\n {} 1.00001",
        "eval instant at 0 vector(1)\n {} 1\n {a=\"b\"} 1",
        "eval instant at 0 vector(1)",
        "eval instant at 0 vector(1)\n {} {{}}",
        "eval_fail instant at 0 vector(1)",
        "eval_warn instant at 0 vector(1)\n {} 1",
        "eval range from 0 to 1m step 1m vector(1)\n {} 1",
        "eval range from 0 to 1m step 1m vector(1)\n {} 1 1 1",
        "eval instant at 0 \"a\"\n expect string \"b\"",
        "load 1m\n a 1\n\neval instant at 0 nothing(a)\n expect fail msg: else",
    ];
    for text in wrong {
        let report = run(text, &mut Alone::default()).expect(text);
        assert_eq!(report.failed.len(), 1, "{text}");
    }
    for text in ["load 1m\n a 1x", "eval instant 1", "hello", "load x\n a 1"] {
        assert!(run(text, &mut Alone::default()).is_err(), "{text}");
    }
}
