//! Archives unpacked into a temporary folder that has a canary beside it. As root only: owners, whiteouts and capabilities need it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::image::remove_at;
use crate::image::testing::{Entry, archive, gzip, zstandard};
use crate::image::tree::open_child;

const LIMITS: Limits = Limits { max_bytes: 64 << 20, max_entries: 1000, require_end: true };

/// cap_net_raw+ep, as setcap(8) writes it; with a newline inside, as a mask may have.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0];

/// A folder to unpack into, and one beside it that nothing may touch.
struct Ground {
    dir: tempfile::TempDir,
    canary: BTreeMap<PathBuf, String>,
}

impl Ground {
    /// None, said aloud, when this is not root.
    fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not run: unpacking needs root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("layer")).unwrap();
        fs::create_dir_all(dir.path().join("canary/sub")).unwrap();
        fs::write(dir.path().join("canary/file"), "untouched").unwrap();
        fs::write(dir.path().join("canary/sub/file"), "untouched").unwrap();
        let canary = picture(&dir.path().join("canary"));
        Some(Ground { dir, canary })
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join("layer").join(below)
    }

    fn unpack(&self, bytes: &[u8], limits: Limits) -> Result<Unpacked, ImageError> {
        let root = File::open(self.path("")).unwrap();
        let mut mark = |folder: BorrowedFd<'_>| xattr::set(folder, b"trusted.overlay.opaque", b"y");
        unpack(bytes, root.into(), limits, &mut mark)
    }

    fn take(&self, entries: &[Entry]) -> Unpacked {
        let unpacked = self.unpack(&archive(entries), LIMITS).unwrap();
        self.check_canary();
        unpacked
    }

    /// The entry and the message that the archive is refused with.
    fn refuse(&self, entries: &[Entry]) -> (String, String) {
        let outcome = self.unpack(&archive(entries), LIMITS);
        self.check_canary();
        match outcome {
            Err(ImageError::Archive { entry, message }) => (entry, message),
            other => panic!("not refused as an archive: {other:?}"),
        }
    }

    /// Nothing changed beside the layer, and nothing is there that was not.
    fn check_canary(&self) {
        assert_eq!(picture(&self.dir.path().join("canary")), self.canary);
        let mut names: Vec<_> = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["canary", "layer"]);
    }

    fn opaque(&self, below: &str) -> bool {
        let folder = File::open(self.path(below)).unwrap();
        xattr::get(folder.as_fd(), b"trusted.overlay.opaque", 8).unwrap().as_deref() == Some(b"y")
    }

    fn is_whiteout(&self, below: &str) -> bool {
        fs::symlink_metadata(self.path(below)).is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0)
    }
}

