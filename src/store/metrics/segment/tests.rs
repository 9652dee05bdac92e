//! What is written is read, whatever is merged; what is damaged is refused by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::metric::{
    Exemplar, Histogram, Labels, Millis, STALE_NAN_BITS, Samples, Span, is_stale,
};
use crate::store::StoreError;
use crate::store::disk::Disk;
use crate::store::segment::Grade;

const ALL: Millis = Millis {
    first: i64::MIN,
    last: i64::MAX,
};

type Content = BTreeMap<SeriesKey, (Samples, Vec<Exemplar>)>;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().expect("a directory for temporary files"))
    }

    fn open(&self, bytes: &[u8]) -> Result<MetricSegment, StoreError> {
        let path = self.0.path().join("a.seg");
        std::fs::write(&path, bytes).expect("the directory can be written");
        let file = Disk::Real.open(&path).expect("just written");
        // Open files stay readable when the next takes their name.
        std::fs::remove_file(&path).expect("just written");
        MetricSegment::open(file)
    }
}

fn write(content: &Content, grade: Grade) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::start(&mut out, grade).expect("to memory");
    for (key, (samples, exemplars)) in content {
        writer.series(*key, samples, exemplars).expect("to memory");
    }
    let facts = writer.finish().expect("to memory");
    assert_eq!(facts.bytes, out.len() as u64);
    out
}

/// Samples in a form that can be compared: NaN are equal to themselves.
fn told(samples: &Samples) -> Vec<(i64, u64, Option<Histogram>)> {
    let floats = samples.times.iter().zip(&samples.floats);
    let floats = floats.map(|(time, float)| (*time, float.to_bits(), None));
    let histograms = samples.histogram_times.iter().zip(&samples.histograms);
    let histograms = histograms.map(|(time, histogram)| {
        let mut own = Histogram::clone(histogram);
        let sum = std::mem::take(&mut own.sum).to_bits();
        (*time, sum, Some(own))
    });
    floats.chain(histograms).collect()
}

fn read(segment: &MetricSegment, key: SeriesKey, range: Millis) -> Result<Samples, StoreError> {
    let mut samples = Samples::default();
    segment.reader().read(key, range, &mut samples)?;
    Ok(samples)
}

/// All of a segment, or why not.
fn read_all(segment: &MetricSegment, keys: &[SeriesKey]) -> Result<Content, StoreError> {
    segment.verify()?;
    let (mut reader, mut content) = (segment.reader(), Content::new());
    for key in keys {
        let mut own = (Samples::default(), Vec::new());
        reader.read(*key, ALL, &mut own.0)?;
        reader.exemplars(*key, ALL, &mut own.1)?;
        content.insert(*key, own);
    }
    Ok(content)
}

#[track_caller]
fn check_same(read: &Content, written: &Content) {
    assert_eq!(read.len(), written.len());
    for ((key, own), (_, expected)) in read.iter().zip(written) {
        assert_eq!(told(&own.0), told(&expected.0), "{key:?}");
        assert_eq!(own.1, expected.1, "{key:?}");
    }
}

fn key(family: u32, number: u32) -> SeriesKey {
    SeriesKey { family, number }
}

fn counts(seed: u64, n: usize) -> Histogram {
    Histogram {
        schema: 2,
        zero_threshold: 1e-128,
        count: seed as f64 * n as f64,
        sum: seed as f64 / 3.0,
        positive_spans: vec![Span {
            offset: 1,
            length: n as u32,
        }],
        positive_counts: vec![seed as f64; n],
        ..Histogram::default()
    }
}

/// Series of a few targets: `n` samples at 15 s, counters, gauges, constants, histograms, exemplars.
pub(super) fn sample_content(targets: u32, families: u32, n: i64) -> Content {
    let mut content = Content::new();
    for (family, target) in (0..families).flat_map(|f| (0..targets).map(move |t| (f, t))) {
        let times = (0..n).map(|i| 1_795_000_000_000 + i64::from(target) * 777 + i * 15_000);
        let mut samples = Samples::default();
        if family % 5 == 4 {
            samples.histogram_times = times.collect();
            let histogram = |i| Arc::new(counts(i as u64 * 3 + u64::from(target), 7));
            samples.histograms = (0..n).map(histogram).collect();
        } else {
            samples.times = times.collect();
            let value = |i: i64| match family % 5 {
                0 => 3.5,
                1 => (i * i64::from(target + 2) * 7) as f64,
                2 => ((i * 37 + i64::from(target)) % 500) as f64 / 100.0,
                _ => 1.0 / (i as f64 + f64::from(target) + 1.0),
            };
            samples.floats = (0..n).map(value).collect();
            if let Some(last) = samples.floats.last_mut().filter(|_| target == 0) {
                *last = f64::from_bits(STALE_NAN_BITS);
            }
        }
        let exemplars = (0..i64::from(family % 3)).map(|i| Exemplar {
            at: 1_795_000_000_000 + i,
            value: i as f64,
            labels: Labels::of([("trace_id", format!("{family}-{target}-{i}"))]),
        });
        let number = target * families + family;
        content.insert(key(family * 991, number), (samples, exemplars.collect()));
    }
    content
}

