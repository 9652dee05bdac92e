//! What benches and fuzz targets may call. Only with the feature of that name, never in a release.
//! Every decoder of foreign bytes has one function here: bytes in, how many records they hold out.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::config;
use crate::ingest;
use crate::model::{Signal, ValueRef, body};
use crate::query::lang;
use crate::receive::exposition::{self, Format, Item};
use crate::receive::remote_write::{self, Version};
use crate::receive::{loki, otlp_json, otlp_metrics, pushgateway};
use crate::store;
use crate::store::segment::measure::Bed;
use crate::store::segment::{Logs, Spans};

/// Figures of sealing, merging and reading log requests (encoded OTLP); files go to `dir`.
pub fn measure_log_segments(bodies: &[Bytes], dir: &Path) -> String {
    crate::store::segment::measure::logs(bodies, dir)
}

/// As [`measure_log_segments`], for span requests.
pub fn measure_span_segments(bodies: &[Bytes], dir: &Path) -> String {
    crate::store::segment::measure::spans(bodies, dir)
}

/// Counters in memory, for benches of PromQL.
#[derive(Debug)]
pub struct PromqlBed(crate::query::promql::eval::measure::Bed);

impl PromqlBed {
    /// So many series.
    pub fn new(series: usize) -> PromqlBed {
        PromqlBed(crate::query::promql::eval::measure::Bed::new(series))
    }

    /// Evaluates a query at every step; how many samples it read.
    pub fn run(&self, query: &str) -> u64 {
        self.0.run(query)
    }
}

/// Segments of both signals made of recorded requests, for benches of one step each.
#[derive(Debug)]
pub struct Beds {
    logs: Bed<Logs>,
    spans: Bed<Spans>,
}

impl Beds {
    /// Seals, merges and rewrites encoded requests once; files go to `dir`.
    pub fn new(logs: Vec<Bytes>, traces: Vec<Bytes>, dir: &Path) -> Beds {
        let (of_logs, of_spans) = (dir.join("logs"), dir.join("spans"));
        for dir in [&of_logs, &of_spans] {
            std::fs::create_dir(dir).expect("an empty directory");
        }
        Beds {
            logs: Bed::<Logs>::new(logs, &of_logs),
            spans: Bed::<Spans>::new(traces, &of_spans),
        }
    }

    /// Log records and spans in all heads.
    pub fn records(&self) -> (usize, usize) {
        (self.logs.rows(), self.spans.rows())
    }

    /// Log records and spans of the first head.
    pub fn head_records(&self) -> (usize, usize) {
        (self.logs.head_rows(), self.spans.head_rows())
    }

    /// Seals the first head; the number of segments.
    pub fn logs_seal(&self) -> usize {
        self.logs.seal()
    }

    /// Merges all fresh segments by copying; the bytes.
    pub fn logs_merge(&self) -> usize {
        self.logs.merge()
    }

    /// Rewrites all fresh segments; the bytes.
    pub fn logs_recode(&self) -> usize {
        self.logs.recode()
    }

    /// Reads all columns; the records.
    pub fn logs_read(&self) -> usize {
        self.logs.read()
    }

    /// The records whose body has `text`, found by looking at each.
    pub fn logs_search(&self, text: &str) -> usize {
        self.logs.search(text)
    }

    /// The same records, found as searches do.
    pub fn logs_sift(&self, text: &str) -> usize {
        self.logs.sift(text)
    }

    /// As [`Beds::logs_seal`].
    pub fn spans_seal(&self) -> usize {
        self.spans.seal()
    }

    /// As [`Beds::logs_merge`].
    pub fn spans_merge(&self) -> usize {
        self.spans.merge()
    }

    /// As [`Beds::logs_recode`].
    pub fn spans_recode(&self) -> usize {
        self.spans.recode()
    }

    /// Spans of one trace, read from the rewritten segment.
    pub fn trace(&self) -> usize {
        self.spans.trace()
    }

    /// Spans of one trace, read from all fresh segments.
    pub fn trace_fresh(&self) -> usize {
        self.spans.trace_fresh()
    }
}

