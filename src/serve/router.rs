//! Every route on one page, by who calls, each with its policy. Adding a route is one line here;
//! a route without a policy does not compile.

use std::convert::Infallible;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use tower::ServiceExt;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use super::access::{Policy, guard};
use super::error::{self, Failure};
use super::pages::{deletes, overview, service, settings, start, targets, theme};
use super::state::Shared;
use super::unread::Crowded;
use super::{api, assets, health, login, page, pages, pushgateway, tokens};
use crate::observe::Metric;
use crate::receive::{cors, loki, otlp_grpc, otlp_http, remote_write};

/// Told to who wanted a large answer while too many waited.
const RETRY_AFTER_S: u64 = 5;

/// Dynamic answers are compressed once each: level 4 costs a fifth of the default for 5 % more bytes.
const COMPRESSION: CompressionLevel = CompressionLevel::Precise(4);

/// Routes under construction.
pub(crate) struct Routes {
    app: Shared,
    router: Router<Shared>,
    /// What was added, for the test of all routes with all callers.
    pub(crate) table: Vec<(Policy, &'static str)>,
}

impl Routes {
    fn new(app: &Shared) -> Routes {
        Routes {
            app: app.clone(),
            router: Router::new(),
            table: Vec::new(),
        }
    }

    /// Adds a route behind its policy.
    fn at(mut self, policy: Policy, path: &'static str, methods: MethodRouter<Shared>) -> Routes {
        let state = (self.app.clone(), policy, path);
        let guarded = methods.layer(from_fn_with_state(state, guard));
        let methods = match policy {
            // Senders and probes have no use for a browser's rules, and pay for every byte.
            Policy::Health => guarded,
            Policy::Ingest => guarded.layer::<_, Infallible>(from_fn(cors::allow)),
            Policy::Public | Policy::Page | Policy::AdminPage | Policy::Api | Policy::AdminApi => {
                guarded
                    .layer::<_, Infallible>(map_response(page::harden))
                    .layer::<_, Infallible>(from_fn_with_state(self.app.clone(), within_room))
                    .layer(CompressionLayer::new().quality(COMPRESSION))
            }
        };
        self.router = self.router.route(path, methods);
        self.table.push((policy, path));
        self
    }

    /// The finished service.
    pub(crate) fn finish(self) -> Router {
        self.router
            .fallback(nothing_here)
            .layer(CatchPanicLayer::new())
            .layer(from_fn_with_state(self.app.clone(), one_host))
            .with_state(self.app)
    }
}

/// What `listen` (4300) serves: everything.
pub(crate) fn everything(app: &Shared) -> Routes {
    let routes = probes(Routes::new(app));
    let routes = otlp_http(otlp_grpc(routes));
    people(people_looking(prometheus(programs(other_senders(routes)))))
}

/// Ports that other programs expect (`compat_ports`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compat {
    Prometheus,
    Pushgateway,
}

impl Compat {
    pub(crate) const ALL: [Compat; 2] = [Compat::Prometheus, Compat::Pushgateway];

    pub(crate) const fn port(self) -> u16 {
        match self {
            Compat::Prometheus => 9090,
            Compat::Pushgateway => 9091,
        }
    }

    /// Where here stands what is at the root there; `None`: it is where it is here.
    fn moved(self, path_and_query: &str) -> Option<String> {
        let (root, prefix) = match self {
            Compat::Prometheus => ("/api/v1/", "/prometheus"),
            Compat::Pushgateway => ("/metrics/job", "/pushgateway"),
        };
        let moved = path_and_query.starts_with(root);
        moved.then(|| format!("{prefix}{path_and_query}"))
    }
}

/// What a port of `compat_ports` serves: everything, and another program's paths at the root.
pub(crate) fn compat(app: &Shared, of: Compat) -> Router {
    let everything = everything(app).finish();
    let moved = everything.map_request(move |mut request: Request| {
        let path = request
            .uri()
            .path_and_query()
            .map_or("", |path| path.as_str());
        if let Some(uri) = of.moved(path).and_then(|path| path.parse().ok()) {
            *request.uri_mut() = uri;
        }
        request
    });
    Router::new().fallback_service(moved)
}

