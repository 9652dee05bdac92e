//! The explorer's pages over series in memory, as a browser without JavaScript gets them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use axum::http::HeaderMap;

use super::QueryPage;
use super::ask::Asked;
use super::browse::{BrowsePage, Found};
use crate::model::metric::{Exemplar, Labels, Metadata, MetricKind, Millis, Sample, Value};
use crate::query::Control;
use crate::query::explore::catalogue::{self, Filter};
use crate::query::explore::plot::{Ask, plot};
use crate::query::explore::sparks;
use crate::query::promql::promqltest::memory::Memory;
use crate::serve::page_url::PageUrl;
use crate::serve::request::PageRequest;
use crate::serve::shell::ShellData;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// Fri 20 Nov 2026 14:04:31 UTC.
const NOW_NS: u64 = 1_795_183_471_000_000_000;
const NOW_MS: i64 = (NOW_NS / 1_000_000) as i64;

fn series() -> Memory {
    let mut memory = Memory::default();
    for n in 0..60_i64 {
        let labels = [
            ("__name__", "jobs_total".to_owned()),
            ("n", format!("{n:02}<b>")),
        ];
        let samples = (0..240).map(|i| Sample {
            at: NOW_MS - 3_600_000 + i * 15_000,
            value: Value::Float((i * n) as f64),
        });
        memory.append(
            Labels::of(labels.iter().map(|(n, v)| (*n, v.as_str()))),
            samples,
        );
    }
    let labels = Labels::of([("__name__", "jobs_total"), ("n", "01<b>")]);
    let exemplar = Exemplar {
        at: NOW_MS - 60_000,
        value: 3.0,
        labels: Labels::of([("trace_id", TRACE)]),
    };
    memory.append_exemplar(labels, exemplar);
    memory.describe(Metadata {
        metric: "jobs_total".to_owned(),
        kind: MetricKind::Counter,
        unit: String::new(),
        help: "Jobs <done>".to_owned(),
    });
    memory
}

fn control() -> Control {
    Control::new(1, Instant::now(), Duration::from_secs(30), u64::MAX)
}

fn request(query: &str) -> PageRequest {
    PageRequest::new(PageUrl::new("/explore", query), &HeaderMap::new(), NOW_NS)
}

fn drawn(query: &str) -> String {
    let request = request(query);
    let asked = Asked::of(&request);
    let ask = asked.step.clone().map(|step| Ask {
        texts: asked.texts.clone(),
        range: asked.range,
        step,
        all: asked.all,
        rows: asked.view.has_table(),
        lines: asked.view.has_chart(),
    });
    let plot = ask.and_then(|ask| plot(&series(), &ask, 10_000_000, &control()));
    let data = ShellData::default();
    QueryPage::new(&request, &asked, plot, Duration::from_millis(3), data)
        .render()
        .expect("rendered")
}

#[track_caller]
fn check(query: &str, has: &[&str], has_not: &[&str]) {
    let page = drawn(query);
    for text in has {
        assert!(page.contains(text), "{text} is missing in:\n{page}");
    }
    for text in has_not {
        assert!(!page.contains(text), "{text} is in:\n{page}");
    }
}

#[test]
fn a_chart_and_its_legend_need_no_script() {
    check(
        "expr=sum(rate(jobs_total[5m]))",
        &[
            "<figure class=\"plot\"",
            "<path class=\"svc-1\" d=\"M",
            "data-unit=\"/s\"",
            "118/s",
            "step 10s",
        ],
        &["<h2>Values at", "series shown"],
    );
    check(
        "expr=sum(rate(jobs_total[5m]))&view=table",
        &["<h2>Values at", "118/s"],
        &["<figure"],
    );
    check(
        "expr=sum(jobs_total)&view=both&stack=1",
        &["<h2>Values at", "<figure", "class=\"ar svc-1\""],
        &[],
    );
}

#[test]
fn more_lines_than_a_chart_bears_are_told() {
    check(
        "expr=jobs_total",
        &[
            "50 of 60 series shown",
            "Show all 60",
            "{n=&#34;59&#60;b&#62;&#34;}",
        ],
        &["<b>&#34;"],
    );
    check(
        "expr=jobs_total&all=1",
        &["{n=&#34;00&#60;b&#62;&#34;}"],
        &["series shown"],
    );
}

