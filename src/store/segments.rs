//! The published segments as readers and merges use them, and the one place that calls the formats.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::catalogue::{Catalogue, Damaged, SegmentRow};
use super::deletion::Tally;
use super::disk::File;
use super::error::StoreError;
use super::head::Head;
use super::hide::{self, Rule};
use super::merge::Way;
use super::metrics::{self, MetricSegment};
use super::partition::{Partition, RetentionClass};
use super::prune::{LogPrune, SpanPrune};
use super::rewrite;
use super::segment::{
    self, Footprint, Grade, LogBlock, LogSegment, Pause, Sealed, SegmentFacts, SpanBlock,
    SpanSegment, Variety,
};
use super::templates::{Gate, Mined, TemplateId};
use super::unit::{LogUnit, SpanUnit, Unreadable};
use crate::model::chunk::Chunk;
use crate::model::red::RedTable;
use crate::model::summary::SummaryTable;
use crate::model::{LogEntry, ProjectId, Signal, SpanEntry};
use crate::model::{TimeRange, Timestamp};

/// A published segment, open for reading.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) row: SegmentRow,
    path: Arc<Path>,
    pub(super) data: Data,
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    Logs(LogSegment),
    Traces(SpanSegment),
    Metrics(MetricSegment),
}

/// All published segments, in the order of their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Segments {
    pub(super) list: Vec<Arc<Segment>>,
    pub(super) damaged: Vec<Arc<Damaged>>,
}

impl Segment {
    /// Checks the directory of a segment's file against its row.
    pub(super) fn open(file: File, row: SegmentRow) -> Result<Segment, StoreError> {
        let len = file.len().map_err(StoreError::io("measure", file.path()))?;
        if len != row.bytes {
            return Err(StoreError::corrupt(file.path(), len, "length"));
        }
        let path = Arc::from(file.path());
        let data = match row.signal {
            Signal::Logs => Data::Logs(LogSegment::open(file)?),
            Signal::Traces => Data::Traces(SpanSegment::open(file)?),
            Signal::Metrics => Data::Metrics(MetricSegment::open(file)?),
        };
        let segment = Segment { row, path, data };
        segment.check_facts()?;
        Ok(segment)
    }

    /// The file must be the one that was published under this row.
    fn check_facts(&self) -> Result<(), StoreError> {
        let row = &self.row;
        let facts = match &self.data {
            Data::Logs(segment) => segment.facts(),
            Data::Traces(segment) => segment.facts(),
            Data::Metrics(segment) => segment.facts(),
        };
        if (facts.crc, facts.rows) != (row.crc, row.rows) {
            let what = "it is not the segment that the catalogue names";
            return Err(StoreError::corrupt(&self.path, 0, what));
        }
        Ok(())
    }

    pub(super) fn is_logs(&self) -> bool {
        matches!(self.data, Data::Logs(_))
    }

    /// What it says of its templates; `None` of spans.
    pub(super) fn mine(&self) -> Result<Option<Mined>, StoreError> {
        match &self.data {
            Data::Logs(segment) => segment.mine().map(Some),
            Data::Traces(_) | Data::Metrics(_) => Ok(None),
        }
    }

    /// The same file under a row that says it is cleared up to a deletion.
    pub(super) fn with_cleared(&self, cleared: u64) -> Segment {
        Segment {
            row: SegmentRow {
                cleared,
                ..self.row.clone()
            },
            path: self.path.clone(),
            data: self.data.clone(),
        }
    }

    /// The blocks that have one of the templates asked for, or one that is not ruled out, or records
    /// without one; `None`: any. The catalogue knows, so that a segment without them is not even opened.
    fn holders(&self, prune: &LogPrune, catalogue: &Catalogue) -> Option<Vec<u32>> {
        let ruled_out = prune.ruled_out.as_ref().filter(|_| !self.is_loaded());
        if prune.templates.is_empty() && ruled_out.is_none() {
            return None;
        }
        // A catalogue that cannot be read rules nothing out.
        let templates = catalogue.templates_of(self.row.id).ok().flatten()?;
        if !prune.templates.is_empty() {
            let wanted = prune.templates.iter().copied();
            return templates.blocks(wanted.chain([TemplateId::PLAIN]));
        }
        let ids = templates.facts.iter().map(|facts| facts.id);
        templates.blocks(ids.filter(|id| !ruled_out.is_some_and(|out| out.has(*id))))
    }

