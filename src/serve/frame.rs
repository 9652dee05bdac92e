//! Gathers what the frame of every page shows from the running server: services with their
//! colours, errors over the range, and how we are.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::format;
use super::pages::querybar::terms::quoted;
use super::shell::{Health, HealthTone, SERVICES_LISTED_MAX, ShellData};
use super::spark::RIBBON_BARS;
use super::state::{App, Shared};
use crate::config::AccessMode;
use crate::model::{TimeRange, Timestamp};
use crate::observe::{Metric, Metrics};
use crate::query::{
    Control, Direction, Engine, LogRequest, QueryError, SpanScope, TraceRequest, lang,
};
use crate::red::Services;
use crate::store::meta;

/// Readings are taken at most this often.
const READING_GAP_NS: u64 = 1_000_000_000;
/// "Now" in "records per second" and "refused": the last minute.
const READING_SPAN_NS: u64 = 60_000_000_000;
/// A minute of readings and the one before it.
const READINGS_MAX: usize = 62;

/// Between readings when nobody looks: "the last minute" is then at most 65 s.
const READING_INTERVAL: Duration = Duration::from_secs(5);

/// Services whose colour is asked for per look at the frame; a first look at more goes on at the next.
const NEW_COLOURS_MAX: usize = 16;

/// How much came in lately.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Guards the readings, oldest first; held for one push and one look.
    readings: Mutex<VecDeque<Reading>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Reading {
    at: Timestamp,
    accepted: f64,
    refused: f64,
    rejected: f64,
}

/// What changed within the last minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Beat {
    pub(crate) per_second: f64,
    /// Requests refused, for want of a token, of room, or of a readable body.
    pub(crate) refused: f64,
    /// Records left out of requests that were taken.
    pub(crate) rejected: f64,
    /// Anything accepted since the start.
    pub(crate) ever: bool,
}

impl Pulse {
    /// Takes a reading if the last one is old enough, and compares with the one a minute ago.
    /// Before there is one, with the start of the server.
    pub(crate) fn beat(&self, metrics: &Metrics, started: Timestamp, now: Timestamp) -> Beat {
        let reading = Reading {
            at: now,
            accepted: metrics.total(Metric::Accepted),
            refused: metrics.total(Metric::Refused),
            rejected: metrics.total(Metric::Rejected),
        };
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        if readings.is_empty() {
            // The start counts as a reading, or the second look would find nothing new.
            readings.push_back(Reading {
                at: started,
                ..Reading::default()
            });
        }
        let old = |r: &Reading| now.0.saturating_sub(r.at.0) > READING_SPAN_NS;
        while readings.len() > READINGS_MAX || readings.get(1).is_some_and(old) {
            readings.pop_front();
        }
        let base = readings.front().copied().expect("one was pushed above");
        let last = readings.back().expect("one was pushed above").at;
        if now.0 >= last.0.saturating_add(READING_GAP_NS) {
            readings.push_back(reading);
        }
        let seconds = now.0.saturating_sub(base.at.0) as f64 / 1e9;
        Beat {
            per_second: (reading.accepted - base.accepted) / seconds.max(1.0),
            refused: reading.refused - base.refused,
            rejected: reading.rejected - base.rejected,
            ever: reading.accepted > 0.0,
        }
    }
}

/// The persisted colour of every service, given out on first sight.
pub(crate) struct ServiceColours {
    database: Arc<redb::Database>,
    /// Guards the copy of the catalogue's table.
    known: Mutex<HashMap<String, u32>>,
    /// Guards what [`App::learn_gone`] found; held for one look.
    gone: Mutex<Gone>,
}

/// Services that have a colour and no record any more.
#[derive(Debug, Default)]
struct Gone {
    names: BTreeSet<String>,
    /// What was seen of a sender before says nothing.
    learned: Timestamp,
}

impl ServiceColours {
    pub(crate) fn open(database: Arc<redb::Database>) -> Result<ServiceColours, meta::MetaError> {
        let known = Mutex::new(meta::palette(&database)?.into_iter().collect());
        Ok(ServiceColours {
            database,
            known,
            gone: Mutex::default(),
        })
    }

