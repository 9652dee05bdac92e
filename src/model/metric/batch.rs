//! What a receiver hands to the door: samples by series, as they came in one request or scrape.

use std::sync::Arc;

use super::NAME;
use super::histogram::Histogram;
use super::labels::{self, Labels};

/// The value of a sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// One sample; `at` is ms since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) at: i64,
    pub(crate) value: Value,
}

/// An example of what a sample counted, most often with a `trace_id` among its labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) at: i64,
    pub(crate) value: f64,
    pub(crate) labels: Labels,
}

/// What a metric is, as told by `# TYPE` and its kin. Unknown unless told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum MetricKind {
    #[default]
    Unknown,
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
}

impl MetricKind {
    /// The word of exposition formats and the metadata API.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            MetricKind::Unknown => "unknown",
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
            MetricKind::GaugeHistogram => "gaugehistogram",
            MetricKind::Summary => "summary",
            MetricKind::Info => "info",
            MetricKind::StateSet => "stateset",
        }
    }
}

/// What a metric family says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Of the family: `http_requests_total`, `http_request_duration_seconds`.
    pub(crate) metric: String,
    pub(crate) kind: MetricKind,
    pub(crate) unit: String,
    pub(crate) help: String,
}

/// One request's worth of metrics, flat: labels packed one behind another, samples in one column.
///
/// Filled series by series: [`Batch::series`] opens one, [`Batch::sample`] and [`Batch::exemplar`]
/// add to the one opened last.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Batch {
    packed: Vec<u8>,
    entries: Vec<Entry>,
    samples: Vec<Sample>,
    exemplars: Vec<Exemplar>,
    /// What the histograms among the samples take.
    histogram_bytes: usize,
    pub(crate) metadata: Vec<Metadata>,
}

/// Where each column ends for a series; it begins where the one before ends.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    packed: u32,
    samples: u32,
    exemplars: u32,
}

/// Why labels are none of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeriesError {
    /// Without a metric's name.
    Nameless,
    /// A label with an empty name.
    EmptyName,
    /// A name that comes twice.
    Twice,
    NotUtf8,
}

impl SeriesError {
    /// What is wrong, for the sender.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            SeriesError::Nameless => "no label __name__",
            SeriesError::EmptyName => "a label with an empty name",
            SeriesError::Twice => "a label name that comes twice",
            SeriesError::NotUtf8 => "a label that is not UTF-8",
        }
    }
}

/// One series of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeriesView<'a> {
    /// As [`Labels::packed`] gives them.
    pub(crate) packed: &'a [u8],
    pub(crate) samples: &'a [Sample],
    pub(crate) exemplars: &'a [Exemplar],
}

impl Batch {
    /// An empty batch with room for what a request of so many bytes usually holds.
    pub(crate) fn with_room(request_bytes: usize) -> Batch {
        // About 200 bytes a series with one sample; what is not used is never touched.
        Batch {
            packed: Vec::with_capacity(request_bytes),
            entries: Vec::with_capacity(request_bytes / 128),
            samples: Vec::with_capacity(request_bytes / 128),
            ..Batch::default()
        }
    }

