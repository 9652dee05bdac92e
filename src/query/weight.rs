//! What an owned record, span or summary takes in memory, in bytes, as estimated from its borrowed
//! view: what a query's memory budget is charged. Must be cheap; need not be exact.

use crate::model::{Attr, LogRecord, LogView, Span, SpanView, ValueRef};

/// A record is there twice while its answer is written: as a value and as text.
const COPIES: usize = 2;

/// Allocations of one key and value beside their text.
const ATTRIBUTE_BYTES: usize = 64;

/// A byte of an encoded list or map becomes at most so many: an empty value takes two bytes on the
/// wire and 32 in memory.
const NESTED_FACTOR: usize = 16;

/// One owned log record and its part of the answer.
pub(super) fn log(log: &LogView<'_>) -> usize {
    let own = size_of::<LogRecord>() + value(&log.body) + attributes(log.attributes);
    COPIES * (own + log.severity_text.len() + log.event_name.len())
}

/// One owned span and its part of the answer.
pub(super) fn span(span: &SpanView<'_>) -> usize {
    let texts = span.name.len() + span.trace_state.len() + span.status_message.len();
    let lists = span.events.iter().chain(span.links);
    let lists: usize = lists
        .map(|message| ATTRIBUTE_BYTES + 4 * message.len())
        .sum();
    COPIES * (size_of::<Span>() + texts + attributes(span.attributes) + lists)
}

fn attributes(attributes: &[Attr<'_>]) -> usize {
    let each = |attr: &Attr<'_>| ATTRIBUTE_BYTES + attr.key.len() + value(&attr.value);
    attributes.iter().map(each).sum()
}

fn value(value: &ValueRef<'_>) -> usize {
    match value {
        ValueRef::Empty | ValueRef::Bool(_) | ValueRef::Int(_) | ValueRef::Double(_) => 0,
        ValueRef::Str(text) => text.len(),
        ValueRef::Bytes(bytes) => bytes.len(),
        ValueRef::Array(list) => NESTED_FACTOR * list.0.len(),
        ValueRef::Map(map) => NESTED_FACTOR * map.0.len(),
    }
}
