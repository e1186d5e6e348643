//! Execs as things: listed, looked at, signalled, ended; detached ones, which need nobody; and how little one use of a container slows another.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::websocket::command;
use crate::common::{Container, Scope, host, image};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    let mut all = tests![Shared:
        a_running_one_is_listed_and_signalled,
        one_is_ended_with_all_it_started,
        a_zombie_that_is_traced_costs_nothing,
        a_detached_one_needs_no_client_and_its_code_is_kept,
        the_last_few_are_remembered,
        bad_requests_are_refused,
        a_log_is_followed_over_restarts_and_rotation,
    ];
    all.extend(tests![Quiet: no_use_of_a_container_slows_another]);
    all.extend(tests![Own: a_detached_one_outlives_the_control_plane]);
    all
}

fn list(container: &Container<'_>, query: &str) -> Vec<Value> {
    container.look(&format!("/execs{query}"))["items"].as_array().unwrap().clone()
}

fn detach(container: &Container<'_>, script: &str) -> Value {
    let answer = container.post("/exec", &json!({"command": ["sh", "-c", script], "detach": true})).expect(201);
    let location = answer.header("location").unwrap().to_owned();
    let exec = answer.json();
    assert_eq!(location, container.path(&format!("/execs/{}", exec["id"].as_str().unwrap())));
    exec
}

fn path(exec: &Value, rest: &str) -> String {
    format!("/execs/{}{rest}", exec["id"].as_str().unwrap())
}

fn until_ended(container: &Container<'_>, exec: &Value) -> Value {
    host::until("it has ended", || Some(container.look(&path(exec, ""))).filter(|exec| exec["running"] == false))
}

/// How many processes of the host have this in their command line.
fn running(marker: &str) -> usize {
    host::processes().iter().filter(|process| process.command.contains(marker)).count()
}

fn a_running_one_is_listed_and_signalled(scope: &Scope<'_>) {
    let container = scope.idle();
    assert!(list(&container, "").is_empty());
    let script = "trap 'echo got it; exit 11' HUP; echo ready; while :; do sleep 0.05; done";
    let mut session = scope.api().session(&container.path(&format!("/exec{}&tty=true&user=user", command(&["sh", "-c", script]))));
    session.until("ready");
    let execs = list(&container, "");
    let [exec] = execs.as_slice() else { panic!("{execs:#?}") };
    assert_eq!((&exec["kind"], &exec["command"]), (&json!("Exec"), &json!(["sh", "-c", script])));
    assert_eq!(
        (&exec["tty"], &exec["detached"], &exec["running"], &exec["user"]),
        (&json!(true), &json!(false), &json!(true), &json!("user"))
    );
    // The pids are those of the process, here and there.
    let pid = i32::try_from(exec["pid"].as_i64().unwrap()).unwrap();
    let process = host::process(pid).unwrap();
    assert!(process.command.contains("got it") && process.cgroup.contains(&container.uid), "{process:?}");
    let inside = host::status_field(pid, "NSpid").unwrap();
    assert_eq!(inside.split_whitespace().last().unwrap(), exec["containerPid"].to_string());
    assert_eq!(container.look(&path(exec, "")), *exec);
    let short = &exec["id"].as_str().unwrap()[..8];
    assert_eq!(container.look(&format!("/execs/{short}"))["id"], exec["id"]);
    container.post(&path(exec, "/kill"), &json!({"signal": "HUP"})).expect(204);
    session.until("got it");
    assert_eq!(session.finish().exit_code(), 11);
    assert!(list(&container, "?all=true").is_empty(), "its client was told how it ended");
    scope.api().get(&container.path(&path(exec, ""))).send().problem(404);
}

