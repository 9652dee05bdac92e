//! The one place where an error becomes an answer: status, words, and the form its reader
//! understands. Handlers return a [`Failure`]; the guard of the route renders it.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Serialize;

use super::access::Policy;
use super::page_url::PageUrl;
use super::pages;
use super::request::PageRequest;
use super::state::App;
use crate::receive::answer::status_message;

/// Why a request was not served. `Display` texts of the modules go into `message`.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    /// A stable word for programs.
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Where in the query, in characters from 0.
    pub(crate) position: Option<usize>,
    /// What to do next.
    pub(crate) hint: Option<String>,
    /// Seconds after which a retry makes sense.
    pub(crate) retry_after_s: Option<u64>,
}

/// Who reads the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A person: HTML.
    Page,
    /// A program: the JSON of design section 2.
    Api,
    /// A client of Prometheus' API: its JSON.
    Prometheus,
    /// An OTLP/HTTP client: a `Status` message in the request's encoding.
    OtlpProtobuf,
    OtlpJson,
    /// A gRPC client: status in trailers.
    Grpc,
    /// Log shippers and probes, which print the body: one line of text.
    Plain,
}

/// What was asked, kept for the answer in case it becomes an error.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) method: Method,
    pub(crate) path: String,
    query: Option<String>,
    content_type: String,
    cookies: Option<HeaderValue>,
}

impl Target {
    pub(crate) fn of(request: &axum::extract::Request) -> Target {
        let header = |name| request.headers().get(name);
        let content_type = header(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        Target {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().map(str::to_owned),
            content_type: content_type.to_owned(),
            cookies: header(header::COOKIE).cloned(),
        }
    }

    pub(crate) fn audience(&self, policy: Policy) -> Audience {
        match policy {
            Policy::Page | Policy::AdminPage | Policy::Public => Audience::Page,
            Policy::Api if self.path.starts_with("/prometheus/") => Audience::Prometheus,
            Policy::Api | Policy::AdminApi => Audience::Api,
            Policy::Health => Audience::Plain,
            Policy::Ingest if self.content_type.starts_with("application/grpc") => Audience::Grpc,
            Policy::Ingest if !self.path.starts_with("/v1/") => Audience::Plain,
            Policy::Ingest if self.content_type.starts_with("application/json") => {
                Audience::OtlpJson
            }
            Policy::Ingest => Audience::OtlpProtobuf,
        }
    }

    /// By the looks of the address and the body, where no route matches.
    pub(crate) fn audience_without_route(&self) -> Audience {
        match self.path.as_str() {
            path if path.starts_with("/api/") => Audience::Api,
            path if path.starts_with("/prometheus/") => Audience::Prometheus,
            _ if self.is_sender() => self.audience(Policy::Ingest),
            _ => Audience::Page,
        }
    }

    /// Whether this looks like a sender that took the wrong port or path.
    pub(crate) fn is_sender(&self) -> bool {
        let prefixes = ["/v1/", "/loki/", "/pushgateway/", "/opentelemetry.proto."];
        self.content_type.starts_with("application/grpc")
            || prefixes.iter().any(|prefix| self.path.starts_with(prefix))
    }

    fn path_and_query(&self) -> String {
        self.query.as_ref().map_or_else(
            || self.path.clone(),
            |query| format!("{}?{query}", self.path),
        )
    }
}

impl Failure {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> Failure {
        Failure {
            status,
            code,
            message: message.into(),
            position: None,
            hint: None,
            retry_after_s: None,
        }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// Too much work at once; a retry helps.
    pub(crate) fn busy(message: impl Into<String>, retry_after_s: u64) -> Failure {
        let failure = Failure::new(StatusCode::TOO_MANY_REQUESTS, "busy", message);
        Failure {
            retry_after_s: Some(retry_after_s),
            ..failure
        }
    }

    /// Something of ours failed. The cause goes to the log, not to the client.
    pub(crate) fn internal(what: &'static str, cause: &dyn std::fmt::Display) -> Failure {
        tracing::error!(%cause, "{what}");
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", what)
            .hint("the cause is in the server's log")
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Failure {
        Failure {
            hint: Some(hint.into()),
            ..self
        }
    }

    pub(crate) fn at(self, position: usize) -> Failure {
        Failure {
            position: Some(position),
            ..self
        }
    }

    pub(crate) fn retry_after(self, seconds: u64) -> Failure {
        Failure {
            retry_after_s: Some(seconds),
            ..self
        }
    }

    /// Message and hint in one line, for readers with one field.
    pub(crate) fn line(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.message),
            None => self.message.clone(),
        }
    }

