//! Removing: first out of sight by one rename, then piece by piece. A crash in between leaves a `.trash-<n>` for the next sweep.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, RenameFlags, renameat2};

use super::data::child;
use super::failed;
use crate::error::{RuntimeError, SysError};
use crate::image::remove_at;

pub(super) const PREFIX: &str = ".trash-";

/// Renames `name` in `folder` to a free trash name and removes that.
pub(super) fn throw_away(folder: &OwnedFd, name: &str, what: &str) -> Result<(), RuntimeError> {
    for number in 0..10_000 {
        let trash = format!("{PREFIX}{number}");
        match renameat2(folder, name, folder, trash.as_str(), RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => return remove_locked(folder.as_fd(), &trash).map_err(failed("remove")),
            // Another worker's, alive or dead.
            Err(Errno::EEXIST) => {}
            Err(Errno::ENOENT) => return Err(RuntimeError::NotFound { what: format!("{what} {name}") }),
            Err(errno) => return Err(failed("remove")(SysError::new("renameat2", name, errno))),
        }
    }
    Err(failed("remove")(SysError::new("renameat2", name, Errno::EEXIST)))
}

/// Renames a folder to a trash name beside it; answers that. None when there is nothing, or it cannot be renamed.
pub fn out_of_sight(path: &Path) -> Option<PathBuf> {
    let trash = path.with_file_name(format!("{PREFIX}{}", path.file_name()?.to_str()?));
    std::fs::rename(path, &trash).ok().map(|()| trash)
}

/// Removes what [`out_of_sight`] answered.
pub fn remove_trash(trash: &Path) -> Result<(), SysError> {
    let (Some(parent), Some(name)) = (trash.parent(), trash.file_name().and_then(OsStr::to_str)) else { return Ok(()) };
    let folder = File::options().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(parent);
    let folder = folder.map_err(|error| SysError::io("open", parent.display(), &error))?;
    remove_locked(folder.as_fd(), name)
}

/// Locked meanwhile, so that a sweep leaves it to us.
fn remove_locked(folder: BorrowedFd<'_>, trash: &str) -> Result<(), SysError> {
    let lock = child(folder, trash)?.map(|opened| Flock::lock(opened, FlockArg::LockExclusiveNonblock));
    remove_at(folder, OsStr::new(trash))?;
    drop(lock);
    Ok(())
}

/// Removes a folder and all that is below it, for instance a sandbox's upper folder. Nothing there is fine.
///
/// The path's own folder must be trusted; below `path` nothing is: no symbolic link is followed, any depth is taken. Stops with EXDEV or
/// EBUSY where something is mounted, at or below it.
pub fn remove_tree(path: &Path) -> Result<(), SysError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(SysError::new("remove_tree", path.display(), Errno::EINVAL));
    };
    let opened = File::options().read(true).custom_flags((OFlag::O_DIRECTORY | OFlag::O_PATH).bits()).open(parent);
    let folder = match opened {
        Ok(folder) => folder,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SysError::io("open", parent.display(), &error)),
    };
    remove_at(folder.as_fd(), name)
}

/// Fails with EBUSY when there is a mount at `name` in `folder` or below it. `remove_at` stops at a mount by itself, but only when it gets
/// there: half of a volume's files would be gone by then. See proc_pid_mountinfo(5).
pub(super) fn refuse_mounts(folder: BorrowedFd<'_>, name: &OsStr) -> Result<(), SysError> {
    let path = nix::fcntl::readlink(format!("/proc/self/fd/{}", folder.as_raw_fd()).as_str());
    let path = path.map_err(|errno| SysError::new("readlink", "/proc/self/fd", errno))?;
    let path = std::path::PathBuf::from(path).join(name).into_os_string().into_vec();
    let table = std::fs::read("/proc/self/mountinfo").map_err(|error| SysError::io("read", "/proc/self/mountinfo", &error))?;
    for line in table.split(|&byte| byte == b'\n') {
        let Some(point) = line.split(|&byte| byte == b' ').nth(4).map(unescape) else { continue };
        if point.strip_prefix(path.as_slice()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/') {
            return Err(SysError::new("umount2", String::from_utf8_lossy(&point), Errno::EBUSY));
        }
    }
    Ok(())
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(escaped) if byte == b'\\' => {
                out.push(escaped);
                rest = &after[3..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_written() {
        assert_eq!(unescape(br"/a\040b\134c\011"), b"/a b\\c\t");
        assert_eq!(unescape(br"/plain\9"), br"/plain\9");
    }

    #[test]
    fn a_tree_goes_and_nothing_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::write(tree.join("a/file"), "x").unwrap();
        std::fs::write(dir.path().join("beside"), "x").unwrap();
        std::os::unix::fs::symlink(dir.path(), tree.join("up")).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && dir.path().join("beside").exists());
        remove_tree(&tree).unwrap();
        remove_tree(&dir.path().join("no/such/folder")).unwrap();
        assert_eq!(remove_tree(Path::new("/")).unwrap_err().source, Errno::EINVAL);
    }

    #[test]
    fn what_something_is_mounted_on_is_refused() {
        assert_eq!(remove_tree(Path::new("/proc")).unwrap_err().source, Errno::EXDEV);
        let root = File::open("/").unwrap();
        assert_eq!(refuse_mounts(root.as_fd(), OsStr::new("proc")).unwrap_err().source, Errno::EBUSY);
        assert!(refuse_mounts(root.as_fd(), OsStr::new("pro")).is_ok());
    }
}
