//! Quantiles and fractions of histograms, classic and native (Prometheus `promql/quantile.go`).

use crate::model::metric::{Bucket, Histogram};

use super::annotate::Note;

/// Relative difference between neighbouring buckets that counts as none: what floats lose on the way,
/// not observations.
const SMALL_DELTA: f64 = 1e-12;

/// A cumulative bucket of a classic histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cumulative {
    pub(super) upper: f64,
    pub(super) count: f64,
}

/// Sorts and joins buckets; `None` when the last is not `+Inf`.
fn prepared(buckets: &mut Vec<Cumulative>) -> Option<()> {
    buckets.sort_by(|a, b| {
        a.upper
            .partial_cmp(&b.upper)
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    if buckets.last()?.upper != f64::INFINITY {
        return None;
    }
    buckets.dedup_by(|bucket, known| {
        let same = bucket.upper == known.upper;
        if same {
            known.count += bucket.count;
        }
        same
    });
    Some(())
}

/// Makes counts grow from bucket to bucket; whether more than rounding had to be mended.
fn make_monotonic(buckets: &mut [Cumulative]) -> bool {
    let mut forced = false;
    let mut known = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if bucket.count == known {
            continue;
        }
        if almost_equal(known, bucket.count) {
            bucket.count = known;
        } else if bucket.count < known {
            bucket.count = known;
            forced = true;
        } else {
            known = bucket.count;
        }
    }
    forced
}

/// Prometheus `almost.Equal`, of two different values.
fn almost_equal(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL_DELTA * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL_DELTA
}

/// The q-quantile of a classic histogram, and whether its counts had to be made monotonic. Linear
/// within a bucket; the first begins at zero if it ends above.
pub(super) fn of_classic(q: f64, buckets: &mut Vec<Cumulative>) -> (f64, bool) {
    if q.is_nan() {
        return (f64::NAN, false);
    }
    if !(0.0..=1.0).contains(&q) {
        return (f64::INFINITY.copysign(q), false);
    }
    if prepared(buckets).is_none() {
        return (f64::NAN, false);
    }
    let forced = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, false);
    }
    let rank = q * observations;
    let found = buckets[..last]
        .iter()
        .position(|bucket| bucket.count >= rank);
    let Some(found) = found else {
        return (buckets[last - 1].upper, forced);
    };
    let bucket = buckets[found];
    if found == 0 && bucket.upper <= 0.0 {
        return (bucket.upper, forced);
    }
    let before = found.checked_sub(1).map_or(
        Cumulative {
            upper: 0.0,
            count: 0.0,
        },
        |i| buckets[i],
    );
    let share = (rank - before.count) / (bucket.count - before.count);
    (before.upper + (bucket.upper - before.upper) * share, forced)
}

/// Where a value stands among counted observations: the rank below each of two bounds.
struct Ranks {
    bounds: [f64; 2],
    ranks: [Option<f64>; 2],
}

impl Ranks {
    /// Looks for the bounds in the next bucket: at its lower end, or inside by `interpolate`.
    fn visit(&mut self, lower: f64, upper: f64, rank: f64, interpolate: impl Fn(f64) -> f64) {
        for (bound, found) in self.bounds.iter().zip(&mut self.ranks) {
            if found.is_some() {
                continue;
            }
            if lower >= *bound {
                *found = Some(rank);
            } else if upper > *bound {
                *found = Some(interpolate(*bound));
            }
        }
    }

    fn is_done(&self) -> bool {
        self.ranks.iter().all(Option::is_some)
    }

    fn between(&self, count: f64) -> f64 {
        let [lower, upper] = self.ranks.map(|rank| match rank {
            None => count,
            Some(rank) if rank > count => count,
            Some(rank) => rank,
        });
        upper - lower
    }
}

/// The share of observations between two values in a classic histogram. The first bucket begins at
/// minus infinity: nothing is known within it, in 3.5.
pub(super) fn fraction_of_classic(lower: f64, upper: f64, buckets: &mut Vec<Cumulative>) -> f64 {
    if prepared(buckets).is_none() {
        return f64::NAN;
    }
    let count = buckets.last().map_or(0.0, |bucket| bucket.count);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut ranks = Ranks {
        bounds: [lower, upper],
        ranks: [None; 2],
    };
    let mut rank = 0.0;
    let mut start = f64::NEG_INFINITY;
    for bucket in buckets.iter() {
        ranks.visit(start, bucket.upper, rank, |value| {
            rank + (bucket.count - rank) * (value - start) / (bucket.upper - start)
        });
        if ranks.is_done() {
            break;
        }
        (rank, start) = (bucket.count, bucket.upper);
    }
    ranks.between(count) / count
}

