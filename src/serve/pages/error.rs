//! What a person sees instead of a page: what failed, why, and where to go next.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::serve::page::html_with;
use crate::serve::request::PageRequest;
use crate::serve::shell::{Section, Shell, ShellData};

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    shell: Shell,
    code: u16,
    text: &'a str,
    /// Names the request in our log; empty where nothing was logged.
    request_id: &'a str,
    href: &'a str,
    action: &'a str,
}

/// `text` says the cause in one sentence; `next` is a link and its words.
pub(crate) fn error_page(
    page: &PageRequest,
    data: ShellData,
    status: StatusCode,
    text: &str,
    next: (&str, &str),
    request_id: &str,
) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let template = ErrorPage {
        shell: Shell::new(page, Section::None, title, data),
        code: status.as_u16(),
        text,
        request_id,
        href: next.0,
        action: next.1,
    };
    html_with(status, &template)
}
