//! Where targets come from: lists in the file, other files, HTTP, DNS, Docker.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::http::{self, HttpConfig};
use super::section::{Notes, Section};
use super::yaml::Node;

/// Addresses with labels in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) targets: Vec<String>,
    pub(crate) labels: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordType {
    A,
    Aaaa,
    Srv,
    Mx,
    Ns,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Discovery {
    Static(Vec<Group>),
    Files {
        patterns: Vec<PathBuf>,
        refresh: Duration,
    },
    Http {
        url: String,
        refresh: Duration,
        http: Box<HttpConfig>,
    },
    Dns {
        names: Vec<String>,
        records: RecordType,
        port: u16,
        refresh: Duration,
    },
    Docker(Box<Docker>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Docker {
    /// `unix:///var/run/docker.sock`, or an http address.
    pub(crate) host: String,
    /// Of containers that publish none.
    pub(crate) port: u16,
    pub(crate) filters: Vec<(String, Vec<String>)>,
    pub(crate) host_networking_host: String,
    pub(crate) match_first_network: bool,
    pub(crate) refresh: Duration,
    pub(crate) http: HttpConfig,
}

/// Discoveries of Prometheus 3.5 that this program does not have.
const NOT_HERE: [&str; 27] = [
    "azure_sd_configs",
    "consul_sd_configs",
    "digitalocean_sd_configs",
    "dockerswarm_sd_configs",
    "ec2_sd_configs",
    "eureka_sd_configs",
    "gce_sd_configs",
    "hetzner_sd_configs",
    "ionos_sd_configs",
    "kubernetes_sd_configs",
    "kuma_sd_configs",
    "lightsail_sd_configs",
    "linode_sd_configs",
    "marathon_sd_configs",
    "nerve_sd_configs",
    "nomad_sd_configs",
    "openstack_sd_configs",
    "ovhcloud_sd_configs",
    "puppetdb_sd_configs",
    "scaleway_sd_configs",
    "serverset_sd_configs",
    "stackit_sd_configs",
    "triton_sd_configs",
    "uyuni_sd_configs",
    "vultr_sd_configs",
    "aws_sd_configs",
    "outscale_sd_configs",
];

const GROUP_TYPE: &str =
    r#"struct { Targets []string "yaml:\"targets\""; Labels model.LabelSet "yaml:\"labels\"" }"#;

/// Shortest time between two looks: less only costs.
const REFRESH_MIN: Duration = Duration::from_secs(1);

/// Reads all discoveries of a scrape configuration.
pub(super) fn read(section: &Section<'_>, dir: &Path) -> Vec<Discovery> {
    let mut all = Vec::new();
    let groups: Vec<Group> = section
        .sections("static_configs", GROUP_TYPE)
        .iter()
        .map(group)
        .collect();
    if !groups.is_empty() {
        all.push(Discovery::Static(groups));
    }
    for one in section.sections("file_sd_configs", "file.plain") {
        all.extend(files(&one, dir));
    }
    for one in section.sections("http_sd_configs", "http.plain") {
        all.extend(by_http(&one, dir));
    }
    for one in section.sections("dns_sd_configs", "dns.plain") {
        all.extend(by_dns(&one));
    }
    for one in section.sections("docker_sd_configs", "moby.plain") {
        all.extend(docker(&one, dir));
    }
    for key in NOT_HERE.into_iter().filter(|key| section.has(key)) {
        section.take(key);
        let what = format!(
            "{key} is not known here: its targets are not scraped; file_sd_configs or http_sd_configs can take their place"
        );
        section.notes.warning(section.at_of(key), what);
    }
    all
}

/// The groups of a file or an answer that lists targets.
pub(super) fn groups(node: &Node, notes: &Notes) -> Vec<Group> {
    let super::yaml::Content::Sequence(items) = &node.content else {
        if !node.is_null() {
            let message = format!("cannot unmarshal {} into []*targetgroup.Group", node.kind());
            notes.problem(node.at, message);
        }
        return Vec::new();
    };
    let open = |item| Section::open(item, GROUP_TYPE, notes);
    items
        .iter()
        .filter_map(open)
        .map(|section| group(&section))
        .collect()
}

fn group(section: &Section<'_>) -> Group {
    let group = Group {
        targets: section.texts("targets"),
        labels: section.pairs("labels", "model.LabelSet"),
    };
    for (name, _) in &group.labels {
        if name.is_empty() {
            section.problem("labels", "\"\" is not a valid label name");
        }
    }
    section.close();
    group
}

fn refresh(section: &Section<'_>, default_s: u64) -> Duration {
    let given = section
        .duration("refresh_interval")
        .unwrap_or(Duration::from_secs(default_s));
    given.max(REFRESH_MIN)
}

fn files(section: &Section<'_>, dir: &Path) -> Option<Discovery> {
    let names = section.texts("files");
    if names.is_empty() {
        section.notes.problem(
            section.at,
            "file service discovery config must contain at least one path name",
        );
    }
    for name in &names {
        // `^[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)$`
        let ending = [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"];
        let star_last = name
            .split_once('*')
            .is_none_or(|(_, tail)| !tail.contains('/'));
        if !star_last || !ending.iter().any(|end| name.ends_with(end)) {
            section.problem(
                "files",
                format!("path name {name:?} is not valid for file discovery"),
            );
        }
    }
    let discovery = Discovery::Files {
        patterns: names.iter().map(|name| http::beside(dir, name)).collect(),
        refresh: refresh(section, 300),
    };
    section.close();
    Some(discovery)
}

fn by_http(section: &Section<'_>, dir: &Path) -> Option<Discovery> {
    let http = http::read(section, dir);
    let refresh = refresh(section, 60);
    let url = section.text("url").unwrap_or_default();
    section.close();
    match url.parse::<::http::Uri>() {
        _ if url.is_empty() => section.notes.problem(section.at, "URL is missing"),
        Ok(parsed) if !matches!(parsed.scheme_str(), Some("http" | "https")) => {
            section.problem("url", "URL scheme must be 'http' or 'https'");
        }
        Ok(parsed) if parsed.host().is_none_or(str::is_empty) => {
            section.problem("url", "host is missing in URL");
        }
        Ok(_) => {
            let http = Box::new(http);
            return Some(Discovery::Http { url, refresh, http });
        }
        Err(error) => section.problem("url", format!("parse {url:?}: {error}")),
    }
    None
}

fn port(section: &Section<'_>, default: u16) -> u16 {
    match section.count("port") {
        None => default,
        Some(port) => u16::try_from(port).unwrap_or_else(|_| {
            section.problem("port", format!("{port} is not a port"));
            default
        }),
    }
}

fn by_dns(section: &Section<'_>) -> Option<Discovery> {
    let names = section.texts("names");
    if names.is_empty() {
        section.notes.problem(
            section.at,
            "DNS-SD config must contain at least one SRV record name",
        );
    }
    let written = section.text("type").unwrap_or_else(|| "SRV".to_owned());
    let records = match written.to_uppercase().as_str() {
        "SRV" => RecordType::Srv,
        "A" => RecordType::A,
        "AAAA" => RecordType::Aaaa,
        "MX" => RecordType::Mx,
        "NS" => RecordType::Ns,
        _ => {
            section.problem("type", format!("invalid DNS-SD records type {written}"));
            return None;
        }
    };
    let port = port(section, 0);
    if port == 0 && records != RecordType::Srv {
        let message = "a port is required in DNS-SD configs for all record types except SRV";
        section.notes.problem(section.at, message);
    }
    let refresh = refresh(section, 30);
    section.close();
    Some(Discovery::Dns {
        names,
        records,
        port,
        refresh,
    })
}

fn docker(section: &Section<'_>, dir: &Path) -> Option<Discovery> {
    let http = http::read(section, dir);
    let host = section.text("host").unwrap_or_default();
    let schemes = ["unix://", "http://", "https://", "tcp://"];
    if host.is_empty() {
        section.notes.problem(section.at, "host missing");
    } else if !schemes.iter().any(|scheme| host.starts_with(scheme)) {
        section.problem("host", format!("unable to parse docker host `{host}`"));
    }
    let filters = section.sections("filters", "moby.Filter");
    let filter = |one: &Section<'_>| {
        let pair = (one.text("name").unwrap_or_default(), one.texts("values"));
        one.close();
        pair
    };
    let docker = Docker {
        port: port(section, 80),
        filters: filters.iter().map(filter).collect(),
        host_networking_host: section
            .text("host_networking_host")
            .unwrap_or_else(|| "localhost".to_owned()),
        match_first_network: section.flag("match_first_network").unwrap_or(true),
        refresh: refresh(section, 60),
        host,
        http,
    };
    section.close();
    Some(Discovery::Docker(Box::new(docker)))
}
