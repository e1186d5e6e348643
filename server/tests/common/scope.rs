//! What one test made: containers with names of their own, deleted and counted at its end whatever came of it.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::berth::Berth;
use super::host;
use super::http::{Client, Response};
use super::ledger::{self, Marks};

pub(crate) struct Scope<'a> {
    pub(crate) berth: &'a Berth,
    /// The test's name as an RFC 1123 label: the front part of the names of what it makes.
    label: String,
    counter: AtomicU32,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    containers: Vec<String>,
    marks: Marks,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(berth: &'a Berth, test: &str) -> Self {
        let label = test.rsplit("::").next().unwrap_or(test).replace('_', "-");
        let label = label.chars().take(50).collect::<String>().trim_matches('-').to_owned();
        let marks = Marks { folders: vec![berth.data_dir(), berth.run_dir()], ..Marks::default() };
        Scope { berth, label, counter: AtomicU32::new(0), made: Mutex::new(Made { marks, ..Made::default() }) }
    }

    pub(crate) fn api(&self) -> Client {
        self.berth.api()
    }

    /// A name that no other test uses.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.label, self.counter.fetch_add(1, Ordering::Relaxed))
    }

    /// What to POST for a container: `spec` over an image of busybox, with a name of this test.
    pub(crate) fn body(&self, spec: Value) -> Value {
        self.berth.need_busybox();
        let mut body = json!({"metadata": {"name": self.name()}, "spec": {"image": "busybox:latest"}});
        body["spec"].as_object_mut().expect("an object").extend(spec.as_object().expect("a spec is an object").clone());
        body
    }

    /// Creates a container: `spec` over an image of busybox and, when it has none, a name of this test.
    #[track_caller]
    pub(crate) fn create(&self, spec: Value) -> Container<'_> {
        let body = self.body(spec);
        let created = self.api().post("/api/v1/containers").json(&body).send().expect(201).json();
        self.adopt(&created)
    }

    /// A container that the test created by itself: it is deleted and counted with the others.
    pub(crate) fn adopt(&self, created: &Value) -> Container<'_> {
        let text = |field: &str| created["metadata"][field].as_str().unwrap_or_else(|| panic!("no {field}: {created:#}")).to_owned();
        let container = Container { scope: self, name: text("name"), uid: text("uid") };
        let mut made = self.made.lock().unwrap();
        made.containers.push(container.uid.clone());
        made.marks.texts.insert(container.uid.clone());
        drop(made);
        self.berth.mark(&container.uid);
        container
    }

    /// Creates and starts it.
    #[track_caller]
    pub(crate) fn run(&self, spec: Value) -> Container<'_> {
        let container = self.create(spec);
        container.start();
        container
    }

    /// Runs a shell script in a container that is otherwise as the defaults make it.
    #[track_caller]
    pub(crate) fn shell(&self, script: &str) -> Container<'_> {
        self.run(json!({"command": ["sh", "-c", script]}))
    }

    /// A container that does nothing until it is told to end.
    #[track_caller]
    pub(crate) fn idle(&self) -> Container<'_> {
        self.idle_with(json!({}))
    }

    #[track_caller]
    pub(crate) fn idle_with(&self, mut spec: Value) -> Container<'_> {
        // A shell as pid 1 would ignore TERM: the trap makes it obey at once.
        spec["command"] = json!(["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]);
        self.run(spec)
    }

    /// Deletes what was made and counts what is left of it: empty when all is well.
    pub(crate) fn finish(&self) -> String {
        let mut faults = String::new();
        for uid in std::mem::take(&mut self.made.lock().unwrap().containers) {
            let path = format!("/api/v1/containers/{uid}?force=true&gracePeriodSeconds=0");
            match self.api().delete(&path).try_send() {
                Ok(answer) if matches!(answer.status, 204 | 404) => {}
                Ok(answer) => faults += &format!("  DELETE {uid}: {} {}\n", answer.status, answer.text()),
                Err(error) => faults += &format!("  DELETE {uid}: {error}\n"),
            }
        }
        let marks = self.made.lock().unwrap().marks.clone();
        // Removal may follow the answer, but not by much.
        let deadline = Instant::now() + host::ample(Duration::from_secs(3));
        let left = loop {
            let left = ledger::ours(&marks);
            if left.is_empty() || Instant::now() > deadline {
                break left;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        faults + &ledger::difference(&BTreeSet::new(), &left)
    }
}

/// A container of a scope.
#[derive(Clone)]
pub(crate) struct Container<'a> {
    scope: &'a Scope<'a>,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// What an exec answered.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) exit_code: i64,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Container<'_> {
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/api/v1/containers/{}{rest}", self.name)
    }

    pub(crate) fn post(&self, verb: &str, body: &Value) -> Response {
        self.scope.api().post(&self.path(verb)).json(body).send()
    }

    #[track_caller]
    pub(crate) fn start(&self) {
        self.scope.api().post(&self.path("/start")).send().expect(204);
        // It may have ended already: then it left no namespaces to remember.
        if let Some(pid) = self.get()["status"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()) {
            self.scope.made.lock().unwrap().marks.remember_namespaces_of(pid);
            self.scope.berth.mark_process(pid);
        }
    }

    #[track_caller]
    pub(crate) fn get(&self) -> Value {
        self.scope.api().get(&self.path("")).send().expect(200).json()
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.get()["status"].clone()
    }

    /// Pid of its first process on the host.
    #[track_caller]
    pub(crate) fn pid(&self) -> i32 {
        let status = self.status();
        let pid = status["pid"].as_i64().unwrap_or_else(|| panic!("{} has no pid: {status:#}", self.name));
        i32::try_from(pid).unwrap()
    }

    /// Blocks until it has ended; answers `{exitCode, signal, oomKilled, reason}`.
    #[track_caller]
    pub(crate) fn wait(&self) -> Value {
        self.wait_for("exited")
    }

    /// Blocks until it is `exited`, `running` or `removed`.
    #[track_caller]
    pub(crate) fn wait_for(&self, condition: &str) -> Value {
        self.post("/wait", &json!({"condition": condition})).expect(200).json()
    }

    #[track_caller]
    pub(crate) fn kill(&self, signal: &str) {
        self.post("/kill", &json!({"signal": signal})).expect(204);
    }

    #[track_caller]
    pub(crate) fn stop(&self) {
        self.post("/stop", &json!({})).expect(204);
    }

    #[track_caller]
    pub(crate) fn patch(&self, change: &Value) -> Response {
        let body = change.to_string().into_bytes();
        self.scope.api().request("PATCH", &self.path("")).bytes("application/merge-patch+json", body).send()
    }

    #[track_caller]
    pub(crate) fn look(&self, view: &str) -> Value {
        self.scope.api().get(&self.path(view)).send().expect(200).json()
    }

    /// What it wrote: `query` begins with `?` or is empty.
    #[track_caller]
    pub(crate) fn logs(&self, query: &str) -> String {
        self.scope.api().get(&self.path(&format!("/logs{query}"))).send().expect(200).text()
    }

    #[track_caller]
    pub(crate) fn exec(&self, command: &[&str]) -> Executed {
        self.exec_with(json!({"command": command}))
    }

    #[track_caller]
    pub(crate) fn exec_with(&self, body: Value) -> Executed {
        let answer = self.post("/exec", &body).expect(200).json();
        let text = |field: &str| answer[field].as_str().unwrap_or_else(|| panic!("no {field}: {answer:#}")).to_owned();
        let exit_code = answer["exitCode"].as_i64().unwrap_or_else(|| panic!("no exitCode: {answer:#}"));
        Executed { exit_code, stdout: text("stdout"), stderr: text("stderr") }
    }

    /// What a command that must succeed prints.
    #[track_caller]
    pub(crate) fn exec_output(&self, command: &[&str]) -> String {
        let executed = self.exec(command);
        assert_eq!(executed.exit_code, 0, "{command:?}: {executed:?}");
        executed.stdout
    }

    #[track_caller]
    pub(crate) fn delete(&self) {
        self.scope.api().delete(&self.path("?force=true&gracePeriodSeconds=0")).send().expect(204);
    }

    /// Waits until its log holds this text: the program's own word that it is so far.
    #[track_caller]
    pub(crate) fn until_it_says(&self, text: &str) {
        let mut stream = self.scope.api().get(&self.path("/logs?follow=true")).open().unwrap();
        assert_eq!(stream.status, 200);
        stream.line_where(|line| line.contains(text));
    }

    /// Looks at its status until it satisfies the test.
    #[track_caller]
    pub(crate) fn until_status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        host::until(&format!("{}: {what}", self.name), || Some(self.status()).filter(|status| wanted(status)))
    }
}
