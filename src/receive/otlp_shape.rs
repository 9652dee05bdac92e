//! The messages of OTLP traces, logs and metrics as JSON names and protobuf fields, in one table that the
//! JSON reader and the JSON writer share (opentelemetry-proto 1.10; OTLP specification, "JSON
//! Protobuf Encoding").

use crate::model::Signal;

/// How a field is written in protobuf and in JSON.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Str,
    /// uint32 and enums: a varint, a JSON number.
    Varint,
    /// A JSON string of digits.
    Fixed64,
    Fixed32,
    /// sfixed64: a JSON string of digits, a zero is told.
    Signed64,
    /// sint32: zigzag on the wire.
    ZigZag,
    Bool,
    /// A zero is told: it may be one of several.
    Double,
    ManyFixed64,
    ManyVarint,
    ManyDouble,
    /// Hexadecimal.
    Id,
    Any,
    One(&'static Shape),
    Many(&'static Shape),
    ManyStr,
}

/// A message: JSON name, field number, kind.
#[derive(Debug)]
pub(super) struct Shape(pub(super) &'static [(&'static str, u32, Kind)]);

/// `Export{Logs,Trace}ServiceRequest`.
pub(super) const fn request(signal: Signal) -> &'static Shape {
    match signal {
        Signal::Logs => &LOGS,
        Signal::Traces => &TRACES,
        Signal::Metrics => panic!("metrics are read by their own receiver"),
    }
}

static LOGS: Shape = Shape(&[("resourceLogs", 1, Kind::Many(&RESOURCE_LOGS))]);

static TRACES: Shape = Shape(&[("resourceSpans", 1, Kind::Many(&RESOURCE_SPANS))]);

/// `ExportMetricsServiceRequest`.
pub(super) static METRICS: Shape = Shape(&[("resourceMetrics", 1, Kind::Many(&RESOURCE_METRICS))]);

static RESOURCE_LOGS: Shape = Shape(&[
    ("resource", 1, Kind::One(&RESOURCE)),
    ("scopeLogs", 2, Kind::Many(&SCOPE_LOGS)),
    ("schemaUrl", 3, Kind::Str),
]);

static RESOURCE_SPANS: Shape = Shape(&[
    ("resource", 1, Kind::One(&RESOURCE)),
    ("scopeSpans", 2, Kind::Many(&SCOPE_SPANS)),
    ("schemaUrl", 3, Kind::Str),
]);

static SCOPE_LOGS: Shape = Shape(&[
    ("scope", 1, Kind::One(&SCOPE)),
    ("logRecords", 2, Kind::Many(&LOG_RECORD)),
    ("schemaUrl", 3, Kind::Str),
]);

static SCOPE_SPANS: Shape = Shape(&[
    ("scope", 1, Kind::One(&SCOPE)),
    ("spans", 2, Kind::Many(&SPAN)),
    ("schemaUrl", 3, Kind::Str),
]);

static RESOURCE: Shape = Shape(&[
    ("attributes", 1, Kind::Many(&KEY_VALUE)),
    ("droppedAttributesCount", 2, Kind::Varint),
    ("entityRefs", 3, Kind::Many(&ENTITY_REF)),
]);

static ENTITY_REF: Shape = Shape(&[
    ("schemaUrl", 1, Kind::Str),
    ("type", 2, Kind::Str),
    ("idKeys", 3, Kind::ManyStr),
    ("descriptionKeys", 4, Kind::ManyStr),
]);

static SCOPE: Shape = Shape(&[
    ("name", 1, Kind::Str),
    ("version", 2, Kind::Str),
    ("attributes", 3, Kind::Many(&KEY_VALUE)),
    ("droppedAttributesCount", 4, Kind::Varint),
]);

pub(super) static KEY_VALUE: Shape = Shape(&[("key", 1, Kind::Str), ("value", 2, Kind::Any)]);

