//! Reads words, quoted strings and regular expressions out of the query text, keeping positions.

use super::Error;

/// The text and how far it is read.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

/// What ends a bare word.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '"' | ',')
}

impl<'t> Scanner<'t> {
    pub(super) fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Steps over `expected` when it comes next.
    pub(super) fn eat(&mut self, expected: &str) -> bool {
        let found = self.rest().starts_with(expected);
        if found {
            self.at += expected.len();
        }
        found
    }

    /// Steps over a keyword: the very word, not the start of a longer one or of a field.
    pub(super) fn eat_keyword(&mut self, keyword: &str) -> bool {
        let Some(after) = self.rest().strip_prefix(keyword) else {
            return false;
        };
        let whole = after.chars().next().is_none_or(ends_word);
        if whole {
            self.at += keyword.len();
        }
        whole
    }

    /// Whether the value that was just read ends here.
    pub(super) fn at_boundary(&self) -> bool {
        self.peek().is_none_or(ends_word)
    }

    /// A bare word up to whitespace, a parenthesis, a quote or a comma; `also` ends it too.
    pub(super) fn word(&mut self, also: Option<char>) -> &'t str {
        let rest = self.rest();
        let len = rest
            .find(|c| ends_word(c) || Some(c) == also)
            .unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// A quoted string, from its opening quote on, with its escapes resolved.
    pub(super) fn quoted(&mut self) -> Result<String, Error> {
        let open = self.at;
        let mut out = String::new();
        let mut chars = self.rest().char_indices();
        chars.next();
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at = open + offset + 1;
                    return Ok(out);
                }
                '\\' => {
                    let escaped = chars.next().map(|(_, c)| c);
                    out.push(unescape(escaped).ok_or_else(|| {
                        let at = open + offset;
                        let len = 1 + escaped.map_or(0, char::len_utf8);
                        let message = r#"unknown escape; expected \\, \", \n, \r or \t"#;
                        let fixed = format!("\\{}", &self.text[at..at + len]);
                        self.error(at, len, message).with_fix(self.text, &fixed)
                    })?);
                }
                c => out.push(c),
            }
        }
        let len = self.text.len() - open;
        let closed = format!("{}\"", self.rest());
        Err(self
            .error(open, len, "a quote that is not closed; expected `\"`")
            .with_fix(self.text, &closed))
    }

    /// The source of a regular expression, from its opening slash on; `\/` is a slash.
    pub(super) fn regex(&mut self) -> Option<String> {
        let open = self.at;
        let mut out = String::new();
        let mut chars = self.rest().char_indices();
        chars.next();
        while let Some((offset, c)) = chars.next() {
            match c {
                '/' => {
                    self.at = open + offset + 1;
                    return Some(out);
                }
                '\\' => match chars.next()? {
                    (_, '/') => out.push('/'),
                    (_, other) => out.extend(['\\', other]),
                },
                c => out.push(c),
            }
        }
        None
    }

    pub(super) fn error(&self, at: usize, length: usize, message: impl Into<String>) -> Error {
        Error {
            position: at,
            length,
            column: self.text[..at].chars().count() + 1,
            message: message.into(),
            hint: None,
        }
    }
}

fn unescape(escaped: Option<char>) -> Option<char> {
    match escaped? {
        '\\' => Some('\\'),
        '"' => Some('"'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        _ => None,
    }
}

impl Error {
    /// Adds the query with the offending part replaced as a hint.
    pub(super) fn with_fix(mut self, text: &str, replacement: &str) -> Error {
        let after = self.position + self.length;
        let fixed = format!("{}{replacement}{}", &text[..self.position], &text[after..]);
        self.hint = Some(fixed);
        self
    }
}
