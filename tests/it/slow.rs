//! Clients that take their time: headers a byte a second, forms that never end, answers that nobody
//! reads (reliability.md O3).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::http::try_send;
use crate::server::{Server, optimised};
use crate::telemetry::{log, logs, memory};

const ATTEMPTED: usize = 5_000;
/// The default of `limits.connections`.
const HELD: usize = 1_024;
/// Memory that they may cost, and where the binary is not optimised.
const RISE_MAX: u64 = 30_000_000;
const RISE_MAX_SLOW: u64 = 40_000_000;

/// Whether the server has not closed it.
fn is_held(mut stream: &TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Err(e) if e.kind() == ErrorKind::WouldBlock)
}

#[test]
fn five_thousand_dripping_connections_cost_little_and_end() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).expect("the hard limit is ours to take");
    let server = Server::start();
    assert_eq!(server.get("/start").status, 200);
    let before = memory(&server, "VmRSS");
    let connect = || {
        let mut stream = TcpStream::connect(server.http).expect("the kernel connects");
        // One that is refused already cannot be written to.
        _ = stream.write_all(b"G");
        stream.set_nonblocking(true).expect("a socket");
        stream
    };
    let began = Instant::now();
    let mut streams: Vec<TcpStream> = (0..HELD + 200).map(|_| connect()).collect();
    let held = |streams: &[TcpStream]| streams.iter().filter(|s| is_held(s)).count();
    let exactly = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        held(&streams) == HELD
    });
    assert!(exactly, "{} are held, not {HELD}", held(&streams));
    let mut drip = b"ET / HTTP/1.1\r\nHost: localhost\r\nX: ".iter();
    let mut most = 0;
    while began.elapsed() < Duration::from_secs(8) || streams.len() < ATTEMPTED {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "attempts take too long"
        );
        let byte = *drip.next().unwrap_or(&b'x');
        for stream in &mut streams {
            _ = stream.write_all(&[byte]);
        }
        most = most.max(memory(&server, "VmRSS"));
        let missing = ATTEMPTED - streams.len();
        streams.extend((0..missing.min(300)).map(|_| connect()));
        std::thread::sleep(Duration::from_millis(200));
    }
    // What came last may still wait for the server to close it.
    let settled = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        held(&streams) <= HELD
    });
    assert!(settled, "{} are held", held(&streams));
    let rise = most.saturating_sub(before);
    eprintln!(
        "{HELD} of {} connections held, {rise} bytes of memory",
        streams.len()
    );
    let rise_max = if optimised() { RISE_MAX } else { RISE_MAX_SLOW };
    assert!(rise <= rise_max, "{rise} bytes for {HELD} connections");
    // However they drip, ten seconds after they came they are gone, and others are served.
    let served = (0..100).find(|_| {
        std::thread::sleep(Duration::from_millis(250));
        try_send(server.http, "GET", "/healthz", &[], b"").is_some()
    });
    assert!(served.is_some(), "no room after 25 s");
    let time = began.elapsed();
    assert!(time >= Duration::from_secs(9), "only held for {time:?}");
}

/// A server that holds one connection, so that a client sees when another is given up.
fn with_one_connection() -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("w.toml");
    std::fs::write(&file, "[limits]\nconnections = 1\n").expect("written");
    let file = file.to_str().expect("text");
    let server = Server::with(&["--listen", "127.0.0.1:0", "--config", file]);
    (server, dir)
}

/// Sends until there is room; how long that took.
#[track_caller]
fn when_there_is_room(server: &Server, path: &str, headers: &[&str], body: &[u8]) -> Duration {
    let method = if body.is_empty() { "GET" } else { "POST" };
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        if let Some(answer) = try_send(server.http, method, path, headers, body) {
            assert_eq!(answer.status, 200, "{}", answer.text());
            return began.elapsed();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no room for {path} within a minute");
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    let (server, _dir) = with_one_connection();
    // 20 MB: more than the kernel keeps for two sockets.
    for n in 0..10 {
        let line = format!("{n} {}", "0123456789".repeat(2_000));
        let body = logs((0..100).map(|_| log(&line)).collect());
        let headers = ["Content-Type: application/x-protobuf"];
        when_there_is_room(&server, "/v1/logs", &headers, &body);
    }
    when_there_is_room(&server, "/healthz", &[], b"");
    let mut lazy = loop {
        let mut stream = TcpStream::connect(server.http).expect("listens");
        let ask = "GET /api/v1/logs?limit=1000&start=now-1h HTTP/1.1\r\nHost: localhost\r\n\r\n";
        // The connection before may not have been taken off yet.
        if stream.write_all(ask.as_bytes()).is_ok() && stream.read_exact(&mut [0; 12]).is_ok() {
            break stream;
        }
    };
    let waited = when_there_is_room(&server, "/healthz", &[], b"");
    let expected = Duration::from_secs(25)..Duration::from_secs(55);
    assert!(expected.contains(&waited), "given up after {waited:?}");
    let mut rest = Vec::new();
    _ = lazy.read_to_end(&mut rest);
    assert!(rest.len() < 20_000_000, "the answer was cut off");
}

/// Anybody may open the login page, so nobody may hold it.
#[test]
fn a_form_that_never_ends_is_given_up_and_a_long_one_refused() {
    let (server, _dir) = with_one_connection();
    let open = |length: usize| {
        let mut stream = TcpStream::connect(server.http).expect("listens");
        let timeout = Some(Duration::from_secs(30));
        stream.set_read_timeout(timeout).expect("a timeout");
        let form = "Content-Type: application/x-www-form-urlencoded";
        let head = format!(
            "POST /login HTTP/1.1\r\nHost: localhost\r\n{form}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\nuser="
        );
        stream.write_all(head.as_bytes()).expect("sent");
        stream
    };
    let status = |mut stream: TcpStream| {
        let mut text = Vec::new();
        _ = stream.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        text.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let began = Instant::now();
    assert_eq!(status(open(100)), "408");
    assert!(began.elapsed() >= Duration::from_secs(9));
    when_there_is_room(&server, "/healthz", &[], b"");
    // The connection before may not have been taken off yet: then this one gets no answer.
    let mut long = (0..100).map(|_| {
        std::thread::sleep(Duration::from_millis(20));
        let mut long = open(1 << 20);
        // Refused as soon as it is too long; the rest is not waited for. No more is sent than the server
        // reads, because what it leaves unread would reset the connection behind its answer.
        _ = long.write_all(&[b'x'; 16 << 10]);
        status(long)
    });
    let answered = long.find(|status| !status.is_empty());
    assert_eq!(answered.as_deref(), Some("413"));
}
