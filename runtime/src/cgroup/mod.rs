//! A container's cgroup: v1, hybrid and v2 behind one type.
//!
//! ```text
//! <each mounted hierarchy>/berth-<instance>/<pod>/<container>      names from ids only: an orphan is found by its place
//!
//! v1      cpu/… memory/… pids/… blkio/… cpuset/… devices/… freezer/… systemd/…
//! hybrid  the same, and a leaf in the v2 tree: cgroup.kill, cgroup.freeze, cgroup.events, pressure
//! v2      one folder with everything
//!
//!   create --> (processes join: v1 by descriptor, v2 at birth) --> apply, stats, freeze, thaw --> kill_all --> wait_empty --> remove
//!      |                                                                                            ^
//!      '-- a step fails: what was made is removed                    clean(ids), after a crash -----'
//! ```
//!
//! A controller that lives elsewhere than usual (hugetlb alone in the v2 tree of a hybrid host) is left where it is: each limit goes to
//! where its controller is. Paths are kept and not descriptors: an open folder would keep a removed memory cgroup alive, and saves 1.5 us of
//! a read's 6. It is not the place for pod-wide limits, nor does it know processes: whoever joins does so through the descriptors from here.
//!
//! cgroups-rs does the writing of limits and stays behind this module; what it does not do is said where it is not done (`hierarchy`,
//! `limit`, `devices`).

mod apply;
mod check;
mod devices;
mod error;
mod file;
mod freeze;
mod hierarchy;
mod kill;
mod limit;
mod oom;
mod place;
mod stats;
mod tree;
mod view;

#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

pub use devices::{DeviceAccess, DeviceKind, DeviceRule, DeviceRules};
pub use error::CgroupError;
pub use hierarchy::Hierarchies;
use hierarchy::{Controller, Hierarchy, Version, instance_path, pod_path};
pub use kill::clean;
pub use oom::{OomLedger, OomWatch, killed_by_oom};
pub use place::{leave_service, others, survey};

use crate::config::Resources;
use crate::error::SysError;
use crate::id::{ContainerName, InstanceId, PodId};
use crate::trace::Trace;

/// One cgroup: the same place in every hierarchy. A container's, or a whole pod's.
#[derive(Debug, Clone)]
pub struct Cgroup {
    hierarchies: Hierarchies,
    relative: PathBuf,
}

impl Cgroup {
    /// Makes a container's cgroup in every hierarchy and sets its limits and device list, each read back. Whatever a dead shim left under
    /// this name is removed first. Fails with what [`Hierarchies::check`] says, and with `Sys` EBUSY when processes are in it already; a
    /// failed step leaves nothing behind.
    pub fn create(
        hierarchies: &Hierarchies,
        instance: &InstanceId,
        pod: &PodId,
        container: &ContainerName,
        resources: &Resources,
        devices: &DeviceRules<'_>,
        trace: &mut Trace,
    ) -> Result<Cgroup, CgroupError> {
        hierarchies.check_limits(resources)?;
        let cgroup = Cgroup::of_container(hierarchies, instance, pod, container);
        cgroup.made(|| cgroup.make(resources, devices, trace))?;
        Ok(cgroup)
    }

    /// A container's cgroup by its name, whether it exists or not.
    pub fn of_container(hierarchies: &Hierarchies, instance: &InstanceId, pod: &PodId, container: &ContainerName) -> Cgroup {
        Cgroup { hierarchies: hierarchies.clone(), relative: pod_path(instance, pod).join(container.as_str()) }
    }

    /// A whole pod's: to kill, freeze, count or remove all that is in it.
    pub fn of_pod(hierarchies: &Hierarchies, instance: &InstanceId, pod: &PodId) -> Cgroup {
        Cgroup { hierarchies: hierarchies.clone(), relative: pod_path(instance, pod) }
    }

