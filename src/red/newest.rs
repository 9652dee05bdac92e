//! What rows of spans do not have, read from the newest records: versions, exact times, log rates,
//! instances and environments.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::ServiceRow;
use crate::model::record::find;
use crate::model::time::NANOS_PER_MINUTE;
use crate::model::{LogView, ResourceView, Signal, SpanView, TimeRange, Timestamp, ValueRef};
use crate::store::{
    LogColumns, LogPrune, LogUnit, Snapshot, SpanColumns, SpanPrune, SpanUnit, Units,
};

/// Units of the newest data that are looked through in any case: every service has some of its own at
/// the end of a segment. Rates of logs are over the part of the range that these cover.
const UNITS_MIN: usize = 64;

/// As many more as have few records: that of all is this, or that of the first units.
const ROWS_MAX: u64 = 65_536;
const UNITS_MAX: usize = 256;

/// Services known by their logs only that are listed.
const LOG_SERVICES_MAX: usize = 1_000;

/// Instances and environments remembered of one service; past it, rows say that there are more.
const INSTANCES_MAX: usize = 200;
const ENVIRONMENTS_MAX: usize = 16;

/// Fills in what rows of spans do not have: the version seen last, the exact time last seen, log
/// rates, instances, environments, and services known by their logs only. With an `environment`,
/// only its records count, but every record tells where its service runs. `go_on` is asked once
/// per unit read; false is given back when it, or damage, ended it early.
pub(super) fn fill(
    snapshot: &Snapshot,
    range: TimeRange,
    environment: Option<&str>,
    rows: &mut Vec<ServiceRow>,
    go_on: &dyn Fn(u64, u64) -> bool,
) -> bool {
    let mut newest = Newest {
        environment,
        ..Newest::default()
    };
    let spans_whole = newest.spans(snapshot, range, go_on);
    let (counted, logs_whole) = newest.logs(snapshot, range, go_on);
    let minutes = (counted.duration_ns().max(1)) as f64 / NANOS_PER_MINUTE as f64;
    for (service, at) in &newest.numbers {
        let seen = std::mem::take(&mut newest.services[*at]);
        let at = match rows.binary_search_by(|row| row.name.as_str().cmp(service)) {
            Ok(at) => at,
            Err(at) => {
                rows.insert(at, ServiceRow::unseen(service.clone(), range.start()));
                at
            }
        };
        let row = &mut rows[at];
        row.last_seen = row.last_seen.max(seen.last);
        row.version = seen.version;
        row.logs_per_min = seen.logs as f64 / minutes;
        row.more_instances = newest.left_out || seen.instances.len() >= INSTANCES_MAX;
        row.instances = seen.instances;
        row.environments = seen.environments;
    }
    spans_whole && logs_whole
}

/// The environments that the newest records of a range name.
pub(crate) fn environments(snapshot: &Snapshot, range: TimeRange) -> BTreeSet<String> {
    let mut newest = Newest::default();
    newest.spans(snapshot, range, &|_, _| true);
    newest.logs(snapshot, range, &|_, _| true);
    let all = newest.services.into_iter();
    all.flat_map(|seen| seen.environments).collect()
}

/// What the newest records say of each service.
#[derive(Debug, Default)]
struct Newest<'a> {
    environment: Option<&'a str>,
    /// Place of each service in `services`.
    numbers: BTreeMap<String, usize>,
    services: Vec<Seen>,
    /// The resource looked at last, as on the wire, its service, and whether its records count:
    /// most records have the resource of the one before them.
    before: (Vec<u8>, Option<(usize, bool)>),
    /// Units older than those looked at exist in the range.
    left_out: bool,
}

#[derive(Debug, Default)]
struct Seen {
    last: Timestamp,
    version: Option<String>,
    version_at: Timestamp,
    logs: u64,
    instances: BTreeSet<String>,
    environments: BTreeSet<String>,
}

