//! What the ways in for metrics share: what they decode to, and how it is handed to the door.

use super::Receiver;
use super::fault::Fault;
use crate::ingest::{MetricsReceipt, MetricsSubmission, Permit, Receipt};
use crate::model::ProjectId;
use crate::model::metric::Batch;
use crate::model::wire::WireError;
use crate::observe::sources::Transport;

/// A request as the door takes it.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) batch: Batch,
    pub(crate) left_out: LeftOut,
}

/// What could not be read as samples of a series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Samples, histograms and exemplars.
    pub(crate) points: u64,
    /// What was wrong first.
    pub(crate) first: Option<String>,
}

impl LeftOut {
    #[cold]
    pub(super) fn add(&mut self, points: usize, what: impl FnOnce() -> String) {
        self.points += points as u64;
        self.first.get_or_insert_with(what);
    }
}

/// Bytes of labels that one request may write out. Labels of remote write 2.0 are numbers of symbols,
/// and a histogram repeats those of its point in each bucket: few bytes can say a lot.
pub(super) const LABEL_BYTES_MAX: usize = 32 << 20;

/// Why a request is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    Wire(WireError),
    /// The labels written out would have more than [`LABEL_BYTES_MAX`] bytes.
    LabelBytes,
    /// Far more points, or larger histograms, than its bytes can honestly hold.
    Points,
}

impl From<WireError> for DecodeError {
    fn from(error: WireError) -> DecodeError {
        DecodeError::Wire(error)
    }
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DecodeError::Wire(error) => error.fmt(f),
            DecodeError::LabelBytes => write!(
                f,
                "its labels have more than {LABEL_BYTES_MAX} bytes when they are written out"
            ),
            DecodeError::Points => f.write_str(
                "it has more empty points or symbols than a request may have: send it in parts",
            ),
        }
    }
}

/// A request's key and what it was decoded to.
pub(crate) struct Coming {
    pub(crate) transport: Transport,
    /// By which a retry is known; `None` where nobody sends the same twice.
    pub(crate) key: Option<u128>,
    /// Decompressed bytes that it was decoded from.
    pub(crate) raw_bytes: usize,
    pub(crate) decoded: Decoded,
}

impl Receiver {
    /// Hands metrics to the door; the second receipt is the first one in the words of all signals.
    ///
    /// # Errors
    /// The door's refusal of the whole request.
    pub(crate) async fn keep_metrics(
        &self,
        permit: Permit,
        coming: Coming,
    ) -> Result<(MetricsReceipt, Receipt), Fault> {
        let Decoded { batch, left_out } = coming.decoded;
        let submission = MetricsSubmission {
            project: ProjectId::DEFAULT,
            transport: coming.transport,
            batch,
            key: coming.key,
            raw_bytes: coming.raw_bytes as u64,
            left_out: left_out.points,
        };
        let receipt = self.door.submit_metrics(permit, submission).await?;
        let told = tell(&receipt, left_out);
        Ok((receipt, told))
    }
}

/// The receipt of points, with a message when some were left out.
fn tell(receipt: &MetricsReceipt, left_out: LeftOut) -> Receipt {
    let outcome = &receipt.outcome;
    let accepted = outcome.samples + outcome.histograms + outcome.exemplars;
    let rejected = outcome.rejected.total();
    let mut reasons = Vec::new();
    if let Some(first) = left_out.first {
        reasons.push(format!("{} left out: {first}", left_out.points));
    }
    for (reason, count, example) in outcome.rejected.iter() {
        reasons.push(format!("{count} rejected as {}: {example}", reason.name()));
    }
    Receipt {
        accepted,
        rejected: rejected + left_out.points,
        message: (!reasons.is_empty()).then(|| reasons.join("; ")),
        deduplicated: receipt.deduplicated,
    }
}
