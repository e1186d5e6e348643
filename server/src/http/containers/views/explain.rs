//! `GET /api/v1/containers/{name}/explain`.

use axum::Json;
use axum::extract::State;
use runtime::error::RuntimeError;
use runtime::protocol::{ShimAnswer, ShimRequest};
use runtime::trace::Operation;

use super::schema::{Items, OperationDoc};
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::ApiPath;
use crate::http::state::{App, AppState};
use crate::node::{NodeError, convert};
use crate::store::ContainerRecord;

/// Every kernel operation that made a container, in order, each with a shell line that does the same.
///
/// Recorded when it was done, failures included. Of the newest start; empty before the first one.
#[utoipa::path(get, path = "/api/v1/containers/{name}/explain", operation_id = "explainContainer", tag = "containers", security(("token" = ["viewer"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    responses((status = 200, description = "The operations", body = Items<OperationDoc>)))]
pub async fn explain_container(State(state): State<AppState>, ApiPath(name): ApiPath<String>) -> ApiResult<Json<Items<Operation>>> {
    let items = view(&state, &*state.store.container(&name)?).await?;
    Ok(Json(Items { items }))
}

/// From the shim while it lives, which may be a moment longer than its program, else from what it wrote down.
pub async fn view(state: &App, record: &ContainerRecord) -> ApiResult<Vec<Operation>> {
    let container = convert::name(record).map_err(ApiError::internal)?;
    match state.node.shim(&record.uid, ShimRequest::Explain { container }).await {
        Ok(ShimAnswer::Explain { operations }) => return Ok(operations),
        Ok(other) => return Err(super::unexpected(&other)),
        Err(NodeError::NoShim { .. } | NodeError::ShimGone { .. } | NodeError::Refused(RuntimeError::NotFound { .. })) => {}
        Err(error) => return Err(error.into()),
    }
    let folder = state.config.data_dir.join("pods").join(record.uid.as_str());
    match tokio::fs::read(folder.join(format!("explain-{}.json", record.meta.name))).await {
        Ok(text) => serde_json::from_slice(&text).map_err(ApiError::internal),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(ApiError::internal(error)),
    }
}
