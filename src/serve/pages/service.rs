//! `/services/{name}`: one service by operation: where it is entered and what it does inside, with
//! rate, errors, latency and share of time; each figure leads to the traces behind it.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use crate::red::{self, OperationRow};
use crate::serve::error::Failure;
use crate::serve::format;
use crate::serve::page::html;
use crate::serve::page_url::PageUrl;
use crate::serve::pages::colours::Colours;
use crate::serve::pages::figure::{Cell, error_share, latency};
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell};
use crate::serve::spark::{Spark, Tone};
use crate::serve::state::Shared;

/// Operations listed; those past it took the least time.
const ROWS_MAX: usize = 200;

#[derive(Template)]
#[template(path = "service.html")]
struct ServicePage {
    shell: Shell,
    name: String,
    class: &'static str,
    facts: Vec<(&'static str, String)>,
    tables: Vec<Table>,
    traces: String,
    errors: String,
    slowest: String,
    logs: String,
    partial: bool,
    /// The environment that the links keep to, which the figures cannot.
    environment: Option<String>,
}

/// The operations of one place: entered from outside, or inside.
struct Table {
    title: &'static str,
    rows: Vec<Row>,
    more: usize,
}

struct Row {
    name: String,
    href: String,
    rate: String,
    rate_spark: Spark,
    errors: Cell,
    errors_spark: Spark,
    p50: Cell,
    p95: Cell,
    p99: Cell,
    share: u8,
}

/// `GET /services/{name}`.
pub(crate) async fn show(
    State(app): State<Shared>,
    Path(name): Path<String>,
    page: PageRequest,
) -> Result<Response, Failure> {
    let (range, wanted) = (page.window(), name.clone());
    let answer = app.ask("service: operations", move |engine, _| {
        Ok(red::operations(&engine.snapshot(), range, &wanted))
    });
    let (rows, whole) = answer.await?;
    let data = app.frame(range).await;
    let scoped = page.url.with("svc", &name);
    let to = |path: &str, query: &str| scoped.carry_to(path).with("query", query).to_string();
    let slow = rows
        .iter()
        .filter(|row| row.entry)
        .filter_map(|row| row.p99_ns)
        .max();
    Ok(html(&ServicePage {
        class: Colours::new(&data.services).class(&name),
        facts: facts(&rows),
        tables: tables(&rows, &scoped),
        traces: to("/traces", ""),
        errors: to("/traces", "status:error"),
        slowest: to(
            "/traces",
            &slow.map_or_else(String::new, |ns| format!("duration:>={ns}ns")),
        ),
        logs: to("/logs", ""),
        partial: !whole,
        environment: page.environment().map(str::to_owned),
        shell: Shell::new(&page, Section::Overview, &name, data),
        name,
    }))
}

/// Requests, failures and their rate over all entries.
fn facts(rows: &[OperationRow]) -> Vec<(&'static str, String)> {
    let entered = || rows.iter().filter(|row| row.entry);
    let requests: u64 = entered().map(|row| row.requests).sum();
    let errors: f64 = entered()
        .map(|row| row.error_ratio * row.requests as f64)
        .sum();
    vec![
        ("requests", format::count(requests)),
        (
            "per second",
            format::rate(entered().map(|row| row.requests_per_s).sum()),
        ),
        ("failed", format::percent(errors / requests.max(1) as f64)),
        ("operations", rows.len().to_string()),
    ]
}

fn tables(rows: &[OperationRow], scoped: &PageUrl) -> Vec<Table> {
    [("Entered by", true), ("Inside", false)]
        .into_iter()
        .map(|(title, entry)| {
            let all: Vec<&OperationRow> = rows.iter().filter(|row| row.entry == entry).collect();
            let shown = all
                .iter()
                .take(ROWS_MAX)
                .map(|operation| row(operation, scoped));
            Table {
                title,
                rows: shown.collect(),
                more: all.len().saturating_sub(ROWS_MAX),
            }
        })
        .filter(|table| !table.rows.is_empty())
        .collect()
}

fn row(operation: &OperationRow, scoped: &PageUrl) -> Row {
    let escaped = operation.name.replace('\\', "\\\\").replace('"', "\\\"");
    let named = format!("name:\"{escaped}\"");
    let failed = scoped
        .carry_to("/traces")
        .with("query", &format!("{named} status:error"));
    let spark = |value: &dyn Fn(&red::SparkPoint) -> f64, tone| {
        Spark::new(&operation.spark.iter().map(value).collect::<Vec<_>>(), tone)
    };
    let has_errors = operation.error_ratio > 0.0;
    Row {
        name: operation.name.clone(),
        href: scoped.carry_to("/traces").with("query", &named).to_string(),
        rate: format::rate(operation.requests_per_s),
        rate_spark: spark(&|point| point.requests as f64, Tone::Calm),
        errors: Cell {
            text: format::percent(operation.error_ratio),
            tone: if has_errors { "err" } else { "muted" },
            href: has_errors.then(|| failed.to_string()),
        },
        errors_spark: spark(
            &error_share,
            if has_errors { Tone::Hot } else { Tone::Calm },
        ),
        p50: latency(operation.p50_ns, scoped, &named),
        p95: latency(operation.p95_ns, scoped, &named),
        p99: latency(operation.p99_ns, scoped, &named),
        share: (operation.time_share.clamp(0.0, 1.0) * 100.0).round() as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::{facts, tables};
    use crate::red::OperationRow;
    use crate::serve::page_url::PageUrl;

    fn operation(name: &str, entry: bool, requests: u64, error_ratio: f64) -> OperationRow {
        OperationRow {
            name: name.to_owned(),
            entry,
            requests,
            requests_per_s: requests as f64 / 60.0,
            error_ratio,
            p50_ns: Some(1_000_000),
            p95_ns: Some(2_000_000),
            p99_ns: None,
            time_share: 0.5,
            spark: Vec::new(),
        }
    }

    #[test]
    fn entries_come_apart_from_what_happens_inside() {
        let rows = [
            operation("GET /\"a\"", true, 60, 0.5),
            operation("GET /b", true, 180, 0.0),
            operation("SELECT", false, 1_000, 1.0),
        ];
        let values: Vec<String> = facts(&rows).into_iter().map(|(_, value)| value).collect();
        assert_eq!(
            values,
            ["240", "4.00", "12.5 %", "3"],
            "inner spans are no requests"
        );
        let tables = tables(&rows, &PageUrl::new("/services/shop", "start=6h&svc=shop"));
        assert_eq!((tables[0].rows.len(), tables[1].rows.len()), (2, 1));
        let first = &tables[0].rows[0];
        let failed =
            "/traces?start=6h&svc=shop&query=name%3A%22GET+%2F%5C%22a%5C%22%22+status%3Aerror";
        assert_eq!(first.errors.href.as_deref(), Some(failed));
        assert_eq!(
            (
                first.p99.text.as_str(),
                tables[0].rows[1].errors.href.as_deref()
            ),
            ("–", None)
        );
    }
}
