//! Images become archives: what comes back is the image, for Berth and for other tools, and whoever goes away or deletes it harms nothing.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::Command;

use serde_json::{Value, json};

use crate::access::{bearer, token};
use crate::archives::{forget, layers, load, note, skopeo};
use crate::common::archive::{self, Image, digest};
use crate::common::image::{self, Tar, busybox_with};
use crate::common::{Scope, host};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    let mut all = tests![Shared:
        a_saved_image_is_what_it_was,
        what_is_in_a_layer_is_kept,
        an_archive_is_the_same_again,
        a_name_is_kept_when_it_was_asked_by,
        skopeo_takes_what_was_saved,
        a_viewer_may_save,
        the_command_line_saves_an_archive,
    ];
    // They look at what there is of layers: nobody else may bring any meanwhile.
    all.extend(tests![Own: an_image_that_is_deleted_meanwhile_is_sent_to_its_end, a_client_that_goes_away_leaves_nothing]);
    all
}

fn save(scope: &Scope<'_>, key: &str) -> Vec<u8> {
    let answer = scope.api().get(&format!("/api/v1/images/{key}/archive")).send().expect(200);
    assert_eq!(answer.header("content-type"), Some("application/x-tar"));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    answer.body
}

/// The files of an archive; each blob is what its name says.
fn members(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut members = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if let Some(digits) = name.strip_prefix("blobs/sha256/").filter(|digits| !digits.is_empty()) {
            assert_eq!(digest(&content), format!("sha256:{digits}"));
        }
        assert!(members.insert(name.clone(), content).is_none(), "{name} is there twice");
    }
    members
}

fn document(members: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    serde_json::from_slice(&members[name]).unwrap()
}

fn blob(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/")
}

/// The archive's image: its entry in the index, its configuration, and its layers.
fn open(archive: &[u8]) -> (Value, Value, Vec<Vec<u8>>) {
    let members = members(archive);
    assert_eq!(document(&members, "oci-layout")["imageLayoutVersion"], "1.0.0");
    let index = document(&members, "index.json");
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1, "{index:#}");
    let manifest = document(&members, &blob(&index["manifests"][0]));
    let config = document(&members, &blob(&manifest["config"]));
    let named: Vec<String> = manifest["layers"].as_array().unwrap().iter().map(blob).collect();
    for (layer, diff_id) in named.iter().zip(config["rootfs"]["diff_ids"].as_array().unwrap()) {
        assert_eq!(*layer, diff_id.as_str().unwrap().replace("sha256:", "blobs/sha256/"), "it is not compressed: both digests are one");
    }
    let docker = document(&members, "manifest.json");
    assert_eq!((&docker[0]["Config"], &docker[0]["Layers"]), (&json!(blob(&manifest["config"])), &json!(named)), "{docker:#}");
    (index["manifests"][0].clone(), config, named.iter().map(|name| members[name].clone()).collect())
}

/// An image of two layers that differ in each way that layers can.
fn layered(name: &str) -> Image {
    let lower = busybox_with(|tar| {
        let tar = tar.folder("./data", 0o755).file("./data/kept", 0o644, b"kept\n").file("./data/gone", 0o644, b"gone\n");
        tar.folder("./opaque", 0o755).file("./opaque/below", 0o644, b"x").folder("./whole", 0o755).file("./whole/x", 0o644, b"x")
    });
    let upper = Tar::new()
        .folder("./", 0o751)
        .folder("./data", 0o750)
        .file("./data/.wh.gone", 0o644, b"")
        .file("./data/new", 0o644, b"new\n")
        .folder("./opaque", 0o755)
        .file("./opaque/.wh..wh..opq", 0o644, b"")
        .file("./opaque/above", 0o4711, b"x")
        .hard_link("./opaque/twice", "opaque/above")
        .symlink("./link", "data/new")
        // Else it would be another test's image too.
        .file("./name", 0o644, name.as_bytes())
        .file("./.wh.whole", 0o644, b"");
    Image::new(name, vec![lower, upper.finish()]).config(json!({"Cmd": ["true"], "Env": ["A=b"], "OnBuild": null, "ArgsEscaped": true}))
}

