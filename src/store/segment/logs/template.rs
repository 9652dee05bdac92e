//! Log texts as templates: the constant text that lines of one kind share, and what varies in it.
//!
//! A *template* is a text in which each variable is one control byte. Tokens (letters, digits, `_`)
//! with a digit in them are variables, a UUID or a dotted number as one; of a JSON object every
//! string that is a value. Nothing is lost: literals and variables in turn are the text again, byte
//! for byte. Variables start and end where tokens do, so a search for words may look at literals and
//! variables apart.

use super::words::Words;
use crate::store::filter::{NUMBER, STRING};

/// Variables of one text; a longer list (or a stack trace) is kept as plain text.
pub(super) const VARIABLES_MAX: usize = 64;

/// Longest text that is split, in bytes. Fits the 14 bits that a [`Variable`] has for it.
const TEXT_BYTES_MAX: usize = 16_383;

/// A variable of a text while it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    start: u16,
    /// Length, and in the upper bit whether it is [`STRING`].
    len: u16,
}

const IS_STRING: u16 = 1 << 15;

impl Variable {
    fn new(start: usize, end: usize, marker: u8) -> Variable {
        let flag = if marker == STRING { IS_STRING } else { 0 };
        Variable {
            start: start as u16,
            len: (end - start) as u16 | flag,
        }
    }

    fn marker(self) -> u8 {
        if self.len & IS_STRING == 0 {
            NUMBER
        } else {
            STRING
        }
    }

    pub(super) fn of(self, text: &[u8]) -> &[u8] {
        &text[usize::from(self.start)..self.end()]
    }

    fn end(self) -> usize {
        usize::from(self.start) + usize::from(self.len & !IS_STRING)
    }
}

/// Appends the variables of a text; false (and none) when it is not to be split: too long, too many
/// variables, or one of the markers' own bytes in it.
pub(super) fn split(bytes: &[u8], variables: &mut Vec<Variable>) -> bool {
    if bytes.len() > TEXT_BYTES_MAX || memchr::memchr2(NUMBER, STRING, bytes).is_some() {
        return false;
    }
    let before = variables.len();
    if !(is_object(bytes) && split_object(bytes, variables)) {
        variables.truncate(before);
        split_tokens(bytes, 0, bytes.len(), variables);
    }
    let fits = variables.len() - before <= VARIABLES_MAX;
    if !fits {
        variables.truncate(before);
    }
    fits
}

/// Appends the template of a text with these variables.
pub(super) fn put_template(out: &mut Vec<u8>, text: &[u8], variables: &[Variable]) {
    let mut done = 0;
    for variable in variables {
        out.extend_from_slice(&text[done..usize::from(variable.start)]);
        out.push(variable.marker());
        done = variable.end();
    }
    out.extend_from_slice(&text[done..]);
}

/// Whether a text with these variables has this template.
pub(super) fn is_of(mut template: &[u8], text: &[u8], variables: &[Variable]) -> bool {
    let mut done = 0;
    for variable in variables {
        let literal = &text[done..usize::from(variable.start)];
        let rest = template.strip_prefix(literal).and_then(|t| t.split_first());
        match rest {
            Some((marker, rest)) if *marker == variable.marker() => template = rest,
            _ => return false,
        }
        done = variable.end();
    }
    template == &text[done..]
}

/// Writes the template of a text to `out`; false when it is not to be split.
pub(crate) fn template_of(text: &str, out: &mut Vec<u8>) -> bool {
    let mut variables = Vec::new();
    out.clear();
    let splits = split(text.as_bytes(), &mut variables);
    if splits {
        put_template(out, text.as_bytes(), &variables);
    }
    splits
}

/// Writes the template of a text to `out` and adds the words of its variables; false when it is not to
/// be split, or not to be `kept` so: then all its words are added.
pub(crate) fn split_text(
    text: &str,
    out: &mut Vec<u8>,
    words: Option<&mut Words>,
    kept: bool,
) -> bool {
    let (text, mut variables) = (text.as_bytes(), Vec::new());
    out.clear();
    let splits = kept && split(text, &mut variables);
    if splits {
        put_template(out, text, &variables);
    }
    match words {
        Some(words) if splits => variables.iter().for_each(|v| words.add(v.of(text))),
        Some(words) => words.add(text),
        None => {}
    }
    splits
}

