//! `DELETE /api/v1/volumes/{name}`.

use axum::extract::State;
use axum::http::StatusCode;

use crate::http::error::ApiResult;
use crate::http::extract::ApiPath;
use crate::http::state::AppState;

/// Delete a volume and everything in it.
#[utoipa::path(delete, path = "/api/v1/volumes/{name}", operation_id = "deleteVolume", tag = "volumes", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    responses((status = 204, description = "Deleted"), (status = 409, description = "Something uses it")))]
pub async fn delete_volume(State(state): State<AppState>, ApiPath(name): ApiPath<String>) -> ApiResult<StatusCode> {
    let record = state.store.volume(&name)?;
    state.reconciler.remove_volume(&record.meta.name).await?;
    Ok(StatusCode::NO_CONTENT)
}
