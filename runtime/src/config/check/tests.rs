//! Each rule by configurations that break it and nothing else, beside ones at the edge that do not.

use serde_json::{Value, json};

use super::*;
use crate::config::ExecConfig;

fn pod() -> Value {
    let private = json!({"mode": "private"});
    json!({
        "id": "0123456789abcdef0123456789abcdef", "name": "t", "hostname": "t", "idMap": {"base": 1_048_576, "size": 65_536},
        "namespaces": {"network": private, "pid": private, "ipc": private, "uts": private, "cgroup": private, "user": private},
    })
}

fn container() -> Value {
    json!({
        "name": "main", "attempt": 0, "rootfs": {"layers": ["a".repeat(64)]},
        "process": {"argv": ["true"], "env": ["A=b"], "cwd": "/"}, "security": {"seccomp": {"type": "default"}},
    })
}

fn set(mut whole: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    whole.pointer_mut(parent).expect(pointer)[key] = value;
    whole
}

/// The fault's path, or nothing.
fn fault(outcome: Result<(), ConfigError>) -> String {
    outcome.map_or_else(|error| error.path, |()| String::new())
}

fn pod_with(changes: &[(&str, Value)]) -> PodConfig {
    let whole = changes.iter().fold(pod(), |whole, (pointer, value)| set(whole, pointer, value.clone()));
    serde_json::from_value(whole).expect("a sandbox's shape")
}

fn pod_fault(pointer: &str, value: Value) -> String {
    fault(check_pod(&pod_with(&[(pointer, value)])))
}

fn container_fault_in(pod: &PodConfig, pointer: &str, value: Value) -> String {
    let config: ContainerConfig = serde_json::from_value(set(container(), pointer, value)).expect("a container's shape");
    fault(check_container(pod, &config))
}

fn container_fault(pointer: &str, value: Value) -> String {
    container_fault_in(&pod_with(&[]), pointer, value)
}

fn privileged_fault(pointer: &str, value: Value) -> String {
    let whole = set(set(container(), "/security/privileged", json!(true)), pointer, value);
    fault(check_container(&pod_with(&[]), &serde_json::from_value(whole).expect("a container's shape")))
}

