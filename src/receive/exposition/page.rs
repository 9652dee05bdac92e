//! Where a page of text is wrong, told by line and column; and its escapes.

use super::PageError;

/// Characters of the text that an error quotes.
const QUOTED_CHARS: usize = 20;

/// What is wrong at which byte; made into a line and a column when it leaves this module.
#[derive(Debug)]
pub(super) struct Wrong {
    at: usize,
    what: String,
}

pub(super) type Result<T, E = Wrong> = std::result::Result<T, E>;

impl Wrong {
    pub(super) fn new(at: usize, what: impl Into<String>) -> Wrong {
        Wrong {
            at,
            what: what.into(),
        }
    }

    #[cold]
    pub(super) fn on(self, page: &str) -> PageError {
        let before = &page[..self.at];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = page[self.at..].split('\n').next().unwrap_or_default();
        let found: String = rest.chars().take(QUOTED_CHARS).collect();
        let found = match found.as_str() {
            "" if self.at == page.len() => "the end of the page".to_owned(),
            "" => "the end of the line".to_owned(),
            found => format!("{found:?}"),
        };
        PageError {
            line: before.bytes().filter(|b| *b == b'\n').count() as u32 + 1,
            column: before[start..].chars().count() as u32 + 1,
            what: format!("{}, found {found}", self.what),
        }
    }
}

/// Undoes `\\`, `\n` and, where quotes are escaped, `\"`; other backslashes stay.
pub(super) fn unescape(text: &str, quotes: bool, out: &mut String) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let (known, len) = match rest.as_bytes().get(at + 1) {
            Some(b'\\') => ("\\", 2),
            Some(b'n') => ("\n", 2),
            Some(b'"') if quotes => ("\"", 2),
            _ => ("\\", 1),
        };
        out.push_str(known);
        rest = &rest[at + len..];
    }
    out.push_str(rest);
}
