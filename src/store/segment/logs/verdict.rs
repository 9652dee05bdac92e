//! What a filter says of the shapes of a block, so that rows are skipped, counted or shown without
//! asking it again.

use crate::model::record::severity_of;
use crate::model::{Level, TimeRange, Timestamp};
use crate::store::filter::{BodyKind, LogFilter, LogKind};
use crate::store::{StoreError, Template};

use super::super::dictionary::Dictionary;
use super::super::values::Kind;
use super::LogBlock;
use super::shape::LogShape;

/// No row of the shape matches.
pub(super) const NO: u8 = 0;
/// Every row of the shape matches.
pub(super) const YES: u8 = 1;
/// The filter has to look at each row. Also: the shape is not in the block.
pub(super) const ASK: u8 = 2;

/// One verdict per shape of the block.
#[derive(Debug)]
pub(super) struct Verdicts {
    /// Rising by shape.
    shapes: Vec<(u32, u8)>,
}

impl Verdicts {
    /// Of a block of format 1 nothing is known before it is read.
    pub(super) fn of(
        block: &LogBlock,
        dictionary: &Dictionary<LogShape>,
        filter: &LogFilter<'_>,
    ) -> Verdicts {
        let service = block.service();
        let verdict = |shape: u32| {
            if filter.everything {
                return YES;
            }
            let shape = dictionary.shapes.get(shape as usize);
            let kind = shape.and_then(|shape| kind(shape, dictionary, service, block.held));
            match kind.and_then(|kind| (filter.decide)(&kind)) {
                Some(true) => YES,
                Some(false) => NO,
                None => ASK,
            }
        };
        let shapes = block.entry().facts.shapes.iter();
        Verdicts {
            shapes: shapes.map(|(shape, _)| (*shape, verdict(*shape))).collect(),
        }
    }

    /// Whether all shapes have this verdict; of an unknown block nothing is said.
    pub(super) fn are_all(&self, verdict: u8) -> bool {
        !self.shapes.is_empty() && self.shapes.iter().all(|(_, own)| *own == verdict)
    }

    pub(super) fn any(&self, verdict: u8) -> bool {
        self.shapes.iter().any(|(_, own)| *own == verdict)
            || (self.shapes.is_empty() && verdict == ASK)
    }

    pub(super) fn get(&self, shape: u32) -> u8 {
        let found = self
            .shapes
            .binary_search_by_key(&shape, |(shape, _)| *shape);
        found.map_or(ASK, |place| self.shapes[place].1)
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
/// that level in the bucket of that time; buckets are `width_ns` wide from the epoch on. False (and no
/// call) when the directory alone cannot tell: the block has to be read.
pub(super) fn tally(
    block: &LogBlock,
    filter: &LogFilter<'_>,
    range: TimeRange,
    width_ns: u64,
    each: &mut dyn FnMut(Timestamp, Level, u64),
) -> Result<bool, StoreError> {
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
        return Ok(true);
    }
    let dictionary = block.dictionary()?;
    let verdicts = Verdicts::of(block, dictionary, filter);
    if verdicts.are_all(NO) {
        return Ok(true);
    }
    if !inside || verdicts.any(ASK) {
        return Ok(false);
    }
    if verdicts.are_all(YES) && stepwise {
        steps
            .iter(first)
            .for_each(|(at, level, rows)| each(at.max(first), level, rows));
        return Ok(true);
    }
    if !one_bucket {
        return Ok(false);
    }
    for (shape, rows) in &entry.facts.shapes {
        // A shape kept whole has no verdict but ASK, unless everything matches.
        let columns = &dictionary
            .shapes
            .get(*shape as usize)
            .and_then(|s| s.columns.as_ref());
        if let (Some(columns), YES) = (columns, verdicts.get(*shape)) {
            let text = dictionary.text(columns.severity_text);
            let severity = severity_of(columns.severity, text);
            each(first, severity.level(), u64::from(*rows));
        }
    }
    Ok(true)
}
