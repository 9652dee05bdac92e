//! `/`: is anything wrong now? Services by badness with rate, errors and latency, and one line
//! about ourselves. Where nothing was ever received, it points to `/start`.

use std::cmp::Ordering;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::model::TimeRange;
use crate::observe::Metric;
use crate::observe::sources::{Sender, SenderKey};
use crate::red::{self, ServiceRow, SparkPoint};
use crate::serve::error::Failure;
use crate::serve::format::{self, TimeText, Zone};
use crate::serve::page::html;
use crate::serve::page_url::PageUrl;
use crate::serve::pages::colours::Colours;
use crate::serve::pages::figure::{Cell, error_share, latency, log_errors, share};
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell, ShellData};
use crate::serve::spark::{RIBBON_BARS, Spark, Tone};
use crate::serve::state::{App, Shared};

/// Services in the table; the rest is counted and found by search.
const ROWS_MAX: usize = 200;

/// Share of failed requests that makes a service need a look, and that makes it bad.
const ERROR_RATIO_WARN: f64 = 0.005;
const ERROR_RATIO_BAD: f64 = 0.02;

/// Failed requests below this are chance, whatever their share.
const ERRORS_MIN: f64 = 3.0;

#[derive(Template)]
#[template(path = "overview.html")]
pub(crate) struct OverviewPage {
    pub(crate) shell: Shell,
    pub(crate) headline: String,
    pub(crate) subline: String,
    pub(crate) checked: TimeText,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
    /// Services beyond [`ROWS_MAX`].
    pub(crate) more: usize,
    /// Nothing has ever been received.
    pub(crate) empty: bool,
    /// Not everything could be read: figures are too small.
    pub(crate) partial: bool,
    /// Name and value of the line about ourselves.
    pub(crate) own: Vec<(&'static str, String)>,
}

pub(crate) struct Column {
    pub(crate) words: &'static str,
    pub(crate) title: &'static str,
    pub(crate) class: &'static str,
    pub(crate) href: String,
    pub(crate) sorted: bool,
    /// A sparkline stands right of the figure.
    pub(crate) spark: bool,
}

pub(crate) struct Row {
    pub(crate) glyph: Option<(&'static str, &'static str)>,
    pub(crate) name: String,
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
    pub(crate) log_errors: Cell,
    pub(crate) version: String,
    pub(crate) last_seen: TimeText,
}

/// How bad a service is; the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Badness {
    Usual,
    Look,
    Bad,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Badness,
    Name,
    Rate,
    Errors,
    P50,
    P95,
    P99,
    LogErrors,
    LastSeen,
}

/// Sort, its name in the address, words, title, class of the column, sparkline.
type ColumnSpec = (
    Sort,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    bool,
);

const COLUMNS: [ColumnSpec; 8] = [
    (Sort::Name, "name", "Service", "By name", "", false),
    (
        Sort::Rate,
        "rate",
        "Rate /s",
        "Requests per second",
        "num",
        true,
    ),
    (
        Sort::Errors,
        "errors",
        "Errors",
        "Share of failed requests",
        "num",
        true,
    ),
    (
        Sort::P50,
        "p50",
        "P50",
        "Half of the requests are faster",
        "num",
        false,
    ),
    (
        Sort::P95,
        "p95",
        "P95",
        "95 of 100 requests are faster",
        "num",
        true,
    ),
    (
        Sort::P99,
        "p99",
        "P99",
        "99 of 100 requests are faster",
        "num no-phone",
        false,
    ),
    (
        Sort::LogErrors,
        "logs",
        "Err logs /min",
        "Log records of ERROR and FATAL",
        "num no-phone",
        false,
    ),
    (
        Sort::LastSeen,
        "seen",
        "Seen",
        "When the last record came",
        "num no-phone",
        false,
    ),
];

/// What the page is made from.
pub(crate) struct Overview<'a> {
    pub(crate) url: &'a PageUrl,
    pub(crate) services: Vec<ServiceRow>,
    pub(crate) partial: bool,
    pub(crate) colours: &'a Colours,
    pub(crate) now_ns: u64,
    pub(crate) zone: &'a Zone,
    pub(crate) empty: bool,
    pub(crate) own: Vec<(&'static str, String)>,
}

