//! What every search does between units: ask whether it may go on, count what it read, remember
//! why it stopped.

use super::control::{Control, Partial, Stats};
use super::matcher::{LogMatcher, SpanMatcher};
use crate::model::{Signal, TimeRange};
use crate::store::{
    Decider, LogFilter, LogUnit, Looked, Order, Snapshot, SpanUnit, StoreError, Units,
};

/// The units of one search and how far through them it is.
#[derive(Debug)]
pub(super) struct Progress<'c> {
    control: &'c Control,
    total_bytes: u64,
    done_bytes: u64,
    partial: Option<Partial>,
    /// What [`Progress::holds`] was told last.
    held_bytes: usize,
    /// What [`Progress::take`] took and nobody gave back.
    taken_bytes: usize,
}

/// How much a search held at some point, and whether it was whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    taken_bytes: usize,
    partial: Option<Partial>,
}

impl<'c> Progress<'c> {
    pub(super) fn new(control: &'c Control, total_bytes: u64) -> Progress<'c> {
        Progress {
            control,
            total_bytes,
            done_bytes: 0,
            partial: None,
            held_bytes: 0,
            taken_bytes: 0,
        }
    }

    /// Says what there is to read, where that was not known from the start or is known better now.
    pub(super) fn expects(&mut self, total_bytes: u64) {
        self.total_bytes = total_bytes;
    }

    /// Says from the start that quarantined data is missing from the answer.
    pub(super) fn note_damage(&mut self, snapshot: &Snapshot, signal: Signal, range: TimeRange) {
        if !snapshot.damaged(signal, range).is_empty() {
            self.partial = Some(Partial::Damaged);
        }
    }

    /// Whether the next unit may be read; the reason why not is kept.
    pub(super) fn may_go_on(&mut self) -> bool {
        match self.control.check() {
            Ok(()) => true,
            Err(reason) => {
                self.partial = Some(reason);
                false
            }
        }
    }

    /// Whether what was found may be read on, as [`Control::check_finish`] says.
    pub(super) fn may_finish(&mut self) -> bool {
        match self.control.check_finish() {
            Ok(()) => true,
            Err(reason) => {
                self.partial = Some(reason);
                false
            }
        }
    }

    /// Counts a unit that was read. A damaged one makes the answer partial.
    pub(super) fn read(&mut self, rows: u64, bytes: u64, result: Result<(), StoreError>) {
        self.control.scanned(rows, bytes);
        self.done_bytes += bytes;
        if result.is_err() {
            self.partial = self.partial.or(Some(Partial::Damaged));
        }
    }

    /// As [`Progress::read`], of a unit that may have told without being read that it has no match.
    pub(super) fn looked(&mut self, unit: &LogUnit, result: Result<Looked, StoreError>) {
        match result {
            Ok(Looked::Skipped) => self.done_bytes += unit.bytes(),
            other => self.read(unit.rows(), unit.bytes(), other.map(drop)),
        }
    }

    /// Takes memory for something found that stays until the answer; false when there is none left.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let room = self.take_last(bytes);
        if !room {
            self.cut(Partial::Memory);
        }
        room
    }

    /// As [`Progress::take`], of what may be the last: the answer is partial only if it is not.
    pub(super) fn take_last(&mut self, bytes: usize) -> bool {
        self.taken_bytes += bytes;
        self.control.hold(bytes).is_ok()
    }

    /// To come back to with [`Progress::give_back`].
    pub(super) const fn mark(&self) -> Mark {
        Mark {
            taken_bytes: self.taken_bytes,
            partial: self.partial,
        }
    }

    /// Gives back the memory that was taken since, to try with less: it did not run out yet.
    pub(super) fn give_back(&mut self, since: Mark) {
        self.control.release(self.taken_bytes - since.taken_bytes);
        self.taken_bytes = since.taken_bytes;
        self.partial = since.partial;
    }

    /// Says how much memory a growing table has now; to be called between units. When that is too
    /// much, the next unit is not read.
    pub(super) fn holds(&mut self, bytes: usize) {
        self.control.release(self.held_bytes);
        self.held_bytes = bytes;
        // What it comes to is asked before the next unit.
        _ = self.control.hold(bytes);
    }

