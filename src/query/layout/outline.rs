//! Which lines of a large trace are shown first: chosen by information, not by depth (ui.md W3,
//! W10). Shown lines always have their ancestors shown; what is left out is told by folds.

use std::cmp::Reverse;

use super::{Folded, Layout, OutlineRow, SHOWN_SHARE};

/// Why a row is worth a line; the first is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Root,
    Error,
    Critical,
    Long,
    Rest,
}

impl Layout {
    /// The lines to show first: at most `lines_max` (at least 2), chosen by information (roots,
    /// errors with their ancestors, critical path, spans over 2 % of the trace, then the longest);
    /// the rest as folds. Fold groups are one line each.
    pub(crate) fn outline(&self, lines_max: usize) -> Vec<OutlineRow> {
        let mut choice = Choice::new(self);
        for at in self.by_worth(lines_max) {
            choice.show(at, lines_max);
        }
        choice.lines()
    }

    /// Candidates, best first; more than will fit, because some are inside groups.
    fn by_worth(&self, lines_max: usize) -> Vec<u32> {
        let long_ns = (self.duration_ns as f64 * SHOWN_SHARE) as u64;
        let worth = |at: &u32| {
            let row = &self.rows[*at as usize];
            let worth = if row.parent.is_none() && !row.missing_parent {
                Worth::Root
            } else if row.error {
                Worth::Error
            } else if row.critical {
                Worth::Critical
            } else if row.duration_ns > long_ns {
                Worth::Long
            } else {
                Worth::Rest
            };
            (worth, Reverse(row.duration_ns), *at)
        };
        let mut rows: Vec<u32> = (0..self.rows.len() as u32).collect();
        let wanted = lines_max.saturating_mul(16);
        if rows.len() > wanted && wanted > 0 {
            rows.select_nth_unstable_by_key(wanted - 1, worth);
            rows.truncate(wanted);
        }
        rows.sort_unstable_by_key(worth);
        rows
    }
}

/// A line: a span, or a whole fold group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Span(u32),
    Group(u32),
}

struct Choice<'a> {
    layout: &'a Layout,
    span_shown: Vec<bool>,
    group_shown: Vec<bool>,
    /// Per row: lines below it that are not shown yet. The last slot counts roots.
    hidden: Vec<u32>,
    lines: usize,
}

impl<'a> Choice<'a> {
    fn new(layout: &'a Layout) -> Choice<'a> {
        let n = layout.rows.len();
        let mut hidden = vec![0; n + 1];
        for row in layout.rows.iter().filter(|row| row.group.is_none()) {
            hidden[slot(row.parent, n)] += 1;
        }
        for group in &layout.groups {
            let parent = layout.rows[group.rows.start as usize].parent;
            hidden[slot(parent, n)] += 1;
        }
        Choice {
            layout,
            span_shown: vec![false; n],
            group_shown: vec![false; layout.groups.len()],
            // The fold of the roots.
            lines: usize::from(n > 0),
            hidden,
        }
    }

    fn line_of(&self, at: u32) -> Line {
        let group = self.layout.rows[at as usize].group;
        group.map_or(Line::Span(at), Line::Group)
    }

    fn is_shown(&self, line: Line) -> bool {
        match line {
            Line::Span(at) => self.span_shown[at as usize],
            Line::Group(group) => self.group_shown[group as usize],
        }
    }

    fn parent(&self, line: Line) -> Option<u32> {
        let at = match line {
            Line::Span(at) => at,
            Line::Group(group) => self.layout.groups[group as usize].rows.start,
        };
        self.layout.rows[at as usize].parent
    }

    /// Shows a row with its ancestors when all of them fit; a row inside a group shows the group.
    fn show(&mut self, at: u32, lines_max: usize) {
        // Outermost folded group on the way up hides everything below it.
        let mut chain = vec![self.line_of(at)];
        let mut up = self.layout.rows[at as usize].parent;
        while let Some(parent) = up {
            let line = self.line_of(parent);
            if self.is_shown(line) && matches!(line, Line::Span(_)) {
                break;
            }
            if matches!(line, Line::Group(_)) {
                chain.clear();
            }
            chain.push(line);
            if chain.len() > lines_max {
                return;
            }
            up = self.layout.rows[parent as usize].parent;
        }
        chain.retain(|line| !self.is_shown(*line));
        let added: isize = chain.iter().map(|line| self.cost(*line)).sum();
        if self.lines.saturating_add_signed(added) > lines_max {
            return;
        }
        for line in chain {
            self.add(line);
        }
        self.lines = self.lines.saturating_add_signed(added);
    }

    /// Lines added by showing `line` when its parent is shown: itself, a fold below it, less the
    /// fold beside it when it was the only one in there. The last is exact only for one at a time,
    /// which is how siblings are added.
    fn cost(&self, line: Line) -> isize {
        let n = self.layout.rows.len();
        let below = match line {
            Line::Span(at) => isize::from(self.hidden[at as usize] > 0),
            Line::Group(_) => 0,
        };
        let beside = isize::from(self.hidden[slot(self.parent(line), n)] == 1);
        1 + below - beside
    }

    fn add(&mut self, line: Line) {
        let parent = slot(self.parent(line), self.layout.rows.len());
        self.hidden[parent] -= 1;
        match line {
            Line::Span(at) => self.span_shown[at as usize] = true,
            Line::Group(group) => self.group_shown[group as usize] = true,
        }
    }

    /// The chosen lines in row order; a fold stands after the last shown line below its parent.
    fn lines(&self) -> Vec<OutlineRow> {
        let rows = &self.layout.rows;
        let mut out = Vec::with_capacity(self.lines);
        // Shown spans whose subtree is being walked, each with what is folded below it.
        let mut open: Vec<(u32, Option<Folded>)> = vec![(rows.len() as u32, None)];
        let mut at = 0;
        loop {
            while let Some((end, _)) = open.last()
                && *end <= at
            {
                out.extend(
                    open.pop()
                        .and_then(|(_, fold)| fold)
                        .map(OutlineRow::Folded),
                );
            }
            let Some(row) = rows.get(at as usize) else {
                return out;
            };
            let end = at + 1 + row.descendants;
            match self.line_of(at) {
                Line::Span(_) if self.span_shown[at as usize] => {
                    out.push(OutlineRow::Span(at));
                    open.push((end, None));
                    at += 1;
                }
                Line::Group(group) if self.group_shown[group as usize] => {
                    out.push(OutlineRow::Group(group));
                    at = self.layout.groups[group as usize].rows.end;
                }
                Line::Span(_) | Line::Group(_) => {
                    let (_, fold) = open.last_mut().expect("the end of the rows stays open");
                    let fold = fold.get_or_insert(Folded {
                        parent: row.parent,
                        depth: row.depth,
                        first: at,
                        spans: 0,
                        duration_ns: 0,
                        errors: 0,
                    });
                    fold.spans += 1 + row.descendants;
                    fold.duration_ns = fold.duration_ns.saturating_add(row.duration_ns);
                    fold.errors += row.errors_below + u32::from(row.error);
                    at = end;
                }
            }
        }
    }
}

fn slot(parent: Option<u32>, n: usize) -> usize {
    parent.map_or(n, |parent| parent as usize)
}
