//! `/api/v1/logs/facets` and `/api/v1/traces/facets`: which fields matching records have, and how
//! often which values.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Params;
use super::json as print;
use crate::model::Signal;
use crate::query::Facets;
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// `GET /api/v1/logs/facets`.
pub(crate) async fn logs(app: State<Shared>, params: Params) -> Result<Json<Value>, Failure> {
    answer(app, params, Signal::Logs).await
}

/// `GET /api/v1/traces/facets`.
pub(crate) async fn traces(app: State<Shared>, params: Params) -> Result<Json<Value>, Failure> {
    answer(app, params, Signal::Traces).await
}

async fn answer(
    State(app): State<Shared>,
    params: Params,
    signal: Signal,
) -> Result<Json<Value>, Failure> {
    let (query, range) = (params.query()?, params.range()?);
    let field = params.get("field").map(str::to_owned);
    let found = app
        .ask(params.text("query"), move |engine, control| {
            let field = field.as_deref();
            match signal {
                Signal::Logs => engine.log_facets(&query, range, field, control),
                Signal::Traces => engine.span_facets(&query, range, field, control),
                Signal::Metrics => Ok(Facets::default()),
            }
        })
        .await?;
    Ok(Json(print_facets(&found)))
}

fn print_facets(found: &Facets) -> Value {
    let fields = found.fields.iter().map(|facet| {
        let values = facet.values.iter();
        json!({
            "name": facet.name,
            "coverage": facet.coverage,
            "values": values
                .map(|v| json!({ "value": v.value, "count": v.count }))
                .collect::<Vec<_>>(),
            "more": facet.more,
            "min": facet.numbers.map(|(least, _)| least),
            "max": facet.numbers.map(|(_, most)| most),
        })
    });
    json!({
        "fields": fields.collect::<Vec<_>>(),
        "records": found.records,
        "approximate": found.approximate,
        "stats": print::stats(&found.stats),
    })
}
