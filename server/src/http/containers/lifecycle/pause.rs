//! `POST /api/v1/containers/{name}/pause` and `…/unpause`.

use axum::extract::State;
use axum::http::StatusCode;

use super::Nothing;
use crate::http::error::ApiResult;
use crate::http::extract::{ApiPath, OptionalJson};
use crate::http::state::AppState;

/// Freeze every process of a container.
#[utoipa::path(post, path = "/api/v1/containers/{name}/pause", operation_id = "pauseContainer", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    request_body(content = Option<Nothing>, description = "May be left out"),
    responses((status = 204, description = "It is frozen"), (status = 409, description = "It does not run, or is paused already")))]
pub async fn pause_container(
    State(state): State<AppState>,
    ApiPath(name): ApiPath<String>,
    _: OptionalJson<Nothing>,
) -> ApiResult<StatusCode> {
    let record = state.store.container(&name)?;
    state.reconciler.pause(&record.uid).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let a paused container go on.
#[utoipa::path(post, path = "/api/v1/containers/{name}/unpause", operation_id = "unpauseContainer", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    request_body(content = Option<Nothing>, description = "May be left out"),
    responses((status = 204, description = "It goes on"), (status = 409, description = "It is not paused")))]
pub async fn unpause_container(
    State(state): State<AppState>,
    ApiPath(name): ApiPath<String>,
    _: OptionalJson<Nothing>,
) -> ApiResult<StatusCode> {
    let record = state.store.container(&name)?;
    state.reconciler.unpause(&record.uid).await?;
    Ok(StatusCode::NO_CONTENT)
}
