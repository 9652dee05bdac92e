//! Reads rate, errors and durations out of a snapshot, with the log errors beside them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::{OperationRow, Operations, ServiceRow, Services, Yesterday, newest};
use crate::model::red::Sketch;
use crate::model::{Level, TimeRange, Timestamp};
use crate::store::{LogColumns, LogPrune, Snapshot};

/// The table of services over a range.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServicesAnswer {
    /// By name.
    pub(crate) rows: Vec<ServiceRow>,
    /// Failed entry spans of all services in equal parts of the range, oldest first.
    pub(crate) errors: Vec<u64>,
    /// Something could not be read, or `go_on` ended it: figures are too small.
    pub(crate) partial: bool,
}

/// How far back the figures of [`ServiceRow::yesterday`] lie.
const DAY_NS: u64 = 24 * 3_600_000_000_000;

/// `go_on` is asked once per unit of log records read; `bars` as in [`Services::new`]. With an
/// environment, log errors, versions and instances are those of its records, and services whose
/// newest records all name other environments are left out. Rows of spans do not know
/// environments: a service that ran in several has the requests of all of them.
pub(crate) fn services(
    snapshot: &Snapshot,
    range: TimeRange,
    bars: usize,
    environment: Option<&str>,
    go_on: &dyn Fn(u64, u64) -> bool,
) -> ServicesAnswer {
    let mut table = Services::new(range, bars);
    let read = snapshot.red(range, &mut |row| table.add(row));
    let errors = table.errors().to_vec();
    let mut partial = read.is_err() || table.left_out > 0;
    let mut rows = table.finish();
    partial |= !yesterday(snapshot, range, &mut rows);
    let minutes = (range.duration_ns() as f64 / 60e9).max(1.0 / 60.0);
    let (counts, whole) = log_errors(snapshot, range, environment, go_on);
    partial |= !whole;
    partial |= !newest::fill(snapshot, range, environment, &mut rows, go_on);
    for (service, count) in counts {
        let at = match rows.binary_search_by(|row| row.name.as_str().cmp(&service)) {
            Ok(at) => at,
            Err(at) => {
                rows.insert(at, ServiceRow::unseen(service, range.start()));
                at
            }
        };
        rows[at].log_errors_per_min = count as f64 / minutes;
    }
    let elsewhere = |row: &ServiceRow| {
        !row.environments.is_empty()
            && environment.is_some_and(|name| !row.environments.contains(name))
    };
    rows.retain(|row| !elsewhere(row));
    ServicesAnswer {
        rows,
        errors,
        partial,
    }
}

/// Fills in [`ServiceRow::yesterday`]; whether all of it was read.
fn yesterday(snapshot: &Snapshot, range: TimeRange, rows: &mut [ServiceRow]) -> bool {
    let earlier = |at: Timestamp| at.saturating_sub(DAY_NS);
    let before = TimeRange::new(earlier(range.start()), earlier(range.end()));
    let Some(before) = before else { return true };
    let mut table = Services::new(before, 1);
    let read = snapshot.red(before, &mut |row| table.add(row));
    for then in table.finish() {
        let found = rows.binary_search_by(|row| row.name.cmp(&then.name));
        if let (Ok(at), Some(p95_ns)) = (found, then.p95_ns) {
            rows[at].yesterday = Some(Yesterday {
                requests_per_s: then.requests_per_s,
                error_ratio: then.error_ratio,
                p95_ns,
            });
        }
    }
    read.is_ok()
}

/// The operations of one service; whether the answer is whole.
pub(crate) fn operations(
    snapshot: &Snapshot,
    range: TimeRange,
    service: &str,
) -> (Vec<OperationRow>, bool) {
    let mut table = Operations::new(range, service);
    let read = snapshot.red(range, &mut |row| table.add(row));
    (table.finish(), read.is_ok())
}

/// How long the spans of one operation took, wherever they were called; whether the answer is
/// whole.
pub(crate) fn durations(
    snapshot: &Snapshot,
    range: TimeRange,
    service: &str,
    operation: &str,
) -> (Sketch, bool) {
    let mut sketch = Sketch::default();
    let read = snapshot.red(range, &mut |row| {
        if (row.service, row.operation) == (service, operation) {
            sketch.merge(&row.cell.durations);
        }
    });
    (sketch, read.is_ok())
}

/// Log records of ERROR and FATAL per service; only units that hold such records are read.
fn log_errors(
    snapshot: &Snapshot,
    range: TimeRange,
    environment: Option<&str>,
    go_on: &dyn Fn(u64, u64) -> bool,
) -> (BTreeMap<String, u64>, bool) {
    let levels = LogPrune::bit(Level::Error) | LogPrune::bit(Level::Fatal);
    let prune = LogPrune {
        levels,
        ..LogPrune::default()
    };
    let (mut counts, mut whole) = (BTreeMap::<String, u64>::new(), true);
    for unit in snapshot.logs(range, &prune) {
        if !go_on(unit.rows(), unit.bytes()) {
            return (counts, false);
        }
        let read = unit.for_each(LogColumns::NONE, &mut |log| {
            let wanted = environment.is_none_or(|name| log.resource.environment() == name);
            if wanted && prune.wants_level(log.severity.level()) && range.contains(log.at) {
                let service = log.resource.service();
                match counts.get_mut(service) {
                    Some(count) => *count += 1,
                    None => _ = counts.insert(service.to_owned(), 1),
                }
            }
            ControlFlow::Continue(())
        });
        whole &= read.is_ok();
    }
    (counts, whole)
}
