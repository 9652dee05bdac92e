//! Data points of the five kinds, each to the series that Prometheus makes of it.

use std::borrow::Cow;
use std::sync::Arc;

use super::delta::{Buckets, Exponential, Sum};
use super::labels::{PointLabels, ResourceLabels, text};
use super::{Family, Reader};
use crate::model::metric::{Exemplar, Histogram, Labels, STALE_NAN_BITS, Span, Value};
use crate::model::record;
use crate::model::value::parse_key_value;
use crate::model::wire::{Field, Fields, WireError, zigzag};
use crate::receive::metrics::DecodeError;
use crate::receive::native;

/// Characters of an exemplar's labels (OpenMetrics 1.0, "Exemplars"); attributes beyond are left out.
const EXEMPLAR_CHARS_MAX: usize = 128;

/// The zero bucket of histograms that tell none, as Prometheus has it.
const ZERO_THRESHOLD: f64 = 1e-128;

/// Runs of up to so many empty buckets are written out instead of a span of their own.
const GAP_MAX: i64 = 2;

/// What all points have in common.
#[derive(Default)]
struct Common<'a> {
    attributes: Vec<&'a [u8]>,
    exemplars: Vec<&'a [u8]>,
    /// ms
    at: i64,
    /// The flag "no recorded value".
    stale: bool,
}

impl Common<'_> {
    fn stale(&mut self, flags: u64) {
        self.stale = flags & 1 == 1;
    }

    fn time(&mut self, ns: u64) {
        self.at = (ns / 1_000_000) as i64;
    }
}

fn double(field: Field<'_>) -> Result<f64, WireError> {
    Ok(f64::from_bits(field.fixed64()?))
}

fn fixed64s(field: Field<'_>, into: &mut Vec<u64>) -> Result<(), WireError> {
    match field {
        Field::Fixed64(n) => into.push(n),
        field => into.extend(field.packed_fixed64()?),
    }
    Ok(())
}

impl<'a> Reader<'_> {
    /// `NumberDataPoint` of gauges and sums.
    pub(super) fn number(
        &mut self,
        point: &'a [u8],
        family: &Family,
        resource: &'a ResourceLabels<'_>,
    ) -> Result<(), DecodeError> {
        let (mut common, mut value) = (Common::default(), None);
        let mut fields = Fields::new(point);
        while let Some((number, field)) = fields.next()? {
            match number {
                3 => common.time(field.fixed64()?),
                4 => value = Some(double(field)?),
                5 => common.exemplars.push(field.bytes()?),
                6 => value = Some(field.fixed64()? as i64 as f64),
                7 => common.attributes.push(field.bytes()?),
                8 => common.stale(field.varint()?),
                _ => {}
            }
        }
        let labels = PointLabels::read(&common.attributes, resource)?;
        self.seen(common.at);
        if value.is_none() && !common.stale {
            self.left_out(1, || format!("a point of {} without a value", family.name));
            return Ok(());
        }
        let exemplars = match family.exemplars {
            true => exemplars(&common.exemplars)?,
            false => Vec::new(),
        };
        labels.open(&mut self.decoded.batch, &family.name, None);
        self.float(family, common.at, value.unwrap_or_default(), common.stale);
        for exemplar in exemplars {
            self.decoded.batch.exemplar(exemplar);
        }
        Ok(())
    }

    /// `HistogramDataPoint`: `_sum`, `_count` and `_bucket` with cumulated counts.
    pub(super) fn histogram(
        &mut self,
        point: &'a [u8],
        family: &Family,
        resource: &'a ResourceLabels<'_>,
    ) -> Result<(), DecodeError> {
        let (mut common, mut count, mut sum) = (Common::default(), 0, None);
        let (mut counts, mut bounds) = (Vec::new(), Vec::new());
        let mut fields = Fields::new(point);
        while let Some((number, field)) = fields.next()? {
            match number {
                3 => common.time(field.fixed64()?),
                4 => count = field.fixed64()?,
                5 => sum = Some(double(field)?),
                6 => fixed64s(field, &mut counts)?,
                7 => fixed64s(field, &mut bounds)?,
                8 => common.exemplars.push(field.bytes()?),
                9 => common.attributes.push(field.bytes()?),
                10 => common.stale(field.varint()?),
                _ => {}
            }
        }
        let bounds: Vec<f64> = bounds.into_iter().map(f64::from_bits).collect();
        let (at, stale) = (common.at, common.stale);
        let labels = PointLabels::read(&common.attributes, resource)?;
        self.seen(at);
        let mut exemplars = exemplars(&common.exemplars)?;
        exemplars.sort_by(|a, b| a.value.total_cmp(&b.value));
        let mut exemplars = exemplars.into_iter().peekable();
        let rising = bounds.is_sorted_by(|a, b| a < b);
        if bounds.len() > native::BUCKETS_MAX || !rising {
            self.left_out(1, || {
                format!("a histogram of {} whose bounds do not rise", family.name)
            });
            return Ok(());
        }
        let name = &family.name;
        if let Some(sum) = sum {
            labels.open(&mut self.decoded.batch, &format!("{name}_sum"), None);
            self.float(family, at, sum, stale);
        }
        labels.open(&mut self.decoded.batch, &format!("{name}_count"), None);
        self.float(family, at, count as f64, stale);
        let bucket = format!("{name}_bucket");
        let mut below = 0u64;
        let given = bounds.iter().zip(&counts).map(|(bound, count)| {
            below = below.saturating_add(*count);
            (*bound, below)
        });
        let buckets: Vec<(f64, u64)> = given.chain([(f64::INFINITY, count)]).collect();
        for (bound, below) in buckets {
            let text = match bound {
                f64::INFINITY => Cow::Borrowed("+Inf"),
                f64::NEG_INFINITY => Cow::Borrowed("-Inf"),
                bound => Cow::Owned(format!("{bound}")),
            };
            labels.open(&mut self.decoded.batch, &bucket, Some(("le", &text)));
            self.room()?;
            self.float(family, at, below as f64, stale);
            while let Some(exemplar) = exemplars.next_if(|exemplar| exemplar.value <= bound) {
                self.decoded.batch.exemplar(exemplar);
            }
        }
        Ok(())
    }

