//! The tree of a container's files: a copy of its mounts while it runs, an overlay of our own while it is at rest.
//!
//! Two overlays over one upper folder would damage it, so whoever has one says so before looking whether another has: a worker locks
//! `copy.lock` in the sandbox's lasting folder and then looks for a shim and a run dir; the launcher makes the run dir and then looks at the
//! lock (`launch::start`). So the next start waits for a copy, also for one that began while the container ran: its mounts are kept by it.

use std::fs::File;
use std::io::{Cursor, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::super::confine::{Cell, Ids};
use super::super::failed;
use super::Source;
use crate::config::{IdMap, NamespaceMode};
use crate::error::{RuntimeError, SysError};
use crate::protocol::{Numbered, ShimAnswer, ShimMessage, ShimRequest, encode, read_frame};
use crate::rootfs::{self, HostSide};
use crate::rundir::{make_dir, try_lock, try_lock_shared};
use crate::shim::join;
use crate::sys::process::{self, CloneFlags, Cloned};
use crate::sys::{namespace, socket};
use crate::trace::Trace;

/// How long a shim may take to answer, and one whose container has ended to go.
const DEADLINE: Duration = Duration::from_secs(10);
/// Each level of folders holds one on the way out.
const DESCRIPTORS: u64 = 1024;

pub(super) struct Tree {
    cell: Cell,
    /// Nobody starts the container meanwhile.
    _lock: File,
}

impl Tree {
    pub(super) fn of(source: &Source<'_>) -> Result<Self, RuntimeError> {
        let data = source.layout.data(&source.pod.id);
        // One that was never started has none yet.
        make_dir(data.path(), 0o710, Some((0, source.layout.gid))).map_err(failed("tree"))?;
        let shared = locked(try_lock_shared(&data.copy_lock()))?;
        if let Some(cell) = of_shim(source)? {
            return Ok(Tree { cell, _lock: shared });
        }
        // Let go of first: of two that come at once each would keep the other from having it alone.
        drop(shared);
        let lock = claim(source)?;
        Ok(Tree { cell: at_rest(source)?, _lock: lock })
    }

    pub(super) fn cell(&self) -> &Cell {
        &self.cell
    }
}

fn cell(view: OwnedFd, ids: Ids) -> Cell {
    Cell { view, mounts: Vec::new(), read_only: false, ids, file_bytes: None, descriptors: DESCRIPTORS }
}

/// From the shim of a container that runs. None when there is no shim; one whose container has ended is on its way out and is waited for.
fn of_shim(source: &Source<'_>) -> Result<Option<Cell>, RuntimeError> {
    let call = |call: &'static str| move |error: std::io::Error| failed("tree")(SysError::io(call, "shim", &error));
    let mut shim = match UnixStream::connect(source.layout.run(&source.pod.id).socket()) {
        Ok(shim) => shim,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) => return Err(call("connect")(error)),
    };
    let bounded = shim.set_read_timeout(Some(DEADLINE)).and_then(|()| shim.set_write_timeout(Some(DEADLINE)));
    bounded.map_err(call("setsockopt"))?;
    let request = Numbered { id: 1, body: ShimRequest::Tree { container: source.container.name.clone() } };
    let sent = encode(&request).and_then(|frame| shim.write_all(&frame));
    let mut buffer = vec![0; 64 << 10];
    let received = sent.map_err(call("write")).and_then(|()| socket::receive(&shim, &mut buffer).map_err(failed("tree")));
    let (length, descriptors) = match received {
        // It went while it was asked.
        Ok((0, _)) | Err(_) if gone(&shim, Duration::ZERO) => return Ok(None),
        other => other?,
    };
    let answer: Option<ShimMessage> = read_frame(&mut Cursor::new(&buffer[..length])).map_err(call("read"))?;
    let Some(ShimMessage::Answer { body, .. }) = answer else {
        return Err(RuntimeError::Protocol { message: "the shim answered something else".into() });
    };
    let mut descriptors = descriptors.into_iter();
    match (body, descriptors.next(), descriptors.next()) {
        (ShimAnswer::Tree, Some(view), None) => Ok(Some(cell(view, Ids::Root))),
        // Mount points are there already: whose they would be does not matter.
        (ShimAnswer::Tree, Some(view), Some(user_namespace)) => Ok(Some(cell(view, Ids::RootOf { user_namespace, root: (0, 0) }))),
        (ShimAnswer::Failed { error: RuntimeError::Conflict { .. } | RuntimeError::NotFound { .. } }, ..) if gone(&shim, DEADLINE) => {
            Ok(None)
        }
        (ShimAnswer::Failed { error: RuntimeError::NotFound { .. } }, ..) => {
            Err(RuntimeError::Conflict { message: "the container is being started".into() })
        }
        (ShimAnswer::Failed { error }, ..) => Err(error),
        _ => Err(RuntimeError::Protocol { message: "the shim answered something else".into() }),
    }
}

