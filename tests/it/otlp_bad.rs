//! Bad input, one line each: what was sent, and the exact answer. Run with `--nocapture` it prints
//! the table.

use std::net::SocketAddr;

use crate::grpc::{self, LOGS, TRACES, framed};
use crate::http;
use crate::server::Server;
use crate::telemetry::{gzip, log, logs, snappy, span, traces, zstd};

const PROTOBUF: &str = "Content-Type: application/x-protobuf";
const JSON: &str = "Content-Type: application/json";

/// What is sent.
enum Sent {
    /// Path, header lines, body.
    Http(&'static str, Vec<&'static str>, Vec<u8>),
    /// Path, headers, framed body.
    Grpc(&'static str, Vec<(&'static str, &'static str)>, Vec<u8>),
    /// Sent to the port of the other protocol.
    HttpToGrpcPort,
    GrpcToHttpPort,
}

struct Case(&'static str, Sent, &'static str);

/// The answer in one line: status, then the message of the `Status`, of partial_success, or text.
fn answer(server: &Server, sent: &Sent) -> String {
    let http_port = server.otlp_http.expect("listens");
    let grpc_port = server.otlp_grpc.expect("listens");
    match sent {
        Sent::Http(path, headers, body) => {
            // Loki's path is on the port of everything.
            let addr = if path.starts_with("/v1") {
                http_port
            } else {
                server.http
            };
            over_http(addr, path, headers, body)
        }
        Sent::Grpc(path, headers, body) => over_grpc(grpc_port, path, headers, body),
        Sent::HttpToGrpcPort => over_http(grpc_port, "/v1/logs", &[JSON], b"{}"),
        Sent::GrpcToHttpPort => over_grpc(http_port, TRACES, &[], &framed(0, b"")),
    }
}

fn over_http(addr: SocketAddr, path: &str, headers: &[&str], body: &[u8]) -> String {
    let answer = http::send(addr, "POST", path, headers, body);
    let asked_json = headers.contains(&JSON);
    let expect = if path.starts_with("/loki") {
        "text/plain; charset=utf-8"
    } else if asked_json || (answer.status == 415 && !headers.contains(&PROTOBUF)) {
        "application/json"
    } else {
        "application/x-protobuf"
    };
    assert_eq!(
        answer.header("content-type"),
        expect,
        "the answer has the request's encoding"
    );
    let message = match expect {
        "application/json" => {
            let json = answer.json();
            let partial = &json["partialSuccess"]["errorMessage"];
            let text = json["message"].as_str().or(partial.as_str());
            text.unwrap_or_default().to_owned()
        }
        "application/x-protobuf" => message_of(&answer.body, answer.status == 200),
        _ => answer.text(),
    };
    let status = answer.status;
    format!("{status} {message}")
}

/// Field 2 of a `Status`, or of the `partial_success` in field 1 of a response.
fn message_of(bytes: &[u8], is_response: bool) -> String {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Status {
        #[prost(int64, tag = "1")]
        number: i64,
        #[prost(string, tag = "2")]
        message: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct Response {
        #[prost(message, tag = "1")]
        partial: Option<Status>,
    }
    let status = if is_response {
        let response: Response = prost::Message::decode(bytes).expect("a response");
        response.partial
    } else {
        Some(prost::Message::decode(bytes).expect("a Status"))
    };
    status.map(|status| status.message).unwrap_or_default()
}

fn over_grpc(addr: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    let reply = grpc::call(addr, path, headers, body.to_vec());
    assert_eq!(reply.http_status, 200);
    let name = match reply.code {
        0 => "OK",
        3 => "INVALID_ARGUMENT",
        8 => "RESOURCE_EXHAUSTED",
        12 => "UNIMPLEMENTED",
        code => panic!("code {code}: {}", reply.message),
    };
    assert!(reply.details.is_empty(), "none of these is worth a retry");
    let partial = if reply.code == 0 {
        message_of(&reply.body, true)
    } else {
        String::new()
    };
    format!("{name} {}{partial}", reply.message)
}

/// Decompressed size of the bombs; the cap is 16 MiB of 256 MB.
const BOMB_BYTES: usize = 20 << 20;

fn bomb() -> Vec<u8> {
    vec![0; BOMB_BYTES]
}

fn log_with(change: impl FnOnce(&mut opentelemetry_proto::tonic::logs::v1::LogRecord)) -> Vec<u8> {
    let mut record = log("kept or not");
    change(&mut record);
    logs(vec![record])
}

fn json_log(fields: &str) -> Vec<u8> {
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{{fields}}}]}}]}}]}}"#)
        .into_bytes()
}

