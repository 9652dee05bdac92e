//! What a query reads: one head group or one segment block at a time, records as borrowed views.

mod head;
mod patterns;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use memchr::memmem::Finder;

use super::error::StoreError;
use super::filter::{LogFilter, Tallied};
use super::head::Group;
use super::hide::{self, Veil};
use super::prune::{LogColumns, LogPrune, Needle, SpanAsk, SpanColumns, SpanPrune};
use super::segment::{LogBlock, SpanBlock};
use super::units::Extent;
use crate::model::otlp::{GroupView, Scratch};
use crate::model::wire::WireError;
use crate::model::{Level, LogEntry, LogView, SpanEntry, SpanView, TimeRange, Timestamp};

/// What decides whether an index entry of the head is decoded at all.
#[derive(Debug)]
pub(super) struct Wanted<P> {
    pub(super) range: TimeRange,
    pub(super) prune: P,
}

/// Some log records that are read together. `first` and `last` bound their places in time.
#[derive(Clone, Debug)]
pub(crate) struct LogUnit {
    data: Logs,
    /// What it must not show.
    veil: Option<Veil>,
}

#[derive(Clone, Debug)]
enum Logs {
    Head(Arc<Group<LogEntry>>, Arc<Wanted<LogPrune>>),
    Block(LogBlock),
    Unreadable(Unreadable),
}

/// Some spans that are read together.
#[derive(Clone, Debug)]
pub(crate) struct SpanUnit {
    data: Spans,
    /// What it must not show.
    veil: Option<Veil>,
}

#[derive(Clone, Debug)]
enum Spans {
    Head(Arc<Group<SpanEntry>>, Arc<WantedSpans>),
    Block(SpanBlock),
    Unreadable(Unreadable),
}

/// A segment whose directory is damaged: reading it says so, and the answer is partial.
#[derive(Clone, Debug)]
pub(super) struct Unreadable {
    pub(super) path: Arc<Path>,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) rows: u64,
}

impl Unreadable {
    fn error(&self) -> StoreError {
        StoreError::corrupt(&self.path, 0, "directory of the segment")
    }
}

impl LogUnit {
    pub(super) fn head(group: Arc<Group<LogEntry>>, wanted: Arc<Wanted<LogPrune>>) -> LogUnit {
        LogUnit {
            data: Logs::Head(group, wanted),
            veil: None,
        }
    }

    pub(super) fn block(block: LogBlock) -> LogUnit {
        LogUnit {
            data: Logs::Block(block),
            veil: None,
        }
    }

    /// The same, showing nothing that `veil` hides.
    pub(super) fn behind(self, veil: Option<Veil>) -> LogUnit {
        LogUnit { veil, ..self }
    }

    pub(super) fn unreadable(segment: Unreadable) -> LogUnit {
        LogUnit {
            data: Logs::Unreadable(segment),
            veil: None,
        }
    }

    pub(crate) fn first(&self) -> Timestamp {
        match &self.data {
            Logs::Head(group, _) => group.first,
            Logs::Block(block) => block.first(),
            Logs::Unreadable(segment) => segment.first,
        }
    }

    pub(crate) fn last(&self) -> Timestamp {
        match &self.data {
            Logs::Head(group, _) => group.last,
            Logs::Block(block) => block.last(),
            Logs::Unreadable(segment) => segment.last,
        }
    }

    /// Records in it, before any filter.
    pub(crate) fn rows(&self) -> u64 {
        match &self.data {
            Logs::Head(group, _) => group.rows,
            Logs::Block(block) => block.rows() as u64,
            Logs::Unreadable(segment) => segment.rows,
        }
    }

