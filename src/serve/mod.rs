//! Listeners, router, pages, API handlers, sessions.
#![allow(dead_code)]

mod assets;
mod format;
mod page;
mod page_url;
mod pages;
mod palette;
mod range;
mod request;
mod shell;
mod spark;
