//! From a configuration to a container at its gate: the shim's half.
//!
//! ```text
//! shim                                     init (the child)
//!   cgroup: made, limited, read back
//!   clone3 into cgroup and namespaces ---->  joins the v1 hierarchies
//!   id maps                           ---->  host name, lo; proc, devpts, sysfs, mqueue, detached
//!   overlay, /dev, binds: detached    -fds>  attaches, masks, pivots, looks up the user
//!   answers `create`                  <----  at the gate
//!   `start`                           ---->  rlimits, user, capabilities, seccomp, execve
//!   end of the stream: execve happened
//! ```
//!
//! Whatever fails, everything made before it is undone: the child is killed and reaped, the cgroup removed.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Sandbox;
use super::init::Init;
use super::join::Joined;
use super::report::{FromInit, MAX_REPORT};
use crate::cgroup::{Cgroup, DeviceRules};
use crate::config::{ContainerConfig, NamespaceMode};
use crate::crash_point;
use crate::error::{RuntimeError, SetupError, SysError};
use crate::rootfs::{self, HostSide};
use crate::security::SecurityPlan;
use crate::sys::process::{Child, CloneFlags, Cloned};
use crate::sys::{namespace, process, socket};
use crate::trace::Trace;

/// How long set-up may take before it counts as hung.
const DEADLINE: Duration = Duration::from_secs(30);

/// A container at its gate.
#[derive(Debug)]
pub(super) struct Created {
    pub(super) process: AtGate,
    pub(super) cgroup: Cgroup,
    pub(super) security: SecurityPlan,
    pub(super) trace: Trace,
}

/// Its first process, and what the shim holds of it.
#[derive(Debug)]
pub(super) struct AtGate {
    pub(super) init: Child,
    pub(super) gate: OwnedFd,
    /// For processes that join later: `tasks` of each v1 hierarchy, and the v2 leaf.
    pub(super) cgroup_tasks: Vec<(String, OwnedFd)>,
    pub(super) cgroup_leaf: Option<OwnedFd>,
    /// The writing end, where the container wants a standard input.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// The master, where it wants a terminal: then nothing comes through the pipes.
    pub(super) terminal: Option<OwnedFd>,
}

pub(super) fn setup(stage: &'static str) -> impl Fn(SysError) -> RuntimeError {
    move |error| RuntimeError::Setup(SetupError::new(stage, &error))
}

/// Makes a container as far as its gate.
pub(super) fn create(sandbox: &Sandbox, config: &ContainerConfig) -> Result<Created, RuntimeError> {
    let mut trace = Trace::new("shim");
    let security = SecurityPlan::new(&sandbox.config, config)?;
    let joined = super::join::gather(&sandbox.layout, &sandbox.config)?;
    trace.stage("cgroup");
    let (instance, pod) = (&sandbox.layout.instance, &sandbox.config.id);
    let devices = security.device_rules.as_deref().map_or(DeviceRules::All, DeviceRules::Only);
    let resources = sandbox.hierarchies.complete(&config.resources);
    let cgroup = Cgroup::create(&sandbox.hierarchies, instance, pod, &config.name, &resources, &devices, &mut trace)?;
    crash_point!("shim.create.cgroup");
    let making = Making { sandbox, config, security: &security, joined: &joined, cgroup: &cgroup };
    match making.process(&mut trace) {
        Ok(process) => Ok(Created { process, cgroup, security, trace }),
        Err(error) => {
            // The child is dead and reaped by now.
            undo(sandbox, None, &cgroup);
            Err(error)
        }
    }
}

/// What cannot be undone is found again by its name.
pub(super) fn undo(sandbox: &Sandbox, init: Option<&Child>, cgroup: &Cgroup) {
    let ended = init.map_or(Ok(()), |init| process::end(init.pidfd.as_fd()).map(drop));
    if let Err(left) = ended.and_then(|()| cgroup.remove(Instant::now() + Duration::from_secs(2))) {
        tracing::warn!(pod = %sandbox.config.id, error = %left, source = %left.source, "a failed set-up is not undone");
    }
}

