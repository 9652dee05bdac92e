//! From a page to a batch: every line's series is looked up by the bytes it was written as, so that
//! labels are unescaped, joined with those of the target and relabelled only when a series is new.
//! Remembers which series the last page had, to mark the end of those that are gone.
//!
//! Sketch: 40 B of table and the packed labels per series, about 200 B: 10 MB for 50,000.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::config::{Job, Limits};
use super::relabel;
use crate::model::metric::{
    Batch, Exemplar, Labels, LabelsBuilder, Metadata, NAME, STALE_NAN_BITS, Value, is_stale,
};
use crate::receive::exposition::{self, Families, Format, Item, PageError, Sample};

/// Series of one target; a page with more fails as if `sample_limit` said so. 100,000 are twice what
/// a 256 MB server keeps in all.
pub(crate) const SERIES_MAX: u64 = 100_000;

/// Series of failed pages that are remembered beyond those of good ones.
const UNSEEN_MAX: usize = 1_000;

/// Keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct Through(u64);

impl Hasher for Through {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u128")
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

/// What is known of a series as the page writes it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Its labels in the arena; empty when relabelling dropped it.
    start: u32,
    len: u32,
    /// The page that had it last.
    seen: u32,
    /// The page that had it last without a time of its own, and the one before that.
    tracked: u32,
    before: u32,
}

#[derive(Debug, Default)]
pub(super) struct SeriesCache {
    entries: HashMap<u128, Entry, BuildHasherDefault<Through>>,
    /// Packed labels of all entries.
    arena: Vec<u8>,
    garbage: usize,
    /// Number of the page being read, from 1.
    round: u32,
    /// The last page that was good, and how many series it tracked.
    last: u32,
    last_tracked: usize,
    /// Hash of what each family said of itself.
    families: HashMap<String, u64>,
}

/// What is counted of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Samples on the page.
    pub(super) scraped: u64,
    /// After relabelling.
    pub(super) kept: u64,
    /// Series that were not known.
    pub(super) added: u64,
    /// Lines of a series that the page had before.
    pub(super) repeated: u64,
}

/// Whose page it is, and by which rules it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) job: &'a Job,
    /// Of the target.
    pub(super) labels: &'a Labels,
    /// Epoch ms of the scrape.
    pub(super) at: i64,
}

/// A good page, or why it is none; the counts are of both.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) counts: Counts,
    pub(super) outcome: Result<Batch, String>,
}

/// A page half read.
struct Reading<'c, 'r> {
    cache: &'c mut SeriesCache,
    rules: Rules<'r>,
    batch: Batch,
    families: Families,
    counts: Counts,
    /// Samples that count against the limit.
    limited: u64,
    /// Series of the last good page that this one has too.
    again: usize,
    tracked: usize,
    seen: usize,
    failure: Option<String>,
    pairs: Vec<(String, String)>,
}

impl SeriesCache {
    /// Reads a page. Series that the last good page had and this one has not are marked as ended; when
    /// the page is bad, none of it is kept and [`SeriesCache::end_all`] is to follow.
    pub(super) fn read(&mut self, page: &[u8], format: Format, rules: Rules<'_>) -> Read {
        self.round += 1;
        let mut reading = Reading {
            cache: self,
            rules,
            batch: Batch::default(),
            families: Families::default(),
            counts: Counts::default(),
            limited: 0,
            again: 0,
            tracked: 0,
            seen: 0,
            failure: None,
            pairs: Vec::new(),
        };
        let parsed = exposition::parse(page, format, |item| match &item {
            Item::Sample(sample) => reading.sample(sample),
            Item::Help { .. } | Item::Type { .. } | Item::Unit { .. } => {
                reading.families.note(&item)
            }
        });
        reading.finish(parsed)
    }

    /// Marks as ended every series of the last good page, in a batch of its own or behind others.
    pub(super) fn end_all(&mut self, at: i64, batch: &mut Batch) {
        if self.last == 0 {
            return;
        }
        let last = self.last;
        for entry in self.entries.values_mut().filter(|entry| entry.was_in(last)) {
            batch.series_packed(entry.of(&self.arena));
            batch.sample(at, Value::Float(f64::from_bits(STALE_NAN_BITS)));
            (entry.tracked, entry.before) = (0, 0);
        }
        (self.last, self.last_tracked) = (0, 0);
    }

    /// Forgets how series are written, because the rules for their labels have changed. Those of the
    /// last good page are still known by their labels, so that the next page ends what it has not.
    pub(super) fn rules_changed(&mut self) {
        let last = self.last;
        let old = std::mem::take(&mut self.entries);
        for entry in old.into_values() {
            if last != 0 && entry.was_in(last) {
                let key = !xxh3_128(entry.of(&self.arena));
                self.entries.insert(
                    key,
                    Entry {
                        tracked: last,
                        ..entry
                    },
                );
            } else {
                self.garbage += entry.len as usize;
            }
        }
    }

