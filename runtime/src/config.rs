//! What may be asked of the runtime: the typed description of a sandbox and of a container in it, in OCI and CRI words.
//!
//! Everything here arrives from a process that has no root and is trusted with nothing: `check` (in `config/check.rs`) is run again by
//! the launcher and by the shim before anything is made.

mod check;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{ContainerName, ExecId, LayerId, PodId, VolumeId};

pub use check::{ConfigError, check_container, check_exec, check_pod, check_resources};

/// A sandbox: the namespaces and the cgroup that one or more containers share. One shim runs one sandbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodConfig {
    pub id: PodId,
    /// For people who read logs and `explain`; never part of a path.
    pub name: String,
    pub namespaces: Namespaces,
    /// The uid and gid range of the sandbox's user namespace. None with `user: host`, and when the user namespace is another sandbox's.
    pub id_map: Option<IdMap>,
    pub hostname: String,
    #[serde(default)]
    pub domainname: Option<String>,
    /// Name servers for /etc/resolv.conf; None takes the host's file.
    #[serde(default)]
    pub dns: Option<Vec<String>>,
    /// Further lines of /etc/hosts.
    #[serde(default)]
    pub host_aliases: Vec<HostAlias>,
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostAlias {
    pub ip: String,
    pub hostnames: Vec<String>,
}

/// See namespaces(7). The mount namespace is always private.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Namespaces {
    pub network: NamespaceMode,
    pub pid: NamespaceMode,
    pub ipc: NamespaceMode,
    pub uts: NamespaceMode,
    pub cgroup: NamespaceMode,
    pub user: NamespaceMode,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "mode", deny_unknown_fields)]
pub enum NamespaceMode {
    /// A new one.
    Private,
    /// The host's own.
    Host,
    /// That of another running sandbox, handed over by its shim as a file descriptor.
    Join { pod: PodId },
}

/// `0..size` inside is `base..base+size` outside, for uids and gids alike. See user_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdMap {
    pub base: u32,
    pub size: u32,
}

/// One container of a sandbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerConfig {
    pub name: ContainerName,
    /// How often this container was started before: part of the log file's name, as in CRI.
    pub attempt: u32,
    pub rootfs: Rootfs,
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Size of /dev/shm in bytes; 64 MiB when absent.
    #[serde(default)]
    pub shm_size: Option<u64>,
    pub process: Process,
    #[serde(default)]
    pub resources: Resources,
    pub security: Security,
    #[serde(default)]
    pub rlimits: Vec<Rlimit>,
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    #[serde(default)]
    pub log: LogConfig,
    /// Run the runtime's own tiny init as pid 1, which forwards signals and reaps orphans (`docker run --init`).
    #[serde(default)]
    pub init: bool,
}

/// Unpacked layers, lowest first; the writable upper folder is the sandbox's own and is kept between attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rootfs {
    pub layers: Vec<LayerId>,
    #[serde(default)]
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    pub source: MountSource,
    /// Absolute path inside the container.
    pub target: String,
    #[serde(default)]
    pub read_only: bool,
    /// Bind mounts only.
    #[serde(default)]
    pub propagation: Propagation,
    #[serde(default)]
    pub options: Vec<MountOption>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type", deny_unknown_fields)]
pub enum MountSource {
    /// An absolute path on the host; mounted with everything below it, idmapped when the sandbox has a user namespace.
    Bind { path: String },
    /// A named volume, or a folder of it, which is made when it is missing; filled from the image's folder at its first use when `copy_up` is
    /// set and it is empty.
    Volume {
        id: VolumeId,
        copy_up: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sub_path: Option<String>,
    },
    /// Memory; `size` in bytes, `mode` as in chmod.
    Tmpfs { size: Option<u64>, mode: Option<u32> },
}

/// What a mount forbids or leaves undone: see mount(8), by whose words they are called, and mount_setattr(2). `nodev` is always so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountOption {
    Noexec,
    Nosuid,
    Nodev,
    Noatime,
    Nosymfollow,
}

/// See mount_namespaces(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Propagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Process {
    /// Program and arguments; a program without a slash is looked for in the container's PATH.
    pub argv: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    pub cwd: String,
    /// `uid`, `uid:gid`, `name` or `name:group`, resolved in the container's own /etc/passwd and /etc/group; empty is root.
    #[serde(default)]
    pub user: String,
    /// Supplementary groups beyond those of the image.
    #[serde(default)]
    pub additional_gids: Vec<u32>,
    #[serde(default)]
    pub tty: bool,
    #[serde(default)]
    pub stdin: bool,
}

/// All optional: absent means no limit. Units are the kernel's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// CPU time in thousandths of a core, by CFS bandwidth control.
    pub cpu_millis: Option<u64>,
    /// Relative weight, 2 to 262,144, 1,024 by default (cgroup v1's cpu.shares; converted to cpu.weight on v2).
    pub cpu_shares: Option<u64>,
    /// As in cpuset(7): `0-3,5`.
    pub cpuset: Option<String>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Memory plus swap in bytes, as Docker's `--memory-swap`; equal to `memory` means no swap, and so does nothing beside a memory limit; -1 is
    /// unlimited.
    pub memory_swap: Option<i64>,
    pub pids: Option<u64>,
    #[serde(default)]
    pub io: Vec<IoLimit>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IoLimit {
    /// A block device's path on the host.
    pub device: String,
    pub read_bps: Option<u64>,
    pub write_bps: Option<u64>,
    pub read_iops: Option<u64>,
    pub write_iops: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Security {
    /// Everything off: all capabilities, no seccomp, no masks, all devices. The explicit way out.
    #[serde(default)]
    pub privileged: bool,
    /// Names without `CAP_`, added to or taken from the default set; `ALL` is known in both.
    #[serde(default)]
    pub cap_add: Vec<String>,
    #[serde(default)]
    pub cap_drop: Vec<String>,
    #[serde(default = "yes")]
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type", deny_unknown_fields)]
pub enum Seccomp {
    Default,
    Unconfined,
    /// A profile in the JSON form of the OCI runtime specification (`linux.seccomp`) or of Docker.
    Custom {
        profile: serde_json::Value,
    },
}

/// See getrlimit(2); the type without `RLIMIT_`, in lower case (`nofile`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rlimit {
    #[serde(rename = "type")]
    pub kind: String,
    pub soft: u64,
    pub hard: u64,
}

/// Rotation of the log: the newest file and `max_files - 1` older ones, each of at most `max_size` bytes (and one record).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogConfig {
    pub max_size: u64,
    pub max_files: u32,
}

impl Default for LogConfig {
    /// The kubelet's own defaults: `containerLogMaxSize: 10Mi`, `containerLogMaxFiles: 5`.
    fn default() -> Self {
        LogConfig { max_size: 10 << 20, max_files: 5 }
    }
}

/// A further process in a running container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecConfig {
    /// Its name among the container's execs; without one it is in no list.
    #[serde(default)]
    pub id: Option<ExecId>,
    /// It belongs to no connection: nobody reads its output, and its exit code is kept.
    #[serde(default)]
    pub detach: bool,
    /// It may have to be ended with all that it starts, so it gets a cgroup of its own below the container's; else it is in the container's itself.
    #[serde(default)]
    pub own_cgroup: bool,
    pub argv: Vec<String>,
    /// Added to (and overriding) the container's environment.
    #[serde(default)]
    pub env: Vec<String>,
    /// None takes the container's.
    #[serde(default)]
    pub cwd: Option<String>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub tty: bool,
    #[serde(default)]
    pub stdin: bool,
    #[serde(default)]
    pub privileged: bool,
    /// Killed with everything it started after this long.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}
