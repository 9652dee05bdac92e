//! 1,000 random queries over random records: equal results in equal order, whatever lies in heads
//! and whatever in segments.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::fixture::{
    Fixture, KEYS, SERVICES, TEXTS, VARIABLES, WORDS, control, line, log_request, span_request,
};
use super::naive;
use crate::model::owned::RecordId;
use crate::model::random::Random;
use crate::model::{LogRecord, Span, TimeRange, Timestamp, TraceId};
use crate::query::lang::{self, Expr};
use crate::query::{Direction, LogRequest, SpanScope, TraceRequest, TraceRow};
use crate::store::fixture::{SECOND, START};
use crate::store::{LogColumns, LogPrune, SpanColumns, SpanPrune, TemplateId, template_of};

const QUERIES: usize = 1000;

fn filled(random: &mut Random) -> Fixture {
    let mut fixture = Fixture::new();
    for round in 0..3 {
        for _ in 0..24 {
            fixture.logs(log_request(random, 12));
            fixture.spans(span_request(random, 8));
        }
        if round < 2 {
            fixture.seal();
        }
        if round == 0 {
            fixture.index();
        }
    }
    // Enough requests to close a group of the head, so that searches learn its texts.
    for _ in 0..150 {
        fixture.logs(log_request(random, 2));
    }
    fixture
}

fn all_logs(fixture: &Fixture) -> Vec<LogRecord> {
    let snapshot = fixture.engine.snapshot();
    let mut all = Vec::new();
    for unit in snapshot.logs(TimeRange::ALL, &LogPrune::default()) {
        unit.for_each(LogColumns::ALL, &mut |log| {
            all.push(LogRecord::from(log));
            ControlFlow::Continue(())
        })
        .expect("readable");
    }
    all
}

fn all_spans(fixture: &Fixture) -> Vec<(Timestamp, Span)> {
    let snapshot = fixture.engine.snapshot();
    let mut all = Vec::new();
    for unit in snapshot.spans(TimeRange::ALL, &SpanPrune::default()) {
        unit.for_each(SpanColumns::ALL, &mut |span| {
            let resource = Arc::new(span.resource.into());
            let owned = Span::from_view(span, resource, Arc::new(span.scope.into()));
            all.push((span.at, owned));
            ControlFlow::Continue(())
        })
        .expect("readable");
    }
    all
}

/// A random query over the words, keys and values of the fixture, as text.
fn query(random: &mut Random, depth: usize, spans: bool) -> String {
    let choice = if depth == 0 { 9 } else { random.below(10) };
    let inner = |random: &mut Random| query(random, depth - 1, spans);
    match choice {
        0 => format!("({}) ({})", inner(random), inner(random)),
        1 => format!("({}) OR ({})", inner(random), inner(random)),
        2 => format!("-({})", inner(random)),
        3 => format!("{} {}", inner(random), inner(random)),
        _ => term(random, spans),
    }
}

fn term(random: &mut Random, spans: bool) -> String {
    let word = *random.pick(WORDS);
    let half: String = word.chars().take(1 + random.below(3)).collect();
    match random.below(22) {
        20 if !spans => format!("pattern:{}", pattern(random)),
        16..22 => text_term(random, word),
        0 | 1 => word.to_lowercase(),
        2 => format!("\"{word} {}\"", random.pick(WORDS)),
        3 => format!("{half}*"),
        4 => format!("/{half}[a-z ]/"),
        5 => format!("service:{}", random.pick(SERVICES)),
        6 => format!("service:{},nobody", random.pick(SERVICES)),
        7 => format!("trace:{:032x}", 0xabc0 + random.below(8)),
        8 if spans => format!("status:{}", random.pick(&["error", "OK", "un*", "/e/"])),
        9 if spans => format!(
            "duration:{}",
            random.pick(&[">200ms", "<=1ms", "1ms..3s", "*", "1ms"])
        ),
        10 if spans => format!(
            "kind:{}",
            random.pick(&["server", "CLI*", "internal,client"])
        ),
        11 if spans => format!("root:{}", random.pick(&["true", "false"])),
        8..12 => format!(
            "level:{}",
            random.pick(&[
                ">=warn",
                "<info",
                "error",
                "odd",
                "unset",
                "17",
                "debug..warn",
                "*",
                "err*",
                "/R/"
            ])
        ),
        _ => {
            let place = *random.pick(&["", "", "", "attr.", "resource.", "scope.", "body."]);
            format!(
                "{place}{}:{}",
                random.pick(KEYS),
                value(random, place.is_empty())
            )
        }
    }
}

