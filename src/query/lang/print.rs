//! Prints queries so that they parse back to the same [`Expr`].

use std::fmt::{self, Display, Formatter, Write};

use super::parse::{is_bare_field, is_bare_value};
use super::{Comparison, Expr, Field, Literal, Place, Term, Test};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::All => f.write_char('*'),
            Expr::And(parts) => separated(f, parts, " ", |part| matches!(part, Expr::Or(_))),
            Expr::Or(parts) => separated(f, parts, " OR ", |_| false),
            Expr::Not(inner) => {
                f.write_char('-')?;
                let compound = matches!(**inner, Expr::And(_) | Expr::Or(_) | Expr::Not(_));
                wrapped(f, inner, compound)
            }
            Expr::Term(term) => term.fmt(f),
        }
    }
}

fn separated(
    f: &mut Formatter<'_>,
    parts: &[Expr],
    separator: &str,
    wrap: impl Fn(&Expr) -> bool,
) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        wrapped(f, part, wrap(part))?;
    }
    Ok(())
}

fn wrapped(f: &mut Formatter<'_>, expr: &Expr, wrap: bool) -> fmt::Result {
    if wrap {
        write!(f, "({expr})")
    } else {
        expr.fmt(f)
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(field) = &self.field {
            write!(f, "{field}:")?;
        }
        test(f, &self.test, self.field.is_some())
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let prefix = Place::FORCED
            .iter()
            .find(|(_, place)| *place == self.place)
            .map_or("", |(prefix, _)| prefix);
        let whole = format!("{prefix}{}", self.name);
        if is_bare_field(&whole) {
            f.write_str(&whole)
        } else {
            quoted(f, &whole)
        }
    }
}

fn test(f: &mut Formatter<'_>, value: &Test, of_field: bool) -> fmt::Result {
    match value {
        Test::Text(text) => text_value(f, text, of_field),
        Test::Prefix(text) => {
            text_value(f, text, of_field)?;
            f.write_char('*')
        }
        Test::Regex(source) => regex(f, source),
        Test::Compare(comparison, literal) => write!(f, "{}{literal}", comparison.sign()),
        Test::Range(from, to) => write!(f, "{from}..{to}"),
        Test::AnyOf(tests) => {
            for (i, one) in tests.iter().enumerate() {
                if i > 0 {
                    f.write_char(',')?;
                }
                test(f, one, of_field)?;
            }
            Ok(())
        }
        Test::Exists => f.write_char('*'),
    }
}

fn text_value(f: &mut Formatter<'_>, text: &str, of_field: bool) -> fmt::Result {
    if is_bare_value(text, of_field) {
        f.write_str(text)
    } else {
        quoted(f, text)
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // A literal with a space (a time) or two points needs quotes; all others are bare words.
        if self.0.contains(char::is_whitespace) || self.0.contains("..") {
            quoted(f, &self.0)
        } else {
            f.write_str(&self.0)
        }
    }
}

fn quoted(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

fn regex(f: &mut Formatter<'_>, source: &str) -> fmt::Result {
    f.write_char('/')?;
    let mut escaped = false;
    for c in source.chars() {
        // A slash after a backslash cannot be in a parsed source: `\/` was resolved.
        if c == '/' && !escaped {
            f.write_char('\\')?;
        }
        escaped = c == '\\' && !escaped;
        f.write_char(c)?;
    }
    f.write_char('/')
}

impl Comparison {
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
        }
    }
}
