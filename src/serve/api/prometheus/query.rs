//! `query`, `query_range`, `query_exemplars`, `format_query`.

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::form::Form;
use super::{Reply, ask_series, bad_data, bad_parameter, encode, failed};
use crate::model::metric::{Exemplar, Labels, Matcher, Millis};
use crate::query::promql::ast::{Expr, Kind, Type};
use crate::query::promql::eval::{self, Answer, Answered, LOOKBACK_DEFAULT, Params};
use crate::query::promql::source::SeriesSource;
use crate::query::promql::{parse, print, return_type};
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// Points of one series in an answer (Prometheus has the same bound).
const POINTS_MAX: i64 = 11_000;

/// `GET` and `POST /prometheus/api/v1/query`.
pub(crate) async fn instant(State(app): State<Shared>, form: Form) -> Result<Response, Failure> {
    let limit = form.limit()?;
    let at = form.time_or("time", form.now)?;
    let expr = expression(&form)?;
    let params = Params {
        lookback: lookback(&form)?,
        ..Params::instant(at)
    };
    run(&app, &form, expr, params, limit).await
}

/// `GET` and `POST /prometheus/api/v1/query_range`.
pub(crate) async fn range(State(app): State<Shared>, form: Form) -> Result<Response, Failure> {
    let limit = form.limit()?;
    let (first, last) = (form.time("start")?, form.time("end")?);
    if last < first {
        let why = "end timestamp must not be before start time";
        return Err(bad_parameter("end", why));
    }
    let step = form
        .duration("step")
        .map_err(|e| bad_parameter("step", e))?;
    if step <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(bad_parameter("step", why));
    }
    if last.saturating_sub(first) / step > POINTS_MAX {
        return Err(bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    let expr = expression(&form)?;
    let kind = return_type(&expr);
    if !matches!(kind, Type::Scalar | Type::Vector) {
        let kind = print::quote(kind.documented());
        let why = format!(
            "invalid expression type {kind} for range query, must be Scalar or instant Vector"
        );
        return Err(bad_parameter("query", why));
    }
    let params = Params {
        lookback: lookback(&form)?,
        ..Params::range(first, last, step)
    };
    run(&app, &form, expr, params, limit).await
}

fn expression(form: &Form) -> Result<Expr, Failure> {
    parse(form.text("query")).map_err(|error| bad_parameter("query", error))
}

fn lookback(form: &Form) -> Result<i64, Failure> {
    if form.text("lookback_delta").is_empty() {
        return Ok(LOOKBACK_DEFAULT);
    }
    let given = form.duration("lookback_delta");
    let given =
        given.map_err(|why| bad_data(format!("error parsing lookback delta duration: {why}")))?;
    Ok(if given > 0 { given } else { LOOKBACK_DEFAULT })
}

async fn run(
    app: &Shared,
    form: &Form,
    expr: Expr,
    params: Params,
    limit: Option<usize>,
) -> Result<Response, Failure> {
    let mut time = None;
    if !form.text("timeout").is_empty() {
        let given = form.duration("timeout");
        let given = given.map_err(|why| bad_parameter("timeout", why))?;
        time = Some(Duration::from_millis(u64::try_from(given).unwrap_or(0)));
    }
    let text = form.text("query").to_owned();
    let answered = app
        .ask_within(form.text("query"), time, move |engine, control| {
            let series = engine.series();
            let params = Params {
                samples_max: control.samples_max(),
                ..params
            };
            let answer = eval::evaluate(series.as_ref(), &expr, &text, &params, control);
            Ok(answer.map(|answer| (answer, control.stats(None, 1.0).elapsed)))
        })
        .await?;
    let (mut answer, elapsed) = answered.map_err(|error| failed(&error))?;
    let truncated = limit.is_some_and(|limit| truncate(&mut answer.value, limit));
    let mut data = String::from("{");
    encode::answer(&mut data, &answer.value);
    if !form.text("stats").is_empty() {
        data.push_str(",\"stats\":");
        stats(&mut data, &answer, elapsed, form.text("stats") == "all");
    }
    data.push('}');
    let reply = Reply {
        data,
        warnings: answer.warnings,
        infos: answer.infos,
    };
    Ok(reply.truncated(truncated).into_response())
}

/// Cuts a vector or matrix; whether something was cut off.
fn truncate(value: &mut Answered, limit: usize) -> bool {
    match value {
        Answered::Vector(points) if points.len() > limit => points.truncate(limit),
        Answered::Matrix(series) if series.len() > limit => series.truncate(limit),
        _ => return false,
    }
    true
}

/// Only what is measured: no time of a phase that does not exist here.
fn stats(out: &mut String, answer: &Answer, elapsed: Duration, all: bool) {
    let seconds = elapsed.as_secs_f64();
    _ = write!(
        out,
        "{{\"timings\":{{\"evalTotalTime\":{seconds},\"execTotalTime\":{seconds}}},\"samples\":{{"
    );
    if all {
        out.push_str("\"totalQueryableSamplesPerStep\":[],");
    }
    _ = write!(out, "\"totalQueryableSamples\":{}}}}}", answer.samples_read);
}

/// `GET` and `POST /prometheus/api/v1/format_query`.
pub(crate) async fn format(form: Form) -> Result<Response, Failure> {
    let mut data = String::new();
    encode::string(&mut data, &expression(&form)?.to_string());
    Ok(Reply::of(data).into_response())
}

/// `GET` and `POST /prometheus/api/v1/query_exemplars`.
pub(crate) async fn exemplars(State(app): State<Shared>, form: Form) -> Result<Response, Failure> {
    let range = form.range()?;
    if range.last < range.first {
        return Err(bad_data("end timestamp must not be before start timestamp"));
    }
    let expr = parse(form.text("query")).map_err(|error| bad_data(error.to_string()))?;
    let mut selectors = Vec::new();
    collect_selectors(&expr, &mut selectors);
    let found = ask_series(&app, form.text("query"), move |source| {
        found_exemplars(source, &selectors, range)
    });
    let mut data = String::new();
    encode::list(&mut data, &found.await?, |out, (labels, exemplars)| {
        encode::exemplars(out, labels, exemplars);
    });
    Ok(Reply::of(data).into_response())
}

type OfSeries = Vec<(Labels, Vec<Exemplar>)>;

/// By series, each once.
fn found_exemplars(
    source: &dyn SeriesSource,
    selectors: &[Vec<Matcher>],
    range: Millis,
) -> Result<OfSeries, crate::query::promql::source::SourceError> {
    let mut found = OfSeries::new();
    for matchers in selectors {
        found.extend(source.exemplars(matchers, range)?);
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.dedup_by(|a, b| a.0 == b.0);
    Ok(found)
}

fn collect_selectors(expr: &Expr, into: &mut Vec<Vec<Matcher>>) {
    match &expr.kind {
        Kind::Number(_) | Kind::String(_) => {}
        Kind::Paren(inner) | Kind::Negate(inner) => collect_selectors(inner, into),
        Kind::Binary(binary) => {
            collect_selectors(&binary.left, into);
            collect_selectors(&binary.right, into);
        }
        Kind::Aggregate(aggregate) => {
            let parameter = aggregate.parameter.iter();
            for expr in parameter.chain([&aggregate.expr]) {
                collect_selectors(expr, into);
            }
        }
        Kind::Call(call) => call
            .args
            .iter()
            .for_each(|arg| collect_selectors(arg, into)),
        Kind::Vector(selector) | Kind::Matrix(selector, _) => into.push(selector.matchers.clone()),
        Kind::Subquery(subquery) => collect_selectors(&subquery.expr, into),
    }
}