struct Making<'a> {
    sandbox: &'a Sandbox,
    config: &'a ContainerConfig,
    security: &'a SecurityPlan,
    joined: &'a Joined,
    cgroup: &'a Cgroup,
}

impl Making<'_> {
    fn process(&self, trace: &mut Trace) -> Result<AtGate, RuntimeError> {
        let at = setup("namespaces");
        let plan = rootfs::plan(&self.sandbox.config, self.config, &self.cgroup.mounts());
        let cgroup_tasks = self.cgroup.tasks_fds().map_err(setup("cgroup"))?;
        let cgroup_leaf = self.cgroup.leaf_fd().map_err(setup("cgroup"))?;
        let (gate, control) = socket::packet_pair().map_err(&at)?;
        let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| at(SysError::new("pipe2", "", errno)));
        let (stdout, out) = pipe()?;
        let (stderr, err) = pipe()?;
        let (input, stdin) = if self.config.process.stdin && !self.config.process.tty {
            let (read, write) = pipe()?;
            (read, Some(write))
        } else {
            (super::process::dev_null().map_err(&at)?, None)
        };
        let init = Init {
            pod: &self.sandbox.config,
            container: self.config,
            plan: &plan,
            security: self.security,
            cgroup_tasks: &cgroup_tasks,
            control,
            stdio: [input, out, err],
        };
        trace.stage("namespaces");
        let init = self.clone(init, &gate, cgroup_leaf.as_ref(), trace).map_err(&at)?;
        crash_point!("shim.create.cloned");
        match self.furnish(&init, &gate, &plan, trace) {
            Ok(terminal) => Ok(AtGate { init, gate, cgroup_tasks, cgroup_leaf, stdin, stdout, stderr, terminal }),
            Err(error) => {
                // One that does not end holds its cgroup, which is told.
                let _ = process::end(init.pidfd.as_fd());
                Err(error)
            }
        }
    }

    /// One clone3 when every namespace is new or the host's; with joined ones a process that joins them first and makes the init as its
    /// sibling, because a pid namespace is entered by being born in it.
    fn clone(&self, init: Init<'_>, gate: &OwnedFd, leaf: Option<&OwnedFd>, trace: &mut Trace) -> Result<Child, SysError> {
        let flags = self.new_namespaces();
        let shell = format!("unshare --fork --mount{}", shell_flags(flags));
        let arguments = [flag_names(flags), "CLONE_PIDFD".to_owned(), "CLONE_INTO_CGROUP".to_owned()];
        if self.joined.namespaces.is_empty() {
            return trace.run("clone3", arguments, shell, || match process::clone3(flags, leaf.map(AsFd::as_fd))? {
                Cloned::Child => super::init::run(init),
                Cloned::Parent(child) => {
                    drop(init);
                    Ok(child)
                }
            });
        }
        let kinds: Vec<_> = self.joined.namespaces.keys().copied().collect();
        let shell = format!("nsenter --{} -- {shell}", kinds.join(" --"));
        trace.run("setns", [kinds.join(" ")], shell, || match process::clone3(CloneFlags(0), leaf.map(AsFd::as_fd))? {
            Cloned::Child => enter_and_clone(self.joined, flags, init),
            Cloned::Parent(first) => {
                drop(init);
                let received = socket::receive(gate, &mut [0; 8]);
                let ended = process::reap(first.pidfd.as_fd())?;
                let (_, descriptors) = received?;
                let pidfd = descriptors.into_iter().next();
                let errno = match ended {
                    process::Ended::Exited(code) if code != 0 => Errno::from_raw(code),
                    _ => Errno::ESRCH,
                };
                let pidfd = pidfd.ok_or_else(|| SysError::new("setns", kinds.join(" "), errno))?;
                let pid = process::pid_of(&pidfd).ok_or_else(|| SysError::new("clone3", "sibling", Errno::ESRCH))?;
                Ok(Child { pid, pidfd })
            }
        })
    }

    fn new_namespaces(&self) -> CloneFlags {
        let namespaces = &self.sandbox.config.namespaces;
        let all = [
            (&namespaces.user, CloneFlags::NEWUSER),
            (&namespaces.pid, CloneFlags::NEWPID),
            (&namespaces.network, CloneFlags::NEWNET),
            (&namespaces.ipc, CloneFlags::NEWIPC),
            (&namespaces.uts, CloneFlags::NEWUTS),
        ];
        let new =
            all.into_iter().filter(|(mode, _)| **mode == NamespaceMode::Private).fold(CloneFlags::NEWNS, |bits, (_, flag)| bits | flag);
        CloneFlags(new)
    }

    /// Id maps, score, mounts; then waits until the init is at its gate. Answers the master of its terminal, when it has one.
    fn furnish(
        &self,
        init: &Child,
        gate: &OwnedFd,
        plan: &[rootfs::Attachment],
        trace: &mut Trace,
    ) -> Result<Option<OwnedFd>, RuntimeError> {
        let user_namespace = self.user_namespace(init, trace).map_err(setup("namespaces"))?;
        // From here both work: the init on what only it can make, the shim on what only the host's root can.
        socket::send(gate, b"m", &[]).map_err(setup("namespaces"))?;
        if let Some(score) = self.config.oom_score_adj {
            let path = format!("/proc/{}/oom_score_adj", init.pid);
            // Lowering needs CAP_SYS_RESOURCE, which a host may not have: then the container runs with the score that it inherits.
            let _ = trace.run("write", [path.clone(), score.to_string()], format!("echo {score} > {path}"), || {
                std::fs::write(&path, score.to_string()).map_err(|error| SysError::io("write", &path, &error))
            });
        }
        let host = HostSide {
            layout: &self.sandbox.layout,
            run: &self.sandbox.run,
            data: &self.sandbox.data,
            container: self.config,
            user_namespace: user_namespace.as_ref().map(|(fd, map)| (fd.as_fd(), *map)),
            joined_shm: self.joined.shm.as_ref().map(AsFd::as_fd),
            devices: &self.security.devices,
            tty: self.config.process.tty,
        };
        let mounts = rootfs::make(&host, plan, trace).map_err(|error| super::explain::mount_failure(trace.current_stage(), &error))?;
        crash_point!("shim.create.mounts");
        hand_over(gate, &mounts).map_err(setup("mounts"))?;
        drop(mounts);
        let deadline = Instant::now() + DEADLINE;
        let mut terminal = None;
        loop {
            match receive(gate, deadline).map_err(setup("namespaces"))? {
                Some((FromInit::Terminal, descriptors)) => terminal = descriptors.into_iter().next(),
                Some((FromInit::Ready { operations }, _)) => {
                    trace.append(operations);
                    return Ok(terminal);
                }
                Some((FromInit::Failed { error, operations }, _)) => {
                    trace.append(operations);
                    return Err(RuntimeError::Setup(error));
                }
                Some((FromInit::Executing { .. }, _)) | None => {
                    return Err(setup("namespaces")(SysError::new("recvmsg", "init", Errno::ECHILD)));
                }
            }
        }
    }

    /// The namespace that ids are shifted by: the init's new one, once its maps are written, or a joined one.
    fn user_namespace(&self, init: &Child, trace: &mut Trace) -> Result<Option<(OwnedFd, crate::config::IdMap)>, SysError> {
        let pod = &self.sandbox.config;
        match (&pod.namespaces.user, pod.id_map, self.joined.id_map) {
            (NamespaceMode::Private, Some(map), _) => {
                for file in ["uid_map", "gid_map"] {
                    let path = format!("/proc/{}/{file}", init.pid);
                    let text = format!("0 {} {}", map.base, map.size);
                    trace.run("write", [path.clone(), text.clone()], format!("echo {text} > {path}"), || {
                        std::fs::write(&path, &text).map_err(|error| SysError::io("write", &path, &error))
                    })?;
                }
                let namespace = namespace::open(format!("/proc/{}/ns/user", init.pid).as_ref())?;
                Ok(Some((namespace, map)))
            }
            (NamespaceMode::Join { .. }, _, Some(map)) => {
                let joined = self.joined.namespaces.get("user");
                let namespace =
                    joined.map(|fd| fd.try_clone().map_err(|error| SysError::io("dup", "user namespace", &error))).transpose()?;
                Ok(namespace.map(|fd| (fd, map)))
            }
            _ => Ok(None),
        }
    }
}

