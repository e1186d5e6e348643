//! Kills by the kernel's out-of-memory killer: the notice, the count, and whose they were.
//!
//! The kernel counts the kills in a memory cgroup (`oom_kill` in v1's memory.oom_control, in v2's memory.events) but does not say whom it
//! killed; only the kernel log does, in words. A container is `oomKilled` only where its init was. What is known when init has ended:
//!
//! - it ended by SIGKILL: the OOM killer sends nothing else, so any other end is none of its;
//! - the count has grown: without that, whoever sent the SIGKILL, it was not the OOM killer;
//! - we sent no SIGKILL ourselves (`kill`, the end of a grace period, `kill_all`): a child's kill just before a stop is no OOM of init.
//!
//! Left is a child that was killed once, and an init that somebody else killed with SIGKILL much later: the count has grown since the start,
//! yet not by this. So a count that has stood for a while with init alive is *settled* as children's ([`OomLedger`]): a victim dies within
//! moments of being chosen, since the kernel opens its reserves to it. Wrong is then only an init killed by a third party within
//! [`OomLedger::SETTLES_AFTER`] of a child's OOM kill. `memory.oom.group` stays off: with it a child's kill takes init along, and the two
//! could not be told apart at all.
//!
//! ```text
//!          count grows               SETTLES_AFTER later, init alive
//! settled -------------> suspected ---------------------------------> settled (those were children)
//!                            | init ends by SIGKILL, not ours
//!                            '--------------------------> oomKilled
//! ```

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Cgroup;
use super::file;
use super::hierarchy::{Controller, Version};
use crate::error::SysError;

impl Cgroup {
    /// Kills by the OOM killer so far; 0 where there is no memory controller. On v1 those of this cgroup's own processes, on v2 also those
    /// of cgroups below it, as the kernel counts.
    pub fn oom_kills(&self) -> u64 {
        let Some((dir, version)) = self.home(Controller::Memory) else { return 0 };
        let name = if version == Version::V1 { "memory.oom_control" } else { "memory.events" };
        file::get(&dir.join(name)).and_then(|text| value_of(&text, "oom_kill")).unwrap_or(0)
    }

    /// The most memory that was in use at once, in bytes: v1's memory.max_usage_in_bytes, v2's memory.peak (from Linux 5.19).
    pub fn memory_peak(&self) -> Option<u64> {
        let (dir, version) = self.home(Controller::Memory)?;
        file::number(&dir.join(if version == Version::V1 { "memory.max_usage_in_bytes" } else { "memory.peak" }))
    }

    /// A descriptor that tells of memory events; None where there is no memory controller.
    pub fn oom_watch(&self) -> Result<Option<OomWatch>, SysError> {
        let Some((dir, version)) = self.home(Controller::Memory) else { return Ok(None) };
        if version == Version::V2 {
            let path = dir.join("memory.events");
            let events = File::open(&path).map_err(|e| SysError::io("open", path.display(), &e))?;
            let watch = OomWatch::V2(events);
            // The kernel tells of changes since the last read only.
            watch.drain();
            return Ok(Some(watch));
        }
        let path = dir.join("memory.oom_control");
        let control = File::open(&path).map_err(|e| SysError::io("open", path.display(), &e))?;
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|errno| SysError::new("eventfd2", path.display(), errno))?;
        // See the kernel's admin-guide/cgroup-v1/memory.rst, "OOM Control". The kernel keeps the event, not the file.
        file::write(&dir.join("cgroup.event_control"), &format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd()))?;
        Ok(Some(OomWatch::V1(event)))
    }
}

/// Becomes ready when the OOM killer may have been at work: a reason to look at [`Cgroup::oom_kills`], no more. v1 tells just before the kill.
#[derive(Debug)]
pub enum OomWatch {
    V1(EventFd),
    V2(File),
}

impl OomWatch {
    /// What to poll the descriptor for.
    pub fn interest(&self) -> PollFlags {
        match self {
            OomWatch::V1(_) => PollFlags::POLLIN,
            OomWatch::V2(_) => PollFlags::POLLPRI,
        }
    }

    /// Makes it quiet until the next event.
    pub fn drain(&self) {
        match self {
            // EAGAIN: nothing was there, which is as good.
            OomWatch::V1(event) => drop(event.read()),
            OomWatch::V2(events) => drop(events.read_at(&mut [0; 256], 0)),
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            OomWatch::V1(event) => event.as_fd(),
            OomWatch::V2(events) => events.as_fd(),
        }
    }
}