fn cases() -> Vec<Case> {
    let mut cases = of_bodies();
    cases.extend(of_content_types());
    cases.extend(of_encodings());
    cases.extend(of_bombs());
    cases.extend(of_records());
    cases.extend(of_grpc());
    cases.extend(of_loki());
    cases
}

fn of_bodies() -> Vec<Case> {
    use Sent::Http;
    let good = logs(vec![log("x")]);
    vec![
        Case(
            "protobuf cut short",
            Http("/v1/logs", vec![PROTOBUF], good[..good.len() - 3].to_vec()),
            "400 not an OTLP logs request: a field runs past the end of its message",
        ),
        Case(
            "random bytes as protobuf",
            Http(
                "/v1/traces",
                vec![PROTOBUF],
                b"\xff\xfe\xfd random".to_vec(),
            ),
            "400 not an OTLP traces request: a field has number 0 or a wire type unknown to proto3",
        ),
        Case(
            "JSON sent as protobuf",
            Http(
                "/v1/traces",
                vec![PROTOBUF],
                b"{\"resourceSpans\":[]}".to_vec(),
            ),
            "400 not an OTLP traces request: a field has number 0 or a wire type unknown to proto3",
        ),
        Case(
            "protobuf sent as JSON",
            Http("/v1/logs", vec![JSON], good.clone()),
            "400 not OTLP/JSON: a JSON value was expected at byte 1",
        ),
        Case(
            "JSON cut short",
            Http("/v1/logs", vec![JSON], b"{\"resourceLogs\":[{".to_vec()),
            "400 not OTLP/JSON: a key in quotes was expected at byte 18",
        ),
        Case(
            "a JSON array",
            Http("/v1/logs", vec![JSON], b"[]".to_vec()),
            "400 not OTLP/JSON: an object was expected at byte 0",
        ),
        Case(
            "two JSON values",
            Http("/v1/logs", vec![JSON], b"{}{}".to_vec()),
            "400 not OTLP/JSON: there is more after the JSON value at byte 2",
        ),
        Case(
            "no body as JSON",
            Http("/v1/logs", vec![JSON], Vec::new()),
            "400 not OTLP/JSON: the JSON ends too early at byte 0",
        ),
    ]
}

fn of_content_types() -> Vec<Case> {
    use Sent::Http;
    let good = logs(vec![log("x")]);
    vec![
        Case(
            "no Content-Type",
            Http("/v1/logs", vec![], good.clone()),
            "415 the request has no Content-Type: send application/x-protobuf or application/json",
        ),
        Case(
            "another Content-Type",
            Http("/v1/logs", vec!["Content-Type: text/plain"], good.clone()),
            r#"415 Content-Type "text/plain" is not taken: send application/x-protobuf or application/json"#,
        ),
        Case(
            "OTLP/HTTP sent to the gRPC port",
            Sent::HttpToGrpcPort,
            "400 this port takes OTLP over gRPC: send OTLP over HTTP to port 4318 or 4300 (otlp_http_listen, listen)",
        ),
    ]
}

fn of_encodings() -> Vec<Case> {
    use Sent::Http;
    let good = logs(vec![log("x")]);
    let mut cut_gzip = gzip(&good);
    cut_gzip.truncate(cut_gzip.len() - 9);
    const NESTED: &str = r#"415 encoding "gzip, gzip" is not taken: send gzip, zstd or deflate, one of them, or none"#;
    vec![
        Case(
            "an unknown encoding",
            Http(
                "/v1/logs",
                vec![PROTOBUF, "Content-Encoding: br"],
                good.clone(),
            ),
            r#"415 encoding "br" is not taken: send gzip, zstd or deflate, one of them, or none"#,
        ),
        Case(
            "gzip twice",
            Http(
                "/v1/logs",
                vec![PROTOBUF, "Content-Encoding: gzip, gzip"],
                gzip(&gzip(&good)),
            ),
            NESTED,
        ),
        Case(
            "gzip in two headers",
            Http(
                "/v1/logs",
                vec![PROTOBUF, "Content-Encoding: gzip", "Content-Encoding: gzip"],
                gzip(&gzip(&good)),
            ),
            r#"415 encoding "gzip" is not taken: send gzip, zstd or deflate, one of them, or none"#,
        ),
        Case(
            "not gzip",
            Http(
                "/v1/logs",
                vec![PROTOBUF, "Content-Encoding: gzip"],
                good.clone(),
            ),
            "400 the body is not valid gzip",
        ),
        Case(
            "gzip cut short",
            Http(
                "/v1/logs",
                vec![PROTOBUF, "Content-Encoding: gzip"],
                cut_gzip,
            ),
            "400 the body is not valid gzip",
        ),
        Case(
            "not zstd",
            Http("/v1/logs", vec![PROTOBUF, "Content-Encoding: zstd"], good),
            "400 the body is not valid zstd",
        ),
    ]
}

