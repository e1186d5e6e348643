//! The safe skin over the kernel: one small function a call, path or descriptor types in, owned descriptors out.
//!
//! Each function says what it does, when it fails, and which man page describes it. `nix` does the work where it has a safe wrapper;
//! the rest goes through `libc::syscall`. Nothing here decides anything.

pub mod bpf;
pub mod cap;
pub mod clock;
pub mod descriptors;
pub mod mount;
pub mod namespace;
pub mod net;
pub mod process;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod terminal;
pub mod xattr;

use std::ffi::CString;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::error::SysError;

/// Turns a path or name into a C string; a NUL inside is EINVAL, as the kernel would see another name than was meant.
pub(crate) fn c_string(call: &'static str, text: &[u8]) -> Result<CString, SysError> {
    CString::new(text).map_err(|_| SysError::new(call, String::from_utf8_lossy(text), Errno::EINVAL))
}

/// What a system call returned, as a number or the errno.
fn number(call: &'static str, subject: &str, returned: libc::c_long) -> Result<libc::c_long, SysError> {
    if returned < 0 { Err(SysError::new(call, subject, Errno::last())) } else { Ok(returned) }
}

/// What a system call that makes a descriptor returned.
fn descriptor(call: &'static str, subject: &str, returned: libc::c_long) -> Result<OwnedFd, SysError> {
    let raw = RawFd::try_from(number(call, subject, returned)?).map_err(|_| SysError::new(call, subject, Errno::EBADF))?;
    // SAFETY: the kernel just made this descriptor for us and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
