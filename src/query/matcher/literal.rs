//! The text that everything a regular expression finds must have: a record without it need not be
//! matched. Only ever leaves out what cannot match.

use regex_syntax::hir::{Hir, HirKind};

/// The longest text that is in every match of a regular expression; `None` where no single one is.
///
/// ```text
/// order [0-9]+ took -> " took"        (fail|timeout) -> none        (?i)fail -> none
/// ```
pub(super) fn required(source: &str) -> Option<String> {
    let hir = regex_syntax::parse(source).ok()?;
    let mut best = Vec::new();
    longest(&hir, &mut best);
    // A match is of whole characters; so must be what is looked for in texts.
    String::from_utf8(best).ok().filter(|text| !text.is_empty())
}

/// Keeps the longest of `best` and the texts that each match of `hir` must have. Recursion is bounded by
/// the nesting that the parser allows.
fn longest(hir: &Hir, best: &mut Vec<u8>) {
    let mut offer = |text: &[u8]| {
        if text.len() > best.len() {
            *best = text.to_vec();
        }
    };
    match hir.kind() {
        HirKind::Literal(literal) => offer(&literal.0),
        HirKind::Capture(capture) => longest(&capture.sub, best),
        HirKind::Repetition(repetition) if repetition.min > 0 => longest(&repetition.sub, best),
        HirKind::Concat(parts) => parts.iter().for_each(|part| longest(part, best)),
        HirKind::Repetition(_)
        | HirKind::Alternation(_)
        | HirKind::Class(_)
        | HirKind::Look(_)
        | HirKind::Empty => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_every_match_has_is_found() {
        let check = |source: &str, expect: Option<&str>| {
            assert_eq!(required(source).as_deref(), expect, "{source}");
        };
        check("xception", Some("xception"));
        check("order [0-9]+ took", Some("order "));
        check("a(bcd)+e?", Some("bcd"));
        check("^x{2,3}$", Some("x"));
        check("fail(ed|ure)", Some("fail"));
        check("größe.*é", Some("größe"));
        check("(?i)fail", None);
        check("(ab)*", None);
        check("a|b", None);
        check("", None);
    }

    proptest! {
        #[test]
        fn a_match_has_it(source in "[ab.*+?|()\\[\\]^$é{}1,]{0,12}", text in "[abé1 ]{0,12}") {
            let (regex, needle) = (regex::Regex::new(&source), required(&source));
            if let (Ok(regex), Some(needle)) = (regex, needle)
                && regex.is_match(&text)
            {
                prop_assert!(text.contains(&needle));
            }
        }
    }
}
