//! M1 to M7: each kind of namespace is a container's own, seen from inside, from the host, and through the API.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::json;

use crate::common::{Container, Scope, host, image};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![Shared:
        a_shell_says_who_and_where_it_is,
        the_first_process_is_pid_1_inside_and_another_outside,
        pid_namespaces_nest,
        inside_sees_only_its_own_processes,
        the_root_file_system_is_its_own_and_nothing_shows_in_the_hosts_mount_table,
        network_none_has_lo_and_nothing_else,
        two_containers_listen_on_the_same_port,
        shared_memory_is_not_visible_outside,
        hostname_and_domain_name_are_its_own,
        root_inside_is_nobody_outside,
        ranges_of_two_containers_do_not_overlap,
        its_own_cgroup_is_the_root_that_it_sees,
        the_namespaces_view_is_what_the_kernel_says,
        host_namespaces_are_the_hosts,
    ]
}

fn a_shell_says_who_and_where_it_is(scope: &Scope<'_>) {
    let script = "echo pid $$; echo host $(hostname); echo uid $(id -u); echo map $(cat /proc/self/uid_map); cat /proc/self/cgroup; cat /proc/self/mountinfo";
    let container = scope.run(json!({"command": ["sh", "-c", script], "hostname": "shell"}));
    assert_eq!(container.wait()["exitCode"], 0);
    let said = container.logs("");
    let base = container.status()["uidBase"].as_u64().expect("it had a range");
    for wanted in ["pid 1".to_owned(), "host shell".to_owned(), "uid 0".to_owned(), format!("map 0 {base} 65536")] {
        assert!(said.lines().any(|line| line == wanted), "no line {wanted:?} in\n{said}");
    }
    assert!(said.lines().any(|line| line.contains(" / / ") && line.contains("overlay")), "its root is no overlay:\n{said}");
}

fn the_first_process_is_pid_1_inside_and_another_outside(scope: &Scope<'_>) {
    let container = scope.idle();
    let pid = container.pid();
    assert_ne!(pid, 1);
    let both = host::status_field(pid, "NSpid").unwrap();
    assert_eq!(both.split_whitespace().collect::<Vec<_>>(), [pid.to_string().as_str(), "1"]);
    let processes = container.look("/processes");
    let rows = processes["items"].as_array().or_else(|| processes.as_array()).expect("a list");
    let first = rows.iter().find(|row| row["containerPid"] == 1).unwrap_or_else(|| panic!("no pid 1: {processes:#}"));
    assert_eq!(first["pid"], pid);
}

fn pid_namespaces_nest(scope: &Scope<'_>) {
    let script = "unshare -f -p sh -c 'echo inner $$; exec sleep 1000' & wait";
    let container = scope.run(json!({"command": ["sh", "-c", script], "security": {"privileged": true}}));
    container.until_it_says("inner 1");
    let depth = |process: &host::Process| host::status_field(process.pid, "NSpid").map_or(0, |pids| pids.split_whitespace().count());
    let inner = host::processes().into_iter().find(|process| process.cgroup.contains(&container.uid) && process.command == "sleep 1000");
    assert_eq!(depth(&inner.expect("it runs")), 3);
}

fn inside_sees_only_its_own_processes(scope: &Scope<'_>) {
    let (one, other) = (scope.idle(), scope.idle());
    let listed = one.exec_output(&["sh", "-c", "ls -d /proc/[0-9]*"]);
    // pid 1, its sleep, and the listing's own two.
    assert!((2..=5).contains(&listed.lines().count()), "{listed}");
    let visible = one.exec_output(&["sh", "-c", "cat /proc/[0-9]*/cmdline"]);
    assert!(!visible.contains("berth"), "{visible}");
    assert_ne!(host::namespace(one.pid(), "pid"), host::namespace(other.pid(), "pid"));
}

