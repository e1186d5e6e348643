//! M16: a container in the namespaces of another.

use serde_json::{Value, json};

use crate::common::{Scope, host, image};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![Shared:
        joined_namespaces_are_the_others,
        a_joined_network_is_one_loopback,
        joined_processes_see_and_signal_each_other,
        joined_ipc_is_one_shared_memory,
        whoever_has_the_hosts_is_told_of_the_others,
        a_join_of_nobody_is_refused_by_field,
        a_join_of_what_does_not_run_says_so,
        what_is_the_hosts_is_not_joined_by_another_name,
        the_joiner_outlives_nothing_it_does_not_own,
    ]
}

fn shareable() -> Value {
    json!({"network": "none", "pid": "shareable", "ipc": "shareable", "uts": "shareable"})
}

fn joined_namespaces_are_the_others(scope: &Scope<'_>) {
    let owner = scope.idle_with(json!({"namespaces": shareable(), "hostname": "owner"}));
    for kind in ["network", "ipc", "pid", "uts"] {
        let mut namespaces = json!({});
        namespaces[kind] = json!(format!("container:{}", owner.name));
        let joiner = scope.idle_with(json!({"namespaces": namespaces}));
        let file = if kind == "network" { "net" } else { kind };
        assert_eq!(host::namespace(joiner.pid(), file), host::namespace(owner.pid(), file), "{kind} is not shared");
        // Whoever joins a namespace has its rights only in the user namespace that owns it.
        assert_eq!(host::namespace(joiner.pid(), "user"), host::namespace(owner.pid(), "user"), "{kind}: another user namespace");
        for own in ["mnt", "cgroup"] {
            assert_ne!(host::namespace(joiner.pid(), own), host::namespace(owner.pid(), own), "{kind}: {own} is shared too");
        }
        if kind == "uts" {
            assert_eq!(joiner.exec_output(&["hostname"]), "owner\n");
        }
        joiner.delete();
    }
    assert_eq!(owner.status()["phase"], "Running", "deleting a joiner ended the owner");
}

/// Who may not have the host's namespaces may not have them by way of another container.
fn what_is_the_hosts_is_not_joined_by_another_name(scope: &Scope<'_>) {
    let owner = scope.idle_with(json!({"namespaces": {"network": "host"}}));
    let join = |namespaces: Value| scope.create(json!({"command": ["true"], "namespaces": namespaces})).post("/start", &json!({}));
    let joined = format!("container:{}", owner.name);
    let refused = join(json!({"network": joined})).problem(409);
    assert!(refused["detail"].as_str().unwrap().contains("say `network: host`"), "{refused:#}");
    let users = scope.idle_with(json!({"namespaces": {"user": "host"}}));
    let joined = format!("container:{}", users.name);
    let refused = join(json!({"network": joined})).problem(409);
    assert!(refused["detail"].as_str().unwrap().contains("say `user: host`"), "{refused:#}");
    join(json!({"network": joined, "user": "host"})).expect(204);
}

fn a_joined_network_is_one_loopback(scope: &Scope<'_>) {
    let script = "while :; do echo hello from the owner | nc -l -p 1313; done";
    let owner = scope.run(json!({"command": ["sh", "-c", script], "namespaces": {"network": "none"}}));
    let joiner = scope.idle_with(json!({"namespaces": {"network": format!("container:{}", owner.name)}}));
    let answer = host::until("the owner's server answers", || {
        let asked = joiner.exec(&["nc", "-w", "2", "127.0.0.1", "1313"]);
        Some(asked.stdout).filter(|text| !text.is_empty())
    });
    assert_eq!(answer, "hello from the owner\n");
    // By id, too.
    let by_uid = scope.idle_with(json!({"namespaces": {"network": format!("container:{}", owner.uid)}}));
    assert_eq!(host::namespace(by_uid.pid(), "net"), host::namespace(owner.pid(), "net"));
}

