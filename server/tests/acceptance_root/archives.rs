//! Archives of images become images: what skopeo and `docker save` write, in any packing; damaged and hostile ones leave nothing.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::archive::{self, Image, digest};
use crate::common::http::Response;
use crate::common::image::{self, Tar, busybox_with};
use crate::common::{Scope, host};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    let mut all = tests![Shared:
        every_packing_is_the_same_image,
        layers_lie_on_one_another,
        several_images_come_at_once,
        of_several_platforms_one_is_taken,
        names_are_normalised_or_given,
        references_with_slashes_are_found,
        one_of_several_names_goes_alone,
        an_image_in_use_loses_its_names_by_force,
        bad_parameters_name_their_place,
        the_command_line_loads_an_archive,
        what_skopeo_writes_is_taken,
    ];
    // They look at what there is of layers: nobody else may bring any meanwhile.
    all.extend(tests![Own:
        loading_again_changes_nothing,
        damaged_archives_leave_nothing,
        hostile_archives_leave_nothing,
        a_load_that_is_cut_short_leaves_nothing,
    ]);
    all
}

pub(crate) fn load(scope: &Scope<'_>, query: &str, archive: Vec<u8>) -> Response {
    scope.api().post(&format!("/api/v1/images/load{query}")).bytes("application/x-tar", archive).send()
}

pub(crate) fn forget(scope: &Scope<'_>, references: &[&str]) {
    for reference in references {
        scope.api().delete(&format!("/api/v1/images/{reference}")).send().expect(204);
    }
}

pub(crate) fn note(text: &str) -> Vec<u8> {
    busybox_with(|tar| tar.folder("./data", 0o755).file("./data/note", 0o644, text.as_bytes()))
}

/// What is in the layers folder, staging and trash too.
pub(crate) fn layers(scope: &Scope<'_>) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(scope.berth.data_dir().join("layers"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn every_packing_is_the_same_image(scope: &Scope<'_>) {
    let image = Image::new("packed:1", vec![note("packed\n")]);
    let docker = archive::docker(std::slice::from_ref(&image));
    let made = load(scope, "", docker.clone()).expect(201);
    assert_eq!(made.header("location"), Some("/api/v1/images/packed:1"));
    let made = made.json();
    let id = made["items"][0]["status"]["id"].as_str().unwrap().to_owned();
    assert_eq!(id, digest(&image.document()), "the id is the digest of the configuration");
    assert_eq!(made["items"][0]["status"]["origin"], "loaded");
    let plain = |kind: &'static str| archive::oci(std::slice::from_ref(&image), kind, <[u8]>::to_vec);
    for (what, archive) in [
        ("docker, gzip", image::gzip(&docker)),
        ("docker, zstd", image::zstd(&docker)),
        ("oci, plain layers", plain("")),
        ("oci, gzip layers", archive::oci(std::slice::from_ref(&image), "+gzip", image::gzip)),
        ("oci, zstd layers", archive::oci(std::slice::from_ref(&image), "+zstd", image::zstd)),
        ("oci, all gzip", image::gzip(&archive::oci(std::slice::from_ref(&image), "+gzip", image::gzip))),
    ] {
        let again = load(scope, "", archive);
        assert_eq!(again.status, 200, "{what}: {}", again.text());
        assert_eq!(again.json()["items"][0]["status"]["id"], id.as_str(), "{what}");
    }
    let container = scope.run(json!({"image": "packed:1", "command": ["cat", "/data/note"]}));
    container.wait();
    assert_eq!(container.logs(""), "packed\n");
    container.delete();
    forget(scope, &["packed:1"]);
}

fn layers_lie_on_one_another(scope: &Scope<'_>) {
    let lower = busybox_with(|tar| {
        let tar = tar.folder("./data", 0o755).file("./data/kept", 0o644, b"kept\n").file("./data/gone", 0o644, b"gone\n");
        tar.folder("./opaque", 0o755).file("./opaque/below", 0o644, b"x").folder("./whole", 0o755).file("./whole/x", 0o644, b"x")
    });
    let upper = Tar::new()
        .folder("./data", 0o750)
        .file("./data/.wh.gone", 0o644, b"")
        .file("./data/new", 0o644, b"new\n")
        .folder("./opaque", 0o755)
        .file("./opaque/.wh..wh..opq", 0o644, b"")
        .file("./opaque/above", 0o644, b"x")
        .file("./.wh.whole", 0o644, b"")
        .finish();
    load(scope, "", archive::oci(&[Image::new("layered:1", vec![lower, upper])], "+gzip", image::gzip)).expect(201);
    let container = scope.run(json!({"image": "layered:1", "command": ["sh", "-c", "ls /data /opaque; ls -d /whole; stat -c %a /data"]}));
    container.wait();
    let said = container.logs("");
    for line in ["kept", "new", "above", "750"] {
        assert!(said.lines().any(|have| have == line), "{line}: {said}");
    }
    for line in ["gone", "below", "/whole"] {
        assert!(!said.lines().any(|have| have == line), "{line}: {said}");
    }
    container.delete();
    forget(scope, &["layered:1"]);
}

