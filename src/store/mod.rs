//! Keeps telemetry: write-ahead log, heads, segments, catalogue, retention. Synchronous; never
//! opens a socket, never reads the clock (time is passed in).
#![allow(dead_code)]

pub(crate) mod disk;
mod error;
pub(crate) mod meta;
pub(crate) mod partition;
mod prune;

pub(crate) use error::StoreError;
pub(crate) use partition::Partition;
pub(crate) use prune::{LogColumns, LogPrune, SpanColumns, SpanPrune};
