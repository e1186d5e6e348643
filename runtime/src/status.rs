//! What the runtime reports: facts as the kernel stated them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::SetupError;
use crate::id::{ContainerName, ExecId, PodId};

fn first_protocol() -> u32 {
    1
}

/// A sandbox as its shim sees it now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReport {
    pub id: PodId,
    /// Pid of the shim, for display.
    pub shim_pid: i32,
    /// The version of the protocol that its shim speaks; 1 from one that is older than this field.
    #[serde(default = "first_protocol")]
    pub protocol: u32,
    pub containers: Vec<ContainerReport>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerReport {
    pub name: ContainerName,
    pub attempt: u32,
    pub state: ContainerState,
    /// Kills by the kernel's OOM killer in the container's cgroup so far, init and children alike.
    pub oom_kills: u64,
    /// What the host could not give, in words: a limit that could not be raised, a score that could not be lowered.
    #[serde(default)]
    pub conditions: Vec<String>,
}

/// The OCI runtime specification's states, with Docker's `paused`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "state")]
pub enum ContainerState {
    Created { pid: i32 },
    Running { pid: i32, started_at: Timestamp, paused: bool },
    Stopped { exit: Exit },
}

/// How a container's first process ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// As a shell gives it: the exit code, or 128 + the signal.
    pub code: i32,
    pub signal: Option<i32>,
    /// True only where the kernel's OOM killer killed the init process itself.
    pub oom_killed: bool,
    /// Peak memory use in bytes, where the kernel states it.
    pub memory_peak: Option<u64>,
    /// None when the program never ran: `failure` says why.
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
    /// A set-up step that failed, so that the program never ran.
    pub failure: Option<SetupError>,
}

/// A further process in a container, running or remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecReport {
    pub id: ExecId,
    /// Program and arguments; a long list is cut.
    pub command: Vec<String>,
    /// On the host, and as the container sees it; for display.
    pub pid: i32,
    pub container_pid: Option<i32>,
    pub user: String,
    pub tty: bool,
    pub detached: bool,
    pub started_at: Timestamp,
    /// None while it runs.
    pub exit: Option<ExecExit>,
}

/// How an exec ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecExit {
    /// As a shell gives it: the exit code, or 128 + the signal.
    pub code: i32,
    pub signal: Option<i32>,
    pub timed_out: bool,
    pub finished_at: Timestamp,
}

/// One sample of a container's cgroup, figures as the kernel states them; None where this host has no such file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    pub timestamp: Timestamp,
    pub cpu: CpuStats,
    pub memory: MemoryStats,
    pub pids: PidsStats,
    pub io: Vec<IoStats>,
    pub network: BTreeMap<String, NetworkStats>,
    /// Pressure stall information of the v2 leaf: `cpu`, `memory`, `io`. See the kernel's Documentation/accounting/psi.rst.
    pub pressure: BTreeMap<String, Pressure>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuStats {
    pub usage_nanos: Option<u64>,
    pub user_nanos: Option<u64>,
    pub system_nanos: Option<u64>,
    pub periods: Option<u64>,
    pub throttled_periods: Option<u64>,
    pub throttled_nanos: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryStats {
    pub usage_bytes: Option<u64>,
    /// Usage less the inactive file cache: what `docker stats` and the kubelet call the working set.
    pub working_set_bytes: Option<u64>,
    pub peak_bytes: Option<u64>,
    pub limit_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
    pub cache_bytes: Option<u64>,
    pub rss_bytes: Option<u64>,
    /// How often the limit was hit.
    pub fail_count: Option<u64>,
    pub oom_kills: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PidsStats {
    pub current: Option<u64>,
    pub limit: Option<u64>,
    /// Forks refused because of the limit.
    pub refused: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IoStats {
    /// `major:minor`.
    pub device: String,
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub read_operations: u64,
    pub write_operations: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStats {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pressure {
    /// Percent of the last 10, 60 and 300 seconds in which some task waited.
    pub some_avg10: f64,
    pub some_avg60: f64,
    pub some_avg300: f64,
    pub some_total_micros: u64,
    pub full_avg10: f64,
    pub full_total_micros: u64,
}

/// A container's cgroup with the files of each controller, verbatim.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CgroupView {
    /// `v1`, `hybrid` or `v2`.
    pub version: String,
    pub controllers: Vec<ControllerView>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControllerView {
    /// `memory`, `cpu`, …, and `unified` for the v2 leaf of a hybrid host.
    pub controller: String,
    pub path: String,
    /// File name to content, as the kernel states it (trimmed; long ones cut).
    pub files: BTreeMap<String, String>,
}

/// One process of a container, with its pid on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessReport {
    /// In the host's pid namespace.
    pub pid: i32,
    /// In the container's pid namespace.
    pub container_pid: i32,
    /// Parent, in the host's pid namespace.
    pub parent_pid: i32,
    /// User id on the host.
    pub uid: u32,
    /// As in proc_pid_stat(5): R, S, D, Z, T…
    pub state: String,
    pub command: String,
    pub threads: u32,
    pub memory_bytes: u64,
    pub cpu_nanos: u64,
}

/// One namespace of a container: a row of what lsns(8) prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceReport {
    /// `mnt`, `uts`, `ipc`, `pid`, `net`, `user`, `cgroup`, `time`.
    #[serde(rename = "type")]
    pub kind: String,
    pub inode: u64,
    /// `/proc/PID/ns/<type>` on the host.
    pub path: String,
    /// True when it is the host's own.
    pub host: bool,
    /// Processes on this machine that are members.
    pub processes: u32,
    /// The lowest pid among them, and its command.
    pub pid: i32,
    pub command: String,
}

/// What this host can and cannot do, found once by the launcher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostFacts {
    pub kernel: String,
    pub architecture: String,
    pub hostname: String,
    pub boot_id: String,
    pub cpus: u32,
    pub memory_bytes: u64,
    /// `v1`, `hybrid` or `v2`.
    pub cgroup_mode: String,
    pub controllers: Vec<String>,
    /// Feature to `available` or the reason why not: `user-namespaces`, `idmapped-mounts`, `overlayfs`, `seccomp`, `swap-accounting`,
    /// `cgroup-kill`, `raise-rlimits`, `lower-oom-score`, … Each was tried.
    pub features: BTreeMap<String, String>,
    pub runtime_version: String,
    /// The version of the protocol that it speaks; 1 from one that is older than this field.
    #[serde(default = "first_protocol")]
    pub protocol: u32,
}

/// The sandboxes that have a run dir, as the launcher found them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDirEntry {
    pub pod: PodId,
    /// True while a shim holds the lock.
    pub alive: bool,
    /// The last state that the shim wrote down.
    pub last: Option<PodReport>,
}
