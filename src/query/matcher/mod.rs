//! Compiles an [`Expr`] against log records or spans and decides record by record.
//!
//! Everything that can be prepared is prepared once: needles are lower-cased, regular expressions
//! compiled, literals parsed. Deciding allocates nothing, except to print a number that a prefix
//! or a regular expression is held against.

mod check;
mod decide;
mod hints;
mod literal;
mod log;
mod pattern;
mod span;
#[cfg(test)]
mod tests;
mod text;

use super::QueryError;
use super::lang::{Expr, Place, Term, Test};
use crate::model::body::{BodyValue, Json};
use crate::model::{
    Attr, LogView, ResourceView, ScopeView, Severity, Signal, SpanView, ValueRef, record,
};
use crate::store::{
    LogColumns, LogKind, LogPrune, Sieve, Snapshot, SpanColumns, SpanPrune, TemplateId,
};

use check::Check;
use decide::Inside;
use hints::Hints;
use pattern::PatternCheck;
pub(crate) use span::{KINDS, STATUSES};

/// Deepest nesting of arrays and maps that is looked into; admission cuts deeper ones.
const VALUE_DEPTH_MAX: usize = 64;

/// A query ready to be asked of log records.
#[derive(Debug)]
pub(crate) struct LogMatcher {
    node: Node,
    pub(crate) prune: LogPrune,
    /// What [`LogMatcher::matches`] looks at.
    pub(crate) columns: LogColumns,
    /// No record can match: two conditions exclude each other.
    pub(crate) nothing: bool,
}

/// A query ready to be asked of spans.
#[derive(Debug)]
pub(crate) struct SpanMatcher {
    node: Node,
    pub(crate) prune: SpanPrune,
    /// What [`SpanMatcher::matches`] looks at.
    pub(crate) columns: SpanColumns,
    /// It looks at nothing but what spans of one kind have in common.
    pub(crate) by_kind: bool,
    /// No span can match: two conditions exclude each other.
    pub(crate) nothing: bool,
}

impl LogMatcher {
    /// # Errors
    /// A regular expression beyond its size.
    pub(crate) fn new(query: &Expr) -> Result<LogMatcher, QueryError> {
        let mut node = compile(query, Signal::Logs)?;
        let hints = Hints::of_logs(query);
        let mut columns = LogColumns::NONE;
        node.each_target(&mut |target| columns = columns.with(log::columns(target)));
        let (nothing, mut prune) = (hints.nothing(), hints.log_prune());
        node.ask_for(&mut prune.words);
        prune.templates = node.templates().to_vec();
        prune.need = node.need();
        Ok(LogMatcher {
            node,
            nothing,
            prune,
            columns,
        })
    }

    /// The same, with what is known of the patterns that it names.
    pub(crate) fn over(mut self, snapshot: &Snapshot) -> LogMatcher {
        let text_of = |id| snapshot.template(id);
        self.node.ask_for_patterns(&text_of, &mut self.prune.words);
        self
    }

    pub(crate) fn matches(&self, log: &LogView<'_>) -> bool {
        self.node.matches(log)
    }

    /// Whether all records of a kind match (or none); `None`: each has to be asked.
    pub(crate) fn decide(&self, kind: &LogKind<'_>) -> Option<bool> {
        self.node.decide(kind)
    }

    /// Whether every record matches.
    pub(crate) fn is_all(&self) -> bool {
        matches!(self.node, Node::All)
    }

    /// What tells of texts in parts whether they may match.
    pub(crate) fn sifter(&self) -> Sifter<'_> {
        Sifter(self.node.inside())
    }
}

/// Looks for what every matching text has, in its parts.
pub(crate) struct Sifter<'m>(Option<Inside<'m>>);

impl Sifter<'_> {
    /// Whether a part has it; of texts that are looked for in one piece nothing is said.
    pub(crate) fn is_in(&self, part: &str) -> bool {
        match &self.0 {
            Some(Inside::Tokens(tokens)) => tokens.iter().any(|token| token.found_in(part)),
            Some(Inside::Text(_)) | None => true,
        }
    }

    /// As the store takes it; `has` is [`Sifter::is_in`].
    pub(crate) fn sieve<'q>(&'q self, has: &'q dyn Fn(&str) -> bool) -> Option<Sieve<'q>> {
        Some(match self.0.as_ref()? {
            Inside::Text(text) => Sieve::Text(text),
            Inside::Tokens(tokens) => Sieve::Part {
                has,
                may_be_id: tokens.iter().any(|token| token.may_be_id()),
            },
        })
    }
}

impl SpanMatcher {
    /// # Errors
    /// A regular expression beyond its size; a comparison that the field does not know.
    pub(crate) fn new(query: &Expr) -> Result<SpanMatcher, QueryError> {
        span::check_durations(query)?;
        let node = compile(query, Signal::Traces)?;
        let hints = Hints::of_spans(query);
        let mut columns = SpanColumns::NONE;
        let mut by_kind = true;
        node.each_target(&mut |target| {
            columns = columns.with(span::columns(target));
            by_kind &= span::is_of_kind(target);
        });
        Ok(SpanMatcher {
            node,
            by_kind,
            nothing: hints.nothing(),
            prune: hints.span_prune(),
            columns,
        })
    }

