//! Wire formats of senders. Each becomes the one form the door takes: a decompressed OTLP protobuf
//! request. Handlers are thin: read within the budget, transcode, submit, answer.
//!
//! Must never buffer a byte outside the budget of the door, nor answer success before it has.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod cors;
pub(crate) mod exposition;
pub(crate) mod fault;
mod json;
pub(crate) mod loki;
pub(crate) mod metrics;
mod native;
pub(crate) mod otlp_grpc;
pub(crate) mod otlp_http;
pub(crate) mod otlp_json;
pub(crate) mod otlp_json_out;
pub(crate) mod otlp_metrics;
mod otlp_shape;
pub(crate) mod pushgateway;
pub(crate) mod remote_write;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::ingest::{Door, Permit, Receipt, Submission, metrics_key};
use crate::model::{ProjectId, Signal};
use crate::observe::Metric;
use crate::observe::sources::{Transport, WireLine};
use answer::{Format, Kind};
use body::Coding;
use fault::Fault;
use otlp_metrics::Deltas;

/// What every receiver needs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) door: Door,
    /// Sums of what OTLP tells in deltas.
    deltas: Arc<Deltas>,
}

/// What is known of a request besides its outcome, for the counters and the wire of `/start`.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// `traces`, `logs` or `metrics`.
    pub(crate) signal: &'static str,
    pub(crate) transport: Transport,
    /// Method and path.
    pub(crate) request: String,
    /// Bytes as they came, still compressed.
    pub(crate) bytes: u64,
}

/// One request as it came, whole.
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) format: Format,
    pub(crate) transport: Transport,
    pub(crate) coding: Coding,
    pub(crate) bytes: Vec<u8>,
}

/// Bytes of series for each byte of OTLP metrics, about: a histogram's labels are there once and
/// become those of each bucket.
const SERIES_PER_BYTE: usize = 4;

impl Receiver {
    pub(crate) fn new(door: Door) -> Receiver {
        Receiver {
            door,
            deltas: Arc::default(),
        }
    }

    /// From bytes as they came to a receipt: decompress, transcode, hand to the door.
    pub(crate) async fn submit(
        &self,
        message: Message,
        mut permit: Permit,
    ) -> Result<Receipt, Fault> {
        let Message {
            kind,
            format,
            transport,
            coding,
            bytes,
        } = message;
        let max = self.door.config().request_bytes;
        let (mut decoded, mut wire) = (bytes, None);
        if coding != Coding::Identity {
            let plain = body::decompress(coding, &decoded, max, &mut permit).await?;
            let compressed = std::mem::replace(&mut decoded, plain);
            wire = coding
                .logged()
                .map(|encoding| (encoding, compressed.into()));
        }
        let decoded_bytes = decoded.len();
        let signal = match kind {
            Kind::Traces => Signal::Traces,
            Kind::Logs => Signal::Logs,
            Kind::Metrics => return self.submit_points(decoded, format, transport, permit).await,
        };
        if format == Format::Json {
            // Protobuf is shorter than the JSON it says the same as; both are there at the same time.
            permit.grow(decoded_bytes).await?;
            let transcode = move || otlp_json::transcode(signal, &decoded);
            let transcoded = self.door.offload(&permit, decoded_bytes, transcode).await;
            decoded =
                transcoded.map_err(|error| Fault::Malformed(format!("not OTLP/JSON: {error}")))?;
            wire = None;
            permit.shrink(decoded.len());
        }
        let submission = Submission {
            signal,
            project: ProjectId::DEFAULT,
            transport,
            bytes: decoded,
            wire,
            left_out: 0,
        };
        Ok(self.door.submit(permit, submission).await?)
    }

    /// A decompressed request of OTLP metrics.
    async fn submit_points(
        &self,
        request: Vec<u8>,
        format: Format,
        transport: Transport,
        mut permit: Permit,
    ) -> Result<Receipt, Fault> {
        let raw_bytes = request.len();
        permit.grow(SERIES_PER_BYTE * raw_bytes).await?;
        let deltas = self.deltas.clone();
        let read = move || {
            let transcoded = match format {
                Format::Protobuf => None,
                Format::Json => Some(
                    otlp_json::transcode_metrics(&request)
                        .map_err(|error| Fault::Malformed(format!("not OTLP/JSON: {error}")))?,
                ),
            };
            let key = metrics_key(&request, ProjectId::DEFAULT);
            let decoded = otlp_metrics::decode(transcoded.as_ref().unwrap_or(&request), &deltas);
            let decoded = decoded.map_err(|error| {
                Fault::Malformed(format!("not an OTLP metrics request: {error}"))
            })?;
            Ok::<_, Fault>((key, decoded))
        };
        let (key, decoded) = self.door.offload(&permit, raw_bytes, read).await?;
        permit.shrink(raw_bytes);
        let coming = metrics::Coming {
            transport,
            key: Some(key),
            raw_bytes,
            decoded,
        };
        Ok(self.keep_metrics(permit, coming).await?.1)
    }

    /// Counts an answered request.
    pub(crate) fn note(&self, arrival: Arrival, outcome: &Result<Receipt, Fault>) {
        let (status, records, note) = match outcome {
            Ok(receipt) => {
                let repeated = receipt
                    .deduplicated
                    .then_some("seen before, not stored twice");
                let note = receipt.message.as_deref().or(repeated).unwrap_or_default();
                (200, receipt.accepted, note.to_owned())
            }
            Err(fault) => (fault.http_status().as_u16(), 0, fault.to_string()),
        };
        let metrics = self.door.metrics();
        let transport = arrival.transport.name();
        let class = match status {
            200 => "ok",
            429 | 503 => "retry",
            _ => "bad",
        };
        metrics.add(Metric::Requests, &[arrival.signal, transport, class], 1);
        metrics.add(
            Metric::ReceivedBytes,
            &[arrival.signal, transport],
            arrival.bytes,
        );
        if let Err(fault) = outcome
            && !matches!(fault, Fault::Refused(_))
        {
            // The door counts its own refusals.
            metrics.add(Metric::Refused, &[arrival.signal, fault.reason()], 1);
        }
        self.door.sources().on_the_wire(WireLine {
            at: self.door.clock().now(),
            request: arrival.request,
            transport: arrival.transport,
            bytes: arrival.bytes,
            records,
            status,
            note,
        });
    }
}
