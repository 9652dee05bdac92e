//! Answers of the OTLP doors in the request's own encoding.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};

use super::fault::Fault;
use crate::ingest::Receipt;
use crate::model::write;

/// How a message is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Protobuf,
    Json,
}

impl Format {
    const fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Format::Protobuf => "application/x-protobuf",
            Format::Json => "application/json",
        })
    }
}

/// What a door takes, as its response message names rejected ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Traces,
    Logs,
    Metrics,
}

impl Kind {
    const fn rejected_field(self) -> &'static str {
        match self {
            Kind::Traces => "rejectedSpans",
            Kind::Logs => "rejectedLogRecords",
            Kind::Metrics => "rejectedDataPoints",
        }
    }

    /// The label of the metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Traces => "traces",
            Kind::Logs => "logs",
            Kind::Metrics => "metrics",
        }
    }
}

/// `Export*ServiceResponse`: empty on full success, else with `partial_success`. A message without
/// rejections is a warning (OTLP specification, "Partial Success").
pub(crate) fn response_message(kind: Kind, receipt: &Receipt, format: Format) -> Vec<u8> {
    let Some(message) = &receipt.message else {
        return match format {
            Format::Protobuf => Vec::new(),
            Format::Json => b"{}".to_vec(),
        };
    };
    match format {
        Format::Protobuf => {
            let mut out = Vec::new();
            write::message(&mut out, 1, |out| {
                write::varint_field(out, 1, receipt.rejected);
                write::bytes_field(out, 2, message.as_bytes());
            });
            out
        }
        Format::Json => {
            // 64-bit integers are strings in OTLP/JSON.
            let rejected = receipt.rejected.to_string();
            let partial = serde_json::json!({
                kind.rejected_field(): rejected, "errorMessage": message,
            });
            serde_json::json!({ "partialSuccess": partial })
                .to_string()
                .into_bytes()
        }
    }
}

/// Success over HTTP.
pub(crate) fn ok(kind: Kind, receipt: &Receipt, format: Format) -> Response<Body> {
    let body = response_message(kind, receipt, format);
    let mut response = Response::new(Body::from(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, format.content_type());
    response
}

/// Failure over HTTP: a `google.rpc.Status` in the request's encoding.
pub(crate) fn failed(fault: &Fault, format: Format) -> Response<Body> {
    let (code, message) = (fault.grpc_code() as i32, fault.to_string());
    let body = match format {
        Format::Protobuf => status_message(code, &message, fault.retry_after_s()),
        Format::Json => serde_json::json!({ "code": code, "message": message })
            .to_string()
            .into_bytes(),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = fault.http_status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, format.content_type());
    if let Some(seconds) = fault.retry_after_s() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if fault.http_status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        let taken = HeaderValue::from_static("gzip, zstd, deflate");
        headers.insert(header::ACCEPT_ENCODING, taken);
    }
    response
}

/// `google.rpc.Status`, with a `RetryInfo` when the sender may try again.
pub(crate) fn status_message(code: i32, message: &str, retry_after_s: Option<u32>) -> Vec<u8> {
    let mut out = Vec::new();
    write::varint_field(&mut out, 1, code as u64);
    write::bytes_field(&mut out, 2, message.as_bytes());
    if let Some(seconds) = retry_after_s {
        write::message(&mut out, 3, |any| {
            write::bytes_field(any, 1, b"type.googleapis.com/google.rpc.RetryInfo");
            write::message(any, 2, |info| {
                write::message(info, 1, |delay| {
                    write::varint_field(delay, 1, u64::from(seconds));
                });
            });
        });
    }
    out
}

/// A text for people in the log of a sender; no text, no type.
pub(crate) fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    if !text.is_empty() {
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
    }
    response
}

/// Failure for senders that read a status and a text.
pub(crate) fn plain_failed(fault: &Fault) -> Response<Body> {
    let mut response = plain(fault.http_status(), &fault.to_string());
    if let Some(seconds) = fault.retry_after_s() {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
