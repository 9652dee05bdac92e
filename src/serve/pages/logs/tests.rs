//! The log page in its states, from records made by hand to HTML.

use askama::Template;
use axum::http::HeaderMap;

use super::search::Answer;
use super::{DetailPart, LogsPage, sample};
use crate::model::{LogRecord, SpanId, Timestamp, TraceId, Value};
use crate::query::{self, Partial, lang};
use crate::serve::page_url::PageUrl;
use crate::serve::request::PageRequest;
use crate::serve::shell::ShellData;

/// Level, service, text and attributes of a sample line.
type Line = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const LINES: [Line; 17] = [
    (
        "ERROR",
        "payments",
        "declined",
        &[
            ("order", "8f2c-11"),
            ("code", "card_expired"),
            ("psp", "402"),
            ("attempt", "2"),
        ],
    ),
    (
        "WARN",
        "payments",
        "psp slow, 188 ms without reply",
        &[("order", "8f2c-11")],
    ),
    (
        "ERROR",
        "payments",
        "psp timeout after 240 ms",
        &[
            ("order", "8f2c-11"),
            ("attempt", "1"),
            ("error.kind", "psp_timeout"),
            ("user.id", "u_2291"),
        ],
    ),
    (
        "WARN",
        "checkout",
        "slow query 418 ms",
        &[
            ("rows", "312"),
            ("sql", "SELECT * FROM items WHERE id = $1"),
        ],
    ),
    (
        "WARN",
        "checkout",
        "pool wait 96 ms",
        &[("in_use", "31/32"), ("waiters", "4")],
    ),
    (
        "ERROR",
        "checkout",
        "TimeoutError: pool exhausted (32/32)",
        &[("route", "POST /checkout"), ("user", "u_2291")],
    ),
    (
        "WARN",
        "payments",
        "card declined",
        &[("code", "insufficient_funds"), ("order", "8f2b-97")],
    ),
    (
        "WARN",
        "checkout",
        "retry 2/3 payments.ChargeCard after 504",
        &[("backoff", "120ms")],
    ),
    (
        "ERROR",
        "payments",
        "psp timeout after 240 ms",
        &[("order", "8f2b-97"), ("attempt", "1")],
    ),
    ("WARN", "checkout", "slow query 402 ms", &[("rows", "298")]),
    (
        "WARN",
        "checkout",
        "pool wait 71 ms",
        &[("in_use", "30/32"), ("waiters", "2")],
    ),
    (
        "FATAL",
        "checkout",
        "worker 3 panicked at cart/repo.rs:141: pool closed; restarting",
        &[],
    ),
    (
        "ERROR",
        "checkout",
        "TimeoutError: pool exhausted (32/32)",
        &[("route", "POST /checkout"), ("user", "u_1187")],
    ),
    (
        "INFO",
        "gateway",
        "\u{1b}[32mGET\u{1b}[0m /cart 200 in 12 ms",
        &[],
    ),
    ("DEBUG", "gateway", "cache miss", &[("key", "price:42")]),
    ("TRACE", "gateway", "enter handle_request", &[]),
    (
        "INFO",
        "catalog",
        "<script>alert(1)</script> </textarea> \u{202e}gnissim\u{2066} \0 🔥 مرحبا",
        &[],
    ),
];

fn records() -> Vec<LogRecord> {
    let mut ago_ms = 0;
    let record = |(level, service, body, attributes): &(&str, &str, &str, &[(&str, &str)])| {
        ago_ms += 211;
        let mut record = sample::record(ago_ms, level, service, body);
        for (key, value) in *attributes {
            record
                .attributes
                .push(((*key).to_owned(), Value::Str((*value).to_owned())));
        }
        if ago_ms % 3 != 0 {
            record.trace_id = Some(TraceId([(ago_ms / 7) as u8 | 1; 16]));
            record.span_id = Some(SpanId([1; 8]));
        }
        record
    };
    LINES.iter().map(record).collect()
}

