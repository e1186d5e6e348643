//! Extended attributes of an open file or folder. See xattr(7).

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{c_string, number};
use crate::error::SysError;

/// Sets an extended attribute, new or not. Fails with EPERM without the capability that the name's class asks for (`trusted.`:
/// CAP_SYS_ADMIN, `security.capability`: CAP_SETFCAP), ENOTSUP when the file system has none, ENOSPC or E2BIG when the value is too
/// large for it, EBADF for a descriptor made with O_PATH. See fsetxattr(2).
pub fn set(file: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> Result<(), SysError> {
    let name_c = c_string("fsetxattr", name)?;
    // SAFETY: `name_c` is a live C string; pointer and length describe the same live slice.
    let returned = unsafe { libc::fsetxattr(file.as_raw_fd(), name_c.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    number("fsetxattr", &String::from_utf8_lossy(name), returned.into()).map(drop)
}

/// The attribute's value, None when there is none of this name. Fails with ERANGE when it is longer than `most` bytes. See fgetxattr(2).
pub fn get(file: BorrowedFd<'_>, name: &[u8], most: usize) -> Result<Option<Vec<u8>>, SysError> {
    let name_c = c_string("fgetxattr", name)?;
    let mut value = vec![0u8; most];
    // SAFETY: `name_c` is a live C string; pointer and length describe the same live buffer.
    let returned = unsafe { libc::fgetxattr(file.as_raw_fd(), name_c.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    match number("fgetxattr", &String::from_utf8_lossy(name), returned as libc::c_long) {
        Ok(length) => {
            value.truncate(usize::try_from(length).unwrap_or_default());
            Ok(Some(value))
        }
        Err(error) if error.source == nix::errno::Errno::ENODATA => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names of all attributes that the caller may see, in no order; none on a file system that has none. See flistxattr(2).
pub fn list(file: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, SysError> {
    // XATTR_LIST_MAX in limits.h: what is longer cannot be listed at all.
    let mut names = vec![0u8; 64 << 10];
    // SAFETY: pointer and length describe the same live buffer.
    let returned = unsafe { libc::flistxattr(file.as_raw_fd(), names.as_mut_ptr().cast(), names.len()) };
    match number("flistxattr", "attributes", returned as libc::c_long) {
        Ok(length) => {
            names.truncate(usize::try_from(length).unwrap_or_default());
            Ok(names.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
        }
        Err(error) if error.source == nix::errno::Errno::ENOTSUP => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
