//! How a reader's filter meets the store: what it can decide for many log records at once, and what
//! it needs of each one otherwise.

use super::prune::LogColumns;
use crate::model::{LogView, Severity, Timestamp};

/// In a template: a token with a digit in it.
pub(super) const NUMBER: u8 = 1;

/// In a template: the inside of a JSON string, any text.
pub(super) const STRING: u8 = 2;

/// What log records of one kind have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogKind<'a> {
    pub(crate) service: &'a str,
    pub(crate) severity: Severity,
    pub(crate) severity_text: &'a str,
    pub(crate) event_name: &'a str,
    pub(crate) body: BodyKind<'a>,
    /// Bit i: the i-th word of `LogPrune` may be in a variable, or in a body that is [`BodyKind::Open`].
    pub(crate) held: u64,
}

/// What the bodies of one kind of record have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BodyKind<'a> {
    Empty,
    Text(Template<'a>),
    /// Anything.
    Open,
}

/// A text with a control byte for each variable. Variables start and end where tokens do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Template<'a>(&'a str);

impl<'a> Template<'a> {
    pub(crate) fn new(text: &'a str) -> Template<'a> {
        Template(text)
    }

    /// As it is kept: variables are separators between tokens.
    pub(crate) fn text(self) -> &'a str {
        self.0
    }

    /// The constant text: one piece more than there are variables.
    pub(crate) fn literals(self) -> impl Iterator<Item = &'a str> {
        self.0.split([char::from(NUMBER), char::from(STRING)])
    }

    pub(crate) fn n_variables(self) -> usize {
        memchr::memchr2_iter(NUMBER, STRING, self.0.as_bytes()).count()
    }

    pub(crate) fn has_variables(self) -> bool {
        memchr::memchr2(NUMBER, STRING, self.0.as_bytes()).is_some()
    }

    /// Whether a variable may hold `token`, which is in lower case. The others hold ASCII tokens with a
    /// digit; the groups of a UUID and ids of traces and spans may happen to have none.
    pub(crate) fn may_hold(self, token: &str) -> bool {
        if memchr::memchr(STRING, self.0.as_bytes()).is_some() {
            return true;
        }
        let hex = || {
            matches!(token.len(), 4 | 8 | 12 | 16 | 32)
                && token.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        self.has_variables() && (token.bytes().any(|byte| byte.is_ascii_digit()) || hex())
    }

    /// Whether a variable may be any text, none at all included.
    pub(crate) fn has_strings(self) -> bool {
        memchr::memchr(STRING, self.0.as_bytes()).is_some()
    }
}

/// A filter of log records.
pub(crate) struct LogFilter<'q> {
    /// Whether records at this time are of interest.
    pub(crate) open: &'q dyn Fn(Timestamp) -> bool,
    /// Whether all records of a kind match, or none; `None`: each has to be asked.
    pub(crate) decide: &'q dyn Fn(&LogKind<'_>) -> Option<bool>,
    pub(crate) matches: &'q dyn Fn(&LogView<'_>) -> bool,
    /// What `matches` looks at.
    pub(crate) columns: LogColumns,
    /// Every record matches.
    pub(crate) everything: bool,
    /// A text that is in the body of every match, not empty.
    pub(crate) needle: Option<&'q str>,
}
