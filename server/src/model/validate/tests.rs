//! Each rule once, by the path that it names.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

const HOST: HostLimits = HostLimits { cpus: Some(2), memory_bytes: Some(1 << 30) };

/// Paths of the faults of a spec given as JSON, beside a good image.
fn paths(mut spec: Value) -> Vec<String> {
    spec.as_object_mut().unwrap().entry("image").or_insert(json!("busybox"));
    let spec: ContainerSpec = serde_json::from_value(spec).unwrap();
    container(&spec, &HOST).into_iter().map(|fault| fault.path.trim_start_matches("/spec").to_owned()).collect()
}

#[test]
fn the_example_of_the_contract_without_what_is_not_there_yet_is_fine() {
    let spec = json!({
        "image": "nginx:latest", "command": ["nginx"], "args": ["-g", "daemon off;"], "env": [{"name": "TZ", "value": "UTC"}],
        "workingDir": "/", "user": "1000:1000", "hostname": "web", "restartPolicy": {"name": "on-failure", "maximumRetryCount": 5},
        "stopSignal": "SIGTERM", "stopTimeoutSeconds": 10,
        "mounts": [{"type": "bind", "source": "/srv/site", "target": "/usr/share/nginx/html", "readOnly": true},
                   {"type": "volume", "source": "cache", "target": "/var/cache"}, {"type": "tmpfs", "target": "/tmp", "size": "10M", "mode": "1777"}],
        "namespaces": {"network": "none", "pid": "private", "ipc": "shareable", "uts": "private", "cgroup": "private", "user": "private"},
        "resources": {"cpu": "500m", "cpuShares": 512, "cpuset": "0-1", "memory": "64Mi", "memorySwap": "64Mi", "pids": 100,
                      "io": [{"device": "/dev/vda", "readBps": "10Mi", "writeIops": 1000}]},
        "security": {"capabilities": {"add": ["NET_ADMIN", "cap_chown"], "drop": ["ALL"]}, "seccomp": {"type": "default"}},
        "rlimits": [{"type": "nofile", "soft": 1024, "hard": 4096}], "sysctls": {"net.ipv4.ip_unprivileged_port_start": "0"},
        "oomScoreAdj": -500, "shmSize": "1Mi"
    });
    assert_eq!(paths(spec), Vec::<String>::new());
}

