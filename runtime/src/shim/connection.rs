//! A connection to the shim: frames in, frames out, never blocking and never without bound.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::poll::PollFlags;

use super::pod::{Pod, Reply};
use crate::error::RuntimeError;
use crate::id::ContainerName;
use crate::protocol::{Bytes, Numbered, ShimAnswer, ShimEvent, ShimMessage, ShimRequest, encode, frame_length};
use crate::rundir::Layout;
use crate::sys::socket;

/// A peer that lets this much pile up is cut off: it reads nothing, and a shim is small.
const MAX_BACKLOG: usize = 4 << 20;
/// Above this no more exec output is taken for the peer, so that the program blocks and not the shim.
pub(super) const HIGH_WATER: usize = 256 << 10;
/// Of what an attached peer is too slow for, so much is kept, the latest of it: after a flood comes the prompt.
const KEPT: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) closed: bool,
    /// Nobody reads what is sent to it.
    mute: bool,
    /// Wants events.
    pub(super) watching: bool,
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    root: bool,
    behind: Behind,
}

/// Output of an attached container that its peer did not read in time.
#[derive(Debug, Default)]
struct Behind {
    /// Bytes that it will never be sent; they came before those in `kept`.
    skipped: u64,
    kept: VecDeque<(ContainerName, u8, Bytes)>,
    /// Bytes in `kept`.
    length: usize,
}

impl Behind {
    fn push(&mut self, container: ContainerName, stream: u8, data: Bytes) {
        self.length += data.0.len();
        self.kept.push_back((container, stream, data));
    }

    fn pop(&mut self) -> Option<(ContainerName, u8, Bytes)> {
        let piece = self.kept.pop_front()?;
        self.length -= piece.2.0.len();
        Some(piece)
    }

