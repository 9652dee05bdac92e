//! The borrowing reader and the writer against the reference types of opentelemetry-proto.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::chunk::{LogChunk, Request, SpanChunk};
use super::otlp::Scratch;
use super::random::Random;
use super::write::RequestWriter;
use super::{ProjectId, Timestamp};

const BASE: u64 = 1_795_000_000_000_000_000;

fn request(bytes: Vec<u8>) -> Request {
    Request {
        bytes: bytes.into(),
        project: ProjectId::DEFAULT,
        received: Timestamp(BASE),
    }
}

/// Reads every record as a view and writes it again.
fn rewrite_logs(bytes: Vec<u8>) -> Vec<u8> {
    let chunk =
        LogChunk::parse(request(bytes)).expect("the reference encoder writes valid requests");
    let groups = chunk.group_views().expect("valid groups");
    let (mut writer, mut scratch) = (RequestWriter::default(), Scratch::default());
    for entry in &chunk.entries {
        writer.log(
            &chunk
                .view(entry, &groups, &mut scratch)
                .expect("an indexed record reads"),
        );
    }
    writer.finish()
}

fn rewrite_spans(bytes: Vec<u8>) -> Vec<u8> {
    let chunk =
        SpanChunk::parse(request(bytes)).expect("the reference encoder writes valid requests");
    let groups = chunk.group_views().expect("valid groups");
    let (mut writer, mut scratch) = (RequestWriter::default(), Scratch::default());
    for entry in &chunk.entries {
        writer.span(
            &chunk
                .view(entry, &groups, &mut scratch)
                .expect("an indexed span reads"),
        );
    }
    writer.finish()
}

#[test]
fn ten_thousand_random_log_requests_read_as_the_reference_reads_them() {
    for seed in 0..10_000 {
        let sent = Random::new(seed).logs_request(BASE);
        let back = ExportLogsServiceRequest::decode(&rewrite_logs(sent.encode_to_vec())[..]);
        let flat = |request: ExportLogsServiceRequest| {
            let mut records = Vec::new();
            for per_resource in request.resource_logs {
                for per_scope in per_resource.scope_logs {
                    for record in per_scope.log_records {
                        let resource = (
                            per_resource.resource.clone(),
                            per_resource.schema_url.clone(),
                        );
                        records.push((
                            resource,
                            per_scope.scope.clone(),
                            per_scope.schema_url.clone(),
                            record,
                        ));
                    }
                }
            }
            records
        };
        assert_eq!(
            flat(back.expect("we write valid protobuf")),
            flat(sent),
            "seed {seed}"
        );
    }
}

#[test]
fn ten_thousand_random_trace_requests_read_as_the_reference_reads_them() {
    for seed in 0..10_000 {
        let sent = Random::new(seed).traces_request(BASE);
        let back = ExportTraceServiceRequest::decode(&rewrite_spans(sent.encode_to_vec())[..]);
        let flat = |request: ExportTraceServiceRequest| {
            let mut spans = Vec::new();
            for per_resource in request.resource_spans {
                for per_scope in per_resource.scope_spans {
                    for span in per_scope.spans {
                        let resource = (
                            per_resource.resource.clone(),
                            per_resource.schema_url.clone(),
                        );
                        spans.push((
                            resource,
                            per_scope.scope.clone(),
                            per_scope.schema_url.clone(),
                            span,
                        ));
                    }
                }
            }
            spans
        };
        assert_eq!(
            flat(back.expect("we write valid protobuf")),
            flat(sent),
            "seed {seed}"
        );
    }
}

#[test]
fn cut_or_damaged_requests_never_panic() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut bytes = random.logs_request(BASE).encode_to_vec();
        bytes.truncate(random.below(bytes.len() + 1));
        if !bytes.is_empty() {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        if let Ok(chunk) = LogChunk::parse(request(bytes.clone())) {
            let _ = chunk.group_views();
        }
        let _ = SpanChunk::parse(request(bytes));
    }
}
