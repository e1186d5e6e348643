//! A small pid 1 for a program that is none: forwards signals and reaps orphans (`docker run --init`).
//!
//! The kernel gives pid 1 no default signal actions and all orphans of its pid namespace (pid_namespaces(7)); a program that does not expect
//! either cannot be stopped by SIGTERM and collects zombies. This one stays behind, confined like the program, and ends as it does.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use nix::unistd::Pid;

use crate::sys::process;

/// Until the program ends; then ends as it did, and the kernel ends the rest.
pub(super) fn run(program: i32) -> ! {
    let _ = process::set_name(c"init");
    let all = SigSet::all();
    let _ = all.thread_block();
    loop {
        match all.wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap(program) {
                    process::exit_now(code);
                }
            }
            // Its pid is its own until it is reaped, which happens nowhere but here.
            Ok(signal) => drop(kill(Pid::from_raw(program), signal)),
            Err(_) => {}
        }
    }
}

/// Everything that has ended; the code of the program if it is among them.
fn reap(program: i32) -> Option<i32> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid.as_raw() == program => code = Some(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == program => code = Some(128 + signal as i32),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return code,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return code,
        }
    }
}
