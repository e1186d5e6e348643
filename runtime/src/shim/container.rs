//! A container and the states of its first process.
//!
//! ```text
//! create ──> Created ──start──> Running ──ended──> Stopped
//!               └────────killed or ended─────────────┘
//! ```
//!
//! Resources live inside the state, so that a stopped container cannot have a process.

use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;

use super::create::{AtGate, Created, receive, setup};
use super::input::{Asker, Input};
use super::log::{Log, Stream};
use super::report::FromInit;
use super::{Sandbox, create};
use crate::cgroup::{Cgroup, OomLedger, OomWatch};
use crate::config::ContainerConfig;
use crate::error::{RuntimeError, SetupError, SysError};
use crate::protocol::{Bytes, ShimAnswer};
use crate::security::SecurityPlan;
use crate::status::{ContainerReport, ContainerState, Exit};
use crate::sys::process::{Child, Ended};
use crate::sys::{process, socket, terminal};
use crate::trace::{Operation, Trace};

/// How long a freeze may take: a process in an uninterruptible wait is frozen only after it.
const FREEZE_DEADLINE: Duration = Duration::from_secs(5);
/// Each may make the shim hold a backlog of its own.
const MAX_ATTACHED: usize = 32;
/// How long a program's execve may take: a file system that hangs must not hang the shim for good.
const EXEC_DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) enum State {
    Created { init: Child, gate: OwnedFd },
    Running { init: Child, started_at: Timestamp, paused: bool },
    Stopped { exit: Exit },
}

#[derive(Debug)]
pub(super) struct Container {
    pub(super) config: ContainerConfig,
    pub(super) security: SecurityPlan,
    pub(super) cgroup: Cgroup,
    pub(super) cgroup_tasks: Vec<(String, OwnedFd)>,
    pub(super) cgroup_leaf: Option<OwnedFd>,
    pub(super) state: State,
    pub(super) stdout: Option<std::fs::File>,
    pub(super) stderr: Option<std::fs::File>,
    pub(super) stdin: Option<Input>,
    /// The master of its terminal.
    pub(super) terminal: Option<OwnedFd>,
    /// Connections that get its output beside the log.
    pub(super) attached: Vec<u64>,
    pub(super) trace: Trace,
    /// The file has the records of this attempt up to now.
    pub(super) explained: bool,
    conditions: Vec<String>,
    pub(super) oom_watch: Option<OomWatch>,
    oom: OomLedger,
    /// OOM kills that the watchers know of.
    oom_told: u64,
    log: Log,
    /// Its cgroup is removed.
    cleared: bool,
    /// SIGKILL came from us: a later death by it is no proof of an OOM kill.
    we_killed: bool,
}

impl Container {
    pub(super) fn create(sandbox: &Sandbox, config: ContainerConfig) -> Result<Container, RuntimeError> {
        let logs = sandbox.data.logs(&config.name);
        let log = Log::open(&logs, config.attempt, &config.log, sandbox.layout.gid).map_err(setup("log"))?;
        let Created { process, cgroup, security, trace } = create::create(sandbox, &config)?;
        let AtGate { init, gate, cgroup_tasks, cgroup_leaf, stdin, stdout, stderr, terminal } = process;
        let held = Held::of(terminal.as_ref(), stdin, stdout, stderr, &cgroup);
        let Held { stdin, stdout, stderr, oom_watch } = held.inspect_err(|_| create::undo(sandbox, Some(&init), &cgroup))?;
        Ok(Container {
            oom_watch,
            oom: OomLedger::new(0),
            oom_told: 0,
            config,
            security,
            cgroup,
            cgroup_tasks,
            cgroup_leaf,
            state: State::Created { init, gate },
            stdin,
            terminal,
            attached: Vec::new(),
            stdout: Some(stdout),
            stderr,
            trace,
            explained: false,
            conditions: Vec::new(),
            log,
            cleared: false,
            we_killed: false,
        })
    }

    /// The first process, while there is one.
    pub(super) fn init(&self) -> Option<&Child> {
        match &self.state {
            State::Created { init, .. } | State::Running { init, .. } => Some(init),
            State::Stopped { .. } => None,
        }
    }

    pub(super) fn running(&self) -> Result<&Child, RuntimeError> {
        match &self.state {
            State::Running { init, .. } => Ok(init),
            State::Created { .. } => Err(RuntimeError::Conflict { message: format!("container {} is not started", self.config.name) }),
            State::Stopped { .. } => Err(RuntimeError::Conflict { message: format!("container {} is not running", self.config.name) }),
        }
    }

