//! Pseudo-terminals. See pty(7), ioctl_tty(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, fstatfs};

use super::number;
use crate::error::SysError;

const DEVPTS_SUPER_MAGIC: FsType = FsType(0x1cd1);

/// A new terminal of the devpts that `/dev/ptmx` of the calling process's root belongs to: its master and its other end.
///
/// The other end comes from the master itself and not from a path, and both must lie on a devpts: whatever an image put at /dev/pts/0 is
/// never opened (CVE-2025-52565). See TIOCGPTPEER in ioctl_tty(2).
pub fn open_pair() -> Result<(OwnedFd, OwnedFd), SysError> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = open("/dev/ptmx", flags, Mode::empty()).map_err(|errno| SysError::new("open", "/dev/ptmx", errno))?;
    let kind = fstatfs(&master).map_err(|errno| SysError::new("fstatfs", "/dev/ptmx", errno))?;
    if kind.filesystem_type() != DEVPTS_SUPER_MAGIC {
        return Err(SysError::new("fstatfs", "/dev/ptmx is not on a devpts", Errno::EPERM));
    }
    let unlocked: libc::c_int = 0;
    // SAFETY: `unlocked` lives through the call, and is what this request reads.
    number("ioctl", "TIOCSPTLCK", unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) }.into())?;
    // SAFETY: takes numbers.
    let peer =
        unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, (libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) as libc::c_long) };
    number("ioctl", "TIOCGPTPEER", peer.into())?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok((master, unsafe { OwnedFd::from_raw_fd(peer) }))
}

/// Makes the terminal the controlling one of the calling process, which must lead a session without one. See TIOCSCTTY in ioctl_tty(2).
pub fn control(terminal: BorrowedFd<'_>) -> Result<(), SysError> {
    // SAFETY: takes numbers.
    number("ioctl", "TIOCSCTTY", unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}

/// Gives the calling process a group of its own, and that the terminal, if it is one: what is typed signals this process and not who made it.
/// See setpgid(2), tcsetpgrp(3); SIGTTOU, which a background process gets that takes a terminal, is held back meanwhile.
pub fn own_group(terminal: BorrowedFd<'_>) -> Result<(), SysError> {
    use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
    let own = nix::unistd::getpid();
    nix::unistd::setpgid(own, own).map_err(|errno| SysError::new("setpgid", "", errno))?;
    if !nix::unistd::isatty(terminal).unwrap_or(false) {
        return Ok(());
    }
    let mut before = SigSet::empty();
    let held = SigSet::from(Signal::SIGTTOU);
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut before)).map_err(|errno| SysError::new("sigprocmask", "", errno))?;
    let taken = nix::unistd::tcsetpgrp(terminal, own).map_err(|errno| SysError::new("tcsetpgrp", "", errno));
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None).map_err(|errno| SysError::new("sigprocmask", "", errno))?;
    taken
}

/// Sets the size in characters; the foreground process group gets SIGWINCH. See TIOCSWINSZ in ioctl_tty(2).
pub fn resize(master: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<(), SysError> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` lives through the call, and is what this request reads.
    number("ioctl", "TIOCSWINSZ", unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into()).map(drop)
}
