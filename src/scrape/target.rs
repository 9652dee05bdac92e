//! One thing to scrape: its labels before and after relabelling, its address, when its turn is, and
//! what came of its last scrape.

use std::sync::Mutex;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::config::{self, Job};
use super::relabel;
use crate::model::metric::{Labels, LabelsBuilder};

pub(crate) const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const METRICS_PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const PARAM: &str = "__param_";
const META: &str = "__meta_";

/// What was found for an address.
#[derive(Debug)]
pub(crate) enum Found {
    Target(Box<Target>),
    /// Relabelling dropped it; its labels before.
    Dropped(Labels),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Health {
    #[default]
    Unknown,
    Up,
    Down,
}

impl Health {
    /// The word of the targets API.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        }
    }
}

/// What came of the last scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) health: Health,
    /// Epoch ms.
    pub(crate) at: Option<i64>,
    pub(crate) took: Duration,
    pub(crate) error: Option<String>,
    pub(crate) samples: u64,
    pub(crate) kept: u64,
    pub(crate) series: u64,
    pub(crate) body_bytes: u64,
    /// Samples that the store did not take: reason, how many, an example.
    pub(crate) rejected: Vec<(&'static str, u64, String)>,
    /// Samples not taken since the target is there, all reasons.
    pub(crate) rejected_total: u64,
}

#[derive(Debug)]
pub(crate) struct Target {
    /// Of labels and address: two targets of a job with the same are one.
    pub(crate) id: u64,
    /// Before relabelling.
    pub(crate) discovered: Labels,
    /// What its samples get: no name of these begins with `__`.
    pub(crate) labels: Labels,
    pub(crate) url: String,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// Guards the last report; held for a copy.
    report: Mutex<Report>,
}

impl Target {
    pub(crate) fn report(&self) -> Report {
        self.report.lock().expect("no holder panics").clone()
    }

    pub(super) fn tell(&self, report: Report) {
        *self.report.lock().expect("no holder panics") = report;
    }

    /// Milliseconds from `now` to the target's next turn. Turns are at fixed places of the clock, the
    /// same after a restart, and spread over the interval by the target's hash.
    pub(super) fn wait_ms(&self, now_ms: i64) -> u64 {
        let interval = interval_ms(self.interval);
        let place = self.id % interval;
        let now = u64::try_from(now_ms).unwrap_or(0) % interval;
        (place + interval - now) % interval
    }
}

pub(super) fn interval_ms(interval: Duration) -> u64 {
    u64::try_from(interval.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}

/// Makes a target of what a discovery found (Prometheus `PopulateLabels`).
///
/// # Errors
/// It is no target: why, in Prometheus' words.
pub(crate) fn populate(job: &Job, labels: &Labels) -> Result<Found, String> {
    let mut builder = LabelsBuilder::from(labels);
    let defaults = [
        ("job", job.name.clone()),
        (INTERVAL, config::show_duration(job.interval)),
        (TIMEOUT, config::show_duration(job.timeout)),
        (METRICS_PATH, job.path.clone()),
        (SCHEME, job.scheme.clone()),
    ];
    for (name, value) in &defaults {
        if builder.get(name).is_empty() {
            builder.set(name, value);
        }
    }
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            builder.set(&format!("{PARAM}{name}"), first);
        }
    }
    let discovered = builder.build();
    if !relabel::apply(&job.relabel, &mut builder, job.names) {
        return Ok(Found::Dropped(discovered));
    }
    let address = builder.get(ADDRESS).to_owned();
    if address.is_empty() {
        return Err("no address".to_owned());
    }
    if address.contains('/') {
        return Err(format!("{address:?} is not a valid hostname"));
    }
    let (interval, timeout) = times(&builder)?;
    builder.keep_names(|name| !name.starts_with(META));
    if builder.get("instance").is_empty() {
        builder.set("instance", &address);
    }
    let all = builder.build();
    let url = url(job, &all)?;
    let mut identity = all.packed().to_vec();
    identity.extend_from_slice(url.as_bytes());
    Ok(Found::Target(Box::new(Target {
        id: xxh3_64(&identity),
        discovered,
        labels: Labels::of_sorted(all.iter().filter(|(name, _)| !name.starts_with("__"))),
        url,
        interval,
        timeout,
        report: Mutex::default(),
    })))
}

fn times(labels: &LabelsBuilder) -> Result<(Duration, Duration), String> {
    let read = |label: &str, what: &str| match config::duration(labels.get(label)) {
        Ok(period) if period.is_zero() => Err(format!("scrape {what} cannot be 0")),
        Ok(period) => Ok(period),
        Err(error) => Err(format!("error parsing scrape {what}: {error}")),
    };
    let (interval, timeout) = (read(INTERVAL, "interval")?, read(TIMEOUT, "timeout")?);
    if timeout > interval {
        let (timeout, interval) = (labels.get(TIMEOUT), labels.get(INTERVAL));
        return Err(format!(
            "scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})"
        ));
    }
    Ok((interval, timeout))
}

