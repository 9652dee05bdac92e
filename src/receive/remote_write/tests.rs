//! Requests of both versions, written field by field as the protocol buffers have them.

use proptest::prelude::*;

use super::*;
use crate::model::metric::{
    CounterReset, Histogram, Labels, Metadata, MetricKind, STALE_NAN_BITS, Span, Value, is_stale,
};
use crate::model::write;
use crate::receive::metrics::Decoded;

/// A double field that is written when it is zero too.
fn double(out: &mut Vec<u8>, number: u32, value: f64) {
    write::varint(out, u64::from(number << 3 | 1));
    out.extend_from_slice(&value.to_le_bytes());
}

const fn zigzag(n: i64) -> u64 {
    (n << 1 ^ n >> 63) as u64
}

fn labels_v1(out: &mut Vec<u8>, pairs: &[(&str, &str)]) {
    for (name, value) in pairs {
        write::message(out, 1, |out| {
            write::message_bytes(out, 1, name.as_bytes());
            write::message_bytes(out, 2, value.as_bytes());
        });
    }
}

fn sample(out: &mut Vec<u8>, at: i64, value: f64) {
    write::message(out, 2, |out| {
        double(out, 1, value);
        write::varint_field(out, 2, at as u64);
    });
}

/// A request of 1.0 with one series.
fn series_v1(pairs: &[(&str, &str)], rest: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write::message(&mut out, 1, |out| {
        labels_v1(out, pairs);
        rest(out);
    });
    out
}

/// Series, samples and exemplars as one line per series.
fn told(decoded: &Decoded) -> Vec<String> {
    let series = decoded.batch.iter().map(|series| {
        let labels = Labels::unpack(series.packed).expect("a batch holds labels");
        let samples = series.samples.iter().map(|s| match &s.value {
            Value::Float(value) => format!(" {value}@{}", s.at),
            Value::Histogram(h) => format!(" count {} sum {}@{}", h.count, h.sum, s.at),
        });
        let exemplars = series.exemplars.iter();
        let exemplars = exemplars.map(|e| format!(" # {} {}@{}", e.labels, e.value, e.at));
        format!(
            "{labels}{}{}",
            samples.collect::<String>(),
            exemplars.collect::<String>()
        )
    });
    series.collect()
}

#[track_caller]
fn check(request: &[u8], version: Version, expect: &[&str]) -> Decoded {
    let decoded = decode(request, version).expect("a request");
    assert_eq!(told(&decoded), expect);
    decoded
}

#[test]
fn version_one() {
    let request = series_v1(&[("b", "2"), ("__name__", "m"), ("a", "")], |out| {
        sample(out, 1_700_000_000_123, 1.5);
        sample(out, -5, f64::INFINITY);
        write::message(out, 3, |out| {
            labels_v1(out, &[("trace_id", "ab")]);
            double(out, 2, 0.25);
            write::varint_field(out, 3, 7);
        });
    });
    let decoded = check(
        &request,
        Version::V1,
        &["m{b=\"2\"} 1.5@1700000000123 inf@-5 # {trace_id=\"ab\"} 0.25@7"],
    );
    assert_eq!(decoded.left_out.points, 0);
}

#[test]
fn stale_markers_keep_their_bits() {
    let stale = f64::from_bits(STALE_NAN_BITS);
    let request = series_v1(&[("__name__", "m")], |out| sample(out, 1, stale));
    let decoded = decode(&request, Version::V1).expect("a request");
    let series = decoded.batch.iter().next().expect("one series");
    assert!(matches!(series.samples[0].value, Value::Float(value) if is_stale(value)));
}

