//! Members to files: every step relative to a descriptor, beneath one root, with the later of two entries winning.
//!
//! Whiteouts become what overlayfs understands: `.wh.name` a character device 0:0, `.wh..wh..opq` the attribute `trusted.overlay.opaque`
//! (OCI image specification, "Image Layer Filesystem Changeset"; kernel, filesystems/overlayfs). Device nodes and sockets are left out
//! with a note: a container's /dev is made by the runtime.
//!
//! Links in the folder part of a name are followed as inside a container, `/` being the layer (Debian's `bin -> usr/bin` would not unpack
//! otherwise); the last part never is. Not atomic: whoever calls removes the folder after an error.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, futimens, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat};
use serde::{Deserialize, Serialize};

use super::attributes::{self, Verdict};
use super::error::{ImageError, display};
use super::folders::{Folders, Place};
use super::input::{Input, Limits};
use super::member::{Kind, Member, Members};
use super::notes::Notes;
use super::path::EntryPath;
use super::tree::{Found, failed, look, open_within};
use crate::error::SysError;
use crate::id::LayerId;
use crate::sys::xattr;

/// What an archive became.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// The sha256 of the uncompressed tar: the DiffID.
    pub layer: LayerId,
    /// `sha256:` and the digest of the bytes as they came; that of the tar itself when it was not compressed.
    pub compressed_digest: String,
    /// Bytes of all files, holes included.
    pub size: u64,
    /// Files, folders, links and whiteouts, with folders that no entry named.
    pub entries: u64,
    /// What was left out, for people: a line a kind, with how many and the first one's name.
    pub notes: Vec<String>,
}

/// Marks an open folder as opaque. A function, as only privileges that the unpacker has given up can set the attribute.
pub type MarkOpaque<'a> = dyn FnMut(BorrowedFd<'_>) -> Result<(), SysError> + 'a;

/// Unpacks one layer into the empty folder `root`.
///
/// Needs CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID and CAP_SETFCAP. Fails with `Archive` for what is damaged, hostile, over a
/// limit or no archive, and with `System` when a call fails (ENOSPC, EIO, EPERM).
pub fn unpack(source: impl Read, root: OwnedFd, limits: Limits, mark_opaque: &mut MarkOpaque<'_>) -> Result<Unpacked, ImageError> {
    let input = Input::new(source, limits.max_bytes).map_err(|error| ImageError::archive(b"", error.to_string()))?;
    let mut members = Members::new(input, limits.require_end);
    let folders = Folders::new(root, mark_opaque);
    let mut unpacker = Unpacker { folders, limits, size: 0, entries: 0, notes: Notes::default(), buffer: vec![0; 256 << 10] };
    while let Some(member) = members.next()? {
        unpacker.apply(&member, &mut members)?;
    }
    unpacker.folders.set_times()?;
    let digests = members.digests();
    let layer = digests.plain.parse().map_err(|error| ImageError::archive(b"", format!("its digest: {error}")))?;
    Ok(Unpacked {
        layer,
        compressed_digest: format!("sha256:{}", digests.compressed),
        size: unpacker.size,
        entries: unpacker.entries,
        notes: unpacker.notes.lines(),
    })
}

struct Unpacker<'a, 'b> {
    folders: Folders<'a, 'b>,
    limits: Limits,
    size: u64,
    entries: u64,
    notes: Notes,
    buffer: Vec<u8>,
}