/// Every file below a folder: what it is, whose, since when and what is in it.
fn picture(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut out = BTreeMap::new();
    let mut todo = vec![folder.to_path_buf()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let text = format!("{:o} {}:{} {}.{} {content:?}", meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        out.insert(path, text);
    }
    out
}

#[test]
fn owners_modes_times_and_attributes_are_kept() {
    let Some(ground) = Ground::new() else { return };
    let owned = |entry: Entry, uid, gid, mode| {
        entry.with(|header| {
            header.set_uid(uid);
            header.set_gid(gid);
            header.set_mode(mode);
        })
    };
    let unpacked = ground.take(&[
        owned(Entry::dir("./"), 0, 0, 0o755),
        owned(Entry::dir("home"), 1000, 1001, 0o2750),
        Entry::pax(&[
            ("mtime", b"12345.5"),
            ("SCHILY.xattr.user.note", b"a\nb"),
            ("SCHILY.xattr.security.capability", &CAPABILITY),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ]),
        owned(Entry::file("home/setuid", b"#!"), 1000, 1000, 0o6755),
        owned(Entry::symlink("home/link", "/nowhere"), 65_535, 65_535, 0o777),
        owned(Entry::new(b'6', "home/fifo", b""), 7, 8, 0o622),
        owned(Entry::file("home/closed", b""), 0, 0, 0),
    ]);
    let meta = |below: &str| fs::symlink_metadata(ground.path(below)).unwrap();
    assert_eq!((meta("").mode() & 0o7777, meta("").mtime()), (0o755, 1_000_000_000));
    assert_eq!((meta("home").uid(), meta("home").gid(), meta("home").mode() & 0o7777), (1000, 1001, 0o2750));
    assert_eq!(meta("home").mtime(), 1_000_000_000, "a folder's time is set after its files came");
    assert_eq!((meta("home/setuid").mode() & 0o7777, meta("home/setuid").uid()), (0o6755, 1000));
    assert_eq!((meta("home/setuid").mtime(), meta("home/setuid").mtime_nsec()), (12345, 500_000_000));
    assert_eq!((meta("home/link").uid(), meta("home/link").mtime()), (65_535, 1_000_000_000));
    assert_eq!(fs::read_link(ground.path("home/link")).unwrap(), Path::new("/nowhere"));
    assert!(meta("home/fifo").file_type().is_fifo());
    assert_eq!((meta("home/fifo").uid(), meta("home/fifo").mode() & 0o7777), (7, 0o622));
    assert_eq!(meta("home/closed").mode() & 0o7777, 0);
    let file = File::open(ground.path("home/setuid")).unwrap();
    let attribute = |name: &[u8]| xattr::get(file.as_fd(), name, 100).unwrap();
    assert_eq!(attribute(b"user.note").as_deref(), Some(&b"a\nb"[..]));
    assert_eq!(attribute(b"security.capability").as_deref(), Some(&CAPABILITY[..]));
    assert_eq!(attribute(b"trusted.overlay.redirect"), None);
    assert_eq!(attribute(b"user.overlay.opaque"), None);
    assert_eq!(unpacked.notes, ["overlay attribute left out: 2, the first is \"home/setuid\""]);
    assert_eq!((unpacked.entries, unpacked.size), (6, 2));
}

#[test]
fn the_layer_is_the_digest_of_the_tar_however_it_was_compressed() {
    let bytes = archive(&[Entry::file("a", b"x")]);
    let digest = crate::image::testing::sha256(&bytes);
    for stream in [bytes.clone(), gzip(&bytes), zstandard(&bytes)] {
        let Some(ground) = Ground::new() else { return };
        let unpacked = ground.unpack(&stream, LIMITS).unwrap();
        assert_eq!(unpacked.layer.as_str(), digest);
        assert_eq!(unpacked.compressed_digest, format!("sha256:{}", crate::image::testing::sha256(&stream)));
        assert_eq!(fs::read(ground.path("a")).unwrap(), b"x");
    }
}

/// E76
#[test]
fn names_that_lead_up_are_refused_and_absolute_ones_stay_inside() {
    for name in ["../x", "..", "a/../../x", "a/..", "/../x"] {
        let Some(ground) = Ground::new() else { return };
        assert_eq!(ground.refuse(&[Entry::dir("a"), Entry::file(name, b"")]).0, name);
        assert_eq!(ground.refuse(&[Entry::symlink(name, "x")]).0, name);
        assert_eq!(ground.refuse(&[Entry::dir(name)]).0, name);
    }
    let Some(ground) = Ground::new() else { return };
    let absolute = ground.dir.path().join("canary/file");
    ground.take(&[
        Entry::pax(&[("path", absolute.to_str().unwrap().as_bytes())]),
        Entry::file("a", b"inside"),
        Entry::file("/etc/absolute", b"inside"),
        Entry::dir("./././"),
        Entry::new(b'5', "slashes///", b""),
    ]);
    assert_eq!(fs::read(ground.path(&absolute.to_str().unwrap()[1..])).unwrap(), b"inside");
    assert_eq!(fs::read(ground.path("etc/absolute")).unwrap(), b"inside");
    assert!(ground.path("slashes").is_dir());
    assert!(ground.refuse(&[Entry::file("././.", b"")]).1.contains("root"));
}

/// E76
#[test]
fn names_too_long_or_not_text() {
    let Some(ground) = Ground::new() else { return };
    let component = ground.refuse(&[Entry::pax(&[("path", "n".repeat(300).as_bytes())]), Entry::file("a", b"")]);
    assert!(component.1.contains("255"), "{component:?}");
    let whole = ground.refuse(&[Entry::pax(&[("path", "/n".repeat(32 << 10).as_bytes())]), Entry::file("a", b"")]);
    assert!(whole.1.contains("4095"), "{whole:?}");
    assert!(whole.0.chars().count() <= 257);
    assert!(ground.refuse(&[Entry::pax(&[("path", b"a\0b")]), Entry::file("a", b"")]).1.contains("NUL"));
    let limits = Limits { max_entries: 10_000, ..LIMITS };
    let deep = "d/".repeat(2000) + "f";
    ground.unpack(&archive(&[Entry::pax(&[("path", deep.as_bytes())]), Entry::file("a", b"deep")]), limits).unwrap();
    assert_eq!(fs::read(ground.path(&deep)).unwrap(), b"deep");
    ground.take(&[Entry::pax(&[("path", b"\xff\xfe")]), Entry::file("a", b"")]);
    assert!(ground.path("").join(OsStr::from_bytes(b"\xff\xfe")).exists());
}

/// E77
#[test]
fn links_in_a_path_lead_nowhere_but_inside() {
    let Some(ground) = Ground::new() else { return };
    let canary = ground.dir.path().join("canary").to_str().unwrap().to_owned();
    for target in [canary.as_str(), "../canary", "../../../../../../etc", "/proc/self/root"] {
        let (entry, message) = ground.refuse(&[Entry::symlink("d", target), Entry::file("d/file", b"overwritten")]);
        assert_eq!(entry, "d/file");
        assert!(message.contains("leads nowhere in this layer"), "{message}");
        // A folder entry replaces the link; what the link led to keeps its mode.
        ground.take(&[Entry::symlink("d", target), Entry::new(b'5', "d/.", b"").with(|h| h.set_mode(0o777))]);
        assert!(fs::symlink_metadata(ground.path("d")).unwrap().is_dir());
        ground.take(&[Entry::symlink("d", target), Entry::file("d", b"a file now")]);
        assert!(fs::symlink_metadata(ground.path("d")).unwrap().is_file());
    }
    // With such a folder in the layer it is that folder.
    ground.take(&[Entry::dir("etc"), Entry::symlink("e", "/../etc"), Entry::file("e/passwd", b"in the layer")]);
    assert_eq!(fs::read(ground.path("etc/passwd")).unwrap(), b"in the layer");
    // Debian's merged /usr.
    ground.take(&[Entry::dir("usr/bin"), Entry::symlink("bin", "usr/bin"), Entry::file("bin/sh", b"#!")]);
    assert_eq!(fs::read(ground.path("usr/bin/sh")).unwrap(), b"#!");
}

#[test]
fn links_in_circles_and_files_as_folders_are_refused() {
    let Some(ground) = Ground::new() else { return };
    let circle = [Entry::symlink("a", "b"), Entry::symlink("b", "a"), Entry::file("a/x", b"")];
    assert!(ground.refuse(&circle).1.contains("too many symbolic links"));
    let (entry, message) = ground.refuse(&[Entry::file("f", b""), Entry::file("f/x", b"")]);
    assert_eq!((entry.as_str(), message.contains("not a folder")), ("f/x", true), "{message}");
    // The link under which the folder was opened is replaced by way of itself.
    let itself = [Entry::symlink("l", "."), Entry::file("l/l", b"file now"), Entry::file("l/x", b"")];
    assert_eq!(ground.refuse(&itself).0, "l/x");
}

/// E78
#[test]
fn hard_links_stay_in_the_layer() {
    let Some(ground) = Ground::new() else { return };
    let outside = ground.dir.path().join("canary/file").to_str().unwrap().to_owned();
    for target in ["../canary/file", "../../etc/shadow", &outside, "nowhere", "", ".", "lower/file"] {
        let (entry, message) = ground.refuse(&[Entry::hardlink("h", target)]);
        assert_eq!(entry, "h");
        assert!(message.starts_with("hard link to"), "{message}");
    }
    assert!(ground.refuse(&[Entry::symlink("s", "../canary"), Entry::hardlink("h", "s/file")]).1.contains("not in this layer"));
    assert!(ground.refuse(&[Entry::dir("d"), Entry::hardlink("h", "d")]).1.contains("folder"));
    assert!(ground.refuse(&[Entry::file(".wh.w", b""), Entry::hardlink("h", "w")]).1.contains("removed"));
    // To a symbolic link: one more name of the link, and nothing written through it.
    ground.take(&[Entry::symlink("s", &outside), Entry::hardlink("t", "s"), Entry::file("t", b"own file")]);
    assert_eq!(fs::read(ground.path("t")).unwrap(), b"own file");
    ground.take(&[Entry::file("a", b"one"), Entry::hardlink("b", "/a"), Entry::hardlink("b", "./a"), Entry::hardlink("a", "a")]);
    let meta = fs::metadata(ground.path("a")).unwrap();
    assert_eq!((meta.nlink(), meta.ino()), (2, fs::metadata(ground.path("b")).unwrap().ino()));
    // An own new file under a linked name does not write into the other.
    ground.take(&[Entry::file("c", b"one"), Entry::hardlink("d", "c"), Entry::file("d", b"two")]);
    assert_eq!(fs::read(ground.path("c")).unwrap(), b"one");
    // Its place is a folder that its target is in.
    assert!(ground.refuse(&[Entry::file("e/f", b""), Entry::hardlink("e", "e/f")]).1.contains("not in this layer any more"));
}

/// E79
#[test]
fn whiteouts_become_those_of_overlayfs() {
    let Some(ground) = Ground::new() else { return };
    ground.take(&[
        Entry::file("etc/.wh.gone", b""),
        Entry::dir("opaque"),
        Entry::file("opaque/.wh..wh..opq", b""),
        Entry::file("opaque/kept", b""),
        Entry::file(".wh.replaced", b""),
        Entry::dir("replaced"),
        Entry::file(".wh.implied", b""),
        Entry::file("implied/file", b""),
        Entry::dir("also"),
        Entry::file("also/file", b""),
        Entry::file(".wh.also", b""),
        Entry::file("own", b"kept"),
        Entry::file(".wh.own", b""),
        Entry::file(".wh.later", b""),
        Entry::file("later", b"a file"),
    ]);
    assert!(ground.is_whiteout("etc/gone") && !ground.opaque("etc"));
    for folder in ["opaque", "replaced", "implied", "also"] {
        assert!(ground.opaque(folder), "{folder}");
    }
    assert!(ground.path("opaque/kept").exists() && ground.path("implied/file").exists() && ground.path("also/file").exists());
    assert_eq!(fs::read(ground.path("own")).unwrap(), b"kept");
    assert!(fs::metadata(ground.path("later")).unwrap().is_file());
}

/// E79
#[test]
fn hostile_whiteouts_are_refused_or_do_nothing() {
    let Some(ground) = Ground::new() else { return };
    for name in [".wh.", ".wh..", ".wh...", "d/.wh..", ".wh.a/b", ".wh..wh..opq/x", "../.wh.canary"] {
        assert_eq!(ground.refuse(&[Entry::file(name, b"")]).0, name);
    }
    assert!(ground.refuse(&[Entry::symlink(".wh.s", "/etc")]).1.contains("not a file"));
    assert!(ground.refuse(&[Entry::dir(".wh.d")]).1.contains("not a file"));
    // Under a link: where the link leads inside the layer, or nowhere.
    assert!(ground.refuse(&[Entry::symlink("s", "../canary"), Entry::file("s/.wh..wh..opq", b"")]).1.contains("nowhere"));
    assert!(ground.refuse(&[Entry::symlink("s", "../canary"), Entry::file("s/.wh.file", b"")]).1.contains("nowhere"));
    ground.take(&[Entry::dir("real"), Entry::symlink("s", "/real"), Entry::file("s/.wh..wh..opq", b"")]);
    assert!(ground.opaque("real"));
    let unpacked = ground.take(&[Entry::file(".wh..wh.plnk", b""), Entry::file(".wh..wh.aufs", b"")]);
    assert_eq!(unpacked.notes, ["AUFS bookkeeping left out: 2, the first is \".wh..wh.plnk\""]);
    // The layer's own root.
    ground.take(&[Entry::file(".wh..wh..opq", b"")]);
    assert!(ground.opaque(""));
}

/// E80
#[test]
fn devices_are_left_out_with_a_note() {
    let Some(ground) = Ground::new() else { return };
    let device = |kind, name, major, minor| {
        Entry::new(kind, name, b"").with(|header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        })
    };
    let unpacked = ground.take(&[device(b'3', "dev/mem", 1, 1), device(b'4', "dev/sda", 8, 0), device(b'3', "dev/white", 0, 0)]);
    assert_eq!(unpacked.notes, ["device node left out: 3, the first is \"dev/mem\""]);
    assert_eq!(fs::read_dir(ground.path("")).unwrap().count(), 0);
    let (entry, message) = ground.refuse(&[Entry::pax(&[("SCHILY.xattr.security.capability", b"junk")]), Entry::file("f", b"")]);
    assert_eq!((entry.as_str(), message.contains("security.capability")), ("f", true));
}

