use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::random::{Files, MIDNIGHT, day, span_request};
use super::*;
use crate::model::ProjectId;
use crate::model::otlp::Scratch;
use crate::model::summary::{SummaryTable, TraceSummary};
use crate::model::{SpanChunk, TraceId, write};
use crate::store::segment::SegmentFacts;
use crate::store::segment::{Sealed, merge};

/// Everything a view says, as text.
fn render(span: &SpanView<'_>) -> String {
    let mut record = Vec::new();
    write::span(&mut record, span);
    format!(
        "{} {:?} {:?} {:?} {:?} {record:?}",
        span.trace_id,
        span.at,
        span.span_id,
        (span.resource.raw, span.resource.schema_url),
        (span.scope.raw, span.scope.schema_url),
    )
}

fn chunks(seeds: &[u64], n: u64) -> Vec<Arc<SpanChunk>> {
    let chunk = |seed: &u64| SpanChunk::parse(span_request(*seed, n)).expect("sound");
    seeds.iter().map(|seed| Arc::new(chunk(seed))).collect()
}

/// Spans, errors, start, end, root and services of a trace.
type Summed = (
    u64,
    u64,
    Timestamp,
    Timestamp,
    Option<(Timestamp, String)>,
    BTreeSet<String>,
);

/// What chunks or a segment hold: spans rendered and sorted, and what follows from them.
#[derive(Debug, Default, PartialEq)]
struct Content {
    spans: Vec<String>,
    summaries: BTreeMap<TraceId, Summed>,
    red: Vec<String>,
}

impl Content {
    fn finish(mut self, tables: &[Arc<SummaryTable>], red: &RedTable) -> Content {
        for table in tables {
            for row in &table.rows {
                let nothing = (0, 0, Timestamp::MAX, Timestamp(0), None, BTreeSet::new());
                let sum = self.summaries.entry(row.trace_id).or_insert(nothing);
                sum.0 += row.spans;
                sum.1 += row.errors;
                sum.2 = sum.2.min(row.start);
                sum.3 = sum.3.max(row.end);
                sum.5.extend(table.services(row).map(str::to_owned));
                let Some((at, service, name)) = row.root else {
                    continue;
                };
                let root = (at, format!("{} {}", table.text(service), table.text(name)));
                if sum.4.as_ref().is_none_or(|known| *known > root) {
                    sum.4 = Some(root);
                }
            }
        }
        self.red = red.rows().map(|row| format!("{row:?}")).collect();
        self.red.sort();
        self.spans.sort();
        self
    }
}

fn of_chunks(chunks: &[Arc<SpanChunk>]) -> Content {
    let (mut content, mut red) = (Content::default(), RedTable::default());
    let mut summaries: BTreeMap<(TraceId, u64), TraceSummary> = BTreeMap::new();
    for chunk in chunks {
        let groups = chunk.group_views().expect("sound");
        let mut scratch = Scratch::default();
        // In the order in which a segment meets them, which decides among roots of one time.
        let mut entries: Vec<_> = chunk.entries.iter().collect();
        entries.sort_by_key(|entry| entry.at);
        for entry in entries {
            let span = chunk.view(entry, &groups, &mut scratch).expect("sound");
            content.spans.push(render(&span));
            red.add(&span);
            let key = (span.trace_id, span.at.0);
            let summary = summaries.entry(key);
            summary
                .or_insert_with(|| TraceSummary::new(span.trace_id))
                .add(&span);
        }
    }
    let summaries: Vec<TraceSummary> = summaries.into_values().collect();
    content.finish(&[Arc::new(SummaryTable::of(&summaries))], &red)
}

fn of_segments(segments: &[SpanSegment], prune: &SpanPrune) -> Result<Content, StoreError> {
    let (mut content, mut red) = (Content::default(), RedTable::default());
    let mut summaries = Vec::new();
    for segment in segments {
        for block in segment.blocks(TimeRange::ALL, prune)? {
            let block = block.only(prune.trace_id);
            let mut n = 0;
            block.for_each(SpanColumns::ALL, &mut |span| {
                assert!(block.first() <= span.at && span.at <= block.last());
                content.spans.push(render(span));
                n += 1;
                ControlFlow::Continue(())
            })?;
            let all = prune.trace_id.is_none();
            assert!(if all {
                n == block.rows()
            } else {
                n <= block.rows()
            });
        }
        summaries.push(segment.summaries()?);
        red.merge(&segment.red()?);
    }
    Ok(content.finish(&summaries, &red))
}

