//! Counts over time in buckets that start at whole calendar units (UTC), by level or by a field.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::QueryError;
use super::answer::{Bucket, Histogram};
use super::control::{Control, Partial};
use super::lang::Expr;
use super::matcher::{FieldReader, LogMatcher, severity_of};
use super::scan::{filtered, log_units};
use crate::model::time::{NANOS_PER_DAY, NANOS_PER_HOUR, NANOS_PER_MINUTE, NANOS_PER_SECOND};
use crate::model::{Level, LogView, TimeRange, Timestamp};
use crate::store::{LogColumns, LogFilter, LogUnit, Looked, Snapshot, StoreError, Tallied};

/// Most buckets: more than any screen has columns for.
pub(crate) const BUCKETS_MAX: usize = 2_000;

/// Values with a series of their own; the rest is `other`.
const SERIES_MAX: usize = 8;

/// Distinct values counted apart; later ones are `other`.
const VALUES_MAX: usize = 1_000;

const NANOS_PER_MS: u64 = 1_000_000;

/// Bucket widths in nanoseconds, smallest first.
const WIDTHS: [u64; 30] = [
    NANOS_PER_MS,
    2 * NANOS_PER_MS,
    5 * NANOS_PER_MS,
    10 * NANOS_PER_MS,
    20 * NANOS_PER_MS,
    50 * NANOS_PER_MS,
    100 * NANOS_PER_MS,
    200 * NANOS_PER_MS,
    500 * NANOS_PER_MS,
    NANOS_PER_SECOND,
    2 * NANOS_PER_SECOND,
    5 * NANOS_PER_SECOND,
    10 * NANOS_PER_SECOND,
    15 * NANOS_PER_SECOND,
    30 * NANOS_PER_SECOND,
    NANOS_PER_MINUTE,
    2 * NANOS_PER_MINUTE,
    5 * NANOS_PER_MINUTE,
    10 * NANOS_PER_MINUTE,
    15 * NANOS_PER_MINUTE,
    30 * NANOS_PER_MINUTE,
    NANOS_PER_HOUR,
    2 * NANOS_PER_HOUR,
    3 * NANOS_PER_HOUR,
    6 * NANOS_PER_HOUR,
    12 * NANOS_PER_HOUR,
    NANOS_PER_DAY,
    7 * NANOS_PER_DAY,
    30 * NANOS_PER_DAY,
    365 * NANOS_PER_DAY,
];

/// Counts matching log records per bucket.
pub(super) fn of_logs(
    snapshot: &Snapshot,
    query: &Expr,
    range: TimeRange,
    buckets: usize,
    by: &str,
    control: &Control,
) -> Result<Histogram, QueryError> {
    if buckets == 0 || buckets > BUCKETS_MAX {
        return Err(QueryError::Invalid(format!(
            "buckets is {buckets}; it goes from 1 to {BUCKETS_MAX}"
        )));
    }
    let matcher = LogMatcher::new(query)?.over(snapshot);
    let (units, visible, mut progress) = log_units(snapshot, range, &matcher, control);
    let grid = Grid::new(snapshot.log_extent(visible), buckets);
    let mut counts = Counts::new(grid.len());
    let count = Count {
        grid: &grid,
        by: match by {
            "severity" | "level" => By::Level,
            "service" => By::Service,
            _ => By::Field(FieldReader::new(by)),
        },
        range: visible,
    };
    filtered(&matcher, visible, |filter| {
        for unit in &units {
            if !progress.may_go_on() {
                break;
            }
            let result = count.unit(unit, filter, &mut counts);
            progress.looked(unit, result);
        }
    });
    if counts.full {
        progress.cut(Partial::Rows);
    }
    let order = if matches!(count.by, By::Level) {
        counts.levels()
    } else {
        counts.most_frequent()
    };
    let (series, buckets) = counts.laid_out(&grid, &order);
    Ok(Histogram {
        bucket_ns: grid.width_ns,
        total: buckets.iter().map(|bucket| bucket.count).sum(),
        series,
        buckets,
        stats: progress.stats(),
    })
}

/// What the counts are split by.
#[derive(Debug)]
enum By {
    Level,
    Service,
    Field(FieldReader),
}

/// How the records of one unit after the other are counted.
#[derive(Debug)]
struct Count<'g> {
    grid: &'g Grid,
    by: By,
    range: TimeRange,
}

