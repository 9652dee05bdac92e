//! What handlers need, in one place: made once by `app`, shared by all requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

use super::access::{Access, hex};
use super::ask::QuerySlots;
use super::error::{Audience, Failure, Target};
use super::frame::{Environments, Pulse, ServiceColours};
use super::listen::Room;
use super::pushgateway::Pushed;
use crate::config::{Settings, User};
use crate::model::{Signal, Timestamp};
use crate::observe::sources::{Transport, WireLine};
use crate::observe::{Clock, Metric, Metrics, Sources};
use crate::query::Engine;
use crate::receive::Receiver;
use crate::scrape::Scraper;
use crate::store::{Stats, Store};

pub(crate) type Shared = Arc<App>;

/// Makes the requests of the demo that ends now.
type MakeDemo = fn(Timestamp) -> Vec<(Signal, Vec<u8>)>;

/// What `/start` loads where there is no app at hand.
pub(crate) struct Demo {
    pub(crate) make: MakeDemo,
    /// Epoch ns of the last load since the start of the server; 0 for none.
    pub(crate) loaded_at: AtomicU64,
}

impl Demo {
    pub(crate) fn new(make: MakeDemo) -> Demo {
        Demo {
            make,
            loaded_at: AtomicU64::new(0),
        }
    }
}

/// The state of a running server.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) access: Access,
    pub(crate) store: Store,
    pub(crate) receiver: Receiver,
    pub(crate) pushed: Pushed,
    pub(crate) engine: Engine,
    pub(crate) query_slots: QuerySlots,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) scraper: Scraper,
    pub(crate) pulse: Pulse,
    pub(crate) colours: ServiceColours,
    pub(crate) environments: Environments,
    pub(crate) demo: Demo,
    /// Connections that all listeners may hold.
    pub(crate) room: Room,
    /// Cancelled when the server stops: streams without an end watch it.
    pub(crate) stop: CancellationToken,
    pub(crate) started: Timestamp,
    /// The next request id; starts at a random number so that ids of two runs differ.
    pub(crate) request_ids: AtomicU64,
}

