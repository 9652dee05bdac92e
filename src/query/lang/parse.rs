//! Query text to [`Expr`] by recursive descent, at most [`DEPTH_MAX`] deep. Errors name the
//! place, what was expected and, where it can be guessed, the whole query with the fix in it.

use super::scan::Scanner;
use super::{
    Comparison, DEPTH_MAX, Error, Expr, Field, Literal, QUERY_BYTES_MAX, Quantity, REGEX_BYTES_MAX,
    TERMS_MAX, Term, Test, is_token_char,
};

/// Parses a query. Nothing but space is [`Expr::All`].
///
/// # Errors
/// The text is not of the grammar, or over one of the bounds of this module.
pub(crate) fn parse(text: &str) -> Result<Expr, Error> {
    parse_once(text).map_err(|mut error| {
        // A fix is worth showing only when it gets further than the text it fixes.
        let helps = |fixed: &String| {
            parse_once(fixed).map_or_else(|next| next.position > error.position, |_| true)
        };
        error.hint = error.hint.take().filter(helps);
        error
    })
}

fn parse_once(text: &str) -> Result<Expr, Error> {
    let mut parser = Parser {
        scan: Scanner { text, at: 0 },
        depth: 0,
        terms: 0,
    };
    if text.len() > QUERY_BYTES_MAX {
        let message = format!("the query has more than {QUERY_BYTES_MAX} bytes");
        return Err(parser.scan.error(0, 0, message));
    }
    parser.scan.skip_space();
    if parser.scan.peek().is_none() {
        return Ok(Expr::All);
    }
    let expr = parser.or()?;
    match parser.scan.peek() {
        None => Ok(expr),
        Some(_) => Err(parser.stray_parenthesis()),
    }
}

/// Whether a field name needs no quotes.
pub(super) fn is_bare_field(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '@' | '$'));
    let goes_on =
        |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | '@' | '$' | '[' | ']');
    starts && name.chars().all(goes_on) && !is_keyword(name)
}

/// Whether a text or prefix needs no quotes to be read back as that very text.
pub(super) fn is_bare_value(text: &str, of_field: bool) -> bool {
    let special = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '(' | ')' | '"' | ',' | '*' | '\\' | '|' | '{')
    };
    let starts_special = text.starts_with(['-', '/', '>', '<', ':']);
    let splits = if of_field {
        text.contains("..")
    } else {
        text.contains(':') || is_keyword(text)
    };
    !text.is_empty() && !starts_special && !splits && !text.contains(special)
}

fn is_keyword(word: &str) -> bool {
    matches!(word, "AND" | "OR" | "NOT")
}

struct Parser<'t> {
    scan: Scanner<'t>,
    depth: usize,
    terms: usize,
}

impl<'t> Parser<'t> {
    fn or(&mut self) -> Result<Expr, Error> {
        let mut parts = vec![self.and()?];
        while self.scan.eat_keyword("OR") {
            parts.push(self.and()?);
        }
        Ok(Expr::or(parts))
    }

    fn and(&mut self) -> Result<Expr, Error> {
        let mut parts = vec![self.not()?];
        loop {
            self.scan.skip_space();
            let ahead = self.scan.clone();
            let ends = matches!(self.scan.peek(), None | Some(')'));
            if ends || self.scan.eat_keyword("OR") {
                self.scan = ahead;
                return Ok(Expr::and(parts));
            }
            self.scan.eat_keyword("AND");
            parts.push(self.not()?);
        }
    }

    fn not(&mut self) -> Result<Expr, Error> {
        self.scan.skip_space();
        let at = self.scan.at;
        let minus = self.scan.eat("-");
        if minus
            && self.scan.at_boundary()
            && self.scan.peek() != Some('(')
            && self.scan.peek() != Some('"')
        {
            let message = "expected a condition directly after `-`";
            return Err(self.scan.error(at, 1, message).with_fix(self.scan.text, ""));
        }
        if !minus && !self.scan.eat_keyword("NOT") {
            return self.term();
        }
        self.scan.skip_space();
        if self.scan.rest().starts_with('-') || self.scan.clone().eat_keyword("NOT") {
            let message = "a negation of a negation; expected one condition after it";
            let len = self.scan.at - at;
            return Err(self.scan.error(at, len, message));
        }
        Ok(Expr::Not(Box::new(self.term()?)))
    }

