//! What the root phase of `berth serve` gives to the unprivileged one: a message and three descriptors, over its standard input.
//!
//! Why not inherit them by number: taking a number for a descriptor is `unsafe`; receiving one over a socket is not, and standard input is
//! the one descriptor that std hands out. All stay close-on-exec, so nothing else can inherit them.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use runtime::id::InstanceId;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType,
};
use serde::{Deserialize, Serialize};

use super::ServeError;
use crate::config::Config;

/// Set in the environment of the second phase. Setting it by hand gains nothing: the message must come, and root is refused.
pub(super) const VARIABLE: &str = "BERTH_HANDOVER";

/// Far more than a configuration of two paths of 4,096 bytes.
const MAX_MESSAGE: usize = 64 << 10;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Message {
    pub config: Config,
    pub instance: InstanceId,
    pub uid: u32,
    pub gid: u32,
}

/// The message and what came with it.
#[derive(Debug)]
pub(super) struct Handover {
    pub message: Message,
    /// Held for as long as the process lives.
    pub lock: File,
    pub listener: UnixListener,
    /// Its other end is the launcher's standard input: either side sees the other's end.
    pub lifeline: UnixStream,
}

/// Puts everything into a socket pair; the result is to be the standard input of the second phase.
pub(super) fn pack(message: &Message, lock: &File, listener: &UnixListener, lifeline: &UnixStream) -> Result<OwnedFd, ServeError> {
    let io = |source: rustix::io::Errno| ServeError::Handover { source: source.into() };
    let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(io)?;
    let bytes = serde_json::to_vec(message).map_err(|source| ServeError::Handover { source: source.into() })?;
    let descriptors = [lock.as_fd(), listener.as_fd(), lifeline.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(&ours, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL).map_err(io)?;
    Ok(theirs)
}

/// Takes from standard input what [`pack`] put there.
pub(super) fn unpack() -> Result<Handover, ServeError> {
    receive(std::io::stdin().as_fd())
}

fn receive(input: impl AsFd) -> Result<Handover, ServeError> {
    let refuse = |why: &str| ServeError::Handover { source: std::io::Error::new(std::io::ErrorKind::InvalidData, why) };
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = rustix::net::recvmsg(input, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)
        .map_err(|source| ServeError::Handover { source: source.into() })?;
    let mut descriptors = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        })
        .flatten();
    let (Some(lock), Some(listener), Some(lifeline)) = (descriptors.next(), descriptors.next(), descriptors.next()) else {
        return Err(refuse("three descriptors were to come"));
    };
    let message = serde_json::from_slice(&bytes[..received.bytes]).map_err(|source| ServeError::Handover { source: source.into() })?;
    Ok(Handover { message, lock: lock.into(), listener: listener.into(), lifeline: lifeline.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServeArgs;
    use std::io::{Read, Write};

    #[test]
    fn what_is_packed_comes_out() {
        let dir = tempfile::tempdir().unwrap();
        let lock = File::create(dir.path().join("lock")).unwrap();
        let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        let config = Config::resolve(ServeArgs::default()).unwrap();
        let message = Message { config: config.clone(), instance: "0123abcd".parse().unwrap(), uid: 7, gid: 8 };
        let packed = pack(&message, &lock, &listener, &near).unwrap();
        drop((lock, near));
        let mut handover = receive(&packed).unwrap();
        assert_eq!((handover.message.config, handover.message.uid, handover.message.gid), (config, 7, 8));
        far.write_all(b"x").unwrap();
        let mut byte = [0];
        handover.lifeline.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        assert!(handover.listener.local_addr().unwrap().as_pathname().unwrap().ends_with("sock"));
        assert!(handover.lock.metadata().unwrap().is_file());
    }

    #[test]
    fn an_input_that_is_no_handover_is_an_error() {
        let (a, b) = UnixStream::pair().unwrap();
        drop(a);
        assert!(matches!(receive(&b), Err(ServeError::Handover { .. })));
    }
}
