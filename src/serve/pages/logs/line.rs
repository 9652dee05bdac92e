//! One log record as one line of the list: the record's text with its attributes behind it, cut to
//! what a row can show. The whole record is in its expansion, which the line links to.

use std::fmt::Write as _;

use crate::model::owned::Attributes;
use crate::model::{Level, LogRecord, Value};
use crate::serve::format::{TimeText, Zone};
use crate::serve::page_url::PageUrl;
use crate::serve::pages::colours::Colours;
use crate::serve::pages::logs::detail::{Detail, object};
use crate::serve::pages::logs::text::{Needle, Run, runs};
use crate::serve::palette;

/// Characters of a line that is not wrapped: more than fits any screen.
const LINE_CHARS_MAX: usize = 400;
/// Characters of a wrapped line: about ten rows of text at 1 280 px.
pub(crate) const WRAPPED_CHARS_MAX: usize = 1_600;
/// Attributes written behind a line's text; all of them are in its expansion.
const LINE_ATTRIBUTES_MAX: usize = 16;
/// Bytes of one attribute value behind a line's text.
const LINE_VALUE_BYTES_MAX: usize = 120;
/// Bytes of a body that are looked at for a line; enough for [`WRAPPED_CHARS_MAX`] of any script.
const BODY_BYTES_MAX: usize = 8 * 1024;

/// How lines are drawn: what all of them share.
pub(crate) struct Style<'a> {
    /// The page they stand on, for their links.
    pub(crate) url: &'a PageUrl,
    pub(crate) zone: &'a Zone,
    pub(crate) colours: &'a Colours,
    pub(crate) needles: &'a [Needle],
    pub(crate) columns: &'a [String],
    pub(crate) wrap: bool,
    /// The record that is open, by its id.
    pub(crate) open: Option<&'a str>,
    /// The record that the page is about (`around`).
    pub(crate) pinned: Option<&'a str>,
}

/// View of one row of `logs/lines.html`.
pub(crate) struct Line {
    pub(crate) id: String,
    /// Opens the line, or closes it where it is open.
    pub(crate) toggle: String,
    pub(crate) open: bool,
    pub(crate) pinned: bool,
    pub(crate) time: TimeText,
    pub(crate) severity: Badge,
    pub(crate) service_class: &'static str,
    pub(crate) service: String,
    pub(crate) cells: Vec<String>,
    pub(crate) runs: Vec<Run>,
    pub(crate) cut: bool,
    pub(crate) trace: Option<TraceChip>,
    pub(crate) detail: Option<Detail>,
    /// Lines that this one stands for.
    pub(crate) alike: Option<Alike>,
    /// One of the lines below their [`Alike`].
    pub(crate) also: bool,
}

/// How many lines say the same, and the link that shows or folds them.
pub(crate) struct Alike {
    pub(crate) lines: usize,
    pub(crate) href: String,
    pub(crate) label: String,
    pub(crate) shown: bool,
}

impl Alike {
    /// `lines` are at least two, newest first.
    pub(crate) fn new(lines: &[LogRecord], style: &Style<'_>, shown: bool) -> Alike {
        let (newest, oldest) = (&lines[0], &lines[lines.len() - 1]);
        let id = newest.id.to_string();
        let folded = style.url.without("unfold").without("open");
        let url = match shown {
            true => folded,
            false => folded.with("unfold", &id),
        };
        let time = |record: &LogRecord| style.zone.time(record.id.at.0).text;
        let what = if shown { "fold them" } else { "show them" };
        Alike {
            lines: lines.len(),
            href: format!("{url}#r-{id}"),
            label: format!(
                "{} lines alike from {} to {}: {what}",
                lines.len(),
                time(oldest),
                time(newest)
            ),
            shown,
        }
    }
}

/// Class and word of a severity, as macro `severity` takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Badge {
    pub(crate) class: &'static str,
    pub(crate) word: &'static str,
}

pub(crate) struct TraceChip {
    pub(crate) class: &'static str,
    pub(crate) href: String,
    pub(crate) short: String,
}

