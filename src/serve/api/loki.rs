//! Loki's two calls that Grafana's data source and log shippers probe with: label names and values.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::Params;
use crate::model::TimeRange;
use crate::query::lang::Expr;
use crate::query::{Facet, Facets};
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// `GET /loki/api/v1/labels`.
pub(crate) async fn labels(
    State(app): State<Shared>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let found = facets(&app, params.range()?, None).await?;
    let mut names: Vec<String> = found
        .fields
        .into_iter()
        .map(|facet| label(&facet.name))
        .collect();
    names.sort_unstable();
    names.dedup();
    Ok(Json(json!({ "status": "success", "data": names })))
}

/// `GET /loki/api/v1/label/{name}/values`.
pub(crate) async fn values(
    State(app): State<Shared>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let range = params.range()?;
    let all = facets(&app, range, None).await?;
    let is_named = |facet: &&Facet| label(&facet.name) == name;
    let Some(field) = all
        .fields
        .iter()
        .find(is_named)
        .map(|facet| facet.name.clone())
    else {
        return Ok(Json(json!({ "status": "success", "data": [] })));
    };
    let found = facets(&app, range, Some(field)).await?;
    let values = found.fields.into_iter().flat_map(|facet| facet.values);
    let mut values: Vec<String> = values.map(|value| value.value).collect();
    values.sort_unstable();
    Ok(Json(json!({ "status": "success", "data": values })))
}

async fn facets(app: &Shared, range: TimeRange, field: Option<String>) -> Result<Facets, Failure> {
    app.ask("labels", move |engine, control| {
        engine.log_facets(&Expr::All, range, field.as_deref(), control)
    })
    .await
}

/// Label names have no dots; Loki's own OTLP endpoint writes underscores, and `service_name`.
fn label(field: &str) -> String {
    let name = match field {
        "service" => "service_name",
        "severity" => "level",
        other => other,
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(plain).collect()
}
