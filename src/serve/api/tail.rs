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
    let (events, waiting) = mpsc::channel(WAITING_MAX);
    let task = tokio::spawn(follow(app, query, position, events));
    let format = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((format, Body::new(Events { waiting, task })).into_response())
}

/// Looks for records until the client or the server goes.
async fn follow(app: Shared, query: Expr, mut position: TailPosition, events: mpsc::Sender<Bytes>) {
    let text = format!("tail {query}");
    let mut silent = Duration::ZERO;
    // The first bytes tell the client that it is connected.
    let mut next = Some(Bytes::from_static(b": tail\n\n"));
    loop {
        if let Some(event) = next.take()
            && events.send(event).await.is_err()
        {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = events.closed() => return,
            () = app.stop.cancelled() => return,
        }
        let (asked, query) = (position.clone(), query.clone());
        let answer = app
            .ask(&text, move |engine, control| {
                let mut position = asked;
                let batch = engine.log_tail(&query, &mut position, control)?;
                Ok((batch, position))
            })
            .await;
        let batch = match answer {
            Ok((batch, moved)) => {
                position = moved;
                batch
            }
            // Busy or stopping: the records are still there at the next look.
            Err(_) => continue,
        };
        silent += POLL;
        if !batch.records.is_empty() || batch.skipped > 0 {
            (next, silent) = (Some(event(&batch)), Duration::ZERO);
        } else if silent >= KEEP_ALIVE {
            (next, silent) = (
                Some(Bytes::from_static(b": still here\n\n")),
                Duration::ZERO,
            );
        }
    }
}

fn event(batch: &TailBatch) -> Bytes {
    let data = json!({
        "records": batch.records.iter().map(print::log).collect::<Vec<_>>(),
        "skipped": batch.skipped,
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
