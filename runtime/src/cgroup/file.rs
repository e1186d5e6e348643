//! Reading and writing the one-line files of the cgroup tree: one open, one write, no buffering, and errors that name the path.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use crate::error::SysError;

/// The whole file. Kernel files have no size to ask for, and a short read is not their end: only a read of nothing is.
pub(super) fn read(path: &Path) -> Result<String, SysError> {
    let mut file = File::open(path).map_err(|e| SysError::io("open", path.display(), &e))?;
    let mut bytes = Vec::with_capacity(256);
    let mut chunk = [0_u8; 4096];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(SysError::io("read", path.display(), &e)),
        }
    }
    Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

/// The file's content without the line end; None where this kernel has no such file or will not say.
pub(super) fn get(path: &Path) -> Option<String> {
    let mut text = read(path).ok()?;
    text.truncate(text.trim_end().len());
    Some(text)
}

/// A file that is one number; None where there is none, or where it says `max`.
pub(super) fn number(path: &Path) -> Option<u64> {
    get(path)?.parse().ok()
}

/// Writes `text` in one write, as the kernel's files want it.
pub(super) fn write(path: &Path, text: &str) -> Result<(), SysError> {
    let mut file = open_for_writing(path)?;
    put(&mut file, path, text)
}

/// Opens without O_CREAT: in the real tree a missing file then is ENOENT and not EACCES. The tests' trees are plain folders, where the
/// kernel makes no files.
pub(super) fn open_for_writing(path: &Path) -> Result<File, SysError> {
    OpenOptions::new().write(true).create(cfg!(test)).truncate(cfg!(test)).open(path).map_err(|e| SysError::io("open", path.display(), &e))
}

/// One line to a file that is open already.
pub(super) fn put(file: &mut File, path: &Path, text: &str) -> Result<(), SysError> {
    file.write_all(text.as_bytes()).map_err(|e| SysError::io("write", path.display(), &e))
}
