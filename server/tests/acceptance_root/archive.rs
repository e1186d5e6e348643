//! Files in and out of containers, in whatever state, as `docker cp`; and what a container differs in from its image.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use base64::Engine;
use serde_json::{Value, json};

use crate::common::http::Response;
use crate::common::{Container, Scope, host, image};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    let mut all = tests![Shared:
        files_go_in_and_out_of_a_container_in_every_state,
        owners_modes_and_kinds_survive,
        what_is_put_before_the_first_start_is_there,
        volumes_are_reached_at_rest,
        a_path_is_told_by_its_header,
        a_link_is_sent_as_a_link_unless_a_slash_follows,
        a_whole_container_can_be_copied_out,
        odd_names_and_packed_archives_are_taken,
        what_is_there_gives_way,
        wrong_paths_are_named,
        bad_archives_name_the_entry,
        a_read_only_root_is_refused_and_a_full_disk_is_told,
        links_swapped_by_a_program_never_lead_out,
        a_start_waits_for_a_copy_at_rest,
        a_restart_waits_for_a_copy_that_began_before,
        changes_are_those_of_docker_diff,
        changes_come_in_pages,
    ];
    all.extend(tests![Own: nothing_is_left_mounted_when_berth_dies_in_a_copy]);
    all
}

fn put(scope: &Scope<'_>, container: &Container<'_>, query: &str, tar: Vec<u8>) -> Response {
    scope.api().request("PUT", &container.path(&format!("/archive?{query}"))).bytes("application/x-tar", tar).send()
}

fn get(scope: &Scope<'_>, container: &Container<'_>, path: &str) -> Response {
    scope.api().get(&container.path(&format!("/archive?path={path}"))).send()
}

/// What a tar holds: by name the kind, mode, owner, link and content.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    kind: tar::EntryType,
    mode: u32,
    owner: (u64, u64),
    link: String,
    content: Vec<u8>,
}

fn members(tar: &[u8]) -> BTreeMap<String, Member> {
    let mut archive = tar::Archive::new(tar);
    let entry = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let link = entry.link_name().unwrap().map(|link| link.display().to_string()).unwrap_or_default();
        let header = entry.header();
        let owner = (header.uid().unwrap(), header.gid().unwrap());
        let member = Member { kind: header.entry_type(), mode: header.mode().unwrap(), owner, link, content };
        (entry.path().unwrap().display().to_string(), member)
    };
    archive.entries().unwrap().map(entry).collect()
}

/// The only file of an answer.
#[track_caller]
fn only_file(answer: Response) -> Vec<u8> {
    let members = members(&answer.expect(200).body);
    assert_eq!(members.len(), 1, "{:?}", members.keys());
    members.into_values().next().unwrap().content
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    image::Tar::new().file(name, 0o644, content).finish()
}

/// A tar of one member with everything in its header free.
fn member(kind: tar::EntryType, name: &str, content: &[u8], change: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_mtime(1_000_000_000);
    header.set_size(content.len() as u64);
    change(&mut header);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, content).unwrap();
    builder.into_inner().unwrap()
}