/// Seals, reads back, merges and reads back; every span must be there once and unchanged.
fn check(seeds: &[u64], n: u64) {
    let files = Files::new();
    let chunks = chunks(seeds, n);
    let expected = of_chunks(&chunks);
    let mut segments: Vec<SpanSegment> = Vec::new();
    for sealed in chunks.chunks(2).flat_map(|chunks| super::seal(chunks, day)) {
        let name = format!("{}.seg", segments.len());
        let segment = files.open(&name, &sealed.bytes).expect("just sealed");
        assert_eq!(segment.facts(), sealed.facts);
        segment.verify().expect("just sealed");
        segments.push(segment);
    }
    let any = SpanPrune::default();
    assert_eq!(of_segments(&segments, &any).expect("just sealed"), expected);
    let mut bytes = Vec::new();
    let facts = merge(&segments, &mut bytes, &mut || Ok(())).expect("just sealed");
    assert_eq!(facts.rows, expected.spans.len() as u64);
    let merged: SpanSegment = files.open("merged.seg", &bytes).expect("just merged");
    merged.verify().expect("just merged");
    let mut bytes = Vec::new();
    merge(std::slice::from_ref(&merged), &mut bytes, &mut || Ok(()))
        .expect("merged segments merge");
    let again: SpanSegment = files.open("again.seg", &bytes).expect("just merged");
    let of_fresh = recoded(&files, "r1.seg", &segments, facts);
    let of_merged = recoded(&files, "r2.seg", std::slice::from_ref(&merged), facts);
    let of_itself = recoded(&files, "r3.seg", std::slice::from_ref(&of_merged), facts);
    for merged in [merged, again, of_fresh, of_merged, of_itself] {
        let merged = [merged];
        assert_eq!(of_segments(&merged, &any).expect("just merged"), expected);
        check_traces(&merged, &expected);
    }
}

fn recoded(files: &Files, name: &str, inputs: &[SpanSegment], facts: SegmentFacts) -> SpanSegment {
    let mut bytes = Vec::new();
    let written = recode(inputs, ProjectId::DEFAULT, &mut bytes, &mut || Ok(()));
    let segment: SpanSegment = files.open(name, &bytes).expect("just written");
    segment.verify().expect("just written");
    assert_eq!(segment.facts(), written.expect("the inputs are whole"));
    assert_eq!(
        segment
            .loaded()
            .expect("just written")
            .directory
            .parts
            .len(),
        1
    );
    let (of, own) = (facts, segment.facts());
    assert_eq!(
        (own.rows, own.first, own.last, own.raw_bytes),
        (of.rows, of.first, of.last, of.raw_bytes)
    );
    segment
}

