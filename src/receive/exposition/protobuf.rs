//! Delimited `io.prometheus.client.MetricFamily` messages: what Go's client library pushes, and what
//! targets give of native histograms (client_model, metrics.proto).
//!
//! A family becomes what its text would say; of a histogram with native buckets the classic ones are
//! left out, as Prometheus does by default.

use std::sync::Arc;

use super::{Item, PageExemplar, Sample, number};
use crate::model::metric::{Histogram, Labels, MetricKind, NAME, NORMAL_NAN_BITS, Span, Value};
use crate::model::wire::{Field, Fields, WireError, zigzag};
use crate::receive::native;

/// Why a page is none, and the byte of the family that is wrong.
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) what: String,
}

pub(super) fn parse(page: &[u8], mut each: impl FnMut(Item<'_>)) -> Result<(), Wrong> {
    let mut rest = page;
    while !rest.is_empty() {
        let at = page.len() - rest.len();
        let wrong = |what: String| Wrong { at, what };
        let (length, after) = length(rest)
            .ok_or_else(|| wrong("expected the length of a MetricFamily".to_owned()))?;
        let Some((message, after)) = after.split_at_checked(length) else {
            return Err(wrong(format!("expected a MetricFamily of {length} bytes")));
        };
        let read = Family::read(message).and_then(|family| family.tell(&mut each));
        read.map_err(|error| wrong(format!("expected a MetricFamily: {error}")))?;
        rest = after;
    }
    Ok(())
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = 0usize;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((length, &bytes[at + 1..]));
        }
    }
    None
}

struct Family<'a> {
    name: &'a str,
    help: &'a str,
    unit: &'a str,
    kind: MetricKind,
    metrics: Vec<&'a [u8]>,
}

impl<'a> Family<'a> {
    fn read(message: &'a [u8]) -> Result<Family<'a>, WireError> {
        let mut family = Family {
            name: "",
            help: "",
            unit: "",
            // The first of the enum.
            kind: MetricKind::Counter,
            metrics: Vec::new(),
        };
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => family.name = field.str()?,
                2 => family.help = field.str()?,
                3 => {
                    family.kind = match field.varint()? {
                        0 => MetricKind::Counter,
                        1 => MetricKind::Gauge,
                        2 => MetricKind::Summary,
                        4 => MetricKind::Histogram,
                        5 => MetricKind::GaugeHistogram,
                        _ => MetricKind::Unknown,
                    }
                }
                4 => family.metrics.push(field.bytes()?),
                5 => family.unit = field.str()?,
                _ => {}
            }
        }
        Ok(family)
    }

    fn tell(&self, each: &mut impl FnMut(Item<'_>)) -> Result<(), WireError> {
        let metric = self.name;
        if metric.is_empty() {
            return Err(WireError::Truncated);
        }
        each(Item::Help {
            metric,
            text: self.help,
        });
        let kind = self.kind;
        each(Item::Type { metric, kind });
        if !self.unit.is_empty() {
            each(Item::Unit {
                metric,
                unit: self.unit,
            });
        }
        self.metrics
            .iter()
            .try_for_each(|message| self.metric(message, each))
    }

    fn metric(&self, message: &'a [u8], each: &mut impl FnMut(Item<'_>)) -> Result<(), WireError> {
        let mut found = Metric {
            family: self.name,
            labels: Vec::new(),
            at: None,
        };
        let mut data = None;
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => found.labels.push(label(field.bytes()?)?),
                2..=5 | 7 => data = Some((number, field.bytes()?)),
                6 => found.at = Some(field.varint()? as i64).filter(|at| *at != 0),
                _ => {}
            }
        }
        match data {
            // Gauge, untyped: a value alone.
            Some((2 | 5, message)) => {
                let (value, _) = value(message)?;
                found.tell("", None, value, &[], each)
            }
            Some((3, message)) => {
                let (value, exemplar) = value(message)?;
                found.tell("", None, value, exemplar.as_slice(), each)
            }
            Some((4, message)) => summary(&found, message, each),
            Some((_, message)) => histogram(&found, message, each),
            None => Ok(()),
        }
    }
}

/// One `Metric` of a family.
struct Metric<'a> {
    family: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    at: Option<i64>,
}

