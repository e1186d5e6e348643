//! Create, start, stop, kill, restart, wait, delete: what each means, what each says when it cannot, and that nothing stays.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Scope, host, image};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![Shared:
        create_start_wait_logs_delete,
        exit_codes_and_signals_are_told_as_a_shell_tells_them,
        stop_is_gentle_first_and_firm_afterwards,
        the_stop_signal_is_the_spec_s,
        kill_sends_what_is_asked,
        starting_what_runs_and_stopping_what_is_stopped_are_no_errors,
        restart_is_another_process_on_the_same_files,
        pause_freezes_and_unpause_thaws,
        waits_end_when_their_condition_is_met,
        no_such_program_is_127,
        a_program_that_cannot_be_executed_is_126,
        a_missing_interpreter_and_a_missing_folder_are_named,
        a_container_that_failed_to_start_can_be_deleted,
        restart_policies_restart_what_they_should,
        restarts_wait_longer_each_time_and_can_be_stopped,
        auto_remove_removes,
        delete_wants_force_for_what_runs,
        delete_takes_every_process_with_it,
        zombies_are_reaped_with_init,
        etags_guard_against_lost_updates,
        an_idempotency_key_makes_one_container,
        merge_patch_changes_labels,
        lists_are_paged_and_selected,
        a_uid_prefix_is_a_name,
        explain_lists_what_the_kernel_was_asked,
    ]
}

fn create_start_wait_logs_delete(scope: &Scope<'_>) {
    let container = scope.create(json!({"command": ["echo", "hello"]}));
    let created = container.get();
    assert_eq!((&created["kind"], &created["status"]["phase"]), (&json!("Container"), &json!("Created")));
    container.start();
    assert_eq!(container.wait()["exitCode"], 0);
    let status = container.status();
    assert_eq!(
        (&status["phase"], &status["reason"], &status["exitCode"]),
        (&json!("Exited"), &json!("Completed"), &json!(0)),
        "{status:#}"
    );
    assert!(status["pid"].is_null(), "a stopped container has a pid: {status:#}");
    let (started, finished) = (status["startedAt"].as_str().unwrap(), status["finishedAt"].as_str().unwrap());
    assert!(started <= finished && started.ends_with('Z'), "{started} {finished}");
    assert_eq!(container.logs(""), "hello\n");
    scope.api().delete(&container.path("")).send().expect(204);
    scope.api().get(&container.path("")).send().problem(404);
    scope.api().get(&format!("/api/v1/containers/{}", container.uid)).send().problem(404);
}

fn exit_codes_and_signals_are_told_as_a_shell_tells_them(scope: &Scope<'_>) {
    let ended = scope.shell("exit 3").wait();
    assert_eq!((&ended["exitCode"], &ended["oomKilled"]), (&json!(3), &json!(false)), "{ended}");
    let killed = scope.idle();
    killed.kill("SIGKILL");
    let ended = killed.wait();
    assert_eq!((&ended["exitCode"], &ended["signal"]), (&json!(137), &json!("SIGKILL")), "{ended}");
    assert_eq!(killed.status()["reason"], "Error");
}

