//! Folders by descriptor: finding a name's folder without leaving the root, and removing a tree without following a link.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag, openat2, renameat2};
use nix::sys::stat::{FileStat, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::error::SysError;

/// What is at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Directory,
    Symlink,
    /// A character device 0:0: overlayfs takes it as "removed in this layer".
    Whiteout,
    Other,
}

/// Looks at a name itself, not through it.
pub(super) fn look(folder: BorrowedFd<'_>, name: &[u8]) -> Result<(Found, Option<FileStat>), SysError> {
    match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok((found(&stat), Some(stat))),
        Err(Errno::ENOENT) => Ok((Found::Nothing, None)),
        Err(errno) => Err(failed("fstatat", name, errno)),
    }
}

fn found(stat: &FileStat) -> Found {
    match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFDIR => Found::Directory,
        SFlag::S_IFLNK => Found::Symlink,
        SFlag::S_IFCHR if stat.st_rdev == 0 => Found::Whiteout,
        _ => Found::Other,
    }
}

pub(super) fn failed(call: &'static str, name: &[u8], errno: Errno) -> SysError {
    SysError::new(call, String::from_utf8_lossy(name), errno)
}

/// Opens a folder as if `root` were `/`: links in the path are followed, but none leads out, nor into another mount. See openat2(2).
pub(super) fn open_within(root: BorrowedFd<'_>, path: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    open_resolved(root, if path.is_empty() { b"." } else { path }, flags | OFlag::O_DIRECTORY, resolve)
}

/// Opens a folder right below `folder`: no link, no other mount (EXDEV). See openat2(2).
pub(super) fn open_child(folder: BorrowedFd<'_>, name: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    open_resolved(folder, name, flags | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW, resolve)
}

fn open_resolved(root: BorrowedFd<'_>, path: &[u8], flags: OFlag, resolve: ResolveFlag) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    loop {
        match openat2(root, path, how) {
            // EAGAIN: a rename elsewhere could have changed what `..` means; the kernel asks to try again.
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            outcome => return outcome,
        }
    }
}

/// How many folders below the top [`remove_at`] holds open at once. Deeper ones are moved up first: a container can nest folders without end.
const MOST_OPEN: usize = 16;

/// How many names of a folder are held in memory at once.
const MOST_NAMES: usize = 1024;

/// A folder on the way down in [`remove_at`].
struct Level {
    dir: Dir,
    /// Its name in the folder above.
    name: Vec<u8>,
    /// Folders in it that a listing has shown and that are still to do.
    folders: Vec<Vec<u8>>,
}

impl Level {
    fn open(above: BorrowedFd<'_>, name: Vec<u8>) -> Result<Self, SysError> {
        let fd = open_child(above, &name, OFlag::O_RDONLY).map_err(|errno| failed("openat2", &name, errno))?;
        let dir = Dir::from_fd(fd).map_err(|errno| failed("fdopendir", &name, errno))?;
        Ok(Level { dir, name, folders: Vec::new() })
    }

    /// The next folder in it, after removing what else there is; None when a listing showed nothing at all. Each listing starts anew, as
    /// some file systems skip names when others are removed meanwhile.
    fn next_folder(&mut self) -> Result<Option<Vec<u8>>, SysError> {
        while self.folders.is_empty() {
            let names = self.list()?;
            if names.is_empty() {
                return Ok(None);
            }
            for (name, folder) in names {
                if folder {
                    self.folders.push(name);
                } else {
                    unlinkat(&self.dir, name.as_slice(), UnlinkatFlags::NoRemoveDir).map_err(|errno| failed("unlinkat", &name, errno))?;
                }
            }
        }
        Ok(self.folders.pop())
    }

    /// Up to [`MOST_NAMES`] names in the folder, and whether each is a folder.
    fn list(&mut self) -> Result<Vec<(Vec<u8>, bool)>, SysError> {
        let mut names = Vec::new();
        for entry in self.dir.iter() {
            let entry = entry.map_err(|errno| failed("getdents64", &self.name, errno))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push((entry.file_name().to_bytes().to_vec(), entry.file_type()));
            }
            if names.len() == MOST_NAMES {
                break;
            }
        }
        let known = |(name, kind): (Vec<u8>, Option<Type>)| {
            let folder = match kind {
                Some(kind) => kind == Type::Directory,
                // Not every file system tells.
                None => look(self.dir.as_fd(), &name)?.0 == Found::Directory,
            };
            Ok((name, folder))
        };
        names.into_iter().map(known).collect()
    }
}

/// Removes `name` in `folder` and all that is below it, whatever it is. Nothing there is fine.
///
/// Follows no symbolic link and enters no other mount: it stops with EXDEV or EBUSY at a mount point. Holds at most 17 descriptors,
/// whatever the depth. See unlinkat(2), openat2(2).
pub fn remove_at(folder: BorrowedFd<'_>, name: &OsStr) -> Result<(), SysError> {
    let name = name.as_bytes();
    match look(folder, name)?.0 {
        Found::Nothing => return Ok(()),
        Found::Directory => {}
        _ => return unlinkat(folder, name, UnlinkatFlags::NoRemoveDir).map_err(|errno| failed("unlinkat", name, errno)),
    }
    let mut top = Level::open(folder, name.to_vec())?;
    // Those between the top and the one at hand.
    let mut below: Vec<Level> = Vec::new();
    let mut moved = 0;
    loop {
        let child = below.last_mut().unwrap_or(&mut top).next_folder()?;
        let done = if child.is_none() { below.pop() } else { None };
        let at_hand = below.last().unwrap_or(&top).dir.as_fd();
        match (child, done) {
            (Some(child), _) if below.len() < MOST_OPEN => below.push(Level::open(at_hand, child)?),
            (Some(child), _) => move_up(at_hand, &child, top.dir.as_fd(), &mut moved)?,
            (None, Some(done)) => remove_folder(at_hand, &done.name)?,
            (None, None) => break,
        }
    }
    remove_folder(folder, name)
}

fn remove_folder(above: BorrowedFd<'_>, name: &[u8]) -> Result<(), SysError> {
    unlinkat(above, name, UnlinkatFlags::RemoveDir).map_err(|errno| failed("rmdir", name, errno))
}

/// Moves a folder that is too deep to the top, under a name that is free there; a later listing of the top finds it.
fn move_up(from: BorrowedFd<'_>, name: &[u8], top: BorrowedFd<'_>, moved: &mut u64) -> Result<(), SysError> {
    loop {
        *moved += 1;
        match renameat2(from, name, top, format!(".deep-{moved}").as_str(), RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => return Ok(()),
            // The tree itself may have such a name.
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(failed("renameat2", name, errno)),
        }
    }
}