fn of_bombs() -> Vec<Case> {
    use Sent::Http;
    let lying = |n: u32| {
        let mut bytes = gzip(&bomb());
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&n.to_le_bytes());
        bytes
    };
    const TOO_LARGE: &str = "413 the request is larger than 16000000 bytes after decompression (limits.request_bytes): send smaller batches";
    vec![
        Case(
            "a gzip bomb, 1000:1",
            Http(
                "/v1/traces",
                vec![PROTOBUF, "Content-Encoding: gzip"],
                gzip(&bomb()),
            ),
            TOO_LARGE,
        ),
        Case(
            "a gzip bomb that declares 100 bytes",
            Http(
                "/v1/traces",
                vec![PROTOBUF, "Content-Encoding: gzip"],
                lying(100),
            ),
            TOO_LARGE,
        ),
        Case(
            "a zstd bomb, 1000:1",
            Http(
                "/v1/traces",
                vec![PROTOBUF, "Content-Encoding: zstd"],
                zstd(&bomb()),
            ),
            TOO_LARGE,
        ),
        Case(
            "a body over the limit",
            Http("/v1/traces", vec![PROTOBUF], bomb()),
            TOO_LARGE,
        ),
    ]
}

fn of_records() -> Vec<Case> {
    use Sent::Http;
    let binary = |bytes| Http("/v1/logs", vec![PROTOBUF], bytes);
    let json = |fields: &str| Http("/v1/logs", vec![JSON], json_log(fields));
    let mut no_id = span("x", 1);
    no_id.trace_id.clear();
    let long = "x".repeat(2_000_000);
    let deep = format!(
        "\"body\":{}{{}}{}",
        r#"{"arrayValue":{"values":["#.repeat(500),
        "]}}".repeat(500)
    );
    const WRONG: &str = "200 1 of 1 log records rejected: record 0: a known field has another wire type than its own";
    const CUT: &str =
        "200 1 log records over a limit were cut and marked with watchpost.truncated (limits.*)";
    vec![
        Case(
            "a trace id of 3 bytes",
            binary(log_with(|r| r.trace_id = vec![1; 3])),
            "200 1 of 1 log records rejected: record 0: an id has 3 bytes (a trace id has 16, a span id 8)",
        ),
        Case(
            "a span without trace id",
            Http("/v1/traces", vec![PROTOBUF], traces(vec![no_id])),
            "200 1 of 1 spans rejected: record 0: an id has 0 bytes (a trace id has 16, a span id 8)",
        ),
        Case(
            "a record past retention",
            binary(log_with(|r| r.time_unix_nano = 1_000)),
            "200 1 of 1 log records rejected: record 0: older than the retention",
        ),
        Case(
            "a JSON trace id that is not hexadecimal",
            json(r#""traceId":"xyz""#),
            WRONG,
        ),
        Case(
            "a JSON time that is a word",
            json(r#""timeUnixNano":"soon""#),
            WRONG,
        ),
        Case(
            "an enum by its name in JSON",
            json(r#""severityNumber":"SEVERITY_NUMBER_INFO""#),
            WRONG,
        ),
        Case("500 levels of nesting", json(&deep), CUT),
        Case("a body of 2 MB", binary(logs(vec![log(&long)])), CUT),
        Case(
            "300 attributes",
            binary(log_with(|r| {
                r.attributes = (0..300)
                    .map(|i| crate::telemetry::pair(&format!("a{i}"), "x"))
                    .collect()
            })),
            CUT,
        ),
    ]
}

fn of_grpc() -> Vec<Case> {
    use Sent::Grpc;
    let good = logs(vec![log("x")]);
    let gz = || vec![("grpc-encoding", "gzip")];
    vec![
        Case(
            "gRPC: malformed message",
            Grpc(LOGS, vec![], framed(0, b"\xff\xff")),
            "INVALID_ARGUMENT not an OTLP logs request: a field runs past the end of its message",
        ),
        Case(
            "gRPC: no frame",
            Grpc(LOGS, vec![], b"abc".to_vec()),
            "INVALID_ARGUMENT not a gRPC message: the frame of 5 bytes is missing",
        ),
        Case(
            "gRPC: two messages",
            Grpc(LOGS, vec![], [framed(0, &good), framed(0, &good)].concat()),
            "INVALID_ARGUMENT not a gRPC message: its length is not the frame's, or there is more than one",
        ),
        Case(
            "gRPC: an odd flag",
            Grpc(LOGS, vec![], framed(7, &good)),
            "INVALID_ARGUMENT not a gRPC message: the compressed flag is neither 0 nor 1",
        ),
        Case(
            "gRPC: compressed without saying how",
            Grpc(LOGS, vec![], framed(1, &gzip(&good))),
            "INVALID_ARGUMENT not a gRPC message: flagged as compressed, but grpc-encoding is missing",
        ),
        Case(
            "gRPC: an unknown encoding",
            Grpc(LOGS, vec![("grpc-encoding", "snappy")], framed(1, &good)),
            r#"UNIMPLEMENTED encoding "snappy" is not taken: send gzip, zstd or deflate, one of them, or none"#,
        ),
        Case(
            "gRPC: a gzip bomb, 1000:1",
            Grpc(TRACES, gz(), framed(1, &gzip(&bomb()))),
            "RESOURCE_EXHAUSTED the request is larger than 16000000 bytes after decompression (limits.request_bytes): send smaller batches",
        ),
        Case(
            "gRPC: gRPC-Web",
            Grpc(
                LOGS,
                vec![("content-type", "application/grpc-web+proto")],
                framed(0, &good),
            ),
            r#"UNIMPLEMENTED Content-Type "application/grpc-web+proto" is not taken: send application/x-protobuf or application/json"#,
        ),
        Case(
            "gRPC sent to the OTLP/HTTP port",
            Sent::GrpcToHttpPort,
            "UNIMPLEMENTED this port takes OTLP over HTTP: send gRPC to port 4317 or 4300 (otlp_grpc_listen, listen), or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
        ),
    ]
}

fn of_loki() -> Vec<Case> {
    use Sent::Http;
    const PUSH: &str = "/loki/api/v1/push";
    // A snappy stream that declares 15 MB and holds three bytes.
    let mut lying = vec![0xc0, 0xc3, 0x93, 0x07];
    lying.extend_from_slice(b"\x08abc");
    vec![
        Case(
            "Loki: not snappy",
            Http(PUSH, vec![PROTOBUF], b"\xff\xff\xff\xff\xff\xff".to_vec()),
            "400 the body is not valid snappy",
        ),
        Case(
            "Loki: snappy with a lying length",
            Http(PUSH, vec![PROTOBUF], lying),
            "400 the body is not valid snappy",
        ),
        Case(
            "Loki: a snappy bomb",
            Http(PUSH, vec![PROTOBUF], snappy(&bomb())),
            "413 the request is larger than 16000000 bytes after decompression (limits.request_bytes): send smaller batches",
        ),
        Case(
            "Loki: malformed protobuf",
            Http(PUSH, vec![PROTOBUF], snappy(b"\x0a\x05x")),
            "400 not a Loki push: a field runs past the end of its message",
        ),
        Case(
            "Loki: a time that is a word",
            Http(
                PUSH,
                vec![JSON],
                br#"{"streams":[{"stream":{},"values":[["soon","x"]]}]}"#.to_vec(),
            ),
            "400 not a Loki push: a time in epoch nanoseconds was expected at byte 42",
        ),
        Case(
            "Loki: labels that do not parse",
            Http(
                PUSH,
                vec![JSON],
                br#"{"streams":[{"labels":"{a=","values":[["1","x"]]}]}"#.to_vec(),
            ),
            "400 1 entries left out: labels \"{a=\": expected {name=\"value\", ...}",
        ),
    ]
}

#[test]
fn every_bad_input_gets_its_exact_answer() {
    // 256 MB of memory: the cap of one request is a sixteenth.
    let server = Server::with(&["--listen", "127.0.0.1:0", "--memory-limit", "256MB"]);
    let cases = cases();
    assert!(cases.len() >= 20);
    println!("| Sent | Answer |\n|---|---|");
    let mut wrong = Vec::new();
    for Case(name, sent, expect) in &cases {
        let got = answer(&server, sent);
        println!("| {name} | {got} |");
        if got != *expect {
            wrong.push(format!("{name}\n  expected: {expect}\n  answered: {got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The server is well, and shows the last of them on the wire.
    assert_eq!(server.get("/healthz").status, 200);
}