    /// Whether its directory is in memory, and tells as much as the catalogue.
    fn is_loaded(&self) -> bool {
        match &self.data {
            Data::Logs(segment) => segment.is_loaded(),
            Data::Traces(segment) => segment.is_loaded(),
            Data::Metrics(_) => true,
        }
    }

    /// Adds the log units that may hold matches; nothing of a segment of spans.
    pub(super) fn find_logs(
        &self,
        range: TimeRange,
        prune: &LogPrune,
        rules: &[Rule],
        catalogue: &Catalogue,
        units: &mut Vec<LogUnit>,
    ) {
        let Data::Logs(data) = &self.data else {
            return;
        };
        let holders = self.holders(prune, catalogue);
        if holders.as_ref().is_some_and(Vec::is_empty) {
            return;
        }
        match self.log_units(data, range, prune, holders.as_deref(), rules) {
            Ok(found) => units.extend(found),
            Err(_) => units.push(LogUnit::unreadable(self.unreadable())),
        }
    }

    /// Adds the span units that may hold matches; nothing of a segment of logs.
    pub(super) fn find_spans(
        &self,
        range: TimeRange,
        prune: &SpanPrune,
        rules: &[Rule],
        units: &mut Vec<SpanUnit>,
    ) {
        let Data::Traces(data) = &self.data else {
            return;
        };
        match self.span_units(data, range, prune, rules) {
            Ok(found) => units.extend(found),
            Err(_) => units.push(SpanUnit::unreadable(self.unreadable())),
        }
    }

    /// The log units of interest, each behind what it must not show.
    fn log_units(
        &self,
        data: &LogSegment,
        range: TimeRange,
        prune: &LogPrune,
        holders: Option<&[u32]>,
        rules: &[Rule],
    ) -> Result<Vec<LogUnit>, StoreError> {
        let mut blocks = data.blocks(range, prune)?;
        if let Some(holders) = holders {
            blocks.retain(|block| holders.binary_search(&block.number()).is_ok());
        }
        let blocks = blocks.into_iter();
        let Some(veil) = hide::of_segment(rules, &self.row) else {
            return Ok(blocks.map(LogUnit::block).collect());
        };
        let touched = hide::touched_logs(data, &veil)?;
        let touched: BTreeSet<u32> = touched.iter().map(LogBlock::number).collect();
        let unit = |block: LogBlock| {
            let veil = touched.contains(&block.number()).then(|| veil.clone());
            LogUnit::block(block).behind(veil)
        };
        Ok(blocks.map(unit).collect())
    }

    /// As [`Segment::log_units`], of spans.
    fn span_units(
        &self,
        data: &SpanSegment,
        range: TimeRange,
        prune: &SpanPrune,
        rules: &[Rule],
    ) -> Result<Vec<SpanUnit>, StoreError> {
        let blocks = data.blocks(range, prune)?.into_iter();
        let blocks = blocks.map(|block| block.only(prune.trace_id));
        let Some(veil) = hide::of_segment(rules, &self.row) else {
            return Ok(blocks.map(SpanUnit::block).collect());
        };
        let touched = hide::touched_spans(data, &veil)?;
        let touched: BTreeSet<u32> = touched.iter().map(SpanBlock::number).collect();
        let unit = |block: SpanBlock| {
            let veil = touched.contains(&block.number()).then(|| veil.clone());
            SpanUnit::block(block).behind(veil)
        };
        Ok(blocks.map(unit).collect())
    }

    fn unreadable(&self) -> Unreadable {
        Unreadable {
            path: self.path.clone(),
            first: self.row.first,
            last: self.row.last,
            rows: self.row.rows,
        }
    }

