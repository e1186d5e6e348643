//! Root file system tars become images; damaged and hostile ones are refused by the entry's name, and nothing of them stays.

use serde_json::{Value, json};

use crate::common::http::Response;
use crate::common::image::{self, Tar};
use crate::common::{Scope, host};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![Shared:
        plain_gzip_and_zstd_are_one_image,
        images_are_listed_found_and_deleted,
        an_image_in_use_is_kept,
        whatever_is_not_a_tar_is_refused,
        a_truncated_tar_is_refused,
        entries_that_lead_out_are_refused_or_kept_inside,
        a_bomb_is_stopped,
        a_refused_import_leaves_nothing,
        bad_references_are_refused,
        a_container_of_no_image_is_refused_by_field,
    ]
}

fn import(scope: &Scope<'_>, reference: &str, tar: Vec<u8>) -> Response {
    scope.api().post(&format!("/api/v1/images/import?reference={reference}")).bytes("application/x-tar", tar).send()
}

fn plain_gzip_and_zstd_are_one_image(scope: &Scope<'_>) {
    let tar = image::busybox_with(|tar| tar.file("./etc/note", 0o644, b"three ways\n"));
    let layer = |image: &Value| image["status"]["layers"][0]["diffId"].as_str().unwrap().to_owned();
    let plain = import(scope, "ways:plain", tar.clone()).expect(201).json();
    let gzip = import(scope, "ways:gzip", image::gzip(&tar)).expect(201).json();
    let zstd = import(scope, "ways:zstd", image::zstd(&tar)).expect(201).json();
    assert_eq!((layer(&gzip), layer(&zstd)), (layer(&plain), layer(&plain)), "one tar has one digest, however it is packed");
    let container = scope.run(json!({"image": "ways:zstd", "command": ["cat", "/etc/note"]}));
    container.wait();
    assert_eq!(container.logs(""), "three ways\n");
    container.delete();
    // They share the layer: it stays until the last is gone.
    for reference in ["ways:plain", "ways:gzip"] {
        scope.api().delete(&format!("/api/v1/images/{reference}")).send().expect(204);
    }
    let container = scope.run(json!({"image": "ways:zstd", "command": ["cat", "/etc/note"]}));
    assert_eq!(container.wait()["exitCode"], 0);
    container.delete();
    scope.api().delete("/api/v1/images/ways:zstd").send().expect(204);
}

fn images_are_listed_found_and_deleted(scope: &Scope<'_>) {
    let made = import(scope, "listed:one", image::busybox_with(|tar| tar.file("./one", 0o644, b"1"))).expect(201);
    assert!(made.header("location").is_some_and(|place| place.starts_with("/api/v1/images/")));
    let listed = scope.api().get("/api/v1/images").send().expect(200).json();
    let known =
        |list: &Value| list["items"].as_array().unwrap().iter().any(|image| image["spec"]["references"].to_string().contains("listed:one"));
    assert!(known(&listed), "{listed:#}");
    let found = scope.api().get("/api/v1/images/listed:one").send().expect(200).json();
    assert_eq!(found["kind"], "Image");
    let id = found["status"]["id"].as_str().unwrap();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert!(found["status"]["size"].as_u64() > Some(1_000_000), "{found:#}");
    // By id and by a part of it.
    for reference in [id, &id[7..], &id[7..19]] {
        scope.api().get(&format!("/api/v1/images/{reference}")).send().expect(200);
    }
    scope.api().delete("/api/v1/images/listed:one").send().expect(204);
    scope.api().get("/api/v1/images/listed:one").send().problem(404);
}

fn an_image_in_use_is_kept(scope: &Scope<'_>) {
    import(scope, "used:one", image::busybox_with(|tar| tar.file("./used", 0o644, b"1"))).expect(201);
    let container = scope.create(json!({"image": "used:one", "command": ["cat", "/used"]}));
    let problem = scope.api().delete("/api/v1/images/used:one").send().problem(409);
    assert!(problem["detail"].as_str().unwrap().contains(&container.name), "it does not say by whom: {problem:#}");
    container.start();
    assert_eq!(container.wait()["exitCode"], 0);
    container.delete();
    scope.api().delete("/api/v1/images/used:one").send().expect(204);
}

fn whatever_is_not_a_tar_is_refused(scope: &Scope<'_>) {
    let noise: Vec<u8> = (0..20_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("noise", noise.clone()),
        ("text", b"this is not a tar, only text\n".repeat(99)),
        ("gzip of noise", image::gzip(&noise)),
    ] {
        let answer = import(scope, "bad:one", bytes);
        assert!(matches!(answer.status, 400 | 415 | 422), "{what}: {} {}", answer.status, answer.text());
        answer.clone().problem(answer.status);
    }
    scope.api().get("/api/v1/images/bad:one").send().problem(404);
}

