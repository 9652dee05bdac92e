//! What must be in a body: whether a row can have it is told by its variables alone, where the constant
//! text does not have it.

use memchr::memmem::Finder;

use crate::store::filter;

use super::encode::{OWN_SPAN_VARIABLE, OWN_TRACE_VARIABLE};

/// Hexadecimal digits of the shorter kind of id.
const SPAN_ID_DIGITS: usize = 16;

/// What rows are sifted by.
pub(super) enum Sieve<'q> {
    Text(Box<Needle<'q>>),
    Part {
        has: &'q dyn Fn(&str) -> bool,
        may_be_id: bool,
    },
}

impl<'q> Sieve<'q> {
    /// `None`: it would let everything pass.
    pub(super) fn new(sieve: filter::Sieve<'q>) -> Option<Sieve<'q>> {
        match sieve {
            filter::Sieve::Text(text) => Needle::new(text).map(|n| Sieve::Text(Box::new(n))),
            filter::Sieve::Part { has, may_be_id } => Some(Sieve::Part { has, may_be_id }),
        }
    }

    /// Whether ids have to be known to tell.
    pub(super) fn asks_for_ids(&self) -> bool {
        matches!(
            self,
            Sieve::Part {
                may_be_id: true,
                ..
            }
        )
    }

    /// The same, where it is known whether one of the ids that texts may have passes.
    pub(super) fn with_ids(self, ids: impl Iterator<Item = String>) -> Sieve<'q> {
        match self {
            Sieve::Part { has, .. } => {
                let mut ids = ids;
                let may_be_id = ids.any(|id| has(&id));
                Sieve::Part { has, may_be_id }
            }
            text => text,
        }
    }

    /// Whether every text of a template has it.
    pub(super) fn is_in_template(&self, template: &str) -> bool {
        match self {
            Sieve::Text(needle) => needle.is_in(template),
            Sieve::Part { has, .. } => has(template),
        }
    }

    /// Whether a text with a variable of this value may have it, that without the variable has not.
    pub(super) fn may_be_in_variable(&self, value: &str) -> bool {
        match self {
            Sieve::Text(needle) => needle.may_touch(value),
            Sieve::Part { may_be_id, .. }
                if value == OWN_TRACE_VARIABLE || value == OWN_SPAN_VARIABLE =>
            {
                *may_be_id
            }
            Sieve::Part { has, .. } => has(value),
        }
    }

    /// Whether a plain text may have it, in which ids may be marked.
    pub(super) fn may_be_in_plain(&self, marked: &[u8]) -> bool {
        match (self, std::str::from_utf8(marked)) {
            // A mark is no UTF-8.
            (_, Err(_)) => true,
            (Sieve::Text(needle), Ok(text)) => needle.is_in(text),
            (Sieve::Part { has, .. }, Ok(text)) => has(text),
        }
    }
}

/// A text that is looked for; not empty.
pub(super) struct Needle<'n> {
    bytes: &'n [u8],
    finder: Finder<'n>,
    /// Whether it may begin or end inside of an id, or hold a whole one.
    touches_ids: bool,
}

impl<'n> Needle<'n> {
    pub(super) fn new(text: &'n str) -> Option<Needle<'n>> {
        let bytes = text.as_bytes();
        let ends = [bytes.first()?, bytes.last()?];
        let reaches_in = ends.iter().any(|byte| byte.is_ascii_hexdigit());
        let mut words = bytes.split(|byte| !byte.is_ascii_hexdigit());
        Some(Needle {
            bytes,
            finder: Finder::new(bytes),
            touches_ids: reaches_in || words.any(|hex| hex.len() >= SPAN_ID_DIGITS),
        })
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        self.finder.find(text.as_bytes()).is_some()
    }

    /// Whether an occurrence may lie in or reach into a variable of this value.
    pub(super) fn may_touch(&self, value: &str) -> bool {
        if value.is_empty() {
            return true;
        }
        if value == OWN_TRACE_VARIABLE || value == OWN_SPAN_VARIABLE {
            return self.touches_ids;
        }
        let (value, needle) = (value.as_bytes(), self.bytes);
        let starts_inside = || {
            let n = value.len().min(needle.len());
            (1..=n).any(|k| value.ends_with(&needle[..k]))
        };
        let ends_inside = || {
            let n = value.len().min(needle.len());
            (1..=n).any(|k| value.starts_with(&needle[needle.len() - k..]))
        };
        let (first, last) = (value[0], value[value.len() - 1]);
        (needle.contains(&last) && starts_inside())
            || (needle.contains(&first) && ends_inside())
            || (value.len() > needle.len() && self.finder.find(value).is_some())
            || (value.len() < needle.len()
                && needle.contains(&first)
                && memchr::memmem::find(needle, value).is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_own_id_is_noticed_at_the_ends_and_inside() {
        let trace = "5b8efff798038103d269b633813fc60c";
        for (needle, expect) in [
            ("5b8e", true),
            ("request 5", true),
            (&*format!("\"{trace}\""), true),
            ("(eee19b7ec3c1b174)", true),
            (" in span ", false),
            ("(123456789012345)", false),
        ] {
            let found = Needle::new(needle).expect("not empty");
            for own in [OWN_TRACE_VARIABLE, OWN_SPAN_VARIABLE] {
                assert_eq!(found.may_touch(own), expect, "{needle}");
            }
        }
    }

    proptest! {
        /// Whatever stands around a variable: when the needle is in the whole but in no constant part,
        /// it touches the variable.
        #[test]
        fn an_occurrence_across_a_variable_is_noticed(
            before in "[ab1]{0,4}",
            value in "[ab1]{0,4}",
            after in "[ab1]{0,4}",
            needle in "[ab1]{1,4}",
        ) {
            let text = format!("{before}{value}{after}");
            let needle = Needle::new(&needle).expect("not empty");
            if needle.is_in(&text) && !needle.is_in(&before) && !needle.is_in(&after) {
                prop_assert!(needle.may_touch(&value));
            }
        }
    }
}
