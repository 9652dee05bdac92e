//! Counting the records of a unit by their patterns.

use std::ops::ControlFlow;

use super::{LogUnit, Logs, Looked, head};
use crate::model::{LogView, Timestamp};
use crate::store::filter::{Decider, LogFilter, LogKind};
use crate::store::prune::LogColumns;
use crate::store::segment::SeenPattern;
use crate::store::{StoreError, hide};

impl LogUnit {
    /// Calls `each` with the records that pass `filter`, counted by pattern, level and bucket; `bucket`
    /// rises with time. Records of a head have the pattern of their own text, those of a block the
    /// template that they are kept with.
    ///
    /// # Errors
    /// As [`LogUnit::for_each`].
    pub(crate) fn patterns(
        &self,
        filter: &LogFilter<'_>,
        bucket: &dyn Fn(Timestamp) -> u64,
        each: &mut dyn FnMut(&SeenPattern<'_>),
    ) -> Result<Looked, StoreError> {
        let read = match (&self.data, &self.veil) {
            (Logs::Block(block), None) => block.patterns(filter, bucket, each)?,
            (Logs::Block(block), Some(veil)) => {
                let hides = |log: &LogView<'_>| veil.iter().any(|rule| rule.hides_log(log));
                let decide = |kind: &LogKind<'_>| filter.decider.ask(kind).filter(|yes| !yes);
                let behind = LogFilter {
                    decider: &Decider::new(&decide),
                    matches: &|log| !hides(log) && (filter.everything || (filter.matches)(log)),
                    columns: filter.columns.with(hide::log_columns(veil)),
                    everything: false,
                    ..*filter
                };
                block.patterns(&behind, bucket, each)?
            }
            (Logs::Head(group, wanted), None) => {
                head::patterns(group, wanted, filter, bucket, each)?
            }
            (Logs::Head(..), Some(_)) => {
                self.hidden_patterns(filter, bucket, each)?;
                true
            }
            (Logs::Unreadable(segment), _) => return Err(segment.error()),
        };
        Ok(if read { Looked::Read } else { Looked::Skipped })
    }

    /// Of a head of which something is hidden: record by record.
    fn hidden_patterns(
        &self,
        filter: &LogFilter<'_>,
        bucket: &dyn Fn(Timestamp) -> u64,
        each: &mut dyn FnMut(&SeenPattern<'_>),
    ) -> Result<(), StoreError> {
        let columns = filter.columns.with(LogColumns::ALL);
        self.for_each(columns, &mut |log| {
            if (filter.open)(log.at) && (filter.everything || (filter.matches)(log)) {
                head::give_pattern(log, bucket(log.at), each);
            }
            ControlFlow::Continue(())
        })
    }
}
