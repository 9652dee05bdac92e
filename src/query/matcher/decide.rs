//! What a compiled query says of many log records at once, by what their kind has in common: yes, no,
//! or that each has to be looked at. Never a guess: a wrong yes or no is a wrong answer.

use super::check::Check;
use super::{BuiltIn, Found, Node, Target};
use crate::model::{ValueRef, record};
use crate::query::lang::Place;
use crate::store::{BodyKind, LogKind, Template};

impl Node {
    /// Whether all records of a kind match (or none); `None`: it depends on the record.
    pub(super) fn decide(&self, kind: &LogKind<'_>) -> Option<bool> {
        match self {
            Node::All => Some(true),
            Node::And(parts) => all(parts, kind, false),
            Node::Or(parts) => all(parts, kind, true),
            Node::Not(inner) => inner.decide(kind).map(|matches| !matches),
            Node::AnyText(check) => match kind.body {
                BodyKind::Empty => Some(false),
                BodyKind::Text(template) => check.decide_text(template),
                BodyKind::Open => None,
            },
            Node::Field(target, check) => target
                .of_kind(kind)
                .map(|found| found.is_some_and(|found| check.passes(found))),
        }
    }
}

/// `stop` if one part is `stop`, its opposite if all parts are that.
fn all(parts: &[Node], kind: &LogKind<'_>, stop: bool) -> Option<bool> {
    let mut known = true;
    for part in parts {
        match part.decide(kind) {
            Some(decided) if decided == stop => return Some(stop),
            Some(_) => {}
            None => known = false,
        }
    }
    known.then_some(!stop)
}

impl Target {
    /// What all records of a kind have for this field, as `Record::find` gives it for one; `None` when
    /// they may differ.
    fn of_kind<'k>(&self, kind: &LogKind<'k>) -> Option<Option<Found<'k>>> {
        if self.place != Place::Any {
            return None;
        }
        match self.built_in? {
            BuiltIn::Service => Some(Some(Found::Value(ValueRef::Str(kind.service)))),
            BuiltIn::Severity => {
                // Without one it is looked for in attributes and body.
                let text = kind.severity_text;
                let set = kind.severity.0 != 0 || !text.is_empty();
                let severity = record::severity_of(kind.severity, text);
                set.then_some(Some(Found::Severity(severity, text)))
            }
            BuiltIn::Name => {
                let name = ValueRef::Str(kind.event_name);
                (!kind.event_name.is_empty()).then_some(Some(Found::Value(name)))
            }
            BuiltIn::Body
            | BuiltIn::Trace
            | BuiltIn::Span
            | BuiltIn::Kind
            | BuiltIn::Status
            | BuiltIn::Duration
            | BuiltIn::Root => None,
        }
    }
}

impl Check {
    /// Whether texts of a template pass, whatever their variables are.
    fn decide_text(&self, template: Template<'_>) -> Option<bool> {
        match self {
            Check::Tokens(tokens) => {
                if tokens.found_in_template(template) {
                    return Some(true);
                }
                tokens.lie_in_literals(template).then_some(false)
            }
            Check::AnyOf(checks) => {
                let mut known = true;
                for check in checks {
                    match check.decide_text(template) {
                        Some(true) => return Some(true),
                        Some(false) => {}
                        None => known = false,
                    }
                }
                known.then_some(false)
            }
            Check::Regex(_) | Check::Equal(_) | Check::Prefix(_) | Check::Exists
                if !template.has_variables() =>
            {
                Some(self.passes_text(template.text()))
            }
            Check::Exists => Some(true),
            Check::Regex(_)
            | Check::Equal(_)
            | Check::Prefix(_)
            | Check::Compare(..)
            | Check::Range(..) => None,
        }
    }
}
