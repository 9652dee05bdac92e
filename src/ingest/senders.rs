//! Which senders a request came from, for the lamps of `/start` and the counts by service.

use std::collections::BTreeMap;

use super::rewrite::Rewritten;
use crate::model::chunk::Chunk;
use crate::model::record::find;
use crate::model::{Attr, ResourceView, Signal, Timestamp, ValueRef};
use crate::observe::sources::{Seen, SenderKey, Transport};
use crate::store::BatchChunk;

/// Senders told apart in one request; a Collector bundles a few dozen at most. The rest is counted
/// under the last one's place as `other`.
const SENDERS_MAX: usize = 64;

/// What a request says about its senders, records in all.
pub(super) fn of(chunk: &BatchChunk, newest: Timestamp, transport: Transport) -> Vec<Seen> {
    match chunk {
        BatchChunk::Logs(chunk) => {
            let groups = chunk.entries.iter().map(|entry| entry.group);
            collect(chunk, groups, Signal::Logs, newest, transport)
        }
        BatchChunk::Traces(chunk) => {
            let groups = chunk.entries.iter().map(|entry| entry.group);
            collect(chunk, groups, Signal::Traces, newest, transport)
        }
        BatchChunk::Metrics(_) => Vec::new(),
    }
}

fn collect<E>(
    chunk: &Chunk<E>,
    group_of_each: impl Iterator<Item = u32>,
    signal: Signal,
    newest: Timestamp,
    transport: Transport,
) -> Vec<Seen> {
    let mut counts = vec![0u64; chunk.groups.len()];
    group_of_each.for_each(|group| counts[group as usize] += 1);
    let records: u64 = counts.iter().sum();
    let received = chunk.request.received;
    let mut senders: BTreeMap<SenderKey, Seen> = BTreeMap::new();
    let views = chunk.group_views().expect("the chunk was just indexed");
    for (view, n) in views.iter().zip(counts) {
        let mut key = key(&view.resource);
        if senders.len() >= SENDERS_MAX && !senders.contains_key(&key) {
            key = SenderKey {
                service: "other".to_owned(),
                instance: String::new(),
            };
        }
        let seen = senders.entry(key.clone()).or_insert_with(|| Seen {
            key,
            sdk: sdk(&view.resource.attributes),
            sdk_version: text(&view.resource.attributes, "telemetry.sdk.version"),
            version: text(&view.resource.attributes, "service.version"),
            environment: view.resource.environment().to_owned(),
            transport,
            signal,
            records: 0,
            bytes: 0,
            at: received,
            rejected: Vec::new(),
            skew_ns: match newest.0 {
                0 => 0,
                newest => newest.wrapping_sub(received.0) as i64,
            },
        });
        seen.records += n;
        // Shares of one request by records: exact for the usual one sender.
        seen.bytes += (chunk.request.bytes.len() as u64 * n) / records.max(1);
    }
    senders.into_values().collect()
}

/// Adds what was left out of each service.
pub(super) fn add_rejections(
    senders: &mut Vec<Seen>,
    rewritten: &Rewritten,
    signal: Signal,
    at: Timestamp,
    transport: Transport,
) {
    for (service, tally) in &rewritten.services {
        let rejected = tally.rejected.iter().map(|(reason, n)| (reason.name(), *n));
        if let Some(seen) = senders.iter_mut().find(|seen| seen.key.service == *service) {
            seen.rejected.extend(rejected);
        } else if !tally.rejected.is_empty() && senders.len() < SENDERS_MAX {
            senders.push(Seen {
                key: SenderKey {
                    service: service.clone(),
                    instance: String::new(),
                },
                sdk: String::new(),
                sdk_version: String::new(),
                version: String::new(),
                environment: String::new(),
                transport,
                signal,
                records: 0,
                bytes: 0,
                at,
                rejected: rejected.collect(),
                skew_ns: 0,
            });
        }
    }
}

fn key(resource: &ResourceView<'_>) -> SenderKey {
    SenderKey {
        service: resource.service().to_owned(),
        instance: resource.instance().to_owned(),
    }
}

fn sdk(attributes: &[Attr<'_>]) -> String {
    let name = text(attributes, "telemetry.sdk.name");
    let language = text(attributes, "telemetry.sdk.language");
    format!("{name} {language}").trim().to_owned()
}

fn text(attributes: &[Attr<'_>], key: &str) -> String {
    let value = find(attributes, key).and_then(ValueRef::as_str);
    value.unwrap_or_default().to_owned()
}
