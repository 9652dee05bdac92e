//! OTLP/JSON against the reference types, and JSON out against JSON in.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;

use super::{otlp_json, otlp_json_out};
use crate::model::Signal;
use crate::model::random::Random;

const BASE_NS: u64 = 1_763_724_000_000_000_000;

/// Requests of random content: what comes in as protobuf, goes out as JSON and comes in as JSON is
/// the same request.
#[test]
fn json_out_and_in_lose_nothing() {
    let mut random = Random::new(21);
    for _ in 0..2_500 {
        let logs = random.logs_request(BASE_NS);
        let json = otlp_json_out::encode(Signal::Logs, &logs.encode_to_vec()).expect("sound");
        let back = otlp_json::transcode(Signal::Logs, json.as_bytes()).expect("own JSON");
        let back = ExportLogsServiceRequest::decode(&back[..]).expect("protobuf");
        assert_eq!(format!("{back:?}"), format!("{logs:?}"), "{json}");
        let traces = random.traces_request(BASE_NS);
        let json = otlp_json_out::encode(Signal::Traces, &traces.encode_to_vec()).expect("sound");
        let back = otlp_json::transcode(Signal::Traces, json.as_bytes()).expect("own JSON");
        let back = ExportTraceServiceRequest::decode(&back[..]).expect("protobuf");
        assert_eq!(format!("{back:?}"), format!("{traces:?}"), "{json}");
    }
}

/// Where the reference's serde is right, we agree with it in both directions.
#[test]
fn json_agrees_with_the_reference() {
    let mut random = Random::new(22);
    for _ in 0..2_500 {
        let mut traces = random.traces_request(BASE_NS);
        let json = serde_json::to_vec(&traces).expect("the reference writes JSON");
        if json.windows(18).any(|w| w == b"\"doubleValue\":null") {
            // NaN and infinities: lost by the reference, kept by us.
            continue;
        }
        let ours = otlp_json::transcode(Signal::Traces, &json).expect("the reference's JSON");
        let ours = ExportTraceServiceRequest::decode(&ours[..]).expect("protobuf");
        assert_eq!(format!("{ours:?}"), format!("{traces:?}"));
        // The reference does not read an entity reference without a schema URL.
        traces
            .resource_spans
            .iter_mut()
            .flat_map(|r| &mut r.resource)
            .for_each(|r| r.entity_refs.clear());
        let json = otlp_json_out::encode(Signal::Traces, &traces.encode_to_vec()).expect("sound");
        let theirs: ExportTraceServiceRequest = serde_json::from_str(&json).expect(&json);
        assert_eq!(format!("{theirs:?}"), format!("{traces:?}"));
    }
}

/// A log record's JSON fields in; the reference's view of what came of it out.
#[track_caller]
fn check(fields: &str, expect: impl FnOnce(&LogRecord)) {
    let json = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{{fields}}}]}}]}}]}}"#);
    let bytes = otlp_json::transcode(Signal::Logs, json.as_bytes()).expect(&json);
    let request = ExportLogsServiceRequest::decode(&bytes[..]).expect(&json);
    expect(&request.resource_logs[0].scope_logs[0].log_records[0]);
}

fn body(record: &LogRecord) -> Option<&Value> {
    record.body.as_ref().and_then(|body| body.value.as_ref())
}

