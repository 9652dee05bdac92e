//! Writing span segments, trace after trace.

use std::io::{self, Write};

use crate::model::summary::{RootSpan, SERVICES_MAX};
use crate::model::{Timestamp, TraceId, TraceSummary};

use super::super::column::{Encoder, ints, strings};
use super::super::cursor::zigzag;
use super::super::directory::{Block, Directory, Part};
use super::super::file::{Output, SegmentFacts, Tag};
use super::super::times::TimeColumn;
use super::super::tokens::{self, Token};
use super::super::values::{Groups, Kind, Layout, Slot};
use super::super::{Format, Grade};
use super::rows::{PARSED, Row, Rows};
use super::shape::SpanShape;
use super::summaries::Pages;
use super::{BLOCK_BYTES_MAX, SpanBlockFacts, Spans, block_rows_max, red_section};

/// How a parent is told: there is none, by its id, or (from here on, zigzag) by how many rows it
/// lies before its child.
pub(super) const PARENT_NONE: u64 = 0;
pub(super) const PARENT_BY_ID: u64 = 1;
pub(super) const PARENT_IN_BLOCK: u64 = 2;

/// Writes one segment of one part. Traces come in the order of their ids. The rows of each call may be
/// other ones once the block is cut, if they go on from those before.
#[derive(Debug)]
pub(super) struct SpanWriter {
    grade: Grade,
    /// What was not yet drained, and how many bytes were.
    out: Vec<u8>,
    drained: u64,
    directory: Directory<Spans>,
    tokens: Vec<Token>,
    encoder: Encoder,
    block: OpenBlock,
    summaries: Pages,
    facts: SegmentFacts,
}

/// The columns of the block being filled.
#[derive(Debug, Default)]
struct OpenBlock {
    /// Numbers of the rows in here.
    rows: Vec<u32>,
    n_bytes: usize,
    shapes: Vec<u32>,
    resources: Vec<u64>,
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
    states: Vec<u64>,
    messages: Vec<u64>,
    raw: Vec<u64>,
    events: ListColumn,
    links: ListColumn,
}

/// A column of lists of encoded messages, by their numbers.
#[derive(Debug, Default)]
struct ListColumn {
    lengths: Vec<u64>,
    messages: Vec<u64>,
}

impl ListColumn {
    fn push(&mut self, messages: &[u64]) {
        self.lengths.push(messages.len() as u64);
        self.messages.extend_from_slice(messages);
    }

    fn put(&self, rows: &Rows<'_>, encoder: &mut Encoder) {
        ints::put(encoder, &self.lengths);
        put_texts(&self.messages, rows, encoder);
    }

    fn clear(&mut self) {
        self.lengths.clear();
        self.messages.clear();
    }
}

/// Distinct whole numbers of one key in one block that have tokens: codes and ports do, measured
/// values would be a token per span that nobody looks up.
const INT_TOKENS_MAX: usize = 32;

fn each_int_token(key: &[u8], values: &[u64], token: &mut dyn FnMut(u64)) {
    let mut seen: Vec<u64> = Vec::with_capacity(INT_TOKENS_MAX);
    for value in values {
        if seen.last() == Some(value) || seen.contains(value) {
            continue;
        }
        if seen.len() == INT_TOKENS_MAX {
            token(tokens::of_untold(key));
            return;
        }
        seen.push(*value);
    }
    let ints = seen.iter().map(|value| *value as i64);
    ints.for_each(|int| token(tokens::of_int(key, int)));
}

/// A column of texts by their numbers.
fn put_texts(numbers: &[u64], rows: &Rows<'_>, encoder: &mut Encoder) {
    strings::put_numbered(encoder, numbers, |number| rows.text(number), |_| {});
}

