//! The new mount API: file systems and bind mounts as descriptors, attached only when they are finished.
//!
//! A detached mount belongs to no one's mount table; nothing shows on the host, and it is gone when its descriptor closes.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;

use super::{c_string, descriptor, number};
use crate::error::SysError;

/// Mount attributes of mount_setattr(2) and fsmount(2).
pub mod attr {
    pub const RDONLY: u64 = 0x1;
    pub const NOSUID: u64 = 0x2;
    pub const NODEV: u64 = 0x4;
    pub const NOEXEC: u64 = 0x8;
    pub const NOATIME: u64 = 0x10;
    /// All bits of the choice between updating access times or not.
    pub(super) const ATIME: u64 = 0x70;
    /// Linux 5.10.
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;
    pub(super) const IDMAP: u64 = 0x0010_0000;
}

const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_SET_FD: libc::c_uint = 5;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC as libc::c_uint;
const AT_RECURSIVE: libc::c_uint = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;

/// A file system that is being configured.
#[derive(Debug)]
pub struct FsContext {
    fd: OwnedFd,
    kind: &'static str,
}

impl FsContext {
    /// Begins a file system of this kind. Fails with ENODEV when the kernel lacks it, EPERM without CAP_SYS_ADMIN. See fsopen(2).
    pub fn open(kind: &'static str) -> Result<Self, SysError> {
        let name = c_string("fsopen", kind.as_bytes())?;
        // SAFETY: `name` is a live C string.
        let fd = descriptor("fsopen", kind, unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) })?;
        Ok(FsContext { fd, kind })
    }

    /// Sets a parameter to a text. Fails with EINVAL for what the file system does not know; the kernel's reason is added. See fsconfig(2).
    pub fn set(&self, key: &str, value: &str) -> Result<(), SysError> {
        let (key_c, value_c) = (c_string("fsconfig", key.as_bytes())?, c_string("fsconfig", value.as_bytes())?);
        self.config(FSCONFIG_SET_STRING, &format!("{key}={value}"), Some(&key_c), value_c.as_ptr().cast(), 0)
    }

    /// Sets a parameter to an open file. See fsconfig(2).
    pub fn set_fd(&self, key: &str, value: BorrowedFd<'_>) -> Result<(), SysError> {
        let key_c = c_string("fsconfig", key.as_bytes())?;
        self.config(FSCONFIG_SET_FD, key, Some(&key_c), std::ptr::null(), value.as_raw_fd())
    }

    /// Makes the superblock and a detached mount of it. See fsconfig(2), fsmount(2).
    pub fn mount(self, attributes: u64) -> Result<OwnedFd, SysError> {
        self.config(FSCONFIG_CMD_CREATE, "create", None, std::ptr::null(), 0)?;
        // SAFETY: takes numbers.
        let returned = unsafe { libc::syscall(libc::SYS_fsmount, self.fd.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) };
        descriptor("fsmount", self.kind, returned)
    }

    fn config(
        &self,
        command: libc::c_uint,
        what: &str,
        key: Option<&CStr>,
        value: *const libc::c_void,
        aux: libc::c_int,
    ) -> Result<(), SysError> {
        let key = key.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: `key` and `value` are null or point to C strings that the caller keeps alive through the call.
        let returned = unsafe { libc::syscall(libc::SYS_fsconfig, self.fd.as_raw_fd(), command, key, value, aux) };
        number("fsconfig", what, returned).map(drop).map_err(|error| self.explain(error, what))
    }

    /// Adds what the kernel wrote into the context's message queue, which says more than the errno.
    fn explain(&self, error: SysError, what: &str) -> SysError {
        let mut message = [0; 256];
        match nix::unistd::read(&self.fd, &mut message) {
            Ok(length) if length > 0 => {
                let text = String::from_utf8_lossy(&message[..length]);
                SysError::new("fsconfig", format!("{} {what} ({})", self.kind, text.trim()), error.source)
            }
            _ => SysError::new("fsconfig", format!("{} {what}", self.kind), error.source),
        }
    }
}

/// Whether a call reaches the mounts below, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    One,
    Recursive,
}

/// A detached copy of the mount at `path` below `dir` (an empty path is `dir` itself): a bind mount that is nowhere yet. See open_tree(2).
pub fn clone_tree(dir: BorrowedFd<'_>, path: &str, reach: Reach) -> Result<OwnedFd, SysError> {
    let path_c = c_string("open_tree", path.as_bytes())?;
    let mut flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | libc::AT_SYMLINK_NOFOLLOW as libc::c_uint;
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH as libc::c_uint;
    }
    if reach == Reach::Recursive {
        flags |= AT_RECURSIVE;
    }
    // SAFETY: `path_c` is a live C string.
    descriptor("open_tree", path, unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path_c.as_ptr(), flags) })
}

