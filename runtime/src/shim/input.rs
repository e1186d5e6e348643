//! Bytes on their way to a program's standard input: a pipe or a terminal that may be full.

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::container::set_nonblocking;
use super::create::setup;
use crate::error::RuntimeError;

/// What may wait for a program that does not read.
const MAX_WAITING: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Input {
    file: std::fs::File,
    waiting: VecDeque<u8>,
    /// Closed once what waits is out.
    closing: bool,
    closed: bool,
}

impl Input {
    pub(super) fn new(fd: OwnedFd) -> Result<Input, RuntimeError> {
        set_nonblocking(&fd).map_err(setup("stdio"))?;
        Ok(Input { file: fd.into(), waiting: VecDeque::new(), closing: false, closed: false })
    }

    /// None of them closes it. Refuses more than a bounded backlog, and anything after the close.
    pub(super) fn push(&mut self, data: &[u8]) -> Result<(), RuntimeError> {
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
        self.flush();
        Ok(())
    }

    pub(super) fn flush(&mut self) {
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

    /// Nothing is left to do but to drop it, which closes the program's input.
    pub(super) fn done(&self) -> bool {
        self.closed || (self.closing && self.waiting.is_empty())
    }
}
