//! Finds the templates of a head's texts: which of them occur often enough to be one.
//!
//! A text whose template is rare gains nothing from it: it would cost an entry of the dictionary and
//! a shape (JSON with random words, 1 M records: 8.6 s and 800 MB without this guard, measured in a
//! prototype). So texts are split once, counted over the whole head, and only then written. What is
//! kept in between is 24 bytes per record, 4 per variable and 16 per distinct template.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::xxh3_64;

use super::template::{self, Variable};
use crate::store::templates::TemplateId;

/// Texts of one template in a head before it becomes one.
const TEXTS_MIN: u32 = 4;

/// Templates of one head, the most frequent ones: a third of its shapes may have one. Heads of the
/// recorded corpora have at most 700.
const TEMPLATES_MAX: usize = 1_365;

/// The split texts of a head, in the order they were added.
#[derive(Debug, Default)]
pub(super) struct Miner {
    texts: Vec<Text>,
    variables: Vec<Variable>,
    counts: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
    template: Vec<u8>,
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
        let hash = split.map(|text| {
            self.template.clear();
            let variables = &self.variables[first..];
            template::put_template(&mut self.template, text, variables);
            xxh3_64(&self.template)
        });
        if let Some(hash) = hash {
            *self.counts.entry(hash).or_default() += 1;
        }
        let first = first as u32;
        self.texts.push(Text { hash, first });
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

    /// The template of a text by its number, if it was split.
    pub(super) fn template(&self, number: usize) -> Option<TemplateId> {
        self.texts[number].hash.map(|hash| TemplateId(hash.max(1)))
    }

    /// The variables of a text by its number, if its template was chosen.
    pub(super) fn variables(&self, number: usize) -> Option<&[Variable]> {
        let text = self.texts[number];
        let chosen = self.counts.contains_key(&text.hash?);
        let next = self.texts.get(number + 1).map(|next| next.first as usize);
        let end = next.unwrap_or(self.variables.len());
        chosen.then(|| &self.variables[text.first as usize..end])
    }
}

/// For keys that are hashes already.
#[derive(Debug, Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
