//! Starts the privileged launcher, and says when it is gone.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use runtime::id::InstanceId;

use super::ServeError;
use super::privileges::Identity;
use crate::config::Config;

fn command(config: &Config, instance: &InstanceId, identity: Identity) -> Result<(PathBuf, Command), ServeError> {
    let own = std::env::current_exe().map_err(|source| ServeError::FindLauncher { source })?;
    let program = own.with_file_name("berth-runtime");
    let mut command = Command::new(&program);
    command
        .arg("launch")
        .arg("--run-dir")
        .arg(&config.run_dir)
        .arg("--data-dir")
        .arg(&config.data_dir)
        .args(["--instance", instance.as_str()])
        .args(["--uid", &identity.uid.to_string(), "--gid", &identity.gid.to_string()]);
    Ok((program, command))
}

/// Starts `berth-runtime launch`, found beside this program, as root. The result is this side of its lifeline: the launcher ends when it
/// closes, and it closes when the launcher ends.
pub(super) fn start(config: &Config, instance: &InstanceId, identity: Identity) -> Result<UnixStream, ServeError> {
    let (program, mut command) = command(config, instance, identity)?;
    let spawn = |source| ServeError::StartLauncher { path: program.clone(), source };
    let (ours, theirs) = UnixStream::pair().map_err(spawn)?;
    command
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null()) // standard output is for our ready line
        .process_group(0) // a terminal's Ctrl-C is for us alone: containers go on
        // It is this process that is ready or not.
        .env_remove("NOTIFY_SOCKET")
        .spawn()
        .map_err(spawn)?;
    Ok(ours)
}

/// Becomes the launcher: the pid stays, so whoever started it watches the right process. Returns only when that failed.
pub(super) fn become_it(config: &Config, instance: &InstanceId, identity: Identity) -> ServeError {
    match command(config, instance, identity) {
        // No lifeline: what a service manager gives as standard input is not a socket of ours.
        Ok((path, mut command)) => ServeError::StartLauncher { path, source: command.stdin(Stdio::null()).exec() },
        Err(error) => error,
    }
}

/// Waits for the launcher's end, and takes its exit status so that no zombie stays.
pub(super) async fn gone(lifeline: UnixStream) -> std::io::Result<()> {
    use tokio::io::AsyncReadExt;
    lifeline.set_nonblocking(true)?;
    let mut lifeline = tokio::net::UnixStream::from_std(lifeline)?;
    let mut sink = [0; 64];
    while lifeline.read(&mut sink).await? != 0 {}
    // Its descriptors are closed some microseconds before it can be waited for: wait where waiting is allowed.
    tokio::task::spawn_blocking(|| while let Err(rustix::io::Errno::INTR) = rustix::process::wait(rustix::process::WaitOptions::empty()) {})
        .await
        .map_err(std::io::Error::other)
}
