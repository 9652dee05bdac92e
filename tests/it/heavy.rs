//! Large bodies and pages at the same time: decoding must not hold up whoever serves sockets.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::http::send;
use crate::server::{Server, optimised};

/// As many as a machine of four cores has threads that serve sockets.
const SENDERS: usize = 4;
const BODIES: usize = 3;

/// OTLP/JSON of about this many bytes.
fn body(bytes: usize) -> Vec<u8> {
    let attribute = |n: usize| {
        format!(
            r#"{{"key":"attribute.{n}","value":{{"stringValue":"the value of attribute {n}"}}}}"#
        )
    };
    let attributes: Vec<String> = (0..12).map(attribute).collect();
    let record = format!(
        r#"{{"severityNumber":9,"body":{{"stringValue":"a line of a log"}},"attributes":[{}]}}"#,
        attributes.join(",")
    );
    let records = vec![record.as_str(); bytes / record.len()].join(",");
    let open = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":["#;
    format!("{open}{records}]}}]}}]}}").into_bytes()
}

/// A sender that failed never counts as done.
const SENDING_MAX: Duration = Duration::from_secs(120);

#[test]
fn pages_are_quick_while_the_largest_bodies_come_in() {
    // The largest body is a sixteenth of the memory, at most 32 MiB.
    let server = Server::with(&["--listen", "127.0.0.1:0", "--memory-limit", "1GiB"]);
    let (bytes, page_max) = match optimised() {
        true => (31 << 20, Duration::from_millis(50)),
        false => (12 << 20, Duration::from_millis(400)),
    };
    let body = body(bytes);
    let done = AtomicUsize::new(0);
    let mut pages = Vec::new();
    assert_eq!(server.get("/start").status, 200);
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                for _ in 0..BODIES {
                    let json = "Content-Type: application/json";
                    let addr = server.otlp_http.expect("listens");
                    let answer = send(addr, "POST", "/v1/logs", &[json], &body);
                    // Four at once are more than the budget; who waits is not what is measured.
                    assert!([200, 429].contains(&answer.status), "{}", answer.text());
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        let began = Instant::now();
        while done.load(Ordering::SeqCst) < SENDERS {
            assert!(began.elapsed() < SENDING_MAX, "the senders do not end");
            let asked = Instant::now();
            assert_eq!(server.get("/start").status, 200);
            pages.push(asked.elapsed());
            thread::sleep(Duration::from_millis(5));
        }
    });
    pages.sort();
    let (half, most) = (pages[pages.len() / 2], pages[pages.len() * 19 / 20]);
    eprintln!(
        "{} pages, half within {half:?}, 95 % within {most:?}",
        pages.len()
    );
    assert!(pages.len() >= 10, "only {} pages came", pages.len());
    assert!(half <= page_max, "half of the pages took {half:?} or more");
}