/// With only one side filled, the zero bucket reaches to zero only.
fn clipped(mut bucket: Bucket, histogram: &Histogram) -> Bucket {
    if histogram.negative_counts.is_empty() && !histogram.positive_counts.is_empty() {
        bucket.lower = 0.0;
    } else if histogram.positive_counts.is_empty() && !histogram.negative_counts.is_empty() {
        bucket.upper = 0.0;
    }
    bucket
}

/// The q-quantile of a native histogram: exponential within a bucket, linear in the zero bucket and
/// in custom ones. NaN observations are in the count but in no bucket.
pub(super) fn of_native(q: f64, histogram: &Histogram, tell: &dyn Fn(Note)) -> f64 {
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    if histogram.count == 0.0 || q.is_nan() {
        return f64::NAN;
    }
    let forward = histogram.sum.is_nan() || q < 0.5;
    let mut buckets = histogram.all_buckets();
    if !forward {
        buckets.reverse();
    }
    let share = if forward { q } else { 1.0 - q };
    let mut rank = share * histogram.count;
    let (mut bucket, mut count, mut seen) = (EMPTY, 0.0, 0);
    for next in &buckets {
        seen += 1;
        bucket = *next;
        count += next.count;
        if next.count != 0.0 && count >= rank {
            break;
        }
    }
    let custom = histogram.has_custom_bounds();
    if custom {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return bucket.upper;
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return bucket.lower;
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        bucket = clipped(bucket, histogram);
    }
    count = count.min(histogram.count);
    if count < rank {
        if histogram.sum.is_nan() {
            tell(Note::QuantileNan);
            return f64::NAN;
        }
        return bucket.upper;
    }
    rank = if forward {
        rank - (count - bucket.count)
    } else {
        count - rank
    };
    if histogram.sum.is_nan() {
        let rest = &buckets[seen..];
        count += rest.iter().map(|bucket| bucket.count).sum::<f64>();
        if count < histogram.count {
            tell(Note::QuantileSkewed);
        }
        // What 3.5 gives: it goes on to the last bucket to see how many are NaN, and stays there.
        bucket = rest.last().copied().unwrap_or(bucket);
    }
    within(bucket, rank / bucket.count, custom)
}

const EMPTY: Bucket = Bucket {
    lower: 0.0,
    upper: 0.0,
    lower_inclusive: false,
    upper_inclusive: false,
    count: 0.0,
};

/// The value at a share of a bucket.
fn within(bucket: Bucket, share: f64, linear: bool) -> f64 {
    if linear || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return bucket.lower + (bucket.upper - bucket.lower) * share;
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    if bucket.lower > 0.0 {
        (lower + (upper - lower) * share).exp2()
    } else {
        -(upper + (lower - upper) * (1.0 - share)).exp2()
    }
}

/// The inverse of [`within`] for exponential buckets.
fn share_below(bucket: Bucket, value: f64) -> f64 {
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    let at = value.abs().log2();
    if value > 0.0 {
        (at - lower) / (upper - lower)
    } else {
        1.0 - (at - upper) / (lower - upper)
    }
}

/// The share of observations between two values in a native histogram.
pub(super) fn fraction_of_native(
    lower: f64,
    upper: f64,
    histogram: &Histogram,
    tell: &dyn Fn(Note),
) -> f64 {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut ranks = Ranks {
        bounds: [lower, upper],
        ranks: [None; 2],
    };
    let buckets = histogram.all_buckets();
    let mut rank = 0.0;
    for next in &buckets {
        let mut bucket = *next;
        let around_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if around_zero {
            bucket = clipped(bucket, histogram);
        }
        let linear = around_zero || histogram.has_custom_bounds();
        ranks.visit(bucket.lower, bucket.upper, rank, |value| {
            let share = match linear {
                true => (value - bucket.lower) / (bucket.upper - bucket.lower),
                false => share_below(bucket, value),
            };
            rank + bucket.count * share
        });
        if ranks.is_done() {
            break;
        }
        rank += bucket.count;
    }
    let mut count = histogram.count;
    if histogram.sum.is_nan() {
        count = buckets.iter().map(|bucket| bucket.count).sum();
        if count < histogram.count {
            tell(Note::FractionNans);
        }
    }
    ranks.between(count) / histogram.count
}

/// The variance of a native histogram, each bucket's observations at its middle: the geometric one,
/// zero around zero, the arithmetic one of custom buckets (Prometheus `histogramVariance`).
pub(super) fn variance_of_native(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut sum = super::summing::Sum::default();
    for bucket in histogram.all_buckets() {
        if bucket.count == 0.0 {
            continue;
        }
        let middle = if histogram.has_custom_bounds() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
        };
        let delta = middle - mean;
        sum.add(bucket.count * delta * delta);
    }
    sum.total() / histogram.count
}
