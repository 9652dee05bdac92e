//! What benches and fuzz targets may call. Only with the feature of that name, never in a release.
//! Every decoder of foreign bytes has one function here: bytes in, how many records they hold out.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::config;
use crate::ingest;
use crate::model::{Signal, ValueRef, body};
use crate::query::lang;
use crate::receive::{loki, otlp_json};
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
    ("query", query),
    ("json_body", json_body),
    ("log_file", log_file),
    ("segment", store::segment::fuzz::decode),
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

/// A query parses, or not; what is printed parses back to the same.
fn query(bytes: &[u8]) -> Option<usize> {
    let expr = lang::parse(std::str::from_utf8(bytes).ok()?).ok()?;
    assert_eq!(lang::parse(&expr.to_string()).as_ref(), Ok(&expr));
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
