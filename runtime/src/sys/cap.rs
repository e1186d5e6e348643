//! Capabilities of the calling process. See capabilities(7).

use nix::errno::Errno;

use super::number;
use crate::error::SysError;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// _LINUX_CAPABILITY_VERSION_3
const VERSION: u32 = 0x2008_0522;

/// Sets the effective and permitted sets to `set`, and the inheritable set to nothing. Fails with EPERM when that would add one.
/// See capset(2).
pub fn set(set: u64) -> Result<(), SysError> {
    let header = Header { version: VERSION, pid: 0 };
    let half = |bits: u64| Data { effective: bits as u32, permitted: bits as u32, inheritable: 0 };
    let data = [half(set & 0xffff_ffff), half(set >> 32)];
    // SAFETY: version 3 takes a header and two data structures, which live through the call.
    let returned = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    number("capset", &format!("{set:#x}"), returned).map(drop)
}

/// Takes every capability that is not in `keep` out of the bounding set: no later execve can gain it. See PR_CAPBSET_DROP(2const).
pub fn limit_bounding(keep: u64) -> Result<(), SysError> {
    for capability in (0..64u64).filter(|bit| keep & (1 << bit) == 0) {
        // SAFETY: takes numbers.
        let returned = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        match number("prctl", &format!("PR_CAPBSET_DROP {capability}"), returned.into()) {
            Ok(_) => {}
            // The first number that the kernel does not know: there are none after it.
            Err(error) if error.source == Errno::EINVAL => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Empties the ambient set. See PR_CAP_AMBIENT(2const).
pub fn clear_ambient() -> Result<(), SysError> {
    // SAFETY: takes numbers.
    let returned = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    number("prctl", "PR_CAP_AMBIENT_CLEAR_ALL", returned.into()).map(drop)
}

/// Permitted capabilities survive the next change of user ids. See PR_SET_KEEPCAPS(2const).
pub fn keep_over_setuid() -> Result<(), SysError> {
    // SAFETY: takes numbers.
    number("prctl", "PR_SET_KEEPCAPS", unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) }.into()).map(drop)
}