    /// Gives a colour to services seen for the first time.
    pub(crate) fn meet<'a>(&self, services: impl Iterator<Item = &'a str>) {
        let unknown: Vec<&str> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let new = |name: &&str| !name.is_empty() && !known.contains_key(*name);
            services.filter(new).take(NEW_COLOURS_MAX).collect()
        };
        for name in unknown {
            match meta::palette_index(&self.database, name) {
                Ok(index) => {
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.insert(name.to_owned(), index);
                }
                Err(error) => {
                    tracing::warn!(%error, service = name, "service has no colour");
                    return;
                }
            }
        }
    }

    /// Takes on which services have no record as of `learned`.
    fn set_gone(&self, names: BTreeSet<String>, learned: Timestamp) {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        *gone = Gone { names, learned };
    }

    /// Services without a record, after those that sent since this was learned are taken out.
    fn gone<'a>(&self, senders: impl Iterator<Item = (&'a str, Timestamp)>) -> BTreeSet<String> {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        if !gone.names.is_empty() {
            let learned = gone.learned;
            for (name, _) in senders.filter(|(_, seen)| *seen >= learned) {
                gone.names.remove(name);
            }
        }
        gone.names.clone()
    }

    /// Every service ever seen with its colour, by name.
    pub(crate) fn all(&self) -> Vec<(String, u32)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = known
            .iter()
            .map(|(name, index)| (name.clone(), *index))
            .collect();
        all.sort();
        all
    }
}

/// Environments offered in the menu of every page: a team has a handful.
const ENVIRONMENTS_MAX: usize = 50;
/// How far back environments are looked for when the server starts.
const LOOK_BACK_NS: u64 = 24 * 3_600_000_000_000;

/// The environments that records named since the start, and in the day before it.
#[derive(Debug, Default)]
pub(crate) struct Environments(
    /// Guards the names; held for one look.
    Mutex<BTreeSet<String>>,
);

impl Environments {
    /// Remembers names; past [`ENVIRONMENTS_MAX`] they are only found by typing them.
    pub(crate) fn meet<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names.filter(|name| !name.is_empty()) {
            if known.len() < ENVIRONMENTS_MAX && !known.contains(name) {
                known.insert(name.to_owned());
            }
        }
    }

    fn all(&self) -> Vec<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().cloned().collect()
    }
}

/// Learns the environments of what was kept before the start.
async fn learn_environments(app: &App) {
    let now = app.clock.now();
    let range = TimeRange::new(now.saturating_sub(LOOK_BACK_NS), now);
    let range = range.expect("a look back ends after it starts");
    let found = app.ask("environments", move |engine, _| {
        Ok(crate::red::environments(&engine.snapshot(), range))
    });
    if let Ok(found) = found.await {
        app.environments.meet(found.iter().map(String::as_str));
    }
}

/// How often it is looked which services have no record any more: retention works by the hour.
const GONE_INTERVAL: Duration = Duration::from_secs(3_600);

/// Whether anything of a service is kept, or that could not be looked through to the end.
fn has_records(engine: &Engine, control: &Control, service: &str) -> Result<bool, QueryError> {
    let query = lang::parse(&format!("service:{}", quoted(service)))?;
    let range = TimeRange::new(Timestamp(0), Timestamp::MAX).expect("in order");
    let logs = LogRequest {
        query: query.clone(),
        range,
        limit: 1,
        direction: Direction::NewestFirst,
        cursor: None,
    };
    let logs = engine.logs(&logs, control)?;
    if !logs.records.is_empty() || logs.stats.partial.is_some() {
        return Ok(true);
    }
    let spans = TraceRequest {
        query,
        range,
        limit: 1,
        scope: SpanScope::All,
        cursor: None,
        whole: false,
    };
    let spans = engine.traces(&spans, control)?;
    Ok(!spans.traces.is_empty() || spans.stats.partial.is_some())
}

/// Takes a reading every [`READING_INTERVAL`] until the server stops.
pub(crate) async fn keep_pulse(app: Shared) {
    tokio::select! {
        () = app.stop.cancelled() => return,
        () = learn_environments(&app) => {}
    }
    let readings = async {
        let mut interval = tokio::time::interval(READING_INTERVAL);
        loop {
            interval.tick().await;
            app.pulse.beat(&app.metrics, app.started, app.clock.now());
        }
    };
    // Beside the readings: it may wait for a core for seconds.
    let services = async {
        let mut interval = tokio::time::interval(GONE_INTERVAL);
        loop {
            interval.tick().await;
            app.learn_gone().await;
        }
    };
    tokio::select! {
        () = app.stop.cancelled() => {}
        () = readings => {}
        () = services => {}
    }
}

impl App {
    /// Finds out which of the services that menus offer have no record any more, after a deletion
    /// and now and then. Where it cannot be told, a service stays.
    pub(crate) async fn learn_gone(&self) {
        let learned = self.clock.now();
        let listed = self.colours.all().into_iter().take(SERVICES_LISTED_MAX);
        let names: Vec<String> = listed.map(|(name, _)| name).collect();
        let found = self.ask("services with records", move |engine, control| {
            let gone = |name: &String| matches!(has_records(engine, control, name), Ok(false));
            Ok(names.into_iter().filter(gone).collect())
        });
        if let Ok(gone) = found.await {
            self.colours.set_gone(gone, learned);
        }
    }

