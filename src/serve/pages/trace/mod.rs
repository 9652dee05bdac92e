//! `/trace/{id}` and `/trace/{id}/span/{span}`: the waterfall and the span. What is on the page is
//! made here from the query engine's layout; the first lines are HTML, the rest is drawn by
//! web/static/trace.js from the columns of the API. It must never need script to be read.

mod chart;
pub(crate) mod compare;
mod fold;
pub(crate) mod linked;
mod load;
mod raw;
mod rows;
mod span;
mod sql;
#[cfg(test)]
mod tests;
mod usual;

use askama::Template;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::model::TraceId;
use crate::query::{Layout, SpanDetail, Stats};
use crate::serve::error::Failure;
use crate::serve::format::{self, TimeText};
use crate::serve::page::{html, html_with};
use crate::serve::page_url::PageUrl;
use crate::serve::pages::colours::Colours;
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell, ShellData};
use crate::serve::state::{App, Shared};

use chart::{MapView, Share, Tick, Zoom};
use fold::{Folds, Place};
use load::{Ask, Loaded, Which, load, logs_page};
use rows::{Drawing, RowView};
use span::{SpanPlaces, SpanView};
use usual::UsualView;

/// Lines in the HTML of the page (ui.md W10); more are a page further without script.
const PAGE_LINES: usize = 200;
/// Lines of these that a browser with script lays out before the script's own are there: a window
/// of 1,370 px.
const WINDOW_LINES: usize = 40;
/// Rows of the table of what the critical path is made of; the last one sums up the others.
const CRITICAL_LISTED_MAX: usize = 12;

const MS: u64 = 1_000_000;

/// View of `trace/page.html`.
#[derive(Template)]
#[template(path = "trace/page.html")]
struct TracePage {
    shell: Shell,
    trace_id: String,
    here: String,
    link: String,
    root_class: &'static str,
    root_service: String,
    root_name: String,
    duration: String,
    spans: String,
    services: String,
    depth: u32,
    start: TimeText,
    errors: u32,
    notes: Vec<String>,
    logs: String,
    logs_href: String,
    compare: String,
    /// Name and address of the other tool that shows this trace (`ui.trace_link`).
    elsewhere: Option<(String, String)>,
    shares: Vec<ShareLink>,
    find: String,
    critical_on: bool,
    critical_summary: String,
    critical: Vec<Contribution>,
    waterfall: Waterfall,
    span: Option<SpanView>,
}

/// The lines of the page, and what trace.js needs to go on from them.
struct Waterfall {
    map: MapView,
    ticks: Vec<Tick>,
    rows: Vec<RowView>,
    /// All visible lines.
    lines: usize,
    /// Lines of the next page and its address.
    page_rows: usize,
    next: Option<String>,
    selected: String,
    open: String,
    left_out: String,
    hues: String,
    /// The version that the columns and the spans are asked for.
    at: String,
}

/// A legend entry: the share and the link that finds its spans.
struct ShareLink {
    class: &'static str,
    name: String,
    x: String,
    width: String,
    time: String,
    href: String,
}

/// What one operation adds to the critical path.
struct Contribution {
    class: &'static str,
    service: String,
    name: String,
    time: String,
    share: String,
}

/// View of `trace/span_page.html`.
#[derive(Template)]
#[template(path = "trace/span_page.html")]
struct SpanPage {
    shell: Shell,
    back: String,
    root_name: String,
    trace_id: String,
    duration: String,
    s: SpanView,
}

#[derive(Template)]
#[template(path = "trace/fragment.html")]
struct SpanFragment {
    s: SpanView,
}

#[derive(Template)]
#[template(path = "trace/missing.html")]
struct MissingPage {
    shell: Shell,
    title: &'static str,
    text: String,
    retention: String,
    search: String,
    logs: String,
}

/// `GET /trace/{id}`.
pub(crate) async fn trace(
    State(app): State<Shared>,
    page: PageRequest,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let which = Which::parse(page.url.get("span"));
    let loaded = match read(&app, &page, &id, which).await? {
        Ok(loaded) => loaded,
        Err(why) => return Ok(missing(&app, &page, &id, &why)),
    };
    let (data, colours) = frame(&app, &loaded);
    let title = &loaded.layout().operations[loaded.layout().rows[0].operation as usize];
    let shell = Shell::new(&page, Section::Traces, title, data);
    let mut view = trace_page(&page, shell, &loaded, &colours);
    let layout = loaded.layout();
    let end = layout.start.saturating_add(layout.duration_ns);
    let link = &app.settings.ui_trace_link;
    view.elsewhere = link.fill(&view.trace_id, layout.start.0 / MS, end.0.div_ceil(MS));
    Ok(html(&view))
}

