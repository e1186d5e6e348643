//! M8: a further process in a container: all of its namespaces, its cgroup and its whole running context.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;

use crate::common::{Container, Scope, host};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![Shared:
        it_is_in_every_namespace_and_the_cgroup,
        it_has_the_containers_context,
        context_can_be_given,
        its_output_is_kept_apart_and_its_code_told,
        it_can_be_ended_by_a_timeout_with_all_it_started,
        no_such_program_is_127_and_not_executable_126,
        what_does_not_run_cannot_be_entered,
        what_is_frozen_cannot_be_entered,
        its_children_do_not_outlive_the_container,
        many_at_once_each_get_their_own_answer,
        bad_requests_name_the_field,
    ]
}

fn namespaces_inside(container: &Container<'_>) -> BTreeMap<String, String> {
    let links =
        container.exec_output(&["sh", "-c", "for n in cgroup ipc mnt net pid user uts; do echo $n $(readlink /proc/self/ns/$n); done"]);
    links.lines().filter_map(|line| line.split_once(' ')).map(|(kind, link)| (kind.to_owned(), link.to_owned())).collect()
}

fn it_is_in_every_namespace_and_the_cgroup(scope: &Scope<'_>) {
    let container = scope.idle();
    let inside = namespaces_inside(&container);
    for kind in host::NAMESPACES {
        let inode = host::namespace(container.pid(), kind).unwrap();
        assert_eq!(inside.get(kind), Some(&format!("{kind}:[{inode}]")), "{inside:#?}");
    }
    // Seen from the host, as the container's own view says `/` to everything.
    let marker = format!("sleep {}", 1_000_000 + container.pid());
    let entered = std::thread::scope(|threads| {
        threads.spawn(|| container.exec(&["sh", "-c", &marker]));
        let entered = host::until("the exec runs", || host::processes().into_iter().find(|process| process.command == marker));
        container.kill("KILL");
        entered
    });
    assert!(entered.cgroup.contains(&container.uid), "{}", entered.cgroup);
}

fn it_has_the_containers_context(scope: &Scope<'_>) {
    let container = scope.idle_with(json!({
        "env": [{"name": "COLOUR", "value": "green"}], "user": "1000:1000", "workingDir": "/tmp",
        "security": {"capabilities": {"drop": ["NET_BIND_SERVICE"]}}, "rlimits": [{"type": "nofile", "soft": 100, "hard": 200}],
    }));
    assert_eq!(container.exec_output(&["sh", "-c", "echo $COLOUR $(id -u):$(id -g) $(pwd) $(ulimit -n)"]), "green 1000:1000 /tmp 100\n");
    let entered = container.exec_output(&["cat", "/proc/self/status"]);
    let init = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters", "Groups"] {
        let line = |status: &str| status.lines().find(|line| line.starts_with(&format!("{field}:"))).map(str::to_owned);
        if field == "Groups" {
            // Numbers differ by the map's base: only how many there are can be compared.
            let count = |status: &str| line(status).unwrap_or_default().split_whitespace().count();
            assert_eq!(count(&entered), count(&init));
        } else {
            assert_eq!(line(&entered), line(&init), "{field}");
        }
    }
    let environment = container.exec_output(&["cat", "/proc/1/environ"]);
    let of_exec = container.exec_output(&["cat", "/proc/self/environ"]);
    let sorted = |text: &str| {
        let mut names: Vec<String> = text.split('\0').filter(|entry| !entry.is_empty()).map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(sorted(&of_exec), sorted(&environment));
}

fn context_can_be_given(scope: &Scope<'_>) {
    let container = scope.idle_with(json!({"env": [{"name": "COLOUR", "value": "green"}]}));
    let given = container.exec_with(json!({
        "command": ["sh", "-c", "echo $COLOUR $SIZE $(id -u) $(pwd)"],
        "env": [{"name": "COLOUR", "value": "red"}, {"name": "SIZE", "value": "small"}], "user": "user", "workingDir": "/etc",
    }));
    assert_eq!((given.exit_code, given.stdout.as_str()), (0, "red small 1000 /etc\n"), "{given:?}");
}

fn its_output_is_kept_apart_and_its_code_told(scope: &Scope<'_>) {
    let container = scope.idle();
    let ran = container.exec(&["sh", "-c", "echo out; echo err >&2; exit 42"]);
    assert_eq!((ran.exit_code, ran.stdout.as_str(), ran.stderr.as_str()), (42, "out\n", "err\n"));
    let signalled = container.exec(&["sh", "-c", "kill -TERM $$"]);
    assert_eq!(signalled.exit_code, 143, "{signalled:?}");
    assert!(container.logs("").is_empty(), "an exec's output is in the container's log");
}

