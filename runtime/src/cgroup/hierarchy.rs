//! Which cgroup hierarchies this host has, found once from the mount table.
//!
//! Detection is ours and not cgroups-rs's: that crate looks for file systems of type `cgroup` only, so it never sees the v2 tree of a hybrid
//! host, and takes it for granted that a pure v2 tree is at /sys/fs/cgroup. See cgroups(7), proc_pid_mountinfo(5).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;

use super::file;
use crate::error::SysError;
use crate::id::{InstanceId, PodId};

/// The two interfaces that the kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// A controller that Berth sets limits with; others (hugetlb, rdma, misc, …) are left alone wherever they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Controller {
    Cpu,
    Cpuset,
    Memory,
    Pids,
    Io,
}

impl Controller {
    pub(super) const ALL: [Controller; 5] = [Controller::Cpu, Controller::Cpuset, Controller::Memory, Controller::Pids, Controller::Io];

    pub(super) fn name(self, version: Version) -> &'static str {
        match (self, version) {
            (Controller::Cpu, _) => "cpu",
            (Controller::Cpuset, _) => "cpuset",
            (Controller::Memory, _) => "memory",
            (Controller::Pids, _) => "pids",
            (Controller::Io, Version::V1) => "blkio",
            (Controller::Io, Version::V2) => "io",
        }
    }
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) version: Version,
    pub(super) mount: PathBuf,
    /// What of the tree is mounted there: `/` is all of it.
    pub(super) root: String,
    /// On v1 those it was mounted with (`name=systemd` for one without); on v2 those that its root may hand down.
    pub(super) controllers: Vec<String>,
}

impl Hierarchy {
    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }

    /// As `explain` and the cgroup view call it: the controllers of a v1 hierarchy, `unified` for the v2 tree.
    pub(super) fn label(&self) -> String {
        match self.version {
            Version::V1 => self.controllers.join(","),
            Version::V2 => "unified".to_owned(),
        }
    }
}

/// Every hierarchy of this host, with the v2 tree last. Cheap to clone, and good across fork: it holds paths, no descriptors.
#[derive(Debug, Clone)]
pub struct Hierarchies(Arc<Vec<Hierarchy>>);

impl Hierarchies {
    /// Reads /proc/self/mountinfo, and the v2 tree's controllers. Fails with ENOENT when no cgroup file system is mounted.
    pub fn detect() -> Result<Self, SysError> {
        let mountinfo = file::read(Path::new("/proc/self/mountinfo"))?;
        Self::from_mountinfo(&mountinfo)
    }

    /// The same from the text of a mount table: a test passes a part of the host's, to be on a v1 host or on a v2 host for a while.
    pub fn from_mountinfo(mountinfo: &str) -> Result<Self, SysError> {
        let mut all = parse_mountinfo(mountinfo);
        for v2 in all.iter_mut().filter(|h| h.version == Version::V2) {
            let listed = file::get(&v2.mount.join("cgroup.controllers")).unwrap_or_default();
            v2.controllers = listed.split_whitespace().map(str::to_owned).collect();
        }
        if all.is_empty() {
            return Err(SysError::new("open", "a cgroup file system in /proc/self/mountinfo", Errno::ENOENT));
        }
        all.sort_by_key(|h| h.version == Version::V2);
        Ok(Hierarchies(Arc::new(all)))
    }

    /// `v1`, `hybrid` (controllers in v1 hierarchies, and a v2 tree for processes) or `v2`.
    pub fn mode(&self) -> &'static str {
        let v1 = self.0.iter().any(|h| h.version == Version::V1 && h.controllers.iter().any(|c| !c.starts_with("name=")));
        match (v1, self.v2().is_some()) {
            (true, true) => "hybrid",
            (true, false) => "v1",
            (false, _) => "v2",
        }
    }

    /// Names of the controllers on this host, v1's and v2's, sorted.
    pub fn controllers(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.iter().flat_map(|h| &h.controllers).filter(|c| !c.starts_with("name=")).cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    /// Features for `status::HostFacts`, tried: `swap-accounting`, `cgroup-kill`, `cgroup-freeze`; `available` or the reason why not.
    pub fn features(&self) -> Vec<(String, String)> {
        let mut features = super::place::try_features(self);
        // Where memory is v1's, so is its swap.
        if self.home(Controller::Memory).is_none_or(|home| home.version == Version::V1) {
            let swap = self.swap_accounting().map_or_else(|why| why, |()| "available".to_owned());
            features.retain(|(name, _)| name != "swap-accounting");
            features.push(("swap-accounting".to_owned(), swap));
        }
        features
    }

    /// Whether swap can be limited, or why not.
    pub(super) fn swap_accounting(&self) -> Result<(), String> {
        match self.home(Controller::Memory) {
            None => Err("the memory controller is not available".to_owned()),
            Some(h) if h.version == Version::V1 && !h.mount.join("memory.memsw.limit_in_bytes").exists() => {
                Err(format!("{} is missing: boot with swapaccount=1", h.mount.join("memory.memsw.limit_in_bytes").display()))
            }
            // The v2 root has no swap files to look at; a kernel without them fails the write, which is reported then.
            Some(_) => Ok(()),
        }
    }

    /// As if there were no other.
    pub(super) fn only(&self, one: &Hierarchy) -> Self {
        Hierarchies(Arc::new(vec![one.clone()]))
    }

    pub(super) fn all(&self) -> &[Hierarchy] {
        &self.0
    }

    pub(super) fn v2(&self) -> Option<&Hierarchy> {
        self.0.iter().find(|h| h.version == Version::V2)
    }

    /// The v1 hierarchy of that name.
    pub(super) fn v1(&self, controller: &str) -> Option<&Hierarchy> {
        self.0.iter().find(|h| h.version == Version::V1 && h.has(controller))
    }

    /// Where a controller lives on this host: a v1 hierarchy, else the v2 tree; the kernel never offers it in both.
    pub(super) fn home(&self, controller: Controller) -> Option<&Hierarchy> {
        self.0.iter().find(|h| h.has(controller.name(h.version)))
    }
}

