//! The store's threads and the door in front of it: started together, stopped in order.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::command::Stop;
use crate::config::{Settings, User};
use crate::ingest::{self, Door, WriterThread};
use crate::observe::{Clock, Metrics, Sources};
use crate::store::{self, Disk, Retention, Store, StoreError};

/// A running store with the door in front of it.
pub(super) struct Storage {
    pub(super) store: Store,
    pub(super) door: Door,
    writer: WriterThread,
    sealer: JoinHandle<()>,
    keeper: JoinHandle<()>,
}

impl Storage {
    /// Opens the store, replays its log, starts its threads and opens the door.
    pub(super) fn start(
        settings: &Settings,
        clock: &Clock,
        metrics: &Arc<Metrics>,
        sources: &Arc<Sources>,
    ) -> Result<Storage, Stop> {
        raise_open_files();
        let opened = store::open(store_config(settings), Disk::Real, clock.now())
            .map_err(|e| Stop::Failed(e.to_string()))?;
        tell(&opened.recovery);
        let store::Opened {
            store,
            writer,
            sealer,
            keeper,
            recovery,
        } = opened;
        let sealer = thread("sealer", move || sealer.run())?;
        let keeper = thread("keeper", {
            let clock = clock.clone();
            move || keeper.run(|| clock.now(), Box::new(thread_time))
        })?;
        let (clock, metrics, sources) = (clock.clone(), metrics.clone(), sources.clone());
        let (door, writer) = Door::open(
            door_config(settings),
            writer,
            recovery.keys,
            clock,
            metrics,
            sources,
        )
        .map_err(|e| Stop::Failed(format!("cannot start the thread writer: {e}")))?;
        Ok(Storage {
            store,
            door,
            writer,
            sealer,
            keeper,
        })
    }

    /// Writes what is queued, closes the store, waits for its threads. Blocks.
    pub(super) fn stop(self) {
        self.writer.close();
        for thread in [self.sealer, self.keeper] {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

/// CPU time of the calling thread.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Stop> {
    let failed = |e: io::Error| Stop::Failed(format!("cannot start the thread {name}: {e}"));
    Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(failed)
}

/// Every segment keeps its file open, so that retention can unlink what a query still reads; with
/// the connections that is more than the usual 1,024. The hard limit is ours to take.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "limit of open files stays as it is");
    }
}

fn retention(settings: &Settings) -> Retention {
    Retention {
        traces: settings.retention_traces.0.map(|period| period.0),
        logs: settings.retention_logs.0.map(|period| period.0),
        metrics: settings.retention_metrics.0.map(|period| period.0),
        max_bytes: settings.retention_max_bytes.0.map(|size| size.0),
        services: settings
            .retention_services
            .0
            .iter()
            .map(|(name, kept)| (name.clone(), kept.0.map(|period| period.0)))
            .collect(),
    }
}

fn store_config(settings: &Settings) -> store::Config {
    let memory = settings.memory_budget();
    store::Config {
        dir: PathBuf::from(&settings.data_dir.0),
        retention: retention(settings),
        disk_free_min: settings.limits_disk_free_min.0.map(|size| size.0),
        dedup_window: settings.ingest_dedup_window.0,
        compile: crate::query::condition,
        series: store::SeriesLimits {
            active: settings.active_series(),
        },
        memory: store::Memory {
            heads: memory.of(User::Heads),
            sealing: memory.of(User::Sealing),
            directories: memory.of(User::Directories),
            keeper: memory.of(User::Keeper),
        },
    }
}

fn door_config(settings: &Settings) -> ingest::Config {
    let budget = settings.memory_budget();
    let memory = ingest::Config::for_memory(bytes(budget.total()));
    ingest::Config {
        request_bytes: settings
            .limits_request_bytes
            .0
            .map_or(memory.request_bytes, |size| bytes(size.0)),
        budget_bytes: bytes(budget.of(User::Door)),
        limits: ingest::Limits {
            name_bytes: bytes(settings.limits_name_bytes.0),
            value_bytes: bytes(settings.limits_value_bytes.0),
            line_bytes: bytes(settings.limits_line_bytes.0),
            attributes: settings.limits_attributes.0 as usize,
        },
        redact: settings.ingest_redact,
        dedup_window_ns: u64::try_from(settings.ingest_dedup_window.0.as_nanos())
            .unwrap_or(u64::MAX),
        durability: settings.durability,
        retention: retention(settings),
    }
}

fn bytes(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// `watchpost verify`: prints what was checked, then every problem; some are a failure.
pub(super) fn verify(settings: &Settings) -> Result<(), Stop> {
    let dir = Path::new(&settings.data_dir.0);
    let found = store::verify(&Disk::Real, dir).map_err(|e| without_catalogue(dir, &e))?;
    println!(
        "{} segments, {} records, {} bytes; log: {} files, {} requests; {} files of no use, removed at the next start",
        found.segments, found.records, found.bytes, found.log_files, found.log_frames, found.strays
    );
    match tell_problems(&found) {
        0 => Ok(()),
        n => Err(Stop::Failed(format!("{n} problems found, nothing changed"))),
    }
}

fn tell_problems(found: &store::Verified) -> usize {
    for problem in &found.problems {
        println!("{problem}");
    }
    found.problems.len()
}

/// What is there and what to do when the catalogue itself cannot be read.
fn without_catalogue(dir: &Path, error: &StoreError) -> Stop {
    let is_damage = matches!(error, StoreError::Corrupt { .. } | StoreError::Catalogue(_));
    let found = store::survey(&Disk::Real, dir);
    let (true, Ok(found)) = (is_damage, found) else {
        return Stop::Failed(error.to_string());
    };
    tell_problems(&found);
    Stop::Failed(format!(
        "{error}\nnothing was changed; {} segments with {} records are whole, but only catalog.redb \
         knows which of them count.\nPut the whole data directory back from a copy made while no \
         server used it, or set another data_dir and keep this one",
        found.segments, found.records
    ))
}

/// What a start had to mend is worth a line; a clean one says nothing.
fn tell(recovery: &store::Recovery) {
    if recovery.replayed_records > 0 {
        tracing::info!(
            records = recovery.replayed_records,
            requests = recovery.replayed_frames,
            "log replayed"
        );
    }
    if recovery.torn_bytes > 0 {
        tracing::warn!(
            bytes = recovery.torn_bytes,
            "end of the log was never synced, cut off"
        );
    }
    if recovery.deleted_files > 0 {
        tracing::info!(
            files = recovery.deleted_files,
            "unfinished segment files deleted"
        );
    }
    for damage in &recovery.log_damage {
        tracing::error!(?damage, "part of the log cannot be read");
    }
    for damaged in &recovery.quarantined {
        tracing::error!(
            path = damaged.path,
            why = damaged.why,
            "segment put into quarantine"
        );
    }
}