fn loading_again_changes_nothing(scope: &Scope<'_>) {
    let archive = archive::docker(&[Image::new("again:1", vec![note("again\n")])]);
    load(scope, "", archive.clone()).expect(201);
    let image = || scope.api().get("/api/v1/images/again:1").send().expect(200).json();
    let (before, there) = (image(), layers(scope));
    load(scope, "", archive).expect(200);
    assert_eq!((image(), layers(scope)), (before, there));
    forget(scope, &["again:1"]);
}

fn several_images_come_at_once(scope: &Scope<'_>) {
    let shared = note("shared\n");
    let second = Image { names: vec!["pair:b".into(), "pair:c".into()], ..Image::new("", vec![shared.clone()]) };
    let images = [Image::new("pair:a", vec![shared]), second.config(json!({"Cmd": ["false"]}))];
    let answer = load(scope, "", archive::docker(&images)).expect(201);
    assert_eq!(answer.header("location"), None);
    let loaded = answer.json();
    assert_eq!(loaded["items"].as_array().unwrap().len(), 2, "{loaded:#}");
    for (name, code) in [("pair:a", 0), ("pair:b", 1), ("pair:c", 1)] {
        let container = scope.run(json!({"image": name}));
        assert_eq!(container.wait()["exitCode"], code, "{name}");
        container.delete();
    }
    let problem = load(scope, "?reference=one:1", archive::docker(&images)).field_fault("/query/reference");
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains('2'), "{problem:#}");
    forget(scope, &["pair:a", "pair:b", "pair:c"]);
}

fn of_several_platforms_one_is_taken(scope: &Scope<'_>) {
    let for_platform = |architecture: &'static str| Image { architecture, ..Image::new("", vec![note(architecture)]) };
    let archive = archive::multi_platform("platforms:1", &[for_platform("s390x"), for_platform(archive::host_architecture())]);
    let architecture = |query: &str| load(scope, query, archive.clone()).expect(201).json()["items"][0]["status"]["architecture"].clone();
    assert_eq!(architecture(""), archive::host_architecture());
    assert_eq!(architecture("?platform=linux/s390x&reference=platforms:s390x"), "s390x");
    let problem = load(scope, "?platform=linux/mips64le", archive.clone()).problem(422);
    assert!(problem["detail"].as_str().unwrap().contains("linux/s390x"), "it does not say what there is: {problem:#}");
    // One that is for one platform only is what it is, and refused when another is asked for.
    let foreign = archive::docker(&[Image { names: vec!["platforms:foreign".into()], ..for_platform("s390x") }]);
    let problem = load(scope, &format!("?platform=linux/{}", archive::host_architecture()), foreign).problem(422);
    assert!(problem["detail"].as_str().unwrap().contains("s390x"), "{problem:#}");
    forget(scope, &["platforms:1", "platforms:s390x"]);
}

fn names_are_normalised_or_given(scope: &Scope<'_>) {
    let image =
        |names: &[&str]| Image { names: names.iter().map(|name| (*name).to_owned()).collect(), ..Image::new("", vec![note("named\n")]) };
    let names = |query: &str, image: Image| load(scope, query, archive::docker(&[image])).json()["items"][0]["spec"]["references"].clone();
    assert_eq!(
        names("", image(&["Not A Name!", "named", "localhost:5000/a/named:2"])),
        Value::Null,
        "a name with a blank is no name at all"
    );
    let loaded = names("", image(&["UPPER", "named", "localhost:5000/a/named:2"]));
    assert_eq!(loaded, json!(["docker.io/library/named:latest", "localhost:5000/a/named:2"]));
    forget(scope, &["named"]);
    assert_eq!(names("?reference=given:3", image(&["named"])), json!(["localhost:5000/a/named:2", "docker.io/library/given:3"]));
    forget(scope, &["given:3", "localhost:5000%2Fa%2Fnamed:2"]);
    // Nameless: found by its id.
    let id = load(scope, "", archive::docker(&[image(&[])])).expect(201).json()["items"][0]["status"]["id"].as_str().unwrap().to_owned();
    forget(scope, &[&id]);
}

