//! What this host can do, by trying and not by version numbers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::cgroup::Hierarchies;
use crate::error::SysError;
use crate::protocol::PROTOCOL_VERSION;
use crate::rundir::make_dir;
use crate::status::HostFacts;
use crate::sys::mount::{FsContext, Reach, clone_tree, set_idmap};
use crate::sys::process::{CloneFlags, Cloned};
use crate::sys::seccomp::{self, SockFilter};
use crate::sys::{namespace, process, socket};
use crate::worker;

const AVAILABLE: &str = "available";

/// What there is to know without trying, with `features` as they were found.
pub(super) fn gather(hierarchies: &Hierarchies, features: BTreeMap<String, String>) -> HostFacts {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpus = std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX));
    let memory = read("/proc/meminfo");
    let kilobytes = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    HostFacts {
        kernel: read("/proc/sys/kernel/osrelease"),
        architecture: std::env::consts::ARCH.to_owned(),
        hostname: read("/proc/sys/kernel/hostname"),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        cpus,
        memory_bytes: kilobytes.unwrap_or(0) * 1024,
        cgroup_mode: hierarchies.mode().to_owned(),
        controllers: hierarchies.controllers(),
        features,
        runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL_VERSION,
    }
}

/// Each feature is used for a moment, in the data folder where it is about files. Leaves nothing.
pub(super) fn features(hierarchies: &Hierarchies, data_dir: &Path) -> BTreeMap<String, String> {
    let mut features: BTreeMap<String, String> = hierarchies.features().into_iter().collect();
    let mut note = |name: &str, outcome: Result<(), SysError>| {
        let text = outcome.map_or_else(|error| format!("{error}: {:?}", error.source), |()| AVAILABLE.to_owned());
        features.insert(name.to_owned(), text);
    };
    note("user-namespaces", with_user_namespace(|_| Ok(())));
    note("idmapped-mounts", idmapped(&nearest(&data_dir.join("layers"))));
    note("idmapped-volumes", idmapped(&nearest(&data_dir.join("volumes"))));
    note("overlayfs", overlay(&nearest(&data_dir.join("pods"))));
    note("seccomp", in_child("seccomp", "SECCOMP_SET_MODE_FILTER", filter));
    note("raise-rlimits", in_child("prlimit64", "RLIMIT_CORE", raise_limit));
    note("lower-oom-score", in_child("write", "/proc/self/oom_score_adj", lower_score));
    features
}

/// The folder, or the lowest one above it that exists: the same file system, unless something is mounted in between later.
pub(super) fn nearest(folder: &Path) -> PathBuf {
    folder.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn idmapped(folder: &Path) -> Result<(), SysError> {
    with_user_namespace(|user| {
        let dir = std::fs::File::open(folder).map_err(|error| SysError::io("open", folder.display(), &error))?;
        set_idmap(clone_tree(dir.as_fd(), "", Reach::One)?.as_fd(), user.as_fd(), Reach::One)
    })
}

/// An overlay as containers get it: its upper folder where theirs are, a file written through it, mounted nowhere.
fn overlay(folder: &Path) -> Result<(), SysError> {
    // A name that the launcher's next start sweeps away, should this process die here.
    let probe = folder.join(format!(".trash-probe-{}", std::process::id()));
    let outcome = (|| {
        make_dir(&probe, 0o700, None)?;
        let context = FsContext::open("overlay")?;
        for (key, name) in [("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work")] {
            let part = probe.join(name);
            make_dir(&part, 0o700, None)?;
            context.set(key, &part.display().to_string())?;
        }
        let mount = context.mount(0)?;
        nix::sys::stat::mkdirat(&mount, "written", nix::sys::stat::Mode::S_IRWXU)
            .map_err(|errno| SysError::new("mkdirat", "overlay", errno))
    })();
    outcome.and(worker::remove_tree(&probe))
}

/// Every call allowed: one instruction, `return SECCOMP_RET_ALLOW`.
fn filter() -> Result<(), SysError> {
    process::set_no_new_privs()?;
    seccomp::load(&[SockFilter { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 }])
}

/// A hard limit that was lowered can be raised again with CAP_SYS_RESOURCE alone.
fn raise_limit() -> Result<(), SysError> {
    process::set_rlimit(nix::libc::RLIMIT_CORE, 0, 0)?;
    process::set_rlimit(nix::libc::RLIMIT_CORE, 0, 1)
}

fn lower_score() -> Result<(), SysError> {
    let path = "/proc/self/oom_score_adj";
    let now = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<i32>().ok()).unwrap_or(0);
    std::fs::write(path, (now - 1).max(-1000).to_string()).map_err(|error| SysError::io("write", path, &error))
}

/// Runs `attempt` in a process of its own, which it may spoil.
fn in_child(call: &'static str, subject: &'static str, attempt: fn() -> Result<(), SysError>) -> Result<(), SysError> {
    let (mut hear, mut tell) = std::io::pipe().map_err(|error| SysError::io("pipe2", subject, &error))?;
    match process::fork()? {
        Cloned::Child => {
            let errno = attempt().err().map_or(0, |error| error.source as i32);
            let _ = tell.write_all(&errno.to_ne_bytes());
            process::exit_now(0)
        }
        Cloned::Parent(child) => {
            drop(tell);
            let mut answer = [0; 4];
            // Not its exit status: where SIGCHLD is ignored the kernel has reaped it already.
            let told = hear.read_exact(&mut answer);
            let _ = process::reap(child.pidfd.as_fd());
            told.map_err(|error| SysError::io(call, subject, &error))?;
            match i32::from_ne_bytes(answer) {
                0 => Ok(()),
                errno => Err(SysError::new(call, subject, Errno::from_raw(errno))),
            }
        }
    }
}

/// Makes a user namespace with one range mapped, for as long as `test` runs.
fn with_user_namespace(test: impl FnOnce(&OwnedFd) -> Result<(), SysError>) -> Result<(), SysError> {
    let (ours, theirs) = socket::packet_pair()?;
    match process::clone3(CloneFlags(CloneFlags::NEWUSER), None)? {
        Cloned::Child => {
            drop(ours);
            // Until the other end closes: with the launcher at the latest, whatever ends that.
            let _ = socket::receive(&theirs, &mut [0; 1]);
            process::exit_now(0)
        }
        Cloned::Parent(child) => {
            drop(theirs);
            let outcome = (|| {
                for file in ["uid_map", "gid_map"] {
                    let path = format!("/proc/{}/{file}", child.pid);
                    std::fs::write(&path, "0 1048576 65536").map_err(|error| SysError::io("write", &path, &error))?;
                }
                test(&namespace::open(format!("/proc/{}/ns/user", child.pid).as_ref())?)
            })();
            drop(ours);
            // Where SIGCHLD is ignored the kernel has reaped it already.
            let _ = process::reap(child.pidfd.as_fd());
            outcome
        }
    }
}
