//! OTLP over HTTP: what senders may send, and what they are told when all or part of it went well.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use crate::http::{Answer, send};
use crate::server::Server;
use crate::telemetry::{deflate, gzip, log, logs, metric, span, traces, zstd};

const PROTOBUF: &str = "application/x-protobuf";

fn post(server: &Server, path: &str, content_type: &str, coding: &str, body: &[u8]) -> Answer {
    let mut headers = vec![format!("Content-Type: {content_type}")];
    if !coding.is_empty() {
        headers.push(format!("Content-Encoding: {coding}"));
    }
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    send(
        server.otlp_http.expect("listens"),
        "POST",
        path,
        &headers,
        body,
    )
}

#[test]
fn every_encoding_is_taken_and_full_success_is_an_empty_answer() {
    let server = Server::start();
    for (number, coding) in ["", "identity", "gzip", "zstd", "deflate", "GZIP"]
        .iter()
        .enumerate()
    {
        let plain = logs(vec![log(&format!("number {number}"))]);
        let body = match coding.to_ascii_lowercase().as_str() {
            "gzip" => gzip(&plain),
            "zstd" => zstd(&plain),
            "deflate" => deflate(&plain),
            _ => plain,
        };
        let answer = post(&server, "/v1/logs", PROTOBUF, coding, &body);
        assert_eq!(
            (answer.status, answer.body.len()),
            (200, 0),
            "{coding}: {}",
            answer.text()
        );
        assert_eq!(answer.header("content-type"), PROTOBUF);
    }
    let accepted = r#"watchpost_ingest_accepted_records_total{signal="logs",service="shop"}"#;
    assert_eq!(metric(&server, accepted), 6.0);
    let json = post(
        &server,
        "/v1/traces",
        "application/json; charset=utf-8",
        "",
        b"{}",
    );
    assert_eq!((json.status, json.text().as_str()), (200, "{}"));
    let empty = post(&server, "/v1/traces", PROTOBUF, "", b"");
    assert_eq!((empty.status, empty.body.len()), (200, 0));
}

#[test]
fn a_bad_record_is_named_and_the_rest_is_kept() {
    let server = Server::start();
    let mut bad = span("bad", 2);
    bad.span_id = vec![1; 5];
    let body = traces(vec![span("good", 1), bad, span("good too", 3)]);
    let answer = post(&server, "/v1/traces", PROTOBUF, "gzip", &gzip(&body));
    assert_eq!(answer.status, 200);
    let response = ExportTraceServiceResponse::decode(&answer.body[..]).expect("protobuf");
    let partial = response.partial_success.expect("something was left out");
    assert_eq!(partial.rejected_spans, 1);
    let expect =
        "1 of 3 spans rejected: record 1: an id has 5 bytes (a trace id has 16, a span id 8)";
    assert_eq!(partial.error_message, expect);
    let rejected = r#"watchpost_ingest_rejected_records_total{signal="traces",service="shop",reason="bad_id"}"#;
    assert_eq!(metric(&server, rejected), 1.0);
    assert_eq!(
        metric(&server, r#"watchpost_store_head_rows{signal="traces"}"#),
        2.0
    );
}

#[test]
fn what_was_cut_or_mended_is_a_warning() {
    let server = Server::start();
    let mut long = log("x");
    long.event_name = "e".repeat(2_000);
    let answer = post(&server, "/v1/logs", PROTOBUF, "", &logs(vec![long]));
    let response = ExportLogsServiceResponse::decode(&answer.body[..]).expect("protobuf");
    let partial = response.partial_success.expect("a warning");
    assert_eq!(partial.rejected_log_records, 0);
    let expect =
        "1 log records over a limit were cut and marked with watchpost.truncated (limits.*)";
    assert_eq!(partial.error_message, expect);
    let cut = r#"watchpost_ingest_truncated_records_total{signal="logs",service="shop",limit="name_bytes"}"#;
    assert_eq!(metric(&server, cut), 1.0);
    let mut bytes = logs(vec![log("caf_")]);
    let at = bytes.iter().position(|b| *b == b'_').expect("the body");
    bytes[at] = 0xe9;
    let answer = post(&server, "/v1/logs", PROTOBUF, "", &bytes);
    let response = ExportLogsServiceResponse::decode(&answer.body[..]).expect("protobuf");
    let warning = response.partial_success.expect("a warning").error_message;
    assert_eq!(warning, "1 strings were not UTF-8 and got U+FFFD");
}

#[test]
fn retries_are_acknowledged_and_kept_once() {
    let mut server = Server::start();
    let body = traces(vec![span("once", 7)]);
    for attempt in 0..5 {
        // Compressed or not, it is the same request.
        let (coding, bytes) = if attempt % 2 == 0 {
            ("", body.clone())
        } else {
            ("gzip", gzip(&body))
        };
        let answer = post(&server, "/v1/traces", PROTOBUF, coding, &bytes);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let rows = r#"watchpost_store_head_rows{signal="traces"}"#;
    let repeated = r#"watchpost_ingest_deduplicated_requests_total{signal="traces"}"#;
    assert_eq!(
        (metric(&server, rows), metric(&server, repeated)),
        (1.0, 4.0)
    );
    server.kill();
    let server = server.again();
    assert_eq!(post(&server, "/v1/traces", PROTOBUF, "", &body).status, 200);
    assert_eq!(
        (metric(&server, rows), metric(&server, repeated)),
        (1.0, 1.0)
    );
}
