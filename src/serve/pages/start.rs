//! `/start`: our address, a token, what to paste, and lamps that tell what came of it.

use std::sync::atomic::Ordering;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};

use crate::ingest::{Refusal, Submission};
use crate::model::time::CLOCK_SKEW_NS_MAX;
use crate::model::{ProjectId, TimeRange, Timestamp};
use crate::observe::sources::Transport;
use crate::query::lang::{self, Expr};
use crate::query::{Direction, LogRequest, SpanScope, TraceRequest};
use crate::serve::access::{Caller, Policy, Through};
use crate::serve::deletes::Asked;
use crate::serve::error::Failure;
use crate::serve::page::html;
use crate::serve::page_url::PageUrl;
use crate::serve::pages::listening::{Listening, ListeningPart, Seen, Stored};
use crate::serve::pages::snippets::{self, Snippet, Target};
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell};
use crate::serve::state::{App, Shared};

/// What is of the demo.
const DEMO: &str = "resource.watchpost.demo:true";

/// The demo tells ten minutes; it is loaded again when those are over.
const DEMO_GAP_NS: u64 = 10 * 60_000_000_000;

/// How far back the lamps look for a record to link to.
const LOOK_BACK_NS: u64 = 24 * 3_600_000_000_000;

#[derive(Template)]
#[template(path = "start.html")]
pub(crate) struct StartPage {
    pub(crate) shell: Shell,
    pub(crate) address: String,
    /// The viewer's own; `None` where none is needed, or the viewer may not make one.
    pub(crate) token: Option<String>,
    pub(crate) token_needed: bool,
    pub(crate) ports: String,
    pub(crate) snippets: Vec<Snippet>,
    pub(crate) curl: Snippet,
    pub(crate) grafana: Snippet,
    /// The demo was loaded since the start of the server.
    pub(crate) demo: bool,
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
            grafana: snippets::grafana(&target),
            demo: false,
            listening,
        }
    }
}

/// `GET /start`. Whoever may make tokens finds one inside the snippets.
pub(crate) async fn show(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(through): Extension<Through>,
    page: PageRequest,
) -> Result<Response, Failure> {
    let token_needed = !app.access.ingest_open_at(through.bound);
    let token = match token_needed && caller.may(Policy::AdminPage) {
        true => {
            let now = app.clock.now();
            Some(app.access.start_token(&viewer(&caller), now).await?)
        }
        false => None,
    };
    let secret = token.is_some();
    let mut response = render(&app, token_needed, &page, token).await;
    if secret {
        let never = HeaderValue::from_static("no-store");
        response.headers_mut().insert(header::CACHE_CONTROL, never);
    }
    Ok(response)
}

fn viewer(caller: &Caller) -> String {
    match caller {
        Caller::User { name } => format!("user {name}"),
        Caller::Token { id, .. } => format!("token {id}"),
        Caller::Nobody | Caller::Open | Caller::CommandLine => "anybody".to_owned(),
    }
}

/// `POST /start/demo`: puts the demo through the ingest door and shows what came of it.
pub(crate) async fn load_demo(State(app): State<Shared>) -> Result<Response, Failure> {
    const SHOW: &str = "/?start=15m";
    let now = app.clock.now();
    let before = app.demo.loaded_at.swap(now.0, Ordering::Relaxed);
    if now.0.saturating_sub(before) < DEMO_GAP_NS {
        app.demo.loaded_at.store(before, Ordering::Relaxed);
        return Ok(Redirect::to(SHOW).into_response());
    }
    let make = app.demo.make;
    let requests = tokio::task::spawn_blocking(move || make(now)).await;
    let requests = requests.map_err(|e| Failure::internal("demo not made", &e))?;
    for (signal, bytes) in requests {
        let door = &app.receiver.door;
        let permit = door.reserve(bytes.len()).await.map_err(|e| refused(&e))?;
        let submission = Submission {
            signal,
            project: ProjectId::DEFAULT,
            transport: Transport::HttpProtobuf,
            bytes,
            wire: None,
            left_out: 0,
        };
        let kept = door.submit(permit, submission).await;
        kept.map_err(|e| refused(&e))?;
    }
    Ok(Redirect::to(SHOW).into_response())
}

/// `POST /start/demo/removed`: whatever any load of the demo brought is erased.
pub(crate) async fn remove_demo(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Failure> {
    app.delete(Asked::new(DEMO, "both", None, None)?, &caller)
        .await?;
    app.demo.loaded_at.store(0, Ordering::Relaxed);
    Ok(Redirect::to("/start#demo").into_response())
}

fn refused(refusal: &Refusal) -> Failure {
    let seconds = refusal.retry_after_s().unwrap_or(60);
    Failure::busy(format!("demo not loaded: {refusal}"), seconds.into())
}

/// `GET /start/listening`: the panel alone, asked for every two seconds.
pub(crate) async fn listening(State(app): State<Shared>, page: PageRequest) -> Response {
    html(&ListeningPart {
        listening: listen(&app, &page).await,
    })
}

async fn render(
    app: &App,
    token_needed: bool,
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
    let ports = ports(app, &origin);
    let listening = listen(app, page).await;
    // After a restart the environment is what tells of it.
    let demo = app.demo.loaded_at.load(Ordering::Relaxed) > 0 || shell.knows_environment("demo");
    html(&StartPage {
        demo,
        ..StartPage::new(shell, origin, token, token_needed, ports, listening)
    })
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

/// Everything but the demo, which is left out only where there is one: it lights no lamp.
fn own_records(app: &App) -> Expr {
    match app.demo.loaded_at.load(Ordering::Relaxed) {
        0 => Expr::All,
        _ => lang::parse(&format!("-{DEMO}")).expect("a query"),
    }
}

fn look_back(now: Timestamp) -> TimeRange {
    // A sender's clock may run ahead; what it sent is placed up to ten minutes from now.
    let end = now.saturating_add(CLOCK_SKEW_NS_MAX);
    TimeRange::new(now.saturating_sub(LOOK_BACK_NS), end).expect("a look back ends after it starts")
}

/// The newest trace, if one can be found; where the store cannot be read, none can.
async fn newest_trace(app: &App, now: Timestamp) -> Option<Stored> {
    let request = TraceRequest {
        query: own_records(app),
        range: look_back(now),
        limit: 1,
        scope: SpanScope::All,
        cursor: None,
        whole: false,
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
        query: own_records(app),
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
