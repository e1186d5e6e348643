//! What is at a path, as a tar in pieces.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag, readlinkat};
use nix::sys::stat::SFlag;

use super::super::failed;
use super::super::pack::{Packer, Pieces, Style, kind, open, stat_at};
use super::path::InnerPath;
use crate::error::{RuntimeError, SysError};
use crate::protocol::PathStat;
use crate::sys::mount::kernel_file_system;

/// What the tar begins with.
pub(super) struct Found {
    pub(super) stat: PathStat,
    /// The folder that it is in, and its name there: `.` for a folder that was asked for through a link.
    parent: OwnedFd,
    name: Vec<u8>,
    /// Its name in the tar.
    shown: Vec<u8>,
}

/// Looks a path up as if `root` were `/`.
pub(super) fn find(root: BorrowedFd<'_>, path: &InnerPath) -> Result<Found, RuntimeError> {
    let shown = path.split().map_or_else(|| b".".to_vec(), |(_, name)| name.to_vec());
    let (parent, name) = match path.split() {
        Some((parents, name)) if !path.must_be_folder() => {
            (look_up(root, &parents, OFlag::O_PATH | OFlag::O_DIRECTORY, path)?, name.to_vec())
        }
        _ => (look_up(root, &path.whole(), OFlag::O_PATH | OFlag::O_DIRECTORY, path)?, b".".to_vec()),
    };
    refuse_kernels(parent.as_fd(), path)?;
    let stat = stat_at(parent.as_fd(), &name).map_err(|errno| missing(errno, path))?;
    let link_target = match kind(&stat) {
        SFlag::S_IFLNK => Some(readlinkat(&parent, name.as_slice()).map_err(|errno| missing(errno, path))?.to_string_lossy().into_owned()),
        _ => None,
    };
    let text = path.split().map_or_else(|| "/".to_owned(), |(_, name)| String::from_utf8_lossy(name).into_owned());
    let stat = PathStat {
        name: text,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode,
        mtime: (stat.st_mtime, stat.st_mtime_nsec),
        uid: stat.st_uid,
        gid: stat.st_gid,
        link_target,
    };
    Ok(Found { stat, parent, name, shown })
}

/// The folder at a path, for a copy into it.
pub(super) fn open_folder(root: BorrowedFd<'_>, path: &InnerPath, flags: OFlag) -> Result<OwnedFd, RuntimeError> {
    let folder = look_up(root, &path.whole(), flags | OFlag::O_DIRECTORY, path)?;
    refuse_kernels(folder.as_fd(), path)?;
    let flags = nix::sys::statvfs::fstatvfs(&folder).map_err(|errno| failed("copy")(SysError::new("fstatvfs", path.display(), errno)))?;
    if flags.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY) {
        return Err(RuntimeError::Conflict { message: format!("{} is mounted read-only", path.display()) });
    }
    Ok(folder)
}

fn look_up(root: BorrowedFd<'_>, below: &[u8], flags: OFlag, path: &InnerPath) -> Result<OwnedFd, RuntimeError> {
    let below = if below.is_empty() { b"." } else { below };
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    open(root, below, flags, resolve).map_err(|errno| missing(errno, path))
}

fn missing(errno: Errno, path: &InnerPath) -> RuntimeError {
    let invalid = |message: String| RuntimeError::Invalid { path: "/path".into(), message };
    match errno {
        Errno::ENOENT => RuntimeError::NotFound { what: format!("{} in the container", path.display()) },
        Errno::ENOTDIR => invalid(format!("{} is not a folder, or leads through something that is none", path.display())),
        Errno::ELOOP => invalid(format!("{} leads through too many symbolic links, or one of the kernel's own", path.display())),
        Errno::ENAMETOOLONG => invalid("a name in it is longer than 255 bytes".to_owned()),
        errno => failed("copy")(SysError::new("openat2", path.display(), errno)),
    }
}

fn refuse_kernels(folder: BorrowedFd<'_>, path: &InnerPath) -> Result<(), RuntimeError> {
    match kernel_file_system(folder).map_err(failed("copy"))? {
        None => Ok(()),
        Some(kind) => {
            let message = format!("{} is in a {kind} file system, which holds no files of its own", path.display());
            Err(RuntimeError::Invalid { path: "/path".into(), message })
        }
    }
}

/// Sends the tar as pieces, each after its length. The end mark is the caller's.
pub(super) fn send(found: Found, to: &mut impl Write) -> Result<(), RuntimeError> {
    Packer::new(Pieces::new(to), Style::Files).pack(found.parent.as_fd(), &found.name, found.shown)
}
