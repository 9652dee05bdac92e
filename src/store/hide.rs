//! What answers must not show although it is still there: records that a deletion names, until they
//! are rewritten away. The store knows conditions only as closures; `query` makes them.
//!
//! Costs nothing while no deletion is pending. While one is, a block that its hints cannot rule out
//! is read with the columns of its condition too, and every record is asked.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::catalogue::SegmentRow;
use super::error::StoreError;
use super::partition::RetentionClass;
use super::prune::{LogColumns, LogPrune, SpanColumns, SpanPrune};
use super::segment::{LogBlock, LogSegment, SpanBlock, SpanSegment};
use crate::model::red::RedTable;
use crate::model::summary::{SummaryTable, TraceSummary};
use crate::model::{LogView, Signal, SpanView, TimeRange, TraceId};

/// Traces that are summed up anew one by one; of more, all blocks of the segment are read once.
const TRACES_ONE_BY_ONE_MAX: usize = 64;

/// Reads the text of a condition; the error says what is wrong with it.
pub(crate) type Compile = fn(&str) -> Result<Condition, String>;

/// Which records of each signal; `None`: none of them.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    pub(crate) logs: Option<LogCondition>,
    pub(crate) traces: Option<SpanCondition>,
}

/// Which log records.
pub(crate) struct LogCondition {
    /// Leaves out only what cannot match.
    pub(crate) prune: LogPrune,
    /// What `matches` looks at.
    pub(crate) columns: LogColumns,
    pub(crate) matches: Box<dyn Fn(&LogView<'_>) -> bool + Send + Sync>,
}

/// Which spans.
pub(crate) struct SpanCondition {
    /// Leaves out only what cannot match.
    pub(crate) prune: SpanPrune,
    /// What `matches` looks at.
    pub(crate) columns: SpanColumns,
    pub(crate) matches: Box<dyn Fn(&SpanView<'_>) -> bool + Send + Sync>,
}

// Hints hold values of the condition, which nothing may print.
impl fmt::Debug for LogCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogCondition")
    }
}

impl fmt::Debug for SpanCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpanCondition")
    }
}

impl Condition {
    /// Without the signals that are not wanted.
    pub(super) fn only(self, signals: [bool; Signal::RECORDS.len()]) -> Condition {
        let wants = |signal: Signal| signals[signal as usize];
        Condition {
            logs: self.logs.filter(|_| wants(Signal::Logs)),
            traces: self.traces.filter(|_| wants(Signal::Traces)),
        }
    }

    fn is_about(&self, signal: Signal) -> bool {
        match signal {
            Signal::Logs => self.logs.is_some(),
            Signal::Traces => self.traces.is_some(),
            Signal::Metrics => false,
        }
    }
}

/// A pending deletion, or the retention of a service, as readers apply it.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Of the deletion: segments cleared up to it have nothing of it any more.
    pub(super) number: u64,
    /// Requests with this sequence and later came after it.
    pub(super) before: u64,
    pub(super) range: TimeRange,
    pub(super) condition: Arc<Condition>,
    /// `None`: every signal that the condition knows.
    pub(super) signal: Option<Signal>,
    /// Partitions of these classes hold nothing of it.
    pub(super) spared: Arc<[RetentionClass]>,
}

impl Rule {
    pub(super) fn hides_log(&self, log: &LogView<'_>) -> bool {
        let condition = self.condition.logs.as_ref();
        self.range.contains(log.at) && condition.is_some_and(|c| (c.matches)(log))
    }

    pub(super) fn hides_span(&self, span: &SpanView<'_>) -> bool {
        let condition = self.condition.traces.as_ref();
        self.range.contains(span.at) && condition.is_some_and(|c| (c.matches)(span))
    }

    fn is_about(&self, signal: Signal) -> bool {
        self.signal.is_none_or(|only| only == signal) && self.condition.is_about(signal)
    }

    /// Whether records of a segment may have to go.
    pub(super) fn applies(&self, row: &SegmentRow) -> bool {
        self.number > row.cleared
            && self.is_about(row.signal)
            && !self.spared.contains(&row.partition.class())
            && self.range.overlaps(row.first, row.last)
    }

    /// As [`Rule::applies`], for a part of a head.
    pub(super) fn applies_to_head(&self, signal: Signal, cleared: u64) -> bool {
        self.number > cleared && self.is_about(signal)
    }
}

/// The rules that hold for one segment or head group; never empty.
pub(super) type Veil = Arc<[Rule]>;

/// The rules among `rules` that hold for a segment.
pub(super) fn of_segment(rules: &[Rule], row: &SegmentRow) -> Option<Veil> {
    veil(rules, |rule| rule.applies(row))
}

/// The rules that hold for the records of a head.
pub(super) fn of_head(rules: &[Rule], signal: Signal, cleared: u64) -> Option<Veil> {
    veil(rules, |rule| rule.applies_to_head(signal, cleared))
}

fn veil(rules: &[Rule], applies: impl Fn(&Rule) -> bool) -> Option<Veil> {
    let veil: Veil = rules.iter().filter(|rule| applies(rule)).cloned().collect();
    (!veil.is_empty()).then_some(veil)
}