impl Metric<'_> {
    /// Tells one series.
    fn tell(
        &self,
        suffix: &str,
        extra: Option<(&str, &str)>,
        value: impl Into<Point>,
        exemplars: &[PageExemplar],
        each: &mut impl FnMut(Item<'_>),
    ) -> Result<(), WireError> {
        let name = format!("{}{suffix}", self.family);
        let mut labels = Vec::with_capacity(self.labels.len() + 2);
        labels.push((NAME, name.as_str()));
        labels.extend(self.labels.iter().copied());
        labels.extend(extra);
        labels.sort_unstable();
        if labels.windows(2).any(|two| two[0].0 == two[1].0) || labels[0].0.is_empty() {
            return Err(WireError::BadTag);
        }
        let raw = format!("{labels:?}");
        let Point(value) = value.into();
        each(Item::Sample(Sample {
            raw: &raw,
            labels: &labels,
            at: self.at,
            value,
            exemplars,
        }));
        Ok(())
    }
}

/// A value whose NaN is the ordinary one.
struct Point(Value);

impl From<f64> for Point {
    fn from(value: f64) -> Point {
        let nan = f64::from_bits(NORMAL_NAN_BITS);
        Point(Value::Float(if value.is_nan() { nan } else { value }))
    }
}

impl From<Histogram> for Point {
    fn from(histogram: Histogram) -> Point {
        Point(Value::Histogram(Arc::new(histogram)))
    }
}

fn double(field: Field<'_>) -> Result<f64, WireError> {
    Ok(f64::from_bits(field.fixed64()?))
}

fn label(message: &[u8]) -> Result<(&str, &str), WireError> {
    let (mut name, mut value) = ("", "");
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => name = field.str()?,
            2 => value = field.str()?,
            _ => {}
        }
    }
    Ok((name, value))
}

/// A counter, gauge or untyped value.
fn value(message: &[u8]) -> Result<(f64, Option<PageExemplar>), WireError> {
    let (mut value, mut found) = (0.0, None);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => value = double(field)?,
            2 => found = Some(exemplar(field.bytes()?)?),
            _ => {}
        }
    }
    Ok((value, found))
}

fn exemplar(message: &[u8]) -> Result<PageExemplar, WireError> {
    let (mut labels, mut value, mut at) = (Vec::new(), 0.0, None);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => labels.push(label(field.bytes()?)?),
            2 => value = double(field)?,
            3 => at = Some(timestamp(field.bytes()?)?),
            _ => {}
        }
    }
    labels.retain(|(name, _)| !name.is_empty());
    Ok(PageExemplar {
        at,
        value,
        labels: Labels::of(labels),
    })
}

/// `google.protobuf.Timestamp` in ms.
fn timestamp(message: &[u8]) -> Result<i64, WireError> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => seconds = field.varint()? as i64,
            2 => nanos = field.varint()? as i64,
            _ => {}
        }
    }
    Ok(seconds
        .saturating_mul(1000)
        .saturating_add(nanos / 1_000_000))
}

fn summary(
    metric: &Metric<'_>,
    message: &[u8],
    each: &mut impl FnMut(Item<'_>),
) -> Result<(), WireError> {
    let (mut count, mut sum, mut quantiles) = (0, 0.0, Vec::new());
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => count = field.varint()?,
            2 => sum = double(field)?,
            3 => {
                let (mut quantile, mut value) = (0.0, 0.0);
                let mut fields = Fields::new(field.bytes()?);
                while let Some((number, field)) = fields.next()? {
                    match number {
                        1 => quantile = double(field)?,
                        2 => value = double(field)?,
                        _ => {}
                    }
                }
                quantiles.push((quantile, value));
            }
            _ => {}
        }
    }
    metric.tell("_count", None, count as f64, &[], each)?;
    metric.tell("_sum", None, sum, &[], each)?;
    for (quantile, value) in quantiles {
        let mut text = String::new();
        number::write_canonical(quantile, &mut text);
        metric.tell("", Some(("quantile", &text)), value, &[], each)?;
    }
    Ok(())
}

/// A classic bucket: its bound, how many are below, an exemplar.
type Bucket = (f64, f64, Option<PageExemplar>);

#[derive(Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

