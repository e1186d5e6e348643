//! A process dies between two steps, at each of the named points of the source; whatever it was doing, the next start comes to the same end:
//! the API works, what was to be deleted is gone, and nothing is left on the machine.
//!
//! ```text
//! BERTH_CRASH=point --> a life: create, start, exit, restart, stop, delete, import  --> somewhere in it a process dies
//! start again without it --> delete what there is --> a whole life once more, without a fault --> count what is left: nothing
//! ```

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::archive::{self, Image};
use crate::common::image::{self, Tar};
use crate::common::{Berth, Scope, host};
use crate::{Test, tests};

/// In the control plane. The number says which time.
const CONTROL_PLANE: &[&str] = &[
    "store.commit",
    "store.commit:2",
    "store.commit:4",
    "store.committed",
    "store.committed:2",
    "store.committed:5",
    "reconcile.wished",
    "reconcile.wished:3",
    "reconcile.start.shim",
    "reconcile.start.shim:3",
    "reconcile.start.run",
    "reconcile.start.run:2",
    "reconcile.written",
    "reconcile.written:2",
    "reconcile.written:4",
    "reconcile.stopped",
    "reconcile.stopped:2",
    "reconcile.cleaned",
    "reconcile.removed",
    "image.imported",
    "image.loaded",
    "image.layer-removed",
];

const LAUNCHER: &[&str] = &["launch.start.intent", "launch.start.fork", "launch.clean.cgroup", "launch.clean.run-dir"];

/// In throwaway processes of the launcher.
const WORKERS: &[&str] = &["worker.copy.tree", "worker.copy.tree:2", "worker.copy.tree:3", "worker.export.measured"];

const SHIM: &[&str] =
    &["shim.create.cgroup", "shim.create.cloned", "shim.create.mounts", "shim.exited.written", "shim.stop.containers", "shim.stop.cgroup"];

/// While the first use of a volume fills it: what is there then beside its own folder and `_data`.
const FILL: [(&str, u64); 2] = [
    // The mark, and the folder of the copy with four of nine files.
    ("rootfs.fill.entry", 6),
    // The copy is whole, and the death came on the way from one folder to the other.
    ("rootfs.fill.moved", 11),
];

pub(crate) fn tests() -> Vec<Test> {
    tests![Own: a_volume_is_filled_whole_whoever_dies, the_control_plane_dies_at_each_step, the_launcher_dies_at_each_step, a_worker_dies_at_each_step, a_shim_dies_at_each_step, every_point_is_tried]
}

fn the_control_plane_dies_at_each_step(scope: &Scope<'_>) {
    CONTROL_PLANE.iter().for_each(|point| dies_at(scope, point));
}

fn the_launcher_dies_at_each_step(scope: &Scope<'_>) {
    LAUNCHER.iter().for_each(|point| dies_at(scope, point));
}

fn a_worker_dies_at_each_step(scope: &Scope<'_>) {
    WORKERS.iter().for_each(|point| dies_at(scope, point));
}

fn a_shim_dies_at_each_step(scope: &Scope<'_>) {
    SHIM.iter().for_each(|point| dies_at(scope, point));
}

/// The lists above and the points in the source are the same.
fn every_point_is_tried(_: &Scope<'_>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let tried: Vec<&str> = [CONTROL_PLANE, LAUNCHER, WORKERS, SHIM, &FILL.map(|(point, _)| point)]
        .concat()
        .iter()
        .map(|point| point.split(':').next().unwrap())
        .collect();
    let mut found = 0;
    for file in host::tree(&root.join("server/src")).into_iter().chain(host::tree(&root.join("runtime/src"))) {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        for point in text.split("crash_point!(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(tried.contains(&point), "{point} in {} is not tried", file.display());
            found += 1;
        }
    }
    assert!(found >= 20, "the source has {found} points");
}

fn a_volume_is_filled_whole_whoever_dies(scope: &Scope<'_>) {
    let berth = scope.berth;
    let image = image::busybox_with(|tar| (0..9).fold(tar, |tar, n| tar.file(&format!("data/{n}"), 0o644, b"content")));
    berth.import("filling", image);
    for (point, beside) in FILL {
        berth.api().post("/api/v1/volumes").json(&json!({"metadata": {"name": "filling"}})).send().expect(201);
        berth.terminate();
        berth.launch_with(&[("BERTH_CRASH", &format!("{point}:4"))]);
        let mounts = json!([{"type": "volume", "source": "filling", "target": "/data"}]);
        let command = json!(["sh", "-c", "cat /data/* | wc -c"]);
        let body = json!({"metadata": {"name": "fills"}, "spec": {"image": "filling", "command": command, "mounts": mounts}});
        berth.api().post("/api/v1/containers").json(&body).send().expect(201);
        let start = || berth.api().post("/api/v1/containers/fills/start").patience(Duration::from_secs(20)).send();
        assert_ne!(start().status, 204, "{point}: nobody died");
        let volume = berth.api().get("/api/v1/volumes/filling?usage=true").send().expect(200).json();
        assert_eq!(volume["status"]["usage"]["inodes"], 2 + beside, "{point}: {volume:#}");
        berth.terminate();
        berth.launch();
        start().expect(204);
        berth.api().post("/api/v1/containers/fills/wait").json(&json!({})).send().expect(200);
        assert_eq!(berth.api().get("/api/v1/containers/fills/logs").send().expect(200).text(), "63\n", "{point}");
        let volume = berth.api().get("/api/v1/volumes/filling?usage=true").send().expect(200).json();
        assert_eq!(volume["status"]["usage"]["inodes"], 2 + 9, "{point}: {volume:#}");
        berth.api().delete("/api/v1/containers/fills").send().expect(204);
        berth.api().delete("/api/v1/volumes/filling").send().expect(204);
    }
    berth.api().delete("/api/v1/images/filling:latest").send().expect(204);
}

