//! Processes: clone3, pidfds, waiting, exec, and the settings of the calling process.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::{descriptor, number};
use crate::error::SysError;

/// Flags of clone(2) that make new namespaces, and `CLONE_PARENT`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CloneFlags(pub u64);

impl CloneFlags {
    pub const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
    pub const NEWPID: u64 = libc::CLONE_NEWPID as u64;
    pub const NEWNS: u64 = libc::CLONE_NEWNS as u64;
    pub const NEWNET: u64 = libc::CLONE_NEWNET as u64;
    pub const NEWIPC: u64 = libc::CLONE_NEWIPC as u64;
    pub const NEWUTS: u64 = libc::CLONE_NEWUTS as u64;
    pub const PARENT: u64 = libc::CLONE_PARENT as u64;
}

/// A child of this process, with the descriptor that is its identity. The pid is for display and for files in /proc while it is unreaped.
#[derive(Debug)]
pub struct Child {
    pub pid: i32,
    pub pidfd: OwnedFd,
}

/// Which side of [`clone3`] this is.
#[derive(Debug)]
pub enum Cloned {
    Parent(Child),
    Child,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Makes a child process that is born in the v2 cgroup `cgroup` (when given) and in new namespaces by `flags`.
///
/// The caller must have one thread only: the child goes on with a copy of its memory. Fails with EPERM without the capability for a
/// namespace, ENOSPC at a namespace limit, EAGAIN at a process limit, EBUSY for a cgroup that cannot hold processes. See clone(2).
pub fn clone3(flags: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned, SysError> {
    let mut pidfd: libc::c_int = -1;
    let mut bits = flags.0 | libc::CLONE_PIDFD as u64;
    // SAFETY: an all-zero clone_args is valid: no stack, no TLS, no signal.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    if let Some(cgroup) = cgroup {
        bits |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    args.flags = bits;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    // With CLONE_PARENT the exit signal is the parent's own; naming one is EINVAL.
    args.exit_signal = if bits & CloneFlags::PARENT == 0 { libc::SIGCHLD as u64 } else { 0 };
    // SAFETY: `args` lives through the call; without CLONE_VM the child gets a copy of all memory, as after fork(2), and the caller
    // promises one thread, so no lock is held by a thread that does not exist in the child.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match number("clone3", "", pid)? {
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: the kernel stored a fresh descriptor here.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent(Child { pid: i32::try_from(pid).unwrap_or(-1), pidfd }))
        }
    }
}

/// Forks; the caller must have one thread only. See fork(2).
pub fn fork() -> Result<Cloned, SysError> {
    clone3(CloneFlags(0), None)
}

/// Ends this process at once, without destructors or buffers: what a forked child must use. See _exit(2).
pub fn exit_now(code: i32) -> ! {
    // SAFETY: takes a number, never returns.
    unsafe { libc::_exit(code) }
}

/// A descriptor that stands for the process, whatever becomes of its pid. Fails with ESRCH when there is none. See pidfd_open(2).
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, SysError> {
    // SAFETY: takes two numbers.
    descriptor("pidfd_open", &pid.to_string(), unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// Sends a signal to exactly this process; ESRCH when it is gone. Signal numbers beyond nix's `Signal` (real-time) are allowed.
/// See pidfd_send_signal(2).
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), SysError> {
    // SAFETY: no siginfo is passed.
    let returned = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0) };
    number("pidfd_send_signal", &signal.to_string(), returned).map(drop)
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Signaled(i32),
}

/// Reaps the child behind the descriptor if it has ended; None while it runs. See waitid(2).
pub fn try_reap(pidfd: BorrowedFd<'_>) -> Result<Option<Ended>, SysError> {
    // SAFETY: an all-zero siginfo is valid, and the kernel fills it.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` lives through the call.
    let returned = unsafe { libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, &raw mut info, libc::WEXITED | libc::WNOHANG) };
    number("waitid", "pidfd", returned.into())?;
    // SAFETY: after a successful waitid these fields are set, or zero when nothing has ended.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    Ok(Some(if info.si_code == libc::CLD_EXITED { Ended::Exited(status) } else { Ended::Signaled(status) }))
}

/// Waits for the child behind the descriptor and reaps it. See waitid(2).
pub fn reap(pidfd: BorrowedFd<'_>) -> Result<Ended, SysError> {
    loop {
        wait(pidfd, PollTimeout::NONE)?;
        if let Some(ended) = try_reap(pidfd)? {
            return Ok(ended);
        }
    }
}