fn histogram(
    metric: &Metric<'_>,
    message: &[u8],
    each: &mut impl FnMut(Item<'_>),
) -> Result<(), WireError> {
    let (mut found, mut buckets) = (Histogram::default(), Vec::<Bucket>::new());
    let (mut positive, mut negative) = (Side::default(), Side::default());
    let mut exemplars = Vec::new();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 if found.count == 0.0 => found.count = field.varint()? as f64,
            2 => found.sum = double(field)?,
            3 => buckets.push(bucket(field.bytes()?)?),
            4 => found.count = double(field)?,
            5 => found.schema = zigzag(field.varint()?) as i32,
            6 => found.zero_threshold = double(field)?,
            7 if found.zero_count == 0.0 => found.zero_count = field.varint()? as f64,
            8 => found.zero_count = double(field)?,
            9 => negative.spans.push(span(field.bytes()?)?),
            10 => deltas(field, &mut negative.deltas)?,
            11 => doubles(field, &mut negative.counts)?,
            12 => positive.spans.push(span(field.bytes()?)?),
            13 => deltas(field, &mut positive.deltas)?,
            14 => doubles(field, &mut positive.counts)?,
            16 => exemplars.push(exemplar(field.bytes()?)?),
            _ => {}
        }
    }
    // A histogram without observations says by an empty span or a zero bucket that it is native.
    let native = !positive.spans.is_empty()
        || !negative.spans.is_empty()
        || found.zero_threshold > 0.0
        || found.zero_count > 0.0;
    if native {
        for (side, spans, counts) in [
            (
                positive,
                &mut found.positive_spans,
                &mut found.positive_counts,
            ),
            (
                negative,
                &mut found.negative_spans,
                &mut found.negative_counts,
            ),
        ] {
            *spans = side.spans;
            *counts = match side.counts.is_empty() {
                true => native::absolute(side.deltas),
                false => side.counts,
            };
        }
        native::check(&found).map_err(|_| WireError::BadTag)?;
        return metric.tell("", None, found, &exemplars, each);
    }
    classic(metric, &found, buckets, each)
}

/// The series of a histogram with given bounds.
fn classic(
    metric: &Metric<'_>,
    found: &Histogram,
    mut buckets: Vec<Bucket>,
    each: &mut impl FnMut(Item<'_>),
) -> Result<(), WireError> {
    metric.tell("_count", None, found.count, &[], each)?;
    metric.tell("_sum", None, found.sum, &[], each)?;
    if buckets
        .last()
        .is_none_or(|(bound, _, _)| *bound != f64::INFINITY)
    {
        buckets.push((f64::INFINITY, found.count, None));
    }
    for (bound, below, exemplar) in buckets {
        let mut text = String::new();
        number::write_canonical(bound, &mut text);
        metric.tell(
            "_bucket",
            Some(("le", &text)),
            below,
            exemplar.as_slice(),
            each,
        )?;
    }
    Ok(())
}

fn bucket(message: &[u8]) -> Result<Bucket, WireError> {
    let (mut bound, mut below, mut found) = (0.0, 0.0, None);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 if below == 0.0 => below = field.varint()? as f64,
            2 => bound = double(field)?,
            3 => found = Some(exemplar(field.bytes()?)?),
            4 => below = double(field)?,
            _ => {}
        }
    }
    Ok((bound, below, found))
}

fn span(message: &[u8]) -> Result<Span, WireError> {
    let mut span = Span::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => span.offset = zigzag(field.varint()?) as i32,
            2 => span.length = field.varint()? as u32,
            _ => {}
        }
    }
    Ok(span)
}

fn deltas(field: Field<'_>, into: &mut Vec<i64>) -> Result<(), WireError> {
    match field {
        Field::Varint(n) => into.push(zigzag(n)),
        field => {
            for n in field.packed_varints()? {
                into.push(zigzag(n?));
            }
        }
    }
    Ok(())
}

fn doubles(field: Field<'_>, into: &mut Vec<f64>) -> Result<(), WireError> {
    match field {
        Field::Fixed64(bits) => into.push(f64::from_bits(bits)),
        field => into.extend(field.packed_fixed64()?.map(f64::from_bits)),
    }
    Ok(())
}