#[test]
fn a_segment_gives_back_what_was_written() {
    let files = Files::new();
    let content = sample_content(20, 30, 300);
    let keys: Vec<SeriesKey> = content.keys().copied().collect();
    for grade in [Grade::Fresh, Grade::Final] {
        let bytes = write(&content, grade);
        let segment = files.open(&bytes).expect("just written");
        check_same(&read_all(&segment, &keys).expect("whole"), &content);
        let series = segment.series().expect("whole");
        let numbers = content.keys().map(|key| key.number);
        assert_eq!(series, numbers.collect());
        assert_eq!(segment.facts().rows, 20 * 30 * 300);
        let range = segment.range();
        assert_eq!(range.first, 1_795_000_000_000);
        assert_eq!(range.last, 1_795_000_000_000 + 19 * 777 + 299 * 15_000);
        assert!(segment.directory().groups.len() > 1, "several groups");
        let columns: usize = 20;
        assert_eq!(segment.directory().times.len(), 1);
        // One column for each target, 12 bytes each, beside its table.
        let times = segment.directory().times[0].family.raw();
        assert!(times < columns as u64 * 12 + 64, "{times} bytes of times");
    }
}

#[test]
fn only_the_asked_range_is_read() {
    let files = Files::new();
    let content = sample_content(2, 5, 1000);
    let segment = files
        .open(&write(&content, Grade::Fresh))
        .expect("just written");
    let start = 1_795_000_000_000;
    let ranges = [
        (start, start),
        (start + 15_000 * 400 + 1, start + 15_000 * 700),
        (i64::MIN, start - 1),
        (start + 15_000 * 999 + 778, i64::MAX),
        (start + 15_001, start + 15_000 * 2 - 1),
        (start + 10, start),
    ];
    for (first, last) in ranges {
        let range = Millis { first, last };
        for (key, (samples, _)) in &content {
            let within = |time: &i64| (first..=last).contains(time);
            let expected: Vec<_> = told(samples).into_iter().filter(|s| within(&s.0)).collect();
            let own = read(&segment, *key, range).expect("whole");
            assert_eq!(told(&own), expected, "{key:?} {range:?}");
        }
    }
    let none = read(&segment, key(5, 1), ALL).expect("whole");
    assert_eq!(none.len(), 0, "a series that is not there has no samples");
}

#[test]
fn a_segment_of_nothing_is_one() {
    let files = Files::new();
    let segment = files
        .open(&write(&Content::new(), Grade::Fresh))
        .expect("just written");
    segment.verify().expect("whole");
    assert!(segment.series().expect("whole").is_empty());
    assert!(segment.range().last < segment.range().first);
    let mut out = Vec::new();
    let facts = merge(
        &[segment.clone(), segment],
        Grade::Final,
        &mut out,
        &mut || Ok(()),
    );
    assert_eq!(facts.expect("both are whole").rows, 0);
}

/// Every bit that can flip is noticed, or means nothing.
#[test]
fn every_damaged_byte_is_an_error_that_names_the_file() {
    let files = Files::new();
    let content = sample_content(2, 6, 40);
    let keys: Vec<SeriesKey> = content.keys().copied().collect();
    let bytes = write(&content, Grade::Fresh);
    let mut silent = 0;
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1 << (place % 8);
        let read = files
            .open(&damaged)
            .and_then(|segment| read_all(&segment, &keys));
        match read {
            Ok(read) => {
                check_same(&read, &content);
                silent += 1;
            }
            Err(error @ (StoreError::Corrupt { .. } | StoreError::Newer { .. })) => {
                assert!(error.to_string().contains("a.seg"), "{error}");
            }
            Err(error) => panic!("byte {place}: {error}"),
        }
    }
    assert!(silent <= 4, "{silent} bytes mean nothing, the header has 4");
    let cut = files.open(&bytes[..bytes.len() - 1]);
    assert!(matches!(cut, Err(StoreError::Corrupt { .. })));
}

