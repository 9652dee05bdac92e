//! An opened line: every attribute with links that narrow the query by it, the body as a tree,
//! stack traces with the reader's own frames standing out, and where to go from here.

use std::borrow::Cow;

use crate::model::owned::Attributes;
use crate::model::{LogRecord, Value};
use crate::serve::format::{self, TimeText, Zone};
use crate::serve::page_url::PageUrl;
use crate::serve::pages::logs::line::{self, TraceChip, head};
use crate::serve::pages::logs::text::{Run, runs};
use crate::serve::pages::querybar::bare;
use crate::serve::pages::querybar::terms::{Terms, is_field_name};

/// Bytes of one value before "load all": what a browser lays out without a pause (ui.md L5).
const VALUE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of one value after "load all"; more is in the raw record.
const FULL_VALUE_BYTES_MAX: usize = 1 << 20;
/// JSON bodies beyond this stay text: a page of them would take longer to read than to search.
const BODY_JSON_BYTES_MAX: usize = 64 * 1024;
/// Rows of one group; more is in the raw record.
const NODES_MAX: usize = 400;
/// Nesting that is drawn as a tree; deeper values stand on one line.
const DEPTH_MAX: usize = 8;
/// Values longer than this are not offered as filters: nobody reads such a query.
const FILTER_BYTES_MAX: usize = 256;

/// View of `logs/detail.html`.
pub(crate) struct Detail {
    pub(crate) id: String,
    pub(crate) groups: Vec<Group>,
    pub(crate) stack: Option<Vec<Frame>>,
    pub(crate) trace: Option<TraceChip>,
    /// All logs of the record's trace.
    pub(crate) trace_logs: Option<String>,
    pub(crate) around: String,
    pub(crate) raw: String,
    /// The page with this line open, both ends of its time range in the address.
    pub(crate) link: String,
}

/// Attributes of one owner: record, body, scope, resource.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) nodes: Vec<Node>,
    /// Rows left out.
    pub(crate) more: usize,
}

/// A row of the tree; `Open` and `Close` enclose the rows of a map or an array.
pub(crate) enum Node {
    Leaf(Leaf),
    Open { key: String, preview: String },
    Close,
}

pub(crate) struct Leaf {
    pub(crate) key: String,
    pub(crate) runs: Vec<Run>,
    /// `s` text, `n` number or flag, `z` nothing.
    pub(crate) class: &'static str,
    /// How much there is, and where all of it is, when the value is cut.
    pub(crate) cut: Option<(String, String)>,
    pub(crate) links: Option<Links>,
}

/// The query with this value required, forbidden, or shown as a column.
pub(crate) struct Links {
    pub(crate) only: String,
    pub(crate) exclude: String,
    pub(crate) column: String,
}

/// A line of a stack trace.
pub(crate) struct Frame {
    pub(crate) text: String,
    /// Code of a runtime or a library.
    pub(crate) library: bool,
}

/// What an expansion links with.
pub(crate) struct Place<'a> {
    /// The list, without the state of one answer.
    url: PageUrl,
    terms: Terms,
    zone: &'a Zone,
    value_bytes_max: usize,
    load_all: String,
}

impl<'a> Place<'a> {
    pub(crate) fn new(
        url: &PageUrl,
        query: &str,
        zone: &'a Zone,
        id: &str,
        full: bool,
    ) -> Place<'a> {
        let fragment = bare(url).at(&format!("/logs/{id}"));
        Place {
            url: bare(url),
            terms: Terms::split(query),
            zone,
            value_bytes_max: if full {
                FULL_VALUE_BYTES_MAX
            } else {
                VALUE_BYTES_MAX
            },
            load_all: fragment.with("full", "1").to_string(),
        }
    }

    fn links(&self, field: &str, value: &str) -> Option<Links> {
        if !is_field_name(field) || value.len() > FILTER_BYTES_MAX {
            return None;
        }
        let query = |terms: Terms| self.url.with("query", &terms.to_string()).to_string();
        let columns = match self.url.get("cols") {
            Some(columns) => format!("{columns},{field}"),
            None => field.to_owned(),
        };
        Some(Links {
            only: query(self.terms.only(field, value)),
            exclude: query(self.terms.excluded(field, value)),
            column: self.url.with("cols", &columns).to_string(),
        })
    }
}