impl Unpacker<'_, '_> {
    fn apply(&mut self, member: &Member, members: &mut Members<'_>) -> Result<(), ImageError> {
        let entry = member.path.as_slice();
        let path = EntryPath::parse(entry).map_err(|fault| ImageError::archive(entry, fault))?;
        self.count(1, entry)?;
        let Some((folder, name)) = path.split() else {
            if member.kind != Kind::Directory {
                return Err(ImageError::archive(entry, "the root of a layer must be a folder"));
            }
            let root = self.folders.root().try_clone_to_owned();
            let root = root.map_err(|error| ImageError::call(entry, SysError::io("fcntl", "root", &error)))?;
            return self.dress_folder(member, path, root.as_fd());
        };
        if folder.split(|&byte| byte == b'/').any(|component| component.starts_with(b".wh.")) {
            return Err(ImageError::archive(entry, "a folder in its path has a whiteout's name"));
        }
        let place = Place { entry, folder, name };
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            return self.whiteout(&place, hidden, member.kind);
        }
        match member.kind {
            Kind::Directory => self.folder(member, &path, &place),
            Kind::File => self.file(member, &place, members),
            Kind::HardLink => self.hard_link(member, &place),
            Kind::Symlink => self.symlink(member, &place),
            Kind::Fifo => self.fifo(member, &place),
            Kind::Device => {
                self.notes.add("device node left out", entry);
                Ok(())
            }
        }
    }

    fn count(&mut self, more: u64, entry: &[u8]) -> Result<(), ImageError> {
        self.entries += more;
        if self.entries > self.limits.max_entries {
            return Err(ImageError::archive(entry, format!("the archive is over the limit of {} entries", self.limits.max_entries)));
        }
        Ok(())
    }

    /// Opens the folder that the entry goes to.
    fn enter(&mut self, place: &Place<'_>) -> Result<(), ImageError> {
        let made = self.folders.enter(place)?;
        self.count(made, place.entry)
    }

    /// The same, and makes room there for something that is no folder.
    fn enter_and_clear(&mut self, place: &Place<'_>) -> Result<(), ImageError> {
        self.enter(place)?;
        self.folders.clear(place)
    }

    fn folder(&mut self, member: &Member, path: &EntryPath, place: &Place<'_>) -> Result<(), ImageError> {
        self.enter(place)?;
        let folder = self.folders.make(place)?;
        self.dress_folder(member, path.clone(), folder.as_fd())
    }

    /// Owner, mode and attributes of a folder now, its time at the end.
    fn dress_folder(&mut self, member: &Member, path: EntryPath, folder: BorrowedFd<'_>) -> Result<(), ImageError> {
        self.dress(member, folder)?;
        self.folders.remember_time(&member.path, path, time(member))
    }

    /// Owner, then mode, then attributes: a change of owner clears set-id bits and capabilities.
    fn dress(&mut self, member: &Member, fd: BorrowedFd<'_>) -> Result<(), ImageError> {
        let call = |error| ImageError::call(&member.path, error);
        let (uid, gid) = owner(member);
        fchown(fd, uid, gid).map_err(|errno| call(failed("fchown", &member.path, errno)))?;
        fchmod(fd, Mode::from_bits_truncate(member.mode)).map_err(|errno| call(failed("fchmod", &member.path, errno)))?;
        for (name, value) in &member.xattrs {
            match attributes::judge(name, value, member.kind).map_err(|fault| ImageError::archive(&member.path, fault))? {
                Verdict::Keep => match xattr::set(fd, name, value) {
                    Err(error) if error.source == Errno::ENOTSUP && name.starts_with(b"user.") => {
                        self.notes.add("user attribute left out, as the file system has none", &member.path);
                    }
                    outcome => outcome.map_err(call)?,
                },
                Verdict::LeaveOut(what) => self.notes.add(what, &member.path),
            }
        }
        Ok(())
    }

    fn file(&mut self, member: &Member, place: &Place<'_>, members: &mut Members<'_>) -> Result<(), ImageError> {
        if member.size > self.limits.max_bytes - self.size {
            return Err(ImageError::archive(place.entry, format!("the files are over the limit of {} bytes", self.limits.max_bytes)));
        }
        self.size += member.size;
        self.enter_and_clear(place)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(self.folders.at(place)?, place.name, flags, Mode::from_bits_truncate(0o600));
        let file = File::from(file.map_err(|errno| place.failed("openat", errno))?);
        self.write(member, &file, members)?;
        self.dress(member, file.as_fd())?;
        futimens(&file, &time(member), &time(member)).map_err(|errno| place.failed("futimens", errno))
    }

    fn write(&mut self, member: &Member, mut file: &File, members: &mut Members<'_>) -> Result<(), ImageError> {
        let io =
            |error: std::io::Error| ImageError::call(&member.path, SysError::io("write", String::from_utf8_lossy(&member.path), &error));
        let Some(map) = &member.map else {
            loop {
                let length = members.read(&mut self.buffer)?;
                if length == 0 {
                    return Ok(());
                }
                file.write_all(&self.buffer[..length]).map_err(io)?;
            }
        };
        file.set_len(member.size).map_err(io)?;
        for extent in &map.extents {
            let mut done = 0;
            while done < extent.length {
                let most = usize::try_from(extent.length - done).unwrap_or(usize::MAX).min(self.buffer.len());
                let length = members.read(&mut self.buffer[..most])?;
                if length == 0 {
                    return Err(ImageError::archive(&member.path, "its sparse map asks for more than it has"));
                }
                file.write_all_at(&self.buffer[..length], extent.offset + done).map_err(io)?;
                done += length as u64;
            }
        }
        Ok(())
    }

    fn hard_link(&mut self, member: &Member, place: &Place<'_>) -> Result<(), ImageError> {
        let bad = |fault: &str| ImageError::archive(place.entry, format!("hard link to {:?}: {fault}", display(&member.link)));
        let call = |error| ImageError::call(place.entry, error);
        let target = EntryPath::parse(&member.link).map_err(bad)?;
        let Some((folder, name)) = target.split() else { return Err(bad("it is the root")) };
        let from = match open_within(self.folders.root(), folder, OFlag::O_PATH) {
            Ok(from) => from,
            Err(Errno::ENOENT) => return Err(bad("it is not in this layer")),
            Err(errno) => return Err(call(failed("openat2", folder, errno))),
        };
        let (found, stat) = look(from.as_fd(), name).map_err(call)?;
        match found {
            Found::Nothing => return Err(bad("it is not in this layer")),
            Found::Directory => return Err(bad("it is a folder")),
            Found::Whiteout => return Err(bad("it is removed in this layer")),
            Found::Symlink | Found::Other => {}
        }
        self.enter(place)?;
        let there = look(self.folders.at(place)?, place.name).map_err(call)?.1;
        if there.zip(stat).is_some_and(|(a, b)| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)) {
            return Ok(());
        }
        self.folders.clear(place)?;
        // Without AT_SYMLINK_FOLLOW: a link to a symbolic link is one more name of that link.
        match linkat(from.as_fd(), name, self.folders.at(place)?, place.name, AtFlags::empty()) {
            // The entry took the place of a folder that its target was in.
            Err(Errno::ENOENT) => Err(bad("it is not in this layer any more")),
            outcome => outcome.map_err(|errno| place.failed("linkat", errno)),
        }
    }

    fn symlink(&mut self, member: &Member, place: &Place<'_>) -> Result<(), ImageError> {
        if member.link.is_empty() || member.link.len() > 4095 || member.link.contains(&0) {
            return Err(ImageError::archive(place.entry, "a symbolic link's target is empty, longer than 4095 bytes or contains NUL"));
        }
        self.enter_and_clear(place)?;
        symlinkat(member.link.as_slice(), self.folders.at(place)?, place.name).map_err(|errno| place.failed("symlinkat", errno))?;
        self.dress_by_name(member, place)
    }

    fn fifo(&mut self, member: &Member, place: &Place<'_>) -> Result<(), ImageError> {
        self.enter_and_clear(place)?;
        let made = mknodat(self.folders.at(place)?, place.name, SFlag::S_IFIFO, Mode::from_bits_truncate(0o600), 0);
        made.map_err(|errno| place.failed("mknodat", errno))?;
        self.dress_by_name(member, place)?;
        // Follows links, but this was just made, and nobody else is in this folder.
        let mode = Mode::from_bits_truncate(member.mode);
        let changed = fchmodat(self.folders.at(place)?, place.name, mode, FchmodatFlags::FollowSymlink);
        changed.map_err(|errno| place.failed("fchmodat", errno))
    }

    /// Owner and time of what cannot be opened without effect.
    fn dress_by_name(&mut self, member: &Member, place: &Place<'_>) -> Result<(), ImageError> {
        if !member.xattrs.is_empty() {
            self.notes.add("attributes of a link or FIFO left out", place.entry);
        }
        let parent = self.folders.at(place)?;
        let (uid, gid) = owner(member);
        fchownat(parent, place.name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(|errno| place.failed("fchownat", errno))?;
        let dated = utimensat(parent, place.name, &time(member), &time(member), UtimensatFlags::NoFollowSymlink);
        dated.map_err(|errno| place.failed("utimensat", errno))
    }

    fn whiteout(&mut self, place: &Place<'_>, hidden: &[u8], kind: Kind) -> Result<(), ImageError> {
        if !matches!(kind, Kind::File | Kind::HardLink) {
            return Err(ImageError::archive(place.entry, "a whiteout that is not a file"));
        }
        match hidden {
            b".wh..opq" => {
                self.enter(place)?;
                return self.folders.hide_lower(place, b"");
            }
            b"" | b"." | b".." => {
                return Err(ImageError::archive(place.entry, "a whiteout of nothing, of its own folder or of the one above"));
            }
            _ if hidden.starts_with(b".wh.") => {
                self.notes.add("AUFS bookkeeping left out", place.entry);
                return Ok(());
            }
            _ => self.enter(place)?,
        }
        let parent = self.folders.at(place)?;
        match look(parent, hidden).map_err(|error| ImageError::call(place.entry, error))?.0 {
            Found::Nothing => mknodat(parent, hidden, SFlag::S_IFCHR, Mode::empty(), 0).map_err(|errno| place.failed("mknodat", errno)),
            // The specification: a whiteout hides what is in lower layers only. This layer's folder stays, and hides them all.
            Found::Directory => self.folders.hide_lower(place, hidden),
            // This layer's own file hides them already.
            Found::Symlink | Found::Whiteout | Found::Other => Ok(()),
        }
    }
}

fn owner(member: &Member) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(member.uid)), Some(Gid::from_raw(member.gid)))
}

fn time(member: &Member) -> TimeSpec {
    TimeSpec::new(member.mtime.0, member.mtime.1)
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
