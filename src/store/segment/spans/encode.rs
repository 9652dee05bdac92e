//! Writing span segments, trace after trace.

use crate::model::otlp::GroupView;
use crate::model::{ProjectId, RedTable, SpanView, Timestamp, TraceId, TraceSummary, write};

use super::super::Format;
use super::super::column::strings::{self, Piece};
use super::super::column::{Encoder, ints};
use super::super::cursor::zigzag;
use super::super::dictionary::DictionaryBuilder;
use super::super::directory::{Block, Directory, Part};
use super::super::file::{Output, SegmentFacts, Tag};
use super::super::interner::Interner;
use super::super::times::TimeColumn;
use super::super::tokens::{self, Token};
use super::super::values::{Groups, Layout, Slot, ValueRows};
use super::shape::{self, SpanShape};
use super::{BLOCK_BYTES_MAX, BLOCK_ROWS_MAX, SpanBlockFacts, Spans, red_section, summaries};

/// How a parent is told: there is none, by its id, or (from here on, zigzag) by how many rows it
/// lies before its child.
pub(super) const PARENT_NONE: u64 = 0;
pub(super) const PARENT_BY_ID: u64 = 1;
pub(super) const PARENT_IN_BLOCK: u64 = 2;

/// Numbers of a span's resource, scope and service in the part being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupNumbers {
    resource: u32,
    scope: u32,
    service: u32,
}

/// Writes one segment of one part. Spans come trace by trace, in order of trace ids.
#[derive(Debug)]
pub(super) struct SpanWriter {
    out: Vec<u8>,
    directory: Directory<Spans>,
    dictionary: DictionaryBuilder<SpanShape>,
    services: Interner,
    tokens: Vec<Token>,
    encoder: Encoder,
    block: OpenBlock,
    summaries: Vec<TraceSummary>,
    red: RedTable,
    facts: SegmentFacts,
}

/// The rows of the block being filled.
#[derive(Debug, Default)]
struct OpenBlock {
    shapes: Vec<u32>,
    resources: ValueRows,
    services: Vec<u32>,
    /// Distinct trace ids in order, and how many rows each has here.
    traces: Vec<TraceId>,
    trace_rows: Vec<u64>,
    spans: Vec<u64>,
    parents: Vec<u64>,
    at: Vec<u64>,
    places: TimeColumn,
    starts: Vec<u64>,
    durations: Vec<u64>,
    errors: u32,
    duration_min_ns: u64,
    duration_max_ns: u64,
    attributes: ValueRows,
    raw: ValueRows,
    states: TextColumn,
    messages: TextColumn,
    events: ListColumn,
    links: ListColumn,
    key: Vec<u8>,
}

/// A column of texts.
#[derive(Debug, Default)]
struct TextColumn {
    arena: Vec<u8>,
    pieces: Vec<u64>,
}

/// A column of lists of encoded messages.
#[derive(Debug, Default)]
struct ListColumn {
    lengths: Vec<u64>,
    messages: TextColumn,
}

impl TextColumn {
    fn push(&mut self, bytes: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.pieces.push(Piece::since(&self.arena, start).0);
    }

    fn put(&self, encoder: &mut Encoder) {
        strings::put(encoder, &self.arena, &self.pieces);
    }

    fn clear(&mut self) {
        self.arena.clear();
        self.pieces.clear();
    }
}

impl ListColumn {
    fn push(&mut self, messages: &[&[u8]]) {
        self.lengths.push(messages.len() as u64);
        messages.iter().for_each(|bytes| self.messages.push(bytes));
    }

    fn put(&self, encoder: &mut Encoder) {
        ints::put(encoder, &self.lengths);
        self.messages.put(encoder);
    }

    fn clear(&mut self) {
        self.lengths.clear();
        self.messages.clear();
    }
}

