//! Interactive sessions over a WebSocket: a terminal, signals through it, exit codes, and who is cut off by what.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::common::http::Client;
use crate::common::websocket::{Socket, command};
use crate::common::{Container, Scope, host};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    let mut all = tests![Shared:
        a_terminal_has_a_size_and_signals_and_colours,
        a_pipe_is_ended_by_255_and_its_code_told,
        much_goes_through_and_nothing_is_lost,
        a_context_can_be_given_and_the_program_must_be_there,
        what_is_no_session_is_refused_in_words,
        a_client_that_goes_ends_its_exec_with_all_it_started,
        what_an_exec_leaves_running_holds_up_nobody,
        two_are_attached_and_one_leaves,
        attached_from_the_beginning,
        an_attached_terminal,
        a_signal_of_the_terminal_comes_once,
        a_slow_client_holds_up_nobody,
        who_reads_nothing_can_still_type,
        another_sites_page_cannot_open_one,
        a_token_that_is_deleted_ends_its_sessions,
    ];
    all.extend(tests![Own: the_end_of_the_server_is_told, a_killed_server_leaves_an_attached_container_alone]);
    all
}

fn exec(scope: &Scope<'_>, container: &Container<'_>, parts: &[&str], more: &str) -> Socket {
    scope.api().session(&container.path(&format!("/exec{}{more}", command(parts))))
}

fn admin_over_tcp(scope: &Scope<'_>) -> Client {
    super::access::bearer(scope, &super::access::token(scope, "admin").1)
}

/// How many processes of the host have this in their command line.
fn running(marker: &str) -> usize {
    host::processes().iter().filter(|process| process.command.contains(marker)).count()
}

fn a_terminal_has_a_size_and_signals_and_colours(scope: &Scope<'_>) {
    let container = scope.idle();
    let mut shell = exec(scope, &container, &["sh"], "&tty=true&env=PS1=ready%3E%20&env=TERM=xterm");
    shell.until("ready>");
    shell.resize(132, 43);
    shell.forget();
    shell.input("stty size\n");
    shell.until("43 132");
    shell.input("printf '\\033[31mred\\033[0m\\n'\n");
    shell.until("\u{1b}[31mred\u{1b}[0m\r\n");
    // Ctrl-C goes to what runs in the foreground, and the shell lives.
    shell.input("sleep 1000; echo code $?\n");
    host::until("it sleeps", || {
        Some(()).filter(|()| {
            host::processes().iter().any(|p| p.command == "sleep 1000" && p.cgroup.contains(&container.uid) && p.parent != container.pid())
        })
    });
    shell.forget();
    shell.input("\u{3}");
    shell.until("ready>");
    shell.input("test -t 0 && test -t 1 && test -t 2 && echo all are terminals | tr a-z A-Z\n");
    shell.until("ALL ARE TERMINALS");
    shell.input("exit 3\n");
    let ended = shell.finish();
    assert_eq!((ended.exit_code(), ended.stderr.as_str()), (3, ""));
}

fn a_pipe_is_ended_by_255_and_its_code_told(scope: &Scope<'_>) {
    let container = scope.idle();
    let mut sort = exec(scope, &container, &["sort"], "");
    sort.input("b\n");
    sort.input("a\n");
    sort.end_input();
    let ended = sort.finish();
    assert_eq!((ended.exit_code(), ended.stdout.as_str()), (0, "a\nb\n"));

    let ended = exec(scope, &container, &["sh", "-c", "echo out; echo err >&2; exit 42"], "").finish();
    assert_eq!((ended.exit_code(), ended.stdout.as_str(), ended.stderr.as_str()), (42, "out\n", "err\n"));
    let ended = exec(scope, &container, &["sh", "-c", "kill -TERM $$"], "").finish();
    assert_eq!(ended.exit_code(), 143);
    assert!(ended.status.unwrap().to_string().contains("SIGTERM"));
    // As Kubernetes' clients ask: no stdin, and so its end at once.
    let ended = exec(scope, &container, &["cat"], "&stdout=true&stderr=true").finish();
    assert_eq!(ended.exit_code(), 0);
    let ended = exec(scope, &container, &["sh", "-c", "echo out; echo err >&2"], "&stderr=false").finish();
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out\n", ""));
    // Text messages are their bytes; v4 is spoken, too.
    let mut cat = scope.api().try_session(&container.path("/exec?command=head&command=-n1"), "v4.channel.k8s.io").unwrap();
    cat.send_text("\u{0}as text\n");
    let ended = cat.finish();
    assert_eq!((ended.exit_code(), ended.stdout.as_str()), (0, "as text\n"));
    // What has no meaning ends it, in words.
    let mut cat = exec(scope, &container, &["cat"], "");
    cat.send(7, b"x");
    let ended = cat.finish();
    assert_eq!((ended.code, ended.reason.as_str()), (1002, "channel 7 is not one that a client writes to"));
}