    /// Series of the last good page.
    pub(super) fn tracked(&self) -> usize {
        self.last_tracked
    }

    /// Bytes on the heap.
    #[cfg(test)]
    fn heap_bytes(&self) -> usize {
        self.entries.capacity() * (size_of::<(u128, Entry)>() + 1) + self.arena.capacity()
    }

    /// What of the families is new since the last page.
    fn changed(&mut self, families: Families) -> Vec<Metadata> {
        let mut found = families.into_metadata();
        found.retain(|family| {
            let text = format!("{}\0{}\0{}", family.kind.name(), family.unit, family.help);
            let hash = xxh3_64(text.as_bytes());
            match self.families.get_mut(&family.metric) {
                Some(known) => std::mem::replace(known, hash) != hash,
                None => self.families.insert(family.metric.clone(), hash).is_none(),
            }
        });
        found
    }

    fn forget(&mut self, keep: impl Fn(&Entry) -> bool) {
        let garbage = &mut self.garbage;
        self.entries.retain(|_, entry| {
            let kept = keep(entry);
            if !kept {
                *garbage += entry.len as usize;
            }
            kept
        });
        if self.garbage * 2 > self.arena.len() {
            let mut arena = Vec::with_capacity(self.arena.len() - self.garbage);
            for entry in self.entries.values_mut() {
                let start = arena.len() as u32;
                arena.extend_from_slice(entry.of(&self.arena));
                entry.start = start;
            }
            self.arena = arena;
            self.garbage = 0;
        }
    }
}

impl Entry {
    fn of<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        &arena[self.start as usize..][..self.len as usize]
    }

    /// Whether the page of that number tracked it, also when a later one that failed did too.
    fn was_in(&self, round: u32) -> bool {
        self.tracked == round || self.before == round
    }
}

impl Reading<'_, '_> {
    fn sample(&mut self, sample: &Sample<'_>) {
        if self.failure.is_some() {
            return;
        }
        self.counts.scraped += 1;
        let round = self.cache.round;
        let key = xxh3_128(sample.raw.as_bytes());
        let known = self.cache.entries.get(&key).copied();
        let is_new = known.is_none();
        let mut entry = match known {
            Some(entry) => entry,
            None => match self.meet(sample) {
                Ok(entry) => entry,
                Err(failure) => return self.failure = Some(failure),
            },
        };
        let job = self.rules.job;
        let at = sample.at.filter(|_| job.honor_timestamps);
        let repeated = entry.seen == round;
        if !repeated {
            self.seen += 1;
            entry.seen = round;
        }
        if entry.len == 0 {
            self.cache.entries.insert(key, entry);
            return;
        }
        self.counts.kept += 1;
        let ends = matches!(sample.value, Value::Float(value) if is_stale(value));
        if !ends && !self.within_limit() {
            self.cache.entries.insert(key, entry);
            return;
        }
        if repeated && at.is_none() {
            self.counts.repeated += 1;
            return;
        }
        if is_new {
            self.counts.added += 1;
        }
        if (at.is_none() || job.track_timestamps_staleness) && entry.tracked != round && !ends {
            if entry.tracked == self.cache.last && self.cache.last != 0 {
                self.again += 1;
            }
            self.tracked += 1;
            entry.before = entry.tracked;
            entry.tracked = round;
        }
        self.cache.entries.insert(key, entry);
        self.put(sample, entry, at.unwrap_or(self.rules.at));
    }

    fn put(&mut self, sample: &Sample<'_>, entry: Entry, at: i64) {
        self.batch.series_packed(entry.of(&self.cache.arena));
        self.batch.sample(at, sample.value.clone());
        for exemplar in sample.exemplars {
            self.batch.exemplar(Exemplar {
                at: exemplar.at.unwrap_or(at),
                value: exemplar.value,
                labels: exemplar.labels.clone(),
            });
        }
    }

    fn within_limit(&mut self) -> bool {
        self.limited += 1;
        match self.rules.job.limits.samples {
            0 => true,
            limit => self.limited <= limit,
        }
    }

    /// Works out the labels of a series that was not known.
    fn meet(&mut self, sample: &Sample<'_>) -> Result<Entry, String> {
        let cache = &mut *self.cache;
        if cache.entries.len() as u64 >= SERIES_MAX {
            return Err(format!(
                "more than {SERIES_MAX} series; split the target or drop series at its source"
            ));
        }
        let labels = self.rules.labels_of(sample.labels, &mut self.pairs)?;
        let start = u32::try_from(cache.arena.len()).map_err(|_| "too many labels".to_owned())?;
        let packed = labels.as_ref().map_or(&[][..], Labels::packed);
        cache.arena.extend_from_slice(packed);
        Ok(Entry {
            start,
            len: packed.len() as u32,
            seen: 0,
            tracked: 0,
            before: 0,
        })
    }

