//! `/api/v1/suggest`: completions for the query bar.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Params;
use crate::model::Signal;
use crate::query::Suggestion;
use crate::serve::error::Failure;
use crate::serve::state::Shared;

/// `GET /api/v1/suggest`: `at` counts characters, as carets do in browsers' text.
pub(crate) async fn list(
    State(app): State<Shared>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let text = params.text("query").to_owned();
    let signal = match params.get("signal") {
        None | Some("logs") => Signal::Logs,
        Some("traces") => Signal::Traces,
        Some(other) => {
            let message = format!("signal: {other:?} is neither \"logs\" nor \"traces\"");
            return Err(Failure::bad_request("bad_parameter", message));
        }
    };
    let characters = text.chars().count();
    let at = params.parsed("at", |text| text.parse::<usize>().ok())?;
    let at = byte_offset(&text, at.unwrap_or(characters).min(characters));
    let range = params.range()?;
    let found = app
        .ask("suggest", {
            let text = text.clone();
            move |engine, control| engine.suggest(signal, &text, at, range, control)
        })
        .await?;
    let suggestion = |found: &Suggestion| {
        let column = |byte: usize| text[..byte].chars().count();
        json!({
            "insert": found.insert,
            "label": found.label,
            "kind": found.kind.name(),
            "count": found.count,
            "replace": [column(found.replace.start), column(found.replace.end)],
        })
    };
    Ok(Json(json!({
        "suggestions": found.iter().map(suggestion).collect::<Vec<_>>(),
    })))
}

fn byte_offset(text: &str, characters: usize) -> usize {
    let mut places = text.char_indices().map(|(at, _)| at);
    places.nth(characters).unwrap_or(text.len())
}
