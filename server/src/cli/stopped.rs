//! What can be learnt, as root, where no server answers: from the kernel by `berth-runtime`, and from the database by copying it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use runtime::examination::Examination;
use tempfile::TempDir;

use crate::clock::SystemClock;
use crate::config::Config;
use crate::doctor::Owned;
use crate::store::{self, Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum StoppedError {
    #[error("berth does not answer, and only root can look without it")]
    NotRoot,
    #[error("berth (pid {holder}) has {data_dir} open but does not answer at {socket}: --socket says where it listens")]
    Silent { holder: String, data_dir: String, socket: String },
    #[error("cannot run {program}")]
    Run { program: String, source: std::io::Error },
    #[error("berth-runtime examine: {said}")]
    Examine { said: String },
    #[error("berth-runtime's answer is not understood: is it of another version?")]
    Answer { source: serde_json::Error },
    #[error("cannot make a folder for a copy of the database")]
    Scratch { source: std::io::Error },
    #[error("cannot use the store")]
    Store(#[from] StoreError),
}

pub(super) fn need_root() -> Result<(), StoppedError> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(StoppedError::NotRoot) }
}

/// The instance's id, when there is one.
pub(super) fn instance(config: &Config) -> Option<String> {
    std::fs::read_to_string(config.data_dir.join("instance")).ok().map(|text| text.trim().to_owned())
}

/// Refuses where a server that only listens elsewhere has the folder: its database must not be copied behind its back.
pub(super) fn refuse_where_it_runs(config: &Config) -> Result<(), StoppedError> {
    let Ok(lock) = std::fs::File::open(config.data_dir.join("berth.lock")) else { return Ok(()) };
    match lock.try_lock_shared() {
        Err(std::fs::TryLockError::WouldBlock) => Err(StoppedError::Silent {
            holder: std::io::read_to_string(&lock).unwrap_or_default().trim().to_owned(),
            data_dir: config.data_dir.display().to_string(),
            socket: config.socket.display().to_string(),
        }),
        _ => Ok(()),
    }
}

/// Asks `berth-runtime`, found beside this program.
pub(super) fn examine(config: &Config, instance: Option<&str>) -> Result<Examination, StoppedError> {
    let program = std::env::current_exe().map_or_else(|_| "berth-runtime".into(), |own| own.with_file_name("berth-runtime"));
    let mut command = Command::new(&program);
    command.arg("examine").arg("--run-dir").arg(&config.run_dir).arg("--data-dir").arg(&config.data_dir);
    if let Some(instance) = instance {
        command.args(["--instance", instance]);
    }
    let run = |source| StoppedError::Run { program: program.display().to_string(), source };
    let output = command.stdin(Stdio::null()).output().map_err(run)?;
    if !output.status.success() {
        return Err(StoppedError::Examine { said: String::from_utf8_lossy(&output.stderr).trim().to_owned() });
    }
    serde_json::from_slice(&output.stdout).map_err(|source| StoppedError::Answer { source })
}

pub(super) fn scratch() -> Result<TempDir, StoppedError> {
    tempfile::Builder::new().prefix("berth-").tempdir().map_err(|source| StoppedError::Scratch { source })
}

/// What the rows say; None where there is no database yet.
pub(super) async fn owned(config: &Config) -> Result<Option<Owned>, StoppedError> {
    if !config.db_dir().join("berth.db").exists() {
        return Ok(None);
    }
    let scratch = scratch()?;
    let copy = scratch.path().join("berth.db");
    store::copy_of_stopped(&config.db_dir(), scratch.path(), &copy).await?;
    let store = Store::open(&copy, Arc::new(SystemClock)).await?;
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    let owned = Owned::of(&store).beside(&read("/etc/subuid"), &read("/etc/subgid"));
    store.close().await;
    Ok(Some(owned))
}
