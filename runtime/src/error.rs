//! Errors that cross a border: from a system call, from a stage of a container's set-up, from the runtime to the control plane.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kernel call that failed: which, on what, and the kernel's answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{call} {subject}")]
pub struct SysError {
    pub call: &'static str,
    pub subject: String,
    pub source: nix::errno::Errno,
}

impl SysError {
    pub fn new(call: &'static str, subject: impl fmt::Display, source: nix::errno::Errno) -> Self {
        SysError { call, subject: subject.to_string(), source }
    }

    /// From `std::io`, where a std call is the well-kept wrapper. An error without an errno becomes EIO.
    pub fn io(call: &'static str, subject: impl fmt::Display, source: &std::io::Error) -> Self {
        let errno = source.raw_os_error().map_or(nix::errno::Errno::EIO, nix::errno::Errno::from_raw);
        SysError::new(call, subject, errno)
    }
}

/// A stage of a container's set-up that failed, in a form that crosses pipes and sockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{stage}: {call} {subject}: {errno_name}: {detail}")]
pub struct SetupError {
    /// The stage's name as in `explain`: `cgroup`, `namespaces`, `mounts`, `pivot-root`, `user`, `exec`, …
    pub stage: String,
    pub call: String,
    pub subject: String,
    pub errno: i32,
    pub errno_name: String,
    /// What that means here, for people; the errno's own description when there is nothing to add.
    pub detail: String,
}

impl SetupError {
    pub fn new(stage: &str, source: &SysError) -> Self {
        SetupError {
            stage: stage.to_owned(),
            call: source.call.to_owned(),
            subject: source.subject.clone(),
            errno: source.source as i32,
            errno_name: format!("{:?}", source.source),
            detail: source.source.desc().to_owned(),
        }
    }

    /// With words that say more than the errno does.
    pub fn explained(stage: &str, source: &SysError, detail: impl Into<String>) -> Self {
        SetupError { detail: detail.into(), ..SetupError::new(stage, source) }
    }

    /// What a shell would answer: 127 no such program, 126 not executable, 125 a failure of ours (Docker's convention).
    pub fn exit_code(&self) -> i32 {
        match (self.stage.as_str(), nix::errno::Errno::from_raw(self.errno)) {
            ("exec", nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) => 127,
            ("exec", _) => 126,
            _ => 125,
        }
    }
}

impl From<crate::config::ConfigError> for RuntimeError {
    fn from(error: crate::config::ConfigError) -> Self {
        RuntimeError::Invalid { path: error.path, message: error.message }
    }
}

/// What the runtime answers when it cannot do what was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "error")]
pub enum RuntimeError {
    /// The request breaks a rule; `path` is a JSON Pointer into the configuration.
    #[error("{path}: {message}")]
    Invalid { path: String, message: String },
    #[error("a set-up stage failed: {0}")]
    Setup(SetupError),
    #[error("{what} does not exist")]
    NotFound { what: String },
    /// Not in a state for this.
    #[error("{message}")]
    Conflict { message: String },
    /// Something else has it, and will be done with it: try again.
    #[error("{message}")]
    Busy { message: String },
    /// A controller or a feature that this host lacks.
    #[error("this host has no {feature}: {message}")]
    Unsupported { feature: String, path: String, message: String },
    /// The tar, archive or image is damaged or hostile; `entry` names the member.
    #[error("entry {entry:?}: {message}")]
    BadArchive { entry: String, message: String },
    /// Not understood: another version, a damaged frame.
    #[error("protocol: {message}")]
    Protocol { message: String },
}