impl Count<'_> {
    /// Counts by the directory where that tells, record by record otherwise.
    fn unit(
        &self,
        unit: &LogUnit,
        filter: &LogFilter<'_>,
        counts: &mut Counts,
    ) -> Result<Looked, StoreError> {
        let grid = self.grid;
        let tallied = match &self.by {
            By::Field(_) => Tallied::Nothing,
            by => unit.tally(
                filter,
                self.range,
                grid.width_ns,
                &mut |at, level, service, n| match by {
                    By::Service => counts.add(grid.bucket(at), Some(service), n),
                    _ => counts.add_level(grid.bucket(at), level, n),
                },
            )?,
        };
        let filter = match tallied {
            Tallied::All => return Ok(Looked::Skipped),
            Tallied::Certain => &LogFilter {
                only_asked: true,
                ..*filter
            },
            Tallied::Nothing => filter,
        };
        let shown = match &self.by {
            By::Level => LogColumns::TEXT,
            By::Service => LogColumns::NONE,
            By::Field(field) => field.log_columns(),
        };
        unit.matching(filter, shown, &mut |_, log| {
            let bucket = grid.bucket(log.at);
            match &self.by {
                By::Level => counts.add_level(bucket, severity_of(log).level(), 1),
                By::Service => counts.add(bucket, Some(log.resource.service()), 1),
                By::Field(field) => count_field(field, log, bucket, counts),
            }
            ControlFlow::Continue(())
        })
    }
}

impl Histogram {
    /// The same counts in at most `buckets` wider buckets, of a width that the narrow ones fill.
    pub(crate) fn joined(self, buckets: usize) -> Histogram {
        let (Some(first), Some(last)) = (self.buckets.first(), self.buckets.last()) else {
            return self;
        };
        let (first, last) = (first.start.0, last.start.0);
        let fits = |width: &&u64| {
            let count = last / **width - first / **width + 1;
            width.is_multiple_of(self.bucket_ns) && count <= buckets as u64
        };
        let Some(&width_ns) = WIDTHS.iter().find(fits) else {
            return self;
        };
        let mut joined: Vec<Bucket> = Vec::with_capacity(buckets);
        for narrow in self.buckets {
            match joined.last_mut() {
                Some(wide) if wide.start.0 / width_ns == narrow.start.0 / width_ns => {
                    wide.end = narrow.end;
                    wide.count += narrow.count;
                    for (sum, count) in wide.by.iter_mut().zip(narrow.by) {
                        *sum += count;
                    }
                }
                _ => joined.push(narrow),
            }
        }
        Histogram {
            bucket_ns: width_ns,
            buckets: joined,
            ..self
        }
    }
}

/// A record counts once, by the first of its values.
fn count_field(field: &FieldReader, log: &LogView<'_>, bucket: usize, counts: &mut Counts) {
    let mut counted = false;
    field.log_text(log, &mut |value| {
        if !counted {
            counts.add(bucket, Some(value), 1);
            counted = true;
        }
    });
    if !counted {
        counts.add(bucket, None, 1);
    }
}

/// The buckets of a range.
#[derive(Debug)]
pub(super) struct Grid {
    range: TimeRange,
    width_ns: u64,
    /// Number of the first bucket, counted from the epoch.
    first: u64,
    buckets: usize,
}

