//! The sandbox as its shim runs it: one method a request. Those of execs are in `execs`.

mod execs;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::connection::{Connection, HIGH_WATER};
use super::container::{Container, State};
use super::exec::Exec;
use super::exec_cgroup::OwnCgroup;
use super::input::{Asker, Input};
use super::{Sandbox, Source, join, observe};
use crate::cgroup::Cgroup;
use crate::config::{ContainerConfig, NamespaceMode, Resources};
use crate::crash_point;
use crate::error::RuntimeError;
use crate::id::ContainerName;
use crate::protocol::{Bytes, PROTOCOL_VERSION, ShimAnswer, ShimEvent, ShimMessage, ShimRequest};
use crate::rundir::replace_file;
use crate::status::{ExecReport, PodReport};
use crate::sys::process::{self, Child};
use crate::trace::Operation;

/// What can wait does so for this long after a start, so that it is not in the way of a program that ends at once.
const QUIET: Duration = Duration::from_millis(50);

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Reply {
    Now(Box<ShimAnswer>),
    /// The answer comes when the exec has ended, or the bytes have been taken.
    Later,
}

#[derive(Debug)]
pub(super) struct Pod {
    pub(super) sandbox: Sandbox,
    /// `StopPod` was done: the shim ends when its last answers are out.
    pub(super) finished: bool,
    containers: Vec<Container>,
    execs: Vec<Exec>,
    next_exec: u64,
    /// The last detached ones that have ended.
    ended: VecDeque<(ContainerName, ExecReport)>,
    /// Of execs that have ended and left something running.
    left: Vec<OwnCgroup>,
    /// Killed, and not ended within the time that was given to it.
    unreaped: Vec<Child>,
    /// When to try to reap them again.
    reap_again: Option<Instant>,
    /// To all watchers.
    events: VecDeque<ShimEvent>,
    /// To one connection.
    messages: VecDeque<(u64, ShimMessage)>,
    state_changed: bool,
    /// Since when something is only in memory that belongs into the containers' files of operations.
    unexplained: Option<Instant>,
}

impl Pod {
    pub(super) fn new(sandbox: Sandbox) -> Pod {
        Pod {
            sandbox,
            finished: false,
            containers: Vec::new(),
            execs: Vec::new(),
            next_exec: 1,
            ended: VecDeque::new(),
            left: Vec::new(),
            unreaped: Vec::new(),
            reap_again: None,
            events: VecDeque::new(),
            messages: VecDeque::new(),
            state_changed: false,
            unexplained: None,
        }
    }

    pub(super) fn report(&self) -> PodReport {
        PodReport {
            id: self.sandbox.config.id.clone(),
            shim_pid: i32::try_from(std::process::id()).unwrap_or(-1),
            protocol: PROTOCOL_VERSION,
            containers: self.containers.iter().map(Container::report).collect(),
        }
    }

    pub(super) fn request(&mut self, connection: u64, id: u64, request: ShimRequest) -> Reply {
        let later = match request {
            ShimRequest::Exec { container, config } => self.exec((connection, id), &container, *config),
            ShimRequest::ExecInput { exec, data } => self.feed_exec((connection, id), exec, &data.0),
            ShimRequest::EndExec { container, exec, grace_ms } => {
                self.end_exec((connection, id), &container, &exec, Duration::from_millis(grace_ms))
            }
            ShimRequest::Input { container, data } => self.feed((connection, id), &container, &data.0),
            other => {
                let answer = self.answer(connection, other).unwrap_or_else(|error| ShimAnswer::Failed { error });
                return Reply::Now(Box::new(answer));
            }
        };
        match later {
            Ok(()) => Reply::Later,
            Err(error) => Reply::Now(Box::new(ShimAnswer::Failed { error })),
        }
    }

