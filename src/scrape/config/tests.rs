//! The file as people write it, and every kind of mistake with the place it is told at.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

fn environment(name: &str) -> Option<String> {
    (name == "ZONE").then(|| "eu-1".to_owned())
}

fn read(text: &str) -> Result<ScrapeFile, Vec<Finding>> {
    parse(Path::new("/etc/p/prometheus.yml"), text, &environment)
}

#[track_caller]
fn check(text: &str, expect: &[&str]) {
    let told: Vec<String> = match read(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    };
    let expect: Vec<String> = expect
        .iter()
        .map(|e| format!("/etc/p/prometheus.yml:{e}"))
        .collect();
    assert_eq!(told, expect);
}

const EXAMPLE: &str = r#"
global:
  scrape_interval: 15s
  evaluation_interval: 30s
  external_labels: {zone: '${ZONE}', plain: "a$$b"}
  sample_limit: 1500
rule_files: [rules/*.yml, /abs/one.yml]
scrape_configs:
- job_name: prometheus
  honor_labels: yes
  static_configs:
  - targets: ['localhost:9090', "localhost:9191"]
    labels: {my: label, number: 012}
  file_sd_configs:
    - files: [foo/*.json, a.yml]
      refresh_interval: 10m
  relabel_configs:
  - source_labels: [job, __meta_dns_name]
    regex: (.*)some-[regex]
    target_label: job
    replacement: foo-${1}
  - {action: LabelDrop, regex: x}
  - {target_label: gone, replacement: }
- job_name: minio
  scrape_interval: 1m
  scrape_timeout: 5s
  scheme: https
  metrics_path: /minio/metrics/v3
  params: {a: [b, c]}
  authorization: {credentials_file: token}
  tls_config: {ca_file: ca.pem, server_name: minio.example, insecure_skip_verify: false}
  body_size_limit: 10MB
  sample_limit: 7
  dns_sd_configs:
  - {names: [minio.example], type: A, port: 9000}
  docker_sd_configs:
  - host: unix:///var/run/docker.sock
    filters: [{name: label, values: [scrape]}]
  http_sd_configs: [{url: "http://sd.example/t", basic_auth: {username: u, password: p}}]
  scrape_protocols: [PrometheusText0.0.4]
"#;

#[test]
fn a_file_is_taken_as_it_is() {
    let file = read(EXAMPLE).expect("a good file");
    assert!(file.warnings.is_empty(), "{:?}", file.warnings);
    assert_eq!(
        file.global.external_labels.to_string(),
        r#"{plain="a$b", zone="eu-1"}"#
    );
    assert_eq!(
        file.rule_files,
        [PathBuf::from("/etc/p/rules/*.yml"), "/abs/one.yml".into()]
    );
    let [first, second] = &file.jobs[..] else {
        panic!("two jobs")
    };
    assert_eq!(
        (first.interval, first.timeout),
        (Duration::from_secs(15), Duration::from_secs(10))
    );
    assert!(first.honor_labels && first.honor_timestamps && first.compression);
    assert_eq!(first.limits.samples, 1500);
    let Discovery::Static(groups) = &first.discovery[0] else {
        panic!("static first")
    };
    assert_eq!(groups[0].targets, ["localhost:9090", "localhost:9191"]);
    let number = ("number".to_owned(), "012".to_owned());
    assert_eq!(
        groups[0].labels[1], number,
        "a text stays as it was written"
    );
    assert_eq!(
        first.discovery[1],
        Discovery::Files {
            patterns: vec!["/etc/p/foo/*.json".into(), "/etc/p/a.yml".into()],
            refresh: Duration::from_secs(600)
        }
    );
    assert_eq!(first.relabel.len(), 3);
    assert_eq!(first.relabel[2].replacement, "");
    assert_eq!(second.path, "/minio/metrics/v3");
    let token = Secret::File("/etc/p/token".into());
    assert_eq!(
        second.http.auth,
        Some(Auth::Credentials {
            scheme: "Bearer".into(),
            secret: token
        })
    );
    assert_eq!(
        second.http.tls.authorities,
        Some(Pem::File("/etc/p/ca.pem".into()))
    );
    assert_eq!(
        (second.limits.body_bytes, second.limits.samples),
        (10 << 20, 7)
    );
    assert_eq!(second.protocols, [Protocol::Text004]);
    assert_eq!(second.discovery.len(), 3);
    assert!(
        !format!("{file:?}").contains("password: \"p\""),
        "secrets are not printed"
    );
}

#[test]
fn nothing_is_a_file_too() {
    for text in ["", "global:\n", "scrape_configs:\n", "# nothing\n---\n"] {
        let file = read(text).expect("a good file");
        assert!(file.jobs.is_empty());
        assert_eq!(file.global.interval, Duration::from_secs(60));
    }
}

#[test]
fn what_has_no_effect_is_told() {
    let text = "alerting: {}\nremote_write: []\nstorage: {tsdb: {}}\ngroups: [{name: g}]\nscrape_configs:\n\
                - job_name: k\n  kubernetes_sd_configs: [{role: pod}]\n  enable_http2: true\n  oauth2: {client_id: x}\n";
    let file = read(text).expect("a good file");
    let told: Vec<String> = file.warnings.iter().map(ToString::to_string).collect();
    let expect = [
        (":1:1: ", "alerting"),
        (":2:1: ", "remote_write"),
        (":3:1: ", "storage"),
        (":4:1: ", "rule_files"),
        (":7:3: ", "kubernetes_sd_configs"),
        (":8:3: ", "enable_http2"),
        (":9:3: ", "oauth2"),
    ];
    assert_eq!(told.len(), expect.len(), "{told:#?}");
    for (told, (place, word)) in told.iter().zip(expect) {
        assert!(
            told.contains(place) && told.contains(word),
            "{told} has {place} and {word}"
        );
    }
    assert_eq!(file.rule_files, [PathBuf::from("/etc/p/prometheus.yml")]);
}

#[test]
fn all_problems_are_told_at_once_with_their_places() {
    check(
        "scrape_classes: []\nglobal:\n  scrape_interval: 15x\n  sample_limit: many\nscrape_configs:\n\
         - job_name: a\n  bogus: 1\n  bearer_token: x\n  bearer_token_file: y\n- job_name: a\n  scrape_timeout: 2m\n\
         - honor_labels: maybe\n",
        &[
            "1:1: field scrape_classes not found in type config.plain",
            "3:20: not a valid duration string: \"15x\"",
            "4:17: cannot unmarshal !!str `many` into uint",
            "7:3: field bogus not found in type config.ScrapeConfig",
            "8:3: at most one of bearer_token & bearer_token_file must be configured",
            "10:3: found multiple scrape configs with job name \"a\"",
            "11:3: scrape timeout greater than scrape interval for scrape config with job name \"a\"",
            "12:3: job_name is empty",
            "12:17: cannot unmarshal !!str `maybe` into bool",
        ],
    );
}

#[test]
fn mistakes_are_those_of_prometheus() {
    let job = |rest: &str| format!("scrape_configs:\n- job_name: a\n  {rest}\n");
    let check = |rest: &str, expect: &str| check(&job(rest), &[expect]);
    check(
        "static_configs: [{targets: ['http://x/y']}]",
        "3:3: \"http://x/y\" is not a valid hostname",
    );
    check(
        "relabel_configs: [{action: replace}]",
        "3:21: relabel configuration for replace action requires 'target_label' value",
    );
    check(
        "relabel_configs: [{action: jump, target_label: a}]",
        "3:30: unknown relabel action \"jump\"",
    );
    check(
        "relabel_configs: [{regex: '(', action: keep}]",
        "3:29: error parsing regexp: missing closing ): `(`",
    );
    check(
        "metric_relabel_configs: [null]",
        "3:28: empty or null metric relabeling rule in scrape config",
    );
    check(
        "authorization: {type: Basic}",
        "3:19: authorization type cannot be set to \"basic\", use \"basic_auth\" instead",
    );
    check(
        "scrape_protocols: [prometheusproto]",
        "3:3: scrape_protocols: unknown scrape protocol prometheusproto, supported: [OpenMetricsText0.0.1 OpenMetricsText1.0.0 PrometheusProto PrometheusText0.0.4 PrometheusText1.0.0] for scrape config with job name \"a\"",
    );
    check(
        "http_sd_configs: [{url: 'ftp://x'}]",
        "3:22: URL scheme must be 'http' or 'https'",
    );
    check(
        "dns_sd_configs: [{names: [x], type: A}]",
        "3:20: a port is required in DNS-SD configs for all record types except SRV",
    );
    check(
        "file_sd_configs: [{files: ['a/*/b.yml']}]",
        "3:22: path name \"a/*/b.yml\" is not valid for file discovery",
    );
    check(
        "tls_config: {cert_file: x}",
        "3:15: exactly one of key or key_file must be configured when a client certificate is configured",
    );
    check(
        "body_size_limit: 1XB",
        "3:20: units: unknown unit XB in 1XB",
    );
    check(
        "job_name: b",
        "3:3: field job_name already set in type config.ScrapeConfig",
    );
    check(
        "static_configs: [{hosts: [a]}]",
        "3:21: field hosts not found in type struct { Targets []string \"yaml:\\\"targets\\\"\"; Labels model.LabelSet \"yaml:\\\"labels\\\"\" }",
    );
}

