//! Unix sockets: pairs, descriptors as messages, who is on the other side. See unix(7).

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials, getsockopt, recvmsg, sendmsg,
    socketpair, sockopt,
};

use crate::error::SysError;

/// The most descriptors that one message can carry: SCM_MAX_FD in the kernel.
pub const MAX_DESCRIPTORS: usize = 253;

/// Two connected sockets that keep message borders; a closed peer reads as an empty message. See unix(7), SOCK_SEQPACKET.
pub fn packet_pair() -> Result<(OwnedFd, OwnedFd), SysError> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .map_err(|errno| SysError::new("socketpair", "SOCK_SEQPACKET", errno))
}

/// Sends one message with descriptors. See sendmsg(2), SCM_RIGHTS in unix(7).
pub fn send(socket: impl AsFd, data: &[u8], descriptors: &[RawFd]) -> Result<(), SysError> {
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control: &[ControlMessage<'_>] = if descriptors.is_empty() { &[] } else { &rights };
    loop {
        match sendmsg::<()>(socket.as_fd().as_raw_fd(), &[IoSlice::new(data)], control, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(SysError::new("sendmsg", format!("{} bytes, {} descriptors", data.len(), descriptors.len()), errno)),
        }
    }
}

/// Receives one message into `buffer`; its length (0 at the end of the stream) and the descriptors, closed at execve. See recvmsg(2).
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), SysError> {
    let mut space = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = loop {
        match recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Ok(message) => break message,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(SysError::new("recvmsg", "", errno)),
        }
    };
    let mut descriptors = Vec::new();
    let control = message.cmsgs().map_err(|errno| SysError::new("recvmsg", "control", errno))?;
    for part in control {
        if let ControlMessageOwned::ScmRights(raw) = part {
            // SAFETY: the kernel just put these descriptors into our table for us.
            descriptors.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok((message.bytes, descriptors))
}

/// The length of the next message, which stays where it is; 0 at the end of the stream. See MSG_PEEK and MSG_TRUNC in recv(2).
pub fn next_length(socket: impl AsFd) -> Result<usize, SysError> {
    loop {
        match nix::sys::socket::recv(socket.as_fd().as_raw_fd(), &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC) {
            Ok(length) => return Ok(length),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(SysError::new("recv", "MSG_PEEK", errno)),
        }
    }
}

/// Pid, uid and gid of the process that connected, as the kernel recorded them. See SO_PEERCRED in unix(7).
pub fn peer(socket: &impl AsFd) -> Result<UnixCredentials, SysError> {
    getsockopt(socket, sockopt::PeerCredentials).map_err(|errno| SysError::new("getsockopt", "SO_PEERCRED", errno))
}
