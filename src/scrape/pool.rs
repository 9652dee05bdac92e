//! Which targets there are now: brings what discoveries find and what the file asks for together with
//! the tasks that run. One task owns all of this; pages read what it publishes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::config::{Finding, Job, ScrapeFile};
use super::discovery::{Look, Update};
use super::target::{self, Found, Target};
use super::turn::{Means, Order, Settings, Turns};
use super::{Board, DiscoveryView, JobView, Source};
use crate::model::metric::Labels;

/// Targets of the whole server. Each has a task, a connection and its series in memory; 5,000 of the
/// smallest take 100 MB.
const TARGETS_MAX: usize = 5_000;

/// Targets that relabelling dropped and a page shows, of one job.
const DROPPED_SHOWN_MAX: usize = 100;

/// Targets that could not be made, and are told, of one job.
const FAILURES_SHOWN_MAX: usize = 20;

/// Updates of discoveries that wait to be taken in.
pub(super) const UPDATES_MAX: usize = 64;

/// What others ask of the pools.
pub(super) enum Command {
    Reload(oneshot::Sender<Result<(), Vec<Finding>>>),
}

/// The jobs and their targets.
pub(super) struct Pools {
    source: Source,
    means: Arc<Means>,
    board: Arc<ArcSwap<Board>>,
    file: ScrapeFile,
    pools: Vec<Pool>,
    generation: u64,
    updates: mpsc::Sender<Update>,
    incoming: mpsc::Receiver<Update>,
    commands: mpsc::Receiver<Command>,
    /// Tasks of targets, each known by job and target.
    turns: JoinSet<()>,
    whose: HashMap<tokio::task::Id, (String, u64)>,
    looks: JoinSet<()>,
    looks_stop: CancellationToken,
    problems: Vec<Finding>,
    loaded_at: i64,
}

struct Pool {
    job: Arc<Job>,
    settings: Arc<Settings>,
    found: Vec<(Vec<Labels>, Option<String>)>,
    running: HashMap<u64, Running>,
    dropped: Vec<Labels>,
    dropped_count: usize,
    failures: Vec<String>,
}

struct Running {
    target: Arc<Target>,
    orders: watch::Sender<Order>,
    /// It has been told to end.
    ending: bool,
    task: tokio::task::Id,
}

impl Pools {
    pub(super) fn new(
        source: Source,
        file: ScrapeFile,
        means: Arc<Means>,
        board: Arc<ArcSwap<Board>>,
        commands: mpsc::Receiver<Command>,
    ) -> Pools {
        let (updates, incoming) = mpsc::channel(UPDATES_MAX);
        let mut pools = Pools {
            loaded_at: means.now_ms(),
            source,
            means,
            board,
            file: ScrapeFile::default(),
            pools: Vec::new(),
            generation: 0,
            updates,
            incoming,
            commands,
            turns: JoinSet::new(),
            whose: HashMap::new(),
            looks: JoinSet::new(),
            looks_stop: CancellationToken::new(),
            problems: Vec::new(),
        };
        pools.take_file(file);
        pools
    }

