use std::ops::ControlFlow;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::random::{Files, MIDNIGHT, Random, day, log_request};
use super::*;
use crate::model::otlp::Scratch;
use crate::model::{LogChunk, LogView, ProjectId, TraceId, write};
use crate::store::segment::{Sealed, SegmentFacts, merge};

/// Everything a view says, as text: NaN bits, empty and absent values told apart.
fn render(log: &LogView<'_>) -> String {
    let mut record = Vec::new();
    write::log_record(&mut record, log);
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {record:?}",
        log.at,
        log.time,
        log.observed,
        log.severity,
        log.trace_id,
        log.span_id,
        log.lifted,
        (log.resource.raw, log.resource.schema_url),
        (log.scope.raw, log.scope.schema_url),
        log.resource.service(),
    )
}

fn chunks(seeds: &[u64], n: u64) -> Vec<Arc<LogChunk>> {
    let chunk = |seed: &u64| LogChunk::parse(log_request(*seed, n)).expect("the request is sound");
    seeds.iter().map(|seed| Arc::new(chunk(seed))).collect()
}

/// The records of chunks, rendered and sorted.
fn of_chunks(chunks: &[Arc<LogChunk>]) -> Vec<String> {
    let mut records = Vec::new();
    for chunk in chunks {
        let groups = chunk.group_views().expect("the request is sound");
        let mut scratch = Scratch::default();
        for entry in &chunk.entries {
            let log = chunk.view(entry, &groups, &mut scratch).expect("sound");
            records.push(render(&log));
        }
    }
    records.sort();
    records
}

fn of_blocks(segment: &LogSegment, prune: &LogPrune) -> Result<Vec<String>, StoreError> {
    let mut records = Vec::new();
    for block in segment.blocks(TimeRange::ALL, prune)? {
        let mut n = 0;
        block.for_each(LogColumns::ALL, &mut |log| {
            assert!(block.first() <= log.at && log.at <= block.last());
            assert_eq!(block.service(), log.resource.service());
            records.push(render(log));
            n += 1;
            ControlFlow::Continue(())
        })?;
        assert_eq!(n, block.rows());
    }
    records.sort();
    Ok(records)
}

/// Seals, reads back, merges and reads back; every record must be there once and unchanged.
fn check(seeds: &[u64], n: u64) {
    let files = Files::new();
    let chunks = chunks(seeds, n);
    let expected = of_chunks(&chunks);
    let mut found = Vec::new();
    let mut segments = Vec::new();
    for sealed in chunks.chunks(2).flat_map(|chunks| super::seal(chunks, day)) {
        let name = format!("{}.seg", segments.len());
        let segment: LogSegment = files.open(&name, &sealed.bytes).expect("just sealed");
        assert_eq!(segment.facts(), sealed.facts);
        segment.verify().expect("just sealed");
        let records = of_blocks(&segment, &LogPrune::default()).expect("just sealed");
        assert_eq!(records.len() as u64, sealed.facts.rows);
        found.extend(records);
        segments.push(segment);
    }
    found.sort();
    assert_eq!(found, expected);
    let mut bytes = Vec::new();
    let facts = merge(&segments, &mut bytes, &mut || Ok(())).expect("just sealed");
    let merged: LogSegment = files.open("merged.seg", &bytes).expect("just merged");
    assert_eq!(merged.facts(), facts);
    merged.verify().expect("just merged");
    let again: LogSegment = {
        let mut bytes = Vec::new();
        merge(
            &[merged.clone(), segments[0].clone()],
            &mut bytes,
            &mut || Ok(()),
        )
        .expect("merged segments merge");
        files.open("again.seg", &bytes).expect("just merged")
    };
    assert_eq!(again.facts().rows, facts.rows + segments[0].facts().rows);
    again.verify().expect("just merged");
    let mut whole = vec![merged.clone()];
    // Of copies and of fresh ones, and once more of itself.
    for inputs in [vec![merged], segments] {
        let name = format!("recoded{}.seg", whole.len());
        let once = recoded(&files, &name, &inputs, facts);
        whole.push(recoded(&files, &format!("again-{name}"), &[once], facts));
    }
    for segment in whole {
        let found = of_blocks(&segment, &LogPrune::default());
        assert_eq!(found.expect("just merged"), expected);
        check_traces(&segment, &expected);
    }
}

