//! Namespaces: joining, leaving, names. See namespaces(7).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};

use crate::error::SysError;

/// Joins every namespace in `flags` of the process behind the pidfd, at once; the pid namespace takes effect for later children.
/// Fails with EPERM without CAP_SYS_ADMIN in the owning user namespaces, EINVAL for its own user namespace. See setns(2).
pub fn join_process(pidfd: BorrowedFd<'_>, flags: CloneFlags) -> Result<(), SysError> {
    setns(pidfd, flags).map_err(|errno| SysError::new("setns", format!("{flags:?}"), errno))
}

/// Joins the one namespace that the descriptor stands for. See setns(2).
pub fn join(namespace: impl AsFd, kind: CloneFlags) -> Result<(), SysError> {
    setns(namespace, kind).map_err(|errno| SysError::new("setns", format!("{kind:?}"), errno))
}

/// Moves the calling process into new namespaces. See unshare(2).
pub fn leave(flags: CloneFlags) -> Result<(), SysError> {
    unshare(flags).map_err(|errno| SysError::new("unshare", format!("{flags:?}"), errno))
}

/// Opens a namespace's file, for instance `/proc/1234/ns/user`.
pub fn open(path: &Path) -> Result<OwnedFd, SysError> {
    std::fs::File::open(path).map(OwnedFd::from).map_err(|error| SysError::io("open", path.display(), &error))
}

/// Sets the host name of the UTS namespace. See sethostname(2).
pub fn set_hostname(name: &str) -> Result<(), SysError> {
    nix::unistd::sethostname(name).map_err(|errno| SysError::new("sethostname", name, errno))
}

/// Sets the NIS domain name of the UTS namespace. See setdomainname(2).
pub fn set_domainname(name: &str) -> Result<(), SysError> {
    // SAFETY: pointer and length describe the same live bytes.
    let returned = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    super::number("setdomainname", name, returned.into()).map(drop)
}
