//! `POST /api/v1/containers/{name}/wait`.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::auth::Caller;
use crate::http::error::{ApiError, ApiResult, ErrorCode};
use crate::http::extract::{ApiPath, OptionalJson};
use crate::http::state::AppState;
use crate::model::ContainerStatus;
use crate::reconcile::{self, WaitCondition};

#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitInput {
    /// `exited` when absent.
    #[serde(default)]
    condition: Condition,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = WaitCondition)]
enum Condition {
    /// It has ended and will not be restarted by its policy, or could not be started.
    #[default]
    Exited,
    Running,
    /// It has been deleted.
    Removed,
}

/// How it ended, as far as it has.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitAnswer {
    /// As a shell gives it: 128 + the signal when a signal ended it.
    #[schema(example = 0)]
    pub exit_code: Option<i32>,
    /// The signal's name, when a signal ended it.
    pub signal: Option<String>,
    pub oom_killed: bool,
    #[schema(example = "Completed")]
    pub reason: Option<String>,
}

impl From<ContainerStatus> for WaitAnswer {
    fn from(status: ContainerStatus) -> Self {
        WaitAnswer { exit_code: status.exit_code, signal: status.signal, oom_killed: status.oom_killed, reason: status.reason }
    }
}

/// Wait until a container has exited, runs, or is removed.
///
/// Blocks for as long as it takes; a container that is gone meets every condition.
#[utoipa::path(post, path = "/api/v1/containers/{name}/wait", operation_id = "waitContainer", tag = "containers", security(("token" = ["viewer"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    request_body(content = Option<WaitInput>, description = "May be left out", example = json!({"condition": "exited"})),
    responses((status = 200, description = "The condition is met", body = WaitAnswer)))]
pub async fn wait_container(
    State(state): State<AppState>,
    caller: Caller,
    ApiPath(name): ApiPath<String>,
    OptionalJson(input): OptionalJson<WaitInput>,
) -> ApiResult<Json<WaitAnswer>> {
    let record = state.store.container(&name)?;
    let condition = match input.condition {
        Condition::Exited => WaitCondition::Exited,
        Condition::Running => WaitCondition::Running,
        Condition::Removed => WaitCondition::Removed,
    };
    tokio::select! {
        status = reconcile::wait(&state.store, &record.uid, condition) => Ok(Json(status?.into())),
        () = state.shutdown.cancelled() => Err(ApiError::new(ErrorCode::Draining, "the server is shutting down: wait again").retry_after(2)),
        () = caller.revoked.cancelled() => Err(ApiError::new(ErrorCode::Unauthenticated, "the token was deleted")),
    }
}
