//! Single OTLP log records and spans out of encoded messages (opentelemetry-proto 1.10 field
//! numbers). Allocation-free in the steady state: lists go into a [`Scratch`] that is reused.

use super::body;
use super::record::{
    Attr, Lifted, LogView, ResourceView, ScopeView, SpanView, parse_attr, span_id, trace_id,
};
use super::severity::Severity;
use super::time::Timestamp;
use super::value::ValueRef;
use super::wire::{Fields, WireError};

/// Lists of the record being read; cleared and refilled for each.
#[derive(Debug, Default)]
pub(crate) struct Scratch<'a> {
    pub(crate) attributes: Vec<Attr<'a>>,
    pub(crate) events: Vec<&'a [u8]>,
    pub(crate) links: Vec<&'a [u8]>,
}

impl Scratch<'_> {
    fn clear(&mut self) {
        self.attributes.clear();
        self.events.clear();
        self.links.clear();
    }
}

/// The resource and scope that a record stands under.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupView<'a> {
    pub(crate) resource: ResourceView<'a>,
    pub(crate) scope: ScopeView<'a>,
}

/// Reads one encoded `LogRecord` that arrived at `received`.
///
/// # Errors
/// The record is malformed (a field cut short, a wrong type, an id of wrong length, not UTF-8).
pub(crate) fn log_view<'s, 'a: 's>(
    record: &'a [u8],
    group: &'s GroupView<'a>,
    received: Timestamp,
    scratch: &'s mut Scratch<'a>,
) -> Result<LogView<'s>, WireError> {
    scratch.clear();
    let mut view = LogView {
        resource: &group.resource,
        scope: &group.scope,
        at: received,
        time: Timestamp(0),
        observed: Timestamp(0),
        severity: Severity(0),
        severity_text: "",
        body: ValueRef::Empty,
        attributes: &[],
        dropped_attributes: 0,
        flags: 0,
        trace_id: None,
        span_id: None,
        event_name: "",
        lifted: Lifted::default(),
    };
    let mut fields = Fields::new(record);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => view.time = Timestamp(field.fixed64()?),
            2 => view.severity = Severity(field.varint()? as i32),
            3 => view.severity_text = field.str()?,
            5 => view.body = ValueRef::parse(field.bytes()?)?,
            6 => scratch.attributes.push(parse_attr(field.bytes()?)?),
            7 => view.dropped_attributes = field.varint()? as u32,
            8 => view.flags = field.fixed32()?,
            9 => view.trace_id = trace_id(field.bytes()?)?,
            10 => view.span_id = span_id(field.bytes()?)?,
            11 => view.observed = Timestamp(field.fixed64()?),
            12 => view.event_name = field.str()?,
            _ => {}
        }
    }
    view.attributes = &scratch.attributes;
    lift(&mut view);
    let own = if view.time.0 != 0 {
        view.time
    } else {
        view.observed
    };
    view.at = Timestamp::place(own, received);
    Ok(view)
}

/// Fills empty fields from a structured body and marks them.
fn lift(view: &mut LogView<'_>) {
    let needed = view.time.0 == 0
        || view.severity.0 == 0
        || view.trace_id.is_none()
        || view.span_id.is_none();
    if !needed {
        return;
    }
    let found = body::fields(view.body);
    let mut lifted = 0;
    if let (0, Some(time)) = (view.time.0, found.time) {
        (view.time, lifted) = (time, lifted | Lifted::TIME);
    }
    if let (0, Some(severity)) = (view.severity.0, found.severity) {
        (view.severity, lifted) = (severity, lifted | Lifted::SEVERITY);
    }
    if let (None, Some(_)) = (view.trace_id, found.trace_id) {
        (view.trace_id, lifted) = (found.trace_id, lifted | Lifted::TRACE);
    }
    if let (None, Some(_)) = (view.span_id, found.span_id) {
        (view.span_id, lifted) = (found.span_id, lifted | Lifted::SPAN);
    }
    view.lifted = Lifted(lifted);
}

