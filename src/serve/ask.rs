//! From handlers to the query engine and back: queries are synchronous and use a core each, so they
//! run on threads of their own, at most one per core and as many as memory bears, and end when their client goes away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use super::error::Failure;
use super::niced::NicedThreads;
use super::state::App;
use crate::observe::{Metric, Metrics};
use crate::query::control::QUERY_TIME_MAX;
use crate::query::{Control, Engine, QueryError};

/// How long a query waits for a core before it is refused (reliability O4).
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// Cores and memory for queries.
pub(crate) struct QuerySlots {
    slots: Arc<Semaphore>,
    /// One for each slot.
    threads: NicedThreads,
    /// What one query may hold, in bytes.
    memory_each: u64,
}

impl QuerySlots {
    /// So many queries at once, which share `memory_bytes`.
    pub(crate) fn new(at_once: usize, memory_bytes: u64) -> QuerySlots {
        QuerySlots {
            slots: Arc::new(Semaphore::new(at_once)),
            threads: NicedThreads::new(at_once),
            memory_each: memory_bytes / at_once as u64,
        }
    }
}

/// Counts a query as running for as long as it lives.
struct Running(Arc<Metrics>);

impl Running {
    fn new(metrics: &Arc<Metrics>) -> Running {
        metrics.change(Metric::QueriesRunning, &[], 1.0);
        Running(metrics.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.change(Metric::QueriesRunning, &[], -1.0);
    }
}

impl App {
    /// Runs `work` with a fresh [`Control`] on a thread of queries. `what` is listed as the running
    /// query. Dropping the future, as a disconnect does, cancels the query at its next block.
    pub(crate) async fn ask<T, F>(&self, what: &str, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&Engine, &Control) -> Result<T, QueryError> + Send + 'static,
    {
        self.ask_within(what, None, work).await
    }

    /// The same with a time that the caller sets; no query gets more than `None` gives.
    pub(crate) async fn ask_within<T, F>(
        &self,
        what: &str,
        time: Option<Duration>,
        work: F,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&Engine, &Control) -> Result<T, QueryError> + Send + 'static,
    {
        let refused = |reason: &'static str| self.metrics.add(Metric::QueriesRefused, &[reason], 1);
        let waited = tokio::time::timeout(
            QUEUE_TIMEOUT,
            self.query_slots.slots.clone().acquire_owned(),
        )
        .await;
        let Ok(slot) = waited else {
            refused("busy");
            return Err(Failure::busy(
                "too many queries at once; this one waited 10 s",
                5,
            ));
        };
        let memory = self.query_slots.memory_each;
        let time = time.unwrap_or(QUERY_TIME_MAX);
        let registry = &self.engine.registry;
        let Some(listed) = registry.start(what, Instant::now(), memory, time) else {
            refused("too_many");
            return Err(Failure::busy("too many queries at once", 5));
        };
        let (engine, control) = (self.engine.at_this_moment(), listed.control());
        let running = Running::new(&self.metrics);
        let work = self.query_slots.threads.run(move || {
            // The core is free again when the work ends, not when the client goes away.
            let (_slot, _running) = (slot, running);
            work(&engine, &control)
        });
        let answer = work
            .await
            .map_err(|ended| Failure::internal("query ended early", &ended))?;
        drop(listed);
        answer.map_err(Failure::from)
    }
}

impl From<QueryError> for Failure {
    fn from(e: QueryError) -> Self {
        match e {
            QueryError::Syntax(e) => {
                let failure = Failure::bad_request("bad_query", e.to_string()).at(e.column - 1);
                Failure {
                    hint: e
                        .hint
                        .filter(|query| !query.is_empty())
                        .map(|query| format!("try: {query}")),
                    ..failure
                }
            }
            QueryError::NotFound(what) => Failure::not_found(what),
            QueryError::Unfinished(what) => {
                Failure::new(StatusCode::SERVICE_UNAVAILABLE, "unfinished", what).retry_after(5)
            }
            QueryError::Invalid(what) => Failure::bad_request("invalid", what),
            QueryError::Store(what) => {
                tracing::error!(cause = what, "store not read");
                Failure::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "store",
                    "the store cannot be read",
                )
                .hint("the cause is in the server's log")
                .retry_after(5)
            }
        }
    }
}
