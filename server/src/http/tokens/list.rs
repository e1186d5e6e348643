//! `GET /api/v1/tokens` and `GET /api/v1/tokens/{name}`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::http::error::ApiResult;
use crate::http::extract::{ApiPath, ApiQuery};
use crate::http::list::{self, List, ListParams};
use crate::http::state::AppState;
use crate::model::Token;

/// The tokens, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", operation_id = "listTokens", tag = "tokens", security(("token" = ["admin"])),
    params(ListParams), responses((status = 200, description = "The tokens", body = List<Token>)))]
pub async fn list_tokens(State(state): State<AppState>, ApiQuery(params): ApiQuery<ListParams>) -> ApiResult<Response> {
    let query = params.query()?;
    let tokens = state.store.tokens().into_iter().filter(|token| query.selector.matches(&token.meta.labels)).collect();
    let (tokens, meta) = list::page(tokens, &query, state.store.resource_version(), |token| &token.meta.name)?;
    let items = tokens.iter().map(|token| list::json(&token.to_model())).collect::<ApiResult<Vec<_>>>()?;
    // When one was used last changes without a new version.
    Ok(list::respond(&HeaderMap::new(), &items, &meta))
}

/// One token, without its secret.
#[utoipa::path(get, path = "/api/v1/tokens/{name}", operation_id = "getToken", tag = "tokens", security(("token" = ["admin"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")), responses((status = 200, description = "The token", body = Token)))]
pub async fn get_token(State(state): State<AppState>, ApiPath(name): ApiPath<String>) -> ApiResult<Response> {
    let token = state.store.token(&name)?;
    Ok(list::one_anew(&list::json(&token.to_model())?, &token.meta.resource_version))
}