    /// Makes a further one below it, for some of its processes, in one hierarchy alone: the v2 tree, or where there is none a v1 one that
    /// counts and limits nothing by itself. Limits and figures stay those of the one above it. None on a host that has neither.
    pub fn make_below(&self, name: &str) -> Result<Option<Cgroup>, SysError> {
        let home = self.hierarchies.v2().or_else(|| self.hierarchies.v1("freezer")).or_else(|| self.hierarchies.v1("pids"));
        let Some(home) = home else { return Ok(None) };
        let below = Cgroup { hierarchies: self.hierarchies.only(home), relative: self.relative.join(name) };
        let path = home.mount.join(&below.relative);
        let made = nix::unistd::mkdir(&path, nix::sys::stat::Mode::from_bits_truncate(0o755));
        made.map(|()| Some(below)).map_err(|errno| SysError::new("mkdir", path.display(), errno))
    }

    /// Removes one of [`Cgroup::make_below`] if nothing is in it; whether it is gone.
    pub fn remove_empty(&self) -> bool {
        self.directories().all(|(_, dir)| tree::rmdir(&dir) != Err(Errno::EBUSY))
    }

    /// The path below each mount point, with a leading slash: what /proc/PID/cgroup states outside.
    pub fn path(&self) -> String {
        format!("/{}", self.relative.display())
    }

    /// Whether any hierarchy has it.
    pub fn exists(&self) -> bool {
        self.directories().any(|(_, dir)| tree::exists(&dir))
    }

    /// For each v1 hierarchy its label and a descriptor of the `tasks` of this cgroup, open for writing and close-on-exec. A forked child
    /// joins by writing `0` to each, as its first act: so nothing of a container ever runs outside, and since Linux 5.16 the kernel
    /// checks the rights of whoever opened the file, so that the child needs none.
    ///
    /// `tasks` and not `cgroup.procs`: for a process of one thread it is the same, but a thread that moves itself needs no lock on all the
    /// machine's forks, and for that lock the kernel waits for a grace period of RCU, 8 to 20 ms (Linux 5.5, cgroup_procs_write_start()).
    pub fn tasks_fds(&self) -> Result<Vec<(String, OwnedFd)>, SysError> {
        let v1 = self.directories().filter(|(hierarchy, _)| hierarchy.version == Version::V1);
        v1.map(|(hierarchy, dir)| Ok((hierarchy.label(), open_for_joining(&dir, "tasks")?))).collect()
    }

    /// A descriptor of the v2 folder, for `CLONE_INTO_CGROUP` (see clone(2)); None on a v1 host.
    pub fn leaf_fd(&self) -> Result<Option<OwnedFd>, SysError> {
        let Some(dir) = self.directory(Version::V2) else { return Ok(None) };
        let flags = (OFlag::O_PATH | OFlag::O_DIRECTORY).bits();
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(&dir);
        opened.map(|file| Some(file.into())).map_err(|e| SysError::io("open", dir.display(), &e))
    }

    /// The v2 folder's `cgroup.procs`, for a process that was not born in it.
    pub fn leaf_procs_fd(&self) -> Result<Option<OwnedFd>, SysError> {
        self.directory(Version::V2).map(|dir| open_for_joining(&dir, "cgroup.procs")).transpose()
    }

