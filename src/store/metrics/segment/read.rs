//! Reads segments: a series, its exemplars, everything.

use std::collections::HashMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::directory::{Directory, Place};
use super::exemplars;
use super::group::{Chunk, Group, Kind, Stamps};
use super::times::Columns;
use super::union::drop_twice;
use super::{MAGIC, SeriesKey};
use crate::model::metric::{Exemplar, Millis, Samples};
use crate::store::StoreError;
use crate::store::disk::File;
use crate::store::metrics::chunk::{self, Scratch};
use crate::store::segment::SegmentFacts;
use crate::store::segment::column::{Family, Unpacked};
use crate::store::segment::cursor::Damage;
use crate::store::segment::file::{Frame, Tag};

/// Times that a reader keeps decoded: of 136 targets through a day at 15 s.
const TIMES_KEPT_MAX: usize = 1 << 20;

/// An open segment. Cheap to clone; opening reads the directory of groups.
#[derive(Clone, Debug)]
pub(crate) struct MetricSegment {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    frame: Frame,
    directory: Directory,
}

impl MetricSegment {
    /// Opens a finished file: reads and checks sections and directory.
    pub(crate) fn open(file: File) -> Result<MetricSegment, StoreError> {
        let frame = Frame::open(file, MAGIC)?;
        let (at, section) = frame.section(Tag::Directory)?;
        let directory = Directory::read(&section).map_err(frame.corrupt(at))?;
        Ok(MetricSegment {
            inner: Arc::new(Inner { frame, directory }),
        })
    }

    pub(crate) fn facts(&self) -> SegmentFacts {
        self.inner.frame.facts()
    }

    /// Of all samples and exemplars; none when `last` lies before `first`.
    pub(crate) fn range(&self) -> Millis {
        self.directory().range()
    }

    /// The numbers of its series.
    pub(crate) fn series(&self) -> Result<RoaringBitmap, StoreError> {
        let (at, section) = self.frame().section(Tag::Series)?;
        RoaringBitmap::deserialize_from(&section[..])
            .map_err(|_| self.frame().corrupt(at)(Damage("the set of series is none")))
    }

    /// For several reads: keeps the group read last, so that series read in rising order of their keys
    /// cost each group once.
    pub(crate) fn reader(&self) -> Reader {
        Reader {
            segment: self.clone(),
            group: None,
            columns: None,
            times: HashMap::new(),
            n_times: 0,
            scratch: Scratch::default(),
            decoded: Samples::default(),
        }
    }

    /// Memory held by its directory, in bytes.
    pub(crate) fn cached_bytes(&self) -> usize {
        self.directory().heap_bytes()
    }

    /// Checks every checksum and decodes everything.
    pub(crate) fn verify(&self) -> Result<(), StoreError> {
        self.frame().verify_sections()?;
        let mut series = self.series()?;
        let mut samples = Samples::default();
        let mut reader = self.reader();
        for place in 0..self.directory().groups.len() {
            let group = reader.take_group(place)?;
            for (number, key) in group.keys.iter().enumerate() {
                series.remove(key.number);
                for chunk in &group.chunks[group.chunks_of(number)] {
                    samples.clear();
                    let times = reader.times(chunk.stamps)?;
                    reader.decode(place, &group, chunk, &times, &mut samples)?;
                }
            }
        }
        for place in &self.directory().exemplars {
            for (key, _) in self.exemplars_of(place)? {
                series.remove(key.number);
            }
        }
        if series.is_empty() {
            Ok(())
        } else {
            let damage = Damage("the set of series has one without samples");
            Err(self.frame().corrupt(0)(damage))
        }
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    pub(super) fn frame(&self) -> &Frame {
        &self.inner.frame
    }

    fn unpack(&self, offset: u64, family: Family) -> Result<Unpacked, StoreError> {
        let stored = self.frame().read(offset, family.stored())?;
        family.unpack(&stored).map_err(self.frame().corrupt(offset))
    }

    pub(super) fn group(&self, place: usize) -> Result<Group, StoreError> {
        let place = &self.directory().groups[place];
        let unpacked = self.unpack(place.offset, place.family)?;
        Group::read(unpacked).map_err(self.frame().corrupt(place.offset))
    }

    pub(super) fn exemplars_of(
        &self,
        place: &Place,
    ) -> Result<Vec<(SeriesKey, Exemplar)>, StoreError> {
        let unpacked = self.unpack(place.offset, place.family)?;
        exemplars::read(&unpacked).map_err(self.frame().corrupt(place.offset))
    }

    /// The groups that may have a series in this range.
    fn places(places: &[Place], key: SeriesKey, range: Millis) -> impl Iterator<Item = usize> {
        let start = places.partition_point(|place| place.extent.last < key);
        let end = places.partition_point(|place| place.extent.first <= key);
        (start..end.max(start)).filter(move |place| overlaps(places[*place].extent.range, range))
    }
}

fn overlaps(a: Millis, b: Millis) -> bool {
    a.first <= b.last && b.first <= a.last
}

/// Reads series of one segment; keeps what the next read may need.
#[derive(Debug)]
pub(crate) struct Reader {
    segment: MetricSegment,
    group: Option<(usize, Group)>,
    columns: Option<(usize, Columns)>,
    times: HashMap<u32, Arc<[i64]>>,
    n_times: usize,
    scratch: Scratch,
    decoded: Samples,
}

impl Reader {
    /// Appends the samples of a series in the range, by time; nothing when it has none here.
    ///
    /// # Errors
    /// `Corrupt` with the place of the damaged group, `Io`.
    pub(crate) fn read(
        &mut self,
        key: SeriesKey,
        range: Millis,
        into: &mut Samples,
    ) -> Result<(), StoreError> {
        let segment = self.segment.clone();
        for place in MetricSegment::places(&segment.directory().groups, key, range) {
            let group = self.take_group(place)?;
            let read = self.read_group(place, &group, key, range, into);
            self.group = Some((place, group));
            read?;
        }
        if !into.histogram_times.is_empty() {
            drop_twice(into);
        }
        Ok(())
    }

