//! Tells systemd, where it is the one who started us, that we are ready: see sd_notify(3).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

/// Sends `state` (`READY=1`, `STOPPING=1`) to `$NOTIFY_SOCKET`. Without one there is nobody to tell.
pub fn notify(state: &str) {
    let Some(target) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = match target.as_bytes().strip_prefix(b"@") {
        Some(name) => {
            SocketAddr::from_abstract_name(name).and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address))
        }
        None => UnixDatagram::unbound().and_then(|socket| socket.send_to(state.as_bytes(), Path::new(&target))),
    };
    if let Err(error) = sent {
        tracing::warn!(%error, state, "systemd could not be told");
    }
}
