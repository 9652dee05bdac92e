//! Reading log blocks back into views.

use std::ops::ControlFlow;

use crate::model::otlp::{self, GroupView, Scratch};
use crate::model::record::Lifted;
use crate::model::{
    Attr, LogView, ResourceView, ScopeView, Severity, SpanId, Timestamp, TraceId, ValueRef,
};
use crate::store::{LogColumns, StoreError};

use super::super::column::strings::{Strings, Texts};
use super::super::column::{Decoder, ints, push_hex};
use super::super::cursor::Damage;
use super::super::dictionary::{Dictionary, GroupViews, check_numbers};
use super::super::times;
use super::super::values::{Groups, Kind, Layout, Slot, Values};
use super::encode::{OWN_SPAN, OWN_TRACE};
use super::shape::LogShape;
use super::{LogBlock, family};

/// The columns of one block; those not asked for are empty.
#[derive(Debug, Default)]
struct Columns {
    shapes: Vec<u32>,
    resources: Vec<u32>,
    at: Vec<u64>,
    times: Vec<u64>,
    observed: Vec<u64>,
    trace_ids: Vec<Option<TraceId>>,
    span_ids: Vec<Option<SpanId>>,
    bodies: Values,
    /// Bodies that are texts, with the records' own ids put back.
    body_texts: Texts,
    attributes: Values,
    raw: Values,
}

pub(super) fn for_each(
    block: &LogBlock,
    wanted: LogColumns,
    each: &mut dyn FnMut(&LogView<'_>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let part = block.entry().part;
    let dictionary = block.segment.dictionary(&block.loaded, part)?;
    let columns = read(block, dictionary, wanted)?;
    let corrupt = block.segment.frame().corrupt(block.entry().offset);
    show(dictionary, &columns, each).map_err(corrupt)
}

fn read(
    block: &LogBlock,
    dictionary: &Dictionary<LogShape>,
    wanted: LogColumns,
) -> Result<Columns, StoreError> {
    let corrupt = block.segment.frame().corrupt(block.entry().offset);
    let unpack = |tag| block.segment.family(&block.loaded, block.number, tag);
    let n = block.rows();
    let mut columns = Columns::default();
    let rows = unpack(family::ROWS)?;
    columns
        .read_rows(&mut rows.reader(), n, dictionary)
        .map_err(&corrupt)?;
    if wanted.has(LogColumns::REST) {
        let times = unpack(family::TIMES)?;
        columns.read_times(&mut times.reader()).map_err(&corrupt)?;
    }
    let body = wanted.has(LogColumns::BODY);
    if body || wanted.has(LogColumns::IDS) {
        let trace_ids = block.segment.trace_ids(&block.loaded, block.entry().part)?;
        let ids = unpack(family::IDS)?;
        columns
            .read_ids(&mut ids.reader(), n, &trace_ids)
            .map_err(&corrupt)?;
    }
    let groups = Groups::of(&columns.shapes, dictionary.shapes.len());
    let values = |tag, slots: for<'s> fn(&'s LogShape) -> &'s [Slot]| {
        let layout = Layout::of(&groups, |shape| slots(&dictionary.shapes[shape as usize]));
        Values::read(layout, &mut unpack(tag)?.reader()).map_err(&corrupt)
    };
    if body {
        columns.bodies = values(family::BODY, LogShape::body_slots)?;
        columns.restore_texts(dictionary).map_err(&corrupt)?;
    }
    if wanted.has(LogColumns::ATTRIBUTES) {
        columns.attributes = values(family::ATTRIBUTES, LogShape::attribute_slots)?;
    }
    let is_raw = |shape: &u32| dictionary.shapes[*shape as usize].columns.is_none();
    if groups.shapes().iter().any(is_raw) {
        columns.raw = values(family::RAW, LogShape::raw_slots)?;
    }
    Ok(columns)
}

impl Columns {
    fn read_rows(
        &mut self,
        decoder: &mut Decoder<'_>,
        n: usize,
        dictionary: &Dictionary<LogShape>,
    ) -> Result<(), Damage> {
        let unknown = Damage("a row names a shape or resource that is not there");
        self.shapes = check_numbers(ints::decode(decoder, n)?, dictionary.shapes.len(), unknown)?;
        self.resources =
            check_numbers(ints::decode(decoder, n)?, dictionary.n_resources(), unknown)?;
        self.at = ints::decode(decoder, n)?;
        Ok(())
    }

    fn read_times(&mut self, decoder: &mut Decoder<'_>) -> Result<(), Damage> {
        self.times = times::decode(decoder, &self.at)?;
        self.observed = times::decode(decoder, &self.at)?;
        Ok(())
    }

    fn read_ids(
        &mut self,
        decoder: &mut Decoder<'_>,
        n: usize,
        trace_ids: &[u8],
    ) -> Result<(), Damage> {
        for number in ints::decode(decoder, n)? {
            let id = match number.checked_sub(1) {
                None => None,
                Some(number) => Some(
                    usize::try_from(number)
                        .ok()
                        .and_then(|number| trace_ids.chunks_exact(16).nth(number))
                        .and_then(|id| TraceId::from_field(id).ok()?)
                        .ok_or(Damage("a row names a trace id that is not there"))?,
                ),
            };
            self.trace_ids.push(id);
        }
        let spans = ints::decode(decoder, n)?;
        let id = |id: u64| (id != 0).then_some(SpanId(id.to_be_bytes()));
        self.span_ids = spans.into_iter().map(id).collect();
        Ok(())
    }

