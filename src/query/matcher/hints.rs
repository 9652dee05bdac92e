//! What a query says about every record it can match: hints that let the store skip blocks.
//! They only ever leave out what cannot match.

use std::collections::BTreeSet;

use super::super::lang::{Comparison, Expr, Field, Number, Place, Quantity, Term, Test};
use super::{BuiltIn, exact_values};
use crate::model::{Level, TraceId};
use crate::store::{LogPrune, Needle, SpanPrune};

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
    /// Each of these sets has one that the span has.
    needles: Vec<BTreeSet<Needle>>,
}

/// Needles that an `OR` may make: a look-up each.
const NEEDLES_MAX: usize = 32;

impl Hints {
    const ANY: Hints = Hints {
        services: None,
        levels: LEVELS_ANY,
        traces: None,
        duration_min_ns: 0,
        errors_only: false,
        needles: Vec::new(),
    };

    pub(super) fn of_logs(expr: &Expr) -> Hints {
        let mut hints = Hints::of(expr, &|field, test| match field.place {
            Place::Any => log_term(field, test),
            _ => Hints::ANY,
        });
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
            }) => term(field, test),
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
            needles: [self.needles, other.needles].concat(),
        }
    }

    fn or(self, other: Hints) -> Hints {
        Hints {
            services: either(self.services, other.services),
            levels: self.levels | other.levels,
            traces: either(self.traces, other.traces),
            duration_min_ns: self.duration_min_ns.min(other.duration_min_ns),
            errors_only: self.errors_only && other.errors_only,
            needles: either_needle(&self.needles, &other.needles),
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
            ..LogPrune::default()
        }
    }

    pub(super) fn span_prune(self) -> SpanPrune {
        SpanPrune {
            trace_id: self.trace_id(),
            duration_min_ns: self.duration_min_ns,
            errors_only: self.errors_only,
            services: self.services.into_iter().flatten().collect(),
            needles: self
                .needles
                .into_iter()
                .map(|any_of| any_of.into_iter().collect())
                .collect(),
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

/// One of `a` or one of `b`, for each pair of them.
fn either_needle(a: &[BTreeSet<Needle>], b: &[BTreeSet<Needle>]) -> Vec<BTreeSet<Needle>> {
    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| a | b));
    pairs
        .filter(|any_of| any_of.len() <= NEEDLES_MAX)
        .take(NEEDLES_MAX)
        .collect()
}

fn span_term(field: &Field, test: &Test) -> Hints {
    let built_in = match field.place {
        Place::Any => BuiltIn::named(&field.name),
        Place::Attr | Place::Resource => None,
        // A scope's name and version are no attributes, and a span has no body.
        Place::Scope | Place::Body => return Hints::ANY,
    };
    match built_in {
        None | Some(BuiltIn::Severity | BuiltIn::Body) => attribute(&field.name, test),
        Some(BuiltIn::Name) => Hints {
            needles: exact_values(test)
                .map(|names| {
                    let needle = |name: &str| Needle::Name(name.to_owned());
                    names.into_iter().map(needle).collect()
                })
                .into_iter()
                .collect(),
            ..Hints::ANY
        },
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

/// What the token table knows of values that equal one of the test's.
fn attribute(key: &str, test: &Test) -> Hints {
    let needles = exact_values(test).and_then(|values| {
        let mut any_of = BTreeSet::from([Needle::Untold {
            key: key.to_owned(),
        }]);
        for value in values {
            let mut needle = |value: String| {
                let key = key.to_owned();
                any_of.insert(Needle::Attribute { key, value });
            };
            needle(value.to_owned());
            match Number::parse(value) {
                // A key without a value equals the empty text; floats past 2^53 equal many integers.
                None if value.is_empty() => return None,
                Some(Number::Float(float)) if float.abs() >= FLOAT_EXACT_MAX => return None,
                Some(Number::Float(float)) if float.fract() == 0.0 => {
                    needle((float as i64).to_string());
                }
                Some(Number::Int(int)) => needle(int.to_string()),
                None | Some(Number::Float(_)) => {}
            }
        }
        Some(any_of)
    });
    Hints {
        needles: needles.into_iter().collect(),
        ..Hints::ANY
    }
}

/// Below this every whole float is one integer.
const FLOAT_EXACT_MAX: f64 = 9_007_199_254_740_992.0;

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
