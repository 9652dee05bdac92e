//! The command line: start, exit codes, tokens and accounts with and without a running server.

use std::fs;

use crate::http::send;
use crate::server::{Server, run};

#[test]
fn it_starts_and_stops_in_order() {
    let mut server = Server::start();
    assert_eq!(server.get("/healthz").text(), "ok\n");
    assert_eq!(server.get("/readyz").status, 200);
    assert_eq!(server.get("/api/health").json()["status"], "ok");
    assert_eq!(server.stop(), Some(0));
    assert!(
        !server.data_dir().join("control").exists(),
        "the secret goes with the server"
    );
}

#[test]
fn bad_configuration_is_told_completely_with_exit_code_64() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("w.toml");
    fs::write(&file, "lissten = \"x\"\n[retention]\ntraces = \"7x\"\n").expect("write");
    let ended = run(
        &dir.path().join("data"),
        &[
            "serve",
            "--config",
            file.to_str().expect("text"),
            "--listen",
            "nowhere",
        ],
    );
    assert_eq!(ended.code, Some(64));
    assert_eq!(ended.stdout, "");
    for part in [
        "w.toml:1: lissten: unknown setting; did you mean listen?",
        "w.toml:3: retention.traces: \"7x\"",
        "--listen: listen: \"nowhere\"",
    ] {
        assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
    }
    for args in [
        &["frobnicate"][..],
        &["serve", "--frobnicate"],
        &["token", "create", "--scope", "all"],
        &["--compat-port"],
    ] {
        assert_eq!(
            run(&dir.path().join("data"), args).code,
            Some(64),
            "{args:?}"
        );
    }
    assert_eq!(run(dir.path(), &["--help"]).code, Some(0));
}

#[test]
fn one_data_directory_has_one_server() {
    let server = Server::start();
    let second = run(
        &server.data_dir(),
        &[
            "--listen",
            "127.0.0.1:0",
            "--otlp-grpc-listen",
            "off",
            "--otlp-http-listen",
            "off",
        ],
    );
    assert_eq!(second.code, Some(1));
    assert!(
        second.stderr.contains("is in use by another process"),
        "{}",
        second.stderr
    );
}

#[test]
fn a_taken_port_names_the_setting() {
    let server = Server::start();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let second = run(dir.path(), &["--listen", &server.http.to_string()]);
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("change listen"), "{}", second.stderr);
}

#[test]
fn healthcheck_finds_the_server_by_its_data() {
    let mut server = Server::start();
    assert_eq!(run(&server.data_dir(), &["healthcheck"]).code, Some(0));
    server.stop();
    let gone = server.http.to_string();
    assert_eq!(
        run(&server.data_dir(), &["healthcheck", "--listen", &gone]).code,
        Some(1)
    );
}

#[test]
fn tokens_are_made_while_the_server_runs_and_while_it_does_not() {
    let mut server = Server::with(&["--listen", "0.0.0.0:0"]);
    let local = ([127, 0, 0, 1], server.http.port()).into();
    let status = |addr, token: &str| {
        send(
            addr,
            "GET",
            "/api/v1/tokens",
            &[&format!("Authorization: Bearer {token}")],
            b"",
        )
        .status
    };
    let create = |scope: &str| {
        let made = run(&server.data_dir(), &["token", "create", "--scope", scope]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        made.stdout.trim_end().to_owned()
    };
    let (admin, read) = (create("admin"), create("read"));
    assert_eq!(
        (
            status(local, &admin),
            status(local, &read),
            status(local, "wp_ad_x")
        ),
        (200, 403, 401)
    );
    // Killed, it leaves its control file behind; the command works on the data itself.
    server.kill();
    let made = run(&server.data_dir(), &["token", "create", "--scope", "admin"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let server = server.again();
    let local = ([127, 0, 0, 1], server.http.port()).into();
    assert_eq!(
        (status(local, made.stdout.trim_end()), status(local, &admin)),
        (200, 200)
    );
}

#[test]
fn a_server_for_others_prints_one_set_up_link() {
    let mut server = Server::with(&["--listen", "0.0.0.0:0"]);
    let stderr = server.wait_for_stderr("/login?setup=");
    let code = stderr
        .split("setup=")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .expect("a code");
    let local = ([127, 0, 0, 1], server.http.port()).into();
    assert!(
        send(local, "GET", &format!("/login?setup={code}"), &[], b"")
            .text()
            .contains("new-password")
    );
    let form = format!("setup={code}&password=correct+horse+battery");
    let header = "Content-Type: application/x-www-form-urlencoded";
    let answer = send(local, "POST", "/login", &[header], form.as_bytes());
    assert_eq!((answer.status, answer.header("location")), (303, "/start"));
    let cookie = answer
        .header("set-cookie")
        .split(';')
        .next()
        .expect("a pair")
        .to_owned();
    assert_eq!(
        send(
            local,
            "GET",
            "/api/v1/tokens",
            &[&format!("Cookie: {cookie}")],
            b""
        )
        .status,
        200
    );
    assert_eq!(
        send(local, "POST", "/login", &[header], form.as_bytes()).status,
        410
    );
    // With an account there is no second link, and the session outlives a restart.
    server.stop();
    let mut server = server.again();
    let local = ([127, 0, 0, 1], server.http.port()).into();
    assert_eq!(
        send(
            local,
            "GET",
            "/api/v1/tokens",
            &[&format!("Cookie: {cookie}")],
            b""
        )
        .status,
        200
    );
    server.stop();
    assert!(!server.stderr().contains("setup="));
}

#[test]
fn insecure_needs_nobody() {
    let server = Server::with(&["--listen", "0.0.0.0:0", "--insecure"]);
    let local = ([127, 0, 0, 1], server.http.port()).into();
    assert_eq!(send(local, "GET", "/api/v1/tokens", &[], b"").status, 200);
    server.wait_for_stderr("access is open to everybody");
}
