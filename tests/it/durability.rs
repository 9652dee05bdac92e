//! `durability = "sync"`: the answer waits for the disk (reliability.md D2).

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::http::send;
use crate::server::Server;
use crate::telemetry::{log, logs, metric};

const PROTOBUF: &str = "Content-Type: application/x-protobuf";
const SENDERS: u64 = 8;
const REQUESTS: u64 = 25;

const SYNCED: &str = "watchpost_store_wal_synced_sequence";
const APPENDED: &str = "watchpost_store_wal_appended_sequence";
const SYNCS: &str = "watchpost_store_wal_syncs_total";

/// Eight senders at once. Whenever one of them has its answer, the disk has at least as many requests
/// as have been answered by then.
#[test]
fn nothing_is_acknowledged_before_it_is_synced() {
    let config = tempfile::tempdir().expect("a temporary directory");
    let file = config.path().join("watchpost.toml");
    std::fs::write(&file, "durability = \"sync\"\n").expect("written");
    let file = file.to_str().expect("text");
    let mut server = Server::with(&["--listen", "127.0.0.1:0", "--config", file]);
    let before = metric(&server, SYNCED);
    let acked = AtomicU64::new(0);
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (server, acked) = (&server, &acked);
            scope.spawn(move || {
                for n in 0..REQUESTS {
                    let body = logs(vec![log(&format!("sender {sender} request {n}"))]);
                    let addr = server.otlp_http.expect("listens");
                    let answer = send(addr, "POST", "/v1/logs", &[PROTOBUF], &body);
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let acked = acked.fetch_add(1, Ordering::SeqCst) + 1;
                    // Each request is one frame of the log.
                    let synced = metric(server, SYNCED) - before;
                    assert!(synced >= acked as f64, "{acked} acked, {synced} synced");
                }
            });
        }
    });
    let all = (SENDERS * REQUESTS) as f64;
    assert_eq!(metric(&server, APPENDED) - before, all);
    let syncs = metric(&server, SYNCS);
    assert!(syncs >= 1.0 && syncs <= all + 5.0, "{syncs} syncs of {all}");
    server.kill();
    let server = server.again();
    let found = server.get("/api/v1/logs?query=service:shop&limit=1000");
    let found = found.json()["records"].as_array().expect("a list").len();
    assert_eq!(found as f64, all);
}

/// The control: in `fast` mode answers come before the timer's sync.
#[test]
fn fast_mode_answers_before_the_sync() {
    let server = Server::start();
    let ahead = (0..50).any(|n| {
        let body = logs(vec![log(&format!("request {n}"))]);
        let addr = server.otlp_http.expect("listens");
        assert_eq!(
            send(addr, "POST", "/v1/logs", &[PROTOBUF], &body).status,
            200
        );
        metric(&server, APPENDED) > metric(&server, SYNCED)
    });
    assert!(ahead, "every answer waited for the disk");
}
