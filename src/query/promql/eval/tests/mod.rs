//! What the scripts of Prometheus do not cover: a range is its instants, bounds hold, annotations
//! have their places.

mod fixture;

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::model::metric::{CUSTOM_BUCKETS_SCHEMA, CounterReset, Histogram, STALE_NAN_BITS, Span};
use crate::query::promql::parse;
use fixture::{Memory, control};

fn run(source: &Memory, query: &str, params: &Params) -> Result<Answer, EvalError> {
    let expr = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    evaluate(source, &expr, query, params, &control())
}

/// Elements as `labels@ms value`, NaN as itself.
fn points(answer: &Answered) -> Vec<String> {
    let one = |labels: &Labels, at: i64, value: &Value| match value {
        Value::Float(value) => format!("{labels}@{at} {value}"),
        Value::Histogram(histogram) => format!("{labels}@{at} {histogram}"),
    };
    let mut points: Vec<String> = match answer {
        Answered::Scalar { at, value } => vec![format!("{{}}@{at} {value}")],
        Answered::String { at, value } => vec![format!("{value}@{at}")],
        Answered::Vector(points) => points
            .iter()
            .map(|p| one(&p.labels, p.at, &p.value))
            .collect(),
        Answered::Matrix(series) => series
            .iter()
            .flat_map(|series| {
                let samples = &series.samples;
                let floats = samples.times.iter().zip(&samples.floats);
                let floats = floats.map(|(at, v)| one(&series.labels, *at, &Value::Float(*v)));
                let histograms = samples.histogram_times.iter().zip(&samples.histograms);
                let histograms = histograms
                    .map(|(at, h)| one(&series.labels, *at, &Value::Histogram(h.clone())));
                floats.chain(histograms).collect::<Vec<_>>()
            })
            .collect(),
    };
    points.sort();
    points
}

#[track_caller]
fn check(source: &Memory, query: &str, at_s: i64, expected: &[&str]) {
    let answer = run(source, query, &Params::instant(at_s * 1_000));
    match answer {
        Ok(answer) => assert_eq!(points(&answer.value), expected, "{query}"),
        Err(error) => assert_eq!(vec![error.to_string()], expected, "{query}"),
    }
}

fn two_counters() -> Memory {
    let mut source = Memory::default();
    let up =
        |factor: f64| -> Vec<(i64, f64)> { (0..40).map(|i| (i * 15, i as f64 * factor)).collect() };
    source.floats(&[("__name__", "a_total"), ("job", "x")], &up(1.0));
    source.floats(&[("__name__", "a_total"), ("job", "y")], &up(3.0));
    source.floats(&[("__name__", "b"), ("job", "x")], &up(2.0));
    source
}

