//! Members to files in a folder that is alive: a container's, whose programs may change anything of it meanwhile.
//!
//! As Docker's `PUT …/archive`: names are relative to the folder, what is there already gives way, a folder merges with a folder, owners are ids
//! of the container. A file appears whole or not at all: it is written beside its place and renamed to it. What came before a fault stays.
//!
//! Whoever calls has made the container's root its own (`crate::worker`), so there is nothing outside that a swapped link could lead to; all the
//! same no name is opened but relative to a descriptor, and the last part of one never follows a link. Owners and modes are set on descriptors:
//! by name, a program that swaps the name would be given another's file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, renameat};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmod, fstat, futimens, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};
use serde::{Deserialize, Serialize};

use super::attributes::{self, Verdict};
use super::error::{ImageError, display};
use super::input::Input;
use super::member::{Kind, Member, Members};
use super::path::EntryPath;
use super::tree::{Found, failed, look, remove_at};
use crate::error::SysError;
use crate::sys::{mount, xattr};

/// The most memory, in bytes of path, that remembering the times of folders may take.
const MOST_BYTES: usize = 64 << 20;

/// Where members go.
#[derive(Debug)]
pub struct Destination {
    /// The container's.
    pub root: OwnedFd,
    /// Open for reading.
    pub folder: OwnedFd,
    /// How that was found from the root.
    pub path: Vec<u8>,
    /// Refuse to put a file where a folder is, and a folder where a file is.
    pub keep_kinds: bool,
}

/// What was put.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extracted {
    pub entries: u64,
    /// Of all files, holes included.
    pub bytes: u64,
}

/// Puts every member of a tar (plain, gzip or zstd) into the folder.
///
/// Fails with `Archive`, which names the entry, for what is damaged or hostile or cannot be in a container, and with `System` when a call fails
/// (ENOSPC, EROFS, EBUSY on a mount point).
pub fn extract(source: impl Read, destination: &Destination) -> Result<Extracted, ImageError> {
    let input = Input::new(source, i64::MAX.cast_unsigned()).map_err(|error| ImageError::archive(b"", error.to_string()))?;
    let mut members = Members::new(input, true);
    let mut extractor = Extractor {
        to: destination,
        done: Extracted::default(),
        last: None,
        times: BTreeMap::new(),
        times_bytes: 0,
        buffer: vec![0; 256 << 10],
    };
    // Modes are as the archive says.
    let umask = nix::sys::stat::umask(Mode::empty());
    let outcome = extractor.all(&mut members);
    nix::sys::stat::umask(umask);
    outcome.map(|()| extractor.done)
}

struct Extractor<'a> {
    to: &'a Destination,
    done: Extracted,
    /// The folder of the last name, open: most names are in the same folder as the one before.
    last: Option<(Vec<u8>, OwnedFd)>,
    /// Set last, as every new name in a folder changes its time.
    times: BTreeMap<EntryPath, TimeSpec>,
    times_bytes: usize,
    buffer: Vec<u8>,
}

/// A name in an open folder.
struct Place<'a> {
    entry: &'a [u8],
    folder: OwnedFd,
    name: &'a [u8],
}

impl Place<'_> {
    fn failed(&self, call: &'static str) -> impl Fn(Errno) -> ImageError {
        let (entry, name) = (self.entry.to_vec(), self.name.to_vec());
        move |errno| fault(&entry, failed(call, &name, errno))
    }
}

/// A failed call, in words where the errno has one cause only.
fn fault(entry: &[u8], error: SysError) -> ImageError {
    match (error.source, error.call) {
        (Errno::EINVAL, "fchown" | "fchownat") => ImageError::archive(entry, "its owner is no id of the container"),
        (Errno::EXDEV, _) => ImageError::archive(entry, "something is mounted below it"),
        _ => ImageError::call(entry, error),
    }
}

