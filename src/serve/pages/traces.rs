//! `/traces`: the query bar of the logs over spans, a scatter of all matches, and one row per
//! trace. The view is made from answers as plain values. It must never search anything itself.

pub(crate) mod scatter;
pub(crate) mod search;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use crate::query::trace_values::Values;
use crate::query::{MatchedSpan, SpanScope, TraceRow};
use crate::serve::error::Failure;
use crate::serve::format::{self, TimeText};
use crate::serve::page::html;
use crate::serve::page_url::PageUrl;
use crate::serve::pages::axis::{self, LogScale, XTick};
use crate::serve::pages::colours::Colours;
use crate::serve::pages::querybar::terms::Terms;
use crate::serve::pages::querybar::{QueryBar, bare, canonical, joined};
use crate::serve::pages::sidebar::Sidebar;
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell, ShellData};
use crate::serve::state::Shared;
use scatter::ScatterView;
use search::Answer;

/// Services named in a row; the rest is a number.
const SERVICES_MAX: usize = 3;

#[derive(Template)]
#[template(path = "traces/page.html")]
pub(crate) struct TracesPage {
    shell: Shell,
    bar: QueryBar,
    total: String,
    cost: String,
    /// How much was searched and why not all, where that is so.
    notice: Option<(String, &'static str)>,
    scatter: Option<ScatterView>,
    facets: Sidebar,
    scopes: Vec<ScopeLink>,
    scale: Vec<XTick>,
    rows: Vec<Row>,
    /// Added columns: name, and the list without it.
    columns: Vec<(String, String)>,
    /// As the address has them, and the rest of it, for the form that changes them.
    cols: String,
    fields: Vec<(String, String)>,
    newest: Option<String>,
    older: Option<String>,
    empty: Option<Empty>,
    failure: Option<String>,
}

/// Which spans the query is about.
pub(crate) struct ScopeLink {
    words: &'static str,
    title: &'static str,
    href: String,
    current: bool,
}

pub(crate) struct Row {
    href: String,
    start: TimeText,
    service_class: &'static str,
    service: String,
    name: String,
    duration: String,
    /// Length of the bar on the shared scale, in percent.
    bar: String,
    spans: String,
    errors: u64,
    services: Vec<(&'static str, String)>,
    /// Every one by name, for where there is not room.
    all_services: String,
    more_services: usize,
    matched: Option<Matched>,
    /// One per added column.
    cells: Vec<String>,
}

/// The span that matched, where it is not the root.
pub(crate) struct Matched {
    href: String,
    service_class: &'static str,
    service: String,
    name: String,
    duration: String,
    error: bool,
    /// Further spans that match.
    more: u64,
}

pub(crate) struct Empty {
    title: &'static str,
    text: String,
    href: String,
    action: &'static str,
}

/// `GET /traces`.
pub(crate) async fn page(
    State(app): State<Shared>,
    request: PageRequest,
) -> Result<Response, Failure> {
    if let Some(address) = canonical(&request.url) {
        return Ok(Redirect::to(&address).into_response());
    }
    let what = joined(&request.url).0;
    let mut data = app.shell_data();
    let (answer, request) = app
        .ask(&what, move |engine, control| {
            Ok((search::search(engine, control, &request), request))
        })
        .await?;
    data.errors.clone_from(&answer.errors);
    Ok(html(&TracesPage::new(&request, &answer, data)))
}

impl TracesPage {
    pub(crate) fn new(request: &PageRequest, answer: &Answer, data: ShellData) -> TracesPage {
        let colours = Colours::new(&data.services);
        let url = request.url.with("query", &answer.good);
        let scale = LogScale::over(answer.traces.iter().map(|trace| trace.duration_ns));
        let row = |(at, trace): (usize, &TraceRow)| {
            let cells = cells(answer.values.get(at), answer.columns.len());
            row(trace, cells, scale, request, &colours)
        };
        let column = |name: &String| {
            let others = answer.columns.iter().filter(|other| *other != name);
            let kept: Vec<&str> = others.map(String::as_str).collect();
            (name.clone(), url.with("cols", &kept.join(",")).to_string())
        };
        let mut bar = QueryBar::new(
            &request.url,
            &answer.query,
            &answer.good,
            answer.mistake.as_ref(),
        );
        bar.label = "Search traces";
        bar.placeholder = "service:checkout status:error duration:>500ms name:health*";
        bar.suggest = "/api/v1/suggest?signal=traces";
        let terms = Terms::split(&answer.good);
        TracesPage {
            bar,
            total: format::exact(answer.total),
            cost: cost(answer),
            notice: answer
                .stats
                .partial
                .map(|partial| (format::percent(answer.stats.searched), partial.reason())),
            scatter: ScatterView::new(&answer.scatter, request.window(), &url, &request.zone),
            facets: Sidebar::new(answer.facets.as_ref(), &url, &colours, "/traces/facets"),
            scopes: scopes(&url),
            scale: scale.ticks(),
            rows: answer.traces.iter().enumerate().map(row).collect(),
            columns: answer.columns.iter().map(column).collect(),
            cols: answer.columns.join(","),
            fields: url
                .fields_but(&["cols"])
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            newest: url.get("cursor").map(|_| url.without("cursor").to_string()),
            older: answer
                .next
                .map(|cursor| url.with("cursor", &cursor.to_string()).to_string()),
            empty: empty(request, answer, &terms),
            failure: answer.failure.clone(),
            shell: Shell::new(request, Section::Traces, "Traces", data),
        }
    }
}

/// The values of a trace's added columns; those that were not read in time say so.
fn cells(values: Option<&Vec<Values>>, columns: usize) -> Vec<String> {
    let Some(values) = values else {
        return vec!["not read".to_owned(); columns];
    };
    let cell = |found: &Values| {
        let more = if found.more { ", …" } else { "" };
        found.values.join(", ") + more
    };
    values.iter().map(cell).collect()
}

fn row(
    trace: &TraceRow,
    cells: Vec<String>,
    scale: LogScale,
    request: &PageRequest,
    colours: &Colours,
) -> Row {
    let page = request.url.carry_to(&format!("/trace/{}", trace.trace_id));
    let named = |name: &String| (colours.class(name), name.clone());
    let matched = trace.matched.iter().find(|span| !span.root);
    let root_matches = trace.matched.iter().any(|span| span.root);
    Row {
        start: match request.range.length_ns() > 24 * 3_600_000_000_000 {
            true => request.zone.date_time(trace.start.0),
            false => request.zone.time(trace.start.0),
        },
        service_class: colours.class(&trace.root_service),
        service: trace.root_service.clone(),
        name: trace.root_name.clone(),
        duration: format::duration(trace.duration_ns),
        bar: axis::percent(scale.share(trace.duration_ns)),
        spans: format::exact(trace.span_count),
        errors: trace.error_count,
        services: trace
            .services
            .iter()
            .take(SERVICES_MAX)
            .map(named)
            .collect(),
        all_services: trace.services.join(", "),
        more_services: trace.services.len().saturating_sub(SERVICES_MAX),
        matched: matched
            .filter(|_| !root_matches)
            .map(|span| matched_view(span, trace.matched_count, &page, colours)),
        href: page.to_string(),
        cells,
    }
}

fn matched_view(span: &MatchedSpan, count: u64, page: &PageUrl, colours: &Colours) -> Matched {
    Matched {
        href: page.with("span", &span.span_id.to_string()).to_string(),
        service_class: colours.class(&span.service),
        service: span.service.clone(),
        name: span.name.clone(),
        duration: format::duration(span.duration_ns),
        error: span.error,
        more: count.saturating_sub(1),
    }
}

fn scopes(url: &PageUrl) -> Vec<ScopeLink> {
    const SCOPES: [(SpanScope, &str, &str, &str); 3] = [
        (
            SpanScope::All,
            "all",
            "All spans",
            "any span of a trace may match",
        ),
        (
            SpanScope::Root,
            "root",
            "Root",
            "only the first span of a trace may match",
        ),
        (
            SpanScope::Entry,
            "entry",
            "Entry",
            "only spans where a service was entered may match",
        ),
    ];
    let chosen = scope_of(url);
    let bare = bare(url);
    let link = |(scope, value, words, title)| ScopeLink {
        words,
        title,
        href: match scope {
            SpanScope::All => bare.without("spans").to_string(),
            SpanScope::Root | SpanScope::Entry => bare.with("spans", value).to_string(),
        },
        current: scope == chosen,
    };
    SCOPES.into_iter().map(link).collect()
}

pub(crate) fn scope_of(url: &PageUrl) -> SpanScope {
    match url.get("spans") {
        Some("root") => SpanScope::Root,
        Some("entry") => SpanScope::Entry,
        _ => SpanScope::All,
    }
}

fn cost(answer: &Answer) -> String {
    let stats = &answer.stats;
    let elapsed_ns = u64::try_from(stats.elapsed.as_nanos()).unwrap_or(u64::MAX);
    format!(
        "{} · {} searched",
        format::duration(elapsed_ns),
        format::percent(stats.searched)
    )
}

fn empty(request: &PageRequest, answer: &Answer, terms: &Terms) -> Option<Empty> {
    if !answer.traces.is_empty() || answer.failure.is_some() {
        return None;
    }
    let url = bare(&request.url);
    let range = request.range.in_words(&request.zone);
    if let Some(count) = answer.wider {
        return Some(Empty {
            title: "Nothing in this time range",
            text: format!(
                "0 traces in {range}, {} in the last 7 d.",
                format::count(count)
            ),
            href: url
                .without("end")
                .without("range")
                .with("start", "7d")
                .to_string(),
            action: "Show the last 7 d",
        });
    }
    if answer.good.is_empty() {
        return Some(Empty {
            title: "No traces yet",
            text: "Nothing has been received in the last 7 days. Point a sender at this server."
                .to_owned(),
            href: "/start".to_owned(),
            action: "Send traces",
        });
    }
    let fewer = match terms.0.len() {
        0 | 1 => String::new(),
        terms_count => terms.without(terms_count - 1).to_string(),
    };
    Some(Empty {
        title: "No trace matches",
        text: "No span of the last 7 days matches the query.".to_owned(),
        action: if fewer.is_empty() {
            "Clear the query"
        } else {
            "Drop the last term"
        },
        href: url.with("query", &fewer).to_string(),
    })
}

#[cfg(test)]
#[path = "traces/tests.rs"]
mod tests;
