//! Fewer points than were computed, with every extreme kept: what a chart of that many pixels shows.
//! A gap is NaN.

/// The values of a series in buckets of `bucket` steps: two slots for each, its least and its largest
/// value in the order in which they come. One step a bucket leaves the values as they are.
pub(crate) fn extremes(values: &[f64], bucket: usize) -> Vec<f64> {
    if bucket <= 1 {
        return values.to_vec();
    }
    let mut thinned = Vec::with_capacity(values.len().div_ceil(bucket) * 2);
    for chunk in values.chunks(bucket) {
        let (mut least, mut largest) = ((0, f64::NAN), (0, f64::NAN));
        for (at, value) in chunk.iter().enumerate().filter(|(_, v)| !v.is_nan()) {
            if least.1.is_nan() || *value < least.1 {
                least = (at, *value);
            }
            if largest.1.is_nan() || *value > largest.1 {
                largest = (at, *value);
            }
        }
        let (first, second) = if least.0 <= largest.0 {
            (least, largest)
        } else {
            (largest, least)
        };
        thinned.extend([first.1, second.1]);
    }
    thinned
}

/// The times of the slots that [`extremes`] gives, in ms; `first` is that of the first step.
pub(crate) fn times(first: i64, step: i64, steps: usize, bucket: usize) -> Vec<i64> {
    let at = |n: usize| first + n as i64 * step;
    if bucket <= 1 {
        return (0..steps).map(at).collect();
    }
    let half = (bucket as i64 * step) / 2;
    let starts = (0..steps).step_by(bucket).map(at);
    starts.flat_map(|start| [start, start + half]).collect()
}

/// Steps in a bucket, so that at most `points_max` slots are left.
pub(crate) fn bucket(steps: usize, points_max: usize) -> usize {
    if steps <= points_max {
        1
    } else {
        (steps * 2).div_ceil(points_max.max(2))
    }
}
