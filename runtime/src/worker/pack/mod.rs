//! A folder as a tar: a container's files as they are, or an unpacked layer as the archive that it came from.
//!
//! The tree may change meanwhile. What goes away before it is reached is left out; a file that shrinks while it is read ends the copy with an
//! error, as its size is told already. Sockets are left out (a tar has none), and folders of the kernel's own file systems are empty.
//!
//! The same tree is the same tar, byte for byte.

mod write;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat};

use crate::error::{RuntimeError, SetupError, SysError};
use crate::sys::mount::kernel_file_system;
use crate::sys::xattr;

pub(super) use write::Pieces;
use write::{Attribute, Meta, TarWriter};

/// Folders below one another: each holds a descriptor.
const MOST_DEPTH: usize = 512;
/// A layer may have them as deep as a path can name them.
const MOST_LAYER_DEPTH: usize = 2048;
/// The most memory, in bytes of path, that remembering the names of hard links may take; beyond it such files are sent twice.
const MOST_LINK_BYTES: usize = 32 << 20;
const PIECE: usize = 64 << 10;
/// A file capability (`vfs_ns_cap_data`) has at most 24 bytes.
const MOST_CAPABILITY: usize = 64;
/// The kernel's limit: XATTR_SIZE_MAX in limits.h.
const MOST_ATTRIBUTE: usize = 64 << 10;

/// How many descriptors packing a layer takes.
pub(super) const LAYER_DESCRIPTORS: u64 = MOST_LAYER_DEPTH as u64 + 64;

/// Whether a folder hides what is below it in lower layers. A function, as only privileges that a packer has given up can read the attribute.
pub(super) type IsOpaque<'a> = dyn Fn(BorrowedFd<'_>) -> Result<bool, SysError> + 'a;

/// What the tar is of.
#[derive(Clone, Copy)]
pub(super) enum Style<'a> {
    /// Files as they are.
    Files,
    /// What overlayfs takes as a layer, turned back into what the OCI image specification has ("Representing Changes"). Names are relative to
    /// the root, whose own time is left out: nothing ever shows it.
    Layer(&'a IsOpaque<'a>),
}