fn one_is_ended_with_all_it_started(scope: &Scope<'_>) {
    let container = scope.idle();
    let before = host::until("its shell has started its sleep", || {
        Some(container.look("/stats")["pids"]["current"].clone()).filter(|n| *n == json!(2))
    });
    let marker = format!("sleep {}", 5_000_000 + container.pid());
    // Polite: TERM is enough for each of them.
    let exec = detach(&container, &format!("setsid {marker} & {marker} & wait"));
    host::until("they run", || Some(()).filter(|()| running(&marker) >= 3));
    let began = Instant::now();
    scope.api().delete(&container.path(&path(&exec, ""))).send().expect(204);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    host::until("all are gone", || Some(()).filter(|()| running(&marker) == 0));
    assert_eq!(until_ended(&container, &exec)["signal"], "SIGTERM");
    scope.api().delete(&container.path(&path(&exec, ""))).send().expect(204);
    scope.api().get(&container.path(&path(&exec, ""))).send().problem(404);
    // Stubborn: killed when the grace period is over, whatever session its children are in.
    let exec = detach(&container, &format!("trap '' TERM; setsid sh -c \"trap '' TERM; {marker}; {marker}\" & while :; do {marker}; done"));
    host::until("they run", || Some(()).filter(|()| running(&marker) >= 3));
    let began = Instant::now();
    scope.api().delete(&container.path(&path(&exec, "?gracePeriodSeconds=1"))).send().expect(204);
    assert!((1.0..8.0).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
    host::until("all are gone", || Some(()).filter(|()| running(&marker) == 0));
    assert_eq!(until_ended(&container, &exec)["exitCode"], 137);
    host::until("the container is as before", || Some(()).filter(|()| container.look("/stats")["pids"]["current"] == before));
    assert_eq!(container.status()["phase"], "Running");
}

/// A container that keeps its dead from being buried must not keep its supervisor busy: that is outside of its limits.
fn a_zombie_that_is_traced_costs_nothing(scope: &Scope<'_>) {
    scope.berth.import("probe:execs", image::probe_image());
    let container = scope.idle_with(json!({"image": "probe:execs"}));
    let exec = detach(&container, "exec sleep 1000");
    let tracer = detach(&container, &format!("exec probe hold {} > /tmp/told", exec["containerPid"]));
    let told = host::until("the tracer speaks", || Some(container.exec(&["cat", "/tmp/told"]).stdout).filter(|told| !told.is_empty()));
    if told != "held\n" {
        eprintln!("a_zombie_that_is_traced_costs_nothing: not run, since this host lets nobody trace another: {told}");
        return;
    }
    let shim = host::process(container.pid()).unwrap().parent;
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{shim}/stat")).unwrap();
        let fields: Vec<u64> = stat.rsplit_once(')').unwrap().1.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        fields[11] + fields[12]
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(1));
    assert!(ticks() - before < 20, "{} hundredths of a second of the processor in one", ticks() - before);
    scope.api().delete(&container.path(&path(&tracer, "?gracePeriodSeconds=0"))).send().expect(204);
    assert_eq!(until_ended(&container, &exec)["signal"], "SIGKILL");
}

fn a_detached_one_needs_no_client_and_its_code_is_kept(scope: &Scope<'_>) {
    let container = scope.idle();
    let exec = detach(&container, "cat; echo nobody reads this; until test -e /tmp/go; do sleep 0.05; done; exit 23");
    assert_eq!((&exec["detached"], &exec["running"], &exec["exitCode"]), (&json!(true), &json!(true), &Value::Null));
    assert_eq!(list(&container, "").len(), 1);
    container.exec_output(&["touch", "/tmp/go"]);
    let ended = until_ended(&container, &exec);
    assert_eq!((&ended["exitCode"], &ended["pid"], &ended["signal"]), (&json!(23), &Value::Null, &Value::Null));
    assert!(ended["finishedAt"].as_str() >= ended["startedAt"].as_str());
    assert!(list(&container, "").is_empty());
    assert_eq!(list(&container, "?all=true")[0]["id"], exec["id"]);
    container.post(&path(&exec, "/kill"), &json!({})).problem(409);
    let late = container.post("/exec", &json!({"command": ["sleep", "100"], "detach": true, "timeoutSeconds": 1})).expect(201).json();
    let ended = until_ended(&container, &late);
    assert_eq!((&ended["timedOut"], &ended["exitCode"]), (&json!(true), &json!(137)));
    assert!(container.logs("").is_empty(), "an exec's output is in the container's log");
}

fn the_last_few_are_remembered(scope: &Scope<'_>) {
    let container = scope.idle();
    let execs: Vec<Value> = (0..18).map(|code| detach(&container, &format!("exit {code}"))).collect();
    host::until("all have ended", || Some(()).filter(|()| list(&container, "").is_empty()));
    let codes: Vec<i64> = list(&container, "?all=true").iter().map(|exec| exec["exitCode"].as_i64().unwrap()).collect();
    assert_eq!(codes.len(), 16, "{codes:?}");
    assert!(codes.contains(&17) && !codes.contains(&0), "{codes:?}");
    let first = container.look("/execs?all=true&limit=10");
    let token = first["metadata"]["continue"].as_str().unwrap();
    assert_eq!((first["items"].as_array().unwrap().len(), &first["metadata"]["remainingItemCount"]), (10, &json!(6)));
    assert_eq!(list(&container, &format!("?all=true&continue={token}")).len(), 6);
    container.stop();
    assert!(list(&container, "?all=true").is_empty());
    scope.api().get(&container.path(&path(&execs[17], ""))).send().problem(404);
}

