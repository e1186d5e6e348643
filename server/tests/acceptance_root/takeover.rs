//! The control plane dies, by crash or by wish, and no container notices; the next one takes them over as they are.
//!
//! ```text
//! berth --kill -9--> (nobody)  --start again-->  berth
//! shim, container: go on, log, exit ------------> known with their true exit code and times
//! ```

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::common::{Scope, host};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![Own:
        a_killed_control_plane_leaves_containers_logs_and_exits_alone,
        what_ends_while_nobody_watches_is_known_afterwards,
        a_polite_end_leaves_containers_running,
        an_upgrade_leaves_containers_running,
        an_exec_is_cut_but_harmless_when_the_control_plane_dies,
        a_lost_shim_is_told_and_cleaned_up,
        a_restart_policy_is_honoured_after_a_takeover,
        a_wish_to_delete_survives_the_crash,
        two_instances_do_not_see_each_other,
        a_second_server_on_the_same_folders_is_refused,
        events_go_on_where_they_were,
    ]
}

fn a_killed_control_plane_leaves_containers_logs_and_exits_alone(scope: &Scope<'_>) {
    let berth = scope.berth;
    let container = scope.shell("trap 'echo told; exit 23' USR1; i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.05; done");
    container.until_it_says("tick 2");
    let before = container.status();
    let init = host::process(container.pid()).unwrap();
    berth.kill9();
    // It lives, and its log grows, without anybody above.
    let still = host::process(init.pid).unwrap();
    assert_eq!(still.started, init.started);
    let log_size = || {
        host::tree(&berth.data_dir())
            .into_iter()
            .filter(|path| path.to_string_lossy().contains(&container.uid) && path.is_file())
            .filter(|path| path.to_string_lossy().contains(".log"))
            .filter_map(|path| std::fs::metadata(path).ok())
            .map(|file| file.len())
            .sum::<u64>()
    };
    let size = log_size();
    host::until("its log grows", || Some(()).filter(|()| log_size() > size));
    berth.launch();
    let after = container.status();
    for field in ["phase", "pid", "startedAt", "restartCount"] {
        assert_eq!(after[field], before[field], "{field}: {after:#}");
    }
    // And it is in charge again.
    container.kill("USR1");
    assert_eq!(container.wait()["exitCode"], 23);
    let ticks: Vec<u32> = container.logs("").lines().filter_map(|line| line.strip_prefix("tick ")?.parse().ok()).collect();
    assert!(ticks.windows(2).all(|pair| pair[1] == pair[0] + 1), "a line of the log was lost: {ticks:?}");
}

#[expect(clippy::disallowed_methods, reason = "the machine's own time is what Berth's is compared with")]
fn what_ends_while_nobody_watches_is_known_afterwards(scope: &Scope<'_>) {
    let berth = scope.berth;
    let coded = scope.shell("trap 'exit 42' USR1; echo ready; while :; do sleep 1000 & wait; done");
    let killed = scope.idle();
    let early = scope.shell("exit 7");
    early.wait();
    coded.until_it_says("ready");
    let processes = [host::process(coded.pid()).unwrap(), host::process(killed.pid()).unwrap()];
    berth.kill9();
    let before = jiff::Timestamp::now();
    host::kill(&processes[0], Signal::USR1);
    host::kill(&processes[1], Signal::KILL);
    for container in [&coded, &killed] {
        let record = berth.run_dir().join("pods").join(&container.uid).join("state.json");
        host::until("its end is written down", || std::fs::read_to_string(&record).ok().filter(|text| text.contains("finishedAt")));
    }
    let after = jiff::Timestamp::now();
    berth.launch();
    for (container, code, signal) in [(&coded, 42, Value::Null), (&killed, 137, json!("SIGKILL"))] {
        let status = container.until_status("its end is known", |status| status["phase"] == "Exited");
        assert_eq!((&status["exitCode"], &status["signal"]), (&json!(code), &signal), "{status:#}");
        let finished = status["finishedAt"].as_str().unwrap_or_else(|| panic!("{status:#}")).parse::<jiff::Timestamp>().unwrap();
        assert!((before..=after).contains(&finished), "it finished between {before} and {after}: {status:#}");
    }
    assert_eq!(early.status()["exitCode"], 7);
    assert_eq!(coded.logs(""), "ready\n");
}

fn a_polite_end_leaves_containers_running(scope: &Scope<'_>) {
    let container = scope.idle();
    let pid = container.pid();
    assert!(scope.berth.terminate().success());
    assert!(host::process(pid).is_some());
    scope.berth.launch();
    assert_eq!(container.pid(), pid);
    assert_eq!(container.exec_output(&["echo", "there"]), "there\n");
}

/// As a package manager does it: a new file in the place of the old one, while that runs.
fn an_upgrade_leaves_containers_running(scope: &Scope<'_>) {
    let berth = scope.berth;
    berth.need_busybox();
    berth.terminate();
    let folder = berth.home().join("bin");
    std::fs::create_dir(&folder).unwrap();
    let built = crate::common::berth::program();
    let install = || {
        for name in ["berth", "berth-runtime"] {
            let new = folder.join("new");
            std::fs::copy(built.with_file_name(name), &new).unwrap();
            std::fs::rename(&new, folder.join(name)).unwrap();
        }
    };
    install();
    berth.launch_program(&folder.join("berth"), &[]);
    let container = scope.shell("trap 'exit 42' TERM; echo one; while :; do sleep 1000 & wait; done");
    container.until_it_says("one");
    let pid = container.pid();
    install();
    // Between the new files and the restart the old programs go on, and have no file any more to be started from.
    let between = scope.idle();
    assert_eq!(between.exec_output(&["echo", "between"]), "between\n");
    assert!(berth.terminate().success());
    berth.launch_program(&folder.join("berth"), &[]);
    for container in [&container, &between] {
        assert_eq!(container.status()["restartCount"], 0);
        assert_eq!(container.exec_output(&["echo", "after"]), "after\n");
    }
    assert_eq!((container.pid(), container.logs("")), (pid, "one\n".to_owned()));
    container.stop();
    assert_eq!(container.status()["exitCode"], 42);
    let fresh = scope.shell("echo from the new one");
    assert_eq!(fresh.wait()["exitCode"], 0);
}

