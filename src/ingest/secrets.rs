//! Finding secrets in single strings and keys. Pure; works on bytes, so that strings that are not
//! UTF-8 are covered too. Every found range starts and ends at ASCII, so masking keeps UTF-8 whole.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::packed;

/// Which rule found a secret. Closed: a label of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// The value of an attribute, map entry or JSON member whose key names a secret, and
    /// `password=...` in text.
    Key,
    /// `Bearer ...`
    Bearer,
    Jwt,
    Card,
    Email,
}

impl Rule {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Rule::Key => "key",
            Rule::Bearer => "bearer",
            Rule::Jwt => "jwt",
            Rule::Card => "card",
            Rule::Email => "email",
        }
    }
}

/// How a secret is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Every byte.
    Text,
    /// A bare number or list of JSON: the body stays JSON.
    Json,
}

/// Where and what a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Secret {
    pub(super) rule: Rule,
    pub(super) range: Range<usize>,
    pub(super) shape: Shape,
}

impl Secret {
    const fn text(rule: Rule, range: Range<usize>) -> Secret {
        Secret {
            rule,
            range,
            shape: Shape::Text,
        }
    }

    const fn json(range: Range<usize>) -> Secret {
        Secret {
            rule: Rule::Key,
            range,
            shape: Shape::Json,
        }
    }
}

/// Parts of words that every secret found by the cheap rules has nearby, in the cases people write.
/// One SIMD pass over a whole request looks for them; only what lies around a hit is read closer.
const TRIGGERS: &[&str] = &[
    "uthoriz", "UTHORIZ", "ookie", "OOKIE", "assw", "ASSW", "ecret", "ECRET", "oken", "OKEN",
    "pi-key", "pi-Key", "PI-KEY", "pi_key", "PI_KEY", "piKey", "pikey", "PIKEY", "earer ",
    "EARER ", "eyJ",
];

static SEARCHER: LazyLock<packed::Searcher> = LazyLock::new(|| {
    packed::Config::new()
        .builder()
        .extend(TRIGGERS)
        .build()
        .expect("21 patterns fit the packed searcher on every target with SIMD or Rabin-Karp")
});

/// Where the triggers of the cheap rules lie, in order.
pub(super) fn triggers(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    SEARCHER.find_iter(text).map(|hit| hit.start()..hit.end())
}

/// Words that make a key secret when one of the key's words is one of them; `api` and `key` count
/// in a row. Words are split at everything but letters and digits, and where a capital follows.
const WORDS: &[&[u8]] = &[
    b"authorization",
    b"cookie",
    b"cookies",
    b"password",
    b"passwd",
    b"passwords",
    b"passphrase",
    b"secret",
    b"secrets",
    b"token",
    b"apikey",
    b"apitoken",
    b"authtoken",
    b"accesstoken",
    b"refreshtoken",
    b"clientsecret",
];

/// Bytes of one word that are looked at; longer ones are no word of [`WORDS`].
const WORD_BYTES_MAX: usize = 16;

/// Whether values under `key` are secrets: `http.request.header.authorization`, `X-Api-Key`,
/// `dbPassword`, `client_secret`. Plural `tokens` is a count in practice and is not one.
pub(super) fn is_secret_key(key: &[u8]) -> bool {
    let mut word = [0u8; WORD_BYTES_MAX];
    let (mut len, mut before_was_api, mut previous) = (0usize, false, 0u8);
    // One round past the end closes the last word.
    for i in 0..=key.len() {
        let byte = key.get(i).copied().unwrap_or(b'.');
        let starts_word = byte.is_ascii_uppercase()
            && (previous.is_ascii_lowercase()
                || (previous.is_ascii_uppercase()
                    && key.get(i + 1).is_some_and(u8::is_ascii_lowercase)));
        if (starts_word || !byte.is_ascii_alphanumeric()) && len > 0 {
            let whole = &word[..len.min(WORD_BYTES_MAX)];
            if len <= WORD_BYTES_MAX
                && (WORDS.contains(&whole) || (before_was_api && whole == b"key"))
            {
                return true;
            }
            before_was_api = whole == b"api";
            len = 0;
        }
        if byte.is_ascii_alphanumeric() {
            if len < WORD_BYTES_MAX {
                word[len] = byte.to_ascii_lowercase();
            }
            len += 1;
        }
        previous = byte;
    }
    false
}

