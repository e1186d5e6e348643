//! A server process of the probe's own, with a folder of its own: started, waited for, ended by pid, and nothing of it left.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::Fault;
use crate::client::Client;

#[derive(Debug)]
pub(crate) struct Daemon {
    home: PathBuf,
    command: Vec<OsString>,
    socket: PathBuf,
    /// What answers when it is there; without one it is there when it accepts a connection.
    ping: Option<&'static str>,
    child: Option<Child>,
}

impl Daemon {
    /// `command` is the program and its arguments.
    pub(crate) fn new(home: PathBuf, socket: PathBuf, ping: Option<&'static str>, command: Vec<OsString>) -> Daemon {
        Daemon { home, command, socket, ping, child: None }
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// While it runs.
    pub(crate) fn pid(&self) -> Result<i32, Fault> {
        let id = self.child.as_ref().and_then(Child::id).ok_or("the daemon does not run")?;
        Ok(i32::try_from(id)?)
    }

    /// Starts it; answers how long it took until its first answer.
    pub(crate) async fn start(&mut self) -> Result<Duration, Fault> {
        const PATIENCE: Duration = Duration::from_secs(30);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.home.join("log"))?;
        let (program, arguments) = self.command.split_first().ok_or("no command")?;
        let began = Instant::now();
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C is for the probe, which then ends its daemons in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        while !self.answers().await {
            if child.try_wait()?.is_some() {
                return Err(format!("it ended: {}", self.last_words()).into());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("no answer in {PATIENCE:?}: {}", self.last_words()).into());
            }
            // None of the peers tells that it is ready: the same short round for all.
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        self.child = Some(child);
        Ok(began.elapsed())
    }

    async fn answers(&self) -> bool {
        match self.ping {
            None => UnixStream::connect(&self.socket).await.is_ok(),
            Some(path) => match Client::connect(&self.socket).await {
                Ok(mut client) => client.get(path).await.is_ok(),
                Err(_) => false,
            },
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    fn last_words(&self) -> String {
        self.log().lines().rfind(|line| !line.trim().is_empty()).unwrap_or("without a word").to_owned()
    }

    /// SIGTERM, and waits for its end; SIGKILL where that does not come.
    pub(crate) async fn stop(&mut self) -> Result<(), Fault> {
        let Ok(pid) = self.pid() else { return Ok(()) };
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = Pid::from_raw(pid) {
            pidfd_send_signal(pidfd_open(pid, PidfdFlags::empty())?, Signal::TERM)?;
        }
        match tokio::time::timeout(Duration::from_secs(20), child.wait()).await {
            Ok(status) => drop(status?),
            Err(_) => child.kill().await?,
        }
        Ok(())
    }
}
