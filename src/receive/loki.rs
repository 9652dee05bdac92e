//! `POST /loki/api/v1/push`: snappy protobuf and JSON of Loki's API, so that Promtail, Alloy, Vector,
//! Fluent Bit and Docker's loki driver reach us without a change.
//!
//! A stream becomes a resource, its entries become log records: labels are resource attributes (one
//! of them is the service), structured metadata are record attributes; level, trace and span ids
//! fill the record's own fields. Streams with labels that do not parse are left out and named in a
//! 400, the others are kept: what Loki does too.

mod labels;
mod transcode;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode, header};

use super::body::{self, Coding, Prefix};
use super::fault::Fault;
use super::{Arrival, Receiver, answer};
use crate::ingest::{Receipt, Submission};
use crate::model::{ProjectId, Signal};
use crate::observe::sources::Transport;

pub(crate) use transcode::{from_json, from_protobuf};

/// `POST /loki/api/v1/push`
pub(crate) async fn push(State(receiver): State<Receiver>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut received = 0;
    let outcome = take(&receiver, &parts, body, &mut received).await;
    let response = match &outcome {
        Ok(receipt) if receipt.rejected == 0 => answer::plain(StatusCode::NO_CONTENT, ""),
        // The rest is kept; Loki's clients log the text of a 400 and do not send again.
        Ok(receipt) => answer::plain(
            StatusCode::BAD_REQUEST,
            receipt.message.as_deref().unwrap_or_default(),
        ),
        Err(fault) => answer::plain_failed(fault),
    };
    let arrival = Arrival {
        signal: "logs",
        transport: Transport::Loki,
        request: format!("{} {}", parts.method, parts.uri.path()),
        bytes: received,
    };
    receiver.note(arrival, &outcome);
    response
}

async fn take(
    receiver: &Receiver,
    parts: &Parts,
    body: Body,
    received: &mut u64,
) -> Result<Receipt, Fault> {
    let header = |name| parts.headers.get(name);
    let content_type = header(header::CONTENT_TYPE).map_or(Ok(""), |v| v.to_str());
    let content_type = content_type.unwrap_or("?").split(';').next();
    let is_json = match content_type.unwrap_or_default().trim() {
        "application/json" => true,
        // What Loki itself takes a push without a type for.
        "application/x-protobuf" | "" => false,
        other => return Err(Fault::ContentType(other.chars().take(100).collect())),
    };
    let coding = match header(header::CONTENT_ENCODING) {
        // The body of a protobuf push is snappy in any case; some senders say so.
        Some(value) if !is_json && value.as_bytes() == b"snappy" => Coding::Identity,
        value => Coding::parse(value)?,
    };
    let declared = header(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    let max = receiver.door.config().request_bytes;
    let mut permit = receiver.door.reserve(0).await?;
    let bytes = body::collect(body, declared, max, &mut Prefix::default(), &mut permit).await?;
    *received = bytes.len() as u64;
    let bytes = match coding {
        Coding::Identity => bytes,
        coding => body::decompress(coding, &bytes, max, &mut permit).await?,
    };
    let read_bytes = bytes.len();
    let pushed = if is_json {
        // The push and the request made of it are there at the same time.
        permit.grow(read_bytes).await?;
        let read = move || from_json(&bytes);
        receiver.door.offload(&permit, read_bytes, read).await
    } else {
        let declared = body::unsnappied_bytes(&bytes, max)?;
        permit.grow(2 * declared).await?;
        let read = move || body::unsnappy(&bytes).map(|bytes| from_protobuf(&bytes));
        receiver.door.offload(&permit, declared, read).await?
    };
    let pushed = pushed.map_err(|what| Fault::Malformed(format!("not a Loki push: {what}")))?;
    // The labels of a stream are repeated in no record: the request is about as long as the push,
    // for which there was room.
    permit.shrink(pushed.request.len());
    let submission = Submission {
        signal: Signal::Logs,
        project: ProjectId::DEFAULT,
        transport: Transport::Loki,
        bytes: pushed.request,
        wire: None,
        left_out: pushed.bad_streams.as_ref().map_or(0, |bad| bad.entries),
    };
    let mut receipt = receiver.door.submit(permit, submission).await?;
    if let Some(bad) = pushed.bad_streams {
        receipt.rejected += bad.entries;
        let what = format!("{} entries left out: {}", bad.entries, bad.first);
        receipt.message = Some(match receipt.message {
            Some(message) => format!("{what}. {message}"),
            None => what,
        });
    }
    Ok(receipt)
}

#[cfg(test)]
mod tests;
