//! Figures in the tables of services and operations: each leads to the records behind it.

use crate::red::SparkPoint;
use crate::serve::format;
use crate::serve::page_url::PageUrl;

/// A figure, its colour and the page with the records behind it.
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: &'static str,
    pub(crate) href: Option<String>,
}

/// The share of failed requests, with the failed traces behind it.
pub(super) fn share(ratio: f64, tone: &'static str, scoped: &PageUrl) -> Cell {
    let failed = || {
        scoped
            .carry_to("/traces")
            .with("query", "status:error")
            .to_string()
    };
    Cell {
        text: format::percent(ratio),
        tone: if ratio == 0.0 { "muted" } else { tone },
        href: (ratio > 0.0).then(failed),
    }
}

/// A percentile, with the traces behind it that took as long or longer and match `query`.
pub(super) fn latency(ns: Option<u64>, scoped: &PageUrl, query: &str) -> Cell {
    let Some(ns) = ns else {
        return Cell {
            text: "–".to_owned(),
            tone: "muted",
            href: None,
        };
    };
    let slower = format!("{query} duration:>={ns}ns");
    let url = scoped
        .carry_to("/traces")
        .with("query", slower.trim_start());
    Cell {
        text: format::duration(ns),
        tone: "",
        href: Some(url.to_string()),
    }
}

pub(super) fn log_errors(per_minute: f64, scoped: &PageUrl) -> Cell {
    let lines = || {
        scoped
            .carry_to("/logs")
            .with("query", "level:>=error")
            .to_string()
    };
    Cell {
        text: format::rate(per_minute),
        tone: if per_minute == 0.0 { "muted" } else { "" },
        href: (per_minute > 0.0).then(lines),
    }
}

pub(super) fn error_share(point: &SparkPoint) -> f64 {
    match point.requests {
        0 => 0.0,
        requests => point.errors as f64 / requests as f64,
    }
}
