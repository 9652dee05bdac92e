//! Telemetry through the binary: taken, acknowledged, counted, kept over a kill.

use crate::http::send;
use crate::server::Server;

const TRACES: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
"scopeSpans":[{"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174","name":"pay","kind":2,
"startTimeUnixNano":"START","endTimeUnixNano":"START"}]}]}]}"#;

fn now_ns() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_nanos().to_string()
}

/// The value of a series of `/metrics`, 0 when there is none.
fn metric(server: &Server, series: &str) -> f64 {
    let text = server.get("/metrics").text();
    let line = text.lines().find_map(|line| {
        line.strip_prefix(series)?
            .strip_prefix(' ')
            .map(str::to_owned)
    });
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

#[test]
fn a_span_is_taken_on_both_http_ports_and_survives_a_kill() {
    let mut server = Server::start();
    let body = TRACES.replace("START", &now_ns());
    let json = "Content-Type: application/json";
    let first = send(
        server.otlp_http.expect("listens"),
        "POST",
        "/v1/traces",
        &[json],
        body.as_bytes(),
    );
    assert_eq!((first.status, first.text().as_str()), (200, "{}"));
    let again = send(server.http, "POST", "/v1/traces", &[json], body.as_bytes());
    assert_eq!(again.status, 200, "a retry is acknowledged again");
    assert_eq!(
        metric(
            &server,
            "watchpost_ingest_accepted_records_total{signal=\"traces\",service=\"shop\"}"
        ),
        1.0
    );
    assert_eq!(
        metric(
            &server,
            "watchpost_ingest_deduplicated_requests_total{signal=\"traces\"}"
        ),
        1.0
    );
    server.kill();
    let server = server.again();
    assert_eq!(
        metric(&server, "watchpost_store_head_rows{signal=\"traces\"}"),
        1.0,
        "replayed"
    );
    let again = send(server.http, "POST", "/v1/traces", &[json], body.as_bytes());
    assert_eq!(again.status, 200);
    assert_eq!(
        metric(
            &server,
            "watchpost_ingest_deduplicated_requests_total{signal=\"traces\"}"
        ),
        1.0,
        "known after a restart"
    );
}

#[test]
fn a_browser_may_send_from_any_origin() {
    let server = Server::start();
    let origin = "Origin: https://shop.example.org";
    let asked = [
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: content-type,authorization",
        origin,
    ];
    let preflight = send(server.http, "OPTIONS", "/v1/traces", &asked, b"");
    assert_eq!(preflight.status, 204);
    assert_eq!(
        preflight.header("access-control-allow-headers"),
        "content-type,authorization"
    );
    let sent = send(
        server.http,
        "POST",
        "/v1/traces",
        &["Content-Type: application/json", origin],
        b"{}",
    );
    assert_eq!(
        (sent.status, sent.header("access-control-allow-origin")),
        (200, "https://shop.example.org")
    );
    // Its own API is not for other origins.
    assert_eq!(
        send(server.http, "POST", "/api/v1/tokens", &[origin], b"{}").status,
        403
    );
}

#[test]
fn senders_without_a_token_are_told_in_their_own_language() {
    let server = Server::with(&["--listen", "0.0.0.0:0"]);
    let local = ([127, 0, 0, 1], server.http.port()).into();
    let json = send(
        local,
        "POST",
        "/v1/logs",
        &["Content-Type: application/json"],
        b"{}",
    );
    assert_eq!((json.status, json.json()["code"].as_u64()), (401, Some(16)));
    let binary = send(
        local,
        "POST",
        "/v1/logs",
        &["Content-Type: application/x-protobuf"],
        b"",
    );
    assert_eq!(
        (
            binary.status,
            binary.header("content-type"),
            binary.body[..2].to_vec()
        ),
        (401, "application/x-protobuf", vec![8, 16])
    );
    let page = send(local, "GET", "/logs", &[], b"");
    assert!(
        page.status == 404 || page.header("location") == "/login?next=%2Flogs",
        "{}",
        page.status
    );
    // The neighbours' port is on loopback here, so it is open.
    let open = send(
        server.otlp_http.expect("listens"),
        "POST",
        "/v1/logs",
        &["Host: watchpost:4318", "Content-Type: application/json"],
        b"{}",
    );
    assert_eq!(open.status, 200);
}

#[test]
fn the_wrong_port_names_the_right_one() {
    let server = Server::start();
    let http_on_grpc = send(
        server.otlp_grpc.expect("listens"),
        "POST",
        "/v1/traces",
        &["Content-Type: application/json"],
        b"{}",
    );
    assert_eq!(http_on_grpc.status, 400);
    assert!(
        http_on_grpc.text().contains("4318"),
        "{}",
        http_on_grpc.text()
    );
    let page_on_otlp = send(server.otlp_http.expect("listens"), "GET", "/logs", &[], b"");
    assert_eq!(page_on_otlp.status, 404);
}

/// Records that are left out before admission sees them are counted all the same.
#[test]
fn what_a_receiver_leaves_out_is_counted() {
    let server = Server::start();
    let json = ["Content-Type: application/json"];
    let protobuf = ["Content-Type: application/x-protobuf"];
    // A stream of protobuf carries its labels as text: here one that does not parse, with one entry.
    let stream = b"\x0a\x04{bad\x12\x03\x12\x01x";
    let mut message = vec![0x0a, stream.len() as u8];
    message.extend_from_slice(stream);
    let packed = crate::telemetry::snappy(&message);
    let bad = send(server.http, "POST", "/loki/api/v1/push", &protobuf, &packed);
    assert_eq!(bad.status, 400, "{}", bad.text());
    let left_out = |signal: &str, sender: &str, reason: &str| {
        let series = format!(
            r#"watchpost_ingest_rejected_records_total{{signal="{signal}",service="{sender}",reason="{reason}"}}"#
        );
        metric(&server, &series)
    };
    assert_eq!(left_out("logs", "unknown_service", "malformed"), 1.0);
    let points = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
        {"name":"sold","gauge":{"dataPoints":[{},{},{"asInt":"7"}]}}]}]}]}"#;
    let answer = send(server.http, "POST", "/v1/metrics", &json, points.as_bytes());
    assert_eq!(answer.status, 200);
    assert!(
        answer.text().contains("without a value"),
        "{}",
        answer.text()
    );
    assert_eq!(left_out("metrics", "http/json", "malformed"), 2.0);
}
