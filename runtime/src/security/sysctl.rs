//! Which kernel parameters a container may set: those that belong to a namespace of its own.
//!
//! Checks and names only: they are written by whoever has joined the namespaces, below a procfs of its own, not the container's.

use crate::config::{NamespaceMode, Namespaces};

/// The namespace that a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Ipc,
    Network,
}

/// Why a parameter cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SysctlError {
    #[error("is not the name of a kernel parameter (letters, digits, '_' and '-', with dots between)")]
    Name,
    #[error("is not a parameter of one container: only kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.* and net.* are")]
    NotNamespaced,
    #[error("needs a private {namespace} namespace")]
    NotPrivate { namespace: &'static str },
    #[error("has a value that no parameter has (at most 1024 printable characters, no line break)")]
    Value,
}

/// System V IPC, see sysctl/kernel.rst in the kernel's documentation. The `*_next_id` ones stay out: they are for checkpoints.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// The namespace of a parameter; None for one that the whole host shares.
pub fn owner(name: &str) -> Option<Owner> {
    if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        Some(Owner::Ipc)
    } else if name.starts_with("net.") {
        Some(Owner::Network)
    } else {
        None
    }
}

/// True when a sandbox with these namespaces may set that parameter to that value.
pub fn check(name: &str, value: &str, namespaces: &Namespaces) -> Result<Owner, SysctlError> {
    if !is_name(name) {
        return Err(SysctlError::Name);
    }
    let owner = owner(name).ok_or(SysctlError::NotNamespaced)?;
    let (mode, namespace) = match owner {
        Owner::Ipc => (&namespaces.ipc, "ipc"),
        Owner::Network => (&namespaces.network, "network"),
    };
    if *mode != NamespaceMode::Private {
        return Err(SysctlError::NotPrivate { namespace });
    }
    let printable = |b: u8| matches!(b, b' '..=b'~' | b'\t');
    if value.is_empty() || value.len() > 1024 || !value.bytes().all(printable) {
        return Err(SysctlError::Value);
    }
    Ok(owner)
}

/// The parameter's file below /proc/sys. Only for a name that `check` let through: it has no empty part, no slash and no `..`.
pub fn relative_path(name: &str) -> String {
    name.replace('.', "/")
}

/// Parts of letters, digits, `_` and `-`, with single dots between.
fn is_name(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    name.len() <= 255 && name.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(network: NamespaceMode, ipc: NamespaceMode) -> Namespaces {
        let private = NamespaceMode::Private;
        Namespaces { network, pid: private.clone(), ipc, uts: private.clone(), cgroup: private.clone(), user: private }
    }

    fn private() -> Namespaces {
        namespaces(NamespaceMode::Private, NamespaceMode::Private)
    }

    #[test]
    fn parameters_of_ones_own_namespaces_are_set() {
        let cases = [
            ("net.ipv4.ip_unprivileged_port_start", "0", Owner::Network),
            ("net.ipv4.conf.eth0.rp_filter", "1", Owner::Network),
            ("net.ipv4.ping_group_range", "0 2147483647", Owner::Network),
            ("net.ipv4.ip_local_port_range", "1024\t65000", Owner::Network),
            ("kernel.shmmax", "68719476736", Owner::Ipc),
            ("kernel.sem", "250 32000 100 128", Owner::Ipc),
            ("kernel.shm_rmid_forced", "1", Owner::Ipc),
            ("fs.mqueue.msg_max", "100", Owner::Ipc),
        ];
        for (name, value, owner) in cases {
            assert_eq!(check(name, value, &private()), Ok(owner), "{name}");
        }
        assert_eq!(relative_path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
    }

    #[test]
    fn parameters_of_the_host_are_refused() {
        let hosts = "kernel.core_pattern kernel.modprobe kernel.panic kernel.pid_max kernel.domainname kernel.hostname kernel.msg_next_id \
                     kernel.shm kernel.shmmaxx kernel.randomize_va_space fs.file-max fs.binfmt_misc.register fs.mqueue vm.overcommit_memory \
                     user.max_user_namespaces debug.x abi.vsyscall32 net netfilter.x networking.x";
        for name in hosts.split_ascii_whitespace() {
            assert_eq!(check(name, "1", &private()), Err(SysctlError::NotNamespaced), "{name}");
        }
    }

    #[test]
    fn names_cannot_lead_elsewhere() {
        let hostile = [
            "",
            ".",
            "net.",
            ".net",
            "net..ipv4",
            "net/../kernel/core_pattern",
            "net.../kernel",
            "net.ipv4/../../kernel/x",
            "kernel.shm_rmid_forced+kernel.core_pattern=x",
            "net.ipv4.ip_forward=1\nkernel.core_pattern",
            "net.ipv4.x\0",
            "net.ipv4.é",
            "/proc/sys/net/x",
            "net ipv4",
        ];
        for name in hostile {
            assert_eq!(check(name, "1", &private()), Err(SysctlError::Name), "{name:?}");
        }
        assert_eq!(check(&format!("net.{}", "x".repeat(300)), "1", &private()), Err(SysctlError::Name));
    }

    #[test]
    fn values_are_one_printable_line() {
        for value in ["", "1\n2", "1\0", "\u{1b}[2J", "é", &"1".repeat(1025)] {
            assert_eq!(check("net.core.somaxconn", value, &private()), Err(SysctlError::Value), "{value:?}");
        }
    }

    #[test]
    fn the_namespace_must_be_the_sandboxs_own() {
        let joined = NamespaceMode::Join { pod: "0123456789abcdef0123456789abcdef".parse().expect("an id") };
        for mode in [NamespaceMode::Host, joined] {
            let network = check("net.core.somaxconn", "1", &namespaces(mode.clone(), NamespaceMode::Private));
            assert_eq!(network, Err(SysctlError::NotPrivate { namespace: "network" }));
            let ipc = check("fs.mqueue.msg_max", "1", &namespaces(NamespaceMode::Private, mode));
            assert_eq!(ipc, Err(SysctlError::NotPrivate { namespace: "ipc" }));
        }
    }
}