fn much_goes_through_and_nothing_is_lost(scope: &Scope<'_>) {
    let container = scope.idle();
    // More than all buffers between here and there, into a program that is slow to begin.
    let mut sum = exec(scope, &container, &["sh", "-c", "sleep 1; md5sum"], "");
    let block = vec![b'x'; 128 << 10];
    for _ in 0..64 {
        sum.send(0, &block);
    }
    sum.end_input();
    let ended = sum.finish();
    assert_eq!((ended.exit_code(), ended.stdout.as_str()), (0, "2058fb53f643fcd58a8d83a05542392b  -\n"));
    let ended = exec(scope, &container, &["sh", "-c", "head -c 20000000 /dev/zero | tr '\\0' y"], "").finish();
    assert_eq!((ended.exit_code(), ended.stdout.len()), (0, 20_000_000));
}

fn a_context_can_be_given_and_the_program_must_be_there(scope: &Scope<'_>) {
    let container = scope.idle();
    let script = ["sh", "-c", "echo $COLOUR $SIZE $(id -u) $(pwd)"];
    let ended = exec(scope, &container, &script, "&env=COLOUR=red&env=SIZE=small&user=user&workingDir=/etc").finish();
    assert_eq!(ended.stdout, "red small 1000 /etc\n");
    // Known only when it was tried, and still a refusal and no session.
    for (program, errno) in [("there-is-none", "ENOENT"), ("/etc/passwd", "EACCES")] {
        let problem = upgrade(scope, &container.path(&format!("/exec?command={program}"))).problem(422);
        assert_eq!((&problem["code"], &problem["operation"]["errno"]), (&json!("start-failed"), &json!(errno)), "{problem:#}");
    }
}

/// The handshake of RFC 6455, over the unix socket, with nothing behind it.
fn upgrade(scope: &Scope<'_>, path: &str) -> crate::common::http::Response {
    shake(&scope.api(), path).send()
}

fn shake(client: &Client, path: &str) -> crate::common::http::Request {
    client
        .get(path)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Protocol", "v5.channel.k8s.io")
}

fn what_is_no_session_is_refused_in_words(scope: &Scope<'_>) {
    let container = scope.idle();
    for path in ["/exec?command=true", "/attach"] {
        let answer = scope.api().get(&container.path(path)).send();
        assert_eq!(answer.header("upgrade"), Some("websocket"), "{path}");
        assert_eq!(answer.problem(426)["code"], "upgrade-required");
        assert_eq!(scope.api().try_session(&container.path(path), "chat").err(), Some(422), "{path}");
    }
    upgrade(scope, &container.path("/exec")).field_fault("/query/command");
    upgrade(scope, &container.path("/exec?command=")).field_fault("/query/command/0");
    upgrade(scope, &container.path("/exec?command=true&env=A")).field_fault("/query/env/0");
    upgrade(scope, &container.path("/exec?command=true&tty=perhaps")).field_fault("/query/tty");
    upgrade(scope, &container.path("/exec?command=true&colour=red")).field_fault("/query/colour");
    upgrade(scope, &container.path("/exec?command=true&workingDir=../x")).field_fault("/query/workingDir");
    upgrade(scope, &container.path("/attach?logs=perhaps")).field_fault("/query/logs");
    upgrade(scope, "/api/v1/containers/there-is-none/exec?command=true").problem(404);
    upgrade(scope, "/api/v1/containers/there-is-none/attach").problem(404);
    let stopped = scope.create(json!({"command": ["true"]}));
    upgrade(scope, &stopped.path("/exec?command=true")).problem(409);
    upgrade(scope, &stopped.path("/attach")).problem(409);
    container.post("/pause", &json!({})).expect(204);
    upgrade(scope, &container.path("/exec?command=true")).problem(409);
    container.post("/unpause", &json!({})).expect(204);
}