    /// Until `stop`; then waits for every task.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        self.start_looks(&stop);
        loop {
            self.publish();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(command) = self.commands.recv() => self.obey(command, &stop).await,
                Some(update) = self.incoming.recv() => self.take_update(update, &stop),
                Some(ended) = self.turns.join_next_with_id() => self.ended(ended, &stop),
                Some(_) = self.looks.join_next() => {}
            }
        }
        self.looks_stop.cancel();
        while self.turns.join_next().await.is_some() {}
        self.looks.shutdown().await;
    }

    async fn obey(&mut self, command: Command, stop: &CancellationToken) {
        let Command::Reload(answer) = command;
        let source = self.source.clone();
        let read = tokio::task::spawn_blocking(move || source.read()).await;
        let outcome = match read {
            Ok(Ok(file)) => {
                self.problems.clear();
                self.loaded_at = self.means.now_ms();
                self.take_file(file);
                self.start_looks(stop);
                tracing::info!(jobs = self.pools.len(), "scrape configuration loaded");
                Ok(())
            }
            Ok(Err(problems)) => {
                tracing::error!(problem = %problems[0], problems = problems.len(), "scrape configuration is wrong; the one before goes on");
                self.problems.clone_from(&problems);
                Err(problems)
            }
            Err(error) => {
                tracing::error!(%error, "the scrape configuration could not be read");
                Err(Vec::new())
            }
        };
        self.publish();
        // Who asked may have gone away.
        _ = answer.send(outcome);
    }

    /// Puts new jobs in the place of old ones; targets that both have go on.
    fn take_file(&mut self, file: ScrapeFile) {
        for warning in &file.warnings {
            tracing::warn!("{warning}");
        }
        self.generation += 1;
        let mut old: HashMap<String, Pool> = self
            .pools
            .drain(..)
            .map(|pool| (pool.job.name.clone(), pool))
            .collect();
        for job in &file.jobs {
            let before = old.remove(&job.name);
            self.pools.push(Pool::new(job, before, &self.source));
        }
        // Targets of jobs that are gone end by themselves: their orders say so.
        for pool in old.into_values() {
            for running in pool.running.into_values() {
                running.orders.send_replace(None);
                self.leave(running);
            }
        }
        self.file = file;
    }

    /// A target whose job is gone: its task ends, and nobody waits for it but the set of tasks.
    fn leave(&mut self, running: Running) {
        // Dropping the sender would be read as a server that stops, without markers.
        let orders = running.orders;
        self.turns.spawn(async move { orders.closed().await });
    }

    fn start_looks(&mut self, stop: &CancellationToken) {
        self.looks_stop.cancel();
        self.looks_stop = stop.child_token();
        for (job, pool) in self.pools.iter().enumerate() {
            for (number, discovery) in pool.job.discovery.iter().enumerate() {
                let look = Look {
                    generation: self.generation,
                    job,
                    number,
                    discovery: discovery.clone(),
                    reach: self.source.reach.clone(),
                };
                self.looks
                    .spawn(look.run(self.updates.clone(), self.looks_stop.clone()));
            }
        }
        // Nobody looks for targets of a job that names none: those it had end now.
        for at in 0..self.pools.len() {
            if self.pools[at].job.discovery.is_empty() {
                self.sync(at, stop);
            }
        }
    }

    fn take_update(&mut self, update: Update, stop: &CancellationToken) {
        if update.generation != self.generation {
            return;
        }
        let pool = &mut self.pools[update.job];
        let (found, problem) = &mut pool.found[update.discovery];
        match update.found {
            Ok(labels) => (*found, *problem) = (labels, None),
            Err(error) => {
                tracing::warn!(job = pool.job.name, %error, "targets cannot be looked up; those known stay");
                *problem = Some(error);
            }
        }
        self.sync(update.job, stop);
    }

    /// Starts and ends tasks so that they are those of the targets.
    fn sync(&mut self, at: usize, stop: &CancellationToken) {
        let others: usize = self
            .pools
            .iter()
            .map(|pool| pool.running.len())
            .sum::<usize>()
            - self.pools[at].running.len();
        let pool = &mut self.pools[at];
        let targets = pool.targets(TARGETS_MAX.saturating_sub(others), &self.source);
        let wanted: HashSet<u64> = targets.iter().map(|target| target.id).collect();
        for (id, running) in &mut pool.running {
            if !wanted.contains(id) && !running.ending {
                running.ending = true;
                running.orders.send_replace(None);
            }
        }
        for target in targets {
            let id = target.id;
            if let Some(running) = pool.running.get_mut(&id) {
                target.tell(running.target.report());
                running.target = Arc::new(target);
                running.ending = false;
                let order = Some((pool.settings.clone(), running.target.clone()));
                running.orders.send_replace(order);
                continue;
            }
            let target = Arc::new(target);
            let (orders, order) = watch::channel(Some((pool.settings.clone(), target.clone())));
            let turns = Turns::new(self.means.clone(), order).run(stop.clone());
            let task = self.turns.spawn(turns);
            self.whose.insert(task.id(), (pool.job.name.clone(), id));
            pool.running.insert(
                id,
                Running {
                    target,
                    orders,
                    ending: false,
                    task: task.id(),
                },
            );
        }
    }

    /// A task has ended: as it was told, or by a fault of ours, which must not end the scrapes.
    fn ended(
        &mut self,
        ended: Result<(tokio::task::Id, ()), tokio::task::JoinError>,
        stop: &CancellationToken,
    ) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => {
                tracing::error!(%error, "a scrape failed in itself; its target starts anew");
                error.id()
            }
        };
        let Some((job, target)) = self.whose.remove(&id) else {
            return;
        };
        let Some(at) = self.pools.iter().position(|pool| pool.job.name == job) else {
            return;
        };
        // A job that was taken out and put back has a task of its own beside the one that ends.
        let pool = &mut self.pools[at];
        let is_it = |running: &Running| running.task == id;
        if !pool.running.get(&target).is_some_and(is_it) {
            return;
        }
        if let Some(running) = pool.running.remove(&target)
            && !running.ending
        {
            self.sync(at, stop);
        }
    }

    fn publish(&self) {
        let jobs = self.pools.iter().map(Pool::view).collect();
        self.board.store(Arc::new(Board {
            jobs,
            loaded_at: self.loaded_at,
            warnings: self.file.warnings.clone(),
            problems: self.problems.clone(),
            rule_files: self.file.rule_files.clone(),
            external_labels: self.file.global.external_labels.clone(),
        }));
    }
}