impl Detail {
    pub(crate) fn new(record: &LogRecord, place: &Place<'_>) -> Detail {
        let id = record.id.to_string();
        let body = body_entries(&record.body);
        let mut groups = vec![
            group("attributes", &record.attributes, place, Some("attr")),
            group("body", &body, place, Some("body")),
            group("scope", &record.scope.attributes, place, Some("scope")),
            group(
                "resource",
                &record.resource.attributes,
                place,
                Some("resource"),
            ),
            group("record", &facts(record, place.zone), place, None),
        ];
        groups.retain(|group| !group.nodes.is_empty());
        let list = place.url.at("/logs");
        let all_of = |trace: crate::model::TraceId| {
            list.with("query", &format!("trace:{trace}"))
                .without("cols")
                .to_string()
        };
        Detail {
            groups,
            stack: stack(record),
            trace: line::trace_chip(record, &list),
            trace_logs: record.trace_id.map(all_of),
            around: list.with("around", &id).to_string(),
            raw: raw(record),
            link: list.with("open", &id).to_string(),
            id,
        }
    }
}

/// The record as OTLP: our API's answer for its nanosecond.
fn raw(record: &LogRecord) -> String {
    let at = record.id.at;
    let api = PageUrl::new("/api/v1/logs", "format=otlp");
    api.with("start", &at.to_string())
        .with("end", &at.saturating_add(1).to_string())
        .to_string()
}

/// What the record says about itself beyond its line; only what was sent.
fn facts(record: &LogRecord, zone: &Zone) -> Attributes {
    let time = |ns: u64| {
        let TimeText { title, .. } = zone.time(ns);
        Value::Str(title)
    };
    let text = |text: &str| Value::Str(text.to_owned());
    let level = record.severity.level();
    let facts = [
        ("time", record.time.0 > 0, time(record.time.0)),
        (
            "observed",
            record.observed.0 > 0 && record.observed != record.time,
            time(record.observed.0),
        ),
        (
            "listed at",
            record.id.at != record.time,
            time(record.id.at.0),
        ),
        (
            "severity text",
            !record.severity_text.is_empty()
                && !record.severity_text.eq_ignore_ascii_case(level.name()),
            text(&record.severity_text),
        ),
        (
            "event name",
            !record.event_name.is_empty(),
            text(&record.event_name),
        ),
        (
            "scope name",
            !record.scope.name.is_empty(),
            text(&record.scope.name),
        ),
        (
            "scope version",
            !record.scope.version.is_empty(),
            text(&record.scope.version),
        ),
        (
            "dropped attributes",
            record.dropped_attributes > 0,
            Value::Int(i64::from(record.dropped_attributes)),
        ),
    ];
    let said = facts.into_iter().filter(|(_, said, _)| *said);
    said.map(|(key, _, value)| (key.to_owned(), value))
        .collect()
}

/// The keys of a structured body; a long text as one entry, as its line shows only the beginning.
fn body_entries(body: &Value) -> Attributes {
    if let Some(entries) = object(body) {
        return entries.into_owned();
    }
    let whole = match body {
        Value::Str(text) => text.len() > 120 || text.contains('\n'),
        Value::Array(_) | Value::Bytes(_) => true,
        Value::Empty | Value::Bool(_) | Value::Int(_) | Value::Double(_) | Value::Map(_) => false,
    };
    match whole {
        true => vec![("body".to_owned(), body.clone())],
        false => Vec::new(),
    }
}

