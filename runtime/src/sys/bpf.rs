//! Loading a device filter and hanging it on a v2 cgroup. See bpf(2), and `BPF_PROG_TYPE_CGROUP_DEVICE` in the kernel's
//! include/uapi/linux/bpf.h.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{descriptor, number};
use crate::error::SysError;

/// One instruction of extended BPF, as `struct bpf_insn` in <linux/bpf.h>; `registers` is the source in the high and the destination in the
/// low four bits (on a little-endian machine, which is what `struct bpf_insn`'s bit fields mean there).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u8,
    pub registers: u8,
    pub offset: i16,
    pub immediate: i32,
}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Programs further up the tree go on being asked as well: a container's list can only narrow what its parents allow.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The first part of `union bpf_attr` for BPF_PROG_LOAD; the kernel takes the rest as zero.
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Gives a device filter to the kernel's verifier. Fails with EPERM without CAP_SYS_ADMIN (or CAP_BPF and CAP_NET_ADMIN), EINVAL for a
/// program that the verifier refuses or a kernel without CONFIG_CGROUP_BPF. See bpf(2), BPF_PROG_LOAD.
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd, SysError> {
    let subject = format!("BPF_PROG_LOAD, {} instructions", program.len());
    let count = u32::try_from(program.len()).map_err(|_| SysError::new("bpf", &subject, Errno::E2BIG))?;
    let attributes = LoadAttributes {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: count,
        instructions: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: `attributes` and the slice and string that it points to live through the call, and its size is given.
    let returned = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, std::ptr::from_ref(&attributes), size_of::<LoadAttributes>()) };
    descriptor("bpf", &subject, returned)
}

/// Asks the program at every open and mknod of a device below this v2 cgroup, for as long as the cgroup exists: the kernel keeps the
/// program, so it outlives this process. See bpf(2), BPF_PROG_ATTACH.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), SysError> {
    let attributes = AttachAttributes {
        target: cgroup.as_raw_fd().unsigned_abs(),
        program: program.as_raw_fd().unsigned_abs(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attributes` lives through the call and its size is given.
    let returned = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, std::ptr::from_ref(&attributes), size_of::<AttachAttributes>()) };
    number("bpf", "BPF_PROG_ATTACH BPF_CGROUP_DEVICE", returned).map(drop)
}
