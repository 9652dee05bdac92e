//! Reading span blocks back into views.

use std::ops::{ControlFlow, Range};

use crate::model::otlp::{self, GroupView, Scratch};
use crate::model::{Attr, ResourceView, ScopeView, SpanId, SpanView, Timestamp, TraceId, ValueRef};
use crate::store::{SpanColumns, StoreError};

use super::super::column::strings::{self, Strings, Texts};
use super::super::column::{Decoder, ints};
use super::super::cursor::{Damage, unzigzag};
use super::super::dictionary::{Dictionary, GroupViews, check_numbers};
use super::super::times;
use super::super::values::{Groups, Layout, Slot, Values};
use super::encode::{PARENT_BY_ID, PARENT_IN_BLOCK, PARENT_NONE, start_base};
use super::shape::{SpanColumnsShape, SpanShape};
use super::{SpanBlock, family};

/// The columns of one block; those not asked for are empty.
#[derive(Debug)]
pub(super) struct Columns {
    /// Which of the columns that readers ask for have been read.
    known: SpanColumns,
    groups: Groups,
    pub(super) shapes: Vec<u32>,
    pub(super) resources: Vec<u32>,
    /// Number of each row's trace.
    traces: Vec<u32>,
    trace_rows: Vec<usize>,
    trace_ids: Vec<TraceId>,
    span_ids: Vec<SpanId>,
    parents: Vec<Parent>,
    at: Vec<u64>,
    starts: Vec<u64>,
    durations: Vec<u64>,
    attributes: Values,
    raw: Values,
    states: Option<Texts>,
    messages: Option<Texts>,
    events: List,
    links: List,
}

