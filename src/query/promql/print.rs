//! An expression as Prometheus writes it: one line, canonical. What is printed parses back to the
//! same tree, but for the order of matchers, which is by text.

use std::fmt;

use crate::model::metric::{MatchOp, Matcher, NAME};

use super::ast::{
    Aggregate, Aggregation, Arithmetic, At, Binary, BinaryOp, Cardinality, Duration, Expr, Kind,
    Matching, Selector, Subquery, Type,
};

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Number(value) => f.write_str(&float(*value)),
            Kind::String(text) => f.write_str(&quote(text)),
            Kind::Paren(inner) => write!(f, "({inner})"),
            Kind::Negate(inner) => write!(f, "-{inner}"),
            Kind::Binary(binary) => binary.fmt(f),
            Kind::Aggregate(aggregate) => aggregate.fmt(f),
            Kind::Call(call) => {
                write!(f, "{}(", call.function.name())?;
                for (i, arg) in call.args.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{arg}")?;
                }
                f.write_str(")")
            }
            Kind::Vector(selector) => {
                bare(f, selector)?;
                modifiers(f, selector.at, selector.offset.as_ref())
            }
            Kind::Matrix(selector, range) => {
                bare(f, selector)?;
                write!(f, "[{range}]")?;
                modifiers(f, selector.at, selector.offset.as_ref())
            }
            Kind::Subquery(subquery) => subquery.fmt(f),
        }
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.left, self.op.name())?;
        if self.returns_bool {
            f.write_str(" bool")?;
        }
        if let Some(matching) = &self.matching {
            matching.fmt(f)?;
        }
        write!(f, " {}", self.right)
    }
}

/// With a space before it; nothing when it says nothing.
impl fmt::Display for Matching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grouping = match self.cardinality {
            Cardinality::ManyToOne => Some("group_left"),
            Cardinality::OneToMany => Some("group_right"),
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
        };
        if self.on || !self.labels.is_empty() || grouping.is_some() {
            let word = if self.on { "on" } else { "ignoring" };
            write!(f, " {word} ({})", names(&self.labels))?;
        }
        match grouping {
            Some(word) => write!(f, " {word} ({})", names(&self.include)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.name())?;
        match (self.without, self.labels.is_empty()) {
            (true, _) => write!(f, " without ({}) ", names(&self.labels))?,
            (false, false) => write!(f, " by ({}) ", names(&self.labels))?,
            (false, true) => {}
        }
        match &self.parameter {
            Some(parameter) => write!(f, "({parameter}, {})", self.expr),
            None => write!(f, "({})", self.expr),
        }
    }
}

impl fmt::Display for Subquery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}:", self.expr, self.range)?;
        if let Some(step) = &self.step {
            step.fmt(f)?;
        }
        f.write_str("]")?;
        modifiers(f, self.at, self.offset.as_ref())
    }
}

/// Negative ones with their sign.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Duration::Millis(millis) => f.write_str(&duration(*millis)),
            Duration::Arithmetic(expr) => expr.fmt(f),
        }
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arithmetic::Seconds(value) => f.write_str(&float(*value)),
            Arithmetic::Step => f.write_str("step()"),
            Arithmetic::Negate(inner) => write!(f, "-{inner}"),
            Arithmetic::Paren(inner) => write!(f, "({inner})"),
            Arithmetic::Binary(op, left, right) => write!(f, "{left} {} {right}", op.name()),
        }
    }
}

/// The selector without range, offset and `@`.
fn bare(f: &mut fmt::Formatter<'_>, selector: &Selector) -> fmt::Result {
    let metric = selector.metric.as_deref().unwrap_or("");
    f.write_str(metric)?;
    let named = |m: &&Matcher| {
        let is_name = m.name == NAME && m.op == MatchOp::Equal && m.value == metric;
        !is_name || metric.is_empty()
    };
    let mut shown: Vec<String> = selector
        .matchers
        .iter()
        .filter(named)
        .map(matcher)
        .collect();
    shown.sort();
    match (shown.is_empty(), metric.is_empty()) {
        (true, false) => Ok(()),
        _ => write!(f, "{{{}}}", shown.join(",")),
    }
}

fn modifiers(f: &mut fmt::Formatter<'_>, at: Option<At>, offset: Option<&Duration>) -> fmt::Result {
    match at {
        Some(At::Time(millis)) => {
            let sign = if millis < 0 { "-" } else { "" };
            let (seconds, rest) = (millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
            write!(f, " @ {sign}{seconds}.{rest:03}")?;
        }
        Some(At::Start) => f.write_str(" @ start()")?,
        Some(At::End) => f.write_str(" @ end()")?,
        None => {}
    }
    match offset {
        Some(offset) => write!(f, " offset {offset}"),
        None => Ok(()),
    }
}

fn matcher(matcher: &Matcher) -> String {
    let op = match matcher.op {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex => "=~",
        MatchOp::NotRegex => "!~",
    };
    format!("{}{op}{}", name(&matcher.name), quote(&matcher.value))
}

fn names(labels: &[String]) -> String {
    let names: Vec<String> = labels.iter().map(|label| name(label)).collect();
    names.join(", ")
}

/// A label's name, quoted unless it is an identifier.
fn name(label: &str) -> String {
    let fits = |b: u8| b == b'_' || b.is_ascii_alphanumeric();
    let first = label.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    match first && label.bytes().all(fits) {
        true => label.to_owned(),
        false => quote(label),
    }
}

/// A number as Go's `strconv.FormatFloat(v, 'f', -1, 64)` writes it: all its digits, no exponent.
pub(crate) fn float(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        v => v.to_string(),
    }
}

