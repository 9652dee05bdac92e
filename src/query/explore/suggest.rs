//! Completions for PromQL at a caret: metrics, labels, values, functions, durations, from the live
//! index. Reads the text before the caret only by its brackets and quotes: it is rarely whole.

use std::collections::HashMap;
use std::ops::Range;

use crate::model::metric::{MatchOp, Matcher, Millis, NAME};
use crate::query::promql::ast::{Aggregation, Function};
use crate::query::promql::print::quote;
use crate::query::promql::signature_of;
use crate::query::promql::source::{SeriesSource, SourceError};

use super::plot::{EXPRESSION_BYTES_MAX, described};

/// Completions offered at once.
const OFFERED_MAX: usize = 20;

/// Metrics whose series are counted for the listing.
const COUNTED_MAX: usize = 20_000;

/// Characters of a help text that are shown.
const HELP_CHARS_MAX: usize = 160;

const DURATIONS: [&str; 8] = ["1m", "5m", "10m", "15m", "30m", "1h", "6h", "1d"];
const GROUPINGS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
const WORDS: [&str; 10] = [
    "by (",
    "without (",
    "on (",
    "ignoring (",
    "group_left (",
    "group_right (",
    "offset ",
    "and ",
    "or ",
    "unless ",
];

/// What a completion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Metric,
    Function,
    Aggregation,
    Keyword,
    Label,
    Value,
    Duration,
}

impl Sort {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Sort::Metric => "metric",
            Sort::Function => "function",
            Sort::Aggregation => "aggregation",
            Sort::Keyword => "keyword",
            Sort::Label => "label",
            Sort::Value => "value",
            Sort::Duration => "duration",
        }
    }
}

/// One completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    pub(crate) insert: String,
    pub(crate) label: String,
    pub(crate) sort: Sort,
    /// Type and unit of a metric, signature of a function.
    pub(crate) detail: String,
    pub(crate) help: String,
    pub(crate) series: Option<u64>,
    /// Bytes of the text that it takes the place of.
    pub(crate) replace: Range<usize>,
}

/// What stands at the caret.
#[derive(Debug, PartialEq, Eq)]
enum Place<'t> {
    Expression,
    Labels {
        metric: &'t str,
    },
    /// `quoted`: the caret is behind an opening quote.
    Value {
        metric: &'t str,
        label: &'t str,
        quoted: bool,
    },
    Grouping,
    Duration,
    /// A string of a function's argument.
    Nothing,
}

/// Completions at byte `at`, the best first.
///
/// # Errors
/// The source cannot be read.
pub(crate) fn suggest(
    source: &dyn SeriesSource,
    text: &str,
    at: usize,
    range: Millis,
) -> Result<Vec<Completion>, SourceError> {
    if text.len() > EXPRESSION_BYTES_MAX || !text.is_char_boundary(at) {
        return Ok(Vec::new());
    }
    let (place, start) = place(text, at);
    let word = Word {
        typed: text[start..at].to_owned(),
        replace: start..at + text[at..].find(|c| !is_word(c)).unwrap_or(text.len() - at),
    };
    let of_metric = |metric: &str| match metric {
        "" => Vec::new(),
        metric => Matcher::new(NAME, MatchOp::Equal, metric)
            .into_iter()
            .collect(),
    };
    let found = match place {
        Place::Nothing => Vec::new(),
        Place::Duration => word.best(DURATIONS.map(|d| word.plain(d, Sort::Duration)).into()),
        Place::Labels { metric } => labels(source, &word, &of_metric(metric), range, "=\"")?,
        Place::Grouping => {
            let metric = first_metric(source, text, range)?;
            labels(source, &word, &of_metric(&metric), range, "")?
        }
        Place::Value {
            metric,
            label,
            quoted,
        } => values(source, &word, (label, quoted), &of_metric(metric), range)?,
        Place::Expression => expressions(source, &word, range)?,
    };
    Ok(found)
}

/// The part of a word before the caret, and what a completion replaces.
struct Word {
    typed: String,
    replace: Range<usize>,
}

impl Word {
    fn plain(&self, text: &str, sort: Sort) -> Completion {
        Completion {
            insert: text.to_owned(),
            label: text.trim_end_matches([' ', '(']).to_owned(),
            sort,
            detail: String::new(),
            help: String::new(),
            series: None,
            replace: self.replace.clone(),
        }
    }

