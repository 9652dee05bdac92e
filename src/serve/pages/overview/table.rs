//! The table of services: its columns, how they sort, and what one row says.

use std::cmp::Ordering;

use super::Overview;
use crate::red::{ServiceRow, SparkPoint};
use crate::serve::format;
use crate::serve::page_url::PageUrl;
use crate::serve::pages::figure::{
    Cell, change, error_share, latency, log_errors, plain, points, share,
};
use crate::serve::spark::{Spark, Tone};

/// Share of failed requests that makes a service need a look, and that makes it bad.
const ERROR_RATIO_WARN: f64 = 0.005;
const ERROR_RATIO_BAD: f64 = 0.02;

/// Failed requests below this are chance, whatever their share.
const ERRORS_MIN: f64 = 3.0;

pub(crate) struct Column {
    pub(crate) words: &'static str,
    pub(crate) title: &'static str,
    pub(crate) class: &'static str,
    pub(crate) href: String,
    /// `aria-sort` of the column that the table is sorted by.
    pub(crate) sorted: Option<&'static str>,
    /// A sparkline stands right of the figure.
    pub(crate) spark: bool,
}

pub(crate) struct Row {
    pub(crate) glyph: Option<(&'static str, &'static str)>,
    pub(crate) name: String,
    /// When the last record came.
    pub(crate) seen: String,
    pub(crate) class: &'static str,
    pub(crate) href: String,
    pub(crate) rate: Cell,
    pub(crate) rate_spark: Spark,
    pub(crate) errors: Cell,
    pub(crate) errors_spark: Spark,
    pub(crate) p50: Cell,
    pub(crate) p95: Cell,
    pub(crate) p95_spark: Spark,
    pub(crate) p99: Cell,
    pub(crate) rate_change: Cell,
    pub(crate) errors_change: Cell,
    pub(crate) p95_change: Cell,
    pub(crate) log_errors: Cell,
    pub(crate) version: String,
    pub(crate) instances: String,
    /// An environment is chosen and these figures are those of others too.
    pub(crate) mixed: bool,
}

/// How bad a service is; the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Badness {
    Usual,
    Look,
    Bad,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Badness,
    Name,
    Rate,
    Errors,
    P50,
    P95,
    P99,
    RateChange,
    ErrorsChange,
    P95Change,
    LogErrors,
    Version,
    Instances,
}

/// What is fixed about a column.
pub(super) struct ColumnSpec {
    by: Sort,
    /// In the address.
    name: &'static str,
    words: &'static str,
    title: &'static str,
    class: &'static str,
    spark: bool,
}

const fn spec(
    by: Sort,
    name: &'static str,
    words: &'static str,
    title: &'static str,
    class: &'static str,
) -> ColumnSpec {
    ColumnSpec {
        by,
        name,
        words,
        title,
        class,
        spark: matches!(by, Sort::Rate | Sort::Errors | Sort::P95),
    }
}

/// Classes of columns that a phone has no room for, and of those that a small window has none for.
const FIGURE: &str = "num";
const NO_PHONE: &str = "num no-phone";
const CHANGE: &str = "num no-phone change";

