//! Places inside a root that an image controls: mount targets, masks, read-only paths.
//!
//! Every look-up goes through openat2 with the root as its `/`: a symbolic link in an image leads inside the image, never out.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};
use nix::unistd::{Gid, Uid, fchownat};

use crate::error::SysError;
use crate::sys::mount::{FsContext, Reach, attach, attr, clone_tree, open_in_root, set_attributes};
use crate::trace::Trace;

/// A descriptor of `target` below `root`, made with its parents where it is missing. A directory stands for a directory only, and a file
/// for anything else but one.
pub(super) fn find_or_make(root: BorrowedFd<'_>, target: &str, directory: bool) -> Result<OwnedFd, SysError> {
    find_or_make_for(root, target, directory, None)
}

/// The same, for a caller that is not root inside: what is made belongs to `owner`.
pub(crate) fn find_or_make_for(
    root: BorrowedFd<'_>,
    target: &str,
    directory: bool,
    owner: Option<(u32, u32)>,
) -> Result<OwnedFd, SysError> {
    let kind = if directory { OFlag::O_DIRECTORY } else { OFlag::empty() };
    match open_in_root(root, target, OFlag::O_PATH | kind) {
        Err(error) if error.source == Errno::ENOENT => {}
        other => return other,
    }
    let parts: Vec<_> = target.split('/').filter(|part| !part.is_empty()).collect();
    let Some((last, parents)) = parts.split_last() else {
        return open_in_root(root, "/", OFlag::O_PATH | kind);
    };
    let mut path = String::new();
    let mut parent = open_in_root(root, "/", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    for part in parents {
        path.push('/');
        path.push_str(part);
        parent = match open_in_root(root, &path, OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Err(error) if error.source == Errno::ENOENT => {
                make_directory(&parent, part)?;
                give(&parent, part, owner)?;
                open_in_root(root, &path, OFlag::O_PATH | OFlag::O_DIRECTORY)?
            }
            other => other?,
        };
    }
    if directory {
        make_directory(&parent, last)?;
    } else {
        mknodat(&parent, *last, SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0)
            .map_err(|errno| SysError::new("mknodat", target, errno))?;
    }
    give(&parent, last, owner)?;
    open_in_root(root, target, OFlag::O_PATH | kind)
}

/// A dangling symbolic link is EEXIST here: it is not followed, and its target is not made.
fn make_directory(parent: &OwnedFd, name: &str) -> Result<(), SysError> {
    mkdirat(parent, name, Mode::from_bits_truncate(0o755)).map_err(|errno| SysError::new("mkdirat", name, errno))
}

fn give(parent: &OwnedFd, name: &str, owner: Option<(u32, u32)>) -> Result<(), SysError> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    fchownat(parent, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::AT_SYMLINK_NOFOLLOW)
        .map_err(|errno| SysError::new("fchownat", name, errno))
}

/// Covers what is there of `paths`: a file with /dev/null, a directory with an empty read-only tmpfs that all of them share.
pub(super) fn mask(root: BorrowedFd<'_>, paths: &[std::borrow::Cow<'static, str>], trace: &mut Trace) -> Result<(), SysError> {
    let dev = open_in_root(root, "/dev", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    let mut empty: Option<OwnedFd> = None;
    let mut covered = Vec::new();
    let outcome =
        trace.run("move_mount", ["masked paths".into()], "mount --bind /dev/null <path>; mount -t tmpfs -o ro tmpfs <path>", || {
            for path in paths {
                let Some(place) = look(root, path)? else { continue };
                let metadata = nix::sys::stat::fstat(&place).map_err(|errno| SysError::new("fstat", path, errno))?;
                let cover = if SFlag::from_bits_truncate(metadata.st_mode).contains(SFlag::S_IFDIR) {
                    match &empty {
                        // A copy of the first one once that is attached: one superblock for all.
                        Some(first) => clone_tree(first.as_fd(), "", Reach::One)?,
                        None => {
                            let context = FsContext::open("tmpfs")?;
                            context.set("size", "0")?;
                            context.set("nr_inodes", "1")?;
                            context.mount(attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC)?
                        }
                    }
                } else {
                    // /dev is the tmpfs that the shim made: its null is the real one.
                    clone_tree(dev.as_fd(), "null", Reach::One)?
                };
                attach(cover.as_fd(), place.as_fd(), path)?;
                if empty.is_none() && SFlag::from_bits_truncate(metadata.st_mode).contains(SFlag::S_IFDIR) {
                    empty = Some(cover);
                }
                covered.push(path.as_ref());
            }
            Ok(())
        });
    if let Some(last) = trace.last_mut() {
        last.arguments = covered.into_iter().map(str::to_owned).collect();
    }
    outcome
}

/// Covers what is there of `paths` with itself, read-only.
pub(super) fn make_read_only(root: BorrowedFd<'_>, paths: &[&str], trace: &mut Trace) -> Result<(), SysError> {
    for path in paths {
        let Some(place) = look(root, path)? else { continue };
        trace.run(
            "mount_setattr",
            [(*path).to_owned(), "MOUNT_ATTR_RDONLY".into()],
            format!("mount --bind -o ro {path} {path}"),
            || {
                let copy = clone_tree(place.as_fd(), "", Reach::Recursive)?;
                set_attributes(copy.as_fd(), attr::RDONLY, Reach::Recursive)?;
                attach(copy.as_fd(), place.as_fd(), path)
            },
        )?;
    }
    Ok(())
}

fn look(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, SysError> {
    match open_in_root(root, path, OFlag::O_PATH) {
        Ok(place) => Ok(Some(place)),
        Err(error) if matches!(error.source, Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => Ok(None),
        Err(error) => Err(error),
    }
}
