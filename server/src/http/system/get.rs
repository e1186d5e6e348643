//! `GET /api/v1/system`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::error::ApiResult;
use crate::http::health::{VERSION, Version};
use crate::http::state::{App, AppState};

/// Facts of the host and of this instance.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct System {
    /// Always `System`.
    pub kind: &'static str,
    /// 8 hexadecimal digits that are part of every kernel name which this instance makes.
    #[schema(example = "1f2e3d4c")]
    pub instance: String,
    pub version: Version,
    /// The privileged runtime's.
    #[schema(example = "0.1.0")]
    pub runtime_version: String,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    pub host: Host,
    pub cgroup: CgroupFacts,
    /// Feature to `available`, or the reason why not: `user-namespaces`, `idmapped-mounts`, `overlayfs`, `seccomp`, `cgroup-kill`, …
    #[schema(example = json!({"overlayfs": "available"}))]
    pub features: BTreeMap<String, String>,
    pub storage: Storage,
    pub counts: Counts,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    #[schema(example = "6.1.0-28-amd64")]
    pub kernel: String,
    #[schema(example = "x86_64")]
    pub architecture: String,
    #[schema(example = "box")]
    pub hostname: String,
    #[schema(example = "01936c8e-6f7a-7c31-9d2b-5a8f0e4b1c77")]
    pub boot_id: String,
    #[schema(example = 2)]
    pub cpus: u32,
    #[schema(example = 8589934592_u64)]
    pub memory_bytes: u64,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CgroupFacts {
    /// `v1`, `hybrid` or `v2`.
    pub mode: String,
    #[schema(example = json!(["cpu", "memory", "pids"]))]
    pub controllers: Vec<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    #[schema(example = "/var/lib/berth")]
    pub data_dir: String,
    #[schema(example = "/run/berth")]
    pub run_dir: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// By phase.
    #[schema(example = json!({"Running": 1}))]
    pub containers: BTreeMap<String, usize>,
    pub images: usize,
    pub volumes: usize,
    pub tokens: usize,
}

/// What this host is and can do, and how much Berth has on it.
#[utoipa::path(get, path = "/api/v1/system", operation_id = "getSystem", tag = "system", security(("token" = ["viewer"])),
    responses((status = 200, description = "The facts", body = System)))]
pub async fn get_system(State(state): State<AppState>) -> ApiResult<Json<System>> {
    view(&state).await.map(Json)
}

pub async fn view(state: &App) -> ApiResult<System> {
    let facts = state.facts().await?;
    Ok(System {
        kind: "System",
        instance: state.store.instance_id().to_string(),
        version: VERSION,
        runtime_version: facts.runtime_version.clone(),
        started_at: state.started_at,
        host: Host {
            kernel: facts.kernel.clone(),
            architecture: facts.architecture.clone(),
            hostname: facts.hostname.clone(),
            boot_id: facts.boot_id.clone(),
            cpus: facts.cpus,
            memory_bytes: facts.memory_bytes,
        },
        cgroup: CgroupFacts { mode: facts.cgroup_mode.clone(), controllers: facts.controllers.clone() },
        features: facts.features.clone(),
        storage: Storage { data_dir: state.config.data_dir.display().to_string(), run_dir: state.config.run_dir.display().to_string() },
        counts: counts(state),
    })
}

pub fn counts(state: &App) -> Counts {
    Counts {
        containers: state.store.count_containers().into_iter().map(|(phase, count)| (format!("{phase:?}"), count)).collect(),
        images: state.store.images().len(),
        volumes: state.store.list_volumes(&Default::default()).map_or(0, |page| page.items.len()),
        tokens: state.store.tokens().len(),
    }
}
