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
    let has_digit = token.iter().any(u8::is_ascii_digit);
    let least = if has_digit { DIGITS_MIN } else { LETTERS_MIN };
    if !(least..=WORD_BYTES_MAX).contains(&token.len()) || !token.is_ascii() {
        return None;
    }
    if token.len() == 16 && token.iter().all(u8::is_ascii_hexdigit) {
        return None;
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
        let in_token = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
        for run in text.split(|byte| !in_token(byte)) {
            if run.len() < LETTERS_MIN {
                continue;
            }
            if run.is_ascii() {
                self.hashes.extend(hash(run));
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
