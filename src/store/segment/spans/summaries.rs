//! The summaries of a segment's traces, in pages that a merge copies as they are.
//!
//! Section: number of pages, for each page its length, first start and last end, a checksum of all
//! that, the pages. A page is a framed column family.

use crate::model::summary::{RootSpan, SummaryRow, SummaryTable};
use crate::model::{Timestamp, TraceId, TraceSummary};
use crate::store::StoreError;

use super::super::column::strings::Texts;
use super::super::column::{Decoder, Encoder, Family, ints};
use super::super::cursor::{Cursor, Damage};
use super::super::dictionary::{put_list, read_list};
use super::super::file::Tag;
use super::SpanSegment;

/// Traces of one page: about 60 KB.
const PAGE_ROWS_MAX: usize = 4096;

/// Bytes of an index entry: length, first, last.
const ENTRY_BYTES: usize = 20;

/// Pages of one section: 400 M traces.
const PAGES_MAX: u32 = 100_000;

/// A page in the index. `first` and `last` bound the traces' times.
#[derive(Clone, Copy, Debug)]
struct Page {
    len: u32,
    first: Timestamp,
    last: Timestamp,
}

/// The section of a part's summaries while it is written, page after page.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pages: Vec<Page>,
    bytes: Vec<u8>,
    open: Vec<TraceSummary>,
}

impl Pages {
    pub(super) fn push(&mut self, encoder: &mut Encoder, summary: TraceSummary) {
        self.open.push(summary);
        if self.open.len() == PAGE_ROWS_MAX {
            self.close(encoder);
        }
    }

    /// Writes the open page. The encoder has nothing of a block in it.
    fn close(&mut self, encoder: &mut Encoder) {
        let (start, rows) = (self.bytes.len(), &self.open);
        put_page(encoder, rows);
        encoder.finish_framed(&mut self.bytes);
        let first = rows.iter().map(|summary| summary.start).min();
        let last = rows.iter().map(|summary| summary.end).max();
        self.pages.push(Page {
            len: (self.bytes.len() - start) as u32,
            first: first.unwrap_or_default(),
            last: last.unwrap_or_default(),
        });
        self.open.clear();
    }

    pub(super) fn section(mut self, encoder: &mut Encoder) -> Vec<u8> {
        if !self.open.is_empty() {
            self.close(encoder);
        }
        let mut section = index(&self.pages);
        section.extend_from_slice(&self.bytes);
        section
    }
}

