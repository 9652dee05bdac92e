//! The page from made-up traces: folding, bars, the drawer, and the HTML that comes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use askama::Template as _;
use axum::http::HeaderMap;

use super::fold::{Folds, Place};
use super::load::{Loaded, Which};
use super::span::SpanLogs;
use super::{Colours, SpanFragment, span_view, trace_page};
use crate::model::owned::{Event, Link, RecordId};
use crate::model::{LogRecord, Resource, Scope, Severity, Span, SpanId, Timestamp, TraceId, Value};
use crate::query::layout::{Skeleton, layout};
use crate::query::{LaidOut, Layout, LinkedFrom, SpanDetail, Stats, TraceDetail};
use crate::serve::page_url::PageUrl;
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell, ShellData};

const START_NS: u64 = 1_795_183_471_000_000_000;
const TRACE: TraceId = TraceId([0x5b; 16]);

/// Builds a trace; spans are named by their order, from 1.
#[derive(Default)]
struct Tree {
    spans: Vec<Span>,
}

impl Tree {
    /// `ms` is start and end from the start of the trace; `parent` 0 is none.
    fn add(&mut self, parent: usize, service: &str, name: &str, ms: (u64, u64)) -> usize {
        let id = |n: usize| SpanId((n as u64).to_be_bytes());
        let text = |text: &str| Value::Str(text.to_owned());
        let at = |ms: u64| Timestamp(START_NS + ms * 1_000_000);
        self.spans.push(Span {
            trace_id: TRACE,
            span_id: id(self.spans.len() + 1),
            parent: (parent > 0).then(|| id(parent)),
            trace_state: String::new(),
            flags: 1,
            name: name.to_owned(),
            kind: 2,
            start: at(ms.0),
            end: at(ms.1),
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            status_code: 0,
            status_message: String::new(),
            resource: Arc::new(Resource {
                service: service.to_owned(),
                schema_url: String::new(),
                attributes: vec![("service.name".to_owned(), text(service))],
            }),
            scope: Arc::new(Scope {
                name: "shop".to_owned(),
                version: "1".to_owned(),
                schema_url: String::new(),
                attributes: Vec::new(),
            }),
        });
        self.spans.len()
    }

    fn fail(&mut self, span: usize) -> &mut Span {
        let span = &mut self.spans[span - 1];
        span.status_code = 2;
        span
    }

    fn finish(mut self) -> TraceDetail {
        self.spans.sort_by_key(|span| (span.start, span.span_id));
        TraceDetail {
            trace_id: TRACE,
            spans: self.spans.into_iter().map(Arc::new).collect(),
            stats: Stats {
                scanned_records: 0,
                scanned_bytes: 0,
                elapsed: Duration::ZERO,
                partial: None,
                searched: 1.0,
            },
        }
    }
}

/// The checkout of the pictures: an N+1, a failing call inside a failing one, small change, and a
/// consumer that outlives its producer.
fn checkout() -> Tree {
    let mut tree = Tree::default();
    let root = tree.add(0, "gateway", "POST /checkout", (0, 1240));
    let order = tree.add(root, "checkout", "PlaceOrder", (22, 1212));
    let cart = tree.add(order, "checkout", "LoadCart", (26, 464));
    for n in 0..40 {
        tree.add(cart, "postgres", "SELECT items", (30 + n * 10, 38 + n * 10));
    }
    let charge = tree.add(order, "payments", "ChargeCard", (543, 1143));
    tree.fail(charge);
    let call = tree.add(charge, "payments", "POST psp/charge", (880, 1138));
    let text = |text: &str| Value::Str(text.to_owned());
    let failed = tree.fail(call);
    failed.attributes = vec![
        ("order.id".to_owned(), text("8f2c \"11\"")),
        ("http.response.status_code".to_owned(), Value::Int(402)),
    ];
    let trace = text("charge::authorize\n  at src/charge.rs:88\n  at /rustc/1/library/core.rs:2");
    failed.events = vec![Event {
        time: failed.start,
        name: "exception".to_owned(),
        attributes: vec![
            ("exception.type".to_owned(), text("CardDeclined")),
            ("exception.message".to_owned(), text("card <b>expired</b>")),
            ("exception.stacktrace".to_owned(), trace),
        ],
    }];
    for n in 0..14 {
        tree.add(
            charge,
            "payments",
            &format!("audit {n}"),
            (900 + n, 901 + n),
        );
    }
    let enqueue = tree.add(order, "worker", "enqueue receipt", (1150, 1162));
    let send = tree.add(enqueue, "mailer", "send receipt", (1160, 1236));
    tree.spans[send - 1].links = vec![Link {
        trace_id: Some(TRACE),
        span_id: Some(SpanId((call as u64).to_be_bytes())),
        attributes: Vec::new(),
    }];
    tree
}

