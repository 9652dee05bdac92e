//! Durations of ranges, steps and offsets: numbers, durations, and arithmetic over both.

use super::ast::{Arithmetic, BinaryOp, Duration};
use super::lex;
use super::parse::{NESTING_MAX, Parsed, Parser, strength};

/// Seconds that fit into Prometheus' durations (nanoseconds in an `i64`).
const SECONDS_MAX: f64 = 9_223_372_036.854_776;

/// What is read and what would fit, for errors.
type Context = (&'static str, &'static str);

impl Parser<'_> {
    /// Without parentheses an offset is one number with its sign: `a offset -2^2` is `(a offset -2)^2`.
    pub(super) fn offset_value(&mut self) -> Parsed<Arithmetic> {
        let context = ("offset", "number or duration");
        let minus = match self.peek().kind {
            lex::Kind::Op(BinaryOp::Sub) => true,
            lex::Kind::Op(BinaryOp::Add) => false,
            lex::Kind::Number | lex::Kind::Duration => return self.arithmetic_operand(context),
            _ if self.is_step() => return self.arithmetic_operand(context),
            _ => return self.arithmetic(0, context),
        };
        if matches!(self.after(), Some(lex::Kind::Op(_))) {
            return self.arithmetic(0, context);
        }
        let sign = self.take().at;
        let value = self.arithmetic_operand(context)?;
        self.negated(minus, value, sign)
    }

    /// A duration that has to be above zero, when that can be told already.
    pub(super) fn positive(&mut self, context: Context) -> Parsed<Duration> {
        let at = self.peek().at;
        let value = self.arithmetic(0, context)?;
        match value {
            Arithmetic::Seconds(seconds) if seconds <= 0.0 => {
                self.error(at, "duration must be greater than 0")
            }
            value => Ok(self.duration(value)),
        }
    }

    pub(super) fn duration(&self, value: Arithmetic) -> Duration {
        match value {
            Arithmetic::Seconds(seconds) => Duration::Millis((seconds * 1000.0).round() as i64),
            value => Duration::Arithmetic(Box::new(value)),
        }
    }

    fn arithmetic(&mut self, min: u8, context: Context) -> Parsed<Arithmetic> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            let message = format!("the query is nested more than {NESTING_MAX} deep");
            return self.error(self.peek().at, message);
        }
        let mut left = self.arithmetic_operand(context)?;
        let mut operations = 0;
        while let lex::Kind::Op(op) = self.peek().kind
            && is_arithmetic(op)
            && strength(op) >= min
        {
            operations += 1;
            let at = self.take().at;
            let right_min = strength(op) + u8::from(op != BinaryOp::Pow);
            let right = self.arithmetic(right_min, context)?;
            match (op, &right) {
                (BinaryOp::Div, Arithmetic::Seconds(0.0)) => {
                    return self.error(at, "division by zero");
                }
                (BinaryOp::Mod, Arithmetic::Seconds(0.0)) => {
                    return self.error(at, "modulo by zero");
                }
                _ if operations > NESTING_MAX => {
                    let message = format!("a duration has more than {NESTING_MAX} operations");
                    return self.error(at, message);
                }
                _ => {}
            }
            left = Arithmetic::Binary(op, Box::new(left), Box::new(right));
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn arithmetic_operand(&mut self, context: Context) -> Parsed<Arithmetic> {
        let at = self.peek().at;
        match self.peek().kind {
            lex::Kind::Number | lex::Kind::Duration => {
                let seconds = self.seconds()?;
                self.in_range(seconds, at)
            }
            lex::Kind::Op(sign @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.take();
                let value = self.arithmetic(strength(BinaryOp::Pow), context)?;
                self.negated(sign == BinaryOp::Sub, value, at)
            }
            lex::Kind::LeftParen => {
                self.take();
                let inner = self.arithmetic(0, context)?;
                if !self.takes(&lex::Kind::RightParen) {
                    return self.unexpected(context.0, context.1);
                }
                Ok(match inner {
                    Arithmetic::Seconds(seconds) => Arithmetic::Seconds(seconds),
                    inner => Arithmetic::Paren(Box::new(inner)),
                })
            }
            _ if self.is_step() => {
                for _ in 0..3 {
                    self.take();
                }
                Ok(Arithmetic::Step)
            }
            _ => self.unexpected(context.0, context.1),
        }
    }

    fn negated(&self, minus: bool, value: Arithmetic, at: usize) -> Parsed<Arithmetic> {
        match value {
            value if !minus => Ok(value),
            Arithmetic::Seconds(seconds) => self.in_range(-seconds, at),
            value => Ok(Arithmetic::Negate(Box::new(value))),
        }
    }

    fn in_range(&self, seconds: f64, at: usize) -> Parsed<Arithmetic> {
        match seconds.abs() <= SECONDS_MAX {
            true => Ok(Arithmetic::Seconds(seconds)),
            false => self.error(at, "duration out of range"),
        }
    }

    /// Whether `step()` follows.
    fn is_step(&self) -> bool {
        let token = self.peek();
        token.kind == lex::Kind::Identifier
            && token.text.eq_ignore_ascii_case("step")
            && self.after() == Some(&lex::Kind::LeftParen)
            && matches!(self.tokens.get(self.next + 2), Some(t) if t.kind == lex::Kind::RightParen)
    }
}

fn is_arithmetic(op: BinaryOp) -> bool {
    use BinaryOp::{Add, Div, Mod, Mul, Pow, Sub};
    matches!(op, Add | Sub | Mul | Div | Mod | Pow)
}