    fn term(&mut self) -> Result<Expr, Error> {
        self.scan.skip_space();
        let at = self.scan.at;
        if self.scan.peek() == Some('(') {
            return self.group();
        }
        self.expect_condition(at)?;
        self.terms += 1;
        if self.terms > TERMS_MAX {
            let message = format!("more than {TERMS_MAX} conditions");
            return Err(self.scan.error(at, 0, message));
        }
        if let Some(name) = self.field_name()? {
            let test = self.field_value(&name)?;
            let field = Some(Field::named(&name));
            return Ok(Expr::Term(Term { field, test }));
        }
        self.text_condition(at)
    }

    /// Refuses what cannot start a condition, each with its own reason.
    fn expect_condition(&self, at: usize) -> Result<(), Error> {
        let ahead = |keyword| self.scan.clone().eat_keyword(keyword);
        let Some(first) = self.scan.peek() else {
            let expected = "expected a condition: a word, a \"phrase\" or field:value";
            return Err(self.scan.error(at, 0, expected));
        };
        let (len, message) = match first {
            ')' => (1, "expected a condition before `)`".to_owned()),
            ',' => {
                let message = "expected a condition before `,`";
                let error = self.scan.error(at, 1, message);
                return Err(error.with_fix(self.scan.text, ""));
            }
            '|' => (
                1,
                "pipes are not known yet; expected a condition".to_owned(),
            ),
            '{' => return Err(self.foreign_selector(at)),
            '>' | '<' => {
                let message = "a comparison needs a field before it, such as `duration:>500ms`";
                (1, message.to_owned())
            }
            _ if ahead("OR") || ahead("AND") => {
                let word = self.scan.clone().word(None);
                let message = format!("expected a condition before `{word}`");
                (word.len(), message)
            }
            _ => return Ok(()),
        };
        Err(self.scan.error(at, len, message))
    }

