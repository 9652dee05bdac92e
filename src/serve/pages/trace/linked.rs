//! `/trace/{id}/span/{span}/linked`: spans of other traces that link to a span. Looked for when
//! somebody asks: it reads the links of every span around the trace.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use super::missing;
use super::span::{LinkLine, linked_line};
use crate::model::{SpanId, TimeRange, TraceId};
use crate::query::{Control, Engine};
use crate::serve::error::Failure;
use crate::serve::page::html;
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell};
use crate::serve::state::Shared;

const HOUR_NS: u64 = 3_600_000_000_000;
/// A consumer's trace may begin a little before the producer's by its own clock ...
const BEFORE_NS: u64 = HOUR_NS;
/// ... and long after it: queues are worked off within a day.
const AFTER_NS: u64 = 24 * HOUR_NS;

#[derive(Template)]
#[template(path = "trace/linked.html")]
struct LinkedPart {
    lines: Vec<LinkLine>,
    notice: Option<String>,
}

#[derive(Template)]
#[template(path = "trace/linked_page.html")]
struct LinkedPage {
    shell: Shell,
    back: String,
    lines: Vec<LinkLine>,
    notice: Option<String>,
}

/// `GET /trace/{id}/span/{span}/linked`: a page; to htmx, its list.
pub(crate) async fn page(
    State(app): State<Shared>,
    page: PageRequest,
    Path((id, span)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (Some(trace_id), Some(span_id)) = (TraceId::from_hex(&id), SpanId::from_hex(&span)) else {
        let why = format!("{id}, {span} are not a trace id and a span id.");
        return Ok(missing(&app, &page, &id, &why));
    };
    let work = move |engine: &Engine, control: &Control| {
        let laid_out = engine.laid_out(trace_id, control)?;
        let layout = &laid_out.layout;
        let end = layout.start.saturating_add(layout.duration_ns);
        let start = layout.start.saturating_sub(BEFORE_NS);
        let around = TimeRange::new(start, end.saturating_add(AFTER_NS));
        let around = around.expect("the margins keep start before end");
        engine.linked_elsewhere(trace_id, span_id, around, control)
    };
    let (found, partial) = app.ask(&format!("links to span {span}"), work).await?;
    let url = page.url.without("at");
    let lines = found.iter().map(|other| linked_line(other, &url)).collect();
    let notice = partial.map(|partial| format!("There may be more: {}.", partial.reason()));
    if page.fragment {
        return Ok(html(&LinkedPart { lines, notice }));
    }
    let back = url.carry_to(&format!("/trace/{id}")).with("span", &span);
    Ok(html(&LinkedPage {
        shell: Shell::new(
            &page,
            Section::Traces,
            "Linked from other traces",
            app.shell_data(),
        ),
        back: back.to_string(),
        lines,
        notice,
    }))
}
