//! Words and phrases in text: whole tokens in a row, without regard to case.
//!
//! Folding is per character and never leaves or enters ASCII (so `K`, the Kelvin sign, is no `k`):
//! an ASCII needle can then be looked for in bytes.

use crate::model::token::{self, fold, is_token_char};
use crate::store::{Template, TextNeed, WORDS_MAX, Word};

/// Tokens to find next to each other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tokens {
    /// Folded; at least one.
    tokens: Vec<String>,
    /// The last token only begins so.
    prefix: bool,
    ascii: bool,
    /// The rarest byte of the first token, both cases of it, and where it stands.
    rare: (u8, u8, usize),
    /// Each token's place among the words that the store was asked for, if it is one.
    places: Vec<Option<usize>>,
    /// Each token alone, where there are several.
    alone: Vec<Tokens>,
}

impl Tokens {
    /// `None` when there is no token in `text`.
    pub(super) fn new(text: &str, prefix: bool) -> Option<Tokens> {
        let tokens: Vec<String> = token::tokens(text)
            .map(|token| token.chars().map(fold).collect())
            .collect();
        let first = tokens.first()?;
        let (at, byte) = first
            .bytes()
            .enumerate()
            .min_by_key(|(_, byte)| commonness(*byte))?;
        Some(Tokens {
            ascii: tokens.iter().all(|token| token.is_ascii()),
            rare: (byte, byte.to_ascii_uppercase(), at),
            // `foo.*` ends in a separator: what follows it is free, the last token is whole.
            prefix: prefix && text.ends_with(is_token_char),
            places: vec![None; tokens.len()],
            alone: match tokens.len() {
                1 => Vec::new(),
                _ => tokens
                    .iter()
                    .filter_map(|token| Tokens::new(token, false))
                    .collect(),
            },
            tokens,
        })
    }

    /// Adds the words that blocks can be asked for to those of the whole query.
    pub(super) fn ask_for(&mut self, words: &mut Vec<Word>) {
        for (place, token) in self.tokens.iter().enumerate() {
            // A prefix is no word yet.
            let open_end = self.prefix && place + 1 == self.tokens.len();
            let word = Word::of(token).filter(|_| !open_end && words.len() < WORDS_MAX);
            self.places[place] = word.map(|_| words.len());
            words.extend(word);
        }
    }

    /// Whether a variable or a plain text may hold the token at `place`: bit i of `held` is about the
    /// i-th word asked for.
    fn may_be_held(&self, place: usize, held: u64) -> bool {
        self.places[place].is_none_or(|word| held >> word & 1 != 0)
    }

    /// Whether a body of which nothing else is known may have the tokens.
    pub(super) fn may_be_in_body(&self, held: u64) -> bool {
        (0..self.tokens.len()).all(|place| self.may_be_held(place, held))
    }

    pub(super) fn found_in(&self, text: &str) -> bool {
        if self.ascii {
            self.found_in_bytes(text)
        } else {
            token_starts(text).any(|at| self.matches_at(&text[at..]))
        }
    }

    /// What a text must have, as far as its template tells: each token alone.
    pub(super) fn need(&self) -> TextNeed {
        let last = self.tokens.len() - 1;
        let token = |(place, token): (usize, &String)| TextNeed::Token {
            folded: token.clone(),
            prefix: self.prefix && place == last,
        };
        TextNeed::All(self.tokens.iter().enumerate().map(token).collect())
    }

    /// One token that is in all texts that have them; `None` where it cannot be told from the others.
    pub(super) fn one(&self) -> Option<&Tokens> {
        if self.tokens.len() == 1 {
            return Some(self);
        }
        // Of a prefix the last one may be longer.
        let whole = &self.alone[..self
            .alone
            .len()
            .min(self.tokens.len() - usize::from(self.prefix))];
        whole.iter().max_by_key(|alone| alone.tokens[0].len())
    }

    /// Whether the hexadecimal of an id may have them; of one token only.
    pub(super) fn may_be_id(&self) -> bool {
        let token = self.tokens[0].as_bytes();
        let fits = match self.prefix {
            true => token.len() <= 32,
            false => matches!(token.len(), 16 | 32),
        };
        fits && token.iter().all(u8::is_ascii_hexdigit)
    }

