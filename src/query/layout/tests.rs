//! Layouts by example, and what must hold for every trace however broken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::answer::TraceDetail;
use super::super::control::Stats;
use super::*;
use crate::model::{Resource, Scope, Span, SpanId};

fn span(id: u64, parent: u64, service: &str, name: &str, start: u64, end: u64) -> Span {
    let span_id = |id: u64| SpanId::from_field(&id.to_be_bytes()).expect("8 bytes");
    Span {
        trace_id: TraceId([7; 16]),
        span_id: span_id(id).expect("not zero"),
        parent: span_id(parent),
        trace_state: String::new(),
        flags: 0,
        name: name.to_owned(),
        kind: 1,
        start: Timestamp(start),
        end: Timestamp(end),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        status_code: 0,
        status_message: String::new(),
        resource: Arc::new(Resource {
            service: service.to_owned(),
            schema_url: String::new(),
            attributes: Vec::new(),
        }),
        scope: Arc::new(Scope {
            name: String::new(),
            version: String::new(),
            schema_url: String::new(),
            attributes: Vec::new(),
        }),
    }
}

fn lay_out(mut spans: Vec<Span>) -> (Layout, Vec<Arc<Span>>) {
    spans.sort_by_key(|span| (span.start, span.span_id));
    let trace = TraceDetail {
        trace_id: TraceId([7; 16]),
        spans: spans.into_iter().map(Arc::new).collect(),
        stats: Stats::default(),
    };
    (layout(&Skeleton::of(&trace)), trace.spans)
}

/// One line per row: depth as indent, name, start+duration, self time, `*` on the critical path.
fn render(spans: Vec<Span>) -> String {
    let (layout, _) = lay_out(spans);
    let line = |row: &Row| {
        format!(
            "{}{} {}+{} self {}{}\n",
            "  ".repeat(row.depth as usize),
            layout.operations[row.operation as usize],
            row.start_ns,
            row.duration_ns,
            row.self_ns,
            if row.critical { " *" } else { "" },
        )
    };
    layout.rows.iter().map(line).collect()
}

#[track_caller]
fn check(spans: Vec<Span>, expect: &str) {
    assert_eq!(render(spans), expect);
}

#[test]
fn rows_are_in_tree_order_with_self_time_and_critical_path() {
    check(
        vec![
            span(1, 0, "a", "root", 100, 200),
            span(2, 1, "a", "early", 110, 130),
            span(3, 1, "b", "overlapping", 120, 160),
            span(4, 3, "b", "inner", 125, 155),
            span(5, 1, "a", "late", 190, 250),
        ],
        "root 0+100 self 40 *\n\
         \x20 early 10+20 self 20\n\
         \x20 overlapping 20+40 self 10 *\n\
         \x20   inner 25+30 self 30 *\n\
         \x20 late 90+60 self 60 *\n",
    );
}

#[test]
fn missing_parents_become_roots_and_cycles_are_cut() {
    let spans = vec![
        span(1, 9, "a", "orphan", 0, 10),
        span(2, 3, "a", "tail", 5, 6),
        span(3, 2, "a", "head", 4, 7),
        span(4, 4, "a", "own parent", 8, 9),
    ];
    let (layout, _) = lay_out(spans.clone());
    assert_eq!(layout.missing_parents, 1);
    assert_eq!(
        layout
            .rows
            .iter()
            .filter(|row| row.parent.is_none())
            .count(),
        3
    );
    // The cut lies where walking up from the earliest span of the cycle closes it.
    check(
        spans,
        "orphan 0+10 self 10\n\
         tail 5+1 self 0 *\n\
         \x20 head 4+3 self 3 *\n\
         own parent 8+1 self 1\n",
    );
}

#[test]
fn repeated_siblings_stand_together_as_a_group() {
    let mut spans = vec![span(1, 0, "a", "root", 0, 1000)];
    for i in 0..6 {
        let (id, start) = (10 + i, 100 * i);
        let mut select = span(id, 1, "db", "SELECT", start, start + 10 + i);
        select.status_code = if i == 2 { 2 } else { 0 };
        spans.push(select);
        spans.push(span(
            30 + i,
            1,
            "a",
            &format!("work {i}"),
            start + 50,
            start + 60,
        ));
    }
    let (layout, _) = lay_out(spans);
    let [group] = &layout.groups[..] else {
        panic!("one group: {:?}", layout.groups);
    };
    assert_eq!(
        (group.rows.clone(), group.count, group.errors),
        (1..7, 6, 1)
    );
    assert_eq!((group.total_ns, group.p95_ns), (75, 15));
    assert!(layout.rows[1..7].iter().all(|row| row.group == Some(0)));
    let outline = layout.outline(200);
    assert_eq!(outline[..2], [OutlineRow::Span(0), OutlineRow::Group(0)]);
    assert_eq!(outline.len(), 2 + 6);
}

