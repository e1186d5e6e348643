//! A tar of what is at a path, in pieces.
//!
//! The tree may change meanwhile. What goes away before it is reached is left out; a file that shrinks while it is read ends the copy with an
//! error, as its size is told already. Sockets are left out (a tar has none), and folders of the kernel's own file systems are empty.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat};

use super::super::failed;
use super::path::InnerPath;
use crate::error::{RuntimeError, SetupError, SysError};
use crate::protocol::PathStat;
use crate::sys::mount::kernel_file_system;
use crate::sys::xattr;

/// Folders below one another: each holds a descriptor.
const MOST_DEPTH: usize = 512;
/// The most memory, in bytes of path, that remembering the names of hard links may take; beyond it such files are sent twice.
const MOST_LINK_BYTES: usize = 32 << 20;
const PIECE: usize = 64 << 10;
const BLOCK: usize = 512;
/// A file capability (`vfs_ns_cap_data`) has at most 24 bytes.
const MOST_CAPABILITY: usize = 64;

/// What the tar begins with.
pub(super) struct Found {
    pub(super) stat: PathStat,
    /// The folder that it is in, and its name there: `.` for a folder that was asked for through a link.
    parent: OwnedFd,
    name: Vec<u8>,
    /// Its name in the tar.
    shown: Vec<u8>,
}

/// Looks a path up as if `root` were `/`.
pub(super) fn find(root: BorrowedFd<'_>, path: &InnerPath) -> Result<Found, RuntimeError> {
    let shown = path.split().map_or_else(|| b".".to_vec(), |(_, name)| name.to_vec());
    let (parent, name) = match path.split() {
        Some((parents, name)) if !path.must_be_folder() => {
            (look_up(root, &parents, OFlag::O_PATH | OFlag::O_DIRECTORY, path)?, name.to_vec())
        }
        _ => (look_up(root, &path.whole(), OFlag::O_PATH | OFlag::O_DIRECTORY, path)?, b".".to_vec()),
    };
    refuse_kernels(parent.as_fd(), path)?;
    let stat = stat_at(parent.as_fd(), &name).map_err(|errno| missing(errno, path))?;
    let link_target = match kind(&stat) {
        SFlag::S_IFLNK => Some(readlinkat(&parent, name.as_slice()).map_err(|errno| missing(errno, path))?.to_string_lossy().into_owned()),
        _ => None,
    };
    let text = path.split().map_or_else(|| "/".to_owned(), |(_, name)| String::from_utf8_lossy(name).into_owned());
    let stat = PathStat {
        name: text,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode,
        mtime: (stat.st_mtime, stat.st_mtime_nsec),
        uid: stat.st_uid,
        gid: stat.st_gid,
        link_target,
    };
    Ok(Found { stat, parent, name, shown })
}

/// The folder at a path, for a copy into it.
pub(super) fn open_folder(root: BorrowedFd<'_>, path: &InnerPath, flags: OFlag) -> Result<OwnedFd, RuntimeError> {
    let folder = look_up(root, &path.whole(), flags | OFlag::O_DIRECTORY, path)?;
    refuse_kernels(folder.as_fd(), path)?;
    let flags = nix::sys::statvfs::fstatvfs(&folder).map_err(|errno| failed("copy")(SysError::new("fstatvfs", path.display(), errno)))?;
    if flags.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY) {
        return Err(RuntimeError::Conflict { message: format!("{} is mounted read-only", path.display()) });
    }
    Ok(folder)
}

fn look_up(root: BorrowedFd<'_>, below: &[u8], flags: OFlag, path: &InnerPath) -> Result<OwnedFd, RuntimeError> {
    let below = if below.is_empty() { b"." } else { below };
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    open(root, below, flags, resolve).map_err(|errno| missing(errno, path))
}

