//! The accept loop: from listening sockets to requests with a known peer, with a bound on everything that a peer can make us hold.
//!
//! ```text
//! accept --slot?--> Idle --first byte--> Head --whole head--> Active --response sent--> Idle …
//!             |      | 75 s (10 s for the first)  | 10 s         | (bodies and writes have deadlines of their own)
//!             no     v                            v
//!          evict the longest idle, else close   close
//! ```
//!
//! Why our own and not `axum::serve`: that one has no bound on connections, and no deadline for a peer that sends nothing or never reads.

mod connection;
mod guarded;
mod slots;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use slots::Slots;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Tcp(SocketAddr),
    /// By SO_PEERCRED, see unix(7): whom the kernel saw connecting, whatever the path's permissions were.
    Unix {
        uid: u32,
    },
}

/// Bounds of all listeners together.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connections: usize,
    /// Of one TCP address. Over loopback that is everybody, so the longest idle one makes room.
    pub per_address: usize,
    /// From the first byte of a request's head to its last; for a connection's first request from the accept on.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
    /// A peer that does not read for so long is cut off.
    pub write: Duration,
    /// For requests in flight when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Limits { connections: 1024, per_address: 64, head: seconds(10), idle: seconds(75), write: seconds(30), drain: seconds(10) }
    }
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<(guarded::Stream, Peer)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are written whole: waiting to fill a packet only delays them.
                let _ = stream.set_nodelay(true);
                Ok((guarded::Stream::Tcp(stream), Peer::Tcp(address)))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((guarded::Stream::Unix(stream), Peer::Unix { uid }))
            }
        }
    }
}

/// Serves until `shutdown`, then lets what is in flight finish within the drain limit; who comes meanwhile is told that it ends (503).
pub async fn serve(listener: Listener, app: Router, slots: Arc<Slots>, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut back_off = BackOff::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    back_off = BackOff::default();
                    // Without room the stream is dropped: the peer sees a closed connection.
                    if let Some(slot) = slots.take(peer) {
                        connections.spawn(connection::run(stream, peer, slot, app.clone(), shutdown.clone()));
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // EMFILE and its like: the connection stays in the queue, so trying at once would spin.
                    let pause = back_off.next();
                    tracing::warn!(%error, ?pause, "connections cannot be accepted");
                    tokio::select! { () = shutdown.cancelled() => break, () = tokio::time::sleep(pause) => {} }
                }
            }
        }
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(slots.limits().drain, drained) => outcome,
        () = turn_away(&listener, &app, &slots) => Ok(()),
    };
    if outcome.is_err() {
        tracing::warn!(open = connections.len(), "connections are cut off: they did not finish in time");
    }
}

/// Readiness must be answered to the end: a closed port looks like a crash. Every request is refused by `layers::limits`.
async fn turn_away(listener: &Listener, app: &Router, slots: &Arc<Slots>) {
    let mut late = JoinSet::new();
    let mut back_off = BackOff::default();
    loop {
        tokio::select! {
            Some(_) = late.join_next(), if !late.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some(slot) = slots.take(peer) {
                        // A token of its own: theirs is cancelled, and a connection that begins so is closed before it is answered.
                        late.spawn(connection::run(stream, peer, slot, app.clone(), CancellationToken::new()));
                    }
                }
                Err(_) => tokio::time::sleep(back_off.next()).await,
            }
        }
    }
}

/// It says nothing about the listener. See accept(2).
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// 10 ms, doubled up to a second.
#[derive(Debug, Default)]
struct BackOff(u32);

impl BackOff {
    fn next(&mut self) -> Duration {
        let pause = Duration::from_millis(10) * (1 << self.0);
        self.0 = (self.0 + 1).min(6);
        pause.min(Duration::from_secs(1))
    }
}