    /// The answer in the audience's form; headers that `from` already carries are kept.
    pub(super) fn render(
        self,
        app: &App,
        audience: Audience,
        target: &Target,
        from: Response,
    ) -> Response {
        let request_id = app.next_request_id();
        if self.status.is_server_error() {
            let Target { method, path, .. } = target;
            tracing::warn!(%method, path, status = self.status.as_u16(), request_id, message = self.message, "request failed");
        }
        let mut response = match audience {
            Audience::Page => self.page(app, target, &request_id),
            Audience::Api => self.json(&request_id),
            Audience::Prometheus => self.prometheus(),
            Audience::OtlpProtobuf => (
                self.status,
                [(header::CONTENT_TYPE, "application/x-protobuf")],
                status_message(i32::from(self.grpc_code()), &self.line(), None),
            )
                .into_response(),
            Audience::OtlpJson => {
                let body = serde_json::json!({ "code": self.grpc_code(), "message": self.line() });
                (self.status, Json(body)).into_response()
            }
            Audience::Grpc => self.grpc(),
            Audience::Plain => (self.status, format!("{}\n", self.line())).into_response(),
        };
        for (name, value) in from.headers() {
            let kept = response.headers().contains_key(name) || name == header::CONTENT_LENGTH;
            if !kept {
                response.headers_mut().insert(name, value.clone());
            }
        }
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED && audience != Audience::Grpc {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    fn json(&self, request_id: &str) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            code: &'a str,
            message: &'a str,
            position: Option<usize>,
            hint: Option<&'a str>,
            request_id: &'a str,
        }
        let error = Body {
            code: self.code,
            message: &self.message,
            position: self.position,
            hint: self.hint.as_deref(),
            request_id,
        };
        (self.status, Json(serde_json::json!({ "error": error }))).into_response()
    }

    /// Prometheus' own words for kinds of errors, where one fits.
    fn prometheus(&self) -> Response {
        let kind = match (self.code, self.status) {
            ("bad_data" | "execution" | "timeout" | "canceled" | "internal", _) => self.code,
            (_, StatusCode::NOT_FOUND) => "not_found",
            (_, status) if status.is_server_error() => "unavailable",
            (_, StatusCode::TOO_MANY_REQUESTS) => "unavailable",
            _ => "bad_data",
        };
        let line = self.line();
        let body = serde_json::json!({ "status": "error", "errorType": kind, "error": line });
        (self.status, Json(body)).into_response()
    }

    fn page(&self, app: &App, target: &Target, request_id: &str) -> Response {
        if self.status == StatusCode::UNAUTHORIZED {
            let next = super::login::escape_query(&target.path_and_query());
            return Redirect::to(&format!("/login?next={next}")).into_response();
        }
        let headers = target
            .cookies
            .iter()
            .map(|cookies| (header::COOKIE, cookies.clone()))
            .collect();
        let page = PageRequest::new(PageUrl::new(&target.path, ""), &headers, app.clock.now().0);
        let next = ("/", "Go to the overview");
        pages::error::error_page(
            &page,
            app.shell_data(),
            self.status,
            &self.line(),
            next,
            request_id,
        )
    }

    /// A trailers-only answer (gRPC over HTTP/2): status 200, the real one in `grpc-status`.
    fn grpc(&self) -> Response {
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        headers.insert(
            "grpc-status",
            HeaderValue::from(u16::from(self.grpc_code())),
        );
        let message = HeaderValue::from_str(&percent_encoded(&self.line()))
            .expect("percent-encoded text is visible ASCII");
        headers.insert("grpc-message", message);
        response
    }

    /// The gRPC code that says the same as the HTTP status.
    fn grpc_code(&self) -> u8 {
        match self.status {
            StatusCode::BAD_REQUEST | StatusCode::UNSUPPORTED_MEDIA_TYPE => 3,
            StatusCode::NOT_FOUND => 5,
            StatusCode::FORBIDDEN => 7,
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => 8,
            StatusCode::NOT_IMPLEMENTED => 12,
            StatusCode::INTERNAL_SERVER_ERROR => 13,
            StatusCode::SERVICE_UNAVAILABLE => 14,
            StatusCode::UNAUTHORIZED => 16,
            _ => 2,
        }
    }
}

/// gRPC's percent-encoding: everything but printable ASCII without `%`.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => _ = write!(out, "%{byte:02X}"),
        }
        out
    })
}

/// A body that is not the JSON a call takes; axum's text says where.
impl From<JsonRejection> for Failure {
    fn from(e: JsonRejection) -> Self {
        let status = match e.status() {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            other => other,
        };
        Failure::new(status, "bad_json", e.body_text())
    }
}

/// The guard finds the failure in the extensions and writes the body.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
