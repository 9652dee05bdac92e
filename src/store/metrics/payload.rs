//! A request of metrics in the log: known series by number, new ones with their labels. Layout:
//! docs/formats/metrics-batch.md. Pure bytes; holds only what was accepted.

use std::sync::Arc;

use crate::model::metric::{
    CounterReset, Exemplar, Histogram, Labels, Metadata, MetricKind, Span, Value,
};

const VERSION: u8 = 1;

/// Times further from the epoch than this, in ms, are refused: sums of two of them fit an i64.
pub(crate) const TIME_MAX: i64 = 1 << 53;

/// Buckets, spans or bounds of one histogram; Prometheus refuses more than a few hundred.
const BUCKETS_MAX: usize = 1 << 16;

/// Whether a histogram can be written so that it is read again: asked before it goes into the log.
pub(super) fn has_room_for(histogram: &Histogram) -> bool {
    let lists = [
        histogram.positive_spans.len(),
        histogram.positive_counts.len(),
        histogram.negative_spans.len(),
        histogram.negative_counts.len(),
        histogram.custom_bounds.len(),
    ];
    lists.into_iter().all(|n| n <= BUCKETS_MAX)
}

const KINDS: [MetricKind; 8] = [
    MetricKind::Unknown,
    MetricKind::Counter,
    MetricKind::Gauge,
    MetricKind::Histogram,
    MetricKind::GaugeHistogram,
    MetricKind::Summary,
    MetricKind::Info,
    MetricKind::StateSet,
];

/// What a payload says, in order: `Series` opens a series, the samples and exemplars behind it are its.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    /// A series that is known by its number.
    Known(u32),
    /// A series that has got its number with this request.
    New(u32, Labels),
    Sample(i64, Value),
    Exemplar(Exemplar),
    Metadata(Metadata),
}

/// The bytes are no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

const TAG_END: u8 = 0;
const TAG_KNOWN: u8 = 1;
const TAG_NEW: u8 = 2;
const TAG_METADATA: u8 = 3;

/// Writes a payload.
#[derive(Debug)]
pub(crate) struct PayloadWriter {
    out: Vec<u8>,
    number: u32,
    at: i64,
    /// A series is open.
    is_open: bool,
    pub(crate) samples: u64,
}

impl PayloadWriter {
    pub(crate) fn with_capacity(bytes: usize) -> PayloadWriter {
        let mut out = Vec::with_capacity(bytes);
        out.push(VERSION);
        PayloadWriter {
            out,
            number: 0,
            at: 0,
            is_open: false,
            samples: 0,
        }
    }

    pub(crate) fn known(&mut self, number: u32) {
        self.open(TAG_KNOWN, number);
    }

    pub(crate) fn new_series(&mut self, number: u32, labels: &Labels) {
        self.open(TAG_NEW, number);
        put_bytes(&mut self.out, labels.packed());
    }

    fn open(&mut self, tag: u8, number: u32) {
        self.close();
        self.out.push(tag);
        let step = i64::from(number) - i64::from(self.number);
        put_varint(&mut self.out, zigzag(step));
        self.number = number;
        self.is_open = true;
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.out.push(TAG_END);
        }
    }

    /// Of the series opened last. The low bits of the time's step tell what follows; the one value 0
    /// ends a series.
    pub(crate) fn sample(&mut self, at: i64, value: &Value) {
        let step = zigzag(at - self.at) << 2;
        self.at = at;
        self.samples += 1;
        match value {
            Value::Float(value) => {
                put_varint(&mut self.out, step | 1);
                put_number(&mut self.out, *value);
            }
            Value::Histogram(histogram) => {
                put_varint(&mut self.out, step | 2);
                put_histogram(&mut self.out, histogram);
            }
        }
    }

    pub(crate) fn exemplar(&mut self, exemplar: &Exemplar) {
        put_varint(&mut self.out, zigzag(exemplar.at - self.at) << 2 | 3);
        self.at = exemplar.at;
        put_number(&mut self.out, exemplar.value);
        put_bytes(&mut self.out, exemplar.labels.packed());
    }

    pub(crate) fn metadata(&mut self, metadata: &Metadata) {
        self.close();
        self.out.push(TAG_METADATA);
        put_metadata(&mut self.out, metadata);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.close();
        self.out
    }
}

/// Reads a payload, event by event.
///
/// # Errors
/// The bytes are no payload; events before the damage were given already.
pub(crate) fn read(bytes: &[u8], each: &mut dyn FnMut(Event)) -> Result<(), Damaged> {
    let mut cursor = Cursor(bytes);
    if cursor.byte()? != VERSION {
        return Err(Damaged);
    }
    let (mut number, mut at) = (0u32, 0i64);
    while !cursor.0.is_empty() {
        let tag = cursor.byte()?;
        if tag == TAG_METADATA {
            each(Event::Metadata(cursor.metadata()?));
            continue;
        }
        let step = unzigzag(cursor.varint()?);
        let next = i64::from(number).checked_add(step).ok_or(Damaged)?;
        number = u32::try_from(next).map_err(|_| Damaged)?;
        match tag {
            TAG_KNOWN => each(Event::Known(number)),
            TAG_NEW => each(Event::New(number, cursor.labels()?)),
            _ => return Err(Damaged),
        }
        loop {
            let head = cursor.varint()?;
            if head == u64::from(TAG_END) {
                break;
            }
            at = at.checked_add(unzigzag(head >> 2)).ok_or(Damaged)?;
            if at.unsigned_abs() > TIME_MAX as u64 {
                return Err(Damaged);
            }
            each(match head & 3 {
                1 => Event::Sample(at, Value::Float(cursor.number()?)),
                2 => Event::Sample(at, Value::Histogram(Arc::new(cursor.histogram()?))),
                3 => Event::Exemplar(Exemplar {
                    at,
                    value: cursor.number()?,
                    labels: cursor.labels()?,
                }),
                _ => return Err(Damaged),
            });
        }
    }
    Ok(())
}