/// A cgroup's place below each mount point: ids only, so that an orphan is found without any record of it.
pub(super) fn instance_path(instance: &InstanceId) -> PathBuf {
    PathBuf::from(format!("berth-{instance}"))
}

pub(super) fn pod_path(instance: &InstanceId, pod: &PodId) -> PathBuf {
    PathBuf::from(format!("berth-{instance}/{pod}"))
}

const V1_CONTROLLERS: [&str; 15] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "debug",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
];

/// One hierarchy a super block: a tree that is mounted in several places is taken at the best of them.
fn parse_mountinfo(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<(&str, u8, Hierarchy)> = Vec::new();
    for (device, rank, hierarchy) in mountinfo.lines().filter_map(parse_line) {
        match found.iter_mut().find(|(seen, ..)| *seen == device) {
            Some(seen) if seen.1 < rank => *seen = (device, rank, hierarchy),
            Some(_) => {}
            None => found.push((device, rank, hierarchy)),
        }
    }
    found.into_iter().map(|(_, _, hierarchy)| hierarchy).collect()
}

/// `36 35 98:0 /root /mount/point rw,noatime shared:1 - type source super,options`
fn parse_line(line: &str) -> Option<(&str, u8, Hierarchy)> {
    let (mount, fs) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(2);
    let (device, root, point, options) = (mount.next()?, mount.next()?, mount.next()?, mount.next()?);
    let mut fs = fs.split(' ');
    let (kind, super_options) = (fs.next()?, fs.nth(1).unwrap_or_default());
    let (version, controllers) = match kind {
        "cgroup2" => (Version::V2, Vec::new()),
        "cgroup" => {
            let is_controller = |o: &&str| o.starts_with("name=") || V1_CONTROLLERS.contains(o);
            (Version::V1, super_options.split(',').filter(is_controller).map(str::to_owned).collect())
        }
        _ => return None,
    };
    let point = unescape(point);
    // Writable before read-only, the tree's root before a part of it, the usual place before a private one.
    let rank =
        4 * u8::from(options.split(',').all(|o| o != "ro")) + 2 * u8::from(root == "/") + u8::from(point.starts_with("/sys/fs/cgroup"));
    Some((device, rank, Hierarchy { version, mount: PathBuf::from(point), root: unescape(root), controllers }))
}

/// The kernel writes space, tab, newline and backslash in a path as three octal digits.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        match rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                plain.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:10 master:3 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
90 31 0:32 /docker/abc /mnt/with\\040space rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
41 31 0:38 / /nowhere/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn a_hybrid_host_keeps_both_kinds_with_v2_last() {
        let h = Hierarchies::from_mountinfo(HYBRID).unwrap();
        assert_eq!(h.mode(), "hybrid");
        assert_eq!(h.controllers(), ["cpu", "cpuacct", "memory"]);
        assert_eq!(h.all().iter().map(Hierarchy::label).collect::<Vec<_>>(), ["cpu,cpuacct", "memory", "name=systemd", "unified"]);
        assert_eq!(h.home(Controller::Memory).unwrap().mount, Path::new("/sys/fs/cgroup/memory"));
        assert!(h.home(Controller::Io).is_none());
    }

    #[test]
    fn the_best_mount_of_a_tree_wins_whatever_the_order() {
        let reversed: String = HYBRID.lines().rev().map(|l| format!("{l}\n")).collect();
        let h = Hierarchies::from_mountinfo(&reversed).unwrap();
        assert_eq!(h.home(Controller::Memory).unwrap().mount, Path::new("/sys/fs/cgroup/memory"));
        let only_part = "90 31 0:32 /docker/abc /mnt/with\\040space rw,relatime - cgroup cgroup rw,memory\n";
        assert_eq!(Hierarchies::from_mountinfo(only_part).unwrap().all()[0].mount, Path::new("/mnt/with space"));
    }

    #[test]
    fn a_named_hierarchy_beside_v2_is_still_v2() {
        let lines: String = HYBRID.lines().filter(|l| l.contains("name=") || l.contains("cgroup2")).map(|l| format!("{l}\n")).collect();
        assert_eq!(Hierarchies::from_mountinfo(&lines).unwrap().mode(), "v2");
        let v1: String = HYBRID.lines().filter(|l| !l.contains("cgroup2")).map(|l| format!("{l}\n")).collect();
        assert_eq!(Hierarchies::from_mountinfo(&v1).unwrap().mode(), "v1");
    }

    #[test]
    fn damaged_tables_are_no_hierarchy() {
        for text in ["", "garbage", "1 2 3 - cgroup", "31 23 0:28 / /x rw - tmpfs tmpfs rw"] {
            assert_eq!(Hierarchies::from_mountinfo(text).unwrap_err().source, Errno::ENOENT, "{text:?}");
        }
    }
}
