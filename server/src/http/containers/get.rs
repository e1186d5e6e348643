//! `GET /api/v1/containers/{name}`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::http::error::ApiResult;
use crate::http::extract::ApiPath;
use crate::http::list;
use crate::http::state::AppState;
use crate::model::Container;

/// One container.
#[utoipa::path(get, path = "/api/v1/containers/{name}", operation_id = "getContainer", tag = "containers", security(("token" = ["viewer"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    responses((status = 200, description = "The container", body = Container), (status = 304, description = "It has not changed since `If-None-Match`")))]
pub async fn get_container(State(state): State<AppState>, ApiPath(name): ApiPath<String>, headers: HeaderMap) -> ApiResult<Response> {
    let record = state.store.container(&name)?;
    Ok(list::one(&headers, &record.json(), &record.meta.resource_version))
}
