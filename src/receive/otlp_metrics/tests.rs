//! Requests made with the generated types of OpenTelemetry's own crate, and what Prometheus makes of
//! such.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets as Dense;
use opentelemetry_proto::tonic::metrics::v1::metric::Data as Kind;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    self as v1, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::delta::{Buckets, Exponential, Sum};
use super::*;
use crate::model::metric::{Labels, is_stale};

const AT: u64 = 1_700_000_000_000_000_000;

fn any(value: Any) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn attributes(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    let pair = |(key, value): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: any(Any::StringValue((*value).to_owned())),
        ..KeyValue::default()
    };
    pairs.iter().map(pair).collect()
}

fn request(resource: &[(&str, &str)], metrics: Vec<Metric>) -> Vec<u8> {
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: attributes(resource),
                ..Resource::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    request.encode_to_vec()
}

fn metric(name: &str, unit: &str, data: Kind) -> Metric {
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        description: "what it is".to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn point(value: f64, labels: &[(&str, &str)]) -> NumberDataPoint {
    NumberDataPoint {
        time_unix_nano: AT,
        attributes: attributes(labels),
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn sum(points: Vec<NumberDataPoint>, temporality: i32, is_monotonic: bool) -> Kind {
    Kind::Sum(v1::Sum {
        data_points: points,
        aggregation_temporality: temporality,
        is_monotonic,
    })
}

fn gauge(points: Vec<NumberDataPoint>) -> Kind {
    Kind::Gauge(v1::Gauge {
        data_points: points,
    })
}

/// Series as one line each.
fn told(decoded: &Decoded) -> Vec<String> {
    let series = decoded.batch.iter().map(|series| {
        let labels = Labels::unpack(series.packed).expect("a batch holds labels");
        let samples = series.samples.iter().map(|s| match &s.value {
            Value::Float(value) if is_stale(*value) => " stale".to_owned(),
            Value::Float(value) => format!(" {value}"),
            Value::Histogram(h) if is_stale(h.sum) => " stale".to_owned(),
            Value::Histogram(h) => format!(
                " {}/{} zero {} schema {} {:?}{:?} {:?}{:?}",
                h.count,
                h.sum,
                h.zero_count,
                h.schema,
                h.positive_spans
                    .iter()
                    .map(|s| (s.offset, s.length))
                    .collect::<Vec<_>>(),
                h.positive_counts,
                h.negative_spans
                    .iter()
                    .map(|s| (s.offset, s.length))
                    .collect::<Vec<_>>(),
                h.negative_counts,
            ),
        });
        let exemplars = series
            .exemplars
            .iter()
            .map(|e| format!(" # {} {}", e.labels, e.value));
        format!(
            "{labels}{}{}",
            samples.collect::<String>(),
            exemplars.collect::<String>()
        )
    });
    series.collect()
}

#[track_caller]
fn check_with(deltas: &Deltas, request: &[u8], expect: &[&str]) -> Decoded {
    let decoded = decode(request, deltas).expect("a request");
    assert_eq!(told(&decoded), expect, "{:?}", decoded.left_out);
    decoded
}

#[track_caller]
fn check(request: &[u8], expect: &[&str]) -> Decoded {
    check_with(&Deltas::default(), request, expect)
}

#[test]
fn names_follow_the_compatibility_document() {
    use names::Shape::{Counter, Gauge, Other};
    for (name, unit, shape, expect) in [
        (
            "http.server.request.duration",
            "s",
            Other,
            "http_server_request_duration_seconds",
        ),
        ("requests", "1", Counter, "requests_total"),
        ("requests.total", "{request}", Counter, "requests_total"),
        ("cpu.utilization", "1", Gauge, "cpu_utilization_ratio"),
        ("memory.usage", "By", Other, "memory_usage_bytes"),
        ("memory_bytes", "By", Other, "memory_bytes"),
        ("io", "By/s", Gauge, "io_bytes_per_second"),
        ("speed", "m/min", Gauge, "speed_meters_per_min"),
        ("2xx.count", "", Counter, "_2xx_count_total"),
        ("a..b__c-d", "", Gauge, "a_b_c_d"),
        ("temp", "Cel", Gauge, "temp_celsius"),
        ("odd", "foo bar", Gauge, "odd_foo_bar"),
        ("kept:colon", "%", Gauge, "kept:colon_percent"),
    ] {
        assert_eq!(
            names::metric(name, unit, shape).as_deref(),
            Some(expect),
            "{name} {unit}"
        );
    }
    assert_eq!(names::metric("---", "", Gauge), None);
    for (name, expect) in [
        ("http.method", "http_method"),
        ("plain", "plain"),
        ("0digit", "key_0digit"),
        ("_private", "key_private"),
        ("__reserved", "__reserved"),
        ("caf\u{e9}", "caf_"),
    ] {
        assert_eq!(names::label(name), expect);
    }
}

#[test]
fn gauges_sums_and_who_they_are_of() {
    let resource = [
        ("service.name", "shop"),
        ("service.namespace", "eu"),
        ("service.instance.id", "i-1"),
        ("host.name", "box"),
    ];
    let metrics = vec![
        metric(
            "load",
            "1",
            gauge(vec![point(
                0.5,
                &[("a.b", "2"), ("a_b", "1"), ("job", "x")],
            )]),
        ),
        metric("orders", "", sum(vec![point(7.0, &[])], 2, true)),
        metric("queue", "", sum(vec![point(-3.0, &[])], 2, false)),
    ];
    let decoded = check(
        &request(&resource, metrics),
        &[
            r#"load_ratio{a_b="2;1", instance="i-1", job="eu/shop"} 0.5"#,
            r#"orders_total{instance="i-1", job="eu/shop"} 7"#,
            r#"queue{instance="i-1", job="eu/shop"} -3"#,
            r#"target_info{host_name="box", instance="i-1", job="eu/shop"} 1"#,
        ],
    );
    let kinds: Vec<_> = decoded
        .batch
        .metadata
        .iter()
        .map(|m| (m.metric.as_str(), m.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            ("load_ratio", MetricKind::Gauge),
            ("orders_total", MetricKind::Counter),
            ("queue", MetricKind::Gauge),
        ]
    );
    let first = decoded.batch.iter().next().expect("a series");
    assert_eq!(first.samples[0].at, (AT / 1_000_000) as i64);
}

#[test]
fn values_of_labels_are_texts() {
    let mut with_all = point(1.0, &[]);
    let array = ArrayValue {
        values: vec![
            AnyValue {
                value: Some(Any::IntValue(1)),
            },
            AnyValue {
                value: Some(Any::StringValue("x\"".to_owned())),
            },
        ],
    };
    for (key, value) in [
        ("bool", Any::BoolValue(true)),
        ("bytes", Any::BytesValue(vec![0xff])),
        ("double", Any::DoubleValue(0.5)),
        ("int", Any::IntValue(-2)),
        ("list", Any::ArrayValue(array)),
    ] {
        with_all.attributes.push(KeyValue {
            key: key.to_owned(),
            value: any(value),
            ..KeyValue::default()
        });
    }
    check(
        &request(&[], vec![metric("m", "", gauge(vec![with_all]))]),
        &[r#"m{bool="true", bytes="/w==", double="0.5", int="-2", list="[1,\"x\\\"\"]"} 1"#],
    );
}

#[test]
fn histograms_are_cumulated_buckets() {
    let mut with_trace = v1::Exemplar {
        trace_id: vec![0xab; 16],
        span_id: vec![0xcd; 8],
        value: Some(exemplar::Value::AsDouble(0.7)),
        ..v1::Exemplar::default()
    };
    with_trace.filtered_attributes = attributes(&[("user", "u1")]);
    let data_point = HistogramDataPoint {
        time_unix_nano: AT,
        count: 6,
        sum: Some(9.5),
        bucket_counts: vec![1, 2, 3],
        explicit_bounds: vec![0.5, 10.0],
        exemplars: vec![with_trace],
        ..HistogramDataPoint::default()
    };
    let histogram = Kind::Histogram(v1::Histogram {
        data_points: vec![data_point],
        aggregation_temporality: 2,
    });
    let trace = "abababababababababababababababab";
    let exemplar = format!(
        "h_milliseconds_bucket{{le=\"10\"}} 3 # {{span_id=\"cdcdcdcdcdcdcdcd\", trace_id=\"{trace}\", user=\"u1\"}} 0.7"
    );
    check(
        &request(&[], vec![metric("h", "ms", histogram)]),
        &[
            "h_milliseconds_sum 9.5",
            "h_milliseconds_count 6",
            "h_milliseconds_bucket{le=\"0.5\"} 1",
            &exemplar,
            "h_milliseconds_bucket{le=\"+Inf\"} 6",
        ],
    );
}

fn exponential(point: ExponentialHistogramDataPoint, temporality: i32) -> Kind {
    Kind::ExponentialHistogram(v1::ExponentialHistogram {
        data_points: vec![point],
        aggregation_temporality: temporality,
    })
}

fn dense(offset: i32, counts: &[u64]) -> Option<Dense> {
    Some(Dense {
        offset,
        bucket_counts: counts.to_vec(),
    })
}

#[test]
fn exponential_histograms_become_native_ones() {
    let data_point = ExponentialHistogramDataPoint {
        time_unix_nano: AT,
        count: 11,
        sum: Some(30.0),
        scale: 3,
        zero_count: 1,
        positive: dense(-2, &[1, 0, 2, 0, 0, 0, 3]),
        negative: dense(0, &[4]),
        ..ExponentialHistogramDataPoint::default()
    };
    let expect = "e 11/30 zero 1 schema 3 [(-1, 3), (3, 1)][1.0, 0.0, 2.0, 3.0] [(1, 1)][4.0]";
    check(
        &request(&[], vec![metric("e", "", exponential(data_point, 2))]),
        &[expect],
    );

    // Finer than native histograms can be: two buckets of scale 9 are one of scale 8.
    let fine = ExponentialHistogramDataPoint {
        time_unix_nano: AT,
        count: 6,
        scale: 9,
        positive: dense(-1, &[1, 2, 3]),
        ..ExponentialHistogramDataPoint::default()
    };
    let expect = "e 6/0 zero 0 schema 8 [(0, 2)][1.0, 5.0] [][]";
    check(
        &request(&[], vec![metric("e", "", exponential(fine, 2))]),
        &[expect],
    );

    let coarse = ExponentialHistogramDataPoint {
        scale: -5,
        ..ExponentialHistogramDataPoint::default()
    };
    let decoded = check(
        &request(&[], vec![metric("e", "", exponential(coarse, 2))]),
        &[],
    );
    assert_eq!(decoded.left_out.points, 1);
}

#[test]
fn summaries_have_quantiles() {
    let summary = Kind::Summary(v1::Summary {
        data_points: vec![SummaryDataPoint {
            time_unix_nano: AT,
            count: 4,
            sum: 2.5,
            quantile_values: vec![ValueAtQuantile {
                quantile: 0.99,
                value: 1.5,
            }],
            ..SummaryDataPoint::default()
        }],
    });
    check(
        &request(&[], vec![metric("s", "", summary)]),
        &["s_sum 2.5", "s_count 4", "s{quantile=\"0.99\"} 1.5"],
    );
}

#[test]
fn no_recorded_value_ends_a_series() {
    let mut stale = point(0.0, &[]);
    (stale.value, stale.flags) = (None, 1);
    check(
        &request(&[], vec![metric("g", "", gauge(vec![stale]))]),
        &["g stale"],
    );
    let stale = ExponentialHistogramDataPoint {
        flags: 1,
        ..ExponentialHistogramDataPoint::default()
    };
    check(
        &request(&[], vec![metric("e", "", exponential(stale, 2))]),
        &["e stale"],
    );
}

fn delta(value: f64, at: u64) -> Vec<u8> {
    let mut point = point(value, &[]);
    point.time_unix_nano = at;
    request(&[], vec![metric("d", "", sum(vec![point], 1, true))])
}

#[test]
fn deltas_are_added_up() {
    const SECOND: u64 = 1_000_000_000;
    let deltas = Deltas::default();
    check_with(&deltas, &delta(2.0, AT), &["d_total 2"]);
    check_with(&deltas, &delta(3.0, AT + SECOND), &["d_total 5"]);
    // The same once more is a retry; an older one comes too late.
    check_with(&deltas, &delta(3.0, AT + SECOND), &["d_total 5"]);
    let late = check_with(&deltas, &delta(1.0, AT), &["d_total"]);
    assert_eq!(late.left_out.points, 1);
    check_with(&deltas, &delta(1.0, AT + 2 * SECOND), &["d_total 6"]);
    // Another process knows nothing of it.
    check(&delta(1.0, AT + 3 * SECOND), &["d_total 1"]);
}

#[test]
fn deltas_of_exponential_histograms_meet_at_the_coarser_scale() {
    let grown = |at, scale, positive, count| {
        let point = ExponentialHistogramDataPoint {
            time_unix_nano: at,
            count,
            sum: Some(1.0),
            scale,
            positive,
            ..ExponentialHistogramDataPoint::default()
        };
        request(&[], vec![metric("e", "", exponential(point, 1))])
    };
    let deltas = Deltas::default();
    let first = grown(AT, 1, dense(0, &[1, 1, 1]), 3);
    check_with(
        &deltas,
        &first,
        &["e 3/1 zero 0 schema 1 [(1, 3)][1.0, 1.0, 1.0] [][]"],
    );
    let second = grown(AT + 1_000_000, 0, dense(-1, &[5]), 5);
    check_with(
        &deltas,
        &second,
        &["e 8/2 zero 0 schema 0 [(0, 3)][5.0, 2.0, 1.0] [][]"],
    );
}

#[test]
fn what_deltas_take_is_bounded() {
    let deltas = Deltas::default();
    let wide = |offset| {
        Sum::Exponential(Box::new(Exponential {
            scale: 8,
            positive: Buckets {
                offset,
                counts: vec![1],
            },
            ..Exponential::default()
        }))
    };
    // Two buckets that are a billion apart are not a billion buckets.
    deltas.add(b"wide", 1, wide(-1_000_000_000));
    let Some(Sum::Exponential(sum)) = deltas.add(b"wide", 2, wide(1_000_000_000)) else {
        panic!("a histogram was added")
    };
    assert!(
        sum.positive.counts.len() <= 1024,
        "{}",
        sum.positive.counts.len()
    );
    assert_eq!(sum.positive.counts.iter().sum::<u64>(), 2);
    // Far more series than there is room for: the first one is forgotten and begins again.
    deltas.add(b"first", 1, Sum::Float(1.0));
    let mut large = wide(0);
    if let Sum::Exponential(large) = &mut large {
        large.positive.counts = vec![1; 1000];
    }
    for n in 0..2_000u32 {
        deltas.add(&n.to_le_bytes(), 1, large.clone());
    }
    assert_eq!(
        deltas.add(b"first", 2, Sum::Float(1.0)),
        Some(Sum::Float(1.0))
    );
}

#[test]
fn what_is_malformed_is_left_out_alone() {
    let unspecified = metric(
        "u",
        "",
        sum(vec![point(1.0, &[]), point(2.0, &[])], 0, true),
    );
    let nameless = metric("--", "", gauge(vec![point(1.0, &[])]));
    let mut empty = point(1.0, &[]);
    empty.value = None;
    let good = metric("g", "", gauge(vec![empty, point(3.0, &[])]));
    let decoded = check(&request(&[], vec![unspecified, nameless, good]), &["g 3"]);
    assert_eq!(decoded.left_out.points, 4);
    let first = decoded.left_out.first.expect("a reason");
    assert!(first.contains("aggregation temporality"), "{first}");
    assert!(decode(b"\x0a\x05abc", &Deltas::default()).is_err());
}

#[test]
fn long_labels_in_many_buckets_are_refused() {
    let histogram = Kind::Histogram(v1::Histogram {
        data_points: vec![HistogramDataPoint {
            attributes: attributes(&[("a", &"x".repeat(1 << 20))]),
            bucket_counts: vec![1; 101],
            explicit_bounds: (0..100).map(f64::from).collect(),
            count: 101,
            ..HistogramDataPoint::default()
        }],
        aggregation_temporality: 2,
    });
    let request = request(&[], vec![metric("h", "", histogram)]);
    let error = decode(&request, &Deltas::default()).expect_err("100 MiB of labels");
    assert_eq!(error, DecodeError::LabelBytes);
}

#[test]
fn target_info_spans_the_points_of_a_request() {
    let mut early = point(1.0, &[]);
    early.time_unix_nano = AT - 400_000_000_000;
    let resource = [("service.name", "shop"), ("host.name", "box")];
    let gauges = metric("g", "", gauge(vec![early, point(2.0, &[])]));
    check(
        &request(&resource, vec![gauges]),
        &[
            "g{job=\"shop\"} 1",
            "g{job=\"shop\"} 2",
            "target_info{host_name=\"box\", job=\"shop\"} 1 1 1 1",
        ],
    );
}
