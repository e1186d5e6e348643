//! `GET /api/v1/containers/{name}/processes`.

use axum::Json;
use axum::extract::State;
use runtime::protocol::{ShimAnswer, ShimRequest};
use runtime::status::ProcessReport;

use super::schema::{Part, ProcessDoc};
use crate::http::error::ApiResult;
use crate::http::extract::ApiPath;
use crate::http::state::{App, AppState};
use crate::store::ContainerRecord;

/// A container's processes, each with its pid inside and outside.
///
/// Thousands of them may be more than one answer holds: then `remainingItemCount` says how many are not shown. There are no pages, since
/// the next look would meet other processes.
#[utoipa::path(get, path = "/api/v1/containers/{name}/processes", operation_id = "listContainerProcesses", tag = "containers", security(("token" = ["viewer"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    responses((status = 200, description = "The processes", body = Part<ProcessDoc>), (status = 409, description = "It does not run")))]
pub async fn list_container_processes(
    State(state): State<AppState>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<Json<Part<ProcessReport>>> {
    let (items, remaining_item_count) = view(&state, &*state.store.container(&name)?).await?;
    Ok(Json(Part { items, remaining_item_count }))
}

/// And how many more there are.
pub async fn view(state: &App, record: &ContainerRecord) -> ApiResult<(Vec<ProcessReport>, u64)> {
    match super::ask(state, record, |container| ShimRequest::Processes { container }).await? {
        ShimAnswer::Processes { processes, remaining } => Ok((processes, remaining)),
        other => Err(super::unexpected(&other)),
    }
}
