//! `/settings`: what is kept and for how long, what was left out and why, who sends, who may, and
//! the configuration in force. Must never show a secret, but a token once, when it is made.

use askama::Template;
use axum::Extension;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::config::{SETTINGS, Settings};
use crate::observe::sources::Sender;
use crate::observe::{Metric, Metrics};
use crate::serve::access::{Access, Caller, Scopes, Through};
use crate::serve::error::Failure;
use crate::serve::format::{self, TimeText, Zone};
use crate::serve::page::html;
use crate::serve::pages::colours::Colours;
use crate::serve::pages::deletes::{self, DeletesView};
use crate::serve::pages::listening::SKEW_NS_MAX;
use crate::serve::pages::storage::StorageView;
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell};
use crate::serve::state::{App, Shared};

/// Rows of one table of losses; metrics hold fewer label sets than this.
const LOSSES_MAX: usize = 500;

#[derive(Template)]
#[template(path = "settings.html")]
pub(crate) struct SettingsPage {
    pub(crate) shell: Shell,
    pub(crate) storage: StorageView,
    pub(crate) health: Vec<(&'static str, String)>,
    pub(crate) losses: Vec<LossRow>,
    pub(crate) sources: Vec<SourceRow>,
    pub(crate) access: AccessView,
    pub(crate) deletes: DeletesView,
    pub(crate) configuration: Vec<ConfigurationRow>,
    pub(crate) vendored: Vec<Vendored>,
}

/// Records or requests that were not kept as they came.
pub(crate) struct LossRow {
    pub(crate) what: &'static str,
    pub(crate) signal: String,
    pub(crate) service: String,
    pub(crate) reason: String,
    pub(crate) count: String,
    /// Severity class of the row.
    pub(crate) class: &'static str,
}

pub(crate) struct SourceRow {
    pub(crate) service: String,
    pub(crate) class: &'static str,
    pub(crate) instance: String,
    pub(crate) sdk: String,
    pub(crate) version: String,
    pub(crate) transport: &'static str,
    pub(crate) spans: String,
    pub(crate) logs: String,
    pub(crate) bytes: String,
    pub(crate) last_seen: TimeText,
    /// Rejections by reason and a wrong clock; empty when all is well.
    pub(crate) trouble: String,
}

pub(crate) struct AccessView {
    /// One sentence: who may do what on this address.
    pub(crate) sentence: String,
    pub(crate) open: bool,
    pub(crate) tokens: Vec<TokenView>,
    /// Just made; shown once.
    pub(crate) fresh: Option<String>,
    pub(crate) problem: Option<String>,
    /// What stands in the form: what was refused, to be mended.
    pub(crate) name: String,
    pub(crate) scope: String,
}

pub(crate) struct TokenView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) scope: String,
    pub(crate) created: TimeText,
}

pub(crate) struct ConfigurationRow {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// It differs from the default.
    pub(crate) set: bool,
    pub(crate) default: &'static str,
    pub(crate) what: String,
}

/// One row of `web/vendor.lock`.
pub(crate) struct Vendored {
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) licence: String,
}

/// What came of a form on this page.
#[derive(Default)]
struct Outcome {
    fresh: Option<String>,
    /// Why nothing was made, and what was asked for.
    problem: Option<(String, WantedToken)>,
}

#[derive(Deserialize)]
pub(crate) struct WantedToken {
    name: String,
    scope: String,
}

/// `GET /settings`.
pub(crate) async fn show(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(through): Extension<Through>,
    page: PageRequest,
) -> Response {
    render(&app, caller, through, &page, Outcome::default()).await
}

