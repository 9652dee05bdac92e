//! `/settings/targets`: what is scraped, how each target is doing, and why one is not: state, last
//! scrape, error, labels before and after relabelling, and a scrape at once that keeps nothing.

use askama::Template;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::model::metric::Labels;
use crate::scrape::{Health, JobView, Preview, ReloadError, Report, SERIES_MAX, Target};
use crate::serve::error::Failure;
use crate::serve::format::{self, TimeText};
use crate::serve::page::{html, html_with};
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell};
use crate::serve::state::{App, Shared};

/// Targets of one job on the page; `/prometheus/api/v1/targets` has all.
const TARGETS_MAX: usize = 500;

/// Warnings on the page; `watchpost check` prints all.
const FINDINGS_MAX: usize = 50;

#[derive(Template)]
#[template(path = "settings_targets.html")]
struct TargetsPage {
    shell: Shell,
    jobs: Vec<JobRow>,
    facts: Vec<(&'static str, String)>,
    loaded: TimeText,
    /// Of a file that was refused; the one before is in force.
    problems: Vec<String>,
    warnings: Vec<String>,
    /// A reload went well just now.
    reloaded: bool,
    shown: Option<Shown>,
}

/// What "scrape now" found.
struct Shown {
    url: String,
    preview: Preview,
}

struct JobRow {
    name: String,
    /// `3 of 4 up`.
    state: String,
    class: &'static str,
    every: String,
    notes: Vec<String>,
    targets: Vec<TargetRow>,
    /// Targets not on the page.
    more: usize,
    dropped: Vec<String>,
    dropped_count: usize,
}

struct TargetRow {
    id: String,
    url: String,
    class: &'static str,
    state: &'static str,
    labels: Vec<String>,
    discovered: Vec<String>,
    last: Option<TimeText>,
    took: String,
    samples: String,
    series: String,
    bytes: String,
    error: String,
    rejected: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct Wanted {
    job: String,
    id: String,
}

/// `GET /settings/targets`.
pub(crate) async fn show(State(app): State<Shared>, page: PageRequest) -> Response {
    html(&view(&app, &page))
}

/// `POST /settings/targets/scraped`: the page with what the target answered on it.
pub(crate) async fn scrape_now(
    State(app): State<Shared>,
    page: PageRequest,
    Form(wanted): Form<Wanted>,
) -> Result<Response, Failure> {
    let id = u64::from_str_radix(&wanted.id, 16).unwrap_or(0);
    let Some((target, preview)) = app.scraper.preview(&wanted.job, id).await else {
        return Err(Failure::not_found(
            "this target is gone; the page of targets has those there are",
        ));
    };
    let shown = Shown {
        url: target.url.clone(),
        preview,
    };
    Ok(html(&TargetsPage {
        shown: Some(shown),
        ..view(&app, &page)
    }))
}

/// `POST /settings/targets/reloaded`: reads the configuration again.
pub(crate) async fn reload(
    State(app): State<Shared>,
    page: PageRequest,
) -> Result<Response, Failure> {
    match app.scraper.reload().await {
        Ok(()) => Ok(html(&TargetsPage {
            reloaded: true,
            ..view(&app, &page)
        })),
        // The page tells what is wrong.
        Err(ReloadError::Wrong(_)) => Ok(html_with(StatusCode::BAD_REQUEST, &view(&app, &page))),
        Err(error @ ReloadError::Stopping) => Err(not_reloaded(&error)),
    }
}

/// `GET` of the addresses above: a reload of the page after a form.
pub(crate) async fn again() -> Response {
    Redirect::to("/settings/targets").into_response()
}

/// `POST /-/reload`, as Prometheus has it.
pub(crate) async fn reload_now(State(app): State<Shared>) -> Result<StatusCode, Failure> {
    match app.scraper.reload().await {
        Ok(()) => Ok(StatusCode::OK),
        Err(error) => Err(not_reloaded(&error)),
    }
}

fn not_reloaded(error: &ReloadError) -> Failure {
    match error {
        ReloadError::Wrong(problems) => {
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let what = format!("failed to reload config: {}", told.join("; "));
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "bad_configuration", what)
                .hint("the configuration before stays in force; mend the file and reload again")
        }
        ReloadError::Stopping => {
            let what = "the server stops";
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", what)
        }
    }
}

fn view(app: &App, page: &PageRequest) -> TargetsPage {
    let board = app.scraper.board();
    let told = |findings: &[crate::scrape::Finding]| -> Vec<String> {
        findings
            .iter()
            .take(FINDINGS_MAX)
            .map(ToString::to_string)
            .collect()
    };
    TargetsPage {
        shell: Shell::new(page, Section::Settings, "Targets", app.shell_data()),
        facts: facts(
            app,
            &board.jobs,
            &board.external_labels,
            board.rule_files.len(),
        ),
        jobs: board.jobs.iter().map(|job| job_row(job, page)).collect(),
        loaded: page.zone.ago(ns(board.loaded_at), page.now_ns),
        problems: told(&board.problems),
        warnings: told(&board.warnings),
        reloaded: false,
        shown: None,
    }
}

fn facts(
    app: &App,
    jobs: &[JobView],
    external: &Labels,
    rule_files: usize,
) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    for (state, n) in app.scraper.states() {
        if n > 0 || state != Health::Unknown {
            let words = match state {
                Health::Up => "targets up",
                Health::Down => "down",
                Health::Unknown => "not scraped yet",
            };
            facts.push((words, format::count(n as u64)));
        }
    }
    let reports = jobs
        .iter()
        .flat_map(|job| &job.active)
        .map(|target| target.report());
    let (series, rejected) = reports.fold((0, 0), |(series, rejected), report| {
        (series + report.series, rejected + report.rejected_total)
    });
    facts.push(("series", format::count(series)));
    if rejected > 0 {
        facts.push(("samples not taken", format::count(rejected)));
    }
    let dropped: usize = jobs.iter().map(|job| job.dropped_count).sum();
    if dropped > 0 {
        facts.push(("dropped by relabelling", format::count(dropped as u64)));
    }
    if rule_files > 0 {
        facts.push(("rule files, for alerts", rule_files.to_string()));
    }
    if !external.is_empty() {
        facts.push(("external labels", external.to_string()));
    }
    facts
}