fn missing(errno: Errno, path: &InnerPath) -> RuntimeError {
    let invalid = |message: String| RuntimeError::Invalid { path: "/path".into(), message };
    match errno {
        Errno::ENOENT => RuntimeError::NotFound { what: format!("{} in the container", path.display()) },
        Errno::ENOTDIR => invalid(format!("{} is not a folder, or leads through something that is none", path.display())),
        Errno::ELOOP => invalid(format!("{} leads through too many symbolic links, or one of the kernel's own", path.display())),
        Errno::ENAMETOOLONG => invalid("a name in it is longer than 255 bytes".to_owned()),
        errno => failed("copy")(SysError::new("openat2", path.display(), errno)),
    }
}

fn refuse_kernels(folder: BorrowedFd<'_>, path: &InnerPath) -> Result<(), RuntimeError> {
    match kernel_file_system(folder).map_err(failed("copy"))? {
        None => Ok(()),
        Some(kind) => {
            let message = format!("{} is in a {kind} file system, which holds no files of its own", path.display());
            Err(RuntimeError::Invalid { path: "/path".into(), message })
        }
    }
}

fn open(dir: BorrowedFd<'_>, path: &[u8], flags: OFlag, resolve: ResolveFlag) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    loop {
        match openat2(dir, path, how) {
            // EAGAIN: a rename elsewhere could have changed what `..` means; the kernel asks to try again.
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            outcome => return outcome,
        }
    }
}

/// One name right below an open folder, never through a link.
fn open_name(folder: BorrowedFd<'_>, name: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
    open(folder, name, flags | OFlag::O_NOFOLLOW, ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS)
}

