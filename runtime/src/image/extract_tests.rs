//! Archives put into a folder that has a canary beside it. As root only: owners need it.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use super::*;
use crate::image::testing::{Entry, archive};

/// A root with a folder `in`, in which the archive goes, and a canary beside the root.
struct Ground(tempfile::TempDir);

impl Ground {
    fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not run: extracting needs root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("root/in")).unwrap();
        fs::create_dir_all(dir.path().join("root/other")).unwrap();
        fs::create_dir_all(dir.path().join("canary")).unwrap();
        Some(Ground(dir))
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join("root").join(below)
    }

    fn take(&self, entries: &[Entry]) -> Result<Extracted, ImageError> {
        let open = |path: PathBuf| OwnedFd::from(File::open(path).unwrap());
        let (root, folder) = (open(self.path("")), open(self.path("in")));
        let outcome = extract(&archive(entries)[..], &Destination { root, folder, path: b"in".to_vec(), keep_kinds: false });
        assert_eq!(fs::read_dir(self.0.path().join("canary")).unwrap().count(), 0, "something was put outside");
        let beside =
            fs::read_dir(self.path("in")).unwrap().filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("berth"));
        assert_eq!(beside.count(), 0, "a half-made file is left");
        outcome
    }
}

#[test]
fn files_replace_links_and_folders_merge() {
    let Some(ground) = Ground::new() else { return };
    fs::write(ground.path("other/file"), "untouched").unwrap();
    symlink("../other/file", ground.path("in/link")).unwrap();
    fs::create_dir(ground.path("in/folder")).unwrap();
    fs::write(ground.path("in/folder/kept"), "kept").unwrap();
    let entries =
        [Entry::file("link", b"new"), Entry::dir("folder/"), Entry::file("folder/added", b"added"), Entry::file("made/deep/x", b"x")];
    assert_eq!(ground.take(&entries).unwrap(), Extracted { entries: 4, bytes: 9 });
    assert_eq!(fs::read_to_string(ground.path("other/file")).unwrap(), "untouched");
    assert_eq!(fs::read_to_string(ground.path("in/link")).unwrap(), "new");
    assert_eq!(fs::read_to_string(ground.path("in/folder/kept")).unwrap(), "kept");
    assert_eq!(fs::metadata(ground.path("in/folder")).unwrap().mtime(), 1_000_000_000);
    assert_eq!(fs::metadata(ground.path("in/made/deep")).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn links_in_a_path_lead_within_the_root_only() {
    let Some(ground) = Ground::new() else { return };
    symlink("/other", ground.path("in/absolute")).unwrap();
    symlink("../../../../canary", ground.path("in/up")).unwrap();
    symlink(ground.0.path().join("canary"), ground.path("in/out")).unwrap();
    ground.take(&[Entry::file("absolute/file", b"x")]).unwrap();
    assert!(ground.path("other/file").exists());
    // Neither is there below the root, and a link that leads nowhere is not made to lead somewhere.
    for name in ["up/file", "out/file"] {
        let error = ground.take(&[Entry::file(name, b"x")]).unwrap_err();
        assert!(error.to_string().contains("leads nowhere"), "{error}");
    }
}

#[test]
fn what_came_before_a_fault_stays_and_the_fault_names_its_entry() {
    let Some(ground) = Ground::new() else { return };
    for (bad, name) in [
        (Entry::file("../x", b""), "../x"),
        (Entry::new(b'3', "null", b""), "null"),
        (Entry::file(".", b"x"), "."),
        (Entry::hardlink("hard", "../other"), "hard"),
        (Entry::hardlink("hard", "absent"), "hard"),
        (Entry::file(&"n".repeat(100), b"").with(|header| header.set_uid(70_000)), "nnn"),
    ] {
        let error = ground.take(&[Entry::file("before", b"before"), bad]).unwrap_err();
        assert!(matches!(&error, ImageError::Archive { entry, .. } if entry.starts_with(name)), "{error}");
        assert_eq!(fs::read_to_string(ground.path("in/before")).unwrap(), "before");
    }
}

#[test]
fn kinds_are_kept_when_asked() {
    let Some(ground) = Ground::new() else { return };
    fs::create_dir(ground.path("in/folder")).unwrap();
    fs::write(ground.path("in/file"), "file").unwrap();
    for entry in [Entry::file("folder", b"x"), Entry::dir("file/")] {
        let open = |path: PathBuf| OwnedFd::from(File::open(path).unwrap());
        let (root, folder) = (open(ground.path("")), open(ground.path("in")));
        let to = Destination { root, folder, path: b"in".to_vec(), keep_kinds: true };
        assert!(matches!(extract(&archive(&[entry])[..], &to), Err(ImageError::Archive { .. })));
    }
    assert!(ground.path("in/folder").is_dir() && ground.path("in/file").is_file());
}