/// What `otlp_grpc_listen` (4317) serves.
pub(crate) fn grpc_only(app: &Shared) -> Routes {
    otlp_grpc(probes(Routes::new(app))).at(
        Policy::Ingest,
        "/v1/{signal}",
        post(otlp_http::wrong_port),
    )
}

/// What `otlp_http_listen` (4318) serves.
pub(crate) fn http_only(app: &Shared) -> Routes {
    otlp_http(probes(Routes::new(app)))
        .at(
            Policy::Ingest,
            otlp_grpc::TRACES,
            post(otlp_grpc::wrong_port),
        )
        .at(Policy::Ingest, otlp_grpc::LOGS, post(otlp_grpc::wrong_port))
        .at(
            Policy::Ingest,
            otlp_grpc::METRICS,
            post(otlp_grpc::wrong_port),
        )
}

/// Orchestrators, smoke tests, other monitoring.
fn probes(routes: Routes) -> Routes {
    routes
        .at(Policy::Health, "/healthz", get(health::live))
        .at(Policy::Health, "/readyz", get(health::ready))
        .at(Policy::Health, "/api/health", get(health::summary))
        .at(Policy::Health, "/metrics", get(health::metrics))
}

/// OpenTelemetry SDKs and Collectors over gRPC.
fn otlp_grpc(routes: Routes) -> Routes {
    routes
        .at(Policy::Ingest, otlp_grpc::TRACES, post(otlp_grpc::traces))
        .at(Policy::Ingest, otlp_grpc::LOGS, post(otlp_grpc::logs))
        .at(Policy::Ingest, otlp_grpc::METRICS, post(otlp_grpc::metrics))
}

/// OpenTelemetry SDKs, browsers and Collectors over HTTP.
fn otlp_http(routes: Routes) -> Routes {
    routes
        .at(Policy::Ingest, "/v1/traces", post(otlp_http::traces))
        .at(Policy::Ingest, "/v1/logs", post(otlp_http::logs))
        .at(Policy::Ingest, "/v1/metrics", post(otlp_http::metrics))
}

/// Promtail, Alloy, Vector, Fluent Bit, Docker's loki driver; Prometheus and vmagent.
fn other_senders(routes: Routes) -> Routes {
    routes
        .at(Policy::Ingest, "/loki/api/v1/push", post(loki::push))
        .at(
            Policy::Ingest,
            "/prometheus/api/v1/write",
            post(remote_write::write),
        )
        .at(
            Policy::Ingest,
            "/pushgateway/metrics/{*group}",
            put(pushgateway::handle)
                .post(pushgateway::handle)
                .delete(pushgateway::handle),
        )
}

/// Scripts and our own pages, about logs.
fn programs_about_logs(routes: Routes) -> Routes {
    routes
        .at(Policy::Api, "/api/v1/logs", get(api::logs::list))
        .at(
            Policy::Api,
            "/api/v1/logs/histogram",
            get(api::logs::histogram),
        )
        .at(Policy::Api, "/api/v1/logs/facets", get(api::facets::logs))
        .at(
            Policy::Api,
            "/api/v1/logs/patterns",
            get(api::patterns::list),
        )
        .at(Policy::Api, "/api/v1/logs/tail", get(api::tail::stream))
        .at(
            Policy::Api,
            "/api/v1/logs/{id}/context",
            get(api::logs::context),
        )
}

