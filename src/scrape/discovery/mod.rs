//! Finds targets again and again: each discovery of a job is a loop that tells the pool what is there
//! now. What was found last stays when a look fails. Must never hold more than [`FOUND_MAX`] targets.

mod dns;
mod docker;
mod files;
mod wire;

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Deserialize;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::client::{self, Client, Reach};
use super::config::{Discovery, Group};
use super::target::ADDRESS;
use crate::model::metric::Labels;

/// Targets of one discovery; a whole server scrapes fewer.
const FOUND_MAX: usize = 10_000;

/// Bytes of an answer that lists targets.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// One look takes no longer: servers that hang must not hide that they do.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// What a discovery tells the pools.
#[derive(Debug)]
pub(super) struct Update {
    /// Which set of jobs it belongs to: older ones are of no interest.
    pub(super) generation: u64,
    pub(super) job: usize,
    pub(super) discovery: usize,
    pub(super) found: Result<Vec<Labels>, String>,
}

/// What a look of one discovery needs.
pub(super) struct Look {
    pub(super) generation: u64,
    pub(super) job: usize,
    pub(super) number: usize,
    pub(super) discovery: Discovery,
    pub(super) reach: Reach,
}

impl Look {
    /// The word for pages: which kind of discovery, and where it looks.
    pub(super) fn name(discovery: &Discovery) -> String {
        match discovery {
            Discovery::Static(_) => "static_configs".to_owned(),
            Discovery::Files { patterns, .. } => {
                let shown: Vec<String> = patterns.iter().map(|p| p.display().to_string()).collect();
                format!("file_sd_configs {}", shown.join(", "))
            }
            Discovery::Http { url, .. } => format!("http_sd_configs {url}"),
            Discovery::Dns { names, .. } => format!("dns_sd_configs {}", names.join(", ")),
            Discovery::Docker(docker) => format!("docker_sd_configs {}", docker.host),
        }
    }

    /// Looks until stopped; tells what is new, and each failure once.
    pub(super) async fn run(self, updates: Sender<Update>, stop: CancellationToken) {
        let mut seen = files::Seen::default();
        let mut last: Option<Result<Vec<Labels>, String>> = None;
        loop {
            let (found, pause) = tokio::select! {
                found = self.look(&mut seen) => found,
                () = stop.cancelled() => return,
            };
            let found = found.and_then(bounded);
            if last.as_ref() != Some(&found) {
                last = Some(found.clone());
                let update = Update {
                    generation: self.generation,
                    job: self.job,
                    discovery: self.number,
                    found,
                };
                if updates.send(update).await.is_err() {
                    return;
                }
            }
            let Some(pause) = pause else { return };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One look, and how long until the next; `None` when nothing will change.
    async fn look(
        &self,
        seen: &mut files::Seen,
    ) -> (Result<Vec<Labels>, String>, Option<Duration>) {
        let late = |_| Err(format!("no answer within {} s", LOOK_MAX.as_secs()));
        match &self.discovery {
            Discovery::Static(groups) => (Ok(flat(groups, &[])), None),
            Discovery::Files { patterns, refresh } => {
                let found = files::look(patterns, seen).await;
                (found, Some(files::pause(*refresh)))
            }
            Discovery::Http { url, refresh, http } => {
                let client = Client::new(http, &self.reach);
                let look = by_http(&client, url, *refresh);
                let found = tokio::time::timeout(LOOK_MAX.min(*refresh), look).await;
                (found.unwrap_or_else(late), Some(*refresh))
            }
            Discovery::Dns {
                names,
                records,
                port,
                refresh,
            } => {
                let look = dns::look(names, *records, *port);
                let found = tokio::time::timeout(LOOK_MAX, look).await;
                (found.unwrap_or_else(late), Some(*refresh))
            }
            Discovery::Docker(docker) => {
                let look = docker::look(docker, &self.reach);
                let found = tokio::time::timeout(LOOK_MAX, look).await;
                (found.unwrap_or_else(late), Some(docker.refresh))
            }
        }
    }
}

fn bounded(found: Vec<Labels>) -> Result<Vec<Labels>, String> {
    match found.len() {
        n if n > FOUND_MAX => Err(format!(
            "found {n} targets, at most {FOUND_MAX} are taken from one discovery"
        )),
        _ => Ok(found),
    }
}

/// The targets of groups; labels of a target win over those of its group.
fn flat(groups: &[Group], more: &[(&str, &str)]) -> Vec<Labels> {
    let mut all = Vec::new();
    for group in groups {
        for target in &group.targets {
            let of_group = group
                .labels
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()));
            let address = [(ADDRESS, target.as_str())];
            all.push(Labels::of(
                of_group.chain(more.iter().copied()).chain(address),
            ));
        }
    }
    all
}

/// A group as JSON writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonGroup {
    #[serde(default)]
    targets: Vec<String>,
    #[serde(default)]
    labels: Option<std::collections::BTreeMap<String, String>>,
}

fn json_groups(text: &[u8]) -> Result<Vec<Group>, String> {
    let groups: Vec<JsonGroup> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let group = |group: JsonGroup| Group {
        targets: group.targets,
        labels: group.labels.unwrap_or_default().into_iter().collect(),
    };
    Ok(groups.into_iter().map(group).collect())
}

/// Asks an address that lists targets (Prometheus' HTTP SD).
async fn by_http(client: &Client, url: &str, refresh: Duration) -> Result<Vec<Labels>, String> {
    let seconds = HeaderValue::from_str(&refresh.as_secs_f64().to_string());
    let headers = [
        (ACCEPT, HeaderValue::from_static("application/json")),
        (
            HeaderName::from_static("x-prometheus-refresh-interval-seconds"),
            seconds.expect("a number is a header"),
        ),
    ];
    let mut connection = None;
    let mut answer = client.get(&mut connection, url, &headers).await?;
    if answer.status != http::StatusCode::OK {
        return Err(format!(
            "server returned HTTP status {}",
            answer.status_line()
        ));
    }
    let kind = answer.header(CONTENT_TYPE).unwrap_or_default().to_owned();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(format!("unsupported content type {kind:?}"));
    }
    let body = client::read_all(&mut answer, ANSWER_BYTES_MAX).await?;
    Ok(flat(&json_groups(&body)?, &[("__meta_url", url)]))
}

/// A label's name from any text: what is no letter, digit or `_` becomes `_`.
fn sanitized(name: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(fit).collect()
}

/// Host and port as one address; IPv6 in brackets.
fn host_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests;
