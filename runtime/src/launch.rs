//! The root helper: starts shims and throwaway workers, clears what a dead shim left. It has no memory of its own.
//!
//! ```text
//! keeper (waits; starts the launcher again when it dies)
//!   └─ launcher (poll: socket) ── StartShim ──> fork: shim
//!                              ── the rest ───> fork: worker, answers on the connection that it is handed
//! ```
//!
//! The control plane has no root and is trusted with nothing: every request is parsed and checked here again. A request that takes
//! time runs in a fork, so that none waits for another.

mod clean;
mod examine;
mod facts;
mod start;

pub use examine::examine;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::cgroup::{self, CgroupError, Hierarchies};
use crate::error::{RuntimeError, SysError};
use crate::protocol::{LauncherAnswer, LauncherRequest, read_frame, write_frame};
use crate::rundir::{Layout, make_dir};
use crate::sys::process::Cloned;
use crate::sys::{process, signal, socket};
use crate::trace::Trace;
use crate::worker;

/// How long a peer may take to say what it wants: it is our own control plane, on the same machine.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);

/// Without a request for so long, what the last ones left in memory is given back.
const QUIET: u16 = 1000;

/// Everything that a request is carried out with.
#[derive(Debug)]
pub(crate) struct Launcher {
    layout: Layout,
    hierarchies: Hierarchies,
    /// Where shims write what they have to say.
    log: OwnedFd,
    /// Found when they are first asked for: trying them costs milliseconds, and readiness is asked for every second.
    features: OnceCell<BTreeMap<String, String>>,
}

impl Launcher {
    fn features(&self) -> &BTreeMap<String, String> {
        self.features.get_or_init(|| facts::features(&self.hierarchies, &self.layout.data_dir))
    }
}

/// Serves until `lifeline` (when there is one) is closed by its other end, or SIGTERM.
pub fn run(layout: Layout, lifeline: Option<OwnedFd>) -> Result<(), SysError> {
    process::set_not_dumpable()?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    prepare(&layout)?;
    let listener = listen(&layout)?;
    let log = open_log(&layout)?;
    let launcher = Launcher { layout, hierarchies: Hierarchies::detect()?, log, features: OnceCell::new() };
    worker::sweep(&launcher.layout.data_dir);
    process::remember_layout();
    cgroup::prepare(&launcher.hierarchies, &launcher.layout.instance, &mut Trace::new("launcher")).map_err(sys_error)?;
    crate::notify::notify("READY=1");
    let outcome = keep(&launcher, &listener, lifeline);
    // First, so that who is just leaving sees that nobody comes after it: see `leave_last`.
    let _ = std::fs::remove_file(launcher.layout.launcher_socket());
    // Stays where sandboxes live on.
    cgroup::leave(&launcher.hierarchies, &launcher.layout.instance);
    outcome
}

/// The last act of a shim or a worker: where the launcher has left meanwhile, and could not take the instance's own cgroups away because this
/// process or what it removed was still there, they go now. A confined worker sees neither the socket nor a cgroup, and does nothing.
pub(crate) fn leave_last(layout: &Layout, hierarchies: &Hierarchies) {
    if !layout.launcher_socket().exists() {
        cgroup::step_out(hierarchies, &layout.instance);
        cgroup::leave(hierarchies, &layout.instance);
    }
}

fn sys_error(error: CgroupError) -> SysError {
    match error {
        CgroupError::Sys(error) if error.source == Errno::EBUSY && error.subject.ends_with("cgroup.subtree_control") => {
            let why = "processes are in this cgroup itself, and cgroup v2 hands no controller down beside them: \
                       move them, and with them what starts berth, into a child of it first";
            SysError::new(error.call, format!("{}: {why}", error.subject), error.source)
        }
        CgroupError::Sys(error) => error,
        other => SysError::new("mkdir", other, Errno::EIO),
    }
}

/// The folders below the run and data directory. Nothing of them is for anyone but root, save what the control plane reads.
fn prepare(layout: &Layout) -> Result<(), SysError> {
    make_dir(&layout.run_dir, 0o711, None)?;
    make_dir(&layout.data_dir, 0o711, None)?;
    make_dir(&layout.pods_run_dir(), 0o711, None)?;
    for (name, mode) in [("pods", 0o711), ("layers", 0o700), ("volumes", 0o700)] {
        make_dir(&layout.data_dir.join(name), mode, None)?;
    }
    Ok(())
}

