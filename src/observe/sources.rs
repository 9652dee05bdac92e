//! Who sends what: senders with their lamps for `/start`, and the last requests "on the wire".
//!
//! Filled once per request. Bounded: a sender past [`SENDERS_MAX`] takes the place of the one seen
//! longest ago.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;

use crate::model::{Signal, Timestamp};

/// Senders remembered: 512 instances of services, about 400 B each.
const SENDERS_MAX: usize = 512;

/// Requests on the wire that `/start` can show.
const WIRE_MAX: usize = 64;

/// Reasons remembered per sender; the set of reasons in the code is smaller.
const REASONS_MAX: usize = 16;

/// Bytes of a name that comes from outside (service, instance, path, note).
const TEXT_BYTES_MAX: usize = 200;

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Transport {
    Grpc,
    HttpProtobuf,
    HttpJson,
    Loki,
    RemoteWrite,
    Scrape,
    Pushgateway,
    /// Not recognisable: refused before its format was known.
    Unknown,
}

impl Transport {
    /// The words of `OTEL_EXPORTER_OTLP_PROTOCOL`, and those of other senders.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Transport::Grpc => "grpc",
            Transport::HttpProtobuf => "http/protobuf",
            Transport::HttpJson => "http/json",
            Transport::Loki => "loki",
            Transport::RemoteWrite => "remote_write",
            Transport::Scrape => "scrape",
            Transport::Pushgateway => "pushgateway",
            Transport::Unknown => "unknown",
        }
    }
}

/// What identifies a sender: `service.name` and `service.instance.id` (else `host.name`, else empty).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SenderKey {
    pub(crate) service: String,
    pub(crate) instance: String,
}

/// One sender as the pages show it.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    /// `telemetry.sdk.name` and `.language`, as in `opentelemetry python`; empty when not told.
    pub(crate) sdk: String,
    /// `telemetry.sdk.version`.
    pub(crate) sdk_version: String,
    /// `service.version`.
    pub(crate) version: String,
    /// `deployment.environment.name`, told last; empty when never told.
    pub(crate) environment: String,
    pub(crate) transport: Transport,
    pub(crate) logs: u64,
    pub(crate) spans: u64,
    pub(crate) samples: u64,
    /// Decompressed bytes of its records.
    pub(crate) bytes: u64,
    pub(crate) last_seen: Timestamp,
    /// Records left out, by reason.
    pub(crate) rejected: BTreeMap<&'static str, u64>,
    /// Newest stamp of the last request minus its time of arrival, in ns; large values are a wrong
    /// clock.
    pub(crate) skew_ns: i64,
}

/// What one request says about one sender.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) key: SenderKey,
    pub(crate) sdk: String,
    pub(crate) sdk_version: String,
    pub(crate) version: String,
    pub(crate) environment: String,
    pub(crate) transport: Transport,
    pub(crate) signal: Signal,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) at: Timestamp,
    pub(crate) rejected: Vec<(&'static str, u64)>,
    pub(crate) skew_ns: i64,
}

/// One request on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireLine {
    pub(crate) at: Timestamp,
    /// Method and path, as in `POST /v1/logs`.
    pub(crate) request: String,
    pub(crate) transport: Transport,
    /// Bytes as they came.
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// HTTP status, for gRPC the HTTP status that means the same.
    pub(crate) status: u16,
    /// Empty when all went well; else what was wrong and what to do.
    pub(crate) note: String,
}

/// The senders and the wire.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// Guards the map; held for one request's update or one copy.
    senders: Mutex<HashMap<SenderKey, Sender>>,
    /// Guards the ring, newest last.
    wire: Mutex<VecDeque<WireLine>>,
}

