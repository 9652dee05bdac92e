//! What is known of the templates of log segments: how many records each has, when, of which level
//! and service, and which blocks hold it. Kept in the catalogue with the segment they are of
//! (docs/formats/catalogue.md) and gone with it. Made from the finished file, never from what went
//! into it, so that seals, merges and rewrites cannot differ. Nothing here touches a record.

mod backfill;
mod check;
mod codec;
mod gate;
mod index;
mod read;
#[cfg(test)]
mod tests;

use std::fmt;

use roaring::RoaringBitmap;
use xxhash_rust::xxh3::xxh3_64;

use super::filter::{NUMBER, STRING};
use crate::model::{Level, Timestamp};

pub(super) use backfill::backfill;
pub(super) use check::problems;
pub(super) use codec::{decode, decode_ids, encode};
pub(super) use gate::Gate;
pub(super) use index::{Changes, Generation, TemplateIndex};
pub(crate) use index::{Documents, RuledOut, TextNeed};
pub(crate) use read::{Sightings, Told};

/// Templates that one service may bring into the catalogue. The recorded corpora have 2,700 in all;
/// a service with more writes free text, which gains nothing from templates. Beyond it a record keeps
/// its plain body, and is counted.
pub(crate) const TEMPLATES_PER_SERVICE_MAX: u32 = 4_000;

/// Templates of all services together: 40 bytes of memory each, and about 16 bytes in the row of
/// each segment that has it.
pub(crate) const TEMPLATES_MAX: u32 = 32_000;

/// A template by the hash of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TemplateId(pub(crate) u64);

impl TemplateId {
    /// Records without a template: rare texts, bodies that are no text, raw records.
    pub(crate) const PLAIN: TemplateId = TemplateId(0);

    /// Of a template's text, variables as control bytes.
    pub(crate) fn of(template: &[u8]) -> TemplateId {
        TemplateId(xxh3_64(template).max(1))
    }

    /// Sixteen hexadecimal digits, as it is printed.
    pub(crate) fn parse(text: &str) -> Option<TemplateId> {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let id = u64::from_str_radix(text, 16).ok().filter(|_| digits)?;
        Some(TemplateId(id))
    }
}

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A template as people read it: `<#>` for a token with digits, `<*>` for the value of a JSON string.
pub(crate) fn printed_template(text: &str) -> String {
    let (mut out, mut done) = (String::with_capacity(text.len() + 16), 0);
    for at in memchr::memchr2_iter(NUMBER, STRING, text.as_bytes()) {
        out.push_str(&text[done..at]);
        out.push_str(match text.as_bytes()[at] {
            NUMBER => "<#>",
            _ => "<*>",
        });
        done = at + 1;
    }
    out.push_str(&text[done..]);
    out
}

/// The records of one template in one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateFacts {
    pub(crate) id: TemplateId,
    /// Records of each level, by its number.
    pub(crate) levels: [u64; Level::ALL.len()],
    /// Places in lists of the first and the last record.
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// Numbers of services in [`SegmentTemplates::services`], rising.
    pub(crate) services: Vec<u32>,
}

/// All templates of one segment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SegmentTemplates {
    pub(crate) services: Vec<Box<str>>,
    /// Rising by id; [`TemplateId::PLAIN`] is the first if there is one.
    pub(crate) facts: Vec<TemplateFacts>,
    /// Records kept whole, whose level is in none of the counts.
    pub(crate) raw: u64,
    pub(crate) n_blocks: u32,
    /// Place among the facts times `n_blocks`, plus the number of a block that has such records.
    /// `None`: there are more pairs than 32 bits.
    postings: Option<RoaringBitmap>,
}

impl SegmentTemplates {
    /// `postings` are pairs of the place among `facts` and the block, rising.
    pub(super) fn new(
        services: Vec<Box<str>>,
        facts: Vec<TemplateFacts>,
        raw: u64,
        n_blocks: u32,
        pairs: impl Iterator<Item = (u32, u32)>,
    ) -> SegmentTemplates {
        let n = facts.len() as u64 * u64::from(n_blocks);
        let postings = (n <= u64::from(u32::MAX)).then(|| {
            let pair = |(place, block): (u32, u32)| place * n_blocks + block;
            pairs.map(pair).collect()
        });
        SegmentTemplates {
            services,
            facts,
            raw,
            n_blocks,
            postings,
        }
    }

    #[cfg(test)]
    pub(crate) fn find(&self, id: TemplateId) -> Option<&TemplateFacts> {
        let place = self.facts.binary_search_by_key(&id, |facts| facts.id);
        place.ok().map(|place| &self.facts[place])
    }

    /// The blocks that have records of one of `ids`, rising; `None`: unknown.
    pub(crate) fn blocks(&self, ids: impl Iterator<Item = TemplateId>) -> Option<Vec<u32>> {
        let postings = self.postings.as_ref()?;
        let mut blocks = Vec::new();
        for id in ids {
            if let Ok(place) = self.facts.binary_search_by_key(&id, |facts| facts.id) {
                let start = place as u32 * self.n_blocks;
                let pairs = postings.range(start..start + self.n_blocks);
                blocks.extend(pairs.map(|pair| pair - start));
            }
        }
        blocks.sort_unstable();
        blocks.dedup();
        Some(blocks)
    }
}

/// What a segment says of its templates, with their texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mined {
    pub(crate) templates: SegmentTemplates,
    /// The text of each of the facts; empty for records without a template.
    pub(crate) texts: Vec<Box<str>>,
}
