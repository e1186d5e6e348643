//! The folders of a layer that is being unpacked: found by path without leaving the root, made on the way, given their times at the end.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

use super::error::ImageError;
use super::path::EntryPath;
use super::tree::{Found, failed, look, open_child, open_within, remove_at};
use super::unpack::MarkOpaque;

/// The most memory, in bytes of path, that remembering the times of folders may take.
const MOST_BYTES: usize = 64 << 20;

/// Where an entry goes.
pub(super) struct Place<'p> {
    /// As the archive writes it, for messages.
    pub(super) entry: &'p [u8],
    pub(super) folder: &'p [u8],
    pub(super) name: &'p [u8],
}

impl Place<'_> {
    /// A call that failed on the entry's name.
    pub(super) fn failed(&self, call: &'static str, errno: Errno) -> ImageError {
        ImageError::call(self.entry, failed(call, self.name, errno))
    }
}

pub(super) struct Folders<'a, 'b> {
    root: OwnedFd,
    mark_opaque: &'a mut MarkOpaque<'b>,
    /// The folder of the last name, open: most names are in the same folder as the one before. Stale when a folder or a link was
    /// replaced since, as its path may have led through it.
    parent: Option<(Vec<u8>, OwnedFd)>,
    stale: bool,
    /// Set last, as every new name in a folder changes its time.
    times: BTreeMap<EntryPath, TimeSpec>,
    times_bytes: usize,
}

