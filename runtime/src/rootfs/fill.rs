//! The first use of a volume: it gets what the image has at the mount's target, all of it or nothing, as Docker does.
//!
//! ```text
//! <data>/volumes/<VolumeId>/_data/    what containers see: nothing is ever taken out of it
//!                           staged/   the copy, while it is made and until all of it is moved
//!                           filling   locked by who does it; where the copy is to go to, once it is whole
//!
//! copy into staged ──> syncfs ──> write filling ──> move each entry ──> remove filling
//!      died here: staged is thrown away      died here: the next who mounts the volume moves the rest
//! ```
//!
//! So every mount of a volume looks for `filling` first, and of two containers that start at once the second waits. Where somebody has mounted
//! another file system over a volume's folder nothing can be moved into it: there it is copied as it comes.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, RenameFlags, renameat2};
use nix::sys::stat::{Mode, fstat};

use super::copy_up::{carry_over_folder, copy_folder, is_empty};
use crate::crash_point;
use crate::error::SysError;
use crate::image::remove_at;
use crate::sys::mount::open_beneath;

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);
/// How long another may take to fill the volume. A supervisor that waits serves nobody.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks: flock(2) tells nobody when it could be had.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A volume that may have to be filled.
#[derive(Debug)]
pub(super) struct Volume<'a> {
    /// To its `_data`.
    pub(super) path: &'a Path,
    pub(super) root: &'a OwnedFd,
}

impl Volume<'_> {
    /// Brings to its end, or undoes, what somebody began who died; waits for one who lives. Fails with EBUSY when that one takes long.
    pub(super) fn settle(&self) -> Result<(), SysError> {
        if self.beside("filling").exists() { self.claim()?.release() } else { Ok(()) }
    }

    /// Whether there may be something to fill in a folder of it.
    pub(super) fn is_empty(&self, folder: &OwnedFd) -> Result<bool, SysError> {
        loop {
            self.settle()?;
            if is_empty(folder)? {
                return Ok(true);
            }
            // Somebody may have begun since the look for it: then this is a part.
            if !self.beside("filling").exists() {
                return Ok(false);
            }
        }
    }

    /// Fills its folder at `sub_path` from `source`, when it is empty; ids are lowered by `shift`.
    pub(super) fn fill(&self, sub_path: &str, folder: &OwnedFd, source: &OwnedFd, shift: u32) -> Result<(), SysError> {
        if is_empty(source)? {
            let status = fstat(source).map_err(|errno| SysError::new("fstat", "folder", errno))?;
            return carry_over_folder(folder, &status, shift);
        }
        let mut claim = self.claim()?;
        // Another may have been quicker.
        if !is_empty(folder)? {
            return claim.release();
        }
        let staged = claim.stage()?;
        let copied = copy_folder(source, &staged, shift).and_then(|()| {
            // What is moved must not be empty files after a power failure.
            nix::unistd::syncfs(&staged).map_err(|errno| SysError::new("syncfs", self.path.display(), errno))
        });
        if let Err(error) = copied {
            claim.release()?;
            return Err(error);
        }
        claim.whole(sub_path)?;
        match move_all(&staged, folder) {
            Err(error) if error.source == Errno::EXDEV => {
                claim.nothing()?;
                copy_folder(source, folder, shift)?;
            }
            moved => moved?,
        }
        claim.release()
    }

    /// A folder of it that may have to be made; not while the volume is being filled, since it could be of what is still to be moved.
    pub(super) fn folder_below(&self, below: &str, make: impl Fn() -> Result<OwnedFd, SysError>) -> Result<OwnedFd, SysError> {
        self.settle()?;
        match open_beneath(self.root.as_fd(), below, OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Err(error) if error.source == Errno::ENOENT => {
                let claim = self.claim()?;
                let made = make();
                claim.release()?;
                made
            }
            found => found,
        }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    fn claim(&self) -> Result<Claim, SysError> {
        let path = self.beside("filling");
        let folder = self.path.parent().unwrap_or(self.path);
        let call = |call: &'static str| {
            let path = path.display().to_string();
            move |error: std::io::Error| SysError::io(call, path, &error)
        };
        let deadline = Instant::now() + PATIENCE;
        let mut file = loop {
            let opened = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
            let file = opened.map_err(call("open"))?;
            match file.try_lock() {
                // Who had it may have been ready with it and have removed it.
                Ok(()) if file.metadata().map_err(call("fstat"))?.nlink() > 0 => break file,
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
                Err(TryLockError::WouldBlock) => {
                    let subject = format!("{}: another container is filling the volume for the first time", path.display());
                    return Err(SysError::new("flock", subject, Errno::EBUSY));
                }
                Err(TryLockError::Error(error)) => return Err(call("flock")(error)),
            }
        };
        let mut left = String::new();
        file.read_to_string(&mut left).map_err(call("read"))?;
        let parent = File::open(folder).map(OwnedFd::from).map_err(call("open"))?;
        let mut claim = Claim { file, path, parent };
        // Without its end of line it was not written to its end.
        if let Some(below) = left.strip_prefix('/').and_then(|rest| rest.strip_suffix('\n')) {
            self.finish(&claim, below)?;
        }
        claim.discard()?;
        claim.nothing()?;
        Ok(claim)
    }

    /// Moves the rest of a copy that is whole. Where its place has become something else, by a container's hand, there is nothing to do.
    fn finish(&self, claim: &Claim, below: &str) -> Result<(), SysError> {
        let target = open_beneath(self.root.as_fd(), if below.is_empty() { "." } else { below }, FOLDER);
        let staged = open_beneath(claim.parent.as_fd(), "staged", FOLDER);
        match (target, staged) {
            (Ok(target), Ok(staged)) => match move_all(&staged, &target) {
                Err(error) if error.source == Errno::EXDEV => Ok(()),
                moved => moved,
            },
            (Err(error), _) | (_, Err(error)) if matches!(error.source, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(()),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }
}

/// The file, locked until it is dropped.
struct Claim {
    file: File,
    path: PathBuf,
    /// The folder that it is in.
    parent: OwnedFd,
}

impl Claim {
    /// A folder for the copy.
    fn stage(&self) -> Result<OwnedFd, SysError> {
        let path = self.path.with_file_name("staged");
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| SysError::io("mkdir", path.display(), &error))?;
        open_beneath(self.parent.as_fd(), "staged", FOLDER)
    }

    /// From here on it is moved, by whoever comes. One write: half of it says nothing.
    fn whole(&mut self, sub_path: &str) -> Result<(), SysError> {
        let written = self.file.set_len(0).and_then(|()| {
            std::io::Seek::rewind(&mut self.file)?;
            self.file.write_all(format!("/{sub_path}\n").as_bytes())?;
            self.file.sync_all()
        });
        written.map_err(|error| SysError::io("write", self.path.display(), &error))
    }

    /// Nothing is to be moved.
    fn nothing(&mut self) -> Result<(), SysError> {
        self.file.set_len(0).map_err(|error| SysError::io("ftruncate", self.path.display(), &error))
    }

    fn discard(&self) -> Result<(), SysError> {
        remove_at(self.parent.as_fd(), "staged".as_ref())
    }

    /// Done, before the lock is let go of.
    fn release(self) -> Result<(), SysError> {
        self.discard()?;
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(SysError::io("unlink", self.path.display(), &error)),
            _ => Ok(()),
        }
    }
}

