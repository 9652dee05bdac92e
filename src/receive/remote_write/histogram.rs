//! Native histograms as remote write sends them; the message is the same in 1.0 and 2.0.

use super::decode::double;
use crate::model::metric::{CounterReset, Histogram, Span};
use crate::model::wire::{Field, Fields, WireError, zigzag};
use crate::receive::native;

/// Buckets as they come: integers are told by their differences, floats as they are.
#[derive(Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Side {
    fn counts(self) -> (Vec<Span>, Vec<f64>) {
        if self.counts.is_empty() {
            return (self.spans, native::absolute(self.deltas));
        }
        (self.spans, self.counts)
    }
}

/// Reads `prometheus.Histogram`: its time in ms, and itself or which rule it breaks.
pub(super) fn read(message: &[u8]) -> Result<Result<(i64, Histogram), &'static str>, WireError> {
    let (mut at, mut histogram) = (0, Histogram::default());
    let (mut positive, mut negative) = (Side::default(), Side::default());
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => histogram.count = field.varint()? as f64,
            2 => histogram.count = double(field)?,
            3 => histogram.sum = double(field)?,
            4 => histogram.schema = zigzag(field.varint()?) as i32,
            5 => histogram.zero_threshold = double(field)?,
            6 => histogram.zero_count = field.varint()? as f64,
            7 => histogram.zero_count = double(field)?,
            8 => negative.spans.push(span(field.bytes()?)?),
            9 => deltas(field, &mut negative.deltas)?,
            10 => doubles(field, &mut negative.counts)?,
            11 => positive.spans.push(span(field.bytes()?)?),
            12 => deltas(field, &mut positive.deltas)?,
            13 => doubles(field, &mut positive.counts)?,
            14 => {
                histogram.reset = match field.varint()? {
                    1 => CounterReset::Reset,
                    2 => CounterReset::NotReset,
                    3 => CounterReset::Gauge,
                    _ => CounterReset::Unknown,
                }
            }
            15 => at = field.varint()? as i64,
            16 => doubles(field, &mut histogram.custom_bounds)?,
            _ => {}
        }
    }
    (histogram.positive_spans, histogram.positive_counts) = positive.counts();
    (histogram.negative_spans, histogram.negative_counts) = negative.counts();
    Ok(native::check(&histogram).map(|()| (at, histogram)))
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
