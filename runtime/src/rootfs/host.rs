//! The shim's half of the tree: detached mounts made as the host's root.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknodat};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use super::fill::Volume;
use super::overlay::Overlay;
use super::{Attachment, Handed, What};
use crate::config::{ContainerConfig, IdMap, Propagation};
use crate::error::SysError;
use crate::id::ContainerName;
use crate::rundir::{DataDir, Layout, RunDir, make_dir};
use crate::security::devices::DeviceNode;
use crate::sys::mount::{FsContext, Reach, attr, clone_tree, open_beneath, open_in_root, set_attributes, set_idmap, set_propagation};
use crate::trace::Trace;

/// What the mounts are made from.
#[derive(Debug)]
pub struct HostSide<'a> {
    pub layout: &'a Layout,
    pub run: &'a RunDir,
    pub data: &'a DataDir,
    pub container: &'a ContainerConfig,
    /// The container's user namespace, when it has one of its own or a joined one, and how it maps ids.
    pub user_namespace: Option<(BorrowedFd<'a>, IdMap)>,
    pub joined_shm: Option<BorrowedFd<'a>>,
    pub devices: &'a [DeviceNode],
    pub tty: bool,
}

/// Makes the root file system and every handed attachment, in the plan's order: the root first.
pub fn make(host: &HostSide<'_>, plan: &[Attachment], trace: &mut Trace) -> Result<Vec<OwnedFd>, SysError> {
    trace.stage("rootfs");
    let mut mounts = Vec::with_capacity(plan.len() + 1);
    mounts.push(host.overlay(trace)?);
    trace.stage("mounts");
    for attachment in plan {
        if let What::Handed(handed) = &attachment.what {
            let mount = host.handed(handed, &attachment.target, &mounts[0], trace)?;
            mounts.push(mount);
        }
    }
    Ok(mounts)
}

pub(super) fn open_path(path: &Path) -> Result<OwnedFd, SysError> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options()
        .read(true)
        .custom_flags(nix::libc::O_PATH | nix::libc::O_CLOEXEC)
        .open(path)
        .map(OwnedFd::from)
        .map_err(|error| SysError::io("open", path.display(), &error))
}

/// A folder of a volume, made where it is missing, one name after the other and past no symbolic link: what is in a volume was written by
/// containers, and one may be at it now (CVE-2017-1002101, CVE-2021-25741).
fn folder_below(volume: &OwnedFd, path: &str) -> Result<OwnedFd, SysError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let volume = volume.try_clone().map_err(|error| SysError::io("dup", "volume", &error))?;
    Path::new(path).components().try_fold(volume, |dir, name| {
        let name = name.as_os_str().to_str().unwrap_or_default();
        match mkdirat(&dir, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => open_beneath(dir.as_fd(), name, flags)
                .map_err(|error| SysError::new(error.call, format!("{name} of the volume's {path}"), error.source)),
            Err(errno) => Err(SysError::new("mkdirat", format!("{name} of the volume's {path}"), errno)),
        }
    })
}