/// E81
#[test]
fn limits_hold() {
    let Some(ground) = Ground::new() else { return };
    let few = Limits { max_entries: 5, ..LIMITS };
    let outcome = |entries: &[Entry], limits| ground.unpack(&archive(entries), limits).unwrap_err().to_string();
    let many: Vec<_> = (0..6).map(|n| Entry::dir(&format!("d{n}"))).collect();
    assert!(outcome(&many, few).contains("5 entries"));
    assert!(outcome(&[Entry::file("a/b/c/d/e/f/g", b"")], few).contains("5 entries"), "folders that no entry names count");
    let small = Limits { max_bytes: 10_000, ..LIMITS };
    assert!(outcome(&[Entry::file("big", &[0; 20_000])], small).contains("10000 bytes"));
    // 8 EiB of hole, in no more than a header.
    let bomb = [Entry::pax(&[("GNU.sparse.size", b"9223372036854775807"), ("GNU.sparse.map", b"0,0")]), Entry::file("hole", b"")];
    assert!(outcome(&bomb, small).contains("10000 bytes"));
    let claims = Entry::file("claims", b"").claiming(1 << 40);
    assert!(outcome(&[claims], LIMITS).contains("bytes"));
    assert!(!ground.path("claims").exists());
    ground.check_canary();
}

