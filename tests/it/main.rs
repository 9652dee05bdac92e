//! Tests of the real binary over its sockets. One integration binary, so that it links once.

mod commands;
mod durability;
mod grpc;
mod heavy;
mod hosts;
mod http;
mod ingest;
mod kill;
mod limits;
mod listeners;
mod loki;
mod metrics_refused;
mod otlp_bad;
mod otlp_grpc;
mod otlp_http;
mod otlp_json;
mod overload;
mod queries;
mod redact;
mod scrape;
mod server;
mod slow;
mod telemetry;
