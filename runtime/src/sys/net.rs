//! Network devices of the calling process's network namespace. See netdevice(7).

use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::number;
use crate::error::SysError;

/// Sets the loopback device up. See netdevice(7), SIOCSIFFLAGS.
pub fn loopback_up() -> Result<(), SysError> {
    let control = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|errno| SysError::new("socket", "AF_INET", errno))?;
    // SAFETY: an all-zero ifreq is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: `request` lives through the call and is what this request takes.
    number("ioctl", "SIOCSIFFLAGS lo IFF_UP", unsafe { libc::ioctl(control.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) }.into())
        .map(drop)
}
