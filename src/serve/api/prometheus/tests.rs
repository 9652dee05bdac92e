//! The API of Prometheus over series in memory, through the router as Grafana and promtool call it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::encode;
use crate::config::Settings;
use crate::model::metric::{
    Exemplar, Histogram, Labels, Metadata, MetricKind, Sample, Span, Value,
};
use crate::observe::Clock;
use crate::query::Engine;
use crate::query::promql::promqltest::memory::Memory;
use crate::serve::access::Through;
use crate::serve::router;
use crate::serve::state::App;
use crate::store::disk::sim::World;
use crate::store::fixture::{SECOND, START, config, metrics_batch, sim};
use crate::store::open;

/// Ms: the clock of these tests.
const NOW: u64 = 1_000_000;

fn memory() -> Memory {
    let mut memory = Memory::default();
    for (job, factor) in [("a", 1.0), ("b", 2.0)] {
        let labels = Labels::of([("__name__", "up_total"), ("job", job)]);
        let sample = |i: i64| Sample {
            at: i * 10_000,
            value: Value::Float(i as f64 * factor),
        };
        memory.append(labels.clone(), (0..=100).map(sample));
        let exemplar = Exemplar {
            at: 999_500,
            value: 0.5,
            labels: Labels::of([("trace_id", "abc")]),
        };
        memory.append_exemplar(labels, exemplar);
    }
    let histogram = Histogram {
        count: 4.0,
        sum: 5.5,
        positive_spans: vec![Span {
            offset: 0,
            length: 3,
        }],
        positive_counts: vec![1.0, 2.0, 1.0],
        ..Histogram::default()
    };
    let sample = Sample {
        at: 990_000,
        value: Value::Histogram(Arc::new(histogram)),
    };
    memory.append(
        Labels::of([("__name__", "size"), ("http.status", "200 \"ok\"")]),
        [sample],
    );
    let sample = |at: i64| Sample {
        at,
        value: Value::Float(1.0),
    };
    memory.append(
        Labels::of([("__name__", "load")]),
        [980_000, 990_000].map(sample),
    );
    memory.describe(Metadata {
        metric: "up_total".to_owned(),
        kind: MetricKind::Counter,
        unit: String::new(),
        help: "How\nmany.".to_owned(),
    });
    memory
}

fn router() -> axum::Router {
    let clock = Clock::Set(Arc::new(AtomicU64::new(NOW * 1_000_000)));
    let mut app = App::for_tests(Settings::default(), clock);
    app.engine.series_of_test = Some(Arc::new(memory()));
    router::everything(&Arc::new(app)).finish()
}

async fn answer(request: Request<Body>) -> (u16, String) {
    answer_of(router(), request).await
}

pub(super) async fn answer_of(router: axum::Router, request: Request<Body>) -> (u16, String) {
    let answer = router.oneshot(request).await.expect("handlers do not fail");
    let status = answer.status().as_u16();
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("JSON"))
}

pub(super) fn request(method: &str, path: &str, body: &str) -> Request<Body> {
    let peer: SocketAddr = "127.0.0.1:50000".parse().expect("an address");
    let bound = "127.0.0.1".parse().expect("an address");
    let request = Request::builder()
        .method(method)
        .uri(format!("/prometheus/api/v1/{path}"))
        .header("host", "127.0.0.1:4300")
        .header("content-type", "application/x-www-form-urlencoded")
        .extension(Through { peer, bound });
    request
        .body(Body::from(body.to_owned()))
        .expect("a request")
}

/// A call's answer, whole.
async fn check(path: &str, status: u16, body: &str) {
    assert_eq!(
        answer(request("GET", path, "")).await,
        (status, body.to_owned()),
        "{path}"
    );
    let Some((path, form)) = path.split_once('?') else {
        return;
    };
    let posts = !["label/", "metadata", "status/", "targets"]
        .iter()
        .any(|p| path.starts_with(p));
    if posts {
        let posted = answer(request("POST", path, form)).await;
        assert_eq!(posted, (status, body.to_owned()), "POST {path} {form}");
    }
}