impl Default for Columns {
    fn default() -> Columns {
        Columns {
            known: SpanColumns::NONE,
            groups: Groups::default(),
            shapes: Vec::new(),
            resources: Vec::new(),
            traces: Vec::new(),
            trace_rows: Vec::new(),
            trace_ids: Vec::new(),
            span_ids: Vec::new(),
            parents: Vec::new(),
            at: Vec::new(),
            starts: Vec::new(),
            durations: Vec::new(),
            attributes: Values::default(),
            raw: Values::default(),
            states: None,
            messages: None,
            events: List::default(),
            links: List::default(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Parent {
    None,
    Id(SpanId),
    Row(usize),
}

/// A column of lists of encoded messages; empty when not read.
#[derive(Debug, Default)]
struct List {
    /// Where each row's messages start, and where the last ones end.
    starts: Vec<usize>,
    messages: Strings,
}

pub(super) fn for_each(
    block: &SpanBlock,
    wanted: SpanColumns,
    each: &mut dyn FnMut(&SpanView<'_>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let part = block.entry().part;
    let dictionary = block.segment.dictionary(&block.loaded, part)?;
    let mut columns = Columns::read(block, dictionary)?;
    let rows = columns.rows_of(block.only);
    if rows.is_empty() {
        return Ok(());
    }
    columns.more(block, dictionary, wanted)?;
    let corrupt = block.segment.frame().corrupt(block.entry().offset);
    let mut views = Views::new(dictionary, &columns).map_err(&corrupt)?;
    for row in rows {
        if views.show(row, each).map_err(&corrupt)?.is_break() {
            break;
        }
    }
    Ok(())
}

impl Columns {
    /// What tells the rows apart: shapes, resources, traces.
    pub(super) fn read(
        block: &SpanBlock,
        dictionary: &Dictionary<SpanShape>,
    ) -> Result<Columns, StoreError> {
        let corrupt = block.segment.frame().corrupt(block.entry().offset);
        let rows = block.family(family::ROWS)?;
        let mut columns = Columns::default();
        columns
            .read_rows(&mut rows.reader(), block.rows(), dictionary)
            .map_err(corrupt)?;
        let is_raw = |shape: &u32| dictionary.shapes[*shape as usize].columns.is_none();
        if columns.groups.shapes().iter().any(is_raw) {
            columns.raw = columns.values(block, dictionary, family::RAW, SpanShape::raw_slots)?;
        }
        Ok(columns)
    }

    /// The rows of one trace, or all of them: a block has those of a trace side by side.
    pub(super) fn rows_of(&self, trace: Option<TraceId>) -> Range<usize> {
        let Some(trace) = trace else {
            return 0..self.shapes.len();
        };
        let number = self.trace_ids.iter().position(|id| *id == trace);
        number.map_or(0..0, |number| {
            let start = self.trace_rows[..number].iter().sum();
            start..start + self.trace_rows[number]
        })
    }

    /// Reads those of the wanted columns that were not read before.
    pub(super) fn more(
        &mut self,
        block: &SpanBlock,
        dictionary: &Dictionary<SpanShape>,
        wanted: SpanColumns,
    ) -> Result<(), StoreError> {
        let n = block.rows();
        let corrupt = block.segment.frame().corrupt(block.entry().offset);
        // Starts are told from those of parents.
        let times = self.is_new(wanted, SpanColumns::TIMES);
        if (times && self.parents.is_empty()) || self.is_new(wanted, SpanColumns::IDS) {
            let ids = block.family(family::IDS)?;
            self.read_ids(&mut ids.reader(), n).map_err(&corrupt)?;
            self.known = self.known.with(SpanColumns::IDS);
        }
        if times || self.is_new(wanted, SpanColumns::DURATION) {
            let spans = block.family(family::TIMES)?;
            self.read_times(&mut spans.reader(), n, times)
                .map_err(&corrupt)?;
        }
        if self.is_new(wanted, SpanColumns::ATTRIBUTES) {
            let slots = SpanShape::attribute_slots;
            self.attributes = self.values(block, dictionary, family::ATTRIBUTES, slots)?;
        }
        let texts = |tag| {
            let strings = strings::decode(&mut block.family(tag)?.reader(), n);
            let texts = strings.and_then(Strings::into_texts);
            texts.map(Some).map_err(&corrupt)
        };
        if self.is_new(wanted, SpanColumns::REST) {
            self.states = texts(family::STATE)?;
        }
        if self.is_new(wanted, SpanColumns::TEXT) {
            self.messages = texts(family::TEXT)?;
        }
        let list = |tag| List::read(&mut block.family(tag)?.reader(), n).map_err(&corrupt);
        if self.is_new(wanted, SpanColumns::EVENTS) {
            self.events = list(family::EVENTS)?;
        }
        if self.is_new(wanted, SpanColumns::LINKS) {
            self.links = list(family::LINKS)?;
        }
        self.known = self.known.with(wanted);
        Ok(())
    }

    fn is_new(&self, wanted: SpanColumns, column: SpanColumns) -> bool {
        wanted.has(column) && !self.known.has(column)
    }

    fn values(
        &self,
        block: &SpanBlock,
        dictionary: &Dictionary<SpanShape>,
        tag: u8,
        slots: for<'s> fn(&'s SpanShape) -> &'s [Slot],
    ) -> Result<Values, StoreError> {
        let corrupt = block.segment.frame().corrupt(block.entry().offset);
        let of = |shape: u32| slots(&dictionary.shapes[shape as usize]);
        let layout = Layout::of(&self.groups, of);
        Values::read(layout, &mut block.family(tag)?.reader()).map_err(corrupt)
    }

    fn read_rows(
        &mut self,
        decoder: &mut Decoder<'_>,
        n: usize,
        dictionary: &Dictionary<SpanShape>,
    ) -> Result<(), Damage> {
        let unknown = Damage("a row names a shape or resource that is not there");
        let shapes = ints::decode(decoder, n)?;
        self.shapes = check_numbers(shapes, dictionary.shapes.len(), unknown)?;
        let groups = Groups::of(&self.shapes, dictionary.shapes.len());
        let slots = |shape: u32| dictionary.shapes[shape as usize].resource_slots();
        let resources = Values::read(Layout::of(&groups, slots), decoder)?;
        let resource = |row| match resources.row(row).next() {
            Some(ValueRef::Int(number)) => number as u64,
            _ => u64::MAX,
        };
        let numbers = (0..n).map(resource).collect();
        self.resources = check_numbers(numbers, dictionary.n_resources(), unknown)?;
        self.groups = groups;
        self.read_traces(decoder, n)
    }

    fn read_traces(&mut self, decoder: &mut Decoder<'_>, n: usize) -> Result<(), Damage> {
        let n_traces = ints::decode(decoder, 1)?[0] as usize;
        if n_traces > n {
            return Err(Damage("a block has more traces than spans"));
        }
        let mut left = n;
        for rows in ints::decode(decoder, n_traces)? {
            let rows = usize::try_from(rows).ok().filter(|rows| *rows > 0);
            let rows = rows.ok_or(Damage("a trace of a block has no spans"))?;
            left = left
                .checked_sub(rows)
                .ok_or(Damage("the traces of a block have more spans than it"))?;
            let number = self.trace_rows.len() as u32;
            self.traces.extend(std::iter::repeat_n(number, rows));
            self.trace_rows.push(rows);
        }
        if left != 0 {
            return Err(Damage("the traces of a block have fewer spans than it"));
        }
        let high = ints::decode(decoder, n_traces)?;
        let low = ints::decode(decoder, n_traces)?;
        for (high, low) in high.iter().zip(low) {
            let id = u128::from(*high) << 64 | u128::from(low);
            if id == 0 {
                return Err(Damage("a trace id is zero"));
            }
            self.trace_ids.push(TraceId(id.to_be_bytes()));
        }
        Ok(())
    }

    fn read_ids(&mut self, decoder: &mut Decoder<'_>, n: usize) -> Result<(), Damage> {
        let zero = Damage("a span id is zero");
        let id = |id: u64| (id != 0).then_some(SpanId(id.to_be_bytes())).ok_or(zero);
        let spans = ints::decode(decoder, n)?;
        self.span_ids = spans.into_iter().map(id).collect::<Result<_, _>>()?;
        let kinds = ints::decode(decoder, n)?;
        let n_by_id = kinds.iter().filter(|kind| **kind == PARENT_BY_ID).count();
        let mut by_id = ints::decode(decoder, n_by_id)?.into_iter();
        for (row, kind) in kinds.into_iter().enumerate() {
            self.parents.push(match kind {
                PARENT_NONE => Parent::None,
                PARENT_BY_ID => Parent::Id(id(by_id.next().unwrap_or_default())?),
                distance => {
                    let distance = unzigzag(distance - PARENT_IN_BLOCK);
                    let parent = (row as i64).wrapping_sub(distance);
                    let parent = usize::try_from(parent).ok().filter(|parent| *parent < n);
                    Parent::Row(parent.ok_or(Damage("a parent lies outside of its block"))?)
                }
            });
        }
        Ok(())
    }

    /// Durations, and (`starts`) starts and places, which need the parents.
    fn read_times(
        &mut self,
        decoder: &mut Decoder<'_>,
        n: usize,
        starts: bool,
    ) -> Result<(), Damage> {
        let anchors = ints::decode(decoder, self.trace_rows.len())?;
        let steps = ints::decode(decoder, n - self.trace_rows.len())?;
        self.durations = ints::decode(decoder, n)?;
        if !starts {
            return Ok(());
        }
        let mut steps = steps.into_iter();
        for (anchor, rows) in anchors.into_iter().zip(&self.trace_rows) {
            self.starts.push(anchor);
            for _ in 1..*rows {
                let row = self.starts.len();
                let parent = match self.parents[row] {
                    Parent::Row(parent) => Some(parent),
                    Parent::None | Parent::Id(_) => None,
                };
                let step = unzigzag(steps.next().unwrap_or_default()) as u64;
                let base = self.starts[start_base(row, parent)];
                self.starts.push(base.wrapping_add(step));
            }
        }
        self.at = times::decode(decoder, &self.starts)?;
        Ok(())
    }

    fn parent(&self, row: usize) -> Option<SpanId> {
        match self.parents.get(row)? {
            Parent::None => None,
            Parent::Id(id) => Some(*id),
            Parent::Row(parent) => Some(self.span_ids[*parent]),
        }
    }
}

impl List {
    fn read(decoder: &mut Decoder<'_>, n: usize) -> Result<List, Damage> {
        let mut starts = Vec::with_capacity(n + 1);
        let mut end = 0usize;
        starts.push(0);
        for len in ints::decode(decoder, n)? {
            end = usize::try_from(len)
                .ok()
                .and_then(|len| end.checked_add(len))
                .ok_or(Damage("a list is too long"))?;
            starts.push(end);
        }
        Ok(List {
            starts,
            messages: strings::decode(decoder, end)?,
        })
    }

    fn row<'a>(&'a self, row: usize, out: &mut Vec<&'a [u8]>) {
        out.clear();
        if let Some([start, end]) = self.starts.get(row..row + 2) {
            out.extend((*start..*end).map(|at| self.messages.get(at)));
        }
    }
}

/// Lists of the span being shown.
#[derive(Debug, Default)]
struct Lists<'a> {
    attributes: Vec<Attr<'a>>,
    events: Vec<&'a [u8]>,
    links: Vec<&'a [u8]>,
}

impl<'a> Lists<'a> {
    fn read(
        &mut self,
        dictionary: &'a Dictionary<SpanShape>,
        columns: &'a Columns,
        row: usize,
        kept: &SpanColumnsShape,
    ) {
        let key = |number| dictionary.text(number);
        let (values, slots) = (&columns.attributes, &kept.attributes);
        values.attributes(row, slots, key, &mut self.attributes);
        columns.events.row(row, &mut self.events);
        columns.links.row(row, &mut self.links);
    }
}

/// What stands for the id of a span whose ids were not asked for.
const UNREAD: SpanId = SpanId([0; 8]);

/// The rows of a block as views; fields of columns that were not read are empty or zero.
#[derive(Debug)]
pub(super) struct Views<'c> {
    dictionary: &'c Dictionary<SpanShape>,
    columns: &'c Columns,
    groups: GroupViews<'c>,
    lists: Lists<'c>,
}

impl<'c> Views<'c> {
    pub(super) fn new(
        dictionary: &'c Dictionary<SpanShape>,
        columns: &'c Columns,
    ) -> Result<Views<'c>, Damage> {
        let shapes = columns.groups.shapes().iter();
        Ok(Views {
            dictionary,
            columns,
            groups: GroupViews::read(
                dictionary,
                columns.resources.iter().copied(),
                shapes.map(|shape| dictionary.shapes[*shape as usize].scope),
            )?,
            lists: Lists::default(),
        })
    }

