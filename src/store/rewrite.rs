//! Records without those that a deletion is about: filters the requests of a head, and turns what
//! stays of a segment back into requests, so that it is sealed like anything that comes in and no
//! dictionary, token or summary of the old file lives on.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::deletion::Tally;
use super::head::Entry;
use super::hide::Rule;
use super::partition::{Partition, RetentionClass};
use super::segment::{self, Sealed};
use super::templates::Gate;
use crate::model::chunk::{Chunk, Request};
use crate::model::otlp::Scratch;
use crate::model::write::RequestWriter;
use crate::model::{LogChunk, LogView, ProjectId, Signal, SpanChunk, SpanView, Timestamp};

/// Why decoding a head's record again cannot fail.
const PARSED: &str = "parsing has read every record of the chunk";

/// The request without its hidden log records.
pub(super) fn logs_without(
    chunk: Arc<LogChunk>,
    veil: &[Rule],
    tally: &mut Tally,
) -> Arc<LogChunk> {
    if veil.is_empty() {
        return chunk;
    }
    let mut kept = Vec::with_capacity(chunk.entries.len());
    {
        let groups = chunk.group_views().expect(PARSED);
        let mut scratch = Scratch::default();
        for entry in &chunk.entries {
            let log = chunk.view(entry, &groups, &mut scratch).expect(PARSED);
            match veil.iter().find(|rule| rule.hides_log(&log)) {
                Some(rule) => tally.add(rule.number),
                None => kept.push(*entry),
            }
        }
    }
    with_entries(chunk, kept)
}

/// The request without its hidden spans.
pub(super) fn spans_without(
    chunk: Arc<SpanChunk>,
    veil: &[Rule],
    tally: &mut Tally,
) -> Arc<SpanChunk> {
    if veil.is_empty() {
        return chunk;
    }
    let mut kept = Vec::with_capacity(chunk.entries.len());
    {
        let groups = chunk.group_views().expect(PARSED);
        let mut scratch = Scratch::default();
        for entry in &chunk.entries {
            let span = chunk.view(entry, &groups, &mut scratch).expect(PARSED);
            match veil.iter().find(|rule| rule.hides_span(&span)) {
                Some(rule) => tally.add(rule.number),
                None => kept.push(*entry),
            }
        }
    }
    with_entries(chunk, kept)
}

/// The same request with fewer records; its bytes are shared.
fn with_entries<E>(chunk: Arc<Chunk<E>>, entries: Vec<E>) -> Arc<Chunk<E>> {
    if entries.len() == chunk.entries.len() {
        return chunk;
    }
    Arc::new(Chunk {
        request: chunk.request.clone(),
        groups: chunk.groups.clone(),
        entries,
    })
}

/// The request by retention class of its services: requests with some of its records each.
pub(super) fn by_class<E: Entry + Copy>(
    chunk: Arc<Chunk<E>>,
    class_of: &dyn Fn(&str) -> RetentionClass,
) -> Vec<(RetentionClass, Arc<Chunk<E>>)> {
    let groups = chunk.group_views().expect(PARSED);
    let of_groups = groups
        .iter()
        .map(|group| class_of(group.resource.service()));
    let classes: Vec<RetentionClass> = of_groups.collect();
    drop(groups);
    let distinct: BTreeSet<RetentionClass> = classes.iter().copied().collect();
    let mut parts = Vec::with_capacity(distinct.len());
    for class in distinct {
        let is_of = |entry: &&E| classes[entry.group() as usize] == class;
        let entries = chunk.entries.iter().filter(is_of).copied().collect();
        parts.push((class, with_entries(chunk.clone(), entries)));
    }
    parts
}

/// Records of one signal and project on their way from one segment to another.
#[derive(Debug)]
pub(super) struct Gather {
    signal: Signal,
    project: ProjectId,
    /// Records that stand where their own stamp says.
    plain: RequestWriter,
    /// Records that stand where they arrived, and when that was: they had no stamp or one far in
    /// the future, and must not move.
    arrived: Option<(Timestamp, RequestWriter)>,
    requests: Vec<Request>,
    pub(super) rows: u64,
}

impl Gather {
    pub(super) fn new(signal: Signal, project: ProjectId) -> Gather {
        Gather {
            signal,
            project,
            plain: RequestWriter::default(),
            arrived: None,
            requests: Vec::new(),
            rows: 0,
        }
    }

    pub(super) fn log(&mut self, log: &LogView<'_>) {
        let own = if log.time.0 != 0 {
            log.time
        } else {
            log.observed
        };
        self.writer(log.at, own).log(log);
    }

    pub(super) fn span(&mut self, span: &SpanView<'_>) {
        self.writer(span.at, span.start).span(span);
    }

    fn writer(&mut self, at: Timestamp, own: Timestamp) -> &mut RequestWriter {
        self.rows += 1;
        if at == own && own.0 != 0 {
            return &mut self.plain;
        }
        if self.arrived.as_ref().is_some_and(|(time, _)| *time != at) {
            self.close_arrived();
        }
        let new = || (at, RequestWriter::default());
        &mut self.arrived.get_or_insert_with(new).1
    }

    fn close_arrived(&mut self) {
        if let Some((at, writer)) = self.arrived.take() {
            self.close(at, writer);
        }
    }

    fn close(&mut self, received: Timestamp, writer: RequestWriter) {
        self.requests.push(Request {
            bytes: writer.finish().into(),
            project: self.project,
            received,
        });
    }

    /// Seals what was gathered as one segment, or none, with the templates that `gate` lets in.
    pub(super) fn seal(&mut self, partition: Partition, gate: &Gate<'_>) -> Vec<Sealed> {
        self.close_arrived();
        let plain = std::mem::take(&mut self.plain);
        // Arrived after every stamp, none of them is clamped.
        self.close(Timestamp::MAX, plain);
        self.rows = 0;
        let requests = std::mem::take(&mut self.requests).into_iter();
        const WRITTEN: &str = "RequestWriter writes requests";
        match self.signal {
            Signal::Logs => {
                let chunk = |request| Arc::new(LogChunk::parse(request).expect(WRITTEN));
                let chunks: Vec<Arc<LogChunk>> = requests.map(chunk).collect();
                let allows = |service: &str, id| gate.allows(service, id);
                segment::seal_gated(&chunks, |_| partition, Some(&allows))
            }
            Signal::Traces => {
                let chunk = |request| Arc::new(SpanChunk::parse(request).expect(WRITTEN));
                let chunks: Vec<Arc<SpanChunk>> = requests.map(chunk).collect();
                segment::seal_spans(&chunks, |_| partition)
            }
            Signal::Metrics => unreachable!("no deletion is about metrics"),
        }
    }
}