/// Words, starts of words and expressions that reach into variables.
fn text_term(random: &mut Random, word: &str) -> String {
    match random.below(5) {
        0 => random
            .pick(&["beef", "a5505e54", "7", "abc1", "cafe1234", "0", "refused"])
            .to_string(),
        1 => format!("\"{}\"", random.pick(VARIABLES)),
        2 => format!("\"{word} {}\"", random.pick(VARIABLES)),
        3 => format!(
            "/{}/",
            random.pick(&[
                "n 4",
                "7 x",
                "ction",
                "^con",
                "z?5-",
                "x\":\\[",
                "d$",
                "a5505",
                "Refused by user_id=[0-9]+$",
                "(con|time)out",
                "(?i)REFUSED",
                "us.*id=(42|7)",
                "e[0-9]+.beef-0.2",
                "a+b*c1",
                "42|7",
                "\\.0\\.7"
            ])
        ),
        _ => {
            let start: String = random.pick(VARIABLES).chars().take(2).collect();
            format!("{}*", start.trim_end_matches('.'))
        }
    }
}

/// A pattern by its id or by its printed form.
fn pattern(random: &mut Random) -> String {
    let (text, mut template) = (line(random), Vec::new());
    assert!(template_of(&text, &mut template));
    let id = TemplateId::of(&template);
    match random.below(4) {
        0 => random
            .pick(&["/Refused by/", "\"connection \"*", "/msg/"])
            .to_string(),
        1 => format!("{id},{}", TemplateId::of(b"connection Refused")),
        _ => id.to_string(),
    }
}

/// `any`: the key is looked up everywhere, so that `level` compares with levels.
fn value(random: &mut Random, _any: bool) -> String {
    let text = *random.pick(TEXTS);
    let half: String = text.chars().take(2).collect();
    match random.below(8) {
        0 => "*".to_owned(),
        1 => format!("\"{half}\"*"),
        2 => "/[15]/".to_owned(),
        3 => format!("\"{text}\",\"2.5\",42"),
        _ => format!("\"{text}\""),
    }
}

/// Comparisons are made apart: `level` takes levels only.
fn comparison(random: &mut Random) -> String {
    let key = *random.pick(&["host", "http.status", "size", "took", "when", "a.b"]);
    let test = *random.pick(&[
        ">=200",
        "<300",
        "2..500",
        ">100ms",
        "<=2s",
        "100ms..3s",
        ">1MB",
        "1MB..2GiB",
        ">2026-11-20T12:00:00Z",
        "<2026-11-21T09:00:00Z",
        ">2.4",
    ]);
    format!("{key}:{test}")
}

