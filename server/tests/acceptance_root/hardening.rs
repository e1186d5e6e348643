//! What a program in a container cannot do, asked from inside by really trying: capabilities, system calls, /proc, /sys, /dev.
//!
//! The positive control is a privileged container, in which the same attempts reach the kernel: a check that passes there too checks nothing.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::common::{Scope, host, image};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    let mut all = tests![Shared:
        capabilities_are_the_documented_eleven,
        capabilities_are_dropped_and_added_by_name,
        a_plain_user_has_none,
        no_new_privileges_by_default,
        one_filter_is_on,
        the_call_table_holds,
        the_call_table_holds_in_an_exec,
        the_table_sees_the_difference_when_unconfined,
        only_four_socket_families_open,
        a_profile_of_ones_own_makes_a_call_fail,
        no_descriptor_is_inherited,
        devices_are_the_standard_ones,
        other_device_nodes_cannot_be_opened,
        masked_paths_say_nothing,
        read_only_paths_cannot_be_written,
        mount_flags_are_the_oci_s,
        rlimits_are_the_specs,
        sysctls_are_the_containers_own,
        the_control_plane_has_no_root,
    ];
    all.extend(tests![Own: nobody_inherits_the_launchers_socket]);
    all
}

fn capability_sets(status: &str) -> BTreeMap<String, u64> {
    let sets = status.lines().filter_map(|line| line.strip_prefix("Cap")?.split_once(':'));
    sets.map(|(name, hex)| (name.to_owned(), u64::from_str_radix(hex.trim(), 16).unwrap())).collect()
}

fn capabilities_are_the_documented_eleven(scope: &Scope<'_>) {
    /// CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP: see capabilities(7).
    const ELEVEN: u64 = 0x8004_05fb;
    let container = scope.idle();
    for (who, status) in [("init", "/proc/1/status"), ("exec", "/proc/self/status")] {
        let sets = capability_sets(&container.exec_output(&["cat", status]));
        for set in ["Prm", "Eff", "Bnd"] {
            assert_eq!(sets[set], ELEVEN, "{who}: Cap{set} is {:x}", sets[set]);
        }
        assert_eq!((sets["Inh"], sets["Amb"]), (0, 0), "{who}: {sets:x?}");
    }
}

fn capabilities_are_dropped_and_added_by_name(scope: &Scope<'_>) {
    let with = |capabilities: Value| {
        let container = scope.idle_with(json!({"security": {"capabilities": capabilities}}));
        capability_sets(&container.exec_output(&["cat", "/proc/1/status"]))["Eff"]
    };
    assert_eq!(with(json!({"drop": ["ALL"]})), 0);
    assert_eq!(with(json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]})), 1 << 10);
    assert_eq!(with(json!({"add": ["CAP_NET_RAW"]})), 0x8004_05fb | 1 << 13);
    let body = scope.body(json!({"security": {"capabilities": {"add": ["FLY"]}}}));
    scope.api().post("/api/v1/containers").json(&body).send().field_fault("/spec/security/capabilities/add/0");
}

fn a_plain_user_has_none(scope: &Scope<'_>) {
    let container = scope.idle_with(json!({"user": "1000"}));
    let sets = capability_sets(&container.exec_output(&["cat", "/proc/1/status"]));
    assert_eq!((sets["Prm"], sets["Eff"], sets["Amb"]), (0, 0, 0), "{sets:x?}");
}

fn no_new_privileges_by_default(scope: &Scope<'_>) {
    let field = |container: &crate::common::Container<'_>| container.exec_output(&["grep", "NoNewPrivs", "/proc/1/status"]);
    assert!(field(&scope.idle()).trim().ends_with('1'));
    assert!(field(&scope.idle_with(json!({"security": {"noNewPrivileges": false}}))).trim().ends_with('0'));
    // What it is for: a setuid file gives nothing.
    let busybox = fs::read("/bin/busybox").or_else(|_| fs::read("/usr/bin/busybox")).unwrap();
    scope.berth.import("setuid:test", image::busybox_with(|tar| tar.file("./bin/rootid", 0o4755, &busybox)));
    let container = scope.idle_with(json!({"image": "setuid:test", "user": "1000"}));
    assert_eq!(container.exec_output(&["sh", "-c", "exec -a id /bin/rootid -u 2>/dev/null || /bin/rootid id -u"]), "1000\n");
}