#[test]
fn sloppy_json_is_understood() {
    let id: Vec<u8> = (0..16).map(|i| i * 16 + i).collect();
    for hex in [
        "00112233445566778899aabbccddeeff",
        "00112233445566778899AABBCCDDEEFF",
    ] {
        check(&format!(r#""traceId":"{hex}""#), |r| {
            assert_eq!(r.trace_id, id)
        });
    }
    check(
        r#""traceId":null,"attributes":null,"body":null,"flags":null"#,
        |r| {
            assert_eq!(r, &LogRecord::default());
        },
    );
    for stamp in [r#""1763724000000000001""#, "1763724000000000001"] {
        check(&format!(r#""timeUnixNano":{stamp}"#), |r| {
            assert_eq!(r.time_unix_nano, 1_763_724_000_000_000_001);
        });
    }
    for (text, expect) in [
        ("\"NaN\"", f64::NAN),
        ("\"-Infinity\"", f64::NEG_INFINITY),
        ("1", 1.0),
        ("\"2.5\"", 2.5),
    ] {
        check(&format!(r#""body":{{"doubleValue":{text}}}"#), |r| {
            let Some(Value::DoubleValue(value)) = body(r) else {
                panic!("{r:?}")
            };
            assert_eq!(value.to_bits(), expect.to_bits());
        });
    }
    for text in ["+/8=", "+/8", "-_8=", "-_8"] {
        check(&format!(r#""body":{{"bytesValue":"{text}"}}"#), |r| {
            assert_eq!(
                body(r),
                Some(&Value::BytesValue(vec![0xfb, 0xff])),
                "{text}"
            );
        });
    }
    check(
        r#""body":{"intValue":1.0e3},"severityNumber":"17","severity_text":"ERR","odd":{"a":[1,2]}"#,
        |r| {
            assert_eq!(body(r), Some(&Value::IntValue(1000)));
            assert_eq!((r.severity_number, r.severity_text.as_str()), (17, "ERR"));
        },
    );
    check(
        r#""body":{"newKind":{"x":1}},"attributes":[{"key":"k"},{"key":"e","value":{}},null]"#,
        |r| {
            assert_eq!((body(r), r.attributes.len()), (None, 3));
        },
    );
}

/// Wrong values spoil their record, which admission then leaves out; the request goes through.
#[test]
fn wrong_values_spoil_only_their_record() {
    for fields in [
        r#""traceId":"xyz""#,
        r#""traceId":17"#,
        r#""timeUnixNano":"soon""#,
        r#""timeUnixNano":-1"#,
        r#""severityNumber":"SEVERITY_NUMBER_INFO""#,
        r#""severityNumber":1e40"#,
        r#""flags":"x""#,
        r#""body":"plain""#,
        r#""body":{"intValue":"x"}"#,
        r#""body":{"boolValue":"maybe"}"#,
        r#""body":{"doubleValue":"inf"}"#,
        r#""body":{"bytesValue":"***"}"#,
        r#""attributes":{"key":"k"}"#,
        r#""attributes":["k"]"#,
        r#""eventName":7"#,
    ] {
        let json = format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{{fields}}},{{"body":{{"stringValue":"kept"}}}}]}}]}}]}}"#
        );
        let bytes = otlp_json::transcode(Signal::Logs, json.as_bytes()).expect(&json);
        assert!(
            ExportLogsServiceRequest::decode(&bytes[..]).is_err(),
            "{fields}"
        );
        let records = crate::ingest::records_kept(Signal::Logs, bytes).expect(&json);
        assert_eq!(records, 1, "{fields}");
    }
}

/// In a thread with a small stack, so that recursion without a bound would show.
#[test]
fn deep_json_neither_fails_nor_overflows() {
    let work = || {
        for depth in [10, 16, 17, 100, 1_000, 10_000] {
            let open = r#"{"arrayValue":{"values":["#.repeat(depth);
            let json = format!(
                r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{open}{{"stringValue":"core"}}{}}}]}}]}}]}}"#,
                "]}}".repeat(depth)
            );
            let bytes = otlp_json::transcode(Signal::Logs, json.as_bytes()).expect("JSON");
            assert_eq!(
                crate::ingest::records_kept(Signal::Logs, bytes),
                Ok(1),
                "{depth}"
            );
        }
    };
    let thread = std::thread::Builder::new()
        .stack_size(crate::ingest::TEST_STACK_BYTES)
        .spawn(work);
    thread.expect("a thread").join().expect("no panic");
}

/// Mutated JSON: an error or a request, never a panic.
#[test]
fn damaged_json_never_panics() {
    let mut random = Random::new(23);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..3_000 {
        let logs = random.logs_request(BASE_NS).encode_to_vec();
        let mut json = otlp_json_out::encode(Signal::Logs, &logs)
            .expect("sound")
            .into_bytes();
        let at = random.below(json.len());
        match random.below(3) {
            0 => json.truncate(at),
            1 => json[at] = random.next() as u8,
            _ => _ = json.remove(at),
        }
        match otlp_json::transcode(Signal::Logs, &json) {
            Ok(bytes) => {
                read += 1;
                _ = crate::ingest::records_kept(Signal::Logs, bytes);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        read > 100 && refused > 100,
        "{read} read, {refused} refused"
    );
}