impl SpanWriter {
    pub(super) fn new(grade: Grade) -> SpanWriter {
        let mut out = Vec::new();
        Output::start(&mut out, Spans::MAGIC).expect("writing to memory does not fail");
        SpanWriter {
            grade,
            out,
            drained: 0,
            directory: Directory::default(),
            tokens: Vec::new(),
            encoder: Encoder::new(grade),
            block: OpenBlock::default(),
            summaries: Pages::default(),
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

    /// Adds the spans of a trace, in order of place; it stays in one block if it fits.
    pub(super) fn trace(&mut self, rows: &Rows<'_>, trace: &[u32]) {
        let rows_max = block_rows_max(self.grade);
        if self.block.rows.len() + trace.len() > rows_max {
            self.cut(rows);
        }
        self.summaries.push(&mut self.encoder, summary(rows, trace));
        for row in trace {
            let full = self.block.rows.len() >= rows_max;
            if full || self.block.n_bytes >= BLOCK_BYTES_MAX {
                self.cut(rows);
            }
            self.block.rows.push(*row);
            self.block.n_bytes += rows.rows[*row as usize].n_bytes as usize;
        }
    }

    /// Writes the open block.
    pub(super) fn cut(&mut self, rows: &Rows<'_>) {
        let offset = self.offset();
        let block = &mut self.block;
        block.gather(rows);
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
        let token = |hash| Token {
            hash,
            block: number,
        };
        let ids = block.traces.iter().map(|id| tokens::hash(&id.0));
        self.tokens.extend(ids.map(token));
        block.each_group_token(rows, |hash| self.tokens.push(token(hash)));
        block.services.sort_unstable();
        block.services.dedup();
        self.directory.blocks.push(Block {
            part: 0,
            offset,
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
            rows,
            &mut self.encoder,
            &mut self.out,
            &mut self.directory,
            &mut |hash| self.tokens.push(token(hash)),
        );
        block.clear();
    }

    /// Writes what is left and the sections; returns the file.
    pub(super) fn finish(mut self, rows: &Rows<'_>, raw_bytes: u64) -> (Vec<u8>, SegmentFacts) {
        self.cut(rows);
        let mut part = Part {
            dictionary: self.offset(),
            ..Part::default()
        };
        rows.dictionary.put(&mut self.encoder, &mut self.out);
        part.dictionary_len = self.offset() - part.dictionary;
        part.traces = self.offset();
        self.out
            .extend_from_slice(&crc32fast::hash(&[]).to_le_bytes());
        self.directory.parts.push(part);
        self.directory.services = rows.services.texts();
        self.tokens.push(Token {
            hash: tokens::of_values(),
            block: 0,
        });
        tokens::sort(&mut self.tokens);
        let (mut table, mut directory) = (Vec::new(), Vec::new());
        self.directory.token_starts = tokens::put_table(&mut table, &self.tokens);
        self.directory.put(&mut self.encoder, &mut directory);
        let data_end = self.offset();
        let summaries = self.summaries.section(&mut self.encoder);
        let facts = SegmentFacts {
            raw_bytes,
            ..self.facts
        };
        let mut output = Output::resume(&mut self.out, data_end, Spans::MAGIC);
        let facts = output
            .section(Tag::Tokens, false, &table)
            .and_then(|()| output.section(Tag::Summaries, false, &summaries))
            .and_then(|()| output.section(Tag::Red, false, &red_section(&rows.red)))
            .and_then(|()| output.section(Tag::Directory, true, &directory))
            .and_then(|()| output.finish(facts))
            .expect("writing to memory does not fail");
        (self.out, facts)
    }
}

impl OpenBlock {
    /// Fills the columns from the rows.
    fn gather(&mut self, rows: &Rows<'_>) {
        self.duration_min_ns = u64::MAX;
        let mut last_trace = None;
        for number in &self.rows {
            let row = &rows.rows[*number as usize];
            self.shapes.push(row.shape);
            self.resources.push(u64::from(row.resource));
            if self.services.last() != Some(&row.service) {
                self.services.push(row.service);
            }
            if last_trace != Some(row.trace) {
                last_trace = Some(row.trace);
                let id = rows.traces.get(row.trace);
                self.traces.push(TraceId(id.try_into().expect(PARSED)));
                self.trace_rows.push(0);
            }
            *self.trace_rows.last_mut().expect("one was just pushed") += 1;
            self.spans.push(row.span_id);
            self.parents.push(row.parent);
            self.at.push(row.at);
            self.places.push(row.start, row.at);
            self.starts.push(row.start);
            self.durations.push(row.end.wrapping_sub(row.start));
            self.errors += u32::from(row.is_error());
            self.duration_min_ns = self.duration_min_ns.min(row.duration_ns());
            self.duration_max_ns = self.duration_max_ns.max(row.duration_ns());
            let rare = rows.rare_of(row);
            self.states.push(rare.state);
            self.messages.push(rare.message);
            self.raw.push(rare.raw);
            self.events.push(rows.events(rare));
            self.links.push(rows.links(rare));
        }
    }

    /// Tokens of names, resources and scopes, and of spans that have no columns.
    fn each_group_token(&self, rows: &Rows<'_>, mut each: impl FnMut(u64)) {
        let distinct = |numbers: &mut dyn Iterator<Item = u32>| {
            let mut numbers: Vec<u32> = numbers.collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        let resources = &mut self.resources.iter().map(|number| *number as u32);
        for resource in distinct(resources) {
            let tokens = &rows.resource_tokens[resource as usize];
            tokens.iter().for_each(|token| each(*token));
        }
        for shape in distinct(&mut self.shapes.iter().copied()) {
            let shape = &rows.dictionary.shapes()[shape as usize];
            let tokens = &rows.scope_tokens[shape.scope as usize];
            tokens.iter().for_each(|token| each(*token));
            each(match &shape.columns {
                Some(columns) => tokens::of_name(rows.dictionary.text_of(columns.name)),
                None => tokens::of_any(),
            });
        }
    }

    fn write(
        &self,
        rows: &Rows<'_>,
        encoder: &mut Encoder,
        out: &mut Vec<u8>,
        directory: &mut Directory<Spans>,
        token: &mut dyn FnMut(u64),
    ) {
        let shapes = rows.dictionary.shapes();
        let groups = Groups::of(&self.shapes, shapes.len());
        let layout = |slots: for<'s> fn(&'s SpanShape) -> &'s [Slot]| {
            Layout::of(&groups, |shape| slots(&shapes[shape as usize]))
        };
        let parents = self.parent_rows();
        let mut finish = |encoder: &mut Encoder| directory.families.push(encoder.finish(out));
        let numbers: Vec<u64> = self.shapes.iter().map(|shape| u64::from(*shape)).collect();
        ints::put(encoder, &numbers);
        let resource_of = |row: usize| &self.resources[row..];
        layout(SpanShape::resource_slots)
            .each_column(resource_of, |_, numbers| ints::put(encoder, numbers));
        self.put_traces(encoder);
        finish(encoder);
        self.put_times(&parents, encoder);
        finish(encoder);
        self.put_ids(&parents, encoder);
        finish(encoder);
        put_texts(&self.states, rows, encoder);
        finish(encoder);
        let attributes = layout(SpanShape::attribute_slots);
        self.put_attributes(rows, &attributes, encoder, token);
        finish(encoder);
        let raw_of = |row: usize| &self.raw[row..];
        layout(SpanShape::raw_slots)
            .each_column(raw_of, |_, numbers| put_texts(numbers, rows, encoder));
        finish(encoder);
        put_texts(&self.messages, rows, encoder);
        finish(encoder);
        self.events.put(rows, encoder);
        finish(encoder);
        self.links.put(rows, encoder);
        finish(encoder);
    }

    fn put_attributes(
        &self,
        rows: &Rows<'_>,
        layout: &Layout,
        encoder: &mut Encoder,
        token: &mut dyn FnMut(u64),
    ) {
        let values_of = |row: usize| rows.values(&rows.rows[self.rows[row] as usize]);
        layout.each_column(values_of, |(key, kind), values| {
            let key = rows.dictionary.text_of(key);
            match kind {
                Kind::Empty => {}
                Kind::Bool => {
                    ints::put(encoder, values);
                    token(tokens::of_bool(key, false));
                    token(tokens::of_bool(key, true));
                }
                Kind::Int => {
                    ints::put(encoder, values);
                    each_int_token(key, values, token);
                }
                Kind::Str => {
                    let get = |number| rows.text(number);
                    strings::put_numbered(encoder, values, get, |number| {
                        token(tokens::of_attribute(key, get(number)));
                    });
                }
                Kind::Map => put_texts(values, rows, encoder),
                Kind::Double => {
                    ints::put(encoder, values);
                    token(tokens::of_untold(key));
                }
                Kind::Bytes | Kind::Array => {
                    put_texts(values, rows, encoder);
                    token(tokens::of_untold(key));
                }
            }
        });
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
        self.rows.clear();
        self.n_bytes = 0;
        self.shapes.clear();
        self.services.clear();
        self.traces.clear();
        for column in [
            &mut self.resources,
            &mut self.trace_rows,
            &mut self.spans,
            &mut self.parents,
            &mut self.at,
            &mut self.starts,
            &mut self.durations,
            &mut self.states,
            &mut self.messages,
            &mut self.raw,
        ] {
            column.clear();
        }
        self.places.clear();
        (self.errors, self.duration_max_ns) = (0, 0);
        self.events.clear();
        self.links.clear();
    }
}

/// What a list shows of a trace; its rows are in order of place.
fn summary(rows: &Rows<'_>, trace: &[u32]) -> TraceSummary {
    let row = |number: &u32| &rows.rows[*number as usize];
    let id = rows.traces.get(row(&trace[0]).trace);
    let mut summary = TraceSummary::new(TraceId(id.try_into().expect(PARSED)));
    let (mut services, mut root): (Vec<u32>, Option<&Row>) = (Vec::new(), None);
    for row in trace.iter().map(row) {
        summary.spans += 1;
        summary.errors += u64::from(row.is_error());
        let end = Timestamp(row.at).saturating_add(row.duration_ns());
        summary.start = summary.start.min(Timestamp(row.at));
        summary.end = summary.end.max(end);
        if !services.contains(&row.service) && services.len() < SERVICES_MAX {
            services.push(row.service);
        }
        if row.parent == 0 && root.is_none_or(|root| row.at < root.at) {
            root = Some(row);
        }
    }
    summary.root = root.map(|row| RootSpan {
        service: rows.service(row.service).into(),
        name: rows.name(row).into(),
        kind: row.kind,
        status_code: row.status_code,
        start: Timestamp(row.at),
        duration_ns: row.duration_ns(),
    });
    let services = services.iter().map(|service| rows.service(*service).into());
    summary.services = services.collect();
    summary
}

/// The row that the start of `row` (not the first of its trace) is told from.
pub(super) fn start_base(row: usize, parent: Option<usize>) -> usize {
    parent.filter(|parent| *parent < row).unwrap_or(row - 1)
}