impl Sources {
    /// Adds what one request said about one sender.
    pub(crate) fn seen(&self, mut seen: Seen) {
        for text in [
            &mut seen.key.service,
            &mut seen.key.instance,
            &mut seen.sdk,
            &mut seen.sdk_version,
            &mut seen.version,
            &mut seen.environment,
        ] {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        }
        let mut senders = self.senders.lock().expect("no holder panics");
        if senders.len() >= SENDERS_MAX && !senders.contains_key(&seen.key) {
            let oldest = senders.iter().min_by_key(|(_, sender)| sender.last_seen);
            let oldest = oldest.map(|(key, _)| key.clone());
            senders.remove(&oldest.expect("the map is full, not empty"));
        }
        let sender = senders.entry(seen.key).or_insert_with(|| Sender {
            sdk: String::new(),
            sdk_version: String::new(),
            version: String::new(),
            environment: String::new(),
            transport: seen.transport,
            logs: 0,
            spans: 0,
            samples: 0,
            bytes: 0,
            last_seen: seen.at,
            rejected: BTreeMap::new(),
            skew_ns: 0,
        });
        match seen.signal {
            Signal::Logs => sender.logs += seen.records,
            Signal::Traces => sender.spans += seen.records,
            Signal::Metrics => sender.samples += seen.records,
        }
        sender.bytes += seen.bytes;
        sender.last_seen = sender.last_seen.max(seen.at);
        sender.transport = seen.transport;
        sender.skew_ns = seen.skew_ns;
        sender.sdk = seen.sdk;
        sender.sdk_version = seen.sdk_version;
        sender.version = seen.version;
        if !seen.environment.is_empty() {
            sender.environment = seen.environment;
        }
        for (reason, n) in seen.rejected {
            if sender.rejected.len() < REASONS_MAX || sender.rejected.contains_key(reason) {
                *sender.rejected.entry(reason).or_default() += n;
            }
        }
    }

    /// Every sender, by service and instance.
    pub(crate) fn senders(&self) -> Vec<(SenderKey, Sender)> {
        let senders = self.senders.lock().expect("no holder panics");
        let mut all: Vec<_> = senders
            .iter()
            .map(|(key, sender)| (key.clone(), sender.clone()))
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Adds a request to the ring.
    pub(crate) fn on_the_wire(&self, mut line: WireLine) {
        for text in [&mut line.request, &mut line.note] {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        }
        let mut wire = self.wire.lock().expect("no holder panics");
        if wire.len() >= WIRE_MAX {
            wire.pop_front();
        }
        wire.push_back(line);
    }

    /// The last requests, newest first.
    pub(crate) fn wire(&self) -> Vec<WireLine> {
        let wire = self.wire.lock().expect("no holder panics");
        wire.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(service: &str, at: u64) -> Seen {
        Seen {
            key: SenderKey {
                service: service.to_owned(),
                instance: String::new(),
            },
            sdk: "opentelemetry rust".to_owned(),
            sdk_version: "0.33".to_owned(),
            version: "1".to_owned(),
            environment: "prod".to_owned(),
            transport: Transport::Grpc,
            signal: Signal::Logs,
            records: 2,
            bytes: 100,
            at: Timestamp(at),
            rejected: vec![("malformed", 1)],
            skew_ns: 5,
        }
    }

    #[test]
    fn the_sender_seen_longest_ago_makes_room() {
        let sources = Sources::default();
        for i in 0..SENDERS_MAX as u64 {
            sources.seen(seen(&format!("s{i}"), 10 + i));
        }
        sources.seen(seen("s0", 10_000));
        sources.seen(seen("new", 10_001));
        let names: Vec<_> = sources
            .senders()
            .into_iter()
            .map(|(k, _)| k.service)
            .collect();
        assert_eq!(names.len(), SENDERS_MAX);
        assert!(names.contains(&"new".to_owned()) && names.contains(&"s0".to_owned()));
        assert!(!names.contains(&"s1".to_owned()));
        let all = sources.senders();
        let (_, s0) = all.iter().find(|(k, _)| k.service == "s0").expect("kept");
        assert_eq!((s0.logs, s0.bytes, s0.rejected["malformed"]), (4, 200, 2));
    }

    #[test]
    fn the_wire_keeps_the_last_requests() {
        let sources = Sources::default();
        for i in 0..100 {
            sources.on_the_wire(WireLine {
                at: Timestamp(i),
                request: "POST /v1/logs".to_owned(),
                transport: Transport::HttpJson,
                bytes: 1,
                records: 1,
                status: 200,
                note: "é".repeat(500),
            });
        }
        let wire = sources.wire();
        assert_eq!((wire.len(), wire[0].at), (WIRE_MAX, Timestamp(99)));
        assert_eq!(wire[0].note.len(), TEXT_BYTES_MAX);
    }
}
