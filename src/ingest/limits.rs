//! Sizes that a record may have, and the check that nearly every record passes without being copied.
//! What does not pass goes to [`super::rewrite`].

use super::schema::{EVENT, LINK, Part, Schema};
use crate::model::wire::{Field, Fields, WireError};
use crate::model::{Attr, LogView, SpanId, SpanView, TraceId, ValueRef};

/// Levels of nested arrays and maps in one AnyValue. prost refuses whole requests at about 50 and
/// serde_json at 127; nobody reads 16 levels of a log body.
pub(crate) const DEPTH_MAX: usize = 16;

/// The attribute that names what was cut.
pub(crate) const TRUNCATED: &str = "watchpost.truncated";

/// Limits of single records; over them content is cut and marked, never refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Span, event and attribute names, in bytes.
    pub(crate) name_bytes: usize,
    /// One attribute value, in bytes (nested values: encoded).
    pub(crate) value_bytes: usize,
    /// A log body, in bytes.
    pub(crate) line_bytes: usize,
    /// Attributes of one record, span, event, link, resource or scope.
    pub(crate) attributes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            name_bytes: 1 << 10,
            value_bytes: 64 << 10,
            line_bytes: 256 << 10,
            attributes: 128,
        }
    }
}

impl Limits {
    /// Whether a record can be stored as it is. `raw_bytes` is its encoded length: most records
    /// are shorter than the shortest limit, and only their nested values need a look.
    pub(super) fn log_is_clean(&self, log: &LogView<'_>, raw_bytes: usize) -> bool {
        let short = raw_bytes <= self.name_bytes
            || (log.severity_text.len() <= self.name_bytes
                && log.event_name.len() <= self.name_bytes);
        short
            && self.value_is_clean(log.body, self.line_bytes)
            && self.attributes_are_clean(log.attributes)
    }

    /// As [`Limits::log_is_clean`].
    pub(super) fn span_is_clean(&self, span: &SpanView<'_>, raw_bytes: usize) -> bool {
        let short = raw_bytes <= self.name_bytes
            || (span.name.len() <= self.name_bytes
                && span.trace_state.len() <= self.value_bytes
                && span.status_message.len() <= self.value_bytes);
        short
            && self.attributes_are_clean(span.attributes)
            && span.events.iter().all(|raw| self.is_clean(&EVENT, raw))
            && span.links.iter().all(|raw| self.is_clean(&LINK, raw))
    }

    fn attributes_are_clean(&self, attributes: &[Attr<'_>]) -> bool {
        let own = |attr: &&Attr<'_>| attr.key != TRUNCATED;
        (attributes.len() <= self.attributes
            || attributes.iter().filter(own).count() <= self.attributes)
            && attributes.iter().all(|attr| {
                attr.key.len() <= self.name_bytes
                    && self.value_is_clean(attr.value, self.value_bytes)
            })
    }

    fn value_is_clean(&self, value: ValueRef<'_>, bytes_max: usize) -> bool {
        match value {
            ValueRef::Empty | ValueRef::Bool(_) | ValueRef::Int(_) | ValueRef::Double(_) => true,
            ValueRef::Str(text) => text.len() <= bytes_max,
            ValueRef::Bytes(bytes) => bytes.len() <= bytes_max,
            ValueRef::Array(list) => list.0.len() <= bytes_max && list_is_sound(list.0, false, 2),
            ValueRef::Map(list) => list.0.len() <= bytes_max && list_is_sound(list.0, true, 2),
        }
    }

    /// Whether an encoded message of a schema is well-formed and within the limits.
    pub(super) fn is_clean(&self, schema: &Schema, raw: &[u8]) -> bool {
        self.check(schema, raw) == Ok(true)
    }

    fn check(&self, schema: &Schema, raw: &[u8]) -> Result<bool, WireError> {
        let (mut clean, mut attributes) = (true, 0);
        let mut fields = Fields::new(raw);
        while let Some((number, field)) = fields.next()? {
            let Some((_, part)) = schema.part(number) else {
                continue;
            };
            clean &= match part {
                Part::Varint | Part::Dropped => field.varint().is_ok(),
                Part::Fixed64 => field.fixed64().is_ok(),
                Part::Fixed32 => field.fixed32().is_ok(),
                Part::TraceId => TraceId::from_field(field.bytes()?).is_ok(),
                Part::SpanId => SpanId::from_field(field.bytes()?).is_ok(),
                Part::Name => field.str()?.len() <= self.name_bytes,
                Part::Text => field.str()?.len() <= self.value_bytes,
                Part::Body => {
                    self.value_is_clean(ValueRef::parse(field.bytes()?)?, self.line_bytes)
                }
                Part::Attribute => {
                    let (key, value) = crate::model::value::parse_key_value(field.bytes()?)?;
                    attributes += usize::from(key != TRUNCATED);
                    key.len() <= self.name_bytes && self.value_is_clean(value, self.value_bytes)
                }
                Part::Message(schema) => self.check(schema, field.bytes()?)?,
            };
        }
        Ok(clean && attributes <= self.attributes)
    }
}

/// Whether every level of an `ArrayValue` or `KeyValueList` is well-formed and not too deep. The
/// recursion ends at [`DEPTH_MAX`]; `depth` is the level of the elements.
fn list_is_sound(list: &[u8], is_map: bool, depth: usize) -> bool {
    if depth > DEPTH_MAX {
        return list.is_empty();
    }
    let mut fields = Fields::new(list);
    loop {
        let element = match fields.next() {
            Ok(None) => return true,
            Ok(Some((1, Field::Bytes(element)))) => element,
            Ok(Some((1, _))) | Err(_) => return false,
            Ok(Some(_)) => continue,
        };
        let value = if is_map {
            crate::model::value::parse_key_value(element).map(|(_, value)| value)
        } else {
            ValueRef::parse(element)
        };
        let sound = match value {
            Err(_) => false,
            Ok(ValueRef::Array(list)) => list_is_sound(list.0, false, depth + 1),
            Ok(ValueRef::Map(list)) => list_is_sound(list.0, true, depth + 1),
            Ok(_) => true,
        };
        if !sound {
            return false;
        }
    }
}
