//! Every route with every caller, on an open and on a guarded listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use tower::ServiceExt;

use super::*;
use crate::observe::Clock;
use crate::serve::router;
use crate::serve::state::{App, Shared};

const PASSWORD: &str = "correct horse battery";
const HOUR_NS: u64 = 3_600_000_000_000;

struct Fixture {
    app: Shared,
    router: Router,
    now: Arc<AtomicU64>,
}

fn fixture(settings: Settings) -> Fixture {
    let now = Arc::new(AtomicU64::new(1_800_000_000_000_000_000));
    let app = Arc::new(App::for_tests(settings, Clock::Set(now.clone())));
    let router = router::everything(&app).finish();
    Fixture { app, router, now }
}

/// A request to a listener bound to `bound`, with `headers`.
async fn send(
    f: &Fixture,
    bound: &str,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header(header::HOST, "localhost:4300");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let peer: SocketAddr = "192.0.2.7:50000".parse().expect("an address");
    let through = Through {
        peer,
        bound: bound.parse().expect("an address"),
    };
    let request = request
        .extension(through)
        .body(Body::from(body.to_owned()))
        .expect("a request");
    f.router
        .clone()
        .oneshot(request)
        .await
        .expect("handlers do not fail")
}

const GUARDED: &str = "0.0.0.0";
const LOOPBACK: &str = "127.0.0.1";

/// What the guard said: refused, sent to the login page, or let through to the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Yes,
    Unauthenticated,
    Forbidden,
    Login,
}

fn said(response: &Response<Body>) -> Said {
    let login = |value: &header::HeaderValue| {
        value
            .to_str()
            .is_ok_and(|to| to.starts_with("/login?next="))
    };
    match response.status() {
        StatusCode::UNAUTHORIZED => Said::Unauthenticated,
        StatusCode::FORBIDDEN => Said::Forbidden,
        StatusCode::SEE_OTHER if response.headers().get(header::LOCATION).is_some_and(login) => {
            Said::Login
        }
        // gRPC answers 200 and says it in a header.
        _ => match response
            .headers()
            .get("grpc-status")
            .and_then(|code| code.to_str().ok())
        {
            Some("16") => Said::Unauthenticated,
            Some("7") => Said::Forbidden,
            _ => Said::Yes,
        },
    }
}

fn expected(policy: Policy, role: &str) -> Said {
    match (policy, role) {
        (Policy::Health | Policy::Public, _) => Said::Yes,
        (Policy::Ingest, "ingest") => Said::Yes,
        // A cookie is not looked at, so a session is nobody here.
        (Policy::Ingest, "nobody" | "session") => Said::Unauthenticated,
        (Policy::Page | Policy::Api, "read" | "admin" | "session") => Said::Yes,
        (Policy::AdminPage | Policy::AdminApi, "admin" | "session") => Said::Yes,
        (Policy::Page | Policy::AdminPage, "nobody") => Said::Login,
        (Policy::Api | Policy::AdminApi, "nobody") => Said::Unauthenticated,
        (_, "ingest" | "read" | "admin") => Said::Forbidden,
        (_, role) => unreachable!("no role {role}"),
    }
}

#[tokio::test]
async fn every_route_with_every_role() {
    let f = fixture(Settings::default());
    let now = f.app.clock.now();
    let token = async |scopes| {
        let made = f.app.access.create_token("t", scopes, now).await;
        made.expect("made").secret
    };
    let cookie = f.app.access.start_session("admin", now).await;
    let cookie = cookie.expect("started");
    let roles = [
        ("nobody", None),
        (
            "ingest",
            Some((
                "authorization",
                format!("Bearer {}", token(Scopes::INGEST).await),
            )),
        ),
        (
            "read",
            Some((
                "authorization",
                format!("Bearer {}", token(Scopes::READ).await),
            )),
        ),
        (
            "admin",
            Some((
                "authorization",
                format!("Bearer {}", token(Scopes::ADMIN).await),
            )),
        ),
        (
            "session",
            Some(("cookie", format!("theme=dark; session={cookie}"))),
        ),
    ];
    let table = router::everything(&f.app).table;
    assert!(table.len() >= 10, "the table is the router's own");
    for (policy, path) in table {
        for (role, credential) in &roles {
            // HEAD and PUT reach no handler that would change the fixture; the guard answers first.
            for method in [Method::HEAD, Method::PUT] {
                let headers: Vec<(&str, &str)> = credential
                    .iter()
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                let response = send(
                    &f,
                    GUARDED,
                    method.clone(),
                    &path.replace(['{', '}'], ""),
                    &headers,
                    "",
                )
                .await;
                assert_eq!(
                    said(&response),
                    expected(policy, role),
                    "{role} {method} {path}"
                );
            }
        }
        let response = send(&f, LOOPBACK, Method::HEAD, path, &[], "").await;
        assert_eq!(said(&response), Said::Yes, "loopback {path}");
    }
}