fn an_exec_is_cut_but_harmless_when_the_control_plane_dies(scope: &Scope<'_>) {
    let container = scope.idle();
    let pid = container.pid();
    std::thread::scope(|threads| {
        let cut = threads.spawn(|| {
            let body = json!({"command": ["sh", "-c", "sleep 1; echo done > /tmp/done"]});
            scope.api().post(&container.path("/exec")).json(&body).try_send()
        });
        host::until("the exec runs", || {
            host::processes().into_iter().find(|process| process.command == "sleep 1" && process.cgroup.contains(&container.uid))
        });
        scope.berth.kill9();
        assert!(cut.join().unwrap().is_err(), "an answer came from the dead");
    });
    scope.berth.launch();
    assert_eq!(container.pid(), pid);
    assert_eq!(container.exec_output(&["echo", "again"]), "again\n");
}

fn a_lost_shim_is_told_and_cleaned_up(scope: &Scope<'_>) {
    let container = scope.idle();
    let init = host::process(container.pid()).unwrap();
    let shim = host::process(init.parent).expect("the container's parent on the host is its shim");
    assert!(shim.command.contains("berth-runtime") || shim.command.contains("shim"), "{shim:?}");
    host::kill(&shim, Signal::KILL);
    let status = container.until_status("the loss is known", |status| status["phase"] != "Running");
    assert_eq!(status["reason"], "ShimLost", "{status:#}");
    host::until("its processes are gone", || {
        Some(()).filter(|()| !host::processes().iter().any(|process| process.cgroup.contains(&container.uid)))
    });
    // Nothing stands in the way of a next time.
    container.start();
    assert_eq!(container.exec_output(&["echo", "back"]), "back\n");
}

fn a_restart_policy_is_honoured_after_a_takeover(scope: &Scope<'_>) {
    let container = scope.idle_with(json!({"restartPolicy": {"name": "always"}}));
    let init = host::process(container.pid()).unwrap();
    scope.berth.kill9();
    host::kill(&init, Signal::KILL);
    host::until("it has ended", || Some(()).filter(|()| host::process(init.pid).is_none()));
    scope.berth.launch();
    container.until_status("it is restarted", |status| status["phase"] == "Running" && status["restartCount"] == 1);
    assert_ne!(container.pid(), init.pid);
}

fn a_wish_to_delete_survives_the_crash(scope: &Scope<'_>) {
    let deaf = scope.run(json!({"command": ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1000; done"]}));
    deaf.until_it_says("ready");
    std::thread::scope(|threads| {
        let asked = threads.spawn(|| scope.api().delete(&deaf.path("?force=true&gracePeriodSeconds=2")).try_send());
        host::until("the deletion has begun", || Some(()).filter(|()| deaf.get()["metadata"]["deletionTimestamp"].is_string()));
        scope.berth.kill9();
        let _ = asked.join().unwrap();
    });
    scope.berth.launch();
    host::until("the deletion is finished", || Some(()).filter(|()| scope.api().get(&deaf.path("")).send().status == 404));
}

fn two_instances_do_not_see_each_other(scope: &Scope<'_>) {
    let other = crate::common::Berth::start();
    let over_there = Scope::new(&other, "elsewhere");
    let here = scope.idle();
    let there = over_there.idle();
    let names = |scope: &Scope<'_>| scope.api().get("/api/v1/containers").send().expect(200).json().to_string();
    assert!(names(scope).contains(&here.uid) && !names(scope).contains(&there.uid));
    let (mine, its) = (here.status()["uidBase"].as_u64().unwrap(), there.status()["uidBase"].as_u64().unwrap());
    assert!(mine.abs_diff(its) >= 65_536, "their uid ranges overlap: {mine} {its}");
    let left = over_there.finish() + &other.stop_and_count();
    assert!(left.is_empty(), "left of the other:\n{left}");
    assert_eq!(here.status()["phase"], "Running");
}

fn a_second_server_on_the_same_folders_is_refused(scope: &Scope<'_>) {
    let output = std::process::Command::new(crate::common::berth::program())
        .arg("serve")
        .arg("--data-dir")
        .arg(scope.berth.data_dir())
        .arg("--run-dir")
        .arg(scope.berth.run_dir())
        .args(["--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(&scope.berth.pid().to_string()) || said.contains("lock") || said.contains("running"),
        "it does not say why: {said}"
    );
    scope.api().get("/readyz").send().expect(200);
}

fn events_go_on_where_they_were(scope: &Scope<'_>) {
    let container = scope.shell("exit 0");
    container.wait();
    let sequences = || -> Vec<u64> {
        let list = scope.api().get("/api/v1/events?limit=500").send().expect(200).json();
        list["items"].as_array().unwrap().iter().map(|event| event["sequence"].as_u64().unwrap()).collect()
    };
    let before = sequences();
    scope.berth.kill9();
    scope.berth.launch();
    let next = scope.shell("exit 0");
    next.wait();
    let after = sequences();
    assert_eq!(after[..before.len()], before[..], "events were lost");
    assert!(after.windows(2).all(|pair| pair[0] < pair[1]), "a number came twice: {after:?}");
}
