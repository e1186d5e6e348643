//! The folders of the tree: making them from the top down, listing what is in them, removing them from the bottom up.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::file;
use super::hierarchy::{Controller, Hierarchies, Hierarchy, Version};
use crate::error::SysError;
use crate::trace::Trace;

/// Makes `relative` (an instance, a pod and a container; or less) in one hierarchy, with the parents that are missing. A folder that a dead
/// shim left behind is removed first, so that no limit and no counter of it is inherited; one with processes in it is EBUSY.
pub(super) fn make(hierarchies: &Hierarchies, hierarchy: &Hierarchy, relative: &Path, trace: &mut Trace) -> Result<(), SysError> {
    let path = hierarchy.mount.join(relative);
    // Whoever removes the last folder of a parent, removes the parent, perhaps between two of these calls; not once our folder is in it.
    for _ in 0..TRIES {
        match mkdir(&path, trace) {
            Ok(()) => return prepare(hierarchies, hierarchy, relative, trace),
            Err(error) if error.source == Errno::EEXIST => remove(&path)?,
            Err(error) if error.source == Errno::ENOENT => {
                make_folders(hierarchies, hierarchy, relative.parent().unwrap_or(Path::new("")), trace)?;
            }
            Err(error) => return Err(error),
        }
    }
    Err(SysError::new("mkdir", path.display(), Errno::EAGAIN))
}

const TRIES: usize = 32;

/// Makes the folders down to `relative` that are missing, and shares those that are there.
pub(super) fn make_folders(hierarchies: &Hierarchies, hierarchy: &Hierarchy, relative: &Path, trace: &mut Trace) -> Result<(), SysError> {
    let mut parents: Vec<&Path> = relative.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
    parents.reverse();
    for parent in parents {
        match mkdir(&hierarchy.mount.join(parent), trace).and_then(|()| prepare(hierarchies, hierarchy, parent, trace)) {
            Err(error) if error.source == Errno::EEXIST => {}
            // Removed again by another: the caller starts anew.
            Err(error) if error.source == Errno::ENOENT => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

/// A try that finds the folder there, or its parent missing, is the ordinary course of things and no operation to show.
fn mkdir(path: &Path, trace: &mut Trace) -> Result<(), SysError> {
    let make = || nix::unistd::mkdir(path, nix::sys::stat::Mode::from_bits_truncate(0o755));
    let mut outcome = make();
    if matches!(outcome, Err(Errno::EEXIST | Errno::ENOENT)) {
        return outcome.map_err(|errno| SysError::new("mkdir", path.display(), errno));
    }
    trace.run("mkdir", [path.display().to_string(), "0755".to_owned()], format!("mkdir {}", path.display()), || {
        std::mem::replace(&mut outcome, Ok(())).map_err(|errno| SysError::new("mkdir", path.display(), errno))
    })
}

/// What a new folder needs before processes or folders can come into it.
fn prepare(hierarchies: &Hierarchies, hierarchy: &Hierarchy, relative: &Path, trace: &mut Trace) -> Result<(), SysError> {
    match hierarchy.version {
        Version::V1 if hierarchy.has("cpuset") => fill_cpuset(&hierarchy.mount, relative, trace),
        Version::V1 => Ok(()),
        Version::V2 => {
            let here = |c: &Controller| hierarchies.home(*c).is_some_and(|home| home.version == Version::V2);
            let wanted: Vec<&str> = Controller::ALL.iter().filter(|c| here(c)).map(|c| c.name(Version::V2)).collect();
            enable_controllers(&hierarchy.mount, relative.parent(), &wanted, trace)
        }
    }
}

/// A new v1 cpuset is empty, and takes no process (ENOSPC) before both lists are filled. The uppermost folder, which is Berth's own, gets
/// them by hand and has its children filled by the kernel (`cgroup.clone_children`), which saves four writes a container; one that is empty
/// all the same, because it came before that switch, is filled by hand, and its parents with it. See cpuset(7).
fn fill_cpuset(mount: &Path, relative: &Path, trace: &mut Trace) -> Result<(), SysError> {
    let dir = mount.join(relative);
    let empty = ["cpuset.cpus", "cpuset.mems"].map(|name| file::read(&dir.join(name)).map_or(true, |list| list.trim().is_empty()));
    if empty != [false, false] {
        let parent = relative.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            fill_cpuset(mount, parent, trace)?;
        }
        let from = mount.join(parent.unwrap_or(Path::new("")));
        for name in ["cpuset.cpus", "cpuset.mems"] {
            let list = file::read(&from.join(name))?;
            write(&dir.join(name), list.trim(), trace)?;
        }
        if parent.is_none() {
            write(&dir.join("cgroup.clone_children"), "1", trace)?;
        }
    }
    Ok(())
}

/// Has every folder from the root down to `relative` hand the controllers on: a v2 folder has a controller's files only when its parent's
/// `cgroup.subtree_control` names it. See cgroups(7), "Cgroups v2 subtree control".
fn enable_controllers(mount: &Path, relative: Option<&Path>, wanted: &[&str], trace: &mut Trace) -> Result<(), SysError> {
    let Some(relative) = relative else { return Ok(()) };
    let path = mount.join(relative).join("cgroup.subtree_control");
    let enabled = file::get(&path).unwrap_or_default();
    let missing = wanted.iter().filter(|&&name| enabled.split_whitespace().all(|on| on != name)).map(|name| format!("+{name}"));
    let missing: Vec<String> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    enable_controllers(mount, relative.parent(), wanted, trace)?;
    write(&path, &missing.join(" "), trace)
}

/// One recorded write.
pub(super) fn write(path: &Path, text: &str, trace: &mut Trace) -> Result<(), SysError> {
    let shell = format!("echo {text:?} > {}", path.display());
    trace.run("write", [path.display().to_string(), text.to_owned()], shell, || file::write(path, text))
}

/// Removes a folder and those that a container made below it. ENOENT is success; EBUSY means processes.
pub(super) fn remove(path: &Path) -> Result<(), SysError> {
    match rmdir(path) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        // v1 says EBUSY for children too.
        Err(Errno::EBUSY | Errno::ENOTEMPTY) => {}
        Err(errno) => return Err(SysError::new("rmdir", path.display(), errno)),
    }
    for child in children(path) {
        remove(&child)?;
    }
    match rmdir(path) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(SysError::new("rmdir", path.display(), errno)),
    }
}

/// The trees of the tests are plain folders, where the files do not vanish with the folder.
pub(super) fn rmdir(path: &Path) -> Result<(), Errno> {
    if cfg!(test) && !path.starts_with("/sys/fs/cgroup") {
        for entry in fs::read_dir(path).into_iter().flatten().flatten().filter(|e| e.file_type().is_ok_and(|kind| !kind.is_dir())) {
            let _ = fs::remove_file(entry.path());
        }
    }
    fs::remove_dir(path).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

/// The folders in a folder; none where it does not exist.
pub(super) fn children(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// The processes in a folder and below it, as pids of the caller's pid namespace (0 for one that has none there).
pub(super) fn pids(path: &Path, found: &mut Vec<i32>) {
    // A threaded v2 folder has no such list (EOPNOTSUPP): its processes are in its domain's.
    if let Ok(list) = file::read(&path.join("cgroup.procs")) {
        found.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    for child in children(path) {
        pids(&child, found);
    }
}

/// Whether the folder is there; any other answer than "no such file" counts as yes.
pub(super) fn exists(path: &Path) -> bool {
    !matches!(fs::symlink_metadata(path), Err(error) if error.kind() == ErrorKind::NotFound)
}
