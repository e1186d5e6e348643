//! The runtime's reports as the OpenAPI document describes them. The runtime knows nothing of that document, so its types are told here once
//! more, for it alone; a test compares every field.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// `{items}`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Items<T> {
    pub items: Vec<T>,
}

/// `{items, remainingItemCount}`: as much of a list as one answer holds.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part<T> {
    pub items: Vec<T>,
    /// How many more there are.
    #[schema(example = 0)]
    pub remaining_item_count: u64,
}

/// One sample of what a container uses; null where this host does not state it.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Stats)]
pub struct StatsView {
    #[schema(format = DateTime)]
    pub timestamp: String,
    pub cpu: CpuDoc,
    pub memory: MemoryDoc,
    pub pids: PidsDoc,
    pub io: Vec<IoDoc>,
    /// By interface.
    pub network: BTreeMap<String, NetworkDoc>,
    /// Pressure stall information: `cpu`, `memory`, `io`.
    pub pressure: BTreeMap<String, PressureDoc>,
}

#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CpuStats)]
pub struct CpuDoc {
    pub usage_nanos: Option<u64>,
    pub user_nanos: Option<u64>,
    pub system_nanos: Option<u64>,
    pub periods: Option<u64>,
    pub throttled_periods: Option<u64>,
    pub throttled_nanos: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MemoryStats)]
pub struct MemoryDoc {
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

#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PidsStats)]
pub struct PidsDoc {
    pub current: Option<u64>,
    pub limit: Option<u64>,
    /// Forks refused because of the limit.
    pub refused: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = IoStats)]
pub struct IoDoc {
    /// `major:minor`.
    #[schema(example = "8:0")]
    pub device: String,
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub read_operations: u64,
    pub write_operations: u64,
}

#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NetworkStats)]
pub struct NetworkDoc {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Pressure)]
pub struct PressureDoc {
    /// Percent of the last 10, 60 and 300 seconds in which some task waited.
    pub some_avg10: f64,
    pub some_avg60: f64,
    pub some_avg300: f64,
    pub some_total_micros: u64,
    pub full_avg10: f64,
    pub full_total_micros: u64,
}

/// A container's cgroup.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Cgroup)]
pub struct CgroupDoc {
    /// `v1`, `hybrid` or `v2`.
    pub version: String,
    pub controllers: Vec<ControllerDoc>,
}

#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CgroupController)]
pub struct ControllerDoc {
    /// `memory`, `cpu`, …, and `unified` for the v2 leaf of a hybrid host.
    pub controller: String,
    #[schema(example = "/user.slice/berth")]
    pub path: String,
    /// File name to content, as the kernel states it.
    pub files: BTreeMap<String, String>,
}

/// One process of a container, with its pid on both sides.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Process)]
pub struct ProcessDoc {
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
    #[schema(example = "httpd -f -p 8080")]
    pub command: String,
    pub threads: u32,
    pub memory_bytes: u64,
    pub cpu_nanos: u64,
}

/// One namespace of a container: a row of what lsns(8) prints.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Namespace)]
pub struct NamespaceDoc {
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
    /// Names of the other running containers in it.
    pub shared_with: Vec<String>,
}

/// One kernel operation.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = KernelOperation)]
pub struct OperationDoc {
    /// The stage it belongs to: `cgroup`, `namespaces`, `mounts`, `pivot-root`, …
    pub stage: String,
    /// Who did it: `launcher`, `shim` or `init`.
    pub actor: String,
    /// The system call's name.
    pub call: String,
    #[schema(example = json!(["/proc", "proc"]))]
    pub arguments: Vec<String>,
    #[schema(format = DateTime)]
    pub started_at: String,
    pub duration_nanos: u64,
    /// `ok`, a value, or the errno's name.
    pub result: String,
    /// A shell line that does the same; empty where there is none.
    pub shell: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::status;
    use serde_json::Value;

    fn keys(value: impl Serialize) -> Vec<String> {
        let Value::Object(fields) = serde_json::to_value(value).unwrap() else { panic!("not an object") };
        let mut keys: Vec<String> = fields.keys().cloned().collect();
        keys.sort();
        keys
    }

    #[test]
    fn the_document_tells_what_the_runtime_reports() {
        assert_eq!(keys(StatsView::default()), keys(status::Stats::default()));
        assert_eq!(keys(CpuDoc::default()), keys(status::CpuStats::default()));
        assert_eq!(keys(MemoryDoc::default()), keys(status::MemoryStats::default()));
        assert_eq!(keys(PidsDoc::default()), keys(status::PidsStats::default()));
        assert_eq!(keys(IoDoc::default()), keys(status::IoStats::default()));
        assert_eq!(keys(NetworkDoc::default()), keys(status::NetworkStats::default()));
        assert_eq!(keys(PressureDoc::default()), keys(status::Pressure::default()));
        assert_eq!(keys(CgroupDoc::default()), keys(status::CgroupView::default()));
        assert_eq!(keys(ControllerDoc::default()), keys(status::ControllerView::default()));
        let process = status::ProcessReport {
            pid: 1,
            container_pid: 1,
            parent_pid: 1,
            uid: 1,
            state: String::new(),
            command: String::new(),
            threads: 1,
            memory_bytes: 1,
            cpu_nanos: 1,
        };
        assert_eq!(keys(ProcessDoc::default()), keys(process));
        let report = status::NamespaceReport {
            kind: String::new(),
            inode: 1,
            path: String::new(),
            host: false,
            processes: 1,
            pid: 1,
            command: String::new(),
        };
        assert_eq!(keys(NamespaceDoc::default()), keys(super::super::namespaces::NamespaceView { report, shared_with: vec![] }));
        let operation = runtime::trace::Operation {
            stage: String::new(),
            actor: String::new(),
            call: String::new(),
            arguments: vec![],
            started_at: jiff::Timestamp::UNIX_EPOCH,
            duration_nanos: 1,
            result: String::new(),
            shell: String::new(),
        };
        assert_eq!(keys(OperationDoc::default()), keys(operation));
    }
}