fn files_go_in_and_out_of_a_container_in_every_state(scope: &Scope<'_>) {
    let container = scope.create(json!({"command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]}));
    let mut expected = BTreeMap::new();
    let mut check = |state: &str| {
        let content = format!("while {state}\n").into_bytes();
        let answer = put(scope, &container, "path=/tmp", file(state, &content)).expect(200).json();
        assert_eq!(answer, json!({"entries": 1, "bytes": content.len()}), "{state}");
        expected.insert(format!("tmp/{state}"), content);
        let found = members(&get(scope, &container, "/tmp").expect(200).body);
        let files = found.iter().filter(|(_, member)| member.kind == tar::EntryType::Regular);
        let files: BTreeMap<_, _> = files.map(|(name, member)| (name.clone(), member.content.clone())).collect();
        assert_eq!(files, expected, "{state}");
    };
    check("created");
    container.start();
    check("running");
    container.post("/pause", &json!({})).expect(204);
    check("paused");
    container.post("/unpause", &json!({})).expect(204);
    container.stop();
    check("exited");
    container.start();
    check("restarted");
    assert_eq!(
        container.exec_output(&["sh", "-c", "cat /tmp/created /tmp/exited; stat -c '%u:%g %a' /tmp/paused"]),
        "while created\nwhile exited\n0:0 644\n"
    );
}

fn owners_modes_and_kinds_survive(scope: &Scope<'_>) {
    let container = scope.idle();
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |kind, name: &str, mode, owner: (u64, u64), link: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        if !link.is_empty() {
            header.set_link_name_literal(link).unwrap();
        }
        header.set_cksum();
        builder.append(&header, content).unwrap();
    };
    use tar::EntryType::{Directory, Fifo, Link, Regular, Symlink};
    add(Directory, "tree/", 0o2750, (1000, 100), "", b"");
    add(Regular, "tree/program", 0o4755, (0, 0), "", b"#!/bin/sh\n");
    add(Regular, "tree/mine", 0o640, (1000, 65_535), "", b"mine");
    add(Link, "tree/same", 0o640, (1000, 65_535), "tree/mine", b"");
    add(Symlink, "tree/absolute", 0o777, (7, 8), "/etc/passwd", b"");
    add(Fifo, "tree/pipe", 0o600, (1, 2), "", b"");
    put(scope, &container, "path=/srv-not-there", builder.get_ref().clone()).problem(404);
    put(scope, &container, "path=/tmp", builder.into_inner().unwrap()).expect(200);
    let listed =
        container.exec_output(&["sh", "-c", "cd /tmp/tree; stat -c '%n %F %a %u:%g %h %Y' . program mine same absolute pipe | sort"]);
    assert_eq!(
        listed,
        ". directory 2750 1000:100 2 1000000000\nabsolute symbolic link 777 7:8 1 1000000000\nmine regular file 640 1000:65535 2 1000000000\n\
         pipe fifo 600 1:2 1 1000000000\nprogram regular file 4755 0:0 1 1000000000\nsame regular file 640 1000:65535 2 1000000000\n"
    );
    let out = members(&get(scope, &container, "/tmp/tree").expect(200).body);
    let names: Vec<_> = out.keys().map(String::as_str).collect();
    assert_eq!(names, ["tree/", "tree/absolute", "tree/mine", "tree/pipe", "tree/program", "tree/same"]);
    assert_eq!((out["tree/"].mode, out["tree/"].owner), (0o2750, (1000, 100)));
    assert_eq!((out["tree/mine"].kind, out["tree/mine"].owner, &*out["tree/mine"].content), (Regular, (1000, 65_535), &b"mine"[..]));
    assert_eq!((out["tree/same"].kind, &*out["tree/same"].link), (Link, "tree/mine"));
    assert_eq!((out["tree/absolute"].kind, &*out["tree/absolute"].link, out["tree/absolute"].owner), (Symlink, "/etc/passwd", (7, 8)));
    assert_eq!((out["tree/program"].mode, out["tree/pipe"].kind), (0o4755, Fifo));
}

fn what_is_put_before_the_first_start_is_there(scope: &Scope<'_>) {
    let container = scope.create(json!({"command": ["sh", "/tmp/script"]}));
    put(scope, &container, "path=/tmp", file("script", b"echo put before; exit 7\n")).expect(200);
    container.start();
    assert_eq!(container.wait()["exitCode"], 7);
    assert_eq!(container.logs(""), "put before\n");
    // Deleted without ever having run: the folder that the copy made goes as well (the ledger looks).
    let never = scope.create(json!({"command": ["true"]}));
    put(scope, &never, "path=/", file("x", b"x")).expect(200);
    never.delete();
    assert!(!scope.berth.data_dir().join("pods").join(&never.uid).exists());
}

fn volumes_are_reached_at_rest(scope: &Scope<'_>) {
    let volume = scope.name();
    scope.api().post("/api/v1/volumes").json(&json!({"metadata": {"name": volume}})).send().expect(201);
    let folder = scope.berth.home().join("bind").join(scope.name());
    fs::create_dir_all(&folder).unwrap();
    let mounts = json!([{"type": "volume", "source": volume, "target": "/data/deep"}, {"type": "bind", "source": folder, "target": "/mnt/host"},
        {"type": "bind", "source": folder, "target": "/mnt/ro", "readOnly": true}]);
    let container = scope.create(json!({"command": ["cat", "/data/deep/seed"], "mounts": mounts}));
    put(scope, &container, "path=/data/deep", file("seed", b"sown\n")).expect(200);
    put(scope, &container, "path=/mnt/host", file("seed", b"on the host\n")).expect(200);
    put(scope, &container, "path=/mnt/ro", file("x", b"")).problem(409);
    assert_eq!(fs::read_to_string(folder.join("seed")).unwrap(), "on the host\n");
    assert_eq!(only_file(get(scope, &container, "/mnt/ro/seed")), b"on the host\n");
    container.start();
    container.wait();
    assert_eq!(container.logs(""), "sown\n");
    container.delete();
    scope.api().delete(&format!("/api/v1/volumes/{volume}")).send().expect(204);
}

fn a_path_is_told_by_its_header(scope: &Scope<'_>) {
    let container = scope.idle();
    container.exec_output(&[
        "sh",
        "-c",
        "printf 12345 > /tmp/five; chmod 4711 /tmp/five; touch -d '2001-09-09 01:46:40' /tmp/five; ln -s five /tmp/link",
    ]);
    let stat = |path: &str| -> Value {
        let answer = scope.api().request("HEAD", &container.path(&format!("/archive?path={path}"))).send().expect(200);
        assert!(answer.body.is_empty());
        let header = answer.header("x-docker-container-path-stat").unwrap();
        let text = base64::engine::general_purpose::STANDARD.decode(header).unwrap();
        let of_get = get(scope, &container, path).expect(200);
        assert_eq!(of_get.header("x-docker-container-path-stat"), Some(header));
        serde_json::from_slice(&text).unwrap()
    };
    // 1 << 23 is Go's os.ModeSetuid.
    assert_eq!(
        stat("/tmp/five"),
        json!({"name": "five", "size": 5, "mode": (1u32 << 23) | 0o711, "mtime": "2001-09-09T01:46:40Z", "linkTarget": ""})
    );
    let link = stat("/tmp/link");
    assert_eq!((&link["name"], &link["linkTarget"], link["mode"].as_u64()), (&json!("link"), &json!("five"), Some((1 << 27) | 0o777)));
    assert_eq!(stat("/")["name"], "/");
    scope.api().request("HEAD", &container.path("/archive?path=/nope")).send().expect(404);
}

fn a_link_is_sent_as_a_link_unless_a_slash_follows(scope: &Scope<'_>) {
    let container = scope.idle();
    container.exec_output(&[
        "sh",
        "-c",
        "mkdir -p /tmp/real && echo here > /tmp/real/file && ln -s /tmp/real /link && ln -s ../../../../../../tmp/real /tmp/up",
    ]);
    assert_eq!(members(&get(scope, &container, "/link").expect(200).body)["link"].link, "/tmp/real");
    for path in ["/link/", "/link/.", "/tmp/up/"] {
        let out = members(&get(scope, &container, path).expect(200).body);
        let name = if path.starts_with("/link") { "link" } else { "up" };
        assert_eq!(out[&format!("{name}/file")].content, b"here\n", "{path}");
    }
    // A link in the middle leads where it leads inside.
    assert_eq!(only_file(get(scope, &container, "/link/file")), b"here\n");
    put(scope, &container, "path=/", file("link/new", b"through\n")).expect(200);
    put(scope, &container, "path=/link", file("a/b/c", b"deep\n")).expect(200);
    assert_eq!(container.exec_output(&["cat", "/tmp/real/new", "/tmp/real/a/b/c"]), "through\ndeep\n");
}

fn a_whole_container_can_be_copied_out(scope: &Scope<'_>) {
    let container = scope.idle();
    for at_rest in [false, true] {
        if at_rest {
            container.stop();
        }
        let out = members(&get(scope, &container, "/").expect(200).body);
        assert_eq!(out["./etc/passwd"].kind, tar::EntryType::Regular);
        assert!(out["./bin/busybox"].content.len() > 100_000);
        // What is the kernel's own is not copied.
        assert!(out.contains_key("./proc/") && !out.keys().any(|name| name.starts_with("./proc/") && name != "./proc/"), "{at_rest}");
        assert!(!out.keys().any(|name| name.starts_with("./sys/") && name != "./sys/"), "{at_rest}");
    }
}

fn odd_names_and_packed_archives_are_taken(scope: &Scope<'_>) {
    let container = scope.idle();
    let long = format!("{}/{}", "folder-of-a-long-name".repeat(8), "file-of-a-long-name".repeat(8));
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in [(long.as_str(), "long\n"), ("späße und \\", "odd\n"), (".wh.not-a-whiteout", "plain\n")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    let tar = builder.into_inner().unwrap();
    for (folder, kind, body) in [
        ("plain", "application/x-tar", tar.clone()),
        ("gz", "application/gzip", image::gzip(&tar)),
        ("zstd", "application/zstd", image::zstd(&tar)),
    ] {
        container.exec_output(&["mkdir", &format!("/tmp/{folder}")]);
        scope.api().request("PUT", &container.path(&format!("/archive?path=/tmp/{folder}"))).bytes(kind, body).send().expect(200);
        let out = members(&get(scope, &container, &format!("/tmp/{folder}")).expect(200).body);
        assert_eq!(out[&format!("{folder}/{long}")].content, b"long\n");
        assert_eq!(out[&format!("{folder}/späße und \\")].content, b"odd\n");
        assert_eq!(out[&format!("{folder}/.wh.not-a-whiteout")].content, b"plain\n");
    }
    scope.api().request("PUT", &container.path("/archive?path=/tmp")).bytes("application/json", tar).send().problem(415);
}

fn what_is_there_gives_way(scope: &Scope<'_>) {
    let container = scope.idle();
    container.exec_output(&[
        "sh",
        "-c",
        "cd /tmp; mkdir -p full/of/things empty; echo old > file; ln -s /etc/passwd link; echo kept > full/kept",
    ]);
    let both = |query: &str| put(scope, &container, query, image::Tar::new().file("full", 0o644, b"now a file").finish());
    let problem = both("path=/tmp&noOverwriteDirNonDir=true").problem(422);
    assert!(problem["detail"].as_str().unwrap().contains("full"), "{problem:#}");
    let into_file = image::Tar::new().folder("file", 0o755).finish();
    put(scope, &container, "path=/tmp&noOverwriteDirNonDir", into_file.clone()).problem(422);
    assert_eq!(container.exec_output(&["cat", "/tmp/full/kept", "/tmp/file"]), "kept\nold\n");
    // A link that is there is replaced and not followed.
    put(scope, &container, "path=/tmp", file("link", b"new")).expect(200);
    assert_eq!(container.exec_output(&["sh", "-c", "test ! -L /tmp/link && cat /tmp/link && grep -c root /etc/passwd"]), "new1\n");
    let merged = image::Tar::new().folder("full", 0o700).file("full/new", 0o644, b"new\n").finish();
    put(scope, &container, "path=/tmp", merged).expect(200);
    assert_eq!(container.exec_output(&["sh", "-c", "cat /tmp/full/kept /tmp/full/new; stat -c %a /tmp/full"]), "kept\nnew\n700\n");
    both("path=/tmp").expect(200);
    put(scope, &container, "path=/tmp", into_file).expect(200);
    assert_eq!(
        container.exec_output(&["sh", "-c", "cat /tmp/full; test -d /tmp/file && echo; ls -A /tmp"]),
        "now a file\nempty\nfile\nfull\nlink\n"
    );
    // Where something is mounted nothing gives way, and nothing is left beside it.
    let busy = put(scope, &container, "path=/etc", file("hostname", b"other\n")).problem(422);
    assert_eq!(busy["operation"]["errno"], "EBUSY", "{busy:#}");
    assert!(busy["detail"].as_str().unwrap().contains("hostname"));
    assert!(!container.exec_output(&["ls", "-A", "/etc"]).contains("berth"));
}

fn wrong_paths_are_named(scope: &Scope<'_>) {
    let container = scope.idle();
    for at_rest in [false, true] {
        if at_rest {
            container.stop();
        }
        assert_eq!(get(scope, &container, "/no/such").problem(404)["code"], "not-found");
        get(scope, &container, "/etc/passwd/x").field_fault("/query/path");
        get(scope, &container, "/etc/passwd/").field_fault("/query/path");
        get(scope, &container, "").field_fault("/query/path");
        put(scope, &container, "path=/etc/passwd", file("x", b"")).field_fault("/query/path");
        put(scope, &container, "path=/no/such", file("x", b"")).problem(404);
    }
    scope.api().get(&container.path("/archive")).send().field_fault("/query/path");
    scope.api().get(&container.path("/archive?path=/&depth=1")).send().field_fault("/query/depth");
    put(scope, &container, "path=/&noOverwriteDirNonDir=perhaps", file("x", b"")).field_fault("/query/noOverwriteDirNonDir");
    container.start();
    for path in ["/proc/meminfo", "/sys/kernel", "/dev/pts/ptmx"] {
        get(scope, &container, path).field_fault("/query/path");
    }
    for path in ["/proc/meminfo", "/proc/1/root/etc/passwd", "/proc/1/root/tmp", "/proc/self/cwd", "/sys/kernel", "/dev/pts/ptmx"] {
        for answer in [get(scope, &container, path), put(scope, &container, &format!("path={path}"), file("x", b""))] {
            assert!(matches!(answer.status, 404 | 409 | 422), "{path}: {}", answer.text());
        }
    }
    put(scope, &container, "path=/dev/pts", file("x", b"")).problem(422);
    scope.api().get("/api/v1/containers/there-is-none/archive?path=/").send().problem(404);
}

fn bad_archives_name_the_entry(scope: &Scope<'_>) {
    use tar::EntryType::{Block, Char, Link, Regular, Symlink};
    let container = scope.idle();
    let good = file("good", b"good");
    let whole = file("cut-off", &[b'x'; 4000]);
    let evil: Vec<(&str, Vec<u8>)> = vec![
        ("../up", member(Regular, "../up", b"x", |_| {})),
        ("a/../../up", member(Regular, "a/../../up", b"x", |_| {})),
        ("disk", member(Block, "disk", b"", |header| header.set_device_major(8).unwrap())),
        ("null", member(Char, "null", b"", |_| {})),
        ("beyond", member(Regular, "beyond", b"x", |header| header.set_uid(70_000))),
        ("hard", member(Link, "hard", b"", |header| header.set_link_name_literal("../../etc/shadow").unwrap())),
        ("hard", member(Link, "hard", b"", |header| header.set_link_name_literal("not-there").unwrap())),
        ("nowhere", member(Symlink, "nowhere", b"", |_| {})),
        ("cut-off", whole[..2000].to_vec()),
    ];
    for (entry, tar) in evil {
        let problem = put(scope, &container, "path=/tmp", tar).problem(422);
        assert_eq!(problem["code"], "bad-archive", "{problem:#}");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("{entry:?}")), "{entry}: {problem:#}");
    }
    for (tar, says) in [(b"no tar at all".repeat(100), "not a tar"), (Vec::new(), "empty"), (good[..512].to_vec(), "cut")] {
        let problem = put(scope, &container, "path=/tmp", tar).problem(422);
        assert!(problem["detail"].as_str().unwrap().contains(says), "{says}: {problem:#}");
    }
    assert_eq!(container.exec_output(&["ls", "-A", "/tmp"]), "", "something is left");
    // What came before the fault stays; that is said.
    let cut_after = [&good[..1024], &[1; 512]].concat();
    put(scope, &container, "path=/tmp", cut_after).problem(422);
    assert_eq!(container.exec_output(&["ls", "-A", "/tmp"]), "good\n");
}

fn a_read_only_root_is_refused_and_a_full_disk_is_told(scope: &Scope<'_>) {
    let spec = json!({"security": {"readOnlyRootfs": true}, "mounts": [{"type": "tmpfs", "target": "/scratch", "size": "1Mi"}]});
    let container = scope.idle_with(spec);
    put(scope, &container, "path=/scratch", file("fits", &[b'x'; 1000])).expect(200);
    let full = put(scope, &container, "path=/scratch", file("too-large", &vec![b'x'; 4 << 20])).problem(422);
    assert_eq!(full["operation"]["errno"], "ENOSPC", "{full:#}");
    assert!(full["detail"].as_str().unwrap().contains("too-large"), "{full:#}");
    // Not even a part of it.
    assert_eq!(container.exec_output(&["ls", "-A", "/scratch"]), "fits\n");
    for at_rest in [false, true] {
        if at_rest {
            container.stop();
        }
        let problem = put(scope, &container, "path=/etc", file("x", b"x")).problem(409);
        assert!(problem["detail"].as_str().unwrap().contains("/etc"), "{problem:#}");
        get(scope, &container, "/etc/passwd").expect(200);
    }
}

/// CVE-2018-15664: a program swaps a folder with a link while files are copied through it.
fn links_swapped_by_a_program_never_lead_out(scope: &Scope<'_>) {
    let canary = scope.berth.home().join("canary").join(scope.name());
    fs::create_dir_all(canary.join("sub")).unwrap();
    fs::write(canary.join("secret"), "of the host").unwrap();
    fs::write(canary.join("sub/secret"), "of the host").unwrap();
    let before = picture(&canary);
    let container = scope.shell(&format!(
        "mkdir -p /race/real/sub; echo inside > /race/real/secret; echo inside > /race/real/sub/secret; ln -s {} /race/out; ln -s ../../../../../../../..{} /race/up
         cp -a /race/real /race/dir; echo racing
         while :; do
           mv /race/dir /race/kept; mv -T /race/out /race/dir; mv -T /race/dir /race/out
           mv -T /race/up /race/dir; mv -T /race/dir /race/up; mv /race/kept /race/dir
           mv /race/dir/sub /race/kept; mv -T /race/out /race/dir/sub; mv -T /race/dir/sub /race/out; mv /race/kept /race/dir/sub
         done",
        canary.display(),
        canary.display()
    ));
    container.until_it_says("racing");
    let planted =
        image::Tar::new().file("planted", 0o644, b"by a copy").folder("sub", 0o777).file("sub/planted", 0o644, b"by a copy").finish();
    let (mut good, mut missed) = (0, 0);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(6);
    while std::time::Instant::now() < until {
        for path in ["/race/dir", "/race/dir/", "/race/dir/sub"] {
            let answer = put(scope, &container, &format!("path={path}"), planted.clone());
            match answer.status {
                200 => good += 1,
                404 | 409 | 422 => missed += 1,
                _ => panic!("{path}: {}", answer.text()),
            }
        }
        for path in ["/race/dir", "/race/dir/", "/race/dir/secret", "/race/dir/sub/secret"] {
            // A copy that a swap cut off has no end; nothing of it may be the host's all the same.
            let Ok(answer) = scope.api().get(&container.path(&format!("/archive?path={path}"))).try_send() else { continue };
            assert!(!answer.text().contains("of the host"), "{path} led out of the container");
            if answer.status == 200 { good += 1 } else { missed += 1 }
        }
    }
    assert_eq!(picture(&canary), before, "a copy was led out of the container");
    assert!(good > 0 && missed > 0, "there was no race: {good} copies went well, {missed} found something else");
}

/// Every path below a folder, with its content.
fn picture(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(picture(&path));
        }
        all.insert(path.display().to_string(), fs::read(&path).unwrap_or_default());
    }
    all
}

