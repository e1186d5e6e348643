//! An archive of images, put by: its files under numbers in one folder, with their digests, until it is known what they are.
//!
//! The list of what is in such an archive may come last, so that everything before it has to be kept. No name from the archive becomes
//! the name of a file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use sha2::{Digest, Sha256};

use super::archive::{Blob, Blobs};
use super::error::ImageError;
use super::input::{Input, Limits, hex};
use super::member::{Kind, Member, Members};
use super::path::EntryPath;
use super::tree::failed;
use crate::error::SysError;

/// The most bytes of all names together.
const MOST_NAMES: usize = 8 << 20;

/// How many links one name may lead through.
const MOST_LINKS: usize = 8;

/// The folder and what is in it.
#[derive(Debug)]
pub struct Spool {
    folder: OwnedFd,
    files: HashMap<String, Spooled>,
    /// Links of either kind, resolved to names from the archive's root.
    links: HashMap<String, String>,
}

#[derive(Debug)]
struct Spooled {
    number: u64,
    blob: Blob,
}

impl Spool {
    /// Reads an archive (plain, gzip or zstd) to its end into `folder`, which is empty.
    pub fn fill(source: impl Read, folder: OwnedFd, limits: Limits) -> Result<Self, ImageError> {
        let input = Input::new(source, limits.max_bytes).map_err(|error| ImageError::archive(b"", error.to_string()))?;
        let mut members = Members::new(input, limits.require_end);
        let mut spool = Spool { folder, files: HashMap::new(), links: HashMap::new() };
        let mut buffer = vec![0; 256 << 10];
        let (mut count, mut names) = (0, 0);
        while let Some(member) = members.next()? {
            count += 1;
            names += member.path.len() + member.link.len();
            if count > limits.max_entries || names > MOST_NAMES {
                return Err(ImageError::archive(&member.path, "the archive has too many entries"));
            }
            spool.take(&member, &mut members, &mut buffer, count)?;
        }
        Ok(spool)
    }

    fn take(&mut self, member: &Member, members: &mut Members<'_>, buffer: &mut [u8], number: u64) -> Result<(), ImageError> {
        let bad = |fault: &str| ImageError::archive(&member.path, fault);
        let path = EntryPath::parse(&member.path).map_err(bad)?;
        // Nothing can speak of a name that is no text.
        let Ok(name) = String::from_utf8(path.as_bytes().to_vec()) else { return Ok(()) };
        match member.kind {
            Kind::File if member.map.is_some() => return Err(bad("a sparse file in an archive of images")),
            Kind::File => {
                let blob = self.write(member, members, buffer, number)?;
                self.links.remove(&name);
                if let Some(replaced) = self.files.insert(name, Spooled { number, blob }) {
                    self.unlink(replaced.number);
                }
            }
            Kind::Symlink | Kind::HardLink => {
                let folder = path.split().map_or(&b""[..], |(folder, _)| folder);
                let target = if member.kind == Kind::Symlink { resolve(folder, &member.link) } else { resolve(b"", &member.link) };
                if let Some(target) = target {
                    self.links.insert(name, target);
                }
            }
            Kind::Directory | Kind::Fifo | Kind::Device => {}
        }
        Ok(())
    }

    fn write(&self, member: &Member, members: &mut Members<'_>, buffer: &mut [u8], number: u64) -> Result<Blob, ImageError> {
        let call = |error| ImageError::call(&member.path, error);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let file = openat(&self.folder, number.to_string().as_str(), flags, Mode::from_bits_truncate(0o600));
        let mut file = File::from(file.map_err(|errno| call(failed("openat", &member.path, errno)))?);
        let mut digest = Sha256::new();
        loop {
            match members.read(buffer)? {
                0 => return Ok(Blob { size: member.size, digest: hex(digest) }),
                length => {
                    digest.update(&buffer[..length]);
                    file.write_all(&buffer[..length]).map_err(|error| call(SysError::io("write", "spool", &error)))?;
                }
            }
        }
    }

    fn find(&self, name: &str) -> Option<&Spooled> {
        let mut name = String::from_utf8(EntryPath::parse(name.as_bytes()).ok()?.as_bytes().to_vec()).ok()?;
        for _ in 0..MOST_LINKS {
            match self.files.get(&name) {
                Some(file) => return Some(file),
                None => name.clone_from(self.links.get(&name)?),
            }
        }
        None
    }

