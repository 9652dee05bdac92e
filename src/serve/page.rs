//! From a template to a response: the headers that every page carries, in one place.

use askama::Template;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Everything comes from us, nothing is inline, nobody frames us (ui.md, decision 4).
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
     style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Set on every response, pages and APIs alike, where the handler has not set its own.
const SECURITY_HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// For `axum::middleware::map_response` around the whole router.
pub(crate) async fn harden(mut response: Response) -> Response {
    for (name, value) in SECURITY_HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// A rendered page or fragment. It may be kept for Back, but is asked for again when visited.
pub(crate) fn html(template: &impl Template) -> Response {
    html_with(StatusCode::OK, template)
}

pub(crate) fn html_with(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(body) => {
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CACHE_CONTROL, "private, no-cache"),
                (header::VARY, "cookie, hx-request-type"),
            ];
            (status, headers, body).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "page not rendered");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                "this page cannot be shown\n",
            )
                .into_response()
        }
    }
}
