//! `/start`: our address, a token, what to paste, and lamps that tell what came of it.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};

use crate::model::time::CLOCK_SKEW_NS_MAX;
use crate::model::{TimeRange, Timestamp};
use crate::query::lang::Expr;
use crate::query::{Direction, LogRequest, SpanScope, TraceRequest};
use crate::serve::access::{Scopes, Through};
use crate::serve::error::Failure;
use crate::serve::page::html;
use crate::serve::page_url::PageUrl;
use crate::serve::pages::listening::{Listening, ListeningPart, Seen, Stored};
use crate::serve::pages::snippets::{self, Snippet, Target};
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell};
use crate::serve::state::{App, Shared};

/// How far back the lamps look for a record to link to.
const LOOK_BACK_NS: u64 = 24 * 3_600_000_000_000;

#[derive(Template)]
#[template(path = "start.html")]
pub(crate) struct StartPage {
    pub(crate) shell: Shell,
    pub(crate) address: String,
    /// Just made, shown this once.
    pub(crate) token: Option<String>,
    pub(crate) token_needed: bool,
    pub(crate) ports: String,
    pub(crate) snippets: Vec<Snippet>,
    pub(crate) curl: Snippet,
    pub(crate) listening: Listening,
}

impl StartPage {
    pub(crate) fn new(
        shell: Shell,
        origin: String,
        token: Option<String>,
        token_needed: bool,
        ports: String,
        listening: Listening,
    ) -> StartPage {
        let shown = token
            .clone()
            .or_else(|| token_needed.then(|| "YOUR_TOKEN".to_owned()));
        let target = Target {
            origin: origin.clone(),
            token: shown,
        };
        StartPage {
            shell,
            address: origin,
            token,
            token_needed,
            ports,
            snippets: snippets::all(&target),
            curl: snippets::curl(&target),
            listening,
        }
    }
}

/// `GET /start`.
pub(crate) async fn show(
    State(app): State<Shared>,
    Extension(through): Extension<Through>,
    page: PageRequest,
) -> Response {
    render(&app, through, &page, None).await
}

/// `POST /start/token`: makes an ingest token and shows the page with it inside, once.
pub(crate) async fn make_token(
    State(app): State<Shared>,
    Extension(through): Extension<Through>,
    page: PageRequest,
) -> Result<Response, Failure> {
    let made = app
        .access
        .create_token("start page", Scopes::INGEST, app.clock.now())?;
    let mut response = render(&app, through, &page, Some(made.secret)).await;
    let never = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    Ok(response)
}

/// `GET /start/token`: a reload after [`make_token`]; the token cannot be shown again.
pub(crate) async fn token_again() -> Response {
    Redirect::to("/start").into_response()
}

/// `GET /start/listening`: the panel alone, asked for every two seconds.
pub(crate) async fn listening(State(app): State<Shared>, page: PageRequest) -> Response {
    html(&ListeningPart {
        listening: listen(&app, &page).await,
    })
}

async fn render(
    app: &App,
    through: Through,
    page: &PageRequest,
    token: Option<String>,
) -> Response {
    let shell = Shell::new(
        page,
        Section::Start,
        "Send data",
        app.frame(page.window()).await,
    );
    let origin = app
        .settings
        .external_url
        .0
        .clone()
        .unwrap_or_else(|| page.origin.clone());
    let token_needed = !app.access.ingest_open_at(through.bound);
    let ports = ports(app, &origin);
    let listening = listen(app, page).await;
    html(&StartPage::new(
        shell,
        origin,
        token,
        token_needed,
        ports,
        listening,
    ))
}

/// `4300 HTTP and gRPC, also 4317 (gRPC), 4318 (HTTP)`.
fn ports(app: &App, origin: &str) -> String {
    let port = origin
        .rsplit(':')
        .next()
        .filter(|port| port.parse::<u16>().is_ok());
    let port = port.unwrap_or(if origin.starts_with("https") {
        "443"
    } else {
        "80"
    });
    let more = [
        (app.settings.otlp_grpc_listen.0, "gRPC"),
        (app.settings.otlp_http_listen.0, "HTTP"),
    ];
    let more: Vec<String> = more
        .into_iter()
        .filter_map(|(addr, what)| addr.map(|addr| format!("{} ({what})", addr.0.port())))
        .collect();
    match more.is_empty() {
        true => format!("{port} HTTP and gRPC"),
        false => format!("{port} HTTP and gRPC, also {}", more.join(" and ")),
    }
}

async fn listen(app: &App, page: &PageRequest) -> Listening {
    let now = Timestamp(page.now_ns);
    let (wire, senders) = (app.sources.wire(), app.sources.senders());
    let (trace, log) = tokio::join!(newest_trace(app, now), newest_log(app, now));
    let seen = Seen {
        wire: &wire,
        senders: &senders,
        trace,
        log,
    };
    Listening::new(&seen, now, &page.zone)
}

fn look_back(now: Timestamp) -> TimeRange {
    // A sender's clock may run ahead; what it sent is placed up to ten minutes from now.
    let end = now.saturating_add(CLOCK_SKEW_NS_MAX);
    TimeRange::new(now.saturating_sub(LOOK_BACK_NS), end).expect("a look back ends after it starts")
}

/// The newest trace, if one can be found; where the store cannot be read, none can.
async fn newest_trace(app: &App, now: Timestamp) -> Option<Stored> {
    let request = TraceRequest {
        query: Expr::All,
        range: look_back(now),
        limit: 1,
        scope: SpanScope::All,
        cursor: None,
    };
    let found = app.ask("start: newest trace", move |engine, control| {
        engine.traces(&request, control)
    });
    let trace = found.await.ok()?.traces.into_iter().next()?;
    let id = trace.trace_id.to_string();
    Some(Stored {
        at: trace.start,
        service: trace.root_service,
        href: format!("/trace/{id}"),
        words: format!("Open trace {}", &id[..4]),
    })
}

async fn newest_log(app: &App, now: Timestamp) -> Option<Stored> {
    let request = LogRequest {
        query: Expr::All,
        range: look_back(now),
        limit: 1,
        direction: Direction::NewestFirst,
        cursor: None,
    };
    let found = app.ask("start: newest log record", move |engine, control| {
        engine.logs(&request, control)
    });
    let record = found.await.ok()?.records.into_iter().next()?;
    let service = record.resource.service.clone();
    let url = PageUrl::new("/logs", "start=1d").with("svc", &service);
    Some(Stored {
        at: record.id.at,
        service,
        href: url.to_string(),
        words: "Open line".to_owned(),
    })
}