fn load(trace: TraceDetail, span: Option<&str>) -> Loaded {
    let layout = layout(&Skeleton::of(&trace));
    let row = Which::parse(span).row(&layout);
    let (span_logs, trace_logs) = (SpanLogs::default(), 84);
    let span = row.map(|row| detail(&trace, &layout, row));
    let laid_out = Arc::new(LaidOut {
        layout,
        version: 0xab,
        stats: trace.stats,
    });
    Loaded {
        laid_out,
        row,
        span,
        usual: None,
        span_logs,
        trace_logs,
    }
}

/// As the engine reads it, over a trace at hand.
fn detail(trace: &TraceDetail, layout: &Layout, row: u32) -> SpanDetail {
    let span = trace.spans[layout.rows[row as usize].span as usize].clone();
    let links = |other: &&Arc<Span>| {
        let mut to = other.links.iter();
        to.any(|link| (link.trace_id, link.span_id) == (Some(TRACE), Some(span.span_id)))
    };
    let from = trace.spans.iter().filter(links).map(|other| LinkedFrom {
        trace_id: TRACE,
        span_id: other.span_id,
        service: other.resource.service.clone(),
        name: other.name.clone(),
    });
    SpanDetail {
        linked_from: from.collect(),
        span,
    }
}

fn request(query: &str) -> PageRequest {
    let url = PageUrl::new(&format!("/trace/{TRACE}"), query);
    PageRequest::new(url, &HeaderMap::new(), START_NS)
}

fn render(loaded: &Loaded, query: &str) -> String {
    let page = request(query);
    let shell = Shell::new(&page, Section::Traces, "trace", ShellData::default());
    let colours = Colours::new(&[("gateway".to_owned(), 0), ("payments".to_owned(), 6)]);
    trace_page(&page, shell, loaded, &colours)
        .render()
        .expect("the page renders")
}

/// The visible lines as text: two spaces per level, `v` open, `>` folded.
fn outline(loaded: &Loaded, marks: &str) -> String {
    let layout = loaded.layout();
    let mut folds = Folds::new(layout, &layout.outline(200));
    folds.toggle(marks);
    let mut out = String::new();
    for line in folds.lines(layout) {
        let sign = match line.open {
            None => '-',
            Some(true) => 'v',
            Some(false) => '>',
        };
        let name = match line.place {
            Place::Row(row) => {
                layout.operations[layout.rows[row as usize].operation as usize].clone()
            }
            Place::Bundle(at) => {
                let bundle = &folds.bundles[at as usize];
                format!("{} {}", folds.mark(line.place), bundle.rows.len())
            }
        };
        let indent = "  ".repeat(line.level as usize);
        out.push_str(&format!(
            "{indent}{sign} {name} {}/{}\n",
            line.position, line.size
        ));
    }
    out
}

#[test]
fn what_says_nothing_is_folded_and_opens_by_its_mark() {
    let loaded = load(checkout().finish(), None);
    let all = outline(&loaded, "");
    let expected = "\
v POST /checkout 1/1
  v PlaceOrder 1/1
    v LoadCart 1/3
      > g3 40 1/1
    v ChargeCard 2/3
      - POST psp/charge 1/2
      > s45 14 2/2
    v enqueue receipt 3/3
      - send receipt 1/1
";
    assert_eq!(all, expected);
    let opened = outline(&loaded, "g3");
    assert!(
        opened.contains("      v g3 40 1/1\n        - SELECT items 1/40\n"),
        "{opened}"
    );
    assert_eq!(opened.matches("SELECT items").count(), 40);
    let shut = outline(&loaded, "0");
    assert_eq!(shut, "> POST /checkout 1/1\n");
    assert_eq!(outline(&loaded, "0.0.nonsense.g9999.77777"), all);
}

