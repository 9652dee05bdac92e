//! What a compiled query says of many log records at once, by what their kind has in common: yes, no,
//! or that each has to be looked at. Never a guess: a wrong yes or no is a wrong answer.

use super::check::Check;
use super::text::Tokens;
use super::{BuiltIn, Found, Node, Target};
use crate::model::{ValueRef, record};
use crate::query::lang::Place;
use crate::store::{BodyKind, LogKind, Template, TemplateId, TextNeed, Word};

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
                BodyKind::Text(template) => check.decide_text(template, kind.held),
                BodyKind::Open => check.decide_open(kind.held),
            },
            Node::Pattern(check) => check.decide(kind),
            Node::Field(target, check) => target
                .of_kind(kind)
                .map(|found| found.is_some_and(|found| check.passes(found))),
        }
    }
}

/// What is in the body of every record that matches, if the body is a text.
pub(super) enum Inside<'m> {
    /// This text.
    Text(&'m str),
    /// One of these, each one token.
    Tokens(Vec<&'m Tokens>),
}

impl Node {
    /// What tells of parts of a body whether it may match.
    pub(super) fn inside(&self) -> Option<Inside<'_>> {
        match self {
            Node::AnyText(check) => check.inside(),
            Node::And(parts) => parts.iter().find_map(Node::inside),
            Node::Or(parts) => Inside::one_of(parts.iter().map(Node::inside)),
            Node::All | Node::Not(_) | Node::Pattern(_) | Node::Field(..) => None,
        }
    }

    /// What the text of every match must have, as far as its template tells.
    pub(super) fn need(&self) -> TextNeed {
        match self {
            Node::AnyText(check) => check.need(),
            Node::And(parts) => TextNeed::All(parts.iter().map(Node::need).collect()),
            Node::Or(parts) => TextNeed::One(parts.iter().map(Node::need).collect()),
            Node::All | Node::Not(_) | Node::Pattern(_) | Node::Field(..) => TextNeed::Nothing,
        }
    }

    /// Collects the words of patterns whose text `text_of` knows.
    pub(super) fn ask_for_patterns(
        &mut self,
        text_of: &dyn Fn(TemplateId) -> String,
        words: &mut Vec<Word>,
    ) {
        match self {
            Node::And(parts) | Node::Or(parts) => parts
                .iter_mut()
                .for_each(|part| part.ask_for_patterns(text_of, words)),
            Node::Not(inner) => inner.ask_for_patterns(text_of, words),
            Node::Pattern(check) => check.ask_for(text_of, words),
            Node::All | Node::AnyText(_) | Node::Field(..) => {}
        }
    }

    /// Collects the words that blocks can be asked for.
    pub(super) fn ask_for(&mut self, words: &mut Vec<Word>) {
        match self {
            Node::And(parts) | Node::Or(parts) => {
                parts.iter_mut().for_each(|part| part.ask_for(words));
            }
            Node::Not(inner) => inner.ask_for(words),
            Node::AnyText(check) => check.ask_for(words),
            Node::All | Node::Pattern(_) | Node::Field(..) => {}
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

impl<'m> Inside<'m> {
    /// Tokens alone can be looked for at once.
    fn one_of(all: impl Iterator<Item = Option<Inside<'m>>>) -> Option<Inside<'m>> {
        let tokens = all.map(|inside| match inside {
            Some(Inside::Tokens(tokens)) => Some(tokens),
            Some(Inside::Text(_)) | None => None,
        });
        let tokens: Option<Vec<Vec<&Tokens>>> = tokens.collect();
        tokens.map(|tokens| Inside::Tokens(tokens.concat()))
    }
}

impl Check {
    /// As [`Node::inside`].
    fn inside(&self) -> Option<Inside<'_>> {
        match self {
            Check::Tokens(tokens) => tokens.one().map(|one| Inside::Tokens(vec![one])),
            Check::Regex(pattern) => pattern.needle.as_deref().map(Inside::Text),
            Check::AnyOf(checks) => Inside::one_of(checks.iter().map(Check::inside)),
            Check::Equal(_)
            | Check::Prefix(_)
            | Check::Exists
            | Check::Compare(..)
            | Check::Range(..) => None,
        }
    }

    fn need(&self) -> TextNeed {
        match self {
            Check::Tokens(tokens) => tokens.need(),
            Check::AnyOf(checks) => TextNeed::One(checks.iter().map(Check::need).collect()),
            // Found by scanning: an expression may reach into variables, which most templates have.
            Check::Regex(_)
            | Check::Equal(_)
            | Check::Prefix(_)
            | Check::Exists
            | Check::Compare(..)
            | Check::Range(..) => TextNeed::Nothing,
        }
    }

    /// Whether texts of a template pass, whatever their variables are.
    fn decide_text(&self, template: Template<'_>, held: u64) -> Option<bool> {
        match self {
            Check::Tokens(tokens) => {
                if tokens.found_in_template(template) {
                    return Some(true);
                }
                (!tokens.may_need_variables(template, held)).then_some(false)
            }
            Check::AnyOf(checks) => {
                let mut known = true;
                for check in checks {
                    match check.decide_text(template, held) {
                        Some(true) => return Some(true),
                        Some(false) => {}
                        None => known = false,
                    }
                }
                known.then_some(false)
            }
            Check::Regex(pattern)
                if pattern
                    .plain
                    .as_ref()
                    .is_some_and(|n| template.text().contains(n)) =>
            {
                Some(true)
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

    /// Whether bodies of which nothing else is known pass.
    fn decide_open(&self, held: u64) -> Option<bool> {
        match self {
            Check::Tokens(tokens) => (!tokens.may_be_in_body(held)).then_some(false),
            Check::AnyOf(checks) => {
                let mut verdicts = checks.iter().map(|check| check.decide_open(held));
                verdicts
                    .all(|verdict| verdict == Some(false))
                    .then_some(false)
            }
            Check::Regex(_)
            | Check::Equal(_)
            | Check::Prefix(_)
            | Check::Exists
            | Check::Compare(..)
            | Check::Range(..) => None,
        }
    }

    /// Collects the words that blocks can be asked for.
    pub(super) fn ask_for(&mut self, words: &mut Vec<Word>) {
        match self {
            Check::Tokens(tokens) => tokens.ask_for(words),
            Check::AnyOf(checks) => checks.iter_mut().for_each(|check| check.ask_for(words)),
            Check::Regex(_)
            | Check::Equal(_)
            | Check::Prefix(_)
            | Check::Exists
            | Check::Compare(..)
            | Check::Range(..) => {}
        }
    }
}
