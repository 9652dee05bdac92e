//! Searches by example: context, tail, histogram, facets, whole traces, suggestions, bounds.

use std::time::{Duration, Instant};

use super::fixture::{Fixture, control};
use crate::model::owned::RecordId;
use crate::model::{Signal, TimeRange, Timestamp, TraceId, ValueRef, write};
use crate::query::answer::SuggestionKind;
use crate::query::control::Partial;
use crate::query::lang::{self, Expr};
use crate::query::layout;
use crate::query::{
    Control, Direction, LogRequest, QueryError, SpanScope, TailPosition, TraceRequest, TraceRow,
};
use crate::store::fixture::{SECOND, START};

/// A request of log lines one second apart, newest at `START - ago` seconds.
fn lines(service: &str, ago: u64, lines: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    write::message(&mut out, 1, |out| {
        write::message(out, 1, |out| {
            write::key_value(out, 1, "service.name", ValueRef::Str(service));
        });
        write::message(out, 2, |out| {
            for (i, line) in lines.iter().enumerate() {
                let at = START.0 - (ago + (lines.len() - 1 - i) as u64) * SECOND;
                write::message(out, 2, |out| {
                    write::fixed64_field(out, 1, at);
                    write::varint_field(out, 2, if line.contains("fail") { 17 } else { 9 });
                    write::message(out, 5, |out| write::any_value(out, ValueRef::Str(line)));
                    write::key_value(out, 6, "line", ValueRef::Int(i as i64));
                });
            }
        });
    });
    out
}

fn request(query: &str, limit: usize) -> LogRequest {
    LogRequest {
        query: lang::parse(query).expect(query),
        range: TimeRange::ALL,
        limit,
        direction: Direction::NewestFirst,
        cursor: None,
    }
}

fn bodies(fixture: &Fixture, query: &str) -> Vec<String> {
    let page = fixture
        .engine
        .logs(&request(query, 100), &control())
        .expect(query);
    page.records.iter().map(body).collect()
}