fn references_with_slashes_are_found(scope: &Scope<'_>) {
    let image = Image::new("registry.example:5000/a/b:1.2", vec![note("slashes\n")]);
    let loaded = load(scope, "", archive::oci(&[image], "", <[u8]>::to_vec)).expect(201).json();
    let (id, manifest) = (&loaded["items"][0]["status"]["id"], loaded["items"][0]["status"]["digest"].as_str().unwrap());
    for path in [
        "registry.example:5000/a/b:1.2".to_owned(),
        "registry.example:5000%2Fa%2Fb:1.2".to_owned(),
        "registry.example%3A5000%2Fa/b%3A1.2".to_owned(),
        format!("registry.example:5000/a/b@{manifest}"),
        format!("registry.example:5000%2Fa%2Fb%40{manifest}"),
        format!("registry.example:5000/a/b@{}", id.as_str().unwrap()),
    ] {
        let found = scope.api().get(&format!("/api/v1/images/{path}")).send().expect(200).json();
        assert_eq!(&found["status"]["id"], id, "{path}");
    }
    for missing in ["registry.example:5000/a/c:1.2", "a//b", "a/b/archive/archive"] {
        scope.api().get(&format!("/api/v1/images/{missing}")).send().problem(404);
    }
    let container = scope.run(json!({"image": format!("registry.example:5000/a/b@{manifest}"), "command": ["true"]}));
    assert_eq!(container.wait()["exitCode"], 0);
    container.delete();
    forget(scope, &["registry.example:5000/a/b:1.2"]);
}

fn one_of_several_names_goes_alone(scope: &Scope<'_>) {
    let image = Image { names: vec!["names:a".into(), "names:b".into()], ..Image::new("", vec![note("names\n")]) };
    load(scope, "", archive::docker(&[image])).expect(201);
    forget(scope, &["names:a"]);
    scope.api().get("/api/v1/images/names:a").send().problem(404);
    let rest = scope.api().get("/api/v1/images/names:b").send().expect(200).json();
    assert_eq!(rest["spec"]["references"], json!(["docker.io/library/names:b"]));
    let events = scope.api().get("/api/v1/events?kind=Image&reason=Untagged").send().expect(200).text();
    assert!(events.contains("names:a"), "{events}");
    forget(scope, &["names:b"]);
}

fn an_image_in_use_loses_its_names_by_force(scope: &Scope<'_>) {
    let id =
        load(scope, "", archive::docker(&[Image::new("forced:1", vec![note("forced\n")])])).expect(201).json()["items"][0]["status"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
    let container = scope.create(json!({"image": "forced:1", "command": ["cat", "/data/note"]}));
    let problem = scope.api().delete("/api/v1/images/forced:1").send().problem(409);
    assert!(problem["detail"].as_str().unwrap().contains(&container.name), "{problem:#}");
    scope.api().delete("/api/v1/images/forced:1?force=true").send().expect(204);
    scope.api().get("/api/v1/images/forced:1").send().problem(404);
    assert_eq!(scope.api().get(&format!("/api/v1/images/{id}")).send().expect(200).json()["spec"]["references"], json!([]));
    container.start();
    assert_eq!(container.wait()["exitCode"], 0, "a container whose image lost its name runs all the same");
    container.delete();
    forget(scope, &[&id]);
}

/// Sends what must be refused with a problem that speaks of `says`; nothing of it may be left.
fn refused(scope: &Scope<'_>, what: &str, archive: Vec<u8>, says: &str) {
    let before = layers(scope);
    let answer = load(scope, "", archive);
    assert!(matches!(answer.status, 400 | 413 | 422), "{what}: {} {}", answer.status, answer.text());
    let problem = answer.clone().problem(answer.status);
    assert!(problem["detail"].as_str().unwrap().contains(says), "{what}: it does not say {says:?}: {problem:#}");
    // Not only what was unpacked: the staging folder too, before the answer.
    assert_eq!(layers(scope), before, "{what}");
    let broken = scope.api().get("/api/v1/images").send().expect(200).text();
    assert!(!broken.contains("library/broken"), "{what} left an image");
}

fn damaged_archives_leave_nothing(scope: &Scope<'_>) {
    let image = Image::new("broken:1", vec![note("broken\n"), Tar::new().file("./two", 0o644, b"2").finish()]);
    let docker = archive::docker(std::slice::from_ref(&image));
    let layout = archive::oci(std::slice::from_ref(&image), "+gzip", image::gzip);
    refused(scope, "nothing", Vec::new(), "empty");
    refused(scope, "text", b"no archive, but text\n".repeat(100), "");
    refused(scope, "a root file system", image::busybox().to_vec(), "index.json");
    refused(scope, "cut in a layer", docker[..docker.len() / 2].to_vec(), ".tar");
    refused(scope, "cut gzip", image::gzip(&docker)[..2000].to_vec(), "");
    refused(scope, "cut layout", layout[..layout.len() - 2000].to_vec(), "");
    let swap = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let mut bytes = layout.clone();
        let mut found = 0;
        for at in 0..bytes.len() - from.len() {
            if bytes[at..].starts_with(from.as_bytes()) {
                bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
                found += 1;
            }
        }
        assert!(found > 0, "{from}");
        bytes
    };
    refused(scope, "a configuration that is not its digest", swap("\"Cmd\":[\"true\"]", "\"Cmd\":[\"fals\"]"), "blobs/sha256/");
    refused(scope, "no layout", swap("\"schemaVersion\":2", "\"schemaVersion\":1"), "schemaVersion");
    // Right by its descriptor, and another content than the configuration says.
    let lie = Image { layers: vec![note("another\n")], ..image.clone() };
    let mut document: Value = serde_json::from_slice(&lie.document()).unwrap();
    document["rootfs"]["diff_ids"][0] = json!(digest(b"something else"));
    let tar = Tar::new().file("config.json", 0o644, document.to_string().as_bytes()).file("layer.tar", 0o644, &lie.layers[0]).file(
        "manifest.json",
        0o644,
        json!([{"Config": "config.json", "RepoTags": ["broken:1"], "Layers": ["layer.tar"]}]).to_string().as_bytes(),
    );
    refused(scope, "a layer that is not its diff id", tar.finish(), "layer.tar");
    let missing = Tar::new().file("config.json", 0o644, &image.document()).file(
        "manifest.json",
        0o644,
        json!([{"Config": "config.json", "RepoTags": ["broken:1"], "Layers": ["a.tar", "b.tar"]}]).to_string().as_bytes(),
    );
    refused(scope, "a layer that is not there", missing.finish(), "a.tar");
}

