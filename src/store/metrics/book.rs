//! Everything about series that outlives a head: the writer's book of them, the index readers search,
//! and what metrics say of themselves. One owner each; what they share is behind short locks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use roaring::RoaringBitmap;

use super::head::{Head, HeadData};
use super::index::Index;
use super::intake::{Applied, Intake, Plan, Terms};
use super::ledger::SeriesLimits;
use super::meta::MetadataTable;
use super::payload::{self, Event};
use super::seal;
use crate::model::metric::{Batch, Labels, Metadata};
use crate::model::{ProjectId, Timestamp};
use crate::store::catalogue::{SeriesContent, SeriesEdit};
use crate::store::partition::Partition;
use crate::store::segment::Sealed;

/// Metrics whose dropped series are told one by one; the rest is counted in all.
const OFFENDERS_MAX: usize = 64;

/// A request of metrics as the log has it.
#[derive(Clone, Debug)]
pub(crate) struct MetricsChunk {
    pub(crate) payload: Bytes,
    pub(crate) project: ProjectId,
    pub(crate) received: Timestamp,
    pub(crate) samples: u64,
    /// Bytes that the sender's request had.
    pub(crate) raw_bytes: u64,
}

impl MetricsChunk {
    /// From the log; `None` when the payload is none.
    pub(crate) fn parse(
        payload: Bytes,
        project: ProjectId,
        received: Timestamp,
    ) -> Option<MetricsChunk> {
        let mut samples = 0;
        let mut count = |event: Event| samples += u64::from(matches!(event, Event::Sample(..)));
        payload::read(&payload, &mut count).ok()?;
        let raw_bytes = payload.len() as u64;
        Some(MetricsChunk {
            payload,
            project,
            received,
            samples,
            raw_bytes,
        })
    }

    /// What it takes in a head at most, but for a few hundred bytes for each series that is new there:
    /// as much as in the log, where a sample takes more.
    pub(crate) fn bytes(&self) -> u64 {
        self.payload.len() as u64
    }
}

/// Samples of new series left out because of a cap, by the metric they are of.
#[derive(Clone, Debug, Default)]
struct Dropped {
    by_metric: BTreeMap<String, u64>,
}

/// How many series there are, and what has most of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeriesStats {
    /// With samples within about the last hour.
    pub(crate) active: u64,
    /// With samples in any segment or head.
    pub(crate) known: u64,
    pub(crate) limits: Option<SeriesLimits>,
    /// Names of labels, and of metrics: values and series of each, most first.
    pub(crate) labels: Vec<(String, u64)>,
    pub(crate) metrics: Vec<(String, u64)>,
    /// Samples left out because of a cap on series since the start, by metric, most first.
    pub(crate) dropped: Vec<(String, u64)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Book {
    limits: SeriesLimits,
    pub(super) index: Index,
    /// Guards the writer's part; the keeper and figures ask for it now and then.
    intake: Mutex<Intake>,
    /// Guards metadata: read by queries, changed once per news.
    metadata: RwLock<MetadataTable>,
    /// Guards what the writer counts and a page shows.
    dropped: Mutex<Dropped>,
}

impl Book {
    pub(crate) fn new(limits: SeriesLimits, content: SeriesContent) -> Book {
        let mut intake = Intake::new(limits, content.next);
        let index = Index::default();
        for (number, labels) in &content.series {
            intake.ledger.insert(Some(*number), labels.clone());
        }
        index.insert(content.series);
        let mut metadata = MetadataTable::default();
        content.metadata.into_iter().for_each(|m| metadata.load(m));
        Book {
            limits,
            index,
            intake: Mutex::new(intake),
            metadata: RwLock::new(metadata),
            dropped: Mutex::default(),
        }
    }

    fn intake(&self) -> MutexGuard<'_, Intake> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges a request; [`Book::abort`] if its payload does not reach the log.
    pub(crate) fn plan(&self, batch: &Batch, terms: Terms, heads: &[Arc<HeadData>]) -> Plan {
        let plan = {
            let metadata = self.metadata.read().unwrap_or_else(PoisonError::into_inner);
            self.intake().plan(batch, terms, heads, &metadata)
        };
        for (reason, n, example) in plan.outcome.rejected.iter() {
            if reason.is_series_limit() {
                self.note_dropped(example, n);
            }
        }
        plan
    }

