//! The catalogue of metrics: a page of small charts, each with the query that shows its metric best.

use std::time::Instant;

use askama::Template;

use crate::model::metric::{MatchOp, Matcher, NAME};
use crate::query::explore::catalogue::{self, Filter, Listing};
use crate::query::explore::sparks::{self, SPARKS_MAX, Spark};
use crate::query::promql::{parse_selector, source::SourceError};
use crate::query::{Control, Engine, QueryError};
use crate::serve::format;
use crate::serve::page_url::PageUrl;
use crate::serve::request::PageRequest;
use crate::serve::shell::{MenuLink, Section, Shell, ShellData};

use super::ask::{Asked, millis};
use super::chart::{Scale, path};
use super::{Form, legend, value};

/// Jobs in the menu.
const JOBS_MAX: usize = 60;

/// Size of a small chart in units of its view box.
const SIZE: (f64, f64) = (240.0, 56.0);

/// What a page of the catalogue shows.
pub(crate) struct Found {
    pub(crate) listing: Listing,
    pub(crate) sparks: Vec<Spark>,
    pub(crate) jobs: Vec<String>,
    pub(crate) page: usize,
    pub(crate) label_error: Option<String>,
}

#[derive(Template)]
#[template(path = "explore/browse.html")]
pub(crate) struct BrowsePage {
    shell: Shell,
    form: Form,
    /// The tab beside this one.
    query: String,
    find: String,
    label: String,
    label_error: Option<String>,
    /// The other parameters of the page, for the form of filters.
    fields: Vec<(String, String)>,
    prefixes: Vec<Chip>,
    job: String,
    jobs: Vec<MenuLink>,
    count: String,
    truncated: bool,
    cards: Vec<Card>,
    newer: Option<String>,
    older: Option<String>,
    place: String,
    empty: Option<(String, String, String, String)>,
}

pub(crate) struct Chip {
    words: String,
    count: String,
    href: String,
    current: bool,
}

pub(crate) struct Card {
    name: String,
    href: String,
    kind: &'static str,
    drawn: &'static str,
    unit: String,
    help: String,
    lines: Vec<CardLine>,
    top: String,
    problem: Option<String>,
}

pub(crate) struct CardLine {
    class: String,
    d: String,
    word: String,
    last: String,
}

/// Lists and draws.
///
/// # Errors
/// The store cannot be read.
pub(crate) fn look(
    engine: &Engine,
    control: &Control,
    request: &PageRequest,
) -> Result<Found, QueryError> {
    let began = Instant::now();
    let source = engine.series();
    let range = millis(request);
    let unreadable = |error: SourceError| QueryError::Store(error.0);
    let (matchers, label_error) = matchers(request);
    let text = |name: &str| request.url.get(name).unwrap_or_default().trim().to_owned();
    let filter = Filter {
        words: text("find"),
        prefix: text("prefix"),
        matchers,
    };
    let listing = catalogue::list(source.as_ref(), range, &filter).map_err(unreadable)?;
    let mut jobs = source.label_values("job", &[], range).map_err(unreadable)?;
    jobs.truncate(JOBS_MAX);
    let pages = listing.families.len().div_ceil(SPARKS_MAX).max(1);
    let page = text("page").parse::<usize>().unwrap_or(1).clamp(1, pages);
    let here = &listing.families[(page - 1) * SPARKS_MAX..];
    let sparks = sparks::draw(
        source.as_ref(),
        here,
        (range, &filter.matchers),
        control.samples_max(),
        control,
        began,
    );
    Ok(Found {
        listing,
        sparks,
        jobs,
        page,
        label_error,
    })
}

/// Matchers of the chosen job, the service of the frame, and the labels typed.
fn matchers(request: &PageRequest) -> (Vec<Matcher>, Option<String>) {
    let url = &request.url;
    let mut matchers = Vec::new();
    let mut add = |name: &str, op: MatchOp, value: &str| {
        matchers.extend(Matcher::new(name, op, value));
    };
    if let Some(job) = url.get("job") {
        add("job", MatchOp::Equal, job);
    }
    if let Some(service) = request.service() {
        // OpenTelemetry's job is `namespace/service`.
        add(
            "job",
            MatchOp::Regex,
            &format!("(.+/)?{}", regex::escape(service)),
        );
    }
    let Some(label) = url.get("label") else {
        return (matchers, None);
    };
    let label = label.trim().trim_start_matches('{').trim_end_matches('}');
    match parse_selector(&format!("{{{label}}}")) {
        Ok(typed) => {
            matchers.extend(typed.into_iter().filter(|matcher| matcher.name != NAME));
            (matchers, None)
        }
        Err(error) => (
            matchers,
            Some(format!(
                "{}; write job=\"api\", or several with commas",
                error.message
            )),
        ),
    }
}

