//! A push in Loki's protobuf (`logproto.PushRequest`) or JSON to an OTLP logs request.

use super::labels::{self, Pair, Role};
use crate::model::wire::{Field, Fields, WireError};
use crate::model::{ValueRef, write};
use crate::receive::json::{JsonError, Next, Reader};

/// A transcoded push.
#[derive(Debug, Default)]
pub(crate) struct Pushed {
    /// An `ExportLogsServiceRequest`.
    pub(crate) request: Vec<u8>,
    pub(crate) bad_streams: Option<BadStreams>,
}

/// Streams left out for their labels.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadStreams {
    pub(crate) entries: u64,
    /// What is wrong with the first of them.
    pub(crate) first: String,
}

impl Pushed {
    fn leave_out(&mut self, entries: u64, why: String) {
        let bad = self.bad_streams.get_or_insert(BadStreams {
            entries: 0,
            first: why,
        });
        bad.entries += entries;
    }

    /// Adds a stream whose entries `fill` writes as field 2 of a `ScopeLogs`.
    fn stream<E>(
        &mut self,
        labels: &[Pair],
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        write::try_message(&mut self.request, 1, |out| {
            write::message(out, 1, |out| labels::resource(out, labels));
            write::try_message(out, 2, fill)
        })
    }
}

/// Transcodes protobuf, after snappy.
///
/// # Errors
/// Malformed.
pub(crate) fn from_protobuf(push: &[u8]) -> Result<Pushed, String> {
    protobuf(push).map_err(|error| error.to_string())
}

fn protobuf(push: &[u8]) -> Result<Pushed, WireError> {
    let mut pushed = Pushed {
        request: Vec::with_capacity(push.len()),
        bad_streams: None,
    };
    let mut fields = Fields::new(push);
    while let Some((number, field)) = fields.next()? {
        if number != 1 {
            continue;
        }
        let stream = field.bytes()?;
        let (mut text, mut entries) = ("", 0);
        let mut parts = Fields::new(stream);
        while let Some((number, field)) = parts.next()? {
            match number {
                1 => text = field.str()?,
                2 => entries += 1,
                _ => {}
            }
        }
        match labels::parse(text) {
            Ok(labels) => pushed.stream(&labels, |out| protobuf_entries(stream, &labels, out))?,
            Err(why) => pushed.leave_out(entries, why),
        }
    }
    Ok(pushed)
}

fn protobuf_entries(stream: &[u8], labels: &[Pair], out: &mut Vec<u8>) -> Result<(), WireError> {
    let mut fields = Fields::new(stream);
    while let Some((number, field)) = fields.next()? {
        if number == 2 {
            let entry = field.bytes()?;
            write::try_message(out, 2, |out| protobuf_entry(entry, labels, out))?;
        }
    }
    Ok(())
}

fn protobuf_entry(entry: &[u8], labels: &[Pair], out: &mut Vec<u8>) -> Result<(), WireError> {
    let mut record = Record::of(labels);
    let mut fields = Fields::new(entry);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => write::fixed64_field(out, 1, timestamp(field.bytes()?)?),
            // Not checked for UTF-8 here: admission mends and counts.
            2 => line(out, field.bytes()?),
            3 => {
                let (mut name, mut value) = ("", "");
                let mut pair = Fields::new(field.bytes()?);
                while let Some((number, field)) = pair.next()? {
                    match number {
                        1 => name = field.str()?,
                        2 => value = field.str()?,
                        _ => {}
                    }
                }
                record.metadata(out, name, value);
            }
            _ => {}
        }
    }
    record.finish(out);
    Ok(())
}

/// `google.protobuf.Timestamp` in nanoseconds; before 1970 is "no time".
fn timestamp(message: &[u8]) -> Result<u64, WireError> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Varint(v)) => seconds = v as i64,
            (2, Field::Varint(v)) => nanos = v as i64,
            _ => {}
        }
    }
    let all = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Ok(u64::try_from(all).unwrap_or(0))
}

fn line(out: &mut Vec<u8>, line: &[u8]) {
    write::message(out, 5, |out| write::message_bytes(out, 1, line));
}

/// The fields of a record that labels and metadata fill; metadata win.
struct Record {
    severity: Option<(crate::model::Severity, String)>,
    trace_id: Option<crate::model::TraceId>,
    span_id: Option<crate::model::SpanId>,
}

