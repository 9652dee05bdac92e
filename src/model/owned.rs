//! Records and spans that outlive the bytes they came from: what queries return.

use std::sync::Arc;

use super::id::{SpanId, TraceId};
use super::record::{Attr, LogView, ResourceView, ScopeView, SpanView};
use super::severity::Severity;
use super::time::Timestamp;
use super::value::ValueRef;

/// An owned AnyValue.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Empty,
    Str(String),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(Vec<u8>),
    Array(Vec<Value>),
    Map(Attributes),
}

/// Owned attributes in their order, duplicates kept.
pub(crate) type Attributes = Vec<(String, Value)>;

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Value {
        match value {
            ValueRef::Empty => Value::Empty,
            ValueRef::Str(text) => Value::Str(text.to_owned()),
            ValueRef::Bool(b) => Value::Bool(b),
            ValueRef::Int(i) => Value::Int(i),
            ValueRef::Double(d) => Value::Double(d),
            ValueRef::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            ValueRef::Array(array) => Value::Array(array.iter().map(Value::from).collect()),
            ValueRef::Map(map) => {
                Value::Map(map.iter().map(|(k, v)| (k.to_owned(), v.into())).collect())
            }
        }
    }
}

/// Owned copies of borrowed attributes.
pub(crate) fn attributes(attributes: &[Attr<'_>]) -> Attributes {
    attributes
        .iter()
        .map(|attr| (attr.key.to_owned(), attr.value.into()))
        .collect()
}

/// An owned resource; shared by the records of one answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resource {
    pub(crate) service: String,
    pub(crate) schema_url: String,
    pub(crate) attributes: Attributes,
}

impl From<&ResourceView<'_>> for Resource {
    fn from(view: &ResourceView<'_>) -> Resource {
        Resource {
            service: view.service().to_owned(),
            schema_url: view.schema_url.to_owned(),
            attributes: attributes(&view.attributes),
        }
    }
}

/// An owned instrumentation scope.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scope {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) schema_url: String,
    pub(crate) attributes: Attributes,
}

impl From<&ScopeView<'_>> for Scope {
    fn from(view: &ScopeView<'_>) -> Scope {
        Scope {
            name: view.name.to_owned(),
            version: view.version.to_owned(),
            schema_url: view.schema_url.to_owned(),
            attributes: attributes(&view.attributes),
        }
    }
}

/// An owned log record, for lists and pages. `hash` and `at` together are its id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LogRecord {
    pub(crate) id: RecordId,
    pub(crate) time: Timestamp,
    pub(crate) observed: Timestamp,
    pub(crate) severity: Severity,
    pub(crate) severity_text: String,
    pub(crate) body: Value,
    pub(crate) attributes: Attributes,
    pub(crate) dropped_attributes: u32,
    pub(crate) flags: u32,
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) event_name: String,
    pub(crate) resource: Arc<Resource>,
    pub(crate) scope: Arc<Scope>,
}

/// Identifies a log record without storing anything for it: its place in lists and a hash of its
/// content (xxh3 of the encoded record, resource and scope). Printed as `{at}-{hash:016x}`.
/// Byte-identical records of one nanosecond share an id; there is no way to tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RecordId {
    pub(crate) at: Timestamp,
    pub(crate) hash: u64,
}

impl RecordId {
    pub(crate) fn of(log: &LogView<'_>) -> RecordId {
        let mut bytes = Vec::with_capacity(256);
        super::write::log_record(&mut bytes, log);
        for part in [
            log.resource.raw,
            log.resource.schema_url.as_bytes(),
            log.scope.raw,
            log.scope.schema_url.as_bytes(),
        ] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        RecordId {
            at: log.at,
            hash: xxhash_rust::xxh3::xxh3_64(&bytes),
        }
    }

    /// Reads what [`RecordId`]'s `Display` prints.
    pub(crate) fn parse(text: &str) -> Option<RecordId> {
        let (at, hash) = text.split_once('-')?;
        if hash.len() != 16 {
            return None;
        }
        Some(RecordId {
            at: Timestamp(at.parse().ok()?),
            hash: u64::from_str_radix(hash, 16).ok()?,
        })
    }
}

impl std::fmt::Display for RecordId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{:016x}", self.at, self.hash)
    }
}

impl From<&LogView<'_>> for LogRecord {
    fn from(log: &LogView<'_>) -> LogRecord {
        LogRecord {
            id: RecordId::of(log),
            time: log.time,
            observed: log.observed,
            severity: log.severity,
            severity_text: log.severity_text.to_owned(),
            body: log.body.into(),
            attributes: attributes(log.attributes),
            dropped_attributes: log.dropped_attributes,
            flags: log.flags,
            trace_id: log.trace_id,
            span_id: log.span_id,
            event_name: log.event_name.to_owned(),
            resource: Arc::new(log.resource.into()),
            scope: Arc::new(log.scope.into()),
        }
    }
}

/// An event of an owned span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) time: Timestamp,
    pub(crate) name: String,
    pub(crate) attributes: Attributes,
}

/// A link of an owned span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) attributes: Attributes,
}

/// An owned span, for the waterfall and its drawer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) parent: Option<SpanId>,
    pub(crate) trace_state: String,
    pub(crate) flags: u32,
    pub(crate) name: String,
    pub(crate) kind: i32,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) attributes: Attributes,
    pub(crate) events: Vec<Event>,
    pub(crate) links: Vec<Link>,
    pub(crate) status_code: i32,
    pub(crate) status_message: String,
    pub(crate) resource: Arc<Resource>,
    pub(crate) scope: Arc<Scope>,
}

impl Span {
    /// End minus start in nanoseconds; 0 when the end lies before the start.
    pub(crate) fn duration_ns(&self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    pub(crate) fn is_error(&self) -> bool {
        self.status_code == super::record::STATUS_ERROR
    }

    /// Makes an owned span; events and links that do not parse are left out (admission has
    /// checked what is stored).
    pub(crate) fn from_view(
        span: &SpanView<'_>,
        resource: Arc<Resource>,
        scope: Arc<Scope>,
    ) -> Span {
        use super::record::{EventView, LinkView};
        let events = span
            .events
            .iter()
            .filter_map(|raw| EventView::parse(raw).ok());
        let links = span
            .links
            .iter()
            .filter_map(|raw| LinkView::parse(raw).ok());
        Span {
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent: span.parent,
            trace_state: span.trace_state.to_owned(),
            flags: span.flags,
            name: span.name.to_owned(),
            kind: span.kind,
            start: span.start,
            end: span.end,
            attributes: attributes(span.attributes),
            events: events
                .map(|e| Event {
                    time: e.time,
                    name: e.name.to_owned(),
                    attributes: attributes(&e.attributes),
                })
                .collect(),
            links: links
                .map(|l| Link {
                    trace_id: l.trace_id,
                    span_id: l.span_id,
                    attributes: attributes(&l.attributes),
                })
                .collect(),
            status_code: span.status_code,
            status_message: span.status_message.to_owned(),
            resource,
            scope,
        }
    }
}
