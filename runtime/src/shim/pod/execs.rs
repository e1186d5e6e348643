//! Further processes: started, fed, listed, signalled, ended.
//!
//! ```text
//! exec ──> running ──ended──> the answer to who asked
//!             │                (detached: remembered, the last few)
//!             └─ who asked is gone, the time is over, someone ends it ─> killed with all that it started
//! ```

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::{Asker, Exec, Input, Pod};
use crate::config::ExecConfig;
use crate::error::RuntimeError;
use crate::id::{ContainerName, ExecId};
use crate::protocol::{ShimAnswer, ShimEvent, ShimMessage};
use crate::status::{ExecExit, ExecReport};
use crate::sys::process;

/// See /proc/sys/fs/pipe-max-size in proc_sys_fs(5).
const LARGEST_PIPE: usize = 1 << 20;
/// Between two tries to reap what did not end in time.
const LATE: Duration = Duration::from_secs(1);
/// Detached ones whose end is remembered.
const REMEMBERED: usize = 16;

impl Pod {
    pub(super) fn exec(&mut self, asker: Asker, name: &ContainerName, config: ExecConfig) -> Result<(), RuntimeError> {
        crate::config::check_exec(&config)?;
        if config.id.as_ref().is_some_and(|id| self.execs_of(name).iter().any(|known| known.id == *id)) {
            return Err(RuntimeError::Conflict { message: "an exec with this id exists already".into() });
        }
        self.remove_left();
        // Used up also by one that fails: its cgroup may still be there.
        let number = self.next_exec;
        self.next_exec += 1;
        let pod = self.sandbox.config.clone();
        let detach = config.detach;
        let mut unreaped = Vec::new();
        let exec = Exec::start(&pod, self.find(name)?, config, number, (!detach).then_some(asker), &mut unreaped);
        self.unreaped.append(&mut unreaped);
        let exec = exec?;
        let (connection, request) = asker;
        let message = match exec.report(None) {
            Some(report) if detach => ShimMessage::Answer { id: request, body: ShimAnswer::ExecStarted { exec: Box::new(report) } },
            None if detach => ShimMessage::Answer { id: request, body: ShimAnswer::Done },
            _ => ShimMessage::Event { body: ShimEvent::ExecStarted { exec: request } },
        };
        self.execs.push(exec);
        self.messages.push_back((connection, message));
        Ok(())
    }

    /// One that belongs to the connection that asked for it.
    pub(super) fn find_exec(&mut self, request: u64, connection: u64) -> Result<&mut Exec, RuntimeError> {
        let exec = self.execs.iter_mut().find(|one| one.asker == Some((connection, request)));
        exec.ok_or_else(|| RuntimeError::NotFound { what: "the exec".into() })
    }

    pub(super) fn feed_exec(&mut self, asker: Asker, exec: u64, data: &[u8]) -> Result<(), RuntimeError> {
        let exec = self.find_exec(exec, asker.0)?;
        exec.input(data, asker)?;
        let taken = Input::settle(&mut exec.stdin);
        self.done(taken);
        Ok(())
    }

    /// Whoever asked for it.
    pub(super) fn named_exec(&mut self, container: &ContainerName, id: &ExecId) -> Result<&mut Exec, RuntimeError> {
        if self.ended.iter().any(|(of, report)| of == container && report.id == *id) {
            return Err(RuntimeError::Conflict { message: format!("the exec {id} has ended") });
        }
        let exec = self.execs.iter_mut().find(|exec| exec.is(container, id));
        exec.ok_or_else(|| RuntimeError::NotFound { what: format!("exec {id}") })
    }

    pub(super) fn execs_of(&self, container: &ContainerName) -> Vec<ExecReport> {
        let ended = self.ended.iter().filter(|(of, _)| of == container).map(|(_, report)| report.clone());
        let running = self.execs.iter().filter(|exec| exec.container == *container).filter_map(|exec| exec.report(None));
        ended.chain(running).collect()
    }

    pub(super) fn end_exec(&mut self, asker: Asker, container: &ContainerName, id: &ExecId, grace: Duration) -> Result<(), RuntimeError> {
        let known = self.ended.len();
        self.ended.retain(|(of, report)| of != container || report.id != *id);
        if self.ended.len() < known {
            self.done(vec![asker]);
            return Ok(());
        }
        self.named_exec(container, id)?.end(asker, grace);
        Ok(())
    }

    // Events of the loop.

    /// One of those that did not end when they were killed. As with [`Exec::ended`], there may be nothing to reap yet.
    pub(in crate::shim) fn reap_late(&mut self) {
        self.unreaped.retain(|child| matches!(process::try_reap(child.pidfd.as_fd()), Ok(None)));
        self.reap_again = (!self.unreaped.is_empty()).then(|| Instant::now() + LATE);
    }

    pub(in crate::shim) fn exec_input(&mut self, number: u64) {
        if let Some(exec) = self.execs.iter_mut().find(|exec| exec.number == number) {
            let taken = Input::settle(&mut exec.stdin);
            self.done(taken);
        }
    }

    pub(in crate::shim) fn exec_output(&mut self, number: u64, stream: u8) {
        if let Some(index) = self.execs.iter().position(|exec| exec.number == number) {
            self.pass_on(index, stream);
        }
    }

    /// Some of its output, to who asked; how much it was.
    fn pass_on(&mut self, index: usize, stream: u8) -> usize {
        let exec = &mut self.execs[index];
        let Some(data) = exec.take_output(stream) else { return 0 };
        let length = data.0.len();
        // Of a detached one nobody reads it.
        if let Some((connection, request)) = exec.asker {
            let event = ShimEvent::ExecOutput { exec: request, stream, data };
            self.messages.push_back((connection, ShimMessage::Event { body: event }));
        }
        length
    }

    pub(in crate::shim) fn exec_ended(&mut self, number: u64) {
        let Some(index) = self.execs.iter().position(|exec| exec.number == number) else { return };
        if let Some(exit) = self.execs[index].ended() {
            self.finish_exec(index, exit);
        }
    }

    /// With the sandbox.
    pub(super) fn end_all_execs(&mut self) {
        while let Some(exec) = self.execs.first_mut() {
            exec.kill();
            let exit = exec.wait();
            self.finish_exec(0, exit);
        }
    }

    /// The rest of its output, then the answer.
    fn finish_exec(&mut self, index: usize, exit: ExecExit) {
        for stream in [1, 2] {
            // No more than a pipe can hold: what it left running may be writing all the while.
            let mut left = LARGEST_PIPE;
            while left > 0 {
                match self.pass_on(index, stream) {
                    0 => break,
                    length => left = left.saturating_sub(length),
                }
            }
        }
        let mut exec = self.execs.remove(index);
        match exec.asker {
            Some((connection, id)) => {
                let body = ShimAnswer::ExecExited { exit_code: exit.code, signal: exit.signal, timed_out: exit.timed_out };
                self.messages.push_back((connection, ShimMessage::Answer { id, body }));
            }
            None => self.remember(&exec, exit),
        }
        let input = exec.stdin.take().map(Input::give_up).unwrap_or_default();
        self.done(input);
        let enders = exec.enders.clone();
        self.left.extend(exec.into_cgroup());
        self.remove_left();
        self.done(enders);
    }

    fn remember(&mut self, exec: &Exec, exit: ExecExit) {
        let Some(report) = exec.report(Some(exit)) else { return };
        if self.ended.len() >= REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back((exec.container.clone(), report));
    }

    fn remove_left(&mut self) {
        self.left.retain(|cgroup| !cgroup.is_removed());
    }
}
