//! A container's file tree: what is mounted where, and the half of it that the host's root must make.
//!
//! The tree is built from detached mounts. The shim (host root) makes those that need the host — the overlay with its idmapped layers,
//! /dev with real nodes, bind mounts — and hands them over as descriptors; the container's own init makes those that belong to its
//! namespaces (proc, sysfs, devpts, mqueue) and attaches all of them inside its private mount namespace. So nothing ever shows in the
//! host's mount table, and no path that an image controls is opened by anyone but the init, below its own root.

mod copy_up;
mod fill;
mod host;
pub mod overlay;

use crate::config::{ContainerConfig, Mount, MountOption, MountSource, NamespaceMode, PodConfig, Propagation};
use crate::id::VolumeId;
use crate::sys::mount::attr;

pub use host::{HostSide, make};

/// 64 MiB: what Docker and Podman give /dev/shm.
pub const DEFAULT_SHM: u64 = 64 << 20;

/// One mount of the tree, in the order of attaching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Absolute path inside the container.
    pub target: String,
    /// The target is a directory; else a file.
    pub directory: bool,
    pub what: What,
}

/// Who makes a mount, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Made by the shim; arrives as a descriptor.
    Handed(Handed),
    Proc,
    Sysfs,
    Devpts,
    Mqueue,
    /// `attributes` beyond nosuid and nodev.
    Tmpfs {
        size: Option<u64>,
        mode: u32,
        attributes: u64,
    },
}

/// What the shim makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handed {
    /// A tmpfs with the standard nodes and links.
    Dev,
    /// The host's own tree of this kind, for a namespace that is the host's.
    HostTree {
        path: &'static str,
        recursive: bool,
        read_only: bool,
    },
    /// A tmpfs with these folders, one for each hierarchy.
    CgroupFolders {
        names: Vec<String>,
    },
    /// The container's own cgroup in the hierarchy that is mounted at this path.
    Cgroup {
        hierarchy: std::path::PathBuf,
    },
    /// A file of the sandbox's run dir.
    Etc {
        file: &'static str,
    },
    Bind {
        path: String,
        attributes: u64,
        propagation: Propagation,
    },
    /// `copy_up` fills an empty one from what the image has at the target.
    Volume {
        id: VolumeId,
        sub_path: Option<String>,
        attributes: u64,
        copy_up: bool,
    },
    /// Shared memory of the sandbox whose IPC namespace this one joins.
    JoinedShm,
}

/// Where a cgroup hierarchy of this container is mounted on the host, and the folder name below /sys/fs/cgroup inside (empty for v2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupMount {
    pub name: String,
    pub path: std::path::PathBuf,
}

/// The whole tree below the root file system, in the order of attaching: parents before what lies on them.
pub fn plan(pod: &PodConfig, container: &ContainerConfig, cgroups: &[CgroupMount]) -> Vec<Attachment> {
    let mut tree = Vec::with_capacity(24);
    let mut add = |target: &str, directory: bool, what: What| tree.push(Attachment { target: target.to_owned(), directory, what });
    let namespaces = &pod.namespaces;
    let own_user = namespaces.user != NamespaceMode::Host;

    // A user namespace may mount proc and sysfs only for the pid and network namespaces that it owns; the host's are bound instead.
    if own_user && namespaces.pid == NamespaceMode::Host {
        add("/proc", true, What::Handed(Handed::HostTree { path: "/proc", recursive: false, read_only: false }));
    } else {
        add("/proc", true, What::Proc);
    }
    add("/dev", true, What::Handed(Handed::Dev));
    add("/dev/pts", true, What::Devpts);
    match namespaces.ipc {
        NamespaceMode::Private => {
            let size = Some(container.shm_size.unwrap_or(DEFAULT_SHM));
            add("/dev/shm", true, What::Tmpfs { size, mode: 0o1777, attributes: attr::NOEXEC });
            add("/dev/mqueue", true, What::Mqueue);
        }
        NamespaceMode::Host => {
            add("/dev/shm", true, What::Handed(Handed::HostTree { path: "/dev/shm", recursive: false, read_only: false }));
            if !own_user {
                add("/dev/mqueue", true, What::Mqueue);
            }
        }
        NamespaceMode::Join { .. } => {
            add("/dev/shm", true, What::Handed(Handed::JoinedShm));
            add("/dev/mqueue", true, What::Mqueue);
        }
    }
    if own_user && namespaces.network == NamespaceMode::Host {
        add("/sys", true, What::Handed(Handed::HostTree { path: "/sys", recursive: false, read_only: true }));
    } else {
        add("/sys", true, What::Sysfs);
    }
    add_cgroups(&mut add, namespaces, cgroups);
    for (target, file) in [("/etc/hosts", "hosts"), ("/etc/hostname", "hostname"), ("/etc/resolv.conf", "resolv.conf")] {
        if !container.mounts.iter().any(|mount| mount.target == target || mount.target == "/etc") {
            add(target, false, What::Handed(Handed::Etc { file }));
        }
    }
    add_users(&mut add, container);
    tree
}