fn joined_processes_see_and_signal_each_other(scope: &Scope<'_>) {
    let script = "trap 'echo got HUP; exit 7' HUP; echo ready; while :; do sleep 1000 & wait; done";
    let owner = scope.run(json!({"command": ["sh", "-c", script], "namespaces": {"pid": "shareable"}}));
    owner.until_it_says("ready");
    let joiner = scope.idle_with(json!({"namespaces": {"pid": format!("container:{}", owner.name)}}));
    let seen = joiner.exec_output(&["sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline"]);
    assert!(seen.contains("got HUP"), "pid 1 of the shared namespace is not the owner's: {seen}");
    // Its own end may come before its exit: it is in the namespace that ends.
    joiner.exec(&["kill", "-HUP", "1"]);
    assert_eq!(owner.wait()["exitCode"], 7);
    // The kernel ends a pid namespace with its first process.
    let ended = joiner.wait();
    assert_eq!(ended["exitCode"], 137, "{ended}");
}

fn joined_ipc_is_one_shared_memory(scope: &Scope<'_>) {
    scope.berth.import("probe:joins", image::probe_image());
    let owner = scope.idle_with(json!({"image": "probe:joins", "namespaces": {"ipc": "shareable"}}));
    let joiner = scope.idle_with(json!({"image": "probe:joins", "namespaces": {"ipc": format!("container:{}", owner.name)}}));
    assert_eq!(owner.exec_output(&["probe", "shm-make", "815"]), "made\n");
    assert_eq!(joiner.exec_output(&["probe", "shm-find", "815"]), "found\n");
    // Who did not say so shares no memory; what else it has can be joined all the same.
    let private = scope.idle();
    let refused = scope.create(json!({"command": ["true"], "namespaces": {"ipc": format!("container:{}", private.name)}}));
    let problem = scope.api().post(&refused.path("/start")).send().problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("ipc: shareable"), "{problem:#}");
    scope.idle_with(json!({"namespaces": {"pid": format!("container:{}", private.name)}}));
}

fn whoever_has_the_hosts_is_told_of_the_others(scope: &Scope<'_>) {
    let [first, second] = [(); 2].map(|()| scope.idle_with(json!({"namespaces": {"uts": "host"}})));
    let shared_with = |kind: &str| {
        let items = first.look("/namespaces")["items"].clone();
        items.as_array().unwrap().iter().find(|item| item["type"] == kind).unwrap()["sharedWith"].clone()
    };
    assert!(shared_with("uts").as_array().unwrap().contains(&json!(second.name)), "{}", shared_with("uts"));
    assert_eq!(shared_with("pid"), json!([]));
}

fn a_join_of_nobody_is_refused_by_field(scope: &Scope<'_>) {
    for kind in ["network", "pid", "ipc", "uts"] {
        let mut namespaces = json!({});
        namespaces[kind] = json!("container:there-is-no-such-one");
        let body = scope.body(json!({"namespaces": namespaces}));
        scope.api().post("/api/v1/containers").json(&body).send().field_fault(&format!("/spec/namespaces/{kind}"));
    }
}

fn a_join_of_what_does_not_run_says_so(scope: &Scope<'_>) {
    let owner = scope.create(json!({"command": ["sleep", "1000"], "namespaces": {"network": "none"}}));
    let joiner = scope.create(json!({"command": ["sleep", "1000"], "namespaces": {"network": format!("container:{}", owner.name)}}));
    let answer = scope.api().post(&joiner.path("/start")).send();
    assert!(matches!(answer.status, 409 | 422), "{}: {}", answer.status, answer.text());
    let problem = answer.clone().problem(answer.status);
    assert!(problem["detail"].as_str().unwrap().contains(&owner.name), "it does not name the other: {problem:#}");
    owner.start();
    joiner.start();
}

fn the_joiner_outlives_nothing_it_does_not_own(scope: &Scope<'_>) {
    let owner = scope.idle_with(json!({"namespaces": {"network": "none"}}));
    let joiner = scope.idle_with(json!({"namespaces": {"network": format!("container:{}", owner.name)}}));
    let network = host::namespace(joiner.pid(), "net");
    owner.stop();
    // The network belongs to whoever is in it: the joiner goes on undisturbed.
    assert_eq!(joiner.status()["phase"], "Running");
    assert_eq!(host::namespace(joiner.pid(), "net"), network);
    assert_eq!(joiner.exec_output(&["ls", "/sys/class/net"]), "lo\n");
}