/// A file that is larger than all buffers on the way together: who does not read it on keeps its worker waiting.
pub(super) fn with_large_file(container: &Container<'_>) {
    container.start();
    container.exec_output(&["sh", "-c", "head -c 60000000 /dev/urandom > /tmp/large"]);
    container.stop();
}

fn a_start_waits_for_a_copy_at_rest(scope: &Scope<'_>) {
    let container = scope.create(json!({"command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]}));
    with_large_file(&container);
    let copy = scope.api().get(&container.path("/archive?path=/tmp/large")).open().unwrap();
    assert_eq!(copy.status, 200);
    let second = get(scope, &container, "/etc/passwd").problem(409);
    assert_eq!(second["code"], "wrong-state", "{second:#}");
    std::thread::scope(|threads| {
        let starting = threads.spawn(|| scope.api().post(&container.path("/start")).send());
        until_held_up(scope, &container);
        assert_ne!(container.status()["phase"], "Running");
        // Hanging up ends the worker.
        drop(copy);
        starting.join().unwrap().expect(204);
    });
    assert_eq!(container.exec_output(&["stat", "-c", "%s", "/tmp/large"]), "60000000\n");
}

fn until_held_up(scope: &Scope<'_>, container: &Container<'_>) {
    let uid = container.get()["metadata"]["uid"].as_str().unwrap().to_owned();
    let told = |line: &&str| line.contains(&uid) && line.contains("being copied");
    host::until("the start is held up", || scope.berth.log().lines().find(|line| told(line)).map(drop));
}

/// The worker keeps the mounts of the container that ran: a second overlay over the same folders must not come beside them.
fn a_restart_waits_for_a_copy_that_began_before(scope: &Scope<'_>) {
    let container = scope.create(json!({"command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]}));
    with_large_file(&container);
    container.start();
    let open = || scope.api().get(&container.path("/archive?path=/tmp/large")).open().unwrap();
    let copies = [open(), open()];
    assert_eq!(copies.each_ref().map(|copy| copy.status), [200, 200], "several may copy from a container that runs");
    std::thread::scope(|threads| {
        let restarting = threads.spawn(|| scope.api().post(&container.path("/restart")).send());
        until_held_up(scope, &container);
        assert_ne!(container.status()["phase"], "Running");
        drop(copies);
        restarting.join().unwrap().expect(204);
    });
    assert_eq!(container.exec_output(&["stat", "-c", "%s", "/tmp/large"]), "60000000\n");
}

fn nothing_is_left_mounted_when_berth_dies_in_a_copy(scope: &Scope<'_>) {
    let container = scope.create(json!({"command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]}));
    with_large_file(&container);
    let copy = scope.api().get(&container.path("/archive?path=/tmp/large")).open().unwrap();
    let mut upload = std::os::unix::net::UnixStream::connect(scope.berth.run_dir().join("berth.sock")).unwrap();
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-tar\r\nContent-Length: 1000000\r\n\r\n",
        container.path("/archive?path=/tmp")
    );
    upload.write_all(head.as_bytes()).unwrap();
    assert_eq!(copy.status, 200);
    scope.berth.kill9();
    scope.berth.launch();
    // The workers' connections ended with it, and with them the workers, their mounts and the lock.
    container.start();
    assert_eq!(container.exec_output(&["stat", "-c", "%s", "/tmp/large"]), "60000000\n");
}

fn changes(scope: &Scope<'_>, container: &Container<'_>) -> Vec<String> {
    let list = scope.api().get(&container.path("/changes")).send().expect(200).json();
    assert_eq!(list["metadata"]["remainingItemCount"], 0, "{list:#}");
    let item = |item: &Value| format!("{} {}", &item["kind"].as_str().unwrap()[..1], item["path"].as_str().unwrap());
    list["items"].as_array().unwrap().iter().map(item).collect()
}

fn changes_are_those_of_docker_diff(scope: &Scope<'_>) {
    let container = scope.create(json!({"command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"],
        "mounts": [{"type": "tmpfs", "target": "/scratch"}]}));
    assert_eq!(changes(scope, &container), Vec::<String>::new());
    container.start();
    assert_eq!(changes(scope, &container), Vec::<String>::new(), "what a start mounts on is listed");
    container.exec_output(&[
        "sh",
        "-c",
        "mkdir -p /srv/new; echo x > /srv/new/file; echo more >> /etc/group; rm /etc/shadow; chmod 700 /home; touch /scratch/x;
        rm -r /var/spool; rm -r /usr/bin; mkdir /usr/bin; echo y > /usr/bin/mine; rm -r /var/tmp; echo now > /var/tmp",
    ]);
    let expected = [
        "M /etc",
        "M /etc/group",
        "D /etc/shadow",
        "M /home",
        "A /srv",
        "A /srv/new",
        "A /srv/new/file",
        "M /usr",
        "M /usr/bin",
        "D /usr/bin/env",
        "A /usr/bin/mine",
        "M /var",
        "D /var/spool",
        "M /var/tmp",
    ];
    assert_eq!(changes(scope, &container), expected);
    container.stop();
    assert_eq!(changes(scope, &container), expected);
    scope.api().get("/api/v1/containers/there-is-none/changes").send().problem(404);
}

fn changes_come_in_pages(scope: &Scope<'_>) {
    let container = scope.idle();
    container.exec_output(&["sh", "-c", "for n in $(seq 1 25); do mkdir -p /tmp/d$n; echo $n > /tmp/d$n/f; done; echo x > /tmp/d1-x"]);
    let whole = changes(scope, &container);
    assert_eq!(whole.len(), 1 + 50 + 1);
    let mut paged = Vec::new();
    let mut token = String::new();
    loop {
        let page = scope.api().get(&container.path(&format!("/changes?limit=7&continue={token}"))).send().expect(200).json();
        let items = page["items"].as_array().unwrap();
        paged.extend(items.iter().map(|item| item["path"].as_str().unwrap().to_owned()));
        assert_eq!(page["metadata"]["remainingItemCount"].as_u64().unwrap() as usize, whole.len() - paged.len());
        token = page["metadata"]["continue"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
        assert_eq!(items.len(), 7);
    }
    let paths: Vec<_> = whole.iter().map(|line| line[2..].to_owned()).collect();
    assert_eq!(paged, paths);
    scope.api().get(&container.path("/changes?continue=%21")).send().field_fault("/query/continue");
    scope.api().get(&container.path("/changes?limit=x")).send().field_fault("/query/limit");
}
