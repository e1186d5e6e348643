//! What processes hold in memory and how long they ran, as the kernel accounts for it.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// Proportional set size in KiB: shared pages divided among those that share them. See smaps_rollup in proc(5).
pub(crate) fn pss(pid: i32) -> Option<u64> {
    field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// Resident set size in KiB.
pub(crate) fn rss(pid: i32) -> Option<u64> {
    field(&format!("/proc/{pid}/status"), "VmRSS:")
}

pub(crate) fn parent(pid: i32) -> Option<i32> {
    i32::try_from(field(&format!("/proc/{pid}/status"), "PPid:")?).ok()
}

/// How long it has been on a processor, all of its threads together.
pub(crate) fn cpu_time(pid: i32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn field(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

fn command(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

fn all() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

pub(crate) fn processes_that_name(folder: &Path) -> Vec<i32> {
    let folder = folder.to_string_lossy();
    all().into_iter().filter(|pid| command(*pid).contains(folder.as_ref())).collect()
}

/// The processes of an engine's control plane: the daemon, its children, and what names its folder; not what is there for one container.
pub(crate) fn control_plane(home: &Path, daemon: i32) -> Vec<i32> {
    let named = processes_that_name(home);
    let mut found: Vec<i32> =
        all().into_iter().filter(|pid| *pid == daemon || parent(*pid) == Some(daemon) || named.contains(pid)).collect();
    found.retain(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // A zombie has no memory. What is there for one container: berth-shim, containerd-shim, conmon.
        *pid == daemon || rss(*pid).is_some() && !name.contains("-shim") && !name.contains("conmon")
    });
    found
}
