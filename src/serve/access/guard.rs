//! What every request passes before its handler: who is calling, may they, from where.
//!
//! One policy per route (`serve::router`), one place that decides. Ingest never reads cookies and
//! answers to any origin; everything else checks Host, and origin where something changes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::host::is_cross_site;
use super::{Access, Scopes, secret};
use crate::model::Timestamp;
use crate::observe::Metric;
use crate::serve::error::{Failure, Target};
use crate::serve::state::Shared;

/// The longest body of a page or an API: a form of a few fields, the longest a password of 1 KiB.
const FORM_BYTES_MAX: usize = 16 << 10;
/// The longest body of a call that only reads: a query in a form, every byte of it escaped; dashboards
/// put the names of all hosts into one. Only callers who may read get so far.
const QUERY_BYTES_MAX: usize = 768 << 10;
/// Time for it.
const FORM_TIME_MAX: Duration = Duration::from_secs(10);

/// Who may call a route. Every route names one (`Routes::at`), so a route without cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Open to all, by any host name: orchestrators and monitoring.
    Health,
    /// Senders: an ingest token, unless ingest is open. Any host name, any origin, never cookies.
    Ingest,
    /// Open to all by our own host names: the login page and static files.
    Public,
    /// People who may read; others are sent to the login page.
    Page,
    /// People who may change things; others are sent to the login page.
    AdminPage,
    /// Programs and pages that may read.
    Api,
    /// Programs and pages that may change things.
    AdminApi,
}

/// Who is calling; handlers find it in the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Nobody,
    /// Access is open on this listener: loopback or `--insecure`.
    Open,
    /// `watchpost token create` and the like, by the secret in the data directory.
    CommandLine,
    Token {
        id: String,
        scopes: Scopes,
    },
    User {
        name: String,
    },
}

/// How a connection came in; the listener puts it into every request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Through {
    pub(crate) peer: SocketAddr,
    /// The address the listener is bound to, which decides whether it is open.
    pub(crate) bound: IpAddr,
}

impl Caller {
    /// Whether routes of this policy are for this caller.
    pub(crate) fn may(&self, policy: Policy) -> bool {
        match policy {
            Policy::Health | Policy::Public => true,
            Policy::Ingest => match self {
                Caller::Token { scopes, .. } => scopes.ingest(),
                Caller::Open => true,
                Caller::Nobody | Caller::CommandLine | Caller::User { .. } => false,
            },
            Policy::Page | Policy::Api => match self {
                Caller::Token { scopes, .. } => scopes.read(),
                Caller::Open | Caller::CommandLine | Caller::User { .. } => true,
                Caller::Nobody => false,
            },
            Policy::AdminPage | Policy::AdminApi => match self {
                Caller::Token { scopes, .. } => scopes.admin(),
                Caller::Open | Caller::CommandLine | Caller::User { .. } => true,
                Caller::Nobody => false,
            },
        }
    }

    /// Whether the browser adds the proof by itself, so that a foreign page could use it.
    fn is_ambient(&self) -> bool {
        match self {
            Caller::Nobody | Caller::Open | Caller::User { .. } => true,
            Caller::CommandLine | Caller::Token { .. } => false,
        }
    }
}

