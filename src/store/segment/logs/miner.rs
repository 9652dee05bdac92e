//! Finds the templates of a head's texts: which of them occur often enough to be one.
//!
//! A text whose template is rare gains nothing from it: it would cost an entry of the dictionary and
//! a shape (JSON with random words, 1 M records: 8.6 s and 800 MB without this guard, measured in a
//! prototype). So texts are split once, counted over the whole head, and only then written. What is
//! kept in between is 24 bytes per record, 4 per variable and 16 per distinct template.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::LazyLock;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::template::{self, Variable};
use crate::store::templates::TemplateId;

/// Texts of one template in a head before it becomes one.
const TEXTS_MIN: u32 = 4;

/// Templates of one head, the most frequent ones: a third of its shapes may have one. Heads of the
/// recorded corpora have at most 700.
const TEMPLATES_MAX: usize = 1_365;

/// Templates counted at once, where more than a head is: 9 MB. Past it the rarest are forgotten and may
/// be counted anew, until half of it is free: each pass over all of them pays for as many new ones.
const COUNTED_MAX: usize = 1 << 18;

/// How often templates occur.
#[derive(Debug, Default)]
pub(super) struct Census {
    counts: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
    template: Vec<u8>,
}

impl Census {
    /// Names the template of a text with these variables.
    pub(super) fn name(&mut self, text: &[u8], variables: &[Variable]) -> u64 {
        self.template.clear();
        template::put_template(&mut self.template, text, variables);
        xxh3_64(&self.template)
    }

    /// As [`Census::name`], of a template itself.
    pub(super) fn name_of(template: &str) -> u64 {
        xxh3_64(template.as_bytes())
    }

    pub(super) fn add(&mut self, name: u64, texts: u32) {
        let count = self.counts.entry(name).or_default();
        *count = count.saturating_add(texts);
        if self.counts.len() > COUNTED_MAX {
            self.prune();
        }
    }

    fn prune(&mut self) {
        let mut rare: u32 = 1;
        while self.counts.len() > COUNTED_MAX / 2 {
            self.counts.retain(|_, count| *count > rare);
            rare = rare.saturating_mul(2);
        }
    }

    /// Forgets the templates that are too rare or too many.
    pub(super) fn choose(&mut self) {
        self.counts.retain(|_, count| *count >= TEXTS_MIN);
        if self.counts.len() > TEMPLATES_MAX {
            let mut counts: Vec<u32> = self.counts.values().copied().collect();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            let least = counts[TEMPLATES_MAX];
            self.counts.retain(|_, count| *count > least);
        }
    }

    pub(super) fn has(&self, name: u64) -> bool {
        self.counts.contains_key(&name)
    }
}

/// A text to be kept with its template.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split<'m> {
    /// What [`Census::name`] gave: tells templates apart, but proves nothing.
    pub(super) name: u64,
    pub(super) variables: &'m [Variable],
}

impl Split<'_> {
    pub(super) fn id(&self) -> TemplateId {
        TemplateId(self.name.max(1))
    }
}

/// The split texts of a head, in the order they were added.
#[derive(Debug, Default)]
pub(super) struct Miner {
    texts: Vec<Text>,
    variables: Vec<Variable>,
    census: Census,
}

#[derive(Clone, Copy, Debug)]
struct Text {
    /// Of its template; `None`: not split.
    hash: Option<u64>,
    first: u32,
}

impl Miner {
    /// Adds the body of the next record, if it is a text.
    pub(super) fn add(&mut self, text: Option<&[u8]>) {
        let first = self.variables.len();
        let split = text.filter(|text| template::split(text, &mut self.variables));
        let hash = split.map(|text| self.census.name(text, &self.variables[first..]));
        if let Some(hash) = hash {
            self.census.add(hash, 1);
        }
        let first = first as u32;
        self.texts.push(Text { hash, first });
    }

    /// Forgets the templates that are too rare or too many.
    pub(super) fn choose(&mut self) {
        self.census.choose();
    }

    /// How a text by its number is split, if its template was chosen.
    pub(super) fn split(&self, number: usize) -> Option<Split<'_>> {
        let text = self.texts[number];
        let name = text.hash.filter(|name| self.census.has(*name))?;
        let next = self.texts.get(number + 1).map(|next| next.first as usize);
        let end = next.unwrap_or(self.variables.len());
        let variables = &self.variables[text.first as usize..end];
        Some(Split { name, variables })
    }
}

/// Senders choose their ids, and must not choose where they lie in a table.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

/// For keys that are hashes already, and for ids. Tables compare the upper seven bits first, and hashes of tokens
/// have none there: without the factor every lookup compared with whole groups of keys.
#[derive(Debug, Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, *SEED);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_census_makes_room_for_as_many_as_it_keeps() {
        let mut census = Census::default();
        census.add(1, 1_000);
        for name in 2..=COUNTED_MAX as u64 {
            census.add(name, 2);
        }
        assert_eq!(census.counts.len(), COUNTED_MAX);
        census.add(COUNTED_MAX as u64 + 1, 1);
        assert!(census.counts.len() <= COUNTED_MAX / 2);
        assert!(census.has(1), "the frequent ones stay");
    }
}
