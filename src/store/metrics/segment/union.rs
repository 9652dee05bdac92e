//! Samples of one series from several places as one.

use std::sync::Arc;

use crate::model::metric::{Histogram, Samples, is_stale};

/// Adds `other`'s samples to `into`, both by time. Of two values at one time the same one stays whichever
/// comes first: a real value before a marker of staleness, a histogram before a float, else the one of
/// larger bits. The door refuses such pairs where it sees them.
pub(crate) fn union(into: &mut Samples, other: &Samples) {
    union_column(
        (&mut into.times, &mut into.floats),
        (&other.times, &other.floats),
        |own, new| rank(*new) > rank(*own),
    );
    union_column(
        (&mut into.histogram_times, &mut into.histograms),
        (&other.histogram_times, &other.histograms),
        |own, new| histogram_rank(new) > histogram_rank(own),
    );
    drop_twice(into);
}

fn rank(value: f64) -> (bool, u64) {
    (!is_stale(value), value.to_bits())
}

fn histogram_rank(histogram: &Arc<Histogram>) -> (bool, u64, u64) {
    let (stale, sum) = rank(histogram.sum);
    (stale, histogram.count.to_bits(), sum)
}

fn union_column<V: Clone>(
    into: (&mut Vec<i64>, &mut Vec<V>),
    other: (&[i64], &[V]),
    wins: impl Fn(&V, &V) -> bool,
) {
    let (Some(first), false) = (other.0.first(), other.1.is_empty()) else {
        return;
    };
    // Nearly always the other follows.
    let keep = into.0.partition_point(|time| time < first);
    let tail = (into.0.split_off(keep), into.1.split_off(keep));
    let (mut i, mut k) = (0, 0);
    while i < tail.0.len() && k < other.0.len() {
        let (own, new) = (tail.0[i], other.0[k]);
        let take_new = new < own || new == own && wins(&tail.1[i], &other.1[k]);
        into.0.push(own.min(new));
        into.1.push(if take_new {
            other.1[k].clone()
        } else {
            tail.1[i].clone()
        });
        i += usize::from(own <= new);
        k += usize::from(new <= own);
    }
    into.0.extend_from_slice(&tail.0[i..]);
    into.1.extend_from_slice(&tail.1[i..]);
    into.0.extend_from_slice(&other.0[k..]);
    into.1.extend_from_slice(&other.1[k..]);
}

/// Drops the float where a histogram has the same time.
pub(super) fn drop_twice(samples: &mut Samples) {
    let histograms = &samples.histogram_times;
    if histograms.is_empty() || samples.times.is_empty() {
        return;
    }
    let is_twice = |time: &i64| histograms.binary_search(time).is_ok();
    if !samples.times.iter().any(is_twice) {
        return;
    }
    let kept: Vec<bool> = samples.times.iter().map(|time| !is_twice(time)).collect();
    let mut keep = kept.iter();
    samples.times.retain(|_| *keep.next().unwrap_or(&true));
    let mut keep = kept.iter();
    samples.floats.retain(|_| *keep.next().unwrap_or(&true));
}
