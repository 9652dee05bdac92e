//! One scrape configuration, with what `global` says where it says nothing itself.

use std::path::Path;
use std::time::Duration;

use super::discovery::{self, Discovery};
use super::http::{self, HttpConfig};
use super::section::Section;
use crate::model::metric::Labels;
use crate::scrape::relabel::{Action, Names, Pattern, Rule};

/// What a target may answer with, in the words of `scrape_protocols`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Protobuf,
    OpenMetrics001,
    OpenMetrics100,
    Text004,
    Text100,
}

impl Protocol {
    /// In the order in which Prometheus lists them.
    const ALL: [(&'static str, Protocol); 5] = [
        ("OpenMetricsText0.0.1", Protocol::OpenMetrics001),
        ("OpenMetricsText1.0.0", Protocol::OpenMetrics100),
        ("PrometheusProto", Protocol::Protobuf),
        ("PrometheusText0.0.4", Protocol::Text004),
        ("PrometheusText1.0.0", Protocol::Text100),
    ];
    pub(crate) const DEFAULT: [Protocol; 4] = [
        Protocol::OpenMetrics100,
        Protocol::OpenMetrics001,
        Protocol::Text100,
        Protocol::Text004,
    ];

    fn of(word: &str) -> Result<Protocol, String> {
        let found = Protocol::ALL.into_iter().find(|(name, _)| *name == word);
        found.map(|(_, protocol)| protocol).ok_or_else(|| {
            let all = Protocol::ALL.map(|(name, _)| name).join(" ");
            format!("unknown scrape protocol {word}, supported: [{all}]")
        })
    }
}

/// What makes a whole scrape fail when there is more of it; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) body_bytes: u64,
    pub(crate) samples: u64,
    pub(crate) targets: u64,
    pub(crate) labels: u64,
    pub(crate) label_name_bytes: u64,
    pub(crate) label_value_bytes: u64,
    /// Targets dropped by relabelling that are shown.
    pub(crate) dropped_targets: u64,
}

/// How names that are not of the old alphabet are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escaping {
    AllowUtf8,
    Underscores,
    Dots,
    Values,
}

impl Escaping {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Escaping::AllowUtf8 => "allow-utf-8",
            Escaping::Underscores => "underscores",
            Escaping::Dots => "dots",
            Escaping::Values => "values",
        }
    }

    fn of(word: &str, whose: &str) -> Result<Escaping, String> {
        let all = [
            Escaping::AllowUtf8,
            Escaping::Underscores,
            Escaping::Dots,
            Escaping::Values,
        ];
        all.into_iter().find(|escaping| escaping.name() == word).ok_or_else(|| {
            format!(
                "unknown {whose} name escaping method specified, must be one of 'allow-utf-8', 'underscores', 'dots', or 'values', got {word:?}"
            )
        })
    }
}

/// `global:`.
#[derive(Clone, Debug)]
pub(crate) struct Global {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) evaluation_interval: Duration,
    pub(crate) external_labels: Labels,
    protocols: Option<Vec<Protocol>>,
    limits: Limits,
    names: Names,
    escaping: Option<Escaping>,
    native_histograms: bool,
    always_classic: bool,
    to_custom_buckets: bool,
    extra_metrics: bool,
}

impl Default for Global {
    fn default() -> Global {
        Global {
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            evaluation_interval: Duration::from_secs(60),
            external_labels: Labels::default(),
            protocols: None,
            limits: Limits::default(),
            names: Names::Utf8,
            escaping: None,
            native_histograms: false,
            always_classic: false,
            to_custom_buckets: false,
            extra_metrics: false,
        }
    }
}

/// One entry of `scrape_configs`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) path: String,
    pub(crate) scheme: String,
    pub(crate) params: Vec<(String, Vec<String>)>,
    pub(crate) honor_labels: bool,
    pub(crate) honor_timestamps: bool,
    pub(crate) track_timestamps_staleness: bool,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) fallback: Option<Protocol>,
    pub(crate) compression: bool,
    pub(crate) extra_metrics: bool,
    pub(crate) limits: Limits,
    pub(crate) names: Names,
    pub(crate) escaping: Escaping,
    pub(crate) http: HttpConfig,
    pub(crate) discovery: Vec<Discovery>,
    pub(crate) relabel: Vec<Rule>,
    pub(crate) metric_relabel: Vec<Rule>,
}

