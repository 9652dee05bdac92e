//! Masks secrets in place in a request, before anything is written (design.md section 3).
//!
//! Lengths stay, so that the encoding stays; a masked request no longer equals the bytes on the
//! wire and is logged decompressed. Cost: one SIMD pass over the request, then only records with a
//! trigger in them are read.

use std::collections::BTreeMap;

use super::limits::DEPTH_MAX;
use super::schema::{self, Part, RESOURCE, SCOPE, Schema};
use super::secrets::{self, Rule, Secret, Shape};
use crate::model::Signal;
use crate::model::wire::{Fields, Slice, WireError};

/// Which rules are on (setting `ingest.redact`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Redact {
    pub(crate) credentials: bool,
    pub(crate) cards: bool,
    pub(crate) emails: bool,
}

impl Redact {
    pub(crate) const OFF: Redact = Redact {
        credentials: false,
        cards: false,
        emails: false,
    };

    const fn reads_all_text(self) -> bool {
        self.cards || self.emails
    }
}

/// What stands in place of every byte of a secret.
const MASK: u8 = b'*';

/// How many values each rule masked.
pub(crate) type Masked = BTreeMap<Rule, u64>;

/// Masks the secrets of a request.
pub(super) fn redact(request: &mut [u8], signal: Signal, rules: Redact) -> Masked {
    let mut hits = Vec::new();
    if rules.credentials {
        hits.extend(secrets::triggers(request).map(|hit| hit.start));
    }
    if hits.is_empty() && !rules.reads_all_text() {
        return Masked::new();
    }
    let mut finder = Finder {
        request,
        rules,
        hits: &hits,
        found: Vec::new(),
    };
    // A frame that is malformed is refused by admission: what was found until there is enough.
    _ = finder.request(signal);
    let found = finder.found;
    let mut masked = Masked::new();
    for Secret { rule, range, shape } in found {
        *masked.entry(rule).or_default() += 1;
        match shape {
            Shape::Text => request[range].fill(MASK),
            Shape::Json => mask_json(&mut request[range]),
        }
    }
    masked
}

/// Numbers become ones, strings stay strings.
fn mask_json(secret: &mut [u8]) {
    let mut in_string = false;
    for byte in secret {
        match *byte {
            b'"' => in_string = !in_string,
            _ if in_string => *byte = MASK,
            b'0'..=b'9' => *byte = b'1',
            _ => {}
        }
    }
}

struct Finder<'a> {
    request: &'a [u8],
    rules: Redact,
    /// Offsets of triggers, ascending.
    hits: &'a [usize],
    /// Ranges of the request.
    found: Vec<Secret>,
}

impl<'a> Finder<'a> {
    fn request(&mut self, signal: Signal) -> Result<(), WireError> {
        let mut fields = Fields::new(self.request);
        while let Some((number, field)) = fields.next()? {
            if number == 1 {
                let per_resource = field.bytes()?;
                self.level(per_resource, &RESOURCE, |finder, per_scope| {
                    finder.level(per_scope, &SCOPE, |finder, record| {
                        if finder.wants(record) {
                            finder.message(schema::record(signal), record);
                        }
                        Ok(())
                    })
                })?;
            }
        }
        Ok(())
    }

    /// Field 1 by `header`, every field 2 by `inner`.
    fn level(
        &mut self,
        message: &'a [u8],
        header: &Schema,
        mut inner: impl FnMut(&mut Finder<'a>, &'a [u8]) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        if !self.wants(message) {
            return Ok(());
        }
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => {
                    let raw = field.bytes()?;
                    if self.wants(raw) {
                        self.message(header, raw);
                    }
                }
                2 => inner(self, field.bytes()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a part of the request has a trigger in it.
    fn wants(&self, part: &[u8]) -> bool {
        let slice = Slice::of(self.request, part);
        let (start, end) = (slice.start as usize, (slice.start + slice.len) as usize);
        let before = self.hits.partition_point(|hit| *hit < start);
        self.rules.reads_all_text() || self.hits.get(before).is_some_and(|hit| *hit < end)
    }

    /// A malformed message ends early: its record is refused later.
    fn message(&mut self, schema: &Schema, raw: &'a [u8]) {
        let mut fields = Fields::new(raw);
        while let Ok(Some((number, field))) = fields.next() {
            let (Some((_, part)), Ok(raw)) = (schema.part(number), field.bytes()) else {
                continue;
            };
            match part {
                Part::Name | Part::Text => self.text(raw),
                Part::Body => self.any_value(raw, false, 1),
                Part::Attribute => self.key_value(raw, false, 1),
                Part::Message(schema) => self.message(schema, raw),
                Part::Varint | Part::Fixed64 | Part::Fixed32 => {}
                Part::TraceId | Part::SpanId | Part::Dropped => {}
            }
        }
    }

    fn key_value(&mut self, raw: &'a [u8], secret: bool, depth: usize) {
        let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
        let mut fields = Fields::new(raw);
        while let Ok(Some((number, field))) = fields.next() {
            match (number, field.bytes()) {
                (1, Ok(bytes)) => key = bytes,
                (2, Ok(bytes)) => value = bytes,
                _ => {}
            }
        }
        let secret = secret || (self.rules.credentials && secrets::is_secret_key(key));
        self.any_value(value, secret, depth);
    }

    fn any_value(&mut self, raw: &'a [u8], secret: bool, depth: usize) {
        // Deeper levels are cut by admission and never stored.
        if depth > DEPTH_MAX {
            return;
        }
        let mut fields = Fields::new(raw);
        while let Ok(Some((number, field))) = fields.next() {
            match (number, field.bytes()) {
                (1 | 7, Ok(text)) if secret => self.whole(text),
                (1, Ok(text)) => self.text(text),
                (5 | 6, Ok(list)) => {
                    let mut elements = Fields::new(list);
                    while let Ok(Some((1, element))) = elements.next() {
                        match element.bytes() {
                            Ok(element) if number == 6 => {
                                self.key_value(element, secret, depth + 1)
                            }
                            Ok(element) => self.any_value(element, secret, depth + 1),
                            Err(_) => {}
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn text(&mut self, text: &'a [u8]) {
        let (rules, start) = (self.rules, Slice::of(self.request, text).start as usize);
        let mut add = |secret: Secret| {
            let range = start + secret.range.start..start + secret.range.end;
            self.found.push(Secret { range, ..secret });
        };
        if rules.credentials {
            secrets::credentials(text, &mut add);
        }
        if rules.cards {
            secrets::cards(text, &mut add);
        }
        if rules.emails {
            secrets::emails(text, &mut add);
        }
    }

    /// A whole value under a secret's key.
    fn whole(&mut self, value: &[u8]) {
        if !value.is_empty() {
            let start = Slice::of(self.request, value).start as usize;
            let range = start..start + value.len();
            self.found.push(Secret {
                rule: Rule::Key,
                range,
                shape: Shape::Text,
            });
        }
    }
}
