//! The slow path of admission: a request with something wrong in it becomes one that is right.
//! Bad records are left out and named, long content is cut and marked, broken UTF-8 is mended.
//! Never fails a request for one of its records; never runs for requests that are clean.

use std::collections::BTreeMap;

use super::admit::oldest_of;
use super::limits::{DEPTH_MAX, Limits, TRUNCATED};
use super::schema::{self, Part, RESOURCE, SCOPE, Schema};
use crate::model::otlp::{GroupView, Scratch, log_view, span_view};
use crate::model::wire::{Field, Fields, WireError};
use crate::model::{ResourceView, Signal, SpanId, Timestamp, TraceId, ValueRef, write};

/// Rejections told one by one in partial_success; the rest only as a number.
const REASONS_TOLD_MAX: usize = 3;

/// Bytes of the text in [`TRUNCATED`].
const MARK_BYTES_MAX: usize = 512;

/// What stands where an AnyValue was cut for its depth.
const NESTING_CUT: &str = "[nesting cut at depth 16]";

/// Why a record was left out. Closed: a label of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    Malformed,
    BadId,
    TooOld,
}

impl Reason {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::BadId => "bad_id",
            Reason::TooOld => "too_old",
        }
    }
}

/// Which limit cut something. Closed: a label of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cut {
    Name,
    Value,
    Line,
    Attributes,
    Nesting,
}

impl Cut {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Cut::Name => "name_bytes",
            Cut::Value => "value_bytes",
            Cut::Line => "line_bytes",
            Cut::Attributes => "attributes",
            Cut::Nesting => "nesting",
        }
    }
}

/// What was done to the records of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) rejected: BTreeMap<Reason, u64>,
    pub(crate) truncated: BTreeMap<Cut, u64>,
}

/// A rewritten request and what became of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rewritten {
    pub(crate) bytes: Vec<u8>,
    pub(crate) rejected: u64,
    /// Records, resources and scopes that were cut.
    pub(crate) truncated: u64,
    /// Strings that were not UTF-8.
    pub(crate) mended: u64,
    /// The first rejections, each with its place in the request.
    pub(crate) told: Vec<String>,
    pub(crate) services: BTreeMap<String, Tally>,
}

/// What rewriting needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) limits: &'a Limits,
    pub(super) signal: Signal,
    pub(super) received: Timestamp,
    /// Records placed before this are past their retention.
    pub(super) oldest: Timestamp,
    /// The same for services with a retention of their own.
    pub(super) of_services: &'a [(String, Timestamp)],
}

/// Rewrites a request.
///
/// # Errors
/// Its frame (request, resource and scope levels) is malformed: its records cannot be told apart.
pub(super) fn rewrite(request: &[u8], rules: Rules<'_>) -> Result<Rewritten, WireError> {
    let mut rewriter = Rewriter {
        rules,
        result: Rewritten::default(),
        record: 0,
        cuts: Vec::new(),
        tally: Tally::default(),
        oldest: rules.oldest,
        group: GroupView::default(),
    };
    let mut out = Vec::with_capacity(request.len());
    let mut fields = Fields::new(request);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            let per_resource = field.bytes()?;
            write::try_message(&mut out, 1, |out| rewriter.per_resource(per_resource, out))?;
        }
    }
    rewriter.result.bytes = out;
    Ok(rewriter.result)
}

struct Rewriter<'a> {
    rules: Rules<'a>,
    result: Rewritten,
    /// The number of the record at work, over the whole request, from 0.
    record: u64,
    /// What was cut from the message at work.
    cuts: Vec<(Cut, String)>,
    /// Of the resource at work.
    tally: Tally,
    oldest: Timestamp,
    /// Empty; records are read back against it to find their place in time.
    group: GroupView<'static>,
}

