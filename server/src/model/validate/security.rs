//! Capabilities, seccomp, rlimits, sysctls: names that the kernel knows, and only what reaches no further than the container.

use std::collections::BTreeSet;

use super::{Faults, escape, shortened};
use crate::model::container::{ContainerSpec, SeccompType};

/// capabilities(7), without `CAP_`.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// getrlimit(2), without `RLIMIT_`.
const RLIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Actions of the OCI runtime specification's `linux.seccomp`.
const SECCOMP_ACTIONS: [&str; 9] = [
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
];

/// Sysctls that belong to a namespace; see the kernel's Documentation/admin-guide/sysctl.
const IPC_SYSCTLS: [&str; 9] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "fs.mqueue.",
];

pub(super) fn check(spec: &ContainerSpec, faults: &mut Faults) {
    for (field, list) in [("add", &spec.security.capabilities.add), ("drop", &spec.security.capabilities.drop)] {
        for (index, name) in list.iter().enumerate().filter(|(_, name)| capability(name).is_none()) {
            let message = format!("{:?} is not a capability (see capabilities(7)), nor ALL", shortened(name));
            faults.add(format!("/spec/security/capabilities/{field}/{index}"), message);
        }
    }
    seccomp(spec, faults);
    rlimits(spec, faults);
    sysctls(spec, faults);
    if let Some(score) = spec.oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        faults.add("/spec/oomScoreAdj", format!("must be -1000 to 1000, and is {score}"));
    }
    if spec.shm_size.is_some_and(|size| size.0 == 0) {
        faults.add("/spec/shmSize", "must be more than 0 bytes");
    }
}

/// The kernel's name without `CAP_`, or `ALL`; None for what is neither. Case does not matter.
pub(crate) fn capability(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    (upper == "ALL" || CAPABILITIES.contains(&short)).then(|| short.to_owned())
}

fn seccomp(spec: &ContainerSpec, faults: &mut Faults) {
    let seccomp = &spec.security.seccomp;
    match (seccomp.kind, &seccomp.profile) {
        (SeccompType::Custom, None) => faults.add("/spec/security/seccomp/profile", "is required with type \"custom\""),
        (SeccompType::Custom, Some(profile)) => {
            let action = profile.get("defaultAction").and_then(|action| action.as_str());
            if !profile.is_object() {
                faults.add("/spec/security/seccomp/profile", "must be an object in the form of the OCI runtime specification or of Docker");
            } else if !action.is_some_and(|action| SECCOMP_ACTIONS.contains(&action)) {
                faults.add(
                    "/spec/security/seccomp/profile/defaultAction",
                    "must be one of SCMP_ACT_ALLOW, SCMP_ACT_ERRNO, … (see seccomp(2))",
                );
            }
        }
        (_, Some(_)) => faults.add("/spec/security/seccomp/profile", "is only for type \"custom\""),
        (_, None) => {}
    }
}

fn rlimits(spec: &ContainerSpec, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (index, limit) in spec.rlimits.iter().enumerate() {
        let path = format!("/spec/rlimits/{index}");
        if !RLIMITS.contains(&limit.kind.as_str()) {
            faults.add(format!("{path}/type"), format!("{:?} is not one of {}", shortened(&limit.kind), RLIMITS.join(", ")));
        } else if !seen.insert(limit.kind.as_str()) {
            faults.add(format!("{path}/type"), format!("{:?} is already set by another entry", limit.kind));
        }
        if limit.soft > limit.hard {
            faults.add(format!("{path}/soft"), format!("must be at most the hard limit ({}), and is {}", limit.hard, limit.soft));
        }
    }
}

fn sysctls(spec: &ContainerSpec, faults: &mut Faults) {
    for (name, value) in &spec.sysctls {
        let path = format!("/spec/sysctls/{}", escape(name));
        if let Err(message) = sysctl_name(spec, name) {
            faults.add(path.clone(), message);
        }
        if value.is_empty() || value.len() > 256 || !value.bytes().all(|b| (b' '..=b'~').contains(&b) || b == b'\t') {
            faults.add(path, format!("the value {:?} must be 1 to 256 printable characters on one line", shortened(value)));
        }
    }
}

/// Only those that the kernel keeps in a namespace which is this container's own.
fn sysctl_name(spec: &ContainerSpec, name: &str) -> Result<(), String> {
    let shown = shortened(name);
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if name.len() > 253 || !name.split('.').all(part) {
        return Err(format!("{shown:?} is not a sysctl: letters, digits, '_' and '-' in parts joined by dots, as in net.ipv4.ip_forward"));
    }
    let own = |mode: &str| matches!(mode, "private" | "shareable" | "none");
    let ipc = IPC_SYSCTLS.iter().any(|known| if known.ends_with('.') { name.starts_with(known) } else { name == *known });
    match name {
        _ if ipc && own(&spec.namespaces.ipc) => Ok(()),
        _ if ipc => {
            Err(format!("{shown:?} needs an IPC namespace of this container's own, and namespaces.ipc is {:?}", spec.namespaces.ipc))
        }
        _ if name.starts_with("net.") && own(&spec.namespaces.network) => Ok(()),
        _ if name.starts_with("net.") => {
            Err(format!("{shown:?} needs a network of this container's own, and namespaces.network is {:?}", spec.namespaces.network))
        }
        "kernel.domainname" | "kernel.hostname" => Err(format!("{shown:?}: use the fields hostname and domainname")),
        _ => Err(format!("{shown:?} is not kept in a namespace, so it would change the whole machine")),
    }
}
