//! The notation of series in test scripts: `name{a="b"} 1 2+3x4 _ stale {{schema:0 sum:1}}x3`.

use std::sync::Arc;

use crate::model::metric::{CounterReset, Histogram, Labels, MatchOp, STALE_NAN_BITS, Span};
use crate::query::promql::{literal, parse_selector};

/// One place in a sequence of values.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Omitted,
    Float(f64),
    /// With whether the script tells what is known of resets.
    Histogram(Arc<Histogram>, bool),
}

/// Labels and values of one line.
pub(super) fn parse(line: &str) -> Result<(Labels, Vec<Item>), String> {
    let end = end_of_metric(line);
    let (metric, values) = line.split_at(end);
    let mut items = Vec::new();
    let mut rest = values.trim_start();
    while !rest.is_empty() {
        rest = item(rest, &mut items)
            .map_err(|why| format!("{line}: {why}"))?
            .trim_start();
    }
    Ok((labels(metric)?, items))
}

/// Where the labels end: after the closing brace, or at the first space.
fn end_of_metric(line: &str) -> usize {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in line.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(q) if c == '\\' && q != '`' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'' | '`') => quote = Some(c),
            None if c == '}' => return at + 1,
            None if c.is_whitespace() && !line[..at].contains('{') => {
                let rest = line[at..].trim_start();
                if !rest.starts_with('{') || rest.starts_with("{{") {
                    return at;
                }
            }
            None => {}
        }
    }
    line.len()
}

fn labels(text: &str) -> Result<Labels, String> {
    let matchers = parse_selector(text).map_err(|error| format!("{text}: {error}"))?;
    match matchers.iter().find(|m| m.op != MatchOp::Equal) {
        Some(other) => Err(format!("{text}: the label {} has no value", other.name)),
        None => Ok(Labels::of(matchers.iter().map(|m| (&m.name, &m.value)))),
    }
}

/// Reads one item with its repetition; what is left.
fn item<'t>(text: &'t str, items: &mut Vec<Item>) -> Result<&'t str, String> {
    if text.starts_with("{{") {
        return histograms(text, items);
    }
    if let Some(rest) = text.strip_prefix('_') {
        let (times, rest) = repetition(rest)?;
        items.extend((0..times.unwrap_or(1)).map(|_| Item::Omitted));
        return Ok(rest);
    }
    let (mut value, mut rest) = float(text)?;
    let mut step = 0.0;
    if rest.starts_with(['+', '-']) {
        (step, rest) = float(rest)?;
    }
    let (times, rest) = repetition(rest)?;
    for _ in 0..=times.unwrap_or(0) {
        items.push(Item::Float(value));
        value += step;
    }
    Ok(rest)
}

/// `x5` after an item.
fn repetition(text: &str) -> Result<(Option<usize>, &str), String> {
    let Some(rest) = text.strip_prefix('x') else {
        return Ok((None, text));
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let times = rest[..digits].parse();
    let times = times.map_err(|_| format!("invalid repetition in series values: {text}"))?;
    Ok((Some(times), &rest[digits..]))
}

/// A number with its sign, or `stale`.
fn float(text: &str) -> Result<(f64, &str), String> {
    let sign = usize::from(text.starts_with(['+', '-']));
    let mut end = sign;
    for (at, c) in text.char_indices().skip(sign) {
        let in_exponent = matches!(c, '+' | '-')
            && text[..at].ends_with(['e', 'E'])
            && text[sign..].starts_with(|c: char| c.is_ascii_digit() || c == '.');
        if !(c.is_ascii_alphanumeric() && c != 'x' || matches!(c, '.' | '_') || in_exponent) {
            break;
        }
        end = at + 1;
    }
    let (word, rest) = (&text[sign..end], &text[end..]);
    if word == "stale" {
        return Ok((f64::from_bits(STALE_NAN_BITS), rest));
    }
    let value = literal::number(word)
        .or_else(|_| literal::duration(word).map(|ms| ms as f64 / 1000.0))
        .map_err(|_| format!("no number: {text}"))?;
    Ok((if text.starts_with('-') { -value } else { value }, rest))
}

fn histograms<'t>(text: &'t str, items: &mut Vec<Item>) -> Result<&'t str, String> {
    let (mut current, mut told, mut rest) = histogram(text)?;
    let mut step = None;
    if rest.starts_with(['+', '-']) {
        let minus = rest.starts_with('-');
        let (by, by_told, after) = histogram(&rest[1..])?;
        (step, told, rest) = (Some((minus, by)), by_told, after);
    }
    let (times, rest) = repetition(rest)?;
    for i in 0..=times.unwrap_or(0) {
        if i > 0
            && let Some((minus, by)) = &step
        {
            if current.schema > by.schema {
                return Err("histograms of a finer schema cannot be added".to_owned());
            }
            let combined = match minus {
                true => current.subtract(by),
                false => current.add(by),
            };
            combined.map_err(|why| format!("{text}: {why:?}"))?;
        }
        items.push(Item::Histogram(Arc::new(current.clone()), told));
    }
    Ok(rest)
}

