//! Log records and spans as borrowed views: what filters look at, what segments encode, and what
//! owned records are made from. Heads give them from request bytes, segments from columns.

use super::id::{SpanId, TraceId};
use super::severity::Severity;
use super::time::Timestamp;
use super::value::{ValueRef, parse_key_value};
use super::wire::{Fields, WireError};

/// One attribute. Order and duplicates are kept as they came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Attr<'a> {
    pub(crate) key: &'a str,
    pub(crate) value: ValueRef<'a>,
}

/// The first attribute under `key`, as OTLP's "keys are unique" reads.
pub(crate) fn find<'a>(attributes: &[Attr<'a>], key: &str) -> Option<ValueRef<'a>> {
    attributes
        .iter()
        .find(|attr| attr.key == key)
        .map(|attr| attr.value)
}

/// A resource with the schema URL of its `ResourceLogs` / `ResourceSpans`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResourceView<'a> {
    /// The encoded `Resource` message, kept verbatim on disk; with `schema_url` it is the identity.
    pub(crate) raw: &'a [u8],
    pub(crate) schema_url: &'a str,
    pub(crate) attributes: Vec<Attr<'a>>,
}

/// An instrumentation scope with the schema URL of its `ScopeLogs` / `ScopeSpans`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScopeView<'a> {
    /// The encoded `InstrumentationScope` message, kept verbatim on disk.
    pub(crate) raw: &'a [u8],
    pub(crate) schema_url: &'a str,
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) attributes: Vec<Attr<'a>>,
}

/// What a resource without `service.name` is listed under (OpenTelemetry semantic conventions).
pub(crate) const SERVICE_UNKNOWN: &str = "unknown_service";

impl<'a> ResourceView<'a> {
    pub(crate) fn parse(raw: &'a [u8], schema_url: &'a str) -> Result<ResourceView<'a>, WireError> {
        let mut attributes = Vec::new();
        let mut fields = Fields::new(raw);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => attributes.push(parse_attr(field.bytes()?)?),
                2 => _ = field.varint()?,
                _ => {}
            }
        }
        Ok(ResourceView {
            raw,
            schema_url,
            attributes,
        })
    }

    /// `service.name`, or [`SERVICE_UNKNOWN`].
    pub(crate) fn service(&self) -> &'a str {
        find(&self.attributes, "service.name")
            .and_then(ValueRef::as_str)
            .filter(|name| !name.is_empty())
            .unwrap_or(SERVICE_UNKNOWN)
    }

    /// `service.instance.id`, else `host.name`; empty when neither is told.
    pub(crate) fn instance(&self) -> &'a str {
        self.first_of(["service.instance.id", "host.name"])
    }

    /// `deployment.environment.name`, else its name before semantic conventions 1.27,
    /// `deployment.environment`; empty when neither is told.
    pub(crate) fn environment(&self) -> &'a str {
        self.first_of(ENVIRONMENT_KEYS)
    }

    fn first_of(&self, keys: [&str; 2]) -> &'a str {
        let text = |key| find(&self.attributes, key).and_then(ValueRef::as_str);
        let filled = |text: &&str| !text.is_empty();
        keys.into_iter()
            .filter_map(text)
            .find(filled)
            .unwrap_or_default()
    }
}

/// Resource attributes that name the environment, newest convention first.
pub(crate) const ENVIRONMENT_KEYS: [&str; 2] =
    ["deployment.environment.name", "deployment.environment"];

impl<'a> ScopeView<'a> {
    pub(crate) fn parse(raw: &'a [u8], schema_url: &'a str) -> Result<ScopeView<'a>, WireError> {
        let mut scope = ScopeView {
            raw,
            schema_url,
            ..ScopeView::default()
        };
        let mut fields = Fields::new(raw);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => scope.name = field.str()?,
                2 => scope.version = field.str()?,
                3 => scope.attributes.push(parse_attr(field.bytes()?)?),
                4 => _ = field.varint()?,
                _ => {}
            }
        }
        Ok(scope)
    }
}

/// Which fields of a [`LogView`] were empty on the wire and are filled from a JSON body.
/// `GET ...?format=otlp` gives them back empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lifted(pub(crate) u8);

impl Lifted {
    pub(crate) const TIME: u8 = 1;
    pub(crate) const SEVERITY: u8 = 2;
    pub(crate) const TRACE: u8 = 4;
    pub(crate) const SPAN: u8 = 8;

    pub(crate) const fn has(self, field: u8) -> bool {
        self.0 & field != 0
    }
}

