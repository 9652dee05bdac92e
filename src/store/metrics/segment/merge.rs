//! Several segments as one, series by series: chunks that are long enough are copied as they are, short
//! or overlapping ones decoded and cut anew. Of the last merge ([`Grade::Final`]) all are, into the
//! smallest codec.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;

use super::SeriesKey;
use super::group::{Group, Kind};
use super::read::{MetricSegment, Reader};
use super::union::union;
use super::write::{self, Writer};
use crate::model::metric::{Exemplar, Samples};
use crate::store::StoreError;
use crate::store::segment::{Grade, Pause, SegmentFacts};

/// Samples from which a chunk is copied: below, its head weighs more than a tenth of it.
const COPIED_SAMPLES_MIN: usize = 120;

/// Chunks between two calls of `pause`: about a millisecond of the slowest codec each.
const CHUNKS_PER_PAUSE: usize = 64;

/// Memory of what is open of one input: a group of chunks as stored and unpacked with its table, a group
/// of times, decoded times.
const INPUT_BYTES: u64 = 9 << 20;

/// Memory of the writer: groups being filled, known columns of times, two chunks of one series.
const OUTPUT_BYTES: u64 = 8 << 20;

/// Writes the union of `inputs` to `out`. Of two values at one time one stays, whichever input has it
/// ([`union`] tells which).
///
/// # Errors
/// An input is damaged (nothing of `out` may be used then), `pause` ends it, or `out` cannot be written,
/// which is reported as `Io` of the first input's path.
pub(crate) fn merge(
    inputs: &[MetricSegment],
    grade: Grade,
    out: &mut impl Write,
    pause: Pause<'_>,
) -> Result<SegmentFacts, StoreError> {
    let path = inputs.first().map_or_else(Default::default, |segment| {
        segment.frame().path().to_owned()
    });
    let io = |result: std::io::Result<()>| result.map_err(StoreError::io("merge", &path));
    let mut writer = Writer::start(out, grade).map_err(StoreError::io("merge", &path))?;
    let mut scans = Vec::with_capacity(inputs.len());
    for segment in inputs {
        scans.extend(Scan::start(segment)?);
    }
    let mut pending = Pending::new(grade);
    let mut n_chunks = 0usize;
    while let Some(i) = earliest(&scans) {
        if n_chunks.is_multiple_of(CHUNKS_PER_PAUSE) {
            pause()?;
        }
        n_chunks += 1;
        let order = scans[i].order();
        if (pending.key, pending.kind) != (order.0, order.1) {
            io(pending.flush(&mut writer))?;
            (pending.key, pending.kind) = (order.0, order.1);
        }
        let others = scans.iter().enumerate().filter(|(other, _)| *other != i);
        let others = others.map(|(_, scan)| scan.order());
        let rivals = others.filter(|other| (other.0, other.1) == (order.0, order.1));
        let rival = rivals.map(|other| other.2).min();
        io(pending.take(&mut scans[i], rival, &mut writer)?)?;
        if !scans[i].advance()? {
            scans.swap_remove(i);
        }
    }
    io(pending.flush(&mut writer))?;
    merge_exemplars(inputs, &mut |key, exemplar| {
        io(writer.exemplar(key, exemplar))
    })?;
    writer.finish().map_err(StoreError::io("merge", &path))
}

/// Memory that [`merge`] of these takes at most, in bytes.
pub(crate) fn merge_bytes(inputs: &[MetricSegment]) -> u64 {
    let directories = inputs.iter().map(|input| 2 * input.cached_bytes() as u64);
    directories.sum::<u64>() + inputs.len() as u64 * INPUT_BYTES + OUTPUT_BYTES
}

fn earliest(scans: &[Scan<'_>]) -> Option<usize> {
    (0..scans.len()).min_by_key(|i| scans[*i].order())
}

/// Orders chunks: of one series and kind by time.
type Order = (SeriesKey, Kind, i64);

/// Where reading an input stands: at a chunk.
struct Scan<'s> {
    segment: &'s MetricSegment,
    reader: Reader,
    place: usize,
    group: Group,
    series: usize,
    chunk: usize,
}

impl<'s> Scan<'s> {
    /// At the first chunk; `None` for a segment without any.
    fn start(segment: &'s MetricSegment) -> Result<Option<Scan<'s>>, StoreError> {
        if segment.directory().groups.is_empty() {
            return Ok(None);
        }
        let mut scan = Scan {
            segment,
            reader: segment.reader(),
            place: 0,
            group: segment.group(0)?,
            series: 0,
            chunk: 0,
        };
        Ok(scan.arrive()?.then_some(scan))
    }

    /// Goes to the next chunk; `false` behind the last.
    fn advance(&mut self) -> Result<bool, StoreError> {
        self.chunk += 1;
        self.arrive()
    }

    /// Makes group and series fit the chunk.
    fn arrive(&mut self) -> Result<bool, StoreError> {
        while self.chunk >= self.group.chunks.len() {
            self.place += 1;
            if self.place >= self.segment.directory().groups.len() {
                return Ok(false);
            }
            self.group = self.segment.group(self.place)?;
            (self.series, self.chunk) = (0, 0);
        }
        while !self.group.chunks_of(self.series).contains(&self.chunk) {
            self.series += 1;
        }
        Ok(true)
    }

    fn order(&self) -> Order {
        let chunk = &self.group.chunks[self.chunk];
        let key = self.group.keys[self.series];
        (key, chunk.kind, chunk.stamps.range.first)
    }

    fn times(&mut self) -> Result<Arc<[i64]>, StoreError> {
        let stamps = self.group.chunks[self.chunk].stamps;
        self.reader.times(stamps)
    }

    fn body(&self) -> &[u8] {
        self.group.body(&self.group.chunks[self.chunk])
    }

    /// Appends the samples of the chunk.
    fn decode(&mut self, times: &[i64], into: &mut Samples) -> Result<(), StoreError> {
        let chunk = self.group.chunks[self.chunk];
        self.reader
            .decode(self.place, &self.group, &chunk, times, into)
    }
}

/// What of one series and kind has been read and not written.
struct Pending {
    grade: Grade,
    key: SeriesKey,
    kind: Kind,
    samples: Samples,
    decoded: Samples,
}

impl Pending {
    fn new(grade: Grade) -> Pending {
        Pending {
            grade,
            key: SeriesKey::default(),
            kind: Kind::Floats,
            samples: Samples::default(),
            decoded: Samples::default(),
        }
    }

