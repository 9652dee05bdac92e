//! What handlers need, in one place: made once by `app`, shared by all requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use super::access::{Access, hex};
use super::ask::QuerySlots;
use super::error::{Audience, Failure, Target};
use super::frame::{Pulse, ServiceColours};
use super::listen::Room;
use crate::config::Settings;
use crate::model::Timestamp;
use crate::observe::sources::{Transport, WireLine};
use crate::observe::{Metric, Metrics, Sources};
use crate::query::Engine;

pub(crate) type Shared = Arc<App>;

/// The state of a running server.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) access: Access,
    pub(crate) engine: Engine,
    pub(crate) query_slots: QuerySlots,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) pulse: Pulse,
    pub(crate) colours: ServiceColours,
    /// Connections that all listeners may hold.
    pub(crate) room: Room,
    /// Cancelled when the server stops: streams without an end watch it.
    pub(crate) stop: CancellationToken,
    pub(crate) started: Timestamp,
    /// The next request id; starts at a random number so that ids of two runs differ.
    pub(crate) request_ids: AtomicU64,
}

/// Where handlers read the time from.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    System,
    /// Epoch ns, moved by a test.
    Set(Arc<AtomicU64>),
}

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Clock::System => {
                let since = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
            }
            Clock::Set(ns) => Timestamp(ns.load(Ordering::Relaxed)),
        }
    }
}

impl App {
    /// A server without sockets, its catalogue in memory.
    #[cfg(test)]
    pub(crate) fn for_tests(settings: Settings, clock: Clock) -> App {
        let backend = redb::backends::InMemoryBackend::new();
        let database = redb::Database::builder()
            .create_with_backend(backend)
            .expect("a database in memory");
        let database = Arc::new(database);
        let config = super::access::Config::from_settings(&settings);
        let metrics = Arc::new(Metrics::default());
        App {
            access: Access::open(config, database.clone(), "the command line's secret")
                .expect("tables are made"),
            engine: Engine::default(),
            query_slots: QuerySlots::new(1),
            room: Room::new(1, metrics.clone()),
            metrics,
            pulse: Pulse::default(),
            colours: ServiceColours::open(database).expect("tables are made"),
            sources: Arc::new(Sources::default()),
            stop: CancellationToken::new(),
            started: clock.now(),
            request_ids: AtomicU64::new(0),
            clock,
            settings,
        }
    }

    /// An id that an answer and the log share.
    pub(super) fn next_request_id(&self) -> String {
        hex(&self
            .request_ids
            .fetch_add(1, Ordering::Relaxed)
            .to_be_bytes()[2..])
    }

    /// Why requests are not taken, None when they are.
    pub(super) fn unready(&self) -> Option<&'static str> {
        self.stop.is_cancelled().then_some("stopping")
    }

    /// Brings the gauges up to date before they are read.
    pub(super) fn gauge(&self) {
        self.metrics
            .set(Metric::Info, &[env!("CARGO_PKG_VERSION")], 1.0);
        self.metrics
            .set(Metric::StartTime, &[], self.started.0 as f64 / 1e9);
    }

    /// A sender was turned away before its handler: the lamps and `/metrics` say why.
    pub(super) fn note_refused_sender(
        &self,
        target: &Target,
        audience: Audience,
        why: &Failure,
        at: Timestamp,
    ) {
        let path = target.path.as_str();
        let signal = match path {
            _ if path.contains("logs") || path.starts_with("/loki/") => "logs",
            _ if path.contains("metrics") => "metrics",
            _ => "traces",
        };
        let transport = match audience {
            Audience::Grpc => Transport::Grpc,
            Audience::OtlpJson => Transport::HttpJson,
            _ if path.starts_with("/loki/") => Transport::Loki,
            Audience::OtlpProtobuf => Transport::HttpProtobuf,
            _ => Transport::Unknown,
        };
        self.metrics.add(Metric::Refused, &[signal, why.code], 1);
        self.sources.on_the_wire(WireLine {
            at,
            request: format!("{} {path}", target.method),
            transport,
            bytes: 0,
            records: 0,
            status: why.status.as_u16(),
            note: why.line(),
        });
    }
}
