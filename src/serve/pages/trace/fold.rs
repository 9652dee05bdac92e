//! Which lines of a waterfall are open, and the list of lines that follows from it. The same rules
//! run in web/static/trace.js over the same columns; the first picture comes from here.
//! It must never recurse: traces come in any depth.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::query::Layout;
use crate::query::layout::OutlineRow;

/// Fold marks read from an address. A person's clicks are far fewer; a longer list is cut.
const TOGGLES_MAX: usize = 500;

/// Traces with up to so many lines are shown whole: a screen holds them.
const LINES_AS_THEY_ARE: usize = 16;
/// Neighbours that say nothing are folded from this many on; fewer cost less than the fold hides.
const MINOR_RUN_MIN: usize = 5;
/// A span shorter than this share of the trace says nothing by its length (ui.md W3).
const MINOR_SHARE: u64 = 50;

/// What stands on one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Index into [`Layout::rows`].
    Row(u32),
    /// Index into [`Folds::bundles`].
    Bundle(u32),
}

/// Siblings that stand under one line: a group of repeated spans, or spans left out as unimportant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bundle {
    /// Rows of all members with what is below them.
    pub(crate) rows: Range<u32>,
    /// Index into [`Layout::groups`]; `None` for spans left out.
    pub(crate) group: Option<u32>,
    pub(crate) open: bool,
}

/// One line of the waterfall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) place: Place,
    /// 0 for roots.
    pub(crate) level: u32,
    /// Place among the visible siblings, from 1, and their number.
    pub(crate) position: u32,
    pub(crate) size: u32,
    /// Index of the line above it in the tree.
    pub(crate) parent: Option<usize>,
    /// `None` where there is nothing to open.
    pub(crate) open: Option<bool>,
}

/// The fold state of a trace.
#[derive(Clone, Debug)]
pub(crate) struct Folds {
    /// By first row, the enclosing one first.
    pub(crate) bundles: Vec<Bundle>,
    /// Per row of the layout.
    open: Vec<bool>,
}

impl Folds {
    /// The state to start from: open is what `outline` shows the inside of; runs of siblings that
    /// it leaves out stand under one line each.
    pub(crate) fn new(layout: &Layout, outline: &[OutlineRow]) -> Folds {
        let mut shown = Shown::of(layout, outline);
        if outline.len() > LINES_AS_THEY_ARE {
            shown.hide_minor_runs(layout);
        }
        let mut bundles: Vec<Bundle> = (0u32..)
            .zip(&layout.groups)
            .map(|(group, fold)| Bundle {
                rows: fold.rows.clone(),
                group: Some(group),
                open: shown.group_open[group as usize],
            })
            .collect();
        let end = layout.rows.len() as u32;
        left_out(layout, &shown, 0..end, None, &mut bundles);
        for (row, _) in (0u32..).zip(&shown.row_open).filter(|(_, open)| **open) {
            let below = row + 1..row + 1 + layout.rows[row as usize].descendants;
            left_out(layout, &shown, below, None, &mut bundles);
        }
        for (group, fold) in layout.groups.iter().enumerate() {
            if shown.group_open[group] {
                let inside = Some(group as u32);
                left_out(layout, &shown, fold.rows.clone(), inside, &mut bundles);
            }
        }
        bundles.sort_by_key(|b| {
            (
                b.rows.start,
                std::cmp::Reverse(b.rows.end),
                b.group.is_some(),
            )
        });
        Folds {
            bundles,
            open: shown.row_open,
        }
    }