    /// Opens a series. Pairs are sorted here where they are not; empty values are left out; of a name
    /// that comes twice (which a receiver should have refused) the first pair counts.
    pub(crate) fn series(&mut self, pairs: &mut Vec<(&str, &str)>) {
        pairs.retain(|(_, value)| !value.is_empty());
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            pairs.sort_by_key(|pair| pair.0);
            pairs.dedup_by_key(|pair| pair.0);
        }
        for (name, value) in pairs.iter() {
            labels::put(&mut self.packed, name);
            labels::put(&mut self.packed, value);
        }
        self.entries.push(self.ends());
    }

    /// Opens a series of pairs as they lie in a request, in any order; empty values are left out.
    ///
    /// # Errors
    /// They are no series (Prometheus: `labels.IsValid`, `HasDuplicateLabelNames`); none is opened.
    pub(crate) fn series_of_bytes(
        &mut self,
        pairs: &mut Vec<(&[u8], &[u8])>,
    ) -> Result<(), SeriesError> {
        pairs.retain(|(_, value)| !value.is_empty());
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            pairs.sort_unstable();
            if pairs.windows(2).any(|two| two[0].0 == two[1].0) {
                return Err(SeriesError::Twice);
            }
        }
        if pairs.first().is_some_and(|(name, _)| name.is_empty()) {
            return Err(SeriesError::EmptyName);
        }
        if !pairs.iter().any(|(name, _)| *name == NAME.as_bytes()) {
            return Err(SeriesError::Nameless);
        }
        let start = self.packed.len();
        // Two lengths of at most five bytes each.
        let room = |(name, value): &(&[u8], &[u8])| name.len() + value.len() + 10;
        self.packed.reserve(pairs.iter().map(room).sum());
        let mut short = true;
        for (name, value) in pairs.iter() {
            labels::put_bytes(&mut self.packed, name);
            labels::put_bytes(&mut self.packed, value);
            short &= value.len() < 0x80 && name.len() < 0x80;
        }
        // Nearly all labels are ASCII: looked at as one piece, lengths below 128 included.
        let ascii = short && self.packed[start..].is_ascii();
        let utf8 = |text: &[u8]| std::str::from_utf8(text).is_ok();
        if !ascii && !pairs.iter().all(|(name, value)| utf8(name) && utf8(value)) {
            self.packed.truncate(start);
            return Err(SeriesError::NotUtf8);
        }
        self.entries.push(self.ends());
        Ok(())
    }

    /// Opens a series of labels that are packed already.
    pub(crate) fn series_of(&mut self, labels: &Labels) {
        self.packed.extend_from_slice(labels.packed());
        self.entries.push(self.ends());
    }

    /// Opens a series of labels in the form of [`Labels::packed`], which they must have.
    pub(crate) fn series_packed(&mut self, packed: &[u8]) {
        self.packed.extend_from_slice(packed);
        self.entries.push(self.ends());
    }

    /// Adds a sample to the series opened last; samples of a series may come in any order.
    pub(crate) fn sample(&mut self, at: i64, value: Value) {
        if let Value::Histogram(histogram) = &value {
            self.histogram_bytes += histogram.heap_bytes();
        }
        self.samples.push(Sample { at, value });
        self.close();
    }

    pub(crate) fn exemplar(&mut self, exemplar: Exemplar) {
        self.exemplars.push(exemplar);
        self.close();
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = SeriesView<'_>> {
        let zero = Entry {
            packed: 0,
            samples: 0,
            exemplars: 0,
        };
        self.entries.iter().enumerate().map(move |(number, end)| {
            let start = number.checked_sub(1).map_or(zero, |i| self.entries[i]);
            SeriesView {
                packed: &self.packed[start.packed as usize..end.packed as usize],
                samples: &self.samples[start.samples as usize..end.samples as usize],
                exemplars: &self.exemplars[start.exemplars as usize..end.exemplars as usize],
            }
        })
    }

    /// The labels of the series opened last; empty before the first.
    pub(crate) fn last_packed(&self) -> &[u8] {
        let [.., before, _] = self.entries.as_slice() else {
            return &self.packed;
        };
        &self.packed[before.packed as usize..]
    }

    /// Bytes of all labels, packed.
    pub(crate) fn label_bytes(&self) -> usize {
        self.packed.len()
    }

    /// Number of samples of all series.
    pub(crate) fn samples(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is nothing to keep.
    pub(crate) fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.exemplars.is_empty() && self.metadata.is_empty()
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.packed.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.samples.capacity() * size_of::<Sample>()
            + self.exemplars.capacity() * size_of::<Exemplar>()
            + self.metadata.capacity() * size_of::<Metadata>()
            + self.histogram_bytes
    }

    fn ends(&self) -> Entry {
        Entry {
            packed: self.packed.len() as u32,
            samples: self.samples.len() as u32,
            exemplars: self.exemplars.len() as u32,
        }
    }

    fn close(&mut self) {
        let ends = self.ends();
        let open = self.entries.last_mut();
        *open.expect("a series is opened before its samples are added") = ends;
    }
}
