//! The compiler against the policy, against libseccomp and against the running kernel; the promises of the default profile.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::policy::{Comparison, Condition, Policy, Rule, Width};
use super::*;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const X32_BIT: u32 = 0x4000_0000;
const EPERM: Verdict = Verdict::Errno(1);
const ENOSYS: Verdict = Verdict::Errno(38);

fn options(own_processes: bool) -> Options {
    Options { arch: Arch::X86_64, kernel: KernelVersion { major: 6, minor: 18 }, own_processes }
}

fn default_filter(capabilities: CapSet) -> Filter {
    compile(&Seccomp::Default, capabilities, &options(true)).expect("no fault").expect("a filter")
}

fn custom(profile: Value) -> Result<Filter, ConfigError> {
    let filter = compile(&Seccomp::Custom { profile }, CapSet::DEFAULT, &options(true))?;
    Ok(filter.expect("a custom profile is a filter"))
}

fn on(filter: &Filter, name: &str, arguments: [u64; 6]) -> Verdict {
    let number = Arch::X86_64.number(name).unwrap_or_else(|| panic!("{name} is no call"));
    filter.verdict_of(&Call { number, arch: X86_64, arguments })
}

fn first(argument: u64) -> [u64; 6] {
    [argument, 0, 0, 0, 0, 0]
}

/// Every number up to 600, those around the edges of the ABIs, in each ABI.
fn all_calls() -> impl Iterator<Item = (u32, u32)> {
    let numbers = (0..=600).chain([X32_BIT - 1, X32_BIT, X32_BIT + 1, X32_BIT + 59, X32_BIT + 520, 0x7fff_ffff, u32::MAX]);
    numbers.flat_map(|number| [X86_64, I386, 0xc000_00b7].map(|arch| (number, arch)))
}

/// Capability sets in which each conditional block is on and off.
fn capability_sets() -> Vec<CapSet> {
    let one_by_one = CapSet::ALL.names().into_iter().filter_map(Capability::from_name).map(|one| CapSet::DEFAULT.union(CapSet::of(&[one])));
    [CapSet::DEFAULT, CapSet::EMPTY, CapSet::ALL].into_iter().chain(one_by_one).collect()
}

// ---- The tables ----

#[test]
fn every_call_has_exactly_one_decision_and_a_reason() {
    let mut decided = BTreeSet::new();
    for group in profile::GROUPS {
        assert!(!group.why.is_empty());
        for name in group.calls.split_ascii_whitespace() {
            assert!(names::is_known(name), "{name} is in no architecture's table");
            assert!(decided.insert(name), "{name} is decided twice");
        }
    }
    for (name, _) in Arch::X86_64.calls().chain(Arch::Aarch64.calls()) {
        assert!(decided.contains(name), "{name} has no decision");
    }
}

#[test]
fn the_numbers_are_those_of_libseccomp() {
    use libseccomp::{ScmpArch, ScmpSyscall};
    for (arch, theirs) in [(Arch::X86_64, ScmpArch::X8664), (Arch::Aarch64, ScmpArch::Aarch64)] {
        let mut compared = 0;
        for (name, number) in arch.calls() {
            assert_eq!(arch.number(name), Some(number), "{name} is out of order");
            // Negative: it does not know the call yet.
            if let Some(known) =
                ScmpSyscall::from_name_by_arch(name, theirs).ok().and_then(|call| u32::try_from(call.as_raw_syscall()).ok())
            {
                assert_eq!(known, number, "{name} on {arch:?}");
                compared += 1;
            }
        }
        assert!(compared > 290, "only {compared} of {arch:?} compared");
        for number in 0..=600 {
            if let Ok(name) = ScmpSyscall::from_raw_syscall(number).get_name_by_arch(theirs) {
                assert_eq!(arch.number(&name), u32::try_from(number).ok(), "{name} is missing for {arch:?}");
            }
        }
    }
}