#[test]
fn a_damaged_group_leaves_the_others_readable() {
    let files = Files::new();
    let content = sample_content(20, 30, 300);
    let bytes = write(&content, Grade::Fresh);
    let whole = files.open(&bytes).expect("just written");
    let places = whole.directory().groups.clone();
    let mut damaged = bytes;
    damaged[places[0].offset as usize + 5] ^= 1;
    let segment = files.open(&damaged).expect("its directory is whole");
    let bad = read(&segment, places[0].extent.first, ALL).expect_err("damaged");
    let StoreError::Corrupt { offset, .. } = bad else {
        panic!("{bad}");
    };
    assert_eq!(offset, places[0].offset);
    let good = places.last().expect("several").extent.last;
    assert!(read(&segment, good, ALL).is_ok_and(|samples| samples.len() == 300));
    assert!(segment.verify().is_err());
}

/// Merges what `split` makes of the content, and compares.
#[track_caller]
fn check_merge(content: &Content, split: impl Fn(usize, i64) -> bool, n: usize) {
    let files = Files::new();
    let part = |number: usize| -> Content {
        let of = |(key, (samples, exemplars)): (&SeriesKey, &(Samples, Vec<Exemplar>))| {
            let mut own = Samples::default();
            for (time, float) in samples.times.iter().zip(&samples.floats) {
                if split(number, *time) {
                    own.times.push(*time);
                    own.floats.push(*float);
                }
            }
            for (time, histogram) in samples.histogram_times.iter().zip(&samples.histograms) {
                if split(number, *time) {
                    own.histogram_times.push(*time);
                    own.histograms.push(Arc::clone(histogram));
                }
            }
            let exemplars = exemplars.iter().filter(|e| split(number, e.at)).cloned();
            (*key, (own, exemplars.collect()))
        };
        content.iter().map(of).collect()
    };
    let inputs: Vec<MetricSegment> = (0..n)
        .map(|number| files.open(&write(&part(number), Grade::Fresh)))
        .collect::<Result<_, _>>()
        .expect("just written");
    let keys: Vec<SeriesKey> = content.keys().copied().collect();
    for grade in [Grade::Fresh, Grade::Final] {
        let mut out = Vec::new();
        merge(&inputs, grade, &mut out, &mut || Ok(())).expect("just written");
        let merged = files.open(&out).expect("just merged");
        check_same(&read_all(&merged, &keys).expect("whole"), content);
    }
}

#[test]
fn a_merge_has_the_samples_of_all_inputs() {
    let content = sample_content(4, 6, 900);
    let place = |time: i64| (time - 1_795_000_000_000) / 15_000;
    // One after the other, small and large.
    check_merge(&content, |n, time| place(time) / 100 == n as i64, 9);
    check_merge(&content, |n, time| (place(time) >= 200) == (n == 0), 2);
    // Each has some of every time; some samples are in two.
    check_merge(
        &content,
        |n, time| place(time) % 3 == n as i64 || place(time) % 7 == 0,
        3,
    );
}

#[test]
fn long_chunks_are_copied_and_short_ones_become_long() {
    let files = Files::new();
    let piece = |first: i64, n: i64| {
        let mut content = sample_content(1, 2, n);
        for (samples, _) in content.values_mut() {
            samples.times.iter_mut().for_each(|t| *t += first * 15_000);
        }
        files
            .open(&write(&content, Grade::Fresh))
            .expect("just written")
    };
    let sizes = |inputs: &[MetricSegment], grade| {
        let mut out = Vec::new();
        merge(inputs, grade, &mut out, &mut || Ok(())).expect("just written");
        let merged = files.open(&out).expect("just merged");
        let group = merged.group(0).expect("whole");
        let chunks = &group.chunks[group.chunks_of(0)];
        chunks.iter().map(|c| c.stamps.n).collect::<Vec<u32>>()
    };
    let inputs = [
        piece(0, 400),
        piece(400, 200),
        piece(600, 30),
        piece(630, 40),
    ];
    assert_eq!(sizes(&inputs, Grade::Fresh), [400, 200, 70]);
    assert_eq!(sizes(&inputs, Grade::Final), [670]);
    let many: Vec<MetricSegment> = (0..40).map(|i| piece(i * 100, 100)).collect();
    assert!(sizes(&many, Grade::Final).iter().all(|n| *n >= 1000));
}

#[test]
fn a_merge_stops_when_told() {
    let files = Files::new();
    let content = sample_content(2, 2, 20);
    let input = files
        .open(&write(&content, Grade::Fresh))
        .expect("just written");
    let stopped = merge(&[input], Grade::Fresh, &mut Vec::new(), &mut || {
        Err(StoreError::Stopped)
    });
    assert!(matches!(stopped, Err(StoreError::Stopped)));
}

