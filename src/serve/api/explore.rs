//! `/api/v1/explore`: the points of the explorer's chart, thinned to what a screen shows;
//! `/api/v1/suggest/promql`: completions for its box.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Params;
use crate::model::metric::Millis;
use crate::query::QueryError;
use crate::query::explore::plot::{Plot, name_of};
use crate::query::explore::suggest::{Completion, suggest};
use crate::query::explore::thin;
use crate::serve::error::Failure;
use crate::serve::pages::explore::ask::Asked;
use crate::serve::pages::explore::{legend, letter, table};
use crate::serve::request::PageRequest;
use crate::serve::state::Shared;

/// Points of one series in an answer: two for each pixel of a wide chart hide nothing.
const POINTS_MAX: usize = 1_200;

/// Points of all series in an answer: 2 MB of JSON, less than half a megabyte on the wire.
const POINTS_ALL_MAX: usize = 200_000;

/// `GET /api/v1/explore`.
pub(crate) async fn points(
    State(app): State<Shared>,
    request: PageRequest,
) -> Result<Json<Value>, Failure> {
    let asked = Asked::of(&request);
    if let Some(error) = &request.range_error {
        return Err(Failure::bad_request("bad_range", error.to_string()));
    }
    let what = asked.texts.join(" ; ");
    let (plot, asked) = app
        .ask(&what, move |engine, control| {
            Ok((asked.run(engine, control), asked))
        })
        .await?;
    let plot = plot.map_err(|why| Failure::bad_request("bad_step", why))?;
    Ok(Json(answer(&plot, &asked)))
}

fn answer(plot: &Plot, asked: &Asked) -> Value {
    let each = (POINTS_ALL_MAX / plot.lines.len().max(1)).clamp(2, POINTS_MAX);
    let grid = plot.grid;
    let bucket = thin::bucket(grid.steps, each);
    let series = plot.lines.iter().map(|line| {
        let text = plot.outcomes.get(line.of).map_or("", |o| o.text.as_str());
        let name = name_of(&line.labels, text);
        // JSON has no NaN and no infinity: they are gaps, which is what a chart makes of them.
        let values = thin::extremes(&line.values, bucket);
        let values: Vec<Option<f64>> = values
            .into_iter()
            .map(|v| v.is_finite().then_some(v))
            .collect();
        json!({
            "expression": line.of,
            "id": legend::id(letter(line.of), &name),
            "name": name,
            "values": values,
        })
    });
    let exemplars = plot.examples.iter().map(|example| {
        json!({
            "at": example.exemplar.at as f64 / 1e3,
            "value": example.exemplar.value.is_finite().then_some(example.exemplar.value),
            "trace_id": table::trace_of(&example.exemplar),
            "series": example.labels.to_string(),
            "unit": example.unit.key(),
        })
    });
    let outcomes = plot.outcomes.iter().map(|outcome| {
        json!({
            "query": outcome.text,
            "series": outcome.series,
            "error": outcome.mistake.as_ref().map(ToString::to_string).or_else(|| outcome.problem.clone()),
            "notes": outcome.notes,
            "unit": outcome.unit.key(),
        })
    });
    let times = thin::times(grid.first, grid.step, grid.steps, bucket);
    json!({
        "start": asked.range.first as f64 / 1e3,
        "end": asked.range.last as f64 / 1e3,
        "step": grid.step as f64 / 1e3,
        "thinned": bucket > 1,
        "unit": plot.unit().key(),
        "times": times.iter().map(|at| *at as f64 / 1e3).collect::<Vec<_>>(),
        "series": series.collect::<Vec<_>>(),
        "series_total": plot.lines_total,
        "truncated": plot.lines_total > plot.lines.len(),
        "exemplars": exemplars.collect::<Vec<_>>(),
        "exemplars_total": plot.examples_total,
        "expressions": outcomes.collect::<Vec<_>>(),
    })
}

/// `GET /api/v1/suggest/promql`: `at` counts characters, as carets do in browsers' text.
pub(crate) async fn completions(
    State(app): State<Shared>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let text = params.text("query").to_owned();
    let characters = text.chars().count();
    let at = params.parsed("at", |text| text.parse::<usize>().ok())?;
    let at = at.unwrap_or(characters).min(characters);
    let at = text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
    let range = params.range()?;
    let range = Millis {
        first: (range.start().0 / 1_000_000) as i64,
        last: (range.end().0 / 1_000_000) as i64,
    };
    let found = app
        .ask("suggest", {
            let text = text.clone();
            move |engine, _| {
                let source = engine.series();
                suggest(source.as_ref(), &text, at, range).map_err(|e| QueryError::Store(e.0))
            }
        })
        .await?;
    let column = |byte: usize| text[..byte].chars().count();
    let one = |found: &Completion| {
        json!({
            "insert": found.insert,
            "label": found.label,
            "kind": found.sort.name(),
            "detail": found.detail,
            "help": found.help,
            "series": found.series,
            "replace": [column(found.replace.start), column(found.replace.end)],
        })
    };
    Ok(Json(
        json!({ "suggestions": found.iter().map(one).collect::<Vec<_>>() }),
    ))
}