#[test]
fn what_is_no_yaml_is_told_where() {
    let problems = read("scrape_configs:\n  - job_name: [a\n").unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].at.line >= 2, "{problems:?}");
    let bomb: String = (1..20).fold("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, i| {
        let before = i - 1;
        format!("{text}a{i}: &a{i} [*a{before},*a{before},*a{before},*a{before},*a{before},*a{before}]\n")
    });
    assert!(read(&bomb).unwrap_err()[0].message.contains("aliases"));
    let deep = "[".repeat(1000);
    assert!(!read(&deep).unwrap_err().is_empty());
}

#[test]
fn anchors_and_merges_work() {
    let file = read(
        "scrape_configs:\n- &base {job_name: a, scheme: https, metrics_path: /m}\n- <<: *base\n  job_name: b\n",
    )
    .expect("a good file");
    assert_eq!(
        (file.jobs[1].name.as_str(), file.jobs[1].scheme.as_str()),
        ("b", "https")
    );
}

#[test]
fn more_files_bring_more_jobs() {
    let dir = std::env::temp_dir().join(format!("scrape-config-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("jobs")).expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).expect("a file");
    write(
        "prometheus.yml",
        "scrape_configs: [{job_name: a}]\nscrape_config_files: ['jobs/*.yml']\n",
    );
    write(
        "jobs/1.yml",
        "scrape_configs: [{job_name: b, bearer_token_file: t}]\n",
    );
    let main = dir.join("prometheus.yml");
    let file = load(&main, &environment).expect("good files");
    assert_eq!(
        file.jobs
            .iter()
            .map(|job| job.name.as_str())
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    let token = Secret::File(dir.join("jobs/t"));
    assert_eq!(
        file.jobs[1].http.auth,
        Some(Auth::Credentials {
            scheme: "Bearer".into(),
            secret: token
        })
    );
    write(
        "jobs/2.yml",
        "scrape_configs: [{job_name: b}]\nglobal: {}\n",
    );
    let problems = load(&main, &environment).unwrap_err();
    let told: Vec<_> = problems
        .iter()
        .map(|p| p.to_string().replace(&*dir.to_string_lossy(), ""))
        .collect();
    let expect = [
        "/jobs/2.yml:1:19: found multiple scrape configs with job name \"b\"",
        "/jobs/2.yml:2:1: field global not found in type config.plain",
    ];
    assert_eq!(told, expect);
    std::fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn patterns_name_files() {
    for (pattern, name, expect) in [
        ("*.yml", "a.yml", true),
        ("*.yml", "a.yaml", false),
        ("a?[b-d]*", "axcy", true),
        ("a[^x]", "ax", false),
        ("**a*b", "xaxxb", true),
        ("a", "a", true),
        ("[", "[", false),
    ] {
        assert_eq!(
            fits(pattern.as_bytes(), name.as_bytes()),
            expect,
            "{pattern} {name}"
        );
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(300))]

    /// Whatever stands in a file is read or refused, each problem with a place in it.
    #[test]
    fn damaged_files_are_refused_not_fatal(
        from in 0..EXAMPLE.len(),
        length in 0..40usize,
        with in "[-a-z0-9:{}\\[\\]&*<\"'|>!%@#, \n\t\u{e9}\u{0}]{0,12}",
    ) {
        let from = EXAMPLE.floor_char_boundary(from);
        let to = EXAMPLE.floor_char_boundary(from + length);
        let text = format!("{}{with}{}", &EXAMPLE[..from], &EXAMPLE[to.max(from)..]);
        if let Err(problems) = read(&text) {
            let lines = text.lines().count() + 1;
            proptest::prop_assert!(!problems.is_empty());
            proptest::prop_assert!(problems.iter().all(|problem| problem.at.line <= lines), "{problems:?}");
        }
    }
}
