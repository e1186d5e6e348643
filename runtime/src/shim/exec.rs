//! A further process in a running container.
//!
//! It enters what the container's first process has — cgroup, every namespace, root, environment, user, capabilities, filter — and not only
//! the namespaces, as nsenter(1) does. The pid namespace is entered by being born in it, so a first process joins and makes the second as its
//! sibling, a child of the shim.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::PollFlags;
use nix::sched::CloneFlags as Namespace;

use super::Source;
use super::container::{Container, await_exec, set_nonblocking};
use super::create::setup;
use super::init::Failure;
use super::input::{Asker, Input};
use super::report::{FromInit, report, report_with};
use crate::config::{ExecConfig, NamespaceMode, PodConfig};
use crate::error::{RuntimeError, SetupError, SysError};
use crate::protocol::{Bytes, ShimAnswer};
use crate::security::SecurityPlan;
use crate::sys::process::{Child, CloneFlags, Cloned, Ended};
use crate::sys::{descriptors, mount, namespace, process, socket, terminal};
use crate::trace::Trace;

/// A chunk of output: with base64 well below the largest frame.
const CHUNK: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Exec {
    pub(super) number: u64,
    /// Who asked, and the number of that request.
    pub(super) connection: u64,
    pub(super) request: u64,
    pub(super) deadline: Option<Instant>,
    child: Child,
    pub(super) stdin: Option<Input>,
    terminal: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    timed_out: bool,
    /// A cgroup of its own below the container's, for an exec that may have to be ended with all it started.
    own: Option<OwnCgroup>,
}

/// What the processes after the fork need.
struct Entering<'a> {
    leaf: Option<&'a OwnedFd>,
    pod: &'a PodConfig,
    container: &'a Container,
    target: &'a Child,
    config: &'a ExecConfig,
    security: &'a SecurityPlan,
    control: OwnedFd,
    /// Where the first process tells of the second. Not `control`, on which the second may already be speaking.
    birth: OwnedFd,
    stdio: [OwnedFd; 3],
}

