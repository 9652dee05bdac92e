//! Which words of log texts the token table has: those of plain texts and of variables. Words of
//! constant text are in the templates.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use crate::model::TraceId;

use super::super::tokens;
use super::miner::AsIs;

/// Shortest words that are kept, without and with a digit: shorter numbers are in every block.
const LETTERS_MIN: usize = 3;
const DIGITS_MIN: usize = 5;

/// Longest word that is kept, in bytes.
const WORD_BYTES_MAX: usize = 64;

/// A word as the token table is asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(super) hash: u64,
    /// A record's own trace id is no variable: the table has it as an id.
    pub(super) trace: Option<TraceId>,
}

impl Word {
    /// `None` for words that the table does not have: blocks may hold them all the same.
    pub(crate) fn of(token: &str) -> Option<Word> {
        Some(Word {
            hash: hash(token.as_bytes())?,
            trace: TraceId::from_hex(token),
        })
    }

    /// As [`Words::hashes`] gives it.
    pub(crate) fn hash(&self) -> u32 {
        self.hash as u32
    }

    /// Stands for all words: of blocks with bodies that are no texts.
    pub(super) fn any() -> u64 {
        tokens::hash(&[0])
    }
}

/// The hash of a word in lower case. Not kept: words beyond ASCII, and those of 16 hexadecimal digits,
/// since a record's own span id in its text is in no table.
fn hash(token: &[u8]) -> Option<u64> {
    let kinds = token.iter().map(|byte| KINDS[usize::from(*byte)]);
    let (any, all) = kinds.fold((0, u8::MAX), |(any, all), kind| (any | kind, all & kind));
    hash_of(token, any, all)
}

/// Bits of what the bytes of words are; 0: no part of one.
const WORD: u8 = 1;
const DIGIT: u8 = 2;
const HEX: u8 = 4;
const UPPER: u8 = 8;
const BEYOND_ASCII: u8 = 16;

static KINDS: [u8; 256] = {
    let (mut kinds, mut byte) = ([0; 256], 0u8);
    loop {
        let bits = [
            (byte.is_ascii_alphanumeric() || byte == b'_', WORD),
            (byte.is_ascii_digit(), DIGIT),
            (byte.is_ascii_hexdigit(), HEX),
            (byte.is_ascii_uppercase(), UPPER),
            (!byte.is_ascii(), BEYOND_ASCII),
        ];
        let mut i = 0;
        while i < bits.len() {
            if bits[i].0 {
                kinds[byte as usize] |= bits[i].1;
            }
            i += 1;
        }
        if byte == u8::MAX {
            break kinds;
        }
        byte += 1;
    }
};

/// As [`hash`], of a word whose bytes have `any` and `all` of these kinds.
#[inline]
fn hash_of(token: &[u8], any: u8, all: u8) -> Option<u64> {
    let least = if any & DIGIT != 0 {
        DIGITS_MIN
    } else {
        LETTERS_MIN
    };
    if !(least..=WORD_BYTES_MAX).contains(&token.len()) || any & BEYOND_ASCII != 0 {
        return None;
    }
    if token.len() == 16 && all & HEX != 0 {
        return None;
    }
    if any & UPPER == 0 {
        return Some(tokens::hash(token));
    }
    let mut lower = [0; WORD_BYTES_MAX];
    let lower = &mut lower[..token.len()];
    lower.copy_from_slice(token);
    lower.make_ascii_lowercase();
    Some(tokens::hash(lower))
}

/// The words of a block while it is written, or of a group of the head.
#[derive(Debug, Default)]
pub(crate) struct Words {
    hashes: HashSet<u64, BuildHasherDefault<AsIs>>,
}

impl Words {
    /// Adds the words of a text.
    pub(super) fn add(&mut self, text: &[u8]) {
        let mut rest = text;
        while !rest.is_empty() {
            let (mut any, mut all, mut end) = (0, u8::MAX, 0);
            while let Some(byte) = rest.get(end)
                && KINDS[usize::from(*byte)] != 0
            {
                any |= KINDS[usize::from(*byte)];
                all &= KINDS[usize::from(*byte)];
                end += 1;
            }
            let run = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            if any & BEYOND_ASCII == 0 {
                if let Some(hash) = hash_of(run, any, all) {
                    self.hashes.insert(hash);
                }
                continue;
            }
            // Characters beyond ASCII are parts of words or stand between them.
            let run = String::from_utf8_lossy(run);
            let words = run.split(|c: char| c != '_' && !c.is_alphanumeric());
            self.hashes
                .extend(words.filter_map(|word| hash(word.as_bytes())));
        }
    }

    /// Every word may be in the block.
    pub(super) fn add_any(&mut self) {
        self.hashes.insert(Word::any());
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Each once, in no order.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = u64> {
        self.hashes.iter().copied()
    }

    pub(super) fn clear(&mut self) {
        self.hashes.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_of_a_text_are_those_that_it_is_asked_for(
            text in "([a-fF0-9_]{1,18}|[ .\\-:]|\\PC){0,12}",
        ) {
            let mut words = Words::default();
            words.add(text.as_bytes());
            let found: HashSet<u64> = words.hashes().collect();
            let asked = text.split(|c: char| c != '_' && !c.is_alphanumeric());
            let asked = asked.filter_map(|word| hash(word.to_ascii_lowercase().as_bytes()));
            prop_assert_eq!(found, asked.collect::<HashSet<u64>>());
        }
    }
}
