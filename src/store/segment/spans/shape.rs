//! What the spans of one kind have in common: scope, name, kind, status code, flags, attribute keys.

use crate::model::SpanView;

use super::super::cursor::{Cursor, Damage, put_varint, unzigzag, zigzag};
use super::super::dictionary::{
    DictionaryBuilder, check_text, put_slots, read_slots, slots, spell_attributes,
};
use super::super::values::{Kind, Slot};

/// Spans kept as encoded `Span`s.
const RAW: u8 = 0;
const COLUMNS: u8 = 1;

/// A shape as readers use it.
#[derive(Clone, Debug)]
pub(crate) struct SpanShape {
    pub(super) scope: u32,
    /// `None`: spans of this shape are in the raw column.
    pub(super) columns: Option<SpanColumnsShape>,
}

/// The part of a shape that tells how to rebuild a span from columns.
#[derive(Clone, Debug)]
pub(super) struct SpanColumnsShape {
    pub(super) name: u32,
    pub(super) kind: i32,
    pub(super) status_code: i32,
    pub(super) flags: u32,
    pub(super) dropped_attributes: u32,
    pub(super) dropped_events: u32,
    pub(super) dropped_links: u32,
    pub(super) attributes: Vec<Slot>,
}

/// The number of a span's shape, new ones added, and whether it is the raw shape of its scope: when
/// the dictionary has no room for another.
pub(super) fn intern(
    dictionary: &mut DictionaryBuilder<SpanShape>,
    key: &mut Vec<u8>,
    scope: u32,
    span: &SpanView<'_>,
) -> (u32, bool) {
    spell(key, scope, span);
    if let Some(shape) = dictionary.find_shape(key) {
        return (shape, false);
    }
    let is_raw = !dictionary.has_room();
    let columns = if is_raw {
        key.clear();
        key.push(RAW);
        put_varint(key, u64::from(scope));
        if let Some(shape) = dictionary.find_shape(key) {
            return (shape, true);
        }
        None
    } else {
        Some(SpanColumnsShape {
            name: dictionary.text(span.name),
            kind: span.kind,
            status_code: span.status_code,
            flags: span.flags,
            dropped_attributes: span.dropped_attributes,
            dropped_events: span.dropped_events,
            dropped_links: span.dropped_links,
            attributes: slots(dictionary, span.attributes),
        })
    };
    let shape = SpanShape { scope, columns };
    (dictionary.add_shape(key, shape.encode(), shape), is_raw)
}

/// Everything that tells shapes apart, texts spelled out.
fn spell(key: &mut Vec<u8>, scope: u32, span: &SpanView<'_>) {
    key.clear();
    key.push(COLUMNS);
    for number in [
        scope,
        span.kind as u32,
        span.status_code as u32,
        span.flags,
        span.dropped_attributes,
        span.dropped_events,
        span.dropped_links,
        span.name.len() as u32,
    ] {
        key.extend_from_slice(&number.to_le_bytes());
    }
    key.extend_from_slice(span.name.as_bytes());
    spell_attributes(key, span.attributes);
}

impl SpanShape {
    fn encode(&self) -> Vec<u8> {
        let Some(columns) = &self.columns else {
            let mut out = vec![RAW];
            put_varint(&mut out, u64::from(self.scope));
            return out;
        };
        let mut out = vec![COLUMNS];
        for number in [
            u64::from(self.scope),
            u64::from(columns.name),
            zigzag(i64::from(columns.kind)),
            zigzag(i64::from(columns.status_code)),
            u64::from(columns.flags),
            u64::from(columns.dropped_attributes),
            u64::from(columns.dropped_events),
            u64::from(columns.dropped_links),
        ] {
            put_varint(&mut out, number);
        }
        put_slots(&mut out, &columns.attributes);
        out
    }

    pub(super) fn read(
        cursor: &mut Cursor<'_>,
        n_scopes: usize,
        n_texts: usize,
    ) -> Result<SpanShape, Damage> {
        let kind = cursor.u8()?;
        let scope = cursor.number()?;
        if scope as usize >= n_scopes {
            return Err(Damage("a shape names a scope that is not there"));
        }
        let columns = match kind {
            RAW => None,
            COLUMNS => Some(SpanColumnsShape {
                name: check_text(cursor.varint()?, n_texts)?,
                kind: unzigzag(cursor.varint()?) as i32,
                status_code: unzigzag(cursor.varint()?) as i32,
                flags: cursor.number()?,
                dropped_attributes: cursor.number()?,
                dropped_events: cursor.number()?,
                dropped_links: cursor.number()?,
                attributes: read_slots(cursor, n_texts)?,
            }),
            _ => return Err(Damage("a shape has an unknown kind")),
        };
        Ok(SpanShape { scope, columns })
    }

    /// The resource column as a slot: ordered by shape like attributes, since a kind of span mostly
    /// comes from one service.
    pub(super) fn resource_slots(&self) -> &[Slot] {
        &[(0, Kind::Int)]
    }

    /// How many values the raw column has for a span of this shape, as slots.
    pub(super) fn raw_slots(&self) -> &[Slot] {
        if self.columns.is_none() {
            &[(0, Kind::Bytes)]
        } else {
            &[]
        }
    }

    pub(super) fn attribute_slots(&self) -> &[Slot] {
        self.columns.as_ref().map_or(&[], |shape| &shape.attributes)
    }
}