impl Extractor<'_> {
    fn all(&mut self, members: &mut Members<'_>) -> Result<(), ImageError> {
        while let Some(member) = members.next()? {
            self.apply(&member, members)?;
            self.done.entries += 1;
        }
        self.set_times()
    }

    fn apply(&mut self, member: &Member, members: &mut Members<'_>) -> Result<(), ImageError> {
        let entry = member.path.as_slice();
        let path = EntryPath::parse(entry).map_err(|fault| ImageError::archive(entry, fault))?;
        let Some((folder, name)) = path.split() else {
            // `./`: the folder stays as it is, as with Docker.
            return match member.kind {
                Kind::Directory => Ok(()),
                _ => Err(ImageError::archive(entry, "it would take the place of the folder that the archive goes to")),
            };
        };
        if member.kind == Kind::Device {
            return Err(ImageError::archive(entry, "a device node: a container has no others than those it is given"));
        }
        let place = Place { entry, folder: self.enter(entry, folder)?, name };
        match member.kind {
            Kind::Directory => self.folder(member, &path, &place),
            Kind::File => self.file(member, &place, members),
            Kind::HardLink => self.hard_link(member, &place),
            Kind::Symlink | Kind::Fifo | Kind::Device => self.node(member, &place),
        }
    }

    /// Opens the folder of a name, and makes those that no entry has named.
    fn enter(&mut self, entry: &[u8], folder: &[u8]) -> Result<OwnedFd, ImageError> {
        let copy = |fd: &OwnedFd| fd.try_clone().map_err(|error| ImageError::call(entry, SysError::io("fcntl", "folder", &error)));
        if let Some((path, fd)) = &self.last
            && path == folder
        {
            return copy(fd);
        }
        let opened = match self.open(folder, OFlag::O_PATH) {
            Err(Errno::ENOENT) => self.walk(entry, folder)?,
            other => other.map_err(|errno| fault(entry, failed("openat2", folder, errno)))?,
        };
        if let Some(kind) = mount::kernel_file_system(opened.as_fd()).map_err(|error| fault(entry, error))? {
            return Err(ImageError::archive(entry, format!("it would lie in a {kind} file system, which holds no files of its own")));
        }
        self.last = Some((folder.to_vec(), copy(&opened)?));
        Ok(opened)
    }

    /// A folder below the destination. A symbolic link in its path leads where it leads inside the container.
    fn open(&self, folder: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        match open_folder(self.to.folder.as_fd(), folder, flags, resolve) {
            Err(Errno::ELOOP) => {
                let whole = [self.to.path.as_slice(), b"/", folder].concat();
                let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
                open_folder(self.to.root.as_fd(), &whole, flags, resolve)
            }
            other => other,
        }
    }

    fn walk(&self, entry: &[u8], folder: &[u8]) -> Result<OwnedFd, ImageError> {
        let mut length = 0;
        let mut current = self.open(b"", OFlag::O_RDONLY).map_err(|errno| fault(entry, failed("openat2", b".", errno)))?;
        for name in folder.split(|&byte| byte == b'/') {
            length += name.len() + usize::from(length > 0);
            let path = &folder[..length];
            let at = |call: &'static str| move |errno| fault(entry, failed(call, path, errno));
            current = match self.open(path, OFlag::O_RDONLY) {
                Err(Errno::ENOENT) => {
                    match mkdirat(&current, name, Mode::from_bits_truncate(0o755)) {
                        Ok(()) => {}
                        // Not a folder that somebody made meanwhile, but a link that leads nowhere.
                        Err(Errno::EEXIST) if look(current.as_fd(), name).is_ok_and(|(found, _)| found == Found::Symlink) => {
                            return Err(ImageError::archive(entry, "a folder in its path is a symbolic link that leads nowhere"));
                        }
                        Err(Errno::EEXIST) => {}
                        Err(errno) => return Err(at("mkdirat")(errno)),
                    }
                    self.open(path, OFlag::O_RDONLY).map_err(at("openat2"))?
                }
                other => other.map_err(at("openat2"))?,
            };
        }
        Ok(current)
    }

    fn folder(&mut self, member: &Member, path: &EntryPath, place: &Place<'_>) -> Result<(), ImageError> {
        let (found, _) = look(place.folder.as_fd(), place.name).map_err(|error| fault(place.entry, error))?;
        if found != Found::Directory {
            if found != Found::Nothing {
                self.may_replace(place, "a folder", "something else")?;
                self.clear(place, found)?;
            }
            match mkdirat(&place.folder, place.name, Mode::from_bits_truncate(0o700)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(place.failed("mkdirat")(errno)),
            }
        }
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        let folder = open_folder(place.folder.as_fd(), place.name, OFlag::O_RDONLY, resolve).map_err(place.failed("openat2"))?;
        self.dress(member, folder.as_fd(), place)?;
        self.remember_time(place.entry, path, time(member))
    }

    fn file(&mut self, member: &Member, place: &Place<'_>, members: &mut Members<'_>) -> Result<(), ImageError> {
        let beside = Beside::new(place);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&place.folder, beside.name.as_str(), flags, Mode::from_bits_truncate(0o600));
        let file = File::from(file.map_err(place.failed("openat"))?);
        self.write(member, &file, members)?;
        self.dress(member, file.as_fd(), place)?;
        futimens(&file, &time(member), &time(member)).map_err(place.failed("futimens"))?;
        self.make_room(place)?;
        beside.put(place)?;
        self.done.bytes += member.size;
        Ok(())
    }

    fn write(&mut self, member: &Member, mut file: &File, members: &mut Members<'_>) -> Result<(), ImageError> {
        let entry = member.path.as_slice();
        let io = |error: std::io::Error| ImageError::call(entry, SysError::io("write", display(entry), &error));
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
                    return Err(ImageError::archive(entry, "its sparse map asks for more than it has"));
                }
                file.write_all_at(&self.buffer[..length], extent.offset + done).map_err(io)?;
                done += length as u64;
            }
        }
        Ok(())
    }

    /// Owner, then mode, then attributes: a change of owner clears set-id bits and capabilities.
    fn dress(&self, member: &Member, fd: BorrowedFd<'_>, place: &Place<'_>) -> Result<(), ImageError> {
        let (uid, gid) = owner(member);
        fchown(fd, uid, gid).map_err(place.failed("fchown"))?;
        fchmod(fd, Mode::from_bits_truncate(member.mode)).map_err(place.failed("fchmod"))?;
        for (name, value) in &member.xattrs {
            if attributes::judge(name, value, member.kind).map_err(|what| ImageError::archive(place.entry, what))? == Verdict::Keep {
                match xattr::set(fd, name, value) {
                    // A tmpfs has none.
                    Err(error) if error.source == Errno::ENOTSUP && name.starts_with(b"user.") => {}
                    outcome => outcome.map_err(|error| fault(place.entry, error))?,
                }
            }
        }
        Ok(())
    }

    /// A symbolic link or a FIFO: what cannot be opened without effect.
    fn node(&mut self, member: &Member, place: &Place<'_>) -> Result<(), ImageError> {
        let beside = Beside::new(place);
        let kind = if member.kind == Kind::Symlink {
            if member.link.is_empty() || member.link.len() > 4095 || member.link.contains(&0) {
                return Err(ImageError::archive(place.entry, "a symbolic link's target is empty, longer than 4095 bytes or contains NUL"));
            }
            symlinkat(member.link.as_slice(), &place.folder, beside.name.as_str()).map_err(place.failed("symlinkat"))?;
            SFlag::S_IFLNK
        } else {
            let mode = Mode::from_bits_truncate(member.mode & 0o777);
            mknodat(&place.folder, beside.name.as_str(), SFlag::S_IFIFO, mode, 0).map_err(place.failed("mknodat"))?;
            SFlag::S_IFIFO
        };
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = openat(&place.folder, beside.name.as_str(), flags, Mode::empty()).map_err(place.failed("openat"))?;
        let stat = fstat(&made).map_err(place.failed("fstat"))?;
        if stat.st_mode & SFlag::S_IFMT.bits() != kind.bits() || stat.st_nlink != 1 {
            return Err(ImageError::archive(place.entry, "a program of the container took its place while it was made"));
        }
        let (uid, gid) = owner(member);
        fchownat(&made, c"", uid, gid, AtFlags::AT_EMPTY_PATH).map_err(place.failed("fchownat"))?;
        let time = time(member);
        utimensat(&place.folder, beside.name.as_str(), &time, &time, UtimensatFlags::NoFollowSymlink).map_err(place.failed("utimensat"))?;
        self.make_room(place)?;
        beside.put(place)
    }

    fn hard_link(&mut self, member: &Member, place: &Place<'_>) -> Result<(), ImageError> {
        let bad = |fault: &str| ImageError::archive(place.entry, format!("hard link to {:?}: {fault}", display(&member.link)));
        let target = EntryPath::parse(&member.link).map_err(bad)?;
        let Some((folder, name)) = target.split() else { return Err(bad("it is the folder that the archive goes to")) };
        let from = match self.open(folder, OFlag::O_PATH) {
            Err(Errno::ENOENT) => return Err(bad("it does not exist")),
            other => other.map_err(place.failed("openat2"))?,
        };
        let (found, stat) = look(from.as_fd(), name).map_err(|error| fault(place.entry, error))?;
        match found {
            Found::Nothing => return Err(bad("it does not exist")),
            Found::Directory => return Err(bad("it is a folder")),
            Found::Symlink | Found::Whiteout | Found::Other => {}
        }
        let there = look(place.folder.as_fd(), place.name).map_err(|error| fault(place.entry, error))?.1;
        if there.zip(stat).is_some_and(|(a, b)| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)) {
            return Ok(());
        }
        let beside = Beside::new(place);
        // Without AT_SYMLINK_FOLLOW: a link to a symbolic link is one more name of that link.
        match linkat(&from, name, &place.folder, beside.name.as_str(), AtFlags::empty()) {
            Err(Errno::EXDEV) => return Err(bad("it is in another file system")),
            outcome => outcome.map_err(place.failed("linkat"))?,
        }
        self.make_room(place)?;
        beside.put(place)
    }

    /// A folder gives way here; anything else does so to the rename.
    fn make_room(&mut self, place: &Place<'_>) -> Result<(), ImageError> {
        let (found, _) = look(place.folder.as_fd(), place.name).map_err(|error| fault(place.entry, error))?;
        if found == Found::Directory {
            self.may_replace(place, "no folder", "a folder")?;
            self.clear(place, found)?;
        }
        Ok(())
    }

    fn may_replace(&self, place: &Place<'_>, new: &str, there: &str) -> Result<(), ImageError> {
        if self.to.keep_kinds {
            return Err(ImageError::archive(place.entry, format!("it is {new}, and {there} is in its place")));
        }
        Ok(())
    }

    fn clear(&mut self, place: &Place<'_>, found: Found) -> Result<(), ImageError> {
        // What is open may have been below it.
        self.last = None;
        if found == Found::Directory {
            return remove_at(place.folder.as_fd(), OsStr::from_bytes(place.name)).map_err(|error| fault(place.entry, error));
        }
        match unlinkat(&place.folder, place.name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::ENOENT) => Ok(()),
            outcome => outcome.map_err(place.failed("unlinkat")),
        }
    }

    fn remember_time(&mut self, entry: &[u8], path: &EntryPath, time: TimeSpec) -> Result<(), ImageError> {
        let bytes = path.as_bytes().len();
        if self.times.insert(path.clone(), time).is_none() {
            self.times_bytes += bytes;
        }
        if self.times_bytes > MOST_BYTES {
            return Err(ImageError::archive(entry, "the names of all folders together are over the limit of 64 MiB"));
        }
        Ok(())
    }

    fn set_times(&self) -> Result<(), ImageError> {
        for (path, time) in &self.times {
            let path = path.as_bytes();
            match self.open(path, OFlag::O_RDONLY) {
                Ok(folder) => futimens(&folder, time, time).map_err(|errno| fault(path, failed("futimens", path, errno)))?,
                // A later entry, or a program of the container, took its place.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
                Err(errno) => return Err(fault(path, failed("openat2", path, errno))),
            }
        }
        Ok(())
    }
}

/// A new file under a name of its own beside its place; gone again unless it is put there.
struct Beside {
    folder: Option<OwnedFd>,
    name: String,
}

impl Beside {
    fn new(place: &Place<'_>) -> Self {
        let random = std::hash::RandomState::new().build_hasher().finish();
        Beside { folder: place.folder.try_clone().ok(), name: format!(".berth-copy-{random:016x}") }
    }

    fn put(self, place: &Place<'_>) -> Result<(), ImageError> {
        // Fails with EBUSY when something is mounted there.
        renameat(&place.folder, self.name.as_str(), &place.folder, place.name).map_err(place.failed("renameat"))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // ENOENT once it is in its place.
        if let Some(folder) = &self.folder {
            let _ = unlinkat(folder, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

fn open_folder(dir: BorrowedFd<'_>, path: &[u8], flags: OFlag, resolve: ResolveFlag) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let how = OpenHow::new().flags(flags | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).resolve(resolve);
    loop {
        match openat2(dir, path, how) {
            // EAGAIN: a rename elsewhere could have changed what `..` means; the kernel asks to try again.
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            outcome => return outcome,
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
#[path = "extract_tests.rs"]
mod tests;
