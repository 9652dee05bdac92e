//! A span as its drawer, its fragment and its own page show it: six facts, exceptions, attributes
//! with links that search for them, events, links in both directions, its logs.

use crate::model::owned::{Attributes, Event};
use crate::model::{Level, LogRecord, Span, Value};
use crate::query::{Layout, LinkedFrom, SpanDetail};
use crate::serve::format;
use crate::serve::page_url::PageUrl;
use crate::serve::palette;

use super::usual::UsualView;
use super::{raw, sql};

/// Log records written into the drawer; the rest is one link away.
pub(crate) const LOGS_SHOWN_MAX: usize = 50;
/// Lines of a stack trace in the drawer: deep recursion repeats itself long before.
const FRAMES_MAX: usize = 100;
/// Characters of a value in the drawer; the raw JSON has all of it.
const VALUE_CHARS_MAX: usize = 4_000;

/// What the logs say about a span and its trace.
#[derive(Debug, Default)]
pub(crate) struct SpanLogs {
    /// Oldest first, at most [`LOGS_SHOWN_MAX`].
    pub(crate) records: Vec<LogRecord>,
    pub(crate) count: u64,
}

/// View of `trace/span.html`.
pub(crate) struct SpanView {
    pub(crate) id: String,
    pub(crate) row: u32,
    pub(crate) class: &'static str,
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) kind: &'static str,
    /// The span's own page.
    pub(crate) href: String,
    /// The waterfall without the drawer.
    pub(crate) close: String,
    /// Label, value, class.
    pub(crate) facts: [(&'static str, String, &'static str); 6],
    pub(crate) usual: Option<UsualView>,
    pub(crate) exceptions: Vec<Exception>,
    pub(crate) groups: Vec<Group>,
    pub(crate) events: Vec<EventLine>,
    pub(crate) links: Vec<LinkLine>,
    /// Where links from other traces are looked for.
    pub(crate) linked_href: String,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) logs_count: String,
    pub(crate) logs_more: bool,
    pub(crate) logs_href: String,
    pub(crate) trace_logs: String,
    pub(crate) trace_logs_href: String,
    pub(crate) raw: String,
    /// Asked for by script, so that buttons need not hide.
    pub(crate) fragment: bool,
}

pub(crate) struct Exception {
    pub(crate) title: String,
    pub(crate) frames: Vec<Frame>,
}

/// One line of a stack trace; `own` where it is not a library's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) text: String,
    pub(crate) own: bool,
}

pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) attributes: Vec<Attribute>,
}

pub(crate) struct Attribute {
    pub(crate) key: String,
    /// As it is read: cut where it is very long, statements over several lines.
    pub(crate) value: String,
    /// As it was sent.
    pub(crate) sent: String,
    /// A value that says failure.
    pub(crate) hot: bool,
    /// Searches for traces with, and without, this value; `None` for values that are no scalars.
    pub(crate) with: Option<String>,
    pub(crate) without: Option<String>,
    /// The trace list with this attribute as a column.
    pub(crate) column: Option<String>,
}

pub(crate) struct EventLine {
    pub(crate) offset: String,
    pub(crate) text: String,
}

pub(crate) struct LinkLine {
    pub(crate) direction: &'static str,
    pub(crate) class: &'static str,
    pub(crate) short: String,
    pub(crate) href: String,
    pub(crate) text: String,
}

pub(crate) struct LogLine {
    pub(crate) offset: String,
    pub(crate) class: &'static str,
    pub(crate) word: &'static str,
    pub(crate) text: String,
    pub(crate) href: String,
}

/// Addresses around a span, made by the page.
pub(crate) struct SpanPlaces<'a> {
    pub(crate) url: &'a PageUrl,
    pub(crate) close: String,
    pub(crate) logs: PageUrl,
    pub(crate) trace_logs: PageUrl,
    pub(crate) trace_log_count: u64,
    pub(crate) fragment: bool,
    pub(crate) usual: Option<UsualView>,
}

impl SpanView {
    pub(crate) fn new(
        detail: &SpanDetail,
        layout: &Layout,
        row: u32,
        class: &'static str,
        logs: &SpanLogs,
        places: SpanPlaces<'_>,
    ) -> SpanView {
        let span = &*detail.span;
        let (exceptions, events) = split_events(span);
        let more = logs.count > logs.records.len() as u64;
        SpanView {
            id: span.span_id.to_string(),
            row,
            class,
            name: span.name.clone(),
            service: span.resource.service.clone(),
            kind: kind(span.kind),
            href: format!("/trace/{}/span/{}", span.trace_id, span.span_id),
            close: places.close,
            facts: facts(layout, row, span),
            usual: places.usual,
            exceptions,
            groups: groups(span, places.url),
            events,
            links: links(detail, layout, places.url),
            linked_href: places
                .url
                .carry_to(&format!(
                    "/trace/{}/span/{}/linked",
                    span.trace_id, span.span_id
                ))
                .to_string(),
            logs: logs
                .records
                .iter()
                .map(|r| log_line(r, span, &places.logs))
                .collect(),
            logs_count: format::exact(logs.count),
            logs_more: more,
            logs_href: places.logs.to_string(),
            trace_logs: format::exact(places.trace_log_count),
            trace_logs_href: places.trace_logs.to_string(),
            raw: raw::span_json(span),
            fragment: places.fragment,
        }
    }
}