    fn restore_texts(&mut self, dictionary: &Dictionary<LogShape>) -> Result<(), Damage> {
        let mut texts = Strings::default();
        let mut text = Vec::new();
        for row in 0..self.shapes.len() {
            let shape = &dictionary.shapes[self.shapes[row] as usize];
            let is_text = shape.columns.as_ref().is_some_and(|c| c.body == Kind::Str);
            text.clear();
            if let (true, Some(ValueRef::Bytes(marked))) = (is_text, self.bodies.row(row).next()) {
                put_unmarked(&mut text, marked, self.trace_ids[row], self.span_ids[row])?;
            }
            texts.push(&text)?;
        }
        self.body_texts = texts.into_texts()?;
        Ok(())
    }

    fn body(&self, row: usize, kind: Kind) -> ValueRef<'_> {
        match self.bodies.row(row).next() {
            Some(_) if kind == Kind::Str => ValueRef::Str(self.body_texts.get(row)),
            Some(value) => value,
            None => ValueRef::Empty,
        }
    }
}

/// Appends a body's text with the hexadecimal of own ids in place of their marks.
fn put_unmarked(
    out: &mut Vec<u8>,
    marked: &[u8],
    trace: Option<TraceId>,
    span: Option<SpanId>,
) -> Result<(), Damage> {
    let no_id = Damage("a body refers to an id that its record does not have");
    let mut rest = marked;
    while let Some(at) = memchr::memchr2(OWN_TRACE, OWN_SPAN, rest) {
        out.extend_from_slice(&rest[..at]);
        if rest[at] == OWN_TRACE {
            push_hex(out, &trace.ok_or(no_id)?.0);
        } else {
            push_hex(out, &span.ok_or(no_id)?.0);
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    Ok(())
}

fn show(
    dictionary: &Dictionary<LogShape>,
    columns: &Columns,
    each: &mut dyn FnMut(&LogView<'_>) -> ControlFlow<()>,
) -> Result<(), Damage> {
    let shapes = columns.shapes.iter();
    let groups = GroupViews::read(
        dictionary,
        columns.resources.iter().copied(),
        shapes.map(|shape| dictionary.shapes[*shape as usize].scope),
    )?;
    let mut attributes: Vec<Attr<'_>> = Vec::new();
    for row in 0..columns.shapes.len() {
        let shape = &dictionary.shapes[columns.shapes[row] as usize];
        let resource = groups.resource(columns.resources[row]);
        let scope = groups.scope(shape.scope);
        let flow = match &shape.columns {
            None => show_raw(columns, row, shape.lifted, resource, scope, each)?,
            Some(kept) => {
                let slots = &kept.attributes;
                let text = |number| dictionary.text(number);
                columns
                    .attributes
                    .attributes(row, slots, text, &mut attributes);
                each(&LogView {
                    resource,
                    scope,
                    at: Timestamp(columns.at[row]),
                    time: Timestamp(columns.times.get(row).copied().unwrap_or_default()),
                    observed: Timestamp(columns.observed.get(row).copied().unwrap_or_default()),
                    severity: kept.severity,
                    severity_text: text(kept.severity_text),
                    body: columns.body(row, kept.body),
                    attributes: &attributes,
                    dropped_attributes: kept.dropped_attributes,
                    flags: kept.flags,
                    trace_id: columns.trace_ids.get(row).copied().flatten(),
                    span_id: columns.span_ids.get(row).copied().flatten(),
                    event_name: text(kept.event_name),
                    lifted: shape.lifted,
                })
            }
        };
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

/// Shows a record that was kept whole.
fn show_raw(
    columns: &Columns,
    row: usize,
    lifted: Lifted,
    resource: &ResourceView<'_>,
    scope: &ScopeView<'_>,
    each: &mut dyn FnMut(&LogView<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Damage> {
    let Some(ValueRef::Bytes(record)) = columns.raw.row(row).next() else {
        return Err(Damage("a raw record is missing"));
    };
    let group = GroupView {
        resource: resource.clone(),
        scope: scope.clone(),
    };
    let (at, mut scratch) = (Timestamp(columns.at[row]), Scratch::default());
    let read = otlp::log_view(record, &group, at, &mut scratch)
        .map_err(|_| Damage("a raw record is malformed"))?;
    // It was written with its lifted fields in place, so whatever is lifted now was empty then.
    let undo = |field: u8| read.lifted.has(field);
    Ok(each(&LogView {
        at,
        time: if undo(Lifted::TIME) {
            Timestamp(0)
        } else {
            read.time
        },
        severity: if undo(Lifted::SEVERITY) {
            Severity(0)
        } else {
            read.severity
        },
        trace_id: read.trace_id.filter(|_| !undo(Lifted::TRACE)),
        span_id: read.span_id.filter(|_| !undo(Lifted::SPAN)),
        lifted,
        ..read
    }))
}