    /// The rest cannot change the answer.
    pub(super) fn skip_rest(&mut self) {
        self.done_bytes = self.total_bytes;
    }

    pub(super) fn cut(&mut self, reason: Partial) {
        self.partial = self.partial.or(Some(reason));
    }

    pub(super) const fn partial(&self) -> Option<Partial> {
        self.partial
    }

    pub(super) fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    pub(super) fn stats(&self) -> Stats {
        let searched = if self.total_bytes == 0 {
            1.0
        } else {
            (self.done_bytes as f64 / self.total_bytes as f64).min(1.0)
        };
        self.control.stats(self.partial, searched)
    }
}

/// The units that may hold matches, all of them, newest first, and the range that may be shown.
pub(super) fn log_units<'c>(
    snapshot: &Snapshot,
    range: TimeRange,
    matcher: &LogMatcher,
    control: &'c Control,
) -> (Vec<LogUnit>, TimeRange, Progress<'c>) {
    let order = Order::NewestFirst;
    let (units, visible, mut progress) = log_units_in(order, snapshot, range, matcher, control);
    let units: Vec<LogUnit> = units.into_iter().flatten().collect();
    progress.expects(units.iter().map(LogUnit::bytes).sum());
    (units, visible, progress)
}

/// As [`log_units`], in an order and found as they are asked for; `None`: there are none.
pub(super) fn log_units_in<'s, 'c>(
    order: Order,
    snapshot: &'s Snapshot,
    range: TimeRange,
    matcher: &LogMatcher,
    control: &'c Control,
) -> (Option<Units<'s, LogUnit>>, TimeRange, Progress<'c>) {
    let visible = snapshot.visible(Signal::Logs, range);
    let units = (!matcher.nothing).then(|| snapshot.logs_in(order, visible, &matcher.prune));
    let mut progress = Progress::new(control, units.as_ref().map_or(0, Units::expected_bytes));
    progress.note_damage(snapshot, Signal::Logs, visible);
    (units, visible, progress)
}

/// Runs `search` with what the store must know of `matcher` to read only records that may match.
pub(super) fn filtered<R>(
    matcher: &LogMatcher,
    visible: TimeRange,
    search: impl FnOnce(&LogFilter<'_>) -> R,
) -> R {
    let sifter = matcher.sifter();
    let has = |part: &str| sifter.is_in(part);
    search(&LogFilter {
        open: &|at| visible.contains(at),
        decider: &Decider::new(&|kind| matcher.decide(kind)),
        matches: &|log| matcher.matches(log),
        columns: matcher.columns,
        everything: matcher.is_all(),
        sieve: sifter.sieve(&has),
        only_asked: false,
    })
}

/// As [`log_units`], for spans.
pub(super) fn span_units<'c>(
    snapshot: &Snapshot,
    range: TimeRange,
    matcher: &SpanMatcher,
    control: &'c Control,
) -> (Vec<SpanUnit>, TimeRange, Progress<'c>) {
    let (units, visible, mut progress) = span_units_newest(snapshot, range, matcher, control);
    let units: Vec<SpanUnit> = units.into_iter().flatten().collect();
    progress.expects(units.iter().map(SpanUnit::bytes).sum());
    (units, visible, progress)
}

/// As [`log_units_in`], for spans, newest first.
pub(super) fn span_units_newest<'s, 'c>(
    snapshot: &'s Snapshot,
    range: TimeRange,
    matcher: &SpanMatcher,
    control: &'c Control,
) -> (Option<Units<'s, SpanUnit>>, TimeRange, Progress<'c>) {
    let visible = snapshot.visible(Signal::Traces, range);
    let units = (!matcher.nothing).then(|| snapshot.spans(visible, &matcher.prune));
    let mut progress = Progress::new(control, units.as_ref().map_or(0, Units::expected_bytes));
    progress.note_damage(snapshot, Signal::Traces, visible);
    (units, visible, progress)
}
