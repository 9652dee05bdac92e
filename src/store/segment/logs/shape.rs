//! What the log records of one kind have in common: scope, severity, flags, body kind or template,
//! attribute keys.

use crate::model::record::Lifted;
use crate::model::{LogView, Severity};

use super::super::cursor::{Cursor, Damage, put_varint, unzigzag, zigzag};
use super::super::dictionary::{
    Dictionary, DictionaryBuilder, SHAPES_MAX, TEXT_BYTES_MAX, check_text, put_slots, read_slots,
    slots, spell_attributes, vary,
};
use super::super::footprint::Variety;
use super::super::values::{Kind, Slot};
use super::template::VARIABLES_MAX;

/// Records kept as encoded `LogRecord`s.
const RAW: u8 = 0;
const COLUMNS: u8 = 1;
/// As columns, with the template of the body: since format 2.
const TEMPLATE: u8 = 2;

/// Shapes of one part that may have templates: the rest is kept for records without, so that many
/// templates do not make records raw.
const TEMPLATE_SHAPES_MAX: usize = SHAPES_MAX / 4 * 3;

/// Rows of one shape in a block from which on each variable of their template has a column of its own.
/// A column costs about ten bytes, and fewer values than this hardly gain them back.
const OWN_COLUMNS_ROWS_MIN: usize = 4;

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
    /// The text that is the body's template.
    pub(super) template: Option<u32>,
    body_slots: Vec<Slot>,
    pub(super) attributes: Vec<Slot>,
}

/// A body's template: its text in the dictionary and its number of variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) text: u32,
    pub(super) n_variables: u32,
}

/// How a record is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Raw,
    Columns,
    /// With the variables of its template instead of its body.
    Template,
}

/// The number of a record's shape, new ones added. A dictionary without room gives the shape without
/// the template, then the raw shape of its scope.
pub(super) fn intern(
    dictionary: &mut DictionaryBuilder<LogShape>,
    key: &mut Vec<u8>,
    scope: u32,
    log: &LogView<'_>,
    template: Option<Template>,
) -> (u32, Kept) {
    if template.is_some() {
        spell(key, scope, log, template);
        let found = dictionary.find_shape(key);
        let room = dictionary.has_room() && dictionary.shapes().len() < TEMPLATE_SHAPES_MAX;
        if found.is_some() || room {
            let shape = found.unwrap_or_else(|| add(dictionary, key, scope, log, template));
            return (shape, Kept::Template);
        }
    }
    spell(key, scope, log, None);
    let found = dictionary.find_shape(key);
    if found.is_some() || dictionary.has_room() {
        let shape = found.unwrap_or_else(|| add(dictionary, key, scope, log, None));
        return (shape, Kept::Columns);
    }
    key.clear();
    key.extend_from_slice(&[RAW, log.lifted.0]);
    put_varint(key, u64::from(scope));
    let raw = LogShape {
        scope,
        lifted: log.lifted,
        columns: None,
    };
    let shape = dictionary.find_shape(key);
    let shape = shape.unwrap_or_else(|| dictionary.add_shape(key, raw.encode(), raw));
    (shape, Kept::Raw)
}

fn add(
    dictionary: &mut DictionaryBuilder<LogShape>,
    key: &[u8],
    scope: u32,
    log: &LogView<'_>,
    template: Option<Template>,
) -> u32 {
    let body = Kind::of(&log.body);
    let columns = LogColumnsShape {
        severity: log.severity,
        severity_text: dictionary.text(log.severity_text),
        event_name: dictionary.text(log.event_name),
        flags: log.flags,
        dropped_attributes: log.dropped_attributes,
        body,
        template: template.map(|template| template.text),
        body_slots: body_slots(body, template),
        attributes: slots(dictionary, log.attributes),
    };
    let shape = LogShape {
        scope,
        lifted: log.lifted,
        columns: Some(columns),
    };
    dictionary.add_shape(key, shape.encode(), shape)
}