async fn good(path: &str, data: &str) {
    check(
        path,
        200,
        &format!("{{\"status\":\"success\",\"data\":{data}}}"),
    )
    .await;
}

async fn bad(path: &str, status: u16, kind: &str, error: &str) {
    let error = serde_json::json!({ "error": error, "errorType": kind, "status": "error" });
    let (found, text) = answer(request("GET", path, "")).await;
    let text: serde_json::Value = serde_json::from_str(&text).expect(&text);
    assert_eq!((found, text), (status, error), "{path}");
}

#[tokio::test]
async fn instant_queries() {
    good(
        "query?query=1%2B1&time=4",
        r#"{"resultType":"scalar","result":[4,"2"]}"#,
    )
    .await;
    good(
        "query?query=time()%2F0&time=2015-07-01T20:10:51.781Z",
        r#"{"resultType":"scalar","result":[1435781451.781,"+Inf"]}"#,
    )
    .await;
    good(
        "query?query=%60a%0A%C3%A9%60",
        r#"{"resultType":"string","result":[1000,"a\né"]}"#,
    )
    .await;
    good(
        "query?query=up_total*1e21",
        r#"{"resultType":"vector","result":[{"metric":{"job":"a"},"value":[1000,"1e+23"]},{"metric":{"job":"b"},"value":[1000,"2e+23"]}]}"#,
    )
    .await;
    good(
        "query?query=up_total%7Bjob=%22a%22%7D%5B15s%5D&time=30.5",
        r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up_total","job":"a"},"values":[[20,"2"],[30,"3"]]}]}"#,
    )
    .await;
    good(
        "query?query=size",
        r#"{"resultType":"vector","result":[{"metric":{"__name__":"size","http.status":"200 \"ok\""},"histogram":[1000,{"count":"4","sum":"5.5","buckets":[[0,"0.5","1","1"],[0,"1","2","2"],[0,"2","4","1"]]}]}]}"#,
    )
    .await;
    check(
        "query?query=up_total&limit=1",
        200,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up_total","job":"a"},"value":[1000,"100"]}]},"warnings":["results truncated due to limit"]}"#,
    )
    .await;
    good("query?query=up_total&time=1290", r#"{"resultType":"vector","result":[{"metric":{"__name__":"up_total","job":"a"},"value":[1290,"100"]},{"metric":{"__name__":"up_total","job":"b"},"value":[1290,"200"]}]}"#).await;
    good(
        "query?query=up_total&time=1290&lookback_delta=1m",
        r#"{"resultType":"vector","result":[]}"#,
    )
    .await;
    let (status, text) = answer(request("GET", "query?query=rate(size[5m])&stats=1", "")).await;
    assert_eq!(status, 200);
    assert!(text.contains("\"totalQueryableSamples\":"), "{text}");
    let (_, text) = answer(request(
        "GET",
        "query?query=rate(load[5m])%2Bon()quantile(2,up_total)",
        "",
    ))
    .await;
    assert!(text.contains("\"warnings\":[\"PromQL warning: "), "{text}");
    assert!(text.contains("\"infos\":[\"PromQL info: "), "{text}");
}

#[tokio::test]
async fn range_queries() {
    good(
        "query_range?query=up_total%7Bjob=%22a%22%7D&start=10&end=30&step=10",
        r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up_total","job":"a"},"values":[[10,"1"],[20,"2"],[30,"3"]]}]}"#,
    )
    .await;
    good(
        "query_range?query=1&start=0&end=1&step=0.5",
        r#"{"resultType":"matrix","result":[{"metric":{},"values":[[0,"1"],[0.500,"1"],[1,"1"]]}]}"#,
    )
    .await;
    bad("query_range?query=1&start=0&end=11001&step=1s", 400, "bad_data", "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)").await;
    bad(
        "query_range?query=1&start=2&end=1&step=1",
        400,
        "bad_data",
        "invalid parameter \"end\": end timestamp must not be before start time",
    )
    .await;
    bad("query_range?query=1&start=0&end=1&step=0", 400, "bad_data", "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer").await;
    bad(
        "query_range?query=1&start=0&end=1&step=x",
        400,
        "bad_data",
        "invalid parameter \"step\": cannot parse \"x\" to a valid duration",
    )
    .await;
    bad(
        "query_range?query=1&end=1&step=1",
        400,
        "bad_data",
        "invalid parameter \"start\": cannot parse \"\" to a valid timestamp",
    )
    .await;
    bad("query_range?query=up_total[5m]&start=0&end=1&step=1", 400, "bad_data", "invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or instant Vector").await;
}

#[tokio::test]
async fn errors_are_prometheus_own() {
    bad(
        "query?query=up_total%7B",
        400,
        "bad_data",
        "invalid parameter \"query\": 1:10: parse error: unexpected end of input inside braces",
    )
    .await;
    bad(
        "query",
        400,
        "bad_data",
        "invalid parameter \"query\": unknown position: parse error: no expression found in input",
    )
    .await;
    bad(
        "query?query=1&time=x",
        400,
        "bad_data",
        "invalid parameter \"time\": cannot parse \"x\" to a valid timestamp",
    )
    .await;
    bad(
        "query?query=1&timeout=x",
        400,
        "bad_data",
        "invalid parameter \"timeout\": cannot parse \"x\" to a valid duration",
    )
    .await;
    bad(
        "query?query=1&limit=-1",
        400,
        "bad_data",
        "invalid parameter \"limit\": limit must be non-negative",
    )
    .await;
    bad("query?query=up_total%2Bon()%20up_total", 422, "execution", "found duplicate series for the match group {} on the right hand-side of the operation: [{__name__=\"up_total\", job=\"b\"}, {__name__=\"up_total\", job=\"a\"}];many-to-many matching not allowed: matching labels must be unique on one side").await;
    bad(
        "query?query=sum(up_total)&timeout=0.0001ms",
        400,
        "bad_data",
        "invalid parameter \"timeout\": cannot parse \"0.0001ms\" to a valid duration",
    )
    .await;
    bad(
        "query?query=sum(up_total)&timeout=0",
        503,
        "timeout",
        "query timed out in expression evaluation",
    )
    .await;
    let (status, text) = answer(request("GET", "nothing", "")).await;
    assert_eq!(status, 404);
    assert!(text.contains("\"errorType\":\"not_found\""), "{text}");
    let (status, text) = answer(request("DELETE", "query", "")).await;
    assert_eq!(status, 405);
    assert!(text.contains("\"status\":\"error\""), "{text}");
}

#[tokio::test]
async fn what_there_is_is_listed() {
    good("labels", r#"["__name__","http.status","job"]"#).await;
    good("labels?match[]=up_total", r#"["__name__","job"]"#).await;
    good("labels?match%5B%5D=up_total&end=-5", "[]").await;
    good("label/job/values", r#"["a","b"]"#).await;
    good("label/__name__/values", r#"["load","size","up_total"]"#).await;
    good("label/U__http_2e_status/values", r#"["200 \"ok\""]"#).await;
    good("label/http.status/values?start=0", r#"["200 \"ok\""]"#).await;
    good("label/job/values?match[]=%7Bjob=~%22b%22%7D", r#"["b"]"#).await;
    check(
        "label/job/values?limit=1",
        200,
        r#"{"status":"success","data":["a"],"warnings":["results truncated due to limit"]}"#,
    )
    .await;
    good(
        "series?match[]=up_total&match[]=%7Bjob=%22b%22%7D",
        r#"[{"__name__":"up_total","job":"a"},{"__name__":"up_total","job":"b"}]"#,
    )
    .await;
    good(
        "metadata",
        r#"{"up_total":[{"type":"counter","help":"How\nmany.","unit":""}]}"#,
    )
    .await;
    good("metadata?metric=other", "{}").await;
    good("query_exemplars?query=rate(up_total%7Bjob=%22a%22%7D%5B5m%5D)", r#"[{"seriesLabels":{"__name__":"up_total","job":"a"},"exemplars":[{"labels":{"trace_id":"abc"},"value":"0.5","timestamp":999.500}]}]"#).await;
    good("format_query?query=sum(up)by(job)", "\"sum by (job) (up)\"").await;
    bad("series", 400, "bad_data", "no match[] parameter provided").await;
    bad(
        "series?match[]=%7Ba=~%22.*%22%7D",
        400,
        "bad_data",
        "invalid parameter \"match[]\": match[] must contain at least one non-empty matcher",
    )
    .await;
    bad(
        "labels?match[]=1",
        400,
        "bad_data",
        "invalid parameter \"match[]\": 1:1: parse error: unexpected number \"1\"",
    )
    .await;
}

/// What the store took is what the API gives: samples, labels, counts of series.
#[tokio::test]
async fn the_store_answers() {
    let disk = sim(&World::new());
    let mut opened = open(config(), disk, START).expect("the disk is good");
    let taken = opened.writer.append_metrics(&metrics_batch(7, 3, START));
    taken.expect("accepted");
    let clock = Clock::Set(Arc::new(AtomicU64::new(START.0 + SECOND)));
    let mut app = App::for_tests(Settings::default(), clock);
    app.engine = Engine::new(opened.store.clone(), 4 << 20);
    let router = router::everything(&Arc::new(app)).finish();
    let get = async |path: &str| answer_of(router.clone(), request("GET", path, "")).await.1;
    let found = get("query?query=sum_over_time(sweep%5B1m%5D)").await;
    assert!(
        found.contains(r#"{"metric":{"n":"7"},"value":["#),
        "{found}"
    );
    assert!(found.contains(r#","3"]}"#), "{found}");
    let found = get("series?match[]=sweep").await;
    assert!(
        found.contains(r#"[{"__name__":"sweep","n":"7"}]"#),
        "{found}"
    );
    let found = get("label/n/values?match[]=sweep").await;
    assert!(found.contains(r#""data":["7"]"#), "{found}");
    let found = get("status/tsdb").await;
    assert!(found.contains(r#"[{"name":"sweep","value":1}]"#), "{found}");
    let found = get("query?query=other").await;
    assert!(found.contains(r#""result":[]"#), "{found}");
}

#[tokio::test]
async fn status_calls_answer() {
    let build = r#"{"branch":"","buildDate":"","buildUser":"","goVersion":"","#;
    let (status, text) = answer(request("GET", "status/buildinfo", "")).await;
    assert_eq!(status, 200);
    assert!(
        text.contains(build) && text.contains("\"version\":\"3.5."),
        "{text}"
    );
    good("rules", r#"{"groups":[]}"#).await;
    good("alerts", r#"{"alerts":[]}"#).await;
    good("status/flags", "{}").await;
    good("status/config", r#"{"yaml":""}"#).await;
    let (_, text) = answer(request("GET", "status/tsdb", "")).await;
    assert!(
        text.contains(r#""seriesCountByMetricName":[{"name":"up_total","value":2}"#),
        "{text}"
    );
    let (_, text) = answer(request("GET", "status/runtimeinfo", "")).await;
    assert!(
        text.contains(r#""startTime":"1970-01-01T00:16:40Z""#),
        "{text}"
    );
}

#[test]
fn numbers_look_as_prometheus_writes_them() {
    let check = |value: f64, wanted: &str| {
        let mut text = String::new();
        encode::float(&mut text, value);
        assert_eq!(text, format!("\"{wanted}\""));
    };
    check(0.0, "0");
    check(-0.0, "-0");
    check(1e-6, "0.000001");
    check(1.5e-7, "1.5e-07");
    check(1e20, "100000000000000000000");
    check(-1.25e21, "-1.25e+21");
    check(1e-300, "1e-300");
    check(f64::NAN, "NaN");
    check(f64::NEG_INFINITY, "-Inf");
    let time = |millis: i64| {
        let mut text = String::new();
        encode::time(&mut text, millis);
        text
    };
    assert_eq!(time(-1_050), "-1.050");
    assert_eq!(time(1_435_781_451_781), "1435781451.781");
    assert_eq!(time(2_000), "2");
}