#[test]
fn series_that_are_none_are_left_out_and_told() {
    for (pairs, what) in [
        (&[("a", "b")][..], "no label __name__"),
        (
            &[("__name__", "m"), ("a", "1"), ("a", "2")],
            "a label name that comes twice",
        ),
        (
            &[("__name__", "m"), ("", "1")],
            "a label with an empty name",
        ),
    ] {
        let mut request = series_v1(pairs, |out| sample(out, 1, 2.0));
        request.extend(series_v1(&[("__name__", "good")], |out| {
            sample(out, 1, 2.0)
        }));
        let decoded = check(&request, Version::V1, &["good 2@1"]);
        assert_eq!(decoded.left_out.points, 1);
        let first = decoded.left_out.first.expect("a reason");
        assert!(first.starts_with(what), "{first}");
    }
    let mut request = Vec::new();
    write::message(&mut request, 1, |out| {
        labels_v1(out, &[("__name__", "m")]);
        write::message(out, 1, |out| {
            write::message_bytes(out, 1, b"a");
            write::message_bytes(out, 2, b"\xff");
        });
        sample(out, 1, 1.0);
    });
    let decoded = check(&request, Version::V1, &[]);
    assert!(
        decoded
            .left_out
            .first
            .expect("a reason")
            .starts_with("a label that is not UTF-8")
    );
    assert!(decode(&request[..request.len() - 1], Version::V1).is_err());
}

#[test]
fn metadata_of_version_one() {
    let mut request = Vec::new();
    write::message(&mut request, 3, |out| {
        write::varint_field(out, 1, 1);
        write::bytes_field(out, 2, b"m_total");
        write::bytes_field(out, 4, b"help");
        write::bytes_field(out, 5, b"seconds");
    });
    let decoded = decode(&request, Version::V1).expect("a request");
    let expect = Metadata {
        metric: "m_total".to_owned(),
        kind: MetricKind::Counter,
        unit: "seconds".to_owned(),
        help: "help".to_owned(),
    };
    assert_eq!(decoded.batch.metadata, [expect]);
}

fn write_histogram(out: &mut Vec<u8>, number: u32, float: bool, buckets: &[i64]) {
    write::message(out, number, |out| {
        match float {
            true => double(out, 2, 8.5),
            false => write::varint_field(out, 1, 8),
        }
        double(out, 3, 18.4);
        write::varint_field(out, 4, zigzag(1));
        double(out, 5, 0.001);
        match float {
            true => double(out, 7, 2.5),
            false => write::varint_field(out, 6, 2),
        }
        write::message(out, 11, |out| {
            write::varint_field(out, 1, zigzag(-2));
            write::varint_field(out, 2, buckets.len() as u64);
        });
        if float {
            let counts: Vec<u8> = buckets
                .iter()
                .flat_map(|n| (*n as f64).to_le_bytes())
                .collect();
            write::message_bytes(out, 13, &counts);
        } else {
            let mut deltas = Vec::new();
            let mut last = 0;
            for n in buckets {
                write::varint(&mut deltas, zigzag(n - last));
                last = *n;
            }
            write::message_bytes(out, 12, &deltas);
        }
        write::varint_field(out, 14, 2);
        write::varint_field(out, 15, 99);
    });
}

#[test]
fn native_histograms() {
    for float in [false, true] {
        let request = series_v1(&[("__name__", "h")], |out| {
            write_histogram(out, 4, float, &[1, 3, 2]);
        });
        let decoded = decode(&request, Version::V1).expect("a request");
        let series = decoded.batch.iter().next().expect("one series");
        let Value::Histogram(found) = &series.samples[0].value else {
            panic!("a histogram was written")
        };
        let expect = Histogram {
            reset: CounterReset::NotReset,
            schema: 1,
            zero_threshold: 0.001,
            zero_count: if float { 2.5 } else { 2.0 },
            count: if float { 8.5 } else { 8.0 },
            sum: 18.4,
            positive_spans: vec![Span {
                offset: -2,
                length: 3,
            }],
            positive_counts: vec![1.0, 3.0, 2.0],
            ..Histogram::default()
        };
        assert_eq!((series.samples[0].at, &**found), (99, &expect));
    }
    // The buckets are not what the count says.
    let request = series_v1(&[("__name__", "h")], |out| {
        write_histogram(out, 4, false, &[1, 3])
    });
    let decoded = check(&request, Version::V1, &["h"]);
    assert_eq!(decoded.left_out.points, 1);
}

fn packed(out: &mut Vec<u8>, number: u32, values: &[u64]) {
    let mut numbers = Vec::new();
    for value in values {
        write::varint(&mut numbers, *value);
    }
    write::message_bytes(out, number, &numbers);
}

/// A request of 2.0 with one series.
fn series_v2(symbols: &[&str], rest: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    // Symbols behind what names them are as good: fields may come in any order.
    write::message(&mut out, 5, rest);
    for symbol in symbols {
        write::message_bytes(&mut out, 4, symbol.as_bytes());
    }
    out
}

