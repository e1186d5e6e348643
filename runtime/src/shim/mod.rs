//! The supervisor of one sandbox: root, one thread, outside the sandbox's namespaces, outliving the control plane.
//!
//! It obeys, reports, keeps logs and exit records; it decides nothing. Restart policy, back-off and deletion belong to the control plane.
//!
//! ```text
//!            listener ── connections (requests in, answers and events out)
//!  poll(2) ─ pidfds   ── a container or an exec ended: reap, drain its pipes, write the exit down, tell the watchers
//!            pipes    ── output: to the log, or to the connection that asked for the exec
//! ```
//!
//! A container's life here: `Created` (set up, at its gate) → `Running` → `Stopped`. See `container`.

mod connection;
mod container;
mod create;
mod exec;
mod exec_cgroup;
mod explain;
mod init;
mod input;
pub(crate) mod join;
pub mod log;
mod observe;
pub(crate) mod place;
mod pod;
mod process;
mod reaper;
mod report;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::cgroup::Hierarchies;
use crate::config::PodConfig;
use crate::error::SysError;
use crate::rundir::{DataDir, Layout, RunDir};
use crate::sys::{process as sys_process, signal};

use self::connection::Connection;
use self::pod::Pod;

/// What does not change in a sandbox's life.
#[derive(Debug)]
pub struct Sandbox {
    pub layout: Layout,
    pub config: PodConfig,
    pub run: RunDir,
    pub data: DataDir,
    pub hierarchies: Hierarchies,
    /// Held as long as this process lives: the proof that the sandbox is not abandoned.
    pub lock: File,
}

/// Who a polled descriptor belongs to.
#[derive(Debug, Clone, Copy)]
enum Source {
    Listener,
    Connection(u64),
    Container(usize),
    ContainerOutput(usize, u8),
    ContainerOom(usize),
    ContainerInput(usize),
    ExecInput(u64),
    Exec(u64),
    ExecOutput(u64, u8),
    Unreaped,
}

/// For those who have not read all that was for them when the sandbox is gone.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs the shim in a process that was forked for it; never returns.
pub fn run(sandbox: Sandbox, listener: UnixListener) -> ! {
    let (layout, hierarchies) = (sandbox.layout.clone(), sandbox.hierarchies.clone());
    let code = match serve(sandbox, &listener) {
        Ok(()) => {
            crate::launch::leave_last(&layout, &hierarchies);
            0
        }
        Err(error) => {
            tracing::error!(error = %error, source = %error.source, "shim ends");
            1
        }
    };
    sys_process::exit_now(code)
}

fn serve(sandbox: Sandbox, listener: &UnixListener) -> Result<(), SysError> {
    let _ = sys_process::set_name(c"berth-shim");
    // A session of its own: a terminal's Ctrl-C and hang-up are not for the containers.
    nix::unistd::setsid().map_err(|errno| SysError::new("setsid", "", errno))?;
    for one in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGPIPE] {
        signal::ignore(one)?;
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    listener.set_nonblocking(true).map_err(|error| SysError::io("fcntl", "listener", &error))?;
    let mut pod = Pod::new(sandbox);
    let mut connections: Vec<Connection> = Vec::new();
    let mut next_connection = 1u64;
    // Once the sandbox is gone: when to go, whoever has not read the rest of what was for it.
    let mut last_moment: Option<Instant> = None;
    loop {
        if pod.finished {
            let until = *last_moment.get_or_insert_with(|| Instant::now() + LAST_WORDS);
            if connections.iter().all(Connection::flushed) || until <= Instant::now() {
                break;
            }
        }
        let ready = wait(&pod, listener, &connections, last_moment)?;
        for (source, flags) in ready {
            match source {
                Source::Listener => {
                    while let Some(connection) = Connection::accept(listener, next_connection, &pod.sandbox.layout) {
                        next_connection += 1;
                        connections.push(connection);
                    }
                }
                Source::Connection(id) => {
                    if let Some(connection) = connections.iter_mut().find(|connection| connection.id == id) {
                        connection.service(flags, &mut pod);
                    }
                }
                Source::Container(index) => pod.container_ended(index),
                Source::ContainerOutput(index, stream) => pod.container_output(index, stream),
                Source::ContainerOom(index) => pod.container_oom(index, true),
                Source::ContainerInput(index) => pod.container_input(index),
                Source::ExecInput(id) => pod.exec_input(id),
                Source::Exec(id) => pod.exec_ended(id),
                Source::ExecOutput(id, stream) => pod.exec_output(id, stream),
                Source::Unreaped => pod.reap_late(),
            }
        }
        pod.deliver(&mut connections);
        connections.retain(|connection| !connection.closed);
        pod.drop_execs_of_closed(&connections);
        pod.write_down();
    }
    Ok(())
}

/// Everything that is ready, after waiting for at least one.
fn wait(
    pod: &Pod,
    listener: &UnixListener,
    connections: &[Connection],
    until: Option<Instant>,
) -> Result<Vec<(Source, PollFlags)>, SysError> {
    let mut sources: Vec<(Source, BorrowedFd<'_>, PollFlags)> = Vec::with_capacity(16);
    sources.push((Source::Listener, listener.as_fd(), PollFlags::POLLIN));
    for connection in connections {
        sources.push((Source::Connection(connection.id), connection.as_fd(), connection.interest()));
    }
    pod.poll_sources(connections, &mut sources);
    let mut polled: Vec<_> = sources.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
    match poll(&mut polled, timeout_until(pod.next_deadline().into_iter().chain(until).min())) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(SysError::new("poll", "shim", errno)),
    }
    let ready = sources.iter().zip(&polled).filter_map(|((source, ..), polled)| {
        let flags = polled.revents()?;
        (!flags.is_empty()).then_some((*source, flags))
    });
    Ok(ready.collect())
}

/// The wait until a deadline, for poll(2).
fn timeout_until(deadline: Option<Instant>) -> PollTimeout {
    match deadline {
        None => PollTimeout::NONE,
        Some(at) => {
            let millis = at.saturating_duration_since(Instant::now()).as_millis() + 1;
            i32::try_from(millis).ok().and_then(|millis| PollTimeout::try_from(millis).ok()).unwrap_or(PollTimeout::MAX)
        }
    }
}