fn stat_at(folder: BorrowedFd<'_>, name: &[u8]) -> Result<FileStat, Errno> {
    nix::sys::stat::fstatat(folder, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// Sends the tar as pieces, each after its length. The end mark is the caller's.
pub(super) fn send(found: Found, to: &mut impl Write) -> Result<(), RuntimeError> {
    let mut sender = Sender { to: Pieces { to, buffer: Vec::with_capacity(PIECE + 4) }, links: HashMap::new(), link_bytes: 0 };
    sender.tree(found)?;
    sender.put(b"", &[0; 2 * BLOCK])?;
    sender.to.flush().map_err(|error| call(b"", "write", &error))
}

fn call(entry: &[u8], call: &'static str, error: &std::io::Error) -> RuntimeError {
    sys(entry, SysError::io(call, String::from_utf8_lossy(entry), error))
}

fn sys(entry: &[u8], error: SysError) -> RuntimeError {
    let detail = format!("{}, at {:?}", error.source.desc(), String::from_utf8_lossy(entry));
    RuntimeError::Setup(SetupError::explained("copy", &error, detail))
}

struct Pieces<W> {
    to: W,
    /// The piece at hand, after four bytes for its length.
    buffer: Vec<u8>,
}

impl<W: Write> Write for Pieces<W> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        if self.buffer.is_empty() {
            self.buffer.extend_from_slice(&[0; 4]);
        }
        let length = data.len().min(PIECE + 4 - self.buffer.len());
        self.buffer.extend_from_slice(&data[..length]);
        if self.buffer.len() == PIECE + 4 {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.buffer.len() > 4 {
            let length = u32::try_from(self.buffer.len() - 4).map_err(std::io::Error::other)?;
            self.buffer[..4].copy_from_slice(&length.to_be_bytes());
            self.to.write_all(&self.buffer)?;
        }
        self.buffer.clear();
        Ok(())
    }
}

/// A folder on the way down.
struct Level {
    folder: OwnedFd,
    device: u64,
    /// Its name in the tar, with a slash at the end.
    path: Vec<u8>,
    /// What is still to do in it, last first.
    names: Vec<Vec<u8>>,
}

struct Sender<W> {
    to: Pieces<W>,
    /// The name under which a file with more than one was sent.
    links: HashMap<(u64, u64), Vec<u8>>,
    link_bytes: usize,
}

impl<W: Write> Sender<W> {
    fn tree(&mut self, found: Found) -> Result<(), RuntimeError> {
        let mut levels: Vec<Level> = self.entry(found.parent.as_fd(), &found.name, found.shown, None)?.into_iter().collect();
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                levels.pop();
                continue;
            };
            let path = [level.path.as_slice(), &name].concat();
            if let Some(below) = self.entry(level.folder.as_fd(), &name, path, Some(level.device))? {
                if levels.len() == MOST_DEPTH {
                    return Err(sys(&below.path, SysError::new("openat2", format!("more than {MOST_DEPTH} folders deep"), Errno::ELOOP)));
                }
                levels.push(below);
            }
        }
        Ok(())
    }

    /// Sends one entry; a folder is answered for going on in it.
    fn entry(&mut self, parent: BorrowedFd<'_>, name: &[u8], path: Vec<u8>, above: Option<u64>) -> Result<Option<Level>, RuntimeError> {
        let failed = |call: &'static str| {
            let path = path.clone();
            move |errno| sys(&path, SysError::new(call, String::from_utf8_lossy(&path), errno))
        };
        let stat = match stat_at(parent, name) {
            Err(Errno::ENOENT) => return Ok(None),
            other => other.map_err(failed("fstatat"))?,
        };
        match kind(&stat) {
            SFlag::S_IFDIR => match open_name(parent, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
                Ok(folder) => self.folder(folder, path, above).map(Some),
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
                Err(errno) => Err(failed("openat2")(errno)),
            },
            SFlag::S_IFREG if self.sent_before(&stat, &path)? => Ok(None),
            // O_NONBLOCK, in case it is a FIFO by now.
            SFlag::S_IFREG => match open_name(parent, name, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY) {
                Ok(file) => self.file(file, path).map(|()| None),
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENXIO) => Ok(None),
                Err(errno) => Err(failed("openat2")(errno)),
            },
            SFlag::S_IFLNK => match readlinkat(parent, name) {
                Ok(target) => {
                    use std::os::unix::ffi::OsStrExt;
                    self.header(b'2', &path, target.as_bytes(), &stat, 0, &[]).map(|()| None)
                }
                Err(Errno::ENOENT | Errno::EINVAL) => Ok(None),
                Err(errno) => Err(failed("readlinkat")(errno)),
            },
            SFlag::S_IFIFO => self.header(b'6', &path, b"", &stat, 0, &[]).map(|()| None),
            SFlag::S_IFCHR => self.header(b'3', &path, b"", &stat, 0, &[]).map(|()| None),
            SFlag::S_IFBLK => self.header(b'4', &path, b"", &stat, 0, &[]).map(|()| None),
            _ => Ok(None),
        }
    }

    /// A hard link to what was sent before; else remembers the name.
    fn sent_before(&mut self, stat: &FileStat, path: &[u8]) -> Result<bool, RuntimeError> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&key).cloned() {
            self.header(b'1', path, &first, stat, 0, &[])?;
            return Ok(true);
        }
        if self.link_bytes + path.len() <= MOST_LINK_BYTES {
            self.link_bytes += path.len();
            self.links.insert(key, path.to_vec());
        }
        Ok(false)
    }

    fn folder(&mut self, folder: OwnedFd, mut path: Vec<u8>, above: Option<u64>) -> Result<Level, RuntimeError> {
        let failed = |call: &'static str, path: &[u8], errno| sys(path, SysError::new(call, String::from_utf8_lossy(path), errno));
        let stat = fstat(&folder).map_err(|errno| failed("fstat", &path, errno))?;
        path.push(b'/');
        self.header(b'5', &path, b"", &stat, 0, &[])?;
        let crossed = above != Some(stat.st_dev);
        let mut names = Vec::new();
        if !(crossed && kernel_file_system(folder.as_fd()).map_err(|error| sys(&path, error))?.is_some()) {
            let copy = folder.try_clone().map_err(|error| call(&path, "fcntl", &error))?;
            let mut dir = Dir::from_fd(copy).map_err(|errno| failed("fdopendir", &path, errno))?;
            for entry in dir.iter() {
                let entry = entry.map_err(|errno| failed("getdents64", &path, errno))?;
                let name = entry.file_name().to_bytes();
                if !matches!(name, b"." | b"..") {
                    names.push(name.to_vec());
                }
            }
        }
        // The same tree is the same tar.
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Level { folder, device: stat.st_dev, path, names })
    }

    fn file(&mut self, file: OwnedFd, path: Vec<u8>) -> Result<(), RuntimeError> {
        let stat = fstat(&file).map_err(|errno| sys(&path, SysError::new("fstat", String::from_utf8_lossy(&path), errno)))?;
        if kind(&stat) != SFlag::S_IFREG {
            return Ok(());
        }
        let capability = match xattr::get(file.as_fd(), b"security.capability", MOST_CAPABILITY) {
            Err(error) if error.source == Errno::ENOTSUP => None,
            other => other.map_err(|error| sys(&path, error))?,
        };
        let xattrs: Vec<_> = capability.iter().map(|value| (&b"security.capability"[..], value.as_slice())).collect();
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.header(b'0', &path, b"", &stat, size, &xattrs)?;
        let mut source = File::from(file).take(size);
        let mut buffer = [0; PIECE];
        let mut left = size;
        while left > 0 {
            match source.read(&mut buffer) {
                Ok(0) => {
                    let shrank = SysError::new("read", String::from_utf8_lossy(&path), Errno::EIO);
                    return Err(RuntimeError::Setup(SetupError::explained("copy", &shrank, "it shrank while it was read")));
                }
                Ok(length) => {
                    self.put(&path, &buffer[..length])?;
                    left -= length as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(call(&path, "read", &error)),
            }
        }
        self.pad(&path, size)
    }

    /// A header of the GNU layout, which takes any number; before it a PAX one for what does not fit.
    fn header(
        &mut self,
        kind: u8,
        path: &[u8],
        link: &[u8],
        stat: &FileStat,
        size: u64,
        xattrs: &[(&[u8], &[u8])],
    ) -> Result<(), RuntimeError> {
        let mut records = Vec::new();
        for (key, value) in [("path", path), ("linkpath", link)] {
            if value.len() > 100 {
                record(&mut records, key.as_bytes(), value);
            }
        }
        for (name, value) in xattrs {
            record(&mut records, &[b"SCHILY.xattr.", *name].concat(), value);
        }
        if !records.is_empty() {
            let mut extension = tar::Header::new_ustar();
            extension.as_old_mut().name[..12].copy_from_slice(b"PaxHeaders/0");
            extension.as_old_mut().linkflag[0] = b'x';
            extension.set_mode(0o644);
            extension.set_size(records.len() as u64);
            extension.set_cksum();
            self.put(path, extension.as_bytes())?;
            self.put(path, &records)?;
            self.pad(path, records.len() as u64)?;
        }
        let mut header = tar::Header::new_gnu();
        let fields = header.as_old_mut();
        fields.linkflag[0] = kind;
        let (name, target) = (&path[..path.len().min(100)], &link[..link.len().min(100)]);
        fields.name[..name.len()].copy_from_slice(name);
        fields.linkname[..target.len()].copy_from_slice(target);
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(stat.st_uid.into());
        header.set_gid(stat.st_gid.into());
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
        header.set_size(size);
        if matches!(kind, b'3' | b'4') {
            let (major, minor) = (nix::sys::stat::major(stat.st_rdev), nix::sys::stat::minor(stat.st_rdev));
            let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            // Both fields are there in a GNU header.
            let _ = header.set_device_major(number(major)).and_then(|()| header.set_device_minor(number(minor)));
        }
        header.set_cksum();
        self.put(path, header.as_bytes())
    }

    fn put(&mut self, path: &[u8], data: &[u8]) -> Result<(), RuntimeError> {
        self.to.write_all(data).map_err(|error| call(path, "write", &error))
    }

    fn pad(&mut self, path: &[u8], size: u64) -> Result<(), RuntimeError> {
        let padding = usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or(0);
        self.put(path, &[0; BLOCK][..padding])
    }
}

/// `<length> <key>=<value>\n`, the length counting its own digits: see "pax Extended Header" in pax(1p).
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length += 1;
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(&[key, b"=", value, b"\n"].concat());
}
