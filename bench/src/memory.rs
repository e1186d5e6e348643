//! What Berth's own processes hold in memory, as the kernel accounts for it.

use std::fs;
use std::path::Path;

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

fn field(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// The processes of the control plane: `berth serve`, its descendants, and what names its folder; not the shims.
pub(crate) fn control_plane(home: &Path, berth: i32) -> Vec<i32> {
    let home = home.to_string_lossy();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let command = |pid: i32| {
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    let is_ours = |pid: &i32| *pid == berth || parent(*pid) == Some(berth) || command(*pid).contains(home.as_ref());
    pids.filter(is_ours)
        .filter(|pid| *pid == berth || command(*pid).contains("berth-runtime"))
        .filter(|pid| !command(*pid).contains(" shim"))
        .collect()
}
