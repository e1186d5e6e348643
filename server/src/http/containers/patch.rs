//! `PATCH /api/v1/containers/{name}`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use runtime::status::HostFacts;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::http::context;
use crate::http::error::{ApiError, ApiResult, FieldError};
use crate::http::extract::{ApiPath, IfMatch, MergePatch, json as extract_json, patch};
use crate::http::input;
use crate::http::list;
use crate::http::state::AppState;
use crate::model::container::{Resources, RestartPolicy};
use crate::model::validate::{self, HostLimits};
use crate::model::{Container, ContainerSpec};
use crate::store::{ContainerChange, ContainerRecord};

/// What a patch may hold: for the document alone, as the patch itself is merged before it is read.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "read by the document")]
struct ContainerPatch {
    #[schema(nullable = false)]
    metadata: Option<MetadataPatch>,
    #[schema(nullable = false)]
    spec: Option<ContainerSpecPatch>,
}

/// `null` removes a label or an annotation, or all of them.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "read by the document")]
struct MetadataPatch {
    labels: Option<BTreeMap<String, Option<String>>>,
    annotations: Option<BTreeMap<String, Option<String>>>,
}

/// The fields that can be changed; `null` puts the default back.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "read by the document")]
struct ContainerSpecPatch {
    restart_policy: Option<RestartPolicy>,
    stop_timeout_seconds: Option<u64>,
    resources: Option<Resources>,
}

/// Change labels, annotations, the restart policy, the stop timeout or the resource limits.
///
/// A JSON merge patch (RFC 7396): what is named replaces, `null` removes, the rest stays. New limits are in force at once, also while the
/// container runs. With `If-Match` only that version is changed.
#[utoipa::path(patch, path = "/api/v1/containers/{name}", operation_id = "patchContainer", tag = "containers", security(("token" = ["operator"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more"),
           ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body(content(
        (ContainerPatch = "application/merge-patch+json", example = json!({"metadata": {"labels": {"tier": "front"}}, "spec": {"resources": {"memory": "128Mi"}}})),
        (ContainerPatch = "application/json", example = json!({"metadata": {"labels": {"tier": null}}})))),
    responses((status = 200, description = "The container as it is now", body = Container), (status = 409, description = "Not possible in its present state"),
        (status = 412, description = "It has changed since it was read")))]
pub async fn patch_container(
    State(state): State<AppState>,
    ApiPath(name): ApiPath<String>,
    if_match: IfMatch,
    patch: MergePatch,
) -> ApiResult<Response> {
    let record = state.store.container(&name)?;
    let (host, facts) = (state.host_limits(), state.facts().await?);
    // To its end, whoever waits for it: limits that the host refuses have to be put back.
    let changed = context::spawn(async move {
        // Checked and changed while nothing else is written: what the patch was applied to is what it changes.
        let changed = state.reconciler.update(&record.uid, None, |now| {
            if_match.check(&now.meta.resource_version)?;
            change(now, &patch, &host, &facts)
        });
        changed.await
    });
    let record = changed.await.map_err(ApiError::internal)??;
    Ok(list::one(&HeaderMap::new(), &record.json(), &record.meta.resource_version))
}

/// What a patch makes of a container.
fn change(record: &ContainerRecord, patch: &MergePatch, host: &HostLimits, facts: &HostFacts) -> ApiResult<ContainerChange> {
    check_members(record, patch)?;
    let metadata = patch.patch.get("metadata").cloned().unwrap_or_else(|| json!({}));
    let labels = patched_map(&record.meta.labels, &metadata, "labels")?;
    let annotations = patched_map(&record.meta.annotations, &metadata, "annotations")?;
    let empty = BTreeMap::new();
    let (new_labels, new_annotations) = (labels.as_ref().unwrap_or(&empty), annotations.as_ref().unwrap_or(&empty));
    input::check(validate::metadata(None, new_labels, new_annotations).into_iter().map(FieldError::from).collect())?;
    let spec = match patch.patch.get("spec") {
        None => None,
        Some(spec_patch) => patched_spec(record, patch, spec_patch, host)?,
    };
    if let Some((spec, _)) = &spec {
        super::host::check_resources(&spec.resources, facts)?;
    }
    Ok(ContainerChange { labels, annotations, spec })
}

/// Only `metadata` and `spec` change; the rest may be there when it says what is so already, and `status` is never taken from a client.
fn check_members(record: &ContainerRecord, patch: &MergePatch) -> ApiResult<()> {
    let present: Value = serde_json::from_str(&record.json()).map_err(ApiError::internal)?;
    patch.check_members(&present, |key| key == "spec")
}

/// Labels or annotations after the patch; None when it does not speak of them.
pub(in crate::http) fn patched_map(
    old: &BTreeMap<String, String>,
    metadata: &Value,
    field: &str,
) -> ApiResult<Option<BTreeMap<String, String>>> {
    let Some(change) = metadata.get(field) else { return Ok(None) };
    let mut value = json!(old);
    patch::merge(&mut value, change);
    if value.is_null() {
        return Ok(Some(BTreeMap::new()));
    }
    let map = serde_path_to_error::deserialize(value);
    map.map(Some).map_err(|error| ApiError::field(format!("/metadata/{field}"), error.into_inner().to_string()))
}

/// The spec after the patch: typed, and as text. None when it comes out the same.
fn patched_spec(
    record: &ContainerRecord,
    patch: &MergePatch,
    change: &Value,
    host: &HostLimits,
) -> ApiResult<Option<(ContainerSpec, String)>> {
    #[derive(Deserialize)]
    struct Whole {
        spec: ContainerSpec,
    }
    let old: Value = serde_json::from_str(&record.spec_json).map_err(ApiError::internal)?;
    let mut new = json!({"spec": old});
    patch::merge(&mut new["spec"], change);
    if new["spec"] == old {
        return Ok(None);
    }
    let whole: Whole = extract_json::parse_patched(&new, &json!({"spec": change}), patch.validation)?;
    let faults: Vec<FieldError> = validate::container_change(&record.spec, &whole.spec, host).into_iter().map(FieldError::from).collect();
    input::check(faults)?;
    Ok(Some((whole.spec, new["spec"].to_string())))
}
