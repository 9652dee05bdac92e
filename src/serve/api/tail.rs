//! `/api/v1/logs/tail`: live records as server-sent events, with an honest count of what was left
//! out. One batch at a time waits for a slow client; the store never does.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::Frame;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::json as print;
use super::{Params, logs};
use crate::query::lang::Expr;
use crate::query::{TailBatch, TailPosition};
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// How often new records are looked for: quick enough to feel live.
const POLL: Duration = Duration::from_millis(250);

/// The longest pause after looks that were refused because there was too much to do.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A comment is sent after this long without records, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events waiting for the client. One: a slow client makes `skipped` grow, not our memory.
const WAITING_MAX: usize = 1;

/// `GET /api/v1/logs/tail`. Goes on after the record named by `Last-Event-ID`.
pub(crate) async fn stream(
    State(app): State<Shared>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = params.query()?;
    let last = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .filter(|id| !id.is_empty());
    let position = match last {
        Some(id) => TailPosition::after(logs::record_id(id)?),
        None => TailPosition::new(params.now),
    };
    let tail = Tail {
        text: format!("tail {query}"),
        query,
        position,
    };
    // The first look is made before the answer: what will never work is refused with its status.
    let (batch, tail) = tail.look(&app).await.map_err(|(failure, _)| failure)?;
    let (events, waiting) = mpsc::channel(WAITING_MAX);
    let task = tokio::spawn(follow(app, tail, batch, events));
    let format = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((format, Body::new(Events { waiting, task })).into_response())
}

/// What is looked for and how far the looks have come.
#[derive(Clone)]
struct Tail {
    text: String,
    query: Expr,
    position: TailPosition,
}

impl Tail {
    /// One look, and the tail as it goes on from there; after a failure from where it was.
    async fn look(self, app: &Shared) -> Result<(TailBatch, Tail), (Failure, Tail)> {
        let (query, mut position) = (self.query.clone(), self.position.clone());
        let looked = app.ask(&self.text, move |engine, control| {
            let batch = engine.log_tail(&query, &mut position, control)?;
            Ok((batch, position))
        });
        match looked.await {
            Ok((batch, position)) => Ok((batch, Tail { position, ..self })),
            Err(failure) => Err((failure, self)),
        }
    }
}

/// Looks for records until the client or the server goes, or a look fails for good.
async fn follow(app: Shared, mut tail: Tail, first: TailBatch, events: mpsc::Sender<Bytes>) {
    let (mut silent, mut pause) = (Duration::ZERO, POLL);
    // The first bytes tell the client that it is connected.
    if events
        .send(Bytes::from_static(b": tail\n\n"))
        .await
        .is_err()
    {
        return;
    }
    let (mut next, mut batch) = (None, Some(first));
    loop {
        if let Some(batch) = batch.take().filter(says_something) {
            (next, silent) = (Some(event(&batch)), Duration::ZERO);
        } else if silent >= KEEP_ALIVE {
            let here = Bytes::from_static(b": still here\n\n");
            (next, silent) = (Some(here), Duration::ZERO);
        }
        if let Some(event) = next.take()
            && events.send(event).await.is_err()
        {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = events.closed() => return,
            () = app.stop.cancelled() => return,
        }
        silent += pause;
        match tail.look(&app).await {
            Ok((found, moved)) => {
                (batch, tail, pause) = (Some(found), moved, POLL);
            }
            // Too much to do: the records are still there at the next look, which is not made at once.
            Err((failure, same)) if failure.retry_after_s.is_some() => {
                (tail, pause) = (same, (2 * pause).min(PAUSE_MAX));
            }
            Err((failure, _)) => {
                // Nobody waits for an answer to this one; the client has gone if it cannot be sent.
                _ = events.send(failed(&failure)).await;
                return;
            }
        }
    }
}

fn says_something(batch: &TailBatch) -> bool {
    !batch.records.is_empty() || batch.skipped > 0 || batch.partial.is_some()
}

/// The last event of a tail that cannot go on. Not named `error`: browsers mean the connection by it.
fn failed(failure: &Failure) -> Bytes {
    let data = json!({ "code": failure.code, "message": failure.line() });
    Bytes::from(format!("event: failed\ndata: {data}\n\n"))
}

fn event(batch: &TailBatch) -> Bytes {
    let data = json!({
        "records": batch.records.iter().map(print::log).collect::<Vec<_>>(),
        "skipped": batch.skipped,
        "truncated": batch.partial.is_some(),
        "reason": batch.partial.map(|partial| partial.reason()),
    });
    let id = batch
        .records
        .last()
        .map(|record| format!("id: {}\n", record.id));
    // JSON has no line breaks of its own, so one data line holds it.
    Bytes::from(format!(
        "event: records\n{}data: {data}\n\n",
        id.unwrap_or_default()
    ))
}

/// The response's body; dropping it, as a disconnect does, ends the work.
struct Events {
    waiting: mpsc::Receiver<Bytes>,
    task: JoinHandle<()>,
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = self.waiting.poll_recv(cx);
        next.map(|event| event.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}
