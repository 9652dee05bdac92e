//! Facts for segments that have none: those of an earlier version, and those whose publication could
//! not read them. A few in each round of the keeper.

use std::sync::Arc;

use crate::store::StoreError;
use crate::store::catalogue::Edit;
use crate::store::segments::{self, Segment};
use crate::store::shared::Shared;

/// Segments looked through in one round: each costs a transaction and one small column family per
/// block, 20 ms for a million records.
const SEGMENTS_PER_ROUND: usize = 8;

/// Gives the number of segments that got their facts.
pub(in crate::store) fn backfill(shared: &Shared) -> Result<usize, StoreError> {
    let (segments, rules) = {
        let live = shared.live();
        (live.segments.clone(), live.rules.clone())
    };
    // Texts that a pending deletion is about are not written anywhere anew.
    let is_open = |segment: &&Arc<Segment>| !rules.iter().any(|rule| rule.applies(&segment.row));
    let logs = segments.list.iter().filter(|segment| segment.is_logs());
    let lacking: Vec<Arc<Segment>> = shared
        .catalogue
        .without_templates(logs.filter(is_open).cloned())
        .take(SEGMENTS_PER_ROUND)
        .collect();
    if lacking.is_empty() {
        return Ok(0);
    }
    let templates = segments::mined(&lacking)?;
    let found = templates.len();
    for segment in &lacking {
        if !templates.iter().any(|(id, _)| *id == segment.row.id) {
            shared.catalogue.give_up_templates(segment.row.id);
        }
    }
    shared.catalogue.apply(&Edit {
        templates,
        ..Edit::default()
    })?;
    Ok(found)
}