#[test]
fn a_mistake_is_underlined_where_it_stands_and_the_others_go_on() {
    check(
        "expr=sum(jobs_total)&expr=rate(jobs_total)",
        &[
            "1:6: ",
            "rate(<u>jobs_total</u>)",
            "<path class=\"svc-1\" d=\"M",
            "PromQL expression B",
        ],
        &[],
    );
    check(
        "expr=jobs_total&step=banana",
        &["Nothing was computed", "cannot read &#34;banana&#34;"],
        &["<figure"],
    );
    check(
        "expr=jobs_total&step=10ms",
        &["at most 11000"],
        &["<figure"],
    );
}

#[test]
fn exemplars_are_links_to_their_traces() {
    check(
        "expr=sum(jobs_total)",
        &[
            &format!("/trace/{TRACE}"),
            "aria-label=\"Exemplar 3, trace 4bf92f35\"",
            "1 of 1",
        ],
        &[],
    );
}

#[test]
fn an_isolated_line_is_drawn_alone() {
    let page = drawn("expr=jobs_total");
    let id = page.split("data-line=\"").nth(2).expect("a second line");
    let id = id.split('"').next().expect("quoted");
    let alone = drawn(&format!("expr=jobs_total&only={id}"));
    assert_eq!(
        alone.matches(" d=\"M").count() - alone.matches("M0-5").count(),
        1
    );
    assert_eq!(alone.matches("class=\"off\"").count(), 49);
    assert!(alone.contains("show all"));
    let gone = drawn("expr=jobs_total&only=ffffffff");
    assert_eq!(
        gone.matches("class=\"off\"").count(),
        0,
        "a line that is gone hides no other"
    );
}

#[test]
fn the_catalogue_draws_each_metric_with_its_query() {
    let request = request("find=jobs");
    let source = series();
    let range = Millis {
        first: NOW_MS - 3_600_000,
        last: NOW_MS,
    };
    let filter = Filter {
        words: "jobs".to_owned(),
        ..Filter::default()
    };
    let listing = catalogue::list(&source, range, &filter).expect("in memory");
    let sparks = sparks::draw(
        &source,
        &listing.families,
        (range, &[]),
        1_000_000,
        &control(),
        Instant::now(),
    );
    let found = Found {
        listing,
        sparks,
        jobs: Vec::new(),
        page: 1,
        label_error: None,
    };
    let page = BrowsePage::new(&request, found, ShellData::default());
    let page = page.render().expect("rendered");
    for text in [
        "jobs_total</h2>",
        "counter · rate",
        "rate%28jobs_total%5B5m%5D%29",
        "118/s",
        "1 metric",
        "title=\"Jobs &#60;done&#62;\"",
    ] {
        assert!(page.contains(text), "{text} is missing in:\n{page}");
    }
}

/// The script and the page read the same address.
#[tokio::test]
async fn the_points_are_those_of_the_page() {
    let clock = crate::observe::Clock::Set(Arc::new(std::sync::atomic::AtomicU64::new(NOW_NS)));
    let mut app = crate::serve::state::App::for_tests(crate::config::Settings::default(), clock);
    app.engine.series_of_test = Some(Arc::new(series()));
    let query = "expr=jobs_total&expr=sum(&start=2026-11-20T13:04:31Z&end=2026-11-20T14:04:31Z";
    let app = axum::extract::State(Arc::new(app));
    let answer = crate::serve::api::explore::points(app, request(query)).await;
    let axum::Json(answer) = answer.expect("an answer");
    assert_eq!(answer["series_total"], 60);
    assert_eq!(answer["truncated"], true);
    let series = answer["series"].as_array().expect("series");
    assert_eq!(series.len(), 50);
    let times = answer["times"].as_array().expect("times").len();
    assert!(
        series
            .iter()
            .all(|one| one["values"].as_array().is_some_and(|v| v.len() == times))
    );
    assert_eq!(answer["exemplars"][0]["trace_id"], TRACE);
    let error = answer["expressions"][1]["error"]
        .as_str()
        .expect("an error");
    assert!(error.starts_with("1:5: parse error"), "{error}");
}
