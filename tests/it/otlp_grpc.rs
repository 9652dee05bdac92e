//! OTLP over gRPC on both of its ports.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;

use crate::grpc::{LOGS, METRICS, TRACES, call, framed};
use crate::server::Server;
use crate::telemetry::{deflate, gzip, log, logs, metric, span, traces, zstd};

#[test]
fn spans_and_logs_come_in_on_both_ports_in_every_encoding() {
    let server = Server::start();
    let grpc = server.otlp_grpc.expect("listens");
    let mut number = 0;
    for addr in [grpc, server.http] {
        for coding in ["", "identity", "gzip", "zstd", "deflate"] {
            number += 1;
            let plain = traces(vec![span("GET /cart", number)]);
            let (flag, message) = match coding {
                "gzip" => (1, gzip(&plain)),
                "zstd" => (1, zstd(&plain)),
                "deflate" => (1, deflate(&plain)),
                _ => (0, plain),
            };
            let headers = [("grpc-encoding", coding)];
            let headers = if coding.is_empty() {
                &headers[..0]
            } else {
                &headers[..]
            };
            let reply = call(addr, TRACES, headers, framed(flag, &message));
            assert_eq!(
                (reply.http_status, reply.code),
                (200, 0),
                "{coding}: {}",
                reply.message
            );
            assert!(
                reply.body.is_empty(),
                "partial_success is unset on full success"
            );
        }
    }
    assert_eq!(
        metric(&server, r#"watchpost_store_head_rows{signal="traces"}"#),
        10.0
    );
    let reply = call(grpc, LOGS, &[], framed(0, &logs(vec![log("hello")])));
    assert_eq!(reply.code, 0);
    // An empty request is a success, and so is one without metrics.
    assert_eq!(call(grpc, LOGS, &[], framed(0, b"")).code, 0);
    assert_eq!(call(grpc, METRICS, &[], framed(0, b"")).code, 0);
}

#[test]
fn a_bad_record_is_named_over_grpc_too() {
    let server = Server::start();
    let mut bad = log("bad");
    bad.trace_id = vec![1, 2, 3];
    let body = logs(vec![bad, log("good")]);
    let reply = call(
        server.otlp_grpc.expect("listens"),
        LOGS,
        &[],
        framed(0, &body),
    );
    assert_eq!(reply.code, 0);
    let response = ExportLogsServiceResponse::decode(&reply.body[..]).expect("protobuf");
    let partial = response.partial_success.expect("something was left out");
    assert_eq!(partial.rejected_log_records, 1);
    assert!(
        partial
            .error_message
            .contains("record 0: an id has 3 bytes")
    );
}
