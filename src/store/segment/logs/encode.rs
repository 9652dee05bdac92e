//! Writing log segments, block after block.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::io::{self, Write};

use memchr::memmem;

use crate::model::record::{Lifted, severity_of};
use crate::model::{
    LogView, ProjectId, ResourceView, ScopeView, Timestamp, TraceId, ValueRef, write,
};
use crate::store::LogPrune;

use super::super::column::{Encoder, ints, push_hex};
use super::super::dictionary::DictionaryBuilder;
use super::super::directory::{Block, Directory, Part};
use super::super::file::{Output, SegmentFacts, Tag};
use super::super::interner::Interner;
use super::super::times::TimeColumn;
use super::super::tokens::{self, Token};
use super::super::values::{Groups, Layout, Slot, ValueRows};
use super::super::{Format, Grade};
use super::facts::{LogBlockFacts, Steps};
use super::miner::{AsIs, Split};
use super::shape::{self, Kept, LogShape, Template};
use super::template::{self, Variable};
use super::words::Words;
use super::{BLOCK_BYTES_MAX, BLOCK_ROWS_MAX, Logs};

/// In a plain body: the hexadecimal of the record's own trace id and span id. Both bytes never occur
/// in UTF-8.
pub(super) const OWN_TRACE: u8 = 0xff;
pub(super) const OWN_SPAN: u8 = 0xfe;

/// The same as the whole value of a template's variable: texts with these bytes are not split.
pub(super) const OWN_TRACE_VARIABLE: &str = "\u{1}";
pub(super) const OWN_SPAN_VARIABLE: &str = "\u{2}";

/// Numbers of a record's resource, scope and service in the part being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupNumbers {
    resource: u32,
    scope: u32,
    pub(super) service: u32,
}

/// Where the dictionary has the templates met before, by their names.
type TemplateTexts = HashMap<u64, u32, BuildHasherDefault<AsIs>>;

/// Writes one segment of one part. Records come block by block: by service, then by place in time.
#[derive(Debug)]
pub(super) struct LogWriter {
    /// What was not yet drained, and how many bytes were.
    out: Vec<u8>,
    drained: u64,
    directory: Directory<Logs>,
    dictionary: DictionaryBuilder<LogShape>,
    services: Interner,
    traces: HashMap<TraceId, u32, BuildHasherDefault<AsIs>>,
    trace_ids: Vec<u8>,
    templates: TemplateTexts,
    tokens: Vec<Token>,
    encoder: Encoder,
    block: OpenBlock,
    facts: SegmentFacts,
}

/// The rows of the block being filled.
#[derive(Debug, Default)]
struct OpenBlock {
    service: u32,
    levels: u32,
    /// The level that counts of each row.
    row_levels: Vec<u8>,
    shapes: Vec<u32>,
    resources: Vec<u64>,
    at: Vec<u64>,
    times: TimeColumn,
    observed: TimeColumn,
    traces: Vec<u64>,
    spans: Vec<u64>,
    bodies: ValueRows,
    attributes: ValueRows,
    raw: ValueRows,
    words: Words,
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Scratch {
    key: Vec<u8>,
    template: Vec<u8>,
    hex: Vec<u8>,
    own_trace: OwnId,
    own_span: OwnId,
}

impl LogWriter {
    /// `traces` are the distinct trace ids of the records to come, in order of first appearance in time,
    /// which makes their numbers small steps; others get numbers as they come.
    pub(super) fn new(traces: &[TraceId], grade: Grade) -> LogWriter {
        let mut out = Vec::new();
        Output::start(&mut out, Logs::MAGIC).expect("writing to memory does not fail");
        let numbers = traces.iter().zip(1..);
        LogWriter {
            out,
            drained: 0,
            directory: Directory::default(),
            dictionary: DictionaryBuilder::default(),
            services: Interner::default(),
            traces: numbers.map(|(id, number)| (*id, number)).collect(),
            trace_ids: traces.iter().flat_map(|id| id.0).collect(),
            templates: TemplateTexts::default(),
            tokens: Vec::new(),
            encoder: Encoder::new(grade),
            block: OpenBlock::default(),
            facts: SegmentFacts::default(),
        }
    }

    /// Gives what was written so far to `out` and forgets it.
    pub(super) fn drain(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.out)?;
        self.drained += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    fn offset(&self) -> u64 {
        self.drained + self.out.len() as u64
    }

