//! Metrics as readers see them: the same series and samples for every question of one query, whatever
//! comes in, is sealed, merged or dropped meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use roaring::RoaringBitmap;

use super::book::Book;
use super::head::HeadView;
use super::segment::{MetricSegment, Reader, SeriesKey, union};
use crate::model::metric::{Exemplar, Labels, Matcher, Metadata, Millis, Samples};
use crate::store::StoreError;

/// A series by its number in the store.
pub(crate) type Found = (u32, Labels);

/// See the module. Made by `Store::metrics`.
#[derive(Debug)]
pub(crate) struct MetricsView {
    pub(super) book: Arc<Book>,
    /// Oldest first.
    pub(super) segments: Vec<MetricSegment>,
    /// Oldest first.
    pub(super) heads: Vec<HeadView>,
    /// Ms: samples before this are past retention and must never be shown.
    pub(super) oldest: i64,
    /// Guards the readers used last, by the number of their segment in the list: series are read in
    /// about the order in which they lie.
    readers: Mutex<VecDeque<(usize, Reader)>>,
}

/// Readers that a view keeps: each holds a group of chunks and the times of its targets, 8 MB at most.
const READERS_MAX: usize = 8;

impl MetricsView {
    pub(crate) fn new(
        book: Arc<Book>,
        segments: Vec<MetricSegment>,
        heads: Vec<HeadView>,
        oldest: i64,
    ) -> MetricsView {
        MetricsView {
            book,
            segments,
            heads,
            oldest,
            readers: Mutex::default(),
        }
    }

    /// Asks a reader of a segment, one that was asked before if there is one.
    fn with_reader<T>(&self, segment: usize, ask: impl FnOnce(&mut Reader) -> T) -> T {
        let lock = || self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = {
            let mut readers = lock();
            let at = readers.iter().position(|(of, _)| *of == segment);
            at.and_then(|at| readers.remove(at))
        };
        let mut reader = kept.map_or_else(|| self.segments[segment].reader(), |(_, reader)| reader);
        let answer = ask(&mut reader);
        let mut readers = lock();
        readers.push_back((segment, reader));
        if readers.len() > READERS_MAX {
            readers.pop_front();
        }
        answer
    }

    fn visible(&self, range: Millis) -> Millis {
        Millis {
            first: range.first.max(self.oldest),
            last: range.last,
        }
    }

    /// Numbers in the list of the segments that overlap the range.
    fn overlapping(&self, range: Millis) -> impl Iterator<Item = usize> {
        let overlaps = move |segment: &MetricSegment| {
            let own = segment.range();
            own.first <= range.last && own.last >= range.first
        };
        let segments = self.segments.iter().enumerate();
        segments
            .filter(move |(_, segment)| overlaps(segment))
            .map(|(number, _)| number)
    }

    /// Series of the segments that overlap the range.
    fn in_segments(&self, range: Millis) -> Result<RoaringBitmap, StoreError> {
        let mut found = RoaringBitmap::new();
        for segment in self.overlapping(range) {
            found |= self.segments[segment].series()?;
        }
        Ok(found)
    }

    /// Series that match and may have samples in the range, by labels. Without matchers all of them.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub(crate) fn select(
        &self,
        matchers: &[Matcher],
        range: Millis,
    ) -> Result<Vec<Found>, StoreError> {
        let range = self.visible(range);
        let mut found = self.book.index.select(matchers);
        let in_segments = self.in_segments(range)?;
        found.retain(|(number, _)| {
            let in_head = |head: &HeadView| head.overlaps(*number, range);
            in_segments.contains(*number) || self.heads.iter().any(in_head)
        });
        found.sort_unstable_by(|a, b| a.1.cmp(&b.1));
        Ok(found)
    }

    /// Numbers of what [`MetricsView::select`] gives.
    fn numbers(&self, matchers: &[Matcher], range: Millis) -> Result<RoaringBitmap, StoreError> {
        let range = self.visible(range);
        let found = self.book.index.matching(matchers);
        let mut present = self.in_segments(range)?;
        let rest = &found - &present;
        present &= &found;
        let in_head = |number: &u32| self.heads.iter().any(|head| head.overlaps(*number, range));
        present.extend(rest.iter().filter(in_head));
        Ok(present)
    }

    /// Names of labels of the series that match, sorted.
    ///
    /// # Errors
    /// As [`MetricsView::select`].
    pub(crate) fn label_names(
        &self,
        matchers: &[Matcher],
        range: Millis,
    ) -> Result<Vec<String>, StoreError> {
        let numbers = self.numbers(matchers, range)?;
        Ok(self.book.index.label_names(&numbers))
    }

    /// Values of a label of the series that match, sorted.
    ///
    /// # Errors
    /// As [`MetricsView::select`].
    pub(crate) fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: Millis,
    ) -> Result<Vec<String>, StoreError> {
        let numbers = self.numbers(matchers, range)?;
        Ok(self.book.index.label_values(name, &numbers))
    }

    /// Appends the samples of a series in the range to cleared columns, by time.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub(crate) fn read(
        &self,
        number: u32,
        metric: &str,
        range: Millis,
        into: &mut Samples,
    ) -> Result<(), StoreError> {
        let range = self.visible(range);
        let key = SeriesKey::of(metric, number);
        let mut more = Samples::default();
        for segment in self.overlapping(range) {
            more.clear();
            self.with_reader(segment, |reader| reader.read(key, range, &mut more))?;
            union(into, &more);
        }
        for head in &self.heads {
            more.clear();
            head.read(number, range, &mut more);
            union(into, &more);
        }
        Ok(())
    }

    /// Exemplars of the series that match, by series; those without any are left out.
    ///
    /// # Errors
    /// As [`MetricsView::select`].
    pub(crate) fn exemplars(
        &self,
        matchers: &[Matcher],
        range: Millis,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, StoreError> {
        let visible = self.visible(range);
        let mut found = Vec::new();
        for (number, labels) in self.select(matchers, range)? {
            let mut own = Vec::new();
            let key = SeriesKey::of(labels.metric(), number);
            for segment in self.overlapping(visible) {
                self.with_reader(segment, |reader| reader.exemplars(key, visible, &mut own))?;
            }
            for head in &self.heads {
                head.exemplars(number, visible, &mut own);
            }
            own.sort_by_key(|exemplar| exemplar.at);
            own.dedup();
            if !own.is_empty() {
                found.push((labels, own));
            }
        }
        Ok(found)
    }

    /// What metrics say of themselves: one, or all of them by name.
    pub(crate) fn metadata(&self, metric: Option<&str>) -> Vec<Metadata> {
        self.book.metadata(metric)
    }
}