fn url(job: &Job, labels: &Labels) -> Result<String, String> {
    let get = |name| labels.get(name).unwrap_or_default();
    let scheme = get(SCHEME);
    if scheme != "http" && scheme != "https" {
        return Err(format!("unsupported protocol scheme {scheme:?}"));
    }
    let mut params: Vec<(String, Vec<String>)> = job.params.clone();
    for (name, value) in labels.iter() {
        let Some(name) = name.strip_prefix(PARAM) else {
            continue;
        };
        match params.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) if !values.is_empty() => value.clone_into(&mut values[0]),
            Some((_, values)) => values.push(value.to_owned()),
            None => params.push((name.to_owned(), vec![value.to_owned()])),
        }
    }
    params.sort_by(|a, b| a.0.cmp(&b.0));
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, values) in &params {
        for value in values {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    let path = escaped_path(get(METRICS_PATH));
    let mark = if query.is_empty() { "" } else { "?" };
    let url = format!("{scheme}://{}{path}{mark}{query}", get(ADDRESS));
    match url.parse::<http::Uri>() {
        Ok(_) => Ok(url),
        Err(error) => Err(format!("parse {url:?}: {error}")),
    }
}

/// A path as Go's `URL.String` writes it.
fn escaped_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        out.push('/');
    }
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(byte as char),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'='
            | b'@' | b'!' | b'\'' | b'(' | b')' | b'*' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::config::{Global, parse};

    fn job(rest: &str) -> Job {
        let text = format!("scrape_configs:\n- job_name: j\n  {rest}\n");
        let file = parse(std::path::Path::new("x"), &text, &|_| None).expect("a good file");
        file.jobs.into_iter().next().expect("one job")
    }

    #[track_caller]
    fn check(rest: &str, labels: &[(&str, &str)], expect: Result<(&str, &str), &str>) {
        let found = populate(&job(rest), &Labels::of(labels.iter().copied()));
        let shown = found.map(|found| match found {
            Found::Target(target) => (target.url.clone(), target.labels.to_string()),
            Found::Dropped(_) => ("dropped".to_owned(), String::new()),
        });
        let expect = expect.map(|(url, labels)| (url.to_owned(), labels.to_owned()));
        assert_eq!(shown, expect.map_err(str::to_owned));
    }

    #[test]
    fn labels_make_a_target() {
        check(
            "params: {match: ['a b', c]}",
            &[(ADDRESS, "h:80"), ("zone", "eu"), ("__meta_x", "y")],
            Ok((
                "http://h:80/metrics?match=a+b&match=c",
                r#"{instance="h:80", job="j", zone="eu"}"#,
            )),
        );
        check(
            "{scheme: https, metrics_path: 'm x', relabel_configs: [{source_labels: [__address__], target_label: __param_target}, {target_label: __address__, replacement: 'p:9115'}]}"
                .trim_matches(['{', '}'])
                .replace("scheme: https, metrics_path: 'm x', ", "scheme: https\n  metrics_path: 'm x'\n  ")
                .as_str(),
            &[(ADDRESS, "site")],
            Ok((
                "https://p:9115/m%20x?target=site",
                r#"{instance="p:9115", job="j"}"#,
            )),
        );
        check(
            "relabel_configs: [{action: drop, source_labels: [job], regex: j}]",
            &[(ADDRESS, "h")],
            Ok(("dropped", "")),
        );
        check(
            "relabel_configs: [{target_label: __address__, replacement: ''}]",
            &[(ADDRESS, "h")],
            Err("no address"),
        );
        check(
            "relabel_configs: [{target_label: x}]",
            &[(ADDRESS, "http://h")],
            Err("\"http://h\" is not a valid hostname"),
        );
        check(
            "scrape_interval: 15s",
            &[(ADDRESS, "h"), (TIMEOUT, "20s")],
            Err("scrape timeout cannot be greater than scrape interval (\"20s\" > \"15s\")"),
        );
        check(
            "honor_labels: true",
            &[(ADDRESS, "h"), (INTERVAL, "0s")],
            Err("scrape interval cannot be 0"),
        );
    }

    #[test]
    fn turns_are_spread_and_fixed() {
        let job = Job::of_targets("j", &Global::default(), Vec::new());
        let mut tenths = [0; 10];
        for n in 0..1000 {
            let address = format!("h{n}:80");
            let Ok(Found::Target(target)) = populate(&job, &Labels::of([(ADDRESS, address)]))
            else {
                panic!("a target");
            };
            let now = 1_700_000_000_123;
            let next = now + target.wait_ms(now) as i64;
            assert_eq!(target.wait_ms(next), 0);
            assert_eq!(target.wait_ms(next + 1), 59_999);
            tenths[(next.rem_euclid(60_000) / 6_000) as usize] += 1;
        }
        assert!(tenths.iter().all(|n| (60..140).contains(n)), "{tenths:?}");
    }
}
