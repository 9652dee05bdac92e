//! watchpost: traces, logs, metrics, client errors and alerts of a small team in one small binary.
//!
//! The library's public face is [`app::run`]; everything else is crate-private. ARCHITECTURE.md
//! tells how a request flows through these modules, tests/tidy.rs which may import which.
#![forbid(unsafe_code)]

pub mod app;
#[cfg(feature = "internals")]
pub mod internals;

mod config;
mod ingest;
mod model;
mod observe;
mod query;
mod receive;
mod red;
mod scrape;
mod serve;
mod store;
mod units;
