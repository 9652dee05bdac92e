//! The values at the end of the range, one row for each series, and the exemplars of the range.

use crate::model::TraceId;
use crate::model::metric::{Exemplar, NAME};
use crate::query::explore::plot::{Cell, Plot, label_names, name_of};
use crate::query::explore::unit::Unit;
use crate::serve::format::{self, TimeText};
use crate::serve::palette;
use crate::serve::request::PageRequest;

use super::{letter, value};

/// Labels that have a column; the others stand in the series' name.
const COLUMNS_MAX: usize = 8;

/// Exemplars listed; the chart shows more.
const EXAMPLES_MAX: usize = 50;

pub(crate) struct Table {
    /// The end of the range.
    pub(crate) at: String,
    /// Rows have names beside their labels.
    pub(crate) named: bool,
    pub(crate) columns: Vec<String>,
    pub(crate) lettered: bool,
    pub(crate) rows: Vec<Row>,
    pub(crate) total: String,
    pub(crate) more: bool,
}

pub(crate) struct Row {
    pub(crate) letter: char,
    pub(crate) name: String,
    pub(crate) cells: Vec<String>,
    pub(crate) value: String,
    /// Every digit.
    pub(crate) exact: String,
}

impl Table {
    pub(crate) fn new(plot: &Plot, request: &PageRequest) -> Table {
        let mut columns = label_names(&plot.rows);
        if columns.len() > COLUMNS_MAX {
            columns.clear();
        }
        let units: Vec<Unit> = plot.outcomes.iter().map(|o| o.unit.clone()).collect();
        let row = |row: &crate::query::explore::plot::Row| {
            let text = plot.outcomes.get(row.of).map_or("", |o| o.text.as_str());
            let name = match columns.is_empty() {
                true => name_of(&row.labels, text),
                false => row.labels.get(NAME).unwrap_or_default().to_owned(),
            };
            let (value, exact) = match &row.value {
                Cell::Float(float) => (value::text(*float, &units[row.of]), float.to_string()),
                Cell::Text(text) => (text.clone(), text.clone()),
            };
            let cell = |column: &String| row.labels.get(column).unwrap_or_default().to_owned();
            Row {
                letter: letter(row.of),
                name,
                cells: columns.iter().map(cell).collect(),
                value,
                exact,
            }
        };
        let rows: Vec<Row> = plot.rows.iter().map(row).collect();
        Table {
            at: request.zone.print(request.range.end_ns, "%-d %b %H:%M:%S"),
            named: rows.iter().any(|row| !row.name.is_empty()),
            rows,
            lettered: plot.outcomes.len() > 1,
            total: format::exact(plot.rows_total as u64),
            more: plot.rows_total > plot.rows.len(),
            columns,
        }
    }
}

pub(crate) struct Examples {
    pub(crate) rows: Vec<Example>,
    pub(crate) shown: usize,
    pub(crate) total: String,
}

pub(crate) struct Example {
    pub(crate) time: TimeText,
    pub(crate) value: String,
    pub(crate) series: String,
    /// Class, address and short id of the trace, where it names one.
    pub(crate) trace: Option<(&'static str, String, String)>,
    pub(crate) labels: String,
}

/// The trace that an exemplar names, in lower case, if its id is one.
pub(crate) fn trace_of(exemplar: &Exemplar) -> Option<String> {
    let names = ["trace_id", "traceID", "traceId"];
    let id = names.iter().find_map(|name| exemplar.labels.get(name))?;
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.to_lowercase())
}

impl Examples {
    /// `None` where there are none.
    pub(crate) fn new(plot: &Plot, request: &PageRequest) -> Option<Examples> {
        if plot.examples.is_empty() {
            return None;
        }
        let row = |example: &crate::query::explore::plot::Example| {
            let exemplar = &example.exemplar;
            let trace = trace_of(exemplar).map(|id| {
                let class = TraceId::from_hex(&id).map_or("", |id| palette::trace_class(id.0));
                let href = request.url.carry_to(&format!("/trace/{id}")).to_string();
                (class, href, id[..4].to_owned())
            });
            Example {
                time: request
                    .zone
                    .time(u64::try_from(exemplar.at).unwrap_or(0) * 1_000_000),
                value: value::text(exemplar.value, &example.unit),
                series: example.labels.to_string(),
                trace,
                labels: exemplar.labels.to_string(),
            }
        };
        let newest = plot.examples.iter().rev().take(EXAMPLES_MAX);
        let rows: Vec<Example> = newest.map(row).collect();
        Some(Examples {
            shown: rows.len(),
            rows,
            total: format::exact(plot.examples_total as u64),
        })
    }
}
