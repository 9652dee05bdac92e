//! OTLP over gRPC: the three `Export` methods as plain routes over HTTP/2 (OTLP specification 1.10,
//! "OTLP/gRPC"; gRPC over HTTP2 protocol).
//!
//! The framing is read here and not by tonic's server: that one reserves and inflates a message
//! before anyone can ask for memory, throws the compressed bytes away that the WAL wants as they
//! came, and says OUT_OF_RANGE where OTLP wants RESOURCE_EXHAUSTED. A unary call is five bytes of
//! frame; codes, messages and details are tonic's [`Status`].

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::{BodyExt, Full};
use tonic::Status;

use super::answer::{self, Format, Kind};
use super::body::{self, Coding, Prefix};
use super::fault::Fault;
use super::{Arrival, Message, Receiver};
use crate::ingest::Receipt;
use crate::observe::sources::Transport;

/// The paths of the three methods.
pub(crate) const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
pub(crate) const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
pub(crate) const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// `TraceService/Export`
pub(crate) async fn traces(State(receiver): State<Receiver>, request: Request) -> Response<Body> {
    handle(receiver, Kind::Traces, request).await
}

/// `LogsService/Export`
pub(crate) async fn logs(State(receiver): State<Receiver>, request: Request) -> Response<Body> {
    handle(receiver, Kind::Logs, request).await
}

/// `MetricsService/Export`
pub(crate) async fn metrics(State(receiver): State<Receiver>, request: Request) -> Response<Body> {
    handle(receiver, Kind::Metrics, request).await
}

/// OTLP over gRPC that was sent to the OTLP/HTTP port.
pub(crate) async fn wrong_port(
    State(receiver): State<Receiver>,
    request: Request,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let fault = Fault::WrongPort(
        "this port takes OTLP over HTTP: send gRPC to port 4317 or 4300 (otlp_grpc_listen, listen), or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
    );
    let kind = match parts.uri.path() {
        LOGS => Kind::Logs,
        METRICS => Kind::Metrics,
        _ => Kind::Traces,
    };
    let answer = failed(&fault);
    receiver.note(arrival(kind, &parts, 0), &Err(fault));
    answer
}

async fn handle(receiver: Receiver, kind: Kind, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut received = 0;
    let outcome = take(&receiver, kind, &parts, body, &mut received).await;
    let response = match &outcome {
        Ok(receipt) => ok(kind, receipt),
        Err(fault) => failed(fault),
    };
    receiver.note(arrival(kind, &parts, received), &outcome);
    response
}

fn arrival(kind: Kind, parts: &Parts, bytes: u64) -> Arrival {
    let path = parts.uri.path();
    let service = path.rsplit('.').next().unwrap_or(path);
    Arrival {
        signal: kind.name(),
        transport: Transport::Grpc,
        request: format!("{} {service}", parts.method),
        bytes,
    }
}

async fn take(
    receiver: &Receiver,
    kind: Kind,
    parts: &Parts,
    body: Body,
    received: &mut u64,
) -> Result<Receipt, Fault> {
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.map_or("", |v| v.to_str().unwrap_or("?"));
    if !matches!(content_type, "application/grpc" | "application/grpc+proto") {
        return Err(Fault::ContentType(content_type.chars().take(100).collect()));
    }
    let coding = Coding::parse(parts.headers.get("grpc-encoding"))?;
    let max = receiver.door.config().request_bytes;
    let mut permit = receiver.door.reserve(0).await?;
    let mut frame = Prefix::grpc();
    let bytes = body::collect(body, None, max, &mut frame, &mut permit).await?;
    *received = bytes.len() as u64;
    let compressed = unframe(&frame, bytes.len())?;
    let message = Message {
        kind,
        format: Format::Protobuf,
        transport: Transport::Grpc,
        coding: if compressed { coding } else { Coding::Identity },
        bytes,
    };
    if compressed && coding == Coding::Identity {
        return Err(Fault::Malformed(
            "not a gRPC message: flagged as compressed, but grpc-encoding is missing".to_owned(),
        ));
    }
    receiver.submit(message, permit).await
}

/// Checks the frame around the one message of a unary call; true: it is compressed.
fn unframe(frame: &Prefix, len: usize) -> Result<bool, Fault> {
    let malformed = |what: &str| Err(Fault::Malformed(format!("not a gRPC message: {what}")));
    let Some([flag, a, b, c, d]) = frame.get() else {
        return malformed("the frame of 5 bytes is missing");
    };
    if flag > 1 {
        return malformed("the compressed flag is neither 0 nor 1");
    }
    if u32::from_be_bytes([a, b, c, d]) as usize != len {
        return malformed("its length is not the frame's, or there is more than one");
    }
    Ok(flag == 1)
}

/// Success: one framed message, then the status as trailers.
fn ok(kind: Kind, receipt: &Receipt) -> Response<Body> {
    let message = answer::response_message(kind, receipt, Format::Protobuf);
    let length = u32::try_from(message.len()).expect("a message of a few hundred bytes");
    let mut framed = Vec::with_capacity(5 + message.len());
    framed.push(0);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::from(framed).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert("grpc-accept-encoding", ACCEPTED);
    response
}

const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip,zstd,deflate");

/// Failure: trailers only, with a `RetryInfo` when the sender may try again.
fn failed(fault: &Fault) -> Response<Body> {
    let (code, message) = (fault.grpc_code(), fault.to_string());
    let retry = fault.retry_after_s();
    let details = match retry {
        Some(_) => answer::status_message(code as i32, &message, retry),
        None => Vec::new(),
    };
    let status = Status::with_details(code, message, details.into());
    let mut response = status.into_http::<Body>();
    response
        .headers_mut()
        .insert("grpc-accept-encoding", ACCEPTED);
    response
}
