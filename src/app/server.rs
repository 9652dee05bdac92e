//! `watchpost serve`: builds every part, runs them, stops them in order.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::command::Stop;
use super::control::{Control, reachable};
use super::storage::Storage;
use crate::config::{AccessMode, Settings, User};
use crate::observe::{self, Clock, Metrics, Sources};
use crate::query::Engine;
use crate::receive::Receiver;
use crate::scrape::{Finding, Scraper, Scrapes};
use crate::serve::access::{self, Access};
use crate::serve::ask::QuerySlots;
use crate::serve::frame::{Environments, Pulse, ServiceColours, keep_pulse};
use crate::serve::listen::{self, Room};
use crate::serve::pushgateway::{Pushed, keep_fresh};
use crate::serve::router::{self, Compat};
use crate::serve::state::{App, Demo, Shared};

/// Worker threads of the runtime: sockets and handlers. Queries and the writer have their own.
const WORKERS_MAX: usize = 4;

/// Runs until SIGTERM or SIGINT.
pub(super) fn run(settings: Settings) -> Result<(), Stop> {
    // A huge page stays resident as long as one byte in it is used. Measured over a million records:
    // 45 MB of the peak, and no CPU gained. The kernel may know no such pages; then all is well.
    _ = rustix::thread::disable_transparent_huge_pages(true);
    observe::log::init(&settings.log.0)
        .map_err(|e| Stop::Usage(vec![format!("log: {:?}: {e}", settings.log.0)]))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores().min(WORKERS_MAX))
        .thread_name("serve")
        .enable_all()
        .build()
        .map_err(|e| Stop::Failed(format!("cannot start threads: {e}")))?;
    runtime.block_on(serve(settings))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

async fn serve(mut settings: Settings) -> Result<(), Stop> {
    let failed = Stop::Failed;
    // What the files say is wrong is told before a port or the data directory is touched.
    settings.scrape_source().read().map_err(wrong_files)?;
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|e| failed(format!("no signals: {e}")))?;
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|e| failed(format!("no signals: {e}")))?;
    let mut hangup =
        signal(SignalKind::hangup()).map_err(|e| failed(format!("no signals: {e}")))?;
    let sockets = Sockets::bind(&settings).await.map_err(failed)?;
    sockets.bound(&mut settings);
    let dir = settings.data_dir.0.clone();
    // Telemetry is nobody else's business on this machine.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(|e| failed(format!("cannot make {dir}: {e}; change data_dir")))?;

    let clock = Clock::System;
    let (metrics, sources) = (Arc::new(Metrics::default()), Arc::new(Sources::default()));
    let storage = Storage::start(&settings, &clock, &metrics, &sources)?;
    let secret = access::random_text();
    let (scraper, scrapes) = scraper(&settings, &storage, &clock, &metrics)?;
    let app = build(
        settings, &storage, clock, metrics, sources, scraper, &secret,
    )
    .map_err(failed)?;
    let _control = Control::write(Path::new(&dir), sockets.http_addr, &secret)
        .map_err(|e| failed(format!("cannot write into {dir}: {e}")))?;
    announce_access(&app, sockets.http_addr).map_err(failed)?;

    let listeners = TaskTracker::new();
    let ready = sockets.ready_line();
    for (listener, routes) in sockets.with_routes(&app) {
        let room = app.room.clone();
        listeners.spawn(listen::serve(listener, routes, room, app.stop.clone()));
    }
    // Reads counters only; ends with the listeners.
    listeners.spawn(keep_pulse(app.clone()));
    listeners.spawn(keep_fresh(app.clone()));
    // Reads targets through the door; its tasks end when `stop` is cancelled, before the writer does.
    let scrapes = tokio::spawn(scrapes.run(app.stop.clone()));
    println!("{ready}");
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            // The log and the page of targets tell what is wrong with a file.
            _ = hangup.recv() => { _ = app.scraper.reload().await; }
        }
    }

    // Stop order: the listeners, so that nothing new comes in and requests in flight are answered;
    // the scrapes, which write through the door; the door's writer, which writes what is queued and closes the store; the store's threads,
    // which end when it is closed.
    tracing::info!("stopping");
    app.stop.cancel();
    listeners.close();
    listeners.wait().await;
    if scrapes.await.is_err() {
        tracing::error!("the scrapes did not end by themselves");
    }
    let stopped = tokio::task::spawn_blocking(move || storage.stop());
    stopped
        .await
        .map_err(|e| failed(format!("the store did not close: {e}")))
}

/// The bound sockets, before anything else starts: a taken port is told at once.
struct Sockets {
    http: TcpListener,
    http_addr: SocketAddr,
    otlp_grpc: Option<TcpListener>,
    otlp_http: Option<TcpListener>,
    compat: Vec<(Compat, TcpListener)>,
}

