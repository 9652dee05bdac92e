//! The API over a store in memory, through the router as clients see it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::params::{Params, read_time};
use crate::config::Settings;
use crate::model::chunk::Request as Otlp;
use crate::model::{LogChunk, ProjectId, SpanChunk, Timestamp, ValueRef, write};
use crate::observe::Clock;
use crate::query::Engine;
use crate::serve::access::Through;
use crate::serve::router;
use crate::serve::state::App;
use crate::store::disk::sim::World;
use crate::store::fixture::{SECOND, START, config, sim};
use crate::store::{Batch, BatchChunk, Opened, open};

const TRACE: &str = "0000000000000000000000000000abcd";

struct Fixture {
    router: axum::Router,
    opened: Opened,
}

impl Fixture {
    fn new() -> Fixture {
        let opened = open(config(), sim(&World::new()), START).expect("the disk is good");
        let clock = Clock::Set(Arc::new(AtomicU64::new(START.0)));
        let mut app = App::for_tests(Settings::default(), clock);
        app.engine = Engine::new(opened.store.clone(), 4 << 20);
        let router = router::everything(&Arc::new(app)).finish();
        Fixture { router, opened }
    }

    fn append(&mut self, key: u128, chunk: BatchChunk) {
        let batch = Batch {
            chunk,
            key,
            wire: None,
        };
        self.opened.writer.append(batch).expect("accepted");
    }

    async fn get(&self, path: &str) -> axum::response::Response {
        let peer: SocketAddr = "127.0.0.1:50000".parse().expect("an address");
        let bound = "127.0.0.1".parse().expect("an address");
        let request = Request::get(path)
            .header("host", "127.0.0.1:4300")
            .extension(Through { peer, bound })
            .body(Body::empty())
            .expect("a request");
        let answer = self.router.clone().oneshot(request).await;
        answer.expect("handlers do not fail")
    }

    async fn json(&self, path: &str) -> (StatusCode, Value) {
        let response = self.get(path).await;
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body");
        let text = body.to_bytes();
        let value = serde_json::from_slice(&text)
            .unwrap_or_else(|e| panic!("{path}: {e}: {}", String::from_utf8_lossy(&text)));
        (status, value)
    }
}

fn otlp(bytes: Vec<u8>) -> Otlp {
    Otlp {
        bytes: bytes.into(),
        project: ProjectId::DEFAULT,
        received: START,
    }
}

fn under_resource(fill: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write::message(&mut out, 1, |out| {
        write::message(out, 1, |out| {
            write::key_value(out, 1, "service.name", ValueRef::Str("api"));
        });
        write::message(out, 2, |out| write::message(out, 2, &fill));
    });
    out
}

fn filled() -> Fixture {
    let mut fixture = Fixture::new();
    let at = START.0 - 60 * SECOND;
    let log = under_resource(|out| {
        write::fixed64_field(out, 1, at);
        write::varint_field(out, 2, 17);
        write::message(out, 5, |out| {
            write::any_value(out, ValueRef::Str("it failed"))
        });
        write::key_value(out, 6, "big", ValueRef::Int(i64::MAX));
        write::key_value(out, 6, "raw", ValueRef::Bytes(b"\x00\x01"));
        write::bytes_field(out, 9, &0xabcdu128.to_be_bytes());
    });
    fixture.append(
        1,
        BatchChunk::Logs(LogChunk::parse(otlp(log)).expect("well-formed")),
    );
    let span = under_resource(|out| {
        write::bytes_field(out, 1, &0xabcdu128.to_be_bytes());
        write::bytes_field(out, 2, &[0, 0, 0, 0, 0, 0, 0, 9]);
        write::bytes_field(out, 5, b"GET /");
        write::varint_field(out, 6, 2);
        write::fixed64_field(out, 7, at);
        write::fixed64_field(out, 8, at + 5_000_000);
    });
    fixture.append(
        2,
        BatchChunk::Traces(SpanChunk::parse(otlp(span)).expect("well-formed")),
    );
    fixture
}

