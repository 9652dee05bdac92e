//! What a query says about every record it can match: hints that let the store skip blocks.
//! They only ever leave out what cannot match.

use std::collections::BTreeSet;

use super::super::lang::{Comparison, Expr, Field, Place, Quantity, Term, Test};
use super::{BuiltIn, exact_values};
use crate::model::{Level, TraceId};
use crate::store::{LogPrune, SpanPrune};

/// All levels.
const LEVELS_ANY: u32 = (1 << Level::ALL.len()) - 1;

/// What matching records have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hints {
    /// `None`: any.
    services: Option<BTreeSet<String>>,
    levels: u32,
    /// `None`: any.
    traces: Option<BTreeSet<TraceId>>,
    duration_min_ns: u64,
    errors_only: bool,
}

impl Hints {
    const ANY: Hints = Hints {
        services: None,
        levels: LEVELS_ANY,
        traces: None,
        duration_min_ns: 0,
        errors_only: false,
    };

    pub(super) fn of_logs(expr: &Expr) -> Hints {
        let mut hints = Hints::of(expr, &log_term);
        // A record without a severity number may still have its level as text.
        hints.levels |= LogPrune::bit(Level::Unset);
        hints
    }

    pub(super) fn of_spans(expr: &Expr) -> Hints {
        Hints::of(expr, &span_term)
    }

    fn of(expr: &Expr, term: &dyn Fn(&Field, &Test) -> Hints) -> Hints {
        match expr {
            Expr::And(parts) => parts
                .iter()
                .map(|part| Hints::of(part, term))
                .fold(Hints::ANY, Hints::and),
            Expr::Or(parts) => parts
                .iter()
                .map(|part| Hints::of(part, term))
                .reduce(Hints::or)
                .unwrap_or(Hints::ANY),
            Expr::Term(Term {
                field: Some(field),
                test,
            }) if field.place == Place::Any => term(field, test),
            Expr::All | Expr::Not(_) | Expr::Term(_) => Hints::ANY,
        }
    }

    fn and(self, other: Hints) -> Hints {
        Hints {
            services: both(self.services, other.services),
            levels: self.levels & other.levels,
            traces: both(self.traces, other.traces),
            duration_min_ns: self.duration_min_ns.max(other.duration_min_ns),
            errors_only: self.errors_only || other.errors_only,
        }
    }

    fn or(self, other: Hints) -> Hints {
        Hints {
            services: either(self.services, other.services),
            levels: self.levels | other.levels,
            traces: either(self.traces, other.traces),
            duration_min_ns: self.duration_min_ns.min(other.duration_min_ns),
            errors_only: self.errors_only && other.errors_only,
        }
    }

    /// Whether no record can be all that.
    pub(super) fn nothing(&self) -> bool {
        self.services.as_ref().is_some_and(BTreeSet::is_empty)
            || self.traces.as_ref().is_some_and(BTreeSet::is_empty)
    }

    fn trace_id(&self) -> Option<TraceId> {
        let traces = self.traces.as_ref()?;
        traces.first().copied().filter(|_| traces.len() == 1)
    }

    pub(super) fn log_prune(self) -> LogPrune {
        LogPrune {
            trace_id: self.trace_id(),
            levels: if self.levels == LEVELS_ANY {
                0
            } else {
                self.levels
            },
            services: self.services.into_iter().flatten().collect(),
        }
    }

    pub(super) fn span_prune(self) -> SpanPrune {
        SpanPrune {
            trace_id: self.trace_id(),
            duration_min_ns: self.duration_min_ns,
            errors_only: self.errors_only,
            services: self.services.into_iter().flatten().collect(),
        }
    }
}

fn both<T: Ord + Clone>(a: Option<BTreeSet<T>>, b: Option<BTreeSet<T>>) -> Option<BTreeSet<T>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.intersection(&b).cloned().collect()),
        (one, other) => one.or(other),
    }
}

fn either<T: Ord>(a: Option<BTreeSet<T>>, b: Option<BTreeSet<T>>) -> Option<BTreeSet<T>> {
    let mut all = a?;
    all.extend(b?);
    Some(all)
}

fn log_term(field: &Field, test: &Test) -> Hints {
    match BuiltIn::named(&field.name) {
        Some(BuiltIn::Service) => services(test),
        Some(BuiltIn::Severity) => Hints {
            levels: levels(test),
            ..Hints::ANY
        },
        Some(BuiltIn::Trace) => traces(test),
        _ => Hints::ANY,
    }
}

fn span_term(field: &Field, test: &Test) -> Hints {
    match BuiltIn::named(&field.name) {
        Some(BuiltIn::Service) => services(test),
        Some(BuiltIn::Trace) => traces(test),
        Some(BuiltIn::Duration) => Hints {
            duration_min_ns: duration_min(test),
            ..Hints::ANY
        },
        Some(BuiltIn::Status) => {
            let error = |text: &&str| text.eq_ignore_ascii_case("error");
            Hints {
                errors_only: exact_values(test).is_some_and(|values| values.iter().all(error)),
                ..Hints::ANY
            }
        }
        _ => Hints::ANY,
    }
}

fn services(test: &Test) -> Hints {
    let names = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect();
    Hints {
        services: exact_values(test).map(names),
        ..Hints::ANY
    }
}

fn traces(test: &Test) -> Hints {
    let ids = |values: Vec<&str>| values.into_iter().filter_map(TraceId::from_hex).collect();
    Hints {
        traces: exact_values(test).map(ids),
        ..Hints::ANY
    }
}

/// The levels that can pass; all of them where the test is not about levels.
fn levels(test: &Test) -> u32 {
    let of_range = |from: Level, to: Level| {
        let inside = |level: &&Level| from <= **level && **level <= to;
        let all = Level::ALL.iter().filter(inside);
        all.fold(0, |mask, level| mask | LogPrune::bit(*level))
    };
    let level = |literal: &super::super::lang::Literal| match literal.quantity(true) {
        Some(Quantity::Severity(severity)) => Some(severity.level()),
        _ => None,
    };
    match test {
        Test::Text(text) => Level::from_text(text).map_or(LEVELS_ANY, LogPrune::bit),
        Test::Compare(comparison, literal) => match (comparison, level(literal)) {
            (Comparison::Greater | Comparison::GreaterOrEqual, Some(from)) => {
                of_range(from, Level::Fatal)
            }
            (Comparison::Less | Comparison::LessOrEqual, Some(to)) => of_range(Level::Trace, to),
            (_, None) => LEVELS_ANY,
        },
        Test::Range(from, to) => match (level(from), level(to)) {
            (Some(from), Some(to)) => of_range(from, to),
            _ => LEVELS_ANY,
        },
        Test::AnyOf(tests) => tests.iter().fold(0, |mask, test| mask | levels(test)),
        Test::Prefix(_) | Test::Regex(_) | Test::Exists => LEVELS_ANY,
    }
}

fn duration_min(test: &Test) -> u64 {
    let ns = |literal: &super::super::lang::Literal| match literal.quantity(false) {
        Some(Quantity::Duration(ns)) => ns,
        _ => 0,
    };
    match test {
        Test::Compare(Comparison::Greater | Comparison::GreaterOrEqual, literal)
        | Test::Range(literal, _) => ns(literal),
        _ => 0,
    }
}