fn a_saved_image_is_what_it_was(scope: &Scope<'_>) {
    load(scope, "", archive::oci(&[layered("saved:1")], "+gzip", image::gzip)).expect(201);
    let saved = save(scope, "saved:1");
    let (entry, config, _) = open(&saved);
    assert_eq!(entry["annotations"]["io.containerd.image.name"], "docker.io/library/saved:1");
    assert_eq!(config["config"]["ArgsEscaped"], true, "what Berth does not know of is kept: {config:#}");
    forget(scope, &["saved:1"]);
    let loaded = load(scope, "", saved).expect(201).json();
    assert_eq!(loaded["notes"], json!([]), "{loaded:#}");
    let image = &loaded["items"][0];
    assert_eq!(image["spec"]["references"], json!(["docker.io/library/saved:1"]));
    assert_eq!((&image["status"]["config"]["Env"], &image["status"]["digest"]), (&json!(["A=b"]), &entry["digest"]));
    let script = "ls -A /data /opaque; ls -d /whole; stat -c %a /data /opaque/twice; cat /link; stat -c %h /opaque/above";
    let container = scope.run(json!({"image": "saved:1", "command": ["sh", "-c", script]}));
    container.wait();
    let said = container.logs("?stream=stdout");
    assert_eq!(said, "/data:\nkept\nnew\n\n/opaque:\nabove\ntwice\n750\n4711\nnew\n2\n");
    container.delete();
    forget(scope, &["saved:1"]);
}

fn what_is_in_a_layer_is_kept(scope: &Scope<'_>) {
    let long = format!("./{}/{}", "folder".repeat(15), "name".repeat(30));
    let mut upper = tar::Builder::new(Vec::new());
    let mut put = |path: &str, kind: tar::EntryType, records: &[(&str, &[u8])]| {
        upper.append_pax_extensions(records.iter().copied()).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o640);
        header.set_uid(1234);
        header.set_gid(4321);
        header.set_mtime(1_000_000_000);
        header.set_size(0);
        let folder = kind == tar::EntryType::Directory;
        upper.append_data(&mut header, format!("{path}{}", if folder { "/" } else { "" }), &b""[..]).unwrap();
    };
    // cap_net_raw+ep, as setcap(8) writes it.
    let capability: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    put("dir", tar::EntryType::Directory, &[("SCHILY.xattr.user.on", b"folder"), ("mtime", b"7.25")]);
    let of_file: &[(&str, &[u8])] = &[
        ("SCHILY.xattr.user.b", b"2"),
        ("SCHILY.xattr.user.a", b""),
        ("SCHILY.xattr.security.capability", capability),
        ("mtime", b"-1.5"),
    ];
    put("file", tar::EntryType::Regular, of_file);
    put("pipe", tar::EntryType::Fifo, &[("mtime", b"9")]);
    put(&long[2..], tar::EntryType::Regular, &[("mtime", b"9")]);
    let image = Image::new("kept:1", vec![busybox_with(|tar| tar), upper.into_inner().unwrap()]);
    let loaded = load(scope, "", archive::docker(&[image])).expect(201).json();
    assert_eq!(loaded["notes"], json!([]), "{loaded:#}");
    let (_, _, layers) = open(&save(scope, "kept:1"));
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(layers[1].as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let records = entry.pax_extensions().unwrap().into_iter().flatten().map(|record| record.unwrap());
        let records: BTreeMap<String, Vec<u8>> =
            records.map(|record| (record.key().unwrap().to_owned(), record.value_bytes().to_vec())).collect();
        let header = entry.header();
        let facts = (header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap(), header.entry_type());
        found.insert(String::from_utf8(entry.path_bytes().into_owned()).unwrap(), (facts, header.mtime().unwrap(), records));
    }
    let record = |path: &str, key: &str| found[path].2.get(key).map(|value| String::from_utf8_lossy(value).into_owned());
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["./", "dir/", "file", &format!("{}/", "folder".repeat(15)), &long[2..], "pipe"]);
    assert_eq!(found["dir/"].0, (0o640, 1234, 4321, tar::EntryType::Directory));
    assert_eq!(
        (record("dir/", "SCHILY.xattr.user.on").unwrap(), record("dir/", "mtime").unwrap()),
        ("folder".into(), "7.250000000".into())
    );
    assert_eq!(record("file", "mtime").unwrap(), "-1.500000000");
    assert_eq!(found["file"].2["SCHILY.xattr.security.capability"], capability);
    assert_eq!((found["pipe"].0.3, found["pipe"].1), (tar::EntryType::Fifo, 9));
    assert_eq!(found[&long[2..]].0, (0o640, 1234, 4321, tar::EntryType::Regular));
    forget(scope, &["kept:1"]);
}

