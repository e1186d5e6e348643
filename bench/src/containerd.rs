//! containerd without Docker above it: a daemon of the probe's own. Its API is gRPC, so what is measured is its own client, `ctr run --rm`: with the
//! start of a process and without stored logs. Said beside the figure, because Berth's is over HTTP with both.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::daemon::Daemon;
use crate::engines::run_folder;
use crate::{Fault, leftovers};

#[derive(Debug)]
pub(crate) struct Containerd {
    pub(crate) daemon: Daemon,
    socket: String,
}

impl Containerd {
    /// Starts it and loads the image from a layout's archive.
    pub(crate) async fn start(scratch: &Path, archive: &Path) -> Result<(Containerd, Duration), Fault> {
        let home = scratch.join("containerd");
        std::fs::create_dir_all(&home)?;
        let socket = home.join("socket");
        let config = home.join("config.toml");
        // Without CRI, which looks for networks and for a place of its own.
        let text = format!(
            "version = 2\nroot = {root:?}\nstate = {state:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {socket:?}\n",
            root = home.join("root"),
            state = run_folder(scratch, "containerd")?,
        );
        std::fs::write(&config, text)?;
        let command = vec![OsString::from("containerd"), "--config".into(), config.into(), "--log-level".into(), "error".into()];
        let mut daemon = Daemon::new(home, socket.clone(), None, command);
        let first = daemon.start().await?;
        let containerd = Containerd { daemon, socket: socket.to_string_lossy().into_owned() };
        containerd.ctr(&["images", "import", &archive.to_string_lossy()])?;
        Ok((containerd, first))
    }

    fn ctr(&self, arguments: &[&str]) -> Result<(), Fault> {
        let output = Command::new("ctr").args(["--address", &self.socket]).args(arguments).output()?;
        if output.status.success() { Ok(()) } else { Err(format!("ctr: {}", String::from_utf8_lossy(&output.stderr).trim()).into()) }
    }

    /// What runs one container and removes it.
    pub(crate) fn run_command(&self, image: &str) -> Vec<String> {
        let cgroup = format!("/{}/ctr", leftovers::cgroup_parent());
        let words =
            ["ctr", "--address", &self.socket, "run", "--rm", "--seccomp", "--null-io", "--cgroup", &cgroup, image, "bench", "true"];
        words.map(str::to_owned).to_vec()
    }
}
