//! `/login` and `/logout`: a form that works without JavaScript. Must never say whether it was the
//! name or the password that was wrong, and never send anyone to another site.

use askama::Template;
use axum::Extension;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::access::{Attempt, Caller, LoginError, Through, cookie};
use super::error::Failure;
use super::page::html_with;
use super::request::PageRequest;
use super::shell::{Section, Shell};
use super::state::Shared;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    shell: Shell,
    /// Filled on the set-up link: the form then chooses the first password.
    setup: &'a str,
    next: &'a str,
    user: &'a str,
    problem: Option<String>,
}

#[derive(Default, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    setup: String,
    /// The page to go to afterwards.
    #[serde(default)]
    next: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
}

/// `GET /login`, also as the set-up link `/login?setup=CODE`.
pub(crate) async fn form(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Query(wanted): Query<Wanted>,
    page: PageRequest,
) -> Response {
    if caller != Caller::Nobody && wanted.setup.is_empty() {
        return Redirect::to(local(&wanted.next)).into_response();
    }
    let problem = match wanted.setup.is_empty()
        || app.access.setup_code_holds(&wanted.setup, app.clock.now())
    {
        true => None,
        false => Some(Failure::from(LoginError::SetupOver)),
    };
    show(&app, &page, &wanted, problem)
}

/// `POST /login`.
pub(crate) async fn submit(
    State(app): State<Shared>,
    Extension(through): Extension<Through>,
    headers: HeaderMap,
    page: PageRequest,
    Form(wanted): Form<Wanted>,
) -> Response {
    let now = app.clock.now();
    let started = match wanted.setup.as_str() {
        "" => {
            let (user, password) = (wanted.user.clone(), wanted.password.clone());
            app.access
                .login(
                    Attempt {
                        peer: through.peer.ip(),
                        headers: &headers,
                        user,
                        password,
                    },
                    now,
                )
                .await
        }
        code => app.access.set_up(code, wanted.password.clone(), now).await,
    };
    match started {
        Ok(secret) => {
            let cookie = [(header::SET_COOKIE, app.access.set_cookie(Some(&secret)))];
            let next = if wanted.setup.is_empty() {
                local(&wanted.next)
            } else {
                "/start"
            };
            (cookie, Redirect::to(next)).into_response()
        }
        Err(e) => show(&app, &page, &wanted, Some(e.into())),
    }
}

/// `POST /logout`.
pub(crate) async fn leave(
    State(app): State<Shared>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if let Some(secret) = cookie(&headers, app.access.cookie_name()) {
        app.access
            .end_session(secret)
            .await
            .map_err(|e| Failure::internal("session not ended", &e))?;
    }
    Ok((
        [(header::SET_COOKIE, app.access.set_cookie(None))],
        Redirect::to("/login"),
    )
        .into_response())
}

fn show(app: &Shared, page: &PageRequest, wanted: &Wanted, problem: Option<Failure>) -> Response {
    let setup = if app.access.setup_code_holds(&wanted.setup, app.clock.now()) {
        wanted.setup.as_str()
    } else {
        ""
    };
    let title = if setup.is_empty() { "Log in" } else { "Set up" };
    let status = problem
        .as_ref()
        .map_or(StatusCode::OK, |failure| failure.status);
    let retry_after_s = problem.as_ref().and_then(|failure| failure.retry_after_s);
    let template = LoginPage {
        shell: Shell::new(page, Section::None, title, app.shell_data()),
        setup,
        next: local(&wanted.next),
        user: &wanted.user,
        problem: problem.map(|failure| match failure.retry_after_s {
            Some(seconds) => format!("{}; try again in {seconds} s", failure.line()),
            None => failure.line(),
        }),
    };
    let mut response = html_with(status, &template);
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    if let Some(seconds) = retry_after_s {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// `next` when it is a path of ours, else the overview. `//host` and `/\host` lead elsewhere.
pub(super) fn local(next: &str) -> &str {
    let ours =
        next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    if ours { next } else { "/" }
}

/// A path as the value of a query parameter.
pub(super) fn escape_query(path: &str) -> String {
    form_urlencoded::byte_serialize(path.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn next_stays_on_this_server() {
        for (next, expect) in [
            ("/logs?query=a", "/logs?query=a"),
            ("", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("/a\r\nset-cookie: x", "/"),
        ] {
            assert_eq!(local(next), expect, "{next:?}");
        }
    }
}