    /// Memory of the directory it keeps, in bytes.
    pub(super) fn cached_bytes(&self) -> usize {
        match &self.data {
            Data::Logs(segment) => segment.cached_bytes(),
            Data::Traces(segment) => segment.cached_bytes(),
            Data::Metrics(segment) => segment.cached_bytes(),
        }
    }

    /// Gives that memory back; the next reader loads the directory again.
    pub(super) fn release(&self) {
        match &self.data {
            Data::Logs(segment) => segment.release(),
            Data::Traces(segment) => segment.release(),
            // Its directory is what makes it a segment; it is small.
            Data::Metrics(_) => {}
        }
    }

    /// What is told about it when it cannot be read.
    pub(super) fn damaged(&self, why: &StoreError) -> Damaged {
        Damaged {
            path: self.row.path(),
            signal: Some(self.row.signal),
            first: self.row.first,
            last: self.row.last,
            why: why.to_string(),
        }
    }

    /// Reads all of it and checks every checksum.
    pub(super) fn verify(&self) -> Result<(), StoreError> {
        match &self.data {
            Data::Logs(segment) => segment.verify(),
            Data::Traces(segment) => segment.verify(),
            Data::Metrics(segment) => segment.verify(),
        }
    }
}

impl Segments {
    pub(super) fn insert(&mut self, segment: Arc<Segment>) {
        let at = self
            .list
            .partition_point(|other| other.row.id < segment.row.id);
        self.list.insert(at, segment);
    }

    /// Takes segments out and gives them back.
    pub(super) fn remove(&mut self, ids: &[u64]) -> Vec<Arc<Segment>> {
        let (removed, kept) = std::mem::take(&mut self.list)
            .into_iter()
            .partition(|segment| ids.contains(&segment.row.id));
        self.list = kept;
        removed
    }

    /// The span segments that overlap `range`.
    pub(super) fn traces(&self, range: TimeRange) -> impl Iterator<Item = Traces> {
        self.overlapping(range)
            .filter_map(|segment| match &segment.data {
                Data::Traces(data) => Some(Traces {
                    row: segment.row.clone(),
                    data: data.clone(),
                }),
                Data::Logs(_) | Data::Metrics(_) => None,
            })
    }

    /// The segments of metrics.
    pub(super) fn metrics(&self) -> impl Iterator<Item = &MetricSegment> {
        self.list.iter().filter_map(|segment| match &segment.data {
            Data::Metrics(data) => Some(data),
            Data::Logs(_) | Data::Traces(_) => None,
        })
    }

    /// The segments of a signal that overlap `range`.
    pub(super) fn of(&self, signal: Signal, range: TimeRange) -> impl Iterator<Item = &Segment> {
        let overlapping = self.overlapping(range);
        overlapping.filter(move |segment| segment.row.signal == signal)
    }

    fn overlapping(&self, range: TimeRange) -> impl Iterator<Item = &Segment> {
        let overlaps = move |row: &SegmentRow| range.overlaps(row.first, row.last);
        let segments = self.list.iter().map(|segment| &**segment);
        segments.filter(move |segment| overlaps(&segment.row))
    }

    pub(super) fn damaged(&self, signal: Signal, range: TimeRange) -> Vec<Arc<Damaged>> {
        self.damaged
            .iter()
            .filter(|d| d.signal.is_none_or(|s| s == signal) && range.overlaps(d.first, d.last))
            .cloned()
            .collect()
    }
}

/// What a span segment says of its spans as a whole.
#[derive(Clone, Debug)]
pub(super) struct Traces {
    row: SegmentRow,
    data: SpanSegment,
}

impl Traces {
    /// Place of its newest span.
    pub(super) fn last(&self) -> Timestamp {
        self.row.last
    }

