//! Adding, subtracting and scaling histograms (Prometheus `histogram.FloatHistogram`).

use super::bounds::exponential_bound;
use super::buckets::{encode, entries, reduced};
use super::{CounterReset, Histogram, Span};

/// Why two histograms cannot be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incompatible {
    /// One has custom bounds, the other has not.
    Schema,
    /// Both have custom bounds, but not the same.
    Bounds,
}

impl Histogram {
    /// Multiplies all counts and the sum.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.map_counts(|count| count * factor);
    }

    /// Divides all counts and the sum. A division by zero leaves no bucket.
    pub(crate) fn divide(&mut self, by: f64) {
        self.map_counts(|count| count / by);
        if by == 0.0 {
            self.positive_spans.clear();
            self.positive_counts.clear();
            self.negative_spans.clear();
            self.negative_counts.clear();
        }
    }

    fn map_counts(&mut self, change: impl Fn(f64) -> f64) {
        let own = [&mut self.zero_count, &mut self.count, &mut self.sum];
        let buckets = self.positive_counts.iter_mut();
        for value in own
            .into_iter()
            .chain(buckets)
            .chain(&mut self.negative_counts)
        {
            *value = change(*value);
        }
    }

    /// Adds another histogram; what this one is afterwards has the lower resolution and the wider
    /// zero bucket of both. It may have empty buckets: see [`Histogram::compact`].
    ///
    /// # Errors
    /// See [`Incompatible`]; nothing has changed then.
    pub(crate) fn add(&mut self, other: &Histogram) -> Result<(), Incompatible> {
        self.check(other)?;
        self.reset = joined_reset(self.reset, other.reset);
        self.combine(other, |a, b| a + b);
        Ok(())
    }

    /// Subtracts another histogram. See [`Histogram::add`]; what is known of resets stays.
    pub(crate) fn subtract(&mut self, other: &Histogram) -> Result<(), Incompatible> {
        self.check(other)?;
        self.combine(other, |a, b| a - b);
        Ok(())
    }

    fn check(&self, other: &Histogram) -> Result<(), Incompatible> {
        if self.has_custom_bounds() != other.has_custom_bounds() {
            return Err(Incompatible::Schema);
        }
        if self.has_custom_bounds() && !same_bits(&self.custom_bounds, &other.custom_bounds) {
            return Err(Incompatible::Bounds);
        }
        Ok(())
    }

    fn combine(&mut self, other: &Histogram, join: impl Fn(f64, f64) -> f64) {
        let mut other_zero = other.zero_count;
        if !self.has_custom_bounds() {
            other_zero = self.widen_zero_bucket(other);
            self.reduce(self.schema.min(other.schema));
        }
        self.zero_count = join(self.zero_count, other_zero);
        self.count = join(self.count, other.count);
        self.sum = join(self.sum, other.sum);
        let sides = [
            (
                &mut self.positive_spans,
                &mut self.positive_counts,
                (&other.positive_spans, &other.positive_counts),
            ),
            (
                &mut self.negative_spans,
                &mut self.negative_counts,
                (&other.negative_spans, &other.negative_counts),
            ),
        ];
        for (spans, counts, (other_spans, other_counts)) in sides {
            if spans == other_spans
                && self.schema == other.schema
                && self.zero_threshold == other.zero_threshold
            {
                for (count, other) in counts.iter_mut().zip(other_counts) {
                    *count = join(*count, *other);
                }
                continue;
            }
            let mut theirs = reduced_to(other_spans, other_counts, other.schema, self.schema);
            if !other.has_custom_bounds() {
                let inside = |&(index, _): &(i32, f64)| {
                    exponential_bound(index, self.schema) <= self.zero_threshold
                };
                let hidden = theirs.iter().take_while(|bucket| inside(bucket)).count();
                theirs.drain(..hidden);
            }
            (*spans, *counts) = encode(union(entries(spans, counts), theirs, &join));
        }
    }

    /// Lowers the resolution. Of exponential schemas only.
    pub(crate) fn reduce(&mut self, schema: i32) {
        if schema >= self.schema {
            return;
        }
        let from = self.schema;
        let lower = |spans: &[Span], counts: &[f64]| encode(reduced(spans, counts, from, schema));
        (self.positive_spans, self.positive_counts) =
            lower(&self.positive_spans, &self.positive_counts);
        (self.negative_spans, self.negative_counts) =
            lower(&self.negative_spans, &self.negative_counts);
        self.schema = schema;
    }

    /// Leaves out empty buckets and joins spans that touch (Prometheus `Compact(0)`).
    pub(crate) fn compact(&mut self) {
        for (spans, counts) in [
            (&mut self.positive_spans, &mut self.positive_counts),
            (&mut self.negative_spans, &mut self.negative_counts),
        ] {
            let tidy = spans
                .iter()
                .enumerate()
                .all(|(i, s)| s.length > 0 && (i == 0 || s.offset > 0));
            if !tidy || counts.contains(&0.0) {
                let filled = entries(spans, counts).filter(|(_, count)| *count != 0.0);
                let filled: Vec<(i32, f64)> = filled.collect();
                (*spans, *counts) = encode(filled);
            }
        }
    }

    /// Makes the zero bucket as wide as both need, such that its threshold is inside no filled bucket
    /// of either. Gives the count that the other's zero bucket would have.
    fn widen_zero_bucket(&mut self, other: &Histogram) -> f64 {
        let (mut count, mut threshold) = (other.zero_count, other.zero_threshold);
        while threshold != self.zero_threshold {
            if self.zero_threshold > threshold {
                (count, threshold) = other.zero_count_at(self.zero_threshold);
            }
            if threshold > self.zero_threshold {
                (self.zero_count, self.zero_threshold) = self.zero_count_at(threshold);
                self.drop_inside_zero_bucket();
            }
        }
        count
    }

    /// The count of the zero bucket if its threshold were this larger one, and the threshold that it
    /// takes for no filled bucket to be cut. NaN never widens: it compares as no change.
    pub(super) fn zero_count_at(&self, mut threshold: f64) -> (f64, f64) {
        if threshold == self.zero_threshold {
            return (self.zero_count, threshold);
        }
        loop {
            let mut total = self.zero_count;
            let before = threshold;
            for (spans, counts) in [
                (&self.positive_spans, &self.positive_counts),
                (&self.negative_spans, &self.negative_counts),
            ] {
                for (index, count) in entries(spans, counts) {
                    if self.bound(index - 1) >= threshold {
                        break;
                    }
                    total += count;
                    let upper = self.bound(index);
                    if upper > threshold {
                        if count != 0.0 {
                            threshold = upper;
                        }
                        break;
                    }
                }
            }
            // Widened for one side: the other has to be looked at again with the new threshold.
            if threshold == before {
                return (total, threshold);
            }
        }
    }

    fn drop_inside_zero_bucket(&mut self) {
        let (schema, threshold) = (self.schema, self.zero_threshold);
        for (spans, counts) in [
            (&mut self.positive_spans, &mut self.positive_counts),
            (&mut self.negative_spans, &mut self.negative_counts),
        ] {
            let outside = entries(spans, counts)
                .skip_while(|(index, _)| exponential_bound(index - 1, schema) < threshold)
                .filter(|(_, count)| *count != 0.0);
            let outside: Vec<(i32, f64)> = outside.collect();
            (*spans, *counts) = encode(outside);
        }
    }
}

