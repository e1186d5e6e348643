//! What a container's files differ in from its image, read off its upper folder: Changes.
//!
//! ```text
//!  upper folder            layers              item
//!  character device 0:0    –                   Deleted
//!  anything                not there           Added
//!  a file                  there               Modified
//!  a folder                a folder            Modified, when something below it is an item, or its mode or owner is another
//!  an opaque folder        a folder            the same, and what it hides Deleted
//! ```
//!
//! See "whiteouts and opaque directories" in the kernel's filesystems/overlayfs. Left out are the places that a start makes to mount on. The walk is
//! by descriptor and follows no link; a program of the container may change things meanwhile.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};

use super::data::{DataDir, child};
use super::failed;
use crate::config::ContainerConfig;
use crate::error::{RuntimeError, SysError};
use crate::id::PodId;
use crate::protocol::{Bytes, Change, ChangeKind, LauncherAnswer};
use crate::rundir::Layout;
use crate::sys::xattr;

/// Each level holds a descriptor for every layer that has the folder, and a container can nest without end.
const MOST_DEPTH: usize = 256;
/// An answer is one frame of 1 MiB; in JSON a byte of a path takes at most 6, and its key 4 of 3.
const MOST_BYTES: usize = 120 << 10;
const MOST_ITEMS: u32 = 10_000;

/// At most `limit` differences after the path `after`. `id_base` is what the ids of the upper folder are shifted by, where it is known.
pub fn changes(
    layout: &Layout,
    pod: &PodId,
    container: &ContainerConfig,
    id_base: Option<u32>,
    page: (Option<&[u8]>, u32),
) -> Result<LauncherAnswer, RuntimeError> {
    let fail = failed("changes");
    let data = DataDir::open(&layout.data_dir)?;
    let step = |at: Option<OwnedFd>, name: &str| match at {
        Some(at) => child(at.as_fd(), name),
        None => Ok(None),
    };
    let path = layout.data(pod).upper(&container.name);
    let hash = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut upper = data.existing("pods")?;
    for name in [pod.as_str(), "upper", hash] {
        upper = step(upper, name).map_err(&fail)?;
    }
    let Some(upper) = upper else { return Ok(LauncherAnswer::Changes { items: Vec::new(), remaining: 0 }) };
    more_descriptors();
    let layers = data.existing("layers")?;
    let mut lowers = Vec::with_capacity(container.rootfs.layers.len());
    for layer in container.rootfs.layers.iter().rev() {
        let layers = layers.as_ref().map(AsFd::as_fd);
        let opened = layers.map(|layers| child(layers, layer.as_str())).transpose().map_err(&fail)?.flatten();
        lowers.push(opened.ok_or_else(|| RuntimeError::NotFound { what: format!("layer {layer}") })?);
    }
    let places = ["proc", "dev", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf"].map(|place| place.as_bytes().to_vec());
    let targets = container.mounts.iter().map(|mount| clean(&mount.target));
    let mut walk = Walk {
        hidden: places.into_iter().chain(targets).collect(),
        id_base,
        after: page.0,
        limit: usize::try_from(page.1.clamp(1, MOST_ITEMS)).unwrap_or(1),
        items: Vec::new(),
        bytes: 0,
        remaining: 0,
    };
    walk.folder(&upper, &lowers, b"", 0).map_err(&fail)?;
    Ok(LauncherAnswer::Changes { items: walk.items, remaining: walk.remaining })
}

/// As many as this process may have.
fn more_descriptors() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn clean(path: &str) -> Vec<u8> {
    path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/").into_bytes()
}

struct Walk<'a> {
    /// Without a first slash.
    hidden: BTreeSet<Vec<u8>>,
    id_base: Option<u32>,
    after: Option<&'a [u8]>,
    limit: usize,
    items: Vec<Change>,
    bytes: usize,
    /// Items that were found and did not fit.
    remaining: u64,
}

/// A name in the upper folder, and what the layers have there.
struct Pair {
    upper: FileStat,
    lower: Option<FileStat>,
    /// The folders of the layers that a folder is merged with.
    lowers: Vec<OwnedFd>,
}