fn hostile_archives_leave_nothing(scope: &Scope<'_>) {
    let canary = scope.berth.home().join("archive-canary");
    std::fs::create_dir_all(&canary).unwrap();
    let outside = canary.to_str().unwrap().to_owned();
    let climb = format!("../../../../../../../..{outside}/climbed");
    let with = |layer: Tar| archive::docker(&[Image::new("broken:1", vec![image::busybox().to_vec(), layer.finish()])]);
    refused(scope, "a layer that climbs", with(Tar::new().file(&climb, 0o644, b"x")), "climbed");
    refused(scope, "an archive that climbs", Tar::new().file(&climb, 0o644, b"x").finish(), "climbed");
    refused(scope, "a link to the host", with(Tar::new().hard_link("./passwd", "../../../../etc/passwd")), "passwd");
    for (what, config) in [
        ("a user with a newline", json!({"User": "a\nroot:x:0:0::/:/bin/sh"})),
        ("an environment that is none", json!({"Env": ["=x"]})),
        ("a command with a NUL", json!({"Cmd": ["a\u{0}b"]})),
    ] {
        let image = Image::new("broken:1", vec![image::busybox().to_vec()]).config(config);
        refused(scope, what, archive::docker(&[image]), "config");
    }
    let bomb = image::gzip(&Tar::new().file("blobs/zeros", 0o644, &vec![0; 200 << 20]).finish());
    refused(scope, "a bomb", bomb, "200 times");
    let many = (0..200).map(|number| Image::new("broken:1", vec![Tar::new().file("n", 0o644, &[number]).finish()]));
    let deep = Image { layers: many.flat_map(|image| image.layers).collect(), ..Image::new("broken:1", Vec::new()) };
    refused(scope, "too many layers", archive::docker(&[deep]), "limit of 127");
    assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 0, "something came out");
}

fn bad_parameters_name_their_place(scope: &Scope<'_>) {
    let archive = || archive::docker(&[Image::new("broken:1", vec![image::busybox().to_vec()])]);
    for (query, place) in [
        ("?platform=linux", "/query/platform"),
        ("?platform=windows/amd64", "/query/platform"),
        ("?platform=linux%2F..%2Fx", "/query/platform"),
        ("?reference=UPPER", "/query/reference"),
        ("?reference=", "/query/reference"),
    ] {
        load(scope, query, archive()).field_fault(place);
    }
    load(scope, &format!("?reference=x@sha256:{}", "a".repeat(64)), archive()).field_fault("/query/reference");
    scope.api().post("/api/v1/images/load").bytes("text/plain", archive()).send().problem(415);
    let huge =
        scope.api().post("/api/v1/images/load").header("Content-Length", "99999999999999").bytes("application/x-tar", Vec::new()).send();
    huge.problem(413);
}

