//! The rules of a configuration, checked by the launcher and again by the shim before anything is made.
//!
//! The control plane has rules of its own that say more to a person; these guard the privileged side against whatever comes over its socket.
//! They look at the configuration only: what this host has (controllers, devices, files) is found out by those who use it.

mod mounts;
mod process;
mod resources;
mod sandbox;

use std::collections::BTreeSet;

use super::{ContainerConfig, NamespaceMode, PodConfig, Rlimit, Seccomp};
use crate::security::{capabilities, rlimit, seccomp};

pub use process::check_exec;
pub use resources::check_resources;
pub use sandbox::check_pod;

/// A rule that a configuration breaks; `path` is a JSON Pointer into it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct ConfigError {
    pub path: String,
    pub message: String,
}

impl ConfigError {
    fn at(path: impl Into<String>, message: impl Into<String>) -> ConfigError {
        ConfigError { path: path.into(), message: message.into() }
    }
}

/// overlayfs would take 500; no image that is not hostile has more than Docker's 127.
const MAX_LAYERS: usize = 127;
/// Ids in a sandbox's user namespace: what system accounts and `nobody` need, and what subordinate ranges are by convention.
const IDS: u32 = 65_536;

/// A container's rules; `pod` is the sandbox that it is to run in.
pub fn check_container(pod: &PodConfig, container: &ContainerConfig) -> Result<(), ConfigError> {
    let layers = container.rootfs.layers.len();
    if !(1..=MAX_LAYERS).contains(&layers) {
        return Err(ConfigError::at("/rootfs/layers", format!("{layers} layers; must be 1 to {MAX_LAYERS}")));
    }
    process::check(&container.process, ids(pod))?;
    mounts::check(&container.mounts, container.security.privileged)?;
    if container.shm_size.is_some_and(|bytes| bytes == 0 || i64::try_from(bytes).is_err()) {
        return Err(ConfigError::at("/shmSize", "must be at least 1 byte: 0 would be no limit"));
    }
    check_resources(&container.resources)?;
    check_security(pod, container)?;
    check_rlimits(&container.rlimits)?;
    if container.oom_score_adj.is_some_and(|score| !(-1000..=1000).contains(&score)) {
        return Err(ConfigError::at("/oomScoreAdj", "must be -1000 to 1000 (proc_pid_oom_score_adj(5))"));
    }
    if !(1..=1000).contains(&container.log.max_files) || container.log.max_size < 4096 {
        return Err(ConfigError::at("/log", "must be 1 to 1,000 files of at least 4,096 bytes"));
    }
    Ok(())
}

/// How many ids there are in the sandbox's user namespace; None where all of the host's are.
fn ids(pod: &PodConfig) -> Option<u32> {
    match (pod.namespaces.user == NamespaceMode::Host, pod.id_map) {
        (true, _) => None,
        (false, map) => Some(map.map_or(IDS, |map| map.size)),
    }
}

fn check_security(pod: &PodConfig, container: &ContainerConfig) -> Result<(), ConfigError> {
    capabilities::effective_set(&container.security)?;
    // Only a profile of the user's own can be wrong; the others need not be compiled for nothing.
    if matches!(container.security.seccomp, Seccomp::Custom { .. }) {
        let own_processes = pod.namespaces.pid == NamespaceMode::Private;
        seccomp::for_container(&container.security, &seccomp::Options::host(own_processes))?;
    }
    Ok(())
}

fn check_rlimits(limits: &[Rlimit]) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    for (index, limit) in limits.iter().enumerate() {
        let fault = |why: String| Err(ConfigError::at(format!("/rlimits/{index}"), why));
        if rlimit::resource(&limit.kind).is_none() {
            let names: Vec<_> = rlimit::names().collect();
            return fault(format!("{:?} is none of {}", shorten(&limit.kind), names.join(", ")));
        }
        if limit.soft > limit.hard {
            return fault(format!("soft ({}) is above hard ({})", limit.soft, limit.hard));
        }
        if !seen.insert(&limit.kind) {
            return fault(format!("{} is there twice", limit.kind));
        }
    }
    Ok(())
}

/// Absolute, and each part is a name: what it says is where it leads, but for symbolic links. Slashes may be doubled or at the end.
fn is_plain_absolute(path: &str) -> bool {
    let plain = |part: &str| part != "." && part != ".." && part.len() <= 255;
    path.starts_with('/') && path.len() < 4096 && !path.contains('\0') && path.split('/').all(plain)
}

/// The same below some folder.
fn is_plain_below(path: &str) -> bool {
    !path.starts_with('/') && !path.is_empty() && is_plain_absolute(&format!("/{path}"))
}

const PLAIN_ABSOLUTE: &str = "must be an absolute path of at most 4,095 bytes without `.`, `..` and NUL";

/// A user's text in a message: not all of a megabyte.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
