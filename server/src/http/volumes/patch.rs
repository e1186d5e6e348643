//! `PATCH /api/v1/volumes/{name}`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;

use crate::http::containers::patch::patched_map;
use crate::http::error::{ApiResult, FieldError};
use crate::http::extract::{ApiPath, IfMatch, MergePatch};
use crate::http::input;
use crate::http::list;
use crate::http::state::AppState;
use crate::model::{Volume, validate};
use crate::store::{UpdateError, VolumeChange, VolumeRecord};

/// Change labels or annotations.
///
/// A JSON merge patch (RFC 7396): what is named replaces, `null` removes, the rest stays. With `If-Match` only that version is changed.
#[utoipa::path(patch, path = "/api/v1/volumes/{name}", operation_id = "patchVolume", tag = "volumes", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more"),
           ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body(content((Object = "application/merge-patch+json", example = json!({"metadata": {"labels": {"tier": "data"}}})), (Object = "application/json"))),
    responses((status = 200, description = "The volume as it is now", body = Volume), (status = 412, description = "It has changed since it was read")))]
pub async fn patch_volume(
    State(state): State<AppState>,
    ApiPath(name): ApiPath<String>,
    if_match: IfMatch,
    patch: MergePatch,
) -> ApiResult<Response> {
    let record = state.store.volume(&name)?;
    let changed = state.store.update_volume(&record.meta.name, |now| {
        if_match.check(&now.meta.resource_version)?;
        change(now, &patch)
    });
    let record = changed.await.map_err(|error| match error {
        UpdateError::Store(error) => error.into(),
        UpdateError::Refused(error) => error,
    })?;
    Ok(list::one(&HeaderMap::new(), &list::json(&super::model(&state, &record, None))?, &record.meta.resource_version))
}

/// Only `metadata.labels` and `metadata.annotations` change; the rest may be there when it says what is so already.
fn change(record: &VolumeRecord, patch: &MergePatch) -> ApiResult<VolumeChange> {
    patch.check_members(&json!({"kind": "Volume", "metadata": record.meta, "spec": {}}), |_| false)?;
    let metadata = patch.patch.get("metadata").cloned().unwrap_or_else(|| json!({}));
    let labels = patched_map(&record.meta.labels, &metadata, "labels")?;
    let annotations = patched_map(&record.meta.annotations, &metadata, "annotations")?;
    let empty = BTreeMap::new();
    let faults = validate::metadata(None, labels.as_ref().unwrap_or(&empty), annotations.as_ref().unwrap_or(&empty));
    input::check(faults.into_iter().map(FieldError::from).collect())?;
    Ok(VolumeChange { labels, annotations })
}