impl Exec {
    pub(super) fn start(
        pod: &PodConfig,
        container: &Container,
        config: ExecConfig,
        number: u64,
        connection: u64,
        request: u64,
    ) -> Result<Exec, RuntimeError> {
        let at = setup("exec");
        let target = container.running()?;
        let security = container.security.for_exec(&config);
        let (gate, control) = socket::packet_pair().map_err(&at)?;
        let (births, birth) = socket::packet_pair().map_err(&at)?;
        let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| at(SysError::new("pipe2", "", errno)));
        let (stdin, input) = if config.stdin && !config.tty {
            let (read, write) = pipe()?;
            (read, Some(write))
        } else {
            (super::process::dev_null().map_err(&at)?, None)
        };
        let (stdout, out) = pipe()?;
        let (stderr, err) = pipe()?;
        for fd in [&stdout, &stderr] {
            set_nonblocking(fd).map_err(&at)?;
        }
        let own =
            config.timeout_ms.and(container.cgroup_leaf.as_ref()).map(|leaf| OwnCgroup::make(leaf, number)).transpose().map_err(&at)?;
        let entering = Entering {
            leaf: own.as_ref().map_or(container.cgroup_leaf.as_ref(), |own| Some(&own.folder)),
            pod,
            container,
            target,
            config: &config,
            security: &security,
            control,
            birth,
            stdio: [stdin, out, err],
        };
        let child = enter(entering, &births).map_err(RuntimeError::Setup)?;
        let mut trace = Trace::new("shim");
        let terminal = match await_exec(&gate, &mut trace, &config.argv) {
            Ok(terminal) => terminal,
            Err(error) => {
                let _ = process::pidfd_send_signal(child.pidfd.as_fd(), nix::libc::SIGKILL);
                let _ = process::reap(child.pidfd.as_fd());
                return Err(error);
            }
        };
        let copy = |fd: &OwnedFd| fd.try_clone().map_err(|error| at(SysError::io("dup", "terminal", &error)));
        let (input, stdout, stderr) = match &terminal {
            Some(master) => (Some(copy(master)?), copy(master)?, None),
            None => (input, stdout, Some(stderr)),
        };
        set_nonblocking(&stdout).map_err(&at)?;
        let deadline = config.timeout_ms.map(|millis| Instant::now() + Duration::from_millis(millis));
        let stdin = input.map(Input::new).transpose()?;
        Ok(Exec { number, connection, request, deadline, child, stdin, terminal, stdout: Some(stdout), stderr, timed_out: false, own })
    }

    pub(super) fn poll_sources<'a>(&'a self, take_output: bool, into: &mut Vec<(Source, BorrowedFd<'a>, PollFlags)>) {
        into.push((Source::Exec(self.number), self.child.pidfd.as_fd(), PollFlags::POLLIN));
        if let Some(stdin) = self.stdin.as_ref().and_then(Input::wants_room) {
            into.push((Source::ExecInput(self.number), stdin, PollFlags::POLLOUT));
        }
        for (stream, pipe) in [(1, &self.stdout), (2, &self.stderr)] {
            if let Some(pipe) = pipe
                && take_output
            {
                into.push((Source::ExecOutput(self.number, stream), pipe.as_fd(), PollFlags::POLLIN));
            }
        }
    }

    /// Some of what the pipe holds; None when there is nothing now.
    pub(super) fn take_output(&mut self, stream: u8) -> Option<Bytes> {
        let pipe = if stream == 1 { &mut self.stdout } else { &mut self.stderr };
        let mut buffer = vec![0; CHUNK];
        loop {
            match nix::unistd::read(pipe.as_ref()?, &mut buffer) {
                Ok(0) => {
                    *pipe = None;
                    return None;
                }
                Ok(length) => {
                    buffer.truncate(length);
                    return Some(Bytes(buffer));
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return None,
                // A terminal whose other side is closed says so by EIO.
                Err(_) => {
                    *pipe = None;
                    return None;
                }
            }
        }
    }

    pub(super) fn input(&mut self, data: &[u8], asker: Asker) -> Result<(), RuntimeError> {
        let closed = || RuntimeError::Conflict { message: "standard input is closed".into() };
        self.stdin.as_mut().ok_or_else(closed)?.push(data, asker)
    }

    pub(super) fn resize(&self, rows: u16, columns: u16) -> Result<ShimAnswer, RuntimeError> {
        let none = || RuntimeError::Conflict { message: "the exec has no terminal".into() };
        terminal::resize(self.terminal.as_ref().ok_or_else(none)?.as_fd(), rows, columns).map_err(setup("terminal"))?;
        Ok(ShimAnswer::Done)
    }

    pub(super) fn signal(&self, signal: i32) -> Result<ShimAnswer, RuntimeError> {
        process::pidfd_send_signal(self.child.pidfd.as_fd(), signal).map_err(setup("kill"))?;
        Ok(ShimAnswer::Done)
    }

    pub(super) fn kill(&mut self) {
        if let Some(own) = &self.own {
            own.kill();
        }
        let _ = process::pidfd_send_signal(self.child.pidfd.as_fd(), nix::libc::SIGKILL);
    }

    pub(super) fn check_deadline(&mut self) {
        if self.deadline.is_some_and(|at| at <= Instant::now()) {
            self.deadline = None;
            self.timed_out = true;
            self.kill();
        }
    }

    /// The answer after a kill.
    pub(super) fn wait(&self) -> ShimAnswer {
        self.answer(process::reap(self.child.pidfd.as_fd()).unwrap_or(Ended::Signaled(nix::libc::SIGKILL)))
    }

    /// The answer, when it has ended.
    pub(super) fn ended(&self) -> Option<ShimAnswer> {
        process::try_reap(self.child.pidfd.as_fd()).ok()?.map(|ended| self.answer(ended))
    }

    fn answer(&self, ended: Ended) -> ShimAnswer {
        let (exit_code, signal) = match ended {
            Ended::Exited(code) => (code, None),
            Ended::Signaled(signal) => (128 + signal, Some(signal)),
        };
        ShimAnswer::ExecExited { exit_code, signal, timed_out: self.timed_out }
    }
}