fn bad_requests_are_refused(scope: &Scope<'_>) {
    let container = scope.idle();
    container.post("/exec", &json!({"command": ["true"], "detach": true, "stdin": "x"})).field_fault("/stdin");
    container.post("/exec", &json!({"command": ["true"], "detach": "yes"})).field_fault("/detach");
    let problem = container.post("/exec", &json!({"command": ["there-is-none"], "detach": true})).problem(422);
    assert_eq!(problem["operation"]["errno"], "ENOENT", "{problem:#}");
    for rest in ["/execs/there-is-none", "/execs/0123456789abcdef0123456789abcdef", "/execs/%2e%2e"] {
        scope.api().get(&container.path(rest)).send().problem(404);
        scope.api().delete(&container.path(rest)).send().problem(404);
    }
    container.post("/execs/there-is-none/kill", &json!({})).problem(404);
    let exec = detach(&container, "sleep 1000");
    container.post(&path(&exec, "/kill"), &json!({"signal": "SIGNONE"})).field_fault("/signal");
    scope.api().delete(&container.path(&path(&exec, "?gracePeriodSeconds=-1"))).send().field_fault("/query/gracePeriodSeconds");
    scope.api().get(&container.path("/execs?colour=red")).send().field_fault("/query/colour");
    let (_, viewer) = super::access::token(scope, "viewer");
    let viewer = super::access::bearer(scope, &viewer);
    viewer.get(&container.path("/execs")).send().expect(200);
    viewer.delete(&container.path(&path(&exec, ""))).send().problem(403);
    scope.api().delete(&container.path(&path(&exec, "?gracePeriodSeconds=0"))).send().expect(204);
}

fn a_detached_one_outlives_the_control_plane(scope: &Scope<'_>) {
    let container = scope.idle();
    let exec = detach(&container, "until test -e /tmp/go; do sleep 0.05; done; exit 12");
    let pid = i32::try_from(exec["pid"].as_i64().unwrap()).unwrap();
    let before = host::process(pid).unwrap();
    scope.berth.kill9();
    assert_eq!(host::process(pid).unwrap().started, before.started);
    scope.berth.launch();
    assert_eq!(list(&container, "")[0]["id"], exec["id"]);
    container.exec_output(&["touch", "/tmp/go"]);
    assert_eq!(until_ended(&container, &exec)["exitCode"], 12);
}

fn a_log_is_followed_over_restarts_and_rotation(scope: &Scope<'_>) {
    let container = scope.run(json!({"command": ["sh", "-c", "echo start; while :; do sleep 0.02; done"]}));
    let mut follower = scope.api().get(&container.path("/logs?follow=true&timestamps=true")).open().unwrap();
    for round in 0..3 {
        let line = follower.line_where(|line| line.ends_with(" start"));
        assert!(line.starts_with("20"), "{line}");
        if round < 2 {
            container.post("/restart", &json!({"gracePeriodSeconds": 0})).expect(204);
        }
    }
    container.post("/stop", &json!({"gracePeriodSeconds": 0})).expect(204);
    assert_eq!(follower.line(), None, "it ends when the container does and nobody starts it again");
    assert_eq!(container.logs(""), "start\nstart\nstart\n");
}

/// Exec, logs, attach and stats of one container, one after the other, as fast as they go: the median of each.
fn medians(scope: &Scope<'_>, container: &Container<'_>) -> Vec<(&'static str, Duration)> {
    let median = |mut work: Box<dyn FnMut() + '_>| {
        let mut times: Vec<Duration> = (0..25)
            .map(|_| {
                let began = Instant::now();
                work();
                began.elapsed()
            })
            .collect();
        times.sort();
        times[times.len() / 2]
    };
    vec![
        ("exec", median(Box::new(|| drop(container.exec_output(&["true"]))))),
        ("stats", median(Box::new(|| drop(container.look("/stats"))))),
        ("logs", median(Box::new(|| drop(container.logs("?tailLines=1"))))),
        ("attach", median(Box::new(|| scope.api().session(&container.path("/attach")).close()))),
    ]
}

/// A container is used as hard as it can be: it floods, is followed, attached to by one who does not read, entered and measured, all at once.
/// What another container is asked takes as long as the processors' share makes it, and its supervisor waits for nothing of all that.
fn no_use_of_a_container_slows_another(scope: &Scope<'_>) {
    let quiet = scope.shell("echo here; sleep 1000");
    quiet.until_it_says("here");
    // Limited, so that the figures tell of waiting and not of two processors that are shared by everything.
    let busy = scope.run(json!({"stdin": true, "resources": {"cpu": "200m"}, "command": ["sh", "-c", "yes flood"]}));
    busy.post("/pause", &json!({})).expect(204);
    let alone = medians(scope, &quiet);
    busy.post("/unpause", &json!({})).expect(204);
    let over = AtomicBool::new(false);
    let beside = std::thread::scope(|threads| {
        let _reads_nothing = scope.api().session(&busy.path("/attach"));
        threads.spawn(|| {
            let mut follower = scope.api().get(&busy.path("/logs?follow=true&tailLines=1")).open().unwrap();
            while !over.load(Ordering::Relaxed) && follower.line().is_some() {
                std::hint::spin_loop();
            }
        });
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                busy.exec(&["head", "-c", "100000", "/dev/zero"]);
                busy.look("/stats");
            }
        });
        let beside = medians(scope, &quiet);
        over.store(true, Ordering::Relaxed);
        beside
    });
    for ((what, alone), (_, beside)) in alone.iter().zip(&beside) {
        println!("{what}: {alone:?} alone, {beside:?} beside a container in heavy use");
        assert!(*beside < *alone * 8 + Duration::from_millis(50), "{what}: {alone:?} alone, {beside:?} beside a busy one");
    }
}