/// The user's mounts whose files are there while the container does not run.
pub fn lasting_mounts(container: &ContainerConfig) -> Vec<Attachment> {
    let mut tree = Vec::new();
    add_users(
        &mut |target: &str, directory: bool, what: What| tree.push(Attachment { target: target.to_owned(), directory, what }),
        container,
    );
    tree.retain(|attachment| matches!(attachment.what, What::Handed(_)));
    tree
}

fn add_cgroups(add: &mut impl FnMut(&str, bool, What), namespaces: &crate::config::Namespaces, cgroups: &[CgroupMount]) {
    if namespaces.cgroup == NamespaceMode::Host {
        let whole = Handed::HostTree { path: "/sys/fs/cgroup", recursive: true, read_only: true };
        return add("/sys/fs/cgroup", true, What::Handed(whole));
    }
    let names: Vec<_> = cgroups.iter().map(|mount| mount.name.clone()).filter(|name| !name.is_empty()).collect();
    if !names.is_empty() {
        add("/sys/fs/cgroup", true, What::Handed(Handed::CgroupFolders { names }));
    }
    for mount in cgroups {
        let target = if mount.name.is_empty() { "/sys/fs/cgroup".to_owned() } else { format!("/sys/fs/cgroup/{}", mount.name) };
        add(&target, true, What::Handed(Handed::Cgroup { hierarchy: mount.path.clone() }));
    }
}

fn add_users(add: &mut impl FnMut(&str, bool, What), container: &ContainerConfig) {
    let mut mounts: Vec<_> = container.mounts.iter().collect();
    // A mount on a folder of another one must come after it.
    mounts.sort_by_key(|mount| mount.target.split('/').filter(|part| !part.is_empty()).count());
    for mount in mounts {
        let attributes = attributes(mount);
        match &mount.source {
            MountSource::Bind { path } => {
                let directory = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_dir());
                let bind = Handed::Bind { path: path.clone(), attributes, propagation: mount.propagation };
                add(&mount.target, directory, What::Handed(bind));
            }
            MountSource::Volume { id, copy_up, sub_path } => {
                let volume = Handed::Volume { id: id.clone(), sub_path: sub_path.clone(), attributes, copy_up: *copy_up };
                add(&mount.target, true, What::Handed(volume));
            }
            MountSource::Tmpfs { size, mode } => {
                add(&mount.target, true, What::Tmpfs { size: *size, mode: mode.unwrap_or(0o1777), attributes });
            }
        }
    }
}

/// Those of mount_setattr(2) that the user asked for.
fn attributes(mount: &Mount) -> u64 {
    let of = |option: &MountOption| match option {
        MountOption::Noexec => attr::NOEXEC,
        MountOption::Nosuid => attr::NOSUID,
        MountOption::Nodev => attr::NODEV,
        MountOption::Noatime => attr::NOATIME,
        MountOption::Nosymfollow => attr::NOSYMFOLLOW,
    };
    mount.options.iter().map(of).fold(if mount.read_only { attr::RDONLY } else { 0 }, |all, one| all | one)
}