/// Units of durations, in ms; the first two only where nothing remains: `90d` says more than
/// `12w6d`.
const UNITS: &[(&str, u64, bool)] = &[
    ("y", 365 * 86_400_000, true),
    ("w", 7 * 86_400_000, true),
    ("d", 86_400_000, false),
    ("h", 3_600_000, false),
    ("m", 60_000, false),
    ("s", 1000, false),
    ("ms", 1, false),
];

/// Milliseconds as Prometheus writes durations: `1h30m`.
pub(crate) fn duration(millis: i64) -> String {
    let mut rest = millis.unsigned_abs();
    let mut text = if millis < 0 {
        "-".to_owned()
    } else {
        String::new()
    };
    if rest == 0 {
        return "0s".to_owned();
    }
    for (unit, size, exact) in UNITS {
        let count = rest / size;
        if count > 0 && (!*exact || rest.is_multiple_of(*size)) {
            text.push_str(&format!("{count}{unit}"));
            rest -= count * size;
        }
    }
    text
}

/// A string in double quotes with Go's escapes for what is not printable.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c if is_printable(c) => quoted.push(c),
            c if let Some(byte) = super::literal::foreign_byte(c) => {
                quoted.push_str(&format!("\\x{byte:02x}"));
            }
            c if (c as u32) < 0x1_0000 => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    quoted.push('"');
    quoted
}

/// Go's `unicode.IsPrint`, as far as it matters: no control, no space but ' ', no invisible sign, no
/// private use. U+FFFD is written as escape because the lexer refuses it in a string.
fn is_printable(c: char) -> bool {
    let hidden = matches!(c as u32,
        0xad | 0x600..=0x605 | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
        | 0xe000..=0xf8ff | 0xfeff | 0xfff9..=0xfffd | 0xe0000..=0x10ffff);
    c == ' ' || !(c.is_control() || c.is_whitespace() || hidden)
}

impl BinaryOp {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Greater => ">",
            BinaryOp::Less => "<",
            BinaryOp::GreaterOrEqual => ">=",
            BinaryOp::LessOrEqual => "<=",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
        }
    }

    pub(crate) const fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        matches!(
            self,
            Equal | NotEqual | Greater | Less | GreaterOrEqual | LessOrEqual
        )
    }

    pub(crate) const fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }
}

impl Aggregation {
    pub(crate) const ALL: &[Aggregation] = &[
        Aggregation::Sum,
        Aggregation::Avg,
        Aggregation::Count,
        Aggregation::Min,
        Aggregation::Max,
        Aggregation::Group,
        Aggregation::Stddev,
        Aggregation::Stdvar,
        Aggregation::Topk,
        Aggregation::Bottomk,
        Aggregation::CountValues,
        Aggregation::Quantile,
        Aggregation::Limitk,
        Aggregation::LimitRatio,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Aggregation::Sum => "sum",
            Aggregation::Avg => "avg",
            Aggregation::Count => "count",
            Aggregation::Min => "min",
            Aggregation::Max => "max",
            Aggregation::Group => "group",
            Aggregation::Stddev => "stddev",
            Aggregation::Stdvar => "stdvar",
            Aggregation::Topk => "topk",
            Aggregation::Bottomk => "bottomk",
            Aggregation::CountValues => "count_values",
            Aggregation::Quantile => "quantile",
            Aggregation::Limitk => "limitk",
            Aggregation::LimitRatio => "limit_ratio",
        }
    }

    /// Whether it takes a parameter before the vector.
    pub(crate) const fn has_parameter(self) -> bool {
        use Aggregation::{Bottomk, CountValues, LimitRatio, Limitk, Quantile, Topk};
        matches!(
            self,
            Topk | Bottomk | CountValues | Quantile | Limitk | LimitRatio
        )
    }
}

impl Type {
    /// As the HTTP API names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Type::Scalar => "scalar",
            Type::String => "string",
            Type::Vector => "vector",
            Type::Matrix => "matrix",
        }
    }

    /// As error texts name it.
    pub(crate) const fn documented(self) -> &'static str {
        match self {
            Type::Scalar => "scalar",
            Type::String => "string",
            Type::Vector => "instant vector",
            Type::Matrix => "range vector",
        }
    }
}
