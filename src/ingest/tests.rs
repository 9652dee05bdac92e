//! Admission as a whole: what goes in, what is kept, what the sender is told.

use prost::Message;

use super::admit::{Admitted, Terms, admit};
use super::limits::{DEPTH_MAX, Limits, TRUNCATED};
use super::redact::Redact;
use super::rewrite::Reason;
use crate::model::chunk::Chunk;
use crate::model::otlp::Scratch;
use crate::model::random::Random;
use crate::model::wire::WireError;
use crate::model::{LogRecord, ProjectId, Signal, Span, Timestamp, Value, write};
use crate::store::BatchChunk;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;

const NOW: Timestamp = Timestamp(1_763_724_000_000_000_000);

const LIMITS: Limits = Limits {
    name_bytes: 1 << 10,
    value_bytes: 64 << 10,
    line_bytes: 256 << 10,
    attributes: 128,
};

const CREDENTIALS: Redact = Redact {
    credentials: true,
    cards: false,
    emails: false,
};

fn terms(signal: Signal) -> Terms<'static> {
    Terms {
        signal,
        project: ProjectId::DEFAULT,
        received: NOW,
        oldest: Timestamp(0),
        of_services: &[],
        limits: &LIMITS,
        redact: Redact::OFF,
    }
}

fn bytes_of(chunk: &BatchChunk) -> &[u8] {
    match chunk {
        BatchChunk::Logs(chunk) => &chunk.request.bytes,
        BatchChunk::Traces(chunk) => &chunk.request.bytes,
        BatchChunk::Metrics(_) => unreachable!("metrics have a door of their own"),
    }
}

fn logs_of(admitted: &Admitted) -> Vec<LogRecord> {
    let BatchChunk::Logs(chunk) = &admitted.chunk else {
        panic!("logs went in")
    };
    let groups = chunk.group_views().expect("indexed");
    let mut scratch = Scratch::default();
    let entries = chunk.entries.iter();
    entries
        .map(|entry| LogRecord::from(&chunk.view(entry, &groups, &mut scratch).expect("indexed")))
        .collect()
}

fn spans_of(admitted: &Admitted) -> Vec<Span> {
    let BatchChunk::Traces(chunk) = &admitted.chunk else {
        panic!("spans went in")
    };
    let groups = chunk.group_views().expect("indexed");
    let mut scratch = Scratch::default();
    let entries = chunk.entries.iter();
    entries
        .map(|entry| {
            let view = chunk.view(entry, &groups, &mut scratch).expect("indexed");
            let (resource, scope) = (view.resource.into(), view.scope.into());
            Span::from_view(
                &view,
                std::sync::Arc::new(resource),
                std::sync::Arc::new(scope),
            )
        })
        .collect()
}

/// One log record of the given encoded fields, under a resource of service `shop`.
fn one_log(fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write::message(&mut out, 1, |out| {
        write::message(out, 1, |out| {
            write::key_value(out, 1, "service.name", crate::model::ValueRef::Str("shop"));
        });
        write::message(out, 2, |out| write::message(out, 2, fill));
    });
    out
}

fn text(out: &mut Vec<u8>, key: &str, value: &str) {
    write::key_value(out, 6, key, crate::model::ValueRef::Str(value));
}

fn body(out: &mut Vec<u8>, body: &str) {
    write::message(out, 5, |out| write::bytes_field(out, 1, body.as_bytes()));
}

#[test]
fn random_requests_pass_unchanged() {
    let mut random = Random::new(11);
    for _ in 0..1_000 {
        let logs = random.logs_request(NOW.0).encode_to_vec();
        let traces = random.traces_request(NOW.0).encode_to_vec();
        for (signal, bytes) in [(Signal::Logs, logs), (Signal::Traces, traces)] {
            let admitted = admit(bytes.clone(), terms(signal)).expect("a sound request");
            assert!(admitted.rewritten.is_none(), "{signal:?}");
            assert_eq!(bytes_of(&admitted.chunk), bytes);
        }
    }
}

