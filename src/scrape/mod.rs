//! Reads metrics from targets over HTTP, as Prometheus does and from its own configuration file:
//! which targets there are, how their labels come about, when each is read, what is kept.
//! Everything read goes through the one door of `ingest`.

mod cache;
mod client;
pub(crate) mod config;
mod discovery;
mod fetch;
mod links;
mod pool;
mod relabel;
mod target;
mod tls;
mod turn;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use cache::SERIES_MAX;
pub(crate) use client::Reach;
pub(crate) use config::Finding;
pub(crate) use fetch::Preview;
pub(crate) use links::TargetUrls;
pub(crate) use target::{Health, Report, Target};
pub(crate) use turn::Settings;

use config::ScrapeFile;
use pool::{Command, Pools};
use turn::{AT_ONCE_MAX, Means};

use crate::ingest::Door;
use crate::model::metric::Labels;
use crate::observe::{Clock, Metrics};

/// Reloads that wait for the one at work.
const COMMANDS_MAX: usize = 8;

/// Settings of the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// `scrape.config_file`.
    pub(crate) file: Option<PathBuf>,
    /// `scrape.targets`.
    pub(crate) targets: TargetUrls,
    /// `net.allow`.
    pub(crate) reach: Reach,
}

/// Where the jobs come from, to be read again.
#[derive(Clone)]
pub(crate) struct Source {
    config: Config,
    reach: Reach,
}

impl Source {
    pub(crate) fn new(config: Config) -> Source {
        let reach = config.reach.clone();
        Source { config, reach }
    }

    /// Reads the file and adds the job of the addresses. Blocks.
    ///
    /// # Errors
    /// Every problem of the file.
    pub(crate) fn read(&self) -> Result<ScrapeFile, Vec<Finding>> {
        let environment = |name: &str| std::env::var(name).ok();
        let mut file = match &self.config.file {
            Some(path) => config::load(path, &environment)?,
            None => ScrapeFile::default(),
        };
        file.jobs.extend(self.config.targets.job(&file.global));
        Ok(file)
    }
}

/// What pages and APIs show: as it was when something last changed; the reports of targets are newer.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) jobs: Vec<JobView>,
    /// Epoch ms of the configuration in force.
    pub(crate) loaded_at: i64,
    pub(crate) warnings: Vec<Finding>,
    /// Of a configuration that was refused since; the one before goes on.
    pub(crate) problems: Vec<Finding>,
    pub(crate) rule_files: Vec<PathBuf>,
    pub(crate) external_labels: Labels,
}

#[derive(Debug)]
pub(crate) struct JobView {
    pub(crate) settings: Arc<Settings>,
    /// By address.
    pub(crate) active: Vec<Arc<Target>>,
    /// Some of those that relabelling dropped: their labels before.
    pub(crate) dropped: Vec<Labels>,
    pub(crate) dropped_count: usize,
    /// What was found and is no target.
    pub(crate) failures: Vec<String>,
    pub(crate) discoveries: Vec<DiscoveryView>,
}

#[derive(Debug)]
pub(crate) struct DiscoveryView {
    pub(crate) name: String,
    pub(crate) found: usize,
    pub(crate) problem: Option<String>,
}

/// The scrapes as seen from outside. Cheap to share.
pub(crate) struct Scraper {
    board: Arc<ArcSwap<Board>>,
    commands: mpsc::Sender<Command>,
}

/// Why a reload did not happen.
#[derive(Debug)]
pub(crate) enum ReloadError {
    /// What is wrong with the file; the configuration before goes on.
    Wrong(Vec<Finding>),
    Stopping,
}

/// The scrapes themselves, to be run by who starts tasks.
pub(crate) struct Scrapes(Pools);

impl Scraper {
    /// Nothing runs before [`Scrapes::run`].
    ///
    /// # Errors
    /// Every problem of the configuration file.
    pub(crate) fn new(
        source: Source,
        door: Door,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<(Scraper, Scrapes), Vec<Finding>> {
        let file = source.read()?;
        let (commands, incoming) = mpsc::channel(COMMANDS_MAX);
        let board = Arc::new(ArcSwap::default());
        let means = Arc::new(Means {
            door,
            clock,
            metrics,
            slots: Semaphore::new(AT_ONCE_MAX),
        });
        let pools = Pools::new(source, file, means, board.clone(), incoming);
        Ok((Scraper { board, commands }, Scrapes(pools)))
    }

    pub(crate) fn board(&self) -> Arc<Board> {
        self.board.load_full()
    }

    /// How many targets are in each state.
    pub(crate) fn states(&self) -> [(Health, usize); 3] {
        let mut states = [(Health::Up, 0), (Health::Down, 0), (Health::Unknown, 0)];
        for target in self.board().jobs.iter().flat_map(|job| &job.active) {
            let health = target.report().health;
            let state = states.iter_mut().find(|(state, _)| *state == health);
            state.expect("all are listed").1 += 1;
        }
        states
    }

    /// Reads the configuration again; targets that stay go on undisturbed.
    ///
    /// # Errors
    /// It is wrong, or the server stops.
    pub(crate) async fn reload(&self) -> Result<(), ReloadError> {
        let (answer, outcome) = oneshot::channel();
        let sent = self.commands.send(Command::Reload(answer)).await;
        sent.map_err(|_| ReloadError::Stopping)?;
        match outcome.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(problems)) => Err(ReloadError::Wrong(problems)),
            Err(_) => Err(ReloadError::Stopping),
        }
    }

    /// Asks a target now and shows how its page begins; nothing is kept. `None`: no such target.
    pub(crate) async fn preview(&self, job: &str, id: u64) -> Option<(Arc<Target>, Preview)> {
        let board = self.board();
        let view = board
            .jobs
            .iter()
            .find(|view| view.settings.job.name == job)?;
        let target = view.active.iter().find(|target| target.id == id)?.clone();
        let settings = view.settings.clone();
        let preview = fetch::preview(&settings.client, &settings.job, &target).await;
        Some((target, preview))
    }
}

impl Scrapes {
    /// Until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        self.0.run(stop).await;
    }
}
