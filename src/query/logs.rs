//! Pages of log records, single records, and a record among its neighbours.
//!
//! A page is found in two passes: the first looks only at the columns of the query and remembers
//! where the best matches are (24 bytes each); the second reads those records in full. Units come
//! newest first and reading stops when no later one can hold anything better.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::QueryError;
use super::answer::{Context, Direction, LOG_ROWS_MAX, LogCursor, LogPage, LogRequest, OtlpPage};
use super::control::{Control, Stats};
use super::matcher::LogMatcher;
use super::scan::{Progress, log_units};
use crate::model::owned::RecordId;
use crate::model::time::NANOS_PER_DAY;
use crate::model::write::RequestWriter;
use crate::model::{LogRecord, LogView, Resource, Scope, TimeRange, Timestamp};
use crate::store::{LogColumns, LogFilter, LogPrune, LogUnit, Snapshot};

/// How far around a record its neighbours are looked for.
const CONTEXT_NS: u64 = NANOS_PER_DAY;

/// Candidates kept beyond those asked for before the worse ones are thrown away.
const SURPLUS: usize = 1024;

/// A page of log records.
pub(super) fn page(
    snapshot: &Snapshot,
    request: &LogRequest,
    control: &Control,
) -> Result<LogPage, QueryError> {
    let mut shared = Shared::default();
    let (records, next, stats) = search(snapshot, request, control, &mut |log| shared.record(log))?;
    Ok(LogPage {
        records,
        next,
        stats,
    })
}

/// A page of log records as one encoded export request, in the page's order.
pub(super) fn page_otlp(
    snapshot: &Snapshot,
    request: &LogRequest,
    control: &Control,
) -> Result<OtlpPage, QueryError> {
    let (records, next, stats) = search(snapshot, request, control, &mut |log| {
        let mut writer = RequestWriter::default();
        writer.log(log);
        writer.finish()
    })?;
    // Requests one behind the other are one request: their only field is a repeated one.
    Ok(OtlpPage {
        request: records.concat(),
        next,
        stats,
    })
}