/// `GET /`.
pub(crate) async fn show(
    State(app): State<Shared>,
    page: PageRequest,
) -> Result<Response, Failure> {
    app.gauge();
    let range = page.window();
    let answer = app.ask("overview: services", move |engine, control| {
        let go_on = |records, bytes| {
            control.scanned(records, bytes);
            control.check().is_ok()
        };
        Ok(red::services(
            &engine.snapshot(),
            range,
            RIBBON_BARS,
            &go_on,
        ))
    });
    let mut answer = answer.await?;
    add_senders(&mut answer.rows, &app.sources.senders(), range);
    app.colours
        .meet(answer.rows.iter().map(|row| row.name.as_str()));
    let data = ShellData {
        errors: answer.errors,
        ..app.shell_data()
    };
    let colours = Colours::new(&data.services);
    let from = Overview {
        url: &page.url,
        empty: answer.rows.is_empty() && data.services.is_empty(),
        services: answer.rows,
        partial: answer.partial,
        colours: &colours,
        now_ns: page.now_ns,
        zone: &page.zone,
        own: own(&app, data.health.per_second),
    };
    Ok(html(&OverviewPage::new(
        Shell::new(&page, Section::Overview, "Overview", data),
        from,
    )))
}

/// What only the senders' registry knows: versions, when a record last came, and services that
/// write logs without errors.
fn add_senders(rows: &mut Vec<ServiceRow>, senders: &[(SenderKey, Sender)], range: TimeRange) {
    for (key, sender) in senders {
        let known = rows.iter().position(|row| row.name == key.service);
        let recent = range.contains(sender.last_seen) && !key.service.is_empty();
        let row = match known {
            Some(at) => &mut rows[at],
            None if recent => {
                rows.push(ServiceRow::unseen(key.service.clone(), sender.last_seen));
                rows.last_mut().expect("pushed above")
            }
            None => continue,
        };
        if sender.last_seen >= row.last_seen {
            row.last_seen = sender.last_seen;
            if !sender.version.is_empty() {
                row.version = Some(sender.version.clone());
            }
        }
    }
}

/// One line about ourselves.
fn own(app: &App, per_second: f64) -> Vec<(&'static str, String)> {
    let total = |metric| app.metrics.total(metric) as u64;
    let mut own = vec![
        ("ingest", format!("{}/s", format::rate(per_second))),
        ("refused", format::count(total(Metric::Refused))),
        ("left out", format::count(total(Metric::Rejected))),
    ];
    let sizes = [
        ("memory", Metric::ResidentBytes),
        ("data", Metric::StoreDiskBytes),
        ("disk free", Metric::StoreDiskFree),
    ];
    let known = sizes
        .into_iter()
        .map(|(words, metric)| (words, total(metric)));
    own.extend(
        known
            .filter(|(_, n)| *n > 0)
            .map(|(words, n)| (words, format::bytes(n))),
    );
    own
}

impl OverviewPage {
    pub(crate) fn new(shell: Shell, mut from: Overview) -> OverviewPage {
        let asked = from.url.get("sort").unwrap_or_default();
        let sort = COLUMNS
            .iter()
            .find(|column| column.1 == asked)
            .map_or(Sort::Badness, |c| c.0);
        from.services
            .sort_by(|a, b| order(sort, a, b).then_with(|| a.name.cmp(&b.name)));
        let (headline, subline) = headline(&from.services);
        let more = from.services.len().saturating_sub(ROWS_MAX);
        let rows = from
            .services
            .iter()
            .take(ROWS_MAX)
            .map(|service| row(service, &from))
            .collect();
        OverviewPage {
            shell,
            headline,
            subline,
            checked: TimeText {
                text: from.zone.print(from.now_ns, "%H:%M:%S"),
                ..from.zone.time(from.now_ns)
            },
            columns: COLUMNS
                .iter()
                .map(|spec| column(spec, sort, from.url))
                .collect(),
            rows,
            more,
            empty: from.empty,
            partial: from.partial,
            own: from.own,
        }
    }
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

fn order(sort: Sort, a: &ServiceRow, b: &ServiceRow) -> Ordering {
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
        Sort::LastSeen => b.last_seen.cmp(&a.last_seen),
    }
}