fn an_archive_is_the_same_again(scope: &Scope<'_>) {
    load(scope, "", archive::docker(&[layered("again-saved:1")])).expect(201);
    let first = save(scope, "again-saved:1");
    assert!(first == save(scope, "again-saved:1"), "twice the same image, and not the same archive");
    forget(scope, &["again-saved:1"]);
    let id = load(scope, "", first.clone()).expect(201).json()["items"][0]["status"]["id"].clone();
    let second = save(scope, "again-saved:1");
    assert!(first == second, "loaded and saved it is another archive");
    load(scope, "", second).expect(200);
    assert_eq!(scope.api().get("/api/v1/images/again-saved:1").send().expect(200).json()["status"]["id"], id);
    // One of a root file system has a configuration of ours, and no manifest.
    scope.berth.import("again-imported:1", note("imported\n"));
    let imported = save(scope, "again-imported:1");
    load(scope, "", imported.clone());
    assert!(imported == save(scope, "again-imported:1"));
    forget(scope, &["again-saved:1", "again-imported:1"]);
}

fn a_name_is_kept_when_it_was_asked_by(scope: &Scope<'_>) {
    let names = ["registry.example:5000/a/saved:1.2", "archive:1"].map(str::to_owned).to_vec();
    let image = Image { names, ..Image::new("", vec![note("names\n")]) };
    let loaded = load(scope, "", archive::docker(&[image])).expect(201).json();
    let id = loaded["items"][0]["status"]["id"].as_str().unwrap();
    let name = |key: &str| open(&save(scope, key)).0["annotations"]["org.opencontainers.image.ref.name"].clone();
    assert_eq!(name("registry.example:5000/a/saved:1.2"), "registry.example:5000/a/saved:1.2");
    assert_eq!(name("registry.example:5000%2Fa%2Fsaved:1.2"), "registry.example:5000/a/saved:1.2");
    assert_eq!(name("archive:1"), "docker.io/library/archive:1");
    for key in [id, &id[7..], &id[7..19], &format!("archive@{id}")] {
        assert_eq!(name(key), Value::Null, "{key}");
    }
    for missing in ["nothing:1", "registry.example:5000/a/saved:1.3", "00000000"] {
        scope.api().get(&format!("/api/v1/images/{missing}/archive")).send().problem(404);
    }
    let head = scope.api().request("HEAD", "/api/v1/images/archive:1/archive").send().expect(200);
    assert_eq!(head.header("content-type"), Some("application/x-tar"));
    forget(scope, &["registry.example:5000/a/saved:1.2", "archive:1"]);
}