/// What the conditions of a veil look at.
pub(super) fn log_columns(veil: &[Rule]) -> LogColumns {
    let columns = veil.iter().filter_map(|rule| rule.condition.logs.as_ref());
    columns.fold(LogColumns::NONE, |all, c| all.with(c.columns))
}

/// As [`log_columns`], for spans.
pub(super) fn span_columns(veil: &[Rule]) -> SpanColumns {
    let columns = veil
        .iter()
        .filter_map(|rule| rule.condition.traces.as_ref());
    columns.fold(SpanColumns::NONE, |all, c| all.with(c.columns))
}

/// The blocks that may hold hidden records.
///
/// # Errors
/// The directory or the token table cannot be read.
pub(super) fn touched_logs(
    segment: &LogSegment,
    veil: &[Rule],
) -> Result<Vec<LogBlock>, StoreError> {
    let (mut seen, mut touched) = (BTreeSet::new(), Vec::new());
    for rule in veil {
        if let Some(condition) = &rule.condition.logs {
            let blocks = segment.blocks(rule.range, &condition.prune)?;
            touched.extend(
                blocks
                    .into_iter()
                    .filter(|block| seen.insert(block.number())),
            );
        }
    }
    Ok(touched)
}

/// As [`touched_logs`], for spans.
pub(super) fn touched_spans(
    segment: &SpanSegment,
    veil: &[Rule],
) -> Result<Vec<SpanBlock>, StoreError> {
    let (mut seen, mut touched) = (BTreeSet::new(), Vec::new());
    for rule in veil {
        if let Some(condition) = &rule.condition.traces {
            let blocks = segment.blocks(rule.range, &condition.prune)?;
            touched.extend(
                blocks
                    .into_iter()
                    .filter(|block| seen.insert(block.number())),
            );
        }
    }
    Ok(touched)
}

/// What a segment's own summaries and RED rows still count of hidden spans.
#[derive(Debug, Default)]
struct HiddenSpans {
    traces: HashSet<TraceId>,
    red: RedTable,
}

fn hidden_spans(segment: &SpanSegment, veil: &[Rule]) -> Result<HiddenSpans, StoreError> {
    let mut hidden = HiddenSpans::default();
    let columns = span_columns(veil);
    for block in touched_spans(segment, veil)? {
        block.for_each(columns, &mut |span| {
            if veil.iter().any(|rule| rule.hides_span(span)) {
                hidden.traces.insert(span.trace_id);
                hidden.red.add(span);
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(hidden)
}

/// The segment's summaries as they will be once its hidden spans are gone: those of traces that have
/// some are made anew from the spans that stay.
///
/// # Errors
/// Something could not be read; the answer is partial.
pub(super) fn summaries(segment: &SpanSegment, veil: &[Rule]) -> Result<SummaryTable, StoreError> {
    let traces = hidden_spans(segment, veil)?.traces;
    let mut anew: HashMap<TraceId, TraceSummary> = HashMap::new();
    let columns = span_columns(veil);
    for block in blocks_of(segment, &traces)? {
        block.for_each(columns, &mut |span| {
            if traces.contains(&span.trace_id) && !veil.iter().any(|rule| rule.hides_span(span)) {
                let new = || TraceSummary::new(span.trace_id);
                anew.entry(span.trace_id).or_insert_with(new).add(span);
            }
            ControlFlow::Continue(())
        })?;
    }
    let mut table = SummaryTable::of(anew.values());
    table.extend(&*segment.summaries()?, |row| {
        !traces.contains(&row.trace_id)
    });
    Ok(table)
}

fn blocks_of(
    segment: &SpanSegment,
    traces: &HashSet<TraceId>,
) -> Result<Vec<SpanBlock>, StoreError> {
    if traces.len() > TRACES_ONE_BY_ONE_MAX {
        return segment.blocks(TimeRange::ALL, &SpanPrune::default());
    }
    let (mut seen, mut blocks) = (BTreeSet::new(), Vec::new());
    for id in traces {
        let prune = SpanPrune {
            trace_id: Some(*id),
            ..SpanPrune::default()
        };
        let found = segment.blocks(TimeRange::ALL, &prune)?;
        blocks.extend(
            found
                .into_iter()
                .filter(|block| seen.insert(block.number())),
        );
    }
    Ok(blocks)
}

/// The segment's rate, errors and durations without its hidden spans.
///
/// # Errors
/// As [`summaries`].
pub(super) fn red(segment: &SpanSegment, veil: &[Rule]) -> Result<RedTable, StoreError> {
    let hidden = hidden_spans(segment, veil)?.red;
    Ok(segment.red()?.without(&hidden))
}

/// The number of the newest deletion that requests from `sequence` on came after; 0: none.
pub(super) fn cleared_at(rules: &[Rule], sequence: u64) -> u64 {
    let after = rules.iter().filter(|rule| rule.before <= sequence);
    after.map(|rule| rule.number).max().unwrap_or(0)
}