impl Job {
    /// A job of addresses given outside of a file, everything else by default.
    pub(crate) fn of_targets(name: &str, global: &Global, discovery: Vec<Discovery>) -> Job {
        Job {
            name: name.to_owned(),
            interval: global.interval,
            timeout: global.timeout,
            path: "/metrics".to_owned(),
            scheme: "http".to_owned(),
            params: Vec::new(),
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            protocols: Protocol::DEFAULT.to_vec(),
            fallback: None,
            compression: true,
            extra_metrics: global.extra_metrics,
            limits: global.limits,
            names: global.names,
            escaping: global.escaping.unwrap_or(Escaping::AllowUtf8),
            http: HttpConfig::default(),
            discovery,
            relabel: Vec::new(),
            metric_relabel: Vec::new(),
        }
    }
}

/// Reads `global:`; `environment` fills in the variables of external labels.
pub(super) fn global(
    section: &Section<'_>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Global {
    let default = Global::default();
    let positive = |given: Option<Duration>| given.filter(|period| !period.is_zero());
    let interval = positive(section.duration("scrape_interval")).unwrap_or(default.interval);
    let timeout = positive(section.duration("scrape_timeout"));
    if timeout.is_some_and(|timeout| timeout > interval) {
        section.problem(
            "scrape_timeout",
            "global scrape timeout greater than scrape interval",
        );
    }
    let names = names(section).unwrap_or_default();
    let mut labels = Vec::new();
    for (name, value) in section.pairs("external_labels", "map[string]string") {
        if !names.is_label_name(&name) {
            section.problem(
                "external_labels",
                format!("{name:?} is not a valid label name"),
            );
        }
        labels.push((name, expand(&value, environment)));
    }
    for key in ["query_log_file", "scrape_failure_log_file"] {
        if section.take(key).is_some() {
            let what = format!(
                "{key}: no such file is written here; the page of targets and the log tell failures"
            );
            section.notes.warning(section.at_of(key), what);
        }
    }
    section.duration("rule_query_offset");
    let protocols = protocols(section, " for global config");
    let global = Global {
        interval,
        timeout: timeout.unwrap_or(default.timeout.min(interval)),
        evaluation_interval: positive(section.duration("evaluation_interval"))
            .unwrap_or(default.evaluation_interval),
        external_labels: Labels::of(labels),
        protocols,
        limits: limits(section, Limits::default()),
        names,
        escaping: section.parsed("metric_name_escaping_scheme", |word| {
            Escaping::of(word, "global")
        }),
        native_histograms: section.flag("scrape_native_histograms").unwrap_or(false),
        always_classic: section
            .flag("always_scrape_classic_histograms")
            .unwrap_or(false),
        to_custom_buckets: section
            .flag("convert_classic_histograms_to_nhcb")
            .unwrap_or(false),
        extra_metrics: section.flag("extra_scrape_metrics").unwrap_or(false),
    };
    section.close();
    global
}

/// `$NAME` and `${NAME}` from the environment, as Go's `os.Expand` does it.
fn expand(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if let Some((name, tail)) = after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
        {
            let dollar = (name == "$").then(|| "$".to_owned());
            out.push_str(&dollar.or_else(|| environment(name)).unwrap_or_default());
            rest = tail;
        } else if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else {
            let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
            let (name, tail) = after.split_at(end);
            match name {
                "" => out.push('$'),
                name => out.push_str(&environment(name).unwrap_or_default()),
            }
            rest = tail;
        }
    }
    out.push_str(rest);
    out
}

fn names(section: &Section<'_>) -> Option<Names> {
    section.parsed("metric_name_validation_scheme", |word| match word {
        "utf8" => Ok(Names::Utf8),
        "legacy" => Ok(Names::Legacy),
        _ => Err(format!(
            "unknown scrape config name validation method specified, must be either '', 'legacy' or 'utf8', got {word}"
        )),
    })
}

