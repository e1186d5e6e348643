//! A `berth serve` of the probe's own, with folders of its own, ended with it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Fault;

#[derive(Debug)]
pub(crate) struct Instance {
    home: TempDir,
    program: PathBuf,
    child: Option<Child>,
}

impl Instance {
    /// With the binary beside this one, unless another is named.
    pub(crate) fn new(program: Option<PathBuf>) -> Result<Instance, Fault> {
        let program = match program {
            Some(program) => program,
            None => std::env::current_exe()?.with_file_name("berth"),
        };
        if !program.exists() {
            return Err(format!("{} does not exist: cargo build --release", program.display()).into());
        }
        let home = tempfile::Builder::new().prefix("berth-bench-").tempdir()?;
        // The control plane is a plain user, who must be able to pass through.
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755))?;
        Ok(Instance { home, program, child: None })
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.path().join("run/berth.sock")
    }

    /// The pid of `berth serve`, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Starts it; answers how long it took until it said that it is ready.
    pub(crate) async fn start(&mut self) -> Result<Duration, Fault> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.home.path().join("log"))?;
        let began = Instant::now();
        let mut child = Command::new(&self.program)
            .arg("serve")
            .arg("--data-dir")
            .arg(self.home.path().join("data"))
            .arg("--run-dir")
            .arg(self.home.path().join("run"))
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        loop {
            let line = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await??;
            match line {
                Some(line) if line.starts_with("berth ready") => break,
                Some(_) => {}
                None => return Err(format!("berth ended: {}", std::fs::read_to_string(self.home.path().join("log"))?).into()),
            }
        }
        let took = began.elapsed();
        // Read on, so that it never blocks on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.child = Some(child);
        Ok(took)
    }

    /// SIGTERM, and waits for its end.
    pub(crate) async fn stop(&mut self) -> Result<(), Fault> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            pidfd_send_signal(pidfd_open(pid, PidfdFlags::empty())?, Signal::TERM)?;
        }
        tokio::time::timeout(Duration::from_secs(15), child.wait()).await??;
        Ok(())
    }
}
