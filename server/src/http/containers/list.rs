//! `GET /api/v1/containers`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::http::error::ApiResult;
use crate::http::extract::ApiQuery;
use crate::http::list::{self, List, PhaseListParams};
use crate::http::state::AppState;
use crate::model::Container;

/// All containers, in the order of their names.
///
/// Answered from memory: a list never waits for a container.
#[utoipa::path(get, path = "/api/v1/containers", operation_id = "listContainers", tag = "containers", security(("token" = ["viewer"])),
    params(PhaseListParams),
    responses((status = 200, description = "The containers", body = List<Container>), (status = 304, description = "Nothing has changed since `If-None-Match`")))]
pub async fn list_containers(
    State(state): State<AppState>,
    headers: HeaderMap,
    ApiQuery(params): ApiQuery<PhaseListParams>,
) -> ApiResult<Response> {
    let page = state.store.list_containers(&params.query()?)?;
    let items: Vec<_> = page.items.iter().map(|record| record.json()).collect();
    Ok(list::respond(&headers, &items, &page.meta))
}
