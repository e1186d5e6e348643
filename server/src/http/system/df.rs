//! `GET /api/v1/system/df`.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::error::ApiResult;
use crate::http::state::{App, AppState};
use crate::model::Phase;
use crate::store::ContainerRecord;

/// What is on disk, measured when it was asked for.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiskUsageReport {
    /// Always `DiskUsage`.
    pub kind: &'static str,
    #[schema(value_type = String, format = DateTime)]
    pub measured_at: Timestamp,
    /// Layers count once, however many images share them.
    pub images: DiskShare,
    /// What containers have written to their own file systems.
    pub containers: DiskShare,
    pub volumes: DiskShare,
    /// What containers have said.
    pub logs: DiskShare,
}

#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiskShare {
    pub count: u64,
    /// Those that are in use: by a container, or because they run.
    pub active: u64,
    /// On disk.
    pub bytes: u64,
    /// What would be free without those that are not in use.
    pub reclaimable_bytes: u64,
}

impl DiskShare {
    fn add(&mut self, bytes: u64, active: bool) {
        self.count += 1;
        self.bytes += bytes;
        self.active += u64::from(active);
        self.reclaimable_bytes += if active { 0 } else { bytes };
    }
}

/// Disk in use by images, containers, volumes and logs.
#[utoipa::path(get, path = "/api/v1/system/df", operation_id = "getDiskUsage", tag = "system", security(("token" = ["viewer"])),
    responses((status = 200, description = "The figures", body = DiskUsageReport,
        example = json!({"kind": "DiskUsage", "measuredAt": "2026-11-28T12:00:00Z",
            "images": {"count": 2, "active": 1, "bytes": 4108288, "reclaimableBytes": 2097152},
            "containers": {"count": 1, "active": 1, "bytes": 28672, "reclaimableBytes": 0},
            "volumes": {"count": 1, "active": 0, "bytes": 8192, "reclaimableBytes": 8192},
            "logs": {"count": 1, "active": 1, "bytes": 8192, "reclaimableBytes": 0}}))))]
pub async fn get_disk_usage(State(state): State<AppState>) -> ApiResult<Json<DiskUsageReport>> {
    report(&state).await.map(Json)
}

/// The same for the dashboard.
pub async fn report(state: &App) -> ApiResult<DiskUsageReport> {
    let measured = state.usage.measure().await?;
    let containers = state.store.all_containers();
    let used: BTreeSet<&str> = containers.iter().map(|record| record.image.as_str()).collect();
    let images = state.store.images();
    let active = images.iter().filter(|image| used.contains(image.id.as_str()));
    let needed: BTreeSet<&str> =
        active.clone().flat_map(|image| image.layers.iter()).filter_map(|l| l.diff_id.strip_prefix("sha256:")).collect();
    let mut report = DiskUsageReport {
        kind: "DiskUsage",
        measured_at: measured.at,
        images: DiskShare { count: images.len() as u64, active: active.count() as u64, ..DiskShare::default() },
        containers: DiskShare::default(),
        volumes: DiskShare::default(),
        logs: DiskShare::default(),
    };
    for (layer, bytes) in measured.all("layer") {
        report.images.bytes += bytes;
        report.images.reclaimable_bytes += if needed.contains(layer) { 0 } else { bytes };
    }
    let bytes = |kind: &str, id: &str| measured.of(kind, id).unwrap_or_default().bytes;
    for record in &containers {
        report.containers.add(bytes("container", record.uid.as_str()), is_active(record));
        report.logs.add(bytes("log", record.uid.as_str()), is_active(record));
    }
    let unused: BTreeSet<String> = state.store.volumes_without(&BTreeSet::new()).iter().map(|volume| volume.meta.name.clone()).collect();
    for volume in state.store.list_volumes(&Default::default())?.items {
        report.volumes.add(bytes("volume", volume.id.as_str()), !unused.contains(&volume.meta.name));
    }
    Ok(report)
}

/// Not to be pruned: it runs, or is going to.
pub(super) fn is_active(record: &ContainerRecord) -> bool {
    !matches!(record.status.phase, Phase::Created | Phase::Exited | Phase::Dead)
}
