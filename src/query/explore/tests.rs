//! The explorer's questions over a small set of series in memory.

use std::time::{Duration, Instant};

use super::catalogue::{self, Filter, Shape};
use super::plot::{Ask, Cell, Grid, Plot, plot};
use super::sparks;
use super::suggest::suggest;
use super::thin;
use super::unit;
use crate::model::metric::{
    Exemplar, Labels, MatchOp, Matcher, Metadata, MetricKind, Millis, Sample, Value,
};
use crate::query::control::Control;
use crate::query::promql::parse;
use crate::query::promql::promqltest::memory::Memory;

const RANGE: Millis = Millis {
    first: 3_600_000,
    last: 7_200_000,
};

fn control() -> Control {
    Control::new(1, Instant::now(), Duration::from_secs(30), u64::MAX)
}

fn add(memory: &mut Memory, labels: &[(&str, &str)], value: impl Fn(i64) -> f64) {
    let samples = (0..=480).map(|n| Sample {
        at: n * 15_000,
        value: Value::Float(value(n)),
    });
    memory.append(Labels::of(labels.iter().copied()), samples);
}

fn describe(memory: &mut Memory, metric: &str, kind: MetricKind, unit: &str, help: &str) {
    memory.describe(Metadata {
        metric: metric.to_owned(),
        kind,
        unit: unit.to_owned(),
        help: help.to_owned(),
    });
}

/// Buckets, count and sum, with two exemplars.
fn add_histogram(memory: &mut Memory) {
    for (le, share) in [("0.1", 1.0), ("1", 9.0), ("+Inf", 10.0)] {
        let labels = [
            ("__name__", "http_duration_seconds_bucket"),
            ("job", "shop"),
            ("le", le),
        ];
        add(memory, &labels, |n| n as f64 * share);
    }
    add(
        memory,
        &[("__name__", "http_duration_seconds_count"), ("job", "shop")],
        |n| n as f64 * 10.0,
    );
    add(
        memory,
        &[("__name__", "http_duration_seconds_sum"), ("job", "shop")],
        |n| n as f64 * 4.0,
    );
    let bucket = [
        ("__name__", "http_duration_seconds_bucket"),
        ("job", "shop"),
        ("le", "1"),
    ];
    for (at, value) in [(5_000_000, 0.7), (5_001_000, 0.9)] {
        memory.append_exemplar(
            Labels::of(bucket),
            Exemplar {
                at,
                value,
                labels: Labels::of([("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736")]),
            },
        );
    }
}

/// A counter of two routes, a gauge, a histogram with an exemplar, an info.
fn shop() -> Memory {
    let mut memory = Memory::default();
    for (route, speed) in [("/pay", 3.0), ("/cart", 6.0)] {
        let labels = [
            ("__name__", "http_requests_total"),
            ("job", "shop"),
            ("route", route),
        ];
        add(&mut memory, &labels, |n| n as f64 * speed);
    }
    add(
        &mut memory,
        &[("__name__", "heap_bytes"), ("job", "shop")],
        |n| 1e6 + n as f64,
    );
    add(
        &mut memory,
        &[("__name__", "heap_bytes"), ("job", "cron")],
        |_| 5e6,
    );
    add_histogram(&mut memory);
    add(
        &mut memory,
        &[
            ("__name__", "build_info"),
            ("job", "shop"),
            ("version", "1"),
        ],
        |_| 1.0,
    );
    describe(
        &mut memory,
        "http_requests_total",
        MetricKind::Counter,
        "",
        "Requests served",
    );
    describe(
        &mut memory,
        "http_duration_seconds",
        MetricKind::Histogram,
        "seconds",
        "How long requests took",
    );
    memory
}

fn ask(texts: &[&str]) -> Ask {
    Ask {
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        range: RANGE,
        step: None,
        all: false,
        rows: true,
        lines: true,
    }
}

fn plotted(texts: &[&str]) -> Plot {
    plot(&shop(), &ask(texts), 1_000_000, &control()).expect("a step that fits")
}

#[test]
fn several_expressions_share_one_grid() {
    let plot = plotted(&[
        "sum(rate(http_requests_total[5m]))",
        "heap_bytes > 2e6",
        "sum(",
        "",
    ]);
    assert_eq!(
        plot.grid,
        Grid {
            first: 3_600_000,
            step: 10_000,
            steps: 361
        }
    );
    let lines: Vec<_> = plot
        .lines
        .iter()
        .map(|l| (l.of, l.labels.to_string(), l.values.len()))
        .collect();
    assert_eq!(
        lines,
        [
            (0, "{}".to_owned(), 361),
            (1, "heap_bytes{job=\"cron\"}".to_owned(), 361)
        ]
    );
    assert!((plot.lines[0].values[100] - 0.6).abs() < 1e-9);
    let mistake = plot.outcomes[2].mistake.as_ref().expect("a mistake");
    assert_eq!(mistake.position, "1:5");
    assert_eq!(plot.rows.len(), 2);
    assert_eq!(plot.rows[1].value, Cell::Float(5e6));
    assert_eq!(
        plot.unit().key(),
        "",
        "requests and bytes have no unit in common"
    );
}