    fn group(&mut self) -> Result<Expr, Error> {
        let open = self.scan.at;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} parentheses inside each other");
            return Err(self.scan.error(open, 1, message));
        }
        self.scan.eat("(");
        let inner = self.or()?;
        if !self.scan.eat(")") {
            let message = "a parenthesis that is not closed; expected `)`";
            let closed = format!("{})", &self.scan.text[open..]);
            let mut error = self.scan.error(open, 1, message);
            error.hint = Some(format!("{}{closed}", &self.scan.text[..open]));
            return Err(error);
        }
        self.depth -= 1;
        Ok(inner)
    }

    fn stray_parenthesis(&self) -> Error {
        let message = "a `)` without its `(`; expected another condition";
        self.scan
            .error(self.scan.at, 1, message)
            .with_fix(self.scan.text, "")
    }

    /// Reads `name:` when that comes next, else nothing.
    fn field_name(&mut self) -> Result<Option<String>, Error> {
        let start = self.scan.clone();
        if self.scan.peek() == Some('"') {
            let name = self.scan.quoted()?;
            if !name.is_empty() && self.scan.eat(":") {
                return Ok(Some(name));
            }
        } else {
            let name = self.scan.word(Some(':'));
            // `std::io` is a word; `12:30` and `[x]:y` are, too.
            let is_field = is_bare_field(name) && !self.scan.rest().starts_with("::");
            if is_field && self.scan.eat(":") {
                return Ok(Some(name.to_owned()));
            }
        }
        self.scan = start;
        Ok(None)
    }

    /// Text without a field: words, phrases, prefixes, regular expressions, or any of them.
    fn text_condition(&mut self, at: usize) -> Result<Expr, Error> {
        if self.scan.eat_keyword("*") {
            return Ok(Expr::All);
        }
        let mut tests = vec![self.text_value()?];
        // A comma before a space is punctuation of pasted text.
        while self.scan.eat(",") && !self.scan.before_space_or_end() {
            self.count_listed(at)?;
            tests.push(self.text_value()?);
        }
        let test = one_or_any(tests);
        Ok(Expr::Term(Term { field: None, test }))
    }

    fn text_value(&mut self) -> Result<Test, Error> {
        let at = self.scan.at;
        let test = self.plain_value(None)?;
        let searchable = match &test {
            Test::Text(text) | Test::Prefix(text) => text.contains(is_token_char),
            _ => true,
        };
        if searchable {
            return Ok(test);
        }
        let source = self.scan.text[at..self.scan.at].trim_matches('"');
        let regex = format!("/{}/", regex::escape(source).replace('/', "\\/"));
        let len = self.scan.at - at;
        let message = "expected at least one letter, digit or `_` to look for";
        Err(self
            .scan
            .error(at, len, message)
            .with_fix(self.scan.text, &regex))
    }

    /// The value after `name:`, or a list of values.
    fn field_value(&mut self, name: &str) -> Result<Test, Error> {
        let at = self.scan.at;
        let mut tests = vec![self.one_field_value(name)?];
        while self.scan.eat(",") {
            self.count_listed(at)?;
            tests.push(self.one_field_value(name)?);
        }
        Ok(one_or_any(tests))
    }

    fn count_listed(&mut self, at: usize) -> Result<(), Error> {
        self.terms += 1;
        if self.terms > TERMS_MAX {
            let message = format!("more than {TERMS_MAX} conditions");
            return Err(self.scan.error(at, 0, message));
        }
        Ok(())
    }

    fn one_field_value(&mut self, name: &str) -> Result<Test, Error> {
        let at = self.scan.at;
        match self.scan.peek() {
            None | Some(')' | ',') => return Err(self.missing_value(name)),
            Some(c) if c.is_whitespace() => return Err(self.missing_value(name)),
            Some('(') => {
                let message =
                    format!("expected a value after `{name}:`; any of several is `{name}:a,b`");
                return Err(self.scan.error(at, 1, message));
            }
            _ => {}
        }
        if let Some(comparison) = self.comparison() {
            let from = self.scan.at;
            let literal = self.literal()?;
            self.end_of_value(from)?;
            self.check_literal(name, &literal, from)?;
            return Ok(Test::Compare(comparison, literal));
        }
        if self.scan.eat_keyword("*") {
            return Ok(Test::Exists);
        }
        self.plain_value(Some(name))
    }

    fn missing_value(&self, name: &str) -> Error {
        let message =
            format!("expected a value after `{name}:`; `{name}:*` finds all that have the field");
        let mut error = self.scan.error(self.scan.at, 0, message);
        let (before, after) = self.scan.text.split_at(self.scan.at);
        if !before.ends_with(',') {
            error.hint = Some(format!("{before}*{after}"));
        }
        error
    }

    fn comparison(&mut self) -> Option<Comparison> {
        // The longer signs first.
        [
            Comparison::GreaterOrEqual,
            Comparison::LessOrEqual,
            Comparison::Greater,
            Comparison::Less,
        ]
        .into_iter()
        .find(|comparison| self.scan.eat(comparison.sign()))
    }

    fn literal(&mut self) -> Result<Literal, Error> {
        if self.scan.peek() == Some('"') {
            return self.scan.quoted().map(Literal);
        }
        Ok(Literal(self.scan.word(None).to_owned()))
    }

    /// A text, prefix, regular expression or (of a field) range.
    fn plain_value(&mut self, field: Option<&str>) -> Result<Test, Error> {
        let at = self.scan.at;
        match self.scan.peek() {
            Some('/') => self.regex(),
            Some('"') => {
                let text = self.scan.quoted()?;
                if let Some(name) = field
                    && self.scan.eat("..")
                {
                    return self.range(name, Literal(text), at);
                }
                let prefix = self.scan.eat("*");
                self.end_of_value(at)?;
                Ok(if prefix {
                    Test::Prefix(text)
                } else {
                    Test::Text(text)
                })
            }
            _ => {
                let start = self.scan.clone();
                let word = self.scan.word(None);
                if let Some(name) = field
                    && let Some((from, to)) = word.split_once("..")
                    && !from.is_empty()
                    && (!to.is_empty() || self.scan.peek() == Some('"'))
                {
                    self.scan = start;
                    self.scan.at += from.len() + 2;
                    return self.range(name, Literal(from.to_owned()), at);
                }
                self.end_of_value(at)?;
                self.word_or_prefix(word, at)
            }
        }
    }

    fn word_or_prefix(&self, word: &str, at: usize) -> Result<Test, Error> {
        let (text, prefix) = match word.strip_suffix('*') {
            Some(text) => (text, true),
            None => (word, false),
        };
        if text.contains('*') || text.is_empty() {
            let parts: Vec<String> = word.split('*').map(regex::escape).collect();
            let source = parts.join(".*").replace('/', "\\/");
            let regex = format!(
                "/{}/",
                source.trim_start_matches(".*").trim_end_matches(".*")
            );
            let message = "`*` is known only at the end of a word; expected a regular expression";
            let error = self.scan.error(at, word.len(), message);
            return Err(error.with_fix(self.scan.text, &regex));
        }
        let text = text.to_owned();
        Ok(if prefix {
            Test::Prefix(text)
        } else {
            Test::Text(text)
        })
    }

    /// The rest of a range after its `..`.
    fn range(&mut self, name: &str, from: Literal, at: usize) -> Result<Test, Error> {
        let to_at = self.scan.at;
        let to = self.literal()?;
        self.end_of_value(at)?;
        self.check_literal(name, &from, at)?;
        self.check_literal(name, &to, to_at)?;
        let severity = Field::named(name).is_severity();
        let order = from
            .quantity(severity)
            .zip(to.quantity(severity))
            .and_then(|(from, to)| from.order(to));
        let len = self.scan.at - at;
        match order {
            None => {
                let message = "the two ends of a range must be of one kind";
                Err(self.scan.error(at, len, message))
            }
            Some(std::cmp::Ordering::Greater) => {
                let message = "a range goes from the smaller to the larger";
                let swapped = format!("{to}..{from}");
                Err(self
                    .scan
                    .error(at, len, message)
                    .with_fix(self.scan.text, &swapped))
            }
            Some(_) => Ok(Test::Range(from, to)),
        }
    }

    /// Refuses a literal that is no quantity; guesses at letters typed for digits.
    fn check_literal(&self, name: &str, literal: &Literal, at: usize) -> Result<(), Error> {
        let severity = Field::named(name).is_severity();
        if literal.quantity(severity).is_some() {
            return Ok(());
        }
        let text = &literal.0;
        let expected = if severity {
            "a level (trace, debug, info, warn, error, fatal)"
        } else {
            "a number, duration (500ms), size (10MB) or time (2026-11-20T10:00:00Z)"
        };
        if text.is_empty() {
            return Err(self.scan.error(at, 0, format!("expected {expected}")));
        }
        let len = self.scan.text[at..]
            .find(text.as_str())
            .map_or(0, |before| before + text.len());
        let message = format!("`{text}` is not a number; expected {expected}");
        let error = if severity {
            self.scan.error(
                at,
                len,
                format!("`{text}` is not a level; expected {expected}"),
            )
        } else {
            self.scan.error(at, len, message)
        };
        let digits = digits_meant(text);
        if !severity && Quantity::parse(&digits).is_some() {
            return Err(error.with_fix(self.scan.text, &digits));
        }
        Err(error)
    }

    fn regex(&mut self) -> Result<Test, Error> {
        let at = self.scan.at;
        let word = self.scan.clone().word(None);
        let quote = |error: Error| error.with_fix(self.scan.text, &format!("\"{word}\""));
        let mut scan = self.scan.clone();
        let source = scan.regex().filter(|_| scan.at_boundary());
        let Some(source) = source.filter(|source| !source.is_empty()) else {
            let message = "expected a regular expression between slashes; a text that starts with `/` needs quotes";
            return Err(quote(self.scan.error(at, word.len(), message)));
        };
        let len = scan.at - at;
        compile_regex(&source).map_err(|reason| self.scan.error(at, len, reason))?;
        self.scan = scan;
        Ok(Test::Regex(source))
    }

    /// After a value there must be space, a parenthesis, a comma or the end.
    fn end_of_value(&self, at: usize) -> Result<(), Error> {
        let glued = match self.scan.peek() {
            Some('"') => true,
            Some('(') | None => false,
            _ => !self.scan.at_boundary(),
        };
        if !glued {
            return Ok(());
        }
        let len = self.scan.at - at;
        let message = "expected a space after this value";
        Err(self.scan.error(at, len, message).with_fix(
            self.scan.text,
            &format!("{} ", &self.scan.text[at..self.scan.at]),
        ))
    }

    /// A pasted LogQL or TraceQL selector: says what it would be here.
    fn foreign_selector(&self, at: usize) -> Error {
        let rest = self.scan.rest();
        let message = "selectors in braces are not of this language; expected field:value";
        let Some((inside, after)) = rest[1..].split_once('}') else {
            return self.scan.error(at, 1, message);
        };
        let converted: Option<Vec<String>> = inside
            .split([',', '&'])
            .filter(|s| !s.is_empty())
            .map(selector)
            .collect();
        let error = self.scan.error(at, rest.len() - after.len(), message);
        match converted {
            Some(parts) if !parts.is_empty() => error.with_fix(self.scan.text, &parts.join(" ")),
            _ => error,
        }
    }
}

