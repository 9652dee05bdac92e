//! Writes a segment front to back: chunks of series in order of keys, times and exemplars beside them.

use std::io::{self, Write};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::directory::{Directory, GROUPS_MAX, Place, TimesPlace};
use super::group::{self, Extent, Kind};
use super::{MAGIC, SeriesKey, exemplars, times};
use crate::model::Timestamp;
use crate::model::metric::{Exemplar, Histogram, Samples};
use crate::store::metrics::chunk::{self, COUNTS_MAX, PARTS_MAX, SAMPLES_MAX, Scratch};
use crate::store::segment::Grade;
use crate::store::segment::SegmentFacts;
use crate::store::segment::column::{Encoder, Family};
use crate::store::segment::file::{Output, Tag};

/// Samples of a fresh chunk: two hours at 15 s, what a query of a few hours mostly reads whole.
const FRESH_SAMPLES: usize = 480;

/// Samples of a chunk that is kept for weeks: six hours at 15 s. Longer ones gain nothing measurable.
const FINAL_SAMPLES: usize = 1440;
const _: () = assert!(FINAL_SAMPLES <= SAMPLES_MAX && FRESH_SAMPLES <= SAMPLES_MAX);

/// What a sample has beside its buckets, in bytes: a time and a value.
const RAW_SAMPLE_BYTES: u64 = 16;

/// Samples of a full chunk.
pub(super) const fn full_chunk(grade: Grade) -> usize {
    match grade {
        Grade::Fresh => FRESH_SAMPLES,
        Grade::Final => FINAL_SAMPLES,
    }
}

/// Histograms of a full chunk: wide ones are fewer.
pub(super) fn full_histograms(histograms: &[Arc<Histogram>], grade: Grade) -> usize {
    (COUNTS_MAX / widest(histograms).max(1)).clamp(1, full_chunk(grade))
}

fn widest(histograms: &[Arc<Histogram>]) -> usize {
    let parts = histograms.iter().map(|histogram| chunk::parts(histogram));
    parts.max().unwrap_or_default()
}

/// Writes a segment to `out`. Takes memory for one group of each kind, for the columns of times it knows
/// again (3 MB at most) and 80 B for each group written.
#[derive(Debug)]
pub(crate) struct Writer<'w, W> {
    output: Output<'w, W>,
    grade: Grade,
    scratch: Scratch,
    encoder: Encoder,
    packed: Vec<u8>,
    group: group::Builder,
    times: times::Writer,
    exemplars: exemplars::Builder,
    directory: Directory,
    series: RoaringBitmap,
    last: Option<SeriesKey>,
    samples: u64,
    raw_bytes: u64,
}