/// Name of a `SpanKind` number.
fn kind(number: i32) -> &'static str {
    match number {
        1 => "internal",
        2 => "server",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "unspecified",
    }
}

fn facts(layout: &Layout, row: u32, span: &Span) -> [(&'static str, String, &'static str); 6] {
    let facts = &layout.rows[row as usize];
    let share = |part: u64, whole: u64| format::percent(part as f64 / whole.max(1) as f64);
    let length = |segment: &crate::query::layout::CriticalSegment| {
        segment.end_ns.saturating_sub(segment.start_ns)
    };
    let path: u64 = layout.critical.iter().map(length).sum();
    let own: u64 = layout
        .critical
        .iter()
        .filter(|s| s.row == row)
        .map(length)
        .sum();
    let status = match span.status_code {
        1 => ("status", "ok".to_owned(), ""),
        2 => ("status", "error".to_owned(), "err"),
        _ => ("status", "unset".to_owned(), ""),
    };
    [
        ("duration", format::duration(facts.duration_ns), ""),
        ("self", format::duration(facts.self_ns), ""),
        (
            "starts at",
            format!("+{}", format::duration(facts.start_ns)),
            "",
        ),
        ("of trace", share(facts.duration_ns, layout.duration_ns), ""),
        ("of critical path", share(own, path), ""),
        status,
    ]
}

/// Exceptions and a status message come first and pretty; the other events are lines.
fn split_events(span: &Span) -> (Vec<Exception>, Vec<EventLine>) {
    let (thrown, other): (Vec<_>, Vec<_>) = span
        .events
        .iter()
        .partition(|event| event.name == "exception");
    let mut exceptions: Vec<Exception> = thrown.into_iter().map(exception).collect();
    let message = span.status_message.trim();
    if !message.is_empty() && !exceptions.iter().any(|e| e.title.contains(message)) {
        let title = cut(message);
        exceptions.insert(
            0,
            Exception {
                title,
                frames: Vec::new(),
            },
        );
    }
    let line = |event: &Event| EventLine {
        offset: offset(event.time.0, span.start.0),
        text: cut(&with_pairs(&event.name, &event.attributes)),
    };
    (exceptions, other.into_iter().map(line).collect())
}

/// OpenTelemetry semantic conventions for exceptions: type, message, stack trace.
fn exception(event: &Event) -> Exception {
    let text = |key: &str| {
        find(&event.attributes, key)
            .map(raw::plain)
            .unwrap_or_default()
    };
    let (kind, message) = (text("exception.type"), text("exception.message"));
    let title = match (kind.is_empty(), message.is_empty()) {
        (false, false) => format!("{kind}: {message}"),
        (true, true) => "exception".to_owned(),
        _ => format!("{kind}{message}"),
    };
    Exception {
        title: cut(&title),
        frames: frames(&text("exception.stacktrace")),
    }
}

/// Lines of a stack trace, those of the sender's own code marked.
fn frames(stack: &str) -> Vec<Frame> {
    const LIBRARIES: [&str; 12] = [
        "site-packages",
        "node_modules",
        "node:",
        "/rustc/",
        ".cargo/registry",
        "/usr/lib/",
        "at java.",
        "at javax.",
        "at jdk.",
        "at org.springframework.",
        "/usr/local/go/",
        "dist-packages",
    ];
    let is_frame = |line: &str| {
        let line = line.trim_start();
        line.starts_with("at ") || line.starts_with("File ") || line.contains("::")
    };
    stack
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(FRAMES_MAX)
        .map(|line| Frame {
            text: cut(line),
            own: is_frame(line) && !LIBRARIES.iter().any(|library| line.contains(library)),
        })
        .collect()
}

/// Attributes of the span by namespace, then of its scope and resource.
fn groups(span: &Span, url: &PageUrl) -> Vec<Group> {
    const ORDER: [&str; 13] = [
        "http.",
        "url.",
        "server.",
        "client.",
        "network.",
        "db.",
        "rpc.",
        "messaging.",
        "code.",
        "exception.",
        "error.",
        "user.",
        "thread.",
    ];
    let place = |key: &str| ORDER.iter().position(|prefix| key.starts_with(prefix));
    let mut own: Vec<&(String, Value)> = span.attributes.iter().collect();
    own.sort_by_key(|(key, _)| place(key).unwrap_or(ORDER.len()));
    let view = |(key, value): &(String, Value)| attribute(key, value, url);
    let all = [
        ("Attributes", own.into_iter().map(view).collect::<Vec<_>>()),
        ("Scope", span.scope.attributes.iter().map(view).collect()),
        (
            "Resource",
            span.resource.attributes.iter().map(view).collect(),
        ),
    ];
    all.into_iter()
        .filter(|(_, attributes)| !attributes.is_empty())
        .map(|(title, attributes)| Group { title, attributes })
        .collect()
}