impl HostSide<'_> {
    /// Host ids of root inside.
    fn root_ids(&self) -> (u32, u32) {
        self.user_namespace.map_or((0, 0), |(_, map)| (map.base, map.base))
    }

    /// The overlay of the layers, each shown with the sandbox's ids, under a plain upper folder that its ids own. An idmapped *upper*
    /// would silently be read-only (Documentation/filesystems/overlayfs.rst, idmapped layers).
    fn overlay(&self, trace: &mut Trace) -> Result<OwnedFd, SysError> {
        let name: &ContainerName = &self.container.name;
        let (upper, work) = (self.data.upper(name), self.data.work(name));
        for (dir, mode) in [(upper.parent(), 0o711), (work.parent(), 0o700)] {
            make_dir(dir.unwrap_or(&upper), mode, None)?;
        }
        make_dir(&upper, 0o755, Some(self.root_ids()))?;
        make_dir(&work, 0o700, None)?;

        let mut layers = Vec::with_capacity(self.container.rootfs.layers.len());
        for layer in &self.container.rootfs.layers {
            let path = self.layout.layer(layer);
            let shell = format!("mount --bind -o X-mount.idmap=… {} /layer", path.display());
            layers.push(trace.run("open_tree", [path.display().to_string()], shell, || {
                let tree = clone_tree(open_path(&path)?.as_fd(), "", Reach::One)?;
                if let Some((user_namespace, _)) = self.user_namespace {
                    set_idmap(tree.as_fd(), user_namespace, Reach::One)?;
                }
                Ok(tree)
            })?);
        }
        let lower: Vec<_> = self.container.rootfs.layers.iter().rev().map(|layer| self.layout.layer(layer).display().to_string()).collect();
        let shell = format!(
            "mount -t overlay overlay -o lowerdir={},upperdir={},workdir={} /rootfs",
            lower.join(":"),
            upper.display(),
            work.display()
        );
        let overlay = Overlay { layers: &layers, upper: &upper, work: &work };
        let made = trace.run("fsmount", ["overlay".to_owned(), format!("{} layers", layers.len())], shell, || overlay.mount());
        if let (Ok((_, true)), Some(last)) = (&made, trace.last_mut()) {
            "mount".clone_into(&mut last.call);
        }
        made.map(|(mount, _)| mount)
    }

    fn handed(&self, handed: &Handed, target: &str, root_mount: &OwnedFd, trace: &mut Trace) -> Result<OwnedFd, SysError> {
        match handed {
            Handed::Dev => self.dev(trace),
            Handed::CgroupFolders { names } => {
                trace.run("fsmount", ["tmpfs".to_owned(), target.to_owned()], "mount -t tmpfs cgroup /sys/fs/cgroup", || {
                    let mount = tmpfs("cgroup", "0755", "64k", attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
                    for name in names {
                        mkdirat(&mount, name.as_str(), Mode::from_bits_truncate(0o555))
                            .map_err(|errno| SysError::new("mkdirat", name, errno))?;
                    }
                    set_attributes(mount.as_fd(), attr::RDONLY, Reach::One)?;
                    Ok(mount)
                })
            }
            Handed::Cgroup { hierarchy } => {
                let flags = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
                self.bind(hierarchy, target, Reach::One, flags, trace)
            }
            Handed::HostTree { path, recursive, read_only } => {
                let reach = if *recursive { Reach::Recursive } else { Reach::One };
                let flags = if *read_only { attr::RDONLY } else { 0 };
                let noexec = if *path == "/proc" || *path == "/sys" { attr::NOSUID | attr::NODEV | attr::NOEXEC } else { 0 };
                self.bind(Path::new(path), target, reach, flags | noexec, trace)
            }
            Handed::Etc { file } => self.bind(&self.run.etc(file), target, Reach::One, attr::NOSUID | attr::NODEV | attr::NOEXEC, trace),
            Handed::Bind { path, attributes, propagation } => {
                let path = Path::new(path);
                let source = open_path(path)?;
                self.refuse_own(path, &source)?;
                let mount = self.idmapped(path, &source, target, attributes | attr::NODEV, trace)?;
                let propagation = match propagation {
                    Propagation::Private => return Ok(mount),
                    Propagation::HostToContainer => nix::mount::MsFlags::MS_SLAVE,
                    Propagation::Bidirectional => nix::mount::MsFlags::MS_SHARED,
                };
                set_propagation(mount.as_fd(), propagation, Reach::Recursive)?;
                Ok(mount)
            }
            Handed::Volume { id, sub_path, attributes, copy_up } => {
                let whole = self.layout.volume(id);
                let root = open_path(&whole)?;
                let volume = Volume { path: &whole, root: &root };
                let folder = match sub_path {
                    Some(below) => volume.folder_below(below, || folder_below(&root, below))?,
                    None => root.try_clone().map_err(|error| SysError::io("dup", whole.display(), &error))?,
                };
                let sub_path = sub_path.as_deref().unwrap_or_default();
                // Joining nothing would put a slash at the path's end.
                let path = if sub_path.is_empty() { whole.clone() } else { whole.join(sub_path) };
                if *copy_up {
                    self.fill(&path, &volume, (sub_path, &folder), target, root_mount, trace)?;
                } else {
                    volume.settle()?;
                }
                self.idmapped(&path, &folder, target, attributes | attr::NODEV, trace)
            }
            Handed::JoinedShm => match self.joined_shm {
                Some(shm) => shm.try_clone_to_owned().map_err(|error| SysError::io("dup", "shm", &error)),
                None => Err(SysError::new("recvmsg", "shared memory of the joined sandbox", Errno::EBADF)),
            },
        }
    }

    /// Ids: the tree shows them shifted, the volume keeps them plain.
    fn fill(
        &self,
        path: &Path,
        volume: &Volume<'_>,
        (sub_path, folder): (&str, &OwnedFd),
        target: &str,
        root: &OwnedFd,
        trace: &mut Trace,
    ) -> Result<(), SysError> {
        // Opened to be written to, by what follows.
        let folder = open_beneath(folder.as_fd(), ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        if !volume.is_empty(&folder)? {
            return Ok(());
        }
        let source = match open_in_root(root.as_fd(), target, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Ok(source) => source,
            // Nothing there, or not a folder: nothing to copy.
            Err(error) if matches!(error.source, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
            Err(error) => return Err(error),
        };
        let shift = self.user_namespace.map_or(0, |(_, map)| map.base);
        trace.run("copy", [target.to_owned(), path.display().to_string()], format!("cp -a /rootfs{target}/. {}", path.display()), || {
            volume.fill(sub_path, &folder, &source, shift)
        })
    }

    fn bind(&self, source: &Path, target: &str, reach: Reach, flags: u64, trace: &mut Trace) -> Result<OwnedFd, SysError> {
        self.bind_opened(source, &open_path(source)?, target, reach, flags, trace)
    }

    fn bind_opened(
        &self,
        path: &Path,
        source: &OwnedFd,
        target: &str,
        reach: Reach,
        flags: u64,
        trace: &mut Trace,
    ) -> Result<OwnedFd, SysError> {
        let shell = format!("mount --bind {} {target}", path.display());
        trace.run("open_tree", [path.display().to_string(), target.to_owned()], shell, || {
            let tree = clone_tree(source.as_fd(), "", reach)?;
            if flags != 0 {
                set_attributes(tree.as_fd(), flags, reach)?;
            }
            // A copy is in its source's peer group: without this, what is mounted inside would appear on the host.
            set_propagation(tree.as_fd(), nix::mount::MsFlags::MS_PRIVATE, reach)?;
            Ok(tree)
        })
    }

    /// Berth's own folders are not for containers: who can write there has the host's root. Asked of the opened source, so that no link
    /// or later rename changes the answer.
    fn refuse_own(&self, source: &Path, opened: &OwnedFd) -> Result<(), SysError> {
        use std::os::fd::AsRawFd;
        let real = std::fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd()));
        let real = real.map_err(|error| SysError::io("readlink", source.display(), &error))?;
        let own = [&self.layout.data_dir, &self.layout.run_dir].into_iter().filter_map(|dir| std::fs::canonicalize(dir).ok());
        for dir in own {
            if real.starts_with(&dir) {
                return Err(SysError::new("open", format!("{} is Berth's own", source.display()), Errno::EPERM));
            }
        }
        Ok(())
    }

    /// A bind mount in which root inside is root of the files: what the host's uid 0 owns shows as uid 0.
    fn idmapped(&self, path: &Path, source: &OwnedFd, target: &str, flags: u64, trace: &mut Trace) -> Result<OwnedFd, SysError> {
        let mount = self.bind_opened(path, source, target, Reach::Recursive, flags, trace)?;
        if let Some((user_namespace, map)) = self.user_namespace {
            let shell = format!("mount --bind -o X-mount.idmap=b:0:{}:{} {} {target}", map.base, map.size, path.display());
            trace.run("mount_setattr", ["MOUNT_ATTR_IDMAP".to_owned(), path.display().to_string()], shell, || {
                set_idmap(mount.as_fd(), user_namespace, Reach::Recursive)
                    .map_err(|error| SysError::new("mount_setattr", format!("MOUNT_ATTR_IDMAP {}", path.display()), error.source))
            })?;
        }
        Ok(mount)
    }

    /// A tmpfs with the standard nodes. They are made here, by the host's root on a superblock of the host's, because a user namespace
    /// cannot make nodes; no file of the image or the host is involved.
    fn dev(&self, trace: &mut Trace) -> Result<OwnedFd, SysError> {
        let ids = self.root_ids();
        let names: Vec<_> = self.devices.iter().map(|node| node.name).collect();
        trace.run("fsmount", ["tmpfs".to_owned(), "/dev".to_owned(), names.join(" ")], "mount -t tmpfs dev /dev; mknod …", || {
            let mount = tmpfs("dev", "0755", "64k", attr::NOSUID | attr::NOEXEC)?;
            let dir = mount.as_fd();
            let own = |name: &str| {
                fchownat(dir, name, Some(Uid::from_raw(ids.0)), Some(Gid::from_raw(ids.1)), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)
                    .map_err(|errno| SysError::new("fchownat", name, errno))
            };
            for node in self.devices {
                mknodat(dir, node.name, SFlag::S_IFCHR, Mode::from_bits_truncate(node.mode), makedev(node.major.into(), node.minor.into()))
                    .map_err(|errno| SysError::new("mknodat", node.name, errno))?;
                own(node.name)?;
            }
            for name in ["pts", "shm", "mqueue"] {
                mkdirat(dir, name, Mode::from_bits_truncate(0o755)).map_err(|errno| SysError::new("mkdirat", name, errno))?;
                own(name)?;
            }
            let links = [
                ("/proc/self/fd", "fd"),
                ("/proc/self/fd/0", "stdin"),
                ("/proc/self/fd/1", "stdout"),
                ("/proc/self/fd/2", "stderr"),
                ("pts/ptmx", "ptmx"),
            ];
            for (to, name) in links {
                symlinkat(to, dir, name).map_err(|errno| SysError::new("symlinkat", name, errno))?;
                own(name)?;
            }
            if self.tty {
                mknodat(dir, "console", SFlag::S_IFREG, Mode::from_bits_truncate(0o600), 0)
                    .map_err(|errno| SysError::new("mknodat", "console", errno))?;
                own("console")?;
            }
            own(".")?;
            Ok(mount)
        })
    }
}

fn tmpfs(source: &str, mode: &str, size: &str, attributes: u64) -> Result<OwnedFd, SysError> {
    let context = FsContext::open("tmpfs")?;
    context.set("source", source)?;
    context.set("mode", mode)?;
    context.set("size", size)?;
    context.mount(attributes)
}
