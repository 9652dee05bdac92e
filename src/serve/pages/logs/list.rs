//! The list itself: lines in their order, the days between them, folds of lines alike, and the
//! links that go on in both directions.

use super::alike::{Fold, folds};
use super::detail::{Detail, Place};
use super::line::{Alike, Line, Style};
use super::search::Answer;
use super::text::Needle;
use crate::model::{LogRecord, Timestamp};
use crate::query::LogCursor;
use crate::serve::page_url::PageUrl;
use crate::serve::pages::colours::Colours;
use crate::serve::pages::querybar::terms::{Terms, is_field_name};
use crate::serve::request::PageRequest;

/// Columns beside the message; six still leave the message half of a 1 280-px page.
const COLUMNS_MAX: usize = 6;

pub(crate) struct LineList {
    pub(crate) lines: Vec<Row>,
    /// Chosen columns, with the page without each.
    pub(crate) columns: Vec<(String, String)>,
    pub(crate) wrap: bool,
    pub(crate) newer: Option<String>,
    pub(crate) older: Option<String>,
}

/// A line, or the day that the lines after it belong to.
pub(crate) enum Row {
    Day(String),
    Line(Box<Line>),
}

impl LineList {
    pub(super) fn new(request: &PageRequest, answer: &Answer, colours: &Colours) -> LineList {
        let url = request.url.with("query", &answer.good);
        let columns = columns_of(&url);
        let needles: Vec<_> = Terms::split(&answer.good)
            .0
            .iter()
            .filter(|term| !term.negated && matches!(term.field.as_deref(), None | Some("body")))
            .filter_map(|term| Needle::of(&term.value))
            .collect();
        let pinned = answer.pinned.map(|id| id.to_string());
        let style = Style {
            url: &url,
            zone: &request.zone,
            colours,
            needles: &needles,
            columns: &columns,
            wrap: url.get("wrap").is_some(),
            open: url.get("open"),
            pinned: pinned.as_deref(),
        };
        LineList {
            lines: rows(&answer.records, &style, request, &answer.good),
            wrap: style.wrap,
            newer: answer.newer.map(|cursor| page_at(&url, &cursor, true)),
            older: answer.older.map(|cursor| page_at(&url, &cursor, false)),
            columns: columns
                .iter()
                .map(|name| (name.clone(), without_column(&url, name)))
                .collect(),
        }
    }

    /// Whether some line is open, which has a style sheet of its own.
    pub(crate) fn opened(&self) -> bool {
        let open = |row: &Row| matches!(row, Row::Line(line) if line.open);
        self.lines.iter().any(open)
    }

    /// Class that sets the number of grid columns.
    pub(crate) fn grid(&self) -> String {
        format!("c{}", self.columns.len())
    }
}

fn rows(records: &[LogRecord], style: &Style<'_>, request: &PageRequest, query: &str) -> Vec<Row> {
    let day = |at: Timestamp| request.zone.print(at.0, "%A %-d %B %Y");
    let range = &request.range;
    let mut shown = match day(Timestamp(range.start_ns)) == day(Timestamp(range.end_ns)) {
        true => records.first().map(|record| day(record.id.at)),
        false => None,
    };
    let mut rows = Vec::with_capacity(records.len());
    for fold in shown_folds(records, style) {
        let lines = &records[fold.first..fold.first + fold.lines];
        for (at, record) in lines.iter().enumerate() {
            let of_record = day(record.id.at);
            if shown.as_ref() != Some(&of_record) {
                rows.push(Row::Day(of_record.clone()));
                shown = Some(of_record);
            }
            let id = record.id.to_string();
            let open = style.open == Some(id.as_str());
            let place = || Place::new(style.url, query, style.zone, &id, false);
            let detail = open.then(|| Detail::new(record, &place()));
            let mut line = Line::new(record, style, detail);
            let whole = fold.lines > 1 && unfolded(lines, style);
            if at == 0 && fold.lines > 1 {
                line.alike = Some(Alike::new(lines, style, whole));
            }
            line.also = at > 0;
            rows.push(Row::Line(Box::new(line)));
            if fold.lines > 1 && !whole {
                break;
            }
        }
    }
    rows
}

/// Folds where the reader asked for them, else every line for itself.
fn shown_folds(records: &[LogRecord], style: &Style<'_>) -> Vec<Fold> {
    match style.url.get("collapse") {
        Some(_) => folds(records),
        None => (0..records.len())
            .map(|first| Fold { first, lines: 1 })
            .collect(),
    }
}

/// A fold is shown whole where the reader unfolded it, and where the line that the address is about
/// is one of its inner ones.
fn unfolded(lines: &[LogRecord], style: &Style<'_>) -> bool {
    let asked = style.url.get("unfold");
    let wanted = [style.open, style.pinned];
    lines.iter().enumerate().any(|(at, record)| {
        let id = record.id.to_string();
        let id = Some(id.as_str());
        (at == 0 && asked == id) || (at > 0 && wanted.contains(&id))
    })
}

pub(super) fn columns_of(url: &PageUrl) -> Vec<String> {
    let mut columns = Vec::new();
    for name in url
        .get("cols")
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
    {
        let wanted = is_field_name(name) && !columns.iter().any(|column| column == name);
        if wanted && columns.len() < COLUMNS_MAX {
            columns.push(name.to_owned());
        }
    }
    columns
}

fn without_column(url: &PageUrl, name: &str) -> String {
    let kept: Vec<_> = columns_of(url)
        .into_iter()
        .filter(|column| column != name)
        .collect();
    url.with("cols", &kept.join(",")).to_string()
}

fn page_at(url: &PageUrl, cursor: &LogCursor, newer: bool) -> String {
    let page = url.without("open").with("cursor", &cursor.to_string());
    match newer {
        true => page.with("direction", "newer").to_string(),
        false => page.without("direction").to_string(),
    }
}
