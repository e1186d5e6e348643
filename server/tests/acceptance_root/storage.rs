//! What an image's configuration asks for, volumes of one container alone, what the disk holds, and what a prune takes.

use serde_json::{Value, json};

use crate::common::archive::{self, Image};
use crate::common::image::{Tar, busybox_with};
use crate::common::{Container, Scope, host};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    let mut all = tests![Shared:
        an_image_says_how_it_is_run,
        command_and_args_are_those_of_docker,
        a_volume_of_the_image_is_the_containers_own,
        a_mount_hides_the_volume_of_the_image,
        auto_remove_takes_its_volumes,
        hostile_volumes_are_refused,
        volumes_are_labelled_listed_and_changed,
        a_volume_in_use_names_its_users,
        usage_is_measured_when_asked,
    ];
    all.extend(tests![Own: the_disk_is_accounted_for_and_pruned, a_prune_goes_as_far_as_it_is_told]);
    all
}

fn load(scope: &Scope<'_>, name: &str, layer: Vec<u8>, config: Value) -> Value {
    let archive = archive::docker(&[Image::new(name, vec![layer]).config(config)]);
    scope.api().post("/api/v1/images/load").bytes("application/x-tar", archive).send().expect(201).json()["items"][0].clone()
}

fn forget(scope: &Scope<'_>, reference: &str) {
    scope.api().delete(&format!("/api/v1/images/{reference}")).send().expect(204);
}

fn volume_names(scope: &Scope<'_>, query: &str) -> Vec<String> {
    let list = scope.api().get(&format!("/api/v1/volumes{query}")).send().expect(200).json();
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn an_image_says_how_it_is_run(scope: &Scope<'_>) {
    let users = "root:x:0:0::/root:/bin/sh\nalice:x:1234:1234::/srv/alice:/bin/sh\n";
    let groups = "root:x:0:\nalice:x:1234:\nstaff:x:50:alice\n";
    let layer = busybox_with(|tar| {
        let tar = tar.file("./etc/passwd", 0o644, users.as_bytes()).file("./etc/group", 0o644, groups.as_bytes());
        tar.folder("./srv", 0o755).folder("./srv/alice", 0o777)
    });
    let config = json!({
        "Entrypoint": ["sh", "-c"], "Cmd": ["echo $A $B; id -un; id -G; pwd; echo $HOME; trap 'exit 3' INT; echo ready; sleep 1000 & wait"],
        "Env": ["A=image", "B=image"], "User": "alice", "WorkingDir": "/srv/../srv/alice", "StopSignal": "SIGINT",
        "ExposedPorts": {"80/tcp": {}}, "Labels": {"maintainer": "somebody"},
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5_000_000_000_u64, "Retries": 2},
    });
    let image = load(scope, "configured:1", layer, config.clone());
    assert_eq!(image["status"]["config"], config, "it is shown as its author wrote it");
    let listed = |selector: &str| scope.api().get(&format!("/api/v1/images?labelSelector={selector}")).send().expect(200).text();
    assert!(listed("maintainer%3Dsomebody").contains("configured:1") && !listed("maintainer%3Dnobody").contains("configured:1"));
    let container = scope.run(json!({"image": "configured:1", "env": [{"name": "B", "value": "spec"}]}));
    container.until_it_says("ready");
    assert_eq!(container.logs(""), "image spec\nalice\n1234 50\n/srv/alice\n/srv/alice\nready\n");
    container.stop();
    assert_eq!(container.status()["exitCode"], 3, "it was not SIGINT: {}", container.logs(""));
    container.delete();
    let container = scope.run(json!({"image": "configured:1", "user": "0", "workingDir": "/etc", "args": ["id -un; pwd"]}));
    container.wait();
    assert_eq!(container.logs(""), "root\n/etc\n");
    container.delete();
    forget(scope, "configured:1");
}

