//! Bytes on their way to a program's standard input: a pipe or a terminal that may be full.

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::container::set_nonblocking;
use super::create::setup;
use crate::error::RuntimeError;

/// What may wait for a program that does not read.
const MAX_WAITING: usize = 1 << 20;
/// Who sent bytes is answered when no more than this waits: a sender that waits for its answers is as slow as the program.
const LOW_WATER: usize = 64 << 10;

/// A connection and the number of its request.
pub(super) type Asker = (u64, u64);

#[derive(Debug)]
pub(super) struct Input {
    file: std::fs::File,
    waiting: VecDeque<u8>,
    /// Those whose bytes are not taken yet.
    askers: Vec<Asker>,
    /// Closed once what waits is out.
    closing: bool,
    closed: bool,
}

impl Input {
    pub(super) fn new(fd: OwnedFd) -> Result<Input, RuntimeError> {
        set_nonblocking(&fd).map_err(setup("stdio"))?;
        Ok(Input { file: fd.into(), waiting: VecDeque::new(), askers: Vec::new(), closing: false, closed: false })
    }

    /// None of them closes it. Refuses more than a bounded backlog, and anything after the close.
    pub(super) fn push(&mut self, data: &[u8], asker: Asker) -> Result<(), RuntimeError> {
        if self.closing || self.closed {
            return Err(RuntimeError::Conflict { message: "standard input is closed".into() });
        }
        if self.waiting.len() + data.len() > MAX_WAITING {
            return Err(RuntimeError::Conflict {
                message: format!("the program has not read the last {} bytes of its input", self.waiting.len()),
            });
        }
        self.waiting.extend(data);
        self.closing = data.is_empty();
        self.askers.push(asker);
        Ok(())
    }

    /// Passes on what the program takes now; answers those whose bytes are taken. Gone when there is nothing left to do but to drop it, which
    /// closes the program's input.
    pub(super) fn settle(slot: &mut Option<Input>) -> Vec<Asker> {
        let Some(input) = slot else { return Vec::new() };
        input.flush();
        if input.closed || (input.closing && input.waiting.is_empty()) {
            return slot.take().map(|input| input.askers).unwrap_or_default();
        }
        if input.waiting.is_empty() && input.waiting.capacity() > LOW_WATER {
            input.waiting = VecDeque::new();
        }
        if input.waiting.len() <= LOW_WATER { std::mem::take(&mut input.askers) } else { Vec::new() }
    }

    /// The program is gone; answers those who still wait.
    pub(super) fn give_up(self) -> Vec<Asker> {
        self.askers
    }

    fn flush(&mut self) {
        while !self.waiting.is_empty() {
            match self.file.write(self.waiting.as_slices().0) {
                Ok(length) => drop(self.waiting.drain(..length)),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // Nobody reads any more: what waits is for no one.
                Err(_) => {
                    self.waiting.clear();
                    self.closed = true;
                }
            }
        }
    }

    /// To be polled for room.
    pub(super) fn wants_room(&self) -> Option<BorrowedFd<'_>> {
        (!self.waiting.is_empty()).then(|| self.file.as_fd())
    }
}
