//! `DELETE /api/v1/images/{reference}`.

use axum::extract::State;
use axum::http::StatusCode;

use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::error::ApiResult;
use crate::http::extract::query::flag;
use crate::http::extract::{ApiPath, ApiQuery, IfMatch};
use crate::http::state::AppState;

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct DeleteImageParams {
    /// Also when containers use it: then its names go, and the nameless image stays for them until a prune finds it unused.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    force: bool,
}

/// Delete an image, or one of its names.
///
/// By a reference that is one of several only that name goes; by the last one, by digest or by id, the image itself, which nothing may use.
#[utoipa::path(delete, path = "/api/v1/images/{reference}", operation_id = "deleteImage", tag = "images", security(("token" = ["admin"])),
    params(DeleteImageParams, ("reference" = String, Path, description = "A reference (`busybox:latest`), an id, or a unique beginning of its digits of 8 or more"),
           ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    responses((status = 204, description = "Deleted"), (status = 409, description = "Something uses it"),
        (status = 412, description = "It has changed since it was read")))]
pub async fn delete_image(
    State(state): State<AppState>,
    ApiPath(reference): ApiPath<String>,
    ApiQuery(params): ApiQuery<DeleteImageParams>,
    if_match: IfMatch,
) -> ApiResult<StatusCode> {
    if_match.check(&state.store.image(&reference)?.version.to_string())?;
    state.images.delete(&reference, params.force).await?;
    Ok(StatusCode::NO_CONTENT)
}
