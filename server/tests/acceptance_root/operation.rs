//! What an administrator does: asks how it is, stops it, takes it away as one file and brings it back.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::common::{Berth, Scope, berth, host};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![Own:
        the_doctor_finds_the_same_with_the_server_and_without,
        the_doctor_names_what_is_left_over,
        a_backup_brings_everything_back_stopped,
        a_backup_that_is_not_sound_makes_nothing,
        requests_under_way_end_and_new_ones_are_turned_away,
        a_second_signal_ends_it_at_once,
        a_newer_database_is_left_alone,
    ]
}

/// `berth <arguments>` on the folders of this instance.
fn command(on: &Berth, arguments: &[&str]) -> Output {
    let mut command = Command::new(berth::program());
    command.args(arguments).arg("--run-dir").arg(on.run_dir()).arg("--data-dir").arg(on.data_dir());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn doctor(scope: &Scope<'_>) -> (Value, i32) {
    let output = command(scope.berth, &["doctor", "--json"]);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    (report, output.status.code().unwrap())
}

fn check<'a>(report: &'a Value, area: &str, name: &str) -> &'a Value {
    let found = report["checks"].as_array().unwrap().iter().find(|check| check["area"] == area && check["name"] == name);
    found.unwrap_or_else(|| panic!("no {area} {name}: {report:#}"))
}

fn the_doctor_finds_the_same_with_the_server_and_without(scope: &Scope<'_>) {
    let container = scope.idle();
    let (with, code) = doctor(scope);
    let worst = with["verdict"].as_str().unwrap();
    assert_eq!(
        code,
        match worst {
            "ok" | "note" => 0,
            "degraded" => 1,
            _ => 2,
        },
        "{with:#}"
    );
    assert_eq!(check(&with, "service", "server")["verdict"], "ok");
    for name in ["user-namespaces", "overlayfs", "seccomp", "idmapped-mounts"] {
        assert_eq!(check(&with, "host", name)["finding"], "available");
    }
    for name in ["run-dirs", "cgroups", "writable-layers", "layers", "volumes", "half-done", "mounts"] {
        assert_eq!(check(&with, "leftovers", name)["finding"], "none", "{with:#}");
    }
    // What the system page says is what was tried.
    let system = scope.api().get("/api/v1/system").send().expect(200).json();
    for (name, found) in system["features"].as_object().unwrap() {
        assert_eq!(&check(&with, "host", name)["finding"], found, "{name}");
    }
    assert!(scope.berth.terminate().success());
    let (without, code) = doctor(scope);
    assert!(code >= 1 && check(&without, "service", "server")["verdict"] == "degraded", "{without:#}");
    let stable = |report: &Value| -> Vec<String> {
        let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["area"] != "service");
        let checks =
            checks.filter(|check| !["open-files", "disk-space", "inodes", "other-instances"].contains(&check["name"].as_str().unwrap()));
        checks.map(|check| format!("{} {} {}", check["name"], check["verdict"], check["finding"])).collect()
    };
    assert_eq!(stable(&without), stable(&with));
    // Looking changed nothing of it: the unprivileged server can still open its own database.
    scope.berth.launch();
    assert_eq!(container.exec_output(&["echo", "there"]), "there\n");
}

fn the_doctor_names_what_is_left_over(scope: &Scope<'_>) {
    let data = scope.berth.data_dir();
    let pod = "00112233445566778899aabbccddeeff";
    let made = [data.join("pods").join(pod), data.join("layers/.staging-0123456789abcdef0123456789abcdef"), data.join("volumes").join(pod)];
    made.iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let (report, code) = doctor(scope);
    assert!(code >= 1);
    for (name, wanted) in [("writable-layers", pod), ("volumes", pod), ("half-done", "layers/.staging-0123456789abcdef0123456789abcdef")] {
        let found = check(&report, "leftovers", name);
        assert!(
            found["verdict"] == "degraded" && found["finding"].as_str().unwrap().contains(wanted) && found["remedy"].is_string(),
            "{found:#}"
        );
    }
    made.iter().filter(|folder| folder.exists()).for_each(|folder| fs::remove_dir_all(folder).unwrap());
    scope.idle();
    let layers = data.join("layers");
    let layer =
        fs::read_dir(&layers).unwrap().flatten().find(|entry| !entry.file_name().to_string_lossy().starts_with('.')).unwrap().path();
    fs::rename(&layer, data.join("hidden")).unwrap();
    let (report, code) = doctor(scope);
    fs::rename(data.join("hidden"), &layer).unwrap();
    assert_eq!((code, &check(&report, "storage", "layers-and-volumes")["verdict"]), (2, &json!("broken")), "{report:#}");
}