fn the_root_file_system_is_its_own_and_nothing_shows_in_the_hosts_mount_table(scope: &Scope<'_>) {
    let host_mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let one = scope.idle_with(json!({"mounts": [{"type": "tmpfs", "target": "/only-inside"}]}));
    let other = scope.idle();
    one.exec_output(&["sh", "-c", "echo mine > /etc/mine; echo changed > /etc/passwd"]);
    assert_eq!(one.exec_output(&["cat", "/etc/mine"]), "mine\n");
    assert_ne!(other.exec(&["cat", "/etc/mine"]).exit_code, 0, "another container of the same image sees the file");
    assert!(other.exec_output(&["cat", "/etc/passwd"]).starts_with("root:"), "another container of the same image sees the change");
    for (text, what) in [
        (one.uid.clone(), "the container"),
        (scope.berth.home().display().to_string(), "the instance"),
        ("/only-inside".to_owned(), "its tmpfs"),
    ] {
        let seen: Vec<String> = host_mounts().lines().filter(|line| line.contains(&text)).map(str::to_owned).collect();
        assert!(seen.is_empty(), "{what} shows in the host's mount table: {seen:#?}");
    }
    let inside = one.exec_output(&["cat", "/proc/self/mountinfo"]);
    let propagates: Vec<&str> = inside.lines().filter(|line| line.contains("shared:") || line.contains("master:")).collect();
    assert!(propagates.is_empty(), "mounts that could leak out or in: {propagates:#?}");
}

fn network_none_has_lo_and_nothing_else(scope: &Scope<'_>) {
    let container = scope.idle_with(json!({"namespaces": {"network": "none"}}));
    assert_eq!(container.exec_output(&["ls", "/sys/class/net"]), "lo\n");
    let flags = container.exec_output(&["ip", "-o", "link", "show", "lo"]);
    assert!(flags.contains("UP"), "lo is down: {flags}");
    let routes = container.exec_output(&["cat", "/proc/net/route"]);
    assert_eq!(routes.lines().count(), 1, "a way out: {routes}");
    assert_ne!(host::namespace(container.pid(), "net"), Some(host::own_namespace("net")));
}

fn two_containers_listen_on_the_same_port(scope: &Scope<'_>) {
    let listening = |container: &Container<'_>| {
        host::until("it listens on port 80", || {
            Some(()).filter(|()| container.exec_output(&["cat", "/proc/net/tcp", "/proc/net/tcp6"]).contains(":0050 "))
        });
    };
    let spec = json!({"command": ["nc", "-l", "-p", "80"]});
    let (one, other) = (scope.run(spec.clone()), scope.run(spec));
    listening(&one);
    listening(&other);
}

fn shared_memory_is_not_visible_outside(scope: &Scope<'_>) {
    scope.berth.import("probe:ipc", image::probe_image());
    let idle = |ipc: &str| scope.idle_with(json!({"image": "probe:ipc", "namespaces": {"ipc": ipc}}));
    let (one, other) = (idle("private"), idle("private"));
    assert_eq!(one.exec_output(&["probe", "shm-make", "4711"]), "made\n");
    assert_eq!(one.exec_output(&["probe", "shm-find", "4711"]), "found\n");
    assert_eq!(other.exec_output(&["probe", "shm-find", "4711"]), "ENOENT\n");
    let outside = Command::new(image::probe()).args(["shm-find", "4711"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&outside.stdout), "ENOENT\n");
}