/// The middleware of one route; `route` is its path as the router has it.
pub(crate) async fn guard(
    State((app, policy, route)): State<(Shared, Policy, &'static str)>,
    mut request: Request,
    next: Next,
) -> Response {
    let target = Target::of(&request);
    let audience = target.audience(policy);
    let now = app.clock.now();
    let mut response = match admit(&app.access, policy, &mut request, now).await {
        Ok(()) if policy == Policy::Ingest => next.run(request).await,
        Ok(()) => match with_body(request, body_bytes_max(policy)).await {
            Ok(request) => next.run(request).await,
            Err(refused) => refused.into_response(),
        },
        Err(refused) => {
            if policy == Policy::Ingest {
                app.note_refused_sender(&target, audience, &refused, now);
            }
            refused.into_response()
        }
    };
    if policy != Policy::Ingest {
        response = in_our_words(response).await;
    }
    if let Some(failure) = response.extensions_mut().remove::<Failure>() {
        response = failure.render(&app, audience, &target, response);
    }
    // Ingest counts its own, by signal and transport.
    if policy == Policy::Ingest {
        return response;
    }
    app.metrics.add(
        Metric::HttpRequests,
        &[route, response.status().as_str()],
        1,
    );
    response
}

/// The framework refuses what it cannot read (a method, an address, a form) with bare text or with
/// nothing; our callers get every refusal in one form.
async fn in_our_words(response: Response) -> Response {
    let bare = match response.headers().get(header::CONTENT_TYPE) {
        Some(kind) => kind.as_bytes().starts_with(b"text/plain"),
        None => true,
    };
    let (status, code) = match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => (response.status(), "method_not_allowed"),
        // A field of another type than ours is a bad request as any other.
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            (StatusCode::BAD_REQUEST, "bad_request")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (response.status(), "content_type"),
        _ => return response,
    };
    if !bare || response.extensions().get::<Failure>().is_some() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, FORM_BYTES_MAX).await;
    let text = text.map_or_else(
        |_| String::new(),
        |text| String::from_utf8_lossy(&text).into(),
    );
    let message = match (text.as_str(), parts.headers.get(header::ALLOW)) {
        ("", Some(allow)) => {
            let allow = allow.to_str().unwrap_or_default();
            format!("this address takes {} only", allow.replace(',', ", "))
        }
        ("", None) => "the request cannot be read".to_owned(),
        (text, _) => text.to_owned(),
    };
    parts.extensions.insert(Failure::new(status, code, message));
    parts.headers.remove(header::CONTENT_TYPE);
    Response::from_parts(parts, Body::empty())
}

const fn body_bytes_max(policy: Policy) -> usize {
    match policy {
        Policy::Api => QUERY_BYTES_MAX,
        Policy::Health
        | Policy::Ingest
        | Policy::Public
        | Policy::Page
        | Policy::AdminPage
        | Policy::AdminApi => FORM_BYTES_MAX,
    }
}

/// The request with its whole body, which is a form or a few fields of JSON. Senders of telemetry
/// have a budget of their own; here a limit and a deadline keep strangers from holding memory and
/// connections on the login page.
async fn with_body(request: Request, bytes_max: usize) -> Result<Request, Failure> {
    if request.body().is_end_stream() {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let whole = Limited::new(body, bytes_max).collect();
    let Ok(whole) = tokio::time::timeout(FORM_TIME_MAX, whole).await else {
        let slow = format!("the body did not come within {} s", FORM_TIME_MAX.as_secs());
        return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "slow", slow));
    };
    match whole {
        Ok(whole) => Ok(Request::from_parts(parts, Body::from(whole.to_bytes()))),
        Err(e) if e.is::<LengthLimitError>() => Err(Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body has more than {bytes_max} bytes"),
        )),
        Err(_) => Err(Failure::bad_request("broken_off", "the body is incomplete")),
    }
}

/// Finds out who calls and whether they may; puts the `Caller` into the extensions.
async fn admit(
    access: &Access,
    policy: Policy,
    request: &mut Request,
    now: Timestamp,
) -> Result<(), Failure> {
    let through = *request
        .extensions()
        .get::<Through>()
        .expect("the listener sets it");
    let host = host_of(request);
    let any_host = matches!(policy, Policy::Health | Policy::Ingest);
    if !any_host && !access.host_allowed(&host) {
        return Err(Failure::new(
            StatusCode::MISDIRECTED_REQUEST,
            "foreign_host",
            format!("{host:?} is not a name of this server"),
        )
        .hint("set external_url to the address that people use"));
    }
    let caller = caller(
        access,
        policy,
        request.headers(),
        request.uri().query(),
        through,
        now,
    )
    .await?;
    let changes = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !any_host && changes && caller.is_ambient() {
        let external = access.config().external_url.as_deref();
        if is_cross_site(request.headers(), &host, external) {
            return Err(Failure::new(
                StatusCode::FORBIDDEN,
                "cross_site",
                "this request was sent by a page of another site",
            )
            .hint("open the page on this server and try again; programs send a token"));
        }
    }
    if !caller.may(policy) {
        return Err(refusal(&caller, policy));
    }
    request.extensions_mut().insert(caller);
    Ok(())
}

