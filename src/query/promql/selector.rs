//! Selectors and what may follow an expression: range, subquery, offset, `@`.

use crate::model::metric::{MatchOp, Matcher, NAME};

use super::ast::{At, BinaryOp, Duration, Expr, Kind, Selector, Subquery};
use super::lex::{self, Word};
use super::parse::{Parsed, Parser};

impl Parser<'_> {
    /// A metric's name, matchers in braces, or both.
    pub(super) fn vector(&mut self) -> Parsed<Expr> {
        self.height = 1;
        let token = self.peek().clone();
        let is_name = match &token.kind {
            lex::Kind::Identifier | lex::Kind::MetricIdentifier | lex::Kind::Aggregate(_) => true,
            lex::Kind::Op(op) => op.is_set(),
            lex::Kind::Word(word) => matches!(
                word,
                Word::By | Word::Without | Word::Offset | Word::Start | Word::End
            ),
            _ => false,
        };
        let metric = is_name.then(|| token.text.to_owned());
        if is_name {
            self.take();
        }
        let mut matchers = Vec::new();
        match self.takes(&lex::Kind::LeftBrace) {
            true => matchers = self.matchers()?,
            false if metric.is_none() => return self.unexpected_here(),
            false => {}
        }
        if let Some(metric) = &metric {
            matchers.push(plain_matcher(metric));
        }
        Ok(Expr {
            kind: Kind::Vector(Selector {
                metric,
                matchers,
                offset: None,
                at: None,
            }),
            place: token.at..self.closing(),
        })
    }

    /// After `{`.
    fn matchers(&mut self) -> Parsed<Vec<Matcher>> {
        let mut matchers = Vec::new();
        while !self.takes(&lex::Kind::RightBrace) {
            matchers.push(self.matcher()?);
            if !self.takes(&lex::Kind::Comma) && self.peek().kind != lex::Kind::RightBrace {
                return self.unexpected("label matching", "\",\" or \"}\"");
            }
        }
        Ok(matchers)
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        let label = self.peek().clone();
        let quoted = label.kind == lex::Kind::String;
        if !quoted && label.kind != lex::Kind::Identifier {
            return self.unexpected("label matching", "identifier or \"}\"");
        }
        self.take();
        let name = match quoted {
            true => self.unquoted(&label)?,
            false => label.text.to_owned(),
        };
        let op = match self.peek().kind {
            lex::Kind::Assign => MatchOp::Equal,
            lex::Kind::Op(BinaryOp::NotEqual) => MatchOp::NotEqual,
            lex::Kind::MatchRegex => MatchOp::Regex,
            lex::Kind::MatchNotRegex => MatchOp::NotRegex,
            _ if quoted => return Ok(plain_matcher(&name)),
            _ => return self.unexpected("label matching", "label matching operator"),
        };
        self.take();
        let value = self.peek().clone();
        if value.kind != lex::Kind::String {
            return self.unexpected("label matching", "string");
        }
        self.take();
        let value = self.unquoted(&value)?;
        Matcher::new(&name, op, &value).or_else(|why| self.error(label.at, why.to_string()))
    }

    /// `[5m]`, `[1h:5m]`, `[1h:]` after an expression.
    pub(super) fn bracket(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.take().at;
        let range = self.positive(("subquery selector", "number or duration"))?;
        if self.takes(&lex::Kind::RightBracket) {
            return self.matrix(expr, range, open);
        }
        if !self.takes(&lex::Kind::Colon) {
            return self.unexpected("subquery or range", "\":\" or \"]\"");
        }
        let mut step = None;
        if !self.takes(&lex::Kind::RightBracket) {
            let expected = "number or duration or \"]\"";
            step = Some(self.positive(("subquery selector", expected))?);
            if !self.takes(&lex::Kind::RightBracket) {
                return self.unexpected("subquery selector", "\"]\"");
            }
        }
        self.grow(0)?;
        Ok(Expr {
            place: expr.place.start..self.closing(),
            kind: Kind::Subquery(Box::new(Subquery {
                expr,
                range,
                step,
                offset: None,
                at: None,
            })),
        })
    }

    fn matrix(&mut self, expr: Expr, range: Duration, open: usize) -> Parsed<Expr> {
        let place = expr.place.start..self.closing();
        match expr.kind {
            Kind::Vector(Selector {
                offset: Some(_), ..
            }) => self.error(open, "no offset modifiers allowed before range"),
            Kind::Vector(Selector {
                at: Some(At::Time(_)),
                ..
            }) => self.error(open, "no @ modifiers allowed before range"),
            Kind::Vector(selector) => Ok(Expr {
                kind: Kind::Matrix(selector, range),
                place,
            }),
            _ => self.error(open, "ranges only allowed for vector selectors"),
        }
    }

    pub(super) fn offset(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.take();
        let start = expr.place.start;
        let value = self.offset_value()?;
        let offset = match modified(&mut expr.kind) {
            Some((offset, _)) => offset,
            None => {
                let what = "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                return self.error(start, what);
            }
        };
        if offset.is_some() {
            return self.error(start, "offset may not be set multiple times");
        }
        // An offset of nothing is none.
        *offset = Some(self.duration(value)).filter(|d| *d != Duration::Millis(0));
        expr.place.end = self.closing();
        Ok(expr)
    }

    pub(super) fn at(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.take();
        let start = expr.place.start;
        let value = self.at_value(start)?;
        let at = match modified(&mut expr.kind) {
            Some((_, at)) => at,
            None => {
                let what = "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                return self.error(start, what);
            }
        };
        if at.is_some() {
            return self.error(start, "@ <timestamp> may not be set multiple times");
        }
        *at = Some(value);
        expr.place.end = self.closing();
        Ok(expr)
    }

    fn at_value(&mut self, start: usize) -> Parsed<At> {
        let named = match self.peek().kind {
            lex::Kind::Word(Word::Start) => Some(At::Start),
            lex::Kind::Word(Word::End) => Some(At::End),
            _ => None,
        };
        if let Some(named) = named {
            self.take();
            for kind in [lex::Kind::LeftParen, lex::Kind::RightParen] {
                if !self.takes(&kind) {
                    return self.unexpected("@", "timestamp");
                }
            }
            return Ok(named);
        }
        let minus = self.takes(&lex::Kind::Op(BinaryOp::Sub));
        if !minus {
            self.takes(&lex::Kind::Op(BinaryOp::Add));
        }
        if !matches!(self.peek().kind, lex::Kind::Number | lex::Kind::Duration) {
            return self.unexpected("@", "timestamp");
        }
        let seconds = self.seconds()? * if minus { -1.0 } else { 1.0 };
        // Milliseconds have to fit.
        if !seconds.is_finite() || seconds.abs() >= i64::MAX as f64 {
            let shown = match seconds.is_finite() {
                true => format!("{seconds:.6}"),
                false => super::print::float(seconds),
            };
            let what = format!("timestamp out of bounds for @ modifier: {shown}");
            return self.error(start, what);
        }
        Ok(At::Time((seconds * 1000.0).round() as i64))
    }
}

/// Offset and `@` of what may have them.
fn modified(kind: &mut Kind) -> Option<(&mut Option<Duration>, &mut Option<At>)> {
    match kind {
        Kind::Vector(selector) | Kind::Matrix(selector, _) => {
            Some((&mut selector.offset, &mut selector.at))
        }
        Kind::Subquery(subquery) => Some((&mut subquery.offset, &mut subquery.at)),
        _ => None,
    }
}

fn plain_matcher(metric: &str) -> Matcher {
    Matcher::new(NAME, MatchOp::Equal, metric).expect("only regular expressions can be bad")
}
