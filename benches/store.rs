//! One figure per step of the store: decode, seal, merge, rewrite, and what queries read.
//!
//! `CORPORA=DIR cargo bench --features internals --bench store`; DIR has `logs-1m.bin` and
//! `traces-1m.bin` of the load generator, of which 327,680 records are taken. Without it the few
//! requests of `tests/fixtures` are measured, which only shows that the benches run.

use std::sync::LazyLock;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use watchpost::internals::{Beds, otlp_logs, otlp_traces};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HEADER_BYTES: usize = 1024;
const FRAME_HEADER_BYTES: usize = 16;
/// Requests of a corpus that are taken: ten heads.
const REQUESTS: usize = 400;

struct Corpus {
    logs: Vec<Bytes>,
    traces: Vec<Bytes>,
    beds: Beds,
    _dir: tempfile::TempDir,
}

static CORPUS: LazyLock<Corpus> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let (logs, traces) = (bodies("logs"), bodies("traces"));
    let beds = Beds::new(logs.clone(), traces.clone(), dir.path());
    Corpus {
        logs,
        traces,
        beds,
        _dir: dir,
    }
});

fn main() {
    LazyLock::force(&CORPUS);
    divan::main();
}

fn bodies(signal: &str) -> Vec<Bytes> {
    let Ok(dir) = std::env::var("CORPORA") else {
        let name = if signal == "logs" { "logs" } else { "spans" };
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
        let body = std::fs::read(format!("{dir}/segment-{name}.otlp"));
        return vec![body.expect("a fixture can be read").into()];
    };
    let file = std::fs::read(format!("{dir}/{signal}-1m.bin"));
    let file = Bytes::from(file.expect("the corpus can be read"));
    let (mut at, mut bodies) = (HEADER_BYTES, Vec::new());
    while let Some(len) = file.get(at..at + 4).filter(|_| bodies.len() < REQUESTS) {
        let len = u32::from_le_bytes(len.try_into().expect("four bytes")) as usize;
        let start = at + FRAME_HEADER_BYTES;
        bodies.push(file.slice(start..start + len));
        at = start + len;
    }
    bodies
}

/// Counts records, so that the figures are per second.
fn run(bencher: Bencher<'_, '_>, records: usize, step: impl Fn() -> usize + Sync) {
    bencher.counter(ItemsCount::new(records)).bench(step);
}

#[divan::bench(sample_count = 10)]
fn logs_decode(bencher: Bencher<'_, '_>) {
    let bodies = &CORPUS.logs;
    let decode = || bodies.iter().filter_map(|body| otlp_logs(body)).sum();
    run(bencher, CORPUS.beds.records().0, decode);
}

#[divan::bench(sample_count = 10)]
fn logs_seal_one_head(bencher: Bencher<'_, '_>) {
    run(bencher, CORPUS.beds.head_records().0, || {
        CORPUS.beds.logs_seal()
    });
}

#[divan::bench(sample_count = 10)]
fn logs_merge(bencher: Bencher<'_, '_>) {
    run(bencher, CORPUS.beds.records().0, || {
        CORPUS.beds.logs_merge()
    });
}

#[divan::bench(sample_count = 5)]
fn logs_rewrite(bencher: Bencher<'_, '_>) {
    run(bencher, CORPUS.beds.records().0, || {
        CORPUS.beds.logs_recode()
    });
}

#[divan::bench(sample_count = 10)]
fn logs_read_all(bencher: Bencher<'_, '_>) {
    run(bencher, CORPUS.beds.records().0, || CORPUS.beds.logs_read());
}

#[divan::bench(sample_count = 10)]
fn logs_substring(bencher: Bencher<'_, '_>) {
    let search = || CORPUS.beds.logs_search("refused");
    run(bencher, CORPUS.beds.records().0, search);
}

#[divan::bench(sample_count = 10)]
fn logs_substring_sifted(bencher: Bencher<'_, '_>) {
    let beds = &CORPUS.beds;
    assert_eq!(beds.logs_sift("refused"), beds.logs_search("refused"));
    run(bencher, beds.records().0, || beds.logs_sift("refused"));
}

#[divan::bench(sample_count = 10)]
fn spans_decode(bencher: Bencher<'_, '_>) {
    let bodies = &CORPUS.traces;
    let decode = || bodies.iter().filter_map(|body| otlp_traces(body)).sum();
    run(bencher, CORPUS.beds.records().1, decode);
}

#[divan::bench(sample_count = 10)]
fn spans_seal_one_head(bencher: Bencher<'_, '_>) {
    run(bencher, CORPUS.beds.head_records().1, || {
        CORPUS.beds.spans_seal()
    });
}

#[divan::bench(sample_count = 10)]
fn spans_merge(bencher: Bencher<'_, '_>) {
    run(bencher, CORPUS.beds.records().1, || {
        CORPUS.beds.spans_merge()
    });
}

#[divan::bench(sample_count = 5)]
fn spans_rewrite(bencher: Bencher<'_, '_>) {
    run(bencher, CORPUS.beds.records().1, || {
        CORPUS.beds.spans_recode()
    });
}

#[divan::bench]
fn trace_by_id_in_ten_fresh_segments() -> usize {
    CORPUS.beds.trace_fresh()
}

#[divan::bench]
fn trace_by_id_in_a_rewritten_segment() -> usize {
    CORPUS.beds.trace()
}
