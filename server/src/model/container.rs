//! The container: wish and fact.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::meta::ObjectMeta;
use super::quantity::{Bytes, Cpu};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Always `Container`.
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: ContainerSpec,
    pub status: ContainerStatus,
}

/// What the user asked for; stored unchanged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerSpec {
    /// Reference, digest or unique id prefix of an image on this machine.
    #[schema(example = "busybox:latest")]
    pub image: String,
    /// Replaces the image's entrypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["sleep", "60"]))]
    pub command: Option<Vec<String>>,
    /// Replaces the image's cmd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// `uid`, `uid:gid`, `name` or `name:group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    pub tty: bool,
    pub stdin: bool,
    /// Run a small init as pid 1 that forwards signals and reaps orphans.
    pub init: bool,
    /// Delete the container when it has exited for good.
    pub auto_remove: bool,
    pub restart_policy: RestartPolicy,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds between the stop signal and SIGKILL; 10 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    pub namespaces: Namespaces,
    pub resources: Resources,
    pub security: Security,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Size of /dev/shm; 64Mi when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<Bytes>,
    /// -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    pub logging: Logging,
    /// Whether it is well; what it leaves out is the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = json!({"test": ["CMD-SHELL", "wget -qO- http://127.0.0.1/ || exit 1"], "intervalSeconds": 10, "timeoutSeconds": 3, "retries": 3}))]
    pub healthcheck: Option<Healthcheck>,
}

/// Docker's `HEALTHCHECK`: a program that is run in the container again and again, as `exec` runs one; 0 is well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = ContainerHealthcheck)]
pub struct Healthcheck {
    /// `["CMD", program, argument…]`, `["CMD-SHELL", line]`, or `["NONE"]` for none; the image's when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Between the end of one check and the next; 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub interval_seconds: Option<u64>,
    /// A check that takes longer is killed with all it started, and has failed; 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub timeout_seconds: Option<u64>,
    /// From the start: until a check has passed, failures in it do not count; 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period_seconds: Option<u64>,
    /// As `intervalSeconds`, while the start period lasts; 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub start_interval_seconds: Option<u64>,
    /// Failures in a row that make it unhealthy; 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub retries: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    pub name: String,
    #[serde(default)]
    pub value: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartPolicy {
    pub name: RestartPolicyName,
    /// `on-failure` only: give up after this many restarts; absent means never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_retry_count: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicyName {
    #[default]
    No,
    OnFailure,
    Always,
    UnlessStopped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    pub container_port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// 127.0.0.1 when absent.
    #[serde(default, rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
    #[serde(default)]
    pub protocol: Protocol,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Protocol {
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    #[serde(rename = "UDP")]
    Udp,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    #[serde(rename = "type")]
    pub kind: MountType,
    /// `bind`: an absolute path on the host. `volume`: the volume's name; without one the container gets a volume of its own. Not for `tmpfs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Absolute path in the container.
    pub target: String,
    #[serde(default)]
    pub read_only: bool,
    /// `bind` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagation: Option<Propagation>,
    /// `tmpfs` only: most bytes it may hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// `tmpfs` only: octal mode, for instance `"1777"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `volume` only: a folder of the volume, in the volume's place; made when it is missing. A symbolic link on the way is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "cache/v1")]
    pub sub_path: Option<String>,
    /// `volume` only: leave an empty one empty, instead of filling it with what the image has at the target.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_copy: bool,
    /// What the mount forbids: words of mount(8). `nodev` is always so, and for `tmpfs` `nosuid` as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<MountOption>,
}

/// See mount(8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MountOption {
    /// No program is executed from it.
    Noexec,
    /// Set-user-ID, set-group-ID and file capabilities are without effect.
    Nosuid,
    /// Device nodes are without effect.
    Nodev,
    /// Reading does not change access times.
    Noatime,
    /// Symbolic links are not followed.
    Nosymfollow,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MountType {
    #[default]
    Bind,
    Volume,
    Tmpfs,
}

/// Kubernetes' `mountPropagation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Propagation {
    None,
    HostToContainer,
    Bidirectional,
}

/// Each is `private`, `shareable`, `host` or `container:<name>`; `network` is also `none` or a network's name. Absent fields take the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Namespaces {
    #[schema(example = "none")]
    pub network: String,
    pub pid: String,
    pub ipc: String,
    pub uts: String,
    pub cgroup: String,
    pub user: String,
}