/// A body that is a map, also where it came as JSON text.
pub(crate) fn object(body: &Value) -> Option<Cow<'_, Attributes>> {
    match body {
        Value::Map(entries) => Some(Cow::Borrowed(entries)),
        Value::Str(text) if text.starts_with('{') && text.len() <= BODY_JSON_BYTES_MAX => {
            match serde_json::from_str(text).ok()? {
                serde_json::Value::Object(object) => {
                    let entries = object
                        .into_iter()
                        .map(|(key, value)| (key, from_json(value)));
                    Some(Cow::Owned(entries.collect()))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// serde_json bounds the nesting at 128.
fn from_json(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Empty,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(value) => Value::Int(value),
            None => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::Str(text),
        serde_json::Value::Array(items) => Value::Array(items.into_iter().map(from_json).collect()),
        serde_json::Value::Object(object) => Value::Map(
            object
                .into_iter()
                .map(|(key, value)| (key, from_json(value)))
                .collect(),
        ),
    }
}

/// `prefix` is how the query language forces the owner; `None` for facts, which are no fields.
fn group(
    title: &'static str,
    entries: &Attributes,
    place: &Place<'_>,
    prefix: Option<&str>,
) -> Group {
    let mut nodes = Vec::new();
    for (key, value) in entries {
        if key == "exception.stacktrace" {
            continue;
        }
        let path = prefix.map(|prefix| field(prefix, key));
        put(&mut nodes, place, key, path.as_deref(), value, 0);
    }
    let more = entries.len().saturating_sub(NODES_MAX);
    Group { title, nodes, more }
}

/// The plain name where it means this attribute; the owner's prefix where a built-in field of the
/// query language has the same name.
fn field(prefix: &str, key: &str) -> String {
    const BUILT_IN: [&str; 13] = [
        "severity", "level", "service", "body", "trace", "span", "name", "kind", "status",
        "duration", "root", "attr", "time",
    ];
    match BUILT_IN.contains(&key) {
        true => format!("{prefix}.{key}"),
        false => key.to_owned(),
    }
}

fn put(
    nodes: &mut Vec<Node>,
    place: &Place<'_>,
    key: &str,
    path: Option<&str>,
    value: &Value,
    depth: usize,
) {
    if nodes.len() >= NODES_MAX {
        return;
    }
    let below = |key: &str| path.map(|path| format!("{path}.{key}"));
    match value {
        Value::Map(entries) if depth < DEPTH_MAX && !entries.is_empty() => {
            nodes.push(open(key, value));
            for (key, value) in entries {
                put(nodes, place, key, below(key).as_deref(), value, depth + 1);
            }
            nodes.push(Node::Close);
        }
        Value::Array(items) if depth < DEPTH_MAX && !items.is_empty() => {
            nodes.push(open(key, value));
            for (at, value) in items.iter().enumerate() {
                put(nodes, place, &at.to_string(), None, value, depth + 1);
            }
            nodes.push(Node::Close);
        }
        value => nodes.push(Node::Leaf(leaf(place, key, path, value))),
    }
}

fn open(key: &str, value: &Value) -> Node {
    let mut preview = String::new();
    line::compact(&mut preview, value);
    let (shown, more) = (head(&preview, 160), preview.len() > 160);
    let runs = runs(shown, &[], 160).0;
    let mut preview: String = runs.into_iter().map(|run| run.text).collect();
    preview.push_str(if more { "…" } else { "" });
    Node::Open {
        key: key.to_owned(),
        preview,
    }
}

fn leaf(place: &Place<'_>, key: &str, path: Option<&str>, value: &Value) -> Leaf {
    let class = match value {
        Value::Str(_) => "s",
        Value::Int(_) | Value::Double(_) | Value::Bool(_) => "n",
        Value::Empty | Value::Bytes(_) | Value::Array(_) | Value::Map(_) => "z",
    };
    let mut text = String::new();
    let (shown, whole_bytes) = match value {
        Value::Str(text) => (head(text, place.value_bytes_max), text.len()),
        other => {
            line::compact(&mut text, other);
            (text.as_str(), text.len())
        }
    };
    let cut = shown.len() < whole_bytes;
    let sizes = || {
        let sizes = [shown.len(), whole_bytes].map(|size| format::bytes(size as u64));
        (
            format!("{} of {}", sizes[0], sizes[1]),
            place.load_all.clone(),
        )
    };
    let links = match value {
        Value::Empty | Value::Bytes(_) | Value::Array(_) | Value::Map(_) => None,
        _ => path.and_then(|path| place.links(path, shown)),
    };
    Leaf {
        key: key.to_owned(),
        runs: runs(shown, &[], place.value_bytes_max).0,
        class,
        cut: cut.then(sizes),
        links,
    }
}

/// The stack trace of an exception attribute, or of a body that is one.
fn stack(record: &LogRecord) -> Option<Vec<Frame>> {
    let attribute = record
        .attributes
        .iter()
        .find(|(key, _)| key == "exception.stacktrace");
    let text = match (attribute, &record.body) {
        (Some((_, Value::Str(text))), _) => text,
        (None, Value::Str(body)) if is_stack(body) => body,
        _ => return None,
    };
    let frame = |text: &str| Frame {
        library: is_library(text),
        text: runs(text, &[], 1_000)
            .0
            .into_iter()
            .map(|run| run.text)
            .collect(),
    };
    Some(
        head(text, VALUE_BYTES_MAX)
            .lines()
            .take(NODES_MAX)
            .map(frame)
            .collect(),
    )
}

fn is_stack(body: &str) -> bool {
    let is_frame = |line: &str| {
        let line = line.trim_start();
        line.starts_with("at ") || line.starts_with("File \"") || line.starts_with("Caused by")
    };
    body.lines()
        .skip(1)
        .take(NODES_MAX)
        .filter(|line| is_frame(line))
        .count()
        >= 2
}

/// Frames of runtimes and package folders, by the paths and names that all of them have.
fn is_library(line: &str) -> bool {
    const MARKS: [&str; 18] = [
        "/node_modules/",
        "node:internal",
        "/site-packages/",
        "/dist-packages/",
        "/lib/python",
        "/.cargo/registry/",
        "/rustc/",
        "<frozen ",
        " std::",
        " core::",
        " tokio::",
        "at java.",
        "at javax.",
        "at jdk.",
        "at sun.",
        "at org.springframework",
        "/usr/local/go/",
        "/pkg/mod/",
    ];
    MARKS.iter().any(|mark| line.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::{Detail, Node, Place};
    use crate::model::Value;
    use crate::serve::format::Zone;
    use crate::serve::page_url::PageUrl;
    use crate::serve::pages::logs::sample;

    fn detail(record: &crate::model::LogRecord, full: bool) -> Detail {
        let url = PageUrl::new("/logs", "query=service%3Aa&start=1h&cursor=9");
        let zone = Zone::utc();
        Detail::new(record, &Place::new(&url, "service:a", &zone, "1-00", full))
    }

    fn leaves(detail: &Detail) -> Vec<(String, String)> {
        let nodes = detail.groups.iter().flat_map(|group| &group.nodes);
        nodes
            .filter_map(|node| match node {
                Node::Leaf(leaf) => {
                    let links = leaf.links.as_ref();
                    Some((
                        leaf.key.clone(),
                        links.map_or(String::new(), |links| links.only.clone()),
                    ))
                }
                Node::Open { .. } | Node::Close => None,
            })
            .collect()
    }

    #[test]
    fn every_value_narrows_the_query() {
        let mut record = sample::record(0, "ERROR", "a", r#"{"psp":{"host":"h x","status":504}}"#);
        record
            .attributes
            .push(("name".to_owned(), Value::Str("clash".to_owned())));
        let leaves = leaves(&detail(&record, false));
        let href = |key: &str| {
            leaves
                .iter()
                .find(|(k, _)| k == key)
                .expect("a leaf")
                .1
                .clone()
        };
        let encoded = "/logs?query=service%3Aa+psp.host%3A%22h+x%22&start=1h";
        assert_eq!(href("host"), encoded);
        assert_eq!(
            href("status"),
            "/logs?query=service%3Aa+psp.status%3A504&start=1h"
        );
        assert_eq!(
            href("name"),
            "/logs?query=service%3Aa+attr.name%3Aclash&start=1h"
        );
    }

    #[test]
    fn a_megabyte_value_is_cut_until_asked_for() {
        let record = sample::record(0, "INFO", "a", &"x".repeat(300_000));
        let size = |full| {
            let detail = detail(&record, full);
            let node = detail
                .groups
                .iter()
                .find(|group| group.title == "body")
                .expect("a body");
            match &node.nodes[0] {
                Node::Leaf(leaf) => (leaf.runs[0].text.len(), leaf.cut.clone()),
                _ => panic!("a leaf"),
            }
        };
        let (shown, cut) = size(false);
        assert_eq!(shown, super::VALUE_BYTES_MAX);
        assert_eq!(cut.expect("cut").0, "16.0 KiB of 293 KiB");
        assert_eq!(size(true), (300_000, None));
    }

    #[test]
    fn frames_of_libraries_stand_back() {
        let mut record = sample::record(0, "ERROR", "a", "boom");
        let trace = "Error: boom\n    at charge (/app/charge.js:88:3)\n    at next (/app/node_modules/x/i.js:1:1)";
        record.attributes.push((
            "exception.stacktrace".to_owned(),
            Value::Str(trace.to_owned()),
        ));
        let frames = detail(&record, false).stack.expect("a stack");
        let library: Vec<_> = frames.iter().map(|frame| frame.library).collect();
        assert_eq!(library, [false, false, true]);
    }
}