/// One log record. Fields hold what was sent, or what was lifted out of the body where that was
/// empty (`lifted` says which); `at` is the place in lists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogView<'a> {
    pub(crate) resource: &'a ResourceView<'a>,
    pub(crate) scope: &'a ScopeView<'a>,
    /// Own stamp, else lifted, else observed, else time of arrival; clamped when far in the future.
    pub(crate) at: Timestamp,
    /// `time_unix_nano` as sent (0: none), or as lifted.
    pub(crate) time: Timestamp,
    pub(crate) observed: Timestamp,
    pub(crate) severity: Severity,
    pub(crate) severity_text: &'a str,
    pub(crate) body: ValueRef<'a>,
    pub(crate) attributes: &'a [Attr<'a>],
    pub(crate) dropped_attributes: u32,
    pub(crate) flags: u32,
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) event_name: &'a str,
    pub(crate) lifted: Lifted,
}

/// The severity that counts: the number, else what its text says (SDKs that set only the text).
pub(crate) fn severity_of(number: Severity, text: &str) -> Severity {
    if number.0 != 0 || text.is_empty() {
        return number;
    }
    Severity::from_text(text).unwrap_or_default()
}

/// One span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpanView<'a> {
    pub(crate) resource: &'a ResourceView<'a>,
    pub(crate) scope: &'a ScopeView<'a>,
    /// The place in lists: `start`, clamped when far in the future.
    pub(crate) at: Timestamp,
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) parent: Option<SpanId>,
    pub(crate) trace_state: &'a str,
    pub(crate) flags: u32,
    pub(crate) name: &'a str,
    /// `SpanKind` number: 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub(crate) kind: i32,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) attributes: &'a [Attr<'a>],
    pub(crate) dropped_attributes: u32,
    /// Encoded `Span.Event` messages; [`EventView::parse`] reads one.
    pub(crate) events: &'a [&'a [u8]],
    pub(crate) dropped_events: u32,
    /// Encoded `Span.Link` messages; [`LinkView::parse`] reads one.
    pub(crate) links: &'a [&'a [u8]],
    pub(crate) dropped_links: u32,
    /// `StatusCode` number: 0 unset, 1 ok, 2 error.
    pub(crate) status_code: i32,
    pub(crate) status_message: &'a str,
}

/// `StatusCode.STATUS_CODE_ERROR`.
pub(crate) const STATUS_ERROR: i32 = 2;

impl SpanView<'_> {
    /// End minus start in nanoseconds; 0 when the end lies before the start.
    pub(crate) fn duration_ns(&self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    pub(crate) fn is_error(&self) -> bool {
        self.status_code == STATUS_ERROR
    }
}

/// One event of a span.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventView<'a> {
    pub(crate) time: Timestamp,
    pub(crate) name: &'a str,
    pub(crate) attributes: Vec<Attr<'a>>,
    pub(crate) dropped_attributes: u32,
}

impl<'a> EventView<'a> {
    pub(crate) fn parse(event: &'a [u8]) -> Result<EventView<'a>, WireError> {
        let mut view = EventView::default();
        let mut fields = Fields::new(event);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => view.time = Timestamp(field.fixed64()?),
                2 => view.name = field.str()?,
                3 => view.attributes.push(parse_attr(field.bytes()?)?),
                4 => view.dropped_attributes = field.varint()? as u32,
                _ => {}
            }
        }
        Ok(view)
    }
}

/// One link of a span to another.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkView<'a> {
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) trace_state: &'a str,
    pub(crate) attributes: Vec<Attr<'a>>,
    pub(crate) dropped_attributes: u32,
    pub(crate) flags: u32,
}

impl<'a> LinkView<'a> {
    pub(crate) fn parse(link: &'a [u8]) -> Result<LinkView<'a>, WireError> {
        let mut view = LinkView::default();
        let mut fields = Fields::new(link);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => view.trace_id = trace_id(field.bytes()?)?,
                2 => view.span_id = span_id(field.bytes()?)?,
                3 => view.trace_state = field.str()?,
                4 => view.attributes.push(parse_attr(field.bytes()?)?),
                5 => view.dropped_attributes = field.varint()? as u32,
                6 => view.flags = field.fixed32()?,
                _ => {}
            }
        }
        Ok(view)
    }
}

/// Reads one encoded `KeyValue`.
pub(crate) fn parse_attr(key_value: &[u8]) -> Result<Attr<'_>, WireError> {
    let (key, value) = parse_key_value(key_value)?;
    Ok(Attr { key, value })
}

/// Reads a trace id field; empty and all-zero are "none".
pub(crate) fn trace_id(field: &[u8]) -> Result<Option<TraceId>, WireError> {
    TraceId::from_field(field).map_err(|bad| WireError::BadIdLength(bad.0))
}

/// Reads a span id field; empty and all-zero are "none".
pub(crate) fn span_id(field: &[u8]) -> Result<Option<SpanId>, WireError> {
    SpanId::from_field(field).map_err(|bad| WireError::BadIdLength(bad.0))
}
