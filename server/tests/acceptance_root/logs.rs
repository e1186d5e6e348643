//! What a container writes: kept by its shim, each stream apart, followed, cut to a tail, rotated.

use std::fs;

use serde_json::{Value, json};

use crate::common::{Container, Scope, host};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![Shared:
        stdout_and_stderr_are_apart_and_in_order,
        a_tail_is_the_end,
        timestamps_are_when_it_was_written,
        since_cuts_the_past,
        follow_ends_with_the_container,
        follow_sees_what_is_written_now,
        a_line_without_an_end_is_not_lost,
        bytes_are_kept_as_they_are,
        a_flood_is_kept_whole,
        files_rotate_at_their_size,
        a_follower_misses_nothing_where_files_are_turned_over,
        the_log_outlives_a_restart_of_the_container,
        json_and_events_by_accept,
        a_slow_reader_does_not_hold_up_the_container,
        bad_queries_name_the_field,
    ]
}

fn finished<'a>(scope: &'a Scope<'_>, script: &str) -> Container<'a> {
    let container = scope.shell(script);
    container.wait();
    container
}

fn stdout_and_stderr_are_apart_and_in_order(scope: &Scope<'_>) {
    let container = finished(scope, "echo one; echo two >&2; echo three; echo four >&2");
    assert_eq!(container.logs("?stream=stdout"), "one\nthree\n");
    assert_eq!(container.logs("?stream=stderr"), "two\nfour\n");
    let both = container.logs("");
    let mut lines: Vec<&str> = both.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["four", "one", "three", "two"]);
}

fn a_tail_is_the_end(scope: &Scope<'_>) {
    let container = finished(scope, "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done");
    assert_eq!(container.logs("?tailLines=2"), "line 498\nline 499\n");
    assert_eq!(container.logs("?tailLines=0"), "");
    assert_eq!(container.logs("?tailLines=9999").lines().count(), 500);
}

fn timestamps_are_when_it_was_written(scope: &Scope<'_>) {
    let container = finished(scope, "echo early; sleep 0.3; echo late");
    let said = container.logs("?timestamps=true");
    let times: Vec<jiff::Timestamp> = said.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    let apart = times[1].duration_since(times[0]).as_secs_f64();
    assert!((0.25..2.0).contains(&apart), "{said}");
    assert!(said.lines().next().unwrap().ends_with(" early"), "{said}");
}

fn since_cuts_the_past(scope: &Scope<'_>) {
    let container = finished(scope, "echo early; sleep 0.3; echo late");
    let stamped = container.logs("?timestamps=true");
    let late = stamped.lines().nth(1).unwrap().split(' ').next().unwrap().replace('+', "%2B");
    assert_eq!(container.logs(&format!("?sinceTime={late}")), "late\n");
}

fn follow_ends_with_the_container(scope: &Scope<'_>) {
    let container = scope.shell("echo first; sleep 0.3; echo last");
    // Sent without a length: it ends when the log does.
    assert_eq!(container.logs("?follow=true"), "first\nlast\n");
    assert_eq!(container.logs("?follow=true"), "first\nlast\n", "following what has ended");
}

fn follow_sees_what_is_written_now(scope: &Scope<'_>) {
    let container = scope.shell("trap 'echo signalled' USR1; echo ready; while :; do sleep 1000 & wait; done");
    let mut stream = scope.api().get(&container.path("/logs?follow=true")).open().unwrap();
    stream.line_where(|line| line == "ready");
    container.kill("USR1");
    stream.line_where(|line| line == "signalled");
}

fn a_line_without_an_end_is_not_lost(scope: &Scope<'_>) {
    assert_eq!(finished(scope, "printf 'no end'").logs(""), "no end");
    let long = finished(scope, "head -c 100000 /dev/zero | tr '\\0' x; echo; echo after").logs("");
    let mut lines = long.lines();
    assert_eq!(lines.next().map(str::len), Some(100_000), "a long line came back in pieces");
    assert_eq!(lines.next(), Some("after"));
}

fn bytes_are_kept_as_they_are(scope: &Scope<'_>) {
    let container = finished(scope, "printf '\\033[31mred\\033[0m \\000\\377 2026-01-01T00:00:00Z stdout F forged\\n'");
    let body = scope.api().get(&container.path("/logs")).send().expect(200).body;
    assert_eq!(body, b"\x1b[31mred\x1b[0m \x00\xff 2026-01-01T00:00:00Z stdout F forged\n");
}

fn a_flood_is_kept_whole(scope: &Scope<'_>) {
    let script = "i=0; while [ $i -lt 200 ]; do head -c 4096 /dev/zero | tr '\\0' x; echo; i=$((i+1)); done; echo end";
    let said = finished(scope, script).logs("");
    assert_eq!(said.lines().count(), 201);
    assert!(said.lines().take(200).all(|line| line.len() == 4096) && said.ends_with("\nend\n"));
}

