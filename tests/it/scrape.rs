//! Scrapes of a real target by the real binary: what its pages say, what a wrong file does.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::http::send;
use crate::server::{Server, run};

/// An exporter: answers every connection with the page of the moment, to who knows its token.
struct Exporter {
    at: SocketAddr,
    page: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
}

const TOKEN: &str = "t0ken-of-the-exporter";

impl Exporter {
    fn start(page: &str) -> Exporter {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("bound");
        let (page, asked) = (Arc::new(Mutex::new(page.to_owned())), Arc::default());
        let (its, heard): (Arc<Mutex<String>>, Arc<Mutex<Vec<String>>>) =
            (page.clone(), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let (its, heard) = (its.clone(), heard.clone());
                thread::spawn(move || {
                    while let Some(request) = read_head(&mut stream) {
                        let known = request.contains(&format!("authorization: Bearer {TOKEN}\r\n"));
                        heard.lock().expect("no holder panics").push(request);
                        let body = its.lock().expect("no holder panics").clone();
                        let (status, body) = match known {
                            true => ("200 OK", body),
                            false => ("403 Forbidden", String::new()),
                        };
                        let length = body.len();
                        let head = format!(
                            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\n\r\n"
                        );
                        if stream.write_all((head + &body).as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Exporter { at, page, asked }
    }

    fn says(&self, page: &str) {
        page.clone_into(&mut self.page.lock().expect("no holder panics"));
    }
}

fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// A Prometheus file and the settings that name it.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new(prometheus: &str) -> Files {
        let files = Files {
            dir: tempfile::tempdir().expect("a temporary directory"),
        };
        let path = files.path("prometheus.yml");
        let settings = format!("[scrape]\nconfig_file = {:?}\n", path);
        files.write("w.toml", &settings);
        files.write("prometheus.yml", prometheus);
        files
    }

    fn path(&self, name: &str) -> String {
        self.dir
            .path()
            .join(name)
            .to_str()
            .expect("text")
            .to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(Path::new(&self.path(name)), text).expect("write");
    }

    fn serve(&self) -> Server {
        Server::with(&["--listen", "127.0.0.1:0", "--config", &self.path("w.toml")])
    }
}

fn minio(at: SocketAddr, more: &str) -> String {
    format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\nscrape_configs:\n- job_name: minio\n  \
         metrics_path: /minio/metrics/v3\n  authorization: {{credentials_file: token}}\n  {more}\n  \
         static_configs: [{{targets: ['{at}'], labels: {{zone: eu}}}}]\n"
    )
}

/// Asks for the page of targets until it says so; the page.
#[track_caller]
fn wait_for(server: &Server, text: &str) -> String {
    let started = Instant::now();
    loop {
        let page = server.get("/settings/targets").text();
        if page.contains(text) {
            return page;
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{text:?} never came: {page}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn check_tells_every_mistake_of_the_prometheus_file() {
    let files = Files::new("scrape_configs:\n- job_name: a\n  bogus: 1\n- job_name: a\n");
    let data = files.dir.path().join("data");
    let ended = run(&data, &["check", "--config", &files.path("w.toml")]);
    assert_eq!(ended.code, Some(64));
    for part in [
        "prometheus.yml:3:3: field bogus not found in type config.ScrapeConfig",
        "prometheus.yml:4:3: found multiple scrape configs with job name \"a\"",
    ] {
        assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
    }
    let ended = run(&data, &["serve", "--config", &files.path("w.toml")]);
    assert_eq!(
        ended.code,
        Some(64),
        "a server does not start with it either"
    );
    files.write(
        "prometheus.yml",
        "alerting: {}\nscrape_configs: [{job_name: a}]\n",
    );
    let ended = run(&data, &["check", "--config", &files.path("w.toml")]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended
            .stdout
            .contains("prometheus.yml:1:1: alerting has no effect here")
    );
    assert!(
        ended.stdout.ends_with("1 scrape jobs, no mistakes\n"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_target_is_asked_as_its_file_says_and_shown() {
    let exporter = Exporter::start("# HELP a Text.\n# TYPE a counter\na{job=\"own\"} 1\nb 2\n");
    let files = Files::new(&minio(exporter.at, "sample_limit: 2"));
    files.write("token", &format!("{TOKEN}\n"));
    let mut server = files.serve();
    let page = wait_for(&server, "title=\"up\"");
    assert!(
        page.contains(&format!("http://{}/minio/metrics/v3", exporter.at)),
        "{page}"
    );
    assert!(
        page.contains("zone=&#34;eu&#34;") && page.contains("__scrape_interval__"),
        "{page}"
    );
    let asked = exporter.asked.lock().expect("no holder panics")[0].clone();
    assert!(
        asked.starts_with("GET /minio/metrics/v3 HTTP/1.1\r\n"),
        "{asked}"
    );
    for part in [
        "accept-encoding: gzip\r\n",
        "x-prometheus-scrape-timeout-seconds: 0.2\r\n",
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    // A wrong page, then one that is too long, each told with its reason.
    exporter.says("a 1\nb{ 2\n");
    wait_for(&server, "line 2, column 4");
    exporter.says("a 1\nb 2\nc 3\n");
    wait_for(&server, "sample limit exceeded");
    files.write("token", "another\n");
    wait_for(&server, "server returned HTTP status 403 Forbidden");
    files.write("token", TOKEN);
    exporter.says("a 1\n");
    let page = wait_for(&server, "title=\"up\"");
    let (_, rest) = page.split_once("name=\"id\" value=\"").expect("a form");
    let id = &rest[..16];
    let form = format!("job=minio&id={id}");
    let headers = ["Content-Type: application/x-www-form-urlencoded"];
    let now = send(
        server.http,
        "POST",
        "/settings/targets/scraped",
        &headers,
        form.as_bytes(),
    );
    assert_eq!(now.status, 200);
    let now = now.text();
    assert!(
        now.contains("Scraped now") && now.contains("<pre tabindex=\"0\">a 1</pre>"),
        "{now}"
    );
    let metrics = server.get("/metrics").text();
    assert!(
        metrics.contains("watchpost_scrape_targets{state=\"up\"} 1"),
        "{metrics}"
    );
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_reload_takes_a_good_file_and_refuses_a_bad_one() {
    let exporter = Exporter::start("a 1\n");
    let files = Files::new("scrape_configs: []\n");
    files.write("token", TOKEN);
    let server = files.serve();
    wait_for(&server, "Nothing is scraped");
    files.write("prometheus.yml", &minio(exporter.at, "honor_labels: true"));
    let pid = Pid::from_raw(server.pid() as i32).expect("a pid");
    kill_process(pid, Signal::HUP).expect("it runs");
    wait_for(&server, "title=\"up\"");
    files.write(
        "prometheus.yml",
        "scrape_configs: [{job_name: a, bogus: 1}]\n",
    );
    let answer = send(server.http, "POST", "/-/reload", &[], b"");
    assert_eq!(answer.status, 500);
    let message = answer.json()["error"]["message"].to_string();
    assert!(
        message.contains("failed to reload config") && message.contains("prometheus.yml:1:32"),
        "{message}"
    );
    let page = wait_for(
        &server,
        "The configuration was refused; the one before is in force",
    );
    assert!(
        page.contains("title=\"up\"") && page.contains("field bogus not found"),
        "{page}"
    );
    files.write("prometheus.yml", "scrape_configs: []\n");
    assert_eq!(send(server.http, "POST", "/-/reload", &[], b"").status, 200);
    let page = wait_for(&server, "Nothing is scraped");
    assert!(!page.contains("was refused"), "{page}");
}
