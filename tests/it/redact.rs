//! Secrets never reach the disk: whatever door they come through, no file of the data directory and
//! no line of the own log has them (reliability.md S10).

use std::path::Path;

use crate::grpc::{self, LOGS, framed};
use crate::http::send;
use crate::server::Server;
use crate::telemetry::{gzip, log, logs, metric, pair, span, traces, zstd};

const PROTOBUF: &str = "Content-Type: application/x-protobuf";

/// Every file below `dir` that has `needle` in it.
fn files_with(dir: &Path, needle: &str, found: &mut Vec<String>) -> usize {
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            seen += files_with(&path, needle, found);
            continue;
        }
        seen += 1;
        let bytes = std::fs::read(&path).expect("a file");
        if memchr::memmem::find(&bytes, needle.as_bytes()).is_some() {
            found.push(path.display().to_string());
        }
    }
    seen
}

#[track_caller]
fn check_clean(server: &Server, canaries: &[&str]) {
    for canary in canaries {
        let mut found = Vec::new();
        let files = files_with(&server.data_dir(), canary, &mut found);
        assert!(files >= 2, "the catalogue and the log are there");
        assert!(found.is_empty(), "{canary} is in {found:?}");
        assert!(
            !server.stderr().contains(canary),
            "{canary} is in the own log"
        );
    }
}

const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnktand0In0.Y2FuYXJ5";

/// Requests with a canary in every place that the cheap rules know.
fn secrets(tag: &str) -> Vec<u8> {
    let mut record = log(&format!(
        r#"{{"user":"ann","password":"canary-{tag}-body","nested":{{"api_key":"canary-{tag}-key"}}}}"#
    ));
    record.attributes = vec![
        pair(
            "http.request.header.authorization",
            &format!("Basic canary-{tag}-auth"),
        ),
        pair(
            "http.request.header.cookie",
            &format!("sid=canary-{tag}-cookie"),
        ),
        pair("note", &format!("sent Bearer canary-{tag}-bearer to {JWT}")),
        pair(
            "url.full",
            &format!("https://shop/?token=canary-{tag}-query&page=2"),
        ),
        pair("visible", &format!("plain-{tag}")),
    ];
    logs(vec![record])
}

/// Sends canaries through every door.
#[track_caller]
fn send_secrets(server: &Server) {
    let http = server.otlp_http.expect("listens");
    let gz = [PROTOBUF, "Content-Encoding: gzip"];
    let zs = [PROTOBUF, "Content-Encoding: zstd"];
    assert_eq!(
        send(http, "POST", "/v1/logs", &[PROTOBUF], &secrets("plain")).status,
        200
    );
    assert_eq!(
        send(http, "POST", "/v1/logs", &gz, &gzip(&secrets("gzip"))).status,
        200
    );
    assert_eq!(
        send(http, "POST", "/v1/logs", &zs, &zstd(&secrets("zstd"))).status,
        200
    );
    let grpc = server.otlp_grpc.expect("listens");
    let headers = [("grpc-encoding", "gzip")];
    assert_eq!(
        grpc::call(grpc, LOGS, &headers, framed(1, &gzip(&secrets("grpc")))).code,
        0
    );
    let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"password=canary-json visible-json"}}]}]}]}"#;
    let json_type = ["Content-Type: application/json"];
    assert_eq!(
        send(http, "POST", "/v1/logs", &json_type, json.as_bytes()).status,
        200
    );
    let loki =
        r#"{"streams":[{"stream":{"app":"shop"},"values":[["1","x",{"token":"canary-loki"}]]}]}"#;
    let loki = loki.replace("\"1\"", &format!("\"{}\"", crate::telemetry::now_ns()));
    assert_eq!(
        send(
            server.http,
            "POST",
            "/loki/api/v1/push",
            &json_type,
            loki.as_bytes()
        )
        .status,
        204
    );
    let mut spanned = span("GET /login?password=canary-name", 9);
    spanned.attributes = vec![pair("db.password", "canary-span")];
    assert_eq!(
        send(
            http,
            "POST",
            "/v1/traces",
            &gz,
            &gzip(&traces(vec![spanned]))
        )
        .status,
        200
    );
    let broken = br#"{"password":"canary-broken""#;
    assert_eq!(
        send(http, "POST", "/v1/logs", &json_type, broken).status,
        400
    );
}

#[test]
fn credentials_are_masked_before_anything_is_written() {
    let mut server = Server::start();
    send_secrets(&server);
    check_clean(&server, &["canary", "eyJ"]);
    // What is no secret is there, in the log as it came.
    let mut found = Vec::new();
    files_with(&server.data_dir(), "plain-gzip", &mut found);
    assert!(!found.is_empty(), "the rest of a masked request is kept");
    let masked = metric(
        &server,
        r#"watchpost_ingest_redacted_values_total{signal="logs",rule="bearer"}"#,
    );
    assert_eq!(masked, 4.0);
    // After a clean stop everything is in its final place.
    assert_eq!(server.stop(), Some(0));
    check_clean(&server, &["canary", "eyJ"]);
}

#[test]
fn a_request_without_secrets_is_logged_as_it_came() {
    let server = Server::start();
    let body = gzip(&logs(vec![log(&"nothing to hide here. ".repeat(100))]));
    let headers = [PROTOBUF, "Content-Encoding: gzip"];
    assert_eq!(
        send(server.http, "POST", "/v1/logs", &headers, &body).status,
        200
    );
    let mut found = Vec::new();
    files_with(&server.data_dir(), "nothing to hide", &mut found);
    assert!(
        found.is_empty(),
        "compressed bytes are not inflated for the log: {found:?}"
    );
}

#[test]
fn cards_and_emails_are_masked_when_asked_for() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("watchpost.toml");
    std::fs::write(&file, "[ingest]\nredact = \"credentials,cards,emails\"\n").expect("written");
    let file = file.display().to_string();
    let server = Server::with(&["--listen", "127.0.0.1:0", "--config", &file]);
    let body = logs(vec![log(
        "ann.canary@example.com paid with 4111 1111 1111 1111, order 4111111111111112",
    )]);
    assert_eq!(
        send(server.http, "POST", "/v1/logs", &[PROTOBUF], &body).status,
        200
    );
    check_clean(&server, &["ann.canary", "4111 1111"]);
    let mut found = Vec::new();
    files_with(&server.data_dir(), "order 4111111111111112", &mut found);
    assert!(!found.is_empty(), "a number that is no card number stays");
}