/// Segments of metrics made of recorded series, for benches of one step each.
#[derive(Debug)]
pub struct MetricBed(store::metrics::segment::measure::Bed);

impl MetricBed {
    /// Writes and merges series once: name of the metric, times in ms, values; files go to `dir`.
    pub fn new(series: Vec<(String, Vec<i64>, Vec<f64>)>, dir: &Path) -> MetricBed {
        MetricBed(store::metrics::segment::measure::Bed::new(series, dir))
    }

    /// Samples of all series.
    pub fn samples(&self) -> usize {
        self.0.samples()
    }

    /// Bytes per sample, by what they are for.
    pub fn sizes(&self) -> String {
        self.0.sizes()
    }

    /// Writes a fresh segment; its bytes.
    pub fn seal(&self) -> usize {
        self.0.seal()
    }

    /// Merges four fresh segments, into one of the last level when `last`; its bytes.
    pub fn merge(&self, last: bool) -> usize {
        self.0.merge(last)
    }

    /// Reads all series of the fresh segment; the samples.
    pub fn read_fresh(&self) -> usize {
        self.0.read_fresh()
    }

    /// Reads all series of the segment of the last level; the samples.
    pub fn read_merged(&self) -> usize {
        self.0.read_merged()
    }

    /// Reads one series with nothing at hand; the samples.
    pub fn read_one(&self) -> usize {
        self.0.read_one()
    }
}

/// A decoder of foreign bytes. `None`: refused.
pub type Decoder = fn(&[u8]) -> Option<usize>;

/// Every decoder with the name of its corpus below `fuzz/corpus`.
pub const DECODERS: &[(&str, Decoder)] = &[
    ("otlp_logs", otlp_logs),
    ("otlp_traces", otlp_traces),
    ("otlp_json_logs", otlp_json_logs),
    ("otlp_json_traces", otlp_json_traces),
    ("loki_protobuf", loki_protobuf),
    ("loki_json", loki_json),
    ("exposition_prometheus", |page| {
        exposition(page, Format::Prometheus)
    }),
    ("exposition_openmetrics", |page| {
        exposition(page, Format::OpenMetrics)
    }),
    ("remote_write_v1", |request| {
        remote_write(request, Version::V1)
    }),
    ("remote_write_v2", |request| {
        remote_write(request, Version::V2)
    }),
    ("otlp_metrics", otlp_metrics),
    ("otlp_json_metrics", otlp_json_metrics),
    ("pushgateway", pushed_page),
    ("query", query),
    ("promql", promql),
    ("json_body", json_body),
    ("log_file", log_file),
    ("metrics_batch", store::metrics_events),
    ("segment", store::segment::fuzz::decode),
    ("metrics_segment", store::metrics::segment::fuzz::decode),
    ("settings_file", settings_file),
];

/// Admission of a decompressed OTLP request, all redaction rules on.
pub fn otlp_logs(bytes: &[u8]) -> Option<usize> {
    ingest::records_kept(Signal::Logs, bytes.to_vec()).ok()
}

/// As [`otlp_logs`].
pub fn otlp_traces(bytes: &[u8]) -> Option<usize> {
    ingest::records_kept(Signal::Traces, bytes.to_vec()).ok()
}

fn otlp_json_logs(bytes: &[u8]) -> Option<usize> {
    otlp_logs(&otlp_json::transcode(Signal::Logs, bytes).ok()?)
}

fn otlp_json_traces(bytes: &[u8]) -> Option<usize> {
    otlp_traces(&otlp_json::transcode(Signal::Traces, bytes).ok()?)
}

fn loki_protobuf(bytes: &[u8]) -> Option<usize> {
    otlp_logs(&loki::from_protobuf(bytes).ok()?.request)
}

fn loki_json(bytes: &[u8]) -> Option<usize> {
    otlp_logs(&loki::from_json(bytes).ok()?.request)
}

/// A page in a text format; its samples.
fn exposition(page: &[u8], format: Format) -> Option<usize> {
    let mut samples = 0;
    let count = |item: Item<'_>| samples += usize::from(matches!(item, Item::Sample(_)));
    exposition::parse(page, format, count).ok()?;
    Some(samples)
}

