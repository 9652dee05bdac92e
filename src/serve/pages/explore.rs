//! `/explore`: the catalogue of metrics with a small chart each, and charts and tables of PromQL
//! expressions. Every state is in the address. It must never evaluate anything: that is `query`.

pub(crate) mod ask;
pub(crate) mod browse;
pub(crate) mod chart;
pub(crate) mod legend;
pub(crate) mod table;
pub(crate) mod value;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use crate::query::explore::plot::{EXPRESSIONS_MAX, LINES_ALL_MAX, Outcome, Plot};
use crate::query::promql;
use crate::serve::error::Failure;
use crate::serve::format;
use crate::serve::page::html;
use crate::serve::page_url::PageUrl;
use crate::serve::range;
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell, ShellData};
use crate::serve::state::Shared;
use ask::{Asked, View};
use browse::BrowsePage;
use chart::Chart;
use legend::Legend;
use table::{Examples, Table};

/// The expressions on their page.
#[derive(Template)]
#[template(path = "explore/query.html")]
pub(crate) struct QueryPage {
    shell: Shell,
    form: Form,
    views: Vec<Choice>,
    stack: Choice,
    log: Choice,
    step: String,
    cost: String,
    failure: Option<String>,
    more: Option<More>,
    chart: Option<Chart>,
    /// Where the script gets the points from.
    data: String,
    legend: Legend,
    table: Option<Table>,
    examples: Option<Examples>,
    empty: bool,
}

/// The box for expressions: one row for each.
pub(crate) struct Form {
    pub(crate) rows: Vec<Row>,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) step: String,
    pub(crate) add: Option<String>,
    /// Where this page's catalogue is.
    pub(crate) browse: String,
}

pub(crate) struct Row {
    pub(crate) letter: char,
    pub(crate) text: String,
    pub(crate) series: String,
    pub(crate) mistake: Option<Mistake>,
    pub(crate) problem: Option<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) remove: Option<String>,
}

/// A mistake under its text, in three parts; the middle one is underlined.
pub(crate) struct Mistake {
    pub(crate) position: String,
    pub(crate) message: String,
    pub(crate) before: String,
    pub(crate) bad: String,
    pub(crate) after: String,
}

pub(crate) struct Choice {
    pub(crate) words: &'static str,
    pub(crate) href: String,
    pub(crate) current: bool,
}

/// Not all lines are shown.
pub(crate) struct More {
    shown: String,
    total: String,
    href: Option<String>,
}

/// The letter of an expression.
pub(crate) fn letter(of: usize) -> char {
    char::from(b'A' + (of.min(EXPRESSIONS_MAX - 1)) as u8)
}

/// `GET /explore`.
pub(crate) async fn page(
    State(app): State<Shared>,
    request: PageRequest,
) -> Result<Response, Failure> {
    let asked = Asked::of(&request);
    if request.url.get("format").is_some() {
        return Ok(Redirect::to(&formatted(&request.url, &asked.texts)).into_response());
    }
    let data = app.shell_data();
    if asked.texts.is_empty() && request.url.get("add").is_none() {
        let (found, request) = app
            .ask("catalogue of metrics", move |engine, control| {
                Ok((browse::look(engine, control, &request)?, request))
            })
            .await?;
        return Ok(html(&BrowsePage::new(&request, found, data)));
    }
    let what = asked.texts.join(" ; ");
    let (plot, elapsed, asked) = app
        .ask(&what, move |engine, control| {
            let began = std::time::Instant::now();
            let plot = asked.run(engine, control);
            Ok((plot, began.elapsed(), asked))
        })
        .await?;
    Ok(html(&QueryPage::new(&request, &asked, plot, elapsed, data)))
}

/// The same page with its expressions as PromQL's printer writes them; mistakes stay as they are.
fn formatted(url: &PageUrl, texts: &[String]) -> String {
    let printed = texts
        .iter()
        .map(|text| promql::parse(text).map_or_else(|_| text.clone(), |expr| expr.to_string()));
    let bare = url.without("expr").without("format");
    printed
        .fold(bare, |url, text| url.and("expr", &text))
        .to_string()
}