#[test]
fn what_is_no_line_is_said_and_stands_in_the_table() {
    let plot = plotted(&["http_requests_total[1m]"]);
    assert!(plot.lines.is_empty());
    let problem = plot.outcomes[0].problem.as_deref().expect("a problem");
    assert!(problem.starts_with("gives a range vector"), "{problem}");
    assert_eq!(
        plot.rows[0].value,
        Cell::Text("4 samples, the last is 2880".to_owned())
    );
}

#[test]
fn only_the_largest_lines_are_kept_and_all_are_counted() {
    let mut memory = Memory::default();
    for n in 0..120_i64 {
        let name = format!("{n:03}");
        add(&mut memory, &[("__name__", "m"), ("n", &name)], |_| {
            n as f64
        });
    }
    let plot = plot(&memory, &ask(&["m"]), 10_000_000, &control()).expect("fits");
    assert_eq!((plot.lines.len(), plot.lines_total), (50, 120));
    assert_eq!(
        plot.lines[0].labels.get("n"),
        Some("070"),
        "the order is that of the labels"
    );
    let all = Ask {
        all: true,
        ..ask(&["m"])
    };
    let all = super::plot::plot(&memory, &all, 10_000_000, &control()).expect("fits");
    assert_eq!(all.lines.len(), 120);
}

#[test]
fn limits_are_told_with_what_to_change() {
    let fine = Ask {
        step: Some(100),
        ..ask(&["up"])
    };
    let refused = plot(&shop(), &fine, 1_000_000, &control()).expect_err("36,000 points");
    assert!(
        refused.contains("at most 11000") && refused.contains("raise the step"),
        "{refused}"
    );
    let plot = plot(&shop(), &ask(&["heap_bytes"]), 10, &control()).expect("fits");
    let problem = plot.outcomes[0]
        .problem
        .as_deref()
        .expect("too many samples");
    assert!(problem.contains("limits.memory"), "{problem}");
}

#[test]
fn exemplars_come_with_what_is_asked_of_their_series() {
    let quantile = "histogram_quantile(0.95, sum by (le) (rate(http_duration_seconds_bucket[5m])))";
    let plot = plotted(&[quantile]);
    assert_eq!(
        (plot.examples.len(), plot.examples_total),
        (1, 2),
        "two in one column of pixels"
    );
    assert_eq!(plot.examples[0].exemplar.value, 0.9);
    assert_eq!(plot.examples[0].unit.key(), "s");
    assert_eq!(plot.unit().key(), "s");
    assert!(plotted(&["heap_bytes"]).examples.is_empty());
}

#[test]
fn extremes_stay_when_points_go() {
    let mut values: Vec<f64> = (0..1_000).map(f64::from).collect();
    (values[501], values[502]) = (-7.0, 9_999.0);
    values[10..20].fill(f64::NAN);
    let bucket = thin::bucket(values.len(), 200);
    let thinned = thin::extremes(&values, bucket);
    assert_eq!((bucket, thinned.len()), (10, 200));
    assert!(thinned.contains(&-7.0) && thinned.contains(&9_999.0));
    assert!(
        thinned[2].is_nan() && thinned[3].is_nan(),
        "a gap stays one"
    );
    let times = thin::times(0, 1_000, values.len(), bucket);
    assert_eq!((times.len(), times[1], times[2]), (200, 5_000, 10_000));
    assert_eq!(thin::extremes(&[1.0, 2.0], 1), [1.0, 2.0]);
    assert_eq!(thin::bucket(200, 200), 1);
}

#[track_caller]
fn check_unit(text: &str, expect: &str) {
    let said = |name: &str| {
        (name == "odd_name").then(|| Metadata {
            metric: name.to_owned(),
            kind: MetricKind::Gauge,
            unit: "bytes".to_owned(),
            help: String::new(),
        })
    };
    let expr = parse(text).expect("PromQL");
    assert_eq!(unit::of(&expr, &said).key(), expect, "{text}");
}