fn refusal(caller: &Caller, policy: Policy) -> Failure {
    let need = match policy {
        Policy::Ingest => "ingest",
        Policy::Page | Policy::Api => "read",
        Policy::AdminPage | Policy::AdminApi => "admin",
        Policy::Health | Policy::Public => unreachable!("open to all"),
    };
    match caller {
        Caller::Nobody => Failure::new(StatusCode::UNAUTHORIZED, "unauthenticated", format!("this needs a token with scope {need}"))
            .hint("send \"Authorization: Bearer TOKEN\"; make one in the settings or with `watchpost token create`"),
        _ => Failure::new(StatusCode::FORBIDDEN, "forbidden", format!("this needs scope {need}, which the credential does not have"))
            .hint("make a token with that scope in the settings"),
    }
}

/// The host name the client asked for: `:authority` in HTTP/2, `Host` in HTTP/1.1.
fn host_of(request: &Request) -> String {
    let header = || {
        request
            .headers()
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
    };
    request
        .uri()
        .authority()
        .map(|authority| authority.as_str())
        .or_else(header)
        .unwrap_or_default()
        .to_owned()
}

async fn caller(
    access: &Access,
    policy: Policy,
    headers: &HeaderMap,
    query: Option<&str>,
    through: Through,
    now: Timestamp,
) -> Result<Caller, Failure> {
    if let Some(presented) = presented_token(headers, query.filter(|_| policy == Policy::Ingest)) {
        if let Some(caller) = access.token_caller(&presented) {
            return Ok(caller);
        }
        // On an open listener a proxy's own credentials may pass by; they are not ours to judge.
        let open = match policy {
            Policy::Ingest => access.ingest_open_at(through.bound),
            _ => access.open_at(through.bound),
        };
        let public = matches!(policy, Policy::Health | Policy::Public);
        if !open && !public {
            return Err(unknown_token(&presented));
        }
    }
    match policy {
        Policy::Health if access.open_at(through.bound) => Ok(Caller::Open),
        Policy::Health => Ok(Caller::Nobody),
        Policy::Ingest if access.ingest_open_at(through.bound) => Ok(Caller::Open),
        Policy::Ingest => Ok(Caller::Nobody),
        Policy::Public | Policy::Page | Policy::AdminPage | Policy::Api | Policy::AdminApi => {
            if access.open_at(through.bound) {
                return Ok(Caller::Open);
            }
            let Some(cookie) = cookie(headers, access.cookie_name()) else {
                return Ok(Caller::Nobody);
            };
            let user = access
                .session_caller(cookie, now)
                .await
                .map_err(|e| Failure::internal("session not read", &e))?;
            Ok(user.unwrap_or(Caller::Nobody))
        }
    }
}

fn unknown_token(presented: &str) -> Failure {
    let what = match secret::is_token_shaped(presented) {
        true => "the token is not known here: revoked, or of another server",
        false => "the token is mistyped or cut off: its checksum does not fit",
    };
    Failure::new(StatusCode::UNAUTHORIZED, "bad_token", what)
        .hint("make a token in the settings or with `watchpost token create`")
}

/// The secret a client sent: Bearer, the password of Basic (or its user when that is empty, as DSNs
/// are), or the key of a Sentry DSN.
fn presented_token(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some((scheme, rest)) =
        text("authorization").and_then(|value| value.trim().split_once(' '))
    {
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(rest.trim().to_owned());
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
            let (user, password) = decoded.split_once(':')?;
            return Some(if password.is_empty() { user } else { password }.to_owned());
        }
    }
    let sentry = text("x-sentry-auth")
        .or_else(|| text("authorization"))
        .and_then(|value| {
            let pairs = value.trim().strip_prefix("Sentry ")?.split(',');
            pairs
                .filter_map(|pair| pair.trim().split_once('='))
                .find(|(key, _)| *key == "sentry_key")
                .map(|(_, key)| key)
        });
    let in_query = || {
        let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .clone()
            .find(|(key, _)| *key == "sentry_key")
            .map(|(_, key)| key)
    };
    sentry.or_else(in_query).map(str::to_owned)
}

pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
