//! `prometheus.WriteRequest` (remote write 1.0) and `io.prometheus.write.v2.Request` (2.0), read by
//! borrowing straight into a batch.
//!
//! A series that is none is left out and told; bytes that are no such message refuse the request.
//! Created timestamps are read over: Prometheus 3.5 keeps none of remote write either, unless a
//! feature flag says so.

use std::collections::HashSet;
use std::sync::Arc;

use super::histogram;
use crate::model::metric::{Batch, Exemplar, Labels, Metadata, MetricKind, Value};
use crate::model::wire::{Field, Fields, WireError};
use crate::receive::metrics::{DecodeError, Decoded, LABEL_BYTES_MAX, LeftOut};

/// Labels of one series or exemplar that are looked at; the store takes far fewer.
const LABELS_MAX: usize = 1024;

/// A sample, an exemplar or a symbol has at least so many bytes on the wire, but for this many of them:
/// what is shorter is made to take memory, eight times what the request was admitted for.
const POINT_BYTES_MIN: usize = 8;
const POINTS_FREE: usize = 65_536;

/// What histograms may take in memory for each byte of the request, and how much in any case: counts of one
/// byte become eight.
const HISTOGRAM_BYTES_PER_BYTE: usize = 8;
const HISTOGRAM_BYTES_FREE: usize = 1 << 20;

/// Families of one request whose metadata are kept.
const FAMILIES_MAX: usize = 50_000;

/// Which of the two messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// Reads a decompressed request.
///
/// # Errors
/// It is no such message.
pub(crate) fn decode(request: &[u8], version: Version) -> Result<Decoded, DecodeError> {
    let mut reader = Reader {
        room: POINTS_FREE + request.len() / POINT_BYTES_MIN,
        histogram_room: HISTOGRAM_BYTES_FREE + request.len() * HISTOGRAM_BYTES_PER_BYTE,
        ..Reader::default()
    };
    let mut decoded = Decoded {
        batch: Batch::with_room(request.len()),
        left_out: LeftOut::default(),
    };
    let mut fields = Fields::new(request);
    match version {
        Version::V1 => {
            while let Some((number, field)) = fields.next()? {
                match number {
                    1 => reader.series_v1(field.bytes()?, &mut decoded)?,
                    3 => metadata_v1(field.bytes()?, &mut decoded.batch.metadata)?,
                    _ => {}
                }
            }
        }
        Version::V2 => {
            while let Some((number, field)) = fields.next()? {
                if number == 4 {
                    reader.symbols.push(field.bytes()?);
                    reader.fits(reader.symbols.len())?;
                }
            }
            let mut fields = Fields::new(request);
            while let Some((number, field)) = fields.next()? {
                if number == 5 {
                    reader.series_v2(field.bytes()?, &mut decoded)?;
                }
            }
        }
    }
    Ok(decoded)
}

/// Lists that are filled anew for each series.
#[derive(Default)]
struct Reader<'a> {
    symbols: Vec<&'a [u8]>,
    labels: Vec<(&'a [u8], &'a [u8])>,
    samples: Vec<(i64, f64)>,
    histograms: Vec<&'a [u8]>,
    exemplars: Vec<&'a [u8]>,
    /// Families whose metadata are there already.
    told: HashSet<&'a [u8]>,
    /// Points and symbols that the rest of the request may have.
    room: usize,
    histogram_room: usize,
}

impl<'a> Reader<'a> {
    fn clear(&mut self) {
        self.labels.clear();
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
    }

