//! What every way in does with native histograms before they go on: absolute counts, and the rules
//! that a histogram has to keep (Prometheus: `Histogram.Validate`).

use crate::model::metric::{CUSTOM_BUCKETS_SCHEMA, Histogram, Span, is_stale};

/// Buckets of one histogram, both sides; client libraries make 160 by default.
pub(super) const BUCKETS_MAX: usize = 4096;

/// Counts from differences to the bucket before.
pub(super) fn absolute(deltas: Vec<i64>) -> Vec<f64> {
    let mut count = 0i64;
    let counts = deltas.into_iter().map(|delta| {
        count = count.wrapping_add(delta);
        count as f64
    });
    counts.collect()
}

/// Whether a histogram keeps its rules; the text says which one it breaks.
pub(super) fn check(histogram: &Histogram) -> Result<(), &'static str> {
    let Histogram {
        schema,
        custom_bounds,
        positive_counts,
        negative_counts,
        ..
    } = histogram;
    if positive_counts.len() + negative_counts.len() > BUCKETS_MAX {
        return Err("more than 4096 buckets");
    }
    let spans = histogram.positive_spans.len() + histogram.negative_spans.len();
    if spans > BUCKETS_MAX || custom_bounds.len() > BUCKETS_MAX {
        return Err("more than 4096 spans or custom bounds");
    }
    side(&histogram.positive_spans, positive_counts)?;
    side(&histogram.negative_spans, negative_counts)?;
    if *schema == CUSTOM_BUCKETS_SCHEMA {
        return custom(histogram);
    }
    if !(-4..=8).contains(schema) {
        return Err("a schema that is neither -53 nor -4 to 8");
    }
    if !custom_bounds.is_empty() {
        return Err("custom bounds without schema -53");
    }
    if is_stale(histogram.sum) {
        return Ok(());
    }
    if !(histogram.count >= 0.0 && histogram.zero_count >= 0.0) {
        return Err("a negative count");
    }
    // Observations that are NaN are in no bucket: then the count may be larger.
    let counted = observations(histogram);
    let exact = counted.fract() == 0.0 && histogram.count.fract() == 0.0 && counted < EXACT_MAX;
    match exact {
        true if histogram.sum.is_nan() && counted > histogram.count => {
            Err("buckets that hold more than the count")
        }
        true if !histogram.sum.is_nan() && counted != histogram.count => {
            Err("buckets that do not add up to the count")
        }
        _ => Ok(()),
    }
}

/// Integers up to here are exact in a float.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

fn observations(histogram: &Histogram) -> f64 {
    let sides = histogram
        .positive_counts
        .iter()
        .chain(&histogram.negative_counts);
    histogram.zero_count + sides.sum::<f64>()
}

fn side(spans: &[Span], counts: &[f64]) -> Result<(), &'static str> {
    let told: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if told != counts.len() as u64 {
        return Err("spans that name another number of buckets than there are");
    }
    if spans.iter().skip(1).any(|span| span.offset < 0) {
        return Err("a span that goes back");
    }
    let end = spans.iter().try_fold(0i32, |at, span| {
        let length = i32::try_from(span.length).ok()?;
        at.checked_add(span.offset)?.checked_add(length)
    });
    if end.is_none() {
        return Err("spans that lead past the last bucket there can be");
    }
    if !counts.iter().all(|count| *count >= 0.0) {
        return Err("a bucket with a negative count");
    }
    Ok(())
}

fn custom(histogram: &Histogram) -> Result<(), &'static str> {
    let bounds = &histogram.custom_bounds;
    if !bounds.is_sorted_by(|a, b| a < b) || bounds.iter().any(|bound| !bound.is_finite()) {
        return Err("custom bounds that do not rise");
    }
    if histogram.zero_count != 0.0 || histogram.zero_threshold != 0.0 {
        return Err("custom bounds and a zero bucket");
    }
    if !histogram.negative_spans.is_empty() {
        return Err("custom bounds and negative buckets");
    }
    let spans = histogram.positive_spans.iter();
    let buckets: i64 = spans
        .map(|s| i64::from(s.offset) + i64::from(s.length))
        .sum();
    if buckets > bounds.len() as i64 + 1
        || histogram
            .positive_spans
            .first()
            .is_some_and(|s| s.offset < 0)
    {
        return Err("more buckets than custom bounds");
    }
    Ok(())
}
