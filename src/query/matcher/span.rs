//! How a span answers.

use super::check::Check;
use super::pattern::PatternCheck;
use super::{BuiltIn, Found, Record, Target, attribute};
use crate::model::{Attr, EventView, SpanView, ValueRef};
use crate::query::QueryError;
use crate::query::lang::{Expr, Place, Quantity, Term, Test};
use crate::store::SpanColumns;

/// `SpanKind` by its number, as people write it.
pub(crate) const KINDS: [&str; 6] = [
    "unspecified",
    "internal",
    "server",
    "client",
    "producer",
    "consumer",
];

/// `StatusCode` by its number.
pub(crate) const STATUSES: [&str; 3] = ["unset", "ok", "error"];

impl Record for SpanView<'_> {
    fn find(&self, target: &Target) -> Option<Found<'_>> {
        if let Some(found) = target.built_in.and_then(|field| built_in(self, field)) {
            return Some(found);
        }
        attribute(target, self.attributes, self.scope, self.resource).map(Found::Value)
    }

    /// Spans have none: `pattern:` is an attribute of theirs.
    fn has_pattern(&self, _: &PatternCheck) -> bool {
        false
    }

    fn any_text(&self, check: &Check) -> bool {
        check.passes_text(self.name)
            || (!self.status_message.is_empty() && check.passes_text(self.status_message))
            || any_string(self.attributes, check)
            || self.events.iter().any(|event| {
                EventView::parse(event).is_ok_and(|event| {
                    check.passes_text(event.name) || any_string(&event.attributes, check)
                })
            })
    }
}

fn any_string(attributes: &[Attr<'_>], check: &Check) -> bool {
    let passes = |attr: &Attr<'_>| {
        attr.value
            .as_str()
            .is_some_and(|text| check.passes_text(text))
    };
    attributes.iter().any(passes)
}

fn built_in<'a>(span: &'a SpanView<'_>, field: BuiltIn) -> Option<Found<'a>> {
    let word = |words: &'static [&'static str], number: i32| {
        let word = usize::try_from(number).ok().and_then(|n| words.get(n));
        Found::Word(word.copied().unwrap_or("unknown"))
    };
    Some(match field {
        BuiltIn::Service => Found::Value(ValueRef::Str(span.resource.service())),
        BuiltIn::Trace => Found::Id(&span.trace_id.0),
        BuiltIn::Span => Found::Id(&span.span_id.0),
        BuiltIn::Name => Found::Value(ValueRef::Str(span.name)),
        BuiltIn::Kind => word(&KINDS, span.kind),
        BuiltIn::Status => word(&STATUSES, span.status_code),
        BuiltIn::Duration => Found::Duration(span.duration_ns()),
        BuiltIn::Root => Found::Value(ValueRef::Bool(span.parent.is_none())),
        // Of log records only: here they are names of attributes.
        BuiltIn::Severity | BuiltIn::Body => return None,
    })
}

/// The columns that finding a target (`None`: text) looks at.
pub(super) fn columns(target: Option<&Target>) -> SpanColumns {
    let Some(target) = target else {
        return SpanColumns::ATTRIBUTES
            .with(SpanColumns::EVENTS)
            .with(SpanColumns::TEXT);
    };
    match (target.place, target.built_in) {
        (Place::Scope | Place::Resource | Place::Body, _) => SpanColumns::NONE,
        (Place::Any, Some(field)) => match field {
            BuiltIn::Service | BuiltIn::Trace | BuiltIn::Name | BuiltIn::Kind | BuiltIn::Status => {
                SpanColumns::NONE
            }
            BuiltIn::Span | BuiltIn::Root => SpanColumns::IDS,
            BuiltIn::Duration => SpanColumns::DURATION,
            BuiltIn::Severity | BuiltIn::Body => SpanColumns::ATTRIBUTES,
        },
        (Place::Any, None) | (Place::Attr, _) => SpanColumns::ATTRIBUTES,
    }
}

/// Whether a target (`None`: text) is the same for all spans of one name, kind, status, set of keys,
/// scope and resource.
pub(super) fn is_of_kind(target: Option<&Target>) -> bool {
    target.is_some_and(|target| match (target.place, target.built_in) {
        (Place::Scope | Place::Resource | Place::Body, _) => true,
        (Place::Any, Some(field)) => matches!(
            field,
            BuiltIn::Service | BuiltIn::Name | BuiltIn::Kind | BuiltIn::Status
        ),
        (Place::Any, None) | (Place::Attr, _) => false,
    })
}

/// Refuses `duration:>500`: nobody knows the unit, and nothing would match.
pub(super) fn check_durations(expr: &Expr) -> Result<(), QueryError> {
    match expr {
        Expr::All => Ok(()),
        Expr::And(parts) | Expr::Or(parts) => parts.iter().try_for_each(check_durations),
        Expr::Not(inner) => check_durations(inner),
        Expr::Term(Term {
            field: Some(field),
            test,
        }) if field.place == Place::Any && field.name == "duration" => check_duration(test),
        Expr::Term(_) => Ok(()),
    }
}

fn check_duration(test: &Test) -> Result<(), QueryError> {
    let literal = match test {
        Test::Compare(_, literal) | Test::Range(literal, _) => literal,
        Test::AnyOf(tests) => return tests.iter().try_for_each(check_duration),
        Test::Text(_) | Test::Prefix(_) | Test::Regex(_) | Test::Exists => return Ok(()),
    };
    match literal.quantity(false) {
        Some(Quantity::Duration(_)) => Ok(()),
        _ => Err(QueryError::Invalid(format!(
            "the duration of a span compares with a duration; write a unit, such as duration:>{}ms",
            literal.0
        ))),
    }
}