    /// Those that fit what is typed, the closest first.
    fn best(&self, candidates: Vec<Completion>) -> Vec<Completion> {
        let scored = candidates.into_iter().filter_map(|one| {
            let distance = distance(&self.typed, &one.label)?;
            Some((distance, one))
        });
        let mut scored: Vec<(u8, Completion)> = scored.collect();
        scored.sort_by(|(a, one), (b, other)| {
            let key =
                |distance: &u8, c: &Completion| (*distance, c.sort == Sort::Keyword, c.label.len());
            key(a, one)
                .cmp(&key(b, other))
                .then_with(|| one.label.cmp(&other.label))
        });
        scored.truncate(OFFERED_MAX);
        scored.into_iter().map(|(_, one)| one).collect()
    }
}

/// How far a candidate is from what is typed: 0 it begins so, 1 a part of it does, 2 it holds it, 3 it
/// holds its letters in order; `None` otherwise.
pub(super) fn distance(typed: &str, candidate: &str) -> Option<u8> {
    let (typed, candidate) = (typed.to_lowercase(), candidate.to_lowercase());
    if candidate.starts_with(&typed) {
        return Some(0);
    }
    if let Some(at) = candidate.find(&typed) {
        let before = candidate[..at].chars().next_back();
        return Some(if before.is_some_and(|c| !c.is_alphanumeric()) {
            1
        } else {
            2
        });
    }
    let mut rest = candidate.chars();
    let in_order = typed.chars().all(|wanted| rest.any(|c| c == wanted));
    in_order.then_some(3)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | ':' | '.')
}

/// The word that ends at a byte.
fn word_before(text: &str, end: usize) -> &str {
    let head = &text[..end];
    let start = head.rfind(|c| !is_word(c)).map_or(0, |at| {
        at + head[at..].chars().next().map_or(1, char::len_utf8)
    });
    &head[start..]
}

/// What an open bracket at the caret is, with its byte.
#[derive(Clone, Copy)]
struct Open {
    bracket: char,
    at: usize,
}

/// The innermost bracket and the quote that are open at the caret.
fn open_at(text: &str, at: usize) -> (Option<Open>, Option<(char, usize)>) {
    let mut open: Vec<Open> = Vec::new();
    let mut quoted: Option<(char, usize)> = None;
    let mut escaped = false;
    for (i, c) in text[..at].char_indices() {
        match quoted {
            Some(_) if escaped => escaped = false,
            Some((mark, _)) if c == '\\' && mark != '`' => escaped = true,
            Some((mark, _)) if c == mark => quoted = None,
            Some(_) => {}
            None => match c {
                '"' | '\'' | '`' => quoted = Some((c, i)),
                '{' | '(' | '[' => open.push(Open { bracket: c, at: i }),
                '}' | ')' | ']' => {
                    open.pop();
                }
                _ => {}
            },
        }
    }
    (open.last().copied(), quoted)
}

/// What is at the caret, and where the word to complete starts.
fn place(text: &str, at: usize) -> (Place<'_>, usize) {
    let (last, quoted) = open_at(text, at);
    let word = at - word_before(text, at).len();
    match (last, quoted) {
        (
            Some(Open {
                bracket: '{',
                at: brace,
            }),
            quoted,
        ) => {
            let metric = word_before(text, brace);
            let until = quoted.map_or(word, |(_, quote)| quote);
            let inside = &text[brace + 1..until];
            let matcher = inside.rsplit(',').next().unwrap_or(inside);
            match matcher.find(['=', '!', '~']) {
                Some(op) => {
                    let label = matcher[..op].trim().trim_matches('"');
                    let (start, quoted) =
                        quoted.map_or((word, false), |(_, quote)| (quote + 1, true));
                    (
                        Place::Value {
                            metric,
                            label,
                            quoted,
                        },
                        start,
                    )
                }
                None if quoted.is_some() => (Place::Nothing, word),
                None => (Place::Labels { metric }, word),
            }
        }
        (_, Some(_)) => (Place::Nothing, word),
        (Some(Open { bracket: '[', .. }), None) => (Place::Duration, word),
        (
            Some(Open {
                bracket: '(',
                at: paren,
            }),
            None,
        ) => {
            let name = word_before(text, text[..paren].trim_end().len());
            let grouping = GROUPINGS.contains(&name.to_lowercase().as_str());
            (
                if grouping {
                    Place::Grouping
                } else {
                    Place::Expression
                },
                word,
            )
        }
        _ => (Place::Expression, word),
    }
}

/// The first word of the text that is a metric: labels for groupings come from it.
fn first_metric(
    source: &dyn SeriesSource,
    text: &str,
    range: Millis,
) -> Result<String, SourceError> {
    let names = source.label_values(NAME, &[], range)?;
    let known = |word: &&str| {
        names
            .binary_search_by(|name| name.as_str().cmp(word))
            .is_ok()
    };
    let words = text.split(|c| !is_word(c)).filter(|word| !word.is_empty());
    Ok(words.into_iter().find(known).unwrap_or_default().to_owned())
}

