//! Starting a shim: intent on disk, folders, the socket, then the fork.

use std::fmt::Write;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};

use super::{Launcher, give_to_control_plane};
use crate::config::{NamespaceMode, PodConfig, check_pod};
use crate::crash_point;
use crate::error::{RuntimeError, SetupError, SysError};
use crate::rundir::{make_dir, replace_file, try_lock};
use crate::shim::{self, Sandbox};
use crate::sys::process::Cloned;
use crate::sys::{process, signal};

/// Answers the shim's pid once its socket accepts connections.
pub(super) fn start(launcher: &Launcher, config: PodConfig, listener: &UnixListener, connection: &UnixStream) -> Result<i32, RuntimeError> {
    check_pod(&config)?;
    let run = launcher.layout.run(&config.id);
    match std::fs::DirBuilder::new().create(run.path()) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(RuntimeError::Conflict { message: format!("the sandbox {} has a run dir already", config.id) });
        }
        Err(error) => return Err(setup(SysError::io("mkdir", run.path().display(), &error))),
    }
    let outcome = furnish_and_fork(launcher, config, listener, connection);
    if outcome.is_err() {
        let _ = std::fs::remove_dir_all(run.path());
    }
    outcome
}

fn setup(error: SysError) -> RuntimeError {
    RuntimeError::Setup(SetupError::new("run-dir", &error))
}

fn furnish_and_fork(launcher: &Launcher, config: PodConfig, listener: &UnixListener, connection: &UnixStream) -> Result<i32, RuntimeError> {
    let layout = &launcher.layout;
    let (run, data) = (layout.run(&config.id), layout.data(&config.id));
    let group = Some((0, layout.gid));
    std::os::unix::fs::chown(run.path(), Some(0), Some(layout.gid))
        .map_err(|error| setup(SysError::io("chown", run.path().display(), &error)))?;
    set_mode(run.path(), 0o710)?;
    // The intent, before anything that it names is made.
    let intent = serde_json::to_vec(&config).unwrap_or_default();
    replace_file(&run.config(), &intent, 0o600, None).map_err(setup)?;
    crash_point!("launch.start.intent");
    make_dir(data.path(), 0o710, group).map_err(setup)?;
    // The run dir is there: a worker that comes now sees it, and one that came before is seen here.
    if data.copy_lock().exists() && try_lock(&data.copy_lock()).map_err(setup)?.is_none() {
        return Err(RuntimeError::Busy { message: "files of the container are being copied".into() });
    }
    make_dir(&data.path().join("logs"), 0o710, group).map_err(setup)?;
    make_dir(&run.path().join("etc"), 0o700, None).map_err(setup)?;
    write_etc(&config, &run)?;
    let lock = try_lock(&run.lock()).map_err(setup)?;
    let lock = lock.ok_or_else(|| RuntimeError::Conflict { message: format!("the sandbox {} has a shim already", config.id) })?;
    let socket = run.socket();
    let accepting = UnixListener::bind(&socket).map_err(|error| setup(SysError::io("bind", socket.display(), &error)))?;
    give_to_control_plane(&socket, layout).map_err(setup)?;
    crash_point!("launch.start.fork");
    let sandbox = Sandbox { layout: layout.clone(), run, data, config, hierarchies: launcher.hierarchies.clone(), lock };
    match process::fork().map_err(setup)? {
        Cloned::Parent(child) => Ok(child.pid),
        Cloned::Child => become_shim(launcher, sandbox, accepting, listener, connection),
    }
}

/// In the child: nothing of the launcher stays open but what the shim needs.
fn become_shim(launcher: &Launcher, sandbox: Sandbox, accepting: UnixListener, listener: &UnixListener, connection: &UnixStream) -> ! {
    let null = std::fs::File::open("/dev/null");
    let prepared = signal::reset_all()
        .and_then(|()| null.map_err(|error| SysError::io("open", "/dev/null", &error)))
        .and_then(|null| process::dup_to(null.as_fd(), 0))
        .and_then(|()| process::dup_to(launcher.log.as_fd(), 1))
        .and_then(|()| process::dup_to(launcher.log.as_fd(), 2))
        .and_then(|()| process::close_inherited(listener.as_fd()))
        .and_then(|()| process::close_inherited(connection.as_fd()));
    match prepared {
        Ok(()) => shim::run(sandbox, accepting),
        Err(error) => {
            tracing::error!(error = %error, source = %error.source, "shim does not start");
            process::exit_now(1)
        }
    }
}

fn set_mode(path: &std::path::Path, mode: u32) -> Result<(), RuntimeError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|error| setup(SysError::io("chmod", path.display(), &error)))
}

/// The files that Docker and the kubelet mount over those of the image. Owned by root inside, so that the container may edit its own.
fn write_etc(config: &PodConfig, run: &crate::rundir::RunDir) -> Result<(), RuntimeError> {
    let own = config.namespaces.network != NamespaceMode::Host;
    let mut hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
    if own {
        let _ = writeln!(hosts, "127.0.1.1\t{}", config.hostname);
    }
    for alias in &config.host_aliases {
        let _ = writeln!(hosts, "{}\t{}", alias.ip, alias.hostnames.join(" "));
    }
    let resolv = match &config.dns {
        Some(servers) => servers.iter().map(|address| format!("nameserver {address}\n")).collect(),
        None => std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
    };
    for (file, text) in [("hosts", hosts), ("hostname", format!("{}\n", config.hostname)), ("resolv.conf", resolv)] {
        let path = run.etc(file);
        std::fs::write(&path, text).map_err(|error| setup(SysError::io("write", path.display(), &error)))?;
        set_mode(&path, 0o644)?;
        if let Some(map) = config.id_map {
            std::os::unix::fs::chown(&path, Some(map.base), Some(map.base))
                .map_err(|error| setup(SysError::io("chown", path.display(), &error)))?;
        }
    }
    Ok(())
}