/// Scripts, the command line, our own pages.
fn programs(routes: Routes) -> Routes {
    programs_about_logs(routes)
        .at(
            Policy::AdminApi,
            "/api/v1/tokens",
            get(tokens::list).post(tokens::create),
        )
        .at(
            Policy::AdminApi,
            "/api/v1/tokens/{id}",
            delete(tokens::revoke),
        )
        .at(Policy::AdminApi, "/-/reload", post(targets::reload_now))
        .at(Policy::AdminApi, "/api/v1/users", post(tokens::add_user))
        .at(
            Policy::Api,
            "/api/v1/openapi.json",
            get(api::openapi::document),
        )
        .at(
            Policy::AdminApi,
            "/api/v1/deletes",
            get(api::deletes::list).post(api::deletes::create),
        )
        .at(Policy::Api, "/api/v1/traces", get(api::traces::list))
        .at(
            Policy::Api,
            "/api/v1/traces/facets",
            get(api::facets::traces),
        )
        .at(Policy::Api, "/api/v1/traces/{id}", get(api::traces::whole))
        .at(
            Policy::Api,
            "/api/v1/traces/{id}/layout",
            get(api::waterfall::layout),
        )
        .at(
            Policy::Api,
            "/api/v1/traces/{id}/spans",
            get(api::waterfall::spans),
        )
        .at(Policy::Api, "/api/v1/services", get(api::services::list))
        .at(Policy::Api, "/api/v1/suggest", get(api::suggest::list))
        .at(
            Policy::Api,
            "/api/v1/suggest/promql",
            get(api::explore::completions),
        )
        .at(Policy::Api, "/api/v1/explore", get(api::explore::points))
        .at(Policy::Api, "/api/v1/queries", get(api::queries::list))
        .at(
            Policy::Api,
            "/api/v1/queries/{id}",
            delete(api::queries::cancel),
        )
        .at(Policy::Api, "/loki/api/v1/labels", get(api::loki::labels))
        .at(
            Policy::Api,
            "/loki/api/v1/label/{name}/values",
            get(api::loki::values),
        )
}

/// Grafana's Prometheus data source, promtool, scripts.
fn prometheus(routes: Routes) -> Routes {
    use api::prometheus::{query, series};
    prometheus_status(routes)
        .at(
            Policy::Api,
            "/prometheus/api/v1/query",
            get(query::instant).post(query::instant),
        )
        .at(
            Policy::Api,
            "/prometheus/api/v1/query_range",
            get(query::range).post(query::range),
        )
        .at(
            Policy::Api,
            "/prometheus/api/v1/query_exemplars",
            get(query::exemplars).post(query::exemplars),
        )
        .at(
            Policy::Api,
            "/prometheus/api/v1/format_query",
            get(query::format).post(query::format),
        )
        .at(
            Policy::Api,
            "/prometheus/api/v1/series",
            get(series::list).post(series::list),
        )
        .at(
            Policy::Api,
            "/prometheus/api/v1/labels",
            get(series::names).post(series::names),
        )
        .at(
            Policy::Api,
            "/prometheus/api/v1/label/{name}/values",
            get(series::values),
        )
        .at(
            Policy::Api,
            "/prometheus/api/v1/metadata",
            get(series::metadata),
        )
}

/// What the same ask about the server.
fn prometheus_status(routes: Routes) -> Routes {
    use api::prometheus::{status, targets};
    routes
        .at(Policy::Api, "/prometheus/api/v1/rules", get(status::rules))
        .at(
            Policy::Api,
            "/prometheus/api/v1/alerts",
            get(status::alerts),
        )
        .at(
            Policy::Api,
            "/prometheus/api/v1/alertmanagers",
            get(status::alertmanagers),
        )
        .at(
            Policy::Api,
            "/prometheus/api/v1/targets",
            get(targets::targets),
        )
        .at(
            Policy::Api,
            "/prometheus/api/v1/status/buildinfo",
            get(status::build_info),
        )
        .at(
            Policy::Api,
            "/prometheus/api/v1/status/runtimeinfo",
            get(status::runtime_info),
        )
        .at(
            Policy::Api,
            "/prometheus/api/v1/status/config",
            get(status::config),
        )
        .at(
            Policy::Api,
            "/prometheus/api/v1/status/flags",
            get(status::flags),
        )
        .at(
            Policy::Api,
            "/prometheus/api/v1/status/tsdb",
            get(status::tsdb),
        )
}

