//! What holds for the segments of both signals: decoders meet bytes that no writer makes, sections
//! that no reader knows, and files of earlier builds.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::column::Unpacked;
use super::file::Output;
use super::random::{Files, MIDNIGHT, Random, day, log_request, span_request};
use super::*;
use crate::model::chunk::Request;
use crate::model::{LogChunk, ProjectId, SpanChunk, Timestamp, write};
use crate::store::{LogColumns, LogPrune, Needle, SpanColumns, SpanPrune};

/// Changes a few bytes of one of the streams, or cuts it.
fn damage(random: &mut Random, unpacked: &mut Unpacked) {
    for stream in unpacked.streams() {
        for _ in 0..random.below(3) {
            let n = stream.len() as u64;
            match (n, random.below(8)) {
                (0, _) => {}
                (_, 0) => stream.truncate(random.below(n) as usize),
                (_, 1) => stream.push(random.next() as u8),
                // Small numbers are tags and counts that mean something.
                (_, 2..5) => stream[random.below(n) as usize] = random.below(9) as u8,
                _ => stream[random.below(n) as usize] = random.next() as u8,
            }
        }
    }
}

/// The same segment with damage below its checksums: only decoders can notice.
fn damaged<F: Format>(segment: &Segment<F>, random: &mut Random) -> Vec<u8> {
    let loaded = segment.loaded().expect("just sealed");
    let own = &loaded.directory;
    let mut out = Vec::new();
    Output::start(&mut out, F::MAGIC).expect("writing to memory does not fail");
    let mut directory = Directory::<F> {
        services: own.services.clone(),
        blocks: own.blocks.clone(),
        parts: own.parts.clone(),
        ..Directory::default()
    };
    for block in 0..own.blocks.len() {
        directory.blocks[block].offset = out.len() as u64;
        for (tag, _, _) in own.families(block) {
            let mut family = segment.family(&loaded, block as u32, tag).expect("whole");
            if random.chance(4) {
                damage(random, &mut family);
            }
            directory.families.push(family.pack(&mut out));
        }
    }
    for (part, own) in directory.parts.iter_mut().zip(&own.parts) {
        let framed = segment.frame().read(own.dictionary, own.dictionary_len);
        let mut dictionary = Family::unpack_framed(&framed.expect("whole")).expect("whole");
        if random.chance(3) {
            damage(random, &mut dictionary);
        }
        part.dictionary = out.len() as u64;
        dictionary.pack_framed(&mut out);
        part.dictionary_len = out.len() as u64 - part.dictionary;
        part.traces = out.len() as u64;
        let traces = segment.frame().read(own.traces, own.n_traces * 16 + 4);
        out.extend_from_slice(&traces.expect("whole"));
    }
    let (mut section, mut framed) = (Vec::new(), Vec::new());
    directory.put(&mut Encoder::default(), &mut framed);
    let mut unpacked = Family::unpack_framed(&framed).expect("just written");
    if random.chance(3) {
        damage(random, &mut unpacked);
    }
    unpacked.pack_framed(&mut section);
    let at = out.len() as u64;
    let mut output = Output::resume(&mut out, at, F::MAGIC);
    output
        .section(Tag::Directory, true, &section)
        .and_then(|()| output.finish(segment.facts()))
        .expect("writing to memory does not fail");
    out
}

fn log_chunks(seed: u64, n: u64) -> Vec<Arc<LogChunk>> {
    vec![Arc::new(
        LogChunk::parse(log_request(seed, n)).expect("sound"),
    )]
}

fn span_chunks(seed: u64, n: u64) -> Vec<Arc<SpanChunk>> {
    vec![Arc::new(
        SpanChunk::parse(span_request(seed, n)).expect("sound"),
    )]
}

fn read_logs(segment: &LogSegment) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut records = Vec::new();
    for block in segment.blocks(TimeRange::ALL, &LogPrune::default())? {
        block.for_each(LogColumns::ALL, &mut |log| {
            let mut record = log.at.0.to_le_bytes().to_vec();
            write::log_record(&mut record, log);
            records.push(record);
            ControlFlow::Continue(())
        })?;
    }
    records.sort();
    Ok(records)
}