    fn series_v1(&mut self, series: &'a [u8], into: &mut Decoded) -> Result<(), DecodeError> {
        self.clear();
        let mut rest = series;
        while let Some(label) = leading_label(&mut rest) {
            self.push_label(label);
        }
        let mut fields = Fields::new(rest);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => self.push_label(label(field.bytes()?)?),
                2 => self.samples.push(sample(field.bytes()?)?),
                3 => self.exemplars.push(field.bytes()?),
                4 => self.histograms.push(field.bytes()?),
                _ => {}
            }
            self.fits(self.points())?;
        }
        self.keep(into, |reader, exemplar| {
            let (mut labels, mut value, mut at) = (Vec::new(), 0.0, 0);
            let mut fields = Fields::new(exemplar);
            while let Some((number, field)) = fields.next()? {
                match number {
                    1 => labels.push(label(field.bytes()?)?),
                    2 => value = double(field)?,
                    3 => at = field.varint()? as i64,
                    _ => {}
                }
            }
            reader.exemplar(&labels, value, at)
        })
    }

    fn series_v2(&mut self, series: &'a [u8], into: &mut Decoded) -> Result<(), DecodeError> {
        self.clear();
        let (mut refs, mut about) = (Vec::new(), None);
        let mut fields = Fields::new(series);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => numbers(field, &mut refs)?,
                2 => self.samples.push(sample(field.bytes()?)?),
                3 => self.histograms.push(field.bytes()?),
                4 => self.exemplars.push(field.bytes()?),
                5 => about = Some(field.bytes()?),
                _ => {}
            }
            self.fits(self.points() + refs.len() / (2 * LABELS_MAX))?;
        }
        refs.truncate(2 * (LABELS_MAX + 1));
        let Some(labels) = self.resolve(&refs) else {
            let points = self.points();
            into.left_out.add(points, || BAD_REFERENCES.to_owned());
            return Ok(());
        };
        self.labels = labels;
        self.metadata_v2(about, &mut into.batch.metadata)?;
        self.keep(into, |reader, exemplar| {
            let (mut refs, mut value, mut at) = (Vec::new(), 0.0, 0);
            let mut fields = Fields::new(exemplar);
            while let Some((number, field)) = fields.next()? {
                match number {
                    1 => numbers(field, &mut refs)?,
                    2 => value = double(field)?,
                    3 => at = field.varint()? as i64,
                    _ => {}
                }
            }
            match reader.resolve(&refs) {
                Some(labels) => reader.exemplar(&labels, value, at),
                None => Ok(Err(BAD_REFERENCES)),
            }
        })
    }

    /// Labels by the numbers of their symbols, name and value in turn.
    fn resolve(&self, refs: &[u32]) -> Option<Vec<(&'a [u8], &'a [u8])>> {
        let (pairs, []) = refs.as_chunks::<2>() else {
            return None;
        };
        let symbol = |n: u32| self.symbols.get(n as usize).copied();
        let pairs = pairs
            .iter()
            .map(|[name, value]| Some((symbol(*name)?, symbol(*value)?)));
        pairs.collect()
    }

    /// One more than may be is enough to know that there are too many.
    fn push_label(&mut self, label: (&'a [u8], &'a [u8])) {
        if self.labels.len() <= LABELS_MAX {
            self.labels.push(label);
        }
    }

    /// # Errors
    /// The request has more points than its bytes can honestly hold.
    fn fits(&self, points: usize) -> Result<(), DecodeError> {
        match points <= self.room {
            true => Ok(()),
            false => Err(DecodeError::Points),
        }
    }

    fn points(&self) -> usize {
        self.samples.len() + self.histograms.len() + self.exemplars.len()
    }

    /// Gives the series that was read to the batch.
    fn keep(
        &mut self,
        into: &mut Decoded,
        read_exemplar: impl Fn(&Reader<'a>, &'a [u8]) -> Result<ReadExemplar, DecodeError>,
    ) -> Result<(), DecodeError> {
        let points = self.points();
        if points == 0 {
            return Ok(());
        }
        self.room = self.room.saturating_sub(points);
        let Decoded { batch, left_out } = into;
        let bytes = |(name, value): &(&[u8], &[u8])| name.len() + value.len();
        let label_bytes: usize = self.labels.iter().map(bytes).sum();
        if batch.label_bytes() + label_bytes > LABEL_BYTES_MAX {
            return Err(DecodeError::LabelBytes);
        }
        let what = match self.labels.len() {
            0..=LABELS_MAX => batch
                .series_of_bytes(&mut self.labels)
                .map_err(|e| e.text())
                .err(),
            _ => Some("too many labels"),
        };
        if let Some(what) = what {
            left_out.add(points, || format!("{what}: {}", shown(&self.labels)));
            return Ok(());
        }
        for &(at, value) in &self.samples {
            batch.sample(at, Value::Float(value));
        }
        for message in &self.histograms {
            match histogram::read(message)? {
                Ok((at, histogram)) => {
                    let bytes = histogram.heap_bytes();
                    self.histogram_room = match self.histogram_room.checked_sub(bytes) {
                        Some(left) => left,
                        None => return Err(DecodeError::Points),
                    };
                    batch.sample(at, Value::Histogram(Arc::new(histogram)));
                }
                Err(what) => {
                    left_out.add(1, || {
                        format!("a histogram of {}: {what}", shown(&self.labels))
                    });
                }
            }
        }
        for message in &self.exemplars {
            match read_exemplar(self, message)? {
                Ok(exemplar) => batch.exemplar(exemplar),
                Err(what) => {
                    left_out.add(1, || {
                        format!("an exemplar of {}: {what}", shown(&self.labels))
                    });
                }
            }
        }
        Ok(())
    }

    fn exemplar(
        &self,
        labels: &[(&[u8], &[u8])],
        value: f64,
        at: i64,
    ) -> Result<ReadExemplar, DecodeError> {
        if labels.len() > LABELS_MAX {
            return Ok(Err("too many labels"));
        }
        let text = |text| std::str::from_utf8(text).map_err(|_| WireError::NotUtf8);
        let mut pairs = Vec::with_capacity(labels.len());
        for (name, value) in labels {
            pairs.push((text(name)?, text(value)?));
        }
        let labels = Labels::of(pairs);
        Ok(Ok(Exemplar { at, value, labels }))
    }

    /// What a series says of its family; the first one of a request that says something counts.
    fn metadata_v2(
        &mut self,
        about: Option<&'a [u8]>,
        into: &mut Vec<Metadata>,
    ) -> Result<(), DecodeError> {
        let Some(about) = about else { return Ok(()) };
        let (mut kind, mut help, mut unit) = (MetricKind::Unknown, 0, 0);
        let mut fields = Fields::new(about);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => kind = kind_of(field.varint()?),
                3 => help = field.varint()? as u32,
                4 => unit = field.varint()? as u32,
                _ => {}
            }
        }
        let name = self.labels.iter().find(|(name, _)| *name == b"__name__");
        let Some((_, name)) = name else { return Ok(()) };
        let family = family(name, kind);
        let symbol = |n: u32| {
            let symbol = self.symbols.get(n as usize).copied().unwrap_or_default();
            String::from_utf8_lossy(symbol).into_owned()
        };
        let says = kind != MetricKind::Unknown || help != 0 || unit != 0;
        if says && self.told.len() < FAMILIES_MAX && self.told.insert(family) {
            into.push(Metadata {
                metric: String::from_utf8_lossy(family).into_owned(),
                kind,
                unit: symbol(unit),
                help: symbol(help),
            });
        }
        Ok(())
    }
}