fn listen(layout: &Layout) -> Result<UnixListener, SysError> {
    let path = layout.launcher_socket();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(SysError::io("unlink", path.display(), &error)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(|error| SysError::io("bind", path.display(), &error))?;
    give_to_control_plane(&path, layout)?;
    Ok(listener)
}

/// Root and the control plane's user may connect; the peer's credentials are checked as well.
fn give_to_control_plane(socket: &std::path::Path, layout: &Layout) -> Result<(), SysError> {
    chown(socket, Some(0), Some(layout.gid)).map_err(|error| SysError::io("chown", socket.display(), &error))?;
    let mode = std::fs::Permissions::from_mode(0o660);
    std::fs::set_permissions(socket, mode).map_err(|error| SysError::io("chmod", socket.display(), &error))
}

fn open_log(layout: &Layout) -> Result<OwnedFd, SysError> {
    let path = layout.run_dir.join("runtime.log");
    // The control plane's user may make files beside it: a link is not followed.
    let file = std::fs::File::options().append(true).create(true).custom_flags(nix::libc::O_NOFOLLOW).open(&path);
    file.map(OwnedFd::from).map_err(|error| SysError::io("open", path.display(), &error))
}

/// Starts the launcher again when it dies; ends with the lifeline, or with SIGTERM, as a service manager ends a service.
fn keep(launcher: &Launcher, listener: &UnixListener, lifeline: Option<OwnedFd>) -> Result<(), SysError> {
    let _ = process::set_name(c"berth-keeper");
    let stop = signal::descriptor_for(&[Signal::SIGTERM, Signal::SIGINT])?;
    loop {
        let child = match process::fork()? {
            Cloned::Child => {
                drop(lifeline);
                let outcome = process::set_parent_death_signal(Signal::SIGKILL).and_then(|()| serve(launcher, listener));
                if let Err(error) = outcome {
                    tracing::error!(error = %error, source = %error.source, "launcher ends");
                }
                process::exit_now(1)
            }
            Cloned::Parent(child) => child,
        };
        process::give_memory_back();
        loop {
            let mut polled = vec![PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
            polled.extend(lifeline.as_ref().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
            match poll(&mut polled, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(SysError::new("poll", "keeper", errno)),
            }
            if polled[1..].iter().any(|one| one.any() == Some(true)) {
                let _ = process::pidfd_send_signal(child.pidfd.as_fd(), nix::libc::SIGKILL);
                return process::reap(child.pidfd.as_fd()).map(drop);
            }
            break;
        }
        let ended = process::reap(child.pidfd.as_fd())?;
        tracing::error!(?ended, "the launcher died and is started again");
        // A launcher that dies at once must not become a storm of forks.
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn serve(launcher: &Launcher, listener: &UnixListener) -> Result<(), SysError> {
    let _ = process::set_name(c"berth-launch");
    // A service's end is the keeper's and this process's, and not that of what is started from here.
    cgroup::leave_service(&launcher.hierarchies, &launcher.layout.instance, &mut Trace::new("launcher"))?;
    // The kernel reaps shims and workers: nobody here waits for them.
    signal::ignore(Signal::SIGCHLD)?;
    signal::ignore(Signal::SIGPIPE)?;
    crate::security::warm_up();
    loop {
        await_a_request(listener)?;
        match listener.accept() {
            Ok((connection, _)) => handle(launcher, listener, connection),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SysError::io("accept", "launcher", &error)),
        }
    }
}

/// Between two bursts of requests this process is small.
fn await_a_request(listener: &UnixListener) -> Result<(), SysError> {
    let mut polled = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    for timeout in [PollTimeout::from(QUIET), PollTimeout::NONE] {
        match poll(&mut polled, timeout) {
            Ok(0) => process::give_memory_back(),
            Ok(_) | Err(Errno::EINTR) => return Ok(()),
            Err(errno) => return Err(SysError::new("poll", "launcher", errno)),
        }
    }
    Ok(())
}

fn handle(launcher: &Launcher, listener: &UnixListener, mut connection: UnixStream) {
    match socket::peer(&connection) {
        Ok(peer) if peer.uid() == 0 || peer.uid() == launcher.layout.uid => {}
        Ok(peer) => return tracing::warn!(uid = peer.uid(), pid = peer.pid(), "connection refused"),
        Err(error) => return tracing::warn!(error = %error, "connection without credentials"),
    }
    let bounded = connection.set_read_timeout(Some(REQUEST_DEADLINE)).and_then(|()| connection.set_write_timeout(Some(REQUEST_DEADLINE)));
    if let Err(error) = bounded {
        return tracing::warn!(error = %error, "connection without deadlines");
    }
    let request = match read_frame::<LauncherRequest>(&mut connection) {
        Ok(Some(request)) => request,
        Ok(None) => return,
        Err(error) => return answer(&mut connection, Err(RuntimeError::Protocol { message: error.to_string() })),
    };
    match request {
        LauncherRequest::Facts => {
            let facts = facts::gather(&launcher.hierarchies, launcher.features().clone());
            answer(&mut connection, Ok(LauncherAnswer::Facts { facts }));
        }
        LauncherRequest::StartShim { config } => {
            let outcome = start::start(launcher, *config, listener, &connection);
            answer(&mut connection, outcome.map(|shim_pid| LauncherAnswer::ShimStarted { shim_pid }));
        }
        LauncherRequest::Clean { pod, data: true } => match clean::throw_away(launcher, &pod) {
            Some(trash) => {
                answer(&mut connection, Ok(LauncherAnswer::Done));
                drop(connection);
                remove_in_a_fork(launcher, listener, &trash);
            }
            None => in_a_fork(launcher, listener, connection, LauncherRequest::Clean { pod, data: true }),
        },
        other => in_a_fork(launcher, listener, connection, other),
    }
}

/// Nobody waits for it, and what it does not get done is left to the next sweep.
fn remove_in_a_fork(launcher: &Launcher, listener: &UnixListener, trash: &std::path::Path) {
    match process::fork() {
        Ok(Cloned::Parent(_)) => {}
        Ok(Cloned::Child) => {
            let _ = process::set_name(c"berth-worker");
            // It may outlive the launcher, whose socket must not seem to be listened at then.
            let _ = process::close_inherited(listener.as_fd());
            if let Err(error) = worker::remove_trash(trash) {
                tracing::error!(error = %error, source = %error.source, "the files of a deleted sandbox are not all removed");
            }
            leave_last(&launcher.layout, &launcher.hierarchies);
            process::exit_now(0)
        }
        Err(error) => tracing::error!(error = %error, source = %error.source, "the files of a deleted sandbox are not removed"),
    }
}

fn answer(connection: &mut UnixStream, outcome: Result<LauncherAnswer, RuntimeError>) {
    let answer = outcome.unwrap_or_else(|error| LauncherAnswer::Failed { error });
    if let Err(error) = write_frame(connection, &answer) {
        tracing::warn!(error = %error, "answer is lost");
    }
}

/// A throwaway process for one request.
fn in_a_fork(launcher: &Launcher, listener: &UnixListener, mut connection: UnixStream, request: LauncherRequest) {
    match process::fork() {
        Ok(Cloned::Parent(_)) => {}
        Ok(Cloned::Child) => {
            let _ = process::set_name(c"berth-worker");
            let _ = process::close_inherited(listener.as_fd());
            let _ = signal::reset_all();
            let _ = signal::ignore(Signal::SIGPIPE);
            if let Some(outcome) = work(launcher, &connection, request).transpose() {
                answer(&mut connection, outcome);
            }
            leave_last(&launcher.layout, &launcher.hierarchies);
            process::exit_now(0)
        }
        Err(error) => answer(&mut connection, Err(RuntimeError::Setup(crate::error::SetupError::new("worker", &error)))),
    }
}

/// What the forked child does. None when it has answered by itself.
fn work(launcher: &Launcher, connection: &UnixStream, request: LauncherRequest) -> Result<Option<LauncherAnswer>, RuntimeError> {
    match request {
        LauncherRequest::CopyOut { pod, container, path, stat_only } => {
            let source = worker::Source { layout: &launcher.layout, pod: &pod, container: &container };
            worker::copy_out(connection, &source, &path, stat_only)
        }
        LauncherRequest::CopyIn { pod, container, path, keep_kinds } => {
            let source = worker::Source { layout: &launcher.layout, pod: &pod, container: &container };
            worker::copy_in(connection, &source, &path, keep_kinds).map(Some)
        }
        LauncherRequest::ExportLayers { layers } => worker::export_layers(connection, &launcher.layout.data_dir, &layers),
        other => answered(launcher, connection, other).map(Some),
    }
}

fn answered(launcher: &Launcher, connection: &UnixStream, request: LauncherRequest) -> Result<LauncherAnswer, RuntimeError> {
    let done = |outcome: Result<(), RuntimeError>| outcome.map(|()| LauncherAnswer::Done);
    let data = &launcher.layout.data_dir;
    match request {
        LauncherRequest::Clean { pod, data } => done(clean::clean(launcher, &pod, data)),
        LauncherRequest::List => clean::list(launcher).map(|entries| LauncherAnswer::List { entries }),
        LauncherRequest::ImportLayer { staging, max_bytes, max_entries } => {
            worker::import_layer(connection, data, &staging, max_bytes, max_entries)
        }
        LauncherRequest::LoadArchive { staging, max_bytes, max_entries, platform } => {
            worker::load_archive(connection, data, &staging, max_bytes, max_entries, platform.as_deref())
        }
        LauncherRequest::RemoveLayer { layer } => done(worker::remove_layer(data, &layer)),
        LauncherRequest::CreateVolume { volume } => done(worker::create_volume(data, &volume)),
        LauncherRequest::RemoveVolume { volume } => done(worker::remove_volume(data, &volume)),
        LauncherRequest::DiskUsage => worker::disk_usage(data).map(|items| LauncherAnswer::DiskUsage { items }),
        LauncherRequest::Changes { pod, container, id_base, after, limit } => {
            let page = (after.as_ref().map(|after| after.0.as_slice()), limit);
            worker::changes(&launcher.layout, &pod, &container, id_base, page)
        }
        LauncherRequest::Examine => {
            let layout = &launcher.layout;
            let examination = examine::examine(&layout.run_dir, data, Some(&layout.instance))?;
            Ok(LauncherAnswer::Examined { examination: Box::new(examination) })
        }
        LauncherRequest::Facts
        | LauncherRequest::StartShim { .. }
        | LauncherRequest::CopyOut { .. }
        | LauncherRequest::CopyIn { .. }
        | LauncherRequest::ExportLayers { .. } => Err(RuntimeError::Protocol { message: "not a worker's request".into() }),
    }
}
