//! Listeners, router, pages, API handlers, sessions.

pub(crate) mod access;
mod api;
pub(crate) mod ask;
mod assets;
mod deletes;
mod error;
mod format;
pub(crate) mod frame;
mod health;
pub(crate) mod listen;
mod login;
mod niced;
mod page;
mod page_url;
mod pages;
mod palette;
mod patient;
pub(crate) mod pushgateway;
mod range;
mod request;
pub(crate) mod router;
mod shell;
mod spark;
pub(crate) mod state;
mod tokens;
mod unread;