/// What is known of resets of a sum: a gauge makes a gauge, what is not known stays so, and a reset
/// beside none is not known.
fn joined_reset(a: CounterReset, b: CounterReset) -> CounterReset {
    if a == b {
        a
    } else if a == CounterReset::Gauge || b == CounterReset::Gauge {
        CounterReset::Gauge
    } else {
        CounterReset::Unknown
    }
}

fn reduced_to(spans: &[Span], counts: &[f64], from: i32, to: i32) -> Vec<(i32, f64)> {
    if from == to {
        entries(spans, counts).collect()
    } else {
        reduced(spans, counts, from, to)
    }
}

/// Buckets of either side, ascending; a side without the bucket has it empty.
fn union(
    left: impl Iterator<Item = (i32, f64)>,
    right: Vec<(i32, f64)>,
    join: impl Fn(f64, f64) -> f64,
) -> Vec<(i32, f64)> {
    let (mut left, mut right) = (left.peekable(), right.into_iter().peekable());
    let mut all = Vec::new();
    loop {
        let index = match (left.peek(), right.peek()) {
            (Some(l), Some(r)) => l.0.min(r.0),
            (Some(one), None) | (None, Some(one)) => one.0,
            (None, None) => return all,
        };
        let mine = left.next_if(|bucket| bucket.0 == index);
        let theirs = right.next_if(|bucket| bucket.0 == index);
        let count = |bucket: Option<(i32, f64)>| bucket.map_or(0.0, |(_, count)| count);
        all.push((index, join(count(mine), count(theirs))));
    }
}

/// Equal by bits: a NaN equals itself, and zero is not minus zero.
pub(super) fn same_bits(a: &[f64], b: &[f64]) -> bool {
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<u64>>();
    a.len() == b.len() && (a == b || bits(a) == bits(b))
}
