//! The templates of segments in the catalogue: texts once, facts per segment, both changed in the
//! transaction that publishes or removes the segment. In memory there is only how many segments have
//! each template.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use xxhash_rust::xxh3::xxh3_64;

use super::{Catalogue, Edit};
use crate::store::StoreError;
use crate::store::templates::{
    self, Changes, Generation, RuledOut, SegmentTemplates, TEMPLATES_MAX,
    TEMPLATES_PER_SERVICE_MAX, TemplateId, TextNeed,
};

/// Hash of a template -> its text, variables as control bytes.
pub(super) const TEXTS: TableDefinition<u64, &str> = TableDefinition::new("store.templates");
/// Segment id -> [`SegmentTemplates`] as bytes.
pub(super) const FACTS: TableDefinition<u64, &[u8]> =
    TableDefinition::new("store.segment_templates");

/// Templates that one seal or rewrite of one project and retention class can bring at most: where that
/// many fit, nobody is asked.
const NEW_MAX: u32 = 1_365;

/// Which templates there are.
#[derive(Debug, Default)]
pub(super) struct Known {
    templates: HashMap<TemplateId, Owner>,
    /// Hash of a service's name -> templates it has brought.
    by_service: HashMap<u64, u32>,
    /// Segments that have facts.
    segments: BTreeSet<u64>,
    /// Segments that cannot be read; asked again after a restart.
    given_up: HashSet<u64>,
    caps: Caps,
    /// How many templates have come and gone.
    changes: Changes,
    /// Facts were removed since the last wipe; at a start nobody knows.
    has_removed: bool,
}

/// How many templates there may be.
#[derive(Clone, Copy, Debug)]
struct Caps {
    per_service: u32,
    all: u32,
}

impl Default for Caps {
    fn default() -> Caps {
        Caps {
            per_service: TEMPLATES_PER_SERVICE_MAX,
            all: TEMPLATES_MAX,
        }
    }
}

/// What may be asked without waiting for a transaction.
#[derive(Debug, Default)]
pub(super) struct Figures {
    known: AtomicU64,
    refused: AtomicU64,
}

impl Figures {
    pub(super) fn set_known(&self, known: &Known) {
        let n = known.templates.len() as u64;
        self.known.store(n, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    segments: u32,
    service: u64,
}

/// What a transaction changes of [`Known`].
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Segments more (or fewer) for each template, and the service of a new one.
    templates: HashMap<TemplateId, (i64, u64)>,
    added: Vec<u64>,
    removed: Vec<u64>,
}

impl Change {
    fn add(&mut self, id: TemplateId, n: i64, service: &str) {
        let entry = self
            .templates
            .entry(id)
            .or_insert_with(|| (0, xxh3_64(service.as_bytes())));
        entry.0 += n;
    }
}

fn damaged(what: &'static str) -> StoreError {
    StoreError::corrupt(Path::new("catalog.redb"), 0, what)
}

impl Known {
    pub(super) fn read(txn: &ReadTransaction) -> Result<Known, StoreError> {
        let mut known = Known {
            has_removed: true,
            ..Known::default()
        };
        for entry in txn.open_table(FACTS)?.iter()? {
            let (segment, row) = entry?;
            let mut change = Change::default();
            change.added.push(segment.value());
            let ids = templates::decode_ids(row.value());
            for (id, service) in ids.map_err(|damage| damaged(damage.0))? {
                change.add(id, 1, &service);
            }
            known.commit(change);
        }
        Ok(known)
    }

    /// Writes what an edit says of templates.
    pub(super) fn write(&self, txn: &WriteTransaction, edit: &Edit) -> Result<Change, StoreError> {
        let mut change = Change::default();
        if edit.templates.is_empty() && edit.remove.is_empty() {
            return Ok(change);
        }
        let (mut facts, mut texts) = (txn.open_table(FACTS)?, txn.open_table(TEXTS)?);
        for segment in &edit.remove {
            let Some(row) = facts.remove(segment)? else {
                continue;
            };
            change.removed.push(*segment);
            let ids = templates::decode_ids(row.value());
            for (id, service) in ids.map_err(|damage| damaged(damage.0))? {
                change.add(id, -1, &service);
            }
        }
        let mut new: HashMap<TemplateId, &str> = HashMap::new();
        for (segment, mined) in &edit.templates {
            let row = templates::encode(&mined.templates);
            if self.segments.contains(segment) {
                continue;
            }
            facts.insert(segment, &row[..])?;
            change.added.push(*segment);
            for (facts, text) in mined.templates.facts.iter().zip(&mined.texts) {
                if facts.id == TemplateId::PLAIN {
                    continue;
                }
                let service = facts.services.first().map(|s| *s as usize);
                let service = service.and_then(|s| mined.templates.services.get(s));
                change.add(facts.id, 1, service.map_or("", |name| name));
                new.insert(facts.id, text);
            }
        }
        for (id, (n, _)) in &change.templates {
            let before = self
                .templates
                .get(id)
                .map_or(0, |owner| i64::from(owner.segments));
            match (before, before + n, new.get(id)) {
                (0, 1.., Some(text)) => _ = texts.insert(id.0, *text)?,
                (1.., ..=0, _) => _ = texts.remove(id.0)?,
                _ => {}
            }
        }
        Ok(change)
    }