#[test]
fn the_newest_numbers_are_the_kernels() {
    // Beyond what libseccomp 2.5 knows. The common range has the same numbers everywhere.
    let newest =
        [("cachestat", 451), ("statmount", 457), ("mseal", 462), ("setxattrat", 463), ("open_tree_attr", 467), ("file_setattr", 469)];
    for (name, number) in newest {
        assert_eq!(Arch::X86_64.number(name), Some(number), "{name}");
        assert_eq!(Arch::Aarch64.number(name), Some(number), "{name}");
    }
    assert_eq!(Arch::X86_64.number("mseal"), u32::try_from(libc::SYS_mseal).ok());
    assert_eq!(Arch::X86_64.number("uretprobe"), Some(335));
    assert_eq!(Arch::Aarch64.number("open"), None);
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let numbers: BTreeSet<u32> = arch.calls().map(|(_, number)| number).collect();
        assert_eq!(numbers.len(), arch.calls().count(), "two names with one number on {arch:?}");
    }
}

// ---- The compiler ----

/// The program says of each call what the policy says, for every number and around every edge of the arguments.
fn assert_faithful(policy: &Policy) {
    let program = compile::program(policy);
    for (number, arch) in all_calls() {
        let rules = policy.calls.get(&number).map_or(&[][..], Vec::as_slice);
        for arguments in argument_edges(rules) {
            let call = Call { number, arch, arguments };
            assert_eq!(interpret::run(&program, &call), Some(oracle::by_hand(policy, &call)), "{call:x?} {rules:?}");
        }
    }
}

/// Each argument in turn through its edges while the others hold a value that lets a rule match.
fn argument_edges(rules: &[Rule]) -> Vec<[u64; 6]> {
    let mut bases = vec![[0u64; 6], [u64::MAX; 6]];
    for rule in rules {
        let mut base = [0u64; 6];
        for condition in &rule.conditions {
            base[usize::from(condition.argument)] = condition.value;
        }
        bases.push(base);
    }
    let mut all = bases.clone();
    let tested: BTreeSet<u8> = rules.iter().flat_map(|rule| &rule.conditions).map(|condition| condition.argument).collect();
    for argument in tested {
        for value in oracle::edges(rules, argument) {
            all.extend(bases.iter().map(|base| {
                let mut arguments = *base;
                arguments[usize::from(argument)] = value;
                arguments
            }));
        }
    }
    all
}

#[test]
fn the_default_programs_are_faithful_for_each_capability() {
    for arch in [Arch::X86_64, Arch::Aarch64] {
        for capabilities in capability_sets() {
            assert_faithful(&profile::policy(arch, capabilities, true));
        }
        assert_faithful(&profile::policy(arch, CapSet::DEFAULT, false));
    }
}

#[test]
fn the_default_programs_are_small() {
    for capabilities in capability_sets() {
        let size = default_filter(capabilities).program.len();
        assert!(size <= 256, "{size} instructions with {capabilities:?}");
    }
}

#[test]
fn compiling_is_quick() {
    let best = (0..20).map(|_| {
        let start = std::time::Instant::now();
        let filter = default_filter(CapSet::DEFAULT);
        (start.elapsed(), filter.program.len())
    });
    let (time, size) = best.min().expect("twenty of them");
    assert!(time < std::time::Duration::from_millis(5), "{time:?} for {size} instructions");
}

/// What the kernel does when a filter is loaded, to find the calls that it need not run it for (`seccomp_is_const_allow`).
fn is_cached_by_the_kernel(program: &[SockFilter], number: u32) -> bool {
    use compile::{AND, JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_OR_EQUAL, JUMP_SET, LOAD, RETURN};
    let (mut accumulator, mut at) = (0u32, 0usize);
    loop {
        let SockFilter { code, jt, jf, k } = program[at];
        let mut jump = |taken: bool| at += usize::from(if taken { jt } else { jf });
        match code {
            LOAD if k == 0 => accumulator = number,
            LOAD if k == 4 => accumulator = X86_64,
            LOAD => return false,
            RETURN => return k == Verdict::Allow.encode(),
            JUMP => at += k as usize,
            JUMP_EQUAL => jump(accumulator == k),
            JUMP_GREATER => jump(accumulator > k),
            JUMP_GREATER_OR_EQUAL => jump(accumulator >= k),
            JUMP_SET => jump(accumulator & k != 0),
            AND => accumulator &= k,
            _ => return false,
        }
        at += 1;
    }
}

#[test]
fn all_calls_without_argument_checks_are_cached_by_the_kernel() {
    let policy = profile::policy(Arch::X86_64, CapSet::DEFAULT, true);
    let program = compile::program(&policy);
    let mut cached = 0;
    for (number, rules) in &policy.calls {
        if *rules == [Rule::always(Verdict::Allow)] {
            assert!(is_cached_by_the_kernel(&program, *number), "{number}");
            cached += 1;
        }
    }
    assert!(cached > 290, "{cached}");
}

