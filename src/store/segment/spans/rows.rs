//! The spans of a segment to be, read once in the order in which they came: a pass over the heads'
//! bytes from front to back, where reading them trace by trace would miss the cache for every span.
//! Texts and attributes are numbered on the way and stay where they are; nothing is copied.

use crate::model::otlp::{self, PartLists, SpanParts};
use crate::model::record::STATUS_ERROR;
use crate::model::red::RedPlace;
use crate::model::time::NANOS_PER_MINUTE;
use crate::model::value::{ArrayRef, MapRef, parse_key_value};
use crate::model::{
    Attr, ProjectId, RedTable, ResourceView, ScopeView, Timestamp, TraceId, ValueRef,
};
use crate::store::segment::dictionary::DictionaryBuilder;
use crate::store::segment::interner::Interner;
use crate::store::segment::known::Known;
use crate::store::segment::tokens;
use crate::store::segment::values::{Kind, Slot};

use super::shape::{self, ShapeKey, SpanShape};

/// Why reading a head's span again cannot fail.
pub(super) const PARSED: &str = "SpanChunk::parse has read every span of the chunk";

/// `SpanKind` numbers of spans where a service is entered.
const KIND_SERVER: i32 = 2;
const KIND_CONSUMER: i32 = 5;

/// Number of the empty text.
pub(super) const EMPTY: u64 = 0;

/// Numbers of a span's resource, scope and service in the part being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupNumbers {
    resource: u32,
    scope: u32,
    service: u32,
}

/// One span. Fields that nearly no span has are in [`Rare`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) at: u64,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) span_id: u64,
    /// 0: none.
    pub(super) parent: u64,
    pub(super) trace: u32,
    pub(super) shape: u32,
    pub(super) resource: u32,
    pub(super) service: u32,
    pub(super) name: u32,
    /// Where its values start.
    values: u32,
    /// Its place in the list of rare fields plus one; 0: has none.
    rare: u32,
    /// Bytes of texts, attributes, events and links.
    pub(super) n_bytes: u32,
    pub(super) kind: i32,
    pub(super) status_code: i32,
}

impl Row {
    pub(super) fn is_error(&self) -> bool {
        self.status_code == STATUS_ERROR
    }

    pub(super) fn duration_ns(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Where a service was called: what an entry row of RED counts.
    fn is_entry(&self) -> bool {
        self.parent == 0 || matches!(self.kind, KIND_SERVER | KIND_CONSUMER)
    }
}

/// What few spans have. Texts by number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rare {
    pub(super) state: u64,
    pub(super) message: u64,
    /// The whole encoded span when its shape is raw; else [`EMPTY`].
    pub(super) raw: u64,
    events: (u32, u32),
    links: (u32, u32),
}

impl Rare {
    const NONE: Rare = Rare {
        state: EMPTY,
        message: EMPTY,
        raw: EMPTY,
        events: (0, 0),
        links: (0, 0),
    };
}

/// All spans of one segment, and what they share.
#[derive(Debug)]
pub(super) struct Rows<'c> {
    pub(super) rows: Vec<Row>,
    pub(super) dictionary: DictionaryBuilder<SpanShape>,
    pub(super) services: Interner,
    pub(super) traces: Known<'c>,
    pub(super) red: RedTable,
    /// Tokens of the attributes of each resource and each scope.
    pub(super) resource_tokens: Vec<Vec<u64>>,
    pub(super) scope_tokens: Vec<Vec<u64>>,
    values: Vec<u64>,
    rare: Vec<Rare>,
    /// Events and links of the rare rows.
    messages: Vec<u64>,
    /// Byte strings by their numbers.
    texts: Vec<&'c [u8]>,
    attributes: Attributes<'c>,
    names: Known<'c>,
    /// The numbers of `names` in `spelled`.
    name_numbers: Vec<u32>,
    /// Names and keys as shapes are looked up by them, whichever rows they came with.
    spelled: Spelled,
    key: ShapeKey,
    /// By name: the rows of the RED table counted into last.
    operations: Vec<Vec<Operation>>,
    lists: PartLists<'c>,
}

/// Services of one span name whose row of the RED table is remembered: mostly one has it, and a
/// name of very many is looked up by its text instead.
const OPERATIONS_MAX: usize = 8;

/// A row of the RED table.
#[derive(Clone, Copy, Debug)]
struct Operation {
    service: u32,
    is_entry: bool,
    minute: u64,
    place: RedPlace,
}

/// Encoded `KeyValue`s met so far: most repeat to the byte, so that each is read once.
#[derive(Debug, Default)]
struct Attributes<'c> {
    known: Known<'c>,
    /// Slot (key as it is [`Spelled`]) and value (number, or number of a text) of each.
    read: Vec<(Slot, u64)>,
}

/// Numbers for span names and attribute keys.
#[derive(Debug, Default)]
pub(super) struct Spelled(Interner);

impl Spelled {
    /// Stands for all that came when no shape could be added any more. Fits beside a kind.
    const UNKNOWN: u32 = u32::MAX >> 3;