fn stop_is_gentle_first_and_firm_afterwards(scope: &Scope<'_>) {
    let polite = scope.shell("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 1000 & wait; done");
    polite.until_it_says("ready");
    polite.stop();
    assert_eq!((polite.wait()["exitCode"].clone(), polite.logs("")), (json!(5), "ready\nbye\n".to_owned()));

    let deaf =
        scope.run(json!({"command": ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1000; done"], "stopTimeoutSeconds": 1}));
    deaf.until_it_says("ready");
    let began = Instant::now();
    deaf.stop();
    let took = began.elapsed();
    assert_eq!(deaf.wait()["exitCode"], 137);
    assert!(took >= Duration::from_secs(1), "it was given {took:?}");
}

fn the_stop_signal_is_the_spec_s(scope: &Scope<'_>) {
    let container = scope.run(json!({
        "command": ["sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 1000 & wait; done"], "stopSignal": "SIGUSR1",
    }));
    container.until_it_says("ready");
    container.stop();
    assert_eq!(container.wait()["exitCode"], 9);
}

fn kill_sends_what_is_asked(scope: &Scope<'_>) {
    let container = scope.shell("trap 'echo hup' HUP; trap 'exit 4' INT; echo ready; while :; do sleep 1000 & wait; done");
    container.until_it_says("ready");
    container.kill("HUP");
    container.until_it_says("hup");
    assert_eq!(container.status()["phase"], "Running");
    // By number, too.
    container.kill("2");
    assert_eq!(container.wait()["exitCode"], 4);
    container.post("/kill", &json!({"signal": "KILL"})).problem(409);
}

fn starting_what_runs_and_stopping_what_is_stopped_are_no_errors(scope: &Scope<'_>) {
    let container = scope.idle();
    let pid = container.pid();
    container.start();
    assert_eq!(container.pid(), pid);
    container.stop();
    container.stop();
    scope.create(json!({"command": ["true"]})).stop();
}

fn restart_is_another_process_on_the_same_files(scope: &Scope<'_>) {
    let container = scope.idle();
    container.exec_output(&["sh", "-c", "echo kept > /root/kept"]);
    let pid = container.pid();
    container.post("/restart", &json!({})).expect(204);
    assert_ne!(container.pid(), pid);
    assert_eq!(container.exec_output(&["cat", "/root/kept"]), "kept\n");
    container.stop();
    container.start();
    assert_eq!(container.exec_output(&["cat", "/root/kept"]), "kept\n");
}

fn pause_freezes_and_unpause_thaws(scope: &Scope<'_>) {
    let container = scope.shell("while :; do echo tick; sleep 0.01; done");
    container.until_it_says("tick");
    container.post("/pause", &json!({})).expect(204);
    assert_eq!(container.status()["phase"], "Paused");
    let ticks = || container.logs("").lines().count();
    let frozen = ticks();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(ticks(), frozen, "it goes on while it is paused");
    container.post("/unpause", &json!({})).expect(204);
    host::until("it goes on", || Some(()).filter(|()| ticks() > frozen));
    // What is paused can be stopped and deleted.
    container.post("/pause", &json!({})).expect(204);
    container.delete();
}

fn waits_end_when_their_condition_is_met(scope: &Scope<'_>) {
    let container = scope.create(json!({"command": ["sh", "-c", "trap 'exit 6' TERM; echo ready; while :; do sleep 1000 & wait; done"]}));
    std::thread::scope(|threads| {
        let running = threads.spawn(|| container.wait_for("running"));
        container.start();
        running.join().unwrap();
        container.until_it_says("ready");
        let exited = threads.spawn(|| container.wait_for("exited"));
        let removed = threads.spawn(|| container.wait_for("removed"));
        container.kill("TERM");
        assert_eq!(exited.join().unwrap()["exitCode"], 6);
        container.delete();
        assert_eq!(removed.join().unwrap()["exitCode"], 6);
    });
    scope.api().post("/api/v1/containers/there-is-none/wait").json(&json!({"condition": "exited"})).send().problem(404);
}

/// Starts what cannot start: the problem, and the status that says the same.
fn start_error(scope: &Scope<'_>, spec: Value) -> (Value, Value) {
    let container = scope.create(spec);
    let problem = scope.api().post(&container.path("/start")).send().problem(422);
    let status = container.status();
    assert_eq!(status["reason"], "StartError", "{status:#}");
    assert_ne!(status["phase"], "Running");
    (problem, status)
}

fn no_such_program_is_127(scope: &Scope<'_>) {
    for command in ["there-is-none", "/bin/there-is-none"] {
        let (problem, status) = start_error(scope, json!({"command": [command]}));
        let detail = problem["detail"].as_str().unwrap();
        for part in ["exec", "there-is-none", "ENOENT"] {
            assert!(detail.contains(part), "no {part:?}: {detail}");
        }
        assert_eq!(status["exitCode"], 127, "{status:#}");
        assert!(status["message"].as_str().is_some_and(|text| text.contains("ENOENT")), "{status:#}");
    }
}

fn a_program_that_cannot_be_executed_is_126(scope: &Scope<'_>) {
    let (problem, status) = start_error(scope, json!({"command": ["/etc/passwd"]}));
    assert!(problem["detail"].as_str().unwrap().contains("EACCES"), "{problem:#}");
    assert_eq!(status["exitCode"], 126);
    // Neither a binary nor a script.
    scope.berth.import("broken:format", image::busybox_with(|tar| tar.file("./bin/noise", 0o755, b"neither\x00one nor other")));
    let (problem, status) = start_error(scope, json!({"image": "broken:format", "command": ["/bin/noise"]}));
    assert!(problem["detail"].as_str().unwrap().contains("ENOEXEC"), "{problem:#}");
    assert_eq!(status["exitCode"], 126);
}

fn a_missing_interpreter_and_a_missing_folder_are_named(scope: &Scope<'_>) {
    scope.berth.import("broken:script", image::busybox_with(|tar| tar.file("./bin/script", 0o755, b"#!/no/such/shell\n")));
    let (problem, status) = start_error(scope, json!({"image": "broken:script", "command": ["/bin/script"]}));
    assert!(problem["detail"].as_str().unwrap().contains("ENOENT"), "{problem:#}");
    assert_eq!(status["exitCode"], 127);
    let (problem, _) = start_error(scope, json!({"command": ["true"], "user": "nobody-we-know"}));
    assert!(problem["detail"].as_str().unwrap().contains("nobody-we-know"), "{problem:#}");
}

fn a_container_that_failed_to_start_can_be_deleted(scope: &Scope<'_>) {
    let container = scope.create(json!({"command": ["there-is-none"]}));
    scope.api().post(&container.path("/start")).send().problem(422);
    // And tried again.
    scope.api().post(&container.path("/start")).send().problem(422);
    scope.api().delete(&container.path("")).send().expect(204);
}

fn restart_policies_restart_what_they_should(scope: &Scope<'_>) {
    let counted = |policy: Value, script: &str| scope.run(json!({"command": ["sh", "-c", script], "restartPolicy": policy}));
    let never = counted(json!({"name": "no"}), "exit 1");
    never.wait();
    let failing = counted(json!({"name": "on-failure", "maximumRetryCount": 1}), "echo try; exit 1");
    let done = counted(json!({"name": "on-failure"}), "exit 0");
    done.wait();
    let status = failing.until_status("it gave up", |status| status["phase"] == "Exited" && status["restartCount"] == 1);
    assert_eq!(status["exitCode"], 1);
    assert_eq!(failing.logs("").lines().filter(|line| *line == "try").count(), 2);
    let always = counted(json!({"name": "always"}), "exit 0");
    always.until_status("it was restarted", |status| status["restartCount"].as_u64() >= Some(1));
    for stays in [&never, &done] {
        let status = stays.status();
        assert_eq!((&status["restartCount"], &status["phase"]), (&json!(0), &json!("Exited")), "{status:#}");
    }
}

fn restarts_wait_longer_each_time_and_can_be_stopped(scope: &Scope<'_>) {
    let container = scope.run(json!({"command": ["sh", "-c", "exit 1"], "restartPolicy": {"name": "always"}}));
    let waiting = container.until_status("it waits for its next restart", |status| status["nextRestartAt"].is_string());
    assert_eq!(waiting["phase"], "Restarting", "{waiting:#}");
    container.stop();
    let status = container.status();
    assert_eq!((&status["phase"], status["nextRestartAt"].is_null()), (&json!("Exited"), true), "{status:#}");
    let count = status["restartCount"].clone();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(container.status()["restartCount"], count, "a stopped container was restarted");
}

fn auto_remove_removes(scope: &Scope<'_>) {
    let container = scope.run(json!({"command": ["true"], "autoRemove": true}));
    host::until("it is removed", || Some(()).filter(|()| scope.api().get(&container.path("")).send().status == 404));
}

fn delete_wants_force_for_what_runs(scope: &Scope<'_>) {
    let container = scope.idle();
    scope.api().delete(&container.path("")).send().problem(409);
    assert_eq!(container.status()["phase"], "Running");
    container.delete();
    scope.api().delete(&container.path("")).send().problem(404);
}

fn delete_takes_every_process_with_it(scope: &Scope<'_>) {
    let script = "for i in 1 2 3; do (trap '' TERM HUP; setsid sh -c 'sleep 1000' & ) ; done; echo ready; trap '' TERM; while :; do sleep 1000; done";
    let container = scope.shell(script);
    container.until_it_says("ready");
    let pids: Vec<i32> =
        host::processes().into_iter().filter(|process| process.cgroup.contains(&container.uid)).map(|process| process.pid).collect();
    assert!(pids.len() >= 4, "{pids:?}");
    container.delete();
    let alive: Vec<_> =
        pids.iter().filter_map(|pid| host::process(*pid)).filter(|process| process.cgroup.contains(&container.uid)).collect();
    assert!(alive.is_empty(), "{alive:#?}");
}

fn zombies_are_reaped_with_init(scope: &Scope<'_>) {
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sh -c 'sleep 0.01 & exec true' ; done; echo ready; exec sleep 1000";
    let container = scope.run(json!({"command": ["sh", "-c", script], "init": true}));
    container.until_it_says("ready");
    let mine = || host::processes().into_iter().filter(|process| process.cgroup.contains(&container.uid)).collect::<Vec<_>>();
    host::until("no zombie is left", || Some(()).filter(|()| mine().iter().all(|process| process.state != 'Z') && mine().len() == 2));
    // Signals reach the program through its init.
    container.kill("TERM");
    assert_eq!(container.wait()["exitCode"], 143);
}

fn etags_guard_against_lost_updates(scope: &Scope<'_>) {
    let container = scope.create(json!({"command": ["true"]}));
    let read = scope.api().get(&container.path("")).send().expect(200);
    let etag = read.header("etag").expect("an ETag").to_owned();
    assert!(etag.contains(read.json()["metadata"]["resourceVersion"].as_str().unwrap()), "{etag}");
    let patch = |etag: &str, value: &str| {
        let body = json!({"metadata": {"labels": {"seen": value}}}).to_string().into_bytes();
        scope.api().request("PATCH", &container.path("")).header("If-Match", etag).bytes("application/merge-patch+json", body).send()
    };
    patch(&etag, "one").expect(200);
    patch(&etag, "two").problem(412);
    assert_eq!(container.get()["metadata"]["labels"]["seen"], "one");
}

fn an_idempotency_key_makes_one_container(scope: &Scope<'_>) {
    let body = scope.body(json!({"command": ["true"]}));
    let create = |key: &str| scope.api().post("/api/v1/containers").header("Idempotency-Key", key).json(&body).send();
    let first = create("a-key-of-this-test").expect(201);
    scope.adopt(&first.json());
    let again = create("a-key-of-this-test").expect(201);
    assert_eq!(again.json()["metadata"]["uid"], first.json()["metadata"]["uid"]);
    create("another-key").problem(409);
}

fn merge_patch_changes_labels(scope: &Scope<'_>) {
    let mut body = scope.body(json!({"command": ["true"]}));
    body["metadata"]["labels"] = json!({"app": "site", "tier": "front"});
    let created = scope.api().post("/api/v1/containers").json(&body).send().expect(201);
    assert_eq!(
        created.header("location"),
        Some(format!("/api/v1/containers/{}", created.json()["metadata"]["name"].as_str().unwrap()).as_str())
    );
    let container = scope.adopt(&created.json());
    let patched = container.patch(&json!({"metadata": {"labels": {"tier": null, "new": "yes"}}})).expect(200).json();
    assert_eq!(patched["metadata"]["labels"], json!({"app": "site", "new": "yes"}));
}

fn lists_are_paged_and_selected(scope: &Scope<'_>) {
    let mut names = Vec::new();
    for number in 0..5 {
        let mut body = scope.body(json!({"command": ["true"]}));
        body["metadata"]["labels"] = json!({"paging": "yes", "number": number.to_string()});
        names.push(scope.adopt(&scope.api().post("/api/v1/containers").json(&body).send().expect(201).json()).name);
    }
    let list = |query: &str| scope.api().get(&format!("/api/v1/containers?{query}")).send().expect(200).json();
    let mut seen = Vec::new();
    let mut page = list("labelSelector=paging%3Dyes&limit=2");
    loop {
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        seen.extend(items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()));
        let token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
        assert!(page["metadata"]["remainingItemCount"].as_u64() > Some(0), "{:#}", page["metadata"]);
        page = list(&format!("labelSelector=paging%3Dyes&limit=2&continue={token}"));
    }
    seen.sort();
    names.sort();
    assert_eq!(seen, names);
    assert_eq!(list("labelSelector=paging%3Dyes%2Cnumber+in+(1%2C3)")["items"].as_array().unwrap().len(), 2);
    assert_eq!(list("labelSelector=paging%3Dyes&phase=Running")["items"], json!([]));
    scope.api().get("/api/v1/containers?limit=none").send().problem(422);
    scope.api().get("/api/v1/containers?labelSelector=%3D%3D").send().problem(422);
}

fn a_uid_prefix_is_a_name(scope: &Scope<'_>) {
    let container = scope.create(json!({"command": ["true"]}));
    for reference in [&container.uid, &container.uid[..12], &container.uid[..8]] {
        let found = scope.api().get(&format!("/api/v1/containers/{reference}")).send().expect(200).json();
        assert_eq!(found["metadata"]["name"], container.name.as_str());
    }
    scope.api().get(&format!("/api/v1/containers/{}", &container.uid[..5])).send().problem(404);
}

fn explain_lists_what_the_kernel_was_asked(scope: &Scope<'_>) {
    let container = scope.idle();
    let explained = container.look("/explain");
    let rows = explained["items"].as_array().or_else(|| explained.as_array()).unwrap_or_else(|| panic!("no list: {explained:#}"));
    let calls: Vec<&str> = rows.iter().filter_map(|row| row["call"].as_str()).collect();
    for call in ["clone3", "pivot_root", "execve"] {
        assert!(calls.contains(&call), "no {call} among {calls:?}");
    }
    assert!(rows.iter().all(|row| row["durationNanos"].is_u64() && row["result"].is_string()), "{explained:#}");
    assert!(rows.iter().any(|row| row["shell"].as_str().is_some_and(|line| line.contains("mount"))), "no shell line shows a mount");
}
