//! `/logs`: query bar, histogram, facets and lines; `/logs/{id}` is one opened line. The view is
//! made from answers as plain values, so that a test can draw every state of the page. It must
//! never decide what a query means or count anything: that is `query`.

pub(crate) mod alike;
pub(crate) mod detail;
pub(crate) mod facets;
pub(crate) mod histogram;
pub(crate) mod line;
pub(crate) mod list;
pub(crate) mod patterns;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod search;
pub(crate) mod text;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};

use crate::model::LogRecord;
use crate::model::owned::RecordId;
use crate::serve::error::Failure;
use crate::serve::format;
use crate::serve::page::html;
use crate::serve::page_url::PageUrl;
use crate::serve::pages::colours::Colours;
use crate::serve::pages::querybar::terms::{Terms, is_field_name};
use crate::serve::pages::querybar::{QueryBar, bare, canonical, joined, scoped};
use crate::serve::pages::sidebar::Sidebar;
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell, ShellData};
use crate::serve::state::Shared;
use detail::{Detail, Place};
use histogram::Histogram;
use list::{LineList, columns_of};
use search::Answer;

/// Fields offered by the column menu.
const COLUMN_OFFERS_MAX: usize = 12;

#[derive(Template)]
#[template(path = "logs/page.html")]
pub(crate) struct LogsPage {
    shell: Shell,
    bar: QueryBar,
    /// `1 204` lines and the sentence about what the search cost.
    total: String,
    cost: String,
    notice: Option<Notice>,
    /// The first page, where the address has a cursor that is not one of ours.
    bad_cursor: Option<String>,
    histogram: Option<Histogram>,
    facets: Sidebar,
    list: LineList,
    /// The tab beside this one.
    patterns: String,
    columns: ColumnMenu,
    wrap_toggle: String,
    collapse_toggle: String,
    collapsed: bool,
    download: String,
    around: Option<Around>,
    empty: Option<Empty>,
    failure: Option<String>,
}

/// The rows alone: what scrolling asks for.
#[derive(Template)]
#[template(path = "logs/lines.html")]
pub(crate) struct LinesPart {
    list: LineList,
}

/// One record on a page of its own, where there is no JavaScript to put it into the list.
#[derive(Template)]
#[template(path = "logs/record.html")]
pub(crate) struct RecordPage {
    shell: Shell,
    detail: Detail,
    line: Vec<text::Run>,
}

/// One opened line.
#[derive(Template)]
#[template(path = "logs/detail.html")]
pub(crate) struct DetailPart {
    detail: Detail,
}

/// The answer is not all of the truth.
pub(crate) struct Notice {
    searched: String,
    reason: &'static str,
}

/// The page shows the neighbours of one line instead of a search.
pub(crate) struct Around {
    service: String,
    back: String,
    more: Option<String>,
}

pub(crate) struct Empty {
    title: String,
    text: String,
    href: String,
    action: String,
}

pub(crate) struct ColumnMenu {
    offers: Vec<(String, String)>,
    /// The form that takes a typed name: the other parameters of the page.
    hidden: Vec<(String, String)>,
    chosen: String,
}

/// `GET /logs`; for htmx and `logs.js` only the rows.
pub(crate) async fn page(
    State(app): State<Shared>,
    request: PageRequest,
) -> Result<Response, Failure> {
    if let Some(address) = canonical(&request.url) {
        return Ok(Redirect::to(&address).into_response());
    }
    let what = joined(&request.url).0;
    let mut data = app.shell_data();
    if request.fragment {
        if search::bad_cursor(&request.url) {
            return Err(Failure::bad_request(
                "bad_cursor",
                "the cursor of this address is not one of ours",
            ));
        }
        let (answer, request) = app
            .ask(&what, move |engine, control| {
                Ok((search::scroll(engine, control, &request), request))
            })
            .await?;
        return Ok(html(&LinesPart::new(
            &request,
            &answer,
            &Colours::new(&data.services),
        )));
    }
    let (answer, request) = app
        .ask(&what, move |engine, control| {
            Ok((search::search(engine, control, &request), request))
        })
        .await?;
    data.errors.clone_from(&answer.errors);
    Ok(html(&LogsPage::new(&request, &answer, data)))
}

