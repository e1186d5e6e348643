//! Signals as descriptors. See signalfd(2).

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::SysError;

/// Blocks the signals and gives a descriptor that becomes readable when one is pending. See signalfd(2).
pub fn descriptor_for(signals: &[Signal]) -> Result<SignalFd, SysError> {
    let set: SigSet = signals.iter().copied().collect();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None).map_err(|errno| SysError::new("sigprocmask", "SIG_BLOCK", errno))?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map_err(|errno| SysError::new("signalfd", "", errno))
}

/// Every signal as a fresh program expects it: unblocked, with its default action (an ignored signal would stay ignored across execve).
/// See signal(7).
pub fn reset_all() -> Result<(), SysError> {
    for one in Signal::iterator().filter(|&s| s != Signal::SIGKILL && s != Signal::SIGSTOP) {
        // SAFETY: the default action runs no code of ours.
        unsafe { signal(one, SigHandler::SigDfl) }.map_err(|errno| SysError::new("sigaction", one.as_str(), errno))?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).map_err(|errno| SysError::new("sigprocmask", "SIG_SETMASK", errno))
}

/// Ignores a signal: for SIGPIPE, so that a peer that went away is an errno, and for SIGCHLD, so that the kernel reaps. See signal(7).
pub fn ignore(which: Signal) -> Result<(), SysError> {
    // SAFETY: ignoring runs no code of ours.
    unsafe { signal(which, SigHandler::SigIgn) }.map(drop).map_err(|errno| SysError::new("sigaction", which.as_str(), errno))
}
