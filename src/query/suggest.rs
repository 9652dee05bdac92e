//! Completions for the query bar: field names, operators, and values with their counts, taken from
//! a sample of the newest records.

use super::QueryError;
use super::answer::{Facets, Suggestion, SuggestionKind};
use super::control::Control;
use super::facets::{self, Ask};
use super::lang::{Expr, Field, QUERY_BYTES_MAX, Term, Test};
use crate::model::{Signal, TimeRange};
use crate::store::Snapshot;

/// Records looked at: enough for names and top values, quick enough for every key press.
const SAMPLE_RECORDS: u64 = 5_000;

/// Completions offered at once.
const SUGGESTIONS_MAX: usize = 20;

/// Completions at byte `at` of `text`.
pub(super) fn suggest(
    snapshot: &Snapshot,
    signal: Signal,
    text: &str,
    at: usize,
    range: TimeRange,
    control: &Control,
) -> Result<Vec<Suggestion>, QueryError> {
    if text.len() > QUERY_BYTES_MAX || !text.is_char_boundary(at) {
        return Err(QueryError::Invalid(format!(
            "at is {at}; it must lie in the query, between two characters"
        )));
    }
    let word = Word::around(text, at);
    let sample = |field: Option<&str>| {
        let ask = Ask {
            query: &Expr::All,
            range,
            field,
            records_max: SAMPLE_RECORDS,
        };
        match signal {
            Signal::Logs => facets::of_logs(snapshot, ask, control),
            Signal::Traces => facets::of_spans(snapshot, ask, control),
            Signal::Metrics => Ok(Facets::default()),
        }
    };
    let mut found = match word.field {
        Some(field) => values(&word, field, sample(Some(field))?),
        None => names(&word, signal, &sample(None)?),
    };
    found.truncate(SUGGESTIONS_MAX);
    Ok(found)
}

/// The word that the caret is in, up to the caret.
#[derive(Debug)]
struct Word<'t> {
    /// Where the part to complete starts, and where what it replaces ends.
    start: usize,
    end: usize,
    field: Option<&'t str>,
    typed: &'t str,
}

impl<'t> Word<'t> {
    fn around(text: &'t str, at: usize) -> Word<'t> {
        let ends = |c: char| c.is_whitespace() || matches!(c, '(' | ')');
        let (before, after) = text.split_at(at);
        let word_at = before.rfind(ends).map_or(0, |i| {
            i + before[i..].chars().next().map_or(1, char::len_utf8)
        });
        let word_at = word_at + usize::from(before[word_at..].starts_with('-'));
        let word = &before[word_at..];
        let (field, value_at) = match word.split_once(':') {
            Some((field, _)) if !field.is_empty() => (Some(field), word_at + field.len() + 1),
            _ => (None, word_at),
        };
        // Of a list `a,b` the last one is completed.
        let start = match before[value_at..].rfind(',') {
            Some(comma) if field.is_some() => value_at + comma + 1,
            _ => value_at,
        };
        let rest = after.find(|c| ends(c) || c == ',').unwrap_or(after.len());
        Word {
            start,
            end: at + rest,
            field,
            typed: before[start..].trim_start_matches('"'),
        }
    }

    fn wants(&self, candidate: &str) -> bool {
        let head = candidate.as_bytes().get(..self.typed.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(self.typed.as_bytes()))
    }

    fn suggestion(
        &self,
        insert: String,
        label: &str,
        kind: SuggestionKind,
        count: Option<u64>,
    ) -> Suggestion {
        Suggestion {
            insert,
            label: label.to_owned(),
            kind,
            count,
            replace: self.start..self.end,
        }
    }
}

fn values(word: &Word<'_>, field: &str, sample: Facets) -> Vec<Suggestion> {
    let values = sample.fields.into_iter().flat_map(|field| field.values);
    let mut found: Vec<Suggestion> = values
        .filter(|value| word.wants(&value.value))
        .map(|value| {
            let insert = printed_value(field, &value.value);
            let count = Some(value.count);
            word.suggestion(insert, &value.value, SuggestionKind::Value, count)
        })
        .collect();
    if word.typed.is_empty() {
        let any = "*".to_owned();
        found.push(word.suggestion(any, "* (has the field)", SuggestionKind::Operator, None));
    }
    found
}

/// The value as it stands after `field:`, quoted where needed.
fn printed_value(field: &str, value: &str) -> String {
    let field = Field::named(field);
    let before = field.to_string().len() + 1;
    let term = Term {
        field: Some(field),
        test: Test::Text(value.to_owned()),
    };
    term.to_string().split_off(before)
}

fn names(word: &Word<'_>, signal: Signal, sample: &Facets) -> Vec<Suggestion> {
    let built_in: &[&str] = match signal {
        Signal::Logs => &["level", "service", "body", "trace", "span"],
        Signal::Traces => &[
            "service", "name", "status", "duration", "kind", "root", "trace", "span",
        ],
        Signal::Metrics => &[],
    };
    let count_of = |name: &str| {
        let name = if name == "level" { "severity" } else { name };
        let facet = sample.fields.iter().find(|facet| facet.name == name);
        facet.map(|facet| (facet.coverage * sample.records as f64).round() as u64)
    };
    let other = sample
        .fields
        .iter()
        .map(|facet| facet.name.as_str())
        .filter(|name| *name != "severity" && !built_in.contains(name));
    let names = built_in.iter().copied().chain(other);
    let mut found: Vec<Suggestion> = names
        .filter(|name| word.wants(name))
        .map(|name| {
            let insert = format!("{}:", Field::named(name));
            word.suggestion(insert, name, SuggestionKind::Field, count_of(name))
        })
        .collect();
    for operator in ["AND", "OR", "NOT"] {
        let room = word.start > 0 || operator == "NOT";
        if room && !word.typed.is_empty() && word.wants(operator) {
            let insert = format!("{operator} ");
            found.push(word.suggestion(insert, operator, SuggestionKind::Operator, None));
        }
    }
    found
}
