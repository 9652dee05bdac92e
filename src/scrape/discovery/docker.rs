//! Containers of a Docker daemon as targets: one for each network and published TCP port.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{ANSWER_BYTES_MAX, client, host_port, sanitized};
use crate::model::metric::{Labels, LabelsBuilder};
use crate::scrape::client::{Client, Reach};
use crate::scrape::config::Docker;
use crate::scrape::target::ADDRESS;

/// Containers whose network is that of another, one behind the other.
const SHARED_MAX: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
    #[serde(default)]
    host_config: HostConfig,
    #[serde(default)]
    network_settings: Settings,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    network_mode: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    #[serde(default)]
    networks: Option<BTreeMap<String, Option<Endpoint>>>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "NetworkID", default)]
    network_id: String,
    #[serde(rename = "IPAddress", default)]
    address: String,
}

#[derive(Deserialize)]
struct Port {
    #[serde(rename = "IP", default)]
    address: String,
    #[serde(rename = "PrivatePort", default)]
    private: u16,
    #[serde(rename = "PublicPort", default)]
    public: u16,
    #[serde(rename = "Type", default)]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    internal: bool,
    #[serde(default)]
    ingress: bool,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// Asks the daemon what runs.
///
/// # Errors
/// It does not answer, or with something else.
pub(super) async fn look(docker: &Docker, reach: &Reach) -> Result<Vec<Labels>, String> {
    let filters: BTreeMap<&str, &[String]> = docker
        .filters
        .iter()
        .map(|(name, values)| (name.as_str(), values.as_slice()))
        .collect();
    let filters = serde_json::to_string(&filters).map_err(|error| error.to_string())?;
    let query = form_urlencoded::byte_serialize(filters.as_bytes()).collect::<String>();
    let path = format!("/containers/json?filters={query}");
    let containers: Vec<Container> = ask(docker, reach, &path)
        .await
        .map_err(|error| format!("error while listing containers: {error}"))?;
    let networks: Vec<Network> = ask(docker, reach, "/networks")
        .await
        .map_err(|error| format!("error while computing network labels: {error}"))?;
    Ok(targets(docker, &containers, &networks))
}

async fn ask<T: DeserializeOwned>(docker: &Docker, reach: &Reach, path: &str) -> Result<T, String> {
    let (status, body) = match docker.host.strip_prefix("unix://") {
        Some(socket) => client::get_unix(Path::new(socket), path, ANSWER_BYTES_MAX).await?,
        None => {
            let base = docker.host.replacen("tcp://", "http://", 1);
            let url = format!("{}{path}", base.trim_end_matches('/'));
            let client = Client::new(&docker.http, reach);
            let mut connection = None;
            let mut answer = client.get(&mut connection, &url, &[]).await?;
            (
                answer.status,
                client::read_all(&mut answer, ANSWER_BYTES_MAX).await?,
            )
        }
    };
    if status != StatusCode::OK {
        return Err(format!("server returned HTTP status {status}"));
    }
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}

fn targets(docker: &Docker, containers: &[Container], networks: &[Network]) -> Vec<Labels> {
    let by_id: HashMap<&str, &Container> = containers.iter().map(|c| (c.id.as_str(), c)).collect();
    let networks: HashMap<&str, &Network> = networks.iter().map(|n| (n.id.as_str(), n)).collect();
    let mut found = Vec::new();
    for container in containers {
        let Some(name) = container.names.as_ref().and_then(|names| names.first()) else {
            continue;
        };
        let mut labels = LabelsBuilder::default();
        labels.set("__meta_docker_container_id", &container.id);
        labels.set("__meta_docker_container_name", name);
        labels.set(
            "__meta_docker_container_network_mode",
            &container.host_config.network_mode,
        );
        for (key, value) in container.labels.iter().flatten() {
            labels.set(
                &format!("__meta_docker_container_label_{}", sanitized(key)),
                value,
            );
        }
        let endpoints = endpoints(container, &by_id);
        let first = if docker.match_first_network {
            1
        } else {
            usize::MAX
        };
        for endpoint in endpoints.into_iter().take(first) {
            let mut labels = labels.clone();
            labels.set("__meta_docker_network_ip", &endpoint.address);
            if let Some(network) = networks.get(endpoint.network_id.as_str()) {
                network.label(&mut labels);
            }
            of_endpoint(docker, container, endpoint, &labels, &mut found);
        }
    }
    found
}

/// The networks of a container by name, or those of the container whose network it shares.
fn endpoints<'c>(
    container: &'c Container,
    by_id: &HashMap<&str, &'c Container>,
) -> Vec<&'c Endpoint> {
    let mut of = container;
    for _ in 0..SHARED_MAX {
        let all = of
            .network_settings
            .networks
            .iter()
            .flat_map(BTreeMap::values);
        let endpoints: Vec<&Endpoint> = all.flatten().collect();
        let shared = of.host_config.network_mode.strip_prefix("container:");
        match shared.and_then(|id| by_id.get(id)) {
            Some(other) if endpoints.is_empty() => of = other,
            _ => return endpoints,
        }
    }
    Vec::new()
}

fn of_endpoint(
    docker: &Docker,
    container: &Container,
    endpoint: &Endpoint,
    labels: &LabelsBuilder,
    found: &mut Vec<Labels>,
) {
    let before = found.len();
    let tcp = |port: &&Port| port.kind == "tcp";
    for port in container.ports.iter().flatten().filter(tcp) {
        let mut labels = labels.clone();
        labels.set("__meta_docker_port_private", &port.private.to_string());
        if port.public > 0 {
            labels.set("__meta_docker_port_public", &port.public.to_string());
            labels.set("__meta_docker_port_public_ip", &port.address);
        }
        labels.set(ADDRESS, &host_port(&endpoint.address, port.private));
        found.push(labels.build());
    }
    if found.len() == before {
        let mut labels = labels.clone();
        let address = match container.host_config.network_mode.as_str() {
            "host" => docker.host_networking_host.clone(),
            _ => host_port(&endpoint.address, docker.port),
        };
        labels.set(ADDRESS, &address);
        found.push(labels.build());
    }
}

impl Network {
    fn label(&self, labels: &mut LabelsBuilder) {
        labels.set("__meta_docker_network_id", &self.id);
        labels.set("__meta_docker_network_name", &self.name);
        labels.set("__meta_docker_network_scope", &self.scope);
        labels.set("__meta_docker_network_internal", &self.internal.to_string());
        labels.set("__meta_docker_network_ingress", &self.ingress.to_string());
        for (key, value) in self.labels.iter().flatten() {
            labels.set(
                &format!("__meta_docker_network_label_{}", sanitized(key)),
                value,
            );
        }
    }
}
