//! Rate, errors and durations of spans, by minute, service and operation: small enough to keep
//! beside the spans for as long as they are kept, exact in counts, within 3 % in durations.

use std::collections::HashMap;

use super::record::SpanView;
use super::time::{NANOS_PER_MINUTE, Timestamp};
use super::write::varint;

/// Names of services and operations of one table. A team has a few hundred; past this, operations are
/// data (ids in span names) and go under [`OTHER`] of their service.
pub(crate) const NAMES_MAX: usize = 8192;

/// The operation that stands for those past [`NAMES_MAX`].
pub(crate) const OTHER: &str = "(other)";

/// Spans of one minute and operation that a table can tell.
const COUNT_MAX: u64 = 1 << 40;

/// Version of the encoding (docs/formats/red.md).
const VERSION: u64 = 1;

/// Buckets per doubling of a duration: the middle of a bucket is within 3.2 % of all in it.
const STEPS: u32 = 16;

/// Durations of one row: a count for each bucket of a log-linear scale.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sketch {
    /// Bucket number and count, by rising number; no zero counts.
    buckets: Vec<(u16, u64)>,
}

/// Counts of one minute, service, operation and place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RedCell {
    pub(crate) count: u64,
    pub(crate) errors: u64,
    pub(crate) durations: Sketch,
}

/// One row of a [`RedTable`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct RedRow<'a> {
    /// Start of the minute.
    pub(crate) minute: Timestamp,
    pub(crate) service: &'a str,
    pub(crate) operation: &'a str,
    /// Whether these spans are where the service was called: of kind server or consumer, or
    /// without a parent.
    pub(crate) entry: bool,
    pub(crate) cell: &'a RedCell,
}

/// Minutes since the epoch, numbers of service and operation, entry.
type Key = (u64, u32, u32, bool);

/// The rows of one head or segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct RedTable {
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
    cells: Vec<(Key, RedCell)>,
    places: HashMap<Key, usize>,
}

/// A row of one [`RedTable`], for callers that count many spans into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RedPlace(usize);

/// Encoded rows that are not what [`RedTable::encode`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadRed(pub(crate) &'static str);

/// `SpanKind` server and consumer.
const KIND_SERVER: i32 = 2;
const KIND_CONSUMER: i32 = 5;

impl RedTable {
    pub(crate) fn add(&mut self, span: &SpanView<'_>) {
        let entry = span.parent.is_none() || matches!(span.kind, KIND_SERVER | KIND_CONSUMER);
        let place = self.place(span.at, span.resource.service(), span.name, entry);
        self.count(place, span.is_error(), span.duration_ns());
    }

    /// The row of spans that lie in the minute of `at`.
    pub(crate) fn place(
        &mut self,
        at: Timestamp,
        service: &str,
        operation: &str,
        entry: bool,
    ) -> RedPlace {
        let key = self.key(at.0 / NANOS_PER_MINUTE, service, operation, entry);
        RedPlace(self.cell(key))
    }

    /// Counts one span.
    pub(crate) fn count(&mut self, place: RedPlace, is_error: bool, duration_ns: u64) {
        let (_, cell) = &mut self.cells[place.0];
        cell.count += 1;
        cell.errors += u64::from(is_error);
        cell.durations.add(duration_ns, 1);
    }

    /// Counts the rows of another table in.
    pub(crate) fn merge(&mut self, other: &RedTable) {
        for row in other.rows().filter(|row| row.cell.count > 0) {
            let cell = self.row(&row);
            cell.count += row.cell.count;
            cell.errors += row.cell.errors;
            cell.durations.merge(&row.cell.durations);
        }
    }

    /// What is left once the spans that `other` counts are taken out again.
    pub(crate) fn without(mut self, other: &RedTable) -> RedTable {
        for row in other.rows() {
            let cell = self.row(&row);
            cell.count = cell.count.saturating_sub(row.cell.count);
            cell.errors = cell.errors.saturating_sub(row.cell.errors);
            cell.durations.take(&row.cell.durations);
        }
        let mut left = RedTable::default();
        left.merge(&self);
        left
    }

    /// The same row of this table, made when it is not there.
    fn row(&mut self, row: &RedRow<'_>) -> &mut RedCell {
        let minute = row.minute.0 / NANOS_PER_MINUTE;
        let key = self.key(minute, row.service, row.operation, row.entry);
        let place = self.cell(key);
        &mut self.cells[place].1
    }

