//! PromQL text to its tree, as Prometheus 3.5 reads it with every experimental feature on: a Pratt
//! parser over the tokens of the lexer. Errors have Prometheus' texts and places.
//!
//! Bounded in bytes, in nesting and in the height of the tree, so that no walk over a tree that was
//! parsed here needs much stack.

use std::fmt;

use crate::model::metric::Matcher;

use super::ast::{
    Aggregate, Aggregation, Binary, BinaryOp, Call, Cardinality, Expr, Function, Kind, Matching,
    Place,
};
use super::check;
use super::lex::{self, Token, Word};
use super::literal;
use super::print::quote;

/// Bytes of a query; dashboards that list a few thousand hosts in one regular expression fit.
const TEXT_BYTES_MAX: usize = 256 << 10;

/// Brackets, calls and signs inside of each other: some frames of stack each.
pub(super) const NESTING_MAX: usize = 100;

/// Nodes from the root to the deepest leaf; a chain of operators is as high as it is long.
const HEIGHT_MAX: usize = 250;

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParseError {
    /// Byte of the text.
    pub(crate) at: usize,
    /// `line:column`, both from 1, columns in bytes; `unknown position` for an empty text.
    pub(crate) position: String,
    pub(crate) message: String,
}

impl ParseError {
    pub(super) fn new(text: &str, at: usize, message: impl Into<String>) -> ParseError {
        ParseError {
            at,
            position: position(text, at),
            message: message.into(),
        }
    }
}

/// As Prometheus writes it: `1:5: parse error: unexpected identifier "b"`.
impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: parse error: {}", self.position, self.message)
    }
}

/// `line:column` of a byte, as errors and annotations have it.
pub(crate) fn position(text: &str, at: usize) -> String {
    if text.is_empty() {
        return "unknown position".to_owned();
    }
    let before = &text.as_bytes()[..at.min(text.len())];
    let line = 1 + before.iter().filter(|b| **b == b'\n').count();
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    format!("{line}:{column}")
}

/// Parses and checks an expression.
///
/// # Errors
/// The text is no PromQL, its types do not fit, or it is over a bound of this module.
pub(crate) fn parse(text: &str) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(text)?;
    if parser.peek().kind == lex::Kind::End {
        return Err(ParseError::new(text, 0, "no expression found in input"));
    }
    let mut expr = parser.expr(0)?;
    parser.end()?;
    check::check(&mut expr, text)?;
    Ok(expr)
}

/// Parses a selector alone, as `match[]` parameters have it. An empty one is for the caller to refuse.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let mut parser = Parser::new(text)?;
    let selector = parser.vector()?;
    parser.end()?;
    match selector.kind {
        Kind::Vector(selector) => Ok(selector.matchers),
        _ => Err(ParseError::new(text, 0, "expected a selector")),
    }
}

pub(super) struct Parser<'t> {
    pub(super) text: &'t str,
    pub(super) tokens: Vec<Token<'t>>,
    pub(super) next: usize,
    pub(super) nesting: usize,
    /// Nodes from root to leaf of the expression that was parsed last.
    pub(super) height: usize,
    /// Aggregations whose arguments are being read: errors there say so.
    aggregations: usize,
}