    /// The file of that name, for reading.
    pub fn open(&self, name: &str) -> Result<File, ImageError> {
        let spooled = self.find(name).ok_or_else(|| ImageError::archive(name.as_bytes(), "it is not in the archive"))?;
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(self.folder.as_fd(), spooled.number.to_string().as_str(), flags, Mode::empty());
        file.map(File::from).map_err(|errno| ImageError::call(name.as_bytes(), failed("openat", name.as_bytes(), errno)))
    }

    /// Frees the room of a file that is not needed any more.
    pub fn discard(&self, name: &str) {
        if let Some(spooled) = self.find(name) {
            self.unlink(spooled.number);
        }
    }

    fn unlink(&self, number: u64) {
        // What stays goes with the folder.
        let _ = unlinkat(&self.folder, number.to_string().as_str(), UnlinkatFlags::NoRemoveDir);
    }
}

impl Blobs for Spool {
    fn look(&self, name: &str) -> Option<Blob> {
        self.find(name).map(|spooled| spooled.blob.clone())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, ImageError> {
        let mut content = Vec::new();
        let read = self.open(name)?.read_to_end(&mut content);
        read.map_err(|error| ImageError::call(name.as_bytes(), SysError::io("read", "spool", &error)))?;
        Ok(content)
    }
}

/// Where a link in `folder` leads, by its text alone; None when that is out of the archive. Docker links a layer that an image shares with
/// an earlier one as `../<layer>/layer.tar`.
fn resolve(folder: &[u8], target: &[u8]) -> Option<String> {
    let mut path: Vec<&[u8]> = if target.starts_with(b"/") { Vec::new() } else { folder.split(|&byte| byte == b'/').collect() };
    path.retain(|component| !component.is_empty());
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(path.pop()?),
            name => path.push(name),
        }
    }
    String::from_utf8(path.join(&b'/')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::testing::{Entry, archive, gzip, sha256};

    const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_entries: 100, require_end: true };

    fn fill(entries: &[Entry]) -> (tempfile::TempDir, Result<Spool, ImageError>) {
        let dir = tempfile::tempdir().unwrap();
        let folder = File::open(dir.path()).unwrap().into();
        (dir, Spool::fill(&gzip(&archive(entries))[..], folder, LIMITS))
    }

    #[test]
    fn files_are_kept_under_numbers_and_found_by_name_and_link() {
        let (dir, spool) = fill(&[
            Entry::dir("1/"),
            Entry::file("./1/layer.tar", b"one"),
            Entry::symlink("2/layer.tar", "../1/layer.tar"),
            Entry::hardlink("3", "2/layer.tar"),
            Entry::symlink("out", "../../etc/passwd"),
            Entry::symlink("round", "round"),
            Entry::file("twice", b"first"),
            Entry::file("twice", b"second"),
        ]);
        let spool = spool.unwrap();
        for name in ["1/layer.tar", "/1/./layer.tar", "2/layer.tar", "3"] {
            assert_eq!(spool.read(name).unwrap(), b"one", "{name}");
            assert_eq!(spool.look(name).unwrap(), Blob { size: 3, digest: sha256(b"one") });
        }
        assert_eq!(spool.read("twice").unwrap(), b"second");
        for name in ["out", "round", "1", "nothing", "../1/layer.tar", ""] {
            assert_eq!(spool.look(name), None, "{name}");
        }
        let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["2", "8"]);
        spool.discard("3");
        assert!(spool.open("1/layer.tar").is_err());
    }

    #[test]
    fn limits_and_ways_out_are_refused() {
        let refused = |entries: &[Entry]| fill(entries).1.unwrap_err().to_string();
        assert!(refused(&[Entry::file("../x", b"")]).contains("\"..\""));
        assert!(refused(&[Entry::file("big", &[0; 2 << 20])]).contains("limit of 1048576"));
        assert!(refused(&vec![Entry::dir("d"); 101]).contains("too many entries"));
        let sparse = Entry::pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,1")]);
        assert!(refused(&[sparse, Entry::file("s", b"1")]).contains("sparse"));
    }
}