/// In the first process: joins, then makes the init as a child of the shim and hands its descriptor over. Ends with the errno.
fn enter_and_clone(joined: &Joined, flags: CloneFlags, init: Init<'_>) -> ! {
    let outcome = joined.enter().and_then(|()| match process::clone3(CloneFlags(flags.0 | CloneFlags::PARENT), None)? {
        Cloned::Child => super::init::run(init),
        Cloned::Parent(child) => socket::send(&init.control, b"p", &[child.pidfd.as_raw_fd()]),
    });
    process::exit_now(outcome.map_or_else(|error| error.source as i32, |()| 0))
}

/// The mounts in as many messages as they need; a last byte of 0 says that these were all.
fn hand_over(gate: &OwnedFd, mounts: &[OwnedFd]) -> Result<(), SysError> {
    let mut batches = mounts.chunks(socket::MAX_DESCRIPTORS).peekable();
    while let Some(batch) = batches.next() {
        let raw: Vec<_> = batch.iter().map(AsRawFd::as_raw_fd).collect();
        socket::send(gate, &[u8::from(batches.peek().is_some())], &raw)?;
    }
    Ok(())
}

/// The next report; None at the end of the stream.
pub(super) fn receive(gate: &OwnedFd, deadline: Instant) -> Result<Option<(FromInit, Vec<OwnedFd>)>, SysError> {
    await_message(gate, deadline)?;
    // As large as the message and no larger: what a shim once used, it keeps.
    let received = socket::next_length(gate).and_then(|length| {
        let mut buffer = vec![0; length.min(MAX_REPORT)];
        socket::receive(gate, &mut buffer).map(|(length, descriptors)| (buffer, length, descriptors))
    });
    match received {
        Ok((_, 0, _)) => Ok(None),
        Ok((buffer, length, descriptors)) => {
            let message = serde_json::from_slice(&buffer[..length]);
            message.map(|message| Some((message, descriptors))).map_err(|error| SysError::new("recvmsg", error, Errno::EBADMSG))
        }
        // The other end went away with something of ours unread.
        Err(error) if error.source == Errno::ECONNRESET => Ok(None),
        Err(error) => Err(error),
    }
}

