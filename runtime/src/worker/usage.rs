//! Bytes and inodes in use: a walk by descriptor that follows no link, over trees that may change meanwhile.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};

use super::data::{DataDir, child};
use super::failed;
use crate::error::{RuntimeError, SysError};
use crate::protocol::DiskUsage;

/// Folders nested deeper than this are not counted: each level holds a descriptor, and a container can nest without end.
const MOST_DEPTH: usize = 256;

/// Every layer, volume, sandbox and log folder there is.
pub(super) fn disk_usage(data: &DataDir) -> Result<Vec<DiskUsage>, RuntimeError> {
    let mut items = Vec::new();
    for (folder, kinds) in [
        ("layers", &[("layer", &["."][..])][..]),
        ("volumes", &[("volume", &["."])]),
        ("pods", &[("container", &["upper", "work"]), ("log", &["logs"])]),
    ] {
        let Some(folder) = data.existing(folder)? else { continue };
        for id in ids(&folder).map_err(failed("usage"))? {
            for (kind, parts) in kinds {
                let Some((bytes, inodes)) = measure(folder.as_fd(), &id, parts).map_err(failed("usage"))? else { continue };
                items.push(DiskUsage { kind: (*kind).to_owned(), id: id.clone(), bytes, inodes });
            }
        }
    }
    Ok(items)
}

/// The names in a folder that could be ids: none that begins with a dot (staging, trash).
fn ids(folder: &OwnedFd) -> Result<Vec<String>, SysError> {
    let failed = |errno| SysError::new("getdents64", "data folder", errno);
    let mut names = Vec::new();
    for entry in Dir::openat(folder, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?.iter() {
        match entry.map_err(failed)?.file_name().to_str() {
            Ok(name) if !name.starts_with('.') => names.push(name.to_owned()),
            _ => {}
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Bytes on disk and inodes of these parts of `id` together; None when none of them is there.
fn measure(folder: BorrowedFd<'_>, id: &str, parts: &[&str]) -> Result<Option<(u64, u64)>, SysError> {
    // Removed since it was listed, or not a folder: not ours to count.
    let Ok(Some(top)) = child(folder, id) else { return Ok(None) };
    let mut tally = Tally::default();
    let mut found = false;
    for part in parts {
        if let Ok(Some(tree)) = child(top.as_fd(), part) {
            tally.walk(tree)?;
            found = true;
        }
    }
    Ok(found.then_some((tally.blocks * 512, tally.inodes)))
}

#[derive(Default)]
struct Tally {
    /// Of 512 bytes, as in stat(2).
    blocks: u64,
    inodes: u64,
    /// Files with more than one name that are counted already.
    linked: HashSet<(u64, u64)>,
}

impl Tally {
    fn add(&mut self, stat: &nix::sys::stat::FileStat) {
        let folder = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
        if folder || stat.st_nlink < 2 || self.linked.insert((stat.st_dev, stat.st_ino)) {
            self.blocks += u64::try_from(stat.st_blocks).unwrap_or(0);
            self.inodes += 1;
        }
    }

    fn walk(&mut self, tree: OwnedFd) -> Result<(), SysError> {
        let top = fstat(&tree).map_err(|errno| SysError::new("fstat", "usage", errno))?;
        self.add(&top);
        // Each folder on the way down with the folders in it that are still to do.
        let mut levels = vec![(self.list(&tree, top.st_dev)?, tree)];
        while let Some((folders, here)) = levels.last_mut() {
            let Some(name) = folders.pop() else {
                levels.pop();
                continue;
            };
            match openat(
                &*here,
                name.as_c_str(),
                OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
                Mode::empty(),
            ) {
                Ok(folder) if levels.len() < MOST_DEPTH => levels.push((self.list(&folder, top.st_dev)?, folder)),
                Ok(_) => {}
                // Gone, or something else by now: the tree's container runs.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
                Err(errno) => return Err(SysError::new("openat", "usage", errno)),
            }
        }
        Ok(())
    }

    /// Counts what is in a folder; the folders among it, except where another file system is mounted.
    fn list(&mut self, folder: &OwnedFd, device: u64) -> Result<Vec<CString>, SysError> {
        let failed = |errno| SysError::new("getdents64", "usage", errno);
        let mut folders = Vec::new();
        for entry in Dir::openat(folder, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?.iter() {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
            if stat.st_dev != device {
                continue;
            }
            self.add(&stat);
            if stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits() {
                folders.push(name.to_owned());
            }
        }
        Ok(folders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn bytes_are_blocks_and_a_hard_link_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let upper = dir.path().join("pods/0123/upper/deep/er");
        std::fs::create_dir_all(&upper).unwrap();
        std::fs::create_dir_all(dir.path().join("pods/0123/logs")).unwrap();
        std::fs::create_dir_all(dir.path().join("layers/.staging-1")).unwrap();
        std::fs::write(upper.join("file"), vec![1; 100_000]).unwrap();
        std::fs::hard_link(upper.join("file"), upper.join("again")).unwrap();
        std::os::unix::fs::symlink("/", upper.join("root")).unwrap();
        let sum: u64 = ["", "deep", "deep/er", "deep/er/file", "deep/er/root"]
            .iter()
            .map(|name| std::fs::symlink_metadata(dir.path().join("pods/0123/upper").join(name)).unwrap().blocks() * 512)
            .sum();
        let items = disk_usage(&DataDir::open(dir.path()).unwrap()).unwrap();
        let kinds: Vec<_> = items.iter().map(|item| (item.kind.as_str(), item.id.as_str(), item.inodes)).collect();
        assert_eq!(kinds, [("container", "0123", 5), ("log", "0123", 1)]);
        assert_eq!(items[0].bytes, sum);
        assert!(sum >= 100_000);
    }

    #[test]
    fn a_folder_nested_without_end_is_walked_as_far_as_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volumes/0123");
        std::fs::create_dir_all(volume.join("d/".repeat(MOST_DEPTH + 50))).unwrap();
        let items = disk_usage(&DataDir::open(dir.path()).unwrap()).unwrap();
        assert_eq!(items[0].inodes, MOST_DEPTH as u64 + 1);
    }
}