    fn note_dropped(&self, example: &str, n: u64) {
        let metric = example.split('{').next().unwrap_or_default();
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        let by_metric = &mut dropped.by_metric;
        if by_metric.len() < OFFENDERS_MAX || by_metric.contains_key(metric) {
            *by_metric.entry(metric.to_owned()).or_default() += n;
        }
    }

    pub(crate) fn abort(&self, plan: &Plan, now: Timestamp) {
        self.intake().abort(plan, now);
    }

    /// Fills a head with a logged request, and makes its new series known.
    pub(crate) fn apply(&self, chunk: &MetricsChunk, sequence: u64, head: &HeadData) -> Applied {
        let applied = self
            .intake()
            .apply(&chunk.payload, sequence, chunk.received, head)
            .expect("judging wrote it, or `MetricsChunk::parse` has read it");
        if !applied.new.is_empty() {
            self.index.insert(applied.new.iter().cloned());
        }
        if !applied.metadata.is_empty() {
            let mut metadata = self
                .metadata
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            applied
                .metadata
                .iter()
                .cloned()
                .for_each(|m| metadata.set(m));
        }
        applied
    }

    /// A head is full: which series are active is counted anew.
    pub(crate) fn recount(&self, now: Timestamp) {
        self.intake().ledger.recount(now);
    }

    /// Encodes a head, a segment for each partition it touches.
    pub(crate) fn seal(
        &self,
        head: &Head,
        partition: &dyn Fn(Timestamp) -> Partition,
    ) -> Vec<Sealed> {
        seal::seal(head, &self.index, &seal::times(head), partition)
    }

    /// What the catalogue is to be told with a head whose series are these.
    pub(crate) fn edit(&self, new_series: Vec<(u32, Labels)>) -> SeriesEdit {
        let metadata = self.metadata.read().unwrap_or_else(PoisonError::into_inner);
        SeriesEdit {
            insert: new_series,
            remove: Vec::new(),
            metadata: metadata.unsaved(),
        }
    }

    /// The catalogue has been told so.
    pub(crate) fn saved(&self, edit: &SeriesEdit) {
        if !edit.metadata.is_empty() {
            let mut metadata = self
                .metadata
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            metadata.saved(&edit.metadata);
        }
    }

    /// Forgets the series that are not among `kept` and have had no sample in the frames from
    /// `sequence` on: those that segments and heads had none of when that was the next frame. Their
    /// numbers.
    pub(crate) fn forget(&self, kept: &RoaringBitmap, sequence: u64) -> Vec<u32> {
        let candidates = self.index.numbers() - kept;
        if candidates.is_empty() {
            return Vec::new();
        }
        // Held until the index has forgotten them too: the writer cannot meet them in between.
        let mut intake = self.intake();
        let is_dead = |number: &u32| {
            let known = intake.ledger.get(*number);
            known.is_none_or(|known| known.sequence < sequence)
        };
        let dead: Vec<u32> = candidates.iter().filter(is_dead).collect();
        dead.iter().for_each(|number| intake.ledger.remove(*number));
        self.index.remove(&dead);
        dead
    }

    /// What metrics say of themselves, by name.
    pub(crate) fn metadata(&self, metric: Option<&str>) -> Vec<Metadata> {
        let metadata = self.metadata.read().unwrap_or_else(PoisonError::into_inner);
        match metric {
            Some(metric) => metadata.get(metric).cloned().into_iter().collect(),
            None => metadata.iter().cloned().collect(),
        }
    }

    /// Counts, with the `n` largest of each kind.
    pub(crate) fn stats(&self, n: usize) -> SeriesStats {
        let active = self.intake().ledger.active();
        let dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_metric: Vec<(String, u64)> = dropped.by_metric.clone().into_iter().collect();
        by_metric.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        by_metric.truncate(n);
        SeriesStats {
            active,
            known: self.index.len() as u64,
            limits: Some(self.limits),
            labels: self.index.top_labels(n),
            metrics: self.index.top_values(crate::model::metric::NAME, n),
            dropped: by_metric,
        }
    }

    /// How many series are active, and how many are known.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.intake().ledger.active(), self.index.len() as u64)
    }
}