    /// `has_room`: a shape with this name or key may still be added.
    fn number(&mut self, text: &[u8], has_room: bool) -> u32 {
        if has_room {
            self.0.intern(text)
        } else {
            self.0.find(text).unwrap_or(Spelled::UNKNOWN)
        }
    }

    /// Of a shape that is new.
    pub(super) fn get(&self, number: u32) -> &[u8] {
        self.0.get(number)
    }
}

impl<'c> Rows<'c> {
    pub(super) fn with_capacity(n: usize) -> Rows<'c> {
        Rows {
            rows: Vec::with_capacity(n),
            dictionary: DictionaryBuilder::default(),
            services: Interner::default(),
            traces: Known::default(),
            red: RedTable::default(),
            resource_tokens: Vec::new(),
            scope_tokens: Vec::new(),
            values: Vec::with_capacity(8 * n),
            rare: Vec::new(),
            messages: Vec::new(),
            texts: vec![b""],
            attributes: Attributes::default(),
            names: Known::default(),
            name_numbers: Vec::new(),
            spelled: Spelled::default(),
            key: ShapeKey::default(),
            operations: Vec::new(),
            lists: PartLists::default(),
        }
    }

    /// No rows yet, but all that the rows before share with them: the part goes on.
    pub(super) fn continued<'d>(self, n: usize) -> Rows<'d> {
        Rows {
            dictionary: self.dictionary,
            services: self.services,
            red: self.red,
            resource_tokens: self.resource_tokens,
            scope_tokens: self.scope_tokens,
            spelled: self.spelled,
            ..Rows::with_capacity(n)
        }
    }

    /// Takes a resource and scope into the part.
    pub(super) fn group(
        &mut self,
        project: ProjectId,
        resource: &ResourceView<'_>,
        scope: &ScopeView<'_>,
    ) -> GroupNumbers {
        let number = self.dictionary.resource(project, resource);
        if number as usize == self.resource_tokens.len() {
            let tokens = attribute_tokens(&resource.attributes);
            self.resource_tokens.push(tokens);
        }
        let scope_number = self.dictionary.scope(scope);
        if scope_number as usize == self.scope_tokens.len() {
            self.scope_tokens.push(attribute_tokens(&scope.attributes));
        }
        GroupNumbers {
            resource: number,
            scope: scope_number,
            service: self.services.intern(resource.service().as_bytes()),
        }
    }

    /// Adds a span by its bytes.
    pub(super) fn push(
        &mut self,
        encoded: &'c [u8],
        at: Timestamp,
        trace_id: &'c TraceId,
        group: GroupNumbers,
    ) {
        let parts = otlp::span_parts(encoded, &mut self.lists).expect(PARSED);
        let values = self.values.len();
        self.key.start(group.scope, &parts);
        let has_room = self.dictionary.has_room();
        let (name, is_new) = self.names.number(parts.name);
        if is_new {
            let number = self.spelled.number(parts.name, has_room);
            self.name_numbers.push(number);
        }
        self.key.name(self.name_numbers[name as usize]);
        let mut n_bytes = 0;
        for key_value in &self.lists.attributes {
            n_bytes += key_value.len();
            let spell = |key: &[u8]| self.spelled.number(key, has_room);
            let (slot, value) = self.attributes.number(key_value, &mut self.texts, spell);
            self.key.slot(slot);
            self.values.push(value);
        }
        let shape = shape::intern(&mut self.dictionary, &self.key, &parts, &self.spelled);
        let raw = shape.is_raw.then_some(encoded);
        if raw.is_some() {
            self.values.truncate(values);
        }
        let (rare, n_rare_bytes) = self.rare(&parts, raw);
        let row = Row {
            at: at.0,
            start: parts.start,
            end: parts.end,
            span_id: parts.span_id,
            parent: parts.parent,
            trace: self.traces.number(&trace_id.0).0,
            shape: shape.number,
            resource: group.resource,
            service: group.service,
            name,
            values: values as u32,
            rare,
            n_bytes: (n_bytes + n_rare_bytes) as u32,
            kind: parts.kind,
            status_code: parts.status_code,
        };
        self.rows.push(row);
    }

    /// Counts the last row into the RED rows.
    pub(super) fn count_last(&mut self) {
        if let Some(row) = self.rows.last().copied() {
            self.count(&row);
        }
    }

    /// Keeps the fields that few spans have; their place plus one, and their bytes.
    fn rare(&mut self, parts: &SpanParts<'c>, raw: Option<&'c [u8]>) -> (u32, usize) {
        let lists = &self.lists;
        let is_plain = parts.trace_state.is_empty()
            && parts.status_message.is_empty()
            && lists.events.is_empty()
            && lists.links.is_empty();
        if is_plain && raw.is_none() {
            return (0, 0);
        }
        let (texts, mut n_bytes) = (&mut self.texts, 0);
        let mut keep = |text: &'c [u8]| {
            n_bytes += text.len();
            number_of(texts, text)
        };
        let mut rare = Rare::NONE;
        if let Some(raw) = raw {
            rare.raw = keep(raw);
        } else {
            rare.state = keep(parts.trace_state);
            rare.message = keep(parts.status_message);
            let messages = &mut self.messages;
            let mut list = |from: &[&'c [u8]]| {
                let start = messages.len() as u32;
                messages.extend(from.iter().map(|message| keep(message)));
                (start, messages.len() as u32)
            };
            rare.events = list(&lists.events);
            rare.links = list(&lists.links);
        }
        self.rare.push(rare);
        (self.rare.len() as u32, n_bytes)
    }

    /// Counts a span into the RED rows; spans come nearly in order of time, so that an operation's row
    /// is looked up by its texts about once a minute.
    fn count(&mut self, row: &Row) {
        let (service, is_entry) = (row.service, row.is_entry());
        let minute = row.at / NANOS_PER_MINUTE;
        if self.operations.len() < self.names.len() {
            self.operations.resize(self.names.len(), Vec::new());
        }
        let known = &mut self.operations[row.name as usize];
        let same = |known: &Operation| (known.service, known.is_entry) == (service, is_entry);
        let at = known.iter().position(same);
        let place = match at {
            Some(at) if known[at].minute == minute => known[at].place,
            _ => {
                let text = |bytes| std::str::from_utf8(bytes).expect(PARSED);
                let (of, name) = (self.services.get(service), self.names.get(row.name));
                let at_time = Timestamp(row.at);
                let place = self.red.place(at_time, text(of), text(name), is_entry);
                let operation = Operation {
                    service,
                    is_entry,
                    minute,
                    place,
                };
                match at {
                    Some(at) => known[at] = operation,
                    None if known.len() < OPERATIONS_MAX => known.push(operation),
                    None => known[OPERATIONS_MAX - 1] = operation,
                }
                place
            }
        };
        self.red.count(place, row.is_error(), row.duration_ns());
    }

    /// Values in the order of the slots of the row's shape; more behind them are of other rows.
    pub(super) fn values(&self, row: &Row) -> &[u64] {
        &self.values[row.values as usize..]
    }

    pub(super) fn rare_of(&self, row: &Row) -> &Rare {
        match row.rare.checked_sub(1) {
            Some(at) => &self.rare[at as usize],
            None => &Rare::NONE,
        }
    }

    pub(super) fn events(&self, rare: &Rare) -> &[u64] {
        &self.messages[rare.events.0 as usize..rare.events.1 as usize]
    }

    pub(super) fn links(&self, rare: &Rare) -> &[u64] {
        &self.messages[rare.links.0 as usize..rare.links.1 as usize]
    }

    /// The byte string of a number.
    pub(super) fn text(&self, number: u64) -> &'c [u8] {
        self.texts[number as usize]
    }

    pub(super) fn name(&self, row: &Row) -> &'c str {
        std::str::from_utf8(self.names.get(row.name)).expect(PARSED)
    }

    pub(super) fn service(&self, number: u32) -> &str {
        std::str::from_utf8(self.services.get(number)).expect(PARSED)
    }
}