#[test]
fn rewriting_a_sound_request_changes_nothing_in_it() {
    let mut random = Random::new(12);
    for _ in 0..500 {
        let logs = random.logs_request(NOW.0).encode_to_vec();
        let traces = random.traces_request(NOW.0).encode_to_vec();
        for (signal, bytes) in [(Signal::Logs, logs), (Signal::Traces, traces)] {
            let rules = super::rewrite::Rules {
                limits: &LIMITS,
                signal,
                received: NOW,
                oldest: Timestamp(0),
                of_services: &[],
            };
            let rewritten = super::rewrite::rewrite(&bytes, rules).expect("a sound request");
            let before = admit(bytes, terms(signal)).expect("sound");
            let after = admit(rewritten.bytes, terms(signal)).expect("sound");
            assert!(after.rewritten.is_none());
            match signal {
                Signal::Logs => assert_eq!(logs_debug(&before), logs_debug(&after)),
                Signal::Traces => {
                    assert_eq!(
                        format!("{:?}", spans_of(&before)),
                        format!("{:?}", spans_of(&after))
                    );
                }
                Signal::Metrics => unreachable!("metrics have a door of their own"),
            }
        }
    }
}

/// All but the ids: they hash the encoded resource, which rewriting may encode otherwise.
fn logs_debug(admitted: &Admitted) -> Vec<String> {
    let logs = logs_of(admitted).into_iter();
    logs.map(|mut log| {
        log.id.hash = 0;
        format!("{log:?}")
    })
    .collect()
}

