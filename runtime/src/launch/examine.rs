//! `berth doctor`'s eyes: the host tried anew, and all that bears Berth's name found by looking, not by remembering.
//!
//! In a process of its own: a worker of the launcher, or `berth-runtime examine` where no launcher runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use super::facts;
use crate::cgroup::{self, Hierarchies};
use crate::error::{RuntimeError, SetupError, SysError};
use crate::examination::{Descriptors, Examination, FileSystem, RunDirFound};
use crate::id::{InstanceId, PodId};
use crate::rundir::try_lock;
use crate::sys::{clock, signal};
use crate::worker;

/// Programs that networks need, each with a question that changes nothing.
const TOOLS: [(&str, &[&str]); 2] = [("nft", &["list", "tables"]), ("tc", &["qdisc", "show", "dev", "lo"])];

fn failed(error: SysError) -> RuntimeError {
    RuntimeError::Setup(SetupError::new("examine", &error))
}

/// Without an instance (nothing was ever made here) only others' things are found.
pub fn examine(run_dir: &Path, data_dir: &Path, instance: Option<&InstanceId>) -> Result<Examination, RuntimeError> {
    let hierarchies = Hierarchies::detect().map_err(failed)?;
    let features = facts::features(&hierarchies, data_dir);
    let (kind, mounts) = mount_table(run_dir, data_dir);
    let mut inventory = worker::inventory(data_dir)?;
    inventory.mounts = mounts;
    inventory.run_dirs = run_dirs(&run_dir.join("pods")).map_err(failed)?;
    inventory.cgroups = instance.map(|instance| cgroup::survey(&hierarchies, instance)).unwrap_or_default();
    inventory.other_instances = cgroup::others(&hierarchies, instance);
    // Its programs are waited for: the launcher's SIGCHLD is ignored, and that is inherited.
    signal::reset_all().map_err(failed)?;
    Ok(Examination {
        facts: facts::gather(&hierarchies, features),
        storage: file_system(&facts::nearest(data_dir), kind).map_err(failed)?,
        descriptors: descriptors(),
        clock_synchronised: clock::synchronised(),
        tools: TOOLS.iter().map(|(program, arguments)| ((*program).to_owned(), try_tool(program, arguments))).collect::<BTreeMap<_, _>>(),
        inventory,
    })
}

fn try_tool(program: &str, arguments: &[&str]) -> String {
    // As root's PATH has it: the launcher's own environment is empty.
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    match Command::new(program).args(arguments).env("PATH", path).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => "available".to_owned(),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("{program} {}: {}", arguments.join(" "), said.lines().next().unwrap_or("failed").trim())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!("{program} is not installed"),
        Err(error) => format!("{program}: {error}"),
    }
}

fn run_dirs(folder: &Path) -> Result<Vec<RunDirFound>, SysError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(SysError::io("opendir", folder.display(), &error)),
    };
    let mut found = Vec::new();
    for name in entries.flatten().map(|entry| entry.file_name()) {
        let Some(pod) = name.to_str().and_then(|name| name.parse::<PodId>().ok()) else { continue };
        let lock = folder.join(pod.as_str()).join("lock");
        // A look, not a claim: released when it is dropped here.
        let alive = lock.exists() && try_lock(&lock)?.is_none();
        found.push(RunDirFound { pod, alive });
    }
    found.sort_by(|a, b| a.pod.cmp(&b.pod));
    Ok(found)
}

/// The kind of the file system that the data folder is on, and the mount points of the host that are in Berth's own folders, where it makes
/// none. See proc_pid_mountinfo(5).
fn mount_table(run_dir: &Path, data_dir: &Path) -> (String, Vec<String>) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let ours = [run_dir.join("pods"), data_dir.join("pods"), data_dir.join("layers"), data_dir.join("volumes")];
    let mut kind = (0, String::new());
    let mut inside = Vec::new();
    for line in table.lines() {
        let (Some(point), Some((_, rest))) = (line.split(' ').nth(4), line.split_once(" - ")) else { continue };
        let point = Path::new(point);
        let depth = point.components().count();
        if data_dir.starts_with(point) && depth >= kind.0 {
            kind = (depth, rest.split(' ').next().unwrap_or_default().to_owned());
        }
        // The folder itself may be a disk of its own: that is the administrator's.
        if ours.iter().any(|folder| point.starts_with(folder) && point != folder.as_path()) {
            inside.push(point.display().to_string());
        }
    }
    (kind.1, inside)
}

fn file_system(folder: &Path, kind: String) -> Result<FileSystem, SysError> {
    let stat = nix::sys::statvfs::statvfs(folder).map_err(|errno| SysError::new("statvfs", folder.display(), errno))?;
    let unit = stat.fragment_size();
    Ok(FileSystem {
        kind,
        total_bytes: stat.blocks() * unit,
        free_bytes: stat.blocks_available() * unit,
        total_inodes: stat.files(),
        free_inodes: stat.files_available(),
    })
}

fn descriptors() -> Descriptors {
    let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
    // Allocated, free, most: see proc_sys_fs(5).
    let table = std::fs::read_to_string("/proc/sys/fs/file-nr").unwrap_or_default();
    let numbers: Vec<u64> = table.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
    Descriptors { soft, hard, open: number(0), most: number(2) }
}