#[test]
fn jumps_reach_over_the_largest_programs() {
    // So many rules that no conditional jump gets from the tree to most of them.
    let mut policy = Policy::new(Arch::X86_64, EPERM);
    for number in 0..120u32 {
        let condition = |value| Condition { argument: 1, width: Width::Full64, comparison: Comparison::Equal, value };
        let rule = |value: u32| Rule::when([condition(u64::from(value) << 30)], Verdict::Errno((value % 700) as u16));
        policy.calls.insert(number * 3, (0..8).map(|at| rule(number * 8 + at + 1)).collect());
    }
    assert!(compile::program(&policy).len() > 2000);
    assert_faithful(&policy);
}

// ---- The default profile's promises ----

#[test]
fn other_abis_are_closed() {
    let filter = default_filter(CapSet::ALL);
    for number in (0..=600).chain([u32::MAX]) {
        assert_eq!(filter.verdict_of(&Call { number, arch: I386, arguments: [0; 6] }), Verdict::KillProcess, "i386 {number}");
        let x32 = Call { number: number | X32_BIT, arch: X86_64, arguments: [0; 6] };
        assert_eq!(filter.verdict_of(&x32), ENOSYS, "x32 {number}");
    }
}

#[test]
fn numbers_that_are_not_known_are_calls_of_a_newer_kernel() {
    let filter = default_filter(CapSet::ALL);
    for number in (337..424).chain(470..=600).chain([999, 0x3fff_ffff]) {
        assert_eq!(filter.verdict_of(&Call { number, arch: X86_64, arguments: [0; 6] }), ENOSYS, "{number}");
    }
}

#[test]
fn the_table_of_calls_holds() {
    let filter = default_filter(CapSet::DEFAULT);
    let refused = "mount umount2 fsopen fsmount move_mount fsconfig fspick mount_setattr open_tree pivot_root unshare setns bpf \
                   perf_event_open userfaultfd keyctl add_key request_key pidfd_getfd kcmp open_by_handle_at sethostname setdomainname \
                   kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff acct settimeofday \
                   clock_settime syslog iopl ioperm vmsplice mbind set_mempolicy move_pages quotactl fanotify_init process_madvise";
    let absent = "clone3 io_uring_setup io_uring_enter io_uring_register modify_ldt lookup_dcookie open_tree_attr";
    let allowed = "chroot name_to_handle_at ptrace process_vm_readv process_vm_writev mknod uname getrandom openat2 seccomp memfd_create \
                   landlock_create_ruleset landlock_add_rule landlock_restrict_self futex futex_wait futex_wake futex_waitv mseal cachestat \
                   read write execve ioctl fork vfork clock_adjtime";
    let expected = [(refused, EPERM), (absent, ENOSYS), (allowed, Verdict::Allow)];
    for (names, verdict) in expected {
        for name in names.split_ascii_whitespace() {
            for arguments in [[0; 6], [u64::MAX; 6]] {
                assert_eq!(on(&filter, name, arguments), verdict, "{name}");
            }
        }
    }
}

#[test]
fn namespaces_need_sys_admin_by_every_way() {
    let without = default_filter(CapSet::ALL.without(CapSet::of(&[Capability::SYS_ADMIN])));
    let with = default_filter(CapSet::DEFAULT.union(CapSet::of(&[Capability::SYS_ADMIN])));
    for bit in 0..64 {
        let flags = 1u64 << bit;
        let new = u64::from(profile::NEW_NAMESPACES) & flags != 0;
        for noise in [0, 0x3d0f00, 17] {
            assert_eq!(on(&without, "clone", first(flags | noise)), if new { EPERM } else { Verdict::Allow }, "bit {bit}");
            assert_eq!(on(&with, "clone", first(flags | noise)), Verdict::Allow);
        }
    }
    assert_eq!(on(&without, "unshare", first(0x1000_0000)), EPERM);
    assert_eq!(on(&with, "unshare", first(0x1000_0000)), Verdict::Allow);
    assert_eq!(on(&without, "clone3", [0; 6]), ENOSYS);
    assert_eq!(on(&with, "clone3", [0; 6]), Verdict::Allow);
}

