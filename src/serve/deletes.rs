//! Deletions by query (privacy requests), for the API and the settings page: who asks for what, and
//! the line in the log about it. Values of the condition are neither logged nor shown again.

use std::time::Duration;

use axum::http::StatusCode;

use super::access::{Access, Caller};
use super::error::Failure;
use super::state::App;
use crate::model::{Signal, TimeRange, Timestamp};
use crate::query::lang::{self, Expr};
use crate::query::{self, Matching, QueryError};
use crate::store::{Deletion, StoreError, Wanted};

/// Seconds after which a refused deletion is worth another try.
const RETRY_S: u64 = 5;

/// How long a deletion waits for the menus to know which services are gone.
const LEARN_MAX: Duration = Duration::from_secs(2);

/// What is listed as the running query while matches are counted.
const COUNTING: &str = "matches of a deletion";

/// A deletion as it is asked for, checked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    text: String,
    expr: Expr,
    pub(crate) signals: [bool; Signal::RECORDS.len()],
    pub(crate) range: TimeRange,
}

impl Asked {
    /// `signal`: logs, traces or both (also when it is empty).
    pub(crate) fn new(
        query: &str,
        signal: &str,
        start: Option<Timestamp>,
        end: Option<Timestamp>,
    ) -> Result<Asked, Failure> {
        let expr = lang::parse(query).map_err(QueryError::from)?;
        query::check_deletion(&expr)?;
        let of = |wanted: Signal| signal == wanted.name();
        let signals = match signal {
            "" | "both" => [true; Signal::RECORDS.len()],
            _ => Signal::RECORDS.map(of),
        };
        if signals == [false; Signal::RECORDS.len()] {
            let message = "signal is one of logs, traces, both";
            return Err(Failure::bad_request("bad_signal", message));
        }
        let (start, end) = (start.unwrap_or_default(), end.unwrap_or(Timestamp::MAX));
        let range = TimeRange::new(start, end);
        Ok(Asked {
            text: query.to_owned(),
            expr,
            signals,
            range: range.ok_or_else(|| Failure::bad_request("bad_range", "start is after end"))?,
        })
    }
}

/// What a selection of signals is called.
pub(crate) fn signal_name(signals: [bool; Signal::RECORDS.len()]) -> &'static str {
    match Signal::RECORDS
        .iter()
        .find(|signal| !signals[**signal as usize])
    {
        None => "both",
        Some(Signal::Traces) => "logs",
        Some(_) => "traces",
    }
}

impl App {
    /// How much a deletion would erase.
    pub(crate) async fn count_deletion(&self, asked: &Asked) -> Result<Matching, Failure> {
        let Asked {
            expr,
            signals,
            range,
            ..
        } = asked.clone();
        let count = move |engine: &query::Engine, control: &query::Control| {
            engine.matching(&expr, signals, range, control)
        };
        self.ask(COUNTING, count).await
    }

    /// Has it done. When this returns nothing of it is shown any more.
    pub(crate) async fn delete(&self, asked: Asked, caller: &Caller) -> Result<Deletion, Failure> {
        let wanted = Wanted {
            shape: query::shape(&asked.expr),
            condition: asked.text,
            by: who(&self.access, caller),
            signals: asked.signals,
            range: asked.range,
        };
        let done = self.receiver.door.delete(wanted).await;
        let busy = || Failure::busy("the server is too busy or stopping", RETRY_S);
        let deletion = done.ok_or_else(busy)?.map_err(refusal)?;
        self.engine.forget_layouts();
        tracing::info!(
            deletion = deletion.number,
            by = deletion.by,
            query = deletion.shape,
            signal = signal_name(deletion.signals),
            start = deletion.range.start().0,
            end = deletion.range.end().0,
            "deletion accepted"
        );
        // For the menus; if the server is busy they learn it within the hour.
        _ = tokio::time::timeout(LEARN_MAX, self.learn_gone()).await;
        Ok(deletion)
    }

    /// All that are remembered, newest first.
    pub(crate) async fn deletions(&self) -> Result<Vec<Deletion>, Failure> {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || store.deletions()).await;
        let read = read.map_err(|e| Failure::internal("deletions not read", &e))?;
        let mut deletions = read.map_err(|e| Failure::internal("deletions not read", &e))?;
        deletions.reverse();
        Ok(deletions)
    }
}

fn who(access: &Access, caller: &Caller) -> String {
    match caller {
        Caller::User { name } => name.clone(),
        Caller::Token { id, .. } => {
            let tokens = access.tokens();
            let name = tokens.iter().find(|token| token.id == *id);
            let name = name.map_or("", |token| &token.name);
            format!("token {id} {name}").trim_end().to_owned()
        }
        Caller::CommandLine => "command line".to_owned(),
        Caller::Open | Caller::Nobody => "open access".to_owned(),
    }
}

fn refusal(e: StoreError) -> Failure {
    let text = e.to_string();
    match e {
        StoreError::BadCondition(_) | StoreError::TooLarge { .. } => {
            Failure::bad_request("bad_query", text)
        }
        StoreError::TooManyDeletions { .. } => {
            let failure = Failure::new(StatusCode::TOO_MANY_REQUESTS, "too_many_deletes", text);
            failure
                .hint("GET /api/v1/deletes tells how far they are")
                .retry_after(RETRY_S)
        }
        _ => {
            tracing::error!(error = %e, "deletion not taken");
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Failure::new(status, "store", "nothing was deleted, a write failed")
                .hint("the cause is in the server's log")
        }
    }
}
