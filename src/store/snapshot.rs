//! The store at one moment, as readers see it: heads and segments by reference. Files stay readable
//! while a snapshot holds them, also after retention has unlinked them.

use std::sync::Arc;

use super::catalogue::{Catalogue, Damaged};
use super::digest;
use super::error::StoreError;
use super::head::{Entry, Group};
use super::hide::{self, Rule};
use super::prune::{LogPrune, SpanPrune};
use super::segments::{Segment, Segments, Traces};
use super::unit::{LogUnit, SpanUnit, Wanted, WantedSpans};
use super::units::{Order, Units};
use crate::model::red::{RedRow, RedTable};
use crate::model::summary::SummaryTable;
use crate::model::time::NANOS_PER_MINUTE;
use crate::model::{LogEntry, Signal, SpanEntry, TimeRange, Timestamp};

/// Cheap to make (two lists of references), cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(super) cutoffs: [Timestamp; Signal::ALL.len()],
    pub(super) logs: Arc<[Arc<Group<LogEntry>>]>,
    pub(super) traces: Arc<[Arc<Group<SpanEntry>>]>,
    pub(super) segments: Arc<Segments>,
    pub(super) catalogue: Catalogue,
    /// Deletions that are not carried out yet.
    pub(super) rules: Arc<[Rule]>,
}

impl Snapshot {
    /// Records before this are past retention and must never be shown.
    pub(crate) fn cutoff(&self, signal: Signal) -> Timestamp {
        self.cutoffs[signal as usize]
    }

    /// Units that may hold matching log records, the one with the newest record first, found as they
    /// are asked for. A unit may also hold records outside of `range` or past retention: the caller
    /// filters by [`Snapshot::visible`].
    pub(crate) fn logs(&self, range: TimeRange, prune: &LogPrune) -> Units<'_, LogUnit> {
        self.logs_in(Order::NewestFirst, range, prune)
    }

    /// As [`Snapshot::logs`], in an order.
    pub(crate) fn logs_in(
        &self,
        order: Order,
        range: TimeRange,
        prune: &LogPrune,
    ) -> Units<'_, LogUnit> {
        let range = self.visible(Signal::Logs, range);
        let prune = LogPrune {
            ruled_out: self.catalogue.ruled_out(&prune.need),
            ..prune.clone()
        };
        let wanted = Arc::new(Wanted { range, prune });
        let heads = overlapping(&self.logs, range).map(|group| {
            let veil = hide::of_head(&self.rules, Signal::Logs, group.cleared);
            LogUnit::head(group, wanted.clone()).behind(veil)
        });
        let heads = heads.collect();
        let open = Box::new(move |segment: &Segment, units: &mut Vec<LogUnit>| {
            segment.find_logs(range, &wanted.prune, &self.rules, &self.catalogue, units);
        });
        let segments = self.segments.of(Signal::Logs, range);
        Units::new(order, heads, segments, open, LogUnit::extent)
    }

    /// As [`Snapshot::logs`], for spans.
    pub(crate) fn spans(&self, range: TimeRange, prune: &SpanPrune) -> Units<'_, SpanUnit> {
        let range = self.visible(Signal::Traces, range);
        let wanted = Arc::new(WantedSpans::new(range, prune));
        let heads = overlapping(&self.traces, range).map(|group| {
            let veil = hide::of_head(&self.rules, Signal::Traces, group.cleared);
            SpanUnit::head(group, wanted.clone()).behind(veil)
        });
        let heads = heads.collect();
        let prune = prune.clone();
        let open = Box::new(move |segment: &Segment, units: &mut Vec<SpanUnit>| {
            segment.find_spans(range, &prune, &self.rules, units);
        });
        let segments = self.segments.of(Signal::Traces, range);
        Units::new(Order::NewestFirst, heads, segments, open, SpanUnit::extent)
    }

    /// What has summaries of the traces with a span in `range`, the one with the newest span first:
    /// head groups and segments, and summaries of one trace join to the whole.
    pub(crate) fn summaries(&self, range: TimeRange) -> Vec<Summaries> {
        let range = self.visible(Signal::Traces, range);
        let rules = &self.rules;
        let mut all: Vec<Summaries> = overlapping(&self.traces, range)
            .map(|group| Summaries {
                last: group.last,
                rules: rules.clone(),
                of: Summarised::Head(group),
            })
            .collect();
        all.extend(self.segments.traces(range).map(|segment| Summaries {
            last: segment.last(),
            rules: rules.clone(),
            of: Summarised::Segment(segment),
        }));
        all.sort_by_key(|summaries| std::cmp::Reverse(summaries.last));
        all
    }

    /// Rate, errors and durations of the minutes that touch `range`; several rows of one minute,
    /// service and operation add up.
    ///
    /// # Errors
    /// Something could not be read; all that could be was given to `each`, and the answer is partial.
    pub(crate) fn red(
        &self,
        range: TimeRange,
        each: &mut dyn FnMut(&RedRow<'_>),
    ) -> Result<(), StoreError> {
        let range = self.visible(Signal::Traces, range);
        let last = |minute: Timestamp| minute.saturating_add(NANOS_PER_MINUTE - 1);
        let mut give = |table: &RedTable| {
            table
                .rows()
                .filter(|row| range.overlaps(row.minute, last(row.minute)))
                .for_each(|row| each(&row));
        };
        let mut outcome = Ok(());
        for group in overlapping(&self.traces, range) {
            let digest = digest::of(&group, &self.rules);
            outcome = outcome.and(digest.map(|digest| give(&digest.red)));
        }
        for segment in self.segments.traces(range) {
            let table = segment.red(&self.rules);
            outcome = outcome.and(table.map(|table| give(&table)));
        }
        outcome
    }

    /// The part of `range` that is within retention.
    pub(crate) fn visible(&self, signal: Signal, range: TimeRange) -> TimeRange {
        let start = range.start().max(self.cutoff(signal));
        TimeRange::new(start, range.end().max(start)).expect("the end is not before the start")
    }

    /// What is known to be damaged and overlaps `range`: an answer without it is partial.
    pub(crate) fn damaged(&self, signal: Signal, range: TimeRange) -> Vec<Arc<Damaged>> {
        self.segments.damaged(signal, self.visible(signal, range))
    }
}

/// Summaries of one head group or segment.
#[derive(Clone, Debug)]
pub(crate) struct Summaries {
    /// Place of the newest span in there.
    pub(crate) last: Timestamp,
    rules: Arc<[Rule]>,
    of: Summarised,
}

#[derive(Clone, Debug)]
enum Summarised {
    Head(Arc<Group<SpanEntry>>),
    Segment(Traces),
}

impl Summaries {
    /// # Errors
    /// They cannot be read: an answer without them is partial.
    pub(crate) fn read(&self) -> Result<Arc<SummaryTable>, StoreError> {
        match &self.of {
            Summarised::Head(group) => Ok(digest::of(group, &self.rules)?.summaries.clone()),
            Summarised::Segment(segment) => segment.summaries(&self.rules),
        }
    }
}

fn overlapping<E: Entry>(
    groups: &[Arc<Group<E>>],
    range: TimeRange,
) -> impl Iterator<Item = Arc<Group<E>>> {
    groups
        .iter()
        .filter(move |group| group.rows > 0 && range.overlaps(group.first, group.last))
        .cloned()
}
