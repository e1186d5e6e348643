//! `DELETE /api/v1/tokens/{name}`.

use axum::extract::State;
use axum::http::StatusCode;

use crate::http::context;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::{ApiPath, IfMatch};
use crate::http::state::AppState;

/// Delete a token.
///
/// It ends at once: so do the browser sessions that began with it, and its open streams.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", operation_id = "deleteToken", tag = "tokens", security(("token" = ["admin"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more"),
           ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    responses((status = 204, description = "Deleted"), (status = 412, description = "It has changed since it was read")))]
pub async fn delete_token(State(state): State<AppState>, ApiPath(name): ApiPath<String>, if_match: IfMatch) -> ApiResult<StatusCode> {
    let token = state.store.token(&name)?;
    if_match.check(&token.meta.resource_version)?;
    let work = async move {
        state.store.remove_token(&token.meta.name).await?;
        state.registry.revoke(&token.meta.uid).await?;
        Ok(StatusCode::NO_CONTENT)
    };
    // A token that is gone, whose streams go on, would be worse than none.
    context::spawn(work).await.map_err(ApiError::internal)?
}