#[test]
fn version_two() {
    let symbols = [
        "",
        "__name__",
        "m_bucket",
        "le",
        "1",
        "trace_id",
        "ab",
        "what it is",
        "s",
    ];
    let request = series_v2(&symbols, |out| {
        packed(out, 1, &[1, 2, 3, 4]);
        sample(out, 5, 1.5);
        write::message(out, 4, |out| {
            packed(out, 1, &[5, 6]);
            double(out, 2, 0.5);
            write::varint_field(out, 3, 6);
        });
        write::message(out, 5, |out| {
            write::varint_field(out, 1, 3);
            write::varint_field(out, 3, 7);
            write::varint_field(out, 4, 8);
        });
        write::varint_field(out, 6, 1);
        write_histogram(out, 3, false, &[1, 3, 2]);
    });
    let decoded = check(
        &request,
        Version::V2,
        &["m_bucket{le=\"1\"} 1.5@5 count 8 sum 18.4@99 # {trace_id=\"ab\"} 0.5@6"],
    );
    let about = &decoded.batch.metadata[0];
    assert_eq!(
        (about.metric.as_str(), about.kind),
        ("m", MetricKind::Histogram)
    );
    assert_eq!(
        (about.help.as_str(), about.unit.as_str()),
        ("what it is", "s")
    );
}

#[test]
fn references_to_nothing_are_left_out() {
    for refs in [&[1, 2, 3][..], &[1, 9]] {
        let request = series_v2(&["", "__name__", "m"], |out| {
            packed(out, 1, refs);
            sample(out, 5, 1.5);
        });
        let decoded = check(&request, Version::V2, &[]);
        assert_eq!(decoded.left_out.points, 1);
    }
}

#[test]
fn a_few_symbols_do_not_grow_without_bound() {
    let long = "x".repeat(1 << 20);
    let mut request = Vec::new();
    for symbol in ["", "__name__", &long] {
        write::message_bytes(&mut request, 4, symbol.as_bytes());
    }
    for _ in 0..100 {
        write::message(&mut request, 5, |out| {
            packed(out, 1, &[1, 2]);
            sample(out, 5, 1.5);
        });
    }
    let error = decode(&request, Version::V2).expect_err("100 MiB of labels");
    assert!(
        error.to_string().contains("when they are written out"),
        "{error}"
    );
}

#[test]
fn content_types_name_the_version() {
    for (header, expect) in [
        (None, Some(Version::V1)),
        (Some("application/x-protobuf"), Some(Version::V1)),
        (
            Some("application/x-protobuf;proto=prometheus.WriteRequest"),
            Some(Version::V1),
        ),
        (
            Some("application/x-protobuf; proto=io.prometheus.write.v2.Request"),
            Some(Version::V2),
        ),
        (Some("application/x-protobuf;proto=other.Message"), None),
        (Some("application/json"), None),
    ] {
        let value = header.map(HeaderValue::from_static);
        let found = version(value.as_ref());
        assert_eq!(found.as_ref().ok(), expect.as_ref(), "{header:?}");
        if let Err(fault) = found {
            assert_eq!(fault.http_status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        labels in proptest::collection::btree_map("[a-z]{1,6}", "\\PC{1,200}", 0..8),
        samples in proptest::collection::vec((any::<i64>(), -1e9..1e9f64), 1..4),
    ) {
        let mut pairs: Vec<(&str, &str)> =
            labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        pairs.push(("__name__", "m"));
        let request = series_v1(&pairs, |out| {
            for (at, value) in &samples {
                sample(out, *at, *value);
            }
        });
        let decoded = decode(&request, Version::V1).expect("a request");
        let series = decoded.batch.iter().next().expect("one series");
        prop_assert_eq!(Labels::unpack(series.packed), Some(Labels::of(pairs)));
        let found = series.samples.iter().map(|s| match s.value {
            Value::Float(value) => (s.at, value),
            Value::Histogram(_) => panic!("floats were written"),
        });
        prop_assert_eq!(found.collect::<Vec<_>>(), samples);
    }

    #[test]
    fn no_request_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for version in [Version::V1, Version::V2] {
            let _ = decode(&bytes, version);
        }
    }
}