    /// Bytes that reading all of it touches: what a query's byte budget is charged.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.data {
            Logs::Head(group, _) => group.bytes,
            Logs::Block(block) => block.bytes(),
            Logs::Unreadable(_) => 0,
        }
    }

    pub(super) fn extent(&self) -> Extent {
        Extent {
            first: self.first(),
            last: self.last(),
            bytes: self.bytes(),
        }
    }

    /// Calls `each` for the records that may match, in no particular order.
    ///
    /// # Errors
    /// The unit is damaged: the answer is partial without it.
    pub(crate) fn for_each(
        &self,
        columns: LogColumns,
        each: &mut dyn FnMut(&LogView<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let Some(veil) = &self.veil else {
            return self.each_stored(columns, each);
        };
        let columns = columns.with(hide::log_columns(veil));
        self.each_stored(columns, &mut |log| {
            if veil.iter().any(|rule| rule.hides_log(log)) {
                return ControlFlow::Continue(());
            }
            each(log)
        })
    }

    /// As [`LogUnit::for_each`], with what is hidden.
    fn each_stored(
        &self,
        columns: LogColumns,
        each: &mut dyn FnMut(&LogView<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        match &self.data {
            Logs::Head(group, wanted) => head::for_each(group, wanted, each),
            Logs::Block(block) => block.for_each(columns, each),
            Logs::Unreadable(segment) => Err(segment.error()),
        }
    }
}

/// What [`LogUnit::matching`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// No record can match: nothing was read.
    Skipped,
    Read,
}

impl LogUnit {
    /// Calls `each` with the number and the view of every record that passes `filter`, in no
    /// particular order, until it breaks. Numbers are for [`LogUnit::rows_at`].
    ///
    /// # Errors
    /// As [`LogUnit::for_each`].
    pub(crate) fn matching(
        &self,
        filter: &LogFilter<'_>,
        shown: LogColumns,
        each: &mut dyn FnMut(u32, &LogView<'_>) -> ControlFlow<()>,
    ) -> Result<Looked, StoreError> {
        let read = match (&self.data, &self.veil) {
            (Logs::Block(block), None) => Some(block.matching(filter, shown, each)?),
            (Logs::Head(group, wanted), None) => Some(head::matching(group, wanted, filter, each)?),
            _ => None,
        };
        if let Some(read) = read {
            return Ok(if read { Looked::Read } else { Looked::Skipped });
        }
        let mut row = 0;
        self.for_each(shown.with(filter.columns), &mut |log| {
            row += 1;
            if (filter.open)(log.at) && (filter.everything || (filter.matches)(log)) {
                return each(row - 1, log);
            }
            ControlFlow::Continue(())
        })?;
        Ok(Looked::Read)
    }

    /// Calls `each` with the records numbered in `rows`, which rise, until it breaks.
    ///
    /// # Errors
    /// As [`LogUnit::for_each`].
    pub(crate) fn rows_at(
        &self,
        rows: &[u32],
        each: &mut dyn FnMut(&LogView<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        match (&self.data, &self.veil) {
            (Logs::Block(block), None) => return block.rows_at(rows, each),
            (Logs::Head(group, _), None) => return head::rows_at(group, rows, each),
            _ => {}
        }
        let (mut row, mut rows) = (0, rows.iter().peekable());
        self.for_each(LogColumns::ALL, &mut |log| {
            row += 1;
            if rows.next_if(|wanted| **wanted == row - 1).is_some() {
                each(log)?;
            }
            match rows.peek() {
                Some(_) => ControlFlow::Continue(()),
                None => ControlFlow::Break(()),
            }
        })
    }

    /// Calls `each` with a time, a level, the service and how many of the records that pass `filter` in
    /// `range` have that level in the bucket of that time, as far as that is known without reading.
    /// Buckets are `width_ns` wide from the epoch on.
    ///
    /// # Errors
    /// As [`LogUnit::for_each`].
    pub(crate) fn tally(
        &self,
        filter: &LogFilter<'_>,
        range: TimeRange,
        width_ns: u64,
        each: &mut dyn FnMut(Timestamp, Level, &str, u64),
    ) -> Result<Tallied, StoreError> {
        if self.veil.is_some() {
            return Ok(Tallied::Nothing);
        }
        match &self.data {
            Logs::Block(block) => block.tally(filter, range, width_ns, &mut |at, level, rows| {
                each(at, level, block.service(), rows);
            }),
            Logs::Head(group, wanted) => head::tally(group, wanted, filter, width_ns, each),
            Logs::Unreadable(_) => Ok(Tallied::Nothing),
        }
    }
}

impl SpanUnit {
    pub(super) fn head(group: Arc<Group<SpanEntry>>, wanted: Arc<WantedSpans>) -> SpanUnit {
        SpanUnit {
            data: Spans::Head(group, wanted),
            veil: None,
        }
    }

    pub(super) fn block(block: SpanBlock) -> SpanUnit {
        SpanUnit {
            data: Spans::Block(block),
            veil: None,
        }
    }

    /// The same, showing nothing that `veil` hides.
    pub(super) fn behind(self, veil: Option<Veil>) -> SpanUnit {
        SpanUnit { veil, ..self }
    }

    pub(super) fn unreadable(segment: Unreadable) -> SpanUnit {
        SpanUnit {
            data: Spans::Unreadable(segment),
            veil: None,
        }
    }

    pub(crate) fn last(&self) -> Timestamp {
        match &self.data {
            Spans::Head(group, _) => group.last,
            Spans::Block(block) => block.last(),
            Spans::Unreadable(segment) => segment.last,
        }
    }

    /// Spans in it, before any filter.
    pub(crate) fn rows(&self) -> u64 {
        match &self.data {
            Spans::Head(group, _) => group.rows,
            Spans::Block(block) => block.rows() as u64,
            Spans::Unreadable(segment) => segment.rows,
        }
    }

    /// Bytes that reading all of it touches: what a query's byte budget is charged.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.data {
            Spans::Head(group, _) => group.bytes,
            Spans::Block(block) => block.bytes(),
            Spans::Unreadable(_) => 0,
        }
    }

