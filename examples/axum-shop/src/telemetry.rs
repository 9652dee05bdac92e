//! Traces and logs of this process to an OTLP endpoint, and the W3C trace context over the wire.

use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The providers, kept so that what is still buffered can be sent at the end.
pub struct Telemetry {
    traces: SdkTracerProvider,
    logs: SdkLoggerProvider,
}

/// Sets up `tracing` so that spans become OTLP spans and events OTLP log records.
pub fn start(service: &'static str) -> Result<Telemetry, Box<dyn std::error::Error>> {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(opentelemetry::KeyValue::new(
            "service.version",
            env!("CARGO_PKG_VERSION"),
        ))
        .build();
    let traces = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_batch_exporter(SpanExporter::builder().with_tonic().build()?)
        .build();
    let logs = SdkLoggerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(LogExporter::builder().with_tonic().build()?)
        .build();
    // The exporter's own HTTP/2 client must not report about itself: that would never end.
    let filter = || EnvFilter::new("info,h2=off,hyper=off,tonic=off,tower=off,opentelemetry=off");
    tracing_subscriber::registry()
        .with(
            tracing_opentelemetry::layer()
                .with_tracer(traces.tracer(service))
                .with_filter(filter()),
        )
        .with(OpenTelemetryTracingBridge::new(&logs).with_filter(filter()))
        .with(tracing_subscriber::fmt::layer().with_filter(filter()))
        .init();
    Ok(Telemetry { traces, logs })
}

impl Telemetry {
    pub fn stop(self) {
        for error in [self.traces.shutdown().err(), self.logs.shutdown().err()]
            .into_iter()
            .flatten()
        {
            eprintln!("telemetry not flushed: {error}");
        }
    }
}

/// Reads the trace context from gRPC metadata.
pub struct MetadataReader<'a>(pub &'a tonic::metadata::MetadataMap);

impl Extractor for MetadataReader<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0
            .keys()
            .map(|key| {
                if let tonic::metadata::KeyRef::Ascii(key) = key {
                    key.as_str()
                } else {
                    ""
                }
            })
            .collect()
    }
}

/// Writes the trace context into gRPC metadata.
pub struct MetadataWriter<'a>(pub &'a mut tonic::metadata::MetadataMap);

impl Injector for MetadataWriter<'_> {
    fn set(&mut self, key: &str, value: String) {
        let key = tonic::metadata::MetadataKey::from_bytes(key.as_bytes());
        if let (Ok(key), Ok(value)) = (key, value.parse()) {
            self.0.insert(key, value);
        }
    }
}

/// Reads the trace context from HTTP headers.
pub struct HeaderReader<'a>(pub &'a axum::http::HeaderMap);

impl Extractor for HeaderReader<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|key| key.as_str()).collect()
    }
}
