//! A further process in a running container.
//!
//! It enters what the container's first process has — cgroup, every namespace, root, environment, user, capabilities, filter — and not only
//! the namespaces, as nsenter(1) does. The pid namespace is entered by being born in it, so a first process joins and makes the second as its
//! sibling, a child of the shim.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::PollFlags;
use nix::sched::CloneFlags as Namespace;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::container::{Container, await_exec, set_nonblocking};
use super::create::{self, setup};
use super::exec_cgroup::OwnCgroup;
use super::init::Failure;
use super::input::{Asker, Input};
use super::report::{FromInit, report, report_with};
use super::{Source, observe};
use crate::config::{ExecConfig, NamespaceMode, PodConfig};
use crate::error::{RuntimeError, SetupError, SysError};
use crate::id::{ContainerName, ExecId};
use crate::protocol::{Bytes, ShimAnswer};
use crate::security::SecurityPlan;
use crate::status::{ExecExit, ExecReport};
use crate::sys::process::{Child, CloneFlags, Cloned, Ended};
use crate::sys::{descriptors, mount, namespace, process, socket, terminal};
use crate::trace::Trace;

/// For what is in the socket already.
const LAST_WORD: Duration = Duration::from_millis(1);
/// How long joining the container may take.
const ENTER_DEADLINE: Duration = Duration::from_secs(5);
/// Between two SIGKILLs to an exec that has to end, and between two looks at one that has ended and cannot be reaped.
const KILL_AGAIN: Duration = Duration::from_secs(1);
/// A chunk of output: with base64 well below the largest frame.
const CHUNK: usize = 64 << 10;
/// What is kept of program and arguments: a shim is small, and a command may be a megabyte.
const LONGEST_COMMAND: usize = 4 << 10;

#[derive(Debug)]
pub(super) struct Exec {
    pub(super) number: u64,
    pub(super) container: ContainerName,
    /// Who asked; nobody's when it is detached.
    pub(super) asker: Option<Asker>,
    /// Those who wait for its end.
    pub(super) enders: Vec<Asker>,
    pub(super) deadline: Option<Instant>,
    /// When it is killed, having been asked to end.
    kill_at: Option<Instant>,
    killed_at: Option<Instant>,
    /// It has ended, and cannot be reaped before then: somebody traces it.
    look_again: Option<Instant>,
    id: Option<ExecId>,
    command: Vec<String>,
    user: String,
    tty: bool,
    started_at: Timestamp,
    child: Child,
    pub(super) stdin: Option<Input>,
    terminal: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    timed_out: bool,
    own: Option<OwnCgroup>,
}