impl Record {
    fn of(labels: &[Pair]) -> Record {
        let mut record = Record {
            severity: None,
            trace_id: None,
            span_id: None,
        };
        for (name, value) in labels {
            if let Role::Level(severity) = labels::role(name, value) {
                record.severity = Some((severity, value.clone()));
            }
        }
        record
    }

    fn metadata(&mut self, out: &mut Vec<u8>, name: &str, value: &str) {
        match labels::role(name, value) {
            Role::Level(severity) => self.severity = Some((severity, value.to_owned())),
            Role::TraceId(id) => self.trace_id = Some(id),
            Role::SpanId(id) => self.span_id = Some(id),
            Role::Attribute => write::key_value(out, 6, name, ValueRef::Str(value)),
        }
    }

    fn finish(self, out: &mut Vec<u8>) {
        if let Some((severity, text)) = self.severity {
            write::varint_field(out, 2, severity.0 as u64);
            write::bytes_field(out, 3, text.as_bytes());
        }
        if let Some(id) = self.trace_id {
            write::bytes_field(out, 9, &id.0);
        }
        if let Some(id) = self.span_id {
            write::bytes_field(out, 10, &id.0);
        }
    }
}

/// Transcodes JSON.
///
/// # Errors
/// Malformed.
pub(crate) fn from_json(push: &[u8]) -> Result<Pushed, String> {
    let mut pushed = Pushed {
        request: Vec::with_capacity(push.len()),
        bad_streams: None,
    };
    let mut reader = Reader::new(push);
    let read = reader.object(|reader, key| match key {
        "streams" => reader.array(|reader| json_stream(reader, &mut pushed)),
        _ => reader.skip(),
    });
    read.and_then(|()| reader.end())
        .map_err(|error| error.to_string())?;
    Ok(pushed)
}

/// A stream is read twice, because its labels may follow its entries.
fn json_stream(reader: &mut Reader<'_>, pushed: &mut Pushed) -> Result<(), JsonError> {
    let mut labels = Vec::new();
    let mut bad = None;
    reader.clone().object(|reader, key| {
        match (key, reader.peek()?) {
            ("stream", Next::Object) => reader.object(|reader, name| {
                let value = reader.string()?.into_owned();
                labels.push((name.to_owned(), value));
                Ok(())
            })?,
            // The form before Loki 1.0, still sent by some.
            ("labels", Next::String) => match labels::parse(&reader.string()?) {
                Ok(parsed) => labels = parsed,
                Err(why) => bad = Some(why),
            },
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    let mut entries = 0;
    let mut skipped = Vec::new();
    let mut fill = |out: &mut Vec<u8>| {
        reader.object(|reader, key| match key {
            "values" => reader.array(|reader| {
                entries += 1;
                write::try_message(out, 2, |out| json_entry(reader, &labels, out))
            }),
            _ => reader.skip(),
        })
    };
    match bad {
        None => pushed.stream(&labels, fill),
        Some(why) => {
            fill(&mut skipped)?;
            pushed.leave_out(entries, why);
            Ok(())
        }
    }
}

/// `["<ns>", "<line>", {metadata}]`
fn json_entry(
    reader: &mut Reader<'_>,
    labels: &[Pair],
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    let mut record = Record::of(labels);
    let mut place = 0;
    reader.array(|reader| {
        place += 1;
        match (place, reader.peek()?) {
            (1, Next::String | Next::Number) => {
                let text = match reader.peek()? {
                    Next::String => reader.string()?,
                    _ => reader.number()?.into(),
                };
                let Ok(ns) = text.parse() else {
                    return reader.error("a time in epoch nanoseconds was expected");
                };
                write::fixed64_field(out, 1, ns);
                Ok(())
            }
            (2, Next::String) => {
                line(out, reader.string()?.as_bytes());
                Ok(())
            }
            (3, Next::Object | Next::Null) => reader.object(|reader, name| {
                let value = match reader.peek()? {
                    Next::String => reader.string()?,
                    Next::Number => reader.number()?.into(),
                    _ => return reader.skip(),
                };
                record.metadata(out, name, &value);
                Ok(())
            }),
            (1..=3, _) => reader.error("an entry is [\"time\", \"line\", {metadata}]"),
            _ => reader.skip(),
        }
    })?;
    record.finish(out);
    Ok(())
}
