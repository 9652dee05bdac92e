//! The paths of a Pushgateway, `/pushgateway/metrics/job/...`: groups are kept in the small database,
//! stored at once and again every 15 s, so that they do not go stale, as a scrape of a Pushgateway with
//! `honor_labels` would.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode, header};
use tokio::sync::Mutex;

use super::state::Shared;
use crate::ingest::Receipt;
use crate::model::Timestamp;
use crate::model::metric::{Batch, Labels};
use crate::observe::sources::Transport;
use crate::receive::body::{self, Coding, Prefix};
use crate::receive::exposition::{self, Format};
use crate::receive::fault::Fault;
use crate::receive::metrics::{Coming, Decoded};
use crate::receive::pushgateway::{self, Group, Groups, Push};
use crate::receive::{Arrival, answer};
use crate::store::meta::{self, MetaError};

/// Between two rounds: the usual interval of a scrape.
const ROUND_EVERY: Duration = Duration::from_secs(15);

/// A page becomes series about as long as its lines, and is there as well.
const SERIES_PER_BYTE: usize = 4;

/// Pushed groups, in memory and in the database.
pub(crate) struct Pushed {
    database: Arc<redb::Database>,
    /// Held over a change of both.
    groups: Mutex<Groups>,
}

impl Pushed {
    /// Groups as they were when the server stopped; one that cannot be read is left out and told.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) fn open(database: Arc<redb::Database>) -> Result<Pushed, MetaError> {
        let mut groups = Groups::default();
        for (key, group) in meta::pushed(&database)? {
            match Labels::unpack(&key).zip(Group::decode(&group).ok()) {
                Some((key, group)) => groups.restore(key, group),
                None => tracing::warn!("a pushed group cannot be read and is left out"),
            }
        }
        Ok(Pushed {
            database,
            groups: Mutex::new(groups),
        })
    }

    /// Keeps a group, or deletes it: on disk first.
    async fn set(
        &self,
        groups: &mut Groups,
        key: &Labels,
        group: Option<Group>,
    ) -> Result<(), Fault> {
        let (database, packed) = (self.database.clone(), key.packed().to_vec());
        let encoded = group.as_ref().map(Group::encode);
        let kept = tokio::task::spawn_blocking(move || {
            meta::put_pushed(&database, &packed, encoded.as_deref())
        });
        let kept = kept.await.expect("a transaction does not panic");
        kept.map_err(|error| Fault::Unkept(error.to_string()))?;
        groups.set(key, group);
        Ok(())
    }
}

/// PUT, POST and DELETE of a group.
pub(crate) async fn handle(State(app): State<Shared>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut received = 0;
    let outcome = match pushgateway::group(path(&parts)) {
        Ok(key) if parts.method == Method::DELETE => delete(&app, &key).await,
        Ok(key) => push(&app, &key, &parts, body, &mut received).await,
        Err(what) => Err(Fault::Malformed(what)),
    };
    let response = match &outcome {
        Ok(_) if parts.method == Method::DELETE => answer::plain(StatusCode::ACCEPTED, ""),
        Ok(_) => answer::plain(StatusCode::OK, ""),
        Err(fault) => answer::plain_failed(fault),
    };
    let arrival = Arrival {
        signal: "metrics",
        transport: Transport::Pushgateway,
        request: format!("{} {}", parts.method, parts.uri.path()),
        bytes: received,
    };
    app.receiver.note(arrival, &outcome);
    response
}

/// What stands behind `/metrics/`, as it came.
fn path(parts: &Parts) -> &str {
    let path = parts.uri.path();
    path.split_once("/metrics/").map_or("", |(_, key)| key)
}

fn now_ms(at: Timestamp) -> i64 {
    (at.0 / 1_000_000) as i64
}

async fn delete(app: &Shared, key: &Labels) -> Result<Receipt, Fault> {
    let mut groups = app.pushed.groups.lock().await;
    app.pushed.set(&mut groups, key, None).await?;
    let batch = groups.round(now_ms(app.clock.now()));
    drop(groups);
    keep(app, batch, 0).await
}

async fn push(
    app: &Shared,
    key: &Labels,
    parts: &Parts,
    body: Body,
    received: &mut u64,
) -> Result<Receipt, Fault> {
    let header = |name| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    // As the Pushgateway: what is no type of its own is taken for text 0.0.4.
    let format = exposition::negotiate(header(header::CONTENT_TYPE), Some(Format::Prometheus));
    let format = format.unwrap_or(Format::Prometheus);
    let coding = Coding::parse(parts.headers.get(header::CONTENT_ENCODING))?;
    let declared = header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let max = app.receiver.door.config().request_bytes;
    let mut permit = app.receiver.door.reserve(0).await?;
    let bytes = body::collect(body, declared, max, &mut Prefix::default(), &mut permit).await?;
    *received = bytes.len() as u64;
    let page = match coding {
        Coding::Identity => bytes,
        coding => body::decompress(coding, &bytes, max, &mut permit).await?,
    };
    permit.grow(SERIES_PER_BYTE * page.len()).await?;
    let how = match parts.method {
        Method::PUT => Push::Replace,
        _ => Push::Merge,
    };
    let mut groups = app.pushed.groups.lock().await;
    let now = now_ms(app.clock.now());
    match groups.pushed(key, &page, format, how, now) {
        Ok(group) => app.pushed.set(&mut groups, key, Some(group)).await?,
        Err(what) => {
            if let Some(group) = groups.failed(key, now) {
                app.pushed.set(&mut groups, key, Some(group)).await?;
            }
            return Err(Fault::Malformed(what));
        }
    }
    let batch = groups.round(now);
    drop(groups);
    drop(permit);
    keep(app, batch, page.len()).await
}

/// Stores a round.
async fn keep(app: &Shared, batch: Batch, raw_bytes: usize) -> Result<Receipt, Fault> {
    if batch.is_empty() {
        return Ok(Receipt::default());
    }
    let permit = app.receiver.door.reserve(batch.heap_bytes()).await?;
    let coming = Coming {
        transport: Transport::Pushgateway,
        key: None,
        raw_bytes,
        decoded: Decoded {
            batch,
            ..Decoded::default()
        },
    };
    Ok(app.receiver.keep_metrics(permit, coming).await?.1)
}

/// Stores all groups again, until the server stops.
pub(crate) async fn keep_fresh(app: Shared) {
    let rounds = async {
        let mut interval = tokio::time::interval(ROUND_EVERY);
        loop {
            interval.tick().await;
            let now = now_ms(app.clock.now());
            let batch = app.pushed.groups.lock().await.round(now);
            if let Err(fault) = keep(&app, batch, 0).await {
                tracing::warn!(%fault, "pushed groups are not stored in this round");
            }
        }
    };
    tokio::select! {
        () = app.stop.cancelled() => {}
        () = rounds => {}
    }
}
