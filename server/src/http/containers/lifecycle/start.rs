//! `POST /api/v1/containers/{name}/start`.

use axum::extract::State;
use axum::http::StatusCode;

use super::Nothing;
use crate::http::error::ApiResult;
use crate::http::extract::{ApiPath, OptionalJson};
use crate::http::state::AppState;

/// Start a container.
///
/// Answers when its program's `execve` has succeeded; or with the step that failed, the system call, what it was done to, and the errno. The
/// status then says the same, with exit code 127 for a program that does not exist and 126 for one that cannot be executed. Starting
/// what runs is no error.
#[utoipa::path(post, path = "/api/v1/containers/{name}/start", operation_id = "startContainer", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    request_body(content = Option<Nothing>, description = "May be left out"),
    responses((status = 204, description = "It runs"), (status = 409, description = "It is paused, or what it joins does not run"), (status = 504, description = "It takes long, and is still being tried")))]
pub async fn start_container(
    State(state): State<AppState>,
    ApiPath(name): ApiPath<String>,
    _: OptionalJson<Nothing>,
) -> ApiResult<StatusCode> {
    let record = state.store.container(&name)?;
    state.reconciler.start(&record.uid).await?;
    Ok(StatusCode::NO_CONTENT)
}