    fn finish(self, parsed: Result<(), PageError>) -> Read {
        let Reading {
            cache,
            rules,
            mut batch,
            families,
            counts,
            ..
        } = self;
        let limit = rules.job.limits.samples;
        let failure = match parsed {
            Err(error) => Some(error.to_string()),
            Ok(()) if self.failure.is_some() => self.failure,
            Ok(()) if limit > 0 && self.limited > limit => Some("sample limit exceeded".to_owned()),
            Ok(()) => None,
        };
        let round = cache.round;
        if let Some(failure) = failure {
            if cache.entries.len() > 2 * cache.last_tracked + UNSEEN_MAX {
                let last = cache.last;
                cache.forget(|entry| entry.was_in(last));
            }
            return Read {
                counts,
                outcome: Err(failure),
            };
        }
        if self.again < cache.last_tracked {
            cache.end_gone(rules.at, &mut batch);
        }
        (cache.last, cache.last_tracked) = (round, self.tracked);
        if self.seen < cache.entries.len() {
            cache.forget(|entry| entry.seen == round);
        }
        batch.metadata = cache.changed(families);
        Read {
            counts,
            outcome: Ok(batch),
        }
    }
}

impl SeriesCache {
    /// Marks the series that the last good page had and this one has not.
    fn end_gone(&self, at: i64, batch: &mut Batch) {
        let (last, round) = (self.last, self.round);
        let gone = |entry: &&Entry| entry.tracked == last && last != 0;
        if self.entries.values().find(gone).is_none() {
            return;
        }
        // Two ways to write one series: it is not gone when the page has it in the other way.
        let here = self.entries.values().filter(|entry| entry.seen == round);
        let here: HashSet<u64> = here.map(|entry| xxh3_64(entry.of(&self.arena))).collect();
        for entry in self.entries.values().filter(gone) {
            let packed = entry.of(&self.arena);
            if !here.contains(&xxh3_64(packed)) {
                batch.series_packed(packed);
                batch.sample(at, Value::Float(f64::from_bits(STALE_NAN_BITS)));
            }
        }
    }
}

impl Rules<'_> {
    /// The labels under which a series is kept; `None` when relabelling drops it.
    fn labels_of(
        &self,
        page: &[(&str, &str)],
        clashes: &mut Vec<(String, String)>,
    ) -> Result<Option<Labels>, String> {
        let mut builder = LabelsBuilder::default();
        for (name, value) in page {
            builder.set(name, value);
        }
        clashes.clear();
        for (name, value) in self.labels.iter() {
            if self.job.honor_labels {
                if !page.iter().any(|(known, _)| *known == name) {
                    builder.set(name, value);
                }
                continue;
            }
            let exposed = builder.get(name);
            if !exposed.is_empty() {
                clashes.push((name.to_owned(), exposed.to_owned()));
            }
            builder.set(name, value);
        }
        // Shorter names first, so that the results do not depend on the order of labels.
        clashes.sort_by_key(|(name, _)| name.len());
        for (name, value) in clashes.drain(..) {
            let mut renamed = format!("exported_{name}");
            while !builder.get(&renamed).is_empty() {
                renamed.insert_str(0, "exported_");
            }
            builder.set(&renamed, &value);
        }
        if !relabel::apply(&self.job.metric_relabel, &mut builder, self.job.names) {
            return Ok(None);
        }
        let labels = builder.build();
        if labels.is_empty() {
            return Ok(None);
        }
        self.check(&labels)?;
        Ok(Some(labels))
    }

    fn check(&self, labels: &Labels) -> Result<(), String> {
        let metric = labels.metric();
        if metric.is_empty() {
            return Err("missing metric name (__name__ label)".to_owned());
        }
        let names = self.job.names;
        let fits = |(name, _): (&str, &str)| name == NAME || names.is_label_name(name);
        if !names.is_metric_name(metric) || !labels.iter().all(fits) {
            return Err(format!("invalid metric name or label names: {labels}"));
        }
        let Limits {
            labels: most,
            label_name_bytes,
            label_value_bytes,
            ..
        } = self.job.limits;
        let count = labels.iter().count() as u64;
        let metric = start(metric);
        if most > 0 && count > most {
            return Err(format!(
                "label_limit exceeded (metric: {metric}, number of labels: {count}, limit: {most})"
            ));
        }
        for (name, value) in labels.iter() {
            let (long, length) = (label_name_bytes, name.len() as u64);
            if long > 0 && length > long {
                let name = start(name);
                return Err(format!(
                    "label_name_length_limit exceeded (metric: {metric}, label name: {name}, length: {length}, limit: {long})"
                ));
            }
            let (long, length) = (label_value_bytes, value.len() as u64);
            if long > 0 && length > long {
                let (name, value) = (start(name), start(value));
                return Err(format!(
                    "label_value_length_limit exceeded (metric: {metric}, label name: {name}, value: {value:?}, length: {length}, limit: {long})"
                ));
            }
        }
        Ok(())
    }
}

/// As much of a text as an error shows.
fn start(text: &str) -> &str {
    &text[..text.floor_char_boundary(50)]
}

#[cfg(test)]
mod tests;