#[test]
fn elements_and_scalars_and_strings() {
    let source = two_counters();
    check(
        &source,
        "sum(increase(a_total[1m]))",
        300,
        &["{}@300000 16"],
    );
    check(
        &source,
        "a_total * 2 > 50",
        300,
        &[r#"{job="y"}@300000 120"#],
    );
    check(&source, "2 + 3 * 4", 1, &["{}@1000 14"]);
    check(&source, r#""text""#, 1, &["text@1000"]);
    check(
        &source,
        "b[30s]",
        300,
        &[r#"b{job="x"}@285000 38"#, r#"b{job="x"}@300000 40"#],
    );
    check(
        &source,
        r#"{job="x"} + 1"#,
        300,
        &["vector cannot contain metrics with the same labelset"],
    );
    check(
        &source,
        r#"{job="x"} / ignoring(__name__) group_left b"#,
        300,
        &["multiple matches for labels: grouping labels must ensure unique matches"],
    );
}

#[test]
fn elements_that_match_twice_are_named() {
    let source = two_counters();
    check(
        &source,
        "b / on() a_total",
        300,
        &[
            "found duplicate series for the match group {} on the right hand-side of the operation: \
           [{__name__=\"a_total\", job=\"y\"}, {__name__=\"a_total\", job=\"x\"}];many-to-many \
           matching not allowed: matching labels must be unique on one side",
        ],
    );
    check(
        &source,
        "a_total / on() b",
        300,
        &[
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        ],
    );
}

#[test]
fn annotations_have_their_words_and_places() {
    let source = two_counters();
    let told = |query: &str| {
        let answer = run(&source, query, &Params::instant(300_000)).expect(query);
        (answer.warnings, answer.infos)
    };
    let info = "PromQL info: metric might not be a counter, name does not end in \
                _total/_sum/_count/_bucket: \"b\" (2:8)";
    assert_eq!(
        told("sum(\n  rate(b[5m]))"),
        (vec![], vec![info.to_owned()])
    );
    let warning = "PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:10)";
    assert_eq!(told("quantile(1.5, b)"), (vec![warning.to_owned()], vec![]));
    assert_eq!(told("rate(a_total[5m])"), (vec![], vec![]));
}

#[test]
fn every_bound_is_an_error_of_its_own() {
    let source = two_counters();
    let failed = |params: &Params| run(&source, "rate(a_total[5m])", params).expect_err("a bound");
    let range = Params::range(0, 600_000, 15_000);
    let few_samples = Params {
        samples_max: 50,
        ..range
    };
    assert_eq!(failed(&few_samples), EvalError::TooManySamples);
    let few_series = Params {
        series_max: 1,
        ..range
    };
    assert_eq!(failed(&few_series), EvalError::TooManySeries(1));
    let many_steps = Params::range(0, i64::MAX / 2, 1);
    assert_eq!(failed(&many_steps), EvalError::TooManySamples);

    let expr = parse("a_total").expect("a query");
    let stopped = control();
    stopped.cancel();
    let cancelled = evaluate(&source, &expr, "a_total", &range, &stopped);
    assert_eq!(cancelled.expect_err("cancelled"), EvalError::Cancelled);
    let late = Control::new(1, Instant::now(), Duration::ZERO, u64::MAX);
    let late = evaluate(&source, &expr, "a_total", &range, &late);
    assert_eq!(late.expect_err("late"), EvalError::Timeout);
}

/// Queries of every kind; `m` has floats, gaps and stale markers, `h` native histograms, `c` both.
const QUERIES: &[&str] = &[
    "m",
    "m offset 40s",
    "m @ 100",
    "-m",
    "m > 2",
    "m > bool 2",
    "2 < m",
    "m * m",
    "m + on(g) group_left sum by (g) (m)",
    "m and on(g) m{i=\"1\"}",
    "m or h",
    "m unless m > 3",
    "rate(m[1m])",
    "increase(m[50s])",
    "delta(m[1m])",
    "irate(m[1m])",
    "idelta(m[1m])",
    "resets(m[2m])",
    "changes(m[2m])",
    "sum_over_time(m[1m])",
    "avg_over_time(m[1m])",
    "min_over_time(m[1m])",
    "max_over_time(m[1m])",
    "count_over_time(c[1m])",
    "last_over_time(c[1m])",
    "first_over_time(c[1m])",
    "present_over_time(m[1m])",
    "absent_over_time(m{i=\"1\"}[20s])",
    "absent(m{i=\"1\"})",
    "stddev_over_time(m[1m])",
    "mad_over_time(m[1m])",
    "quantile_over_time(0.3, m[1m])",
    "ts_of_max_over_time(m[1m])",
    "deriv(m[1m])",
    "predict_linear(m[1m], 60)",
    "predict_linear(m[1m] @ 200, 60)",
    "double_exponential_smoothing(m[2m], 0.5, 0.5)",
    "timestamp(m)",
    "timestamp(m @ 100)",
    "timestamp(m + 0)",
    "max_over_time(rate(m[1m])[2m:20s])",
    "sum_over_time(m[1m:] offset 15s)",
    "sum by (g) (m)",
    "avg without (i) (m)",
    "count(m)",
    "min(m)",
    "max by (g) (m)",
    "group(m)",
    "stddev(m)",
    "stdvar(m)",
    "quantile(0.4, m)",
    "topk(1, m)",
    "bottomk by (g) (1, m)",
    "limitk(1, m)",
    "limit_ratio(0.5, m)",
    "count_values(\"v\", m)",
    "scalar(m{i=\"1\"})",
    "vector(scalar(m{i=\"1\"}) + time())",
    "clamp(m, 1, 3)",
    "round(m, 2)",
    "hour(m)",
    "minute()",
    "label_replace(m, \"x\", \"$1\", \"i\", \"(.*)\")",
    "h",
    "h * 2",
    "h + h",
    "h == h",
    "sum(h)",
    "avg(h)",
    "rate(h[1m])",
    "sum_over_time(h[1m])",
    "avg_over_time(h[1m])",
    "histogram_count(h)",
    "histogram_sum(rate(h[1m]))",
    "histogram_quantile(0.7, sum(rate(h[1m])))",
    "histogram_fraction(0, 2, h)",
    "histogram_stddev(h)",
    "sum(c)",
    "rate(c[1m])",
    "m % 2 ^ 2 atan2 m",
];

fn histogram(counts: &[u8], custom: bool) -> Histogram {
    let positive_counts: Vec<f64> = counts.iter().map(|count| f64::from(*count)).collect();
    let count = positive_counts.iter().sum();
    Histogram {
        reset: CounterReset::Unknown,
        schema: if custom { CUSTOM_BUCKETS_SCHEMA } else { 0 },
        custom_bounds: if custom {
            vec![1.0, 2.0, 4.0]
        } else {
            Vec::new()
        },
        count,
        sum: count * 1.5,
        positive_spans: vec![Span {
            offset: 0,
            length: counts.len() as u32,
        }],
        positive_counts,
        ..Histogram::default()
    }
}

/// A sample every 10 s with some missing: a small number, a marker of an end, a histogram.
fn any_series(histograms: bool, floats: bool) -> impl Strategy<Value = Samples> {
    let histogram = (prop::collection::vec(0..6u8, 3), prop::bool::weighted(0.1))
        .prop_map(|(counts, custom)| Some(Err(histogram(&counts, custom))));
    let float = (0..6u8).prop_map(|value| Some(Ok(f64::from(value))));
    let sample = prop_oneof![
        2 => Just(None),
        u32::from(floats) * 8 + 1 => if floats { float.boxed() } else { Just(None).boxed() },
        1 => Just(Some(Ok(f64::from_bits(STALE_NAN_BITS)))),
        1 => if floats { Just(Some(Ok(f64::NAN))).boxed() } else { Just(None).boxed() },
        8 => if histograms { histogram.boxed() } else { Just(None).boxed() },
    ];
    prop::collection::vec(sample, 40).prop_map(|points| {
        let mut samples = Samples::default();
        for (index, point) in points.into_iter().enumerate() {
            let at = index as i64 * 10_000;
            match point {
                None => {}
                Some(Ok(value)) => {
                    samples.times.push(at);
                    samples.floats.push(value);
                }
                Some(Err(histogram)) => {
                    samples.histogram_times.push(at);
                    samples.histograms.push(Arc::new(histogram));
                }
            }
        }
        samples
    })
}

fn any_source() -> impl Strategy<Value = Memory> {
    let floats = || any_series(false, true);
    let all = (
        floats(),
        floats(),
        floats(),
        any_series(true, false),
        any_series(true, true),
    );
    all.prop_map(|(a, b, c, h, mixed)| {
        let labels =
            |name: &str, g: &str, i: &str| Labels::of([("__name__", name), ("g", g), ("i", i)]);
        let mut source = Memory {
            series: vec![
                (labels("m", "p", "1"), a),
                (labels("m", "p", "2"), b),
                (labels("m", "q", "3"), c),
                (labels("h", "p", "1"), h),
                (labels("c", "p", "1"), mixed),
            ],
        };
        source.series.sort_by(|a, b| a.0.cmp(&b.0));
        source
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// The moving windows of a range query give what each instant gives on its own.
    #[test]
    fn a_range_is_its_instants(source in any_source(), step_s in 7..60i64, first_s in -20..60i64) {
        for query in QUERIES {
            let (first, last) = (first_s * 1_000, 390_000);
            let range = Params { lookback: 35_000, ..Params::range(first, last, step_s * 1_000) };
            let mut expected = Vec::new();
            let mut failed = None;
            for step in 0..=(last - first) / range.step {
                let at = first + step * range.step;
                let instant = Params { first: at, last: at, step: 0, ..range };
                match run(&source, query, &instant) {
                    Ok(answer) => expected.extend(points(&answer.value)),
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            expected.sort();
            match run(&source, query, &range) {
                Ok(answer) => {
                    prop_assert_eq!(failed, None, "{}", query);
                    prop_assert_eq!(points(&answer.value), expected, "{}", query);
                }
                Err(error) => prop_assert_eq!(Some(error), failed, "{}", query),
            }
        }
    }
}