impl<'a, 'b> Folders<'a, 'b> {
    pub(super) fn new(root: OwnedFd, mark_opaque: &'a mut MarkOpaque<'b>) -> Self {
        Folders { root, mark_opaque, parent: None, stale: false, times: BTreeMap::new(), times_bytes: 0 }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens the folder of the place for [`Folders::at`]; how many folders had to be made, as no entry has named them so far.
    pub(super) fn enter(&mut self, place: &Place<'_>) -> Result<u64, ImageError> {
        if !self.stale && self.parent.as_ref().is_some_and(|(path, _)| path == place.folder) {
            return Ok(0);
        }
        (self.parent, self.stale) = (None, false);
        let (folder, made) = match open_within(self.root.as_fd(), place.folder, OFlag::O_PATH) {
            Ok(folder) => (folder, 0),
            Err(Errno::ENOENT | Errno::ENOTDIR) => self.walk(place)?,
            Err(errno) => return Err(ImageError::call(place.entry, failed("openat2", place.folder, errno))),
        };
        self.parent = Some((place.folder.to_vec(), folder));
        Ok(made)
    }

    /// The folder that `enter` has opened.
    pub(super) fn at(&self, place: &Place<'_>) -> Result<BorrowedFd<'_>, ImageError> {
        // Without `enter` before it this is a mistake of ours, not the archive's.
        self.parent.as_ref().map(|(_, fd)| fd.as_fd()).ok_or_else(|| place.failed("openat2", Errno::EBADF))
    }

    /// Walks down from the root and makes each folder that is missing.
    fn walk(&mut self, place: &Place<'_>) -> Result<(OwnedFd, u64), ImageError> {
        let mut made = 0;
        let mut length = 0;
        let mut current = open_within(self.root.as_fd(), b"", OFlag::O_PATH);
        for name in place.folder.split(|&byte| byte == b'/') {
            let above = current.map_err(|errno| ImageError::call(place.entry, failed("openat2", &place.folder[..length], errno)))?;
            length += name.len() + usize::from(length > 0);
            let (found, _) = look(above.as_fd(), name).map_err(|error| ImageError::call(place.entry, error))?;
            current = match found {
                Found::Directory => open_child(above.as_fd(), name, OFlag::O_PATH),
                // Where the link leads, as inside a container.
                Found::Symlink => open_within(self.root.as_fd(), &place.folder[..length], OFlag::O_PATH),
                Found::Nothing | Found::Whiteout => {
                    made += 1;
                    Ok(self.imply(place.entry, above.as_fd(), name)?)
                }
                Found::Other => Err(Errno::ENOTDIR),
            };
            if current.as_ref().is_err_and(|errno| *errno == Errno::ENOENT) {
                return Err(ImageError::archive(place.entry, "a folder in its path is a symbolic link that leads nowhere in this layer"));
            }
        }
        let folder = current.map_err(|errno| ImageError::call(place.entry, failed("openat2", place.folder, errno)))?;
        Ok((folder, made))
    }

    /// A folder that only paths speak of: 0755 and root's, as GNU tar and Docker make it.
    fn imply(&mut self, entry: &[u8], above: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, ImageError> {
        let place = Place { entry, folder: b"", name };
        let (folder, _) = make(self.mark_opaque, above, &place)?;
        fchown(&folder, Some(Uid::from_raw(0)), Some(Gid::from_raw(0))).map_err(|errno| place.failed("fchown", errno))?;
        fchmod(&folder, Mode::from_bits_truncate(0o755)).map_err(|errno| place.failed("fchmod", errno))?;
        Ok(folder)
    }

    /// The folder at the place itself, made when there is none. What else is there gives way.
    pub(super) fn make(&mut self, place: &Place<'_>) -> Result<OwnedFd, ImageError> {
        let Some((_, parent)) = &self.parent else { return Err(place.failed("openat2", Errno::EBADF)) };
        let (folder, found) = make(self.mark_opaque, parent.as_fd(), place)?;
        self.stale = found == Found::Symlink;
        Ok(folder)
    }

    /// Makes room for something that is no folder: what is at the place goes, a folder with all that is in it.
    pub(super) fn clear(&mut self, place: &Place<'_>) -> Result<(), ImageError> {
        let parent = self.at(place)?;
        let (found, _) = look(parent, place.name).map_err(|error| ImageError::call(place.entry, error))?;
        match found {
            Found::Nothing => return Ok(()),
            Found::Directory => {
                remove_at(parent, OsStr::from_bytes(place.name)).map_err(|error| ImageError::call(place.entry, error))?;
            }
            Found::Symlink | Found::Whiteout | Found::Other => unlink(parent, place)?,
        }
        self.stale = matches!(found, Found::Directory | Found::Symlink);
        Ok(())
    }

    /// Hides everything of lower layers that is in the folder `name` of the place's folder; an empty name is that folder itself.
    pub(super) fn hide_lower(&mut self, place: &Place<'_>, name: &[u8]) -> Result<(), ImageError> {
        let name = if name.is_empty() { b"." } else { name };
        let folder = open_child(self.at(place)?, name, OFlag::O_RDONLY).map_err(|errno| place.failed("openat2", errno))?;
        (self.mark_opaque)(folder.as_fd()).map_err(|error| ImageError::call(place.entry, error))
    }

    /// The time that a folder is to have in the end.
    pub(super) fn remember_time(&mut self, entry: &[u8], path: EntryPath, time: TimeSpec) -> Result<(), ImageError> {
        let bytes = path.as_bytes().len();
        if self.times.insert(path, time).is_none() {
            self.times_bytes += bytes;
        }
        if self.times_bytes > MOST_BYTES {
            return Err(ImageError::archive(entry, "the names of all folders together are over the limit of 64 MiB"));
        }
        Ok(())
    }

    pub(super) fn set_times(&self) -> Result<(), ImageError> {
        for (path, time) in &self.times {
            let path = path.as_bytes();
            match open_within(self.root.as_fd(), path, OFlag::O_RDONLY) {
                Ok(folder) => futimens(&folder, time, time).map_err(|errno| ImageError::call(path, failed("futimens", path, errno)))?,
                // A later entry took its place.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
                Err(errno) => return Err(ImageError::call(path, failed("openat2", path, errno))),
            }
        }
        Ok(())
    }
}

/// The folder at the place, made (for its owner only) when there is none, and what was there before. What else is there gives way; a
/// whiteout stays in force for what it hid, as the folder becomes an opaque one.
fn make(mark: &mut MarkOpaque<'_>, parent: BorrowedFd<'_>, place: &Place<'_>) -> Result<(OwnedFd, Found), ImageError> {
    let (found, _) = look(parent, place.name).map_err(|error| ImageError::call(place.entry, error))?;
    if !matches!(found, Found::Nothing | Found::Directory) {
        unlink(parent, place)?;
    }
    if found != Found::Directory {
        mkdirat(parent, place.name, Mode::from_bits_truncate(0o700)).map_err(|errno| place.failed("mkdirat", errno))?;
    }
    let folder = open_child(parent, place.name, OFlag::O_RDONLY).map_err(|errno| place.failed("openat2", errno))?;
    if found == Found::Whiteout {
        mark(folder.as_fd()).map_err(|error| ImageError::call(place.entry, error))?;
    }
    Ok((folder, found))
}

fn unlink(parent: BorrowedFd<'_>, place: &Place<'_>) -> Result<(), ImageError> {
    unlinkat(parent, place.name, UnlinkatFlags::NoRemoveDir).map_err(|errno| place.failed("unlinkat", errno))
}
