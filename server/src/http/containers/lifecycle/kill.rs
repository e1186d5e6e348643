//! `POST /api/v1/containers/{name}/kill`.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Signal;
use crate::http::error::ApiResult;
use crate::http::extract::{ApiPath, OptionalJson};
use crate::http::state::AppState;
use crate::model::signal::SIGKILL;

#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KillInput {
    /// A name, with or without `SIG`, or a number; SIGKILL when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "SIGHUP")]
    signal: Option<Signal>,
}

/// Send a signal to a container's first process.
///
/// SIGKILL goes to everything in the container, and the answer comes when it has ended.
#[utoipa::path(post, path = "/api/v1/containers/{name}/kill", operation_id = "killContainer", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    request_body(content = Option<KillInput>, description = "May be left out"),
    responses((status = 204, description = "The signal was sent"), (status = 409, description = "It does not run")))]
pub async fn kill_container(
    State(state): State<AppState>,
    ApiPath(name): ApiPath<String>,
    OptionalJson(input): OptionalJson<KillInput>,
) -> ApiResult<StatusCode> {
    let record = state.store.container(&name)?;
    state.reconciler.kill(&record.uid, input.signal.map_or(SIGKILL, |signal| signal.0)).await?;
    Ok(StatusCode::NO_CONTENT)
}