/// Damaged requests: never a panic, and what is kept is clean and counted.
#[test]
fn damaged_requests_lose_only_what_is_damaged() {
    let mut random = Random::new(13);
    let (mut kept, mut refused) = (0, 0);
    for round in 0..5_000 {
        let signal = Signal::RECORDS[round % 2];
        let mut bytes = match signal {
            Signal::Logs => random.logs_request(NOW.0).encode_to_vec(),
            Signal::Traces => random.traces_request(NOW.0).encode_to_vec(),
            Signal::Metrics => unreachable!("metrics have a door of their own"),
        };
        if bytes.is_empty() {
            continue;
        }
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        match admit(
            bytes,
            Terms {
                redact: CREDENTIALS,
                ..terms(signal)
            },
        ) {
            Ok(_) => kept += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(
        kept > 500 && refused > 100,
        "{kept} kept, {refused} refused"
    );
}

#[test]
fn bad_records_are_left_out_and_named() {
    let mut bytes = Vec::new();
    write::message(&mut bytes, 1, |out| {
        write::message(out, 2, |out| {
            write::message(out, 2, |out| body(out, "first"));
            write::message(out, 2, |out| write::bytes_field(out, 9, &[1; 5]));
            write::message(out, 2, |out| {
                write::bytes_field(out, 1, b"time is no string")
            });
            write::message(out, 2, |out| body(out, "last"));
        });
    });
    let admitted = admit(bytes, terms(Signal::Logs)).expect("the frame is sound");
    let bodies: Vec<_> = logs_of(&admitted).into_iter().map(|log| log.body).collect();
    assert_eq!(
        bodies,
        [Value::Str("first".into()), Value::Str("last".into())]
    );
    let rewritten = admitted.rewritten.expect("records were left out");
    assert_eq!(rewritten.rejected, 2);
    assert_eq!(
        rewritten.told,
        [
            "record 1: an id has 5 bytes (a trace id has 16, a span id 8)",
            "record 2: a known field has another wire type than its own",
        ]
    );
    let tally = &rewritten.services["unknown_service"];
    assert_eq!(
        (
            tally.rejected[&Reason::BadId],
            tally.rejected[&Reason::Malformed]
        ),
        (1, 1)
    );
}

#[test]
fn a_broken_frame_is_refused_as_a_whole() {
    let mut bytes = one_log(|out| body(out, "x"));
    bytes.truncate(bytes.len() - 1);
    let error = admit(bytes, terms(Signal::Logs)).expect_err("cut short");
    assert_eq!(error, WireError::Truncated);
}

#[test]
fn records_past_retention_are_left_out() {
    let bytes = one_log(|out| write::fixed64_field(out, 1, NOW.0 - 1_000));
    let late = Terms {
        oldest: Timestamp(NOW.0 - 1_000),
        of_services: &[],
        ..terms(Signal::Logs)
    };
    assert!(
        admit(bytes.clone(), late)
            .expect("sound")
            .rewritten
            .is_none()
    );
    let later = Terms {
        oldest: Timestamp(NOW.0 - 999),
        of_services: &[],
        ..terms(Signal::Logs)
    };
    let rewritten = admit(bytes, later)
        .expect("sound")
        .rewritten
        .expect("left out");
    assert_eq!(rewritten.told, ["record 0: older than the retention"]);
}

#[test]
fn long_content_is_cut_between_characters_and_marked() {
    let long = "ü".repeat(40 << 10);
    let bytes = one_log(|out| {
        body(out, &"x".repeat(300 << 10));
        text(out, "url", &long);
        text(out, &"k".repeat(2_000), "v");
        (0..200).for_each(|i| text(out, &format!("a{i}"), "v"));
        write::varint_field(out, 7, 3);
    });
    let admitted = admit(bytes, terms(Signal::Logs)).expect("sound");
    let log = logs_of(&admitted).remove(0);
    assert_eq!(log.body, Value::Str("x".repeat(256 << 10)));
    assert_eq!(log.attributes[0].1, Value::Str("ü".repeat(32 << 10)));
    assert_eq!(log.attributes[1].0.len(), 1 << 10);
    assert_eq!(log.attributes.len(), 129);
    assert_eq!(log.dropped_attributes, 3 + 74);
    let (mark, what) = log.attributes.last().expect("the mark is last");
    assert_eq!(mark, TRUNCATED);
    assert_eq!(what, &Value::Str("body, attributes.url, attributes".into()));
    let rewritten = admitted.rewritten.expect("cut");
    assert_eq!((rewritten.truncated, rewritten.rejected), (1, 0));
    // What was cut once is clean: a second admission changes nothing.
    let BatchChunk::Logs(Chunk { request, .. }) = admitted.chunk else {
        panic!("logs")
    };
    assert!(
        admit(request.bytes.to_vec(), terms(Signal::Logs))
            .expect("sound")
            .rewritten
            .is_none()
    );
}

#[test]
fn strings_that_are_not_utf8_are_mended_and_counted() {
    let bytes = one_log(|out| {
        write::message(out, 5, |out| write::bytes_field(out, 1, b"caf\xe9!"));
        write::message(out, 6, |out| write::bytes_field(out, 1, b"k\xff"));
    });
    let admitted = admit(bytes, terms(Signal::Logs)).expect("sound");
    let log = logs_of(&admitted).remove(0);
    assert_eq!(log.body, Value::Str("caf\u{fffd}!".into()));
    assert_eq!(log.attributes[0].0, "k\u{fffd}");
    assert_eq!(admitted.rewritten.expect("mended").mended, 2);
}

/// An AnyValue of `depth` levels: arrays around a string.
fn nested(depth: usize) -> Vec<u8> {
    let mut value = Vec::new();
    write::bytes_field(&mut value, 1, b"core");
    for _ in 1..depth {
        let mut list = Vec::new();
        write::message_bytes(&mut list, 1, &value);
        value.clear();
        write::message_bytes(&mut value, 5, &list);
    }
    value
}

#[test]
fn an_empty_list_at_the_last_level_is_clean() {
    let mut value = Vec::new();
    write::message_bytes(&mut value, 5, &[]);
    for _ in 1..DEPTH_MAX {
        let mut list = Vec::new();
        write::message_bytes(&mut list, 1, &value);
        value.clear();
        write::message_bytes(&mut value, 5, &list);
    }
    // The second record sends both down the slow path.
    let mut bytes = one_log(|out| write::message_bytes(out, 5, &value));
    bytes.extend(one_log(|out| write::bytes_field(out, 3, b"\xff")));
    let admitted = admit(bytes, terms(Signal::Logs)).expect("sound");
    assert_eq!(depth_of(&logs_of(&admitted)[0].body), DEPTH_MAX);
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(depth_of).max().unwrap_or(0),
        _ => 1,
    }
}

/// In a thread with a small stack, so that recursion without a bound would show.
#[test]
fn deep_nesting_is_cut_and_marked() {
    let work = || {
        for depth in [1, 10, DEPTH_MAX, DEPTH_MAX + 1, 60, 127, 1_000, 10_000] {
            let value = nested(depth);
            let bytes = one_log(|out| write::message_bytes(out, 5, &value));
            let redacted = Terms {
                redact: CREDENTIALS,
                ..terms(Signal::Logs)
            };
            let admitted = admit(bytes, redacted).expect("sound");
            let log = logs_of(&admitted).remove(0);
            assert_eq!(depth_of(&log.body), depth.min(DEPTH_MAX));
            assert_eq!(admitted.rewritten.is_some(), depth > DEPTH_MAX, "{depth}");
            let marked = log.attributes.iter().any(|(key, _)| key == TRUNCATED);
            assert_eq!(marked, depth > DEPTH_MAX);
        }
    };
    let thread = std::thread::Builder::new()
        .stack_size(crate::ingest::TEST_STACK_BYTES)
        .spawn(work);
    thread.expect("a thread").join().expect("no panic");
}

#[test]
fn secrets_are_masked_wherever_they_stand() {
    const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.Y2FuYXJ5";
    let mut request = ExportLogsServiceRequest::default();
    let mut random = Random::new(3);
    while request.resource_logs.is_empty() {
        request = random.logs_request(NOW.0);
    }
    let mut bytes = request.encode_to_vec();
    // The resource comes after its records here, as protobuf allows.
    write::message(&mut bytes, 1, |out| {
        write::message(out, 2, |out| {
            write::message(out, 2, |out| {
                body(
                    out,
                    r#"{"user":"ann","password":"canary-1","pin":{"token":4242}}"#,
                );
                text(out, "http.request.header.authorization", "Basic canary-2");
                text(out, "note", &format!("sent Bearer canary-3 and {JWT}"));
                text(out, "url.full", "https://x/?token=canary-4&page=2");
                write::message(out, 6, |out| {
                    write::bytes_field(out, 1, b"set-cookie");
                    write::message(out, 2, |out| {
                        write::message(out, 5, |out| {
                            write::message(out, 1, |out| write::bytes_field(out, 1, b"canary-5"));
                        });
                    });
                });
            });
        });
        write::message(out, 1, |out| {
            write::key_value(
                out,
                1,
                "db.password",
                crate::model::ValueRef::Str("canary-6"),
            );
        });
    });
    let before = bytes.len();
    let redacted = Terms {
        redact: CREDENTIALS,
        ..terms(Signal::Logs)
    };
    let admitted = admit(bytes, redacted).expect("sound");
    let kept = String::from_utf8_lossy(bytes_of(&admitted.chunk)).into_owned();
    assert_eq!(
        bytes_of(&admitted.chunk).len(),
        before,
        "masking keeps every length"
    );
    for canary in ["canary", "4242", "eyJ"] {
        assert!(!kept.contains(canary), "{canary} in {kept:?}");
    }
    for kept_text in ["ann", "page=2", r#""token":1111}"#, "sent Bearer *"] {
        assert!(kept.contains(kept_text), "{kept_text} not in {kept:?}");
    }
    assert!(admitted.rewritten.is_none());
    assert_eq!(admitted.masked.values().sum::<u64>(), 8);
}

/// A request of `n` records of one service, as SDKs send them.
fn many(n: usize, signal: Signal) -> Vec<u8> {
    let mut records = Vec::new();
    for i in 0..n {
        write::message(&mut records, 2, |out| match signal {
            Signal::Logs => {
                write::fixed64_field(out, 1, NOW.0 + i as u64);
                body(out, "order 8f2c-11 was paid with Bearer abcdefgh in 12 ms");
                text(out, "thread.name", "main");
                text(out, "session.token", "abc");
            }
            Signal::Traces => {
                write::bytes_field(out, 1, &[1; 16]);
                write::bytes_field(out, 2, &[2; 8]);
                write::bytes_field(out, 5, b"GET /cart");
                write::key_value(out, 9, "http.route", crate::model::ValueRef::Str("/cart"));
                write::message(out, 11, |out| write::bytes_field(out, 2, b"cache miss"));
                write::message(out, 13, |out| write::bytes_field(out, 1, &[3; 16]));
            }
            Signal::Metrics => unreachable!("metrics have a door of their own"),
        });
    }
    let mut out = Vec::new();
    write::message(&mut out, 1, |out| write::message_bytes(out, 2, &records));
    out
}

/// Ten times the records: only the growth of a few vectors more allocations, none per record.
#[test]
fn admission_allocates_nothing_per_record() {
    for signal in Signal::RECORDS {
        let allocations = |n: usize| {
            let bytes = many(n, signal);
            let terms = Terms {
                redact: CREDENTIALS,
                ..terms(signal)
            };
            let counted = allocation_counter::measure(|| {
                let admitted = admit(bytes, terms).expect("sound");
                assert!(admitted.rewritten.is_none());
                std::mem::forget(admitted);
            });
            counted.count_total
        };
        // The searcher is built by the first use.
        allocations(1);
        let (few, many) = (allocations(1_000), allocations(10_000));
        assert!(
            many < few + 24,
            "{signal:?}: {few} for 1,000 records, {many} for 10,000"
        );
        assert!(few < 100, "{signal:?}: {few} for 1,000 records");
    }
}
