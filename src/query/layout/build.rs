//! Builds the rows: tree, order, times, groups. Every step is a pass over all spans or a sort;
//! 100,000 spans take well under 100 ms.

use std::collections::HashMap;

use super::critical;
use super::skeleton::{Bone, Skeleton};
use super::{FoldGroup, GROUP_ROWS_MIN, Layout, Row, ServiceShare};
use crate::model::{SpanId, Timestamp};

/// "No span" in the arrays below, which are indexed by span.
const NONE: u32 = u32::MAX;

/// Lays a trace out.
pub(crate) fn layout(trace: &Skeleton) -> Layout {
    let spans = &trace.bones;
    let start = spans
        .iter()
        .map(|span| span.start)
        .min()
        .unwrap_or_default();
    let end = spans.iter().map(|span| span.end.max(span.start)).max();
    let tree = Tree::new(spans);
    let self_ns = self_times(spans, &tree);
    let (services, service_rank) = services(trace, &self_ns);
    let (rows, members) = rows(spans, &tree, start, &self_ns, &service_rank);
    let mut layout = Layout {
        trace_id: trace.trace_id,
        start,
        duration_ns: end.unwrap_or_default().0.saturating_sub(start.0),
        services,
        operations: trace.operations.list.clone(),
        groups: groups(&rows, members),
        critical: Vec::new(),
        errors: rows.iter().filter(|row| row.error).count() as u32,
        depth: rows.iter().map(|row| row.depth + 1).max().unwrap_or(0),
        missing_parents: tree.missing.iter().filter(|&&missing| missing).count() as u32,
        skewed: skewed(spans, &tree),
        rows,
    };
    critical::mark(&mut layout);
    layout
}

/// Who is below whom. Children are in the order of their start.
struct Tree {
    parent: Vec<u32>,
    missing: Vec<bool>,
    /// `children[first_child[i]..first_child[i + 1]]` are the children of span `i`; those of the
    /// last slot, `spans.len()`, are the roots.
    first_child: Vec<u32>,
    children: Vec<u32>,
}

impl Tree {
    fn new(spans: &[Bone]) -> Tree {
        // One id twice (different content, or a client and server sharing one): the first is it.
        let mut by_id: HashMap<SpanId, u32> = HashMap::with_capacity(spans.len());
        for (i, span) in spans.iter().enumerate() {
            by_id.entry(span.id).or_insert(i as u32);
        }
        let mut parent = vec![NONE; spans.len()];
        let mut missing = vec![false; spans.len()];
        for (i, span) in spans.iter().enumerate() {
            let Some(id) = span.parent else { continue };
            match by_id.get(&id) {
                Some(&found) if found != i as u32 => parent[i] = found,
                Some(_) => {}
                None => missing[i] = true,
            }
        }
        cut_cycles(&mut parent);
        let (first_child, children) = children(&parent);
        Tree {
            parent,
            missing,
            first_child,
            children,
        }
    }

    fn children(&self, of: usize) -> &[u32] {
        let (from, to) = (self.first_child[of], self.first_child[of + 1]);
        &self.children[from as usize..to as usize]
    }

    fn roots(&self) -> &[u32] {
        self.children(self.parent.len())
    }
}

/// Makes a root of one span of every cycle: the one where walking up from earlier spans closes it.
fn cut_cycles(parent: &mut [u32]) {
    // Which walk visited a span; a walk that meets itself has found a cycle.
    let mut walk_of = vec![NONE; parent.len()];
    for walk in 0..parent.len() as u32 {
        let mut at = walk;
        while walk_of[at as usize] == NONE {
            walk_of[at as usize] = walk;
            let up = parent[at as usize];
            if up == NONE {
                break;
            }
            if walk_of[up as usize] == walk {
                parent[at as usize] = NONE;
                break;
            }
            at = up;
        }
    }
}

/// Counting sort by parent; the order of spans is kept among siblings.
fn children(parent: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let slot = |parent: u32, n: usize| if parent == NONE { n } else { parent as usize };
    let n = parent.len();
    let mut first = vec![0u32; n + 2];
    for &up in parent {
        first[slot(up, n) + 1] += 1;
    }
    for i in 1..first.len() {
        first[i] += first[i - 1];
    }
    let mut next = first.clone();
    let mut children = vec![0u32; n];
    for (i, &up) in parent.iter().enumerate() {
        let place = &mut next[slot(up, n)];
        children[*place as usize] = i as u32;
        *place += 1;
    }
    (first, children)
}

/// Duration minus the union of the children's times inside it.
fn self_times(spans: &[Bone], tree: &Tree) -> Vec<u64> {
    let own = |(i, span): (usize, &Bone)| {
        let (mut covered, mut until) = (0, span.start);
        for &child in tree.children(i) {
            let child = &spans[child as usize];
            let (from, to) = (child.start.max(until), child.end.min(span.end));
            if to > from {
                covered += to.0 - from.0;
                until = to;
            }
        }
        span.duration_ns().saturating_sub(covered)
    };
    spans.iter().enumerate().map(own).collect()
}

/// The services by self time, and the place of each service number in that order.
fn services(trace: &Skeleton, self_ns: &[u64]) -> (Vec<ServiceShare>, Vec<u32>) {
    let names = trace.services.list.iter();
    let mut shares: Vec<(usize, ServiceShare)> = names
        .map(|name| ServiceShare {
            name: name.clone(),
            spans: 0,
            errors: 0,
            self_ns: 0,
        })
        .enumerate()
        .collect();
    for (bone, own_ns) in trace.bones.iter().zip(self_ns) {
        let share = &mut shares[bone.service as usize].1;
        share.spans += 1;
        share.errors += u32::from(bone.error);
        share.self_ns = share.self_ns.saturating_add(*own_ns);
    }
    shares.sort_by(|(_, a), (_, b)| b.self_ns.cmp(&a.self_ns).then_with(|| a.name.cmp(&b.name)));
    let mut rank = vec![0; shares.len()];
    for (place, (number, _)) in shares.iter().enumerate() {
        rank[*number] = place as u32;
    }
    (shares.into_iter().map(|(_, share)| share).collect(), rank)
}