#[test]
fn address_families_are_an_allow_list() {
    for (capabilities, packet) in [(CapSet::DEFAULT, EPERM), (CapSet::ALL, Verdict::Allow)] {
        let filter = default_filter(capabilities);
        for call in ["socket", "socketpair"] {
            for family in (0..=64u64).chain([0xffff_ffff]) {
                let expected = match family {
                    1 | 2 | 10 | 16 => Verdict::Allow,
                    17 => packet,
                    _ => Verdict::Errno(97),
                };
                // The kernel takes an int: what is in the upper half must not matter.
                for upper in [0, 1 << 32, 0xffff_ffff_0000_0000] {
                    assert_eq!(on(&filter, call, [family | upper, 3, 0, 0, 0, 0]), expected, "{call} {family}");
                }
            }
        }
    }
}

#[test]
fn netlink_protocols_need_their_capability() {
    let netlink = |capabilities: &[Capability], protocol: u64| {
        on(&default_filter(CapSet::DEFAULT.union(CapSet::of(capabilities))), "socket", [16, 3, protocol, 0, 0, 0])
    };
    assert_eq!(netlink(&[], 0), Verdict::Allow, "routes");
    assert_eq!(netlink(&[], 9), Verdict::Errno(22), "audit");
    assert_eq!(netlink(&[], 12), EPERM, "netfilter");
    assert_eq!(netlink(&[], 12 | 1 << 32), EPERM, "netfilter with a dirty register");
    assert_eq!(netlink(&[Capability::NET_ADMIN], 12), Verdict::Allow);
    assert_eq!(netlink(&[Capability::NET_ADMIN], 9), Verdict::Errno(22));
    for one in [Capability::AUDIT_WRITE, Capability::AUDIT_CONTROL, Capability::AUDIT_READ] {
        assert_eq!(netlink(&[one], 9), Verdict::Allow, "{one}");
    }
}

#[test]
fn personalities_are_an_allow_list() {
    let filter = default_filter(CapSet::DEFAULT);
    for allowed in [0, 8, 0x20000, 0x20008, 0xffff_ffff, u64::MAX] {
        assert_eq!(on(&filter, "personality", first(allowed)), Verdict::Allow, "{allowed:#x}");
    }
    for refused in [1, 9, 0x0040000, 0x10000, 0x20001, 0xffff_fffe] {
        assert_eq!(on(&filter, "personality", first(refused)), EPERM, "{refused:#x}");
    }
}

#[test]
fn a_shared_pid_namespace_closes_tracing() {
    let shared = |capabilities| compile(&Seccomp::Default, capabilities, &options(false)).expect("no fault").expect("a filter");
    for call in ["ptrace", "process_vm_readv", "process_vm_writev"] {
        assert_eq!(on(&shared(CapSet::DEFAULT), call, [0; 6]), EPERM, "{call}");
        assert_eq!(on(&shared(CapSet::of(&[Capability::SYS_PTRACE])), call, [0; 6]), Verdict::Allow, "{call}");
        assert_eq!(on(&default_filter(CapSet::EMPTY), call, [0; 6]), Verdict::Allow, "{call}");
    }
}

#[test]
fn each_capability_opens_its_calls() {
    let table = [
        ("SYS_ADMIN", "mount setns unshare bpf perf_event_open syslog fanotify_init pivot_root clone3 open_tree_attr quotactl"),
        ("DAC_READ_SEARCH", "open_by_handle_at"),
        ("SYS_BOOT", "reboot"),
        ("SYS_MODULE", "init_module finit_module delete_module"),
        ("SYS_PACCT", "acct"),
        ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
        ("SYS_RAWIO", "iopl ioperm"),
        ("SYS_TIME", "settimeofday clock_settime"),
        ("SYS_TTY_CONFIG", "vhangup"),
        ("SYS_NICE", "mbind set_mempolicy get_mempolicy"),
        ("SYSLOG", "syslog"),
        ("BPF", "bpf"),
        ("PERFMON", "perf_event_open"),
    ];
    for (name, calls) in table {
        let one = CapSet::of(&[Capability::from_name(name).expect(name)]);
        for call in calls.split_ascii_whitespace() {
            assert_eq!(on(&default_filter(CapSet::DEFAULT.union(one)), call, [0; 6]), Verdict::Allow, "{call} with {name}");
            let without = default_filter(CapSet::DEFAULT.without(one));
            assert_ne!(on(&without, call, [0; 6]), Verdict::Allow, "{call} without {name}");
        }
    }
    assert_ne!(on(&default_filter(CapSet::EMPTY), "chroot", [0; 6]), Verdict::Allow);
    // Whatever the container may do.
    for call in ["keyctl", "add_key", "kexec_load", "userfaultfd", "vmsplice", "swapon", "io_uring_setup", "modify_ldt"] {
        assert_ne!(on(&default_filter(CapSet::ALL), call, [0; 6]), Verdict::Allow, "{call}");
    }
}