pub(super) fn open(dir: BorrowedFd<'_>, path: &[u8], flags: OFlag, resolve: ResolveFlag) -> Result<OwnedFd, Errno> {
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

pub(super) fn stat_at(folder: BorrowedFd<'_>, name: &[u8]) -> Result<FileStat, Errno> {
    nix::sys::stat::fstatat(folder, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)
}

pub(super) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn call(entry: &[u8], call: &'static str, error: &std::io::Error) -> RuntimeError {
    sys(entry, SysError::io(call, String::from_utf8_lossy(entry), error))
}

fn sys(entry: &[u8], error: SysError) -> RuntimeError {
    let detail = format!("{}, at {:?}", error.source.desc(), String::from_utf8_lossy(entry));
    RuntimeError::Setup(SetupError::explained("copy", &error, detail))
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

pub(super) struct Packer<'a, W> {
    to: TarWriter<W>,
    style: Style<'a>,
    /// The name under which a file with more than one was sent.
    links: HashMap<(u64, u64), Vec<u8>>,
    link_bytes: usize,
}

impl<'a, W: Write> Packer<'a, W> {
    pub(super) fn new(to: W, style: Style<'a>) -> Self {
        Packer { to: TarWriter(to), style, links: HashMap::new(), link_bytes: 0 }
    }

    /// Writes `name` in `parent` and all below it, as `shown`, and the end of a tar.
    pub(super) fn pack(mut self, parent: BorrowedFd<'_>, name: &[u8], shown: Vec<u8>) -> Result<(), RuntimeError> {
        let most_depth = match self.style {
            Style::Files => MOST_DEPTH,
            Style::Layer(_) => MOST_LAYER_DEPTH,
        };
        let mut levels: Vec<Level> = self.entry(parent, name, shown, None)?.into_iter().collect();
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                levels.pop();
                continue;
            };
            let path = [level.path.as_slice(), &name].concat();
            if let Some(below) = self.entry(level.folder.as_fd(), &name, path, Some(level.device))? {
                if levels.len() == most_depth {
                    return Err(sys(&below.path, SysError::new("openat2", format!("more than {most_depth} folders deep"), Errno::ELOOP)));
                }
                levels.push(below);
            }
        }
        self.to.end()
    }

    fn meta(&self, stat: &FileStat) -> Meta {
        let meta = Meta::from(stat);
        match self.style {
            Style::Files => meta,
            Style::Layer(_) => Meta { mtime: (stat.st_mtime, stat.st_mtime_nsec), ..meta },
        }
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
                Ok(target) => self.header(b'2', &path, target.as_bytes(), &stat).map(|()| None),
                Err(Errno::ENOENT | Errno::EINVAL) => Ok(None),
                Err(errno) => Err(failed("readlinkat")(errno)),
            },
            SFlag::S_IFIFO => self.header(b'6', &path, b"", &stat).map(|()| None),
            SFlag::S_IFCHR if stat.st_rdev == 0 && matches!(self.style, Style::Layer(_)) => {
                self.whiteout(&path[..path.len() - name.len()], &[b".wh.", name].concat()).map(|()| None)
            }
            SFlag::S_IFCHR => self.header(b'3', &path, b"", &stat).map(|()| None),
            SFlag::S_IFBLK => self.header(b'4', &path, b"", &stat).map(|()| None),
            _ => Ok(None),
        }
    }

    fn header(&mut self, kind: u8, path: &[u8], link: &[u8], stat: &FileStat) -> Result<(), RuntimeError> {
        let meta = self.meta(stat);
        self.to.header(kind, path, link, &meta, 0, &[])
    }

    /// An empty file whose name says what is hidden; when that was is not kept.
    fn whiteout(&mut self, folder: &[u8], name: &[u8]) -> Result<(), RuntimeError> {
        self.to.header(b'0', &[folder, name].concat(), b"", &Meta::default(), 0, &[])
    }

    /// Those that the unpacker keeps, in the order of their names.
    fn attributes(&self, fd: BorrowedFd<'_>, path: &[u8], is_file: bool) -> Result<Vec<Attribute>, RuntimeError> {
        let get = |name: Vec<u8>, most| match xattr::get(fd, &name, most) {
            Err(error) if error.source == Errno::ENOTSUP => Ok(None),
            other => other.map(|value| Some((name, value?))).map_err(|error| sys(path, error)),
        };
        let mut found = Vec::new();
        if is_file {
            found.extend(get(b"security.capability".to_vec(), MOST_CAPABILITY)?);
        }
        if let Style::Layer(_) = self.style {
            let mut names = xattr::list(fd).map_err(|error| sys(path, error))?;
            names.retain(|name| name.starts_with(b"user.") && !name.starts_with(b"user.overlay."));
            names.sort_unstable();
            for name in names {
                found.extend(get(name, MOST_ATTRIBUTE)?);
            }
        }
        Ok(found)
    }

    /// A hard link to what was sent before; else remembers the name.
    fn sent_before(&mut self, stat: &FileStat, path: &[u8]) -> Result<bool, RuntimeError> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&key).cloned() {
            self.header(b'1', path, &first, stat)?;
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
        let xattrs = self.attributes(folder.as_fd(), &path, false)?;
        let layer_root = above.is_none() && matches!(self.style, Style::Layer(_));
        let meta = self.meta(&stat);
        let meta = if layer_root { Meta { mtime: (0, 0), ..meta } } else { meta };
        self.to.header(b'5', &path, b"", &meta, 0, &xattrs)?;
        if layer_root {
            path.clear();
        }
        if let Style::Layer(is_opaque) = self.style
            && is_opaque(folder.as_fd()).map_err(|error| sys(&path, error))?
        {
            self.whiteout(&path, b".wh..wh..opq")?;
        }
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
        // The order of a directory is no order.
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Level { folder, device: stat.st_dev, path, names })
    }

    fn file(&mut self, file: OwnedFd, path: Vec<u8>) -> Result<(), RuntimeError> {
        let stat = fstat(&file).map_err(|errno| sys(&path, SysError::new("fstat", String::from_utf8_lossy(&path), errno)))?;
        if kind(&stat) != SFlag::S_IFREG {
            return Ok(());
        }
        let xattrs = self.attributes(file.as_fd(), &path, true)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let meta = self.meta(&stat);
        self.to.header(b'0', &path, b"", &meta, size, &xattrs)?;
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
                    self.to.put(&path, &buffer[..length])?;
                    left -= length as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(call(&path, "read", &error)),
            }
        }
        self.to.pad(&path, size)
    }
}
