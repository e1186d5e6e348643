//! Why an image was not taken in: its own fault, or this machine's.

use nix::errno::Errno;

use crate::error::{RuntimeError, SetupError, SysError};

/// Names the entry that it failed at; empty where no entry is known yet, and then the message tells the offset.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Damaged, hostile, over a limit, or not an archive at all.
    #[error("entry {entry:?}: {message}")]
    Archive { entry: String, message: String },
    /// A call of ours failed: no space, an I/O error.
    #[error("entry {entry:?}")]
    System { entry: String, source: SysError },
}

impl ImageError {
    pub(super) fn archive(entry: &[u8], message: impl Into<String>) -> Self {
        ImageError::Archive { entry: display(entry), message: message.into() }
    }

    /// A failed call, laid at the archive's door where the errno can only come of what it asked for.
    pub(super) fn call(entry: &[u8], source: SysError) -> Self {
        let fault = match source.source {
            Errno::ENAMETOOLONG => "a name in its path is longer than 255 bytes",
            Errno::ELOOP => "its path leads through too many symbolic links",
            Errno::ENOTDIR => "a folder in its path is not a folder",
            Errno::EXDEV => "its path leads out of the layer",
            Errno::EMLINK => "too many hard links to one file",
            _ => return ImageError::System { entry: display(entry), source },
        };
        ImageError::archive(entry, fault)
    }
}

impl From<ImageError> for RuntimeError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Archive { entry, message } => RuntimeError::BadArchive { entry, message },
            ImageError::System { entry, source } => {
                let detail = format!("{}, at entry {entry:?}", source.source.desc());
                RuntimeError::Setup(SetupError::explained("unpack", &source, detail))
            }
        }
    }
}

/// A name from an archive for people: never more than 256 characters, bytes that are no UTF-8 replaced.
pub(super) fn display(name: &[u8]) -> String {
    const MOST: usize = 256;
    let text = String::from_utf8_lossy(&name[..name.len().min(4 * MOST)]);
    match text.char_indices().nth(MOST) {
        None => text.into_owned(),
        Some((cut, _)) => format!("{}…", &text[..cut]),
    }
}