fn a_truncated_tar_is_refused(scope: &Scope<'_>) {
    let whole = image::busybox_with(|tar| tar.file("./big", 0o644, &vec![7; 300_000]));
    for length in [whole.len() - 200_000, 700, 512] {
        import(scope, "cut:one", whole[..length].to_vec()).problem(422);
    }
    let packed = image::gzip(&whole);
    import(scope, "cut:one", packed[..packed.len() / 2].to_vec()).problem(422);
    scope.api().get("/api/v1/images/cut:one").send().problem(404);
}

fn entries_that_lead_out_are_refused_or_kept_inside(scope: &Scope<'_>) {
    let canary = scope.berth.home().join("canary-of-images");
    std::fs::create_dir_all(&canary).unwrap();
    let outside = canary.to_str().unwrap().to_owned();
    let climb = format!("../../../../../../../../..{outside}/climbed");
    let absolute = format!("{outside}/absolute");
    let cases: Vec<(&str, Tar)> = vec![
        ("climbed", Tar::new().file(&climb, 0o644, b"x")),
        ("absolute", Tar::new().file(&absolute, 0o644, b"x")),
        ("through", Tar::new().symlink("./door", &outside).file("./door/through", 0o644, b"x")),
        ("folder", Tar::new().symlink("./door", &outside).folder("./door/.", 0o777).file("./door/folder", 0o644, b"x")),
        ("linked", Tar::new().hard_link("./passwd", "../../../../../../../../etc/passwd")),
        ("twice", Tar::new().symlink("./door", &outside).hard_link("./again", "./door").file("./again/twice", 0o644, b"x")),
    ];
    for (name, tar) in cases {
        let answer = import(scope, "hostile:one", tar.finish());
        assert!(matches!(answer.status, 201 | 422), "{name}: {} {}", answer.status, answer.text());
        if answer.status == 422 {
            let problem = answer.problem(422).to_string();
            assert!(["door", "again", "passwd", name].iter().any(|entry| problem.contains(entry)), "it does not name the entry: {problem}");
        } else {
            scope.api().delete("/api/v1/images/hostile:one").send().expect(204);
        }
        assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 0, "{name} came out");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&canary).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o755, "{name} changed the folder's mode");
    }
}

fn a_bomb_is_stopped(scope: &Scope<'_>) {
    // A thousand to one, past the size from which the ratio counts.
    let bomb = image::gzip(&Tar::new().file("./zeros", 0o644, &vec![0; 200 << 20]).finish());
    assert!(bomb.len() < 2 << 20, "the bomb is {} bytes", bomb.len());
    import(scope, "bomb:one", bomb).problem(422);
    scope.api().get("/api/v1/images/bomb:one").send().problem(404);
}

fn a_refused_import_leaves_nothing(scope: &Scope<'_>) {
    let staged = || -> Vec<_> {
        host::tree(&scope.berth.data_dir()).into_iter().filter(|path| path.to_string_lossy().contains("half-made-marker")).collect()
    };
    let whole = image::busybox_with(|tar| tar.file("./half-made-marker", 0o644, b"x").file("./big", 0o644, &vec![7; 300_000]));
    import(scope, "half:one", whole[..whole.len() - 200_000].to_vec()).problem(422);
    host::until("the staging folder is removed", || Some(()).filter(|()| staged().is_empty()));
}

fn bad_references_are_refused(scope: &Scope<'_>) {
    for reference in ["", "UPPER:one", "..%2F..%2Fetc", "a%00b", "name:tag:tag", "%20", "sha256:zz"] {
        let answer = import(scope, reference, image::busybox().to_vec());
        assert!(matches!(answer.status, 400 | 422), "{reference:?}: {} {}", answer.status, answer.text());
        answer.clone().problem(answer.status);
    }
}

fn a_container_of_no_image_is_refused_by_field(scope: &Scope<'_>) {
    let create =
        |spec: Value| scope.api().post("/api/v1/containers").json(&json!({"metadata": {"name": scope.name()}, "spec": spec})).send();
    create(json!({"image": "no-such-image:latest"})).field_fault("/spec/image");
    create(json!({"command": ["true"]})).field_fault("/spec/image");
    create(json!({"image": "NOT A REFERENCE"})).field_fault("/spec/image");
}
