//! `DELETE /api/v1/containers/{name}`.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::check_grace;
use crate::http::error::ApiResult;
use crate::http::extract::query::flag;
use crate::http::extract::{ApiPath, ApiQuery, IfMatch};
use crate::http::state::AppState;
use crate::reconcile::Deletion;
use crate::store::Stop;

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct DeleteParams {
    /// Also when it runs: it is killed, after the grace period where one is given.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    force: bool,
    /// With `force`: seconds between the stop signal and SIGKILL; 0 when absent.
    grace_period_seconds: Option<u64>,
    /// The volumes that were made for this container alone (`status.volumes`) go too; those that have a name of their own stay.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    volumes: bool,
}

/// Delete a container, its log and its changes to the file system.
///
/// Answers when nothing of it is left on the machine. What runs is deleted with `force` only.
#[utoipa::path(delete, path = "/api/v1/containers/{name}", operation_id = "deleteContainer", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more"), DeleteParams,
           ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    responses((status = 204, description = "It is gone"), (status = 409, description = "It runs, and `force` was not given"),
        (status = 412, description = "It has changed since it was read"), (status = 504, description = "It takes long, and is still being tried")))]
pub async fn delete_container(
    State(state): State<AppState>,
    ApiPath(name): ApiPath<String>,
    if_match: IfMatch,
    ApiQuery(params): ApiQuery<DeleteParams>,
) -> ApiResult<StatusCode> {
    check_grace("/query/gracePeriodSeconds", params.grace_period_seconds)?;
    let record = state.store.container(&name)?;
    if_match.check(&record.meta.resource_version)?;
    // What was seen is what is deleted: a change in between is a conflict, when the caller cared to say what it saw.
    let seen = matches!(if_match, IfMatch::Versions(_)).then_some(record.meta.resource_version.as_str());
    let stop = Stop { signal: None, grace_seconds: Some(params.grace_period_seconds.unwrap_or(0)) };
    let deletion = Deletion { running: params.force, stop, volumes: params.volumes };
    state.reconciler.delete(&record.uid, seen, deletion).await?;
    Ok(StatusCode::NO_CONTENT)
}
