//! `/`: is anything wrong now? Services by badness with rate, errors and latency, and one line
//! about ourselves. Where nothing was ever received, it points to `/start`.

mod table;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use self::table::{COLUMNS, Column, Row, column, headline, order, row, sort_of};
use crate::model::TimeRange;
use crate::observe::Metric;
use crate::observe::sources::{Sender, SenderKey};
use crate::red::{self, ServiceRow};
use crate::serve::error::Failure;
use crate::serve::format::{self, TimeText, Zone};
use crate::serve::page::html;
use crate::serve::page_url::PageUrl;
use crate::serve::pages::colours::Colours;
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell, ShellData};
use crate::serve::spark::RIBBON_BARS;
use crate::serve::state::{App, Shared};

/// Services in the table; the rest is counted and found by search.
const ROWS_MAX: usize = 200;

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
    /// Services of the chosen environment whose figures are those of others too.
    pub(crate) mixed: usize,
    /// Not everything could be read: figures are too small.
    pub(crate) partial: bool,
    /// Name and value of the line about ourselves.
    pub(crate) own: Vec<(&'static str, String)>,
}

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
    let environment = page.environment().map(str::to_owned);
    let answer = app.ask("overview: services", move |engine, control| {
        let go_on = |records, bytes| {
            control.scanned(records, bytes);
            control.check().is_ok()
        };
        Ok(red::services(
            &engine.snapshot(),
            range,
            RIBBON_BARS,
            environment.as_deref(),
            &go_on,
        ))
    });
    let mut answer = answer.await?;
    let senders = app.sources.senders();
    add_senders(&mut answer.rows, &senders, range, page.environment());
    app.colours
        .meet(answer.rows.iter().map(|row| row.name.as_str()));
    let named = answer.rows.iter().flat_map(|row| &row.environments);
    app.environments.meet(named.map(String::as_str));
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
fn add_senders(
    rows: &mut Vec<ServiceRow>,
    senders: &[(SenderKey, Sender)],
    range: TimeRange,
    environment: Option<&str>,
) {
    let elsewhere = |sender: &Sender| environment.is_some_and(|name| name != sender.environment);
    for (key, sender) in senders.iter().filter(|(_, sender)| !elsewhere(sender)) {
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
        if recent && !key.instance.is_empty() {
            row.instances.insert(key.instance.clone());
        }
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
        let sort = sort_of(from.url);
        from.services
            .sort_by(|a, b| order(sort, a, b).then_with(|| a.name.cmp(&b.name)));
        let (headline, subline) = headline(&from.services);
        let more = from.services.len().saturating_sub(ROWS_MAX);
        let rows: Vec<Row> = from
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
            mixed: rows.iter().filter(|row| row.mixed).count(),
            rows,
            more,
            empty: from.empty,
            partial: from.partial,
            own: from.own,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use axum::http::HeaderMap;

    use super::{Overview, OverviewPage};
    use crate::model::Timestamp;
    use crate::red::{ServiceRow, SparkPoint, Yesterday};
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
            yesterday: Some(Yesterday {
                requests_per_s: requests as f64 / 3000.0,
                error_ratio: 0.001,
                p95_ns: 260_000_000,
            }),
            instances: [format!("{name}-1"), format!("{name}-2")].into(),
            more_instances: name == "mailer",
            environments: ["prod".to_owned()].into(),
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
        check("sort=d-p95", &["checkout", "payments", "mailer", "tiny"]);
        check("sort=version", &["checkout", "mailer", "payments", "tiny"]);
        check(
            "sort=instances",
            &["mailer", "checkout", "payments", "tiny"],
        );
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

    #[test]
    fn yesterday_and_instances_are_told_or_a_dash() {
        let mut quiet = service("mailer", 0, 0, 1);
        (quiet.yesterday, quiet.instances) = (None, [].into());
        let rows = page("", vec![service("checkout", 1_000, 100, 812), quiet]).rows;
        let told = |row: &super::Row| {
            let cells = [&row.rate_change, &row.errors_change, &row.p95_change];
            let cells = cells.map(|cell| cell.text.clone()).join(" ");
            format!("{cells}, {}", row.instances)
        };
        assert_eq!(told(&rows[0]), "−17 % +9.9 pp +212 %, 2");
        assert_eq!(told(&rows[1]), "– – –, –");
    }

    #[test]
    fn figures_of_several_environments_are_marked() {
        let mut both = service("both", 10, 0, 5);
        both.environments.insert("staging".to_owned());
        let services = vec![both, service("one", 10, 0, 5)];
        let marked = page("env=prod", services.clone());
        assert_eq!((marked.mixed, marked.rows[0].mixed), (1, true));
        assert_eq!(page("", services).mixed, 0);
    }
}