fn a_client_that_goes_ends_its_exec_with_all_it_started(scope: &Scope<'_>) {
    let container = scope.idle();
    for (number, politely) in [(1, true), (2, false)] {
        let marker = format!("sleep {}", 2_000_000 + number * 100_000 + container.pid());
        let mut shell = exec(scope, &container, &["sh", "-c", &format!("setsid {marker} & echo on; {marker}")], "");
        shell.until("on");
        host::until("both run", || Some(()).filter(|()| running(&marker) >= 2));
        if politely {
            shell.close()
        } else {
            drop(shell)
        }
        host::until("all are gone", || Some(()).filter(|()| running(&marker) == 0));
    }
    assert_eq!(container.status()["phase"], "Running");
}

/// A regression: what held the exec's output open and wrote to it all the while kept the supervisor busy for ever.
fn what_an_exec_leaves_running_holds_up_nobody(scope: &Scope<'_>) {
    let container = scope.idle();
    let ended = exec(scope, &container, &["sh", "-c", "yes & exit 5"], "").finish();
    assert_eq!(ended.exit_code(), 5);
    assert_eq!(container.exec(&["sh", "-c", "yes & exit 6"]).exit_code, 6);
    assert_eq!(container.exec_output(&["echo", "here"]), "here\n");
}

fn two_are_attached_and_one_leaves(scope: &Scope<'_>) {
    let spec =
        json!({"stdin": true, "command": ["sh", "-c", "echo early; while read line; do echo got $line; echo err >&2; done; exit 9"]});
    let container = scope.run(spec);
    container.until_it_says("early");
    let mut first = scope.api().session(&container.path("/attach"));
    let mut second = admin_over_tcp(scope).session(&container.path("/attach"));
    first.input("one\n");
    first.until("got one\n");
    let seen = second.until("got one\n");
    assert!(!seen.contains("early"), "{seen}");
    first.close();
    second.input("two\n");
    second.until("got two\n");
    assert_eq!(container.status()["phase"], "Running", "detaching ended it");
    second.end_input();
    let ended = second.finish();
    assert_eq!((ended.exit_code(), ended.stderr.as_str()), (9, "err\nerr\n"));
    assert_eq!(container.logs(""), "early\ngot one\nerr\ngot two\nerr\n");
}

fn attached_from_the_beginning(scope: &Scope<'_>) {
    let script =
        "echo one; echo two >&2; printf 'no end yet'; touch /tmp/said; until test -e /tmp/go; do sleep 0.05; done; echo ' and now'; exit 4";
    let container = scope.shell(script);
    host::until("it is so far", || Some(()).filter(|()| container.exec(&["test", "-e", "/tmp/said"]).exit_code == 0));
    let mut attached = scope.api().session(&container.path("/attach?logs=true"));
    attached.until("one\nno end yet");
    // It has no standard input: what is sent is for nobody, and no error.
    attached.input("nobody reads this\n");
    container.exec_output(&["touch", "/tmp/go"]);
    let ended = attached.finish();
    assert_eq!((ended.exit_code(), ended.stdout.as_str(), ended.stderr.as_str()), (4, "one\nno end yet and now\n", "two\n"));
}

fn an_attached_terminal(scope: &Scope<'_>) {
    let container = scope.run(json!({"stdin": true, "tty": true, "command": ["sh"], "env": [{"name": "PS1", "value": "ready> "}]}));
    let mut terminal = scope.api().session(&container.path("/attach?logs=true"));
    terminal.until("ready>");
    terminal.resize(100, 30);
    terminal.input("stty size\n");
    terminal.until("30 100");
    terminal.input("exit 8\n");
    assert_eq!(terminal.finish().exit_code(), 8);
    assert_eq!(container.wait()["exitCode"], 8);
}