#[test]
fn units_follow_what_is_done() {
    check_unit("node_memory_free_bytes", "By");
    check_unit("odd_name", "By");
    check_unit("rate(net_bytes_total[5m])", "By/s");
    check_unit("sum(rate(http_requests_total[5m]))", "/s");
    check_unit("rate(cpu_seconds_total[5m])", "");
    check_unit("histogram_quantile(0.9, rate(x_seconds_bucket[5m]))", "s");
    check_unit("rate(x_seconds_sum[5m]) / rate(x_seconds_count[5m])", "");
    check_unit("rate(x_total{e=\"1\"}[5m]) / rate(x_total[5m])", "1");
    check_unit("100 * (a_bytes / b_bytes)", "%");
    check_unit("count(a_bytes)", "");
    check_unit("a_bytes > 5", "By");
    check_unit("a_bytes > bool 5", "");
    check_unit("process_start_time_seconds", "");
    check_unit("room_celsius", "celsius");
}

#[test]
fn metrics_are_families_with_a_query_each() {
    let listing = catalogue::list(&shop(), RANGE, &Filter::default()).expect("in memory");
    let found: Vec<_> = listing
        .families
        .iter()
        .map(|f| (f.name.as_str(), f.shape))
        .collect();
    assert_eq!(
        found,
        [
            ("build_info", Shape::Info),
            ("heap_bytes", Shape::Gauge),
            ("http_duration_seconds", Shape::Classic),
            ("http_requests_total", Shape::Counter),
        ]
    );
    assert_eq!(listing.prefixes[0], ("http".to_owned(), 2));
    let job = Matcher::new("job", MatchOp::Equal, "shop").expect("a matcher");
    let texts = catalogue::queries(&listing.families[2], &[job], "5m");
    assert_eq!(
        texts[1].1,
        "histogram_quantile(0.95, sum by (le) (rate(http_duration_seconds_bucket{job=\"shop\"}[5m])))"
    );
    for (_, text) in &texts {
        parse(text).expect("PromQL");
    }
    let filter = Filter {
        words: "requests served".to_owned(),
        ..Filter::default()
    };
    let found = catalogue::list(&shop(), RANGE, &filter).expect("in memory");
    assert_eq!(
        (found.families.len(), found.total),
        (1, 4),
        "help is searched"
    );
    let filter = Filter {
        prefix: "heap".to_owned(),
        ..Filter::default()
    };
    let found = catalogue::list(&shop(), RANGE, &filter).expect("in memory");
    assert_eq!(found.families.len(), 1);
}

#[test]
fn every_family_has_its_small_chart() {
    let source = shop();
    let listing = catalogue::list(&source, RANGE, &Filter::default()).expect("in memory");
    let drawn = sparks::draw(
        &source,
        &listing.families,
        (RANGE, &[]),
        1_000_000,
        &control(),
        Instant::now(),
    );
    let found: Vec<_> = drawn
        .iter()
        .map(|s| (s.lines.len(), s.unit.key(), s.problem.clone()))
        .collect();
    let of = |lines: usize, unit: &str| (lines, unit.to_owned(), None);
    assert_eq!(found, [of(1, ""), of(2, "By"), of(3, "s"), of(1, "/s")]);
    assert!(drawn[2].lines[1].0 == "p95" && drawn[2].lines[1].1[30] > 0.9);
}

#[track_caller]
fn check_offers(text: &str, expect: &[&str]) {
    let at = text.find('|').expect("a caret");
    let text = text.replace('|', "");
    let found = suggest(&shop(), &text, at, RANGE).expect("in memory");
    let inserts: Vec<&str> = found.iter().map(|one| one.insert.as_str()).collect();
    assert_eq!(
        &inserts[..expect.len().min(inserts.len())],
        expect,
        "{text}"
    );
}

#[test]
fn completions_come_from_the_series() {
    check_offers("heap|", &["heap_bytes"]);
    check_offers("sum(rate(httpreq|", &["http_requests_total"]);
    check_offers("http_requests_total{|", &["job=\"", "route=\""]);
    check_offers("http_requests_total{route=\"|", &["/pay\"", "/cart\""]);
    check_offers("http_requests_total{route=~|", &["\"/pay\"", "\"/cart\""]);
    check_offers("sum by (|) (http_requests_total)", &["job", "route"]);
    check_offers("rate(x[1|", &["1d", "1h", "1m", "10m", "15m"]);
    check_offers("histogram_qu|", &["histogram_quantile("]);
    let found = suggest(&shop(), "http_r", 6, RANGE).expect("in memory");
    let first = &found[0];
    assert_eq!(
        (first.detail.as_str(), first.help.as_str(), first.series),
        ("counter", "Requests served", Some(2))
    );
    let rate = suggest(&shop(), "rate", 4, RANGE).expect("in memory");
    assert_eq!(rate[0].detail, "(range vector)");
}