fn mount_setattr(mount: BorrowedFd<'_>, subject: &str, reach: Reach, attributes: &libc::mount_attr) -> Result<(), SysError> {
    let flags = libc::AT_EMPTY_PATH as libc::c_uint | if reach == Reach::Recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the empty path and `attributes` live through the call, and the size is that of the structure.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    number("mount_setattr", subject, returned).map(drop)
}

/// Adds attributes to a mount. See mount_setattr(2).
pub fn set_attributes(mount: BorrowedFd<'_>, attributes: u64, reach: Reach) -> Result<(), SysError> {
    // One of a choice is set by clearing the whole choice with it.
    let attr_clr = if attributes & attr::ATIME == 0 { 0 } else { attr::ATIME };
    let change = libc::mount_attr { attr_set: attributes, attr_clr, propagation: 0, userns_fd: 0 };
    mount_setattr(mount, &format!("{attributes:#x}"), reach, &change)
}

/// Shows the files of a detached mount with ids shifted as `user_namespace` maps them. Fails with EINVAL on a file system that cannot be
/// idmapped, EPERM when it is idmapped already. See mount_setattr(2).
pub fn set_idmap(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>, reach: Reach) -> Result<(), SysError> {
    let change = libc::mount_attr { attr_set: attr::IDMAP, attr_clr: 0, propagation: 0, userns_fd: user_namespace.as_raw_fd() as u64 };
    mount_setattr(mount, "MOUNT_ATTR_IDMAP", reach, &change)
}

/// Sets the propagation (`MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`). See mount_setattr(2), mount_namespaces(7).
pub fn set_propagation(mount: BorrowedFd<'_>, propagation: nix::mount::MsFlags, reach: Reach) -> Result<(), SysError> {
    let change = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: propagation.bits(), userns_fd: 0 };
    mount_setattr(mount, &format!("{propagation:?}"), reach, &change)
}

/// Attaches a detached mount at the directory or file behind `target`, which must be in the caller's mount namespace. See move_mount(2).
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>, subject: &str) -> Result<(), SysError> {
    // SAFETY: the empty paths are live C strings.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    };
    number("move_mount", subject, returned).map(drop)
}

/// Makes the current directory, a mount point, the root mount of this mount namespace and detaches the old one with all below it.
/// Fails with EINVAL when it is no mount point. See pivot_root(2), umount2(2).
pub fn pivot_here() -> Result<(), SysError> {
    nix::unistd::pivot_root(".", ".").map_err(|errno| SysError::new("pivot_root", ".", errno))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(|errno| SysError::new("umount2", ".", errno))?;
    nix::unistd::chdir("/").map_err(|errno| SysError::new("chdir", "/", errno))
}

/// The name of the file system that the descriptor is in, when that is one of the kernel's own, whose files are questions and orders to the kernel
/// and no data. See statfs(2) and linux/magic.h.
pub fn kernel_file_system(fd: BorrowedFd<'_>) -> Result<Option<&'static str>, SysError> {
    const KINDS: &[(libc::c_long, &str)] = &[
        (0x9fa0, "proc"),
        (0x6265_6572, "sysfs"),
        (0x0027_e0eb, "cgroup"),
        (0x6367_7270, "cgroup2"),
        (0x1cd1, "devpts"),
        (0x1980_0202, "mqueue"),
        (0x6462_6720, "debugfs"),
        (0x7472_6163, "tracefs"),
        (0x7363_6673, "securityfs"),
        (0xcafe_4a11, "bpf"),
        (0xf97c_ff8c, "selinuxfs"),
        (0x6165_676c, "pstore"),
        (0xde5e_81e4, "efivarfs"),
        (0x6265_6570, "configfs"),
        (0x4249_4e4d, "binfmt_misc"),
    ];
    let found = nix::sys::statfs::fstatfs(fd).map_err(|errno| SysError::new("fstatfs", "folder", errno))?.filesystem_type().0;
    Ok(KINDS.iter().find(|(magic, _)| *magic as u32 == found as u32).map(|(_, name)| *name))
}

/// Opens `path` as if `root` were the root directory: no symbolic link leads out, no magic link is followed.
/// Fails with ELOOP for a magic link, ENOENT, EAGAIN when a rename raced (tried again here). See openat2(2).
pub fn open_in_root(root: BorrowedFd<'_>, path: &str, flags: OFlag) -> Result<OwnedFd, SysError> {
    open_resolved(root, path, flags, ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

/// Opens `path` below `dir` without following any symbolic link. See openat2(2).
pub fn open_beneath(dir: BorrowedFd<'_>, path: &str, flags: OFlag) -> Result<OwnedFd, SysError> {
    open_resolved(dir, path, flags, ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS)
}

fn open_resolved(dir: BorrowedFd<'_>, path: &str, flags: OFlag, resolve: ResolveFlag) -> Result<OwnedFd, SysError> {
    let mode = if flags.contains(OFlag::O_CREAT) { Mode::from_bits_truncate(0o644) } else { Mode::empty() };
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(resolve);
    loop {
        match openat2(dir, path, how) {
            Ok(fd) => return Ok(fd),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(SysError::new("openat2", path, errno)),
        }
    }
}
