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
