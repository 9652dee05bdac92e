//! The one door through which telemetry comes in: admission, redaction, dedup, a queue bounded in
//! bytes, and ONE writer thread that owns the store's writer.
//!
//! Per request: one hash, one SIMD pass for secrets, one decode, one write(2). A request that is
//! clean is never copied. Must never hold more than the budget, nor lose an acknowledged record.

mod admit;
#[cfg(feature = "internals")]
pub(crate) mod bench;
mod budget;
mod dedup;
mod door;
#[cfg(test)]
mod door_tests;
mod limits;
mod metrics;
mod offload;
mod redact;
mod report;
mod rewrite;
mod schema;
mod secrets;
mod senders;
mod spare;
#[cfg(test)]
mod tests;
mod writer;

use crate::model::time::NANOS_PER_MINUTE;
use crate::model::{ProjectId, Signal};
use crate::observe::sources::Transport;
pub(crate) use crate::store::Encoding;
use crate::store::Retention;

#[cfg(test)]
pub(crate) use budget::Budget;
pub(crate) use budget::Permit;
pub(crate) use door::{Door, WriterThread};
pub(crate) use limits::{DEPTH_MAX, Limits, TRUNCATED};
pub(crate) use metrics::{MetricsReceipt, MetricsSubmission, metrics_key};
pub(crate) use redact::Redact;

/// Whether an acknowledgement waits for the disk (setting `durability`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// After write(2): survives kill -9; a power cut may cost a second.
    Fast,
    /// After a grouped fdatasync.
    Sync,
}

/// Settings of the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// Memory of requests in flight, in bytes: a quarter of `limits.memory`.
    pub(crate) budget_bytes: usize,
    /// The largest request, in bytes, before and after decompression (`limits.request_bytes`).
    pub(crate) request_bytes: usize,
    pub(crate) limits: Limits,
    pub(crate) redact: Redact,
    /// `ingest.dedup_window`; 0 turns it off.
    pub(crate) dedup_window_ns: u64,
    pub(crate) durability: Durability,
    /// Records past it are left out.
    pub(crate) retention: Retention,
}

/// The largest request when nothing is set: with the index of usual records it fits the heads, which
/// have 48 MiB at most. A Collector sends up to 20 MiB.
const REQUEST_BYTES_MAX: usize = 32 << 20;

impl Config {
    /// The defaults of the settings for a given `limits.memory`.
    pub(crate) fn for_memory(memory_bytes: usize) -> Config {
        Config {
            budget_bytes: memory_bytes / 4,
            request_bytes: (memory_bytes / 16).min(REQUEST_BYTES_MAX),
            limits: Limits::default(),
            redact: Redact {
                credentials: true,
                ..Redact::OFF
            },
            dedup_window_ns: 5 * NANOS_PER_MINUTE,
            durability: Durability::Fast,
            retention: Retention::default(),
        }
    }
}

/// One request as a receiver hands it over.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) signal: Signal,
    pub(crate) project: ProjectId,
    pub(crate) transport: Transport,
    /// The decompressed OTLP protobuf request.
    pub(crate) bytes: Vec<u8>,
    /// The same as it came, when compressed: what the WAL takes if nothing has to change.
    pub(crate) wire: Option<(Encoding, bytes::Bytes)>,
    /// Records that the receiver could not even write down: counted as malformed with the rest.
    pub(crate) left_out: u64,
}

/// What became of a request that was not refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    /// For partial_success: what was rejected and why, or what was cut. `None`: all went well.
    pub(crate) message: Option<String>,
    pub(crate) deduplicated: bool,
}

/// Why a whole request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not the message it claims to be. Never retried.
    Malformed(String),
    /// Over `limits.request_bytes`. Never retried.
    TooLarge { bytes: u64, max: u64 },
    /// The memory budget or the queue is full, or sealing is behind.
    Overloaded { retry_after_s: u32 },
    /// Less room on the disk than `limits.disk_free_min`.
    DiskFull,
    /// A write failed earlier; nothing is accepted until a restart.
    Poisoned,
    /// The server stops.
    Closing,
}

impl Refusal {
    /// A label of the metrics.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Refusal::Malformed(_) => "malformed",
            Refusal::TooLarge { .. } => "too_large",
            Refusal::Overloaded { .. } => "overloaded",
            Refusal::DiskFull => "disk_full",
            Refusal::Poisoned => "poisoned",
            Refusal::Closing => "closing",
        }
    }

    /// Seconds after which the sender may try again; `None`: not at all.
    pub(crate) const fn retry_after_s(&self) -> Option<u32> {
        match self {
            Refusal::Malformed(_) | Refusal::TooLarge { .. } => None,
            Refusal::Overloaded { retry_after_s } => Some(*retry_after_s),
            Refusal::DiskFull => Some(30),
            Refusal::Poisoned => Some(60),
            Refusal::Closing => Some(5),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Malformed(what) => f.write_str(what),
            Refusal::TooLarge { max, .. } => write!(
                f,
                "the request is larger than {max} bytes after decompression (limits.request_bytes): send smaller batches"
            ),
            Refusal::Overloaded { retry_after_s } => write!(
                f,
                "over the memory budget: send again in {retry_after_s} s (limits.memory)"
            ),
            Refusal::DiskFull => f.write_str(
                "the disk is almost full, nothing is accepted: free some space (limits.disk_free_min)",
            ),
            Refusal::Poisoned => f.write_str(
                "a write to the disk failed, nothing is accepted: check the disk and restart watchpost",
            ),
            Refusal::Closing => f.write_str("watchpost is stopping"),
        }
    }
}

impl std::error::Error for Refusal {}

/// The stack that hostile nesting must fit in: 64 KB (`scripts/test` runs these tests optimised), and
/// more where frames are not. Ten thousand levels of recursion would take megabytes in either.
#[cfg(test)]
pub(crate) const TEST_STACK_BYTES: usize = if cfg!(debug_assertions) {
    512 << 10
} else {
    64 << 10
};

/// How many records of a request admission would keep; what tests and fuzz targets of the receivers
/// look at.
///
/// # Errors
/// As admission.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn records_kept(
    signal: Signal,
    request: Vec<u8>,
) -> Result<usize, crate::model::wire::WireError> {
    let terms = admit::Terms {
        signal,
        project: ProjectId::DEFAULT,
        received: crate::model::Timestamp(1_763_724_000_000_000_000),
        oldest: crate::model::Timestamp(0),
        of_services: &[],
        limits: &Limits::default(),
        redact: Redact {
            credentials: true,
            cards: true,
            emails: true,
        },
    };
    let admitted = admit::admit(request, terms)?;
    Ok(match admitted.chunk {
        crate::store::BatchChunk::Logs(chunk) => chunk.entries.len(),
        crate::store::BatchChunk::Traces(chunk) => chunk.entries.len(),
        crate::store::BatchChunk::Metrics(_) => 0,
    })
}
