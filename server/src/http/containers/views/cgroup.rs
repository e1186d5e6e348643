//! `GET /api/v1/containers/{name}/cgroup`.

use axum::Json;
use axum::extract::State;
use runtime::protocol::{ShimAnswer, ShimRequest};
use runtime::status::CgroupView;

use super::schema::CgroupDoc;
use crate::http::error::ApiResult;
use crate::http::extract::ApiPath;
use crate::http::state::{App, AppState};
use crate::store::ContainerRecord;

/// A container's cgroup: where it is, and the files of each controller as the kernel states them.
#[utoipa::path(get, path = "/api/v1/containers/{name}/cgroup", operation_id = "getContainerCgroup", tag = "containers", security(("token" = ["viewer"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    responses((status = 200, description = "The cgroup", body = CgroupDoc), (status = 409, description = "It does not run")))]
pub async fn get_container_cgroup(State(state): State<AppState>, ApiPath(name): ApiPath<String>) -> ApiResult<Json<CgroupView>> {
    Ok(Json(view(&state, &*state.store.container(&name)?).await?))
}

pub async fn view(state: &App, record: &ContainerRecord) -> ApiResult<CgroupView> {
    match super::ask(state, record, |container| ShimRequest::Cgroup { container }).await? {
        ShimAnswer::Cgroup { view } => Ok(view),
        other => Err(super::unexpected(&other)),
    }
}