/// `docker run [--entrypoint E] IMAGE [C]`, for an image with both.
fn command_and_args_are_those_of_docker(scope: &Scope<'_>) {
    load(scope, "both:1", busybox_with(|tar| tar), json!({"Entrypoint": ["echo", "entry"], "Cmd": ["cmd"]}));
    for (spec, said) in [
        (json!({}), "entry cmd\n"),
        (json!({"args": ["mine"]}), "entry mine\n"),
        (json!({"args": []}), "entry\n"),
        (json!({"command": ["echo", "other"]}), "other\n"),
        (json!({"command": ["echo", "other"], "args": ["mine"]}), "other mine\n"),
        (json!({"command": [], "args": ["echo", "bare"]}), "bare\n"),
    ] {
        let mut spec = spec;
        spec["image"] = json!("both:1");
        let container = scope.run(spec.clone());
        container.wait();
        assert_eq!(container.logs(""), said, "{spec}");
        container.delete();
    }
    let nothing = scope.body(json!({"image": "both:1", "command": []}));
    scope.api().post("/api/v1/containers").json(&nothing).send().field_fault("/spec/command");
    forget(scope, "both:1");
}

fn with_volume(scope: &Scope<'_>, name: &str) {
    let layer = busybox_with(|tar| tar.folder("./data", 0o750).file("./data/first", 0o640, b"from the image\n"));
    load(scope, name, layer, json!({"Cmd": ["cat", "/data/first"], "Volumes": {"/data": {}}, "Labels": {"of": name}}));
}

fn a_volume_of_the_image_is_the_containers_own(scope: &Scope<'_>) {
    with_volume(scope, "volume:1");
    let container = scope.idle_with(json!({"image": "volume:1", "mounts": [{"type": "volume", "target": "/scratch"}]}));
    let own = container.status()["volumes"].clone();
    let name = |target: &str| own[target].as_str().unwrap_or_else(|| panic!("none at {target}: {own}")).to_owned();
    let (data, scratch) = (name("/data"), name("/scratch"));
    assert_eq!(container.exec_output(&["cat", "/data/first"]), "from the image\n");
    assert_eq!(container.exec_output(&["stat", "-c", "%a", "/data"]), "750\n");
    container.exec_output(&["sh", "-c", "echo kept > /data/kept; echo kept > /scratch/kept"]);
    let volume = scope.api().get(&format!("/api/v1/volumes/{data}")).send().expect(200).json();
    assert_eq!((&volume["status"]["anonymous"], &volume["status"]["usedBy"]), (&json!(true), &json!([container.name])));
    scope.api().delete(&format!("/api/v1/volumes/{data}")).send().problem(409);
    // Through a restart it stays; it is not a part of the container's own file system.
    container.post("/restart", &json!({})).expect(204);
    assert_eq!(container.exec_output(&["cat", "/data/kept", "/scratch/kept"]), "kept\nkept\n");
    // Another container has another.
    let other = scope.idle_with(json!({"image": "volume:1"}));
    assert_eq!(other.exec_output(&["ls", "/data"]), "first\n");
    scope.api().delete(&format!("/api/v1/containers/{}?force=true", other.name)).send().expect(204);
    let left = other_volume(&volume_names(scope, ""), &[&data, &scratch]);
    scope.api().delete(&format!("/api/v1/containers/{}?force=true&volumes=true", container.name)).send().expect(204);
    for gone in [&data, &scratch] {
        scope.api().get(&format!("/api/v1/volumes/{gone}")).send().problem(404);
    }
    // Without `volumes` it stays until somebody removes it.
    scope.api().delete(&format!("/api/v1/volumes/{left}")).send().expect(204);
    forget(scope, "volume:1");
}

/// The anonymous volume that is none of these.
fn other_volume(names: &[String], known: &[&String]) -> String {
    let anonymous = names.iter().filter(|name| name.len() == 32 && !known.contains(name)).collect::<Vec<_>>();
    anonymous.last().unwrap_or_else(|| panic!("no other in {names:?}")).to_string()
}

fn a_mount_hides_the_volume_of_the_image(scope: &Scope<'_>) {
    with_volume(scope, "hidden:1");
    let named = scope.name();
    let container = scope.idle_with(json!({"image": "hidden:1", "mounts": [{"type": "volume", "source": named, "target": "/data/"}]}));
    assert_eq!(container.status()["volumes"], Value::Null);
    assert_eq!(container.exec_output(&["cat", "/data/first"]), "from the image\n");
    scope.api().delete(&format!("/api/v1/containers/{}?force=true&volumes=true", container.name)).send().expect(204);
    // It has a name: it outlives the container, whatever is asked.
    scope.api().delete(&format!("/api/v1/volumes/{named}")).send().expect(204);
    forget(scope, "hidden:1");
}