#[test]
fn every_span_has_a_line_when_everything_is_open() {
    let loaded = load(checkout().finish(), None);
    let layout = loaded.layout();
    let mut folds = Folds::new(layout, &layout.outline(200));
    for row in 0..layout.rows.len() as u32 {
        folds.reveal(layout, row);
        let lines = folds.lines(layout);
        assert!(
            lines.iter().any(|line| line.place == Place::Row(row)),
            "row {row}"
        );
    }
    let lines = folds.lines(layout);
    let rows = lines
        .iter()
        .filter(|line| matches!(line.place, Place::Row(_)));
    assert_eq!(rows.count(), layout.rows.len());
    let mut siblings = BTreeMap::<_, Vec<u32>>::new();
    for line in &lines {
        siblings.entry(line.parent).or_default().push(line.position);
        assert_eq!(line.parent.map_or(0, |at| lines[at].level + 1), line.level);
    }
    for (parent, positions) in siblings {
        let expected: Vec<u32> = (1..=positions.len() as u32).collect();
        assert_eq!(positions, expected, "below {parent:?}");
    }
}

#[test]
fn the_page_opens_at_the_origin_of_the_first_error() {
    let loaded = load(checkout().finish(), None);

    let span = &loaded.span.as_ref().expect("the row's").span;
    assert_eq!(span.name, "POST psp/charge");
    let html = render(&loaded, "");
    assert!(
        html.contains("<h2 title=\"POST psp/charge\">"),
        "the drawer shows it"
    );
    assert!(html.contains("CardDeclined: card &#60;b&#62;expired&#60;/b&#62;"));
    assert!(
        html.contains("<b>  at src/charge.rs:88</b>"),
        "own frames stand out"
    );
    assert!(!html.contains("<b>  at /rustc"), "library frames do not");
    let closed = render(&load(checkout().finish(), Some("none")), "");
    assert!(!closed.contains("CardDeclined"));
}