fn it_can_be_ended_by_a_timeout_with_all_it_started(scope: &Scope<'_>) {
    let container = scope.idle();
    // The shell and its sleep: the first look may come before that has been forked.
    let before = 2;
    host::until("all of it runs", || Some(()).filter(|()| container.look("/stats")["pids"]["current"] == before));
    let answer =
        container.post("/exec", &json!({"command": ["sh", "-c", "sleep 1000 & sleep 1000"], "timeoutSeconds": 1})).expect(200).json();
    assert_eq!(answer["timedOut"], true, "{answer:#}");
    host::until("all that it started is gone", || Some(()).filter(|()| container.look("/stats")["pids"]["current"] == before));
}

fn no_such_program_is_127_and_not_executable_126(scope: &Scope<'_>) {
    let container = scope.idle();
    for (program, code, errno) in [("there-is-none", 127, "ENOENT"), ("/etc/passwd", 126, "EACCES")] {
        let answer = container.post("/exec", &json!({"command": [program]}));
        if answer.status == 200 {
            let answer = answer.json();
            assert_eq!(answer["exitCode"], code, "{answer:#}");
        } else {
            let problem = answer.problem(422);
            assert!(problem["detail"].as_str().unwrap().contains(errno), "{problem:#}");
        }
    }
}

fn what_does_not_run_cannot_be_entered(scope: &Scope<'_>) {
    let created = scope.create(json!({"command": ["true"]}));
    created.post("/exec", &json!({"command": ["true"]})).problem(409);
    created.start();
    created.wait();
    created.post("/exec", &json!({"command": ["true"]})).problem(409);
}

/// Its processes would stand still as soon as they are in the cgroup, and whoever waits for them with them.
fn what_is_frozen_cannot_be_entered(scope: &Scope<'_>) {
    let container = scope.idle();
    container.post("/pause", &json!({})).expect(204);
    container.post("/exec", &json!({"command": ["true"]})).problem(409);
    container.post("/unpause", &json!({})).expect(204);
    // Of a freeze by another hand only the kernel knows.
    let file = super::limits::cgroup_file(&container, "freezer", "freezer.state", "cgroup.freeze");
    let (freeze, thaw) = if file.ends_with("freezer.state") { ("FROZEN", "THAWED") } else { ("1", "0") };
    std::fs::write(&file, freeze).unwrap();
    container.post("/exec", &json!({"command": ["true"]})).problem(409);
    // Its supervisor answers.
    assert!(!container.look("/processes")["items"].as_array().unwrap().is_empty());
    std::fs::write(&file, thaw).unwrap();
    assert_eq!(container.exec_output(&["echo", "entered"]), "entered\n");
    // Nor does such a freeze keep it from being ended.
    std::fs::write(&file, freeze).unwrap();
    container.delete();
}

fn its_children_do_not_outlive_the_container(scope: &Scope<'_>) {
    let container = scope.idle();
    container.exec_output(&["sh", "-c", "setsid sleep 1000 > /dev/null 2>&1 < /dev/null &"]);
    let left = || host::processes().into_iter().filter(|process| process.cgroup.contains(&container.uid)).count();
    host::until("the orphan runs", || Some(()).filter(|()| left() >= 3));
    container.stop();
    host::until("nothing runs", || Some(()).filter(|()| left() == 0));
}

fn many_at_once_each_get_their_own_answer(scope: &Scope<'_>) {
    let container = scope.idle();
    std::thread::scope(|threads| {
        let running: Vec<_> = (0..8)
            .map(|number: i64| {
                let container = container.clone();
                threads.spawn(move || {
                    for round in 0..5 {
                        let ran = container.exec(&["sh", "-c", &format!("echo {number} {round}; exit {number}")]);
                        assert_eq!((ran.exit_code, ran.stdout), (number, format!("{number} {round}\n")));
                    }
                })
            })
            .collect();
        running.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

fn bad_requests_name_the_field(scope: &Scope<'_>) {
    let container = scope.idle();
    container.post("/exec", &json!({"command": []})).field_fault("/command");
    container.post("/exec", &json!({})).field_fault("/command");
    container.post("/exec", &json!({"command": ["true"], "colour": "red"})).field_fault("/colour");
    container.post("/exec", &json!({"command": ["true"], "user": "4294967296"})).field_fault("/user");
    container.post("/exec", &json!({"command": ["true"], "env": [{"name": "A=B", "value": ""}]})).field_fault("/env/0/name");
}