fn one_filter_is_on(scope: &Scope<'_>) {
    let container = scope.idle();
    for status in ["/proc/1/status", "/proc/self/status"] {
        let said = container.exec_output(&["grep", "Seccomp", status]);
        let fields: BTreeMap<&str, &str> =
            said.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect();
        assert_eq!((fields["Seccomp"], fields["Seccomp_filters"]), ("2", "1"), "{status}: {said}");
    }
    let unconfined = scope.idle_with(json!({"security": {"seccomp": {"type": "unconfined"}}}));
    assert!(unconfined.exec_output(&["grep", "Seccomp:", "/proc/1/status"]).trim().ends_with('0'));
}

/// Call and what it must answer in a default container; alternatives where the kernel's own answer differs between versions.
const CALL_TABLE: &str = "
    mount EPERM, umount2 EPERM, fsopen EPERM, fsmount EPERM, move_mount EPERM, mount_setattr EPERM, open_tree EPERM, open_tree_attr ENOSYS
    pivot_root EPERM, chroot OK, setns EPERM
    unshare-user EPERM, unshare-mnt EPERM, unshare-net EPERM, unshare-pid EPERM, unshare-ipc EPERM, unshare-uts EPERM, unshare-cgroup EPERM
    clone OK, clone-user EPERM, clone-mnt EPERM, clone-net EPERM, clone-pid EPERM, clone3 ENOSYS
    bpf EPERM, perf_event_open EPERM, userfaultfd EPERM, keyctl EPERM, add_key EPERM, request_key EPERM
    io_uring_setup ENOSYS, io_uring_enter ENOSYS, io_uring_register ENOSYS
    ptrace OK, pidfd_getfd EPERM, kcmp EPERM, open_by_handle_at EPERM, name_to_handle_at OK|EOPNOTSUPP
    sethostname EPERM, setdomainname EPERM, mknod-char EPERM, mknod-block EPERM
    kexec_load EPERM, kexec_file_load EPERM, init_module EPERM, finit_module EPERM, delete_module EPERM
    reboot EPERM, swapon EPERM, swapoff EPERM, acct EPERM, settimeofday EPERM, clock_settime EPERM, clock_adjtime EPERM, syslog EPERM
    quotactl EPERM, lookup_dcookie EPERM|ENOSYS, fanotify_init EPERM, vmsplice EPERM, mbind EPERM, set_mempolicy EPERM, move_pages EPERM
    personality-query OK, personality-linux OK, personality-other EPERM
    af-unix OK, af-inet OK, af-inet6 OK|EAFNOSUPPORT, netlink-route OK
    af-alg EAFNOSUPPORT, af-vsock EAFNOSUPPORT, af-xdp EAFNOSUPPORT, af-tipc EAFNOSUPPORT, af-rds EAFNOSUPPORT
    af-packet EPERM|EAFNOSUPPORT, raw-icmp EPERM
    getrandom OK, openat2 OK, memfd_create OK, landlock OK|EOPNOTSUPP|ENOSYS, unknown ENOSYS, far-unknown ENOSYS, setuid OK
    modify_ldt ENOSYS, iopl EPERM, ioperm EPERM
    i386-getpid SIGSYS|ENOSYS, i386-unshare SIGSYS|ENOSYS, i386-socket-alg SIGSYS|ENOSYS, x32-getpid SIGSYS|ENOSYS
";

/// What differs from the table, a line each.
fn breaches(said: &str) -> Vec<String> {
    let answers: BTreeMap<&str, &str> = said.lines().filter_map(|line| line.split_once(' ')).collect();
    let rows = CALL_TABLE.split([',', '\n']).filter_map(|row| row.trim().split_once(' '));
    // Calls of one architecture are asked there only.
    let asked = |name: &str| {
        cfg!(target_arch = "x86_64") || !["modify_ldt", "iopl", "ioperm", "i386", "x32"].iter().any(|only| name.starts_with(only))
    };
    rows.filter(|(name, _)| asked(name))
        .filter_map(|(name, wanted)| match answers.get(name) {
            Some(answer) if wanted.split('|').any(|good| good == *answer) => None,
            answer => Some(format!("{name}: {}, and must be {wanted}", answer.unwrap_or(&"not asked"))),
        })
        .collect()
}