    /// Takes a resource and scope into the part.
    pub(super) fn group(
        &mut self,
        project: ProjectId,
        resource: &ResourceView<'_>,
        scope: &ScopeView<'_>,
    ) -> GroupNumbers {
        GroupNumbers {
            resource: self.dictionary.resource(project, resource),
            scope: self.dictionary.scope(scope),
            service: self.services.intern(resource.service().as_bytes()),
        }
    }

    /// Adds a record; `group` numbers its resource and scope, `split` is its body when that is to be
    /// kept with its template.
    pub(super) fn push(
        &mut self,
        log: &LogView<'_>,
        group: GroupNumbers,
        split: Option<Split<'_>>,
    ) {
        let block = &self.block;
        let full = block.shapes.len() >= BLOCK_ROWS_MAX || block.n_bytes() >= BLOCK_BYTES_MAX;
        if !block.shapes.is_empty() && (full || block.service != group.service) {
            self.cut();
        }
        let trace = log.trace_id.map_or(0, |id| self.trace(id));
        self.block.service = group.service;
        self.block.push_row(log, group, u64::from(trace));
        self.block.push_values(
            &mut self.dictionary,
            log,
            group.scope,
            split,
            &mut self.templates,
        );
    }

    /// The number of a trace id.
    fn trace(&mut self, id: TraceId) -> u32 {
        let next = self.traces.len() as u32 + 1;
        *self.traces.entry(id).or_insert_with(|| {
            self.trace_ids.extend_from_slice(&id.0);
            next
        })
    }

    /// Writes the open block.
    pub(super) fn cut(&mut self) {
        let offset = self.offset();
        let block = &mut self.block;
        let (Some(&first), Some(&last)) = (block.at.first(), block.at.last()) else {
            return;
        };
        assert!(block.at.is_sorted(), "records come in order of time");
        self.facts.absorb(&SegmentFacts {
            rows: block.at.len() as u64,
            first: Timestamp(first),
            last: Timestamp(last),
            ..SegmentFacts::default()
        });
        let number = self.directory.blocks.len() as u32;
        self.directory.blocks.push(Block {
            part: 0,
            offset,
            rows: block.at.len() as u32,
            first: Timestamp(first),
            last: Timestamp(last),
            facts: block.facts(),
        });
        block.write(
            &self.dictionary,
            &mut self.encoder,
            &mut self.out,
            &mut self.directory,
        );
        block.add_tokens(number, &self.trace_ids, &mut self.tokens);
        block.clear();
    }

    /// Writes what is left and the sections; returns the file.
    pub(super) fn finish(mut self, raw_bytes: u64) -> (Vec<u8>, SegmentFacts) {
        self.cut();
        let mut part = Part {
            dictionary: self.offset(),
            ..Part::default()
        };
        self.dictionary.put(&mut self.encoder, &mut self.out);
        part.dictionary_len = self.offset() - part.dictionary;
        part.traces = self.offset();
        part.n_traces = (self.trace_ids.len() / 16) as u64;
        self.out.extend_from_slice(&self.trace_ids);
        let crc = crc32fast::hash(&self.trace_ids);
        self.out.extend_from_slice(&crc.to_le_bytes());
        self.directory.parts.push(part);
        self.directory.services = self.services.texts();
        tokens::sort(&mut self.tokens);
        let (mut table, mut directory) = (Vec::new(), Vec::new());
        self.directory.token_starts = tokens::put_table(&mut table, &self.tokens);
        self.directory.put(&mut self.encoder, &mut directory);
        let facts = SegmentFacts {
            raw_bytes,
            ..self.facts
        };
        let data_end = self.offset();
        let mut output = Output::resume(&mut self.out, data_end, Logs::MAGIC);
        let facts = output
            .section(Tag::Tokens, false, &table)
            .and_then(|()| output.section(Tag::Directory, true, &directory))
            .and_then(|()| output.finish(facts))
            .expect("writing to memory does not fail");
        (self.out, facts)
    }
}

impl OpenBlock {
    fn n_bytes(&self) -> usize {
        self.bodies.arena.len() + self.attributes.arena.len() + self.raw.arena.len()
    }

    fn push_row(&mut self, log: &LogView<'_>, group: GroupNumbers, trace: u64) {
        self.resources.push(u64::from(group.resource));
        self.levels |= LogPrune::bit(log.severity.level());
        let severity = severity_of(log.severity, log.severity_text);
        self.row_levels.push(severity.level() as u8);
        let at = log.at.0;
        self.at.push(at);
        self.times.push(at, log.time.0);
        self.observed.push(at, log.observed.0);
        self.traces.push(trace);
        let span = log.span_id.map_or(0, |id| u64::from_be_bytes(id.0));
        self.spans.push(span);
        self.bodies.start_row();
        self.attributes.start_row();
        self.raw.start_row();
    }