/// Kills the child behind the descriptor and reaps it. Fails with ETIMEDOUT when it has not ended within 10 s: one that waits in the kernel
/// for a file system or a device dies when that lets go of it, and whoever waits for it must not hang as well.
pub fn end(pidfd: BorrowedFd<'_>) -> Result<Ended, SysError> {
    let deadline = Instant::now() + DEATH;
    // ESRCH: it has ended already.
    let _ = pidfd_send_signal(pidfd, libc::SIGKILL);
    loop {
        if let Some(ended) = try_reap(pidfd)? {
            return Ok(ended);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let pid = pid_of(&pidfd).map_or_else(String::new, |pid| format!(" {pid}"));
            return Err(SysError::new("waitid", format!("process{pid}, which SIGKILL did not end"), Errno::ETIMEDOUT));
        }
        wait(pidfd, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))?;
        // A zombie that is traced says that it has ended, and is not ours before its tracer lets go of it.
        if let Some(ended) = try_reap(pidfd)? {
            return Ok(ended);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How long [`end`] waits.
const DEATH: Duration = Duration::from_secs(10);

/// Until the process has ended, or the time is over. See pidfd_open(2), "Polling".
fn wait(pidfd: BorrowedFd<'_>, timeout: PollTimeout) -> Result<(), SysError> {
    match poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(SysError::new("poll", "pidfd", errno)),
    }
}

/// The kernel kills this process with `signal` when its parent dies. Cleared by a change of credentials. See PR_SET_PDEATHSIG(2const).
pub fn set_parent_death_signal(signal: Signal) -> Result<(), SysError> {
    nix::sys::prctl::set_pdeathsig(signal).map_err(|errno| SysError::new("prctl", "PR_SET_PDEATHSIG", errno))
}

/// /proc/PID of this process opens to root of the host only; no ptrace, no core. See PR_SET_DUMPABLE(2const).
pub fn set_not_dumpable() -> Result<(), SysError> {
    nix::sys::prctl::set_dumpable(false).map_err(|errno| SysError::new("prctl", "PR_SET_DUMPABLE", errno))
}

/// The name that ps(1) shows, cut to 15 bytes. See PR_SET_NAME(2const).
pub fn set_name(name: &CStr) -> Result<(), SysError> {
    nix::sys::prctl::set_name(name).map_err(|errno| SysError::new("prctl", "PR_SET_NAME", errno))
}

/// No later execve of this process or its children gains privileges. See PR_SET_NO_NEW_PRIVS(2const).
pub fn set_no_new_privs() -> Result<(), SysError> {
    nix::sys::prctl::set_no_new_privs().map_err(|errno| SysError::new("prctl", "PR_SET_NO_NEW_PRIVS", errno))
}

/// Every descriptor from `first` up closes at execve. See close_range(2).
pub fn close_on_exec_from(first: u32) -> Result<(), SysError> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor from `first` up, now. The caller must not use any of them afterwards. See close_range(2).
pub fn close_from(first: u32) -> Result<(), SysError> {
    close_range(first, 0)
}

/// Closes in this process, just forked, a descriptor whose owner lives on in the parent. The caller must not use it again and must
/// leave by execve or [`exit_now`], so that its owner's copy here is never dropped. See close(2).
pub fn close_inherited(fd: BorrowedFd<'_>) -> Result<(), SysError> {
    // SAFETY: takes a number; the contract above keeps it from being closed twice.
    number("close", "inherited", unsafe { libc::close(fd.as_raw_fd()) }.into()).map(drop)
}

fn close_range(first: u32, flags: libc::c_uint) -> Result<(), SysError> {
    // SAFETY: takes numbers; the callers' contract is that nothing above `first` is used again (close) or past execve (cloexec).
    let returned = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) };
    number("close_range", &first.to_string(), returned).map(drop)
}

/// Makes `fd` descriptor `target` (0, 1 or 2), open across execve. See dup2(2).
pub fn dup_to(fd: BorrowedFd<'_>, target: i32) -> Result<(), SysError> {
    // SAFETY: both are plain numbers; replacing 0, 1 or 2 is the purpose.
    number("dup2", &target.to_string(), unsafe { libc::dup2(fd.as_raw_fd(), target) }.into()).map(drop)
}

