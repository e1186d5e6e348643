//! The ledger: what of Berth is on this machine now. It is read before and after, and the difference must be zero.
//!
//! Other programs, and other instances of Berth, may run on the same machine: something counts as ours when it carries one of our marks, which are
//! the folders, ids and namespaces of the instance under test. In CI nothing else runs: there the whole machine is compared as well, once, before
//! the first test and after the last (in between, tests that run side by side would see each other's).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::host::{self, Process};

/// What makes a thing ours.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks {
    /// Found in a process's command line or cgroup, in a mount, a cgroup's path, a link's or a table's name.
    pub(crate) texts: BTreeSet<String>,
    /// The namespaces of each container that was seen running, those that it shares with the host left out.
    pub(crate) namespaces: Vec<BTreeMap<&'static str, u64>>,
    /// Files below these folders are ours when one of the texts is in their path under it.
    pub(crate) folders: Vec<PathBuf>,
}

impl Marks {
    /// Remembers the namespaces of a process, so that whatever stays in them is found after all its names are gone.
    pub(crate) fn remember_namespaces_of(&mut self, pid: i32) {
        let Some(process) = host::process(pid) else { return };
        let own = process.namespaces.into_iter().filter(|(kind, inode)| *inode != host::own_namespace(kind));
        self.namespaces.push(own.collect());
    }

    fn in_text(&self, text: &str) -> bool {
        self.texts.iter().any(|mark| text.contains(mark))
    }

    /// By a name that no other process on this machine can bear: sure enough to end it.
    pub(crate) fn names(&self, process: &Process) -> bool {
        self.in_text(&process.command) || self.in_text(&process.cgroup)
    }

    /// By at least three namespaces of one container. The kernel gives the number of a namespace that is gone to a new one, so that this is a
    /// reason to look and not to kill; and what is in the cgroup of some container is that container's.
    fn suspects(&self, process: &Process) -> bool {
        let shared =
            |seen: &BTreeMap<&'static str, u64>| seen.iter().filter(|(kind, inode)| process.namespaces.get(*kind) == Some(inode)).count();
        !process.cgroup.contains("/berth-") && self.namespaces.iter().any(|seen| shared(seen) >= 3)
    }
}

/// One line for each thing.
pub(crate) type Entries = BTreeSet<String>;

/// What is there now and carries one of the marks.
pub(crate) fn ours(marks: &Marks) -> Entries {
    let mut entries = Entries::new();
    let processes = processes(marks);
    entries.extend(processes.iter().map(|process| format!("process    {} {} {}", process.pid, process.state, process.command)));
    entries.extend(mounts().into_iter().filter(|line| marks.in_text(line)));
    entries.extend(cgroups().into_iter().filter(|line| marks.in_text(line)));
    entries.extend(links().into_iter().filter(|line| marks.in_text(line)));
    entries.extend(tables().into_iter().filter(|line| marks.in_text(line)));
    for folder in &marks.folders {
        let named = |path: &&PathBuf| path.strip_prefix(folder).is_ok_and(|below| marks.in_text(&below.to_string_lossy()));
        entries.extend(host::tree(folder).iter().filter(named).map(|path| format!("file       {}", path.display())));
    }
    entries
}

/// The processes among them.
fn processes(marks: &Marks) -> Vec<Process> {
    let others = others();
    others.into_iter().filter(|process| marks.names(process) || marks.suspects(process)).collect()
}

/// Those that are ours by name: what may be ended.
pub(crate) fn named_processes(marks: &Marks) -> Vec<Process> {
    others().into_iter().filter(|process| marks.names(process)).collect()
}

fn others() -> Vec<Process> {
    let own_pid = i32::try_from(std::process::id()).unwrap_or_default();
    host::processes().into_iter().filter(|process| process.pid != own_pid).collect()
}

/// Everything on this machine that only root's programs make: for a machine on which nothing else runs.
pub(crate) fn whole_machine() -> Entries {
    let mut entries = Entries::new();
    entries.extend(mounts());
    entries.extend(cgroups());
    entries.extend(links());
    entries.extend(tables());
    entries.extend(ipc_objects());
    for process in host::processes() {
        for (kind, inode) in process.namespaces.iter().filter(|(kind, inode)| **inode != host::own_namespace(kind)) {
            entries.insert(format!("namespace  {kind} {inode} of {} {}", process.pid, process.command));
        }
    }
    entries
}

/// What came and what went, one a line; empty when nothing did.
pub(crate) fn difference(before: &Entries, after: &Entries) -> String {
    let came = after.difference(before).map(|entry| format!("  + {entry}\n"));
    let went = before.difference(after).map(|entry| format!("  - {entry}\n"));
    came.chain(went).collect()
}

/// See proc_pid_mountinfo(5).
fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().map(|line| format!("mount      {line}")).collect()
}

/// Every cgroup of every hierarchy.
fn cgroups() -> Vec<String> {
    host::folders(Path::new("/sys/fs/cgroup")).iter().map(|path| format!("cgroup     {}", path.display())).collect()
}

fn links() -> Vec<String> {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| format!("link       {}", entry.file_name().to_string_lossy())).collect()
}

/// Tables of nftables, where its tool is installed.
fn tables() -> Vec<String> {
    let Ok(output) = Command::new("nft").args(["list", "tables"]).output() else { return Vec::new() };
    String::from_utf8_lossy(&output.stdout).lines().map(|line| format!("nft        {line}")).collect()
}

/// System V objects of the host's own IPC namespace: see sysvipc(7).
fn ipc_objects() -> Vec<String> {
    let mut found = Vec::new();
    for kind in ["shm", "sem", "msg"] {
        let table = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        // Key and id: the other columns are counters.
        let rows = table.lines().skip(1).map(|row| row.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
        found.extend(rows.map(|row| format!("sysv       {kind} {row}")));
    }
    found
}
