//! What other engines leave behind when they end: helper processes (podman's conmon of an exec waits five minutes), mounts, empty cgroups.
//! Everything of a run names the run's folder, or is below a cgroup with the probe's own name.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::memory;

/// The cgroup below which the peers that can be told so put their containers.
pub(crate) fn cgroup_parent() -> String {
    format!("berth-bench-{}", std::process::id())
}

/// Clears whatever still names `home`, and the probe's cgroups.
pub(crate) fn sweep(home: &Path) {
    for pid in memory::processes_that_name(home) {
        end(pid);
    }
    for mount in mounts_below(home) {
        let _ = unmount(&mount, UnmountFlags::DETACH);
    }
    for hierarchy in folders(Path::new("/sys/fs/cgroup")) {
        // A hybrid or v1 host has a tree a controller, a v2 host is one tree.
        remove_cgroups(&hierarchy.join(cgroup_parent()));
    }
    remove_cgroups(&Path::new("/sys/fs/cgroup").join(cgroup_parent()));
}

/// Kills it and waits until it has ended: a cgroup with a process in it cannot be removed.
fn end(pid: i32) {
    const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
    let Some(pid) = Pid::from_raw(pid) else { return };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&PATIENCE));
}

/// The innermost first.
fn mounts_below(home: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(home)).collect();
    below.reverse();
    below
}

fn folders(below: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(below).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn remove_cgroups(cgroup: &Path) {
    for child in folders(cgroup) {
        remove_cgroups(&child);
    }
    let _ = fs::remove_dir(cgroup);
}
