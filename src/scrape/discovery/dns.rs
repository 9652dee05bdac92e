//! Targets from names: A, AAAA, SRV, MX and NS records, asked of the servers of `/etc/resolv.conf`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::host_port;
use super::wire::{self, Record, Reply, UDP_BYTES};
use crate::model::metric::Labels;
use crate::scrape::config::{self, RecordType};
use crate::scrape::target::ADDRESS;

/// How long one server may take; Go's client waits as long.
const SERVER_MAX: Duration = Duration::from_secs(2);

/// Servers and search domains that are used (resolv.conf(5)).
const SERVERS_MAX: usize = 3;
const SEARCH_MAX: usize = 6;

/// What `/etc/resolv.conf` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolver {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    /// Names with so many points are tried as they are first.
    pub(super) points: usize,
}

impl Resolver {
    pub(super) fn parse(text: &str) -> Resolver {
        let mut resolver = Resolver {
            servers: Vec::new(),
            search: Vec::new(),
            points: 1,
        };
        for line in text.lines() {
            let mut words = line
                .split(['#', ';'])
                .next()
                .unwrap_or_default()
                .split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse().ok());
                    resolver
                        .servers
                        .extend(address.map(|ip| SocketAddr::new(ip, 53)));
                }
                Some("search" | "domain") => {
                    resolver.search = words.take(SEARCH_MAX).map(str::to_owned).collect();
                }
                Some("options") => {
                    let points = words.find_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    resolver.points = points.unwrap_or(resolver.points);
                }
                _ => {}
            }
        }
        resolver.servers.truncate(SERVERS_MAX);
        resolver
    }

    /// The names to try, in order.
    fn names(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let plain = format!("{name}.");
        let mut names: Vec<String> = self
            .search
            .iter()
            .map(|domain| format!("{plain}{}.", domain.trim_matches('.')))
            .collect();
        let as_it_is_first = name.matches('.').count() >= self.points;
        names.insert(if as_it_is_first { 0 } else { names.len() }, plain);
        names
    }

    /// The records of a name. No such name is an empty answer; silence is none.
    pub(super) async fn lookup(
        &self,
        name: &str,
        records: RecordType,
    ) -> Result<Vec<Record>, String> {
        let mut all_said_no = true;
        for name in self.names(name) {
            match self.ask_any(&name, records).await {
                Some(Reply::Records(found)) => return Ok(found),
                Some(Reply::NoName) => {}
                Some(Reply::Truncated | Reply::Failed(_)) | None => all_said_no = false,
            }
        }
        match all_said_no {
            true => Ok(Vec::new()),
            false => Err(format!(
                "could not resolve {name:?}: all servers responded with errors to at least one search domain"
            )),
        }
    }

    /// The first answer that decides; servers that fail or are silent are passed by.
    async fn ask_any(&self, name: &str, records: RecordType) -> Option<Reply> {
        for server in &self.servers {
            match timeout(SERVER_MAX, ask(*server, name, records)).await {
                Ok(Some(reply @ (Reply::Records(_) | Reply::NoName))) => return Some(reply),
                _ => continue,
            }
        }
        None
    }
}

async fn ask(server: SocketAddr, name: &str, records: RecordType) -> Option<Reply> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).ok()?;
    let id = u16::from_be_bytes(id);
    let question = wire::question(id, name, records)?;
    let own: SocketAddr = if server.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    // Connected: answers of others do not come through.
    let socket = UdpSocket::bind(own).await.ok()?;
    socket.connect(server).await.ok()?;
    socket.send(&question).await.ok()?;
    let mut answer = vec![0; usize::from(UDP_BYTES)];
    loop {
        let length = socket.recv(&mut answer).await.ok()?;
        match wire::reply(&answer[..length], id, records) {
            Some(Reply::Truncated) => return ask_tcp(server, &question, id, records).await,
            Some(reply) => return Some(reply),
            // Not the answer: wait for it until the time is over.
            None => {}
        }
    }
}

async fn ask_tcp(
    server: SocketAddr,
    question: &[u8],
    id: u16,
    records: RecordType,
) -> Option<Reply> {
    let mut stream = TcpStream::connect(server).await.ok()?;
    let length = u16::try_from(question.len()).ok()?;
    stream
        .write_all(&[&length.to_be_bytes(), question].concat())
        .await
        .ok()?;
    let length = stream.read_u16().await.ok()?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.ok()?;
    wire::reply(&answer, id, records)
}

/// The targets behind names.
///
/// # Errors
/// A name could not be resolved; what the others have is not told then, so that nothing vanishes
/// because a server is down.
pub(super) async fn look(
    names: &[String],
    records: RecordType,
    port: u16,
) -> Result<Vec<Labels>, String> {
    let text = tokio::task::spawn_blocking(|| config::read_bounded(Path::new("/etc/resolv.conf")));
    let text = text.await.map_err(|error| error.to_string())?;
    let text = text.map_err(|error| format!("could not load resolv.conf: {error}"))?;
    let resolver = Resolver::parse(&text);
    let mut found = Vec::new();
    for name in names {
        let answer = resolver.lookup(name, records).await?;
        found.extend(answer.iter().map(|record| target(name, record, port)));
    }
    Ok(found)
}

pub(super) fn target(name: &str, record: &Record, port: u16) -> Labels {
    let rooted = |target: &str, port| host_port(target.trim_end_matches('.'), port);
    let (address, label, target) = match record {
        Record::Address(ip) => (host_port(&ip.to_string(), port), "", ""),
        Record::Service { target, port } => (
            rooted(target, *port),
            "__meta_dns_srv_record_target",
            target.as_str(),
        ),
        Record::Mail(target) => (
            rooted(target, port),
            "__meta_dns_mx_record_target",
            target.as_str(),
        ),
        Record::Nameserver(target) => (
            rooted(target, port),
            "__meta_dns_ns_record_target",
            target.as_str(),
        ),
    };
    let service_port = match record {
        Record::Service { port, .. } => port.to_string(),
        Record::Address(_) | Record::Mail(_) | Record::Nameserver(_) => String::new(),
    };
    let mut labels = vec![(ADDRESS, address.as_str()), ("__meta_dns_name", name)];
    if !label.is_empty() {
        labels.push((label, target));
    }
    labels.push(("__meta_dns_srv_record_port", &service_port));
    Labels::of(labels)
}