    fn push_values(
        &mut self,
        dictionary: &mut DictionaryBuilder<LogShape>,
        log: &LogView<'_>,
        scope: u32,
        split: Option<Split<'_>>,
        known: &mut TemplateTexts,
    ) {
        let template = split.and_then(|split| self.template(dictionary, log, split, known));
        let key = &mut self.scratch.key;
        let (shape, kept) = shape::intern(dictionary, key, scope, log, template);
        self.shapes.push(shape);
        match (kept, log.body) {
            (Kept::Raw, _) => {
                self.words.add_any();
                return self.push_raw(log);
            }
            (Kept::Template, ValueRef::Str(text)) => {
                let variables = split.map_or(&[][..], |split| split.variables);
                self.push_variables(text.as_bytes(), variables, log);
            }
            (Kept::Columns, ValueRef::Str(text)) => {
                self.words.add(text.as_bytes());
                self.push_body_text(text, log);
            }
            (Kept::Columns | Kept::Template, other) => {
                if other != ValueRef::Empty {
                    self.words.add_any();
                }
                self.bodies.push(other);
            }
        }
        for attr in log.attributes {
            self.attributes.push(attr.value);
        }
    }

    /// The template of a split text; `None` when the dictionary has no room for it.
    fn template(
        &mut self,
        dictionary: &mut DictionaryBuilder<LogShape>,
        log: &LogView<'_>,
        Split { name, variables }: Split<'_>,
        known: &mut TemplateTexts,
    ) -> Option<Template> {
        let text = log.body.as_str()?.as_bytes();
        let is_its = |number: &u32| template::is_of(dictionary.text_of(*number), text, variables);
        let number = match known.get(&name).copied().filter(is_its) {
            Some(number) => number,
            None => {
                let template = &mut self.scratch.template;
                template.clear();
                template::put_template(template, text, variables);
                let number = dictionary.template(template)?;
                known.insert(name, number);
                number
            }
        };
        Some(Template {
            text: number,
            n_variables: variables.len() as u32,
        })
    }

    fn push_raw(&mut self, log: &LogView<'_>) {
        let start = self.raw.arena.len();
        // Lifted fields are written too: the shape says which of them were not sent.
        let whole = LogView {
            lifted: Lifted::default(),
            ..*log
        };
        write::log_record(&mut self.raw.arena, &whole);
        self.raw.push_since(start);
    }

    /// The variables of a text; the record's own ids as one byte.
    fn push_variables(&mut self, text: &[u8], variables: &[Variable], log: &LogView<'_>) {
        for variable in variables {
            let value = variable.of(text);
            let value = match (value.len(), log.trace_id, log.span_id) {
                (32, Some(id), _) if is_hex_of(value, &id.0) => OWN_TRACE_VARIABLE.as_bytes(),
                (16, _, Some(id)) if is_hex_of(value, &id.0) => OWN_SPAN_VARIABLE.as_bytes(),
                _ => value,
            };
            self.bodies.push_bytes(value);
        }
    }

    /// A body with the record's own ids replaced by one byte each: real logs repeat them, and 48
    /// random hexadecimal digits are most of what is left of a compressed line.
    fn push_body_text(&mut self, text: &str, log: &LogView<'_>) {
        let (text, hex) = (text.as_bytes(), &mut self.scratch.hex);
        hex.clear();
        if let Some(id) = log.trace_id {
            push_hex(hex, &id.0);
        }
        let n_trace = hex.len();
        if let Some(id) = log.span_id {
            push_hex(hex, &id.0);
        }
        let (trace, span) = hex.split_at(n_trace);
        let trace_at = self.scratch.own_trace.find(text, trace);
        let span_at = self.scratch.own_span.find(text, span);
        let mut marks = [
            (trace_at, trace.len(), OWN_TRACE),
            (span_at, span.len(), OWN_SPAN),
        ];
        marks.sort_unstable();
        let (start, mut done) = (self.bodies.arena.len(), 0);
        for (at, len, mark) in marks {
            // Marks may overlap when a span id is part of its trace id: the first one stays.
            if let Some(at) = at.filter(|at| *at >= done) {
                self.bodies.arena.extend_from_slice(&text[done..at]);
                self.bodies.arena.push(mark);
                done = at + len;
            }
        }
        self.bodies.arena.extend_from_slice(&text[done..]);
        self.bodies.push_since(start);
    }

