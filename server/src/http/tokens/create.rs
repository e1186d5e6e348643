//! `POST /api/v1/tokens`.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::auth::Caller;
use crate::http::auth::secret::Secret;
use crate::http::error::ApiResult;
use crate::http::extract::ApiJson;
use crate::http::input::{self, MetadataInput};
use crate::http::state::AppState;
use crate::http::{list, login};
use crate::model::token::TokenSpec;
use crate::model::{Token, name};

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenInput {
    /// `Token`, or absent.
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    metadata: MetadataInput,
    spec: TokenSpec,
}

/// A token with its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedToken {
    #[serde(flatten)]
    token: Token,
    /// Shown this once: only a hash of it is kept.
    #[schema(example = "berth_…")]
    secret: String,
    /// Logs a browser in.
    login_url: String,
}

/// Make a token.
///
/// The answer is the only place where its secret is ever shown.
#[utoipa::path(post, path = "/api/v1/tokens", operation_id = "createToken", tag = "tokens", security(("token" = ["admin"])),
    request_body(content = TokenInput, example = json!({"metadata": {"name": "laptop"}, "spec": {"role": "operator"}})),
    responses((status = 201, description = "Made", body = CreatedToken, headers(("Location" = String, description = "Its address")))))]
pub async fn create_token(State(state): State<AppState>, caller: Caller, ApiJson(input): ApiJson<TokenInput>) -> ApiResult<Response> {
    let mut faults = input::kind_faults(input.kind.as_deref(), "Token");
    faults.extend(input.metadata.faults());
    input::check(faults)?;
    // Nobody hands out more than they have.
    caller.require(input.spec.role)?;
    let secret = Secret::token();
    let name = input.metadata.name.clone().unwrap_or_else(|| name::generate("token"));
    let MetadataInput { labels, annotations, .. } = input.metadata;
    let record = state.store.create_labelled_token(&name, input.spec.role, secret.hash().to_hex(), labels, annotations).await?;
    let created =
        CreatedToken { token: record.to_model(), secret: secret.reveal().to_owned(), login_url: login::link(state.config.listen, &secret) };
    Ok(list::created(format!("/api/v1/tokens/{name}"), &list::json(&created)?, &record.meta.resource_version))
}