fn read_spans(segment: &SpanSegment) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut records = Vec::new();
    for block in segment.blocks(TimeRange::ALL, &SpanPrune::default())? {
        block.for_each(SpanColumns::ALL, &mut |span| {
            let mut record = span.at.0.to_le_bytes().to_vec();
            write::span(&mut record, span);
            records.push(record);
            ControlFlow::Continue(())
        })?;
    }
    records.sort();
    Ok(records)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn decoders_never_panic_on_bytes_that_pass_their_checksums(seed in any::<u64>()) {
        let (files, random) = (Files::new(), &mut Random::new(seed));
        let noon = |_| day(Timestamp(MIDNIGHT));
        let sealed = seal_logs(&log_chunks(seed, 40), noon).remove(0);
        let segment: LogSegment = files.open("logs.seg", &sealed.bytes).expect("sealed");
        let bytes = damaged(&segment, random);
        if let Ok(segment) = files.open("damaged.seg", &bytes) {
            let _ = (segment.verify(), read_logs(&segment));
        }
        let sealed = seal_spans(&span_chunks(seed, 40), noon).remove(0);
        let segment: SpanSegment = files.open("spans.seg", &sealed.bytes).expect("sealed");
        let bytes = damaged(&segment, random);
        if let Ok(segment) = files.open("damaged.seg", &bytes) {
            let _ = (segment.verify(), read_spans(&segment));
        }
    }
}

/// A segment file with one more section than this version writes.
fn with_section(required: bool) -> Result<LogSegment, StoreError> {
    let files = Files::new();
    let sealed = seal_logs(&log_chunks(1, 10), |_| day(Timestamp(MIDNIGHT))).remove(0);
    let segment: LogSegment = files.open("a.seg", &sealed.bytes).expect("sealed");
    let frame = segment.frame();
    let mut bytes = sealed.bytes[..frame.data_end() as usize].to_vec();
    let at = bytes.len() as u64;
    let mut output = Output::resume(&mut bytes, at, Logs::MAGIC);
    for tag in [Tag::Tokens, Tag::Directory] {
        let (_, section) = frame.section(tag).expect("whole");
        output.section(tag, true, &section).expect("to memory");
    }
    output
        .unknown_section(required, b"later")
        .expect("to memory");
    output.finish(segment.facts()).expect("to memory");
    files.open("b.seg", &bytes)
}

#[test]
fn unknown_sections_are_skipped_unless_required() {
    let segment = with_section(false).expect("an optional section is skipped");
    segment
        .verify()
        .expect("its checksum is checked all the same");
    assert!(read_logs(&segment).is_ok_and(|records| records.len() == 10));
    let refused = with_section(true).expect_err("a required section is not");
    assert!(matches!(refused, StoreError::Newer { .. }), "{refused}");
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let mut bytes = seal_logs(&log_chunks(1, 10), day).remove(0).bytes;
    // In the header and in the tail: 16 bytes before the end, a checksum and the magic follow.
    let tail = bytes.len() - 16;
    (bytes[8], bytes[tail]) = (9, 9);
    let refused = Files::new().open::<Logs>("a.seg", &bytes);
    let refused = refused.expect_err("format 9 is not known").to_string();
    assert!(refused.contains("format 9, newest known 2"), "{refused}");
}

fn fixture(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/fixtures").join(name)
}

/// The request that a fixture was sealed from.
fn fixture_request(name: &str) -> Request {
    Request {
        bytes: std::fs::read(fixture(name))
            .expect("the fixture is checked in")
            .into(),
        project: ProjectId::DEFAULT,
        received: Timestamp(MIDNIGHT + 1_000_000_000),
    }
}

fn open_fixture<F: Format>(name: &str) -> Segment<F> {
    let file = crate::store::disk::Disk::Real.open(&fixture(name));
    let segment = Segment::open(file.expect("the fixture is checked in"));
    segment.expect("format 1 stays readable")
}

