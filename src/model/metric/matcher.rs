//! What selects series by a label: `=`, `!=`, `=~`, `!~`.

use std::fmt;

use regex::Regex;

use super::re2;

/// How a matcher compares a label's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatchOp {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

/// A condition on one label. An absent label has the empty value.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    pub(crate) name: String,
    pub(crate) op: MatchOp,
    pub(crate) value: String,
    /// Of the two regular operators.
    regex: Option<Regex>,
}

/// Two matchers are equal when they are written the same.
impl PartialEq for Matcher {
    fn eq(&self, other: &Matcher) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

/// A regular expression that is none or is too large; the text names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MatcherError(pub(crate) String);

impl fmt::Display for MatcherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Matcher {
    /// # Errors
    /// The value of a regular operator is no regular expression. It matches the whole value, and `.`
    /// matches newlines too, as in Prometheus.
    pub(crate) fn new(name: &str, op: MatchOp, value: &str) -> Result<Matcher, MatcherError> {
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(re2::whole(value).map_err(MatcherError)?),
        };
        Ok(Matcher {
            name: name.to_owned(),
            op,
            value: value.to_owned(),
            regex,
        })
    }

    /// Whether a label of this value (empty: absent) is selected.
    pub(crate) fn matches(&self, value: &str) -> bool {
        let found = |regex: &Option<Regex>| regex.as_ref().is_some_and(|r| r.is_match(value));
        match self.op {
            MatchOp::Equal => value == self.value,
            MatchOp::NotEqual => value != self.value,
            MatchOp::Regex => found(&self.regex),
            MatchOp::NotRegex => !found(&self.regex),
        }
    }
}