    fn answer(&mut self, connection: u64, request: ShimRequest) -> Result<ShimAnswer, RuntimeError> {
        match request {
            ShimRequest::State | ShimRequest::Watch => Ok(ShimAnswer::State { report: self.report() }),
            ShimRequest::Create { config } => self.create(*config),
            ShimRequest::Start { container } => self.start(&container),
            ShimRequest::Kill { container, signal, all } => self.find(&container)?.kill(signal, all).map(|()| ShimAnswer::Done),
            ShimRequest::Pause { container } => self.pause(&container, true),
            ShimRequest::Resume { container } => self.pause(&container, false),
            ShimRequest::Update { container, resources } => self.update(&container, resources),
            ShimRequest::Stats { container } => {
                let container = self.find(&container)?;
                Ok(ShimAnswer::Stats { stats: Box::new(observe::stats(container)) })
            }
            ShimRequest::Cgroup { container } => Ok(ShimAnswer::Cgroup { view: self.find(&container)?.cgroup.view() }),
            ShimRequest::Processes { container } => {
                let (processes, remaining) = observe::processes(self.find(&container)?);
                Ok(ShimAnswer::Processes { processes, remaining })
            }
            ShimRequest::Namespaces { container } => {
                let container = self.find(&container)?;
                Ok(ShimAnswer::Namespaces { namespaces: observe::namespaces(container)? })
            }
            ShimRequest::Explain { container } => self.explain(&container),
            ShimRequest::Execs { container } => Ok(ShimAnswer::Execs { execs: self.execs_of(&container) }),
            ShimRequest::SignalExec { container, exec, signal } => self.named_exec(&container, &exec)?.signal(signal),
            ShimRequest::ExecResize { exec, rows, columns } => self.find_exec(exec, connection)?.resize(rows, columns),
            ShimRequest::ExecKill { exec, signal } => self.find_exec(exec, connection)?.signal(signal),
            ShimRequest::Attach { container } => self.find(&container)?.attach(connection),
            ShimRequest::Resize { container, rows, columns } => self.find(&container)?.resize(rows, columns).map(|()| ShimAnswer::Done),
            ShimRequest::StopPod => self.stop(),
            ShimRequest::Exec { .. }
            | ShimRequest::ExecInput { .. }
            | ShimRequest::EndExec { .. }
            | ShimRequest::Input { .. }
            | ShimRequest::Join { .. }
            | ShimRequest::Tree { .. } => Err(RuntimeError::Protocol { message: "not a request of this place".into() }),
        }
    }

    fn find(&mut self, name: &ContainerName) -> Result<&mut Container, RuntimeError> {
        let what = format!("container {name}");
        self.containers.iter_mut().find(|container| container.config.name == *name).ok_or(RuntimeError::NotFound { what })
    }

    fn create(&mut self, config: ContainerConfig) -> Result<ShimAnswer, RuntimeError> {
        crate::config::check_container(&self.sandbox.config, &config)?;
        if let Some(index) = self.containers.iter().position(|container| container.config.name == config.name) {
            let old = &mut self.containers[index];
            if !matches!(old.state, State::Stopped { .. }) {
                return Err(RuntimeError::Conflict { message: format!("container {} exists already", config.name) });
            }
            old.tear_down()?;
            self.containers.remove(index);
        }
        let container = Container::create(&self.sandbox, config)?;
        let report = container.report();
        self.containers.push(container);
        Ok(ShimAnswer::Created { report })
    }

    fn start(&mut self, name: &ContainerName) -> Result<ShimAnswer, RuntimeError> {
        self.state_changed = true;
        self.unexplained.get_or_insert_with(Instant::now);
        let container = self.find(name)?;
        container.start()?;
        Ok(ShimAnswer::Started { report: container.report() })
    }

    /// From the file, where they are kept: a shim is small.
    fn explain(&mut self, name: &ContainerName) -> Result<ShimAnswer, RuntimeError> {
        let path = self.sandbox.data.explain(name);
        self.find(name)?;
        self.write_explained();
        Ok(ShimAnswer::Explain { operations: read_operations(&path) })
    }

    fn pause(&mut self, name: &ContainerName, wanted: bool) -> Result<ShimAnswer, RuntimeError> {
        self.find(name)?.set_paused(wanted)?;
        self.state_changed = true;
        Ok(ShimAnswer::Done)
    }

    fn update(&mut self, name: &ContainerName, resources: Resources) -> Result<ShimAnswer, RuntimeError> {
        let hierarchies = self.sandbox.hierarchies.clone();
        let container = self.find(name)?;
        crate::config::check_resources(&resources)?;
        hierarchies.check(&resources)?;
        container.cgroup.apply(&hierarchies.complete(&resources), &mut container.trace)?;
        container.config.resources = resources;
        self.unexplained.get_or_insert_with(Instant::now);
        Ok(ShimAnswer::Done)
    }

    pub(super) fn join(&self, kinds: &[String]) -> Result<(ShimAnswer, Vec<OwnedFd>), RuntimeError> {
        let running = self.containers.iter().find_map(|container| container.running().ok());
        let init = running.ok_or_else(|| RuntimeError::Conflict { message: "it is not running".into() })?;
        let (kinds, descriptors) = join::give(init, kinds)?;
        Ok((ShimAnswer::Joined { kinds, id_map: self.sandbox.config.id_map }, descriptors))
    }

