//! What the init tells the shim over their socket before it becomes the program.

use std::os::fd::{AsRawFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::error::{SetupError, SysError};
use crate::sys::socket;
use crate::trace::Operation;

/// The largest message: records of a set-up with a few hundred mounts.
pub(super) const MAX_REPORT: usize = 200 << 10;
/// A failure of an exec, with the few operations before it.
pub(super) const MAX_FAILURE: usize = 8 << 10;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "report")]
pub(super) enum FromInit {
    /// The terminal is open; its master comes with this.
    Terminal,
    /// At the gate.
    Ready {
        operations: Vec<Operation>,
    },
    /// The next thing is the filter and execve: the end of the stream means that it happened.
    Executing {
        operations: Vec<Operation>,
    },
    Failed {
        error: SetupError,
        operations: Vec<Operation>,
    },
}

pub(super) fn report(control: &OwnedFd, message: &FromInit) -> Result<(), SysError> {
    report_with(control, message, None)
}

/// With a descriptor: the master of a terminal.
pub(super) fn report_with(control: &OwnedFd, message: &FromInit, descriptor: Option<&OwnedFd>) -> Result<(), SysError> {
    let text = serde_json::to_vec(message).map_err(|error| SysError::new("write", error, nix::errno::Errno::EINVAL))?;
    let raw: Vec<_> = descriptor.iter().map(|fd| fd.as_raw_fd()).collect();
    socket::send(control, &text, &raw)
}