fn headline(services: &[ServiceRow]) -> (String, String) {
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

fn column(spec: &ColumnSpec, sort: Sort, url: &PageUrl) -> Column {
    let (by, name, words, title, class, spark) = *spec;
    let sorted = by == sort;
    // Pressing the sorted column again goes back to worst first.
    let href = if sorted {
        url.without("sort")
    } else {
        url.with("sort", name)
    };
    Column {
        words,
        title,
        class,
        href: href.to_string(),
        sorted,
        spark,
    }
}

fn row(service: &ServiceRow, from: &Overview) -> Row {
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
    let rate = Cell {
        text: format::rate(service.requests_per_s),
        tone: quiet,
        href: None,
    };
    Row {
        glyph,
        name: service.name.clone(),
        class: from.colours.class(&service.name),
        href: from
            .url
            .carry_to(&service_path(&service.name))
            .without("svc")
            .to_string(),
        rate,
        rate_spark: spark(&|point| point.requests as f64, Tone::Calm),
        errors: share(service.error_ratio, tone, &scoped),
        errors_spark: spark(&error_share, tail),
        p50: latency(service.p50_ns, &scoped, ""),
        p95: latency(service.p95_ns, &scoped, ""),
        p95_spark: spark(&|point| point.p95_ns.unwrap_or(0) as f64, tail),
        p99: latency(service.p99_ns, &scoped, ""),
        log_errors: log_errors(service.log_errors_per_min, &scoped),
        version: service.version.clone().unwrap_or_default(),
        last_seen: from.zone.ago(service.last_seen.0, from.now_ns),
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

#[cfg(test)]
pub(crate) mod tests {
    use axum::http::HeaderMap;

    use super::{Overview, OverviewPage};
    use crate::model::Timestamp;
    use crate::red::{ServiceRow, SparkPoint};
    use crate::serve::format::Zone;
    use crate::serve::page_url::PageUrl;
    use crate::serve::pages::colours::Colours;
    use crate::serve::request::PageRequest;
    use crate::serve::shell::{Section, Shell, ShellData};

    pub(crate) const NOW_NS: u64 = 1_795_183_471_000_000_000;

    pub(crate) fn service(name: &str, requests: u64, errors: u64, p95_ms: u64) -> ServiceRow {
        let point = |n: u64| SparkPoint {
            requests: requests / 24 + n % 5,
            errors: if n > 18 { errors / 5 } else { 0 },
            p95_ns: Some(p95_ms * 1_000_000 / if n > 18 { 1 } else { 3 }),
        };
        ServiceRow {
            name: name.to_owned(),
            requests,
            requests_per_s: requests as f64 / 3600.0,
            error_ratio: errors as f64 / requests.max(1) as f64,
            p50_ns: Some(p95_ms * 400_000),
            p95_ns: Some(p95_ms * 1_000_000),
            p99_ns: Some(p95_ms * 1_400_000),
            spark: (0..24).map(point).collect(),
            version: Some("1.8.2".to_owned()),
            last_seen: Timestamp(NOW_NS - 3_000_000_000),
            logs_per_min: 12.0,
            log_errors_per_min: errors as f64 / 60.0,
        }
    }

    fn page(query: &str, services: Vec<ServiceRow>) -> OverviewPage {
        let request = PageRequest::new(PageUrl::new("/", query), &HeaderMap::new(), NOW_NS);
        let shell = Shell::new(
            &request,
            Section::Overview,
            "Overview",
            ShellData::default(),
        );
        let from = Overview {
            url: &request.url,
            services,
            partial: false,
            colours: &Colours::default(),
            now_ns: NOW_NS,
            zone: &Zone::utc(),
            empty: false,
            own: Vec::new(),
        };
        OverviewPage::new(shell, from)
    }

    #[track_caller]
    fn check(query: &str, expect: &[&str]) {
        let services = vec![
            service("mailer", 3_240, 0, 180),
            service("payments", 14_760, 118, 301),
            service("checkout", 44_640, 1_384, 812),
            service("tiny", 2, 1, 10),
        ];
        let names: Vec<String> = page(query, services)
            .rows
            .into_iter()
            .map(|row| row.name)
            .collect();
        assert_eq!(names, expect, "{query}");
    }

    #[test]
    fn the_worst_comes_first_and_columns_sort() {
        check("", &["checkout", "payments", "tiny", "mailer"]);
        check("sort=name", &["checkout", "mailer", "payments", "tiny"]);
        check("sort=rate", &["checkout", "payments", "mailer", "tiny"]);
        check("sort=p95", &["checkout", "payments", "mailer", "tiny"]);
        check("sort=nonsense", &["checkout", "payments", "tiny", "mailer"]);
    }

    #[test]
    fn the_headline_names_what_needs_a_look() {
        let bad = page(
            "",
            vec![
                service("checkout", 1_000, 100, 5),
                service("a", 1_000, 0, 5),
            ],
        );
        assert_eq!(bad.headline, "checkout needs a look");
        assert_eq!(bad.subline, "1 of 2 services are as usual");
        let few = page("", vec![service("tiny", 2, 1, 5)]);
        assert_eq!(
            few.headline, "The service is as usual",
            "one failure is chance"
        );
    }

    #[test]
    fn figures_lead_to_the_records_behind_them() {
        let page = page("start=6h", vec![service("check out", 1_000, 100, 5)]);
        let row = &page.rows[0];
        let href = row.errors.href.as_deref();
        assert_eq!(
            href,
            Some("/traces?start=6h&svc=check+out&query=status%3Aerror")
        );
        assert_eq!(row.href, "/services/check%20out?start=6h");
        assert!(
            row.log_errors
                .href
                .as_deref()
                .is_some_and(|href| href.starts_with("/logs?"))
        );
    }
}
