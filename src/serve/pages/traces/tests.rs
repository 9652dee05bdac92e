//! The trace list in its states, from rows made by hand to HTML.

use askama::Template;
use axum::http::HeaderMap;

use super::TracesPage;
use super::search::Answer;
use crate::model::{SpanId, Timestamp, TraceId};
use crate::query::{MatchedSpan, Scatter, ScatterCell, TraceCursor, TraceRow};
use crate::serve::page_url::PageUrl;
use crate::serve::pages::logs::sample::NOW_NS;
use crate::serve::request::PageRequest;
use crate::serve::shell::ShellData;

const MS: u64 = 1_000_000;

/// Service, name, duration, spans, errors, services.
type Sample = (
    &'static str,
    &'static str,
    u64,
    u64,
    u64,
    &'static [&'static str],
);

const ROWS: [Sample; 8] = [
    (
        "gateway",
        "POST /checkout",
        1240 * MS,
        354,
        3,
        &[
            "catalog", "checkout", "gateway", "mailer", "payments", "postgres",
        ],
    ),
    (
        "gateway",
        "POST /checkout",
        812 * MS,
        341,
        0,
        &["catalog", "checkout", "gateway", "payments"],
    ),
    (
        "gateway",
        "GET /cart",
        48 * MS,
        12,
        0,
        &["checkout", "gateway", "redis"],
    ),
    (
        "worker",
        "receipts.send <b>x</b>",
        3 * MS,
        4,
        1,
        &["mailer", "worker"],
    ),
    (
        "gateway",
        "GET /catalog/items",
        71 * MS,
        31,
        0,
        &["catalog", "gateway"],
    ),
    ("gateway", "GET /health", 120_000, 1, 0, &["gateway"]),
    (
        "gateway",
        "POST /checkout",
        702 * MS,
        339,
        0,
        &["checkout", "gateway", "payments"],
    ),
    ("mailer", "flush", 22 * MS, 2, 0, &["mailer"]),
];

fn answer() -> Answer {
    let mut answer = Answer::empty("service:gateway duration:>500ms".to_owned());
    let row =
        |(at, (service, name, duration_ns, spans, errors, services)): (usize, &Sample)| TraceRow {
            trace_id: TraceId([at as u8 + 1; 16]),
            root_service: (*service).to_owned(),
            root_name: (*name).to_owned(),
            start: Timestamp(NOW_NS - at as u64 * 7_311 * MS),
            duration_ns: *duration_ns,
            span_count: *spans,
            error_count: *errors,
            services: services.iter().map(|name| (*name).to_owned()).collect(),
            matched: (at == 1 || at == 3)
                .then(|| MatchedSpan {
                    span_id: SpanId([9; 8]),
                    service: "postgres".to_owned(),
                    name: "SELECT items".to_owned(),
                    start: Timestamp(NOW_NS),
                    duration_ns: 418 * MS,
                    error: at == 3,
                    root: false,
                })
                .into_iter()
                .collect(),
            matched_count: 3,
        };
    answer.traces = ROWS.iter().enumerate().map(row).collect();
    answer.total = 4_812;
    let cell = |n: u32| ScatterCell {
        column: n * 7 % 96,
        row: (n * n + n) % 11 + u32::from(n.is_multiple_of(9)) * 8,
        count: u64::from(n % 13),
        errors: u64::from(n.is_multiple_of(9)),
        trace_id: TraceId([1; 16]),
    };
    answer.scatter = Scatter {
        columns: 96,
        rows: 20,
        duration_min_ns: 90_000,
        duration_max_ns: 2_000 * MS,
        cells: (1..260).map(cell).filter(|cell| cell.count > 0).collect(),
    };
    answer.next = Some(TraceCursor {
        start: Timestamp(1),
        trace_id: TraceId([8; 16]),
    });
    answer.stats.searched = 1.0;
    answer
}

#[track_caller]
fn draw(address: &str, answer: &Answer) -> String {
    let request = PageRequest::new(PageUrl::new("/traces", address), &HeaderMap::new(), NOW_NS);
    let names = [
        "gateway", "checkout", "catalog", "postgres", "redis", "worker", "payments", "mailer",
    ];
    let services = names
        .iter()
        .zip(0..)
        .map(|(name, index)| ((*name).to_owned(), index))
        .collect();
    let data = ShellData {
        services,
        ..ShellData::default()
    };
    TracesPage::new(&request, answer, data)
        .render()
        .expect("the page renders")
}

#[test]
fn a_row_leads_to_the_trace_and_to_the_span_that_matched() {
    let html = draw(
        "query=service:gateway+duration:>500ms&start=1h&spans=root",
        &answer(),
    );
    let id = "02".repeat(16);
    assert!(html.contains(&format!("/trace/{id}?start=1h\"")));
    assert!(
        html.contains(&format!("/trace/{id}?start=1h&#38;span=0909090909090909")),
        "askama escapes &"
    );
    assert!(html.contains("SELECT items") && html.contains("+2 more"));
    assert!(
        html.contains("+3</span>"),
        "services beyond the third are counted"
    );
    assert!(!html.contains("<b>x</b>") && !html.contains(" style="));
    assert!(html.contains("rel=\"next\"") && html.contains("f-err"));
    assert!(html.contains("spans=entry"));
}

#[test]
fn every_empty_state_has_a_next_step() {
    let mut answer = Answer::empty("a b".to_owned());
    assert!(draw("query=a+b", &answer).contains("Drop the last term"));
    answer.wider = Some(7);
    assert!(draw("query=a+b&x=1", &answer).contains("7 in the last 7 d."));
    assert!(draw("", &Answer::empty(String::new())).contains("href=\"/start\""));
}
