//! The life of one target: wait for its turn, ask, read, keep, tell; at the end, mark its series as
//! ended. One task per target; it holds the target's connection and series between turns.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::cache::{Counts, Rules, SeriesCache};
use super::client::{Live, SharedClient};
use super::config::Job;
use super::fetch::{self, NoPage, Page};
use super::target::{Health, Report, Target, interval_ms};
use crate::ingest::{Door, MetricsSubmission, Permit, Refusal};
use crate::model::ProjectId;
use crate::model::metric::{Batch, Labels, LabelsBuilder, NAME, STALE_NAN_BITS, Value};
use crate::observe::sources::Transport;
use crate::observe::{Clock, Metric, Metrics};

/// Scrapes at work at once. Each has a socket and a page in memory; 64 answer 5,000 targets in 15 s
/// at 190 ms each.
pub(super) const AT_ONCE_MAX: usize = 64;

/// A turn that is late by no more has the time it was planned for, so that times are regular
/// (Prometheus `ScrapeTimestampTolerance`).
const TOLERANCE_MS: u64 = 2;

/// Memory asked for what a scrape that failed leaves: markers of ended series.
const MARKERS_BYTES: usize = 64 << 10;

/// By which rules a job's targets are scraped.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) job: Arc<Job>,
    pub(super) client: SharedClient,
    /// Why every scrape fails without being tried: too many targets.
    pub(super) failure: Option<String>,
}

/// What a target's task is to do; none: to end.
pub(super) type Order = Option<(Arc<Settings>, Arc<Target>)>;

/// What all tasks share.
pub(super) struct Means {
    pub(super) door: Door,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) slots: Semaphore,
}

impl Means {
    pub(super) fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now().0 / 1_000_000).unwrap_or(i64::MAX)
    }
}

/// The task of a target.
pub(super) struct Turns {
    means: Arc<Means>,
    orders: watch::Receiver<Order>,
    cache: SeriesCache,
    connection: Option<Live>,
    /// What was told about the last scrape; ends with the target.
    told: Option<Told>,
    rejected_total: u64,
}

struct Told {
    labels: Labels,
    extra: bool,
    interval: Duration,
}

/// One turn of a target.
#[derive(Clone, Copy)]
struct Turn<'t> {
    settings: &'t Settings,
    target: &'t Arc<Target>,
    /// Epoch ms: the time of its samples.
    at: i64,
}

/// What came of a turn, before it is kept.
struct Outcome {
    counts: Counts,
    error: Option<String>,
    /// -1 when it was too large to tell (Prometheus).
    body_bytes: i64,
}

impl Turns {
    pub(super) fn new(means: Arc<Means>, orders: watch::Receiver<Order>) -> Turns {
        Turns {
            means,
            orders,
            cache: SeriesCache::default(),
            connection: None,
            told: None,
            rejected_total: 0,
        }
    }

