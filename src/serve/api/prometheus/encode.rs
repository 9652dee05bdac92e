//! Values as Prometheus' API writes them, straight into the text of the answer.

use std::fmt::Write as _;

use crate::model::metric::{Exemplar, Histogram, Labels, Value};
use crate::query::promql::eval::{Answered, Point, Series};
use crate::query::promql::print;

/// A JSON string.
pub(super) fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => _ = write!(out, "\\u{:04x}", c as u32),
            c => out.push(c),
        }
    }
    out.push('"');
}

pub(super) fn strings<S: AsRef<str>>(out: &mut String, texts: &[S]) {
    list(out, texts, |out, text| string(out, text.as_ref()));
}

/// A JSON array.
pub(super) fn list<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        each(out, item);
    }
    out.push(']');
}

pub(super) fn labels(out: &mut String, labels: &Labels) {
    out.push('{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        string(out, name);
        out.push(':');
        string(out, value);
    }
    out.push('}');
}

/// Seconds with three digits of a fraction, or with none.
pub(super) fn time(out: &mut String, millis: i64) {
    let (seconds, rest) = (millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
    let sign = if millis < 0 { "-" } else { "" };
    _ = write!(out, "{sign}{seconds}");
    if rest != 0 {
        _ = write!(out, ".{rest:03}");
    }
}

/// The shortest digits that give the number back, in quotes; with an exponent where JavaScript has
/// one (below 1e-6 and from 1e21).
pub(super) fn float(out: &mut String, value: f64) {
    let size = value.abs();
    let long = size != 0.0 && size.is_finite() && !(1e-6..1e21).contains(&size);
    if !long {
        _ = write!(out, "\"{}\"", print::float(value));
        return;
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    _ = write!(out, "\"{digits}e{sign}{exponent:0>2}\"");
}

fn histogram(out: &mut String, histogram: &Histogram) {
    out.push_str("{\"count\":");
    float(out, histogram.count);
    out.push_str(",\"sum\":");
    float(out, histogram.sum);
    let buckets = histogram.all_buckets();
    let mut filled = buckets.iter().filter(|b| b.count != 0.0).peekable();
    if filled.peek().is_some() {
        out.push_str(",\"buckets\":");
        list(out, filled, |out, bucket| {
            let bounds = match (bucket.lower_inclusive, bucket.upper_inclusive) {
                (false, true) => 0,
                (true, false) => 1,
                (false, false) => 2,
                (true, true) => 3,
            };
            _ = write!(out, "[{bounds}");
            for value in [bucket.lower, bucket.upper, bucket.count] {
                out.push(',');
                float(out, value);
            }
            out.push(']');
        });
    }
    out.push('}');
}

fn timed(out: &mut String, at: i64, value: impl FnOnce(&mut String)) {
    out.push('[');
    time(out, at);
    out.push(',');
    value(out);
    out.push(']');
}

fn point(out: &mut String, point: &Point) {
    out.push_str("{\"metric\":");
    labels(out, &point.labels);
    match &point.value {
        Value::Float(value) => {
            out.push_str(",\"value\":");
            timed(out, point.at, |out| float(out, *value));
        }
        Value::Histogram(value) => {
            out.push_str(",\"histogram\":");
            timed(out, point.at, |out| histogram(out, value));
        }
    }
    out.push('}');
}

fn series(out: &mut String, series: &Series) {
    out.push_str("{\"metric\":");
    labels(out, &series.labels);
    let samples = &series.samples;
    if !samples.times.is_empty() {
        out.push_str(",\"values\":");
        let pairs = samples.times.iter().zip(&samples.floats);
        list(out, pairs, |out, (at, value)| {
            timed(out, *at, |out| float(out, *value));
        });
    }
    if !samples.histogram_times.is_empty() {
        out.push_str(",\"histograms\":");
        let pairs = samples.histogram_times.iter().zip(&samples.histograms);
        list(out, pairs, |out, (at, value)| {
            timed(out, *at, |out| histogram(out, value));
        });
    }
    out.push('}');
}

/// `"resultType":...,"result":...`.
pub(super) fn answer(out: &mut String, value: &Answered) {
    let kind = match value {
        Answered::Scalar { .. } => "scalar",
        Answered::String { .. } => "string",
        Answered::Vector(_) => "vector",
        Answered::Matrix(_) => "matrix",
    };
    _ = write!(out, "\"resultType\":\"{kind}\",\"result\":");
    match value {
        // Scalars and strings have another way of writing times and numbers than vectors.
        Answered::Scalar { at, value } => {
            let seconds = *at as f64 / 1000.0;
            _ = write!(out, "[{seconds},\"{}\"]", print::float(*value));
        }
        Answered::String { at, value } => {
            _ = write!(out, "[{},", *at as f64 / 1000.0);
            string(out, value);
            out.push(']');
        }
        Answered::Vector(points) => list(out, points, point),
        Answered::Matrix(all) => list(out, all, series),
    }
}

pub(super) fn exemplars(out: &mut String, of: &Labels, found: &[Exemplar]) {
    out.push_str("{\"seriesLabels\":");
    labels(out, of);
    out.push_str(",\"exemplars\":");
    list(out, found, |out, exemplar| {
        out.push_str("{\"labels\":");
        labels(out, &exemplar.labels);
        out.push_str(",\"value\":");
        float(out, exemplar.value);
        out.push_str(",\"timestamp\":");
        time(out, exemplar.at);
        out.push('}');
    });
    out.push('}');
}