    pub(super) fn tree(&mut self, name: &ContainerName) -> Result<(ShimAnswer, Vec<OwnedFd>), RuntimeError> {
        let shared_users = self.sandbox.config.namespaces.user == NamespaceMode::Host;
        let init = self.find(name)?.running()?;
        join::give_tree(init, !shared_users).map(|descriptors| (ShimAnswer::Tree, descriptors))
    }

    fn feed(&mut self, asker: Asker, name: &ContainerName, data: &[u8]) -> Result<(), RuntimeError> {
        let container = self.find(name)?;
        container.input(data, asker)?;
        let taken = Input::settle(&mut container.stdin);
        self.done(taken);
        Ok(())
    }

    /// Tells those who asked that it is done.
    fn done(&mut self, askers: Vec<Asker>) {
        self.messages.extend(askers.into_iter().map(|(connection, id)| (connection, ShimMessage::Answer { id, body: ShimAnswer::Done })));
    }

    /// Everything ends and is undone; what cannot be undone is an answer, and the sandbox stays for another try.
    fn stop(&mut self) -> Result<ShimAnswer, RuntimeError> {
        for container in &mut self.containers {
            container.tear_down()?;
        }
        crash_point!("shim.stop.containers");
        // They died with their container; who waits for one is told so before the shim goes.
        self.end_all_execs();
        let whole = Cgroup::of_pod(&self.sandbox.hierarchies, &self.sandbox.layout.instance, &self.sandbox.config.id);
        whole.remove(Instant::now() + Duration::from_secs(10)).map_err(super::create::setup("cgroup"))?;
        self.write_explained();
        crash_point!("shim.stop.cgroup");
        // The socket goes with it: from here on the sandbox does not exist.
        if let Err(error) = std::fs::remove_dir_all(self.sandbox.run.path()) {
            let subject = self.sandbox.run.path().display();
            return Err(super::create::setup("run-dir")(crate::error::SysError::io("rmdir", subject, &error)));
        }
        self.finished = true;
        self.state_changed = false;
        Ok(ShimAnswer::Done)
    }

    // Events of the loop.