    /// `SummaryDataPoint`: `_sum`, `_count` and the quantiles.
    pub(super) fn summary(
        &mut self,
        point: &'a [u8],
        family: &Family,
        resource: &'a ResourceLabels<'_>,
    ) -> Result<(), DecodeError> {
        let (mut common, mut count, mut sum) = (Common::default(), 0, 0.0);
        let mut quantiles = Vec::new();
        let mut fields = Fields::new(point);
        while let Some((number, field)) = fields.next()? {
            match number {
                3 => common.time(field.fixed64()?),
                4 => count = field.fixed64()?,
                5 => sum = double(field)?,
                6 => quantiles.push(quantile(field.bytes()?)?),
                7 => common.attributes.push(field.bytes()?),
                8 => common.stale(field.varint()?),
                _ => {}
            }
        }
        let (at, stale) = (common.at, common.stale);
        let labels = PointLabels::read(&common.attributes, resource)?;
        self.seen(at);
        let name = &family.name;
        for (suffix, value) in [("sum", sum), ("count", count as f64)] {
            labels.open(&mut self.decoded.batch, &format!("{name}_{suffix}"), None);
            self.float(family, at, value, stale);
        }
        for (quantile, value) in quantiles {
            let text = quantile.to_string();
            labels.open(&mut self.decoded.batch, name, Some(("quantile", &text)));
            self.room()?;
            self.float(family, at, value, stale);
        }
        Ok(())
    }

    /// `ExponentialHistogramDataPoint`: a native histogram.
    pub(super) fn exponential(
        &mut self,
        point: &'a [u8],
        family: &Family,
        resource: &'a ResourceLabels<'_>,
    ) -> Result<(), DecodeError> {
        let (mut common, mut found) = (Common::default(), Exponential::default());
        let mut fields = Fields::new(point);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => common.attributes.push(field.bytes()?),
                3 => common.time(field.fixed64()?),
                4 => found.count = field.fixed64()?,
                5 => found.sum = double(field)?,
                6 => found.scale = zigzag(field.varint()?) as i32,
                7 => found.zero_count = field.fixed64()?,
                8 => found.positive = buckets(field.bytes()?)?,
                9 => found.negative = buckets(field.bytes()?)?,
                10 => common.stale(field.varint()?),
                11 => common.exemplars.push(field.bytes()?),
                14 => found.zero_threshold = double(field)?,
                _ => {}
            }
        }
        let labels = PointLabels::read(&common.attributes, resource)?;
        let exemplars = exemplars(&common.exemplars)?;
        self.seen(common.at);
        let sides = found.positive.counts.len() + found.negative.counts.len();
        let what = match found.scale {
            ..-4 => Some("a scale below -4, which native histograms do not have"),
            _ if sides > native::BUCKETS_MAX => Some("more than 4096 buckets"),
            _ => None,
        };
        if let Some(what) = what {
            self.left_out(1, || format!("a histogram of {}: {what}", family.name));
            return Ok(());
        }
        labels.open(&mut self.decoded.batch, &family.name, None);
        let at = common.at;
        if common.stale {
            let stale = Histogram {
                sum: f64::from_bits(STALE_NAN_BITS),
                ..Histogram::default()
            };
            self.decoded
                .batch
                .sample(at, Value::Histogram(Arc::new(stale)));
        } else {
            match self.cumulative(family, at, Sum::Exponential(Box::new(found))) {
                Some(Sum::Exponential(sum)) => self.native(family, at, *sum),
                Some(Sum::Float(_)) | None => {}
            }
        }
        for exemplar in exemplars {
            self.decoded.batch.exemplar(exemplar);
        }
        Ok(())
    }

    fn native(&mut self, family: &Family, at: i64, mut found: Exponential) {
        found.coarsen(found.scale.min(8));
        let (positive_spans, positive_counts) = sparse(&found.positive);
        let (negative_spans, negative_counts) = sparse(&found.negative);
        let histogram = Histogram {
            schema: found.scale,
            zero_threshold: match found.zero_threshold {
                0.0 => ZERO_THRESHOLD,
                told => told,
            },
            zero_count: found.zero_count as f64,
            count: found.count as f64,
            sum: found.sum,
            positive_spans,
            positive_counts,
            negative_spans,
            negative_counts,
            ..Histogram::default()
        };
        match native::check(&histogram) {
            Ok(()) => self
                .decoded
                .batch
                .sample(at, Value::Histogram(Arc::new(histogram))),
            Err(what) => self.left_out(1, || format!("a histogram of {}: {what}", family.name)),
        }
    }

    /// Adds a float to the series that was opened last.
    fn float(&mut self, family: &Family, at: i64, value: f64, stale: bool) {
        if stale {
            let value = f64::from_bits(STALE_NAN_BITS);
            return self.decoded.batch.sample(at, Value::Float(value));
        }
        if let Some(Sum::Float(value)) = self.cumulative(family, at, Sum::Float(value)) {
            self.decoded.batch.sample(at, Value::Float(value));
        }
    }

    /// What a series that was opened last has come to; `None`: its point was left out.
    fn cumulative(&mut self, family: &Family, at: i64, value: Sum) -> Option<Sum> {
        if !family.delta {
            return Some(value);
        }
        let series = self.decoded.batch.last_packed();
        let sum = self.deltas.add(series, at, value);
        if sum.is_none() {
            self.left_out(1, || {
                format!("a delta of {} that is older than the last one", family.name)
            });
        }
        sum
    }
}