#[test]
fn the_later_of_two_entries_wins() {
    let Some(ground) = Ground::new() else { return };
    let kinds = || {
        [
            Entry::file("x", b"file"),
            Entry::dir("x"),
            Entry::file("x/inner", b"makes x a folder"),
            Entry::symlink("x", "elsewhere"),
            Entry::hardlink("x", "other"),
            Entry::new(b'6', "x", b""),
            Entry::file("x", b"other file"),
        ]
    };
    for first in kinds() {
        for second in kinds() {
            let inner = |entry: &Entry| entry.bytes().starts_with(b"x/inner");
            if inner(&second) && !first.bytes().starts_with(b"x/") && first.bytes()[156] != b'5' {
                continue;
            }
            let wanted = if inner(&second) { b'5' } else { second.bytes()[156] };
            ground.take(&[Entry::file("other", b""), first.clone(), second]);
            let kind = fs::symlink_metadata(ground.path("x")).unwrap().file_type();
            let got = [(kind.is_file(), &b"01"[..]), (kind.is_symlink(), b"2"), (kind.is_dir(), b"5"), (kind.is_fifo(), b"6")];
            assert!(got.iter().any(|(is, types)| *is && types.contains(&wanted)), "{:?} {kind:?}", char::from(wanted));
            fs::remove_dir_all(ground.path("")).unwrap();
            fs::create_dir(ground.path("")).unwrap();
        }
    }
    // A folder that comes twice keeps what is in it and takes the later mode.
    ground.take(&[Entry::dir("d"), Entry::file("d/f", b""), Entry::dir("d").with(|h| h.set_mode(0o700))]);
    assert!(ground.path("d/f").exists());
    assert_eq!(fs::metadata(ground.path("d")).unwrap().permissions().mode() & 0o777, 0o700);
}