/// Everything that tells shapes apart, texts spelled out.
fn spell(key: &mut Vec<u8>, scope: u32, log: &LogView<'_>, template: Option<Template>) {
    key.clear();
    key.extend_from_slice(&[COLUMNS, log.lifted.0, Kind::of(&log.body) as u8]);
    for number in [
        scope,
        template.map_or(0, |template| template.text + 1),
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
        let kind = columns.template.map_or(COLUMNS, |_| TEMPLATE);
        let mut out = vec![kind, self.lifted.0];
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
        if let Some(text) = columns.template {
            put_varint(&mut out, u64::from(text));
            put_varint(&mut out, columns.body_slots.len() as u64);
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
            COLUMNS | TEMPLATE => Some(LogColumnsShape::read(cursor, n_texts, kind)?),
            _ => return Err(Damage("a shape has an unknown kind")),
        };
        Ok(LogShape {
            scope,
            lifted,
            columns,
        })
    }

    /// As the shape without its template.
    pub(super) fn vary(&self, dictionary: &Dictionary<LogShape>, variety: &mut Variety) {
        let Some(columns) = &self.columns else {
            return;
        };
        let numbers = [
            i64::from(self.lifted.0),
            columns.body as i64,
            i64::from(columns.severity.0),
            i64::from(columns.flags),
            i64::from(columns.dropped_attributes),
        ];
        let texts = [columns.severity_text, columns.event_name];
        let slots = &columns.attributes;
        vary(dictionary, variety, self.scope, &numbers, &texts, slots);
    }

    /// How many values the raw column has for a record of this shape, as slots.
    pub(super) fn raw_slots(&self) -> &'static [Slot] {
        if self.columns.is_none() {
            RAW_SLOTS
        } else {
            &[]
        }
    }

    /// Slots of the body where a block has `n_rows` of this shape.
    pub(super) fn body_slots(&self, n_rows: usize) -> &[Slot] {
        let Some(columns) = &self.columns else {
            return &[];
        };
        if columns.template.is_some() && n_rows < OWN_COLUMNS_ROWS_MIN {
            return &SHARED_SLOTS[..columns.body_slots.len()];
        }
        &columns.body_slots
    }

    pub(super) fn attribute_slots(&self) -> &[Slot] {
        self.columns.as_ref().map_or(&[], |shape| &shape.attributes)
    }
}

impl LogColumnsShape {
    /// Of the template.
    pub(super) fn n_variables(&self) -> usize {
        self.body_slots.len()
    }

    fn read(cursor: &mut Cursor<'_>, n_texts: usize, kind: u8) -> Result<LogColumnsShape, Damage> {
        let severity = Severity(unzigzag(cursor.varint()?) as i32);
        let severity_text = check_text(cursor.varint()?, n_texts)?;
        let event_name = check_text(cursor.varint()?, n_texts)?;
        let flags = cursor.number()?;
        let dropped_attributes = cursor.number()?;
        let body = Kind::read(cursor.u8()?)?;
        let template = if kind == TEMPLATE {
            let text = check_text(cursor.varint()?, n_texts)?;
            let n_variables = cursor.number()?;
            if n_variables as usize > VARIABLES_MAX || text > TEMPLATE_TEXT_MAX {
                return Err(Damage("a shape claims more variables than a template has"));
            }
            Some(Template { text, n_variables })
        } else {
            None
        };
        Ok(LogColumnsShape {
            severity,
            severity_text,
            event_name,
            flags,
            dropped_attributes,
            body,
            template: template.map(|template| template.text),
            body_slots: body_slots(body, template),
            attributes: read_slots(cursor, n_texts)?,
        })
    }
}

/// Where a body of this kind is. Texts have a column of bytes: those of own ids are no UTF-8. The
/// variables of a template have columns of their own.
fn body_slots(kind: Kind, template: Option<Template>) -> Vec<Slot> {
    match (template, kind) {
        (Some(template), _) => (0..template.n_variables)
            .map(|i| ((template.text + 1) << 8 | i, Kind::Str))
            .collect(),
        (None, Kind::Str) => vec![(1, Kind::Bytes)],
        (None, other) => vec![(0, other)],
    }
}

/// Largest number of a text that a slot has room for; a part has [`TEXT_BYTES_MAX`] of texts.
const TEMPLATE_TEXT_MAX: u32 = (1 << 24) - 2;
const _: () = assert!(TEXT_BYTES_MAX < TEMPLATE_TEXT_MAX as usize);

/// The raw column as a slot.
const RAW_SLOTS: &[Slot] = &[(0, Kind::Bytes)];

/// Variables of templates with few rows in a block share a column.
static SHARED_SLOTS: [Slot; VARIABLES_MAX] = [(2, Kind::Str); VARIABLES_MAX];
