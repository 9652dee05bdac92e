//! What a trace spends on each operation, and what traces of its kind usually spend: the sums that
//! two traces are compared by. It must never keep more than sums of the traces it reads.

use std::collections::BTreeMap;

use super::control::Control;
use super::lang::{Expr, Field, Term, Test};
use super::layout::{Layout, Skeleton, layout};
use super::{Engine, QueryError, SpanScope, TraceRequest};
use crate::model::{TimeRange, TraceId};

/// Traces that make a typical one: enough for a median, few enough to read while somebody waits.
pub(crate) const TYPICAL_TRACES_MAX: usize = 50;

/// Service and span name.
pub(crate) type Operation = (String, String);

/// What a trace spends on an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) count: u64,
    /// Sum of durations.
    pub(crate) total_ns: u64,
    /// Sum of durations less what children cover.
    pub(crate) self_ns: u64,
}

/// A trace by operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) duration_ns: u64,
    pub(crate) operations: BTreeMap<Operation, Spent>,
}

/// The median of several traces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Typical {
    pub(crate) sums: Sums,
    pub(crate) traces: usize,
    /// Not all that were found could be read in time.
    pub(crate) cut: bool,
}

/// Sums a trace up.
pub(crate) fn sums(layout: &Layout) -> Sums {
    let mut by_kind = BTreeMap::<(u32, u32), Spent>::new();
    for row in &layout.rows {
        let spent = by_kind.entry((row.service, row.operation)).or_default();
        spent.count += 1;
        spent.total_ns = spent.total_ns.saturating_add(row.duration_ns);
        spent.self_ns = spent.self_ns.saturating_add(row.self_ns);
    }
    let named = |((service, operation), spent): ((u32, u32), Spent)| {
        let service = layout.services[service as usize].name.clone();
        (
            (service, layout.operations[operation as usize].clone()),
            spent,
        )
    };
    Sums {
        duration_ns: layout.duration_ns,
        operations: by_kind.into_iter().map(named).collect(),
    }
}

/// The median of each figure; an operation that a trace has not counts as nothing there.
pub(crate) fn median(traces: &[Sums]) -> Sums {
    let middle = |mut figures: Vec<u64>| {
        figures.resize(traces.len(), 0);
        figures.sort_unstable();
        figures.get(figures.len() / 2).copied().unwrap_or(0)
    };
    let mut by_operation = BTreeMap::<&Operation, Vec<Spent>>::new();
    for trace in traces {
        for (operation, spent) in &trace.operations {
            by_operation.entry(operation).or_default().push(*spent);
        }
    }
    let typical = |(operation, spent): (&Operation, Vec<Spent>)| {
        let figure = |of: fn(&Spent) -> u64| middle(spent.iter().map(of).collect());
        let spent = Spent {
            count: figure(|s| s.count),
            total_ns: figure(|s| s.total_ns),
            self_ns: figure(|s| s.self_ns),
        };
        (spent.count > 0).then(|| (operation.clone(), spent))
    };
    Sums {
        duration_ns: middle(traces.iter().map(|trace| trace.duration_ns).collect()),
        operations: by_operation.into_iter().filter_map(typical).collect(),
    }
}

/// The typical trace of those in `range` whose root is `root`, the newest first, `but` left out.
///
/// # Errors
/// The store cannot be read.
pub(crate) fn typical(
    engine: &Engine,
    root: &Operation,
    but: TraceId,
    range: TimeRange,
    control: &Control,
) -> Result<Typical, QueryError> {
    let is = |field: &str, value: &str| {
        Expr::Term(Term {
            field: Some(Field::named(field)),
            test: Test::Text(value.to_owned()),
        })
    };
    let request = TraceRequest {
        query: Expr::And(vec![is("service", &root.0), is("name", &root.1)]),
        range,
        limit: TYPICAL_TRACES_MAX + 1,
        scope: SpanScope::Root,
        cursor: None,
        whole: false,
    };
    let found = engine.traces(&request, control)?;
    let others = found.traces.iter().map(|row| row.trace_id);
    let others: Vec<TraceId> = others
        .filter(|id| *id != but)
        .take(TYPICAL_TRACES_MAX)
        .collect();
    let snapshot = engine.snapshot();
    let mut all = Vec::with_capacity(others.len());
    for id in &others {
        if control.check().is_err() {
            break;
        }
        match Skeleton::read(&snapshot, *id, control) {
            Ok(skeleton) => all.push(sums(&layout(&skeleton))),
            // Gone between the list and now: past its retention.
            Err(QueryError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Typical {
        sums: median(&all),
        traces: all.len(),
        cut: all.len() < others.len() || found.stats.partial.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(duration_ns: u64, spent: &[(&str, u64, u64)]) -> Sums {
        let one = |(name, count, ns): &(&str, u64, u64)| {
            let spent = Spent {
                count: *count,
                total_ns: 2 * ns,
                self_ns: *ns,
            };
            (("shop".to_owned(), (*name).to_owned()), spent)
        };
        Sums {
            duration_ns,
            operations: spent.iter().map(one).collect(),
        }
    }

    #[test]
    fn the_median_passes_over_what_few_traces_have() {
        let traces = [
            trace(10, &[("a", 1, 5), ("b", 3, 9)]),
            trace(30, &[("a", 1, 7), ("rare", 1, 99)]),
            trace(20, &[("a", 2, 6), ("b", 5, 8)]),
        ];
        assert_eq!(median(&traces), trace(20, &[("a", 1, 6), ("b", 3, 8)]));
        assert_eq!(median(&[]), Sums::default());
    }
}
