//! CORS for exporters in browsers, on ingest paths only.
//!
//! Any origin may send: a page of any site can already post here without asking, and these routes
//! never read cookies (reliability.md S5). The origin is echoed with credentials allowed, because
//! `navigator.sendBeacon` always sends them and browsers refuse `*` then.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;

/// Seconds a browser may remember a preflight; Chromium's own limit.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("7200");

/// Answers preflights and marks answers. A middleware of the ingest routes.
pub(crate) async fn allow(request: Request, next: Next) -> Response<Body> {
    let asked = request.headers().clone();
    if request.method() == Method::OPTIONS
        && asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        mark(&asked, response.headers_mut());
        preflight(&asked, response.headers_mut());
        return response;
    }
    let mut response = next.run(request).await;
    mark(&asked, response.headers_mut());
    response
}

fn mark(asked: &HeaderMap, answer: &mut HeaderMap) {
    let Some(origin) = asked.get(header::ORIGIN) else {
        return;
    };
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    answer.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    answer.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("retry-after"),
    );
    answer.append(header::VARY, HeaderValue::from_static("origin"));
}

fn preflight(asked: &HeaderMap, answer: &mut HeaderMap) {
    answer.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST"),
    );
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
    if let Some(headers) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
    }
}
