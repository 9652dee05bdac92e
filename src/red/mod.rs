//! Rate, errors, durations per service and operation, accumulated at ingest, kept per segment,
//! rebuilt from the WAL. Here they are only read and summed up; never per span.

mod newest;
mod read;
mod services;
#[cfg(test)]
mod tests;

pub(crate) use newest::environments;
pub(crate) use read::{durations, operations, services};
pub(crate) use services::{Operations, Services};

use std::collections::BTreeSet;

use crate::model::Timestamp;

/// Points of a sparkline (ui.md section 4, decision 5: 24 bars).
pub(crate) const SPARK_POINTS: usize = 24;

/// One service in the table of services. Figures are over the range asked for and count entry
/// spans (kind server or consumer, or no parent).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServiceRow {
    pub(crate) name: String,
    pub(crate) requests: u64,
    pub(crate) requests_per_s: f64,
    /// 0 to 1; 0 without requests.
    pub(crate) error_ratio: f64,
    /// `None` without requests: a service known only by its logs or inner spans.
    pub(crate) p50_ns: Option<u64>,
    pub(crate) p95_ns: Option<u64>,
    pub(crate) p99_ns: Option<u64>,
    /// At most [`SPARK_POINTS`] equal parts of the range, none shorter than a minute, oldest first.
    pub(crate) spark: Vec<SparkPoint>,
    /// `service.version` seen last.
    pub(crate) version: Option<String>,
    pub(crate) last_seen: Timestamp,
    pub(crate) logs_per_min: f64,
    /// Log records of level ERROR and FATAL.
    pub(crate) log_errors_per_min: f64,
    /// The same length of time a day earlier; `None` where the service had no requests then.
    pub(crate) yesterday: Option<Yesterday>,
    /// Instances (`service.instance.id`, else `host.name`) that the newest records name.
    pub(crate) instances: BTreeSet<String>,
    /// There may be more instances than were looked at.
    pub(crate) more_instances: bool,
    /// Environments that the newest records name, empty where they name none.
    pub(crate) environments: BTreeSet<String>,
}

/// What a service did a day before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Yesterday {
    pub(crate) requests_per_s: f64,
    pub(crate) error_ratio: f64,
    pub(crate) p95_ns: u64,
}

impl ServiceRow {
    /// A service without spans in the range.
    pub(crate) fn unseen(name: String, last_seen: Timestamp) -> ServiceRow {
        ServiceRow {
            name,
            requests: 0,
            requests_per_s: 0.0,
            error_ratio: 0.0,
            p50_ns: None,
            p95_ns: None,
            p99_ns: None,
            spark: Vec::new(),
            version: None,
            last_seen,
            logs_per_min: 0.0,
            log_errors_per_min: 0.0,
            yesterday: None,
            instances: BTreeSet::new(),
            more_instances: false,
            environments: BTreeSet::new(),
        }
    }
}

/// One part of the range.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct SparkPoint {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) p95_ns: Option<u64>,
}

/// One operation (span name) of a service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OperationRow {
    pub(crate) name: String,
    /// Whether the service is entered here.
    pub(crate) entry: bool,
    pub(crate) requests: u64,
    pub(crate) requests_per_s: f64,
    pub(crate) error_ratio: f64,
    pub(crate) p50_ns: Option<u64>,
    pub(crate) p95_ns: Option<u64>,
    pub(crate) p99_ns: Option<u64>,
    /// Sum of durations over that of all operations of the service with the same `entry`, 0 to 1.
    pub(crate) time_share: f64,
    pub(crate) spark: Vec<SparkPoint>,
}
