//! `pattern:`: log records whose text has a certain template, by its id or by its printed form.

use super::super::QueryError;
use super::super::lang::{Field, Test};
use super::check::Check;
use crate::model::LogView;
use crate::model::token::tokens;
use crate::store::{BodyKind, LogKind, TemplateId, WORDS_MAX, Word, printed_template, template_of};

/// The field's name.
pub(super) const NAME: &str = "pattern";

/// What a pattern must be.
#[derive(Debug)]
pub(super) struct PatternCheck {
    /// One of these.
    pub(super) ids: Vec<TemplateId>,
    /// Or its printed form passes.
    pub(super) printed: Option<Check>,
    /// For each id the places of words that its texts have, among those the store was asked for; empty:
    /// nothing is known of the texts.
    words: Vec<Vec<usize>>,
}

/// Words of one template that blocks are asked for: its longest.
const WORDS_ASKED_MAX: usize = 4;

impl PatternCheck {
    pub(super) fn new(field: &Field, test: &Test) -> Result<PatternCheck, QueryError> {
        let tests = match test {
            Test::AnyOf(tests) => tests.iter().collect(),
            one => vec![one],
        };
        let mut check = PatternCheck {
            ids: Vec::new(),
            printed: None,
            words: Vec::new(),
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

    /// Adds words of the templates to those of the whole query: a text that is kept without its template
    /// has them. `text_of` gives a template, empty when it is not known.
    pub(super) fn ask_for(
        &mut self,
        text_of: &dyn Fn(TemplateId) -> String,
        words: &mut Vec<Word>,
    ) {
        let mut ask = |id: &TemplateId| {
            let text = text_of(*id);
            let mut constant: Vec<&str> = tokens(&text).collect();
            constant.sort_unstable_by_key(|token| std::cmp::Reverse(token.len()));
            constant.dedup();
            let known = constant.into_iter().filter_map(Word::of);
            let mut places = Vec::new();
            for word in known.take(WORDS_ASKED_MAX.min(WORDS_MAX - words.len())) {
                places.push(words.len());
                words.push(word);
            }
            places
        };
        self.words = self.ids.iter().map(&mut ask).collect();
    }

    /// Whether a text may have one of the templates where only these words are.
    fn may_be_in_body(&self, held: u64) -> bool {
        let lacks_one = |words: &Vec<usize>| words.iter().any(|word| held >> word & 1 == 0);
        self.printed.is_some() || self.words.is_empty() || !self.words.iter().all(lacks_one)
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
            BodyKind::Open => (!self.may_be_in_body(kind.held)).then_some(false),
        }
    }
}
