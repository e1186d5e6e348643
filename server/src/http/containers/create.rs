//! `POST /api/v1/containers`.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{host, policy};
use crate::http::auth::Caller;
use crate::http::error::{ApiError, ApiResult, ErrorCode, FieldError};
use crate::http::extract::json::RawJson;
use crate::http::input::{self, MetadataInput};
use crate::http::list;
use crate::http::state::{App, AppState};
use crate::model::validate;
use crate::model::{Container, ContainerSpec, name};
use crate::node::convert;
use crate::store::{ContainerRecord, ImageRecord, NewContainer, StoreError};

/// How often another name is tried when a generated one is taken.
const NAME_TRIES: usize = 8;

/// A container to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerInput {
    /// `Container`, or absent.
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    metadata: MetadataInput,
    spec: ContainerSpec,
    /// Never taken from the client.
    #[serde(default)]
    #[schema(ignore)]
    #[expect(dead_code, reason = "accepted from a resource that was read before, and ignored")]
    status: Option<Value>,
}

/// Make a container.
///
/// It is stored and not started. The spec is kept as it was sent; fields that reach beyond the container's walls (host paths, host
/// namespaces, added capabilities, other seccomp profiles, privileged) need the role `admin`.
#[utoipa::path(post, path = "/api/v1/containers", operation_id = "createContainer", tag = "containers", security(("token" = ["operator"])),
    request_body(content = ContainerInput, example = json!({"metadata": {"name": "web", "labels": {"app": "site"}},
        "spec": {"image": "busybox:latest", "command": ["sh", "-c", "echo hello; sleep 60"], "resources": {"memory": "64Mi", "cpu": "500m", "pids": 32}}})),
    responses(
        (status = 201, description = "Made", body = Container, headers(("Location" = String, description = "Its address"), ("ETag" = String, description = "Its version"))),))]
pub async fn create_container(State(state): State<AppState>, caller: Caller, body: RawJson) -> ApiResult<Response> {
    let input: ContainerInput = body.parse()?;
    let spec_json = body.member("spec").ok_or_else(|| ApiError::field("/spec", "is missing"))?;
    let record = create(&state, &caller, input, spec_json).await?;
    Ok(list::created(format!("/api/v1/containers/{}", record.meta.name), &record.json(), &record.meta.resource_version))
}

/// The way into the store of every new container, whatever sent it.
pub async fn create(state: &App, caller: &Caller, input: ContainerInput, spec_json: String) -> ApiResult<std::sync::Arc<ContainerRecord>> {
    let ContainerInput { kind, metadata, spec, .. } = input;
    let mut faults = input::kind_faults(kind.as_deref(), "Container");
    faults.extend(metadata.faults());
    faults.extend(validate::container(&spec, &state.host_limits()).into_iter().map(FieldError::from));
    input::check(faults)?;
    policy::check(caller, &spec)?;
    let image = state.store.image(&spec.image).map_err(|error| ApiError::field("/spec/image", error.to_string()))?;
    check_against_others(state, &spec, &image).await?;
    let stem = name::stem_of_image(&spec.image).to_owned();
    let mut new = NewContainer {
        name: metadata.name.clone().unwrap_or_else(|| name::generate(&stem)),
        labels: metadata.labels,
        annotations: metadata.annotations,
        spec,
        spec_json,
        image: image.id.clone(),
    };
    for _ in 0..NAME_TRIES {
        match state.store.create_container(new.clone()).await {
            Err(StoreError::NameTaken { .. }) if metadata.name.is_none() => new.name = name::generate(&stem),
            outcome => return Ok(outcome?),
        }
    }
    Err(ApiError::new(ErrorCode::AlreadyExists, "no free name was found: give one"))
}

/// Rules that depend on what else there is.
async fn check_against_others(state: &App, spec: &ContainerSpec, image: &ImageRecord) -> ApiResult<()> {
    let mut faults: Vec<FieldError> = convert::check(spec, &image.oci.config).into_iter().map(FieldError::from).collect();
    faults.extend(host::check_mounts(spec, &state.config));
    let namespaces = &spec.namespaces;
    for (kind, mode) in [("network", &namespaces.network), ("pid", &namespaces.pid), ("ipc", &namespaces.ipc), ("uts", &namespaces.uts)] {
        if let Some(other) = mode.strip_prefix("container:")
            && let Err(error) = state.store.container(other)
        {
            faults.push(FieldError::new(format!("/spec/namespaces/{kind}"), error.to_string()));
        }
    }
    input::check(faults)?;
    host::check_resources(&spec.resources, &*state.facts().await?)
}
