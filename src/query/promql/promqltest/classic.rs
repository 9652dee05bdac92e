//! `load_with_nhcb`: the classic histograms of a load as native ones with custom bounds, besides.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::metric::{
    CUSTOM_BUCKETS_SCHEMA, Histogram, Labels, LabelsBuilder, NAME, Sample, Span, Value,
};
use crate::query::promql::literal;

/// What is known of one histogram at one time; cumulative counts by bound.
#[derive(Default)]
struct Classic {
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

enum Part {
    Bucket(f64),
    Count,
    Sum,
}

/// Native histograms made of the series `_bucket`, `_count` and `_sum` among these.
pub(super) fn native(
    series: &[(Labels, Vec<Sample>)],
) -> Result<Vec<(Labels, Vec<Sample>)>, String> {
    let mut found: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for (labels, samples) in series {
        let Some((base, part)) = part(labels) else {
            continue;
        };
        let times = found.entry(base).or_default();
        for sample in samples {
            let Value::Float(value) = sample.value else {
                continue;
            };
            let classic = times.entry(sample.at).or_default();
            match part {
                Part::Bucket(bound) => classic.buckets.push((bound, value)),
                Part::Count => classic.count = Some(value),
                Part::Sum => classic.sum = value,
            }
        }
    }
    let convert = |(labels, times): (Labels, BTreeMap<i64, Classic>)| {
        let samples = times.into_iter().map(|(at, classic)| {
            let value = Value::Histogram(Arc::new(converted(classic)?));
            Ok(Sample { at, value })
        });
        Ok((labels, samples.collect::<Result<_, String>>()?))
    };
    found.into_iter().map(convert).collect()
}

/// The labels of the whole histogram, and what of it this series is.
fn part(labels: &Labels) -> Option<(Labels, Part)> {
    let metric = labels.metric();
    let (name, part) = if let Some(name) = metric.strip_suffix("_bucket") {
        let bound = labels.get("le")?;
        let (sign, digits) = match bound.strip_prefix('-') {
            Some(digits) => (-1.0, digits),
            None => (1.0, bound.trim_start_matches('+')),
        };
        let bound = literal::number(digits).ok().filter(|b| !b.is_nan())? * sign;
        (name, Part::Bucket(bound))
    } else if let Some(name) = metric.strip_suffix("_count") {
        (name, Part::Count)
    } else {
        (metric.strip_suffix("_sum")?, Part::Sum)
    };
    let mut builder = LabelsBuilder::from(labels);
    builder.set(NAME, name).remove("le");
    Some((builder.build(), part))
}

fn converted(mut classic: Classic) -> Result<Histogram, String> {
    classic.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    classic.buckets.dedup_by_key(|(bound, _)| *bound);
    let last = classic.buckets.last().copied();
    let count = classic
        .count
        .unwrap_or(last.map_or(0.0, |(_, count)| count));
    if last.is_none_or(|(bound, _)| bound != f64::INFINITY) {
        classic.buckets.push((f64::INFINITY, count));
    }
    let (mut before, mut counts) = (0.0, Vec::new());
    for (_, cumulative) in &classic.buckets {
        if *cumulative < before {
            return Err("counts are not cumulative".to_owned());
        }
        counts.push(cumulative - before);
        before = *cumulative;
    }
    let bounds = classic.buckets.iter().map(|(bound, _)| *bound);
    let mut histogram = Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count,
        sum: classic.sum,
        positive_spans: vec![Span {
            offset: 0,
            length: counts.len() as u32,
        }],
        positive_counts: counts,
        custom_bounds: bounds.filter(|bound| bound.is_finite()).collect(),
        ..Histogram::default()
    };
    histogram.compact();
    Ok(histogram)
}