fn the_call_table_holds(scope: &Scope<'_>) {
    scope.berth.import("probe:calls", image::probe_image());
    let container = scope.run(json!({"image": "probe:calls", "command": ["probe", "calls"]}));
    assert_eq!(container.wait()["exitCode"], 0);
    let faults = breaches(&container.logs(""));
    assert!(faults.is_empty(), "{faults:#?}");
}

fn the_call_table_holds_in_an_exec(scope: &Scope<'_>) {
    scope.berth.import("probe:execs", image::probe_image());
    let faults = breaches(&scope.idle_with(json!({"image": "probe:execs"})).exec_output(&["probe", "calls"]));
    assert!(faults.is_empty(), "{faults:#?}");
}

fn the_table_sees_the_difference_when_unconfined(scope: &Scope<'_>) {
    scope.berth.import("probe:free", image::probe_image());
    let container =
        scope.run(json!({"image": "probe:free", "command": ["probe", "calls"], "security": {"seccomp": {"type": "unconfined"}}}));
    container.wait();
    let faults = breaches(&container.logs(""));
    // A call that the kernel itself does not know yet is ENOSYS with and without a filter.
    let newest = host::kernel_at_least(6, 15).then_some("open_tree_attr");
    for name in ["keyctl", "unshare-user", "i386-getpid"].into_iter().chain(newest) {
        assert!(faults.iter().any(|fault| fault.starts_with(name)), "{name} answers the same without a filter: the table proves nothing");
    }
}

fn only_four_socket_families_open(scope: &Scope<'_>) {
    scope.berth.import("probe:families", image::probe_image());
    let container = scope.run(json!({"image": "probe:families", "command": ["probe", "families"]}));
    container.wait();
    let said = container.logs("");
    let families: std::collections::BTreeSet<&str> = said.lines().filter_map(|line| line.split(' ').next()).collect();
    // AF_UNIX, AF_INET, AF_INET6, AF_NETLINK.
    assert!(families.contains("1") && families.contains("2"), "{families:?}");
    assert!(families.iter().all(|family| ["1", "2", "10", "16"].contains(family)), "{families:?}");
}

fn a_profile_of_ones_own_makes_a_call_fail(scope: &Scope<'_>) {
    scope.berth.import("probe:profile", image::probe_image());
    // The OCI's form: everything is allowed but sockets, with an errno of its own.
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]});
    let container = scope.run(json!({"image": "probe:profile", "command": ["probe", "calls"],
        "security": {"seccomp": {"type": "custom", "profile": profile}}}));
    container.wait();
    let said = container.logs("");
    for line in ["af-inet EACCES", "af-unix EACCES", "chroot OK"] {
        assert!(said.lines().any(|found| found == line), "no {line:?} in\n{said}");
    }
    let broken = scope.body(json!({"security": {"seccomp": {"type": "custom", "profile": {"defaultAction": "SCMP_ACT_WISH"}}}}));
    let problem = scope.api().post("/api/v1/containers").json(&broken).send().problem(422);
    assert!(problem["errors"][0]["path"].as_str().unwrap().starts_with("/spec/security/seccomp/profile"), "{problem:#}");
}

fn no_descriptor_is_inherited(scope: &Scope<'_>) {
    scope.berth.import("probe:fds", image::probe_image());
    let container = scope.run(json!({"image": "probe:fds", "command": ["probe", "fds"]}));
    container.wait();
    let exec = scope.idle_with(json!({"image": "probe:fds"})).exec_output(&["probe", "fds"]);
    for said in [container.logs(""), exec] {
        let numbers: Vec<&str> = said.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(numbers, ["0", "1", "2"], "{said}");
        for line in said.lines() {
            let target = line.split_once(' ').unwrap().1;
            assert!(target == "/dev/null" || target.starts_with("pipe:[") || target.starts_with("socket:["), "{line}");
        }
    }
}

