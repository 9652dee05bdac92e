//! Counting the records of a unit by their patterns.

use std::ops::ControlFlow;

use super::{LogUnit, Logs, Looked};
use crate::model::record::severity_of;
use crate::model::{LogView, Timestamp};
use crate::store::filter::LogFilter;
use crate::store::prune::LogColumns;
use crate::store::segment::{SeenPattern, template_of};
use crate::store::templates::TemplateId;
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
                let behind = LogFilter {
                    decide: &|kind| (filter.decide)(kind).filter(|matches| !matches),
                    matches: &|log| !hides(log) && (filter.everything || (filter.matches)(log)),
                    columns: filter.columns.with(hide::log_columns(veil)),
                    everything: false,
                    ..*filter
                };
                block.patterns(&behind, bucket, each)?
            }
            (Logs::Head(..), _) => {
                self.head_patterns(filter, bucket, each)?;
                true
            }
            (Logs::Unreadable(segment), _) => return Err(segment.error()),
        };
        Ok(if read { Looked::Read } else { Looked::Skipped })
    }

    fn head_patterns(
        &self,
        filter: &LogFilter<'_>,
        bucket: &dyn Fn(Timestamp) -> u64,
        each: &mut dyn FnMut(&SeenPattern<'_>),
    ) -> Result<(), StoreError> {
        let mut template = Vec::new();
        self.for_each(LogColumns::ALL, &mut |log| {
            if !(filter.open)(log.at) || !(filter.everything || (filter.matches)(log)) {
                return ControlFlow::Continue(());
            }
            let text = log.body.as_str().unwrap_or_default();
            let splits = log.body.as_str().is_some() && template_of(text, &mut template);
            let text = match splits {
                true => std::str::from_utf8(&template).expect("variables are whole characters"),
                false => "",
            };
            each(&SeenPattern {
                id: match splits {
                    true => TemplateId::of(text.as_bytes()),
                    false => TemplateId::PLAIN,
                },
                text,
                service: log.resource.service(),
                level: severity_of(log.severity, log.severity_text).level(),
                bucket: bucket(log.at),
                rows: 1,
            });
            ControlFlow::Continue(())
        })
    }
}
