//! A query as the list of its terms, for the chips of the query bar and for links that change one
//! term: facets, "only", "exclude". It works on the text, so that what a person wrote stays as
//! written. It must never decide what a query means: `query::lang` does.

use crate::model::Level;

/// One top-level term with its place in the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// As written, with its `-` or `NOT`.
    pub(crate) text: String,
    pub(crate) negated: bool,
    /// `None` for words, phrases and groups.
    pub(crate) field: Option<String>,
    /// What follows the field and its colon, or the whole term without its sign.
    pub(crate) value: String,
    /// Byte offset of the term in the query.
    pub(crate) at: usize,
}

/// Top-level terms of a query that is a plain conjunction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms(pub(crate) Vec<Term>);

/// How a facet value stands to the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Free,
    Included,
    Excluded,
}

impl Terms {
    /// Splits at white space outside quotes, regular expressions and parentheses. A query with a
    /// top-level `OR` is one term, as every edit has to keep it together.
    pub(crate) fn split(query: &str) -> Terms {
        let pieces = pieces(query);
        if pieces.iter().any(|(_, piece)| *piece == "OR") {
            let start = query.len() - query.trim_start().len();
            return Terms(vec![Term::opaque(start, query.trim())]);
        }
        let mut terms = Vec::with_capacity(pieces.len());
        let mut not_at = None;
        for (at, piece) in pieces {
            match (piece, not_at) {
                ("AND", None) => {}
                ("NOT", None) => not_at = Some(at),
                (piece, Some(start)) => {
                    let mut term = Term::read(at, piece);
                    term.negated = !term.negated;
                    query[start..at + piece.len()].clone_into(&mut term.text);
                    term.at = start;
                    terms.push(term);
                    not_at = None;
                }
                (piece, None) => terms.push(Term::read(at, piece)),
            }
        }
        if let Some(at) = not_at {
            terms.push(Term::opaque(at, "NOT"));
        }
        Terms(terms)
    }

    /// The query without its `index`th term.
    pub(crate) fn without(&self, index: usize) -> Terms {
        let mut terms = self.0.clone();
        terms.remove(index);
        Terms(terms)
    }

    /// Adds `value` to what `field` may be, or takes it out again.
    pub(crate) fn toggled(&self, field: &str, value: &str) -> Terms {
        let standing = self.standing(field, value);
        let mut next = self.freed(field, value);
        if standing == Standing::Free {
            next.put(field, value, false);
        }
        next
    }

    /// Takes records with this value out, or lets them in again.
    pub(crate) fn excluded(&self, field: &str, value: &str) -> Terms {
        let standing = self.standing(field, value);
        let mut next = self.freed(field, value);
        if standing != Standing::Excluded {
            next.put(field, value, true);
        }
        next
    }

    /// This value and no other of the field.
    pub(crate) fn only(&self, field: &str, value: &str) -> Terms {
        let mut next = self.without_field(field);
        next.put(field, value, false);
        next
    }

    pub(crate) fn without_field(&self, field: &str) -> Terms {
        Terms(
            self.0
                .iter()
                .filter(|term| !term.is_about(field))
                .cloned()
                .collect(),
        )
    }

    /// The query and one more term, as written.
    pub(crate) fn and(&self, text: &str) -> Terms {
        let mut terms = self.0.clone();
        terms.push(Term::read(0, text));
        Terms(terms)
    }

    pub(crate) fn standing(&self, field: &str, value: &str) -> Standing {
        let holds = |negated: bool| {
            let of_field = self.0.iter().filter(|term| term.negated == negated);
            let mut lists = of_field.filter_map(|term| term.list_of(field));
            lists.any(|values| values.iter().any(|listed| same(field, listed, value)))
        };
        match (holds(true), holds(false)) {
            (true, _) => Standing::Excluded,
            (false, true) => Standing::Included,
            (false, false) => Standing::Free,
        }
    }

    /// Whether some term restricts `field`, so that its facet must be counted without that term.
    #[cfg(test)]
    pub(crate) fn has_field(&self, field: &str) -> bool {
        self.0.iter().any(|term| term.is_about(field))
    }

    /// Takes `value` out of every list of `field`, whichever sign it has.
    fn freed(&self, field: &str, value: &str) -> Terms {
        let mut terms = Vec::with_capacity(self.0.len() + 1);
        for term in &self.0 {
            match term.list_of(field) {
                Some(values) if values.iter().any(|listed| same(field, listed, value)) => {
                    let kept: Vec<_> = values
                        .into_iter()
                        .filter(|listed| !same(field, listed, value))
                        .collect();
                    if !kept.is_empty() {
                        terms.push(Term::list(field, &kept, term.negated));
                    }
                }
                _ => terms.push(term.clone()),
            }
        }
        Terms(terms)
    }

