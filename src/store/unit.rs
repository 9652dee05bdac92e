//! What a query reads: one head group or one segment block at a time, records as borrowed views.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::error::StoreError;
use super::head::Group;
use super::prune::{LogColumns, LogPrune, SpanColumns, SpanPrune};
use crate::model::otlp::Scratch;
use crate::model::wire::WireError;
use crate::model::{LogEntry, LogView, SpanEntry, SpanView, TimeRange, Timestamp};

/// What decides whether an index entry of the head is decoded at all.
#[derive(Debug)]
pub(super) struct Wanted<P> {
    pub(super) range: TimeRange,
    pub(super) prune: P,
}

/// Some log records that are read together. `first` and `last` bound their places in time.
#[derive(Clone, Debug)]
pub(crate) struct LogUnit {
    group: Arc<Group<LogEntry>>,
    wanted: Arc<Wanted<LogPrune>>,
}

/// Some spans that are read together.
#[derive(Clone, Debug)]
pub(crate) struct SpanUnit {
    group: Arc<Group<SpanEntry>>,
    wanted: Arc<Wanted<SpanPrune>>,
}

impl LogUnit {
    pub(super) fn head(group: Arc<Group<LogEntry>>, wanted: Arc<Wanted<LogPrune>>) -> LogUnit {
        LogUnit { group, wanted }
    }

    pub(crate) fn first(&self) -> Timestamp {
        self.group.first
    }

    pub(crate) fn last(&self) -> Timestamp {
        self.group.last
    }

    /// Records in it, before any filter.
    pub(crate) fn rows(&self) -> u64 {
        self.group.rows
    }

    /// Bytes that reading all of it touches: what a query's byte budget is charged.
    pub(crate) fn bytes(&self) -> u64 {
        self.group.bytes
    }

    /// Calls `each` for the records that may match, in no particular order.
    ///
    /// # Errors
    /// The unit is damaged: the answer is partial without it.
    pub(crate) fn for_each(
        &self,
        _columns: LogColumns,
        each: &mut dyn FnMut(&LogView<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let wanted = &self.wanted;
        for chunk in &self.group.chunks {
            let mut wants = chunk
                .entries
                .iter()
                .filter(|e| wanted.range.contains(e.at) && wanted.prune.wants(e))
                .peekable();
            if wants.peek().is_none() {
                continue;
            }
            let groups = chunk.group_views().map_err(damaged)?;
            let mut scratch = Scratch::default();
            for entry in wants {
                let view = chunk.view(entry, &groups, &mut scratch).map_err(damaged)?;
                if each(&view).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl SpanUnit {
    pub(super) fn head(group: Arc<Group<SpanEntry>>, wanted: Arc<Wanted<SpanPrune>>) -> SpanUnit {
        SpanUnit { group, wanted }
    }

    pub(crate) fn first(&self) -> Timestamp {
        self.group.first
    }

    pub(crate) fn last(&self) -> Timestamp {
        self.group.last
    }

    /// Spans in it, before any filter.
    pub(crate) fn rows(&self) -> u64 {
        self.group.rows
    }

    /// Bytes that reading all of it touches: what a query's byte budget is charged.
    pub(crate) fn bytes(&self) -> u64 {
        self.group.bytes
    }

    /// Calls `each` for the spans that may match, in no particular order.
    ///
    /// # Errors
    /// The unit is damaged: the answer is partial without it.
    pub(crate) fn for_each(
        &self,
        _columns: SpanColumns,
        each: &mut dyn FnMut(&SpanView<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let wanted = &self.wanted;
        for chunk in &self.group.chunks {
            let mut wants = chunk
                .entries
                .iter()
                .filter(|e| wanted.range.contains(e.at) && wanted.prune.wants(e))
                .peekable();
            if wants.peek().is_none() {
                continue;
            }
            let groups = chunk.group_views().map_err(damaged)?;
            let mut scratch = Scratch::default();
            for entry in wants {
                let view = chunk.view(entry, &groups, &mut scratch).map_err(damaged)?;
                if each(&view).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// A chunk was parsed when it came in; if it cannot be now, memory or the log was damaged.
fn damaged(_: WireError) -> StoreError {
    StoreError::corrupt(Path::new("head"), 0, "request in memory")
}