/// CRI's log files of a container, newest first written ones last.
fn log_files(scope: &Scope<'_>, container: &Container<'_>) -> Vec<std::path::PathBuf> {
    let files =
        host::tree(&scope.berth.data_dir()).into_iter().filter(|path| path.is_file() && path.to_string_lossy().contains(&container.uid));
    files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".log"))).collect()
}

fn files_rotate_at_their_size(scope: &Scope<'_>) {
    const MAX_SIZE: u64 = 64 << 10;
    let script =
        "i=0; while [ $i -lt 4000 ]; do echo line $i of a log that is long enough to be turned over several times; i=$((i+1)); done";
    let container = scope.run(json!({"command": ["sh", "-c", script], "logging": {"maxSize": MAX_SIZE, "maxFiles": 3}}));
    container.wait();
    let files = log_files(scope, &container);
    assert_eq!(files.len(), 3, "{files:?}");
    for file in &files {
        let size = fs::metadata(file).unwrap().len();
        assert!(size <= MAX_SIZE + 512, "{} has {size} bytes", file.display());
        // CRI's form: time, stream, F or P, text.
        let text = fs::read_to_string(file).unwrap();
        assert!(
            text.lines().all(|line| line.split(' ').nth(1) == Some("stdout") && line.split(' ').nth(2) == Some("F")),
            "{}",
            file.display()
        );
    }
    let said = container.logs("");
    let numbers: Vec<u32> = said.lines().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(numbers.last(), Some(&3999));
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "a line is missing or twice where the file was turned over");
}

fn a_follower_misses_nothing_where_files_are_turned_over(scope: &Scope<'_>) {
    // With a pause after each quarter of a file: a follower that is slower than all files together misses what is no longer there.
    let line = "of a log that is long enough to be turned over";
    let script =
        format!("read go; i=0; while [ $i -lt 4000 ]; do echo line $i {line}; i=$((i+1)); [ $((i % 200)) -ne 0 ] || sleep 0.05; done");
    let container = scope.run(json!({"command": ["sh", "-c", script], "stdin": true, "logging": {"maxSize": 64 << 10, "maxFiles": 3}}));
    let mut follower = scope.api().get(&container.path("/logs?follow=true")).open().unwrap();
    scope.api().session(&container.path("/attach")).input("go\n");
    for number in 0..4000 {
        assert_eq!(follower.line(), Some(format!("line {number} {line}")));
    }
    assert_eq!(follower.line(), None);
    assert_eq!(log_files(scope, &container).len(), 3);
}

fn the_log_outlives_a_restart_of_the_container(scope: &Scope<'_>) {
    let container = finished(scope, "echo once");
    container.start();
    container.wait();
    assert_eq!(container.logs(""), "once\nonce\n");
}

fn json_and_events_by_accept(scope: &Scope<'_>) {
    let container = finished(scope, "echo plain; echo wrong >&2");
    let get = |accept: &str| scope.api().get(&container.path("/logs")).header("Accept", accept).send().expect(200);
    let ndjson = get("application/x-ndjson");
    assert!(ndjson.header("content-type").unwrap().starts_with("application/x-ndjson"), "{:?}", ndjson.header("content-type"));
    let records: Vec<Value> = ndjson.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let streams: Vec<&str> = records.iter().map(|record| record["stream"].as_str().unwrap()).collect();
    assert_eq!(records.len(), 2);
    assert!(streams.contains(&"stdout") && streams.contains(&"stderr"), "{records:#?}");
    let events = get("text/event-stream");
    assert!(events.header("content-type").unwrap().starts_with("text/event-stream"));
    assert!(events.text().lines().any(|line| line.starts_with("data:") && line.contains("plain")), "{}", events.text());
}

fn a_slow_reader_does_not_hold_up_the_container(scope: &Scope<'_>) {
    let container = scope.shell(
        "echo ready; i=0; while [ $i -lt 3000 ]; do echo some words to fill a buffer with, again and again and again; i=$((i+1)); done",
    );
    let never_read: Vec<_> = (0..5).map(|_| scope.api().get(&container.path("/logs?follow=true")).open().unwrap()).collect();
    assert_eq!(container.wait()["exitCode"], 0);
    drop(never_read);
}

fn bad_queries_name_the_field(scope: &Scope<'_>) {
    let container = scope.create(json!({"command": ["true"]}));
    for query in ["tailLines=-1", "tailLines=many", "sinceTime=yesterday", "stream=stdin", "follow=perhaps"] {
        let problem = scope.api().get(&container.path(&format!("/logs?{query}"))).send().problem(422);
        let name = query.split('=').next().unwrap();
        assert!(problem.to_string().contains(name), "{query}: {problem:#}");
    }
}