/// Joins a new, empty session keyring, so that no key of the starter is reachable. See keyctl_join_session_keyring(3).
pub fn new_session_keyring() -> Result<(), SysError> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let returned = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    number("keyctl", "KEYCTL_JOIN_SESSION_KEYRING", returned).map(drop)
}

/// Sets real, effective and saved group id. One thread only: the bare system call. See setresgid(2).
pub fn set_gid(gid: u32) -> Result<(), SysError> {
    // SAFETY: takes three numbers.
    number("setresgid", &gid.to_string(), unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// Sets real, effective and saved user id. One thread only: the bare system call. See setresuid(2).
pub fn set_uid(uid: u32) -> Result<(), SysError> {
    // SAFETY: takes three numbers.
    number("setresuid", &uid.to_string(), unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// Sets the supplementary groups. See setgroups(2).
pub fn set_groups(groups: &[u32]) -> Result<(), SysError> {
    // SAFETY: pointer and length describe the same live slice.
    let returned = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    number("setgroups", &format!("{groups:?}"), returned).map(drop)
}

/// Sets a resource limit; `resource` is RLIMIT_*. See setrlimit(2).
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<(), SysError> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` lives through the call; no old value is asked for.
    let returned = unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, std::ptr::null::<libc::rlimit64>()) };
    number("prlimit64", &format!("{resource} {soft}:{hard}"), returned).map(drop)
}

/// Replaces this process by the program; returns only when that failed. See execve(2).
pub fn execve(path: &CStr, argv: &[std::ffi::CString], env: &[std::ffi::CString]) -> SysError {
    match nix::unistd::execve(path, argv, env) {
        Ok(never) => match never {},
        Err(errno) => SysError::new("execve", path.to_string_lossy(), errno),
    }
}

/// Replaces this process by the program behind the descriptor; returns only when that failed. See execveat(2).
pub fn execve_fd(program: BorrowedFd<'_>, argv: &[std::ffi::CString], env: &[std::ffi::CString]) -> SysError {
    match nix::unistd::fexecve(program, argv, env) {
        Ok(never) => match never {},
        Err(errno) => SysError::new("fexecve", "descriptor", errno),
    }
}

/// A file in memory that can be sealed. See memfd_create(2).
pub fn memfd(name: &CStr) -> Result<OwnedFd, SysError> {
    // SAFETY: `name` is a live C string.
    let returned = unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    descriptor("memfd_create", &name.to_string_lossy(), returned)
}

/// No more writes, growth, shrinking or further seals. See F_ADD_SEALS in fcntl(2).
pub fn seal(memfd: BorrowedFd<'_>) -> Result<(), SysError> {
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: takes numbers.
    number("fcntl", "F_ADD_SEALS", unsafe { libc::fcntl(memfd.as_raw_fd(), libc::F_ADD_SEALS, seals) }.into()).map(drop)
}

/// The host pid of the process behind a pidfd, from /proc/self/fdinfo; None once it is gone.
pub fn pid_of(pidfd: &impl AsFd) -> Option<i32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd())).ok()?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
    (pid > 0).then_some(pid)
}

/// Gives back what a burst of work left resident: free pages of the heap, the stack below this call, and what is read again from its file
/// where it is needed, which is text and constants. For a process that has started something and will mostly wait. See malloc_trim(3), madvise(2).
pub fn give_memory_back() {
    give_text_back();
    if let Some((start, length)) = unused_stack() {
        // SAFETY: below the stack pointer, out of reach of the red zone and of the frames of the calls made here: nobody will read what
        // stood there, and the kernel gives pages of zeros when the stack grows down again.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
}

/// The part of [`give_memory_back`] that a process with several threads can do.
pub fn give_text_back() {
    // SAFETY: takes a number; returns free memory to the kernel.
    unsafe { libc::malloc_trim(0) };
    for &(start, length) in file_areas() {
        // SAFETY: the range is a mapping of a file that was never written to, so the kernel reads each page again at the next access, also
        // those of this function.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
}

/// Looks up once, before forks, what children then need not look up each: see [`give_memory_back`] and [`set_title`].
pub fn remember_layout() {
    let _ = (file_areas(), stack_top(), argument_area());
}

/// Text and constants of this program and its libraries, the same in every child: private mappings of files that hold no relocations.
fn file_areas() -> &'static [(usize, usize)] {
    static AREAS: std::sync::OnceLock<Vec<(usize, usize)>> = std::sync::OnceLock::new();
    AREAS.get_or_init(|| {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        maps.lines().filter_map(file_area).collect()
    })
}

/// `start-end r-xp offset device inode path`, from proc_pid_maps(5). Of what is only read, the first mapping of a file: constants that need no
/// relocation. A later one may be relocated data, made read-only after it was written to: giving that back would lose it.
fn file_area(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_whitespace();
    let (range, mode, offset, inode) = (fields.next()?, fields.next()?, fields.next()?, fields.nth(1)?);
    let unwritten = mode == "r-xp" || (mode == "r--p" && offset.bytes().all(|digit| digit == b'0'));
    (unwritten && inode != "0").then(|| range_of(range)).flatten()
}

fn range_of(text: &str) -> Option<(usize, usize)> {
    let (start, end) = text.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    end.checked_sub(start).map(|length| (start, length))
}

/// Where the main thread's stack begins: its upper end.
fn stack_top() -> Option<usize> {
    static TOP: std::sync::OnceLock<Option<usize>> = std::sync::OnceLock::new();
    *TOP.get_or_init(|| {
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let (start, length) =
            maps.lines().find(|line| line.ends_with("[stack]")).and_then(|line| range_of(line.split_whitespace().next()?))?;
        Some(start + length)
    })
}

/// Whole pages below this call's frame, less a few for the calls that are still to come. The kernel maps nothing else so close below a
/// stack (stack_guard_gap in its parameters), and what is not mapped is passed over.
fn unused_stack() -> Option<(usize, usize)> {
    const REACH: usize = 512 << 10;
    const KEEP: usize = 8 << 10;
    const PAGE: usize = 4 << 10;
    let local = 0u8;
    let here = std::hint::black_box(std::ptr::from_ref(&local)) as usize;
    let lowest = stack_top()?.checked_sub(REACH)?;
    let end = here.checked_sub(KEEP)? & !(PAGE - 1);
    // On another thread's stack there is nothing to give back here.
    (lowest..lowest + REACH).contains(&end).then(|| (lowest, end - lowest))
}

/// Where the kernel reads /proc/PID/cmdline from in this process's memory, the same in every child: fields 48 and 49 of proc_pid_stat(5).
fn argument_area() -> Option<(u64, usize)> {
    static AREA: std::sync::OnceLock<Option<(u64, usize)>> = std::sync::OnceLock::new();
    *AREA.get_or_init(|| {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // What follows the command begins with field 3.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(45);
        let (start, end): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((start, usize::try_from(end.checked_sub(start)?).ok()?))
    })
}

/// Replaces what ps(1) shows of this process's arguments, which name folders of the host, by `title`. Done through /proc/self/mem, so that
/// no reference of this program is involved; where that is not possible the arguments stay.
pub fn set_title(title: &str) {
    let Some((start, length)) = argument_area() else { return };
    let mut text = vec![0; length];
    let shown = title.len().min(length.saturating_sub(1));
    text[..shown].copy_from_slice(&title.as_bytes()[..shown]);
    if let Ok(memory) = std::fs::File::options().write(true).open("/proc/self/mem") {
        let _ = std::os::unix::fs::FileExt::write_all_at(&memory, &text, start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_written_to_is_given_back() {
        let area = |line| file_area(line);
        assert_eq!(area("1000-3000 r-xp 0014a000 00:01 12540   /memfd:berth-runtime (deleted)"), Some((0x1000, 0x2000)));
        assert_eq!(area("1000-2000 r--p 00000000 fe:00 77   /usr/lib/libc.so.6"), Some((0x1000, 0x1000)));
        for kept in [
            "1000-2000 r--p 0049a000 00:01 12540   /memfd:berth-runtime (deleted)",
            "1000-2000 rw-p 00000000 fe:00 77   /usr/lib/libc.so.6",
            "1000-2000 r-xp 00000000 00:00 0   [vdso]",
            "1000-2000 r--p 00000000 00:00 0",
            "garbage",
        ] {
            assert_eq!(area(kept), None, "{kept}");
        }
    }

    #[test]
    fn what_was_given_back_is_there_again() {
        let text = String::from("on the heap");
        let numbers = [1u64, 2, 3];
        remember_layout();
        give_memory_back();
        assert_eq!((text.as_str(), numbers.iter().sum::<u64>()), ("on the heap", 6));
    }
}