/// Each `(value, path of the fault)` at one place of a container; an empty path is no fault.
fn assert_container(pointer: &str, cases: impl IntoIterator<Item = (Value, &'static str)>) {
    for (value, path) in cases {
        let shown: String = value.to_string().chars().take(200).collect();
        assert_eq!(container_fault(pointer, value), path, "{pointer} = {shown}");
    }
}

#[test]
fn what_is_right_passes() {
    assert_eq!(pod_fault("/name", json!("t")), "");
    assert_eq!(container_fault("/name", json!("main")), "");
}

#[test]
fn names_of_a_sandbox() {
    let long = format!("{}.{}", "a".repeat(63), "b".repeat(63));
    for name in ["a", "web-1", "Web", "1", "a.b.c", &"a".repeat(63)] {
        assert_eq!(pod_fault("/hostname", json!(name)), "", "{name}");
        assert_eq!(pod_fault("/domainname", json!(name)), "", "{name}");
    }
    for name in ["", "-a", "a-", "a_b", "a\nb", "a..b", ".a", "a.", "é", &"a".repeat(64), &long, "a b"] {
        assert_eq!(pod_fault("/hostname", json!(name)), "/hostname", "{name}");
        assert_eq!(pod_fault("/domainname", json!(name)), "/domainname", "{name}");
    }
    let host = json!({"mode": "host"});
    assert_eq!(fault(check_pod(&pod_with(&[("/namespaces/uts", host), ("/hostname", json!(""))]))), "");
    assert_eq!(pod_fault("/name", json!("a\nb")), "/name");
    assert_eq!(pod_fault("/name", json!("a".repeat(254))), "/name");
}

#[test]
fn ranges_of_ids() {
    for base in [65_536u32, 131_072, 0xfffe_0000] {
        assert_eq!(pod_fault("/idMap", json!({"base": base, "size": 65_536})), "", "{base}");
    }
    for base in [0u32, 1000, 65_535, 65_537, 1_048_577, 0xffff_0000, u32::MAX] {
        assert_eq!(pod_fault("/idMap", json!({"base": base, "size": 65_536})), "/idMap/base", "{base}");
    }
    for size in [0u32, 1, 65_535, 65_537, u32::MAX] {
        assert_eq!(pod_fault("/idMap", json!({"base": 1_048_576, "size": size})), "/idMap/size", "{size}");
    }
    assert_eq!(pod_fault("/idMap", Value::Null), "/idMap");
    let host = json!({"mode": "host"});
    assert_eq!(pod_fault("/namespaces/user", host.clone()), "/idMap");
    assert_eq!(fault(check_pod(&pod_with(&[("/namespaces/user", host), ("/idMap", Value::Null)]))), "");
}

#[test]
fn namespaces_that_are_joined() {
    let join = |digit: &str| json!({"mode": "join", "pod": digit.repeat(32)});
    let joined = |changes: &[(&str, Value)]| {
        let without_map = [("/idMap", Value::Null)];
        fault(check_pod(&pod_with(&without_map.iter().chain(changes).cloned().collect::<Vec<_>>())))
    };
    assert_eq!(pod_fault("/namespaces/network", join("f")), "/namespaces/user");
    let (network, user) = (("/namespaces/network", join("f")), ("/namespaces/user", join("f")));
    assert_eq!(joined(&[network.clone(), user.clone()]), "");
    assert_eq!(joined(std::slice::from_ref(&user)), "");
    assert_eq!(joined(&[network.clone(), ("/namespaces/user", json!({"mode": "host"}))]), "");
    assert_eq!(joined(&[network.clone(), user.clone(), ("/namespaces/ipc", join("e"))]), "/namespaces/ipc");
    assert_eq!(joined(&[network.clone(), ("/namespaces/user", join("e"))]), "/namespaces/user");
    assert_eq!(joined(&[user.clone(), ("/namespaces/cgroup", join("f"))]), "/namespaces/cgroup");
    let itself = json!({"mode": "join", "pod": "0123456789abcdef0123456789abcdef"});
    assert_eq!(joined(&[user, ("/namespaces/pid", itself)]), "/namespaces/pid");
}

#[test]
fn names_that_are_looked_up() {
    assert_eq!(pod_fault("/dns", json!(["1.1.1.1", "::1"])), "");
    for address in ["1.1.1.1\nroot::0", "one", "", "1.1.1.1 "] {
        assert_eq!(pod_fault("/dns", json!(["::1", address])), "/dns/1", "{address:?}");
    }
    assert_eq!(pod_fault("/dns", json!(vec!["::1"; 257])), "/dns");
    let alias = |ip: &str, names: &[&str]| pod_fault("/hostAliases", json!([{"ip": ip, "hostnames": names}]));
    assert_eq!(alias("::1", &["db", "db.example", "my_db"]), "");
    assert_eq!(alias("x", &["db"]), "/hostAliases/0/ip");
    for name in ["a\nb", "a b", "", "a#", "a\tb"] {
        assert_eq!(alias("::1", &["db", name]), "/hostAliases/0/hostnames", "{name:?}");
    }
    assert_eq!(alias("::1", &[]), "/hostAliases/0/hostnames");
}

#[test]
fn kernel_parameters() {
    assert_eq!(pod_fault("/sysctls", json!({"net.ipv4.ip_unprivileged_port_start": "0"})), "");
    assert_eq!(pod_fault("/sysctls", json!({"kernel.core_pattern": "x"})), "/sysctls/kernel.core_pattern");
    assert_eq!(pod_fault("/sysctls", json!({"net/../kernel": "x"})), "/sysctls/net~1..~1kernel");
    assert_eq!(pod_fault("/sysctls", json!({"net.core.somaxconn": "1\n2"})), "/sysctls/net.core.somaxconn");
}

#[test]
fn what_is_run() {
    let argv = "/process/argv";
    assert_container(
        argv,
        [
            (json!([]), "/process/argv"),
            (json!([""]), "/process/argv/0"),
            (json!(["a", ""]), ""),
            (json!(["a", "b\0"]), "/process/argv/1"),
            (json!(["a", "x".repeat((128 << 10) - 1)]), ""),
            (json!(["a", "x".repeat(128 << 10)]), "/process/argv/1"),
            (json!(vec!["x".repeat(100 << 10); 11]), "/process/argv"),
            (json!(vec!["x"; 200_000]), "/process/argv"),
        ],
    );
    assert_container(
        "/process/env",
        [
            (json!(["A=", "A=b=c", "A=1\n2", "HOME=/root"]), ""),
            (json!(["A=1", "=x"]), "/process/env/1"),
            (json!(["novalue"]), "/process/env/0"),
            (json!([""]), "/process/env/0"),
            (json!(["A=\0"]), "/process/env/0"),
            (json!([format!("A={}", "x".repeat(128 << 10))]), "/process/env/0"),
            (json!(["HOME=/x\nroot2::0:0::/:/bin/sh"]), "/process/env/0"),
        ],
    );
    assert_container(
        "/process/cwd",
        [
            (json!("/"), ""),
            (json!("/a//b/"), ""),
            (json!("/.hidden/..x"), ""),
            (json!(""), "/process/cwd"),
            (json!("tmp"), "/process/cwd"),
            (json!("/tmp/../.."), "/process/cwd"),
            (json!("/tmp/."), "/process/cwd"),
            (json!("/.."), "/process/cwd"),
            (json!("/a\0"), "/process/cwd"),
            (json!(format!("/{}", "x".repeat(256))), "/process/cwd"),
            (json!("/x".repeat(2048)), "/process/cwd"),
        ],
    );
}

#[test]
fn who_runs_it() {
    for user in ["", "0", "1000", "65535:65535", "web", "web:0", "1:www"] {
        assert_eq!(container_fault("/process/user", json!(user)), "", "{user:?}");
    }
    for user in ["-1", "4294967295", "4294967296", "1:", ":0", "1x", " 0", "0x0", "65536", "0:65536", "a:b:c"] {
        assert_eq!(container_fault("/process/user", json!(user)), "/process/user", "{user:?}");
    }
    assert_eq!(container_fault("/process/additionalGids", json!([0, 65_535])), "");
    assert_eq!(container_fault("/process/additionalGids", json!([0, 65_536])), "/process/additionalGids/1");
    assert_eq!(container_fault("/process/additionalGids", json!(vec![1; 65_536])), "/process/additionalGids");
    // Without a user namespace all of the host's ids are there.
    let host = pod_with(&[("/namespaces/user", json!({"mode": "host"})), ("/idMap", Value::Null)]);
    assert_eq!(container_fault_in(&host, "/process/user", json!("4294967294:65536")), "");
    assert_eq!(container_fault_in(&host, "/process/additionalGids", json!([u32::MAX])), "/process/additionalGids/0");
    // A joined one has as many as every other.
    let joined = pod_with(&[("/namespaces/user", json!({"mode": "join", "pod": "f".repeat(32)})), ("/idMap", Value::Null)]);
    assert_eq!(container_fault_in(&joined, "/process/user", json!("65536")), "/process/user");
}

#[test]
fn root_file_systems_and_mounts() {
    let layers = |count: usize| json!(vec!["a".repeat(64); count]);
    assert_container(
        "/rootfs/layers",
        [(layers(1), ""), (layers(127), ""), (layers(0), "/rootfs/layers"), (layers(128), "/rootfs/layers")],
    );
    let tmpfs = |target: &str| json!({"source": {"type": "tmpfs", "size": null, "mode": null}, "target": target});
    for target in ["/data", "/data/", "/a//b", "/dev/shm", "/process", "/system", "/dev2"] {
        assert_eq!(container_fault("/mounts", json!([tmpfs(target)])), "", "{target}");
    }
    for target in ["/proc", "/proc/", "//proc", "/proc/x", "/sys", "/sys/fs/cgroup", "/dev", "/dev/"] {
        assert_eq!(container_fault("/mounts", json!([tmpfs(target)])), "/mounts/0/target", "{target}");
        assert_eq!(privileged_fault("/mounts", json!([tmpfs(target)])), "", "{target}");
    }
    for target in ["", "/", "//", "x", "/a/..", "/a/../proc", "/./proc", "/a/.", "/a\0"] {
        assert_eq!(container_fault("/mounts", json!([tmpfs("/x"), tmpfs(target)])), "/mounts/1/target", "{target:?}");
        assert_eq!(privileged_fault("/mounts", json!([tmpfs(target)])), "/mounts/0/target", "{target:?}");
    }
    assert_eq!(container_fault("/mounts", json!([tmpfs("/x"), tmpfs("//x/")])), "/mounts/1/target", "twice");
    let many = |count: usize| json!((0..count).map(|index| tmpfs(&format!("/m{index}"))).collect::<Vec<_>>());
    assert_container("/mounts", [(many(256), ""), (many(257), "/mounts")]);
}

#[test]
fn sources_of_mounts() {
    let from = |source: Value, propagation: &str| json!([{"source": source, "target": "/x", "propagation": propagation}]);
    let tmpfs = |size: Value, mode: Value| from(json!({"type": "tmpfs", "size": size, "mode": mode}), "private");
    let bind = |path: &str| json!({"type": "bind", "path": path});
    assert_container(
        "/mounts",
        [
            (tmpfs(json!(1), json!(0o1777)), ""),
            (tmpfs(json!(0), Value::Null), "/mounts/0/source/size"),
            (tmpfs(json!(u64::MAX), Value::Null), "/mounts/0/source/size"),
            (tmpfs(Value::Null, json!(0o10000)), "/mounts/0/source/mode"),
            (from(bind("/srv/site"), "private"), ""),
            (from(bind("/srv"), "hostToContainer"), ""),
            (from(bind("etc"), "private"), "/mounts/0/source/path"),
            (from(bind("/srv/../etc"), "private"), "/mounts/0/source/path"),
            (from(bind(""), "private"), "/mounts/0/source/path"),
            (from(bind("/srv"), "bidirectional"), "/mounts/0/propagation"),
            (from(json!({"type": "tmpfs", "size": null, "mode": null}), "hostToContainer"), "/mounts/0/propagation"),
        ],
    );
    assert_eq!(privileged_fault("/mounts", from(bind("/srv"), "bidirectional")), "");
}

#[test]
fn limits_of_cpu_memory_and_processes() {
    assert_container(
        "/resources",
        [
            (json!({"cpuMillis": 10}), ""),
            (json!({"cpuMillis": 9}), "/resources/cpuMillis"),
            (json!({"cpuMillis": u64::MAX}), "/resources/cpuMillis"),
            (json!({"cpuShares": 2}), ""),
            (json!({"cpuShares": 262_144}), ""),
            (json!({"cpuShares": 1}), "/resources/cpuShares"),
            (json!({"cpuShares": 262_145}), "/resources/cpuShares"),
            (json!({"memory": 6_291_456}), ""),
            (json!({"memory": 6_291_455}), "/resources/memory"),
            (json!({"memory": 1u64 << 63}), "/resources/memory"),
            (json!({"memory": 10_000_000, "memorySwap": 10_000_000}), ""),
            (json!({"memory": 10_000_000, "memorySwap": -1}), ""),
            (json!({"memorySwap": -1}), ""),
            (json!({"memory": 10_000_000, "memorySwap": 9_999_999}), "/resources/memorySwap"),
            (json!({"memory": 10_000_000, "memorySwap": -2}), "/resources/memorySwap"),
            (json!({"memory": 10_000_000, "memorySwap": 0}), "/resources/memorySwap"),
            (json!({"memorySwap": 10_000_000}), "/resources/memorySwap"),
            (json!({"pids": 1}), ""),
            (json!({"pids": 0}), "/resources/pids"),
            (json!({"pids": 4_194_305}), "/resources/pids"),
        ],
    );
    for list in ["0", "0-3,5", "0,0", "7-7", "8191"] {
        assert_eq!(container_fault("/resources", json!({"cpuset": list})), "", "{list}");
    }
    for list in ["", ",", "0,", "3-1", "-1", "1-", "a", "0 ", "0-3:2/4", "8192", "99999999999999999999", "0\n", "+1", "0--1", "all"] {
        assert_eq!(container_fault("/resources", json!({"cpuset": list})), "/resources/cpuset", "{list:?}");
    }
}

#[test]
fn limits_of_devices() {
    let io = |limits: Value| json!({"io": limits});
    assert_container(
        "/resources",
        [
            (io(json!([{"device": "/dev/vda", "readBps": 1}])), ""),
            (io(json!([{"device": "/dev/disk/by-id/x", "writeIops": 1}])), ""),
            (io(json!([{"device": "/etc/passwd", "readBps": 1}])), "/resources/io/0/device"),
            (io(json!([{"device": "/dev/../etc/passwd", "readBps": 1}])), "/resources/io/0/device"),
            (io(json!([{"device": "/dev/", "readBps": 1}])), "/resources/io/0/device"),
            (io(json!([{"device": "vda", "readBps": 1}])), "/resources/io/0/device"),
            (io(json!([{"device": "/dev/vda"}])), "/resources/io/0"),
            (io(json!([{"device": "/dev/vda", "readBps": 1, "writeIops": 0}])), "/resources/io/0/writeIops"),
            (io(json!([{"device": "/dev/vda", "readBps": 1}, {"device": "/dev/vda", "writeBps": 1}])), "/resources/io/1/device"),
            (io(json!((0..65).map(|n| json!({"device": format!("/dev/d{n}"), "readBps": 1})).collect::<Vec<_>>())), "/resources/io"),
        ],
    );
}

#[test]
fn what_it_may_do() {
    assert_container(
        "/security",
        [
            (json!({"seccomp": {"type": "default"}, "capAdd": ["NET_ADMIN"], "capDrop": ["ALL"]}), ""),
            (json!({"seccomp": {"type": "default"}, "capAdd": ["CHOWN", "NET_ROOT"]}), "/security/capAdd/1"),
            (json!({"seccomp": {"type": "default"}, "capDrop": [""]}), "/security/capDrop/0"),
            (json!({"seccomp": {"type": "unconfined"}}), ""),
            (json!({"seccomp": {"type": "custom", "profile": {"defaultAction": "SCMP_ACT_ALLOW"}}}), ""),
            (json!({"seccomp": {"type": "custom", "profile": {}}}), "/security/seccomp/profile/defaultAction"),
        ],
    );
    assert_eq!(privileged_fault("/security/capAdd", json!(["X"])), "/security/capAdd/0");
}

#[test]
fn limits_of_processes_and_logs() {
    assert_container(
        "/rlimits",
        [
            (json!([{"type": "nofile", "soft": 1, "hard": 1}, {"type": "core", "soft": 0, "hard": u64::MAX}]), ""),
            (json!([{"type": "nofiles", "soft": 1, "hard": 1}]), "/rlimits/0"),
            (json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}]), "/rlimits/0"),
            (json!([{"type": "core", "soft": 0, "hard": 0}, {"type": "nofile", "soft": 2, "hard": 1}]), "/rlimits/1"),
            (json!([{"type": "core", "soft": 0, "hard": 0}, {"type": "core", "soft": 0, "hard": 0}]), "/rlimits/1"),
        ],
    );
    assert_container(
        "/oomScoreAdj",
        [(json!(-1000), ""), (json!(1000), ""), (json!(1001), "/oomScoreAdj"), (json!(-1001), "/oomScoreAdj")],
    );
    assert_container("/shmSize", [(json!(1), ""), (json!(0), "/shmSize"), (json!(u64::MAX), "/shmSize")]);
    assert_container(
        "/log",
        [
            (json!({"maxSize": 4096, "maxFiles": 1}), ""),
            (json!({"maxSize": 4095, "maxFiles": 1}), "/log"),
            (json!({"maxSize": 4096, "maxFiles": 0}), "/log"),
            (json!({"maxSize": 4096, "maxFiles": 1001}), "/log"),
        ],
    );
}