/// Whether the shim has hung up, or does so within this time.
fn gone(shim: &UnixStream, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        // It has nothing more to say: what can be read is the end.
        let mut polled = [PollFd::new(shim.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, timeout) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}

/// Takes the files of a container at rest for this worker alone.
fn claim(source: &Source<'_>) -> Result<File, RuntimeError> {
    let lock = locked(try_lock(&source.layout.data(&source.pod.id).copy_lock()))?;
    if source.layout.run(&source.pod.id).path().exists() {
        return Err(RuntimeError::Busy { message: "the container is being started or cleared away".into() });
    }
    Ok(lock)
}

fn locked(lock: Result<Option<File>, SysError>) -> Result<File, RuntimeError> {
    let busy = || RuntimeError::Busy { message: "files of this container, which does not run, are being copied already".into() };
    lock.map_err(failed("tree"))?.ok_or_else(busy)
}

/// As a start would make it: the overlay, and the user's mounts that keep anything (a tmpfs is empty until there is a program).
fn at_rest(source: &Source<'_>) -> Result<Cell, RuntimeError> {
    let Source { layout, pod, container } = source;
    let user_namespace = user_namespace(source)?;
    let (run, data) = (layout.run(&pod.id), layout.data(&pod.id));
    let host = HostSide {
        layout,
        run: &run,
        data: &data,
        container,
        user_namespace: user_namespace.as_ref().map(|(fd, map)| (fd.as_fd(), *map)),
        joined_shm: None,
        devices: &[],
        tty: false,
    };
    let plan = rootfs::lasting_mounts(container);
    let mut made = rootfs::make(&host, &plan, &mut Trace::new("worker")).map_err(failed("tree"))?.into_iter();
    let view = made.next().ok_or_else(|| failed("tree")(SysError::new("fsmount", "overlay", Errno::EBADF)))?;
    let mounts = plan.into_iter().zip(made).map(|(attachment, mount)| (attachment.target, attachment.directory, mount)).collect();
    let ids = match user_namespace {
        Some((user_namespace, map)) => Ids::RootOf { user_namespace, root: (map.base, map.base) },
        None => Ids::Root,
    };
    Ok(Cell { mounts, read_only: container.rootfs.read_only, ..cell(view, ids) })
}

/// One with the container's map, where it has one of its own; that of the container that it joins.
fn user_namespace(source: &Source<'_>) -> Result<Option<(OwnedFd, IdMap)>, RuntimeError> {
    match (&source.pod.namespaces.user, source.pod.id_map) {
        (NamespaceMode::Private, Some(map)) => mapped(map).map(|fd| Some((fd, map))).map_err(failed("tree")),
        (NamespaceMode::Join { .. }, _) => {
            let mut joined = join::gather(source.layout, source.pod)?;
            Ok(joined.namespaces.remove("user").zip(joined.id_map))
        }
        _ => Ok(None),
    }
}

/// A user namespace lives as long as a descriptor of it; a process must be in it to make it, but not to keep it.
fn mapped(map: IdMap) -> Result<OwnedFd, SysError> {
    let (ours, theirs) = socket::packet_pair()?;
    match process::clone3(CloneFlags(CloneFlags::NEWUSER), None)? {
        Cloned::Child => {
            drop(ours);
            // Until the other end closes.
            let _ = socket::receive(&theirs, &mut [0; 1]);
            process::exit_now(0)
        }
        Cloned::Parent(child) => {
            drop(theirs);
            let text = format!("0 {} {}", map.base, map.size);
            let made = ["uid_map", "gid_map"]
                .iter()
                .try_for_each(|file| {
                    let path = format!("/proc/{}/{file}", child.pid);
                    std::fs::write(&path, &text).map_err(|error| SysError::io("write", &path, &error))
                })
                .and_then(|()| namespace::open(format!("/proc/{}/ns/user", child.pid).as_ref()));
            drop(ours);
            process::reap(child.pidfd.as_fd())?;
            made
        }
    }
}