/// Metadata alone, as the catalogue keeps it.
pub(crate) fn put_metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    let kind = KINDS.iter().position(|kind| *kind == metadata.kind);
    out.push(kind.expect("KINDS has all of them") as u8);
    for text in [&metadata.metric, &metadata.unit, &metadata.help] {
        put_bytes(out, text.as_bytes());
    }
}

/// The inverse of [`put_metadata`].
pub(crate) fn read_metadata(bytes: &[u8]) -> Option<Metadata> {
    let mut cursor = Cursor(bytes);
    let metadata = cursor.metadata().ok()?;
    cursor.0.is_empty().then_some(metadata)
}

fn put_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    out.push(match histogram.reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    });
    put_varint(out, zigzag(i64::from(histogram.schema)));
    for number in [
        histogram.zero_threshold,
        histogram.zero_count,
        histogram.count,
        histogram.sum,
    ] {
        put_number(out, number);
    }
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        put_varint(out, spans.len() as u64);
        for span in spans {
            put_varint(out, zigzag(i64::from(span.offset)));
            put_varint(out, u64::from(span.length));
        }
    }
    for numbers in [
        &histogram.positive_counts,
        &histogram.negative_counts,
        &histogram.custom_bounds,
    ] {
        put_varint(out, numbers.len() as u64);
        for number in numbers {
            put_number(out, *number);
        }
    }
}

/// Whether two histograms are the same to the bit, NaN included.
pub(super) fn is_same_histogram(a: &Histogram, b: &Histogram) -> bool {
    let [mut x, mut y] = [Vec::new(), Vec::new()];
    put_histogram(&mut x, a);
    put_histogram(&mut y, b);
    x == y
}

/// Whole numbers as a varint of twice their zigzag; any other float as a 1 and its eight bytes.
fn put_number(out: &mut Vec<u8>, value: f64) {
    let whole = value as i64;
    let is_whole = whole as f64 == value
        && whole.unsigned_abs() < 1 << 53
        && (whole != 0 || value.is_sign_positive());
    if is_whole {
        put_varint(out, zigzag(whole) << 1);
    } else {
        out.push(1);
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    fn byte(&mut self) -> Result<u8, Damaged> {
        let (&byte, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(byte)
    }

    fn take(&mut self, n: usize) -> Result<&'b [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    /// A count of things that take a byte each at least.
    fn count(&mut self) -> Result<usize, Damaged> {
        let n = usize::try_from(self.varint()?).map_err(|_| Damaged)?;
        (n <= self.0.len().min(BUCKETS_MAX))
            .then_some(n)
            .ok_or(Damaged)
    }

    fn bytes(&mut self) -> Result<&'b [u8], Damaged> {
        let n = usize::try_from(self.varint()?).map_err(|_| Damaged)?;
        self.take(n)
    }

    fn text(&mut self) -> Result<String, Damaged> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)?;
        Ok(text.to_owned())
    }

    fn labels(&mut self) -> Result<Labels, Damaged> {
        Labels::unpack(self.bytes()?).ok_or(Damaged)
    }

    fn number(&mut self) -> Result<f64, Damaged> {
        let first = *self.0.first().ok_or(Damaged)?;
        if first == 1 {
            let bytes = self.take(9)?;
            let bits = bytes[1..].try_into().expect("eight bytes");
            return Ok(f64::from_bits(u64::from_le_bytes(bits)));
        }
        let whole = self.varint()?;
        if whole & 1 == 1 {
            return Err(Damaged);
        }
        Ok(unzigzag(whole >> 1) as f64)
    }

    fn numbers(&mut self) -> Result<Vec<f64>, Damaged> {
        let n = self.count()?;
        (0..n).map(|_| self.number()).collect()
    }

    fn spans(&mut self) -> Result<Vec<Span>, Damaged> {
        let n = self.count()?;
        let mut spans = Vec::with_capacity(n);
        for _ in 0..n {
            let offset = i32::try_from(unzigzag(self.varint()?)).map_err(|_| Damaged)?;
            let length = u32::try_from(self.varint()?).map_err(|_| Damaged)?;
            spans.push(Span { offset, length });
        }
        Ok(spans)
    }

    fn histogram(&mut self) -> Result<Histogram, Damaged> {
        let reset = match self.byte()? {
            0 => CounterReset::Unknown,
            1 => CounterReset::Reset,
            2 => CounterReset::NotReset,
            3 => CounterReset::Gauge,
            _ => return Err(Damaged),
        };
        let schema = i32::try_from(unzigzag(self.varint()?)).map_err(|_| Damaged)?;
        let [zero_threshold, zero_count, count, sum] = [
            self.number()?,
            self.number()?,
            self.number()?,
            self.number()?,
        ];
        let (positive_spans, negative_spans) = (self.spans()?, self.spans()?);
        Ok(Histogram {
            reset,
            schema,
            zero_threshold,
            zero_count,
            count,
            sum,
            positive_spans,
            negative_spans,
            positive_counts: self.numbers()?,
            negative_counts: self.numbers()?,
            custom_bounds: self.numbers()?,
        })
    }

    fn metadata(&mut self) -> Result<Metadata, Damaged> {
        let kind = *KINDS.get(usize::from(self.byte()?)).ok_or(Damaged)?;
        Ok(Metadata {
            metric: self.text()?,
            kind,
            unit: self.text()?,
            help: self.text()?,
        })
    }
}
