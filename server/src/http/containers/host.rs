//! What a spec asks for and this host, or this instance, cannot give: found out when the container is made, not when it starts.

use std::path::Path;

use runtime::status::HostFacts;

use crate::config::Config;
use crate::http::error::{ApiError, ApiResult, ErrorCode, FieldError};
use crate::model::ContainerSpec;
use crate::model::container::{MountType, Resources};

/// 422 with each limit that needs a controller or a feature which the host lacks.
pub(super) fn check_resources(resources: &Resources, facts: &HostFacts) -> ApiResult<()> {
    let has = |names: &[&str]| names.iter().any(|name| facts.controllers.iter().any(|known| known == name));
    let swap = facts.features.get("swap-accounting").map_or("unknown", String::as_str);
    let wants = [
        ("cpu", resources.cpu.is_some(), has(&["cpu"]), "cpu"),
        ("cpuShares", resources.cpu_shares.is_some(), has(&["cpu"]), "cpu"),
        ("cpuset", resources.cpuset.is_some(), has(&["cpuset"]), "cpuset"),
        ("memory", resources.memory.is_some(), has(&["memory"]), "memory"),
        ("memorySwap", resources.memory_swap.is_some(), has(&["memory"]), "memory"),
        ("pids", resources.pids.is_some(), has(&["pids"]), "pids"),
        // Version 1 of cgroups calls it by another name.
        ("io", !resources.io.is_empty(), has(&["io", "blkio"]), "io"),
    ];
    let mut errors: Vec<FieldError> = wants
        .into_iter()
        .filter(|(_, wanted, given, _)| *wanted && !given)
        .map(|(field, _, _, controller)| {
            FieldError::new(format!("/spec/resources/{field}"), format!("this host has no {controller} controller"))
        })
        .collect();
    if resources.memory_swap.is_some() && swap != "available" && errors.is_empty() {
        errors.push(FieldError::new("/spec/resources/memorySwap", format!("this host does not count swap: {swap}")));
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::fields(ErrorCode::UnsupportedByHost, errors)) }
}

/// Bind mounts of the engine's own folders: whoever writes there is no longer inside. (The launcher looks again, behind symlinks.)
pub(super) fn check_mounts(spec: &ContainerSpec, config: &Config) -> Vec<FieldError> {
    let own = |source: &str| {
        let clean: std::path::PathBuf = Path::new(source).components().collect();
        [&config.data_dir, &config.run_dir].into_iter().any(|folder| clean.starts_with(folder))
    };
    let binds = spec.mounts.iter().enumerate().filter(|(_, mount)| mount.kind == MountType::Bind);
    binds
        .filter(|(_, mount)| mount.source.as_deref().is_some_and(own))
        .map(|(index, _)| FieldError::new(format!("/spec/mounts/{index}/source"), "is one of berth's own folders"))
        .collect()
}
