//! `POST /api/v1/containers/{name}/stop` and `…/restart`.

use axum::extract::State;
use axum::http::StatusCode;

use super::{StopInput, check_grace};
use crate::http::error::ApiResult;
use crate::http::extract::{ApiPath, OptionalJson};
use crate::http::state::AppState;

/// Stop a container.
///
/// Sends the stop signal, and SIGKILL to everything in it after the grace period; answers when it has ended. Stopping what is stopped is no
/// error.
#[utoipa::path(post, path = "/api/v1/containers/{name}/stop", operation_id = "stopContainer", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    request_body(content = Option<StopInput>, description = "May be left out"),
    responses((status = 204, description = "It does not run"), (status = 504, description = "It takes long, and is still being tried")))]
pub async fn stop_container(
    State(state): State<AppState>,
    ApiPath(name): ApiPath<String>,
    OptionalJson(input): OptionalJson<StopInput>,
) -> ApiResult<StatusCode> {
    check_grace("/gracePeriodSeconds", input.grace_period_seconds)?;
    let record = state.store.container(&name)?;
    state.reconciler.stop(&record.uid, input.into()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stop a container if it runs, and start it.
#[utoipa::path(post, path = "/api/v1/containers/{name}/restart", operation_id = "restartContainer", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    request_body(content = Option<StopInput>, description = "May be left out"),
    responses((status = 204, description = "It runs anew"), (status = 504, description = "It takes long, and is still being tried")))]
pub async fn restart_container(
    State(state): State<AppState>,
    ApiPath(name): ApiPath<String>,
    OptionalJson(input): OptionalJson<StopInput>,
) -> ApiResult<StatusCode> {
    check_grace("/gracePeriodSeconds", input.grace_period_seconds)?;
    let record = state.store.container(&name)?;
    state.reconciler.restart(&record.uid, input.into()).await?;
    Ok(StatusCode::NO_CONTENT)
}
