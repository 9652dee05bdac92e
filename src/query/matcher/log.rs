//! How a log record answers.

use super::check::{Check, any_text_inside};
use super::pattern::PatternCheck;
use super::{BuiltIn, Found, Record, Target, VALUE_DEPTH_MAX, attribute, severity_of};
use crate::model::{LogView, Severity, ValueRef, body};
use crate::query::lang::Place;
use crate::store::LogColumns;

impl Record for LogView<'_> {
    fn find(&self, target: &Target) -> Option<Found<'_>> {
        let built_in = target.built_in.and_then(|field| built_in(self, field));
        // Ids are only what the record says of itself, sent or lifted: blocks are skipped by them.
        let definite = matches!(target.built_in, Some(BuiltIn::Trace | BuiltIn::Span));
        if built_in.is_some() || definite {
            return built_in;
        }
        let value = attribute(target, self.attributes, self.scope, self.resource);
        match value {
            // Loggers that put their level into an attribute.
            Some(ValueRef::Str(text)) if target.built_in == Some(BuiltIn::Severity) => {
                let severity = Severity::from_text(text);
                Some(Found::Severity(severity.unwrap_or_default(), text))
            }
            Some(value) => Some(Found::Value(value)),
            None if matches!(target.place, Place::Any | Place::Body) => {
                body::lookup(self.body, &target.name).map(Found::from)
            }
            None => None,
        }
    }

    fn has_pattern(&self, check: &PatternCheck) -> bool {
        check.matches(self)
    }

    fn any_text(&self, check: &Check) -> bool {
        any_text_inside(self.body, check, VALUE_DEPTH_MAX)
    }
}

/// A built-in field, where the record has it.
fn built_in<'a>(log: &'a LogView<'_>, field: BuiltIn) -> Option<Found<'a>> {
    match field {
        BuiltIn::Severity => {
            let severity = severity_of(log);
            let set = severity.0 != 0 || !log.severity_text.is_empty();
            set.then_some(Found::Severity(severity, log.severity_text))
        }
        BuiltIn::Service => Some(Found::Value(ValueRef::Str(log.resource.service()))),
        BuiltIn::Body => (log.body != ValueRef::Empty).then_some(Found::Value(log.body)),
        BuiltIn::Trace => log.trace_id.as_ref().map(|id| Found::Id(&id.0)),
        BuiltIn::Span => log.span_id.as_ref().map(|id| Found::Id(&id.0)),
        BuiltIn::Name => {
            (!log.event_name.is_empty()).then_some(Found::Value(ValueRef::Str(log.event_name)))
        }
        // Of spans only: here they are names of attributes.
        BuiltIn::Kind | BuiltIn::Status | BuiltIn::Duration | BuiltIn::Root => None,
    }
}

/// The columns that finding a target (`None`: text) looks at.
pub(super) fn columns(target: Option<&Target>) -> LogColumns {
    let Some(target) = target else {
        return LogColumns::BODY;
    };
    let fallback = LogColumns::ATTRIBUTES.with(LogColumns::BODY);
    match (target.place, target.built_in) {
        (Place::Attr, _) => LogColumns::ATTRIBUTES,
        (Place::Scope | Place::Resource, _) => LogColumns::NONE,
        (Place::Body, _) => LogColumns::BODY,
        (Place::Any, Some(BuiltIn::Service)) => LogColumns::NONE,
        (Place::Any, Some(BuiltIn::Trace | BuiltIn::Span)) => LogColumns::IDS,
        (Place::Any, Some(BuiltIn::Severity | BuiltIn::Name)) => LogColumns::TEXT.with(fallback),
        (Place::Any, _) => fallback,
    }
}