impl Newest<'_> {
    fn spans(
        &mut self,
        snapshot: &Snapshot,
        range: TimeRange,
        go_on: &dyn Fn(u64, u64) -> bool,
    ) -> bool {
        let visible = snapshot.visible(Signal::Traces, range);
        let mut units = snapshot.spans(visible, &SpanPrune::default());
        let newest = take_newest(&mut units, SpanUnit::rows);
        self.left_out |= units.bound().is_some();
        newest.iter().all(|unit| {
            let mut each = |span: &SpanView<'_>| {
                if visible.contains(span.at) {
                    self.see(span.resource, span.at);
                }
                ControlFlow::Continue(())
            };
            go_on(unit.rows(), unit.bytes()) && unit.for_each(SpanColumns::NONE, &mut each).is_ok()
        })
    }

    /// Counts log records; the part of the range that is counted whole, and whether it was read.
    fn logs(
        &mut self,
        snapshot: &Snapshot,
        range: TimeRange,
        go_on: &dyn Fn(u64, u64) -> bool,
    ) -> (TimeRange, bool) {
        let visible = snapshot.visible(Signal::Logs, range);
        let mut units = snapshot.logs(visible, &LogPrune::default());
        let newest = take_newest(&mut units, LogUnit::rows);
        // What is left out lies before this.
        let left_out = units.bound().map(|last| last.saturating_add(1));
        self.left_out |= left_out.is_some();
        let start = left_out.unwrap_or(visible.start()).max(visible.start());
        let counted = TimeRange::new(start, visible.end()).unwrap_or(visible);
        let whole = newest.iter().all(|unit| {
            let mut each = |log: &LogView<'_>| {
                if counted.contains(log.at)
                    && let Some(seen) = self.see(log.resource, log.at)
                {
                    seen.logs += 1;
                }
                ControlFlow::Continue(())
            };
            go_on(unit.rows(), unit.bytes()) && unit.for_each(LogColumns::NONE, &mut each).is_ok()
        });
        (counted, whole)
    }

    /// The service of a record that counts.
    fn see(&mut self, resource: &ResourceView<'_>, at: Timestamp) -> Option<&mut Seen> {
        if self.before.0 != resource.raw || self.before.1.is_none() {
            let number = self.number(resource)?;
            let counts = (self.environment).is_none_or(|name| resource.environment() == name);
            self.before = (resource.raw.to_owned(), Some((number, counts)));
            self.services[number].learn(resource, counts, at);
        }
        let (number, counts) = self.before.1?;
        let seen = &mut self.services[number];
        if !counts {
            return None;
        }
        seen.last = seen.last.max(at);
        if at > seen.version_at {
            seen.learn_version(resource, at);
        }
        Some(seen)
    }

    fn number(&mut self, resource: &ResourceView<'_>) -> Option<usize> {
        let service = resource.service();
        if let Some(number) = self.numbers.get(service) {
            return Some(*number);
        }
        if self.services.len() >= LOG_SERVICES_MAX {
            return None;
        }
        self.services.push(Seen::default());
        let number = self.services.len() - 1;
        self.numbers.insert(service.to_owned(), number);
        Some(number)
    }
}

fn take_newest<U>(units: &mut Units<'_, U>, rows_of: fn(&U) -> u64) -> Vec<U> {
    let mut rows = 0;
    let mut newest = Vec::new();
    while newest.len() < UNITS_MIN || (rows < ROWS_MAX && newest.len() < UNITS_MAX) {
        let Some(unit) = units.next() else {
            break;
        };
        rows += rows_of(&unit);
        newest.push(unit);
    }
    newest
}

impl Seen {
    fn learn(&mut self, resource: &ResourceView<'_>, counts: bool, at: Timestamp) {
        let add = |set: &mut BTreeSet<String>, name: &str, max: usize| {
            if !name.is_empty() && set.len() < max && !set.contains(name) {
                set.insert(name.to_owned());
            }
        };
        let environment = resource.environment();
        add(&mut self.environments, environment, ENVIRONMENTS_MAX);
        if counts {
            add(&mut self.instances, resource.instance(), INSTANCES_MAX);
            self.learn_version(resource, at);
        }
    }

    fn learn_version(&mut self, resource: &ResourceView<'_>, at: Timestamp) {
        let version = find(&resource.attributes, "service.version").and_then(ValueRef::as_str);
        if let Some(version) = version
            && at >= self.version_at
        {
            self.version_at = at;
            if self.version.as_deref() != Some(version) {
                self.version = Some(version.to_owned());
            }
        }
    }
}
