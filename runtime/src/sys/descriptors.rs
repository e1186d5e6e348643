//! The table of open descriptors as a whole. See close_range(2).

use std::os::fd::{AsRawFd, BorrowedFd};

use super::number;
use crate::error::SysError;

/// Closes every descriptor from 3 up but these. The caller must not use, or drop, any other owner of one afterwards: what a forked child
/// does first that never returns into its parent's frames. See close_range(2).
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<(), SysError> {
    let mut kept: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).filter(|fd| *fd > 2).collect();
    kept.sort_unstable();
    kept.dedup();
    let mut first: u32 = 3;
    for fd in kept {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<(), SysError> {
    // SAFETY: takes numbers; the caller's contract is that nothing in the range is used again.
    let returned = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    number("close_range", &format!("{first}..={last}"), returned).map(drop)
}
