//! `/logs/patterns`: the tab of the log page that counts lines by their pattern. Drawn by the server
//! alone; include and exclude are links that add a term to the query. It must never count anything.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::line::{Badge, badge};
use crate::model::{Level, Timestamp};
use crate::query::{Pattern, PatternRequest, Patterns, Stats, lang};
use crate::serve::api::read_time;
use crate::serve::error::Failure;
use crate::serve::format::{self, TimeText};
use crate::serve::page::html;
use crate::serve::page_url::PageUrl;
use crate::serve::pages::colours::Colours;
use crate::serve::pages::querybar::terms::Terms;
use crate::serve::pages::querybar::{
    QueryBar, Understood, bare, canonical, joined, ribbon, understood,
};
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell, ShellData};
use crate::serve::spark::{SPARK_BARS, Spark, Tone};
use crate::serve::state::Shared;

/// Patterns on the page: more are found by a narrower query.
const ROWS: usize = 100;

/// Characters of a pattern on the page; the API has all of it.
const TEXT_CHARS_MAX: usize = 400;

/// Levels and services shown in a row.
const LEVELS_SHOWN: usize = 3;
const SERVICES_SHOWN: usize = 2;

#[derive(Template)]
#[template(path = "logs/patterns.html")]
pub(crate) struct PatternsPage {
    shell: Shell,
    bar: QueryBar,
    total: String,
    cost: String,
    notice: Option<(String, &'static str)>,
    lines: String,
    since: Since,
    rows: Vec<Row>,
    more: Option<String>,
    other: Option<String>,
    empty: Option<Empty>,
    failure: Option<String>,
}

/// The choice of patterns by when they were first seen.
pub(crate) struct Since {
    all: String,
    in_range: String,
    /// 0 all, 1 new in the range, 2 new since `text`.
    current: u8,
    text: String,
    hidden: Vec<(String, String)>,
    is_bad: bool,
}

pub(crate) struct Row {
    runs: Vec<Run>,
    cut: bool,
    count: String,
    share: String,
    width: String,
    spark: Spark,
    first: TimeText,
    is_new: bool,
    levels: Vec<(Badge, String)>,
    services: Vec<(&'static str, String)>,
    more_services: usize,
    include: String,
    exclude: String,
}

/// A piece of a pattern: constant text, or the mark of a variable.
pub(crate) struct Run {
    text: String,
    is_variable: bool,
}

pub(crate) struct Empty {
    title: &'static str,
    text: String,
    href: String,
    action: &'static str,
}

/// What the engine said.
pub(crate) struct Answer {
    query: String,
    understood: Understood,
    found: Option<Patterns>,
    failure: Option<String>,
    errors: Vec<u64>,
    stats: Stats,
}

/// `GET /logs/patterns`.
pub(crate) async fn page(
    State(app): State<Shared>,
    request: PageRequest,
) -> Result<Response, Failure> {
    if let Some(address) = canonical(&request.url) {
        return Ok(Redirect::to(&address).into_response());
    }
    let what = format!("patterns of: {}", joined(&request.url).0);
    let now = app.clock.now();
    let mut data = app.shell_data();
    let (answer, request) = app
        .ask(&what, move |engine, control| {
            let mut answer = Answer::of(joined(&request.url).0, &request);
            if let Some(expr) = answer.understood.expr.take() {
                let asked = asked(expr, &request, now);
                match engine.log_patterns(&asked, control) {
                    Ok(found) => {
                        answer.stats = found.stats;
                        answer.found = Some(found);
                    }
                    Err(error) => answer.failure = Some(error.to_string()),
                }
                // The frame can do without; the answer cannot.
                answer.errors = ribbon(engine, control, &request).unwrap_or_default();
            }
            Ok((answer, request))
        })
        .await?;
    data.errors.clone_from(&answer.errors);
    Ok(html(&PatternsPage::new(&request, &answer, now, data)))
}

fn asked(query: lang::Expr, request: &PageRequest, now: Timestamp) -> PatternRequest {
    let range = request.window();
    PatternRequest {
        query,
        range,
        limit: ROWS,
        buckets: SPARK_BARS,
        new_since: match request.url.get("new") {
            None => None,
            Some("range") => Some(range.start()),
            Some(text) => since(text, now),
        },
    }
}

/// A time as people type it: what the API takes, and a length for that long ago.
fn since(text: &str, now: Timestamp) -> Option<Timestamp> {
    read_time(text, now).or_else(|| read_time(&format!("now-{text}"), now))
}

impl Answer {
    fn of(query: String, request: &PageRequest) -> Answer {
        Answer {
            understood: understood(&query, request),
            query,
            found: None,
            failure: None,
            errors: Vec::new(),
            stats: Stats::default(),
        }
    }
}

impl PatternsPage {
    fn new(
        request: &PageRequest,
        answer: &Answer,
        now: Timestamp,
        data: ShellData,
    ) -> PatternsPage {
        let colours = Colours::new(&data.services);
        let good = &answer.understood.good;
        let url = bare(&request.url).with("query", good);
        let mistake = answer.understood.mistake.as_ref();
        let mut bar = QueryBar::new(&request.url, &answer.query, good, mistake);
        bar.label = "Search logs";
        bar.placeholder = "words, \"a phrase\", field:value, level:>=warn, -not";
        bar.suggest = "/api/v1/suggest?signal=logs";
        let found = answer.found.as_ref();
        let total = found.map_or(0, |found| found.total);
        let patterns = found.map_or(&[][..], |found| &found.patterns);
        let row = |pattern: &Pattern| row(pattern, total, request, &url, good, &colours);
        let other = found.map_or(0, |found| found.other);
        let more = found.map_or(0, |found| found.more);
        let elapsed = u64::try_from(answer.stats.elapsed.as_nanos()).unwrap_or(u64::MAX);
        PatternsPage {
            bar,
            total: format::exact(total),
            cost: format!(
                "{} · {} searched",
                format::duration(elapsed),
                format::percent(answer.stats.searched)
            ),
            notice: answer
                .stats
                .partial
                .map(|partial| (format::percent(answer.stats.searched), partial.reason())),
            lines: url.at("/logs").without("new").to_string(),
            since: choice(&url, now),
            rows: patterns.iter().map(row).collect(),
            more: (more > 0).then(|| format::exact(more)),
            other: (other > 0).then(|| {
                let share = other as f64 / total.max(1) as f64;
                format!(
                    "{} lines ({})",
                    format::exact(other),
                    format::percent(share)
                )
            }),
            empty: empty(request, answer, &url),
            failure: answer.failure.clone(),
            shell: Shell::new(request, Section::Logs, "Log patterns", data),
        }
    }
}

fn choice(url: &PageUrl, now: Timestamp) -> Since {
    let text = url.get("new").unwrap_or_default();
    Since {
        all: url.without("new").to_string(),
        in_range: url.with("new", "range").to_string(),
        current: match text {
            "" => 0,
            "range" => 1,
            _ => 2,
        },
        is_bad: !matches!(text, "" | "range") && since(text, now).is_none(),
        text: if text == "range" { "" } else { text }.to_owned(),
        hidden: url
            .fields_but(&["new"])
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    }
}

fn row(
    pattern: &Pattern,
    total: u64,
    request: &PageRequest,
    url: &PageUrl,
    good: &str,
    colours: &Colours,
) -> Row {
    let share = pattern.count as f64 / total.max(1) as f64;
    let (runs, cut) = runs(&pattern.text);
    let terms = Terms::split(good);
    let id = pattern.id.to_string();
    let mut levels: Vec<(Level, u64)> = Level::ALL.into_iter().zip(pattern.levels).collect();
    levels.retain(|(_, count)| *count > 0);
    levels.sort_by_key(|(level, count)| (std::cmp::Reverse(*count), *level));
    let shown = levels.iter().take(LEVELS_SHOWN);
    let values: Vec<f64> = pattern.buckets.iter().map(|count| *count as f64).collect();
    let services = pattern.services.iter().take(SERVICES_SHOWN);
    Row {
        runs,
        cut,
        count: format::exact(pattern.count),
        share: format::percent(share),
        width: format!("{:.1}", share * 100.0),
        spark: Spark::new(&values, Tone::Calm),
        first: request.zone.date_time(pattern.first_seen.0),
        is_new: pattern.is_new,
        levels: shown
            .map(|(level, count)| (badge(*level), format::count(*count)))
            .collect(),
        services: services
            .map(|name| (colours.class(name), name.clone()))
            .collect(),
        more_services: pattern.services.len().saturating_sub(SERVICES_SHOWN),
        include: url
            .at("/logs")
            .without("new")
            .with("query", &terms.only("pattern", &id).to_string())
            .to_string(),
        exclude: url
            .with("query", &terms.excluded("pattern", &id).to_string())
            .to_string(),
    }
}

/// A pattern in pieces; whether its end is left out.
fn runs(text: &str) -> (Vec<Run>, bool) {
    let end = text.char_indices().nth(TEXT_CHARS_MAX).map(|(at, _)| at);
    let (mut runs, mut rest) = (Vec::new(), &text[..end.unwrap_or(text.len())]);
    let run = |text: &str, is_variable| Run {
        text: text.to_owned(),
        is_variable,
    };
    while let Some(at) = ["<#>", "<*>"]
        .iter()
        .filter_map(|mark| rest.find(mark))
        .min()
    {
        if at > 0 {
            runs.push(run(&rest[..at], false));
        }
        runs.push(run(&rest[at..at + 3], true));
        rest = &rest[at + 3..];
    }
    if !rest.is_empty() {
        runs.push(run(rest, false));
    }
    (runs, end.is_some())
}

fn empty(request: &PageRequest, answer: &Answer, url: &PageUrl) -> Option<Empty> {
    let found = answer.found.as_ref()?;
    if !found.patterns.is_empty() {
        return None;
    }
    let range = request.range.in_words(&request.zone);
    let is_whole = found.stats.partial.is_none();
    Some(match (url.get("new").is_some(), found.total) {
        (true, 1..) if is_whole => Empty {
            title: "No new pattern",
            text: format!("Every pattern of {range} was seen before."),
            href: url.without("new").to_string(),
            action: "Show all patterns",
        },
        (_, 0) if is_whole => Empty {
            title: "No line matches",
            text: format!("0 lines in {range}."),
            href: url.at("/logs").to_string(),
            action: "Back to the lines",
        },
        _ if !is_whole => Empty {
            title: "No pattern so far",
            text: "Not all lines were looked at.".to_owned(),
            href: url.at("/logs").to_string(),
            action: "Back to the lines",
        },
        _ => Empty {
            title: "No pattern",
            text: "These lines have no text that repeats.".to_owned(),
            href: url.at("/logs").to_string(),
            action: "Back to the lines",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_a_pattern_are_told_apart() {
        let (runs, cut) = runs("took <#> of \"<*>\"");
        let shown: Vec<_> = runs
            .iter()
            .map(|run| (&*run.text, run.is_variable))
            .collect();
        let expect = [
            ("took ", false),
            ("<#>", true),
            (" of \"", false),
            ("<*>", true),
            ("\"", false),
        ];
        assert_eq!((&shown[..], cut), (&expect[..], false));
        let (runs, cut) = super::runs(&"é".repeat(TEXT_CHARS_MAX + 1));
        assert_eq!((runs[0].text.chars().count(), cut), (TEXT_CHARS_MAX, true));
    }

    #[test]
    fn times_are_read_as_people_type_them() {
        let now = Timestamp(1_795_183_471_220_000_000);
        let hour = now.saturating_sub(3_600_000_000_000);
        assert_eq!(since("1h", now), Some(hour));
        assert_eq!(since("now-1h", now), Some(hour));
        assert_eq!(
            since("2026-11-20T00:00:00Z", now),
            read_time("2026-11-20T00:00:00Z", now)
        );
        assert_eq!(since("yesterday-ish", now), None);
    }
}