/// Rows in preorder, and the fold groups as lists of their members' rows.
fn rows(
    spans: &[Bone],
    tree: &Tree,
    start: Timestamp,
    self_ns: &[u64],
    service_rank: &[u32],
) -> (Vec<Row>, Vec<Vec<u32>>) {
    let mut rows: Vec<Row> = Vec::with_capacity(spans.len());
    let mut members: Vec<Vec<u32>> = Vec::new();
    let mut order = SiblingOrder::default();
    // Spans still to place, the next one last, with their parent's row and their group.
    let mut stack: Vec<(u32, Option<u32>, Option<u32>)> = Vec::new();
    order.push(tree.roots(), None, spans, &mut members, &mut stack);
    while let Some((i, parent, group)) = stack.pop() {
        let (span, row) = (&spans[i as usize], rows.len() as u32);
        if let Some(group) = group {
            members[group as usize].push(row);
        }
        let children = tree.children(i as usize);
        rows.push(Row {
            span: i,
            id: span.id,
            parent,
            depth: parent.map_or(0, |parent| rows[parent as usize].depth + 1),
            start_ns: span.start.0 - start.0,
            duration_ns: span.duration_ns(),
            self_ns: self_ns[i as usize],
            service: service_rank[span.service as usize],
            operation: span.operation,
            error: span.error,
            errors_below: 0,
            children: children.len() as u32,
            descendants: 0,
            group,
            missing_parent: tree.missing[i as usize],
            critical: false,
        });
        order.push(children, Some(row), spans, &mut members, &mut stack);
    }
    for at in (0..rows.len()).rev() {
        let row = rows[at];
        if let Some(parent) = row.parent {
            let parent = &mut rows[parent as usize];
            parent.descendants += row.descendants + 1;
            parent.errors_below += row.errors_below + u32::from(row.error);
        }
    }
    (rows, members)
}

/// Puts siblings that repeat next to each other, at the place of the first.
#[derive(Default)]
struct SiblingOrder {
    /// Per (service, operation): how many siblings, and their group once one is open.
    seen: HashMap<(u32, u32), (usize, Option<u32>)>,
    ordered: Vec<(u32, Option<u32>)>,
}

impl SiblingOrder {
    fn push(
        &mut self,
        siblings: &[u32],
        parent: Option<u32>,
        spans: &[Bone],
        members: &mut Vec<Vec<u32>>,
        stack: &mut Vec<(u32, Option<u32>, Option<u32>)>,
    ) {
        if siblings.len() < GROUP_ROWS_MIN {
            stack.extend(siblings.iter().rev().map(|&i| (i, parent, None)));
            return;
        }
        self.seen.clear();
        let name = |i: u32| {
            let bone = &spans[i as usize];
            (bone.service, bone.operation)
        };
        for &i in siblings {
            self.seen.entry(name(i)).or_default().0 += 1;
        }
        let groups_before = members.len() as u32;
        self.ordered.clear();
        for &i in siblings {
            let seen = self.seen.get_mut(&name(i)).expect("counted above");
            if seen.0 >= GROUP_ROWS_MIN && seen.1.is_none() {
                seen.1 = Some(members.len() as u32);
                members.push(Vec::with_capacity(seen.0));
            }
            self.ordered.push((i, seen.1));
        }
        // A stable sort by the place of the group's first member, which singles have for themselves.
        let mut first_of = vec![usize::MAX; members.len() - groups_before as usize];
        let keys: Vec<usize> = self
            .ordered
            .iter()
            .enumerate()
            .map(|(place, (_, group))| match group {
                Some(group) => {
                    let first = &mut first_of[(group - groups_before) as usize];
                    *first = place.min(*first);
                    *first
                }
                None => place,
            })
            .collect();
        let mut places: Vec<usize> = (0..siblings.len()).collect();
        places.sort_by_key(|&place| keys[place]);
        let next_last = places.iter().rev().map(|&place| self.ordered[place]);
        stack.extend(next_last.map(|(i, group)| (i, parent, group)));
    }
}

fn groups(rows: &[Row], members: Vec<Vec<u32>>) -> Vec<FoldGroup> {
    let group = |members: Vec<u32>| {
        let (first, last) = (members[0], members[members.len() - 1]);
        let row = |at: &u32| &rows[*at as usize];
        let mut durations: Vec<u64> = members.iter().map(|at| row(at).duration_ns).collect();
        let p95_at = (durations.len() * 95).div_ceil(100) - 1;
        let p95_ns = *durations.select_nth_unstable(p95_at).1;
        FoldGroup {
            rows: first..last + row(&last).descendants + 1,
            service: row(&first).service,
            operation: row(&first).operation,
            count: members.len() as u32,
            total_ns: members.iter().map(|at| row(at).duration_ns).sum(),
            p95_ns,
            errors: members
                .iter()
                .map(|at| row(at).errors_below + u32::from(row(at).error))
                .sum(),
        }
    };
    members.into_iter().map(group).collect()
}

fn skewed(spans: &[Bone], tree: &Tree) -> u32 {
    let before_parent = |(span, &parent): (&Bone, &u32)| {
        parent != NONE && span.start < spans[parent as usize].start
    };
    spans
        .iter()
        .zip(&tree.parent)
        .filter(|&pair| before_parent(pair))
        .count() as u32
}