impl Entering<'_> {
    /// As the init does, and for the same reasons; here the pipes of other execs are among them.
    fn close_the_shims(&self) -> Result<(), SysError> {
        let mut keep = vec![self.control.as_fd(), self.birth.as_fd(), self.target.pidfd.as_fd()];
        keep.extend(self.stdio.iter().map(AsFd::as_fd));
        keep.extend(self.container.cgroup_tasks.iter().map(|(_, file)| file.as_fd()));
        descriptors::close_all_but(&keep)
    }
}

/// Makes the process that joins, and from it the one that stays; answers the latter.
fn enter(entering: Entering<'_>, births: &OwnedFd) -> Result<Child, SetupError> {
    let at = |error: SysError| SetupError::new("exec", &error);
    let leaf = entering.leaf.map(AsFd::as_fd);
    match process::clone3(CloneFlags(0), leaf).map_err(at)? {
        Cloned::Child => first_process(&entering),
        Cloned::Parent(first) => {
            drop(entering);
            let mut buffer = vec![0; super::report::MAX_FAILURE];
            let received = socket::receive(births, &mut buffer);
            process::reap(first.pidfd.as_fd()).map_err(at)?;
            let (length, descriptors) = received.map_err(at)?;
            match descriptors.into_iter().next() {
                Some(pidfd) => {
                    let pid = process::pid_of(&pidfd).unwrap_or(-1);
                    Ok(Child { pid, pidfd })
                }
                None => match serde_json::from_slice(&buffer[..length]) {
                    Ok(FromInit::Failed { error, .. }) => Err(error),
                    _ => Err(at(SysError::new("setns", "container", Errno::ESRCH))),
                },
            }
        }
    }
}

fn first_process(entering: &Entering<'_>) -> ! {
    process::set_title("exec");
    let mut trace = Trace::new("init");
    trace.stage("cgroup");
    let joined = entering
        .close_the_shims()
        .and_then(|()| super::process::join_cgroups(&entering.container.cgroup_tasks, &mut trace))
        .and_then(|()| {
            trace.stage("namespaces");
            // Before anything of the container can look at this process.
            process::set_not_dumpable()?;
            namespace::join_process(entering.target.pidfd.as_fd(), flags(entering.pod))
        });
    let made = joined.and_then(|()| process::clone3(CloneFlags(CloneFlags::PARENT), None));
    let code = match made {
        Ok(Cloned::Child) => second_process(entering),
        Ok(Cloned::Parent(child)) => i32::from(socket::send(&entering.birth, b"p", &[child.pidfd.as_raw_fd()]).is_err()),
        Err(error) => {
            let error = match error.source {
                Errno::EAGAIN => SetupError::explained("exec", &error, "the container is at its pids limit"),
                _ => SetupError::new("namespaces", &error),
            };
            let _ = report(&entering.birth, &FromInit::Failed { error, operations: trace.into_operations() });
            1
        }
    };
    process::exit_now(code)
}

fn second_process(entering: &Entering<'_>) -> ! {
    let mut trace = Trace::new("init");
    let failure = match stages(entering, &mut trace) {
        Ok(never) => match never {},
        Err(Failure(error)) => error,
    };
    let code = failure.exit_code();
    let _ = report(&entering.control, &FromInit::Failed { error: failure, operations: trace.into_operations() });
    process::exit_now(code)
}

