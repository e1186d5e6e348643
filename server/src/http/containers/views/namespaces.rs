//! `GET /api/v1/containers/{name}/namespaces`.

use axum::Json;
use axum::extract::State;
use runtime::protocol::{ShimAnswer, ShimRequest};
use runtime::status::NamespaceReport;
use serde::Serialize;

use super::schema::{Items, NamespaceDoc};
use crate::http::error::ApiResult;
use crate::http::extract::ApiPath;
use crate::http::state::{App, AppState};
use crate::model::ContainerSpec;
use crate::store::ContainerRecord;

/// A namespace, and which other containers are in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceView {
    #[serde(flatten)]
    pub report: NamespaceReport,
    pub shared_with: Vec<String>,
}

/// A container's namespaces: what `lsns` prints of them, and who else is in them.
#[utoipa::path(get, path = "/api/v1/containers/{name}/namespaces", operation_id = "listContainerNamespaces", tag = "containers", security(("token" = ["viewer"])),
    params(("name" = String, Path, description = "Name, uid, or a unique beginning of the uid of 8 characters or more")),
    responses((status = 200, description = "The namespaces", body = Items<NamespaceDoc>), (status = 409, description = "It does not run")))]
pub async fn list_container_namespaces(
    State(state): State<AppState>,
    ApiPath(name): ApiPath<String>,
) -> ApiResult<Json<Items<NamespaceView>>> {
    let items = view(&state, &*state.store.container(&name)?).await?;
    Ok(Json(Items { items }))
}

pub async fn view(state: &App, record: &ContainerRecord) -> ApiResult<Vec<NamespaceView>> {
    let reports = match super::ask(state, record, |container| ShimRequest::Namespaces { container }).await? {
        ShimAnswer::Namespaces { namespaces } => namespaces,
        other => return Err(super::unexpected(&other)),
    };
    let others = state.store.all_containers();
    let with_names = |report: NamespaceReport| {
        let shared_with = sharing(record, &report.kind, &others);
        NamespaceView { report, shared_with }
    };
    Ok(reports.into_iter().map(with_names).collect())
}

/// Names of the running containers that share this namespace by their specs: those that join it, or whom it joins, or that join the same, or
/// that have the host's as well.
fn sharing(record: &ContainerRecord, kind: &str, others: &[std::sync::Arc<ContainerRecord>]) -> Vec<String> {
    let runs = |other: &ContainerRecord| other.status.pid.is_some() && other.uid != record.uid;
    let owner_of = |one: &ContainerRecord| match mode(&one.spec, kind).strip_prefix("container:") {
        Some(key) => others
            .iter()
            .find(|other| other.meta.name == key || (key.len() >= 8 && other.uid.as_str().starts_with(key)))
            .map(|other| other.uid.clone()),
        None => Some(one.uid.clone()),
    };
    if mode(&record.spec, kind) == "host" {
        let hosts = others.iter().filter(|other| runs(other) && mode(&other.spec, kind) == "host");
        return hosts.map(|other| other.meta.name.clone()).collect();
    }
    let owner = owner_of(record);
    let same = |other: &ContainerRecord| owner.is_some() && owner_of(other) == owner;
    others.iter().filter(|other| runs(other) && same(other)).map(|other| other.meta.name.clone()).collect()
}

/// The wish for one kind of namespace, by the kernel's name for it. Who joins any namespace joins the user namespace that owns it.
fn mode<'a>(spec: &'a ContainerSpec, kind: &str) -> &'a str {
    let namespaces = &spec.namespaces;
    match kind {
        "net" => &namespaces.network,
        "pid" => &namespaces.pid,
        "ipc" => &namespaces.ipc,
        "uts" => &namespaces.uts,
        "cgroup" => &namespaces.cgroup,
        "user" => [&namespaces.network, &namespaces.pid, &namespaces.ipc, &namespaces.uts]
            .into_iter()
            .find(|mode| mode.starts_with("container:"))
            .unwrap_or(&namespaces.user),
        _ => "private",
    }
}
