//! What this host can do, by trying and not by version numbers.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use super::Launcher;
use crate::error::SysError;
use crate::status::HostFacts;
use crate::sys::mount::{FsContext, Reach, clone_tree, set_idmap};
use crate::sys::process::{CloneFlags, Cloned};
use crate::sys::{namespace, process};

const AVAILABLE: &str = "available";
const CAP_SYS_RESOURCE: u64 = 1 << 24;

pub(super) fn gather(launcher: &Launcher) -> HostFacts {
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
        cgroup_mode: launcher.hierarchies.mode().to_owned(),
        controllers: launcher.hierarchies.controllers(),
        features: features(launcher),
        runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn features(launcher: &Launcher) -> BTreeMap<String, String> {
    let tried = |outcome: Result<(), SysError>| match outcome {
        Ok(()) => AVAILABLE.to_owned(),
        Err(error) => format!("{error}: {:?}", error.source),
    };
    let mut features: BTreeMap<String, String> = launcher.hierarchies.features().into_iter().collect();
    features.insert("user-namespaces".into(), tried(with_user_namespace(|_| Ok(()))));
    let layers = launcher.layout.data_dir.join("layers");
    let idmapped = with_user_namespace(|user| {
        let dir = std::fs::File::open(&layers).map_err(|error| SysError::io("open", layers.display(), &error))?;
        set_idmap(clone_tree(dir.as_fd(), "", Reach::One)?.as_fd(), user.as_fd(), Reach::One)
    });
    features.insert("idmapped-mounts".into(), tried(idmapped));
    features.insert("overlayfs".into(), tried(FsContext::open("overlay").map(drop)));
    let actions = std::fs::metadata("/proc/sys/kernel/seccomp/actions_avail");
    features.insert("seccomp".into(), tried(actions.map(drop).map_err(|error| SysError::io("stat", "seccomp actions", &error))));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok()).unwrap_or(0);
    let resource = if effective & CAP_SYS_RESOURCE != 0 { AVAILABLE.to_owned() } else { "this host gives no CAP_SYS_RESOURCE".to_owned() };
    features.insert("raise-rlimits".into(), resource.clone());
    features.insert("lower-oom-score".into(), resource);
    features
}

/// Makes a user namespace with one range mapped, for as long as `test` runs.
fn with_user_namespace(test: impl FnOnce(&std::os::fd::OwnedFd) -> Result<(), SysError>) -> Result<(), SysError> {
    match process::clone3(CloneFlags(CloneFlags::NEWUSER), None)? {
        Cloned::Child => {
            nix::unistd::pause();
            process::exit_now(0)
        }
        Cloned::Parent(child) => {
            let outcome = (|| {
                for file in ["uid_map", "gid_map"] {
                    let path = format!("/proc/{}/{file}", child.pid);
                    std::fs::write(&path, "0 1048576 65536").map_err(|error| SysError::io("write", &path, &error))?;
                }
                test(&namespace::open(format!("/proc/{}/ns/user", child.pid).as_ref())?)
            })();
            let _ = process::pidfd_send_signal(child.pidfd.as_fd(), nix::libc::SIGKILL);
            // Where SIGCHLD is ignored the kernel has reaped it already.
            let _ = process::reap(child.pidfd.as_fd());
            outcome
        }
    }
}
