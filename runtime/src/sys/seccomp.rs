//! Loading a system call filter. See seccomp(2).

use super::number;
use crate::error::SysError;

/// One instruction of classic BPF, as `struct sock_filter` in <linux/filter.h>.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SockFilter {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// Puts the filter on the calling process, for good. Needs no_new_privs or CAP_SYS_ADMIN in the user namespace, else EACCES; EINVAL for a
/// program that the kernel's checker refuses. The speculation mitigation that old kernels tie to seccomp is declined: it halves the speed
/// of some programs and guards nothing that the container could reach. See seccomp(2).
pub fn load(program: &[SockFilter]) -> Result<(), SysError> {
    #[repr(C)]
    struct Program {
        length: libc::c_ushort,
        filter: *const SockFilter,
    }
    let subject = format!("{} instructions", program.len());
    let length = libc::c_ushort::try_from(program.len()).map_err(|_| SysError::new("seccomp", &subject, nix::errno::Errno::E2BIG))?;
    let description = Program { length, filter: program.as_ptr() };
    // SAFETY: `description` points to a live slice of that length, and `SockFilter` has the kernel's layout.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            std::ptr::from_ref(&description),
        )
    };
    number("seccomp", &subject, returned).map(drop)
}