fn auto_remove_takes_its_volumes(scope: &Scope<'_>) {
    with_volume(scope, "auto:1");
    let container = scope.create(json!({"image": "auto:1", "autoRemove": true}));
    let name = container.status()["volumes"]["/data"].as_str().unwrap().to_owned();
    container.start();
    let gone = |container: &Container<'_>| {
        host::until("it is removed", || Some(()).filter(|()| scope.api().get(&container.path("")).send().status == 404))
    };
    gone(&container);
    scope.api().get(&format!("/api/v1/volumes/{name}")).send().problem(404);
    // However it ends.
    let container = scope.run(json!({"image": "auto:1", "autoRemove": true, "command": ["sleep", "1000"]}));
    let name = container.status()["volumes"]["/data"].as_str().unwrap().to_owned();
    container.post("/stop", &json!({"gracePeriodSeconds": 0})).expect(204);
    gone(&container);
    scope.api().get(&format!("/api/v1/volumes/{name}")).send().problem(404);
    forget(scope, "auto:1");
}

fn hostile_volumes_are_refused(scope: &Scope<'_>) {
    for (number, path) in ["/", "/proc", "/sys/fs", "/../../../proc/1", "/dev"].into_iter().enumerate() {
        let name = format!("hostile-volume:{number}");
        load(scope, &name, busybox_with(|tar| tar), json!({"Cmd": ["true"], "Volumes": {path: {}}}));
        let body = scope.body(json!({"image": name}));
        scope.api().post("/api/v1/containers").json(&body).send().field_fault("/spec/image");
        forget(scope, &name);
    }
    let many: serde_json::Map<String, Value> = (0..1000).map(|number| (format!("/v{number}"), json!({}))).collect();
    load(scope, "hostile-volume:many", busybox_with(|tar| tar), json!({"Cmd": ["true"], "Volumes": many}));
    let body = scope.body(json!({"image": "hostile-volume:many"}));
    scope.api().post("/api/v1/containers").json(&body).send().field_fault("/spec/image");
    forget(scope, "hostile-volume:many");
}

fn volumes_are_labelled_listed_and_changed(scope: &Scope<'_>) {
    let names: Vec<String> = (0..3).map(|_| scope.name()).collect();
    for (number, name) in names.iter().enumerate() {
        let labels = json!({"group": names[0], "number": number.to_string()});
        scope.api().post("/api/v1/volumes").json(&json!({"metadata": {"name": name, "labels": labels}})).send().expect(201);
    }
    let selector = format!("?labelSelector=group%3D{}", names[0]);
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(volume_names(scope, &selector), sorted);
    let first = scope.api().get(&format!("/api/v1/volumes{selector}&limit=2")).send().expect(200).json();
    assert_eq!((first["items"].as_array().unwrap().len(), &first["metadata"]["remainingItemCount"]), (2, &json!(1)));
    let next = first["metadata"]["continue"].as_str().unwrap();
    assert_eq!(volume_names(scope, &format!("{selector}&limit=2&continue={next}")), sorted[2..]);
    let path = format!("/api/v1/volumes/{}", names[1]);
    let patch = |body: &Value, tag: Option<&str>| {
        let request = scope.api().request("PATCH", &path).bytes("application/merge-patch+json", body.to_string().into_bytes());
        match tag {
            Some(tag) => request.header("If-Match", tag).send(),
            None => request.send(),
        }
    };
    let before = scope.api().get(&path).send().expect(200);
    let tag = before.header("etag").unwrap().to_owned();
    let changed = patch(&json!({"metadata": {"labels": {"number": null, "more": "yes"}, "annotations": {"note": "x"}}}), Some(&tag))
        .expect(200)
        .json();
    assert_eq!(changed["metadata"]["labels"], json!({"group": names[0], "more": "yes"}));
    assert_eq!(changed["metadata"]["annotations"], json!({"note": "x"}));
    patch(&json!({"metadata": {"labels": {"a": "b"}}}), Some(&tag)).problem(412);
    patch(&json!({"metadata": {"name": "other"}}), None).field_fault("/metadata/name");
    patch(&json!({"metadata": {"labels": {"bad key!": "x"}}}), None).problem(422);
    patch(&json!({"spec": {"size": 1}}), None).field_fault("/spec");
    patch(&json!([]), None).problem(422);
    for name in names {
        scope.api().delete(&format!("/api/v1/volumes/{name}")).send().expect(204);
    }
}