    /// Joins a list of the same field and sign, or starts one.
    fn put(&mut self, field: &str, value: &str, negated: bool) {
        let same_sign = self.0.iter_mut().filter(|term| term.negated == negated);
        let list = same_sign
            .filter_map(|term| Some((term.list_of(field)?, term)))
            .next();
        match list {
            Some((mut values, term)) => {
                values.push(value.to_owned());
                *term = Term::list(field, &values, negated);
            }
            None => self.0.push(Term::list(field, &[value.to_owned()], negated)),
        }
    }
}

impl std::fmt::Display for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [term] = self.0.as_slice() else {
            for (at, term) in self.0.iter().enumerate() {
                let between = if at > 0 { " " } else { "" };
                // A query with OR keeps its meaning beside other terms only in parentheses.
                let whole = pieces(&term.text).iter().any(|(_, piece)| *piece == "OR");
                match whole {
                    true => write!(f, "{between}({})", term.text)?,
                    false => write!(f, "{between}{}", term.text)?,
                }
            }
            return Ok(());
        };
        f.write_str(&term.text)
    }
}

impl Term {
    fn opaque(at: usize, text: &str) -> Term {
        Term {
            text: text.to_owned(),
            negated: false,
            field: None,
            value: text.to_owned(),
            at,
        }
    }

    fn read(at: usize, text: &str) -> Term {
        let negated = text.len() > 1 && text.starts_with('-');
        let bare = if negated { &text[1..] } else { text };
        let name_end = bare.bytes().take_while(|byte| is_name(*byte)).count();
        let field = (name_end > 0 && bare[name_end..].starts_with(':'))
            .then(|| bare[..name_end].to_owned());
        let value = if field.is_some() {
            &bare[name_end + 1..]
        } else {
            bare
        };
        Term {
            text: text.to_owned(),
            negated,
            field,
            value: value.to_owned(),
            at,
        }
    }

    fn list(field: &str, values: &[String], negated: bool) -> Term {
        let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
        let sign = if negated { "-" } else { "" };
        Term::read(0, &format!("{sign}{field}:{}", values.join(",")))
    }

    fn is_about(&self, field: &str) -> bool {
        self.field
            .as_deref()
            .is_some_and(|name| canonical(name) == canonical(field))
    }

    /// The literal values this term names for `field`; `None` where it names none or something
    /// that is not a list (`field:>5`, `field:x*`, `field:/re/`).
    fn list_of(&self, field: &str) -> Option<Vec<String>> {
        if !self.is_about(field) {
            return None;
        }
        if let (true, Some(levels)) = (canonical(field) == "level", levels_of(&self.value)) {
            return Some(levels);
        }
        let mut values = Vec::new();
        let mut rest = self.value.as_str();
        loop {
            let (value, after) = literal(rest)?;
            values.push(value);
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => return after.is_empty().then_some(values),
            }
        }
    }
}

/// `level:>=warn` as the list of its levels, so that one of them can be taken out.
fn levels_of(value: &str) -> Option<Vec<String>> {
    let (above, inclusive, word) = match value.as_bytes() {
        [b'>', b'=', ..] => (true, true, &value[2..]),
        [b'<', b'=', ..] => (false, true, &value[2..]),
        [b'>', ..] => (true, false, &value[1..]),
        [b'<', ..] => (false, false, &value[1..]),
        _ => return None,
    };
    let bound = Level::from_text(word)?;
    let within = |level: &Level| match (above, inclusive) {
        (true, true) => *level >= bound,
        (true, false) => *level > bound,
        (false, true) => *level <= bound,
        (false, false) => *level < bound,
    };
    Some(
        Level::ALL
            .into_iter()
            .filter(within)
            .map(|l| l.name().to_ascii_lowercase())
            .collect(),
    )
}

fn same(field: &str, a: &str, b: &str) -> bool {
    match (
        canonical(field) == "level",
        Level::from_text(a),
        Level::from_text(b),
    ) {
        (true, Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// `severity` is another name of `level`.
fn canonical(field: &str) -> &str {
    if field == "severity" { "level" } else { field }
}

/// One bare or quoted literal at the start of `text`, and what follows.
fn literal(text: &str) -> Option<(String, &str)> {
    if let Some(inside) = text.strip_prefix('"') {
        let mut value = String::new();
        let mut chars = inside.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return Some((value, &inside[at + 1..])),
                '\\' => value.push(chars.next()?.1),
                c => value.push(c),
            }
        }
        return None;
    }
    let end = text.find(',').unwrap_or(text.len());
    let value = &text[..end];
    let plain = !value.is_empty()
        && !value.starts_with(['>', '<', '/'])
        && !value.contains(['*', '"', '(', ')'])
        && !value.contains("..");
    plain.then(|| (value.to_owned(), &text[end..]))
}

/// Field names that can stand before a colon as they are.
pub(crate) fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_name) && !name.starts_with('-')
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/' | b'@')
}

