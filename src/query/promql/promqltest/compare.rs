//! Whether an answer is what a script expects: floats to six digits, histograms bucket by bucket.

use super::script::{Annotations, Eval, When};
use super::series::Item;
use crate::model::metric::{Histogram, Labels, Span, Value, is_stale};
use crate::query::promql::eval::{Answer, Answered, Point, Series};

/// Relative error allowed for floats.
const EPSILON: f64 = 1e-6;

/// Of the answer to the query as it is written.
pub(super) fn check(eval: &Eval, answer: &Answer) -> Result<(), String> {
    annotations("warning", &eval.warnings, &answer.warnings)?;
    annotations("info", &eval.infos, &answer.infos)?;
    value(eval, &answer.value)
}

/// Annotations are compared without their place, as upstream's runner has none.
fn annotations(kind: &str, wanted: &Annotations, found: &[String]) -> Result<(), String> {
    let found: Vec<&str> = found.iter().map(|text| without_place(text)).collect();
    if wanted.none && !found.is_empty() {
        return Err(format!("unexpected {kind} annotations: {found:?}"));
    }
    if found.is_empty() && (wanted.any || !wanted.wanted.is_empty()) {
        return Err(format!("expected {kind} annotations but got none"));
    }
    for one in &wanted.wanted {
        if !found.iter().any(|text| one.fits(text)) {
            return Err(format!(
                "expected {kind} annotation {one:?}, found {found:?}"
            ));
        }
    }
    let unmet = |text: &&&str| !wanted.wanted.iter().any(|one| one.fits(text));
    match found.iter().find(unmet) {
        Some(text) if !wanted.wanted.is_empty() => {
            Err(format!("unexpected {kind} annotation {text}"))
        }
        _ => Ok(()),
    }
}

/// Without ` (1:15)` at its end.
fn without_place(text: &str) -> &str {
    let place = |inner: &str| inner.bytes().all(|b| b.is_ascii_digit() || b == b':');
    match text.rsplit_once(" (") {
        Some((before, rest)) if rest.strip_suffix(')').is_some_and(place) => before,
        _ => text,
    }
}

pub(super) fn value(eval: &Eval, value: &Answered) -> Result<(), String> {
    match (value, eval.scalar) {
        (Answered::Scalar { value, .. }, Some(wanted)) => same(wanted, *value, "scalar"),
        (Answered::Scalar { value, .. }, None) => Err(format!("unexpected scalar {value}")),
        (Answered::String { value, .. }, _) => match eval.string.as_deref().unwrap_or("") {
            wanted if wanted == value => Ok(()),
            wanted => Err(format!("expected string {wanted:?}, found {value:?}")),
        },
        (_, Some(wanted)) => Err(format!("expected scalar {wanted}, found {value:?}")),
        (Answered::Vector(points), None) => vector(eval, points),
        (Answered::Matrix(series), None) => matrix(eval, series),
    }
}

fn expected<'e>(eval: &'e Eval, labels: &Labels) -> Result<(usize, &'e [Item]), String> {
    let found = eval.series.iter().position(|(known, _)| known == labels);
    let place = found.ok_or_else(|| format!("unexpected metric {labels} in result"))?;
    Ok((place, &eval.series[place].1))
}

fn vector(eval: &Eval, points: &[Point]) -> Result<(), String> {
    for (place, point) in points.iter().enumerate() {
        let (wanted_place, items) =
            expected(eval, &point.labels).map_err(|e| format!("{e}: {:?}", point.value))?;
        if eval.ordered && place != wanted_place {
            let labels = &point.labels;
            return Err(format!(
                "{labels} is at {place}, expected at {wanted_place}"
            ));
        }
        let wanted = items.first().unwrap_or(&Item::Omitted);
        one(wanted, &point.value, &point.labels.to_string())?;
    }
    let missing = |labels: &Labels| !points.iter().any(|p| p.labels == *labels);
    all_found(eval, missing, points.len())
}

fn all_found(eval: &Eval, missing: impl Fn(&Labels) -> bool, found: usize) -> Result<(), String> {
    if let Some((labels, _)) = eval.series.iter().find(|(labels, _)| missing(labels)) {
        return Err(format!("expected metric {labels} not found"));
    }
    match found == eval.series.len() {
        true => Ok(()),
        false => Err(format!("{found} series, some of them twice")),
    }
}

