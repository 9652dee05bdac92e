//! Queries as conditions of deletions: compiled for the store, counted beforehand, and printed
//! without their values.

use std::ops::ControlFlow;

use super::QueryError;
use super::control::{Control, Stats};
use super::lang::{self, Expr, Term, Test};
use super::matcher::{LogMatcher, SpanMatcher};
use super::scan::{log_units, span_units};
use crate::model::{Signal, TimeRange};
use crate::store::{Condition, LogCondition, Snapshot, SpanCondition};

/// Reads a condition as the store keeps it.
///
/// # Errors
/// It is no query, or one that says nothing.
pub(crate) fn condition(text: &str) -> Result<Condition, String> {
    let expr = lang::parse(text).map_err(|e| e.to_string())?;
    compile(&expr).map_err(|e| e.to_string())
}

/// Whether a query can be the condition of a deletion.
///
/// # Errors
/// It cannot: everything would match, which is retention's work or an accident, or it is no query.
pub(crate) fn check(expr: &Expr) -> Result<(), QueryError> {
    if !names_something(expr) {
        let what =
            "a deletion needs a condition that names what goes, such as trace:ID or user.id:42";
        return Err(QueryError::Invalid(what.to_owned()));
    }
    compile(expr).map(|_| ())
}

fn compile(expr: &Expr) -> Result<Condition, QueryError> {
    if *expr == Expr::All {
        let what = "a deletion needs a condition, such as trace:ID or user.id:42";
        return Err(QueryError::Invalid(what.to_owned()));
    }
    let (logs, spans) = (LogMatcher::new(expr)?, SpanMatcher::new(expr)?);
    Ok(Condition {
        logs: (!logs.nothing).then(|| LogCondition {
            prune: logs.prune.clone(),
            columns: logs.columns,
            matches: Box::new(move |log| logs.matches(log)),
        }),
        traces: (!spans.nothing).then(|| SpanCondition {
            prune: spans.prune.clone(),
            columns: spans.columns,
            matches: Box::new(move |span| spans.matches(span)),
        }),
    })
}

/// Whether every way to match has a condition that is not a negation.
fn names_something(expr: &Expr) -> bool {
    match expr {
        Expr::All | Expr::Not(_) => false,
        Expr::Term(_) => true,
        Expr::And(parts) => parts.iter().any(names_something),
        Expr::Or(parts) => parts.iter().all(names_something),
    }
}

/// What a deletion would erase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Matching {
    pub(crate) logs: u64,
    pub(crate) spans: u64,
    /// When it could not look at everything, there are at least so many.
    pub(crate) stats: Stats,
}

pub(super) fn count(
    snapshot: &Snapshot,
    expr: &Expr,
    signals: [bool; Signal::RECORDS.len()],
    range: TimeRange,
    control: &Control,
) -> Result<Matching, QueryError> {
    check(expr)?;
    let mut matching = Matching {
        logs: 0,
        spans: 0,
        stats: Stats::default(),
    };
    let mut partial = None;
    if signals[Signal::Logs as usize] {
        let matcher = LogMatcher::new(expr)?.over(snapshot);
        let (units, visible, mut progress) = log_units(snapshot, range, &matcher, control);
        for unit in &units {
            if !progress.may_go_on() {
                break;
            }
            let read = unit.for_each(matcher.columns, &mut |log| {
                let counts = visible.contains(log.at) && matcher.matches(log);
                matching.logs += u64::from(counts);
                ControlFlow::Continue(())
            });
            progress.read(unit.rows(), unit.bytes(), read);
        }
        matching.stats = progress.stats();
        partial = matching.stats.partial;
    }
    if signals[Signal::Traces as usize] {
        let matcher = SpanMatcher::new(expr)?;
        let (units, visible, mut progress) = span_units(snapshot, range, &matcher, control);
        for unit in &units {
            if !progress.may_go_on() {
                break;
            }
            let read = unit.for_each(matcher.columns, &mut |span| {
                let counts = visible.contains(span.at) && matcher.matches(span);
                matching.spans += u64::from(counts);
                ControlFlow::Continue(())
            });
            progress.read(unit.rows(), unit.bytes(), read);
        }
        matching.stats = progress.stats();
    }
    matching.stats.partial = matching.stats.partial.or(partial);
    Ok(matching)
}

/// The query with every value replaced by `?`, as far as it is a query: what may be kept and logged
/// of a privacy request. Names of fields stay.
pub(crate) fn shape(expr: &Expr) -> String {
    match expr {
        Expr::All => "*".to_owned(),
        Expr::And(parts) => joined(parts, " "),
        Expr::Or(parts) => format!("({})", joined(parts, " OR ")),
        Expr::Not(inner) => format!("-{}", shape(inner)),
        Expr::Term(Term { field, test }) => {
            let value = match test {
                Test::Exists => "*",
                Test::Text(_) | Test::AnyOf(_) => "?",
                Test::Prefix(_) => "?*",
                Test::Regex(_) => "/?/",
                Test::Compare(..) => ">?",
                Test::Range(..) => "?..?",
            };
            match field {
                Some(field) => format!("{field}:{value}"),
                None => value.to_owned(),
            }
        }
    }
}

fn joined(parts: &[Expr], separator: &str) -> String {
    let parts: Vec<String> = parts.iter().map(shape).collect();
    parts.join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_keep_fields_and_no_value() {
        let check = |text: &str, expect: &str| {
            assert_eq!(shape(&lang::parse(text).expect("a query")), expect);
        };
        check("trace:00000000000000000000000000abcdef", "trace:?");
        check("user.id:42,43 -level:error", "user.id:? -level:?");
        check("secret OR attr.mail:anna*", "(? OR attr.mail:?*)");
        check("/anna.*/ duration:>5s", "/?/ duration:>?");
    }

    #[test]
    fn what_is_only_left_out_names_nothing() {
        let is_taken = |text: &str| check(&lang::parse(text).expect("a query")).is_ok();
        for text in ["", "*", "-x", "-x -y", "x OR -y", "(x OR -y) -z"] {
            assert!(!is_taken(text), "{text:?}");
        }
        for text in ["x", "x -y", "(x OR y) -z", "x (y OR -z)"] {
            assert!(is_taken(text), "{text:?}");
        }
    }

    #[test]
    fn conditions_say_something() {
        assert!(condition("").is_err());
        assert!(condition("*").is_err());
        assert!(condition("user.id:").is_err());
        let of_both = condition("user.id:42").expect("a query");
        assert!(of_both.logs.is_some() && of_both.traces.is_some());
    }
}