/// It takes nothing at all, while the container floods: the container, its log, another client and the other calls go on as if it were not there.
fn a_slow_client_holds_up_nobody(scope: &Scope<'_>) {
    let script =
        "read go; i=0; while test $i -lt 200000; do echo line $i of a flood that nobody can read so fast; i=$((i+1)); done; echo done";
    let container = scope.run(json!({"stdin": true, "command": ["sh", "-c", script]}));
    let slow = scope.api().session(&container.path("/attach"));
    let mut quick = scope.api().session(&container.path("/attach"));
    quick.input("go\n");
    let began = Instant::now();
    let ended = quick.finish();
    assert_eq!(ended.exit_code(), 0);
    assert!(ended.stdout.ends_with("done\n"), "{:?}", ended.stdout.lines().next_back());
    assert!(began.elapsed() < Duration::from_secs(25), "it took {:?}", began.elapsed());
    assert_eq!(container.logs("?tailLines=2"), "line 199999 of a flood that nobody can read so fast\ndone\n");
    // What it was spared is told in its place, and the end of the output is there as well.
    let ended = slow.finish();
    assert!(ended.stdout.ends_with("done\n"), "{:?}", ended.stdout.lines().next_back());
    assert!(ended.stderr.contains("bytes of output are missing here"), "{}", ended.stderr);
    assert_eq!(ended.exit_code(), 0);
}

/// Each key is sent by itself, as a terminal does, and none of what the shim answers to them comes through the flood.
fn who_reads_nothing_can_still_type(scope: &Scope<'_>) {
    let container = scope.idle();
    let script = "trap 'touch /tmp/interrupted; exit 0' INT; echo $$ > /tmp/pid; while :; do echo a flood that stands still because nobody reads it; done";
    let mut terminal = exec(scope, &container, &["sh", "-c", script], "&tty=true");
    // Every buffer on the way is full: it waits in its write.
    host::until("it stands still", || {
        let stat = |field: &str| container.exec(&["sh", "-c", &format!("awk '{{print ${field}}}' /proc/$(cat /tmp/pid)/stat")]).stdout;
        let before = (stat("3"), stat("14"), stat("15"));
        std::thread::sleep(Duration::from_millis(100));
        Some(()).filter(|()| before.0 == "S\n" && before == (stat("3"), stat("14"), stat("15")))
    });
    for key in ["a", "b", "c", "\u{3}"] {
        terminal.input(key);
    }
    host::until("Ctrl-C arrived", || Some(()).filter(|()| container.exec(&["test", "-e", "/tmp/interrupted"]).exit_code == 0));
    terminal.finish();
}

fn another_sites_page_cannot_open_one(scope: &Scope<'_>) {
    let container = scope.idle();
    let path = container.path("/exec?command=true");
    let admin = admin_over_tcp(scope);
    let address = scope.berth.address();
    assert_eq!(admin.clone().with("Origin", &format!("http://{address}")).session(&path).finish().exit_code(), 0);
    for origin in ["http://evil.example", "null", "https://127.0.0.1", "file://"] {
        assert_eq!(admin.clone().with("Origin", origin).try_session(&path, "v5.channel.k8s.io").err(), Some(403), "{origin}");
    }
    assert_eq!(admin.clone().with("Sec-Fetch-Site", "cross-site").try_session(&path, "v5.channel.k8s.io").err(), Some(403));
    assert_eq!(admin.with("Host", "evil.example").try_session(&path, "v5.channel.k8s.io").err(), Some(421));
    assert_eq!(scope.berth.tcp().try_session(&path, "v5.channel.k8s.io").err(), Some(401));
    let (_, viewer) = super::access::token(scope, "viewer");
    let viewer = super::access::bearer(scope, &viewer);
    for path in [path, container.path("/attach")] {
        assert_eq!(viewer.try_session(&path, "v5.channel.k8s.io").err(), Some(403), "{path}");
    }
    let (_, operator) = super::access::token(scope, "operator");
    let operator = super::access::bearer(scope, &operator);
    assert_eq!(operator.session(&container.path("/exec?command=true")).finish().exit_code(), 0);
    assert_eq!(operator.try_session(&container.path("/exec?command=true&privileged=true"), "v5.channel.k8s.io").err(), Some(403));
}