    pub(super) fn report(&self) -> ContainerReport {
        let state = match &self.state {
            State::Created { init, .. } => ContainerState::Created { pid: init.pid },
            State::Running { init, started_at, paused } => {
                ContainerState::Running { pid: init.pid, started_at: *started_at, paused: *paused }
            }
            State::Stopped { exit } => ContainerState::Stopped { exit: exit.clone() },
        };
        ContainerReport {
            name: self.config.name.clone(),
            attempt: self.config.attempt,
            state,
            oom_kills: if self.cleared { self.oom_told } else { self.cgroup.oom_kills() },
            conditions: self.conditions.clone(),
        }
    }

    /// The records so far, for the file that keeps them; what the host refused although it was asked for stays here.
    pub(super) fn take_operations(&mut self) -> Vec<Operation> {
        let operations = self.trace.take();
        let refused = operations.iter().filter(|operation| operation.result == "EPERM" || operation.result == "EACCES");
        self.conditions
            .extend(refused.map(|operation| format!("{} {}: {}", operation.call, operation.arguments.join(" "), operation.result)));
        operations
    }

    /// Opens the gate and waits until execve has succeeded or failed. A failure leaves the container stopped, with the reason.
    pub(super) fn start(&mut self) -> Result<(), RuntimeError> {
        let State::Created { gate, .. } = &self.state else {
            return Err(RuntimeError::Conflict { message: format!("container {} was started before", self.config.name) });
        };
        let outcome = pass_gate(gate, &mut self.trace, &self.config.process.argv);
        let failure = match outcome {
            Ok(()) => None,
            Err(RuntimeError::Setup(error)) => Some(error),
            Err(other) => return Err(other),
        };
        let stopped = State::Stopped { exit: exit_of_failure(None) };
        let State::Created { init, gate } = std::mem::replace(&mut self.state, stopped) else { return Ok(()) };
        drop(gate);
        match failure {
            None => {
                self.state = State::Running { init, started_at: Timestamp::now(), paused: false };
                Ok(())
            }
            Some(error) => {
                if let Err(left) = process::end(init.pidfd.as_fd()) {
                    tracing::warn!(pid = init.pid, error = %left, "a container that did not start has not ended");
                }
                self.state = State::Stopped { exit: exit_of_failure(Some(error.clone())) };
                Err(RuntimeError::Setup(error))
            }
        }
    }

    pub(super) fn kill(&mut self, signal: i32, all: bool) -> Result<(), RuntimeError> {
        let Some(init) = self.init() else {
            return Err(RuntimeError::Conflict { message: format!("container {} is not running", self.config.name) });
        };
        let outcome = match (all, signal) {
            (true, nix::libc::SIGKILL) => self.cgroup.kill_all(),
            (true, _) => self.cgroup.signal_all(signal),
            (false, _) => process::pidfd_send_signal(init.pidfd.as_fd(), signal),
        };
        if signal == nix::libc::SIGKILL {
            self.we_killed = true;
            // A frozen process does not die of a signal alone on cgroup v1.
            let _ = self.cgroup.thaw();
        }
        outcome.map_err(setup("kill"))
    }

    pub(super) fn set_paused(&mut self, wanted: bool) -> Result<(), RuntimeError> {
        let State::Running { paused, .. } = &mut self.state else {
            return Err(RuntimeError::Conflict { message: format!("container {} is not running", self.config.name) });
        };
        if wanted {
            self.cgroup.freeze(Instant::now() + FREEZE_DEADLINE)?;
        } else {
            self.cgroup.thaw()?;
        }
        *paused = wanted;
        Ok(())
    }

    /// The first process ended: reaps it, takes the rest of its output, kills what it left, and keeps the record.
    pub(super) fn ended(&mut self, copy: &mut dyn FnMut(u8, &[u8])) -> Option<Exit> {
        let init = self.init()?;
        let ended = process::try_reap(init.pidfd.as_fd()).ok()??;
        let finished_at = Timestamp::now();
        let started_at = match &self.state {
            State::Running { started_at, .. } => Some(*started_at),
            _ => None,
        };
        // With a pid namespace of its own the kernel has killed the rest; with the host's or a joined one this does it.
        let _ = self.cgroup.kill_all();
        let (code, signal) = match ended {
            Ended::Exited(code) => (code, None),
            Ended::Signaled(signal) => (128 + signal, Some(signal)),
        };
        let oom_kills = self.cgroup.oom_kills();
        // The small init tells its program's end by its own exit code.
        let killed_by = signal.or((self.config.init && code == 128 + nix::libc::SIGKILL).then_some(nix::libc::SIGKILL));
        let exit = Exit {
            code,
            signal,
            oom_killed: self.oom.killed_init(oom_kills, killed_by, self.we_killed),
            memory_peak: self.cgroup.memory_peak(),
            started_at,
            finished_at,
            failure: None,
        };
        self.drain(copy);
        self.log.close();
        self.oom_watch = None;
        self.state = State::Stopped { exit: exit.clone() };
        Some(exit)
    }

