//! The units of one search in order of time. A segment is opened when its turn comes and not before,
//! so that what is near in time costs the same however much lies behind it. Never reads a unit.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt;

use super::segments::Segment;
use crate::model::Timestamp;

/// Which units come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// By the last record, newest first.
    NewestFirst,
    /// By the first record, oldest first.
    OldestFirst,
}

impl Order {
    /// The higher, the sooner.
    fn rank(self, first: Timestamp, last: Timestamp) -> u64 {
        match self {
            Order::NewestFirst => last.0,
            Order::OldestFirst => u64::MAX - first.0,
        }
    }

    /// The last or first moment of which the rank was made.
    fn moment(self, rank: u64) -> Timestamp {
        Timestamp(match self {
            Order::NewestFirst => rank,
            Order::OldestFirst => u64::MAX - rank,
        })
    }
}

/// Where a unit lies in time, and the bytes that reading it touches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) bytes: u64,
}

/// Finds the units of one segment that may hold matches.
type Open<'s, U> = Box<dyn Fn(&Segment, &mut Vec<U>) + 's>;

/// Units in order; an iterator that opens segments on its way.
pub(crate) struct Units<'s, U> {
    order: Order,
    ready: BinaryHeap<Ready<U>>,
    /// Segments that were not opened yet, the next one last.
    closed: Vec<&'s Segment>,
    open: Open<'s, U>,
    extent: fn(&U) -> Extent,
    found: Vec<U>,
    expected_bytes: u64,
}

#[derive(Debug)]
struct Ready<U> {
    rank: u64,
    unit: U,
}

impl<U> PartialEq for Ready<U> {
    fn eq(&self, other: &Ready<U>) -> bool {
        self.rank == other.rank
    }
}

impl<U> Eq for Ready<U> {}

impl<U> PartialOrd for Ready<U> {
    fn partial_cmp(&self, other: &Ready<U>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<U> Ord for Ready<U> {
    fn cmp(&self, other: &Ready<U>) -> Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl<'s, U> Units<'s, U> {
    /// `heads` are units already; `segments` become units by `open`.
    pub(super) fn new(
        order: Order,
        heads: Vec<U>,
        segments: impl Iterator<Item = &'s Segment>,
        open: Open<'s, U>,
        extent: fn(&U) -> Extent,
    ) -> Units<'s, U> {
        let mut closed: Vec<&Segment> = segments.collect();
        closed.sort_by_key(|segment| rank(order, segment));
        let mut units = Units {
            order,
            ready: BinaryHeap::with_capacity(heads.len()),
            expected_bytes: closed.iter().map(|segment| segment.row.raw_bytes).sum(),
            closed,
            open,
            extent,
            found: heads,
        };
        units.take_found();
        units
    }

    /// No record of what is left is nearer to where the order starts than this; `None`: nothing is left.
    pub(crate) fn bound(&self) -> Option<Timestamp> {
        let ready = self.ready.peek().map(|ready| ready.rank);
        let closed = self.closed.last().map(|segment| rank(self.order, segment));
        ready.max(closed).map(|rank| self.order.moment(rank))
    }

    /// Bytes of all units, those given out as well; of segments not opened yet a guess.
    pub(crate) fn expected_bytes(&self) -> u64 {
        self.expected_bytes
    }

    /// Opens the segment whose turn it is; false: the next unit is in none. A search asks between two
    /// segments whether it may go on: a word that is nowhere has no unit in any.
    pub(crate) fn open_one(&mut self) -> bool {
        if !self.opens_next() {
            return false;
        }
        if let Some(segment) = self.closed.pop() {
            self.expected_bytes -= segment.row.raw_bytes.min(self.expected_bytes);
            (self.open)(segment, &mut self.found);
            self.take_found();
        }
        true
    }

    fn take_found(&mut self) {
        for unit in self.found.drain(..) {
            let extent = (self.extent)(&unit);
            self.expected_bytes = self.expected_bytes.saturating_add(extent.bytes);
            let rank = self.order.rank(extent.first, extent.last);
            self.ready.push(Ready { rank, unit });
        }
    }

    /// Whether the next unit may be in a segment that was not opened yet.
    fn opens_next(&self) -> bool {
        let Some(closed) = self.closed.last() else {
            return false;
        };
        let ready = self.ready.peek();
        ready.is_none_or(|ready| ready.rank <= rank(self.order, closed))
    }
}

fn rank(order: Order, segment: &Segment) -> u64 {
    order.rank(segment.row.first, segment.row.last)
}

impl<U> Iterator for Units<'_, U> {
    type Item = U;

    fn next(&mut self) -> Option<U> {
        while self.open_one() {}
        self.ready.pop().map(|ready| ready.unit)
    }
}

impl<U> fmt::Debug for Units<'_, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Units")
            .field("order", &self.order)
            .field("ready", &self.ready.len())
            .field("closed", &self.closed.len())
            .finish_non_exhaustive()
    }
}