    /// Whether every span matches.
    pub(crate) fn is_all(&self) -> bool {
        matches!(self.node, Node::All)
    }

    pub(crate) fn matches(&self, span: &SpanView<'_>) -> bool {
        self.node.matches(span)
    }
}

/// The value of a field, read from one record: what facets and histograms count by.
#[derive(Debug)]
pub(crate) struct FieldReader {
    target: Target,
}

impl FieldReader {
    pub(crate) fn new(name: &str) -> FieldReader {
        FieldReader {
            target: Target::new(&super::lang::Field::named(name)),
        }
    }

    pub(crate) fn log_columns(&self) -> LogColumns {
        log::columns(Some(&self.target))
    }

    pub(crate) fn span_columns(&self) -> SpanColumns {
        span::columns(Some(&self.target))
    }

    /// Calls `each` with the field's value as text, when the record has it as a scalar.
    pub(crate) fn log_text(&self, log: &LogView<'_>, each: &mut dyn FnMut(&str)) {
        if let Some(found) = log.find(&self.target) {
            check::with_text(found, each);
        }
    }

    /// As [`FieldReader::log_text`], of a span.
    pub(crate) fn span_text(&self, span: &SpanView<'_>, each: &mut dyn FnMut(&str)) {
        if let Some(found) = span.find(&self.target) {
            check::with_text(found, each);
        }
    }
}

/// The severity of a record that counts.
pub(crate) fn severity_of(log: &LogView<'_>) -> Severity {
    record::severity_of(log.severity, log.severity_text)
}

/// Whether a plain field name has a meaning of its own for a signal, so that an attribute of that
/// name needs its prefix.
pub(crate) fn is_built_in(name: &str, signal: Signal) -> bool {
    let Some(field) = BuiltIn::named(name) else {
        return name == pattern::NAME && signal == Signal::Logs;
    };
    match field {
        BuiltIn::Service | BuiltIn::Trace | BuiltIn::Span | BuiltIn::Name => true,
        BuiltIn::Severity | BuiltIn::Body => signal == Signal::Logs,
        BuiltIn::Kind | BuiltIn::Status | BuiltIn::Duration | BuiltIn::Root => {
            signal == Signal::Traces
        }
    }
}

/// A compiled query.
#[derive(Debug)]
enum Node {
    All,
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    /// Some text of the record passes.
    AnyText(Check),
    /// The field is there and passes.
    Field(Target, Check),
    /// The text of a log record has one of these patterns.
    Pattern(PatternCheck),
}

/// Where to look, by name and place; what it means for a record is the record's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    place: Place,
    built_in: Option<BuiltIn>,
    name: String,
}

/// Fields with a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BuiltIn {
    Severity,
    Service,
    Body,
    Trace,
    Span,
    Name,
    Kind,
    Status,
    Duration,
    Root,
}

impl Target {
    fn new(field: &super::lang::Field) -> Target {
        let built_in = (field.place == Place::Any).then(|| BuiltIn::named(&field.name));
        Target {
            place: field.place,
            built_in: built_in.flatten(),
            name: field.name.clone(),
        }
    }
}

impl BuiltIn {
    fn named(name: &str) -> Option<BuiltIn> {
        Some(match name {
            "severity" | "level" => BuiltIn::Severity,
            "service" => BuiltIn::Service,
            "body" => BuiltIn::Body,
            "trace" | "trace_id" => BuiltIn::Trace,
            "span" | "span_id" => BuiltIn::Span,
            "name" => BuiltIn::Name,
            "kind" => BuiltIn::Kind,
            "status" => BuiltIn::Status,
            "duration" => BuiltIn::Duration,
            "root" => BuiltIn::Root,
            _ => return None,
        })
    }
}

