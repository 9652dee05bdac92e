//! What metrics say of themselves (`# TYPE`, `# UNIT`, `# HELP`): the newest word of each, in memory and
//! in the catalogue.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::metric::Metadata;

/// Metrics whose metadata is kept; each costs about 200 B. More names than this are made by mistake.
const METRICS_MAX: usize = 20_000;

/// Bytes of a help text, a unit or a name; what is longer is not kept.
const TEXT_BYTES_MAX: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct MetadataTable {
    by_metric: BTreeMap<String, Metadata>,
    /// Names whose metadata the catalogue does not have yet.
    unsaved: BTreeSet<String>,
}

impl MetadataTable {
    /// Whether it says something that is not known, and may be kept.
    pub(super) fn is_news(&self, said: &Metadata) -> bool {
        let texts = [&said.metric, &said.unit, &said.help];
        let fits = texts.iter().all(|text| text.len() <= TEXT_BYTES_MAX);
        let known = self.by_metric.get(&said.metric);
        let has_room = known.is_some() || self.by_metric.len() < METRICS_MAX;
        fits && has_room && !said.metric.is_empty() && known != Some(said)
    }

    /// As read from the catalogue.
    pub(super) fn load(&mut self, known: Metadata) {
        self.by_metric.insert(known.metric.clone(), known);
    }

    pub(super) fn set(&mut self, said: Metadata) {
        self.unsaved.insert(said.metric.clone());
        self.by_metric.insert(said.metric.clone(), said);
    }

    /// What the catalogue is to be told.
    pub(super) fn unsaved(&self) -> Vec<Metadata> {
        let unsaved = self.unsaved.iter();
        unsaved
            .filter_map(|metric| self.by_metric.get(metric).cloned())
            .collect()
    }

    /// The catalogue has been told so.
    pub(super) fn saved(&mut self, told: &[Metadata]) {
        for said in told {
            if self.by_metric.get(&said.metric) == Some(said) {
                self.unsaved.remove(&said.metric);
            }
        }
    }

    /// By name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Metadata> {
        self.by_metric.values()
    }

    pub(crate) fn get(&self, metric: &str) -> Option<&Metadata> {
        self.by_metric.get(metric)
    }
}
