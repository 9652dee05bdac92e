//! Live tail by polling: each call gives what came in since the one before.
//!
//! There is no subscription inside the store: a tail looks at the newest few seconds again and
//! remembers which records it has seen, so that a slow client costs the writer nothing.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::QueryError;
use super::answer::TailBatch;
use super::control::Control;
use super::lang::Expr;
use super::logs::Shared;
use super::matcher::LogMatcher;
use super::scan::log_units;
use crate::model::owned::RecordId;
use crate::model::time::NANOS_PER_SECOND;
use crate::model::{LogRecord, TimeRange, Timestamp};
use crate::store::{LogColumns, LogUnit, Snapshot};

/// Records that are placed this far behind the newest are still noticed when they come in. Older
/// ones (offline senders) are for the list, not for a tail.
const LATE_NS: u64 = 10 * NANOS_PER_SECOND;

/// Records in one batch: four batches a second are more than anybody reads.
const BATCH_MAX: usize = 500;

/// Ids remembered; beyond it the oldest are forgotten, and the tail looks back less far.
const SEEN_MAX: usize = 50_000;

/// Where a live tail stands.
#[derive(Clone, Debug)]
pub(crate) struct TailPosition {
    /// Nothing before this is given.
    from: Timestamp,
    newest: Timestamp,
    seen: BTreeSet<RecordId>,
}

impl TailPosition {
    /// Starts at `now`: what is placed before is history.
    pub(crate) fn new(now: Timestamp) -> TailPosition {
        TailPosition {
            from: now,
            newest: now,
            seen: BTreeSet::new(),
        }
    }

    /// Starts after a record that the client has, when it comes back.
    pub(crate) fn after(id: RecordId) -> TailPosition {
        TailPosition {
            from: id.at,
            newest: id.at,
            seen: BTreeSet::from([id]),
        }
    }

    pub(super) fn advance(
        &mut self,
        snapshot: &Snapshot,
        query: &Expr,
        control: &Control,
    ) -> Result<TailBatch, QueryError> {
        let matcher = LogMatcher::new(query)?.over(snapshot);
        let start = self.newest.saturating_sub(LATE_NS).max(self.from);
        let range = TimeRange::new(start, Timestamp::MAX).expect("the maximum is last");
        let (units, visible, mut progress) = log_units(snapshot, range, &matcher, control);
        let (mut new, mut skipped) = (Vec::<LogRecord>::new(), 0);
        let mut seen_now = BTreeSet::new();
        let mut forgotten = None;
        let mut shared = Shared::default();
        let mut unread = units.len();
        for (number, unit) in units.iter().enumerate() {
            if !progress.may_go_on() {
                unread = number;
                break;
            }
            let result = unit.for_each(LogColumns::ALL, &mut |log| {
                if visible.contains(log.at) && matcher.matches(log) {
                    let id = RecordId::of(log);
                    if !self.seen.contains(&id) {
                        seen_now.insert(id);
                        // A client that was away for hours brings more than may be remembered.
                        if seen_now.len() > SEEN_MAX {
                            forgotten = forgotten.max(seen_now.pop_first());
                        }
                        new.push(shared.record(log));
                        skipped += keep_newest(&mut new, BATCH_MAX);
                    }
                }
                ControlFlow::Continue(())
            });
            progress.read(unit.rows(), unit.bytes(), result);
        }
        new.sort_by_key(|record| record.id);
        skipped += new.len().saturating_sub(BATCH_MAX) as u64;
        new.drain(..new.len().saturating_sub(BATCH_MAX));
        self.remember(seen_now, forgotten);
        // What was not looked at and lies behind where the next look starts will never be.
        let next = self.newest.saturating_sub(LATE_NS).max(self.from);
        let lost = units[unread..].iter().filter(|unit| unit.first() < next);
        skipped += lost.map(LogUnit::rows).sum::<u64>();
        Ok(TailBatch {
            records: new,
            skipped,
            partial: progress.partial(),
        })
    }

    /// Remembers what was given now; `forgotten` is the latest of it that there was no room for.
    fn remember(&mut self, ids: BTreeSet<RecordId>, mut forgotten: Option<RecordId>) {
        self.seen.extend(ids);
        if let Some(newest) = self.seen.last() {
            self.newest = self.newest.max(newest.at);
        }
        let horizon = self.newest.saturating_sub(LATE_NS);
        while self.seen.first().is_some_and(|id| id.at < horizon) {
            self.seen.pop_first();
        }
        while self.seen.len() > SEEN_MAX {
            forgotten = forgotten.max(self.seen.pop_first());
        }
        // What is forgotten must not be given again.
        if let Some(forgotten) = forgotten {
            self.from = self.from.max(forgotten.at.saturating_add(1));
        }
    }
}

/// Drops the oldest once twice as many as wanted are held; how many.
fn keep_newest(records: &mut Vec<LogRecord>, wanted: usize) -> u64 {
    if records.len() < 2 * wanted {
        return 0;
    }
    records.sort_by_key(|record| record.id);
    let dropped = records.len() - wanted;
    records.drain(..dropped);
    dropped as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_to_remember_is_not_given_again() {
        let id = |at: u64| RecordId {
            at: Timestamp(at),
            hash: at,
        };
        let mut position = TailPosition::new(Timestamp(5));
        position.remember((20..30).map(id).collect(), None);
        assert_eq!(
            (position.from, position.newest),
            (Timestamp(5), Timestamp(29))
        );
        position.remember((40..50).map(id).collect(), Some(id(39)));
        assert_eq!(
            (position.from, position.newest),
            (Timestamp(40), Timestamp(49))
        );
        let many = 100..100 + SEEN_MAX as u64 + 3;
        position.remember(many.map(id).collect(), None);
        assert_eq!(
            (position.from, position.seen.len()),
            (Timestamp(103), SEEN_MAX)
        );
    }
}