#[test]
fn each_rule_names_its_field() {
    let long = "x".repeat(128 << 10);
    for (spec, path) in [
        (json!({"image": ""}), "/image"),
        (json!({"image": "Not A Name"}), "/image"),
        (json!({"image": "../../etc/passwd"}), "/image"),
        (json!({"command": [""]}), "/command/0"),
        (json!({"command": ["a", "b\u{0}"]}), "/command/1"),
        (json!({"args": [long]}), "/args/0"),
        (json!({"env": [{"name": "", "value": "x"}]}), "/env/0/name"),
        (json!({"env": [{"name": "A"}, {"name": "a=b"}]}), "/env/1/name"),
        (json!({"env": [{"name": "A", "value": "\u{0}"}]}), "/env/0/value"),
        (json!({"workingDir": "relative"}), "/workingDir"),
        (json!({"workingDir": format!("/{}", "x".repeat(4096))}), "/workingDir"),
        (json!({"hostname": "-a"}), "/hostname"),
        (json!({"hostname": "a".repeat(65)}), "/hostname"),
        (json!({"hostname": "Web"}), "/hostname"),
        (json!({"workingDir": "/a/../b"}), "/workingDir"),
        (json!({"mounts": [{"type": "tmpfs", "target": "/sys/fs/cgroup"}]}), "/mounts/0/target"),
        (json!({"mounts": [{"type": "tmpfs", "target": "//"}]}), "/mounts/0/target"),
        (json!({"domainname": "a b"}), "/domainname"),
        (json!({"hostname": "x", "namespaces": {"uts": "host"}}), "/hostname"),
        (json!({"restartPolicy": {"name": "always", "maximumRetryCount": 1}}), "/restartPolicy/maximumRetryCount"),
        (json!({"autoRemove": true, "restartPolicy": {"name": "always"}}), "/autoRemove"),
        (json!({"stopSignal": "SIGNOPE"}), "/stopSignal"),
        (json!({"stopTimeoutSeconds": u64::MAX}), "/stopTimeoutSeconds"),
        (json!({"ports": [{"containerPort": 80}]}), "/ports"),
        (json!({"mounts": [{"type": "bind", "target": "/a"}]}), "/mounts/0/source"),
        (json!({"mounts": [{"type": "bind", "source": "a", "target": "/a"}]}), "/mounts/0/source"),
        (json!({"mounts": [{"type": "bind", "source": "/a/../b", "target": "/a"}]}), "/mounts/0/source"),
        (json!({"mounts": [{"type": "volume", "source": "../x", "target": "/a"}]}), "/mounts/0/source"),
        (json!({"mounts": [{"type": "volume", "source": "", "target": "/a"}]}), "/mounts/0/source"),
        (json!({"mounts": [{"type": "tmpfs", "source": "/x", "target": "/a"}]}), "/mounts/0/source"),
        (json!({"mounts": [{"type": "tmpfs", "target": "a"}]}), "/mounts/0/target"),
        (json!({"mounts": [{"type": "tmpfs", "target": "/./"}]}), "/mounts/0/target"),
        (json!({"mounts": [{"type": "tmpfs", "target": "/proc//sys"}]}), "/mounts/0/target"),
        (json!({"mounts": [{"type": "tmpfs", "target": "/a/../proc"}]}), "/mounts/0/target"),
        (json!({"mounts": [{"type": "tmpfs", "target": "/a"}, {"type": "tmpfs", "target": "/a/"}]}), "/mounts/1/target"),
        (json!({"mounts": [{"type": "tmpfs", "target": "/a", "size": 0}]}), "/mounts/0/size"),
        (json!({"mounts": [{"type": "tmpfs", "target": "/a", "mode": "9"}]}), "/mounts/0/mode"),
        (json!({"mounts": [{"type": "volume", "source": "v", "target": "/a", "size": 9}]}), "/mounts/0/size"),
        (json!({"mounts": [{"type": "volume", "source": "v", "target": "/a", "propagation": "None"}]}), "/mounts/0/propagation"),
        (json!({"mounts": [{"type": "volume", "source": "v", "target": "/a", "subPath": "/b"}]}), "/mounts/0/subPath"),
        (json!({"mounts": [{"type": "volume", "source": "v", "target": "/a", "subPath": "b/../.."}]}), "/mounts/0/subPath"),
        (json!({"mounts": [{"type": "bind", "source": "/v", "target": "/a", "subPath": "b"}]}), "/mounts/0/subPath"),
        (json!({"mounts": [{"type": "tmpfs", "target": "/a", "noCopy": true}]}), "/mounts/0/noCopy"),
        (json!({"mounts": [{"type": "tmpfs", "target": "/a", "options": ["noexec", "noexec"]}]}), "/mounts/0/options/1"),
        (json!({"namespaces": {"network": "bridge"}}), "/namespaces/network"),
        (json!({"namespaces": {"network": "mine"}}), "/namespaces/network"),
        (json!({"namespaces": {"network": "container:../x"}}), "/namespaces/network"),
        (json!({"namespaces": {"network": "container:a", "ipc": "container:b"}}), "/namespaces/ipc"),
        (json!({"namespaces": {"pid": "none"}}), "/namespaces/pid"),
        (json!({"namespaces": {"user": "container:a"}}), "/namespaces/user"),
        (json!({"namespaces": {"cgroup": "shareable"}}), "/namespaces/cgroup"),
        (json!({"resources": {"cpu": "9m"}}), "/resources/cpu"),
        (json!({"resources": {"cpu": 3}}), "/resources/cpu"),
        (json!({"resources": {"cpuShares": 1}}), "/resources/cpuShares"),
        (json!({"resources": {"cpuset": "0-2"}}), "/resources/cpuset"),
        (json!({"resources": {"cpuset": "1-0"}}), "/resources/cpuset"),
        (json!({"resources": {"cpuset": "0,,1"}}), "/resources/cpuset"),
        (json!({"resources": {"cpuset": "0\n"}}), "/resources/cpuset"),
        (json!({"resources": {"memory": "5Mi"}}), "/resources/memory"),
        (json!({"resources": {"memory": "2Gi"}}), "/resources/memory"),
        (json!({"resources": {"memorySwap": "64Mi"}}), "/resources/memorySwap"),
        (json!({"resources": {"memory": "64Mi", "memorySwap": "63Mi"}}), "/resources/memorySwap"),
        (json!({"resources": {"pids": 0}}), "/resources/pids"),
        (json!({"resources": {"io": [{"device": "/etc/passwd", "readBps": 1}]}}), "/resources/io/0/device"),
        (json!({"resources": {"io": [{"device": "/dev/../etc", "readBps": 1}]}}), "/resources/io/0/device"),
        (json!({"resources": {"io": [{"device": "/dev/vda"}]}}), "/resources/io/0"),
        (json!({"resources": {"io": [{"device": "/dev/vda", "readIops": 0}]}}), "/resources/io/0/readIops"),
        (json!({"resources": {"io": [{"device": "/dev/a", "readBps": 1}, {"device": "/dev/a", "readBps": 1}]}}), "/resources/io/1/device"),
        (json!({"resources": {"network": {"ingressBps": "1M"}}}), "/resources/network"),
        (json!({"security": {"capabilities": {"add": ["CAP_NOPE"]}}}), "/security/capabilities/add/0"),
        (json!({"security": {"seccomp": {"type": "custom"}}}), "/security/seccomp/profile"),
        (json!({"security": {"seccomp": {"type": "custom", "profile": []}}}), "/security/seccomp/profile"),
        (
            json!({"security": {"seccomp": {"type": "custom", "profile": {"defaultAction": "x"}}}}),
            "/security/seccomp/profile/defaultAction",
        ),
        (json!({"security": {"seccomp": {"type": "default", "profile": {}}}}), "/security/seccomp/profile"),
        (json!({"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}]}), "/rlimits/0/type"),
        (json!({"rlimits": [{"type": "nofile", "soft": 2, "hard": 1}]}), "/rlimits/0/soft"),
        (json!({"rlimits": [{"type": "core", "soft": 1, "hard": 1}, {"type": "core", "soft": 1, "hard": 1}]}), "/rlimits/1/type"),
        (json!({"sysctls": {"kernel.core_pattern": "|/x"}}), "/sysctls/kernel.core_pattern"),
        (json!({"sysctls": {"net/../kernel/x": "1"}}), "/sysctls/net~1..~1kernel~1x"),
        (json!({"sysctls": {"net.ipv4.ip_forward": "1\nkernel.x=1"}}), "/sysctls/net.ipv4.ip_forward"),
        (json!({"namespaces": {"network": "host"}, "sysctls": {"net.ipv4.ip_forward": "1"}}), "/sysctls/net.ipv4.ip_forward"),
        (json!({"namespaces": {"ipc": "host"}, "sysctls": {"kernel.sem": "1"}}), "/sysctls/kernel.sem"),
        (json!({"namespaces": {"ipc": "host"}, "shmSize": 1}), "/shmSize"),
        (json!({"shmSize": 0}), "/shmSize"),
        (json!({"oomScoreAdj": 1001}), "/oomScoreAdj"),
        (json!({"logging": {"maxSize": 1}}), "/logging/maxSize"),
        (json!({"logging": {"maxFiles": 0}}), "/logging/maxFiles"),
    ] {
        let text: String = spec.to_string().chars().take(120).collect();
        assert_eq!(paths(spec), [path], "{text}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let found = paths(json!({"image": "", "workingDir": "x", "resources": {"memory": 1, "pids": 0}, "oomScoreAdj": 5000}));
    assert_eq!(found, ["/image", "/workingDir", "/resources/memory", "/resources/pids", "/oomScoreAdj"]);
}

#[test]
fn a_limit_says_both_numbers() {
    let spec = ContainerSpec { image: "a".to_owned(), ..serde_json::from_value(json!({"resources": {"memory": 1000}})).unwrap() };
    let message = &container(&spec, &HOST)[0].message;
    assert!(message.contains("6291456") && message.contains("1000"), "{message}");
}

#[test]
fn users_are_exactly_who_was_meant_or_refused() {
    for good in ["0", "1000", "1000:1000", "4294967294", "nobody", "www-data:www-data", "_apt", "me:0", "user$"] {
        assert!(check_user(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        ":",
        "4294967295",
        "4294967296",
        "-1",
        "1:",
        ":0",
        "1x",
        " 0",
        "0x0",
        "+1",
        "root\n",
        "a b",
        "a:b:c",
        "00000000001",
        &"x".repeat(4096),
    ] {
        assert!(check_user(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn labels_follow_kubernetes() {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>();
    let good = map(&[("app", "web"), ("example.com/app.v1", ""), ("a_b-c.d", "1.2_3-x")]);
    assert!(metadata(Some("web"), &good, &good).is_empty());
    for key in ["", "-a", "a/", "/a", "a/b/c", "A!/x", "Example.com/x", "ä", &"x".repeat(64)] {
        let faults = metadata(None, &map(&[(key, "")]), &BTreeMap::new());
        assert_eq!(faults.iter().map(|f| f.path.clone()).collect::<Vec<_>>(), [format!("/metadata/labels/{}", escape(key))], "{key:?}");
    }
    assert_eq!(metadata(None, &map(&[("a", "no spaces")]), &BTreeMap::new())[0].path, "/metadata/labels/a");
    assert!(metadata(None, &BTreeMap::new(), &map(&[("a", "anything goes: ä\n")])).is_empty());
    assert_eq!(metadata(None, &BTreeMap::new(), &map(&[("a", &"x".repeat(300_000))]))[0].path, "/metadata/annotations");
    assert_eq!(metadata(Some("a/b"), &BTreeMap::new(), &BTreeMap::new())[0].path, "/metadata/name");
}

#[test]
fn only_policy_and_limits_change_while_a_container_lives() {
    let spec = |value: Value| serde_json::from_value::<ContainerSpec>(value).unwrap();
    let old = spec(json!({"image": "a", "resources": {"memory": "64Mi"}}));
    let limits = spec(json!({"image": "a", "resources": {"memory": "128Mi", "pids": 5}, "restartPolicy": {"name": "always"}}));
    assert_eq!(container_change(&old, &limits, &HOST), []);
    let command = spec(json!({"image": "b", "command": ["x"], "resources": {"pids": 0}}));
    let paths: Vec<_> = container_change(&old, &command, &HOST).into_iter().map(|fault| fault.path).collect();
    assert_eq!(paths, ["/spec/command", "/spec/image", "/spec/resources/pids"]);
}
