//! Ending what is in a cgroup, waiting until it is empty, removing it; and the same for what a dead shim left.
//!
//! ```text
//! v2, hybrid   echo 1 > cgroup.kill  (from Linux 5.14; also reaches what is frozen, and what is being forked)
//! otherwise    freeze -> SIGKILL to every pid -> thaw, again until no pid is left
//! then         poll(cgroup.events) until populated 0 -> rmdir from the bottom up
//! ```
//!
//! With the processes frozen no pid of the list can be given to another process meanwhile. See cgroups(7), pidfd_send_signal(2).

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::file;
use super::freeze::{BackOff, Events};
use super::hierarchy::{Hierarchies, Version};
use super::{Cgroup, tree};
use crate::error::SysError;
use crate::id::{InstanceId, PodId};
use crate::sys::process;

/// How long a freeze may take before signals are sent without it.
const FREEZE: Duration = Duration::from_millis(200);
/// Rounds of SIGKILL where there is no cgroup.kill: each finds only what was forked since the one before.
const ROUNDS: usize = 20;

impl Cgroup {
    /// Sends SIGKILL to every process in it and below it, frozen ones included, and returns without waiting for their end. No fault when it
    /// is empty or gone.
    pub fn kill_all(&self) -> Result<(), SysError> {
        for _ in 0..ROUNDS {
            if self.kill_once()? {
                break;
            }
        }
        Ok(())
    }

    /// The same, without looking for what was forked meanwhile where the kernel does not; whether that is all.
    pub fn kill_once(&self) -> Result<bool, SysError> {
        if self.kill_by_file()? {
            if self.is_populated() {
                // Of a foreign hand's freeze by v1 the kill does not know.
                self.thaw_below();
                self.kill_members()?;
            }
            return Ok(true);
        }
        if self.members().is_empty() {
            return Ok(true);
        }
        self.signal_frozen(libc::SIGKILL).map(|()| false)
    }

    /// Sends a signal to every process in it and below it. They are frozen for the time of it, so that none forks past the list; if they
    /// were frozen before (paused) they stay so, and get the signal when they are thawed, except
    /// that on v2 one that is fatal to a process ends it at once.
    pub fn signal_all(&self, signal: i32) -> Result<(), SysError> {
        if signal == libc::SIGKILL { self.kill_all() } else { self.signal_frozen(signal) }
    }

    /// Whether any process is in it or below it.
    pub fn is_populated(&self) -> bool {
        match self.directory(Version::V2) {
            Some(dir) => Events::open(&dir).and_then(|events| events.says("populated", "1")).unwrap_or(false),
            None => !self.pids().is_empty(),
        }
    }

    /// Waits until no process is left in it; false when the deadline came first. By event where there is a v2 tree, else by looking.
    pub fn wait_empty(&self, deadline: Instant) -> Result<bool, SysError> {
        if let Some(dir) = self.directory(Version::V2) {
            let events = match Events::open(&dir) {
                Err(error) if error.source == Errno::ENOENT => return Ok(true),
                other => other?,
            };
            while !events.says("populated", "0")? {
                if !events.wait(deadline)? {
                    return events.says("populated", "0");
                }
            }
            return Ok(true);
        }
        let mut pauses = BackOff::until(deadline);
        while !self.pids().is_empty() {
            if !pauses.pause() {
                return Ok(self.pids().is_empty());
            }
        }
        Ok(true)
    }

    /// Waits until it is empty, then removes it with all that was made below it, and the pod's folders if it was the last in them. `Sys` with EBUSY and the folder's path when processes were left at the deadline. No fault when it is gone already.
    pub fn remove(&self, deadline: Instant) -> Result<(), SysError> {
        self.wait_empty(deadline)?;
        // A process is out of the v2 count a moment before its last cgroup lets go of it.
        let mut pauses = BackOff::until(deadline);
        loop {
            let outcome = self.directories().map(|(_, dir)| tree::remove(&dir)).fold(Ok(()), Result::and);
            match outcome {
                // A process that joined v1 and not v2, as only a foreign hand does it, is not in the v2 count.
                Err(error) if error.source == Errno::EBUSY && pauses.pause() => self.kill_members()?,
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        self.remove_pod_folders();
        Ok(())
    }

    /// Sends a signal to every process in it and below it, while they go on: one that is forked meanwhile may miss it.
    pub fn signal_running(&self, signal: i32) -> Result<(), SysError> {
        signal_listed(|| self.members(), signal)
    }

    fn kill_members(&self) -> Result<(), SysError> {
        signal_listed(|| self.members(), libc::SIGKILL)
    }

    /// One write to cgroup.kill; false where there is no such file.
    fn kill_by_file(&self) -> Result<bool, SysError> {
        let Some(dir) = self.directory(Version::V2) else { return Ok(false) };
        match file::write(&dir.join("cgroup.kill"), "1") {
            Ok(()) => Ok(true),
            // No v2 folder: nobody in it. No such file: before 5.14. A threaded cgroup: its processes are not its own.
            Err(error) if matches!(error.source, Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => Ok(!tree::exists(&dir)),
            Err(error) => Err(error),
        }
    }

    fn signal_frozen(&self, signal: i32) -> Result<(), SysError> {
        let frozen_before = self.is_frozen();
        // A freeze that fails or comes late has thawed; then the signals go out all the same.
        let frozen_now = !frozen_before && self.freeze(Instant::now() + FREEZE).is_ok();
        let outcome = signal_listed(|| self.members(), signal);
        if frozen_now {
            let _ = self.thaw();
        }
        if signal == libc::SIGKILL {
            self.thaw_below();
        }
        outcome
    }

    /// The processes by every hierarchy's list.
    fn members(&self) -> Vec<i32> {
        let mut found = Vec::new();
        for (_, dir) in self.directories() {
            tree::pids(&dir, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        // 0 stands for a process that the caller's pid namespace does not know.
        found.retain(|&pid| pid > 0);
        found
    }
}

/// Sends a signal to every process of a list that changes meanwhile. A number may be another process's by the time it is opened: then it
/// is no longer in the list afterwards, and gets nothing.
pub(super) fn signal_listed(list: impl Fn() -> Vec<i32>, signal: i32) -> Result<(), SysError> {
    for some in list().chunks(AT_ONCE) {
        // Gone meanwhile; EINVAL is a thread that pidfd_open does not take for a process.
        let passed = |error: &SysError| matches!(error.source, Errno::ESRCH | Errno::EINVAL);
        let mut opened = Vec::with_capacity(some.len());
        for &pid in some {
            match process::pidfd_open(pid) {
                Ok(pidfd) => opened.push((pid, pidfd)),
                Err(error) if passed(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let still: HashSet<i32> = list().into_iter().collect();
        for (_, pidfd) in opened.iter().filter(|(pid, _)| still.contains(pid)) {
            match process::pidfd_send_signal(pidfd.as_fd(), signal) {
                Err(error) if !passed(&error) => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Descriptors that [`signal_listed`] has open: there may be more processes than a process may have of them.
const AT_ONCE: usize = 128;

/// Kills and removes every cgroup of a pod, found by its name alone: for what a dead shim left. Fails with EBUSY and the folder's path when a
/// process has not ended at the deadline (one that hangs in the kernel).
pub fn clean(hierarchies: &Hierarchies, instance: &InstanceId, pod: &PodId, deadline: Instant) -> Result<(), SysError> {
    let group = Cgroup::of_pod(hierarchies, instance, pod);
    if !group.exists() {
        return Ok(());
    }
    group.kill_all()?;
    group.remove(deadline)
}