    fn facts(&self) -> LogBlockFacts {
        let mut shapes: Vec<(u32, u32)> = self.shapes.iter().map(|shape| (*shape, 1)).collect();
        shapes.sort_unstable();
        shapes.dedup_by(|later, first| {
            let same = later.0 == first.0;
            first.1 += u32::from(same);
            same
        });
        LogBlockFacts {
            service: self.service,
            levels: self.levels,
            shapes: shapes.into(),
            steps: Steps::of(&self.at, &self.row_levels),
        }
    }

    fn add_tokens(&self, block: u32, trace_ids: &[u8], tokens: &mut Vec<Token>) {
        let mut seen: Vec<u64> = self.traces.iter().copied().filter(|t| *t != 0).collect();
        seen.sort_unstable();
        seen.dedup();
        tokens.extend(seen.iter().map(|number| {
            let at = (*number as usize - 1) * 16;
            let hash = tokens::hash(&trace_ids[at..at + 16]);
            Token { hash, block }
        }));
        tokens.extend(self.words.hashes().map(|hash| Token { hash, block }));
    }

    /// Adds the words of variables on the way: of each column only what is not repeated.
    fn write(
        &mut self,
        dictionary: &DictionaryBuilder<LogShape>,
        encoder: &mut Encoder,
        out: &mut Vec<u8>,
        directory: &mut Directory<Logs>,
    ) {
        let groups = Groups::of(&self.shapes, dictionary.shapes().len());
        let layout = |slots: for<'s> fn(&'s LogShape) -> &'s [Slot]| {
            Layout::of(&groups, |shape| slots(&dictionary.shapes()[shape as usize]))
        };
        let shapes: Vec<u64> = self.shapes.iter().map(|shape| u64::from(*shape)).collect();
        let mut finish = |encoder: &mut Encoder| directory.families.push(encoder.finish(out));
        ints::put(encoder, &shapes);
        ints::put(encoder, &self.resources);
        ints::put(encoder, &self.at);
        finish(encoder);
        self.times.put(encoder);
        self.observed.put(encoder);
        finish(encoder);
        ints::put(encoder, &self.traces);
        ints::put(encoder, &self.spans);
        finish(encoder);
        let bodies = Layout::by_rows(&groups, |shape, n_rows| {
            dictionary.shapes()[shape as usize].body_slots(n_rows)
        });
        let words = &mut self.words;
        self.bodies
            .put_telling(&bodies, encoder, |variable| words.add(variable));
        finish(encoder);
        let attributes = layout(LogShape::attribute_slots);
        self.attributes.put(&attributes, encoder);
        finish(encoder);
        self.raw.put(&layout(LogShape::raw_slots), encoder);
        finish(encoder);
    }

    fn clear(&mut self) {
        self.levels = 0;
        self.scratch.own_trace = OwnId::default();
        self.scratch.own_span = OwnId::default();
        self.shapes.clear();
        self.row_levels.clear();
        for column in [
            &mut self.resources,
            &mut self.at,
            &mut self.traces,
            &mut self.spans,
        ] {
            column.clear();
        }
        self.times.clear();
        self.observed.clear();
        self.bodies.clear();
        self.attributes.clear();
        self.raw.clear();
        self.words.clear();
    }
}

/// Whether `text` is the lower-case hexadecimal of an id.
fn is_hex_of(text: &[u8], id: &[u8]) -> bool {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.chunks_exact(2).zip(id).all(|(pair, byte)| {
        pair == [
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ]
    })
}

/// Searches that fail in a row before only one record in [`FINDS_SKIPPED`] is searched.
const MISSES_MAX: u32 = 32;
const FINDS_SKIPPED: u32 = 8;

/// Finds an id in the bodies of a block. It looks where the last record had its id before it searches,
/// and hardly searches where bodies have no ids: a missed one costs bytes, never truth.
#[derive(Debug, Default)]
struct OwnId {
    last_at: usize,
    misses: u32,
}

impl OwnId {
    fn find(&mut self, text: &[u8], id: &[u8]) -> Option<usize> {
        if id.is_empty() || text.len() < id.len() {
            return None;
        }
        if text.get(self.last_at..self.last_at + id.len()) == Some(id) {
            return Some(self.last_at);
        }
        if self.misses >= MISSES_MAX && !self.misses.is_multiple_of(FINDS_SKIPPED) {
            self.misses += 1;
            return None;
        }
        let found = memmem::find(text, id);
        match found {
            Some(at) => (self.last_at, self.misses) = (at, 0),
            None => self.misses = self.misses.saturating_add(1),
        }
        found
    }
}