    /// What the frame of any page shows; the time ribbon is added by pages that have a range.
    pub(crate) fn shell_data(&self) -> ShellData {
        let senders = self.sources.senders();
        self.colours
            .meet(senders.iter().map(|(key, _)| key.service.as_str()));
        self.environments.meet(
            senders
                .iter()
                .map(|(_, sender)| sender.environment.as_str()),
        );
        let beat = self
            .pulse
            .beat(&self.metrics, self.started, self.clock.now());
        let seen = senders.iter();
        let gone = seen.map(|(key, sender)| (key.service.as_str(), sender.last_seen));
        ShellData {
            services: self.colours.all(),
            gone: self.colours.gone(gone),
            environments: self.environments.all(),
            errors: Vec::new(),
            health: self.health(beat),
            account: None,
        }
    }

    /// [`App::shell_data`] with the errors of a range for the time ribbon. A page is shown without
    /// them rather than not at all.
    pub(crate) async fn frame(&self, range: TimeRange) -> ShellData {
        let errors = self.ask("time ribbon", move |engine, _| {
            let mut services = Services::new(range, RIBBON_BARS);
            let read = engine.snapshot().red(range, &mut |row| services.add(row));
            read.map_err(|e| QueryError::Store(e.to_string()))?;
            Ok(services.errors().to_vec())
        });
        let errors = errors.await.unwrap_or_default();
        ShellData {
            errors,
            ..self.shell_data()
        }
    }

    fn health(&self, beat: Beat) -> Health {
        let rate = format!("{} records/s", format::rate(beat.per_second));
        let counted = |n: f64| format::exact(n as u64);
        let (tone, reason) = if let Some(why) = self.unready() {
            (HealthTone::Bad, format!("nothing is taken: {why}"))
        } else if beat.refused > 0.0 {
            let refused = counted(beat.refused);
            (
                HealthTone::Bad,
                format!("{refused} requests refused in the last minute; {rate}"),
            )
        } else if beat.rejected > 0.0 {
            let rejected = counted(beat.rejected);
            (
                HealthTone::Bad,
                format!("{rejected} records left out in the last minute; {rate}"),
            )
        } else if self.settings.auth_mode == AccessMode::None {
            let open = "access is open to everybody who can connect (auth.mode = \"none\")";
            (HealthTone::Warn, format!("{open}; {rate}"))
        } else if !beat.ever {
            (
                HealthTone::Idle,
                "nothing received since the start".to_owned(),
            )
        } else {
            (
                HealthTone::Ok,
                format!("{rate}, nothing refused in the last minute"),
            )
        };
        Health {
            tone,
            per_second: beat.per_second,
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pulse, Timestamp};
    use crate::observe::{Metric, Metrics};

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let (metrics, pulse) = (Metrics::default(), Pulse::default());
        let at = |second: u64| Timestamp((1_000 + second) * SECOND_NS);
        metrics.add(Metric::Accepted, &["logs", "shop"], 500);
        let first = pulse.beat(&metrics, at(0), at(100));
        assert_eq!(
            (first.per_second, first.ever),
            (5.0, true),
            "since the start"
        );
        let second = pulse.beat(&metrics, at(0), at(100));
        assert_eq!(second.per_second, 5.0, "a second look sees the same");
        metrics.add(Metric::Refused, &["logs", "overloaded"], 3);
        for second in 101..=190 {
            metrics.add(Metric::Accepted, &["logs", "shop"], 20);
            let beat = pulse.beat(&metrics, at(0), at(second));
            assert_eq!(beat.refused > 0.0, second <= 161, "{second}: {beat:?}");
        }
        assert_eq!(pulse.beat(&metrics, at(0), at(190)).per_second, 20.0);
        for second in 191..=400 {
            pulse.beat(&metrics, at(0), at(second));
        }
        assert_eq!(pulse.beat(&metrics, at(0), at(400)).per_second, 0.0);
    }

    #[test]
    fn colours_stay_with_their_services() {
        let backend = redb::backends::InMemoryBackend::new();
        let database = redb::Database::builder()
            .create_with_backend(backend)
            .expect("in memory");
        let database = std::sync::Arc::new(database);
        crate::store::meta::create_tables(&database).expect("tables");
        let colours = super::ServiceColours::open(database.clone()).expect("colours");
        colours.meet(["shop", "", "cart"].into_iter());
        colours.meet(["cart", "auth"].into_iter());
        let all = colours.all();
        assert_eq!(
            all,
            [("auth".into(), 2), ("cart".into(), 1), ("shop".into(), 0)]
        );
        // Without a record it keeps its colour; a sender that comes back is told of again.
        let gone = |seen| colours.gone([("auth", Timestamp(seen))].into_iter());
        colours.set_gone(["auth".to_owned()].into(), Timestamp(5));
        assert_eq!((gone(4).len(), colours.all().len()), (1, 3));
        assert!(gone(5).is_empty() && gone(4).is_empty());
        let again = super::ServiceColours::open(database).expect("colours");
        assert_eq!(again.all(), all);
    }
}