/// What GNU tar writes is read as GNU tar reads it: long names, every sparse form, hard links, both formats. E82.
#[test]
fn gnu_tars_own_archives() {
    let Some(_) = Ground::new() else { return };
    let source = tempfile::tempdir().unwrap();
    let deep = source.path().join("a-rather-long-folder-name/".repeat(8));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("a file with a name of more than a hundred bytes ".repeat(4)), "deep").unwrap();
    let holey = File::create(source.path().join("holey")).unwrap();
    for at in (0..40).map(|n| n * 1_000_000) {
        holey.write_all_at(&[7; 5000], at).unwrap();
    }
    holey.set_len(50_000_000).unwrap();
    fs::hard_link(source.path().join("holey"), source.path().join("zz-linked")).unwrap();
    std::os::unix::fs::symlink("x".repeat(150), source.path().join("long-link")).unwrap();
    for options in [
        &["--format=gnu"][..],
        &["--format=gnu", "--sparse"],
        &["--format=posix"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
    ] {
        let ground = Ground::new().unwrap();
        let made = Command::new("tar").args(options).args(["-C", source.path().to_str().unwrap(), "-c", "."]).output().unwrap();
        assert!(made.status.success());
        ground.unpack(&made.stdout, LIMITS).unwrap();
        let compare = Command::new("diff").args(["-r", "--no-dereference"]).arg(source.path()).arg(ground.path("")).output().unwrap();
        assert!(compare.status.success(), "{options:?}: {}", String::from_utf8_lossy(&compare.stdout));
        let holey = fs::metadata(ground.path("holey")).unwrap();
        assert_eq!(holey.nlink(), 2);
        assert_eq!(holey.blocks() * 512 < 2_000_000, options.contains(&"--sparse"), "holes stay holes: {options:?}");
        assert_eq!(
            fs::metadata(&deep).unwrap().mtime(),
            fs::metadata(ground.path(deep.strip_prefix(source.path()).unwrap().to_str().unwrap())).unwrap().mtime()
        );
    }
}