/// A value as it stands in a query: bare where that cannot be read as anything else.
pub(crate) fn quoted(value: &str) -> String {
    let bare = value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !value.contains("..")
        && !matches!(value, "AND" | "OR" | "NOT");
    if bare {
        return value.to_owned();
    }
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// Pieces between white space at the top level, with their byte offsets.
fn pieces(query: &str) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let (mut start, mut depth) = (None::<usize>, 0_usize);
    let mut inside = None;
    let mut before = ' ';
    let mut chars = query.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && inside.is_some() {
            _ = chars.next();
            continue;
        }
        match inside {
            Some(close) => {
                if c == close {
                    inside = None;
                }
            }
            None => match c {
                '"' => inside = Some('"'),
                // A slash opens a regular expression only where a value can start.
                '/' if matches!(before, ' ' | ':' | '-' | ',' | '(') => inside = Some('/'),
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            },
        }
        before = if c.is_whitespace() { ' ' } else { c };
        let between = c.is_whitespace() && inside.is_none() && depth == 0;
        match (between, start) {
            (true, Some(from)) => {
                pieces.push((from, &query[from..at]));
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
    }
    if let Some(from) = start {
        pieces.push((from, &query[from..]));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::{Standing, Terms, quoted};

    #[track_caller]
    fn check(query: &str, expect: &[&str]) {
        let terms = Terms::split(query);
        let texts: Vec<_> = terms.0.iter().map(|term| term.text.as_str()).collect();
        assert_eq!(texts, expect);
        for term in &terms.0 {
            assert_eq!(&query[term.at..term.at + term.text.len()], term.text);
        }
    }

    #[test]
    fn a_query_splits_into_its_terms() {
        check("", &[]);
        check("  a  b ", &["a", "b"]);
        check(
            r#"service:a,b "two words" -x:"y z""#,
            &["service:a,b", "\"two words\"", "-x:\"y z\""],
        );
        check(r#"m:"a \" b" c"#, &[r#"m:"a \" b""#, "c"]);
        check("path:/a b/ (x OR y) z", &["path:/a b/", "(x OR y)", "z"]);
        check("NOT level:info a AND b", &["NOT level:info", "a", "b"]);
        check(" a OR b:c d", &["a OR b:c d"]);
        check("\"open quote", &["\"open quote"]);
        check("http.route:/health rest", &["http.route:/health rest"]);
    }

    #[test]
    fn facets_toggle_values_of_one_term() {
        let start = Terms::split("declined service:checkout");
        let both = start.toggled("service", "payments");
        assert_eq!(both.to_string(), "declined service:checkout,payments");
        assert_eq!(both.standing("service", "payments"), Standing::Included);
        assert_eq!(
            both.toggled("service", "checkout").to_string(),
            "declined service:payments"
        );
        assert_eq!(start.toggled("service", "checkout").to_string(), "declined");
        let out = both.excluded("service", "checkout");
        assert_eq!(
            out.to_string(),
            "declined service:payments -service:checkout"
        );
        assert_eq!(out.standing("service", "checkout"), Standing::Excluded);
        assert_eq!(
            out.excluded("service", "checkout").to_string(),
            "declined service:payments"
        );
        assert_eq!(
            out.only("service", "a b").to_string(),
            "declined service:\"a b\""
        );
    }

    #[test]
    fn a_level_can_be_taken_out_of_a_comparison() {
        let terms = Terms::split("level:>=warn");
        assert_eq!(terms.standing("level", "ERROR"), Standing::Included);
        assert_eq!(terms.standing("level", "INFO"), Standing::Free);
        assert_eq!(
            terms.toggled("level", "fatal").to_string(),
            "level:warn,error"
        );
        assert_eq!(
            terms.toggled("severity", "info").to_string(),
            "severity:warn,error,fatal,info"
        );
    }

    #[test]
    fn terms_that_are_not_lists_are_kept() {
        let terms = Terms::split("status:>=500 NOT status:503");
        assert_eq!(
            terms.toggled("status", "200").to_string(),
            "status:>=500 NOT status:503 status:200"
        );
        assert!(terms.has_field("status") && !terms.has_field("service"));
        assert_eq!(terms.without_field("status").to_string(), "");
        let either = Terms::split("a OR b");
        assert_eq!(
            either.toggled("service", "x").to_string(),
            "(a OR b) service:x"
        );
    }

    #[test]
    fn values_are_quoted_where_they_could_be_read_otherwise() {
        for (value, text) in [
            ("checkout", "checkout"),
            ("8f2c-11", "8f2c-11"),
            ("1.8.2", "1.8.2"),
            ("/health", "\"/health\""),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("1..2", "\"1..2\""),
            ("OR", "\"OR\""),
            ("", "\"\""),
        ] {
            assert_eq!(quoted(value), text);
            let query = format!("field:{text}");
            assert_eq!(
                Terms::split(&query).standing("field", value),
                Standing::Included,
                "{query}"
            );
        }
    }
}