impl Rewriter<'_> {
    fn per_resource(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
        self.tally = Tally::default();
        let mut resource = Vec::new();
        let mut sound = Ok(());
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            if number == 1 {
                resource.clear();
                sound = self.outer(&RESOURCE, field.bytes()?, &mut resource);
            }
        }
        let service = ResourceView::parse(&resource, "").map_or("", |view| view.service());
        let service = service.to_owned();
        self.oldest = oldest_of(
            || service.clone(),
            self.rules.of_services,
            self.rules.oldest,
        );
        write::message_bytes(out, 1, &resource);
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                2 => {
                    let per_scope = field.bytes()?;
                    write::try_message(out, 2, |out| self.per_scope(per_scope, sound, out))?;
                }
                3 => self.name(field.bytes()?, 3, "schema_url", out),
                _ => {}
            }
        }
        if self.tally != Tally::default() {
            let tally = std::mem::take(&mut self.tally);
            let sum = self.result.services.entry(service).or_default();
            for (reason, n) in tally.rejected {
                *sum.rejected.entry(reason).or_default() += n;
            }
            for (cut, n) in tally.truncated {
                *sum.truncated.entry(cut).or_default() += n;
            }
        }
        Ok(())
    }

    /// `sound` is an error when the resource above could not be read: its records go with it.
    fn per_scope(
        &mut self,
        message: &[u8],
        mut sound: Result<(), WireError>,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            if number == 1 {
                let start = out.len();
                let raw = field.bytes()?;
                let read = write::try_message(out, 1, |out| self.outer(&SCOPE, raw, out));
                if read.is_err() {
                    out.truncate(start);
                    sound = sound.and(read);
                }
            }
        }
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                2 => {
                    let record = field.bytes()?;
                    self.one_record(record, sound, out);
                    self.record += 1;
                }
                3 => self.name(field.bytes()?, 3, "schema_url", out),
                _ => {}
            }
        }
        Ok(())
    }

    /// A resource or scope; its mark goes among its own attributes.
    fn outer(&mut self, schema: &Schema, raw: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
        let done = self.message(schema, raw, "", true, out);
        self.settle_cuts();
        done
    }

    fn one_record(&mut self, raw: &[u8], sound: Result<(), WireError>, out: &mut Vec<u8>) {
        let start = out.len();
        let schema = schema::record(self.rules.signal);
        let done = sound
            .and_then(|()| {
                write::try_message(out, 2, |out| self.message(schema, raw, "", true, out))
            })
            .and_then(|()| self.place(&out[start..]));
        let (reason, text) = match done {
            Ok(at) if at >= self.oldest => return self.settle_cuts(),
            Ok(_) => (Reason::TooOld, "older than the retention".to_owned()),
            Err(error @ WireError::BadIdLength(_)) => (Reason::BadId, error.to_string()),
            Err(error) => (Reason::Malformed, error.to_string()),
        };
        out.truncate(start);
        self.cuts.clear();
        self.result.rejected += 1;
        *self.tally.rejected.entry(reason).or_default() += 1;
        if self.result.told.len() < REASONS_TOLD_MAX {
            self.result
                .told
                .push(format!("record {}: {text}", self.record));
        }
    }

    /// Reads a rewritten record back: the proof that it is well-formed, and its place in time.
    fn place(&self, encoded: &[u8]) -> Result<Timestamp, WireError> {
        let mut fields = Fields::new(encoded);
        let (_, field) = fields.next()?.expect("one record was just written");
        let (raw, received) = (field.bytes()?, self.rules.received);
        let mut scratch = Scratch::default();
        match self.rules.signal {
            Signal::Logs => log_view(raw, &self.group, received, &mut scratch).map(|v| v.at),
            Signal::Traces => span_view(raw, &self.group, received, &mut scratch).map(|v| v.at),
            Signal::Metrics => unreachable!("metrics have a door of their own"),
        }
    }

    /// Counts the cuts of a finished message.
    fn settle_cuts(&mut self) {
        if self.cuts.is_empty() {
            return;
        }
        self.result.truncated += 1;
        for (cut, _) in self.cuts.drain(..) {
            *self.tally.truncated.entry(cut).or_default() += 1;
        }
    }

    /// Rewrites one message of a schema. `path` leads to it from its record; only the record itself
    /// (`marks`) carries the mark, and names what was cut below it too.
    fn message(
        &mut self,
        schema: &Schema,
        raw: &[u8],
        path: &str,
        marks: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let (mut attributes, mut dropped) = (0, 0u32);
        let mut told = 0u32;
        let mut fields = Fields::new(raw);
        while let Some((number, field)) = fields.next()? {
            let Some((name, part)) = schema.part(number) else {
                copy(out, number, field);
                continue;
            };
            match part {
                Part::Varint => write::varint_field(out, number, field.varint()?),
                Part::Fixed64 => write::fixed64_field(out, number, field.fixed64()?),
                Part::Fixed32 => write::fixed32_field(out, number, field.fixed32()?),
                Part::Dropped => told = field.varint()? as u32,
                Part::TraceId | Part::SpanId => write::bytes_field(out, number, id(part, field)?),
                Part::Name => self.name(field.bytes()?, number, &join(path, name), out),
                Part::Text => {
                    let max = self.rules.limits.value_bytes;
                    let text = self.text(field.bytes()?, max, Cut::Value, &join(path, name));
                    write::bytes_field(out, number, text.as_bytes());
                }
                Part::Body => {
                    let (raw, max) = (field.bytes()?, self.rules.limits.line_bytes);
                    let place = Place {
                        max,
                        cut: Cut::Line,
                        path: &join(path, name),
                    };
                    write::try_message(out, number, |out| self.any_value(raw, 1, &place, out))?;
                }
                Part::Attribute => {
                    let raw = field.bytes()?;
                    if attributes >= self.rules.limits.attributes && !is_mark(raw) {
                        dropped += 1;
                        continue;
                    }
                    attributes += usize::from(!is_mark(raw));
                    let path = join(path, name);
                    write::try_message(out, number, |out| self.attribute(raw, &path, out))?;
                }
                Part::Message(inner) => {
                    let (raw, path) = (field.bytes()?, join(path, name));
                    write::try_message(out, number, |out| {
                        self.message(inner, raw, &path, false, out)
                    })?;
                }
            }
        }
        if dropped > 0 {
            self.cuts.push((Cut::Attributes, join(path, "attributes")));
        }
        if marks && !self.cuts.is_empty() {
            let text = mark_text(&self.cuts);
            write::key_value(out, schema.attribute, TRUNCATED, ValueRef::Str(&text));
        }
        if schema.dropped != 0 {
            write::varint_field(out, schema.dropped, u64::from(told.saturating_add(dropped)));
        }
        Ok(())
    }

    fn name(&mut self, raw: &[u8], number: u32, path: &str, out: &mut Vec<u8>) {
        let text = self.text(raw, self.rules.limits.name_bytes, Cut::Name, path);
        write::bytes_field(out, number, text.as_bytes());
    }

    /// Mends, then cuts between characters.
    fn text<'t>(&mut self, raw: &'t [u8], max: usize, cut: Cut, path: &str) -> Text<'t> {
        let text = String::from_utf8_lossy(raw);
        self.result.mended += u64::from(matches!(text, Text::Owned(_)));
        if text.len() <= max {
            return text;
        }
        self.cuts.push((cut, path.to_owned()));
        let end = text.floor_char_boundary(max);
        match text {
            Text::Borrowed(text) => Text::Borrowed(&text[..end]),
            Text::Owned(mut text) => {
                text.truncate(end);
                Text::Owned(text)
            }
        }
    }

    fn attribute(&mut self, raw: &[u8], path: &str, out: &mut Vec<u8>) -> Result<(), WireError> {
        let (mut key, mut value): (&[u8], Option<&[u8]>) = (&[], None);
        let mut fields = Fields::new(raw);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => key = field.bytes()?,
                2 => value = Some(field.bytes()?),
                _ => {}
            }
        }
        let key = self.text(key, self.rules.limits.name_bytes, Cut::Name, path);
        write::bytes_field(out, 1, key.as_bytes());
        let Some(value) = value else { return Ok(()) };
        let place = Place {
            max: self.rules.limits.value_bytes,
            cut: Cut::Value,
            path: &join(path, &key),
        };
        write::try_message(out, 2, |out| self.any_value(value, 1, &place, out))
    }

    /// Writes the content of an AnyValue at level `depth`; the last member of its oneof counts.
    fn any_value(
        &mut self,
        raw: &[u8],
        depth: usize,
        place: &Place<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let mut member = None;
        let mut fields = Fields::new(raw);
        while let Some((number, field)) = fields.next()? {
            if (1..=7).contains(&number) {
                member = Some((number, field));
            }
        }
        match member {
            None => {}
            Some((1, field)) => {
                let text = self.text(field.bytes()?, place.max, place.cut, place.path);
                write::any_value(out, ValueRef::Str(&text));
            }
            Some((2, field)) => write::any_value(out, ValueRef::Bool(field.varint()? != 0)),
            Some((3, field)) => write::any_value(out, ValueRef::Int(field.varint()? as i64)),
            Some((4, field)) => {
                write::any_value(out, ValueRef::Double(f64::from_bits(field.fixed64()?)));
            }
            Some((7, field)) => {
                let mut bytes = field.bytes()?;
                if bytes.len() > place.max {
                    self.cuts.push((place.cut, place.path.to_owned()));
                    bytes = &bytes[..place.max];
                }
                write::any_value(out, ValueRef::Bytes(bytes));
            }
            Some((number, field)) => {
                let list = field.bytes()?;
                if depth >= DEPTH_MAX && !list.is_empty() {
                    self.cuts.push((Cut::Nesting, place.path.to_owned()));
                    write::any_value(out, ValueRef::Str(NESTING_CUT));
                    return Ok(());
                }
                write::try_message(out, number, |out| {
                    self.list(list, number == 6, depth + 1, place, out)
                })?;
            }
        }
        Ok(())
    }

    /// The elements of an array or map, as many as fit.
    fn list(
        &mut self,
        list: &[u8],
        is_map: bool,
        depth: usize,
        place: &Place<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let start = out.len();
        let mut fields = Fields::new(list);
        while let Some((number, field)) = fields.next()? {
            if number != 1 {
                continue;
            }
            let (element, element_at) = (field.bytes()?, out.len());
            write::try_message(out, 1, |out| match is_map {
                true => self.entry(element, depth, place, out),
                false => self.any_value(element, depth, place, out),
            })?;
            if out.len() - start > place.max {
                out.truncate(element_at);
                self.cuts.push((place.cut, place.path.to_owned()));
                return Ok(());
            }
        }
        Ok(())
    }

    /// One entry of a map.
    fn entry(
        &mut self,
        raw: &[u8],
        depth: usize,
        place: &Place<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let mut fields = Fields::new(raw);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => self.name(field.bytes()?, 1, place.path, out),
                2 => {
                    let value = field.bytes()?;
                    write::try_message(out, 2, |out| self.any_value(value, depth, place, out))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

type Text<'t> = std::borrow::Cow<'t, str>;

/// Where a value stands and how long it may be.
struct Place<'p> {
    max: usize,
    cut: Cut,
    path: &'p str,
}

/// The bytes of an id field, whose length is right or zero.
fn id<'f>(part: Part, field: Field<'f>) -> Result<&'f [u8], WireError> {
    let raw = field.bytes()?;
    let checked = match part {
        Part::TraceId => TraceId::from_field(raw).map(|_| raw),
        _ => SpanId::from_field(raw).map(|_| raw),
    };
    checked.map_err(|bad| WireError::BadIdLength(bad.0))
}