/// What a worker unpacks or a container runs must not be able to speak to the launcher by a descriptor that it inherited.
fn nobody_inherits_the_launchers_socket(scope: &Scope<'_>) {
    let container = scope.create(json!({"command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]}));
    super::archive::with_large_file(&container);
    container.start();
    let copy = scope.api().get(&container.path("/archive?path=/tmp/large")).open().unwrap();
    assert_eq!(copy.status, 200);
    let path = scope.berth.run_dir().join("launch.sock").display().to_string();
    let table = fs::read_to_string("/proc/net/unix").unwrap();
    // Flags with __SO_ACCEPTCON, which only the listening one has; see proc_net(5).
    let line = table.lines().find(|line| line.ends_with(&path) && line.split(' ').nth(3) == Some("00010000"));
    let socket = format!("socket:[{}]", line.expect("the launcher listens").split_whitespace().nth(6).unwrap());
    let has = |pid: i32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| target.as_os_str() == socket.as_str())
    };
    let name = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let mut holders: Vec<String> = host::processes().into_iter().filter(|one| has(one.pid)).map(|one| name(one.pid)).collect();
    holders.sort();
    assert_eq!(holders, ["berth-keeper\n", "berth-launch\n"]);
}

fn devices_are_the_standard_ones(scope: &Scope<'_>) {
    let container = scope.idle();
    let listed = container.exec_output(&["ls", "/dev"]);
    let names: Vec<&str> = listed.split_whitespace().collect();
    let standard = ["fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"];
    assert_eq!(names, standard);
    container.exec_output(&["sh", "-c", "echo x > /dev/null && head -c 9 /dev/zero > /dev/null && head -c 9 /dev/urandom > /dev/null"]);
    assert_ne!(container.exec(&["sh", "-c", "echo x > /dev/full"]).exit_code, 0);
}

fn other_device_nodes_cannot_be_opened(scope: &Scope<'_>) {
    // Nodes that came with the image, and nodes made inside by whoever may.
    scope.berth.import("devices:test", image::busybox_with(|tar| tar.device("./disk", 254, 0).device("./ram", 1, 0)));
    let container = scope.idle_with(json!({"image": "devices:test"}));
    for node in ["/disk", "/ram"] {
        assert_ne!(container.exec(&["head", "-c", "1", node]).exit_code, 0, "{node} can be read");
    }
    assert_ne!(container.exec(&["mknod", "/tmp/mem", "c", "1", "1"]).exit_code, 0);
    let with_mknod = scope.idle_with(json!({"namespaces": {"user": "host"}, "security": {"capabilities": {"add": ["MKNOD"]}}}));
    let made = with_mknod.exec(&["sh", "-c", "mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem"]);
    assert_ne!(made.exit_code, 0, "the device cgroup lets /dev/mem through");
}

fn masked_paths_say_nothing(scope: &Scope<'_>) {
    let container = scope.idle();
    for file in ["kcore", "keys", "latency_stats", "timer_list", "sched_debug", "interrupts"] {
        let bytes = container.exec(&["sh", "-c", &format!("cat /proc/{file} 2>/dev/null | wc -c")]);
        assert_eq!(bytes.stdout.trim(), "0", "/proc/{file} speaks");
    }
    for folder in ["/proc/acpi", "/proc/scsi", "/proc/asound", "/sys/firmware", "/sys/devices/virtual/powercap"] {
        assert_eq!(container.exec(&["sh", "-c", &format!("ls -A {folder} 2>/dev/null")]).stdout, "", "{folder} has something in it");
    }
    for escape in ["umount /proc/keys", "umount /sys/firmware", "mount -t proc proc /tmp"] {
        assert_ne!(container.exec(&["sh", "-c", escape]).exit_code, 0, "{escape} worked");
    }
}

fn read_only_paths_cannot_be_written(scope: &Scope<'_>) {
    let container = scope.idle();
    let hooks = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sysrq-trigger",
        "/sys/kernel/uevent_helper",
        "/proc/sys/kernel/pid_max",
    ];
    for path in hooks {
        // Opened for appending and nothing written: were it possible, nothing would happen.
        let opened = container.exec(&["sh", "-c", &format!(": >> {path}")]);
        assert_ne!(opened.exit_code, 0, "{path} opens for writing");
    }
    for path in ["/proc/bus/x", "/proc/fs/x", "/proc/irq/x", "/sys/x", "/sys/fs/cgroup/x"] {
        assert_ne!(container.exec(&["mkdir", path]).exit_code, 0, "{path} can be made");
    }
    assert_eq!(container.exec(&["sh", "-c", "ls /sys/fs/cgroup/*/release_agent 2>/dev/null"]).stdout, "");
    let sealed = scope.idle_with(json!({"security": {"readOnlyRootfs": true}, "mounts": [{"type": "tmpfs", "target": "/tmp"}]}));
    assert!(sealed.exec(&["touch", "/x"]).stderr.contains("Read-only"), "the root file system can be written");
    sealed.exec_output(&["touch", "/tmp/x"]);
}