impl Line {
    /// `detail` is the expansion where the line is open.
    pub(crate) fn new(record: &LogRecord, style: &Style<'_>, detail: Option<Detail>) -> Line {
        let id = record.id.to_string();
        let open = style.open == Some(id.as_str());
        let chars_max = if style.wrap {
            WRAPPED_CHARS_MAX
        } else {
            LINE_CHARS_MAX
        };
        let (runs, cut) = runs(&text(record), style.needles, chars_max);
        let toggle = match open {
            true => style.url.without("open"),
            false => style.url.with("open", &id),
        };
        Line {
            toggle: format!("{toggle}#r-{id}"),
            pinned: style.pinned == Some(id.as_str()),
            open,
            time: style.zone.time(record.id.at.0),
            severity: badge(record.severity.level()),
            service_class: style.colours.class(&record.resource.service),
            service: record.resource.service.clone(),
            cells: style
                .columns
                .iter()
                .map(|column| cell(record, column))
                .collect(),
            runs,
            cut,
            trace: trace_chip(record, style.url),
            detail,
            alike: None,
            also: false,
            id,
        }
    }
}

pub(crate) fn badge(level: Level) -> Badge {
    let (class, word) = match level {
        Level::Unset => ("trc", "---"),
        Level::Trace => ("trc", "TRC"),
        Level::Debug => ("dbg", "DBG"),
        Level::Info => ("inf", "INF"),
        Level::Warn => ("wrn", "WRN"),
        Level::Error => ("err", "ERR"),
        Level::Fatal => ("ftl", "FTL"),
    };
    Badge { class, word }
}

/// The link to a record's trace, at its span.
pub(crate) fn trace_chip(record: &LogRecord, url: &PageUrl) -> Option<TraceChip> {
    let trace_id = record.trace_id?;
    let text = trace_id.to_string();
    let page = url.carry_to(&format!("/trace/{text}"));
    let page = match record.span_id {
        Some(span) => page.with("span", &span.to_string()),
        None => page,
    };
    Some(TraceChip {
        class: palette::trace_class(trace_id.0),
        href: page.to_string(),
        short: text[..4].to_owned(),
    })
}

/// Body, or event name where the body is empty, and the attributes as `key=value`.
pub(crate) fn text(record: &LogRecord) -> String {
    let mut out = message(record);
    pairs(
        &mut out,
        record
            .attributes
            .iter()
            .filter(|(key, _)| key != "exception.stacktrace"),
    );
    out
}

/// Body, or event name where the body is empty.
pub(crate) fn message(record: &LogRecord) -> String {
    let mut out = String::new();
    match (object(&record.body), &record.body) {
        (Some(entries), _) => map_text(&mut out, &entries),
        (None, Value::Str(body)) => out.push_str(head(body, BODY_BYTES_MAX)),
        (None, Value::Empty) => out.push_str(&record.event_name),
        (None, other) => compact(&mut out, other),
    }
    out
}

/// The message of a structured body first, then its other keys.
fn map_text(out: &mut String, entries: &Attributes) {
    let is_message = |key: &str| matches!(key, "message" | "msg" | "body");
    let message = entries
        .iter()
        .find(|(key, value)| is_message(key) && matches!(value, Value::Str(_)));
    if let Some((_, Value::Str(message))) = message {
        out.push_str(head(message, BODY_BYTES_MAX));
    }
    let message_key = message.map(|(key, _)| key.as_str());
    pairs(
        out,
        entries
            .iter()
            .filter(|(key, _)| Some(key.as_str()) != message_key),
    );
}

fn pairs<'a>(out: &mut String, entries: impl Iterator<Item = &'a (String, Value)>) {
    for (key, value) in entries.take(LINE_ATTRIBUTES_MAX) {
        if !out.is_empty() {
            out.push(' ');
        }
        write!(out, "{key}=").expect("writing to a string");
        let from = out.len();
        compact(out, value);
        let length = head(&out[from..], LINE_VALUE_BYTES_MAX).len();
        if from + length < out.len() {
            out.truncate(from + length);
            out.push('…');
        }
    }
}

