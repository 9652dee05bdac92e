//! What the spans of one kind have in common: scope, name, kind, status code, flags, attribute keys.

use crate::model::otlp::SpanParts;

use super::super::cursor::{Cursor, Damage, put_varint, unzigzag, zigzag};
use super::super::dictionary::{
    Dictionary, DictionaryBuilder, check_text, put_slots, read_slots, vary,
};
use super::super::footprint::Variety;
use super::super::values::{Kind, Slot};
use super::rows::Spelled;

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

/// Everything that tells shapes apart, as numbers; reused from span to span.
#[derive(Debug, Default)]
pub(super) struct ShapeKey {
    key: Vec<u8>,
    /// Slots with keys as they are [`Spelled`].
    slots: Vec<Slot>,
    scope: u32,
    name: u32,
}

impl ShapeKey {
    /// Begins with what a span has beside name and attributes.
    pub(super) fn start(&mut self, scope: u32, parts: &SpanParts<'_>) {
        self.key.clear();
        self.slots.clear();
        self.scope = scope;
        self.key.push(COLUMNS);
        for number in [
            scope,
            parts.kind as u32,
            parts.status_code as u32,
            parts.flags,
            parts.dropped[0],
            parts.dropped[1],
            parts.dropped[2],
        ] {
            self.key.extend_from_slice(&number.to_le_bytes());
        }
    }

    pub(super) fn name(&mut self, name: u32) {
        self.name = name;
        self.key.extend_from_slice(&name.to_le_bytes());
    }

    pub(super) fn slot(&mut self, slot: Slot) {
        let (key, kind) = slot;
        self.slots.push(slot);
        self.key
            .extend_from_slice(&(key << 3 | kind as u32).to_le_bytes());
    }
}

/// A shape by its number in the part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interned {
    pub(super) number: u32,
    /// The raw shape of its scope: when the dictionary has no room for another.
    pub(super) is_raw: bool,
}

/// The number of a span's shape, new ones added; `spelled` has the names and keys that `key` numbers.
pub(super) fn intern(
    dictionary: &mut DictionaryBuilder<SpanShape>,
    key: &ShapeKey,
    parts: &SpanParts<'_>,
    spelled: &Spelled,
) -> Interned {
    let interned = |number, is_raw| Interned { number, is_raw };
    if let Some(number) = dictionary.find_shape(&key.key) {
        return interned(number, false);
    }
    let scope = key.scope;
    if !dictionary.has_room() {
        let raw: Vec<u8> = [RAW].into_iter().chain(scope.to_le_bytes()).collect();
        let number = dictionary.find_shape(&raw).unwrap_or_else(|| {
            let columns = None;
            let shape = SpanShape { scope, columns };
            dictionary.add_shape(&raw, shape.encode(), shape)
        });
        return interned(number, true);
    }
    let mut text = |text: &[u8]| dictionary.text_bytes(text);
    let columns = Some(SpanColumnsShape {
        name: text(spelled.get(key.name)),
        kind: parts.kind,
        status_code: parts.status_code,
        flags: parts.flags,
        dropped_attributes: parts.dropped[0],
        dropped_events: parts.dropped[1],
        dropped_links: parts.dropped[2],
        attributes: key
            .slots
            .iter()
            .map(|(key, kind)| (text(spelled.get(*key)), *kind))
            .collect(),
    });
    let shape = SpanShape { scope, columns };
    interned(dictionary.add_shape(&key.key, shape.encode(), shape), false)
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

    pub(super) fn vary(&self, dictionary: &Dictionary<SpanShape>, variety: &mut Variety) {
        let Some(columns) = &self.columns else {
            return;
        };
        let numbers = [
            i64::from(columns.kind),
            i64::from(columns.status_code),
            i64::from(columns.flags),
            i64::from(columns.dropped_attributes),
            i64::from(columns.dropped_events),
            i64::from(columns.dropped_links),
        ];
        let slots = &columns.attributes;
        vary(
            dictionary,
            variety,
            self.scope,
            &numbers,
            &[columns.name],
            slots,
        );
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
