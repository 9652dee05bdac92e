//! Samples that are not in a segment yet: a stream per series. The writer alone fills a head; readers
//! see it as it was when they came, and the sealer takes it when nobody fills it any more.
//!
//! Sketch: 100 B for a series and 2-4 B for a sample; adding one costs 10 ns and a cache miss.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::ledger::NumberHasher;
use super::stream::Stream;
use crate::model::Timestamp;
use crate::model::metric::{Exemplar, Labels, Millis, Samples, Value};
use crate::store::catalogue::Key;

/// Exemplars of one series in one head, the newest: a point of a graph shows a few.
pub(super) const EXEMPLARS_MAX: usize = 16;

/// A head is sealed when it has waited so long. Longer than for other signals, as more samples of a
/// series make smaller chunks, and no longer than the out-of-order window: the log holds them as long.
pub(crate) const METRICS_AGE_NS_MAX: u64 = 60 * 60 * 1_000_000_000;

/// Or when nothing came for this long: longer than any scrape interval.
const METRICS_IDLE_NS_MAX: u64 = 10 * 60 * 1_000_000_000;
const IDLE_BYTES_MIN: u64 = 1 << 20;

/// Or after so many requests: each keeps its key.
const REQUESTS_MAX: usize = 32_768;

/// Memory of a series in a head beside its bytes: the stream, its place, slack of the tables.
pub(super) const SERIES_OVERHEAD_BYTES: usize = size_of::<Stream>() + 40;

type ByNumber<T> = HashMap<u32, T, NumberHasher>;

/// The samples themselves, shared by the writer and readers.
#[derive(Debug, Default)]
pub(crate) struct HeadData {
    /// Guards the streams: held for one request by the writer, for one series by a reader.
    inner: RwLock<Inner>,
    /// Guards who reads: the number of requests that each reader may see, and how many readers.
    readers: Mutex<BTreeMap<u64, usize>>,
}

#[derive(Debug, Default)]
struct Inner {
    places: ByNumber<u32>,
    streams: Vec<(u32, Stream)>,
    exemplars: ByNumber<Vec<Exemplar>>,
    /// Requests in it.
    requests: u64,
    /// How long streams were before requests that came while somebody read: by place, oldest first.
    marks: ByNumber<Vec<Mark>>,
    n_marks: usize,
    marks_kept: usize,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    request: u64,
    len: u32,
}

impl HeadData {
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one request: nobody who came before sees anything of it.
    pub(super) fn fill(&self) -> Filling<'_> {
        let mut inner = self.write();
        inner.requests += 1;
        let oldest = self.readers().keys().next().copied();
        inner.forget_marks(oldest);
        Filling {
            is_read: oldest.is_some(),
            inner,
            bytes: 0,
        }
    }

    /// Appends the samples of a series in the range, by time: all there are by now.
    pub(super) fn samples(&self, number: u32, range: Millis, into: &mut Samples) {
        let inner = self.read();
        if let Some(&place) = inner.places.get(&number) {
            let stream = &inner.streams[place as usize].1;
            stream.read(stream.len(), range, into);
        }
    }

    /// Its exemplars of a series, as they came.
    pub(super) fn exemplars(&self, number: u32) -> Vec<Exemplar> {
        let inner = self.read();
        inner.exemplars.get(&number).cloned().unwrap_or_default()
    }

    /// The newest exemplar of a series.
    pub(super) fn newest_exemplar(&self, number: u32) -> Option<Exemplar> {
        self.read().exemplars.get(&number)?.last().cloned()
    }

    /// Numbers of its series, rising.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.read().places.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// Oldest and newest sample; `None` when there is none.
    pub(super) fn range(&self) -> Option<Millis> {
        let inner = self.read();
        // A stream that only has exemplars has no samples, and a range that ends before it begins.
        let filled = || {
            let ranges = inner.streams.iter().map(|(_, stream)| stream.range);
            ranges.filter(|range| range.first <= range.last)
        };
        let first = filled().map(|range| range.first).min()?;
        let last = filled().map(|range| range.last).max()?;
        Some(Millis { first, last })
    }
}

/// A head as it was when this was made: later requests are not in it.
#[derive(Debug)]
pub(crate) struct HeadView {
    data: Arc<HeadData>,
    requests: u64,
}

