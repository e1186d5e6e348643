//! Copies a folder of an image into an empty volume: files, folders and links with their modes, owners and times.
//!
//! Both sides are walked by descriptor and no symbolic link is followed, so that nothing of an image leads out of it. Devices, sockets and
//! FIFOs are left out: a volume is for data.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::UtimensatFlags::NoFollowSymlink;
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, fstatat, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use crate::crash_point;
use crate::error::SysError;

/// Deeper than any path that a program can name (PATH_MAX is 4,096 bytes).
const MAX_DEPTH: usize = 2048;

/// All of `from` into `to`, both folders; ids are lowered by `shift`. `to` itself gets the mode and owner of `from`.
pub(super) fn copy_folder(from: &OwnedFd, to: &OwnedFd, shift: u32) -> Result<(), SysError> {
    copy_entries(from, to, shift, 0)?;
    let status = fstat(from).map_err(|errno| SysError::new("fstat", "folder", errno))?;
    carry_over_folder(to, &status, shift)
}

/// Mode and owner alone.
pub(super) fn carry_over_folder(to: &OwnedFd, status: &FileStat, shift: u32) -> Result<(), SysError> {
    let (uid, gid) = (Uid::from_raw(lowered(status.st_uid, shift)), Gid::from_raw(lowered(status.st_gid, shift)));
    nix::unistd::fchown(to, Some(uid), Some(gid)).map_err(|errno| SysError::new("fchown", "volume", errno))?;
    nix::sys::stat::fchmod(to, Mode::from_bits_truncate(status.st_mode)).map_err(|errno| SysError::new("fchmod", "volume", errno))
}

/// Without a single entry.
pub(super) fn is_empty(folder: &OwnedFd) -> Result<bool, SysError> {
    // Opened anew: a duplicate would share the place up to which the folder was read before.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut dir = Dir::openat(folder, c".", flags, Mode::empty()).map_err(|errno| SysError::new("openat", "folder", errno))?;
    // The folder itself and its parent are listed, too.
    Ok(dir.iter().filter_map(Result::ok).all(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..")))
}

fn lowered(id: u32, shift: u32) -> u32 {
    id.checked_sub(shift).unwrap_or(65_534)
}

fn copy_entries(from: &OwnedFd, to: &OwnedFd, shift: u32, depth: usize) -> Result<(), SysError> {
    if depth > MAX_DEPTH {
        return Err(SysError::new("openat", "folders nested too deeply", Errno::ELOOP));
    }
    let copy = from.try_clone().map_err(|error| SysError::io("dup", "folder", &error))?;
    let mut dir = Dir::from_fd(copy).map_err(|errno| SysError::new("fdopendir", "folder", errno))?;
    for entry in dir.iter() {
        let entry = entry.map_err(|errno| SysError::new("readdir", "folder", errno))?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let fail = |call: &'static str| move |errno| SysError::new(call, name.to_string_lossy(), errno);
        let status = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(fail("fstatat"))?;
        let kind = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT;
        match kind {
            SFlag::S_IFDIR => {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                mkdirat(to, name, Mode::S_IRWXU).map_err(fail("mkdirat"))?;
                let inner = openat(from, name, flags, Mode::empty()).map_err(fail("openat"))?;
                let target = openat(to, name, flags, Mode::empty()).map_err(fail("openat"))?;
                copy_entries(&inner, &target, shift, depth + 1)?;
            }
            SFlag::S_IFREG => {
                let read = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let write = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let mut source = File::from(openat(from, name, read, Mode::empty()).map_err(fail("openat"))?);
                let mut target = File::from(openat(to, name, write, Mode::S_IRUSR | Mode::S_IWUSR).map_err(fail("openat"))?);
                std::io::copy(&mut source, &mut target).map_err(|error| SysError::io("copy_file_range", name.to_string_lossy(), &error))?;
            }
            SFlag::S_IFLNK => {
                let link = readlinkat(from, name).map_err(fail("readlinkat"))?;
                symlinkat(link.as_os_str(), to, name).map_err(fail("symlinkat"))?;
            }
            _ => continue,
        }
        carry_over(to, name, &status, kind, shift)?;
        crash_point!("rootfs.fill.entry");
    }
    Ok(())
}

/// Owner first: chown(2) takes the set-user-ID bit away.
fn carry_over(to: &OwnedFd, name: &std::ffi::CStr, status: &FileStat, kind: SFlag, shift: u32) -> Result<(), SysError> {
    let fail = |call: &'static str| move |errno| SysError::new(call, name.to_string_lossy(), errno);
    let (uid, gid) = (Uid::from_raw(lowered(status.st_uid, shift)), Gid::from_raw(lowered(status.st_gid, shift)));
    fchownat(to.as_fd(), name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW).map_err(fail("fchownat"))?;
    if kind != SFlag::S_IFLNK {
        // Just made here by us, and no link.
        fchmodat(to.as_fd(), name, Mode::from_bits_truncate(status.st_mode), FchmodatFlags::FollowSymlink).map_err(fail("fchmodat"))?;
    }
    let modified = TimeSpec::new(status.st_mtime, status.st_mtime_nsec);
    utimensat(to.as_fd(), name, &modified, &modified, NoFollowSymlink).map_err(fail("utimensat"))
}
