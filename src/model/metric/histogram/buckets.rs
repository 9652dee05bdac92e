//! What the buckets of a histogram are: their bounds, and walks over them.

use std::fmt;

use super::super::number::go_general;
use super::bounds::exponential_bound;
use super::{Histogram, Span};

/// One bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) lower_inclusive: bool,
    pub(crate) upper_inclusive: bool,
    pub(crate) count: f64,
}

/// As Prometheus writes a bucket: `(0.5,1]:3`.
impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        let [lower, upper, count] = [self.lower, self.upper, self.count].map(go_general);
        write!(f, "{open}{lower},{upper}{close}:{count}")
    }
}

/// Walks the buckets of spans: index and count.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a> {
    spans: std::slice::Iter<'a, Span>,
    counts: std::slice::Iter<'a, f64>,
    next: i32,
    left: u32,
}

pub(super) fn entries<'a>(spans: &'a [Span], counts: &'a [f64]) -> Entries<'a> {
    Entries {
        spans: spans.iter(),
        counts: counts.iter(),
        next: 0,
        left: 0,
    }
}

impl Iterator for Entries<'_> {
    type Item = (i32, f64);

    fn next(&mut self) -> Option<(i32, f64)> {
        while self.left == 0 {
            let span = self.spans.next()?;
            self.next = self.next.wrapping_add(span.offset);
            self.left = span.length;
        }
        let index = self.next;
        self.next = self.next.wrapping_add(1);
        self.left -= 1;
        self.counts.next().map(|count| (index, *count))
    }
}

/// Spans and counts of buckets in ascending order of index: the inverse of [`entries`].
pub(super) fn encode(buckets: impl IntoIterator<Item = (i32, f64)>) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut counts): (Vec<Span>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut end = 0;
    for (index, count) in buckets {
        match spans.last_mut() {
            Some(span) if end == index => span.length += 1,
            _ => spans.push(Span {
                offset: index - end,
                length: 1,
            }),
        }
        counts.push(count);
        end = index + 1;
    }
    (spans, counts)
}

/// The index of the same bucket at a lower resolution.
pub(super) fn reduced_index(index: i32, from: i32, to: i32) -> i32 {
    ((index - 1) >> (from - to).min(31)) + 1
}

/// Buckets at a lower (or the same) resolution, counts added up.
pub(super) fn reduced(spans: &[Span], counts: &[f64], from: i32, to: i32) -> Vec<(i32, f64)> {
    let mut merged: Vec<(i32, f64)> = Vec::with_capacity(counts.len());
    for (index, count) in entries(spans, counts) {
        let index = reduced_index(index, from, to);
        match merged.last_mut() {
            Some(last) if last.0 == index => last.1 += count,
            _ => merged.push((index, count)),
        }
    }
    merged
}

impl Histogram {
    /// The upper bound of a positive bucket.
    pub(super) fn bound(&self, index: i32) -> f64 {
        if !self.has_custom_bounds() {
            return exponential_bound(index, self.schema);
        }
        match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(index) => self.custom_bounds.get(index).map_or(f64::INFINITY, |b| *b),
        }
    }

    /// Positive buckets, ascending.
    pub(crate) fn positive_buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        let custom = self.has_custom_bounds();
        entries(&self.positive_spans, &self.positive_counts).map(move |(index, count)| {
            let (lower, upper) = (self.bound(index - 1), self.bound(index));
            Bucket {
                lower,
                upper,
                lower_inclusive: if custom { index == 0 } else { lower < 0.0 },
                upper_inclusive: custom || upper > 0.0,
                count,
            }
        })
    }

    /// Negative buckets from zero downwards.
    pub(crate) fn negative_buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        entries(&self.negative_spans, &self.negative_counts).map(|(index, count)| Bucket {
            lower: -self.bound(index),
            upper: -self.bound(index - 1),
            lower_inclusive: true,
            upper_inclusive: false,
            count,
        })
    }

    pub(crate) fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    /// All buckets, ascending, the zero bucket only when it holds something. Where the zero bucket
    /// reaches into a neighbour, that one begins at the threshold.
    pub(crate) fn all_buckets(&self) -> Vec<Bucket> {
        let room = self.positive_counts.len() + self.negative_counts.len() + 1;
        let mut all = Vec::with_capacity(room);
        all.extend(self.negative_buckets().map(|mut bucket| {
            if bucket.upper < 0.0 && bucket.upper > -self.zero_threshold {
                bucket.upper = -self.zero_threshold;
            }
            bucket
        }));
        all.reverse();
        if self.zero_count > 0.0 {
            all.push(self.zero_bucket());
        }
        all.extend(self.positive_buckets().map(|mut bucket| {
            if bucket.lower > 0.0 && bucket.lower < self.zero_threshold {
                bucket.lower = self.zero_threshold;
            }
            bucket
        }));
        all
    }
}

/// As `count_values` and the API write it: `{count:3, sum:5, (0.5,1]:1, (1,2]:2}`.
impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, sum) = (go_general(self.count), go_general(self.sum));
        write!(f, "{{count:{count}, sum:{sum}")?;
        let filled = |bucket: &Bucket| bucket.count != 0.0;
        let negative: Vec<Bucket> = self.negative_buckets().filter(filled).collect();
        for bucket in negative.iter().rev() {
            write!(f, ", {bucket}")?;
        }
        if self.zero_count != 0.0 {
            write!(f, ", {}", self.zero_bucket())?;
        }
        for bucket in self.positive_buckets().filter(filled) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}
