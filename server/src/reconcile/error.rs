//! Why something that was asked for did not happen.

use crate::node::NodeError;
use crate::node::convert::ConvertError;
use crate::store::{Lookup, StoreError};

/// A start that did not lead to a running program. All of it is also in the container's status and in an event.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The container whose namespaces are to be joined is not there or does not run.
    #[error("namespaces join the container {target:?}, which {why}")]
    Target { target: String, why: &'static str },
    #[error("the image {image:?} is gone")]
    NoImage { image: String },
    /// The runtime could not, and says in which step.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl StartError {
    /// As a shell would give it: 127 no such program, 126 not executable, 125 anything else; Docker's convention.
    pub fn exit_code(&self) -> i32 {
        match self {
            StartError::Node(NodeError::Refused(runtime::error::RuntimeError::Setup(setup))) => setup.exit_code(),
            _ => 125,
        }
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum ActionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Lookup(#[from] Lookup),
    #[error("the container did not start: {0}")]
    Start(StartError),
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The container is not in a state for this.
    #[error("the container {name:?} {state}")]
    WrongState { name: String, state: &'static str },
    /// It is still under way: the wish stands, and is carried out later.
    #[error("the container {name:?} is not {what} after {seconds} s; it is still being tried")]
    Deadline { name: String, what: &'static str, seconds: u64 },
    #[error("the control plane is shutting down")]
    ShuttingDown,
}