fn histogram() -> query::Histogram {
    let start_ns = sample::NOW_NS - 3_600_000_000_000;
    let bucket = |at: u64| {
        let late = u64::from(at > 88);
        let by = vec![2 + at % 3, at % 4 + 8 * late, (at * 7 % 11) * late];
        let (start, end) = (
            start_ns + at * 30_000_000_000,
            start_ns + (at + 1) * 30_000_000_000,
        );
        query::Bucket {
            start: Timestamp(start),
            end: Timestamp(end),
            count: by.iter().sum(),
            by,
        }
    };
    let buckets: Vec<_> = (0..120).map(bucket).collect();
    query::Histogram {
        bucket_ns: 30_000_000_000,
        series: ["INFO", "WARN", "ERROR"].map(str::to_owned).to_vec(),
        total: buckets.iter().map(|bucket| bucket.count).sum(),
        buckets,
        stats: query::Stats::default(),
    }
}

fn facets() -> Vec<query::Facet> {
    let facet = |name: &str, coverage: f64, values: &[(&str, u64)]| query::Facet {
        name: name.to_owned(),
        coverage,
        values: values
            .iter()
            .map(|(value, count)| query::FacetValue {
                value: (*value).to_owned(),
                count: *count,
            })
            .collect(),
        more: 0,
        numbers: (name == "duration_ms").then_some((1.0, 1204.0)),
    };
    vec![
        facet(
            "severity",
            1.0,
            &[
                ("INFO", 18_240),
                ("WARN", 792),
                ("ERROR", 409),
                ("FATAL", 3),
            ],
        ),
        facet(
            "service",
            1.0,
            &[
                ("checkout", 811),
                ("payments", 393),
                ("gateway", 64),
                ("catalog", 12),
            ],
        ),
        facet(
            "http.route",
            0.9,
            &[
                ("POST /checkout", 704),
                ("POST /v1/charge", 388),
                ("GET /cart", 97),
                ("/health", 2160),
            ],
        ),
        facet("host.name", 1.0, &[("shop-1", 655), ("shop-2", 549)]),
        facet("duration_ms", 0.61, &[]),
        facet(
            "service.version",
            1.0,
            &[("1.8.2", 811), ("1.3.0", 371), ("1.2.9", 22)],
        ),
        facet("user.id", 0.2, &[("u_1", 1)]),
    ]
}

fn answer(query: &str) -> Answer {
    let mut answer = Answer::empty(query.to_owned());
    answer.records = records();
    answer.older = Some(query::LogCursor {
        id: answer.records[16].id,
        shown: 1,
    });
    answer.histogram = Some(histogram());
    answer.total = 1_204;
    answer.facets = Some(query::Facets {
        fields: facets(),
        records: 1_204,
        approximate: false,
        stats: answer.stats,
    });
    answer.stats.searched = 1.0;
    answer.stats.scanned_bytes = 2_200_000;
    answer.stats.elapsed = std::time::Duration::from_millis(38);
    answer
}

fn request(address: &str) -> PageRequest {
    PageRequest::new(
        PageUrl::new("/logs", address),
        &HeaderMap::new(),
        sample::NOW_NS,
    )
}

#[track_caller]
fn draw(address: &str, answer: &Answer) -> String {
    let services = ["payments", "checkout", "gateway", "catalog"].map(str::to_owned);
    let services = services.into_iter().zip([6, 1, 0, 2]).collect();
    let data = ShellData {
        services,
        ..ShellData::default()
    };
    LogsPage::new(&request(address), answer, data)
        .render()
        .expect("the page renders")
}

#[test]
fn the_page_shows_lines_histogram_and_facets() {
    let html = draw(
        "query=service:checkout,payments+level:>%3Dwarn+declined&start=1h",
        &answer("service:checkout,payments level:>=warn declined"),
    );
    assert!(html.contains("<mark>declined</mark>"));
    assert_eq!(html.matches("<tr class=\"ln l-").count(), LINES.len());
    assert!(html.contains("/trace/"));
    assert!(html.contains("rel=\"next\""));
    assert!(
        !html.contains(" style=") && !html.contains(" onclick"),
        "the policy forbids both"
    );
    assert!(html.contains("<i>service:</i>checkout,payments"));
    assert!(
        html.contains("class=\"fv on\""),
        "chosen facet values are marked"
    );
}

