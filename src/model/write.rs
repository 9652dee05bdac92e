//! Writing OTLP protobuf: what transcoders (JSON, Loki) and admission's rewriting produce, and what
//! answers are built from. The inverse of [`super::otlp`].

use super::record::Lifted;
use super::record::{Attr, LogView, ResourceView, ScopeView, SpanView};
use super::value::{ArrayRef, MapRef, ValueRef};

/// Appends a base-128 varint.
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn tag(out: &mut Vec<u8>, number: u32, wire_type: u32) {
    varint(out, u64::from(number << 3 | wire_type));
}

/// A varint field; zero is proto3's default and is not written.
pub(crate) fn varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        tag(out, number, 0);
        varint(out, value);
    }
}

/// A fixed64 field; zero is not written.
pub(crate) fn fixed64_field(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        tag(out, number, 1);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A fixed32 field; zero is not written.
pub(crate) fn fixed32_field(out: &mut Vec<u8>, number: u32, value: u32) {
    if value != 0 {
        tag(out, number, 5);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A bytes or string field; empty is not written.
pub(crate) fn bytes_field(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    if !value.is_empty() {
        message_bytes(out, number, value);
    }
}

/// A field with a length, written even when empty (messages, members of a oneof).
pub(crate) fn message_bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    tag(out, number, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A nested message that `fill` writes.
pub(crate) fn message(out: &mut Vec<u8>, number: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    tag(out, number, 2);
    // One byte is enough for the length of most OTLP messages; longer ones move the tail once.
    let length_at = out.len();
    out.push(0);
    fill(out);
    let len = out.len() - length_at - 1;
    if len < 0x80 {
        out[length_at] = len as u8;
        return;
    }
    let mut length = Vec::with_capacity(5);
    varint(&mut length, len as u64);
    out.splice(length_at..=length_at, length);
}

/// [`message`] for content that can fail; what was written until then stays, well-formed.
pub(crate) fn try_message<E>(
    out: &mut Vec<u8>,
    number: u32,
    fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let mut done = Ok(());
    message(out, number, |out| done = fill(out));
    done
}

/// The content of an `AnyValue`; nothing for [`ValueRef::Empty`].
pub(crate) fn any_value(out: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Empty => {}
        ValueRef::Str(text) => message_bytes(out, 1, text.as_bytes()),
        ValueRef::Bool(b) => {
            tag(out, 2, 0);
            varint(out, u64::from(b));
        }
        ValueRef::Int(i) => {
            tag(out, 3, 0);
            varint(out, i as u64);
        }
        ValueRef::Double(d) => {
            tag(out, 4, 1);
            out.extend_from_slice(&d.to_bits().to_le_bytes());
        }
        ValueRef::Array(ArrayRef(raw)) => message_bytes(out, 5, raw),
        ValueRef::Map(MapRef(raw)) => message_bytes(out, 6, raw),
        ValueRef::Bytes(raw) => message_bytes(out, 7, raw),
    }
}

/// A `KeyValue` as field `number`.
pub(crate) fn key_value(out: &mut Vec<u8>, number: u32, key: &str, value: ValueRef<'_>) {
    message(out, number, |out| {
        bytes_field(out, 1, key.as_bytes());
        message(out, 2, |out| any_value(out, value));
    });
}

fn attributes(out: &mut Vec<u8>, number: u32, attributes: &[Attr<'_>]) {
    for attr in attributes {
        key_value(out, number, attr.key, attr.value);
    }
}

/// The content of a `LogRecord` as it was sent: lifted fields are left empty again.
pub(crate) fn log_record(out: &mut Vec<u8>, log: &LogView<'_>) {
    let sent = |field: u8| !log.lifted.has(field);
    fixed64_field(out, 1, if sent(Lifted::TIME) { log.time.0 } else { 0 });
    let severity = if sent(Lifted::SEVERITY) {
        log.severity.0
    } else {
        0
    };
    varint_field(out, 2, i64::from(severity) as u64);
    bytes_field(out, 3, log.severity_text.as_bytes());
    if log.body != ValueRef::Empty {
        message(out, 5, |out| any_value(out, log.body));
    }
    attributes(out, 6, log.attributes);
    varint_field(out, 7, u64::from(log.dropped_attributes));
    fixed32_field(out, 8, log.flags);
    if let (true, Some(id)) = (sent(Lifted::TRACE), log.trace_id) {
        bytes_field(out, 9, &id.0);
    }
    if let (true, Some(id)) = (sent(Lifted::SPAN), log.span_id) {
        bytes_field(out, 10, &id.0);
    }
    fixed64_field(out, 11, log.observed.0);
    bytes_field(out, 12, log.event_name.as_bytes());
}

/// The content of a `Span`.
pub(crate) fn span(out: &mut Vec<u8>, span: &SpanView<'_>) {
    bytes_field(out, 1, &span.trace_id.0);
    bytes_field(out, 2, &span.span_id.0);
    bytes_field(out, 3, span.trace_state.as_bytes());
    if let Some(parent) = span.parent {
        bytes_field(out, 4, &parent.0);
    }
    bytes_field(out, 5, span.name.as_bytes());
    varint_field(out, 6, i64::from(span.kind) as u64);
    fixed64_field(out, 7, span.start.0);
    fixed64_field(out, 8, span.end.0);
    attributes(out, 9, span.attributes);
    varint_field(out, 10, u64::from(span.dropped_attributes));
    span.events
        .iter()
        .for_each(|event| message_bytes(out, 11, event));
    varint_field(out, 12, u64::from(span.dropped_events));
    span.links
        .iter()
        .for_each(|link| message_bytes(out, 13, link));
    varint_field(out, 14, u64::from(span.dropped_links));
    if span.status_code != 0 || !span.status_message.is_empty() {
        message(out, 15, |out| {
            bytes_field(out, 2, span.status_message.as_bytes());
            varint_field(out, 3, i64::from(span.status_code) as u64);
        });
    }
    fixed32_field(out, 16, span.flags);
}

/// Builds an export request record by record; consecutive records of one resource and scope share
/// their groups.
#[derive(Debug, Default)]
pub(crate) struct RequestWriter {
    out: Vec<u8>,
    /// Records of the open scope, not yet in `out`.
    records: Vec<u8>,
    open: Option<OpenGroup>,
}

#[derive(Debug, PartialEq, Eq)]
struct OpenGroup {
    resource: Vec<u8>,
    resource_schema: String,
    scope: Vec<u8>,
    scope_schema: String,
}

impl OpenGroup {
    fn is(&self, resource: &ResourceView<'_>, scope: &ScopeView<'_>) -> bool {
        self.resource == resource.raw
            && self.resource_schema == resource.schema_url
            && self.scope == scope.raw
            && self.scope_schema == scope.schema_url
    }
}

impl RequestWriter {
    pub(crate) fn log(&mut self, log: &LogView<'_>) {
        self.group(log.resource, log.scope);
        message(&mut self.records, 2, |out| log_record(out, log));
    }

    pub(crate) fn span(&mut self, view: &SpanView<'_>) {
        self.group(view.resource, view.scope);
        message(&mut self.records, 2, |out| span(out, view));
    }

    /// Opens the group of the next record, closing the one before when it is another.
    fn group(&mut self, resource: &ResourceView<'_>, scope: &ScopeView<'_>) {
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.is(resource, scope))
        {
            return;
        }
        self.close();
        self.open = Some(OpenGroup {
            resource: resource.raw.to_vec(),
            resource_schema: resource.schema_url.to_owned(),
            scope: scope.raw.to_vec(),
            scope_schema: scope.schema_url.to_owned(),
        });
    }

    fn close(&mut self) {
        let Some(group) = self.open.take() else {
            return;
        };
        let records = std::mem::take(&mut self.records);
        message(&mut self.out, 1, |out| {
            message_bytes(out, 1, &group.resource);
            message(out, 2, |out| {
                message_bytes(out, 1, &group.scope);
                out.extend_from_slice(&records);
                bytes_field(out, 3, group.scope_schema.as_bytes());
            });
            bytes_field(out, 3, group.resource_schema.as_bytes());
        });
    }

    /// The encoded request.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.close();
        self.out
    }
}