#[test]
fn the_page_keeps_the_content_security_policy_and_reads_without_script() {
    let loaded = load(checkout().finish(), None);
    let html = render(&loaded, "find=x&fold=g3");
    for forbidden in [" style=", "<style", " onclick", "javascript:"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    for said in [
        "POST /checkout",
        "2 errors",
        "×40",
        "N+1 · p95 8.00 ms each",
        "+14 spans folded",
    ] {
        assert!(html.contains(said), "{said}");
    }
    assert!(html.contains("role=\"treegrid\"") && html.contains("aria-level=\"3\""));
    assert!(
        html.contains("href=\"/logs?query=trace%3A5b5b"),
        "logs of the whole trace"
    );
    // Folding is a link, and folding twice is where one began.
    assert!(html.contains(&format!("href=\"/trace/{TRACE}?find=x#rg3\"")));
    assert!(html.contains("class=\"x\""), "failed bars are hatched");
}

#[test]
fn long_traces_come_in_pages() {
    let mut tree = Tree::default();
    let root = tree.add(0, "a", "root", (0, 10_000));
    for n in 0..300 {
        let span = tree.add(root, "a", &format!("step {n}"), (n * 30, n * 30 + 29));
        tree.fail(span);
    }
    let loaded = load(tree.finish(), Some("none"));
    let everything = "fold=s1.s2.s3.s100.s150.s199.s200.s201";
    let first = render(&loaded, everything);
    assert_eq!(first.matches("role=\"row\"").count(), 200);
    assert!(first.contains("from=200"), "a link to the next lines");
    let second = render(&loaded, &format!("{everything}&from=200"));
    let rows = second.matches("role=\"row\"").count();
    assert!(rows > 0 && rows <= 200, "{rows}");
}

#[test]
fn attributes_search_and_links_go_both_ways() {
    let loaded = load(checkout().finish(), None);

    let view = span_view(
        &request("start=6h"),
        &loaded,
        (
            loaded.row.expect("it failed"),
            loaded.span.as_ref().expect("the row's"),
        ),
        "svc-7",
    );
    let order = view.groups[0]
        .attributes
        .iter()
        .find(|a| a.key == "order.id")
        .expect("it has one");
    assert_eq!(
        order.with.as_deref(),
        Some("/traces?start=6h&query=attr.order.id%3A%228f2c+%5C%2211%5C%22%22")
    );
    assert!(
        order
            .without
            .as_deref()
            .is_some_and(|href| href.contains("query=-attr.order.id"))
    );
    assert_eq!(
        view.groups[0].attributes[0].key, "http.response.status_code",
        "http comes first"
    );
    assert!(view.groups[0].attributes[0].hot);
    assert_eq!(
        (view.links[0].direction, view.links[0].text.as_str()),
        ("from", "mailer send receipt")
    );
    assert_eq!(view.facts[0].1, "258 ms");
    assert_eq!(view.facts[5].1, "error");
}

#[test]
fn logs_of_the_span_carry_their_offset_and_lead_to_the_record() {
    let mut loaded = load(checkout().finish(), None);

    let span = loaded.span.as_ref().expect("the row's").span.clone();
    let at = |ns: u64| RecordId {
        at: Timestamp(ns),
        hash: 7,
    };
    let record = |id: RecordId, severity: i32, body: &str| LogRecord {
        id,
        time: id.at,
        observed: id.at,
        severity: Severity(severity),
        severity_text: String::new(),
        body: Value::Str(body.to_owned()),
        attributes: vec![("code".to_owned(), Value::Int(402))],
        dropped_attributes: 0,
        flags: 0,
        trace_id: Some(TRACE),
        span_id: Some(span.span_id),
        event_name: String::new(),
        resource: span.resource.clone(),
        scope: span.scope.clone(),
    };
    loaded.span_logs = SpanLogs {
        records: vec![
            record(at(span.start.0 - 3_000_000), 13, "early"),
            record(at(span.start.0 + 251_000_000), 17, "card\ndeclined"),
        ],
        count: 60,
    };
    let mut page = request("");
    page.fragment = true;
    let s = span_view(
        &page,
        &loaded,
        (
            loaded.row.expect("it failed"),
            loaded.span.as_ref().expect("the row's"),
        ),
        "svc-7",
    );
    let lines: Vec<_> = s
        .logs
        .iter()
        .map(|l| format!("{} {} {}", l.offset, l.word, l.text))
        .collect();
    assert_eq!(
        lines,
        [
            "−3.00 ms WRN early code=402",
            "+251 ms ERR card declined code=402"
        ]
    );
    assert!(s.logs[1].href.contains("span%3A") && s.logs[1].href.ends_with("-0000000000000007"));
    let html = SpanFragment { s }.render().expect("the fragment renders");
    assert!(html.contains("whole trace, 84") && html.contains("All 60 in the log view"));
    assert!(!html.contains("<html"));
}

#[test]
fn odd_traces_still_make_a_page() {
    let mut instant = Tree::default();
    instant.add(0, "a", "", (0, 0));
    let mut orphans = Tree::default();
    for n in 0..3 {
        orphans.add(900 + n, "a", "orphan", (n as u64, 5));
    }
    let mut deep = Tree::default();
    for n in 0..400 {
        deep.add(n, "a", "down", (n as u64, 1000 - n as u64));
    }
    for (tree, query, said) in [
        (instant, "", "<li>1 span</li><li>1 service</li>"),
        (
            orphans,
            "zoom=1-0",
            "3 spans name parents that did not arrive",
        ),
        (deep, "zoom=100000000-200000000&from=9999", "400 spans"),
    ] {
        let html = render(&load(tree.finish(), None), query);
        assert!(html.contains(said), "{said}");
    }
}