fn quantile(message: &[u8]) -> Result<(f64, f64), WireError> {
    let (mut quantile, mut value) = (0.0, 0.0);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => quantile = double(field)?,
            2 => value = double(field)?,
            _ => {}
        }
    }
    Ok((quantile, value))
}

fn buckets(message: &[u8]) -> Result<Buckets, WireError> {
    let mut buckets = Buckets::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, field) => buckets.offset = zigzag(field.varint()?) as i32,
            (2, Field::Varint(n)) => buckets.counts.push(n),
            (2, field) => {
                for n in field.packed_varints()? {
                    buckets.counts.push(n?);
                }
            }
            _ => {}
        }
    }
    Ok(buckets)
}

/// Dense buckets as spans of those that count. Bucket 0 of OTLP is (1, base], which is bucket 1 of
/// Prometheus.
fn sparse(buckets: &Buckets) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut counts) = (Vec::<Span>::new(), Vec::new());
    // Where the next bucket would be that needs neither gap nor span.
    let mut next = 0i64;
    for (at, count) in buckets
        .counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
    {
        let bucket = i64::from(buckets.offset) + at as i64 + 1;
        let gap = bucket - next;
        match spans.last_mut() {
            Some(span) if gap <= GAP_MAX => {
                counts.resize(counts.len() + gap as usize, 0.0);
                span.length += gap as u32 + 1;
            }
            _ => spans.push(Span {
                offset: i32::try_from(gap).unwrap_or(i32::MAX),
                length: 1,
            }),
        }
        counts.push(*count as f64);
        next = bucket + 1;
    }
    (spans, counts)
}

fn exemplars(messages: &[&[u8]]) -> Result<Vec<Exemplar>, WireError> {
    messages.iter().map(|message| exemplar(message)).collect()
}

fn exemplar(message: &[u8]) -> Result<Exemplar, WireError> {
    let (mut at, mut value) = (0, 0.0);
    let mut own = Vec::new();
    let mut filtered = Vec::new();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            2 => at = (field.fixed64()? / 1_000_000) as i64,
            3 => value = double(field)?,
            4 => own.extend(record::span_id(field.bytes()?)?.map(|id| ("span_id", id.to_string()))),
            5 => {
                own.extend(record::trace_id(field.bytes()?)?.map(|id| ("trace_id", id.to_string())))
            }
            6 => value = field.fixed64()? as i64 as f64,
            7 => {
                let (key, value) = parse_key_value(field.bytes()?)?;
                filtered.push((key, text(value)));
            }
            _ => {}
        }
    }
    let chars = |name: &str, value: &str| name.chars().count() + value.chars().count();
    let of_own: usize = own.iter().map(|(name, value)| chars(name, value)).sum();
    let of_filtered: usize = filtered
        .iter()
        .map(|(name, value)| chars(name, value))
        .sum();
    if of_own + of_filtered > EXEMPLAR_CHARS_MAX {
        filtered.clear();
    }
    let pairs = own.iter().map(|(name, value)| (*name, value.as_str()));
    let filtered = filtered.iter().filter(|(name, _)| !name.is_empty());
    let pairs = filtered.map(|(name, value)| (*name, &**value)).chain(pairs);
    Ok(Exemplar {
        at,
        value,
        labels: Labels::of(pairs),
    })
}
