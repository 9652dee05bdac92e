//! OTLP AnyValue, borrowed from the bytes it came in. Arrays and maps stay encoded until iterated.

use super::wire::{Field, Fields, WireError};

/// An AnyValue. "No value" and "a value without content" are the same thing: [`ValueRef::Empty`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ValueRef<'a> {
    Empty,
    Str(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(&'a [u8]),
    Array(ArrayRef<'a>),
    Map(MapRef<'a>),
}

/// An encoded `ArrayValue` message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArrayRef<'a>(pub(crate) &'a [u8]);

/// An encoded `KeyValueList` message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapRef<'a>(pub(crate) &'a [u8]);

impl<'a> ValueRef<'a> {
    /// Reads one encoded AnyValue. Only this level is decoded; nested ones when iterated.
    pub(crate) fn parse(any_value: &'a [u8]) -> Result<ValueRef<'a>, WireError> {
        let mut value = ValueRef::Empty;
        let mut fields = Fields::new(any_value);
        while let Some((number, field)) = fields.next()? {
            // The last member of a oneof wins, as in every protobuf reader.
            value = match number {
                1 => ValueRef::Str(field.str()?),
                2 => ValueRef::Bool(field.varint()? != 0),
                3 => ValueRef::Int(field.varint()? as i64),
                4 => ValueRef::Double(f64::from_bits(field.fixed64()?)),
                5 => ValueRef::Array(ArrayRef(field.bytes()?)),
                6 => ValueRef::Map(MapRef(field.bytes()?)),
                7 => ValueRef::Bytes(field.bytes()?),
                _ => value,
            };
        }
        Ok(value)
    }

    pub(crate) const fn as_str(self) -> Option<&'a str> {
        if let ValueRef::Str(text) = self {
            Some(text)
        } else {
            None
        }
    }
}

/// Reads one encoded `KeyValue`: its key and its value ([`ValueRef::Empty`] when absent).
pub(crate) fn parse_key_value(key_value: &[u8]) -> Result<(&str, ValueRef<'_>), WireError> {
    let (mut key, mut value) = ("", ValueRef::Empty);
    let mut fields = Fields::new(key_value);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => key = field.str()?,
            2 => value = ValueRef::parse(field.bytes()?)?,
            _ => {}
        }
    }
    Ok((key, value))
}

impl<'a> ArrayRef<'a> {
    /// The elements. Ends at the first malformed one: admission has checked stored values.
    pub(crate) fn iter(self) -> impl Iterator<Item = ValueRef<'a>> {
        messages(self.0).map_while(|message| ValueRef::parse(message).ok())
    }
}

impl<'a> MapRef<'a> {
    /// The entries in their order, duplicate keys kept. Ends at the first malformed one.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a str, ValueRef<'a>)> {
        messages(self.0).map_while(|message| parse_key_value(message).ok())
    }
}

/// Field 1 of both list messages: the repeated element.
fn messages(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut fields = Fields::new(list);
    std::iter::from_fn(move || {
        loop {
            match fields.next() {
                Ok(Some((1, Field::Bytes(message)))) => return Some(message),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    })
}