/// Pruning by trace id leaves out blocks, never a span of the trace.
fn check_traces(segments: &[SpanSegment], expected: &Content) {
    for id in expected.summaries.keys().take(5) {
        let prune = SpanPrune {
            trace_id: Some(*id),
            ..SpanPrune::default()
        };
        let found = of_segments(segments, &prune).expect("whole");
        let start = id.to_string();
        let count = |spans: &[String]| spans.iter().filter(|s| s.starts_with(&start)).count();
        assert_eq!(count(&found.spans), count(&expected.spans), "spans of {id}");
        assert_eq!(count(&found.spans), found.spans.len(), "others than {id}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn spans_come_back_as_they_were(seeds in prop::collection::vec(0u64..1_000_000, 1..6), n in 1u64..120) {
        check(&seeds, n);
    }
}

#[test]
fn traces_longer_than_a_block_come_back() {
    check(&[3, 3, 3, 3], 9000);
}

fn one_segment() -> Sealed {
    super::seal(&chunks(&[11, 12], 150), |_| day(Timestamp(MIDNIGHT))).remove(0)
}

#[test]
fn pruning_skips_blocks_that_cannot_match() {
    let files = Files::new();
    let segment: SpanSegment = files.open("a.seg", &one_segment().bytes).expect("sealed");
    let n = |prune: &SpanPrune| segment.blocks(TimeRange::ALL, prune).expect("whole").len();
    assert!(n(&SpanPrune::default()) > 0);
    let nobody = SpanPrune {
        services: vec!["nobody".to_owned()],
        ..SpanPrune::default()
    };
    let longest = SpanPrune {
        duration_min_ns: u64::MAX,
        ..SpanPrune::default()
    };
    let unknown = SpanPrune {
        trace_id: Some(TraceId([9; 16])),
        ..SpanPrune::default()
    };
    for prune in [nobody, longest, unknown] {
        assert_eq!(n(&prune), 0, "{prune:?}");
    }
}

/// What reading a damaged file gives: an error, or the spans as they were.
fn read_damaged(files: &Files, bytes: &[u8], whole: &Content) {
    let read = files
        .open("damaged.seg", bytes)
        .and_then(|segment| of_segments(&[segment], &SpanPrune::default()));
    if let Ok(content) = read {
        assert_eq!(content, *whole, "damage gave other spans without an error");
    }
}

#[test]
fn flipped_bits_and_cut_files_never_give_wrong_spans() {
    let files = Files::new();
    let sealed = one_segment();
    let segment: SpanSegment = files.open("whole.seg", &sealed.bytes).expect("sealed");
    let whole = of_segments(&[segment], &SpanPrune::default()).expect("sealed");
    let n = sealed.bytes.len();
    for at in (0..n).step_by(n / 300 + 1).chain(n - 200..n) {
        let mut bytes = sealed.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        read_damaged(&files, &bytes, &whole);
        let segment = files.open::<Spans>("flipped.seg", &bytes);
        assert!(
            segment.and_then(|segment| segment.verify()).is_err() || (12..16).contains(&at),
            "verify finds the bit flipped at {at}"
        );
    }
    for len in (0..n).step_by(n / 100 + 1) {
        let cut = files.open::<Spans>("cut.seg", &sealed.bytes[..len]);
        assert!(cut.is_err());
    }
}

#[test]
fn names_that_are_data_fall_back_to_raw_spans() {
    let mut writer = write::RequestWriter::default();
    let (resource, scope) = Default::default();
    for i in 0..6000u64 {
        writer.span(&SpanView {
            resource: &resource,
            scope: &scope,
            at: Timestamp(0),
            trace_id: TraceId([7; 16]),
            span_id: crate::model::SpanId((i + 1).to_be_bytes()),
            parent: None,
            trace_state: "",
            flags: 0,
            name: &format!("GET /user/{i}"),
            kind: 1,
            start: Timestamp(MIDNIGHT + i),
            end: Timestamp(MIDNIGHT + 2 * i),
            attributes: &[],
            dropped_attributes: 0,
            events: &[&[]],
            dropped_events: 0,
            links: &[],
            dropped_links: 0,
            status_code: 0,
            status_message: "",
        });
    }
    let chunk = SpanChunk::parse(crate::model::chunk::Request {
        bytes: writer.finish().into(),
        project: crate::model::ProjectId::DEFAULT,
        received: Timestamp(MIDNIGHT),
    });
    let chunks = [Arc::new(chunk.expect("sound"))];
    let files = Files::new();
    let sealed = super::seal(&chunks, day).remove(0);
    let segment = files.open("raw.seg", &sealed.bytes).expect("just sealed");
    let content = of_segments(&[segment], &SpanPrune::default()).expect("just sealed");
    assert_eq!(content, of_chunks(&chunks));
}

/// Takes bytes, and remembers the most that came at once.
#[derive(Default)]
struct Largest {
    bytes: Vec<u8>,
    at_once: usize,
}

impl std::io::Write for Largest {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.at_once = self.at_once.max(bytes.len());
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Fewer of them than a block has rows: it is their bytes that make it go out.
#[test]
fn large_spans_are_not_gathered_without_end() {
    const SPAN_BYTES: usize = 20 << 10;
    let n = 3 * recode::GATHERED_BYTES_MAX / SPAN_BYTES / 2;
    let mut random = super::super::random::Random::new(5);
    let mut writer = write::RequestWriter::default();
    let (resource, scope) = Default::default();
    for i in 1..=n as u64 {
        let text: Vec<u8> = (0..SPAN_BYTES).map(|_| random.next() as u8).collect();
        writer.span(&SpanView {
            resource: &resource,
            scope: &scope,
            at: Timestamp(0),
            trace_id: TraceId(u128::from(i).to_be_bytes()),
            span_id: crate::model::SpanId(i.to_be_bytes()),
            parent: None,
            trace_state: "",
            flags: 0,
            name: "chat",
            kind: 3,
            start: Timestamp(MIDNIGHT + i),
            end: Timestamp(MIDNIGHT + 2 * i),
            attributes: &[crate::model::Attr {
                key: "gen_ai.prompt",
                value: crate::model::ValueRef::Bytes(&text),
            }],
            dropped_attributes: 0,
            events: &[],
            dropped_events: 0,
            links: &[],
            dropped_links: 0,
            status_code: 0,
            status_message: "",
        });
    }
    let chunk = SpanChunk::parse(crate::model::chunk::Request {
        bytes: writer.finish().into(),
        project: ProjectId::DEFAULT,
        received: Timestamp(MIDNIGHT),
    });
    let chunks = [Arc::new(chunk.expect("sound"))];
    let files = Files::new();
    let sealed = super::seal(&chunks, day).remove(0);
    let segment: SpanSegment = files.open("large.seg", &sealed.bytes).expect("sealed");
    let mut out = Largest::default();
    let pause: crate::store::segment::Pause<'_> = &mut || Ok(());
    let facts = recode(&[segment], ProjectId::DEFAULT, &mut out, pause).expect("whole");
    assert_eq!(facts.rows, n as u64);
    let most = recode::GATHERED_BYTES_MAX + (1 << 20);
    assert!(out.at_once < most, "{} bytes at once", out.at_once);
    let again = files.open("again.seg", &out.bytes).expect("just written");
    let content = of_segments(&[again], &SpanPrune::default()).expect("just written");
    assert_eq!(content, of_chunks(&chunks));
}
