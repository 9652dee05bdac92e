use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;

use super::transcode::{BadStreams, Pushed};
use super::{from_json, from_protobuf, labels};
use crate::model::random::Random;
use crate::model::write;

/// One line per record: resource, then the record's own fields.
fn render(pushed: &Pushed) -> String {
    let request = ExportLogsServiceRequest::decode(&pushed.request[..]).expect("protobuf");
    let mut out = String::new();
    for group in request.resource_logs {
        let resource = pairs(&group.resource.expect("a resource").attributes);
        for record in &group.scope_logs[0].log_records {
            let body = record.body.clone().and_then(|body| body.value);
            let Some(Value::StringValue(body)) = body else {
                panic!("{record:?}")
            };
            let hex = |id: &[u8]| id.iter().map(|b| format!("{b:02x}")).collect::<String>();
            out += &format!(
                "{resource} | {} {:?} {} {} t={} s={} {}\n",
                record.time_unix_nano,
                body,
                record.severity_number,
                record.severity_text,
                hex(&record.trace_id),
                hex(&record.span_id),
                pairs(&record.attributes),
            );
        }
    }
    out
}

fn pairs(attributes: &[KeyValue]) -> String {
    let texts = attributes.iter().map(|pair| {
        let value = pair.value.clone().and_then(|value| value.value);
        let Some(Value::StringValue(value)) = value else {
            panic!("{pair:?}")
        };
        format!("{}={value}", pair.key)
    });
    texts.collect::<Vec<_>>().join(",")
}

const TRACE: &str = "00112233445566778899aabbccddeeff";

/// The protobuf of one stream with one entry.
fn protobuf(labels: &str, line: &[u8], metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    write::message(&mut out, 1, |out| {
        write::bytes_field(out, 1, labels.as_bytes());
        write::message(out, 2, |out| {
            write::message(out, 1, |out| {
                write::varint_field(out, 1, 1_763_724_000);
                write::varint_field(out, 2, 5);
            });
            write::bytes_field(out, 2, line);
            for (name, value) in metadata {
                write::message(out, 3, |out| {
                    write::bytes_field(out, 1, name.as_bytes());
                    write::bytes_field(out, 2, value.as_bytes());
                });
            }
        });
        write::varint_field(out, 3, 77);
    });
    out
}

#[test]
fn both_forms_become_the_same_records() {
    let expect = format!(
        "service.name=shop,env=dev | 1763724000000000005 \"hi\" 17 error t={TRACE} s=0011223344556677 user=ann\n"
    );
    let metadata = [
        ("trace_id", TRACE),
        ("span_id", "0011223344556677"),
        ("user", "ann"),
    ];
    let bytes = protobuf(
        r#"{app="shop", env="dev", level="error"}"#,
        b"hi",
        &metadata,
    );
    assert_eq!(render(&from_protobuf(&bytes).expect("a push")), expect);
    // Labels after the entries, and a time as a number.
    for time in ["\"1763724000000000005\"", "1763724000000000005"] {
        let json = format!(
            r#"{{"streams":[{{"values":[[{time},"hi",{{"trace_id":"{TRACE}","span_id":"0011223344556677","user":"ann"}}]],"stream":{{"app":"shop","env":"dev","level":"error"}}}}]}}"#
        );
        assert_eq!(render(&from_json(json.as_bytes()).expect("a push")), expect);
    }
}

#[test]
fn the_service_is_the_best_of_the_labels_that_name_one() {
    for (labels, expect) in [
        (r#"{job="j", app="a"}"#, "job=j,service.name=a"),
        (
            r#"{container="c", service_name="s", service="t"}"#,
            "container=c,service.name=s,service=t",
        ),
        (
            r#"{container_name="c", level="odd"}"#,
            "service.name=c,level=odd",
        ),
        (r#"{host="h"}"#, "host=h"),
        ("{}", ""),
    ] {
        let pushed = from_protobuf(&protobuf(labels, b"x", &[])).expect("a push");
        let shown = render(&pushed);
        assert_eq!(shown.split(" | ").next(), Some(expect), "{labels}");
    }
}

#[test]
fn labels_are_read_as_go_writes_them() {
    let parse = |text: &str| labels::parse(text).map(|all| format!("{all:?}"));
    assert_eq!(
        parse(r#"{a="x\"y\\z\n\u00e9\xc3\xa9", b_1=`raw\n`,}"#).as_deref(),
        Ok(r#"[("a", "x\"y\\z\néé"), ("b_1", "raw\\n")]"#)
    );
    for bad in [
        "",
        "a=\"x\"",
        "{a}",
        "{a=x}",
        "{a=\"x}",
        "{a=\"x\" b=\"y\"}",
        "{=\"x\"}",
        r#"{a="\q"}"#,
        "{a=\"é\\u12\"}",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn streams_with_bad_labels_are_left_out_and_told() {
    let mut bytes = protobuf("{broken", b"lost", &[]);
    bytes.extend(protobuf(r#"{app="a"}"#, b"kept", &[]));
    let pushed = from_protobuf(&bytes).expect("a push");
    assert!(render(&pushed).contains("kept"));
    let bad = BadStreams {
        entries: 1,
        first: "labels \"{broken\": expected {name=\"value\", ...}".to_owned(),
    };
    assert_eq!(pushed.bad_streams, Some(bad));
}

#[test]
fn malformed_pushes_are_told() {
    for (json, expect) in [
        ("", "the JSON ends too early at byte 0"),
        (
            r#"{"streams":[{"stream":{"a":1}}]}"#,
            "a string was expected at byte 27",
        ),
        (
            r#"{"streams":[{"values":[["soon","x"]]}]}"#,
            "a time in epoch nanoseconds was expected at byte 30",
        ),
        (
            r#"{"streams":[{"values":[["1",2]]}]}"#,
            "an entry is [\"time\", \"line\", {metadata}] at byte 28",
        ),
    ] {
        assert_eq!(from_json(json.as_bytes()).expect_err(json), expect);
    }
    assert!(from_json(b"{}").expect("no streams").request.is_empty());
    assert!(from_protobuf(b"\x0a\x05x").is_err());
}

/// Mutated pushes: an error or a request that admission takes, never a panic.
#[test]
fn damaged_pushes_never_panic() {
    let mut random = Random::new(31);
    let json = format!(
        r#"{{"streams":[{{"stream":{{"app":"shop","level":"warn"}},"values":[["1763724000000000005","line",{{"trace_id":"{TRACE}"}}]]}}]}}"#
    );
    let binary = protobuf(
        r#"{app="shop", level="warn"}"#,
        b"line",
        &[("trace_id", TRACE)],
    );
    for round in 0..20_000 {
        let mut bytes = if round % 2 == 0 {
            json.clone().into_bytes()
        } else {
            binary.clone()
        };
        let at = random.below(bytes.len());
        match random.below(3) {
            0 => bytes.truncate(at),
            1 => bytes[at] = random.next() as u8,
            _ => bytes.insert(at, random.next() as u8),
        }
        let pushed = if round % 2 == 0 {
            from_json(&bytes)
        } else {
            from_protobuf(&bytes)
        };
        if let Ok(pushed) = pushed {
            let kept = crate::ingest::records_kept(crate::model::Signal::Logs, pushed.request);
            assert!(kept.is_ok());
        }
    }
}