    /// The summaries of its traces, without what `rules` hide.
    pub(super) fn summaries(&self, rules: &[Rule]) -> Result<Arc<SummaryTable>, StoreError> {
        match hide::of_segment(rules, &self.row) {
            Some(veil) => Ok(Arc::new(hide::summaries(&self.data, &veil)?)),
            None => self.data.summaries(),
        }
    }

    /// Rate, errors and durations, without what `rules` hide.
    pub(super) fn red(&self, rules: &[Rule]) -> Result<RedTable, StoreError> {
        match hide::of_segment(rules, &self.row) {
            Some(veil) => hide::red(&self.data, &veil),
            None => self.data.red(),
        }
    }
}

/// The templates of log segments, for the edit that publishes them. One with a damaged block has
/// none: its answers say that they are partial.
pub(super) fn mined(segments: &[Arc<Segment>]) -> Result<Vec<(u64, Mined)>, StoreError> {
    let mut all = Vec::with_capacity(segments.len());
    for segment in segments {
        match segment.mine() {
            Ok(mined) => all.extend(mined.map(|mined| (segment.row.id, mined))),
            Err(StoreError::Corrupt { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(all)
}

/// A head that waits to be sealed.
#[derive(Clone, Debug)]
pub(super) enum SealedHead {
    Logs(Arc<Head<LogEntry>>),
    Traces(Arc<Head<SpanEntry>>),
    Metrics(Arc<metrics::head::Head>),
}

/// The retention class of a service.
type ClassOf<'f> = Option<&'f dyn Fn(&str) -> RetentionClass>;

/// Encodes a head without what `veil` hides, which is counted: one segment per project and partition
/// it touches. Without `class_of` all services are of one class.
pub(super) fn encode(
    head: &SealedHead,
    veil: &[Rule],
    tally: &mut Tally,
    class_of: ClassOf<'_>,
    gate: Option<&Gate<'_>>,
    book: &metrics::Book,
    partition: &dyn Fn(Timestamp, RetentionClass) -> Partition,
) -> Vec<(ProjectId, Sealed)> {
    match head {
        SealedHead::Logs(head) => {
            let keep = |chunk| rewrite::logs_without(chunk, veil, tally);
            let allows = |service: &str, id| gate.is_none_or(|gate| gate.allows(service, id));
            let allows: Option<segment::Allows<'_>> = match gate {
                Some(_) => Some(&allows),
                None => None,
            };
            by_home(head, keep, class_of, |chunks, class| {
                segment::seal_gated(chunks, |at| partition(at, class), allows)
            })
        }
        SealedHead::Traces(head) => {
            let keep = |chunk| rewrite::spans_without(chunk, veil, tally);
            by_home(head, keep, class_of, |chunks, class| {
                segment::seal_spans(chunks, |at| partition(at, class))
            })
        }
        SealedHead::Metrics(head) => {
            let sealed = book.seal(head, &|at| partition(at, RetentionClass::default()));
            sealed
                .into_iter()
                .map(|s| (ProjectId::DEFAULT, s))
                .collect()
        }
    }
}

/// Projects never share a segment, so that separating them needs no rewriting; nor do retention
/// classes, so that each goes with its partitions.
fn by_home<E: super::head::Entry + Copy>(
    head: &Head<E>,
    keep: impl FnMut(Arc<Chunk<E>>) -> Arc<Chunk<E>>,
    class_of: ClassOf<'_>,
    seal: impl Fn(&[Arc<Chunk<E>>], RetentionClass) -> Vec<Sealed>,
) -> Vec<(ProjectId, Sealed)> {
    type Home = (ProjectId, RetentionClass);
    let mut homes: BTreeMap<Home, Vec<Arc<Chunk<E>>>> = BTreeMap::new();
    let groups = head.groups();
    let chunks = groups.iter().flat_map(|group| group.chunks.iter().cloned());
    // Requests of one home stay in the order of arrival.
    for chunk in chunks.map(keep) {
        let parts = match class_of {
            Some(class_of) => rewrite::by_class(chunk, class_of),
            None => vec![(RetentionClass::default(), chunk)],
        };
        for (class, part) in parts {
            let home = (part.request.project, class);
            homes.entry(home).or_default().push(part);
        }
    }
    let sealed = homes.iter().flat_map(|((project, class), chunks)| {
        let sealed = seal(chunks, *class).into_iter();
        sealed.map(move |sealed| (*project, sealed))
    });
    sealed.collect()
}

/// How many of these segments of one signal, from the first on, may be rewritten as one, and what that
/// takes: `memory` bytes at most, and no record kept raw for want of room in the dictionary.
pub(super) fn rewritable(inputs: &[Arc<Segment>], memory: u64) -> Result<(usize, u64), StoreError> {
    let signal = inputs
        .first()
        .map_or(Signal::Logs, |input| input.row.signal);
    let (mut footprint, mut variety) = (Footprint::default(), Variety::of(signal));
    for (n, input) in inputs.iter().enumerate() {
        let more = footprint.with(match &input.data {
            Data::Logs(segment) => segment.footprint()?,
            Data::Traces(segment) => segment.footprint()?,
            Data::Metrics(_) => return Ok(rewritable_metrics(inputs, memory)),
        });
        if more.bytes() > memory {
            return Ok((n, footprint.bytes()));
        }
        match &input.data {
            Data::Logs(segment) => segment.vary(&mut variety)?,
            Data::Traces(segment) => segment.vary(&mut variety)?,
            Data::Metrics(_) => {}
        }
        if !variety.fits() {
            input.release();
            return Ok((n, footprint.bytes()));
        }
        footprint = more;
    }
    Ok((inputs.len(), footprint.bytes()))
}

/// As [`rewritable`]: what merging takes grows with the inputs that are read side by side.
fn rewritable_metrics(inputs: &[Arc<Segment>], memory: u64) -> (usize, u64) {
    let data = |input: &Arc<Segment>| match &input.data {
        Data::Metrics(segment) => Some(segment.clone()),
        Data::Logs(_) | Data::Traces(_) => None,
    };
    let all: Vec<MetricSegment> = inputs.iter().filter_map(data).collect();
    let bytes = |n: usize| metrics::segment::merge_bytes(&all[..n]);
    let n = (1..=all.len()).take_while(|n| bytes(*n) <= memory).count();
    (n, bytes(n))
}

/// Writes the records of several segments of one signal and project as one segment: their blocks as
/// they are, or all of it anew with the templates that there is room for in `catalogue`.
pub(super) fn merge(
    inputs: &[Arc<Segment>],
    way: Way,
    catalogue: &Catalogue,
    out: &mut impl std::io::Write,
    pause: Pause<'_>,
) -> Result<SegmentFacts, StoreError> {
    let (mut logs, mut traces, mut samples) = (Vec::new(), Vec::new(), Vec::new());
    for input in inputs {
        match &input.data {
            Data::Logs(segment) => logs.push(segment.clone()),
            Data::Traces(segment) => traces.push(segment.clone()),
            Data::Metrics(segment) => samples.push(segment.clone()),
        }
    }
    if !samples.is_empty() {
        let grade = match way {
            Way::Copy => Grade::Fresh,
            Way::Recode => Grade::Final,
        };
        return metrics::segment::merge(&samples, grade, out, pause);
    }
    let project = inputs[0].row.project;
    match (way, traces.is_empty()) {
        (Way::Copy, true) => segment::merge(&logs, out, pause),
        (Way::Copy, false) => segment::merge(&traces, out, pause),
        (Way::Recode, true) => {
            let gate = Gate::new(catalogue);
            let allows = |service: &str, id| gate.allows(service, id);
            let is_near = catalogue.is_near_template_cap(1);
            let allows: Option<segment::Allows<'_>> = match is_near {
                true => Some(&allows),
                false => None,
            };
            let facts = segment::recode_logs(&logs, project, out, allows, pause)?;
            catalogue.refuse_templates(gate.refused());
            Ok(facts)
        }
        (Way::Recode, false) => segment::recode_spans(&traces, project, out, pause),
    }
}
