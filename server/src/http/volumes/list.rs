//! `GET /api/v1/volumes` and `GET /api/v1/volumes/{name}`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::http::error::ApiResult;
use crate::http::extract::{ApiPath, ApiQuery};
use crate::http::list::{self, List, ListParams};
use crate::http::state::AppState;
use crate::model::Volume;

/// The volumes, in the order of their names.
#[utoipa::path(get, path = "/api/v1/volumes", operation_id = "listVolumes", tag = "volumes", security(("token" = ["viewer"])),
    params(ListParams), responses((status = 200, description = "The volumes", body = List<Volume>)))]
pub async fn list_volumes(
    State(state): State<AppState>,
    headers: HeaderMap,
    ApiQuery(params): ApiQuery<ListParams>,
) -> ApiResult<Response> {
    let page = state.store.list_volumes(&params.query()?)?;
    let items = page.items.iter().map(|record| list::json(&state.store.volume_model(record))).collect::<ApiResult<Vec<_>>>()?;
    Ok(list::respond(&headers, &items, &page.meta))
}

/// One volume, and who uses it.
#[utoipa::path(get, path = "/api/v1/volumes/{name}", operation_id = "getVolume", tag = "volumes", security(("token" = ["viewer"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    responses((status = 200, description = "The volume", body = Volume)))]
pub async fn get_volume(State(state): State<AppState>, ApiPath(name): ApiPath<String>, headers: HeaderMap) -> ApiResult<Response> {
    let record = state.store.volume(&name)?;
    Ok(list::one(&headers, &list::json(&state.store.volume_model(&record))?, &record.meta.resource_version))
}