    /// The rows, in no order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = RedRow<'_>> {
        self.cells
            .iter()
            .map(|((minute, service, operation, entry), cell)| RedRow {
                minute: Timestamp(minute * NANOS_PER_MINUTE),
                service: &self.names[*service as usize],
                operation: &self.names[*operation as usize],
                entry: *entry,
                cell,
            })
    }

    fn key(&mut self, minute: u64, service: &str, operation: &str, entry: bool) -> Key {
        let service = self.number(service);
        let operation = match self.numbers.get(operation) {
            Some(number) => *number,
            None if self.names.len() < NAMES_MAX => self.number(operation),
            None => self.number(OTHER),
        };
        (minute, service, operation, entry)
    }

    fn cell(&mut self, key: Key) -> usize {
        let next = self.cells.len();
        let place = *self.places.entry(key).or_insert(next);
        if place == next {
            self.cells.push((key, RedCell::default()));
        }
        place
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }

    /// Appends the table: names, then rows in the order of service, operation, entry, minute.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        varint(out, VERSION);
        varint(out, self.names.len() as u64);
        for name in &self.names {
            varint(out, name.len() as u64);
            out.extend_from_slice(name.as_bytes());
        }
        let mut rows: Vec<&(Key, RedCell)> = self.cells.iter().collect();
        rows.sort_unstable_by_key(|((minute, service, operation, entry), _)| {
            (*service, *operation, *entry, *minute)
        });
        varint(out, rows.len() as u64);
        for ((minute, service, operation, entry), cell) in rows {
            for number in [
                u64::from(*service),
                u64::from(*operation) << 1 | u64::from(*entry),
                *minute,
                cell.count,
                cell.errors,
                cell.durations.buckets.len() as u64,
            ] {
                varint(out, number);
            }
            let mut last = 0;
            for (bucket, count) in &cell.durations.buckets {
                varint(out, u64::from(bucket - last));
                varint(out, *count);
                last = *bucket;
            }
        }
    }

    /// The inverse of [`RedTable::encode`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<RedTable, BadRed> {
        let mut reader = Reader(bytes);
        if reader.varint()? != VERSION {
            return Err(BadRed("unknown version of RED rows"));
        }
        let mut names: Vec<Box<str>> = Vec::new();
        for _ in 0..reader.varint()? {
            let len = reader.varint()?;
            let name = std::str::from_utf8(reader.take(len)?);
            names.push(name.map_err(|_| BadRed("a name is not UTF-8"))?.into());
        }
        let mut table = RedTable::default();
        for _ in 0..reader.varint()? {
            let name = |number: u64| {
                let name = usize::try_from(number).ok().and_then(|n| names.get(n));
                name.ok_or(BadRed("a RED row has a name that is not there"))
            };
            let service = name(reader.varint()?)?;
            let operation = reader.varint()?;
            let entry = operation & 1 == 1;
            let operation = name(operation >> 1)?;
            let minute = reader.varint()?;
            if minute > u64::MAX / NANOS_PER_MINUTE {
                return Err(BadRed("a RED row lies past the end of time"));
            }
            let (count, errors) = (reader.count()?, reader.count()?);
            let durations = Sketch::read(&mut reader)?;
            let cell = RedCell {
                count,
                errors,
                durations,
            };
            let key = (
                minute,
                table.number(service),
                table.number(operation),
                entry,
            );
            let place = table.cell(key);
            table.cells[place].1 = cell;
        }
        Ok(table)
    }
}

impl Sketch {
    /// Counts `n` spans of this duration in.
    pub(crate) fn add(&mut self, duration_ns: u64, n: u64) {
        self.add_bucket(bucket(duration_ns), n);
    }

    fn add_bucket(&mut self, bucket: u16, n: u64) {
        match self.buckets.binary_search_by_key(&bucket, |(b, _)| *b) {
            Ok(at) => self.buckets[at].1 += n,
            Err(at) => self.buckets.insert(at, (bucket, n)),
        }
    }

    pub(crate) fn merge(&mut self, other: &Sketch) {
        for (bucket, n) in &other.buckets {
            self.add_bucket(*bucket, *n);
        }
    }

    fn take(&mut self, other: &Sketch) {
        for (bucket, n) in &mut self.buckets {
            let taken = other.buckets.binary_search_by_key(bucket, |(b, _)| *b);
            *n = n.saturating_sub(taken.map_or(0, |at| other.buckets[at].1));
        }
        self.buckets.retain(|(_, n)| *n > 0);
    }

    /// The middle of each bucket in nanoseconds with its count, by rising duration.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.buckets.iter().map(|(bucket, n)| (middle(*bucket), *n))
    }

    /// The share of spans, 0 to 1, that took less; those of the same bucket count half.
    pub(crate) fn rank(&self, duration_ns: u64) -> f64 {
        let at = bucket(duration_ns);
        let below = |(bucket, n): &(u16, u64)| match bucket.cmp(&at) {
            std::cmp::Ordering::Less => *n as f64,
            std::cmp::Ordering::Equal => *n as f64 / 2.0,
            std::cmp::Ordering::Greater => 0.0,
        };
        self.buckets.iter().map(below).sum::<f64>() / self.count().max(1) as f64
    }

    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, n)| n).sum()
    }

    /// The sum of all durations in nanoseconds, as near as the middles of the buckets are.
    pub(crate) fn total_ns(&self) -> u128 {
        let spent = |(bucket, n): &(u16, u64)| u128::from(middle(*bucket)) * u128::from(*n);
        self.buckets.iter().map(spent).sum()
    }

    /// The duration in nanoseconds that a share of `q` (0 to 1) of spans do not exceed; `None` when
    /// there are none.
    pub(crate) fn quantile(&self, q: f64) -> Option<u64> {
        let rank = (q.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, n) in &self.buckets {
            seen += n;
            if seen >= rank {
                return Some(middle(*bucket));
            }
        }
        None
    }

    fn read(reader: &mut Reader<'_>) -> Result<Sketch, BadRed> {
        let (mut sketch, mut last) = (Sketch::default(), 0u64);
        for _ in 0..reader.varint()? {
            last = last.saturating_add(reader.varint()?);
            let bucket = u16::try_from(last).map_err(|_| BadRed("a bucket is too large"))?;
            if bucket > bucket_of_max() {
                return Err(BadRed("a bucket is too large"));
            }
            sketch.add_bucket(bucket, reader.count()?);
        }
        Ok(sketch)
    }
}

