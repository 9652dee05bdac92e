//! Reads rate, errors and durations out of a snapshot, with the log errors beside them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::{OperationRow, Operations, ServiceRow, Services, newest};
use crate::model::{Level, TimeRange};
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

/// `go_on` is asked once per unit of log records read; `bars` as in [`Services::new`].
pub(crate) fn services(
    snapshot: &Snapshot,
    range: TimeRange,
    bars: usize,
    go_on: &dyn Fn(u64, u64) -> bool,
) -> ServicesAnswer {
    let mut table = Services::new(range, bars);
    let read = snapshot.red(range, &mut |row| table.add(row));
    let errors = table.errors().to_vec();
    let mut partial = read.is_err() || table.left_out > 0;
    let mut rows = table.finish();
    let minutes = (range.duration_ns() as f64 / 60e9).max(1.0 / 60.0);
    let (counts, whole) = log_errors(snapshot, range, go_on);
    partial |= !whole;
    partial |= !newest::fill(snapshot, range, &mut rows, go_on);
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
    ServicesAnswer {
        rows,
        errors,
        partial,
    }
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

/// Log records of ERROR and FATAL per service; only units that hold such records are read.
fn log_errors(
    snapshot: &Snapshot,
    range: TimeRange,
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
            if prune.wants_level(log.severity.level()) && range.contains(log.at) {
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