    fn read_group(
        &mut self,
        place: usize,
        group: &Group,
        key: SeriesKey,
        range: Millis,
        into: &mut Samples,
    ) -> Result<(), StoreError> {
        let Ok(series) = group.keys.binary_search(&key) else {
            return Ok(());
        };
        for chunk in &group.chunks[group.chunks_of(series)] {
            let own = chunk.stamps.range;
            if !overlaps(own, range) {
                continue;
            }
            let times = self.times(chunk.stamps)?;
            if range.first <= own.first && own.last <= range.last {
                self.decode(place, group, chunk, &times, into)?;
                continue;
            }
            let mut decoded = std::mem::take(&mut self.decoded);
            decoded.clear();
            let read = self.decode(place, group, chunk, &times, &mut decoded);
            if read.is_ok() {
                append_range(&decoded, range, into);
            }
            self.decoded = decoded;
            read?;
        }
        Ok(())
    }

    /// Appends the exemplars of a series in the range.
    pub(crate) fn exemplars(
        &mut self,
        key: SeriesKey,
        range: Millis,
        into: &mut Vec<Exemplar>,
    ) -> Result<(), StoreError> {
        let places = &self.segment.directory().exemplars;
        for place in MetricSegment::places(places, key, range) {
            let found = self.segment.exemplars_of(&places[place])?.into_iter();
            let found = found.filter(|(own, exemplar)| {
                *own == key && (range.first..=range.last).contains(&exemplar.at)
            });
            into.extend(found.map(|(_, exemplar)| exemplar));
        }
        Ok(())
    }

    /// A group, which is kept when it is put back.
    pub(super) fn take_group(&mut self, place: usize) -> Result<Group, StoreError> {
        match self.group.take() {
            Some((kept, group)) if kept == place => Ok(group),
            _ => self.segment.group(place),
        }
    }

    /// A column of times.
    pub(super) fn times(&mut self, stamps: Stamps) -> Result<Arc<[i64]>, StoreError> {
        let n = stamps.n as usize;
        let times = match self.times.get(&stamps.id) {
            Some(times) => Arc::clone(times),
            None => self.read_times(stamps)?,
        };
        let matches = times.len() == n
            && times.first() == Some(&stamps.range.first)
            && times.last() == Some(&stamps.range.last);
        if !matches {
            let damage = Damage("a column of times is not the one that a group names");
            return Err(self.segment.frame().corrupt(0)(damage));
        }
        Ok(times)
    }

    fn read_times(&mut self, stamps: Stamps) -> Result<Arc<[i64]>, StoreError> {
        let places = &self.segment.directory().times;
        let place = places.partition_point(|place| place.first <= stamps.id);
        let place = place.saturating_sub(1);
        let frame = self.segment.frame();
        let Some(found) = places.get(place) else {
            let damage = Damage("a segment without times has samples");
            return Err(frame.corrupt(0)(damage));
        };
        let corrupt = frame.corrupt(found.offset);
        let columns = match self.columns.take() {
            Some((kept, columns)) if kept == place => columns,
            _ => {
                let unpacked = self.segment.unpack(found.offset, found.family)?;
                Columns::read(unpacked).map_err(&corrupt)?
            }
        };
        let column = columns.column((stamps.id - found.first) as usize);
        let times = column.and_then(|bytes| chunk::decode_times(bytes, stamps.n as usize));
        let times: Arc<[i64]> = times.map_err(corrupt)?.into();
        self.columns = Some((place, columns));
        if self.n_times + times.len() > TIMES_KEPT_MAX {
            self.times.clear();
            self.n_times = 0;
        }
        self.n_times += times.len();
        self.times.insert(stamps.id, Arc::clone(&times));
        Ok(times)
    }

    /// Appends all samples of a chunk.
    pub(super) fn decode(
        &mut self,
        place: usize,
        group: &Group,
        chunk: &Chunk,
        times: &[i64],
        into: &mut Samples,
    ) -> Result<(), StoreError> {
        let (body, scratch) = (group.body(chunk), &mut self.scratch);
        let decoded = match chunk.kind {
            Kind::Floats => chunk::decode_floats(body, times.len(), scratch, &mut into.floats),
            Kind::Histograms => {
                chunk::decode_histograms(body, times.len(), scratch, &mut into.histograms)
            }
        };
        let offset = self.segment.directory().groups[place].offset;
        decoded.map_err(self.segment.frame().corrupt(offset))?;
        match chunk.kind {
            Kind::Floats => into.times.extend_from_slice(times),
            Kind::Histograms => into.histogram_times.extend_from_slice(times),
        }
        Ok(())
    }
}

/// Appends what of `from` lies in the range.
fn append_range(from: &Samples, range: Millis, into: &mut Samples) {
    let within = |times: &[i64]| {
        let start = times.partition_point(|time| *time < range.first);
        let end = times.partition_point(|time| *time <= range.last);
        start..end.max(start)
    };
    let floats = within(&from.times);
    into.times.extend_from_slice(&from.times[floats.clone()]);
    into.floats.extend_from_slice(&from.floats[floats]);
    let histograms = within(&from.histogram_times);
    let times = &from.histogram_times[histograms.clone()];
    into.histogram_times.extend_from_slice(times);
    into.histograms
        .extend_from_slice(&from.histograms[histograms]);
}
