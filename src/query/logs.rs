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
use super::best::{Best, Place, SURPLUS};
use super::control::{Control, Partial, Stats};
use super::matcher::LogMatcher;
use super::scan::{Progress, filtered, log_units_in};
use super::weight;
use crate::model::owned::RecordId;
use crate::model::time::NANOS_PER_DAY;
use crate::model::write::RequestWriter;
use crate::model::{LogRecord, LogView, Resource, Scope, TimeRange};
use crate::store::{
    Decider, LogColumns, LogFilter, LogKind, LogPrune, LogUnit, Order, Snapshot, Units,
};

/// How far around a record its neighbours are looked for.
const CONTEXT_NS: u64 = NANOS_PER_DAY;

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
    let matcher = LogMatcher::new(&request.query)?.over(snapshot);
    let (order, range) = (request.direction.order(), request.range);
    let (units, visible, mut progress) = log_units_in(order, snapshot, range, &matcher, control);
    let mut search = Search {
        best: Best::new(request.direction, request.limit, request.cursor),
        units: Vec::new(),
    };
    if let Some(units) = units {
        filtered(&matcher, visible, |filter| {
            search.run(units, &mut progress, filter)
        });
    }
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
    let order = Order::NewestFirst;
    let (units, visible, mut progress) = log_units_in(order, snapshot, range, &matcher, control);
    let mut found = None;
    for unit in units.into_iter().flatten() {
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
    let order = direction.order();
    let (units, visible, mut progress) = log_units_in(order, snapshot, around, &matcher, control);
    let cursor = LogCursor {
        id: record.id,
        shown: 1,
    };
    let mut search = Search {
        best: Best::new(direction, limit, Some(cursor)),
        units: Vec::new(),
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
    let decide = |kind: &LogKind<'_>| (kind.service != record.resource.service).then_some(false);
    let filter = LogFilter {
        open: &|at| visible.contains(at),
        decider: &Decider::new(&decide),
        matches: &matches,
        columns: LogColumns::NONE,
        everything: false,
        sieve: None,
        only_asked: false,
    };
    if let Some(units) = units {
        search.run(units, &mut progress, &filter);
    }
    let mut shared = Shared::default();
    let (records, _) = search.finish(&mut progress, &mut |log| shared.record(log));
    Ok((records, progress))
}

/// One search for the best records in an order.
struct Search {
    best: Best,
    /// Those that were looked at.
    units: Vec<LogUnit>,
}

impl Search {
    /// The first pass: where the best matches are. `units` are in the order of the search.
    fn run(
        &mut self,
        mut units: Units<'_, LogUnit>,
        progress: &mut Progress<'_>,
        filter: &LogFilter<'_>,
    ) {
        while let Some(closest) = units.bound() {
            if self.best.is_settled(closest) {
                progress.skip_rest();
                return;
            }
            if !progress.may_go_on() {
                return;
            }
            if units.open_one() {
                continue;
            }
            let Some(unit) = units.next() else {
                break;
            };
            progress.expects(units.expected_bytes());
            let number = self.units.len();
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
            progress.looked(&unit, result);
            progress.holds(self.best.bytes());
            self.units.push(unit);
        }
        progress.skip_rest();
    }

    /// The second pass: the records themselves, in order, and where the next page starts. A pass that
    /// is cut short, by time or by memory, gives the first records of the page, without a gap, and the
    /// next page goes on behind them.
    fn finish<T>(
        mut self,
        progress: &mut Progress<'_>,
        make: &mut dyn FnMut(&LogView<'_>) -> T,
    ) -> (Vec<T>, Option<LogCursor>) {
        self.best.shrink();
        let limit = self.best.limit;
        let mut places = std::mem::take(&mut self.best.found);
        places.append(&mut self.best.edge);
        places.sort_unstable_by_key(|place| (place.unit, place.row));
        // Records of one nanosecond are many only when they came without a time. Then their ids
        // are read first and the records after, so that memory stays at what is asked for.
        let mut directly = places.len() <= 2 * limit + SURPLUS;
        let before = progress.mark();
        let (mut read, mut unread) = self.look(&places, progress, directly.then_some(&mut *make));
        if directly && unread.is_some_and(|unread| unread.no_memory) {
            // The ids of all need little; then as many of the first as there is memory for.
            drop(read);
            progress.give_back(before);
            directly = false;
            (read, unread) = self.look(&places, progress, None);
        }
        self.put_in_order(&mut read);
        let found = read.len();
        read.truncate(limit);
        if !directly {
            unread = unread.max(self.fill(&mut read, progress, make));
        }
        if let Some(unread) = unread {
            let sound = read.partition_point(|read| read.place.rank > unread.best);
            if sound == 0 && unread.no_memory {
                // Not even the ids of one nanosecond: what there is, and no place to go on from.
                return (made(read), None);
            }
            read.truncate(sound);
        }
        let next = self.next_page(&read, read.len() < found, unread.is_some());
        (made(read), next)
    }

    /// Reads the ids at `places`, and makes of each record what `make` makes if it is given.
    fn look<T>(
        &self,
        places: &[Place],
        progress: &mut Progress<'_>,
        mut make: Option<&mut dyn FnMut(&LogView<'_>) -> T>,
    ) -> (Vec<Read<T>>, Option<Unread>) {
        let mut read = Vec::new();
        let unread = self.read(places, progress, &mut |place, log| {
            let made = make.as_mut().map(|make| Box::new(make(log)));
            let bytes = made.as_ref().map_or(0, |_| weight::log(log));
            read.push(Read {
                id: RecordId::of(log),
                place,
                made,
            });
            size_of::<Read<T>>() + bytes
        });
        (read, unread)
    }

    /// Sorts what was read as the page has it, and leaves out what earlier pages have shown.
    fn put_in_order<T>(&self, read: &mut Vec<Read<T>>) {
        let direction = self.best.direction;
        let in_order = |id: &RecordId| (direction.rank(id.at), direction.rank_hash(id.hash));
        read.sort_by_key(|read| std::cmp::Reverse(in_order(&read.id)));
        let Some(cursor) = self.best.cursor else {
            return;
        };
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

    /// Where the page behind `page` starts; `more`: there are matches behind it that were found,
    /// `cut`: there are some that were not read.
    fn next_page<T>(&self, page: &[Read<T>], more: bool, cut: bool) -> Option<LogCursor> {
        let cursor = self.best.cursor;
        match page.last() {
            Some(last) if more || cut => {
                let same = page.iter().filter(|other| other.id == last.id);
                let before = cursor.filter(|c| c.id == last.id).map_or(0, |c| c.shown);
                Some(LogCursor {
                    id: last.id,
                    shown: same.count() as u32 + before,
                })
            }
            // Nothing of this page was read: it starts where it did.
            None if cut => cursor,
            Some(_) | None => None,
        }
    }

    /// Reads the records that only their ids were read of. When there is not enough memory for all:
    /// the first of them, at least one; the others are taken off. Otherwise as [`Search::read`].
    fn fill<T>(
        &self,
        chosen: &mut Vec<Read<T>>,
        progress: &mut Progress<'_>,
        make: &mut dyn FnMut(&LogView<'_>) -> T,
    ) -> Option<Unread> {
        let (before, wanted) = (progress.mark(), chosen.len());
        loop {
            let mut order: Vec<usize> = (0..chosen.len()).collect();
            order.sort_unstable_by_key(|&i| (chosen[i].place.unit, chosen[i].place.row));
            let places: Vec<Place> = order.iter().map(|&i| chosen[i].place).collect();
            let mut next = order.into_iter();
            let unread = self.read(&places, progress, &mut |_, log| {
                if let Some(i) = next.next() {
                    chosen[i].made = Some(Box::new(make(log)));
                }
                weight::log(log)
            });
            if !unread.is_some_and(|unread| unread.no_memory) {
                if chosen.len() < wanted {
                    progress.cut(Partial::Memory);
                }
                return unread;
            }
            // Of one there is none unread: this ends.
            progress.give_back(before);
            chosen.truncate(chosen.len() / 2);
            chosen.iter_mut().for_each(|read| read.made = None);
        }
    }

    /// Calls `each` for the records at `places`, which are sorted by unit and row; it gives the memory
    /// that it took. When it is cut short: what was not read.
    fn read(
        &self,
        places: &[Place],
        progress: &mut Progress<'_>,
        each: &mut dyn FnMut(Place, &LogView<'_>) -> usize,
    ) -> Option<Unread> {
        let mut left = places;
        while let Some(first) = left.first() {
            if !progress.may_finish() {
                return Unread::of(left, false);
            }
            let of_unit = left.partition_point(|place| place.unit == first.unit);
            let (of_unit, rest) = left.split_at(of_unit);
            let rows: Vec<u32> = of_unit.iter().map(|place| place.row).collect();
            let (mut given, mut room) = (0, true);
            let unit = &self.units[first.unit as usize];
            let result = unit.rows_at(&rows, &mut |log| {
                if let Some(place) = of_unit.get(given) {
                    given += 1;
                    room = progress.take_last(each(*place, log));
                }
                if room {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            progress.read(0, 0, result);
            left = if room { rest } else { &left[given..] };
            if !room && !left.is_empty() {
                progress.cut(Partial::Memory);
                return Unread::of(left, true);
            }
        }
        None
    }
}

/// What a pass over places did not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Unread {
    /// The best rank among them.
    best: u64,
    /// The memory of the query was used up; otherwise its time was over, or it was cancelled.
    no_memory: bool,
}

impl Unread {
    /// `None`: there are none.
    fn of(places: &[Place], no_memory: bool) -> Option<Unread> {
        let best = places.iter().map(|place| place.rank).max()?;
        Some(Unread { best, no_memory })
    }
}

/// A record of the page: its id and place, and what was made of it once it was read in full.
struct Read<T> {
    id: RecordId,
    place: Place,
    /// Apart, because many are looked at and few are made.
    made: Option<Box<T>>,
}

/// What was made, in its order.
fn made<T>(page: Vec<Read<T>>) -> Vec<T> {
    let made = page.into_iter().filter_map(|read| read.made);
    made.map(|made| *made).collect()
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