const BAD_REFERENCES: &str = "label references that are no pairs of symbols of the request";

type ReadExemplar = Result<Exemplar, &'static str>;

/// The family of a series: series of classic histograms and summaries have suffixes.
fn family(name: &[u8], kind: MetricKind) -> &[u8] {
    let suffixes: &[&[u8]] = match kind {
        MetricKind::Histogram | MetricKind::GaugeHistogram => &[b"_bucket", b"_count", b"_sum"],
        MetricKind::Summary => &[b"_count", b"_sum"],
        _ => &[],
    };
    let mut stems = suffixes
        .iter()
        .filter_map(|suffix| name.strip_suffix(*suffix));
    stems.next().unwrap_or(name)
}

/// Labels for a message to the sender.
fn shown(labels: &[(&[u8], &[u8])]) -> String {
    const SHOWN_CHARS: usize = 200;
    let text = |text| String::from_utf8_lossy(text).into_owned();
    let pairs = labels
        .iter()
        .take(20)
        .map(|(name, value)| (text(name), text(value)));
    let shown = format!("{:?}", Labels::of(pairs));
    shown.chars().take(SHOWN_CHARS).collect()
}

/// Takes a label off the front of a series as everybody writes it: name, then value, both shorter
/// than 128 bytes. Labels are nine tenths of a request.
#[inline]
fn leading_label<'a>(series: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let [0x0a, len @ ..0x80, 0x0a, name_len @ ..0x80, rest @ ..] = *series else {
        return None;
    };
    let (name, rest) = rest.split_at_checked(usize::from(*name_len))?;
    let [0x12, value_len @ ..0x80, rest @ ..] = rest else {
        return None;
    };
    let (value, rest) = rest.split_at_checked(usize::from(*value_len))?;
    let whole = name.len() + value.len() + 4 == usize::from(*len);
    whole.then(|| {
        *series = rest;
        (name, value)
    })
}

fn label(message: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let (mut name, mut value) = (&[][..], &[][..]);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => name = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((name, value))
}

#[inline]
fn sample(message: &[u8]) -> Result<(i64, f64), WireError> {
    let (mut at, mut value) = (0, 0.0);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => value = double(field)?,
            2 => at = field.varint()? as i64,
            _ => {}
        }
    }
    Ok((at, value))
}

pub(super) fn double(field: Field<'_>) -> Result<f64, WireError> {
    Ok(f64::from_bits(field.fixed64()?))
}

/// Numbers of a repeated field, packed or one by one.
fn numbers(field: Field<'_>, into: &mut Vec<u32>) -> Result<(), WireError> {
    let number = |n: u64| u32::try_from(n).map_err(|_| WireError::BadTag);
    match field {
        Field::Varint(n) => into.push(number(n)?),
        field => {
            for n in field.packed_varints()? {
                into.push(number(n?)?);
            }
        }
    }
    Ok(())
}

fn metadata_v1(message: &[u8], into: &mut Vec<Metadata>) -> Result<(), DecodeError> {
    if into.len() == FAMILIES_MAX {
        return Ok(());
    }
    let mut found = Metadata::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => found.kind = kind_of(field.varint()?),
            2 => found.metric = field.str()?.to_owned(),
            4 => found.help = field.str()?.to_owned(),
            5 => found.unit = field.str()?.to_owned(),
            _ => {}
        }
    }
    if !found.metric.is_empty() {
        into.push(found);
    }
    Ok(())
}

/// The enums of both versions number the types alike.
const fn kind_of(number: u64) -> MetricKind {
    match number {
        1 => MetricKind::Counter,
        2 => MetricKind::Gauge,
        3 => MetricKind::Histogram,
        4 => MetricKind::GaugeHistogram,
        5 => MetricKind::Summary,
        6 => MetricKind::Info,
        7 => MetricKind::StateSet,
        _ => MetricKind::Unknown,
    }
}