/// `{{schema:1 sum:3 count:22 buckets:[5 10 7]}}`.
fn histogram(text: &str) -> Result<(Histogram, bool, &str), String> {
    let inner = text.strip_prefix("{{").ok_or("no histogram")?;
    let end = inner.find("}}").ok_or("a histogram without its end")?;
    let (mut body, rest) = (inner[..end].trim(), &inner[end + 2..]);
    let mut histogram = Histogram::default();
    let (mut offset, mut negative_offset, mut told) = (0, 0, false);
    while !body.is_empty() {
        let (key, value) = body.split_once(':').ok_or("a part without a colon")?;
        let end = match value.strip_prefix('[') {
            Some(list) => 2 + list.find(']').ok_or("a list without its end")?,
            None => value.find(char::is_whitespace).unwrap_or(value.len()),
        };
        let (value, after) = value.split_at(end);
        body = after.trim_start();
        match key {
            "schema" => histogram.schema = whole(value)?,
            "sum" => histogram.sum = alone(value)?,
            "count" => histogram.count = alone(value)?,
            "z_bucket" => histogram.zero_count = alone(value)?,
            "z_bucket_w" => histogram.zero_threshold = alone(value)?,
            "custom_values" => histogram.custom_bounds = list(value)?,
            "buckets" => histogram.positive_counts = list(value)?,
            "n_buckets" => histogram.negative_counts = list(value)?,
            "offset" => offset = whole(value)?,
            "n_offset" => negative_offset = whole(value)?,
            "counter_reset_hint" => {
                told = true;
                histogram.reset = reset(value)?;
            }
            _ => return Err(format!("bad histogram descriptor found: {key}")),
        }
    }
    histogram.positive_spans = spans(offset, histogram.positive_counts.len());
    histogram.negative_spans = spans(negative_offset, histogram.negative_counts.len());
    Ok((histogram, told, rest))
}

fn reset(word: &str) -> Result<CounterReset, String> {
    Ok(match word {
        "unknown" => CounterReset::Unknown,
        "reset" => CounterReset::Reset,
        "not_reset" => CounterReset::NotReset,
        "gauge" => CounterReset::Gauge,
        other => return Err(format!("no counter reset hint: {other}")),
    })
}

fn spans(offset: i32, buckets: usize) -> Vec<Span> {
    let span = Span {
        offset,
        length: buckets as u32,
    };
    if buckets == 0 { Vec::new() } else { vec![span] }
}

fn whole(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| format!("no whole number: {text}"))
}

fn alone(text: &str) -> Result<f64, String> {
    match float(text)? {
        (value, "") => Ok(value),
        _ => Err(format!("no number: {text}")),
    }
}

fn list(text: &str) -> Result<Vec<f64>, String> {
    let inner = text.trim_matches(['[', ']']);
    inner.split_whitespace().map(alone).collect()
}
