//! Volumes: a folder for each, `_data` in it.

use std::ffi::OsStr;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod, mkdirat};

use super::data::{DataDir, child};
use super::{failed, trash};
use crate::error::{RuntimeError, SysError};
use crate::id::VolumeId;

/// Makes a volume's folder, 0755 and root's as Docker does; one that is there is fine.
pub(super) fn create(data: &DataDir, volume: &VolumeId) -> Result<(), RuntimeError> {
    let call = |call, errno| failed("volume")(SysError::new(call, volume, errno));
    let volumes = data.volumes()?;
    make(&volumes, volume.as_str(), 0o700).map_err(|errno| call("mkdirat", errno))?;
    let folder = child(volumes.as_fd(), volume.as_str()).map_err(failed("volume"))?.ok_or_else(|| call("openat2", Errno::ENOENT))?;
    if make(&folder, "_data", 0o755).map_err(|errno| call("mkdirat", errno))? {
        let files = child(folder.as_fd(), "_data").map_err(failed("volume"))?.ok_or_else(|| call("openat2", Errno::ENOENT))?;
        // Whatever the umask is.
        fchmod(&files, Mode::from_bits_truncate(0o755)).map_err(|errno| call("fchmod", errno))?;
    }
    Ok(())
}

/// Whether it had to be made.
fn make(folder: impl AsFd, name: &str, mode: u32) -> Result<bool, Errno> {
    match mkdirat(folder, name, Mode::from_bits_truncate(mode)) {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Removes a volume with its files. Fails with NotFound when there is none, and with EBUSY, before anything is removed, when something is
/// mounted in it on the host.
pub(super) fn remove(data: &DataDir, volume: &VolumeId) -> Result<(), RuntimeError> {
    let volumes = data.volumes()?;
    trash::refuse_mounts(volumes.as_fd(), OsStr::new(volume.as_str())).map_err(failed("volume"))?;
    trash::throw_away(&volumes, volume.as_str(), "volume")
}