#[tokio::test]
async fn a_foreign_host_sees_neither_pages_nor_the_api() {
    let f = fixture(Settings::default());
    let foreign = [("host", "evil.example.org")];
    for (policy, path) in router::everything(&f.app).table {
        let any_host = matches!(policy, Policy::Health | Policy::Ingest);
        let response = send(&f, LOOPBACK, Method::HEAD, path, &foreign, "").await;
        assert_eq!(
            response.status() != StatusCode::MISDIRECTED_REQUEST,
            any_host,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_foreign_page_changes_nothing() {
    let f = fixture(Settings::default());
    let cookie = format!(
        "session={}",
        f.app
            .access
            .start_session("admin", f.app.clock.now())
            .await
            .expect("started")
    );
    for (policy, path) in router::everything(&f.app).table {
        let any_origin = matches!(policy, Policy::Health | Policy::Ingest);
        for (bound, cookie) in [(LOOPBACK, ""), (GUARDED, cookie.as_str())] {
            for foreign in [
                ("origin", "https://evil.example.org"),
                ("sec-fetch-site", "cross-site"),
            ] {
                let response = send(
                    &f,
                    bound,
                    Method::PATCH,
                    path,
                    &[foreign, ("cookie", cookie)],
                    "",
                )
                .await;
                let refused = response.status() == StatusCode::FORBIDDEN;
                assert_eq!(refused, !any_origin, "{path} on {bound} with {foreign:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_revoked_token_is_refused_from_the_next_request_on() {
    let f = fixture(Settings::default());
    let made = f
        .app
        .access
        .create_token("t", Scopes::ADMIN, f.app.clock.now())
        .await
        .expect("made");
    let bearer = format!("Bearer {}", made.secret);
    let headers = [("authorization", bearer.as_str())];
    let before = send(&f, GUARDED, Method::GET, "/api/v1/tokens", &headers, "").await;
    assert_eq!(before.status(), StatusCode::OK);
    assert!(
        f.app
            .access
            .revoke_token(&made.row.id)
            .await
            .expect("revoked")
    );
    let after = send(&f, GUARDED, Method::GET, "/api/v1/tokens", &headers, "").await;
    assert_eq!(after.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_readers_learn_the_services_from_the_metrics() {
    let f = fixture(Settings::default());
    let labels = ["logs", "checkout"];
    f.app
        .metrics
        .add(crate::observe::Metric::Accepted, &labels, 1);
    let made = f
        .app
        .access
        .create_token("t", Scopes::READ, f.app.clock.now())
        .await;
    let bearer = format!("Bearer {}", made.expect("made").secret);
    let reader = [("authorization", bearer.as_str())];
    let metrics = async |bound, headers: &[(&str, &str)]| {
        let response = send(&f, bound, Method::GET, "/metrics", headers, "").await;
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
        String::from_utf8(body.expect("a body").to_vec()).expect("text")
    };
    let nobody = metrics(GUARDED, &[]).await;
    assert!(nobody.contains("watchpost_build_info") && !nobody.contains("checkout"));
    assert!(metrics(GUARDED, &reader).await.contains("checkout"));
    assert!(metrics(LOOPBACK, &[]).await.contains("checkout"));
}

#[tokio::test]
async fn tokens_travel_three_ways() {
    let f = fixture(Settings::default());
    let made = f
        .app
        .access
        .create_token("t", Scopes::ADMIN, f.app.clock.now())
        .await
        .expect("made")
        .secret;
    use base64::Engine;
    let basic = |pair: String| {
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(pair)
        )
    };
    for value in [
        format!("Bearer {made}"),
        format!("bearer {made}"),
        basic(format!("anyone:{made}")),
        basic(format!("{made}:")),
        format!("Sentry sentry_version=7, sentry_key={made}"),
    ] {
        let response = send(
            &f,
            GUARDED,
            Method::GET,
            "/api/v1/tokens",
            &[("authorization", &value)],
            "",
        )
        .await;
        assert_eq!(response.status(), StatusCode::OK, "{value}");
    }
}

async fn log_in(f: &Fixture, user: &str, password: &str) -> Response<Body> {
    log_in_with(f, user, password, &[]).await
}

async fn log_in_with(
    f: &Fixture,
    user: &str,
    password: &str,
    more: &[(&str, &str)],
) -> Response<Body> {
    let form = format!(
        "user={user}&password={}&next=%2Flogs",
        password.replace(' ', "+")
    );
    let mut headers = vec![
        ("content-type", "application/x-www-form-urlencoded"),
        ("sec-fetch-site", "same-origin"),
    ];
    headers.extend(more);
    send(f, GUARDED, Method::POST, "/login", &headers, &form).await
}

#[tokio::test]
async fn logging_in_and_out() {
    let f = fixture(Settings::default());
    f.app
        .access
        .add_user_now("admin", PASSWORD, f.app.clock.now())
        .expect("added");
    let response = log_in(&f, "admin", PASSWORD).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()[header::LOCATION], "/logs");
    let set = response.headers()[header::SET_COOKIE]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(set.contains("; HttpOnly; SameSite=Lax"), "{set}");
    let cookie = set.split(';').next().expect("a pair").to_owned();
    let tokens = async || {
        send(
            &f,
            GUARDED,
            Method::GET,
            "/api/v1/tokens",
            &[("cookie", &cookie)],
            "",
        )
        .await
        .status()
    };
    assert_eq!(tokens().await, StatusCode::OK);
    // Seen at least daily it lives on, but no longer than 30 days.
    for _ in 0..31 {
        f.now.fetch_add(23 * HOUR_NS, Ordering::Relaxed);
        assert_eq!(tokens().await, StatusCode::OK);
    }
    f.now.fetch_add(23 * HOUR_NS, Ordering::Relaxed);
    assert_eq!(tokens().await, StatusCode::UNAUTHORIZED);
    // And ends by logging out.
    let response = log_in(&f, "admin", PASSWORD).await;
    let set = response.headers()[header::SET_COOKIE]
        .to_str()
        .expect("text")
        .to_owned();
    let cookie = set.split(';').next().expect("a pair").to_owned();
    send(
        &f,
        GUARDED,
        Method::POST,
        "/logout",
        &[("cookie", &cookie)],
        "",
    )
    .await;
    let after = send(
        &f,
        GUARDED,
        Method::GET,
        "/api/v1/tokens",
        &[("cookie", &cookie)],
        "",
    )
    .await;
    assert_eq!(after.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let f = fixture(Settings::default());
    f.app
        .access
        .add_user_now("admin", PASSWORD, f.app.clock.now())
        .expect("added");
    for _ in 0..5 {
        assert_eq!(
            log_in(&f, "admin", "wrong password").await.status(),
            StatusCode::UNAUTHORIZED
        );
    }
    // The right password has to wait as well: an answer would tell the guesser.
    let response = log_in(&f, "admin", PASSWORD).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()[header::RETRY_AFTER], "30");
    f.now.fetch_add(30_000_000_000, Ordering::Relaxed);
    assert_eq!(
        log_in(&f, "admin", PASSWORD).await.status(),
        StatusCode::SEE_OTHER
    );
}

/// Behind a proxy everybody has the proxy's address: who guesses must not lock out the others.
#[tokio::test]
async fn behind_a_trusted_proxy_guesses_count_by_client() {
    // `send` comes from 192.0.2.7.
    for (trusted, others) in [
        ("192.0.2.0/24", StatusCode::SEE_OTHER),
        ("10.0.0.0/8", StatusCode::TOO_MANY_REQUESTS),
    ] {
        let f = fixture(Settings {
            net_trusted_proxies: trusted.parse().expect("a network"),
            ..Settings::default()
        });
        let added = f
            .app
            .access
            .add_user_now("admin", PASSWORD, f.app.clock.now());
        added.expect("added");
        for n in 0..5 {
            // The part that the guesser writes is another one each time.
            let forwarded = format!("203.0.113.{n}, 198.51.100.1");
            let from = [("x-forwarded-for", forwarded.as_str())];
            let wrong = log_in_with(&f, "admin", "wrong password", &from).await;
            assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
        }
        let from = [("x-forwarded-for", "203.0.113.99, 198.51.100.1")];
        let guesser = log_in_with(&f, "admin", PASSWORD, &from).await;
        assert_eq!(guesser.status(), StatusCode::TOO_MANY_REQUESTS);
        let from = [("x-forwarded-for", "198.51.100.2")];
        let other = log_in_with(&f, "admin", PASSWORD, &from).await;
        assert_eq!(other.status(), others, "{trusted}");
    }
}

/// A flood of logins for many accounts: one hash runs, a few wait, the rest come back later, and
/// what nobody looked at is not held against anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_logins_is_told_to_wait() {
    let f = Arc::new(fixture(Settings::default()));
    let guesses = 4 * super::password::PLACES_MAX;
    let asked: Vec<_> = (0..guesses)
        .map(|n| {
            let f = f.clone();
            let user = format!("user{n}");
            tokio::spawn(async move { log_in(&f, &user, "wrong password").await })
        })
        .collect();
    let mut busy = 0;
    for answer in asked {
        let answer = answer.await.expect("no panic");
        match answer.status() {
            StatusCode::UNAUTHORIZED => {}
            StatusCode::SERVICE_UNAVAILABLE => {
                assert_eq!(answer.headers()[header::RETRY_AFTER], "2");
                busy += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(busy > 0, "all {guesses} waited");
}

/// A page and its files ask at once with one cookie that has not been seen for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_requests_of_a_session_write_once_that_it_was_seen() {
    let f = Arc::new(fixture(Settings::default()));
    let now = f.app.clock.now();
    let cookie = f.app.access.start_session("admin", now).await;
    let cookie = format!("session={}", cookie.expect("started"));
    let later = f.now.fetch_add(HOUR_NS, Ordering::Relaxed) + HOUR_NS;
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let (f, cookie) = (f.clone(), cookie.clone());
            let headers = async move |f: &Fixture| {
                let headers = [("cookie", cookie.as_str())];
                let path = "/api/v1/tokens";
                send(f, GUARDED, Method::GET, path, &headers, "").await
            };
            tokio::spawn(async move { headers(&f).await.status() })
        })
        .collect();
    for answer in asked {
        assert_eq!(answer.await.expect("no panic"), StatusCode::OK);
    }
    let touched = f.app.access.touched.lock().expect("no holder panics");
    assert_eq!(
        touched.values().copied().collect::<Vec<_>>(),
        [Timestamp(later)]
    );
}

#[tokio::test]
async fn the_setup_link_works_once_and_for_an_hour() {
    let f = fixture(Settings::default());
    let set_up = async |code: &str| {
        let form = format!("setup={code}&password=correct+horse+battery");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        send(&f, GUARDED, Method::POST, "/login", &headers, &form)
            .await
            .status()
    };
    let code = f.app.access.make_setup_code(f.app.clock.now());
    assert_eq!(set_up("guess").await, StatusCode::GONE);
    f.now.fetch_add(HOUR_NS + 1, Ordering::Relaxed);
    assert_eq!(set_up(&code).await, StatusCode::GONE);
    let code = f.app.access.make_setup_code(f.app.clock.now());
    assert_eq!(set_up(&code).await, StatusCode::SEE_OTHER);
    assert_eq!(set_up(&code).await, StatusCode::GONE);
    assert!(f.app.access.has_user().expect("read"));
}

#[test]
fn https_cookies_are_pinned_to_the_host() {
    let settings = Settings {
        external_url: "https://watch.example.org".parse().expect("an address"),
        ..Settings::default()
    };
    let cookie = fixture(settings).app.access.set_cookie(Some("secret"));
    assert_eq!(
        cookie,
        "__Host-session=secret; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000; Secure"
    );
}

#[tokio::test]
async fn open_ingest_opens_nothing_else() {
    let settings = Settings {
        auth_ingest: IngestAccess::Open,
        ..Settings::default()
    };
    let f = fixture(settings);
    for (policy, path) in router::everything(&f.app).table {
        let response = send(&f, GUARDED, Method::HEAD, path, &[], "").await;
        let expect = if policy == Policy::Ingest {
            Said::Yes
        } else {
            expected(policy, "nobody")
        };
        assert_eq!(said(&response), expect, "{path}");
    }
}

#[test]
fn a_token_is_told_from_a_mistyped_one() {
    let token = secret::new_token(Scopes::INGEST);
    assert!(token.starts_with("wp_in_") && secret::is_token_shaped(&token));
    assert!(!secret::is_token_shaped(&token[..token.len() - 1]));
    assert!(!secret::is_token_shaped("é"));
}