fn mount_flags_are_the_oci_s(scope: &Scope<'_>) {
    let container = scope.idle();
    let mounts = container.exec_output(&["cat", "/proc/self/mounts"]);
    let options = |target: &str| {
        let line = mounts
            .lines()
            .find(|line| line.split(' ').nth(1) == Some(target))
            .unwrap_or_else(|| panic!("{target} is not a mount:\n{mounts}"));
        line.split(' ').nth(3).unwrap().split(',').map(str::to_owned).collect::<Vec<_>>()
    };
    for target in ["/proc", "/sys", "/dev/shm", "/dev/mqueue"] {
        for flag in ["nosuid", "nodev", "noexec"] {
            assert!(options(target).contains(&flag.to_owned()), "{target} lacks {flag}");
        }
    }
    assert!(options("/sys").contains(&"ro".to_owned()));
    for flag in ["nosuid", "noexec"] {
        assert!(options("/dev/pts").contains(&flag.to_owned()), "/dev/pts lacks {flag}");
    }
    assert!(options("/dev").contains(&"nosuid".to_owned()));
}

fn rlimits_are_the_specs(scope: &Scope<'_>) {
    let container =
        scope.idle_with(json!({"rlimits": [{"type": "nofile", "soft": 123, "hard": 456}, {"type": "core", "soft": 0, "hard": 0}]}));
    let limits = fs::read_to_string(format!("/proc/{}/limits", container.pid())).unwrap();
    let row = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(row.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["123", "456"]);
    assert_eq!(container.exec_output(&["sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c"]), "123\n456\n0\n");
}

fn sysctls_are_the_containers_own(scope: &Scope<'_>) {
    const FILE: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let before = fs::read_to_string(FILE).unwrap();
    let container = scope.idle_with(json!({"sysctls": {"net.ipv4.ip_unprivileged_port_start": "0"}}));
    assert_eq!(container.exec_output(&["cat", FILE]), "0\n");
    assert_eq!(fs::read_to_string(FILE).unwrap(), before, "the host's was changed");
    for (name, value) in [("kernel.core_pattern", "x"), ("net/../kernel/core_pattern", "x"), ("net.ipv4.ip_forward", "1\n2")] {
        let mut sysctls = json!({});
        sysctls[name] = json!(value);
        let body = scope.body(json!({"sysctls": sysctls}));
        scope.api().post("/api/v1/containers").json(&body).send().problem(422);
    }
}

fn the_control_plane_has_no_root(scope: &Scope<'_>) {
    let pid = scope.berth.pid();
    let uids = host::status_field(pid, "Uid").unwrap();
    assert!(uids.split_whitespace().all(|uid| uid != "0"), "uid {uids}");
    for set in ["CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd"] {
        assert_eq!(host::status_field(pid, set).unwrap(), "0000000000000000", "{set}");
    }
    assert_eq!(host::status_field(pid, "NoNewPrivs").as_deref(), Some("1"));
}