impl<'w, W: Write> Writer<'w, W> {
    pub(crate) fn start(out: &'w mut W, grade: Grade) -> io::Result<Writer<'w, W>> {
        Ok(Writer {
            output: Output::start(out, MAGIC)?,
            grade,
            scratch: Scratch::default(),
            encoder: Encoder::new(grade),
            packed: Vec::new(),
            group: group::Builder::default(),
            times: times::Writer::new(),
            exemplars: exemplars::Builder::default(),
            directory: Directory::default(),
            series: RoaringBitmap::new(),
            last: None,
            samples: 0,
            raw_bytes: 0,
        })
    }

    /// Adds a series. Keys must rise from call to call; samples of each kind and exemplars are in order
    /// of time. A series without any is left out.
    ///
    /// # Errors
    /// The output refuses, a histogram has more than [`PARTS_MAX`] buckets, or there are more than
    /// [`GROUPS_MAX`] groups.
    pub(crate) fn series(
        &mut self,
        key: SeriesKey,
        samples: &Samples,
        exemplars: &[Exemplar],
    ) -> io::Result<()> {
        // A segment of other order could be written, and never be read.
        assert!(self.last.is_none_or(|last| last < key), "keys rise");
        self.last = Some(key);
        self.floats(key, &samples.times, &samples.floats)?;
        self.histograms(key, samples)?;
        for exemplar in exemplars {
            self.exemplar(key, exemplar)?;
        }
        Ok(())
    }

    fn floats(&mut self, key: SeriesKey, times: &[i64], floats: &[f64]) -> io::Result<()> {
        let size = even_size(times.len(), full_chunk(self.grade));
        for (times, floats) in times.chunks(size).zip(floats.chunks(size)) {
            let stamps = self.times.stamps(times);
            let (grade, scratch) = (self.grade, &mut self.scratch);
            self.group.chunk(key, Kind::Floats, stamps, |out| {
                chunk::encode_floats(floats, grade, scratch, out);
            });
            self.count(key, times.len(), 0)?;
        }
        Ok(())
    }

    fn histograms(&mut self, key: SeriesKey, samples: &Samples) -> io::Result<()> {
        let histograms = &samples.histograms;
        let widest = widest(histograms);
        if widest > PARTS_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a histogram of {widest} buckets, at most {PARTS_MAX} can be kept"),
            ));
        }
        let full = full_histograms(histograms, self.grade);
        let size = even_size(histograms.len(), full);
        let times = samples.histogram_times.chunks(size);
        for (times, histograms) in times.zip(histograms.chunks(size)) {
            let stamps = self.times.stamps(times);
            let (grade, scratch) = (self.grade, &mut self.scratch);
            self.group.chunk(key, Kind::Histograms, stamps, |out| {
                chunk::encode_histograms(histograms, grade, scratch, out);
            });
            let parts = histograms.iter().map(|h| chunk::parts(h)).sum();
            self.count(key, times.len(), parts)?;
        }
        Ok(())
    }

    /// Samples that are no chunk yet, of one kind or both.
    pub(super) fn samples(&mut self, key: SeriesKey, samples: &Samples) -> io::Result<()> {
        self.floats(key, &samples.times, &samples.floats)?;
        self.histograms(key, samples)
    }

    /// A chunk as another segment has it.
    pub(super) fn chunk(
        &mut self,
        key: SeriesKey,
        kind: Kind,
        times: &[i64],
        body: &[u8],
    ) -> io::Result<()> {
        let stamps = self.times.stamps(times);
        self.group.chunk(key, kind, stamps, |out| {
            out.extend_from_slice(body);
        });
        // Of a copied chunk of histograms the buckets are not known; its bytes are near enough.
        let parts = match kind {
            Kind::Floats => 0,
            Kind::Histograms => body.len(),
        };
        self.count(key, times.len(), parts)
    }

    pub(super) fn exemplar(&mut self, key: SeriesKey, exemplar: &Exemplar) -> io::Result<()> {
        self.series.insert(key.number);
        self.exemplars.add(key, exemplar);
        if self.exemplars.is_full() {
            self.end_exemplars()?;
        }
        Ok(())
    }

    fn count(&mut self, key: SeriesKey, samples: usize, parts: usize) -> io::Result<()> {
        self.series.insert(key.number);
        self.samples += samples as u64;
        self.raw_bytes += samples as u64 * RAW_SAMPLE_BYTES + 8 * parts as u64;
        if self.group.is_full() {
            self.end_group()?;
        }
        if self.times.is_full() {
            self.end_times()?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> io::Result<()> {
        self.packed.clear();
        if let Some(ended) = self.group.finish(&mut self.encoder, &mut self.packed) {
            let place = self.place(ended)?;
            self.directory.groups.push(place);
        }
        Ok(())
    }

    fn end_exemplars(&mut self) -> io::Result<()> {
        self.packed.clear();
        if let Some(ended) = self.exemplars.finish(&mut self.encoder, &mut self.packed) {
            let place = self.place(ended)?;
            self.directory.exemplars.push(place);
        }
        Ok(())
    }

    fn place(&mut self, (extent, family): (Extent, Family)) -> io::Result<Place> {
        let offset = self.put_packed()?;
        Ok(Place {
            extent,
            offset,
            family,
        })
    }

    /// Writes a packed group; where it lies.
    fn put_packed(&mut self) -> io::Result<u64> {
        let directory = &self.directory;
        let groups = directory.groups.len().max(directory.times.len());
        if groups.max(directory.exemplars.len()) >= GROUPS_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a segment of more than {GROUPS_MAX} groups: write it as several"),
            ));
        }
        let offset = self.output.offset();
        self.output.write(&self.packed)?;
        Ok(offset)
    }

    fn end_times(&mut self) -> io::Result<()> {
        self.packed.clear();
        if let Some((first, family)) = self.times.finish(&mut self.encoder, &mut self.packed) {
            let offset = self.put_packed()?;
            self.directory.times.push(TimesPlace {
                first,
                offset,
                family,
            });
        }
        Ok(())
    }

    /// Writes what is left and the sections. `rows` of the facts are samples; `first` and `last` are
    /// nanoseconds, clamped to those that there are ([`super::MetricSegment::range`] is exact).
    pub(crate) fn finish(mut self) -> io::Result<SegmentFacts> {
        self.end_group()?;
        self.end_times()?;
        self.end_exemplars()?;
        self.series.optimize();
        let mut section = Vec::new();
        self.series.serialize_into(&mut section)?;
        self.output.section(Tag::Series, true, &section)?;
        section.clear();
        self.directory.put(&mut self.encoder, &mut section);
        self.output.section(Tag::Directory, true, &section)?;
        let range = self.directory.range();
        self.output.finish(SegmentFacts {
            rows: self.samples,
            first: timestamp(range.first),
            last: timestamp(range.last),
            raw_bytes: self.raw_bytes,
            ..SegmentFacts::default()
        })
    }
}

fn timestamp(millis: i64) -> Timestamp {
    Timestamp((millis.max(0) as u64).saturating_mul(1_000_000))
}

/// Samples per chunk when `n` are cut into as few even chunks as may be: series scraped together are cut
/// at the same times.
fn even_size(n: usize, most: usize) -> usize {
    n.div_ceil(n.div_ceil(most).max(1)).max(1)
}
