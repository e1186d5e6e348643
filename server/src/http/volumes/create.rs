//! `POST /api/v1/volumes`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::error::ApiResult;
use crate::http::extract::ApiJson;
use crate::http::input::{self, MetadataInput};
use crate::http::list;
use crate::http::state::{App, AppState};
use crate::model::volume::VolumeSpec;
use crate::model::{Volume, name};
use crate::store::VolumeRecord;

/// A volume to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeInput {
    /// `Volume`, or absent.
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    metadata: MetadataInput,
    #[serde(default)]
    #[expect(dead_code, reason = "there is nothing to wish for yet, and its fields are checked by being read")]
    spec: VolumeSpec,
}

/// Make a volume.
#[utoipa::path(post, path = "/api/v1/volumes", operation_id = "createVolume", tag = "volumes", security(("token" = ["operator"])),
    request_body(content = VolumeInput, example = json!({"metadata": {"name": "cache"}})),
    responses((status = 201, description = "Made", body = Volume, headers(("Location" = String, description = "Its address")))))]
pub async fn create_volume(State(state): State<AppState>, ApiJson(input): ApiJson<VolumeInput>) -> ApiResult<Response> {
    let record = create(&state, input).await?;
    let json = list::json(&state.store.volume_model(&record))?;
    Ok(list::created(format!("/api/v1/volumes/{}", record.meta.name), &json, &record.meta.resource_version))
}

/// The same for the dashboard.
pub async fn create(state: &App, input: VolumeInput) -> ApiResult<Arc<VolumeRecord>> {
    let mut faults = input::kind_faults(input.kind.as_deref(), "Volume");
    faults.extend(input.metadata.faults());
    input::check(faults)?;
    let name = input.metadata.name.unwrap_or_else(|| name::generate("volume"));
    Ok(state.store.create_volume(&name, input.metadata.labels, input.metadata.annotations).await?)
}
