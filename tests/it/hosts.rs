//! Which `Host` is answered (reliability.md S8; RFC 9112, section 3.2).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::http::send;
use crate::server::Server;

const JSON: &str = "Content-Type: application/json";

#[test]
fn a_foreign_host_reaches_senders_doors_only() {
    let server = Server::start();
    for host in ["Host: evil.example.org", "Host: 127.0.0.1.nip.io:4300"] {
        for path in [
            "/",
            "/logs",
            "/login",
            "/api/v1/logs",
            "/loki/api/v1/labels",
        ] {
            let answer = send(server.http, "GET", path, &[host], b"");
            assert_eq!(answer.status, 421, "{host} {path}: {}", answer.text());
        }
        for path in ["/healthz", "/readyz", "/metrics"] {
            let answer = send(server.http, "GET", path, &[host], b"");
            assert_eq!(answer.status, 200, "{host} {path}");
        }
        for addr in [server.http, server.otlp_http.expect("listens")] {
            let answer = send(addr, "POST", "/v1/logs", &[host, JSON], b"{}");
            assert_eq!(answer.status, 200, "{host}: {}", answer.text());
        }
    }
}

/// A proxy in front may believe the one, the server the other.
#[test]
fn two_hosts_are_a_bad_request_on_every_door() {
    let server = Server::start();
    for (addr, request) in [
        (server.http, "GET /"),
        (server.http, "GET /api/v1/logs"),
        (server.http, "GET /nothing/here"),
        (server.http, "GET /healthz"),
        (server.http, "POST /v1/logs"),
        (server.otlp_http.expect("listens"), "POST /v1/logs"),
    ] {
        let first = status_line(
            addr,
            &format!("{request} HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n"),
        );
        assert!(first.starts_with("HTTP/1.1 400 "), "{request}: {first}");
    }
}

fn status_line(addr: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(addr).expect("listens");
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).expect("a timeout");
    let rest = "Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    stream
        .write_all(format!("{head}{rest}").as_bytes())
        .expect("sent");
    let mut answer = Vec::new();
    // What was sent and not read may reset the connection behind the answer.
    _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    answer.lines().next().unwrap_or_default().to_owned()
}
