//! What rewriting segments as one takes, so that it is only done where it may: memory, which the keeper
//! has a share of (`limits.memory`), and kinds of records, which one part has room for. Decides nothing
//! about which segments; reads directories and dictionaries, never a block.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use super::dictionary::{SHAPES_MAX, TEXT_BYTES_MAX};
use crate::model::Signal;

/// Memory of one trace id of logs while it is written: in two tables and a list.
const TRACE_BYTES: u64 = 60;

/// Memory per byte of the token tables that become one: a token has 2 there at least and 16 in memory.
const PER_TOKEN_BYTE: u64 = 8;

/// Memory per byte that a dictionary unpacks to: as it is read, as it is written, and shapes taking more
/// than their bytes.
const PER_DICTIONARY_BYTE: u64 = 3;

/// Memory of one segment or several, but for what no input makes larger: the block being written and the
/// counts of templates, under 16 MB together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(super) traces: u64,
    pub(super) token_bytes: u64,
    /// What the dictionaries of all parts unpack to.
    pub(super) dictionary_bytes: u64,
    /// Blocks that are open at once.
    pub(super) open_bytes: u64,
    /// Records that wait for others, of one input after the other.
    pub(super) waiting_bytes: u64,
}

impl Footprint {
    pub(crate) fn with(self, other: Footprint) -> Footprint {
        Footprint {
            traces: self.traces + other.traces,
            token_bytes: self.token_bytes + other.token_bytes,
            dictionary_bytes: self.dictionary_bytes + other.dictionary_bytes,
            open_bytes: self.open_bytes + other.open_bytes,
            waiting_bytes: self.waiting_bytes.max(other.waiting_bytes),
        }
    }

    /// Memory of rewriting it, in bytes.
    pub(crate) fn bytes(self) -> u64 {
        self.traces * TRACE_BYTES
            + self.token_bytes * PER_TOKEN_BYTE
            + self.dictionary_bytes * PER_DICTIONARY_BYTE
            + self.open_bytes
            + self.waiting_bytes
    }
}

/// The distinct shapes and texts of parts that are to become one. Past the bounds of a part records are
/// kept raw, and rewriting would make it so for good.
#[derive(Debug)]
pub(crate) struct Variety {
    shapes_max: usize,
    text_bytes_max: usize,
    shapes: HashSet<u64>,
    texts: HashSet<u64>,
    text_bytes: usize,
}

impl Variety {
    /// Of logs a quarter counts, without templates: these are chosen anew, and have the rest.
    pub(crate) fn of(signal: Signal) -> Variety {
        let share = match signal {
            Signal::Logs => 4,
            Signal::Traces | Signal::Metrics => 1,
        };
        Variety {
            shapes_max: SHAPES_MAX / share,
            text_bytes_max: TEXT_BYTES_MAX / share,
            shapes: HashSet::new(),
            texts: HashSet::new(),
            text_bytes: 0,
        }
    }

    /// Adds a shape by what tells it apart, texts spelled out.
    pub(super) fn shape(&mut self, key: &[u8]) {
        self.shapes.insert(xxh3_64(key));
    }

    pub(super) fn text(&mut self, text: &str) {
        if self.texts.insert(xxh3_64(text.as_bytes())) {
            self.text_bytes += text.len();
        }
    }

