//! Files of a container, out and in as a tar: CopyOut, CopyIn.
//!
//! ```text
//!  trusted half                                         confined half (see confine)
//!    the container's tree: a copy of its mounts from its     root = that tree, nosuid, nodev, noexec
//!    shim, or, when it is at rest, an overlay of our own     ids  = those of the container's user namespace
//!    (see tree); detached, so nobody else ever sees it       a tar out, or the members of one in
//! ```
//!
//! Nothing of the image is run or loaded (CVE-2019-14271), and there is no moment between looking at a path and using it in which a program of
//! the container could make it lead elsewhere (CVE-2018-15664): the tree is all that the confined half can reach, and each path is resolved in
//! it by openat2(2). What is mounted goes away with the last descriptor, so with these processes, whatever ends them.

mod out;
mod path;
mod tree;

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::fcntl::OFlag;

use super::failed;
use super::half;
use crate::config::{ContainerConfig, PodConfig, check_container, check_pod};
use crate::crash_point;
use crate::error::{RuntimeError, SysError};
use crate::image::{Destination, Extracted, extract};
use crate::protocol::{LauncherAnswer, write_frame};
use crate::rundir::Layout;
use path::InnerPath;
use tree::Tree;

/// How long a client may take or send nothing: it may itself be waiting for a slow network.
const STALL: Duration = Duration::from_secs(120);

/// A container, as it is or would be started.
#[derive(Debug)]
pub struct Source<'a> {
    pub layout: &'a Layout,
    pub pod: &'a PodConfig,
    pub container: &'a ContainerConfig,
}

/// Sends what is at `path` and all below it. None when the answer is on the connection already, good or bad: it comes after the tar.
pub fn copy_out(connection: &UnixStream, source: &Source<'_>, path: &str, stat_only: bool) -> Result<Option<LauncherAnswer>, RuntimeError> {
    let path = prepare(connection, source, path)?;
    let tree = Tree::of(source)?;
    crash_point!("worker.copy.tree");
    half::in_cell(tree.cell(), None, connection.as_fd(), |confined| {
        let found = out::find(confined.root.as_fd(), &path)?;
        if stat_only {
            return Ok(Some(found.stat));
        }
        // The connection is the one thing of the host's that is left here.
        let mut to = connection;
        write_frame(&mut to, &LauncherAnswer::PathFound { stat: found.stat.clone() })
            .map_err(|error| failed("copy")(SysError::io("write", "connection", &error)))?;
        let outcome = out::send(found, &mut to);
        let last = outcome.map_or_else(|error| LauncherAnswer::Failed { error }, |()| LauncherAnswer::Done);
        // A client that hung up is told nothing more.
        let _ = to.write_all(&[0; 4]).and_then(|()| write_frame(&mut to, &last));
        Ok(None)
    })
    .map(|stat| stat.map(|stat| LauncherAnswer::PathFound { stat }))
}

/// Puts the members of the tar that comes on the connection into the folder `path`.
pub fn copy_in(connection: &UnixStream, source: &Source<'_>, path: &str, keep_kinds: bool) -> Result<LauncherAnswer, RuntimeError> {
    let path = prepare(connection, source, path)?;
    let tree = Tree::of(source)?;
    crash_point!("worker.copy.tree");
    let Extracted { entries, bytes } = half::in_cell(tree.cell(), None, connection.as_fd(), |confined| {
        let root = confined.root.try_clone().map_err(|error| failed("copy")(SysError::io("fcntl", "root", &error)))?;
        let folder = out::open_folder(root.as_fd(), &path, OFlag::O_RDONLY)?;
        Ok(extract(connection, &Destination { root, folder, path: path.whole(), keep_kinds })?)
    })?;
    Ok(LauncherAnswer::Copied { entries, bytes })
}

fn prepare(connection: &UnixStream, source: &Source<'_>, path: &str) -> Result<InnerPath, RuntimeError> {
    check_pod(source.pod)?;
    check_container(source.pod, source.container)?;
    let timeouts = connection.set_read_timeout(Some(STALL)).and_then(|()| connection.set_write_timeout(Some(STALL)));
    timeouts.map_err(|error| failed("copy")(SysError::io("setsockopt", "SO_RCVTIMEO", &error)))?;
    InnerPath::parse(path)
}
