//! kill -9 under load: whatever was answered with success is there after the restart, once and whole.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::http;
use crate::server::{Server, optimised, run};

/// Kills in an ordinary run; `KILL_ROUNDS` sets more for the long one.
const ROUNDS: u64 = 30;
const CONNECTIONS: u64 = 4;
/// Records per request: a request must never be there by half.
const ROWS: u64 = 5;
/// The longest a round sends before the kill.
const ROUND_MS_MAX: u64 = 200;
/// A restart after a kill must be ready within this, in seconds.
const READY_S_MAX: u64 = 2;
/// The same for a build that is not optimised.
const READY_S_MAX_SLOW: u64 = 10;

/// One request: OTLP/JSON with `ROWS` records that carry its number.
fn request(path: &str, number: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let time = now.expect("after 1970").as_nanos() as u64;
    let attribute = format!(r#""attributes":[{{"key":"n","value":{{"intValue":"{number}"}}}}]"#);
    let resource =
        r#""resource":{"attributes":[{"key":"service.name","value":{"stringValue":"kill"}}]}"#;
    let rows: Vec<String> = (0..ROWS)
        .map(|row| match path {
            "/v1/logs" => format!(
                r#"{{"timeUnixNano":"{}","body":{{"stringValue":"row {row}"}},{attribute}}}"#,
                time + row
            ),
            _ => format!(
                r#"{{"traceId":"{:032x}","spanId":"{:016x}","name":"row","kind":1,"startTimeUnixNano":"{time}","endTimeUnixNano":"{}",{attribute}}}"#,
                number + 1,
                row + 1,
                time + 1000
            ),
        })
        .collect();
    let rows = rows.join(",");
    match path {
        "/v1/logs" => format!(
            r#"{{"resourceLogs":[{{{resource},"scopeLogs":[{{"logRecords":[{rows}]}}]}}]}}"#
        ),
        _ => format!(r#"{{"resourceSpans":[{{{resource},"scopeSpans":[{{"spans":[{rows}]}}]}}]}}"#),
    }
}

/// What one connection has sent: number -> whether it was answered with success.
type Sent = BTreeMap<u64, bool>;

/// Sends requests one after the other until told to stop or the server is gone.
fn send(addr: SocketAddr, path: &str, first: u64, stop: &AtomicBool) -> Sent {
    let mut sent = Sent::new();
    let mut number = first;
    while !stop.load(Ordering::Relaxed) {
        let body = request(path, number);
        let headers = ["Content-Type: application/json"];
        let answer = http::try_send(addr, "POST", path, &headers, body.as_bytes());
        let acked = answer.is_some_and(|answer| answer.status == 200);
        sent.insert(number, acked);
        number += 1;
        if !acked {
            break;
        }
    }
    sent
}

/// Records per number, from the API.
fn logs(server: &Server) -> BTreeMap<u64, u64> {
    let mut found = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/logs?query=service:kill&start=now-1h&limit=1000{cursor}");
        let page = server.get(&path);
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.json();
        for record in page["records"].as_array().expect("a list") {
            let n = record["attributes"]["n"].as_u64().expect("its number");
            *found.entry(n).or_insert(0) += 1;
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

/// Spans of one request, from the API.
fn spans(server: &Server, number: u64) -> u64 {
    let answer = server.get(&format!("/api/v1/traces/{:032x}", number + 1));
    if answer.status == 404 {
        return 0;
    }
    assert_eq!(answer.status, 200, "{}", answer.text());
    let trace = answer.json();
    let resources = trace["resourceSpans"].as_array().expect("a list");
    let scopes = resources
        .iter()
        .flat_map(|resource| resource["scopeSpans"].as_array().expect("a list"));
    scopes
        .map(|scope| scope["spans"].as_array().expect("a list").len() as u64)
        .sum()
}

#[track_caller]
fn check(what: &str, number: u64, acked: bool, rows: u64) {
    // Without an answer a request may be there or not, but whole.
    let good = rows == ROWS || (!acked && rows == 0);
    assert!(
        good,
        "{what} of request {number} (acked: {acked}): {rows} of {ROWS} rows"
    );
}

fn rounds() -> u64 {
    let wanted = std::env::var("KILL_ROUNDS").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(ROUNDS)
}

/// Loads the server from all connections and kills it in the middle; adds to the logs sent and
/// returns the spans sent.
fn load_until_killed(server: &mut Server, round: u64, sent_logs: &mut Sent) -> Sent {
    let addr = server.http;
    let stop = AtomicBool::new(false);
    // Different for each round, the same in each run.
    let wait = Duration::from_millis(10 + round * 7919 % ROUND_MS_MAX);
    let mut fresh_spans = Sent::new();
    thread::scope(|scope| {
        let connections: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                let first = (round * CONNECTIONS + connection) * 1_000_000;
                let path = ["/v1/logs", "/v1/traces"][connection as usize % 2];
                let stop = &stop;
                (path, scope.spawn(move || send(addr, path, first, stop)))
            })
            .collect();
        thread::sleep(wait);
        server.kill();
        stop.store(true, Ordering::Relaxed);
        for (path, connection) in connections {
            let sent = connection.join().expect("no connection panics");
            match path {
                "/v1/logs" => sent_logs.extend(sent),
                _ => fresh_spans.extend(sent),
            }
        }
    });
    fresh_spans
}

#[test]
fn no_acked_record_is_lost_doubled_or_halved_by_kill_9() {
    let mut server = Server::start();
    let (mut sent_logs, mut sent_spans) = (Sent::new(), Sent::new());
    let ready_max = Duration::from_secs(if optimised() {
        READY_S_MAX
    } else {
        READY_S_MAX_SLOW
    });
    let mut slowest = Duration::ZERO;
    for round in 0..rounds() {
        let fresh_spans = load_until_killed(&mut server, round, &mut sent_logs);
        let started = Instant::now();
        server = server.again();
        let ready = started.elapsed();
        assert!(ready < ready_max, "{ready:?} to start");
        slowest = slowest.max(ready);
        for (number, acked) in &fresh_spans {
            check("spans", *number, *acked, spans(&server, *number));
        }
        sent_spans.extend(fresh_spans);
    }
    // Once more over all rounds: what was there after its own round has survived the later ones.
    let found = logs(&server);
    for (number, acked) in &sent_logs {
        check(
            "records",
            *number,
            *acked,
            found.get(number).copied().unwrap_or(0),
        );
    }
    assert!(
        found.keys().all(|number| sent_logs.contains_key(number)),
        "records never sent"
    );
    for (number, acked) in &sent_spans {
        check("spans", *number, *acked, spans(&server, *number));
    }
    server.kill();
    let checked = run(&server.data_dir(), &["verify"]);
    assert_eq!(
        checked.code,
        Some(0),
        "{}{}",
        checked.stdout,
        checked.stderr
    );
    let acked = |sent: &Sent| sent.values().filter(|acked| **acked).count();
    eprintln!(
        "{} kills, {} requests acknowledged, the slowest start took {slowest:?}",
        rounds(),
        acked(&sent_logs) + acked(&sent_spans)
    );
    assert!(
        acked(&sent_logs) > 100 && acked(&sent_spans) > 100,
        "the load was no load"
    );
}