pub(super) const COLUMNS: [ColumnSpec; 12] = [
    spec(Sort::Name, "name", "Service", "By name", ""),
    spec(Sort::Rate, "rate", "Rate /s", "Requests per second", FIGURE),
    spec(
        Sort::Errors,
        "errors",
        "Errors",
        "Share of failed requests",
        FIGURE,
    ),
    spec(
        Sort::P50,
        "p50",
        "P50",
        "Half of the requests are faster",
        NO_PHONE,
    ),
    spec(
        Sort::P95,
        "p95",
        "P95",
        "95 of 100 requests are faster",
        FIGURE,
    ),
    spec(
        Sort::P99,
        "p99",
        "P99",
        "99 of 100 requests are faster",
        NO_PHONE,
    ),
    spec(
        Sort::RateChange,
        "d-rate",
        "Rate",
        "Requests per second against the same time yesterday",
        CHANGE,
    ),
    spec(
        Sort::ErrorsChange,
        "d-errors",
        "Errors",
        "Share of failed requests against the same time yesterday, in points",
        CHANGE,
    ),
    spec(
        Sort::P95Change,
        "d-p95",
        "P95",
        "P95 against the same time yesterday",
        CHANGE,
    ),
    spec(
        Sort::LogErrors,
        "logs",
        "Err logs /min",
        "Log records of ERROR and FATAL",
        NO_PHONE,
    ),
    spec(
        Sort::Version,
        "version",
        "Version",
        "The service.version seen last",
        NO_PHONE,
    ),
    spec(
        Sort::Instances,
        "instances",
        "Inst",
        "Instances: service.instance.id, else host.name, in this time range",
        NO_PHONE,
    ),
];

/// The sort that the address asks for.
pub(super) fn sort_of(url: &PageUrl) -> Sort {
    let asked = url.get("sort").unwrap_or_default();
    let found = COLUMNS.iter().find(|column| column.name == asked);
    found.map_or(Sort::Badness, |column| column.by)
}

fn badness(service: &ServiceRow) -> Badness {
    let errors = service.error_ratio * service.requests as f64;
    match service.error_ratio {
        _ if errors < ERRORS_MIN => Badness::Usual,
        ratio if ratio >= ERROR_RATIO_BAD => Badness::Bad,
        ratio if ratio >= ERROR_RATIO_WARN => Badness::Look,
        _ => Badness::Usual,
    }
}

pub(super) fn order(sort: Sort, a: &ServiceRow, b: &ServiceRow) -> Ordering {
    match sort {
        Sort::Badness => (badness(b).cmp(&badness(a)))
            .then_with(|| b.error_ratio.total_cmp(&a.error_ratio))
            .then_with(|| b.log_errors_per_min.total_cmp(&a.log_errors_per_min))
            .then_with(|| b.requests.cmp(&a.requests)),
        Sort::Name => Ordering::Equal,
        Sort::Rate => b.requests.cmp(&a.requests),
        Sort::Errors => b.error_ratio.total_cmp(&a.error_ratio),
        Sort::P50 => b.p50_ns.cmp(&a.p50_ns),
        Sort::P95 => b.p95_ns.cmp(&a.p95_ns),
        Sort::P99 => b.p99_ns.cmp(&a.p99_ns),
        Sort::LogErrors => b.log_errors_per_min.total_cmp(&a.log_errors_per_min),
        Sort::RateChange => by_change(a, b, rate_change),
        Sort::ErrorsChange => by_change(a, b, errors_change),
        Sort::P95Change => by_change(a, b, p95_change),
        Sort::Version => b.version.cmp(&a.version),
        Sort::Instances => {
            (b.instances.len(), b.more_instances).cmp(&(a.instances.len(), a.more_instances))
        }
    }
}

/// The largest rise first, services without a yesterday last.
fn by_change(a: &ServiceRow, b: &ServiceRow, change: fn(&ServiceRow) -> Option<f64>) -> Ordering {
    let of = |row| change(row).unwrap_or(f64::NEG_INFINITY);
    of(b).total_cmp(&of(a))
}

fn rate_change(row: &ServiceRow) -> Option<f64> {
    Some(row.requests_per_s / row.yesterday?.requests_per_s)
}

fn errors_change(row: &ServiceRow) -> Option<f64> {
    Some(row.error_ratio - row.yesterday?.error_ratio)
}

fn p95_change(row: &ServiceRow) -> Option<f64> {
    Some(row.p95_ns? as f64 / row.yesterday?.p95_ns as f64)
}

