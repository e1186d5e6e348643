//! `DELETE /api/v1/volumes/{name}`.

use axum::extract::State;
use axum::http::StatusCode;

use crate::http::error::ApiResult;
use crate::http::extract::{ApiPath, IfMatch};
use crate::http::state::AppState;

/// Delete a volume and everything in it.
#[utoipa::path(delete, path = "/api/v1/volumes/{name}", operation_id = "deleteVolume", tag = "volumes", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more"),
           ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    responses((status = 204, description = "Deleted"), (status = 409, description = "Something uses it"),
        (status = 412, description = "It has changed since it was read")))]
pub async fn delete_volume(State(state): State<AppState>, ApiPath(name): ApiPath<String>, if_match: IfMatch) -> ApiResult<StatusCode> {
    let record = state.store.volume(&name)?;
    if_match.check(&record.meta.resource_version)?;
    state.reconciler.remove_volume(&record.meta.name).await?;
    Ok(StatusCode::NO_CONTENT)
}
