//! Namespaces of another sandbox, as descriptors from its shim.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sched::CloneFlags as Namespace;
use nix::sys::stat::Mode;

use crate::config::{IdMap, NamespaceMode, PodConfig};
use crate::error::{RuntimeError, SetupError, SysError};
use crate::id::PodId;
use crate::protocol::{Numbered, ShimAnswer, ShimMessage, ShimRequest, encode, read_frame};
use crate::rundir::Layout;
use crate::sys::mount::{Reach, clone_tree};
use crate::sys::process::{Child, Cloned};
use crate::sys::{namespace, process, socket};

/// How long a neighbour's shim may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// What another sandbox handed over.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// By the names of /proc/PID/ns: `net`, `pid`, `ipc`, `uts`, `user`.
    pub(crate) namespaces: BTreeMap<&'static str, OwnedFd>,
    pub(crate) id_map: Option<IdMap>,
    pub(super) shm: Option<OwnedFd>,
}

/// The kinds that can be joined, their flag, and how the configuration names them. `user` first: the rights to join the others come with it.
const KINDS: [(&str, Namespace); 5] = [
    ("user", Namespace::CLONE_NEWUSER),
    ("net", Namespace::CLONE_NEWNET),
    ("ipc", Namespace::CLONE_NEWIPC),
    ("uts", Namespace::CLONE_NEWUTS),
    ("pid", Namespace::CLONE_NEWPID),
];

fn mode_of<'a>(pod: &'a PodConfig, kind: &str) -> &'a NamespaceMode {
    match kind {
        "user" => &pod.namespaces.user,
        "net" => &pod.namespaces.network,
        "ipc" => &pod.namespaces.ipc,
        "uts" => &pod.namespaces.uts,
        _ => &pod.namespaces.pid,
    }
}

/// Asks each sandbox that the configuration joins.
pub(crate) fn gather(layout: &Layout, pod: &PodConfig) -> Result<Joined, RuntimeError> {
    let mut joined = Joined::default();
    let mut wanted: BTreeMap<&PodId, Vec<&'static str>> = BTreeMap::new();
    for (kind, _) in KINDS {
        if let NamespaceMode::Join { pod } = mode_of(pod, kind) {
            wanted.entry(pod).or_default().push(kind);
        }
    }
    for (target, kinds) in wanted {
        ask(layout, target, &kinds, &mut joined)?;
    }
    Ok(joined)
}

fn ask(layout: &Layout, target: &PodId, kinds: &[&'static str], joined: &mut Joined) -> Result<(), RuntimeError> {
    let gone = |detail: String| RuntimeError::Conflict { message: format!("the sandbox {target} cannot be joined: {detail}") };
    let mut stream = UnixStream::connect(layout.run(target).socket()).map_err(|error| gone(format!("it is not running ({error})")))?;
    let bounded = stream.set_read_timeout(Some(DEADLINE)).and_then(|()| stream.set_write_timeout(Some(DEADLINE)));
    bounded.map_err(|error| gone(error.to_string()))?;
    let request = Numbered { id: 1, body: ShimRequest::Join { kinds: kinds.iter().map(|&kind| kind.to_owned()).collect() } };
    let frame = encode(&request).map_err(|error| gone(error.to_string()))?;
    stream.write_all(&frame).map_err(|error| gone(error.to_string()))?;
    let mut buffer = vec![0; 64 << 10];
    let (length, descriptors) = socket::receive(&stream, &mut buffer).map_err(|error| gone(error.to_string()))?;
    let message: Option<ShimMessage> = read_frame(&mut Cursor::new(&buffer[..length])).map_err(|error| gone(error.to_string()))?;
    match message {
        Some(ShimMessage::Answer { body: ShimAnswer::Joined { kinds: given, id_map }, .. }) if given.len() == descriptors.len() => {
            joined.id_map = joined.id_map.or(id_map);
            for (kind, descriptor) in given.iter().zip(descriptors) {
                if kind == "shm" {
                    joined.shm = Some(descriptor);
                } else if let Some((name, _)) = KINDS.iter().find(|(name, _)| name == kind) {
                    joined.namespaces.insert(name, descriptor);
                }
            }
            Ok(())
        }
        Some(ShimMessage::Answer { body: ShimAnswer::Failed { error }, .. }) => Err(gone(error.to_string())),
        other => Err(gone(format!("unexpected answer {other:?}"))),
    }
}

impl Joined {
    /// In the process that is to be the parent inside: joins all of them, the user namespace first.
    pub(super) fn enter(&self) -> Result<(), SysError> {
        for (kind, flag) in KINDS {
            if let Some(descriptor) = self.namespaces.get(kind) {
                namespace::join(descriptor, flag)?;
            }
        }
        Ok(())
    }
}

/// The other side: descriptors of the namespaces of the container behind `init`, for a neighbour's shim.
pub(super) fn give(init: &Child, kinds: &[String]) -> Result<(Vec<String>, Vec<OwnedFd>), RuntimeError> {
    let mut names = Vec::new();
    let mut descriptors = Vec::new();
    let fail = |error: SysError| RuntimeError::Setup(SetupError::new("join", &error));
    for kind in kinds {
        if !KINDS.iter().any(|(name, _)| name == kind) {
            return Err(RuntimeError::Invalid { path: "/kinds".into(), message: format!("{kind:?} is no namespace that can be joined") });
        }
        descriptors.push(namespace::open(format!("/proc/{}/ns/{kind}", init.pid).as_ref()).map_err(fail)?);
        names.push(kind.clone());
        if kind == "ipc" {
            descriptors.push(shared_memory(init).map_err(fail)?);
            names.push("shm".into());
        }
    }
    Ok((names, descriptors))
}

/// For a worker that copies files: the container's whole tree, and its user namespace.
pub(super) fn give_tree(init: &Child, own_users: bool) -> Result<Vec<OwnedFd>, RuntimeError> {
    let fail = |error: SysError| RuntimeError::Setup(SetupError::new("tree", &error));
    let mut descriptors = vec![copy_of_mount(init, "/", Reach::Recursive).map_err(fail)?];
    if own_users {
        descriptors.push(namespace::open(format!("/proc/{}/ns/user", init.pid).as_ref()).map_err(fail)?);
    }
    Ok(descriptors)
}

fn shared_memory(init: &Child) -> Result<OwnedFd, SysError> {
    copy_of_mount(init, "/dev/shm", Reach::One)
}

/// A detached copy of what the container has mounted at `path`. A mount can be copied only by a process of its own mount namespace
/// (open_tree(2)), so a child goes there and sends the copy back.
fn copy_of_mount(init: &Child, path: &'static str, reach: Reach) -> Result<OwnedFd, SysError> {
    let (ours, theirs) = socket::packet_pair()?;
    match process::fork()? {
        Cloned::Child => {
            drop(ours);
            let copy = namespace::join_process(init.pidfd.as_fd(), Namespace::CLONE_NEWNS).and_then(|()| {
                let mount = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
                    .map_err(|errno| SysError::new("open", path, errno))?;
                clone_tree(mount.as_fd(), "", reach)
            });
            let sent = copy.and_then(|copy| socket::send(&theirs, b"m", &[copy.as_raw_fd()]));
            process::exit_now(i32::from(sent.is_err()));
        }
        Cloned::Parent(child) => {
            drop(theirs);
            let received = socket::receive(&ours, &mut [0; 1]);
            process::reap(child.pidfd.as_fd())?;
            let (_, descriptors) = received?;
            descriptors.into_iter().next().ok_or_else(|| SysError::new("open_tree", path, nix::errno::Errno::ESRCH))
        }
    }
}
