//! Deleting by query on the settings page: ask, see how much it is, confirm. The condition travels
//! in request bodies only, never in an address that browsers and proxies remember.

use askama::Template;
use axum::Extension;
use axum::extract::{Form, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::model::Timestamp;
use crate::query::Matching;
use crate::serve::access::Caller;
use crate::serve::api::read_time;
use crate::serve::deletes::{Asked, signal_name};
use crate::serve::error::Failure;
use crate::serve::format::{self, TimeText, Zone};
use crate::serve::page::html;
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell};
use crate::serve::state::{App, Shared};
use crate::store::{Deletion, Stage};

/// Deletions listed; the API has all of them.
const ROWS_MAX: usize = 50;

pub(crate) struct DeletesView {
    pub(crate) rows: Vec<DeleteRow>,
    /// The list could not be read.
    pub(crate) problem: Option<String>,
}

pub(crate) struct DeleteRow {
    pub(crate) query: String,
    pub(crate) signal: &'static str,
    pub(crate) by: String,
    pub(crate) requested: TimeText,
    pub(crate) class: &'static str,
    pub(crate) state: String,
    pub(crate) erased: String,
}

#[derive(Template)]
#[template(path = "settings_delete.html")]
struct ConfirmPage {
    shell: Shell,
    wanted: WantedDelete,
    /// One sentence: how much goes.
    count: String,
    /// Nothing matches, or the question cannot be asked.
    problem: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
pub(crate) struct WantedDelete {
    query: String,
    #[serde(default)]
    signal: String,
    #[serde(default)]
    start: String,
    #[serde(default)]
    end: String,
}

impl WantedDelete {
    fn asked(&self, now: Timestamp) -> Result<Asked, Failure> {
        let time = |name: &str, text: &str| match text.trim() {
            "" => Ok(None),
            text => read_time(text, now).map(Some).ok_or_else(|| {
                let message = format!("{name}: cannot read {text:?} as a time");
                Failure::bad_request("bad_time", message)
                    .hint("write 2026-11-21, 2026-11-21T10:00:00Z or now-1h")
            }),
        };
        let (start, end) = (time("from", &self.start)?, time("to", &self.end)?);
        Asked::new(self.query.trim(), &self.signal, start, end)
    }
}

/// What the section of the settings page shows.
pub(super) async fn view(app: &App, zone: &Zone) -> DeletesView {
    match app.deletions().await {
        Ok(deletions) => DeletesView {
            rows: deletions
                .iter()
                .take(ROWS_MAX)
                .map(|deletion| row(deletion, zone))
                .collect(),
            problem: None,
        },
        Err(failure) => DeletesView {
            rows: Vec::new(),
            problem: Some(failure.message),
        },
    }
}

fn row(deletion: &Deletion, zone: &Zone) -> DeleteRow {
    let (class, state) = match deletion.stage {
        Stage::Hidden => ("inf", "hidden, waits to be erased".to_owned()),
        Stage::Erasing => ("inf", "hidden, being erased".to_owned()),
        Stage::Erased if deletion.left_files > 0 => {
            let n = deletion.left_files;
            (
                "wrn",
                format!("erased, but {n} unreadable files are in quarantine/"),
            )
        }
        Stage::Erased => ("ok", "erased".to_owned()),
        Stage::Failed => ("err", "lost, ask again".to_owned()),
    };
    let [spans, logs] = deletion.erased;
    DeleteRow {
        query: deletion.shape.clone(),
        signal: match signal_name(deletion.signals) {
            "both" => "logs and traces",
            name => name,
        },
        by: deletion.by.clone(),
        requested: zone.date_time(deletion.requested.0),
        class,
        state,
        erased: records(logs, spans),
    }
}

fn records(logs: u64, spans: u64) -> String {
    let of = |n: u64, one: &str| {
        let plural = if n == 1 { "" } else { "s" };
        format!("{} {one}{plural}", format::exact(n))
    };
    format!("{}, {}", of(logs, "log record"), of(spans, "span"))
}

fn sentence(found: &Matching) -> String {
    let at_least = if found.stats.partial.is_some() {
        "at least "
    } else {
        ""
    };
    format!("{at_least}{} match now.", records(found.logs, found.spans))
}

/// `POST /settings/deletes`: how much it is, and a button.
pub(crate) async fn ask(
    State(app): State<Shared>,
    page: PageRequest,
    Form(wanted): Form<WantedDelete>,
) -> Response {
    let counted = match wanted.asked(app.clock.now()) {
        Ok(asked) => app.count_deletion(&asked).await,
        Err(failure) => Err(failure),
    };
    let (count, problem) = match counted {
        Ok(found) if found.logs + found.spans == 0 && found.stats.partial.is_none() => {
            let nothing = "Nothing matches. Nothing was deleted.";
            (String::new(), Some(nothing.to_owned()))
        }
        Ok(found) => (sentence(&found), None),
        Err(failure) => (String::new(), Some(failure.message)),
    };
    let page = ConfirmPage {
        shell: Shell::new(&page, Section::Settings, "Delete", app.shell_data()),
        wanted,
        count,
        problem,
    };
    let mut response = html(&page);
    let never = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    response
}

/// `POST /settings/deletes/confirmed`.
pub(crate) async fn confirm(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Form(wanted): Form<WantedDelete>,
) -> Result<Response, Failure> {
    let asked = wanted.asked(app.clock.now())?;
    app.delete(asked, &caller).await?;
    Ok(again().await)
}

/// `GET` of the addresses above: a reload after a form.
pub(crate) async fn again() -> Response {
    Redirect::to("/settings#deletes").into_response()
}
