//! M2 and M15: host folders, named volumes and memory mounted in, written by root inside without being root outside, and never past the root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::common::{Scope, image};
use crate::{Test, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![Shared:
        a_bind_mount_is_written_by_root_inside_as_its_owner_outside,
        a_read_only_bind_is_read_only_all_the_way_down,
        a_single_file_can_be_bound,
        a_volume_outlives_its_containers,
        a_volume_is_filled_from_the_image_at_first,
        a_tmpfs_is_empty_limited_and_gone,
        a_missing_source_is_named,
        bad_mounts_name_their_field,
        links_in_an_image_do_not_lead_out,
        the_engines_own_folders_cannot_be_bound,
        options_forbid_what_they_say,
        a_folder_of_a_volume_is_mounted_alone,
        a_link_in_a_volume_leads_no_sub_path_out,
        a_volume_can_stay_empty,
    ]
}

/// A folder on the host for one test; removed with the instance's own.
fn host_folder(scope: &Scope<'_>) -> PathBuf {
    let folder = scope.berth.home().join("bind").join(scope.name());
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn with_mounts(mounts: Value) -> Value {
    json!({"mounts": mounts})
}

fn a_bind_mount_is_written_by_root_inside_as_its_owner_outside(scope: &Scope<'_>) {
    let folder = host_folder(scope);
    fs::write(folder.join("given"), "from outside\n").unwrap();
    let container = scope.idle_with(with_mounts(json!([{"type": "bind", "source": folder, "target": "/mnt/data"}])));
    assert_eq!(container.exec_output(&["cat", "/mnt/data/given"]), "from outside\n");
    assert_eq!(container.exec_output(&["stat", "-c", "%u", "/mnt/data/given"]), "0\n");
    container.exec_output(&["sh", "-c", "echo from inside > /mnt/data/made"]);
    let made = fs::metadata(folder.join("made")).unwrap();
    assert_eq!(fs::read_to_string(folder.join("made")).unwrap(), "from inside\n");
    // Idmapped: root's files stay root's, and the container's root is nobody all the same.
    assert_eq!((made.uid(), made.gid()), (0, 0));
    container.delete();
    assert!(folder.join("made").exists(), "deleting the container deleted the host's files");
}

fn a_read_only_bind_is_read_only_all_the_way_down(scope: &Scope<'_>) {
    let folder = host_folder(scope);
    fs::create_dir(folder.join("below")).unwrap();
    let container = scope.idle_with(with_mounts(json!([{"type": "bind", "source": folder, "target": "/mnt/ro", "readOnly": true}])));
    for path in ["/mnt/ro/x", "/mnt/ro/below/x"] {
        assert!(container.exec(&["touch", path]).stderr.contains("Read-only"), "{path}");
    }
}

fn a_single_file_can_be_bound(scope: &Scope<'_>) {
    let file = host_folder(scope).join("settings");
    fs::write(&file, "colour = green\n").unwrap();
    let container =
        scope.idle_with(with_mounts(json!([{"type": "bind", "source": file, "target": "/etc/deep/settings", "readOnly": true}])));
    assert_eq!(container.exec_output(&["cat", "/etc/deep/settings"]), "colour = green\n");
}

fn volume(scope: &Scope<'_>) -> String {
    let name = scope.name();
    scope.api().post("/api/v1/volumes").json(&json!({"metadata": {"name": name}})).send().expect(201);
    name
}

fn a_volume_outlives_its_containers(scope: &Scope<'_>) {
    let volume = volume(scope);
    let spec = || with_mounts(json!([{"type": "volume", "source": volume, "target": "/data"}]));
    let first = scope.idle_with(spec());
    first.exec_output(&["sh", "-c", "echo kept > /data/kept && chown 1000:1000 /data/kept"]);
    scope.api().delete(&format!("/api/v1/volumes/{volume}")).send().problem(409);
    first.delete();
    // Another container has another range of uids and sees the same owners.
    let second = scope.idle_with(spec());
    assert_eq!(second.exec_output(&["cat", "/data/kept"]), "kept\n");
    assert_eq!(second.exec_output(&["stat", "-c", "%u:%g", "/data/kept"]), "1000:1000\n");
    second.delete();
    scope.api().delete(&format!("/api/v1/volumes/{volume}")).send().expect(204);
    scope.api().get(&format!("/api/v1/volumes/{volume}")).send().problem(404);
}

fn a_volume_is_filled_from_the_image_at_first(scope: &Scope<'_>) {
    let volume = volume(scope);
    scope.berth.import("filled:test", image::busybox_with(|tar| tar.folder("./srv", 0o755).file("./srv/page", 0o644, b"from the image\n")));
    let spec = || json!({"image": "filled:test", "mounts": [{"type": "volume", "source": volume, "target": "/srv"}]});
    let first = scope.idle_with(spec());
    assert_eq!(first.exec_output(&["cat", "/srv/page"]), "from the image\n");
    first.exec_output(&["sh", "-c", "echo changed > /srv/page"]);
    first.delete();
    let second = scope.idle_with(spec());
    assert_eq!(second.exec_output(&["cat", "/srv/page"]), "changed\n", "it was filled a second time");
    second.delete();
    scope.api().delete(&format!("/api/v1/volumes/{volume}")).send().expect(204);
}

fn a_tmpfs_is_empty_limited_and_gone(scope: &Scope<'_>) {
    let container = scope.idle_with(with_mounts(json!([{"type": "tmpfs", "target": "/scratch", "size": "1Mi", "mode": "1777"}])));
    assert_eq!(container.exec_output(&["stat", "-c", "%a", "/scratch"]), "1777\n");
    container.exec_output(&["sh", "-c", "head -c 500000 /dev/zero > /scratch/fits"]);
    let full = container.exec(&["dd", "if=/dev/zero", "of=/scratch/does-not", "bs=1000", "count=5000"]);
    assert!(full.stderr.contains("No space"), "{full:?}");
    container.post("/restart", &json!({})).expect(204);
    assert_eq!(container.exec_output(&["ls", "-A", "/scratch"]), "");
}

fn a_missing_source_is_named(scope: &Scope<'_>) {
    let missing = scope.berth.home().join("there-is-none");
    let body = scope.body(json!({"command": ["true"],
        "mounts": [{"type": "bind", "source": missing, "target": "/mnt/x"}]}));
    let answer = scope.api().post("/api/v1/containers").json(&body).send();
    // The process that takes the request cannot look at the host's files: it may say so only at the start.
    let problem = if answer.status == 201 {
        let container = scope.adopt(&answer.json());
        scope.api().post(&container.path("/start")).send().problem(422)
    } else {
        answer.problem(422)
    };
    let text = problem.to_string();
    assert!(text.contains("there-is-none"), "{problem:#}");
    let no_volume = scope.body(json!({"command": ["true"], "mounts": [{"type": "volume", "source": "no-such-volume", "target": "/data"}]}));
    let answer = scope.api().post("/api/v1/containers").json(&no_volume).send();
    if answer.status == 201 {
        // Docker makes it, as a volume that is not there yet is what one means.
        scope.adopt(&answer.json()).delete();
        scope.api().delete("/api/v1/volumes/no-such-volume").send();
    } else {
        answer.field_fault("/spec/mounts/0/source");
    }
}

fn bad_mounts_name_their_field(scope: &Scope<'_>) {
    let refused = |mount: Value, field: &str| {
        let body = scope.body(json!({"mounts": [mount]}));
        scope.api().post("/api/v1/containers").json(&body).send().field_fault(&format!("/spec/mounts/0/{field}"));
    };
    refused(json!({"type": "bind", "source": "relative", "target": "/x"}), "source");
    refused(json!({"type": "bind", "source": "/srv", "target": "relative"}), "target");
    refused(json!({"type": "bind", "target": "/x"}), "source");
    refused(json!({"type": "bind", "source": "/srv", "target": "/"}), "target");
    refused(json!({"type": "bind", "source": "/srv", "target": "/a/../../b"}), "target");
    refused(json!({"type": "tmpfs", "target": "/x", "mode": "999"}), "mode");
    refused(json!({"type": "tmpfs", "target": "/x", "size": -1}), "size");
    refused(json!({"type": "floppy", "target": "/x"}), "type");
    refused(json!({"type": "tmpfs", "target": "/x", "options": ["fast"]}), "options/0");
    refused(json!({"type": "volume", "source": "v", "target": "/x", "subPath": "../x"}), "subPath");
}

/// Folders of the image that are links to the host's: what Berth mounts or writes there must land inside, or be refused.
fn links_in_an_image_do_not_lead_out(scope: &Scope<'_>) {
    let canary = host_folder(scope);
    fs::write(canary.join("untouched"), "as it was").unwrap();
    let outside = canary.to_str().unwrap().to_owned();
    let upwards = format!("../../../../../../../..{outside}");
    for (number, link) in [outside.as_str(), upwards.as_str(), "/proc/1/root"].into_iter().enumerate() {
        for path in ["./dev", "./proc", "./sys", "./mnt", "./etc"] {
            let reference = format!("links:{}{}", path.trim_start_matches("./"), number);
            scope.berth.import(&reference, hostile(path, link));
            let body = json!({"metadata": {"name": scope.name()}, "spec": {"image": reference, "command": ["/bin/busybox", "sleep", "1000"],
                "mounts": [{"type": "tmpfs", "target": "/mnt/deep"}]}});
            let container = scope.adopt(&scope.api().post("/api/v1/containers").json(&body).send().expect(201).json());
            let answer = scope.api().post(&container.path("/start")).send();
            assert!(matches!(answer.status, 204 | 422), "{reference}: {} {}", answer.status, answer.text());
            container.delete();
            let seen: Vec<_> = fs::read_dir(&canary).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            assert_eq!(seen, ["untouched"], "{path} -> {link} led out");
        }
    }
    assert_eq!(fs::read_to_string(canary.join("untouched")).unwrap(), "as it was");
}

/// Busybox alone, and a link where a folder belongs.
fn hostile(path: &str, link: &str) -> Vec<u8> {
    let busybox = fs::read("/bin/busybox").or_else(|_| fs::read("/usr/bin/busybox")).unwrap();
    image::Tar::new()
        .folder("./bin", 0o755)
        .file("./bin/busybox", 0o755, &busybox)
        .symlink("./bin/sh", "busybox")
        .symlink(path, link)
        .finish()
}

fn the_engines_own_folders_cannot_be_bound(scope: &Scope<'_>) {
    for source in [scope.berth.data_dir(), scope.berth.run_dir(), scope.berth.data_dir().join("db")] {
        let body = scope.body(json!({"command": ["true"],
            "mounts": [{"type": "bind", "source": source, "target": "/mnt/x"}]}));
        let answer = scope.api().post("/api/v1/containers").json(&body).send();
        if answer.status == 201 {
            let container = scope.adopt(&answer.json());
            scope.api().post(&container.path("/start")).send().problem(422);
        } else {
            answer.problem(422);
        }
    }
}

fn options_forbid_what_they_say(scope: &Scope<'_>) {
    let folder = host_folder(scope);
    let volume = volume(scope);
    let options = json!(["noexec", "nosuid", "noatime", "nosymfollow"]);
    let container = scope.idle_with(with_mounts(json!([
        {"type": "tmpfs", "target": "/t", "options": options},
        {"type": "bind", "source": folder, "target": "/b", "options": options},
        {"type": "volume", "source": volume, "target": "/v", "options": options},
        {"type": "tmpfs", "target": "/free"},
    ])));
    for target in ["/t", "/b", "/v"] {
        let ran = container.exec(&["sh", "-c", &format!("cp /bin/busybox {target}/echo && {target}/echo ran")]);
        assert!(ran.stdout.is_empty() && ran.stderr.contains("Permission denied"), "{target}: {ran:?}");
        let read = container.exec(&["sh", "-c", &format!("echo x > {target}/file; ln -s file {target}/link; cat {target}/link")]);
        assert!(read.stderr.contains("Too many levels of symbolic links"), "{target}: {read:?}");
        // See proc_pid_mountinfo(5): the sixth field.
        let flags = container.exec_output(&["awk", &format!("$5 == \"{target}\" {{ print $6 }}"), "/proc/self/mountinfo"]);
        for flag in ["noexec", "nosuid", "nodev", "noatime", "nosymfollow"] {
            assert!(flags.trim().split(',').any(|one| one == flag), "{target}: {flag} is not in {flags}");
        }
    }
    assert_eq!(container.exec_output(&["sh", "-c", "cp /bin/busybox /free/echo && /free/echo ran"]), "ran\n");
}

fn a_folder_of_a_volume_is_mounted_alone(scope: &Scope<'_>) {
    let volume = volume(scope);
    let mount = |path: &str| json!({"type": "volume", "source": volume, "target": "/data", "subPath": path});
    let whole = scope.idle_with(with_mounts(json!([{"type": "volume", "source": volume, "target": "/data"}])));
    let part = scope.idle_with(with_mounts(json!([mount("made/for/it")])));
    // Made as root's inside, each on the way.
    assert_eq!(whole.exec_output(&["stat", "-c", "%u %a", "/data/made", "/data/made/for/it"]), "0 755\n0 755\n");
    part.exec_output(&["sh", "-c", "echo below > /data/file"]);
    assert_eq!(whole.exec_output(&["cat", "/data/made/for/it/file"]), "below\n");
    assert_eq!(part.exec_output(&["ls", "/data/.."]), part.exec_output(&["ls", "/"]), "it can look at what is beside it");
    whole.exec_output(&["touch", "/data/flat"]);
    let refused = scope.create(json!({"command": ["true"], "mounts": [mount("flat")]})).post("/start", &json!({})).problem(422);
    assert_eq!((&refused["operation"]["stage"], &refused["operation"]["errno"]), (&json!("mounts"), &json!("ENOTDIR")), "{refused:#}");
}

/// CVE-2017-1002101, CVE-2021-25741.
fn a_link_in_a_volume_leads_no_sub_path_out(scope: &Scope<'_>) {
    let volume = volume(scope);
    let whole = scope.idle_with(with_mounts(json!([{"type": "volume", "source": volume, "target": "/data"}])));
    whole.exec_output(&[
        "sh",
        "-c",
        "ln -s / /data/root; ln -s ../../../../etc /data/up; mkdir /data/real; ln -s real /data/near; ln -s / /data/real/root",
    ]);
    for path in ["root", "up", "up/ssl", "near", "real/root/etc", "root/made"] {
        let mount = json!({"type": "volume", "source": volume, "target": "/mnt", "subPath": path});
        let refused = scope.create(json!({"command": ["true"], "mounts": [mount]})).post("/start", &json!({})).problem(422);
        // A folder was asked for, and a link is none.
        assert!(["ELOOP", "ENOTDIR"].contains(&refused["operation"]["errno"].as_str().unwrap()), "{path}: {refused:#}");
    }
    assert!(!std::path::Path::new("/made").exists());
}

fn a_volume_can_stay_empty(scope: &Scope<'_>) {
    let volume = volume(scope);
    let mount = |no_copy: bool| json!([{"type": "volume", "source": volume, "target": "/etc", "noCopy": no_copy}]);
    let empty = scope.idle_with(with_mounts(mount(true)));
    assert_eq!(empty.exec(&["ls", "/etc/passwd"]).exit_code, 1);
    empty.delete();
    let filled = scope.idle_with(with_mounts(mount(false)));
    assert_eq!(filled.exec(&["ls", "/etc/passwd"]).exit_code, 0);
}