/// What the processes after the fork need.
struct Entering<'a> {
    leaf: Option<&'a OwnedFd>,
    /// Below the container's, where there is no leaf of its own.
    own_tasks: &'a [(String, OwnedFd)],
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
    /// What could not be ended after a failure goes into `unreaped`: until it is reaped its pid namespace, and so the container, cannot end.
    pub(super) fn start(
        pod: &PodConfig,
        container: &Container,
        config: ExecConfig,
        number: u64,
        asker: Option<Asker>,
        unreaped: &mut Vec<Child>,
    ) -> Result<Exec, RuntimeError> {
        let at = setup("exec");
        let target = container.running()?;
        // Its first process would stand still as soon as it is in the cgroup, and the shim with it.
        if container.cgroup.is_frozen() {
            return Err(RuntimeError::Conflict { message: format!("container {} is paused", container.config.name) });
        }
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
        let (stdout, stderr, out, err) = if config.detach {
            let nowhere = || super::process::dev_null().map_err(&at);
            (None, None, nowhere()?, nowhere()?)
        } else {
            let ((stdout, out), (stderr, err)) = (pipe()?, pipe()?);
            (Some(stdout), Some(stderr), out, err)
        };
        for fd in [&stdout, &stderr].into_iter().flatten() {
            set_nonblocking(fd).map_err(&at)?;
        }
        let own = config.own_cgroup.then(|| {
            // A container that may write to its cgroup can take the name; it harms itself alone.
            let made = OwnCgroup::make(&container.cgroup, number);
            made.inspect_err(|error| tracing::warn!(%error, source = %error.source, "an exec without a cgroup of its own")).ok().flatten()
        });
        let own = own.flatten();
        let entering = Entering {
            leaf: own.as_ref().and_then(|own| own.leaf.as_ref()).or(container.cgroup_leaf.as_ref()),
            own_tasks: own.as_ref().map_or(&[], |own| own.tasks.as_slice()),
            pod,
            container,
            target,
            config: &config,
            security: &security,
            control,
            birth,
            stdio: [stdin, out, err],
        };
        let child = enter(entering, &births, unreaped).map_err(RuntimeError::Setup)?;
        let begun = await_exec(&gate, &mut Trace::new("shim"), &config.argv).and_then(|terminal| {
            let copy = |fd: &OwnedFd| fd.try_clone().map_err(|error| at(SysError::io("dup", "terminal", &error)));
            let (input, stdout, stderr) = match &terminal {
                Some(master) => (Some(copy(master)?), Some(copy(master)?), None),
                None => (input, stdout, stderr),
            };
            if let Some(stdout) = &stdout {
                set_nonblocking(stdout).map_err(&at)?;
            }
            Ok((input.map(Input::new).transpose()?, stdout, stderr, terminal))
        });
        let (stdin, stdout, stderr, terminal) = match begun {
            Ok(held) => held,
            Err(error) => {
                if process::end(child.pidfd.as_fd()).is_err() {
                    unreaped.push(child);
                }
                return Err(error);
            }
        };
        let deadline = config.timeout_ms.map(|millis| Instant::now() + Duration::from_millis(millis));
        Ok(Exec {
            number,
            container: container.config.name.clone(),
            asker,
            enders: Vec::new(),
            deadline,
            kill_at: None,
            killed_at: None,
            look_again: None,
            id: config.id,
            command: short(config.argv),
            user: config.user.unwrap_or_else(|| container.config.process.user.clone()),
            tty: config.tty,
            started_at: Timestamp::now(),
            child,
            stdin,
            terminal,
            stdout,
            stderr,
            timed_out: false,
            own,
        })
    }

    pub(super) fn poll_sources<'a>(&'a self, take_output: bool, into: &mut Vec<(Source, BorrowedFd<'a>, PollFlags)>) {
        if self.look_again.is_none() {
            into.push((Source::Exec(self.number), self.child.pidfd.as_fd(), PollFlags::POLLIN));
        }
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

    /// With all that it started.
    pub(super) fn kill(&mut self) {
        self.killed_at = Some(Instant::now());
        self.signal_all(nix::libc::SIGKILL);
    }

    /// Nobody waits for it any more.
    pub(super) fn abandon(&mut self) {
        if self.killed_at.is_none() {
            self.kill();
        }
    }

    fn signal_all(&self, signal: i32) {
        match &self.own {
            Some(own) if signal == nix::libc::SIGKILL => own.kill(),
            Some(own) => own.signal(signal),
            None => self.signal_group(signal),
        }
        let _ = process::pidfd_send_signal(self.child.pidfd.as_fd(), signal);
    }

    /// It leads a group, which has its number for as long as we have not reaped it.
    fn signal_group(&self, signal: i32) {
        if let (1.., Ok(signal)) = (self.child.pid, Signal::try_from(signal)) {
            let _ = nix::sys::signal::killpg(Pid::from_raw(self.child.pid), signal);
        }
    }

    /// Asks it to end, and has it killed when it has not ended by then.
    pub(super) fn end(&mut self, asker: Asker, grace: Duration) {
        self.enders.push(asker);
        let at = Instant::now() + grace;
        self.kill_at = Some(self.kill_at.map_or(at, |before| before.min(at)));
        if grace.is_zero() {
            self.kill();
        } else {
            self.signal_all(nix::libc::SIGTERM);
        }
    }

    /// When to look at the clock for it.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let again = self.killed_at.map(|at| at + KILL_AGAIN);
        self.deadline.into_iter().chain(self.kill_at).chain(again).chain(self.look_again).min()
    }

    pub(super) fn check_deadline(&mut self) {
        let now = Instant::now();
        if self.deadline.take_if(|at| *at <= now).is_some() {
            self.timed_out = true;
            self.kill();
        }
        if self.kill_at.take_if(|at| *at <= now).is_some() || self.killed_at.is_some_and(|at| at + KILL_AGAIN <= now) {
            self.kill();
        }
        self.look_again.take_if(|at| *at <= now);
    }

    /// What it left running goes with it, when it was asked to end; its cgroup, to be removed when that is empty.
    pub(super) fn into_cgroup(self) -> Option<OwnCgroup> {
        if (!self.enders.is_empty() || self.killed_at.is_some())
            && let Some(own) = &self.own
        {
            own.kill();
        }
        self.own
    }

    pub(super) fn is(&self, container: &ContainerName, id: &ExecId) -> bool {
        self.container == *container && self.id.as_ref() == Some(id)
    }

    /// None when it has no name.
    pub(super) fn report(&self, exit: Option<ExecExit>) -> Option<ExecReport> {
        Some(ExecReport {
            id: self.id.clone()?,
            command: self.command.clone(),
            pid: self.child.pid,
            container_pid: observe::container_pid(self.child.pid),
            user: self.user.clone(),
            tty: self.tty,
            detached: self.asker.is_none(),
            started_at: self.started_at,
            exit,
        })
    }

    /// After a kill.
    pub(super) fn wait(&self) -> ExecExit {
        self.exit(process::end(self.child.pidfd.as_fd()).unwrap_or(Ended::Signaled(nix::libc::SIGKILL)))
    }

    /// How it ended, once it says that it has. A zombie that another process traces is not its parent's before that one lets go of it (ptrace(2)),
    /// and its descriptor says all the while that it has ended: then it is asked again later.
    pub(super) fn ended(&mut self) -> Option<ExecExit> {
        let ended = process::try_reap(self.child.pidfd.as_fd()).ok()?;
        if ended.is_none() {
            self.look_again = Some(Instant::now() + KILL_AGAIN);
        }
        ended.map(|ended| self.exit(ended))
    }

    fn exit(&self, ended: Ended) -> ExecExit {
        let (code, signal) = match ended {
            Ended::Exited(code) => (code, None),
            Ended::Signaled(signal) => (128 + signal, Some(signal)),
        };
        ExecExit { code, signal, timed_out: self.timed_out, finished_at: Timestamp::now() }
    }
}

