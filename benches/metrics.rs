//! One figure per step of the segments of metrics: write, merge, recode, read.
//!
//! `CORPORA=DIR cargo bench --features internals --bench metrics`; DIR has `rw-10k.bin` of the load
//! generator (remote write, snappy). Without it made-up series are measured, which only shows that the
//! benches run.

use std::collections::HashMap;
use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::ItemsCount;
use watchpost::internals::MetricBed;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HEADER_BYTES: usize = 1024;
const FRAME_HEADER_BYTES: usize = 16;

type Series = (String, Vec<i64>, Vec<f64>);

static BED: LazyLock<(MetricBed, tempfile::TempDir)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    (MetricBed::new(series(), dir.path()), dir)
});

fn main() {
    println!("{}", BED.0.sizes());
    divan::main();
}

fn series() -> Vec<Series> {
    let Ok(dir) = std::env::var("CORPORA") else {
        return (0..200).map(made_up).collect();
    };
    let file = std::fs::read(format!("{dir}/rw-10k.bin")).expect("the corpus can be read");
    let (mut at, mut series) = (HEADER_BYTES, Vec::new());
    let (mut numbers, mut snappy) = (HashMap::new(), snap::raw::Decoder::new());
    while let Some(len) = file.get(at..at + 4) {
        let len = u32::from_le_bytes(len.try_into().expect("four bytes")) as usize;
        let start = at + FRAME_HEADER_BYTES;
        let request = snappy.decompress_vec(&file[start..start + len]);
        read_request(
            &request.expect("a corpus is sound"),
            &mut numbers,
            &mut series,
        );
        at = start + len;
    }
    series
}

fn made_up(number: u32) -> Series {
    let times = (0..240).map(|i| 1_795_000_000_000 + i * 15_000);
    let value = |i: u32| f64::from(i * number + i * i * number % 7) / 10.0;
    let name = format!("metric_{}", number % 7);
    (name, times.collect(), (0..240).map(value).collect())
}

/// A `WriteRequest`: field 1 of it `TimeSeries`, of that 1 `Label` and 2 `Sample`.
fn read_request(
    mut request: &[u8],
    numbers: &mut HashMap<Vec<u8>, usize>,
    series: &mut Vec<Series>,
) {
    while !request.is_empty() {
        let (mut one, mut labels, mut name) = (field(&mut request).1, Vec::new(), String::new());
        let mut samples = Vec::new();
        while !one.is_empty() {
            let (tag, mut part) = field(&mut one);
            if tag != 0x0a {
                let value = f64::from_le_bytes(part[1..9].try_into().expect("a double"));
                samples.push((varint(&mut &part[10..]) as i64, value));
                continue;
            }
            labels.extend_from_slice(part);
            let (label, value) = (field(&mut part).1, field(&mut part).1);
            if label == b"__name__" {
                name = String::from_utf8_lossy(value).into_owned();
            }
        }
        let number = *numbers.entry(labels).or_insert_with(|| {
            series.push((name, Vec::new(), Vec::new()));
            series.len() - 1
        });
        for (time, value) in samples {
            series[number].1.push(time);
            series[number].2.push(value);
        }
    }
}

/// Tag and bytes of a field that has a length.
fn field<'b>(bytes: &mut &'b [u8]) -> (u64, &'b [u8]) {
    let (tag, len) = (varint(bytes), varint(bytes) as usize);
    let (field, rest) = bytes.split_at(len);
    *bytes = rest;
    (tag, field)
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    while let Some((byte, rest)) = bytes.split_first() {
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// Counts samples, so that the figures are per second.
fn run(bencher: Bencher<'_, '_>, samples: usize, step: impl Fn() -> usize + Sync) {
    bencher.counter(ItemsCount::new(samples)).bench(step);
}

#[divan::bench(sample_count = 10)]
fn seal(bencher: Bencher<'_, '_>) {
    run(bencher, BED.0.samples(), || BED.0.seal());
}

#[divan::bench(sample_count = 10)]
fn merge_four(bencher: Bencher<'_, '_>) {
    run(bencher, BED.0.samples(), || BED.0.merge(false));
}

#[divan::bench(sample_count = 5)]
fn merge_four_last_level(bencher: Bencher<'_, '_>) {
    run(bencher, BED.0.samples(), || BED.0.merge(true));
}

#[divan::bench(sample_count = 10)]
fn read_all_fresh(bencher: Bencher<'_, '_>) {
    run(bencher, BED.0.samples(), || BED.0.read_fresh());
}

#[divan::bench(sample_count = 10)]
fn read_all_last_level(bencher: Bencher<'_, '_>) {
    run(bencher, BED.0.samples(), || BED.0.read_merged());
}

#[divan::bench]
fn read_one_series(bencher: Bencher<'_, '_>) {
    bencher.bench(|| BED.0.read_one());
}
