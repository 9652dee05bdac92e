//! Loki's push API through the binary.

use crate::http::send;
use crate::server::Server;
use crate::telemetry::{gzip, metric, now_ns, snappy};

const PUSH: &str = "/loki/api/v1/push";

/// `logproto.PushRequest` of one entry, written by hand as its .proto says.
fn protobuf(labels: &str, line: &str) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let len = u8::try_from(bytes.len()).expect("short");
        assert!(len < 128);
        [&[number << 3 | 2, len], bytes].concat()
    };
    let mut seconds = now_ns() / 1_000_000_000;
    let mut time = vec![8];
    while seconds >= 128 {
        time.push(seconds as u8 | 128);
        seconds >>= 7;
    }
    time.push(seconds as u8);
    let entry = [field(1, &time), field(2, line.as_bytes())].concat();
    field(1, &[field(1, labels.as_bytes()), field(2, &entry)].concat())
}

#[test]
fn both_forms_are_taken_and_counted_under_their_service() {
    let server = Server::start();
    let snappy_body = snappy(&protobuf(
        r#"{container="cart", level="warn"}"#,
        "low stock",
    ));
    for headers in [
        // Promtail, Alloy, Docker's driver; then Vector, which names the encoding; then curl.
        &["Content-Type: application/x-protobuf"][..],
        &[
            "Content-Type: application/x-protobuf",
            "Content-Encoding: snappy",
        ],
        &[],
    ] {
        let answer = send(server.http, "POST", PUSH, headers, &snappy_body);
        assert_eq!(
            (answer.status, answer.body.len()),
            (204, 0),
            "{headers:?}: {}",
            answer.text()
        );
    }
    let json = format!(
        r#"{{"streams":[{{"stream":{{"job":"shop"}},"values":[["{}","one"],["{}","two",{{"user":"ann"}}]]}}]}}"#,
        now_ns(),
        now_ns()
    );
    let headers = ["Content-Type: application/json", "Content-Encoding: gzip"];
    assert_eq!(
        send(server.http, "POST", PUSH, &headers, &gzip(json.as_bytes())).status,
        204
    );
    let accepted = |service: &str| {
        let series = format!(
            r#"watchpost_ingest_accepted_records_total{{signal="logs",service="{service}"}}"#
        );
        metric(&server, &series)
    };
    assert_eq!((accepted("cart"), accepted("shop")), (1.0, 2.0));
    let repeated = r#"watchpost_ingest_deduplicated_requests_total{signal="logs"}"#;
    assert_eq!(metric(&server, repeated), 2.0, "the same push is kept once");
}