fn recoded(files: &Files, name: &str, inputs: &[LogSegment], facts: SegmentFacts) -> LogSegment {
    let mut bytes = Vec::new();
    let written = recode(inputs, ProjectId::DEFAULT, &mut bytes, None, &mut || Ok(()));
    let segment: LogSegment = files.open(name, &bytes).expect("just written");
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

/// Pruning by trace id leaves out blocks, never a record of the trace.
fn check_traces(segment: &LogSegment, expected: &[String]) {
    let mut ids: Vec<TraceId> = Vec::new();
    for block in segment
        .blocks(TimeRange::ALL, &LogPrune::default())
        .expect("whole")
    {
        block
            .for_each(LogColumns::IDS, &mut |log| {
                ids.extend(log.trace_id);
                ControlFlow::Continue(())
            })
            .expect("whole");
    }
    ids.sort();
    ids.dedup();
    for id in ids.into_iter().take(5) {
        let prune = LogPrune {
            trace_id: Some(id),
            ..LogPrune::default()
        };
        let with_id = format!("Some({id})");
        let count = |records: &[String]| records.iter().filter(|r| r.contains(&with_id)).count();
        let found = of_blocks(segment, &prune).expect("whole");
        assert_eq!(count(&found), count(expected), "records of {id}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn records_come_back_as_they_were(seeds in prop::collection::vec(0u64..1_000_000, 1..6), n in 1u64..120) {
        check(&seeds, n);
    }
}

#[test]
fn large_blocks_come_back() {
    check(&[1, 2], 3000);
}

#[test]
fn an_unread_column_is_empty_and_not_decompressed() {
    let files = Files::new();
    let sealed = one_segment();
    let segment: LogSegment = files.open("a.seg", &sealed.bytes).expect("just sealed");
    for block in segment
        .blocks(TimeRange::ALL, &LogPrune::default())
        .expect("whole")
    {
        block
            .for_each(LogColumns::NONE, &mut |log| {
                assert_eq!(log.body, crate::model::ValueRef::Empty);
                assert!(log.attributes.is_empty() && log.trace_id.is_none());
                ControlFlow::Continue(())
            })
            .expect("whole");
    }
}

fn one_segment() -> Sealed {
    let noon = |_| day(Timestamp(MIDNIGHT));
    super::seal(&chunks(&[11, 12], 150), noon).remove(0)
}

/// What reading a damaged file gives: an error, or the records as they were.
fn read_damaged(files: &Files, bytes: &[u8], whole: &[String]) {
    let read = files
        .open::<Logs>("damaged.seg", bytes)
        .and_then(|segment| of_blocks(&segment, &LogPrune::default()));
    if let Ok(records) = read {
        assert_eq!(records, whole, "damage gave other records without an error");
    }
}

#[test]
fn flipped_bits_and_cut_files_never_give_wrong_records() {
    let files = Files::new();
    let sealed = one_segment();
    let segment: LogSegment = files.open("whole.seg", &sealed.bytes).expect("just sealed");
    let whole = of_blocks(&segment, &LogPrune::default()).expect("just sealed");
    let n = sealed.bytes.len();
    for at in (0..n).step_by(n / 300 + 1).chain(n - 200..n) {
        let mut bytes = sealed.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        read_damaged(&files, &bytes, &whole);
        let segment = files.open::<Logs>("flipped.seg", &bytes);
        assert!(
            segment.and_then(|segment| segment.verify()).is_err() || (12..16).contains(&at),
            "verify finds the bit flipped at {at}"
        );
    }
    for len in (0..n).step_by(n / 100 + 1) {
        assert!(files.open::<Logs>("cut.seg", &sealed.bytes[..len]).is_err());
    }
}

#[test]
fn keys_that_are_data_fall_back_to_raw_records() {
    let mut writer = crate::model::write::RequestWriter::default();
    let keys: Vec<String> = (0..6000).map(|i| format!("user-{i}")).collect();
    let (resource, scope) = Default::default();
    for (i, key) in keys.iter().enumerate() {
        let value = crate::model::ValueRef::Int(i as i64);
        writer.log(&LogView {
            time: Timestamp(MIDNIGHT + i as u64),
            attributes: &[crate::model::Attr { key, value }],
            ..empty(&resource, &scope)
        });
    }
    let chunk = LogChunk::parse(crate::model::chunk::Request {
        bytes: writer.finish().into(),
        project: crate::model::ProjectId::DEFAULT,
        received: Timestamp(MIDNIGHT),
    })
    .expect("the request is sound");
    let chunks = [Arc::new(chunk)];
    let files = Files::new();
    let sealed = super::seal(&chunks, day).remove(0);
    let segment: LogSegment = files.open("raw.seg", &sealed.bytes).expect("just sealed");
    let records = of_blocks(&segment, &LogPrune::default()).expect("just sealed");
    assert_eq!(records, of_chunks(&chunks));
}

/// Objects of random words have no templates: they must cost what plain texts cost, and come back.
#[test]
fn texts_that_never_repeat_stay_plain() {
    let random = &mut Random::new(5);
    let mut word = || -> String {
        let letters = (0..8).map(|_| char::from(b'a' + random.below(26) as u8));
        letters.collect()
    };
    let mut bodies: Vec<String> = Vec::new();
    for i in 0..2000 {
        let pairs: Vec<String> = (0..8).map(|_| format!("\"{}\":{i}", word())).collect();
        bodies.push(format!("{{{}}}", pairs.join(",")));
    }
    let total: usize = bodies.iter().map(String::len).sum();
    let segment = seal_bodies(&bodies);
    let dictionary = segment.loaded().expect("sealed").directory.parts[0].dictionary_len;
    assert!(
        dictionary < 2_000,
        "no template is kept: {dictionary} bytes"
    );
    let sealed = segment.facts().bytes as usize;
    assert!(sealed < total, "{sealed} bytes of {total} in bodies");
}

#[test]
fn lines_that_repeat_cost_their_variables() {
    let random = &mut Random::new(6);
    let line = |i: u64| {
        format!(
            "user {} took {} ms on shard {}",
            i,
            random.below(900),
            i % 7
        )
    };
    let bodies: Vec<String> = (0..4000).map(line).collect();
    let segment = seal_bodies(&bodies);
    let loaded = segment.loaded().expect("sealed");
    assert_eq!(
        loaded.directory.blocks[0].facts.shapes.len(),
        1,
        "one template, one shape"
    );
    let per_row = segment.facts().bytes as f64 / 4000.0;
    assert!(per_row < 5.0, "{per_row} bytes per record");
}

/// One segment of records with these bodies, which were compared after reading.
fn seal_bodies(bodies: &[String]) -> LogSegment {
    let mut writer = crate::model::write::RequestWriter::default();
    let (resource, scope) = Default::default();
    for (i, body) in bodies.iter().enumerate() {
        writer.log(&LogView {
            time: Timestamp(MIDNIGHT + i as u64 * 1_000),
            body: crate::model::ValueRef::Str(body),
            ..empty(&resource, &scope)
        });
    }
    let request = crate::model::chunk::Request {
        bytes: writer.finish().into(),
        project: crate::model::ProjectId::DEFAULT,
        received: Timestamp(MIDNIGHT),
    };
    let chunk = LogChunk::parse(request).expect("the request is sound");
    let chunks = [Arc::new(chunk)];
    let files = Files::new();
    let sealed = super::seal(&chunks, day).remove(0);
    let segment: LogSegment = files.open("bodies.seg", &sealed.bytes).expect("sealed");
    let records = of_blocks(&segment, &LogPrune::default()).expect("sealed");
    assert!(records == of_chunks(&chunks), "bodies come back");
    segment
}

fn empty<'a>(
    resource: &'a crate::model::ResourceView<'a>,
    scope: &'a crate::model::ScopeView<'a>,
) -> LogView<'a> {
    LogView {
        resource,
        scope,
        at: Timestamp(0),
        time: Timestamp(0),
        observed: Timestamp(0),
        severity: crate::model::Severity(0),
        severity_text: "",
        body: crate::model::ValueRef::Empty,
        attributes: &[],
        dropped_attributes: 0,
        flags: 0,
        trace_id: None,
        span_id: None,
        event_name: "",
        lifted: Default::default(),
    }
}
