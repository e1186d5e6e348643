//! The data folder, by descriptor.
//!
//! ```text
//! <data>/layers/<LayerId>/            an unpacked layer: the folder that overlayfs takes
//!               .staging-<StagingId>/ being unpacked; locked as long as its worker lives
//!               .trash-<n>/           being removed; the same
//!        volumes/<VolumeId>/_data/    a volume's files
//!                           filling, staged/   see crate::rootfs::fill
//!                .trash-<n>/
//!        pods/<PodId>/                see crate::rundir
//! ```
//!
//! 0700 and root's, so that what a layer contains (set-uid programs!) is out of every other user's reach. Opened once and walked by
//! descriptor, never through a symbolic link.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::geteuid;

use super::failed;
use crate::error::{RuntimeError, SysError};
use crate::sys::mount::open_beneath;

#[derive(Debug)]
pub(super) struct DataDir(OwnedFd);

impl DataDir {
    /// Fails when it is no folder, or a symbolic link.
    pub(super) fn open(path: &Path) -> Result<Self, RuntimeError> {
        let opened = File::options().read(true).custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits()).open(path);
        let file = opened.map_err(|error| failed("data")(SysError::io("open", path.display(), &error)))?;
        Ok(DataDir(file.into()))
    }

    /// `layers`, made when it is missing. Fails with Conflict when somebody else made it.
    pub(super) fn layers(&self) -> Result<OwnedFd, RuntimeError> {
        self.own_folder("layers")
    }

    /// `volumes`, likewise.
    pub(super) fn volumes(&self) -> Result<OwnedFd, RuntimeError> {
        self.own_folder("volumes")
    }

    /// A folder that others may or may not have made yet.
    pub(super) fn existing(&self, name: &str) -> Result<Option<OwnedFd>, RuntimeError> {
        child(self.0.as_fd(), name).map_err(failed("data"))
    }

    fn own_folder(&self, name: &str) -> Result<OwnedFd, RuntimeError> {
        match mkdirat(&self.0, name, Mode::from_bits_truncate(0o700)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(failed("data")(SysError::new("mkdirat", name, errno))),
        }
        let folder = open_beneath(self.0.as_fd(), name, OFlag::O_DIRECTORY | OFlag::O_RDONLY).map_err(failed("data"))?;
        let stat = fstat(&folder).map_err(|errno| failed("data")(SysError::new("fstat", name, errno)))?;
        if stat.st_uid != geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
            return Err(RuntimeError::Conflict {
                message: format!("the data folder's {name} belongs to, or can be written by, somebody else"),
            });
        }
        Ok(folder)
    }
}

/// The folder `name` right below `parent`, not through a link; None when there is none.
pub(super) fn child(parent: BorrowedFd<'_>, name: &str) -> Result<Option<OwnedFd>, SysError> {
    match open_beneath(parent, name, OFlag::O_DIRECTORY | OFlag::O_RDONLY) {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if error.source == Errno::ENOENT => Ok(None),
        Err(error) => Err(error),
    }
}
