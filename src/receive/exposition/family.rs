//! HELP, TYPE and UNIT of a page, gathered by metric.

use std::collections::HashMap;

use super::Item;
use crate::model::metric::{Metadata, MetricKind};

/// Families of one page; more are not told to the store, which only shows them.
const FAMILIES_MAX: usize = 50_000;

/// Bytes of one help text that are kept: it is shown beside the metric's name.
const HELP_BYTES_MAX: usize = 4096;

/// What a page says of its families, in the order of the page.
#[derive(Debug, Default)]
pub(crate) struct Families {
    by_name: HashMap<String, usize>,
    found: Vec<Metadata>,
}

impl Families {
    /// Takes metadata, and nothing else.
    pub(crate) fn note(&mut self, item: &Item<'_>) {
        match *item {
            Item::Help { metric, text } => self.of(metric, |family| {
                let end = text.floor_char_boundary(HELP_BYTES_MAX);
                text[..end].clone_into(&mut family.help);
            }),
            Item::Type { metric, kind } => self.of(metric, |family| family.kind = kind),
            Item::Unit { metric, unit } => {
                self.of(metric, |family| unit.clone_into(&mut family.unit));
            }
            Item::Sample(_) => {}
        }
    }

    fn of(&mut self, metric: &str, change: impl FnOnce(&mut Metadata)) {
        // The lines about a family nearly always follow each other.
        let last = self.found.last().is_some_and(|last| last.metric == metric);
        let known = match last {
            true => Some(self.found.len() - 1),
            false => self.by_name.get(metric).copied(),
        };
        let at = match known {
            Some(at) => at,
            None if self.found.len() == FAMILIES_MAX => return,
            None => {
                self.by_name.insert(metric.to_owned(), self.found.len());
                self.found.push(Metadata {
                    metric: metric.to_owned(),
                    kind: MetricKind::Unknown,
                    ..Metadata::default()
                });
                self.found.len() - 1
            }
        };
        change(&mut self.found[at]);
    }

    pub(crate) fn into_metadata(self) -> Vec<Metadata> {
        self.found
    }
}