static LOG_RECORD: Shape = Shape(&[
    ("timeUnixNano", 1, Kind::Fixed64),
    ("observedTimeUnixNano", 11, Kind::Fixed64),
    ("severityNumber", 2, Kind::Varint),
    ("severityText", 3, Kind::Str),
    ("body", 5, Kind::Any),
    ("attributes", 6, Kind::Many(&KEY_VALUE)),
    ("droppedAttributesCount", 7, Kind::Varint),
    ("flags", 8, Kind::Fixed32),
    ("traceId", 9, Kind::Id),
    ("spanId", 10, Kind::Id),
    ("eventName", 12, Kind::Str),
]);

static SPAN: Shape = Shape(&[
    ("traceId", 1, Kind::Id),
    ("spanId", 2, Kind::Id),
    ("traceState", 3, Kind::Str),
    ("parentSpanId", 4, Kind::Id),
    ("flags", 16, Kind::Fixed32),
    ("name", 5, Kind::Str),
    ("kind", 6, Kind::Varint),
    ("startTimeUnixNano", 7, Kind::Fixed64),
    ("endTimeUnixNano", 8, Kind::Fixed64),
    ("attributes", 9, Kind::Many(&KEY_VALUE)),
    ("droppedAttributesCount", 10, Kind::Varint),
    ("events", 11, Kind::Many(&EVENT)),
    ("droppedEventsCount", 12, Kind::Varint),
    ("links", 13, Kind::Many(&LINK)),
    ("droppedLinksCount", 14, Kind::Varint),
    ("status", 15, Kind::One(&STATUS)),
]);

static EVENT: Shape = Shape(&[
    ("timeUnixNano", 1, Kind::Fixed64),
    ("name", 2, Kind::Str),
    ("attributes", 3, Kind::Many(&KEY_VALUE)),
    ("droppedAttributesCount", 4, Kind::Varint),
]);

static LINK: Shape = Shape(&[
    ("traceId", 1, Kind::Id),
    ("spanId", 2, Kind::Id),
    ("traceState", 3, Kind::Str),
    ("attributes", 4, Kind::Many(&KEY_VALUE)),
    ("droppedAttributesCount", 5, Kind::Varint),
    ("flags", 6, Kind::Fixed32),
]);

static STATUS: Shape = Shape(&[("message", 2, Kind::Str), ("code", 3, Kind::Varint)]);

static RESOURCE_METRICS: Shape = Shape(&[
    ("resource", 1, Kind::One(&RESOURCE)),
    ("scopeMetrics", 2, Kind::Many(&SCOPE_METRICS)),
    ("schemaUrl", 3, Kind::Str),
]);

static SCOPE_METRICS: Shape = Shape(&[
    ("scope", 1, Kind::One(&SCOPE)),
    ("metrics", 2, Kind::Many(&METRIC)),
    ("schemaUrl", 3, Kind::Str),
]);

static METRIC: Shape = Shape(&[
    ("name", 1, Kind::Str),
    ("description", 2, Kind::Str),
    ("unit", 3, Kind::Str),
    ("gauge", 5, Kind::One(&NUMBERS)),
    ("sum", 7, Kind::One(&NUMBERS)),
    ("histogram", 9, Kind::One(&HISTOGRAM)),
    ("exponentialHistogram", 10, Kind::One(&EXPONENTIAL)),
    ("summary", 11, Kind::One(&SUMMARY)),
    ("metadata", 12, Kind::Many(&KEY_VALUE)),
]);

/// Of gauges and of sums.
static NUMBERS: Shape = Shape(&[
    ("dataPoints", 1, Kind::Many(&NUMBER_POINT)),
    ("aggregationTemporality", 2, Kind::Varint),
    ("isMonotonic", 3, Kind::Bool),
]);

static HISTOGRAM: Shape = Shape(&[
    ("dataPoints", 1, Kind::Many(&HISTOGRAM_POINT)),
    ("aggregationTemporality", 2, Kind::Varint),
]);

static EXPONENTIAL: Shape = Shape(&[
    ("dataPoints", 1, Kind::Many(&EXPONENTIAL_POINT)),
    ("aggregationTemporality", 2, Kind::Varint),
]);

static SUMMARY: Shape = Shape(&[("dataPoints", 1, Kind::Many(&SUMMARY_POINT))]);