impl BrowsePage {
    pub(crate) fn new(request: &PageRequest, found: Found, data: ShellData) -> BrowsePage {
        let url = &request.url;
        let first_page = url.without("page");
        let text = |name: &str| url.get(name).unwrap_or_default().to_owned();
        let (count, total) = (found.listing.families.len(), found.listing.total);
        let from = (found.page - 1) * SPARKS_MAX;
        let page = |number: usize| url.with("page", &number.to_string()).to_string();
        let of_form = ["find", "label", "page"];
        BrowsePage {
            form: Form::new(url, &Asked::of(request), &[]),
            query: url.carry_to("/explore").with("add", "1").to_string(),
            find: text("find"),
            label: text("label"),
            label_error: found.label_error.clone(),
            fields: url
                .fields_but(&of_form)
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            prefixes: prefixes(&first_page, &found.listing, &text("prefix")),
            job: if text("job").is_empty() {
                "all".to_owned()
            } else {
                text("job")
            },
            jobs: jobs(&first_page, &found.jobs),
            count: match count == total {
                true => format::counted(total as u64, "metric"),
                false => format!(
                    "{} of {}",
                    format::exact(count as u64),
                    format::counted(total as u64, "metric")
                ),
            },
            truncated: found.listing.truncated,
            cards: found.sparks.iter().map(|spark| card(url, spark)).collect(),
            newer: (found.page > 1).then(|| page(found.page - 1)),
            older: (from + SPARKS_MAX < count).then(|| page(found.page + 1)),
            place: match count {
                0 => String::new(),
                _ => format!(
                    "{} to {} of {count}",
                    from + 1,
                    (from + SPARKS_MAX).min(count)
                ),
            },
            empty: (count == 0).then(|| empty(url, total, request)),
            shell: Shell::new(request, Section::Metrics, "Metrics", data),
        }
    }
}

fn prefixes(url: &PageUrl, listing: &Listing, chosen: &str) -> Vec<Chip> {
    let chip = |(prefix, count): &(String, usize)| {
        let current = prefix == chosen;
        Chip {
            words: prefix.clone(),
            count: format::exact(*count as u64),
            href: match current {
                true => url.without("prefix"),
                false => url.with("prefix", prefix),
            }
            .to_string(),
            current,
        }
    };
    listing.prefixes.iter().map(chip).collect()
}

fn jobs(url: &PageUrl, names: &[String]) -> Vec<MenuLink> {
    let chosen = url.get("job");
    let link = |name: &String| MenuLink {
        href: url.with("job", name).to_string(),
        text: name.clone(),
        current: chosen == Some(name),
        class: "",
    };
    let all = MenuLink {
        href: url.without("job").to_string(),
        text: "all jobs".to_owned(),
        current: chosen.is_none(),
        class: "",
    };
    [all].into_iter().chain(names.iter().map(link)).collect()
}

fn card(url: &PageUrl, spark: &Spark) -> Card {
    let values = spark
        .lines
        .iter()
        .flat_map(|(_, values)| values.iter().copied());
    let scale = Scale::over(values, false);
    let steps = spark
        .lines
        .first()
        .map_or(1, |(_, values)| values.len())
        .max(2);
    let xs: Vec<f64> = (0..steps)
        .map(|n| SIZE.0 / (steps - 1) as f64 * n as f64)
        .collect();
    let line = |(at, (word, values)): (usize, &(String, Vec<f64>))| {
        let last = values.iter().rev().find(|value| !value.is_nan());
        CardLine {
            class: legend::class(at),
            d: scale.map_or(String::new(), |scale| path(&xs, values, scale, SIZE)),
            word: word.clone(),
            last: last.map_or("–".to_owned(), |last| value::text(*last, &spark.unit)),
        }
    };
    let full = spark
        .texts
        .iter()
        .fold(url.carry_to("/explore"), |url, text| url.and("expr", text));
    let family = &spark.family;
    Card {
        name: family.name.clone(),
        href: full.to_string(),
        kind: family.shape.word(),
        drawn: family.shape.drawn(),
        unit: family.unit.clone(),
        help: family.help.clone(),
        lines: spark.lines.iter().enumerate().map(line).collect(),
        top: scale.map_or(String::new(), |scale| value::tick(scale.high, &spark.unit)),
        problem: spark.problem.clone().or_else(|| {
            scale
                .is_none()
                .then(|| "no values in this time range".to_owned())
        }),
    }
}

fn empty(url: &PageUrl, total: usize, request: &PageRequest) -> (String, String, String, String) {
    let bare = url.carry_to("/explore");
    let filtered = ["find", "prefix", "job", "label"]
        .iter()
        .any(|name| url.get(name).is_some());
    let text = |title: &str, text: String, href: String, action: &str| {
        (title.to_owned(), text, href, action.to_owned())
    };
    if filtered || total > 0 {
        let why = "No metric of this time range passes all the filters.".to_owned();
        return text(
            "No metric matches",
            why,
            bare.to_string(),
            "Clear the filters",
        );
    }
    if request.service().is_some() {
        let why = "No metric has this service as its job.".to_owned();
        return text(
            "No metrics of this service",
            why,
            bare.without("svc").to_string(),
            "All services",
        );
    }
    let why = "No metric came in during this time. Scrape a target, or point remote write or OTLP at this server.".to_owned();
    text("No metrics here", why, "/start".to_owned(), "Send metrics")
}