impl HeadView {
    pub(crate) fn of(data: Arc<HeadData>) -> HeadView {
        let requests = {
            // No request comes in while it is held, and the next one sees this reader.
            let inner = data.read();
            *data.readers().entry(inner.requests).or_insert(0) += 1;
            inner.requests
        };
        HeadView { data, requests }
    }

    /// Whether a series may have samples in the range.
    pub(super) fn overlaps(&self, number: u32, range: Millis) -> bool {
        let inner = self.data.read();
        inner.places.get(&number).is_some_and(|place| {
            let own = inner.streams[*place as usize].1.range;
            own.first <= range.last && own.last >= range.first
        })
    }

    /// Appends the samples of a series in the range, by time.
    pub(super) fn read(&self, number: u32, range: Millis, into: &mut Samples) {
        let inner = self.data.read();
        if let Some(&place) = inner.places.get(&number) {
            let len = inner.len_before(place, self.requests);
            inner.streams[place as usize].1.read(len, range, into);
        }
    }

    /// Appends the exemplars of a series in the range.
    pub(super) fn exemplars(&self, number: u32, range: Millis, into: &mut Vec<Exemplar>) {
        let inner = self.data.read();
        let own = inner.exemplars.get(&number).into_iter().flatten();
        into.extend(
            own.filter(|e| e.at >= range.first && e.at <= range.last)
                .cloned(),
        );
    }
}

impl Drop for HeadView {
    fn drop(&mut self) {
        let mut readers = self.data.readers();
        if let Some(n) = readers.get_mut(&self.requests) {
            *n -= 1;
            if *n == 0 {
                readers.remove(&self.requests);
            }
        }
    }
}

impl Inner {
    /// How long a stream was after so many requests.
    fn len_before(&self, place: u32, requests: u64) -> u32 {
        let marks = self.marks.get(&place).into_iter().flatten();
        let later = marks
            .filter(|mark| mark.request > requests)
            .map(|mark| mark.len);
        later
            .min()
            .unwrap_or_else(|| self.streams[place as usize].1.len())
    }

    /// Drops marks that no reader needs: of requests that the oldest reader sees.
    fn forget_marks(&mut self, oldest: Option<u64>) {
        let Some(oldest) = oldest else {
            self.marks.clear();
            (self.n_marks, self.marks_kept) = (0, 0);
            return;
        };
        // Now and then, when it has doubled.
        if self.n_marks <= 2 * self.marks_kept + 1024 {
            return;
        }
        self.marks.retain(|_, marks| {
            marks.retain(|mark| mark.request > oldest);
            !marks.is_empty()
        });
        self.n_marks = self.marks.values().map(Vec::len).sum();
        self.marks_kept = self.n_marks;
    }
}

/// A head while the writer adds a request to it.
pub(super) struct Filling<'h> {
    inner: RwLockWriteGuard<'h, Inner>,
    is_read: bool,
    /// Memory taken by what was added.
    pub(super) bytes: usize,
}

impl Filling<'_> {
    /// Opens a series; its place is what the samples are added by.
    pub(super) fn series(&mut self, number: u32) -> u32 {
        let inner = &mut *self.inner;
        let next = inner.streams.len() as u32;
        let place = *inner.places.entry(number).or_insert(next);
        if place == next {
            inner.streams.push((number, Stream::default()));
            self.bytes += SERIES_OVERHEAD_BYTES;
        }
        if self.is_read {
            let len = inner.streams[place as usize].1.len();
            let request = inner.requests;
            inner
                .marks
                .entry(place)
                .or_default()
                .push(Mark { request, len });
            inner.n_marks += 1;
        }
        place
    }

    pub(super) fn sample(&mut self, place: u32, at: i64, value: &Value) {
        self.bytes += self.inner.streams[place as usize].1.push(at, value);
    }

    pub(super) fn exemplar(&mut self, number: u32, exemplar: Exemplar) {
        let list = self.inner.exemplars.entry(number).or_default();
        if list.len() >= EXEMPLARS_MAX {
            list.remove(0);
        } else {
            self.bytes += size_of::<Exemplar>() + exemplar.labels.heap_bytes();
        }
        list.push(exemplar);
    }
}

