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
    let Some(ns) = ns else { return nothing() };
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

/// A change against the day before that makes a figure need a look, and that makes it bad.
const CHANGE_WARN: f64 = 0.5;
const CHANGE_BAD: f64 = 1.0;
/// The same for shares of failed requests, in points of the share.
const POINTS_WARN: f64 = 0.005;
const POINTS_BAD: f64 = 0.02;
/// Changes past it are a new thing rather than a larger one.
const CHANGE_SHOWN_MAX: f64 = 9.99;

/// How far `now` is from `then`, as a share of `then`: `+210 %`. `worse` says that more is bad.
pub(super) fn change(now: f64, then: Option<f64>, worse: bool) -> Cell {
    let Some(then) = then.filter(|then| *then > 0.0) else {
        return nothing();
    };
    let ratio = now / then - 1.0;
    let text = match ratio {
        r if r > CHANGE_SHOWN_MAX => format!("×{}", format::rate(now / then)),
        r => format!("{} %", signed(r * 100.0, 0)),
    };
    Cell {
        tone: tone(ratio, worse, CHANGE_WARN, CHANGE_BAD),
        ..plain(text)
    }
}

/// How far a share is from what it was, in points of a hundred: `+2.9 pp`.
pub(super) fn points(now: f64, then: Option<f64>) -> Cell {
    let Some(then) = then else { return nothing() };
    let points = now - then;
    Cell {
        tone: tone(points, true, POINTS_WARN, POINTS_BAD),
        ..plain(format!("{} pp", signed(points * 100.0, 1)))
    }
}

fn tone(by: f64, worse: bool, warn: f64, bad: f64) -> &'static str {
    match by {
        by if worse && by >= bad => "err",
        by if worse && by >= warn => "warn",
        by if by > 0.0 && worse => "",
        _ => "muted",
    }
}

/// With a sign that is as wide as `+`; what rounds to nothing has none.
fn signed(value: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", value.abs());
    match text.parse() {
        Ok(0.0) => "0".to_owned(),
        _ if value < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

fn nothing() -> Cell {
    Cell {
        tone: "muted",
        ..plain("–".to_owned())
    }
}

pub(super) fn plain(text: String) -> Cell {
    Cell {
        text,
        tone: "",
        href: None,
    }
}

pub(super) fn error_share(point: &SparkPoint) -> f64 {
    match point.requests {
        0 => 0.0,
        requests => point.errors as f64 / requests as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, change, points};

    #[track_caller]
    fn check(cell: Cell, text: &str, tone: &str) {
        assert_eq!((cell.text.as_str(), cell.tone), (text, tone));
    }

    #[test]
    fn changes_have_a_sign_and_say_nothing_without_a_yesterday() {
        check(change(3.1, Some(1.0), true), "+210 %", "err");
        check(change(1.5, Some(1.0), true), "+50 %", "warn");
        check(change(1.5, Some(1.0), false), "+50 %", "muted");
        check(change(0.98, Some(1.0), true), "−2 %", "muted");
        check(change(1.001, Some(1.0), true), "0 %", "");
        check(change(20.0, Some(1.0), true), "×20.0", "err");
        check(change(1.0, None, true), "–", "muted");
        check(change(1.0, Some(0.0), true), "–", "muted");
        check(points(0.031, Some(0.002)), "+2.9 pp", "err");
        check(points(0.0, Some(0.01)), "−1.0 pp", "muted");
        check(points(0.01, Some(0.01)), "0 pp", "muted");
        check(points(0.01, None), "–", "muted");
    }
}
