//! Sums rows of `model::red` up into the table of services, its operations, and errors over time.
//! Fed row by row, so that no copy of the rows is kept.

use std::collections::BTreeMap;

use super::{OperationRow, SPARK_POINTS, ServiceRow, SparkPoint};
use crate::model::red::{RedRow, Sketch};
use crate::model::time::{NANOS_PER_MINUTE, NANOS_PER_SECOND};
use crate::model::{TimeRange, Timestamp};

/// Services summed up; what more there are is counted in [`Services::left_out`].
const SERVICES_MAX: usize = 1_000;

/// Operations of one service summed up; the rest goes under its own name, as in the rows.
const OPERATIONS_MAX: usize = 1_000;

/// The table of services while it is being summed up.
#[derive(Debug)]
pub(crate) struct Services {
    range: TimeRange,
    points: usize,
    by_name: BTreeMap<String, Sum>,
    /// Failed entry spans per equal part of the range, oldest first.
    errors: Vec<u64>,
    /// Rows of services past [`SERVICES_MAX`].
    pub(crate) left_out: u64,
}

/// The table of one service's operations.
#[derive(Debug)]
pub(crate) struct Operations {
    range: TimeRange,
    points: usize,
    service: String,
    by_name: BTreeMap<(String, bool), Sum>,
}

#[derive(Clone, Debug, Default)]
struct Sum {
    requests: u64,
    errors: u64,
    durations: Sketch,
    points: Vec<Point>,
    last: Timestamp,
    /// Nanoseconds spent, estimated from the sketch.
    spent: u128,
}

#[derive(Clone, Debug, Default)]
struct Point {
    requests: u64,
    errors: u64,
    durations: Sketch,
}

impl Services {
    /// `bars` is how many parts [`Services::errors`] divides the range into at best; rows are by
    /// minute, so there are never more parts than minutes.
    pub(crate) fn new(range: TimeRange, bars: usize) -> Services {
        Services {
            range,
            points: parts(range, SPARK_POINTS),
            by_name: BTreeMap::new(),
            errors: vec![0; parts(range, bars)],
            left_out: 0,
        }
    }

    pub(crate) fn add(&mut self, row: &RedRow<'_>) {
        if !self.by_name.contains_key(row.service) {
            if self.by_name.len() >= SERVICES_MAX {
                self.left_out += 1;
                return;
            }
            self.by_name.insert(row.service.to_owned(), Sum::default());
        }
        let sum = self.by_name.get_mut(row.service).expect("inserted above");
        sum.last = sum.last.max(row.minute);
        if row.entry {
            let bar = place(self.range, self.errors.len(), row.minute);
            self.errors[bar] += row.cell.errors;
            sum.add(row, self.range, self.points);
        }
    }

    /// Failed entry spans of all services over the range.
    pub(crate) fn errors(&self) -> &[u64] {
        &self.errors
    }

    /// One row per service, by name. Versions and log rates are not in the rows of spans: they are
    /// left empty for the caller to fill in.
    pub(crate) fn finish(self) -> Vec<ServiceRow> {
        let (seconds, points) = (seconds(self.range), self.points);
        let row = |(name, sum): (String, Sum)| ServiceRow {
            // A row covers a minute; the service was seen somewhere in it.
            last_seen: sum.last,
            requests: sum.requests,
            requests_per_s: sum.requests as f64 / seconds,
            error_ratio: sum.error_ratio(),
            p50_ns: sum.durations.quantile(0.5),
            p95_ns: sum.durations.quantile(0.95),
            p99_ns: sum.durations.quantile(0.99),
            spark: sum.spark(points),
            ..ServiceRow::unseen(name, sum.last)
        };
        self.by_name.into_iter().map(row).collect()
    }
}

impl Operations {
    pub(crate) fn new(range: TimeRange, service: &str) -> Operations {
        Operations {
            range,
            points: parts(range, SPARK_POINTS),
            service: service.to_owned(),
            by_name: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, row: &RedRow<'_>) {
        if row.service != self.service {
            return;
        }
        let mut key = (row.operation.to_owned(), row.entry);
        if self.by_name.len() >= OPERATIONS_MAX && !self.by_name.contains_key(&key) {
            crate::model::red::OTHER.clone_into(&mut key.0);
        }
        self.by_name
            .entry(key)
            .or_default()
            .add(row, self.range, self.points);
    }

    /// One row per operation: where the service is entered first, then by time spent.
    pub(crate) fn finish(self) -> Vec<OperationRow> {
        let (seconds, points) = (seconds(self.range), self.points);
        let spent = |entry: bool| -> u128 {
            let of = self.by_name.iter().filter(|((_, e), _)| *e == entry);
            of.map(|(_, sum)| sum.spent).sum()
        };
        let whole = [spent(false), spent(true)];
        let row = |((name, entry), sum): ((String, bool), Sum)| OperationRow {
            name,
            entry,
            requests: sum.requests,
            requests_per_s: sum.requests as f64 / seconds,
            error_ratio: sum.error_ratio(),
            p50_ns: sum.durations.quantile(0.5),
            p95_ns: sum.durations.quantile(0.95),
            p99_ns: sum.durations.quantile(0.99),
            time_share: sum.spent as f64 / whole[usize::from(entry)].max(1) as f64,
            spark: sum.spark(points),
        };
        let mut rows: Vec<OperationRow> = self.by_name.into_iter().map(row).collect();
        rows.sort_by(|a, b| {
            let share = b.time_share.total_cmp(&a.time_share);
            b.entry
                .cmp(&a.entry)
                .then(share)
                .then_with(|| a.name.cmp(&b.name))
        });
        rows
    }
}

impl Sum {
    fn add(&mut self, row: &RedRow<'_>, range: TimeRange, points: usize) {
        self.points.resize(points, Point::default());
        let point = &mut self.points[place(range, points, row.minute)];
        point.requests += row.cell.count;
        point.errors += row.cell.errors;
        point.durations.merge(&row.cell.durations);
        self.requests += row.cell.count;
        self.errors += row.cell.errors;
        self.durations.merge(&row.cell.durations);
        self.spent += row.cell.durations.total_ns();
    }

