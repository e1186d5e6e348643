//! What runs beside Berth: the bare floor, and other runtimes where they are installed. Each waits on a pipe and does its thing once a line, so
//! that measuring can alternate.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Fault;
use crate::figures::{Samples, Table, not_measured};
use crate::size::installed;

/// One thing to compare with.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) samples: Samples,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Peer {
    fn start(name: &str, arguments: &[String]) -> Result<Peer, Fault> {
        let mut command = Command::new(env!("BERTH_FLOOR"));
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().ok_or("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Peer { name: name.to_owned(), samples: Samples::default(), child, stdin, stdout })
    }

    /// Started, and done once without counting.
    fn tried(name: &str, arguments: &[String]) -> Result<Peer, Fault> {
        let mut peer = Peer::start(name, arguments)?;
        peer.once()?;
        Ok(peer)
    }

    /// Any program, timed from fork to exit.
    pub(crate) fn program(name: &str, command: &[String]) -> Result<Peer, Fault> {
        let mut arguments = vec!["--run".to_owned()];
        arguments.extend_from_slice(command);
        Peer::tried(name, &arguments)
    }

    /// Does it once; what it said when it failed is the error.
    fn once(&mut self) -> Result<Duration, Fault> {
        writeln!(self.stdin)?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        if let Ok(nanos) = line.trim().parse() {
            return Ok(Duration::from_nanos(nanos));
        }
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said)?;
        }
        Err(format!("{}: {}", self.name, said.trim()).into())
    }

    /// Does it once and counts it.
    pub(crate) fn measure(&mut self) -> Result<(), Fault> {
        let took = self.once()?;
        self.samples.add(took);
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The floor, and the runtimes that need no daemon; what does not run is said and left out.
pub(crate) fn peers(scratch: &Path, rootfs: &Path, table: &mut Table) -> Result<Vec<Peer>, Fault> {
    let folder = |name: &str| -> Result<String, Fault> {
        let folder = scratch.join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder.to_string_lossy().into_owned())
    };
    let root = rootfs.to_string_lossy().into_owned();
    let mut wanted = vec![("floor".to_owned(), vec![root.clone(), folder("floor")?])];
    let hierarchies = v1_hierarchies()?;
    if !hierarchies.is_empty() {
        let arguments = [root.clone(), folder("floor-v1")?].into_iter().chain(hierarchies.iter().cloned());
        wanted.push((format!("floor with {} v1 cgroups", hierarchies.len()), arguments.collect()));
    }
    let bundle = folder("bundle")?;
    std::fs::write(Path::new(&bundle).join("config.json"), oci_config(&root).to_string())?;
    for runtime in ["crun", "runc"] {
        let words = ["--run", runtime, "run", "--bundle", &bundle, &format!("berth-bench-{runtime}")].map(str::to_owned);
        if installed(runtime) {
            wanted.push((format!("{runtime} run"), words.to_vec()));
        } else {
            table.absent(runtime, "not installed");
        }
    }
    let mut peers = Vec::new();
    for (name, arguments) in wanted {
        match Peer::tried(&name, &arguments) {
            Ok(peer) => peers.push(peer),
            Err(error) => table.absent(&name, &not_measured(&error)),
        }
    }
    Ok(peers)
}

/// Mount points of the v1 controllers that a container joins.
fn v1_hierarchies() -> Result<Vec<String>, Fault> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).filter(|fields| fields.len() > 3 && fields[2] == "cgroup");
    let controllers = lines.filter(|fields| !fields[3].contains("name="));
    Ok(controllers.map(|fields| fields[1].to_owned()).take(16).collect())
}

/// The smallest configuration of the OCI runtime specification that gives what the floor gives: the same namespaces and program.
fn oci_config(root: &str) -> Value {
    let namespaces: Vec<Value> = ["pid", "network", "ipc", "uts", "mount", "cgroup"].iter().map(|kind| json!({"type": kind})).collect();
    json!({
        "ociVersion": "1.0.2", "hostname": "bench", "root": {"path": root, "readonly": true},
        "process": {"terminal": false, "user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "env": ["PATH=/bin"], "cwd": "/", "noNewPrivileges": true},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
        ],
        "linux": {"namespaces": namespaces},
    })
}

/// Unpacks the image for those that have no image store.
pub(crate) fn unpack(tar: &[u8], into: &Path) -> Result<PathBuf, Fault> {
    let rootfs = into.join("rootfs");
    std::fs::create_dir_all(&rootfs)?;
    let mut child = Command::new("tar").arg("--extract").arg("--directory").arg(&rootfs).stdin(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or("no stdin")?.write_all(tar)?;
    if child.wait()?.success() { Ok(rootfs) } else { Err("tar failed".into()) }
}
