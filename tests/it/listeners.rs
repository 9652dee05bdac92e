//! Connections: both protocols on one port, silence, too many.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::server::Server;

/// The preface of HTTP/2 with an empty SETTINGS frame.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

#[test]
fn http2_without_tls_is_spoken_on_every_port() {
    let server = Server::start();
    for addr in [Some(server.http), server.otlp_grpc, server.otlp_http] {
        let mut stream = TcpStream::connect(addr.expect("all listen")).expect("connects");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        stream.write_all(H2_PREFACE).expect("written");
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).expect("a frame");
        assert_eq!(frame[3], 4, "the server's own SETTINGS come first");
    }
}

#[test]
fn silence_and_dripping_headers_end_after_ten_seconds() {
    let server = Server::start();
    let openings: [&[u8]; 4] = [b"", b"PRI * HT", b"GET / HTTP/1.1\r\nHost: loc", H2_PREFACE];
    let began = Instant::now();
    let streams = openings.map(|opening| {
        let mut stream = TcpStream::connect(server.http).expect("connects");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        stream.write_all(opening).expect("written");
        stream
    });
    for (mut stream, opening) in streams.into_iter().zip(openings) {
        _ = stream.read_to_end(&mut Vec::new());
        let after = began.elapsed();
        let about_ten = Duration::from_secs(8)..Duration::from_secs(25);
        assert!(
            about_ten.contains(&after),
            "{:?} ended after {after:?}",
            String::from_utf8_lossy(opening)
        );
    }
}

#[test]
fn connections_over_the_limit_are_refused_and_counted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("w.toml");
    std::fs::write(&file, "[limits]\nconnections = 4\n").expect("write");
    let server = Server::with(&[
        "--listen",
        "127.0.0.1:0",
        "--config",
        file.to_str().expect("text"),
    ]);
    let held: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = TcpStream::connect(server.http).expect("connects");
            // An answer proves that the connection was taken, not only queued by the kernel.
            stream
                .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .expect("written");
            stream.read_exact(&mut [0; 12]).expect("an answer");
            stream
        })
        .collect();
    let mut fifth = TcpStream::connect(server.http).expect("the kernel connects");
    fifth
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    assert_eq!(
        fifth.read(&mut [0; 1]).unwrap_or(0),
        0,
        "closed without an answer"
    );
    drop(held);
    // The four slots come back as the server sees the ends; until then more are refused.
    let metrics = (0..1_000)
        .find_map(|_| {
            std::thread::sleep(Duration::from_millis(5));
            let mut stream = TcpStream::connect(server.http).ok()?;
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            text.contains("200 OK").then_some(text)
        })
        .expect("room again");
    assert!(
        metrics.contains("watchpost_connections_refused_total "),
        "{metrics}"
    );
}