#[test]
fn the_outline_of_a_large_trace_shows_errors_with_ancestors_and_folds_the_rest() {
    let mut spans = vec![span(1, 0, "a", "root", 0, 100_000)];
    for i in 0..1000 {
        let parent = if i % 10 == 0 { 1 } else { 2 + i - i % 10 };
        spans.push(span(
            2 + i,
            parent,
            "a",
            &format!("op {i}"),
            i * 100,
            i * 100 + 50,
        ));
    }
    spans[778].status_code = 2;
    let (layout, all) = lay_out(spans);
    let outline = layout.outline(20);
    assert!(outline.len() <= 20, "{}", outline.len());
    let shown = |id: u64| {
        outline.iter().any(|line| match line {
            OutlineRow::Span(at) => {
                all[layout.rows[*at as usize].span as usize].span_id.0 == id.to_be_bytes()
            }
            OutlineRow::Group(_) | OutlineRow::Folded(_) => false,
        })
    };
    assert!(shown(1) && shown(779) && shown(772), "{outline:?}");
    assert_eq!(lines_cover(&layout, &outline), layout.rows.len());
}

/// Spans that the lines stand for.
fn lines_cover(layout: &Layout, outline: &[OutlineRow]) -> usize {
    outline
        .iter()
        .map(|line| match line {
            OutlineRow::Span(_) => 1,
            OutlineRow::Group(group) => layout.groups[*group as usize].rows.len(),
            OutlineRow::Folded(fold) => fold.spans as usize,
        })
        .sum()
}

#[test]
fn a_hundred_thousand_spans_in_one_chain_or_under_one_parent_are_laid_out_quickly() {
    for chain in [true, false] {
        let n = 100_000;
        let spans = (1..=n)
            .map(|i| {
                span(
                    i,
                    if chain { i - 1 } else { u64::from(i > 1) },
                    "a",
                    &format!("op {}", i % 999),
                    i,
                    2 * n - i,
                )
            })
            .collect();
        let started = Instant::now();
        let (layout, _) = lay_out(spans);
        assert_eq!(layout.rows.len(), n as usize);
        let outline = layout.outline(200);
        assert!(outline.len() <= 200);
        assert!(layout.minimap(1200, 14).runs.len() <= 1200 * 14);
        // 100 ms optimised; tests run with little optimisation on busy machines. A step for each pair of
        // spans would take minutes.
        assert!(started.elapsed() < Duration::from_secs(15));
    }
}

fn any_spans() -> impl Strategy<Value = Vec<Span>> {
    let one = (
        1u64..30,
        0u64..32,
        0usize..3,
        0usize..4,
        0u64..100,
        0u64..60,
        0u8..8,
    );
    prop::collection::vec(one, 0..40).prop_map(|spans| {
        spans
            .into_iter()
            .map(|(id, parent, service, name, start, length, luck)| {
                let (service, name) = (["a", "b", "c"][service], ["w", "x", "y", "z"][name]);
                // An end before its start happens, too.
                let end = if luck == 0 {
                    start.saturating_sub(length)
                } else {
                    start + length
                };
                let mut span = span(id, parent, service, name, start, end);
                span.status_code = if luck == 1 { 2 } else { 0 };
                span
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn what_holds_for_every_trace(spans in any_spans(), lines_max in 2usize..50) {
        let n = spans.len();
        let errors = spans.iter().filter(|span| span.is_error()).count();
        let (layout, all) = lay_out(spans);
        // Every span has one row, below its parent's, in its parent's subtree.
        let mut seen: Vec<u32> = layout.rows.iter().map(|row| row.span).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..n as u32).collect::<Vec<_>>());
        prop_assert_eq!(layout.errors as usize, errors);
        for (at, row) in layout.rows.iter().enumerate() {
            prop_assert!(row.self_ns <= row.duration_ns);
            let below = &layout.rows[at + 1..at + 1 + row.descendants as usize];
            prop_assert!(below.iter().all(|inner| inner.depth > row.depth));
            prop_assert_eq!(below.iter().filter(|inner| inner.parent == Some(at as u32)).count(), row.children as usize);
            prop_assert_eq!(below.iter().filter(|inner| inner.error).count(), row.errors_below as usize);
            if let Some(parent) = row.parent {
                let up = &layout.rows[parent as usize];
                prop_assert_eq!(up.depth + 1, row.depth);
                prop_assert_eq!(Some(all[up.span as usize].span_id), all[row.span as usize].parent);
            }
        }
        // The path covers its root without gaps or overlaps.
        for pair in layout.critical.windows(2) {
            prop_assert_eq!(pair[0].end_ns, pair[1].start_ns);
        }
        // Groups are what their rows are.
        for (number, group) in layout.groups.iter().enumerate() {
            let rows = &layout.rows[group.rows.start as usize..group.rows.end as usize];
            let members: Vec<&Row> = rows.iter().filter(|row| row.group == Some(number as u32)).collect();
            prop_assert_eq!(members.len(), group.count as usize);
            prop_assert!(members.len() >= GROUP_ROWS_MIN);
            prop_assert!(members.iter().all(|row| (row.service, row.operation) == (group.service, group.operation)));
        }
        let total: u64 = layout.services.iter().map(|share| share.self_ns).sum();
        prop_assert_eq!(total, layout.rows.iter().map(|row| row.self_ns).sum::<u64>());
        // An outline keeps to its lines and leaves nothing out.
        let outline = layout.outline(lines_max);
        prop_assert!(outline.len() <= lines_max, "{} > {}", outline.len(), lines_max);
        prop_assert_eq!(lines_cover(&layout, &outline), n);
        for run in layout.minimap(100, 14).runs {
            prop_assert!(run.from < run.to && run.to <= 100 && run.lane < 14);
        }
    }
}