/// The bucket of a duration: itself below 16 ns, then 16 equal steps for each doubling.
fn bucket(ns: u64) -> u16 {
    if ns < u64::from(STEPS) {
        return ns as u16;
    }
    let exponent = ns.ilog2() - STEPS.ilog2();
    (exponent * STEPS) as u16 + (ns >> exponent) as u16
}

fn bucket_of_max() -> u16 {
    bucket(u64::MAX)
}

/// The middle of a bucket in nanoseconds.
fn middle(bucket: u16) -> u64 {
    let (bucket, steps) = (u64::from(bucket), u64::from(STEPS));
    if bucket < 2 * steps {
        return bucket;
    }
    let exponent = bucket / steps - 1;
    let low = (bucket - exponent * steps) << exponent;
    low + (1 << exponent) / 2
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: u64) -> Result<&'a [u8], BadRed> {
        let short = BadRed("RED rows are cut short");
        let n = usize::try_from(n).map_err(|_| short)?;
        let (head, rest) = self.0.split_at_checked(n).ok_or(short)?;
        self.0 = rest;
        Ok(head)
    }

    /// A number of spans: sums of them fit what they are added up in.
    fn count(&mut self) -> Result<u64, BadRed> {
        let n = self.varint()?;
        match n <= COUNT_MAX {
            true => Ok(n),
            false => Err(BadRed("a count is larger than any")),
        }
    }

    fn varint(&mut self) -> Result<u64, BadRed> {
        let mut value = 0;
        for i in 0..10 {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(BadRed("a number has more than 10 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_duration_is_near_the_middle_of_its_bucket() {
        for shift in 0..64 {
            for ns in [1u64 << shift, (1 << shift) + (1 << shift) / 3] {
                let off = middle(bucket(ns)).abs_diff(ns) as f64 / ns as f64;
                assert!(off <= 0.032, "{ns} is {off} off");
            }
        }
        assert!(middle(bucket(u64::MAX)) > u64::MAX / 16 * 15);
    }

    #[test]
    fn quantiles_rank_spans() {
        let mut sketch = Sketch::default();
        (1..=100).for_each(|ms| sketch.add(ms * 1_000_000, 1));
        let near = |q, ms: u64| {
            let found = sketch.quantile(q).expect("not empty");
            assert!(found.abs_diff(ms * 1_000_000) < ms * 40_000, "{q}: {found}");
        };
        near(0.5, 50);
        near(0.95, 95);
        near(1.0, 100);
        assert!(
            (sketch.rank(50_000_000) - 0.495).abs() < 0.03,
            "{}",
            sketch.rank(50_000_000)
        );
        assert_eq!((sketch.rank(1), sketch.rank(u64::MAX)), (0.0, 1.0));
        assert_eq!(Sketch::default().quantile(0.5), None);
    }

    /// Rows as text, in order.
    fn render(table: &RedTable) -> Vec<String> {
        let mut rows: Vec<String> = table.rows().map(|row| format!("{row:?}")).collect();
        rows.sort();
        rows
    }

    fn table(spans: &[(u64, u8, u8, bool, u64)]) -> RedTable {
        let mut table = RedTable::default();
        for (minute, service, operation, entry, ns) in spans {
            let (service, operation) = (format!("s{service}"), format!("o{operation}"));
            let at = Timestamp(minute * NANOS_PER_MINUTE);
            let place = table.place(at, &service, &operation, *entry);
            table.count(place, ns % 2 == 1, *ns);
        }
        table
    }

    proptest! {
        #[test]
        fn tables_read_back_and_merging_adds(
            a in prop::collection::vec((0u64..5, 0u8..3, 0u8..9, any::<bool>(), any::<u64>()), 0..60),
            b in prop::collection::vec((0u64..5, 0u8..3, 0u8..9, any::<bool>(), any::<u64>()), 0..60),
        ) {
            let mut bytes = Vec::new();
            let mut merged = table(&a);
            merged.encode(&mut bytes);
            prop_assert_eq!(render(&RedTable::decode(&bytes).unwrap()), render(&merged));
            merged.merge(&table(&b));
            prop_assert_eq!(render(&merged), render(&table(&[a.clone(), b.clone()].concat())));
            prop_assert_eq!(render(&merged.without(&table(&a))), render(&table(&b)));
        }

        #[test]
        fn any_bytes_are_rows_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = RedTable::decode(&[&[1][..], &bytes].concat());
        }
    }
}
