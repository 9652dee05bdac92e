//! The query language of logs and spans (design.md section 2): text to [`Expr`] and back.
//!
//! ```text
//! query = or ;  or = and { "OR" and } ;  and = not { ["AND"] not } ;  not = [ "-" | "NOT" ] term ;
//! term  = "(" query ")" | field ":" value | value ;
//! value = word | "phrase" | prefix* | /regex/ | comparison (> >= < <=) literal
//!       | literal ".." literal | value "," value | "*"
//! ```
//! Pure: no clock, no data. Parsing what is printed gives the same [`Expr`] (tests hold it).

mod literal;
mod parse;
mod print;
mod scan;
#[cfg(test)]
mod tests;

pub(crate) use crate::model::token::is_token_char;
pub(crate) use literal::{Number, Quantity, time};
pub(crate) use parse::{compile_regex, parse};

/// Longest query text. Far above what people write; bounds parsing and the error messages.
pub(crate) const QUERY_BYTES_MAX: usize = 16 << 10;

/// Deepest nesting of parentheses: every walk over an [`Expr`] may recurse this far.
pub(crate) const DEPTH_MAX: usize = 48;

/// Most conditions of one query: each is a test per record.
pub(crate) const TERMS_MAX: usize = 256;

/// Compiled size of one regular expression in bytes; a few times the largest sensible one.
pub(crate) const REGEX_BYTES_MAX: usize = 1 << 20;

/// A query. [`Expr::All`] is the empty one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    /// Everything: an empty query, or `*` without a field.
    All,
    /// At least two; never directly nested.
    And(Vec<Expr>),
    /// At least two; never directly nested.
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Term(Term),
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Term {
    /// `None`: text anywhere (body; for spans name, status message, events, string attributes).
    pub(crate) field: Option<Field>,
    pub(crate) test: Test,
}

/// A field by name and where to look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) place: Place,
    /// Without the forcing prefix: `attr.x` is `x` in [`Place::Attr`].
    pub(crate) name: String,
}

/// Where a field is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Built-in, then record or span attribute, scope attribute, resource attribute, body key.
    Any,
    Attr,
    Scope,
    Resource,
    Body,
}

/// What is asked of a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    /// A word or phrase: the whole value with a field, tokens in a row without.
    Text(String),
    Prefix(String),
    /// Source of an unanchored, case-sensitive regular expression.
    Regex(String),
    Compare(Comparison, Literal),
    /// Both ends included.
    Range(Literal, Literal),
    /// At least two, none of them `AnyOf`.
    AnyOf(Vec<Test>),
    Exists,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// A number, duration, size, time or level as it was written; the unit decides what it compares
/// with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Literal(pub(crate) String);

/// Why a text is not a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Error {
    /// Byte offset of the offending part.
    pub(crate) position: usize,
    /// Its length in bytes, at least 0 (0: something is missing there).
    pub(crate) length: usize,
    /// `position` as a column for people, counted in characters from 1.
    pub(crate) column: usize,
    /// What is wrong and what was expected, lower case: ``expected a value after `level:` ``.
    pub(crate) message: String,
    /// The whole query with the fix in it, where one can be guessed.
    pub(crate) hint: Option<String>,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for Error {}

impl Expr {
    /// All of them, in canonical form: nested ones are flattened, one alone is itself.
    pub(crate) fn and(parts: Vec<Expr>) -> Expr {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Expr::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => Expr::All,
            1 => flat.remove(0),
            _ => Expr::And(flat),
        }
    }

    /// Any of them, in canonical form; nothing at all is [`Expr::All`].
    pub(crate) fn or(parts: Vec<Expr>) -> Expr {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Expr::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => Expr::All,
            1 => flat.remove(0),
            _ => Expr::Or(flat),
        }
    }
}

impl Field {
    /// Reads a name with its forcing prefix (`attr.`, `scope.`, `resource.`, `body.`).
    pub(crate) fn named(text: &str) -> Field {
        let forced = Place::FORCED.iter().find_map(|(prefix, place)| {
            let name = text.strip_prefix(prefix)?;
            (!name.is_empty()).then_some((*place, name))
        });
        let (place, name) = forced.unwrap_or((Place::Any, text));
        Field {
            place,
            name: name.to_owned(),
        }
    }

    /// Whether this is the built-in severity, which compares by its order.
    pub(crate) fn is_severity(&self) -> bool {
        self.place == Place::Any && matches!(self.name.as_str(), "severity" | "level")
    }
}

impl Place {
    pub(crate) const FORCED: [(&'static str, Place); 4] = [
        ("attr.", Place::Attr),
        ("scope.", Place::Scope),
        ("resource.", Place::Resource),
        ("body.", Place::Body),
    ];
}
