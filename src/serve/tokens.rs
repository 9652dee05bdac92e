//! `/api/v1/tokens` and `/api/v1/users`: what the settings page and the command line do with access.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::access::{AccessError, LoginError, Scopes};
use super::error::Failure;
use super::state::Shared;
use crate::store::meta::TokenRow;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedToken {
    name: String,
    /// Comma-separated: ingest, read, admin.
    scope: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedUser {
    name: String,
    password: String,
}

#[derive(Serialize)]
struct TokenView {
    id: String,
    name: String,
    scope: String,
    /// Epoch ns, as text because JSON numbers end at 2^53.
    created: String,
    /// Only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl TokenView {
    fn new(row: TokenRow, token: Option<String>) -> TokenView {
        let scope = Scopes::from_bits(row.scopes).to_string();
        TokenView {
            id: row.id,
            name: row.name,
            scope,
            created: row.created_ns.to_string(),
            token,
        }
    }
}

/// `GET /api/v1/tokens`.
pub(crate) async fn list(State(app): State<Shared>) -> Response {
    let tokens: Vec<TokenView> = app
        .access
        .tokens()
        .into_iter()
        .map(|row| TokenView::new(row, None))
        .collect();
    Json(serde_json::json!({ "tokens": tokens })).into_response()
}

/// `POST /api/v1/tokens`: the only time the token itself is shown.
pub(crate) async fn create(
    State(app): State<Shared>,
    wanted: Result<Json<WantedToken>, JsonRejection>,
) -> Result<Response, Failure> {
    let Json(wanted) = wanted?;
    let scopes: Scopes = wanted
        .scope
        .parse()
        .map_err(|message: String| Failure::bad_request("bad_scope", message))?;
    let made = app
        .access
        .create_token(&wanted.name, scopes, app.clock.now())
        .await?;
    let view = TokenView::new(made.row, Some(made.secret));
    Ok((
        StatusCode::CREATED,
        [(header::CACHE_CONTROL, "no-store")],
        Json(view),
    )
        .into_response())
}

/// `DELETE /api/v1/tokens/{id}`: refused from the next request on.
pub(crate) async fn revoke(
    State(app): State<Shared>,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    match app.access.revoke_token(&id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Failure::not_found(format!("no token {id:?}"))),
    }
}

/// `POST /api/v1/users`: a new account, or a new password of an old one.
pub(crate) async fn add_user(
    State(app): State<Shared>,
    wanted: Result<Json<WantedUser>, JsonRejection>,
) -> Result<StatusCode, Failure> {
    let Json(wanted) = wanted?;
    app.access
        .add_user(&wanted.name, wanted.password, app.clock.now())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<AccessError> for Failure {
    fn from(e: AccessError) -> Self {
        match e {
            AccessError::Invalid(message) => Failure::bad_request("invalid", message),
            AccessError::Meta(e) => Failure::internal("tokens not read or written", &e),
        }
    }
}

impl From<LoginError> for Failure {
    fn from(e: LoginError) -> Self {
        let text = e.to_string();
        match e {
            LoginError::Wrong => Failure::new(StatusCode::UNAUTHORIZED, "wrong_password", text),
            LoginError::Wait { seconds } => Failure::busy(text, seconds),
            LoginError::Busy { seconds } => {
                Failure::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text).retry_after(seconds)
            }
            LoginError::SetupOver => Failure::new(StatusCode::GONE, "setup_over", text)
                .hint("restart the server for a new one"),
            LoginError::Invalid(message) => Failure::bad_request("invalid", message),
            LoginError::Meta(e) => Failure::internal("accounts not read or written", &e),
        }
    }
}