fn stages(entering: &Entering<'_>, trace: &mut Trace) -> Result<std::convert::Infallible, Failure> {
    let at = |stage: &'static str| move |error: SysError| Failure(SetupError::new(stage, &error));
    let process_config = &entering.container.config.process;
    if entering.pod.namespaces.user != NamespaceMode::Host {
        process::set_groups(&[]).and_then(|()| process::set_gid(0)).and_then(|()| process::set_uid(0)).map_err(at("namespaces"))?;
    }
    process::set_not_dumpable().map_err(at("namespaces"))?;
    nix::unistd::setsid().map_err(|errno| at("namespaces")(SysError::new("setsid", "", errno)))?;
    match process::new_session_keyring() {
        Err(error) if !matches!(error.source, Errno::ENOSYS | Errno::EDQUOT) => return Err(at("namespaces")(error)),
        _ => {}
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let wanted = entering.config.user.as_deref().unwrap_or(&process_config.user);
    let user = super::process::resolve_user(wanted, &process_config.additional_gids).map_err(Failure)?;
    let cwd = entering.config.cwd.as_deref().unwrap_or(&process_config.cwd);
    let changed = super::init::open_directory("/")
        .and_then(|root| mount::open_in_root(root.as_fd(), cwd, OFlag::O_PATH | OFlag::O_DIRECTORY))
        .and_then(|dir| nix::unistd::fchdir(dir).map_err(|errno| SysError::new("chdir", cwd, errno)))
        .and_then(|()| super::process::check_cwd());
    changed.map_err(at("process"))?;
    let mut env = process_config.env.clone();
    for line in &entering.config.env {
        let name = line.split_once('=').map_or(line.as_str(), |(name, _)| name);
        env.retain(|old| old.split_once('=').is_none_or(|(old, _)| old != name));
        env.push(line.clone());
    }
    let peer = if entering.config.tty { Some(open_terminal(entering).map_err(at("terminal"))?) } else { None };
    let program = super::process::Program {
        argv: &entering.config.argv,
        env: &env,
        user: &user,
        security: entering.security,
        stdio: peer.as_ref().map_or_else(|| entering.stdio.each_ref(), |peer| [peer; 3]),
        control: &entering.control,
        below_init: false,
    };
    super::process::become_program(&program, trace)
}

fn open_terminal(entering: &Entering<'_>) -> Result<OwnedFd, SysError> {
    let (master, peer) = terminal::open_pair()?;
    terminal::control(peer.as_fd())?;
    report_with(&entering.control, &FromInit::Terminal, Some(&master))?;
    Ok(peer)
}

/// Everything that the container does not share with the host; joining one's own user namespace would be EINVAL.
fn flags(pod: &PodConfig) -> Namespace {
    let namespaces = &pod.namespaces;
    let all = [
        (&namespaces.user, Namespace::CLONE_NEWUSER),
        (&namespaces.pid, Namespace::CLONE_NEWPID),
        (&namespaces.network, Namespace::CLONE_NEWNET),
        (&namespaces.ipc, Namespace::CLONE_NEWIPC),
        (&namespaces.uts, Namespace::CLONE_NEWUTS),
        (&namespaces.cgroup, Namespace::CLONE_NEWCGROUP),
    ];
    let foreign = all.into_iter().filter(|(mode, _)| **mode != NamespaceMode::Host).map(|(_, flag)| flag);
    foreign.fold(Namespace::CLONE_NEWNS, |bits, flag| bits | flag)
}

/// A v2 cgroup below the container's leaf. Limits and figures stay the container's, which count everything below it.
#[derive(Debug)]
struct OwnCgroup {
    parent: OwnedFd,
    name: String,
    folder: OwnedFd,
}

impl OwnCgroup {
    fn make(leaf: &OwnedFd, number: u64) -> Result<OwnCgroup, SysError> {
        let name = format!("exec-{number}");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        nix::sys::stat::mkdirat(leaf, name.as_str(), nix::sys::stat::Mode::from_bits_truncate(0o755))
            .map_err(|errno| SysError::new("mkdirat", &name, errno))?;
        let folder = nix::fcntl::openat(leaf, name.as_str(), flags, nix::sys::stat::Mode::empty())
            .map_err(|errno| SysError::new("openat", &name, errno))?;
        let parent = leaf.try_clone().map_err(|error| SysError::io("dup", &name, &error))?;
        Ok(OwnCgroup { parent, name, folder })
    }

    /// See cgroup.kill in cgroups(7).
    fn kill(&self) {
        if let Ok(file) = mount::open_beneath(self.folder.as_fd(), "cgroup.kill", OFlag::O_WRONLY) {
            let _ = nix::unistd::write(file, b"1");
        }
    }
}

impl Drop for OwnCgroup {
    /// What an exec left running keeps its cgroup, which then goes with the container's.
    fn drop(&mut self) {
        let _ = nix::unistd::unlinkat(&self.parent, self.name.as_str(), nix::unistd::UnlinkatFlags::RemoveDir);
    }
}