/// Reads one encoded `Span` that arrived at `received`.
///
/// # Errors
/// As [`log_view`]; a span without a trace id or span id is malformed too (OTLP trace.proto: both
/// are required), reported as [`WireError::BadIdLength`] with 0 bytes.
pub(crate) fn span_view<'s, 'a: 's>(
    span: &'a [u8],
    group: &'s GroupView<'a>,
    received: Timestamp,
    scratch: &'s mut Scratch<'a>,
) -> Result<SpanView<'s>, WireError> {
    scratch.clear();
    let (mut trace, mut id, mut parent) = (None, None, None);
    let (mut trace_state, mut name, mut status_message) = ("", "", "");
    let (mut flags, mut kind, mut status_code) = (0, 0, 0);
    let (mut start, mut end) = (Timestamp(0), Timestamp(0));
    let (mut dropped_attributes, mut dropped_events, mut dropped_links) = (0, 0, 0);
    let mut fields = Fields::new(span);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => trace = trace_id(field.bytes()?)?,
            2 => id = span_id(field.bytes()?)?,
            3 => trace_state = field.str()?,
            4 => parent = span_id(field.bytes()?)?,
            5 => name = field.str()?,
            6 => kind = field.varint()? as i32,
            7 => start = Timestamp(field.fixed64()?),
            8 => end = Timestamp(field.fixed64()?),
            9 => scratch.attributes.push(parse_attr(field.bytes()?)?),
            10 => dropped_attributes = field.varint()? as u32,
            11 => scratch.events.push(field.bytes()?),
            12 => dropped_events = field.varint()? as u32,
            13 => scratch.links.push(field.bytes()?),
            14 => dropped_links = field.varint()? as u32,
            15 => (status_code, status_message) = status(field.bytes()?)?,
            16 => flags = field.fixed32()?,
            _ => {}
        }
    }
    Ok(SpanView {
        resource: &group.resource,
        scope: &group.scope,
        at: Timestamp::place(start, received),
        trace_id: trace.ok_or(WireError::BadIdLength(0))?,
        span_id: id.ok_or(WireError::BadIdLength(0))?,
        parent,
        trace_state,
        flags,
        name,
        kind,
        start,
        end,
        attributes: &scratch.attributes,
        dropped_attributes,
        events: &scratch.events,
        dropped_events,
        links: &scratch.links,
        dropped_links,
        status_code,
        status_message,
    })
}

fn status(message: &[u8]) -> Result<(i32, &str), WireError> {
    let (mut code, mut text) = (0, "");
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            2 => text = field.str()?,
            3 => code = field.varint()? as i32,
            _ => {}
        }
    }
    Ok((code, text))
}

/// The parts of an encoded span as they lie in its bytes: for whoever has read it as a [`SpanView`]
/// before, and need not check texts and attributes once more.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SpanParts<'a> {
    pub(crate) span_id: u64,
    /// 0: none.
    pub(crate) parent: u64,
    pub(crate) trace_state: &'a [u8],
    pub(crate) flags: u32,
    pub(crate) name: &'a [u8],
    pub(crate) kind: i32,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) dropped: [u32; 3],
    pub(crate) status_code: i32,
    pub(crate) status_message: &'a [u8],
}

/// Lists of the span whose parts were read last; all of encoded messages.
#[derive(Debug, Default)]
pub(crate) struct PartLists<'a> {
    /// `KeyValue`s.
    pub(crate) attributes: Vec<&'a [u8]>,
    pub(crate) events: Vec<&'a [u8]>,
    pub(crate) links: Vec<&'a [u8]>,
}

/// Takes a span apart without looking into texts, attributes, events and links.
///
/// # Errors
/// The span's own fields are malformed.
pub(crate) fn span_parts<'a>(
    span: &'a [u8],
    lists: &mut PartLists<'a>,
) -> Result<SpanParts<'a>, WireError> {
    lists.attributes.clear();
    lists.events.clear();
    lists.links.clear();
    let id = |id: &[u8]| Ok(span_id(id)?.map_or(0, |id| u64::from_be_bytes(id.0)));
    let mut parts = SpanParts::default();
    let mut fields = Fields::new(span);
    while let Some((number, field)) = fields.next()? {
        match number {
            2 => parts.span_id = id(field.bytes()?)?,
            3 => parts.trace_state = field.bytes()?,
            4 => parts.parent = id(field.bytes()?)?,
            5 => parts.name = field.bytes()?,
            6 => parts.kind = field.varint()? as i32,
            7 => parts.start = field.fixed64()?,
            8 => parts.end = field.fixed64()?,
            9 => lists.attributes.push(field.bytes()?),
            10 => parts.dropped[0] = field.varint()? as u32,
            11 => lists.events.push(field.bytes()?),
            12 => parts.dropped[1] = field.varint()? as u32,
            13 => lists.links.push(field.bytes()?),
            14 => parts.dropped[2] = field.varint()? as u32,
            15 => {
                let (code, message) = status(field.bytes()?)?;
                (parts.status_code, parts.status_message) = (code, message.as_bytes());
            }
            16 => parts.flags = field.fixed32()?,
            _ => {}
        }
    }
    Ok(parts)
}