impl Walk<'_> {
    /// What differs in a folder of the upper one; `lowers` are those that it is merged with, or that it hides when it is opaque.
    fn folder(&mut self, upper: &OwnedFd, lowers: &[OwnedFd], path: &[u8], depth: usize) -> Result<(), SysError> {
        let opaque = is_opaque(upper.as_fd());
        let mut names: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
        if opaque {
            for name in merged_names(lowers)? {
                names.insert(name, false);
            }
        }
        for name in list(upper)? {
            names.insert(name, true);
        }
        for (name, in_upper) in names {
            let path = if path.is_empty() { name.clone() } else { [path, b"/", &name].concat() };
            if self.hidden.contains(&path) {
                continue;
            }
            if !in_upper {
                self.put(&path, ChangeKind::Deleted);
                continue;
            }
            // Gone since it was listed: a container runs.
            let Some(pair) = look(upper.as_fd(), lowers, &name)? else { continue };
            // What an opaque folder hides is no lower part of its own.
            let pair = if opaque { Pair { lowers: Vec::new(), ..pair } } else { pair };
            self.pair(upper, &name, pair, &path, depth)?;
        }
        Ok(())
    }

    fn pair(&mut self, parent: &OwnedFd, name: &[u8], pair: Pair, path: &[u8], depth: usize) -> Result<(), SysError> {
        if is_whiteout(&pair.upper) {
            self.put(path, ChangeKind::Deleted);
            return Ok(());
        }
        let folder = if is(&pair.upper, SFlag::S_IFDIR) { open_folder(parent.as_fd(), name)? } else { None };
        match (&pair.lower, &folder) {
            (None, _) => self.put(path, ChangeKind::Added),
            (Some(lower), Some(folder)) if is(lower, SFlag::S_IFDIR) => {
                if self.dressed_otherwise(&pair.upper, lower) || self.has_items(folder, &pair.lowers, path, depth + 1)? {
                    self.put(path, ChangeKind::Modified);
                }
            }
            (Some(_), _) => self.put(path, ChangeKind::Modified),
        }
        match folder {
            Some(folder) if depth < MOST_DEPTH => self.folder(&folder, &pair.lowers, path, depth + 1),
            _ => Ok(()),
        }
    }

    /// Whether anything below a folder is an item: it ends at the first.
    fn has_items(&self, upper: &OwnedFd, lowers: &[OwnedFd], path: &[u8], depth: usize) -> Result<bool, SysError> {
        if is_opaque(upper.as_fd()) && !merged_names(lowers)?.is_empty() {
            return Ok(true);
        }
        for name in list(upper)? {
            let path = if path.is_empty() { name.clone() } else { [path, b"/", &name].concat() };
            if self.hidden.contains(&path) {
                continue;
            }
            let Some(pair) = look(upper.as_fd(), lowers, &name)? else { continue };
            let both = pair.lower.as_ref().filter(|lower| is(lower, SFlag::S_IFDIR) && is(&pair.upper, SFlag::S_IFDIR));
            let Some(lower) = both else { return Ok(true) };
            if self.dressed_otherwise(&pair.upper, lower) {
                return Ok(true);
            }
            if depth < MOST_DEPTH
                && let Some(folder) = open_folder(upper.as_fd(), &name)?
                && self.has_items(&folder, &pair.lowers, &path, depth + 1)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn dressed_otherwise(&self, upper: &FileStat, lower: &FileStat) -> bool {
        let owner = self.id_base.is_some_and(|base| upper.st_uid != base + lower.st_uid || upper.st_gid != base + lower.st_gid);
        upper.st_mode != lower.st_mode || owner
    }

    fn put(&mut self, path: &[u8], kind: ChangeKind) {
        if self.after.is_some_and(|after| order(path, after) != Ordering::Greater) {
            return;
        }
        if self.remaining > 0 || self.items.len() == self.limit || self.bytes + path.len() > MOST_BYTES {
            self.remaining += 1;
            return;
        }
        self.bytes += path.len();
        self.items.push(Change { path: format!("/{}", String::from_utf8_lossy(path)), key: Bytes(path.to_vec()), kind });
    }
}

/// A folder before what is in it, and names by their bytes: the order of the walk.
fn order(a: &[u8], b: &[u8]) -> Ordering {
    a.split(|&byte| byte == b'/').cmp(b.split(|&byte| byte == b'/'))
}

fn is(stat: &FileStat, kind: SFlag) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

fn is_whiteout(stat: &FileStat) -> bool {
    is(stat, SFlag::S_IFCHR) && stat.st_rdev == 0
}

fn is_opaque(folder: BorrowedFd<'_>) -> bool {
    matches!(xattr::get(folder, b"trusted.overlay.opaque", 1), Ok(Some(value)) if value == b"y")
}

fn stat_at(folder: BorrowedFd<'_>, name: &[u8]) -> Result<Option<FileStat>, SysError> {
    match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(SysError::new("fstatat", String::from_utf8_lossy(name), errno)),
    }
}

fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<OwnedFd>, SysError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(parent, name, flags, Mode::empty()) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
        Err(errno) => Err(SysError::new("openat", String::from_utf8_lossy(name), errno)),
    }
}

/// The uppermost thing that the layers have at a name, past what they remove themselves.
fn look(upper: BorrowedFd<'_>, lowers: &[OwnedFd], name: &[u8]) -> Result<Option<Pair>, SysError> {
    let Some(stat) = stat_at(upper, name)? else { return Ok(None) };
    let mut pair = Pair { upper: stat, lower: None, lowers: Vec::new() };
    for layer in lowers {
        let Some(stat) = stat_at(layer.as_fd(), name)? else { continue };
        let folder = is(&stat, SFlag::S_IFDIR);
        if is_whiteout(&stat) || (pair.lower.is_some() && !folder) {
            break;
        }
        pair.lower = pair.lower.or(Some(stat));
        if !folder {
            break;
        }
        if let Some(folder) = open_folder(layer.as_fd(), name)? {
            let opaque = is_opaque(folder.as_fd());
            pair.lowers.push(folder);
            if opaque {
                break;
            }
        }
    }
    Ok(Some(pair))
}

fn list(folder: &OwnedFd) -> Result<Vec<Vec<u8>>, SysError> {
    let failed = |errno| SysError::new("getdents64", "folder", errno);
    let mut names = Vec::new();
    for entry in Dir::openat(folder, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?.iter() {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What folders of layers show together.
fn merged_names(lowers: &[OwnedFd]) -> Result<BTreeSet<Vec<u8>>, SysError> {
    let (mut shown, mut removed) = (BTreeSet::new(), BTreeSet::new());
    for layer in lowers {
        for name in list(layer)? {
            if removed.contains(&name) {
                continue;
            }
            match stat_at(layer.as_fd(), &name)? {
                Some(stat) if is_whiteout(&stat) && !shown.contains(&name) => drop(removed.insert(name)),
                Some(_) => drop(shown.insert(name)),
                None => {}
            }
        }
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_before_what_is_in_it() {
        let mut paths = [&b"a-b"[..], b"a/c", b"a", b"b", b"a/b"];
        paths.sort_by(|a, b| order(a, b));
        assert_eq!(paths, [&b"a"[..], b"a/b", b"a/c", b"a-b", b"b"]);
    }
}