fn remote_write(request: &[u8], version: Version) -> Option<usize> {
    Some(remote_write::decode(request, version).ok()?.batch.samples())
}

fn otlp_metrics(request: &[u8]) -> Option<usize> {
    let deltas = otlp_metrics::Deltas::default();
    Some(otlp_metrics::decode(request, &deltas).ok()?.batch.samples())
}

fn otlp_json_metrics(json: &[u8]) -> Option<usize> {
    otlp_metrics(&otlp_json::transcode_metrics(json).ok()?)
}

/// A page that is pushed comes back after a restart.
fn pushed_page(page: &[u8]) -> Option<usize> {
    let key = pushgateway::group("job/fuzz").ok()?;
    let (mut groups, format) = (pushgateway::Groups::default(), Format::Prometheus);
    let group = groups
        .pushed(&key, page, format, pushgateway::Push::Merge, 1)
        .ok()?;
    let again = pushgateway::Group::decode(&group.encode());
    groups.set(&key, Some(again.expect("a group's own bytes")));
    Some(groups.round(1).samples())
}

/// A query parses, or not; what is printed parses back to the same.
fn query(bytes: &[u8]) -> Option<usize> {
    let expr = lang::parse(std::str::from_utf8(bytes).ok()?).ok()?;
    assert_eq!(lang::parse(&expr.to_string()).as_ref(), Ok(&expr));
    Some(1)
}

/// A PromQL expression is taken, or not; what is printed is taken too and prints the same.
fn promql(bytes: &[u8]) -> Option<usize> {
    let expr = crate::query::promql::parse(std::str::from_utf8(bytes).ok()?).ok()?;
    let printed = expr.to_string();
    let again = crate::query::promql::parse(&printed).map(|expr| expr.to_string());
    assert_eq!(again.as_ref(), Ok(&printed));
    Some(1)
}

/// The members of a JSON body, and what is lifted out of it.
fn json_body(bytes: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(bytes).ok()?;
    body::fields(ValueRef::Str(text));
    body::lookup(ValueRef::Str(text), "a.b.c");
    let mut members = body::members(text)?;
    let count = members
        .by_ref()
        .inspect(|(key, _)| {
            std::hint::black_box(key.get());
        })
        .count();
    members.complete().then_some(count)
}

/// A file of the log on disk, replayed as it is and again with its checksums made right: what a
/// checksum lets through must not be trusted either.
fn log_file(bytes: &[u8]) -> Option<usize> {
    let dir = Scratch::new();
    let whole = store::replay_alone(&dir.0, bytes);
    store::replay_alone(&dir.0, &store::with_right_checksums(bytes));
    whole
}

/// A configuration file; how many settings it gives.
fn settings_file(bytes: &[u8]) -> Option<usize> {
    let dir = Scratch::new();
    let path = dir.0.join("watchpost.toml");
    std::fs::write(&path, bytes).expect("the scratch directory takes a file");
    config::load(&config::Sources {
        config: Some(path),
        environment: Vec::new(),
        flags: Vec::new(),
    })
    .ok()
    .map(|_| 1)
}

/// A directory of this process' own that goes away with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("watchpost-fuzz-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("the temporary directory takes a directory");
        Scratch(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays lies in the system's temporary directory.
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// A step of admission over one request, of spans or of log records.
pub type Step = fn(Vec<u8>, bool) -> usize;

/// The steps of admission, each alone, for the bench: takes the request it works on.
pub const STEPS: &[(&str, Step)] = &[
    ("hash", |bytes, traces| {
        ingest::bench::hash(&bytes, signal(traces))
    }),
    ("redact", |bytes, traces| {
        ingest::bench::redact(bytes, signal(traces), false)
    }),
    ("redact, all rules", |bytes, traces| {
        ingest::bench::redact(bytes, signal(traces), true)
    }),
    ("admit, no redaction", |bytes, traces| {
        ingest::bench::admit(bytes, signal(traces), false)
    }),
    ("admit", |bytes, traces| {
        ingest::bench::admit(bytes, signal(traces), true)
    }),
];

const fn signal(traces: bool) -> Signal {
    if traces { Signal::Traces } else { Signal::Logs }
}
