//! One layer from one tar: ImportLayer.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, fchown};

use super::data::{DataDir, child};
use super::failed;
use super::half::{self, Confined};
use super::staging::Staging;
use crate::error::{RuntimeError, SysError};
use crate::id::StagingId;
use crate::image::{Limits, unpack};
use crate::protocol::LauncherAnswer;

/// How long the client may send nothing, in seconds: it may itself be waiting for a slow upload.
pub(super) const STALL: Duration = Duration::from_secs(120);

/// Unpacks what comes on the connection until its end: ImportLayer. The answer is LayerImported, and the layer survives a power cut then.
///
/// Fails with BadArchive for what the archive is to blame for, with Conflict for a staging id in use, with Setup for a call of ours; in
/// each case nothing is left behind. A client that is still sending then gets EPIPE and can read the answer all the same.
pub fn import_layer(
    connection: &UnixStream,
    data: &Path,
    staging: &StagingId,
    max_bytes: u64,
    max_entries: u64,
) -> Result<LauncherAnswer, RuntimeError> {
    patient(connection)?;
    let staging = Staging::create(&DataDir::open(data)?, staging)?;
    let limits = Limits { max_bytes, max_entries, require_end: true };
    let unpacked = half::confined(&staging, connection.as_fd(), max_bytes, |confined| {
        let root = make_root(confined, "0")?;
        Ok(unpack(connection, root, limits, &mut |folder| confined.mark_opaque(folder))?)
    })?;
    staging.publish(&[("0".to_owned(), unpacked.layer.clone())])?;
    Ok(LauncherAnswer::LayerImported {
        layer: unpacked.layer,
        size: unpacked.size,
        entries: unpacked.entries,
        compressed_digest: unpacked.compressed_digest,
        notes: unpacked.notes,
    })
}

/// Lets the client take its time: the launcher gives it only seconds for a request.
pub(super) fn patient(connection: &UnixStream) -> Result<(), RuntimeError> {
    connection.set_read_timeout(Some(STALL)).map_err(|error| failed("unpack")(SysError::io("setsockopt", "SO_RCVTIMEO", &error)))
}

/// A layer's own root, as it is when the archive does not name it: 0755 and root's.
pub(super) fn make_root(confined: &Confined<'_>, name: &str) -> Result<OwnedFd, RuntimeError> {
    let call = |call, errno| failed("unpack")(SysError::new(call, name, errno));
    mkdirat(&confined.root, name, Mode::from_bits_truncate(0o755)).map_err(|errno| call("mkdirat", errno))?;
    let root = child(confined.root.as_fd(), name).map_err(failed("unpack"))?.ok_or_else(|| call("openat2", Errno::ENOENT))?;
    fchown(&root, Some(Uid::from_raw(0)), Some(Gid::from_raw(0))).map_err(|errno| call("fchown", errno))?;
    fchmod(&root, Mode::from_bits_truncate(0o755)).map_err(|errno| call("fchmod", errno))?;
    Ok(root)
}