    pub(super) fn extent(&self) -> Extent {
        Extent {
            first: match &self.data {
                Spans::Head(group, _) => group.first,
                Spans::Block(block) => block.first(),
                Spans::Unreadable(segment) => segment.first,
            },
            last: self.last(),
            bytes: self.bytes(),
        }
    }

    /// Calls `each` for the spans that may match, in no particular order.
    ///
    /// # Errors
    /// The unit is damaged: the answer is partial without it.
    pub(crate) fn for_each(
        &self,
        columns: SpanColumns,
        each: &mut dyn FnMut(&SpanView<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let Some(veil) = &self.veil else {
            return self.each_stored(columns, each);
        };
        let columns = columns.with(hide::span_columns(veil));
        self.each_stored(columns, &mut |span| {
            if veil.iter().any(|rule| rule.hides_span(span)) {
                return ControlFlow::Continue(());
            }
            each(span)
        })
    }

    /// As [`SpanUnit::for_each`], with what is hidden.
    fn each_stored(
        &self,
        columns: SpanColumns,
        each: &mut dyn FnMut(&SpanView<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        match &self.data {
            Spans::Head(group, wanted) => head_spans(group, wanted, each),
            Spans::Block(block) => block.for_each(columns, each),
            Spans::Unreadable(segment) => Err(segment.error()),
        }
    }
}

impl SpanUnit {
    /// Calls `each` with the spans in `range` that pass `test`, until it breaks. The test may look at
    /// what `ask` says; `each` at what it says is shown.
    ///
    /// # Errors
    /// As [`SpanUnit::for_each`].
    pub(crate) fn select(
        &self,
        range: TimeRange,
        ask: SpanAsk,
        test: &mut dyn FnMut(&SpanView<'_>) -> bool,
        each: &mut dyn FnMut(&SpanView<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let veil = self.veil.as_deref().unwrap_or_default();
        let ask = if veil.is_empty() {
            ask
        } else {
            SpanAsk {
                find: ask
                    .find
                    .with(hide::span_columns(veil))
                    .with(SpanColumns::BASE),
                by_kind: false,
                ..ask
            }
        };
        let test =
            &mut |span: &SpanView<'_>| !veil.iter().any(|rule| rule.hides_span(span)) && test(span);
        match &self.data {
            Spans::Head(group, wanted) => head_spans(group, wanted, &mut |span| {
                if range.contains(span.at) && test(span) {
                    each(span)
                } else {
                    ControlFlow::Continue(())
                }
            }),
            Spans::Block(block) => block.select(range, ask, test, each),
            Spans::Unreadable(segment) => Err(segment.error()),
        }
    }
}

fn head_spans(
    group: &Group<SpanEntry>,
    wanted: &WantedSpans,
    each: &mut dyn FnMut(&SpanView<'_>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    for chunk in &group.chunks {
        let wants = |e: &&SpanEntry| wanted.range.contains(e.at) && wanted.prune.wants(e);
        let mut wants = chunk.entries.iter().filter(wants).peekable();
        if wants.peek().is_none() {
            continue;
        }
        let groups = chunk.group_views().map_err(damaged)?;
        let told: Vec<Option<u64>> = groups.iter().map(|g| wanted.told_by(g)).collect();
        let mut scratch = Scratch::default();
        for entry in wants {
            let Some(told) = told[entry.group as usize] else {
                continue;
            };
            if !wanted.may_hold(chunk.encoded(entry), told) {
                continue;
            }
            let view = chunk.view(entry, &groups, &mut scratch).map_err(damaged)?;
            if each(&view).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What decides whether a span of the head is decoded: its index entry, its service, and whether its
/// bytes have the name or the attributes' keys that it must have.
#[derive(Debug)]
pub(super) struct WantedSpans {
    range: TimeRange,
    prune: SpanPrune,
    /// For each list of needles, what one of them leaves in the bytes of its span or resource.
    marks: Vec<Vec<Mark>>,
}

#[derive(Debug)]
struct Mark {
    /// A name stands in the span itself; attributes also in scope and resource.
    of_span: bool,
    finder: Finder<'static>,
}

impl WantedSpans {
    pub(super) fn new(range: TimeRange, prune: &SpanPrune) -> WantedSpans {
        let text = |needle: &Needle| match needle {
            Needle::Name(name) => (true, name.clone()),
            Needle::Attribute { key, .. } | Needle::Untold { key } => (false, key.clone()),
        };
        let mark = |(of_span, text): (bool, String)| Mark {
            of_span,
            finder: Finder::new(text.as_bytes()).into_owned(),
        };
        let marks = |list: &Vec<Needle>| {
            let texts: BTreeSet<(bool, String)> = list.iter().map(text).collect();
            texts.into_iter().map(mark).collect()
        };
        // One bit of a u64 for each list; a query of more is decided by the first.
        let lists = prune.needles.iter().take(u64::BITS as usize);
        WantedSpans {
            range,
            prune: prune.clone(),
            marks: lists.map(marks).collect(),
        }
    }

    /// A bit for each list of needles that a resource or scope may answer; `None` when no span of this
    /// service is wanted.
    fn told_by(&self, group: &GroupView<'_>) -> Option<u64> {
        let service = group.resource.service();
        let services = &self.prune.services;
        if !services.is_empty() && !services.iter().any(|wanted| wanted == service) {
            return None;
        }
        let has = |mark: &Mark| {
            let of = [group.resource.raw, group.scope.raw];
            !mark.of_span && of.iter().any(|raw| mark.finder.find(raw).is_some())
        };
        let told = self.marks.iter().enumerate();
        let told = told.filter(|(_, list)| list.iter().any(has));
        Some(told.fold(0, |bits, (list, _)| bits | 1 << list))
    }

    fn may_hold(&self, span: &[u8], told: u64) -> bool {
        let lists = self.marks.iter().enumerate();
        let has = |mark: &Mark| mark.finder.find(span).is_some();
        lists
            .filter(|(list, _)| told >> list & 1 == 0)
            .all(|(_, list)| list.iter().any(has))
    }
}

pub(super) use head::each_log;

/// Calls `each` with every span of a group.
pub(super) fn each_span(
    group: &Group<SpanEntry>,
    each: &mut dyn FnMut(&SpanView<'_>),
) -> Result<(), StoreError> {
    let wanted = WantedSpans::new(TimeRange::ALL, &SpanPrune::default());
    head_spans(group, &wanted, &mut |span| {
        each(span);
        ControlFlow::Continue(())
    })
}

/// A chunk was parsed when it came in; if it cannot be now, memory or the log was damaged.
fn damaged(_: WireError) -> StoreError {
    StoreError::corrupt(Path::new("head"), 0, "request in memory")
}