/// Restores `file` into the folders of `scope`'s instance, which is stopped; its old data folder is moved away for the time.
fn restore_over(scope: &Scope<'_>, file: &Path, extra: &[&str]) -> Output {
    let old = scope.berth.home().join("old");
    fs::rename(scope.berth.data_dir(), old).unwrap();
    let mut arguments = vec!["restore", file.to_str().unwrap()];
    arguments.extend(extra);
    command(scope.berth, &arguments)
}

fn a_backup_brings_everything_back_stopped(scope: &Scope<'_>) {
    let on = scope.berth;
    scope.api().post("/api/v1/volumes").json(&json!({"metadata": {"name": "keep"}})).send().expect(201);
    let always = scope.idle_with(json!({
        "restartPolicy": {"name": "always"}, "mounts": [{"type": "volume", "source": "keep", "target": "/keep"}]
    }));
    always.exec_output(&["sh", "-c", "echo precious > /keep/file; rm /bin/httpd; echo mine > /written"]);
    let done = scope.shell("echo said; exit 9");
    done.wait();
    let secret = scope.api().post("/api/v1/tokens").json(&json!({"spec": {"role": "viewer"}})).send().expect(201).json()["secret"].clone();
    let events = scope.api().get("/api/v1/events?limit=500").send().expect(200).json()["items"].as_array().unwrap().len();
    let file = on.home().join("all.tar.zst");
    let output = command(on, &["backup", file.to_str().unwrap(), "--with-volumes", "--with-images", "--with-containers"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // It goes on meanwhile, and a second one does not overwrite the first.
    assert_eq!(always.status()["phase"], "Running");
    assert!(!command(on, &["backup", file.to_str().unwrap()]).status.success());

    assert!(on.terminate().success());
    let refused = restore_over(scope, &file, &[]);
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("containers' cgroups on this machine"), "{said}");
    assert!(!on.data_dir().exists(), "a refused restore made something");
    fs::rename(on.home().join("old"), on.data_dir()).unwrap();
    on.launch();
    always.stop();
    assert!(on.terminate().success());
    let output = restore_over(scope, &file, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let again = command(on, &["restore", file.to_str().unwrap()]);
    assert!(text(&again.stderr).contains("is not empty"), "{}", text(&again.stderr));

    on.launch();
    let status = always.status();
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Exited"), &json!("Restored")), "{status:#}");
    let status = done.status();
    assert_eq!((&status["phase"], &status["exitCode"]), (&json!("Exited"), &json!(9)), "{status:#}");
    assert_eq!(done.logs(""), "said\n");
    let after = scope.api().get("/api/v1/events?limit=500").send().expect(200).json()["items"].as_array().unwrap().len();
    assert!(after > events, "{after} events, there were {events}");
    let bearer = format!("Bearer {}", secret.as_str().unwrap());
    on.tcp().get("/api/v1/containers").header("Authorization", &bearer).send().expect(200);
    // The whole of it, down to what was deleted from an image's layer.
    always.start();
    assert_eq!(always.exec_output(&["sh", "-c", "cat /keep/file /written; ls /bin/httpd 2>&1 | grep -c 'No such'"]), "precious\nmine\n1\n");
    fs::remove_dir_all(on.home().join("old")).unwrap();
}

fn a_backup_that_is_not_sound_makes_nothing(scope: &Scope<'_>) {
    let on = scope.berth;
    scope.shell("exit 0").wait();
    let file = on.home().join("state.tar.zst");
    assert!(on.terminate().success());
    // Of a server that does not run: from its files.
    let output = command(on, &["backup", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("Not in it: the files of volumes, images, containers"), "{}", text(&output.stderr));
    let whole = fs::read(&file).unwrap();
    let place = whole.len() / 2;
    let mut damaged = whole.clone();
    damaged[place] ^= 1;
    fs::write(on.home().join("damaged"), &damaged).unwrap();
    fs::write(on.home().join("short"), &whole[..place]).unwrap();
    for name in ["damaged", "short"] {
        let output = restore_over(scope, &on.home().join(name), &[]);
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains("damaged or cut short"), "{name}: {said}");
        assert!(!on.data_dir().exists(), "{name} made something");
        fs::rename(on.home().join("old"), on.data_dir()).unwrap();
    }
    // Beside the first one: another instance, without images.
    let output = restore_over(scope, &file, &["--new-instance"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("Load these images again"), "{}", text(&output.stdout));
    let id = |folder: &Path| fs::read_to_string(folder.join("instance")).unwrap();
    assert_ne!(id(&on.data_dir()), id(&on.home().join("old")));
    on.launch();
    assert_eq!(scope.api().get("/api/v1/containers").send().expect(200).json()["items"].as_array().unwrap().len(), 1);
    assert!(on.terminate().success());
    fs::remove_dir_all(on.data_dir()).unwrap();
    fs::rename(on.home().join("old"), on.data_dir()).unwrap();
    on.launch();
}

fn requests_under_way_end_and_new_ones_are_turned_away(scope: &Scope<'_>) {
    let container = scope.idle();
    let process = scope.berth.process();
    let api = scope.api();
    let stream = api.get(&container.path("/logs?follow=true")).open().unwrap();
    assert_eq!(stream.status, 200);
    std::thread::scope(|threads| {
        let under_way = threads.spawn(|| container.exec(&["sh", "-c", "sleep 2; echo whole"]));
        host::until("the exec runs", || {
            host::processes().into_iter().find(|process| process.command == "sleep 2" && process.cgroup.contains(&container.uid))
        });
        host::kill(&process, Signal::TERM);
        let turned_away = host::until("readiness says no", || {
            let answer = scope.api().get("/readyz").try_send().ok()?;
            (answer.status != 200).then_some(answer)
        });
        assert_eq!(turned_away.status, 503);
        assert_eq!(turned_away.json()["code"], "draining");
        let done = under_way.join().unwrap();
        assert_eq!((done.exit_code, done.stdout.as_str()), (0, "whole\n"));
    });
    assert!(scope.berth.terminate().success());
    scope.berth.launch();
    assert_eq!(container.status()["phase"], "Running");
}

fn a_second_signal_ends_it_at_once(scope: &Scope<'_>) {
    let container = scope.idle();
    let pid = container.pid();
    let process = scope.berth.process();
    std::thread::scope(|threads| {
        let cut = threads.spawn(|| {
            let body = json!({"command": ["sleep", "30"]});
            scope.api().post(&container.path("/exec")).json(&body).try_send()
        });
        host::until("the exec runs", || {
            host::processes().into_iter().find(|process| process.command == "sleep 30" && process.cgroup.contains(&container.uid))
        });
        host::kill(&process, Signal::TERM);
        host::until("it drains", || Some(()).filter(|()| scope.api().get("/readyz").try_send().is_ok_and(|answer| answer.status == 503)));
        let began = Instant::now();
        assert!(scope.berth.terminate().success());
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        assert!(cut.join().unwrap().is_err());
    });
    scope.berth.launch();
    assert_eq!(container.pid(), pid);
}

fn a_newer_database_is_left_alone(scope: &Scope<'_>) {
    let on = scope.berth;
    let container = scope.idle();
    assert!(on.terminate().success());
    let database = on.data_dir().join("db/berth.db");
    let before = fs::read(&database).unwrap();
    // As a later version would have left it.
    let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)";
    berth::sql(&database, sql);
    let output = command(on, &["serve", "--listen", "127.0.0.1:0"]);
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains("written by a newer Berth: its schema is 9999"), "{said}");
    let (report, code) = doctor(scope);
    assert_eq!((code, &check(&report, "storage", "database")["verdict"]), (2, &json!("broken")), "{report:#}");
    fs::write(&database, before).unwrap();
    for extra in ["db/berth.db-wal", "db/berth.db-shm"] {
        let _ = fs::remove_file(on.data_dir().join(extra));
    }
    on.launch();
    assert_eq!(container.exec_output(&["echo", "same"]), "same\n");
}
