//! Everything that confines a container's processes, decided once before the fork.
//!
//! Compiling a filter takes longer than starting a program: the default one is made once by the launcher, and every shim inherits it.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::capabilities::{CapSet, effective_set};
use super::devices::DeviceNode;
use super::{devices, masked, rlimit, seccomp};
use crate::cgroup::{DeviceAccess, DeviceKind, DeviceRule};
use crate::config::{ConfigError, ContainerConfig, ExecConfig, NamespaceMode, PodConfig, Rlimit, Seccomp, Security};
use crate::sys::seccomp::SockFilter;

/// See the module.
#[derive(Debug, Clone)]
pub struct SecurityPlan {
    pub capabilities: u64,
    pub capability_names: Vec<&'static str>,
    pub no_new_privileges: bool,
    pub filter: Option<Arc<Vec<SockFilter>>>,
    pub masked_paths: Vec<Cow<'static, str>>,
    pub read_only_paths: Vec<&'static str>,
    pub rlimits: Vec<PlannedLimit>,
    pub devices: Vec<DeviceNode>,
    pub device_rules: Option<Vec<DeviceRule>>,
}

/// A resource limit to set.
#[derive(Debug, Clone)]
pub struct PlannedLimit {
    pub name: &'static str,
    pub resource: u32,
    pub soft: u64,
    pub hard: u64,
    /// Ours and not the user's: a host that does not allow it is no reason not to start.
    pub best_effort: bool,
}

impl SecurityPlan {
    pub fn new(pod: &PodConfig, container: &ContainerConfig) -> Result<SecurityPlan, ConfigError> {
        let security = &container.security;
        let capabilities = effective_set(security)?;
        // With the host's or a neighbour's processes in view, tracing them is not for a default.
        let own_processes = pod.namespaces.pid == NamespaceMode::Private;
        let privileged = security.privileged;
        Ok(SecurityPlan {
            capabilities: capabilities.bits(),
            capability_names: capabilities.names(),
            no_new_privileges: security.no_new_privileges && !privileged,
            filter: filter(security, own_processes)?,
            masked_paths: if privileged { Vec::new() } else { masked_paths(pod) },
            read_only_paths: if privileged { Vec::new() } else { masked::READ_ONLY.iter().map(|one| one.path).collect() },
            rlimits: limits(&container.rlimits),
            devices: devices::NODES.to_vec(),
            device_rules: (!privileged).then(device_rules),
        })
    }

    /// An exec has what the container has; a privileged one has every capability that its user namespace gives, and no filter.
    pub fn for_exec(&self, config: &ExecConfig) -> SecurityPlan {
        let mut plan = self.clone();
        if config.privileged {
            plan.capabilities = CapSet::ALL.bits();
            plan.capability_names = CapSet::ALL.names();
            plan.no_new_privileges = false;
            plan.filter = None;
        }
        plan
    }
}

fn masked_paths(pod: &PodConfig) -> Vec<Cow<'static, str>> {
    let user_namespace = pod.namespaces.user != NamespaceMode::Host;
    let view = masked::View { user_namespace, host_sys: user_namespace && pod.namespaces.network == NamespaceMode::Host };
    let fixed = masked::masked(view).map(|one| Cow::Borrowed(one.path));
    let cpus = std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
    fixed.chain((0..cpus).map(|cpu| Cow::Owned(masked::thermal_throttle(cpu)))).collect()
}

fn limits(own: &[Rlimit]) -> Vec<PlannedLimit> {
    let planned = rlimit::effective(own).into_iter().map(|limit| PlannedLimit {
        name: limit.name,
        resource: limit.number(),
        soft: limit.soft,
        hard: limit.hard,
        best_effort: !own.iter().any(|one| one.kind == limit.name),
    });
    planned.collect()
}

fn device_rules() -> Vec<DeviceRule> {
    let rules = devices::DEFAULT_RULES.iter().filter_map(|rule| {
        let kind = match rule.kind? {
            devices::DeviceKind::Character => DeviceKind::Char,
            devices::DeviceKind::Block => DeviceKind::Block,
        };
        let access = DeviceAccess { read: rule.access.read, write: rule.access.write, mknod: rule.access.mknod };
        Some(DeviceRule { kind, major: rule.major, minor: rule.minor, access })
    });
    rules.collect()
}

static DEFAULT: OnceLock<Option<Arc<Vec<SockFilter>>>> = OnceLock::new();

/// Compiles what most containers need before the first one asks.
pub fn warm_up() {
    let _ = default_filter();
}

fn default_filter() -> Option<Arc<Vec<SockFilter>>> {
    DEFAULT
        .get_or_init(|| {
            let filter = seccomp::compile(&Seccomp::Default, CapSet::DEFAULT, &seccomp::Options::host(true));
            filter.ok().flatten().map(|filter| Arc::new(filter.program))
        })
        .clone()
}

fn filter(security: &Security, own_processes: bool) -> Result<Option<Arc<Vec<SockFilter>>>, ConfigError> {
    let plain = security.cap_add.is_empty() && security.cap_drop.is_empty() && !security.privileged;
    if security.seccomp == Seccomp::Default
        && plain
        && own_processes
        && let Some(filter) = default_filter()
    {
        return Ok(Some(filter));
    }
    let filter = seccomp::for_container(security, &seccomp::Options::host(own_processes))?;
    Ok(filter.map(|filter| Arc::new(filter.program)))
}