impl SpanWriter {
    pub(super) fn new() -> SpanWriter {
        let mut out = Vec::new();
        Output::start(&mut out, Spans::MAGIC).expect("writing to memory does not fail");
        SpanWriter {
            out,
            directory: Directory::default(),
            dictionary: DictionaryBuilder::default(),
            services: Interner::default(),
            tokens: Vec::new(),
            encoder: Encoder::default(),
            block: OpenBlock::default(),
            summaries: Vec::new(),
            red: RedTable::default(),
            facts: SegmentFacts::default(),
        }
    }

    /// Takes a resource and scope into the part.
    pub(super) fn group(&mut self, project: ProjectId, group: &GroupView<'_>) -> GroupNumbers {
        GroupNumbers {
            resource: self.dictionary.resource(project, &group.resource),
            scope: self.dictionary.scope(&group.scope),
            service: self.services.intern(group.resource.service().as_bytes()),
        }
    }

    /// Says that the next `n_rows` spans are those of one trace: it stays in one block if it fits.
    pub(super) fn start_trace(&mut self, id: TraceId, n_rows: usize) {
        if self.block.shapes.len() + n_rows > BLOCK_ROWS_MAX {
            self.cut();
        }
        self.summaries.push(TraceSummary::new(id));
    }

    pub(super) fn push(&mut self, span: &SpanView<'_>, group: GroupNumbers) {
        if self.block.shapes.len() >= BLOCK_ROWS_MAX || self.block.n_bytes() >= BLOCK_BYTES_MAX {
            self.cut();
        }
        let summary = self.summaries.last_mut();
        summary.expect("start_trace comes first").add(span);
        self.red.add(span);
        self.block.push(&mut self.dictionary, span, group);
    }

    /// Writes the open block.
    fn cut(&mut self) {
        let block = &mut self.block;
        let (Some(&first), Some(&last)) = (block.at.iter().min(), block.at.iter().max()) else {
            return;
        };
        assert!(
            block.traces.is_sorted(),
            "traces come in order of their ids"
        );
        let (first, last) = (Timestamp(first), Timestamp(last));
        self.facts.absorb(&SegmentFacts {
            rows: block.at.len() as u64,
            first,
            last,
            ..SegmentFacts::default()
        });
        let number = self.directory.blocks.len() as u32;
        self.tokens.extend(block.traces.iter().map(|id| Token {
            hash: tokens::hash(&id.0),
            block: number,
        }));
        block.services.sort_unstable();
        block.services.dedup();
        self.directory.blocks.push(Block {
            part: 0,
            offset: self.out.len() as u64,
            rows: block.at.len() as u32,
            first,
            last,
            facts: SpanBlockFacts {
                services: block.services.as_slice().into(),
                errors: block.errors,
                duration_min_ns: block.duration_min_ns,
                duration_max_ns: block.duration_max_ns,
            },
        });
        block.write(
            &self.dictionary,
            &mut self.encoder,
            &mut self.out,
            &mut self.directory,
        );
        block.clear();
    }

    /// Writes what is left and the sections; returns the file.
    pub(super) fn finish(mut self, raw_bytes: u64) -> (Vec<u8>, SegmentFacts) {
        self.cut();
        let mut part = Part {
            dictionary: self.out.len() as u64,
            ..Part::default()
        };
        self.dictionary.put(&mut self.encoder, &mut self.out);
        part.dictionary_len = self.out.len() as u64 - part.dictionary;
        part.traces = self.out.len() as u64;
        self.out
            .extend_from_slice(&crc32fast::hash(&[]).to_le_bytes());
        self.directory.parts.push(part);
        self.directory.services = self.services.texts();
        self.tokens.sort_unstable();
        let (mut table, mut directory) = (Vec::new(), Vec::new());
        self.directory.token_starts = tokens::put_table(&mut table, &self.tokens);
        self.directory.put(&mut self.encoder, &mut directory);
        let summaries = summaries::section(&mut self.encoder, &self.summaries);
        let facts = SegmentFacts {
            raw_bytes,
            ..self.facts
        };
        let data_end = self.out.len() as u64;
        let mut output = Output::resume(&mut self.out, data_end, Spans::MAGIC);
        let facts = output
            .section(Tag::Tokens, false, &table)
            .and_then(|()| output.section(Tag::Summaries, false, &summaries))
            .and_then(|()| output.section(Tag::Red, false, &red_section(&self.red)))
            .and_then(|()| output.section(Tag::Directory, true, &directory))
            .and_then(|()| output.finish(facts))
            .expect("writing to memory does not fail");
        (self.out, facts)
    }
}