    /// Turns what the address names the other way: `12.g40.s7` is row 12, the group from row 40
    /// and the left-out spans from row 7. Marks of another version of the trace are passed over.
    pub(crate) fn toggle(&mut self, marks: &str) {
        for mark in marks.split('.').take(TOGGLES_MAX) {
            let (kind, number) = match mark.as_bytes().first() {
                Some(b'g') => (Some(true), &mark[1..]),
                Some(b's') => (Some(false), &mark[1..]),
                _ => (None, mark),
            };
            let Ok(row) = number.parse::<u32>() else {
                continue;
            };
            match kind {
                None => {
                    if let Some(open) = self.open.get_mut(row as usize) {
                        *open = !*open;
                    }
                }
                Some(group) => {
                    let same = |b: &&mut Bundle| b.rows.start == row && b.group.is_some() == group;
                    if let Some(bundle) = self.bundles.iter_mut().find(same) {
                        bundle.open = !bundle.open;
                    }
                }
            }
        }
    }

    /// The mark that turns a place over.
    pub(crate) fn mark(&self, place: Place) -> String {
        match place {
            Place::Row(row) => row.to_string(),
            Place::Bundle(at) => {
                let bundle = &self.bundles[at as usize];
                let kind = if bundle.group.is_some() { 'g' } else { 's' };
                format!("{kind}{}", bundle.rows.start)
            }
        }
    }

    /// Opens everything that hides the row.
    pub(crate) fn reveal(&mut self, layout: &Layout, row: u32) {
        let mut above = layout.rows[row as usize].parent;
        while let Some(parent) = above {
            self.open[parent as usize] = true;
            above = layout.rows[parent as usize].parent;
        }
        for bundle in &mut self.bundles {
            bundle.open |= bundle.rows.contains(&row);
        }
    }

    /// Rows that are open, for the browser to start from.
    pub(crate) fn open_rows(&self) -> impl Iterator<Item = u32> {
        (0u32..)
            .zip(&self.open)
            .filter(|(_, open)| **open)
            .map(|(row, _)| row)
    }

    /// Every visible line, in order.
    pub(crate) fn lines(&self, layout: &Layout) -> Vec<Line> {
        let mut starts: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (at, bundle) in (0u32..).zip(&self.bundles) {
            starts.entry(bundle.rows.start).or_default().push(at);
        }
        let mut lines = Lines::default();
        let mut ends: Vec<u32> = Vec::new();
        let (mut row, end) = (0, layout.rows.len() as u32);
        'rows: while row < end {
            while ends.last().is_some_and(|end| *end <= row) {
                ends.pop();
            }
            let facts = &layout.rows[row as usize];
            for &at in starts.get(&row).into_iter().flatten() {
                let bundle = &self.bundles[at as usize];
                let level = facts.depth as usize + ends.len();
                lines.push(Place::Bundle(at), level, Some(bundle.open));
                if !bundle.open {
                    row = bundle.rows.end;
                    continue 'rows;
                }
                ends.push(bundle.rows.end);
            }
            let open = (facts.descendants > 0).then_some(self.open[row as usize]);
            lines.push(Place::Row(row), facts.depth as usize + ends.len(), open);
            row += if open == Some(false) {
                1 + facts.descendants
            } else {
                1
            };
        }
        lines.finish()
    }
}

/// What an outline shows, per row and group.
struct Shown {
    row: Vec<bool>,
    /// Something below the row is shown.
    row_open: Vec<bool>,
    group: Vec<bool>,
    /// Single members of the group are shown.
    group_open: Vec<bool>,
}

impl Shown {
    fn of(layout: &Layout, outline: &[OutlineRow]) -> Shown {
        let mut shown = Shown {
            row: vec![false; layout.rows.len()],
            row_open: vec![false; layout.rows.len()],
            group: vec![false; layout.groups.len()],
            group_open: vec![false; layout.groups.len()],
        };
        for line in outline {
            let above = match line {
                OutlineRow::Span(row) => {
                    let facts = &layout.rows[*row as usize];
                    shown.row[*row as usize] = true;
                    if let Some(group) = facts.group {
                        shown.group[group as usize] = true;
                        shown.group_open[group as usize] = true;
                    }
                    facts.parent
                }
                OutlineRow::Group(group) => {
                    shown.group[*group as usize] = true;
                    let first = layout.groups[*group as usize].rows.start;
                    layout.rows[first as usize].parent
                }
                OutlineRow::Folded(_) => None,
            };
            if let Some(parent) = above {
                shown.row_open[parent as usize] = true;
            }
        }
        shown
    }
}