/// `GET /logs/{id}`: one record, as a part of the list or on its own.
pub(crate) async fn record(
    State(app): State<Shared>,
    Path(id): Path<String>,
    request: PageRequest,
) -> Result<Response, Failure> {
    let unknown = || Failure::not_found(format!("no log line has the id {id:?}"));
    let id = RecordId::parse(&id).ok_or_else(unknown)?;
    let record = app
        .ask("one record", move |engine, control| engine.log(id, control))
        .await?;
    let part = DetailPart::new(&request, &record);
    if request.fragment {
        return Ok(html(&part));
    }
    let (line, _) = text::runs(&line::text(&record), &[], line::WRAPPED_CHARS_MAX);
    let shell = Shell::new(&request, Section::Logs, "Log line", app.shell_data());
    Ok(html(&RecordPage {
        shell,
        detail: part.detail,
        line,
    }))
}

impl LogsPage {
    pub(crate) fn new(request: &PageRequest, answer: &Answer, data: ShellData) -> LogsPage {
        let colours = Colours::new(&data.services);
        let url = &request.url;
        let terms = Terms::split(&answer.good);
        let query_url = url.with("query", &answer.good);
        let mut bar = QueryBar::new(url, &answer.query, &answer.good, answer.mistake.as_ref());
        bar.label = "Search logs";
        bar.placeholder = "words, \"a phrase\", field:value, level:>=warn, -not";
        bar.suggest = "/api/v1/suggest?signal=logs";
        LogsPage {
            bar,
            total: format::exact(answer.total),
            cost: cost(answer),
            notice: notice(answer),
            bad_cursor: search::bad_cursor(url).then(|| bare(url).to_string()),
            histogram: answer
                .histogram
                .as_ref()
                .and_then(|histogram| Histogram::new(histogram, &query_url, &request.zone)),
            facets: Sidebar::new(answer.facets.as_ref(), &query_url, &colours, "/logs/facets"),
            list: LineList::new(request, answer, &colours),
            patterns: bare(&query_url).at("/logs/patterns").to_string(),
            columns: column_menu(&query_url, answer),
            wrap_toggle: match url.get("wrap") {
                Some(_) => url.without("wrap").to_string(),
                None => url.with("wrap", "1").to_string(),
            },
            collapsed: url.get("collapse").is_some(),
            collapse_toggle: match url.get("collapse") {
                Some(_) => url.without("collapse").without("unfold").to_string(),
                None => url.with("collapse", "1").to_string(),
            },
            download: download(request, &answer.good),
            around: answer
                .pinned
                .as_ref()
                .map(|id| around(url, answer, &id.to_string())),
            empty: empty(request, answer, &terms),
            failure: answer.failure.clone(),
            shell: Shell::new(request, Section::Logs, "Logs", data),
        }
    }
}

impl LinesPart {
    pub(crate) fn new(request: &PageRequest, answer: &Answer, colours: &Colours) -> LinesPart {
        LinesPart {
            list: LineList::new(request, answer, colours),
        }
    }
}

impl DetailPart {
    pub(crate) fn new(request: &PageRequest, record: &LogRecord) -> DetailPart {
        let url = request.url.at("/logs");
        let query = url.get("query").unwrap_or_default().to_owned();
        let full = url.get("full").is_some();
        let id = record.id.to_string();
        let place = Place::new(&url.without("full"), &query, &request.zone, &id, full);
        DetailPart {
            detail: Detail::new(record, &place),
        }
    }
}

/// Names of attributes that the shown records have, the most frequent first.
fn attribute_names(answer: &Answer) -> Vec<&str> {
    let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for record in &answer.records {
        let of_resource = record.resource.attributes.iter();
        for (name, _) in record.attributes.iter().chain(of_resource) {
            *counts.entry(name).or_default() += 1;
        }
    }
    let mut names: Vec<_> = counts.into_iter().collect();
    names.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    names.into_iter().map(|(name, _)| name).collect()
}