    fn error_ratio(&self) -> f64 {
        self.errors as f64 / self.requests.max(1) as f64
    }

    fn spark(&self, points: usize) -> Vec<SparkPoint> {
        let mut spark: Vec<SparkPoint> = self
            .points
            .iter()
            .map(|point| SparkPoint {
                requests: point.requests,
                errors: point.errors,
                p95_ns: point.durations.quantile(0.95),
            })
            .collect();
        spark.resize(points, SparkPoint::default());
        spark
    }
}

/// Equal parts of a range: `wanted`, but none shorter than a minute.
fn parts(range: TimeRange, wanted: usize) -> usize {
    let minutes = range.duration_ns().div_ceil(NANOS_PER_MINUTE);
    usize::try_from(minutes)
        .unwrap_or(wanted)
        .clamp(1, wanted.max(1))
}

/// The part a minute falls into; minutes that only touch the range go to its first or last part.
fn place(range: TimeRange, parts: usize, minute: Timestamp) -> usize {
    let into = minute.0.saturating_sub(range.start().0);
    let part = u128::from(into) * parts as u128 / u128::from(range.duration_ns().max(1));
    usize::try_from(part).unwrap_or(usize::MAX).min(parts - 1)
}

fn seconds(range: TimeRange) -> f64 {
    (range.duration_ns() as f64 / NANOS_PER_SECOND as f64).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::{Operations, Services};
    use crate::model::red::{RedCell, RedRow};
    use crate::model::time::NANOS_PER_MINUTE;
    use crate::model::{TimeRange, Timestamp};

    const HOUR: u64 = 60 * NANOS_PER_MINUTE;

    fn cell(count: u64, errors: u64, duration_ns: u64) -> RedCell {
        let mut cell = RedCell {
            count,
            errors,
            ..RedCell::default()
        };
        cell.durations.add(duration_ns, count);
        cell
    }

    fn range() -> TimeRange {
        TimeRange::new(Timestamp(10 * HOUR), Timestamp(11 * HOUR)).expect("an hour")
    }

    /// Minute of the hour, service, operation, entry, count, errors, milliseconds.
    type Given = (u64, &'static str, &'static str, bool, u64, u64, u64);

    fn each(rows: &[Given], mut give: impl FnMut(&RedRow<'_>)) {
        for (minute, service, operation, entry, count, errors, ms) in rows.iter().copied() {
            let cell = cell(count, errors, ms * 1_000_000);
            let minute = Timestamp(10 * HOUR + minute * NANOS_PER_MINUTE);
            give(&RedRow {
                minute,
                service,
                operation,
                entry,
                cell: &cell,
            });
        }
    }

    const ROWS: [Given; 5] = [
        (0, "shop", "GET /", true, 100, 0, 10),
        (59, "shop", "GET /", true, 100, 10, 200),
        (59, "shop", "POST /pay", true, 1_600, 0, 10),
        (30, "shop", "db", false, 500, 500, 3),
        (30, "worker", "poll", false, 7, 0, 3),
    ];

    #[test]
    fn only_entry_spans_count_and_percentiles_join() {
        let mut services = Services::new(range(), 396);
        each(&ROWS, |row| services.add(row));
        assert_eq!(services.errors().len(), 60, "never more bars than minutes");
        assert_eq!(
            (services.errors()[59], services.errors().iter().sum::<u64>()),
            (10, 10)
        );
        let rows = services.finish();
        let shop = &rows[0];
        assert_eq!((shop.name.as_str(), shop.requests), ("shop", 1_800));
        assert_eq!(shop.requests_per_s, 0.5);
        assert!((shop.error_ratio - 10.0 / 1_800.0).abs() < 1e-12);
        let near = |ns: Option<u64>, ms: f64| {
            (ns.expect("has requests") as f64 / 1e6 / ms - 1.0).abs() < 0.04
        };
        assert!(
            near(shop.p50_ns, 10.0) && near(shop.p99_ns, 200.0),
            "{shop:?}"
        );
        assert_eq!(
            (
                shop.spark.len(),
                shop.spark[0].requests,
                shop.spark[23].errors
            ),
            (24, 100, 10)
        );
        let worker = &rows[1];
        assert_eq!(
            (worker.requests, worker.p50_ns),
            (0, None),
            "known, but never called"
        );
        assert_eq!(worker.spark.len(), 24);
    }

    #[test]
    fn operations_share_the_time_of_their_place() {
        let mut operations = Operations::new(range(), "shop");
        each(&ROWS, |row| operations.add(row));
        let rows = operations.finish();
        let names: Vec<_> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.entry))
            .collect();
        assert_eq!(names, [("GET /", true), ("POST /pay", true), ("db", false)]);
        // 21 s of 37 s.
        assert!(
            (rows[0].time_share - 21.0 / 37.0).abs() < 0.03,
            "{}",
            rows[0].time_share
        );
        assert_eq!(rows[2].time_share, 1.0);
    }

    #[test]
    fn rows_outside_the_range_go_to_its_ends() {
        let short =
            TimeRange::new(Timestamp(10 * HOUR + 1), Timestamp(10 * HOUR + 2)).expect("short");
        let mut services = Services::new(short, 396);
        each(&ROWS[..2], |row| services.add(row));
        assert_eq!(services.errors(), [10]);
        assert_eq!(services.finish()[0].spark.len(), 1);
    }
}