    /// The OOM killer may have been at work: the new count, when it is one that the watchers do not know.
    pub(super) fn look_at_oom(&mut self, event: bool) -> Option<u64> {
        let watch = self.oom_watch.as_ref()?;
        if event {
            watch.drain();
        }
        let count = self.cgroup.oom_kills();
        self.oom.observe(count, event, Instant::now());
        self.untold_oom_kills(count)
    }

    /// `count`, when it is one that the watchers do not know.
    pub(super) fn untold_oom_kills(&mut self, count: u64) -> Option<u64> {
        let news = count > self.oom_told;
        self.oom_told = count;
        news.then_some(count)
    }

    /// When to look again without an event.
    pub(super) fn oom_deadline(&self) -> Option<Instant> {
        self.oom_watch.as_ref().and_then(|_| self.oom.look_again())
    }

    /// Takes what is in the pipe: into the log, and to `copy`.
    pub(super) fn take_output(&mut self, number: u8, copy: &mut dyn FnMut(u8, &[u8])) {
        let (pipe, stream) = if number == 1 { (&mut self.stdout, Stream::Stdout) } else { (&mut self.stderr, Stream::Stderr) };
        let Some(file) = pipe else { return };
        let mut buffer = [0; 32 << 10];
        // A bounded number of rounds: a flood of one stream must not keep the shim from the rest.
        for _ in 0..8 {
            match file.read(&mut buffer) {
                Ok(length) if length > 0 => {
                    self.log.write(stream, &buffer[..length]);
                    copy(number, &buffer[..length]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The end: nothing has the other side open. A terminal says so by EIO.
                Ok(_) | Err(_) => {
                    self.log.end_of(stream);
                    *pipe = None;
                    return;
                }
            }
        }
    }

    fn drain(&mut self, copy: &mut dyn FnMut(u8, &[u8])) {
        for stream in [1, 2] {
            // What is in the pipe now, at most its capacity: a process outside the cgroup that still has it open is not waited for.
            for _ in 0..8 {
                self.take_output(stream, copy);
            }
        }
        self.stdin = None;
        self.stdout = None;
        self.stderr = None;
        self.terminal = None;
    }

    pub(super) fn input(&mut self, data: &[u8], asker: Asker) -> Result<(), RuntimeError> {
        let name = &self.config.name;
        let stdin = self.stdin.as_mut();
        let stdin = stdin.ok_or_else(|| RuntimeError::Conflict { message: format!("container {name} has no open standard input") })?;
        stdin.push(data, asker)
    }

    /// From here on `connection` gets a copy of its output.
    pub(super) fn attach(&mut self, connection: u64) -> Result<ShimAnswer, RuntimeError> {
        self.running()?;
        if !self.attached.contains(&connection) {
            if self.attached.len() >= MAX_ATTACHED {
                return Err(RuntimeError::Conflict {
                    message: format!("{MAX_ATTACHED} are attached to container {} already", self.config.name),
                });
            }
            self.attached.push(connection);
        }
        let unfinished = self.log.unfinished().map(|rest| Bytes(rest.to_vec()));
        Ok(ShimAnswer::Attached { at: self.log.mark(), unfinished })
    }

    pub(super) fn resize(&self, rows: u16, columns: u16) -> Result<(), RuntimeError> {
        let name = &self.config.name;
        let master = self.terminal.as_ref();
        let master = master.ok_or_else(|| RuntimeError::Conflict { message: format!("container {name} has no terminal") })?;
        terminal::resize(master.as_fd(), rows, columns).map_err(setup("terminal"))
    }

    /// Kills everything and removes the cgroup. See cgroups(7): a group can be removed once it is empty.
    pub(super) fn tear_down(&mut self) -> Result<(), RuntimeError> {
        self.we_killed |= self.init().is_some();
        if let Some(init) = self.init() {
            let _ = self.cgroup.kill_all();
            let _ = self.cgroup.thaw();
            process::end(init.pidfd.as_fd()).map_err(setup("kill"))?;
            self.drain(&mut |_, _| {});
            self.log.close();
            self.state = State::Stopped { exit: exit_of_failure(None) };
        }
        self.clear(Instant::now() + Duration::from_secs(10)).map_err(setup("cgroup"))
    }

    /// At once after the exit was told, while the control plane is still writing it down. What does not go now goes with the sandbox.
    pub(super) fn clear_when_stopped(&mut self) {
        if matches!(self.state, State::Stopped { .. }) {
            let _ = self.clear(Instant::now());
        }
    }

    fn clear(&mut self, deadline: Instant) -> Result<(), SysError> {
        if !self.cleared {
            self.cgroup_tasks.clear();
            self.cgroup_leaf = None;
            // The file of a cgroup that is gone is ready for ever.
            self.oom_watch = None;
            self.cgroup.remove(deadline)?;
            self.cleared = true;
        }
        Ok(())
    }
}

/// What the shim reads and writes of a container.
struct Held {
    stdin: Option<Input>,
    stdout: std::fs::File,
    stderr: Option<std::fs::File>,
    oom_watch: Option<OomWatch>,
}

impl Held {
    /// A terminal is both ways at once: its output is the container's standard output, and there is no other.
    fn of(
        terminal: Option<&OwnedFd>,
        stdin: Option<OwnedFd>,
        stdout: OwnedFd,
        stderr: OwnedFd,
        cgroup: &Cgroup,
    ) -> Result<Self, RuntimeError> {
        let copy = |fd: &OwnedFd| fd.try_clone().map_err(|error| setup("stdio")(SysError::io("dup", "terminal", &error)));
        let (stdin, stdout, stderr) = match terminal {
            Some(master) => (Some(copy(master)?), copy(master)?, None),
            None => (stdin, stdout, Some(stderr)),
        };
        for pipe in [Some(&stdout), stderr.as_ref()].into_iter().flatten() {
            set_nonblocking(pipe).map_err(setup("log"))?;
        }
        Ok(Held {
            stdin: stdin.map(Input::new).transpose()?,
            stdout: stdout.into(),
            stderr: stderr.map(std::fs::File::from),
            oom_watch: cgroup.oom_watch().map_err(setup("cgroup"))?,
        })
    }
}

/// Through the gate to execve.
pub(super) fn pass_gate(gate: &OwnedFd, trace: &mut Trace, argv: &[String]) -> Result<(), RuntimeError> {
    socket::send(gate, b"g", &[]).map_err(setup("gate"))?;
    await_exec(gate, trace, argv).map(drop)
}

/// Waits for execve. The control socket closes at execve, so its end without a word of failure is the proof. Answers the master of the
/// terminal, when one was opened on the way.
pub(super) fn await_exec(gate: &OwnedFd, trace: &mut Trace, argv: &[String]) -> Result<Option<OwnedFd>, RuntimeError> {
    let deadline = Instant::now() + EXEC_DEADLINE;
    let mut executing = false;
    let mut master = None;
    trace.stage("exec");
    let mut clock = Timestamp::now();
    loop {
        match receive(gate, deadline).map_err(setup("exec"))? {
            Some((FromInit::Executing { operations }, _)) => {
                trace.append(operations);
                executing = true;
                clock = Timestamp::now();
            }
            Some((FromInit::Failed { error, operations }, _)) => {
                trace.append(operations);
                return Err(RuntimeError::Setup(error));
            }
            Some((FromInit::Terminal, descriptors)) => master = descriptors.into_iter().next(),
            Some((FromInit::Ready { .. }, _)) => {}
            None if executing => {
                trace.note("execve", argv.to_vec(), clock);
                return Ok(master);
            }
            None => return Err(setup("exec")(SysError::new("recvmsg", "init ended before execve", Errno::ECHILD))),
        }
    }
}

fn exit_of_failure(failure: Option<SetupError>) -> Exit {
    let code = failure.as_ref().map_or(128 + nix::libc::SIGKILL, SetupError::exit_code);
    let signal = failure.is_none().then_some(nix::libc::SIGKILL);
    Exit { code, signal, oom_killed: false, memory_peak: None, started_at: None, finished_at: Timestamp::now(), failure }
}

pub(super) fn set_nonblocking(fd: &OwnedFd) -> Result<(), SysError> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop).map_err(|errno| SysError::new("fcntl", "O_NONBLOCK", errno))
}