fn is_object(text: &[u8]) -> bool {
    text.first() == Some(&b'{') && text.trim_ascii_end().last() == Some(&b'}')
}

/// Letters, digits and `_`, and every byte of a character beyond ASCII.
#[inline]
fn in_token(byte: u8) -> bool {
    static IN_TOKEN: [bool; 256] = {
        let (mut in_token, mut byte) = ([false; 256], 0u8);
        loop {
            in_token[byte as usize] =
                byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
            if byte == u8::MAX {
                break in_token;
            }
            byte += 1;
        }
    };
    IN_TOKEN[usize::from(byte)]
}

/// Strings that are values, and the tokens with digits outside of strings. False when strings and
/// quotes do not pair: it is no JSON then.
fn split_object(text: &[u8], variables: &mut Vec<Variable>) -> bool {
    let mut at = 0;
    while let Some(quote) = memchr::memchr(b'"', &text[at..]).map(|found| at + found) {
        split_tokens(text, at, quote, variables);
        let start = quote + 1;
        let Some(end) = string_end(text, start) else {
            return false;
        };
        at = end + 1;
        let after = text[at..].iter().find(|byte| !byte.is_ascii_whitespace());
        if after != Some(&b':') {
            variables.push(Variable::new(start, end, STRING));
        }
    }
    split_tokens(text, at, text.len(), variables);
    true
}

/// Where the string that starts at `start` has its closing quote.
fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// The tokens with digits between `at` and `end`, which are no insides of tokens.
fn split_tokens(text: &[u8], at: usize, end: usize, variables: &mut Vec<Variable>) {
    let text = &text[..end];
    let (mut at, mut done) = (at, at);
    while let Some(digit) = next_digit(text, at) {
        let token = |byte: &u8| !in_token(*byte);
        let start = text[done..digit].iter().rposition(token);
        let start = start.map_or(done, |place| done + place + 1);
        let mut stop = token_end(text, digit);
        if text[start..stop].is_ascii() {
            stop = run_end(text, start, stop);
            variables.push(Variable::new(start, stop, NUMBER));
        }
        (at, done) = (stop, stop);
    }
}

fn token_end(text: &[u8], from: usize) -> usize {
    let length = text[from..].iter().position(|byte| !in_token(*byte));
    length.map_or(text.len(), |n| from + n)
}

/// Where the run ends that starts with the token from `start` to `stop`: a UUID, or tokens with digits
/// that dots hold together (addresses, versions, fractions).
fn run_end(text: &[u8], start: usize, mut stop: usize) -> usize {
    if stop - start == 8 && is_uuid_at(text, start) {
        return start + UUID_LEN;
    }
    while text.get(stop) == Some(&b'.') {
        let next = token_end(text, stop + 1);
        let token = &text[stop + 1..next];
        if !token.iter().any(u8::is_ascii_digit) || !token.is_ascii() {
            break;
        }
        stop = next;
    }
    stop
}

const UUID_LEN: usize = 36;