impl QueryPage {
    pub(crate) fn new(
        request: &PageRequest,
        asked: &Asked,
        plot: Result<Plot, String>,
        elapsed: std::time::Duration,
        data: ShellData,
    ) -> QueryPage {
        let url = request.url.without("add");
        let (plot, failure) = match plot {
            Ok(plot) => (Some(plot), None),
            Err(failure) => (None, Some(failure)),
        };
        let outcomes = plot.as_ref().map_or(&[][..], |plot| &plot.outcomes);
        let legend = Legend::new(plot.as_ref(), asked, &url);
        let drawn = plot.as_ref().filter(|_| asked.view.has_chart());
        let chart = drawn.and_then(|plot| Chart::new(plot, asked, &legend, request));
        let tabled = plot.as_ref().filter(|_| asked.view.has_table());
        let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        QueryPage {
            form: Form::new(&request.url, asked, outcomes),
            views: views(&url, asked.view),
            stack: toggle(&url, "stack", "Stack", asked.stack),
            log: toggle(&url, "log", "Log", asked.log),
            step: plot.as_ref().map_or(String::new(), |plot| {
                promql::print::duration(plot.grid.step)
            }),
            cost: format::duration(elapsed_ns),
            failure,
            more: plot.as_ref().and_then(|plot| more(plot, asked, &url)),
            data: range::pinned(&url, request.range.start_ns, request.range.end_ns)
                .at("/api/v1/explore")
                .to_string(),
            empty: chart.is_none() && legend.rows.is_empty() && asked.view.has_chart(),
            table: tabled.map(|plot| Table::new(plot, request)),
            examples: plot.as_ref().and_then(|plot| Examples::new(plot, request)),
            chart,
            legend,
            shell: Shell::new(request, Section::Metrics, "Metrics", data),
        }
    }
}

fn views(url: &PageUrl, current: View) -> Vec<Choice> {
    let one = |view: View| Choice {
        words: view.words(),
        href: match view {
            View::Graph => url.without("view").to_string(),
            View::Table | View::Both => url.with("view", view.name()).to_string(),
        },
        current: view == current,
    };
    [View::Graph, View::Table, View::Both].map(one).into()
}

fn toggle(url: &PageUrl, name: &str, words: &'static str, on: bool) -> Choice {
    let href = match on {
        true => url.without(name),
        false => url.with(name, "1"),
    };
    Choice {
        words,
        href: href.to_string(),
        current: on,
    }
}

fn more(plot: &Plot, asked: &Asked, url: &PageUrl) -> Option<More> {
    if plot.lines.len() == plot.lines_total {
        return None;
    }
    let most = plot.lines_total.min(LINES_ALL_MAX);
    Some(More {
        shown: format::exact(plot.lines.len() as u64),
        total: format::exact(plot.lines_total as u64),
        href: (!asked.all && most > plot.lines.len()).then(|| url.with("all", "1").to_string()),
    })
}

impl Form {
    pub(crate) fn new(url: &PageUrl, asked: &Asked, outcomes: &[Outcome]) -> Form {
        let mut texts = asked.texts.clone();
        let adding = url.get("add").is_some() || texts.is_empty();
        if adding && texts.len() < EXPRESSIONS_MAX {
            texts.push(String::new());
        }
        let page = url.without("add").without("only");
        let count = texts.len();
        let row = |(of, text): (usize, &String)| {
            let rest = texts
                .iter()
                .enumerate()
                .filter(|(at, t)| *at != of && !t.is_empty());
            let without = rest.fold(page.without("expr"), |url, (_, text)| url.and("expr", text));
            let outcome = outcomes.get(of);
            Row {
                letter: letter(of),
                text: text.clone(),
                series: outcome.map_or(String::new(), series_words),
                mistake: outcome.and_then(mistake),
                problem: outcome.and_then(|o| o.problem.clone()),
                notes: outcome.map_or(Vec::new(), |o| o.notes.clone()),
                remove: (count > 1).then(|| without.to_string()),
            }
        };
        let rows = texts.iter().enumerate().map(row).collect();
        let of_form = [
            "expr", "step", "add", "only", "format", "find", "prefix", "job", "label", "page",
        ];
        Form {
            rows,
            fields: url
                .fields_but(&of_form)
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            step: url.get("step").unwrap_or_default().to_owned(),
            add: (!adding && count < EXPRESSIONS_MAX).then(|| page.with("add", "1").to_string()),
            browse: url.carry_to("/explore").to_string(),
        }
    }
}

fn series_words(outcome: &Outcome) -> String {
    match outcome.series {
        0 => String::new(),
        1 => "1 series".to_owned(),
        n => format!("{} series", format::exact(n as u64)),
    }
}

fn mistake(outcome: &Outcome) -> Option<Mistake> {
    let error = outcome.mistake.as_ref()?;
    let text = &outcome.text;
    let boundary = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let at = boundary(error.at.min(text.len()));
    // What is missing at the end is underlined behind it.
    let word = text[at..].find(|c: char| !c.is_alphanumeric() && c != '_');
    let length = match word {
        Some(0) => text[at..].chars().next().map_or(0, char::len_utf8),
        Some(length) => length,
        None => text.len() - at,
    };
    Some(Mistake {
        position: error.position.clone(),
        message: error.message.clone(),
        before: text[..at].to_owned(),
        bad: text[at..at + length].to_owned(),
        after: text[at + length..].to_owned(),
    })
}

#[cfg(test)]
#[path = "explore/tests.rs"]
mod tests;
