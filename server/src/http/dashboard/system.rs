//! `GET /system`.

use std::path::Path;

use axum::extract::State;
use axum::response::Html;
use runtime::status::HostFacts;
use web::format;
use web::pages::{DiskShare, Feature, HostFact, System};

use super::ask::patiently;
use super::visit::{Visit, html};
use crate::http::error::ApiResult;
use crate::http::state::{App, AppState};
use crate::http::system::df::{self, DiskUsageReport};
use crate::model::Phase;
use crate::store::ListQuery;

pub(super) async fn page(State(state): State<AppState>, visit: Visit) -> ApiResult<Html<String>> {
    let facts = patiently(async { Ok(state.facts().await?) }).await?;
    let disk = patiently(df::report(&state)).await.map(|report| shares(&report)).map_err(|error| error.detail().to_owned());
    html(&System {
        disk,
        counts: counts(&state),
        features: facts.features.iter().map(|(name, state)| feature(name, state)).collect(),
        cgroup_mode: facts.cgroup_mode.clone(),
        controllers: facts.controllers.clone(),
        facts: host(&state, &facts),
        frame: visit.calls(["/api/v1/system".to_owned(), "/api/v1/system/df".to_owned()]),
    })
}

fn shares(report: &DiskUsageReport) -> Vec<DiskShare> {
    let kinds = [
        ("share.images", &report.images),
        ("share.containers", &report.containers),
        ("share.volumes", &report.volumes),
        ("share.logs", &report.logs),
    ];
    let share = |(key, share): (&'static str, &df::DiskShare)| DiskShare {
        key,
        count: share.count,
        active: share.active,
        bytes: share.bytes,
        reclaimable_bytes: share.reclaimable_bytes,
    };
    kinds.map(share).to_vec()
}

fn feature(name: &str, state: &str) -> Feature {
    Feature { name: name.to_owned(), missing: (state != "available").then(|| state.to_owned()) }
}

fn counts(state: &App) -> Vec<(&'static str, u64)> {
    let phases = state.store.count_containers();
    let running = phases.iter().filter(|(phase, _)| matches!(phase, Phase::Running | Phase::Paused)).map(|(_, count)| *count as u64).sum();
    let all = phases.iter().map(|(_, count)| *count as u64).sum();
    let volumes = state.store.list_volumes(&ListQuery::default()).map_or(0, |page| page.items.len() as u64);
    let images = state.store.images().len() as u64;
    vec![("count.running", running), ("count.containers", all), ("count.images", images), ("count.volumes", volumes)]
}

fn host(state: &App, facts: &HostFacts) -> Vec<HostFact> {
    let fact = |key, value: &str| HostFact { key, value: value.to_owned() };
    vec![
        fact("fact.hostname", &facts.hostname),
        fact("fact.kernel", &facts.kernel),
        fact("fact.architecture", &facts.architecture),
        fact("fact.cpus", &facts.cpus.to_string()),
        fact("fact.memory", &format::bytes(facts.memory_bytes)),
        fact("fact.boot", &facts.boot_id),
        fact("fact.disk", &disk(&state.config.data_dir)),
        fact("fact.version", env!("CARGO_PKG_VERSION")),
        fact("fact.runtime", &facts.runtime_version),
        fact("fact.data", &state.config.data_dir.display().to_string()),
        fact("fact.run", &state.config.run_dir.display().to_string()),
    ]
}

/// Free space of all where images, volumes, writable files and logs lie.
fn disk(folder: &Path) -> String {
    match rustix::fs::statvfs(folder) {
        Ok(found) => {
            let bytes = |blocks: u64| format::bytes(blocks.saturating_mul(found.f_frsize));
            format!("{} / {}", bytes(found.f_bavail), bytes(found.f_blocks))
        }
        Err(error) => error.to_string(),
    }
}