impl App {
    /// A server without sockets, its data on a disk in memory.
    #[cfg(test)]
    pub(crate) fn for_tests(settings: Settings, clock: Clock) -> App {
        let config = crate::store::Config {
            dir: "/data".into(),
            retention: crate::store::Retention::default(),
            disk_free_min: Some(0),
            dedup_window: std::time::Duration::from_secs(300),
            compile: crate::query::condition,
            memory: crate::store::Memory::default(),
            series: crate::store::SeriesLimits { active: 10_000 },
        };
        let disk = crate::store::Disk::Sim(crate::store::disk::sim::World::new());
        let opened = crate::store::open(config, disk, clock.now());
        let opened = opened.expect("an empty directory");
        let (metrics, sources) = (Arc::new(Metrics::default()), Arc::new(Sources::default()));
        let config = crate::ingest::Config::for_memory(64 << 20);
        let (door, _writer) = crate::ingest::Door::open(
            config,
            opened.writer,
            Vec::new(),
            clock.clone(),
            metrics.clone(),
            sources.clone(),
        )
        .expect("a thread");
        let source = settings.scrape_source();
        let scraper = Scraper::new(source, door.clone(), clock.clone(), metrics.clone());
        let (scraper, _) = scraper.expect("a good file");
        let store = opened.store;
        let config = super::access::Config::from_settings(&settings);
        let access = Access::open(config, store.database(), "the command line's secret");
        let colours = ServiceColours::open(store.database()).expect("the tables are there");
        App {
            access: access.expect("the tables are there"),
            pushed: Pushed::open(store.database()).expect("the tables are there"),
            engine: Engine::new(store.clone(), 4 << 20),
            store,
            receiver: Receiver::new(door),
            query_slots: QuerySlots::new(1, 32 << 20),
            room: Room::new(1, 1 << 20, 1 << 20, metrics.clone()),
            metrics,
            sources,
            scraper,
            pulse: Pulse::default(),
            colours,
            environments: Environments::default(),
            demo: Demo::new(|_| Vec::new()),
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
        if self.stop.is_cancelled() {
            Some("stopping")
        } else if self.store.is_poisoned() {
            Some("a write to the disk failed; check the disk and restart")
        } else {
            None
        }
    }

    /// Brings the gauges up to date before they are read.
    pub(super) fn gauge(&self) {
        let set = |metric, labels: &[&str], value: f64| self.metrics.set(metric, labels, value);
        set(Metric::Info, &[env!("CARGO_PKG_VERSION")], 1.0);
        set(Metric::StartTime, &[], self.started.0 as f64 / 1e9);
        let used = self.receiver.door.budget_used();
        set(Metric::BudgetUsedBytes, &[], used as f64);
        for (state, n) in self.scraper.states() {
            set(Metric::ScrapeTargets, &[state.name()], n as f64);
        }
        let stats = self.store.stats();
        for (user, budget, used) in self.memory(&stats) {
            set(Metric::MemoryBudgetBytes, &[user.name()], budget as f64);
            set(Metric::MemoryUsedBytes, &[user.name()], used as f64);
        }
        for (signal, figures) in Signal::ALL.iter().zip(&stats.signals) {
            let labels = [signal.name()];
            set(Metric::StoreDiskBytes, &labels, figures.bytes as f64);
            set(
                Metric::StoreRows,
                &labels,
                (figures.records - figures.head_records) as f64,
            );
            set(
                Metric::StoreSegments,
                &labels,
                figures.segments.iter().sum::<u64>() as f64,
            );
            set(Metric::StoreHeadBytes, &labels, figures.head_bytes as f64);
            set(Metric::StoreHeadRows, &labels, figures.head_records as f64);
        }
        set(Metric::ActiveSeries, &[], stats.active_series as f64);
        set(Metric::KnownSeries, &[], stats.known_series as f64);
        set(Metric::StoreWalBytes, &[], stats.wal_bytes as f64);
        set(Metric::StoreWalLast, &[], stats.wal_last as f64);
        set(Metric::StoreWalSynced, &[], stats.wal_synced as f64);
        self.metrics
            .counted(Metric::StoreWalSyncs, &[], stats.wal_syncs);
        set(Metric::StoreDiskFree, &[], stats.disk_free as f64);
        set(
            Metric::StorePoisoned,
            &[],
            f64::from(u8::from(stats.poisoned)),
        );
        set(Metric::StoreQuarantined, &[], stats.quarantined as f64);
        set(Metric::StoreTemplates, &[], stats.templates as f64);
        let refused = stats.templates_refused;
        self.metrics
            .counted(Metric::StoreTemplatesRefused, &[], refused);
        let layouts = self.engine.layout_figures();
        for (result, total) in [
            ("hit", layouts.hits),
            ("miss", layouts.misses),
            ("too_large", layouts.too_large),
        ] {
            self.metrics.counted(Metric::LayoutCache, &[result], total);
        }
        set(Metric::LayoutCacheBytes, &[], layouts.bytes as f64);
        if let Some(bytes) = resident_bytes() {
            set(Metric::ResidentBytes, &[], bytes as f64);
        }
    }

    /// Every user of memory with its share of `limits.memory` and what it uses now, in bytes.
    pub(super) fn memory(&self, stats: &Stats) -> [(User, u64, u64); User::ALL.len()] {
        let budget = self.settings.memory_budget();
        let own = |user| match user {
            User::Process => 0,
            User::Door => self.receiver.door.memory_used() as u64,
            User::Heads => stats.signals.iter().map(|signal| signal.head_bytes).sum(),
            User::Sealing => stats.sealing_bytes,
            User::Keeper => self.store.rewriting_bytes(),
            User::Queries => self.engine.registry.held_bytes(),
            User::Directories => stats.directory_bytes,
            User::Layouts => self.engine.layout_figures().bytes,
            User::Connections => self.room.buffer_bytes(),
            User::Answers => self.room.answer_bytes(),
        };
        let accounted: u64 = User::ALL.map(own).iter().sum();
        let rest = resident_bytes().map_or(0, |resident| resident.saturating_sub(accounted));
        User::ALL.map(|user| {
            let used = if user == User::Process {
                rest
            } else {
                own(user)
            };
            (user, budget.of(user), used)
        })
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

/// Receivers see no more of the server than they need.
impl FromRef<Shared> for Receiver {
    fn from_ref(app: &Shared) -> Receiver {
        app.receiver.clone()
    }
}

/// Resident memory of this process, where the system tells it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