/// A head and what is known of its requests.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) data: Arc<HeadData>,
    /// Samples.
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) raw_bytes: u64,
    /// Sequences of its first and last frame; 0 when it is empty.
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
    pub(crate) opened: Timestamp,
    pub(crate) touched: Timestamp,
    /// Places of its oldest and newest sample.
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) keys: Vec<Key>,
    /// Series that have got their numbers in it.
    pub(crate) new_series: Vec<(u32, Labels)>,
}

impl Head {
    pub(crate) fn is_empty(&self) -> bool {
        self.first_sequence == 0
    }

    /// Whether it is time to seal: by bytes, requests, age or idleness.
    pub(crate) fn is_due(&self, now: Timestamp, bytes_max: u64) -> bool {
        if self.is_empty() {
            return false;
        }
        let idle = now >= self.touched.saturating_add(METRICS_IDLE_NS_MAX);
        self.bytes >= bytes_max
            || self.keys.len() >= REQUESTS_MAX
            || now >= self.opened.saturating_add(METRICS_AGE_NS_MAX)
            || (idle && self.bytes >= IDLE_BYTES_MIN)
    }

    /// Notes a request that is in its data already.
    pub(crate) fn note(&mut self, noted: Noted, sequence: u64, now: Timestamp) {
        if self.is_empty() {
            self.first_sequence = sequence;
            self.opened = now;
        }
        self.last_sequence = sequence;
        self.touched = now;
        self.keys.push(noted.key);
        self.rows += noted.samples;
        self.raw_bytes += noted.raw_bytes;
        self.bytes += noted.bytes;
        if let Some((first, last)) = noted.reach {
            let is_first = self.rows == noted.samples;
            self.first = if is_first {
                first
            } else {
                self.first.min(first)
            };
            self.last = self.last.max(last);
        }
        self.new_series.extend(noted.new_series);
    }
}

/// What a head is told of a request.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(crate) key: Key,
    pub(crate) samples: u64,
    pub(crate) raw_bytes: u64,
    /// Memory that it took.
    pub(crate) bytes: u64,
    pub(crate) new_series: Vec<(u32, Labels)>,
    /// Places of its oldest and newest sample.
    pub(crate) reach: Option<(Timestamp, Timestamp)>,
}

/// The head that grows, and those that the sealer has not published yet.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    pub(crate) active: Head,
    /// Oldest first.
    pub(crate) sealing: VecDeque<Arc<Head>>,
}

impl Heads {
    pub(crate) fn seal(&mut self) {
        if !self.active.is_empty() {
            let head = std::mem::take(&mut self.active);
            self.sealing.push_back(Arc::new(head));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.sealing.is_empty()
    }

    /// All of them, oldest first.
    pub(crate) fn data(&self) -> Vec<Arc<HeadData>> {
        let sealing = self.sealing.iter().map(|head| head.data.clone());
        sealing.chain([self.active.data.clone()]).collect()
    }

    pub(crate) fn active_first(&self) -> Option<u64> {
        (!self.active.is_empty()).then_some(self.active.first_sequence)
    }

    /// The lowest sequence not in a segment; `None` when all are.
    pub(crate) fn first_sequence(&self) -> Option<u64> {
        let oldest = self.sealing.front().map(|head| head.first_sequence);
        oldest.or(self.active_first())
    }

    /// As [`Heads::first_sequence`], once the oldest waiting head is published.
    pub(crate) fn first_sequence_after_next(&self) -> Option<u64> {
        let second = self.sealing.get(1).map(|head| head.first_sequence);
        second.or(self.active_first())
    }

    /// Places of the oldest and newest sample, as far as their requests tell; `None`: all are empty.
    pub(crate) fn bounds(&self) -> Option<(Timestamp, Timestamp)> {
        let heads = self.sealing.iter().map(Arc::as_ref).chain([&self.active]);
        let filled = heads.filter(|head| !head.is_empty());
        filled
            .map(|head| (head.first, head.last))
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    pub(crate) fn rows(&self) -> u64 {
        self.active.rows + self.sealing.iter().map(|head| head.rows).sum::<u64>()
    }

    pub(crate) fn sealing_bytes(&self) -> u64 {
        self.sealing.iter().map(|head| head.bytes).sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.active.bytes + self.sealing_bytes()
    }
}