pub(super) type Parsed<T> = Result<T, ParseError>;

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Parsed<Parser<'t>> {
        if text.len() > TEXT_BYTES_MAX {
            let message = format!("the query has more than {TEXT_BYTES_MAX} bytes");
            return Err(ParseError::new(text, 0, message));
        }
        Ok(Parser {
            text,
            tokens: lex::tokens(text),
            next: 0,
            nesting: 0,
            height: 0,
            aggregations: 0,
        })
    }

    pub(super) fn peek(&self) -> &Token<'t> {
        // The last token is the end, or an error: no rule takes it.
        &self.tokens[self.next]
    }

    pub(super) fn after(&self) -> Option<&lex::Kind> {
        self.tokens.get(self.next + 1).map(|token| &token.kind)
    }

    pub(super) fn take(&mut self) -> Token<'t> {
        let token = self.peek().clone();
        if self.next + 1 < self.tokens.len() {
            self.next += 1;
        }
        token
    }

    pub(super) fn takes(&mut self, kind: &lex::Kind) -> bool {
        let fits = self.peek().kind == *kind;
        if fits {
            self.take();
        }
        fits
    }

    fn takes_word(&mut self, word: Word) -> bool {
        self.takes(&lex::Kind::Word(word))
    }

    /// The end of the token that was taken last.
    pub(super) fn closing(&self) -> usize {
        self.tokens[self.next.saturating_sub(1)].end()
    }

    pub(super) fn error<T>(&self, at: usize, message: impl Into<String>) -> Parsed<T> {
        Err(ParseError::new(self.text, at, message))
    }

    /// The next token does not fit; `context` and `expected` may be empty.
    pub(super) fn unexpected<T>(&self, context: &str, expected: &str) -> Parsed<T> {
        let token = self.peek();
        if let lex::Kind::Bad(why) = &token.kind {
            return self.error(token.at, why.clone());
        }
        let mut message = format!("unexpected {}", token.describe());
        if !context.is_empty() {
            message.push_str(&format!(" in {context}"));
        }
        if !expected.is_empty() {
            message.push_str(&format!(", expected {expected}"));
        }
        self.error(token.at, message)
    }

    pub(super) fn unexpected_here<T>(&self) -> Parsed<T> {
        let inside = self.aggregations > 0;
        self.unexpected(if inside { "aggregation" } else { "" }, "")
    }

    fn expect(&mut self, kind: &lex::Kind) -> Parsed<()> {
        match self.takes(kind) {
            true => Ok(()),
            false => self.unexpected_here(),
        }
    }

    fn end(&mut self) -> Parsed<()> {
        match self.peek().kind {
            lex::Kind::End => Ok(()),
            _ => self.unexpected_here(),
        }
    }

    /// An expression whose operators bind at least as tight as `min`.
    pub(super) fn expr(&mut self, min: u8) -> Parsed<Expr> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            let message = format!("the query is nested more than {NESTING_MAX} deep");
            return self.error(self.peek().at, message);
        }
        let mut left = self.operand()?;
        while let lex::Kind::Op(op) = self.peek().kind
            && strength(op) >= min
        {
            let height = self.height;
            self.take();
            let (returns_bool, matching) = self.binary_modifiers()?;
            let right_min = strength(op) + u8::from(op != BinaryOp::Pow);
            let right = self.expr(right_min)?;
            self.grow(height)?;
            left = Expr {
                place: left.place.start..right.place.end,
                kind: Kind::Binary(Box::new(Binary {
                    op,
                    left,
                    right,
                    returns_bool,
                    matching: Some(matching),
                })),
            };
        }
        self.nesting -= 1;
        Ok(left)
    }

    /// A node stands above the last expression and one of the other height.
    pub(super) fn grow(&mut self, other: usize) -> Parsed<()> {
        self.height = 1 + self.height.max(other);
        if self.height > HEIGHT_MAX {
            let message = format!("the query has more than {HEIGHT_MAX} operations in a row");
            return self.error(self.peek().at, message);
        }
        Ok(())
    }

    fn binary_modifiers(&mut self) -> Parsed<(bool, Matching)> {
        let returns_bool = self.takes_word(Word::Bool);
        let mut matching = Matching {
            cardinality: Cardinality::OneToOne,
            on: false,
            labels: Vec::new(),
            include: Vec::new(),
        };
        let on = self.takes_word(Word::On);
        if !on && !self.takes_word(Word::Ignoring) {
            return Ok((returns_bool, matching));
        }
        (matching.on, matching.labels) = (on, self.grouping()?);
        let left = self.takes_word(Word::GroupLeft);
        if left || self.takes_word(Word::GroupRight) {
            matching.cardinality = match left {
                true => Cardinality::ManyToOne,
                false => Cardinality::OneToMany,
            };
            if self.peek().kind == lex::Kind::LeftParen {
                matching.include = self.grouping()?;
            }
        }
        Ok((returns_bool, matching))
    }

    /// `(a, "b.c", by,)`.
    fn grouping(&mut self) -> Parsed<Vec<String>> {
        if !self.takes(&lex::Kind::LeftParen) {
            return self.unexpected("grouping opts", "\"(\"");
        }
        let mut labels = Vec::new();
        while !self.takes(&lex::Kind::RightParen) {
            labels.push(self.grouping_label()?);
            if !self.takes(&lex::Kind::Comma) && self.peek().kind != lex::Kind::RightParen {
                return self.unexpected("grouping opts", "\",\" or \")\"");
            }
        }
        Ok(labels)
    }

    fn grouping_label(&mut self) -> Parsed<String> {
        let token = self.peek().clone();
        let label = match &token.kind {
            lex::Kind::Identifier
            | lex::Kind::MetricIdentifier
            | lex::Kind::Aggregate(_)
            | lex::Kind::Word(_) => token.text.to_owned(),
            lex::Kind::Op(_) if token.text.starts_with(char::is_alphabetic) => {
                token.text.to_owned()
            }
            lex::Kind::String => self.unquoted(&token)?,
            _ => return self.unexpected("grouping opts", "label"),
        };
        if label.is_empty() || !literal::is_utf8(&label) {
            let label = quote(&label);
            return self.error(
                token.at,
                format!("invalid label name for grouping: {label}"),
            );
        }
        self.take();
        Ok(label)
    }

    /// What stands between operators, with its range, offset and `@`.
    fn operand(&mut self) -> Parsed<Expr> {
        if let lex::Kind::Op(sign @ (BinaryOp::Add | BinaryOp::Sub)) = self.peek().kind {
            return self.signed(sign);
        }
        let mut expr = self.primary()?;
        loop {
            expr = match self.peek().kind {
                lex::Kind::LeftBracket => self.bracket(expr)?,
                lex::Kind::Word(Word::Offset) => self.offset(expr)?,
                lex::Kind::At => self.at(expr)?,
                _ => return Ok(expr),
            };
        }
    }

    /// A sign binds like a product: `-a^b` is `-(a^b)`, `-a*b` is `(-a)*b`. It belongs to a number.
    fn signed(&mut self, sign: BinaryOp) -> Parsed<Expr> {
        let start = self.take().at;
        let inner = self.expr(strength(BinaryOp::Pow))?;
        let place = start..inner.place.end;
        let minus = sign == BinaryOp::Sub;
        let kind = match inner.kind {
            Kind::Number(value) => Kind::Number(if minus { -value } else { value }),
            _ if minus => {
                self.grow(0)?;
                Kind::Negate(Box::new(inner))
            }
            kind => {
                check::signed(&kind, self.text, &place)?;
                kind
            }
        };
        Ok(Expr { kind, place })
    }

    fn primary(&mut self) -> Parsed<Expr> {
        self.height = 1;
        let token = self.peek().clone();
        let place = token.at..token.end();
        let kind = match &token.kind {
            lex::Kind::Number | lex::Kind::Duration => Kind::Number(self.seconds()?),
            lex::Kind::String => {
                self.take();
                Kind::String(self.unquoted(&token)?)
            }
            lex::Kind::LeftParen => return self.parenthesis(),
            lex::Kind::Aggregate(op) if self.opens_aggregate() => return self.aggregate(*op),
            lex::Kind::Identifier if self.after() == Some(&lex::Kind::LeftParen) => {
                return self.call();
            }
            _ => return self.vector(),
        };
        Ok(Expr { kind, place })
    }

    /// A number, or a duration in seconds.
    pub(super) fn seconds(&mut self) -> Parsed<f64> {
        let token = self.take();
        let value = match token.kind {
            lex::Kind::Duration => literal::duration(token.text).map(|ms| ms as f64 / 1000.0),
            _ => literal::number(token.text),
        };
        value.or_else(|why| self.error(token.at, why))
    }

    pub(super) fn unquoted(&self, token: &Token<'_>) -> Parsed<String> {
        literal::unquote(token.text).or_else(|why| self.error(token.at, why))
    }

    fn parenthesis(&mut self) -> Parsed<Expr> {
        let start = self.take().at;
        let inner = self.expr(0)?;
        self.expect(&lex::Kind::RightParen)?;
        self.grow(0)?;
        Ok(Expr {
            kind: Kind::Paren(Box::new(inner)),
            place: start..self.closing(),
        })
    }

    fn opens_aggregate(&self) -> bool {
        matches!(
            self.after(),
            Some(lex::Kind::LeftParen | lex::Kind::Word(Word::By | Word::Without))
        )
    }

    fn aggregate(&mut self, op: Aggregation) -> Parsed<Expr> {
        let start = self.take().at;
        self.aggregations += 1;
        let before = self.aggregate_modifier()?;
        if self.peek().kind != lex::Kind::LeftParen {
            return self.unexpected_here();
        }
        let mut args = self.arguments()?;
        self.aggregations -= 1;
        let mut end = self.closing();
        let mut modifier = before;
        if modifier.is_none() {
            modifier = self.aggregate_modifier()?;
            end = end.max(self.closing());
        }
        let (without, labels) = modifier.unwrap_or_default();
        let wanted = 1 + usize::from(op.has_parameter());
        let (got, expr) = (args.len(), args.pop());
        let Some(expr) = expr else {
            return self.error(start, "no arguments for aggregate expression provided");
        };
        if got != wanted {
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {got}"
            );
            return self.error(start, message);
        }
        Ok(Expr {
            kind: Kind::Aggregate(Box::new(Aggregate {
                op,
                expr,
                parameter: args.pop(),
                without,
                labels,
            })),
            place: start..end,
        })
    }

    fn aggregate_modifier(&mut self) -> Parsed<Option<(bool, Vec<String>)>> {
        let without = self.takes_word(Word::Without);
        if !without && !self.takes_word(Word::By) {
            return Ok(None);
        }
        Ok(Some((without, self.grouping()?)))
    }

    fn call(&mut self) -> Parsed<Expr> {
        let name = self.take();
        let args = self.arguments()?;
        let Some(function) = Function::ALL.iter().find(|f| f.name() == name.text) else {
            let message = format!("unknown function with name {}", quote(name.text));
            return self.error(name.at, message);
        };
        Ok(Expr {
            kind: Kind::Call(Call {
                function: *function,
                args,
            }),
            place: name.at..self.closing(),
        })
    }

    /// `(a, b)`.
    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        self.take();
        let mut args = Vec::new();
        let mut height = 0;
        if self.takes(&lex::Kind::RightParen) {
            self.height = 1;
            return Ok(args);
        }
        loop {
            args.push(self.expr(0)?);
            height = height.max(self.height);
            let comma = self.peek().at;
            if !self.takes(&lex::Kind::Comma) {
                self.expect(&lex::Kind::RightParen)?;
                self.grow(height)?;
                return Ok(args);
            }
            if self.peek().kind == lex::Kind::RightParen {
                return self.error(comma, "trailing commas not allowed in function call args");
            }
        }
    }
}

/// How tight an operator binds; only `^` binds to the right.
pub(super) fn strength(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Greater
        | BinaryOp::Less
        | BinaryOp::GreaterOrEqual
        | BinaryOp::LessOrEqual => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
        BinaryOp::Pow => 6,
    }
}

/// Where an expression stands, for errors of the check.
pub(super) fn error_at<T>(text: &str, place: &Place, message: impl Into<String>) -> Parsed<T> {
    Err(ParseError::new(text, place.start, message))
}
