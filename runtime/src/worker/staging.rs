//! A staging folder: made, locked, and gone when its worker is, whatever way that ended.
//!
//! ```text
//!  create --> locked .staging-<id>/0, /1, ... --publish--> layers/<LayerId>
//!     |            | dropped                                 (what is left of the folder goes with the drop)
//!     |            v
//!     +----> removed <-- sweep: no lock on it, so nobody lives who could want it
//! ```

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, RenameFlags, renameat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{fsync, syncfs};

use super::data::{DataDir, child};
use super::failed;
use crate::error::{RuntimeError, SysError};
use crate::id::{LayerId, StagingId};
use crate::image::remove_at;
use crate::sys::mount::open_beneath;

pub(super) struct Staging {
    layers: OwnedFd,
    name: String,
    /// Open and locked: the lock is what tells [`sweep`] that somebody lives.
    folder: Flock<OwnedFd>,
}

impl Staging {
    /// Fails with Conflict when the id is in use.
    pub(super) fn create(data: &DataDir, id: &StagingId) -> Result<Self, RuntimeError> {
        let layers = data.layers()?;
        let name = format!(".staging-{id}");
        let in_use = || RuntimeError::Conflict { message: format!("staging {id} is in use") };
        match mkdirat(&layers, name.as_str(), Mode::from_bits_truncate(0o700)) {
            Ok(()) => {}
            Err(Errno::EEXIST) => return Err(in_use()),
            Err(errno) => return Err(failed("staging")(SysError::new("mkdirat", &name, errno))),
        }
        let folder = open_beneath(layers.as_fd(), &name, OFlag::O_DIRECTORY | OFlag::O_RDONLY).map_err(failed("staging"))?;
        // Only a sweep could have taken it in between, and then it removes it.
        let folder = Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|_| in_use())?;
        Ok(Staging { layers, name, folder })
    }

    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Writes everything unpacked to disk, then gives each folder below the staging folder its place. A layer that is there already is
    /// the same one by its digest, and stays. When this has answered, the layers survive a power cut.
    ///
    /// Why one syncfs(2): a layer must be whole once its name exists. fsync of each file costs a journal commit each (14,000 files of
    /// 1 GB: 38 s on the disk on which syncfs took 1.6 s), and sync_file_range(2) beforehand gained nothing. The price is that others'
    /// dirty pages of the same file system go out too; that is bounded by the kernel's dirty limits, and was 1.3 s beside a writer that
    /// kept the disk full.
    pub(super) fn publish(&self, layers: &[(String, LayerId)]) -> Result<(), RuntimeError> {
        let call = |call, subject: &str| {
            let subject = subject.to_owned();
            move |errno| failed("publish")(SysError::new(call, &subject, errno))
        };
        syncfs(&*self.folder).map_err(call("syncfs", &self.name))?;
        for (made, layer) in layers {
            // The unpacker made it, and the unpacker is not trusted: a link here would be followed later on.
            child(self.folder(), made).map_err(failed("publish"))?.ok_or_else(|| call("openat2", made)(Errno::ENOENT))?;
            match renameat2(&*self.folder, made.as_str(), &self.layers, layer.as_str(), RenameFlags::RENAME_NOREPLACE) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(call("renameat2", layer.as_str())(errno)),
            }
        }
        fsync(&self.layers).map_err(call("fsync", "layers"))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = remove_at(self.layers.as_fd(), OsStr::new(&self.name)) {
            // The next sweep tries again.
            tracing::error!(staging = self.name, error = &error as &dyn std::error::Error, "a staging folder was not removed");
        }
    }
}

/// Removes staging and trash folders that no living worker has locked; their names. One that cannot be removed does not keep the others.
pub(super) fn sweep(data: &DataDir) -> Result<Vec<String>, RuntimeError> {
    let mut removed = Vec::new();
    let mut first_error = None;
    for folder in ["layers", "volumes", "pods"] {
        let Some(folder) = data.existing(folder)? else { continue };
        for name in leftovers(&folder).map_err(failed("sweep"))? {
            match remove_if_dead(folder.as_fd(), &name) {
                Ok(true) => removed.push(name),
                Ok(false) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
    }
    match first_error {
        Some(error) => Err(failed("sweep")(error)),
        None => Ok(removed),
    }
}

fn leftovers(folder: &OwnedFd) -> Result<Vec<String>, SysError> {
    let failed = |errno| SysError::new("getdents64", "data folder", errno);
    let mut names = Vec::new();
    for entry in nix::dir::Dir::openat(folder, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?.iter() {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().to_str()
            && (name.starts_with(".staging-") || name.starts_with(super::trash::PREFIX))
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn remove_if_dead(folder: BorrowedFd<'_>, name: &str) -> Result<bool, SysError> {
    let Some(leftover) = child(folder, name)? else { return Ok(false) };
    let Ok(lock) = Flock::lock(leftover, FlockArg::LockExclusiveNonblock) else { return Ok(false) };
    remove_at(folder, OsStr::new(name))?;
    drop(lock);
    Ok(true)
}