fn is_uuid_at(text: &[u8], start: usize) -> bool {
    let Some(uuid) = text.get(start..start + UUID_LEN) else {
        return false;
    };
    let ends = text
        .get(start + UUID_LEN)
        .is_none_or(|byte| !in_token(*byte));
    let fits = |(place, byte): (usize, &u8)| match place {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    ends && uuid.iter().enumerate().all(fits)
}

/// The first ASCII digit at or after `at`; eight bytes at a time, since most of a line has none.
#[inline]
fn next_digit(text: &[u8], at: usize) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let mut chunks = text[at..].chunks_exact(8);
    let mut start = at;
    for chunk in &mut chunks {
        let bytes = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        // Digits become 0 to 9; what is below them or beyond ASCII keeps or gets its upper bit.
        let shifted = bytes ^ (LOW * 0x30);
        let beyond = ((shifted & (LOW * 0x7f)) + LOW * 0x76) | shifted;
        let digits = !beyond & (LOW * 0x80);
        if digits != 0 {
            return Some(start + digits.trailing_zeros() as usize / 8);
        }
        start += 8;
    }
    let rest = chunks.remainder().iter().position(u8::is_ascii_digit);
    rest.map(|place| start + place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::Template;

    fn template(text: &str) -> Option<String> {
        let mut variables = Vec::new();
        if !split(text.as_bytes(), &mut variables) {
            return None;
        }
        let mut out = Vec::new();
        put_template(&mut out, text.as_bytes(), &variables);
        let out = String::from_utf8(out).expect("variables are whole characters");
        Some(out.replace('\u{1}', "<#>").replace('\u{2}', "<*>"))
    }

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(template(text).as_deref(), Some(expect));
    }

    #[test]
    fn tokens_with_digits_are_variables() {
        check("took 15 ms", "took <#> ms");
        check("blk_5952 to /10.250.6.191:50010", "<#> to /<#>:<#>");
        check("v1.2.x at 0.5", "<#>.x at <#>");
        check("id 92708982-77af-4318-be25-57ccb0ff69ad.", "id <#>.");
        check(
            "id 92708982-77af-4318-be25-57ccb0ff69adx",
            "id <#>-<#>-<#>-<#>-<#>",
        );
        check("größe42 is 7", "größe42 is <#>");
        check("", "");
    }

    #[test]
    fn values_of_an_object_are_variables_and_keys_are_not() {
        check(
            r#"{"msg":"a \"b\" 1","n2":[1, "x"],"t":true}"#,
            r#"{"msg":"<*>","n2":[<#>, "<*>"],"t":true}"#,
        );
        check(r#"{"broken: 1}"#, r#"{"broken: <#>}"#);
    }

    #[test]
    fn what_cannot_be_marked_or_is_too_much_stays_plain() {
        assert_eq!(template("a\u{1}b"), None);
        assert_eq!(template(&"1 ".repeat(VARIABLES_MAX + 1)), None);
        assert!(template(&"1 ".repeat(VARIABLES_MAX)).is_some());
        assert_eq!(template(&"x".repeat(TEXT_BYTES_MAX + 1)), None);
    }

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-c0-3_. :\\-\"{}é\\\\]{0,40}",
            r#"\{"[a-z]{1,3}": ?("[a-z0-9 \\\\"]{0,6}"|[0-9.]{1,4}|\[1, "b"\])(,"k":"v")?\}"#,
            "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "\\PC{0,60}",
        ]
    }

    proptest! {
        #[test]
        fn literals_and_variables_are_the_text(text in texts()) {
            let mut variables = Vec::new();
            prop_assert!(split(text.as_bytes(), &mut variables));
            let mut out = Vec::new();
            put_template(&mut out, text.as_bytes(), &variables);
            prop_assert!(is_of(&out, text.as_bytes(), &variables));
            for at in 0..out.len() {
                let mut other = out.clone();
                other[at] ^= 3;
                prop_assert!(!is_of(&other, text.as_bytes(), &variables));
                prop_assert!(!is_of(&out[..at], text.as_bytes(), &variables));
            }
            let out = String::from_utf8(out).expect("variables are whole characters");
            prop_assert_eq!(Template::new(&out).n_variables(), variables.len());
            let mut again = String::new();
            let mut values = variables.iter();
            for (i, literal) in Template::new(&out).literals().enumerate() {
                if i > 0 {
                    let value = values.next().expect("one for each marker").of(text.as_bytes());
                    again.push_str(std::str::from_utf8(value).expect("whole characters"));
                }
                again.push_str(literal);
            }
            prop_assert_eq!(again, text.clone());
            // Variables are whole tokens: what is beside them is no part of one.
            for variable in &variables {
                let bytes = text.as_bytes();
                let (start, end) = (usize::from(variable.start), variable.end());
                prop_assert!(start == 0 || !in_token(bytes[start - 1]));
                prop_assert!(bytes.get(end).is_none_or(|byte| !in_token(*byte)));
            }
        }
    }
}