    /// Whether every text of a template has the tokens, in its constant parts.
    pub(super) fn found_in_template(&self, template: Template<'_>) -> bool {
        // One token cannot reach across a variable, which is a separator in the template's text.
        match (&self.tokens[..], self.prefix) {
            ([_], _) => self.found_in(template.text()),
            _ => template.literals().any(|literal| self.found_in(literal)),
        }
    }

    /// Whether a text of the template that does not have the tokens in its constant parts may have them
    /// with its variables.
    pub(super) fn may_need_variables(&self, template: Template<'_>, held: u64) -> bool {
        if !template.has_variables() {
            return false;
        }
        let last = self.tokens.len() - 1;
        let in_variable = |place: usize| {
            let token = &self.tokens[place];
            (self.prefix && place == last)
                || (self.may_be_held(place, held) && template.may_hold(token))
        };
        // Every token must be somewhere, and one of them in a variable, unless an empty variable
        // stands between two.
        let across = self.alone.len() > 1 && template.has_strings();
        let somewhere = |place: usize| {
            in_variable(place)
                || self
                    .alone
                    .get(place)
                    .is_some_and(|alone| alone.found_in(template.text()))
        };
        let mut places = 0..self.tokens.len();
        (across || places.clone().any(in_variable)) && places.all(somewhere)
    }

    /// Looks for the rarest byte of the first token and checks around it.
    fn found_in_bytes(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let (lower, upper, offset) = self.rare;
        let first = self.tokens[0].as_bytes();
        let mut from = offset;
        while let Some(window) = bytes.get(from..) {
            let found = if lower == upper {
                memchr::memchr(lower, window)
            } else {
                memchr::memchr2(lower, upper, window)
            };
            let Some(found) = found else { return false };
            let start = from + found - offset;
            from += found + 1;
            let same = bytes
                .get(start..start + first.len())
                .is_some_and(|part| part.eq_ignore_ascii_case(first));
            if same && starts_token(text, start) && self.matches_at(&text[start..]) {
                return true;
            }
        }
        false
    }

    /// Whether all tokens stand at the start of `text`, which is the start of a token.
    fn matches_at(&self, text: &str) -> bool {
        let mut rest = text;
        for (i, token) in self.tokens.iter().enumerate() {
            if i > 0 {
                let trimmed = rest.trim_start_matches(|c| !is_token_char(c));
                if trimmed.len() == rest.len() {
                    return false;
                }
                rest = trimmed;
            }
            let Some(after) = strip_folded(rest, token) else {
                return false;
            };
            rest = after;
            let open_end = self.prefix && i + 1 == self.tokens.len();
            if !open_end && rest.starts_with(is_token_char) {
                return false;
            }
        }
        true
    }
}

fn strip_folded<'a>(text: &'a str, token: &str) -> Option<&'a str> {
    if token.is_ascii() {
        let head = text.as_bytes().get(..token.len())?;
        // The head is ASCII when it equals the token, so the cut is at a character.
        return head
            .eq_ignore_ascii_case(token.as_bytes())
            .then(|| &text[token.len()..]);
    }
    let mut rest = text.chars();
    for expected in token.chars() {
        if fold(rest.next()?) != expected {
            return None;
        }
    }
    Some(rest.as_str())
}

fn starts_token(text: &str, at: usize) -> bool {
    match text.as_bytes()[..at].last() {
        None => true,
        Some(byte) if byte.is_ascii() => !(byte.is_ascii_alphanumeric() || *byte == b'_'),
        Some(_) => !text[..at].ends_with(is_token_char),
    }
}

/// Byte offsets where tokens start.
fn token_starts(text: &str) -> impl Iterator<Item = usize> {
    let mut inside = false;
    text.char_indices().filter_map(move |(at, c)| {
        let starts = is_token_char(c) && !inside;
        inside = is_token_char(c);
        starts.then_some(at)
    })
}

/// How common a byte is in logs, roughly; the rarest of a word is looked for.
fn commonness(byte: u8) -> usize {
    const COMMON_FIRST: &[u8] = b"etaoinsrdlc0u1mphgf2_3bywv458967kxjqz";
    COMMON_FIRST
        .iter()
        .position(|common| *common == byte)
        .map_or(0, |place| COMMON_FIRST.len() - place)
}