/// Each entry, past those whose names are taken: what a container made there meanwhile is its own. The folder itself gets mode and owner.
fn move_all(staged: &OwnedFd, folder: &OwnedFd) -> Result<(), SysError> {
    let mut dir =
        Dir::openat(staged, c".", FOLDER | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| SysError::new("openat", "staged", errno))?;
    let listed: Result<Vec<_>, Errno> = dir.iter().map(|entry| entry.map(|entry| entry.file_name().to_owned())).collect();
    for name in listed.map_err(|errno| SysError::new("getdents64", "staged", errno))? {
        let name = std::ffi::OsStr::from_bytes(name.to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        match renameat2(staged, name, folder, name, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) | Err(Errno::EEXIST) => crash_point!("rootfs.fill.moved"),
            Err(errno) => return Err(SysError::new("renameat2", name.to_string_lossy(), errno)),
        }
    }
    let status = fstat(staged).map_err(|errno| SysError::new("fstat", "staged", errno))?;
    carry_over_folder(folder, &status, 0)
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

        fn path(&self, path: &str) -> PathBuf {
            self.dir.path().join("volume").join(path)
        }

        fn on<T>(&self, act: impl FnOnce(&Volume<'_>) -> T) -> T {
            act(&Volume { path: &self.path("_data"), root: &self.root })
        }

        fn fill(&self, sub_path: &str) -> Result<(), SysError> {
            let folder = OwnedFd::from(File::open(self.path("_data").join(sub_path)).unwrap());
            self.on(|volume| volume.fill(sub_path, &folder, &self.source, 0))
        }

        /// What is in the volume, and nothing of ours beside it.
        fn settled(&self, there: &[&str], missing: &[&str]) {
            for path in there {
                assert!(self.path("_data").join(path).exists(), "{path} is not there");
            }
            for path in missing {
                assert!(!self.path("_data").join(path).exists(), "{path} is there");
            }
            assert!(!self.path("filling").exists() && !self.path("staged").exists());
        }

        /// As one that died left it: the copy, and how far it got.
        fn left(&self, staged: &[&str], filling: &str) {
            std::fs::create_dir(self.path("staged")).unwrap();
            for file in staged {
                std::fs::write(self.path("staged").join(file), "staged").unwrap();
            }
            std::fs::write(self.path("filling"), filling).unwrap();
        }
    }

    #[test]
    fn an_empty_one_is_filled_and_nothing_else_is() {
        let fixture = Fixture::new();
        fixture.fill("part").unwrap();
        fixture.settled(&["part/one", "part/deep/two"], &[]);
        fixture.fill("kept").unwrap();
        fixture.settled(&["kept/mine"], &["kept/one"]);
    }

    #[test]
    fn a_copy_that_is_not_whole_is_thrown_away_and_made_anew() {
        for unfinished in ["", "/part", "/"] {
            let fixture = Fixture::new();
            fixture.left(&["one", "half"], unfinished);
            fixture.on(|volume| volume.settle()).unwrap();
            fixture.settled(&["kept/mine"], &["part/one", "part/half", "half"]);
            fixture.left(&["one", "half"], unfinished);
            fixture.fill("part").unwrap();
            fixture.settled(&["part/one", "part/deep/two", "kept/mine"], &["part/half", "half"]);
        }
    }

    #[test]
    fn one_that_is_whole_is_moved_to_its_end_past_what_is_there() {
        let fixture = Fixture::new();
        std::fs::write(fixture.path("_data/part/one"), "a container's own").unwrap();
        fixture.left(&["one", "rest"], "/part\n");
        fixture.on(|volume| volume.settle()).unwrap();
        fixture.settled(&["part/rest", "kept/mine"], &["rest", "kept/rest"]);
        assert_eq!(std::fs::read_to_string(fixture.path("_data/part/one")).unwrap(), "a container's own");
    }

    #[test]
    fn a_place_that_became_something_else_keeps_nobody_from_the_volume() {
        let fixture = Fixture::new();
        let outside = fixture.dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::remove_dir(fixture.path("_data/part")).unwrap();
        std::os::unix::fs::symlink(&outside, fixture.path("_data/part")).unwrap();
        fixture.left(&["one"], "/part\n");
        fixture.on(|volume| volume.settle()).unwrap();
        fixture.settled(&["kept/mine"], &["one"]);
        assert!(std::fs::read_dir(&outside).unwrap().next().is_none(), "a link led out of the volume");
    }

    #[test]
    fn a_folder_of_what_is_still_to_be_moved_is_not_made_anew() {
        let fixture = Fixture::new();
        fixture.left(&[], "/\n");
        std::fs::create_dir(fixture.path("staged/sub")).unwrap();
        std::fs::write(fixture.path("staged/sub/file"), "staged").unwrap();
        let make = |name: &str| {
            std::fs::create_dir(fixture.path("_data").join(name)).unwrap();
            Ok(OwnedFd::from(File::open(fixture.path("_data").join(name)).unwrap()))
        };
        fixture.on(|volume| volume.folder_below("sub", || make("sub"))).unwrap();
        fixture.settled(&["sub/file"], &[]);
        fixture.on(|volume| volume.folder_below("new", || make("new"))).unwrap();
        fixture.settled(&["new"], &[]);
    }

    #[test]
    fn an_empty_folder_of_the_image_leaves_nothing_beside() {
        let fixture = Fixture::new();
        let folder = OwnedFd::from(File::open(fixture.path("_data/part")).unwrap());
        let empty = OwnedFd::from(File::open(fixture.path("_data/part")).unwrap());
        fixture.on(|volume| volume.fill("part", &folder, &empty, 0)).unwrap();
        fixture.settled(&["part"], &[]);
    }

    #[test]
    fn of_two_at_once_the_second_waits_and_leaves_it() {
        let fixture = Fixture::new();
        let claim = fixture.on(|volume| volume.claim()).unwrap();
        std::thread::scope(|threads| {
            let second = threads.spawn(|| fixture.fill("part"));
            // Without the lock it is done long before this.
            std::thread::sleep(5 * LOOK_AGAIN);
            assert!(!second.is_finished(), "it did not wait");
            std::fs::write(fixture.path("_data/part/first"), "first").unwrap();
            claim.release().unwrap();
            second.join().unwrap().unwrap();
        });
        fixture.settled(&["part/first"], &["part/one"]);
    }
}