impl Shown {
    /// Takes runs of short, faultless spans off the critical path out of what is shown.
    fn hide_minor_runs(&mut self, layout: &Layout) {
        let mut on_path = vec![0_u32; layout.rows.len() + 1];
        let mut children: BTreeMap<Option<u32>, Vec<u32>> = BTreeMap::new();
        for (row, facts) in layout.rows.iter().enumerate() {
            on_path[row + 1] = on_path[row] + u32::from(facts.critical);
            if self.row[row] || facts.group.is_some() {
                children.entry(facts.parent).or_default().push(row as u32);
            }
        }
        let minor = |row: u32| {
            let facts = &layout.rows[row as usize];
            let end = (row + 1 + facts.descendants) as usize;
            let short = facts.duration_ns.saturating_mul(MINOR_SHARE) < layout.duration_ns;
            let faultless = !facts.error && facts.errors_below == 0;
            short && faultless && facts.group.is_none() && on_path[end] == on_path[row as usize]
        };
        for siblings in children.into_values() {
            for run in siblings.chunk_by(|a, b| minor(*a) && minor(*b)) {
                if run.len() >= MINOR_RUN_MIN {
                    run.iter().for_each(|row| self.row[*row as usize] = false);
                }
            }
        }
    }
}

/// Adds one bundle per run of siblings in `range` that are not shown. A run of a single span
/// without children would take the same line as the span itself, so it is not bundled.
fn left_out(
    layout: &Layout,
    shown: &Shown,
    range: Range<u32>,
    inside: Option<u32>,
    bundles: &mut Vec<Bundle>,
) {
    let mut run = range.start..range.start;
    let mut row = range.start;
    let mut close = |run: Range<u32>| {
        if run.len() > 1 {
            let group = None;
            bundles.push(Bundle {
                rows: run,
                group,
                open: false,
            });
        }
    };
    while row < range.end {
        let facts = &layout.rows[row as usize];
        let group = facts.group.filter(|group| Some(*group) != inside);
        let (end, visible) = match group {
            Some(group) => {
                let rows = &layout.groups[group as usize].rows;
                (rows.end, shown.group[group as usize])
            }
            None => (row + 1 + facts.descendants, shown.row[row as usize]),
        };
        let end = end.clamp(row + 1, range.end);
        if visible {
            close(run);
            run = end..end;
        } else {
            run.end = end;
        }
        row = end;
    }
    close(run);
}

#[derive(Default)]
struct Lines {
    lines: Vec<Line>,
    /// Line of the last place at each level, and how many siblings stand there so far.
    path: Vec<(usize, u32)>,
}

impl Lines {
    fn push(&mut self, place: Place, level: usize, open: Option<bool>) {
        let siblings = self.path.get(level).map_or(0, |(_, siblings)| *siblings);
        let level = level.min(self.path.len());
        self.path.truncate(level);
        let parent = level.checked_sub(1).map(|above| self.path[above].0);
        let position = siblings + 1;
        self.path.push((self.lines.len(), position));
        self.lines.push(Line {
            place,
            level: level as u32,
            position,
            size: 0,
            parent,
            open,
        });
    }

    /// Fills in the number of siblings: the position of the last one.
    fn finish(mut self) -> Vec<Line> {
        let mut sizes = vec![0; self.lines.len() + 1];
        for line in self.lines.iter_mut().rev() {
            let size = &mut sizes[line.parent.map_or(0, |parent| parent + 1)];
            *size = (*size).max(line.position);
            line.size = *size;
        }
        self.lines
    }
}
