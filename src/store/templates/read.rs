//! Templates as a snapshot shows them: whole segments by their facts, the rest unit by unit, and when
//! each template was first and last seen in everything that is kept.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{SegmentTemplates, TemplateId};
use crate::model::{LogView, Signal, TimeRange, Timestamp};
use crate::store::filter::{Decider, LogFilter};
use crate::store::prune::{LogColumns, LogPrune};
use crate::store::segments::Segment;
use crate::store::unit::LogUnit;
use crate::store::{Snapshot, StoreError, hide};

/// A segment that its facts tell of without being opened.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) templates: SegmentTemplates,
    /// Place of its first record.
    pub(crate) first: Timestamp,
}

/// When a template was first and last seen.
pub(crate) type Sightings = HashMap<TemplateId, (Timestamp, Timestamp)>;

impl Snapshot {
    /// As [`Snapshot::logs`]; of segments for which `is_told` says so of their first and last record,
    /// which is inside of `range`, `each` is given the facts where those say everything: one at a time,
    /// until it breaks off.
    pub(crate) fn pattern_units(
        &self,
        range: TimeRange,
        prune: &LogPrune,
        is_told: &dyn Fn(Timestamp, Timestamp) -> bool,
        each: &mut dyn FnMut(&Told) -> ControlFlow<()>,
    ) -> Vec<LogUnit> {
        let range = self.visible(Signal::Logs, range);
        let mut rest = (*self.segments).clone();
        rest.list.clear();
        for segment in &self.segments.list {
            let (first, last) = (segment.row.first, segment.row.last);
            let inside = range.contains(first) && range.contains(last) && is_told(first, last);
            let facts = match inside && self.is_open(segment) {
                true => self.catalogue.templates_of(segment.row.id),
                false => Ok(None),
            };
            let facts = facts.ok().flatten().filter(|templates| templates.raw == 0);
            match facts.map(|templates| each(&Told { templates, first })) {
                Some(ControlFlow::Continue(())) => {}
                Some(ControlFlow::Break(())) => return Vec::new(),
                None => rest.list.push(segment.clone()),
            }
        }
        let rest = Snapshot {
            segments: Arc::new(rest),
            ..self.clone()
        };
        rest.logs(range, prune).collect()
    }

    /// The part of `range` with log records in it: an open range ends where they do.
    pub(crate) fn log_extent(&self, range: TimeRange) -> TimeRange {
        let rows = self.segments.list.iter().filter(|s| s.is_logs());
        let of_segments = rows.map(|segment| (segment.row.first, segment.row.last));
        let of_heads = self.logs.iter().filter(|group| group.rows > 0);
        let spans = of_segments.chain(of_heads.map(|group| (group.first, group.last)));
        let inside = spans.filter(|(first, last)| range.overlaps(*first, *last));
        let extent = inside.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let Some((first, last)) = extent else {
            return range;
        };
        let start = match range.start() {
            Timestamp(0) => first,
            start => start,
        };
        let end = match range.end() {
            Timestamp::MAX => last.saturating_add(1),
            end => end,
        };
        TimeRange::new(start, end.max(start)).unwrap_or(range)
    }

    /// The text of a template, variables as control bytes; empty when the catalogue has it no more.
    pub(crate) fn template(&self, id: TemplateId) -> String {
        self.catalogue
            .template(id)
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    /// A log segment of which nothing is hidden.
    fn is_open(&self, segment: &Segment) -> bool {
        segment.is_logs() && hide::of_segment(&self.rules, &segment.row).is_none()
    }

    /// When each template that `wants` names was first and last seen, in everything that is kept and
    /// may be shown; by facts where they tell. Asks `may_go_on` before each step and ends when it says
    /// no.
    ///
    /// # Errors
    /// Something could not be read: `sightings` has what could.
    pub(crate) fn sightings(
        &self,
        wants: &dyn Fn(TemplateId) -> bool,
        may_go_on: &mut dyn FnMut() -> bool,
        sightings: &mut Sightings,
    ) -> Result<(), StoreError> {
        let cutoff = self.cutoff(Signal::Logs);
        let mut see = |id: TemplateId, first: Timestamp, last: Timestamp| {
            if last >= cutoff && wants(id) {
                let first = first.max(cutoff);
                let seen = sightings.entry(id).or_insert((first, last));
                *seen = (seen.0.min(first), seen.1.max(last));
            }
        };
        let (mut rest, mut outcome) = (Vec::new(), Ok(()));
        for segment in self
            .segments
            .list
            .iter()
            .filter(|segment| segment.is_logs())
        {
            if !may_go_on() {
                return outcome;
            }
            let facts = match self.is_open(segment) {
                true => self.catalogue.templates_of(segment.row.id)?,
                false => None,
            };
            match facts {
                Some(templates) => {
                    let facts = templates.facts.iter();
                    facts.for_each(|facts| see(facts.id, facts.first, facts.last));
                }
                None => rest.push(segment.clone()),
            }
        }
        let unit_of = Snapshot {
            segments: Arc::new(crate::store::segments::Segments {
                list: rest,
                damaged: Vec::new(),
            }),
            ..self.clone()
        };
        let everything = LogFilter {
            open: &|_| true,
            decider: &Decider::new(&|_| Some(true)),
            matches: &|_: &LogView<'_>| true,
            columns: LogColumns::NONE,
            everything: true,
            sieve: None,
            only_asked: false,
        };
        for unit in unit_of.logs(TimeRange::ALL, &LogPrune::default()) {
            if !may_go_on() {
                break;
            }
            // A bucket for each nanosecond tells them exactly.
            let looked = unit.patterns(&everything, &|at| at.0, &mut |seen| {
                see(seen.id, Timestamp(seen.bucket), Timestamp(seen.bucket));
            });
            outcome = outcome.and(looked.map(drop));
        }
        outcome
    }
}