/// `POST /settings/tokens`: shows the page with the new token on it, once.
pub(crate) async fn make_token(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(through): Extension<Through>,
    page: PageRequest,
    Form(wanted): Form<WantedToken>,
) -> Response {
    let scopes: Result<Scopes, String> = wanted.scope.parse();
    let made = match scopes {
        Ok(scopes) => {
            let now = app.clock.now();
            let made = app.access.create_token(&wanted.name, scopes, now).await;
            made.map_err(|e| e.to_string())
        }
        Err(problem) => Err(problem),
    };
    let outcome = match made {
        Ok(made) => Outcome {
            fresh: Some(made.secret),
            problem: None,
        },
        Err(problem) => Outcome {
            fresh: None,
            problem: Some((problem, wanted)),
        },
    };
    let refused = outcome.problem.is_some();
    let mut response = render(&app, caller, through, &page, outcome).await;
    if refused {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    let never = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    response
}

/// `POST /settings/tokens/{id}/revoke`: refused from the next request on.
pub(crate) async fn revoke_token(
    State(app): State<Shared>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    app.access.revoke_token(&id).await?;
    Ok(Redirect::to("/settings#access").into_response())
}

/// `GET` of the addresses above: a reload after a form.
pub(crate) async fn again() -> Response {
    Redirect::to("/settings#access").into_response()
}

async fn render(
    app: &App,
    caller: Caller,
    through: Through,
    page: &PageRequest,
    outcome: Outcome,
) -> Response {
    app.gauge();
    let stats = app.store.stats();
    let mut data = app.shell_data();
    data.account = match caller {
        Caller::User { name } => Some(name),
        Caller::Nobody | Caller::Open | Caller::CommandLine | Caller::Token { .. } => None,
    };
    let colours = Colours::new(&data.services);
    let sources = app.sources.senders().into_iter().map(|(key, sender)| {
        let class = colours.class(&key.service);
        source_row(key.service, key.instance, class, &sender, page)
    });
    html(&SettingsPage {
        shell: Shell::new(page, Section::Settings, "Settings", data),
        storage: StorageView::new(&stats, &app.memory(&stats), &app.settings, &page.zone),
        health: health(&app.metrics),
        losses: losses(&app.metrics),
        sources: sources.collect(),
        access: access(&app.access, through, &page.zone, outcome),
        deletes: deletes::view(app, &page.zone).await,
        configuration: configuration(&app.settings),
        vendored: vendored(),
    })
}

fn health(metrics: &Metrics) -> Vec<(&'static str, String)> {
    [
        ("records accepted", Metric::Accepted),
        ("records left out", Metric::Rejected),
        ("requests refused", Metric::Refused),
        ("duplicate requests", Metric::Deduplicated),
        ("secrets masked", Metric::Redacted),
        ("queries refused", Metric::QueriesRefused),
    ]
    .map(|(words, metric)| (words, format::count(metrics.total(metric) as u64)))
    .into()
}

/// Every series that counts something lost or changed, worst kind first.
fn losses(metrics: &Metrics) -> Vec<LossRow> {
    let kinds = [
        (Metric::Refused, "request refused", "err"),
        (Metric::Rejected, "record left out", "err"),
        (Metric::Truncated, "record cut", "wrn"),
        (Metric::Mended, "text that was not UTF-8", "wrn"),
        (Metric::Redacted, "secret masked", "inf"),
        (Metric::Deduplicated, "seen before, not stored twice", "inf"),
        (Metric::QueriesRefused, "query refused", "wrn"),
        (Metric::ConnectionsRefused, "connection refused", "wrn"),
    ];
    let mut rows = Vec::new();
    for (metric, what, class) in kinds {
        let names = metric.description().labels;
        for (values, count) in metrics.series(metric).into_iter().filter(|(_, n)| *n > 0.0) {
            let label = |wanted: &[&str]| -> String {
                let at = names.iter().position(|name| wanted.contains(name));
                at.and_then(|at| values.get(at))
                    .cloned()
                    .unwrap_or_default()
            };
            rows.push(LossRow {
                what,
                signal: label(&["signal"]),
                service: label(&["service"]),
                reason: label(&["reason", "limit", "rule"]),
                count: format::exact(count as u64),
                class,
            });
        }
    }
    rows.truncate(LOSSES_MAX);
    rows
}

fn source_row(
    service: String,
    instance: String,
    class: &'static str,
    sender: &Sender,
    page: &PageRequest,
) -> SourceRow {
    let mut trouble: Vec<String> = sender
        .rejected
        .iter()
        .map(|(reason, n)| format!("{} {reason}", format::exact(*n)))
        .collect();
    if sender.skew_ns.abs() > SKEW_NS_MAX {
        let side = if sender.skew_ns < 0 {
            "behind"
        } else {
            "ahead"
        };
        let off = format::duration(sender.skew_ns.unsigned_abs());
        trouble.push(format!("clock {off} {side}"));
    }
    SourceRow {
        service,
        class,
        instance,
        sdk: format!("{} {}", sender.sdk, sender.sdk_version)
            .trim()
            .to_owned(),
        version: sender.version.clone(),
        transport: sender.transport.name(),
        spans: format::count(sender.spans),
        logs: format::count(sender.logs),
        bytes: format::bytes(sender.bytes),
        last_seen: page.zone.ago(sender.last_seen.0, page.now_ns),
        trouble: trouble.join(", "),
    }
}

fn access(access: &Access, through: Through, zone: &Zone, outcome: Outcome) -> AccessView {
    let open = access.open_at(through.bound);
    let loopback = through.bound.to_canonical().is_loopback();
    let sentence = match (open, access.ingest_open_at(through.bound), loopback) {
        (true, true, true) => {
            "Open: this listener is bound to loopback, so only this machine reaches it."
        }
        (true, true, false) => {
            "Open to everybody who can connect: auth.mode is \"none\". Anybody can read, send and change everything."
        }
        (true, false, _) => "Pages are open on this address; senders need an ingest token.",
        (false, true, _) => {
            "Pages and APIs need a login or a token; senders need none, because auth.ingest is \"open\"."
        }
        (false, false, _) => "Pages and APIs need a login or a token, senders an ingest token.",
    };
    let view = |row: crate::store::meta::TokenRow| TokenView {
        scope: Scopes::from_bits(row.scopes).to_string(),
        created: zone.date(row.created_ns),
        id: row.id,
        name: row.name,
    };
    let (problem, wanted) = outcome.problem.unzip();
    AccessView {
        sentence: sentence.to_owned(),
        open: open && !loopback,
        tokens: access.tokens().into_iter().map(view).collect(),
        fresh: outcome.fresh,
        name: wanted
            .as_ref()
            .map_or_else(String::new, |wanted| wanted.name.clone()),
        scope: wanted.map_or_else(String::new, |wanted| wanted.scope),
        problem,
    }
}

fn configuration(settings: &Settings) -> Vec<ConfigurationRow> {
    let defaults = Settings::default();
    SETTINGS
        .iter()
        .map(|setting| {
            let value = (setting.show)(settings);
            ConfigurationRow {
                name: setting.name,
                set: value != (setting.show)(&defaults),
                value,
                default: setting.default,
                what: setting.what.join(" ").replace('`', ""),
            }
        })
        .collect()
}

/// What others wrote and we serve, one row per package.
pub(crate) fn vendored() -> Vec<Vendored> {
    let lock: toml::Table = include_str!("../../../web/vendor.lock")
        .parse()
        .expect("a test reads vendor.lock");
    let files = lock["file"].as_array().expect("a test reads vendor.lock");
    let text = |file: &toml::Value, key: &str| file[key].as_str().unwrap_or_default().to_owned();
    let mut rows: Vec<Vendored> = files
        .iter()
        .map(|file| Vendored {
            package: text(file, "package"),
            version: text(file, "version"),
            licence: text(file, "licence"),
        })
        .collect();
    rows.dedup_by(|a, b| a.package == b.package);
    rows
}

#[cfg(test)]
mod tests {
    use super::vendored;

    #[test]
    fn every_vendored_package_is_listed_once_with_its_licence() {
        let rows = vendored();
        let names: Vec<&str> = rows.iter().map(|row| row.package.as_str()).collect();
        assert_eq!(
            names,
            [
                "htmx.org",
                "@tabler/icons",
                "@fontsource/ibm-plex-sans",
                "@fontsource/ibm-plex-mono",
                "uplot"
            ]
        );
        assert!(
            rows.iter()
                .all(|row| !row.licence.is_empty() && !row.version.is_empty())
        );
    }
}