impl OpenBlock {
    fn n_bytes(&self) -> usize {
        self.attributes.arena.len()
            + self.raw.arena.len()
            + self.states.arena.len()
            + self.messages.arena.len()
            + self.events.messages.arena.len()
            + self.links.messages.arena.len()
    }

    fn push(
        &mut self,
        dictionary: &mut DictionaryBuilder<SpanShape>,
        span: &SpanView<'_>,
        group: GroupNumbers,
    ) {
        let (shape, is_raw) = shape::intern(dictionary, &mut self.key, group.scope, span);
        if self.shapes.is_empty() {
            self.duration_min_ns = u64::MAX;
        }
        self.shapes.push(shape);
        self.resources.start_row();
        self.resources.push_number(u64::from(group.resource));
        if self.services.last() != Some(&group.service) {
            self.services.push(group.service);
        }
        if self.traces.last() != Some(&span.trace_id) {
            self.traces.push(span.trace_id);
            self.trace_rows.push(0);
        }
        *self.trace_rows.last_mut().expect("one was just pushed") += 1;
        self.spans.push(u64::from_be_bytes(span.span_id.0));
        let parent = span.parent.map_or(0, |id| u64::from_be_bytes(id.0));
        self.parents.push(parent);
        self.at.push(span.at.0);
        self.places.push(span.start.0, span.at.0);
        self.starts.push(span.start.0);
        self.durations.push(span.end.0.wrapping_sub(span.start.0));
        self.errors += u32::from(span.is_error());
        self.duration_min_ns = self.duration_min_ns.min(span.duration_ns());
        self.duration_max_ns = self.duration_max_ns.max(span.duration_ns());
        self.attributes.start_row();
        self.raw.start_row();
        if is_raw {
            let start = self.raw.arena.len();
            write::span(&mut self.raw.arena, span);
            self.raw.push_since(start);
            self.states.push(&[]);
            self.messages.push(&[]);
            self.events.push(&[]);
            self.links.push(&[]);
            return;
        }
        for attr in span.attributes {
            self.attributes.push(attr.value);
        }
        self.states.push(span.trace_state.as_bytes());
        self.messages.push(span.status_message.as_bytes());
        self.events.push(span.events);
        self.links.push(span.links);
    }

