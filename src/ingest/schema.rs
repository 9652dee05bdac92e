//! The OTLP messages that admission looks into, as one table: what each field is, so that checking,
//! rewriting and redacting walk the same shapes (opentelemetry-proto 1.10 field numbers).

use crate::model::Signal;

/// What a field of a message is to admission.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Varint,
    Fixed64,
    Fixed32,
    TraceId,
    SpanId,
    /// A short string: names, versions, schema URLs.
    Name,
    /// A longer string: status messages, trace state.
    Text,
    /// The AnyValue of a log body.
    Body,
    /// A `KeyValue`.
    Attribute,
    /// How many attributes the sender dropped; raised when admission drops more.
    Dropped,
    Message(&'static Schema),
}

/// One message.
#[derive(Debug)]
pub(super) struct Schema {
    /// Number, name in `watchpost.truncated`, kind.
    pub(super) fields: &'static [(u32, &'static str, Part)],
    /// Numbers of its attributes and of their dropped count; zeros: it has none.
    pub(super) attribute: u32,
    pub(super) dropped: u32,
}

impl Schema {
    #[inline]
    pub(super) fn part(&self, number: u32) -> Option<(&'static str, Part)> {
        let found = self.fields.iter().find(|(n, _, _)| *n == number);
        found.map(|(_, name, part)| (*name, *part))
    }
}

/// The record of a signal.
pub(super) const fn record(signal: Signal) -> &'static Schema {
    match signal {
        Signal::Logs => &LOG,
        Signal::Traces => &SPAN,
        Signal::Metrics => panic!("metrics have a door of their own"),
    }
}

pub(super) static RESOURCE: Schema = Schema {
    fields: &[(1, "attributes", Part::Attribute), (2, "", Part::Dropped)],
    attribute: 1,
    dropped: 2,
};

pub(super) static SCOPE: Schema = Schema {
    fields: &[
        (1, "name", Part::Name),
        (2, "version", Part::Name),
        (3, "attributes", Part::Attribute),
        (4, "", Part::Dropped),
    ],
    attribute: 3,
    dropped: 4,
};

static LOG: Schema = Schema {
    fields: &[
        (6, "attributes", Part::Attribute),
        (1, "time", Part::Fixed64),
        (2, "severity", Part::Varint),
        (3, "severity_text", Part::Name),
        (5, "body", Part::Body),
        (7, "", Part::Dropped),
        (8, "flags", Part::Fixed32),
        (9, "trace_id", Part::TraceId),
        (10, "span_id", Part::SpanId),
        (11, "observed", Part::Fixed64),
        (12, "event_name", Part::Name),
    ],
    attribute: 6,
    dropped: 7,
};

static SPAN: Schema = Schema {
    fields: &[
        (9, "attributes", Part::Attribute),
        (1, "trace_id", Part::TraceId),
        (2, "span_id", Part::SpanId),
        (3, "trace_state", Part::Text),
        (4, "parent", Part::SpanId),
        (5, "name", Part::Name),
        (6, "kind", Part::Varint),
        (7, "start", Part::Fixed64),
        (8, "end", Part::Fixed64),
        (10, "", Part::Dropped),
        (11, "events", Part::Message(&EVENT)),
        (12, "", Part::Varint),
        (13, "links", Part::Message(&LINK)),
        (14, "", Part::Varint),
        (15, "status", Part::Message(&STATUS)),
        (16, "flags", Part::Fixed32),
    ],
    attribute: 9,
    dropped: 10,
};

pub(super) static EVENT: Schema = Schema {
    fields: &[
        (1, "time", Part::Fixed64),
        (2, "name", Part::Name),
        (3, "attributes", Part::Attribute),
        (4, "", Part::Dropped),
    ],
    attribute: 3,
    dropped: 4,
};

pub(super) static LINK: Schema = Schema {
    fields: &[
        (1, "trace_id", Part::TraceId),
        (2, "span_id", Part::SpanId),
        (3, "trace_state", Part::Text),
        (4, "attributes", Part::Attribute),
        (5, "", Part::Dropped),
        (6, "flags", Part::Fixed32),
    ],
    attribute: 4,
    dropped: 5,
};

static STATUS: Schema = Schema {
    fields: &[(2, "message", Part::Text), (3, "code", Part::Varint)],
    attribute: 0,
    dropped: 0,
};
