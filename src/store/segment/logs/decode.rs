//! Reading log blocks back into views.

use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::model::otlp::{self, GroupView, Scratch};
use crate::model::record::Lifted;
use crate::model::{
    Attr, LogView, ResourceView, ScopeView, Severity, SpanId, Timestamp, TraceId, ValueRef,
};
use crate::store::filter::{LogFilter, Verdict};
use crate::store::{LogColumns, StoreError, Template};

use super::super::column::{Decoder, ints, push_hex};
use super::super::cursor::Damage;
use super::super::dictionary::{Dictionary, GroupViews, check_numbers};
use super::super::times;
use super::super::values::{Groups, Kind, Layout, Slot, Values};
use super::encode::{OWN_SPAN, OWN_SPAN_VARIABLE, OWN_TRACE, OWN_TRACE_VARIABLE};
use super::needle::Sieve;
use super::shape::{LogColumnsShape, LogShape};
use super::verdict::Verdicts;
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
    attributes: Values,
    raw: Values,
}

pub(super) fn for_each(
    block: &LogBlock,
    wanted: LogColumns,
    each: &mut dyn FnMut(&LogView<'_>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let dictionary = block.dictionary()?;
    let columns = read(block, dictionary, wanted)?;
    let corrupt = block.segment.frame().corrupt(block.entry().offset);
    show(dictionary, &columns, &|_| true, &mut |_, log| each(log)).map_err(corrupt)
}

/// Calls `each` with the rows numbered in `rows`, which rise, until it breaks.
pub(super) fn rows(
    block: &LogBlock,
    rows: &[u32],
    each: &mut dyn FnMut(&LogView<'_>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let dictionary = block.dictionary()?;
    let columns = read(block, dictionary, LogColumns::ALL)?;
    let corrupt = block.segment.frame().corrupt(block.entry().offset);
    let wanted = |row: usize| rows.binary_search(&(row as u32)).is_ok();
    show(dictionary, &columns, &wanted, &mut |_, log| each(log)).map_err(corrupt)
}

/// Calls `each` with the numbers and views of the rows that pass, until it breaks. Reads as little as
/// decides: nothing where no shape can match, and what the filter itself looks at only where it has to
/// be asked row by row. Says whether anything was read.
pub(super) fn matching(
    block: &LogBlock,
    filter: &LogFilter<'_>,
    shown: LogColumns,
    each: &mut dyn FnMut(u32, &LogView<'_>) -> ControlFlow<()>,
) -> Result<bool, StoreError> {
    matching_kinds(block, filter, shown, &mut |row, _, log| each(row, log))
}

/// The shape and the place in time of each row: the smallest column family of a block.
pub(super) fn places(
    block: &LogBlock,
    dictionary: &Dictionary<LogShape>,
) -> Result<(Vec<u32>, Vec<u64>), StoreError> {
    let corrupt = block.segment.frame().corrupt(block.entry().offset);
    let rows = block
        .segment
        .family(&block.loaded, block.number, family::ROWS)?;
    let mut columns = Columns::default();
    columns
        .read_rows(&mut rows.reader(), block.rows(), dictionary)
        .map_err(corrupt)?;
    Ok((columns.shapes, columns.at))
}

/// As [`matching`], with the shape of each row.
pub(super) fn matching_kinds(
    block: &LogBlock,
    filter: &LogFilter<'_>,
    shown: LogColumns,
    each: &mut dyn FnMut(u32, u32, &LogView<'_>) -> ControlFlow<()>,
) -> Result<bool, StoreError> {
    let dictionary = block.dictionary()?;
    let verdicts = Verdicts::of(block, dictionary, filter);
    let nothing_to_ask = filter.only_asked && !verdicts.any(Verdict::Ask);
    if verdicts.are_all(Verdict::No) || nothing_to_ask {
        return Ok(false);
    }
    let corrupt = block.segment.frame().corrupt(block.entry().offset);
    let asks = verdicts.any(Verdict::Ask);
    let wanted = if asks {
        shown.with(filter.columns)
    } else {
        shown
    };
    let mut columns = read_but_ids(block, dictionary, wanted)?;
    let sieve = filter
        .sieve
        .filter(|_| asks && wanted.has(LogColumns::BODY));
    let mut sieve = sieve.and_then(Sieve::new);
    if sieve.as_ref().is_some_and(Sieve::asks_for_ids) {
        columns.read_ids(block, wanted)?;
        sieve = sieve.map(|sieve| sieve.with_ids(columns.ids()));
    }
    let passing = columns.passing(&verdicts, filter, dictionary, sieve.as_ref());
    if !passing.contains(&true) {
        return Ok(true);
    }
    columns.read_ids(block, wanted)?;
    let passes = |row: usize| passing[row] && (filter.open)(Timestamp(columns.at[row]));
    show(dictionary, &columns, &passes, &mut |row, log| {
        let shape = columns.shapes[row as usize];
        if verdicts.get(shape) == Verdict::Ask && !(filter.matches)(log) {
            return ControlFlow::Continue(());
        }
        each(row, shape, log)
    })
    .map_err(corrupt)?;
    Ok(true)
}

fn read(
    block: &LogBlock,
    dictionary: &Dictionary<LogShape>,
    wanted: LogColumns,
) -> Result<Columns, StoreError> {
    let mut columns = read_but_ids(block, dictionary, wanted)?;
    columns.read_ids(block, wanted)?;
    Ok(columns)
}

/// All columns wanted but those of ids.
fn read_but_ids(
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
    let groups = Groups::of(&columns.shapes, dictionary.shapes.len());
    let values = |tag, slots: for<'s> fn(&'s LogShape) -> &'s [Slot]| {
        let layout = Layout::of(&groups, |shape| slots(&dictionary.shapes[shape as usize]));
        Values::read(layout, &mut unpack(tag)?.reader()).map_err(&corrupt)
    };
    if body {
        let layout = Layout::by_rows(&groups, |shape, n_rows| {
            dictionary.shapes[shape as usize].body_slots(n_rows)
        });
        check_templates(dictionary, groups.shapes()).map_err(&corrupt)?;
        let unpacked = unpack(family::BODY)?;
        columns.bodies = Values::read(layout, &mut unpacked.reader()).map_err(&corrupt)?;
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

    /// Reads the ids where they are wanted, or bodies, which may refer to them.
    fn read_ids(&mut self, block: &LogBlock, wanted: LogColumns) -> Result<(), StoreError> {
        let is_wanted = wanted.has(LogColumns::IDS) || wanted.has(LogColumns::BODY);
        if !is_wanted || !self.trace_ids.is_empty() {
            return Ok(());
        }
        let corrupt = block.segment.frame().corrupt(block.entry().offset);
        let trace_ids = block.segment.trace_ids(&block.loaded, block.entry().part)?;
        let ids = block
            .segment
            .family(&block.loaded, block.number, family::IDS)?;
        self.decode_ids(&mut ids.reader(), block.rows(), &trace_ids)
            .map_err(corrupt)
    }

    /// The ids of all rows in hexadecimal, repetitions in a row left out.
    fn ids(&self) -> impl Iterator<Item = String> {
        let hex = |id: &[u8]| {
            let mut text = Vec::with_capacity(2 * id.len());
            push_hex(&mut text, id);
            String::from_utf8(text).expect("digits are ASCII")
        };
        let traces = self.trace_ids.iter().flatten();
        let mut last = None;
        let traces = traces.filter(move |id| last.replace(**id) != Some(**id));
        let traces = traces.map(move |id| hex(&id.0));
        traces.chain(self.span_ids.iter().flatten().map(move |id| hex(&id.0)))
    }

    fn decode_ids(
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

    /// Which rows may pass a filter: those whose verdict is not no, and which its sieve lets through.
    fn passing(
        &self,
        verdicts: &Verdicts,
        filter: &LogFilter<'_>,
        dictionary: &Dictionary<LogShape>,
        sieve: Option<&Sieve<'_>>,
    ) -> Vec<bool> {
        let rows = self.shapes.iter().zip(&self.at);
        let verdicts: Vec<Verdict> = rows
            .map(|(shape, at)| match verdicts.get(*shape) {
                Verdict::Yes if filter.only_asked => Verdict::No,
                Verdict::Yes | Verdict::Ask if !(filter.open)(Timestamp(*at)) => Verdict::No,
                verdict => verdict,
            })
            .collect();
        let asked = |row: usize| verdicts[row] == Verdict::Ask;
        match sieve {
            Some(sieve) if verdicts.contains(&Verdict::Ask) => {
                let mut passing = self.sift(sieve, dictionary, &asked);
                let of_rows = passing.iter_mut().zip(&verdicts);
                of_rows.for_each(|(passes, verdict)| *passes |= *verdict == Verdict::Yes);
                passing
            }
            _ => verdicts.iter().map(|v| *v != Verdict::No).collect(),
        }
    }

    /// Which of the rows that are `asked` for may have what the sieve looks for.
    fn sift(
        &self,
        sieve: &Sieve<'_>,
        dictionary: &Dictionary<LogShape>,
        asked: &dyn Fn(usize) -> bool,
    ) -> Vec<bool> {
        // Of each shape: whether its rows have to be looked at one by one.
        let mut by_variables: HashMap<u32, bool> = HashMap::new();
        let mut told_by_variables = |shape: u32| {
            *by_variables.entry(shape).or_insert_with(|| {
                let shape = &dictionary.shapes[shape as usize];
                let template = shape.columns.as_ref().and_then(|columns| columns.template);
                template.is_some_and(|text| !sieve.is_in_template(dictionary.text(text)))
            })
        };
        let mut may_have: Vec<bool> = (0..self.shapes.len()).map(asked).collect();
        let told: Vec<bool> = self
            .shapes
            .iter()
            .zip(&may_have)
            .map(|(shape, asked)| *asked && told_by_variables(*shape))
            .collect();
        let with = self.bodies.rows_with(&|row| told[row], &mut |value| {
            sieve.may_be_in_variable(value)
        });
        for (row, may_have) in may_have.iter_mut().enumerate() {
            *may_have = match (told[row], self.plain(row, dictionary)) {
                (true, _) => with[row],
                (false, Some(marked)) if *may_have => sieve.may_be_in_plain(marked),
                (false, _) => *may_have,
            };
        }
        may_have
    }

    /// The plain text of a row, where it has one, with marks for ids.
    fn plain(&self, row: usize, dictionary: &Dictionary<LogShape>) -> Option<&[u8]> {
        let columns = dictionary.shapes[self.shapes[row] as usize]
            .columns
            .as_ref()?;
        let is_plain = columns.template.is_none() && columns.body == Kind::Str;
        match self.bodies.row(row).next().filter(|_| is_plain)? {
            ValueRef::Bytes(marked) => Some(marked),
            _ => None,
        }
    }

    /// The body of a row; a text is put together in `text`.
    fn body<'c>(
        &'c self,
        row: usize,
        shape: &LogColumnsShape,
        dictionary: &Dictionary<LogShape>,
        text: &'c mut Vec<u8>,
    ) -> Result<ValueRef<'c>, Damage> {
        let mut values = self.bodies.row(row);
        let trace = self.trace_ids.get(row).copied().flatten();
        let span = self.span_ids.get(row).copied().flatten();
        match (shape.template, values.next()) {
            (_, None) if shape.template.is_none() || !self.bodies.is_read() => {
                return Ok(ValueRef::Empty);
            }
            (Some(template), first) => {
                text.clear();
                let values = first.into_iter().chain(values);
                let template = Template::new(dictionary.text(template));
                put_text(text, template, values, trace, span)?;
            }
            (None, Some(ValueRef::Bytes(marked))) if shape.body == Kind::Str => {
                text.clear();
                put_unmarked(text, marked, trace, span)?;
            }
            (None, value) => return Ok(value.unwrap_or(ValueRef::Empty)),
        }
        let not_text = Damage("a body is not UTF-8");
        let text = std::str::from_utf8(text).map_err(|_| not_text)?;
        Ok(ValueRef::Str(text))
    }
}

/// A reader of one row relies on it: every template of the block has as many variables as its shape.
fn check_templates(dictionary: &Dictionary<LogShape>, shapes: &[u32]) -> Result<(), Damage> {
    for shape in shapes {
        let columns = dictionary.shapes[*shape as usize].columns.as_ref();
        let fits = columns.is_none_or(|columns| {
            columns.template.is_none_or(|template| {
                Template::new(dictionary.text(template)).n_variables() == columns.n_variables()
            })
        });
        if !fits {
            return Err(Damage("a shape and its template differ in their variables"));
        }
    }
    Ok(())
}

/// Appends the text of a template with its variables in their places.
fn put_text<'v>(
    out: &mut Vec<u8>,
    template: Template<'_>,
    mut values: impl Iterator<Item = ValueRef<'v>>,
    trace: Option<TraceId>,
    span: Option<SpanId>,
) -> Result<(), Damage> {
    for (place, literal) in template.literals().enumerate() {
        if place > 0 {
            match values.next() {
                Some(ValueRef::Str(OWN_TRACE_VARIABLE)) => push_hex(out, &trace.ok_or(NO_ID)?.0),
                Some(ValueRef::Str(OWN_SPAN_VARIABLE)) => push_hex(out, &span.ok_or(NO_ID)?.0),
                Some(ValueRef::Str(value)) => out.extend_from_slice(value.as_bytes()),
                _ => return Err(Damage("a template lacks a variable")),
            }
        }
        out.extend_from_slice(literal.as_bytes());
    }
    Ok(())
}

const NO_ID: Damage = Damage("a body refers to an id that its record does not have");

/// Appends a body's text with the hexadecimal of own ids in place of their marks.
fn put_unmarked(
    out: &mut Vec<u8>,
    marked: &[u8],
    trace: Option<TraceId>,
    span: Option<SpanId>,
) -> Result<(), Damage> {
    let mut rest = marked;
    while let Some(at) = memchr::memchr2(OWN_TRACE, OWN_SPAN, rest) {
        out.extend_from_slice(&rest[..at]);
        if rest[at] == OWN_TRACE {
            push_hex(out, &trace.ok_or(NO_ID)?.0);
        } else {
            push_hex(out, &span.ok_or(NO_ID)?.0);
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    Ok(())
}

fn show(
    dictionary: &Dictionary<LogShape>,
    columns: &Columns,
    wanted: &dyn Fn(usize) -> bool,
    each: &mut dyn FnMut(u32, &LogView<'_>) -> ControlFlow<()>,
) -> Result<(), Damage> {
    let shapes = columns.shapes.iter();
    let groups = GroupViews::read(
        dictionary,
        columns.resources.iter().copied(),
        shapes.map(|shape| dictionary.shapes[*shape as usize].scope),
    )?;
    let (mut attributes, mut body): (Vec<Attr<'_>>, _) = (Vec::new(), Vec::new());
    for row in (0..columns.shapes.len()).filter(|row| wanted(*row)) {
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
                let view = LogView {
                    resource,
                    scope,
                    at: Timestamp(columns.at[row]),
                    time: Timestamp(columns.times.get(row).copied().unwrap_or_default()),
                    observed: Timestamp(columns.observed.get(row).copied().unwrap_or_default()),
                    severity: kept.severity,
                    severity_text: text(kept.severity_text),
                    body: columns.body(row, kept, dictionary, &mut body)?,
                    attributes: &attributes,
                    dropped_attributes: kept.dropped_attributes,
                    flags: kept.flags,
                    trace_id: columns.trace_ids.get(row).copied().flatten(),
                    span_id: columns.span_ids.get(row).copied().flatten(),
                    event_name: text(kept.event_name),
                    lifted: shape.lifted,
                };
                each(row as u32, &view)
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
    each: &mut dyn FnMut(u32, &LogView<'_>) -> ControlFlow<()>,
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
    let view = LogView {
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
    };
    Ok(each(row as u32, &view))
}