fn attribute(key: &str, value: &Value, url: &PageUrl) -> Attribute {
    let scalar = matches!(
        value,
        Value::Str(_) | Value::Bool(_) | Value::Int(_) | Value::Double(_)
    );
    let text = raw::plain(value);
    let searchable = scalar
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    let search = |not: &str| {
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        let query =
            format!("{not}attr.{key}:\"{escaped}\"").replace("attr.service.name:", "service:");
        url.carry_to("/traces").with("query", &query).to_string()
    };
    let code = key.ends_with("status_code") && text.parse::<u32>().is_ok_and(|n| n >= 400);
    Attribute {
        key: key.to_owned(),
        hot: code || key == "error.type" || (key == "error" && text == "true"),
        with: searchable.then(|| search("")),
        without: searchable.then(|| search("-")),
        column: searchable.then(|| url.carry_to("/traces").with("cols", key).to_string()),
        value: match sql::is_statement(key, &text) {
            true => cut(&sql::pretty(&text).unwrap_or_else(|| text.clone())),
            false => cut(&text),
        },
        sent: text,
    }
}

/// Links this span makes, and links of other spans of the trace to it.
fn links(detail: &SpanDetail, layout: &Layout, url: &PageUrl) -> Vec<LinkLine> {
    let mut lines = Vec::new();
    for link in &detail.span.links {
        let Some(trace_id) = link.trace_id else {
            continue;
        };
        let here = layout
            .rows
            .iter()
            .find(|row| trace_id == layout.trace_id && link.span_id == Some(row.id));
        let name = here.map_or("", |row| &layout.operations[row.operation as usize]);
        let text = with_pairs(name, &link.attributes);
        lines.push(link_line("to", trace_id, link.span_id, text, url));
    }
    let from = detail
        .linked_from
        .iter()
        .map(|other| linked_line(other, url));
    lines.extend(from);
    lines
}

/// The line of a span that links to another.
pub(crate) fn linked_line(other: &LinkedFrom, url: &PageUrl) -> LinkLine {
    let text = format!("{} {}", other.service, other.name);
    link_line("from", other.trace_id, Some(other.span_id), text, url)
}

fn link_line(
    direction: &'static str,
    trace_id: crate::model::TraceId,
    span_id: Option<crate::model::SpanId>,
    text: String,
    url: &PageUrl,
) -> LinkLine {
    let page = url.carry_to(&format!("/trace/{trace_id}"));
    let page = match span_id {
        Some(id) => page.with("span", &id.to_string()),
        None => page,
    };
    LinkLine {
        direction,
        class: palette::trace_class(trace_id.0),
        short: trace_id.to_string()[..4].to_owned(),
        href: page.to_string(),
        text: if text.is_empty() {
            trace_id.to_string()
        } else {
            cut(&text)
        },
    }
}

fn log_line(record: &LogRecord, span: &Span, logs: &PageUrl) -> LogLine {
    let (class, word) = match record.severity.level() {
        Level::Unset => ("trc", "---"),
        Level::Trace => ("trc", "TRC"),
        Level::Debug => ("dbg", "DBG"),
        Level::Info => ("inf", "INF"),
        Level::Warn => ("wrn", "WRN"),
        Level::Error => ("err", "ERR"),
        Level::Fatal => ("ftl", "FTL"),
    };
    let body = match &record.body {
        Value::Empty => record.event_name.clone(),
        body => raw::plain(body),
    };
    LogLine {
        offset: offset(record.id.at.0, span.start.0),
        class,
        word,
        text: cut(&with_pairs(&body, &record.attributes)),
        href: logs.with("open", &record.id.to_string()).to_string(),
    }
}

/// `+251 ms`, `−3.10 ms`: from the start of the span.
fn offset(at_ns: u64, start_ns: u64) -> String {
    match at_ns.checked_sub(start_ns) {
        Some(after) => format!("+{}", format::duration(after)),
        None => format!("−{}", format::duration(start_ns - at_ns)),
    }
}

fn with_pairs(text: &str, attributes: &Attributes) -> String {
    let mut out = text.replace('\n', " ");
    for (key, value) in attributes
        .iter()
        .filter(|(key, _)| key != "exception.stacktrace")
    {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&format!("{key}={}", raw::plain(value)));
        if out.len() > VALUE_CHARS_MAX {
            break;
        }
    }
    out
}

fn find<'a>(attributes: &'a Attributes, key: &str) -> Option<&'a Value> {
    attributes
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value)
}

/// At most [`VALUE_CHARS_MAX`] characters, with a mark where there was more.
fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