impl Entering<'_> {
    /// As the init does, and for the same reasons; here the pipes of other execs are among them.
    fn close_the_shims(&self) -> Result<(), SysError> {
        let mut keep = vec![self.control.as_fd(), self.birth.as_fd(), self.target.pidfd.as_fd()];
        keep.extend(self.stdio.iter().map(AsFd::as_fd));
        keep.extend(self.container.cgroup_tasks.iter().chain(self.own_tasks).map(|(_, file)| file.as_fd()));
        descriptors::close_all_but(&keep)
    }
}

/// Makes the process that joins, and from it the one that stays; answers the latter.
fn enter(entering: Entering<'_>, births: &OwnedFd, unreaped: &mut Vec<Child>) -> Result<Child, SetupError> {
    let at = |error: SysError| SetupError::new("exec", &error);
    let leaf = entering.leaf.map(AsFd::as_fd);
    match process::clone3(CloneFlags(0), leaf).map_err(at)? {
        Cloned::Child => first_process(&entering),
        Cloned::Parent(first) => {
            drop(entering);
            let mut buffer = vec![0; super::report::MAX_FAILURE];
            // With a deadline: whoever else can write to the container's freezer makes it stand still as soon as it is in the cgroup.
            let mut told = |deadline| create::await_message(births, deadline).and_then(|()| socket::receive(births, &mut buffer));
            let received = told(Instant::now() + ENTER_DEADLINE);
            // It has done its work, or does not get to it. Frozen on v1 it cannot die either.
            let ended = process::end(first.pidfd.as_fd());
            // It may have come as far as to tell of the second one.
            let received = received.or_else(|error| told(Instant::now() + LAST_WORD).map_err(|_| error));
            if ended.is_err() {
                unreaped.push(first);
            }
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
        .and_then(|()| super::process::join_cgroups(entering.own_tasks, &mut trace))
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

/// As much of a command as a list shows.
fn short(mut argv: Vec<String>) -> Vec<String> {
    let mut room = LONGEST_COMMAND;
    argv.retain_mut(|part| {
        if room == 0 {
            return false;
        }
        if part.len() > room {
            part.truncate(part.floor_char_boundary(room));
            part.push('…');
        }
        room = room.saturating_sub(part.len() + 1);
        true
    });
    argv.shrink_to_fit();
    argv
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
