//! Where the best matches of a page of logs are: all that the first pass of a search remembers. It
//! must never keep a record.

use super::answer::{Direction, LogCursor};
use crate::model::Timestamp;
use crate::store::Order;

/// Candidates kept beyond those asked for before the worse ones are thrown away.
pub(super) const SURPLUS: usize = 1024;

/// Where a match is: the `row`th record that its unit gives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) rank: u64,
    pub(super) unit: u32,
    pub(super) row: u32,
}

impl Direction {
    /// That of the units which are searched.
    pub(super) fn order(self) -> Order {
        match self {
            Direction::NewestFirst => Order::NewestFirst,
            Direction::OldestFirst => Order::OldestFirst,
        }
    }

    /// The higher, the earlier on the page.
    pub(super) fn rank(self, at: Timestamp) -> u64 {
        match self {
            Direction::NewestFirst => at.0,
            Direction::OldestFirst => u64::MAX - at.0,
        }
    }

    /// The same among records of one nanosecond.
    pub(super) fn rank_hash(self, hash: u64) -> u64 {
        match self {
            Direction::NewestFirst => hash,
            Direction::OldestFirst => u64::MAX - hash,
        }
    }
}

/// Ranks that can still be on the page: at least the floor, at most the cursor's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    direction: Direction,
    floor: u64,
    cursor: Option<u64>,
}

impl Bound {
    pub(super) fn is_open(self, at: Timestamp) -> bool {
        let rank = self.direction.rank(at);
        rank >= self.floor && self.cursor.is_none_or(|cursor| rank <= cursor)
    }
}

/// The best places so far, in bounded memory (but for records of one and the same nanosecond).
#[derive(Debug)]
pub(super) struct Best {
    pub(super) direction: Direction,
    pub(super) limit: usize,
    pub(super) cursor: Option<LogCursor>,
    pub(super) found: Vec<Place>,
    /// Of the cursor's own nanosecond: which of them come after it, only their hashes tell.
    pub(super) edge: Vec<Place>,
    /// Places below this rank are not among the best.
    floor: u64,
    shrink_at: usize,
}

impl Best {
    pub(super) fn new(direction: Direction, limit: usize, cursor: Option<LogCursor>) -> Best {
        Best {
            direction,
            limit,
            cursor,
            found: Vec::new(),
            edge: Vec::new(),
            floor: 0,
            shrink_at: 2 * limit + SURPLUS,
        }
    }

    /// What a record's time must be for the page.
    pub(super) fn bound(&self) -> Bound {
        Bound {
            direction: self.direction,
            floor: self.floor,
            cursor: self.cursor.map(|cursor| self.direction.rank(cursor.id.at)),
        }
    }

    /// A match of this time: the `row`th record that the `unit`th unit gives.
    pub(super) fn offer(&mut self, at: Timestamp, unit: u32, row: u32) {
        let rank = self.direction.rank(at);
        let place = Place { rank, unit, row };
        if self.cursor.is_some_and(|c| c.id.at == at) {
            self.edge.push(place);
            return;
        }
        self.found.push(place);
        if self.found.len() >= self.shrink_at {
            self.shrink();
        }
    }

    /// Memory of the places.
    pub(super) fn bytes(&self) -> usize {
        (self.found.capacity() + self.edge.capacity()) * size_of::<Place>()
    }

    /// Throws away what cannot be on the page; one more than the limit is kept to know of a next.
    pub(super) fn shrink(&mut self) {
        if self.found.len() <= self.limit {
            return;
        }
        let worst_first = |place: &Place| std::cmp::Reverse(place.rank);
        let (_, last, _) = self
            .found
            .select_nth_unstable_by_key(self.limit, worst_first);
        self.floor = last.rank;
        self.found.retain(|place| place.rank >= self.floor);
        self.shrink_at = self.found.len() + self.limit + SURPLUS;
    }

    /// Whether records at `closest` and beyond are all worse than what is found.
    pub(super) fn is_settled(&mut self, closest: Timestamp) -> bool {
        if self.found.len() <= self.limit {
            return false;
        }
        self.shrink();
        self.direction.rank(closest) < self.floor
    }
}