/// `GET /trace/{id}/span/{span}`: a page; to the waterfall's script, the drawer's content. `span`
/// is a span id or `row-` and the number of a row of the layout.
pub(crate) async fn span(
    State(app): State<Shared>,
    page: PageRequest,
    Path((id, span)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let loaded = match read(&app, &page, &id, Which::parse(Some(&span))).await? {
        Ok(loaded) => loaded,
        Err(why) => return Ok(missing(&app, &page, &id, &why)),
    };
    let (Some(row), Some(detail)) = (loaded.row, &loaded.span) else {
        let why = format!("The trace is here, but no span {span} is in it.");
        return Ok(missing(&app, &page, &id, &why));
    };
    let (data, colours) = frame(&app, &loaded);
    let service = loaded.layout().rows[row as usize].service as usize;
    let class = colours.class(&loaded.layout().services[service].name);
    let s = span_view(&page, &loaded, (row, detail), class);
    if page.fragment {
        return Ok(html(&SpanFragment { s }));
    }
    let layout = loaded.layout();
    Ok(html(&SpanPage {
        shell: Shell::new(&page, Section::Traces, &s.name, data),
        back: page
            .url
            .carry_to(&format!("/trace/{id}"))
            .with("span", &s.id)
            .to_string(),
        root_name: layout.operations[layout.rows[0].operation as usize].clone(),
        trace_id: layout.trace_id.to_string(),
        duration: format::duration(layout.duration_ns),
        s,
    }))
}

/// The frame's data, and a colour for every service of the trace.
fn frame(app: &App, loaded: &Loaded) -> (ShellData, Colours) {
    app.colours.meet(
        loaded
            .layout()
            .services
            .iter()
            .map(|service| service.name.as_str()),
    );
    let data = app.shell_data();
    let colours = Colours::new(&data.services);
    (data, colours)
}

/// The trace, or the sentence that says why there is none.
async fn read(
    app: &App,
    page: &PageRequest,
    id: &str,
    which: Which,
) -> Result<Result<Loaded, String>, Failure> {
    let Some(trace_id) = TraceId::from_hex(id) else {
        return Ok(Err(format!(
            "{id} is not a trace id: that is 32 hexadecimal digits, not all 0."
        )));
    };
    let ask = Ask {
        id: trace_id,
        which,
        at: page
            .url
            .get("at")
            .and_then(|at| u64::from_str_radix(at, 16).ok()),
        now_ns: page.now_ns,
    };
    let work = move |engine: &_, control: &_| load(engine, control, ask);
    match app.ask(&format!("trace {id}"), work).await {
        Ok(loaded) => Ok(Ok(loaded)),
        Err(failure) if failure.status == StatusCode::NOT_FOUND => {
            Ok(Err(format!("No span of trace {id} is stored.")))
        }
        Err(failure) => Err(failure),
    }
}

fn missing(app: &App, page: &PageRequest, id: &str, why: &str) -> Response {
    let kept = &app.settings.retention_traces;
    let short: String = id.chars().take(40).collect();
    let retention = format!(
        "It was never received, or it is past its retention: traces are kept for {kept}. Spans that \
         were sent a moment ago are here at once; their SDK may still be holding them back."
    );
    html_with(
        StatusCode::NOT_FOUND,
        &MissingPage {
            shell: Shell::new(page, Section::Traces, "Trace not found", app.shell_data()),
            title: "This trace is not here",
            text: why.to_owned(),
            retention,
            search: page.url.carry_to("/traces").to_string(),
            logs: page
                .url
                .carry_to("/logs")
                .with("query", &format!("\"{short}\""))
                .to_string(),
        },
    )
}

/// Whether an address parameter turns something off.
fn is_off(url: &PageUrl, name: &str) -> bool {
    url.get(name) == Some("off")
}

fn trace_page(page: &PageRequest, shell: Shell, loaded: &Loaded, colours: &Colours) -> TracePage {
    let (layout, url) = (loaded.layout(), &page.url);
    let services = layout.services.iter();
    let hues: Vec<_> = services.map(|s| colours.class(&s.name)).collect();
    let hue = |row: u32| hues[layout.rows[row as usize].service as usize];
    let root = &layout.rows[0];
    let (critical, critical_summary) = contributions(layout, &hues);
    let shares = chart::shares(layout, &hues).into_iter();
    TracePage {
        trace_id: layout.trace_id.to_string(),
        here: url.to_string(),
        link: format!("{}{url}", page.origin),
        root_class: hue(0),
        root_service: layout.services[root.service as usize].name.clone(),
        root_name: layout.operations[root.operation as usize].clone(),
        duration: format::duration(layout.duration_ns),
        spans: format::counted(layout.rows.len() as u64, "span"),
        services: format::counted(layout.services.len() as u64, "service"),
        depth: layout.depth,
        start: page.zone.date_time(layout.start.0),
        errors: layout.errors,
        notes: notes(&loaded.laid_out.stats, layout),
        logs: format::count(loaded.trace_logs),
        logs_href: logs_page(layout, None).to_string(),
        compare: url
            .carry_to(&format!("/trace/{}/compare", layout.trace_id))
            .to_string(),
        elsewhere: None,
        shares: shares.map(|share| share_link(share, url)).collect(),
        find: url.get("find").unwrap_or_default().to_owned(),
        critical_on: !is_off(url, "critical"),
        critical_summary,
        critical,
        waterfall: waterfall(loaded, url, &hues),
        span: loaded
            .row
            .zip(loaded.span.as_ref())
            .map(|span| span_view(page, loaded, span, hue(span.0))),
        shell,
    }
}

fn waterfall(loaded: &Loaded, url: &PageUrl, hues: &[&'static str]) -> Waterfall {
    let layout = loaded.layout();
    let start = Folds::new(layout, &layout.outline(PAGE_LINES));
    let mut folds = start.clone();
    folds.toggle(url.get("fold").unwrap_or_default());
    if let Some(row) = loaded.row {
        folds.reveal(layout, row);
    }
    let lines = folds.lines(layout);
    let from = url.get("from").and_then(|from| from.parse().ok());
    let from = from.unwrap_or(0).min(lines.len());
    let more = from + PAGE_LINES;
    let zoom = Zoom::parse(url.get("zoom").unwrap_or_default(), layout.duration_ns);
    let drawing = Drawing {
        layout,
        folds: &folds,
        hues,
        zoom,
        url,
        selected: loaded.row,
    };
    let numbers = hues.iter().map(|class| class.trim_start_matches("svc-"));
    Waterfall {
        map: MapView::new(layout, &start, hues),
        ticks: zoom.ticks(),
        rows: drawing.rows(&lines, from, PAGE_LINES),
        page_rows: PAGE_LINES.min(lines.len().saturating_sub(more)),
        next: (more < lines.len()).then(|| url.with("from", &more.to_string()).to_string()),
        lines: lines.len(),
        selected: loaded.row.map(|row| row.to_string()).unwrap_or_default(),
        open: open_marks(&start),
        left_out: left_out(&start),
        hues: numbers.collect::<Vec<_>>().join("."),
        at: format!("{:016x}", loaded.laid_out.version),
    }
}

fn span_view(
    page: &PageRequest,
    loaded: &Loaded,
    (row, detail): (u32, &SpanDetail),
    class: &'static str,
) -> SpanView {
    let (layout, url) = (loaded.layout(), &page.url.without("at"));
    let mut trace_page = url.clone();
    trace_page.path = format!("/trace/{}", layout.trace_id);
    let places = SpanPlaces {
        url,
        close: trace_page.with("span", "none").to_string(),
        logs: logs_page(layout, Some(detail.span.span_id)),
        trace_logs: logs_page(layout, None),
        trace_log_count: loaded.trace_logs,
        fragment: page.fragment,
        usual: loaded
            .usual
            .as_ref()
            .map(|usual| UsualView::new(usual, layout.rows[row as usize].duration_ns)),
    };
    SpanView::new(detail, layout, row, class, &loaded.span_logs, places)
}

fn share_link(share: Share, url: &PageUrl) -> ShareLink {
    let Share {
        class,
        name,
        x,
        width,
        time,
    } = share;
    let href = url.with("find", &format!("service:\"{name}\"")).to_string();
    ShareLink {
        class,
        name,
        x,
        width,
        time,
        href,
    }
}

/// What the reader should know before trusting the picture.
fn notes(stats: &Stats, layout: &Layout) -> Vec<String> {
    let many = |n: u32, one: &str, more: &str| {
        if n == 1 {
            format!("1 span {one}")
        } else {
            format!("{} spans {more}", format::exact(n.into()))
        }
    };
    let mut notes = Vec::new();
    if layout.missing_parents > 0 {
        let who = many(layout.missing_parents, "names a parent", "name parents");
        notes.push(format!(
            "{who} that did not arrive: not sent yet, sampled out, or from another system."
        ));
    }
    if layout.skewed > 0 {
        let who = many(
            layout.skewed,
            "starts before its parent",
            "start before their parents",
        );
        notes.push(format!(
            "{who}: the clocks of their hosts differ. Times are shown as they were sent."
        ));
    }
    if let Some(partial) = stats.partial {
        notes.push(format!(
            "This is a part of the trace: {}.",
            partial.reason()
        ));
    }
    notes
}

/// Operations by their part of the critical path; shares sum to 100 %.
fn contributions(layout: &Layout, hues: &[&'static str]) -> (Vec<Contribution>, String) {
    let mut by_operation = std::collections::BTreeMap::<(u32, u32), u64>::new();
    let mut by_row = std::collections::BTreeMap::<u32, u64>::new();
    let mut total = 0;
    for segment in &layout.critical {
        let facts = &layout.rows[segment.row as usize];
        let length = segment.end_ns.saturating_sub(segment.start_ns);
        *by_operation
            .entry((facts.service, facts.operation))
            .or_default() += length;
        *by_row.entry(segment.row).or_default() += length;
        total += length;
    }
    let share = |ns: u64| format::percent(ns as f64 / total.max(1) as f64);
    let mut parts: Vec<_> = by_operation.into_iter().collect();
    parts.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
    let rest: u64 = parts
        .iter()
        .skip(CRITICAL_LISTED_MAX)
        .map(|(_, ns)| ns)
        .sum();
    let others = parts.len().saturating_sub(CRITICAL_LISTED_MAX);
    let listed = parts.into_iter().take(CRITICAL_LISTED_MAX);
    let mut rows: Vec<_> = listed
        .map(|((service, operation), ns)| Contribution {
            class: hues[service as usize],
            service: layout.services[service as usize].name.clone(),
            name: layout.operations[operation as usize].clone(),
            time: format::duration(ns),
            share: share(ns),
        })
        .collect();
    if others > 0 {
        let (service, name) = (format!("{others} others"), String::new());
        rows.push(Contribution {
            class: "",
            service,
            name,
            time: format::duration(rest),
            share: share(rest),
        });
    }
    let mut spans: Vec<u64> = by_row.into_values().collect();
    spans.sort_unstable_by_key(|ns| std::cmp::Reverse(*ns));
    let top = spans.len().min(3);
    let most = share(spans[..top].iter().sum());
    let summary = match spans.len() {
        0..=3 => format!(
            "{} in {}",
            format::duration(total),
            format::counted(spans.len() as u64, "span")
        ),
        _ => format!("{}, {most} in {top} spans", format::duration(total)),
    };
    (rows, summary)
}

/// What is open before the reader's own folding, for trace.js: `0.1.7.g40`.
fn open_marks(folds: &Folds) -> String {
    let rows = folds.open_rows().map(Place::Row);
    let bundles = (0u32..)
        .zip(&folds.bundles)
        .filter(|(_, bundle)| bundle.open);
    let places = rows.chain(bundles.map(|(at, _)| Place::Bundle(at)));
    let marks: Vec<_> = places.map(|place| folds.mark(place)).collect();
    marks.join(".")
}

/// The runs of spans left out, which the API's columns do not have: `s7-14.s30-52`.
fn left_out(folds: &Folds) -> String {
    let runs = folds.bundles.iter().filter(|bundle| bundle.group.is_none());
    let texts = runs.map(|bundle| format!("s{}-{}", bundle.rows.start, bundle.rows.end));
    texts.collect::<Vec<_>>().join(".")
}