    fn trim(&mut self) {
        while self.length > KEPT
            && let Some((.., data)) = self.pop()
        {
            self.skipped += data.0.len() as u64;
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Connection {
    /// The next waiting peer, when it is root or the control plane's user.
    pub(super) fn accept(listener: &UnixListener, id: u64, layout: &Layout) -> Option<Connection> {
        loop {
            let (stream, _) = listener.accept().ok()?;
            let Ok(peer) = socket::peer(&stream) else { continue };
            let known = peer.uid() == 0 || peer.uid() == layout.uid;
            if !known || stream.set_nonblocking(true).is_err() {
                tracing::warn!(uid = peer.uid(), pid = peer.pid(), "connection refused");
                continue;
            }
            let root = peer.uid() == 0;
            return Some(Connection {
                id,
                closed: false,
                mute: false,
                watching: false,
                stream,
                input: Vec::new(),
                output: Vec::new(),
                root,
                behind: Behind::default(),
            });
        }
    }

    pub(super) fn interest(&self) -> PollFlags {
        if self.output.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLIN | PollFlags::POLLOUT }
    }

    pub(super) fn flushed(&self) -> bool {
        self.closed || self.output.is_empty()
    }

    pub(super) fn backlog(&self) -> usize {
        self.output.len()
    }

    pub(super) fn service(&mut self, flags: PollFlags, pod: &mut Pod) {
        if flags.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            self.read();
            while let Some(request) = self.next_request() {
                self.handle(request, pod);
            }
        }
        self.flush();
        self.catch_up(HIGH_WATER);
    }

    fn handle(&mut self, request: Numbered<ShimRequest>, pod: &mut Pod) {
        let Numbered { id, body } = request;
        match body {
            ShimRequest::Watch => {
                self.watching = true;
                self.answer(id, ShimAnswer::State { report: pod.report() });
            }
            // Handed to root alone: another sandbox's shim, a worker of the launcher.
            ShimRequest::Join { .. } | ShimRequest::Tree { .. } if !self.root => {
                let message = "only root may take namespaces and mounts".to_owned();
                self.answer(id, ShimAnswer::Failed { error: RuntimeError::Conflict { message } });
            }
            ShimRequest::Join { kinds } => self.give(id, pod.join(&kinds)),
            ShimRequest::Tree { container } => self.give(id, pod.tree(&container)),
            other => match pod.request(self.id, id, other) {
                Reply::Now(answer) => self.answer(id, *answer),
                Reply::Later => {}
            },
        }
    }

    fn give(&mut self, id: u64, given: Result<(ShimAnswer, Vec<OwnedFd>), RuntimeError>) {
        let (answer, descriptors) = given.unwrap_or_else(|error| (ShimAnswer::Failed { error }, Vec::new()));
        let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let sent = encode(&ShimMessage::Answer { id, body: answer }).ok().and_then(|frame| socket::send(&self.stream, &frame, &raw).ok());
        if sent.is_none() {
            self.closed = true;
        }
    }

    pub(super) fn answer(&mut self, id: u64, body: ShimAnswer) {
        let message = ShimMessage::Answer { id, body };
        match encode(&message) {
            Ok(frame) => self.send_frame(&frame),
            // Others wait for theirs on this connection.
            Err(error) => {
                let error = RuntimeError::Protocol { message: format!("the answer does not fit a frame: {error}") };
                self.send(&ShimMessage::Answer { id, body: ShimAnswer::Failed { error } });
            }
        }
    }

    /// Output of an attached container. A peer that does not keep up misses some and is told how much: the container never waits for it.
    pub(super) fn send_output(&mut self, message: ShimMessage) {
        match message {
            ShimMessage::Event { body: ShimEvent::Output { container, stream, data, .. } } => {
                self.behind.push(container, stream, data);
                self.catch_up(HIGH_WATER);
                self.behind.trim();
            }
            // The end is the last thing that it hears.
            ShimMessage::Event { body: ShimEvent::Exited { .. } } => {
                self.catch_up(usize::MAX);
                self.send(&message);
            }
            other => self.send(&other),
        }
    }

    /// Sends what was kept for it, until so much waits in the socket.
    fn catch_up(&mut self, mark: usize) {
        while self.output.len() <= mark
            && let Some((container, stream, data)) = self.behind.pop()
        {
            let skipped = std::mem::take(&mut self.behind.skipped);
            self.send(&ShimMessage::Event { body: ShimEvent::Output { container, stream, data, skipped } });
        }
    }

    pub(super) fn send(&mut self, message: &ShimMessage) {
        match encode(message) {
            Ok(frame) => self.send_frame(&frame),
            Err(error) => {
                tracing::error!(error = %error, "message does not fit a frame");
                self.closed = true;
            }
        }
    }

    fn send_frame(&mut self, frame: &[u8]) {
        if self.mute {
            return;
        }
        self.output.extend_from_slice(frame);
        self.flush();
        if self.output.len() > MAX_BACKLOG {
            self.closed = true;
        }
    }

    fn flush(&mut self) {
        while !self.output.is_empty() && !self.closed {
            match self.stream.write(&self.output) {
                Ok(length) => {
                    self.output.drain(..length);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // It reads no more. What it said before it went is still to be read, and its end comes after that.
                Err(_) => {
                    self.output.clear();
                    self.mute = true;
                }
            }
        }
        // What a burst needed is given back: the shim's memory is a published figure.
        if self.output.is_empty() && self.output.capacity() > 16 << 10 {
            self.output = Vec::new();
        }
    }

    fn read(&mut self) {
        let mut chunk = [0; 16 << 10];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    self.closed = true;
                    return;
                }
                Ok(length) => self.input.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.closed = true;
                    return;
                }
            }
            if self.input.len() > crate::protocol::MAX_FRAME + chunk.len() {
                return;
            }
        }
    }

    /// The next whole request; a frame that cannot be one ends the connection.
    fn next_request(&mut self) -> Option<Numbered<ShimRequest>> {
        let header: [u8; 4] = self.input.get(..4)?.try_into().ok()?;
        let Ok(length) = frame_length(header) else {
            self.closed = true;
            return None;
        };
        let body = self.input.get(4..4 + length)?;
        let parsed = serde_json::from_slice::<Numbered<ShimRequest>>(body);
        let id = serde_json::from_slice::<Numbered<serde_json::Value>>(body).map_or(0, |numbered| numbered.id);
        self.input.drain(..4 + length);
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        match parsed {
            Ok(request) => Some(request),
            Err(error) => {
                self.answer(id, ShimAnswer::Failed { error: RuntimeError::Protocol { message: error.to_string() } });
                self.next_request()
            }
        }
    }
}