fn body(record: &crate::model::LogRecord) -> String {
    match &record.body {
        crate::model::Value::Str(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn two_services() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.logs(lines("api", 10, &["a0", "a1 fail", "a2", "a3", "a4"]));
    fixture.seal();
    fixture.logs(lines("db", 8, &["d0", "d1", "d2"]));
    fixture.logs(lines("api", 5, &["a5", "a6 fail"]));
    fixture
}

#[test]
fn context_is_of_the_same_stream_over_heads_and_segments() {
    let fixture = two_services();
    let page = fixture
        .engine
        .logs(&request("a4", 1), &control())
        .expect("found");
    let id = page.records[0].id;
    let context = fixture
        .engine
        .log_context(id, 2, 5, &control())
        .expect("found");
    let of = |records: &[crate::model::LogRecord]| records.iter().map(body).collect::<Vec<_>>();
    assert_eq!(of(&context.before), ["a2", "a3"]);
    assert_eq!(body(&context.record), "a4");
    assert_eq!(of(&context.after), ["a5", "a6 fail"]);
    let unknown = RecordId { at: START, hash: 1 };
    let missing = fixture.engine.log_context(unknown, 1, 1, &control());
    assert!(matches!(missing, Err(QueryError::NotFound(_))));
}

#[test]
fn histogram_buckets_are_whole_seconds_and_cover_the_range() {
    let fixture = two_services();
    let range = TimeRange::new(Timestamp(START.0 - 14 * SECOND), START).expect("in order");
    let histogram = fixture
        .engine
        .log_histogram(&Expr::All, range, 20, "severity", &control())
        .expect("an answer");
    assert_eq!((histogram.bucket_ns, histogram.total), (SECOND, 10));
    assert_eq!(histogram.series, ["INFO", "ERROR"]);
    assert_eq!(histogram.buckets.len(), 14);
    assert_eq!(histogram.buckets[0].start, range.start());
    assert!(
        histogram
            .buckets
            .windows(2)
            .all(|pair| pair[0].end == pair[1].start)
    );
    assert_eq!(histogram.buckets[1].by, [0, 1]);
    let by_service = fixture
        .engine
        .log_histogram(&Expr::All, range, 1, "service", &control())
        .expect("an answer");
    assert_eq!(by_service.series, ["api", "db"]);
    assert_eq!(by_service.buckets.iter().map(|b| b.by[0]).sum::<u64>(), 7);
}

#[test]
fn facets_count_values_with_coverage() {
    let fixture = two_services();
    let facets = fixture
        .engine
        .log_facets(&Expr::All, TimeRange::ALL, None, &control())
        .expect("an answer");
    assert!(!facets.approximate);
    let names: Vec<_> = facets
        .fields
        .iter()
        .map(|facet| facet.name.as_str())
        .collect();
    assert_eq!(names, ["severity", "service", "line"]);
    let service = &facets.fields[1];
    assert_eq!(
        (service.values[0].value.as_str(), service.values[0].count),
        ("api", 7)
    );
    assert_eq!(facets.fields[2].numbers, Some((0.0, 4.0)));
    let one = fixture
        .engine
        .log_facets(
            &lang::parse("fail").expect("a word"),
            TimeRange::ALL,
            Some("service"),
            &control(),
        )
        .expect("an answer");
    assert_eq!((one.records, one.fields[0].values[0].count), (2, 2));
}

#[test]
fn a_tail_gives_each_new_record_once_also_late_ones() {
    let mut fixture = two_services();
    let mut position = TailPosition::new(Timestamp(START.0 - 6 * SECOND));
    let mut poll = |fixture: &Fixture| {
        let batch = fixture
            .engine
            .log_tail(
                &lang::parse("service:api").expect("a field"),
                &mut position,
                &control(),
            )
            .expect("an answer");
        assert_eq!(batch.skipped, 0);
        batch.records.iter().map(body).collect::<Vec<_>>()
    };
    assert_eq!(poll(&fixture), ["a5", "a6 fail"]);
    assert_eq!(poll(&fixture), Vec::<String>::new());
    fixture.logs(lines("api", 1, &["a7"]));
    assert_eq!(poll(&fixture), ["a7"]);
    fixture.logs(lines("api", 3, &["late"]));
    fixture.seal();
    assert_eq!(poll(&fixture), ["late"]);
}

#[test]
fn a_tail_says_what_it_skipped() {
    let mut fixture = Fixture::new();
    let many = vec!["x"; 10];
    let mut position = TailPosition::new(Timestamp(START.0 - 3600 * SECOND));
    for i in 0..120 {
        fixture.logs(lines("api", i * 10, &many));
    }
    let batch = fixture
        .engine
        .log_tail(&Expr::All, &mut position, &control())
        .expect("an answer");
    assert_eq!(batch.records.len() as u64 + batch.skipped, 1200);
    assert_eq!(batch.records.len(), 500);
}

/// A client that was away for long and a look that may not read everything it missed.
#[test]
fn a_tail_that_is_cut_short_says_so_and_what_it_may_have_missed() {
    let mut fixture = Fixture::new();
    fixture.logs(lines("api", 600, &["long ago", "too"]));
    fixture.seal();
    fixture.logs(lines("api", 5, &["lately"]));
    fixture.seal();
    fixture.logs(lines("api", 0, &["now"]));
    let mut position = TailPosition::new(Timestamp(START.0 - 3600 * SECOND));
    let mut poll = |bytes_max, time| {
        let control = Control::new(1, Instant::now(), time, bytes_max);
        let mut tail = |e: &crate::query::Engine| e.log_tail(&Expr::All, &mut position, &control);
        let batch = tail(&fixture.engine).expect("an answer");
        let bodies = batch.records.iter().map(body).collect::<Vec<_>>();
        (bodies, batch.skipped, batch.partial)
    };
    let minute = Duration::from_secs(60);
    // Nothing was read: nothing is lost, the next look finds it.
    let nothing = poll(u64::MAX, Duration::ZERO);
    assert_eq!(nothing, (vec![], 0, Some(Partial::Deadline)));
    // One unit was read. What is not far behind it is looked at again, the rest never.
    let cut = poll(1, minute);
    assert_eq!(cut, (vec!["now".to_owned()], 2, Some(Partial::Bytes)));
    let rest = poll(u64::MAX, minute);
    assert_eq!(rest, (vec!["lately".to_owned()], 0, None));
}

#[test]
fn newest_first_stops_early_and_bounds_make_partial_answers() {
    let mut fixture = Fixture::new();
    for i in 0..30 {
        fixture.logs(lines("api", i * 1100, &vec!["x"; 1100]));
    }
    let page = fixture
        .engine
        .logs(&request("", 5), &control())
        .expect("an answer");
    assert!(page.stats.scanned_records < 10_000, "{:?}", page.stats);
    assert_eq!((page.stats.partial, page.stats.searched), (None, 1.0));
    let small = Control::new(1, Instant::now(), Duration::from_secs(60), 1000);
    let page = fixture
        .engine
        .logs(&request("nowhere", 5), &small)
        .expect("an answer");
    assert_eq!(page.stats.partial, Some(Partial::Bytes));
    assert!(page.stats.searched > 0.0 && page.stats.searched < 1.0);
    let cancelled = control();
    cancelled.cancel();
    let page = fixture
        .engine
        .logs(&request("", 5), &cancelled)
        .expect("an answer");
    assert_eq!(page.stats.partial, Some(Partial::Cancelled));
    assert!(fixture.engine.logs(&request("", 0), &control()).is_err());
}

#[test]
fn pages_of_byte_identical_records_neither_lose_nor_repeat_any() {
    let mut fixture = Fixture::new();
    for _ in 0..3 {
        fixture.logs(lines("api", 1, &["same", "same"]));
    }
    let mut request = request("", 2);
    let mut count = 0;
    loop {
        let page = fixture
            .engine
            .logs(&request, &control())
            .expect("an answer");
        count += page.records.len();
        request.cursor = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(count, 6);
}

/// All pages of `request`, each found with `memory_max` bytes.
fn pages(fixture: &Fixture, mut request: LogRequest, memory_max: u64) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    loop {
        let control = control().with_memory(memory_max);
        let page = fixture.engine.logs(&request, &control).expect("an answer");
        assert!(pages.len() < 100, "no end in sight: {:?}", page.next);
        assert!(page.next.is_some() || page.stats.partial.is_none());
        pages.push(page.records.iter().map(body).collect());
        request.cursor = page.next;
        if page.next.is_none() {
            return pages;
        }
    }
}

#[test]
fn pages_cut_short_by_memory_have_no_gap_and_reach_the_end() {
    let mut fixture = Fixture::new();
    let texts: Vec<String> = (0..40).map(|i| format!("{i} {:0900}", 0)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    fixture.logs(lines("api", 100, &texts));
    fixture.seal();
    for _ in 0..20 {
        fixture.logs(lines("db", 50, &[texts[0]]));
    }
    for direction in [Direction::NewestFirst, Direction::OldestFirst] {
        let request = || LogRequest {
            direction,
            ..request("", 60)
        };
        let whole = pages(&fixture, request(), u64::MAX);
        assert_eq!(whole.iter().map(Vec::len).collect::<Vec<_>>(), [60]);
        for memory_max in [10_000, 40_000, 100_000] {
            let cut = pages(&fixture, request(), memory_max);
            assert!(cut.len() > 1, "{memory_max} bytes hold less than all");
            assert_eq!(cut.concat(), whole[0], "{direction:?}, {memory_max} bytes");
        }
    }
}

fn spans(rows: &[(u64, u64, u64)]) -> Vec<u8> {
    let mut out = Vec::new();
    write::message(&mut out, 1, |out| {
        write::message(out, 1, |_| {});
        write::message(out, 2, |out| {
            for (trace, id, start) in rows {
                write::message(out, 2, |out| {
                    write::bytes_field(out, 1, &u128::from(*trace).to_be_bytes());
                    write::bytes_field(out, 2, &id.to_be_bytes());
                    write::bytes_field(out, 5, b"op");
                    write::fixed64_field(out, 7, START.0 + start);
                    write::fixed64_field(out, 8, START.0 + start + 10);
                });
            }
        });
    });
    out
}

#[test]
fn a_trace_has_every_span_once_wherever_its_parts_are() {
    let mut fixture = Fixture::new();
    fixture.spans(spans(&[(1, 1, 0), (2, 1, 0), (1, 2, 5)]));
    fixture.seal();
    fixture.spans(spans(&[(1, 3, 2), (1, 2, 5), (1, 2, 6)]));
    let id = TraceId(1u128.to_be_bytes());
    let trace = fixture.engine.trace(id, &control()).expect("found");
    let starts: Vec<u64> = trace
        .spans
        .iter()
        .map(|span| span.start.0 - START.0)
        .collect();
    assert_eq!(starts, [0, 2, 5, 6]);
    let laid_out = || fixture.engine.laid_out(id, &control()).expect("found");
    let before = laid_out();
    // Content tells spans of one id apart, so this trace was laid out from all of it.
    assert_eq!(before.layout, layout::layout(&layout::Skeleton::of(&trace)));
    assert_eq!(laid_out().version, before.version);
    fixture.spans(spans(&[(1, 9, 9)]));
    let laid_out = fixture.engine.laid_out(id, &control()).expect("found");
    assert_ne!(laid_out.version, before.version, "never a stale layout");
    let at = |version| {
        fixture
            .engine
            .laid_out_at(id, version, &control())
            .expect("found")
    };
    assert_eq!(at(before.version).expect("kept").layout.rows.len(), 4);
    assert_eq!(at(laid_out.version).expect("kept").layout.rows.len(), 5);
    assert!(at(1).is_none(), "neither kept nor what is there now");
    let unknown = fixture.engine.trace(TraceId([9; 16]), &control());
    assert!(matches!(unknown, Err(QueryError::NotFound(_))));
}

#[test]
fn an_empty_trace_query_lists_what_runs_in_the_range() {
    let mut fixture = Fixture::new();
    // Without parents both spans are roots; the earlier one is the root.
    fixture.spans(spans(&[(1, 1, 0), (1, 2, 50), (2, 1, 1000)]));
    fixture.seal();
    fixture.spans(spans(&[(1, 3, 90), (3, 1, 5000)]));
    let list = |start: u64, end: u64| {
        let at = |offset: u64| Timestamp(START.0 + offset);
        let request = TraceRequest {
            query: Expr::All,
            range: TimeRange::new(at(start), at(end)).expect("in order"),
            limit: 10,
            scope: SpanScope::All,
            cursor: None,
            whole: true,
        };
        let page = fixture
            .engine
            .traces(&request, &control())
            .expect("an answer");
        assert_eq!(page.stats.partial, None);
        let row = |row: &TraceRow| (row.trace_id.0[15], row.span_count, row.duration_ns);
        page.traces.iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(list(0, 9000), [(3, 1, 10), (2, 1, 10), (1, 3, 100)]);
    assert_eq!(list(60, 999), [(1, 3, 100)]);
    assert_eq!(list(2000, 3000), []);
}

#[test]
fn suggestions_complete_fields_values_and_operators() {
    let fixture = two_services();
    let suggest = |text: &str| {
        fixture
            .engine
            .suggest(Signal::Logs, text, text.len(), TimeRange::ALL, &control())
            .expect("an answer")
    };
    let fields = suggest("fail serv");
    assert_eq!(
        (fields[0].insert.as_str(), fields[0].kind),
        ("service:", SuggestionKind::Field)
    );
    assert_eq!(
        (fields[0].replace.clone(), fields[0].count),
        (5..9, Some(10))
    );
    let values = suggest("-service:a");
    assert_eq!(
        (values[0].insert.as_str(), values[0].count),
        ("api", Some(7))
    );
    assert_eq!(values[0].replace, 9..10);
    assert!(suggest("a O").iter().any(|s| s.insert == "OR "));
    assert!(
        fixture
            .engine
            .suggest(Signal::Logs, "é", 1, TimeRange::ALL, &control())
            .is_err()
    );
}

#[test]
fn conditions_that_exclude_each_other_read_nothing() {
    let fixture = two_services();
    let page = fixture
        .engine
        .logs(&request("service:api service:db", 5), &control())
        .expect("an answer");
    assert_eq!((page.records.len(), page.stats.scanned_records), (0, 0));
    assert_eq!(bodies(&fixture, "service:db d2"), ["d2"]);
}