fn labels(
    source: &dyn SeriesSource,
    word: &Word,
    matchers: &[Matcher],
    range: Millis,
    after: &str,
) -> Result<Vec<Completion>, SourceError> {
    let names = source.label_names(matchers, range)?;
    let names = names.iter().filter(|name| *name != NAME);
    let label = |name: &String| Completion {
        insert: format!("{name}{after}"),
        label: name.clone(),
        ..word.plain(name, Sort::Label)
    };
    Ok(word.best(names.map(label).collect()))
}

fn values(
    source: &dyn SeriesSource,
    word: &Word,
    (label, quoted): (&str, bool),
    matchers: &[Matcher],
    range: Millis,
) -> Result<Vec<Completion>, SourceError> {
    let values = source.label_values(label, matchers, range)?;
    let value = |value: &String| {
        let text = quote(value);
        // The opening quote is there already.
        let insert = if quoted { text[1..].to_owned() } else { text };
        Completion {
            insert,
            label: value.clone(),
            ..word.plain(value, Sort::Value)
        }
    };
    Ok(word.best(values.iter().map(value).collect()))
}

fn expressions(
    source: &dyn SeriesSource,
    word: &Word,
    range: Millis,
) -> Result<Vec<Completion>, SourceError> {
    let mut all: Vec<Completion> = source
        .label_values(NAME, &[], range)?
        .iter()
        .map(|name| word.plain(name, Sort::Metric))
        .collect();
    if !word.typed.is_empty() {
        all.extend(Function::ALL.iter().map(|function| Completion {
            insert: format!("{}(", function.name()),
            detail: signature_of(*function),
            ..word.plain(function.name(), Sort::Function)
        }));
        all.extend(Aggregation::ALL.iter().map(|op| {
            let parameter = if op.has_parameter() {
                "parameter, "
            } else {
                ""
            };
            Completion {
                insert: format!("{}(", op.name()),
                detail: format!("({parameter}instant vector)"),
                ..word.plain(op.name(), Sort::Aggregation)
            }
        }));
        all.extend(WORDS.map(|keyword| word.plain(keyword, Sort::Keyword)));
    }
    let mut found = word.best(all);
    let counts = source.statistics(COUNTED_MAX).series_by_metric;
    let counts: HashMap<String, u64> = counts.into_iter().collect();
    for one in found.iter_mut().filter(|one| one.sort == Sort::Metric) {
        one.series = counts.get(&one.label).copied();
        if let Some(said) = described(source, &one.label) {
            one.detail = format!("{} {}", said.kind.name(), said.unit)
                .trim_end()
                .to_owned();
            one.help = said.help.chars().take(HELP_CHARS_MAX).collect();
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{Place, distance, place};

    #[track_caller]
    fn check(text: &str, expect: Place<'_>, word: &str) {
        let at = text.find('|').expect("a caret");
        let text = text.replace('|', "");
        let (found, start) = place(&text, at);
        assert_eq!((found, &text[start..at]), (expect, word), "{text}");
    }

    #[test]
    fn the_caret_is_understood() {
        let labels = |metric| Place::Labels { metric };
        let value = |metric, label, quoted| Place::Value {
            metric,
            label,
            quoted,
        };
        check("ra|te(x)", Place::Expression, "ra");
        check("sum(rate(http_req|", Place::Expression, "http_req");
        check("up{jo|", labels("up"), "jo");
        check("{jo|", labels(""), "jo");
        check("up{job=\"a,b\", inst|", labels("up"), "inst");
        check("up{job=\"no|", value("up", "job", true), "no");
        check("up{job=~\"no|de\"}", value("up", "job", true), "no");
        check("up{a=\"1\",job!=no|", value("up", "job", false), "no");
        check("rate(x[5|", Place::Duration, "5");
        check("sum by (le, ro|) (x)", Place::Grouping, "ro");
        check("a / on(|", Place::Grouping, "");
        check("label_replace(x, \"fo|", Place::Nothing, "fo");
        check("up{job=\"\\\"|", value("up", "job", true), "\\\"");
    }

    #[test]
    fn closer_names_come_first() {
        let order = ["cpu_seconds", "node_cpu", "xcpu", "c_p_u", "disk"];
        let found: Vec<Option<u8>> = order.iter().map(|name| distance("CPU", name)).collect();
        assert_eq!(found, [Some(0), Some(1), Some(2), Some(3), None]);
    }
}
