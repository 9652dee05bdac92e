//! What the log records of one kind have in common: scope, severity, flags, body kind, attribute keys.

use crate::model::record::Lifted;
use crate::model::{LogView, Severity};

use super::super::cursor::{Cursor, Damage, put_varint, unzigzag, zigzag};
use super::super::dictionary::{
    DictionaryBuilder, check_text, put_slots, read_slots, slots, spell_attributes,
};
use super::super::values::{Kind, Slot};

/// Records kept as encoded `LogRecord`s.
const RAW: u8 = 0;
const COLUMNS: u8 = 1;

/// A shape as readers use it.
#[derive(Clone, Debug)]
pub(crate) struct LogShape {
    pub(super) scope: u32,
    pub(super) lifted: Lifted,
    /// `None`: records of this shape are in the raw column.
    pub(super) columns: Option<LogColumnsShape>,
}

/// The part of a shape that tells how to rebuild a record from columns.
#[derive(Clone, Debug)]
pub(super) struct LogColumnsShape {
    pub(super) severity: Severity,
    pub(super) severity_text: u32,
    pub(super) event_name: u32,
    pub(super) flags: u32,
    pub(super) dropped_attributes: u32,
    pub(super) body: Kind,
    body_slot: [Slot; 1],
    pub(super) attributes: Vec<Slot>,
}

/// The number of a record's shape, new ones added, and whether it is the raw shape of its scope:
/// when the dictionary has no room for another.
pub(super) fn intern(
    dictionary: &mut DictionaryBuilder<LogShape>,
    key: &mut Vec<u8>,
    scope: u32,
    log: &LogView<'_>,
) -> (u32, bool) {
    spell(key, scope, log);
    if let Some(shape) = dictionary.find_shape(key) {
        return (shape, false);
    }
    let is_raw = !dictionary.has_room();
    let columns = if is_raw {
        key.clear();
        key.extend_from_slice(&[RAW, log.lifted.0]);
        put_varint(key, u64::from(scope));
        if let Some(shape) = dictionary.find_shape(key) {
            return (shape, true);
        }
        None
    } else {
        Some(LogColumnsShape {
            severity: log.severity,
            severity_text: dictionary.text(log.severity_text),
            event_name: dictionary.text(log.event_name),
            flags: log.flags,
            dropped_attributes: log.dropped_attributes,
            body: Kind::of(&log.body),
            body_slot: body_slot(Kind::of(&log.body)),
            attributes: slots(dictionary, log.attributes),
        })
    };
    let shape = LogShape {
        scope,
        lifted: log.lifted,
        columns,
    };
    (dictionary.add_shape(key, shape.encode(), shape), is_raw)
}

/// Everything that tells shapes apart, texts spelled out.
fn spell(key: &mut Vec<u8>, scope: u32, log: &LogView<'_>) {
    key.clear();
    key.extend_from_slice(&[COLUMNS, log.lifted.0, Kind::of(&log.body) as u8]);
    for number in [
        scope,
        log.severity.0 as u32,
        log.flags,
        log.dropped_attributes,
        log.severity_text.len() as u32,
        log.event_name.len() as u32,
    ] {
        key.extend_from_slice(&number.to_le_bytes());
    }
    key.extend_from_slice(log.severity_text.as_bytes());
    key.extend_from_slice(log.event_name.as_bytes());
    spell_attributes(key, log.attributes);
}

impl LogShape {
    fn encode(&self) -> Vec<u8> {
        let Some(columns) = &self.columns else {
            let mut out = vec![RAW, self.lifted.0];
            put_varint(&mut out, u64::from(self.scope));
            return out;
        };
        let mut out = vec![COLUMNS, self.lifted.0];
        for number in [
            u64::from(self.scope),
            zigzag(i64::from(columns.severity.0)),
            u64::from(columns.severity_text),
            u64::from(columns.event_name),
            u64::from(columns.flags),
            u64::from(columns.dropped_attributes),
            columns.body as u64,
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
    ) -> Result<LogShape, Damage> {
        let kind = cursor.u8()?;
        let lifted = Lifted(cursor.u8()?);
        let scope = cursor.number()?;
        if scope as usize >= n_scopes {
            return Err(Damage("a shape names a scope that is not there"));
        }
        let columns = match kind {
            RAW => None,
            COLUMNS => Some(LogColumnsShape::read(cursor, n_texts)?),
            _ => return Err(Damage("a shape has an unknown kind")),
        };
        Ok(LogShape {
            scope,
            lifted,
            columns,
        })
    }

    /// How many values the raw column has for a record of this shape, as slots.
    pub(super) fn raw_slots(&self) -> &'static [Slot] {
        if self.columns.is_none() {
            RAW_SLOTS
        } else {
            &[]
        }
    }

    pub(super) fn body_slots(&self) -> &[Slot] {
        self.columns.as_ref().map_or(&[], |shape| &shape.body_slot)
    }

    pub(super) fn attribute_slots(&self) -> &[Slot] {
        self.columns.as_ref().map_or(&[], |shape| &shape.attributes)
    }
}

impl LogColumnsShape {
    fn read(cursor: &mut Cursor<'_>, n_texts: usize) -> Result<LogColumnsShape, Damage> {
        let severity = Severity(unzigzag(cursor.varint()?) as i32);
        let severity_text = check_text(cursor.varint()?, n_texts)?;
        let event_name = check_text(cursor.varint()?, n_texts)?;
        let flags = cursor.number()?;
        let dropped_attributes = cursor.number()?;
        let body = Kind::read(cursor.u8()?)?;
        Ok(LogColumnsShape {
            severity,
            severity_text,
            event_name,
            flags,
            dropped_attributes,
            body,
            body_slot: body_slot(body),
            attributes: read_slots(cursor, n_texts)?,
        })
    }
}

/// Where a body of this kind is. Texts have a column of bytes: those of own ids are no UTF-8.
fn body_slot(kind: Kind) -> [Slot; 1] {
    [match kind {
        Kind::Str => (1, Kind::Bytes),
        other => (0, other),
    }]
}

/// The raw column as a slot.
const RAW_SLOTS: &[Slot] = &[(0, Kind::Bytes)];