#[test]
fn what_senders_wrote_is_text() {
    let html = draw("", &answer(""));
    assert!(!html.contains("<script>alert") && !html.contains("</textarea>"));
    assert!(html.contains("U+202E") && !html.contains('\u{202e}') && !html.contains('\0'));
    assert!(html.contains("<i class=\"a2\">GET</i>"));
}

#[test]
fn an_open_line_shows_its_record() {
    let mut answer = answer("");
    answer.records[3].body = Value::Str(
        r#"{"message":"psp timeout","psp":{"host":"psp.example","status":504},"items":[1,2]}"#
            .to_owned(),
    );
    answer.records[3].attributes.push(("exception.stacktrace".to_owned(), Value::Str("Error: boom\n    at charge (/app/charge.js:88:3)\n    at n (/app/node_modules/x.js:1:1)".to_owned())));
    let id = answer.records[3].id.to_string();
    let html = draw(&format!("open={id}&cols=order,host.name"), &answer);
    for part in [
        "psp.example",
        "class=\"lib\"",
        "All logs of this trace",
        "Around this line",
        "aria-expanded=\"true\"",
    ] {
        assert!(html.contains(part), "{part}");
    }
    let part = DetailPart::new(&request("query=a"), &answer.records[3])
        .render()
        .expect("renders");
    assert!(part.contains("psp.example") && !part.contains("<html"));
}

#[test]
fn a_mistake_keeps_the_last_answer_and_offers_the_fix() {
    let mut answer = answer("service:checkout,payments level:>=warn");
    answer.query =
        "service:checkout,payments level:>=warn -http.route:\"/health\" duration_ms:>2oo"
            .to_owned();
    let position = answer.query.len() - 3;
    answer.mistake = Some(lang::Error {
        position,
        length: 3,
        column: position + 1,
        message: "2oo is not a number".to_owned(),
        hint: Some("duration_ms:>200".to_owned()),
    });
    let html = draw("query=x&start=1h", &answer);
    assert!(html.contains("<u>2oo</u>"));
    assert!(html.contains("column 75: 2oo is not a number."));
    assert!(html.contains("showing the last query that worked"));
    assert!(html.contains("aria-invalid=\"true\""));
}

#[test]
fn every_empty_state_has_a_next_step() {
    let mut answer = Answer::empty("a b".to_owned());
    assert!(draw("query=a+b", &answer).contains("Drop the last term"));
    answer.wider = Some((42, "24h".to_owned()));
    let html = draw("query=a+b&start=1h", &answer);
    assert!(
        html.contains("0 lines in the last 1 h, 42 in the last 24 h") && html.contains("start=24h")
    );
    assert!(draw("", &Answer::empty(String::new())).contains("href=\"/start\""));
    answer.failure = Some("the store cannot be read".to_owned());
    assert!(draw("query=a", &answer).contains("the store cannot be read"));
}

#[test]
fn a_cut_short_answer_says_so() {
    let mut answer = answer("a");
    answer.stats.partial = Some(Partial::Bytes);
    answer.stats.searched = 0.62;
    assert!(draw("query=a", &answer).contains("Searched 62.0 %."));
}

#[test]
fn neighbours_are_shown_around_the_line() {
    let mut answer = answer("");
    answer.pinned = Some(answer.records[5].id);
    answer.histogram = None;
    let html = draw(&format!("around={}", answer.records[5].id), &answer);
    assert!(html.contains("Around one line") && html.contains(" pinned\""));
    assert!(!html.contains("id=\"facets\""));
}

#[test]
fn five_hundred_lines_weigh_under_30_kib() {
    let mut answer = answer("level:>=warn");
    let lines = records();
    answer.records = (0..super::search::LINES)
        .map(|at| lines[at % lines.len()].clone())
        .collect();
    let html = draw("query=level:>%3Dwarn&start=1h", &answer);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, html.as_bytes()).expect("memory");
    let size = gzip.finish().expect("memory").len();
    assert!(size < 30 * 1024, "{size} bytes");
}