/// A value as `cols=` shows it: record, scope, resource, then body, as the query language looks.
fn cell(record: &LogRecord, column: &str) -> String {
    let find = |entries: &Attributes| {
        entries
            .iter()
            .find(|(key, _)| key == column)
            .map(|(_, value)| value.clone())
    };
    let body = || object(&record.body).and_then(|entries| find(&entries));
    let found = find(&record.attributes)
        .or_else(|| find(&record.scope.attributes))
        .or_else(|| find(&record.resource.attributes))
        .or_else(body);
    let mut out = String::new();
    if let Some(value) = found {
        compact(&mut out, &value);
    }
    runs(&out, &[], LINE_VALUE_BYTES_MAX)
        .0
        .into_iter()
        .map(|run| run.text)
        .collect()
}

/// A value on one line. Bounded: stops growing at [`BODY_BYTES_MAX`].
pub(crate) fn compact(out: &mut String, value: &Value) {
    if out.len() > BODY_BYTES_MAX {
        return;
    }
    match value {
        Value::Empty => out.push_str("null"),
        Value::Str(text) => out.push_str(head(text, BODY_BYTES_MAX)),
        Value::Bool(value) => write!(out, "{value}").expect("writing to a string"),
        Value::Int(value) => write!(out, "{value}").expect("writing to a string"),
        Value::Double(value) => write!(out, "{value}").expect("writing to a string"),
        Value::Bytes(bytes) => write!(out, "{} bytes", bytes.len()).expect("writing to a string"),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                compact(out, item);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            out.push_str("{ ");
            for (at, (key, value)) in entries.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write!(out, "{key}: ").expect("writing to a string");
                compact(out, value);
            }
            out.push_str(" }");
        }
    }
}

/// The first bytes of a text, ending at a character.
pub(crate) fn head(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::{Line, Style};
    use crate::model::{SpanId, TraceId, Value};
    use crate::serve::format::Zone;
    use crate::serve::page_url::PageUrl;
    use crate::serve::pages::colours::Colours;
    use crate::serve::pages::logs::sample;

    fn line(record: &crate::model::LogRecord, columns: &[&str]) -> Line {
        let url = PageUrl::new("/logs", "query=x&start=1h");
        let columns: Vec<_> = columns.iter().map(|column| (*column).to_owned()).collect();
        let style = Style {
            url: &url,
            zone: &Zone::utc(),
            colours: &Colours::default(),
            needles: &[],
            columns: &columns,
            wrap: false,
            open: None,
            pinned: None,
        };
        Line::new(record, &style, None)
    }

    fn text_of(line: &Line) -> String {
        line.runs.iter().map(|run| run.text.as_str()).collect()
    }

    #[test]
    fn attributes_stand_behind_the_message() {
        let mut record = sample::record(0, "ERROR", "checkout", "declined");
        record
            .attributes
            .push(("order".to_owned(), Value::Str("8f2c".to_owned())));
        record.attributes.push(("tries".to_owned(), Value::Int(2)));
        assert_eq!(text_of(&line(&record, &[])), "declined order=8f2c tries=2");
        assert_eq!(line(&record, &["tries", "none"]).cells, ["2", ""]);
        let body = |key: &str, value: &str| (key.to_owned(), Value::Str(value.to_owned()));
        record.body = Value::Map(vec![body("a", "1"), body("msg", "hello")]);
        assert_eq!(
            text_of(&line(&record, &["a"])),
            "hello a=1 order=8f2c tries=2"
        );
    }

    #[test]
    fn the_chip_leads_to_the_trace_at_the_span() {
        let mut record = sample::record(0, "INFO", "checkout", "x");
        assert!(line(&record, &[]).trace.is_none());
        record.trace_id = Some(TraceId([0x4b; 16]));
        record.span_id = Some(SpanId([1; 8]));
        let chip = line(&record, &[]).trace.expect("a chip");
        assert_eq!(chip.short, "4b4b");
        let expect = format!("/trace/{}?start=1h&span=0101010101010101", "4b".repeat(16));
        assert_eq!(chip.href, expect);
    }

    #[test]
    fn a_megabyte_line_is_cut() {
        let record = sample::record(0, "INFO", "checkout", &"x".repeat(1 << 20));
        let line = line(&record, &[]);
        assert!(line.cut && text_of(&line).len() == super::LINE_CHARS_MAX);
    }
}