pub(super) fn headline(services: &[ServiceRow]) -> (String, String) {
    let bad: Vec<&str> = services
        .iter()
        .filter(|service| badness(service) != Badness::Usual)
        .map(|service| service.name.as_str())
        .collect();
    let all = services.len();
    let named = match bad.as_slice() {
        [] if all == 1 => return ("The service is as usual".to_owned(), String::new()),
        [] => return (format!("All {all} services are as usual"), String::new()),
        [one] => format!("{one} needs a look"),
        [one, two] => format!("{one} and {two} need a look"),
        [one, two, rest @ ..] => format!("{one}, {two} and {} more need a look", rest.len()),
    };
    (
        named,
        format!("{} of {all} services are as usual", all - bad.len()),
    )
}

pub(super) fn column(spec: &ColumnSpec, sort: Sort, url: &PageUrl) -> Column {
    let is_sorted = spec.by == sort;
    // Pressing the sorted column again goes back to worst first.
    let href = if is_sorted {
        url.without("sort")
    } else {
        url.with("sort", spec.name)
    };
    let direction = match spec.by {
        Sort::Name => "ascending",
        _ => "descending",
    };
    Column {
        words: spec.words,
        title: spec.title,
        class: spec.class,
        href: href.to_string(),
        sorted: is_sorted.then_some(direction),
        spark: spec.spark,
    }
}

pub(super) fn row(service: &ServiceRow, from: &Overview) -> Row {
    let (glyph, tone, tail) = match badness(service) {
        Badness::Usual => (None, "", Tone::Calm),
        Badness::Look => (Some(("wrn", "needs a look")), "warn", Tone::Warm),
        Badness::Bad => (Some(("err", "failing")), "err", Tone::Hot),
    };
    let spark = |value: &dyn Fn(&SparkPoint) -> f64, tone| {
        Spark::new(&service.spark.iter().map(value).collect::<Vec<_>>(), tone)
    };
    let scoped = from.url.with("svc", &service.name);
    let quiet = if service.requests == 0 { "muted" } else { "" };
    let then = service.yesterday;
    let p95_now = service.p95_ns.map_or(0.0, |ns| ns as f64);
    Row {
        glyph,
        name: service.name.clone(),
        seen: from.zone.ago(service.last_seen.0, from.now_ns).text,
        class: from.colours.class(&service.name),
        href: from
            .url
            .carry_to(&service_path(&service.name))
            .without("svc")
            .to_string(),
        rate: Cell {
            tone: quiet,
            ..plain(format::rate(service.requests_per_s))
        },
        rate_spark: spark(&|point| point.requests as f64, Tone::Calm),
        errors: share(service.error_ratio, tone, &scoped),
        errors_spark: spark(&error_share, tail),
        p50: latency(service.p50_ns, &scoped, ""),
        p95: latency(service.p95_ns, &scoped, ""),
        p95_spark: spark(&|point| point.p95_ns.unwrap_or(0) as f64, tail),
        p99: latency(service.p99_ns, &scoped, ""),
        log_errors: log_errors(service.log_errors_per_min, &scoped),
        rate_change: change(
            service.requests_per_s,
            then.map(|then| then.requests_per_s),
            false,
        ),
        errors_change: points(service.error_ratio, then.map(|then| then.error_ratio)),
        p95_change: change(
            p95_now,
            then.filter(|_| p95_now > 0.0)
                .map(|then| then.p95_ns as f64),
            true,
        ),
        version: service.version.clone().unwrap_or_else(|| "–".to_owned()),
        instances: instances(service),
        mixed: from
            .url
            .get("env")
            .is_some_and(|name| !service.environments.iter().eq([name])),
    }
}

/// `3`; `3+` where older records were not looked at.
pub(in crate::serve::pages) fn instances(service: &ServiceRow) -> String {
    match (service.instances.len(), service.more_instances) {
        (0, _) => "–".to_owned(),
        (n, true) => format!("{n}+"),
        (n, false) => n.to_string(),
    }
}

/// `/services/{name}`, percent-encoded (RFC 3986, a path segment).
fn service_path(name: &str) -> String {
    let mut path = "/services/".to_owned();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                path.push(char::from(byte));
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}
