//! What the ways in for metrics refuse before anything is stored, in the words of their protocols.

use crate::http::send;
use crate::server::Server;
use crate::telemetry::snappy;

const WRITE: &str = "/prometheus/api/v1/write";

#[test]
fn remote_write_names_what_it_takes() {
    let server = Server::start();
    let good = snappy(b"");
    let v2 = "Content-Type: application/x-protobuf;proto=io.prometheus.write.v2.Request";
    for (headers, body, status, what) in [
        (
            &["Content-Type: application/json"][..],
            &good[..],
            415,
            "proto=prometheus.WriteRequest",
        ),
        (
            &["Content-Type: application/x-protobuf;proto=some.Other"],
            &good,
            415,
            "io.prometheus.write.v2.Request",
        ),
        (
            &[v2, "Content-Encoding: zstd"],
            &good,
            415,
            "compressed with snappy",
        ),
        (&[v2], b"\xff\xff\xff", 400, "the body is not valid snappy"),
        (
            &[],
            &snappy(b"\x0a\x05abc"),
            400,
            "not a remote write request",
        ),
        // Declares 1 GiB.
        (
            &[],
            b"\x80\x80\x80\x80\x04\x00",
            413,
            "limits.request_bytes",
        ),
    ] {
        let answer = send(server.http, "POST", WRITE, headers, body);
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text());
        assert!(answer.text().contains(what), "{}", answer.text());
        assert_eq!(
            answer.header("x-prometheus-remote-write-samples-written"),
            "0"
        );
    }
}

#[test]
fn pushes_that_are_none_are_told_why() {
    let server = Server::start();
    for (path, body, what) in [
        (
            "/pushgateway/metrics/job",
            "a 1\n",
            "odd number of components",
        ),
        (
            "/pushgateway/metrics/jobs/x",
            "a 1\n",
            "a path begins with job",
        ),
        (
            "/pushgateway/metrics/job/x/0bad/y",
            "a 1\n",
            "improper label name",
        ),
        (
            "/pushgateway/metrics/job/x",
            "a 1 5\n",
            "must not have timestamps",
        ),
        ("/pushgateway/metrics/job/x", "a{\n", "line 1, column 3"),
    ] {
        for method in ["PUT", "POST"] {
            let answer = send(server.http, method, path, &[], body.as_bytes());
            assert_eq!(answer.status, 400, "{path}: {}", answer.text());
            assert!(answer.text().contains(what), "{}", answer.text());
        }
    }
    let wrong = send(server.http, "GET", "/pushgateway/metrics/job/x", &[], b"");
    assert_eq!(wrong.status, 405);
}

#[test]
fn otlp_metrics_that_are_none_are_refused() {
    let server = Server::start();
    for (content_type, body) in [
        ("Content-Type: application/x-protobuf", &b"\x0a\x05abc"[..]),
        ("Content-Type: application/json", b"{\"resourceMetrics\":[}"),
    ] {
        let answer = send(server.http, "POST", "/v1/metrics", &[content_type], body);
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
}