    /// Pids of all processes in it and in cgroups that were made below it, as the caller's pid namespace numbers them.
    pub fn pids(&self) -> Vec<i32> {
        let mut found = Vec::new();
        let dir = self.directory(Version::V2).or_else(|| self.directories().next().map(|(_, dir)| dir));
        if let Some(dir) = dir {
            tree::pids(&dir, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn make(&self, resources: &Resources, devices: &DeviceRules<'_>, trace: &mut Trace) -> Result<(), CgroupError> {
        for hierarchy in self.hierarchies.all() {
            tree::make(&self.hierarchies, hierarchy, &self.relative, trace)?;
        }
        self.apply_first(resources, trace)?;
        self.restrict_devices(devices, trace)
    }

    /// Runs the making; after a fault removes this cgroup, and its pod's where nothing else is in it. What cannot be removed then (it
    /// was there before, with processes) is left: the fault says so.
    fn made(&self, make: impl FnOnce() -> Result<(), CgroupError>) -> Result<(), CgroupError> {
        make().inspect_err(|_| {
            for (_, dir) in self.directories() {
                let _ = tree::remove(&dir);
            }
            self.remove_pod_folders();
        })
    }

    /// Removes the pod's folders if this was the last one in them. The instance's stay: making them anew would cost each container that is alone
    /// on its machine a third more.
    fn remove_pod_folders(&self) {
        if let Some(pod) = self.relative.parent().filter(|pod| pod.iter().count() == 2) {
            remove_folders(&self.hierarchies, pod);
        }
    }

    fn directories(&self) -> impl Iterator<Item = (&Hierarchy, PathBuf)> {
        self.hierarchies.all().iter().map(|hierarchy| (hierarchy, hierarchy.mount.join(&self.relative)))
    }

    fn directory(&self, version: Version) -> Option<PathBuf> {
        self.directories().find(|(hierarchy, _)| hierarchy.version == version).map(|(_, dir)| dir)
    }

    /// The folder that a controller's files are in.
    fn home(&self, controller: Controller) -> Option<(PathBuf, Version)> {
        self.hierarchies.home(controller).map(|hierarchy| (hierarchy.mount.join(&self.relative), hierarchy.version))
    }

    fn v1_directory(&self, controller: &str) -> Option<PathBuf> {
        self.hierarchies.v1(controller).map(|hierarchy| hierarchy.mount.join(&self.relative))
    }
}

/// The pods of this instance that have a cgroup in any hierarchy, sorted: the orphans among them are those without a shim.
pub fn pods(hierarchies: &Hierarchies, instance: &InstanceId) -> Vec<PodId> {
    let folders = hierarchies.all().iter().flat_map(|hierarchy| tree::children(&hierarchy.mount.join(instance_path(instance))));
    let mut pods: Vec<PodId> = folders.filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect();
    pods.sort();
    pods.dedup();
    pods
}

/// Whether anything of a pod is in any hierarchy.
pub fn exists(hierarchies: &Hierarchies, instance: &InstanceId, pod: &PodId) -> bool {
    let relative = instance_path(instance).join(pod.as_str());
    hierarchies.all().iter().any(|hierarchy| tree::exists(&hierarchy.mount.join(&relative)))
}

/// Makes the instance's own folders, which all its pods' are in: the launcher's part, once, so that no container has to.
/// Fails with EBUSY on `cgroup.subtree_control` where processes are in the v2 tree's root itself, as inside another container: whoever starts
/// Berth there moves them into a child first (cgroups(7), "no internal processes").
pub fn prepare(hierarchies: &Hierarchies, instance: &InstanceId, trace: &mut Trace) -> Result<(), CgroupError> {
    for hierarchy in hierarchies.all() {
        tree::make_folders(hierarchies, hierarchy, &instance_path(instance), trace)?;
    }
    Ok(())
}

/// Removes the instance's own folders if no pod's is in them: what the launcher does last.
pub fn leave(hierarchies: &Hierarchies, instance: &InstanceId) {
    place::remove_runtime(hierarchies, instance);
    remove_folders(hierarchies, &instance_path(instance));
}

/// Moves the calling process out of the instance's own folders, if it is in them, so that they can be removed.
pub fn step_out(hierarchies: &Hierarchies, instance: &InstanceId) {
    place::step_out(hierarchies, instance);
}

fn remove_folders(hierarchies: &Hierarchies, relative: &Path) {
    for hierarchy in hierarchies.all() {
        // EBUSY or ENOTEMPTY: somebody's are in it, which is what the try is to find out.
        let _ = tree::rmdir(&hierarchy.mount.join(relative));
    }
}

fn open_for_joining(dir: &Path, name: &str) -> Result<OwnedFd, SysError> {
    let path = dir.join(name);
    // std opens with O_CLOEXEC.
    let opened: Result<File, std::io::Error> = OpenOptions::new().write(true).open(&path);
    opened.map(OwnedFd::from).map_err(|e| SysError::io("open", path.display(), &e))
}

impl Cgroup {
    /// Where each hierarchy has this cgroup, and the folder's name below /sys/fs/cgroup inside a container: what the container is shown
    /// as its own. On a v2 host the one tree is /sys/fs/cgroup itself, and the name is empty.
    pub fn mounts(&self) -> Vec<crate::rootfs::CgroupMount> {
        let only = self.hierarchies.mode() == "v2";
        let name = |hierarchy: &Hierarchy| hierarchy.mount.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mounts = self.directories();
        mounts
            .map(|(hierarchy, path)| crate::rootfs::CgroupMount { name: if only { String::new() } else { name(hierarchy) }, path })
            .collect()
    }
}