    /// Takes over what was committed.
    pub(super) fn commit(&mut self, change: Change) {
        for (id, (n, service)) in change.templates {
            let owner = self.templates.entry(id).or_insert_with(|| {
                *self.by_service.entry(service).or_default() += 1;
                self.changes.added += 1;
                Owner {
                    segments: 0,
                    service,
                }
            });
            let segments = i64::from(owner.segments) + n;
            owner.segments = u32::try_from(segments.max(0)).unwrap_or(u32::MAX);
            if owner.segments == 0 {
                let service = owner.service;
                self.templates.remove(&id);
                self.changes.removed += 1;
                if let Some(n) = self.by_service.get_mut(&service) {
                    *n -= 1;
                    if *n == 0 {
                        self.by_service.remove(&service);
                    }
                }
            }
        }
        self.has_removed |= !change.removed.is_empty();
        change
            .removed
            .iter()
            .for_each(|id| _ = self.segments.remove(id));
        self.segments.extend(change.added);
    }

    /// Whether the file may have bytes of facts or texts that are gone.
    pub(super) fn has_removed(&self) -> bool {
        self.has_removed
    }

    pub(super) fn wiped(&mut self) {
        self.has_removed = false;
    }
}

/// Figures about templates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct TemplateFigures {
    pub(in crate::store) known: u64,
    pub(in crate::store) refused: u64,
}

impl Catalogue {
    /// Whether what is sealed or rewritten for so many projects and retention classes may come near a
    /// cap, so that each record has to be asked about.
    pub(in crate::store) fn is_near_template_cap(&self, homes: usize) -> bool {
        let known = self.known();
        let new = u32::try_from(homes).unwrap_or(u32::MAX);
        let new = new.saturating_mul(NEW_MAX);
        let most = known.by_service.values().max().copied().unwrap_or(0);
        most.saturating_add(new) > known.caps.per_service
            || (known.templates.len() as u32).saturating_add(new) > known.caps.all
    }

    /// Whether a template is known (true), beyond what may be known (false), or new and fits beside
    /// `of_service` new ones of its service and `new` in all (`None`).
    pub(in crate::store) fn has_room_for(
        &self,
        service: &str,
        id: TemplateId,
        of_service: u32,
        new: u32,
    ) -> Option<bool> {
        let known = self.known();
        if known.templates.contains_key(&id) {
            return Some(true);
        }
        let service = xxh3_64(service.as_bytes());
        let own = known.by_service.get(&service).copied().unwrap_or(0) + of_service;
        let all = known.templates.len() as u32 + new;
        (own >= known.caps.per_service || all >= known.caps.all).then_some(false)
    }

    /// Counts records kept plain because there are too many templates.
    pub(in crate::store) fn refuse_templates(&self, records: u64) {
        self.figures.refused.fetch_add(records, Ordering::Relaxed);
    }

    pub(in crate::store) fn template_figures(&self) -> TemplateFigures {
        TemplateFigures {
            known: self.figures.known.load(Ordering::Relaxed),
            refused: self.figures.refused.load(Ordering::Relaxed),
        }
    }

