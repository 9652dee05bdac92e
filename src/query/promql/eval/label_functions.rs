//! Functions that change labels and look at no value, and what else works on labels alone.

use std::cmp::Ordering;

use crate::model::metric::{Labels, LabelsBuilder, MatchOp, NAME};

use super::super::ast::{Call, Expr, Kind};
use super::super::literal::is_utf8;
use super::EvalError;
use super::context::{Context, Sink};
use super::row::{Grid, Row, distinct};
use super::shape::text;

/// Compiled size of one regular expression in bytes, as of matchers.
const REGEX_BYTES_MAX: usize = 1 << 20;

fn failed(text: String) -> EvalError {
    EvalError::Execution(text)
}

/// Whether a text can name a label: any that is UTF-8 and not empty.
pub(super) fn is_label_name(name: &str) -> bool {
    !name.is_empty() && is_utf8(name)
}

impl Context<'_> {
    /// `label_replace(v, destination, replacement, source, regex)`.
    pub(super) fn label_replace(
        &self,
        call: &Call,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        let [destination, replacement, source, pattern] = [1, 2, 3, 4].map(|i| text(&call.args[i]));
        let regex = regex::RegexBuilder::new(&format!("^(?s:{pattern})$"))
            .size_limit(REGEX_BYTES_MAX)
            .build();
        let regex = regex.map_err(|_| {
            failed(format!(
                "invalid regular expression in label_replace(): {pattern}"
            ))
        })?;
        if !is_label_name(destination) {
            let what = "invalid destination label name in label_replace()";
            return Err(failed(format!("{what}: {destination}")));
        }
        let replacement = braced(replacement);
        self.relabelled(call, grid, sink, destination, |labels| {
            let found = regex.captures(labels.get(source).unwrap_or(""))?;
            let mut value = String::new();
            found.expand(&replacement, &mut value);
            Some(value)
        })
    }

    /// `label_join(v, destination, separator, sources...)`.
    pub(super) fn label_join(
        &self,
        call: &Call,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), EvalError> {
        let (destination, separator) = (text(&call.args[1]), text(&call.args[2]));
        let sources: Vec<&str> = call.args[3..].iter().map(text).collect();
        for (name, which) in sources
            .iter()
            .map(|source| (*source, "source"))
            .chain([(destination, "destination")])
        {
            if !is_label_name(name) {
                let what = format!("invalid {which} label name in label_join()");
                return Err(failed(format!("{what}: {name}")));
            }
        }
        self.relabelled(call, grid, sink, destination, |labels| {
            let values: Vec<&str> = sources
                .iter()
                .map(|source| labels.get(source).unwrap_or(""))
                .collect();
            Some(values.join(separator))
        })
    }

    /// Sets a label of each row, or leaves the row as it is.
    fn relabelled(
        &self,
        call: &Call,
        grid: &Grid,
        sink: Sink<'_>,
        destination: &str,
        value: impl Fn(&Labels) -> Option<String>,
    ) -> Result<(), EvalError> {
        let mut rows = self.collect(&call.args[0], grid)?;
        self.release_rows(&rows);
        for row in &mut rows {
            if let Some(value) = value(&row.labels) {
                row.labels = LabelsBuilder::from(&row.labels)
                    .set(destination, &value)
                    .build();
                row.drop_name &= destination != NAME;
            }
        }
        distinct(rows)?
            .into_iter()
            .try_for_each(|row: Row| sink(row))
    }
}

/// Go's `$name` is the longest run of word characters, as here; but `$1x` names `1x` in both. What
/// differs: a `$` before anything else stays in Go only as `$$`; here `$` alone stays too, so Go's
/// dropping of it is done here.
fn braced(replacement: &str) -> String {
    let mut out = String::with_capacity(replacement.len());
    let mut rest = replacement;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        out += before;
        let after = &after[1..];
        if let Some(tail) = after.strip_prefix('$') {
            out += "$$";
            rest = tail;
            continue;
        }
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let (name, tail) = match after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
        {
            Some((name, tail)) => (name, tail),
            None => after.split_at(after.find(|c| !word(c)).unwrap_or(after.len())),
        };
        if name.is_empty() || !name.chars().all(word) {
            // Malformed: Go treats the `$` as raw text.
            out += "$$";
            rest = after;
            continue;
        }
        out += &format!("${{{name}}}");
        rest = tail;
    }
    out + rest
}

/// The labels that a selector asks for exactly, of a series that is absent; those that it asks for
/// twice are left out (Prometheus `createLabelsForAbsentFunction`).
pub(super) fn absent_labels(expr: &Expr) -> Labels {
    let selector = match &expr.kind {
        Kind::Vector(selector) | Kind::Matrix(selector, _) => selector,
        _ => return Labels::default(),
    };
    let mut labels = LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in selector
        .matchers
        .iter()
        .filter(|matcher| matcher.name != NAME)
    {
        if matcher.op == MatchOp::Equal && !seen.contains(&matcher.name.as_str()) {
            labels.set(&matcher.name, &matcher.value);
            seen.push(&matcher.name);
        } else {
            labels.remove(&matcher.name);
        }
    }
    labels.build()
}

/// Orders texts by chunks of digits, which count as numbers, and of anything else.
pub(super) fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (chunks(a), chunks(b));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(l), Some(r)) => {
                let order = compare_chunks(l, r);
                if order != Ordering::Equal {
                    return order;
                }
            }
        }
    }
}

fn is_number(chunk: &str) -> bool {
    chunk.as_bytes().first().is_some_and(u8::is_ascii_digit)
}

fn compare_chunks(a: &str, b: &str) -> Ordering {
    if !(is_number(a) && is_number(b)) {
        return a.cmp(b);
    }
    let digits = |chunk: &'_ str| chunk.trim_start_matches('0').to_owned();
    let (l, r) = (digits(a), digits(b));
    // The same number: with more zeros in front comes first.
    let values = l.len().cmp(&r.len()).then_with(|| l.cmp(&r));
    values.then_with(|| b.len().cmp(&a.len()))
}

fn chunks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let number = is_number(rest);
        let end = rest
            .find(|c: char| c.is_ascii_digit() != number)
            .unwrap_or(rest.len());
        let (chunk, tail) = rest.split_at(end);
        rest = tail;
        (!chunk.is_empty()).then_some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_are_ordered_by_value() {
        let check = |a: &str, b: &str, order: Ordering| {
            assert_eq!(natural_order(a, b), order, "{a} {b}");
            assert_eq!(natural_order(b, a), order.reverse(), "{b} {a}");
        };
        check("a2", "a10", Ordering::Less);
        check("1.0.9", "1.0.10", Ordering::Less);
        check("", "1", Ordering::Less);
        check("x", "x", Ordering::Equal);
        check("x01", "x1", Ordering::Less);
        check("20", "3b", Ordering::Greater);
        check(
            "99999999999999999999999",
            "100000000000000000000000",
            Ordering::Less,
        );
    }

    #[test]
    fn replacements_are_read_as_go_reads_them() {
        let check = |replacement: &str, expected: &str| {
            let regex = regex::Regex::new("^(?P<all>(a)(b))$").expect("a regular expression");
            let mut out = String::new();
            let found = regex.captures("ab").expect("it matches");
            found.expand(&braced(replacement), &mut out);
            assert_eq!(out, expected, "{replacement}");
        };
        check("$2-$3", "a-b");
        check("${2}x", "ax");
        check("$2x", "");
        check("$all$$", "ab$");
        check("cost: $ 5", "cost: $ 5");
        check("${2", "${2");
    }
}
