//! The OTLP/JSON examples of the specification, where the corpora are present; they stay out of the
//! repository.

use std::path::Path;

use crate::http::send;
use crate::server::Server;

#[test]
fn the_examples_of_the_specification_are_taken() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora/otlp-json");
    if !corpus.is_dir() {
        println!("no corpora beside the repository: nothing tried");
        return;
    }
    // The examples are from 2018.
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("watchpost.toml");
    let text = "[retention]\ntraces = \"off\"\nlogs = \"off\"\n";
    std::fs::write(&file, text).expect("written");
    let file = file.display().to_string();
    let server = Server::with(&["--listen", "127.0.0.1:0", "--config", &file]);
    for (name, path, expect) in [
        ("trace.json", "/v1/traces", "{}"),
        ("logs.json", "/v1/logs", "{}"),
        ("events.json", "/v1/logs", "{}"),
        ("metrics.json", "/v1/metrics", "rejectedDataPoints"),
    ] {
        let body = std::fs::read(corpus.join(name)).expect(name);
        let json = ["Content-Type: application/json"];
        let answer = send(server.http, "POST", path, &json, &body);
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert!(answer.text().contains(expect), "{name}: {}", answer.text());
    }
}
