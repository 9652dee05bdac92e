//! What a filter says of the shapes of a block, so that rows are skipped, counted or shown without
//! asking it again.

use std::any::Any;
use std::cell::Cell;
use std::sync::Arc;

use crate::model::record::severity_of;
use crate::model::{Level, TimeRange, Timestamp};
use crate::store::filter::{
    BodyKind, LogFilter, LogKind, ShapeVerdicts, ShapesKey, Tallied, Verdict,
};
use crate::store::{StoreError, Template};

use super::super::dictionary::Dictionary;
use super::super::values::Kind;
use super::LogBlock;
use super::shape::LogShape;

/// The verdicts on the shapes of one block.
#[derive(Debug)]
pub(super) struct Verdicts {
    /// `None`: nothing is known before it is read.
    of: Option<ShapeVerdicts>,
    /// How many of the block's shapes have each verdict.
    counts: [usize; 3],
}

impl Verdicts {
    /// Of a block of format 1 nothing is known before it is read.
    pub(super) fn of(
        block: &LogBlock,
        dictionary: &Dictionary<LogShape>,
        filter: &LogFilter<'_>,
    ) -> Verdicts {
        let facts = &block.entry().facts;
        let mut verdicts = Verdicts {
            of: None,
            counts: [0; 3],
        };
        if facts.shapes.is_empty() {
            return verdicts;
        }
        let key = ShapesKey {
            owner: Arc::as_ptr(&block.loaded).addr(),
            part: block.entry().part,
            service: facts.service,
            held: block.held,
        };
        let owner: Arc<dyn Any + Send + Sync> = block.loaded.clone();
        let of = filter.shapes(key, &owner, dictionary.shapes.len());
        let service = block.service();
        let ruled_out = block.ruled_out.as_ref().filter(|_| !filter.everything);
        let mut documents = None;
        let mut is_ruled_out = |shape: u32| {
            ruled_out.is_some_and(|out| {
                let known = documents.get_or_insert_with(|| block.documents(dictionary, out));
                out.has_document(known, shape as usize)
            })
        };
        for (shape, _) in &facts.shapes {
            let Some(known) = of.get(*shape as usize) else {
                verdicts.counts[Verdict::Ask as usize] += 1;
                continue;
            };
            let verdict = known.get().unwrap_or_else(|| {
                let columns = &dictionary.shapes[*shape as usize];
                match kind(columns, dictionary, service, block.held) {
                    Some(_) if is_ruled_out(*shape) => Verdict::No,
                    Some(kind) => filter.decide(&kind),
                    None if filter.everything => Verdict::Yes,
                    None => Verdict::Ask,
                }
            });
            known.set(Some(verdict));
            verdicts.counts[verdict as usize] += 1;
        }
        verdicts.of = Some(of);
        verdicts
    }

    /// Whether all shapes have this verdict; of an unknown block nothing is said.
    pub(super) fn are_all(&self, verdict: Verdict) -> bool {
        let all: usize = self.counts.iter().sum();
        all > 0 && self.counts[verdict as usize] == all
    }

    pub(super) fn any(&self, verdict: Verdict) -> bool {
        self.counts[verdict as usize] > 0 || (self.of.is_none() && verdict == Verdict::Ask)
    }

    /// Of a shape that is not in the block: that its rows have to be asked.
    pub(super) fn get(&self, shape: u32) -> Verdict {
        let known = self.of.as_ref().and_then(|of| of.get(shape as usize));
        known.and_then(Cell::get).unwrap_or(Verdict::Ask)
    }
}

/// What is known of all records of a shape; `None` of those kept whole.
fn kind<'a>(
    shape: &LogShape,
    dictionary: &'a Dictionary<LogShape>,
    service: &'a str,
    held: u64,
) -> Option<LogKind<'a>> {
    let columns = shape.columns.as_ref()?;
    let body = match (columns.template, columns.body) {
        (Some(template), _) => BodyKind::Text(Template::new(dictionary.text(template))),
        (None, Kind::Empty) => BodyKind::Empty,
        (None, _) => BodyKind::Open,
    };
    Some(LogKind {
        service,
        severity: columns.severity,
        severity_text: dictionary.text(columns.severity_text),
        event_name: dictionary.text(columns.event_name),
        body,
        held,
    })
}

/// Calls `each` with a time, a level and how many records of the block that the filter passes have
/// that level in the bucket of that time, as far as the directory alone tells; buckets are `width_ns`
/// wide from the epoch on.
pub(super) fn tally(
    block: &LogBlock,
    filter: &LogFilter<'_>,
    range: TimeRange,
    width_ns: u64,
    each: &mut dyn FnMut(Timestamp, Level, u64),
) -> Result<Tallied, StoreError> {
    let entry = block.entry();
    let (first, last) = (entry.first, entry.last);
    let inside = range.contains(first) && range.contains(last);
    let one_bucket = first.0 / width_ns == last.0 / width_ns;
    let steps = &entry.facts.steps;
    let stepwise = steps
        .width_ns()
        .is_some_and(|width| one_bucket || width_ns.is_multiple_of(width));
    if filter.everything && inside && stepwise {
        steps
            .iter(first)
            .for_each(|(at, level, rows)| each(at.max(first), level, rows));
        return Ok(Tallied::All);
    }
    let dictionary = block.dictionary()?;
    let verdicts = Verdicts::of(block, dictionary, filter);
    if verdicts.are_all(Verdict::No) {
        return Ok(Tallied::All);
    }
    if !inside {
        return Ok(Tallied::Nothing);
    }
    if verdicts.are_all(Verdict::Yes) && stepwise {
        steps
            .iter(first)
            .for_each(|(at, level, rows)| each(at.max(first), level, rows));
        return Ok(Tallied::All);
    }
    if !one_bucket || filter.everything || verdicts.of.is_none() {
        return Ok(Tallied::Nothing);
    }
    for (shape, rows) in &entry.facts.shapes {
        // A shape kept whole has no verdict but that it has to be asked.
        let columns = &dictionary
            .shapes
            .get(*shape as usize)
            .and_then(|s| s.columns.as_ref());
        if let (Some(columns), Verdict::Yes) = (columns, verdicts.get(*shape)) {
            let text = dictionary.text(columns.severity_text);
            let severity = severity_of(columns.severity, text);
            each(first, severity.level(), u64::from(*rows));
        }
    }
    Ok(match verdicts.any(Verdict::Ask) {
        true => Tallied::Certain,
        false => Tallied::All,
    })
}
