//! One accepted request as the head keeps it: its bytes and about 64 B of index per record.
//!
//! The bytes are a well-formed OTLP export request: admission has rewritten or refused everything
//! else, so a chunk that fails to parse later means a damaged disk, never bad input.

use bytes::Bytes;

use super::id::{ProjectId, TraceId};
use super::otlp::{self, GroupView, Scratch};
use super::record::{LogView, ResourceView, ScopeView, SpanView};
use super::severity::Severity;
use super::time::Timestamp;
use super::wire::{Fields, Slice, WireError};

/// Resource, scope and their schema URLs, as parts of the request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Group {
    resource: Slice,
    resource_schema: Slice,
    scope: Slice,
    scope_schema: Slice,
}

/// The index entry of a log record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogEntry {
    pub(crate) at: Timestamp,
    pub(crate) trace_id: Option<TraceId>,
    pub(crate) severity: Severity,
    pub(crate) group: u32,
    record: Slice,
}

/// The index entry of a span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpanEntry {
    pub(crate) at: Timestamp,
    pub(crate) duration_ns: u64,
    pub(crate) trace_id: TraceId,
    pub(crate) group: u32,
    pub(crate) error: bool,
    record: Slice,
}

/// The bytes of one request with where and when it came in.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Decompressed protobuf of an `Export{Logs,Trace}ServiceRequest`.
    pub(crate) bytes: Bytes,
    pub(crate) project: ProjectId,
    pub(crate) received: Timestamp,
}

/// The part of a chunk that does not depend on the signal.
#[derive(Debug)]
pub(crate) struct Chunk<E> {
    pub(crate) request: Request,
    pub(crate) groups: Vec<Group>,
    pub(crate) entries: Vec<E>,
}

/// The log records of one request.
pub(crate) type LogChunk = Chunk<LogEntry>;

/// The spans of one request.
pub(crate) type SpanChunk = Chunk<SpanEntry>;

/// How many groups and records a request has: what its index will take, known before any of it is
/// allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) groups: usize,
    pub(crate) records: usize,
}

impl Counts {
    /// Counts without decoding a record: about 5 ns each. A malformed request counts up to where it
    /// breaks.
    pub(crate) fn of(request: &[u8]) -> Counts {
        let mut counts = Counts::default();
        // What breaks the walk is refused by whoever decodes the request.
        let _broken = walk(request, |_, records| {
            counts.groups += 1;
            counts.records += records.take_while(Result::is_ok).count();
            Ok(())
        });
        counts
    }

    /// Heap bytes of the index of such a request of either signal.
    pub(crate) const fn index_bytes(self) -> usize {
        let entry = if size_of::<LogEntry>() > size_of::<SpanEntry>() {
            size_of::<LogEntry>()
        } else {
            size_of::<SpanEntry>()
        };
        self.groups * size_of::<Group>() + self.records * entry
    }
}

impl<E> Chunk<E> {
    /// Decodes the resources and scopes, once per pass over the chunk.
    pub(crate) fn group_views(&self) -> Result<Vec<GroupView<'_>>, WireError> {
        self.groups
            .iter()
            .map(|group| group.view(&self.request.bytes))
            .collect()
    }

    /// Heap bytes: the request and its index.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.request.bytes.len()
            + self.groups.capacity() * size_of::<Group>()
            + self.entries.capacity() * size_of::<E>()
    }
}

impl Group {
    fn view<'a>(&self, request: &'a [u8]) -> Result<GroupView<'a>, WireError> {
        let text =
            |slice: Slice| std::str::from_utf8(slice.get(request)).map_err(|_| WireError::NotUtf8);
        Ok(GroupView {
            resource: ResourceView::parse(self.resource.get(request), text(self.resource_schema)?)?,
            scope: ScopeView::parse(self.scope.get(request), text(self.scope_schema)?)?,
        })
    }
}

impl LogChunk {
    /// Indexes a request.
    ///
    /// # Errors
    /// Any record, resource or scope in it is malformed.
    pub(crate) fn parse(request: Request) -> Result<LogChunk, WireError> {
        LogChunk::inspect(request, |_, _| ())
    }