    /// Until the target is gone or the server stops. A server that stops will be back: nothing is
    /// marked as ended then.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut planned: Option<i64> = None;
        let mut job: Option<Arc<Settings>> = None;
        loop {
            let order = self.orders.borrow_and_update().clone();
            let Some((settings, target)) = order else {
                let ended_at = planned.unwrap_or_else(|| self.means.now_ms());
                if self.linger(ended_at, &stop).await {
                    return;
                }
                continue;
            };
            if let Some(old) = job.replace(settings.clone())
                && !Arc::ptr_eq(&old.job, &settings.job)
            {
                self.changed(&old.job, &settings.job);
            }
            let next = self.next_turn(&target, planned);
            let wait = u64::try_from(next - self.means.now_ms()).unwrap_or(0);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // An error: the pools are gone, the server stops.
                changed = self.orders.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.turn(&settings, &target, next) => {}
            }
            planned = Some(next + interval_ms(target.interval) as i64);
        }
    }

    /// When the next turn is: the one after the last, or the next that is not over yet.
    fn next_turn(&self, target: &Target, planned: Option<i64>) -> i64 {
        let now = self.means.now_ms();
        let interval = interval_ms(target.interval) as i64;
        match planned {
            Some(planned) if planned >= now && planned - now <= interval => planned,
            _ => now + i64::try_from(target.wait_ms(now)).unwrap_or(0),
        }
    }

    /// Other rules: connections and labels made by the old ones are of no use. Series keep their
    /// names in most cases; those that do not are ended by the next page.
    fn changed(&mut self, old: &Job, new: &Job) {
        if old.http != new.http {
            self.connection = None;
        }
        self.cache.rules_changed();
    }

    async fn turn(&mut self, settings: &Settings, target: &Arc<Target>, planned: i64) {
        let means = self.means.clone();
        let _slot = means
            .slots
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let started = means.now_ms();
        let tolerance = (interval_ms(target.interval) / 100).min(TOLERANCE_MS) as i64;
        let on_time = (0..=tolerance).contains(&(started - planned));
        let at = if on_time { planned } else { started };
        let turn = Turn {
            settings,
            target,
            at,
        };
        let clock = tokio::time::Instant::now();
        let page = self.page(turn).await;
        let took = clock.elapsed();
        let (permit, outcome, batch) = match self.read(turn, page).await {
            Ok(read) => read,
            Err(refusal) => {
                let before = Report {
                    at: Some(at),
                    took,
                    error: None,
                    ..target.report()
                };
                return self.refused(target, before, &refusal);
            }
        };
        self.keep(turn, took, permit, outcome, batch).await;
    }

    async fn page(&mut self, turn: Turn<'_>) -> Result<Page, NoPage> {
        let Turn {
            settings, target, ..
        } = turn;
        if let Some(failure) = &settings.failure {
            return Err(NoPage::Failed(failure.clone()));
        }
        let (connection, door) = (&mut self.connection, &self.means.door);
        let page = fetch::page(&settings.client, connection, &settings.job, target, door);
        let page = tokio::time::timeout(target.timeout, page).await;
        let page = page.unwrap_or_else(|_| Err(NoPage::Failed(fetch::late(target))));
        if page.is_err() {
            // Half an answer may be left in it.
            self.connection = None;
        }
        page
    }

    /// From a page, or none, to what is to be kept.
    async fn read(
        &mut self,
        turn: Turn<'_>,
        page: Result<Page, NoPage>,
    ) -> Result<(Permit, Outcome, Batch), Refusal> {
        let (error, body_bytes) = match page {
            Ok(page) => return Ok(self.parse(turn, page).await),
            Err(NoPage::NoRoom(refusal)) => return Err(refusal),
            Err(NoPage::TooLarge(error)) => (error, -1),
            Err(NoPage::Failed(error)) => (error, 0),
        };
        let permit = self.means.door.reserve(MARKERS_BYTES).await?;
        let mut batch = Batch::default();
        self.cache.end_all(turn.at, &mut batch);
        let (counts, error) = (Counts::default(), Some(error));
        let outcome = Outcome {
            counts,
            error,
            body_bytes,
        };
        Ok((permit, outcome, batch))
    }

    async fn parse(&mut self, turn: Turn<'_>, page: Page) -> (Permit, Outcome, Batch) {
        let Page {
            bytes,
            format,
            permit,
        } = page;
        let size = bytes.len();
        let mut cache = std::mem::take(&mut self.cache);
        let (job, target, at) = (turn.settings.job.clone(), turn.target.clone(), turn.at);
        let work = move || {
            let rules = Rules {
                job: &job,
                labels: &target.labels,
                at,
            };
            let read = cache.read(&bytes, format, rules);
            let (error, batch) = match read.outcome {
                Ok(batch) => (None, batch),
                Err(error) => {
                    let mut batch = Batch::default();
                    cache.end_all(at, &mut batch);
                    (Some(error), batch)
                }
            };
            (cache, bytes, read.counts, error, batch)
        };
        let (cache, bytes, counts, error, batch) =
            self.means.door.offload(&permit, size, work).await;
        self.cache = cache;
        permit.give_back(bytes);
        let body_bytes = i64::try_from(size).unwrap_or(i64::MAX);
        (
            permit,
            Outcome {
                counts,
                error,
                body_bytes,
            },
            batch,
        )
    }

    async fn keep(
        &mut self,
        turn: Turn<'_>,
        took: Duration,
        permit: Permit,
        outcome: Outcome,
        mut batch: Batch,
    ) {
        let Turn {
            settings,
            target,
            at,
        } = turn;
        let extra = settings.job.extra_metrics;
        let figures = figures(turn, took, &outcome);
        about_scrape(&target.labels, extra, at, &figures, &mut batch);
        self.told = Some(Told {
            labels: target.labels.clone(),
            extra,
            interval: target.interval,
        });
        let Outcome {
            counts,
            error,
            body_bytes,
        } = outcome;
        let bytes = u64::try_from(body_bytes).unwrap_or(0);
        let health = match error {
            None => Health::Up,
            Some(_) => Health::Down,
        };
        let mut report = Report {
            health,
            at: Some(at),
            took,
            error,
            samples: counts.scraped,
            kept: counts.kept,
            series: self.cache.tracked() as u64,
            body_bytes: bytes,
            rejected: Vec::new(),
            rejected_total: self.rejected_total,
        };
        let door = &self.means.door;
        let receipt = match door.submit_metrics(permit, submission(batch, bytes)).await {
            Ok(receipt) => receipt,
            Err(refusal) => return self.refused(target, report, &refusal),
        };
        let rejected = &receipt.outcome.rejected;
        self.rejected_total += rejected.total();
        self.means.metrics.add(Metric::Scrapes, &[health.name()], 1);
        report.rejected = rejected
            .iter()
            .map(|(reason, n, example)| (reason.name(), n, example.to_owned()))
            .collect();
        report.rejected_total = self.rejected_total;
        target.tell(report);
    }

    /// Nothing of this turn could be kept: told and counted, not tried again, because the next turn
    /// has newer values.
    fn refused(&self, target: &Target, report: Report, refusal: &Refusal) {
        let reason = refusal.reason();
        self.means.metrics.add(Metric::ScrapesNotKept, &[reason], 1);
        let lost = format!("nothing of it was kept: {reason}");
        let error = match report.error {
            Some(error) => format!("{error}; {lost}"),
            None => lost,
        };
        let error = Some(error);
        target.tell(Report { error, ..report });
    }

    /// After the target's end: waits an interval beyond the turn that is missed, in case it comes
    /// back, then marks its series as ended at that turn. False when it has come back.
    async fn linger(&mut self, missed: i64, stop: &CancellationToken) -> bool {
        self.connection = None;
        let Some(interval) = self.told.as_ref().map(|told| told.interval) else {
            return true;
        };
        let wait = u64::try_from(missed - self.means.now_ms()).unwrap_or(0);
        tokio::select! {
            biased;
            () = stop.cancelled() => return true,
            changed = self.orders.changed() => return changed.is_err(),
            () = tokio::time::sleep(Duration::from_millis(wait) + interval.mul_f64(1.1)) => {}
        }
        let Some(told) = self.told.take() else {
            return true;
        };
        let mut batch = Batch::default();
        self.cache.end_all(missed, &mut batch);
        let ends = [f64::from_bits(STALE_NAN_BITS); ABOUT.len()];
        about_scrape(&told.labels, told.extra, missed, &ends, &mut batch);
        let kept = match self.means.door.reserve(MARKERS_BYTES).await {
            Ok(permit) => self
                .means
                .door
                .submit_metrics(permit, submission(batch, 0))
                .await
                .map(drop),
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = kept {
            self.means
                .metrics
                .add(Metric::ScrapesNotKept, &[refusal.reason()], 1);
        }
        true
    }
}