fn a_token_that_is_deleted_ends_its_sessions(scope: &Scope<'_>) {
    let container = scope.idle();
    let (name, secret) = super::access::token(scope, "operator");
    let marker = format!("sleep {}", 3_000_000 + container.pid());
    let client = super::access::bearer(scope, &secret);
    let running_exec = client.session(&container.path(&format!("/exec{}", command(&["sh", "-c", &marker]))));
    let attached = client.session(&container.path("/attach"));
    host::until("it runs", || Some(()).filter(|()| running(&marker) > 0));
    scope.api().delete(&format!("/api/v1/tokens/{name}")).send().expect(204);
    // Whether or not the client answers the close.
    host::until("the exec is gone", || Some(()).filter(|()| running(&marker) == 0));
    for session in [running_exec, attached] {
        let ended = session.finish();
        assert_eq!((ended.code, ended.reason.as_str()), (1008, "the token was deleted"));
    }
}

/// Below the small init, too: see `docker run --init`.
fn a_signal_of_the_terminal_comes_once(scope: &Scope<'_>) {
    for init in [false, true] {
        let script = "trap 'n=$((n+1)); echo signal $n' INT; echo ready; while :; do read line && echo $line; done";
        let container = scope.run(json!({"stdin": true, "tty": true, "init": init, "command": ["sh", "-c", script]}));
        let mut terminal = scope.api().session(&container.path("/attach?logs=true"));
        terminal.until("ready");
        for number in 1..=3 {
            terminal.input("\u{3}");
            terminal.until(&format!("signal {number}"));
            terminal.input(&format!("between {number}\n"));
            terminal.until(&format!("between {number}\r\nbetween {number}"));
        }
        assert!(!terminal.until("signal 3").contains("signal 4"), "init: {init}");
        container.delete();
    }
}

fn the_end_of_the_server_is_told(scope: &Scope<'_>) {
    let container = scope.run(json!({"stdin": true, "command": ["cat"]}));
    let sessions = [scope.api().session(&container.path("/attach")), exec(scope, &container, &["cat"], "&tty=true")];
    std::thread::scope(|threads| {
        let heard: Vec<_> = sessions.into_iter().map(|session| threads.spawn(|| session.finish())).collect();
        assert!(scope.berth.terminate().success());
        for heard in heard {
            let ended = heard.join().unwrap();
            assert_eq!((ended.code, ended.reason.as_str()), (1001, "the server is shutting down"));
        }
    });
    scope.berth.launch();
    let mut again = scope.api().session(&container.path("/attach"));
    again.input("still there\n");
    again.until("still there\n");
}

fn a_killed_server_leaves_an_attached_container_alone(scope: &Scope<'_>) {
    let container = scope.run(json!({"stdin": true, "tty": true, "command": ["sh"]}));
    let marker = format!("sleep {}", 4_000_000 + container.pid());
    let mut attached = scope.api().session(&container.path("/attach"));
    let mut entered = exec(scope, &container, &["sh", "-c", &format!("echo on; {marker}")], "&tty=true");
    entered.until("on");
    attached.input("x=kept; echo o''n\n");
    attached.until("on\r\n");
    let init = host::process(container.pid()).unwrap();
    scope.berth.kill9();
    host::until("the exec is gone", || Some(()).filter(|()| running(&marker) == 0));
    assert_eq!(host::process(init.pid).unwrap().started, init.started);
    scope.berth.launch();
    let mut again = scope.api().session(&container.path("/attach"));
    again.input("echo it was $x\n");
    again.until("it was kept\r\n");
    host::kill(&init, Signal::KILL);
    assert_eq!(again.finish().exit_code(), 137);
}
