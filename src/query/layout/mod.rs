//! The waterfall: rows in tree order with depth, times, fold groups, critical path and minimap.
//! Iterative over any shape of trace: cycles are cut, missing parents become roots of their own,
//! and depth never becomes recursion.

mod build;
pub(super) mod cache;
mod critical;
mod minimap;
mod outline;
mod skeleton;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub(crate) use build::layout;
pub(crate) use cache::{CacheFigures, LaidOut};
pub(crate) use skeleton::Skeleton;

use crate::model::{SpanId, Timestamp, TraceId};

/// Siblings of one service and name from this many on are one fold group (ui.md W3).
pub(crate) const GROUP_ROWS_MIN: usize = 5;

/// A span longer than this share of the trace is shown before shorter ones (ui.md W3).
pub(crate) const SHOWN_SHARE: f64 = 0.02;

/// Everything the waterfall draws, in columns that point at each other by index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    pub(crate) trace_id: TraceId,
    /// Earliest start of the trace; all offsets count from here.
    pub(crate) start: Timestamp,
    pub(crate) duration_ns: u64,
    /// Preorder: a row's subtree is `row .. row + 1 + descendants`. Members of a fold group stand
    /// next to each other.
    pub(crate) rows: Vec<Row>,
    /// By self time, longest first.
    pub(crate) services: Vec<ServiceShare>,
    /// Span names that [`Row::operation`] points at.
    pub(crate) operations: Vec<String>,
    pub(crate) groups: Vec<FoldGroup>,
    /// The critical path in time order, without overlaps: what would shorten the trace.
    pub(crate) critical: Vec<CriticalSegment>,
    pub(crate) errors: u32,
    /// Greatest depth, counted from 1.
    pub(crate) depth: u32,
    /// Spans whose parent is not in the trace (a root without parent does not count).
    pub(crate) missing_parents: u32,
    /// Spans that start before their parent: the clocks of their hosts differ.
    pub(crate) skewed: u32,
}

/// One span as a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Index into the spans of the trace.
    pub(crate) span: u32,
    pub(crate) id: SpanId,
    /// Row of the parent.
    pub(crate) parent: Option<u32>,
    /// 0 for roots.
    pub(crate) depth: u32,
    /// Offset from the start of the trace.
    pub(crate) start_ns: u64,
    pub(crate) duration_ns: u64,
    /// Duration not covered by children.
    pub(crate) self_ns: u64,
    /// Index into [`Layout::services`].
    pub(crate) service: u32,
    /// Index into [`Layout::operations`].
    pub(crate) operation: u32,
    pub(crate) error: bool,
    /// Errors among the descendants, not counting the row itself (W5: bubbled).
    pub(crate) errors_below: u32,
    /// Direct children.
    pub(crate) children: u32,
    /// All rows below.
    pub(crate) descendants: u32,
    /// Index into [`Layout::groups`] when it is a member of one.
    pub(crate) group: Option<u32>,
    /// The parent is named but not in the trace.
    pub(crate) missing_parent: bool,
    /// Lies on the critical path.
    pub(crate) critical: bool,
}

/// One service of the trace with its share (W20: legend and breakdown in one).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceShare {
    pub(crate) name: String,
    pub(crate) spans: u32,
    pub(crate) errors: u32,
    /// Sum of the self times of its spans.
    pub(crate) self_ns: u64,
}

/// Repeated siblings: "SELECT items x 312, 1.4 s total, p95 6 ms".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoldGroup {
    /// Rows of all members with their subtrees.
    pub(crate) rows: Range<u32>,
    pub(crate) service: u32,
    pub(crate) operation: u32,
    /// Members, not counting what is below them.
    pub(crate) count: u32,
    pub(crate) total_ns: u64,
    pub(crate) p95_ns: u64,
    /// Errors of the members and of everything below them.
    pub(crate) errors: u32,
}

/// `start_ns..end_ns` of the trace is spent in `row` itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CriticalSegment {
    pub(crate) row: u32,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
}

/// One line of the opened waterfall, in row order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutlineRow {
    /// A span; index into [`Layout::rows`].
    Span(u32),
    /// A folded group; index into [`Layout::groups`].
    Group(u32),
    /// "+184 spans, 41 ms, 2 err": children left out below `parent`.
    Folded(Folded),
}

/// What a fold hides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Folded {
    /// Row under which they are; `None` for roots.
    pub(crate) parent: Option<u32>,
    pub(crate) depth: u32,
    /// The first hidden row, where unfolding starts.
    pub(crate) first: u32,
    pub(crate) spans: u32,
    /// Sum of the durations of the topmost hidden spans.
    pub(crate) duration_ns: u64,
    pub(crate) errors: u32,
}

/// The whole trace on a strip: `lanes` lines of `columns` pixels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Minimap {
    pub(crate) columns: u32,
    pub(crate) lanes: u32,
    pub(crate) runs: Vec<MinimapRun>,
    /// Column and lane of pixels with an error.
    pub(crate) errors: Vec<(u32, u32)>,
}

/// Pixels `from..to` of a lane in the colour of the service that fills most of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MinimapRun {
    pub(crate) lane: u32,
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Index into [`Layout::services`].
    pub(crate) service: u32,
}
