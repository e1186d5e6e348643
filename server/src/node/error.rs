//! What can go wrong between here and the runtime.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use runtime::error::RuntimeError;
use runtime::id::{LayerId, PodId};

#[derive(Debug, Clone, thiserror::Error)]
pub enum NodeError {
    /// The launcher does not listen: it is being started again, or was never started.
    #[error("cannot reach the launcher at {}", socket.display())]
    Launcher { socket: PathBuf, source: Arc<io::Error> },
    /// Nothing listens on the sandbox's socket.
    #[error("the sandbox {pod} has no shim")]
    NoShim { pod: PodId },
    /// The connection ended before the answer came: it may have been done, or not.
    #[error("the shim of sandbox {pod} went away")]
    ShimGone { pod: PodId },
    /// It was started by a Berth that is too old, or newer than this one.
    #[error(
        "{peer} speaks version {theirs} of the protocol, and this Berth speaks {} to {}: it goes on running, and the Berth that started it can drive it",
        runtime::protocol::OLDEST_SHIM_PROTOCOL,
        runtime::protocol::PROTOCOL_VERSION
    )]
    Version { peer: String, theirs: u32 },
    #[error("cannot speak to {peer}")]
    Io { peer: &'static str, source: Arc<io::Error> },
    #[error("{peer} did not answer within {} s", within.as_secs())]
    Deadline { peer: &'static str, within: Duration },
    /// The peer speaks another version, or is not who it should be.
    #[error("an answer that does not belong to {verb}")]
    Unexpected { verb: &'static str },
    /// The one who sent the bytes stopped in the middle. What was unpacked until then may have become layers.
    #[error("the body ended early: {source}")]
    Body { source: Arc<io::Error>, layers: Vec<LayerId> },
    /// The runtime understood, and says why not.
    #[error("{0}")]
    Refused(RuntimeError),
}

impl NodeError {
    pub(crate) fn unexpected(verb: &'static str) -> Self {
        NodeError::Unexpected { verb }
    }

    pub(super) fn io(peer: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| NodeError::Io { peer, source: Arc::new(source) }
    }
}
