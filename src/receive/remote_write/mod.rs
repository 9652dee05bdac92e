//! `POST /prometheus/api/v1/write`: Prometheus remote write 1.0 and 2.0, as Prometheus, Grafana Alloy,
//! vmagent and the OpenTelemetry Collector send it.
//!
//! 204 when all of it is kept. Series and samples that cannot be kept are left out, the others are:
//! then the answer is 400 and names an example, and senders do not send the same again (remote write
//! 1.0 "Invalid Samples", 2.0 "Partial Write"). Prometheus itself says 204 to series without a name.

mod decode;
mod histogram;
#[cfg(test)]
mod tests;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, header};

use super::body::{self, Prefix};
use super::fault::Fault;
use super::metrics::Coming;
use super::{Arrival, Receiver, answer};
use crate::ingest::{MetricsReceipt, Receipt, metrics_key};
use crate::model::ProjectId;
use crate::observe::sources::Transport;

pub(crate) use decode::{Version, decode};

/// Told to senders of 1.0, that is all that they ask for.
const WRITTEN: [&str; 3] = [
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
    "x-prometheus-remote-write-exemplars-written",
];

/// A batch is up to twice as large as the request it was read from, which is there as well.
const BATCH_PER_BYTE: usize = 2;

/// `POST /prometheus/api/v1/write`
pub(crate) async fn write(State(receiver): State<Receiver>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut received = 0;
    let outcome = take(&receiver, &parts, body, &mut received).await;
    let mut response = match &outcome {
        Ok((_, told)) if told.rejected == 0 => answer::plain(StatusCode::NO_CONTENT, ""),
        Ok((_, told)) => {
            let what = told.message.as_deref().unwrap_or_default();
            answer::plain(StatusCode::BAD_REQUEST, what)
        }
        Err(fault) => failed(fault),
    };
    let written = outcome.as_ref().map(|(receipt, _)| &receipt.outcome);
    let written = written.map_or([0; 3], |w| [w.samples, w.histograms, w.exemplars]);
    for (name, count) in WRITTEN.into_iter().zip(written) {
        response
            .headers_mut()
            .insert(name, HeaderValue::from(count));
    }
    let arrival = Arrival {
        signal: "metrics",
        transport: Transport::RemoteWrite,
        request: format!("{} {}", parts.method, parts.uri.path()),
        bytes: received,
    };
    receiver.note(arrival, &outcome.map(|(_, told)| told));
    response
}

/// Prometheus drops what was answered with 429 unless it is set up otherwise (`retry_on_http_429`), and
/// sends again what was answered with 5xx.
fn failed(fault: &Fault) -> Response<Body> {
    let mut response = answer::plain_failed(fault);
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

async fn take(
    receiver: &Receiver,
    parts: &Parts,
    body: Body,
    received: &mut u64,
) -> Result<(MetricsReceipt, Receipt), Fault> {
    let header = |name| parts.headers.get(name);
    let version = version(header(header::CONTENT_TYPE))?;
    match header(header::CONTENT_ENCODING).map_or(&b"snappy"[..], |v| v.as_bytes()) {
        coding if coding.eq_ignore_ascii_case(b"snappy") || coding.is_empty() => {}
        other => {
            let found = String::from_utf8_lossy(other);
            return Err(Fault::Unsupported(format!(
                "Content-Encoding {found:?} is not taken: remote write is compressed with snappy"
            )));
        }
    }
    let declared = header(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    let max = receiver.door.config().request_bytes;
    let mut permit = receiver.door.reserve(0).await?;
    let bytes = body::collect(body, declared, max, &mut Prefix::default(), &mut permit).await?;
    *received = bytes.len() as u64;
    let raw_bytes = body::unsnappied_bytes(&bytes, max)?;
    permit.grow((1 + BATCH_PER_BYTE) * raw_bytes).await?;
    let read = move || {
        let plain = body::unsnappy(&bytes)?;
        let decoded = decode(&plain, version)
            .map_err(|what| Fault::Malformed(format!("not a remote write request: {what}")))?;
        Ok::<_, Fault>((metrics_key(&plain, ProjectId::DEFAULT), decoded))
    };
    let (key, decoded) = receiver.door.offload(&permit, raw_bytes, read).await?;
    let coming = Coming {
        transport: Transport::RemoteWrite,
        key: Some(key),
        raw_bytes,
        decoded,
    };
    // What it was read from is gone; the door asks for what the batch takes.
    permit.shrink(raw_bytes);
    receiver.keep_metrics(permit, coming).await
}

/// The message that a Content-Type names; without a `proto` it is that of 1.0, as without a type.
fn version(header: Option<&HeaderValue>) -> Result<Version, Fault> {
    let found = header.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let found = found.unwrap_or_default();
    let mut parts = found.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let proto = parts.find_map(|part| part.strip_prefix("proto="));
    match (media, proto) {
        ("", None) | ("application/x-protobuf", None | Some("prometheus.WriteRequest")) => {
            Ok(Version::V1)
        }
        ("application/x-protobuf", Some("io.prometheus.write.v2.Request")) => Ok(Version::V2),
        _ => {
            let found: String = found.chars().take(100).collect();
            Err(Fault::Unsupported(format!(
                "Content-Type {found:?} is not taken: send application/x-protobuf with \
                 proto=prometheus.WriteRequest or proto=io.prometheus.write.v2.Request"
            )))
        }
    }
}
