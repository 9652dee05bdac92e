//! The critical path: walking back from the end of the root, always into the child that ended
//! last. What is left between children is the span's own time. Children that outlive their parent
//! count only up to its end: nobody waited for the rest.

use super::{CriticalSegment, Layout};

/// One span with the part of its time that lies on the path.
struct Window {
    row: u32,
    from_ns: u64,
    to_ns: u64,
}

/// Fills [`Layout::critical`] and the rows' `critical`.
pub(super) fn mark(layout: &mut Layout) {
    let Some(root) = main_root(layout) else {
        return;
    };
    let row = layout.rows[root as usize];
    let mut open = vec![Window {
        row: root,
        from_ns: row.start_ns,
        to_ns: row.start_ns + row.duration_ns,
    }];
    let mut path = Vec::new();
    let mut children = Vec::new();
    while let Some(window) = open.pop() {
        layout.rows[window.row as usize].critical = true;
        last_first(layout, &window, &mut children);
        let mut until = window.to_ns;
        let mut own = |from_ns, to_ns| {
            if from_ns < to_ns {
                path.push(CriticalSegment {
                    row: window.row,
                    start_ns: from_ns,
                    end_ns: to_ns,
                });
            }
        };
        for child in children.drain(..) {
            if child.to_ns <= until {
                own(child.to_ns, until);
                until = child.from_ns;
                open.push(child);
            }
        }
        own(window.from_ns, until);
    }
    path.sort_by_key(|segment| segment.start_ns);
    layout.critical = path;
}

/// The longest root that names no missing parent; the longest of all while the real one is missing.
fn main_root(layout: &Layout) -> Option<u32> {
    let mut best: Option<u32> = None;
    let rank = |at: u32| {
        let row = &layout.rows[at as usize];
        (!row.missing_parent, row.duration_ns)
    };
    let mut at = 0;
    while let Some(row) = layout.rows.get(at as usize) {
        if best.is_none_or(|best| rank(at) > rank(best)) {
            best = Some(at);
        }
        at += 1 + row.descendants;
    }
    best
}

/// The children inside the window, the one that ends last first; of those the longest.
fn last_first(layout: &Layout, window: &Window, children: &mut Vec<Window>) {
    let parent = &layout.rows[window.row as usize];
    let end = window.row + 1 + parent.descendants;
    let mut at = window.row + 1;
    while at < end {
        let row = &layout.rows[at as usize];
        let from_ns = row.start_ns.max(window.from_ns);
        let to_ns = (row.start_ns + row.duration_ns).min(window.to_ns);
        if from_ns < to_ns {
            children.push(Window {
                row: at,
                from_ns,
                to_ns,
            });
        }
        at += 1 + row.descendants;
    }
    children.sort_by_key(|child| (std::cmp::Reverse(child.to_ns), child.from_ns));
}