/// Names that meet each other and want to get out.
fn hostile_name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just("c"),
        Just("."),
        Just(".."),
        Just(""),
        Just(".wh.a"),
        Just(".wh..wh..opq"),
        Just("canary"),
        Just("file"),
    ];
    proptest::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

fn hostile_entry() -> impl Strategy<Value = Entry> {
    let up = prop_oneof![Just(""), Just("../"), Just("../../"), Just("/"), Just("../canary/")];
    let target = (up, hostile_name()).prop_map(|(up, name)| format!("{up}{name}"));
    (prop_oneof![Just(b'0'), Just(b'1'), Just(b'2'), Just(b'5'), Just(b'6')], hostile_name(), target, any::<bool>()).prop_map(
        |(kind, name, target, long)| match (kind, long) {
            (b'1' | b'2', _) => Entry::new(kind, &name, b"").to(&target),
            (b'0', true) => Entry::file(&name, b"overwritten"),
            (b'5', _) => Entry::dir(&name).with(|header| header.set_mode(0o777)),
            _ => Entry::new(kind, &name, b""),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// One archive after the other into the same folder, each whole or refused: nothing outside ever changes.
    #[test]
    fn random_archives_never_write_outside(archives in proptest::collection::vec(proptest::collection::vec(hostile_entry(), 1..12), 1..4)) {
        if let Some(ground) = Ground::new() {
            for entries in archives {
                let _ = ground.unpack(&archive(&entries), LIMITS);
                ground.check_canary();
            }
        }
    }
}

/// `remove_at` takes away what an archive made, and nothing that its links point at.
#[test]
fn removing_follows_no_link_and_minds_no_depth() {
    let Some(ground) = Ground::new() else { return };
    let canary = ground.dir.path().join("canary").to_str().unwrap().to_owned();
    let mut entries = vec![
        Entry::symlink("to-canary", &canary),
        Entry::new(b'6', "fifo", b""),
        Entry::file(".wh.white", b""),
        Entry::file(".deep-1", b"a name that remove_at would like"),
        Entry::dir("immutable-looking").with(|header| header.set_mode(0)),
    ];
    entries.extend((0..3000).map(|n| Entry::file(&format!("many/{n}"), b"")));
    entries.extend((0..50).flat_map(|n| [Entry::dir(&format!("dirs/{n}/x")), Entry::file(&format!("dirs/{n}/y"), b"")]));
    ground.unpack(&archive(&entries), Limits { max_entries: 100_000, ..LIMITS }).unwrap();
    // Deeper than any path can say: made as a container can, from within.
    let mut folder: OwnedFd = File::open(ground.path("")).unwrap().into();
    for _ in 0..3000 {
        nix::sys::stat::mkdirat(&folder, "d", Mode::from_bits_truncate(0o700)).unwrap();
        folder = open_child(folder.as_fd(), b"d", OFlag::O_RDONLY).unwrap();
        nix::unistd::symlinkat(canary.as_str(), &folder, "out").unwrap();
    }
    drop(folder);
    let above = File::open(ground.dir.path()).unwrap();
    remove_at(above.as_fd(), OsStr::new("layer")).unwrap();
    assert!(!ground.path("").exists());
    remove_at(above.as_fd(), OsStr::new("layer")).unwrap();
    assert_eq!(picture(&ground.dir.path().join("canary")), ground.canary);
}
