//! The engines that are measured: Berth, and podman and Docker where they are installed; each a server of the probe's own.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::daemon::Daemon;
use crate::engine::{Engine, Face};
use crate::{Fault, leftovers};

fn folder(scratch: &Path, name: &str) -> Result<PathBuf, Fault> {
    let folder = scratch.join(name);
    std::fs::create_dir_all(&folder)?;
    // Berth's control plane is a plain user, who must be able to pass through.
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755))?;
    Ok(folder)
}

/// For what an engine keeps while it runs, below /run as in an installed one: on machines with systemd, and by `scripts/bench`, that is in memory.
pub(crate) fn run_folder(scratch: &Path, name: &str) -> Result<PathBuf, Fault> {
    folder(&run_folders(scratch), name)
}

/// All of them: bears the name of the run's own folder.
pub(crate) fn run_folders(scratch: &Path) -> PathBuf {
    Path::new("/run").join(scratch.file_name().unwrap_or_default())
}

/// A command line: words, options with files of the engine's folder, and words again.
fn command(before: &str, home: &Path, files: &[(&str, &str)], after: &[&str]) -> Vec<OsString> {
    let mut words: Vec<OsString> = before.split(' ').map(OsString::from).collect();
    for (option, file) in files {
        // A whole path stays one.
        words.extend([OsString::from(option), home.join(file).into()]);
    }
    words.extend(after.iter().map(OsString::from));
    words
}

pub(crate) fn berth(scratch: &Path, program: &Path) -> Result<Engine, Fault> {
    let home = folder(scratch, "berth")?;
    let run = run_folder(scratch, "berth")?;
    let socket = run.join("berth.sock");
    let run = run.to_string_lossy();
    let mut command = command("serve", &home, &[("--data-dir", "data"), ("--run-dir", &run)], &["--listen", "127.0.0.1:0"]);
    command.insert(0, program.into());
    Ok(Engine { name: "Berth", daemon: Daemon::new(home, socket, Some("/readyz"), command), face: Face::Berth })
}

/// With folders of its own, cgroups by itself (not by systemd), and no events in a journal.
pub(crate) async fn podman(scratch: &Path, image: &[u8]) -> Result<(Engine, Duration), Fault> {
    let home = folder(scratch, "podman")?;
    let socket = home.join("podman.sock");
    let address = format!("unix://{}", socket.display());
    let run = run_folder(scratch, "podman")?;
    let (runroot, tmpdir) = (run.join("run").to_string_lossy().into_owned(), run.join("tmp").to_string_lossy().into_owned());
    let folders = [("--root", "root"), ("--runroot", &runroot[..]), ("--tmpdir", &tmpdir[..])];
    let options = ["--cgroup-manager", "cgroupfs", "--events-backend", "file", "--log-level", "error"];
    let service = ["system", "service", "--time=0", &address];
    let mut command = command("--exec podman", &home, &folders, &[&options[..], &service[..]].concat());
    command.insert(0, env!("BERTH_FLOOR").into());
    let daemon = Daemon::new(home, socket, Some("/_ping"), command);
    let mut engine = Engine { name: "podman", daemon, face: Face::Podman { limits: json!([]) } };
    let first = engine.daemon.start().await?;
    engine.face = Face::Podman { limits: limits_of(engine.daemon.pid()?)? };
    tried(engine, first, image).await
}

/// The limits that the service itself has: containers may have no more where raising is not allowed.
fn limits_of(pid: i32) -> Result<serde_json::Value, Fault> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let limit = |name: &str, kind: &str| {
        let soft_and_hard = text.lines().find_map(|line| line.strip_prefix(name))?;
        let mut numbers = soft_and_hard.split_whitespace().map(str::parse::<u64>);
        Some(json!({"type": kind, "soft": numbers.next()?.ok()?, "hard": numbers.next()?.ok()?}))
    };
    Ok([limit("Max open files", "nofile"), limit("Max processes", "nproc")].into_iter().flatten().collect())
}

/// With folders of its own, a containerd of its own below it, and no bridge and no rules of packet filters.
pub(crate) async fn docker(scratch: &Path, image: &[u8]) -> Result<(Engine, Duration), Fault> {
    let home = folder(scratch, "docker")?;
    let socket = home.join("docker.sock");
    let address = format!("unix://{}", socket.display());
    let exec = run_folder(scratch, "docker")?.to_string_lossy().into_owned();
    let files = [("--data-root", "data"), ("--exec-root", &exec[..]), ("--pidfile", "pid"), ("--config-file", "daemon.json")];
    let options = ["--host", &address, "--bridge", "none", "--iptables=false", "--ip-forward=false", "--log-level", "error"];
    let command = command("dockerd", &home, &files, &options);
    std::fs::write(home.join("daemon.json"), "{}")?;
    let face = Face::Docker { cgroup_parent: format!("/{}", leftovers::cgroup_parent()) };
    let mut engine = Engine { name: "docker", daemon: Daemon::new(home, socket, Some("/_ping"), command), face };
    let first = engine.daemon.start().await?;
    tried(engine, first, image).await
}

/// One container, so that an engine that cannot run any on this host says why before the measuring begins.
async fn tried(mut engine: Engine, first: Duration, image: &[u8]) -> Result<(Engine, Duration), Fault> {
    let attempt = async {
        let mut session = engine.session().await?;
        session.import(image.to_vec()).await?;
        session.create("first", &["true"]).await?;
        session.start("first").await?;
        session.wait("first").await?;
        session.delete("first").await
    };
    match attempt.await {
        Ok(()) => Ok((engine, first)),
        Err(error) => {
            // The first error is the one to tell.
            let _ = engine.end().await;
            Err(error)
        }
    }
}