    pub(super) fn poll_sources<'a>(&'a self, connections: &[Connection], into: &mut Vec<(Source, BorrowedFd<'a>, PollFlags)>) {
        for (index, container) in self.containers.iter().enumerate() {
            if let Some(init) = container.init() {
                into.push((Source::Container(index), init.pidfd.as_fd(), PollFlags::POLLIN));
            }
            if let Some(watch) = &container.oom_watch {
                into.push((Source::ContainerOom(index), watch.as_fd(), watch.interest()));
            }
            if let Some(stdin) = container.stdin.as_ref().and_then(Input::wants_room) {
                into.push((Source::ContainerInput(index), stdin, PollFlags::POLLOUT));
            }
            for (stream, pipe) in [(1, &container.stdout), (2, &container.stderr)] {
                if let Some(pipe) = pipe {
                    into.push((Source::ContainerOutput(index, stream), pipe.as_fd(), PollFlags::POLLIN));
                }
            }
        }
        if self.reap_again.is_none() {
            into.extend(self.unreaped.iter().map(|child| (Source::Unreaped, child.pidfd.as_fd(), PollFlags::POLLIN)));
        }
        for exec in &self.execs {
            let reader = exec.asker.and_then(|(id, _)| connections.iter().find(|connection| connection.id == id));
            exec.poll_sources(reader.map_or(0, Connection::backlog) < HIGH_WATER, into);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let execs = self.execs.iter().filter_map(Exec::next_deadline);
        let quiet = self.unexplained.map(|since| since + QUIET);
        execs.chain(self.containers.iter().filter_map(Container::oom_deadline)).chain(quiet).chain(self.reap_again).min()
    }

    pub(super) fn container_ended(&mut self, index: usize) {
        let Some(container) = self.containers.get_mut(index) else { return };
        let input = container.stdin.take();
        let mut copies = Copies::of(container, &mut self.messages);
        let ended = container.ended(&mut |stream, data| copies.push(stream, data));
        let attached = std::mem::take(&mut copies.attached);
        let Some(exit) = ended else {
            container.stdin = input;
            return;
        };
        // v1 tells of a kill before it kills: the last one is in the count only now.
        let oom_kills = container.untold_oom_kills(container.cgroup.oom_kills());
        let oom_kill = oom_kills.map(|oom_kills| ShimEvent::OomKill { container: container.config.name.clone(), oom_kills });
        let exited = ShimEvent::Exited { container: container.config.name.clone(), attempt: container.config.attempt, exit };
        // Written down before it is told: a shim that dies in between has lost nothing.
        self.write_state();
        crash_point!("shim.exited.written");
        // After the last of its output.
        self.messages.extend(attached.into_iter().map(|connection| (connection, ShimMessage::Event { body: exited.clone() })));
        self.events.extend(oom_kill.into_iter().chain([exited]));
        self.done(input.map(Input::give_up).unwrap_or_default());
    }

    pub(super) fn container_oom(&mut self, index: usize, event: bool) {
        let Some(container) = self.containers.get_mut(index) else { return };
        if let Some(oom_kills) = container.look_at_oom(event) {
            self.events.push_back(ShimEvent::OomKill { container: container.config.name.clone(), oom_kills });
        }
    }

    pub(super) fn container_output(&mut self, index: usize, stream: u8) {
        if let Some(container) = self.containers.get_mut(index) {
            let mut copies = Copies::of(container, &mut self.messages);
            container.take_output(stream, &mut |stream, data| copies.push(stream, data));
        }
    }

    pub(super) fn container_input(&mut self, index: usize) {
        if let Some(container) = self.containers.get_mut(index) {
            let taken = Input::settle(&mut container.stdin);
            self.done(taken);
        }
    }

    pub(super) fn deliver(&mut self, connections: &mut [Connection]) {
        for exec in &mut self.execs {
            exec.check_deadline();
        }
        let now = Instant::now();
        self.reap_again.take_if(|at| *at <= now);
        for index in 0..self.containers.len() {
            if self.containers[index].oom_deadline().is_some_and(|at| at <= now) {
                self.container_oom(index, false);
            }
        }
        for event in self.events.drain(..) {
            let message = ShimMessage::Event { body: event };
            connections.iter_mut().filter(|connection| connection.watching).for_each(|connection| connection.send(&message));
        }
        for (id, message) in self.messages.drain(..) {
            if let Some(connection) = connections.iter_mut().find(|connection| connection.id == id) {
                connection.send_output(message);
            }
        }
    }

    /// Nobody waits for these any more: an exec ends with the connection that asked for it.
    pub(super) fn drop_execs_of_closed(&mut self, connections: &[Connection]) {
        for container in &mut self.containers {
            container.attached.retain(|id| connections.iter().any(|connection| connection.id == *id));
        }
        for exec in &mut self.execs {
            if exec.asker.is_some_and(|(id, _)| connections.iter().all(|connection| connection.id != id)) {
                exec.abandon();
            }
        }
    }

    /// After the answers are out: what is for a reader of files.
    pub(super) fn write_down(&mut self) {
        if self.finished {
            return;
        }
        if self.state_changed {
            self.write_state();
        }
        for container in &mut self.containers {
            container.clear_when_stopped();
        }
        if self.unexplained.is_some_and(|since| since.elapsed() >= QUIET) {
            self.write_explained();
            process::give_memory_back();
        }
    }

    fn write_state(&mut self) {
        self.state_changed = false;
        let text = serde_json::to_vec(&self.report()).unwrap_or_default();
        if let Err(error) = replace_file(&self.sandbox.run.state(), &text, 0o640, Some(self.sandbox.layout.gid)) {
            tracing::error!(error = %error, source = %error.source, "state is not written");
        }
    }

    /// Moves what was done since the last time from memory into the file of each container.
    fn write_explained(&mut self) {
        self.unexplained = None;
        for container in &mut self.containers {
            let new = container.take_operations();
            if new.is_empty() {
                continue;
            }
            let path = self.sandbox.data.explain(&container.config.name);
            let mut operations = if container.explained { read_operations(&path) } else { Vec::new() };
            operations.extend(new);
            operations.sort_by_key(|operation| operation.started_at);
            let text = serde_json::to_vec(&operations).unwrap_or_default();
            match replace_file(&path, &text, 0o640, Some(self.sandbox.layout.gid)) {
                Ok(()) => container.explained = true,
                Err(error) => tracing::error!(error = %error, source = %error.source, "operations are not written"),
            }
        }
    }
}

fn read_operations(path: &std::path::Path) -> Vec<Operation> {
    std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Output on its way to the connections that attached to a container.
struct Copies<'a> {
    container: ContainerName,
    attached: Vec<u64>,
    messages: &'a mut VecDeque<(u64, ShimMessage)>,
}

impl<'a> Copies<'a> {
    fn of(container: &Container, messages: &'a mut VecDeque<(u64, ShimMessage)>) -> Self {
        Copies { container: container.config.name.clone(), attached: container.attached.clone(), messages }
    }

    fn push(&mut self, stream: u8, data: &[u8]) {
        for connection in &self.attached {
            let event = ShimEvent::Output { container: self.container.clone(), stream, data: Bytes(data.to_vec()), skipped: 0 };
            self.messages.push_back((*connection, ShimMessage::Event { body: event }));
        }
    }
}
