//! What can go wrong with a cgroup, and what each fault becomes at the runtime's border.

use std::path::PathBuf;

use nix::errno::Errno;

use crate::error::{RuntimeError, SetupError, SysError};

/// A fault of the cgroup tree. `pointer` is a JSON Pointer into the container's configuration, as in `/resources/memory`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CgroupError {
    /// A directory or file of the tree could not be made, read, written or removed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The kernel did not take a limit.
    #[error("{pointer}: {file} does not take {value:?}")]
    Refused { pointer: String, file: PathBuf, value: String, source: Errno },
    /// The kernel took a limit and then stated another one.
    #[error("{pointer}: {file} holds {found:?} after {wanted:?} was written")]
    NotHeld { pointer: String, file: PathBuf, wanted: String, found: String },
    /// A live update failed, and so did putting back a value that it had changed before.
    #[error("{file} could not be put back to {value:?}")]
    NotUndone { file: PathBuf, value: String, source: Errno, after: Box<CgroupError> },
    /// This host has no such controller or feature.
    #[error("this host has no {feature}: {message}")]
    Unsupported { feature: String, pointer: String, message: String },
    /// The wish contradicts itself or the machine.
    #[error("{pointer}: {message}")]
    Invalid { pointer: String, message: String },
}

impl From<CgroupError> for RuntimeError {
    fn from(error: CgroupError) -> Self {
        let text = error.to_string();
        match error {
            CgroupError::Sys(source) => RuntimeError::Setup(SetupError::new("cgroup", &source)),
            CgroupError::Refused { pointer, file, value, source } => RuntimeError::Invalid {
                path: pointer,
                message: match source {
                    Errno::EBUSY => {
                        format!("below what is in use now, and the kernel could not reclaim enough ({}: EBUSY)", file.display())
                    }
                    _ => format!("the kernel refuses {value:?} for {}: {} ({source:?})", file.display(), source.desc()),
                },
            },
            CgroupError::NotHeld { pointer, .. } => RuntimeError::Invalid { path: pointer, message: text },
            CgroupError::NotUndone { after, source, .. } => match RuntimeError::from(*after) {
                RuntimeError::Invalid { path, message } => {
                    RuntimeError::Invalid { path, message: format!("{message}; then {text}: {source:?}") }
                }
                other => other,
            },
            CgroupError::Unsupported { feature, pointer, message } => RuntimeError::Unsupported { feature, path: pointer, message },
            CgroupError::Invalid { pointer, message } => RuntimeError::Invalid { path: pointer, message },
        }
    }
}