fn hostname_and_domain_name_are_its_own(scope: &Scope<'_>) {
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let container = scope.idle_with(json!({"hostname": "inside", "domainname": "example.test"}));
    assert_eq!(container.exec_output(&["hostname"]), "inside\n");
    assert_eq!(container.exec_output(&["cat", "/proc/sys/kernel/domainname"]), "example.test\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
    let unnamed = scope.idle();
    assert!(!unnamed.exec_output(&["hostname"]).trim().is_empty());
    assert_ne!(unnamed.exec_output(&["hostname"]), before, "a container without a hostname has the host's");
}

fn root_inside_is_nobody_outside(scope: &Scope<'_>) {
    let container = scope.idle();
    let base = container.status()["uidBase"].as_u64().expect("a private user namespace has a range");
    assert!(base >= 100_000, "{base} is below the ranges that are nobody's");
    for field in ["Uid", "Gid"] {
        let ids = host::status_field(container.pid(), field).unwrap();
        assert!(ids.split_whitespace().all(|id| id == base.to_string()), "{field} outside: {ids}");
    }
    assert_eq!(container.exec_output(&["id", "-u"]), "0\n");
    // Image files belong to root inside although they belong to the host's root on disk and are shared by all.
    assert_eq!(container.exec_output(&["stat", "-c", "%u:%g", "/bin/busybox", "/etc/passwd"]), "0:0\n0:0\n");
    // What the host's root owns is nobody's in there.
    assert_eq!(container.exec_output(&["stat", "-c", "%u", "/proc/sys/kernel/hostname"]), "65534\n");
}

fn ranges_of_two_containers_do_not_overlap(scope: &Scope<'_>) {
    let mut bases: Vec<u64> = (0..3).map(|_| scope.idle().status()["uidBase"].as_u64().unwrap()).collect();
    bases.sort_unstable();
    assert!(bases.windows(2).all(|pair| pair[1] - pair[0] >= 65_536), "{bases:?}");
}

fn its_own_cgroup_is_the_root_that_it_sees(scope: &Scope<'_>) {
    let container = scope.idle();
    let inside = container.exec_output(&["cat", "/proc/self/cgroup"]);
    assert!(inside.lines().all(|line| line.ends_with(":/")), "{inside}");
    let outside = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let controllers = ["memory", "pids", "cpu"];
    if outside.lines().count() > 1 {
        for controller in controllers {
            let mine =
                outside.lines().find(|line| line.split(':').nth(1).is_some_and(|names| names.split(',').any(|name| name == controller)));
            assert!(mine.is_some_and(|line| line.contains(&container.uid)), "{controller}: {outside}");
        }
    }
    // The kernel has a v2 tree even where it is not mounted, as in a container of Docker's on a host with v1.
    let mounted = fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - cgroup2 ");
    let unified = outside.lines().find(|line| line.starts_with("0::")).filter(|_| mounted);
    assert!(unified.is_none_or(|line| line.contains(&container.uid)), "no leaf in the v2 tree: {outside}");
}

fn the_namespaces_view_is_what_the_kernel_says(scope: &Scope<'_>) {
    let container = scope.idle();
    let pid = container.pid();
    let view = container.look("/namespaces");
    let rows = view["items"].as_array().or_else(|| view.as_array()).unwrap_or_else(|| panic!("no list: {view:#}"));
    let reported: BTreeMap<&str, u64> = rows.iter().map(|row| (row["type"].as_str().unwrap(), row["inode"].as_u64().unwrap())).collect();
    for kind in host::NAMESPACES {
        assert_eq!(reported.get(kind).copied(), host::namespace(pid, kind), "{kind}: {view:#}");
        assert_ne!(reported[kind], host::own_namespace(kind), "{kind} is the host's");
    }
    // The very numbers that lsns prints, where it is installed.
    if let Ok(lsns) = Command::new("lsns").args(["--noheadings", "--output", "NS,TYPE", "--task", &pid.to_string()]).output() {
        for line in String::from_utf8_lossy(&lsns.stdout).lines() {
            let (inode, kind) = line.trim().split_once(char::is_whitespace).unwrap();
            if let Some(known) = reported.get(kind.trim()) {
                assert_eq!(known.to_string(), inode, "lsns: {line}");
            }
        }
    }
}

fn host_namespaces_are_the_hosts(scope: &Scope<'_>) {
    for kind in ["network", "ipc", "uts", "pid"] {
        let mut namespaces = json!({"user": "host"});
        namespaces[kind] = json!("host");
        let container = scope.idle_with(json!({"namespaces": namespaces}));
        let file = if kind == "network" { "net" } else { kind };
        assert_eq!(host::namespace(container.pid(), file), Some(host::own_namespace(file)), "{kind}");
        assert_eq!(host::namespace(container.pid(), "user"), Some(host::own_namespace("user")));
        container.delete();
    }
}
