//! OTLP metrics to series, by "OpenTelemetry: Prometheus and OpenMetrics Compatibility" and as the
//! OTLP receiver of Prometheus 3.5 does it by default: names with underscores and suffixes, `job` and
//! `instance` of the resource, its other attributes in `target_info`, classic buckets for histograms
//! with bounds, native histograms for exponential ones. Unlike it, delta temporality is taken
//! ([`delta`]).

mod delta;
mod labels;
mod names;
mod points;
#[cfg(test)]
mod tests;

pub(crate) use delta::Deltas;

use labels::ResourceLabels;
use names::Shape;

use super::metrics::{DecodeError, Decoded, LABEL_BYTES_MAX};
use crate::model::metric::{Metadata, MetricKind, Value};
use crate::model::wire::Fields;

/// Between two samples of `target_info`: half of PromQL's lookback, so that it is always found.
const TARGET_INFO_EVERY_MS: i64 = 150_000;

/// Samples of `target_info` for one resource of one request: four hours.
const TARGET_INFO_SAMPLES_MAX: i64 = 96;

/// The aggregation temporality of a sum or histogram.
const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;

/// A metric, translated.
struct Family {
    name: String,
    delta: bool,
    /// Whether its points may have exemplars.
    exemplars: bool,
}

/// A request being read.
struct Reader<'s> {
    deltas: &'s Deltas,
    decoded: Decoded,
    /// Earliest and latest time of the resource's points in ms.
    times: Option<(i64, i64)>,
}

/// Reads an encoded `ExportMetricsServiceRequest`.
///
/// # Errors
/// It is no such message.
pub(crate) fn decode(request: &[u8], deltas: &Deltas) -> Result<Decoded, DecodeError> {
    let mut reader = Reader {
        deltas,
        decoded: Decoded::default(),
        times: None,
    };
    let mut fields = Fields::new(request);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            reader.resource(field.bytes()?)?;
        }
    }
    Ok(reader.decoded)
}

/// What stands in the oneof of a `Metric`: the numbers of its field.
#[derive(Clone, Copy)]
enum Data {
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

impl Data {
    const fn kind(self, monotonic: bool) -> (Shape, MetricKind) {
        match self {
            Data::Gauge => (Shape::Gauge, MetricKind::Gauge),
            Data::Sum if monotonic => (Shape::Counter, MetricKind::Counter),
            Data::Sum => (Shape::Other, MetricKind::Gauge),
            Data::Histogram | Data::Exponential => (Shape::Other, MetricKind::Histogram),
            Data::Summary => (Shape::Other, MetricKind::Summary),
        }
    }
}

impl Reader<'_> {
    /// `ResourceMetrics`
    fn resource(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        let mut resource = ResourceLabels::default();
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            if number == 1 {
                resource = ResourceLabels::read(field.bytes()?)?;
            }
        }
        self.times = None;
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            if number == 2 {
                let mut scope = Fields::new(field.bytes()?);
                while let Some((number, field)) = scope.next()? {
                    if number == 2 {
                        let read = self.metric(field.bytes()?, &resource);
                        self.tolerate("a metric", read)?;
                    }
                }
            }
        }
        self.target_info(&resource);
        Ok(())
    }

    /// Leaves out what is malformed: a metric, or one of its points.
    fn tolerate(&mut self, name: &str, read: Result<(), DecodeError>) -> Result<(), DecodeError> {
        match read {
            Err(DecodeError::Wire(error)) => {
                self.left_out(1, || format!("{name}: {error}"));
                Ok(())
            }
            read => read.and_then(|()| self.room()),
        }
    }

    /// # Errors
    /// The labels of what was read so far take more than a request may.
    fn room(&self) -> Result<(), DecodeError> {
        match self.decoded.batch.label_bytes() {
            ..=LABEL_BYTES_MAX => Ok(()),
            _ => Err(DecodeError::LabelBytes),
        }
    }

    fn metric(&mut self, message: &[u8], resource: &ResourceLabels<'_>) -> Result<(), DecodeError> {
        let (mut name, mut help, mut unit, mut data) = ("", "", "", None);
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => name = field.str()?,
                2 => help = field.str()?,
                3 => unit = field.str()?,
                5 => data = Some((Data::Gauge, field.bytes()?)),
                7 => data = Some((Data::Sum, field.bytes()?)),
                9 => data = Some((Data::Histogram, field.bytes()?)),
                10 => data = Some((Data::Exponential, field.bytes()?)),
                11 => data = Some((Data::Summary, field.bytes()?)),
                _ => {}
            }
        }
        let Some((data, message)) = data else {
            return Ok(());
        };
        let (mut points, mut temporality, mut monotonic) = (Vec::new(), 0, false);
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => points.push(field.bytes()?),
                2 => temporality = field.varint()?,
                3 => monotonic = field.varint()? != 0,
                _ => {}
            }
        }
        let (shape, kind) = data.kind(monotonic);
        let has_temporality = matches!(data, Data::Sum | Data::Histogram | Data::Exponential);
        if has_temporality && !matches!(temporality, DELTA | CUMULATIVE) {
            self.left_out(points.len(), || {
                format!("{name:?} has no aggregation temporality: neither delta nor cumulative")
            });
            return Ok(());
        }
        let Some(translated) = names::metric(name, unit, shape) else {
            self.left_out(points.len(), || {
                format!("{name:?} has nothing that can be a name")
            });
            return Ok(());
        };
        let family = Family {
            name: translated,
            delta: has_temporality && temporality == DELTA,
            exemplars: matches!(data, Data::Sum),
        };
        for point in &points {
            let read = match data {
                Data::Gauge | Data::Sum => self.number(point, &family, resource),
                Data::Histogram => self.histogram(point, &family, resource),
                Data::Exponential => self.exponential(point, &family, resource),
                Data::Summary => self.summary(point, &family, resource),
            };
            self.tolerate(&family.name, read)?;
        }
        self.decoded.batch.metadata.push(Metadata {
            metric: family.name,
            kind,
            unit: unit.to_owned(),
            help: help.to_owned(),
        });
        Ok(())
    }

    fn left_out(&mut self, points: usize, what: impl FnOnce() -> String) {
        self.decoded.left_out.add(points, what);
    }

    /// Notes the time of a point.
    fn seen(&mut self, at: i64) {
        let (first, last) = self.times.unwrap_or((at, at));
        self.times = Some((first.min(at), last.max(at)));
    }

    /// What is known of the resource, for as long as its points tell of.
    fn target_info(&mut self, resource: &ResourceLabels<'_>) {
        let (Some((first, last)), Some(labels)) = (self.times, resource.target_info()) else {
            return;
        };
        let batch = &mut self.decoded.batch;
        labels.open(batch, "target_info", None);
        let mut at = first.max(last - TARGET_INFO_SAMPLES_MAX * TARGET_INFO_EVERY_MS);
        while at < last {
            batch.sample(at, Value::Float(1.0));
            at += TARGET_INFO_EVERY_MS;
        }
        batch.sample(last, Value::Float(1.0));
    }
}