fn a_volume_in_use_names_its_users(scope: &Scope<'_>) {
    let name = scope.name();
    let container = scope.create(json!({"command": ["true"], "mounts": [{"type": "volume", "source": name, "target": "/x"}]}));
    let problem = scope.api().delete(&format!("/api/v1/volumes/{name}")).send().problem(409);
    assert!(problem["code"] == "in-use" && problem["detail"].as_str().unwrap().contains(&container.name), "{problem:#}");
    container.delete();
    scope.api().delete(&format!("/api/v1/volumes/{name}")).send().expect(204);
    scope.api().delete(&format!("/api/v1/volumes/{name}")).send().problem(404);
}

fn usage_is_measured_when_asked(scope: &Scope<'_>) {
    let name = scope.name();
    let container = scope.idle_with(json!({"mounts": [{"type": "volume", "source": name, "target": "/x"}]}));
    container.exec_output(&["sh", "-c", "head -c 300000 /dev/urandom > /x/file; mkdir /x/folder"]);
    let get = |query: &str| scope.api().get(&format!("/api/v1/volumes/{name}{query}")).send().expect(200).json()["status"]["usage"].clone();
    let usage = get("?usage=true");
    assert!(usage["bytes"].as_u64() >= Some(300_000) && usage["bytes"].as_u64() < Some(400_000), "{usage}");
    // The volume's folder, `_data`, the file and the folder.
    assert_eq!(usage["inodes"], 4, "{usage}");
    let remembered = get("");
    assert_eq!(remembered["bytes"], usage["bytes"], "what was measured is remembered: {remembered}");
    let listed = scope.api().get("/api/v1/volumes?usage=true").send().expect(200).json();
    let item = listed["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == name.as_str()).unwrap();
    assert_eq!(item["status"]["usage"]["inodes"], 4);
    scope.api().get("/api/v1/volumes?usage=perhaps").send().problem(422);
    container.delete();
    scope.api().delete(&format!("/api/v1/volumes/{name}")).send().expect(204);
}

fn df(scope: &Scope<'_>) -> Value {
    scope.api().get("/api/v1/system/df").send().expect(200).json()
}

fn prune(scope: &Scope<'_>, body: &Value) -> Value {
    scope.api().post("/api/v1/system/prune").json(body).send().expect(200).json()
}

fn the_disk_is_accounted_for_and_pruned(scope: &Scope<'_>) {
    scope.berth.need_busybox();
    let fresh = df(scope);
    assert_eq!((&fresh["images"]["count"], &fresh["containers"]["count"], &fresh["volumes"]["count"]), (&json!(1), &json!(0), &json!(0)));
    assert_eq!(fresh["images"]["bytes"], fresh["images"]["reclaimableBytes"], "nothing uses it");
    let spec = |command: &str| {
        let mounts = json!([{"type": "volume", "target": "/own"}]);
        json!({"image": "busybox", "command": ["sh", "-c", command], "mounts": mounts})
    };
    let running = scope.run(spec("head -c 200000 /dev/urandom > /own/x; head -c 500000 /dev/urandom > /y; echo ready; sleep 1000"));
    running.until_it_says("ready");
    let ended = scope.run(spec("head -c 200000 /dev/urandom > /own/x; head -c 500000 /dev/urandom > /y"));
    ended.wait();
    let figures = df(scope);
    let bytes = |part: &str, field: &str| figures[part][field].as_u64().unwrap();
    assert_eq!((&figures["images"]["active"], bytes("images", "reclaimableBytes")), (&json!(1), 0));
    assert_eq!((&figures["containers"]["count"], &figures["containers"]["active"]), (&json!(2), &json!(1)));
    assert!(
        bytes("containers", "bytes") >= 1_000_000 && (500_000..1_000_000).contains(&bytes("containers", "reclaimableBytes")),
        "{figures:#}"
    );
    assert!(bytes("volumes", "bytes") >= 400_000 && bytes("volumes", "reclaimableBytes") == 0, "{figures:#}");
    assert!(bytes("logs", "bytes") > 0, "{figures:#}");

    // Told, and not done.
    let own = ended.status()["volumes"]["/own"].as_str().unwrap().to_owned();
    let told = prune(scope, &json!({"volumes": true, "dryRun": true}));
    assert_eq!((&told["containers"], &told["volumes"], &told["images"]), (&json!([ended.name]), &json!([own]), &json!([])), "{told:#}");
    assert!(told["reclaimedBytes"].as_u64() >= Some(700_000), "{told:#}");
    assert_eq!(df(scope)["containers"]["count"], 2);
    // Done: without a word about volumes they stay.
    let done = scope.api().post("/api/v1/system/prune").send().expect(200).json();
    assert_eq!((&done["containers"], &done["volumes"], &done["dryRun"]), (&json!([ended.name]), &json!([]), &json!(false)), "{done:#}");
    assert_eq!(prune(scope, &json!({"volumes": true}))["volumes"], json!([own]));
    assert_eq!(prune(scope, &json!({"volumes": true, "all": true})), {
        json!({"kind": "PruneReport", "dryRun": false, "containers": [], "images": [], "volumes": [], "reclaimedBytes": 0, "kept": []})
    });
    assert_eq!(running.status()["phase"], "Running", "what runs is not touched");
    scope.api().delete(&format!("/api/v1/containers/{}?force=true&volumes=true", running.name)).send().expect(204);
    assert_eq!(df(scope)["volumes"]["count"], 0);
}

fn a_prune_goes_as_far_as_it_is_told(scope: &Scope<'_>) {
    scope.berth.need_busybox();
    let layer = |text: &str| Tar::new().file("./only", 0o644, text.repeat(100_000).as_bytes()).finish();
    load(scope, "pruned:1", layer("a"), json!({"Labels": {"keep": "yes"}}));
    load(scope, "pruned:1", layer("b"), json!({}));
    let images = |report: &Value| report["images"].as_array().unwrap().len();
    // The first has lost its name to the second.
    let kept = prune(scope, &json!({"labelSelector": "!keep"}));
    assert_eq!(images(&kept), 0, "{kept:#}");
    let nameless = prune(scope, &json!({}));
    assert!(images(&nameless) == 1 && nameless["reclaimedBytes"].as_u64() >= Some(100_000), "{nameless:#}");
    scope.api().get("/api/v1/images/pruned:1").send().expect(200);
    scope.api().post("/api/v1/volumes").json(&json!({"metadata": {"name": "named"}})).send().expect(201);
    assert_eq!(prune(scope, &json!({"volumes": true}))["volumes"], json!([]), "a volume that has a name stays");
    let created = scope.create(json!({"command": ["true"]}));
    let unused = prune(scope, &json!({"containers": false, "volumes": true, "all": true}));
    assert_eq!((&unused["images"], &unused["volumes"]), (&json!(["pruned:1"]), &json!(["named"])), "{unused:#}");
    scope.api().get("/api/v1/images/busybox").send().expect(200);
    let rest = prune(scope, &json!({"all": true}));
    assert_eq!((&rest["containers"], &rest["images"]), (&json!([created.name]), &json!(["busybox:latest"])), "{rest:#}");
    assert_eq!(df(scope)["images"]["bytes"], 0);
    assert_eq!(std::fs::read_dir(scope.berth.data_dir().join("layers")).unwrap().count(), 0);
    let bad = |body: Value| scope.api().post("/api/v1/system/prune").json(&body).send();
    bad(json!({"labelSelector": "a in ("})).field_fault("/labelSelector");
    bad(json!({"everything": true})).field_fault("/everything");
    bad(json!({"volumes": "yes"})).field_fault("/volumes");
}