fn job_row(view: &JobView, page: &PageRequest) -> JobRow {
    let job = &view.settings.job;
    let reports: Vec<Report> = view.active.iter().map(|target| target.report()).collect();
    let count = |health| {
        reports
            .iter()
            .filter(|report| report.health == health)
            .count()
    };
    let (up, down) = (count(Health::Up), count(Health::Down));
    let mut notes = Vec::new();
    for discovery in &view.discoveries {
        if let Some(problem) = &discovery.problem {
            let kept = discovery.found;
            notes.push(format!(
                "{}: {problem} ({kept} targets known before stay)",
                discovery.name
            ));
        }
    }
    notes.extend(view.failures.iter().cloned());
    let rows = view.active.iter().zip(&reports).take(TARGETS_MAX);
    JobRow {
        name: job.name.clone(),
        state: format!("{up} of {} up", view.active.len()),
        class: match (down, up) {
            (0, 0) => "",
            (0, _) => "ok",
            (_, 0) => "err",
            _ => "wrn",
        },
        every: crate::scrape::config::show_duration(job.interval),
        notes,
        targets: rows
            .map(|(target, report)| target_row(target, report, page))
            .collect(),
        more: view.active.len().saturating_sub(TARGETS_MAX),
        dropped: view.dropped.iter().map(Labels::to_string).collect(),
        dropped_count: view.dropped_count,
    }
}

fn target_row(target: &Target, report: &Report, page: &PageRequest) -> TargetRow {
    let (class, state) = match report.health {
        Health::Up => ("ok", "up"),
        Health::Down => ("err", "down"),
        Health::Unknown => ("dbg", "not scraped yet"),
    };
    let pairs = |labels: &Labels| {
        labels
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect()
    };
    let rejected = report.rejected.iter();
    TargetRow {
        id: format!("{:016x}", target.id),
        url: target.url.clone(),
        class,
        state,
        labels: pairs(&target.labels),
        discovered: pairs(&target.discovered),
        last: report.at.map(|at| page.zone.ago(ns(at), page.now_ns)),
        took: match report.at {
            Some(_) => format::duration(u64::try_from(report.took.as_nanos()).unwrap_or(u64::MAX)),
            None => String::new(),
        },
        samples: match report.samples == report.kept {
            true => format::exact(report.samples),
            false => format!(
                "{} of {}",
                format::exact(report.kept),
                format::exact(report.samples)
            ),
        },
        series: format!(
            "{} of {}",
            format::exact(report.series),
            format::exact(SERIES_MAX)
        ),
        bytes: format::bytes(report.body_bytes),
        error: report.error.clone().unwrap_or_default(),
        rejected: rejected
            .map(|(reason, n, example)| {
                format!("{} not taken ({reason}): {example}", format::exact(*n))
            })
            .collect(),
    }
}

fn ns(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000)
}
