//! `GET /search?q=`: the box at the top of every page. Recognises what was pasted (trace id, W3C
//! traceparent, span id, service) and goes there; anything else is a search in the logs.

use axum::extract::State;
use axum::response::Redirect;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use crate::model::{SpanId, TimeRange, TraceId};
use crate::query::{Control, Engine, QueryError, SpanScope, TraceRequest, lang};
use crate::serve::error::Failure;
use crate::serve::page_url::PageUrl;
use crate::serve::request::PageRequest;
use crate::serve::state::Shared;

/// What a text in the box names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Trace(TraceId, Option<SpanId>),
    Span(SpanId),
    Service(String),
    Text(String),
}

/// `GET /search?q=`.
pub(crate) async fn search(
    State(app): State<Shared>,
    page: PageRequest,
) -> Result<Redirect, Failure> {
    let services = app.shell_data().services;
    let is_service = |text: &str| services.iter().any(|(name, _)| name == text);
    let mut found = recognise(page.url.get("q").unwrap_or_default(), is_service);
    if let Found::Span(span) = found {
        let what = format!("span {span}");
        let trace = app
            .ask(&what, move |engine, control| {
                trace_of(engine, control, span)
            })
            .await?;
        if let Some(trace) = trace {
            found = Found::Trace(trace, Some(span));
        }
    }
    Ok(Redirect::to(&address(&found, &page.url).to_string()))
}

/// The newest trace with a span of this id.
fn trace_of(
    engine: &Engine,
    control: &Control,
    span: SpanId,
) -> Result<Option<TraceId>, QueryError> {
    let request = TraceRequest {
        query: lang::parse(&format!("span:{span}"))?,
        range: TimeRange::ALL,
        limit: 1,
        scope: SpanScope::All,
        cursor: None,
        whole: false,
    };
    let page = engine.traces(&request, control)?;
    Ok(page.traces.first().map(|row| row.trace_id))
}

/// Reads the text. `is_service` knows the services seen so far.
pub(crate) fn recognise(text: &str, is_service: impl Fn(&str) -> bool) -> Found {
    let text = text.trim();
    if text.is_empty() {
        return Found::Nothing;
    }
    if let Some((trace, span)) = traceparent(text) {
        return Found::Trace(trace, span);
    }
    if let Some(trace) = hex_trace(text).or_else(|| TraceId::from_field(&base64(text)?).ok()?) {
        return Found::Trace(trace, None);
    }
    if let Some(span) =
        SpanId::from_hex(text).or_else(|| SpanId::from_field(&base64(text)?).ok()?)
    {
        return Found::Span(span);
    }
    match is_service(text) {
        true => Found::Service(text.to_owned()),
        false => Found::Text(text.to_owned()),
    }
}

/// Where a found thing lives; a span's trace is looked up by the handler first.
pub(crate) fn address(found: &Found, url: &PageUrl) -> PageUrl {
    match found {
        Found::Nothing => url.carry_to("/"),
        Found::Trace(trace, None) => url.carry_to(&format!("/trace/{trace}")),
        Found::Trace(trace, Some(span)) => url
            .carry_to(&format!("/trace/{trace}"))
            .with("span", &span.to_string()),
        Found::Span(span) => url.carry_to("/logs").with("query", &format!("span:{span}")),
        Found::Service(name) => url.carry_to("/traces").with("svc", name),
        Found::Text(text) => url.carry_to("/logs").with("query", text),
    }
}

/// `00-{32 hex}-{16 hex}-{2 hex}` (W3C Trace Context, section 3.2), also as a copied header line.
fn traceparent(text: &str) -> Option<(TraceId, Option<SpanId>)> {
    let value = match text.split_once(':') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("traceparent") => value.trim(),
        _ => text,
    };
    let mut parts = value.split('-');
    let version = parts.next()?;
    if version.len() != 2 || !version.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let trace = TraceId::from_hex(parts.next()?)?;
    Some((trace, parts.next().and_then(SpanId::from_hex)))
}

/// 32 hex digits of either case; also written as a UUID, or with `0x` before them.
fn hex_trace(text: &str) -> Option<TraceId> {
    let text = text.strip_prefix("0x").unwrap_or(text);
    let joined = match text.len() {
        36 => text.replace('-', ""),
        _ => text.to_owned(),
    };
    TraceId::from_hex(&joined)
}

/// Bytes of an id in base64, either alphabet. Unpadded text must not look like a word: an id of
/// random bytes without a digit or without both cases is rarer than a name of that length.
fn base64(text: &str) -> Option<Vec<u8>> {
    let padded = text.ends_with('=');
    let mixed = text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().any(|b| b.is_ascii_uppercase())
        && text.bytes().any(|b| b.is_ascii_lowercase());
    let expected = matches!((text.len(), padded), (24 | 12, true) | (22 | 11, false));
    if !expected || !(padded || mixed) {
        return None;
    }
    let engines = match padded {
        true => [STANDARD, URL_SAFE],
        false => [STANDARD_NO_PAD, URL_SAFE_NO_PAD],
    };
    engines.iter().find_map(|engine| engine.decode(text).ok())
}

#[cfg(test)]
mod tests {
    use super::{address, recognise};
    use crate::serve::page_url::PageUrl;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let found = recognise(text, |name| name == "checkout");
        let url = PageUrl::new("/search", "q=x&start=6h");
        assert_eq!(address(&found, &url).to_string(), expect, "{text}");
    }

    #[test]
    fn every_form_of_a_trace_id_leads_to_the_trace() {
        let trace = "/trace/5b8efff798038103d269b633813fc60c?start=6h";
        check("5b8efff798038103d269b633813fc60c", trace);
        check("  5B8EFFF798038103D269B633813FC60C\n", trace);
        check("0x5b8efff798038103d269b633813fc60c", trace);
        check("5b8efff7-9803-8103-d269-b633813fc60c", trace);
        check("W47/95gDgQPSabYzgT/GDA==", trace);
        check("W47_95gDgQPSabYzgT_GDA", trace);
        let at_span = "/trace/5b8efff798038103d269b633813fc60c?start=6h&span=eee19b7ec3c1b174";
        check(
            "00-5b8efff798038103d269b633813fc60c-eee19b7ec3c1b174-01",
            at_span,
        );
        check(
            "traceparent: 00-5B8EFFF798038103D269B633813FC60C-EEE19B7EC3C1B174-01",
            at_span,
        );
    }

    #[test]
    fn the_rest_is_a_span_a_service_or_a_search() {
        check(
            "EEE19B7EC3C1B174",
            "/logs?start=6h&query=span%3Aeee19b7ec3c1b174",
        );
        check(
            "7uGbfsPBsXQ=",
            "/logs?start=6h&query=span%3Aeee19b7ec3c1b174",
        );
        check("checkout", "/traces?start=6h&svc=checkout");
        check("card declined", "/logs?start=6h&query=card+declined");
        check(
            "level:>=warn checkout",
            "/logs?start=6h&query=level%3A%3E%3Dwarn+checkout",
        );
        check(
            "00000000000000000000000000000000",
            "/logs?start=6h&query=00000000000000000000000000000000",
        );
        check(
            "internationalisations1",
            "/logs?start=6h&query=internationalisations1",
        );
        check("", "/?start=6h");
    }
}