/// Whether the OOM killer ended a process that ended by `exit_signal`: `before` counts the kills that were certainly not its, `after` all
/// of them. See the module's words for what each part guards against.
pub fn killed_by_oom(before: u64, after: u64, exit_signal: Option<i32>, we_killed: bool) -> bool {
    exit_signal == Some(libc::SIGKILL) && after > before && !we_killed
}

/// Keeps apart the kills that were children's and those that may be init's. Times are the caller's, so that it can be tried without waiting.
#[derive(Debug, Clone)]
pub struct OomLedger {
    settled: u64,
    suspected_since: Option<Instant>,
}

impl OomLedger {
    /// How long init must outlive a kill for the kill to have been another's.
    pub const SETTLES_AFTER: Duration = Duration::from_secs(1);

    /// `count`: the kills before init started.
    pub fn new(count: u64) -> Self {
        OomLedger { settled: count, suspected_since: None }
    }

    /// To be called with init alive: after each event of [`OomWatch`] (`event`), and when [`OomLedger::look_again`] says so.
    pub fn observe(&mut self, count: u64, event: bool, now: Instant) {
        if event {
            // v1 tells before it kills: the count may grow only after this look.
            self.suspected_since = Some(now);
            return;
        }
        match self.suspected_since {
            Some(since) if now.saturating_duration_since(since) >= Self::SETTLES_AFTER => {
                self.settled = count;
                self.suspected_since = None;
            }
            Some(_) => {}
            // A kill without an event: the whole machine was out of memory.
            None if count > self.settled => self.suspected_since = Some(now),
            None => {}
        }
    }

    /// When to call [`OomLedger::observe`] next if no event comes before.
    pub fn look_again(&self) -> Option<Instant> {
        self.suspected_since.map(|since| since + Self::SETTLES_AFTER)
    }

    /// Init has ended at `now`: was it the OOM killer? `count` is read after its end.
    pub fn killed_init(&self, count: u64, exit_signal: Option<i32>, we_killed: bool) -> bool {
        killed_by_oom(self.settled, count, exit_signal, we_killed)
    }
}

/// The number behind a key in a file of `key number` lines.
pub(super) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILL: Option<i32> = Some(libc::SIGKILL);

    #[test]
    fn only_a_kill_that_is_not_ours_with_a_grown_count_is_an_oom_of_init() {
        assert!(killed_by_oom(0, 1, KILL, false));
        assert!(!killed_by_oom(0, 1, KILL, true), "we killed it");
        assert!(!killed_by_oom(1, 1, KILL, false), "somebody else killed it");
        assert!(!killed_by_oom(0, 1, Some(libc::SIGTERM), false), "a child was killed");
        assert!(!killed_by_oom(0, 1, None, false), "a child was killed, init exited");
    }

    #[test]
    fn a_childs_kill_long_ago_is_not_held_against_init() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut ledger = OomLedger::new(0);
        ledger.observe(0, true, at(0));
        assert_eq!(ledger.look_again(), Some(at(1000)));
        assert!(ledger.killed_init(1, KILL, false), "too early to tell: it may have been init");
        ledger.observe(1, false, at(500));
        ledger.observe(1, false, at(1000));
        assert_eq!(ledger.look_again(), None);
        assert!(!ledger.killed_init(1, KILL, false));
        assert!(ledger.killed_init(2, KILL, false), "a further kill is fresh");
    }

    #[test]
    fn kills_in_a_row_never_settle_and_one_without_an_event_does() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut ledger = OomLedger::new(3);
        for n in 0..10 {
            ledger.observe(4 + n, true, at(n * 900));
            ledger.observe(4 + n, false, at(n * 900 + 100));
        }
        assert!(ledger.killed_init(13, KILL, false));
        let mut quiet = OomLedger::new(0);
        quiet.observe(1, false, at(0));
        quiet.observe(1, false, at(1000));
        assert!(!quiet.killed_init(1, KILL, false));
    }

    #[test]
    fn counters_are_found_by_whole_key() {
        assert_eq!(value_of("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", "oom_kill"), Some(7));
        assert_eq!(value_of("low 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n", "max"), Some(12));
        assert_eq!(value_of("", "oom_kill"), None);
    }
}