/// A file that an earlier build wrote reads as the request it came from. When the format changes,
/// these stay and files of the new version are added beside them.
#[test]
fn files_of_format_1_are_read() {
    let files = Files::new();
    let noon = |_| day(Timestamp(MIDNIGHT));
    let old: LogSegment = open_fixture("segment-logs-v1.seg");
    old.verify().expect("format 1 stays readable");
    let chunk = LogChunk::parse(fixture_request("segment-logs.otlp")).expect("sound");
    let new = seal_logs(&[Arc::new(chunk)], noon).remove(0);
    let new: LogSegment = files.open("new.seg", &new.bytes).expect("just sealed");
    let expected = read_logs(&new).expect("just sealed");
    assert_eq!(expected.len(), 60);
    assert_eq!(read_logs(&old).expect("format 1 stays readable"), expected);
    let mut bytes = Vec::new();
    merge(&[old, new], &mut bytes, &mut || Ok(())).expect("format 1 merges with format 2");
    let both: LogSegment = files.open("both.seg", &bytes).expect("just merged");
    both.verify().expect("just merged");
    let twice: Vec<_> = expected
        .iter()
        .flat_map(|row| [row.clone(), row.clone()])
        .collect();
    assert_eq!(read_logs(&both).expect("just merged"), twice);
    let old: SpanSegment = open_fixture("segment-spans-v1.seg");
    old.verify().expect("format 1 stays readable");
    let chunk = SpanChunk::parse(fixture_request("segment-spans.otlp")).expect("sound");
    let new = seal_spans(&[Arc::new(chunk)], noon).remove(0);
    let new: SpanSegment = files.open("new.seg", &new.bytes).expect("just sealed");
    let expected = read_spans(&new).expect("just sealed");
    assert_eq!(expected.len(), 60);
    assert_eq!(read_spans(&old).expect("format 1 stays readable"), expected);
}

/// A merged file tells values although one of its inputs cannot: that one's blocks may have any value.
#[test]
fn values_are_found_in_a_merge_of_both_formats() {
    let files = Files::new();
    let old: SpanSegment = open_fixture("segment-spans-v1.seg");
    let chunk = SpanChunk::parse(fixture_request("segment-spans.otlp")).expect("sound");
    let noon = |_| day(Timestamp(MIDNIGHT));
    let new = seal_spans(&[Arc::new(chunk)], noon).remove(0);
    let new: SpanSegment = files.open("new.seg", &new.bytes).expect("just sealed");
    let prune = |needle: Needle| SpanPrune {
        needles: vec![vec![needle]],
        ..SpanPrune::default()
    };
    let absent = prune(Needle::Attribute {
        key: "no such key".to_owned(),
        value: "nowhere".to_owned(),
    });
    let n = |segment: &SpanSegment, prune: &SpanPrune| {
        let blocks = segment.blocks(TimeRange::ALL, prune);
        blocks
            .expect("readable")
            .iter()
            .map(SpanBlock::rows)
            .sum::<usize>()
    };
    assert_eq!((n(&old, &absent), n(&new, &absent)), (60, 0));
    let mut bytes = Vec::new();
    merge(&[new, old], &mut bytes, &mut || Ok(())).expect("both merge");
    let merged: SpanSegment = files.open("merged.seg", &bytes).expect("just merged");
    merged.verify().expect("just merged");
    assert_eq!(n(&merged, &absent), 60);
    let mut names = std::collections::BTreeMap::new();
    for block in merged
        .blocks(TimeRange::ALL, &SpanPrune::default())
        .expect("readable")
    {
        let each = &mut |span: &crate::model::SpanView<'_>| {
            *names.entry(span.name.to_owned()).or_insert(0) += 1;
            ControlFlow::Continue(())
        };
        block.for_each(SpanColumns::NONE, each).expect("readable");
    }
    assert!(names.len() > 1);
    for (name, spans) in names {
        let mut found = 0;
        for block in merged
            .blocks(TimeRange::ALL, &prune(Needle::Name(name.clone())))
            .expect("readable")
        {
            let each = &mut |span: &crate::model::SpanView<'_>| {
                found += usize::from(span.name == name);
                ControlFlow::Continue(())
            };
            block.for_each(SpanColumns::NONE, each).expect("readable");
        }
        assert_eq!(found, spans, "{name}");
    }
}