/// A field's value as a record has it.
#[derive(Clone, Copy, Debug)]
enum Found<'a> {
    Value(ValueRef<'a>),
    Json(Json<'a>),
    /// A level with its text as sent.
    Severity(Severity, &'a str),
    /// A trace or span id; compared in hexadecimal of either case.
    Id(&'a [u8]),
    /// A word of a closed set; compared without regard to case.
    Word(&'static str),
    /// Nanoseconds.
    Duration(u64),
}

impl<'a> From<BodyValue<'a>> for Found<'a> {
    fn from(value: BodyValue<'a>) -> Found<'a> {
        match value {
            BodyValue::Json(json) => Found::Json(json),
            BodyValue::Value(value) => Found::Value(value),
        }
    }
}

/// What queries ask of a record; log records and spans answer.
trait Record {
    /// The value of a field, in the lookup order of design.md section 2.
    fn find(&self, target: &Target) -> Option<Found<'_>>;
    /// Whether any text that is searched without a field passes.
    fn any_text(&self, check: &Check) -> bool;
    /// Whether it has a pattern that passes.
    fn has_pattern(&self, check: &PatternCheck) -> bool;
}

/// Attributes of the record, then of the scope, then of the resource, or of the one place forced.
fn attribute<'a>(
    target: &Target,
    own: &[Attr<'a>],
    scope: &ScopeView<'a>,
    resource: &ResourceView<'a>,
) -> Option<ValueRef<'a>> {
    let name = target.name.as_str();
    let of_scope = || record::find(&scope.attributes, name);
    match target.place {
        Place::Attr => record::find(own, name),
        Place::Scope => match name {
            "name" => Some(ValueRef::Str(scope.name)),
            "version" => Some(ValueRef::Str(scope.version)),
            _ => None,
        }
        .filter(|value| *value != ValueRef::Str(""))
        .or_else(of_scope),
        Place::Resource => record::find(&resource.attributes, name),
        Place::Any => record::find(own, name)
            .or_else(of_scope)
            .or_else(|| record::find(&resource.attributes, name)),
        Place::Body => None,
    }
}

impl Node {
    fn matches(&self, record: &impl Record) -> bool {
        match self {
            Node::All => true,
            Node::And(parts) => parts.iter().all(|part| part.matches(record)),
            Node::Or(parts) => parts.iter().any(|part| part.matches(record)),
            Node::Not(inner) => !inner.matches(record),
            Node::AnyText(check) => record.any_text(check),
            Node::Pattern(check) => record.has_pattern(check),
            Node::Field(target, check) => {
                record.find(target).is_some_and(|found| check.passes(found))
            }
        }
    }

    /// `None` stands for text without a field.
    fn each_target(&self, each: &mut dyn FnMut(Option<&Target>)) {
        match self {
            Node::All => {}
            Node::And(parts) | Node::Or(parts) => {
                parts.iter().for_each(|part| part.each_target(each));
            }
            Node::Not(inner) => inner.each_target(each),
            // It is made of the text.
            Node::AnyText(_) | Node::Pattern(_) => each(None),
            Node::Field(target, _) => each(Some(target)),
        }
    }
}

impl Node {
    /// Templates of which every match has one; empty: any.
    fn templates(&self) -> &[TemplateId] {
        match self {
            Node::Pattern(check) if check.printed.is_none() => &check.ids,
            Node::And(parts) => {
                let mut known = parts.iter().map(Node::templates);
                known.find(|ids| !ids.is_empty()).unwrap_or_default()
            }
            Node::All | Node::Or(_) | Node::Not(_) => &[],
            Node::Pattern(_) | Node::AnyText(_) | Node::Field(..) => &[],
        }
    }
}

/// Recursion is bounded by the parser's depth.
fn compile(expr: &Expr, signal: Signal) -> Result<Node, QueryError> {
    let all = |parts: &[Expr]| {
        let compiled = parts.iter().map(|part| compile(part, signal));
        compiled.collect::<Result<Vec<_>, _>>()
    };
    Ok(match expr {
        Expr::All => Node::All,
        Expr::And(parts) => {
            let mut parts = all(parts)?;
            // Cheap tests first: a text search is the dearest.
            parts.sort_by_key(Node::cost);
            Node::And(parts)
        }
        Expr::Or(parts) => Node::Or(all(parts)?),
        Expr::Not(inner) => Node::Not(Box::new(compile(inner, signal)?)),
        Expr::Term(Term { field: None, test }) => Node::AnyText(Check::text(test)?),
        Expr::Term(Term {
            field: Some(field),
            test,
        }) if signal == Signal::Logs
            && field.place == Place::Any
            && field.name == pattern::NAME =>
        {
            Node::Pattern(PatternCheck::new(field, test)?)
        }
        Expr::Term(Term {
            field: Some(field),
            test,
        }) => Node::Field(Target::new(field), Check::value(field, test)?),
    })
}

impl Node {
    fn cost(&self) -> u32 {
        match self {
            Node::All => 0,
            Node::Field(target, _) if target.built_in.is_some() => 1,
            Node::Field(..) => 2,
            Node::Not(inner) => inner.cost(),
            Node::And(parts) | Node::Or(parts) => parts.iter().map(Node::cost).max().unwrap_or(0),
            Node::AnyText(_) | Node::Pattern(_) => 3,
        }
    }
}

/// Whether a test is only of forms that name whole values, and which.
fn exact_values(test: &Test) -> Option<Vec<&str>> {
    match test {
        Test::Text(text) => Some(vec![text]),
        Test::AnyOf(tests) => tests
            .iter()
            .map(|test| match test {
                Test::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect(),
        Test::Prefix(_) | Test::Regex(_) | Test::Compare(..) | Test::Range(..) | Test::Exists => {
            None
        }
    }
}