fn the_command_line_loads_an_archive(scope: &Scope<'_>) {
    let file = scope.berth.home().join("archive.tar");
    std::fs::write(&file, archive::docker(&[Image::new("said:1", vec![note("said\n")])])).unwrap();
    let berth = |arguments: &[&str]| {
        let socket = scope.berth.run_dir().join("berth.sock");
        Command::new(crate::common::berth::program()).args(arguments).env("BERTH_SOCKET", socket).output().unwrap()
    };
    let loaded = berth(&["image", "load", file.to_str().unwrap()]);
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    assert_eq!(String::from_utf8_lossy(&loaded.stdout), "said:1\n");
    forget(scope, &["said:1"]);
    std::fs::write(&file, b"no archive").unwrap();
    let refused = berth(&["image", "load", file.to_str().unwrap()]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("bad-archive"), "{refused:?}");
}

pub(crate) fn skopeo(arguments: &[&str]) -> String {
    let output = Command::new("skopeo").args(arguments).output().expect("skopeo runs: ./scripts/setup installs it");
    assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An OCI layout as a folder, from our own hand, that skopeo makes other archives of.
fn layout_folder(scope: &Scope<'_>, image: Image) -> std::path::PathBuf {
    let folder = scope.berth.home().join("layout");
    let _ = std::fs::remove_dir_all(&folder);
    tar::Archive::new(&archive::oci(&[image], "+gzip", image::gzip)[..]).unpack(&folder).unwrap();
    folder
}

fn what_skopeo_writes_is_taken(scope: &Scope<'_>) {
    let image = Image::new("from-skopeo:1", vec![note("skopeo\n"), Tar::new().file("./data/.wh.note", 0o644, b"").finish()]);
    let folder = layout_folder(scope, image);
    let source = format!("oci:{}:from-skopeo:1", folder.display());
    for (transport, name) in [("docker-archive", "skopeo/docker:1"), ("oci-archive", "skopeo/oci:1")] {
        let file = scope.berth.home().join(format!("{transport}.tar"));
        let _ = std::fs::remove_file(&file);
        skopeo(&["copy", "--quiet", &source, &format!("{transport}:{}:{name}", file.display())]);
        let loaded = load(scope, "", std::fs::read(&file).unwrap());
        assert!(matches!(loaded.status, 200 | 201), "{transport}: {}", loaded.text());
        let container = scope.run(json!({"image": name, "command": ["ls", "-A", "/data"]}));
        assert_eq!(container.wait()["exitCode"], 0, "{transport}");
        assert_eq!(container.logs(""), "", "{transport}: the whiteout");
        container.delete();
    }
    forget(scope, &["skopeo/docker:1", "skopeo/oci:1"]);
}

fn a_load_that_is_cut_short_leaves_nothing(scope: &Scope<'_>) {
    let berth = scope.berth;
    berth.need_busybox();
    let before = layers(scope);
    let archive = archive::docker(&[Image::new("cut:1", vec![note("cut\n")])]);
    let mut half = upload(&berth.run_dir(), &archive);
    half.write_all(&archive[..archive.len() / 2]).unwrap();
    host::until("the archive is being put by", || Some(()).filter(|()| layers(scope).len() > before.len()));
    berth.kill9();
    berth.launch();
    host::until("nothing of it is left", || Some(()).filter(|()| layers(scope) == before));
    scope.api().get("/api/v1/images/cut:1").send().problem(404);
    // A client that hangs up is the same, without a restart.
    let mut half = upload(&berth.run_dir(), &archive);
    half.write_all(&archive[..archive.len() / 2]).unwrap();
    host::until("the archive is being put by", || Some(()).filter(|()| layers(scope).len() > before.len()));
    drop(half);
    host::until("nothing of it is left", || Some(()).filter(|()| layers(scope) == before));
    load(scope, "", archive).expect(201);
    forget(scope, &["cut:1"]);
}

fn upload(run_dir: &Path, archive: &[u8]) -> UnixStream {
    let mut socket = UnixStream::connect(run_dir.join("berth.sock")).unwrap();
    let head = "POST /api/v1/images/load HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-tar\r\n";
    write!(socket, "{head}Content-Length: {}\r\n\r\n", archive.len()).unwrap();
    socket
}
