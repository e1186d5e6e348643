//! What a container looks like from outside, read from /proc and its cgroup: figures, processes, namespaces.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use super::container::Container;
use crate::error::RuntimeError;
use crate::status::{NamespaceReport, NetworkStats, ProcessReport, Stats};

/// See proc_pid_ns(5).
const KINDS: [&str; 8] = ["mnt", "uts", "ipc", "pid", "net", "user", "cgroup", "time"];

pub(super) fn stats(container: &Container) -> Stats {
    let mut stats = container.cgroup.stats();
    if let Some(init) = container.init() {
        stats.network = network(init.pid);
    }
    stats
}

/// See proc_pid_net(5): two header lines, then a device and 16 figures a line.
fn network(pid: i32) -> BTreeMap<String, NetworkStats> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let devices = text.lines().skip(2).filter_map(|line| {
        let (name, figures) = line.split_once(':')?;
        let figures: Vec<u64> = figures.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
        let [rx_bytes, rx_packets, rx_errors, rx_dropped, _, _, _, _, tx_bytes, tx_packets, tx_errors, tx_dropped, ..] = figures[..] else {
            return None;
        };
        let stats = NetworkStats { rx_bytes, rx_packets, rx_errors, rx_dropped, tx_bytes, tx_packets, tx_errors, tx_dropped };
        Some((name.trim().to_owned(), stats))
    });
    devices.collect()
}

/// Of a command, for a list.
const LONGEST_COMMAND: u64 = 4096;
/// Of all reports together: a container makes as many and as long commands as it likes, and an answer is one frame of 1 MiB. Who has more processes
/// than fit is shown the first of them, and how many more there are.
const MOST: usize = 768 << 10;

/// And how many more there are.
pub(super) fn processes(container: &Container) -> (Vec<ProcessReport>, u64) {
    let pids = container.cgroup.pids();
    let mut room = MOST;
    let mut reports = Vec::new();
    let mut remaining = 0;
    for (index, pid) in pids.iter().enumerate() {
        let Some(report) = process(*pid) else { continue };
        // As it goes into the frame, where a control character is six bytes.
        let length = serde_json::to_vec(&report).map_or(0, |json| json.len() + 1);
        if length > room {
            remaining = (pids.len() - index) as u64;
            break;
        }
        room -= length;
        reports.push(report);
    }
    reports.sort_by_key(|report| report.container_pid);
    (reports, remaining)
}

/// What the container calls it.
pub(super) fn container_pid(pid: i32) -> Option<i32> {
    process(pid).map(|report| report.container_pid)
}

/// None for a process that has ended meanwhile. See proc_pid_status(5), proc_pid_stat(5).
fn process(pid: i32) -> Option<ProcessReport> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the command, which may contain anything but ends with the last parenthesis.
    let after: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| after.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let mut command = Vec::new();
    std::fs::File::open(format!("/proc/{pid}/cmdline")).ok()?.take(LONGEST_COMMAND).read_to_end(&mut command).ok()?;
    let command = String::from_utf8_lossy(&command).trim_end_matches('\0').replace('\0', " ");
    let name = field("Name").unwrap_or_default();
    Some(ProcessReport {
        pid,
        container_pid: field("NSpid")?.split_whitespace().last()?.parse().ok()?,
        parent_pid: field("PPid")?.parse().ok()?,
        uid: field("Uid")?.split_whitespace().next()?.parse().ok()?,
        state: field("State")?.split_whitespace().next()?.to_owned(),
        command: if command.is_empty() { format!("[{name}]") } else { command },
        threads: field("Threads")?.parse().ok()?,
        memory_bytes: field("VmRSS").and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024,
        // utime and stime, fields 14 and 15 of the whole line, in ticks of 10 ms (sysconf(_SC_CLK_TCK) is 100 on every Linux).
        cpu_nanos: (ticks(11) + ticks(12)) * 10_000_000,
    })
}

/// The rows of lsns(8) for the container's first process.
pub(super) fn namespaces(container: &Container) -> Result<Vec<NamespaceReport>, RuntimeError> {
    let pid = container.running()?.pid;
    let mut rows: Vec<NamespaceReport> = KINDS
        .iter()
        .filter_map(|kind| {
            let path = format!("/proc/{pid}/ns/{kind}");
            let inode = std::fs::metadata(&path).ok()?.ino();
            let host = std::fs::metadata(format!("/proc/1/ns/{kind}")).is_ok_and(|metadata| metadata.ino() == inode);
            Some(NamespaceReport { kind: (*kind).to_owned(), inode, path, host, processes: 0, pid, command: String::new() })
        })
        .collect();
    for member in all_pids() {
        for row in &mut rows {
            let inode = std::fs::metadata(format!("/proc/{member}/ns/{}", row.kind)).map(|metadata| metadata.ino());
            if inode.is_ok_and(|inode| inode == row.inode) {
                row.processes += 1;
                row.pid = row.pid.min(member);
            }
        }
    }
    for row in &mut rows {
        row.command = process(row.pid).map(|report| report.command).unwrap_or_default();
    }
    Ok(rows)
}

fn all_pids() -> BTreeSet<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return BTreeSet::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