    /// Takes the chunk that `scan` is at. `rival` is the first time of the earliest chunk that another
    /// input still has of this series and kind; those of one input never overlap.
    fn take<W: Write>(
        &mut self,
        scan: &mut Scan<'_>,
        rival: Option<i64>,
        writer: &mut Writer<'_, W>,
    ) -> Result<std::io::Result<()>, StoreError> {
        let times = scan.times()?;
        let (first, last) = (times[0], times[times.len() - 1]);
        if self.may_copy(&times) && rival.is_none_or(|rival| last < rival) {
            let written = self.flush(writer);
            return Ok(
                written.and_then(|()| writer.chunk(self.key, self.kind, &times, scan.body()))
            );
        }
        if last_time(&self.samples).is_none_or(|before| before < first) {
            scan.decode(&times, &mut self.samples)?;
        } else {
            self.decoded.clear();
            scan.decode(&times, &mut self.decoded)?;
            union(&mut self.samples, &self.decoded);
        }
        let settled = rival.map_or(last, |rival| last.min(rival.saturating_sub(1)));
        Ok(self.settle(settled, writer))
    }

    /// Whether a chunk of these times is long enough, and what waits before it too.
    fn may_copy(&self, times: &[i64]) -> bool {
        let waiting = self.samples.len();
        self.grade == Grade::Fresh
            && times.len() >= COPIED_SAMPLES_MIN
            && (waiting == 0 || waiting >= COPIED_SAMPLES_MIN)
            && last_time(&self.samples).is_none_or(|before| before < times[0])
    }

    /// Writes full chunks of what lies at or before `until`: nothing comes before that any more.
    fn settle<W: Write>(&mut self, until: i64, writer: &mut Writer<'_, W>) -> std::io::Result<()> {
        let histograms = &self.samples.histograms;
        let full = match self.kind {
            Kind::Floats => write::full_chunk(self.grade),
            Kind::Histograms => write::full_histograms(histograms, self.grade),
        };
        while self.samples.len() >= 2 * full {
            let times = match self.kind {
                Kind::Floats => &self.samples.times,
                Kind::Histograms => &self.samples.histogram_times,
            };
            if times[full - 1] > until {
                break;
            }
            let rest = split_off(&mut self.samples, full);
            let chunk = std::mem::replace(&mut self.samples, rest);
            writer.samples(self.key, &chunk)?;
        }
        Ok(())
    }

    /// Writes all that waits.
    fn flush<W: Write>(&mut self, writer: &mut Writer<'_, W>) -> std::io::Result<()> {
        let written = writer.samples(self.key, &self.samples);
        self.samples.clear();
        written
    }
}

/// Of the one kind that there is.
fn last_time(samples: &Samples) -> Option<i64> {
    let last = samples.times.last().or(samples.histogram_times.last());
    last.copied()
}

/// Takes all but the first `n` of the one kind that there is.
fn split_off(samples: &mut Samples, n: usize) -> Samples {
    let floats = n.min(samples.times.len());
    let histograms = n.min(samples.histogram_times.len());
    Samples {
        times: samples.times.split_off(floats),
        floats: samples.floats.split_off(floats),
        histogram_times: samples.histogram_times.split_off(histograms),
        histograms: samples.histograms.split_off(histograms),
    }
}

/// Calls `each` with the exemplars of all inputs, by key and time, each once.
fn merge_exemplars(
    inputs: &[MetricSegment],
    each: &mut dyn FnMut(SeriesKey, &Exemplar) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut streams: Vec<Stream<'_>> = inputs.iter().map(Stream::new).collect();
    let mut before: Option<(SeriesKey, Exemplar)> = None;
    loop {
        let mut earliest: Option<(usize, (SeriesKey, i64))> = None;
        for (i, stream) in streams.iter_mut().enumerate() {
            if let Some(order) = stream.order()?
                && earliest.is_none_or(|(_, least)| order < least)
            {
                earliest = Some((i, order));
            }
        }
        let Some(next) = earliest.and_then(|(i, _)| streams[i].group.pop_front()) else {
            return Ok(());
        };
        if before.as_ref() != Some(&next) {
            each(next.0, &next.1)?;
        }
        before = Some(next);
    }
}

/// The exemplars of one input, a group at a time.
struct Stream<'s> {
    segment: &'s MetricSegment,
    place: usize,
    group: VecDeque<(SeriesKey, Exemplar)>,
}

impl<'s> Stream<'s> {
    fn new(segment: &'s MetricSegment) -> Stream<'s> {
        Stream {
            segment,
            place: 0,
            group: VecDeque::new(),
        }
    }

    /// Series and time of the next.
    fn order(&mut self) -> Result<Option<(SeriesKey, i64)>, StoreError> {
        while self.group.is_empty() {
            let Some(place) = self.segment.directory().exemplars.get(self.place) else {
                return Ok(None);
            };
            self.group = self.segment.exemplars_of(place)?.into();
            self.place += 1;
        }
        let first = self.group.front();
        Ok(first.map(|(key, exemplar)| (*key, exemplar.at)))
    }
}