impl Sockets {
    async fn bind(settings: &Settings) -> Result<Sockets, String> {
        let http = listen::bind("listen", settings.listen.0).await?;
        let otlp_grpc = match settings.otlp_grpc_listen.0 {
            Some(addr) => Some(listen::bind("otlp_grpc_listen", addr.0).await?),
            None => None,
        };
        let otlp_http = match settings.otlp_http_listen.0 {
            Some(addr) => Some(listen::bind("otlp_http_listen", addr.0).await?),
            None => None,
        };
        let mut compat = Vec::new();
        for of in Compat::ALL.into_iter().filter(|_| settings.compat_ports.0) {
            let addr = SocketAddr::new(settings.listen.0.ip(), of.port());
            compat.push((of, listen::bind("compat_ports", addr).await?));
        }
        let http_addr = http
            .local_addr()
            .map_err(|e| format!("no local address: {e}"))?;
        Ok(Sockets {
            http,
            http_addr,
            otlp_grpc,
            otlp_http,
            compat,
        })
    }

    /// Puts the ports that the system chose for port 0 where pages and snippets look for them.
    fn bound(&self, settings: &mut Settings) {
        settings.listen.0 = self.http_addr;
        for (listener, setting) in [
            (&self.otlp_grpc, &mut settings.otlp_grpc_listen),
            (&self.otlp_http, &mut settings.otlp_http_listen),
        ] {
            if let (Some(listener), Some(addr)) = (listener, &mut setting.0) {
                addr.0 = listener.local_addr().unwrap_or(addr.0);
            }
        }
    }

    /// The line that tools wait for (design section 1).
    fn ready_line(&self) -> String {
        let text = |listener: &Option<TcpListener>| {
            let addr = listener
                .as_ref()
                .and_then(|listener| listener.local_addr().ok());
            addr.map_or_else(|| "off".to_owned(), |addr| addr.to_string())
        };
        format!(
            "ready http={} otlp_grpc={} otlp_http={}",
            self.http_addr,
            text(&self.otlp_grpc),
            text(&self.otlp_http)
        )
    }

    fn with_routes(self, app: &Shared) -> Vec<(TcpListener, axum::Router)> {
        let mut all = vec![(self.http, router::everything(app).finish())];
        all.extend(
            self.otlp_grpc
                .map(|listener| (listener, router::grpc_only(app).finish())),
        );
        all.extend(
            self.otlp_http
                .map(|listener| (listener, router::http_only(app).finish())),
        );
        let compat = self.compat.into_iter();
        all.extend(compat.map(|(of, listener)| (listener, router::compat(app, of))));
        all
    }
}

/// A wrong scrape file at the start is a wrong configuration; later it leaves the one before in force.
fn wrong_files(problems: Vec<Finding>) -> Stop {
    Stop::Usage(problems.iter().map(ToString::to_string).collect())
}

fn scraper(
    settings: &Settings,
    storage: &Storage,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Result<(Scraper, Scrapes), Stop> {
    let (door, source) = (storage.door.clone(), settings.scrape_source());
    Scraper::new(source, door, clock.clone(), metrics.clone()).map_err(wrong_files)
}

fn build(
    settings: Settings,
    storage: &Storage,
    clock: Clock,
    metrics: Arc<Metrics>,
    sources: Arc<Sources>,
    scraper: Scraper,
    control_secret: &str,
) -> Result<Shared, String> {
    let config = access::Config::from_settings(&settings);
    let access = Access::open(config, storage.store.database(), control_secret)
        .map_err(|e| e.to_string())?;
    if let Some(password) = &settings.auth_admin_password.0 {
        access
            .ensure_admin(password, clock.now())
            .map_err(|e| format!("auth.admin_password: {e}"))?;
    }
    let connections = settings.limits_connections.0 as usize;
    let budget = settings.memory_budget();
    Ok(Arc::new(App {
        access,
        store: storage.store.clone(),
        receiver: Receiver::new(storage.door.clone()),
        pushed: Pushed::open(storage.store.database()).map_err(|e| e.to_string())?,
        engine: Engine::new(storage.store.clone(), budget.of(User::Layouts)),
        query_slots: QuerySlots::new(budget.queries_at_once(cores()), budget.of(User::Queries)),
        room: Room::new(
            connections,
            budget.of(User::Connections),
            budget.of(User::Answers),
            metrics.clone(),
        ),
        metrics,
        scraper,
        pulse: Pulse::default(),
        environments: Environments::default(),
        demo: Demo::new(super::demo::shop),
        colours: ServiceColours::open(storage.store.database()).map_err(|e| e.to_string())?,
        sources,
        stop: CancellationToken::new(),
        started: clock.now(),
        request_ids: AtomicU64::new(access::random_number()),
        clock,
        settings,
    }))
}

/// Says on stderr who may come in where that is not everybody's own machine.
fn announce_access(app: &App, http: SocketAddr) -> Result<(), String> {
    if app.settings.auth_mode == AccessMode::None {
        tracing::warn!("access is open to everybody who can connect (auth.mode = \"none\")");
        return Ok(());
    }
    if app.access.open_at(http.ip()) || app.access.has_user().map_err(|e| e.to_string())? {
        return Ok(());
    }
    let code = app.access.make_setup_code(app.clock.now());
    let base = app
        .settings
        .external_url
        .0
        .clone()
        .unwrap_or_else(|| format!("http://{}", reachable(http)));
    eprintln!("set-up link, good for one hour and one use: {base}/login?setup={code}");
    Ok(())
}