/// People.
fn people(routes: Routes) -> Routes {
    routes
        .at(Policy::Public, "/a/{file}", get(assets::serve))
        .at(
            Policy::Public,
            "/login",
            get(login::form).post(login::submit),
        )
        .at(Policy::Public, "/theme", post(theme::choose))
        .at(Policy::Page, "/", get(overview::show))
        .at(Policy::Page, "/services/{name}", get(service::show))
        .at(Policy::Page, "/start", get(start::show))
        .at(Policy::Page, "/start/listening", get(start::listening))
        .at(Policy::AdminPage, "/start/demo", post(start::load_demo))
        .at(
            Policy::AdminPage,
            "/start/demo/removed",
            post(start::remove_demo),
        )
        .at(Policy::AdminPage, "/settings", get(settings::show))
        .at(
            Policy::AdminPage,
            "/settings/tokens",
            get(settings::again).post(settings::make_token),
        )
        .at(
            Policy::AdminPage,
            "/settings/tokens/{id}/revoke",
            get(settings::again).post(settings::revoke_token),
        )
        .at(
            Policy::AdminPage,
            "/settings/deletes",
            get(deletes::again).post(deletes::ask),
        )
        .at(
            Policy::AdminPage,
            "/settings/deletes/confirmed",
            get(deletes::again).post(deletes::confirm),
        )
        .at(Policy::AdminPage, "/settings/targets", get(targets::show))
        .at(
            Policy::AdminPage,
            "/settings/targets/scraped",
            get(targets::again).post(targets::scrape_now),
        )
        .at(
            Policy::AdminPage,
            "/settings/targets/reloaded",
            get(targets::again).post(targets::reload),
        )
        .at(Policy::Public, "/logout", post(login::leave))
}

/// People who look at telemetry.
fn people_looking(routes: Routes) -> Routes {
    routes
        .at(Policy::Page, "/logs", get(pages::logs::page))
        .at(Policy::Page, "/logs/facets", get(pages::sidebar::of_logs))
        .at(
            Policy::Page,
            "/traces/facets",
            get(pages::sidebar::of_spans),
        )
        .at(
            Policy::Page,
            "/logs/patterns",
            get(pages::logs::patterns::page),
        )
        .at(Policy::Page, "/logs/{id}", get(pages::logs::record))
        .at(Policy::Page, "/traces", get(pages::traces::page))
        .at(Policy::Page, "/explore", get(pages::explore::page))
        .at(Policy::Page, "/search", get(pages::search::search))
        .at(Policy::Page, "/trace/{id}", get(pages::trace::trace))
        .at(
            Policy::Page,
            "/trace/{id}/compare",
            get(pages::trace::compare::page),
        )
        .at(
            Policy::Page,
            "/trace/{id}/span/{span}/linked",
            get(pages::trace::linked::page),
        )
        .at(
            Policy::Page,
            "/trace/{id}/span/{span}",
            get(pages::trace::span),
        )
}

/// Holds back large answers while too many wait for their readers. Inside of the compression, which
/// hides how long they are.
async fn within_room(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let target = error::Target::of(&request);
    let answer = next.run(request).await;
    match app.room.hold(answer).await {
        Ok(answer) => answer,
        Err(Crowded) => {
            app.metrics.add(Metric::QueriesRefused, &["unread"], 1);
            let what = "too many large answers wait for their readers; ask again, or for less";
            let failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, "unread", what);
            let failure = failure.retry_after(RETRY_AFTER_S);
            let audience = target.audience_without_route();
            page::harden(failure.render(&app, audience, &target, ().into_response())).await
        }
    }
}

/// More than one `Host` is how one server is made to disagree with the proxy in front of it about
/// what was asked: refused before anything looks at either (RFC 9112, section 3.2).
async fn one_host(State(app): State<Shared>, request: Request, next: Next) -> Response {
    if request.headers().get_all(header::HOST).iter().count() < 2 {
        return next.run(request).await;
    }
    let target = error::Target::of(&request);
    let audience = target.audience_without_route();
    let failure = Failure::bad_request("two_hosts", "the request has more than one Host header");
    page::harden(failure.render(&app, audience, &target, ().into_response())).await
}

/// Unknown addresses, in the caller's language. Nothing is told that a known one would hide.
async fn nothing_here(State(app): State<Shared>, request: Request) -> Response {
    let target = error::Target::of(&request);
    let audience = target.audience_without_route();
    let failure = match audience {
        error::Audience::Grpc => Failure::new(
            axum::http::StatusCode::NOT_IMPLEMENTED,
            "unimplemented",
            format!("no gRPC method {} here", target.path),
        )
        .hint("OTLP over gRPC is on ports 4317 and 4300, OTLP over HTTP on 4318 and 4300"),
        _ => Failure::not_found(format!("nothing lives at {}", target.path)),
    };
    if target.is_sender() {
        app.note_refused_sender(&target, audience, &failure, app.clock.now());
    }
    page::harden(failure.render(&app, audience, &target, ().into_response())).await
}