fn attribute_tokens(attributes: &[Attr<'_>]) -> Vec<u64> {
    let tokens = attributes.iter().filter_map(|attr| {
        let key = attr.key.as_bytes();
        match attr.value {
            ValueRef::Str(text) => Some(tokens::of_attribute(key, text.as_bytes())),
            ValueRef::Empty | ValueRef::Map(_) => None,
            ValueRef::Bool(b) => Some(tokens::of_bool(key, b)),
            ValueRef::Int(int) => Some(tokens::of_int(key, int)),
            ValueRef::Double(_) | ValueRef::Bytes(_) | ValueRef::Array(_) => {
                Some(tokens::of_untold(key))
            }
        }
    });
    tokens.collect()
}

fn number_of<'c>(texts: &mut Vec<&'c [u8]>, text: &'c [u8]) -> u64 {
    if text.is_empty() {
        return EMPTY;
    }
    texts.push(text);
    texts.len() as u64 - 1
}

impl<'c> Attributes<'c> {
    /// Slot and value of an encoded `KeyValue`.
    #[inline]
    fn number(
        &mut self,
        key_value: &'c [u8],
        texts: &mut Vec<&'c [u8]>,
        spell: impl FnOnce(&[u8]) -> u32,
    ) -> (Slot, u64) {
        let (number, is_new) = self.known.number(key_value);
        if is_new {
            let (key, value) = parse_key_value(key_value).expect(PARSED);
            let key = spell(key.as_bytes());
            let number = match value {
                ValueRef::Empty => 0,
                ValueRef::Bool(b) => u64::from(b),
                ValueRef::Int(i) => i as u64,
                ValueRef::Double(d) => d.to_bits(),
                ValueRef::Str(text) => number_of(texts, text.as_bytes()),
                ValueRef::Bytes(b) | ValueRef::Array(ArrayRef(b)) | ValueRef::Map(MapRef(b)) => {
                    number_of(texts, b)
                }
            };
            self.read.push(((key, Kind::of(&value)), number));
        }
        self.read[number as usize]
    }
}
