//! What the store's tests share: requests that carry a number, and reading those numbers back.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::disk::sim::World;
use super::*;
use crate::model::chunk::Request;
use crate::model::{
    LogChunk, ProjectId, Signal, SpanChunk, TimeRange, Timestamp, ValueRef, metric, write,
};

pub(crate) const SECOND: u64 = 1_000_000_000;
/// 2026-11-21 01:00:00 UTC.
pub(crate) const START: Timestamp = Timestamp(1_795_222_800 * SECOND);

pub(crate) fn config() -> Config {
    let week = Some(Duration::from_secs(7 * 86_400));
    Config {
        dir: PathBuf::from("/data"),
        retention: Retention {
            traces: week,
            logs: week,
            metrics: week,
            max_bytes: None,
            services: Vec::new(),
        },
        disk_free_min: None,
        dedup_window: Duration::from_secs(300),
        compile,
        memory: Memory::default(),
        series: SeriesLimits { active: 10_000 },
    }
}

/// `n:12` and `n:3..7` (both ends): records that carry such a number.
pub(crate) fn compile(text: &str) -> Result<Condition, String> {
    let bad = || format!("{text:?} is no condition");
    let numbers = text.strip_prefix("n:").ok_or_else(bad)?;
    let (from, to) = numbers.split_once("..").unwrap_or((numbers, numbers));
    let number = |text: &str| text.parse::<i64>().map_err(|_| bad());
    let wanted = number(from)?..=number(to)?;
    let is_wanted = move |attributes: &[crate::model::Attr<'_>]| {
        let n = crate::model::record::find(attributes, "n");
        matches!(n, Some(ValueRef::Int(n)) if wanted.contains(&n))
    };
    let of_spans = is_wanted.clone();
    Ok(Condition {
        logs: Some(LogCondition {
            prune: LogPrune::default(),
            columns: LogColumns::ATTRIBUTES,
            matches: Box::new(move |log| is_wanted(log.attributes)),
        }),
        traces: Some(SpanCondition {
            prune: SpanPrune::default(),
            columns: SpanColumns::ATTRIBUTES,
            matches: Box::new(move |span| of_spans(span.attributes)),
        }),
    })
}

/// A deletion of both signals over all time.
pub(crate) fn wanted(condition: &str) -> Wanted {
    Wanted {
        condition: condition.to_owned(),
        shape: "n:?".to_owned(),
        by: "test".to_owned(),
        signals: [true; Signal::RECORDS.len()],
        range: TimeRange::ALL,
    }
}

pub(crate) fn sim(world: &Arc<World>) -> Disk {
    Disk::Sim(world.clone())
}

/// A request of `rows` records or spans that all carry `number`, at `at`.
pub(crate) fn request(
    service: &str,
    signal: Signal,
    number: u64,
    rows: u64,
    at: Timestamp,
) -> Vec<u8> {
    let mut out = Vec::new();
    write::message(&mut out, 1, |out| {
        write::message(out, 1, |out| {
            write::key_value(out, 1, "service.name", ValueRef::Str(service));
        });
        write::message(out, 2, |out| {
            for row in 0..rows {
                write::message(out, 2, |out| match signal {
                    Signal::Logs => log(out, number, row, at),
                    Signal::Traces => span(out, number, row, at),
                    Signal::Metrics => unreachable!("metrics have their own fixture"),
                });
            }
        });
    });
    out
}

fn log(out: &mut Vec<u8>, number: u64, row: u64, at: Timestamp) {
    write::fixed64_field(out, 1, at.0 + row);
    write::varint_field(out, 2, 9);
    write::message(out, 5, |out| {
        write::any_value(out, ValueRef::Str(&format!("request {number} row {row}")));
    });
    write::key_value(out, 6, "n", ValueRef::Int(number as i64));
}

fn span(out: &mut Vec<u8>, number: u64, row: u64, at: Timestamp) {
    write::bytes_field(out, 1, &u128::from(number + 1).to_be_bytes());
    write::bytes_field(out, 2, &(row + 1).to_be_bytes());
    write::bytes_field(out, 5, b"sweep");
    write::fixed64_field(out, 7, at.0 + row);
    write::fixed64_field(out, 8, at.0 + row + 1000);
    write::key_value(out, 9, "n", ValueRef::Int(number as i64));
}

