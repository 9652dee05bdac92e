//! The pages through the router: status, headers, and what no page may hold.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use tower::ServiceExt;

use crate::config::Settings;
use crate::model::Timestamp;
use crate::observe::sources::{Transport, WireLine};
use crate::observe::{Clock, Metric};
use crate::serve::access::Through;
use crate::serve::router;
use crate::serve::state::{App, Shared};

const NOW_NS: u64 = 1_795_183_471_000_000_000;

fn server(settings: Settings) -> Shared {
    let app = App::for_tests(settings, Clock::Set(Arc::new(AtomicU64::new(NOW_NS))));
    Arc::new(app)
}

async fn send(
    app: &Shared,
    method: Method,
    path: &str,
    cookies: &str,
    body: &str,
) -> Response<Body> {
    let through = Through {
        peer: "127.0.0.1:50000".parse().expect("an address"),
        bound: "127.0.0.1".parse().expect("an address"),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost:4300")
        .header(header::COOKIE, cookies)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .extension(through)
        .body(Body::from(body.to_owned()))
        .expect("a request");
    router::everything(app)
        .finish()
        .oneshot(request)
        .await
        .expect("handlers do not fail")
}

async fn text(response: Response<Body>) -> String {
    let body = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .expect("a body");
    String::from_utf8(body.to_vec()).expect("pages are UTF-8")
}

#[track_caller]
fn check_html(page: &str, html: &str) {
    assert!(html.starts_with("<!doctype html>"), "{page}");
    for banned in [
        " style=",
        "<style",
        " onclick=",
        "javascript:",
        "src=\"http",
    ] {
        assert!(!html.contains(banned), "{page} holds {banned}");
    }
    for needed in ["<title>", "id=\"main\"", "<h1", "lang=\"en\""] {
        assert!(html.contains(needed), "{page} lacks {needed}");
    }
}

#[tokio::test]
async fn every_page_answers_with_the_policy_and_without_inline_code() {
    let app = server(Settings::default());
    for path in [
        "/",
        "/start",
        "/settings",
        "/services/a%2Fb",
        "/nowhere",
        "/?start=yesterday&svc=%22%3E%3Cscript%3E",
    ] {
        let response = send(&app, Method::GET, path, "theme=dark", "").await;
        let expect = if path == "/nowhere" {
            StatusCode::NOT_FOUND
        } else {
            StatusCode::OK
        };
        assert_eq!(response.status(), expect, "{path}");
        let headers = response.headers().clone();
        let policy = headers[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .expect("text");
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let html = text(response).await;
        check_html(path, &html);
        assert!(
            html.contains("data-theme=\"dark\"") && !html.contains("\"><script>"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_token_is_shown_once_and_is_gone_when_revoked() {
    let app = server(Settings::default());
    let made = send(
        &app,
        Method::POST,
        "/settings/tokens",
        "",
        "name=collector&scope=ingest",
    )
    .await;
    assert_eq!(made.headers()[header::CACHE_CONTROL], "no-store");
    let html = text(made).await;
    let secret = html
        .split("id=\"fresh-token\">")
        .nth(1)
        .and_then(|rest| rest.split('<').next());
    let secret = secret.expect("the new token is on the page").to_owned();
    let listed = text(send(&app, Method::GET, "/settings", "", "").await).await;
    assert!(
        listed.contains("collector") && !listed.contains(&secret),
        "shown once"
    );
    let id = app.access.tokens()[0].id.clone();
    let revoked = send(
        &app,
        Method::POST,
        &format!("/settings/tokens/{id}/revoke"),
        "",
        "",
    )
    .await;
    assert_eq!(revoked.status(), StatusCode::SEE_OTHER);
    assert!(app.access.tokens().is_empty());
    let bad = "name=+&scope=read";
    let bad = send(&app, Method::POST, "/settings/tokens", "", bad).await;
    assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
    let bad = text(bad).await;
    assert!(
        bad.contains("is not a name"),
        "a bad name is told on the page"
    );
    assert!(bad.contains("value=\"read\" selected"), "the form is kept");
}

#[tokio::test]
async fn the_start_page_carries_a_fresh_token_where_one_is_needed() {
    let auth_ingest = "token".parse().expect("a word of auth.ingest");
    let app = server(Settings {
        auth_ingest,
        ..Settings::default()
    });
    let first = send(&app, Method::GET, "/start", "", "").await;
    assert_eq!(first.headers()[header::CACHE_CONTROL], "no-store");
    let html = text(first).await;
    let token = |html: &str| {
        let from = html.find("wp_in_").expect("a token is inside the snippets");
        let end = html[from..].find(|c: char| !c.is_ascii_alphanumeric() && !"_-".contains(c));
        html[from..from + end.expect("text goes on")].to_owned()
    };
    let again = text(send(&app, Method::GET, "/start", "", "").await).await;
    assert_eq!(token(&html), token(&again), "a reload makes no other");
    assert_eq!(app.access.tokens().len(), 1);
    assert!(!html.contains("YOUR_TOKEN"));
    app.access
        .revoke_token(&app.access.tokens()[0].id)
        .await
        .expect("it is there");
    let after = text(send(&app, Method::GET, "/start", "", "").await).await;
    assert_ne!(token(&html), token(&after), "a revoked one is not shown");
    assert_eq!(app.access.tokens().len(), 1);
    assert!(
        html.contains("http://localhost:4300/v1/traces"),
        "our real address"
    );
}

#[tokio::test]
async fn losses_and_refusals_are_told_with_their_reasons() {
    let app = server(Settings::default());
    app.metrics
        .add(Metric::Rejected, &["logs", "<b>shop", "zero trace id"], 3);
    app.sources.on_the_wire(WireLine {
        at: Timestamp(NOW_NS),
        request: "POST /v1/traces".to_owned(),
        transport: Transport::HttpProtobuf,
        bytes: 10,
        records: 0,
        status: 401,
        note: "no token; put one into OTEL_EXPORTER_OTLP_HEADERS".to_owned(),
    });
    let settings = text(send(&app, Method::GET, "/settings", "", "").await).await;
    assert!(settings.contains("zero trace id") && settings.contains("&#60;b&#62;shop"));
    let listening = text(send(&app, Method::GET, "/start/listening", "", "").await).await;
    assert!(
        listening.contains("data-state=\"bad\"")
            && listening.contains("OTEL_EXPORTER_OTLP_HEADERS")
    );
    assert!(!listening.contains("<!doctype"), "a fragment has no frame");
}

#[tokio::test]
async fn the_theme_is_a_cookie_and_leads_back_to_our_own_pages() {
    let app = server(Settings::default());
    for (back, location) in [("/logs?query=a", "/logs?query=a"), ("//evil.example", "/")] {
        let body = format!("theme=dark&back={}", back.replace('/', "%2F"));
        let response = send(&app, Method::POST, "/theme", "", &body).await;
        assert_eq!(response.headers()[header::LOCATION], location);
        let cookie = response.headers()[header::SET_COOKIE]
            .to_str()
            .expect("text");
        assert!(cookie.starts_with("theme=dark;") && cookie.contains("SameSite=Lax"));
    }
}

#[tokio::test]
async fn deletions_are_counted_confirmed_and_listed_without_values() {
    let app = server(Settings::default());
    let log = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"},
        "attributes":[{"key":"user.id","value":{"stringValue":"anna-4711"}}]}]}]}]}"#;
    let through = Through {
        peer: "127.0.0.1:50000".parse().expect("an address"),
        bound: "127.0.0.1".parse().expect("an address"),
    };
    let request = Request::post("/v1/logs")
        .header(header::CONTENT_TYPE, "application/json")
        .extension(through)
        .body(Body::from(log))
        .expect("a request");
    let sent = router::everything(&app).finish().oneshot(request).await;
    assert_eq!(sent.expect("handlers do not fail").status(), StatusCode::OK);

    let form = "query=user.id%3Aanna-4711&signal=both&start=&end=";
    let asked = send(&app, Method::POST, "/settings/deletes", "", form).await;
    assert_eq!(asked.headers()[header::CACHE_CONTROL], "no-store");
    let asked = text(asked).await;
    check_html("/settings/deletes", &asked);
    assert!(asked.contains("1 log record, 0 spans match now"), "{asked}");
    assert!(asked.contains("Delete for good"));
    let done = send(&app, Method::POST, "/settings/deletes/confirmed", "", form).await;
    assert_eq!(done.status(), StatusCode::SEE_OTHER);
    let listed = text(send(&app, Method::GET, "/settings", "", "").await).await;
    assert!(listed.contains("user.id:?") && !listed.contains("4711"));
    for (form, expect) in [
        (form, "Nothing matches"),
        ("query=*&signal=both", "needs a condition"),
        ("query=a%3A&signal=both", "expected a value"),
        ("query=a%3Ab&signal=both&start=soon", "cannot read"),
    ] {
        let asked = text(send(&app, Method::POST, "/settings/deletes", "", form).await).await;
        assert!(
            asked.contains(expect) && !asked.contains("Delete for good"),
            "{form}"
        );
    }
}