fn column_menu(url: &PageUrl, answer: &Answer) -> ColumnMenu {
    let chosen = columns_of(url);
    let offer = |name: &str| {
        let columns = [&chosen.join(","), name].join(",");
        (
            name.to_owned(),
            url.with("cols", columns.trim_start_matches(','))
                .to_string(),
        )
    };
    let wanted = |name: &&str| {
        let fit = is_field_name(name) && *name != "service.name";
        fit && !chosen.iter().any(|column| column == name)
    };
    let names = attribute_names(answer);
    let free = names.into_iter().filter(wanted);
    let hidden = url
        .fields_but(&["cols"])
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    ColumnMenu {
        offers: free.take(COLUMN_OFFERS_MAX).map(offer).collect(),
        hidden: hidden.collect(),
        chosen: chosen.join(", "),
    }
}

fn cost(answer: &Answer) -> String {
    let stats = &answer.stats;
    let elapsed_ns = u64::try_from(stats.elapsed.as_nanos()).unwrap_or(u64::MAX);
    let mut parts = vec![
        format::duration(elapsed_ns),
        format!("{} searched", format::percent(stats.searched)),
    ];
    if stats.scanned_bytes > 0 {
        parts.push(format::bytes(stats.scanned_bytes));
    }
    parts.join(" · ")
}

fn notice(answer: &Answer) -> Option<Notice> {
    let reason = answer.stats.partial?.reason();
    Some(Notice {
        searched: format::percent(answer.stats.searched),
        reason,
    })
}

/// The same search as our API answers it, over fixed times.
fn download(request: &PageRequest, query: &str) -> String {
    const ROWS: &str = "10000";
    let api = PageUrl::new("/api/v1/logs", "").with("query", &scoped(request, query));
    let range = &request.range;
    let api = api
        .with("start", &range.start_ns.to_string())
        .with("end", &range.end_ns.to_string());
    api.with("limit", ROWS).to_string()
}

fn around(url: &PageUrl, answer: &Answer, id: &str) -> Around {
    let record = answer
        .records
        .iter()
        .find(|record| record.id.to_string() == id);
    let wider = (answer.around_lines < search::AROUND_LINES_MAX).then(|| {
        url.with("lines", &(answer.around_lines * 2).to_string())
            .to_string()
    });
    Around {
        service: record.map_or(String::new(), |record| record.resource.service.clone()),
        back: format!(
            "{}#r-{id}",
            url.without("around").without("lines").with("open", id)
        ),
        more: wider,
    }
}

fn empty(request: &PageRequest, answer: &Answer, terms: &Terms) -> Option<Empty> {
    if !answer.records.is_empty() || answer.failure.is_some() {
        return None;
    }
    let url = bare(&request.url).with("query", &answer.good);
    let range = request.range.in_words(&request.zone);
    if let Some((count, start)) = &answer.wider {
        let length = start.replace('h', " h").replace('d', " d");
        return Some(Empty {
            title: "Nothing in this time range".to_owned(),
            text: format!(
                "0 lines in {range}, {} in the last {length}.",
                format::count(*count)
            ),
            href: url
                .without("end")
                .without("range")
                .with("start", start)
                .to_string(),
            action: format!("Show the last {length}"),
        });
    }
    if !answer.good.is_empty() {
        let last = terms.0.len().saturating_sub(1);
        let (text, fewer) = match terms.0.len() {
            0 | 1 => ("No line of the last 7 days matches.", String::new()),
            _ => (
                "No line of the last 7 days matches all terms.",
                terms.without(last).to_string(),
            ),
        };
        return Some(Empty {
            title: "No line matches".to_owned(),
            text: text.to_owned(),
            action: if fewer.is_empty() {
                "Clear the query"
            } else {
                "Drop the last term"
            }
            .to_owned(),
            href: url.with("query", &fewer).to_string(),
        });
    }
    Some(Empty {
        title: "No logs yet".to_owned(),
        text: "Nothing has been received in the last 7 days. Point a sender at this server."
            .to_owned(),
        href: "/start".to_owned(),
        action: "Send logs".to_owned(),
    })
}

#[cfg(test)]
#[path = "logs/tests.rs"]
mod tests;