#[test]
fn further_processes() {
    let exec = |value: Value| {
        let config: ExecConfig = serde_json::from_value(value).expect("an exec's shape");
        fault(check_exec(&config))
    };
    assert_eq!(exec(json!({"argv": ["id"], "env": ["A=1"], "cwd": "/tmp", "user": "web", "timeoutMs": 1})), "");
    assert_eq!(exec(json!({"argv": []})), "/argv");
    assert_eq!(exec(json!({"argv": [""]})), "/argv/0");
    assert_eq!(exec(json!({"argv": ["id"], "env": ["A"]})), "/env/0");
    assert_eq!(exec(json!({"argv": ["id"], "cwd": "../x"})), "/cwd");
    assert_eq!(exec(json!({"argv": ["id"], "user": "0x0"})), "/user");
    assert_eq!(exec(json!({"argv": ["id"], "timeoutMs": 0})), "/timeoutMs");
    assert_eq!(exec(json!({"argv": ["id"], "detach": true, "stdin": true})), "/stdin");
}

#[test]
fn a_message_never_repeats_a_megabyte() {
    let long = "x".repeat(1 << 19);
    let pod = pod_with(&[]);
    for (pointer, value) in [
        ("/process/user", json!(format!("{long}:"))),
        ("/security/capAdd", json!([long])),
        ("/rlimits", json!([{"type": long, "soft": 1, "hard": 1}])),
        ("/security/seccomp", json!({"type": "custom", "profile": {"defaultAction": long}})),
        ("/security/seccomp", json!({"type": "custom", "profile": {long.clone(): 1}})),
    ] {
        let config: ContainerConfig = serde_json::from_value(set(container(), pointer, value)).expect("a container's shape");
        let error = check_container(&pod, &config).expect_err(pointer);
        assert!(error.to_string().len() < 500, "{pointer}: {} bytes", error.to_string().len());
    }
    let error = check_pod(&pod_with(&[("/sysctls", json!({long: "1"}))])).expect_err("no parameter");
    assert!(error.to_string().len() < 500);
}
