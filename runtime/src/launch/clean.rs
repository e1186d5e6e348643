//! What a dead shim left: found by name, killed, removed. And the list of all run dirs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Launcher;
use crate::cgroup;
use crate::crash_point;
use crate::error::{RuntimeError, SetupError, SysError};
use crate::id::PodId;
use crate::rundir::try_lock;
use crate::status::{PodReport, RunDirEntry};
use crate::worker;

/// Most bytes of a state file: it is written by a shim of ours, but read by root.
const MAX_STATE: u64 = 1 << 20;

fn failed(stage: &'static str) -> impl Fn(SysError) -> RuntimeError {
    move |error| RuntimeError::Setup(SetupError::new(stage, &error))
}

/// Kills and removes everything of a sandbox whose shim is gone; with `data`, also its files. Refuses while a shim lives. Doing it twice is
/// doing it once.
pub(super) fn clean(launcher: &Launcher, pod: &PodId, data: bool) -> Result<(), RuntimeError> {
    let run = launcher.layout.run(pod);
    if run.path().exists() {
        let lock = try_lock(&run.lock()).map_err(failed("run-dir"))?;
        if lock.is_none() {
            return Err(RuntimeError::Conflict { message: format!("the sandbox {pod} has a living shim") });
        }
    }
    cgroup::clean(&launcher.hierarchies, &launcher.layout.instance, pod, Instant::now() + Duration::from_secs(10))
        .map_err(failed("cgroup"))?;
    crash_point!("launch.clean.cgroup");
    worker::remove_tree(run.path()).map_err(failed("run-dir"))?;
    if data {
        crash_point!("launch.clean.run-dir");
        worker::remove_tree(launcher.layout.data(pod).path()).map_err(failed("data"))?;
    }
    Ok(())
}

/// The files of a sandbox of which nothing else is left, out of sight by one rename: quick enough for the launcher itself. None when there
/// is more to do. What it answers is to be removed; a crash before leaves it to the next sweep.
pub(super) fn throw_away(launcher: &Launcher, pod: &PodId) -> Option<PathBuf> {
    let nothing_else = !launcher.layout.run(pod).path().exists() && !cgroup::exists(&launcher.hierarchies, &launcher.layout.instance, pod);
    if nothing_else { worker::out_of_sight(launcher.layout.data(pod).path()) } else { None }
}

pub(super) fn list(launcher: &Launcher) -> Result<Vec<RunDirEntry>, RuntimeError> {
    let dir = launcher.layout.pods_run_dir();
    let entries = std::fs::read_dir(&dir).map_err(|error| failed("run-dir")(SysError::io("opendir", dir.display(), &error)))?;
    let mut found: Vec<RunDirEntry> = Vec::new();
    for name in entries.flatten().map(|entry| entry.file_name()) {
        let Some(pod) = name.to_str().and_then(|name| name.parse::<PodId>().ok()) else { continue };
        let run = launcher.layout.run(&pod);
        // Released at once when it is dropped here: a look, not a claim.
        let alive = run.lock().exists() && try_lock(&run.lock()).map_err(failed("run-dir"))?.is_none();
        found.push(RunDirEntry { pod, alive, last: read_state(&run.state()) });
    }
    // Orphans without a run dir: a cgroup is enough.
    for pod in cgroup::pods(&launcher.hierarchies, &launcher.layout.instance) {
        if !found.iter().any(|entry| entry.pod == pod) {
            found.push(RunDirEntry { pod, alive: false, last: None });
        }
    }
    Ok(found)
}

fn read_state(path: &std::path::Path) -> Option<PodReport> {
    use std::io::Read;
    let mut text = Vec::new();
    std::fs::File::open(path).ok()?.take(MAX_STATE).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
