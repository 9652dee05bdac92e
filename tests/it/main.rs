//! Tests of the real binary over its sockets. One integration binary, so that it links once.

mod commands;
mod http;
mod ingest;
mod listeners;
mod server;
