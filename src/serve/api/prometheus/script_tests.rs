//! The scripts of the PromQL test language against the whole server: samples go through the store,
//! queries through the router and its JSON.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde_json::Value as Json;

use super::tests::{answer_of, request};
use crate::config::Settings;
use crate::model::metric::{self, Labels, Sample, Samples, Value};
use crate::model::{ProjectId, Timestamp};
use crate::observe::Clock;
use crate::query::Engine;
use crate::query::promql::eval::{Answer, Answered, Params, Point, Series};
use crate::query::promql::promqltest::{self, Subject};
use crate::serve::router;
use crate::serve::state::App;
use crate::store::disk::sim::World;
use crate::store::fixture::{START, config, sim};
use crate::store::{MetricsBatch, Opened, open};

/// A server over a disk in memory that keeps samples of any age.
struct Server {
    opened: Opened,
    router: axum::Router,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    fn new() -> Server {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (opened, router) = runtime.block_on(async { fresh() });
        Server {
            opened,
            router,
            runtime,
        }
    }
}

fn fresh() -> (Opened, axum::Router) {
    let mut config = config();
    config.retention.metrics = None;
    let opened = open(config, sim(&World::new()), START).expect("the disk is good");
    let clock = Clock::Set(Arc::new(AtomicU64::new(START.0)));
    let mut app = App::for_tests(Settings::default(), clock);
    app.engine = Engine::new(opened.store.clone(), 4 << 20);
    (opened, router::everything(&Arc::new(app)).finish())
}

impl Subject for Server {
    fn clear(&mut self) {
        (self.opened, self.router) = self.runtime.block_on(async { fresh() });
    }

    fn load(&mut self, series: Vec<(Labels, Vec<Sample>)>) {
        let mut batch = metric::Batch::default();
        for (labels, samples) in series
            .into_iter()
            .filter(|(_, samples)| !samples.is_empty())
        {
            batch.series_of(&labels);
            for sample in samples {
                batch.sample(sample.at, sample.value);
            }
        }
        let request = MetricsBatch {
            project: ProjectId::DEFAULT,
            received: Timestamp(START.0),
            batch,
            key: 0,
            raw_bytes: 100,
        };
        let taken = self.opened.writer.append_metrics(&request);
        taken.expect("the store takes what a script loads");
    }

    fn evaluate(&self, text: &str, params: &Params) -> Result<Answer, String> {
        let seconds = |millis: i64| millis as f64 / 1000.0;
        let (path, times) = match params.is_instant() {
            true => ("query", format!("time={}", seconds(params.first))),
            false => (
                "query_range",
                format!(
                    "start={}&end={}&step={}",
                    seconds(params.first),
                    seconds(params.last),
                    seconds(params.step)
                ),
            ),
        };
        let query: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
        let form = request("POST", path, &format!("query={query}&{times}"));
        let (_, body) = self.runtime.block_on(answer_of(self.router.clone(), form));
        let body: Json = serde_json::from_str(&body).expect("JSON");
        if let Some(error) = body["error"].as_str() {
            let prefix = "invalid parameter \"query\": ";
            return Err(error.strip_prefix(prefix).unwrap_or(error).to_owned());
        }
        Ok(Answer {
            value: answered(&body["data"]),
            warnings: texts(&body["warnings"]),
            infos: texts(&body["infos"]),
            samples_read: 0,
        })
    }

    fn name(&self) -> &'static str {
        "server/"
    }

    fn tells_histograms(&self) -> bool {
        false
    }
}

fn items(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn texts(value: &Json) -> Vec<String> {
    let texts = items(value).iter().filter_map(Json::as_str);
    texts.map(str::to_owned).collect()
}

/// Time and text of `[1.5,"2"]`.
fn pair(value: &Json) -> (i64, String) {
    let at = value[0].as_f64().expect("a time") * 1000.0;
    let text = value[1].as_str().expect("a text").to_owned();
    (at.round() as i64, text)
}

fn sample(value: &Json) -> (i64, f64) {
    let (at, text) = pair(value);
    (at, text.parse().expect("a number"))
}

fn labels(value: &Json) -> Labels {
    let pairs = value.as_object().expect("labels").iter();
    Labels::of(pairs.map(|(name, value)| (name, value.as_str().expect("a label"))))
}

fn answered(data: &Json) -> Answered {
    let result = &data["result"];
    match data["resultType"].as_str().expect("a type") {
        "scalar" => {
            let (at, value) = sample(result);
            Answered::Scalar { at, value }
        }
        "string" => {
            let (at, value) = pair(result);
            Answered::String { at, value }
        }
        "vector" => {
            // What a script expects of histograms is left out: their answer tells no schema.
            let floats = items(result).iter().filter(|row| row["value"].is_array());
            let point = |row: &Json| {
                let (at, value) = sample(&row["value"]);
                Point {
                    labels: labels(&row["metric"]),
                    at,
                    value: Value::Float(value),
                }
            };
            Answered::Vector(floats.map(point).collect())
        }
        _ => {
            let series = |row: &Json| {
                let (times, floats) = items(&row["values"]).iter().map(sample).unzip();
                Series {
                    labels: labels(&row["metric"]),
                    samples: Samples {
                        times,
                        floats,
                        ..Samples::default()
                    },
                }
            };
            Answered::Matrix(items(result).iter().map(series).collect())
        }
    }
}

#[test]
fn the_server_passes_our_scripts() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promql");
    promqltest::check(&dir, &mut Server::new());
}

#[test]
fn the_server_passes_prometheus_scripts() {
    match promqltest::upstream() {
        Some(dir) => promqltest::check(&dir, &mut Server::new()),
        None => println!("Prometheus' own scripts are not here: nothing to run"),
    }
}
