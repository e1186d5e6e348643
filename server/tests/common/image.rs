//! Root file systems as tars, put together entry by entry: good ones, and ones that no honest tool would write.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A tar that grows; `finish` gives its bytes. Everything belongs to root and has no time.
pub(crate) struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Self {
        Tar(tar::Builder::new(Vec::new()))
    }

    pub(crate) fn folder(self, path: &str, mode: u32) -> Self {
        self.entry(path, tar::EntryType::Directory, mode, None, b"")
    }

    pub(crate) fn file(self, path: &str, mode: u32, content: &[u8]) -> Self {
        self.entry(path, tar::EntryType::Regular, mode, None, content)
    }

    pub(crate) fn symlink(self, path: &str, to: &str) -> Self {
        self.entry(path, tar::EntryType::Symlink, 0o777, Some(to), b"")
    }

    pub(crate) fn hard_link(self, path: &str, to: &str) -> Self {
        self.entry(path, tar::EntryType::Link, 0o644, Some(to), b"")
    }

    pub(crate) fn device(mut self, path: &str, major: u32, minor: u32) -> Self {
        let mut header = header(path, tar::EntryType::Block, 0o666, None, 0);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        header.set_cksum();
        self.0.append(&header, &b""[..]).unwrap();
        self
    }

    fn entry(mut self, path: &str, kind: tar::EntryType, mode: u32, link: Option<&str>, content: &[u8]) -> Self {
        let header = header(path, kind, mode, link, content.len() as u64);
        self.0.append(&header, content).unwrap();
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// Names go in as they are, past the checks of the library: `../x` is wanted here.
fn header(path: &str, kind: tar::EntryType, mode: u32, link: Option<&str>, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    let fields = header.as_gnu_mut().unwrap();
    fields.name[..path.len()].copy_from_slice(path.as_bytes());
    if let Some(link) = link {
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    }
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// What `./scripts/up` imports as `busybox:latest`, from the same script; where that cannot run, `BERTH_TEST_BUSYBOX_IMAGE` is what it wrote.
pub(crate) fn busybox() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        if let Some(made) = std::env::var_os("BERTH_TEST_BUSYBOX_IMAGE") {
            return fs::read(&made).unwrap_or_else(|error| panic!("{}: {error}", made.display()));
        }
        let output = Command::new(repository().join("scripts/make-busybox-image")).output().expect("scripts/make-busybox-image runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    })
}

/// The busybox image with more in it: `change` gets the tar after busybox's entries.
pub(crate) fn busybox_with(change: impl FnOnce(Tar) -> Tar) -> Vec<u8> {
    let mut ours = Tar::new();
    let mut archive = tar::Archive::new(busybox());
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header().clone();
        ours.0.append(&header, entry).unwrap();
    }
    change(ours).finish()
}

/// `probe/probe.c`, compiled without shared libraries, so that it runs in any image: one system call at a time, told by name.
/// `BERTH_TEST_PROBE` is one that was compiled elsewhere.
pub(crate) fn probe() -> &'static Path {
    static PROBE: OnceLock<(Option<tempfile::TempDir>, PathBuf)> = OnceLock::new();
    let (_, program) = PROBE.get_or_init(|| {
        if let Some(made) = std::env::var_os("BERTH_TEST_PROBE") {
            return (None, PathBuf::from(made));
        }
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("probe");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probe/probe.c");
        let output = Command::new("gcc")
            .args(["-std=gnu11", "-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&program)
            .arg(&source)
            .output()
            .expect("gcc runs: ./scripts/setup installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (Some(folder), program)
    });
    program
}

/// Busybox and `/bin/probe`.
pub(crate) fn probe_image() -> Vec<u8> {
    let program = fs::read(probe()).unwrap();
    busybox_with(|tar| tar.file("./bin/probe", 0o755, &program))
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the repository").to_owned()
}