fn index(pages: &[Page]) -> Vec<u8> {
    let mut out = (pages.len() as u32).to_le_bytes().to_vec();
    for page in pages {
        out.extend_from_slice(&page.len.to_le_bytes());
        out.extend_from_slice(&page.first.0.to_le_bytes());
        out.extend_from_slice(&page.last.0.to_le_bytes());
    }
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// The pages of all inputs behind one index.
pub(super) fn merge(inputs: &[SpanSegment]) -> Result<Vec<u8>, StoreError> {
    let (mut pages, mut bytes) = (Vec::new(), Vec::new());
    for input in inputs {
        let frame = input.frame();
        let Some(section) = frame.find(Tag::Summaries) else {
            continue;
        };
        let own = frame.read_section(section)?;
        let mut cursor = Cursor::new(&own);
        let read = read_index(&mut cursor).map_err(frame.corrupt(section.offset))?;
        pages.extend(read);
        bytes.extend_from_slice(cursor.take(cursor.remaining()).unwrap_or_default());
    }
    let mut section = index(&pages);
    section.extend_from_slice(&bytes);
    Ok(section)
}

/// Reads the index, leaving the cursor at the first page.
fn read_index(cursor: &mut Cursor<'_>) -> Result<Vec<Page>, Damage> {
    let whole = *cursor;
    let n = cursor.u32()?;
    if n > PAGES_MAX {
        return Err(Damage("summaries claim too many pages"));
    }
    let mut pages = Vec::with_capacity(n as usize);
    for _ in 0..n {
        pages.push(Page {
            len: cursor.u32()?,
            first: Timestamp(cursor.u64()?),
            last: Timestamp(cursor.u64()?),
        });
    }
    let covered = { whole }.take(4 + ENTRY_BYTES * n as usize)?;
    if crc32fast::hash(covered) != cursor.u32()? {
        return Err(Damage("checksum of the index of summaries"));
    }
    Ok(pages)
}

/// All summaries of a segment.
pub(super) fn table(segment: &SpanSegment) -> Result<SummaryTable, StoreError> {
    let frame = segment.frame();
    let mut table = SummaryTable::default();
    let Some(section) = frame.find(Tag::Summaries) else {
        return Ok(table);
    };
    let corrupt = frame.corrupt(section.offset);
    let head = frame.read(section.offset, section.len.min(4))?;
    let n = Cursor::new(&head).u32().map_err(&corrupt)?.min(PAGES_MAX);
    let index_len = (8 + ENTRY_BYTES * n as usize) as u64;
    let index = frame.read(section.offset, section.len.min(index_len))?;
    let pages = read_index(&mut Cursor::new(&index)).map_err(&corrupt)?;
    let mut offset = section.offset + index_len;
    for page in pages {
        let bytes = frame.read(offset, u64::from(page.len))?;
        read_page(&bytes, &mut table).map_err(frame.corrupt(offset))?;
        offset += u64::from(page.len);
    }
    Ok(table)
}

/// Writes the columns of a page.
fn put_page(encoder: &mut Encoder, rows: &[TraceSummary]) {
    ints::put(encoder, &[rows.len() as u64]);
    let mut put = |field: &dyn Fn(&TraceSummary) -> u64| {
        let column: Vec<u64> = rows.iter().map(field).collect();
        ints::put(encoder, &column);
    };
    let id = |summary: &TraceSummary| u128::from_be_bytes(summary.trace_id.0);
    put(&|summary| (id(summary) >> 64) as u64);
    put(&|summary| id(summary) as u64);
    put(&|summary| summary.start.0);
    put(&|summary| summary.end.0.wrapping_sub(summary.start.0));
    put(&|summary| summary.spans);
    put(&|summary| summary.errors);
    put(&|summary| u64::from(summary.root.is_some()));
    put(&|summary| summary.services.len() as u64);
    let roots: Vec<&RootSpan> = rows.iter().filter_map(|row| row.root.as_ref()).collect();
    let starts = rows.iter().filter_map(|row| {
        let root = row.root.as_ref()?;
        Some(root.start.0.wrapping_sub(row.start.0))
    });
    ints::put(encoder, &starts.collect::<Vec<u64>>());
    let mut put = |field: fn(&RootSpan) -> u64| {
        let column: Vec<u64> = roots.iter().map(|root| field(root)).collect();
        ints::put(encoder, &column);
    };
    put(|root| root.duration_ns);
    put(|root| u64::from(root.kind as u32));
    put(|root| u64::from(root.status_code as u32));
    put_list(encoder, roots.iter().map(|root| root.service.as_bytes()));
    put_list(encoder, roots.iter().map(|root| root.name.as_bytes()));
    let services = rows.iter().flat_map(|row| &row.services);
    put_list(encoder, services.map(|service| service.as_bytes()));
}

/// Appends a page's summaries.
pub(crate) fn read_page(bytes: &[u8], table: &mut SummaryTable) -> Result<(), Damage> {
    let unpacked = Family::unpack_framed(bytes)?;
    let decoder = &mut unpacked.reader();
    let n = usize::try_from(ints::decode(decoder, 1)?[0])
        .ok()
        .filter(|n| *n <= PAGE_ROWS_MAX)
        .ok_or(Damage("a page of summaries claims too many"))?;
    let mut column = || ints::decode(decoder, n);
    let (high, low) = (column()?, column()?);
    let (starts, lengths) = (column()?, column()?);
    let (spans, errors) = (column()?, column()?);
    let (has_root, n_services) = (column()?, column()?);
    let n_roots = has_root.iter().filter(|has| **has != 0).count();
    let mut roots = read_roots(decoder, n_roots, table)?.into_iter();
    let (services, n_named) = texts(decoder)?;
    let mut services = Numbers::of(services);
    let mut named = 0..n_named;
    table.rows.reserve(n);
    for row in 0..n {
        let id = u128::from(high[row]) << 64 | u128::from(low[row]);
        let start = Timestamp(starts[row]);
        let root = match has_root[row] {
            0 => None,
            _ => roots.next().map(|(after, service, name)| {
                (Timestamp(start.0.wrapping_add(after)), service, name)
            }),
        };
        let summary = SummaryRow {
            trace_id: TraceId(id.to_be_bytes()),
            start,
            end: Timestamp(start.0.wrapping_add(lengths[row])),
            spans: spans[row],
            errors: errors[row],
            root,
            services: (0, 0),
        };
        let own = named.by_ref().take(n_services[row] as usize);
        table.push(summary, own, |table, at| services.number(at, table));
    }
    Ok(())
}

/// The roots of a page: start after that of the trace, service, name.
fn read_roots(
    decoder: &mut Decoder<'_>,
    n: usize,
    table: &mut SummaryTable,
) -> Result<Vec<(u64, u32, u32)>, Damage> {
    let starts = ints::decode(decoder, n)?;
    let _durations = ints::decode(decoder, n)?;
    let _kinds = ints::decode(decoder, n)?;
    let _codes = ints::decode(decoder, n)?;
    let (services, n_services) = texts(decoder)?;
    let (names, n_names) = texts(decoder)?;
    if n_services != n || n_names != n {
        return Err(Damage("a page of summaries lacks names"));
    }
    let (mut services, mut names) = (Numbers::of(services), Numbers::of(names));
    let root = |(row, start)| {
        let service = services.number(row, table);
        (start, service, names.number(row, table))
    };
    Ok(starts.into_iter().enumerate().map(root).collect())
}

/// A column of texts with their numbers in a table: a text that many rows share is hashed once, which
/// is two thirds of the time that reading summaries would take.
struct Numbers {
    texts: Texts,
    known: Vec<Option<u32>>,
}

impl Numbers {
    fn of(texts: Texts) -> Numbers {
        Numbers {
            known: vec![None; texts.n_values()],
            texts,
        }
    }

    fn number(&mut self, row: usize, table: &mut SummaryTable) -> u32 {
        let known = &mut self.known[self.texts.number(row)];
        *known.get_or_insert_with(|| table.number(self.texts.get(row)))
    }
}

fn texts(decoder: &mut Decoder<'_>) -> Result<(Texts, usize), Damage> {
    let list = read_list(decoder)?;
    let n = list.len();
    Ok((list.into_texts()?, n))
}