pub(crate) fn batch(signal: Signal, number: u64, rows: u64, at: Timestamp) -> Batch {
    batch_of("sweep", signal, number, rows, at, at)
}

/// As [`batch`], of a service and received later.
pub(crate) fn batch_of(
    service: &str,
    signal: Signal,
    number: u64,
    rows: u64,
    at: Timestamp,
    received: Timestamp,
) -> Batch {
    let request = Request {
        bytes: request(service, signal, number, rows, at).into(),
        project: ProjectId::DEFAULT,
        received,
    };
    let chunk = match signal {
        Signal::Logs => BatchChunk::Logs(LogChunk::parse(request).expect("well-formed")),
        Signal::Traces => BatchChunk::Traces(SpanChunk::parse(request).expect("well-formed")),
        Signal::Metrics => unreachable!("metrics have their own fixture"),
    };
    Batch {
        chunk,
        key: u128::from(number),
        wire: None,
    }
}

/// A request of metrics: `rows` samples of the series with this number, at `at` and the ms after it.
pub(crate) fn metrics_batch(number: u64, rows: u64, at: Timestamp) -> MetricsBatch {
    let mut batch = metric::Batch::default();
    let name = number.to_string();
    batch.series_of(&metric::Labels::of([("__name__", "sweep"), ("n", &*name)]));
    for row in 0..rows {
        let at = (at.0 / 1_000_000 + row) as i64;
        batch.sample(at, metric::Value::Float(row as f64));
    }
    MetricsBatch {
        project: ProjectId::DEFAULT,
        received: at,
        batch,
        key: u128::from(number) + 1,
        raw_bytes: 100,
    }
}

/// How many samples the series of each number has.
fn sample_numbers(store: &Store) -> Result<BTreeMap<u64, u64>, StoreError> {
    let all = metric::Millis {
        first: i64::MIN,
        last: i64::MAX,
    };
    let view = store.metrics();
    let mut found = BTreeMap::new();
    for (number, labels) in view.select(&[], all)? {
        let mut samples = metric::Samples::default();
        view.read(number, labels.metric(), all, &mut samples)?;
        let n = labels.get("n").and_then(|n| n.parse().ok());
        let n = n.expect("every series has its number");
        assert!(
            samples
                .floats
                .iter()
                .enumerate()
                .all(|(row, v)| *v == row as f64)
        );
        if samples.len() > 0 {
            found.insert(n, samples.len() as u64);
        }
    }
    Ok(found)
}

/// How many records carry each number, over all units of a snapshot.
pub(crate) fn numbers(store: &Store, signal: Signal) -> Result<BTreeMap<u64, u64>, StoreError> {
    if signal == Signal::Metrics {
        return sample_numbers(store);
    }
    let snapshot = store.snapshot();
    let visible = snapshot.visible(signal, TimeRange::ALL);
    let mut found = BTreeMap::new();
    let mut count = |at: Timestamp, n: Option<ValueRef<'_>>| {
        let Some(ValueRef::Int(n)) = n else {
            panic!("a record without its number");
        };
        if visible.contains(at) {
            *found.entry(n as u64).or_insert(0) += 1;
        }
        ControlFlow::Continue(())
    };
    let find = crate::model::record::find;
    match signal {
        Signal::Logs => {
            for unit in snapshot.logs(TimeRange::ALL, &LogPrune::default()) {
                unit.for_each(LogColumns::ALL, &mut |log| {
                    count(log.at, find(log.attributes, "n"))
                })?;
            }
        }
        Signal::Traces => {
            for unit in snapshot.spans(TimeRange::ALL, &SpanPrune::default()) {
                unit.for_each(SpanColumns::ALL, &mut |span| {
                    count(span.at, find(span.attributes, "n"))
                })?;
            }
        }
        Signal::Metrics => unreachable!("answered above"),
    }
    Ok(found)
}
