//! Stopping every process of a cgroup where it stands, and letting it go on.
//!
//! v2 says in `cgroup.events` when it has happened, and poll(2) waits for that. v1's freezer has no such notice: there a bounded number of
//! looks with growing pauses must do. See the kernel's admin-guide/cgroup-v2.rst and admin-guide/cgroup-v1/freezer-subsystem.rst.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::CgroupError;
use super::file;
use super::hierarchy::Version;
use super::{Cgroup, tree};
use crate::error::SysError;

impl Cgroup {
    /// Freezes all processes and waits until they are. On a fault or at the deadline (`Sys`, ETIMEDOUT: a process is in the kernel and cannot
    /// be stopped now) everything is thawed again, so that nothing stays half frozen.
    pub fn freeze(&self, deadline: Instant) -> Result<(), CgroupError> {
        let outcome = if let Some(dir) = self.v2_freezer() {
            freeze_v2(&dir, deadline)
        } else {
            let dir = self.v1_directory("freezer").ok_or_else(no_freezer)?;
            freeze_v1(&dir, deadline)
        };
        outcome.map_err(|error| {
            // What failed is reported; if this fails as well, the next thaw or kill finds it frozen and thaws.
            let _ = self.thaw();
            CgroupError::Sys(error)
        })
    }

    /// Lets all processes go on; no fault if they were not frozen.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        if let Some(dir) = self.v2_freezer() {
            return Ok(file::write(&dir.join("cgroup.freeze"), "0")?);
        }
        let dir = self.v1_directory("freezer").ok_or_else(no_freezer)?;
        Ok(file::write(&dir.join("freezer.state"), "THAWED")?)
    }

    /// Whether it was told to freeze, and is not thawed yet; by whichever freezer, since another hand may have taken the one that we do not use.
    pub fn is_frozen(&self) -> bool {
        let v2 = self.v2_freezer().and_then(|dir| file::get(&dir.join("cgroup.freeze")));
        let v1 = || self.v1_directory("freezer").and_then(|dir| file::get(&dir.join("freezer.state")));
        v2.as_deref() == Some("1") || v1().is_some_and(|state| state != "THAWED")
    }

    /// Thaws it and every cgroup below it that is frozen on its own: v1 lets a frozen process die only when it is thawed.
    pub(super) fn thaw_below(&self) {
        fn thaw(dir: &Path) {
            // Gone meanwhile, or v1 would not: then the processes are still there, and the wait for their end says so.
            let _ = file::write(&dir.join("freezer.state"), "THAWED");
            tree::children(dir).iter().for_each(|child| thaw(child));
        }
        if let Some(dir) = self.v1_directory("freezer") {
            thaw(&dir);
        }
    }

    /// The v2 folder where it can freeze: from Linux 5.2 on.
    fn v2_freezer(&self) -> Option<PathBuf> {
        self.directory(Version::V2).filter(|dir| tree::exists(&dir.join("cgroup.freeze")))
    }
}

fn no_freezer() -> CgroupError {
    CgroupError::Unsupported {
        feature: "freezer".to_owned(),
        pointer: String::new(),
        message: "neither the freezer controller of cgroup v1 nor a v2 tree with cgroup.freeze".to_owned(),
    }
}

fn freeze_v2(dir: &Path, deadline: Instant) -> Result<(), SysError> {
    let events = Events::open(dir)?;
    file::write(&dir.join("cgroup.freeze"), "1")?;
    while !events.says("frozen", "1")? {
        if !events.wait(deadline)? {
            return Err(SysError::new("write", dir.join("cgroup.freeze").display(), Errno::ETIMEDOUT));
        }
    }
    Ok(())
}

/// A process that forks while it is being frozen leaves the state at FREEZING; writing again collects the newcomer.
fn freeze_v1(dir: &Path, deadline: Instant) -> Result<(), SysError> {
    let path = dir.join("freezer.state");
    let mut pauses = BackOff::until(deadline);
    loop {
        file::write(&path, "FROZEN")?;
        if file::read(&path)?.trim() == "FROZEN" {
            return Ok(());
        }
        if !pauses.pause() {
            return Err(SysError::new("write", path.display(), Errno::ETIMEDOUT));
        }
    }
}

/// A v2 folder's `cgroup.events`: `populated` and `frozen`, with poll(2) to tell of a change (POLLPRI) after each read.
#[derive(Debug)]
pub(super) struct Events {
    file: File,
    path: PathBuf,
}

impl Events {
    pub(super) fn open(dir: &Path) -> Result<Self, SysError> {
        let path = dir.join("cgroup.events");
        let file = File::open(&path).map_err(|e| SysError::io("open", path.display(), &e))?;
        Ok(Events { file, path })
    }

    /// Whether the line `key value` is there now. A cgroup that was removed meanwhile (ENODEV) has no processes and is not frozen.
    pub(super) fn says(&self, key: &str, value: &str) -> Result<bool, SysError> {
        let mut text = [0_u8; 256];
        let length = match self.file.read_at(&mut text, 0) {
            Ok(length) => length,
            Err(e) if e.raw_os_error() == Some(Errno::ENODEV as i32) => return Ok(value == "0"),
            Err(e) => return Err(SysError::io("read", self.path.display(), &e)),
        };
        let text = String::from_utf8_lossy(&text[..length]);
        Ok(text.lines().any(|line| line.split_once(' ') == Some((key, value))))
    }

    /// Waits for a change since the last look; false when the deadline came first.
    pub(super) fn wait(&self, deadline: Instant) -> Result<bool, SysError> {
        wait_for(self.file.as_fd(), PollFlags::POLLPRI, deadline).map_err(|errno| SysError::new("poll", self.path.display(), errno))
    }
}

fn wait_for(fd: BorrowedFd<'_>, flags: PollFlags, deadline: Instant) -> Result<bool, Errno> {
    loop {
        // Rounded up: a poll of zero would spin through the last millisecond.
        let left = deadline.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
        if left == 0 {
            return Ok(false);
        }
        let timeout = PollTimeout::try_from(i32::try_from(left).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd, flags)], timeout) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno),
        }
    }
}

/// Growing pauses up to a deadline, for what the kernel gives no event for.
#[derive(Debug)]
pub(super) struct BackOff {
    next: Duration,
    deadline: Instant,
}

impl BackOff {
    pub(super) fn until(deadline: Instant) -> Self {
        BackOff { next: Duration::from_micros(100), deadline }
    }

    /// Pauses; false when the deadline is over, so that one more look would be too late.
    pub(super) fn pause(&mut self) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(self.next.min(left));
        self.next = (self.next * 2).min(Duration::from_millis(50));
        true
    }
}
