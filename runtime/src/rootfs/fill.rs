//! The first use of a volume: it gets what the image has at the mount's target, all of it or nothing, as Docker does.
//!
//! ```text
//! <data>/volumes/<VolumeId>/filling   while a volume is filled: locked by who does it, and says which folder
//!                                     without its lock: who filled it died, and what is in that folder is half of something
//! ```
//!
//! So every mount of a volume looks for that file first, and two containers that start at once do not both fill it.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::copy_up::{copy_folder, empty, is_empty};
use crate::error::SysError;
use crate::sys::mount::open_beneath;

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);

/// A volume that may have to be filled.
#[derive(Debug)]
pub(super) struct Volume<'a> {
    pub(super) path: &'a Path,
    /// Its whole.
    pub(super) root: &'a OwnedFd,
    /// The folder of it that is mounted.
    pub(super) sub_path: &'a str,
    pub(super) folder: &'a OwnedFd,
}

impl Volume<'_> {
    fn mark(&self) -> PathBuf {
        self.path.with_file_name("filling")
    }

    /// Takes out what somebody left who died while filling it; waits for one who lives.
    pub(super) fn settle(&self) -> Result<(), SysError> {
        if self.mark().exists() { self.claim()?.release() } else { Ok(()) }
    }

    /// Fills the folder from `source`, when it is empty; ids are lowered by `shift`.
    pub(super) fn fill(&self, source: &OwnedFd, shift: u32) -> Result<(), SysError> {
        let folder = open_beneath(self.folder.as_fd(), ".", FOLDER)?;
        let mut claim = self.claim()?;
        // Another may have been quicker.
        if is_empty(&folder)? {
            claim.write(self.sub_path)?;
            if let Err(error) = copy_folder(source, &folder, shift) {
                // What is there in part would be taken for all of it at the next start.
                return if empty(&folder) { claim.release().and(Err(error)) } else { Err(error) };
            }
        }
        claim.release()
    }

    /// Whether there may be something to fill.
    pub(super) fn is_empty(&self) -> Result<bool, SysError> {
        loop {
            self.settle()?;
            if is_empty(self.folder)? {
                return Ok(true);
            }
            // Somebody may have begun since the look for it: then this is a part.
            if !self.mark().exists() {
                return Ok(false);
            }
        }
    }

    fn claim(&self) -> Result<Claim, SysError> {
        let path = self.mark();
        let call = |call: &'static str| {
            let path = path.display().to_string();
            move |error: std::io::Error| SysError::io(call, path, &error)
        };
        let mut file = loop {
            let opened = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
            let file = opened.map_err(call("open"))?;
            // As long as the other one copies.
            file.lock().map_err(call("flock"))?;
            // Who had it may have been ready with it and have removed it.
            if file.metadata().map_err(call("fstat"))?.nlink() > 0 {
                break file;
            }
        };
        let mut left = String::new();
        file.read_to_string(&mut left).map_err(call("read"))?;
        if let Some(below) = left.strip_prefix('/') {
            let half = if below.is_empty() { "." } else { below };
            match open_beneath(self.root.as_fd(), half, FOLDER) {
                Ok(half) if !empty(&half) => return Err(SysError::new("unlinkat", "a volume that was filled in part", Errno::ENOTEMPTY)),
                Ok(_) => {}
                Err(error) if error.source == Errno::ENOENT => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Claim { file, path })
    }
}

/// The file, locked until it is dropped.
struct Claim {
    file: File,
    path: PathBuf,
}

impl Claim {
    /// From here on a death is noticed.
    fn write(&mut self, sub_path: &str) -> Result<(), SysError> {
        let written = self.file.set_len(0).and_then(|()| self.file.rewind()).and_then(|()| write!(self.file, "/{sub_path}"));
        written.map_err(|error| SysError::io("write", self.path.display(), &error))
    }

    /// Done, before the lock is let go of.
    fn release(self) -> Result<(), SysError> {
        std::fs::remove_file(&self.path).map_err(|error| SysError::io("unlink", self.path.display(), &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        root: OwnedFd,
        source: OwnedFd,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for folder in ["volume/_data/part", "volume/_data/kept", "image/deep"] {
                std::fs::create_dir_all(dir.path().join(folder)).unwrap();
            }
            for file in ["image/one", "image/deep/two", "volume/_data/kept/mine"] {
                std::fs::write(dir.path().join(file), file).unwrap();
            }
            let open = |path: &str| OwnedFd::from(File::open(dir.path().join(path)).unwrap());
            let (root, source) = (open("volume/_data"), open("image"));
            Fixture { dir, root, source }
        }

        fn with<T>(&self, sub_path: &str, act: impl FnOnce(&Volume<'_>) -> T) -> T {
            let path = self.dir.path().join("volume/_data");
            let folder = OwnedFd::from(File::open(path.join(sub_path)).unwrap());
            act(&Volume { path: &path, root: &self.root, sub_path, folder: &folder })
        }

        fn has(&self, path: &str) -> bool {
            self.dir.path().join("volume").join(path).exists()
        }

        /// As one that died left it.
        fn half(&self) {
            std::fs::write(self.dir.path().join("volume/_data/part/one"), "half").unwrap();
            std::fs::write(self.dir.path().join("volume/filling"), "/part").unwrap();
        }
    }

    #[test]
    fn an_empty_one_is_filled_and_nothing_else_is() {
        let fixture = Fixture::new();
        fixture.with("part", |volume| volume.fill(&fixture.source, 0)).unwrap();
        assert!(fixture.has("_data/part/deep/two") && !fixture.has("filling"));
        fixture.with("kept", |volume| volume.fill(&fixture.source, 0)).unwrap();
        assert!(!fixture.has("_data/kept/one") && fixture.has("_data/kept/mine") && !fixture.has("filling"));
    }

    #[test]
    fn what_was_filled_by_half_is_taken_out_whatever_is_mounted_next() {
        let fixture = Fixture::new();
        fixture.half();
        fixture.with("kept", |volume| volume.settle()).unwrap();
        assert!(!fixture.has("_data/part/one") && fixture.has("_data/kept/mine") && !fixture.has("filling"));
        fixture.half();
        fixture.with("part", |volume| volume.fill(&fixture.source, 0)).unwrap();
        assert_eq!(std::fs::read_to_string(fixture.dir.path().join("volume/_data/part/one")).unwrap(), "image/one");
    }

    #[test]
    fn of_two_at_once_the_second_waits_and_leaves_it() {
        let fixture = Fixture::new();
        let claim = fixture.with("part", |volume| volume.claim()).unwrap();
        std::thread::scope(|threads| {
            let second = threads.spawn(|| fixture.with("part", |volume| volume.fill(&fixture.source, 0)));
            std::fs::write(fixture.dir.path().join("volume/_data/part/first"), "first").unwrap();
            claim.release().unwrap();
            second.join().unwrap().unwrap();
        });
        assert!(fixture.has("_data/part/first") && !fixture.has("_data/part/one") && !fixture.has("filling"));
    }
}
