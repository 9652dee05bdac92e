//! Regular expressions as Prometheus reads them: RE2 syntax, given to an engine whose classes are of
//! Unicode and whose brackets know set operations. Must never change what a pattern means in RE2.

use regex::{Regex, RegexBuilder};

/// Compiled size of one regular expression in bytes; a few times the largest sensible one.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Compiles a pattern that has to match the whole text; `.` also matches newlines.
///
/// # Errors
/// The pattern is none, or is too large when compiled.
pub(crate) fn whole(pattern: &str) -> Result<Regex, String> {
    let anchored = format!("^(?s:{})$", translate(pattern));
    let built = RegexBuilder::new(&anchored)
        .size_limit(REGEX_BYTES_MAX)
        .build();
    built.map_err(|_| why_not(pattern))
}

/// Why a text is no regular expression that can be used, in the words of Go where it has some.
fn why_not(pattern: &str) -> String {
    use regex_syntax::ast::ErrorKind as Kind;
    let error = match regex_syntax::ast::parse::Parser::new().parse(pattern) {
        Ok(_) => {
            return format!(
                "error parsing regexp: `{pattern}` is too large or has what is not supported"
            );
        }
        Err(error) => error,
    };
    let span = error.span();
    let from = |at: usize| pattern.get(at..).unwrap_or(pattern);
    let (what, shown) = match error.kind() {
        Kind::ClassUnclosed => ("missing closing ]".to_owned(), from(span.start.offset)),
        Kind::GroupUnclosed => ("missing closing )".to_owned(), pattern),
        Kind::GroupUnopened => ("unexpected )".to_owned(), pattern),
        Kind::EscapeUnexpectedEof => ("trailing backslash at end of expression".to_owned(), ""),
        Kind::RepetitionMissing => (
            "missing argument to repetition operator".to_owned(),
            pattern
                .get(span.start.offset..span.end.offset)
                .unwrap_or(pattern),
        ),
        other => (other.to_string(), pattern),
    };
    format!("error parsing regexp: {what}: `{shown}`")
}

/// The same pattern in the syntax of the engine: `\d`, `\s`, `\w` and `\b` are ASCII in RE2, and
/// `[`, `&&`, `~~` and `--` have no meaning inside brackets.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern.chars().peekable();
    let mut in_class = false;
    let mut class_begins = false;
    while let Some(c) = rest.next() {
        let first = std::mem::take(&mut class_begins);
        match (c, in_class) {
            ('\\', _) => match rest.next() {
                Some(escaped) => escape(escaped, in_class, &mut out),
                None => out.push('\\'),
            },
            ('[', false) => {
                in_class = true;
                class_begins = true;
                out.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
            }
            (']', true) if first => out.push_str("\\]"),
            (']', true) => {
                in_class = false;
                out.push(']');
            }
            ('[', true) if rest.peek() == Some(&':') => {
                out.push('[');
                for inner in rest.by_ref() {
                    out.push(inner);
                    if inner == ']' {
                        break;
                    }
                }
            }
            ('[' | '&' | '~', true) => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

fn escape(escaped: char, in_class: bool, out: &mut String) {
    let class = match escaped {
        'd' => "0-9",
        's' => "\\t\\n\\f\\r ",
        'w' => "0-9A-Za-z_",
        'D' => "^0-9",
        'S' => "^\\t\\n\\f\\r ",
        'W' => "^0-9A-Za-z_",
        'b' if !in_class => return out.push_str("(?-u:\\b)"),
        'B' if !in_class => return out.push_str("\\B"),
        _ => {
            out.push('\\');
            return out.push(escaped);
        }
    };
    if in_class && !class.starts_with('^') {
        out.push_str(class);
    } else {
        out.push('[');
        out.push_str(class);
        out.push(']');
    }
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[track_caller]
    fn check(pattern: &str, matches: &[&str], others: &[&str]) {
        let regex = whole(pattern).expect(pattern);
        for text in matches {
            assert!(regex.is_match(text), "{pattern} matches {text:?}");
        }
        for text in others {
            assert!(!regex.is_match(text), "{pattern} does not match {text:?}");
        }
    }

    #[test]
    fn patterns_mean_what_they_mean_in_re2() {
        check("a|b", &["a", "b"], &["ab", "xa"]);
        check("a.c", &["abc", "a\nc"], &["a"]);
        check(r"\d+", &["12"], &["\u{661}"]);
        check(r"[\d.]+", &["1.2"], &["\u{661}"]);
        check(r"[\D]", &["x"], &["1"]);
        check(r"\w+", &["a_1"], &["\u{e9}"]);
        check(r"[^\w]", &["\u{e9}"], &["a"]);
        check(r".*\bfoo\b.*", &["a foo b", "foo"], &["afoo"]);
        check("[[:alpha:]&&]+", &["a&b"], &["1"]);
        check("[a[]", &["[", "a"], &["b"]);
        check("[]a]", &["]", "a"], &["b"]);
        check("[^]a]", &["b"], &["]", "a"]);
        check("", &[""], &["a"]);
        assert!(whole("(").is_err());
        assert!(whole("a{1000}{1000}{1000}").is_err(), "too large");
    }
}