/// The records of a page, each as `make` makes it, and where the next page starts.
fn search<T>(
    snapshot: &Snapshot,
    request: &LogRequest,
    control: &Control,
    make: &mut dyn FnMut(&LogView<'_>) -> T,
) -> Result<(Vec<T>, Option<LogCursor>, Stats), QueryError> {
    if request.limit == 0 || request.limit > LOG_ROWS_MAX {
        return Err(QueryError::Invalid(format!(
            "limit is {}; it goes from 1 to {LOG_ROWS_MAX}",
            request.limit
        )));
    }
    let matcher = LogMatcher::new(&request.query)?;
    let (units, visible, mut progress) = log_units(snapshot, request.range, &matcher, control);
    let mut search = Search {
        best: Best::new(request.direction, request.limit, request.cursor),
        units,
    };
    let filter = LogFilter {
        open: &|at| visible.contains(at),
        decide: &|kind| matcher.decide(kind),
        matches: &|log| matcher.matches(log),
        columns: matcher.columns,
        everything: matcher.is_all(),
        needle: matcher.needle(),
    };
    search.run(&mut progress, &filter);
    let (records, next) = search.finish(&mut progress, make);
    Ok((records, next, progress.stats()))
}

/// One record by its id.
pub(super) fn record(
    snapshot: &Snapshot,
    id: RecordId,
    control: &Control,
) -> Result<LogRecord, QueryError> {
    let range = TimeRange::new(id.at, id.at.saturating_add(1)).expect("the end is later");
    let matcher = LogMatcher::new(&super::lang::Expr::All)?;
    let (units, visible, mut progress) = log_units(snapshot, range, &matcher, control);
    let mut found = None;
    for unit in &units {
        if found.is_some() || !progress.may_go_on() {
            break;
        }
        let result = unit.for_each(LogColumns::ALL, &mut |log| {
            if log.at == id.at && visible.contains(log.at) && RecordId::of(log) == id {
                found = Some(LogRecord::from(log));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        progress.read(unit.rows(), unit.bytes(), result);
    }
    found.ok_or_else(|| QueryError::missing(format!("log record {id}"), progress.partial()))
}

/// A record with its neighbours in the same stream.
pub(super) fn context(
    snapshot: &Snapshot,
    id: RecordId,
    before: usize,
    after: usize,
    control: &Control,
) -> Result<Context, QueryError> {
    if before.max(after) > LOG_ROWS_MAX {
        return Err(QueryError::Invalid(format!(
            "before and after go up to {LOG_ROWS_MAX}"
        )));
    }
    let record = record(snapshot, id, control)?;
    let start = id.at.saturating_sub(CONTEXT_NS);
    let around = TimeRange::new(start, id.at.saturating_add(CONTEXT_NS)).expect("in order");
    let (mut older, newest) = neighbours(
        snapshot,
        &record,
        around,
        Direction::NewestFirst,
        before,
        control,
    )?;
    let (newer, oldest) = neighbours(
        snapshot,
        &record,
        around,
        Direction::OldestFirst,
        after,
        control,
    )?;
    older.reverse();
    let mut stats = oldest.stats();
    stats.partial = newest.stats().partial.or(stats.partial);
    Ok(Context {
        before: older,
        record,
        after: newer,
        stats,
    })
}

/// The `limit` records next to `record` in one direction, nearest first.
fn neighbours<'c>(
    snapshot: &Snapshot,
    record: &LogRecord,
    around: TimeRange,
    direction: Direction,
    limit: usize,
    control: &'c Control,
) -> Result<(Vec<LogRecord>, Progress<'c>), QueryError> {
    let mut matcher = LogMatcher::new(&super::lang::Expr::All)?;
    matcher.prune = LogPrune {
        services: vec![record.resource.service.clone()],
        ..LogPrune::default()
    };
    let (units, visible, mut progress) = log_units(snapshot, around, &matcher, control);
    let cursor = LogCursor {
        id: record.id,
        shown: 1,
    };
    let mut search = Search {
        best: Best::new(direction, limit, Some(cursor)),
        units,
    };
    // Streams of one unit are few; comparing owned values once per stream is cheap enough.
    let known: RefCell<HashMap<(usize, usize), bool>> = RefCell::default();
    let matches = |log: &LogView<'_>| {
        let stream = (
            log.resource.raw.as_ptr().addr(),
            log.scope.raw.as_ptr().addr(),
        );
        let same = || {
            Resource::from(log.resource) == *record.resource
                && Scope::from(log.scope) == *record.scope
        };
        // Addresses tell streams apart only while their unit is open.
        if log.resource.raw.is_empty() || log.scope.raw.is_empty() {
            same()
        } else {
            *known.borrow_mut().entry(stream).or_insert_with(same)
        }
    };
    let filter = LogFilter {
        open: &|at| visible.contains(at),
        decide: &|kind| (kind.service != record.resource.service).then_some(false),
        matches: &matches,
        columns: LogColumns::NONE,
        everything: false,
        needle: None,
    };
    search.run(&mut progress, &filter);
    let mut shared = Shared::default();
    let (records, _) = search.finish(&mut progress, &mut |log| shared.record(log));
    Ok((records, progress))
}

/// One search for the best records in an order.
struct Search {
    best: Best,
    units: Vec<LogUnit>,
}

impl Search {
    /// The first pass: where the best matches are.
    fn run(&mut self, progress: &mut Progress<'_>, filter: &LogFilter<'_>) {
        if self.best.direction == Direction::OldestFirst {
            self.units.sort_by_key(LogUnit::first);
        }
        for (number, unit) in self.units.iter().enumerate() {
            let closest = match self.best.direction {
                Direction::NewestFirst => unit.last(),
                Direction::OldestFirst => unit.first(),
            };
            if self.best.is_settled(closest) {
                progress.skip_rest();
                return;
            }
            if !progress.may_go_on() {
                return;
            }
            // The floor rises while records are offered.
            let (bound, best) = (Cell::new(self.best.bound()), &mut self.best);
            let filter = LogFilter {
                open: &|at| bound.get().is_open(at) && (filter.open)(at),
                ..*filter
            };
            let result = unit.matching(&filter, LogColumns::NONE, &mut |row, log| {
                best.offer(log.at, number as u32, row);
                bound.set(best.bound());
                ControlFlow::Continue(())
            });
            progress.looked(unit, result);
        }
    }

    /// The second pass: the records themselves, in order, and where the next page starts. A pass that
    /// is cut short gives the first records of the page, without a gap, and the next page goes on
    /// behind them.
    fn finish<T>(
        mut self,
        progress: &mut Progress<'_>,
        make: &mut dyn FnMut(&LogView<'_>) -> T,
    ) -> (Vec<T>, Option<LogCursor>) {
        self.best.shrink();
        let (limit, direction) = (self.best.limit, self.best.direction);
        let mut places = std::mem::take(&mut self.best.found);
        places.append(&mut self.best.edge);
        places.sort_unstable_by_key(|place| (place.unit, place.row));
        // Records of one nanosecond are many only when they came without a time. Then their ids
        // are read first and the records after, so that memory stays at what is asked for.
        let directly = places.len() <= 2 * limit + SURPLUS;
        let mut read: Vec<Read<T>> = Vec::new();
        let mut unread = self.read(&places, progress, &mut |place, log| {
            read.push(Read {
                id: RecordId::of(log),
                place,
                made: directly.then(|| make(log)),
            });
        });
        let in_order = |id: &RecordId| (direction.rank(id.at), direction.rank_hash(id.hash));
        read.sort_by_key(|read| std::cmp::Reverse(in_order(&read.id)));
        let cursor = self.best.cursor;
        if let Some(cursor) = cursor {
            let mut shown = cursor.shown;
            read.retain(|read| match in_order(&read.id).cmp(&in_order(&cursor.id)) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Equal if shown == 0 => true,
                std::cmp::Ordering::Equal => {
                    shown -= 1;
                    false
                }
                std::cmp::Ordering::Greater => false,
            });
        }
        let more = read.len() > limit;
        read.truncate(limit);
        if !directly {
            unread = unread.max(self.fill(&mut read, progress, make));
        }
        if let Some(best) = unread {
            read.retain(|read| read.place.rank > best);
        }
        let next = match read.last() {
            Some(last) if more || unread.is_some() => {
                let same = read.iter().filter(|other| other.id == last.id);
                let before = cursor.filter(|c| c.id == last.id).map_or(0, |c| c.shown);
                Some(LogCursor {
                    id: last.id,
                    shown: same.count() as u32 + before,
                })
            }
            // Nothing of this page was read: it starts where it did.
            None if unread.is_some() => cursor,
            Some(_) | None => None,
        };
        let made = read.into_iter().filter_map(|read| read.made);
        (made.collect(), next)
    }

    /// Reads the records that only their ids were read of; as [`Search::read`].
    fn fill<T>(
        &self,
        chosen: &mut [Read<T>],
        progress: &mut Progress<'_>,
        make: &mut dyn FnMut(&LogView<'_>) -> T,
    ) -> Option<u64> {
        let mut order: Vec<usize> = (0..chosen.len()).collect();
        order.sort_unstable_by_key(|&i| (chosen[i].place.unit, chosen[i].place.row));
        let places: Vec<Place> = order.iter().map(|&i| chosen[i].place).collect();
        let mut next = order.into_iter();
        self.read(&places, progress, &mut |_, log| {
            if let Some(i) = next.next() {
                chosen[i].made = Some(make(log));
            }
        })
    }

    /// Calls `each` for the records at `places`, which are sorted by unit and row. When it is cut
    /// short: the best rank among those that were not read.
    fn read(
        &self,
        places: &[Place],
        progress: &mut Progress<'_>,
        each: &mut dyn FnMut(Place, &LogView<'_>),
    ) -> Option<u64> {
        let mut left = places;
        while let Some(first) = left.first() {
            if !progress.may_finish() {
                return left.iter().map(|place| place.rank).max();
            }
            let of_unit = left.partition_point(|place| place.unit == first.unit);
            let (of_unit, rest) = left.split_at(of_unit);
            let rows: Vec<u32> = of_unit.iter().map(|place| place.row).collect();
            let mut wanted = of_unit.iter();
            let unit = &self.units[first.unit as usize];
            let result = unit.rows_at(&rows, &mut |log| {
                if let Some(place) = wanted.next() {
                    each(*place, log);
                }
                ControlFlow::Continue(())
            });
            progress.read(0, 0, result);
            left = rest;
        }
        None
    }
}

/// A record of the page: its id and place, and what was made of it once it was read in full.
struct Read<T> {
    id: RecordId,
    place: Place,
    made: Option<T>,
}

/// Where a match is: the `row`th record that its unit gives.
#[derive(Clone, Copy, Debug)]
struct Place {
    rank: u64,
    unit: u32,
    row: u32,
}

impl Direction {
    /// The higher, the earlier on the page.
    fn rank(self, at: Timestamp) -> u64 {
        match self {
            Direction::NewestFirst => at.0,
            Direction::OldestFirst => u64::MAX - at.0,
        }
    }

    fn rank_hash(self, hash: u64) -> u64 {
        match self {
            Direction::NewestFirst => hash,
            Direction::OldestFirst => u64::MAX - hash,
        }
    }
}

/// Ranks that can still be on the page: at least the floor, at most the cursor's.
#[derive(Clone, Copy, Debug)]
struct Bound {
    direction: Direction,
    floor: u64,
    cursor: Option<u64>,
}

impl Bound {
    fn is_open(self, at: Timestamp) -> bool {
        let rank = self.direction.rank(at);
        rank >= self.floor && self.cursor.is_none_or(|cursor| rank <= cursor)
    }
}

/// The best places so far, in bounded memory (but for records of one and the same nanosecond).
#[derive(Debug)]
struct Best {
    direction: Direction,
    limit: usize,
    cursor: Option<LogCursor>,
    found: Vec<Place>,
    /// Of the cursor's own nanosecond: which of them come after it, only their hashes tell.
    edge: Vec<Place>,
    /// Places below this rank are not among the best.
    floor: u64,
    shrink_at: usize,
}

impl Best {
    fn new(direction: Direction, limit: usize, cursor: Option<LogCursor>) -> Best {
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
    fn bound(&self) -> Bound {
        Bound {
            direction: self.direction,
            floor: self.floor,
            cursor: self.cursor.map(|cursor| self.direction.rank(cursor.id.at)),
        }
    }

    fn offer(&mut self, at: Timestamp, unit: u32, row: u32) {
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

    /// Throws away what cannot be on the page; one more than the limit is kept to know of a next.
    fn shrink(&mut self) {
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
    fn is_settled(&mut self, closest: Timestamp) -> bool {
        if self.found.len() <= self.limit {
            return false;
        }
        self.shrink();
        self.direction.rank(closest) < self.floor
    }
}

/// Makes owned records that share their resources and scopes.
#[derive(Default)]
pub(super) struct Shared {
    resources: Vec<Arc<Resource>>,
    scopes: Vec<Arc<Scope>>,
}

/// Resources looked through for an equal one; beyond that a record keeps its own copy.
const SHARED_MAX: usize = 64;

impl Shared {
    pub(super) fn record(&mut self, log: &LogView<'_>) -> LogRecord {
        let mut record = LogRecord::from(log);
        record.resource = share(&mut self.resources, record.resource);
        record.scope = share(&mut self.scopes, record.scope);
        record
    }

    pub(super) fn resource(&mut self, resource: Resource) -> Arc<Resource> {
        share(&mut self.resources, Arc::new(resource))
    }

    pub(super) fn scope(&mut self, scope: Scope) -> Arc<Scope> {
        share(&mut self.scopes, Arc::new(scope))
    }
}

fn share<T: PartialEq>(known: &mut Vec<Arc<T>>, new: Arc<T>) -> Arc<T> {
    if let Some(same) = known.iter().find(|old| **old == new) {
        return Arc::clone(same);
    }
    if known.len() < SHARED_MAX {
        known.push(Arc::clone(&new));
    }
    new
}

#[cfg(test)]
mod tests;
