//! `pattern:`: log records whose text has a certain template, by its id or by its printed form.

use super::super::QueryError;
use super::super::lang::{Field, Test};
use super::check::Check;
use crate::model::LogView;
use crate::store::{BodyKind, LogKind, TemplateId, printed_template, template_of};

/// The field's name.
pub(super) const NAME: &str = "pattern";

/// What a pattern must be.
#[derive(Debug)]
pub(super) struct PatternCheck {
    /// One of these.
    pub(super) ids: Vec<TemplateId>,
    /// Or its printed form passes.
    pub(super) printed: Option<Check>,
}

impl PatternCheck {
    pub(super) fn new(field: &Field, test: &Test) -> Result<PatternCheck, QueryError> {
        let tests = match test {
            Test::AnyOf(tests) => tests.iter().collect(),
            one => vec![one],
        };
        let mut check = PatternCheck {
            ids: Vec::new(),
            printed: None,
        };
        let mut printed = Vec::new();
        for test in tests {
            let id = match test {
                Test::Text(text) => TemplateId::parse(text),
                _ => None,
            };
            match id {
                Some(id) => check.ids.push(id),
                None => printed.push(Check::value(field, test)?),
            }
        }
        check.printed = (!printed.is_empty()).then_some(Check::AnyOf(printed));
        Ok(check)
    }

    fn passes(&self, template: &str) -> bool {
        let by_id = || self.ids.contains(&TemplateId::of(template.as_bytes()));
        let printed = self.printed.as_ref();
        (!self.ids.is_empty() && by_id())
            || printed.is_some_and(|check| check.passes_text(&printed_template(template)))
    }

    pub(super) fn matches(&self, log: &LogView<'_>) -> bool {
        let mut template = Vec::new();
        let text = log.body.as_str();
        text.is_some_and(|text| {
            template_of(text, &mut template)
                && std::str::from_utf8(&template).is_ok_and(|template| self.passes(template))
        })
    }

    /// Whether all records of a kind match; a text that is kept with a template has that one.
    pub(super) fn decide(&self, kind: &LogKind<'_>) -> Option<bool> {
        match kind.body {
            BodyKind::Empty => Some(false),
            BodyKind::Text(template) => Some(self.passes(template.text())),
            BodyKind::Open => None,
        }
    }
}