fn limits(section: &Section<'_>, global: Limits) -> Limits {
    let limit = |key: &str, global: u64| match section.count(key) {
        None | Some(0) => global,
        Some(limit) => limit,
    };
    Limits {
        body_bytes: section
            .bytes("body_size_limit")
            .filter(|n| *n > 0)
            .unwrap_or(global.body_bytes),
        samples: limit("sample_limit", global.samples),
        targets: limit("target_limit", global.targets),
        labels: limit("label_limit", global.labels),
        label_name_bytes: limit("label_name_length_limit", global.label_name_bytes),
        label_value_bytes: limit("label_value_length_limit", global.label_value_bytes),
        dropped_targets: limit("keep_dropped_targets", global.dropped_targets),
    }
}

fn protocols(section: &Section<'_>, whose: &str) -> Option<Vec<Protocol>> {
    section.take("scrape_protocols")?;
    let words = section.texts("scrape_protocols");
    let mut protocols = Vec::new();
    if words.is_empty() {
        section.problem(
            "scrape_protocols",
            format!("scrape_protocols cannot be empty{whose}"),
        );
        return None;
    }
    for word in &words {
        match Protocol::of(word) {
            Ok(protocol) if protocols.contains(&protocol) => {
                let all = words.join(" ");
                let message =
                    format!("duplicated protocol in scrape_protocols, got [{all}]{whose}");
                section.problem("scrape_protocols", message);
            }
            Ok(protocol) => protocols.push(protocol),
            Err(error) => {
                section.problem(
                    "scrape_protocols",
                    format!("scrape_protocols: {error}{whose}"),
                );
            }
        }
    }
    Some(protocols)
}

/// Reads one scrape configuration; problems are in the notes of the section.
pub(super) fn job(section: &Section<'_>, global: &Global, dir: &Path) -> Job {
    let name = section.text("job_name").unwrap_or_default();
    if name.is_empty() {
        section.notes.problem(section.at, "job_name is empty");
    }
    let (interval, timeout) = times(section, global, &name);
    let own_names = names(section);
    let names = own_names.unwrap_or(global.names);
    let escaping = escaping(section, global, own_names);
    let of_job = format!(" for scrape config with job name {name:?}");
    let protocols = protocols(section, &of_job)
        .or_else(|| global.protocols.clone())
        .unwrap_or_else(|| Protocol::DEFAULT.to_vec());
    let fallback = section.parsed("fallback_scrape_protocol", |word| {
        Protocol::of(word)
            .map_err(|error| format!("invalid fallback_scrape_protocol{of_job}: {error}"))
    });
    histograms(section, global);
    if section.take("scrape_failure_log_file").is_some() {
        let what = "scrape_failure_log_file: no such file is written here; the page of targets and the log tell failures";
        section
            .notes
            .warning(section.at_of("scrape_failure_log_file"), what);
    }
    let job = Job {
        interval,
        timeout,
        path: section
            .text("metrics_path")
            .unwrap_or_else(|| "/metrics".to_owned()),
        scheme: section.text("scheme").unwrap_or_else(|| "http".to_owned()),
        params: section.text_lists("params", "url.Values"),
        honor_labels: section.flag("honor_labels").unwrap_or(false),
        honor_timestamps: section.flag("honor_timestamps").unwrap_or(true),
        track_timestamps_staleness: section.flag("track_timestamps_staleness").unwrap_or(false),
        protocols,
        fallback,
        compression: section.flag("enable_compression").unwrap_or(true),
        extra_metrics: section
            .flag("extra_scrape_metrics")
            .unwrap_or(global.extra_metrics),
        limits: limits(section, global.limits),
        names,
        escaping,
        http: http::read(section, dir),
        discovery: discovery::read(section, dir),
        relabel: rules(section, "relabel_configs", "target", names),
        metric_relabel: rules(section, "metric_relabel_configs", "metric", names),
        name,
    };
    check_static_targets(section, &job);
    section.close();
    job
}

fn times(section: &Section<'_>, global: &Global, name: &str) -> (Duration, Duration) {
    let positive = |given: Option<Duration>| given.filter(|period| !period.is_zero());
    let interval = positive(section.duration("scrape_interval")).unwrap_or(global.interval);
    let timeout = positive(section.duration("scrape_timeout"));
    if timeout.is_some_and(|timeout| timeout > interval) {
        let message = format!(
            "scrape timeout greater than scrape interval for scrape config with job name {name:?}"
        );
        section.problem("scrape_timeout", message);
    }
    (interval, timeout.unwrap_or(global.timeout.min(interval)))
}