impl Default for Namespaces {
    fn default() -> Self {
        let private = || "private".to_owned();
        // `none` until the built-in bridge exists: a default that cannot be had would refuse every container.
        Namespaces { network: "none".to_owned(), pid: private(), ipc: private(), uts: private(), cgroup: private(), user: private() }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Cores; a quota by CFS bandwidth control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Relative weight, 2 to 262144.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
    /// Processors, as in cpuset(7): `0-1,3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Memory and swap together, in bytes; equal to `memory` means no swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<Bytes>,
    /// Most processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 100)]
    pub pids: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io: Vec<IoLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkLimit>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IoLimit {
    /// A block device on the host.
    #[schema(example = "/dev/vda")]
    pub device: String,
    /// Bytes per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bps: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_bps: Option<Bytes>,
    /// Operations per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_iops: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_iops: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkLimit {
    /// Bits per second into the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_bps: Option<Bytes>,
    /// Bits per second out of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_bps: Option<Bytes>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Security {
    /// All capabilities, devices and system calls: no isolation from a hostile program.
    pub privileged: bool,
    pub capabilities: Capabilities,
    /// True when absent.
    pub no_new_privileges: bool,
    pub read_only_rootfs: bool,
    pub seccomp: SeccompSpec,
}

impl Default for Security {
    fn default() -> Self {
        Security {
            privileged: false,
            capabilities: Capabilities::default(),
            no_new_privileges: true,
            read_only_rootfs: false,
            seccomp: SeccompSpec::default(),
        }
    }
}

/// Names with or without `CAP_`; `ALL` is every capability.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompSpec {
    #[serde(rename = "type")]
    pub kind: SeccompType,
    /// With `custom`: a profile in the JSON form of the OCI runtime specification (`linux.seccomp`) or of Docker.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub profile: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SeccompType {
    #[default]
    Default,
    Unconfined,
    Custom,
}

/// See getrlimit(2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rlimit {
    /// Without `RLIMIT_`, in lower case.
    #[serde(rename = "type")]
    #[schema(example = "nofile")]
    pub kind: String,
    pub soft: u64,
    pub hard: u64,
}

/// Log rotation; the kubelet's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Logging {
    /// Most bytes of one file: 10Mi when absent.
    pub max_size: Bytes,
    /// Files kept: 5 when absent.
    pub max_files: u32,
}

impl Default for Logging {
    fn default() -> Self {
        Logging { max_size: Bytes(10 << 20), max_files: 5 }
    }
}

/// What was observed; never taken from the client.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    #[schema(required = true)]
    pub phase: Phase,
    /// Pid of the first process in the host's pid namespace, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 11749)]
    pub pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-01-31T09:30:00.5Z")]
    pub started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// As a shell gives it: 128 + the signal when a signal ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal's name, when a signal ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// The kernel's OOM killer killed the first process.
    #[schema(required = true)]
    pub oom_killed: bool,
    /// OOM kills in the container's cgroup, first process and children.
    #[schema(required = true, example = 0)]
    pub oom_kills: u64,
    /// Bytes, at the last exit, where the kernel states it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_peak: Option<u64>,
    /// CamelCase cause: `Completed`, `Error`, `OOMKilled`, `StartError`, `ShimLost`, `CrashLoopBackOff`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[schema(required = true, example = 0)]
    pub restart_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_restart_at: Option<Timestamp>,
    /// `none` (nothing is checked, or it does not run), `starting`, `healthy`, `unhealthy`.
    #[schema(required = true)]
    pub health: String,
    /// Health checks that failed since the last one that passed.
    #[serde(skip_serializing_if = "is_zero")]
    pub failing_streak: u32,
    /// The newest health checks of this run, five at most, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub health_log: Vec<HealthCheckResult>,
    #[schema(required = true, example = json!({}))]
    pub networks: BTreeMap<String, NetworkStatus>,
    /// Volumes that were made for this container alone: where each is mounted, and its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// First host uid of the container's range of 65,536.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid_base: Option<u32>,
    #[schema(required = true)]
    pub observed_generation: u64,
    /// What this host could not give, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// One health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheckResult {
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub finished_at: Timestamp,
    /// 0 is well; -1 when it could not be run, or took too long.
    pub exit_code: i32,
    /// What it wrote, 4 KiB at most.
    pub output: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = "Running")]
pub enum Phase {
    #[default]
    Created,
    Running,
    Paused,
    Exited,
    Restarting,
    Dead,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    pub ips: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}