fn submission(batch: Batch, raw_bytes: u64) -> MetricsSubmission {
    MetricsSubmission {
        project: ProjectId::DEFAULT,
        transport: Transport::Scrape,
        batch,
        // Two scrapes of one target are never the same request.
        key: None,
        raw_bytes,
        left_out: 0,
    }
}

/// What Prometheus tells about each scrape; the last three where `extra_scrape_metrics` is set.
const ABOUT: [&str; 8] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "scrape_timeout_seconds",
    "scrape_sample_limit",
    "scrape_body_size_bytes",
];
const ABOUT_ALWAYS: usize = 5;

/// The values of [`ABOUT`].
fn figures(turn: Turn<'_>, took: Duration, outcome: &Outcome) -> [f64; ABOUT.len()] {
    let counts = outcome.counts;
    [
        f64::from(u8::from(outcome.error.is_none())),
        took.as_secs_f64(),
        counts.scraped as f64,
        counts.kept as f64,
        counts.added as f64,
        turn.target.timeout.as_secs_f64(),
        turn.settings.job.limits.samples as f64,
        outcome.body_bytes as f64,
    ]
}

fn about_scrape(
    labels: &Labels,
    extra: bool,
    at: i64,
    figures: &[f64; ABOUT.len()],
    batch: &mut Batch,
) {
    let wanted = if extra { ABOUT.len() } else { ABOUT_ALWAYS };
    let mut builder = LabelsBuilder::from(labels);
    for (name, figure) in ABOUT.into_iter().zip(figures).take(wanted) {
        builder.set(NAME, name);
        batch.series_of(&builder.build());
        batch.sample(at, Value::Float(*figure));
    }
}