#[test]
fn merging_takes_no_more_memory_than_told() {
    let files = Files::new();
    let inputs: Vec<MetricSegment> = (0..6)
        .map(|i| {
            let mut content = sample_content(30, 40, 240);
            for (samples, _) in content.values_mut() {
                let shift = |time: &mut i64| *time += i * 240 * 15_000;
                samples.times.iter_mut().for_each(shift);
                samples.histogram_times.iter_mut().for_each(shift);
            }
            files.open(&write(&content, Grade::Fresh))
        })
        .collect::<Result<_, _>>()
        .expect("just written");
    for grade in [Grade::Fresh, Grade::Final] {
        let told = merge_bytes(&inputs);
        let counted = allocation_counter::measure(|| {
            merge(&inputs, grade, &mut std::io::sink(), &mut || Ok(())).expect("just written");
        });
        assert!(counted.bytes_max <= told, "{} of {told}", counted.bytes_max);
    }
}

/// Wide histograms wait by their buckets, not by their number.
#[test]
fn merging_wide_histograms_takes_no_more_memory_than_told() {
    let files = Files::new();
    let piece = |first: i64| {
        let mut samples = Samples::default();
        for i in first..first + 60 {
            samples.histogram_times.push(i * 15_000);
            samples.histograms.push(Arc::new(counts(i as u64, 4096)));
        }
        let content = Content::from([(key(1, 1), (samples, Vec::new()))]);
        files
            .open(&write(&content, Grade::Fresh))
            .expect("just written")
    };
    let inputs: Vec<MetricSegment> = (0..16).map(|i| piece(i * 60)).collect();
    let told = merge_bytes(&inputs[..1]);
    let counted = allocation_counter::measure(|| {
        let out = &mut std::io::sink();
        merge(&inputs, Grade::Final, out, &mut || Ok(())).expect("just written");
    });
    assert!(counted.bytes_max <= told, "{} of {told}", counted.bytes_max);
}

#[test]
fn of_two_values_at_one_time_the_same_stays_in_any_order() {
    let float = |value: f64| Samples {
        times: vec![5, 7],
        floats: vec![value, 1.0],
        ..Samples::default()
    };
    let (stale, real) = (float(f64::from_bits(STALE_NAN_BITS)), float(2.0));
    for (a, b) in [(&stale, &real), (&real, &stale)] {
        let mut both = a.clone();
        union(&mut both, b);
        assert_eq!(told(&both), told(&real));
        assert!(!is_stale(both.floats[0]));
    }
    let histogram = Samples {
        histogram_times: vec![7, 9],
        histograms: vec![Arc::new(counts(1, 2)), Arc::new(counts(2, 2))],
        ..Samples::default()
    };
    let mut both = real.clone();
    union(&mut both, &histogram);
    assert_eq!((both.times, both.histogram_times), (vec![5], vec![7, 9]));
}

#[test]
fn a_histogram_too_large_to_keep_is_refused() {
    let mut samples = Samples::default();
    samples.histogram_times.push(1);
    let parts_max = crate::store::metrics::chunk::PARTS_MAX;
    samples.histograms.push(Arc::new(counts(1, parts_max)));
    let mut out = Vec::new();
    let mut writer = Writer::start(&mut out, Grade::Fresh).expect("to memory");
    let refused = writer.series(key(1, 1), &samples, &[]);
    let refused = refused.expect_err("one span more than fits").to_string();
    assert!(refused.contains("at most"), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_samples_in_any_inputs_are_read_as_one(
        samples in proptest::collection::vec((0u32..6, 0usize..4, -300i64..300, any::<u64>()), 0..600),
    ) {
        let files = Files::new();
        let mut inputs = vec![BTreeMap::<(SeriesKey, i64), f64>::new(); 4];
        let mut expected = BTreeMap::<SeriesKey, Samples>::new();
        for (series, input, time, bits) in samples {
            let own = key(series % 2, series);
            inputs[input].insert((own, time), f64::from_bits(bits >> (bits % 60)));
        }
        let segments: Vec<MetricSegment> = inputs.iter().map(|input| {
            let mut content = Content::new();
            for ((key, time), value) in input {
                let (samples, _) = content.entry(*key).or_default();
                samples.times.push(*time);
                samples.floats.push(*value);
            }
            for (key, (samples, _)) in &content {
                union(expected.entry(*key).or_default(), samples);
            }
            files.open(&write(&content, Grade::Fresh)).expect("just written")
        }).collect();
        for grade in [Grade::Fresh, Grade::Final] {
            let mut out = Vec::new();
            merge(&segments, grade, &mut out, &mut || Ok(())).expect("just written");
            let merged = files.open(&out).expect("just merged");
            merged.verify().expect("whole");
            for (key, samples) in &expected {
                prop_assert_eq!(told(&read(&merged, *key, ALL).expect("whole")), told(samples));
            }
        }
    }
}
