//! `GET /api/v1/volumes` and `GET /api/v1/volumes/{name}`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::model;
use crate::http::error::ApiResult;
use crate::http::extract::query::flag;
use crate::http::extract::{ApiPath, ApiQuery};
use crate::http::list::{self, List, ListParams};
use crate::http::state::{App, AppState};
use crate::model::Volume;
use crate::usage::Measured;

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct VolumeListParams {
    /// Most items of the answer; all when absent or 0.
    #[param(minimum = 0, example = 100)]
    limit: Option<u32>,
    /// `metadata.continue` of the page before.
    #[serde(rename = "continue")]
    #[param(rename = "continue")]
    continue_token: Option<String>,
    /// As in Kubernetes: `app=web,tier in (front,back),!legacy`.
    #[param(example = "app=web")]
    label_selector: Option<String>,
    /// Measure `status.usage` now; else it is what was measured last, if anything was.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    usage: bool,
}

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct VolumeParams {
    /// Measure `status.usage` now; else it is what was measured last, if anything was.
    #[serde(deserialize_with = "flag")]
    #[param(value_type = Option<bool>)]
    usage: bool,
}

/// The volumes, in the order of their names.
#[utoipa::path(get, path = "/api/v1/volumes", operation_id = "listVolumes", tag = "volumes", security(("token" = ["viewer"])),
    params(VolumeListParams), responses((status = 200, description = "The volumes", body = List<Volume>)))]
pub async fn list_volumes(
    State(state): State<AppState>,
    headers: HeaderMap,
    ApiQuery(params): ApiQuery<VolumeListParams>,
) -> ApiResult<Response> {
    let VolumeListParams { limit, continue_token, label_selector, usage } = params;
    let page = state.store.list_volumes(&ListParams { limit, continue_token, label_selector }.query()?)?;
    let measured = measured(&state, usage).await?;
    let items = page.items.iter().map(|record| list::json(&model(&state, record, measured.as_deref()))).collect::<ApiResult<Vec<_>>>()?;
    Ok(list::respond(&known(headers, usage), &items, &page.meta))
}

/// One volume, and who uses it.
#[utoipa::path(get, path = "/api/v1/volumes/{name}", operation_id = "getVolume", tag = "volumes", security(("token" = ["viewer"])),
    params(VolumeParams, ("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    responses((status = 200, description = "The volume", body = Volume)))]
pub async fn get_volume(
    State(state): State<AppState>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(params): ApiQuery<VolumeParams>,
) -> ApiResult<Response> {
    let record = state.store.volume(&name)?;
    let measured = measured(&state, params.usage).await?;
    let json = list::json(&model(&state, &record, measured.as_deref()))?;
    Ok(list::one_anew(&json, &record.meta.resource_version))
}

async fn measured(state: &App, wanted: bool) -> ApiResult<Option<Arc<Measured>>> {
    Ok(if wanted { Some(state.usage.measure().await?) } else { None })
}

/// Figures change without a new version: who asks for them is not told that nothing did.
fn known(headers: HeaderMap, usage: bool) -> HeaderMap {
    if usage { HeaderMap::new() } else { headers }
}
