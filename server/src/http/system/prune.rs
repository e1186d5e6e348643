//! `POST /api/v1/system/prune`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use runtime::id::PodId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::df::is_active;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::OptionalJson;
use crate::http::state::{App, AppState};
use crate::model::selector::Selector;
use crate::reconcile::Deletion;
use crate::store::{ContainerRecord, ImageRecord, VolumeRecord};
use crate::usage::Measured;

/// What is to go. Without a body: as `{"containers": true, "images": true}`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PruneInput {
    /// Containers that do not run, and are not going to.
    containers: bool,
    /// Images that have no name and that no container uses.
    images: bool,
    /// Anonymous volumes that no container mounts.
    volumes: bool,
    /// Also images and volumes that have a name.
    all: bool,
    /// Only those whose labels it fits: `app=web,!keep`.
    #[schema(example = "!keep")]
    label_selector: Option<String>,
    /// Tell what would go, and leave it.
    dry_run: bool,
}

impl Default for PruneInput {
    fn default() -> Self {
        PruneInput { containers: true, images: true, volumes: false, all: false, label_selector: None, dry_run: false }
    }
}

/// What went.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PruneReport {
    /// Always `PruneReport`.
    pub kind: &'static str,
    pub dry_run: bool,
    /// Names.
    pub containers: Vec<String>,
    /// Names, or the first digits of the ids of those without one.
    pub images: Vec<String>,
    /// Names.
    pub volumes: Vec<String>,
    pub reclaimed_bytes: u64,
    /// What could not be removed, and why: somebody began to use it meanwhile.
    pub kept: Vec<Kept>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    pub kind: &'static str,
    pub name: String,
    pub reason: String,
}

/// What is going to be removed.
struct Plan {
    containers: Vec<Arc<ContainerRecord>>,
    volumes: Vec<Arc<VolumeRecord>>,
    images: Vec<Arc<ImageRecord>>,
}

/// Remove what is unused.
///
/// As in Docker: containers that do not run and images without a name unless it is said otherwise; volumes only when they are asked for, and
/// those that somebody named, as images that have a name, only with `all`.
#[utoipa::path(post, path = "/api/v1/system/prune", operation_id = "prune", tag = "system", security(("token" = ["admin"])),
    request_body(content = Option<PruneInput>, example = json!({"containers": true, "images": true, "volumes": true, "all": false, "dryRun": true})),
    responses((status = 200, description = "What went, or would go", body = PruneReport,
        example = json!({"kind": "PruneReport", "dryRun": true, "containers": ["web"], "images": ["52eeed49d35d"], "volumes": [], "reclaimedBytes": 1990656, "kept": []}))))]
pub async fn prune(State(state): State<AppState>, OptionalJson(input): OptionalJson<PruneInput>) -> ApiResult<Json<PruneReport>> {
    let selector = match &input.label_selector {
        None => Selector::default(),
        Some(text) => {
            text.parse().map_err(|error: crate::model::selector::SelectorError| ApiError::field("/labelSelector", error.to_string()))?
        }
    };
    let measured = state.usage.measure().await?;
    let plan = plan(&state, &input, &selector);
    let mut report = PruneReport { kind: "PruneReport", dry_run: input.dry_run, ..PruneReport::default() };
    // In this order: a container that goes sets its image and its volumes free.
    for record in &plan.containers {
        let outcome = if input.dry_run { Ok(()) } else { state.reconciler.delete(&record.uid, None, Deletion::default()).await };
        if report.note("Container", &record.meta.name, outcome.map_err(|error| error.to_string())) {
            let of = |kind| measured.of(kind, record.uid.as_str()).unwrap_or_default().bytes;
            report.reclaimed_bytes += of("container") + of("log");
            report.containers.push(record.meta.name.clone());
        }
    }
    for record in &plan.volumes {
        let outcome = if input.dry_run { Ok(()) } else { state.reconciler.remove_volume(&record.meta.name).await };
        if report.note("Volume", &record.meta.name, outcome.map_err(|error| error.to_string())) {
            report.reclaimed_bytes += measured.of("volume", record.id.as_str()).unwrap_or_default().bytes;
            report.volumes.push(record.meta.name.clone());
        }
    }
    let mut gone = BTreeSet::new();
    for record in &plan.images {
        let outcome = if input.dry_run { Ok(()) } else { state.images.delete(&record.id, false).await };
        if report.note("Image", &record.name(), outcome.map_err(|error| error.to_string())) {
            gone.insert(record.id.as_str());
            report.images.push(record.name());
        }
    }
    report.reclaimed_bytes += freed_layers(&state, &plan.images, &gone, &measured);
    Ok(Json(report))
}

impl PruneReport {
    /// True when it went.
    fn note(&mut self, kind: &'static str, name: &str, outcome: Result<(), String>) -> bool {
        if let Err(reason) = outcome {
            self.kept.push(Kept { kind, name: name.to_owned(), reason });
            return false;
        }
        true
    }
}

fn plan(state: &App, input: &PruneInput, selector: &Selector) -> Plan {
    let all = state.store.all_containers();
    let containers: Vec<_> = all
        .iter()
        .filter(|record| input.containers && !is_active(record) && record.meta.deletion_timestamp.is_none())
        .filter(|record| selector.matches(&record.meta.labels))
        .cloned()
        .collect();
    let going: BTreeSet<PodId> = containers.iter().map(|record| record.uid.clone()).collect();
    let volumes = if input.volumes { state.store.volumes_without(&going) } else { Vec::new() };
    let used: BTreeSet<&str> = all.iter().filter(|record| !going.contains(&record.uid)).map(|record| record.image.as_str()).collect();
    let images = if input.images { state.store.images() } else { Vec::new() };
    Plan {
        volumes: volumes.into_iter().filter(|v| (v.is_anonymous() || input.all) && selector.matches(&v.meta.labels)).collect(),
        images: images
            .into_iter()
            .filter(|image| !used.contains(image.id.as_str()) && (image.references.is_empty() || input.all))
            .filter(|image| selector.matches(&image.oci.config.labels))
            .collect(),
        containers,
    }
}

/// Bytes of the layers that only images that went had.
fn freed_layers(state: &App, planned: &[Arc<ImageRecord>], gone: &BTreeSet<&str>, measured: &Measured) -> u64 {
    let stays = state.store.images();
    let kept: BTreeSet<&str> = stays
        .iter()
        .filter(|image| !gone.contains(image.id.as_str()))
        .flat_map(|image| &image.layers)
        .map(|l| l.diff_id.as_str())
        .collect();
    let layers = planned.iter().filter(|image| gone.contains(image.id.as_str())).flat_map(|image| &image.layers);
    let freed: BTreeSet<&str> = layers.map(|layer| layer.diff_id.as_str()).filter(|id| !kept.contains(id)).collect();
    freed.iter().filter_map(|id| measured.of("layer", id.strip_prefix("sha256:")?)).map(|amount| amount.bytes).sum()
}