#[test]
fn unconfined_and_privileged_have_no_filter() {
    let security = |privileged, seccomp| Security { privileged, cap_add: vec![], cap_drop: vec![], no_new_privileges: true, seccomp };
    let filter = |privileged, seccomp| for_container(&security(privileged, seccomp), &options(true)).map(|filter| filter.is_some());
    assert_eq!(filter(false, Seccomp::Default), Ok(true));
    assert_eq!(filter(false, Seccomp::Unconfined), Ok(false));
    assert_eq!(filter(true, Seccomp::Default), Ok(false));
    let own = Seccomp::Custom { profile: json!({"defaultAction": "SCMP_ACT_ALLOW"}) };
    assert_eq!(filter(true, own), Ok(true), "a profile of one's own is meant");
}

#[test]
fn what_is_refused_can_be_listed() {
    let refused = default_filter(CapSet::DEFAULT).refused();
    assert!(refused.contains(&("mount", EPERM)) && refused.contains(&("clone3", ENOSYS)));
    assert!(!refused.iter().any(|(name, _)| ["read", "clone", "personality"].contains(name)));
    assert!(why("mount").is_some_and(|why| why.contains("mounts")));
    assert_eq!(why("no_such_call"), None);
}

// ---- The running kernel ----

/// A filter binds one thread only, so that the test's own is left alone.
#[cfg(target_arch = "x86_64")]
fn under_default_filter<T: Send + 'static>(work: fn() -> T) -> T {
    let filter = default_filter(CapSet::DEFAULT);
    let thread = std::thread::spawn(move || {
        crate::sys::process::set_no_new_privs().expect("no privilege is needed");
        crate::sys::seccomp::load(&filter.program).expect("the kernel takes it");
        work()
    });
    thread.join().expect("all that a thread needs is allowed")
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_kernel_does_what_the_program_says() {
    use nix::errno::Errno;
    use nix::sched::{CloneFlags, unshare};
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let answers = under_default_filter(|| {
        let open = |family| socket(family, SockType::Datagram, SockFlag::empty(), None).map(drop);
        let mount = nix::mount::mount(None::<&str>, "/", None::<&str>, nix::mount::MsFlags::MS_SILENT, None::<&str>);
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        (
            [AddressFamily::Unix, AddressFamily::Vsock, AddressFamily::Alg, AddressFamily::Tipc].map(open),
            mount,
            unshare(CloneFlags::CLONE_NEWUSER),
            nix::unistd::sethostname("never"),
            status,
        )
    });
    let (sockets, mount, unshare, hostname, status) = answers;
    assert_eq!(sockets, [Ok(()), Err(Errno::EAFNOSUPPORT), Err(Errno::EAFNOSUPPORT), Err(Errno::EAFNOSUPPORT)]);
    assert_eq!((mount, unshare, hostname), (Err(Errno::EPERM), Err(Errno::EPERM), Err(Errno::EPERM)));
    let line = |name| status.lines().find_map(|line: &str| line.strip_prefix(name)).map(str::trim);
    assert_eq!((line("Seccomp:"), line("Seccomp_filters:")), (Some("2"), Some("1")));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn children_and_threads_work_under_the_filter_and_keep_it() {
    let (child, thread) = under_default_filter(|| {
        let output =
            std::process::Command::new("/bin/sh").args(["-c", "grep Seccomp: /proc/self/status; unshare -U true || echo no"]).output();
        let thread = std::thread::spawn(|| std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default()).join();
        (output, thread)
    });
    let child = String::from_utf8_lossy(&child.expect("fork and exec").stdout).into_owned();
    assert!(child.contains("Seccomp:\t2") && child.ends_with("no\n"), "{child}");
    assert!(thread.expect("joined").contains("Seccomp:\t2"));
}

// ---- Custom profiles ----

mod profiles;