    /// Gives the view of a row to `each`.
    pub(super) fn show<R>(
        &mut self,
        row: usize,
        each: &mut (impl FnMut(&SpanView<'_>) -> R + ?Sized),
    ) -> Result<R, Damage> {
        let (dictionary, columns) = (self.dictionary, self.columns);
        let shape = &dictionary.shapes[columns.shapes[row] as usize];
        let resource = self.groups.resource(columns.resources[row]);
        let scope = self.groups.scope(shape.scope);
        let Some(kept) = &shape.columns else {
            return show_raw(columns, row, resource, scope, each);
        };
        self.lists.read(dictionary, columns, row, kept);
        let number = |column: &[u64]| column.get(row).copied().unwrap_or_default();
        let start = Timestamp(number(&columns.starts));
        let text = |texts: &'c Option<Texts>| texts.as_ref().map_or("", |t| t.get(row));
        Ok(each(&SpanView {
            resource,
            scope,
            at: Timestamp(number(&columns.at)),
            trace_id: columns.trace_ids[columns.traces[row] as usize],
            span_id: columns.span_ids.get(row).copied().unwrap_or(UNREAD),
            parent: columns.parent(row),
            trace_state: text(&columns.states),
            flags: kept.flags,
            name: dictionary.text(kept.name),
            kind: kept.kind,
            start,
            end: Timestamp(start.0.wrapping_add(number(&columns.durations))),
            attributes: &self.lists.attributes,
            dropped_attributes: kept.dropped_attributes,
            events: &self.lists.events,
            dropped_events: kept.dropped_events,
            links: &self.lists.links,
            dropped_links: kept.dropped_links,
            status_code: kept.status_code,
            status_message: text(&columns.messages),
        }))
    }
}

/// Shows a span that was kept whole.
fn show_raw<R>(
    columns: &Columns,
    row: usize,
    resource: &ResourceView<'_>,
    scope: &ScopeView<'_>,
    each: &mut (impl FnMut(&SpanView<'_>) -> R + ?Sized),
) -> Result<R, Damage> {
    let Some(ValueRef::Bytes(span)) = columns.raw.row(row).next() else {
        return Err(Damage("a raw span is missing"));
    };
    let group = GroupView {
        resource: resource.clone(),
        scope: scope.clone(),
    };
    let at = Timestamp(columns.at.get(row).copied().unwrap_or_default());
    let mut scratch = Scratch::default();
    let read = otlp::span_view(span, &group, at, &mut scratch)
        .map_err(|_| Damage("a raw span is malformed"))?;
    Ok(each(&SpanView { at, ..read }))
}
