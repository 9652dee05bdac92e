//! What rows of spans do not have, read from the newest records: versions, exact times, log rates.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::ServiceRow;
use crate::model::record::find;
use crate::model::time::NANOS_PER_MINUTE;
use crate::model::{LogView, ResourceView, Signal, SpanView, TimeRange, Timestamp, ValueRef};
use crate::store::{LogColumns, LogPrune, Snapshot, SpanColumns, SpanPrune};

/// Units of the newest data that are looked through: about 100,000 records, some tens of
/// milliseconds. Rates of logs are over the part of the range that these cover.
const UNITS_MAX: usize = 64;

/// Services known by their logs only that are listed.
const LOG_SERVICES_MAX: usize = 1_000;

/// Fills in what rows of spans do not have: the version seen last, the exact time last seen, log
/// rates, and services known by their logs only. `go_on` is asked once per unit read; false is
/// given back when it, or damage, ended it early.
pub(super) fn fill(
    snapshot: &Snapshot,
    range: TimeRange,
    rows: &mut Vec<ServiceRow>,
    go_on: &dyn Fn(u64, u64) -> bool,
) -> bool {
    let mut newest = Newest::default();
    let spans_whole = newest.spans(snapshot, range, go_on);
    let (counted, logs_whole) = newest.logs(snapshot, range, go_on);
    let minutes = (counted.duration_ns().max(1)) as f64 / NANOS_PER_MINUTE as f64;
    for (service, seen) in newest.services {
        let at = match rows.binary_search_by(|row| row.name.as_str().cmp(&service)) {
            Ok(at) => at,
            Err(at) => {
                rows.insert(at, ServiceRow::unseen(service, range.start()));
                at
            }
        };
        rows[at].last_seen = rows[at].last_seen.max(seen.last);
        rows[at].version = seen.version;
        rows[at].logs_per_min = seen.logs as f64 / minutes;
    }
    spans_whole && logs_whole
}

/// What the newest records say of each service.
#[derive(Debug, Default)]
struct Newest {
    services: BTreeMap<String, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    last: Timestamp,
    version: Option<String>,
    version_at: Timestamp,
    logs: u64,
}

impl Newest {
    fn spans(
        &mut self,
        snapshot: &Snapshot,
        range: TimeRange,
        go_on: &dyn Fn(u64, u64) -> bool,
    ) -> bool {
        let visible = snapshot.visible(Signal::Traces, range);
        let units = snapshot.spans(visible, &SpanPrune::default());
        units.iter().take(UNITS_MAX).all(|unit| {
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
        let units = snapshot.logs(visible, &LogPrune::default());
        // Units are sorted by their last record: what is left out lies before this.
        let left_out = units
            .get(UNITS_MAX)
            .map(|unit| unit.last().saturating_add(1));
        let start = left_out.unwrap_or(visible.start()).max(visible.start());
        let counted = TimeRange::new(start, visible.end()).unwrap_or(visible);
        let whole = units.iter().take(UNITS_MAX).all(|unit| {
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

    fn see(&mut self, resource: &ResourceView<'_>, at: Timestamp) -> Option<&mut Seen> {
        let service = resource.service();
        if !self.services.contains_key(service) {
            if self.services.len() >= LOG_SERVICES_MAX {
                return None;
            }
            self.services.insert(service.to_owned(), Seen::default());
        }
        let seen = self.services.get_mut(service).expect("inserted above");
        seen.last = seen.last.max(at);
        let version = find(&resource.attributes, "service.version").and_then(ValueRef::as_str);
        if let Some(version) = version
            && at >= seen.version_at
        {
            seen.version_at = at;
            if seen.version.as_deref() != Some(version) {
                seen.version = Some(version.to_owned());
            }
        }
        Some(seen)
    }
}
