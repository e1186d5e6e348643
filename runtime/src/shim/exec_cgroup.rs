//! A cgroup of its own for an exec that may have to be ended with all that it started, below the container's.
//!
//! Limits and figures stay the container's, which count everything below it. Where there is no v2 tree there is none, and what is ended is the
//! exec's process group; so it is with an exec that somebody runs to its end, which is in the container's cgroup itself.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;

use crate::error::SysError;
use crate::sys::{mount, process};

#[derive(Debug)]
pub(super) struct OwnCgroup {
    parent: OwnedFd,
    name: String,
    pub(super) folder: OwnedFd,
}

impl OwnCgroup {
    pub(super) fn make(leaf: &OwnedFd, number: u64) -> Result<OwnCgroup, SysError> {
        let name = format!("exec-{number}");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        nix::sys::stat::mkdirat(leaf, name.as_str(), Mode::from_bits_truncate(0o755))
            .map_err(|errno| SysError::new("mkdirat", &name, errno))?;
        let folder =
            nix::fcntl::openat(leaf, name.as_str(), flags, Mode::empty()).map_err(|errno| SysError::new("openat", &name, errno))?;
        let parent = leaf.try_clone().map_err(|error| SysError::io("dup", &name, &error))?;
        Ok(OwnCgroup { parent, name, folder })
    }

    /// See cgroup.kill in cgroups(7).
    pub(super) fn kill(&self) {
        if let Ok(file) = mount::open_beneath(self.folder.as_fd(), "cgroup.kill", OFlag::O_WRONLY) {
            let _ = nix::unistd::write(file, b"1");
        }
    }

    /// To everything that is in it now.
    pub(super) fn signal(&self, signal: i32) {
        // A pid may be another process' by the time it is opened: then it is no longer in the second list.
        let opened: Vec<_> = self.pids().into_iter().filter_map(|pid| Some((pid, process::pidfd_open(pid).ok()?))).collect();
        let still = self.pids();
        for (_, pidfd) in opened.iter().filter(|(pid, _)| still.contains(pid)) {
            let _ = process::pidfd_send_signal(pidfd.as_fd(), signal);
        }
    }

    fn pids(&self) -> Vec<i32> {
        let file = mount::open_beneath(self.folder.as_fd(), "cgroup.procs", OFlag::O_RDONLY);
        let text = file.ok().and_then(|file| std::io::read_to_string(std::fs::File::from(file)).ok()).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// False while something is left in it; then it is tried again, and goes with the container's at the latest.
    pub(super) fn is_removed(&self) -> bool {
        nix::unistd::unlinkat(&self.parent, self.name.as_str(), UnlinkatFlags::RemoveDir) != Err(Errno::EBUSY)
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        self.is_removed();
    }
}
