//! Packed, looked through, damaged in every way.

use super::*;

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["stage", "data/volumes/v1/_data", "data/layers/.staging-1", "data/pods/p1/work/w", "data/pods/p1/upper", "out"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("stage/berth.db"), "not really a database").unwrap();
        std::fs::write(dir.path().join("data/volumes/v1/_data/.staging-mine"), "a user's").unwrap();
        std::fs::write(dir.path().join("data/pods/p1/upper/file"), "written").unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("data/volumes/v1/_data/link")).unwrap();
        Fixture { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, parts: &[&str]) -> Manifest {
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let manifest = Manifest::new(&self.path("stage/berth.db"), 1, "0123abcd", now, parts).unwrap();
        write(&self.path("b.tar.zst"), &manifest, &self.path("stage"), &self.path("data")).unwrap();
        manifest
    }
}

#[test]
fn what_was_asked_for_comes_back_and_half_made_things_do_not() {
    let fixture = Fixture::new();
    let manifest = fixture.write(&["volumes", "images", "containers"]);
    assert_eq!(verify(&fixture.path("b.tar.zst")).unwrap(), manifest);
    unpack(&fixture.path("b.tar.zst"), &fixture.path("out")).unwrap();
    let out = |name: &str| fixture.path("out").join(name);
    assert_eq!(std::fs::read(out("volumes/v1/_data/.staging-mine")).unwrap(), b"a user's");
    assert_eq!(std::fs::read_link(out("volumes/v1/_data/link")).unwrap(), Path::new("/etc"));
    assert_eq!(std::fs::read(out("pods/p1/upper/file")).unwrap(), b"written");
    assert!(out("berth.db").exists() && out("pods/p1/work").exists());
    assert!(!out("pods/p1/work/w").exists() && !out("layers/.staging-1").exists());
}

#[test]
fn what_was_not_asked_for_is_not_in_it() {
    let fixture = Fixture::new();
    fixture.write(&[]);
    unpack(&fixture.path("b.tar.zst"), &fixture.path("out")).unwrap();
    assert!(!fixture.path("out/volumes").exists() && !fixture.path("out/pods").exists());
}

#[test]
fn an_existing_file_is_not_overwritten() {
    let fixture = Fixture::new();
    let manifest = fixture.write(&[]);
    let again = write(&fixture.path("b.tar.zst"), &manifest, &fixture.path("stage"), &fixture.path("data"));
    assert!(matches!(again, Err(BackupError::Io { call: "create", .. })), "{again:?}");
}

#[test]
fn a_flipped_bit_or_a_missing_end_is_found_before_anything_is_made() {
    let fixture = Fixture::new();
    let manifest = fixture.write(&["volumes"]);
    let path = fixture.path("b.tar.zst");
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 1, 10, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(verify(&path).is_err(), "cut at {length}");
    }
    let mut missed = 0;
    for place in (20..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x10;
        std::fs::write(&path, &damaged).unwrap();
        // A few bits mean nothing to a decoder: then the same comes out, which the frame's checksum vouches for.
        if let Ok(same) = verify(&path) {
            assert_eq!(same, manifest, "byte {place}");
            missed += 1;
        }
    }
    assert!(missed * 20 < whole.len() / 7, "{missed} of {} flips were not seen", whole.len() / 7);
    std::fs::write(&path, "something else").unwrap();
    assert!(verify(&path).is_err());
}

/// A tar of these entries, as a hostile or a later hand would make it.
fn made(fixture: &Fixture, entries: &[(&str, &str)]) -> Result<Manifest, BackupError> {
    let mut builder = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        // Not by set_path: that one refuses what this is to try.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    std::fs::write(fixture.path("made"), builder.into_inner().unwrap().finish().unwrap()).unwrap();
    verify(&fixture.path("made"))
}

#[test]
fn what_leads_outside_or_is_of_a_later_format_is_refused() {
    let fixture = Fixture::new();
    let mut manifest = fixture.write(&["volumes"]);
    let database = ("berth.db", "not really a database");
    let end = ("end.json", "{}");
    let text = serde_json::to_string(&manifest).unwrap();
    made(&fixture, &[("manifest.json", &text), database, ("volumes/a", "x"), end]).unwrap();
    for bad in ["../evil", "volumes/../../evil", "/etc/evil", "layers/a", "instance"] {
        let refused = made(&fixture, &[("manifest.json", &text), database, (bad, "x"), end]).unwrap_err();
        assert!(matches!(refused, BackupError::NotABackup { .. }), "{bad}: {refused}");
    }
    assert!(matches!(made(&fixture, &[("manifest.json", &text), database]), Err(BackupError::Damaged { .. })));
    assert!(matches!(made(&fixture, &[("manifest.json", &text), ("berth.db", "another"), end]), Err(BackupError::Damaged { .. })));
    assert!(matches!(made(&fixture, &[("x", "y")]), Err(BackupError::NotABackup { .. })));
    manifest.format_version = VERSION + 1;
    let later = serde_json::to_string(&manifest).unwrap();
    assert!(matches!(made(&fixture, &[("manifest.json", &later), database, end]), Err(BackupError::NewerFormat { found: 2, .. })));
}