fn skopeo_takes_what_was_saved(scope: &Scope<'_>) {
    load(scope, "", archive::docker(&[layered("to-skopeo:1")])).expect(201);
    let (saved, copied) = (scope.berth.home().join("saved.tar"), scope.berth.home().join("copied.tar"));
    let _ = std::fs::remove_file(&copied);
    std::fs::write(&saved, save(scope, "to-skopeo:1")).unwrap();
    let source = format!("oci-archive:{}", saved.display());
    let seen: Value = serde_json::from_str(&skopeo(&["inspect", &source])).unwrap();
    assert_eq!((seen["Layers"].as_array().unwrap().len(), &seen["Env"]), (2, &json!(["A=b"])), "{seen:#}");
    // By its name in there, and as what Docker loads.
    skopeo(&["inspect", &format!("{source}:docker.io/library/to-skopeo:1")]);
    skopeo(&["inspect", &format!("docker-archive:{}", saved.display())]);
    skopeo(&["copy", "--quiet", &source, &format!("docker-archive:{}", copied.display())]);
    load(scope, "?reference=back:1", std::fs::read(&copied).unwrap()).expect(201);
    let container = scope.run(json!({"image": "back:1", "command": ["ls", "-A", "/data", "/opaque"]}));
    container.wait();
    assert_eq!(container.logs(""), "/data:\nkept\nnew\n\n/opaque:\nabove\ntwice\n");
    container.delete();
    forget(scope, &["to-skopeo:1", "back:1"]);
}

fn a_viewer_may_save(scope: &Scope<'_>) {
    scope.berth.need_busybox();
    let (_, viewer) = token(scope, "viewer");
    let saved = bearer(scope, &viewer).get("/api/v1/images/busybox/archive").send().expect(200);
    open(&saved.body);
    scope.berth.tcp().get("/api/v1/images/busybox/archive").send().problem(401);
}

fn the_command_line_saves_an_archive(scope: &Scope<'_>) {
    load(scope, "", archive::docker(&[Image::new("cli/saved:1", vec![note("said\n")])])).expect(201);
    let file = scope.berth.home().join("saved-by-cli.tar");
    let _ = std::fs::remove_file(&file);
    let berth = |reference: &str, file: &str| {
        let socket = scope.berth.run_dir().join("berth.sock");
        Command::new(crate::common::berth::program()).args(["image", "save", reference, file]).env("BERTH_SOCKET", socket).output().unwrap()
    };
    let whole = save(scope, "cli/saved:1");
    let saved = berth("cli/saved:1", file.to_str().unwrap());
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    assert!(std::fs::read(&file).unwrap() == whole && berth("cli/saved:1", "-").stdout == whole);
    let again = berth("cli/saved:1", file.to_str().unwrap());
    assert!(!again.status.success() && std::fs::read(&file).unwrap() == whole, "a file that is there is not written over");
    let missing = berth("cli/missing:1", scope.berth.home().join("missing.tar").to_str().unwrap());
    assert!(!missing.status.success() && String::from_utf8_lossy(&missing.stderr).contains("not-found"), "{missing:?}");
    assert!(!scope.berth.home().join("missing.tar").exists());
    forget(scope, &["cli/saved:1"]);
}

/// More than all the sockets between here and the worker hold.
fn large(name: &str) -> Image {
    let noise: Vec<u8> = (0..32_u32 << 20).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    Image::new(name, vec![Tar::new().file("./noise", 0o644, &noise).finish()])
}

fn an_image_that_is_deleted_meanwhile_is_sent_to_its_end(scope: &Scope<'_>) {
    let before = layers(scope);
    load(scope, "", archive::docker(&[large("deleted:1")])).expect(201);
    let there = layers(scope);
    let stream = scope.api().get("/api/v1/images/deleted:1/archive").open().unwrap();
    assert_eq!(stream.status, 200);
    forget(scope, &["deleted:1"]);
    scope.api().get("/api/v1/images/deleted:1/archive").send().problem(404);
    assert_eq!(layers(scope), there, "its layer went while it was sent");
    let answer = stream.rest().unwrap();
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    assert_eq!(open(&answer.body).2.len(), 1);
    host::until("its layer goes when it has been sent", || Some(()).filter(|()| layers(scope) == before));
}

fn a_client_that_goes_away_leaves_nothing(scope: &Scope<'_>) {
    let before = layers(scope);
    load(scope, "", archive::docker(&[large("left:1")])).expect(201);
    let stream = scope.api().get("/api/v1/images/left:1/archive").open().unwrap();
    assert_eq!(stream.status, 200);
    drop(stream);
    forget(scope, &["left:1"]);
    host::until("nobody keeps its layer", || Some(()).filter(|()| layers(scope) == before));
}