/// Words that follow "bearer" in plain English and are no tokens.
const NO_TOKENS: &[&[u8]] = &[
    b"token",
    b"tokens",
    b"authentication",
    b"authorization",
    b"scheme",
    b"header",
    b"format",
    b"realm",
    b"credentials",
];

/// Bytes of the shortest bearer token worth masking.
const BEARER_BYTES_MIN: usize = 6;

/// Bytes of the shortest JWT: a header of `{"alg":"none"}` alone has 19.
const JWT_BYTES_MIN: usize = 20;

/// Calls `found` with every secret that the cheap rules see in one string.
pub(super) fn credentials(text: &[u8], mut found: impl FnMut(Secret)) {
    let mut done = 0;
    for hit in triggers(text) {
        if hit.start < done {
            continue;
        }
        let secret = match &text[hit.clone()] {
            b"eyJ" => jwt(text, hit.start),
            b"earer " | b"EARER " => bearer(text, &hit),
            _ => assignment(text, &hit),
        };
        if let Some(secret) = secret {
            done = secret.range.end;
            found(secret);
        }
    }
}

fn bearer(text: &[u8], hit: &Range<usize>) -> Option<Secret> {
    let first = hit.start.checked_sub(1)?;
    let before = first.checked_sub(1).map(|i| text[i]);
    if !matches!(text[first], b'b' | b'B') || before.is_some_and(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let start = hit.end + run(&text[hit.end..], |b| b == b' ');
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=:*".contains(&b);
    let end = start + run(&text[start..], is_token);
    let token = &text[start..end];
    let is_word = |word: &&[u8]| token.eq_ignore_ascii_case(word) || token.starts_with(b"realm=");
    (token.len() >= BEARER_BYTES_MIN && !NO_TOKENS.iter().any(is_word))
        .then_some(Secret::text(Rule::Bearer, start..end))
}

/// `header.payload[.signature]`, all base64url, the header being JSON.
fn jwt(text: &[u8], start: usize) -> Option<Secret> {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if start > 0 && (is_part(text[start - 1]) || text[start - 1] == b'.') {
        return None;
    }
    let end = start + run(&text[start..], |b| is_part(b) || b == b'.');
    let token = &text[start..end];
    (token.len() >= JWT_BYTES_MIN && token[..token.len() - 1].contains(&b'.'))
        .then_some(Secret::text(Rule::Jwt, start..end))
}

/// `"password":"x"` (also escaped, also as a list or number), `password=x`, `Authorization: x`.
fn assignment(text: &[u8], hit: &Range<usize>) -> Option<Secret> {
    let is_key = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    let start = hit.start
        - text[..hit.start]
            .iter()
            .rev()
            .take_while(|b| is_key(**b))
            .count();
    let end = hit.end + run(&text[hit.end..], is_key);
    let key = &text[start..end];
    if !is_secret_key(key) {
        return None;
    }
    let mut at = end + run(&text[end..], |b| b == b'\\');
    let quoted = matches!(text.get(at), Some(b'"' | b'\''));
    at += usize::from(quoted);
    at += run(&text[at..], |b| b == b' ');
    let separator = *text.get(at)?;
    if !matches!(separator, b':' | b'=') {
        return None;
    }
    at += 1;
    // `==`, `=>` and `:=` assign or compare; the value follows all the same.
    at += run(&text[at..], |b| matches!(b, b'=' | b'>' | b' '));
    if quoted {
        return json_value(text, at);
    }
    if separator == b'=' {
        return plain_value(text, at, |b| {
            !b.is_ascii_whitespace() && !b"&;,\"'<>)}]".contains(&b)
        });
    }
    match_header(text, key, at)
}

/// `Authorization: Basic x` to the end of the line; `password: x` to the end of the word.
fn match_header(text: &[u8], key: &[u8], at: usize) -> Option<Secret> {
    let is = |word: &[u8]| {
        key.len() >= word.len() && key[key.len() - word.len()..].eq_ignore_ascii_case(word)
    };
    if is(b"authorization") || is(b"cookie") {
        return plain_value(text, at, |b| {
            !matches!(b, b'\n' | b'\r' | b'"' | b'\'' | b'\\')
        });
    }
    // "unexpected token: x" is what parsers say.
    if is(b"token") && key.len() == b"token".len() {
        return None;
    }
    plain_value(text, at, |b| {
        !b.is_ascii_whitespace() && !b",;\"')}]".contains(&b)
    })
}

/// A value that may stand in quotes.
fn plain_value(text: &[u8], at: usize, part: impl Fn(u8) -> bool) -> Option<Secret> {
    if matches!(text.get(at), Some(b'"' | b'\'')) {
        return json_value(text, at);
    }
    let end = at + run(&text[at..], part);
    (end > at).then_some(Secret::text(Rule::Key, at..end))
}

/// The content of a JSON string, list or number; the quotes may be escaped when JSON stands inside
/// a JSON string.
fn json_value(text: &[u8], at: usize) -> Option<Secret> {
    let slashes = run(&text[at..], |b| b == b'\\');
    let open = at + slashes;
    match *text.get(open)? {
        quote @ (b'"' | b'\'') => {
            let start = open + 1;
            let mut end = start;
            loop {
                end += run(&text[end..], |b| b != quote);
                let before = text[start..end].iter().rev();
                let escapes = before.take_while(|b| **b == b'\\').count();
                // The closing quote carries as many backslashes as the opening one.
                if end >= text.len() {
                    break;
                }
                if escapes <= slashes {
                    end -= escapes;
                    break;
                }
                end += 1;
            }
            (end > start).then_some(Secret::text(Rule::Key, start..end))
        }
        b'[' if slashes == 0 => {
            let end = open + 1 + run(&text[open + 1..], |b| b != b']');
            (end > open + 1).then_some(Secret::json(open + 1..end))
        }
        b'0'..=b'9' | b'-' if slashes == 0 => {
            let end = open
                + run(&text[open..], |b| {
                    b.is_ascii_digit() || b"-+.eE".contains(&b)
                });
            Some(Secret::json(open..end))
        }
        _ => None,
    }
}

/// Digits of a payment card number.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Calls `found` with every payment card number: 13 to 19 digits, alone or in groups, whose Luhn
/// sum is right and whose first digit an issuer uses.
pub(super) fn cards(text: &[u8], mut found: impl FnMut(Secret)) {
    let mut at = 0;
    while at < text.len() {
        at += run(&text[at..], |b| !b.is_ascii_digit());
        let start = at;
        let (mut digits, mut n, mut end) = ([0u8; 20], 0, at);
        while let Some(&byte) = text.get(at) {
            if byte.is_ascii_digit() {
                if n < digits.len() {
                    digits[n] = byte - b'0';
                }
                n += 1;
                end = at + 1;
            } else if !(matches!(byte, b' ' | b'-') && at == end) {
                break;
            }
            at += 1;
        }
        let alone =
            start == 0 || !matches!(text[start - 1], b'.' | b'_' | b'a'..=b'z' | b'A'..=b'Z');
        if alone && CARD_DIGITS.contains(&n) && (2..=6).contains(&digits[0]) && luhn(&digits[..n]) {
            found(Secret::text(Rule::Card, start..end));
        }
        at = at.max(end);
    }
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, &digit)| {
            let weighted = u32::from(digit) * (1 + i as u32 % 2);
            if weighted > 9 { weighted - 9 } else { weighted }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Calls `found` with every e-mail address (ASCII, with a point in the domain).
pub(super) fn emails(text: &[u8], mut found: impl FnMut(Secret)) {
    let is_local = |b: &u8| b.is_ascii_alphanumeric() || b"._%+-".contains(b);
    let is_domain = |b: u8| b.is_ascii_alphanumeric() || b".-".contains(&b);
    let mut done = 0;
    for at in memchr::memchr_iter(b'@', text) {
        let local = text[done.min(at)..at]
            .iter()
            .rev()
            .take_while(|b| is_local(b))
            .count();
        let domain = run(&text[at + 1..], is_domain);
        let name = &text[at + 1..at + 1 + domain];
        let name =
            &name[..name.len() - name.iter().rev().take_while(|b| b".-".contains(b)).count()];
        let top = name
            .iter()
            .rev()
            .take_while(|b| b.is_ascii_alphabetic())
            .count();
        if local > 0 && top >= 2 && name.len() > top + 1 {
            done = at + 1 + name.len();
            found(Secret::text(Rule::Email, at - local..done));
        }
    }
}

/// How many bytes at the start satisfy `part`.
fn run(text: &[u8], part: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|byte| part(**byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `<` and `>` stand around what must be found in `marked`.
    #[track_caller]
    fn check(find: impl Fn(&[u8], &mut dyn FnMut(Secret)), marked: &str) {
        let text = marked.replace(['⟨', '⟩'], "");
        let mut ranges = Vec::new();
        find(text.as_bytes(), &mut |secret| ranges.push(secret.range));
        let mut shown = String::new();
        let mut at = 0;
        for range in ranges {
            shown += &format!("{}⟨{}⟩", &text[at..range.start], &text[range.clone()]);
            at = range.end;
        }
        shown += &text[at..];
        assert_eq!(shown, marked);
    }

    #[test]
    fn credentials_in_text() {
        for marked in [
            "nothing to see: 200 OK",
            "Authorization: ⟨Basic dXNlcjpwYXNz⟩\nAccept: */*",
            "sent Bearer ⟨abc.def-123⟩ to api",
            "missing bearer token in header",
            "WWW-Authenticate: Bearer realm=\"x\"",
            "jwt ⟨eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln⟩, done",
            "keyJson eyJust text",
            r#"{"user":"ann","password":"⟨hunter2⟩","n":1}"#,
            r#"{"password" : "⟨a\"b⟩","n":1}"#,
            r#"{"inner":"{\"password\":\"⟨hunter2⟩\",\"n\":1}"}"#,
            r#"{"apiKey":"⟨k⟩","api_key":"⟨k⟩","X-Api-Key":["⟨k⟩"]}"#
                .replace("[\"⟨k⟩\"]", "[⟨\"k\"⟩]")
                .as_str(),
            r#"{"pin":1,"token":⟨123456⟩,"tokens":12}"#,
            "GET /login?token=⟨abc⟩&x=1 password=⟨p⟩ user=u",
            "password='⟨two words⟩' rest",
            "dbPassword: ⟨hunter2⟩, next",
            "unexpected token: }",
            "invalid token in line 3, broken pipe",
            "set-cookie: ⟨sid=1; Path=/⟩",
            "author=me secretary=you",
        ] {
            check(|text, found| credentials(text, found), marked);
        }
    }

    #[test]
    fn cards_and_emails() {
        for marked in [
            "paid with ⟨4111 1111 1111 1111⟩.",
            "⟨5555555555554444⟩",
            "order 4111111111111112 is no card",
            "time 1763724000000000000 ns",
        ] {
            check(|text, found| cards(text, found), marked);
        }
        for marked in [
            "mail ⟨ann.b+c@example.co.uk⟩.",
            "user@localhost, git@host:path, @alone",
            "⟨a@b.io⟩,⟨c@d.io⟩",
        ] {
            check(|text, found| emails(text, found), marked);
        }
    }

    #[test]
    fn keys_by_their_words() {
        for key in [
            "authorization",
            "http.request.header.authorization",
            "Set-Cookie",
            "cookie",
            "DB_PASSWORD",
            "dbPassword",
            "user.passwd",
            "client_secret",
            "access_token",
            "accessToken",
            "X-Api-Key",
            "apiKey",
            "apikey",
            "API_KEY",
            "x-auth-token",
        ] {
            assert!(is_secret_key(key.as_bytes()), "{key}");
        }
        for key in [
            "tokens",
            "author",
            "secretary",
            "key",
            "api.endpoint",
            "http.route",
            "",
            "cookie_count_tokens_x",
        ] {
            let expect = key == "cookie_count_tokens_x";
            assert_eq!(is_secret_key(key.as_bytes()), expect, "{key}");
        }
    }
}