impl Grid {
    /// At most `buckets` buckets, as narrow as the widths allow.
    pub(super) fn new(range: TimeRange, buckets: usize) -> Grid {
        let number = |at: u64, width: u64| at / width;
        let last = range.end().0.saturating_sub(1).max(range.start().0);
        let count = |width: u64| number(last, width) - number(range.start().0, width) + 1;
        let fits = |width: &&u64| count(**width) <= buckets as u64;
        // A range of centuries in one bucket: wider than all widths.
        let width_ns = WIDTHS.iter().find(fits).copied().unwrap_or(u64::MAX);
        Grid {
            range,
            width_ns,
            first: number(range.start().0, width_ns),
            buckets: count(width_ns) as usize,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.buckets
    }

    pub(super) fn width_ns(&self) -> u64 {
        self.width_ns
    }

    pub(super) fn start(&self, bucket: usize) -> Timestamp {
        self.bounds(bucket).0
    }

    pub(super) fn bucket(&self, at: Timestamp) -> usize {
        let number = (at.0 / self.width_ns).saturating_sub(self.first);
        (number as usize).min(self.buckets - 1)
    }

    fn bounds(&self, bucket: usize) -> (Timestamp, Timestamp) {
        let start = (self.first + bucket as u64).saturating_mul(self.width_ns);
        let end = start.saturating_add(self.width_ns);
        (
            Timestamp(start).max(self.range.start()),
            Timestamp(end).min(self.range.end()),
        )
    }
}

/// Counts per value and bucket.
#[derive(Debug)]
struct Counts {
    buckets: usize,
    /// Which row of `rows` a value has. Row 0 is "no value", row 1 "other".
    rows_of: HashMap<String, usize>,
    rows: Vec<Vec<u64>>,
    /// The row of each level that was seen; 0 of the others.
    levels: [usize; Level::ALL.len()],
    /// Some values were not counted apart.
    full: bool,
}

const MISSING: usize = 0;
const OTHER: usize = 1;

impl Counts {
    fn new(buckets: usize) -> Counts {
        Counts {
            buckets,
            rows_of: HashMap::new(),
            rows: vec![vec![0; buckets]; 2],
            levels: [0; Level::ALL.len()],
            full: false,
        }
    }

    fn add(&mut self, bucket: usize, value: Option<&str>, n: u64) {
        let row = match value {
            None => MISSING,
            Some(value) => match self.rows_of.get(value) {
                Some(row) => *row,
                None => self.new_row(value),
            },
        };
        self.rows[row][bucket] += n;
    }

    /// As [`Counts::add`], without looking a name up.
    fn add_level(&mut self, bucket: usize, level: Level, n: u64) {
        if self.levels[level as usize] == 0 {
            self.levels[level as usize] = self.new_row(level.name());
        }
        self.rows[self.levels[level as usize]][bucket] += n;
    }

    fn new_row(&mut self, value: &str) -> usize {
        if self.rows_of.len() >= VALUES_MAX {
            self.full = true;
            return OTHER;
        }
        self.rows.push(vec![0; self.buckets]);
        self.rows_of.insert(value.to_owned(), self.rows.len() - 1);
        self.rows.len() - 1
    }

    /// The levels seen, in their order.
    fn levels(&self) -> Vec<String> {
        let names = Level::ALL.iter().map(|level| level.name());
        let seen = names.filter(|name| self.rows_of.contains_key(*name));
        seen.map(str::to_owned).collect()
    }

    /// The values that get a series of their own.
    fn most_frequent(&self) -> Vec<String> {
        let total = |row: &usize| self.rows[*row].iter().sum::<u64>();
        let mut values: Vec<(&String, u64)> = self
            .rows_of
            .iter()
            .map(|(value, row)| (value, total(row)))
            .collect();
        values.sort_unstable_by(|(a, an), (b, bn)| bn.cmp(an).then_with(|| a.cmp(b)));
        values.truncate(SERIES_MAX);
        values.into_iter().map(|(value, _)| value.clone()).collect()
    }

    /// The series in their order, `other` and the missing last, and the buckets.
    fn laid_out(mut self, grid: &Grid, order: &[String]) -> (Vec<String>, Vec<Bucket>) {
        let mut series = order.to_vec();
        let mut rows: Vec<Vec<u64>> = order
            .iter()
            .filter_map(|value| self.rows_of.remove(value))
            .map(|row| std::mem::take(&mut self.rows[row]))
            .collect();
        let mut other = std::mem::take(&mut self.rows[OTHER]);
        for row in self.rows_of.values() {
            for (sum, count) in other.iter_mut().zip(&self.rows[*row]) {
                *sum += count;
            }
        }
        for (name, row) in [
            ("other", other),
            ("", std::mem::take(&mut self.rows[MISSING])),
        ] {
            if row.iter().any(|count| *count > 0) {
                series.push(name.to_owned());
                rows.push(row);
            }
        }
        let bucket = |number: usize| {
            let by: Vec<u64> = rows.iter().map(|row| row[number]).collect();
            let (start, end) = grid.bounds(number);
            Bucket {
                start,
                end,
                count: by.iter().sum(),
                by,
            }
        };
        (series, (0..grid.len()).map(bucket).collect())
    }
}