    fn write(
        &self,
        dictionary: &DictionaryBuilder<SpanShape>,
        encoder: &mut Encoder,
        out: &mut Vec<u8>,
        directory: &mut Directory<Spans>,
    ) {
        let groups = Groups::of(&self.shapes, dictionary.shapes().len());
        let layout = |slots: for<'s> fn(&'s SpanShape) -> &'s [Slot]| {
            Layout::of(&groups, |shape| slots(&dictionary.shapes()[shape as usize]))
        };
        let shapes: Vec<u64> = self.shapes.iter().map(|shape| u64::from(*shape)).collect();
        let parents = self.parent_rows();
        let mut finish = |encoder: &mut Encoder| directory.families.push(encoder.finish(out));
        ints::put(encoder, &shapes);
        self.resources
            .put(&layout(SpanShape::resource_slots), encoder);
        self.put_traces(encoder);
        finish(encoder);
        self.put_times(&parents, encoder);
        finish(encoder);
        self.put_ids(&parents, encoder);
        finish(encoder);
        self.states.put(encoder);
        finish(encoder);
        self.attributes
            .put(&layout(SpanShape::attribute_slots), encoder);
        finish(encoder);
        self.raw.put(&layout(SpanShape::raw_slots), encoder);
        finish(encoder);
        self.messages.put(encoder);
        finish(encoder);
        self.events.put(encoder);
        finish(encoder);
        self.links.put(encoder);
        finish(encoder);
    }

    fn put_traces(&self, encoder: &mut Encoder) {
        ints::put(encoder, &[self.traces.len() as u64]);
        ints::put(encoder, &self.trace_rows);
        let half = |from: usize| -> Vec<u64> {
            let halves = self.traces.iter().map(|id| id.0[from..].first_chunk::<8>());
            let bytes = halves.map(|half| *half.expect("a trace id has 16 bytes"));
            bytes.map(u64::from_be_bytes).collect()
        };
        ints::put(encoder, &half(0));
        ints::put(encoder, &half(8));
    }

    /// The row of each row's parent, where it is in the same trace and block.
    fn parent_rows(&self) -> Vec<Option<usize>> {
        let mut rows = Vec::with_capacity(self.spans.len());
        let mut by_id: Vec<(u64, usize)> = Vec::new();
        let mut first = 0;
        for &n in &self.trace_rows {
            let end = first + n as usize;
            by_id.clear();
            by_id.extend(self.spans[first..end].iter().copied().zip(first..));
            by_id.sort_unstable();
            rows.extend(self.parents[first..end].iter().map(|parent| {
                let at = by_id.binary_search_by_key(parent, |(id, _)| *id).ok()?;
                Some(by_id[at].1)
            }));
            first = end;
        }
        rows
    }

    fn put_ids(&self, parents: &[Option<usize>], encoder: &mut Encoder) {
        ints::put(encoder, &self.spans);
        let mut by_id = Vec::new();
        let parents = self.parents.iter().zip(parents).enumerate();
        let kinds: Vec<u64> = parents
            .map(|(row, (id, parent))| match (id, parent) {
                (0, _) => PARENT_NONE,
                (_, Some(parent)) => PARENT_IN_BLOCK + zigzag(row as i64 - *parent as i64),
                (id, None) => {
                    by_id.push(*id);
                    PARENT_BY_ID
                }
            })
            .collect();
        ints::put(encoder, &kinds);
        ints::put(encoder, &by_id);
    }

    /// Starts are told from the parent's where that comes earlier in the block, else from the row
    /// before; the first of each trace as it is.
    fn put_times(&self, parents: &[Option<usize>], encoder: &mut Encoder) {
        let (mut anchors, mut steps) = (Vec::new(), Vec::with_capacity(self.starts.len()));
        let mut first = 0;
        for &n in &self.trace_rows {
            anchors.push(self.starts[first]);
            let end = first + n as usize;
            for (row, parent) in parents.iter().enumerate().take(end).skip(first + 1) {
                let base = start_base(row, *parent);
                let step = self.starts[row].wrapping_sub(self.starts[base]);
                steps.push(zigzag(step as i64));
            }
            first += n as usize;
        }
        ints::put(encoder, &anchors);
        ints::put(encoder, &steps);
        ints::put(encoder, &self.durations);
        self.places.put(encoder);
    }

    fn clear(&mut self) {
        self.shapes.clear();
        self.resources.clear();
        self.services.clear();
        self.traces.clear();
        for column in [
            &mut self.trace_rows,
            &mut self.spans,
            &mut self.parents,
            &mut self.at,
            &mut self.starts,
            &mut self.durations,
        ] {
            column.clear();
        }
        self.places.clear();
        (self.errors, self.duration_max_ns) = (0, 0);
        self.attributes.clear();
        self.raw.clear();
        self.states.clear();
        self.messages.clear();
        self.events.clear();
        self.links.clear();
    }
}

/// The row that the start of `row` (not the first of its trace) is told from.
pub(super) fn start_base(row: usize, parent: Option<usize>) -> usize {
    parent.filter(|parent| *parent < row).unwrap_or(row - 1)
}