/// One matcher of a LogQL or TraceQL selector in our words.
fn selector(matcher: &str) -> Option<String> {
    let (name, rest) = matcher.split_at(matcher.find(['=', '!', '<', '>'])?);
    let name = name.trim();
    let name = name
        .strip_prefix("resource.")
        .or_else(|| name.strip_prefix("span."))
        .or_else(|| name.strip_prefix('.'))
        .unwrap_or(name);
    let name = match name {
        "service.name" | "service_name" => "service",
        other => other,
    };
    let sign_len = rest.find(|c: char| !"=!<>~".contains(c))?;
    let (sign, value) = (&rest[..sign_len], rest[sign_len..].trim());
    let pattern = format!("/{}/", value.trim_matches(['"', '`']).replace('/', "\\/"));
    Some(match sign {
        "=" | "==" => format!("{name}:{value}"),
        "!=" => format!("-{name}:{value}"),
        "=~" => format!("{name}:{pattern}"),
        "!~" => format!("-{name}:{pattern}"),
        ">" | ">=" | "<" | "<=" => format!("{name}:{sign}{value}"),
        _ => return None,
    })
}

impl Scanner<'_> {
    /// Whether space or the end comes next: a comma there separates nothing.
    fn before_space_or_end(&self) -> bool {
        self.peek().is_none_or(|c| c.is_whitespace() || c == ')')
    }
}

fn one_or_any(mut tests: Vec<Test>) -> Test {
    if tests.len() == 1 {
        tests.remove(0)
    } else {
        Test::AnyOf(tests)
    }
}

/// `2oo` for 200, `l0ms` for 10ms: letters that look like digits.
fn digits_meant(text: &str) -> String {
    let unit_at = text
        .char_indices()
        .rev()
        .take_while(|(_, c)| c.is_ascii_alphabetic() && !matches!(c, 'o' | 'O' | 'l' | 'I'))
        .last()
        .map_or(text.len(), |(at, _)| at);
    let (number, unit) = text.split_at(unit_at);
    let digit = |c| match c {
        'o' | 'O' => '0',
        'l' | 'I' => '1',
        c => c,
    };
    number.chars().map(digit).chain(unit.chars()).collect()
}

/// Compiles a regular expression within [`REGEX_BYTES_MAX`]; the error is one line.
pub(crate) fn compile_regex(source: &str) -> Result<regex::Regex, String> {
    regex::RegexBuilder::new(source)
        .size_limit(REGEX_BYTES_MAX)
        .nest_limit(DEPTH_MAX as u32)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            let reason = last.trim().trim_start_matches("error: ");
            format!("not a regular expression: {reason}")
        })
}