fn escaping(section: &Section<'_>, global: &Global, own_names: Option<Names>) -> Escaping {
    let of_names = |names| match names {
        Names::Legacy => Escaping::Underscores,
        Names::Utf8 => Escaping::AllowUtf8,
    };
    let given = section.parsed("metric_name_escaping_scheme", |word| {
        Escaping::of(word, "scrape config")
    });
    let names = own_names.unwrap_or(global.names);
    let escaping = given.unwrap_or_else(|| match own_names {
        Some(names) => of_names(names),
        None => global.escaping.unwrap_or_else(|| of_names(global.names)),
    });
    if escaping == Escaping::AllowUtf8 && names == Names::Legacy {
        let message = "utf8 metric names requested but validation scheme is not set to UTF8";
        section.problem("metric_name_escaping_scheme", message);
    }
    escaping
}

/// Settings of native histograms: they come in protobuf only, which is not read yet.
fn histograms(section: &Section<'_>, global: &Global) {
    let flags = [
        ("scrape_native_histograms", global.native_histograms),
        ("always_scrape_classic_histograms", global.always_classic),
        (
            "convert_classic_histograms_to_nhcb",
            global.to_custom_buckets,
        ),
    ];
    for (key, of_global) in flags {
        if section.flag(key).unwrap_or(of_global) && key != "always_scrape_classic_histograms" {
            let what = format!(
                "{key}: classic histograms are kept as they come; native ones need the protobuf format, which is not read"
            );
            section.notes.warning(section.at_of(key), what);
        }
    }
    for key in [
        "native_histogram_bucket_limit",
        "native_histogram_min_bucket_factor",
    ] {
        if section.take(key).is_some() {
            let what = format!("{key} has no effect: native histograms are not scraped");
            section.notes.warning(section.at_of(key), what);
        }
    }
}

/// People write URLs where addresses belong; with relabelling they may mean it.
fn check_static_targets(section: &Section<'_>, job: &Job) {
    if !job.relabel.is_empty() {
        return;
    }
    for discovery in &job.discovery {
        let Discovery::Static(groups) = discovery else {
            continue;
        };
        for target in groups.iter().flat_map(|group| &group.targets) {
            if target.contains('/') {
                section.problem(
                    "static_configs",
                    format!("{target:?} is not a valid hostname"),
                );
            }
        }
    }
}

fn rules(section: &Section<'_>, key: &str, what: &str, names: Names) -> Vec<Rule> {
    let mut rules = Vec::new();
    for item in section.list(key, "[]*relabel.Config") {
        if item.is_null() {
            let message = format!("empty or null {what} relabeling rule in scrape config");
            section.notes.problem(item.at, message);
            continue;
        }
        let Some(one) = Section::open(item, "relabel.plain", section.notes) else {
            continue;
        };
        let default = Rule::default();
        let or = |given: Option<String>, default: String| given.unwrap_or(default);
        // A key without a value empties the field, where Prometheus' defaults would stand otherwise.
        let text = |key: &str, default: String| match one.has(key) && one.take(key).is_none() {
            true => String::new(),
            false => or(one.text(key), default),
        };
        let action = one.parsed("action", |word| {
            Action::of(word).ok_or_else(|| format!("unknown relabel action {word:?}"))
        });
        let is_action = action.is_some() || one.take("action").is_none();
        let rule = Rule {
            source: one.texts("source_labels"),
            separator: text("separator", default.separator),
            regex: match one.has("regex") && one.take("regex").is_none() {
                true => Pattern::new("").unwrap_or(default.regex),
                false => one.parsed("regex", Pattern::new).unwrap_or(default.regex),
            },
            modulus: one.count("modulus").unwrap_or(0),
            target: one.text("target_label").unwrap_or_default(),
            replacement: text("replacement", default.replacement),
            action: action.unwrap_or(default.action),
        };
        one.close();
        match rule.check(names) {
            Err(message) if is_action => section.notes.problem(one.at, message),
            _ => {}
        }
        rules.push(rule);
    }
    rules
}
