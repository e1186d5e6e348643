//! What of /proc and /sys a container does not see, and what it sees but cannot write.
//!
//! Lists with reasons, nothing else: `rootfs` mounts over them (a file by the host's /dev/null, a directory by one shared, empty, read-only
//! tmpfs) and skips what this host does not have. A privileged container gets none of it.
//!
//! The union of what Docker and Podman hide, and files that only the user namespace closes for them.

/// What is to be mounted over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
}

/// One path that is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Masked {
    pub path: &'static str,
    pub kind: Kind,
    pub reason: &'static str,
}

/// One path that is shown read-only, with all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOnly {
    pub path: &'static str,
    pub reason: &'static str,
}

const fn file(path: &'static str, reason: &'static str) -> Masked {
    Masked { path, kind: Kind::File, reason }
}

const fn directory(path: &'static str, reason: &'static str) -> Masked {
    Masked { path, kind: Kind::Directory, reason }
}

/// Hidden from every container that is not privileged.
pub const MASKED: [Masked; 14] = [
    directory("/proc/acpi", "the host's hardware, with switches"),
    directory("/proc/asound", "the host's sound devices"),
    directory("/proc/scsi", "the host's disks; a write removes one"),
    file("/proc/interrupts", "counts of the host's interrupts: a side channel to what others type and send"),
    file("/proc/kcore", "the host's memory"),
    file("/proc/keys", "keyrings are not namespaced"),
    file("/proc/latency_stats", "where others' programs wait"),
    file("/proc/sched_debug", "all tasks of the host, by name"),
    file("/proc/timer_list", "all timers of the host, with addresses of the kernel"),
    file("/proc/timer_stats", "which programs of the host use timers"),
    directory("/sys/devices/virtual/powercap", "the processor's energy use: a side channel to others' secrets"),
    directory("/sys/firmware", "the host's firmware tables and variables"),
    directory("/sys/fs/selinux", "the host's policy, with switches"),
    directory("/sys/dev/block", "the host's disks by number"),
];

/// Hidden too where root inside is root outside: with a user namespace of its own these files' mode 0400 keeps the container out.
pub const MASKED_WITHOUT_USER_NAMESPACE: [Masked; 7] = [
    file("/proc/allocinfo", "the kernel's allocations"),
    file("/proc/kpagecgroup", "which cgroup each page of the host belongs to"),
    file("/proc/kpagecount", "how often each page of the host is mapped: the first step of attacks on memory"),
    file("/proc/kpageflags", "the state of each page of the host"),
    file("/proc/pagetypeinfo", "the layout of the host's memory"),
    file("/proc/slabinfo", "the kernel's heap"),
    file("/proc/vmallocinfo", "addresses in the kernel"),
];

/// Hidden too where /sys is the host's, because the container has the host's network: in a /sys of its own they are empty.
pub const MASKED_IN_HOST_SYS: [Masked; 5] = [
    directory("/sys/fs/bpf", "the host's pinned BPF programs"),
    directory("/sys/fs/pstore", "the host's last crashes"),
    directory("/sys/kernel/debug", "debugfs: most of the kernel's inner state, with switches"),
    directory("/sys/kernel/security", "the host's security modules"),
    directory("/sys/kernel/tracing", "tracefs: what everything on the host does"),
];

/// Read-only for every container that is not privileged.
pub const READ_ONLY: [ReadOnly; 5] = [
    ReadOnly { path: "/proc/bus", reason: "raw access to the host's PCI devices" },
    ReadOnly { path: "/proc/fs", reason: "switches of the host's file systems" },
    ReadOnly { path: "/proc/irq", reason: "which processor serves an interrupt" },
    ReadOnly {
        path: "/proc/sys",
        reason: "most are the host's (core_pattern, modprobe, binfmt_misc); the container's own are set by `sysctls`",
    },
    ReadOnly { path: "/proc/sysrq-trigger", reason: "crashes or reboots the host" },
];

/// Hidden for each processor N that this host has: its thermal events are a side channel, as its energy is.
pub fn thermal_throttle(cpu: u32) -> String {
    format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle")
}

/// What decides between the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The container has a user namespace of its own (or that of another sandbox).
    pub user_namespace: bool,
    /// The container's /sys is the host's.
    pub host_sys: bool,
}

/// Everything to hide in a container that is not privileged, but for the processors' directories.
pub fn masked(view: View) -> impl Iterator<Item = Masked> {
    let root_outside = MASKED_WITHOUT_USER_NAMESPACE.into_iter().filter(move |_| !view.user_namespace);
    let host_sys = MASKED_IN_HOST_SYS.into_iter().filter(move |_| view.host_sys);
    MASKED.into_iter().chain(root_outside).chain(host_sys)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn paths(user_namespace: bool, host_sys: bool) -> Vec<&'static str> {
        masked(View { user_namespace, host_sys }).map(|one| one.path).collect()
    }

    #[test]
    fn nothing_is_listed_twice_or_below_another() {
        let mut all = paths(false, true);
        all.extend(READ_ONLY.iter().map(|one| one.path));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        for path in &all {
            assert!(path.starts_with("/proc/") || path.starts_with("/sys/"), "{path}");
            assert!(!path.ends_with('/') && !path.contains("//") && !path.contains(".."), "{path}");
            assert!(!all.iter().any(|other| path.starts_with(&format!("{other}/"))), "{path} is hidden already");
        }
    }

    #[test]
    fn what_the_peers_hide_is_hidden() {
        let docker = "/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug /proc/scsi \
                      /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware";
        let podman = "/sys/fs/selinux /sys/dev/block";
        let ours = paths(true, false);
        for path in docker.split_ascii_whitespace().chain(podman.split_ascii_whitespace()) {
            assert!(ours.contains(&path), "{path}");
        }
        for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] {
            assert!(READ_ONLY.iter().any(|one| one.path == path), "{path}");
        }
    }

    #[test]
    fn the_view_adds_what_it_opens() {
        let least = paths(true, false);
        assert!(!least.contains(&"/proc/kpagecount") && !least.contains(&"/sys/kernel/debug"));
        assert!(paths(false, false).contains(&"/proc/kpagecount"));
        assert!(paths(true, true).contains(&"/sys/kernel/debug"));
        assert_eq!(paths(false, true).len(), MASKED.len() + MASKED_WITHOUT_USER_NAMESPACE.len() + MASKED_IN_HOST_SYS.len());
    }

    #[test]
    fn kinds_are_those_of_this_host() {
        let mut found = 0;
        for one in masked(View { user_namespace: false, host_sys: true }) {
            if let Ok(metadata) = std::fs::symlink_metadata(one.path) {
                let kind = if metadata.is_dir() { Kind::Directory } else { Kind::File };
                assert_eq!(kind, one.kind, "{}", one.path);
                found += 1;
            }
        }
        assert!(found >= 3, "only {found} of the paths are on this host");
    }
}