static NUMBER_POINT: Shape = Shape(&[
    ("attributes", 7, Kind::Many(&KEY_VALUE)),
    ("startTimeUnixNano", 2, Kind::Fixed64),
    ("timeUnixNano", 3, Kind::Fixed64),
    ("asDouble", 4, Kind::Double),
    ("asInt", 6, Kind::Signed64),
    ("exemplars", 5, Kind::Many(&EXEMPLAR)),
    ("flags", 8, Kind::Varint),
]);

static HISTOGRAM_POINT: Shape = Shape(&[
    ("attributes", 9, Kind::Many(&KEY_VALUE)),
    ("startTimeUnixNano", 2, Kind::Fixed64),
    ("timeUnixNano", 3, Kind::Fixed64),
    ("count", 4, Kind::Fixed64),
    ("sum", 5, Kind::Double),
    ("bucketCounts", 6, Kind::ManyFixed64),
    ("explicitBounds", 7, Kind::ManyDouble),
    ("exemplars", 8, Kind::Many(&EXEMPLAR)),
    ("flags", 10, Kind::Varint),
    ("min", 11, Kind::Double),
    ("max", 12, Kind::Double),
]);

static EXPONENTIAL_POINT: Shape = Shape(&[
    ("attributes", 1, Kind::Many(&KEY_VALUE)),
    ("startTimeUnixNano", 2, Kind::Fixed64),
    ("timeUnixNano", 3, Kind::Fixed64),
    ("count", 4, Kind::Fixed64),
    ("sum", 5, Kind::Double),
    ("scale", 6, Kind::ZigZag),
    ("zeroCount", 7, Kind::Fixed64),
    ("positive", 8, Kind::One(&BUCKETS)),
    ("negative", 9, Kind::One(&BUCKETS)),
    ("flags", 10, Kind::Varint),
    ("exemplars", 11, Kind::Many(&EXEMPLAR)),
    ("min", 12, Kind::Double),
    ("max", 13, Kind::Double),
    ("zeroThreshold", 14, Kind::Double),
]);

static BUCKETS: Shape = Shape(&[
    ("offset", 1, Kind::ZigZag),
    ("bucketCounts", 2, Kind::ManyVarint),
]);

static SUMMARY_POINT: Shape = Shape(&[
    ("attributes", 7, Kind::Many(&KEY_VALUE)),
    ("startTimeUnixNano", 2, Kind::Fixed64),
    ("timeUnixNano", 3, Kind::Fixed64),
    ("count", 4, Kind::Fixed64),
    ("sum", 5, Kind::Double),
    ("quantileValues", 6, Kind::Many(&QUANTILE)),
    ("flags", 8, Kind::Varint),
]);

static QUANTILE: Shape = Shape(&[("quantile", 1, Kind::Double), ("value", 2, Kind::Double)]);

static EXEMPLAR: Shape = Shape(&[
    ("filteredAttributes", 7, Kind::Many(&KEY_VALUE)),
    ("timeUnixNano", 2, Kind::Fixed64),
    ("asDouble", 3, Kind::Double),
    ("asInt", 6, Kind::Signed64),
    ("spanId", 4, Kind::Id),
    ("traceId", 5, Kind::Id),
]);

impl Shape {
    /// The field under a JSON key, which may also be spelled as in the .proto file
    /// (`trace_id` for `traceId`), as protobuf's JSON mapping has it.
    pub(super) fn field(&self, key: &str) -> Option<(u32, Kind)> {
        let found = self.0.iter().find(|(name, _, _)| *name == key);
        let found = found.or_else(|| {
            key.contains('_')
                .then(|| self.0.iter().find(|(name, _, _)| same_name(name, key)))?
        });
        found.map(|(_, number, kind)| (*number, *kind))
    }
}

/// Whether `snake` is the snake_case of `camel`.
pub(super) fn same_name(camel: &str, snake: &str) -> bool {
    let mut snake = snake.bytes();
    camel.bytes().all(|c| {
        if c.is_ascii_uppercase() {
            snake.next() == Some(b'_') && snake.next() == Some(c.to_ascii_lowercase())
        } else {
            snake.next() == Some(c)
        }
    }) && snake.next().is_none()
}