#[tokio::test]
async fn logs_are_listed_counted_and_exported() {
    let fixture = filled();
    let (status, page) = fixture.json("/api/v1/logs?query=failed&start=now-1h").await;
    assert_eq!(status, StatusCode::OK);
    let record = &page["records"][0];
    assert_eq!(record["time"], (START.0 - 60 * SECOND).to_string());
    assert_eq!(
        (&record["severity"], &record["service"]),
        (&"ERROR".into(), &"api".into())
    );
    assert_eq!(record["attributes"]["big"], i64::MAX.to_string());
    assert_eq!(record["attributes"]["raw"], "AAE=");
    assert_eq!(record["trace_id"], TRACE);
    assert_eq!(
        (&page["next"], &page["stats"]["truncated"]),
        (&Value::Null, &false.into())
    );
    let id = record["id"].as_str().expect("an id").to_owned();
    let (_, context) = fixture.json(&format!("/api/v1/logs/{id}/context")).await;
    assert_eq!(context["record"]["id"], id);
    let (_, histogram) = fixture.json("/api/v1/logs/histogram").await;
    assert_eq!(
        (
            &histogram["total"],
            histogram["buckets"].as_array().expect("buckets").len()
        ),
        (&1.into(), 60)
    );
    let (_, facets) = fixture.json("/api/v1/logs/facets").await;
    assert_eq!(facets["fields"][1]["values"][0]["value"], "api");
    let (_, exported) = fixture.json("/api/v1/logs?format=otlp").await;
    let exported = &exported["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert_eq!(
        exported["attributes"][0]["value"]["intValue"],
        i64::MAX.to_string()
    );
    let (_, labels) = fixture.json("/loki/api/v1/labels").await;
    assert!(
        labels["data"]
            .as_array()
            .expect("names")
            .contains(&"service_name".into())
    );
    let (_, values) = fixture.json("/loki/api/v1/label/service_name/values").await;
    assert_eq!(values["data"][0], "api");
}

#[tokio::test]
async fn traces_are_listed_laid_out_and_exported() {
    let fixture = filled();
    let (_, page) = fixture.json("/api/v1/traces?query=kind:server").await;
    let row = &page["traces"][0];
    assert_eq!(
        (&row["trace_id"], &row["root_name"]),
        (&TRACE.into(), &"GET /".into())
    );
    assert_eq!(row["matched_spans"][0]["duration_ns"], 5_000_000);
    let (_, whole) = fixture.json(&format!("/api/v1/traces/{TRACE}")).await;
    assert_eq!(
        whole["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"],
        "GET /"
    );
    let (_, layout) = fixture
        .json(&format!("/api/v1/traces/{TRACE}/layout"))
        .await;
    assert_eq!(layout["rows"]["duration_ns"][0], 5_000_000);
    let (_, spans) = fixture
        .json(&format!("/api/v1/traces/{TRACE}/spans?rows=0-9"))
        .await;
    assert_eq!(spans["spans"][0]["kind"], "server");
    let (_, services) = fixture.json("/api/v1/services").await;
    assert_eq!(services["services"][0]["requests"], 1);
    let (_, suggestions) = fixture
        .json("/api/v1/suggest?query=serv&at=4&signal=traces")
        .await;
    assert_eq!(suggestions["suggestions"][0]["insert"], "service:");
}