fn dies_at(scope: &Scope<'_>, point: &str) {
    let berth = scope.berth;
    berth.need_busybox();
    berth.terminate();
    berth.launch_with(&[("BERTH_CRASH", point)]);
    // Answers do not matter here: at some request, somebody dies.
    life(berth, &mut |_, _| {});
    berth.kill9();
    berth.launch();
    let left = containers(berth);
    for name in &left {
        let path = format!("/api/v1/containers/{name}?force=true");
        let answer = berth.api().delete(&path).send();
        assert!(matches!(answer.status, 204 | 404), "{point}: DELETE {name}: {} {}", answer.status, answer.text());
    }
    life(berth, &mut |what, status| assert!((200..300).contains(&status), "after {point}: {what}: {status:?}"));
    host::until(&format!("after {point} no container is left"), || Some(()).filter(|()| containers(berth).is_empty()));
    for folder in [berth.run_dir().join("pods"), berth.data_dir().join("pods")] {
        host::until(&format!("after {point} {} is empty", folder.display()), || {
            Some(()).filter(|()| std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_none()))
        });
    }
    let layers = std::fs::read_dir(berth.data_dir().join("layers")).unwrap().count();
    assert_eq!(layers, 1, "after {point} only busybox's layer is there");
}

fn containers(berth: &Berth) -> Vec<String> {
    let list = berth.api().get("/api/v1/containers").send().expect(200).json();
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(name).collect()
}

/// Everything that is done to containers and images, each step told to `tell` with its status: 0 when nobody answered.
fn life(berth: &Berth, tell: &mut dyn FnMut(&str, u16)) {
    let api = berth.api();
    let mut ask = |method: &str, path: &str, body: Option<Value>| {
        let request = api.request(method, path).patience(Duration::from_secs(20));
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        tell(&format!("{method} {path}"), request.try_send().map_or(0, |answer| answer.status));
    };
    let container =
        |name: &str, command: Value| Some(json!({"metadata": {"name": name}, "spec": {"image": "busybox", "command": command}}));
    let obedient = json!(["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]);
    ask("POST", "/api/v1/containers", container("stays", obedient));
    ask("GET", "/api/v1/containers/stays/archive?path=/etc", None);
    ask("POST", "/api/v1/containers/stays/start", None);
    ask("GET", "/api/v1/containers/stays/archive?path=/etc", None);
    ask("POST", "/api/v1/containers", container("ends", json!(["true"])));
    ask("POST", "/api/v1/containers/ends/start", None);
    ask("POST", "/api/v1/containers/ends/wait", None);
    ask("DELETE", "/api/v1/containers/ends", None);
    ask("POST", "/api/v1/containers/stays/restart", None);
    ask("POST", "/api/v1/containers/stays/stop", None);
    ask("GET", "/api/v1/containers/stays/changes", None);
    ask("GET", "/api/v1/containers/stays/archive?path=/etc", None);
    ask("DELETE", "/api/v1/containers/stays?force=true", None);
    let tar = Tar::new().folder("bin", 0o755).file("bin/nothing", 0o755, b"nothing").finish();
    let import = api.post("/api/v1/images/import?reference=tiny").bytes("application/x-tar", tar).patience(Duration::from_secs(20));
    tell("import", import.try_send().map_or(0, |answer| answer.status));
    let archive = archive::docker(&[Image::new("tiny:2", vec![Tar::new().file("nothing", 0o644, b"").finish()])]);
    let load = api.post("/api/v1/images/load").bytes("application/x-tar", archive).patience(Duration::from_secs(20));
    tell("load", load.try_send().map_or(0, |answer| answer.status));
    let save = api.get("/api/v1/images/tiny:2/archive").patience(Duration::from_secs(20)).try_send();
    tell("save", save.map_or(0, |answer| answer.status));
    let delete = api.delete("/api/v1/images/tiny:2").patience(Duration::from_secs(20)).try_send();
    tell("delete the loaded image", delete.map_or(0, |answer| answer.status));
    let delete = api.delete("/api/v1/images/tiny").patience(Duration::from_secs(20)).try_send();
    tell("delete the image", delete.map_or(0, |answer| answer.status));
}
