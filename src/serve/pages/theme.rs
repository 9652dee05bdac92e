//! `POST /theme`: light or dark, UTC or local time. Kept in cookies of the browser, so that the
//! server draws the page right at once and no page needs JavaScript for it.

use axum::Form;
use axum::http::header;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::serve::login::local;
use crate::serve::request::{THEME_COOKIE, Theme, UTC_COOKIE};

/// A year; browsers keep none longer than 400 days.
const KEPT_S: u32 = 31_536_000;

#[derive(Deserialize)]
pub(crate) struct Wish {
    theme: Option<String>,
    utc: Option<String>,
    /// The page to go back to.
    #[serde(default)]
    back: String,
}

pub(crate) async fn choose(Form(wish): Form<Wish>) -> Response {
    let theme = wish
        .theme
        .map(|name| (THEME_COOKIE, Theme::parse(&name).name()));
    let utc = wish
        .utc
        .map(|on| (UTC_COOKIE, if on == "1" { "1" } else { "0" }));
    let cookie = |(name, value): (&str, &str)| {
        (
            header::SET_COOKIE,
            format!("{name}={value}; Path=/; SameSite=Lax; Max-Age={KEPT_S}"),
        )
    };
    let cookies: Vec<_> = theme.into_iter().chain(utc).map(cookie).collect();
    (AppendHeaders(cookies), Redirect::to(local(&wish.back))).into_response()
}
