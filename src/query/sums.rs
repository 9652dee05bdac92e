//! What is known of traces as wholes, from the summaries that heads and segments keep: those of one
//! trace join. Never looks at spans.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::answer::TraceRequest;
use super::scan::Progress;
use crate::model::summary::SummaryTable;
use crate::model::time::NANOS_PER_MINUTE;
use crate::model::{Signal, TimeRange, Timestamp, TraceId};
use crate::store::{Snapshot, Summaries};

/// Traces one search can keep apart: about 250 B each.
pub(super) const TRACES_MAX: usize = 200_000;

/// A trace may begin before the range or end after it by this much and still be summed up whole.
const OVERHANG_NS: u64 = 10 * NANOS_PER_MINUTE;

/// The summaries that a search may need, newest first, each read once.
#[derive(Debug)]
pub(super) struct Tables {
    around: TimeRange,
    sources: Vec<Summaries>,
    read: Vec<Arc<SummaryTable>>,
}

impl Tables {
    /// Of the range and its surroundings.
    pub(super) fn new(snapshot: &Snapshot, range: TimeRange) -> Tables {
        let start = range.start().saturating_sub(OVERHANG_NS);
        let end = range.end().saturating_add(OVERHANG_NS);
        let around = TimeRange::new(start, end).unwrap_or(range);
        let around = snapshot.visible(Signal::Traces, around);
        Tables {
            around,
            sources: snapshot.summaries(around),
            read: Vec::new(),
        }
    }

    /// Reads one more; its number. One that is damaged counts as empty.
    pub(super) fn read_next(&mut self, progress: &mut Progress<'_>) -> Option<usize> {
        let source = self.sources.get(self.read.len())?;
        let (table, result) = match source.read() {
            Ok(table) => (table, Ok(())),
            Err(error) => (Arc::default(), Err(error)),
        };
        progress.read(0, 0, result);
        self.read.push(table);
        Some(self.read.len() - 1)
    }

    /// Place of the newest span in what was not read yet.
    pub(super) fn rest(&self) -> Option<Timestamp> {
        self.sources.get(self.read.len()).map(|source| source.last)
    }
}

/// What is known of every matching trace, from the summaries that heads and segments keep.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) traces: Vec<Sum>,
    places: HashMap<TraceId, u32>,
    /// Of all traces, those that run in here count.
    pub(super) runs_in: Option<TimeRange>,
    /// More traces than are kept apart.
    pub(super) full: bool,
    parts: Vec<Part>,
}

/// One trace summed up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sum {
    pub(super) trace_id: TraceId,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) spans: u64,
    pub(super) errors: u64,
    /// The last of its parts.
    part: Option<u32>,
}

/// A summary that went into a [`Sum`], by table and row, and the one before it.
#[derive(Clone, Copy, Debug)]
struct Part {
    table: u32,
    row: u32,
    before: Option<u32>,
}

impl Sum {
    const fn nothing(trace_id: TraceId) -> Sum {
        Sum {
            trace_id,
            start: Timestamp::MAX,
            end: Timestamp(0),
            spans: 0,
            errors: 0,
            part: None,
        }
    }

    pub(super) fn duration_ns(&self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }
}

impl Sums {
    /// Of these traces.
    pub(super) fn of(
        ids: impl Iterator<Item = TraceId>,
        tables: &mut Tables,
        progress: &mut Progress<'_>,
    ) -> Sums {
        let mut sums = Sums::default();
        for (id, place) in ids.zip(0..) {
            sums.traces.push(Sum::nothing(id));
            sums.places.insert(id, place);
        }
        if sums.traces.is_empty() {
            return sums;
        }
        while tables.read_next(progress).is_some() {}
        for number in 0..tables.read.len() {
            sums.add_table(tables, number, false);
        }
        sums
    }

    /// Counts the summaries of a table in; of traces not known yet too where `all` is set.
    pub(super) fn add_table(&mut self, tables: &Tables, number: usize, all: bool) {
        for (at, row) in tables.read[number].rows.iter().enumerate() {
            if !tables.around.overlaps(row.start, row.end) {
                continue;
            }
            let place = match self.places.get(&row.trace_id) {
                Some(place) => *place,
                None if !all => continue,
                None if self.traces.len() >= TRACES_MAX => {
                    self.full = true;
                    continue;
                }
                None => {
                    let place = self.traces.len() as u32;
                    self.traces.push(Sum::nothing(row.trace_id));
                    self.places.insert(row.trace_id, place);
                    place
                }
            };
            let sum = &mut self.traces[place as usize];
            sum.start = sum.start.min(row.start);
            sum.end = sum.end.max(row.end);
            sum.spans += row.spans;
            sum.errors += row.errors;
            let part = self.parts.len() as u32;
            self.parts.push(Part {
                table: number as u32,
                row: at as u32,
                before: sum.part.replace(part),
            });
        }
    }

    /// The traces to list, in no order. One cut short before its spans were read is not known.
    pub(super) fn known(&self) -> impl Iterator<Item = &Sum> {
        let runs = |sum: &Sum| {
            let range = self.runs_in;
            range.is_none_or(|range| range.overlaps(sum.start, sum.end))
        };
        let known = self.traces.iter().filter(|sum| sum.spans > 0);
        known.filter(move |sum| runs(sum))
    }

    /// How many traces of the page and after it cannot change nor be overtaken by what lies at `rest`
    /// or before.
    pub(super) fn n_certain(&self, request: &TraceRequest, rest: Timestamp) -> usize {
        let certain = |sum: &&Sum| sum.start > rest && is_after_cursor(request, sum);
        self.known().filter(certain).count()
    }

    /// Root (service and name) and services of a trace.
    pub(super) fn texts(
        &self,
        sum: &Sum,
        tables: &Tables,
    ) -> (Option<(String, String)>, Vec<String>) {
        let (mut root, mut services) = (None, BTreeSet::new());
        let mut next = sum.part;
        while let Some(part) = next {
            let part = self.parts[part as usize];
            let table = &tables.read[part.table as usize];
            let row = &table.rows[part.row as usize];
            services.extend(table.services(row));
            if let Some((start, service, name)) = row.root {
                let own = (start, table.text(service), table.text(name));
                root = Some(root.map_or(own, |known: (Timestamp, &str, &str)| known.min(own)));
            }
            next = part.before;
        }
        (
            root.map(|(_, service, name)| (service.to_owned(), name.to_owned())),
            services.into_iter().map(str::to_owned).collect(),
        )
    }
}

/// Whether a trace belongs on the page or behind it.
pub(super) fn is_after_cursor(request: &TraceRequest, sum: &Sum) -> bool {
    let place = (sum.start, sum.trace_id);
    let cursor = request.cursor;
    cursor.is_none_or(|cursor| place < (cursor.start, cursor.trace_id))
}
