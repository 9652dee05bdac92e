//! OTLP over HTTP: `/v1/traces`, `/v1/logs`, `/v1/metrics`, protobuf and JSON (OTLP specification
//! 1.10, "OTLP/HTTP").

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Response, header};

use super::answer::{self, Format, Kind};
use super::body::{self, Coding, Prefix};
use super::fault::Fault;
use super::{Arrival, Message, Receiver};
use crate::ingest::Receipt;
use crate::observe::sources::Transport;

/// `POST /v1/traces`
pub(crate) async fn traces(State(receiver): State<Receiver>, request: Request) -> Response<Body> {
    handle(receiver, Kind::Traces, request).await
}

/// `POST /v1/logs`
pub(crate) async fn logs(State(receiver): State<Receiver>, request: Request) -> Response<Body> {
    handle(receiver, Kind::Logs, request).await
}

/// `POST /v1/metrics`
pub(crate) async fn metrics(State(receiver): State<Receiver>, request: Request) -> Response<Body> {
    handle(receiver, Kind::Metrics, request).await
}

/// OTLP over HTTP that was sent to the gRPC port.
pub(crate) async fn wrong_port(
    State(receiver): State<Receiver>,
    request: Request,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let format = format(&parts.headers).unwrap_or(Format::Json);
    let fault = Fault::WrongPort(
        "this port takes OTLP over gRPC: send OTLP over HTTP to port 4318 or 4300 (otlp_http_listen, listen)",
    );
    let kind = match parts.uri.path() {
        path if path.contains("logs") => Kind::Logs,
        path if path.contains("metrics") => Kind::Metrics,
        _ => Kind::Traces,
    };
    let answer = answer::failed(&fault, format);
    receiver.note(arrival(kind, format, &parts, 0), &Err(fault));
    answer
}

async fn handle(receiver: Receiver, kind: Kind, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut received = 0;
    let known = format(&parts.headers);
    let outcome = match &known {
        Ok(format) => take(&receiver, kind, *format, &parts, body, &mut received).await,
        Err(fault) => Err(fault.clone()),
    };
    // A request in no known encoding is answered in the readable one.
    let format = known.unwrap_or(Format::Json);
    let response = match &outcome {
        Ok(receipt) => answer::ok(kind, receipt, format),
        Err(fault) => answer::failed(fault, format),
    };
    receiver.note(arrival(kind, format, &parts, received), &outcome);
    response
}

fn arrival(kind: Kind, format: Format, parts: &Parts, bytes: u64) -> Arrival {
    Arrival {
        signal: kind.name(),
        transport: transport(format),
        request: format!("{} {}", parts.method, parts.uri.path()),
        bytes,
    }
}

const fn transport(format: Format) -> Transport {
    match format {
        Format::Protobuf => Transport::HttpProtobuf,
        Format::Json => Transport::HttpJson,
    }
}

fn format(headers: &HeaderMap) -> Result<Format, Fault> {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let text = text.unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "application/x-protobuf" | "application/protobuf" => Ok(Format::Protobuf),
        "application/json" => Ok(Format::Json),
        _ => Err(Fault::ContentType(text.chars().take(100).collect())),
    }
}

/// Reads, decompresses, transcodes and submits one request. `received` becomes the bytes read.
async fn take(
    receiver: &Receiver,
    kind: Kind,
    format: Format,
    parts: &Parts,
    body: Body,
    received: &mut u64,
) -> Result<Receipt, Fault> {
    let coding = coding(&parts.headers)?;
    let declared = parts.headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|v| v.to_str().ok()?.parse().ok());
    let max = receiver.door.config().request_bytes;
    let mut permit = receiver.door.reserve(0).await?;
    let bytes = body::collect(body, declared, max, &mut Prefix::default(), &mut permit).await?;
    *received = bytes.len() as u64;
    let message = Message {
        kind,
        format,
        transport: transport(format),
        coding,
        bytes,
    };
    receiver.submit(message, permit).await
}

fn coding(headers: &HeaderMap) -> Result<Coding, Fault> {
    let mut all = headers.get_all(header::CONTENT_ENCODING).iter();
    let coding = Coding::parse(all.next())?;
    match all.next() {
        Some(second) => Err(Fault::Coding(
            String::from_utf8_lossy(second.as_bytes()).into(),
        )),
        None => Ok(coding),
    }
}
