//! What lists and charts show of spans that are still in the head: summaries of traces, and rate,
//! errors and durations. Made when somebody looks, not at append: decoding every span once more
//! there would cost 0.26 s per 1M.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::StoreError;
use super::head::Group;
use super::hide::{self, Rule};
use super::unit::each_span;
use crate::model::red::RedTable;
use crate::model::summary::{SummaryTable, TraceSummary};
use crate::model::{Signal, SpanEntry, TraceId};

/// Traces of one group whose summaries are kept for the next reader: 256 are about 64 KB. A group of
/// more traces than this is summed up anew each time.
const KEPT_TRACES_MAX: usize = 256;

/// The digest of one group of requests.
#[derive(Debug, Default)]
pub(crate) struct Digest {
    pub(crate) summaries: Arc<SummaryTable>,
    pub(crate) red: RedTable,
}

/// The digest of a group without what `rules` hide, from its cache when it is closed and small.
pub(super) fn of(group: &Group<SpanEntry>, rules: &[Rule]) -> Result<Arc<Digest>, StoreError> {
    if let Some(veil) = hide::of_head(rules, Signal::Traces, group.cleared) {
        return Ok(Arc::new(make(group, &veil)?));
    }
    if let Some(digest) = group.digest.get() {
        return Ok(digest.clone());
    }
    let digest = Arc::new(make(group, &[])?);
    if digest.summaries.rows.len() <= KEPT_TRACES_MAX {
        return Ok(group.digest.get_or_init(|| digest).clone());
    }
    Ok(digest)
}

fn make(group: &Group<SpanEntry>, veil: &[Rule]) -> Result<Digest, StoreError> {
    let (mut summaries, mut red) = (Vec::<TraceSummary>::new(), RedTable::default());
    let mut places: HashMap<TraceId, usize> = HashMap::new();
    each_span(group, &mut |span| {
        if veil.iter().any(|rule| rule.hides_span(span)) {
            return;
        }
        let next = summaries.len();
        let place = *places.entry(span.trace_id).or_insert(next);
        if place == next {
            summaries.push(TraceSummary::new(span.trace_id));
        }
        summaries[place].add(span);
        red.add(span);
    })?;
    Ok(Digest {
        summaries: Arc::new(SummaryTable::of(&summaries)),
        red,
    })
}
