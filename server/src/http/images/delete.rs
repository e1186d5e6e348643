//! `DELETE /api/v1/images/{reference}`.

use axum::extract::State;
use axum::http::StatusCode;

use crate::http::error::ApiResult;
use crate::http::extract::ApiPath;
use crate::http::state::AppState;

/// Delete an image, or one of its names.
///
/// By a reference that is one of several only that name goes; by the last one, or by id, the image itself, which nothing may use.
#[utoipa::path(delete, path = "/api/v1/images/{reference}", operation_id = "deleteImage", tag = "images", security(("token" = ["admin"])),
    params(("reference" = String, Path, description = "A reference (`busybox:latest`), an id, or a unique beginning of its digits of 8 or more")),
    responses((status = 204, description = "Deleted"), (status = 409, description = "Something uses it")))]
pub async fn delete_image(State(state): State<AppState>, ApiPath(reference): ApiPath<String>) -> ApiResult<StatusCode> {
    state.images.delete(&reference).await?;
    Ok(StatusCode::NO_CONTENT)
}
