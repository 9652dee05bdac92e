//! Disk, formats, WAL, catalogue, segments, retention; synchronous, no tokio, no HTTP, no JSON.
#![allow(dead_code)]

pub(crate) mod meta;