impl Pool {
    fn new(job: &Job, before: Option<Pool>, source: &Source) -> Pool {
        let discoveries = job.discovery.len();
        let mut found = vec![(Vec::new(), None); discoveries];
        let Some(mut before) = before else {
            let job = Arc::new(job.clone());
            let settings = Arc::new(settings(&job, source, None));
            return Pool {
                job,
                settings,
                found,
                running: HashMap::new(),
                dropped: Vec::new(),
                dropped_count: 0,
                failures: Vec::new(),
            };
        };
        // What a discovery that is as before has found is good until it looks again.
        for (number, discovery) in job.discovery.iter().enumerate() {
            let same = before
                .job
                .discovery
                .iter()
                .position(|known| known == discovery);
            if let Some(same) = same {
                found[number] = before.found[same].clone();
            }
        }
        before.found = found;
        if *before.job != *job {
            before.job = Arc::new(job.clone());
            before.settings = Arc::new(settings(&before.job, source, None));
        }
        before
    }

    /// The targets of all that was found, each once.
    fn targets(&mut self, room: usize, source: &Source) -> Vec<Target> {
        (self.dropped, self.dropped_count, self.failures) = (Vec::new(), 0, Vec::new());
        let shown_max = match usize::try_from(self.job.limits.dropped_targets).unwrap_or(usize::MAX)
        {
            0 => DROPPED_SHOWN_MAX,
            limit => limit.min(DROPPED_SHOWN_MAX),
        };
        let mut targets: Vec<Target> = Vec::new();
        let mut known = HashSet::new();
        for labels in self.found.iter().flat_map(|(labels, _)| labels) {
            match target::populate(&self.job, labels) {
                Ok(Found::Target(target)) => {
                    if known.insert(target.id) {
                        targets.push(*target);
                    }
                }
                Ok(Found::Dropped(labels)) => {
                    self.dropped_count += 1;
                    if self.dropped.len() < shown_max {
                        self.dropped.push(labels);
                    }
                }
                Err(failure) if self.failures.len() < FAILURES_SHOWN_MAX => {
                    self.failures.push(format!("{labels}: {failure}"));
                }
                Err(_) => {}
            }
        }
        if targets.len() > room {
            let n = targets.len();
            self.failures.push(format!(
                "{n} targets, and room for {room} of the {TARGETS_MAX} that one server scrapes; the others are left out"
            ));
            targets.truncate(room);
        }
        self.limit(targets.len(), source);
        targets
    }

    /// Over `target_limit` every scrape of the job fails, as with Prometheus.
    fn limit(&mut self, targets: usize, source: &Source) {
        let limit = self.job.limits.targets;
        let failure = (limit > 0 && targets as u64 > limit).then(|| {
            format!("target_limit exceeded (number of targets: {targets}, limit: {limit})")
        });
        if self.settings.failure != failure {
            self.settings = Arc::new(settings(&self.job, source, failure));
        }
    }

    fn view(&self) -> JobView {
        let mut active: Vec<Arc<Target>> = self
            .running
            .values()
            .filter(|running| !running.ending)
            .map(|running| running.target.clone())
            .collect();
        active.sort_by(|a, b| a.url.cmp(&b.url).then(a.labels.cmp(&b.labels)));
        let views = self.job.discovery.iter().zip(&self.found);
        JobView {
            settings: self.settings.clone(),
            active,
            dropped: self.dropped.clone(),
            dropped_count: self.dropped_count,
            failures: self.failures.clone(),
            discoveries: views
                .map(|(discovery, (found, problem))| DiscoveryView {
                    name: Look::name(discovery),
                    found: found.len(),
                    problem: problem.clone(),
                })
                .collect(),
        }
    }
}

fn settings(job: &Arc<Job>, source: &Source, failure: Option<String>) -> Settings {
    Settings {
        client: Arc::new(Client::new(&job.http, &source.reach)),
        job: job.clone(),
        failure,
    }
}
