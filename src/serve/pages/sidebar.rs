//! The sidebar of the log list and the trace list: when its counts are made, and the part of the
//! page that holds them. It must never decide what a count means: that is `query`.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::model::Signal;
use crate::query::{self, Control, Engine, QueryError, lang};
use crate::serve::error::Failure;
use crate::serve::page::html;
use crate::serve::page_url::PageUrl;
use crate::serve::pages::colours::Colours;
use crate::serve::pages::logs::facets::{self, FacetList};
use crate::serve::pages::querybar::{bare, joined, own_facets, understood};
use crate::serve::request::PageRequest;
use crate::serve::state::Shared;

/// The sidebar of a page of records. Counting fields takes longer than finding a page of them, so
/// that a page with script asks for it after its first paint.
pub(crate) enum Sidebar {
    Counted(FacetList),
    Later {
        /// Where [`SidebarPart`] is.
        href: String,
        /// The same page with the counts in it.
        inline: String,
        /// The form that searches in them.
        hidden: Vec<(String, String)>,
    },
}

/// The sidebar alone.
#[derive(Template)]
#[template(path = "logs/facets.html")]
pub(crate) struct SidebarPart {
    pub(crate) facets: FacetList,
}

impl Sidebar {
    /// `url` is the page's own, with the query that was run; `part` is where [`SidebarPart`] is.
    pub(crate) fn new(
        counted: Option<&query::Facets>,
        url: &PageUrl,
        colours: &Colours,
        part: &str,
    ) -> Sidebar {
        match counted {
            Some(facets) => Sidebar::Counted(FacetList::new(facets, url, colours)),
            None => Sidebar::Later {
                href: bare(url).at(part).to_string(),
                inline: url.with("fields", "some").to_string(),
                hidden: facets::hidden(url),
            },
        }
    }
}

/// Whether the address wants the counts within the page.
pub(crate) fn asked_inline(url: &PageUrl) -> bool {
    ["fields", "find"]
        .iter()
        .any(|name| url.get(name).is_some())
}

/// `GET /logs/facets`: the sidebar of `/logs` with the same parameters.
pub(crate) async fn of_logs(app: State<Shared>, request: PageRequest) -> Result<Response, Failure> {
    part(app, request, Signal::Logs, "/logs").await
}

/// `GET /traces/facets`: the sidebar of `/traces` with the same parameters.
pub(crate) async fn of_spans(
    app: State<Shared>,
    request: PageRequest,
) -> Result<Response, Failure> {
    part(app, request, Signal::Traces, "/traces").await
}

async fn part(
    State(app): State<Shared>,
    request: PageRequest,
    signal: Signal,
    page: &str,
) -> Result<Response, Failure> {
    let what = format!("fields of: {}", joined(&request.url).0);
    let understood = understood(&joined(&request.url).0, &request);
    let good = understood.good;
    let url = request.url.at(page).with("query", &good);
    let facets = match understood.expr {
        Some(expr) => {
            app.ask(&what, move |engine, control| {
                count(engine, control, &request, &expr, &good, signal)
            })
            .await?
        }
        None => query::Facets::default(),
    };
    let colours = Colours::new(&app.shell_data().services);
    let facets = FacetList::new(&facets, &url, &colours);
    Ok(html(&SidebarPart { facets }))
}

/// Values per field of everything that matches `expr`. A field that `good`, the query as text, asks
/// for is counted without its own term, so that its other values can be chosen.
///
/// # Errors
/// What the engine says.
pub(crate) fn count(
    engine: &Engine,
    control: &Control,
    request: &PageRequest,
    expr: &lang::Expr,
    good: &str,
    signal: Signal,
) -> Result<query::Facets, QueryError> {
    let range = request.window();
    let of = |expr: &lang::Expr, field: Option<&str>| match signal {
        Signal::Logs => engine.log_facets(expr, range, field, control),
        Signal::Traces => engine.span_facets(expr, range, field, control),
        Signal::Metrics => Ok(query::Facets::default()),
    };
    let mut facets = of(expr, None)?;
    own_facets(&mut facets, good, request, |expr, field| {
        of(expr, Some(field))
    })?;
    Ok(facets)
}
