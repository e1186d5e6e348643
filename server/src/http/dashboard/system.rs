//! `GET /system`.

use axum::extract::State;
use axum::response::Html;
use runtime::status::HostFacts;
use web::format;
use web::pages::{Feature, HostFact, System};

use super::ask::patiently;
use super::visit::{Visit, html};
use crate::http::error::ApiResult;
use crate::http::state::{App, AppState};
use crate::model::Phase;

pub(super) async fn page(State(state): State<AppState>, visit: Visit) -> ApiResult<Html<String>> {
    let facts = patiently(async { Ok(state.facts().await?) }).await?;
    html(&System {
        counts: counts(&state),
        features: facts.features.iter().map(|(name, state)| feature(name, state)).collect(),
        cgroup_mode: facts.cgroup_mode.clone(),
        controllers: facts.controllers.clone(),
        facts: host(&state, &facts),
        frame: visit.calls(["/api/v1/system".to_owned()]),
    })
}

fn feature(name: &str, state: &str) -> Feature {
    Feature { name: name.to_owned(), missing: (state != "available").then(|| state.to_owned()) }
}

fn counts(state: &App) -> Vec<(&'static str, u64)> {
    let phases = state.store.count_containers();
    let running = phases.iter().filter(|(phase, _)| matches!(phase, Phase::Running | Phase::Paused)).map(|(_, count)| *count as u64).sum();
    let all = phases.iter().map(|(_, count)| *count as u64).sum();
    vec![("count.running", running), ("count.containers", all), ("count.images", state.store.images().len() as u64)]
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
        fact("fact.version", env!("CARGO_PKG_VERSION")),
        fact("fact.runtime", &facts.runtime_version),
        fact("fact.data", &state.config.data_dir.display().to_string()),
        fact("fact.run", &state.config.run_dir.display().to_string()),
    ]
}