    /// As [`LogChunk::parse`], calling `each` with every record and its encoded length on the way,
    /// so that admission decodes once.
    pub(crate) fn inspect(
        request: Request,
        mut each: impl FnMut(&LogView<'_>, usize),
    ) -> Result<LogChunk, WireError> {
        let counts = Counts::of(&request.bytes);
        let mut groups = Vec::with_capacity(counts.groups);
        let mut entries = Vec::with_capacity(counts.records);
        let (bytes, received) = (&request.bytes[..], request.received);
        let mut scratch = Scratch::default();
        walk(bytes, |group, records| {
            let view = group.view(bytes)?;
            let number = groups.len() as u32;
            groups.push(group);
            for record in records {
                let log = otlp::log_view(record?, &view, received, &mut scratch)?;
                each(&log, record?.len());
                entries.push(LogEntry {
                    at: log.at,
                    trace_id: log.trace_id,
                    severity: log.severity,
                    group: number,
                    record: Slice::of(bytes, record?),
                });
            }
            Ok(())
        })?;
        Ok(Chunk {
            request,
            groups,
            entries,
        })
    }

    /// The UTF-8 of a body that is a text, without the rest of the record.
    pub(crate) fn body_text(&self, entry: &LogEntry) -> Result<Option<&[u8]>, WireError> {
        let mut fields = Fields::new(entry.record.get(&self.request.bytes));
        let mut text = None;
        while let Some((number, field)) = fields.next()? {
            if number == 5 {
                text = None;
                let mut members = Fields::new(field.bytes()?);
                while let Some((member, value)) = members.next()? {
                    // The last member of a oneof wins.
                    text = match member {
                        1 => Some(value.bytes()?),
                        2..=7 => None,
                        _ => text,
                    };
                }
            }
        }
        Ok(text)
    }

    /// Reads the record of one entry; `groups` comes from [`Chunk::group_views`].
    pub(crate) fn view<'s, 'a: 's>(
        &'a self,
        entry: &LogEntry,
        groups: &'s [GroupView<'a>],
        scratch: &'s mut Scratch<'a>,
    ) -> Result<LogView<'s>, WireError> {
        let record = entry.record.get(&self.request.bytes);
        otlp::log_view(
            record,
            &groups[entry.group as usize],
            self.request.received,
            scratch,
        )
    }
}

impl SpanChunk {
    /// Indexes a request.
    ///
    /// # Errors
    /// Any span, resource or scope in it is malformed.
    pub(crate) fn parse(request: Request) -> Result<SpanChunk, WireError> {
        SpanChunk::inspect(request, |_, _| ())
    }

    /// As [`SpanChunk::parse`], calling `each` with every record and its encoded length on the way,
    /// so that admission decodes once.
    pub(crate) fn inspect(
        request: Request,
        mut each: impl FnMut(&SpanView<'_>, usize),
    ) -> Result<SpanChunk, WireError> {
        let counts = Counts::of(&request.bytes);
        let mut groups = Vec::with_capacity(counts.groups);
        let mut entries = Vec::with_capacity(counts.records);
        let (bytes, received) = (&request.bytes[..], request.received);
        let mut scratch = Scratch::default();
        walk(bytes, |group, records| {
            let view = group.view(bytes)?;
            let number = groups.len() as u32;
            groups.push(group);
            for record in records {
                let span = otlp::span_view(record?, &view, received, &mut scratch)?;
                each(&span, record?.len());
                entries.push(SpanEntry {
                    at: span.at,
                    duration_ns: span.duration_ns(),
                    trace_id: span.trace_id,
                    group: number,
                    error: span.is_error(),
                    record: Slice::of(bytes, record?),
                });
            }
            Ok(())
        })?;
        Ok(Chunk {
            request,
            groups,
            entries,
        })
    }

    /// The encoded `Span` of one entry.
    pub(crate) fn encoded(&self, entry: &SpanEntry) -> &[u8] {
        entry.record.get(&self.request.bytes)
    }

    /// Reads the span of one entry; `groups` comes from [`Chunk::group_views`].
    pub(crate) fn view<'s, 'a: 's>(
        &'a self,
        entry: &SpanEntry,
        groups: &'s [GroupView<'a>],
        scratch: &'s mut Scratch<'a>,
    ) -> Result<SpanView<'s>, WireError> {
        let record = entry.record.get(&self.request.bytes);
        otlp::span_view(
            record,
            &groups[entry.group as usize],
            self.request.received,
            scratch,
        )
    }
}

/// Calls `each` once per scope with its group and its encoded records. Logs and traces have the
/// same three levels under the same field numbers.
///
/// # Errors
/// The frame of the request is malformed, or whatever `each` returns.
pub(crate) fn walk<'a>(
    request: &'a [u8],
    mut each: impl FnMut(Group, Records<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut fields = Fields::new(request);
    while let Some((number, field)) = fields.next()? {
        if number != 1 {
            continue;
        }
        let per_resource = field.bytes()?;
        // Fields come in any order: the resource may follow its records.
        let (resource, resource_schema) = header(per_resource)?;
        let mut scopes = Fields::new(per_resource);
        while let Some((number, field)) = scopes.next()? {
            if number != 2 {
                continue;
            }
            let per_scope = field.bytes()?;
            let (scope, scope_schema) = header(per_scope)?;
            let group = Group {
                resource: Slice::of(request, resource),
                resource_schema: Slice::of(request, resource_schema),
                scope: Slice::of(request, scope),
                scope_schema: Slice::of(request, scope_schema),
            };
            each(
                group,
                Records {
                    fields: Fields::new(per_scope),
                },
            )?;
        }
    }
    Ok(())
}

/// Fields 1 and 3 of the two outer levels: the resource or scope, and the schema URL.
fn header(message: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let (mut first, mut schema): (&[u8], &[u8]) = (&[], &[]);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => first = field.bytes()?,
            3 => schema = field.bytes()?,
            _ => {}
        }
    }
    Ok((first, schema))
}

/// The encoded records under one scope.
#[derive(Clone, Debug)]
pub(crate) struct Records<'a> {
    fields: Fields<'a>,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<&'a [u8], WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.fields.next() {
                Ok(Some((2, field))) => return Some(field.bytes()),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
