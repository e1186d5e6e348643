//! What the tests read from the host's own kernel, past Berth: /proc, /sys, and pidfds to end a process.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this kernel is of that version or a later one.
pub(crate) fn kernel_at_least(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (major, minor)
}

/// All kinds of namespace that a container may have of its own, as files of /proc/<pid>/ns.
pub(crate) const NAMESPACES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// The inode that names a namespace: see namespaces(7). None when the process is gone.
pub(crate) fn namespace(pid: i32, kind: &str) -> Option<u64> {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()?;
    link.to_str()?.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

pub(crate) fn own_namespace(kind: &str) -> u64 {
    namespace(i32::try_from(std::process::id()).unwrap(), kind).expect("this process has namespaces")
}

/// A process as /proc shows it.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// proc_pid_stat(5), field 3.
    pub(crate) state: char,
    /// Clock ticks since boot: with the pid it names one process for good.
    pub(crate) started: u64,
    pub(crate) command: String,
    pub(crate) cgroup: String,
    pub(crate) namespaces: BTreeMap<&'static str, u64>,
}

/// One process; None when it is gone.
pub(crate) fn process(pid: i32) -> Option<Process> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    // The name may hold spaces and brackets: fields count from the last bracket.
    let (front, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let cmdline = fs::read(folder.join("cmdline")).unwrap_or_default();
    let mut command = String::from_utf8_lossy(&cmdline).replace('\0', " ").trim().to_owned();
    if command.is_empty() {
        command = format!("[{}]", front.split_once('(')?.1);
    }
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        state: fields.first()?.chars().next()?,
        started: fields.get(19)?.parse().ok()?,
        command,
        cgroup: fs::read_to_string(folder.join("cgroup")).unwrap_or_default(),
        namespaces: NAMESPACES.iter().filter_map(|kind| Some((*kind, namespace(pid, kind)?))).collect(),
    })
}

/// Every process of this machine.
pub(crate) fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc is readable");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter_map(process).collect()
}

/// A line of /proc/<pid>/status, such as `CapEff`.
pub(crate) fn status_field(pid: i32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
}

/// Sends a signal to exactly the process that was seen, never to one that got its number later.
pub(crate) fn kill(process: &Process, signal: Signal) {
    let Some(pid) = Pid::from_raw(process.pid) else { return };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if self::process(process.pid).is_some_and(|now| now.started == process.started) {
        // It may have ended meanwhile: that is what was wanted.
        let _ = pidfd_send_signal(&pidfd, signal);
    }
}

/// A time that is ample on a machine as people have it: as many times longer as `BERTH_TEST_SLOWNESS` says that this one is slower, which is
/// an emulated one. For how long to wait and how quick to be; never for what is measured against another time of the same machine.
pub(crate) fn ample(time: Duration) -> Duration {
    static SLOWNESS: OnceLock<u32> = OnceLock::new();
    time * *SLOWNESS.get_or_init(|| {
        let told = std::env::var("BERTH_TEST_SLOWNESS").ok();
        told.map_or(1, |text| text.parse().expect("BERTH_TEST_SLOWNESS is a whole number"))
    })
}

/// Looks until the answer is there. For what the kernel does not announce; everything else is waited for through the API.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let patience = ample(Duration::from_secs(15));
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Folders and files below a folder, whatever can be read of it.
pub(crate) fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() && !path.is_symlink() {
            found.extend(tree(&path));
        }
        found.push(path);
    }
    found
}

/// Folders below a folder of cgroupfs.
pub(crate) fn folders(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        found.extend(folders(&entry.path()));
        found.push(entry.path());
    }
    found
}
