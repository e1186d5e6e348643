//! The default profile: a decision and a reason for every system call that `names` knows.
//!
//! The base is what the peers allow (the decisions of Docker's and Podman's profiles were compared call by call), with three differences:
//! the errors (a call that is refused says EPERM, one that a program only probes for says ENOSYS, so that it falls back), what the peers
//! left open in 2026 (address families such as AF_ALG, the 32-bit ABI, keyrings, the mount API, `pidfd_getfd`), and that a call which this
//! table does not have is ENOSYS: to the program it is a call of a newer kernel.
//!
//! Argument checks are on five rare calls only; every other decision is one number's, which the kernel caches.

use super::names::Arch;
use super::policy::{Comparison, Condition, Policy, Rule, Verdict};
use crate::security::capabilities::{CapSet, Capability};

const EPERM: Verdict = Verdict::Errno(libc::EPERM as u16);
const ENOSYS: Verdict = Verdict::Errno(libc::ENOSYS as u16);
const EINVAL: Verdict = Verdict::Errno(libc::EINVAL as u16);
const EAFNOSUPPORT: Verdict = Verdict::Errno(libc::EAFNOSUPPORT as u16);

/// Calls that share a decision and the reason for it.
#[derive(Debug)]
pub(in crate::security) struct Group {
    pub(in crate::security) decision: Decision,
    pub(in crate::security) why: &'static str,
    /// Names, separated by blanks.
    pub(in crate::security) calls: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub(in crate::security) enum Decision {
    Allow,
    /// EPERM, whatever the container may do.
    Refuse,
    /// ENOSYS, whatever the container may do.
    Absent,
    /// Allowed with any one of these, else EPERM.
    With(&'static [Capability]),
    /// Allowed with any one of these, else ENOSYS.
    AbsentWithout(&'static [Capability]),
    /// Allowed where every process in reach is the container's own, or with SYS_PTRACE; else EPERM.
    OwnProcesses,
    /// Decided by the arguments.
    Arguments(fn(CapSet) -> Vec<Rule>),
}

const ADMIN: &[Capability] = &[Capability::SYS_ADMIN];

pub(in crate::security) static GROUPS: &[Group] = &[
    Group {
        decision: Decision::Allow,
        why: "files: bounded by the mount namespace and by file permissions",
        calls: "open openat openat2 creat close close_range read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 \
                lseek sendfile copy_file_range splice tee dup dup2 dup3 fcntl flock fsync fdatasync sync syncfs sync_file_range truncate \
                ftruncate fallocate fadvise64 readahead ioctl pipe pipe2",
    },
    Group {
        decision: Decision::Allow,
        why: "names and attributes of files; mknod is for FIFOs and sockets, devices need MKNOD",
        calls: "stat fstat lstat newfstatat statx access faccessat faccessat2 getdents getdents64 getcwd chdir fchdir rename renameat \
                renameat2 mkdir mkdirat rmdir link linkat unlink unlinkat symlink symlinkat readlink readlinkat mknod mknodat chmod \
                fchmod fchmodat fchmodat2 chown fchown lchown fchownat umask utime utimes futimesat utimensat statfs fstatfs \
                name_to_handle_at statmount listmount getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat \
                listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat",
    },
    Group {
        decision: Decision::Allow,
        why: "waiting for files, timers and signals; marks need a fanotify descriptor, which is guarded by itself",
        calls: "select pselect6 poll ppoll epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2 \
                signalfd signalfd4 timerfd_create timerfd_settime timerfd_gettime inotify_init inotify_init1 inotify_add_watch \
                inotify_rm_watch fanotify_mark io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents",
    },
    Group {
        decision: Decision::Allow,
        why: "the process's own memory; counted in its cgroup",
        calls: "brk mmap munmap mprotect mremap msync mincore madvise mlock mlock2 mlockall munlock munlockall remap_file_pages \
                pkey_alloc pkey_free pkey_mprotect memfd_create memfd_secret membarrier map_shadow_stack mseal cachestat",
    },
    Group {
        decision: Decision::Allow,
        why: "processes and threads; signals reach only the own pid namespace. uretprobe and uprobe are the kernel's own tracing, which \
              kills a program that may not make them",
        calls: "fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill pidfd_open pidfd_send_signal process_mrelease \
                getpid getppid gettid getpgid getpgrp setpgid getsid setsid set_tid_address prctl arch_prctl set_robust_list \
                get_robust_list rseq restart_syscall futex futex_waitv futex_wake futex_wait futex_requeue getcpu times getrusage pause \
                uretprobe uprobe rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigqueueinfo \
                rt_tgsigqueueinfo rt_sigsuspend sigaltstack",
    },
    Group {
        decision: Decision::Allow,
        why: "users, groups and capabilities: the kernel checks SETUID, SETGID, SETPCAP in the container's user namespace",
        calls: "getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid setregid setresuid setresgid setfsuid \
                setfsgid setgroups capget capset",
    },
    Group {
        decision: Decision::Allow,
        why: "scheduling and limits: the kernel asks SYS_NICE and SYS_RESOURCE for what others would feel",
        calls: "sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler sched_setscheduler \
                sched_getattr sched_setattr sched_get_priority_max sched_get_priority_min sched_rr_get_interval getpriority setpriority \
                ioprio_get ioprio_set getrlimit setrlimit prlimit64",
    },
    Group {
        decision: Decision::Allow,
        why: "time; adjtimex and clock_adjtime read it, and the kernel asks SYS_TIME for more",
        calls: "nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time alarm getitimer setitimer timer_create \
                timer_settime timer_gettime timer_getoverrun timer_delete adjtimex clock_adjtime",
    },
    Group {
        decision: Decision::Allow,
        why: "sockets that are there already; which can be made is decided at socket",
        calls: "bind connect listen accept accept4 getsockname getpeername sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg setsockopt \
                getsockopt shutdown",
    },
    Group {
        decision: Decision::Allow,
        why: "System V and POSIX IPC: bounded by the ipc namespace",
        calls: "semget semop semctl semtimedop msgget msgsnd msgrcv msgctl shmget shmat shmdt shmctl mq_open mq_unlink mq_timedsend \
                mq_timedreceive mq_notify mq_getsetattr",
    },
    Group { decision: Decision::Allow, why: "facts that every program may have", calls: "uname sysinfo getrandom" },
    Group {
        decision: Decision::Allow,
        why: "a program may confine itself further: browsers and service managers do",
        calls: "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    },
    Group {
        decision: Decision::Arguments(socket),
        why: "address families: UNIX, INET, INET6, NETLINK (and PACKET with NET_RAW); every other one is kernel code that a container \
              hardly ever needs and that would be loaded on demand (AF_ALG, AF_VSOCK, TIPC, RDS, CAN, XDP, ...)",
        calls: "socket socketpair",
    },
    Group {
        decision: Decision::Arguments(clone),
        why: "processes and threads, but no new namespace without SYS_ADMIN: a user namespace opens most of the kernel's root-only code",
        calls: "clone",
    },
    Group {
        decision: Decision::AbsentWithout(ADMIN),
        why: "its flags are behind a pointer, where a filter cannot look; every C library falls back to clone",
        calls: "clone3",
    },
    Group {
        decision: Decision::Arguments(personality),
        why: "only plain Linux, its 32-bit form, either with a version number of 2.6, and the question which it is",
        calls: "personality",
    },
    Group {
        decision: Decision::OwnProcesses,
        why: "debuggers, within the container's own pid namespace; where that is shared, they would reach its neighbours",
        calls: "ptrace process_vm_readv process_vm_writev",
    },
    Group {
        decision: Decision::With(&[Capability::SYS_PTRACE]),
        why: "takes from another process: its descriptors, its layout, its memory's fate",
        calls: "kcmp pidfd_getfd process_madvise",
    },
    Group {
        decision: Decision::With(ADMIN),
        why: "mounts, namespaces, host name, quotas: what the container is made of",
        calls: "mount umount2 mount_setattr open_tree move_mount fsopen fsconfig fsmount fspick pivot_root setns unshare sethostname \
                setdomainname quotactl quotactl_fd fanotify_init",
    },
    Group {
        decision: Decision::AbsentWithout(ADMIN),
        why: "newer than 6.7: a program that knows them knows how to do without",
        calls: "open_tree_attr lsm_get_self_attr lsm_set_self_attr lsm_list_modules",
    },
    Group { decision: Decision::With(&[Capability::SYS_ADMIN, Capability::BPF]), why: "programs in the kernel", calls: "bpf" },
    Group {
        decision: Decision::With(&[Capability::SYS_ADMIN, Capability::PERFMON]),
        why: "a large and often faulty piece of the kernel; measures the whole host",
        calls: "perf_event_open",
    },
    Group { decision: Decision::With(&[Capability::SYS_ADMIN, Capability::SYSLOG]), why: "the host's kernel log", calls: "syslog" },
    Group {
        decision: Decision::With(&[Capability::DAC_READ_SEARCH]),
        why: "opens files by inode number, past the mount namespace (the \"shocker\" escape)",
        calls: "open_by_handle_at",
    },
    Group { decision: Decision::With(&[Capability::SYS_CHROOT]), why: "the kernel asks for the same", calls: "chroot" },
    Group { decision: Decision::With(&[Capability::SYS_BOOT]), why: "the host's, outside of a pid namespace", calls: "reboot" },
    Group {
        decision: Decision::With(&[Capability::SYS_MODULE]),
        why: "code in the host's kernel",
        calls: "init_module finit_module delete_module",
    },
    Group { decision: Decision::With(&[Capability::SYS_PACCT]), why: "the host's process accounting", calls: "acct" },
    Group { decision: Decision::With(&[Capability::SYS_RAWIO]), why: "the host's I/O ports", calls: "iopl ioperm" },
    Group { decision: Decision::With(&[Capability::SYS_TIME]), why: "the host's clock", calls: "settimeofday clock_settime" },
    Group { decision: Decision::With(&[Capability::SYS_TTY_CONFIG]), why: "takes a terminal from others", calls: "vhangup" },
    Group {
        decision: Decision::With(&[Capability::SYS_NICE]),
        why: "the placement of memory among the host's nodes",
        calls: "mbind get_mempolicy set_mempolicy set_mempolicy_home_node",
    },
    Group { decision: Decision::Refuse, why: "moves pages of other processes or of the host's nodes", calls: "move_pages migrate_pages" },
    Group { decision: Decision::Refuse, why: "the kernel's keyrings are not namespaced", calls: "add_key request_key keyctl" },
    Group {
        decision: Decision::Refuse,
        why: "stops the kernel in the middle of a copy: the tool of many exploits of races",
        calls: "userfaultfd",
    },
    Group {
        decision: Decision::Refuse,
        why: "gives pages of the caller to a pipe: a part of several page-cache exploits, and used by hardly any program",
        calls: "vmsplice",
    },
    Group { decision: Decision::Refuse, why: "another kernel for the host", calls: "kexec_load kexec_file_load" },
    Group { decision: Decision::Refuse, why: "the host's swap space", calls: "swapon swapoff" },
    Group { decision: Decision::Refuse, why: "lists the host's file systems; long replaced", calls: "ustat sysfs" },
    Group {
        decision: Decision::Absent,
        why: "does what other calls do past this filter, and is probed for: programs fall back",
        calls: "io_uring_setup io_uring_enter io_uring_register",
    },
    Group { decision: Decision::Absent, why: "16-bit segments, for emulators of old programs", calls: "modify_ldt" },
    Group {
        decision: Decision::Absent,
        why: "newer than the profile's base (6.17): taken in when there is a program that wants them",
        calls: "file_getattr file_setattr",
    },
    Group {
        decision: Decision::Absent,
        why: "no call of today's kernels, or never one of this architecture: the kernel's own answer",
        calls: "lookup_dcookie _sysctl create_module get_kernel_syms query_module nfsservctl getpmsg putpmsg afs_syscall tuxcall security \
                vserver epoll_ctl_old epoll_wait_old set_thread_area get_thread_area uselib",
    },
];

/// Why the default profile decides about a call as it does; None for a call that it does not know.
pub fn why(name: &str) -> Option<&'static str> {
    GROUPS.iter().find(|group| group.calls.split_ascii_whitespace().any(|call| call == name)).map(|group| group.why)
}

/// The default profile for a container with these capabilities; `own_processes` as in `Decision::OwnProcesses`.
pub(super) fn policy(arch: Arch, capabilities: CapSet, own_processes: bool) -> Policy {
    let mut policy = Policy::new(arch, ENOSYS);
    let any = |wanted: &[Capability]| wanted.iter().any(|&one| capabilities.contains(one));
    for group in GROUPS {
        let rules = match group.decision {
            Decision::Allow => vec![Rule::always(Verdict::Allow)],
            Decision::Refuse => vec![Rule::always(EPERM)],
            Decision::Absent => continue,
            Decision::With(wanted) => vec![Rule::always(if any(wanted) { Verdict::Allow } else { EPERM })],
            Decision::AbsentWithout(wanted) if !any(wanted) => continue,
            Decision::AbsentWithout(_) => vec![Rule::always(Verdict::Allow)],
            Decision::OwnProcesses => {
                let allowed = own_processes || capabilities.contains(Capability::SYS_PTRACE);
                vec![Rule::always(if allowed { Verdict::Allow } else { EPERM })]
            }
            Decision::Arguments(rules) => rules(capabilities),
        };
        for number in group.calls.split_ascii_whitespace().filter_map(|name| arch.number(name)) {
            policy.calls.insert(number, rules.clone());
        }
    }
    policy
}

/// socket(2) and socketpair(2): family, type, protocol.
fn socket(capabilities: CapSet) -> Vec<Rule> {
    let family = |family: i32| Condition::int(0, Comparison::Equal, family as u32);
    let netlink =
        |protocol: i32, verdict| Rule::when([family(libc::AF_NETLINK), Condition::int(2, Comparison::Equal, protocol as u32)], verdict);
    let allow = |one: i32| Rule::when([family(one)], Verdict::Allow);
    let mut rules = vec![allow(libc::AF_UNIX), allow(libc::AF_INET), allow(libc::AF_INET6)];
    let audit = [Capability::AUDIT_WRITE, Capability::AUDIT_CONTROL, Capability::AUDIT_READ];
    if capabilities.intersection(CapSet::of(&audit)).is_empty() {
        // Programs that log to the audit system take EINVAL and its like for "there is none" and go on; EPERM would stop them.
        rules.push(netlink(libc::NETLINK_AUDIT, EINVAL));
    }
    if !capabilities.contains(Capability::NET_ADMIN) {
        rules.push(netlink(libc::NETLINK_NETFILTER, EPERM));
    }
    rules.push(allow(libc::AF_NETLINK));
    // The kernel's own answer to those who lack the capability.
    let packet = if capabilities.contains(Capability::NET_RAW) { Verdict::Allow } else { EPERM };
    rules.push(Rule::when([family(libc::AF_PACKET)], packet));
    rules.push(Rule::always(EAFNOSUPPORT));
    rules
}

/// `CLONE_NEW*` that clone(2) knows; NEWTIME is a signal number to it.
pub(super) const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// clone(2): the flags are the first argument on every architecture of `Arch`, and the kernel looks at their lower half only.
fn clone(capabilities: CapSet) -> Vec<Rule> {
    if capabilities.contains(Capability::SYS_ADMIN) {
        return vec![Rule::always(Verdict::Allow)];
    }
    let none = Condition::int(0, Comparison::Masked(u64::from(NEW_NAMESPACES)), 0);
    vec![Rule::when([none], Verdict::Allow), Rule::always(EPERM)]
}

/// personality(2): `PER_LINUX`, `PER_LINUX32`, `UNAME26` (0x20000) with each, and the question, 0xffffffff.
fn personality(_: CapSet) -> Vec<Rule> {
    let harmless = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
    let allow = |persona| Rule::when([Condition::int(0, Comparison::Equal, persona)], Verdict::Allow);
    harmless.into_iter().map(allow).chain([Rule::always(EPERM)]).collect()
}