fn matrix(eval: &Eval, series: &[Series]) -> Result<(), String> {
    if eval.ordered {
        return Err("expected ordered result, but query returned a matrix".to_owned());
    }
    if !series.is_sorted_by(|a, b| a.labels < b.labels) {
        return Err("a matrix is not sorted by labels".to_owned());
    }
    let (first, last, step) = match (&eval.when, eval.range_vector) {
        (When::Range { first, last, step }, _) => (*first, *last, *step),
        (When::Instant(_), Some(range)) => range,
        (When::Instant(at), None) => (*at, *at, 1),
    };
    for found in series {
        let (_, items) =
            expected(eval, &found.labels).map_err(|e| format!("{e}: {:?}", found.samples))?;
        let (mut times, mut histogram_times) = (Vec::new(), Vec::new());
        let (mut floats, mut histograms) = (Vec::new(), Vec::new());
        for (item, i) in items.iter().zip(0..) {
            let at = first + i * step;
            match item {
                Item::Omitted => {}
                _ if at > last => return Err(format!("{} has too many points", found.labels)),
                Item::Float(value) => {
                    times.push(at);
                    floats.push(*value);
                }
                Item::Histogram(..) => {
                    histogram_times.push(at);
                    histograms.push(item);
                }
            }
        }
        let samples = &found.samples;
        if times != samples.times || histogram_times != samples.histogram_times {
            let labels = &found.labels;
            return Err(format!(
                "{labels} has floats at {:?} and histograms at {:?}, expected {times:?} and {histogram_times:?}: {:?}",
                samples.times, samples.histogram_times, samples.floats
            ));
        }
        for ((at, wanted), got) in times.iter().zip(&floats).zip(&samples.floats) {
            same(*wanted, *got, &format!("{} at {at}", found.labels))?;
        }
        for ((at, wanted), got) in histogram_times
            .iter()
            .zip(histograms)
            .zip(&samples.histograms)
        {
            let value = Value::Histogram(got.clone());
            one(wanted, &value, &format!("{} at {at}", found.labels))?;
        }
    }
    let missing = |labels: &Labels| !series.iter().any(|s| s.labels == *labels);
    all_found(eval, missing, series.len())
}

fn one(wanted: &Item, got: &Value, what: &str) -> Result<(), String> {
    match (wanted, got) {
        (Item::Float(wanted), Value::Float(got)) => same(*wanted, *got, what),
        (Item::Histogram(wanted, told), Value::Histogram(got)) => {
            match same_histogram(wanted, got, *told) {
                true => Ok(()),
                false => Err(format!("expected {wanted:?} for {what}, found {got:?}")),
            }
        }
        _ => Err(format!("expected {wanted:?} for {what}, found {got:?}")),
    }
}

fn same(wanted: f64, got: f64, what: &str) -> Result<(), String> {
    match almost(wanted, got) {
        true => Ok(()),
        false => Err(format!("expected {wanted} for {what}, found {got}")),
    }
}

fn almost(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}

fn same_histogram(wanted: &Histogram, got: &Histogram, told: bool) -> bool {
    let (mut wanted, mut got) = (wanted.clone(), got.clone());
    wanted.compact();
    got.compact();
    let buckets = |spans: &[Span], counts: &[f64]| -> Vec<(i64, f64)> {
        let mut next = 0;
        let mut indexes = Vec::new();
        for span in spans {
            next += i64::from(span.offset);
            indexes.extend((0..i64::from(span.length)).map(|i| next + i));
            next += i64::from(span.length);
        }
        indexes.into_iter().zip(counts.iter().copied()).collect()
    };
    let same_buckets = |a: Vec<(i64, f64)>, b: Vec<(i64, f64)>| {
        a.len() == b.len()
            && a.iter()
                .zip(&b)
                .all(|(a, b)| a.0 == b.0 && almost(a.1, b.1))
    };
    wanted.schema == got.schema
        && almost(wanted.count, got.count)
        && almost(wanted.sum, got.sum)
        && wanted.custom_bounds == got.custom_bounds
        && wanted.zero_threshold == got.zero_threshold
        && almost(wanted.zero_count, got.zero_count)
        && same_buckets(
            buckets(&wanted.positive_spans, &wanted.positive_counts),
            buckets(&got.positive_spans, &got.positive_counts),
        )
        && same_buckets(
            buckets(&wanted.negative_spans, &wanted.negative_counts),
            buckets(&got.negative_spans, &got.negative_counts),
        )
        && (!told || wanted.reset == got.reset)
}
