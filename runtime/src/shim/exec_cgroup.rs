//! A cgroup of its own for an exec that may have to be ended with all that it started, below the container's.
//!
//! Where none can be had, what is ended is the exec's process group; so it is with an exec that somebody runs to its end, which is in the
//! container's cgroup itself.

use std::os::fd::OwnedFd;

use crate::cgroup::Cgroup;
use crate::error::SysError;

#[derive(Debug)]
pub(super) struct OwnCgroup {
    cgroup: Cgroup,
    /// To be born in, on v2.
    pub(super) leaf: Option<OwnedFd>,
    /// To be joined after the container's, on v1.
    pub(super) tasks: Vec<(String, OwnedFd)>,
}

impl OwnCgroup {
    /// None on a host where there can be none.
    pub(super) fn make(container: &Cgroup, number: u64) -> Result<Option<OwnCgroup>, SysError> {
        let Some(cgroup) = container.make_below(&format!("exec-{number}"))? else { return Ok(None) };
        let mut own = OwnCgroup { cgroup, leaf: None, tasks: Vec::new() };
        own.leaf = own.cgroup.leaf_fd()?;
        own.tasks = own.cgroup.tasks_fds()?;
        Ok(Some(own))
    }

    pub(super) fn kill(&self) {
        told(self.cgroup.kill_once());
    }

    /// To everything that is in it now.
    pub(super) fn signal(&self, signal: i32) {
        told(self.cgroup.signal_running(signal));
    }

    /// False while something is left in it; then it is tried again, and goes with the container's at the latest.
    pub(super) fn is_removed(&self) -> bool {
        self.cgroup.remove_empty()
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        self.is_removed();
    }
}

fn told<T>(outcome: Result<T, SysError>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, source = %error.source, "an exec is not ended as a whole");
    }
}