/// Until there is something to receive, or nobody left to send it.
pub(super) fn await_message(socket: &OwnedFd, deadline: Instant) -> Result<(), SysError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(SysError::new("poll", "init", Errno::ETIMEDOUT));
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(SysError::new("poll", "init", errno)),
        }
    }
}

fn flag_names(flags: CloneFlags) -> String {
    let names = [
        (CloneFlags::NEWUSER, "CLONE_NEWUSER"),
        (CloneFlags::NEWPID, "CLONE_NEWPID"),
        (CloneFlags::NEWNS, "CLONE_NEWNS"),
        (CloneFlags::NEWNET, "CLONE_NEWNET"),
        (CloneFlags::NEWIPC, "CLONE_NEWIPC"),
        (CloneFlags::NEWUTS, "CLONE_NEWUTS"),
    ];
    names.iter().filter(|(bit, _)| flags.0 & bit != 0).map(|(_, name)| *name).collect::<Vec<_>>().join("|")
}

fn shell_flags(flags: CloneFlags) -> String {
    let names = [
        (CloneFlags::NEWUSER, " --user --map-root-user"),
        (CloneFlags::NEWPID, " --pid"),
        (CloneFlags::NEWNET, " --net"),
        (CloneFlags::NEWIPC, " --ipc"),
        (CloneFlags::NEWUTS, " --uts"),
    ];
    names.iter().filter(|(bit, _)| flags.0 & bit != 0).map(|(_, name)| *name).collect()
}