fn copy(out: &mut Vec<u8>, number: u32, field: Field<'_>) {
    match field {
        Field::Varint(value) => write::varint_field(out, number, value),
        Field::Fixed64(value) => write::fixed64_field(out, number, value),
        Field::Fixed32(value) => write::fixed32_field(out, number, value),
        Field::Bytes(bytes) => write::message_bytes(out, number, bytes),
    }
}

fn join(path: &str, name: &str) -> String {
    match (path, name) {
        ("", name) => name.to_owned(),
        (path, "") => path.to_owned(),
        (path, name) => format!("{path}.{name}"),
    }
}

/// Whether an encoded attribute is a mark from an earlier admission: it does not count.
fn is_mark(key_value: &[u8]) -> bool {
    matches!(Fields::new(key_value).next(), Ok(Some((1, Field::Bytes(key)))) if key == TRUNCATED.as_bytes())
}

/// The names of what was cut, each once.
fn mark_text(cuts: &[(Cut, String)]) -> String {
    let mut text = String::new();
    for (i, (_, path)) in cuts.iter().enumerate() {
        if cuts[..i].iter().any(|(_, before)| before == path) {
            continue;
        }
        let separator = if text.is_empty() { "" } else { ", " };
        if text.len() + separator.len() + path.len() > MARK_BYTES_MAX {
            text.push_str(", ...");
            break;
        }
        text.push_str(separator);
        text.push_str(path);
    }
    text
}