#[tokio::test]
async fn errors_are_json_with_position_and_hint() {
    let fixture = Fixture::new();
    let (status, body) = fixture.json("/api/v1/logs?query=d:%3E2oo").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["error"]["position"], 3);
    assert!(
        body["error"]["hint"]
            .as_str()
            .expect("a hint")
            .contains("d:>200")
    );
    for (path, expect) in [
        ("/api/v1/logs?start=yesterdayish", StatusCode::BAD_REQUEST),
        ("/api/v1/logs?start=now&end=now-1h", StatusCode::BAD_REQUEST),
        ("/api/v1/logs?limit=0", StatusCode::BAD_REQUEST),
        ("/api/v1/logs?cursor=x", StatusCode::BAD_REQUEST),
        (
            "/api/v1/traces?query=duration:%3E5",
            StatusCode::BAD_REQUEST,
        ),
        ("/api/v1/traces/zz", StatusCode::NOT_FOUND),
        (&format!("/api/v1/traces/{TRACE}"), StatusCode::NOT_FOUND),
        (
            &format!("/api/v1/traces/{TRACE}/layout"),
            StatusCode::NOT_FOUND,
        ),
        ("/api/v1/logs/nothing/context", StatusCode::NOT_FOUND),
    ] {
        let (status, body) = fixture.json(path).await;
        assert_eq!(status, expect, "{path}");
        assert!(body["error"]["message"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn a_tail_streams_new_records_and_goes_on_after_the_last_id() {
    let mut fixture = Fixture::new();
    let response = fixture.get("/api/v1/logs/tail?query=failed").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let log = under_resource(|out| {
        write::fixed64_field(out, 1, START.0 + 1);
        write::message(out, 5, |out| {
            write::any_value(out, ValueRef::Str("it failed"))
        });
    });
    fixture.append(
        1,
        BatchChunk::Logs(LogChunk::parse(otlp(log)).expect("well-formed")),
    );
    let mut text = String::new();
    while !text.contains("it failed") {
        let frame = body.frame().await.expect("more").expect("no error");
        text.push_str(&String::from_utf8_lossy(&frame.into_data().expect("data")));
    }
    assert!(text.contains("event: records\nid: "), "{text}");
    assert!(text.contains(r#""skipped":0"#), "{text}");
}

#[test]
fn times_are_read_in_every_form() {
    let now = Timestamp(1_700_000_000_000_000_000);
    for text in [
        "1700000000",
        "1700000000.0",
        "1700000000000",
        "1700000000000000",
        "1700000000000000000",
        "now",
        "2023-11-14T22:13:20Z",
        "2023-11-14T23:13:20+01:00",
        "2023-11-14T23:13:20 01:00",
    ] {
        assert_eq!(read_time(text, now), Some(now), "{text}");
    }
    assert_eq!(
        read_time("now-1h30m", now),
        Some(now.saturating_sub(5400 * SECOND))
    );
    for text in [
        "",
        "now-",
        "now*2",
        "-5",
        "tomorrow",
        "NaN",
        "99999999999999999999",
    ] {
        assert_eq!(read_time(text, now), None, "{text}");
    }
    let params = Params::for_tests(&[("end", "1700000000")], now);
    assert_eq!(
        params.range().expect("a range").duration_ns(),
        3600 * SECOND
    );
}

async fn post(router: &axum::Router, path: &str, body: Value) -> (StatusCode, Value) {
    let request = Request::post(path)
        .header("host", "127.0.0.1:4300")
        .header("content-type", "application/json")
        .extension(Through {
            peer: "127.0.0.1:50000".parse().expect("an address"),
            bound: "127.0.0.1".parse().expect("an address"),
        })
        .body(Body::from(body.to_string()))
        .expect("a request");
    let response = router.clone().oneshot(request).await;
    let response = response.expect("handlers do not fail");
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body");
    let value = serde_json::from_slice(&body.to_bytes());
    (status, value.expect("JSON"))
}

#[tokio::test]
async fn deletions_hide_at_once_and_show_no_value() {
    let clock = Clock::Set(Arc::new(AtomicU64::new(START.0)));
    let app = Arc::new(App::for_tests(Settings::default(), clock));
    let router = router::everything(&app).finish();
    let fixture = Fixture {
        router: router.clone(),
        opened: open(config(), sim(&World::new()), START).expect("the disk is good"),
    };
    let record = |user: &str| {
        json!({
            "timeUnixNano": (START.0 - SECOND).to_string(),
            "body": {"stringValue": "signed in"},
            "attributes": [{"key": "user.id", "value": {"stringValue": user}}],
        })
    };
    let records = [record("anna-4711"), record("bert-0815")];
    let logs = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]});
    assert_eq!(post(&router, "/v1/logs", logs).await.0, StatusCode::OK);
    let users = async || {
        let (_, page) = fixture.json("/api/v1/logs").await;
        let records = page["records"].as_array().expect("records").clone();
        let user = |r: &Value| r["attributes"]["user.id"].as_str().unwrap_or("").to_owned();
        records.iter().map(user).collect::<Vec<_>>()
    };
    assert_eq!(users().await.len(), 2);

    let path = "/api/v1/deletes";
    let query = "user.id:anna-4711";
    let (status, counted) = post(&router, path, json!({"query": query, "dry_run": true})).await;
    assert_eq!(
        (status, &counted["matching"]["logs"]),
        (StatusCode::OK, &1.into())
    );
    assert_eq!(users().await.len(), 2, "only counted");
    let (status, made) = post(&router, path, json!({"query": query, "signal": "logs"})).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(
        (&made["state"], &made["signal"]),
        (&"hidden".into(), &"logs".into())
    );
    assert_eq!(users().await, ["bert-0815"]);
    let (_, histogram) = fixture.json("/api/v1/logs/histogram").await;
    assert_eq!(histogram["total"], 1);
    let (_, facets) = fixture.json("/api/v1/logs/facets?field=user.id").await;
    assert!(!facets.to_string().contains("anna"), "{facets}");
    let (_, listed) = fixture.json(path).await;
    assert_eq!(listed["deletes"][0]["query"], "user.id:?");
    assert!(!listed.to_string().contains("4711"));
    for bad in [
        json!({"query": ""}),
        json!({"query": "*"}),
        json!({"query": "a:", "signal": "logs"}),
        json!({"query": "a:b", "signal": "metrics"}),
        json!({"query": "a:b", "start": "now", "end": "now-1h"}),
        json!({"query": "a:b", "start": "yesterdayish"}),
        json!({"query": "a:b", "unknown": 1}),
    ] {
        let (status, body) = post(&router, path, bad.clone()).await;
        assert!(status.is_client_error(), "{bad}: {body}");
    }
}

#[test]
fn the_document_names_every_route() {
    let document: Value = serde_json::from_str(super::openapi::DOCUMENT).expect("JSON");
    let clock = Clock::Set(Arc::new(AtomicU64::new(START.0)));
    let app = Arc::new(App::for_tests(Settings::default(), clock));
    let routes = router::everything(&app);
    let own = routes.table.iter().map(|(_, path)| *path);
    let own: Vec<_> = own.filter(|path| path.starts_with("/api/v1/")).collect();
    let described = document["paths"].as_object().expect("paths");
    for path in &own {
        assert!(described.contains_key(*path), "{path} is not described");
    }
    assert_eq!(
        described.len(),
        own.len(),
        "the document names a route that is gone"
    );
}

/// Loss-free answers say as all others how far they go, beside the records.
#[tokio::test]
async fn otlp_answers_say_whether_they_are_whole() {
    let mut f = filled();
    let log = under_resource(|out| write::fixed64_field(out, 1, START.0 - 30 * SECOND));
    let chunk = LogChunk::parse(otlp(log)).expect("well-formed");
    f.append(3, BatchChunk::Logs(chunk));
    for (path, list) in [
        ("/api/v1/logs?format=otlp&start=0&limit=1", "resourceLogs"),
        (&format!("/api/v1/traces/{TRACE}"), "resourceSpans"),
        ("/api/v1/logs?format=otlp&start=0&end=1", ""),
    ] {
        let (status, answer) = f.json(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(answer["stats"]["truncated"], false, "{path}: {answer}");
        assert!(answer.get("next").is_some(), "{path}: {answer}");
        assert_eq!(
            answer[list].is_array(),
            !list.is_empty(),
            "{path}: {answer}"
        );
    }
    let (_, first) = f.json("/api/v1/logs?format=otlp&start=0&limit=1").await;
    let next = first["next"].as_str().expect("there are two");
    let path = format!("/api/v1/logs?format=otlp&start=0&limit=1&cursor={next}");
    let (_, second) = f.json(&path).await;
    assert_ne!(first["resourceLogs"], second["resourceLogs"]);
    assert_eq!(second["resourceLogs"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_tail_that_can_never_work_is_refused_at_once() {
    let f = Fixture::new();
    let (status, answer) = f
        .json("/api/v1/logs/tail?query=%2Fa%7B1000%7D%7B1000%7D%2F")
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let (status, _) = f.json("/api/v1/logs/tail?query=a:(").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

/// What the framework refuses by itself comes in our form too.
#[tokio::test]
async fn bad_requests_of_every_kind_are_told_in_one_form() {
    let f = Fixture::new();
    for (path, status) in [
        ("/api/v1/logs/%ff/context", StatusCode::BAD_REQUEST),
        ("/api/v1/traces/%ff", StatusCode::BAD_REQUEST),
        ("/loki/api/v1/label/%ff/values", StatusCode::BAD_REQUEST),
        ("/api/v1/queries/7", StatusCode::METHOD_NOT_ALLOWED),
        ("/api/v1/users", StatusCode::METHOD_NOT_ALLOWED),
        ("/api/v1/logs?format=xml", StatusCode::BAD_REQUEST),
        ("/api/v1/nothing", StatusCode::NOT_FOUND),
    ] {
        let (found, answer) = f.json(path).await;
        assert_eq!(found, status, "{path}");
        let error = &answer["error"];
        assert!(error["message"].is_string(), "{path}: {answer}");
        assert!(error["request_id"].is_string(), "{path}: {answer}");
    }
    let response = f.get("/api/v1/users").await;
    assert_eq!(response.headers()["allow"], "POST");
}
