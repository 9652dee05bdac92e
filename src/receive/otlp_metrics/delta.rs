//! Delta temporality made cumulative, as PromQL counts.
//!
//! A series begins at its first delta and grows by each later one. A restart of ours, or a series that
//! had to make room, begins again at its next delta: to PromQL a counter reset, which `rate` takes for
//! what it is. A point at the time of the last one is taken for a retry: what is known already is told
//! again and nothing is added. An older point cannot be added any more and is left out.
//!
//! Bounded: two generations of at most [`GENERATION_BYTES`] each. A series that is met moves to the
//! young one; when that is full, the old one is forgotten.

use std::collections::HashMap;
use std::sync::Mutex;

/// Memory of one of two generations: about 50,000 series of floats.
const GENERATION_BYTES: usize = 4 << 20;

/// What a series takes beside the buckets of a histogram.
const SERIES_BYTES: usize = 80;

/// Buckets of a side of an exponential histogram; with more they are made coarser.
const BUCKETS_MAX: usize = 1024;

/// The state of all delta series of a process.
#[derive(Debug, Default)]
pub(crate) struct Deltas(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u128, Series>,
    young_bytes: usize,
    old: HashMap<u128, Series>,
}

#[derive(Clone, Debug)]
struct Series {
    /// ms of the point that was added last.
    last: i64,
    sum: Sum,
}

/// What deltas are added up to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sum {
    Float(f64),
    Exponential(Box<Exponential>),
}

/// An exponential histogram as OTLP has it: dense buckets from an offset on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Exponential {
    pub(super) scale: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero_count: u64,
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) positive: Buckets,
    pub(super) negative: Buckets,
}

/// Bucket `offset + i` counts `counts[i]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Buckets {
    pub(super) offset: i32,
    pub(super) counts: Vec<u64>,
}

impl Deltas {
    /// The sum with this delta in it; `None`: the point is older than what was added already.
    pub(super) fn add(&self, series: &[u8], at: i64, delta: Sum) -> Option<Sum> {
        let key = xxhash_rust::xxh3::xxh3_128(series);
        let mut state = self
            .0
            .lock()
            .expect("nothing panics while it holds the lock");
        let known = match state.young.remove(&key) {
            Some(known) => {
                state.young_bytes -= known.bytes();
                Some(known)
            }
            None => state.old.remove(&key),
        };
        let (grown, told) = match known {
            None => (
                Series {
                    last: at,
                    sum: delta.clone(),
                },
                Some(delta),
            ),
            Some(known) if at < known.last => (known, None),
            Some(known) if at == known.last => {
                let told = known.sum.clone();
                (known, Some(told))
            }
            Some(known) => {
                let sum = known.sum.plus(delta);
                (
                    Series {
                        last: at,
                        sum: sum.clone(),
                    },
                    Some(sum),
                )
            }
        };
        if state.young_bytes + grown.bytes() > GENERATION_BYTES {
            state.old = std::mem::take(&mut state.young);
            state.young_bytes = 0;
        }
        state.young_bytes += grown.bytes();
        state.young.insert(key, grown);
        told
    }
}

impl Series {
    fn bytes(&self) -> usize {
        let buckets = match &self.sum {
            Sum::Float(_) => 0,
            Sum::Exponential(h) => h.positive.counts.len() + h.negative.counts.len(),
        };
        SERIES_BYTES + buckets * size_of::<u64>()
    }
}

impl Sum {
    /// A series that changes its kind begins again.
    fn plus(self, delta: Sum) -> Sum {
        match (self, delta) {
            (Sum::Float(a), Sum::Float(b)) => Sum::Float(a + b),
            (Sum::Exponential(a), Sum::Exponential(b)) => Sum::Exponential(Box::new(a.plus(*b))),
            (_, other) => other,
        }
    }
}

impl Exponential {
    /// Both brought to the coarser scale, and so far down that the buckets stay within bounds. Zero
    /// buckets of different width are added as they are: the wider one counts.
    fn plus(mut self, mut other: Exponential) -> Exponential {
        let scale = self.scale.min(other.scale);
        self.coarsen(scale);
        other.coarsen(scale);
        while self.positive.span(&other.positive) > BUCKETS_MAX
            || self.negative.span(&other.negative) > BUCKETS_MAX
        {
            self.coarsen(self.scale - 1);
            other.coarsen(other.scale - 1);
        }
        self.positive.add(&other.positive);
        self.negative.add(&other.negative);
        self.zero_threshold = self.zero_threshold.max(other.zero_threshold);
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum;
        self
    }

    /// Merges buckets down to a smaller scale.
    pub(super) fn coarsen(&mut self, scale: i32) {
        let by = self.scale.saturating_sub(scale).max(0) as u32;
        self.positive.coarsen(by);
        self.negative.coarsen(by);
        self.scale = self.scale.min(scale);
    }
}

impl Buckets {
    /// Buckets from the first to the last one of both.
    fn span(&self, other: &Buckets) -> usize {
        let filled = [self, other].into_iter().filter(|b| !b.counts.is_empty());
        let ends = filled.map(|b| {
            (
                i64::from(b.offset),
                i64::from(b.offset) + b.counts.len() as i64,
            )
        });
        let (start, end) = ends.fold((i64::MAX, i64::MIN), |all, b| {
            (all.0.min(b.0), all.1.max(b.1))
        });
        usize::try_from(end.saturating_sub(start)).unwrap_or(0)
    }

    fn coarsen(&mut self, by: u32) {
        if by == 0 || self.counts.is_empty() {
            return;
        }
        let by = by.min(31);
        let start = self.offset >> by;
        let mut merged = Vec::new();
        for (at, count) in self.counts.iter().enumerate() {
            let bucket = (i64::from(self.offset) + at as i64) >> by;
            let at = (bucket - i64::from(start)) as usize;
            merged.resize(merged.len().max(at + 1), 0u64);
            merged[at] = merged[at].saturating_add(*count);
        }
        (self.offset, self.counts) = (start, merged);
    }

    fn add(&mut self, other: &Buckets) {
        if other.counts.is_empty() {
            return;
        }
        let length = self.span(other);
        let start = match self.counts.is_empty() {
            true => other.offset,
            false => self.offset.min(other.offset),
        };
        let mut counts = vec![0u64; length];
        for part in [&*self, other]
            .into_iter()
            .filter(|part| !part.counts.is_empty())
        {
            let from = (i64::from(part.offset) - i64::from(start)) as usize;
            for (at, count) in part.counts.iter().enumerate() {
                counts[from + at] = counts[from + at].saturating_add(*count);
            }
        }
        (self.offset, self.counts) = (start, counts);
    }
}
