//! The table of services over a small store.

use std::collections::BTreeMap;

use super::*;
use crate::model::chunk::Request;
use crate::model::{LogChunk, ProjectId, SpanChunk, TimeRange, ValueRef, write};
use crate::store::disk::sim::World;
use crate::store::fixture::{SECOND, START, config, sim};
use crate::store::{Batch, BatchChunk, open};

const MS: u64 = 1_000_000;

fn resource(out: &mut Vec<u8>, service: &str, version: &str) {
    write::message(out, 1, |out| {
        write::key_value(out, 1, "service.name", ValueRef::Str(service));
        write::key_value(out, 1, "service.version", ValueRef::Str(version));
    });
}

/// `count` spans of 10 ms of one operation, every fourth failed, the last at `at`.
fn spans(version: &str, name: &str, kind: u64, count: u64, at: Timestamp) -> Vec<u8> {
    let mut out = Vec::new();
    write::message(&mut out, 1, |out| {
        resource(out, "api", version);
        write::message(out, 2, |out| {
            for i in 0..count {
                write::message(out, 2, |out| {
                    write::bytes_field(out, 1, &[7; 16]);
                    write::bytes_field(out, 2, &(at.0 + i).to_be_bytes());
                    write::bytes_field(out, 4, &[1; 8]);
                    write::bytes_field(out, 5, name.as_bytes());
                    write::varint_field(out, 6, kind);
                    write::fixed64_field(out, 7, at.0 - i);
                    write::fixed64_field(out, 8, at.0 - i + 10 * MS);
                    if i % 4 == 0 {
                        write::message(out, 15, |out| write::varint_field(out, 3, 2));
                    }
                });
            }
        });
    });
    out
}

fn logs(service: &str, levels: &[u64], at: Timestamp) -> Vec<u8> {
    let mut out = Vec::new();
    write::message(&mut out, 1, |out| {
        resource(out, service, "9");
        write::message(out, 2, |out| {
            for level in levels {
                write::message(out, 2, |out| {
                    write::fixed64_field(out, 1, at.0);
                    write::varint_field(out, 2, *level);
                });
            }
        });
    });
    out
}

fn request(bytes: Vec<u8>) -> Request {
    Request {
        bytes: bytes.into(),
        project: ProjectId::DEFAULT,
        received: START,
    }
}

#[test]
fn services_have_rates_errors_durations_versions_and_logs() {
    let mut opened = open(config(), sim(&World::new()), START).expect("the disk is good");
    let ago = |s: u64| START.saturating_sub(s * SECOND);
    let traces = [
        spans("1", "GET /", 2, 8, ago(1200)),
        spans("2", "GET /", 2, 4, ago(60)),
        spans("2", "inner", 1, 40, ago(60)),
    ];
    let parse = |bytes| SpanChunk::parse(request(bytes)).expect("well-formed");
    let mut chunks: Vec<BatchChunk> = traces
        .into_iter()
        .map(|bytes| BatchChunk::Traces(parse(bytes)))
        .collect();
    let cron = LogChunk::parse(request(logs("cron", &[9, 17, 21, 5], ago(30))));
    chunks.push(BatchChunk::Logs(cron.expect("well-formed")));
    for (key, chunk) in chunks.into_iter().enumerate() {
        let key = key as u128;
        let batch = Batch {
            chunk,
            key,
            wire: None,
        };
        opened.writer.append(batch).expect("accepted");
    }
    let range = TimeRange::new(ago(1800), START).expect("in order");
    let snapshot = opened.store.snapshot();
    let answer = super::services(&snapshot, range, 1, None, &|_, _| true);
    assert!(!answer.partial);
    let rows: BTreeMap<_, _> = answer
        .rows
        .iter()
        .map(|row| (row.name.as_str(), row))
        .collect();
    let (api, cron) = (rows["api"], rows["cron"]);
    assert_eq!((api.requests, api.error_ratio), (12, 0.25));
    assert!((api.requests_per_s - 12.0 / 1800.0).abs() < 1e-9);
    let p95 = api.p95_ns.expect("requests") as f64;
    assert!((p95 / (10 * MS) as f64 - 1.0).abs() < 0.04, "{p95}");
    assert_eq!(
        (api.version.as_deref(), api.last_seen),
        (Some("2"), ago(60))
    );
    assert_eq!(
        api.spark.iter().map(|point| point.requests).sum::<u64>(),
        12
    );
    assert_eq!((cron.requests, cron.p50_ns), (0, None));
    assert!((cron.log_errors_per_min - 2.0 / 30.0).abs() < 1e-9);
    let (operations, _) = operations(&snapshot, range, "api");
    let names: Vec<_> = operations
        .iter()
        .map(|row| (row.name.as_str(), row.entry))
        .collect();
    assert_eq!(names, [("GET /", true), ("inner", false)]);
}
