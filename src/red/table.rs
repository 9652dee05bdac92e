//! The table of services as pages and the API show it: rows of spans, and from the newest data the
//! versions and log rates that those rows do not have.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::{OperationRow, Operations, ServiceRow, Services};
use crate::model::record::find;
use crate::model::red::Sketch;
use crate::model::time::NANOS_PER_MINUTE;
use crate::model::{Level, ResourceView, Severity, Signal, TimeRange, Timestamp, ValueRef};
use crate::store::{LogColumns, LogPrune, Snapshot, SpanColumns, SpanPrune, StoreError};

/// Units of the newest data that are looked through: about 100,000 records, some tens of
/// milliseconds. Rates of logs are over the part of the range that these cover.
const UNITS_MAX: usize = 64;

/// Services known by their logs only that are listed.
const LOG_SERVICES_MAX: usize = 1_000;

/// All services seen in a range by spans or logs, by name. `range` must be bounded at both ends.
///
/// # Errors
/// A head or segment cannot be read.
pub(crate) fn services(
    snapshot: &Snapshot,
    range: TimeRange,
) -> Result<Vec<ServiceRow>, StoreError> {
    let mut services = Services::new(range, 1);
    snapshot.red(range, &mut |row| services.add(row))?;
    let mut rows: BTreeMap<String, ServiceRow> = services
        .finish()
        .into_iter()
        .map(|row| (row.name.clone(), row))
        .collect();
    let mut newest = Newest::default();
    newest.spans(snapshot, range)?;
    let counted = newest.logs(snapshot, range)?;
    let minutes = (counted.duration_ns().max(1)) as f64 / NANOS_PER_MINUTE as f64;
    for (name, seen) in newest.services {
        let row = rows.entry(name).or_insert_with_key(|name| logs_only(name));
        row.last_seen = row.last_seen.max(seen.last);
        row.version = seen.version;
        row.logs_per_min = seen.logs as f64 / minutes;
        row.log_errors_per_min = seen.log_errors as f64 / minutes;
    }
    Ok(rows.into_values().collect())
}

/// The operations of one service: where it is entered first, then by time spent.
///
/// # Errors
/// A head or segment cannot be read.
pub(crate) fn operations(
    snapshot: &Snapshot,
    range: TimeRange,
    service: &str,
) -> Result<Vec<OperationRow>, StoreError> {
    let mut operations = Operations::new(range, service);
    snapshot.red(range, &mut |row| operations.add(row))?;
    Ok(operations.finish())
}

/// The share of spans of an operation that were faster than `duration_ns`, 0 to 1 within 1 %;
/// `None` without any (ui.md W6: the percentile of a span among its like).
///
/// # Errors
/// A head or segment cannot be read.
pub(crate) fn percentile(
    snapshot: &Snapshot,
    range: TimeRange,
    service: &str,
    operation: &str,
    duration_ns: u64,
) -> Result<Option<f64>, StoreError> {
    let mut durations = Sketch::default();
    snapshot.red(range, &mut |row| {
        if row.service == service && row.operation == operation {
            durations.merge(&row.cell.durations);
        }
    })?;
    // The sketch answers "how long is the q-th": seven halvings find q to 1 %.
    let reaches = |q: f64| durations.quantile(q).is_none_or(|ns| ns >= duration_ns);
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..7 {
        let middle = (low + high) / 2.0;
        if reaches(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok((durations.count() > 0).then_some(low))
}

/// A service that has sent no entry span.
fn logs_only(name: &str) -> ServiceRow {
    ServiceRow {
        name: name.to_owned(),
        requests: 0,
        requests_per_s: 0.0,
        error_ratio: 0.0,
        p50_ns: None,
        p95_ns: None,
        p99_ns: None,
        spark: Vec::new(),
        version: None,
        last_seen: Timestamp(0),
        logs_per_min: 0.0,
        log_errors_per_min: 0.0,
    }
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
    log_errors: u64,
}

impl Newest {
    fn spans(&mut self, snapshot: &Snapshot, range: TimeRange) -> Result<(), StoreError> {
        let visible = snapshot.visible(Signal::Traces, range);
        let units = snapshot.spans(visible, &SpanPrune::default());
        for unit in units.iter().take(UNITS_MAX) {
            unit.for_each(SpanColumns::NONE, &mut |span| {
                if visible.contains(span.at) {
                    self.see(span.resource, span.at);
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(())
    }

    /// Counts log records; the part of the range that is counted whole.
    fn logs(&mut self, snapshot: &Snapshot, range: TimeRange) -> Result<TimeRange, StoreError> {
        let visible = snapshot.visible(Signal::Logs, range);
        let units = snapshot.logs(visible, &LogPrune::default());
        // Units are sorted by their last record: what is left out lies before this.
        let left_out = units
            .get(UNITS_MAX)
            .map(|unit| unit.last().saturating_add(1));
        let start = left_out.unwrap_or(visible.start()).max(visible.start());
        let counted = TimeRange::new(start, visible.end()).unwrap_or(visible);
        for unit in units.iter().take(UNITS_MAX) {
            unit.for_each(LogColumns::TEXT, &mut |log| {
                if counted.contains(log.at)
                    && let Some(seen) = self.see(log.resource, log.at)
                {
                    let level = level(log.severity, log.severity_text);
                    seen.logs += 1;
                    seen.log_errors += u64::from(level >= Level::Error);
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(counted)
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

/// As in searches: the number, else what the text says.
fn level(severity: Severity, text: &str) -> Level {
    if severity.0 != 0 || text.is_empty() {
        return severity.level();
    }
    Level::from_text(text).unwrap_or(Level::Unset)
}