    /// Whether one part has room for all of it.
    pub(crate) fn fits(&self) -> bool {
        self.shapes.len() <= self.shapes_max && self.text_bytes <= self.text_bytes_max
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::chunk::Request;
    use crate::model::record::{LogView, ResourceView, ScopeView, SpanView};
    use crate::model::write::RequestWriter;
    use crate::model::{
        LogChunk, ProjectId, Severity, SpanChunk, SpanId, Timestamp, TraceId, ValueRef,
    };
    use crate::store::StoreError;
    use crate::store::segment::random::{Files, MIDNIGHT, day};
    use crate::store::segment::{
        Format, Logs, Segment, Spans, recode_logs, recode_spans, seal_logs, seal_spans,
    };

    /// Beside what the footprint tells: the block being written and the counts of templates.
    const ON_TOP_BYTES: u64 = 16 << 20;

    const HEADS: u64 = 10;

    fn request(writer: RequestWriter) -> Request {
        Request {
            bytes: writer.finish().into(),
            project: ProjectId::DEFAULT,
            received: Timestamp(MIDNIGHT + 1_000_000_000_000),
        }
    }

    /// Records of one service whose heads overlap in time, so that as many wait as may.
    fn logs(head: u64) -> Request {
        let (mut writer, resource, scope) = (
            RequestWriter::default(),
            ResourceView::default(),
            ScopeView::default(),
        );
        for n in 0..6_000 {
            let at = Timestamp(MIDNIGHT + n * 1_000_000 + head);
            let words = format!("order {} of customer {} ", n * 7 + head, n % 900);
            let text = format!("{} took {n} ms", words.repeat(12));
            writer.log(&LogView {
                resource: &resource,
                scope: &scope,
                at,
                time: at,
                observed: at,
                severity: Severity(9),
                severity_text: "INFO",
                body: ValueRef::Str(&text),
                attributes: &[],
                dropped_attributes: 0,
                flags: 0,
                trace_id: Some(TraceId(u128::from(n * HEADS + head + 1).to_be_bytes())),
                span_id: None,
                event_name: "",
                lifted: Default::default(),
            });
        }
        request(writer)
    }

    /// Every trace has a span in each head, so that a block of each is open.
    fn spans(head: u64) -> Request {
        let (mut writer, resource, scope) = (
            RequestWriter::default(),
            ResourceView::default(),
            ScopeView::default(),
        );
        for n in 0..4_000u64 {
            let start = MIDNIGHT + n * 1_000_000 + head;
            writer.span(&SpanView {
                resource: &resource,
                scope: &scope,
                at: Timestamp(start),
                trace_id: TraceId(u128::from(n + 1).to_be_bytes()),
                span_id: SpanId((n * HEADS + head + 1).to_be_bytes()),
                parent: None,
                trace_state: &format!("{head}-{n} {}", "state ".repeat(40)),
                flags: 1,
                name: "GET /orders",
                kind: 2,
                start: Timestamp(start),
                end: Timestamp(start + n),
                attributes: &[],
                dropped_attributes: 0,
                events: &[],
                dropped_events: 0,
                links: &[],
                dropped_links: 0,
                status_code: 0,
                status_message: "",
            });
        }
        request(writer)
    }

    #[track_caller]
    fn check(footprint: Footprint, rewrite: impl FnOnce()) {
        let counted = allocation_counter::measure(rewrite).bytes_max;
        let told = footprint.bytes();
        assert!(counted <= told + ON_TOP_BYTES, "{counted} of {told}");
        assert!(told <= 2 * counted, "{told} for {counted}");
    }

    /// Segments of one head each, and what rewriting them as one is told to take.
    fn sealed<F: Format>(
        seal: impl Fn(u64) -> Vec<u8>,
        told: impl Fn(&Segment<F>) -> Result<Footprint, StoreError>,
    ) -> (Files, Vec<Segment<F>>, Footprint) {
        let files = Files::new();
        let inputs: Vec<Segment<F>> = (0..HEADS)
            .map(|head| {
                let segment = files.open(&head.to_string(), &seal(head));
                segment.expect("just sealed")
            })
            .collect();
        let told = inputs.iter().map(|s| told(s).expect("just sealed"));
        let footprint = told.fold(Footprint::default(), Footprint::with);
        (files, inputs, footprint)
    }

    #[test]
    fn rewriting_takes_what_its_footprint_tells() {
        let (_files, inputs, footprint) = sealed::<Logs>(
            |head| {
                let chunk = Arc::new(LogChunk::parse(logs(head)).expect("just written"));
                seal_logs(&[chunk], day).remove(0).bytes
            },
            Segment::<Logs>::footprint,
        );
        check(footprint, || {
            let out = &mut std::io::sink();
            let done = recode_logs(&inputs, ProjectId::DEFAULT, out, None, &mut || Ok(()));
            assert_eq!(done.expect("just sealed").rows, 6_000 * HEADS);
        });
        let (_files, inputs, footprint) = sealed::<Spans>(
            |head| {
                let chunk = Arc::new(SpanChunk::parse(spans(head)).expect("just written"));
                seal_spans(&[chunk], day).remove(0).bytes
            },
            Segment::<Spans>::footprint,
        );
        check(footprint, || {
            let out = &mut std::io::sink();
            let done = recode_spans(&inputs, ProjectId::DEFAULT, out, &mut || Ok(()));
            assert_eq!(done.expect("just sealed").rows, 4_000 * HEADS);
        });
    }
}
