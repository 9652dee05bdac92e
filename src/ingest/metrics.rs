//! The way in for metrics: samples by series, decoded by whoever received or scraped them. The store's
//! writer decides sample by sample; nothing here looks into one.

use tokio::sync::oneshot;

use super::writer::Item;
use super::{Door, Permit, Refusal, dedup};
use crate::model::metric::Batch;
use crate::model::{ProjectId, Signal};
use crate::observe::sources::Transport;
use crate::observe::{Metric, Metrics};
use crate::store::{MetricsBatch, MetricsOutcome, RejectReason};

/// One request or scrape of metrics.
#[derive(Debug)]
pub(crate) struct MetricsSubmission {
    pub(crate) project: ProjectId,
    pub(crate) transport: Transport,
    pub(crate) batch: Batch,
    /// By which a retry of the whole request is known: [`super::metrics_key`] of its decompressed
    /// bytes. `None` where nobody sends the same twice (scrapes).
    pub(crate) key: Option<u128>,
    /// Decompressed bytes that it was decoded from.
    pub(crate) raw_bytes: u64,
    /// Samples that the receiver could not even read: counted as malformed with the rest.
    pub(crate) left_out: u64,
}

/// What became of a request that was not refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetricsReceipt {
    /// All zero when the request came before within `ingest.dedup_window`.
    pub(crate) outcome: MetricsOutcome,
    pub(crate) deduplicated: bool,
}

impl Door {
    /// Keeps a batch and waits until it is kept; single bad samples are told in the receipt. `permit`
    /// covers the bytes that the batch was read from; memory for the batch itself is asked for here.
    ///
    /// # Errors
    /// Why the whole request was refused: it may come again where the [`Refusal`] says so.
    pub(crate) async fn submit_metrics(
        &self,
        mut permit: Permit,
        submission: MetricsSubmission,
    ) -> Result<MetricsReceipt, Refusal> {
        let refused = |refusal: Refusal| {
            self.refused(Signal::Metrics, &refusal);
            refusal
        };
        let name = Signal::Metrics.name();
        let raw_bytes = submission.raw_bytes;
        self.metrics().add(Metric::DecodedBytes, &[name], raw_bytes);
        // Once more for what the writer makes of it for the log.
        let bytes = 2 * submission.batch.heap_bytes();
        self.fits(permit.bytes() + bytes).map_err(refused)?;
        permit.grow(bytes).await.map_err(refused)?;
        let (reply, outcome) = oneshot::channel();
        let waiting = WaitingMetrics {
            request: MetricsBatch {
                project: submission.project,
                received: self.clock().now(),
                batch: submission.batch,
                key: submission.key.unwrap_or_default(),
                raw_bytes,
            },
            left_out: submission.left_out,
            transport: submission.transport,
            reply,
            permit,
        };
        self.queue(Item::Metrics(Box::new(waiting)))
            .map_err(refused)?;
        // The writer has counted it; without its word it has ended.
        outcome
            .await
            .unwrap_or_else(|_| Err(refused(Refusal::Closing)))
    }
}

/// A batch that waits for the writer.
pub(super) struct WaitingMetrics {
    pub(super) request: MetricsBatch,
    pub(super) left_out: u64,
    pub(super) transport: Transport,
    pub(super) reply: oneshot::Sender<Result<MetricsReceipt, Refusal>>,
    pub(super) permit: Permit,
}

/// A batch that is through but for its answer.
pub(super) struct AckedMetrics {
    pub(super) left_out: u64,
    pub(super) transport: Transport,
    pub(super) reply: oneshot::Sender<Result<MetricsReceipt, Refusal>>,
    pub(super) outcome: Result<MetricsReceipt, Refusal>,
}

impl AckedMetrics {
    /// Counts what became of it, then tells its sender, who may have hung up.
    pub(super) fn answer(self, metrics: &Metrics) {
        let signal = Signal::Metrics.name();
        match &self.outcome {
            Err(refusal) => metrics.add(Metric::Refused, &[signal, refusal.reason()], 1),
            Ok(receipt) if receipt.deduplicated => metrics.add(Metric::Deduplicated, &[signal], 1),
            Ok(receipt) => count(&receipt.outcome, self.left_out, self.transport, metrics),
        }
        _ = self.reply.send(self.outcome);
    }
}

/// Samples have no service: they are counted by how they came.
fn count(outcome: &MetricsOutcome, left_out: u64, transport: Transport, metrics: &Metrics) {
    let (signal, sender) = (Signal::Metrics.name(), transport.name());
    let kept = outcome.samples + outcome.histograms;
    metrics.add(Metric::Accepted, &[signal, sender], kept);
    metrics.add(Metric::Exemplars, &[], outcome.exemplars);
    metrics.add(Metric::RepeatedSamples, &[], outcome.repeated);
    metrics.add(Metric::SeriesAdded, &[], outcome.series_added);
    let malformed = RejectReason::Malformed.name();
    metrics.add(Metric::Rejected, &[signal, sender, malformed], left_out);
    for (reason, n, _) in outcome.rejected.iter() {
        metrics.add(Metric::Rejected, &[signal, sender, reason.name()], n);
        if reason.is_series_limit() {
            metrics.add(Metric::SeriesLimitDropped, &[reason.name()], n);
        }
    }
}

/// The key of a request of metrics by its decompressed bytes.
pub(crate) fn metrics_key(bytes: &[u8], project: ProjectId) -> u128 {
    dedup::key(bytes, Signal::Metrics, project)
}