fn parsed(random: &mut Random, spans: bool) -> Expr {
    let mut text = query(random, 3, spans);
    if random.one_in(3) {
        text = format!("{} {text}", comparison(random));
    }
    lang::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn range(random: &mut Random) -> TimeRange {
    let ago = |random: &mut Random| START.saturating_sub(random.below(45) as u64 * SECOND);
    let (a, b) = (ago(random), ago(random));
    if random.one_in(2) {
        return TimeRange::ALL;
    }
    TimeRange::new(a.min(b), a.max(b)).expect("in order")
}

#[test]
fn random_log_queries_find_what_the_naive_evaluator_finds() {
    let mut random = Random::new(7);
    let fixture = filled(&mut random);
    let all = all_logs(&fixture);
    assert!(all.len() > 150);
    let mut found = 0;
    for _ in 0..QUERIES {
        let (query, range) = (parsed(&mut random, false), range(&mut random));
        // Segments that were not opened yet are ruled out by the catalogue.
        if random.one_in(3) {
            fixture.release();
        }
        let mut expect: Vec<&LogRecord> = all
            .iter()
            .filter(|log| range.contains(log.id.at) && naive::matches(&query, *log))
            .collect();
        expect.sort_by_key(|log| std::cmp::Reverse(log.id));
        let direction = if random.one_in(2) {
            expect.reverse();
            Direction::OldestFirst
        } else {
            Direction::NewestFirst
        };
        found += expect.len();
        let mut request = LogRequest {
            query,
            range,
            limit: 1 + random.below(30),
            direction,
            cursor: None,
        };
        // Page by page, so that cursors are tried as well.
        let mut got = Vec::new();
        loop {
            let page = fixture
                .engine
                .logs(&request, &control())
                .expect("an answer");
            assert_eq!(page.stats.partial, None);
            assert!(page.records.len() <= request.limit);
            got.extend(page.records);
            request.cursor = page.next;
            if page.next.is_none() {
                break;
            }
        }
        let got: Vec<_> = got.iter().map(|log| log.id).collect();
        let expect: Vec<_> = expect.iter().map(|log| log.id).collect();
        assert_eq!(got, expect, "{} {range:?}", request.query);
        let histogram = fixture
            .engine
            .log_histogram(&request.query, range, 50, "severity", &control())
            .expect("an answer");
        assert_eq!(histogram.total, expect.len() as u64, "{}", request.query);
        let by_service = fixture
            .engine
            .log_histogram(&request.query, range, 1, "service", &control())
            .expect("an answer");
        assert_eq!(by_service.total, expect.len() as u64, "{}", request.query);
        for bucket in histogram.buckets {
            let inside = |id: &&RecordId| bucket.start <= id.at && id.at < bucket.end;
            let expect = expect.iter().filter(inside).count() as u64;
            assert_eq!(bucket.count, expect, "{} {bucket:?}", request.query);
        }
    }
    assert!(found > QUERIES, "queries must find something: {found}");
}

/// The whole list, page by page: each stops reading where nothing older can change it.
fn in_pages(fixture: &Fixture, request: &TraceRequest, limit: usize) -> Vec<TraceRow> {
    let (mut rows, mut cursor) = (Vec::new(), None);
    loop {
        let request = TraceRequest {
            limit,
            cursor,
            whole: false,
            ..request.clone()
        };
        let page = fixture.engine.traces(&request, &control());
        let page = page.expect("an answer");
        assert!(page.traces.len() <= limit);
        rows.extend(page.traces);
        cursor = page.next;
        if cursor.is_none() {
            return rows;
        }
    }
}

#[test]
fn random_span_queries_find_what_the_naive_evaluator_finds() {
    let mut random = Random::new(11);
    let fixture = filled(&mut random);
    let all = all_spans(&fixture);
    let mut found = 0;
    for _ in 0..QUERIES {
        let (query, range) = (parsed(&mut random, true), range(&mut random));
        let scope = *random.pick(&[SpanScope::All, SpanScope::Root, SpanScope::Entry]);
        let in_scope = |span: &Span| match scope {
            SpanScope::All => true,
            SpanScope::Root => span.parent.is_none(),
            SpanScope::Entry => span.parent.is_none() || [2, 5].contains(&span.kind),
        };
        let mut expect: BTreeMap<TraceId, u64> = BTreeMap::new();
        for (at, span) in &all {
            if range.contains(*at) && in_scope(span) && naive::matches(&query, span) {
                *expect.entry(span.trace_id).or_default() += 1;
            }
        }
        let request = TraceRequest {
            query,
            range,
            limit: 100,
            scope,
            cursor: None,
            whole: true,
        };
        let page = fixture
            .engine
            .traces(&request, &control())
            .expect("an answer");
        let got: BTreeMap<TraceId, u64> = page
            .traces
            .iter()
            .map(|row| (row.trace_id, row.matched_count))
            .collect();
        assert_eq!(got, expect, "{} {range:?} {scope:?}", request.query);
        let starts: Vec<_> = page
            .traces
            .iter()
            .map(|row| (row.start, row.trace_id))
            .collect();
        assert!(starts.is_sorted_by(|a, b| a > b));
        let over_all = page.over_all.as_ref().expect("asked for");
        let cells: u64 = over_all.scatter.cells.iter().map(|cell| cell.count).sum();
        assert_eq!(
            (cells, over_all.total),
            (expect.len() as u64, expect.len() as u64)
        );
        let by_pages = in_pages(&fixture, &request, 1 + random.below(3));
        assert_eq!(by_pages, page.traces, "{} {range:?}", request.query);
        found += expect.len();
        for row in &page.traces {
            let of_trace = all.iter().filter(|(_, span)| span.trace_id == row.trace_id);
            let services: BTreeSet<_> = of_trace
                .clone()
                .map(|(_, span)| span.resource.service.clone())
                .collect();
            assert_eq!(row.services, services.into_iter().collect::<Vec<_>>());
            assert_eq!(row.span_count, of_trace.count() as u64);
        }
    }
    assert!(found > QUERIES, "queries must find something: {found}");
}