    /// Those of `segments` that have no facts yet.
    pub(in crate::store) fn without_templates<'s>(
        &self,
        segments: impl Iterator<Item = std::sync::Arc<crate::store::segments::Segment>> + 's,
    ) -> impl Iterator<Item = std::sync::Arc<crate::store::segments::Segment>> + 's {
        let known = self.known();
        let lacking: Vec<_> = segments
            .filter(|s| !known.segments.contains(&s.row.id) && !known.given_up.contains(&s.row.id))
            .collect();
        lacking.into_iter()
    }

    /// Leaves a segment that cannot be read without facts.
    pub(in crate::store) fn give_up_templates(&self, segment: u64) {
        self.known().given_up.insert(segment);
    }

    /// What a segment says of its templates; `None`: not known yet, or it is gone.
    pub(in crate::store) fn templates_of(
        &self,
        segment: u64,
    ) -> Result<Option<SegmentTemplates>, StoreError> {
        let txn = self.database.begin_read()?;
        let row = txn.open_table(FACTS)?.get(segment)?;
        let decoded = row.map(|row| templates::decode(row.value())).transpose();
        decoded.map_err(|damage| damaged(damage.0))
    }

    /// The text of a template, variables as control bytes.
    pub(in crate::store) fn template(&self, id: TemplateId) -> Result<Option<String>, StoreError> {
        let txn = self.database.begin_read()?;
        let text = txn.open_table(TEXTS)?.get(id.0)?;
        Ok(text.map(|text| text.value().to_owned()))
    }

    /// All templates there are.
    pub(in crate::store) fn template_ids(&self) -> Result<BTreeSet<TemplateId>, StoreError> {
        let txn = self.database.begin_read()?;
        let mut ids = BTreeSet::new();
        for entry in txn.open_table(TEXTS)?.iter()? {
            ids.insert(TemplateId(entry?.0.value()));
        }
        Ok(ids)
    }

    /// The templates that cannot have what is needed; `None`: nothing is known.
    pub(in crate::store) fn ruled_out(&self, need: &TextNeed) -> Option<RuledOut> {
        self.index.resolve(need)
    }

    /// Memory of the index over templates.
    pub(in crate::store) fn index_bytes(&self) -> usize {
        self.index.bytes()
    }

    /// Makes the index over templates anew when it is behind, and keeps it when it takes `bytes_max` at
    /// most. Searches go on with the one before.
    ///
    /// # Errors
    /// The texts cannot be read: there is no index until they can.
    pub(in crate::store) fn index_templates(&self, bytes_max: u64) -> Result<(), StoreError> {
        let changes = self.known().changes;
        if self.index.is_behind(changes) {
            self.index_templates_now(changes, bytes_max)?;
        }
        Ok(())
    }

    fn index_templates_now(&self, changes: Changes, bytes_max: u64) -> Result<(), StoreError> {
        let txn = self.database.begin_read()?;
        let texts = txn.open_table(TEXTS)?;
        let (mut n, mut text_bytes) = (0, 0);
        for entry in texts.iter()? {
            n += 1;
            text_bytes += entry?.1.value().len() as u64;
        }
        if !Generation::may_fit(text_bytes, bytes_max) {
            self.index.put(None, n, changes);
            return Ok(());
        }
        let mut broken = None;
        let templates = texts.iter()?.map_while(|entry| match entry {
            Ok((id, text)) => Some((TemplateId(id.value()), text.value().to_owned())),
            Err(error) => {
                broken = Some(error);
                None
            }
        });
        let made = Generation::of(templates);
        if let Some(error) = broken {
            return Err(error.into());
        }
        // It is in memory: it can only fail for want of a thread or of memory. Texts are looked at then.
        let fits = |made: &Generation| made.bytes() as u64 <= bytes_max;
        self.index.put(made.ok().filter(fits), n, changes);
        Ok(())
    }

    /// The segments that have facts.
    pub(in crate::store) fn segments_with_templates(&self) -> Result<Vec<u64>, StoreError> {
        let txn = self.database.begin_read()?;
        let mut ids = Vec::new();
        for entry in txn.open_table(FACTS)?.iter()? {
            ids.push(entry?.0.value());
        }
        Ok(ids)
    }
}

#[cfg(test)]
impl Catalogue {
    /// As the keeper does, however little has changed.
    pub(in crate::store) fn index_now(&self) {
        let changes = self.known().changes;
        let made = self.index_templates_now(changes, u64::MAX);
        made.expect("a good disk");
    }

    /// As a version without templates would have left it.
    pub(in crate::store) fn forget_templates(&self) {
        let txn = self.database.begin_write().expect("a good disk");
        txn.delete_table(TEXTS).expect("a good disk");
        txn.delete_table(FACTS).expect("a good disk");
        let mut state = txn.open_table(super::STATE).expect("a good disk");
        state.insert(super::FORMAT, 2).expect("a good disk");
        drop(state);
        txn.commit().expect("a good disk");
    }

    /// As if there were room for few.
    pub(in crate::store) fn set_template_caps(&self, per_service: u32, all: u32) {
        self.known().caps = Caps { per_service, all };
    }

    /// Pages of the database in use.
    pub(in crate::store) fn allocated_pages(&self) -> u64 {
        let txn = self.database.begin_write().expect("a good disk");
        let stats = txn.stats().expect("a good disk");
        txn.abort().expect("a good disk");
        stats.allocated_pages()
    }
}
